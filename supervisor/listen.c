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

int vmsig_sup_listen_all(vmsig_sup *s) {
    for (size_t i = 0; i < s->topo->actors_n; i++) {
        const vmsig_topo_actor *t = &s->topo->actors[i];
        if (t->kind != VMSIG_TOPO_GATEWAY || t->socket == NULL)
            continue;
        s->gateway_listen[i] = vmsig_sup_listen(t->socket, 0666); /* the grants say who may what */
        if (s->gateway_listen[i] < 0)
            return s->gateway_listen[i];
        int rc = t->audit ? vmsig_sup_audit_open(s, i) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

void vmsig_sup_unlisten_all(vmsig_sup *s) {
    for (size_t i = 0; i < s->topo->actors_n; i++) {
        if (s->gateway_listen[i] >= 0)
            unlink(s->topo->actors[i].socket);
        vmsig_sup_close(&s->gateway_listen[i]);
        vmsig_sup_close(&s->gateway_audit[i]);
        vmsig_sup_close(&s->gateway_seal[i]);
    }
}
