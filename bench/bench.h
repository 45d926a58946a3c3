/* bench.h: what the measurements have in common.
 *
 *   vmsig-bench ─── table of families ──► bench_hop(), ... ──► for each round: each case once ──► bench_report
 *        │             a line probed              │             (interleaved, so that all meet          │
 *        │             before and after           └─ fork: the peer of a case,   the same machine)      ▼
 *        │                                           pinned to the other processor           book: text or JSON, plot
 *
 * Figures of one run may be compared with each other and with nothing else: the processors of a virtual machine move.
 * So every family measures its floor, what the bare machine or kernel can do at the same time, and prints the ratio.
 *
 * A family in short:
 *
 *   static bench_series floor = {.name = "floor: a pipe"}, mine = {.name = "ring, sleeping"};
 *   for (unsigned r = 0; r < o->rounds; r++) {
 *       bench_progress(o, r);
 *       bench_hist_reset(&h);  ... t = bench_ticks(); ... bench_hist_add(&h, bench_ticks() - t); ...
 *       bench_add_latency(&floor, &h, 2);       and so on for the others
 *   }
 *   bench_report_title(o, "what it is, one way");
 *   bench_report(o, &floor, NULL, 0);
 *   bench_report(o, &mine, (const bench_series *[]){&floor}, 1);
 */
#ifndef VMSIG_BENCH_H
#define VMSIG_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_ROUNDS_MAX 101u

typedef struct bench_book bench_book;

typedef struct bench_options {
    int cpu[2];      /* of this process, and of its peers */
    unsigned rounds; /* 1..BENCH_ROUNDS_MAX */
    unsigned scale;  /* percent of the usual number of events */
    bool json;
    bool progress;    /* on stderr, which is a terminal */
    bench_book *book; /* what was measured so far */
} bench_options;

/* n events at this scale, at least one. */
static inline uint64_t bench_scaled(const bench_options *o, uint64_t n) {
    return n * o->scale / 100 + 1;
}

/* ---- time and histogram ------------------------------------------------------------------------------ */

/* Measures the clock against itself and CLOCK_MONOTONIC; once, before anything else. Takes 20 ms. */
void bench_clock_init(void);
/* The finest clock there is, in ticks; what is before it in program order is done. */
uint64_t bench_ticks(void);
/* ns of a difference of ticks, less what taking the time costs. */
double bench_ns(double ticks);
/* Ticks of so many ns, to keep a schedule. */
uint64_t bench_ticks_of(uint64_t ns);
/* The least number of ticks by which it moves. */
uint64_t bench_clock_step(void);
/* CLOCK_MONOTONIC, the clock of events. */
uint64_t bench_now_ns(void);

/* Log-linear, 128 buckets to the octave (after HdrHistogram): off by 0.8 % at most. In ticks, or in ns. */
#define BENCH_HIST_BUCKETS (128u * 40u)
typedef struct bench_hist {
    uint64_t count, sum, max;
    uint32_t bucket[BENCH_HIST_BUCKETS];
} bench_hist;
void bench_hist_reset(bench_hist *h);
void bench_hist_add(bench_hist *h, uint64_t value);
double bench_hist_quantile(const bench_hist *h, double q);

/* ---- peers ------------------------------------------------------------------------------------------- */

/* Runs fn(arg) in a process of its own on options->cpu[1], which ends with this one. Its pid; exits on failure. */
pid_t bench_fork(const bench_options *o, void (*fn)(void *arg), void *arg);
/* The same on a processor that is named. */
pid_t bench_fork_on(int cpu, void (*fn)(void *arg), void *arg);
/* Waits for it; exits with a message if it failed. */
void bench_join(pid_t pid);
void bench_pin(int cpu);
/* Zeroed memory shared with the peers to be forked. */
void *bench_shared(size_t bytes);
void bench_unshare(void *p, size_t bytes);
/* One sentence on stderr, exit code 1. */
void bench_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* ---- what was measured ------------------------------------------------------------------------------- */

typedef enum bench_unit {
    BENCH_LATENCY, /* ns, with percentiles */
    BENCH_RATE,    /* events per second */
    BENCH_FLOW,    /* bytes per second */
    BENCH_COST,    /* ns each */
    BENCH_TIME,    /* ns in all */
    BENCH_SIZE,    /* bytes */
    BENCH_RATIO    /* times */
} bench_unit;

/* ns. p999 and p9999 are NAN where a round had too few values to know them. */
typedef struct bench_figures {
    double p50, p99, p999, p9999, max, mean;
} bench_figures;

