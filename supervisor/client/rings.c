/* rings.c: the client's side of its rings (rings/pair.h). */
#include <errno.h>
#include <sys/socket.h>

#include "rings/pair.h"
#include "supervisor/client/client_impl.h"

#define RELEASE_EVERY 64u      /* events */
#define FDS_EVERY_NS  1000000u /* while it spins */

/* ---- life ---------------------------------------------------------------------------------------------- */

int vmsig_client_rings_take(vmsig_client *c, const Vmsig__Pb__Rings *rings, const int *fds, int nfds) {
    vmsig_client_ring_pair *r = &c->ring;
    if (nfds != VMSIG_PAIR_FDS)
        return -EPROTO;
    int err = vmsig_ring_in_create(&r->up, fds[VMSIG_PAIR_EVENTS_READER], 0, 0);
    if (err < 0)
        return err;
    r->live = true;
    err = vmsig_ring_in_peer(&r->up, fds[VMSIG_PAIR_EVENTS], VMSIG_PAIR_LINK_EVENTS);
    if (err == 0)
        err = vmsig_ring_out_create(&r->down, fds[VMSIG_PAIR_COMMANDS], VMSIG_PAIR_LINK_COMMANDS, 1, rings->commands, 0,
                                    0, 0);
    return err == 0 ? vmsig_ring_out_peer(&r->down, fds[VMSIG_PAIR_COMMANDS_READER]) : err;
}

void vmsig_client_rings_drop(vmsig_client *c) {
    if (!c->ring.live)
        return;
    vmsig_ring_in_close(&c->ring.up);
    vmsig_ring_out_close(&c->ring.down);
    c->ring = (vmsig_client_ring_pair){0};
}

/* ---- bells --------------------------------------------------------------------------------------------- */

