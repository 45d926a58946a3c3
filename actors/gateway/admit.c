/* admit.c: commands in: may this control do that, now? Answered exactly once, whatever the answer is.
 *
 *   emit ──► well-formed? seen before? ──► capability ──► epoch ──► lease ──► intent ──► context
 *                                            └───────── refused: one RESULT ─────────┘
 */
#include <errno.h>
#include <string.h>

#include "actors/gateway/gate_impl.h"
#include "schema/caps.h"

static bool well_formed(const vmsig_event *cmd) {
    return cmd && cmd->kind >= VMSIG_CMD_INPUT && cmd->kind <= VMSIG_CMD_LEASE && cmd->endpoint < VMSIG_ENDPOINTS_MAX &&
           cmd->inln_len <= VMSIG_INLINE_MAX && cmd->payload_len <= VMSIG_PAYLOAD_MAX &&
           (cmd->payload_len == 0) == (cmd->payload == NULL) && cmd->prio <= VMSIG_PRIO_URGENT;
}

/* A lease is looked at as of now, not as of the last turn: its term, and its epoch. */
static const vmsig_lease_slot *slot_now(vmsig_gate *g, uint32_t endpoint, uint32_t cls) {
    const vmsig_lease_slot *s = &g->d->lease[endpoint][cls];
    if (s->state == VMSIG_SLOT_HELD && vmsig_gate_now(g) >= s->expires_ns)
        vmsig_gate_slot_event(g, endpoint, cls, VMSIG_SLOT_EXPIRED, s->session);
    return s;
}

static vmsig_status lease_status(vmsig_gate *g, const vmsig_gate_control *c, const vmsig_event *cmd, uint32_t cls) {
    const vmsig_lease_slot *s = slot_now(g, cmd->endpoint, cls);
    bool over = g->d->epoch[cmd->endpoint] != vmsig_gate_epoch(g, cmd->endpoint) || vmsig_gate_now(g) >= s->expires_ns;
    bool mine = s->state == VMSIG_SLOT_HELD && s->session == c->session->id && !over;
    if (mine && cmd->token == s->token)
        return VMSIG_OK;
    return cmd->token ? VMSIG_FENCED : VMSIG_NOLEASE;
}

static vmsig_status admit(vmsig_gate *g, vmsig_gate_control *c, const vmsig_event *cmd, const vmsig_need *need) {
    const vmsig_grant *grant = &c->filter.grant;
    uint32_t epoch = vmsig_gate_epoch(g, cmd->endpoint);
    if (!need)
        return VMSIG_INVALID;
    if (!(grant->endpoint_mask >> cmd->endpoint & 1) || !(grant->caps & need->cap))
        return VMSIG_NOCAP;
    if (!(g->env.endpoint_mask >> cmd->endpoint & 1) || epoch == 0)
        return VMSIG_UNAVAILABLE;
    if (cmd->epoch && cmd->epoch != epoch)
        return VMSIG_FENCED;
    return need->cls == VMSIG_NO_LEASE ? VMSIG_OK : lease_status(g, c, cmd, need->cls);
}

/* The sender's corr is answered or on its way: the same again is not done again. */
static void done_with(vmsig_gate *g, vmsig_session_rec *s, uint64_t corr) {
    vmsig_tx_save(&g->tx, &s->corr_done, sizeof s->corr_done);
    if (corr > s->corr_done)
        s->corr_done = corr;
}

/* A refusal, or the answer to something whose own answer is lost. */
static int answer_only(vmsig_gate *g, vmsig_gate_control *c, const vmsig_event *cmd, vmsig_status status) {
    if (vmsig_gate_begin(g, 0)) {
        errno = EAGAIN;
        return -1;
    }
    vmsig_gate_result(g, c->session->id, cmd, status, 0);
    done_with(g, c->session, cmd->corr);
    vmsig_gate_commit(g);
    return 0;
}

