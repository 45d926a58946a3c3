/* Events out. One that finds no room waits for it, with a deadline; one that found none is told downstream as lost, in
 * its place, as soon as there is room. */
#include <errno.h>
#include <string.h>

#include "actors/runtime/actor.h"
#include "actors/runtime/rt.h"
#include "rings/atomics.h"

static vmsig_link *output_for(vmsig_actor *a, const vmsig_event *ev) {
    unsigned n;
    vmsig_link *const *links = vmsig_rt_links(a->rt, &n);
    for (unsigned i = 0; i < n; i++)
        if (links[i]->output && links[i]->dir == ev->dir &&
            (links[i]->endpoint_mask >> (ev->endpoint % VMSIG_ENDPOINTS_MAX) & 1u))
            return links[i];
    return NULL;
}

static void fill_in(const vmsig_actor *a, vmsig_event *ev) {
    const Vmsig__Pb__Boot *b = vmsig_rt_boot(a->rt);
    if (!ev->endpoint)
        ev->endpoint = b->endpoint;
    if (!ev->source)
        ev->source = (uint8_t)b->source;
    if (!ev->epoch)
        ev->epoch = vmsig_rt_epoch(a->rt, ev->endpoint);
    if (!ev->ts_ns)
        ev->ts_ns = vmsig_now_ns();
    if (!ev->merged)
        ev->merged = 1;
}

/* ---- what was lost ----------------------------------------------------------------------------------- */

static void note_lost(vmsig_actor *a, vmsig_link *out, const vmsig_event *ev) {
    vmsig_store64(&out->gauge->lost, out->gauge->lost + 1);
    a->lost++;
    a->lost_on = out;
    a->lost_as = (vmsig_event){
        .endpoint = ev->endpoint,
        .epoch = ev->epoch,
        .merged = 1,
        .kind = VMSIG_EV_LOST,
        .source = VMSIG_SRC_SEAM,
        .dir = ev->dir,
        .inln_len = sizeof(vmsig_lost),
    };
    vmsig_lost body = {.count = a->lost, .source = ev->source, .why = VMSIG_LOST_DEADLINE};
    memcpy(a->lost_as.inln, &body, sizeof(body));
    vmsig_rt_want_room(a->rt, out, VMSIG_SLOTS_MAX);
}

static int tell_lost(vmsig_actor *a) {
    if (!a->lost)
        return 0;
    a->lost_as.ts_ns = vmsig_now_ns();
    int err = vmsig_ring_put_event(&a->lost_on->out, &a->lost_as);
    if (err)
        return err;
    vmsig_rt_log(a->rt, "%s made no room in time: %llu events were lost, and told as lost", a->lost_on->peer,
                 (unsigned long long)a->lost);
    a->lost = 0;
    return 0;
}

void vmsig_actor_writable(void *self, vmsig_link *out) {
    vmsig_actor *a = self;
    if (out == a->lost_on && tell_lost(a) == -EAGAIN)
        vmsig_rt_want_room(a->rt, out, VMSIG_SLOTS_MAX);
}

void vmsig_actor_link_removed(void *self, vmsig_link *link) {
    vmsig_actor *a = self;
    if (link == a->lost_on) { /* there is nobody left to tell */
        a->lost = 0;
        a->lost_on = NULL;
    }
}

/* ---- emitting ---------------------------------------------------------------------------------------- */

static int put(vmsig_actor *a, vmsig_link *out, const vmsig_event *ev) {
    int err = tell_lost(a);
    return err ? err : vmsig_ring_put_event(&out->out, ev);
}

static int put_or_wait(vmsig_actor *a, vmsig_link *out, const vmsig_event *ev) {
    int err = put(a, out, ev);
    if (err != -EAGAIN)
        return err;
    uint64_t deadline = vmsig_now_ns() + vmsig_rt_boot(a->rt)->emit_deadline_ms * UINT64_C(1000000);
    while (err == -EAGAIN) {
        /* room for this one, and for the LOST before it */
        err = vmsig_rt_wait_room(a->rt, out, a->lost ? 2 * VMSIG_SLOTS_MAX : VMSIG_SLOTS_MAX, deadline);
        if (err) {
            note_lost(a, out, ev);
            return -EAGAIN;
        }
        err = put(a, out, ev);
    }
    return err;
}

int vmsig_actor_emit(vmsig_actor *a, vmsig_event *ev) {
    if (!a || !ev) {
        errno = EINVAL;
        return -1;
    }
    fill_in(a, ev);
    vmsig_link *out = output_for(a, ev);
    int err = ev->endpoint >= VMSIG_ENDPOINTS_MAX ? -EINVAL : !out ? -ENOTCONN : put_or_wait(a, out, ev);
    if (!err)
        return 0;
    errno = -err;
    return -1;
}

int vmsig_actor_emit_bytes(vmsig_actor *a, uint8_t kind, const void *body, uint32_t len) {
    if (!a || kind < VMSIG_EV_SENSOR_FIRST || (len && !body) || len > VMSIG_INLINE_MAX) {
        errno = EINVAL;
        return -1;
    }
    vmsig_event ev = {.kind = kind, .dir = VMSIG_DIR_UP, .inln_len = len};
    if (len)
        memcpy(ev.inln, body, len);
    return vmsig_actor_emit(a, &ev);
}
