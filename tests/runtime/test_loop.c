#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "actors/runtime/loop.h"
#include "rings/bell.h"

#define MS UINT64_C(1000000)

typedef struct probe {
    vmsig_loop *loop;
    vmsig_timer *timer;
    int fd, other, calls, signo;
} probe;

static void count(void *ud) {
    ((probe *)ud)->calls++;
}

static void count_fd(void *ud, uint32_t events) {
    probe *p = ud;
    cr_expect(events & EPOLLIN);
    vmsig_bell_clear(p->fd);
    p->calls++;
}

/* Takes both out of the loop: the other's event in the same batch is stale. */
static void remove_both(void *ud, uint32_t events) {
    (void)events;
    probe *p = ud;
    p->calls++;
    vmsig_loop_remove(p->loop, p->fd);
    vmsig_loop_remove(p->loop, p->other);
}

static void again_at_once(void *ud) {
    probe *p = ud;
    p->calls++;
    vmsig_timer_set(p->timer, 1, 0);
}

static void free_itself(void *ud) {
    probe *p = ud;
    p->calls++;
    vmsig_timer_free(p->timer);
}

static void on_signal(void *ud, int signo) {
    probe *p = ud;
    p->calls++;
    p->signo = signo;
}

static bool has_work(void *ud) {
    return ((probe *)ud)->calls < 2;
}

static probe start(void) {
    probe p = {.fd = vmsig_bell_create(), .other = vmsig_bell_create()};
    cr_assert_eq(vmsig_loop_new(&p.loop), 0);
    return p;
}

static void end(probe *p) {
    vmsig_loop_free(p->loop);
    close(p->fd);
    close(p->other);
}

Test(loop, calls_back_for_ready_fds_only) {
    probe p = start();
    cr_assert_eq(vmsig_loop_add(p.loop, p.fd, EPOLLIN, count_fd, &p), 0);
    cr_expect_eq(vmsig_loop_add(p.loop, p.fd, EPOLLIN, count_fd, &p), -EEXIST);
    cr_expect_eq(vmsig_loop_run_once(p.loop, 0), 0);
    vmsig_bell_ring(p.fd);
    cr_expect_eq(vmsig_loop_run_once(p.loop, 1000), 1);
    cr_expect_eq(p.calls, 1);
    cr_expect_eq(vmsig_loop_remove(p.loop, p.fd), 0);
    cr_expect_eq(vmsig_loop_remove(p.loop, p.fd), -ENOENT);
    vmsig_bell_ring(p.fd);
    cr_expect_eq(vmsig_loop_run_once(p.loop, 0), 0);
    end(&p);
}

Test(loop, a_callback_may_remove_fds_whose_events_wait) {
    probe p = start();
    cr_assert_eq(vmsig_loop_add(p.loop, p.fd, EPOLLIN, remove_both, &p), 0);
    cr_assert_eq(vmsig_loop_add(p.loop, p.other, EPOLLIN, remove_both, &p), 0);
    vmsig_bell_ring(p.fd);
    vmsig_bell_ring(p.other);
    cr_expect_eq(vmsig_loop_run_once(p.loop, 1000), 1);
    cr_expect_eq(p.calls, 1);
    end(&p);
}

Test(loop, fires_timers_in_the_order_of_their_deadlines) {
    probe p[40];
    vmsig_timer *t[40];
    vmsig_loop *l;
    cr_assert_eq(vmsig_loop_new(&l), 0);
    uint64_t now = vmsig_now_ns();
    for (int i = 0; i < 40; i++) {
        p[i] = (probe){.calls = 0};
        cr_assert_eq(vmsig_timer_new(l, count, &p[i], &t[i]), 0);
        vmsig_timer_set(t[i], now + (uint64_t)((i * 7) % 40 + 1) * MS, 0);
    }
    for (int i = 0; i < 40; i += 3) /* those never fire */
        vmsig_timer_set(t[i], 0, 0);
    for (int fired = 0; fired < 26;) {
        int n = vmsig_loop_run_once(l, 1000);
        cr_assert_geq(n, 0);
        fired += n;
        uint64_t latest = 0, earliest_left = UINT64_MAX;
        for (int i = 0; i < 40; i++) {
            uint64_t at = (uint64_t)((i * 7) % 40 + 1);
            if (p[i].calls && at > latest)
                latest = at;
            if (!p[i].calls && i % 3 && at < earliest_left)
                earliest_left = at;
        }
        cr_expect_lt(latest, earliest_left);
    }
    for (int i = 0; i < 40; i++) {
        cr_expect_eq(p[i].calls, i % 3 ? 1 : 0);
        vmsig_timer_free(t[i]);
    }
    vmsig_loop_free(l);
}