/* The result of a sender's corr is in the log, and not handled before it came back: it has been, or will be, delivered.
 * O(what it missed), for resent commands only. */
static bool result_in_log(vmsig_gate *g, const vmsig_gate_control *c, uint64_t corr) {
    uint64_t pos = c->begin > g->log.m->tail ? c->begin : g->log.m->tail, session = c->session->id;
    const vmsig_rec *r;
    for (; (r = vmsig_log_at(&g->log, &pos)); pos += r->bytes) {
        vmsig_event ev;
        if (r->session != session)
            continue;
        vmsig_rec_event(r, &ev);
        if (ev.kind == VMSIG_EV_RESULT && ev.corr == corr)
            return true;
    }
    return false;
}

/* Resent. Its answer is still to come, or in the log; or it fell out of the log: then nobody knows it any more. */
static int again(vmsig_gate *g, vmsig_gate_control *c, const vmsig_event *cmd) {
    if (vmsig_commands_of(&g->commands, c->session->id, cmd->corr) || result_in_log(g, c, cmd->corr))
        return 0;
    return answer_only(g, c, cmd, VMSIG_UNKNOWN);
}

static uint32_t op_of(const vmsig_event *cmd) {
    uint32_t op = 0;
    if (cmd->kind == VMSIG_CMD_LIFECYCLE || cmd->kind == VMSIG_CMD_VM)
        memcpy(&op, cmd->inln, sizeof op);
    return op;
}

/* The command as the bus has it: under a corr of the bus, stamped with the present epoch. */
static void for_the_bus(vmsig_gate *g, const vmsig_event *cmd, const vmsig_inflight *e, vmsig_event *out) {
    *out = *cmd;
    out->corr = e->corr;
    out->epoch = e->epoch;
    out->dir = VMSIG_DIR_DOWN;
    out->source = (uint8_t)vmsig_lane_of(cmd->kind);
    out->seq = 0;
    out->merged = 1;
    out->flags = 0;
    if (out->ts_ns == 0)
        out->ts_ns = vmsig_gate_now(g);
}

static vmsig_inflight *new_entry(vmsig_gate *g, vmsig_gate_control *c, const vmsig_event *cmd, uint32_t cls) {
    vmsig_inflight *e = vmsig_commands_new(&g->commands, &g->tx);
    vmsig_session_rec *s = c->session;
    e->state = VMSIG_INFLIGHT_SENT;
    e->session = s->id;
    e->sender_corr = cmd->corr;
    e->deadline_ns = vmsig_gate_now(g) + g->env.command_ns;
    e->token = cmd->token;
    e->endpoint = cmd->endpoint;
    e->epoch = vmsig_gate_epoch(g, cmd->endpoint);
    e->principal = c->filter.grant.principal;
    e->cls = cls;
    e->op = op_of(cmd);
    e->kind = cmd->kind;
    vmsig_tx_save(&g->tx, &s->inflight, sizeof s->inflight);
    s->inflight++;
    done_with(g, s, cmd->corr);
    vmsig_gate_due(g, e->deadline_ns);
    return e;
}

static int intend(vmsig_gate *g, const vmsig_inflight *e) {
    vmsig_audit_record rec = {.what = VMSIG_AUDIT_INTENT,
                              .principal = e->principal,
                              .endpoint = e->endpoint,
                              .epoch = e->epoch,
                              .token = e->token,
                              .corr = e->corr,
                              .cls = e->cls,
                              .kind = e->kind,
                              .detail = e->op};
    return vmsig_gate_audit(g, &rec);
}

