/* gate.c: the gate's life, its durable state, its controls. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "actors/gateway/gate_impl.h"
#include "schema/caps.h"

#define SMALL_RECORDS 4096u /* room for the few small records that an event may bring about */

/* ---- small things that every file uses ----------------------------------------------------------------- */

uint64_t vmsig_gate_now(vmsig_gate *g) {
    return g->env.now(g->env.ud);
}

void vmsig_gate_say(vmsig_gate *g, const char *fmt, ...) {
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (g->env.log)
        g->env.log(g->env.ud, text);
}

uint32_t vmsig_gate_epoch(const vmsig_gate *g, uint32_t endpoint) {
    return g->env.epoch(g->env.ud, endpoint);
}

void vmsig_gate_due(vmsig_gate *g, uint64_t when_ns) {
    if (when_ns && when_ns < g->next_due)
        g->next_due = when_ns;
}

void vmsig_gate_wake(vmsig_gate *g) {
    g->again = true;
    if (!g->turning && g->env.wake)
        g->env.wake(g->env.ud);
}

int vmsig_gate_audit(vmsig_gate *g, const vmsig_audit_record *rec) {
    if (!g->audit)
        return 0;
    vmsig_audit_record r = *rec;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    r.ts_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    return g->audit(g->audit_ud, &r);
}

/* ---- transactions -------------------------------------------------------------------------------------- */

int vmsig_gate_begin(vmsig_gate *g, uint64_t bytes) {
    return vmsig_log_make_room(&g->log, bytes + SMALL_RECORDS) ? 0 : -EAGAIN;
}

void vmsig_gate_commit(vmsig_gate *g) {
    vmsig_tx_commit(&g->tx);
    for (uint32_t cls = 0; cls < VMSIG_LEASE_CLASSES; cls++)
        while (g->fences_dirty[cls]) {
            uint32_t endpoint = (uint32_t)__builtin_ctzll(g->fences_dirty[cls]);
            g->fences_dirty[cls] &= g->fences_dirty[cls] - 1;
            vmsig_gate_set_fence(g, endpoint, cls);
        }
    vmsig_gate_wake(g);
}

void vmsig_gate_rollback(vmsig_gate *g) {
    vmsig_tx_rollback(&g->tx);
    memset(g->fences_dirty, 0, sizeof g->fences_dirty);
    vmsig_commands_open(&g->commands, &g->d->commands);
}

void vmsig_gate_put(vmsig_gate *g, uint64_t session, const vmsig_event *ev) {
    uint64_t pos = vmsig_log_put(&g->log, &g->tx, session, ev);
    uint64_t at = pos;
    if (session || (ev->kind != VMSIG_EV_MEMCTX_INVALID && !vmsig_retained_is(ev))) /* as nearly all are */
        return;
    if (!vmsig_retained_note(g->retained, &g->tx, vmsig_log_at(&g->log, &at), pos, g->log.cap / 4,
                             vmsig_log_copy_max(&g->log)) &&
        !g->retained_full) {
        g->retained_full = true;
        vmsig_gate_say(g, "an event of endpoint %u, source %u is too large to be retained for late subscribers",
                       ev->endpoint, ev->source);
    }
}

/* ---- sessions ------------------------------------------------------------------------------------------ */

vmsig_session_rec *vmsig_gate_session_of(vmsig_gate *g, uint64_t id) {
    for (uint32_t i = 0; id && i < VMSIG_GATE_SESSIONS; i++)
        if (g->d->session[i].id == id)
            return &g->d->session[i];
    return NULL;
}

vmsig_gate_control *vmsig_gate_control_of(vmsig_gate *g, uint64_t session) {
    for (int i = 0; session && i < g->controls_n; i++)
        if (g->control[i] && !g->control[i]->dead && g->control[i]->session->id == session)
            return g->control[i];
    return NULL;
}

