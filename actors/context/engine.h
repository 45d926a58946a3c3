/* engine.h: the transfer context's engine, for one direction: order, priority, pacing, coalescing, loss.
 *
 *   candidate ──plan──► step ──result──► entries' new values ──index──► flows, rings, timers
 *                                                                             │
 *   caller  ◄── entry due ◄──────────────── pick ◄────────────────────────────┘
 *
 * Two parts, kept apart so that one engine serves the library (memory that grows) and the context actor (a memfd of
 * fixed size with a redo record):
 *   - the ENTRIES, addressed by index, hold all that must survive: seq (0 = free), the event, merged, the window's
 *     deadline; beside them next_seq and the pacing time per channel. Only the caller stores into them: an operation is
 *     first computed as resulting values (plan, result), which are then stored blindly, in place or through a redo
 *     record;
 *   - the INDEXES (flows, ready rings, timer heap, open windows, credits) are rebuilt from the entries at any time
 *     (rebuild). Only this file's functions touch them.
 *
 * flow      the FIFO of one (endpoint, source, class); beside these, per endpoint: the express flow, for what is never
 *           dropped, paced nor coalesced (invalidations, results, lease news), and the end flow, for EPOCH_END
 *           idle ─accept─► ready | timed | held;  timed ─due─► ready;  ready ─pick─► timed | held, where it must wait
 * classes   express and urgent are strict, policed by a bucket of VMSIG_BURST credits: each costs one while others wait,
 *           and each of the others' dispatches brings VMSIG_REFILL back. high, normal and low share by weights 4:2:1;
 *           in a class the flows take turns. So the head of a flow that is due waits for at most
 *               VMSIG_BURST + (VMSIG_REFILL + 1) * 7 * F  dispatches, F = flows of its class that are due.
 * quota     max_inflight counts a channel's events without the urgent, the express and LOST: those that wait here, and
 *           those ahead, in the next ring (the caller tells). OLDEST evicts from here alone: where all that count are
 *           ahead, one more waits here for the newest.
 *
 * O(1) in what is queued, O(log n) in the flows that wait for a time. No allocation but in new and grow.
 * One thread at a time. Errors: 0 or negative errno.
 */
#ifndef VMSIG_ENGINE_H
#define VMSIG_ENGINE_H

#include <stdbool.h>

#include "vmsig_ctx.h"

#define VMSIG_NONE     UINT32_MAX
#define VMSIG_CHANNELS (VMSIG_ENDPOINTS_MAX * VMSIG_SOURCES_MAX)
#define VMSIG_BURST    16u
#define VMSIG_REFILL   4u
#define VMSIG_DRAIN_NS 100000000u /* how long events of an ended epoch may go on draining */

/* One queued event: three cache lines, of which a body of up to 48 bytes touches two. */
typedef struct vmsig_entry {
    uint64_t seq; /* 0 = free */
    uint64_t ts_ns;
    uint64_t corr;
    uint64_t token;
    uint64_t payload;  /* the owner's: a pointer, or a place in its body store; only where payload_len > 0 */
    uint64_t deadline; /* the end of its window; 0 = it never had one */
    uint64_t origin;   /* of the first (schema/slot.h); 0 in the library */
    uint32_t epoch;
    uint32_t merged;
    uint32_t next; /* index: the next of its flow, or of the free list */
    uint32_t span; /* seq of the last event that was merged into it - seq */
    uint32_t payload_len : 24;
    uint32_t inln_len : 8;
    uint8_t kind;
    uint8_t endpoint;
    uint8_t source;     /* the channel's: also that of a LOST, which is delivered as SEAM's */
    uint8_t flags_prio; /* VMSIG_EVF_ bits << 3 | class */
    uint8_t inln[VMSIG_INLINE_MAX];
} vmsig_entry;
_Static_assert(sizeof(vmsig_entry) == 192, "three cache lines");

typedef enum vmsig_op {
    VMSIG_OP_ACCEPT = 1, /* a new entry */
    VMSIG_OP_COALESCE,   /* the candidate goes into an entry */
    VMSIG_OP_REFUSE,     /* the candidate becomes, or joins, the LOST at the end of its flow */
    VMSIG_OP_OLDEST,     /* an entry becomes, or joins, a LOST in its place; the candidate is a new entry */
    VMSIG_OP_EXPIRE      /* the same without a candidate: its epoch has ended, or its command is void */
} vmsig_op;

