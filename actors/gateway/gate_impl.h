/* gate_impl.h: the gate's inside, shared by its files: gate.c (life, state, controls), admit.c (commands in), hold.c
 * (leases), intent.c (commands that wait for their intent), time.c (epochs, deadlines, fences), deliver.c (events out).
 */
#ifndef VMSIG_GATE_IMPL_H
#define VMSIG_GATE_IMPL_H

#include "actors/gateway/commands.h"
#include "actors/gateway/gate.h"
#include "actors/gateway/lease.h"
#include "actors/gateway/log.h"
#include "actors/gateway/retained.h"

#define VMSIG_GATE_SESSIONS 256u
#define VMSIG_GATE_CONTROLS 256u
#define VMSIG_GATE_LINKS    64u

typedef struct vmsig_session_rec {
    uint64_t id;        /* 0 = free; unguessable: to name it is to be allowed to resume it */
    uint64_t corr_done; /* highest corr that was accepted or answered */
    uint64_t used_ns;   /* when it was last attached or left */
    uint32_t uid;
    uint32_t inflight;
    uint32_t lasting; /* outlives its connection; its corr grows */
    uint32_t reserved;
} vmsig_session_rec;

typedef struct vmsig_accepted {
    uint32_t link; /* 0 = free */
    uint32_t reserved;
    uint64_t position, seq;
} vmsig_accepted;

/* The durable state; the log's bytes follow it. */
typedef struct vmsig_gate_state {
    uint64_t next_token; /* from 1 */
    uint64_t reserved;
    vmsig_tx_log tx;
    vmsig_log_meta log;
    vmsig_accepted accepted[VMSIG_GATE_LINKS];
    uint32_t epoch[VMSIG_ENDPOINTS_MAX]; /* as last seen */
    vmsig_session_rec session[VMSIG_GATE_SESSIONS];
    vmsig_lease_slot lease[VMSIG_ENDPOINTS_MAX][VMSIG_LEASE_CLASSES];
    vmsig_commands_table commands;
    vmsig_retained retained;
} vmsig_gate_state;

/* What a control may see. */
typedef struct vmsig_filter {
    bool on;
    vmsig_grant grant;
    vmsig_sub sub;
} vmsig_filter;

typedef enum vmsig_control_phase {
    VMSIG_PHASE_MUTE = 0, /* no grant */
    VMSIG_PHASE_JOIN = 1, /* is given the retained set */
    VMSIG_PHASE_LIVE = 2
} vmsig_control_phase;

typedef struct vmsig_gate_control {
    vmsig_gate *gate;
    const vmsig_control_ops *ops;
    void *ctl;
    int id;
    vmsig_session_rec *session;
    vmsig_filter filter;
    vmsig_control_phase phase;
    bool blocked; /* it said EAGAIN */
    bool dead;    /* to be closed at the next turn */
    uint64_t cursor;
    uint64_t begin;      /* where this connection's reading began: its control has handled what lies before */
    uint64_t last_place; /* of the last record passed */
    /* JOIN */
    uint32_t join_at;     /* the next entry of the retained set */
    uint64_t join_place;  /* entries above come live */
    bool join_after_loss; /* tell what may have been invalidated meanwhile */
    uint32_t invalid_at;  /* the next endpoint to look at for that */
    vmsig_filter join_skip;
    /* records that were trimmed before it had them */
    uint64_t lost_count, lost_first, lost_last;
    uint32_t refused; /* preemptions, of late */
    uint64_t refused_ns;
    uint64_t ram_missing; /* endpoints whose MEMCTX waits for its RAM fd */
} vmsig_gate_control;

/* A command that waits for its intent; by the index of its entry. */
typedef struct vmsig_held {
    vmsig_event cmd; /* as it will be published; the payload is its own */
    uint16_t next;   /* the next younger one */
    bool ready;
    vmsig_status failed; /* 0 = no */
} vmsig_held;
#define VMSIG_HELD_NONE UINT16_MAX

struct vmsig_gate {
    vmsig_gate_env env;
    vmsig_gate_state *d;
    vmsig_tx tx;
    vmsig_log log;
    vmsig_commands commands;
    vmsig_retained *retained;
    vmsig_gate_control *control[VMSIG_GATE_CONTROLS];
    int controls_n; /* ids below */
    vmsig_arb_policy arbiter;
    void *arbiter_ud;
    vmsig_audit_cb audit;
    void *audit_ud;
    bool leases_closed;
    vmsig_held *held; /* VMSIG_INFLIGHT_MAX */
    uint16_t held_first, held_last;
    uint64_t next_due;                          /* earliest deadline; UINT64_MAX = none. May be early, never late. */
    uint64_t grace_end;                         /* 0 = over */
    uint64_t fences_dirty[VMSIG_LEASE_CLASSES]; /* slots whose fence word is to be set: endpoint masks */
    uint64_t lines_due;                         /* endpoints whose lines are to be seen to */
    uint64_t asks_due;                          /* endpoints with a FENCE to send */
    uint64_t voided;  /* endpoints whose memctx the gate has told to be void: the host's own word comes too late */
    uint64_t place;   /* of the event that is being delivered */
    uint64_t refused; /* events that no context sends */
    bool started, turning, again;
    bool retained_full; /* it was said */
    /* delivery's; what is being sent or taken; trimming's */
    vmsig_event scratch, scratch2, scratch_trim;
};

