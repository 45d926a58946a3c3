/* bench_ctx: what one event costs in the transfer context: ns per submit + next, at a standing depth of queue.
 *
 *   bench_ctx            human text; goals beside the figures
 *   bench_ctx --json     one object
 *
 * The memory per queued event is measured from the outside, as growth of the resident set.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vmsig_ctx.h"

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t resident(void) {
    unsigned long size = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%lu %lu", &size, &pages) != 2)
        pages = 0;
    fclose(f);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

typedef struct load {
    vmsig_ctx *c;
    uint32_t i;
    int mixed; /* 16 channels, all priorities; else one channel */
} load;

static void submit(load *l) {
    vmsig_event ev;
    memset(&ev, 0, sizeof ev - sizeof ev.inln - sizeof ev.payload);
    ev.payload = NULL;
    ev.ts_ns = 1;
    ev.kind = VMSIG_EV_SENSOR_FIRST;
    ev.inln_len = 16;
    ev.source = VMSIG_SRC_SENSOR_FIRST;
    if (l->mixed) {
        ev.endpoint = l->i % 4;
        ev.source = (uint8_t)(VMSIG_SRC_SENSOR_FIRST + l->i / 4 % 4);
        ev.prio = (uint8_t)(1 + l->i * 7 % 3);
    }
    l->i++;
    if (vmsig_ctx_submit(l->c, VMSIG_DIR_UP, &ev) != 0)
        die("submit");
}

static void take(load *l) {
    vmsig_event out;
    int r;
    while ((r = vmsig_ctx_next(l->c, VMSIG_DIR_UP, &out)) == 0)
        ;
    if (r < 0)
        die("next");
}

/* The best of several runs: what the code costs, not what else the machine did. */
static double run(load *l, uint32_t rounds) {
    double best = 1e9;
    for (int r = 0; r < 7; r++) {
        uint64_t t = now_ns();
        for (uint32_t i = 0; i < rounds; i++) {
            submit(l);
            take(l);
        }
        double ns = (double)(now_ns() - t) / rounds;
        best = ns < best ? ns : best;
    }
    return best;
}

static double measure(uint32_t depth, int mixed, uint32_t gap_ns, double *bytes) {
    load l = {.c = vmsig_ctx_new(), .mixed = mixed};
    if (l.c == NULL)
        die("vmsig_ctx_new");
    vmsig_timing t = {.min_gap_ns = gap_ns};
    for (uint32_t s = VMSIG_SRC_SENSOR_FIRST; gap_ns != 0 && s < VMSIG_SRC_SENSOR_FIRST + 4; s++)
        if (vmsig_ctx_set_policy(l.c, (vmsig_source)s, VMSIG_DIR_UP, VMSIG_PRIO_NORMAL, &t) != 0)
            die("vmsig_ctx_set_policy");
    uint64_t before = resident();
    for (uint32_t i = 0; i < depth; i++)
        submit(&l);
    if (bytes != NULL)
        *bytes = (double)(resident() - before) / depth;
    double ns = run(&l, depth > 100000 ? depth : 200000);
    vmsig_ctx_free(l.c);
    return ns;
}

int main(int argc, char **argv) {
    double bytes = 0;
    double pass = measure(1, 0, 0, NULL);
    double small = measure(10000, 1, 1, NULL);
    double large = measure(1000000, 1, 1, &bytes);
    if (argc > 1 && strcmp(argv[1], "--json") == 0) {
        printf("{\"pass_ns\": %.1f, \"paced_10k_ns\": %.1f, \"paced_1m_ns\": %.1f, \"bytes_per_event\": %.1f}\n", pass,
               small, large, bytes);
        return 0;
    }
    printf("pass-through, submit + next            %7.1f ns   (goal 40)\n", pass);
    printf("paced, prioritised,    10 000 queued   %7.1f ns   (goal 150)\n", small);
    printf("paced, prioritised, 1 000 000 queued   %7.1f ns   (goal 1.5 x: %.2f x)\n", large, large / small);
    printf("resident bytes per queued event        %7.1f      (goal 200)\n", bytes);
    return 0;
}
