#include <fcntl.h>
#include <unistd.h>

#include "tests/gateway/world.h"

Test(gate, without_a_grant_nothing_goes_in_and_nothing_comes_out) {
    world *w = world_new();
    seen *s = world_attach(w);
    world_tick(w, 0, 1);
    vmsig_gate_turn(w->gate);
    cr_expect_eq(s->n, 0);
    vmsig_event cmd = world_key(0, 0, 1);
    cr_expect_eq(vmsig_inproc_send(s->ctl, &cmd), -1);
    cr_expect_eq(errno, EACCES);
    cr_expect_eq(w->sent_n, 0);
    world_free(w);
}

Test(gate, a_grant_that_bears_a_retired_or_unknown_bit_is_refused) {
    world *w = world_new();
    seen *s = world_attach(w);
    const uint32_t wrong[] = {0x4, 0x10, 0x200, VMSIG_CAP_ALL | 0x10};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        vmsig_grant g = {1, 1, wrong[i], 1};
        cr_expect_eq(vmsig_gate_set_grant(w->gate, s->id, &g), -EINVAL);
    }
    world_tick(w, 0, 1);
    vmsig_gate_turn(w->gate);
    cr_expect_eq(s->n, 0);
    world_free(w);
}

Test(gate, of_two_endpoints_only_the_granted_one_is_seen) {
    world *w = world_new();
    seen *s = world_attach(w);
    world_grant(w, s, 1, 1, VMSIG_CAP_OBSERVE, 0);
    vmsig_gate_turn(w->gate);
    s->n = 0;
    for (uint32_t i = 0; i < 10; i++) {
        world_tick(w, 0, i);
        world_tick(w, 1, 100 + i);
    }
    vmsig_gate_turn(w->gate);
    cr_assert_eq(s->n, 10);
    for (int i = 0; i < 10; i++) {
        cr_expect_eq(s->ev[i].endpoint, 0);
        cr_expect_eq(seen_value(&s->ev[i]), (uint32_t)i);
    }
    vmsig_event cmd = world_key(1, 0, 3);
    cr_expect_eq(vmsig_inproc_send(s->ctl, &cmd), 0);
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_status(s, 3, NULL), VMSIG_NOCAP);
    world_free(w);
}

Test(gate, the_subscription_narrows_the_grant) {
    world *w = world_new();
    seen *s = calloc(1, sizeof *s);
    vmsig_inproc_cfg cfg = {.on_event = seen_event, .user = s, .sub = {1u << 9, 2, VMSIG_PRIO_NORMAL}};
    s->ctl = vmsig_inproc_control_new(&cfg);
    s->id = vmsig_gate_attach(w->gate, vmsig_inproc_control_ops(), s->ctl);
    world_grant(w, s, 1, 3, VMSIG_CAP_OBSERVE, 0);
    vmsig_gate_turn(w->gate);
    s->n = 0;
    vmsig_event low = world_event(w, 1, 9, 64, 1), other = world_event(w, 1, 10, 64, 2),
                good = world_event(w, 1, 9, 64, 3);
    low.prio = VMSIG_PRIO_LOW;
    world_take(w, &low);
    world_take(w, &other);
    world_tick(w, 0, 4);
    world_take(w, &good);
    vmsig_gate_turn(w->gate);
    cr_assert_eq(s->n, 1);
    cr_expect_eq(seen_value(&s->ev[0]), 3);
    world_free(w);
}

Test(gate, each_capability_is_asked_for) {
    world *w = world_new();
    seen *s = world_attach(w);
    world_grant(w, s, 1, 3, VMSIG_CAP_ALL & ~VMSIG_CAP_POWER & ~VMSIG_CAP_VM, 0);
    vmsig_event cmd = {.kind = VMSIG_CMD_LIFECYCLE, .corr = 1, .inln_len = 4, .inln = {VMSIG_LIFECYCLE_RESET}};
    cr_expect_eq(vmsig_inproc_send(s->ctl, &cmd), 0);
    cmd.corr = 2;
    cmd.inln[0] = VMSIG_LIFECYCLE_PAUSE;
    cr_expect_eq(vmsig_inproc_send(s->ctl, &cmd), 0);
    cmd.corr = 3;
    cmd.kind = VMSIG_CMD_VM;
    cmd.inln[0] = VMSIG_VM_STOP;
    cr_expect_eq(vmsig_inproc_send(s->ctl, &cmd), 0);
    cmd.corr = 4;
    cmd.inln[0] = 99;
    cr_expect_eq(vmsig_inproc_send(s->ctl, &cmd), 0);
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_status(s, 1, NULL), VMSIG_NOCAP);
    cr_expect_eq(seen_status(s, 2, NULL), -1);
    cr_expect_eq(w->sent_n, 1);
    cr_expect_eq(w->sent[0].inln[0], VMSIG_LIFECYCLE_PAUSE);
    cr_expect_eq(seen_status(s, 3, NULL), VMSIG_NOCAP);
    cr_expect_eq(seen_status(s, 4, NULL), VMSIG_INVALID);
    world_free(w);
}

