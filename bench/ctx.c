/* ctx.c: what one event costs in the transfer context: ns per submit + next, at a standing depth of queue; and the
 * memory that a queued event holds, measured from the outside as growth of the resident set. */
#include <stdio.h>
#include <string.h>
#include <time.h>
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

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

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
        uint64_t t = now_ns();
        for (uint32_t i = 0; i < n; i++) {
            submit(&l);
            take(&l);
        }
        double ns = (double)(now_ns() - t) / n;
        best = ns < best ? ns : best;
    }
    vmsig_ctx_free(l.c);
    return best;
}

void bench_ctx(const bench_options *o) {
    double bytes;
    bench_pin(o->cpu[0]);
    double pass = measure(o, 1, 0, &bytes);
    double few = measure(o, FEW, 1, &bytes);
    double many = measure(o, MANY, 1, &bytes);
    if (o->json) {
        printf("{\"bench\":\"ctx\",\"pass_ns\":%.1f,\"paced_10k_ns\":%.1f,\"paced_1m_ns\":%.1f,"
               "\"bytes_per_event\":%.1f}\n",
               pass, few, many, bytes);
        return;
    }
    bench_report_title(o, "ctx: submit + next in the transfer context");
    printf("  pass-through                           %7.1f ns     goal %.0f\n", pass, GOAL_PASS);
    printf("  paced, three priorities,    10 000     %7.1f ns     goal %.0f\n", few, GOAL_PACED);
    printf("  paced, three priorities, 1 000 000     %7.1f ns     %.2f times that; goal %.1f\n", many, many / few,
           GOAL_RATIO);
    printf("  resident bytes per queued event        %7.1f        goal %.0f\n", bytes, GOAL_BYTES);
}
