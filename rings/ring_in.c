/* The consumer's side of a ring. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rings/ring_view.h"
#include "rings/shm.h"

static int poison(vmsig_ring_in *in) {
    in->poisoned = -EPROTO;
    in->head_count = 0;
    in->ref.len = 0;
    return -EPROTO;
}

int vmsig_ring_in_create(vmsig_ring_in *in, int reader_fd, uint64_t cursor, uint64_t arena_cursor) {
    void *map;
    int err = vmsig_shm_map_rw(reader_fd, VMSIG_READER_BYTES, &map);
    if (err < 0)
        return err;
    *in = (vmsig_ring_in){.reader = map, .cursor = cursor, .arena_cursor = arena_cursor};
    vmsig_store64(&in->reader->arena_cursor, arena_cursor);
    vmsig_store64_release(&in->reader->cursor, cursor);
    return 0;
}

void vmsig_ring_in_sleepless(vmsig_ring_in *in) {
    vmsig_store32(&in->reader->sleepless, 1);
}

static void drop_oldest(vmsig_ring_in *in) {
    vmsig_ring_view_close(&in->chain[0]);
    in->head_count = 0;
    in->ref.len = 0;
    in->chained--;
    memmove(&in->chain[0], &in->chain[1], in->chained * sizeof in->chain[0]);
}

/* Turns to the ring that begins where the one being read ends. An incarnation may have published nothing at all; and a
 * consumer that starts again may be sent rings that its predecessor had consumed. */
static void turn_to_next(vmsig_ring_in *in) {
    while (in->chained > 1 && in->cursor >= in->chain[1].base)
        drop_oldest(in);
}

/* Gives up what is left of a poisoned link: the producer of the new ring begins at its base. */
static void heal(vmsig_ring_in *in, const vmsig_ring_view *fresh) {
    while (in->chained > 0)
        drop_oldest(in);
    if (in->cursor < fresh->base)
        in->cursor = fresh->base;
    in->poisoned = 0;
}

bool vmsig_ring_in_heal(vmsig_ring_in *in) {
    if (in->poisoned == 0 || in->chained < 2)
        return false;
    drop_oldest(in);
    if (in->cursor < in->chain[0].base)
        in->cursor = in->chain[0].base;
    in->poisoned = 0;
    return true;
}

static int fits_chain(const vmsig_ring_in *in, const vmsig_ring_view *v, uint32_t link) {
    if (v->link != link)
        return -EPROTO;
    if (in->chained == 0)
        return v->base <= in->cursor ? 0 : -EPROTO;
    const vmsig_ring_view *last = &in->chain[in->chained - 1];
    if (v->generation == last->generation)
        return -EEXIST;
    if (v->generation < last->generation || v->base < last->base)
        return -EPROTO;
    return in->chained == VMSIG_RING_CHAIN ? -ENOSPC : 0;
}

int vmsig_ring_in_peer(vmsig_ring_in *in, int ring_fd, uint32_t link) {
    int err = vmsig_shm_check(ring_fd, VMSIG_RING_HEAD);
    if (err < 0)
        return err;
    vmsig_ring_view v = {0};
    err = vmsig_ring_view_open(&v, ring_fd);
    if (err < 0)
        return err;
    turn_to_next(in);
    err = fits_chain(in, &v, link);
    if (err < 0) {
        vmsig_ring_view_close(&v);
        return err;
    }
    if (in->poisoned != 0)
        heal(in, &v);
    in->chain[in->chained++] = v;
    turn_to_next(in);
    return 0;
}

void vmsig_ring_in_close(vmsig_ring_in *in) {
    while (in->chained > 0)
        drop_oldest(in);
    vmsig_shm_unmap(in->reader, VMSIG_READER_BYTES);
    *in = (vmsig_ring_in){0};
}