Test(gate, a_bad_argument_is_refused_and_changes_nothing) {
    world *w = world_new();
    seen *s = world_control(w, 1, 0);
    vmsig_event good = world_key(0, 1, 1), bad[6];
    for (int i = 0; i < 6; i++)
        bad[i] = good;
    bad[0].kind = VMSIG_EV_STATE;
    bad[1].endpoint = 64;
    bad[2].inln_len = VMSIG_INLINE_MAX + 1;
    bad[3].payload_len = 5;
    bad[4].prio = 9;
    bad[5].kind = 37;
    for (int i = 0; i < 6; i++) {
        errno = 0;
        cr_expect_eq(vmsig_inproc_send(s->ctl, &bad[i]), -1);
        cr_expect_eq(errno, EINVAL, "case %d", i);
    }
    vmsig_gate_turn(w->gate);
    cr_expect_eq(s->n, 0);
    cr_expect_eq(w->sent_n, 0);
    world_free(w);
}

Test(gate, a_command_gets_exactly_one_result_under_its_senders_corr) {
    world *w = world_new();
    seen *a = world_control(w, 1, 0), *b = world_control(w, 2, 0);
    vmsig_event q = {.kind = VMSIG_CMD_VM, .corr = 77, .inln_len = 4, .inln = {VMSIG_VM_QUERY}};
    cr_assert_eq(vmsig_inproc_send(a->ctl, &q), 0);
    cr_assert_eq(vmsig_inproc_send(b->ctl, &q), 0);
    cr_assert_eq(w->sent_n, 2);
    cr_expect_neq(w->sent[0].corr, w->sent[1].corr);
    cr_expect_leq(w->sent[0].corr, UINT32_MAX);
    cr_expect_eq(w->sent[0].epoch, 7);
    world_result(w, 0, w->sent[1].corr, VMSIG_OK);
    world_result(w, 0, w->sent[1].corr, VMSIG_INVALID); /* twice from the host: once to the control */
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_status(b, 77, NULL), VMSIG_OK);
    cr_expect_eq(a->n, 0);
    world_result(w, 0, w->sent[0].corr, VMSIG_OK);
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_status(a, 77, NULL), VMSIG_OK);
    world_free(w);
}

Test(gate, an_unanswered_command_times_out_at_its_deadline_and_its_late_result_is_not_delivered) {
    world *w = world_new();
    w->env.command_ns = 1000;
    seen *s = world_control(w, 1, 0);
    vmsig_gate_free(w->gate);
    free(s);
    memset(w->mem, 0, w->bytes);
    world_boot(w);
    s = world_control(w, 1, 0);
    vmsig_event q = {.kind = VMSIG_CMD_VM, .corr = 5, .inln_len = 4, .inln = {VMSIG_VM_QUERY}};
    cr_assert_eq(vmsig_inproc_send(s->ctl, &q), 0);
    w->now += 999;
    vmsig_gate_turn(w->gate);
    cr_expect_eq(s->n, 0);
    w->now += 1;
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_status(s, 5, NULL), VMSIG_TIMEOUT);
    world_result(w, 0, w->sent[0].corr, VMSIG_OK);
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_status(s, 5, NULL), VMSIG_TIMEOUT);
    world_free(w);
}

