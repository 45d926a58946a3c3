/* One hop: two processes, one ring each way. One way is half a round trip, for the floors and for the ring alike. */
#include <poll.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "rings/bell.h"
#include "rings/ring.h"
#include "rings/shm.h"

#define SLOTS      1024u
#define ASKS_SPIN  100000u
#define ASKS_BLOCK 4000u
#define EVENTS     4000000u
#define TURN       32u
#define RUN        8192u /* events between two looks at the clock, where it is throughput that counts */

/* ---- the floors ---------------------------------------------------------------------------------------- */

/* A bare ring of lines whose first word is their turn: no room to look for, no bell, nobody to distrust. */
typedef struct bare {
    vmsig_slot slot[2][SLOTS];
    alignas(64) uint64_t taken;
} bare;

static void bare_put(bare *b, int way, uint64_t q) {
    vmsig_slot *s = &b->slot[way][q % SLOTS];
    s->ts_ns = q, s->origin = q, s->seq_lo = (uint32_t)q, s->epoch = 1, s->corr_merged = 1;
    memset(s->body, (int)q, sizeof s->body);
    vmsig_store64_release(&s->turn, q + 1);
}

static uint64_t bare_take(bare *b, int way, uint64_t q) {
    const vmsig_slot *s = &b->slot[way][q % SLOTS];
    while (vmsig_load64_acquire(&s->turn) != q + 1)
        vmsig_pause();
    return s->origin + s->body[23];
}

/* ---- the ring ------------------------------------------------------------------------------------------- */

typedef struct way {
    vmsig_ring_out out;
    vmsig_ring_in in;
    int data_bell, room_bell;
    int ring_fd, reader_fd;
} way;

static void way_open(way *w) {
    w->ring_fd = vmsig_shm_create("vmsig-bench-ring", vmsig_ring_bytes(SLOTS, 0));
    w->reader_fd = vmsig_shm_create("vmsig-bench-reader", VMSIG_READER_BYTES);
    w->data_bell = vmsig_bell_create();
    w->room_bell = vmsig_bell_create();
    if (w->ring_fd < 0 || w->reader_fd < 0 || w->data_bell < 0 || w->room_bell < 0)
        bench_fail("no memory for a ring");
    if (vmsig_ring_out_create(&w->out, w->ring_fd, 1, 1, SLOTS, 0, 0, 0) != 0 ||
        vmsig_ring_in_create(&w->in, w->reader_fd, 0, 0) != 0 || vmsig_shm_seal(w->ring_fd) != 0 ||
        vmsig_shm_seal(w->reader_fd) != 0 || vmsig_ring_out_peer(&w->out, w->reader_fd) != 0 ||
        vmsig_ring_in_peer(&w->in, w->ring_fd, 1) != 0)
        bench_fail("a ring could not be set up");
}

static void way_close(way *w) {
    vmsig_ring_out_close(&w->out);
    vmsig_ring_in_close(&w->in);
    close(w->ring_fd);
    close(w->reader_fd);
    close(w->data_bell);
    close(w->room_bell);
}

static void fill(vmsig_slot *s, uint64_t q) {
    s->ts_ns = q, s->origin = q, s->seq_lo = (uint32_t)q, s->epoch = 1, s->corr_merged = 1;
    s->kind = 64, s->route = 0, s->lane = 9, s->shape = VMSIG_HEAD_BODY;
    memset(s->body, (int)q, sizeof s->body);
}

static void flush(way *w) {
    if (vmsig_ring_flush(&w->out))
        vmsig_bell_ring(w->data_bell);
}

static void put(way *w, uint64_t q) {
    vmsig_slot *s;
    while ((s = vmsig_ring_next(&w->out)) == NULL) {
        flush(w);
        vmsig_pause();
    }
    fill(s, q);
    vmsig_ring_publish1(&w->out);
}

static void wait_bell(int bell) {
    struct pollfd p = {.fd = bell, .events = POLLIN};
    if (poll(&p, 1, 10000) == 0)
        bench_fail("no event came for 10 s");
    vmsig_bell_clear(bell);
}

