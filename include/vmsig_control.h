/* vmsig_control.h: the control seam. A control is an algorithm or a human; both attach by ONE interface:
 * commands down, a subscription up.
 *
 *   gateway ──deliver, attach_memctx──► control
 *   gateway ◄──emit (installed by set_emit_down)── control
 *
 * What reaches a control is subscription ∩ grant. Without a valid grant: nothing in, nothing out.
 * All calls of a control's ops come from the gateway's loop thread.
 */
#ifndef VMSIG_CONTROL_H
#define VMSIG_CONTROL_H

#include "vmsig_event.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Capability bits. 0x4 and 0x10 are retired: never reused, and a grant that bears one is refused. */
#define VMSIG_CAP_OBSERVE   0x1u
#define VMSIG_CAP_INPUT     0x2u
#define VMSIG_CAP_LIFECYCLE 0x8u  /* pause, resume, wakeup */
#define VMSIG_CAP_POWER     0x20u /* powerdown, reset, quit */
#define VMSIG_CAP_VM        0x40u /* query, cont, stop */
#define VMSIG_CAP_MEMCTX    0x80u /* may RECEIVE the address-space context and its read-only fd */
#define VMSIG_CAP_MEMWRITE  0x100u
#define VMSIG_CAP_RETIRED   (0x4u | 0x10u)
#define VMSIG_CAP_ALL                                                                                                  \
    (VMSIG_CAP_OBSERVE | VMSIG_CAP_INPUT | VMSIG_CAP_LIFECYCLE | VMSIG_CAP_POWER | VMSIG_CAP_VM | VMSIG_CAP_MEMCTX |   \
     VMSIG_CAP_MEMWRITE)

/* What a control WANTS; it only narrows what the grant allows. */
typedef struct vmsig_sub {
    uint32_t source_mask;   /* bit 1u << vmsig_source */
    uint64_t endpoint_mask; /* bit 1ull << endpoint */
    uint8_t min_prio;       /* vmsig_prio; events below it are not delivered */
} vmsig_sub;

/* What a control MAY. */
typedef struct vmsig_grant {
    uint32_t principal; /* who it is: on a socket the peer's uid */
    uint64_t endpoint_mask;
    uint32_t caps;     /* VMSIG_CAP_ bits */
    uint32_t priority; /* higher preempts lower by the default arbitration */
} vmsig_grant;

typedef enum vmsig_arb_decision { VMSIG_ARB_DENY = 0, VMSIG_ARB_PREEMPT = 1, VMSIG_ARB_QUEUE = 2 } vmsig_arb_decision;

/* Asked on the loop thread, only when a LIVE owner holds (endpoint, cls) and another control wants it. Both grants
 * are the live ones, not copies; incumbent is never NULL. cls is a vmsig_lease_class. Default: a strictly higher
 * priority preempts, otherwise deny. */
typedef vmsig_arb_decision (*vmsig_arb_policy)(void *ud, uint32_t endpoint, uint32_t cls, const vmsig_grant *incumbent,
                                               const vmsig_grant *contender);

typedef struct vmsig_control_ops {
    const char *name;
    /* The fd to poll for on_readable; -1 = in-process, not in epoll. */
    int (*fd)(void *ctl);
    /* Asked once at attach: what it wants. 0 / -1. */
    int (*subscribe)(void *ctl, vmsig_sub *out);
    /* One event; borrowed: copy what must outlive the call. 0 / -1 (the control is then detached). */
    int (*deliver)(void *ctl, const vmsig_event *ev);
    /* Sockets: read, parse, then call the installed hook. 0 / -1 (the control is then detached). */
    int (*on_readable)(void *ctl);
    /* Installs the hook for commands; emit returns 0, or -1 with errno when the command was refused outright. The
     * event stays the caller's, payload included. */
    void (*set_emit_down)(void *ctl, int (*emit)(void *token, vmsig_event *), void *token);
    void (*close)(void *ctl);
    /* A MEMCTX event and its RAM fd (borrowed: dup or mmap to keep it); NULL = takes no memctx. 0 / -1. */
    int (*attach_memctx)(void *ctl, const vmsig_event *ev, int fd);
} vmsig_control_ops;

/* ---- the in-process reference control ---------------------------------------------------------------- */

typedef struct vmsig_inproc_cfg {
    int (*on_event)(void *user, const vmsig_event *up); /* borrowed event */
    void *user;
    vmsig_sub sub;
    int (*on_memctx)(void *user, const vmsig_event *ev, int fd); /* NULL = takes no memctx; fd borrowed */
} vmsig_inproc_cfg;

const vmsig_control_ops *vmsig_inproc_control_ops(void);

/* cfg is copied. NULL: out of memory, or cfg or its on_event is NULL (EINVAL). Freed by ops->close(ctl). */
void *vmsig_inproc_control_new(const vmsig_inproc_cfg *cfg);

/* Sends a command; 0, or -1 with errno (ENOTCONN: not attached). The caller keeps down and its payload. */
int vmsig_inproc_send(void *ctl, vmsig_event *down);

#ifdef __cplusplus
}
#endif
#endif
