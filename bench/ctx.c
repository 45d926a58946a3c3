/* ctx.c: what one event costs in the transfer context: ns per submit + next, at a standing depth of queue, beside
 * the floor of the same round; and the memory that a queued event holds, as growth of the resident set. */
#include <linux/perf_event.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/bench.h"
#include "vmsig_ctx.h"

#define FEW        10000u
#define MANY       1000000u
#define ROUND      400000u /* events */
#define GOAL_PASS  40.0
#define GOAL_PACED 150.0
#define GOAL_RATIO 1.5

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

/* ---- what is measured -------------------------------------------------------------------------------------- */

typedef struct figures {
    bench_series ns;
    double least, instructions; /* of the rounds; instructions NAN: the kernel does not let us count */
} figures;

/* This process's instructions, outside of the kernel; -1: not to be had. */
static int open_counter(void) {
    struct perf_event_attr a = {.type = PERF_TYPE_HARDWARE,
                                .size = sizeof a,
                                .config = PERF_COUNT_HW_INSTRUCTIONS,
                                .exclude_kernel = 1,
                                .exclude_hv = 1};
    return (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static double counted(int counter) {
    uint64_t n;
    return counter >= 0 && read(counter, &n, sizeof n) == sizeof n ? (double)n : NAN;
}

static void round_of(const bench_options *o, int counter, load *l, void (*one)(load *), figures *f) {
    uint32_t n = ROUND / 100 * o->scale;
    double before = counted(counter);
    uint64_t t = bench_now_ns();
    for (uint32_t i = 0; i < n; i++)
        one(l);
    double ns = (double)(bench_now_ns() - t) / n, instructions = (counted(counter) - before) / n;
    bench_add_value(&f->ns, BENCH_COST, ns);
    f->least = f->ns.n == 1 || ns < f->least ? ns : f->least;
    f->instructions = f->ns.n == 1 || instructions < f->instructions ? instructions : f->instructions;
}

static void submit_and_take(load *l) {
    submit(l);
    take(l);
}

/* The floor: an event copied in and out, and a look at the clock. */
static void copy_twice(load *l) {
    static vmsig_event in, kept, out;
    in.ts_ns = l->i++;
    memcpy(&kept, &in, sizeof kept);
    __asm__ volatile("" : : "r"(&kept) : "memory");
    memcpy(&out, &kept, sizeof out);
    __asm__ volatile("" : : "r"(&out) : "memory");
    bench_now_ns();
}

static void tell(const bench_options *o, const figures *f, const figures *floor) {
    const bench_series *floors[] = {&floor->ns};
    bench_report(o, &f->ns, floors, f != floor);
}

void bench_ctx(const bench_options *o) {
    figures floor = {.ns.name = "floor: two copies and a clock"}, pass = {.ns.name = "pass-through"},
            few = {.ns.name = "paced, 3 classes,    10 000 queued"},
            many = {.ns.name = "paced, 3 classes, 1 000 000 queued"};
    bench_series size = {.name = "a queued event, resident (goal 200)"};
    bench_pin(o->cpu[0]);
    double before = resident();
    load of_many = make(MANY, 1);
    bench_add_value(&size, BENCH_SIZE, (resident() - before) / MANY);
    load of_few = make(FEW, 1), of_one = make(1, 0);
    int counter = open_counter();
    for (unsigned r = 0; r < o->rounds; r++) {
        bench_progress(o, r);
        round_of(o, counter, &of_one, copy_twice, &floor);
        round_of(o, counter, &of_one, submit_and_take, &pass);
        round_of(o, counter, &of_few, submit_and_take, &few);
        round_of(o, counter, &of_many, submit_and_take, &many);
    }
    if (counter >= 0)
        close(counter);
    vmsig_ctx_free(of_one.c);
    vmsig_ctx_free(of_few.c);
    vmsig_ctx_free(of_many.c);
    bench_report_title(o, "submit + next in the transfer context");
    tell(o, &floor, &floor);
    tell(o, &pass, &floor);
    tell(o, &few, &floor);
    tell(o, &many, &floor);
    bench_report(o, &size, NULL, 0);
    bench_note(o, "least of the rounds: %.1f ns (goal %.0f), %.1f ns (goal %.0f), %.2f times that (goal %.1f)",
               pass.least, GOAL_PASS, few.least, GOAL_PACED, many.least / few.least, GOAL_RATIO);
    if (!isnan(pass.instructions))
        bench_note(o, "instructions: %.0f of the floor, %.0f passing through, %.0f and %.0f paced", floor.instructions,
                   pass.instructions, few.instructions, many.instructions);
}
