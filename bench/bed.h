/* bed.h: a topology of a bench's own, in a run directory of its own below TMPDIR, with this process as its person and,
 * where wanted, as a control.
 *
 *   bench_bed_make ─► bench_bed_topology (write the YAML) ─► bench_bed_start ─► bench_bed_connect ─► … ─► bench_bed_stop
 *
 * What the programs of the topology say is kept, and shown only if something fails. Whatever fails ends the bench with
 * one sentence, and every bed with it. Several beds may be up at a time; one thread.
 */
#ifndef VMSIG_BENCH_BED_H
#define VMSIG_BENCH_BED_H

#include <signal.h>
#include <stdio.h>

#include "bench/bench.h"
#include "supervisor/cli/child.h"
#include "vmsig_client.h"

typedef struct bench_bed bench_bed;

/* Those that are up, and end together. */
typedef struct bench_beds {
    bench_bed *first;
    sigset_t mask; /* as it was before the first */
} bench_beds;

struct bench_bed {
    const char *name; /* the topology's */
    char dir[64];     /* its folder: "" = there is none */
    vmsig_child keeper;
    bool started;
    vmsig_client *client; /* NULL before bench_bed_connect */
    bench_beds *beds;
    bench_bed *next;
};

/* Its folder, and its place among those that end together. */
void bench_bed_make(bench_bed *b, const char *name, bench_beds *beds);
/* Where to write its topology; bench_bed_start closes it. A path in it counts from the bed's folder. */
FILE *bench_bed_topology(bench_bed *b);
/* A pipe in its folder by which to order something of an actor, which opens PATH: open for both, and non-blocking. */
int bench_bed_fifo(bench_bed *b, const char *name, char *path, size_t len);
/* The path of a file in its folder. */
void bench_bed_path(const bench_bed *b, const char *name, char *path, size_t len);
void bench_bed_start(bench_bed *b, FILE *topology);
/* Waits until the gateway that has `control.sock` answers. */
void bench_bed_connect(bench_bed *b, const vmsig_client_cfg *cfg);
/* Has anything ended that must not, or does the person want an end? Now and then, in each loop that waits. */
void bench_bed_look(bench_bed *b);
/* The client's events for at most ms, and a look. */
void bench_bed_step(bench_bed *b, int ms);
void bench_bed_fail(bench_bed *b, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));
/* Ends the topology in order, and removes the folder. */
void bench_bed_stop(bench_bed *b);

#endif