/* One case: its figures, or its value, per round. Names begin with "floor: " where it is one. */
typedef struct bench_series {
    const char *name;
    bench_unit unit; /* set by what is added */
    unsigned n;
    bench_figures latency[BENCH_ROUNDS_MAX]; /* BENCH_LATENCY */
    double value[BENCH_ROUNDS_MAX];          /* every other unit */
} bench_series;

/* Adds a round: each value of the histogram, in ticks, divided by `parts` (2: a round trip is two ways). */
void bench_add_latency(bench_series *s, const bench_hist *h, unsigned parts);
/* The same of a histogram in ns. */
void bench_add_latency_ns(bench_series *s, const bench_hist *h, unsigned parts);
/* The histogram holds the ticks that each run of `events` took: the median of them is the round's. */
void bench_add_rate(bench_series *s, uint64_t events, const bench_hist *h);
void bench_add_value(bench_series *s, bench_unit unit, double value);
/* The median over the rounds, of each figure by itself; max is that of all rounds. */
bench_figures bench_median(const bench_series *s);
double bench_median_value(const bench_series *s);
/* How many times the floor it is: by the median latency; of a rate, how much of the floor's is reached. 0: unknown. */
double bench_ratio(const bench_series *s, const bench_series *floor);

/* ---- what is told ------------------------------------------------------------------------------------ */

/* One line of a result, kept for the plot. */
#define BENCH_FLOORS_MAX 4u
typedef struct bench_result {
    char family[24], name[64];
    bench_unit unit;
    bench_figures ns; /* BENCH_LATENCY */
    double value;     /* every other unit */
    unsigned rounds, floors;
    char floor[BENCH_FLOORS_MAX][64];
    double ratio[BENCH_FLOORS_MAX];
} bench_result;

struct bench_book {
    bench_result *results; /* malloc'ed */
    unsigned n, room;
    const char *family; /* of what is being measured */
    bool headed;        /* the heads of its columns are printed */
};

/* How far a family is, for a person who waits: round `done` of the rounds begins. */
void bench_progress(const bench_options *o, unsigned done);
void bench_report_title(const bench_options *o, const char *title);
/* One line: the series, and how many times each floor it is (floors NULL where there is none). A series without rounds
 * is left out. */
void bench_report(const bench_options *o, const bench_series *s, const bench_series *const *floors, unsigned n);
/* A sentence for people only. */
void bench_note(const bench_options *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "1.23 µs", "4.56 M events/s", ... A string of at most `len`. Its width on a terminal. */
int bench_value_text(bench_unit unit, double value, char *buf, size_t len);

/* Draws all results of the book: 0 or -errno. path ends in .svg, or in .png (by rsvg-convert, -ENOENT without it). */
int bench_plot(const bench_book *b, const char *title, const char *path);

/* ---- the floors: what any program would have to pay ---------------------------------------------------- */

/* A line of memory each way, plain loads and stores: n round trips. Both sides share a bench_shared(8192). */
void bench_line_ask(void *page, uint64_t n, bench_hist *h);
void bench_line_answer(void *page, uint64_t n);

/* How far the two processors are from each other at the moment: ns for a line, one way. 0: there is but one. 10 ms. */
double bench_probe(const bench_options *o);
/* "siblings", "near" or "far" */
const char *bench_distance(double line_ns);

/* ---- the families: each prints its own part ---------------------------------------------------------------- */

/* One hop between two processes that spin. */
void bench_hop(const bench_options *o);
/* One hop to a process that sleeps. */
void bench_wake(const bench_options *o);
/* As many as go over one hop. */
void bench_throughput(const bench_options *o);
/* Bodies of all sizes over one hop. */
void bench_payload(const bench_options *o);
/* Many producers, many consumers. */
void bench_fan(const bench_options *o);
/* Leases and memory writes through the core. */
void bench_seam(const bench_options *o);
/* The transfer context as a library. */
void bench_ctx(const bench_options *o);
/* A record of the audit log. */
void bench_audit(const bench_options *o);
/* The whole chain, sensor to control, in a topology of its own. */
void bench_chain(const bench_options *o);
/* What the death of a process costs, role by role, under load. */
void bench_restart(const bench_options *o);
/* A VM under QEMU; skipped where there is none. */
void bench_vm(const bench_options *o);

/* Sensors, endpoints and controls by the hundred. */
void bench_scale(const bench_options *o);

#endif
