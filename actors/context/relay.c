/* relay.c: ports, recovery, and what becomes of each event that comes in. */
#include "actors/context/relay.h"

#include <errno.h>
#include <string.h>

#include "actors/context/relay_impl.h"

#define FEW 64u /* entries that are kept for what may not be refused: answers, invalidations, epoch ends */

/* ---- ports ----------------------------------------------------------------------------------------------- */

static uint32_t acc_find(const vmsig_relay *r, uint32_t link) {
    for (uint32_t i = 0; i < VMSIG_RELAY_PORTS; i++)
        if (r->st->acc[i].link == link)
            return i;
    return VMSIG_NONE;
}

static uint32_t acc_place(vmsig_relay *r, uint16_t link) {
    uint32_t at = acc_find(r, link);
    if (at != VMSIG_NONE)
        return at;
    uint32_t empty = acc_find(r, 0);
    if (empty != VMSIG_NONE) {
        r->st->acc[empty].acc = 0;
        RELAY_POINT();
        durable64(&r->st->acc[empty].link, link);
    }
    return empty;
}

uint64_t vmsig_relay_resume_in(vmsig_relay *r, uint16_t link, uint64_t former) {
    uint32_t at = acc_place(r, link);
    if (at == VMSIG_NONE)
        return former;
    if (r->st->acc[at].acc < former) /* the link is older than the state */
        durable64(&r->st->acc[at].acc, former);
    return r->st->acc[at].acc;
}

void vmsig_relay_resume_out(vmsig_relay *r, const vmsig_ring_end *former) {
    if (former->n == 0)
        return;
    const vmsig_slot *last = &former->last.s[0];
    uint32_t link = vmsig_origin_link(last->origin), dir = vmsig_slot_dir(last);
    uint32_t at = link != 0 ? acc_find(r, link) : VMSIG_NONE;
    if (at == VMSIG_NONE || vmsig_origin_position(last->origin) != (r->st->acc[at].acc & 0xffffffffffffull))
        return;
    uint64_t *next_seq = &r->st->next_seq[dir];
    uint64_t after = vmsig_seq_near(*next_seq, last->seq_lo) + 1;
    if (after > *next_seq)
        durable64(next_seq, after);
    durable64(&r->st->acc[at].acc, r->st->acc[at].acc + former->n);
}

static bool takes(const vmsig_port *p, uint32_t endpoint, uint32_t kind) {
    return p->out != NULL && p->dir == VMSIG_DIR_DOWN && (p->endpoints >> endpoint & 1u) != 0 &&
           (p->accepts >> kind & 1u) != 0;
}

static void route_endpoint(vmsig_relay *r, uint32_t endpoint) {
    r->up[endpoint] = NULL;
    memset(r->down[endpoint], 0, sizeof r->down[endpoint]);
    for (uint32_t i = 0; i < r->ports_n; i++) {
        vmsig_port *p = r->ports[i];
        if (p->out != NULL && p->dir == VMSIG_DIR_UP && (p->endpoints >> endpoint & 1u) != 0)
            r->up[endpoint] = p;
        for (uint32_t kind = 0; kind < 32; kind++)
            if (takes(p, endpoint, kind) && (r->down[endpoint][kind] == NULL || r->down[endpoint][kind]->host))
                r->down[endpoint][kind] = p;
    }
}

static void route_all(vmsig_relay *r) {
    r->endpoints = 0;
    for (uint32_t i = 0; i < r->ports_n; i++)
        r->endpoints |= r->ports[i]->endpoints;
    for (uint32_t e = 0; e < VMSIG_ENDPOINTS_MAX; e++)
        route_endpoint(r, e);
}

int vmsig_relay_add(vmsig_relay *r, vmsig_port *p) {
    if (r->ports_n == VMSIG_RELAY_PORTS)
        return -ENOSPC;
    p->acc = p->in != NULL ? acc_place(r, p->id) : VMSIG_NONE;
    if (p->in != NULL && p->acc == VMSIG_NONE)
        return -ENOSPC;
    int err = ahead_new(r, p);
    if (err < 0)
        return err;
    p->memctx_pending = p->out != NULL && p->memctx ? p->endpoints : 0;
    p->end_pending = 0;
    p->blocked = false;
    r->ports[r->ports_n++] = p;
    route_all(r);
    vmsig_engine_release_held(r->engine[p->dir]);
    return 0;
}

