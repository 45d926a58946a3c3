/* Where a running topology's sockets lie. In the client's folder, because a control links it without a supervisor. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/topology.h"

/* Whether the folder is there: 1 this user's, 0 there is none, -1 somebody else's, or no folder. */
static int whose(const char *path) {
    struct stat st;
    if (lstat(path, &st))
        return errno == ENOENT ? 0 : -1;
    return S_ISDIR(st.st_mode) && st.st_uid == geteuid() ? 1 : -1;
}

/* A user whom no session gave a folder below /run/user (after `su`, say, or in a container) has one in /tmp, unless
 * somebody else sits there. */
static int of_user(const char *name, char *buf, size_t len) {
    unsigned uid = (unsigned)geteuid();
    char session[32], own[32];
    snprintf(session, sizeof session, "/run/user/%u", uid);
    snprintf(own, sizeof own, "/tmp/vmsig-%u", uid);
    if (whose(session) == 1 || whose(own) < 0)
        return snprintf(buf, len, "%s/vmsig/%s", session, name);
    return snprintf(buf, len, "%s/%s", own, name);
}

int vmsig_run_dir(const char *name, char *buf, size_t len) {
    const char *base = getenv("XDG_RUNTIME_DIR");
    int n;
    if (base && base[0] == '/')
        n = snprintf(buf, len, "%s/vmsig/%s", base, name);
    else if (geteuid() == 0)
        n = snprintf(buf, len, "/run/vmsig/%s", name);
    else
        n = of_user(name, buf, len);
    return n < 0 || (size_t)n >= len ? -ENAMETOOLONG : 0;
}
