/* hold.c: leases as the gate has them: the table of lease.h, run in transactions, and what it says made known. */
#include <errno.h>
#include <string.h>

#include "actors/gateway/gate_impl.h"
#include "schema/caps.h"

/* ---- telling ------------------------------------------------------------------------------------------- */

static void put_lease(vmsig_gate *g, uint64_t session, uint64_t corr, uint32_t endpoint, vmsig_lease_info info) {
    vmsig_gate_tell(g, session, VMSIG_EV_LEASE, corr, endpoint, &info, sizeof info);
}

static void audit(vmsig_gate *g, vmsig_audit_what what, uint32_t endpoint, uint32_t cls, uint32_t principal,
                  uint64_t token, uint32_t detail) {
    vmsig_audit_record rec = {.what = what,
                              .principal = principal,
                              .endpoint = endpoint,
                              .epoch = vmsig_gate_epoch(g, endpoint),
                              .token = token,
                              .cls = cls,
                              .kind = VMSIG_CMD_LEASE,
                              .detail = detail};
    vmsig_gate_audit(g, &rec);
}

static void tell_granted(vmsig_gate *g, vmsig_inflight *e, const vmsig_slot_told *t) {
    vmsig_lease_info info = {.state = VMSIG_LEASE_GRANTED, .cls = e->cls, .holder = t->principal, .token = t->token};
    put_lease(g, e->session, e->sender_corr, e->endpoint, info);
    audit(g, VMSIG_AUDIT_GRANTED, e->endpoint, e->cls, e->principal, t->token, 0);
    vmsig_gate_answer(g, e, VMSIG_OK, t->token);
}

static void tell_denied(vmsig_gate *g, vmsig_inflight *e, const vmsig_slot_told *t) {
    vmsig_lease_info info = {.state = VMSIG_LEASE_DENIED, .cls = e->cls, .holder = t->principal};
    put_lease(g, e->session, e->sender_corr, e->endpoint, info);
    audit(g, VMSIG_AUDIT_DENIED, e->endpoint, e->cls, e->principal, 0, t->principal);
    vmsig_gate_answer(g, e, (vmsig_status)t->status, t->principal);
}

static void tell_queued(vmsig_gate *g, vmsig_inflight *e, const vmsig_slot_told *t) {
    vmsig_lease_info info = {.state = VMSIG_LEASE_QUEUED, .cls = e->cls, .holder = t->principal};
    if (e->state != VMSIG_INFLIGHT_QUEUED)
        put_lease(g, e->session, e->sender_corr, e->endpoint, info);
    vmsig_tx_save(&g->tx, e, sizeof *e);
    e->state = VMSIG_INFLIGHT_QUEUED;
    e->deadline_ns = vmsig_gate_now(g) + g->env.queue_ns;
    vmsig_gate_due(g, e->deadline_ns);
}

static void tell_revoked(vmsig_gate *g, uint32_t endpoint, uint32_t cls, const vmsig_slot_told *t) {
    vmsig_lease_info info = {.state = VMSIG_LEASE_REVOKED, .cls = cls, .token = t->token};
    if (vmsig_gate_session_of(g, t->session))
        put_lease(g, t->session, 0, endpoint, info);
    audit(g, VMSIG_AUDIT_REVOKED, endpoint, cls, t->principal, t->token, 0);
}