Test(gate, a_command_whose_host_died_is_unknown) {
    world *w = world_new();
    seen *s = world_control(w, 1, 0);
    vmsig_event q = {.kind = VMSIG_CMD_VM, .corr = 5, .inln_len = 4, .inln = {VMSIG_VM_QUERY}};
    cr_assert_eq(vmsig_inproc_send(s->ctl, &q), 0);
    w->now += 2000000000u; /* beyond the grace of a fresh start */
    vmsig_gate_turn(w->gate);
    w->epoch[0] = 0;
    vmsig_gate_turn(w->gate);
    w->now += 2000000000u;
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_status(s, 5, NULL), VMSIG_UNKNOWN);
    q.corr = 6;
    vmsig_inproc_send(s->ctl, &q);
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_status(s, 6, NULL), VMSIG_UNAVAILABLE);
    world_free(w);
}

Test(gate, an_old_epoch_is_fenced) {
    world *w = world_new();
    seen *s = world_control(w, 1, 0);
    vmsig_event q = {.kind = VMSIG_CMD_VM, .corr = 5, .inln_len = 4, .inln = {VMSIG_VM_QUERY}, .epoch = 6};
    vmsig_inproc_send(s->ctl, &q);
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_status(s, 5, NULL), VMSIG_FENCED);
    cr_expect_eq(w->sent_n, 0);
    world_free(w);
}

Test(gate, a_late_join_is_given_the_retained_set_then_the_end_of_it_then_live) {
    world *w = world_new();
    w->ram_fd[0] = 42;
    world_memctx(w, 0, 0x1000);
    world_memctx(w, 0, 0x2000);
    vmsig_event keep = world_event(w, 0, 9, 70, 5);
    keep.flags = VMSIG_EVF_RETAIN;
    world_take(w, &keep);
    world_tick(w, 0, 1); /* not retained */
    vmsig_gate_turn(w->gate);
    seen *s = world_attach(w);
    world_grant(w, s, 1, 1, VMSIG_CAP_OBSERVE | VMSIG_CAP_MEMCTX, 0);
    world_tick(w, 0, 2); /* after the join, before the first turn: live */
    vmsig_gate_turn(w->gate);
    cr_assert_eq(s->n, 4);
    cr_expect_eq(s->memctx_n, 1);
    cr_expect_eq(s->memctx_fd, 42);
    vmsig_memctx m;
    memcpy(&m, seen_last(s, VMSIG_EV_MEMCTX)->inln, sizeof m);
    cr_expect_eq(m.root, 0x2000);
    cr_expect(seen_last(s, VMSIG_EV_MEMCTX)->flags & VMSIG_EVF_SNAPSHOT);
    cr_expect(seen_last(s, 70)->flags & VMSIG_EVF_SNAPSHOT);
    cr_expect_eq(s->ev[2].kind, VMSIG_EV_SNAPSHOT_END);
    cr_expect_eq(s->ev[3].kind, 64);
    cr_expect_not(s->ev[3].flags & VMSIG_EVF_SNAPSHOT);
    cr_expect_eq(seen_value(&s->ev[3]), 2);
    world_free(w);
}

Test(gate, a_join_under_churn_has_neither_gap_nor_duplicate) {
    world *w = world_new();
    seen *s = world_attach(w);
    vmsig_event keep = world_event(w, 0, 9, 70, 0);
    for (uint32_t v = 0, k = 0; v < 200; v++) {
        keep = world_event(w, 0, (uint8_t)(8 + v % 4), 70, v);
        keep.flags = VMSIG_EVF_RETAIN;
        world_take(w, &keep);
        if (v == 100)
            world_grant(w, s, 1, 1, VMSIG_CAP_OBSERVE, 0);
        s->refuse = v > 100 && k++ % 3 ? EAGAIN : 0; /* it takes a little at a time */
        vmsig_gate_unblock(w->gate, s->id);
        vmsig_gate_turn(w->gate);
    }
    s->refuse = 0;
    vmsig_gate_unblock(w->gate, s->id);
    vmsig_gate_turn(w->gate);
    cr_assert_eq(seen_count(s, VMSIG_EV_SNAPSHOT_END), 1);
    int end = 0;
    while (s->ev[end].kind != VMSIG_EV_SNAPSHOT_END)
        end++;
    uint32_t next = 101;
    for (int i = end + 1; i < s->n; i++)
        cr_expect_eq(seen_value(&s->ev[i]), next++);
    cr_expect_eq(next, 200);
    for (int i = 0; i < end; i++)
        cr_expect_lt(seen_value(&s->ev[i]), 101);
    world_free(w);
}