/* What an operation will do: which entries get new values, in order. Made by plan; nothing is changed by it. */
typedef struct vmsig_step {
    vmsig_op op;
    uint32_t flow;
    uint32_t n;
    uint32_t idx[3];
    uint32_t fresh;        /* the blank entry that is taken, or VMSIG_NONE */
    uint32_t victim, prev; /* OLDEST, EXPIRE: what is lost, and its predecessor in the flow */
    bool joined;           /* the loss joins a LOST that is there */
    uint8_t why;           /* vmsig_lost_why */
    uint64_t seq;          /* that the candidate takes; 0 = none */
    uint64_t deadline;     /* of the candidate's window, 0 = none */
    uint64_t payload;      /* to be released once the values are stored */
    uint32_t payload_len;  /* 0 = none */
    /* A command that is thereby gone must be answered: corr 0 = none. */
    struct {
        uint64_t corr;
        uint64_t detail;
        uint32_t epoch;
        uint8_t status, endpoint, source;
    } answer;
} vmsig_step;

typedef struct vmsig_engine vmsig_engine;

typedef struct vmsig_engine_cfg {
    vmsig_dir dir;
    uint64_t (*now)(void *ud); /* CLOCK_MONOTONIC, or a test's */
    void *ud;
    vmsig_entry *entries; /* all free (seq 0), or those of a predecessor, followed by rebuild */
    uint32_t capacity;
    uint64_t *next_seq;  /* >= 1 */
    uint64_t *last_sent; /* [VMSIG_CHANNELS]: when a channel last dispatched, 0 = never */
} vmsig_engine_cfg;

int vmsig_engine_new(const vmsig_engine_cfg *cfg, vmsig_engine **out);
void vmsig_engine_free(vmsig_engine *e);

/* The entries have moved, or became more. */
void vmsig_engine_moved(vmsig_engine *e, vmsig_entry *entries, uint32_t capacity);
/* Builds all indexes from the entries and next_seq. O(n log n). Windows stay open to nobody: an event that came between
 * may be gone. */
int vmsig_engine_rebuild(vmsig_engine *e);

/* As vmsig_ctx_set_policy; -EINVAL, -ENOMEM. */
int vmsig_engine_set_policy(vmsig_engine *e, uint32_t source, uint32_t prio, const vmsig_timing *timing);
bool vmsig_engine_paces(const vmsig_engine *e); /* a policy needs, or needed, a timer */

/* The index of a free entry for a candidate, or VMSIG_NONE: none is left. It stays free until index. */
uint32_t vmsig_engine_blank(const vmsig_engine *e);
uint32_t vmsig_engine_queued(const vmsig_engine *e); /* entries in use */

/* Whether the candidate may pass by the queue: no policy of its channel, nothing of its channel waits, nothing that is
 * due waits, and its epoch has not ended. */
bool vmsig_engine_may_pass(vmsig_engine *e, const vmsig_entry *cand);

/* Whether it may not for this alone: its channel's own events wait for room (hold). */
bool vmsig_engine_may_follow(const vmsig_engine *e, const vmsig_entry *cand);

/* The priority that the candidate has, or is given by policy. */
uint32_t vmsig_engine_prio(const vmsig_engine *e, const vmsig_entry *cand);
/* Never dropped, paced nor coalesced. */
bool vmsig_engine_is_express(const vmsig_entry *cand);
/* How many events of the candidate's channel count for max_inflight now: queued here, and ahead. */
uint32_t vmsig_engine_in_channel(const vmsig_engine *e, const vmsig_entry *cand);
uint32_t vmsig_engine_is_ahead(const vmsig_engine *e, const vmsig_entry *cand);
/* One more of the channel is in the next ring (1), or is there no longer (-1). */
void vmsig_engine_ahead(vmsig_engine *e, uint32_t channel, int by);
/* max_inflight, where the candidate counts for it; 0 = no bound. */
uint32_t vmsig_engine_bound(const vmsig_engine *e, const vmsig_entry *cand);
bool vmsig_engine_bounds(const vmsig_engine *e); /* some source has, or had, a max_inflight */

