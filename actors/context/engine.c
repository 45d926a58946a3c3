/* engine.c: what becomes of an event: accepted, merged, refused, evicting another; and the indexes after it. */
#include "actors/context/engine.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "actors/context/engine_impl.h"

#define HEAD_BYTES  offsetof(vmsig_entry, inln)
#define SHORT_BYTES 48u /* of body: ends with the second cache line */

/* ---- entries ------------------------------------------------------------------------------------------- */

static bool event_valid(const vmsig_event *ev) {
    bool bad = ev->endpoint >= VMSIG_ENDPOINTS_MAX;
    bad |= ev->source >= VMSIG_SOURCES_MAX;
    bad |= ev->prio > VMSIG_PRIO_URGENT;
    bad |= (kind_bits[ev->kind] & KIND_EXISTS) == 0;
    bad |= ev->inln_len > VMSIG_INLINE_MAX;
    bad |= ev->payload_len > VMSIG_PAYLOAD_MAX;
    bad |= (ev->payload != NULL) != (ev->payload_len != 0);
    bad |= (ev->flags & ~(VMSIG_EVF_RETAIN | VMSIG_EVF_SNAPSHOT)) != 0;
    return !bad;
}

/* A LOST told by others stays in the place of what was lost: in its source's channel. */
static uint8_t lost_source(const vmsig_event *ev) {
    vmsig_lost lost;
    if (ev->source != VMSIG_SRC_SEAM || ev->inln_len < sizeof lost)
        return ev->source;
    memcpy(&lost, ev->inln, sizeof lost);
    return lost.source < VMSIG_SOURCES_MAX ? (uint8_t)lost.source : ev->source;
}

int vmsig_entry_from_event(vmsig_entry *n, const vmsig_event *ev) {
    if (!event_valid(ev))
        return -EINVAL;
    n->ts_ns = ev->ts_ns;
    n->corr = ev->corr;
    n->token = ev->token;
    n->payload = (uintptr_t)ev->payload;
    n->origin = 0;
    n->epoch = ev->epoch;
    n->merged = ev->merged ? ev->merged : 1;
    n->payload_len = ev->payload_len & 0xffffffu;
    n->inln_len = ev->inln_len & 0xffu;
    n->kind = ev->kind;
    n->endpoint = (uint8_t)ev->endpoint;
    n->source = ev->source;
    n->flags_prio = (uint8_t)(ev->flags << 3 | ev->prio);
    if (ev->kind == VMSIG_EV_LOST)
        n->source = lost_source(ev);
    if (ev->inln_len <= SHORT_BYTES)
        memcpy(n->inln, ev->inln, SHORT_BYTES);
    else
        memcpy(n->inln, ev->inln, VMSIG_INLINE_MAX);
    return 0;
}

