/* bench.h: what the measurements have in common.
 *
 *   vmsig-bench ─── table of benches ──► bench_hop(), ... ──► for each round: each case once ──► report
 *        │                                                     (interleaved, so that all meet the same machine)
 *        └─ fork: the peer of a case, pinned to the other processor
 *
 * Figures of one run may be compared with each other and with nothing else: the processors of a virtual machine move.
 * So every bench measures its floor, the least that this machine can do at the same time, and prints the ratio.
 */
#ifndef VMSIG_BENCH_H
#define VMSIG_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_ROUNDS_MAX 101u

typedef struct bench_options {
    int cpu[2];      /* of this process, and of its peers */
    unsigned rounds; /* 1..BENCH_ROUNDS_MAX */
    unsigned scale;  /* percent of the usual number of events */
    bool json;
} bench_options;

/* ---- time and histogram ------------------------------------------------------------------------------ */

/* Measures the clock against itself and CLOCK_MONOTONIC; once, before anything else. Takes 20 ms. */
void bench_clock_init(void);
/* The finest clock there is, in ticks; what is before it in program order is done. */
uint64_t bench_ticks(void);
/* ns of a difference of ticks, less what taking the time costs. */
double bench_ns(double ticks);
/* The least by which it moves. */
double bench_clock_step_ns(void);

/* Log-linear, 128 buckets to the octave (after HdrHistogram): off by 0.8 % at most. In ticks. */
#define BENCH_HIST_BUCKETS (128u * 40u)
typedef struct bench_hist {
    uint64_t count, sum, max;
    uint32_t bucket[BENCH_HIST_BUCKETS];
} bench_hist;
void bench_hist_reset(bench_hist *h);
void bench_hist_add(bench_hist *h, uint64_t ticks);
double bench_hist_quantile(const bench_hist *h, double q);

/* ---- peers ------------------------------------------------------------------------------------------- */

/* Runs fn(arg) in a process of its own on options->cpu[1], which ends with this one. Its pid; exits on failure. */
pid_t bench_fork(const bench_options *o, void (*fn)(void *arg), void *arg);
/* Waits for it; exits with a message if it failed. */
void bench_join(pid_t pid);
void bench_pin(int cpu);
/* Zeroed memory shared with the peers to be forked. */
void *bench_shared(size_t bytes);
/* One sentence on stderr, exit code 1. */
void bench_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* ---- what was measured ------------------------------------------------------------------------------- */

typedef struct bench_figures {
    double p50, p99, p999, max, mean; /* ns */
} bench_figures;

/* One case: its figures, or its rate, per round. */
typedef struct bench_series {
    const char *name;
    unsigned n;
    bench_figures latency[BENCH_ROUNDS_MAX];
    double rate[BENCH_ROUNDS_MAX]; /* events per second; 0 = a case of latency */
} bench_series;

/* Adds a round: each value of the histogram divided by `parts` (2: a round trip is two ways). */
void bench_add_latency(bench_series *s, const bench_hist *h, unsigned parts);
/* The same of a histogram in ns, of one way. */
void bench_add_latency_ns(bench_series *s, const bench_hist *h);
/* The histogram holds the ticks that each run of `events` took: the median of them is the round's. */
void bench_add_rate(bench_series *s, uint64_t events, const bench_hist *h);
/* The median over the rounds, of each figure by itself; max is that of all rounds. */
bench_figures bench_median(const bench_series *s);
double bench_median_rate(const bench_series *s);

void bench_report_title(const bench_options *o, const char *title);
/* One line: the series, and how many times the floor it is (floors NULL where there is none). */
void bench_report(const bench_options *o, const bench_series *s, const bench_series *const *floors, unsigned n);

/* ---- the floors: what any program would have to pay ---------------------------------------------------- */

/* A line of memory each way, plain loads and stores: n round trips. Both sides share a bench_shared(8192). */
void bench_line_ask(void *page, uint64_t n, bench_hist *h);
void bench_line_answer(void *page, uint64_t n);

/* ---- the benches: each prints its own part --------------------------------------------------------------- */

/* One hop over one ring, between two processes. */
void bench_hop(const bench_options *o);
/* Leases and memory writes through the core. */
void bench_seam(const bench_options *o);
/* The transfer context as a library. */
void bench_ctx(const bench_options *o);
/* A record of the audit log. */
void bench_audit(const bench_options *o);
/* The whole chain, sensor to control, in a topology of its own. */
void bench_chain(const bench_options *o);

#endif
