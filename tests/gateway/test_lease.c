#include "actors/gateway/lease.h"
#include "rings/fence.h"
#include "tests/gateway/world.h"

#define SEC 1000000000ull

/* Acquires for s: its token. */
static uint64_t acquire(world *w, seen *s, uint32_t ttl_ms) {
    static uint64_t corr = 1000;
    corr++;
    cr_assert_eq(world_lease(w, s, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, ttl_ms, corr), 0);
    uint64_t token = 0;
    cr_assert_eq(seen_status(s, corr, &token), VMSIG_OK);
    cr_expect_eq(seen_lease(s).state, VMSIG_LEASE_GRANTED);
    cr_expect_eq(seen_lease(s).token, token);
    return token;
}
static bool allowed(world *w, uint64_t token) {
    return vmsig_fence_allows(w->fences, 0, VMSIG_LEASE_INPUT, token);
}
static int press(world *w, seen *s, uint64_t token) {
    static uint64_t corr = 5000;
    vmsig_event key = world_key(0, token, ++corr);
    int before = w->sent_n;
    cr_assert_eq(vmsig_inproc_send(s->ctl, &key), 0);
    vmsig_gate_turn(w->gate);
    return w->sent_n > before ? VMSIG_OK : seen_status(s, corr, NULL);
}

Test(lease, is_granted_with_a_token_that_opens_the_fence_and_lets_commands_through) {
    world *w = world_new();
    seen *a = world_control(w, 1, 0);
    cr_expect_eq(press(w, a, 0), VMSIG_NOLEASE);
    cr_expect_eq(press(w, a, 12), VMSIG_FENCED);
    uint64_t token = acquire(w, a, 0);
    cr_expect(allowed(w, token));
    cr_expect_eq(press(w, a, token), VMSIG_OK);
    cr_expect_eq(press(w, a, token + 1), VMSIG_FENCED);
    cr_expect_eq(press(w, a, 0), VMSIG_NOLEASE);
    world_free(w);
}

Test(lease, a_denial_names_the_holder_and_equal_priority_keeps_it) {
    world *w = world_new();
    seen *a = world_control(w, 11, 5), *b = world_control(w, 22, 5);
    uint64_t token = acquire(w, a, 0);
    world_lease(w, b, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0, 1);
    uint64_t holder = 0;
    cr_expect_eq(seen_status(b, 1, &holder), VMSIG_HELD);
    cr_expect_eq(holder, 11);
    cr_expect_eq(seen_lease(b).state, VMSIG_LEASE_DENIED);
    cr_expect_eq(seen_lease(b).holder, 11);
    cr_expect(allowed(w, token));
    world_free(w);
}

Test(lease, a_release_fences_waits_for_quiet_and_only_then_the_next_has_it) {
    world *w = world_new();
    seen *a = world_control(w, 11, 0), *b = world_control(w, 22, 0);
    uint64_t t1 = acquire(w, a, 0);
    world_lease(w, a, 0, VMSIG_LEASE_RELEASE, VMSIG_LEASE_INPUT, 0, 1);
    cr_expect_eq(seen_status(a, 1, NULL), VMSIG_OK);
    cr_expect_not(allowed(w, t1));
    vmsig_lease asked;
    memcpy(&asked, w->sent[w->sent_n - 1].inln, sizeof asked);
    cr_expect_eq(asked.op, VMSIG_LEASE_FENCE);
    world_lease(w, b, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0, 1);
    cr_expect_eq(seen_status(b, 1, NULL), -1, "not before the host is quiet");
    world_quiet(w, VMSIG_OK);
    uint64_t t2 = 0;
    cr_expect_eq(seen_status(b, 1, &t2), VMSIG_OK);
    cr_expect_gt(t2, t1);
    cr_expect(allowed(w, t2));
    cr_expect_not(allowed(w, t1));
    world_free(w);
}

