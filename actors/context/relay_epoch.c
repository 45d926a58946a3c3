/* relay_epoch.c: the end of epochs, and the newest address-space context of each endpoint. */
#include <string.h>

#include "actors/context/relay_impl.h"

/* ---- EPOCH_END ------------------------------------------------------------------------------------------- */

static int tell_end(vmsig_relay *r, uint32_t endpoint, uint32_t over, uint32_t now) {
    vmsig_event ev;
    vmsig_entry cand;
    vmsig_step s;
    memset(&ev, 0, sizeof ev);
    memset(&cand, 0, sizeof cand);
    ev.ts_ns = r->env.now(r->env.ud);
    ev.endpoint = endpoint;
    ev.epoch = over;
    ev.source = VMSIG_SRC_SEAM;
    ev.prio = VMSIG_PRIO_URGENT;
    ev.kind = VMSIG_EV_EPOCH_END;
    vmsig_entry_from_event(&cand, &ev);
    int err = vmsig_engine_plan(r->engine[VMSIG_DIR_UP], &cand, &s);
    if (err < 0)
        return err;
    redo_clear(r, VMSIG_DIR_UP);
    r->st->redo.endpoint = endpoint;
    r->st->redo.epoch = now;
    r->st->redo.ended = over;
    return redo_step(r, VMSIG_DIR_UP, &s, &cand, VMSIG_NONE, 0);
}

static void memctx_void(vmsig_relay *r, uint32_t endpoint, uint32_t epoch);

static void mark_ended(vmsig_relay *r, uint32_t endpoint) {
    for (uint32_t i = 0; i < r->ports_n; i++) {
        vmsig_port *p = r->ports[i];
        if (p->out == NULL || p->dir != VMSIG_DIR_DOWN || p->host || p->accepts == 0 ||
            !(p->endpoints >> endpoint & 1u))
            continue;
        p->end_pending |= 1ull << endpoint;
        news_send(r, p);
    }
}

void epoch_check(vmsig_relay *r, uint32_t endpoint) {
    uint32_t seen = r->st->endpoint[endpoint].epoch, now = r->env.epoch(r->env.ud, endpoint);
    if (now == seen)
        return;
    if (seen == 0) {
        r->st->endpoint[endpoint].epoch = now;
        RELAY_POINT();
        return;
    }
    memctx_void(r, endpoint, seen);
    if (tell_end(r, endpoint, seen, now) == 0) /* no entry free: it is tried again at the next turn */
        mark_ended(r, endpoint);
}

/* ---- memctx: the newest of each endpoint, for sensors that may read its RAM ------------------------------- */

static const retained *retained_of(const vmsig_relay *r, uint32_t endpoint) {
    uint64_t at = r->st->endpoint[endpoint].retained;
    return at != 0 ? &r->st->retained[endpoint][at - 1] : NULL;
}

static void mark_pending(vmsig_relay *r, uint32_t endpoint) {
    for (uint32_t i = 0; i < r->ports_n; i++) {
        vmsig_port *p = r->ports[i];
        if (p->out == NULL || !p->memctx || !(p->endpoints >> endpoint & 1u))
            continue;
        p->memctx_pending |= 1ull << endpoint;
        news_send(r, p);
    }
}

/* Two copies by turns: the one that counts is never written to. */
void memctx_retain(vmsig_relay *r, const vmsig_event *ev, const void *payload) {
    uint64_t *at = &r->st->endpoint[ev->endpoint].retained;
    uint64_t next = *at == 1 ? 2 : 1;
    retained *keep = &r->st->retained[ev->endpoint][next - 1];
    if (ev->payload_len > RETAINED_BYTES)
        return; /* no context that memctx_pack makes is so large */
    keep->ev = *ev;
    keep->ev.dir = VMSIG_DIR_DOWN;
    keep->ev.corr = keep->ev.token = 0;
    if (ev->payload_len != 0)
        memcpy(keep->payload, payload, ev->payload_len);
    RELAY_POINT();
    durable64(at, next);
    mark_pending(r, ev->endpoint);
}

static void memctx_void(vmsig_relay *r, uint32_t endpoint, uint32_t epoch) {
    const retained *have = retained_of(r, endpoint);
    if (have == NULL || have->ev.kind != VMSIG_EV_MEMCTX || have->ev.epoch > epoch)
        return;
    vmsig_event ev;
    memset(&ev, 0, sizeof ev);
    ev.ts_ns = r->env.now(r->env.ud);
    ev.endpoint = endpoint;
    ev.epoch = have->ev.epoch;
    ev.merged = 1;
    ev.source = VMSIG_SRC_MEMCTX;
    ev.prio = VMSIG_PRIO_URGENT;
    ev.kind = VMSIG_EV_MEMCTX_INVALID;
    memctx_retain(r, &ev, NULL);
}

static void memctx_send(vmsig_relay *r, vmsig_port *p) {
    while (p->memctx_pending != 0) {
        uint32_t endpoint = (uint32_t)__builtin_ctzll(p->memctx_pending);
        const retained *have = retained_of(r, endpoint);
        if (have != NULL) {
            vmsig_event ev = have->ev;
            ev.payload = ev.payload_len != 0 ? (void *)(uintptr_t)have->payload : NULL;
            if (vmsig_ring_put_event(p->out, &ev) < 0) {
                r->env.want_room(r->env.ud, p, VMSIG_SLOTS_MAX);
                return;
            }
        }
        p->memctx_pending &= p->memctx_pending - 1;
    }
}

static void end_send(vmsig_relay *r, vmsig_port *p) {
    while (p->end_pending != 0) {
        uint32_t endpoint = (uint32_t)__builtin_ctzll(p->end_pending);
        vmsig_event ev = {.ts_ns = r->env.now(r->env.ud),
                          .endpoint = endpoint,
                          .epoch = r->st->endpoint[endpoint].ended,
                          .merged = 1,
                          .source = VMSIG_SRC_SEAM,
                          .dir = VMSIG_DIR_DOWN,
                          .prio = VMSIG_PRIO_URGENT,
                          .kind = VMSIG_EV_EPOCH_END};
        if (ev.epoch != 0 && vmsig_ring_put_event(p->out, &ev) < 0) {
            r->env.want_room(r->env.ud, p, VMSIG_SLOTS_MAX);
            return;
        }
        p->end_pending &= p->end_pending - 1;
    }
}

void news_send(vmsig_relay *r, vmsig_port *p) {
    memctx_send(r, p);
    end_send(r, p);
}

/* Who takes commands looks at the epoch when it starts; of what ended while the context was away it hears here. */
void vmsig_relay_renewed(vmsig_relay *r, vmsig_port *p) {
    if (p->out == NULL)
        return;
    if (p->memctx)
        p->memctx_pending = p->endpoints;
    if (p->accepts != 0 && !p->host && p->dir == VMSIG_DIR_DOWN)
        p->end_pending = p->endpoints;
    news_send(r, p);
    vmsig_engine_release_held(r->engine[p->dir]);
}
