/* Where a running topology's sockets lie. In the client's folder, because a control links it without a supervisor. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "supervisor/topology.h"

int vmsig_run_dir(const char *name, char *buf, size_t len) {
    const char *base = getenv("XDG_RUNTIME_DIR");
    int n;
    if (base && base[0] == '/')
        n = snprintf(buf, len, "%s/vmsig/%s", base, name);
    else if (geteuid() == 0)
        n = snprintf(buf, len, "/run/vmsig/%s", name);
    else
        n = snprintf(buf, len, "/run/user/%u/vmsig/%s", (unsigned)geteuid(), name);
    return n < 0 || (size_t)n >= len ? -ENAMETOOLONG : 0;
}