static void tell(vmsig_gate *g, uint32_t endpoint, uint32_t cls, const vmsig_slot_told *t) {
    if (t->say == VMSIG_SAY_REVOKED) {
        tell_revoked(g, endpoint, cls, t);
        return;
    }
    vmsig_inflight *e = vmsig_commands_find(&g->commands, t->corr);
    if (!e)
        return;
    switch (t->say) {
    case VMSIG_SAY_GRANTED:
        tell_granted(g, e, t);
        break;
    case VMSIG_SAY_RENEWED:
        vmsig_gate_answer(g, e, VMSIG_OK, t->token);
        break;
    case VMSIG_SAY_DENIED:
        tell_denied(g, e, t);
        break;
    case VMSIG_SAY_QUEUED:
        tell_queued(g, e, t);
        break;
    case VMSIG_SAY_NEXT: /* the slot's own bound ends its wait */
        vmsig_tx_save(&g->tx, e, sizeof *e);
        e->state = VMSIG_INFLIGHT_NEXT;
        e->deadline_ns = 0;
        break;
    default:
        vmsig_gate_answer(g, e, (vmsig_status)t->status, 0);
        break;
    }
}

static void closed(vmsig_gate *g, uint32_t endpoint, uint32_t cls) {
    vmsig_gate_say(g, "endpoint %u does not become quiet: its lease class %u is closed until it does", endpoint, cls);
    if (g->env.unquiet)
        g->env.unquiet(g->env.ud, endpoint);
}

/* ---- a step, inside a transaction ---------------------------------------------------------------------- */

static void step(vmsig_gate *g, uint32_t endpoint, uint32_t cls, vmsig_slot_event event, vmsig_slot_in *in) {
    vmsig_lease_slot *s = &g->d->lease[endpoint][cls];
    uint32_t asked = s->fence_corr, before = s->state;
    vmsig_slot_out out;
    in->now_ns = vmsig_gate_now(g);
    in->quiet_ns = g->env.quiet_ns[endpoint];
    vmsig_tx_save(&g->tx, s, sizeof *s);
    vmsig_tx_save(&g->tx, &g->d->next_token, sizeof g->d->next_token);
    vmsig_lease_step(s, event, in, &g->d->next_token, &out);
    g->fences_dirty[cls] |= 1ull << endpoint;
    if (asked && asked != s->fence_corr) { /* nobody waits for that answer any more */
        vmsig_inflight *e = vmsig_commands_find(&g->commands, asked);
        if (e)
            vmsig_commands_free(&g->commands, &g->tx, e);
    }
    for (int i = 0; i < out.n; i++)
        tell(g, endpoint, cls, &out.told[i]);
    if (out.line)
        g->lines_due |= 1ull << endpoint;
    if (s->state == VMSIG_SLOT_CLOSED && before != VMSIG_SLOT_CLOSED)
        closed(g, endpoint, cls);
    if (s->state == VMSIG_SLOT_FENCING) {
        vmsig_gate_due(g, s->bound_ns);
        if (!s->fence_corr)
            g->asks_due |= 1ull << endpoint;
    }
    if (s->state == VMSIG_SLOT_HELD)
        vmsig_gate_due(g, s->expires_ns);
}

void vmsig_gate_slot_event(vmsig_gate *g, uint32_t endpoint, uint32_t cls, vmsig_slot_event event, uint64_t session) {
    vmsig_slot_in in = {.session = session};
    if (vmsig_gate_begin(g, 0))
        return; /* the log is pinned by what is being delivered: the same again at the end of that */
    step(g, endpoint, cls, event, &in);
    vmsig_gate_commit(g);
}

#define EPOCH_BYTES 16384u /* of records that an epoch's end brings about, at most */

/* ---- commands ------------------------------------------------------------------------------------------ */

#define REFUSALS    16u        /* that a control may be given in a row ... */
#define REFUSALS_NS 100000000u /* ... and one more each 100 ms: then the arbiter is not asked */

/* A refused preemption cannot be retried in a storm. */
static bool storms(vmsig_gate *g, vmsig_gate_control *c) {
    uint64_t back = (vmsig_gate_now(g) - c->refused_ns) / REFUSALS_NS;
    c->refused -= back < c->refused ? (uint32_t)back : c->refused;
    c->refused_ns += back * REFUSALS_NS;
    return c->refused >= REFUSALS;
}

