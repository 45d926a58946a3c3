#include "rings/ring_view.h"

#include <errno.h>

#include "rings/atomics.h"
#include "rings/shm.h"

size_t vmsig_ring_bytes(uint32_t slots, uint64_t arena_bytes) {
    if (slots < 8 || slots > VMSIG_RING_SLOTS_MAX || (slots & (slots - 1)) != 0)
        return 0;
    if (arena_bytes != 0 && (arena_bytes < 4096 || arena_bytes > UINT32_MAX || (arena_bytes & (arena_bytes - 1)) != 0))
        return 0;
    return VMSIG_RING_HEAD + (size_t)slots * VMSIG_SLOT_BYTES + (size_t)arena_bytes;
}

int vmsig_ring_view_open(vmsig_ring_view *v, int fd) {
    long long size = vmsig_shm_size(fd);
    if (size < 0)
        return (int)size;
    if (size < (long long)VMSIG_RING_HEAD)
        return -EMSGSIZE;
    const void *map;
    int err = vmsig_shm_map_ro(fd, VMSIG_RING_HEAD, &map);
    if (err < 0)
        return err;
    const vmsig_ring_head *h = map;
    uint64_t magic = vmsig_load64_acquire(&h->magic);
    uint32_t layout = vmsig_load32(&h->layout), slots = vmsig_load32(&h->slots);
    *v = (vmsig_ring_view){
        .base = vmsig_load64(&h->base),
        .arena_base = vmsig_load64(&h->arena_base),
        .arena_bytes = vmsig_load64(&h->arena_bytes),
        .mask = slots - 1,
        .link = vmsig_load32(&h->link),
        .generation = vmsig_load32(&h->generation),
    };
    vmsig_shm_unmap(map, VMSIG_RING_HEAD);

    size_t bytes = vmsig_ring_bytes(slots, v->arena_bytes);
    if (magic != VMSIG_RING_MAGIC || layout != VMSIG_LAYOUT || bytes == 0)
        return -EPROTO;
    if ((unsigned long long)size < bytes)
        return -EMSGSIZE;
    err = vmsig_shm_map_ro(fd, bytes, &map);
    if (err < 0)
        return err;
    const uint8_t *p = map;
    v->head = map;
    v->slots = (const vmsig_slot *)(const void *)(p + VMSIG_RING_HEAD);
    v->arena = p + VMSIG_RING_HEAD + (size_t)slots * VMSIG_SLOT_BYTES;
    return 0;
}

void vmsig_ring_view_close(vmsig_ring_view *v) {
    vmsig_shm_unmap(v->head, vmsig_ring_bytes(v->mask + 1, v->arena_bytes));
    *v = (vmsig_ring_view){0};
}

static bool load_ref(const vmsig_ring_view *v, const vmsig_slot *s, const vmsig_slot *form, uint64_t arena_cursor,
                     vmsig_body_ref *ref) {
    const uint64_t *words = (const uint64_t *)(const void *)(s->body + (vmsig_slot_dir(form) ? 8 : 0));
    union {
        uint64_t words[2];
        vmsig_body_ref ref;
    } u = {.words = {vmsig_load64(&words[0]), vmsig_load64(&words[1])}};
    *ref = u.ref;
    uint64_t least = arena_cursor > v->arena_base ? arena_cursor : v->arena_base;
    return ref->arena == v->link && ref->len > 0 && ref->len <= VMSIG_PAYLOAD_MAX && ref->pos >= least &&
           ref->pos - least <= VMSIG_ARENA_JUMP_MAX && v->arena_bytes != 0 &&
           (ref->pos & (v->arena_bytes - 1)) + ref->len <= v->arena_bytes;
}

int vmsig_ring_view_at(const vmsig_ring_view *v, uint64_t q, uint64_t end, uint64_t arena_cursor, vmsig_body_ref *ref) {
    const vmsig_slot *s = vmsig_ring_view_slot(v, q);
    const uint64_t slots = (uint64_t)v->mask + 1;
    *ref = (vmsig_body_ref){0};
    uint64_t turn = vmsig_load64_acquire(&s->turn);
    if (turn != q + 1) {
        uint64_t stale = q - v->base < slots ? 0 : q + 1 - slots;
        return turn == stale || (stale != 0 && turn == (stale | VMSIG_TURN_MORE)) ? 0 : -EPROTO;
    }
    vmsig_slot form = vmsig_slot_load_form(s);
    uint32_t n = vmsig_slot_count(&form);
    if (vmsig_slot_inln_len(&form) > VMSIG_INLINE_MAX || n > end - q)
        return -EPROTO;
    for (uint32_t i = 1; i < n; i++)
        if (vmsig_load64(&vmsig_ring_view_slot(v, q + i)->turn) != ((q + i + 1) | VMSIG_TURN_MORE))
            return -EPROTO;
    if (vmsig_slot_in_arena(&form) && !load_ref(v, s, &form, arena_cursor, ref))
        return -EPROTO;
    return (int)n;
}