Test(gate, a_retained_event_goes_by_a_tombstone_an_invalidation_and_the_end_of_its_epoch) {
    world *w = world_new();
    w->ram_fd[0] = w->ram_fd[1] = 3;
    vmsig_event keep = world_event(w, 0, 9, 70, 5), stone = world_event(w, 0, 9, 70, 0);
    keep.flags = stone.flags = VMSIG_EVF_RETAIN;
    stone.inln_len = 0;
    world_take(w, &keep);
    world_take(w, &stone);
    world_memctx(w, 0, 0x1000);
    vmsig_event invalid = world_event(w, 0, VMSIG_SRC_MEMCTX, VMSIG_EV_MEMCTX_INVALID, 0);
    world_take(w, &invalid);
    world_memctx(w, 1, 0x1000);
    keep.endpoint = 1;
    keep.seq = ++w->seq;
    world_take(w, &keep);
    w->epoch[1] = 8;
    seen *s = world_attach(w);
    world_grant(w, s, 1, 3, VMSIG_CAP_OBSERVE | VMSIG_CAP_MEMCTX, 0);
    vmsig_gate_turn(w->gate);
    cr_assert_eq(s->n, 2);
    cr_expect_eq(s->ev[0].kind, VMSIG_EV_SNAPSHOT_END);
    cr_expect_eq(s->ev[1].kind, VMSIG_EV_MEMCTX_INVALID); /* live: the epoch has just moved */
    world_free(w);
}

/* A control that comes now, and what it is given. */
static seen *late(world *w) {
    seen *s = world_attach(w);
    world_grant(w, s, 1, 1, VMSIG_CAP_OBSERVE | VMSIG_CAP_MEMCTX, 0);
    vmsig_gate_turn(w->gate);
    return s;
}

Test(gate, a_sensors_retained_event_goes_when_its_time_is_over) {
    world *w = world_new();
    w->ram_fd[0] = 42;
    vmsig_gate_set_retain(w->gate, 1000);
    world_memctx(w, 0, 0x1000);
    vmsig_event keep = world_event(w, 0, 9, 70, 5);
    keep.flags = VMSIG_EVF_RETAIN;
    keep.ts_ns = w->now;
    world_take(w, &keep);
    w->now += 999;
    seen *s = late(w);
    cr_expect_eq(s->n, 3, "memctx, the event, the end of the set");
    cr_expect_not_null(seen_last(s, 70));
    w->now += 1;
    s = late(w);
    cr_expect_eq(s->n, 2, "what the endpoint is has no end of this sort");
    cr_expect_null(seen_last(s, 70));
    keep.ts_ns = w->now + 5; /* another clock, a little ahead */
    keep.seq = ++w->seq;
    world_take(w, &keep);
    s = late(w);
    cr_expect_not_null(seen_last(s, 70), "a newer one counts anew");
    world_free(w);
}

Test(gate, memctx_waits_for_its_fd_and_comes_only_as_the_pair) {
    world *w = world_new();
    seen *s = world_control(w, 1, 0);
    world_memctx(w, 0, 0x1000);
    world_tick(w, 0, 1);
    vmsig_gate_turn(w->gate);
    cr_expect_eq(s->memctx_n, 0);
    cr_expect_eq(s->n, 1, "others do not wait for it");
    w->ram_fd[0] = 9;
    vmsig_gate_turn(w->gate);
    cr_expect_eq(s->memctx_n, 1);
    cr_expect_eq(s->memctx_fd, 9);
    world_memctx(w, 0, 0x2000);
    w->epoch[0] = 8; /* before it was delivered */
    vmsig_gate_turn(w->gate);
    cr_expect_eq(s->memctx_n, 1);
    world_free(w);
}

Test(gate, holders_learn_once_that_their_memctx_is_void_whoever_sees_it_first) {
    world *w = world_new();
    w->ram_fd[0] = 9;
    seen *s = world_control(w, 1, 0);
    world_memctx(w, 0, 0x1000);
    vmsig_gate_turn(w->gate);
    w->epoch[0] = 8; /* seen by the gate before the host's word has come */
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_count(s, VMSIG_EV_MEMCTX_INVALID), 1);
    vmsig_event word = world_event(w, 0, VMSIG_SRC_MEMCTX, VMSIG_EV_MEMCTX_INVALID, 0);
    world_take(w, &word);
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_count(s, VMSIG_EV_MEMCTX_INVALID), 1);
    world_memctx(w, 0, 0x2000);
    word = world_event(w, 0, VMSIG_SRC_MEMCTX, VMSIG_EV_MEMCTX_INVALID, 0);
    w->epoch[0] = 9; /* the host's word first */
    world_take(w, &word);
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_count(s, VMSIG_EV_MEMCTX_INVALID), 2);
    world_free(w);
}

