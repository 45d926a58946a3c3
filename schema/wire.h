/* wire.h: the bytes of an Event (event.proto) written and read directly, for the events that make up the bulk: one of a
 * kind whose body is plain bytes, without a payload. Every other event goes through protobuf-c (codec.h), and so does
 * whatever is not understood here: the bytes are the same either way.
 */
#ifndef VMSIG_WIRE_H
#define VMSIG_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmsig_event.h"

#define VMSIG_VARINT_MAX     10u
#define VMSIG_WIRE_PLAIN_MAX (14u * (1u + VMSIG_VARINT_MAX) + 3u + VMSIG_INLINE_MAX) /* bytes of such an event */

/* How many bytes it took, 1..VMSIG_VARINT_MAX. */
static inline size_t vmsig_varint_put(uint8_t *at, uint64_t v) {
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        at[n++] = (uint8_t)(v | 0x80);
    at[n++] = (uint8_t)v;
    return n;
}

/* False: cut off, or too long. */
static inline bool vmsig_varint_get(const uint8_t **at, const uint8_t *end, uint64_t *v) {
    const uint8_t *p = *at;
    uint64_t sum = 0;
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
