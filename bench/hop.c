/* One hop: two processes, one ring each way.
 *
 * Ping-pong: one event at a time, there and back; one way is half of it. On a schedule: one event each PERIOD, one way,
 * counted from the moment for which it was scheduled, so that a stall counts for all that it held up (no coordinated
 * omission). The public API: two actors of a topology of their own (pair.h).
 */
#include "bench/pair.h"
#include "bench/way.h"

#define ASKS      100000u
#define BEATS     200000u
#define PERIOD_NS 2000u

typedef struct hop {
    void *line;
    bench_bare *bare[2];
    bench_way there, back;
    uint64_t n, period; /* ticks */
    bench_hist *hist;   /* shared: the peer's, where it is the peer that takes the time */
} hop;

static void line_answer(void *arg) {
    hop *h = arg;
    bench_line_answer(h->line, h->n);
}
static void line_ask(hop *h, bench_hist *hist) {
    bench_line_ask(h->line, h->n, hist);
}

static void bare_answer(void *arg) {
    hop *h = arg;
    for (uint64_t q = 0; q < h->n; q++)
        bench_bare_put(h->bare[1], bench_bare_take(h->bare[0], q) != UINT64_MAX ? q : 0);
}
static void bare_ask(hop *h, bench_hist *hist) {
    for (uint64_t q = 0; q < h->n; q++) {
        uint64_t t = bench_ticks();
        bench_bare_put(h->bare[0], q);
        bench_bare_take(h->bare[1], q);
        bench_hist_add(hist, bench_ticks() - t);
    }
}

static void ring_answer(void *arg) {
    hop *h = arg;
    for (uint64_t q = 0; q < h->n; q++) {
        bench_way_take(&h->there, BENCH_SPIN);
        bench_way_put(&h->back, q);
        bench_way_flush(&h->back);
        vmsig_ring_release(&h->there.in);
    }
}
static void ring_ask(hop *h, bench_hist *hist) {
    for (uint64_t q = 0; q < h->n; q++) {
        uint64_t t = bench_ticks();
        bench_way_put(&h->there, q);
        bench_way_flush(&h->there);
        bench_way_take(&h->back, BENCH_SPIN);
        bench_hist_add(hist, bench_ticks() - t);
        vmsig_ring_release(&h->back.in);
    }
}

/* ---- on a schedule: the event's time is the moment for which it was scheduled ------------------------------ */

static void bare_receive(void *arg) {
    hop *h = arg;
    vmsig_store64(h->line, 1);
    for (uint64_t q = 0; q < h->n; q++) {
        const vmsig_slot *s = &h->bare[0]->slot[q % BENCH_SLOTS];
        bench_bare_take(h->bare[0], q);
        bench_hist_add(h->hist, bench_ticks() - s->origin);
    }
}
static void ring_receive(void *arg) {
    hop *h = arg;
    vmsig_store64(h->line, 1);
    for (uint64_t q = 0; q < h->n; q++) {
        const vmsig_slot *s = bench_way_wait(&h->there, BENCH_SPIN);
        bench_hist_add(h->hist, bench_ticks() - s->origin);
        vmsig_ring_advance(&h->there.in);
        vmsig_ring_release(&h->there.in);
    }
}

static uint64_t next_beat(const hop *h, uint64_t due) {
    while (bench_ticks() < due + h->period)
        vmsig_pause();
    return due + h->period;
}

static void bare_send(hop *h) {
    uint64_t due = bench_ticks();
    for (uint64_t q = 0; q < h->n; q++) {
        due = next_beat(h, due);
        while (q == h->bare[0]->limit + BENCH_SLOTS)
            h->bare[0]->limit = vmsig_load64_acquire(&h->bare[0]->taken);
        vmsig_slot *s = &h->bare[0]->slot[q % BENCH_SLOTS];
        bench_fill(s, q);
        s->origin = due;
        vmsig_store64_release(&s->turn, q + 1);
    }
}
static void ring_send(hop *h) {
    uint64_t due = bench_ticks();
    for (uint64_t q = 0; q < h->n; q++) {
        vmsig_slot *s;
        due = next_beat(h, due);
        while ((s = vmsig_ring_next(&h->there.out)) == NULL)
            vmsig_pause();
        bench_fill(s, q);
        s->origin = due;
        vmsig_ring_publish1(&h->there.out);
        bench_way_flush(&h->there);
    }
}

/* ---- rounds ---------------------------------------------------------------------------------------------- */