Test(gate, memctx_needs_its_capability) {
    world *w = world_new();
    w->ram_fd[0] = 9;
    seen *s = world_attach(w);
    world_grant(w, s, 1, 1, VMSIG_CAP_OBSERVE, 0);
    world_memctx(w, 0, 0x1000);
    vmsig_gate_turn(w->gate);
    cr_expect_eq(s->memctx_n, 0);
    world_grant(w, s, 1, 1, VMSIG_CAP_OBSERVE | VMSIG_CAP_MEMCTX, 0); /* widened: what is retained comes */
    vmsig_gate_turn(w->gate);
    cr_expect_eq(s->memctx_n, 1);
    world_free(w);
}

Test(gate, a_source_cannot_forge_what_only_the_gate_says) {
    world *w = world_new();
    seen *s = world_control(w, 1, 0);
    const uint8_t kinds[] = {VMSIG_EV_LEASE, VMSIG_EV_SNAPSHOT_END, VMSIG_CMD_INPUT};
    for (size_t i = 0; i < sizeof kinds; i++) {
        vmsig_event ev = world_event(w, 0, 9, kinds[i], 0);
        cr_expect_eq(vmsig_gate_take(w->gate, 5, ++w->position, &ev), -EINVAL);
    }
    world_result(w, 0, 12345, VMSIG_OK);
    vmsig_gate_turn(w->gate);
    cr_expect_eq(s->n, 0);
    world_free(w);
}

Test(gate, a_control_that_fails_is_detached_and_the_others_go_on) {
    world *w = world_new();
    seen *bad = world_control(w, 1, 0), *good = world_control(w, 2, 0);
    bad->refuse = EIO;
    world_tick(w, 0, 1);
    vmsig_gate_turn(w->gate);
    world_tick(w, 0, 2);
    vmsig_gate_turn(w->gate);
    cr_expect_eq(bad->n, 0);
    cr_expect_eq(good->n, 2);
    vmsig_grant g = {1, 1, 1, 1};
    cr_expect_eq(vmsig_gate_set_grant(w->gate, bad->id, &g), -EINVAL);
    world_free(w);
}

Test(gate, a_slow_control_loses_by_itself_and_is_told_exactly_what) {
    world *w = world_new_sized(VMSIG_GATE_STATE_MIN);
    seen *slow = world_control(w, 1, 0), *fast = world_control(w, 2, 0);
    slow->refuse = EAGAIN;
    uint64_t first = w->seq + 1;
    uint32_t n = 20000, got = 0;
    for (uint32_t i = 0; i < n; i++) {
        world_tick(w, 0, i);
        fast->n = 0;
        vmsig_gate_turn(w->gate);
        got += (uint32_t)fast->n;
        cr_assert_eq(seen_value(&fast->ev[0]), i);
    }
    cr_expect_eq(got, n);
    slow->refuse = 0;
    vmsig_gate_unblock(w->gate, slow->id);
    vmsig_gate_turn(w->gate);
    cr_assert_eq(slow->ev[0].kind, VMSIG_EV_LOST);
    vmsig_lost lost;
    memcpy(&lost, slow->ev[0].inln, sizeof lost);
    cr_expect_eq(lost.why, VMSIG_LOST_WINDOW);
    cr_expect_eq(lost.first, first);
    cr_expect_eq(lost.last, first + lost.count - 1);
    uint32_t next = (uint32_t)lost.count;
    cr_assert_lt(slow->n, WORLD_LOG);
    for (int i = 1; i < slow->n; i++)
        if (slow->ev[i].kind == 64)
            cr_expect_eq(seen_value(&slow->ev[i]), next++);
    cr_expect_eq(next, n);
    world_free(w);
}

