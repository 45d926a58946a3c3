/* relay_redo.c: the redo record: filled with resulting values, committed by its op, applied by blind stores. */
#include <errno.h>
#include <string.h>

#include "actors/context/relay_impl.h"

static vmsig_port *port_of(const vmsig_relay *r, uint32_t link) {
    for (uint32_t i = 0; i < r->ports_n; i++)
        if (r->ports[i]->id == link && r->ports[i]->out != NULL)
            return r->ports[i];
    return NULL;
}

/* All but next, which is the indexes'. */
static void store_entry(vmsig_entry *dst, const vmsig_entry *src) {
    uint32_t next = dst->next;
    *dst = *src;
    dst->next = next;
    RELAY_POINT();
}

/* ---- publishing ------------------------------------------------------------------------------------------ */

/* The entry as an image; its payload reference is not set. */
static int entry_image(const vmsig_entry *n, uint8_t dir, uint64_t seq, vmsig_image *img) {
    vmsig_event ev;
    vmsig_entry_to_event(n, (vmsig_dir)dir, &ev);
    ev.seq = seq;
    int slots = vmsig_image_pack(img, &ev);
    img->s[0].origin = n->origin;
    return slots;
}

static const void *entry_body(const vmsig_relay *r, const vmsig_entry *n) {
    return r->bodies + n->payload;
}

int relay_room(vmsig_relay *r, vmsig_port *out, const vmsig_entry *n, uint8_t dir) {
    vmsig_image img;
    vmsig_body_ref ref;
    int slots = entry_image(n, dir, 1, &img);
    if (slots < 0)
        return slots;
    if (relay_free_slots(out, n) < (uint32_t)slots)
        return out->out->poisoned != 0 ? out->out->poisoned : -EAGAIN;
    return n->payload_len != 0 ? vmsig_ring_put_body(out->out, entry_body(r, n), n->payload_len, &ref) : 0;
}

int relay_publish(vmsig_relay *r, vmsig_port *out, const vmsig_entry *n, uint8_t dir, uint64_t seq) {
    vmsig_image img;
    int slots = entry_image(n, dir, seq, &img);
    if (slots < 0)
        return slots;
    if (n->payload_len != 0) {
        vmsig_body_ref ref;
        int err = vmsig_ring_put_body(out->out, entry_body(r, n), n->payload_len, &ref);
        if (err < 0)
            return err;
        vmsig_image_set_ref(&img, ref);
    }
    int err = vmsig_ring_put(out->out, &img, (uint32_t)slots);
    RELAY_POINT();
    return err;
}

/* ---- the record ------------------------------------------------------------------------------------------ */

void redo_clear(vmsig_relay *r, uint32_t dir) {
    redo *j = &r->st->redo;
    j->next_seq[0] = r->st->next_seq[0];
    j->next_seq[1] = r->st->next_seq[1];
    j->acc_at = j->answer_at = j->endpoint = j->channel = VMSIG_NONE;
    j->link = 0;
    j->dir = dir;
    j->n = 0;
}

void redo_commit(vmsig_relay *r, uint64_t op) {
    RELAY_POINT();
    durable64(&r->st->redo.op, op);
}

static void apply_dispatch(vmsig_relay *r, const redo *j) {
    vmsig_entry *n = &r->entries[j->dir][j->idx[0]];
    vmsig_port *out = j->link != 0 ? port_of(r, j->link) : NULL;
    if (j->link != 0 && out == NULL) /* the link went away meanwhile: the entry stays */
        return;
    if (out != NULL && out->out->tail <= j->q)
        relay_publish(r, out, n, (uint8_t)j->dir, j->seq);
    if (j->channel != VMSIG_NONE)
        durable64(&r->st->last_sent[j->dir][j->channel], j->sent_at);
    durable64(&n->seq, 0);
}

