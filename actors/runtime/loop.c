#include "actors/runtime/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define BATCH    64   /* ready fds taken in one round */
#define HOOKS    4    /* prepare hooks of one loop */
#define DISARMED (-1) /* heap place of a timer that waits for nothing */

typedef struct source {
    int fd;
    bool removed; /* events of the batch in hand that are still to come are stale */
    vmsig_fd_fn fn;
    void *ud;
    struct source *next_removed;
} source;

struct vmsig_timer {
    vmsig_loop *loop;
    vmsig_timer_fn fn;
    void *ud;
    uint64_t deadline_ns, period_ns;
    int place; /* in the heap, or DISARMED */
};

struct vmsig_loop {
    int epoll, timerfd, signalfd;
    unsigned depth; /* of run_once: removed sources are freed when the outermost one ends */
    source **by_fd; /* indexed by fd */
    int by_fd_len;
    source *removed;
    vmsig_timer **heap; /* by deadline; room for every timer that exists */
    int heap_len, timers, heap_room;
    uint64_t armed_ns; /* what the timerfd is set for; 0 = disarmed */
    struct {
        vmsig_prepare_fn fn;
        void *ud;
    } hooks[HOOKS];
    unsigned hooks_n;
    void (*signal_fn)(void *ud, int signo);
    void *signal_ud;
};

uint64_t vmsig_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- fds --------------------------------------------------------------------------------------------- */

static source *find(const vmsig_loop *l, int fd) {
    return fd >= 0 && fd < l->by_fd_len ? l->by_fd[fd] : NULL;
}

static int make_place(vmsig_loop *l, int fd) {
    if (fd < l->by_fd_len)
        return 0;
    int len = fd + 32;
    source **grown = realloc(l->by_fd, (size_t)len * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    for (int i = l->by_fd_len; i < len; i++)
        grown[i] = NULL;
    l->by_fd = grown;
    l->by_fd_len = len;
    return 0;
}

int vmsig_loop_add(vmsig_loop *l, int fd, uint32_t events, vmsig_fd_fn fn, void *ud) {
    if (fd < 0)
        return -EBADF;
    if (find(l, fd))
        return -EEXIST;
    int err = make_place(l, fd);
    if (err)
        return err;
    source *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    *s = (source){.fd = fd, .fn = fn, .ud = ud};
    struct epoll_event e = {.events = events, .data.ptr = s};
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) < 0) {
        err = -errno;
        free(s);
        return err;
    }
    l->by_fd[fd] = s;
    return 0;
}

int vmsig_loop_modify(vmsig_loop *l, int fd, uint32_t events) {
    source *s = find(l, fd);
    if (!s)
        return -ENOENT;
    struct epoll_event e = {.events = events, .data.ptr = s};
    return epoll_ctl(l->epoll, EPOLL_CTL_MOD, fd, &e) < 0 ? -errno : 0;
}

int vmsig_loop_remove(vmsig_loop *l, int fd) {
    source *s = find(l, fd);
    if (!s)
        return -ENOENT;
    int err = epoll_ctl(l->epoll, EPOLL_CTL_DEL, fd, NULL) < 0 ? -errno : 0;
    l->by_fd[fd] = NULL;
    s->removed = true;
    s->next_removed = l->removed;
    l->removed = s;
    return err;
}

static void bury(vmsig_loop *l) {
    while (l->removed) {
        source *s = l->removed;
        l->removed = s->next_removed;
        free(s);
    }
}

/* ---- timers: a binary heap --------------------------------------------------------------------------- */

static void put_at(vmsig_loop *l, int place, vmsig_timer *t) {
    l->heap[place] = t;
    t->place = place;
}

static void sift_up(vmsig_loop *l, int place, vmsig_timer *t) {
    while (place > 0) {
        int parent = (place - 1) / 2;
        if (l->heap[parent]->deadline_ns <= t->deadline_ns)
            break;
        put_at(l, place, l->heap[parent]);
        place = parent;
    }
    put_at(l, place, t);
}

static void sift_down(vmsig_loop *l, int place, vmsig_timer *t) {
    for (;;) {
        int child = 2 * place + 1;
        if (child >= l->heap_len)
            break;
        if (child + 1 < l->heap_len && l->heap[child + 1]->deadline_ns < l->heap[child]->deadline_ns)
            child++;
        if (t->deadline_ns <= l->heap[child]->deadline_ns)
            break;
        put_at(l, place, l->heap[child]);
        place = child;
    }
    put_at(l, place, t);
}

static void disarm(vmsig_timer *t) {
    vmsig_loop *l = t->loop;
    if (t->place == DISARMED)
        return;
    vmsig_timer *last = l->heap[--l->heap_len];
    if (last != t) {
        sift_up(l, t->place, last);
        sift_down(l, last->place, last);
    }
    t->place = DISARMED;
}

static void arm(vmsig_timer *t, uint64_t deadline_ns) {
    disarm(t);
    t->deadline_ns = deadline_ns;
    sift_up(t->loop, t->loop->heap_len++, t);
}

/* Sets the timerfd to the earliest deadline; no system call while that stays the same. */
static void set_timerfd(vmsig_loop *l) {
    uint64_t at = l->heap_len ? l->heap[0]->deadline_ns : 0;
    if (at == l->armed_ns)
        return;
    struct itimerspec spec = {
        .it_value = {.tv_sec = (time_t)(at / 1000000000u), .tv_nsec = (long)(at % 1000000000u)},
    };
    timerfd_settime(l->timerfd, TFD_TIMER_ABSTIME, &spec, NULL);
    l->armed_ns = at;
}

