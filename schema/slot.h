/* slot.h: the event as it lies in a ring: one 64-byte slot, one cache line, or up to three in a row.
 *
 *   byte  0        8       16        24      28     32          36    37     38    39    40            64
 *        ┌────────┬───────┬─────────┬───────┬──────┬───────────┬─────┬──────┬─────┬─────┬─────────────┐
 *   0    │ turn   │ ts_ns │ origin  │seq_lo │epoch │corr_merged│kind │route │lane │shape│ body 24     │
 *        ├────────┼───────┴─────────┴───────┴──────┴───────────┴─────┴──────┴─────┴─────┴─────────────┤
 *   1, 2 │ turn   │ body, continued: 56 bytes                                                         │
 *        └────────┴──────────────────────────────────────────────────────────────────────────────────┘
 *
 * turn    position + 1 of the slot once the event is published; stored last, with release. A continuation slot has
 *         VMSIG_TURN_MORE set in its turn, so that no body can be taken for a head.
 * origin  the link that brought the event into the process that published it (16 bits) and its position there (48).
 * route   endpoint (6 bits) | dir (bit 6) | arena (bit 7)
 * lane    source (5 bits) | prio (3 bits)
 * shape   inln_len (7 bits) | retain (bit 7)
 * corr_merged  a command, a result, a lease answer: the bus-wide id of the command; else how many events this is.
 *
 * The body is, in this order: token (8 bytes; commands only) · vmsig_body_ref (16 bytes; arena only) · inln.
 */
#ifndef VMSIG_SLOT_H
#define VMSIG_SLOT_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmsig_event.h"

#define VMSIG_LAYOUT     2u /* of everything in this file and in rings/ring.h; peers with another number are refused */
#define VMSIG_SLOT_BYTES 64u
#define VMSIG_SLOTS_MAX  3u /* that one event may take */
#define VMSIG_HEAD_BODY  24u
#define VMSIG_MORE_BODY  56u
#define VMSIG_TURN_MORE  (1ull << 63)

typedef struct vmsig_slot {
    alignas(64) uint64_t turn;
    uint64_t ts_ns;
    uint64_t origin;
    uint32_t seq_lo;
    uint32_t epoch;
    uint32_t corr_merged;
    uint8_t kind;
    uint8_t route;
    uint8_t lane;
    uint8_t shape;
    uint8_t body[VMSIG_HEAD_BODY];
} vmsig_slot;

/* A continuation slot. */
typedef struct vmsig_slot_more {
    alignas(64) uint64_t turn;
    uint8_t body[VMSIG_MORE_BODY];
} vmsig_slot_more;

/* Where a payload lies: bytes [pos, pos + len) of the arena of link `arena`, positions counting on for ever. */
typedef struct vmsig_body_ref {
    uint64_t pos;
    uint32_t len;
    uint32_t arena;
} vmsig_body_ref;

/* An event outside a ring, as its slots: n of them are used, turn words are 0. */
typedef struct vmsig_image {
    vmsig_slot s[VMSIG_SLOTS_MAX];
} vmsig_image;

static inline uint64_t vmsig_origin(uint32_t link, uint64_t position) {
    return ((uint64_t)link << 48) | (position & 0xffffffffffffull);
}
static inline uint32_t vmsig_origin_link(uint64_t origin) {
    return (uint32_t)(origin >> 48);
}
static inline uint64_t vmsig_origin_position(uint64_t origin) {
    return origin & 0xffffffffffffull;
}

static inline uint32_t vmsig_slot_endpoint(const vmsig_slot *s) {
    return s->route & 0x3fu;
}
static inline uint8_t vmsig_slot_dir(const vmsig_slot *s) {
    return (s->route >> 6) & 1u;
}
static inline bool vmsig_slot_in_arena(const vmsig_slot *s) {
    return (s->route & 0x80u) != 0;
}
static inline uint8_t vmsig_slot_source(const vmsig_slot *s) {
    return s->lane & 0x1fu;
}
static inline uint8_t vmsig_slot_prio(const vmsig_slot *s) {
    return (uint8_t)(s->lane >> 5);
}
static inline uint32_t vmsig_slot_inln_len(const vmsig_slot *s) {
    return s->shape & 0x7fu;
}
static inline bool vmsig_slot_retain(const vmsig_slot *s) {
    return (s->shape & 0x80u) != 0;
}

/* Bytes of the body area that the event uses: token, reference and inln. */
static inline uint32_t vmsig_slot_body_len(const vmsig_slot *s) {
    return vmsig_slot_inln_len(s) + (vmsig_slot_dir(s) ? 8u : 0u) + (vmsig_slot_in_arena(s) ? 16u : 0u);
}
/* How many slots the event takes, 1..3; more than VMSIG_SLOTS_MAX only if a peer wrote nonsense. */
static inline uint32_t vmsig_slot_count(const vmsig_slot *s) {
    uint32_t n = vmsig_slot_body_len(s);
    return n <= VMSIG_HEAD_BODY ? 1u : 1u + (n - VMSIG_HEAD_BODY + VMSIG_MORE_BODY - 1u) / VMSIG_MORE_BODY;
}

/* Packs *ev, one of a single slot, in place: all of *s but its turn; origin 0. 1; 0: it needs more slots, or has a
 * payload, and *s is as it was; -EINVAL: a field is out of its range. */
int vmsig_slot_pack(vmsig_slot *s, const vmsig_event *ev);
/* The reverse: 0, or -EINVAL: none of a single slot, or nonsense. */
int vmsig_slot_unpack(vmsig_event *ev, const vmsig_slot *s);

/* Packs *ev into img with turn, origin 0. A payload is not copied: the arena bit is set and the reference's pos and
 * arena are 0, for the ring to fill in. The number of slots, or -EINVAL: a field is out of its range. */
int vmsig_image_pack(vmsig_image *img, const vmsig_event *ev);

/* The converse. seq gets the low 32 bits of the image only; payload is NULL and payload_len what the reference says.
 * 0, or -EINVAL: the image is not one that pack makes. */
int vmsig_image_unpack(vmsig_event *ev, const vmsig_image *img);

/* Reads, and overwrites, the payload reference of an image that is in an arena; copies, because the words of a body
 * are not aligned across slots. */
vmsig_body_ref vmsig_image_ref(const vmsig_image *img);
void vmsig_image_set_ref(vmsig_image *img, vmsig_body_ref ref);

/* The full sequence whose low 32 bits are `lo`, nearest to `near`. */
static inline uint64_t vmsig_seq_near(uint64_t near, uint32_t lo) {
    return near + (uint64_t)(int64_t)(int32_t)(lo - (uint32_t)near);
}

#endif