static void open_hop(hop *h) {
    memset(h->line, 0, 8192);
    memset(h->bare[0], 0, sizeof *h->bare[0]);
    memset(h->bare[1], 0, sizeof *h->bare[1]);
    bench_hist_reset(h->hist);
    bench_way_open(&h->there, BENCH_SLOTS, 0);
    bench_way_open(&h->back, BENCH_SLOTS, 0);
    bench_way_sleepless(&h->there);
    bench_way_sleepless(&h->back);
}

static void close_hop(hop *h) {
    bench_way_close(&h->there);
    bench_way_close(&h->back);
}

static void ping_pong(const bench_options *o, hop *h, bench_series *s, void (*answer)(void *),
                      void (*ask)(hop *, bench_hist *)) {
    h->n = bench_scaled(o, ASKS);
    open_hop(h);
    pid_t peer = bench_fork(o, answer, h);
    ask(h, h->hist);
    bench_join(peer);
    close_hop(h);
    bench_add_latency(s, h->hist, 2);
}

static void schedule(const bench_options *o, hop *h, bench_series *s, void (*receive)(void *), void (*send)(hop *)) {
    h->n = bench_scaled(o, BEATS);
    h->period = bench_ticks_of(PERIOD_NS);
    open_hop(h);
    pid_t peer = bench_fork(o, receive, h);
    while (vmsig_load64(h->line) == 0) /* it is there */
        vmsig_pause();
    send(h);
    bench_join(peer);
    close_hop(h);
    bench_add_latency(s, h->hist, 1);
}

/* Up for its measurement only: it spins. */
static void ask_actors(const bench_options *o, const char *poll, bench_series *s) {
    bench_beds beds = {0};
    bench_pair p;
    bench_pair_start(&p, &beds, poll, o->cpu[0], o->cpu[1]);
    bench_add_latency_ns(s, bench_pair_ask(&p, bench_scaled(o, ASKS), 0), 2);
    bench_pair_stop(&p);
    bench_pin(o->cpu[0]);
}

static void report(const bench_options *o, const bench_series *s, const bench_series *line, const bench_series *slot) {
    bench_report(o, s, (const bench_series *[]){line, slot}, 2);
}

void bench_hop(const bench_options *o) {
    static bench_series line = {.name = "floor: a line"}, slot = {.name = "floor: a bare slot"},
                        ring = {.name = "ring, spinning"}, slot_due = {.name = "floor: a bare slot, on schedule"},
                        ring_due = {.name = "ring, spinning, on schedule"}, spin = {.name = "actors, spinning"},
                        adaptive = {.name = "actors, adaptive, busy"};
    if (o->cpu[0] == o->cpu[1]) {
        bench_note(o, "hop: it takes two processors to spin; see `bench wake` for one");
        return;
    }
    hop h = {.line = bench_shared(8192),
             .bare = {bench_shared(sizeof(bench_bare)), bench_shared(sizeof(bench_bare))},
             .hist = bench_shared(sizeof(bench_hist))};
    for (unsigned i = 0; i < o->rounds; i++) {
        bench_progress(o, i);
        ping_pong(o, &h, &line, line_answer, line_ask);
        ping_pong(o, &h, &slot, bare_answer, bare_ask);
        ping_pong(o, &h, &ring, ring_answer, ring_ask);
        schedule(o, &h, &slot_due, bare_receive, bare_send);
        schedule(o, &h, &ring_due, ring_receive, ring_send);
        ask_actors(o, "spin", &spin);
        ask_actors(o, "adaptive", &adaptive);
    }
    bench_report_title(o, "two processes, one way, 64 bytes, spinning");
    bench_report(o, &line, NULL, 0);
    bench_report(o, &slot, (const bench_series *[]){&line}, 1);
    report(o, &ring, &line, &slot);
    bench_report(o, &slot_due, NULL, 0);
    bench_report(o, &ring_due, (const bench_series *[]){&slot_due}, 1);
    report(o, &spin, &line, &slot);
    bench_report(o, &adaptive, (const bench_series *[]){&spin}, 1);
    bench_note(o, "on schedule: one each %u ns, from the moment for which it was scheduled", PERIOD_NS);
    bench_unshare(h.line, 8192);
    bench_unshare(h.bare[0], sizeof(bench_bare));
    bench_unshare(h.bare[1], sizeof(bench_bare));
    bench_unshare(h.hist, sizeof(bench_hist));
}
