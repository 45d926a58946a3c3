/* Where actors with `cpu: auto` run, over a table of rates and CPUs that is made up. */
#include <criterion/criterion.h>
#include <string.h>

#include "supervisor/placement.h"

static const int two[] = {0, 1}, four[] = {2, 3, 6, 7};

/* A sensor, a context, a gateway: one chain, all automatic. */
typedef struct table {
    vmsig_place p[8];
    size_t n;
} table;

static table chain_of(size_t n) {
    table t = {.n = n};
    for (size_t i = 0; i < n; i++)
        t.p[i] = (vmsig_place){.automatic = true, .pinned = -2};
    return t;
}

static void look(table *t, double rate, unsigned looks, const int *cpus, size_t cpus_n) {
    while (looks-- > 0) {
        for (size_t i = 0; i < t->n; i++)
            t->p[i].rate = rate;
        vmsig_placement_plan(t->p, t->n, cpus, cpus_n);
    }
}

static size_t cpus_used(const table *t) {
    uint64_t mask = 0;
    for (size_t i = 0; i < t->n; i++)
        mask |= 1ull << t->p[i].cpu;
    return (size_t)__builtin_popcountll(mask);
}

Test(placement, a_slow_chain_is_together_from_the_first_look) {
    table t = chain_of(3);
    look(&t, 0, 1, two, 2);
    cr_expect_eq(cpus_used(&t), 1);
    look(&t, 19999, 100, two, 2);
    cr_expect_eq(cpus_used(&t), 1);
}

Test(placement, a_busy_one_is_spread_after_three_looks_and_not_before) {
    table t = chain_of(3);
    look(&t, 50000, 2, two, 2);
    cr_expect_eq(cpus_used(&t), 1);
    look(&t, 50000, 1, two, 2);
    cr_expect_eq(cpus_used(&t), 2);
    t = chain_of(4);
    look(&t, 50000, 3, four, 4);
    cr_expect_eq(cpus_used(&t), 4);
}

Test(placement, a_burst_moves_nobody) {
    table t = chain_of(3);
    for (int i = 0; i < 20; i++) {
        look(&t, 90000, 2, two, 2);
        look(&t, 100, 1, two, 2);
        cr_expect_eq(cpus_used(&t), 1, "%d", i);
    }
}

Test(placement, between_the_two_bounds_it_stays_as_it_is) {
    table slow = chain_of(3), busy = chain_of(3);
    look(&busy, 50000, 3, two, 2);
    look(&slow, 10000, 50, two, 2);
    look(&busy, 10000, 50, two, 2);
    cr_expect_eq(cpus_used(&slow), 1);
    cr_expect_eq(cpus_used(&busy), 2);
    look(&busy, 5000, 2, two, 2);
    cr_expect_eq(cpus_used(&busy), 2);
    look(&busy, 5000, 1, two, 2);
    cr_expect_eq(cpus_used(&busy), 1);
}

Test(placement, who_is_spread_is_not_moved_by_changing_rates) {
    table t = chain_of(3);
    look(&t, 50000, 3, two, 2);
    table before = t;
    for (size_t i = 0; i < t.n; i++)
        t.p[i].rate = 30000.0 * (double)(i + 1);
    vmsig_placement_plan(t.p, t.n, two, 2);
    for (size_t i = 0; i < t.n; i++)
        cr_expect_eq(t.p[i].cpu, before.p[i].cpu);
}

Test(placement, chains_that_are_not_linked_go_to_different_cpus) {
    table t = chain_of(4);
    t.p[2].chain = t.p[3].chain = 2;
    look(&t, 100, 1, two, 2);
    cr_expect_eq(t.p[0].cpu, t.p[1].cpu);
    cr_expect_eq(t.p[2].cpu, t.p[3].cpu);
    cr_expect_neq(t.p[0].cpu, t.p[2].cpu);
    t.p[0].rate = t.p[1].rate = 50000; /* one is busy: the other stays */
    for (int i = 0; i < 3; i++)
        vmsig_placement_plan(t.p, t.n, two, 2);
    cr_expect_neq(t.p[0].cpu, t.p[1].cpu);
    cr_expect_eq(t.p[2].cpu, t.p[3].cpu);
}

Test(placement, who_is_pinned_stays_and_draws_the_others_of_a_slow_chain) {
    table t = chain_of(3);
    t.p[1] = (vmsig_place){.pinned = 6};
    look(&t, 100, 1, four, 4);
    cr_expect_eq(t.p[0].cpu, 6);
    cr_expect_eq(t.p[2].cpu, 6);
    look(&t, 50000, 3, four, 4);
    cr_expect_neq(t.p[0].cpu, 6, "that one is taken");
    cr_expect_neq(t.p[2].cpu, 6);
    cr_expect_neq(t.p[0].cpu, t.p[2].cpu);
    cr_expect_not(t.p[1].placed);
}

Test(placement, a_cpu_that_goes_away_is_left) {
    table t = chain_of(4);
    look(&t, 50000, 3, four, 4);
    cr_expect_eq(cpus_used(&t), 4);
    look(&t, 50000, 1, four, 2);
    for (size_t i = 0; i < t.n; i++)
        cr_expect(t.p[i].cpu == 2 || t.p[i].cpu == 3);
    look(&t, 50000, 1, four, 1);
    cr_expect_eq(cpus_used(&t), 1);
    look(&t, 50000, 10, four, 1);
    cr_expect_not(t.p[0].spread, "one CPU: there is nothing to spread over");
}

Test(placement, who_comes_later_joins_its_chain) {
    table t = chain_of(2);
    look(&t, 100, 5, two, 2);
    t.p[2] = (vmsig_place){.automatic = true, .pinned = -2};
    t.n = 3;
    look(&t, 100, 1, two, 2);
    cr_expect_eq(cpus_used(&t), 1);
}

Test(placement, says_what_was_chosen_and_why) {
    table t = chain_of(3);
    char why[200];
    look(&t, 120, 1, two, 2);
    vmsig_placement_why(t.p, t.n, 0, 2, why, sizeof why);
    cr_expect(strstr(why, "together") && strstr(why, "120 events/s") && strstr(why, "20000"), "%s", why);
    look(&t, 50000, 3, two, 2);
    vmsig_placement_why(t.p, t.n, 0, 2, why, sizeof why);
    cr_expect(strstr(why, "spread") && strstr(why, "50000 events/s") && strstr(why, "5000"), "%s", why);
    vmsig_placement_why(t.p, t.n, 0, 1, why, sizeof why);
    cr_expect(strstr(why, "one CPU"), "%s", why);
}