static bool session_in_use(vmsig_gate *g, const vmsig_session_rec *s) {
    for (int i = 0; i < g->controls_n; i++)
        if (g->control[i] && g->control[i]->session == s)
            return true;
    return s->inflight != 0;
}

/* A free one, or the one that was left the longest time ago. */
static vmsig_session_rec *session_place(vmsig_gate *g) {
    vmsig_session_rec *oldest = NULL;
    for (uint32_t i = 0; i < VMSIG_GATE_SESSIONS; i++) {
        vmsig_session_rec *s = &g->d->session[i];
        if (s->id == 0)
            return s;
        if (!session_in_use(g, s) && (!oldest || s->used_ns < oldest->used_ns))
            oldest = s;
    }
    return oldest;
}

static vmsig_session_rec *session_new(vmsig_gate *g, uint32_t uid, bool lasting) {
    vmsig_session_rec *s = session_place(g);
    uint64_t id = 0;
    while (s && (id == 0 || vmsig_gate_session_of(g, id)))
        if (getrandom(&id, sizeof id, 0) != sizeof id)
            return NULL;
    if (!s)
        return NULL;
    vmsig_tx_save(&g->tx, s, sizeof *s);
    *s = (vmsig_session_rec){.id = id, .uid = uid, .lasting = lasting, .used_ns = vmsig_gate_now(g)};
    vmsig_gate_commit(g);
    return s;
}

