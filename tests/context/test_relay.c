/* Where events go, what is answered on the way, what happens when there is no room: the relay between rings. */
#include <errno.h>
#include <stdlib.h>

#include "relay_world.h"

static void emit(world *w, int link, uint8_t kind, uint8_t source, uint64_t corr, uint32_t epoch) {
    vmsig_event ev = {.ts_ns = w->clock,
                      .kind = kind,
                      .source = source,
                      .corr = corr,
                      .epoch = epoch,
                      .merged = 1,
                      .dir = in_dirs[link],
                      .inln_len = 8};
    cr_assert_eq(vmsig_ring_put_event(&w->ins[link].out, &ev), 0);
}

static bool next_out(world *w, int link, vmsig_event *ev) {
    if (vmsig_ring_peek(&w->outs[link].in) == NULL)
        return false;
    cr_assert_eq(vmsig_ring_get_event(&w->outs[link].in, ev), 0);
    vmsig_ring_advance(&w->outs[link].in);
    vmsig_ring_release(&w->outs[link].in);
    return true;
}

static void expect_kind(world *w, int link, uint8_t kind) {
    vmsig_event ev;
    cr_assert(next_out(w, link, &ev), "kind %u was to come on link %d", kind, link);
    cr_assert_eq(ev.kind, kind, "kind %u came instead of %u", ev.kind, kind);
    free(ev.payload);
}

static void expect_result(world *w, uint64_t corr, vmsig_status status) {
    vmsig_event ev;
    vmsig_result body;
    cr_assert(next_out(w, 0, &ev));
    cr_assert_eq(ev.kind, VMSIG_EV_RESULT);
    cr_expect_eq(ev.corr, corr);
    memcpy(&body, ev.inln, sizeof body);
    cr_expect_eq(body.status, status);
}

static vmsig_lost lost_of(const vmsig_event *ev) {
    vmsig_lost lost;
    cr_assert_eq(ev->kind, VMSIG_EV_LOST);
    memcpy(&lost, ev->inln, sizeof lost);
    return lost;
}

static void expect_nothing(world *w, int link) {
    cr_assert_null(vmsig_ring_peek(&w->outs[link].in));
}

static void up(world *w) {
    world_open(w);
    relay_up(w);
}

Test(relay, events_go_up_and_commands_to_the_host) {
    world w;
    up(&w);
    emit(&w, 1, 64, SENSOR, 0, 1);
    emit(&w, 2, VMSIG_CMD_VM, VMSIG_SRC_VMHOST, 5, 1);
    relay_turn(&w);
    vmsig_event ev;
    cr_assert(next_out(&w, 0, &ev));
    cr_expect_eq(ev.kind, 64);
    cr_expect_eq(ev.seq, 1);
    cr_expect_eq(ev.prio, VMSIG_PRIO_NORMAL, "the policy's priority is filled in");
    cr_assert(next_out(&w, 1, &ev));
    cr_expect_eq(ev.kind, VMSIG_CMD_VM);
    cr_expect_eq(ev.corr, 5);
    world_close(&w);
}

Test(relay, a_command_that_nobody_takes_is_unavailable) {
    world w;
    up(&w);
    w.out[1].port.accepts = 1u << (VMSIG_CMD_VM - 32);
    vmsig_relay_remove(w.relay, &w.out[1].port);
    vmsig_relay_add(w.relay, &w.out[1].port);
    emit(&w, 2, VMSIG_CMD_INPUT, VMSIG_SRC_INPUT, 9, 1);
    relay_turn(&w);
    expect_result(&w, 9, VMSIG_UNAVAILABLE);
    expect_nothing(&w, 1);
    world_close(&w);
}

