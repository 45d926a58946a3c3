/* server.c: accepting, and the life of connections. */
#include "actors/gateway/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "actors/gateway/conn.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

#define ACCEPT_PAUSE_NS 100000000u /* after running out of fds */
#define ACCEPTS         16         /* per wake-up */

void vmsig_server_say(vmsig_server *s, const char *fmt, ...) {
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (s->cfg.log)
        s->cfg.log(s->cfg.ud, text);
}

/* ---- a connection's life ------------------------------------------------------------------------------- */

static void set_timer(vmsig_server *s) {
    uint64_t first = s->accept_again_ns;
    for (vmsig_conn *c = s->conns; c; c = c->next)
        if (c->rings && c->rings->more && !c->dropped)
            first = 1;
        else if (c->greet_by_ns && !c->dropped && (!first || c->greet_by_ns < first))
            first = c->greet_by_ns;
    vmsig_timer_set(s->timer, first, 0);
}

void vmsig_conn_free(vmsig_conn *c) {
    if (!c->dropped) {
        vmsig_loop_remove(c->server->cfg.loop, c->fd);
        if (c->pidfd >= 0)
            vmsig_loop_remove(c->server->cfg.loop, c->pidfd);
    }
    close(c->fd);
    if (c->pidfd >= 0)
        close(c->pidfd);
    if (c->parked)
        free(c->waiting.payload);
    vmsig_conn_rings_free(c);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    free(c);
}

void vmsig_conn_drop(vmsig_conn *c, const char *why) {
    vmsig_server *s = c->server;
    if (c->dropped)
        return;
    if (why) {
        vmsig_server_say(s, "control %s%s(pid %d, uid %u) %s: dropped", c->name, c->name[0] ? " " : "", (int)c->pid,
                         c->uid, why);
        Vmsig__Pb__Refused refused = VMSIG__PB__REFUSED__INIT;
        refused.why = (char *)(uintptr_t)why;
        vmsig_conn_send(c, VMSIG__PB__TO_CONTROL__M_REFUSED, &refused, NULL, 0); /* if it still listens */
    }
    vmsig_loop_remove(s->cfg.loop, c->fd);
    if (c->pidfd >= 0)
        vmsig_loop_remove(s->cfg.loop, c->pidfd);
    c->dropped = true;
    shutdown(c->fd, SHUT_RDWR);
    if (c->control >= 0) /* the gate closes it at its next turn; one that it does not know goes at the next flush */
        vmsig_gate_detach(s->cfg.gate, c->control, false);
}

void vmsig_server_soon(vmsig_server *s) {
    vmsig_timer_set(s->timer, 1, 0);
}

static void on_conn(void *ud, uint32_t events) {
    vmsig_conn *c = ud;
    if (events & EPOLLOUT) {
        int err = vmsig_conn_flush(c);
        if (err && err != -EAGAIN) {
            vmsig_conn_drop(c, NULL);
            return;
        }
        if (!err) {
            vmsig_conn_want_out(c, false);
            vmsig_gate_unblock(c->server->cfg.gate, c->control);
        }
    }
    if ((events & (EPOLLHUP | EPOLLERR)) && c->parked) /* nobody is there to be answered */
        vmsig_conn_drop(c, NULL);
    else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        vmsig_conn_read(c);
}

static void on_death(void *ud, uint32_t events) {
    (void)events;
    vmsig_conn *c = ud;
    vmsig_conn_read(c); /* what it had said before */
    vmsig_conn_rings_drain(c);
    vmsig_conn_drop(c, NULL);
}

/* ---- accepting ----------------------------------------------------------------------------------------- */

/* A pidfd of the peer: released on the holder's death even if its socket was inherited elsewhere. -1: not to be had. */
static int peer_pidfd(int fd, pid_t pid) {
    int pidfd;
    socklen_t len = sizeof pidfd;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) == 0) /* newer kernels: no race with reuse of the pid */
        return pidfd;
    return pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
}

