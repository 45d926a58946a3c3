#include "actors/hosts/memwrite.h"

#include <string.h>

#include "rings/atomics.h"
#include "schema/caps.h"

#define PIECES_MAX (VMSIG_PAYLOAD_MAX / 4096u + 2u)

typedef struct piece {
    uint8_t *at;
    uint64_t len;
} piece;

/* The piece of memory at addr, up to the end of its segment and, where it is virtual, of its page. */
static vmsig_status resolve(const vmsig_guest *ram, const vmsig_memctx *ctx, uint64_t addr, uint32_t flags, piece *p) {
    uint64_t gpa = addr, page = UINT64_MAX;
    if (flags & VMSIG_MEMWRITE_VIRTUAL) {
        if (!ctx)
            return VMSIG_UNAVAILABLE;
        if (vmsig_guest_walk(ram, ctx, addr, &gpa, &page) < 0)
            return VMSIG_INVALID;
    }
    p->at = vmsig_guest_at(ram, gpa, &p->len);
    if (!p->at)
        return VMSIG_INVALID;
    if (page < p->len)
        p->len = page;
    return VMSIG_OK;
}

static void store(uint8_t *at, uint64_t value, uint32_t size) {
    void *p = at;
    if (size == 8)
        vmsig_store64(p, value);
    else if (size == 4)
        vmsig_store32(p, (uint32_t)value);
    else if (size == 2)
        vmsig_store16(p, (uint16_t)value);
    else
        vmsig_store8(p, (uint8_t)value);
}

static vmsig_status write_atomic(const vmsig_guest *ram, const vmsig_memctx *ctx, const vmsig_memwrite *w) {
    if (w->addr % w->size != 0)
        return VMSIG_INVALID;
    piece p;
    vmsig_status s = resolve(ram, ctx, w->addr, w->flags, &p);
    if (s != VMSIG_OK)
        return s;
    if (p.len < w->size || (uintptr_t)p.at % w->size != 0)
        return VMSIG_INVALID;
    store(p.at, w->value, w->size);
    return VMSIG_OK;
}

/* The pieces that the whole range is made of: *n of them. */
static vmsig_status resolve_all(const vmsig_guest *ram, const vmsig_memctx *ctx, const vmsig_memwrite *w, piece *pieces,
                                unsigned *n) {
    *n = 0;
    for (uint64_t done = 0; done < w->size; done += pieces[(*n)++].len) {
        if (*n == PIECES_MAX || w->addr + done < w->addr)
            return VMSIG_INVALID;
        piece *p = &pieces[*n];
        vmsig_status s = resolve(ram, ctx, w->addr + done, w->flags, p);
        if (s != VMSIG_OK)
            return s;
        if (p->len >= w->size - done)
            p->len = w->size - done;
        else if (!(w->flags & VMSIG_MEMWRITE_VIRTUAL))
            return VMSIG_INVALID; /* it crosses the segment's end */
    }
    return VMSIG_OK;
}

static vmsig_status write_bytes(const vmsig_guest *ram, const vmsig_memctx *ctx, const vmsig_memwrite *w,
                                const uint8_t *bytes) {
    piece pieces[PIECES_MAX];
    unsigned n;
    if (w->size == 0 || w->size > VMSIG_PAYLOAD_MAX)
        return VMSIG_INVALID;
    vmsig_status s = resolve_all(ram, ctx, w, pieces, &n);
    for (unsigned i = 0; s == VMSIG_OK && bytes && i < n; bytes += pieces[i++].len)
        memcpy(pieces[i].at, bytes, pieces[i].len);
    return s;
}

vmsig_status vmsig_guest_write(const vmsig_guest *ram, const vmsig_memctx *ctx, const vmsig_memwrite *w,
                               const void *bytes) {
    if (!ram->base)
        return VMSIG_UNAVAILABLE;
    if (vmsig_memwrite_atomic(w->size))
        return write_atomic(ram, ctx, w);
    return bytes ? write_bytes(ram, ctx, w, bytes) : VMSIG_INVALID;
}

vmsig_status vmsig_guest_check(const vmsig_guest *ram, const vmsig_memctx *ctx, const vmsig_memwrite *w) {
    return ram->base ? write_bytes(ram, ctx, w, NULL) : VMSIG_UNAVAILABLE;
}
