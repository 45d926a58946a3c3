/* ring.h: a lock-free SPSC ring of event slots between two processes.
 *
 *   producer's memfd (written by the producer, read-only to the consumer)
 *  ┌───────────────┬──────┬──────┬──────┬─ ─ ─┬───────────────┐
 *  │ head, 1 page  │ slot │ slot │ slot │     │ arena (bytes) │
 *  └───────────────┴──────┴──────┴──────┴─ ─ ─┴───────────────┘
 *   consumer's memfd (written by the consumer, read-only to the producer)
 *  ┌─────────────────────────┬─────────────┐
 *  │ cursor · arena_cursor   │ nap         │   one cache line each
 *  └─────────────────────────┴─────────────┘
 *   bells: eventfd data (producer wakes consumer), eventfd room (consumer wakes producer)
 *
 * A ring lives for one incarnation of its producer; a reader page for one of its consumer. Positions (u64) count on
 * across incarnations: a successor's ring starts at base = its predecessor's tail, and the consumer drains the old ring
 * up to base before it turns to the new one. Position q lies in slot q % slots, and is published when that slot's turn
 * is q + 1.
 *
 * Invariants   cursor <= tail <= cursor + slots; turns are stored in ascending order, so what a dead producer published
 *              is a prefix; nothing in [cursor, tail) is ever overwritten; a payload may be overwritten once the cursor
 *              has passed its event.
 * Waking       consumer: nap = the number of this nap, full fence, look again, then sleep; nap = 0 when it wakes.
 *              Producer: publish, full fence, look at nap. One of the two sees the other (Dekker). A nap is rung for
 *              once: who was rung looks again before the next one, which has another number. A producer that needs room
 *              does the same with `want` in its head page: the cursor from which on there will be enough.
 * Distrust     every index from the peer is loaded once and checked; nonsense poisons the link (-EPROTO from then on);
 *              it is never clamped.
 * Threads      one thread per side.
 * Errors       0 or negative errno.
 */
#ifndef VMSIG_RING_H
#define VMSIG_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "rings/atomics.h"
#include "schema/slot.h"

#define VMSIG_RING_MAGIC     0x676e697267736d76ull /* "vmsgring" */
#define VMSIG_RING_HEAD      4096u                 /* bytes before the first slot */
#define VMSIG_READER_BYTES   4096u                 /* of a reader page */
#define VMSIG_RING_SLOTS_MAX (1u << 20)

/* The producer's first page. Constant from before Mapped on, but for `want`. */
typedef struct vmsig_ring_head {
    alignas(64) uint64_t magic;
    uint32_t layout;
    uint32_t link;
    uint32_t generation;
    uint32_t slots;
    uint64_t base;       /* first position of this incarnation */
    uint64_t arena_base; /* likewise of the arena */
    uint64_t arena_bytes;
    alignas(64) uint64_t want; /* not 0: the producer waits, until the cursor is there, and wants the room bell rung */
} vmsig_ring_head;

/* The consumer's page. */
typedef struct vmsig_reader {
    alignas(64) uint64_t cursor; /* positions below are consumed */
    uint64_t arena_cursor;       /* arena bytes below are released */
    alignas(64) uint64_t nap;    /* not 0: the consumer sleeps, for the nap-th time, and wants the data bell rung */
    uint32_t sleepless;          /* 1: it never sleeps; constant from before Mapped on */
    uint32_t stopped;            /* 1: it ended in order, and took nothing from the cursor on */
} vmsig_reader;

/* Bytes of the producer's memfd. slots: a power of two, 8..VMSIG_RING_SLOTS_MAX; arena_bytes: 0 or a power of two >=
 * 4096. 0 when they are not. */
size_t vmsig_ring_bytes(uint32_t slots, uint64_t arena_bytes);

/* ---- the producer's side ----------------------------------------------------------------------------- */

typedef struct vmsig_ring_out {
    vmsig_ring_head *head;
    vmsig_slot *slots;
    uint8_t *arena;
    const vmsig_reader *reader; /* NULL until the peer is there */
    uint64_t tail;              /* next position to publish */
    uint64_t limit;             /* tail may go up to here: last seen cursor + slots */
    uint64_t arena_tail, arena_limit;
    uint64_t arena_next; /* arena_tail once the body last put is published */
    uint32_t arena_want; /* bytes of a body that found no room, for want_room; else 0 */
    uint32_t mask;
    uint32_t unflushed; /* published since the last flush */
    bool sleepless;     /* the consumer says so: nobody to wake, and no fence */
    uint64_t rung;      /* the nap that the data bell was last rung for */
    int poisoned;       /* -EPROTO once the peer wrote nonsense; limit is tail then */
} vmsig_ring_out;

