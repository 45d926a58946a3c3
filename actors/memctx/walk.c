#include "actors/memctx/walk.h"

#include <errno.h>

#include "rings/atomics.h"

static bool overlap(const vmsig_seg *a, const vmsig_seg *b) {
    return a->gpa < b->gpa + b->len && b->gpa < a->gpa + a->len;
}

int vmsig_segs_check(const vmsig_seg *segs, int n, uint64_t bytes) {
    if (n < 0 || n > VMSIG_SEGS_MAX)
        return -EINVAL;
    for (int i = 0; i < n; i++) {
        const vmsig_seg *s = &segs[i];
        if (s->len == 0 || s->gpa + s->len < s->gpa || s->len > bytes || s->off > bytes - s->len)
            return -EINVAL;
        for (int k = 0; k < i; k++)
            if (overlap(s, &segs[k]))
                return -EINVAL;
    }
    return 0;
}

uint8_t *vmsig_guest_at(const vmsig_guest *g, uint64_t gpa, uint64_t *follow) {
    for (int i = 0; i < g->n; i++) {
        const vmsig_seg *s = &g->segs[i];
        if (gpa >= s->gpa && gpa - s->gpa < s->len) {
            *follow = s->len - (gpa - s->gpa);
            return g->base + s->off + (gpa - s->gpa);
        }
    }
    return NULL;
}

static bool long_mode(const vmsig_memctx *ctx) {
    return (ctx->cr0 & VMSIG_CR0_PG) && (ctx->cr4 & VMSIG_CR4_PAE) && (ctx->efer & VMSIG_EFER_LMA);
}

/* Bits [bits-1, 63] are all equal. */
static bool canonical(uint64_t va, unsigned bits) {
    uint64_t top = va >> (bits - 1);
    return top == 0 || top == UINT64_MAX >> (bits - 1);
}

/* Bits that must be 0 in a present entry, given the bit at which its page or its table's reach starts. Address bits
 * above what the guest's processor has are reserved too; they are not known here and end as "not RAM". */
static uint64_t reserved_bits(const vmsig_memctx *ctx, unsigned shift, bool page) {
    uint64_t bits = ctx->efer & VMSIG_EFER_NXE ? 0 : VMSIG_PTE_NX;
    if (shift > 30)
        bits |= VMSIG_PTE_LARGE; /* no pages of 512 GiB and more */
    if (page && shift > 12)
        bits |= ((1ull << shift) - 1) & ~0x1fffull; /* between PAT (bit 12) and the page's own address */
    return bits;
}

static int read_entry(const vmsig_guest *g, uint64_t gpa, uint64_t *entry) {
    uint64_t follow;
    const uint8_t *at = vmsig_guest_at(g, gpa, &follow);
    if (!at || follow < sizeof *entry || ((uintptr_t)at & 7))
        return -EFAULT;
    *entry = vmsig_load64((const uint64_t *)(const void *)at);
    return *entry & VMSIG_PTE_PRESENT ? 0 : -EFAULT;
}

int vmsig_guest_walk(const vmsig_guest *g, const vmsig_memctx *ctx, uint64_t va, uint64_t *gpa, uint64_t *follow) {
    bool la57 = ctx->cr4 & VMSIG_CR4_LA57;
    if (!long_mode(ctx) || !canonical(va, la57 ? 57 : 48))
        return -EINVAL;

    uint64_t table = ctx->root & VMSIG_PTE_ADDR;
    unsigned shift = la57 ? 48 : 39;
    for (;; shift -= 9) {
        uint64_t entry;
        int rc = read_entry(g, table + ((va >> shift) & 511u) * 8, &entry);
        if (rc < 0)
            return rc;
        bool page = shift == 12 || (shift <= 30 && (entry & VMSIG_PTE_LARGE));
        if (entry & reserved_bits(ctx, shift, page))
            return -EINVAL;
        table = entry & VMSIG_PTE_ADDR;
        if (page)
            break;
    }
    uint64_t in_page = (1ull << shift) - 1;
    *gpa = (table & ~in_page) | (va & in_page);
    if (follow)
        *follow = in_page + 1 - (va & in_page);
    return 0;
}
