/* gate.h: the gate: who may see what and drive what. Used by the gateway actor and, in one process, by vmsig_core.
 *
 *   context ──take──► [ log, retained ] ──deliver (subscription ∩ grant)──► controls
 *           ◄─command─ [ admission: grant, capability, epoch, lease ] ◄──emit── controls
 *                         │ leases (lease.h) ── fence page ──► hosts
 *
 * Everything that must outlive the process lies in one piece of memory that the caller gives (an actor's state page;
 * plain memory in one process), and changes in transactions (tx.h). Volatile: the controls themselves, their cursors.
 *
 * Sessions   a control has a session; commands in flight, leases and results belong to it. A socket's session outlives
 *            its connection, so that a control which comes back goes on where it was.
 * Turns      calls only note; controls are called (deliver, attach_memctx, close) from vmsig_gate_turn alone.
 * Threads    one. Errors: 0 or negative errno, but for emit, which is the control seam's (-1 and errno).
 */
#ifndef VMSIG_GATE_H
#define VMSIG_GATE_H

#include <stdbool.h>
#include <stddef.h>

#include "rings/fence.h"
#include "vmsig_core.h"

typedef struct vmsig_gate vmsig_gate;

#define VMSIG_GATE_KIND        0x65746167u /* in the state's head */
#define VMSIG_GATE_VERSION     2u
#define VMSIG_GATE_STATE_BYTES (8u << 20) /* a good size: events of any payload fit */
#define VMSIG_GATE_STATE_MIN   (1u << 20)

/* What the gate stands on. NULL = not there. */
typedef struct vmsig_gate_env {
    uint64_t (*now)(void *ud);                        /* CLOCK_MONOTONIC, ns */
    uint32_t (*epoch)(void *ud, uint32_t endpoint);   /* 0 = its host is down */
    int (*command)(void *ud, const vmsig_event *cmd); /* to the context: 0, -EAGAIN no room now, -ENOENT nobody there */
    uint64_t (*mark)(void *ud, uint32_t endpoint);    /* where the next command will be published; never 0 */
    bool (*published)(void *ud, uint64_t mark);       /* after a restart: did the predecessor publish there? */
    int (*ram)(void *ud, uint32_t endpoint,
               uint32_t ram_id); /* read-only fd, borrowed; -1 = not here yet (asked for) */
    vmsig_fence_page *(*fences)(void *ud);
    void (*wake)(void *ud); /* something was noted outside a turn: a turn is due */
    void (*log)(void *ud, const char *text);
    void (*unquiet)(void *ud, uint32_t endpoint); /* it did not become quiet: a class of it is closed */
    uint64_t endpoint_mask;                       /* those it serves */
    uint64_t default_ttl_ns;                      /* 0 = 10 s */
    uint64_t quiet_ns[VMSIG_ENDPOINTS_MAX];       /* bound for a host to be quiet; 0 = 1 s */
    uint64_t command_ns;                          /* a command is answered TIMEOUT after it; 0 = 10 s */
    uint64_t queue_ns;                            /* an ACQUIRE waits in line at most this long; 0 = 60 s */
    uint64_t retain_ns; /* how long after its origin a sensor's event is retained; 0 = no end */
    uint64_t grace_ns;  /* after a restart, what sessions have to come back; 0 = 1 s */
    void *ud;
} vmsig_gate_env;

/* mem: 8-aligned, bytes >= VMSIG_GATE_STATE_MIN, zeroed when it is new; stays the caller's. What a predecessor left
 * half done is rolled back, unless it was about to publish: that is decided in start. */
int vmsig_gate_new(void *mem, size_t bytes, const vmsig_gate_env *env, vmsig_gate **out);
/* Detaches and closes every control. NULL is allowed. */
void vmsig_gate_free(vmsig_gate *g);

/* Where to go on reading a link, and the full seq of the last event taken from it: false = nothing was. */
bool vmsig_gate_accepted(const vmsig_gate *g, uint16_t link, uint64_t *position, uint64_t *seq);
/* Everything of the boot is there: settles what was left, sets the fences. */
int vmsig_gate_start(vmsig_gate *g);