const vmsig_slot *vmsig_ring_peek_slow(vmsig_ring_in *in) {
    in->head_count = 0;
    in->ref.len = 0;
    if (in->poisoned != 0)
        return NULL;
    turn_to_next(in);
    if (in->chained == 0)
        return NULL;
    const uint64_t end = in->chained > 1 ? in->chain[1].base : UINT64_MAX;
    int n = vmsig_ring_view_at(&in->chain[0], in->cursor, end, in->arena_cursor, &in->ref);
    if (n < 0)
        poison(in);
    if (n <= 0)
        return NULL;
    in->head_count = (uint32_t)n;
    return vmsig_ring_view_slot(&in->chain[0], in->cursor);
}

uint32_t vmsig_ring_copy(vmsig_ring_in *in, vmsig_image *img) {
    const uint32_t n = in->head_count;
    for (uint32_t i = 0; i < n; i++) {
        img->s[i] = *vmsig_ring_view_slot(&in->chain[0], in->cursor + i);
        img->s[i].turn = 0;
    }
    if (n == 0)
        return 0;
    if (vmsig_slot_count(&img->s[0]) != n || vmsig_slot_in_arena(&img->s[0]) != (in->ref.len > 0)) {
        poison(in);
        return 0;
    }
    return n;
}

const void *vmsig_ring_body(vmsig_ring_in *in, const vmsig_image *img, uint32_t *len) {
    *len = 0;
    if (in->ref.len == 0 || !vmsig_slot_in_arena(&img->s[0]))
        return NULL;
    vmsig_body_ref ref = vmsig_image_ref(img);
    if (ref.pos != in->ref.pos || ref.len != in->ref.len) { /* the peer changed it since it was checked */
        poison(in);
        return NULL;
    }
    *len = ref.len;
    return in->chain[0].arena + (ref.pos & (in->chain[0].arena_bytes - 1));
}

/* The peer may change it while it is looked at: a copy is unpacked. */
static int get_one_slot(vmsig_ring_in *in, vmsig_event *ev) {
    const vmsig_slot s = *vmsig_ring_view_slot(&in->chain[0], in->cursor);
    return vmsig_slot_unpack(ev, &s) < 0 ? poison(in) : 0;
}

int vmsig_ring_get_event(vmsig_ring_in *in, vmsig_event *ev) {
    if (in->head_count == 1 && in->ref.len == 0)
        return get_one_slot(in, ev);
    vmsig_image img;
    uint32_t len;
    if (vmsig_ring_copy(in, &img) == 0 || vmsig_image_unpack(ev, &img) < 0)
        return poison(in);
    const void *body = vmsig_ring_body(in, &img, &len);
    if (body == NULL)
        return in->poisoned;
    ev->payload = malloc(len);
    if (ev->payload == NULL)
        return -ENOMEM;
    memcpy(ev->payload, body, len);
    return 0;
}

int vmsig_ring_release(vmsig_ring_in *in) {
    if (in->reader->cursor == in->cursor)
        return 0;
    /* In this order: should we die in between, what is not yet passed is not yet released. */
    vmsig_store64_release(&in->reader->cursor, in->cursor);
    if (in->reader->arena_cursor != in->arena_cursor)
        vmsig_store64_release(&in->reader->arena_cursor, in->arena_cursor);
    vmsig_fence_full(); /* the cursors are visible before we look: against the producer's fence in want_room */
    uint64_t want = in->chained > 0 ? vmsig_load64(&in->chain[in->chained - 1].head->want) : 0;
    return want != 0 && in->cursor >= want;
}

int vmsig_ring_sleep(vmsig_ring_in *in) {
    vmsig_store64(&in->reader->nap, ++in->naps);
    vmsig_fence_full(); /* the mark is visible before we look: against the producer's fence in flush */
    if (vmsig_ring_peek(in) == NULL)
        return 0;
    vmsig_ring_wake(in);
    return 1;
}

void vmsig_ring_wake(vmsig_ring_in *in) {
    vmsig_store64(&in->reader->nap, 0);
}
