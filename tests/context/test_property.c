/* Random submits, policies, epochs and clocks from a seed: every accepted submit is delivered, merged or told as lost
 * exactly once, in order, and no channel goes faster than its pace. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/context/engine.h"

#define ENDPOINTS 2u
#define SOURCES   3u /* from 8 on */
#define SEEDS     300u
#define OPS       400u

typedef struct model {
    vmsig_ctx *c;
    uint64_t clock;
    uint64_t accepted[ENDPOINTS][SOURCES], told[ENDPOINTS][SOURCES];
    uint64_t last_seq[ENDPOINTS][SOURCES][5];
    uint64_t last_sent[ENDPOINTS][SOURCES]; /* 0 = never since the policy changed */
    uint32_t gap[SOURCES];
    uint32_t epoch[ENDPOINTS], ended[ENDPOINTS];
    uint64_t seq;
} model;

static uint32_t rnd_state;
static uint32_t rnd(uint32_t n) {
    rnd_state = rnd_state * 1664525u + 1013904223u;
    return (rnd_state >> 8) % n;
}

static uint64_t model_clock(void *ud) {
    return ((model *)ud)->clock;
}

static void change_policy(model *m) {
    uint32_t s = rnd(SOURCES);
    vmsig_timing t = {.min_gap_ns = rnd(2) * rnd(500),
                      .coalesce_ns = rnd(2) * rnd(800),
                      .max_inflight = rnd(2) * rnd(6),
                      .drop_policy = (uint8_t)rnd(3)};
    cr_assert_eq(vmsig_ctx_set_policy(m->c, (vmsig_source)(8 + s), VMSIG_DIR_UP, (vmsig_prio)rnd(5), &t), 0);
    m->gap[s] = t.min_gap_ns;
}

static void submit(model *m) {
    uint32_t endpoint = rnd(ENDPOINTS), source = rnd(SOURCES);
    vmsig_event ev = {.endpoint = endpoint,
                      .source = (uint8_t)(8 + source),
                      .kind = (uint8_t)(64 + rnd(3)),
                      .prio = (uint8_t)rnd(5),
                      .epoch = m->epoch[endpoint] - (rnd(10) == 0 && m->epoch[endpoint] > 1),
                      .ts_ns = m->clock,
                      .inln_len = rnd(VMSIG_INLINE_MAX + 1)};
    if (rnd(4) == 0) {
        ev.payload_len = 1 + rnd(64);
        ev.payload = malloc(ev.payload_len);
    }
    int r = vmsig_ctx_submit(m->c, VMSIG_DIR_UP, &ev);
    if (r < 0) {
        cr_assert_eq(errno, EAGAIN);
        free(ev.payload);
        return;
    }
    cr_assert_eq(ev.seq, m->seq++, "every accepted submit takes one seq");
    m->accepted[endpoint][source]++;
}

static void end_epoch(model *m) {
    uint32_t endpoint = rnd(ENDPOINTS);
    vmsig_event ev = {.endpoint = endpoint, .kind = VMSIG_EV_EPOCH_END, .epoch = m->epoch[endpoint]++, .ts_ns = 1};
    cr_assert_eq(vmsig_ctx_submit(m->c, VMSIG_DIR_UP, &ev), 0);
    m->seq++;
}

static void check_pace(model *m, uint32_t endpoint, uint32_t source) {
    uint64_t *last = &m->last_sent[endpoint][source];
    cr_assert(*last == 0 || m->clock >= *last + m->gap[source], "after %lu ns instead of %u", m->clock - *last,
              m->gap[source]);
    *last = m->gap[source] != 0 ? m->clock : 0;
}

static void account(model *m, const vmsig_event *ev) {
    uint32_t source = ev->source - 8u;
    uint64_t count = ev->merged;
    if (ev->kind == VMSIG_EV_EPOCH_END) {
        cr_assert_eq(ev->epoch, m->ended[ev->endpoint] + 1);
        m->ended[ev->endpoint] = ev->epoch;
        return;
    }
    cr_assert(ev->epoch == 0 || ev->epoch > m->ended[ev->endpoint], "of epoch %u after its end", ev->epoch);
    cr_assert_leq(ev->epoch, m->ended[ev->endpoint] + 1, "of epoch %u before the end of the former", ev->epoch);
    if (ev->kind == VMSIG_EV_LOST) {
        vmsig_lost lost;
        memcpy(&lost, ev->inln, sizeof lost);
        source = lost.source - 8u;
        count = lost.count;
        cr_assert_leq(lost.first, lost.last);
        cr_assert_leq(lost.count, lost.last - lost.first + 1);
    } else
        check_pace(m, ev->endpoint, source);
    uint64_t *last = &m->last_seq[ev->endpoint][source][ev->prio];
    cr_assert_gt(ev->seq, *last, "seq %lu after %lu", ev->seq, *last);
    *last = ev->seq;
    m->told[ev->endpoint][source] += count;
}

static bool take(model *m) {
    vmsig_event ev;
    int r = vmsig_ctx_next(m->c, VMSIG_DIR_UP, &ev);
    cr_assert_geq(r, 0);
    if (r == 0)
        return false;
    account(m, &ev);
    free(ev.payload);
    return true;
}

static void run(uint32_t seed) {
    model m = {.clock = 1000000, .seq = 1, .epoch = {1, 1}};
    rnd_state = seed;
    m.c = vmsig_ctx_new_clock(model_clock, &m);
    for (uint32_t i = 0; i < OPS; i++) {
        uint32_t what = rnd(100);
        if (what < 3)
            change_policy(&m);
        else if (what < 5)
            end_epoch(&m);
        else if (what < 60)
            submit(&m);
        else
            take(&m);
        m.clock += rnd(200);
    }
    for (uint32_t i = 0; i < 2000; i++, m.clock += VMSIG_DRAIN_NS / 100)
        while (take(&m))
            ;
    uint64_t bytes, queued;
    vmsig_ctx_usage(m.c, VMSIG_DIR_UP, &bytes, &queued);
    cr_assert_eq(queued, 0, "seed %u: %lu are stuck", seed, queued);
    for (uint32_t e = 0; e < ENDPOINTS; e++)
        for (uint32_t s = 0; s < SOURCES; s++)
            cr_assert_eq(m.told[e][s], m.accepted[e][s], "seed %u: %lu told of %lu", seed, m.told[e][s],
                         m.accepted[e][s]);
    vmsig_ctx_free(m.c);
}

Test(property, every_submit_is_told_once_and_in_order) {
    for (uint32_t seed = 1; seed <= SEEDS; seed++)
        run(seed);
}
