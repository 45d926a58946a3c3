/* conn.h: one connection of the control socket: a control whose ops write frames. Internal to the server. */
#ifndef VMSIG_CONN_H
#define VMSIG_CONN_H

#include <sys/types.h>

#include "actors/gateway/conn_ring.h"
#include "actors/gateway/server.h"
#include "control.pb-c.h"
#include "schema/codec.h"
#include "schema/frame.h"

#define VMSIG_CONN_NAME 32

typedef struct vmsig_conn {
    struct vmsig_conn *next, **link; /* in server->conns */
    vmsig_server *server;
    int fd, pidfd;
    pid_t pid;
    uint32_t uid;
    uint64_t greet_by_ns; /* 0 = it has */
    int control;          /* in the gate; -1 = not yet */
    bool dropped;         /* ends at the gate's next turn */
    bool want_out;        /* the socket is full */
    bool sub_known;
    bool wants_memctx;
    vmsig_sub sub;
    vmsig_grant grant;
    char name[VMSIG_CONN_NAME];
    int (*emit)(void *token, vmsig_event *);
    void *token;
    uint64_t sseq;
    bool parked; /* a command that found no room */
    vmsig_event waiting;
    bool may_rings;
    vmsig_conn_rings *rings; /* NULL = over the socket alone */
    /* Events that wait to leave as one frame; the frame's head is put before them. */
    size_t used;
    uint8_t out[16 + VMSIG_FRAME_MAX];
} vmsig_conn;

struct vmsig_server {
    vmsig_server_cfg cfg;
    vmsig_conn *conns;
    vmsig_timer *timer; /* handshakes; a pause in accepting */
    uint64_t accept_again_ns;
    bool listening;
    bool fds_short; /* it was said */
    vmsig_frame frame;
    vmsig_pb_event pb;
};

extern const vmsig_control_ops vmsig_conn_ops;

/* Takes over fd. */
int vmsig_conn_new(vmsig_server *s, int fd, vmsig_conn **out);
void vmsig_conn_free(vmsig_conn *c);
/* Ends it: `why` for the log (NULL: an ordinary end) and as its last words. */
void vmsig_conn_drop(vmsig_conn *c, const char *why);
/* Sends what waits: 0, -EAGAIN (and it goes on by itself), or the error that ends it. */
int vmsig_conn_flush(vmsig_conn *c);
void vmsig_conn_want_out(vmsig_conn *c, bool out);
/* One message that is not an event, with fds (borrowed). */
int vmsig_conn_send(vmsig_conn *c, Vmsig__Pb__ToControl__MCase which, void *message, const int *fds, int nfds);
/* Handles frames that are there. */
void vmsig_conn_read(vmsig_conn *c);
/* Hands a command in; takes over its payload. */
void vmsig_conn_submit(vmsig_conn *c, vmsig_event *ev);
/* The command that waited, again. */
void vmsig_conn_retry(vmsig_conn *c);
/* Some connection's ring has more: it is looked at again after the others. */
void vmsig_server_soon(vmsig_server *s);
void vmsig_server_say(vmsig_server *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
