/* Each promise of docs/semantics.md "Delivery" that is the context's own, on a clock that the test moves. */
#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "actors/context/engine.h"

#define SRC  ((vmsig_source)9)
#define UP   VMSIG_DIR_UP
#define DOWN VMSIG_DIR_DOWN

static uint64_t clock_now;

static uint64_t test_clock(void *ud) {
    (void)ud;
    return clock_now;
}

static vmsig_ctx *make(void) {
    clock_now = 1000000000u;
    vmsig_ctx *c = vmsig_ctx_new_clock(test_clock, NULL);
    cr_assert_not_null(c);
    return c;
}

static void policy(vmsig_ctx *c, vmsig_dir dir, uint32_t gap, uint32_t coalesce, uint32_t max, uint8_t drop) {
    vmsig_timing t = {gap, coalesce, max, drop};
    cr_assert_eq(vmsig_ctx_set_policy(c, SRC, dir, VMSIG_PRIO_DEFAULT, &t), 0);
}

static vmsig_event event(uint8_t kind, uint32_t value) {
    vmsig_event ev = {.ts_ns = 5, .source = SRC, .kind = kind, .inln_len = 4, .epoch = 1};
    memcpy(ev.inln, &value, 4);
    return ev;
}

static uint32_t value_of(const vmsig_event *ev) {
    uint32_t v;
    memcpy(&v, ev->inln, 4);
    return v;
}

static int put(vmsig_ctx *c, uint8_t kind, uint32_t value, uint8_t prio) {
    vmsig_event ev = event(kind, value);
    ev.prio = prio;
    return vmsig_ctx_submit(c, UP, &ev);
}

static int put_epoch(vmsig_ctx *c, uint8_t kind, uint32_t value, uint32_t epoch) {
    vmsig_event ev = event(kind, value);
    ev.epoch = epoch;
    return vmsig_ctx_submit(c, UP, &ev);
}

static void expect_next(vmsig_ctx *c, uint8_t kind, uint32_t value) {
    vmsig_event out;
    cr_assert_eq(vmsig_ctx_next(c, UP, &out), 1, "an event of kind %u, value %u was to come", kind, value);
    cr_assert_eq(out.kind, kind, "kind %u, value %u came instead of %u, %u", out.kind, value_of(&out), kind, value);
    cr_assert_eq(value_of(&out), value, "value %u came instead of %u", value_of(&out), value);
}

static void expect_lost(vmsig_ctx *c, uint64_t first, uint64_t last, uint64_t count, uint32_t why) {
    vmsig_event out;
    vmsig_lost lost;
    cr_assert_eq(vmsig_ctx_next(c, UP, &out), 1);
    cr_assert_eq(out.kind, VMSIG_EV_LOST);
    cr_expect_eq(out.source, VMSIG_SRC_SEAM);
    cr_expect_eq(out.merged, 1);
    memcpy(&lost, out.inln, sizeof lost);
    cr_expect_eq(lost.first, first);
    cr_expect_eq(lost.last, last);
    cr_expect_eq(lost.count, count);
    cr_expect_eq(lost.source, SRC);
    cr_expect_eq(lost.why, why);
}

static void expect_none(vmsig_ctx *c) {
    vmsig_event out;
    cr_assert_eq(vmsig_ctx_next(c, UP, &out), 0, "kind %u, value %u came too early", out.kind, value_of(&out));
}

/* ---- order and priority -------------------------------------------------------------------------------- */

Test(order, fifo_within_a_channel_and_class_and_seq_grows) {
    vmsig_ctx *c = make();
    for (uint32_t i = 0; i < 20000; i++)
        cr_assert_eq(put(c, 64, i, 0), 0);
    vmsig_event out;
    for (uint32_t i = 0; i < 20000; i++) {
        cr_assert_eq(vmsig_ctx_next(c, UP, &out), 1);
        cr_assert_eq(value_of(&out), i);
        cr_assert_eq(out.seq, i + 1);
        cr_assert_eq(out.prio, VMSIG_PRIO_NORMAL);
        cr_assert_eq(out.merged, 1);
    }
    expect_none(c);
    vmsig_ctx_free(c);
}

Test(order, directions_count_apart) {
    vmsig_ctx *c = make();
    vmsig_event ev = event(64, 1), cmd = event(VMSIG_CMD_VM, 1);
    cr_assert_eq(vmsig_ctx_submit(c, UP, &ev), 0);
    cr_assert_eq(vmsig_ctx_submit(c, DOWN, &cmd), 0);
    cr_expect_eq(ev.seq, 1);
    cr_expect_eq(cmd.seq, 1);
    cr_expect_eq(vmsig_ctx_next(c, DOWN, &ev), 1);
    cr_expect_eq(ev.kind, VMSIG_CMD_VM);
    cr_expect_eq(ev.dir, DOWN);
    cr_expect_eq(vmsig_ctx_next(c, DOWN, &ev), 0);
    vmsig_ctx_free(c);
}