Test(relay, a_sensor_that_takes_input_gets_it_and_its_fences_and_the_epochs_end) {
    world w;
    up(&w);
    w.out[2].port.accepts = 1u << (VMSIG_CMD_INPUT - 32);
    w.out[2].port.memctx = false;
    vmsig_relay_remove(w.relay, &w.out[2].port);
    vmsig_relay_add(w.relay, &w.out[2].port);
    emit(&w, 2, VMSIG_CMD_INPUT, VMSIG_SRC_INPUT, 1, 1);
    emit(&w, 2, VMSIG_CMD_VM, VMSIG_SRC_VMHOST, 2, 1);
    for (uint32_t cls = 0; cls < VMSIG_LEASE_CLASSES; cls++) {
        const vmsig_lease fence = {.op = 16, .cls = cls};
        vmsig_event ev = {.kind = VMSIG_CMD_LEASE,
                          .source = VMSIG_SRC_SEAM,
                          .dir = VMSIG_DIR_DOWN,
                          .corr = 10 + cls,
                          .epoch = 1,
                          .merged = 1,
                          .inln_len = sizeof fence};
        memcpy(ev.inln, &fence, sizeof fence);
        cr_assert_eq(vmsig_ring_put_event(&w.ins[2].out, &ev), 0);
    }
    relay_turn(&w);
    vmsig_event ev;
    static const uint64_t to_sensor[] = {1, 10 + VMSIG_LEASE_INPUT};
    static const uint64_t to_host[] = {2, 10 + VMSIG_LEASE_POWER, 10 + VMSIG_LEASE_MEMWRITE};
    for (unsigned i = 0; i < 2; i++) {
        cr_assert(next_out(&w, 2, &ev));
        cr_expect_eq(ev.corr, to_sensor[i]);
    }
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(next_out(&w, 1, &ev));
        cr_expect_eq(ev.corr, to_host[i]);
    }
    w.epoch = 2;
    relay_turn(&w);
    cr_assert(next_out(&w, 2, &ev));
    cr_expect_eq(ev.kind, VMSIG_EV_EPOCH_END);
    cr_expect_eq(ev.epoch, 1u);
    vmsig_relay_renewed(w.relay, &w.out[2].port);
    expect_kind(&w, 2, VMSIG_EV_EPOCH_END); /* again for its successor */
    vmsig_relay_renewed(w.relay, &w.out[1].port);
    expect_nothing(&w, 1); /* a host moves it itself */
    world_close(&w);
}

/* ---- who takes commands is unplugged -------------------------------------------------------------------------- */

#define LEFT 14u /* commands for it: 12 lie in its ring, 2 are queued */

/* Input goes to the third output, as much as its ring bears and more; it takes the first two, and answers them. */
static void unplug(world *w, bool stopped) {
    up(w);
    w->out[2].port.accepts = 1u << (VMSIG_CMD_INPUT - 32);
    w->out[2].port.memctx = false;
    vmsig_relay_remove(w->relay, &w->out[2].port);
    vmsig_relay_add(w->relay, &w->out[2].port);
    for (uint64_t corr = 1; corr <= LEFT; corr++) {
        emit(w, 2, VMSIG_CMD_INPUT, VMSIG_SRC_INPUT, corr, 1);
        relay_turn(w);
    }
    cr_assert_eq(vmsig_relay_queued(w->relay), 2);
    vmsig_event ev;
    cr_assert(next_out(w, 2, &ev) && next_out(w, 2, &ev));
    if (stopped)
        vmsig_ring_in_stopped(&w->outs[2].in);
    vmsig_relay_remove(w->relay, &w->out[2].port);
    relay_turn(w);
}

static void expect_left(world *w, vmsig_status in_ring) {
    for (uint64_t corr = 3; corr <= LEFT; corr++)
        expect_result(w, corr, corr <= 12 ? in_ring : VMSIG_UNAVAILABLE);
    expect_nothing(w, 0);
    expect_nothing(w, 1);
    cr_expect_eq(vmsig_relay_queued(w->relay), 0);
    emit(w, 2, VMSIG_CMD_INPUT, VMSIG_SRC_INPUT, 99, 1);
    relay_turn(w);
    expect_kind(w, 1, VMSIG_CMD_INPUT); /* the next one is the host's */
}

