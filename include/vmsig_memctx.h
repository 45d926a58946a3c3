/* vmsig_memctx.h: the coherent address-space context, and reading guest memory through it.
 *
 *   virtual ──walk (root, cr4.LA57)──► guest-physical ──segments──► offset in the read-only RAM fd
 *
 * One per endpoint, stamped with its epoch, paired with a pre-opened READ-ONLY fd of the RAM. When the epoch moves,
 * holders get VMSIG_EV_MEMCTX_INVALID at once and what they hold is void. A root is published only once the guest has
 * paging on. A control is never given anything it could write through.
 */
#ifndef VMSIG_MEMCTX_H
#define VMSIG_MEMCTX_H

#include <stddef.h>

#include "vmsig_event.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VMSIG_MEMCTX_COHERENT 1u /* sampled while the VM stood still */
#define VMSIG_SEGS_MAX        64

/* Body of VMSIG_EV_MEMCTX; the segments follow it, in inln where they fit, else in the payload. */
typedef struct vmsig_memctx {
    uint64_t root; /* x86 CR3, flag bits masked out */
    uint64_t cr0, cr4, efer;
    uint64_t low;    /* bytes of RAM below the hole under 4 GiB */
    uint32_t ram_id; /* names the RAM fd this context belongs to */
    uint16_t vcpu;
    uint8_t cpl;
    uint8_t flags; /* VMSIG_MEMCTX_ bits */
} vmsig_memctx;

/* Guest-physical [gpa, gpa+len) lies at [off, off+len) of the RAM fd. */
typedef struct vmsig_seg {
    uint64_t gpa, len, off;
} vmsig_seg;

/* The segments of a MEMCTX event: how many there are (at most max are written to out), -1 EINVAL if ev is none. */
int vmsig_memctx_segs(const vmsig_event *ev, vmsig_seg *out, int max);

/* Builds the body of a MEMCTX event in *ev (inln, and payload where the segments don't fit; the caller frees it).
 * Other fields of *ev are left alone. 0, or -1 EINVAL/ENOMEM. */
int vmsig_memctx_pack(vmsig_event *ev, const vmsig_memctx *ctx, const vmsig_seg *segs, int n);

/* A view of one endpoint's RAM: the read-only mapping and the context it is read with. Not thread-safe. */
typedef struct vmsig_memview vmsig_memview;

/* Maps ram_fd (borrowed) read-only with the context of ev. NULL: errno says why (EINVAL: no MEMCTX, or a segment
 * beyond the fd's end). A context without segments stands for a PC's: [0, low), the rest from 4 GiB on. */
vmsig_memview *vmsig_memview_open(const vmsig_event *ev, int ram_fd);
void vmsig_memview_close(vmsig_memview *v);

/* Takes a newer context of the same RAM. 0, or -1 EINVAL (another ram_id, or no MEMCTX): the view is unchanged. */
int vmsig_memview_update(vmsig_memview *v, const vmsig_event *ev);

const vmsig_memctx *vmsig_memview_ctx(const vmsig_memview *v);
uint32_t vmsig_memview_epoch(const vmsig_memview *v);

/* Walks 4-level tables, or 5-level ones when CR4.LA57 is set, with 4 KiB, 2 MiB and 1 GiB pages (Intel SDM vol. 3,
 * "Paging"). 0 and *gpa, or -1: EFAULT (not present, or a table outside RAM), EINVAL (va not canonical, a reserved bit
 * is set, or the context's CR0, CR4, EFER are not those of 4- or 5-level paging). */
int vmsig_memview_walk(const vmsig_memview *v, uint64_t va, uint64_t *gpa);

/* Copies n bytes from guest-physical or virtual memory; a naturally aligned 1/2/4/8-byte read is one atomic load.
 * 0, or -1 EFAULT (not RAM, or not mapped) or EINVAL (as walk); then the bytes at out are undefined. */
int vmsig_memview_read_phys(const vmsig_memview *v, uint64_t gpa, void *out, size_t n);
int vmsig_memview_read_virt(const vmsig_memview *v, uint64_t va, void *out, size_t n);

#ifdef __cplusplus
}
#endif
#endif
