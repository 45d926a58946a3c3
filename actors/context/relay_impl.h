/* relay_impl.h: what the relay's own files share: the layout of its state, and the relay itself. Nobody else includes
 * it. */
#ifndef VMSIG_RELAY_IMPL_H
#define VMSIG_RELAY_IMPL_H

#include "actors/context/relay.h"
#include "rings/atomics.h"

/* A test makes a crash of this; it stands after every store that a successor could find. */
#ifndef RELAY_POINT
#define RELAY_POINT() ((void)0)
#endif

#define BLOCK          256u  /* the body store's unit */
#define RETAINED_BYTES 1600u /* of payload: 64 segments */
#define KEPT           4u    /* slots of an out-ring */
#define PATIENCE_NS    5000000u
#define DEATHS_MAX     3u  /* of incarnations, by one event or one record */
#define OP_DISPATCH    16u /* beside vmsig_op */
#define OP_DECIDE      17u /* nothing is queued: an answer, or nothing at all */

/* The redo record: resulting values. op is stored last, and cleared last. */
typedef struct redo {
    uint64_t op; /* 0 = none */
    uint64_t next_seq[2];
    uint64_t acc; /* of acc_at; VMSIG_NONE: of none */
    uint32_t acc_at;
    uint32_t dir;
    uint32_t n;         /* entries of dir */
    uint32_t idx[3];    /* DISPATCH: idx[0] */
    uint32_t answer_at; /* entry of UP that holds an answer, or VMSIG_NONE */
    uint32_t endpoint;  /* whose epochs are set below; VMSIG_NONE: nobody's */
    uint32_t epoch, ended;
    uint32_t channel; /* DISPATCH: paced since sent_at; VMSIG_NONE: not paced */
    uint32_t link;    /* DISPATCH: the out-link, 0 = nobody is told */
    uint64_t sent_at;
    uint64_t q;   /* DISPATCH: the position that is published */
    uint64_t seq; /* DISPATCH */
    vmsig_entry e[3];
    vmsig_entry answer;
} redo;

typedef struct retained {
    vmsig_event ev;
    uint8_t payload[RETAINED_BYTES];
} retained;

typedef struct state {
    vmsig_state_head head;
    uint64_t next_seq[2];
    uint64_t trying;  /* the origin of the event that is in hand; 0 = none */
    uint64_t suspect; /* the one that was in hand when the last incarnation died, and with how many in a row */
    uint64_t deaths;
    uint64_t redo_tries; /* how many died while they carried out the record that is there */
    struct {
        uint64_t link; /* 0 = free */
        uint64_t acc;
    } acc[VMSIG_RELAY_PORTS];
    struct {
        uint32_t epoch;    /* the last one seen, 0 = none */
        uint32_t ended;    /* EPOCH_END was told up to here */
        uint64_t retained; /* 1 + which copy counts; 0 = none */
    } endpoint[VMSIG_ENDPOINTS_MAX];
    uint64_t last_sent[2][VMSIG_CHANNELS];
    redo redo;
    retained retained[VMSIG_ENDPOINTS_MAX][2];
} state;

struct vmsig_relay {
    vmsig_relay_env env;
    state *st;
    vmsig_engine *engine[2];
    vmsig_entry *entries[2];
    uint32_t capacity[2];
    uint8_t *bodies;
    uint32_t blocks, block_next;
    uint64_t *block_map; /* a bit per block: taken */
    uint64_t endpoints;  /* that any port serves */
    vmsig_port *ports[VMSIG_RELAY_PORTS];
    uint32_t ports_n;
    vmsig_port *up[VMSIG_ENDPOINTS_MAX];
    vmsig_port *down[VMSIG_ENDPOINTS_MAX][32]; /* by kind - 32 */
    bool blocked;                              /* some input is */
    bool impatient;                            /* of some input patience has ended */
    uint64_t patience_ends;                    /* the earliest of those that are patient; 0 = none is. May be early. */
    bool ahead_waits;                          /* some channel waits until a consumer's cursor moves on */
};

static inline void durable64(uint64_t *p, uint64_t v) {
    vmsig_store64_release(p, v);
    RELAY_POINT();
}
/* Slots that the event may take now: the last KEPT of a ring are for what is never dropped. */
static inline uint32_t relay_free_slots(vmsig_port *out, const vmsig_entry *n) {
    uint32_t kept = vmsig_engine_is_express(n) ? 0 : KEPT;
    uint32_t room = vmsig_ring_room(out->out, VMSIG_SLOTS_MAX + kept);
    return room > kept ? room - kept : 0;
}