Test(relay, what_an_unplugged_sensor_did_not_take_is_unavailable) {
    world w;
    unplug(&w, true);
    expect_left(&w, VMSIG_UNAVAILABLE);
    world_close(&w);
}

Test(relay, what_lay_before_a_killed_sensor_is_unknown_once_it_is_unplugged) {
    world w;
    unplug(&w, false);
    expect_left(&w, VMSIG_UNKNOWN);
    world_close(&w);
}

Test(relay, a_command_of_an_old_epoch_is_fenced) {
    world w;
    up(&w);
    w.epoch = 2;
    emit(&w, 2, VMSIG_CMD_VM, VMSIG_SRC_VMHOST, 3, 1);
    relay_turn(&w);
    expect_kind(&w, 0, VMSIG_EV_EPOCH_END);
    expect_result(&w, 3, VMSIG_FENCED);
    expect_nothing(&w, 1);
    world_close(&w);
}

Test(relay, a_queued_command_is_fenced_when_its_epoch_ends) {
    world w;
    world_open(&w);
    w.timing[VMSIG_DIR_DOWN][VMSIG_SRC_VMHOST].min_gap_ns = 1000;
    relay_up(&w);
    emit(&w, 2, VMSIG_CMD_VM, VMSIG_SRC_VMHOST, 1, 1);
    emit(&w, 2, VMSIG_CMD_VM, VMSIG_SRC_VMHOST, 2, 1);
    relay_turn(&w);
    expect_kind(&w, 1, VMSIG_CMD_VM);
    w.epoch = 2;
    w.clock += 1000;
    relay_turn(&w);
    expect_kind(&w, 0, VMSIG_EV_EPOCH_END);
    expect_result(&w, 2, VMSIG_FENCED);
    expect_nothing(&w, 1);
    world_close(&w);
}

Test(relay, the_hosts_death_ends_the_epoch_and_voids_the_memctx) {
    world w;
    up(&w);
    emit(&w, 0, VMSIG_EV_MEMCTX, VMSIG_SRC_MEMCTX, 0, 1);
    relay_turn(&w);
    expect_kind(&w, 0, VMSIG_EV_MEMCTX);
    expect_kind(&w, 2, VMSIG_EV_MEMCTX);
    w.epoch = 0;
    relay_turn(&w);
    expect_kind(&w, 0, VMSIG_EV_EPOCH_END);
    expect_kind(&w, 2, VMSIG_EV_MEMCTX_INVALID);
    relay_turn(&w);
    expect_nothing(&w, 0);
    w.epoch = 2;
    relay_turn(&w);
    expect_nothing(&w, 0);
    world_close(&w);
}

Test(relay, the_memctx_is_repeated_when_either_side_starts_again) {
    world w;
    up(&w);
    static uint8_t segs[500];
    vmsig_event ev = {.kind = VMSIG_EV_MEMCTX, .source = VMSIG_SRC_MEMCTX, .epoch = 1, .merged = 1, .ts_ns = 1};
    ev.payload = segs;
    ev.payload_len = sizeof segs;
    memset(segs, 7, sizeof segs);
    cr_assert_eq(vmsig_ring_put_event(&w.ins[0].out, &ev), 0);
    relay_turn(&w);
    expect_kind(&w, 2, VMSIG_EV_MEMCTX);
    vmsig_relay_renewed(w.relay, &w.out[2].port);
    expect_kind(&w, 2, VMSIG_EV_MEMCTX);
    relay_down(&w);
    relay_up(&w);
    relay_turn(&w);
    vmsig_event got;
    cr_assert(next_out(&w, 2, &got));
    cr_assert_eq(got.payload_len, sizeof segs);
    cr_expect_eq(memcmp(got.payload, segs, sizeof segs), 0);
    free(got.payload);
    expect_nothing(&w, 2);
    world_close(&w);
}