static vmsig_arb_decision arbitrate(vmsig_gate *g, vmsig_gate_control *c, uint32_t endpoint, uint32_t cls) {
    const vmsig_lease_slot *s = &g->d->lease[endpoint][cls];
    if (s->state != VMSIG_SLOT_HELD || s->session == c->session->id)
        return VMSIG_ARB_DENY;
    vmsig_gate_control *owner = vmsig_gate_control_of(g, s->session);
    if (!owner) /* the gate was restarted, and the holder has a moment yet to come back */
        return VMSIG_ARB_DENY;
    if (storms(g, c))
        return VMSIG_ARB_DENY;
    vmsig_arb_decision d = g->arbiter(g->arbiter_ud, endpoint, cls, &owner->filter.grant, &c->filter.grant);
    c->refused += d == VMSIG_ARB_DENY;
    return d;
}

static const vmsig_slot_event event_of[] = {[VMSIG_LEASE_ACQUIRE] = VMSIG_SLOT_ACQUIRE,
                                            [VMSIG_LEASE_RENEW] = VMSIG_SLOT_RENEW,
                                            [VMSIG_LEASE_RELEASE] = VMSIG_SLOT_RELEASE};

static vmsig_inflight *lease_entry(vmsig_gate *g, vmsig_gate_control *c, const vmsig_event *cmd, const vmsig_lease *l) {
    vmsig_inflight *e = vmsig_commands_new(&g->commands, &g->tx);
    vmsig_session_rec *s = c->session;
    e->state = VMSIG_INFLIGHT_SENT;
    e->session = s->id;
    e->sender_corr = cmd->corr;
    e->ttl_ns = l->ttl_ms ? (uint64_t)l->ttl_ms * 1000000u : g->env.default_ttl_ns;
    e->endpoint = cmd->endpoint;
    e->epoch = vmsig_gate_epoch(g, cmd->endpoint);
    e->principal = c->filter.grant.principal;
    e->cls = l->cls;
    e->op = l->op;
    e->kind = VMSIG_CMD_LEASE;
    vmsig_tx_save(&g->tx, s, sizeof *s);
    s->inflight++;
    if (cmd->corr > s->corr_done)
        s->corr_done = cmd->corr;
    return e;
}

int vmsig_gate_lease_command(vmsig_gate *g, vmsig_gate_control *c, const vmsig_event *cmd) {
    vmsig_lease l;
    memcpy(&l, cmd->inln, sizeof l);
    const vmsig_lease_slot *s = &g->d->lease[cmd->endpoint][l.cls];
    if (g->d->epoch[cmd->endpoint] != vmsig_gate_epoch(g, cmd->endpoint)) { /* what was held is void */
        if (vmsig_gate_begin(g, EPOCH_BYTES))
            return -EAGAIN;
        vmsig_gate_look_at_epochs(g);
    }
    vmsig_gate_serve_lines(g); /* nobody overtakes those in line */
    if (s->state == VMSIG_SLOT_HELD && vmsig_gate_now(g) >= s->expires_ns)
        vmsig_gate_slot_event(g, cmd->endpoint, l.cls, VMSIG_SLOT_EXPIRED, 0);
    vmsig_slot_in in = {
        .session = c->session->id, .principal = c->filter.grant.principal, .queue = (l.flags & VMSIG_LEASE_QUEUE) != 0};
    if (l.op == VMSIG_LEASE_ACQUIRE)
        in.decision = arbitrate(g, c, cmd->endpoint, l.cls);
    int err = vmsig_gate_begin(g, 0);
    if (err)
        return err;
    vmsig_inflight *e = lease_entry(g, c, cmd, &l);
    in.corr = e->corr;
    in.ttl_ns = l.op == VMSIG_LEASE_ACQUIRE || l.ttl_ms ? e->ttl_ns : 0;
    uint64_t token = s->token;
    bool released = l.op == VMSIG_LEASE_RELEASE && s->session == in.session && s->state == VMSIG_SLOT_HELD;
    bool preempts = s->state == VMSIG_SLOT_HELD && in.decision == VMSIG_ARB_PREEMPT && s->session != in.session;
    uint32_t holder = s->principal;
    step(g, cmd->endpoint, l.cls, event_of[l.op], &in);
    if (released)
        audit(g, VMSIG_AUDIT_RELEASED, cmd->endpoint, l.cls, in.principal, token, 0);
    if (preempts)
        audit(g, VMSIG_AUDIT_PREEMPTED, cmd->endpoint, l.cls, in.principal, token, holder);
    vmsig_gate_commit(g);
    return 0;
}

