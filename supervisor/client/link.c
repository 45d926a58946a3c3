/* link.c: the client's connection: Hello, Welcome, frames. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "schema/wire.h"
#include "supervisor/client/client_impl.h"

#define PROTOCOL_VERSION 1u
#define PAUSE_FIRST_NS   5000000u
#define PAUSE_MAX_NS     200000000u
#define WELCOME_NS       2000000000u
#define FRAME_PAYLOAD    32768u /* larger payloads travel as a sealed memfd */
#define FRAMES_PER_STEP  64
#define EVENTS_TAG       0x1au /* ToControl.events: field 3, length-delimited */
#define EVENT_TAG        0x0au /* Events.event: field 1, length-delimited */
#define BELL_TAG         0x2au /* ToControl.bell: field 5, an empty message */

/* ---- coming and going ---------------------------------------------------------------------------------- */

void vmsig_client_watch(vmsig_client *c, bool out) {
    struct epoll_event e = {.events = EPOLLIN | (out ? (uint32_t)EPOLLOUT : 0u), .data.fd = c->sock};
    if (c->sock >= 0 && c->want_out != out)
        epoll_ctl(c->epfd, EPOLL_CTL_MOD, c->sock, &e);
    c->want_out = out;
}

static int send_hello(vmsig_client *c) {
    const vmsig_sub *want = &c->cfg.sub;
    bool all = want->source_mask == 0 && want->endpoint_mask == 0 && want->min_prio == 0;
    Vmsig__Pb__Sub sub = VMSIG__PB__SUB__INIT;
    Vmsig__Pb__Resume resume = VMSIG__PB__RESUME__INIT;
    Vmsig__Pb__Hello hello = VMSIG__PB__HELLO__INIT;
    Vmsig__Pb__RingsAsk rings = VMSIG__PB__RINGS_ASK__INIT;
    Vmsig__Pb__ToGateway m = VMSIG__PB__TO_GATEWAY__INIT;
    hello.version = PROTOCOL_VERSION;
    hello.name = c->name;
    hello.has_memctx = true;
    hello.memctx = c->cfg.on_memctx != NULL;
    if (!all) {
        sub.has_source_mask = sub.has_endpoint_mask = sub.has_min_prio = true;
        sub.source_mask = want->source_mask;
        sub.endpoint_mask = want->endpoint_mask;
        sub.min_prio = want->min_prio;
        hello.sub = &sub;
    }
    if (c->cfg.rings && !c->rings_failed) {
        rings.has_slots = c->cfg.ring_slots != 0;
        rings.slots = c->cfg.ring_slots;
        rings.has_arena = c->cfg.ring_payloads != 0;
        rings.arena = c->cfg.ring_payloads;
        hello.rings = &rings;
    }
    if (c->session) {
        resume.session = c->session;
        resume.lineage = c->lineage;
        resume.place = c->place;
        resume.sseq = c->sseq;
        resume.has_snapshot = true;
        resume.snapshot = c->snapshot;
        hello.resume = &resume;
    }
    m.m_case = VMSIG__PB__TO_GATEWAY__M_HELLO;
    m.hello = &hello;
    return vmsig_frame_send(c->sock, &m.base, NULL, 0);
}

int vmsig_client_connect(vmsig_client *c) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    memcpy(sa.sun_path, c->path, sizeof sa.sun_path);
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock < 0)
        return -errno;
    struct epoll_event e = {.events = EPOLLIN, .data.fd = sock};
    if (connect(sock, (const struct sockaddr *)&sa, sizeof sa) != 0 ||
        epoll_ctl(c->epfd, EPOLL_CTL_ADD, sock, &e) != 0) {
        int err = -errno;
        close(sock);
        return err;
    }
    c->sock = sock;
    c->want_out = false;
    int err = send_hello(c);
    if (err && err != -EPIPE && err != -ECONNRESET) { /* these: refused at once, and why is there to be read */
        close(sock);
        c->sock = -1;
        return err;
    }
    c->phase = VMSIG_CLIENT_HELLO;
    c->retry_ns = vmsig_client_now() + WELCOME_NS;
    c->timer_stale = true;
    return 0;
}

void vmsig_client_disconnect(vmsig_client *c) {
    bool was_open = c->phase == VMSIG_CLIENT_OPEN;
    uint64_t now = vmsig_client_now();
    if (c->sock >= 0)
        close(c->sock);
    c->sock = -1;
    c->want_out = false;
    vmsig_client_rings_drop(c);
    c->phase = VMSIG_CLIENT_AWAY;
    if (was_open)
        c->pause_ns = now - c->open_ns >= PAUSE_FIRST_NS ? 0 : PAUSE_FIRST_NS;
    else
        c->pause_ns = c->pause_ns == 0                 ? PAUSE_FIRST_NS
                      : c->pause_ns * 2 > PAUSE_MAX_NS ? PAUSE_MAX_NS
                                                       : c->pause_ns * 2;
    c->retry_ns = now + c->pause_ns;
    c->timer_stale = true;
    for (int i = 0; i < c->pending_n; i++)
        c->pending[i]->sent = false;
    if (was_open && c->cfg.on_state)
        c->cfg.on_state(c->cfg.user, VMSIG_CLIENT_GONE);
}