Test(relay, a_sensor_may_speak_for_itself_only) {
    world w;
    up(&w);
    emit(&w, 1, 64, 20, 0, 1);
    emit(&w, 1, VMSIG_EV_MEMCTX, SENSOR, 0, 1);
    emit(&w, 1, VMSIG_CMD_VM, SENSOR, 0, 1);
    emit(&w, 1, 64, SENSOR, 0, 1);
    relay_turn(&w);
    for (int i = 0; i < 3; i++) {
        vmsig_event ev;
        vmsig_lost lost;
        cr_assert(next_out(&w, 0, &ev));
        cr_assert_eq(ev.kind, VMSIG_EV_LOST);
        memcpy(&lost, ev.inln, sizeof lost);
        cr_expect_eq(lost.why, VMSIG_LOST_POISON);
        cr_expect_eq(lost.source, SENSOR);
    }
    expect_kind(&w, 0, 64);
    world_close(&w);
}

Test(relay, a_full_ring_turns_passing_into_queueing_and_urgent_goes_first_then) {
    world w;
    up(&w);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 8; i++)
            emit(&w, 1, 64, SENSOR, 0, 1);
        relay_turn(&w);
        w.clock += PATIENCE_NS; /* what was left in the sensor's ring queues */
        relay_turn(&w);
    }
    cr_expect_gt(vmsig_relay_queued(w.relay), 0);
    emit(&w, 0, VMSIG_EV_MEMCTX_INVALID, VMSIG_SRC_MEMCTX, 0, 1);
    relay_turn(&w);
    uint32_t got = 0, invalid_at = 0;
    uint64_t last = 0;
    for (int i = 0; i < 40; i++) {
        vmsig_event ev;
        while (next_out(&w, 0, &ev)) {
            got++;
            if (ev.kind == VMSIG_EV_MEMCTX_INVALID) {
                invalid_at = got;
                continue;
            }
            cr_expect_gt(ev.seq, last);
            last = ev.seq;
        }
        relay_turn(&w);
    }
    cr_expect_eq(got, 33);
    cr_expect_leq(invalid_at, SLOTS, "it had a slot of its own in the full ring");
    world_close(&w);
}

static void settle(world *w) {
    for (int i = 0; i < 4; i++)
        relay_turn(w);
}

/* A sensor's ordinary event: it is worth a moment's waiting not to go through the queue. */
Test(relay, what_finds_no_room_stays_where_it_is_for_a_moment_and_then_queues) {
    world w;
    up(&w);
    for (uint32_t i = 0; i < SLOTS; i++)
        emit(&w, 1, 64, SENSOR, 0, 1);
    settle(&w);
    cr_expect_eq(vmsig_relay_queued(w.relay), 0);
    cr_expect_eq(vmsig_relay_due(w.relay), w.clock + PATIENCE_NS);
    w.clock += PATIENCE_NS - 1;
    settle(&w);
    cr_expect_eq(vmsig_relay_queued(w.relay), 0);
    w.clock++;
    settle(&w);
    cr_expect_eq(vmsig_relay_queued(w.relay), KEPT, "as many as the ring keeps for what is never dropped");
    cr_expect_eq(vmsig_relay_due(w.relay), 0, "nothing waits for a time any more");
    vmsig_event ev;
    uint64_t last = 0;
    uint32_t got = 0;
    for (uint32_t i = 0; i < SLOTS; i++) {
        while (next_out(&w, 0, &ev)) {
            cr_expect_gt(ev.seq, last);
            last = ev.seq;
            got++;
        }
        settle(&w);
    }
    cr_expect_eq(got, SLOTS);
    world_close(&w);
}