int vmsig_timer_new(vmsig_loop *l, vmsig_timer_fn fn, void *ud, vmsig_timer **out) {
    if (l->timers == l->heap_room) {
        int room = l->heap_room ? 2 * l->heap_room : 8;
        vmsig_timer **grown = realloc(l->heap, (size_t)room * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        l->heap = grown;
        l->heap_room = room;
    }
    vmsig_timer *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    *t = (vmsig_timer){.loop = l, .fn = fn, .ud = ud, .place = DISARMED};
    l->timers++;
    *out = t;
    return 0;
}

void vmsig_timer_set(vmsig_timer *t, uint64_t deadline_ns, uint64_t period_ns) {
    t->period_ns = period_ns;
    if (deadline_ns)
        arm(t, deadline_ns);
    else
        disarm(t);
    if (t->loop->depth == 0) /* a round arms once, when it is over */
        set_timerfd(t->loop);
}

void vmsig_timer_free(vmsig_timer *t) {
    if (!t)
        return;
    vmsig_timer_set(t, 0, 0);
    t->loop->timers--;
    free(t);
}

/* Calls those that were due at `now`; a timer that is set anew for the past waits for the next round. */
static int run_timers(vmsig_loop *l) {
    uint64_t now = l->heap_len ? vmsig_now_ns() : 0;
    int ran = 0;
    for (int most = l->heap_len; most > 0 && l->heap_len && l->heap[0]->deadline_ns <= now; most--, ran++) {
        vmsig_timer *t = l->heap[0];
        if (t->period_ns)
            arm(t, t->deadline_ns + ((now - t->deadline_ns) / t->period_ns + 1) * t->period_ns);
        else
            disarm(t);
        t->fn(t->ud);
    }
    return ran;
}

static void on_timerfd(void *ud, uint32_t events) {
    (void)events;
    vmsig_loop *l = ud;
    uint64_t count;
    if (read(l->timerfd, &count, sizeof(count)) == sizeof(count))
        l->armed_ns = 0; /* it fired, and is disarmed */
}

/* ---- signals ----------------------------------------------------------------------------------------- */

static void on_signalfd(void *ud, uint32_t events) {
    (void)events;
    vmsig_loop *l = ud;
    struct signalfd_siginfo info;
    while (l->signalfd >= 0 && read(l->signalfd, &info, sizeof(info)) == sizeof(info))
        l->signal_fn(l->signal_ud, (int)info.ssi_signo);
}

int vmsig_loop_signals(vmsig_loop *l, const int *signals, int n, void (*fn)(void *ud, int signo), void *ud) {
    if (l->signalfd >= 0)
        return -EBUSY;
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < n; i++)
        sigaddset(&set, signals[i]);
    int err = -pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (err)
        return err;
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    l->signal_fn = fn;
    l->signal_ud = ud;
    err = vmsig_loop_add(l, fd, EPOLLIN, on_signalfd, l);
    if (err) {
        close(fd);
        return err;
    }
    l->signalfd = fd;
    return 0;
}

/* ---- the loop ---------------------------------------------------------------------------------------- */

int vmsig_loop_new(vmsig_loop **out) {
    vmsig_loop *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->signalfd = -1;
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->timerfd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    int err = l->epoll < 0 || l->timerfd < 0 ? -errno : vmsig_loop_add(l, l->timerfd, EPOLLIN, on_timerfd, l);
    if (err) {
        vmsig_loop_free(l);
        return err;
    }
    *out = l;
    return 0;
}

void vmsig_loop_free(vmsig_loop *l) {
    if (!l)
        return;
    for (int fd = 0; fd < l->by_fd_len; fd++)
        free(l->by_fd[fd]);
    bury(l);
    for (int i = 0; i < l->heap_len; i++)
        l->heap[i]->place = DISARMED;
    free(l->by_fd);
    free(l->heap);
    if (l->signalfd >= 0)
        close(l->signalfd);
    if (l->timerfd >= 0)
        close(l->timerfd);
    if (l->epoll >= 0)
        close(l->epoll);
    free(l);
}

int vmsig_loop_prepare(vmsig_loop *l, vmsig_prepare_fn fn, void *ud) {
    if (l->hooks_n == HOOKS)
        return -ENOSPC;
    l->hooks[l->hooks_n].fn = fn;
    l->hooks[l->hooks_n].ud = ud;
    l->hooks_n++;
    return 0;
}

int vmsig_loop_fd(const vmsig_loop *l) {
    return l->epoll;
}

static bool any_work(vmsig_loop *l) {
    bool work = false;
    for (unsigned i = 0; i < l->hooks_n; i++)
        work |= l->hooks[i].fn(l->hooks[i].ud);
    return work;
}

int vmsig_loop_run_once(vmsig_loop *l, int timeout_ms) {
    struct epoll_event batch[BATCH];
    l->depth++;
    if (any_work(l))
        timeout_ms = 0;
    set_timerfd(l);
    int ready = epoll_wait(l->epoll, batch, BATCH, timeout_ms);
    int ran = ready < 0 && errno != EINTR ? -errno : 0;
    for (int i = 0; i < ready; i++) {
        source *s = batch[i].data.ptr;
        if (s->removed)
            continue;
        s->fn(s->ud, batch[i].events);
        ran += s->fn != on_timerfd;
    }
    if (ran >= 0)
        ran += run_timers(l);
    if (--l->depth == 0) {
        bury(l);
        set_timerfd(l); /* for whoever waits on the loop's own fd */
    }
    return ran;
}