void vmsig_entry_to_event(const vmsig_entry *n, vmsig_dir dir, vmsig_event *ev) {
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

/* All but next, which is the indexes'. */
static void entry_copy(vmsig_entry *dst, const vmsig_entry *src) {
    uint32_t next = dst->next;
    memcpy(dst, src, HEAD_BYTES + (src->inln_len <= SHORT_BYTES ? SHORT_BYTES : VMSIG_INLINE_MAX));
    dst->next = next;
}

static uint32_t sat_add32(uint32_t a, uint32_t b) {
    return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

static uint32_t span_of(uint64_t from, uint64_t to) {
    return to - from > UINT32_MAX ? UINT32_MAX : (uint32_t)(to - from);
}

static void entry_use(vmsig_engine *e, uint32_t idx) {
    if (idx == e->high)
        e->high++;
    else
        e->free_head = e->entries[idx].next;
    e->used++;
}

uint32_t vmsig_engine_blank(const vmsig_engine *e) {
    if (e->free_head != VMSIG_NONE)
        return e->free_head;
    return e->high < e->capacity ? e->high : VMSIG_NONE;
}

/* ---- windows ------------------------------------------------------------------------------------------- */

static window *window_of(const vmsig_engine *e, const vmsig_entry *n) {
    return &e->windows[(size_t)vmsig_entry_channel(n) * 256u + n->kind];
}

/* The one type of motion that all items of an input group have: REL or ABS; 0 = keys, mixed, or malformed. */
static uint8_t motion_type(const vmsig_entry *n) {
    const vmsig_input *in = (const vmsig_input *)(const void *)n->inln;
    uint32_t items = n->inln_len / sizeof *in;
    if (items == 0 || n->inln_len % sizeof *in != 0 || (in->type != VMSIG_INPUT_REL && in->type != VMSIG_INPUT_ABS))
        return 0;
    for (uint32_t i = 1; i < items; i++)
        if (in[i].type != in->type)
            return 0;
    return in->type;
}

static bool may_coalesce(const vmsig_entry *n) {
    if (n->kind == VMSIG_CMD_INPUT)
        return motion_type(n) != 0;
    return (kind_bits[n->kind] & (KIND_EXPRESS | KIND_SINGLE)) == 0;
}

/* What no merging on its endpoint may cross. */
static bool is_barrier(const vmsig_entry *n) {
    if (n->kind == VMSIG_CMD_INPUT)
        return motion_type(n) == 0;
    return (kind_bits[n->kind] & KIND_BARRIER) != 0;
}

static vmsig_input *find_axis(vmsig_entry *n, const vmsig_input *item) {
    vmsig_input *in = (vmsig_input *)(void *)n->inln;
    for (uint32_t i = 0; i < n->inln_len / sizeof *in; i++)
        if (in[i].type == item->type && in[i].code == item->code)
            return &in[i];
    return NULL;
}

static int32_t sat_sum(int32_t a, int32_t b) {
    int64_t sum = (int64_t)a + b;
    return sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
}

/* Axes that only one of the groups moves stay in. Nothing is written unless all fit. */
static bool motion_join(vmsig_entry *dst, const vmsig_entry *src, bool write) {
    const vmsig_input *in = (const vmsig_input *)(const void *)src->inln;
    uint32_t len = dst->inln_len;
    for (uint32_t i = 0; i < src->inln_len / sizeof *in; i++) {
        vmsig_input *axis = find_axis(dst, &in[i]);
        if (axis == NULL) {
            len += (uint32_t)sizeof *in;
            if (len > VMSIG_INLINE_MAX)
                return false;
            if (write) {
                memcpy(dst->inln + dst->inln_len, &in[i], sizeof *in);
                dst->inln_len = len & 0xffu;
            }
        } else if (write)
            axis->value = in[i].type == VMSIG_INPUT_REL ? sat_sum(axis->value, in[i].value) : in[i].value;
    }
    return true;
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

/* What the LOST of a refused candidate is stamped with: after EPOCH_END nothing of that epoch may come. */
static uint32_t refused_epoch(const vmsig_step *s, const vmsig_entry *cand) {
    return s->why == VMSIG_LOST_EPOCH ? 0 : cand->epoch;
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

/* ---- result -------------------------------------------------------------------------------------------- */

/* dst := the LOST of `from` (which may be dst). */
static void lost_make(vmsig_entry *dst, const vmsig_entry *from, uint64_t seq, uint64_t last, uint32_t prio,
                      uint32_t epoch, uint8_t why) {
    vmsig_lost lost = {seq, last, from->merged, from->source, why};
    if (dst != from)
        entry_copy(dst, from);
    dst->seq = seq;
    dst->corr = dst->token = dst->deadline = 0;
    dst->epoch = epoch;
    dst->merged = 1;
    dst->span = 0;
    dst->payload_len = 0;
    dst->inln_len = sizeof lost;
    dst->kind = VMSIG_EV_LOST;
    dst->flags_prio = (uint8_t)(MADE_HERE | prio);
    memcpy(dst->inln, &lost, sizeof lost);
}

static void lost_extend(vmsig_entry *dst, uint64_t last, uint32_t count) {
    vmsig_lost lost;
    memcpy(&lost, dst->inln, sizeof lost);
    lost.last = last > lost.last ? last : lost.last;
    lost.count += count;
    memcpy(dst->inln, &lost, sizeof lost);
}

static void result_fresh(const vmsig_engine *e, const vmsig_step *s, const vmsig_entry *cand, vmsig_entry *dst) {
    uint32_t prio = vmsig_engine_prio(e, cand);
    const endpoint_state *ep = &e->ep[cand->endpoint];
    if (dst != cand)
        entry_copy(dst, cand);
    dst->seq = s->seq;
    dst->deadline = s->deadline;
    dst->span = 0;
    dst->flags_prio = (uint8_t)((dst->flags_prio & ~(MADE_HERE | 7u)) | prio);
    /* Late, it is of no epoch: EPOCH_END has been told, or must not wait for it. */
    if ((kind_bits[dst->kind] & KIND_UNSTAMPS) && dst->epoch <= ep->ended)
        dst->epoch = 0;
}

static void result_coalesce(const vmsig_step *s, const vmsig_entry *cand, vmsig_entry *dst) {
    uint8_t flags = (cand->flags_prio | dst->flags_prio) & (uint8_t) ~(MADE_HERE | 7u);
    dst->merged = sat_add32(dst->merged, cand->merged);
    dst->span = span_of(dst->seq, s->seq);
    dst->ts_ns = cand->ts_ns;
    dst->flags_prio = (uint8_t)(flags | vmsig_entry_prio(dst));
    if (dst->kind == VMSIG_CMD_INPUT) {
        motion_join(dst, cand, true);
        return;
    }
    dst->corr = cand->corr;
    dst->payload = cand->payload;
    dst->payload_len = cand->payload_len;
    dst->inln_len = cand->inln_len;
    memcpy(dst->inln, cand->inln, cand->inln_len <= SHORT_BYTES ? SHORT_BYTES : VMSIG_INLINE_MAX);
}

static void result_victim(const vmsig_engine *e, const vmsig_step *s, uint32_t k, vmsig_entry *dst) {
    const vmsig_entry *v = &e->entries[s->victim];
    if (!s->joined)
        lost_make(dst, v, v->seq, v->seq + v->span, vmsig_entry_prio(v), v->epoch, s->why);
    else if (k == 0)
        lost_extend(dst, v->seq + v->span, v->merged);
    else
        dst->seq = 0;
}

void vmsig_engine_result(const vmsig_engine *e, const vmsig_step *s, uint32_t k, const vmsig_entry *cand,
                         vmsig_entry *dst) {
    switch (s->op) {
    case VMSIG_OP_ACCEPT:
        result_fresh(e, s, cand, dst);
        break;
    case VMSIG_OP_COALESCE:
        result_coalesce(s, cand, dst);
        break;
    case VMSIG_OP_REFUSE:
        if (s->joined)
            lost_extend(dst, s->seq, cand->merged);
        else
            lost_make(dst, cand, s->seq, s->seq, vmsig_engine_prio(e, cand), refused_epoch(s, cand), s->why);
        break;
    case VMSIG_OP_OLDEST:
        if (k + 1 == s->n) {
            result_fresh(e, s, cand, dst);
            break;
        }
        /* fall through */
    case VMSIG_OP_EXPIRE:
        result_victim(e, s, k, dst);
        break;
    }
}

/* ---- index --------------------------------------------------------------------------------------------- */

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

/* ---- the short way ------------------------------------------------------------------------------------- */

uint64_t vmsig_engine_accept_plain(vmsig_engine *e, uint32_t idx) {
    vmsig_entry *n = &e->entries[idx];
    endpoint_state *ep = &e->ep[n->endpoint];
    if (!(e->plain >> n->source & 1u) || (kind_bits[n->kind] & ~KIND_EXISTS) ||
        (n->epoch != 0 && n->epoch <= ep->ended))
        return 0;
    uint32_t prio = vmsig_engine_prio(e, n), channel = vmsig_entry_channel(n);
    uint64_t seq = (*e->cfg.next_seq)++;
    n->flags_prio = (uint8_t)((n->flags_prio & ~7u) | prio);
    n->deadline = 0;
    n->span = 0;
    n->seq = seq;
    entry_use(e, idx);
    e->quota[channel] += prio != VMSIG_PRIO_URGENT;
    if (e->gates >> n->endpoint & 1u)
        ep->old_left += is_old(ep, n);
    flow_append(e, flow_of(channel, prio), idx);
    return seq;
}
