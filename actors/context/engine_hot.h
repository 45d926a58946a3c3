/* engine_hot.h: what each event passes on its shortest way, inline: for the engine's own files, and for ctx.c, whose
 * submit and next are little else.
 */
#ifndef VMSIG_ENGINE_HOT_H
#define VMSIG_ENGINE_HOT_H

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "actors/context/engine_impl.h"

#define HEAD_BYTES  offsetof(vmsig_entry, inln)
#define SHORT_BYTES 48u /* of body: ends with the second cache line */

/* ---- entries ------------------------------------------------------------------------------------------- */

static inline bool event_valid(const vmsig_event *ev) {
    uint32_t bad = ev->endpoint & ~(VMSIG_ENDPOINTS_MAX - 1u);
    bad |= ev->source & ~(VMSIG_SOURCES_MAX - 1u);
    bad |= ev->flags & ~(VMSIG_EVF_RETAIN | VMSIG_EVF_SNAPSHOT);
    bad |= ev->prio > VMSIG_PRIO_URGENT;
    bad |= (kind_bits[ev->kind] & KIND_EXISTS) ^ KIND_EXISTS;
    bad |= ev->inln_len > VMSIG_INLINE_MAX;
    bad |= ev->payload_len > VMSIG_PAYLOAD_MAX;
    bad |= (ev->payload != NULL) != (ev->payload_len != 0);
    return bad == 0;
}

/* The same, at less expense, of one without a payload and of a kind that exists. */
static inline bool bare_event_valid(const vmsig_event *ev) {
    uint32_t bad = ev->endpoint & ~(VMSIG_ENDPOINTS_MAX - 1u);
    bad |= ev->source & ~(VMSIG_SOURCES_MAX - 1u);
    bad |= ev->flags & ~(VMSIG_EVF_RETAIN | VMSIG_EVF_SNAPSHOT);
    bad |= ev->payload_len;
    return bad == 0 && ev->payload == NULL && ev->prio <= VMSIG_PRIO_URGENT && ev->inln_len <= VMSIG_INLINE_MAX;
}

/* A LOST told by others stays in the place of what was lost: in its source's channel. */
static inline uint8_t lost_source(const vmsig_event *ev) {
    vmsig_lost lost;
    if (ev->source != VMSIG_SRC_SEAM || ev->inln_len < sizeof lost)
        return ev->source;
    memcpy(&lost, ev->inln, sizeof lost);
    return lost.source < VMSIG_SOURCES_MAX ? (uint8_t)lost.source : ev->source;
}

/* Field by field, as wide as the caller is likely to have stored them a moment ago: a wider load would have to wait
 * until those stores have left the store buffer. */
static inline void entry_fill(vmsig_entry *n, const vmsig_event *ev, uint32_t source) {
    n->ts_ns = ev->ts_ns;
    n->corr = ev->corr;
    n->token = ev->token;
    n->origin = 0;
    n->epoch = ev->epoch;
    n->merged = ev->merged ? ev->merged : 1;
    n->inln_len = ev->inln_len & 0xffu;
    n->kind = ev->kind;
    n->endpoint = (uint8_t)ev->endpoint;
    n->source = (uint8_t)source;
    n->flags_prio = (uint8_t)(ev->flags << 3 | ev->prio);
    if (ev->inln_len <= SHORT_BYTES)
        memcpy(n->inln, ev->inln, SHORT_BYTES);
    else
        memcpy(n->inln, ev->inln, VMSIG_INLINE_MAX);
}

static inline int entry_from_event(vmsig_entry *n, const vmsig_event *ev) {
    if (!event_valid(ev))
        return -EINVAL;
    n->payload = (uintptr_t)ev->payload;
    n->payload_len = ev->payload_len & 0xffffffu;
    entry_fill(n, ev, ev->kind == VMSIG_EV_LOST ? lost_source(ev) : ev->source);
    return 0;
}

static inline void entry_to_event(const vmsig_entry *n, vmsig_dir dir, vmsig_event *ev) {
    ev->seq = n->seq;
    ev->ts_ns = n->ts_ns;
    ev->corr = n->corr;
    ev->token = n->token;
    ev->endpoint = n->endpoint;
    ev->epoch = n->epoch;
    ev->merged = n->merged;
    ev->inln_len = n->inln_len;
    ev->payload_len = n->payload_len;
    ev->flags = (n->flags_prio >> 3) & (VMSIG_EVF_RETAIN | VMSIG_EVF_SNAPSHOT);
    ev->source = n->kind == VMSIG_EV_LOST ? (uint8_t)VMSIG_SRC_SEAM : n->source;
    ev->dir = (uint8_t)dir;
    ev->prio = (uint8_t)vmsig_entry_prio(n);
    ev->kind = n->kind;
    ev->reserved = 0;
    ev->payload = n->payload_len ? (void *)(uintptr_t)n->payload : NULL;
    if (n->inln_len <= SHORT_BYTES)
        memcpy(ev->inln, n->inln, SHORT_BYTES);
    else
        memcpy(ev->inln, n->inln, VMSIG_INLINE_MAX);
}

static inline uint32_t entry_blank(const vmsig_engine *e) {
    if (e->free_head != VMSIG_NONE)
        return e->free_head;
    return e->high < e->capacity ? e->high : VMSIG_NONE;
}

