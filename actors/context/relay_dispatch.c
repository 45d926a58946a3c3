/* relay_dispatch.c: where events go, sending those that were queued, and what becomes of commands whose taker is gone. */
#include <errno.h>
#include <string.h>

#include "actors/context/relay_impl.h"
#include "schema/caps.h"

/* A fence goes to who takes the commands of its class. */
static uint32_t kind_of(const vmsig_entry *n) {
    vmsig_lease l;
    if (n->kind != VMSIG_CMD_LEASE || n->inln_len < sizeof l)
        return n->kind;
    memcpy(&l, n->inln, sizeof l);
    return vmsig_lease_kind(l.cls);
}

vmsig_port *relay_route(const vmsig_relay *r, uint32_t dir, const vmsig_entry *n) {
    if (dir == VMSIG_DIR_UP)
        return r->up[n->endpoint];
    uint32_t kind = kind_of(n);
    return kind >= VMSIG_CMD_INPUT && kind < VMSIG_EV_SENSOR_FIRST ? r->down[n->endpoint][kind - VMSIG_CMD_INPUT]
                                                                   : NULL;
}

/* A LEASE command is the gateway's own (a fence), and of no epoch. */
vmsig_status relay_command_status(const vmsig_relay *r, const vmsig_entry *n) {
    uint32_t epoch = r->st->endpoint[n->endpoint].epoch;
    if (n->epoch != 0 && epoch != 0 && n->epoch != epoch)
        return VMSIG_FENCED;
    return relay_route(r, VMSIG_DIR_DOWN, n) != NULL ? VMSIG_OK : VMSIG_UNAVAILABLE;
}

static void unblock(vmsig_relay *r) {
    if (!r->blocked)
        return;
    r->blocked = false;
    for (uint32_t i = 0; i < r->ports_n; i++) {
        vmsig_port *p = r->ports[i];
        if (!p->blocked)
            continue;
        p->blocked = false;
        r->env.wake(r->env.ud, p);
    }
}

static void send_entry(vmsig_relay *r, uint32_t dir, uint32_t idx, vmsig_port *out) {
    vmsig_entry *n = &r->entries[dir][idx];
    uint64_t payload = n->payload;
    uint32_t payload_len = n->payload_len, channel;
    redo_clear(r, dir);
    redo *j = &r->st->redo;
    j->idx[0] = idx;
    j->seq = n->seq;
    j->sent_at = vmsig_engine_sent_at(r->engine[dir], idx, &channel);
    j->channel = j->sent_at != 0 ? channel : VMSIG_NONE;
    j->link = out != NULL ? out->id : 0;
    j->q = out != NULL ? out->out->tail : 0;
    redo_commit(r, OP_DISPATCH);
    redo_apply(r);
    if (out != NULL && out->ahead != NULL)
        ahead_note(r, out, n, j->q);
    vmsig_engine_take(r->engine[dir], idx);
    if (payload_len != 0)
        body_free(r, payload, payload_len);
}

int relay_lose(vmsig_relay *r, uint32_t dir, uint32_t idx, vmsig_lost_why why, vmsig_status status) {
    vmsig_step s;
    vmsig_engine_plan_loss(r->engine[dir], idx, why, status, &s);
    redo_clear(r, dir);
    return redo_step(r, dir, &s, NULL, VMSIG_NONE, 0);
}

/* ---- who took commands is gone ----------------------------------------------------------------------------- */

static bool is_command(uint32_t kind) {
    return kind >= VMSIG_CMD_INPUT && kind < VMSIG_EV_SENSOR_FIRST;
}

/* A fence goes to who takes its class from now on; all others were meant for him: half of a key's strokes is no use to
 * anybody else. */
static void lose_queued(vmsig_relay *r, const vmsig_port *p) {
    for (uint32_t i = 0; i < r->capacity[VMSIG_DIR_DOWN]; i++) {
        const vmsig_entry *n = &r->entries[VMSIG_DIR_DOWN][i];
        bool his =
            n->seq != 0 && is_command(n->kind) && n->kind != VMSIG_CMD_LEASE && relay_route(r, VMSIG_DIR_DOWN, n) == p;
        if (his && relay_lose(r, VMSIG_DIR_DOWN, i, VMSIG_LOST_DEADLINE, VMSIG_UNAVAILABLE) < 0)
            return; /* when there is room for answers again, dispatch finds them without a way, or with another */
    }
}

/* The event at `at` of his ring: how many slots it takes. */
static uint32_t answer_left(vmsig_relay *r, const vmsig_ring_out *out, uint64_t at, vmsig_status status) {
    vmsig_image img;
    vmsig_event ev;
    vmsig_step s;
    uint32_t n = vmsig_slot_count(&out->slots[at & out->mask]);
    for (uint32_t i = 0; i < n; i++) {
        img.s[i] = out->slots[(at + i) & out->mask];
        img.s[i].turn = 0;
    }
    if (vmsig_image_unpack(&ev, &img) < 0 || !is_command(ev.kind))
        return n;
    memset(&s, 0, sizeof s);
    s.answer.corr = ev.corr;
    s.answer.endpoint = (uint8_t)ev.endpoint;
    s.answer.source = ev.source;
    s.answer.epoch = ev.epoch;
    s.answer.status = (uint8_t)(ev.kind == VMSIG_CMD_LEASE ? VMSIG_UNAVAILABLE : status);
    redo_decide(r, &s, VMSIG_NONE, 0); /* no room for it: its time ends it */
    return n;
}

