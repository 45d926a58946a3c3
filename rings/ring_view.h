/* ring_view.h: the reading side of a producer's memfd, shared by the consumer (ring_in.c) and by the successor of a dead
 * producer (ring_end.c): both trust nothing in it.
 */
#ifndef VMSIG_RING_VIEW_H
#define VMSIG_RING_VIEW_H

#include "rings/ring.h"

/* Arena positions are given out upwards for ever; a jump beyond this is nonsense. */
#define VMSIG_ARENA_JUMP_MAX (1ull << 40)

/* Maps the memfd read-only and takes over its head, checked: 0, -EPROTO, -EMSGSIZE, or what mmap says. */
int vmsig_ring_view_open(vmsig_ring_view *v, int fd);
void vmsig_ring_view_close(vmsig_ring_view *v);

/* The event that begins at q, of which nothing may lie at or beyond `end`: its number of slots (and its payload, len 0:
 * none), 0: not published yet, -EPROTO: nonsense. Each word of the peer's is loaded once. */
int vmsig_ring_view_at(const vmsig_ring_view *v, uint64_t q, uint64_t end, uint64_t arena_cursor, vmsig_body_ref *ref);

static inline const vmsig_slot *vmsig_ring_view_slot(const vmsig_ring_view *v, uint64_t q) {
    return &v->slots[q & v->mask];
}

#endif
