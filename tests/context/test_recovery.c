/* The relay dies after each of its durable stores in turn, in its recovery too; whatever was published to it must then
 * arrive once and in order, merged, or told as lost; and every command has one effect or one answer. */
#include <stdlib.h>

#include "relay_world.h"

#define COMMANDS_MAX 256u
#define EVENTS_MAX   512u

/* What the outside has seen. */
typedef struct ledger {
    uint32_t sent[3];    /* per in-link: events published */
    uint64_t told[3];    /* delivered as themselves or merged, and lost, per source 8 (host), 9 (sensor) */
    uint32_t last[2][5]; /* the last number per source and class */
    uint64_t seqs[4096];
    uint32_t seqs_n;
    uint8_t command_seen[COMMANDS_MAX]; /* at the host, plus answered */
    uint32_t payload_errors;
    uint32_t ended; /* the last EPOCH_END */
} ledger;

static uint32_t rnd_state;
static uint32_t rnd(uint32_t n) {
    rnd_state = rnd_state * 1664525u + 1013904223u;
    return (rnd_state >> 8) % n;
}

/* ---- producers ---------------------------------------------------------------------------------------------- */

static bool publish(world *w, int link, vmsig_event *ev) {
    ev->ts_ns = w->clock;
    ev->merged = 1;
    ev->epoch = w->epoch;
    return vmsig_ring_put_event(&w->ins[link].out, ev) == 0;
}

static void number(vmsig_event *ev, uint32_t n, uint32_t len) {
    memset(ev->inln, (int)(n & 0xff), len);
    memcpy(ev->inln, &n, sizeof n);
    ev->inln_len = len;
}

static void produce_event(world *w, ledger *l, int link, bool payloads) {
    static uint8_t bytes[600];
    static const uint32_t lens[] = {4, 24, 60, 112};
    vmsig_event ev = {.kind = 64, .source = (uint8_t)(8 + link), .dir = VMSIG_DIR_UP};
    number(&ev, l->sent[link] + 1, lens[rnd(4)]);
    ev.prio = (uint8_t)(1 + rnd(4));
    if (payloads && rnd(3) == 0) {
        ev.payload_len = 1 + rnd(sizeof bytes);
        memset(bytes, (int)((l->sent[link] + 1) & 0xff), ev.payload_len);
        ev.payload = bytes;
    }
    if (publish(w, link, &ev))
        l->sent[link]++;
}

static void produce_command(world *w, ledger *l) {
    if (l->sent[2] + 1 >= COMMANDS_MAX)
        return;
    vmsig_event ev = {.kind = VMSIG_CMD_INPUT, .source = VMSIG_SRC_INPUT, .dir = VMSIG_DIR_DOWN, .token = 77};
    vmsig_input in = {.type = rnd(4) == 0 ? VMSIG_INPUT_KEY : VMSIG_INPUT_REL, .value = 1};
    memcpy(ev.inln, &in, sizeof in);
    ev.inln_len = sizeof in;
    ev.corr = l->sent[2] + 1;
    if (publish(w, 2, &ev))
        l->sent[2]++;
}

/* ---- consumers ---------------------------------------------------------------------------------------------- */

static void note_seq(ledger *l, const vmsig_event *ev) {
    for (uint32_t i = 0; i < l->seqs_n; i++)
        cr_assert_neq(l->seqs[i], ev->seq, "seq %lu came twice", ev->seq);
    if (l->seqs_n < 4096)
        l->seqs[l->seqs_n++] = ev->seq;
}

static void check_payload(ledger *l, const vmsig_event *ev, uint32_t n) {
    const uint8_t *p = ev->payload;
    for (uint32_t i = 0; i < ev->payload_len; i++)
        l->payload_errors += p[i] != (uint8_t)(n & 0xff);
}

