#include <criterion/criterion.h>
#include <signal.h>

#include "supervisor/restart.h"

#define SEC 1000000000ull

static const int killed = SIGKILL; /* wait statuses */
static const int exit_0 = 0, exit_1 = 1 << 8, exit_100 = 100 << 8;

static vmsig_topo_actor actor(vmsig_topo_restart policy, uint32_t max) {
    return (vmsig_topo_actor){.restart = policy, .restarts_max = max, .window_ns = 10 * SEC};
}

static vmsig_verdict decide(vmsig_restarts *r, const vmsig_topo_actor *a, int status, uint64_t ran_ns, uint64_t now,
                            uint64_t *delay) {
    uint32_t nth;
    vmsig_end end = {.status = status, .was_ready = ran_ns > 0, .ran_ns = ran_ns};
    return vmsig_restart_decide(r, a, &end, now, 512, delay, &nth);
}

Test(restart, follows_the_policy) {
    static const struct {
        vmsig_topo_restart policy;
        int status;
        vmsig_verdict want;
    } cases[] = {
        {VMSIG_RESTART_PERMANENT, exit_0, VMSIG_VERDICT_START},
        {VMSIG_RESTART_PERMANENT, killed, VMSIG_VERDICT_START},
        {VMSIG_RESTART_TRANSIENT, exit_0, VMSIG_VERDICT_REST},
        {VMSIG_RESTART_TRANSIENT, exit_1, VMSIG_VERDICT_START},
        {VMSIG_RESTART_TEMPORARY, killed, VMSIG_VERDICT_REST},
        {VMSIG_RESTART_TEMPORARY, exit_1, VMSIG_VERDICT_REST},
        {VMSIG_RESTART_PERMANENT, exit_100, VMSIG_VERDICT_REST},
        {VMSIG_RESTART_TRANSIENT, exit_100, VMSIG_VERDICT_REST},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vmsig_restarts r = {0};
        uint64_t delay;
        vmsig_topo_actor a = actor(cases[i].policy, 5);
        cr_expect_eq(decide(&r, &a, cases[i].status, SEC, SEC, &delay), cases[i].want, "case %zu", i);
    }
}

Test(restart, wrong_usage_is_not_tried_again) {
    vmsig_restarts r = {0};
    uint64_t delay;
    vmsig_topo_actor a = actor(VMSIG_RESTART_PERMANENT, 5);
    cr_expect_eq(decide(&r, &a, 64 << 8, 0, SEC, &delay), VMSIG_VERDICT_REST);
    cr_expect_eq(decide(&r, &a, 64 << 8, 1, SEC, &delay), VMSIG_VERDICT_START,
                 "it had been ready: it means something else");
}

Test(restart, first_at_once_then_backs_off_up_to_30_s) {
    vmsig_restarts r = {0};
    vmsig_topo_actor a = actor(VMSIG_RESTART_PERMANENT, 1000);
    uint64_t delay, now = SEC, want = VMSIG_BACKOFF_NS;
    cr_assert_eq(decide(&r, &a, killed, 1, now, &delay), VMSIG_VERDICT_START);
    cr_expect_eq(delay, 0);
    for (int i = 0; i < 12; i++) {
        now += 40 * SEC;
        cr_assert_eq(decide(&r, &a, killed, 1, now, &delay), VMSIG_VERDICT_START);
        cr_expect_eq(delay, want, "%d: %llu", i, (unsigned long long)delay); /* 512 of 1024: no jitter */
        want = want * 2 < VMSIG_BACKOFF_MAX_NS ? want * 2 : VMSIG_BACKOFF_MAX_NS;
    }
}

