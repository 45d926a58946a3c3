/* The boot socket: what the supervisor says, and the answers. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actors/runtime/rt.h"

#define BOOT_VERSION  1u
#define SEND_WAIT_NS  UINT64_C(1000000000) /* for the supervisor to make room in the socket */
#define SEND_RETRY_MS 100

#define TO_ACTOR(what)   VMSIG__PB__TO_ACTOR__M_##what
#define FROM_ACTOR(what) VMSIG__PB__FROM_ACTOR__M_##what

/* ---- answers ----------------------------------------------------------------------------------------- */

int vmsig_rt_send(vmsig_rt *rt, const Vmsig__Pb__FromActor *m, int fd) {
    if (rt->boot_fd < 0)
        return -EPIPE;
    uint64_t deadline = vmsig_now_ns() + SEND_WAIT_NS;
    for (;;) {
        int err = vmsig_frame_send(rt->boot_fd, &m->base, &fd, fd >= 0);
        if (err != -EAGAIN || vmsig_now_ns() >= deadline)
            return err;
        struct pollfd p = {.fd = rt->boot_fd, .events = POLLOUT};
        poll(&p, 1, SEND_RETRY_MS);
    }
}

static void say_ready(vmsig_rt *rt) {
    Vmsig__Pb__Ready ready = VMSIG__PB__READY__INIT;
    Vmsig__Pb__FromActor m = VMSIG__PB__FROM_ACTOR__INIT;
    m.m_case = FROM_ACTOR(READY);
    m.ready = &ready;
    int err = vmsig_rt_send(rt, &m, -1);
    if (err)
        vmsig_rt_log(rt, "cannot tell the supervisor that it is ready: %s", strerror(-err));
}

void vmsig_rt_say_stopped(vmsig_rt *rt) {
    Vmsig__Pb__Stopped stopped = VMSIG__PB__STOPPED__INIT;
    Vmsig__Pb__FromActor m = VMSIG__PB__FROM_ACTOR__INIT;
    m.m_case = FROM_ACTOR(STOPPED);
    m.stopped = &stopped;
    int err = vmsig_rt_send(rt, &m, -1);
    if (err && err != -EPIPE)
        vmsig_rt_log(rt, "cannot tell the supervisor that it has stopped: %s", strerror(-err));
}

void vmsig_rt_say_poisoned(vmsig_rt_link *k, uint32_t generation) {
    Vmsig__Pb__Poisoned poisoned = VMSIG__PB__POISONED__INIT;
    Vmsig__Pb__FromActor m = VMSIG__PB__FROM_ACTOR__INIT;
    poisoned.id = k->l.id;
    poisoned.generation = generation;
    m.m_case = FROM_ACTOR(POISONED);
    m.poisoned = &poisoned;
    int err = vmsig_rt_send(k->rt, &m, -1);
    if (err)
        vmsig_rt_log(k->rt, "cannot tell the supervisor that link %u is poisoned: %s", k->l.id, strerror(-err));
}

static void answer_probe(vmsig_rt *rt, Vmsig__Pb__Probe *probe) {
    Vmsig__Pb__FromActor m = VMSIG__PB__FROM_ACTOR__INIT;
    m.m_case = FROM_ACTOR(PROBE);
    m.probe = probe;
    int err = vmsig_rt_send(rt, &m, -1);
    if (err)
        vmsig_rt_log(rt, "cannot answer the supervisor's probe: %s", strerror(-err));
}

/* ---- stopping ---------------------------------------------------------------------------------------- */

static void stop_is_due(void *ud) {
    vmsig_rt *rt = ud;
    vmsig_rt_log(rt, "did not drain before its deadline; stopping all the same");
    vmsig_rt_stopped(rt);
}

static void begin_stop(vmsig_rt *rt, uint64_t grace_ns) {
    if (rt->stopping)
        return;
    rt->stopping = true;
    uint64_t deadline = vmsig_now_ns() + grace_ns;
    vmsig_timer_set(rt->stop_timer, deadline, 0);
    if (rt->ready && rt->ops->stop)
        rt->ops->stop(rt->self, deadline);
    else
        vmsig_rt_stopped(rt);
}

static void pin(vmsig_rt *rt) {
    if (rt->boot->cpu < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)rt->boot->cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        vmsig_rt_log(rt, "cannot run on CPU %d: %s; it runs on any", rt->boot->cpu, strerror(errno));
}

/* ---- messages ---------------------------------------------------------------------------------------- */

/* Boot, pages and state are there: the actor's own beginning, once. */
static int begin(vmsig_rt *rt) {
    if (rt->booted)
        return 0;
    rt->booted = true;
    int err = vmsig_rt_gauges_ready(rt);
    if (!err && rt->ops->boot)
        err = rt->ops->boot(rt->self, rt);
    if (err)
        vmsig_rt_fail(rt, "cannot start: %s", strerror(-err));
    return err;
}