Test(relay, what_is_privileged_queues_at_once_and_overtakes) {
    world w;
    up(&w);
    cr_assert_eq(vmsig_relay_set_policy(w.relay, SENSOR, VMSIG_DIR_UP, VMSIG_PRIO_URGENT, NULL), 0);
    for (uint32_t i = 0; i < SLOTS; i++)
        emit(&w, 1, 64, SENSOR, 0, 1);
    settle(&w);
    cr_expect_eq(vmsig_relay_queued(w.relay), KEPT);
    world_close(&w);
}

Test(relay, block_leaves_the_event_in_the_producers_ring) {
    world w;
    world_open(&w);
    w.timing[VMSIG_DIR_UP][SENSOR] = (vmsig_timing){.min_gap_ns = 1000, .max_inflight = 2, .drop_policy = 2};
    relay_up(&w);
    for (int i = 0; i < 10; i++)
        emit(&w, 1, 64, SENSOR, 0, 1);
    relay_turn(&w);
    cr_expect_leq(vmsig_relay_queued(w.relay), 2);
    cr_expect_lt(w.in[1].in.cursor, 10);
    uint32_t got = 0;
    for (int i = 0; i < 20; i++, w.clock += 1000) {
        relay_turn(&w);
        vmsig_event ev;
        while (next_out(&w, 0, &ev))
            got++;
    }
    cr_expect_eq(got, 10);
    world_close(&w);
}

/* ---- what kills ----------------------------------------------------------------------------------------------- */

/* One turn, in which the event at that position of an input is deadly, if it is looked at: whether it was. */
static bool dies(world *w, int link, uint64_t position) {
    w->killer = &w->in[link].in;
    w->kills = position;
    if (setjmp(crashed) == 0) {
        relay_turn(w);
        return false;
    }
    w->killer = NULL;
    relay_down(w);
    return true;
}

/* Dies of it until it does not: how often. */
static int deaths_of(world *w, int link, uint64_t position) {
    int n = 0;
    for (; n < 10 && dies(w, link, position); n++)
        relay_up(w);
    return n;
}

Test(relay, an_event_that_killed_three_is_told_as_lost) {
    world w;
    up(&w);
    emit(&w, 1, 64, SENSOR, 0, 1);
    relay_turn(&w);
    emit(&w, 1, 65, SENSOR, 0, 9); /* of a strange epoch: the relay asks for the present one */
    emit(&w, 1, 66, SENSOR, 0, 1);
    cr_expect_eq(deaths_of(&w, 1, 1), 3);
    expect_kind(&w, 0, 64);
    vmsig_event ev;
    cr_assert(next_out(&w, 0, &ev));
    vmsig_lost lost = lost_of(&ev);
    cr_expect_eq(lost.why, VMSIG_LOST_POISON);
    cr_expect_eq(lost.source, SENSOR);
    cr_expect_eq(lost.count, 1);
    expect_kind(&w, 0, 66);
    expect_nothing(&w, 0);
    world_close(&w);
}

Test(relay, a_command_that_killed_three_is_answered) {
    world w;
    up(&w);
    emit(&w, 2, VMSIG_CMD_VM, VMSIG_SRC_VMHOST, 5, 1);
    emit(&w, 2, VMSIG_CMD_VM, VMSIG_SRC_VMHOST, 6, 1);
    cr_expect_eq(deaths_of(&w, 2, 0), 3);
    expect_result(&w, 5, VMSIG_DROPPED);
    expect_kind(&w, 1, VMSIG_CMD_VM);
    expect_nothing(&w, 1);
    world_close(&w);
}

Test(relay, who_dies_of_something_else_is_not_counted) {
    world w;
    up(&w);
    emit(&w, 1, 65, SENSOR, 0, 9);
    for (int i = 0; i < 2; i++) {
        cr_expect(dies(&w, 1, 0));
        relay_up(&w);
    }
    for (int i = 0; i < 5; i++) { /* with nothing in hand */
        relay_down(&w);
        relay_up(&w);
    }
    relay_turn(&w);
    expect_kind(&w, 0, 65);
    world_close(&w);
}