Test(gate, what_is_retained_outlives_the_log_going_round) {
    world *w = world_new_sized(VMSIG_GATE_STATE_MIN);
    vmsig_event keep = world_event(w, 0, 9, 70, 4711);
    keep.flags = VMSIG_EVF_RETAIN;
    world_take(w, &keep);
    for (uint32_t i = 0; i < 50000; i++)
        world_tick(w, 0, i);
    seen *s = world_attach(w);
    world_grant(w, s, 1, 1, VMSIG_CAP_OBSERVE, 0);
    vmsig_gate_turn(w->gate);
    cr_assert_eq(s->n, 2);
    cr_expect_eq(seen_value(&s->ev[0]), 4711);
    vmsig_gate *killed = w->gate; /* and the process */
    world_boot(w);
    seen *t = world_attach(w);
    world_grant(w, t, 1, 1, VMSIG_CAP_OBSERVE, 0);
    vmsig_gate_turn(w->gate);
    cr_assert_eq(t->n, 2);
    cr_expect_eq(seen_value(&t->ev[0]), 4711);
    vmsig_gate_free(killed);
    world_free(w);
}

Test(gate, payloads_of_all_sizes_go_round_the_log_unharmed) {
    world *w = world_new();
    seen *s = world_control(w, 1, 0);
    uint8_t *body = malloc(VMSIG_PAYLOAD_MAX);
    for (uint32_t i = 0; i < 300; i++) {
        vmsig_event ev = world_event(w, 0, 9, 64, i);
        ev.payload_len = i % 7 == 0 ? VMSIG_PAYLOAD_MAX / 2 : i % 60;
        memset(body, (int)i, ev.payload_len);
        ev.payload = ev.payload_len ? body : NULL;
        world_take(w, &ev);
        s->n = 0;
        vmsig_gate_turn(w->gate);
        cr_assert_eq(s->n, 1);
        cr_expect_eq(seen_value(&s->ev[0]), i);
        cr_expect_eq(s->ev[0].payload_len, ev.payload_len);
        if (ev.payload_len && ev.payload_len < 60)
            cr_expect_eq(memcmp(s->payload, body, ev.payload_len), 0);
    }
    free(body);
    world_free(w);
}

/* ---- sessions that outlive their connection ------------------------------------------------------------ */

static vmsig_gate_session resume(world *w, seen *s, uint64_t session, uint64_t place) {
    vmsig_inproc_cfg cfg = {
        .on_event = seen_event, .user = s, .sub = {UINT32_MAX, UINT64_MAX, 0}, .on_memctx = seen_memctx};
    s->ctl = vmsig_inproc_control_new(&cfg);
    vmsig_gate_session at = {.id = session, .place = place, .uid = 1000};
    s->id = vmsig_gate_attach_session(w->gate, vmsig_inproc_control_ops(), s->ctl, &at);
    cr_assert_geq(s->id, 0);
    world_grant(w, s, 1000, 3, VMSIG_CAP_ALL, 0);
    vmsig_gate_turn(w->gate);
    return at;
}

Test(session, goes_on_where_it_was_after_the_death_of_the_gateway) {
    world *w = world_new();
    seen *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
    vmsig_gate_session first = resume(w, a, 0, 0);
    cr_expect_not(first.resumed);
    for (uint32_t i = 0; i < 10; i++)
        world_tick(w, 0, i);
    vmsig_gate_turn(w->gate);
    vmsig_gate *killed = w->gate;
    world_boot(w);
    uint64_t position, seq;
    cr_assert(vmsig_gate_accepted(w->gate, 5, &position, &seq));
    cr_expect_eq(position, w->position);
    cr_expect_eq(seq, w->seq);
    for (uint32_t i = 10; i < 20; i++)
        world_tick(w, 0, i);
    vmsig_gate_session second = resume(w, b, first.id, 4); /* it had seen up to place 4: values 0..3 */
    cr_expect(second.resumed);
    cr_expect_eq(second.id, first.id);
    cr_assert_eq(b->n, 16);
    for (int i = 0; i < 16; i++)
        cr_expect_eq(seen_value(&b->ev[i]), (uint32_t)i + 4);
    vmsig_gate_free(killed);
    world_free(w);
}