/* What is worth a wake-up: nobody is served later for it, with so many before him in the ring. */
static inline uint32_t relay_some_room(const vmsig_port *out) {
    uint32_t quarter = (out->out->mask + 1) / 4;
    return quarter > VMSIG_SLOTS_MAX + KEPT ? quarter : VMSIG_SLOTS_MAX + KEPT;
}

/* relay_state.c */
int body_put(vmsig_relay *r, const void *bytes, uint32_t len, uint64_t *at); /* -EAGAIN */
void body_free(vmsig_relay *r, uint64_t at, uint32_t len);
int state_rebuild(vmsig_relay *r);

/* relay_redo.c */
/* Whether the port has room for the entry now; its body is then in the arena already. -EAGAIN, -EMSGSIZE, -EPROTO. */
int relay_room(vmsig_relay *r, vmsig_port *out, const vmsig_entry *n, uint8_t dir);
int relay_publish(vmsig_relay *r, vmsig_port *out, const vmsig_entry *n, uint8_t dir, uint64_t seq);
void redo_clear(vmsig_relay *r, uint32_t dir);
void redo_commit(vmsig_relay *r, uint64_t op);
void redo_apply(vmsig_relay *r);
/* Adds an answer to the record: -EAGAIN: no entry is free for it. step: to be indexed once applied. */
int redo_answer(vmsig_relay *r, const vmsig_step *s, vmsig_step *answer);
/* Carries a step out through the record, which the caller has cleared. acc_at: VMSIG_NONE, or which in-link is thereby decided up to acc. */
int redo_step(vmsig_relay *r, uint32_t dir, vmsig_step *s, const vmsig_entry *cand, uint32_t acc_at, uint64_t acc);
/* Only decides an input's event: answered as the step says, or passed over. */
int redo_decide(vmsig_relay *r, const vmsig_step *s, uint32_t acc_at, uint64_t acc);

/* relay_poison.c */
/* At the start, when what the last one's rings tell is completed: what did it die of? */
void poison_look(vmsig_relay *r);
/* The origin of an event that is not to be looked at; 0 = none. */
static inline uint64_t poison_of(const vmsig_relay *r) {
    return r->st->deaths >= DEATHS_MAX ? r->st->suspect : 0;
}
void poison_over(vmsig_relay *r); /* it is decided */
/* The record that is there: carried out, if that has not killed too many; else without what may have killed them. True:
 * the entry redo.idx[0] of redo.dir, which was to be dispatched, is to be lost. */
bool poison_redo(vmsig_relay *r);

/* relay_ahead.c */
int ahead_new(vmsig_relay *r, vmsig_port *p); /* -ENOMEM */
void ahead_drop(vmsig_relay *r, vmsig_port *p);
/* Whether as many of the entry's channel lie in the port's ring as may; only where p->ahead is there. */
bool ahead_full(vmsig_relay *r, vmsig_port *p, const vmsig_entry *n);
/* The entry was published there. */
void ahead_note(vmsig_relay *r, vmsig_port *p, const vmsig_entry *n, uint64_t position);
/* writable is called, or ahead_passed says so, once the consumer has passed some of them. */
void ahead_wait(vmsig_relay *r, vmsig_port *p);
bool ahead_passed(vmsig_relay *r);

/* relay_epoch.c */
void epoch_check(vmsig_relay *r, uint32_t endpoint);
void memctx_retain(vmsig_relay *r, const vmsig_event *ev, const void *payload);
/* What is pending for a port: contexts, ends of epochs. */
void news_send(vmsig_relay *r, vmsig_port *p);

/* relay_dispatch.c */
void relay_dispatch(vmsig_relay *r);
/* There is room where there was none: what was held goes, then blocked inputs are tried again. */
void relay_go_on(vmsig_relay *r);
vmsig_port *relay_route(const vmsig_relay *r, uint32_t dir, const vmsig_entry *n);
/* A queued entry is told as lost: 0, or -EAGAIN: no entry was free for the answer. */
int relay_lose(vmsig_relay *r, uint32_t dir, uint32_t idx, vmsig_lost_why why, vmsig_status status);
/* Who takes commands is gone, and the port with him: those that he did not take are answered. Before routes are made. */
void relay_answer_for(vmsig_relay *r, const vmsig_port *p);
/* OK, or why a command cannot be carried out now. */
vmsig_status relay_command_status(const vmsig_relay *r, const vmsig_entry *n);

#endif
