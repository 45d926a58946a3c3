/* The producer's side of a ring. */
#include <errno.h>
#include <string.h>

#include "rings/ring.h"
#include "rings/shm.h"

#define BODY_ALIGN 16u

static int poison(vmsig_ring_out *out) {
    out->limit = out->tail; /* so that the short paths need no look at `poisoned` */
    out->poisoned = -EPROTO;
    return -EPROTO;
}

int vmsig_ring_out_create(vmsig_ring_out *out, int fd, uint32_t link, uint32_t generation, uint32_t slots,
                          uint64_t arena_bytes, uint64_t base, uint64_t arena_base) {
    size_t bytes = vmsig_ring_bytes(slots, arena_bytes);
    if (bytes == 0)
        return -EINVAL;
    void *map;
    int err = vmsig_shm_map_rw(fd, bytes, &map);
    if (err < 0)
        return err;
    uint8_t *p = map;
    vmsig_ring_head *h = map;
    *h = (vmsig_ring_head){
        .layout = VMSIG_LAYOUT,
        .link = link,
        .generation = generation,
        .slots = slots,
        .base = base,
        .arena_base = arena_base,
        .arena_bytes = arena_bytes,
    };
    vmsig_store64_release(&h->magic, VMSIG_RING_MAGIC);
    *out = (vmsig_ring_out){
        .head = h,
        .slots = (vmsig_slot *)(void *)(p + VMSIG_RING_HEAD),
        .arena = p + VMSIG_RING_HEAD + (size_t)slots * VMSIG_SLOT_BYTES,
        .tail = base,
        .limit = base + slots,
        .arena_tail = arena_base,
        .arena_limit = arena_base + arena_bytes,
        .arena_next = arena_base,
        .mask = slots - 1,
    };
    return 0;
}

/* The consumer's cursor as far as this ring is concerned: base while it still drains a former one. */
static int load_cursor(vmsig_ring_out *out, uint64_t *cursor) {
    const uint64_t slots = (uint64_t)out->mask + 1, seen = out->limit - slots;
    if (out->poisoned != 0)
        return out->poisoned;
    *cursor = out->reader != NULL ? vmsig_load64_acquire(&out->reader->cursor) : seen;
    if (*cursor < seen && seen == out->head->base)
        *cursor = seen;
    return *cursor < seen || *cursor > out->tail || out->tail - *cursor > slots ? poison(out) : 0;
}

int vmsig_ring_out_peer(vmsig_ring_out *out, int reader_fd) {
    int err = vmsig_shm_check(reader_fd, VMSIG_READER_BYTES);
    if (err < 0)
        return err;
    const void *map;
    err = vmsig_shm_map_ro(reader_fd, VMSIG_READER_BYTES, &map);
    if (err < 0)
        return err;
    vmsig_shm_unmap(out->reader, VMSIG_READER_BYTES);
    out->reader = map;
    out->rung = 0; /* another counts its naps there */
    out->sleepless = vmsig_load32(&out->reader->sleepless) != 0;
    if (out->poisoned != 0) { /* the new page may heal it: look at its cursor afresh */
        out->poisoned = 0;
        out->limit = out->head->base + out->mask + 1;
    }
    uint64_t cursor;
    err = load_cursor(out, &cursor);
    if (err == 0)
        out->limit = cursor + out->mask + 1;
    return err;
}

void vmsig_ring_out_close(vmsig_ring_out *out) {
    if (out->head == NULL)
        return;
    vmsig_shm_unmap(out->reader, VMSIG_READER_BYTES);
    vmsig_shm_unmap(out->head, vmsig_ring_bytes(out->mask + 1, out->head->arena_bytes));
    *out = (vmsig_ring_out){0};
}

uint32_t vmsig_ring_room(vmsig_ring_out *out, uint32_t want) {
    uint64_t cursor;
    if (out->limit - out->tail < want && load_cursor(out, &cursor) == 0)
        out->limit = cursor + out->mask + 1;
    return (uint32_t)(out->limit - out->tail);
}

int vmsig_ring_put(vmsig_ring_out *out, const vmsig_image *img, uint32_t n) {
    if (vmsig_ring_room(out, n) < n)
        return out->poisoned != 0 ? out->poisoned : -EAGAIN;
    const uint64_t q = out->tail;
    for (uint32_t i = n; i-- > 0;) {
        vmsig_slot *s = &out->slots[(q + i) & out->mask];
        memcpy(&s->ts_ns, &img->s[i].ts_ns, sizeof *s - sizeof s->turn); /* all but the turn */
        if (i > 0)
            vmsig_store64(&s->turn, (q + i + 1) | VMSIG_TURN_MORE);
    }
    if (vmsig_slot_in_arena(&img->s[0])) {
        vmsig_body_ref ref = vmsig_image_ref(img);
        out->arena_tail = ref.pos + ref.len;
    }
    out->tail = q + n;
    out->unflushed += n;
    vmsig_store64_release(&out->slots[q & out->mask].turn, q + 1);
    return 0;
}