int vmsig_conn_new(vmsig_server *s, int fd, vmsig_conn **out) {
    struct ucred cred;
    socklen_t len = sizeof cred;
    vmsig_conn *c = calloc(1, sizeof *c);
    if (!c || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0) {
        close(fd);
        free(c);
        return -ENOMEM;
    }
    c->server = s;
    c->fd = fd;
    c->pid = cred.pid;
    c->uid = cred.uid;
    c->control = -1;
    c->pidfd = peer_pidfd(fd, cred.pid);
    c->greet_by_ns = vmsig_now_ns() + VMSIG_SERVER_HANDSHAKE_NS;
    c->next = s->conns;
    c->link = &s->conns;
    if (s->conns)
        s->conns->link = &c->next;
    s->conns = c;
    int err = vmsig_loop_add(s->cfg.loop, fd, EPOLLIN, on_conn, c);
    if (!err && c->pidfd >= 0)
        err = vmsig_loop_add(s->cfg.loop, c->pidfd, EPOLLIN, on_death, c);
    if (err) {
        vmsig_loop_remove(s->cfg.loop, fd);
        c->dropped = true;
        vmsig_conn_free(c);
        return err;
    }
    *out = c;
    return 0;
}

static bool grant_of(vmsig_server *s, uint32_t uid, vmsig_grant *out) {
    if (s->cfg.grants) {
        const vmsig_grant *g = vmsig_grants_find(s->cfg.grants, uid);
        if (g)
            *out = *g;
        return g != NULL;
    }
    *out = (vmsig_grant){.principal = uid, .endpoint_mask = s->cfg.endpoint_mask, .caps = VMSIG_CAP_ALL};
    return uid == 0 || uid == s->cfg.owner;
}

static bool rings_of(const vmsig_server *s, uint32_t uid) {
    return s->cfg.grants ? vmsig_grants_rings(s->cfg.grants, uid) : true;
}

static bool same_grant(const vmsig_grant *a, const vmsig_grant *b) {
    return a->principal == b->principal && a->endpoint_mask == b->endpoint_mask && a->caps == b->caps &&
           a->priority == b->priority;
}

static void regrant(vmsig_conn *c) {
    vmsig_grant now;
    if (!grant_of(c->server, c->uid, &now)) {
        vmsig_conn_drop(c, "has no grant any more");
        return;
    }
    c->may_rings = rings_of(c->server, c->uid);
    if (c->rings && !c->may_rings) {
        vmsig_server_say(c->server, "control %s (pid %d, uid %u) may not have rings any more: it comes back without",
                         c->name, (int)c->pid, c->uid);
        vmsig_conn_drop(c, NULL);
        return;
    }
    if (same_grant(&now, &c->grant))
        return;
    c->grant = now;
    if (c->control < 0) /* its Welcome tells */
        return;
    Vmsig__Pb__Grant told = VMSIG__PB__GRANT__INIT;
    told.principal = now.principal;
    told.endpoint_mask = now.endpoint_mask & c->server->cfg.endpoint_mask;
    told.caps = now.caps;
    told.priority = now.priority;
    if (vmsig_gate_set_grant(c->server->cfg.gate, c->control, &now) != 0 ||
        vmsig_conn_send(c, VMSIG__PB__TO_CONTROL__M_GRANT, &told, NULL, 0) != 0)
        vmsig_conn_drop(c, NULL); /* it does not listen; when it comes back, the Welcome tells */
}

void vmsig_server_regrant(vmsig_server *s, const vmsig_grants *grants) {
    s->cfg.grants = grants;
    for (vmsig_conn *c = s->conns; c; c = c->next)
        if (!c->dropped)
            regrant(c);
}

static unsigned count_of(const vmsig_server *s, uint32_t uid) {
    unsigned n = 0;
    for (const vmsig_conn *c = s->conns; c; c = c->next)
        n += c->uid == uid && !c->dropped;
    return n;
}

