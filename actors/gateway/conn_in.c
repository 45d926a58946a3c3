/* conn_in.c: what a peer sends: Hello, then commands. Nonsense ends the connection. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/gateway/conn.h"

#define PROTOCOL_VERSION 1u
#define FRAMES_PER_TURN  32 /* of one peer, before others are looked at */

/* ---- Hello --------------------------------------------------------------------------------------------- */

static vmsig_sub sub_of(const Vmsig__Pb__Sub *pb) {
    vmsig_sub all = {.source_mask = UINT32_MAX, .endpoint_mask = UINT64_MAX};
    if (!pb)
        return all;
    return (vmsig_sub){.source_mask = pb->source_mask,
                       .endpoint_mask = pb->endpoint_mask,
                       .min_prio = pb->min_prio > UINT8_MAX ? UINT8_MAX : (uint8_t)pb->min_prio};
}

static int send_welcome(vmsig_conn *c, const vmsig_gate_session *session, const char *no_rings) {
    const vmsig_server_cfg *cfg = &c->server->cfg;
    Vmsig__Pb__Rings rings = VMSIG__PB__RINGS__INIT;
    Vmsig__Pb__Grant grant = VMSIG__PB__GRANT__INIT;
    Vmsig__Pb__Welcome w = VMSIG__PB__WELCOME__INIT;
    Vmsig__Pb__Endpoint endpoint[VMSIG_ENDPOINTS_MAX], *list[VMSIG_ENDPOINTS_MAX];
    uint64_t covered = c->grant.endpoint_mask & cfg->endpoint_mask;
    grant.principal = c->grant.principal;
    grant.endpoint_mask = covered;
    grant.caps = c->grant.caps;
    grant.priority = c->grant.priority;
    w.version = PROTOCOL_VERSION;
    w.session = session->id;
    w.lineage = cfg->lineage;
    w.resumed = session->resumed;
    w.grant = &grant;
    w.has_place = true;
    w.place = session->place;
    w.endpoints = list;
    for (uint32_t i = 0; i < VMSIG_ENDPOINTS_MAX; i++) {
        if (!(covered >> i & 1))
            continue;
        list[w.n_endpoints] = &endpoint[w.n_endpoints];
        vmsig__pb__endpoint__init(list[w.n_endpoints]);
        list[w.n_endpoints]->id = i;
        list[w.n_endpoints]->name = (char *)(uintptr_t)(cfg->names[i] ? cfg->names[i] : "");
        w.n_endpoints++;
    }
    w.no_rings = (char *)(uintptr_t)no_rings;
    if (c->rings) {
        rings.slots = c->rings->slots;
        rings.arena = c->rings->arena;
        rings.commands = VMSIG_PAIR_COMMAND_SLOTS;
        w.rings = &rings;
    }
    return vmsig_conn_send(c, VMSIG__PB__TO_CONTROL__M_WELCOME, &w, c->rings ? c->rings->fd : NULL,
                           c->rings ? VMSIG_PAIR_FDS : 0);
}

static void take_hello(vmsig_conn *c, const Vmsig__Pb__Hello *h) {
    vmsig_server *s = c->server;
    if (h->version != PROTOCOL_VERSION) {
        char why[96];
        snprintf(why, sizeof why, "speaks version %u of the control protocol; this gateway speaks %u", h->version,
                 PROTOCOL_VERSION);
        vmsig_conn_drop(c, why);
        return;
    }
    snprintf(c->name, sizeof c->name, "%s", h->name ? h->name : "");
    c->sub = sub_of(h->sub);
    c->wants_memctx = h->memctx;
    vmsig_gate_session session = {.uid = c->uid};
    if (h->resume && h->resume->lineage == s->cfg.lineage) {
        session.id = h->resume->session;
        session.place = h->resume->place;
        session.snapshot = h->resume->snapshot;
    }
    int id = vmsig_gate_attach_session(s->cfg.gate, &vmsig_conn_ops, c, &session);
    if (id < 0) {
        vmsig_conn_drop(c, "too many controls are connected");
        return;
    }
    c->control = id;
    c->greet_by_ns = 0;
    c->sseq = session.resumed ? h->resume->sseq : 0;
    const char *no_rings = h->rings ? vmsig_conn_rings_new(c, h->rings) : NULL;
    if (c->dropped)
        return;
    if (send_welcome(c, &session, no_rings) != 0 || vmsig_gate_set_grant(s->cfg.gate, id, &c->grant) != 0)
        vmsig_conn_drop(c, "could not be welcomed");
}

/* ---- commands ------------------------------------------------------------------------------------------ */

/* The payload from the one memfd that came along: sealed, so that it is the sender's word for good. */
static int read_payload(const Vmsig__Pb__Event *pb, vmsig_frame *f, vmsig_event *ev) {
    struct stat st;
    const int seals = F_SEAL_WRITE | F_SEAL_SHRINK;
    if (f->nfds != 1 || pb->payload_fd > VMSIG_PAYLOAD_MAX || ev->payload)
        return -EPROTO;
    int has = fcntl(f->fds[0], F_GET_SEALS);
    if (has < 0 || (has & seals) != seals || fstat(f->fds[0], &st) != 0 || st.st_size < (off_t)pb->payload_fd)
        return -EPROTO;
    uint8_t *bytes = malloc(pb->payload_fd);
    if (!bytes)
        return -ENOMEM;
    for (size_t at = 0; at < pb->payload_fd;) {
        ssize_t n = pread(f->fds[0], bytes + at, pb->payload_fd - at, (off_t)at);
        if (n <= 0 && errno != EINTR) {
            free(bytes);
            return -EPROTO;
        }
        at += n > 0 ? (size_t)n : 0;
    }
    ev->payload = bytes;
    ev->payload_len = pb->payload_fd;
    return 0;
}