Test(lease, ends_at_its_ttl_sharp_and_a_renewal_at_that_instant_fails) {
    world *w = world_new();
    seen *a = world_control(w, 11, 0);
    uint64_t token = acquire(w, a, 100);
    w->now += 100000000u - 1;
    cr_expect_eq(press(w, a, token), VMSIG_OK);
    world_lease(w, a, 0, VMSIG_LEASE_RENEW, VMSIG_LEASE_INPUT, 0, 1);
    cr_expect_eq(seen_status(a, 1, NULL), VMSIG_OK);
    w->now += 100000000u;
    vmsig_event renew = world_lease_cmd(0, VMSIG_LEASE_RENEW, VMSIG_LEASE_INPUT, 0, 2);
    cr_assert_eq(vmsig_inproc_send(a->ctl, &renew), 0); /* no turn in between: the command itself looks */
    cr_expect_not(allowed(w, token));
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_status(a, 2, NULL), VMSIG_NOLEASE);
    cr_expect_eq(seen_lease(a).state, VMSIG_LEASE_REVOKED);
    world_free(w);
}

Test(lease, a_command_at_the_instant_of_expiry_has_no_effect) {
    world *w = world_new();
    seen *a = world_control(w, 11, 0);
    uint64_t token = acquire(w, a, 100);
    w->now += 100000000u;
    vmsig_event key = world_key(0, token, 9);
    int before = w->sent_n;
    cr_assert_eq(vmsig_inproc_send(a->ctl, &key), 0);
    cr_expect_eq(w->sent_n, before);
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_status(a, 9, NULL), VMSIG_FENCED);
    world_free(w);
}

Test(lease, the_turn_after_the_deadline_revokes_by_itself) {
    world *w = world_new();
    seen *a = world_control(w, 11, 0);
    acquire(w, a, 100);
    w->now = vmsig_gate_deadline(w->gate);
    for (int i = 0; i < 3 && seen_lease(a).state != VMSIG_LEASE_REVOKED; i++) {
        vmsig_gate_turn(w->gate);
        w->now = vmsig_gate_deadline(w->gate) > w->now ? vmsig_gate_deadline(w->gate) : w->now;
    }
    cr_expect_eq(seen_lease(a).state, VMSIG_LEASE_REVOKED);
    world_free(w);
}

Test(lease, is_released_when_the_holder_goes) {
    world *w = world_new();
    seen *a = world_control(w, 11, 0), *b = world_control(w, 22, 0);
    uint64_t token = acquire(w, a, 0);
    vmsig_gate_detach(w->gate, a->id, true);
    cr_expect_not(allowed(w, token), "at once, not at the next turn");
    vmsig_gate_turn(w->gate);
    world_quiet(w, VMSIG_OK);
    cr_expect_gt(acquire(w, b, 0), token);
    world_free(w);
}

Test(lease, the_end_of_the_epoch_voids_it) {
    world *w = world_new();
    seen *a = world_control(w, 11, 0);
    uint64_t token = acquire(w, a, 0);
    w->epoch[0] = 8;
    vmsig_gate_turn(w->gate);
    cr_expect_not(allowed(w, token));
    cr_expect_eq(seen_lease(a).state, VMSIG_LEASE_REVOKED);
    cr_expect_gt(acquire(w, a, 0), token); /* the host has let go by itself: at once */
    world_free(w);
}

/* The gate reads the epoch where the host has moved it, before its next turn. */
Test(lease, of_an_ended_epoch_admits_nothing_and_is_given_anew_before_the_turn) {
    world *w = world_new();
    seen *a = world_control(w, 11, 0), *b = world_control(w, 22, 0);
    uint64_t token = acquire(w, a, 0);
    w->epoch[0] = 8;
    vmsig_event key = world_key(0, token, 1), ask = world_lease_cmd(0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0, 2);
    int before = w->sent_n;
    cr_assert_eq(vmsig_inproc_send(a->ctl, &key), 0);
    cr_assert_eq(vmsig_inproc_send(b->ctl, &ask), 0);
    vmsig_gate_turn(w->gate);
    cr_expect_eq(w->sent_n, before, "nothing to the host");
    cr_expect_eq(seen_status(a, 1, NULL), VMSIG_FENCED);
    cr_expect_eq(seen_lease(a).state, VMSIG_LEASE_REVOKED);
    cr_expect_eq(seen_status(b, 2, NULL), VMSIG_OK);
    world_free(w);
}

