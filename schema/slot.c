#include "schema/slot.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define TOKEN_BYTES 8u
#define REF_BYTES   16u

_Static_assert(sizeof(vmsig_slot) == VMSIG_SLOT_BYTES, "a slot is one cache line");
_Static_assert(sizeof(vmsig_slot_more) == VMSIG_SLOT_BYTES, "a slot is one cache line");
_Static_assert(offsetof(vmsig_slot, body) == 40, "the head's body is its last 24 bytes");
_Static_assert(sizeof(vmsig_body_ref) == REF_BYTES, "a reference has no holes");
_Static_assert(TOKEN_BYTES + REF_BYTES + VMSIG_INLINE_MAX == VMSIG_HEAD_BODY + (VMSIG_SLOTS_MAX - 1) * VMSIG_MORE_BODY,
               "the largest event fills its slots");

/* Where byte `at` of the body area lies in an image, and how many follow it in the same slot. */
static size_t body_place(size_t at, size_t *room) {
    if (at < VMSIG_HEAD_BODY) {
        *room = VMSIG_HEAD_BODY - at;
        return offsetof(vmsig_slot, body) + at;
    }
    size_t more = at - VMSIG_HEAD_BODY;
    *room = VMSIG_MORE_BODY - more % VMSIG_MORE_BODY;
    return VMSIG_SLOT_BYTES * (1 + more / VMSIG_MORE_BODY) + offsetof(vmsig_slot_more, body) + more % VMSIG_MORE_BODY;
}

static void body_write(vmsig_image *img, size_t at, const void *src, size_t len) {
    const uint8_t *from = src;
    while (len > 0) {
        size_t room;
        uint8_t *to = (uint8_t *)img + body_place(at, &room);
        size_t n = len < room ? len : room;
        memcpy(to, from, n);
        at += n, from += n, len -= n;
    }
}

static void body_read(const vmsig_image *img, size_t at, void *dst, size_t len) {
    uint8_t *to = dst;
    while (len > 0) {
        size_t room;
        const uint8_t *from = (const uint8_t *)img + body_place(at, &room);
        size_t n = len < room ? len : room;
        memcpy(to, from, n);
        at += n, to += n, len -= n;
    }
}

/* Whether corr_merged is the id of a command. */
static bool bears_corr(uint8_t dir, uint8_t kind) {
    return dir == VMSIG_DIR_DOWN || kind == VMSIG_EV_RESULT || kind == VMSIG_EV_LEASE;
}

static bool in_range(const vmsig_event *ev) {
    return ev->endpoint < VMSIG_ENDPOINTS_MAX && ev->dir <= VMSIG_DIR_DOWN && ev->source < VMSIG_SOURCES_MAX &&
           ev->prio <= VMSIG_PRIO_URGENT && ev->inln_len <= VMSIG_INLINE_MAX && ev->payload_len <= VMSIG_PAYLOAD_MAX &&
           (!bears_corr(ev->dir, ev->kind) || ev->corr <= UINT32_MAX);
}

/* All but the turn and the body. */
static inline void pack_head(vmsig_slot *s, const vmsig_event *ev) {
    s->ts_ns = ev->ts_ns;
    s->origin = 0;
    s->seq_lo = (uint32_t)ev->seq;
    s->epoch = ev->epoch;
    s->corr_merged = bears_corr(ev->dir, ev->kind) ? (uint32_t)ev->corr : ev->merged ? ev->merged : 1;
    s->kind = ev->kind;
    s->route = (uint8_t)(ev->endpoint | (uint32_t)ev->dir << 6 | (ev->payload_len > 0 ? 0x80u : 0u));
    s->lane = (uint8_t)(ev->source | ev->prio << 5);
    s->shape = (uint8_t)(ev->inln_len | (ev->flags & VMSIG_EVF_RETAIN ? 0x80u : 0u));
}

int vmsig_slot_pack(vmsig_slot *s, const vmsig_event *ev) {
    if (!in_range(ev))
        return -EINVAL;
    if (ev->payload_len > 0 || ev->inln_len > VMSIG_HEAD_BODY - (ev->dir == VMSIG_DIR_DOWN ? TOKEN_BYTES : 0u))
        return 0;
    pack_head(s, ev);
    if (ev->dir == VMSIG_DIR_UP && ev->inln_len == VMSIG_HEAD_BODY) {
        memcpy(s->body, ev->inln, VMSIG_HEAD_BODY);
        return 1;
    }
    memset(s->body, 0, VMSIG_HEAD_BODY);
    memcpy(s->body, &ev->token, ev->dir == VMSIG_DIR_DOWN ? TOKEN_BYTES : 0u);
    memcpy(s->body + (ev->dir == VMSIG_DIR_DOWN ? TOKEN_BYTES : 0u), ev->inln, ev->inln_len);
    return 1;
}