bool vmsig_relay_detach(vmsig_relay *r, vmsig_port *p) {
    uint32_t i = 0;
    while (i < r->ports_n && r->ports[i] != p)
        i++;
    if (i == r->ports_n)
        return false;
    r->ports[i] = r->ports[--r->ports_n];
    ahead_drop(r, p);
    return true;
}

void vmsig_relay_remove(vmsig_relay *r, vmsig_port *p) {
    if (!vmsig_relay_detach(r, p))
        return;
    if (p->in != NULL)
        durable64(&r->st->acc[p->acc].link, 0);
    relay_answer_for(r, p);
    route_all(r);
    vmsig_engine_release_held(r->engine[VMSIG_DIR_DOWN]);
}

/* ---- recovery -------------------------------------------------------------------------------------------- */

int vmsig_relay_start(vmsig_relay *r) {
    bool lose = r->st->redo.op != 0 && poison_redo(r);
    uint32_t dir = r->st->redo.dir, idx = r->st->redo.idx[0];
    int err = state_rebuild(r);
    if (err < 0)
        return err;
    poison_look(r);
    if (lose && r->entries[dir][idx].seq != 0)
        relay_lose(r, dir, idx, VMSIG_LOST_POISON, VMSIG_DROPPED);
    vmsig_relay_turn(r);
    return 0;
}

/* ---- an event in ------------------------------------------------------------------------------------------ */

/* Whether the peer may say so at all. */
static bool permitted(const vmsig_port *p, const vmsig_slot *s) {
    bool command = s->kind >= VMSIG_CMD_INPUT && s->kind < VMSIG_EV_SENSOR_FIRST;
    if (vmsig_slot_dir(s) != p->dir || !(p->endpoints >> vmsig_slot_endpoint(s) & 1u) ||
        command != (p->dir == VMSIG_DIR_DOWN) || s->kind == VMSIG_EV_EPOCH_END)
        return false;
    if (!p->sensor || s->kind == VMSIG_EV_LOST)
        return true;
    return vmsig_slot_source(s) == p->source &&
           (s->kind == VMSIG_EV_STATE || s->kind >= VMSIG_EV_SENSOR_FIRST || s->kind == VMSIG_EV_RESULT);
}

/* What may_pass asks of a candidate. */
static void head_of(vmsig_entry *n, const vmsig_slot *s) {
    n->kind = s->kind;
    n->endpoint = (uint8_t)vmsig_slot_endpoint(s);
    n->source = vmsig_slot_source(s);
    n->flags_prio = vmsig_slot_prio(s);
    n->epoch = s->epoch;
}

static void decided(vmsig_relay *r, vmsig_port *p, uint32_t dir, uint32_t slots) {
    state *st = r->st;
    durable64(&st->next_seq[dir], st->next_seq[dir] + 1);
    durable64(&st->acc[p->acc].acc, st->acc[p->acc].acc + slots);
}

typedef enum passing { PASSED, LONG_WAY, NO_ROOM } passing;

/* The short way of an event of one slot without a payload: from slot to slot. */
static passing pass_slot(vmsig_relay *r, vmsig_port *p, const vmsig_slot *s) {
    vmsig_entry n;
    uint32_t dir = p->dir;
    if (vmsig_slot_prio(s) > VMSIG_PRIO_URGENT || s->kind == VMSIG_EV_LOST || s->kind == VMSIG_EV_MEMCTX ||
        s->kind == VMSIG_EV_MEMCTX_INVALID || s->kind == VMSIG_CMD_LEASE || s->corr_merged == 0)
        return LONG_WAY;
    head_of(&n, s);
    if (!vmsig_engine_may_pass(r->engine[dir], &n))
        return vmsig_engine_may_follow(r->engine[dir], &n) ? NO_ROOM : LONG_WAY;
    if (dir == VMSIG_DIR_DOWN && relay_command_status(r, &n) != VMSIG_OK)
        return LONG_WAY;
    vmsig_port *out = relay_route(r, dir, &n);
    if (out != NULL && out->ahead != NULL && ahead_full(r, out, &n))
        return LONG_WAY;
    vmsig_slot *to = out != NULL && relay_free_slots(out, &n) > 0 ? vmsig_ring_next(out->out) : NULL;
    if (to == NULL)
        return out != NULL ? NO_ROOM : LONG_WAY;
    uint32_t prio = vmsig_engine_prio(r->engine[dir], &n);
    memcpy(&to->ts_ns, &s->ts_ns, sizeof *to - sizeof to->turn);
    to->origin = vmsig_origin(p->id, p->in->cursor);
    to->seq_lo = (uint32_t)r->st->next_seq[dir];
    to->lane = (uint8_t)(vmsig_slot_source(s) | prio << 5);
    RELAY_POINT();
    vmsig_ring_publish1(out->out); /* COMMIT */
    RELAY_POINT();
    decided(r, p, dir, 1);
    if (out->ahead != NULL)
        ahead_note(r, out, &n, out->out->tail - 1);
    return PASSED;
}