static vmsig_arb_decision counts(void *ud, uint32_t endpoint, uint32_t cls, const vmsig_grant *incumbent,
                                 const vmsig_grant *contender) {
    ++*(int *)ud;
    return vmsig_arb_default(NULL, endpoint, cls, incumbent, contender);
}

Test(lease, a_refused_preemption_cannot_be_retried_in_a_storm) {
    world *w = world_new();
    seen *a = world_control(w, 11, 5), *b = world_control(w, 22, 5);
    int asked = 0;
    vmsig_gate_set_arbiter(w->gate, counts, &asked);
    acquire(w, a, 60000);
    for (uint64_t corr = 1; corr <= 100; corr++) {
        world_lease(w, b, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0, corr);
        cr_expect_eq(seen_status(b, corr, NULL), VMSIG_HELD, "each is answered");
    }
    cr_expect_eq(asked, 16);
    w->now += SEC / 10;
    for (uint64_t corr = 101; corr <= 110; corr++)
        world_lease(w, b, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0, corr);
    cr_expect_eq(asked, 17, "one more each 100 ms");
    w->now += 10 * SEC;
    world_grant(w, b, 22, UINT64_MAX, VMSIG_CAP_ALL, 6);
    world_lease(w, b, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0, 200);
    world_quiet(w, VMSIG_OK);
    cr_expect_eq(seen_status(b, 200, NULL), VMSIG_OK);
    world_free(w);
}

Test(lease, preemption_raises_the_fence_first_and_grants_after_quiet) {
    world *w = world_new();
    seen *a = world_control(w, 11, 1), *b = world_control(w, 22, 2);
    uint64_t t1 = acquire(w, a, 0);
    world_lease(w, b, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0, 1);
    cr_expect_not(allowed(w, t1));
    cr_expect_eq(seen_lease(a).state, VMSIG_LEASE_REVOKED);
    cr_expect_eq(seen_status(b, 1, NULL), -1);
    cr_expect_eq(press(w, a, t1), VMSIG_FENCED);
    world_quiet(w, VMSIG_OK);
    uint64_t t2 = 0;
    cr_expect_eq(seen_status(b, 1, &t2), VMSIG_OK);
    cr_expect(allowed(w, t2));
    world_free(w);
}

Test(lease, a_host_that_never_becomes_quiet_closes_the_class) {
    world *w = world_new();
    seen *a = world_control(w, 11, 1), *b = world_control(w, 22, 2), *c = world_control(w, 33, 3);
    acquire(w, a, 60000);
    world_lease(w, b, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0, 1);
    int asked = w->sent_n;
    w->now += SEC - 1;
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_status(b, 1, NULL), -1);
    w->now += 1;
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_status(b, 1, NULL), VMSIG_UNAVAILABLE);
    for (uint64_t i = 2; i < 50; i++)
        world_lease(w, c, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0, i);
    cr_expect_eq(seen_status(c, 2, NULL), VMSIG_UNAVAILABLE);
    cr_expect_eq(w->sent_n, asked, "no storm of fences");
    world_quiet(w, VMSIG_OK); /* late, but it is quiet */
    acquire(w, c, 0);
    world_free(w);
}