/* ---- those in line ------------------------------------------------------------------------------------- */

/* One of them: true = there may be more to do. */
static bool serve_one(vmsig_gate *g, uint32_t endpoint, uint32_t cls) {
    const vmsig_lease_slot *s = &g->d->lease[endpoint][cls];
    vmsig_inflight *e = vmsig_commands_first_queued(&g->commands, endpoint, cls);
    if (!e || vmsig_gate_begin(g, 0))
        return false;
    vmsig_slot_told no = {.say = VMSIG_SAY_DENIED, .corr = e->corr, .status = VMSIG_FENCED};
    if (e->epoch != vmsig_gate_epoch(g, endpoint)) {
        tell(g, endpoint, cls, &no);
    } else if (s->state == VMSIG_SLOT_CLOSED) {
        no.status = VMSIG_UNAVAILABLE;
        tell(g, endpoint, cls, &no);
    } else if (s->state == VMSIG_SLOT_FREE || (s->state == VMSIG_SLOT_FENCING && !s->next_corr)) {
        vmsig_slot_in in = {
            .session = e->session, .principal = e->principal, .corr = e->corr, .ttl_ns = e->ttl_ns, .queue = true};
        step(g, endpoint, cls, VMSIG_SLOT_ACQUIRE, &in);
    } else {
        return false;
    }
    vmsig_gate_commit(g);
    return true;
}

void vmsig_gate_serve_lines(vmsig_gate *g) {
    uint64_t due = g->started ? g->lines_due : 0;
    g->lines_due &= ~due;
    for (; due; due &= due - 1)
        for (uint32_t cls = 0; cls < VMSIG_LEASE_CLASSES; cls++)
            while (serve_one(g, (uint32_t)__builtin_ctzll(due), cls)) {
            }
}

/* ---- the end of a session, or of its right ------------------------------------------------------------- */

static bool covered(const vmsig_grant *grant, uint32_t endpoint, uint32_t cls) {
    return grant && (grant->endpoint_mask >> endpoint & 1) && (grant->caps & vmsig_lease_cap(cls));
}

static void leave_lines(vmsig_gate *g, uint64_t session, const vmsig_grant *covers) {
    for (uint32_t i = 0; i < VMSIG_INFLIGHT_MAX; i++) {
        vmsig_inflight *e = &g->d->commands.entry[i];
        if (!e->corr || e->session != session || e->state != VMSIG_INFLIGHT_QUEUED ||
            covered(covers, e->endpoint, e->cls) || vmsig_gate_begin(g, 0))
            continue;
        vmsig_gate_answer(g, e, covers ? VMSIG_NOCAP : VMSIG_DROPPED, 0);
        vmsig_gate_commit(g);
    }
}

void vmsig_gate_session_gone(vmsig_gate *g, uint64_t session, const vmsig_grant *covers) {
    leave_lines(g, session, covers);
    for (uint32_t ep = 0; ep < VMSIG_ENDPOINTS_MAX; ep++)
        for (uint32_t cls = 0; cls < VMSIG_LEASE_CLASSES; cls++) {
            const vmsig_lease_slot *s = &g->d->lease[ep][cls];
            bool held = s->state == VMSIG_SLOT_HELD && s->session == session;
            bool next = s->state == VMSIG_SLOT_FENCING && s->next_corr && s->next_session == session;
            if ((held || next) && !covered(covers, ep, cls))
                vmsig_gate_slot_event(g, ep, cls, VMSIG_SLOT_GONE, session);
        }
}

