/* restart.h: whether, and when, an actor that ended is started again. Pure: no clock, no process.
 *
 *   end ──► exit 100, exit 64 (wrong usage) before it was READY, or the policy says no ──► REST
 *      └──► too many in the window, or too long a streak without a stable run ──► EXHAUSTED
 *      └──► START: at once the first time; after short runs, one upon the other, in 100 ms x 2^n (+-25 %, at most 30 s)
 *
 * A run is short when it was READY for less than a second, and stable when it was for a whole window: that ends the
 * streak. No limit (restarts_max 0): no end, and no waiting either, unless it ends by itself before it is READY.
 */
#ifndef VMSIG_RESTART_H
#define VMSIG_RESTART_H

#include <stdbool.h>

#include "supervisor/topology.h"

#define VMSIG_RESTARTS_KEPT  64u /* times kept: a larger restarts_max is bounded by the streak alone */
#define VMSIG_STREAK_FACTOR  4u  /* the longest streak: that many times restarts_max */
#define VMSIG_SHORT_RUN_NS   1000000000ull
#define VMSIG_BACKOFF_NS     100000000ull
#define VMSIG_BACKOFF_MAX_NS 30000000000ull

typedef struct vmsig_restarts {
    uint64_t at_ns[VMSIG_RESTARTS_KEPT]; /* a ring: the last ones */
    uint32_t total;
    uint32_t streak; /* restarts since the last stable run */
    uint32_t shorts; /* short runs, one upon the other */
} vmsig_restarts;

typedef struct vmsig_end {
    int status;      /* as wait gives it */
    bool was_ready;  /* it had come to READY */
    uint64_t ran_ns; /* how long it was READY */
} vmsig_end;

typedef enum vmsig_verdict { VMSIG_VERDICT_START, VMSIG_VERDICT_REST, VMSIG_VERDICT_EXHAUSTED } vmsig_verdict;

/* random: any number, for the jitter. START: *delay_ns, *nth (how many in the window, this one included), and the
 * restart is counted. */
vmsig_verdict vmsig_restart_decide(vmsig_restarts *r, const vmsig_topo_actor *a, const vmsig_end *end, uint64_t now_ns,
                                   uint32_t random, uint64_t *delay_ns, uint32_t *nth);
/* "signal 9 (Killed)", "exit 1". Returns buf. */
const char *vmsig_end_text(int status, char *buf, size_t len);

#endif