/* Every store here may be done again. */
void redo_apply(vmsig_relay *r) {
    state *st = r->st;
    const redo *j = &st->redo;
    if (j->op == OP_DISPATCH)
        apply_dispatch(r, j);
    for (uint32_t k = 0; k < j->n; k++)
        store_entry(&r->entries[j->dir][j->idx[k]], &j->e[k]);
    if (j->answer_at != VMSIG_NONE)
        store_entry(&r->entries[VMSIG_DIR_UP][j->answer_at], &j->answer);
    if (j->endpoint != VMSIG_NONE) {
        st->endpoint[j->endpoint].epoch = j->epoch;
        RELAY_POINT();
        st->endpoint[j->endpoint].ended = j->ended;
        RELAY_POINT();
    }
    durable64(&st->next_seq[0], j->next_seq[0]);
    durable64(&st->next_seq[1], j->next_seq[1]);
    if (j->acc_at != VMSIG_NONE)
        durable64(&st->acc[j->acc_at].acc, j->acc);
    durable64(&st->redo.op, 0);
}

static void answer_event(vmsig_relay *r, const vmsig_step *s, vmsig_event *ev) {
    vmsig_result body = {.status = s->answer.status, .detail = s->answer.detail};
    memset(ev, 0, sizeof *ev);
    ev->ts_ns = r->env.now(r->env.ud);
    ev->corr = s->answer.corr;
    ev->endpoint = s->answer.endpoint;
    ev->epoch = s->answer.epoch;
    ev->source = s->answer.source;
    ev->prio = VMSIG_PRIO_URGENT;
    ev->kind = VMSIG_EV_RESULT;
    ev->inln_len = sizeof body;
    memcpy(ev->inln, &body, sizeof body);
}

int redo_answer(vmsig_relay *r, const vmsig_step *s, vmsig_step *answer) {
    redo *j = &r->st->redo;
    vmsig_event ev;
    vmsig_entry cand;
    memset(&cand, 0, sizeof cand);
    answer_event(r, s, &ev);
    if (vmsig_entry_from_event(&cand, &ev) < 0 || vmsig_engine_plan(r->engine[VMSIG_DIR_UP], &cand, answer) < 0)
        return -EAGAIN;
    vmsig_engine_result(r->engine[VMSIG_DIR_UP], answer, 0, &cand, &j->answer);
    j->answer_at = answer->idx[0];
    j->next_seq[VMSIG_DIR_UP]++;
    return 0;
}

static void fill_step(vmsig_relay *r, uint32_t dir, const vmsig_step *s, const vmsig_entry *cand) {
    redo *j = &r->st->redo;
    j->n = s->n;
    for (uint32_t k = 0; k < s->n; k++) {
        j->idx[k] = s->idx[k];
        j->e[k] = r->entries[dir][s->idx[k]];
        vmsig_engine_result(r->engine[dir], s, k, cand, &j->e[k]);
    }
    j->next_seq[dir] += s->seq != 0;
}

int redo_step(vmsig_relay *r, uint32_t dir, vmsig_step *s, const vmsig_entry *cand, uint32_t acc_at, uint64_t acc) {
    redo *j = &r->st->redo;
    vmsig_step answer;
    int err = s->answer.corr != 0 && dir == VMSIG_DIR_DOWN ? redo_answer(r, s, &answer) : 0;
    if (err < 0)
        return err;
    fill_step(r, dir, s, cand);
    j->acc_at = acc_at;
    j->acc = acc;
    redo_commit(r, s->op);
    bool answered = j->answer_at != VMSIG_NONE;
    redo_apply(r);
    vmsig_engine_index(r->engine[dir], s);
    if (answered)
        vmsig_engine_index(r->engine[VMSIG_DIR_UP], &answer);
    if (s->payload_len != 0)
        body_free(r, s->payload, s->payload_len);
    return 0;
}

int redo_decide(vmsig_relay *r, const vmsig_step *s, uint32_t acc_at, uint64_t acc) {
    redo *j = &r->st->redo;
    vmsig_step answer;
    redo_clear(r, VMSIG_DIR_DOWN);
    int err = s->answer.corr != 0 ? redo_answer(r, s, &answer) : 0;
    if (err < 0)
        return err;
    j->acc_at = acc_at;
    j->acc = acc;
    redo_commit(r, OP_DECIDE);
    bool answered = j->answer_at != VMSIG_NONE;
    redo_apply(r);
    if (answered)
        vmsig_engine_index(r->engine[VMSIG_DIR_UP], &answer);
    return 0;
}
