/* monitor.h: what QEMU's monitor prints for people, read: `info registers -a` and `info mtree -f`. Pure functions.
 *
 * QMP itself has neither control registers nor the map of memory. Both texts have kept their form since QEMU 2; what
 * does not have it is refused.
 *
 * Errors: 0 or negative errno.
 */
#ifndef VMSIG_QEMU_MONITOR_H
#define VMSIG_QEMU_MONITOR_H

#include "vmsig_memctx.h"

/* The first vCPU that has 4- or 5-level paging on: root, cr0, cr4, efer, vcpu, cpl of *out are set. -ENOENT: none has;
 * -EPROTO: it is no such text. */
int vmsig_monitor_registers(const char *text, vmsig_memctx *out);

/* Where the guest sees the RAM of the backend `name`, in ascending order, neighbours merged: how many segments, *low
 * where that below 4 GiB ends. -EPROTO: no such text, or no such RAM; -E2BIG: more than max. */
int vmsig_monitor_segments(const char *text, const char *name, vmsig_seg *out, int max, uint64_t *low);

#endif