Test(order, corr_and_token_keep_their_64_bits) {
    vmsig_ctx *c = make();
    vmsig_event cmd = event(VMSIG_CMD_VM, 1);
    cmd.corr = 0x123456789abcdef0u;
    cmd.token = 0xfedcba9876543210u;
    cr_assert_eq(vmsig_ctx_submit(c, DOWN, &cmd), 0);
    vmsig_event out;
    cr_assert_eq(vmsig_ctx_next(c, DOWN, &out), 1);
    cr_expect_eq(out.corr, cmd.corr);
    cr_expect_eq(out.token, cmd.token);
    vmsig_ctx_free(c);
}

Test(priority, reorders_across_classes_only) {
    vmsig_ctx *c = make();
    put(c, 64, 1, VMSIG_PRIO_LOW);
    put(c, 64, 2, VMSIG_PRIO_URGENT);
    put(c, 64, 3, VMSIG_PRIO_LOW);
    put(c, 64, 4, VMSIG_PRIO_URGENT);
    put(c, 64, 5, VMSIG_PRIO_HIGH);
    expect_next(c, 64, 2);
    expect_next(c, 64, 4);
    expect_next(c, 64, 5);
    expect_next(c, 64, 1);
    expect_next(c, 64, 3);
    vmsig_ctx_free(c);
}

/* The bound of engine.h: VMSIG_BURST + (VMSIG_REFILL + 1) * 7 * F dispatches for a head that is due. */
Test(priority, nothing_starves_and_the_bound_holds) {
    vmsig_ctx *c = make();
    vmsig_event out, ev = event(64, 7);
    for (uint32_t i = 0; i < 3; i++) { /* F = 3 flows of the low class */
        ev.endpoint = i;
        ev.prio = VMSIG_PRIO_LOW;
        vmsig_ctx_submit(c, UP, &ev);
    }
    uint32_t waited = 0, low = 0, bound = VMSIG_BURST + (VMSIG_REFILL + 1) * 7 * 3;
    for (; low < 3 && waited <= bound; waited++) {
        for (uint8_t p = VMSIG_PRIO_NORMAL; p <= VMSIG_PRIO_URGENT; p++)
            put(c, 64, 1, p);
        cr_assert_eq(vmsig_ctx_next(c, UP, &out), 1);
        low += out.prio == VMSIG_PRIO_LOW;
    }
    cr_expect_eq(low, 3, "%u of 3 within %u dispatches", low, waited);
    cr_expect_gt(waited, VMSIG_BURST, "urgent is strict while it has credits");
    vmsig_ctx_free(c);
}

/* The bucket: VMSIG_BURST in a row while others wait, then VMSIG_REFILL for each of the others; alone, without end. */
Test(priority, urgent_is_strict_for_its_budget_and_then_gets_what_comes_back) {
    vmsig_ctx *c = make();
    vmsig_event out;
    for (uint32_t i = 0; i < 200; i++) {
        put(c, 64, i, VMSIG_PRIO_URGENT);
        put(c, 65, i, VMSIG_PRIO_NORMAL);
    }
    for (uint32_t other = 0; other < 20; other++) {
        uint32_t in_a_row = other == 0 ? VMSIG_BURST : VMSIG_REFILL;
        for (uint32_t i = 0; i < in_a_row; i++) {
            cr_assert_eq(vmsig_ctx_next(c, UP, &out), 1);
            cr_assert_eq(out.prio, VMSIG_PRIO_URGENT, "after %u others, urgent number %u", other, i);
        }
        cr_assert_eq(vmsig_ctx_next(c, UP, &out), 1);
        cr_assert_eq(out.prio, VMSIG_PRIO_NORMAL, "after %u others", other);
    }
    vmsig_ctx_free(c);
    c = make();
    for (uint32_t i = 0; i < 10 * VMSIG_BURST; i++)
        put(c, 64, i, VMSIG_PRIO_URGENT);
    for (uint32_t i = 0; i < 10 * VMSIG_BURST; i++)
        expect_next(c, 64, i);
    put(c, 65, 1, VMSIG_PRIO_NORMAL); /* what it did alone cost it nothing */
    for (uint32_t i = 0; i <= VMSIG_BURST; i++)
        put(c, 64, i, VMSIG_PRIO_URGENT);
    for (uint32_t i = 0; i < VMSIG_BURST; i++)
        expect_next(c, 64, i);
    expect_next(c, 65, 1);
    vmsig_ctx_free(c);
}

