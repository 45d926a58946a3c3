/* A line of memory that goes from one processor to the other and back: the floor of all that passes between two. */
#include <string.h>

#include "bench/bench.h"
#include "rings/atomics.h"

#define PAGE    8192u
#define PROBES  20000u
#define NEAR_NS 35.0 /* below: two threads of one core */
#define FAR_NS  130.0

void bench_line_ask(void *page, uint64_t n, bench_hist *h) {
    uint64_t *there = page, *back = there + 512;
    for (uint64_t i = 1; i <= n; i++) {
        uint64_t t = bench_ticks();
        vmsig_store64(there, i);
        while (vmsig_load64(back) != i)
            vmsig_pause();
        bench_hist_add(h, bench_ticks() - t);
    }
}

void bench_line_answer(void *page, uint64_t n) {
    uint64_t *there = page, *back = there + 512;
    for (uint64_t i = 1; i <= n; i++) {
        while (vmsig_load64(there) != i)
            vmsig_pause();
        vmsig_store64(back, i);
    }
}

static void answer(void *page) {
    bench_line_answer(page, PROBES);
}

double bench_probe(const bench_options *o) {
    static bench_hist h;
    if (o->cpu[0] == o->cpu[1])
        return 0;
    void *page = bench_shared(PAGE);
    bench_hist_reset(&h);
    bench_pin(o->cpu[0]);
    pid_t peer = bench_fork(o, answer, page);
    bench_line_ask(page, PROBES, &h);
    bench_join(peer);
    bench_unshare(page, PAGE);
    return bench_ns(bench_hist_quantile(&h, 0.5)) / 2;
}

const char *bench_distance(double line_ns) {
    return line_ns < NEAR_NS ? "siblings" : line_ns < FAR_NS ? "near" : "far";
}