/* ---- frames out ---------------------------------------------------------------------------------------- */

static int payload_fd(const vmsig_event *ev) {
    int fd = memfd_create("vmsig-payload", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, ev->payload, ev->payload_len); /* memory: all of it or nothing */
    if (n == (ssize_t)ev->payload_len &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0)
        return fd;
    int err = n < 0 ? -errno : -EIO;
    close(fd);
    return err;
}

int vmsig_client_put(vmsig_client *c, const vmsig_event *ev) {
    Vmsig__Pb__Command command = VMSIG__PB__COMMAND__INIT;
    Vmsig__Pb__ToGateway m = VMSIG__PB__TO_GATEWAY__INIT;
    int fd = -1, err = c->ring.live ? vmsig_client_ring_put(c, ev) : 1;
    if (err <= 0)
        return err;
    err = vmsig_event_to_pb(ev, &c->pb);
    if (err)
        return err;
    if (ev->payload_len > FRAME_PAYLOAD) {
        fd = payload_fd(ev);
        if (fd < 0)
            return fd;
        c->pb.e.has_payload = false;
        c->pb.e.has_payload_fd = true;
        c->pb.e.payload_fd = ev->payload_len;
    }
    command.event = &c->pb.e;
    m.m_case = VMSIG__PB__TO_GATEWAY__M_COMMAND;
    m.command = &command;
    err = vmsig_frame_send(c->sock, &m.base, &fd, fd >= 0);
    if (fd >= 0)
        close(fd);
    if (err == -EAGAIN || err == -ENOBUFS)
        vmsig_client_watch(c, true);
    else
        c->ring.marked = false;
    return err == -ENOBUFS ? -EAGAIN : err;
}

/* ---- frames in ----------------------------------------------------------------------------------------- */

/* What the gateway answers to the wish for rings: 0, or the error that ends the connection. */
static int take_rings(vmsig_client *c, const Vmsig__Pb__Welcome *w, const int *fds, int nfds) {
    Vmsig__Pb__RingsMapped mapped = VMSIG__PB__RINGS_MAPPED__INIT;
    Vmsig__Pb__ToGateway m = VMSIG__PB__TO_GATEWAY__INIT;
    if (!c->rings_failed)
        snprintf(c->no_rings, sizeof c->no_rings, "%s", w->no_rings ? w->no_rings : "the gateway knows of no rings");
    if (!w->rings)
        return 0;
    int err = vmsig_client_rings_take(c, w->rings, fds, nfds);
    if (err < 0) {
        c->rings_failed = true;
        snprintf(c->no_rings, sizeof c->no_rings, "they cannot be mapped: %s", strerror(-err));
        return err;
    }
    m.m_case = VMSIG__PB__TO_GATEWAY__M_MAPPED;
    m.mapped = &mapped;
    return vmsig_frame_send(c->sock, &m.base, NULL, 0);
}

static int take_welcome(vmsig_client *c, const Vmsig__Pb__Welcome *w, const int *fds, int nfds) {
    if (c->phase != VMSIG_CLIENT_HELLO)
        return 0;
    int err = take_rings(c, w, fds, nfds);
    if (err)
        return err;
    bool resumed = w->resumed && w->session == c->session;
    c->grant = (vmsig_grant){.principal = w->grant->principal,
                             .endpoint_mask = w->grant->endpoint_mask,
                             .caps = w->grant->caps,
                             .priority = w->grant->priority};
    if (!resumed) {
        if (w->lineage != c->lineage)
            memset(c->epoch, 0, sizeof c->epoch);
        c->session = w->session;
        c->lineage = w->lineage;
        c->place = w->place;
        c->sseq = 0;
        c->snapshot = true;
    }
    c->phase = VMSIG_CLIENT_OPEN;
    c->retry_ns = 0;
    c->timer_stale = true;
    c->open_ns = vmsig_client_now();
    c->was_open = true;
    vmsig_client_opened(c, resumed);
    return 0;
}

static int read_payload(uint32_t len, int fd, vmsig_event *ev) {
    struct stat st;
    if (fd < 0 || len > VMSIG_PAYLOAD_MAX || ev->payload || fstat(fd, &st) != 0 || st.st_size < (off_t)len)
        return -EPROTO;
    ev->payload = malloc(len);
    if (!ev->payload)
        return -ENOMEM;
    ev->payload_len = len;
    return pread(fd, ev->payload, len, 0) == (ssize_t)len ? 0 : -EPROTO;
}

