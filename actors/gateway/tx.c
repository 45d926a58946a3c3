#include "actors/gateway/tx.h"

#include <stdlib.h>
#include <string.h>

#include "rings/atomics.h"

/* An entry: the old bytes, padded to 8, then {offset, len}: read from its end. */
typedef struct entry_foot {
    uint32_t offset, len;
} entry_foot;

static size_t padded(size_t len) {
    return (len + 7) & ~(size_t)7;
}

/* What each event brings about is of two lengths. */
static inline void copy(uint8_t *to, const void *from, size_t len) {
    if (len == 16)
        memcpy(to, from, 16);
    else if (len == 24)
        memcpy(to, from, 24);
    else
        memcpy(to, from, len);
}

void vmsig_tx_save(vmsig_tx *tx, const void *what, size_t len) {
    uint64_t used = tx->log->used;
    size_t bytes = padded(len) + sizeof(entry_foot);
    if (used + bytes > VMSIG_TX_BYTES)
        abort(); /* a handler that stores without bound: a bug that no successor could get past either */
    entry_foot foot = {.offset = (uint32_t)((const uint8_t *)what - tx->base), .len = (uint32_t)len};
    copy(tx->log->undo + used, what, len);
    memcpy(tx->log->undo + used + padded(len), &foot, sizeof foot);
    vmsig_store64_release(&tx->log->used, used + bytes);
}

void vmsig_tx_mark(vmsig_tx *tx, uint64_t mark) {
    vmsig_store64_release(&tx->log->mark, mark);
}

void vmsig_tx_commit(vmsig_tx *tx) {
    vmsig_store64_release(&tx->log->used, 0);
    vmsig_store64_release(&tx->log->mark, 0);
}

void vmsig_tx_rollback(vmsig_tx *tx) {
    while (tx->log->used) {
        uint64_t used = tx->log->used;
        entry_foot foot;
        memcpy(&foot, tx->log->undo + used - sizeof foot, sizeof foot);
        uint64_t start = used - sizeof foot - padded(foot.len);
        memcpy(tx->base + foot.offset, tx->log->undo + start, foot.len);
        vmsig_store64_release(&tx->log->used, start);
    }
    vmsig_store64_release(&tx->log->mark, 0);
}
