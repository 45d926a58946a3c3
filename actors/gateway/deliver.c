/* deliver.c: events out: each control is a cursor into the log, with a filter.
 *
 *   MUTE ──grant──► JOIN: the retained set up to place S, SNAPSHOT_END ──► LIVE: the log from S on
 *                     ▲                                                      │
 *                     └───────────── LOST: the log was trimmed past it ◄─────┘
 *
 * The retained set is given as it stands at each entry's turn: an entry newer than S is passed over, because the same
 * event comes live. So nothing is missed and nothing comes twice, however long the join takes.
 */
#include <errno.h>
#include <string.h>

#include "actors/gateway/gate_impl.h"

/* What a step of delivery came to. */
typedef enum outcome { DONE, STUCK } outcome;

/* ---- who sees what ------------------------------------------------------------------------------------- */

static bool of_the_bus(const vmsig_event *ev) {
    return ev->kind == VMSIG_EV_LOST || ev->kind == VMSIG_EV_EPOCH_END || ev->kind == VMSIG_EV_MEMCTX_INVALID;
}

/* The source that an event speaks of; 32 = the endpoint itself. */
static uint32_t subject(const vmsig_event *ev) {
    vmsig_lost lost;
    if (ev->kind == VMSIG_EV_EPOCH_END)
        return VMSIG_SOURCES_MAX;
    if (ev->kind != VMSIG_EV_LOST || ev->inln_len < sizeof lost)
        return ev->source;
    memcpy(&lost, ev->inln, sizeof lost);
    return lost.source;
}

bool vmsig_gate_sees(const vmsig_filter *f, uint64_t session, const vmsig_rec *rec, const vmsig_event *ev) {
    bool memctx = ev->kind == VMSIG_EV_MEMCTX || ev->kind == VMSIG_EV_MEMCTX_INVALID;
    uint32_t source = subject(ev);
    if (!f->on)
        return false;
    if (rec->session)
        return rec->session == session;
    if (!(f->grant.caps & (memctx ? VMSIG_CAP_MEMCTX : VMSIG_CAP_OBSERVE)))
        return false;
    if (!((f->grant.endpoint_mask & f->sub.endpoint_mask) >> ev->endpoint & 1))
        return false;
    if (source < VMSIG_SOURCES_MAX && !(f->sub.source_mask >> source & 1))
        return false;
    return of_the_bus(ev) || ev->prio == 0 || ev->prio >= f->sub.min_prio;
}

/* ---- handing over -------------------------------------------------------------------------------------- */

static outcome after(vmsig_gate_control *c, int rc) {
    if (rc == 0)
        return DONE;
    if (errno == EAGAIN)
        c->blocked = true;
    else
        vmsig_gate_detach(c->gate, c->id, false);
    return STUCK;
}

static outcome hand(vmsig_gate_control *c, const vmsig_event *ev, uint64_t place) {
    c->gate->place = place;
    errno = 0;
    return after(c, c->ops->deliver(c->ctl, ev));
}

static uint32_t ram_of(const vmsig_event *ev) {
    vmsig_memctx m;
    if (ev->inln_len < sizeof m)
        return 0;
    memcpy(&m, ev->inln, sizeof m);
    return m.ram_id;
}

/* Only the pair, and only while its epoch is the current one. */
static outcome hand_memctx(vmsig_gate_control *c, const vmsig_event *ev, uint64_t place) {
    vmsig_gate *g = c->gate;
    uint64_t bit = 1ull << ev->endpoint;
    c->ram_missing &= ~bit;
    if (!c->ops->attach_memctx || ev->epoch != vmsig_gate_epoch(g, ev->endpoint))
        return DONE;
    int fd = g->env.ram ? g->env.ram(g->env.ud, ev->endpoint, ram_of(ev)) : -1;
    if (fd < 0) {
        c->ram_missing |= bit;
        return DONE;
    }
    g->place = place;
    errno = 0;
    return after(c, c->ops->attach_memctx(c->ctl, ev, fd));
}

/* The record at pos, unpacked as the scratch. */
static outcome hand_scratch(vmsig_gate_control *c, uint64_t pos, uint64_t place) {
    vmsig_gate *g = c->gate;
    vmsig_event *ev = &g->scratch;
    g->log.pin = ev->payload_len ? pos : UINT64_MAX;
    outcome o = ev->kind == VMSIG_EV_MEMCTX ? hand_memctx(c, ev, place) : hand(c, ev, place);
    g->log.pin = UINT64_MAX;
    return o;
}

static outcome hand_rec(vmsig_gate_control *c, const vmsig_rec *rec, uint64_t pos, uint64_t place, uint32_t flags) {
    vmsig_rec_event(rec, &c->gate->scratch);
    c->gate->scratch.flags |= flags;
    return hand_scratch(c, pos, place);
}

/* ---- joining ------------------------------------------------------------------------------------------- */