static void account_up(ledger *l, const vmsig_event *ev) {
    note_seq(l, ev);
    cr_assert(ev->epoch == 0 || ev->epoch == l->ended + 1, "kind %u of epoch %u after the end of %u", ev->kind,
              ev->epoch, l->ended);
    if (ev->kind == VMSIG_EV_EPOCH_END)
        l->ended = ev->epoch;
    if (ev->kind == VMSIG_EV_LOST) {
        vmsig_lost lost;
        memcpy(&lost, ev->inln, sizeof lost);
        cr_assert(lost.source == 8 || lost.source == 9);
        l->told[lost.source - 8] += lost.count;
    } else if (ev->kind == VMSIG_EV_RESULT) {
        l->command_seen[ev->corr]++;
    } else if (ev->kind == 64) {
        uint32_t n;
        memcpy(&n, ev->inln, sizeof n);
        uint32_t *last = &l->last[ev->source - 8][ev->prio];
        cr_assert_gt(n, *last, "number %u of source %u came after %u", n, ev->source, *last);
        *last = n;
        l->told[ev->source - 8] += ev->merged;
        check_payload(l, ev, n);
    }
}

static void drain(world *w, ledger *l, uint32_t most) {
    vmsig_event ev;
    for (uint32_t i = 0; i < most && vmsig_ring_peek(&w->outs[0].in) != NULL; i++) {
        cr_assert_eq(vmsig_ring_get_event(&w->outs[0].in, &ev), 0);
        account_up(l, &ev);
        free(ev.payload);
        vmsig_ring_advance(&w->outs[0].in);
    }
    for (uint32_t i = 0; i < most && vmsig_ring_peek(&w->outs[1].in) != NULL; i++) {
        cr_assert_eq(vmsig_ring_get_event(&w->outs[1].in, &ev), 0);
        if (ev.kind == VMSIG_CMD_INPUT)
            l->command_seen[ev.corr]++;
        vmsig_ring_advance(&w->outs[1].in);
    }
    vmsig_ring_release(&w->outs[0].in);
    vmsig_ring_release(&w->outs[1].in);
}

/* ---- a run -------------------------------------------------------------------------------------------------- */

typedef struct plan {
    uint32_t seed, rounds;
    vmsig_timing up, down;
    bool payloads, epochs;
    uint32_t again; /* the recovery dies too, after so many stores; 0 = it does not */
} plan;

static void one_round(world *w, ledger *l, const plan *p, uint32_t round) {
    for (uint32_t k = rnd(4); k > 0; k--)
        produce_event(w, l, 0, p->payloads);
    for (uint32_t k = rnd(4); k > 0; k--)
        produce_event(w, l, 1, p->payloads);
    for (uint32_t k = rnd(3); k > 0; k--)
        produce_command(w, l);
    if (p->epochs && round % 8 == 7)
        w->epoch++;
    w->clock += rnd(700);
    drain(w, l, rnd(6));
}

/* Runs the relay's part of a round; a crash is followed by a successor, whose start may crash as well. */
static uint32_t relay_part(world *w, void (*fn)(world *), uint32_t again) {
    volatile uint32_t crashes = 0;
    if (setjmp(crashed) != 0) {
        crashes++;
        relay_down(w);
        crash_at = crashes == 1 && again != 0 ? points + again : 0;
        relay_up(w);
        crash_at = 0;
        return crashes;
    }
    fn(w);
    return 0;
}

static void finish(world *w, ledger *l) {
    for (int i = 0; i < 400; i++) {
        w->clock += VMSIG_DRAIN_NS / 100;
        relay_part(w, relay_turn, 0);
        drain(w, l, 100);
    }
    cr_assert_eq(vmsig_relay_queued(w->relay), 0, "%u are stuck", vmsig_relay_queued(w->relay));
    cr_assert_eq(l->told[0], l->sent[0], "host: %lu told of %u", l->told[0], l->sent[0]);
    cr_assert_eq(l->told[1], l->sent[1], "sensor: %lu told of %u", l->told[1], l->sent[1]);
    for (uint32_t i = 1; i <= l->sent[2]; i++)
        cr_assert_eq(l->command_seen[i], 1, "command %u: %u effects or answers", i, l->command_seen[i]);
    cr_assert_eq(l->payload_errors, 0);
    cr_assert_eq(l->ended, w->epoch - 1, "EPOCH_END of %u was the last, %u is on", l->ended, w->epoch);
}

