/* engine_sched.c: which entry is due next: ready rings, timer heap, credits, epoch gates. */
#include "actors/context/engine_hot.h"

const uint8_t class_weights[CLASSES] = {[VMSIG_PRIO_LOW] = 1, [VMSIG_PRIO_NORMAL] = 2, [VMSIG_PRIO_HIGH] = 4};

/* ---- timer heap: a binary heap of flows, least due first ----------------------------------------------- */

static void heap_place(vmsig_engine *e, uint32_t at, timed t) {
    e->heap[at] = t;
    e->flows[t.flow].heap_at = at;
}

static void heap_up(vmsig_engine *e, uint32_t at, timed t) {
    while (at > 0 && e->heap[(at - 1) / 2].due > t.due) {
        heap_place(e, at, e->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_place(e, at, t);
}

static void heap_down(vmsig_engine *e, uint32_t at, timed t) {
    for (;;) {
        uint32_t kid = 2 * at + 1;
        if (kid >= e->timed_n)
            break;
        if (kid + 1 < e->timed_n && e->heap[kid + 1].due < e->heap[kid].due)
            kid++;
        if (e->heap[kid].due >= t.due)
            break;
        heap_place(e, at, e->heap[kid]);
        at = kid;
    }
    heap_place(e, at, t);
}

static void heap_push(vmsig_engine *e, uint32_t f, uint64_t due) {
    e->flows[f].state = FLOW_TIMED;
    heap_up(e, e->timed_n++, (timed){due, f});
}

static void heap_remove(vmsig_engine *e, uint32_t at) {
    timed last = e->heap[--e->timed_n];
    if (at == e->timed_n)
        return;
    if (at > 0 && e->heap[(at - 1) / 2].due > last.due)
        heap_up(e, at, last);
    else
        heap_down(e, at, last);
}

/* ---- flows --------------------------------------------------------------------------------------------- */

/* When the flow's head may go, 0 = at once. */
static uint64_t head_due(const vmsig_engine *e, uint32_t f) {
    const vmsig_entry *n = &e->entries[e->flows[f].head];
    if (f >= FLOW_END)
        return e->ep[n->endpoint].old_left == 0 ? 0 : n->deadline;
    if (f >= FLOW_EXPRESS || n->kind == VMSIG_EV_LOST)
        return 0;
    uint64_t due = n->deadline;
    uint32_t gap = e->policy[n->source].min_gap_ns;
    uint64_t last = gap ? e->cfg.last_sent[vmsig_entry_channel(n)] : 0;
    return last != 0 && last + gap > due ? last + gap : due;
}

static bool head_gated(const vmsig_engine *e, uint32_t f) {
    const vmsig_entry *n = &e->entries[e->flows[f].head];
    const endpoint_state *ep = &e->ep[n->endpoint];
    return ep->gate != 0 && f < FLOW_END && n->epoch > ep->gate;
}

void flow_judge(vmsig_engine *e, uint32_t f) {
    if (head_gated(e, f)) {
        e->flows[f].state = FLOW_GATED;
        return;
    }
    uint64_t due = head_due(e, f);
    if (due == 0)
        ring_push(e, f);
    else
        heap_push(e, f, due);
}

void flow_rejudge(vmsig_engine *e, uint32_t f) {
    if (e->flows[f].state != FLOW_TIMED)
        return;
    heap_remove(e, e->flows[f].heap_at);
    flow_wake(e, f);
}

/* ---- epoch gates --------------------------------------------------------------------------------------- */

static uint32_t count_old(const vmsig_engine *e, const endpoint_state *ep, uint32_t f) {
    uint32_t n = 0;
    if (e->flows[f].state == FLOW_IDLE)
        return 0;
    for (uint32_t i = e->flows[f].head; i != VMSIG_NONE; i = e->entries[i].next)
        n += is_old(ep, &e->entries[i]);
    return n;
}

/* O(queued of the endpoint), once per epoch's end. */
static uint32_t count_endpoint(const vmsig_engine *e, uint32_t endpoint) {
    const endpoint_state *ep = &e->ep[endpoint];
    uint32_t n = count_old(e, ep, FLOW_EXPRESS + endpoint);
    uint32_t first = endpoint * VMSIG_SOURCES_MAX * 4u;
    for (uint32_t f = first; f < first + VMSIG_SOURCES_MAX * 4u; f++)
        n += count_old(e, ep, f);
    return n;
}

static void wake_gated(vmsig_engine *e, uint32_t f) {
    if (e->flows[f].state == FLOW_GATED)
        flow_wake(e, f);
}

void gate_open_next(vmsig_engine *e, uint32_t endpoint) {
    endpoint_state *ep = &e->ep[endpoint];
    flow *end = &e->flows[FLOW_END + endpoint];
    ep->expiring = false;
    e->expiring &= ~(1ull << endpoint);
    ep->gate = end->state == FLOW_IDLE ? 0 : e->entries[end->head].epoch;
    e->gates = ep->gate != 0 ? e->gates | 1ull << endpoint : e->gates & ~(1ull << endpoint);
    ep->old_left = ep->gate != 0 ? count_endpoint(e, endpoint) : 0;
    uint32_t first = endpoint * VMSIG_SOURCES_MAX * 4u;
    for (uint32_t f = first; f < first + VMSIG_SOURCES_MAX * 4u; f++)
        wake_gated(e, f);
    wake_gated(e, FLOW_EXPRESS + endpoint);
    if (end->state == FLOW_READY) /* it was judged by the former gate; pick judges it again */
        return;
    if (end->state == FLOW_TIMED)
        heap_remove(e, end->heap_at);
    if (end->state != FLOW_IDLE)
        flow_wake(e, FLOW_END + endpoint);
}

void old_gone(vmsig_engine *e, uint32_t endpoint) {
    endpoint_state *ep = &e->ep[endpoint];
    flow *end = &e->flows[FLOW_END + endpoint];
    if (--ep->old_left != 0)
        return;
    if (end->state == FLOW_TIMED)
        heap_remove(e, end->heap_at);
    if (end->state == FLOW_TIMED || end->state == FLOW_GATED)
        ring_push(e, FLOW_END + endpoint);
}

/* The first entry of the flow that EPOCH_END must not wait for any longer. */
static uint32_t find_old(const vmsig_engine *e, const endpoint_state *ep, uint32_t f) {
    if (e->flows[f].state == FLOW_IDLE)
        return VMSIG_NONE;
    for (uint32_t i = e->flows[f].head; i != VMSIG_NONE; i = e->entries[i].next)
        if (e->entries[i].kind != VMSIG_EV_LOST && is_old(ep, &e->entries[i]))
            return i;
    return VMSIG_NONE;
}

/* What still lies behind events of the next epoch, which wait for EPOCH_END in their turn, is told without an epoch.
 * One store each, which may be done again. */
static void unstamp_gated(vmsig_engine *e, uint32_t endpoint, uint32_t f) {
    bool gated = false;
    uint32_t i = e->flows[f].state != FLOW_IDLE ? e->flows[f].head : VMSIG_NONE;
    for (; i != VMSIG_NONE; i = e->entries[i].next) {
        vmsig_entry *n = &e->entries[i];
        gated = gated || n->epoch > e->ep[endpoint].gate;
        if (!gated || !is_old(&e->ep[endpoint], n))
            continue;
        n->epoch = 0;
        old_gone(e, endpoint);
    }
}

static void expired_all(vmsig_engine *e, uint32_t endpoint) {
    uint32_t first = endpoint * VMSIG_SOURCES_MAX * 4u;
    for (uint32_t f = first; f < first + VMSIG_SOURCES_MAX * 4u; f++)
        unstamp_gated(e, endpoint, f);
    unstamp_gated(e, endpoint, FLOW_EXPRESS + endpoint);
    e->expiring &= ~(1ull << endpoint); /* the rest goes out at once */
}

uint32_t sched_expired(vmsig_engine *e) {
    while (e->expiring != 0) {
        uint32_t endpoint = (uint32_t)__builtin_ctzll(e->expiring);
        uint32_t first = endpoint * VMSIG_SOURCES_MAX * 4u;
        for (uint32_t f = first; f < first + VMSIG_SOURCES_MAX * 4u; f++) {
            uint32_t i = find_old(e, &e->ep[endpoint], f);
            if (i != VMSIG_NONE)
                return i;
        }
        expired_all(e, endpoint);
    }
    return VMSIG_NONE;
}

/* ---- pick and take ------------------------------------------------------------------------------------- */

static void flow_is_due(vmsig_engine *e, uint32_t f) {
    if (f < FLOW_END) {
        ring_push(e, f);
        return;
    }
    uint32_t endpoint = f - FLOW_END; /* EPOCH_END has waited long enough: the rest expires, then it goes */
    e->ep[endpoint].expiring = true;
    e->expiring |= 1ull << endpoint;
    e->flows[f].state = FLOW_GATED;
}

void sched_mature(vmsig_engine *e) {
    uint64_t now = pick_now(e);
    while (e->timed_n != 0 && e->heap[0].due <= now) {
        uint32_t f = e->heap[0].flow;
        heap_remove(e, 0);
        flow_is_due(e, f);
    }
}

/* Its channel dispatched from another class since, or a gate has closed. */
bool sched_must_wait(vmsig_engine *e, uint32_t f) {
    uint64_t due = 0;
    bool gated = head_gated(e, f);
    if (!gated) {
        due = head_due(e, f);
        if (due == 0 || (due <= pick_now(e) && f < FLOW_END))
            return false;
    }
    ring_pop(e, flow_class(f));
    if (gated)
        e->flows[f].state = FLOW_GATED;
    else if (due > pick_now(e))
        heap_push(e, f, due);
    else
        flow_is_due(e, f);
    return true;
}

vmsig_pick vmsig_engine_pick(vmsig_engine *e, uint32_t *idx) {
    return pick(e, idx);
}

void vmsig_engine_take(vmsig_engine *e, uint32_t idx) {
    const vmsig_entry *n = &e->entries[idx];
    uint32_t f = e->picked, endpoint = n->endpoint;
    bool old = (e->gates >> endpoint & 1u) != 0 && is_old(&e->ep[endpoint], n);
    take_head(e, f, idx);
    if (old)
        old_gone(e, endpoint);
    if (f >= FLOW_END)
        gate_open_next(e, endpoint);
}

uint64_t vmsig_engine_sent_at(vmsig_engine *e, uint32_t idx, uint32_t *channel) {
    *channel = vmsig_entry_channel(&e->entries[idx]);
    return sent_at(e, &e->entries[idx]);
}

void vmsig_engine_hold(vmsig_engine *e, uint32_t idx) {
    (void)idx;
    ring_pop(e, flow_class(e->picked));
    e->flows[e->picked].state = FLOW_HELD;
    e->held[e->held_n++] = e->picked;
}

void vmsig_engine_release_held(vmsig_engine *e) {
    uint32_t n = e->held_n;
    e->held_n = 0;
    for (uint32_t i = 0; i < n; i++)
        flow_wake(e, e->held[i]);
}

uint64_t vmsig_engine_due(const vmsig_engine *e) {
    return e->timed_n != 0 ? e->heap[0].due : 0;
}

void sched_reset(vmsig_engine *e) {
    for (uint32_t c = 0; c < CLASSES; c++)
        e->ready[c].head = VMSIG_NONE;
    e->ready_set = 0;
    for (uint32_t f = 0; f < FLOWS; f++)
        e->flows[f].state = FLOW_IDLE;
    e->timed_n = e->held_n = 0;
    e->expiring = e->gates = 0;
    e->credits = VMSIG_BURST;
    e->turn = VMSIG_PRIO_HIGH;
    e->deficit[VMSIG_PRIO_HIGH] = class_weights[VMSIG_PRIO_HIGH];
}
