/* grants.h: the grants file: who may do what.
 *
 *   grants:
 *     - {uid: 1000, endpoints: [tiny], caps: [observe, input, memctx], priority: 10}
 *     - {user: lab, endpoints: all, caps: all, priority: 20, rings: true}
 *
 * Read by `vmsig check` and by the gateway, from the same table.
 */
#ifndef VMSIG_GRANTS_H
#define VMSIG_GRANTS_H

#include "schema/conf.h"
#include "vmsig_control.h"

typedef struct vmsig_grants {
    vmsig_grant *grant; /* principal = uid */
    size_t n;
    bool *rings; /* of each: whether it may have rings of its own; NULL = none may */
} vmsig_grants;

/* names[i], for i < 64: the endpoint's name or NULL. -EINVAL: one message in *err (unknown endpoint, retired or unknown
 * capability, unknown user, a uid twice). */
int vmsig_grants_parse(const char *file, const char *text, size_t len, const char *const names[VMSIG_ENDPOINTS_MAX],
                       vmsig_grants *out, vmsig_conf_error *err);
void vmsig_grants_free(vmsig_grants *g);
/* NULL: that uid has none. */
const vmsig_grant *vmsig_grants_find(const vmsig_grants *g, uint32_t uid);
/* Whether that uid may have rings of its own. */
bool vmsig_grants_rings(const vmsig_grants *g, uint32_t uid);
extern const vmsig_conf_table vmsig_grants_table;

/* "observe, input": into buf, which is returned. And the converse: 0 = no such capability. */
const char *vmsig_caps_text(uint32_t caps, char *buf, size_t len);
uint32_t vmsig_cap_by_name(const char *name);

#endif