/* The whole story, dying after the k-th store (0: never); how many stores there were. */
static uint64_t story(const plan *p, uint64_t k, uint32_t *crashes) {
    world w;
    static ledger l;
    memset(&l, 0, sizeof l);
    rnd_state = p->seed;
    points = crash_at = 0;
    world_open(&w);
    for (uint32_t s = 8; s <= 9; s++)
        w.timing[VMSIG_DIR_UP][s] = p->up;
    w.timing[VMSIG_DIR_DOWN][VMSIG_SRC_INPUT] = p->down;
    relay_up(&w);
    crash_at = k != 0 ? points + k : 0;
    uint64_t from = points;
    for (uint32_t i = 0; i < p->rounds; i++) {
        one_round(&w, &l, p, i);
        *crashes += relay_part(&w, relay_turn, p->again);
    }
    uint64_t total = points - from;
    crash_at = 0;
    finish(&w, &l);
    world_close(&w);
    return total;
}

static void die_everywhere(plan p) {
    uint32_t crashes = 0, tried = 0;
    uint64_t total = story(&p, 0, &crashes);
    cr_assert_gt(total, 50);
    for (uint64_t k = 1; k <= total; k++, tried++) {
        p.again = k % 3 == 0 ? 1 + (uint32_t)(k / 3) % 7 : 0;
        story(&p, k, &crashes);
    }
    cr_assert_geq(crashes, tried, "%u crashes in %u stories", crashes, tried);
}

Test(recovery, pass_through) {
    die_everywhere((plan){.seed = 1, .rounds = 9});
}
Test(recovery, pass_through_with_payloads) {
    die_everywhere((plan){.seed = 2, .rounds = 9, .payloads = true});
}
Test(recovery, accept_and_dispatch) {
    die_everywhere((plan){.seed = 3, .rounds = 6, .up = {.min_gap_ns = 200}, .down = {.min_gap_ns = 100}});
}
Test(recovery, accept_and_dispatch_with_payloads) {
    die_everywhere((plan){.seed = 4, .rounds = 6, .up = {.min_gap_ns = 300}, .payloads = true});
}
Test(recovery, coalesce) {
    die_everywhere((plan){.seed = 5, .rounds = 6, .up = {.coalesce_ns = 900}, .down = {.coalesce_ns = 900}});
}
Test(recovery, coalesce_with_payloads) {
    die_everywhere((plan){.seed = 6, .rounds = 6, .up = {.coalesce_ns = 900}, .payloads = true});
}
Test(recovery, newest) {
    die_everywhere((plan){.seed = 7,
                          .rounds = 6,
                          .up = {.min_gap_ns = 900, .max_inflight = 2, .drop_policy = VMSIG_DROP_NEWEST},
                          .down = {.min_gap_ns = 900, .max_inflight = 1, .drop_policy = VMSIG_DROP_NEWEST},
                          .payloads = true});
}
Test(recovery, oldest) {
    die_everywhere((plan){.seed = 8,
                          .rounds = 6,
                          .up = {.min_gap_ns = 900, .max_inflight = 2},
                          .down = {.min_gap_ns = 900, .max_inflight = 1},
                          .payloads = true});
}
Test(recovery, block) {
    die_everywhere((plan){.seed = 9,
                          .rounds = 6,
                          .up = {.min_gap_ns = 400, .max_inflight = 2, .drop_policy = VMSIG_DROP_BLOCK},
                          .down = {.min_gap_ns = 400, .max_inflight = 1, .drop_policy = VMSIG_DROP_BLOCK}});
}
Test(recovery, epochs) {
    die_everywhere((plan){.seed = 10, .rounds = 18, .up = {.min_gap_ns = 600}, .epochs = true});
}
