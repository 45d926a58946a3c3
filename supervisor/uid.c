/* As root, each actor runs as somebody of its own; as an ordinary user, all run as that user. */
#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include "supervisor/supervisor.h"

static int by_name(vmsig_sup_actor *a) {
    const char *user = a->topo->user;
    char *end;
    unsigned long number = strtoul(user, &end, 10);
    const struct passwd *pw = isdigit((unsigned char)user[0]) && *end == 0 ? getpwuid((uid_t)number) : getpwnam(user);
    if (pw == NULL) {
        vmsig_sup_say_of(a, "user: there is no user %s here", user);
        return -ENOENT;
    }
    if (geteuid() != 0 && pw->pw_uid != geteuid()) {
        vmsig_sup_say_of(a, "user: only root can start it as %s; start vmsig as root, or leave `user:` out", user);
        return -EPERM;
    }
    a->uid = pw->pw_uid;
    a->gid = pw->pw_gid;
    return 0;
}

int vmsig_sup_uids(vmsig_sup *s) {
    for (size_t i = 0; i < s->topo->actors_n; i++) {
        vmsig_sup_actor *a = &s->actors[i];
        a->uid = a->gid = UINT32_MAX;
        if (a->topo->user != NULL) {
            int rc = by_name(a);
            if (rc)
                return rc;
        } else if (geteuid() == 0) {
            a->uid = a->gid = s->topo->uid_base + a->index;
        }
        if (geteuid() != 0)
            a->uid = a->gid = UINT32_MAX; /* it is that user already */
    }
    return 0;
}
