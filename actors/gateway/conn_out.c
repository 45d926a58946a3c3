/* conn_out.c: a connection as a control: events leave, many to a frame. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actors/gateway/conn.h"
#include "schema/wire.h"

#define HEAD       16u   /* room before the events for the frame's own head */
#define EVENTS_TAG 0x1au /* ToControl.events: field 3, length-delimited */
#define EVENT_TAG  0x0au /* Events.event: field 1, length-delimited */
#define FRAME_ROOM (VMSIG_FRAME_MAX - HEAD)

/* ---- the socket ---------------------------------------------------------------------------------------- */

void vmsig_conn_want_out(vmsig_conn *c, bool out) {
    if (c->want_out == out || c->dropped)
        return;
    c->want_out = out;
    vmsig_loop_modify(c->server->cfg.loop, c->fd,
                      (c->parked ? 0u : (uint32_t)EPOLLIN) | (out ? (uint32_t)EPOLLOUT : 0u));
}

int vmsig_conn_flush(vmsig_conn *c) {
    if (c->used == 0)
        return 0;
    uint8_t head[HEAD];
    head[0] = EVENTS_TAG;
    size_t n = 1 + vmsig_varint_put(head + 1, c->used);
    uint8_t *at = c->out + HEAD - n;
    memcpy(at, head, n);
    ssize_t sent;
    do
        sent = send(c->fd, at, n + c->used, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0) {
        c->used = 0;
        vmsig_conn_want_out(c, false);
        return 0;
    }
    if (errno != EAGAIN && errno != ENOBUFS)
        return -errno;
    vmsig_conn_want_out(c, true);
    return -EAGAIN;
}

int vmsig_conn_send(vmsig_conn *c, Vmsig__Pb__ToControl__MCase which, void *message, const int *fds, int nfds) {
    Vmsig__Pb__ToControl m = VMSIG__PB__TO_CONTROL__INIT;
    m.m_case = which;
    m.welcome = message; /* all of the union are pointers */
    return vmsig_frame_send(c->fd, &m.base, fds, nfds);
}

/* ---- one event ----------------------------------------------------------------------------------------- */

static int encode(vmsig_conn *c, const vmsig_event *ev) {
    int err = vmsig_event_to_pb(ev, &c->server->pb);
    if (err)
        return err;
    Vmsig__Pb__Event *e = &c->server->pb.e;
    e->has_sseq = true;
    e->sseq = c->sseq + 1;
    e->place = vmsig_gate_place(c->server->cfg.gate);
    e->has_place = e->place != 0;
    return 0;
}

/* Room in the frame for one more of `most` bytes; what is there leaves where it has to. */
static int make_room(vmsig_conn *c, size_t most) {
    if (most > FRAME_ROOM)
        return -EMSGSIZE;
    return c->used + most > FRAME_ROOM ? vmsig_conn_flush(c) : 0;
}

/* The bulk of all events, straight into the frame: 1, 0 not one of them, or -errno. */
static int append_plain(vmsig_conn *c, const vmsig_event *ev) {
    int err = make_room(c, 1 + 2 + VMSIG_WIRE_PLAIN_MAX);
    if (err)
        return err;
    const vmsig_wire_place where = {c->sseq + 1, vmsig_gate_place(c->server->cfg.gate)};
    uint8_t *at = c->out + HEAD + c->used;
    size_t len = vmsig_wire_put(at + 2, ev, where);
    if (len == 0)
        return 0;
    size_t more = len >= 0x80; /* a second byte of length */
    if (more)
        memmove(at + 3, at + 2, len);
    at[0] = EVENT_TAG;
    at[1] = (uint8_t)(more ? len | 0x80 : len);
    if (more)
        at[2] = (uint8_t)(len >> 7);
    c->used += 2 + more + len;
    return 1;
}

static int append(vmsig_conn *c) {
    const ProtobufCMessage *m = &c->server->pb.e.base;
    size_t len = protobuf_c_message_get_packed_size(m);
    int err = make_room(c, 1 + 5 + len);
    if (err)
        return err;
    uint8_t *at = c->out + HEAD + c->used;
    *at++ = EVENT_TAG;
    at += vmsig_varint_put(at, len);
    c->used = (size_t)(at - (c->out + HEAD)) + protobuf_c_message_pack(m, at);
    return 0;
}

