/* client.c: vmsig_client.h: sending, answers, leases, and the one fd. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "supervisor/client/client_impl.h"

#define EVENTS_PER_STEP 1024u    /* out of a ring */
#define FDS_EVERY_NS    1000000u /* while the ring keeps it busy */

uint64_t vmsig_client_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int vmsig_client_fail(vmsig_client *c, int err, const char *fmt, ...) {
    va_list ap;
    errno = err;
    if (!c)
        return -1;
    va_start(ap, fmt);
    vsnprintf(c->error, sizeof c->error, fmt, ap);
    va_end(ap);
    errno = err;
    return -1;
}

const char *vmsig_client_error(const vmsig_client *c) {
    return c ? c->error : "no client";
}
const vmsig_grant *vmsig_client_grant(const vmsig_client *c) {
    if (!c)
        errno = EINVAL;
    return c ? &c->grant : NULL;
}
int vmsig_client_fd(vmsig_client *c) {
    if (!c)
        return vmsig_client_fail(c, EINVAL, "no client");
    if (c->cfg.rings &&
        !c->polled) { /* from now on it may be waited on at any time: the first time it says so at once */
        c->polled = true;
        eventfd_write(c->again, 1);
    }
    return c->epfd;
}
int vmsig_client_rings(const vmsig_client *c, const char **why) {
    bool live = c && c->ring.live;
    if (why)
        *why = c && c->cfg.rings && !live ? c->no_rings : NULL;
    if (!c) {
        errno = EINVAL;
        return -1;
    }
    return live;
}

/* ---- commands without an answer ------------------------------------------------------------------------ */

static int pending_find(const vmsig_client *c, uint64_t corr) {
    for (int i = 0; i < c->pending_n; i++)
        if (c->pending[i]->ev.corr == corr)
            return i;
    return -1;
}

static void pending_remove(vmsig_client *c, int i) {
    free(c->pending[i]->ev.payload);
    free(c->pending[i]);
    memmove(&c->pending[i], &c->pending[i + 1], sizeof c->pending[0] * (size_t)(c->pending_n - i - 1));
    c->pending_n--;
}

static vmsig_pending *pending_add(vmsig_client *c, const vmsig_event *cmd) {
    vmsig_pending *p = c->pending_n < VMSIG_CLIENT_PENDING ? calloc(1, sizeof *p) : NULL;
    if (!p) {
        vmsig_client_fail(c, c->pending_n < VMSIG_CLIENT_PENDING ? ENOMEM : EAGAIN,
                          "%d commands wait for their answers already", c->pending_n);
        return NULL;
    }
    p->ev = *cmd;
    p->ev.payload = NULL;
    if (cmd->payload_len && (p->ev.payload = malloc(cmd->payload_len))) {
        memcpy(p->ev.payload, cmd->payload, cmd->payload_len);
    } else if (cmd->payload_len) {
        free(p);
        errno = ENOMEM;
        return NULL;
    }
    c->pending[c->pending_n++] = p;
    return p;
}

void vmsig_client_push(vmsig_client *c) {
    vmsig_client_watch(c, false);
    for (int i = 0; i < c->pending_n && c->phase == VMSIG_CLIENT_OPEN; i++) {
        vmsig_pending *p = c->pending[i];
        if (p->sent)
            continue;
        int err = vmsig_client_put(c, &p->ev);
        if (err) /* the way is full; or its end is read from it */
            break;
        p->sent = p->ever_sent = true;
    }
    vmsig_client_ring_flush(c);
}

/* ---- the timer ----------------------------------------------------------------------------------------- */

static void set_timer(vmsig_client *c) {
    if (!c->timer_stale)
        return;
    c->timer_stale = false;
    uint64_t due = c->phase == VMSIG_CLIENT_OPEN ? 0 : c->retry_ns;
    for (uint32_t ep = 0; ep < VMSIG_ENDPOINTS_MAX && c->phase == VMSIG_CLIENT_OPEN; ep++)
        for (uint32_t cls = 0; cls < VMSIG_LEASE_CLASSES; cls++)
            if (c->held[ep][cls].token && (!due || c->held[ep][cls].renew_ns < due))
                due = c->held[ep][cls].renew_ns;
    struct itimerspec t = {.it_value = {.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)}};
    timerfd_settime(c->timerfd, TFD_TIMER_ABSTIME, &t, NULL);
}

