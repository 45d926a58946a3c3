/* look.h: how long it pays to look on before one sleeps: the adaptive way of waiting, for actors and for controls.
 *
 * Waking an idle processor costs some 20 us; so whoever waits for the next event looks on for about as long. After some
 * looks in vain it is tried only now and then: who shares a processor with his producer, or whose events come far apart,
 * soon sleeps at once. A hit makes up for some misses.
 */
#ifndef VMSIG_LOOK_H
#define VMSIG_LOOK_H

#include <stdbool.h>
#include <stdint.h>

#define VMSIG_LOOK_NS     20000u /* how long it looks on */
#define VMSIG_LOOK_EVERY  64u    /* looks between two looks at the clock */
#define VMSIG_LOOK_MISSES 8u
#define VMSIG_LOOK_HIT    2u
#define VMSIG_LOOK_RETRY  32u

typedef struct vmsig_look {
    unsigned misses, skipped;
} vmsig_look;

/* Whether to look on this time. */
static inline bool vmsig_look_pays(vmsig_look *l) {
    if (l->misses >= VMSIG_LOOK_MISSES && ++l->skipped < VMSIG_LOOK_RETRY)
        return false;
    l->skipped = 0;
    return true;
}
/* What came of it. */
static inline void vmsig_look_done(vmsig_look *l, bool hit) {
    if (hit)
        l->misses -= l->misses < VMSIG_LOOK_HIT ? l->misses : VMSIG_LOOK_HIT;
    else if (l->misses < VMSIG_LOOK_MISSES)
        l->misses++;
}

#endif
