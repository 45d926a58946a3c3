/* placement.h: on which CPU actors with `cpu: auto` run: a pure function of rates.
 *
 * Waking an idle CPU takes some 20 us, waking the next one on the same CPU 2 us: a chain of low rate is best together. A
 * busy chain is best spread: each looks on while the others work.
 *
 *               rate >= VMSIG_PLACE_SPREAD, VMSIG_PLACE_LOOKS times running
 *   TOGETHER ──────────────────────────────────────────────────────────────► SPREAD
 *            ◄──────────────────────────────────────────────────────────────
 *               rate <= VMSIG_PLACE_JOIN, as often; or there is one CPU
 *
 * A chain is what is linked, directly or not; its rate is that of the busiest of it. Nobody is moved but by such a step,
 * or by its CPU going away.
 */
#ifndef VMSIG_PLACEMENT_H
#define VMSIG_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMSIG_PLACE_SPREAD 20000.0 /* events per second */
#define VMSIG_PLACE_JOIN   5000.0
#define VMSIG_PLACE_LOOKS  3u /* a second apart */

typedef struct vmsig_place {
    /* what is so */
    uint32_t chain; /* the same number: linked */
    bool automatic; /* `cpu: auto` */
    int pinned;     /* the topology's CPU; -1 = none */
    double rate;    /* events per second, taken or given */
    /* what was decided, kept from look to look; of those that are automatic */
    bool placed;
    int cpu;
    bool spread;       /* the chain's */
    unsigned contrary; /* looks running that spoke for the other side */
} vmsig_place;

/* Decides for each that is automatic. cpus: those that may be used, at least one. */
void vmsig_placement_plan(vmsig_place *p, size_t n, const int *cpus, size_t cpus_n);
/* The rate of a chain. */
double vmsig_placement_rate(const vmsig_place *p, size_t n, uint32_t chain);
/* One sentence: what was chosen, and why. */
void vmsig_placement_why(const vmsig_place *p, size_t n, size_t i, size_t cpus_n, char *buf, size_t len);

#endif