Test(lease, each_endpoint_has_a_bound_of_its_own) {
    world *w = world_new();
    vmsig_gate_free(w->gate);
    w->env.quiet_ns[1] = 50;
    world_boot(w);
    seen *a = world_control(w, 11, 1), *b = world_control(w, 22, 2);
    static const uint64_t bound[] = {SEC, 50};
    for (uint32_t ep = 0; ep < 2; ep++) {
        world_lease(w, a, ep, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_POWER, 0, 1 + ep);
        world_lease(w, b, ep, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_POWER, 0, 1 + ep);
        w->now += bound[ep] - 1;
        vmsig_gate_turn(w->gate);
        cr_expect_eq(vmsig_gate_lease(w->gate, ep, VMSIG_LEASE_POWER, NULL, NULL), VMSIG_SLOT_FENCING);
        w->now += 1;
        vmsig_gate_turn(w->gate);
        cr_expect_eq(vmsig_gate_lease(w->gate, ep, VMSIG_LEASE_POWER, NULL, NULL), VMSIG_SLOT_CLOSED);
        cr_expect_eq(seen_status(b, 1 + ep, NULL), VMSIG_UNAVAILABLE);
    }
    world_free(w);
}

Test(lease, a_host_that_says_it_cannot_closes_the_class_until_its_epoch_moves) {
    world *w = world_new();
    seen *a = world_control(w, 11, 1), *b = world_control(w, 22, 2);
    acquire(w, a, 0);
    world_lease(w, b, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0, 1);
    world_quiet(w, VMSIG_TIMEOUT);
    cr_expect_eq(seen_status(b, 1, NULL), VMSIG_UNAVAILABLE);
    world_lease(w, b, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0, 2);
    cr_expect_eq(seen_status(b, 2, NULL), VMSIG_UNAVAILABLE);
    w->epoch[0] = 8;
    vmsig_gate_turn(w->gate);
    acquire(w, b, 0);
    world_free(w);
}

static void acquire_queued(world *w, seen *s, uint64_t corr) {
    vmsig_event cmd = world_lease_cmd(0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0, corr);
    vmsig_lease l;
    memcpy(&l, cmd.inln, sizeof l);
    l.flags = VMSIG_LEASE_QUEUE;
    memcpy(cmd.inln, &l, sizeof l);
    cr_assert_eq(vmsig_inproc_send(s->ctl, &cmd), 0);
    vmsig_gate_turn(w->gate);
}

Test(lease, those_in_line_get_it_one_after_the_other) {
    world *w = world_new();
    seen *a = world_control(w, 1, 0), *b = world_control(w, 2, 0), *c = world_control(w, 3, 0);
    acquire(w, a, 0);
    acquire_queued(w, b, 1);
    acquire_queued(w, c, 1);
    cr_expect_eq(seen_lease(b).state, VMSIG_LEASE_QUEUED);
    cr_expect_eq(seen_lease(c).state, VMSIG_LEASE_QUEUED);
    world_lease(w, a, 0, VMSIG_LEASE_RELEASE, VMSIG_LEASE_INPUT, 0, 2);
    world_quiet(w, VMSIG_OK);
    cr_expect_eq(seen_status(b, 1, NULL), VMSIG_OK);
    cr_expect_eq(seen_status(c, 1, NULL), -1);
    vmsig_gate_detach(w->gate, b->id, true);
    vmsig_gate_turn(w->gate);
    world_quiet(w, VMSIG_OK);
    cr_expect_eq(seen_status(c, 1, NULL), VMSIG_OK);
    world_free(w);
}

Test(lease, one_in_line_that_goes_is_passed_over) {
    world *w = world_new();
    seen *a = world_control(w, 1, 0), *b = world_control(w, 2, 0), *c = world_control(w, 3, 0);
    acquire(w, a, 0);
    acquire_queued(w, b, 1);
    acquire_queued(w, c, 1);
    vmsig_gate_detach(w->gate, b->id, true);
    vmsig_gate_turn(w->gate);
    world_lease(w, a, 0, VMSIG_LEASE_RELEASE, VMSIG_LEASE_INPUT, 0, 2);
    world_quiet(w, VMSIG_OK);
    cr_expect_eq(seen_status(c, 1, NULL), VMSIG_OK);
    world_free(w);
}