void vmsig_gate_join(vmsig_gate_control *c, uint64_t place, const vmsig_filter *skip) {
    c->phase = VMSIG_PHASE_JOIN;
    c->join_at = 0;
    c->join_place = place;
    c->invalid_at = 0;
    c->join_after_loss = false;
    c->join_skip = skip ? *skip : (vmsig_filter){0};
}

/* A sensor's only: what the VM is, and where its memory, holds until something newer says otherwise. */
static bool too_old(vmsig_gate *g, const vmsig_event *ev) {
    uint64_t now = vmsig_gate_now(g);
    bool lasting = ev->kind == VMSIG_EV_VMHOST || ev->kind == VMSIG_EV_MEMCTX;
    return g->env.retain_ns && !lasting && now >= ev->ts_ns && now - ev->ts_ns >= g->env.retain_ns;
}

/* Is what is retained here for this control, now? */
static const vmsig_rec *retained_for(vmsig_gate_control *c, const vmsig_retained_entry *e) {
    vmsig_gate *g = c->gate;
    uint64_t pos = e->pos;
    const vmsig_rec *rec = e->bytes && e->place <= c->join_place ? vmsig_log_at(&g->log, &pos) : NULL;
    if (!rec)
        return NULL;
    vmsig_event *ev = &g->scratch;
    vmsig_rec_event(rec, ev);
    bool current = ev->kind == VMSIG_EV_VMHOST || ev->epoch == vmsig_gate_epoch(g, ev->endpoint);
    bool seen = vmsig_gate_sees(&c->filter, 0, rec, ev) && !vmsig_gate_sees(&c->join_skip, 0, rec, ev);
    return current && seen && !too_old(g, ev) ? rec : NULL;
}

/* After a loss: what this control holds of an endpoint may have been voided in what it missed. */
static outcome tell_invalid(vmsig_gate_control *c) {
    vmsig_gate *g = c->gate;
    for (; c->join_after_loss && c->invalid_at < VMSIG_ENDPOINTS_MAX; c->invalid_at++) {
        uint32_t ep = c->invalid_at, epoch = vmsig_gate_epoch(g, ep);
        const vmsig_retained_entry *e = vmsig_retained_find(g->retained, ep, VMSIG_SRC_MEMCTX, VMSIG_EV_MEMCTX);
        vmsig_event ev = {.kind = VMSIG_EV_MEMCTX_INVALID,
                          .source = VMSIG_SRC_MEMCTX,
                          .prio = VMSIG_PRIO_URGENT,
                          .endpoint = ep,
                          .epoch = epoch,
                          .merged = 1,
                          .ts_ns = vmsig_gate_now(g)};
        vmsig_rec all = {0};
        if (!(g->env.endpoint_mask >> ep & 1) || (e && e->epoch == epoch) || !vmsig_gate_sees(&c->filter, 0, &all, &ev))
            continue;
        if (hand(c, &ev, 0) == STUCK)
            return STUCK;
    }
    return DONE;
}

static outcome join(vmsig_gate_control *c) {
    vmsig_gate *g = c->gate;
    if (tell_invalid(c) == STUCK)
        return STUCK;
    for (; c->join_at < VMSIG_RETAINED_KEYS; c->join_at++) {
        const vmsig_retained_entry *e = &g->retained->entry[c->join_at];
        const vmsig_rec *rec = e->bytes ? retained_for(c, e) : NULL;
        if (rec && hand_rec(c, rec, e->pos, 0, VMSIG_EVF_SNAPSHOT) == STUCK)
            return STUCK;
        if (c->phase != VMSIG_PHASE_JOIN) /* its grant was taken away in the call */
            return STUCK;
    }
    vmsig_event end = {.kind = VMSIG_EV_SNAPSHOT_END, .merged = 1, .ts_ns = vmsig_gate_now(g)};
    if (hand(c, &end, c->join_place) == STUCK)
        return STUCK;
    if (c->phase == VMSIG_PHASE_JOIN)
        c->phase = VMSIG_PHASE_LIVE;
    return DONE;
}

/* ---- live ---------------------------------------------------------------------------------------------- */

/* What was trimmed is told in its place; then the retained set makes up for what can be made up for. */
static outcome tell_lost(vmsig_gate_control *c) {
    vmsig_lost lost = {.first = c->lost_first,
                       .last = c->lost_last,
                       .count = c->lost_count,
                       .source = VMSIG_SRC_SEAM,
                       .why = VMSIG_LOST_WINDOW};
    vmsig_event ev = {.kind = VMSIG_EV_LOST,
                      .prio = VMSIG_PRIO_HIGH,
                      .merged = 1,
                      .ts_ns = vmsig_gate_now(c->gate),
                      .inln_len = sizeof lost};
    memcpy(ev.inln, &lost, sizeof lost);
    uint64_t pos = c->cursor;
    const vmsig_rec *next = vmsig_log_at(&c->gate->log, &pos);
    while (next && next->what == VMSIG_REC_COPY) {
        pos += next->bytes;
        next = vmsig_log_at(&c->gate->log, &pos);
    }
    c->last_place = (next ? next->place : c->gate->log.m->next_place) - 1;
    if (hand(c, &ev, c->last_place) == STUCK)
        return STUCK;
    c->lost_count = 0;
    vmsig_gate_join(c, c->last_place, NULL);
    c->join_after_loss = true;
    return DONE;
}

