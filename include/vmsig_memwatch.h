/* vmsig_memwatch.h: a sensor that watches places in guest memory, through the read-only RAM fd.
 *
 *   MEMCTX + fd ──► read every place, hz times a second ──► one event for each that has changed
 *   MEMCTX_INVALID ──► still, until the next MEMCTX
 *
 * The program vmsig-sensor-memwatch is this sensor as an actor; vmsig_memwatch_open is the same for vmsig_core.
 */
#ifndef VMSIG_MEMWATCH_H
#define VMSIG_MEMWATCH_H

#include "vmsig_core.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VMSIG_EV_MEMWATCH       64 /* kind of its events */
#define VMSIG_MEMWATCH_SIZE_MAX 48u
#define VMSIG_MEMWATCH_PLACES   64u
#define VMSIG_MEMWATCH_HZ_MAX   10000u

#define VMSIG_MEMWATCH_VIRTUAL    1u
#define VMSIG_MEMWATCH_FIRST      2u /* the first reading of this address space: there is no old value */
#define VMSIG_MEMWATCH_UNREADABLE 4u /* no longer mapped, or no RAM: there is no new value */

/* Body of VMSIG_EV_MEMWATCH; what follows it in inln: `size` bytes as they were, `size` bytes as they are now. */
typedef struct vmsig_memwatch {
    uint64_t addr;
    uint16_t index; /* of the place, from 0 */
    uint16_t size;
    uint32_t flags; /* VMSIG_MEMWATCH_ bits */
} vmsig_memwatch;

typedef struct vmsig_memwatch_place {
    uint64_t addr;
    uint16_t size;  /* 1..VMSIG_MEMWATCH_SIZE_MAX; 1, 2, 4, 8 and aligned: read by one atomic load */
    uint16_t flags; /* VMSIG_MEMWATCH_VIRTUAL or 0 */
} vmsig_memwatch_place;

/* A memwatch sensor as a source. places are copied. 0, or -1 with errno (EINVAL: a size, a rate or a number of places
 * out of its range; ENOMEM). */
int vmsig_memwatch_open(uint32_t endpoint, vmsig_source source, const vmsig_memwatch_place *places, unsigned n,
                        uint32_t hz, const vmsig_source_ops **ops, void **src);

/* Reads "ADDR" or "ADDR:SIZE" (numbers as in C; SIZE 8 where it is not said). 0, or -1 EINVAL. */
int vmsig_memwatch_parse(const char *text, vmsig_memwatch_place *out);

#ifdef __cplusplus
}
#endif
#endif
