#include <string.h>

#include "bench/bench.h"

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

void bench_hist_add(bench_hist *h, uint64_t value) {
    h->bucket[bucket_of(value)]++;
    h->count++;
    h->sum += value;
    if (value > h->max)
        h->max = value;
}

/* A clock goes in steps (10 ns on some virtual machines): within one the values are taken as spread evenly. */
double bench_hist_quantile(const bench_hist *h, double q) {
    const double rank = q * (double)h->count, step = (double)bench_clock_step();
    uint64_t below = 0;
    for (uint32_t i = 0; i < BENCH_HIST_BUCKETS; i++) {
        const uint32_t here = h->bucket[i];
        if (here > 0 && (double)(below + here) >= rank) {
            double v = (double)upper_edge(i) + step * ((rank - (double)below) / here - 0.5);
            return v < (double)h->max ? v : (double)h->max;
        }
        below += here;
    }
    return (double)h->max;
}
