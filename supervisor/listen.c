/* Sockets and files that the supervisor opens for its actors, and how it says what is wrong with them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "supervisor/supervisor.h"

#define BACKLOG 64

/* A socket at which nobody answers is left over from a process that died. (To connect to a plain file is refused, too:
 * that is not ours to remove.) */
static bool stale(const struct sockaddr_un *to) {
    struct stat st;
    if (lstat(to->sun_path, &st) || !S_ISSOCK(st.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool refused = fd >= 0 && connect(fd, (const struct sockaddr *)to, sizeof *to) && errno == ECONNREFUSED;
    vmsig_sup_close(&fd);
    return refused;
}

int vmsig_sup_listen(const char *path, mode_t mode) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof to.sun_path) {
        vmsig_sup_say("%s: too long for a socket's path (at most %zu bytes)", path, sizeof to.sun_path - 1);
        return -ENAMETOOLONG;
    }
    memcpy(to.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        vmsig_sup_say("%s: %s", path, strerror(errno));
        return -errno;
    }
    int rc = bind(fd, (const struct sockaddr *)&to, sizeof to);
    int err = rc ? errno : 0;
    if (err == EADDRINUSE && stale(&to) && unlink(path) == 0)
        err = bind(fd, (const struct sockaddr *)&to, sizeof to) ? errno : 0;
    if (!err && (chmod(path, mode) || listen(fd, BACKLOG)))
        err = errno;
    if (!err)
        return fd;
    if (err == EADDRINUSE)
        vmsig_sup_say("%s: in use: another program listens there, or a file of that name is in the way", path);
    else
        vmsig_sup_say("%s: %s", path, strerror(err));
    rc = -err;
    vmsig_sup_close(&fd);
    return rc;
}

int vmsig_sup_listen_of(const vmsig_topo_actor *t, vmsig_sup_sockets *to) {
    if (t->kind != VMSIG_TOPO_GATEWAY || t->socket == NULL)
        return 0;
    to->listen = vmsig_sup_listen(t->socket, 0666); /* the grants say who may what */
    if (to->listen < 0)
        return to->listen;
    return t->audit && to->audit < 0 ? vmsig_sup_audit_open(t->audit, to) : 0;
}

int vmsig_sup_listen_all(vmsig_sup *s) {
    int rc = 0;
    for (size_t i = 0; i < s->topo->actors_n && rc == 0; i++)
        rc = vmsig_sup_listen_of(&s->topo->actors[i], &s->gateway[i]);
    return rc;
}

void vmsig_sup_unlisten(const vmsig_topo_actor *t, vmsig_sup_sockets *of) {
    if (of->listen >= 0)
        unlink(t->socket);
    vmsig_sup_close(&of->listen);
    vmsig_sup_close(&of->audit);
    vmsig_sup_close(&of->seal);
}

vmsig_sup_sockets *vmsig_sup_sockets_new(void) {
    vmsig_sup_sockets *list = malloc(VMSIG_ACTORS_MAX * sizeof *list);
    for (size_t i = 0; list != NULL && i < VMSIG_ACTORS_MAX; i++)
        list[i] = (vmsig_sup_sockets){-1, -1, -1};
    return list;
}

void vmsig_sup_sockets_free(vmsig_sup_sockets *list, const vmsig_topology *t) {
    for (size_t i = 0; list != NULL && i < t->actors_n; i++)
        vmsig_sup_unlisten(&t->actors[i], &list[i]);
    free(list);
}