static void welcome_or_refuse(vmsig_server *s, int fd) {
    vmsig_conn *c;
    if (vmsig_conn_new(s, fd, &c) != 0)
        return;
    char why[128];
    if (count_of(s, c->uid) > VMSIG_SERVER_PER_UID) {
        snprintf(why, sizeof why, "is one too many: a uid may have %u connections", VMSIG_SERVER_PER_UID);
        vmsig_conn_drop(c, why);
    } else if (!grant_of(s, c->uid, &c->grant)) {
        snprintf(why, sizeof why, "has no grant: uid %u is not in the gateway's grants", c->uid);
        vmsig_conn_drop(c, why);
    }
    c->may_rings = rings_of(s, c->uid);
}

static void pause_accepting(vmsig_server *s, int err) {
    if (!s->fds_short)
        vmsig_server_say(s, "cannot accept a control: %s; trying again every 100 ms", strerror(err));
    s->fds_short = true;
    vmsig_loop_remove(s->cfg.loop, s->cfg.listen_fd);
    s->listening = false;
    s->accept_again_ns = vmsig_now_ns() + ACCEPT_PAUSE_NS;
}

static void on_listen(void *ud, uint32_t events) {
    (void)events;
    vmsig_server *s = ud;
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept4(s->cfg.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            s->fds_short = false;
            welcome_or_refuse(s, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            pause_accepting(s, errno);
        if (errno != EINTR && errno != ECONNABORTED)
            break;
    }
    set_timer(s);
}

/* ---- time ---------------------------------------------------------------------------------------------- */

static void on_timer(void *ud) {
    vmsig_server *s = ud;
    uint64_t now = vmsig_now_ns();
    if (s->accept_again_ns && now >= s->accept_again_ns) {
        s->accept_again_ns = 0;
        s->listening = vmsig_loop_add(s->cfg.loop, s->cfg.listen_fd, EPOLLIN, on_listen, s) == 0;
    }
    for (vmsig_conn *c = s->conns; c; c = c->next)
        if (!c->dropped && c->greet_by_ns && now >= c->greet_by_ns)
            vmsig_conn_drop(c, "did not say Hello within 2 s");
        else if (c->rings && c->rings->more)
            vmsig_conn_rings_look(c);
    set_timer(s);
}

/* ---- the server ---------------------------------------------------------------------------------------- */

int vmsig_server_new(const vmsig_server_cfg *cfg, vmsig_server **out) {
    vmsig_server *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->cfg = *cfg;
    int flags = fcntl(cfg->listen_fd, F_GETFL);
    int err = flags < 0 || fcntl(cfg->listen_fd, F_SETFL, flags | O_NONBLOCK) != 0 ? -errno : 0;
    if (!err)
        err = vmsig_timer_new(cfg->loop, on_timer, s, &s->timer);
    if (!err)
        err = vmsig_loop_add(cfg->loop, cfg->listen_fd, EPOLLIN, on_listen, s);
    if (err) {
        if (s->timer)
            vmsig_timer_free(s->timer);
        free(s);
        return err;
    }
    s->listening = true;
    *out = s;
    return 0;
}

void vmsig_server_close(vmsig_server *s) {
    if (s->listening)
        vmsig_loop_remove(s->cfg.loop, s->cfg.listen_fd);
    s->listening = false;
    s->accept_again_ns = 0;
}

void vmsig_server_free(vmsig_server *s) {
    if (!s)
        return;
    vmsig_server_close(s);
    for (vmsig_conn *c = s->conns; c; c = c->next)
        vmsig_conn_drop(c, NULL);
    vmsig_gate_turn(s->cfg.gate); /* closes those that are its controls */
    while (s->conns)
        vmsig_conn_free(s->conns);
    vmsig_timer_free(s->timer);
    free(s);
}

void vmsig_server_flush(vmsig_server *s) {
    for (vmsig_conn *c = s->conns, *next; c; c = next) {
        next = c->next;
        int err = c->dropped || c->want_out ? 0 : vmsig_conn_flush(c);
        if (err && err != -EAGAIN)
            vmsig_conn_drop(c, NULL);
        vmsig_conn_rings_flush(c);
        if (c->dropped && c->control < 0)
            vmsig_conn_free(c);
    }
}

void vmsig_server_retry(vmsig_server *s) {
    for (vmsig_conn *c = s->conns; c; c = c->next)
        vmsig_conn_retry(c);
}