Test(priority, high_normal_low_share_by_weight) {
    vmsig_ctx *c = make();
    uint32_t seen[5] = {0};
    vmsig_event out;
    for (int i = 0; i < 1000; i++)
        for (uint8_t p = VMSIG_PRIO_LOW; p <= VMSIG_PRIO_HIGH; p++)
            put(c, 64, 1, p);
    for (int i = 0; i < 700; i++) {
        cr_assert_eq(vmsig_ctx_next(c, UP, &out), 1);
        seen[out.prio]++;
    }
    cr_expect_eq(seen[VMSIG_PRIO_HIGH], 400);
    cr_expect_eq(seen[VMSIG_PRIO_NORMAL], 200);
    cr_expect_eq(seen[VMSIG_PRIO_LOW], 100);
    vmsig_ctx_free(c);
}

Test(priority, a_flood_costs_others_no_more_than_its_share) {
    vmsig_ctx *c = make();
    for (int i = 0; i < 1000; i++)
        put(c, 64, 1, 0);
    vmsig_event other = event(65, 2), out;
    other.endpoint = 3;
    vmsig_ctx_submit(c, UP, &other);
    int waited = 0;
    do {
        waited++;
        cr_assert_eq(vmsig_ctx_next(c, UP, &out), 1);
    } while (out.kind != 65);
    cr_expect_leq(waited, 2);
    vmsig_ctx_free(c);
}

/* ---- min_gap ------------------------------------------------------------------------------------------- */

Test(pacing, first_at_once_then_exactly_at_the_gap) {
    vmsig_ctx *c = make();
    policy(c, UP, 1000, 0, 0, 0);
    put(c, 64, 1, 0);
    put(c, 64, 2, 0);
    put(c, 64, 3, 0);
    expect_next(c, 64, 1);
    expect_none(c);
    clock_now += 999;
    expect_none(c);
    clock_now += 1;
    expect_next(c, 64, 2);
    expect_none(c);
    clock_now += 1000;
    expect_next(c, 64, 3);
    vmsig_ctx_free(c);
}

Test(pacing, idle_time_earns_no_credit_and_a_late_dispatch_shifts_the_next) {
    vmsig_ctx *c = make();
    policy(c, UP, 1000, 0, 0, 0);
    put(c, 64, 1, 0);
    expect_next(c, 64, 1);
    clock_now += 10500;
    for (uint32_t i = 2; i < 5; i++)
        put(c, 64, i, 0);
    expect_next(c, 64, 2);
    expect_none(c);
    clock_now += 1700; /* the caller is late: the gap counts from here */
    expect_next(c, 64, 3);
    clock_now += 999;
    expect_none(c);
    clock_now += 1;
    expect_next(c, 64, 4);
    vmsig_ctx_free(c);
}

Test(pacing, is_per_endpoint_and_shared_by_the_classes_of_a_channel) {
    vmsig_ctx *c = make();
    policy(c, UP, 1000, 0, 0, 0);
    vmsig_event other = event(64, 9);
    other.endpoint = 1;
    put(c, 64, 1, VMSIG_PRIO_LOW);
    put(c, 64, 2, VMSIG_PRIO_HIGH);
    vmsig_ctx_submit(c, UP, &other);
    expect_next(c, 64, 2);
    expect_next(c, 64, 9);
    expect_none(c);
    clock_now += 1000;
    expect_next(c, 64, 1);
    vmsig_ctx_free(c);
}

Test(pacing, changed_live_keeps_what_is_queued) {
    vmsig_ctx *c = make();
    policy(c, UP, 1000000, 0, 0, 0);
    for (uint32_t i = 0; i < 4; i++)
        put(c, 64, i, 0);
    expect_next(c, 64, 0);
    expect_none(c);
    policy(c, UP, 10, 0, 0, 0);
    clock_now += 10;
    expect_next(c, 64, 1);
    expect_none(c);
    cr_assert_eq(vmsig_ctx_set_policy(c, SRC, UP, VMSIG_PRIO_LOW, NULL), 0);
    expect_next(c, 64, 2);
    expect_next(c, 64, 3);
    vmsig_ctx_free(c);
}

/* ---- coalesce ------------------------------------------------------------------------------------------ */

Test(coalesce, newest_body_merged_first_place_and_seq_at_the_windows_end) {
    vmsig_ctx *c = make();
    policy(c, UP, 0, 1000, 0, 0);
    cr_expect_eq(put(c, 64, 1, 0), 0);
    clock_now += 500;
    cr_expect_eq(put(c, 64, 2, 0), 1);
    cr_expect_eq(put(c, 65, 50, 0), 0);
    clock_now += 499;
    cr_expect_eq(put(c, 64, 3, 0), 1);
    expect_none(c);
    clock_now += 1;
    cr_expect_eq(put(c, 64, 4, 0), 0, "the window has closed");
    vmsig_event out;
    cr_assert_eq(vmsig_ctx_next(c, UP, &out), 1);
    cr_expect_eq(value_of(&out), 3);
    cr_expect_eq(out.merged, 3);
    cr_expect_eq(out.seq, 1);
    expect_none(c);
    clock_now += 500;
    expect_next(c, 65, 50);
    clock_now += 499;
    expect_none(c);
    clock_now += 1;
    expect_next(c, 64, 4);
    vmsig_ctx_free(c);
}

