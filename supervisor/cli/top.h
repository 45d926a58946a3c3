/* top.h: what an actor does per second, from two answers of the supervisor.
 *
 *     status at t0 ──┐
 *                    ├──► vmsig_top_rates ──► a row per actor, sorted
 *     status at t1 ──┘
 */
#ifndef VMSIG_CLI_TOP_H
#define VMSIG_CLI_TOP_H

#include <stddef.h>
#include <stdint.h>

#include "supervisor.pb-c.h"

typedef enum vmsig_top_order { VMSIG_TOP_CPU, VMSIG_TOP_EVENTS, VMSIG_TOP_NAME } vmsig_top_order;

/* One actor. Rates are 0 for one that was started in between. */
typedef struct vmsig_top_row {
    const Vmsig__Pb__StatusActor *actor; /* of the newer status */
    double cpu;                          /* of one processor, 1.0 = all of it */
    double wakeups;                      /* per second: how often it slept and went on */
    double in, out;                      /* events per second over its links */
    uint64_t waiting;                    /* slots taken on the links to it */
    uint64_t p99_ns;                     /* the worst of the links to it */
    uint64_t stalled_ms;                 /* the longest that it waits for room on a link */
} vmsig_top_row;

/* rows: room for now->n_actors. `then` may be NULL: no rates yet. span_ns: between the two. */
void vmsig_top_rates(const Vmsig__Pb__Status *then, const Vmsig__Pb__Status *now, uint64_t span_ns,
                     vmsig_top_order order, vmsig_top_row *rows);

#endif
