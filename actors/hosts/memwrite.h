/* memwrite.h: a write to guest memory, checked in full before its first byte.
 *
 *   size 1, 2, 4, 8  one aligned atomic store; the VM may run
 *   any other size   page by page; the caller sees to it that the VM stands still
 *
 * A virtual address is walked here, at the moment of the effect; the guest's page permissions do not bind the host.
 * Refused (INVALID): an unaligned atomic, a byte outside RAM, a range that crosses a segment, an address that is not
 * mapped.
 */
#ifndef VMSIG_HOST_MEMWRITE_H
#define VMSIG_HOST_MEMWRITE_H

#include "actors/memctx/walk.h"

/* ctx NULL: no address space is published, so nothing virtual can be written (UNAVAILABLE). bytes: w->size of them,
 * for other sizes than 1, 2, 4, 8. */
vmsig_status vmsig_guest_write(const vmsig_guest *ram, const vmsig_memctx *ctx, const vmsig_memwrite *w,
                               const void *bytes);
/* The same without its effect: OK = it could be done now. For other sizes than 1, 2, 4, 8. */
vmsig_status vmsig_guest_check(const vmsig_guest *ram, const vmsig_memctx *ctx, const vmsig_memwrite *w);

#endif