static void session_end(vmsig_gate *g, vmsig_session_rec *s) {
    vmsig_tx_save(&g->tx, s, sizeof *s);
    s->id = 0;
    vmsig_gate_commit(g);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static void fill_defaults(vmsig_gate_env *env) {
    if (!env->default_ttl_ns)
        env->default_ttl_ns = 10000000000u;
    for (uint32_t i = 0; i < VMSIG_ENDPOINTS_MAX; i++)
        if (!env->quiet_ns[i])
            env->quiet_ns[i] = 1000000000u;
    if (!env->command_ns)
        env->command_ns = 10000000000u;
    if (!env->queue_ns)
        env->queue_ns = 60000000000u;
    if (!env->grace_ns)
        env->grace_ns = 1000000000u;
}

int vmsig_gate_new(void *mem, size_t bytes, const vmsig_gate_env *env, vmsig_gate **out) {
    size_t head = (sizeof(vmsig_gate_state) + 63) & ~(size_t)63;
    if (!mem || (uintptr_t)mem % 8 || bytes < VMSIG_GATE_STATE_MIN || !env || !env->now || !env->epoch || !env->command)
        return -EINVAL;
    vmsig_gate *g = calloc(1, sizeof *g);
    vmsig_held *held = calloc(VMSIG_INFLIGHT_MAX, sizeof *held);
    if (!g || !held) {
        free(g);
        free(held);
        return -ENOMEM;
    }
    g->held = held;
    g->held_first = g->held_last = VMSIG_HELD_NONE;
    g->env = *env;
    fill_defaults(&g->env);
    g->d = mem;
    g->retained = &g->d->retained;
    g->tx = (vmsig_tx){.log = &g->d->tx, .base = mem};
    g->next_due = UINT64_MAX;
    g->arbiter = vmsig_arb_default;
    if (g->d->tx.mark == 0)
        vmsig_tx_rollback(&g->tx);
    if (g->d->next_token == 0)
        g->d->next_token = 1;
    vmsig_log_open(&g->log, &g->d->log, (uint8_t *)mem + head, bytes - head);
    g->log.trim = vmsig_gate_trimmed;
    g->log.ud = g;
    *out = g;
    return 0;
}

bool vmsig_gate_accepted(const vmsig_gate *g, uint16_t link, uint64_t *position, uint64_t *seq) {
    for (uint32_t i = 0; i < VMSIG_GATE_LINKS; i++) {
        const vmsig_accepted *a = &g->d->accepted[i];
        if (link && a->link == link) {
            *position = a->position;
            *seq = a->seq;
            return true;
        }
    }
    return false;
}

/* Leases of before: their holders have the grace to come back; what was being freed goes on. */
static void take_over_leases(vmsig_gate *g) {
    for (uint32_t ep = 0; ep < VMSIG_ENDPOINTS_MAX; ep++)
        for (uint32_t cls = 0; cls < VMSIG_LEASE_CLASSES; cls++) {
            const vmsig_lease_slot *s = &g->d->lease[ep][cls];
            vmsig_gate_set_fence(g, ep, cls);
            if (s->state == VMSIG_SLOT_HELD)
                vmsig_gate_due(g, s->expires_ns);
            if (s->state == VMSIG_SLOT_FENCING) {
                vmsig_gate_due(g, s->bound_ns);
                if (!s->fence_corr)
                    g->asks_due |= 1ull << ep;
            }
        }
}

int vmsig_gate_start(vmsig_gate *g) {
    vmsig_tx_log *tx = &g->d->tx;
    if (tx->used && tx->mark && g->env.published && g->env.published(g->env.ud, tx->mark))
        vmsig_tx_commit(&g->tx);
    else
        vmsig_tx_rollback(&g->tx);
    vmsig_commands_open(&g->commands, &g->d->commands);
    vmsig_gate_answer_held(g);
    take_over_leases(g);
    g->grace_end = vmsig_gate_now(g) + g->env.grace_ns;
    vmsig_gate_due(g, g->grace_end);
    for (uint32_t i = 0; i < VMSIG_INFLIGHT_MAX; i++)
        if (g->d->commands.entry[i].corr)
            vmsig_gate_due(g, g->d->commands.entry[i].deadline_ns);
    g->started = true;
    g->lines_due = g->env.endpoint_mask;
    vmsig_gate_look_at_epochs(g);
    vmsig_gate_serve_lines(g);
    return 0;
}

static void close_control(vmsig_gate *g, int id) {
    vmsig_gate_control *c = g->control[id];
    g->control[id] = NULL;
    if (c->ops->set_emit_down)
        c->ops->set_emit_down(c->ctl, NULL, NULL);
    if (c->ops->close)
        c->ops->close(c->ctl);
    free(c);
}

void vmsig_gate_free(vmsig_gate *g) {
    if (!g)
        return;
    for (int i = 0; i < g->controls_n; i++)
        if (g->control[i])
            close_control(g, i);
    vmsig_gate_free_held(g);
    free(g);
}

/* ---- events in ----------------------------------------------------------------------------------------- */

static bool from_a_context(const vmsig_event *ev) {
    return ev->dir == VMSIG_DIR_UP && ev->endpoint < VMSIG_ENDPOINTS_MAX && ev->source < VMSIG_SOURCES_MAX &&
           ev->inln_len <= VMSIG_INLINE_MAX && (ev->payload_len == 0 || ev->payload) && ev->kind != VMSIG_EV_LEASE &&
           ev->kind != VMSIG_EV_SNAPSHOT_END && (ev->kind < VMSIG_CMD_INPUT || ev->kind > VMSIG_CMD_LEASE);
}

static void accept_position(vmsig_gate *g, uint16_t link, uint64_t position, uint64_t seq) {
    vmsig_accepted *a = NULL;
    for (uint32_t i = 0; link && i < VMSIG_GATE_LINKS && !a; i++)
        if (g->d->accepted[i].link == link || g->d->accepted[i].link == 0)
            a = &g->d->accepted[i];
    if (!a)
        return;
    vmsig_tx_save(&g->tx, a, sizeof *a);
    *a = (vmsig_accepted){.link = link, .position = position, .seq = seq};
}

/* A RESULT: ends the command that bears its corr; one that nobody waits for any more is passed over. */
static void take_result(vmsig_gate *g, const vmsig_event *ev) {
    vmsig_inflight *e = ev->corr <= UINT32_MAX ? vmsig_commands_find(&g->commands, (uint32_t)ev->corr) : NULL;
    vmsig_result r;
    if (!e || ev->inln_len < sizeof r)
        return;
    memcpy(&r, ev->inln, sizeof r);
    if (e->state == VMSIG_INFLIGHT_FENCE)
        vmsig_gate_fence_answer(g, e, r.status);
    else if (e->state == VMSIG_INFLIGHT_SENT)
        vmsig_gate_answer(g, e, (vmsig_status)r.status, r.detail);
}

/* An event that no log of this size can hold. */
static const vmsig_event *told_as_lost(vmsig_gate *g, const vmsig_event *ev) {
    vmsig_lost lost = {.first = ev->seq, .last = ev->seq, .count = 1, .source = ev->source, .why = VMSIG_LOST_WINDOW};
    vmsig_event *l = &g->scratch2;
    *l = (vmsig_event){.seq = ev->seq,
                       .ts_ns = ev->ts_ns,
                       .endpoint = ev->endpoint,
                       .epoch = ev->epoch,
                       .merged = 1,
                       .kind = VMSIG_EV_LOST,
                       .prio = ev->prio,
                       .inln_len = sizeof lost};
    memcpy(l->inln, &lost, sizeof lost);
    return l;
}

/* The invalidation that the gate has told already. */
static bool told_already(vmsig_gate *g, const vmsig_event *ev) {
    uint64_t bit = 1ull << ev->endpoint;
    if (ev->kind == VMSIG_EV_MEMCTX)
        g->voided &= ~bit;
    return ev->kind == VMSIG_EV_MEMCTX_INVALID && (g->voided & bit);
}

int vmsig_gate_take(vmsig_gate *g, uint16_t link, uint64_t position, const vmsig_event *ev) {
    bool good = from_a_context(ev);
    if (good && vmsig_log_need(ev) > vmsig_log_max(&g->log) - SMALL_RECORDS)
        ev = told_as_lost(g, ev);
    int err = vmsig_gate_begin(g, good ? vmsig_log_need(ev) : 0);
    if (err)
        return err;
    if (!good)
        g->refused++;
    else if (ev->kind == VMSIG_EV_RESULT)
        take_result(g, ev);
    else if (!told_already(g, ev))
        vmsig_gate_put(g, 0, ev);
    accept_position(g, link, position, ev->seq);
    vmsig_gate_commit(g);
    return good ? 0 : -EINVAL;
}

/* ---- results ------------------------------------------------------------------------------------------- */

void vmsig_gate_tell(vmsig_gate *g, uint64_t session, vmsig_kind kind, uint64_t corr, uint32_t endpoint,
                     const void *body, uint32_t len) {
    vmsig_event ev = {.kind = (uint8_t)kind,
                      .source = VMSIG_SRC_SEAM,
                      .prio = VMSIG_PRIO_HIGH,
                      .endpoint = endpoint,
                      .epoch = vmsig_gate_epoch(g, endpoint),
                      .corr = corr,
                      .merged = 1,
                      .ts_ns = vmsig_gate_now(g),
                      .inln_len = len};
    memcpy(ev.inln, body, len);
    vmsig_gate_put(g, session, &ev);
}

void vmsig_gate_failed(vmsig_gate *g, const char *actor) {
    vmsig_failed body = {0};
    strncpy(body.actor, actor, sizeof body.actor - 1);
    for (uint64_t m = g->env.endpoint_mask; m; m &= m - 1) {
        uint32_t endpoint = (uint32_t)__builtin_ctzll(m);
        vmsig_audit_record rec = {.what = VMSIG_AUDIT_FAILED,
                                  .endpoint = endpoint,
                                  .epoch = vmsig_gate_epoch(g, endpoint),
                                  .cls = UINT32_MAX};
        if (vmsig_gate_begin(g, 0))
            return;
        vmsig_gate_tell(g, 0, VMSIG_EV_STATE, 0, endpoint, &body, sizeof body);
        vmsig_gate_audit(g, &rec);
        vmsig_gate_commit(g);
    }
}

static void put_result(vmsig_gate *g, uint64_t session, uint64_t corr, uint32_t endpoint, vmsig_status status,
                       uint64_t detail) {
    vmsig_result r = {.status = (int32_t)status, .detail = detail};
    vmsig_gate_tell(g, session, VMSIG_EV_RESULT, corr, endpoint, &r, sizeof r);
}

void vmsig_gate_answer(vmsig_gate *g, vmsig_inflight *e, vmsig_status status, uint64_t detail) {
    vmsig_session_rec *s = vmsig_gate_session_of(g, e->session);
    if (e->state == VMSIG_INFLIGHT_INTENT)
        vmsig_gate_unhold(g, e);
    if (s) {
        put_result(g, e->session, e->sender_corr, e->endpoint, status, detail);
        vmsig_tx_save(&g->tx, &s->inflight, sizeof s->inflight);
        s->inflight--;
    }
    vmsig_audit_record rec = {.what = VMSIG_AUDIT_RESULT,
                              .principal = e->principal,
                              .endpoint = e->endpoint,
                              .epoch = e->epoch,
                              .token = e->token,
                              .corr = e->corr,
                              .cls = e->cls,
                              .kind = e->kind,
                              .status = (int32_t)status,
                              .detail = e->op};
    vmsig_gate_audit(g, &rec);
    vmsig_commands_free(&g->commands, &g->tx, e);
}

void vmsig_gate_result(vmsig_gate *g, uint64_t session, const vmsig_event *cmd, vmsig_status status, uint64_t detail) {
    put_result(g, session, cmd->corr, cmd->endpoint, status, detail);
}

/* ---- controls ------------------------------------------------------------------------------------------ */

static vmsig_gate_control *control_at(const vmsig_gate *g, int id) {
    return id >= 0 && id < g->controls_n && g->control[id] && !g->control[id]->dead ? g->control[id] : NULL;
}

static int new_control(vmsig_gate *g, const vmsig_control_ops *ops, void *ctl, vmsig_gate_control **out) {
    int id = 0;
    while (id < g->controls_n && g->control[id])
        id++;
    if (id == (int)VMSIG_GATE_CONTROLS)
        return -ENOSPC;
    vmsig_gate_control *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    *c = (vmsig_gate_control){.gate = g, .ops = ops, .ctl = ctl, .id = id};
    if (ops->subscribe && ops->subscribe(ctl, &c->filter.sub) != 0) {
        free(c);
        return -EINVAL;
    }
    c->cursor = c->begin = g->log.m->head;
    c->last_place = g->log.m->next_place - 1;
    *out = c;
    return 0;
}

static int install(vmsig_gate *g, vmsig_gate_control *c) {
    g->control[c->id] = c;
    if (c->id == g->controls_n)
        g->controls_n++;
    if (c->ops->set_emit_down)
        c->ops->set_emit_down(c->ctl, vmsig_gate_emit, c);
    vmsig_audit_record rec = {
        .what = VMSIG_AUDIT_ATTACHED, .principal = c->session->uid, .cls = UINT32_MAX, .detail = (uint32_t)c->id};
    vmsig_gate_audit(g, &rec);
    return c->id;
}

static int attach(vmsig_gate *g, const vmsig_control_ops *ops, void *ctl, vmsig_session_rec *s, uint32_t uid,
                  bool lasting, vmsig_gate_control **out) {
    if (!g || !ops || !ops->deliver)
        return -EINVAL;
    int err = new_control(g, ops, ctl, out);
    if (err)
        return err;
    (*out)->session = s ? s : session_new(g, uid, lasting);
    if (!(*out)->session) {
        free(*out);
        return -ENOSPC;
    }
    return install(g, *out);
}

int vmsig_gate_attach(vmsig_gate *g, const vmsig_control_ops *ops, void *ctl) {
    vmsig_gate_control *c;
    return attach(g, ops, ctl, NULL, 0, false, &c);
}

/* Goes on behind `place`; what was trimmed meanwhile is told as lost, for all that the session knows. */
static void resume_at(vmsig_gate *g, vmsig_gate_control *c, uint64_t place, bool snapshot) {
    uint64_t oldest = vmsig_log_oldest(&g->log);
    c->phase = VMSIG_PHASE_LIVE;
    if (snapshot)
        vmsig_gate_join(c, place, NULL);
    c->last_place = place;
    c->cursor = c->begin = vmsig_log_seek(&g->log, place);
    if (oldest > place + 1)
        c->lost_count = oldest - place - 1;
}

int vmsig_gate_attach_session(vmsig_gate *g, const vmsig_control_ops *ops, void *ctl, vmsig_gate_session *session) {
    vmsig_session_rec *s = vmsig_gate_session_of(g, session->id);
    if (s && (s->uid != session->uid || !s->lasting || session->place >= g->log.m->next_place))
        s = NULL;
    vmsig_gate_control *old = s ? vmsig_gate_control_of(g, s->id) : NULL, *c;
    if (old) /* the same control came back before its old connection was seen to end: leases go on */
        old->dead = true;
    int id = attach(g, ops, ctl, s, session->uid, true, &c);
    if (id < 0)
        return id;
    session->id = c->session->id;
    session->resumed = s != NULL;
    if (s)
        resume_at(g, c, session->place, session->snapshot);
    session->place = c->last_place;
    vmsig_gate_wake(g);
    return id;
}

int vmsig_gate_detach(vmsig_gate *g, int control, bool forget) {
    vmsig_gate_control *c = control_at(g, control);
    if (!c)
        return -EINVAL;
    c->dead = true;
    vmsig_session_rec *s = c->session;
    if (!vmsig_gate_control_of(g, s->id)) { /* no newer connection of it */
        vmsig_gate_session_gone(g, s->id, NULL);
        s->used_ns = vmsig_gate_now(g);
        vmsig_audit_record rec = {
            .what = VMSIG_AUDIT_DETACHED, .principal = s->uid, .cls = UINT32_MAX, .detail = (uint32_t)control};
        vmsig_gate_audit(g, &rec);
        if (forget || !s->lasting)
            session_end(g, s);
    }
    vmsig_gate_wake(g);
    return 0;
}

static bool widens(const vmsig_filter *old, const vmsig_filter *now) {
    return (now->grant.endpoint_mask & now->sub.endpoint_mask & ~(old->grant.endpoint_mask & old->sub.endpoint_mask)) ||
           (now->grant.caps & ~old->grant.caps) || (now->sub.source_mask & ~old->sub.source_mask) ||
           now->sub.min_prio < old->sub.min_prio;
}

/* The filter has changed from `old`: what this brings. */
static void refilter(vmsig_gate *g, vmsig_gate_control *c, const vmsig_filter *old) {
    if (!c->filter.on) {
        c->phase = VMSIG_PHASE_MUTE;
    } else if (c->phase == VMSIG_PHASE_MUTE) {
        c->cursor = g->log.m->head;
        c->last_place = g->log.m->next_place - 1;
        vmsig_gate_join(c, c->last_place, NULL);
    } else if (old->on && widens(old, &c->filter)) {
        vmsig_gate_join(c, c->last_place, c->phase == VMSIG_PHASE_LIVE ? old : NULL);
    }
    vmsig_gate_wake(g);
}

int vmsig_gate_set_grant(vmsig_gate *g, int control, const vmsig_grant *grant) {
    vmsig_gate_control *c = control_at(g, control);
    if (!c || (grant && vmsig_caps_check(grant->caps)))
        return -EINVAL;
    vmsig_filter old = c->filter;
    c->filter.on = grant != NULL;
    c->filter.grant = grant ? *grant : (vmsig_grant){0};
    vmsig_gate_session_gone(g, c->session->id, &c->filter.grant);
    vmsig_audit_record rec = {.what = VMSIG_AUDIT_GRANT_SET,
                              .principal = c->filter.grant.principal,
                              .cls = UINT32_MAX,
                              .detail = c->filter.grant.caps,
                              .endpoint_mask = c->filter.grant.endpoint_mask,
                              .priority = c->filter.grant.priority};
    vmsig_gate_audit(g, &rec);
    refilter(g, c, &old);
    return 0;
}

int vmsig_gate_resubscribe(vmsig_gate *g, int control) {
    vmsig_gate_control *c = control_at(g, control);
    vmsig_sub sub = {0};
    if (!c || !c->ops->subscribe || c->ops->subscribe(c->ctl, &sub) != 0)
        return -EINVAL;
    vmsig_filter old = c->filter;
    c->filter.sub = sub;
    refilter(g, c, &old);
    return 0;
}

void vmsig_gate_unblock(vmsig_gate *g, int control) {
    vmsig_gate_control *c = control_at(g, control);
    if (c && c->blocked) {
        c->blocked = false;
        vmsig_gate_wake(g);
    }
}

uint64_t vmsig_gate_place(const vmsig_gate *g) {
    return g->place;
}

void vmsig_gate_set_arbiter(vmsig_gate *g, vmsig_arb_policy policy, void *ud) {
    g->arbiter = policy ? policy : vmsig_arb_default;
    g->arbiter_ud = ud;
}

void vmsig_gate_set_audit(vmsig_gate *g, vmsig_audit_cb cb, void *ud) {
    g->audit = cb;
    g->audit_ud = ud;
}

void vmsig_gate_set_retain(vmsig_gate *g, uint64_t retain_ns) {
    g->env.retain_ns = retain_ns;
}

void vmsig_gate_close_leases(vmsig_gate *g, bool closed) {
    g->leases_closed = closed;
}

uint32_t vmsig_gate_lease(const vmsig_gate *g, uint32_t endpoint, uint32_t cls, uint32_t *holder, uint64_t *token) {
    const vmsig_lease_slot *s = &g->d->lease[endpoint][cls];
    if (holder)
        *holder = s->principal;
    if (token)
        *token = s->token;
    return s->state;
}

/* ---- a turn -------------------------------------------------------------------------------------------- */

static void bury_the_dead(vmsig_gate *g) {
    for (int i = 0; i < g->controls_n; i++)
        if (g->control[i] && g->control[i]->dead)
            close_control(g, i);
    while (g->controls_n > 0 && !g->control[g->controls_n - 1])
        g->controls_n--;
}

static void ask_hosts(vmsig_gate *g) {
    uint64_t due = g->asks_due;
    g->asks_due = 0;
    for (; due; due &= due - 1)
        for (uint32_t cls = 0; cls < VMSIG_LEASE_CLASSES; cls++)
            vmsig_gate_fence_ask(g, (uint32_t)__builtin_ctzll(due), cls);
}

int vmsig_gate_turn(vmsig_gate *g) {
    int delivered = 0;
    g->turning = true;
    for (int round = 0; round < 16; round++) { /* what is left over keeps the gate busy */
        g->again = false;
        vmsig_gate_look_at_epochs(g);
        if (vmsig_gate_now(g) >= g->next_due)
            vmsig_gate_expire(g);
        vmsig_gate_serve_lines(g);
        if (g->asks_due)
            ask_hosts(g);
        vmsig_gate_send_held(g);
        delivered += vmsig_gate_deliver(g);
        bury_the_dead(g);
        if (!g->again)
            break;
    }
    g->turning = false;
    return delivered;
}

uint64_t vmsig_gate_deadline(const vmsig_gate *g) {
    return g->next_due == UINT64_MAX ? 0 : g->next_due;
}

bool vmsig_gate_busy(const vmsig_gate *g) {
    return g->again;
}
