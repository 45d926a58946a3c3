/* relay_dispatch.c: where events go, and sending those that were queued. */
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