/* Whether an event that found no room is left where it is for now. It costs a fraction of what the way through the queue
 * does, and that is how all would go as soon as the next actor is the slower one. Only what has no privilege waits so,
 * and, where the next ring does not move, no longer than PATIENCE_NS: then its input queues until it moves again. */
static bool is_patient(vmsig_relay *r, vmsig_port *p, const vmsig_slot *s) {
    vmsig_entry n;
    head_of(&n, s);
    vmsig_port *out = relay_route(r, p->dir, &n);
    if (!p->sensor || out == NULL || vmsig_engine_is_express(&n) ||
        vmsig_engine_prio(r->engine[p->dir], &n) > VMSIG_PRIO_NORMAL)
        return false;
    uint64_t now = r->env.now(r->env.ud);
    if (p->patient_until == 0)
        p->patient_until = now + PATIENCE_NS;
    if (now >= p->patient_until) {
        r->impatient = true;
        return false;
    }
    if (r->patience_ends == 0 || p->patient_until < r->patience_ends)
        r->patience_ends = p->patient_until;
    r->env.want_room(r->env.ud, out, relay_some_room(out));
    return true;
}

/* The long way to pass: any size, with a payload. 0, or -EAGAIN: queue it. */
static int pass_event(vmsig_relay *r, vmsig_port *p, vmsig_entry *cand, const void *body, uint32_t slots) {
    uint32_t dir = p->dir;
    vmsig_port *out = relay_route(r, dir, cand);
    if (out == NULL || !vmsig_engine_may_pass(r->engine[dir], cand))
        return -EAGAIN;
    if (out->ahead != NULL && ahead_full(r, out, cand))
        return -EAGAIN;
    vmsig_event ev;
    vmsig_image img;
    cand->flags_prio = (uint8_t)((cand->flags_prio & ~7u) | vmsig_engine_prio(r->engine[dir], cand));
    vmsig_entry_to_event(cand, (vmsig_dir)dir, &ev);
    ev.seq = r->st->next_seq[dir];
    int n = vmsig_image_pack(&img, &ev);
    if (n != (int)slots || relay_free_slots(out, cand) < slots)
        return -EAGAIN; /* a LOST made of something else: origin and slots would not tell the truth */
    if (cand->payload_len != 0) {
        vmsig_body_ref ref;
        if (vmsig_ring_put_body(out->out, body, cand->payload_len, &ref) < 0)
            return -EAGAIN;
        vmsig_image_set_ref(&img, ref);
    }
    img.s[0].origin = cand->origin;
    RELAY_POINT();
    int err = vmsig_ring_put(out->out, &img, slots); /* COMMIT */
    if (err < 0)
        return -EAGAIN;
    RELAY_POINT();
    decided(r, p, dir, slots);
    if (out->ahead != NULL)
        ahead_note(r, out, cand, out->out->tail - slots);
    return 0;
}

/* Whether the queue may take one more of this kind and channel: nobody takes more than what is left for the others. */
static bool has_place(const vmsig_relay *r, uint32_t dir, const vmsig_entry *cand, const vmsig_step *s) {
    uint32_t left = r->capacity[dir] - vmsig_engine_queued(r->engine[dir]);
    if (s->fresh == VMSIG_NONE || vmsig_engine_is_express(cand))
        return true;
    return left > FEW && vmsig_engine_in_channel(r->engine[dir], cand) <= left;
}

static bool keeps_body(const vmsig_step *s) {
    return s->op == VMSIG_OP_ACCEPT || s->op == VMSIG_OP_OLDEST || s->op == VMSIG_OP_COALESCE;
}