static vmsig_event lease_command(uint32_t endpoint, uint32_t op, uint32_t cls, uint32_t ttl_ms) {
    vmsig_lease l = {.op = op, .cls = cls, .ttl_ms = ttl_ms};
    vmsig_event ev = {.kind = VMSIG_CMD_LEASE, .dir = VMSIG_DIR_DOWN, .endpoint = endpoint, .inln_len = sizeof l};
    memcpy(ev.inln, &l, sizeof l);
    return ev;
}

static void renew_leases(vmsig_client *c, uint64_t now) {
    for (uint32_t ep = 0; ep < VMSIG_ENDPOINTS_MAX; ep++)
        for (uint32_t cls = 0; cls < VMSIG_LEASE_CLASSES; cls++) {
            vmsig_holding *h = &c->held[ep][cls];
            if (!h->token || now < h->renew_ns)
                continue;
            vmsig_event ev = lease_command(ep, VMSIG_LEASE_RENEW, cls, 0);
            ev.corr = c->next_corr;
            vmsig_pending *p = pending_add(c, &ev);
            h->renew_ns = now + h->ttl_ns / 3;
            c->timer_stale = true;
            if (p) {
                p->own = true;
                c->next_corr++;
            }
        }
    vmsig_client_push(c);
}

static void on_timer(vmsig_client *c) {
    uint64_t expirations, now = vmsig_client_now();
    if (read(c->timerfd, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
        return;
    c->timer_stale = true;
    if (c->phase == VMSIG_CLIENT_HELLO && now >= c->retry_ns)
        vmsig_client_disconnect(c);
    else if (c->phase == VMSIG_CLIENT_AWAY && now >= c->retry_ns && vmsig_client_connect(c) != 0)
        vmsig_client_disconnect(c);
    else if (c->phase == VMSIG_CLIENT_OPEN)
        renew_leases(c, now);
}

/* ---- events -------------------------------------------------------------------------------------------- */

static void hand_over(vmsig_client *c, const vmsig_event *ev) {
    c->delivered++;
    c->cfg.on_event(c->cfg.user, ev);
}

/* The answer to a pending command. One that is not pending was answered before. */
static void take_result(vmsig_client *c, const vmsig_event *ev) {
    int i = pending_find(c, ev->corr);
    if (i < 0 || ev->inln_len < sizeof(vmsig_result))
        return;
    vmsig_pending *p = c->pending[i];
    vmsig_result r;
    memcpy(&r, ev->inln, sizeof r);
    vmsig_result *answer = p->answer;
    bool quiet = p->own || answer;
    if (p->own && r.status != VMSIG_OK && p->ev.endpoint < VMSIG_ENDPOINTS_MAX) { /* a renewal that came too late */
        vmsig_lease l;
        memcpy(&l, p->ev.inln, sizeof l);
        c->held[p->ev.endpoint][l.cls].token = 0;
        c->timer_stale = true;
    }
    if (answer) {
        *answer = r;
        *p->answered = true;
    }
    pending_remove(c, i);
    if (!quiet)
        hand_over(c, ev);
}

static void take_lease(vmsig_client *c, const vmsig_event *ev) {
    vmsig_lease_info info;
    if (ev->inln_len < sizeof info || ev->endpoint >= VMSIG_ENDPOINTS_MAX)
        return;
    memcpy(&info, ev->inln, sizeof info);
    if (info.cls >= VMSIG_LEASE_CLASSES)
        return;
    vmsig_holding *h = &c->held[ev->endpoint][info.cls];
    int i = pending_find(c, ev->corr);
    c->timer_stale = true;
    if (info.state == VMSIG_LEASE_GRANTED) {
        vmsig_lease asked = {0};
        if (i >= 0)
            memcpy(&asked, c->pending[i]->ev.inln, sizeof asked);
        h->token = info.token;
        h->ttl_ns = (asked.ttl_ms ? (uint64_t)asked.ttl_ms : 10000u) * 1000000u;
        h->renew_ns = vmsig_client_now() + h->ttl_ns / 3;
    } else if (info.state == VMSIG_LEASE_REVOKED) {
        h->token = 0;
    }
}

/* What fell out of the window may have been answers: asked again, the gateway says what it knows. */
static void take_lost(vmsig_client *c, const vmsig_event *ev) {
    vmsig_lost lost;
    if (ev->inln_len < sizeof lost)
        return;
    memcpy(&lost, ev->inln, sizeof lost);
    if (lost.why != VMSIG_LOST_WINDOW)
        return;
    c->snapshot = true; /* it comes again */
    for (int i = 0; i < c->pending_n; i++)
        c->pending[i]->sent = false;
    vmsig_client_push(c);
}

void vmsig_client_take(vmsig_client *c, vmsig_event *ev, int fd) {
    if (ev->endpoint < VMSIG_ENDPOINTS_MAX && ev->epoch > c->epoch[ev->endpoint])
        c->epoch[ev->endpoint] = ev->epoch;
    switch (ev->kind) {
    case VMSIG_EV_RESULT:
        take_result(c, ev);
        return;
    case VMSIG_EV_MEMCTX:
        c->delivered++;
        if (c->cfg.on_memctx && fd >= 0)
            c->cfg.on_memctx(c->cfg.user, ev, fd);
        return;
    case VMSIG_EV_LEASE:
        take_lease(c, ev);
        break;
    case VMSIG_EV_LOST:
        take_lost(c, ev);
        break;
    case VMSIG_EV_SNAPSHOT_END:
        c->snapshot = false;
        break;
    default:
        break;
    }
    hand_over(c, ev);
}

/* ---- a new session: what belonged to the old one is over ------------------------------------------------ */

static void say_unknown(vmsig_client *c, uint64_t corr, uint32_t endpoint) {
    vmsig_result r = {.status = VMSIG_UNKNOWN};
    vmsig_event ev = {.kind = VMSIG_EV_RESULT, .corr = corr, .endpoint = endpoint, .merged = 1, .inln_len = sizeof r};
    memcpy(ev.inln, &r, sizeof r);
    take_result(c, &ev);
}

static void say_revoked(vmsig_client *c, uint32_t endpoint, uint32_t cls) {
    vmsig_lease_info info = {.state = VMSIG_LEASE_REVOKED, .cls = cls, .token = c->held[endpoint][cls].token};
    vmsig_event ev = {.kind = VMSIG_EV_LEASE, .endpoint = endpoint, .merged = 1, .inln_len = sizeof info};
    memcpy(ev.inln, &info, sizeof info);
    c->held[endpoint][cls].token = 0;
    c->timer_stale = true;
    hand_over(c, &ev);
}

static void start_anew(vmsig_client *c) {
    for (uint32_t ep = 0; ep < VMSIG_ENDPOINTS_MAX; ep++)
        for (uint32_t cls = 0; cls < VMSIG_LEASE_CLASSES; cls++)
            if (c->held[ep][cls].token)
                say_revoked(c, ep, cls);
    for (int i = 0; i < c->pending_n;)
        if (c->pending[i]->ever_sent) /* it may have had its effect: not again */
            say_unknown(c, c->pending[i]->ev.corr, c->pending[i]->ev.endpoint);
        else
            i++;
}

void vmsig_client_opened(vmsig_client *c, bool resumed) {
    if (!resumed)
        start_anew(c);
    if (c->cfg.on_state)
        c->cfg.on_state(c->cfg.user, resumed ? VMSIG_CLIENT_RESUMED : VMSIG_CLIENT_CONNECTED);
    vmsig_client_push(c);
}

/* ---- stepping ------------------------------------------------------------------------------------------ */

static void on_fd(vmsig_client *c, const struct epoll_event *e) {
    if (e->data.fd == c->timerfd) {
        on_timer(c);
    } else if (e->data.fd == c->again) {
        eventfd_t count;
        eventfd_read(c->again, &count);
    } else if (e->data.fd == c->sock) {
        if (e->events & EPOLLOUT)
            vmsig_client_push(c);
        if (e->events & ~(uint32_t)EPOLLOUT)
            vmsig_client_read(c);
    }
}

/* Fds and timers. */
static int look_at_fds(vmsig_client *c, int timeout_ms) {
    struct epoll_event e[3];
    set_timer(c); /* what came through the ring may have changed it */
    int n = epoll_wait(c->epfd, e, 3, timeout_ms);
    if (n < 0)
        return errno == EINTR ? 0 : vmsig_client_fail(c, errno, "epoll: %s", strerror(errno));
    c->inside = true;
    for (int i = 0; i < n; i++)
        on_fd(c, &e[i]);
    c->inside = false;
    set_timer(c);
    return 0;
}

static bool drain(vmsig_client *c) {
    c->inside = true;
    int n = vmsig_client_drain(c, EVENTS_PER_STEP);
    if (n < 0)
        vmsig_client_disconnect(c);
    c->inside = false;
    return n != 0;
}

/* What is in the ring, without a call of the kernel; true: there was something, if only for the client itself. */
static bool step_rings(vmsig_client *c, int timeout_ms) {
    if (!c->ring.live)
        return false;
    vmsig_ring_wake(&c->ring.up);
    return drain(c) || (timeout_ms > 0 && vmsig_client_look_on(c, timeout_ms) && drain(c));
}

/* Whoever waits on the fd from here on is woken. */
static void leave_to_poll(vmsig_client *c) {
    if (c->polled && c->ring.live && !vmsig_client_lie_down(c))
        eventfd_write(c->again, 1);
}

static int step(vmsig_client *c, int timeout_ms, uint64_t now) {
    c->delivered = 0;
    bool busy = step_rings(c, timeout_ms);
    if (busy && now - c->looked_ns < FDS_EVERY_NS) {
        leave_to_poll(c);
        return c->delivered;
    }
    bool spins = c->ring.live && c->cfg.rings == VMSIG_CLIENT_SPIN;
    bool sleeps = !busy && !spins && (!c->ring.live || vmsig_client_lie_down(c));
    c->looked_ns = now;
    if (look_at_fds(c, sleeps ? timeout_ms : 0) != 0)
        return -1;
    step_rings(c, 0);
    leave_to_poll(c);
    if (c->refused) {
        c->refused = false;
        errno = EACCES;
        return -1;
    }
    return c->delivered;
}

static bool reentered(vmsig_client *c) {
    if (c->inside)
        vmsig_client_fail(c, EDEADLK, "a callback may send, but not wait");
    return c->inside;
}

int vmsig_client_step(vmsig_client *c, int timeout_ms) {
    uint64_t now = vmsig_client_now();
    if (!c || timeout_ms < 0)
        return vmsig_client_fail(c, EINVAL, "no wait without a deadline");
    if (reentered(c))
        return -1;
    uint64_t end = now + (uint64_t)timeout_ms * 1000000u;
    for (;;) {
        int n = step(c, (int)((end - now + 999999u) / 1000000u), now);
        now = vmsig_client_now();
        if (n != 0 || now >= end)
            return n;
    }
}

/* ---- opening ------------------------------------------------------------------------------------------- */

static int make_fds(vmsig_client *c) {
    c->epfd = epoll_create1(EPOLL_CLOEXEC);
    c->timerfd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    c->again = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct epoll_event timer = {.events = EPOLLIN, .data.fd = c->timerfd};
    struct epoll_event again = {.events = EPOLLIN, .data.fd = c->again};
    if (c->epfd < 0 || c->timerfd < 0 || c->again < 0 || epoll_ctl(c->epfd, EPOLL_CTL_ADD, c->timerfd, &timer) != 0 ||
        epoll_ctl(c->epfd, EPOLL_CTL_ADD, c->again, &again) != 0)
        return -errno;
    return 0;
}

static int first_connect(vmsig_client *c, int timeout_ms) {
    int err = vmsig_client_connect(c);
    if (err == -ENOENT || err == -ECONNREFUSED)
        return vmsig_client_fail(c, ENOENT, "nothing listens at %s", c->path);
    if (err == -EACCES || err == -EPERM)
        return vmsig_client_fail(c, EACCES, "%s: no permission to connect", c->path);
    if (err && err != -EAGAIN)
        return vmsig_client_fail(c, -err, "%s: %s", c->path, strerror(-err));
    if (err) /* its queue is full: again in a moment */
        vmsig_client_disconnect(c);
    set_timer(c);
    uint64_t end = vmsig_client_now() + (uint64_t)timeout_ms * 1000000u;
    while (c->phase != VMSIG_CLIENT_OPEN) {
        uint64_t now = vmsig_client_now();
        if (now >= end)
            return vmsig_client_fail(c, ETIMEDOUT, "the gateway at %s did not answer within %d ms", c->path,
                                     timeout_ms);
        if (step(c, (int)((end - now + 999999u) / 1000000u), now) < 0)
            return -1;
    }
    return 0;
}

static vmsig_client *refuse(vmsig_client *c, int err_no, const char *text, char *err, size_t err_len) {
    if (err && err_len)
        snprintf(err, err_len, "%s", text);
    vmsig_client_close(c);
    errno = err_no;
    return NULL;
}

vmsig_client *vmsig_client_open(const char *where, const vmsig_client_cfg *cfg, int timeout_ms, char *err,
                                size_t err_len) {
    if (!cfg || !cfg->on_event || timeout_ms < 0 || cfg->rings > VMSIG_CLIENT_SPIN)
        return refuse(NULL, EINVAL, "a client needs an on_event and a deadline, and a way to wait that there is", err,
                      err_len);
    vmsig_client *c = calloc(1, sizeof *c);
    if (!c)
        return refuse(NULL, ENOMEM, "no memory", err, err_len);
    c->cfg = *cfg;
    c->epfd = c->timerfd = c->again = c->sock = -1;
    c->next_corr = 1;
    c->pause_ns = 10000000u;
    snprintf(c->name, sizeof c->name, "%s", cfg->name ? cfg->name : program_invocation_short_name);
    c->cfg.name = c->name;
    int rc = vmsig_client_where(where, c->path, sizeof c->path, c->error, sizeof c->error);
    if (rc)
        return refuse(c, -rc, c->error, err, err_len);
    rc = make_fds(c);
    if (rc)
        return refuse(c, -rc, strerror(-rc), err, err_len);
    if (first_connect(c, timeout_ms) != 0)
        return refuse(c, errno, c->error, err, err_len);
    return c;
}

void vmsig_client_close(vmsig_client *c) {
    if (!c)
        return;
    while (c->pending_n)
        pending_remove(c, c->pending_n - 1);
    if (c->sock >= 0)
        close(c->sock);
    vmsig_client_rings_drop(c);
    if (c->timerfd >= 0)
        close(c->timerfd);
    if (c->again >= 0)
        close(c->again);
    if (c->epfd >= 0)
        close(c->epfd);
    free(c);
}

/* ---- sending ------------------------------------------------------------------------------------------- */

/* The class whose token a command bears; VMSIG_LEASE_CLASSES: none. */
static uint32_t class_of(const vmsig_event *cmd) {
    uint32_t op = 0;
    memcpy(&op, cmd->inln, sizeof op);
    if (cmd->kind == VMSIG_CMD_INPUT)
        return VMSIG_LEASE_INPUT;
    if (cmd->kind == VMSIG_CMD_MEMWRITE)
        return VMSIG_LEASE_MEMWRITE;
    return cmd->kind == VMSIG_CMD_LIFECYCLE && op >= VMSIG_LIFECYCLE_POWERDOWN ? VMSIG_LEASE_POWER
                                                                               : VMSIG_LEASE_CLASSES;
}

static vmsig_pending *enqueue(vmsig_client *c, vmsig_event *cmd) {
    if (!c || !cmd || cmd->endpoint >= VMSIG_ENDPOINTS_MAX || cmd->kind < VMSIG_CMD_INPUT ||
        cmd->kind > VMSIG_CMD_LEASE || cmd->inln_len > VMSIG_INLINE_MAX || cmd->payload_len > VMSIG_PAYLOAD_MAX ||
        (cmd->payload_len == 0) != (cmd->payload == NULL)) {
        vmsig_client_fail(c, EINVAL, "that is no command");
        return NULL;
    }
    uint32_t cls = class_of(cmd);
    cmd->dir = VMSIG_DIR_DOWN;
    if (!cmd->epoch)
        cmd->epoch = c->epoch[cmd->endpoint];
    if (!cmd->token && cls < VMSIG_LEASE_CLASSES)
        cmd->token = c->held[cmd->endpoint][cls].token;
    cmd->corr = c->next_corr;
    if (vmsig_event_to_pb(cmd, &c->pb) != 0) {
        vmsig_client_fail(c, EINVAL, "the command's body is not its kind's");
        return NULL;
    }
    vmsig_pending *p = pending_add(c, cmd);
    if (p)
        c->next_corr++;
    return p;
}

int vmsig_client_send(vmsig_client *c, vmsig_event *cmd) {
    if (!enqueue(c, cmd))
        return -1;
    vmsig_client_push(c);
    return 0;
}

int vmsig_client_call(vmsig_client *c, vmsig_event *cmd, vmsig_result *result, int timeout_ms) {
    bool answered = false;
    vmsig_result r = {0};
    if (!c || timeout_ms < 0)
        return vmsig_client_fail(c, EINVAL, "no wait without a deadline");
    if (reentered(c))
        return -1;
    vmsig_pending *p = enqueue(c, cmd);
    if (!p)
        return -1;
    p->answer = &r;
    p->answered = &answered;
    vmsig_client_push(c);
    uint64_t end = vmsig_client_now() + (uint64_t)timeout_ms * 1000000u;
    while (!answered) {
        uint64_t now = vmsig_client_now();
        if (now < end && step(c, (int)((end - now + 999999u) / 1000000u), now) >= 0)
            continue;
        int i = pending_find(c, cmd->corr);
        if (i >= 0) { /* its answer, should it come, is an event like any other */
            c->pending[i]->answer = NULL;
            c->pending[i]->answered = NULL;
        }
        return now < end ? -1 : vmsig_client_fail(c, ETIMEDOUT, "no answer within %d ms", timeout_ms);
    }
    if (result)
        *result = r;
    return 0;
}

/* ---- leases -------------------------------------------------------------------------------------------- */

int vmsig_client_lease(vmsig_client *c, uint32_t endpoint, vmsig_lease_class cls, uint32_t ttl_ms, int timeout_ms,
                       uint32_t *holder) {
    vmsig_event cmd = lease_command(endpoint, VMSIG_LEASE_ACQUIRE, cls, ttl_ms);
    vmsig_result r;
    if (vmsig_client_call(c, &cmd, &r, timeout_ms) != 0)
        return -1;
    switch (r.status) {
    case VMSIG_OK:
        set_timer(c); /* for its renewal */
        return 0;
    case VMSIG_HELD:
        if (holder)
            *holder = (uint32_t)r.detail;
        return vmsig_client_fail(c, EBUSY, "uid %u holds the lease", (unsigned)r.detail);
    case VMSIG_NOCAP:
        return vmsig_client_fail(c, EACCES, "the grant does not cover this lease");
    default:
        return vmsig_client_fail(c, EAGAIN, "the lease was not granted: %s", vmsig_status_name(r.status));
    }
}

int vmsig_client_release(vmsig_client *c, uint32_t endpoint, vmsig_lease_class cls) {
    vmsig_event cmd = lease_command(endpoint, VMSIG_LEASE_RELEASE, cls, 0);
    if (endpoint >= VMSIG_ENDPOINTS_MAX || (unsigned)cls >= VMSIG_LEASE_CLASSES)
        return vmsig_client_fail(c, EINVAL, "there is no such lease");
    vmsig_pending *p = enqueue(c, &cmd);
    if (!p)
        return -1;
    p->own = true;
    c->held[endpoint][cls].token = 0;
    c->timer_stale = true;
    vmsig_client_push(c);
    return 0;
}
