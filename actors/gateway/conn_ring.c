#include "actors/gateway/conn_ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actors/gateway/conn.h"
#include "rings/shm.h"

#define COMMANDS_PER_TURN 32 /* of one peer, before others are looked at */
#define NONSENSE          "wrote what no ring may hold"

/* ---- life ---------------------------------------------------------------------------------------------- */

static bool is_size(uint32_t n, uint32_t least, uint32_t most) {
    return n >= least && n <= most && (n & (n - 1)) == 0;
}

static size_t bytes_of_uid(const vmsig_conn *c) {
    size_t sum = 0;
    for (const vmsig_conn *o = c->server->conns; o; o = o->next)
        if (o->rings && o->uid == c->uid)
            sum += o->rings->bytes;
    return sum;
}

static int create(vmsig_conn_rings *r) {
    const size_t bytes[VMSIG_PAIR_FDS] = {vmsig_ring_bytes(r->slots, r->arena), VMSIG_READER_BYTES,
                                          vmsig_ring_bytes(VMSIG_PAIR_COMMAND_SLOTS, 0), VMSIG_READER_BYTES};
    static const char *const names[] = {"vmsig-events", "vmsig-events-reader", "vmsig-commands",
                                        "vmsig-commands-reader"};
    for (int i = 0; i < VMSIG_PAIR_FDS; i++)
        if ((r->fd[i] = vmsig_shm_create(names[i], bytes[i])) < 0)
            return r->fd[i];
    int err =
        vmsig_ring_out_create(&r->up, r->fd[VMSIG_PAIR_EVENTS], VMSIG_PAIR_LINK_EVENTS, 1, r->slots, r->arena, 0, 0);
    if (err == 0)
        err = vmsig_ring_in_create(&r->down, r->fd[VMSIG_PAIR_COMMANDS_READER], 0, 0);
    if (err == 0)
        err = vmsig_shm_seal(r->fd[VMSIG_PAIR_EVENTS]);
    return err == 0 ? vmsig_shm_seal(r->fd[VMSIG_PAIR_COMMANDS_READER]) : err;
}

const char *vmsig_conn_rings_new(vmsig_conn *c, const Vmsig__Pb__RingsAsk *ask) {
    if (!is_size(ask->slots, VMSIG_PAIR_SLOTS_MIN, VMSIG_PAIR_SLOTS_MAX) ||
        (ask->arena != 0 && !is_size(ask->arena, VMSIG_PAIR_ARENA_MIN, VMSIG_PAIR_ARENA_MAX))) {
        vmsig_conn_drop(c, "asks for rings of a size that there is not");
        return NULL;
    }
    if (!c->may_rings)
        return "its grant does not say `rings: true`";
    size_t bytes = vmsig_ring_bytes(ask->slots, ask->arena) + vmsig_ring_bytes(VMSIG_PAIR_COMMAND_SLOTS, 0) +
                   2 * VMSIG_READER_BYTES;
    if (bytes_of_uid(c) + bytes > VMSIG_CONN_RINGS_PER_UID)
        return "the rings of its uid would take more than 32 MiB";
    vmsig_conn_rings *r = calloc(1, sizeof *r);
    if (!r)
        return "the gateway has no memory for them";
    *r = (vmsig_conn_rings){.fd = {-1, -1, -1, -1}, .slots = ask->slots, .arena = ask->arena, .bytes = bytes};
    c->rings = r;
    if (create(r) == 0)
        return NULL;
    vmsig_conn_rings_free(c);
    return "the gateway has no memory, or no fds, for them";
}

static void close_fds(vmsig_conn_rings *r) {
    for (int i = 0; i < VMSIG_PAIR_FDS; i++) {
        if (r->fd[i] >= 0)
            close(r->fd[i]);
        r->fd[i] = -1;
    }
}

void vmsig_conn_rings_free(vmsig_conn *c) {
    vmsig_conn_rings *r = c->rings;
    if (!r)
        return;
    close_fds(r);
    vmsig_ring_out_close(&r->up);
    if (r->down.reader)
        vmsig_ring_in_close(&r->down);
    free(r);
    c->rings = NULL;
}

