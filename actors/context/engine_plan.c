/* engine_plan.c: what will become of an event: accepted, merged, refused, evicting another. Nothing is changed here. */
#include "actors/context/engine_hot.h"

/* ---- windows ------------------------------------------------------------------------------------------- */

static bool may_coalesce(const vmsig_entry *n) {
    if (n->kind == VMSIG_CMD_INPUT)
        return motion_type(n) != 0;
    return (kind_bits[n->kind] & (KIND_EXPRESS | KIND_SINGLE)) == 0;
}

/* The entry that the candidate may join, or VMSIG_NONE. */
static uint32_t open_entry(const vmsig_engine *e, const vmsig_entry *cand, uint32_t f, uint64_t now) {
    window w = *window_of(e, cand);
    if (w.entry_1 == 0 || w.barrier != e->ep[cand->endpoint].barrier)
        return VMSIG_NONE;
    vmsig_entry *n = &e->entries[w.entry_1 - 1];
    if (n->seq == 0 || n->kind != cand->kind || vmsig_entry_channel(n) != vmsig_entry_channel(cand))
        return VMSIG_NONE; /* it has gone out, and its place is another's */
    if (now >= n->deadline || n->epoch != cand->epoch || n->token != cand->token || entry_flow(e, n) != f)
        return VMSIG_NONE;
    if (n->seq < e->flows[f].lost_seq) /* what was lost between them would be told behind what came after it */
        return VMSIG_NONE;
    if (cand->kind == VMSIG_CMD_INPUT && (motion_type(n) != motion_type(cand) || !motion_join(n, cand, false)))
        return VMSIG_NONE;
    return w.entry_1 - 1;
}

/* ---- plan ---------------------------------------------------------------------------------------------- */

static void answer_for(vmsig_step *s, const vmsig_entry *n, vmsig_status status, uint64_t detail) {
    s->answer.corr = n->corr;
    s->answer.detail = detail;
    s->answer.epoch = n->epoch;
    s->answer.status = (uint8_t)status;
    s->answer.endpoint = n->endpoint;
    s->answer.source = n->source;
}

static void release_of(vmsig_step *s, const vmsig_entry *n) {
    s->payload = n->payload;
    s->payload_len = n->payload_len;
}

static bool is_command(const vmsig_entry *n) {
    return (kind_bits[n->kind] & KIND_COMMAND) != 0 && n->corr != 0;
}

static int plan_accept(const vmsig_engine *e, vmsig_step *s) {
    s->op = VMSIG_OP_ACCEPT;
    s->fresh = vmsig_engine_blank(e);
    s->n = 1;
    s->idx[0] = s->fresh;
    return s->fresh == VMSIG_NONE ? -ENOSPC : 0;
}

static void plan_coalesce(const vmsig_engine *e, const vmsig_entry *cand, uint32_t idx, vmsig_step *s) {
    s->op = VMSIG_OP_COALESCE;
    s->n = 1;
    s->idx[0] = idx;
    s->fresh = VMSIG_NONE;
    release_of(s, &e->entries[idx]);
    if (is_command(cand))
        answer_for(s, cand, VMSIG_OK, e->entries[idx].corr);
}

/* Whether a loss may join the LOST that lies at idx. */
static bool lost_joins(const vmsig_engine *e, uint32_t idx, uint8_t why, uint32_t epoch) {
    const vmsig_entry *n = &e->entries[idx];
    vmsig_lost lost;
    if (n->kind != VMSIG_EV_LOST || !(n->flags_prio & MADE_HERE) || n->epoch != epoch)
        return false;
    memcpy(&lost, n->inln, sizeof lost);
    return lost.why == why;
}

static int plan_refuse(const vmsig_engine *e, const vmsig_entry *cand, vmsig_lost_why why, vmsig_step *s) {
    const flow *w = &e->flows[s->flow];
    s->op = VMSIG_OP_REFUSE;
    s->why = (uint8_t)why;
    s->n = 1;
    s->joined = w->state != FLOW_IDLE && lost_joins(e, w->tail, s->why, refused_epoch(s, cand));
    s->fresh = s->joined ? VMSIG_NONE : vmsig_engine_blank(e);
    s->idx[0] = s->joined ? w->tail : s->fresh;
    release_of(s, cand);
    if (is_command(cand))
        answer_for(s, cand, why == VMSIG_LOST_EPOCH ? VMSIG_FENCED : VMSIG_DROPPED, 0);
    return s->idx[0] == VMSIG_NONE ? -ENOSPC : 0;
}

/* The victim is lost in its place: it joins its predecessor, or becomes the LOST itself. */
static void plan_victim(const vmsig_engine *e, vmsig_step *s, vmsig_lost_why why, vmsig_status answer) {
    const vmsig_entry *v = &e->entries[s->victim];
    s->why = (uint8_t)why;
    s->joined = s->prev != VMSIG_NONE && lost_joins(e, s->prev, s->why, v->epoch);
    s->n = 0;
    if (s->joined)
        s->idx[s->n++] = s->prev;
    s->idx[s->n++] = s->victim;
    release_of(s, v);
    if (is_command(v))
        answer_for(s, v, answer, 0);
}

