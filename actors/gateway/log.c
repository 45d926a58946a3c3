#include "actors/gateway/log.h"

#include <stddef.h>
#include <string.h>

#include "rings/atomics.h"

_Static_assert(offsetof(vmsig_event, inln) == VMSIG_LOG_EVENT_HEAD, "a record's event head is the event up to inln");
_Static_assert(sizeof(vmsig_rec) == 88, "records are read by successors of another build");

static uint64_t padded(uint64_t n) {
    return (n + 7) & ~7ull;
}

/* Bodies are short: three words at most are copied without a call. Both places have room for whole words. */
static inline void copy_words(uint8_t *to, const uint8_t *from, uint32_t len) {
    if (len > 24) {
        memcpy(to, from, len);
        return;
    }
    if (len > 0)
        memcpy(to, from, 8);
    if (len > 8)
        memcpy(to + 8, from + 8, 8);
    if (len > 16)
        memcpy(to + 16, from + 16, 8);
}

void vmsig_log_open(vmsig_log *l, vmsig_log_meta *meta, uint8_t *bytes, uint64_t cap) {
    *l = (vmsig_log){.m = meta, .bytes = bytes, .cap = cap & ~7ull, .pin = UINT64_MAX};
    if (meta->next_place == 0)
        meta->next_place = 1;
    l->round = meta->head - meta->head % l->cap;
}

uint64_t vmsig_log_need(const vmsig_event *ev) {
    return sizeof(vmsig_rec) + padded(ev->inln_len) + padded(ev->payload_len);
}

/* Where in the bytes a position lies: pos % cap, mostly without the division. */
static uint64_t offset(const vmsig_log *l, uint64_t pos) {
    uint64_t off = pos < l->round ? pos + l->cap - l->round : pos - l->round;
    return off < l->cap ? off : pos % l->cap;
}

static vmsig_rec *rec_at(const vmsig_log *l, uint64_t pos) {
    return (vmsig_rec *)(void *)(l->bytes + offset(l, pos));
}

static void set_head(vmsig_log *l, uint64_t head) {
    vmsig_store64_release(&l->m->head, head);
    if (head - l->round >= l->cap)
        l->round = head - head % l->cap;
}

const vmsig_rec *vmsig_log_at(const vmsig_log *l, uint64_t *pos) {
    while (*pos < l->m->head) {
        const vmsig_rec *r = rec_at(l, *pos);
        if (r->what != VMSIG_REC_PAD)
            return r;
        *pos += r->bytes;
    }
    return NULL;
}

bool vmsig_log_make_room(vmsig_log *l, uint64_t need) {
    /* Twice: in the worst case a PAD of almost the same size comes before it. Beyond it, room for the copies. */
    uint64_t wanted = 2 * need + 2 * vmsig_log_copy_max(l);
    while (l->cap - (l->m->head - l->m->tail) < wanted) {
        uint64_t pos = l->m->tail;
        if (pos == l->pin) /* what is kept for copies will do for something small */
            return l->cap - (l->m->head - l->m->tail) >= 2 * need;
        const vmsig_rec *r = rec_at(l, pos);
        uint32_t bytes = r->bytes;
        if (r->what != VMSIG_REC_PAD && l->trim)
            l->trim(l->ud, r, pos);
        vmsig_store64_release(&l->m->tail, pos + bytes);
    }
    return true;
}

/* Where `bytes` in one piece go: writes the PAD that it takes. */
static uint64_t place_for(vmsig_log *l, uint64_t bytes) {
    uint64_t pos = l->m->head, left = l->cap - offset(l, pos);
    if (bytes <= left)
        return pos;
    vmsig_rec *pad = rec_at(l, pos);
    pad->bytes = (uint32_t)left;
    pad->what = VMSIG_REC_PAD;
    return pos + left;
}

/* Before the place is used up: a mark that a death leaves half made is of no place. */
static void set_mark(vmsig_log *l, uint64_t place, uint64_t pos) {
    vmsig_log_mark *m = &l->m->mark[place / VMSIG_LOG_MARK_EVERY % VMSIG_LOG_MARKS];
    vmsig_store64_release(&m->place, 0);
    vmsig_store64_release(&m->pos, pos);
    vmsig_store64_release(&m->place, place);
}

uint64_t vmsig_log_put(vmsig_log *l, vmsig_tx *tx, uint64_t session, const vmsig_event *ev) {
    uint64_t bytes = vmsig_log_need(ev), pos = place_for(l, bytes);
    vmsig_rec *r = rec_at(l, pos);
    r->bytes = (uint32_t)bytes;
    r->what = VMSIG_REC_EVENT;
    r->place = l->m->next_place;
    r->session = session;
    memcpy(r->event, ev, sizeof r->event);
    uint8_t *at = (uint8_t *)(r + 1);
    copy_words(at, ev->inln, ev->inln_len);
    if (ev->payload_len)
        memcpy(at + padded(ev->inln_len), ev->payload, ev->payload_len);
    if (r->place % VMSIG_LOG_MARK_EVERY == 0)
        set_mark(l, r->place, pos);
    vmsig_tx_save(tx, &l->m->head, sizeof l->m->head + sizeof l->m->next_place);
    l->m->next_place++;
    set_head(l, pos + bytes);
    return pos;
}

uint64_t vmsig_log_copy(vmsig_log *l, uint64_t from) {
    const vmsig_rec *old = rec_at(l, from);
    uint32_t bytes = old->bytes;
    uint64_t pos = place_for(l, bytes);
    vmsig_rec *r = rec_at(l, pos);
    memcpy(r, old, bytes);
    r->what = VMSIG_REC_COPY;
    set_head(l, pos + bytes);
    return pos;
}

/* The position of a record at or before `place`, and not far from it. */
static uint64_t near(const vmsig_log *l, uint64_t place) {
    uint64_t p = place - place % VMSIG_LOG_MARK_EVERY;
    const vmsig_log_mark *m = &l->m->mark[p / VMSIG_LOG_MARK_EVERY % VMSIG_LOG_MARKS];
    bool stands = p != 0 && m->place == p && p < l->m->next_place && m->pos >= l->m->tail && m->pos < l->m->head;
    return stands ? m->pos : l->m->tail;
}

uint64_t vmsig_log_seek(const vmsig_log *l, uint64_t place) {
    uint64_t pos = near(l, place);
    const vmsig_rec *r;
    while ((r = vmsig_log_at(l, &pos)) && (r->what == VMSIG_REC_COPY || r->place <= place))
        pos += r->bytes;
    return pos;
}

uint64_t vmsig_log_oldest(const vmsig_log *l) {
    uint64_t pos = l->m->tail;
    const vmsig_rec *r;
    while ((r = vmsig_log_at(l, &pos)) && r->what == VMSIG_REC_COPY)
        pos += r->bytes;
    return r ? r->place : l->m->next_place;
}

void vmsig_rec_event(const vmsig_rec *rec, vmsig_event *out) {
    memcpy(out, rec->event, sizeof rec->event);
    const uint8_t *at = (const uint8_t *)(rec + 1);
    copy_words(out->inln, at, out->inln_len);
    out->payload = out->payload_len ? (void *)(uintptr_t)(at + padded(out->inln_len)) : NULL;
}