Test(lease, waiting_in_line_has_an_end) {
    world *w = world_new();
    seen *a = world_control(w, 1, 0), *b = world_control(w, 2, 0);
    acquire(w, a, 1000000);
    acquire_queued(w, b, 1);
    w->now += 60 * SEC - 1;
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_status(b, 1, NULL), -1);
    w->now += 1;
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_status(b, 1, NULL), VMSIG_TIMEOUT);
    world_free(w);
}

Test(lease, a_new_epoch_answers_those_in_line_as_fenced) {
    world *w = world_new();
    seen *a = world_control(w, 1, 0), *b = world_control(w, 2, 0);
    acquire(w, a, 0);
    acquire_queued(w, b, 1);
    w->epoch[0] = 8;
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_status(b, 1, NULL), VMSIG_FENCED);
    world_free(w);
}

static int asked_arbiter;
static vmsig_arb_decision decide(void *ud, uint32_t endpoint, uint32_t cls, const vmsig_grant *incumbent,
                                 const vmsig_grant *contender) {
    cr_expect_eq(endpoint, 0);
    cr_expect_eq(cls, VMSIG_LEASE_INPUT);
    cr_expect_eq(incumbent->principal, 1);
    cr_expect_eq(contender->principal, 2);
    asked_arbiter++;
    return *(vmsig_arb_decision *)ud;
}

Test(lease, the_arbiter_decides_and_is_asked_only_while_a_live_owner_holds) {
    world *w = world_new();
    vmsig_arb_decision d = VMSIG_ARB_PREEMPT;
    asked_arbiter = 0;
    vmsig_gate_set_arbiter(w->gate, decide, &d);
    seen *a = world_control(w, 1, 9), *b = world_control(w, 2, 0);
    acquire(w, a, 0);
    acquire(w, a, 0); /* its own: not asked */
    cr_expect_eq(asked_arbiter, 0);
    world_lease(w, b, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0, 1);
    cr_expect_eq(asked_arbiter, 1);
    world_quiet(w, VMSIG_OK);
    cr_expect_eq(seen_status(b, 1, NULL), VMSIG_OK);
    vmsig_gate_detach(w->gate, b->id, true);
    vmsig_gate_turn(w->gate);
    world_quiet(w, VMSIG_OK);
    acquire(w, a, 0); /* a dead owner is a free slot */
    cr_expect_eq(asked_arbiter, 1);
    world_free(w);
}

static const vmsig_grant *met[2];
static uint32_t met_priority[2];
static vmsig_arb_decision meet(void *ud, uint32_t endpoint, uint32_t cls, const vmsig_grant *incumbent,
                               const vmsig_grant *contender) {
    (void)ud, (void)endpoint, (void)cls;
    met[0] = incumbent;
    met[1] = contender;
    met_priority[0] = incumbent->priority;
    met_priority[1] = contender->priority;
    return VMSIG_ARB_DENY;
}

/* Not copies: what is set later shows through the pointers of before. */
Test(lease, the_arbiter_sees_the_live_grants) {
    world *w = world_new();
    vmsig_gate_set_arbiter(w->gate, meet, NULL);
    seen *a = world_control(w, 1, 5), *b = world_control(w, 2, 6);
    acquire(w, a, 0);
    world_lease(w, b, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0, 1);
    const vmsig_grant *incumbent = met[0], *contender = met[1];
    cr_expect_eq(met_priority[0], 5u);
    cr_expect_eq(met_priority[1], 6u);
    world_grant(w, a, 1, 3, VMSIG_CAP_ALL, 50);
    world_grant(w, b, 2, 3, VMSIG_CAP_ALL, 60);
    cr_expect_eq(incumbent->priority, 50u);
    cr_expect_eq(contender->priority, 60u);
    world_lease(w, b, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0, 2);
    cr_expect_eq(met[0], incumbent);
    cr_expect_eq(met[1], contender);
    cr_expect_eq(met_priority[0], 50u);
    world_free(w);
}