Test(loop, a_periodic_timer_skips_what_it_missed) {
    probe p = start();
    cr_assert_eq(vmsig_timer_new(p.loop, count, &p, &p.timer), 0);
    vmsig_timer_set(p.timer, vmsig_now_ns() - 50 * MS, 10 * MS);
    cr_expect_eq(vmsig_loop_run_once(p.loop, 1000), 1);
    while (p.calls < 3)
        cr_assert_geq(vmsig_loop_run_once(p.loop, 1000), 0);
    vmsig_timer_free(p.timer);
    end(&p);
}

Test(loop, a_timer_set_for_the_past_does_not_starve_the_rest) {
    probe p = start();
    cr_assert_eq(vmsig_timer_new(p.loop, again_at_once, &p, &p.timer), 0);
    vmsig_timer_set(p.timer, 1, 0);
    cr_expect_eq(vmsig_loop_run_once(p.loop, 1000), 1);
    cr_expect_eq(vmsig_loop_run_once(p.loop, 1000), 1);
    vmsig_timer_free(p.timer);
    end(&p);
}

Test(loop, a_timer_may_free_itself) {
    probe p = start();
    cr_assert_eq(vmsig_timer_new(p.loop, free_itself, &p, &p.timer), 0);
    vmsig_timer_set(p.timer, 1, MS);
    cr_expect_eq(vmsig_loop_run_once(p.loop, 1000), 1);
    cr_expect_eq(vmsig_loop_run_once(p.loop, 5), 0);
    end(&p);
}

Test(loop, its_own_fd_is_readable_when_a_timer_is_due) {
    probe p = start();
    struct pollfd w = {.fd = vmsig_loop_fd(p.loop), .events = POLLIN};
    cr_assert_eq(vmsig_timer_new(p.loop, count, &p, &p.timer), 0);
    cr_expect_eq(poll(&w, 1, 0), 0);
    vmsig_timer_set(p.timer, vmsig_now_ns() + MS, 0);
    cr_expect_eq(poll(&w, 1, 5000), 1);
    cr_expect_eq(vmsig_loop_run_once(p.loop, 0), 1);
    cr_expect_eq(poll(&w, 1, 0), 0);
    vmsig_timer_free(p.timer);
    end(&p);
}

Test(loop, delivers_signals) {
    probe p = start();
    const int signals[] = {SIGTERM, SIGUSR1};
    cr_assert_eq(vmsig_loop_signals(p.loop, signals, 2, on_signal, &p), 0);
    cr_expect_eq(vmsig_loop_signals(p.loop, signals, 2, on_signal, &p), -EBUSY);
    kill(getpid(), SIGUSR1);
    cr_expect_eq(vmsig_loop_run_once(p.loop, 1000), 1);
    cr_expect_eq(p.calls, 1);
    cr_expect_eq(p.signo, SIGUSR1);
    end(&p);
}

Test(loop, does_not_sleep_while_a_hook_has_work) {
    probe p = start();
    cr_assert_eq(vmsig_loop_prepare(p.loop, has_work, &p), 0);
    cr_expect_eq(vmsig_loop_run_once(p.loop, -1), 0);
    p.calls = 2;
    cr_expect_eq(vmsig_loop_run_once(p.loop, 1), 0);
    end(&p);
}