static int queue_event(vmsig_relay *r, vmsig_port *p, vmsig_entry *cand, const void *body, uint32_t slots) {
    vmsig_step s;
    uint64_t acc = r->st->acc[p->acc].acc + slots;
    vmsig_port *out = relay_route(r, p->dir, cand);
    if (out != NULL && out->ahead != NULL)
        ahead_full(r, out, cand); /* so that plan finds only those that are still there */
    int err = vmsig_engine_plan(r->engine[p->dir], cand, &s);
    if (err == -EAGAIN && out != NULL && out->ahead != NULL)
        ahead_wait(r, out);
    if (err < 0)
        return -EAGAIN;
    if (!has_place(r, p->dir, cand, &s))
        return -EAGAIN;
    bool own = cand->payload_len != 0 && keeps_body(&s);
    if (own && body_put(r, body, cand->payload_len, &cand->payload) < 0)
        return -EAGAIN;
    if (s.op == VMSIG_OP_REFUSE)
        s.payload_len = 0; /* it still lies in the producer's arena */
    redo_clear(r, p->dir);
    err = redo_step(r, p->dir, &s, cand, p->acc, acc);
    if (err < 0 && own)
        body_free(r, cand->payload, cand->payload_len);
    return err;
}

/* Nothing that this peer may say: it is told as lost. */
static void make_poison(vmsig_event *ev, const vmsig_port *p, uint32_t endpoint, uint8_t source) {
    vmsig_lost lost = {.count = 1, .source = source, .why = VMSIG_LOST_POISON};
    memset(ev, 0, sizeof *ev);
    ev->endpoint = endpoint;
    ev->merged = 1;
    ev->kind = VMSIG_EV_LOST;
    ev->source = VMSIG_SRC_SEAM;
    ev->dir = p->dir;
    ev->inln_len = sizeof lost;
    memcpy(ev->inln, &lost, sizeof lost);
}

static uint32_t lowest(uint64_t mask) {
    return mask != 0 ? (uint32_t)__builtin_ctzll(mask) : 0;
}

static bool body_too_large(const vmsig_relay *r, uint32_t dir, const vmsig_entry *n) {
    const vmsig_port *out = relay_route(r, dir, n);
    return out != NULL && n->payload_len > out->out->head->arena_bytes;
}

/* The peeked event as a candidate. -EPROTO: no event at all. */
static int take_in(vmsig_relay *r, vmsig_port *p, vmsig_entry *cand, const void **body, uint32_t *slots) {
    vmsig_image img;
    vmsig_event ev;
    uint32_t len = 0;
    *slots = vmsig_ring_copy(p->in, &img);
    if (*slots == 0 || vmsig_image_unpack(&ev, &img) < 0)
        return p->in->poisoned = -EPROTO;
    *body = vmsig_ring_body(p->in, &img, &len);
    if (p->in->poisoned != 0)
        return -EPROTO;
    ev.payload = (void *)(uintptr_t)*body;
    bool good = permitted(p, &img.s[0]) && vmsig_entry_from_event(cand, &ev) == 0;
    if (!good || body_too_large(r, p->dir, cand)) {
        make_poison(&ev, p, good ? ev.endpoint : lowest(p->endpoints), (uint8_t)p->source);
        vmsig_entry_from_event(cand, &ev);
    }
    bool memctx = ev.kind == VMSIG_EV_MEMCTX || ev.kind == VMSIG_EV_MEMCTX_INVALID;
    if (good && memctx && ev.epoch > r->st->endpoint[ev.endpoint].ended)
        memctx_retain(r, &ev, *body);
    cand->origin = vmsig_origin(p->id, p->in->cursor);
    return 0;
}

/* A command that cannot be carried out is answered here. */
static int refuse_command(vmsig_relay *r, vmsig_port *p, const vmsig_entry *cand, uint32_t slots, vmsig_status status) {
    vmsig_step s;
    memset(&s, 0, sizeof s);
    s.answer.corr = cand->corr;
    s.answer.endpoint = cand->endpoint;
    s.answer.source = cand->source;
    s.answer.epoch = cand->epoch;
    s.answer.status = (uint8_t)status;
    return redo_decide(r, &s, p->acc, r->st->acc[p->acc].acc + slots);
}

/* What killed too many is not looked at any more than an answer takes. */
static int drop_poison(vmsig_relay *r, vmsig_port *p) {
    vmsig_image img;
    vmsig_event ev;
    vmsig_entry cand;
    uint32_t slots = vmsig_ring_copy(p->in, &img), endpoint = vmsig_slot_endpoint(&img.s[0]);
    if (slots == 0)
        return p->in->poisoned = -EPROTO;
    int err = 0;
    memset(&cand, 0, sizeof cand);
    if (p->dir == VMSIG_DIR_DOWN) {
        if (vmsig_image_unpack(&ev, &img) >= 0)
            vmsig_entry_from_event(&cand, &ev);
        err = refuse_command(r, p, &cand, slots, VMSIG_DROPPED);
    } else {
        bool served = (p->endpoints >> endpoint & 1u) != 0;
        make_poison(&ev, p, served ? endpoint : lowest(p->endpoints), vmsig_slot_source(&img.s[0]));
        vmsig_entry_from_event(&cand, &ev);
        cand.origin = vmsig_origin(p->id, p->in->cursor);
        err = queue_event(r, p, &cand, NULL, slots);
    }
    if (err == 0)
        poison_over(r);
    return err;
}

