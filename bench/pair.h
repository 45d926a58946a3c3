/* pair.h: the public API over one hop: two actors of a topology of their own, one of which asks.
 *
 *   bench ──fifo: orders──► asker ──ring──► answerer      vmsig_actor_emit, vmsig_actor_on_event on both sides
 *     ▲                       ▲  └── sheet ──┐  │
 *     └──────── fifo: done ───┘ ◄────ring────┼──┘         the sheet: a file that the three share
 */
#ifndef VMSIG_BENCH_PAIR_H
#define VMSIG_BENCH_PAIR_H

#include "bench/bed.h"

typedef struct bench_sheet {
    bench_hist hist; /* ns, of round trips */
    uint64_t ns;     /* that a stream took */
} bench_sheet;

typedef struct bench_pair {
    bench_bed bed;
    int orders, done;
    bench_sheet *sheet;
} bench_pair;

/* poll: as in a topology. asker, answerer: processors. */
void bench_pair_start(bench_pair *p, bench_beds *beds, const char *poll, int asker, int answerer);
/* n times there and back, one after the other, or one each period_ns: the histogram, valid until the next order. */
const bench_hist *bench_pair_ask(bench_pair *p, uint64_t n, uint64_t period_ns);
/* n events one way, as many as there is room for, of `body` bytes: events per second. */
double bench_pair_stream(bench_pair *p, uint64_t n, uint32_t body);
void bench_pair_stop(bench_pair *p);

/* vmsig-bench as one of the two, started by a supervisor: the exit codes. */
int bench_pair_asker(const char *dir);
int bench_pair_answerer(void);

#endif