/* Published at once, or held: 0, -EAGAIN no room (never once an intent is written), -EACCES, -ENOENT... */
static int publish_or_hold(vmsig_gate *g, vmsig_inflight *e, const vmsig_event *cmd) {
    int said = intend(g, e);
    bool wait = said == VMSIG_GATE_HOLD || vmsig_gate_held_lane(g, cmd->endpoint, cmd->source);
    if (said < 0)
        return -EACCES;
    if (!wait) {
        if (g->env.mark)
            vmsig_tx_mark(&g->tx, g->env.mark(g->env.ud, cmd->endpoint));
        int err = g->env.command(g->env.ud, cmd);
        if (err != -EAGAIN || !g->audit)
            return err;
    }
    return vmsig_gate_hold(g, e, cmd, said != VMSIG_GATE_HOLD);
}

static int send(vmsig_gate *g, vmsig_gate_control *c, const vmsig_event *cmd, uint32_t cls) {
    if (vmsig_gate_begin(g, 0)) {
        errno = EAGAIN;
        return -1;
    }
    vmsig_inflight *e = new_entry(g, c, cmd, cls);
    for_the_bus(g, cmd, e, &g->scratch2);
    int err = publish_or_hold(g, e, &g->scratch2);
    if (err) {
        vmsig_gate_rollback(g);
        if (err == -EAGAIN) {
            errno = EAGAIN;
            return -1;
        }
        return answer_only(g, c, cmd, VMSIG_UNAVAILABLE);
    }
    vmsig_gate_commit(g);
    return 0;
}

/* op 0: it is no LEASE command. */
static vmsig_lease lease_of(const vmsig_event *cmd) {
    vmsig_lease l = {0};
    if (cmd->kind == VMSIG_CMD_LEASE && cmd->inln_len >= sizeof l)
        memcpy(&l, cmd->inln, sizeof l);
    return l;
}

static int refuse(vmsig_gate *g, vmsig_gate_control *c, const vmsig_event *cmd, const vmsig_need *need,
                  vmsig_status status) {
    int rc = answer_only(g, c, cmd, status);
    vmsig_lease l = lease_of(cmd);
    vmsig_audit_record rec = {.what = VMSIG_AUDIT_DENIED,
                              .principal = c->filter.grant.principal,
                              .endpoint = cmd->endpoint,
                              .epoch = cmd->epoch,
                              .token = cmd->token,
                              .cls = !need  ? UINT32_MAX
                                     : l.op ? l.cls
                                            : need->cls,
                              .kind = cmd->kind,
                              .status = (int32_t)status};
    if (rc == 0)
        vmsig_gate_audit(g, &rec);
    return rc;
}

int vmsig_gate_emit(void *control, vmsig_event *cmd) {
    vmsig_gate_control *c = control;
    if (!c || c->dead || !c->filter.on) {
        errno = c && !c->dead ? EACCES : ENOTCONN;
        return -1;
    }
    vmsig_gate *g = c->gate;
    if (!well_formed(cmd) || (c->session->lasting && cmd->corr == 0)) {
        errno = EINVAL;
        return -1;
    }
    if (c->session->lasting && cmd->corr <= c->session->corr_done)
        return again(g, c, cmd);
    if (g->commands.free_n == 0 || c->session->inflight >= VMSIG_INFLIGHT_PER_SESSION) {
        errno = EAGAIN;
        return -1;
    }
    const vmsig_need *need = vmsig_need_of(cmd);
    vmsig_status status = admit(g, c, cmd, need);
    vmsig_lease l = lease_of(cmd);
    if (status == VMSIG_OK && g->leases_closed && l.op == VMSIG_LEASE_ACQUIRE)
        status = VMSIG_UNAVAILABLE;
    if (status != VMSIG_OK)
        return refuse(g, c, cmd, need, status);
    if (cmd->kind != VMSIG_CMD_LEASE)
        return send(g, c, cmd, need->cls);
    /* what it did while it held is sent before it lets go */
    bool early = l.op == VMSIG_LEASE_RELEASE && vmsig_gate_held_session(g, c->session->id, cmd->endpoint);
    if (early || vmsig_gate_lease_command(g, c, cmd)) {
        errno = EAGAIN;
        return -1;
    }
    return 0;
}