/* What makes no sense: coming back and resuming puts it right. */
int vmsig_client_next(vmsig_client *c, vmsig_event *ev, vmsig_wire_place at, int fd) {
    if (at.sseq != c->sseq + 1)
        return -EPROTO;
    c->sseq = at.sseq;
    bool twice = at.place && at.place <= c->place && !(ev->flags & VMSIG_EVF_SNAPSHOT) &&
                 ev->kind != VMSIG_EV_SNAPSHOT_END && ev->kind != VMSIG_EV_LOST;
    if (at.place > c->place)
        c->place = at.place;
    if (!twice)
        vmsig_client_take(c, ev, ev->kind == VMSIG_EV_MEMCTX ? fd : -1);
    return 0;
}

static int take_event(vmsig_client *c, const Vmsig__Pb__Event *pb, int fd) {
    vmsig_event ev;
    int err = vmsig_event_from_pb(pb, &ev);
    if (err)
        return -EPROTO;
    if (pb->payload_fd)
        err = read_payload(pb->payload_fd, fd, &ev);
    if (!err)
        err = vmsig_client_next(c, &ev, (vmsig_wire_place){pb->sseq, pb->place}, fd);
    free(ev.payload);
    return err;
}

/* The bulk of all frames, events in plain form and nothing else, straight from their bytes: true when all of it was
 * taken; *taken events of it were in any case. */
static bool take_plain(vmsig_client *c, size_t *taken, int *err) {
    const uint8_t *at = c->frame.bytes, *end = at + c->frame.len;
    vmsig_wire_place where;
    vmsig_event ev;
    uint64_t len;
    *taken = 0;
    if (c->frame.nfds || at == end || *at++ != EVENTS_TAG || !vmsig_varint_get(&at, end, &len) ||
        len != (uint64_t)(end - at))
        return false;
    for (; at < end && !*err; ++*taken, at += len) {
        if (*at++ != EVENT_TAG || !vmsig_varint_get(&at, end, &len) || len > (uint64_t)(end - at) ||
            !vmsig_wire_get(at, len, &ev, &where))
            return false;
        *err = vmsig_client_next(c, &ev, where, -1);
    }
    return true;
}

/* taken: so many of its events were. */
static int take_message(vmsig_client *c, const Vmsig__Pb__ToControl *m, size_t taken, const int *fds, int nfds) {
    int err = 0;
    switch (m->m_case) {
    case VMSIG__PB__TO_CONTROL__M_WELCOME:
        err = take_welcome(c, m->welcome, fds, nfds);
        break;
    case VMSIG__PB__TO_CONTROL__M_REFUSED:
        vmsig_client_fail(c, EACCES, "the gateway at %s refuses: this control %s", c->path, m->refused->why);
        c->refused = true;
        err = -EACCES;
        break;
    case VMSIG__PB__TO_CONTROL__M_EVENTS:
        err = c->ring.live ? vmsig_client_reach_mark(c) : 0;
        for (size_t i = taken; i < m->events->n_event && !err; i++)
            err = take_event(c, m->events->event[i], nfds == 1 ? fds[0] : -1);
        break;
    case VMSIG__PB__TO_CONTROL__M_GRANT:
        c->grant = (vmsig_grant){.principal = m->grant->principal,
                                 .endpoint_mask = m->grant->endpoint_mask,
                                 .caps = m->grant->caps,
                                 .priority = m->grant->priority};
        break;
    default: /* of a newer gateway */
        break;
    }
    return err;
}

/* For the rings, which are looked at in any case. */
static bool is_bell(const vmsig_frame *f) {
    return f->len == 2 && f->bytes[0] == BELL_TAG && f->bytes[1] == 0 && f->nfds == 0;
}

static int take_frame(vmsig_client *c) {
    size_t taken = 0;
    int err = 0;
    if (is_bell(&c->frame) || (!c->ring.live && take_plain(c, &taken, &err)))
        return err;
    Vmsig__Pb__ToControl *m = vmsig_frame_unpack(&c->frame, &vmsig__pb__to_control__descriptor);
    err = m ? take_message(c, m, taken, c->frame.fds, c->frame.nfds) : -EPROTO;
    if (m)
        vmsig__pb__to_control__free_unpacked(m, NULL);
    vmsig_frame_close_fds(&c->frame);
    return err;
}

void vmsig_client_read(vmsig_client *c) {
    for (int i = 0; i < FRAMES_PER_STEP && c->sock >= 0; i++) {
        int rc = vmsig_frame_recv(c->sock, &c->frame);
        if (rc == -EAGAIN)
            return;
        if (rc <= 0) {
            /* A reset is reported before the last words: they may still be there. */
            rc = vmsig_frame_recv(c->sock, &c->frame);
            if (rc <= 0) {
                vmsig_client_drain(c, UINT_MAX); /* what it had published before */
                vmsig_client_disconnect(c);
                return;
            }
        }
        if (c->ring.live && is_bell(&c->frame)) { /* mostly the last */
            if (c->ring.full)
                vmsig_client_push(c);
            return;
        }
        if (take_frame(c)) {
            vmsig_client_disconnect(c);
            return;
        }
    }
}
