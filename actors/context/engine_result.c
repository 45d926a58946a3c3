/* engine_result.c: the entries' new values. */
#include "actors/context/engine_hot.h"

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

void vmsig_entry_lose(vmsig_entry *n, vmsig_lost_why why) {
    lost_make(n, n, n->seq, n->seq + n->span, vmsig_entry_prio(n), n->epoch, (uint8_t)why);
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
