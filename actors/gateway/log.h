/* log.h: the gateway's log: what was delivered to controls, and what still will be: a durable ring of bytes.
 *
 *        tail                 cursor of a control            head
 *   ──────┼──────────┬───────────┬────────┬─────────┬─────────┼───── ─ ─
 *         │ record   │ record    │ record │ PAD     │ record  │ free
 *   ──────┴──────────┴───────────┴────────┴─────────┴─────────┴───── ─ ─
 *
 * Positions count bytes for ever; a record lies in one piece, a PAD fills the end of the ring where it would not.
 * place   an event's number, one up for each, for ever; what a control names when it comes back.
 * COPY    a record that late subscribers still need (retained.h) and that would have been trimmed, written again at the
 *         head under its old place. Cursors pass over it.
 *
 * Invariants  head - tail <= capacity; head moves by one store after the record is written; tail moves by one store
 *             before its bytes are written over. So whatever instruction the writer dies at, [tail, head) is whole.
 * One thread.
 */
#ifndef VMSIG_LOG_H
#define VMSIG_LOG_H

#include <stdbool.h>

#include "actors/gateway/tx.h"
#include "vmsig_event.h"

#define VMSIG_LOG_EVENT_HEAD 64u /* bytes of a vmsig_event before its inln */

typedef enum vmsig_rec_what { VMSIG_REC_EVENT = 1, VMSIG_REC_PAD = 2, VMSIG_REC_COPY = 3 } vmsig_rec_what;

typedef struct vmsig_rec {
    uint32_t bytes; /* of the whole record: a multiple of 8 */
    uint32_t what;  /* vmsig_rec_what; a PAD ends here */
    uint64_t place;
    uint64_t session; /* whom it is for; 0 = everybody whose filter lets it pass */
    uint8_t event[VMSIG_LOG_EVENT_HEAD];
    /* inln, padded to 8; payload, padded to 8 */
} vmsig_rec;

/* Where every 256th record lies, so that a place is found without reading the log: mark i is that of place p, with
 * p / 256 % 1024 = i. It stands while p < next_place and its position is neither trimmed nor beyond the head. */
#define VMSIG_LOG_MARK_EVERY 256u
#define VMSIG_LOG_MARKS      1024u
typedef struct vmsig_log_mark {
    uint64_t place, pos; /* place 0 = none */
} vmsig_log_mark;

/* In the durable state. */
typedef struct vmsig_log_meta {
    uint64_t tail, head; /* positions */
    uint64_t next_place; /* from 1 */
    vmsig_log_mark mark[VMSIG_LOG_MARKS];
} vmsig_log_meta;

typedef struct vmsig_log {
    vmsig_log_meta *m;
    uint8_t *bytes;
    uint64_t cap;
    uint64_t round; /* a multiple of cap: where the round began that head is in */
    uint64_t pin;   /* the record that is being delivered: not trimmed; UINT64_MAX = none */
    /* Told of each record before it is trimmed; may call vmsig_log_copy. */
    void (*trim)(void *ud, const vmsig_rec *rec, uint64_t pos);
    void *ud;
} vmsig_log;

/* meta zeroed = an empty log. */
void vmsig_log_open(vmsig_log *l, vmsig_log_meta *meta, uint8_t *bytes, uint64_t cap);

/* Bytes that the event's record takes; and the most that one may (a quarter of the log). */
uint64_t vmsig_log_need(const vmsig_event *ev);
static inline uint64_t vmsig_log_max(const vmsig_log *l) {
    return l->cap / 4;
}
/* The largest record that may be copied forward. */
static inline uint64_t vmsig_log_copy_max(const vmsig_log *l) {
    return l->cap / 64;
}

/* Trims until records of `need` bytes together can be put: not inside a transaction. false: the pinned record is in the
 * way. need <= vmsig_log_max. */
bool vmsig_log_make_room(vmsig_log *l, uint64_t need);
/* Puts an event at the head (copying its payload), under the next place: its position. Room was made. */
uint64_t vmsig_log_put(vmsig_log *l, vmsig_tx *tx, uint64_t session, const vmsig_event *ev);
/* Puts the record at pos again, as a COPY: its new position. */
uint64_t vmsig_log_copy(vmsig_log *l, uint64_t pos);

/* The record at *pos (which steps over a PAD first), or NULL at the head. */
const vmsig_rec *vmsig_log_at(const vmsig_log *l, uint64_t *pos);
/* The position of the first record whose place is above `place`, which is below next_place. */
uint64_t vmsig_log_seek(const vmsig_log *l, uint64_t place);
/* The place of the oldest record that is still there; next_place where there is none. */
uint64_t vmsig_log_oldest(const vmsig_log *l);

/* The record as an event; its payload lies in the log and is valid until something is put. */
void vmsig_rec_event(const vmsig_rec *rec, vmsig_event *out);

#endif