static uint64_t take(way *w, bool block) {
    const vmsig_slot *s;
    while ((s = vmsig_ring_peek(&w->in)) == NULL) {
        if (!block) {
            vmsig_pause();
        } else if (!vmsig_ring_sleep(&w->in)) {
            wait_bell(w->data_bell);
            vmsig_ring_wake(&w->in);
        }
    }
    uint64_t seen = s->origin + s->body[23];
    vmsig_ring_advance(&w->in);
    return seen;
}

/* ---- the cases: one process asks and takes the time, its peer answers ------------------------------------- */

typedef struct hop {
    void *line;
    bare *bare;
    int eventfds[2];
    way there, back;
    uint64_t n;
    bool block;
    uint32_t turn;
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
        bare_put(h->bare, 1, bare_take(h->bare, 0, q) != UINT64_MAX ? q : 0);
}
static void bare_ask(hop *h, bench_hist *hist) {
    for (uint64_t q = 0; q < h->n; q++) {
        uint64_t t = bench_ticks();
        bare_put(h->bare, 0, q);
        bare_take(h->bare, 1, q);
        bench_hist_add(hist, bench_ticks() - t);
    }
}

static void ring_answer(void *arg) {
    hop *h = arg;
    for (uint64_t q = 0; q < h->n; q++) {
        take(&h->there, h->block);
        put(&h->back, q);
        flush(&h->back);
        vmsig_ring_release(&h->there.in);
    }
}
static void ring_ask(hop *h, bench_hist *hist) {
    for (uint64_t q = 0; q < h->n; q++) {
        uint64_t t = bench_ticks();
        put(&h->there, q);
        flush(&h->there);
        take(&h->back, h->block);
        bench_hist_add(hist, bench_ticks() - t);
        vmsig_ring_release(&h->back.in);
    }
}

static void eventfd_answer(void *arg) {
    hop *h = arg;
    for (uint64_t q = 0; q < h->n; q++) {
        wait_bell(h->eventfds[0]);
        vmsig_bell_ring(h->eventfds[1]);
    }
}
static void eventfd_ask(hop *h, bench_hist *hist) {
    for (uint64_t q = 0; q < h->n; q++) {
        uint64_t t = bench_ticks();
        vmsig_bell_ring(h->eventfds[0]);
        wait_bell(h->eventfds[1]);
        bench_hist_add(hist, bench_ticks() - t);
    }
}

/* Rates: this process puts, its peer takes. A run that was interrupted does not count for more than one. */
static uint64_t mark_run(bench_hist *hist, uint64_t q, uint64_t since) {
    uint64_t now = bench_ticks();
    if (q > 0)
        bench_hist_add(hist, now - since);
    return now;
}

static void bare_drain(void *arg) {
    hop *h = arg;
    for (uint64_t q = 0; q < h->n; q++) {
        bare_take(h->bare, 0, q);
        if (q % TURN == TURN - 1)
            vmsig_store64_release(&h->bare->taken, q + 1);
    }
}
static void bare_fill(hop *h, bench_hist *hist) {
    uint64_t limit = SLOTS, t = 0;
    for (uint64_t q = 0; q < h->n; q++) {
        if (q % RUN == 0)
            t = mark_run(hist, q, t);
        while (q == limit)
            limit = vmsig_load64_acquire(&h->bare->taken) + SLOTS;
        bare_put(h->bare, 0, q);
    }
}

static void ring_drain(void *arg) {
    hop *h = arg;
    uint32_t taken = 0; /* in this turn, which ends when all is taken or the budget is */
    for (uint64_t q = 0; q < h->n; q++) {
        if (taken == TURN || vmsig_ring_peek(&h->there.in) == NULL) {
            vmsig_ring_release(&h->there.in);
            taken = 0;
        }
        take(&h->there, false);
        taken++;
    }
    vmsig_ring_release(&h->there.in);
}
static void ring_fill(hop *h, bench_hist *hist) {
    uint64_t t = 0;
    for (uint64_t q = 0; q < h->n; q++) {
        if (q % RUN == 0)
            t = mark_run(hist, q, t);
        put(&h->there, q);
        if ((q + 1) % h->turn == 0)
            flush(&h->there);
    }
}

