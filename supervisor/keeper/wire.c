#include "supervisor/keeper/keeper.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef union control {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int) * VMSIG_KEEPER_FDS)];
} control;

int vmsig_keeper_send(int sock, const vmsig_keeper_msg *m, const void *blob, const int *fds, int nfds) {
    if (m->len > VMSIG_KEEPER_BLOB_MAX || nfds < 0 || nfds > VMSIG_KEEPER_FDS)
        return -EMSGSIZE;
    vmsig_keeper_msg head = *m;
    struct iovec iov[2] = {{&head, sizeof head}, {NULL, m->len}};
    if (m->len > 0)
        memcpy(&iov[1].iov_base, &blob, sizeof blob); /* iovec has no const */
    control c;
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = m->len > 0 ? 2 : 1};
    if (nfds > 0) {
        size_t bytes = sizeof(int) * (size_t)nfds;
        memset(&c, 0, sizeof c);
        msg.msg_control = &c;
        msg.msg_controllen = CMSG_SPACE(bytes);
        c.head.cmsg_level = SOL_SOCKET;
        c.head.cmsg_type = SCM_RIGHTS;
        c.head.cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(&c.head), fds, bytes);
    }
    ssize_t n;
    do
        n = sendmsg(sock, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

static int take_fds(struct msghdr *msg, int *fds) {
    int n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t bytes = c->cmsg_len - CMSG_LEN(0);
        memcpy(fds + n, CMSG_DATA(c), bytes);
        n += (int)(bytes / sizeof(int));
    }
    return n;
}

int vmsig_keeper_recv(int sock, vmsig_keeper_msg *m, void *blob, int *fds, int *nfds) {
    struct iovec iov[2] = {{m, sizeof *m}, {blob, VMSIG_KEEPER_BLOB_MAX}};
    control c;
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2, .msg_control = &c, .msg_controllen = sizeof c};
    *nfds = 0;
    ssize_t n;
    bool reset = false, again;
    do { /* a peer that ends with something unread is reported as reset once, before its last words */
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        again = n < 0 && (errno == EINTR || (errno == ECONNRESET && !reset));
        reset = again && errno == ECONNRESET;
    } while (again);
    if (n < 0)
        return errno == ECONNRESET ? 0 : -errno;
    if (n == 0)
        return 0;
    *nfds = take_fds(&msg, fds);
    if ((msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 && (size_t)n >= sizeof *m && (size_t)n - sizeof *m == m->len)
        return 1;
    while (*nfds > 0)
        close(fds[--*nfds]);
    return -EPROTO;
}
