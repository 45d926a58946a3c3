/* walk.h: guest-physical memory as segments of one mapping, and the page walk over it.
 *
 *   va ─► [PML5] ─► PML4 ─► PDPT ─► PD ─► PT ─► gpa ─► segment ─► byte of the mapping
 *           57       48      39      30    21     the bit below which each table's index starts + 9
 *                             └ 1 GiB   └ 2 MiB pages end the walk early
 *
 * Shared by the public view (memview.c) and by the hosts, which walk at the moment of a write. Nothing is allocated and
 * nothing is kept; each table entry is read with one atomic load, for the guest goes on changing them.
 *
 * Errors: 0 or negative errno.
 */
#ifndef VMSIG_WALK_H
#define VMSIG_WALK_H

#include <stdbool.h>

#include "vmsig_memctx.h"

#define VMSIG_CR0_PG   (1ull << 31)
#define VMSIG_CR4_PAE  (1ull << 5)
#define VMSIG_CR4_LA57 (1ull << 12)
#define VMSIG_EFER_LMA (1ull << 10)
#define VMSIG_EFER_NXE (1ull << 11)

#define VMSIG_PTE_PRESENT 1ull
#define VMSIG_PTE_WRITE   (1ull << 1)
#define VMSIG_PTE_USER    (1ull << 2)
#define VMSIG_PTE_LARGE   (1ull << 7) /* in a PDPT or PD: a page, not a table */
#define VMSIG_PTE_NX      (1ull << 63)
#define VMSIG_PTE_ADDR    0x000ffffffffff000ull

/* Guest RAM: segs[n] place ranges of guest-physical addresses in the mapping at base. Borrowed. */
typedef struct vmsig_guest {
    uint8_t *base;
    uint64_t bytes; /* of the mapping */
    const vmsig_seg *segs;
    int n;
} vmsig_guest;

/* -EINVAL: a segment is empty, wraps, overlaps another or lies beyond `bytes`. */
int vmsig_segs_check(const vmsig_seg *segs, int n, uint64_t bytes);

/* The byte at gpa and how many follow it in its segment; NULL: not RAM. */
uint8_t *vmsig_guest_at(const vmsig_guest *g, uint64_t gpa, uint64_t *follow);

/* One walk: -EFAULT not present or a table outside RAM; -EINVAL not canonical, a reserved bit, no such paging. *follow
 * (NULL = not wanted): bytes from va to the end of its page. */
int vmsig_guest_walk(const vmsig_guest *g, const vmsig_memctx *ctx, uint64_t va, uint64_t *gpa, uint64_t *follow);

#endif
