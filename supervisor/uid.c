/* As root, each actor runs as somebody of its own; as an ordinary user, all run as that user. */
#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include "supervisor/supervisor.h"

static int by_name(const vmsig_topo_actor *a, uint32_t *uid, uint32_t *gid) {
    const char *user = a->user;
    char *end;
    unsigned long number = strtoul(user, &end, 10);
    const struct passwd *pw = isdigit((unsigned char)user[0]) && *end == 0 ? getpwuid((uid_t)number) : getpwnam(user);
    if (pw == NULL) {
        vmsig_sup_say("%s: user: there is no user %s here", a->name, user);
        return -ENOENT;
    }
    if (geteuid() != 0 && pw->pw_uid != geteuid()) {
        vmsig_sup_say("%s: user: only root can start it as %s; start vmsig as root, or leave `user:` out", a->name,
                      user);
        return -EPERM;
    }
    *uid = pw->pw_uid;
    *gid = pw->pw_gid;
    return 0;
}

/* A sensor of a VM that offers sockets is to reach them: it runs in the group of the VM's host adapter. */
static uint32_t vm_group(const vmsig_topology *t, uint32_t index) {
    const vmsig_topo_actor *a = &t->actors[index];
    const vmsig_topo_actor *host = a->endpoint >= 0 ? vmsig_sup_vm_of(t, a->endpoint) : NULL;
    uint32_t uid, gid = UINT32_MAX;
    if (host == NULL || host == a || vmsig_sup_uid_of(t, (uint32_t)(host - t->actors), &uid, &gid) != 0)
        return t->uid_base + index;
    return gid;
}

int vmsig_sup_uid_of(const vmsig_topology *t, uint32_t index, uint32_t *uid, uint32_t *gid) {
    const vmsig_topo_actor *a = &t->actors[index];
    int rc = 0;
    *uid = *gid = UINT32_MAX;
    if (a->user != NULL)
        rc = by_name(a, uid, gid);
    else if (geteuid() == 0)
        *uid = t->uid_base + index, *gid = vm_group(t, index);
    if (geteuid() != 0)
        *uid = *gid = UINT32_MAX; /* it is that user already */
    return rc;
}

int vmsig_sup_uids(vmsig_sup *s) {
    int rc = 0;
    for (uint32_t i = 0; i < s->topo->actors_n && rc == 0; i++)
        rc = vmsig_sup_uid_of(s->topo, i, &s->actors[i].uid, &s->actors[i].gid);
    return rc;
}