Test(coalesce, every_submit_takes_a_seq) {
    vmsig_ctx *c = make();
    policy(c, UP, 0, 1000, 0, 0);
    for (uint64_t i = 1; i <= 3; i++) {
        vmsig_event ev = event(64, 1);
        cr_expect_eq(vmsig_ctx_submit(c, UP, &ev), i > 1);
        cr_expect_eq(ev.seq, i);
    }
    vmsig_ctx_free(c);
}

static vmsig_event input_event(uint8_t type, uint16_t code, int32_t value, uint64_t token) {
    vmsig_event ev = {.ts_ns = 1, .source = SRC, .kind = VMSIG_CMD_INPUT, .inln_len = sizeof(vmsig_input)};
    vmsig_input in = {.type = type, .code = code, .value = value, .down = type <= VMSIG_INPUT_BTN};
    ev.token = token;
    memcpy(ev.inln, &in, sizeof in);
    return ev;
}

static int put_input(vmsig_ctx *c, uint8_t type, uint16_t code, int32_t value) {
    vmsig_event ev = input_event(type, code, value, 7);
    return vmsig_ctx_submit(c, DOWN, &ev);
}

/* Both: a survivor goes out at its window's end, or at the gap's, whichever is later, to the nanosecond. */
Test(coalesce, a_survivor_keeps_the_gap_too) {
    static const struct { uint32_t gap, window; } rows[] = {{1000, 300}, {300, 1000}};
    for (unsigned i = 0; i < 2; i++) {
        vmsig_ctx *c = make();
        uint64_t t0 = clock_now;
        policy(c, UP, rows[i].gap, rows[i].window, 0, 0);
        put(c, 64, 1, 0);
        clock_now = t0 + rows[i].window - 1;
        expect_none(c);
        clock_now = t0 + rows[i].window;
        expect_next(c, 64, 1); /* the first at its window's end; the gap counts from here */
        put(c, 64, 2, 0);
        uint64_t wait = rows[i].gap > rows[i].window ? rows[i].gap : rows[i].window;
        clock_now = t0 + rows[i].window + wait - 1;
        put(c, 64, 3, 0); /* while it waits for the gap it takes newer ones along only within its window */
        expect_none(c);
        clock_now++;
        expect_next(c, 64, rows[i].gap > rows[i].window ? 2 : 3);
        vmsig_ctx_free(c);
    }
}

Test(coalesce, relative_motion_adds_up_saturating) {
    vmsig_ctx *c = make();
    policy(c, DOWN, 0, 1000, 0, 0);
    cr_expect_eq(put_input(c, VMSIG_INPUT_REL, 0, INT32_MAX - 5), 0);
    cr_expect_eq(put_input(c, VMSIG_INPUT_REL, 1, INT32_MIN + 5), 1);
    cr_expect_eq(put_input(c, VMSIG_INPUT_REL, 0, 6), 1);
    cr_expect_eq(put_input(c, VMSIG_INPUT_REL, 1, -6), 1);
    clock_now += 1000;
    vmsig_event out;
    vmsig_input in[2];
    cr_assert_eq(vmsig_ctx_next(c, DOWN, &out), 1);
    cr_assert_eq(out.inln_len, sizeof in);
    memcpy(in, out.inln, sizeof in);
    cr_expect_eq(in[0].value, INT32_MAX);
    cr_expect_eq(in[1].value, INT32_MIN);
    cr_expect_eq(out.merged, 4);
    vmsig_ctx_free(c);
}

Test(coalesce, absolute_motion_keeps_the_newest) {
    vmsig_ctx *c = make();
    policy(c, DOWN, 0, 1000, 0, 0);
    put_input(c, VMSIG_INPUT_ABS, 0, 100);
    cr_expect_eq(put_input(c, VMSIG_INPUT_ABS, 0, 90), 1);
    clock_now += 1000;
    vmsig_event out;
    vmsig_input in;
    cr_assert_eq(vmsig_ctx_next(c, DOWN, &out), 1);
    memcpy(&in, out.inln, sizeof in);
    cr_expect_eq(in.value, 90);
    vmsig_ctx_free(c);
}

