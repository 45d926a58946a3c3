/* engine_impl.h: what the engine's own files share: its indexes. Beside them only ctx.c includes it.
 *
 *   engine_plan.c    what will become of an event      engine_sched.c   what is due next
 *   engine_result.c  the entries' new values           engine_setup.c   making, policies, rebuilding
 *   engine.c         the indexes after it              engine_hot.h     the shortest way, inline
 */
#ifndef VMSIG_ENGINE_IMPL_H
#define VMSIG_ENGINE_IMPL_H

#include <stddef.h>

#include "actors/context/engine.h"

#define CLASS_EXPRESS  5u /* beside the priorities 1..4 */
#define CLASSES        6u
#define CLASSES_SHARED (1u << VMSIG_PRIO_HIGH | 1u << VMSIG_PRIO_NORMAL | 1u << VMSIG_PRIO_LOW)
#define FLOW_EXPRESS   (VMSIG_CHANNELS * 4u)
#define FLOW_END       (FLOW_EXPRESS + VMSIG_ENDPOINTS_MAX)
#define FLOWS          (FLOW_END + VMSIG_ENDPOINTS_MAX)
#define MADE_HERE      0x80u /* in flags_prio: a LOST of this engine's, which more may join */

typedef enum flow_state {
    FLOW_IDLE = 0, /* empty */
    FLOW_READY,    /* in its class's ring */
    FLOW_TIMED,    /* in the heap until it is due */
    FLOW_GATED,    /* until the endpoint's EPOCH_END is out */
    FLOW_HELD      /* by the caller */
} flow_state;

typedef struct flow {
    uint32_t head, tail; /* entries; valid unless idle */
    uint32_t ring_next;  /* ready: the next flow of the class's ring */
    uint32_t heap_at;    /* timed: its place in the heap */
    uint8_t state;       /* flow_state */
    uint64_t lost_seq;   /* of the newest LOST that came into it: nothing merges into what lies before */
} flow;

typedef struct ring {
    uint32_t head, tail; /* flows; head VMSIG_NONE: empty */
} ring;

typedef struct timed {
    uint64_t due;
    uint32_t flow;
} timed;

/* An entry that further events may still join. */
typedef struct window {
    uint32_t entry_1; /* index + 1, 0 = none */
    uint32_t barrier; /* the endpoint's, when it opened */
} window;

typedef struct endpoint_state {
    uint32_t ended;    /* events up to this epoch come too late */
    uint32_t gate;     /* the epoch whose EPOCH_END is next; later ones wait for it; 0 = none */
    uint32_t old_left; /* how many entries it must wait for */
    uint32_t barrier;  /* counts what no merging may cross */
    bool expiring;     /* the time to drain is over */
} endpoint_state;

struct vmsig_engine {
    vmsig_engine_cfg cfg;
    vmsig_entry *entries; /* = cfg.entries */
    uint32_t capacity;
    uint32_t free_head; /* of the entries below `high` */
    uint32_t high;      /* entries from here on were never used */
    uint32_t used;
    uint32_t turn;    /* the class whose turn it is, high..low */
    uint32_t credits; /* of express and urgent */
    uint32_t deficit[CLASSES];
    ring ready[CLASSES];
    uint32_t ready_set; /* classes whose ring is not empty: bits */
    uint64_t expiring;  /* endpoints */
    uint32_t timed_n;
    uint32_t held_n;
    bool paces;
    bool bounds;      /* some source has, or had, a max_inflight */
    uint32_t brief;   /* sources whose events nothing merges, drops or refuses */
    uint32_t unpaced; /* sources that nothing delays */
    uint64_t gates;   /* endpoints whose EPOCH_END waits */
    uint32_t picked;  /* the flow that pick chose last */
    uint64_t now;     /* of the pick, 0 = not read yet */
    uint8_t prio[VMSIG_SOURCES_MAX];
    vmsig_timing policy[VMSIG_SOURCES_MAX];
    endpoint_state ep[VMSIG_ENDPOINTS_MAX];
    uint32_t quota[VMSIG_CHANNELS]; /* events that count for max_inflight */
    uint32_t ahead[VMSIG_CHANNELS]; /* likewise, in the next ring */
    flow flows[FLOWS];
    timed heap[FLOWS];
    uint32_t held[FLOWS];
    window *windows; /* [VMSIG_CHANNELS * 256], once a policy coalesces */
};

static inline uint32_t flow_class(uint32_t f) {
    return f < FLOW_EXPRESS ? (f & 3u) + 1u : CLASS_EXPRESS;
}
static inline uint32_t flow_of(uint32_t channel, uint32_t prio) {
    return channel * 4u + prio - 1u;
}

/* What is so with a kind; see engine_setup.c. */
#define KIND_EXISTS   1u
#define KIND_EXPRESS  2u  /* never dropped, paced nor coalesced */
#define KIND_SINGLE   4u  /* not express, but never coalesced */
#define KIND_BARRIER  8u  /* no merging on its endpoint may cross it */
#define KIND_COMMAND  16u /* whoever sent it is owed an answer */
#define KIND_UNSTAMPS 32u /* after its epoch's EPOCH_END it is told without an epoch */
extern const uint8_t kind_bits[256];

