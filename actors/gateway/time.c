/* time.c: what the clock and the endpoints' epochs bring about. */
#include "actors/gateway/gate_impl.h"

#define LATE_ANSWER_NS 2000000000u /* what a host's successor has to answer for commands that its predecessor had */

/* ---- epochs -------------------------------------------------------------------------------------------- */

/* Commands of before: the host, or its successor, answers for them; if it does not, they are UNKNOWN. */
static void mark_commands(vmsig_gate *g, uint32_t endpoint, uint32_t epoch) {
    uint64_t until = vmsig_gate_now(g) + LATE_ANSWER_NS;
    for (uint32_t i = 0; i < VMSIG_INFLIGHT_MAX; i++) {
        vmsig_inflight *e = &g->d->commands.entry[i];
        if (!e->corr || e->state != VMSIG_INFLIGHT_SENT || e->endpoint != endpoint || e->epoch == epoch || e->host_died)
            continue;
        vmsig_tx_save(&g->tx, e, sizeof *e);
        e->host_died = 1;
        if (e->deadline_ns > until)
            e->deadline_ns = until;
        vmsig_gate_due(g, e->deadline_ns);
        vmsig_gate_commit(g);
    }
}

/* Holders of a memctx learn at once that it is void: its host, if it died, cannot tell them. */
static void void_memctx(vmsig_gate *g, uint32_t endpoint, uint32_t epoch) {
    const vmsig_retained_entry *e = vmsig_retained_find(g->retained, endpoint, VMSIG_SRC_MEMCTX, VMSIG_EV_MEMCTX);
    if (!e || e->epoch == epoch || vmsig_gate_begin(g, 0))
        return;
    vmsig_event ev = {.kind = VMSIG_EV_MEMCTX_INVALID,
                      .source = VMSIG_SRC_MEMCTX,
                      .prio = VMSIG_PRIO_URGENT,
                      .endpoint = endpoint,
                      .epoch = epoch ? epoch : e->epoch + 1, /* all before it is void */
                      .merged = 1,
                      .ts_ns = vmsig_gate_now(g)};
    vmsig_gate_put(g, 0, &ev);
    vmsig_gate_commit(g);
    g->voided |= 1ull << endpoint;
}

static void epoch_moved(vmsig_gate *g, uint32_t endpoint, uint32_t epoch) {
    for (uint32_t cls = 0; cls < VMSIG_LEASE_CLASSES; cls++)
        vmsig_gate_slot_event(g, endpoint, cls, VMSIG_SLOT_EPOCH, 0);
    void_memctx(g, endpoint, epoch);
    mark_commands(g, endpoint, epoch);
    vmsig_audit_record rec = {.what = VMSIG_AUDIT_EPOCH, .endpoint = endpoint, .epoch = epoch, .cls = UINT32_MAX};
    vmsig_gate_audit(g, &rec);
    vmsig_tx_save(&g->tx, &g->d->epoch[endpoint], sizeof g->d->epoch[endpoint]);
    g->d->epoch[endpoint] = epoch; /* last: until then a successor does it all again */
    vmsig_gate_commit(g);
}

void vmsig_gate_look_at_epochs(vmsig_gate *g) {
    for (uint64_t m = g->env.endpoint_mask; m; m &= m - 1) {
        uint32_t endpoint = (uint32_t)__builtin_ctzll(m);
        uint32_t epoch = vmsig_gate_epoch(g, endpoint);
        if (epoch == g->d->epoch[endpoint])
            continue;
        if (epoch == 0 && g->grace_end) /* just started: the host's page may be on its way */
            continue;
        epoch_moved(g, endpoint, epoch);
    }
}

/* ---- deadlines ----------------------------------------------------------------------------------------- */

static void expire_slots(vmsig_gate *g, uint64_t now) {
    for (uint32_t ep = 0; ep < VMSIG_ENDPOINTS_MAX; ep++)
        for (uint32_t cls = 0; cls < VMSIG_LEASE_CLASSES; cls++) {
            const vmsig_lease_slot *s = &g->d->lease[ep][cls];
            if (s->state == VMSIG_SLOT_HELD && now >= s->expires_ns)
                vmsig_gate_slot_event(g, ep, cls, VMSIG_SLOT_EXPIRED, s->session);
            if (s->state == VMSIG_SLOT_FENCING && now >= s->bound_ns)
                vmsig_gate_slot_event(g, ep, cls, VMSIG_SLOT_UNQUIET, 0);
            if (s->state == VMSIG_SLOT_HELD)
                vmsig_gate_due(g, s->expires_ns);
            if (s->state == VMSIG_SLOT_FENCING)
                vmsig_gate_due(g, s->bound_ns);
        }
}

static void expire_commands(vmsig_gate *g, uint64_t now) {
    for (uint32_t i = 0; i < VMSIG_INFLIGHT_MAX; i++) {
        vmsig_inflight *e = &g->d->commands.entry[i];
        if (!e->corr || !e->deadline_ns)
            continue;
        if (now < e->deadline_ns) {
            vmsig_gate_due(g, e->deadline_ns);
        } else if (!vmsig_gate_begin(g, 0)) {
            vmsig_gate_answer(g, e, e->host_died ? VMSIG_UNKNOWN : VMSIG_TIMEOUT, 0);
            vmsig_gate_commit(g);
        }
    }
}

/* Sessions that did not come back after a restart have died. */
static void end_grace(vmsig_gate *g) {
    g->grace_end = 0;
    for (uint32_t i = 0; i < VMSIG_GATE_SESSIONS; i++)
        if (g->d->session[i].id && !vmsig_gate_control_of(g, g->d->session[i].id))
            vmsig_gate_session_gone(g, g->d->session[i].id, NULL);
}

void vmsig_gate_expire(vmsig_gate *g) {
    uint64_t now = vmsig_gate_now(g);
    g->next_due = UINT64_MAX;
    expire_slots(g, now);
    expire_commands(g, now);
    if (g->grace_end && now >= g->grace_end)
        end_grace(g);
    else
        vmsig_gate_due(g, g->grace_end);
}
