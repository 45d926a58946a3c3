/* retained.h: the newest event per (endpoint, source, kind) that late subscribers are given: an index into the log.
 *
 * Durable, so that a successor need not read the log: it changes in the transaction of the record that it points to.
 * Entries are kept in the log by COPY (log.h) for as long as they are the newest of their key; then `pos` follows the
 * copy by one store, between the log's head and its tail: until the tail moves, the old record is there as well.
 * One thread.
 */
#ifndef VMSIG_RETAINED_H
#define VMSIG_RETAINED_H

#include "actors/gateway/log.h"

#define VMSIG_RETAINED_KEYS 4096u

typedef struct vmsig_retained_entry {
    uint32_t key; /* 0 = free */
    uint32_t epoch;
    uint32_t bytes; /* of its record; 0 = nothing is retained under this key now */
    uint64_t pos, place;
} vmsig_retained_entry;

/* In the durable state; zeroed = nothing is retained. */
typedef struct vmsig_retained {
    uint64_t bytes; /* of all records in it */
    uint64_t keys;
    vmsig_retained_entry entry[VMSIG_RETAINED_KEYS]; /* open addressing; keys are never taken out */
} vmsig_retained;

/* Is ev of a sort that is retained: memctx, VM status, and what bears VMSIG_EVF_RETAIN? */
bool vmsig_retained_is(const vmsig_event *ev);

/* Inside a transaction, takes note of a record: a newest, a tombstone (flag RETAIN and no body), an invalidation.
 * bytes_max: of all records together. false: it should have been retained but there is no room; the key then has
 * nothing. */
bool vmsig_retained_note(vmsig_retained *r, vmsig_tx *tx, const vmsig_rec *rec, uint64_t pos, uint64_t bytes_max,
                         uint64_t record_max);
/* Its record is at pos now. */
void vmsig_retained_moved(vmsig_retained_entry *e, uint64_t pos);
/* The entry of a key with something in it, or NULL. */
vmsig_retained_entry *vmsig_retained_find(vmsig_retained *r, uint32_t endpoint, uint8_t source, uint8_t kind);

#endif
