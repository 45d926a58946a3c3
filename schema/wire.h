/* wire.h: the bytes of an Event (event.proto) written and read directly, for the events that make up the bulk: one of a
 * kind whose body is plain bytes, without a payload. Every other event goes through protobuf-c (codec.h), and so does
 * whatever is not understood here: the bytes are the same either way.
 */
#ifndef VMSIG_WIRE_H
#define VMSIG_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "vmsig_event.h"

#define VMSIG_VARINT_MAX     10u
#define VMSIG_WIRE_PLAIN_MAX (14u * (1u + VMSIG_VARINT_MAX) + 3u + VMSIG_INLINE_MAX) /* bytes of such an event */

/* How many bytes it took, 1..VMSIG_VARINT_MAX; up to 8 may be written where it took fewer. Groups of 7 bits are spread
 * over bytes, and gathered from them, in three steps within a word, after the way of bit-twiddling's parallel sums. */
static inline size_t vmsig_varint_put(uint8_t *at, uint64_t v) {
    if (v < 0x80) {
        *at = (uint8_t)v;
        return 1;
    }
    size_t n = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (v >> 56 == 0) {
        n = (70u - (unsigned)__builtin_clzll(v)) / 7u;
        v = (v & 0x000000000fffffff) | (v & 0x00fffffff0000000) << 4;
        v = (v & 0x00003fff00003fff) | (v & 0x0fffc0000fffc000) << 2;
        v = (v & 0x007f007f007f007f) | (v & 0x3f803f803f803f80) << 1;
        v |= 0x8080808080808080 & ((1ull << (8 * (n - 1))) - 1);
        memcpy(at, &v, sizeof v);
        return n;
    }
#endif
    for (; v >= 0x80; v >>= 7)
        at[n++] = (uint8_t)(v | 0x80);
    at[n++] = (uint8_t)v;
    return n;
}

/* False: cut off, or too long. */
static inline bool vmsig_varint_get(const uint8_t **at, const uint8_t *end, uint64_t *v) {
    const uint8_t *p = *at;
    uint64_t sum = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (end - p >= 8) {
        uint64_t w;
        memcpy(&w, p, sizeof w);
        uint64_t last = ~w & 0x8080808080808080;
        if (last != 0) {
            *at = p + __builtin_ctzll(last) / 8 + 1;
            w &= (last ^ (last - 1)) & 0x7f7f7f7f7f7f7f7f;
            w = (w & 0x007f007f007f007f) | (w & 0x7f007f007f007f00) >> 1;
            w = (w & 0x00003fff00003fff) | (w & 0x3fff00003fff0000) >> 2;
            *v = (w & 0x000000000fffffff) | (w & 0x0fffffff00000000) >> 4;
            return true;
        }
    }
#endif
    for (unsigned shift = 0; shift < 64 && p < end; shift += 7) {
        uint8_t b = *p++;
        sum |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *at = p;
            *v = sum;
            return true;
        }
    }
    return false;
}

/* The place of an event in a session and in the gateway's log; 0 = none. */
typedef struct vmsig_wire_place {
    uint64_t sseq, place;
} vmsig_wire_place;

/* Writes at most VMSIG_WIRE_PLAIN_MAX bytes: how many; 0: not such an event, or one that no codec takes. */
size_t vmsig_wire_put(uint8_t *to, const vmsig_event *ev, vmsig_wire_place at);
/* Reads one: false: not such an event, or not understood. */
bool vmsig_wire_get(const uint8_t *bytes, size_t len, vmsig_event *out, vmsig_wire_place *at);

#endif