/* Maps the memfd and writes its head. base, arena_base: where it starts; 0 for the first incarnation. */
int vmsig_ring_out_create(vmsig_ring_out *out, int fd, uint32_t link, uint32_t generation, uint32_t slots,
                          uint64_t arena_bytes, uint64_t base, uint64_t arena_base);
/* Takes the (new) reader page of the consumer; without one, there is room for one ring's worth from base. */
int vmsig_ring_out_peer(vmsig_ring_out *out, int reader_fd);
void vmsig_ring_out_close(vmsig_ring_out *out);

/* Where a dead predecessor's ring ends, from its memfd: walks from `cursor` (the consumer's; never overwritten) while
 * turns follow, up to the first event that is nonsense. *last is the last event published there, consumed or not (n slots,
 * turn words as found), n = 0 if there was none. arena_tail lies above every body that the consumer may have seen.
 * reader_fd -1: there never was a consumer. 0, -EPROTO: the head is none, or the cursor not one of this ring. */
typedef struct vmsig_ring_end {
    uint64_t tail, arena_tail;
    uint32_t generation;
    uint32_t n;
    vmsig_image last;
} vmsig_ring_end;
int vmsig_ring_find_end(int ring_fd, int reader_fd, vmsig_ring_end *end);
/* Where it ends by its turns alone, whatever the consumer says: 0 or -errno. Looks at each slot. */
int vmsig_ring_find_last(int ring_fd, uint64_t *tail);

/* How many slots can be published now; looks at the consumer's cursor only when the cached one leaves fewer than want.
 */
uint32_t vmsig_ring_room(vmsig_ring_out *out, uint32_t want);

/* The slot at tail, to build a one-slot event in place; NULL: no room (or poisoned). Then publish1. */
static inline vmsig_slot *vmsig_ring_next(vmsig_ring_out *out) {
    if (out->tail == out->limit && vmsig_ring_room(out, 1) == 0)
        return NULL;
    return &out->slots[out->tail & out->mask];
}
/* Publishes the event built there: everything but turn must be filled in. */
static inline void vmsig_ring_publish1(vmsig_ring_out *out) {
    vmsig_slot *s = &out->slots[out->tail & out->mask];
    if (vmsig_slot_in_arena(s))
        out->arena_tail = out->arena_next;
    out->tail++;
    out->unflushed++;
    vmsig_store64_release(&s->turn, out->tail);
}

/* Publishes an image of n slots: 0, -EAGAIN no room, -EPROTO poisoned. The image's payload reference must point into
 * this ring's arena already. */
int vmsig_ring_put(vmsig_ring_out *out, const vmsig_image *img, uint32_t n);

/* Copies a payload of len bytes to the arena and fills ref: 0, -EAGAIN no room now, -EMSGSIZE larger than the arena or
 * than VMSIG_PAYLOAD_MAX, -EINVAL len 0. It becomes part of the next event published with the arena bit; until then the
 * next put_body takes its place. The region is contiguous (it skips the end of the arena where it must) and starts at a
 * multiple of 16. */
int vmsig_ring_put_body(vmsig_ring_out *out, const void *bytes, uint32_t len, vmsig_body_ref *ref);

/* Packs and publishes *ev (payload copied): 0, -EAGAIN, -EMSGSIZE, -EINVAL, -EPROTO. origin is set to (0, 0). */
int vmsig_ring_put_event(vmsig_ring_out *out, const vmsig_event *ev);

/* Once per turn of the actor, after its publishing: one fence; 1 = the consumer sleeps, ring its bell; 0 = it is awake,
 * or was rung for this nap. */
int vmsig_ring_flush(vmsig_ring_out *out);

/* Says that the producer waits for n slots of room, and for the body that put_body had no room for: 1 = there is room by
 * now (and the wish is withdrawn), 0 = the room bell will ring. Call it again when it has. */
int vmsig_ring_want_room(vmsig_ring_out *out, uint32_t n);

/* ---- the consumer's side ----------------------------------------------------------------------------- */

#define VMSIG_RING_CHAIN 8u /* incarnations of a producer that may wait to be drained */

typedef struct vmsig_ring_view {
    const vmsig_ring_head *head;
    const vmsig_slot *slots;
    const uint8_t *arena;
    uint64_t base, arena_base, arena_bytes;
    uint32_t mask;
    uint32_t link;
    uint32_t generation;
} vmsig_ring_view;