/* An event from the context, borrowed, with its full seq: noted in the log; `position`: where that link goes on after
 * it. 0, or -EINVAL: none that a context sends (it is passed over, and the position accepted). */
int vmsig_gate_take(vmsig_gate *g, uint16_t link, uint64_t position, const vmsig_event *ev);

/* Everything stops because this actor's restarts are exhausted: noted for all controls, and for the audit. */
void vmsig_gate_failed(vmsig_gate *g, const char *actor);

/* Everything that is due: epochs, time, fences, delivery. How many events were delivered. */
int vmsig_gate_turn(vmsig_gate *g);
/* When a turn is due though nothing happens; 0 = never. */
uint64_t vmsig_gate_deadline(const vmsig_gate *g);
/* true: a turn has something to do. */
bool vmsig_gate_busy(const vmsig_gate *g);

/* ---- controls ------------------------------------------------------------------------------------------ */

/* Attaches a control with a session that ends with it; subscribes, installs the emit hook. Its id >= 0, or -ENOSPC,
 * -ENOMEM, -EINVAL. deliver and attach_memctx may answer -1 with errno EAGAIN: not now, the same again after
 * vmsig_gate_unblock. */
int vmsig_gate_attach(vmsig_gate *g, const vmsig_control_ops *ops, void *ctl);

/* The same with a session that outlives the connection, of a peer whose corr grows. */
typedef struct vmsig_gate_session {
    uint64_t id;    /* in: the one to resume, 0 = a new one; out: the one that it has */
    uint64_t place; /* in, to resume: the last place seen; out: what comes live comes after it */
    bool snapshot;  /* in: the retained set as of that place was not seen to its end: it comes again */
    uint32_t uid;   /* whose; another's cannot be resumed */
    bool resumed;   /* out */
} vmsig_gate_session;
int vmsig_gate_attach_session(vmsig_gate *g, const vmsig_control_ops *ops, void *ctl, vmsig_gate_session *session);

/* Ends the connection: at the next turn the control is closed; its leases are taken away now. forget: its session ends
 * too. */
int vmsig_gate_detach(vmsig_gate *g, int control, bool forget);
/* -EINVAL: no such control, or a retired or unknown capability. A narrowed grant binds at once, and leases that it no
 * longer covers are revoked; a widened one brings what is retained of the rest. NULL: nothing in, nothing out. */
int vmsig_gate_set_grant(vmsig_gate *g, int control, const vmsig_grant *grant);
/* Asks the control for its subscription again. */
int vmsig_gate_resubscribe(vmsig_gate *g, int control);
void vmsig_gate_unblock(vmsig_gate *g, int control);
/* While deliver or attach_memctx runs: the event's place; 0 = it is of the retained set. */
uint64_t vmsig_gate_place(const vmsig_gate *g);

void vmsig_gate_set_arbiter(vmsig_gate *g, vmsig_arb_policy policy, void *ud);
/* Besides 0 and -1 it may answer an INTENT with VMSIG_GATE_HOLD: written, not yet durable. Then the command waits, and
 * what comes behind it for the same endpoint and lane (input, VM, memory-write); nothing else does. */
#define VMSIG_GATE_HOLD 0x686f6c64
void vmsig_gate_set_audit(vmsig_gate *g, vmsig_audit_cb cb, void *ud);
/* The intent of the command that the audit was told of by `corr` is durable (OK): it goes its way at the next turn. Or it
 * cannot become so: the command is answered `status`. */
void vmsig_gate_intended(vmsig_gate *g, uint64_t corr, vmsig_status status);
/* As env.retain_ns, from now on. */
void vmsig_gate_set_retain(vmsig_gate *g, uint64_t retain_ns);
/* While closed, no lease is granted: ACQUIRE is answered UNAVAILABLE. */
void vmsig_gate_close_leases(vmsig_gate *g, bool closed);

/* For status and tests: the state of a lease (vmsig_slot_state), its holder and token. */
uint32_t vmsig_gate_lease(const vmsig_gate *g, uint32_t endpoint, uint32_t cls, uint32_t *holder, uint64_t *token);

#endif