/* Whole rounds of the log, a death in between: whatever place is named, the next one comes first. */
Test(session, goes_on_behind_any_place_that_the_log_still_has) {
    enum { TICKS = 30000 };
    world *w = world_new_sized(VMSIG_GATE_STATE_MIN);
    seen *a = calloc(1, sizeof *a);
    vmsig_gate_session s = resume(w, a, 0, 0);
    vmsig_gate_detach(w->gate, a->id, false);
    vmsig_event keep = world_event(w, 0, 9, 70, 4711); /* copied forward, under its old place, in each round */
    keep.flags = VMSIG_EVF_RETAIN;
    world_take(w, &keep);
    for (uint32_t i = 2; i <= TICKS; i++)
        world_tick(w, 0, i);
    vmsig_gate *killed = w->gate;
    world_boot(w);
    for (uint32_t place = TICKS - 4000; place < TICKS; place += 97) {
        seen *b = calloc(1, sizeof *b);
        cr_assert(resume(w, b, s.id, place).resumed);
        cr_assert_gt(b->n, 0);
        cr_assert_eq(seen_value(&b->ev[0]), place + 1, "place %u: %u came", place, seen_value(&b->ev[0]));
        vmsig_gate_detach(w->gate, b->id, false);
        vmsig_gate_turn(w->gate);
    }
    vmsig_gate_free(killed);
    world_free(w);
}

Test(session, of_another_user_or_with_a_place_that_never_was_is_not_resumed) {
    world *w = world_new();
    seen *a = calloc(1, sizeof *a);
    vmsig_gate_session first = resume(w, a, 0, 0);
    seen *b = calloc(1, sizeof *b);
    vmsig_inproc_cfg cfg = {.on_event = seen_event, .user = b};
    vmsig_gate_session at = {.id = first.id, .uid = 1001};
    vmsig_gate_attach_session(w->gate, vmsig_inproc_control_ops(), vmsig_inproc_control_new(&cfg), &at);
    cr_expect_not(at.resumed);
    cr_expect_neq(at.id, first.id);
    at = (vmsig_gate_session){.id = first.id, .uid = 1000, .place = 1u << 20};
    vmsig_gate_attach_session(w->gate, vmsig_inproc_control_ops(), vmsig_inproc_control_new(&cfg), &at);
    cr_expect_not(at.resumed);
    world_free(w);
}

Test(session, a_resent_command_is_not_done_twice_and_is_answered) {
    world *w = world_new();
    seen *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
    vmsig_gate_session s = resume(w, a, 0, 0);
    vmsig_event q = {.kind = VMSIG_CMD_VM, .corr = 1, .inln_len = 4, .inln = {VMSIG_VM_QUERY}};
    cr_assert_eq(vmsig_inproc_send(a->ctl, &q), 0);
    vmsig_gate *killed = w->gate;
    world_boot(w);
    resume(w, b, s.id, 0);
    cr_assert_eq(vmsig_inproc_send(b->ctl, &q), 0);
    cr_expect_eq(w->sent_n, 1);
    world_result(w, 0, w->sent[0].corr, VMSIG_OK);
    vmsig_gate_turn(w->gate);
    cr_expect_eq(seen_status(b, 1, NULL), VMSIG_OK);
    cr_assert_eq(vmsig_inproc_send(b->ctl, &q), 0); /* once more, after its answer */
    vmsig_gate_turn(w->gate);
    cr_expect_eq(w->sent_n, 1);
    cr_expect_eq(seen_status(b, 1, NULL), VMSIG_OK);
    vmsig_gate_free(killed);
    world_free(w);
}

Test(session, beyond_the_window_is_told_what_it_lost) {
    world *w = world_new_sized(VMSIG_GATE_STATE_MIN);
    seen *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
    vmsig_gate_session s = resume(w, a, 0, 0);
    vmsig_gate_detach(w->gate, a->id, false);
    vmsig_gate_turn(w->gate);
    uint32_t n = 20000;
    for (uint32_t i = 0; i < n; i++)
        world_tick(w, 0, i);
    vmsig_gate_session t = resume(w, b, s.id, 3); /* values 0..2 */
    cr_expect(t.resumed);
    cr_assert_eq(b->ev[0].kind, VMSIG_EV_LOST);
    vmsig_lost lost;
    memcpy(&lost, b->ev[0].inln, sizeof lost);
    cr_expect_eq(lost.why, VMSIG_LOST_WINDOW);
    uint32_t live = 0, next = 3 + (uint32_t)lost.count;
    for (int i = 1; i < b->n; i++)
        if (b->ev[i].kind == 64) {
            cr_assert_eq(seen_value(&b->ev[i]), next++);
            live++;
        }
    cr_expect_eq(3 + lost.count + live, n);
    world_free(w);
}