/* The event alone in its frame; fd -1: without one. */
static int send_alone(vmsig_conn *c, int fd) {
    int err = vmsig_conn_flush(c);
    if (err)
        return err;
    Vmsig__Pb__Event *one = &c->server->pb.e;
    Vmsig__Pb__Events events = VMSIG__PB__EVENTS__INIT;
    events.n_event = 1;
    events.event = &one;
    Vmsig__Pb__ToControl m = VMSIG__PB__TO_CONTROL__INIT;
    m.m_case = VMSIG__PB__TO_CONTROL__M_EVENTS;
    m.events = &events;
    err = vmsig_frame_send(c->fd, &m.base, &fd, fd >= 0);
    if (err == -EAGAIN || err == -ENOBUFS) {
        vmsig_conn_want_out(c, true);
        return -EAGAIN;
    }
    if (c->rings)
        c->rings->owed = false;
    return err;
}

/* A payload that is too large for a frame, in a sealed memfd. */
static int payload_fd(const vmsig_event *ev) {
    int fd = memfd_create("vmsig-payload", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    for (size_t at = 0; at < ev->payload_len;) {
        ssize_t n = write(fd, (const uint8_t *)ev->payload + at, ev->payload_len - at);
        if (n < 0 && errno != EINTR) {
            int err = -errno;
            close(fd);
            return err;
        }
        at += n > 0 ? (size_t)n : 0;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

static int send_large(vmsig_conn *c, const vmsig_event *ev) {
    int fd = payload_fd(ev);
    if (fd < 0)
        return fd == -EMFILE || fd == -ENFILE ? -EAGAIN : fd;
    Vmsig__Pb__Event *e = &c->server->pb.e;
    e->has_payload = false;
    e->has_payload_fd = true;
    e->payload_fd = ev->payload_len;
    int err = send_alone(c, fd);
    close(fd);
    return err;
}

/* ---- control ops --------------------------------------------------------------------------------------- */

/* As ops answer: 0, or -1 and errno. */
static int answer(vmsig_conn *c, int err) {
    if (err == 0) {
        c->sseq++;
        return 0;
    }
    errno = -err;
    return -1;
}

static int conn_fd(void *ctl) {
    return ((vmsig_conn *)ctl)->fd;
}

static int conn_subscribe(void *ctl, vmsig_sub *out) {
    *out = ((vmsig_conn *)ctl)->sub;
    return 0;
}

static int conn_deliver(void *ctl, const vmsig_event *ev) {
    vmsig_conn *c = ctl;
    int err = c->dropped ? -EPIPE : c->rings ? vmsig_conn_rings_put(c, ev) : append_plain(c, ev);
    if (err)
        return answer(c, err < 0 ? err : 0);
    err = encode(c, ev);
    if (err == -EINVAL) {
        vmsig_server_say(c->server,
                         "an event of endpoint %u, source %u, kind %u has a body that is not its kind's: not "
                         "delivered",
                         ev->endpoint, ev->source, ev->kind);
        return 0;
    }
    if (!err)
        err = ev->payload_len > VMSIG_FRAME_PAYLOAD_MAX ? send_large(c, ev) : c->rings ? send_alone(c, -1) : append(c);
    return answer(c, err);
}

static int conn_attach_memctx(void *ctl, const vmsig_event *ev, int fd) {
    vmsig_conn *c = ctl;
    if (!c->wants_memctx)
        return 0;
    int err = c->dropped ? -EPIPE : c->rings ? vmsig_conn_rings_mark(c) : 0;
    if (!err)
        err = encode(c, ev);
    return answer(c, err ? err : send_alone(c, fd));
}

static int conn_on_readable(void *ctl) {
    vmsig_conn_read(ctl);
    return 0;
}

static void conn_set_emit_down(void *ctl, int (*emit)(void *token, vmsig_event *), void *token) {
    vmsig_conn *c = ctl;
    c->emit = emit;
    c->token = token;
}

static void conn_close(void *ctl) {
    vmsig_conn_free(ctl);
}

const vmsig_control_ops vmsig_conn_ops = {
    .name = "socket",
    .fd = conn_fd,
    .subscribe = conn_subscribe,
    .deliver = conn_deliver,
    .on_readable = conn_on_readable,
    .set_emit_down = conn_set_emit_down,
    .close = conn_close,
    .attach_memctx = conn_attach_memctx,
};
