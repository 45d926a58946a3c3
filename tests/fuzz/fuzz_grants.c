/* Any text as a grants file: refused with one sentence, or grants that give no retired or unknown capability. */
#include <stdlib.h>
#include <string.h>

#include "schema/grants.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[VMSIG_ENDPOINTS_MAX] = {[0] = "vm", [63] = "w"};
    vmsig_grants g;
    vmsig_conf_error why;
    if (vmsig_grants_parse("g.yaml", (const char *)data, size, names, &g, &why) < 0) {
        if (g.grant || strlen(why.text) < 8 || strchr(why.text, '\n'))
            abort();
        return 0;
    }
    for (size_t i = 0; i < g.n; i++) {
        const vmsig_grant *a = &g.grant[i];
        if (a->caps == 0 || a->caps & ~VMSIG_CAP_ALL || a->endpoint_mask == 0 ||
            vmsig_grants_find(&g, a->principal) != a)
            abort();
    }
    vmsig_grants_free(&g);
    return 0;
}