/* The first entry of a flow that is no LOST, and its predecessor. O(runs of different cause that lie before it). */
static uint32_t first_live(const vmsig_engine *e, uint32_t f, uint32_t *prev) {
    *prev = VMSIG_NONE;
    if (e->flows[f].state == FLOW_IDLE)
        return VMSIG_NONE;
    uint32_t i = e->flows[f].head;
    for (; i != VMSIG_NONE && e->entries[i].kind == VMSIG_EV_LOST; i = e->entries[i].next)
        *prev = i;
    return i;
}

static int plan_oldest(const vmsig_engine *e, const vmsig_entry *cand, vmsig_step *s) {
    uint32_t channel = vmsig_entry_channel(cand);
    s->op = VMSIG_OP_OLDEST;
    s->victim = VMSIG_NONE;
    for (uint32_t prio = VMSIG_PRIO_LOW; prio < VMSIG_PRIO_URGENT; prio++) {
        uint32_t prev, i = first_live(e, flow_of(channel, prio), &prev);
        if (i == VMSIG_NONE || (s->victim != VMSIG_NONE && e->entries[i].seq > e->entries[s->victim].seq))
            continue;
        s->victim = i;
        s->prev = prev;
    }
    plan_victim(e, s, VMSIG_LOST_OLDEST, VMSIG_DROPPED);
    s->fresh = vmsig_engine_blank(e);
    s->idx[s->n++] = s->fresh;
    return s->fresh == VMSIG_NONE ? -ENOSPC : 0;
}

static int plan_full(const vmsig_engine *e, const vmsig_entry *cand, uint8_t policy, vmsig_step *s) {
    if (policy == VMSIG_DROP_BLOCK)
        return -EAGAIN;
    s->deadline = policy == VMSIG_DROP_OLDEST ? s->deadline : 0;
    return policy == VMSIG_DROP_OLDEST ? plan_oldest(e, cand, s) : plan_refuse(e, cand, VMSIG_LOST_NEWEST, s);
}

static bool channel_full(const vmsig_engine *e, const vmsig_entry *cand, const vmsig_timing *policy) {
    uint32_t channel = vmsig_entry_channel(cand), queued = e->quota[channel];
    bool evictable = queued > 0 || policy->drop_policy != VMSIG_DROP_OLDEST;
    return queued + e->ahead[channel] >= policy->max_inflight && evictable;
}

static int plan_express(vmsig_engine *e, const vmsig_entry *cand, vmsig_step *s) {
    s->flow = entry_flow(e, cand);
    if (s->flow >= FLOW_END)
        s->deadline = now_ns(e) + VMSIG_DRAIN_NS;
    return plan_accept(e, s);
}

uint32_t vmsig_engine_prio(const vmsig_engine *e, const vmsig_entry *n) {
    uint32_t prio = vmsig_entry_prio(n);
    return prio != VMSIG_PRIO_DEFAULT ? prio : e->prio[n->source];
}

int vmsig_engine_plan(vmsig_engine *e, const vmsig_entry *cand, vmsig_step *s) {
    const vmsig_timing *policy = &e->policy[cand->source];
    uint32_t prio = vmsig_engine_prio(e, cand);
    s->seq = *e->cfg.next_seq;
    s->deadline = 0;
    s->payload_len = 0;
    s->answer.corr = 0;
    s->joined = false;
    s->why = 0;
    s->victim = VMSIG_NONE;
    if (kind_is_express(cand->kind))
        return plan_express(e, cand, s);
    s->flow = flow_of(vmsig_entry_channel(cand), prio);
    if (cand->kind == VMSIG_EV_LOST)
        return plan_accept(e, s);
    if (cand->epoch != 0 && cand->epoch <= e->ep[cand->endpoint].ended)
        return plan_refuse(e, cand, VMSIG_LOST_EPOCH, s);
    if (policy->coalesce_ns != 0 && may_coalesce(cand)) {
        uint64_t now = now_ns(e);
        uint32_t open = open_entry(e, cand, s->flow, now);
        if (open != VMSIG_NONE) {
            plan_coalesce(e, cand, open, s);
            return 0;
        }
        s->deadline = now + policy->coalesce_ns;
    }
    if (policy->max_inflight != 0 && prio != VMSIG_PRIO_URGENT && channel_full(e, cand, policy))
        return plan_full(e, cand, policy->drop_policy, s);
    return plan_accept(e, s);
}

int vmsig_engine_plan_loss(vmsig_engine *e, uint32_t idx, vmsig_lost_why why, vmsig_status answer, vmsig_step *s) {
    memset(s, 0, sizeof *s);
    s->op = VMSIG_OP_EXPIRE;
    s->flow = entry_flow(e, &e->entries[idx]);
    s->fresh = VMSIG_NONE;
    s->victim = idx;
    s->prev = VMSIG_NONE;
    for (uint32_t i = e->flows[s->flow].head; i != idx; i = e->entries[i].next)
        s->prev = i;
    plan_victim(e, s, why, answer);
    return 0;
}