static bool dies_at_start(world *w, int64_t tries) {
    crash_redo = true;
    crash_tries = tries;
    bool dead = setjmp(crashed) != 0;
    if (!dead)
        relay_up(w);
    crash_redo = false;
    if (dead)
        relay_down(w);
    return dead;
}

/* Carrying out the record of a dispatch is deadly. */
static void kill_in_dispatch(world *w, int link) {
    crash_redo = true;
    crash_tries = -1;
    if (setjmp(crashed) == 0) {
        vmsig_relay_writable(w->relay, &w->out[link].port);
        cr_assert_fail("there was nothing to dispatch");
    }
    relay_down(w);
    for (int64_t tries = 0; tries < 3; tries++)
        cr_expect(dies_at_start(w, tries), "attempt %d", (int)tries);
    crash_redo = false;
    relay_up(w);
}

Test(relay, a_record_that_killed_three_successors_is_not_carried_out) {
    world w;
    world_open(&w);
    w.timing[VMSIG_DIR_UP][SENSOR].min_gap_ns = 1000;
    w.timing[VMSIG_DIR_DOWN][VMSIG_SRC_INPUT].min_gap_ns = 1000;
    relay_up(&w);
    emit(&w, 1, 64, SENSOR, 0, 1), emit(&w, 1, 65, SENSOR, 0, 1);
    relay_turn(&w);
    w.clock += 1000;
    kill_in_dispatch(&w, 0);
    relay_turn(&w);
    expect_kind(&w, 0, 64);
    vmsig_event ev;
    cr_assert(next_out(&w, 0, &ev));
    cr_expect_eq(lost_of(&ev).why, VMSIG_LOST_POISON);
    emit(&w, 2, VMSIG_CMD_INPUT, VMSIG_SRC_INPUT, 7, 1), emit(&w, 2, VMSIG_CMD_INPUT, VMSIG_SRC_INPUT, 8, 1);
    relay_turn(&w);
    expect_kind(&w, 1, VMSIG_CMD_INPUT);
    w.clock += 1000;
    kill_in_dispatch(&w, 1);
    relay_turn(&w);
    expect_result(&w, 8, VMSIG_DROPPED);
    expect_nothing(&w, 1);
    world_close(&w);
}

/* ---- max_inflight, what lies in the next ring included ------------------------------------------------------- */

static void bounded(world *w, uint32_t max, uint8_t policy) {
    world_open(w);
    w->timing[VMSIG_DIR_UP][SENSOR] = (vmsig_timing){.max_inflight = max, .drop_policy = policy};
    relay_up(w);
}

static vmsig_event take_one(world *w) {
    vmsig_event ev = {0};
    cr_assert(next_out(w, 0, &ev), "an event");
    return ev;
}

Test(relay, newest_refuses_when_what_lies_in_the_next_ring_is_the_bound) {
    world w;
    bounded(&w, 3, VMSIG_DROP_NEWEST);
    for (int i = 0; i < 5; i++)
        emit(&w, 1, 64, SENSOR, 0, 1);
    relay_turn(&w);
    cr_expect_eq(w.out[0].out.tail, 5, "three events, and one LOST of two slots");
    take_one(&w);
    emit(&w, 1, 65, SENSOR, 0, 1);
    emit(&w, 1, 66, SENSOR, 0, 1);
    relay_turn(&w);
    take_one(&w), take_one(&w);
    vmsig_event ev = take_one(&w);
    cr_expect_eq(lost_of(&ev).count, 2);
    expect_kind(&w, 0, 65);
    expect_kind(&w, 0, VMSIG_EV_LOST);
    world_close(&w);
}

