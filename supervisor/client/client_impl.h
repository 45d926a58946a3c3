/* client_impl.h: the client's inside: client.c (the API, sending, leases), link.c (the connection), rings.c (its rings),
 * where.c (which socket).
 */
#ifndef VMSIG_CLIENT_IMPL_H
#define VMSIG_CLIENT_IMPL_H

#include <stdbool.h>

#include "control.pb-c.h"
#include "rings/look.h"
#include "rings/ring.h"
#include "schema/codec.h"
#include "schema/frame.h"
#include "schema/wire.h"
#include "vmsig_client.h"

#define VMSIG_CLIENT_PENDING 256 /* commands without an answer; the gateway admits as many of a session */

typedef struct vmsig_pending {
    vmsig_event ev; /* with a copy of the payload */
    bool sent;      /* on this connection */
    bool ever_sent;
    bool own;             /* the client's own: its result is not delivered */
    vmsig_result *answer; /* somebody waits for it: neither is this one's */
    bool *answered;
} vmsig_pending;

typedef struct vmsig_holding {
    uint64_t token; /* 0 = not held */
    uint64_t ttl_ns, renew_ns;
} vmsig_holding;

typedef enum vmsig_client_phase {
    VMSIG_CLIENT_AWAY = 0,  /* until retry_ns */
    VMSIG_CLIENT_HELLO = 1, /* said it, wait for the Welcome until retry_ns */
    VMSIG_CLIENT_OPEN = 2
} vmsig_client_phase;

/* The rings of a connection (rings/pair.h). */
typedef struct vmsig_client_ring_pair {
    bool live;
    bool full;     /* a command waits for room */
    bool expected; /* a mark was read: the next event comes over the socket */
    bool marked;   /* a mark was written: the next command goes over the socket, once the gateway has passed it */
    bool bell_due; /* the socket took no bell, and is not full */
    vmsig_ring_in up;
    vmsig_ring_out down;
    uint32_t unreleased; /* events since the cursor was stored */
} vmsig_client_ring_pair;

struct vmsig_client {
    vmsig_client_cfg cfg;
    char name[32];
    char path[108];
    int epfd, timerfd, sock;
    vmsig_client_phase phase;
    bool was_open; /* at least once */
    bool inside;   /* a callback runs */
    bool want_out;
    bool refused; /* by the gateway, with a reason: to be told by the next step */
    uint64_t retry_ns, pause_ns;
    bool timer_stale; /* the phase, retry_ns or a holding changed */
    uint64_t open_ns; /* since when the connection is open */
    uint64_t session, lineage, place, sseq;
    bool snapshot; /* the retained set was not seen to its end */
    vmsig_grant grant;
    uint64_t next_corr;
    uint32_t epoch[VMSIG_ENDPOINTS_MAX]; /* newest seen */
    vmsig_holding held[VMSIG_ENDPOINTS_MAX][VMSIG_LEASE_CLASSES];
    vmsig_pending *pending[VMSIG_CLIENT_PENDING]; /* by growing corr */
    int pending_n;
    int delivered; /* by the step that runs */
    vmsig_client_ring_pair ring;
    bool rings_failed; /* the last ones could not be mapped: not again */
    char no_rings[128];
    vmsig_look look;
    bool polled;        /* somebody waits on the fd, and not in step: say that we sleep whenever step returns */
    int again;          /* an eventfd: there is more in the ring */
    uint64_t looked_ns; /* when fds and timers were last looked at */
    vmsig_frame frame;
    vmsig_pb_event pb;
    char error[256];
};

/* client.c */
int vmsig_client_fail(vmsig_client *c, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
uint64_t vmsig_client_now(void);
/* An event has come: fd is a MEMCTX's RAM, or -1. */
void vmsig_client_take(vmsig_client *c, vmsig_event *ev, int fd);
/* The connection is open: resumed, or with a new session. */
void vmsig_client_opened(vmsig_client *c, bool resumed);
/* Sends what was not sent on this connection. */
void vmsig_client_push(vmsig_client *c);

/* link.c */
/* Connects and says Hello: 0 (the Welcome is to come) or -errno. */
int vmsig_client_connect(vmsig_client *c);
/* The connection ended: what was not answered waits for the next one. */
void vmsig_client_disconnect(vmsig_client *c);
/* Handles the frames that are there. */
void vmsig_client_read(vmsig_client *c);
/* One command: 0, -EAGAIN the socket is full, or the error that ends the connection. */
int vmsig_client_put(vmsig_client *c, const vmsig_event *ev);
void vmsig_client_watch(vmsig_client *c, bool out);
/* An event in its turn: 0, or -EPROTO: what the gateway says makes no sense. */
int vmsig_client_next(vmsig_client *c, vmsig_event *ev, vmsig_wire_place at, int fd);

/* rings.c */
/* What came with the Welcome (fds borrowed): 0, or -errno. */
int vmsig_client_rings_take(vmsig_client *c, const Vmsig__Pb__Rings *rings, const int *fds, int nfds);
void vmsig_client_rings_drop(vmsig_client *c);
/* Hands over what is there, at most `most` events, up to a mark: how many, or -EPROTO. */
int vmsig_client_drain(vmsig_client *c, unsigned most);
/* An event came over the socket: hands over what comes before it. 0, or -EPROTO: it was not spoken of. */
int vmsig_client_reach_mark(vmsig_client *c);
/* Looks on for at most timeout_ms, as the mode says: true: something has come. */
bool vmsig_client_look_on(vmsig_client *c, int timeout_ms);
/* Says that the client sleeps: false: something is there. */
bool vmsig_client_lie_down(vmsig_client *c);
/* One command: as vmsig_client_put. */
int vmsig_client_ring_put(vmsig_client *c, const vmsig_event *ev);
/* After some: wakes the gateway where it sleeps. */
void vmsig_client_ring_flush(vmsig_client *c);

/* where.c: the socket's path: 0, or -errno with a sentence in err. */
int vmsig_client_where(const char *where, char *path, size_t path_len, char *err, size_t err_len);

#endif
