/* Where a dead producer's ring ends. */
#include <errno.h>

#include "rings/ring_view.h"
#include "rings/shm.h"

/* Added to the arena position of a successor: above whatever the consumer has seen, even where it died between storing
 * its two cursors. Positions cost nothing. */
#define ARENA_GAP (1ull << 32)

static int load_reader(int reader_fd, uint64_t *cursor, uint64_t *arena_cursor) {
    const void *map;
    int err = vmsig_shm_map_ro(reader_fd, VMSIG_READER_BYTES, &map);
    if (err < 0)
        return err;
    const vmsig_reader *r = map;
    *arena_cursor = vmsig_load64_acquire(&r->arena_cursor);
    *cursor = vmsig_load64_acquire(&r->cursor);
    vmsig_shm_unmap(map, VMSIG_READER_BYTES);
    return 0;
}

static void copy_event(const vmsig_ring_view *v, uint64_t q, uint32_t n, vmsig_ring_end *end) {
    end->n = n;
    for (uint32_t i = 0; i < n; i++)
        end->last.s[i] = *vmsig_ring_view_slot(v, q + i);
}

/* The event that ends at the tail, if it lies before the place where the walk began: it is consumed already, and still
 * there, because nothing was published after it. */
static void look_back(const vmsig_ring_view *v, vmsig_ring_end *end) {
    for (uint32_t n = 1; n <= VMSIG_SLOTS_MAX && n <= end->tail - v->base; n++) {
        vmsig_body_ref ref;
        if (vmsig_ring_view_at(v, end->tail - n, end->tail, 0, &ref) == (int)n) {
            copy_event(v, end->tail - n, n, end);
            return;
        }
    }
}

static void walk(const vmsig_ring_view *v, uint64_t cursor, uint64_t arena_cursor, vmsig_ring_end *end) {
    const uint64_t stop = cursor + v->mask + 1;
    *end = (vmsig_ring_end){.tail = cursor, .arena_tail = arena_cursor, .generation = v->generation};
    while (end->tail < stop) {
        vmsig_body_ref ref;
        int n = vmsig_ring_view_at(v, end->tail, stop, end->arena_tail, &ref);
        if (n <= 0)
            break;
        copy_event(v, end->tail, (uint32_t)n, end);
        end->tail += (uint32_t)n;
        if (ref.len > 0)
            end->arena_tail = ref.pos + ref.len;
    }
    if (end->n == 0)
        look_back(v, end);
    if (v->arena_bytes != 0)
        end->arena_tail += ARENA_GAP;
}

int vmsig_ring_find_end(int ring_fd, int reader_fd, vmsig_ring_end *end) {
    vmsig_ring_view v = {0};
    int err = vmsig_ring_view_open(&v, ring_fd);
    if (err < 0)
        return err;
    uint64_t cursor = v.base, arena_cursor = v.arena_base;
    if (reader_fd >= 0)
        err = load_reader(reader_fd, &cursor, &arena_cursor);
    if (cursor < v.base) /* it still drains a former ring */
        cursor = v.base;
    if (arena_cursor < v.arena_base)
        arena_cursor = v.arena_base;
    if (err == 0 && arena_cursor - v.arena_base > VMSIG_ARENA_JUMP_MAX)
        err = -EPROTO;
    if (err == 0) {
        walk(&v, cursor, arena_cursor, end);
        if (end->tail > v.base && end->n == 0) /* nothing ends there: the cursor points beyond the tail */
            err = -EPROTO;
    }
    vmsig_ring_view_close(&v);
    return err;
}

int vmsig_ring_find_last(int ring_fd, uint64_t *tail) {
    vmsig_ring_view v = {0};
    int err = vmsig_ring_view_open(&v, ring_fd);
    if (err < 0)
        return err;
    *tail = v.base;
    for (uint64_t i = 0; i <= v.mask; i++) {
        uint64_t turn = vmsig_load64(&vmsig_ring_view_slot(&v, i)->turn) & ~VMSIG_TURN_MORE;
        if (turn > *tail && ((turn - 1) & v.mask) == i)
            *tail = turn;
    }
    vmsig_ring_view_close(&v);
    return 0;
}