static outcome live(vmsig_gate_control *c, int *delivered) {
    vmsig_gate *g = c->gate;
    const vmsig_rec *rec;
    while (c->phase == VMSIG_PHASE_LIVE && !c->lost_count && (rec = vmsig_log_at(&g->log, &c->cursor))) {
        uint64_t pos = c->cursor, next = pos + rec->bytes, place = rec->place;
        vmsig_rec_event(rec, &g->scratch);
        bool copy = rec->what == VMSIG_REC_COPY;
        if (!copy && vmsig_gate_sees(&c->filter, c->session->id, rec, &g->scratch)) {
            if (hand_scratch(c, pos, place) == STUCK)
                return STUCK;
            ++*delivered;
        }
        if (!copy)
            c->last_place = place;
        if (c->cursor < next) /* not trimmed past it meanwhile */
            c->cursor = next;
    }
    return DONE;
}

/* MEMCTX whose RAM fd was not there when they were passed: they are still the newest. */
static outcome make_up_for_ram(vmsig_gate_control *c) {
    vmsig_gate *g = c->gate;
    uint64_t missing = c->ram_missing;
    for (; missing; missing &= missing - 1) {
        uint32_t ep = (uint32_t)__builtin_ctzll(missing);
        const vmsig_retained_entry *e = vmsig_retained_find(g->retained, ep, VMSIG_SRC_MEMCTX, VMSIG_EV_MEMCTX);
        uint64_t pos = e ? e->pos : 0;
        const vmsig_rec *rec = e ? vmsig_log_at(&g->log, &pos) : NULL;
        c->ram_missing &= ~(1ull << ep);
        if (!rec)
            continue;
        vmsig_rec_event(rec, &g->scratch);
        if (vmsig_gate_sees(&c->filter, 0, rec, &g->scratch) && hand_rec(c, rec, pos, 0, VMSIG_EVF_SNAPSHOT) == STUCK) {
            c->ram_missing |= 1ull << ep;
            return STUCK;
        }
    }
    return DONE;
}

static void pump(vmsig_gate_control *c, int *delivered) {
    while (!c->dead && !c->blocked && c->filter.on) {
        outcome o = DONE;
        if (c->phase == VMSIG_PHASE_JOIN)
            o = join(c);
        else if (c->lost_count)
            o = tell_lost(c);
        else
            o = live(c, delivered);
        if (o == STUCK || (c->phase == VMSIG_PHASE_LIVE && !c->lost_count && c->cursor >= c->gate->log.m->head))
            break;
    }
    if (!c->dead && !c->blocked && c->phase == VMSIG_PHASE_LIVE && c->ram_missing)
        make_up_for_ram(c);
}

int vmsig_gate_deliver(vmsig_gate *g) {
    int delivered = 0;
    for (int i = 0; i < g->controls_n; i++)
        if (g->control[i])
            pump(g->control[i], &delivered);
    return delivered;
}

/* ---- trimming ------------------------------------------------------------------------------------------ */

static void missed(vmsig_gate_control *c, const vmsig_rec *rec, const vmsig_event *ev) {
    if (c->phase == VMSIG_PHASE_MUTE || rec->what == VMSIG_REC_COPY ||
        !vmsig_gate_sees(&c->filter, c->session->id, rec, ev))
        return;
    if (c->lost_count++ == 0)
        c->lost_first = ev->seq;
    c->lost_last = ev->seq;
}

/* Told by the log before it trims the record at pos. O(controls). */
void vmsig_gate_trimmed(void *gate, const vmsig_rec *rec, uint64_t pos) {
    vmsig_gate *g = gate;
    vmsig_event *ev = &g->scratch_trim;
    vmsig_rec_event(rec, ev);
    for (int i = 0; i < g->controls_n; i++) {
        vmsig_gate_control *c = g->control[i];
        uint64_t at = c ? c->cursor : 0;
        if (!c || !vmsig_log_at(&g->log, &at) || at > pos)
            continue;
        missed(c, rec, ev);
        c->cursor = pos + rec->bytes;
    }
    vmsig_retained_entry *e = vmsig_retained_find(g->retained, ev->endpoint, ev->source, ev->kind);
    if (e && e->pos == pos)
        vmsig_retained_moved(e, vmsig_log_copy(&g->log, pos));
}