typedef struct vmsig_ring_in {
    vmsig_reader *reader;
    uint64_t cursor;                         /* next position to read; the shared one follows at release */
    uint64_t arena_cursor;                   /* likewise */
    uint64_t naps;                           /* so far */
    vmsig_ring_view chain[VMSIG_RING_CHAIN]; /* [0] is being read; the others begin where their predecessor ends */
    uint32_t chained;
    uint32_t head_count; /* slots of the event last peeked */
    vmsig_body_ref ref;  /* its payload, checked; len 0: none */
    int poisoned;        /* -EPROTO once the peer wrote nonsense */
} vmsig_ring_in;

/* Maps the reader page and starts at cursor. */
int vmsig_ring_in_create(vmsig_ring_in *in, int reader_fd, uint64_t cursor, uint64_t arena_cursor);
/* Says that this consumer never sleeps, right after create, before its page is shared: its producers then need not look
 * whether it does. vmsig_ring_sleep is not called from then on. */
void vmsig_ring_in_sleepless(vmsig_ring_in *in);
/* The last word of a consumer that ends in order, after its last release. */
static inline void vmsig_ring_in_stopped(vmsig_ring_in *in) {
    vmsig_store32(&in->reader->stopped, 1);
}
/* Adds the (next) ring of the producer: -EPERM not sealed, -EMSGSIZE smaller than its head says, -EPROTO a wrong head,
 * -EEXIST a generation already there, -ENOSPC the chain is full. A poisoned link is healed by it: what was left of the
 * poisoned ring is given up, and the cursor goes to the new one's base. */
int vmsig_ring_in_peer(vmsig_ring_in *in, int ring_fd, uint32_t link);
/* A poisoned ring whose producer is dead, for a later one is there: gives up what is left of it and turns to that. False:
 * there is none, one is to come (vmsig_ring_in_peer). */
bool vmsig_ring_in_heal(vmsig_ring_in *in);
void vmsig_ring_in_close(vmsig_ring_in *in);

/* The four bytes kind, route, lane, shape of a slot that a peer may write, loaded at once. */
static inline vmsig_slot vmsig_slot_load_form(const vmsig_slot *s) {
    uint32_t word = vmsig_load32((const uint32_t *)(const void *)&s->kind);
    vmsig_slot form = {0};
    memcpy(&form.kind, &word, sizeof word);
    return form;
}
/* vmsig_ring_peek for all but the common case. */
const vmsig_slot *vmsig_ring_peek_slow(vmsig_ring_in *in);
/* The first slot of the next event, in place, or NULL: nothing there (or poisoned: see in->poisoned). Valid until
 * advance. Turns to the next ring of the chain where this one is drained. */
static inline const vmsig_slot *vmsig_ring_peek(vmsig_ring_in *in) {
    const vmsig_ring_view *v = &in->chain[0];
    if (in->chained != 1 || in->poisoned != 0)
        return vmsig_ring_peek_slow(in);
    const vmsig_slot *s = &v->slots[in->cursor & v->mask];
    if (vmsig_load64_acquire(&s->turn) != in->cursor + 1)
        return vmsig_ring_peek_slow(in);
    vmsig_slot form = vmsig_slot_load_form(s);
    if (vmsig_slot_in_arena(&form) || vmsig_slot_body_len(&form) > VMSIG_HEAD_BODY)
        return vmsig_ring_peek_slow(in);
    in->head_count = 1;
    in->ref.len = 0;
    return s;
}
/* Copies the peeked event: the number of slots; 0: the peer changed it meanwhile, which poisons. */
uint32_t vmsig_ring_copy(vmsig_ring_in *in, vmsig_image *img);
/* The payload of the peeked event, in place: *len bytes, or NULL: it has none, or its reference is nonsense (poisons).
 */
const void *vmsig_ring_body(vmsig_ring_in *in, const vmsig_image *img, uint32_t *len);
/* The peeked event as a vmsig_event with a malloc'ed payload: 0, -ENOMEM, -EPROTO. */
int vmsig_ring_get_event(vmsig_ring_in *in, vmsig_event *ev);
/* Steps past the peeked event. */
static inline void vmsig_ring_advance(vmsig_ring_in *in) {
    in->cursor += in->head_count;
    in->head_count = 0;
    if (in->ref.len > 0)
        in->arena_cursor = in->ref.pos + in->ref.len;
    in->ref.len = 0;
}
/* Stores the shared cursors, once per turn: 1 = the producer wants room, ring its bell; 0 = it doesn't. */
int vmsig_ring_release(vmsig_ring_in *in);

/* Marks the consumer as asleep: 1 = something has come, don't sleep (and it is awake again); 0 = sleep. */
int vmsig_ring_sleep(vmsig_ring_in *in);
void vmsig_ring_wake(vmsig_ring_in *in);

#endif