Test(coalesce, never_across_a_key_edge) {
    vmsig_ctx *c = make();
    policy(c, DOWN, 0, 1000, 0, 0);
    cr_expect_eq(put_input(c, VMSIG_INPUT_REL, 0, 1), 0);
    cr_expect_eq(put_input(c, VMSIG_INPUT_KEY, 30, 0), 0);
    cr_expect_eq(put_input(c, VMSIG_INPUT_REL, 0, 2), 0);
    cr_expect_eq(put_input(c, VMSIG_INPUT_BTN, 272, 0), 0);
    cr_expect_eq(put_input(c, VMSIG_INPUT_BTN, 272, 0), 0);
    clock_now += 2000;
    uint8_t types[] = {VMSIG_INPUT_REL, VMSIG_INPUT_KEY, VMSIG_INPUT_REL, VMSIG_INPUT_BTN, VMSIG_INPUT_BTN};
    for (size_t i = 0; i < sizeof types; i++) {
        vmsig_event out;
        cr_assert_eq(vmsig_ctx_next(c, DOWN, &out), 1);
        cr_expect_eq(out.inln[0], types[i]);
    }
    vmsig_ctx_free(c);
}

Test(coalesce, never_across_token_epoch_or_anything_destructive) {
    vmsig_ctx *c = make();
    policy(c, DOWN, 0, 1000, 0, 0);
    vmsig_event ev = input_event(VMSIG_INPUT_REL, 0, 1, 7);
    cr_expect_eq(vmsig_ctx_submit(c, DOWN, &ev), 0);
    cr_expect_eq(vmsig_ctx_submit(c, DOWN, &ev), 1);
    ev.token = 8;
    cr_expect_eq(vmsig_ctx_submit(c, DOWN, &ev), 0, "another token");
    ev.epoch = 2;
    cr_expect_eq(vmsig_ctx_submit(c, DOWN, &ev), 0, "another epoch");
    uint8_t kinds[] = {VMSIG_CMD_LIFECYCLE, VMSIG_CMD_VM, VMSIG_CMD_MEMWRITE, VMSIG_CMD_LEASE};
    for (size_t i = 0; i < sizeof kinds; i++) {
        vmsig_event d = event(kinds[i], 1);
        d.source = VMSIG_SRC_VMHOST;
        cr_expect_eq(vmsig_ctx_submit(c, DOWN, &d), 0);
        cr_expect_eq(vmsig_ctx_submit(c, DOWN, &ev), 0, "after a command of kind %u", kinds[i]);
    }
    vmsig_ctx_free(c);
}

Test(coalesce, never_across_what_was_lost) {
    vmsig_ctx *c = make();
    policy(c, UP, 0, 1000, 0, 0);
    put_epoch(c, VMSIG_EV_EPOCH_END, 9, 1);
    expect_next(c, VMSIG_EV_EPOCH_END, 9);
    cr_expect_eq(put_epoch(c, 64, 1, 2), 0);
    cr_expect_eq(put_epoch(c, 64, 2, 2), 1);
    cr_expect_eq(put_epoch(c, 64, 3, 1), 1, "it comes too late");
    cr_expect_eq(put_epoch(c, 64, 4, 2), 0, "it would overtake the LOST");
    cr_expect_eq(put_epoch(c, 64, 5, 2), 1);
    clock_now += 1000;
    expect_next(c, 64, 2);
    expect_lost(c, 4, 4, 1, VMSIG_LOST_EPOCH);
    expect_next(c, 64, 5);
    vmsig_ctx_free(c);
}

Test(coalesce, what_must_not_be_merged_is_not) {
    vmsig_ctx *c = make();
    policy(c, UP, 0, 1000, 0, 0);
    uint8_t kinds[] = {VMSIG_EV_RESULT,     VMSIG_EV_LEASE, VMSIG_EV_MEMCTX_INVALID, VMSIG_EV_SNAPSHOT_END,
                       VMSIG_CMD_LIFECYCLE, VMSIG_CMD_VM,   VMSIG_CMD_MEMWRITE};
    for (size_t i = 0; i < sizeof kinds; i++) {
        cr_expect_eq(put(c, kinds[i], 1, 0), 0);
        cr_expect_eq(put(c, kinds[i], 2, 0), 0, "kind %u", kinds[i]);
    }
    vmsig_ctx_free(c);
}

Test(coalesce, the_absorbed_payload_is_freed_and_the_newest_kept) {
    vmsig_ctx *c = make();
    policy(c, UP, 0, 1000, 0, 0);
    for (int i = 0; i < 3; i++) {
        vmsig_event ev = event(64, 1);
        ev.payload = malloc(100);
        ev.payload_len = 100;
        memset(ev.payload, i, 100);
        cr_assert_eq(vmsig_ctx_submit(c, UP, &ev), i > 0);
    }
    clock_now += 1000;
    vmsig_event out;
    cr_assert_eq(vmsig_ctx_next(c, UP, &out), 1);
    cr_assert_eq(out.payload_len, 100);
    cr_expect_eq(((uint8_t *)out.payload)[99], 2);
    free(out.payload);
    vmsig_ctx_free(c);
}

/* ---- max_inflight -------------------------------------------------------------------------------------- */

