#include <string.h>
#include <time.h>

#include "bench/bench.h"

#ifdef __x86_64__
#include <x86intrin.h>
#endif

/* Of this machine, set once by bench_clock_init, before any peer is forked. */
static double ns_per_tick = 1;
static uint64_t cost, step;

static uint64_t monotonic_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t bench_ticks(void) {
#ifdef __x86_64__
    unsigned cpu;
    return __rdtscp(&cpu);
#else
    return monotonic_ns();
#endif
}

void bench_clock_init(void) {
    uint64_t least[2] = {UINT64_MAX, UINT64_MAX}; /* of what taking the time costs, and of the steps seen */
    for (int i = 0; i < 10000; i++) {
        uint64_t a = bench_ticks(), b = bench_ticks(), c = bench_ticks();
        least[0] = b - a < least[0] ? b - a : least[0];
        uint64_t more = c - b > b - a ? (c - b) - (b - a) : 0;
        least[1] = more > 1 && more < least[1] ? more : least[1];
    }
    cost = least[0];
    step = least[1] < UINT64_MAX ? least[1] : 1;
    uint64_t t0 = monotonic_ns(), c0 = bench_ticks(), t1;
    while ((t1 = monotonic_ns()) - t0 < 20000000) {
    }
    ns_per_tick = (double)(t1 - t0) / (double)(bench_ticks() - c0);
}

double bench_clock_step_ns(void) {
    return (double)step * ns_per_tick;
}

double bench_ns(double ticks) {
    return ticks > (double)cost ? (ticks - (double)cost) * ns_per_tick : 0;
}

#define SUB_BITS 7u
#define SUBS     (1u << SUB_BITS)

static uint32_t bucket_of(uint64_t v) {
    if (v < SUBS)
        return (uint32_t)v;
    uint32_t octave = 63u - (uint32_t)__builtin_clzll(v);
    uint32_t b = (octave - SUB_BITS + 1) * SUBS + ((uint32_t)(v >> (octave - SUB_BITS)) & (SUBS - 1));
    return b < BENCH_HIST_BUCKETS ? b : BENCH_HIST_BUCKETS - 1;
}

static uint64_t upper_edge(uint32_t bucket) {
    if (bucket < SUBS)
        return bucket;
    return ((uint64_t)(SUBS + bucket % SUBS + 1) << (bucket / SUBS - 1)) - 1;
}

void bench_hist_reset(bench_hist *h) {
    memset(h, 0, sizeof *h);
}

void bench_hist_add(bench_hist *h, uint64_t ticks) {
    h->bucket[bucket_of(ticks)]++;
    h->count++;
    h->sum += ticks;
    if (ticks > h->max)
        h->max = ticks;
}

/* The clock goes in steps (10 ns on some virtual machines): within one the values are taken as spread evenly. */
double bench_hist_quantile(const bench_hist *h, double q) {
    const double rank = q * (double)h->count;
    uint64_t below = 0;
    for (uint32_t i = 0; i < BENCH_HIST_BUCKETS; i++) {
        const uint32_t here = h->bucket[i];
        if (here > 0 && (double)(below + here) >= rank)
            return (double)upper_edge(i) + (double)step * ((rank - (double)below) / here - 0.5);
        below += here;
    }
    return (double)h->max;
}