void vmsig_conn_rings_mapped(vmsig_conn *c) {
    vmsig_conn_rings *r = c->rings;
    if (!r || r->live) {
        vmsig_conn_drop(c, "says that it mapped rings that it was not given");
        return;
    }
    int err = vmsig_shm_seal(r->fd[VMSIG_PAIR_EVENTS_READER]);
    if (err == 0)
        err = vmsig_shm_seal(r->fd[VMSIG_PAIR_COMMANDS]);
    if (err == 0)
        err = vmsig_ring_out_peer(&r->up, r->fd[VMSIG_PAIR_EVENTS_READER]);
    if (err == 0)
        err = vmsig_ring_in_peer(&r->down, r->fd[VMSIG_PAIR_COMMANDS], VMSIG_PAIR_LINK_COMMANDS);
    if (err == 0 && r->down.chain[0].arena_bytes != 0)
        err = -EPROTO;
    if (err < 0) {
        vmsig_conn_drop(c, "has not mapped its rings as they are meant");
        return;
    }
    close_fds(r);
    r->live = true;
    vmsig_gate_unblock(c->server->cfg.gate, c->control);
    vmsig_conn_rings_look(c);
}

/* ---- bells --------------------------------------------------------------------------------------------- */

static void ring_bell(vmsig_conn *c) {
    static const uint8_t bell[] = {0x2a, 0}; /* ToControl.bell: field 5, an empty message */
    ssize_t sent;
    do
        sent = send(c->fd, bell, sizeof bell, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    c->rings->bell_due = sent < 0 && (errno == ENOBUFS || errno == ENOMEM);
    if (c->rings->bell_due)
        vmsig_conn_want_out(c, true);
}

void vmsig_conn_rings_flush(vmsig_conn *c) {
    vmsig_conn_rings *r = c->rings;
    if (!r || !r->live || c->dropped)
        return;
    bool wants_room = vmsig_ring_release(&r->down);
    if (vmsig_ring_flush(&r->up) || wants_room || r->bell_due)
        ring_bell(c);
}

/* ---- events out ---------------------------------------------------------------------------------------- */

/* What stands in the way of a put: 0: there is room now. */
static int no_room(vmsig_conn *c, int err) {
    vmsig_conn_rings *r = c->rings;
    if (err != -EAGAIN) {
        vmsig_conn_drop(c, NONSENSE);
        return -EPIPE;
    }
    r->full = !vmsig_ring_want_room(&r->up, r->slots / 4);
    return r->full ? -EAGAIN : 0;
}

int vmsig_conn_rings_mark(vmsig_conn *c) {
    vmsig_conn_rings *r = c->rings;
    int err = r->live ? 0 : -EAGAIN;
    while (!err && !r->owed) {
        err = vmsig_pair_put_mark(&r->up);
        r->owed = err == 0;
        if (err)
            err = no_room(c, err);
    }
    return err;
}

/* Whether there is nothing about an event that slots and arena cannot hold. */
static bool fits(const vmsig_conn *c, const vmsig_event *ev, uint64_t place) {
    bool retained = (ev->flags & VMSIG_EVF_SNAPSHOT) != 0;
    bool answer = ev->kind == VMSIG_EV_RESULT || ev->kind == VMSIG_EV_LEASE;
    return ev->kind != 0 && ev->token == 0 && (answer || ev->corr == 0) && ev->payload_len <= c->rings->arena &&
           retained == (place == 0) && (place | ev->seq) >> VMSIG_PAIR_PLACE_BITS == 0;
}

/* 1, 0: it needs more than a slot, or is none that is packed; -EAGAIN, -EPROTO. */
static int put_one_slot(vmsig_conn_rings *r, const vmsig_event *ev, uint64_t origin) {
    vmsig_slot *s = vmsig_ring_next(&r->up);
    if (!s)
        return r->up.poisoned ? r->up.poisoned : -EAGAIN;
    if (vmsig_slot_pack(s, ev) <= 0)
        return 0;
    s->origin = origin;
    vmsig_ring_publish1(&r->up);
    return 1;
}

/* The same of any event; 0: none that is packed. */
static int put_slots(vmsig_conn_rings *r, const vmsig_event *ev, uint64_t origin) {
    vmsig_image img;
    vmsig_body_ref ref;
    int n = vmsig_image_pack(&img, ev);
    if (n < 0)
        return 0;
    img.s[0].origin = origin;
    int err = ev->payload_len ? vmsig_ring_put_body(&r->up, ev->payload, ev->payload_len, &ref) : 0;
    if (err == 0 && ev->payload_len)
        vmsig_image_set_ref(&img, ref);
    if (err == 0)
        err = vmsig_ring_put(&r->up, &img, (uint32_t)n);
    return err == 0 ? 1 : err;
}

int vmsig_conn_rings_put(vmsig_conn *c, const vmsig_event *ev) {
    vmsig_conn_rings *r = c->rings;
    uint64_t place = vmsig_gate_place(c->server->cfg.gate);
    if (!r->live)
        return -EAGAIN;
    if (r->owed || !fits(c, ev, place))
        return vmsig_conn_rings_mark(c);
    uint64_t origin = vmsig_origin((uint32_t)(ev->seq >> 32), place);
    for (;;) {
        int done = put_one_slot(r, ev, origin);
        if (done == 0)
            done = put_slots(r, ev, origin);
        if (done == 0)
            return vmsig_conn_rings_mark(c);
        int err = done < 0 ? no_room(c, done) : 0;
        if (done > 0 || err != 0)
            return done > 0 ? 1 : err;
    }
}

/* ---- commands in --------------------------------------------------------------------------------------- */

/* The one that was peeked. */
static void take_command(vmsig_conn *c) {
    vmsig_conn_rings *r = c->rings;
    vmsig_image img;
    vmsig_event ev;
    if (vmsig_ring_copy(&r->down, &img) == 0) {
        vmsig_conn_drop(c, NONSENSE);
        return;
    }
    vmsig_ring_advance(&r->down);
    if (vmsig_pair_is_mark(&img)) {
        r->expected = true;
        return;
    }
    if (vmsig_image_unpack(&ev, &img) < 0 || ev.dir != VMSIG_DIR_DOWN || ev.payload_len) {
        vmsig_conn_drop(c, "wrote a command into its ring that is none");
        return;
    }
    ev.corr = img.s[0].origin;
    vmsig_conn_submit(c, &ev);
}

static void take_commands(vmsig_conn *c) {
    vmsig_conn_rings *r = c->rings;
    r->more = false;
    vmsig_ring_wake(&r->down);
    for (int i = 0; i < COMMANDS_PER_TURN;) {
        if (c->dropped || c->parked || r->expected) /* each has its own way back here */
            return;
        if (vmsig_ring_peek(&r->down)) {
            take_command(c);
            i++;
        } else if (!vmsig_ring_sleep(&r->down)) {
            if (r->down.poisoned)
                vmsig_conn_drop(c, NONSENSE);
            return;
        }
    }
    r->more = true;
    vmsig_server_soon(c->server);
}

void vmsig_conn_rings_look(vmsig_conn *c) {
    vmsig_conn_rings *r = c->rings;
    if (!r || !r->live || c->dropped)
        return;
    if (r->full && vmsig_ring_want_room(&r->up, r->slots / 4)) {
        r->full = false;
        vmsig_gate_unblock(c->server->cfg.gate, c->control);
    }
    if (r->up.poisoned)
        vmsig_conn_drop(c, NONSENSE);
    else
        take_commands(c);
}

void vmsig_conn_rings_drain(vmsig_conn *c) {
    vmsig_conn_rings *r = c->rings;
    if (!r || !r->live)
        return;
    for (unsigned i = 0; i < VMSIG_PAIR_COMMAND_SLOTS && !c->dropped && !c->parked && !r->expected; i++) {
        if (!vmsig_ring_peek(&r->down))
            return;
        take_command(c);
    }
}