static void open_hop(hop *h) {
    memset(h->line, 0, 8192);
    memset(h->bare, 0, sizeof *h->bare);
    way_open(&h->there);
    way_open(&h->back);
    for (int i = 0; i < 2; i++)
        if ((h->eventfds[i] = vmsig_bell_create()) < 0)
            bench_fail("no eventfd");
}

static void close_hop(hop *h) {
    way_close(&h->there);
    way_close(&h->back);
    close(h->eventfds[0]);
    close(h->eventfds[1]);
}

static void latency(const bench_options *o, hop *h, bench_series *s, void (*answer)(void *),
                    void (*ask)(hop *, bench_hist *), uint64_t n, bool block) {
    static bench_hist hist;
    h->n = n * o->scale / 100 + 1;
    h->block = block;
    open_hop(h);
    bench_hist_reset(&hist);
    pid_t peer = bench_fork(o, answer, h);
    ask(h, &hist);
    bench_join(peer);
    close_hop(h);
    bench_add_latency(s, &hist, 2);
}

static void rate(const bench_options *o, hop *h, bench_series *s, void (*drain)(void *),
                 void (*ask)(hop *, bench_hist *), uint32_t turn) {
    static bench_hist hist;
    h->turn = turn;
    h->n = (EVENTS * (uint64_t)o->scale / 100 / RUN + 2) * RUN;
    bench_hist_reset(&hist);
    open_hop(h);
    pid_t peer = bench_fork(o, drain, h);
    ask(h, &hist);
    bench_join(peer);
    close_hop(h);
    bench_add_rate(s, RUN, &hist);
}

static void bench_spin(const bench_options *o, hop *h) {
    static bench_series line = {.name = "floor: a line"}, slot = {.name = "floor: a bare slot"},
                        ring = {.name = "ring, spinning"}, bare_rate = {.name = "floor: bare slots"},
                        ones = {.name = "ring, one by one"}, turns = {.name = "ring, in turns of 32"};
    for (unsigned i = 0; i < o->rounds; i++) {
        bench_progress(o, i);
        latency(o, h, &line, line_answer, line_ask, ASKS_SPIN, false);
        latency(o, h, &slot, bare_answer, bare_ask, ASKS_SPIN, false);
        latency(o, h, &ring, ring_answer, ring_ask, ASKS_SPIN, false);
        rate(o, h, &bare_rate, bare_drain, bare_fill, TURN);
        rate(o, h, &ones, ring_drain, ring_fill, 1);
        rate(o, h, &turns, ring_drain, ring_fill, TURN);
    }
    bench_report(o, &line, NULL, 0);
    bench_report(o, &slot, (const bench_series *[]){&line}, 1);
    bench_report(o, &ring, (const bench_series *[]){&line, &slot}, 2);
    bench_report(o, &bare_rate, NULL, 0);
    bench_report(o, &ones, (const bench_series *[]){&bare_rate}, 1);
    bench_report(o, &turns, (const bench_series *[]){&bare_rate}, 1);
}

static void bench_block(const bench_options *o, hop *h) {
    static bench_series eventfd = {.name = "floor: an eventfd"}, ring = {.name = "ring, sleeping"};
    for (unsigned i = 0; i < o->rounds; i++) {
        latency(o, h, &eventfd, eventfd_answer, eventfd_ask, ASKS_BLOCK, true);
        latency(o, h, &ring, ring_answer, ring_ask, ASKS_BLOCK, true);
    }
    bench_report(o, &eventfd, NULL, 0);
    bench_report(o, &ring, (const bench_series *[]){&eventfd}, 1);
}

void bench_hop(const bench_options *o) {
    hop h = {.line = bench_shared(8192), .bare = bench_shared(sizeof(bare))};
    bench_report_title(o, "one hop, two processes, one way, 64 bytes");
    if (o->cpu[0] != o->cpu[1])
        bench_spin(o, &h);
    else
        bench_note(o, "one processor: what spins is left out");
    bench_block(o, &h);
}