Test(inflight, oldest_is_evicted_and_the_run_told_in_its_place) {
    vmsig_ctx *c = make();
    policy(c, UP, 0, 0, 2, VMSIG_DROP_OLDEST);
    for (uint32_t i = 1; i <= 5; i++)
        cr_expect_eq(put(c, 64, i, 0), 0);
    expect_lost(c, 1, 3, 3, VMSIG_LOST_OLDEST);
    expect_next(c, 64, 4);
    expect_next(c, 64, 5);
    expect_none(c);
    vmsig_ctx_free(c);
}

Test(inflight, newest_refuses_and_the_run_is_told_at_the_end) {
    vmsig_ctx *c = make();
    policy(c, UP, 0, 0, 2, VMSIG_DROP_NEWEST);
    for (uint32_t i = 1; i <= 4; i++)
        cr_expect_eq(put(c, 64, i, 0), i > 2);
    expect_next(c, 64, 1);
    cr_expect_eq(put(c, 64, 5, 0), 0);
    cr_expect_eq(put(c, 64, 6, 0), 1);
    expect_next(c, 64, 2);
    expect_lost(c, 3, 4, 2, VMSIG_LOST_NEWEST);
    expect_next(c, 64, 5);
    expect_lost(c, 6, 6, 1, VMSIG_LOST_NEWEST);
    expect_none(c);
    vmsig_ctx_free(c);
}

Test(inflight, block_answers_eagain_and_changes_nothing) {
    vmsig_ctx *c = make();
    policy(c, UP, 0, 0, 1, VMSIG_DROP_BLOCK);
    cr_expect_eq(put(c, 64, 1, 0), 0);
    vmsig_event ev = event(64, 2);
    ev.payload = malloc(10);
    ev.payload_len = 10;
    errno = 0;
    cr_expect_eq(vmsig_ctx_submit(c, UP, &ev), -1);
    cr_expect_eq(errno, EAGAIN);
    cr_expect_eq(ev.seq, 0);
    free(ev.payload);
    expect_next(c, 64, 1);
    vmsig_event again = event(64, 2);
    cr_expect_eq(vmsig_ctx_submit(c, UP, &again), 0);
    cr_expect_eq(again.seq, 2);
    vmsig_ctx_free(c);
}

Test(inflight, urgent_is_never_dropped_nor_counted) {
    vmsig_ctx *c = make();
    policy(c, UP, 0, 0, 1, VMSIG_DROP_NEWEST);
    cr_expect_eq(put(c, 64, 1, 0), 0);
    for (uint32_t i = 0; i < 5; i++)
        cr_expect_eq(put(c, 64, 10 + i, VMSIG_PRIO_URGENT), 0);
    cr_expect_eq(put(c, 64, 2, 0), 1);
    for (uint32_t i = 0; i < 5; i++)
        expect_next(c, 64, 10 + i);
    expect_next(c, 64, 1);
    vmsig_ctx_free(c);
}

Test(inflight, lost_uses_no_quota_and_is_not_paced) {
    vmsig_ctx *c = make();
    policy(c, UP, 1000, 0, 1, VMSIG_DROP_OLDEST);
    put(c, 64, 1, 0);
    expect_next(c, 64, 1);
    put(c, 64, 2, 0);
    put(c, 64, 3, 0);
    expect_lost(c, 2, 2, 1, VMSIG_LOST_OLDEST);
    expect_none(c);
    clock_now += 1000;
    expect_next(c, 64, 3);
    vmsig_ctx_free(c);
}

Test(inflight, a_merged_one_counts_all_that_it_stood_for) {
    vmsig_ctx *c = make();
    policy(c, UP, 0, 1000, 1, VMSIG_DROP_OLDEST);
    put(c, 64, 1, 0);
    put(c, 64, 2, 0);
    put(c, 65, 3, 0);
    expect_lost(c, 1, 2, 2, VMSIG_LOST_OLDEST);
    vmsig_ctx_free(c);
}

static uint32_t answered[16];
static void note_answer(void *ud, uint64_t corr, uint32_t endpoint, uint32_t source, uint32_t epoch,
                        vmsig_status status, uint64_t detail) {
    (void)ud, (void)endpoint, (void)source, (void)epoch, (void)detail;
    answered[corr] = (uint32_t)status + 100;
}

Test(inflight, a_dropped_or_merged_command_is_answered) {
    vmsig_ctx *c = make();
    vmsig_ctx_on_answer(c, note_answer, NULL);
    policy(c, DOWN, 0, 1000, 1, VMSIG_DROP_NEWEST);
    for (uint64_t i = 1; i <= 3; i++) {
        vmsig_event ev = input_event(i == 3 ? VMSIG_INPUT_KEY : VMSIG_INPUT_REL, 0, 1, 7);
        ev.corr = i;
        cr_expect_eq(vmsig_ctx_submit(c, DOWN, &ev), i > 1);
    }
    cr_expect_eq(answered[1], 0);
    cr_expect_eq(answered[2], 100 + VMSIG_OK);
    cr_expect_eq(answered[3], 100 + VMSIG_DROPPED);
    vmsig_ctx_free(c);
}