static inline bool kind_is_express(uint8_t kind) {
    return (kind_bits[kind] & KIND_EXPRESS) != 0;
}
/* Counts for max_inflight. */
static inline bool counts(const vmsig_entry *n) {
    return n->kind != VMSIG_EV_LOST && vmsig_entry_prio(n) != VMSIG_PRIO_URGENT && !kind_is_express(n->kind);
}
static inline uint32_t entry_flow(const vmsig_engine *e, const vmsig_entry *n) {
    if (!kind_is_express(n->kind))
        return flow_of(vmsig_entry_channel(n), vmsig_entry_prio(n));
    bool end = n->kind == VMSIG_EV_EPOCH_END && n->epoch != 0 && e->cfg.dir == VMSIG_DIR_UP;
    return (end ? FLOW_END : FLOW_EXPRESS) + n->endpoint;
}
static inline uint64_t now_ns(const vmsig_engine *e) {
    return e->cfg.now(e->cfg.ud);
}
/* An entry that EPOCH_END(gate) must follow. */
static inline bool is_old(const endpoint_state *ep, const vmsig_entry *n) {
    return ep->gate != 0 && n->epoch != 0 && n->epoch <= ep->gate && n->kind != VMSIG_EV_EPOCH_END;
}

/* Its head may go at once, as far as its place tells: no pace, no gate. */
static inline bool flow_is_free(const vmsig_engine *e, uint32_t f) {
    return f < FLOW_EXPRESS && (e->unpaced >> (f / 4u % VMSIG_SOURCES_MAX) & 1u) != 0 &&
           (e->gates >> (f / (4u * VMSIG_SOURCES_MAX)) & 1u) == 0;
}

static inline void ring_push(vmsig_engine *e, uint32_t f) {
    uint32_t cls = flow_class(f);
    ring *r = &e->ready[cls];
    e->flows[f].state = FLOW_READY;
    e->flows[f].ring_next = VMSIG_NONE;
    if (r->head == VMSIG_NONE)
        r->head = f;
    else
        e->flows[r->tail].ring_next = f;
    r->tail = f;
    e->ready_set |= 1u << cls;
}

static inline void ring_pop(vmsig_engine *e, uint32_t cls) {
    ring *r = &e->ready[cls];
    r->head = e->flows[r->head].ring_next;
    if (r->head == VMSIG_NONE)
        e->ready_set &= ~(1u << cls);
}

/* An event may join another of its endpoint, source and kind as long as its window is open. */
static inline window *window_of(const vmsig_engine *e, const vmsig_entry *n) {
    return &e->windows[(size_t)vmsig_entry_channel(n) * 256u + n->kind];
}

/* What the LOST of a refused candidate is stamped with: after EPOCH_END nothing of that epoch may come. */
static inline uint32_t refused_epoch(const vmsig_step *s, const vmsig_entry *cand) {
    return s->why == VMSIG_LOST_EPOCH ? 0 : cand->epoch;
}

/* engine_motion.c */
/* The one type of motion that all items of an input group have: REL or ABS; 0 = keys, mixed, or malformed. */
uint8_t motion_type(const vmsig_entry *n);
/* Whether the motion of src fits into dst; write: it is put there. Axes that only one of them moves stay in. */
bool motion_join(vmsig_entry *dst, const vmsig_entry *src, bool write);

/* engine_sched.c */
extern const uint8_t class_weights[CLASSES];
void sched_mature(vmsig_engine *e);                /* flows that are due by now become ready */
uint32_t sched_expired(vmsig_engine *e);           /* the entry that EPOCH_END no longer waits for, or VMSIG_NONE */
bool sched_must_wait(vmsig_engine *e, uint32_t f); /* the ready flow that is next: it is moved to where it waits */
void flow_judge(vmsig_engine *e, uint32_t f);      /* a flow in no ring and no heap: where does it belong? */

static inline void flow_wake(vmsig_engine *e, uint32_t f) {
    if (flow_is_free(e, f))
        ring_push(e, f);
    else
        flow_judge(e, f);
}

static inline void flow_append(vmsig_engine *e, uint32_t f, uint32_t idx) {
    flow *w = &e->flows[f];
    e->entries[idx].next = VMSIG_NONE;
    if (w->state == FLOW_IDLE) {
        w->head = w->tail = idx;
        flow_wake(e, f);
        return;
    }
    e->entries[w->tail].next = idx;
    w->tail = idx;
}

void flow_rejudge(vmsig_engine *e, uint32_t f); /* its head or its pace has changed */
void old_gone(vmsig_engine *e, uint32_t endpoint);
void gate_open_next(vmsig_engine *e, uint32_t endpoint); /* the end flow's head has changed */
void sched_reset(vmsig_engine *e);

#endif
