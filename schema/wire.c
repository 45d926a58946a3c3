#include "schema/wire.h"

#include <string.h>

#include "schema/codec.h"

#define INLN_TAG_0 0xa2u /* field 20, length-delimited: two bytes */
#define INLN_TAG_1 0x01u

/* Field numbers of varints, as event.proto has them. */
enum { SEQ = 1, TS, CORR, TOKEN, ENDPOINT, EPOCH, MERGED, FLAGS, SOURCE, DIR, PRIO, KIND, SSEQ, PLACE, FIELDS };

static inline uint8_t *field(uint8_t *at, unsigned number, uint64_t v) {
    *at++ = (uint8_t)(number << 3);
    return at + vmsig_varint_put(at, v);
}

/* As a field that is left out where it has its default. */
static inline uint8_t *optional(uint8_t *at, unsigned number, uint64_t v, uint64_t fallback) {
    return v != fallback ? field(at, number, v) : at;
}

size_t vmsig_wire_put(uint8_t *to, const vmsig_event *ev, vmsig_wire_place where) {
    if (!vmsig_codec_plain(ev->kind) || ev->payload_len > 0 || ev->inln_len > VMSIG_INLINE_MAX ||
        !vmsig_codec_head_ok(ev))
        return 0;
    uint8_t *at = to;
    at = optional(at, SEQ, ev->seq, 0);
    at = optional(at, TS, ev->ts_ns, 0);
    at = optional(at, CORR, ev->corr, 0);
    at = optional(at, TOKEN, ev->token, 0);
    at = optional(at, ENDPOINT, ev->endpoint, 0);
    at = optional(at, EPOCH, ev->epoch, 0);
    at = optional(at, MERGED, ev->merged, 1);
    at = optional(at, FLAGS, ev->flags, 0);
    at = optional(at, SOURCE, ev->source, 0);
    at = optional(at, DIR, ev->dir, 0);
    at = optional(at, PRIO, ev->prio, 0);
    at = field(at, KIND, ev->kind);
    at = optional(at, SSEQ, where.sseq, 0);
    at = optional(at, PLACE, where.place, 0);
    if (ev->inln_len > 0) {
        *at++ = INLN_TAG_0;
        *at++ = INLN_TAG_1;
        *at++ = (uint8_t)ev->inln_len; /* below 128 */
        memcpy(at, ev->inln, ev->inln_len);
        at += ev->inln_len;
    }
    return (size_t)(at - to);
}

/* The fields one after the other; v[n] is that of field n. */
static bool scan(const uint8_t *at, const uint8_t *end, uint64_t v[FIELDS], vmsig_event *out) {
    while (at < end) {
        unsigned number = *at >> 3;
        if ((*at & 0x87u) == 0 && number >= SEQ && number < FIELDS) {
            if (++at < end && *at < 0x80) {
                v[number] = *at++;
                continue;
            }
            if (!vmsig_varint_get(&at, end, &v[number]))
                return false;
            continue;
        }
        if (end - at < 3 || at[0] != INLN_TAG_0 || at[1] != INLN_TAG_1 || at[2] > VMSIG_INLINE_MAX ||
            end - at - 3 < at[2] || out->inln_len > 0)
            return false;
        out->inln_len = at[2];
        memcpy(out->inln, at + 3, at[2]);
        at += 3 + at[2];
    }
    return true;
}

bool vmsig_wire_get(const uint8_t *bytes, size_t len, vmsig_event *out, vmsig_wire_place *where) {
    uint64_t v[FIELDS] = {[MERGED] = 1};
    memset(out, 0, sizeof *out);
    if (!scan(bytes, bytes + len, v, out))
        return false;
    if (v[ENDPOINT] >= VMSIG_ENDPOINTS_MAX || (v[EPOCH] | v[MERGED] | v[FLAGS]) > UINT32_MAX ||
        (v[SOURCE] | v[DIR] | v[PRIO] | v[KIND]) > UINT8_MAX)
        return false;
    out->seq = v[SEQ];
    out->ts_ns = v[TS];
    out->corr = v[CORR];
    out->token = v[TOKEN];
    out->endpoint = (uint32_t)v[ENDPOINT];
    out->epoch = (uint32_t)v[EPOCH];
    out->merged = (uint32_t)v[MERGED];
    out->flags = (uint32_t)v[FLAGS];
    out->source = (uint8_t)v[SOURCE];
    out->dir = (uint8_t)v[DIR];
    out->prio = (uint8_t)v[PRIO];
    out->kind = (uint8_t)v[KIND];
    *where = (vmsig_wire_place){.sseq = v[SSEQ], .place = v[PLACE]};
    return vmsig_codec_plain(out->kind) && vmsig_codec_head_ok(out);
}
