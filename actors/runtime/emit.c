/* Events out. One that finds no room waits for it, with a deadline; one that found none is told downstream as lost, in
 * its place, as soon as there is room. Where several links lead there, each gets it, and each is told of its own losses.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/runtime/actor.h"
#include "actors/runtime/rt.h"
#include "rings/atomics.h"

/* An output's `ud`: what found no room there and is not told downstream yet. */
typedef struct untold {
    uint64_t count;
    vmsig_event as; /* the LOST that will tell */
} untold;

int vmsig_actor_link_added(void *self, vmsig_link *link) {
    (void)self;
    if (link->output)
        link->ud = calloc(1, sizeof(untold));
    return link->output && !link->ud ? -ENOMEM : 0;
}

void vmsig_actor_link_removed(void *self, vmsig_link *link) {
    (void)self;
    if (link->output) /* there is nobody left to tell */
        free(link->ud);
}

static bool leads_there(const vmsig_link *l, const vmsig_event *ev) {
    return l->output && l->dir == ev->dir && (l->endpoint_mask >> (ev->endpoint % VMSIG_ENDPOINTS_MAX) & 1u);
}

static void fill_in(const vmsig_actor *a, vmsig_event *ev) {
    const Vmsig__Pb__Boot *b = vmsig_rt_boot(a->rt);
    if (!ev->endpoint)
        ev->endpoint = b->endpoint;
    if (!ev->source && ev->kind != VMSIG_EV_LOST) /* the bus tells of a loss, whoever passes it on */
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
    untold *u = out->ud;
    vmsig_store64(&out->gauge->lost, out->gauge->lost + 1);
    u->count++;
    u->as = (vmsig_event){
        .endpoint = ev->endpoint,
        .epoch = ev->epoch,
        .merged = 1,
        .kind = VMSIG_EV_LOST,
        .source = VMSIG_SRC_SEAM,
        .dir = ev->dir,
        .inln_len = sizeof(vmsig_lost),
    };
    vmsig_lost body = {.count = u->count, .source = ev->source, .why = VMSIG_LOST_DEADLINE};
    memcpy(u->as.inln, &body, sizeof(body));
    vmsig_rt_want_room(a->rt, out, VMSIG_SLOTS_MAX);
}

static int tell_lost(vmsig_actor *a, vmsig_link *out) {
    untold *u = out->ud;
    if (!u->count)
        return 0;
    u->as.ts_ns = vmsig_now_ns();
    int err = vmsig_ring_put_event(&out->out, &u->as);
    if (err)
        return err;
    vmsig_rt_log(a->rt, "%s made no room in time: %llu events were lost, and told as lost", out->peer,
                 (unsigned long long)u->count);
    u->count = 0;
    return 0;
}

void vmsig_actor_writable(void *self, vmsig_link *out) {
    vmsig_actor *a = self;
    if (tell_lost(a, out) == -EAGAIN)
        vmsig_rt_want_room(a->rt, out, VMSIG_SLOTS_MAX);
    else
        vmsig_drive_flush(a);
}

/* ---- emitting ---------------------------------------------------------------------------------------- */

static int put(vmsig_actor *a, vmsig_link *out, const vmsig_event *ev) {
    int err = tell_lost(a, out);
    return err ? err : vmsig_ring_put_event(&out->out, ev);
}

static int put_or_wait(vmsig_actor *a, vmsig_link *out, const vmsig_event *ev) {
    int err = put(a, out, ev);
    if (err != -EAGAIN)
        return err;
    uint64_t deadline = vmsig_now_ns() + vmsig_rt_boot(a->rt)->emit_deadline_ms * UINT64_C(1000000);
    while (err == -EAGAIN) {
        /* room for this one, and for the LOST before it */
        uint32_t slots = ((untold *)out->ud)->count ? 2 * VMSIG_SLOTS_MAX : VMSIG_SLOTS_MAX;
        err = vmsig_rt_wait_room(a->rt, out, slots, deadline);
        if (err) {
            note_lost(a, out, ev);
            return -EAGAIN;
        }
        err = put(a, out, ev);
    }
    return err;
}

/* Of an error on one link the others know nothing. */
static int put_on_all(vmsig_actor *a, const vmsig_event *ev) {
    unsigned n, outputs = 0;
    int first = 0;
    vmsig_link *const *links = vmsig_rt_links(a->rt, &n);
    for (unsigned i = 0; i < n; i++) {
        if (!leads_there(links[i], ev))
            continue;
        int err = put_or_wait(a, links[i], ev);
        first = first ? first : err;
        outputs++;
    }
    return outputs ? first : -ENOTCONN;
}

int vmsig_actor_offer(vmsig_actor *a, vmsig_event *ev) {
    unsigned n, outputs = 0;
    int first = 0;
    vmsig_link *const *links = vmsig_rt_links(a->rt, &n);
    fill_in(a, ev);
    for (unsigned i = 0; i < n && first != -EAGAIN; i++) {
        if (!leads_there(links[i], ev))
            continue;
        int err = put(a, links[i], ev);
        if (err == -EAGAIN)
            vmsig_rt_want_room(a->rt, links[i], 2 * VMSIG_SLOTS_MAX);
        first = first ? first : err;
        outputs++;
    }
    return outputs ? first : -ENOTCONN;
}

bool vmsig_actor_has_room(vmsig_actor *a, uint32_t endpoint) {
    const vmsig_event up = {.dir = VMSIG_DIR_UP, .endpoint = endpoint};
    unsigned n;
    vmsig_link *const *links = vmsig_rt_links(a->rt, &n);
    for (unsigned i = 0; i < n; i++) {
        if (!leads_there(links[i], &up) || vmsig_ring_room(&links[i]->out, 2 * VMSIG_SLOTS_MAX) >= 2 * VMSIG_SLOTS_MAX)
            continue;
        vmsig_rt_want_room(a->rt, links[i], 2 * VMSIG_SLOTS_MAX);
        return false;
    }
    return true;
}

int vmsig_actor_emit(vmsig_actor *a, vmsig_event *ev) {
    if (!a || !ev) {
        errno = EINVAL;
        return -1;
    }
    fill_in(a, ev);
    if (ev->kind == VMSIG_EV_RESULT && ev->dir == VMSIG_DIR_UP && vmsig_drive_result(a, ev))
        return 0;
    bool nameless = ev->source == VMSIG_SRC_SEAM && ev->kind >= VMSIG_EV_SENSOR_FIRST; /* the bus has no such events */
    int err = ev->endpoint >= VMSIG_ENDPOINTS_MAX || nameless ? -EINVAL : put_on_all(a, ev);
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
