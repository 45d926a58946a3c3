/* ctx.c: what one event costs in the transfer context: ns per submit + next, at a standing depth of queue; and the
 * memory that a queued event holds, measured from the outside as growth of the resident set. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "vmsig_ctx.h"

#define FEW        10000u
#define MANY       1000000u
#define GOAL_PASS  40.0
#define GOAL_PACED 150.0
#define GOAL_RATIO 1.5
#define GOAL_BYTES 200.0

typedef struct load {
    vmsig_ctx *c;
    uint32_t i;
    bool mixed; /* 16 channels, three priorities; else one channel */
} load;

static double resident(void) {
    unsigned long size = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%lu %lu", &size, &pages) != 2)
        bench_fail("cannot read /proc/self/statm");
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void submit(load *l) {
    vmsig_event ev;
    memset(&ev, 0, offsetof(vmsig_event, inln));
    ev.payload = NULL;
    ev.ts_ns = 1;
    ev.kind = VMSIG_EV_SENSOR_FIRST;
    ev.inln_len = 16;
    ev.source = VMSIG_SRC_SENSOR_FIRST;
    if (l->mixed) {
        ev.endpoint = l->i % 4;
        ev.source = (uint8_t)(VMSIG_SRC_SENSOR_FIRST + l->i / 4 % 4);
        ev.prio = (uint8_t)(VMSIG_PRIO_LOW + l->i * 7 % 3);
    }
    l->i++;
    if (vmsig_ctx_submit(l->c, VMSIG_DIR_UP, &ev) != 0)
        bench_fail("vmsig_ctx_submit refused an event");
}

static void take(load *l) {
    vmsig_event out;
    int r;
    while ((r = vmsig_ctx_next(l->c, VMSIG_DIR_UP, &out)) == 0)
        ;
    if (r < 0)
        bench_fail("vmsig_ctx_next failed");
}

static load make(uint32_t depth, uint32_t gap_ns) {
    load l = {.c = vmsig_ctx_new(), .mixed = gap_ns != 0};
    vmsig_timing t = {.min_gap_ns = gap_ns};
    if (l.c == NULL)
        bench_fail("vmsig_ctx_new: out of memory");
    for (uint32_t s = VMSIG_SRC_SENSOR_FIRST; gap_ns != 0 && s < VMSIG_SRC_SENSOR_FIRST + 4; s++)
        vmsig_ctx_set_policy(l.c, (vmsig_source)s, VMSIG_DIR_UP, VMSIG_PRIO_NORMAL, &t);
    for (uint32_t i = 0; i < depth; i++)
        submit(&l);
    return l;
}

/* The least of the rounds: what the code costs, not what else the machine did. */
static double measure(const bench_options *o, uint32_t depth, uint32_t gap_ns, double *bytes) {
    double before = resident(), best = 1e9;
    load l = make(depth, gap_ns);
    *bytes = (resident() - before) / depth;
    uint32_t n = (depth > 200000 ? depth : 200000) / 100 * o->scale;
    for (unsigned r = 0; r < o->rounds; r++) {
        uint64_t t = bench_now_ns();
        for (uint32_t i = 0; i < n; i++) {
            submit(&l);
            take(&l);
        }
        double ns = (double)(bench_now_ns() - t) / n;
        best = ns < best ? ns : best;
    }
    vmsig_ctx_free(l.c);
    return best;
}

static void tell(const bench_options *o, const char *name, bench_unit unit, double value) {
    bench_series s = {.name = name};
    bench_add_value(&s, unit, value);
    bench_report(o, &s, NULL, 0);
}

void bench_ctx(const bench_options *o) {
    double bytes;
    bench_pin(o->cpu[0]);
    double pass = measure(o, 1, 0, &bytes);
    double few = measure(o, FEW, 1, &bytes);
    double many = measure(o, MANY, 1, &bytes);
    bench_report_title(o, "submit + next in the transfer context; the least of the rounds");
    tell(o, "pass-through", BENCH_COST, pass);
    tell(o, "paced, 3 classes,    10 000 queued", BENCH_COST, few);
    tell(o, "paced, 3 classes, 1 000 000 queued", BENCH_COST, many);
    tell(o, "a queued event, resident", BENCH_SIZE, bytes);
    bench_note(o, "goals: %.0f ns, %.0f ns, %.1f times that (is %.2f), %.0f bytes", GOAL_PASS, GOAL_PACED, GOAL_RATIO,
               many / few, GOAL_BYTES);
}