Test(restart, a_run_of_a_second_ends_the_waiting_but_not_the_streak) {
    vmsig_restarts r = {0};
    vmsig_topo_actor a = actor(VMSIG_RESTART_PERMANENT, 1000);
    uint64_t delay;
    decide(&r, &a, killed, 1, SEC, &delay);
    decide(&r, &a, killed, VMSIG_SHORT_RUN_NS - 1, 2 * SEC, &delay);
    cr_expect_gt(delay, 0);
    decide(&r, &a, killed, VMSIG_SHORT_RUN_NS, 3 * SEC, &delay);
    cr_expect_eq(delay, 0);
    cr_expect_eq(r.streak, 3);
}

Test(restart, jitter_stays_within_a_quarter) {
    vmsig_topo_actor a = actor(VMSIG_RESTART_PERMANENT, 1000);
    vmsig_end end = {.status = killed, .was_ready = true, .ran_ns = 1};
    for (uint32_t random = 0; random < 3000; random += 7) {
        vmsig_restarts r = {.total = 1, .streak = 1, .shorts = 1};
        uint64_t delay;
        uint32_t nth;
        cr_assert_eq(vmsig_restart_decide(&r, &a, &end, 100 * SEC, random, &delay, &nth), VMSIG_VERDICT_START);
        cr_expect_geq(delay, VMSIG_BACKOFF_NS * 3 / 4);
        cr_expect_leq(delay, VMSIG_BACKOFF_NS * 5 / 4);
    }
}

Test(restart, n_in_the_window_and_no_more) {
    vmsig_restarts r = {0};
    vmsig_topo_actor a = actor(VMSIG_RESTART_PERMANENT, 3);
    uint64_t delay;
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(decide(&r, &a, killed, 1, SEC + i, &delay), VMSIG_VERDICT_START);
    cr_expect_eq(decide(&r, &a, killed, 1, 11 * SEC, &delay), VMSIG_VERDICT_EXHAUSTED, "the first is 10 s old");
    vmsig_restarts later = r;
    cr_expect_eq(decide(&later, &a, killed, 1, 11 * SEC + 1, &delay), VMSIG_VERDICT_START, "the first is out");
}

Test(restart, a_streak_ends_by_a_stable_run_only) {
    vmsig_topo_actor a = actor(VMSIG_RESTART_PERMANENT, 2);
    uint64_t delay, now = SEC;
    vmsig_restarts r = {0};
    for (uint32_t i = 0; i < VMSIG_STREAK_FACTOR * 2; i++, now += 20 * SEC)
        cr_assert_eq(decide(&r, &a, killed, 9 * SEC, now, &delay), VMSIG_VERDICT_START, "%u", i);
    vmsig_restarts stable = r;
    cr_expect_eq(decide(&r, &a, killed, 10 * SEC - 1, now, &delay), VMSIG_VERDICT_EXHAUSTED);
    cr_expect_eq(decide(&stable, &a, killed, 10 * SEC, now, &delay), VMSIG_VERDICT_START);
    cr_expect_eq(delay, 0, "the streak begins anew");
}

Test(restart, no_limit_means_at_once_unless_it_never_comes_up) {
    vmsig_topo_actor a = actor(VMSIG_RESTART_PERMANENT, 0);
    vmsig_restarts r = {0};
    uint64_t delay;
    for (uint64_t i = 0; i < 1000; i++) {
        cr_assert_eq(decide(&r, &a, killed, 1, SEC + i, &delay), VMSIG_VERDICT_START);
        cr_assert_eq(delay, 0);
    }
    cr_assert_eq(decide(&r, &a, killed, 0, 2 * SEC, &delay), VMSIG_VERDICT_START);
    cr_expect_eq(delay, 0, "somebody killed it while it started");
    cr_assert_eq(decide(&r, &a, exit_1, 0, 2 * SEC, &delay), VMSIG_VERDICT_START);
    cr_expect_gt(delay, 0);
}

Test(restart, ends_in_words) {
    char buf[64];
    cr_expect_str_eq(vmsig_end_text(killed, buf, sizeof buf), "signal 9 (Killed)");
    cr_expect_str_eq(vmsig_end_text(exit_1, buf, sizeof buf), "exit 1");
}
