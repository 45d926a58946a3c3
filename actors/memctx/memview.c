#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "actors/memctx/walk.h"
#include "rings/atomics.h"

struct vmsig_memview {
    vmsig_memctx ctx;
    uint32_t epoch;
    vmsig_guest ram; /* its segs point to those below */
    vmsig_seg segs[VMSIG_SEGS_MAX];
};

static int fail(int error) {
    errno = error;
    return -1;
}

/* The RAM of a PC whose context came without segments. */
static int default_segs(const vmsig_memctx *ctx, uint64_t bytes, vmsig_seg *segs) {
    uint64_t low = ctx->low == 0 || ctx->low > bytes ? bytes : ctx->low;
    segs[0] = (vmsig_seg){.gpa = 0, .len = low, .off = 0};
    segs[1] = (vmsig_seg){.gpa = 1ull << 32, .len = bytes - low, .off = low};
    return low < bytes ? 2 : 1;
}

/* Reads the event into *ctx and segs: how many segments, or -EINVAL. */
static int take(const vmsig_event *ev, uint64_t bytes, vmsig_memctx *ctx, vmsig_seg *segs) {
    int n = vmsig_memctx_segs(ev, segs, VMSIG_SEGS_MAX);
    if (n < 0)
        return -EINVAL;
    memcpy(ctx, ev->inln, sizeof *ctx);
    if (n == 0)
        n = default_segs(ctx, bytes, segs);
    return vmsig_segs_check(segs, n, bytes) < 0 ? -EINVAL : n;
}

vmsig_memview *vmsig_memview_open(const vmsig_event *ev, int ram_fd) {
    struct stat st;
    if (!ev) {
        errno = EINVAL;
        return NULL;
    }
    if (fstat(ram_fd, &st) < 0)
        return NULL;
    vmsig_memview *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    uint64_t bytes = (uint64_t)st.st_size;
    int n = st.st_size > 0 ? take(ev, bytes, &v->ctx, v->segs) : -EINVAL;
    void *map = n < 0 ? MAP_FAILED : mmap(NULL, bytes, PROT_READ, MAP_SHARED, ram_fd, 0);
    if (map == MAP_FAILED) {
        int error = n < 0 ? -n : errno;
        free(v);
        errno = error;
        return NULL;
    }
    v->epoch = ev->epoch;
    v->ram = (vmsig_guest){.base = map, .bytes = bytes, .segs = v->segs, .n = n};
    return v;
}

void vmsig_memview_close(vmsig_memview *v) {
    if (!v)
        return;
    munmap(v->ram.base, v->ram.bytes);
    free(v);
}

int vmsig_memview_update(vmsig_memview *v, const vmsig_event *ev) {
    vmsig_memctx ctx;
    vmsig_seg segs[VMSIG_SEGS_MAX];
    int n = v && ev ? take(ev, v->ram.bytes, &ctx, segs) : -EINVAL;
    if (n < 0 || ctx.ram_id != v->ctx.ram_id)
        return fail(EINVAL);
    v->ctx = ctx;
    v->epoch = ev->epoch;
    v->ram.n = n;
    memcpy(v->segs, segs, (size_t)n * sizeof *segs);
    return 0;
}

const vmsig_memctx *vmsig_memview_ctx(const vmsig_memview *v) {
    return v ? &v->ctx : NULL;
}

uint32_t vmsig_memview_epoch(const vmsig_memview *v) {
    return v ? v->epoch : 0;
}

int vmsig_memview_walk(const vmsig_memview *v, uint64_t va, uint64_t *gpa) {
    int rc = v && gpa ? vmsig_guest_walk(&v->ram, &v->ctx, va, gpa, NULL) : -EINVAL;
    return rc < 0 ? fail(-rc) : 0;
}

/* One load where the guest could have made one store; else bytes in whatever order memcpy likes. */
static void copy(void *out, const uint8_t *at, size_t n) {
    uintptr_t a = (uintptr_t)at;
    if (n == 8 && a % 8 == 0) {
        uint64_t x = vmsig_load64((const uint64_t *)a);
        memcpy(out, &x, 8);
    } else if (n == 4 && a % 4 == 0) {
        uint32_t x = vmsig_load32((const uint32_t *)a);
        memcpy(out, &x, 4);
    } else if (n == 2 && a % 2 == 0) {
        uint16_t x = vmsig_load16((const uint16_t *)a);
        memcpy(out, &x, 2);
    } else if (n == 1) {
        *(uint8_t *)out = vmsig_load8(at);
    } else {
        memcpy(out, at, n);
    }
}

int vmsig_memview_read_phys(const vmsig_memview *v, uint64_t gpa, void *out, size_t n) {
    uint8_t *to = out;
    if (!v || (n > 0 && !out))
        return fail(EINVAL);
    while (n > 0) {
        uint64_t follow;
        const uint8_t *at = vmsig_guest_at(&v->ram, gpa, &follow);
        if (!at)
            return fail(EFAULT);
        size_t part = n < follow ? n : (size_t)follow;
        copy(to, at, part);
        to += part;
        gpa += part;
        n -= part;
    }
    return 0;
}

int vmsig_memview_read_virt(const vmsig_memview *v, uint64_t va, void *out, size_t n) {
    uint8_t *to = out;
    if (!v || (n > 0 && (!out || va + (n - 1) < va)))
        return fail(EINVAL); /* also: round the end of the address space */
    while (n > 0) {
        uint64_t gpa, follow;
        int rc = vmsig_guest_walk(&v->ram, &v->ctx, va, &gpa, &follow);
        if (rc < 0)
            return fail(-rc);
        size_t part = n < follow ? n : (size_t)follow;
        if (vmsig_memview_read_phys(v, gpa, to, part) < 0)
            return -1;
        to += part;
        va += part;
        n -= part;
    }
    return 0;
}