static int on_boot(vmsig_rt *rt, Vmsig__Pb__ToActor *m) {
    const Vmsig__Pb__Boot *b = m->boot;
    int err = 0;
    if (rt->boot) {
        vmsig_rt_fail(rt, "the supervisor sent Boot twice");
        err = -EPROTO;
    } else if (b->version != BOOT_VERSION) {
        vmsig_rt_fail(rt, "the supervisor speaks boot version %u and this program %u: install both from one vmsig",
                      b->version, BOOT_VERSION);
        err = -EPROTO;
    } else if (b->layout != VMSIG_LAYOUT) {
        vmsig_rt_fail(rt, "the supervisor has event layout %u and this program %u: install both from one vmsig",
                      b->layout, VMSIG_LAYOUT);
        err = -EPROTO;
    }
    if (err) {
        protobuf_c_message_free_unpacked(&m->base, NULL);
        return err;
    }
    rt->boot_msg = m; /* kept: the actor reads its settings there */
    rt->boot = b;
    pin(rt);
    return 0;
}

static int on_go(vmsig_rt *rt) {
    int err = begin(rt);
    if (err || rt->ready)
        return err;
    if (rt->ops->start)
        err = rt->ops->start(rt->self);
    if (err) {
        vmsig_rt_fail(rt, "cannot start: %s", strerror(-err));
        return err;
    }
    rt->ready = true;
    say_ready(rt);
    return 0;
}

static int on_page(vmsig_rt *rt, const Vmsig__Pb__Page *page, int *fds, int nfds) {
    if (nfds != 1) {
        vmsig_rt_fail(rt, "the supervisor sent a page with %d fds instead of 1", nfds);
        return -EPROTO;
    }
    if (page->kind == VMSIG__PB__PAGE_KIND__PAGE_STATE) {
        rt->state_fd = fds[0];
        fds[0] = -1;
        return 0;
    }
    return vmsig_rt_page(rt, page, fds[0]);
}

static int on_fd(vmsig_rt *rt, const Vmsig__Pb__Fd *m, int *fds, int nfds) {
    if (nfds != 1 || vmsig_rt_take_fd(rt, m->kind, fds[0])) {
        vmsig_rt_fail(rt, "the supervisor sent an fd that this program does not know (kind %d)", (int)m->kind);
        return -EPROTO;
    }
    fds[0] = -1;
    return 0;
}

static int on_link(vmsig_rt *rt, const Vmsig__Pb__Link *m, const int *fds, int nfds) {
    int err = begin(rt);
    return err ? err : vmsig_rt_link_add(rt, m, fds, nfds);
}

static int dispatch(vmsig_rt *rt, const Vmsig__Pb__ToActor *m, int *fds, int nfds) {
    if (!rt->boot) {
        vmsig_rt_fail(rt, "the supervisor did not begin with Boot");
        return -EPROTO;
    }
    switch (m->m_case) {
    case TO_ACTOR(PAGE):
        return on_page(rt, m->page, fds, nfds);
    case TO_ACTOR(FD):
        return on_fd(rt, m->fd, fds, nfds);
    case TO_ACTOR(LINK):
        return on_link(rt, m->link, fds, nfds);
    case TO_ACTOR(PEER):
        return vmsig_rt_link_peer(rt, m->peer, fds, nfds);
    case TO_ACTOR(UNLINK):
        vmsig_rt_link_unlink(rt, m->unlink->id);
        return 0;
    case TO_ACTOR(RAM):
        if (rt->ops->ram && nfds == 1)
            rt->ops->ram(rt->self, m->ram->endpoint, m->ram->ram_id, fds[0]);
        return 0;
    case TO_ACTOR(GO):
        return on_go(rt);
    case TO_ACTOR(STOP):
        if (m->stop->failed)
            snprintf(rt->failed, sizeof rt->failed, "%s", m->stop->failed);
        begin_stop(rt, (uint64_t)m->stop->deadline_ms * 1000000u);
        return 0;
    case TO_ACTOR(GRANTS):
        if (rt->ops->grants)
            rt->ops->grants(rt->self, (const char *)m->grants->text.data, m->grants->text.len);
        return 0;
    case TO_ACTOR(PROBE):
        answer_probe(rt, m->probe);
        return 0;
    default: /* a newer supervisor's */
        vmsig_rt_log(rt, "the supervisor sent a message that this program does not know; ignored");
        return 0;
    }
}

/* What calls back into the actor waits until that is not in the middle of a call of its own. */
static bool must_wait(const Vmsig__Pb__ToActor *m) {
    return m->m_case == TO_ACTOR(LINK) || m->m_case == TO_ACTOR(UNLINK) || m->m_case == TO_ACTOR(RAM) ||
           m->m_case == TO_ACTOR(STOP) || m->m_case == TO_ACTOR(GO) || m->m_case == TO_ACTOR(GRANTS);
}