/* Says what becomes of the candidate (filled in but for seq, deadline, next, span). It may itself be the blank entry.
 * -EAGAIN: BLOCK, and the channel is full; -ENOSPC: no blank entry is left. */
int vmsig_engine_plan(vmsig_engine *e, const vmsig_entry *cand, vmsig_step *s);
/* The same for the loss of an entry that waits (from pick). */
int vmsig_engine_plan_loss(vmsig_engine *e, uint32_t idx, vmsig_lost_why why, vmsig_status answer, vmsig_step *s);
/* Computes the k-th new value, k = 0 .. n-1 in order. dst may be the stored entry itself, or a copy of it; cand may be
 * dst. */
void vmsig_engine_result(const vmsig_engine *e, const vmsig_step *s, uint32_t k, const vmsig_entry *cand,
                         vmsig_entry *dst);
/* The values are stored, and next_seq where step.seq != 0: brings the indexes up to date. */
void vmsig_engine_index(vmsig_engine *e, const vmsig_step *s);

typedef enum vmsig_pick {
    VMSIG_PICK_NONE = 0,
    VMSIG_PICK_SEND = 1,  /* *idx is due: dispatch it, then take; or hold its flow */
    VMSIG_PICK_EXPIRE = 2 /* *idx is of an ended epoch: plan_loss it */
} vmsig_pick;

/* What is due now. Nothing is changed that a second call would see. */
vmsig_pick vmsig_engine_pick(vmsig_engine *e, uint32_t *idx);
/* The entry from pick was sent, and its seq stored as 0: *at is the pacing time that was stored in last_sent. */
void vmsig_engine_take(vmsig_engine *e, uint32_t idx);
/* The time at which the channel of idx was sent (that of the pick), to be stored in last_sent[*channel] before take; 0 =
 * not paced. */
uint64_t vmsig_engine_sent_at(vmsig_engine *e, uint32_t idx, uint32_t *channel);
/* Its way is barred for now: the flow waits until release. */
void vmsig_engine_hold(vmsig_engine *e, uint32_t idx);
void vmsig_engine_release_held(vmsig_engine *e);

/* When the next timed flow is due, 0 = none waits. */
uint64_t vmsig_engine_due(const vmsig_engine *e);

/* The epoch up to which the endpoint's events have ended, 0 = none. */
uint32_t vmsig_engine_ended(const vmsig_engine *e, uint32_t endpoint);
void vmsig_engine_set_ended(vmsig_engine *e, uint32_t endpoint, uint32_t epoch);

static inline uint32_t vmsig_entry_prio(const vmsig_entry *n) {
    return n->flags_prio & 7u;
}
static inline uint32_t vmsig_entry_channel(const vmsig_entry *n) {
    return (uint32_t)n->endpoint * VMSIG_SOURCES_MAX + n->source;
}

/* It becomes the LOST of itself, in its place. */
void vmsig_entry_lose(vmsig_entry *n, vmsig_lost_why why);

/* 0, or -EINVAL: a field is out of its range. The payload pointer is stored as it is. Only what is used of the body is
 * copied. */
int vmsig_entry_from_event(vmsig_entry *n, const vmsig_event *ev);
/* payload is set from the stored pointer. */
void vmsig_entry_to_event(const vmsig_entry *n, vmsig_dir dir, vmsig_event *ev);

/* For tests: a context on a clock of theirs; its timing fd is then never armed. */
vmsig_ctx *vmsig_ctx_new_clock(uint64_t (*now)(void *ud), void *ud);
/* What becomes of a command that a policy dropped or merged: fn is called from submit, under the context's lock. */
typedef void (*vmsig_ctx_answer_fn)(void *ud, uint64_t corr, uint32_t endpoint, uint32_t source, uint32_t epoch,
                                    vmsig_status status, uint64_t detail);
void vmsig_ctx_on_answer(vmsig_ctx *c, vmsig_ctx_answer_fn fn, void *ud);
/* Bytes held for queued events, and how many there are; for the bench. */
void vmsig_ctx_usage(vmsig_ctx *c, vmsig_dir dir, uint64_t *bytes, uint64_t *queued);

#endif
