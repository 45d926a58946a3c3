#include "actors/gateway/retained.h"

#include <stddef.h>

#include "rings/atomics.h"

static uint32_t key_of(uint32_t endpoint, uint8_t source, uint8_t kind) {
    return (endpoint << 16 | (uint32_t)source << 8 | kind) + 1;
}

/* The entry of key, or the free one where it would go; NULL: not there and the table is full. */
static vmsig_retained_entry *slot_of(vmsig_retained *r, uint32_t key) {
    uint32_t i = key * 2654435761u >> 20; /* Knuth's multiplicative hash, to 12 bits */
    for (uint32_t n = 0; n < VMSIG_RETAINED_KEYS; n++, i = (i + 1) % VMSIG_RETAINED_KEYS)
        if (r->entry[i].key == key || r->entry[i].key == 0)
            return &r->entry[i];
    return NULL;
}

vmsig_retained_entry *vmsig_retained_find(vmsig_retained *r, uint32_t endpoint, uint8_t source, uint8_t kind) {
    vmsig_retained_entry *e = slot_of(r, key_of(endpoint, source, kind));
    return e && e->key && e->bytes ? e : NULL;
}

static void clear(vmsig_retained *r, vmsig_tx *tx, vmsig_retained_entry *e) {
    vmsig_tx_save(tx, r, offsetof(vmsig_retained, entry));
    vmsig_tx_save(tx, e, sizeof *e);
    r->bytes -= e->bytes;
    e->bytes = 0;
}

void vmsig_retained_moved(vmsig_retained_entry *e, uint64_t pos) {
    vmsig_store64_release(&e->pos, pos);
}

bool vmsig_retained_is(const vmsig_event *ev) {
    return ev->kind == VMSIG_EV_MEMCTX || ev->kind == VMSIG_EV_VMHOST || (ev->flags & VMSIG_EVF_RETAIN);
}

static bool keep(vmsig_retained *r, vmsig_tx *tx, const vmsig_event *ev, const vmsig_rec *rec, uint64_t pos,
                 uint64_t bytes_max, uint64_t record_max) {
    uint32_t key = key_of(ev->endpoint, ev->source, ev->kind);
    vmsig_retained_entry *e = slot_of(r, key);
    if (!e)
        return false;
    clear(r, tx, e);
    r->keys += e->key == 0;
    e->key = key;
    if (ev->inln_len == 0 && ev->payload_len == 0)
        return true; /* a tombstone */
    if (rec->bytes > record_max || r->bytes + rec->bytes > bytes_max)
        return false;
    e->epoch = ev->epoch;
    e->bytes = rec->bytes;
    e->pos = pos;
    e->place = rec->place;
    r->bytes += rec->bytes;
    return true;
}

bool vmsig_retained_note(vmsig_retained *r, vmsig_tx *tx, const vmsig_rec *rec, uint64_t pos, uint64_t bytes_max,
                         uint64_t record_max) {
    vmsig_event ev;
    if (rec->session)
        return true;
    vmsig_rec_event(rec, &ev);
    if (ev.kind == VMSIG_EV_MEMCTX_INVALID) {
        vmsig_retained_entry *e = vmsig_retained_find(r, ev.endpoint, VMSIG_SRC_MEMCTX, VMSIG_EV_MEMCTX);
        if (e)
            clear(r, tx, e);
        return true;
    }
    return !vmsig_retained_is(&ev) || keep(r, tx, &ev, rec, pos, bytes_max, record_max);
}