int vmsig_image_pack(vmsig_image *img, const vmsig_event *ev) {
    if (!in_range(ev))
        return -EINVAL;
    vmsig_slot *s = &img->s[0];
    *s = (vmsig_slot){0};
    pack_head(s, ev);
    uint32_t n = vmsig_slot_count(s);
    if (n > 1)
        memset(&img->s[1], 0, (n - 1) * sizeof img->s[1]);
    size_t at = 0;
    if (ev->dir == VMSIG_DIR_DOWN) {
        memcpy(s->body, &ev->token, TOKEN_BYTES);
        at += TOKEN_BYTES;
    }
    if (ev->payload_len > 0) {
        vmsig_body_ref ref = {.len = ev->payload_len};
        memcpy(s->body + at, &ref, REF_BYTES);
        at += REF_BYTES;
    }
    body_write(img, at, ev->inln, ev->inln_len);
    return (int)n;
}

/* All but the token, the reference and the body, which are zeroed: 0 or -EINVAL. */
static inline int unpack_head(vmsig_event *ev, const vmsig_slot *s) {
    bool corr = bears_corr(vmsig_slot_dir(s), s->kind);
    if (vmsig_slot_inln_len(s) > VMSIG_INLINE_MAX || vmsig_slot_prio(s) > VMSIG_PRIO_URGENT ||
        (!corr && s->corr_merged == 0))
        return -EINVAL;
    *ev = (vmsig_event){
        .seq = s->seq_lo,
        .ts_ns = s->ts_ns,
        .corr = corr ? s->corr_merged : 0,
        .endpoint = vmsig_slot_endpoint(s),
        .epoch = s->epoch,
        .merged = corr ? 1 : s->corr_merged,
        .inln_len = vmsig_slot_inln_len(s),
        .flags = vmsig_slot_retain(s) ? VMSIG_EVF_RETAIN : 0,
        .source = vmsig_slot_source(s),
        .dir = vmsig_slot_dir(s),
        .prio = vmsig_slot_prio(s),
        .kind = s->kind,
    };
    return 0;
}

int vmsig_slot_unpack(vmsig_event *ev, const vmsig_slot *s) {
    if (vmsig_slot_in_arena(s) || vmsig_slot_body_len(s) > VMSIG_HEAD_BODY || unpack_head(ev, s) < 0)
        return -EINVAL;
    if (ev->dir == VMSIG_DIR_UP && ev->inln_len == VMSIG_HEAD_BODY) {
        memcpy(ev->inln, s->body, VMSIG_HEAD_BODY);
        return 0;
    }
    memcpy(&ev->token, s->body, ev->dir == VMSIG_DIR_DOWN ? TOKEN_BYTES : 0u);
    memcpy(ev->inln, s->body + (ev->dir == VMSIG_DIR_DOWN ? TOKEN_BYTES : 0u), ev->inln_len);
    return 0;
}

int vmsig_image_unpack(vmsig_event *ev, const vmsig_image *img) {
    const vmsig_slot *s = &img->s[0];
    if (unpack_head(ev, s) < 0)
        return -EINVAL;
    size_t at = 0;
    if (ev->dir == VMSIG_DIR_DOWN) {
        memcpy(&ev->token, s->body, TOKEN_BYTES);
        at += TOKEN_BYTES;
    }
    if (vmsig_slot_in_arena(s)) {
        ev->payload_len = vmsig_image_ref(img).len;
        if (ev->payload_len == 0 || ev->payload_len > VMSIG_PAYLOAD_MAX)
            return -EINVAL;
        at += REF_BYTES;
    }
    body_read(img, at, ev->inln, ev->inln_len);
    return 0;
}

/* Token and reference always lie in the head slot. */
static size_t ref_at(const vmsig_slot *s) {
    return vmsig_slot_dir(s) == VMSIG_DIR_DOWN ? TOKEN_BYTES : 0;
}

vmsig_body_ref vmsig_image_ref(const vmsig_image *img) {
    vmsig_body_ref ref;
    memcpy(&ref, img->s[0].body + ref_at(&img->s[0]), sizeof ref);
    return ref;
}

void vmsig_image_set_ref(vmsig_image *img, vmsig_body_ref ref) {
    memcpy(img->s[0].body + ref_at(&img->s[0]), &ref, sizeof ref);
}