/* ---- fences -------------------------------------------------------------------------------------------- */

void vmsig_gate_set_fence(vmsig_gate *g, uint32_t endpoint, uint32_t cls) {
    const vmsig_lease_slot *s = &g->d->lease[endpoint][cls];
    vmsig_fence_page *page = g->env.fences ? g->env.fences(g->env.ud) : NULL;
    if (!page || !(g->env.endpoint_mask >> endpoint & 1))
        return;
    if (s->state == VMSIG_SLOT_HELD)
        vmsig_fence_grant(page, endpoint, (vmsig_lease_class)cls, s->token);
    else
        vmsig_fence_raise(page, endpoint, (vmsig_lease_class)cls, s->token);
}

/* Asks the host of a slot whose fence was raised: drain, let go, say so. Without room on the ring: at the next turn. */
void vmsig_gate_fence_ask(vmsig_gate *g, uint32_t endpoint, uint32_t cls) {
    vmsig_lease_slot *s = &g->d->lease[endpoint][cls];
    if (s->state != VMSIG_SLOT_FENCING || s->fence_corr || g->commands.free_n == 0 || vmsig_gate_begin(g, 0))
        return;
    vmsig_inflight *e = vmsig_commands_new(&g->commands, &g->tx);
    e->state = VMSIG_INFLIGHT_FENCE;
    e->endpoint = endpoint;
    e->cls = cls;
    e->kind = VMSIG_CMD_LEASE;
    e->token = s->token;
    e->epoch = vmsig_gate_epoch(g, endpoint);
    vmsig_tx_save(&g->tx, &s->fence_corr, sizeof s->fence_corr);
    s->fence_corr = e->corr;
    vmsig_lease l = {.op = VMSIG_LEASE_FENCE, .cls = cls};
    vmsig_event cmd = {.kind = VMSIG_CMD_LEASE,
                       .source = VMSIG_SRC_SEAM,
                       .dir = VMSIG_DIR_DOWN,
                       .prio = VMSIG_PRIO_URGENT,
                       .endpoint = endpoint,
                       .epoch = e->epoch,
                       .corr = e->corr,
                       .token = s->token,
                       .merged = 1,
                       .ts_ns = vmsig_gate_now(g),
                       .inln_len = sizeof l};
    memcpy(cmd.inln, &l, sizeof l);
    if (g->env.mark)
        vmsig_tx_mark(&g->tx, g->env.mark(g->env.ud, endpoint));
    int err = g->env.command(g->env.ud, &cmd);
    if (!err) {
        vmsig_gate_commit(g);
        return;
    }
    vmsig_gate_rollback(g);
    if (err == -EAGAIN)
        g->asks_due |= 1ull << endpoint;
    else /* nobody there who could have an effect under way */
        vmsig_gate_slot_event(g, endpoint, cls, VMSIG_SLOT_QUIET, 0);
}

void vmsig_gate_fence_answer(vmsig_gate *g, vmsig_inflight *e, int32_t status) {
    uint32_t endpoint = e->endpoint, cls = e->cls;
    vmsig_lease_slot *s = &g->d->lease[endpoint][cls];
    bool wanted = s->fence_corr == e->corr;
    vmsig_commands_free(&g->commands, &g->tx, e);
    if (!wanted)
        return;
    vmsig_tx_save(&g->tx, &s->fence_corr, sizeof s->fence_corr);
    s->fence_corr = 0;
    vmsig_slot_in in = {0};
    bool quiet = status == VMSIG_OK || status == VMSIG_UNAVAILABLE; /* the context's word: there is no actuator */
    step(g, endpoint, cls, quiet ? VMSIG_SLOT_QUIET : VMSIG_SLOT_UNQUIET, &in);
}
