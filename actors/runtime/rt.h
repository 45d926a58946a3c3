/* rt.h: the inside of the runtime: what its files share.
 *
 *   runtime.c  open, run, close, accessors          boot.c   the boot socket: messages in, answers out
 *   links.c    links and their new incarnations     pages.c  shared pages, RAM and other fds
 *   turn.c     the turn: loop, consume, flush, sleep
 */
#ifndef VMSIG_RT_H
#define VMSIG_RT_H

#include "actors/runtime/runtime.h"
#include "rings/look.h"
#include "schema/frame.h"

#define VMSIG_RT_BUDGET   256u                 /* events taken from one link in one turn */
#define VMSIG_RT_GRACE_NS UINT64_C(2000000000) /* to stop in, where nobody says how long */

/* A link with what the runtime alone knows of it. */
typedef struct vmsig_rt_link {
    vmsig_link l; /* first: the actor's view */
    vmsig_rt *rt;
    uint32_t newest;   /* generation of the peer's newest ring, or reader page */
    uint32_t want;     /* slots that an output waits for, 0 = none */
    bool held;         /* an input whose events the actor left where they are */
    bool slept;        /* an input that was marked as asleep */
    bool leaving;      /* an input that goes once it is drained */
    bool accused;      /* its peer wrote nonsense, and the supervisor was told */
    uint64_t released; /* the cursor that was last stored */
    int *parked;       /* rings that wait for the chain to have room again, oldest first */
    unsigned parked_n;
} vmsig_rt_link;

/* A message that came while the actor was in the middle of something; handled before the next turn. */
typedef struct vmsig_rt_later {
    Vmsig__Pb__ToActor *msg;
    int fds[VMSIG_FRAME_FDS_MAX];
    int nfds;
    struct vmsig_rt_later *next;
} vmsig_rt_later;

struct vmsig_rt {
    const vmsig_rt_ops *ops;
    void *self;
    vmsig_loop *loop;
    int boot_fd; /* -1 once it has ended */
    vmsig_frame frame;
    Vmsig__Pb__ToActor *boot_msg;
    const Vmsig__Pb__Boot *boot;
    vmsig_rt_later *later;
    bool nested; /* messages are served from within an actor's call */

    bool booted, ready, stopping, drained, ended, told;
    char failed[VMSIG_FAILED_NAME]; /* why it is to stop: whose restarts are exhausted; "" = another reason */
    int exit_code;
    vmsig_timer *stop_timer;

    vmsig_rt_link **links; /* by id */
    unsigned links_n, links_room;

    const vmsig_board *board;
    vmsig_gauges *gauges, *own_gauges; /* own: the stand-in where no page was sent */
    vmsig_link_gauge no_gauge;         /* where the page has no place left */
    vmsig_epoch_page *own_epoch;
    const vmsig_epoch_page *epochs[VMSIG_ENDPOINTS_MAX];
    vmsig_fence_page *own_fences;
    const vmsig_fence_page *fences[VMSIG_ENDPOINTS_MAX]; /* of each endpoint's gateway */
    int state_fd, listen_fd, audit_fd, audit_prev_fd, audit_seal_fd;

    bool wake;            /* an input was woken, or an output has room: look before sleeping */
    unsigned turns_begun; /* of consuming */
    unsigned busy_turns;  /* since fds and timers were last looked at */
    bool fds_busy;        /* some were ready when they were last looked at */
    uint64_t taken_ns;    /* when events were last taken */
    uint64_t fds_due_ns;  /* when fds are to be looked at, whatever the inputs bring */
    vmsig_look look;
};

/* boot.c */
int vmsig_rt_boot_take(vmsig_rt *rt);
int vmsig_rt_stop_timer(vmsig_rt *rt);
void vmsig_rt_boot_drop(vmsig_rt *rt);
/* Handles what has come; for within an actor's call: what must not happen there is put off until the next turn. */
void vmsig_rt_serve(vmsig_rt *rt, bool nested);
void vmsig_rt_serve_later(vmsig_rt *rt);
int vmsig_rt_send(vmsig_rt *rt, const Vmsig__Pb__FromActor *m, int fd);
void vmsig_rt_say_stopped(vmsig_rt *rt);
void vmsig_rt_say_poisoned(vmsig_rt_link *k, uint32_t generation);

/* links.c: 0, or -errno: the sentence has been told. */
int vmsig_rt_link_add(vmsig_rt *rt, const Vmsig__Pb__Link *m, const int *fds, int nfds);
int vmsig_rt_link_peer(vmsig_rt *rt, const Vmsig__Pb__Peer *m, int *fds, int nfds);
void vmsig_rt_link_unlink(vmsig_rt *rt, uint32_t id);
void vmsig_rt_link_remove(vmsig_rt_link *k);
void vmsig_rt_links_drop(vmsig_rt *rt);
/* Gives rings that were parked to the chain, where that has room. */
int vmsig_rt_link_unpark(vmsig_rt_link *k);
/* Waits, asleep, until n slots of `out` are free: 0, -ETIMEDOUT, or -ESHUTDOWN: there is nobody left to make room.
 * Serves the boot socket meanwhile, so that a new incarnation of the consumer is noticed. */
int vmsig_rt_wait_room(vmsig_rt *rt, vmsig_link *out, uint32_t n, uint64_t deadline_ns);

/* pages.c */
int vmsig_rt_page(vmsig_rt *rt, const Vmsig__Pb__Page *m, int fd);
int vmsig_rt_gauges_ready(vmsig_rt *rt);
int vmsig_rt_take_fd(vmsig_rt *rt, Vmsig__Pb__FdKind kind, int fd);
void vmsig_rt_pages_drop(vmsig_rt *rt);

/* turn.c */
/* Publishes what is pending: rings the consumer's bell if it sleeps. */
void vmsig_rt_flush(vmsig_rt_link *k);
void vmsig_rt_room_there(vmsig_rt_link *k);

#endif
