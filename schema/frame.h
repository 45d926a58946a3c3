/* frame.h: one protobuf message and its fds as one SOCK_SEQPACKET frame: the form of the boot socket, the control
 * socket and the supervisor's socket. Errors: 0 or negative errno.
 */
#ifndef VMSIG_FRAME_H
#define VMSIG_FRAME_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#define VMSIG_FRAME_MAX     65536u
#define VMSIG_FRAME_FDS_MAX 16

typedef struct vmsig_frame {
    uint8_t bytes[VMSIG_FRAME_MAX];
    size_t len;
    int fds[VMSIG_FRAME_FDS_MAX];
    int nfds;
} vmsig_frame;

/* Packs and sends m with fds (borrowed): -EAGAIN the socket is full (nothing was sent), -EMSGSIZE, -EPIPE... */
int vmsig_frame_send(int sock, const ProtobufCMessage *m, const int *fds, int nfds);
/* Receives one frame, fds CLOEXEC and the caller's: 1, 0 = the peer has closed, -EAGAIN nothing there, -EMSGSIZE an
 * oversized frame, -EPROTO more fds than may come (all closed). */
int vmsig_frame_recv(int sock, vmsig_frame *f);
/* The same, but the frame stays in the socket (fds are duplicates): handle it, note down what followed, then receive it.
 * Who dies in between leaves it to a successor. */
int vmsig_frame_peek(int sock, vmsig_frame *f);
void vmsig_frame_close_fds(vmsig_frame *f);
/* Unpacks after a check of nesting depth and field sizes; NULL: not a message of that type. Free with
 * protobuf_c_message_free_unpacked. */
void *vmsig_frame_unpack(const vmsig_frame *f, const ProtobufCMessageDescriptor *type);
/* The same for bytes that came another way, as long as they stay what they are. */
void *vmsig_bytes_unpack(const uint8_t *bytes, size_t len, const ProtobufCMessageDescriptor *type);

#endif