/* ---- reserved slots, epochs ---------------------------------------------------------------------------- */

Test(epoch, invalidate_leaves_at_once) {
    vmsig_ctx *c = make();
    policy(c, UP, 1000000, 1000000, 1, VMSIG_DROP_NEWEST);
    put(c, 64, 1, VMSIG_PRIO_URGENT);
    put(c, 64, 2, 0);
    cr_expect_eq(put(c, VMSIG_EV_MEMCTX_INVALID, 3, 0), 0);
    cr_expect_eq(put(c, VMSIG_EV_MEMCTX_INVALID, 4, 0), 0);
    expect_next(c, VMSIG_EV_MEMCTX_INVALID, 3);
    expect_next(c, VMSIG_EV_MEMCTX_INVALID, 4);
    expect_none(c);
    vmsig_ctx_free(c);
}

Test(epoch, end_follows_what_is_delivered_and_precedes_the_next) {
    vmsig_ctx *c = make();
    put_epoch(c, 64, 1, 1);
    put_epoch(c, 64, 2, 1);
    put_epoch(c, VMSIG_EV_EPOCH_END, 3, 1);
    put_epoch(c, 64, 4, 2);
    put_epoch(c, VMSIG_EV_MEMCTX_INVALID, 5, 2);
    cr_expect_eq(put_epoch(c, 64, 6, 1), 1, "too late");
    expect_next(c, 64, 1);
    expect_next(c, 64, 2);
    expect_next(c, VMSIG_EV_EPOCH_END, 3);
    expect_next(c, VMSIG_EV_MEMCTX_INVALID, 5);
    expect_next(c, 64, 4);
    expect_lost(c, 6, 6, 1, VMSIG_LOST_EPOCH);
    expect_none(c);
    vmsig_ctx_free(c);
}

Test(epoch, the_rest_is_lost_after_exactly_the_drain_time) {
    vmsig_ctx *c = make();
    policy(c, UP, VMSIG_DRAIN_NS, 0, 0, 0);
    for (uint32_t i = 1; i <= 4; i++)
        put_epoch(c, 64, i, 1);
    expect_next(c, 64, 1);
    clock_now += 10;
    put_epoch(c, VMSIG_EV_EPOCH_END, 9, 1);
    put_epoch(c, 64, 20, 2);
    clock_now += VMSIG_DRAIN_NS - 10;
    expect_next(c, 64, 2); /* under its pacing */
    clock_now += 9;
    expect_none(c);
    clock_now += 1;
    expect_lost(c, 3, 4, 2, VMSIG_LOST_EPOCH);
    expect_next(c, VMSIG_EV_EPOCH_END, 9);
    expect_none(c);
    clock_now += VMSIG_DRAIN_NS - 10;
    expect_next(c, 64, 20);
    cr_expect_eq(put_epoch(c, 64, 5, 1), 1, "a late arrival");
    vmsig_event out;
    cr_assert_eq(vmsig_ctx_next(c, UP, &out), 1);
    cr_expect_eq(out.kind, VMSIG_EV_LOST);
    cr_expect_eq(out.epoch, 0, "nothing of an ended epoch after its end");
    vmsig_ctx_free(c);
}

Test(epoch, ends_in_a_row_and_other_endpoints_go_on) {
    vmsig_ctx *c = make();
    policy(c, UP, 1000, 0, 0, 0);
    put_epoch(c, 64, 1, 1);
    put_epoch(c, 64, 2, 1);
    put_epoch(c, VMSIG_EV_EPOCH_END, 3, 1);
    put_epoch(c, 64, 4, 2);
    put_epoch(c, VMSIG_EV_EPOCH_END, 5, 2);
    put_epoch(c, 64, 6, 3);
    vmsig_event other = event(64, 77);
    other.endpoint = 5;
    vmsig_ctx_submit(c, UP, &other);
    uint32_t kinds[] = {64, 64, 64, VMSIG_EV_EPOCH_END, 64, VMSIG_EV_EPOCH_END, 64};
    uint32_t values[] = {1, 77, 2, 3, 4, 5, 6};
    for (int i = 0; i < 7;) {
        vmsig_event out;
        int r = vmsig_ctx_next(c, UP, &out);
        if (r == 0) {
            clock_now += 1000;
            continue;
        }
        cr_assert_eq(out.kind, kinds[i], "place %d", i);
        cr_assert_eq(value_of(&out), values[i], "place %d", i);
        i++;
    }
    vmsig_ctx_free(c);
}

/* ---- bad arguments, memory, the timing fd --------------------------------------------------------------- */

