#include "schema/frame.h"

#include "schema/wire.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEPTH_MAX    8    /* of messages in messages; the schema itself needs 5 */
#define MESSAGES_MAX 8192 /* in one frame: an empty one takes 2 bytes on the wire and a hundred times that decoded */

/* ---- sending ------------------------------------------------------------------------------------------- */

typedef union vmsig_fd_space {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * VMSIG_FRAME_FDS_MAX)];
} vmsig_fd_space;

static void attach_fds(struct msghdr *h, vmsig_fd_space *space, const int *fds, int nfds) {
    size_t bytes = sizeof(int) * (size_t)nfds;
    memset(space, 0, sizeof *space);
    h->msg_control = space->bytes;
    h->msg_controllen = CMSG_SPACE(bytes);
    struct cmsghdr *c = CMSG_FIRSTHDR(h);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(c), fds, bytes);
}

int vmsig_frame_send(int sock, const ProtobufCMessage *m, const int *fds, int nfds) {
    if (nfds < 0 || nfds > VMSIG_FRAME_FDS_MAX)
        return -EINVAL;
    size_t len = protobuf_c_message_get_packed_size(m);
    if (len > VMSIG_FRAME_MAX)
        return -EMSGSIZE;
    if (len == 0) /* to the receiver it would look like the end */
        return -EINVAL;
    uint8_t bytes[VMSIG_FRAME_MAX];
    protobuf_c_message_pack(m, bytes);

    struct iovec v = {.iov_base = bytes, .iov_len = len};
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
    vmsig_fd_space space;
    if (nfds > 0)
        attach_fds(&h, &space, fds, nfds);
    for (;;) {
        if (sendmsg(sock, &h, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

/* ---- receiving ----------------------------------------------------------------------------------------- */

static void take_fds(struct msghdr *h, vmsig_frame *f) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        int n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(f->fds, CMSG_DATA(c), sizeof(int) * (size_t)n); /* the space holds no more than fit */
        f->nfds = n;
    }
}

void vmsig_frame_close_fds(vmsig_frame *f) {
    for (int i = 0; i < f->nfds; i++)
        close(f->fds[i]);
    f->nfds = 0;
}

static int receive(int sock, vmsig_frame *f, int flags) {
    struct iovec v = {.iov_base = f->bytes, .iov_len = sizeof f->bytes};
    vmsig_fd_space space;
    struct msghdr h = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = space.bytes, .msg_controllen = sizeof space.bytes};
    f->len = 0;
    f->nfds = 0;
    ssize_t n;
    bool reset = false, again;
    do { /* a peer that ends with something unread is reported as reset once, before its last words */
        n = recvmsg(sock, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT | flags);
        again = n < 0 && (errno == EINTR || (errno == ECONNRESET && !reset));
        reset = again && errno == ECONNRESET;
    } while (again);
    if (n < 0)
        return errno == ECONNRESET ? 0 : -errno;
    take_fds(&h, f);
    int wrong = h.msg_flags & MSG_TRUNC ? -EMSGSIZE : h.msg_flags & MSG_CTRUNC || (n == 0 && f->nfds) ? -EPROTO : 0;
    if (wrong) {
        vmsig_frame_close_fds(f);
        return wrong;
    }
    f->len = (size_t)n;
    return n > 0;
}

int vmsig_frame_recv(int sock, vmsig_frame *f) {
    return receive(sock, f, 0);
}

int vmsig_frame_peek(int sock, vmsig_frame *f) {
    return receive(sock, f, MSG_PEEK);
}

/* ---- looking before decoding --------------------------------------------------------------------------- */

typedef struct cursor {
    const uint8_t *at, *end;
    int messages; /* that may still come */
} cursor;

static bool skip(cursor *c, uint64_t n) {
    if (n > (uint64_t)(c->end - c->at))
        return false;
    c->at += n;
    return true;
}

static bool message_ok(cursor *c, const uint8_t *end, const ProtobufCMessageDescriptor *type, int depth);

/* A length-delimited field: a message is looked into, the rest is only bytes. */
static bool delimited_ok(cursor *c, const uint8_t *end, const ProtobufCFieldDescriptor *field, int depth) {
    uint64_t len;
    if (!vmsig_varint_get(&c->at, c->end, &len) || len > (uint64_t)(end - c->at))
        return false;
    if (!field || field->type != PROTOBUF_C_TYPE_MESSAGE)
        return skip(c, len);
    return message_ok(c, c->at + len, field->descriptor, depth + 1);
}

static bool message_ok(cursor *c, const uint8_t *end, const ProtobufCMessageDescriptor *type, int depth) {
    if (depth > DEPTH_MAX || c->messages-- == 0)
        return false;
    while (c->at < end) {
        uint64_t tag, value;
        if (!vmsig_varint_get(&c->at, c->end, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
            return false;
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
        bool ok = false;
        switch (tag & 7) {
        case 0:
            ok = vmsig_varint_get(&c->at, c->end, &value);
            break;
        case 1:
            ok = skip(c, 8);
            break;
        case 2:
            ok = delimited_ok(c, end, field, depth);
            break;
        case 5:
            ok = skip(c, 4);
            break;
        default: /* groups: no schema of ours has them */
            break;
        }
        if (!ok || c->at > end) /* what a field of an inner message took may not reach beyond it */
            return false;
    }
    return true;
}

void *vmsig_bytes_unpack(const uint8_t *bytes, size_t len, const ProtobufCMessageDescriptor *type) {
    cursor c = {.at = bytes, .end = bytes + len, .messages = MESSAGES_MAX};
    return message_ok(&c, c.end, type, 1) ? protobuf_c_message_unpack(type, NULL, len, bytes) : NULL;
}

void *vmsig_frame_unpack(const vmsig_frame *f, const ProtobufCMessageDescriptor *type) {
    return f->len > VMSIG_FRAME_MAX ? NULL : vmsig_bytes_unpack(f->bytes, f->len, type);
}