Test(lease, a_narrowed_grant_takes_it_away_at_once) {
    world *w = world_new();
    seen *a = world_control(w, 1, 0);
    uint64_t token = acquire(w, a, 0);
    world_grant(w, a, 1, 3, VMSIG_CAP_ALL & ~VMSIG_CAP_POWER, 0);
    cr_expect(allowed(w, token));
    world_grant(w, a, 1, 3, VMSIG_CAP_ALL & ~VMSIG_CAP_INPUT, 0);
    cr_expect_not(allowed(w, token));
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_lease(a).state, VMSIG_LEASE_REVOKED);
    cr_expect_eq(press(w, a, token), VMSIG_NOCAP);
    world_free(w);
}

Test(lease, the_fence_op_of_the_bus_is_refused_from_a_control) {
    world *w = world_new();
    seen *a = world_control(w, 1, 0);
    world_lease(w, a, 0, VMSIG_LEASE_FENCE, VMSIG_LEASE_INPUT, 0, 1);
    cr_expect_eq(seen_status(a, 1, NULL), VMSIG_INVALID);
    cr_expect_eq(w->sent_n, 0);
    world_free(w);
}

Test(lease, a_full_ring_delays_the_question_to_the_host_and_does_not_lose_it) {
    world *w = world_new();
    seen *a = world_control(w, 1, 0), *b = world_control(w, 2, 0);
    uint64_t t1 = acquire(w, a, 0);
    w->command_err = -EAGAIN;
    world_lease(w, a, 0, VMSIG_LEASE_RELEASE, VMSIG_LEASE_INPUT, 0, 1);
    cr_expect_not(allowed(w, t1));
    vmsig_event q = {.kind = VMSIG_CMD_VM, .corr = 5, .inln_len = 4, .inln = {VMSIG_VM_QUERY}};
    cr_expect_eq(vmsig_inproc_send(a->ctl, &q), -1);
    cr_expect_eq(errno, EAGAIN);
    w->command_err = 0;
    vmsig_gate_turn(w->gate);
    world_quiet(w, VMSIG_OK);
    acquire(w, b, 0);
    world_free(w);
}

/* ---- the gateway's own death --------------------------------------------------------------------------- */

Test(lease, tokens_grow_across_the_gateways_death) {
    world *w = world_new();
    seen *a = world_control(w, 1, 0);
    uint64_t token = acquire(w, a, 0);
    vmsig_gate *killed = w->gate;
    memset(w->fences, 0, sizeof *w->fences);
    world_boot(w);
    cr_expect(allowed(w, token), "the holder has a moment to come back");
    seen *b = world_control(w, 2, 0);
    world_lease(w, b, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0, 1);
    cr_expect_eq(seen_status(b, 1, NULL), VMSIG_HELD);
    w->now += SEC - 1;
    vmsig_gate_turn(w->gate);
    cr_expect(allowed(w, token));
    w->now += 1;
    vmsig_gate_turn(w->gate);
    cr_expect_not(allowed(w, token), "it did not");
    world_quiet(w, VMSIG_OK);
    cr_expect_gt(acquire(w, b, 0), token);
    vmsig_gate_free(killed);
    world_free(w);
}

Test(lease, a_hand_over_goes_on_after_the_gateways_death) {
    world *w = world_new();
    seen *a = world_control(w, 1, 0);
    acquire(w, a, 0);
    world_lease(w, a, 0, VMSIG_LEASE_RELEASE, VMSIG_LEASE_INPUT, 0, 1);
    vmsig_gate *killed = w->gate;
    world_boot(w);
    seen *b = world_control(w, 2, 0);
    world_lease(w, b, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0, 1);
    cr_expect_eq(seen_status(b, 1, NULL), -1);
    world_quiet(w, VMSIG_OK);
    cr_expect_eq(seen_status(b, 1, NULL), VMSIG_OK);
    vmsig_gate_free(killed);
    world_free(w);
}