/* What he did not take, if he said so himself; one that was killed may have begun with it. What lies in a ring of this
 * actor's predecessor is not seen here: its time ends it. */
static void answer_ring(vmsig_relay *r, const vmsig_port *p) {
    const vmsig_ring_out *out = p->out;
    uint64_t cursor = out->reader != NULL ? vmsig_load64_acquire(&out->reader->cursor) : out->head->base;
    bool stopped = out->reader == NULL || vmsig_load32(&out->reader->stopped) != 0;
    if (cursor < out->head->base)
        cursor = out->head->base;
    if (out->poisoned != 0 || cursor > out->tail || out->tail - cursor > out->mask + 1ull)
        return;
    while (cursor < out->tail)
        cursor += answer_left(r, out, cursor, stopped ? VMSIG_UNAVAILABLE : VMSIG_UNKNOWN);
}

void relay_answer_for(vmsig_relay *r, const vmsig_port *p) {
    if (p->out == NULL || p->dir != VMSIG_DIR_DOWN)
        return;
    answer_ring(r, p);
    lose_queued(r, p);
}

/* ---- dispatch ---------------------------------------------------------------------------------------------- */

/* The entry that is due. false: it waits. */
static bool dispatch_one(vmsig_relay *r, uint32_t dir, uint32_t idx) {
    const vmsig_entry *n = &r->entries[dir][idx];
    vmsig_port *out = relay_route(r, dir, n);
    bool told = dir == VMSIG_DIR_DOWN && n->kind == VMSIG_EV_LOST; /* each of its commands has had its answer */
    int err = 0;
    if (dir == VMSIG_DIR_DOWN && !told) {
        vmsig_status status = relay_command_status(r, n);
        if (status != VMSIG_OK)
            return relay_lose(r, dir, idx, VMSIG_LOST_EPOCH, status) == 0;
    }
    if (!told)
        err = out != NULL ? relay_room(r, out, n, (uint8_t)dir) : -EAGAIN;
    if (err == 0 && !told && out->ahead != NULL && ahead_full(r, out, n)) {
        vmsig_engine_hold(r->engine[dir], idx);
        ahead_wait(r, out);
        return true;
    }
    if (err == -EMSGSIZE)
        return relay_lose(r, dir, idx, VMSIG_LOST_POISON, VMSIG_INVALID) == 0;
    if (err < 0) {
        vmsig_engine_hold(r->engine[dir], idx);
        if (out != NULL)
            r->env.want_room(r->env.ud, out, relay_some_room(out));
        return true;
    }
    send_entry(r, dir, idx, told ? NULL : out);
    unblock(r);
    return true;
}

static void dispatch_dir(vmsig_relay *r, uint32_t dir) {
    uint32_t idx;
    vmsig_pick p;
    while ((p = vmsig_engine_pick(r->engine[dir], &idx)) != VMSIG_PICK_NONE) {
        bool ok = p == VMSIG_PICK_SEND ? dispatch_one(r, dir, idx)
                                       : relay_lose(r, dir, idx, VMSIG_LOST_EPOCH, VMSIG_FENCED) == 0;
        if (!ok)
            return;
    }
}

/* Commands first: their answers go up. */
void relay_dispatch(vmsig_relay *r) {
    dispatch_dir(r, VMSIG_DIR_DOWN);
    dispatch_dir(r, VMSIG_DIR_UP);
}

void relay_go_on(vmsig_relay *r) {
    vmsig_engine_release_held(r->engine[VMSIG_DIR_UP]);
    vmsig_engine_release_held(r->engine[VMSIG_DIR_DOWN]);
    relay_dispatch(r);
    unblock(r);
}

static void be_patient_again(vmsig_relay *r) {
    r->impatient = false;
    for (uint32_t i = 0; i < r->ports_n; i++)
        r->ports[i]->patient_until = 0;
}

void vmsig_relay_writable(vmsig_relay *r, vmsig_port *p) {
    if (r->impatient)
        be_patient_again(r);
    news_send(r, p);
    relay_go_on(r);
}

uint64_t vmsig_relay_due(const vmsig_relay *r) {
    uint64_t up = vmsig_engine_due(r->engine[VMSIG_DIR_UP]), down = vmsig_engine_due(r->engine[VMSIG_DIR_DOWN]);
    uint64_t due = up == 0 || (down != 0 && down < up) ? down : up;
    return due == 0 || (r->patience_ends != 0 && r->patience_ends < due) ? r->patience_ends : due;
}

uint32_t vmsig_relay_queued(const vmsig_relay *r) {
    return vmsig_engine_queued(r->engine[VMSIG_DIR_UP]) + vmsig_engine_queued(r->engine[VMSIG_DIR_DOWN]);
}
