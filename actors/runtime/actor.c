/* vmsig_actor.h on top of the runtime. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "actors/runtime/actor.h"

#define OPEN_MS 10000

static int answer(int err) {
    if (err >= 0)
        return 0;
    errno = -err;
    return -1;
}

/* ---- events in --------------------------------------------------------------------------------------- */

static void receive(vmsig_actor *a, vmsig_link *in, vmsig_event *ev) {
    ev->seq = vmsig_seq_near((uintptr_t)in->ud, (uint32_t)ev->seq);
    in->ud = (void *)(uintptr_t)ev->seq;
    bool memctx = ev->kind == VMSIG_EV_MEMCTX || ev->kind == VMSIG_EV_MEMCTX_INVALID;
    if (vmsig_drive_is_command(ev->kind)) {
        vmsig_drive_command(a, ev);
        return;
    }
    if (ev->kind == VMSIG_EV_EPOCH_END)
        vmsig_drive_epochs(a);
    if (memctx && a->on_memctx)
        vmsig_pairing_event(a, ev);
    else if (a->on_event)
        a->on_event(a, ev, a->event_ud);
}

static unsigned consume(void *self, vmsig_link *in, unsigned budget) {
    vmsig_actor *a = self;
    unsigned n = 0;
    const vmsig_slot *at;
    while (n < budget && (at = vmsig_ring_peek(&in->in)) != NULL) {
        vmsig_event ev;
        if (vmsig_drive_is_command(at->kind) && !vmsig_drive_ready(a, vmsig_slot_endpoint(at)))
            break;
        int err = vmsig_ring_get_event(&in->in, &ev);
        if (err == -ENOMEM) {
            vmsig_rt_fail(a->rt, "no memory for an event from %s", in->peer);
            vmsig_rt_quit(a->rt, EXIT_FAILURE);
        }
        if (err)
            break;
        vmsig_ring_advance(&in->in); /* the callback may do what it likes to the link */
        receive(a, in, &ev);
        free(ev.payload);
        n++;
    }
    return n;
}

/* ---- open, run, free --------------------------------------------------------------------------------- */

static const vmsig_rt_ops actor_ops = {
    .consume = consume,
    .writable = vmsig_actor_writable,
    .link_added = vmsig_actor_link_added,
    .link_removed = vmsig_actor_link_removed,
    .ram = vmsig_pairing_ram,
    .page = vmsig_pairing_page,
};

vmsig_actor *vmsig_actor_open(void) {
    vmsig_actor *a = calloc(1, sizeof(*a));
    if (!a)
        return NULL;
    int err = vmsig_rt_open(&actor_ops, a, OPEN_MS, &a->rt);
    if (!err)
        err = vmsig_timer_new(vmsig_rt_loop(a->rt), vmsig_pairing_late, a, &a->ram_timer);
    if (err) {
        vmsig_actor_free(a);
        errno = -err;
        return NULL;
    }
    return a;
}

static void forget(vmsig_actor *a, vmsig_watch *w) {
    if (w->timer)
        vmsig_timer_free(w->timer);
    else
        vmsig_loop_remove(vmsig_rt_loop(a->rt), w->fd);
    free(w);
}

void vmsig_actor_free(vmsig_actor *a) {
    if (!a)
        return;
    while (a->watches) {
        vmsig_watch *w = a->watches;
        a->watches = w->next;
        forget(a, w);
    }
    vmsig_pairing_drop(a);
    vmsig_drive_drop(a);
    vmsig_timer_free(a->ram_timer);
    vmsig_rt_close(a->rt);
    free(a);
}

int vmsig_actor_run(vmsig_actor *a) {
    if (!a)
        return answer(-EINVAL);
    if (vmsig_drive_start(a) < 0)
        return EXIT_FAILURE;
    int code = vmsig_rt_run(a->rt);
    vmsig_drive_end(a);
    return code;
}

void vmsig_actor_stop(vmsig_actor *a, int exit_code) {
    if (a)
        vmsig_rt_quit(a->rt, exit_code);
}

/* ---- who it is --------------------------------------------------------------------------------------- */

const char *vmsig_actor_name(const vmsig_actor *a) {
    return a ? vmsig_rt_boot(a->rt)->name : "";
}

uint32_t vmsig_actor_endpoint(const vmsig_actor *a) {
    return a ? vmsig_rt_boot(a->rt)->endpoint : 0;
}

uint32_t vmsig_actor_source(const vmsig_actor *a) {
    return a ? vmsig_rt_boot(a->rt)->source : 0;
}

uint32_t vmsig_actor_epoch(const vmsig_actor *a) {
    return a ? vmsig_rt_epoch(a->rt, vmsig_actor_endpoint(a)) : 0;
}

/* ---- timers and fds ---------------------------------------------------------------------------------- */

static void on_timer(void *ud) {
    vmsig_watch *w = ud;
    w->fn(w->actor, w->ud);
}

static void on_fd(void *ud, uint32_t events) {
    (void)events;
    on_timer(ud);
}

static vmsig_watch *new_watch(vmsig_actor *a, void (*fn)(vmsig_actor *a, void *ud), void *ud) {
    vmsig_watch *w = calloc(1, sizeof(*w));
    if (w)
        *w = (vmsig_watch){.actor = a, .fd = -1, .fn = fn, .ud = ud};
    return w;
}

static int keep(vmsig_actor *a, vmsig_watch *w, int err) {
    if (err) {
        free(w);
        return answer(err);
    }
    w->next = a->watches;
    a->watches = w;
    return 0;
}

int vmsig_actor_every(vmsig_actor *a, uint64_t period_ns, void (*fn)(vmsig_actor *a, void *ud), void *ud) {
    if (!a || period_ns == 0 || !fn)
        return answer(-EINVAL);
    vmsig_watch *w = new_watch(a, fn, ud);
    if (!w)
        return answer(-ENOMEM);
    int err = vmsig_timer_new(vmsig_rt_loop(a->rt), on_timer, w, &w->timer);
    if (!err)
        vmsig_timer_set(w->timer, vmsig_now_ns() + period_ns, period_ns);
    return keep(a, w, err);
}

int vmsig_actor_watch(vmsig_actor *a, int fd, void (*fn)(vmsig_actor *a, void *ud), void *ud) {
    if (!a || !fn)
        return answer(-EINVAL);
    vmsig_watch *w = new_watch(a, fn, ud);
    if (!w)
        return answer(-ENOMEM);
    w->fd = fd;
    return keep(a, w, vmsig_loop_add(vmsig_rt_loop(a->rt), fd, EPOLLIN, on_fd, w));
}

int vmsig_actor_unwatch(vmsig_actor *a, int fd) {
    if (!a)
        return answer(-EINVAL);
    for (vmsig_watch **at = &a->watches; *at; at = &(*at)->next) {
        vmsig_watch *w = *at;
        if (w->timer || w->fd != fd)
            continue;
        *at = w->next;
        forget(a, w);
        return 0;
    }
    return answer(-ENOENT);
}

void vmsig_actor_on_event(vmsig_actor *a, void (*fn)(vmsig_actor *a, const vmsig_event *ev, void *ud), void *ud) {
    if (!a)
        return;
    a->on_event = fn;
    a->event_ud = ud;
}

void vmsig_actor_on_memctx(vmsig_actor *a, void (*fn)(vmsig_actor *a, const vmsig_event *ev, int fd, void *ud),
                           void *ud) {
    if (!a)
        return;
    a->on_memctx = fn;
    a->memctx_ud = ud;
}