Test(relay, oldest_keeps_the_newest_until_the_consumer_has_passed_one) {
    world w;
    bounded(&w, 2, VMSIG_DROP_OLDEST);
    for (uint8_t kind = 64; kind < 70; kind++)
        emit(&w, 1, kind, SENSOR, 0, 1);
    relay_turn(&w);
    relay_turn(&w);
    cr_expect_leq(w.out[0].out.tail, 4, "no more than two events, and a LOST of two slots");
    cr_expect_eq(take_one(&w).kind, 64);
    relay_turn(&w);
    cr_expect_eq(take_one(&w).kind, 65);
    vmsig_event ev = take_one(&w);
    cr_expect_eq(lost_of(&ev).count, 3);
    relay_turn(&w);
    cr_expect_eq(take_one(&w).kind, 69);
    world_close(&w);
}

Test(relay, block_waits_for_the_consumers_cursor) {
    world w;
    bounded(&w, 2, VMSIG_DROP_BLOCK);
    for (uint8_t kind = 64; kind < 74; kind++)
        emit(&w, 1, kind, SENSOR, 0, 1);
    for (uint8_t kind = 64; kind < 74; kind++) {
        relay_turn(&w);
        relay_turn(&w);
        cr_expect_leq(w.out[0].out.tail, kind - 64u + 2u, "two are ahead at most");
        cr_expect_eq(take_one(&w).kind, kind, "none is lost, and in order");
    }
    world_close(&w);
}

Test(relay, what_is_urgent_or_of_another_source_passes_a_full_channel) {
    world w;
    bounded(&w, 1, VMSIG_DROP_BLOCK);
    emit(&w, 1, 64, SENSOR, 0, 1);
    vmsig_event urgent = {.kind = 65, .source = SENSOR, .epoch = 1, .merged = 1, .prio = VMSIG_PRIO_URGENT};
    cr_assert_eq(vmsig_ring_put_event(&w.ins[1].out, &urgent), 0);
    emit(&w, 0, VMSIG_EV_STATE, 3, 0, 1);
    relay_turn(&w);
    cr_expect_eq(w.out[0].out.tail, 3);
    world_close(&w);
}

Test(relay, a_body_that_no_ring_can_bear_is_told_as_lost) {
    world w;
    up(&w);
    static uint8_t big[ARENA / 2];
    vmsig_event ev = {.kind = 64, .source = SENSOR, .epoch = 1, .merged = 1, .ts_ns = 1};
    ev.payload = big;
    ev.payload_len = sizeof big;
    cr_assert_eq(vmsig_ring_put_event(&w.ins[1].out, &ev), 0);
    relay_turn(&w);
    expect_kind(&w, 0, 64);
    w.out[0].out.head->arena_bytes = ARENA / 4;
    cr_assert_eq(vmsig_ring_put_event(&w.ins[1].out, &ev), 0);
    relay_turn(&w);
    expect_kind(&w, 0, VMSIG_EV_LOST);
    w.out[0].out.head->arena_bytes = ARENA;
    world_close(&w);
}

Test(relay, seq_goes_on_beyond_32_bits_through_a_restart) {
    world w;
    up(&w);
    w.relay->st->next_seq[VMSIG_DIR_UP] = UINT32_MAX;
    emit(&w, 1, 64, SENSOR, 0, 1);
    emit(&w, 1, 64, SENSOR, 0, 1);
    relay_turn(&w);
    relay_down(&w);
    relay_up(&w);
    cr_expect_eq(w.relay->st->next_seq[VMSIG_DIR_UP], (uint64_t)UINT32_MAX + 2);
    world_close(&w);
}

Test(relay, pacing_is_not_reset_by_a_restart) {
    world w;
    world_open(&w);
    w.timing[VMSIG_DIR_UP][SENSOR].min_gap_ns = 1000;
    relay_up(&w);
    emit(&w, 1, 64, SENSOR, 0, 1);
    relay_turn(&w);
    expect_kind(&w, 0, 64);
    relay_down(&w);
    relay_up(&w);
    emit(&w, 1, 64, SENSOR, 0, 1);
    w.clock += 999;
    relay_turn(&w);
    expect_nothing(&w, 0);
    w.clock += 1;
    relay_turn(&w);
    expect_kind(&w, 0, 64);
    world_close(&w);
}