static int put_off(vmsig_rt *rt, Vmsig__Pb__ToActor *m) {
    vmsig_rt_later *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->msg = m;
    w->nfds = rt->frame.nfds;
    memcpy(w->fds, rt->frame.fds, sizeof(int) * (size_t)rt->frame.nfds);
    rt->frame.nfds = 0;
    vmsig_rt_later **end = &rt->later;
    while (*end)
        end = &(*end)->next;
    *end = w;
    return 0;
}

static void close_all(const int *fds, int nfds) {
    for (int i = 0; i < nfds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static int handle(vmsig_rt *rt, Vmsig__Pb__ToActor *m, int *fds, int nfds) {
    int err;
    if (m->m_case == TO_ACTOR(BOOT)) {
        err = on_boot(rt, m); /* which keeps or frees it */
    } else {
        err = dispatch(rt, m, fds, nfds);
        protobuf_c_message_free_unpacked(&m->base, NULL);
    }
    close_all(fds, nfds);
    return err;
}

/* One frame: 1, 0 = nothing there, -errno = the boot socket is of no more use, or this actor. */
static int take_frame(vmsig_rt *rt) {
    vmsig_frame *f = &rt->frame;
    int got = vmsig_frame_recv(rt->boot_fd, f);
    if (got == -EAGAIN)
        return 0;
    if (got <= 0)
        return got ? got : -EPIPE;
    Vmsig__Pb__ToActor *m = vmsig_frame_unpack(f, &vmsig__pb__to_actor__descriptor);
    if (!m) {
        vmsig_frame_close_fds(f);
        return -EPROTO;
    }
    if (rt->nested && must_wait(m) && put_off(rt, m) == 0)
        return 1;
    int fds[VMSIG_FRAME_FDS_MAX];
    int nfds = f->nfds;
    memcpy(fds, f->fds, sizeof(int) * (size_t)nfds);
    f->nfds = 0; /* handling may receive again, into the same frame */
    if (handle(rt, m, fds, nfds))
        vmsig_rt_quit(rt, 1);
    return 1;
}

/* Nobody is left to say stop: so it stops by itself. */
static void boot_ended(vmsig_rt *rt, int err) {
    if (err != -EPIPE)
        vmsig_rt_fail(rt, "cannot read the boot socket: %s", strerror(-err));
    else if (!rt->stopping)
        vmsig_rt_log(rt, "supervisor and keeper are gone; stopping");
    vmsig_rt_boot_drop(rt);
    if (err != -EPIPE)
        vmsig_rt_quit(rt, 1);
    else if (!rt->nested)
        begin_stop(rt, VMSIG_RT_GRACE_NS);
}

void vmsig_rt_serve(vmsig_rt *rt, bool nested) {
    bool before = rt->nested;
    rt->nested = before || nested;
    int got = 1;
    while (got > 0 && rt->boot_fd >= 0 && !rt->ended)
        got = take_frame(rt);
    if (got < 0)
        boot_ended(rt, got);
    rt->nested = before;
}

void vmsig_rt_serve_later(vmsig_rt *rt) {
    while (rt->later) {
        vmsig_rt_later *w = rt->later;
        rt->later = w->next;
        if (!rt->ended && handle(rt, w->msg, w->fds, w->nfds))
            vmsig_rt_quit(rt, 1);
        free(w);
    }
    if (rt->boot_fd < 0 && !rt->stopping)
        begin_stop(rt, VMSIG_RT_GRACE_NS);
}

static void on_boot_socket(void *ud, uint32_t events) {
    (void)events;
    vmsig_rt_serve(ud, false);
}

/* ---- the socket itself ------------------------------------------------------------------------------- */

static bool is_boot_socket(int fd) {
    int domain = 0, type = 0;
    socklen_t len = sizeof(int);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET;
}

int vmsig_rt_boot_take(vmsig_rt *rt) {
    if (!is_boot_socket(VMSIG_BOOT_FD)) {
        vmsig_rt_log(rt, "this program is an actor: write it into a topology and let `vmsig up` start it");
        return -ENOTCONN;
    }
    if (fcntl(VMSIG_BOOT_FD, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    rt->boot_fd = VMSIG_BOOT_FD;
    return vmsig_loop_add(rt->loop, rt->boot_fd, EPOLLIN, on_boot_socket, rt);
}

int vmsig_rt_stop_timer(vmsig_rt *rt) {
    return vmsig_timer_new(rt->loop, stop_is_due, rt, &rt->stop_timer);
}

void vmsig_rt_boot_drop(vmsig_rt *rt) {
    if (rt->boot_fd < 0)
        return;
    vmsig_loop_remove(rt->loop, rt->boot_fd);
    close(rt->boot_fd);
    rt->boot_fd = -1;
}
