/* engine.c: an entry's two ends, and the indexes once its values are stored. */
#include "actors/context/engine.h"

#include "actors/context/engine_hot.h"

/* ---- entries ------------------------------------------------------------------------------------------- */

int vmsig_entry_from_event(vmsig_entry *n, const vmsig_event *ev) {
    return entry_from_event(n, ev);
}

void vmsig_entry_to_event(const vmsig_entry *n, vmsig_dir dir, vmsig_event *ev) {
    entry_to_event(n, dir, ev);
}

uint32_t vmsig_engine_blank(const vmsig_engine *e) {
    return entry_blank(e);
}

/* ---- index --------------------------------------------------------------------------------------------- */

/* What no merging on its endpoint may cross. */
static bool is_barrier(const vmsig_entry *n) {
    if (n->kind == VMSIG_CMD_INPUT)
        return motion_type(n) == 0;
    return (kind_bits[n->kind] & KIND_BARRIER) != 0;
}

static void index_fresh(vmsig_engine *e, uint32_t idx, uint32_t f) {
    const vmsig_entry *n = &e->entries[idx];
    endpoint_state *ep = &e->ep[n->endpoint];
    entry_use(e, idx);
    if (counts(n))
        e->quota[vmsig_entry_channel(n)]++;
    ep->old_left += is_old(ep, n);
    if (is_barrier(n))
        ep->barrier++;
    if (n->kind == VMSIG_EV_LOST)
        e->flows[f].lost_seq = n->seq;
    if (n->deadline != 0 && f < FLOW_END)
        *window_of(e, n) = (window){idx + 1, ep->barrier};
    bool first_end = f >= FLOW_END && e->flows[f].state == FLOW_IDLE;
    if (f >= FLOW_END && n->epoch > ep->ended)
        ep->ended = n->epoch;
    flow_append(e, f, idx);
    if (first_end)
        gate_open_next(e, n->endpoint);
}

/* The victim's stored value is a LOST, or free: in both its channel and class still stand. Its class may be another than
 * the candidate's. */
static void index_victim(vmsig_engine *e, const vmsig_step *s) {
    const vmsig_entry *v = &e->entries[s->victim];
    uint32_t channel = vmsig_entry_channel(v), prio = vmsig_entry_prio(v), f = flow_of(channel, prio);
    flow *w = &e->flows[f];
    if (prio != VMSIG_PRIO_URGENT)
        e->quota[channel]--;
    if (!s->joined && v->seq > w->lost_seq)
        w->lost_seq = v->seq;
    if (s->joined) {
        bool old = is_old(&e->ep[v->endpoint], v);
        e->entries[s->prev].next = v->next;
        if (w->tail == s->victim)
            w->tail = s->prev;
        entry_release(e, s->victim);
        if (old)
            old_gone(e, v->endpoint);
    }
    if (w->head == s->victim)
        flow_rejudge(e, f);
}

void vmsig_engine_index(vmsig_engine *e, const vmsig_step *s) {
    if (s->op == VMSIG_OP_OLDEST || s->op == VMSIG_OP_EXPIRE)
        index_victim(e, s);
    if (s->fresh != VMSIG_NONE)
        index_fresh(e, s->fresh, s->flow);
}