static inline void entry_use(vmsig_engine *e, uint32_t idx) {
    if (idx == e->high)
        e->high++;
    else
        e->free_head = e->entries[idx].next;
    e->used++;
}

/* To the free list. */
static inline void entry_release(vmsig_engine *e, uint32_t idx) {
    e->entries[idx].next = e->free_head;
    e->free_head = idx;
    e->used--;
}

/* ---- in ------------------------------------------------------------------------------------------------ */

/* Nothing merges, drops or refuses it, and nobody waits for it. */
static inline bool is_brief(const vmsig_engine *e, uint32_t source, uint32_t kind, uint32_t endpoint, uint32_t epoch) {
    return (e->brief >> source & 1u) != 0 && kind_bits[kind] == KIND_EXISTS && (e->gates >> endpoint & 1u) == 0 &&
           (epoch == 0 || epoch > e->ep[endpoint].ended);
}

/* plan, result and index in one, in place, of a candidate in the blank entry idx that is_brief: its seq. */
static inline uint64_t accept_brief(vmsig_engine *e, vmsig_entry *n, uint32_t idx, uint32_t channel, uint32_t prio) {
    uint64_t seq = (*e->cfg.next_seq)++;
    n->flags_prio = (uint8_t)((n->flags_prio & ~7u) | prio);
    n->deadline = 0;
    n->span = 0;
    n->seq = seq;
    entry_use(e, idx);
    e->quota[channel] += prio != VMSIG_PRIO_URGENT;
    flow_append(e, flow_of(channel, prio), idx);
    return seq;
}

/* ---- out ----------------------------------------------------------------------------------------------- */

/* The class of several whose turn it is. */
static inline uint32_t share(vmsig_engine *e) {
    while (!(e->ready_set >> e->turn & 1u) || e->deficit[e->turn] == 0) {
        e->turn = e->turn == VMSIG_PRIO_LOW ? VMSIG_PRIO_HIGH : e->turn - 1;
        e->deficit[e->turn] = class_weights[e->turn];
    }
    return e->turn;
}

/* Which class's turn it is, 0 = none is ready. */
static inline uint32_t next_class(vmsig_engine *e) {
    uint32_t set = e->ready_set, shared = set & CLASSES_SHARED;
    if (shared == 0 || (set != shared && e->credits > 0)) /* express before urgent before the others */
        return set != 0 ? 31u - (uint32_t)__builtin_clz(set) : 0;
    if ((shared & (shared - 1)) == 0) /* nobody to share with */
        return (uint32_t)__builtin_ctz(shared);
    return share(e);
}

static inline vmsig_pick pick(vmsig_engine *e, uint32_t *idx) {
    e->now = 0;
    if (e->timed_n != 0)
        sched_mature(e);
    if (e->expiring != 0 && (*idx = sched_expired(e)) != VMSIG_NONE)
        return VMSIG_PICK_EXPIRE;
    for (;;) {
        uint32_t cls = next_class(e);
        if (cls == 0)
            return VMSIG_PICK_NONE;
        uint32_t f = e->ready[cls].head;
        if (!flow_is_free(e, f) && sched_must_wait(e, f))
            continue;
        e->picked = f;
        *idx = e->flows[f].head;
        return VMSIG_PICK_SEND;
    }
}

/* The time of this pick: the clock is read once. */
static inline uint64_t pick_now(vmsig_engine *e) {
    if (e->now == 0)
        e->now = now_ns(e);
    return e->now;
}

static inline uint64_t sent_at(vmsig_engine *e, const vmsig_entry *n) {
    if ((e->unpaced >> n->source & 1u) != 0 || e->policy[n->source].min_gap_ns == 0 || n->kind == VMSIG_EV_LOST ||
        kind_is_express(n->kind))
        return 0;
    return pick_now(e);
}

static inline void charge(vmsig_engine *e, uint32_t cls) {
    if (cls < VMSIG_PRIO_URGENT) {
        e->deficit[cls] -= e->deficit[cls] > 0;
        e->credits = e->credits + VMSIG_REFILL < VMSIG_BURST ? e->credits + VMSIG_REFILL : VMSIG_BURST;
    } else if ((e->ready_set & CLASSES_SHARED) == 0)
        e->credits = VMSIG_BURST;
    else if (e->credits > 0)
        e->credits--;
}

/* The flow at the head of its ring loses its own head; where it may, it goes behind the others of its class. */
static inline void flow_drop_head(vmsig_engine *e, uint32_t f, uint32_t cls) {
    flow *w = &e->flows[f];
    w->head = e->entries[w->head].next;
    if (w->head != VMSIG_NONE) {
        __builtin_prefetch(&e->entries[w->head]);
        __builtin_prefetch((const char *)&e->entries[w->head] + 64);
        if (e->ready[cls].head == e->ready[cls].tail && flow_is_free(e, f))
            return; /* there are no others */
    }
    ring_pop(e, cls);
    w->state = FLOW_IDLE;
    if (w->head != VMSIG_NONE)
        flow_wake(e, f);
}

/* The head, idx, of the flow that is next was sent. */
static inline void take_head(vmsig_engine *e, uint32_t f, uint32_t idx) {
    uint32_t cls = flow_class(f);
    if (cls < VMSIG_PRIO_URGENT && e->entries[idx].kind != VMSIG_EV_LOST)
        e->quota[f / 4u]--;
    flow_drop_head(e, f, cls);
    entry_release(e, idx);
    charge(e, cls);
}

#endif