/* Where a body of len bytes would go: contiguous, behind the last one. */
static uint64_t body_pos(const vmsig_ring_out *out, uint32_t len) {
    const uint64_t bytes = out->head->arena_bytes;
    uint64_t pos = (out->arena_tail + BODY_ALIGN - 1) & ~(uint64_t)(BODY_ALIGN - 1);
    uint64_t off = pos & (bytes - 1);
    return off + len > bytes ? pos + (bytes - off) : pos;
}

static int body_room(vmsig_ring_out *out, uint32_t len, uint64_t *pos) {
    const uint64_t bytes = out->head->arena_bytes;
    *pos = body_pos(out, len);
    if (*pos + len <= out->arena_limit)
        return 0;
    uint64_t cursor, released = out->reader != NULL ? vmsig_load64_acquire(&out->reader->arena_cursor) : 0;
    int err = load_cursor(out, &cursor);
    if (err < 0)
        return err;
    if (released > out->arena_tail)
        return poison(out);
    /* All events consumed: the whole arena is free, whatever was skipped, and whatever a consumer that died between
     * storing its two cursors left unsaid. */
    uint64_t limit = cursor == out->tail ? *pos + bytes : released + bytes;
    if (limit > out->arena_limit)
        out->arena_limit = limit;
    return *pos + len <= out->arena_limit ? 0 : -EAGAIN;
}

int vmsig_ring_put_body(vmsig_ring_out *out, const void *bytes, uint32_t len, vmsig_body_ref *ref) {
    if (len == 0)
        return -EINVAL;
    if (len > out->head->arena_bytes || len > VMSIG_PAYLOAD_MAX)
        return -EMSGSIZE;
    uint64_t pos;
    int err = body_room(out, len, &pos);
    out->arena_want = err == -EAGAIN ? len : 0;
    if (err < 0)
        return err;
    memcpy(out->arena + (pos & (out->head->arena_bytes - 1)), bytes, len);
    out->arena_next = pos + len;
    *ref = (vmsig_body_ref){.pos = pos, .len = len, .arena = out->head->link};
    return 0;
}

/* Built in place: an image on the stack would be read back before its stores have left. 1: done; 0: not one of these. */
static int put_one_slot(vmsig_ring_out *out, const vmsig_event *ev) {
    vmsig_slot *s = vmsig_ring_next(out);
    if (s == NULL)
        return 0;
    int n = vmsig_slot_pack(s, ev);
    if (n == 1)
        vmsig_ring_publish1(out);
    return n;
}

int vmsig_ring_put_event(vmsig_ring_out *out, const vmsig_event *ev) {
    int done = put_one_slot(out, ev);
    if (done != 0)
        return done < 0 ? done : 0;
    vmsig_image img;
    int n = vmsig_image_pack(&img, ev);
    if (n < 0)
        return n;
    if (out->poisoned != 0)
        return out->poisoned;
    if (ev->payload_len > 0) {
        vmsig_body_ref ref;
        int err = vmsig_ring_put_body(out, ev->payload, ev->payload_len, &ref);
        if (err < 0)
            return err;
        vmsig_image_set_ref(&img, ref);
    }
    return vmsig_ring_put(out, &img, (uint32_t)n);
}

int vmsig_ring_flush(vmsig_ring_out *out) {
    if (out->unflushed == 0)
        return 0;
    out->unflushed = 0;
    if (out->sleepless)
        return 0;
    vmsig_fence_full(); /* the turns are visible before we look: against the consumer's fence in sleep */
    uint64_t nap = out->reader != NULL ? vmsig_load64(&out->reader->nap) : 0;
    if (nap == 0 || nap == out->rung)
        return 0;
    out->rung = nap;
    return 1;
}

static bool has_room(vmsig_ring_out *out, uint32_t n) {
    uint64_t pos;
    if (vmsig_ring_room(out, n) < n)
        return false;
    return out->arena_want == 0 || body_room(out, out->arena_want, &pos) == 0;
}

/* The least cursor with which there would be room; for the body it is not known: as soon as anything is consumed. */
static uint64_t cursor_for(const vmsig_ring_out *out, uint32_t n) {
    const uint64_t slots = (uint64_t)out->mask + 1, seen = out->limit - slots, least = out->tail + n - slots;
    return out->tail + n > out->limit ? least : seen + 1;
}

int vmsig_ring_want_room(vmsig_ring_out *out, uint32_t n) {
    vmsig_store64(&out->head->want, cursor_for(out, n));
    vmsig_fence_full(); /* the wish is visible before we look: against the consumer's fence in release */
    if (!has_room(out, n))
        return 0;
    vmsig_store64(&out->head->want, 0);
    return 1;
}
