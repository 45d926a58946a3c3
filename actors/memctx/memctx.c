#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmsig_memctx.h"

_Static_assert(sizeof(vmsig_memctx) == 48 && sizeof(vmsig_seg) == 24, "these travel between processes as they are");

/* The bytes of the segments, and how many there are; -1: ev is no MEMCTX. */
static int seg_bytes(const vmsig_event *ev, const uint8_t **bytes) {
    if (ev->kind != VMSIG_EV_MEMCTX || ev->inln_len < sizeof(vmsig_memctx) || ev->inln_len > VMSIG_INLINE_MAX)
        return -1;
    size_t inside = ev->inln_len - sizeof(vmsig_memctx);
    if (inside > 0 && ev->payload_len > 0)
        return -1;
    if (ev->payload_len > 0 && !ev->payload)
        return -1;
    size_t len = inside > 0 ? inside : ev->payload_len;
    *bytes = inside > 0 ? ev->inln + sizeof(vmsig_memctx) : ev->payload;
    if (len % sizeof(vmsig_seg) != 0 || len / sizeof(vmsig_seg) > VMSIG_SEGS_MAX)
        return -1;
    return (int)(len / sizeof(vmsig_seg));
}

int vmsig_memctx_segs(const vmsig_event *ev, vmsig_seg *out, int max) {
    const uint8_t *bytes;
    int n = ev && max >= 0 && (out || max == 0) ? seg_bytes(ev, &bytes) : -1;
    if (n < 0) {
        errno = EINVAL;
        return -1;
    }
    if (n > 0 && max > 0)
        memcpy(out, bytes, (size_t)(n < max ? n : max) * sizeof *out);
    return n;
}

int vmsig_memctx_pack(vmsig_event *ev, const vmsig_memctx *ctx, const vmsig_seg *segs, int n) {
    if (!ev || !ctx || n < 0 || n > VMSIG_SEGS_MAX || (n > 0 && !segs)) {
        errno = EINVAL;
        return -1;
    }
    size_t len = (size_t)n * sizeof *segs;
    void *payload = NULL;
    if (sizeof *ctx + len > VMSIG_INLINE_MAX) {
        payload = malloc(len);
        if (!payload)
            return -1;
        memcpy(payload, segs, len);
    } else if (n > 0) {
        memcpy(ev->inln + sizeof *ctx, segs, len);
    }
    memcpy(ev->inln, ctx, sizeof *ctx);
    ev->kind = VMSIG_EV_MEMCTX;
    ev->inln_len = (uint32_t)(sizeof *ctx + (payload ? 0 : len));
    ev->payload = payload;
    ev->payload_len = payload ? (uint32_t)len : 0;
    return 0;
}