Test(arguments, are_refused_and_change_nothing) {
    vmsig_ctx *c = make();
    vmsig_event good = event(64, 1), out;
    vmsig_event bad[12];
    for (size_t i = 0; i < 12; i++)
        bad[i] = good;
    bad[0].endpoint = 64;
    bad[1].source = 32;
    bad[2].prio = 5;
    bad[3].kind = 0;
    bad[4].kind = 20;
    bad[5].kind = 40;
    bad[6].inln_len = VMSIG_INLINE_MAX + 1;
    bad[7].payload_len = 5;
    bad[8].payload = &bad[8];
    bad[9].flags = 4;
    bad[10].payload = &bad[10];
    bad[10].payload_len = VMSIG_PAYLOAD_MAX + 1;
    bad[11].kind = 63;
    for (size_t i = 0; i < 12; i++) {
        errno = 0;
        cr_expect_eq(vmsig_ctx_submit(c, UP, &bad[i]), -1, "case %zu", i);
        cr_expect_eq(errno, EINVAL);
        cr_expect_eq(bad[i].seq, 0);
    }
    vmsig_timing t = {.drop_policy = 3};
    cr_expect_eq(vmsig_ctx_submit(c, (vmsig_dir)2, &good), -1);
    cr_expect_eq(vmsig_ctx_submit(c, UP, NULL), -1);
    cr_expect_eq(vmsig_ctx_submit(NULL, UP, &good), -1);
    cr_expect_eq(vmsig_ctx_next(c, UP, NULL), -1);
    cr_expect_eq(vmsig_ctx_next(c, (vmsig_dir)7, &out), -1);
    cr_expect_eq(vmsig_ctx_set_policy(c, (vmsig_source)32, UP, 0, NULL), -1);
    cr_expect_eq(vmsig_ctx_set_policy(c, SRC, (vmsig_dir)2, 0, NULL), -1);
    cr_expect_eq(vmsig_ctx_set_policy(c, SRC, UP, (vmsig_prio)5, NULL), -1);
    cr_expect_eq(vmsig_ctx_set_policy(c, SRC, UP, 0, &t), -1);
    t = (vmsig_timing){.min_gap_ns = 1, .drop_policy = 9};
    cr_expect_eq(vmsig_ctx_set_policy(c, SRC, UP, 0, &t), -1);
    cr_expect_eq(vmsig_ctx_timing_fd(c, UP), -1);
    cr_expect_eq(vmsig_ctx_submit(c, UP, &good), 0);
    cr_expect_eq(good.seq, 1, "refused submits took no seq");
    vmsig_ctx_free(c);
    vmsig_ctx_free(NULL);
}

Test(arguments, ts_zero_is_replaced_by_the_present) {
    vmsig_ctx *c = make();
    vmsig_event ev = event(64, 1), out;
    ev.ts_ns = 0;
    vmsig_ctx_submit(c, UP, &ev);
    cr_expect_eq(ev.ts_ns, clock_now);
    vmsig_ctx_next(c, UP, &out);
    cr_expect_eq(out.ts_ns, clock_now);
    vmsig_ctx_free(c);
}

Test(timing_fd, appears_with_a_policy_stays_and_fires_when_something_matures) {
    vmsig_ctx *c = vmsig_ctx_new();
    cr_expect_eq(vmsig_ctx_timing_fd(c, UP), -1);
    policy(c, UP, 0, 0, 5, 0);
    cr_expect_eq(vmsig_ctx_timing_fd(c, UP), -1, "max_inflight needs no timer");
    policy(c, UP, 20000000, 0, 0, 0);
    int fd = vmsig_ctx_timing_fd(c, UP);
    cr_assert_geq(fd, 0);
    cr_expect_eq(vmsig_ctx_timing_fd(c, DOWN), -1);
    put(c, 64, 1, 0);
    put(c, 64, 2, 0);
    expect_next(c, 64, 1);
    expect_none(c);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    cr_assert_eq(poll(&p, 1, 5000), 1);
    expect_next(c, 64, 2);
    expect_none(c);
    cr_expect_eq(poll(&p, 1, 0), 0, "nothing is left to mature");
    policy(c, UP, 0, 0, 0, 0);
    cr_expect_eq(vmsig_ctx_timing_fd(c, UP), fd);
    vmsig_ctx_free(c);
}

Test(memory, none_is_allocated_per_event_after_warm_up) {
    vmsig_ctx *c = make();
    policy(c, UP, 10, 100, 50, VMSIG_DROP_OLDEST);
    vmsig_event out;
    for (int round = 0; round < 2; round++) {
        size_t before = mallinfo2().uordblks;
        for (uint32_t i = 0; i < 5000; i++) {
            put(c, (uint8_t)(64 + i % 7), i, (uint8_t)(i % 5));
            clock_now += 3;
            if (i % 3)
                vmsig_ctx_next(c, UP, &out);
        }
        if (round == 1)
            cr_expect_eq(mallinfo2().uordblks, before);
    }
    vmsig_ctx_free(c);
}
