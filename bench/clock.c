#include <time.h>

#include "bench/bench.h"

#ifdef __x86_64__
#include <x86intrin.h>
#endif

/* Of this machine, set once by bench_clock_init, before any peer is forked. */
static double ns_per_tick = 1;
static uint64_t cost, step;

uint64_t bench_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t bench_ticks(void) {
#ifdef __x86_64__
    unsigned cpu;
    return __rdtscp(&cpu);
#else
    return bench_now_ns();
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
    uint64_t t0 = bench_now_ns(), c0 = bench_ticks(), t1;
    while ((t1 = bench_now_ns()) - t0 < 20000000) {
    }
    ns_per_tick = (double)(t1 - t0) / (double)(bench_ticks() - c0);
}

uint64_t bench_clock_step(void) {
    return step;
}

uint64_t bench_ticks_of(uint64_t ns) {
    return (uint64_t)((double)ns / ns_per_tick);
}

double bench_ns(double ticks) {
    return ticks > (double)cost ? (ticks - (double)cost) * ns_per_tick : 0;
}