static void ring_bell(vmsig_client *c) {
    static const uint8_t bell[] = {0x32, 0}; /* ToGateway.bell: field 6, an empty message */
    ssize_t sent;
    do
        sent = send(c->sock, bell, sizeof bell, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    c->ring.bell_due = sent < 0 && (errno == ENOBUFS || errno == ENOMEM); /* EAGAIN: it has enough to wake it */
    if (c->ring.bell_due)
        vmsig_client_watch(c, true);
}

void vmsig_client_ring_flush(vmsig_client *c) {
    if (c->ring.live && (vmsig_ring_flush(&c->ring.down) || c->ring.bell_due))
        ring_bell(c);
}

static void release(vmsig_client *c) {
    c->ring.unreleased = 0;
    if (vmsig_ring_release(&c->ring.up))
        ring_bell(c);
}

/* ---- events in ----------------------------------------------------------------------------------------- */

/* The one that was peeked, as an event and its origin: 1, 0 a mark, or -EPROTO. */
static int unpack(vmsig_ring_in *up, const vmsig_slot *peeked, vmsig_event *ev, uint64_t *origin) {
    vmsig_slot one = *peeked; /* what it is, is read once */
    vmsig_image img;
    uint32_t len;
    *origin = one.origin;
    if (one.kind == 0)
        return 0;
    if (vmsig_slot_unpack(ev, &one) == 0)
        return 1;
    if (vmsig_ring_copy(up, &img) == 0 || vmsig_image_unpack(ev, &img) < 0)
        return -EPROTO;
    ev->payload = (void *)(uintptr_t)vmsig_ring_body(up, &img, &len); /* in place, as it is borrowed anyway */
    return up->poisoned ? -EPROTO : 1;
}

static int take_one(vmsig_client *c, const vmsig_slot *peeked) {
    vmsig_ring_in *up = &c->ring.up;
    vmsig_event ev;
    uint64_t origin;
    int what = unpack(up, peeked, &ev, &origin);
    if (what < 0)
        return -EPROTO;
    if (what == 0) {
        vmsig_ring_advance(up);
        c->ring.expected = true;
        return 0;
    }
    uint64_t place = vmsig_origin_position(origin);
    ev.seq |= (uint64_t)vmsig_origin_link(origin) << 32;
    ev.flags |= place == 0 ? VMSIG_EVF_SNAPSHOT : 0;
    int err = vmsig_client_next(c, &ev, (vmsig_wire_place){c->sseq + 1, place}, -1);
    vmsig_ring_advance(up);
    if (++c->ring.unreleased == RELEASE_EVERY)
        release(c);
    return err;
}

int vmsig_client_drain(vmsig_client *c, unsigned most) {
    int err = 0;
    unsigned n = 0;
    const vmsig_slot *s;
    while (c->ring.live && n < most && !c->ring.expected && err == 0 && (s = vmsig_ring_peek(&c->ring.up))) {
        err = take_one(c, s);
        n++;
    }
    if (c->ring.live)
        release(c);
    return err < 0 || c->ring.up.poisoned ? -EPROTO : (int)n;
}

int vmsig_client_reach_mark(vmsig_client *c) {
    while (!c->ring.expected) {
        int n = vmsig_client_drain(c, RELEASE_EVERY);
        if (n < 0 || (n == 0 && !c->ring.expected))
            return -EPROTO;
    }
    c->ring.expected = false;
    return 0;
}

/* ---- waiting ------------------------------------------------------------------------------------------- */

static bool look(vmsig_client *c, uint64_t for_ns) {
    uint64_t end = vmsig_client_now() + for_ns;
    do {
        for (unsigned i = 0; i < VMSIG_LOOK_EVERY; i++) {
            if (vmsig_ring_peek(&c->ring.up))
                return true;
            vmsig_pause();
        }
    } while (vmsig_client_now() < end);
    return false;
}

bool vmsig_client_look_on(vmsig_client *c, int timeout_ms) {
    uint64_t timeout_ns = (uint64_t)timeout_ms * 1000000u;
    if (c->ring.expected || c->cfg.rings == VMSIG_CLIENT_BLOCK)
        return false;
    if (c->cfg.rings == VMSIG_CLIENT_SPIN)
        return look(c, timeout_ns < FDS_EVERY_NS ? timeout_ns : FDS_EVERY_NS);
    if (!vmsig_look_pays(&c->look))
        return false;
    bool hit = look(c, timeout_ns < VMSIG_LOOK_NS ? timeout_ns : VMSIG_LOOK_NS);
    vmsig_look_done(&c->look, hit);
    return hit;
}

bool vmsig_client_lie_down(vmsig_client *c) {
    /* With a mark read, the frame wakes. */
    return c->ring.expected || !vmsig_ring_sleep(&c->ring.up);
}

/* ---- commands out -------------------------------------------------------------------------------------- */

/* Room for n slots, or the wish for it: the bell will ring. */
static int room(vmsig_client *c, uint32_t n) {
    vmsig_ring_out *down = &c->ring.down;
    c->ring.full = vmsig_ring_room(down, n) < n && !vmsig_ring_want_room(down, n);
    if (!c->ring.full)
        return 0;
    return down->poisoned ? down->poisoned : -EAGAIN;
}

/* A command with a payload goes over the socket, in its place. 1: now. */
static int put_mark(vmsig_client *c) {
    int err = c->ring.marked ? 0 : room(c, 1);
    if (err == 0 && !c->ring.marked)
        err = vmsig_pair_put_mark(&c->ring.down);
    if (err)
        return err;
    c->ring.marked = true;
    vmsig_client_ring_flush(c);
    err = room(c, c->ring.down.mask + 1);
    return err ? err : 1;
}

int vmsig_client_ring_put(vmsig_client *c, const vmsig_event *ev) {
    vmsig_image img;
    if (ev->payload_len)
        return put_mark(c);
    vmsig_event short_corr = *ev;
    short_corr.corr = 1; /* the whole of it is the origin */
    int n = vmsig_image_pack(&img, &short_corr);
    if (n < 0)
        return n;
    img.s[0].origin = ev->corr;
    int err = room(c, (uint32_t)n);
    return err ? err : vmsig_ring_put(&c->ring.down, &img, (uint32_t)n);
}