static int long_way(vmsig_relay *r, vmsig_port *p) {
    vmsig_entry cand;
    const void *body;
    uint32_t slots;
    memset(&cand, 0, sizeof cand);
    int err = take_in(r, p, &cand, &body, &slots);
    if (err < 0)
        return err;
    if (p->dir == VMSIG_DIR_DOWN) {
        bool command = cand.kind != VMSIG_EV_LOST;
        vmsig_status status = command ? relay_command_status(r, &cand) : VMSIG_OK;
        if (!command || status != VMSIG_OK)
            return refuse_command(r, p, &cand, slots, status);
    }
    if (pass_event(r, p, &cand, body, slots) == 0)
        return 0;
    return queue_event(r, p, &cand, body, slots);
}

void vmsig_relay_healed(vmsig_relay *r, vmsig_port *p) {
    (void)r;
    p->gap = true;
}

/* What came down needs no telling: each command is answered when its time is over. */
static int tell_gap(vmsig_relay *r, vmsig_port *p) {
    uint64_t acc = r->st->acc[p->acc].acc, skipped = p->in->cursor > acc ? p->in->cursor - acc : 0;
    vmsig_event ev;
    vmsig_entry cand;
    vmsig_step none;
    int err;
    memset(&cand, 0, sizeof cand);
    memset(&none, 0, sizeof none);
    if (p->dir == VMSIG_DIR_DOWN) {
        err = redo_decide(r, &none, p->acc, acc + skipped);
    } else {
        make_poison(&ev, p, lowest(p->endpoints), (uint8_t)p->source);
        vmsig_entry_from_event(&cand, &ev);
        err = queue_event(r, p, &cand, NULL, (uint32_t)skipped);
    }
    p->gap = err < 0;
    return err;
}

/* Its first event found no place; it is tried again. */
static void block(vmsig_relay *r, vmsig_port *p) {
    p->blocked = p->in->poisoned == 0;
    r->blocked = r->blocked || p->blocked;
}

unsigned vmsig_relay_consume(vmsig_relay *r, vmsig_port *p, unsigned budget) {
    unsigned n = 0;
    const vmsig_slot *at;
    uint64_t poison = poison_of(r);
    if (p->gap && tell_gap(r, p) < 0) {
        block(r, p);
        return 0;
    }
    while (n < budget && (at = vmsig_ring_peek(p->in)) != NULL) {
        if (p->in->cursor < r->st->acc[p->acc].acc) { /* decided by a predecessor */
            vmsig_ring_advance(p->in);
            n++;
            continue;
        }
        uint64_t origin = vmsig_origin(p->id, p->in->cursor);
        if (origin == poison) {
            if (drop_poison(r, p) < 0) {
                block(r, p);
                break;
            }
            poison = 0;
            vmsig_ring_advance(p->in);
            n++;
            continue;
        }
        durable64(&r->st->trying, origin);
        bool one = p->in->head_count == 1 && p->in->ref.len == 0;
        vmsig_slot s = *at;
        uint32_t endpoint = vmsig_slot_endpoint(&s);
        if (p->dir == VMSIG_DIR_DOWN || s.epoch != r->st->endpoint[endpoint].epoch)
            epoch_check(r, endpoint);
        one = one && !vmsig_slot_in_arena(&s) && vmsig_slot_count(&s) == 1 && permitted(p, &s);
        passing way = one ? pass_slot(r, p, &s) : LONG_WAY;
        if (way != PASSED && ((way == NO_ROOM && is_patient(r, p, &s)) || long_way(r, p) < 0)) {
            block(r, p);
            break;
        }
        if (way == PASSED)
            p->patient_until = 0;
        vmsig_ring_advance(p->in);
        n++;
    }
    durable64(&r->st->trying, 0);
    return n;
}

void vmsig_relay_turn(vmsig_relay *r) {
    for (uint64_t left = r->endpoints; left != 0; left &= left - 1)
        epoch_check(r, (uint32_t)__builtin_ctzll(left));
    bool late = r->patience_ends != 0 && r->env.now(r->env.ud) >= r->patience_ends;
    if (late)
        r->patience_ends = 0;
    if (ahead_passed(r) || late)
        relay_go_on(r);
    else
        relay_dispatch(r);
}