static void park(vmsig_conn *c, vmsig_event *ev) {
    c->waiting = *ev;
    c->parked = true;
    vmsig_loop_modify(c->server->cfg.loop, c->fd, c->want_out ? (uint32_t)EPOLLOUT : 0u);
}

void vmsig_conn_submit(vmsig_conn *c, vmsig_event *ev) {
    if (c->emit && c->emit(c->token, ev) != 0) {
        if (errno == EAGAIN) {
            park(c, ev);
            return;
        }
        vmsig_conn_drop(c, errno == EINVAL ? "sent a command that is none" : "may not send commands");
    }
    free(ev->payload);
}

void vmsig_conn_retry(vmsig_conn *c) {
    if (!c->parked || c->dropped)
        return;
    c->parked = false;
    vmsig_event ev = c->waiting;
    vmsig_conn_submit(c, &ev);
    if (c->parked || c->dropped)
        return;
    vmsig_loop_modify(c->server->cfg.loop, c->fd, (uint32_t)EPOLLIN | (c->want_out ? (uint32_t)EPOLLOUT : 0u));
    vmsig_conn_rings_look(c);
}

static void take_command(vmsig_conn *c, const Vmsig__Pb__Command *m, vmsig_frame *f) {
    vmsig_event ev;
    if (c->rings && !c->rings->expected) {
        vmsig_conn_drop(c, "sent a command over the socket that its ring does not speak of");
        return;
    }
    if (c->rings)
        c->rings->expected = false;
    int err = vmsig_event_from_pb(m->event, &ev);
    if (err) {
        vmsig_conn_drop(c, "sent a command whose body is not its kind's");
        return;
    }
    if (m->event->payload_fd)
        err = read_payload(m->event, f, &ev);
    else if (f->nfds)
        err = -EPROTO;
    if (err) {
        free(ev.payload);
        vmsig_conn_drop(c, "sent an fd that no command takes");
        return;
    }
    ev.dir = VMSIG_DIR_DOWN;
    vmsig_conn_submit(c, &ev);
}

/* ---- frames -------------------------------------------------------------------------------------------- */

static void take_frame(vmsig_conn *c, const Vmsig__Pb__ToGateway *m, vmsig_frame *f) {
    bool hello = m->m_case == VMSIG__PB__TO_GATEWAY__M_HELLO;
    if (hello != (c->greet_by_ns != 0)) {
        vmsig_conn_drop(c, hello ? "said Hello twice" : "sent something before Hello");
        return;
    }
    if (f->nfds && m->m_case != VMSIG__PB__TO_GATEWAY__M_COMMAND) {
        vmsig_conn_drop(c, "sent an fd with a message that takes none");
        return;
    }
    switch (m->m_case) {
    case VMSIG__PB__TO_GATEWAY__M_HELLO:
        take_hello(c, m->hello);
        break;
    case VMSIG__PB__TO_GATEWAY__M_COMMAND:
        take_command(c, m->command, f);
        break;
    case VMSIG__PB__TO_GATEWAY__M_SUB:
        c->sub = sub_of(m->sub);
        vmsig_gate_resubscribe(c->server->cfg.gate, c->control);
        break;
    case VMSIG__PB__TO_GATEWAY__M_ACK: /* the log is trimmed by size, not by what was seen */
        break;
    case VMSIG__PB__TO_GATEWAY__M_MAPPED:
        vmsig_conn_rings_mapped(c);
        break;
    case VMSIG__PB__TO_GATEWAY__M_BELL: /* for the rings, which are looked at in any case */
        break;
    default:
        vmsig_conn_drop(c, "sent an empty message");
        break;
    }
}

static const char *why_not(int rc) {
    switch (rc) {
    case -EMSGSIZE:
        return "sent a frame larger than 64 KiB";
    case -EPROTO:
        return "sent more fds than a frame may bear";
    default:
        return NULL; /* it went away */
    }
}

static bool is_bell(const vmsig_frame *f) {
    return f->len == 2 && f->bytes[0] == 0x32 && f->bytes[1] == 0 && f->nfds == 0; /* ToGateway.bell: field 6, empty */
}

static void read_frames(vmsig_conn *c) {
    vmsig_frame *f = &c->server->frame;
    for (int i = 0; i < FRAMES_PER_TURN && !c->dropped && !c->parked; i++) {
        int rc = vmsig_frame_recv(c->fd, f);
        if (rc == -EAGAIN || (rc == 1 && c->rings && is_bell(f))) /* a bell is mostly the last */
            return;
        if (rc <= 0) {
            const char *why = why_not(rc);
            if (!why)
                vmsig_conn_rings_drain(c);
            vmsig_conn_drop(c, why);
            return;
        }
        Vmsig__Pb__ToGateway *m = vmsig_frame_unpack(f, &vmsig__pb__to_gateway__descriptor);
        if (m)
            take_frame(c, m, f);
        else
            vmsig_conn_drop(c, "sent a frame that is no message of the control protocol");
        if (m)
            vmsig__pb__to_gateway__free_unpacked(m, NULL);
        vmsig_frame_close_fds(f);
    }
}

void vmsig_conn_read(vmsig_conn *c) {
    read_frames(c);
    vmsig_conn_rings_look(c);
}