/* gate.c */
uint64_t vmsig_gate_now(vmsig_gate *g);
void vmsig_gate_wake(vmsig_gate *g);
void vmsig_gate_say(vmsig_gate *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Opens a transaction that puts at most `bytes` of records besides a few small ones: -EAGAIN: the log is pinned. */
int vmsig_gate_begin(vmsig_gate *g, uint64_t bytes);
/* Commits, then does what follows from it: fences. */
void vmsig_gate_commit(vmsig_gate *g);
void vmsig_gate_rollback(vmsig_gate *g);
void vmsig_gate_put(vmsig_gate *g, uint64_t session, const vmsig_event *ev);
/* One of the gate's own to one session: a result, or the news of a lease. len: at most VMSIG_INLINE_MAX. */
void vmsig_gate_tell(vmsig_gate *g, uint64_t session, vmsig_kind kind, uint64_t corr, uint32_t endpoint,
                     const void *body, uint32_t len);
void vmsig_gate_due(vmsig_gate *g, uint64_t when_ns);
vmsig_session_rec *vmsig_gate_session_of(vmsig_gate *g, uint64_t id);
vmsig_gate_control *vmsig_gate_control_of(vmsig_gate *g, uint64_t session);
uint32_t vmsig_gate_epoch(const vmsig_gate *g, uint32_t endpoint);
/* Asks the audit; 0, -1: an intent was refused, or VMSIG_GATE_HOLD. */
int vmsig_gate_audit(vmsig_gate *g, const vmsig_audit_record *rec);

/* Inside a transaction: the one result of an entry, which it ends; or of a command that got none. */
void vmsig_gate_answer(vmsig_gate *g, vmsig_inflight *e, vmsig_status status, uint64_t detail);
void vmsig_gate_result(vmsig_gate *g, uint64_t session, const vmsig_event *cmd, vmsig_status status, uint64_t detail);

/* admit.c: the emit hook */
int vmsig_gate_emit(void *control, vmsig_event *cmd);

/* hold.c */
/* A LEASE command that passed admission: 0, or -EAGAIN. */
int vmsig_gate_lease_command(vmsig_gate *g, vmsig_gate_control *c, const vmsig_event *cmd);
/* An event of a slot, as transactions of its own: the step and what follows for those in line. */
void vmsig_gate_slot_event(vmsig_gate *g, uint32_t endpoint, uint32_t cls, vmsig_slot_event event, uint64_t session);
/* What a session had or waited for, at all slots that `covers` no longer lets it have (NULL: all). */
void vmsig_gate_session_gone(vmsig_gate *g, uint64_t session, const vmsig_grant *covers);
/* The host's answer to a FENCE: part of the transaction that takes it. */
void vmsig_gate_fence_answer(vmsig_gate *g, vmsig_inflight *e, int32_t status);
void vmsig_gate_serve_lines(vmsig_gate *g);
void vmsig_gate_fence_ask(vmsig_gate *g, uint32_t endpoint, uint32_t cls);
void vmsig_gate_set_fence(vmsig_gate *g, uint32_t endpoint, uint32_t cls);

/* intent.c */
/* Inside the transaction that made e. cmd: as it is to be published. 0, or -ENOMEM. */
int vmsig_gate_hold(vmsig_gate *g, vmsig_inflight *e, const vmsig_event *cmd, bool ready);
/* e was answered, or sent. */
void vmsig_gate_unhold(vmsig_gate *g, const vmsig_inflight *e);
bool vmsig_gate_held_lane(const vmsig_gate *g, uint32_t endpoint, uint8_t lane);
bool vmsig_gate_held_session(const vmsig_gate *g, uint64_t session, uint32_t endpoint);
void vmsig_gate_send_held(vmsig_gate *g);
/* What a predecessor held, at start. */
void vmsig_gate_answer_held(vmsig_gate *g);
void vmsig_gate_free_held(vmsig_gate *g);

/* time.c */
void vmsig_gate_look_at_epochs(vmsig_gate *g);
void vmsig_gate_expire(vmsig_gate *g);

/* deliver.c */
bool vmsig_gate_sees(const vmsig_filter *f, uint64_t session, const vmsig_rec *rec, const vmsig_event *ev);
int vmsig_gate_deliver(vmsig_gate *g);
void vmsig_gate_join(vmsig_gate_control *c, uint64_t place, const vmsig_filter *skip);
void vmsig_gate_trimmed(void *gate, const vmsig_rec *rec, uint64_t pos);

#endif
