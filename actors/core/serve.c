/* serve.c: socket controls of a core: the gateway's server over the core's own gate and loop. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "actors/core/core_impl.h"
#include "schema/caps.h"

static int fail(int negative_errno) {
    errno = -negative_errno;
    return -1;
}

static void say(void *ud, const char *text) {
    (void)ud;
    fprintf(stderr, "vmsig: %s\n", text);
}

static int copy_grants(const vmsig_grant *grants, int n, vmsig_grants *out) {
    for (int i = 0; i < n; i++)
        if (vmsig_caps_check(grants[i].caps) < 0)
            return -EINVAL;
    out->grant = calloc((size_t)n + 1, sizeof *out->grant);
    if (!out->grant)
        return -ENOMEM;
    memcpy(out->grant, grants, (size_t)n * sizeof *grants);
    out->n = (size_t)n;
    return 0;
}

int vmsig_core_listen(vmsig_core *core, int listen_fd, const vmsig_grant *grants, int n) {
    vmsig_grants copy = {0};
    if (!core || listen_fd < 0 || n < 0 || (n > 0 && !grants))
        return fail(-EINVAL);
    if (core->server)
        return fail(-EBUSY);
    int rc = grants ? copy_grants(grants, n, &copy) : 0;
    if (rc < 0)
        return fail(rc);
    core->grants = copy;
    vmsig_server_cfg cfg = {.loop = core->loop,
                            .gate = core->gate,
                            .listen_fd = listen_fd,
                            .grants = grants ? &core->grants : NULL,
                            .owner = geteuid(),
                            .endpoint_mask = UINT64_MAX,
                            .log = say,
                            .ud = core};
    if (getrandom(&cfg.lineage, sizeof cfg.lineage, 0) != sizeof cfg.lineage)
        rc = -errno;
    if (rc == 0)
        rc = vmsig_server_new(&cfg, &core->server);
    if (rc < 0)
        vmsig_grants_free(&core->grants);
    return rc < 0 ? fail(rc) : 0;
}

void vmsig_core_serve(vmsig_core *core) {
    if (!core->server)
        return;
    vmsig_server_flush(core->server);
    vmsig_server_retry(core->server);
}

void vmsig_core_serve_end(vmsig_core *core) {
    vmsig_server_free(core->server);
    core->server = NULL;
    vmsig_grants_free(&core->grants);
}
