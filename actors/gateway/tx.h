/* tx.h: several stores into the durable state as one step, whatever instruction the process dies at: an undo log.
 *
 *   save(old bytes) ──► store in place ──► … ──► commit (one store)          death before commit: rolled back
 *
 * What is rolled back comes again: an event because its position was not accepted, a command because its sender was not
 * answered. The one step that cannot be undone is publishing into a ring; before it, the tx notes where it is going to
 * publish (`mark`), so that a successor can look whether that happened: then the tx stands.
 *
 * One thread. Nested transactions do not exist.
 */
#ifndef VMSIG_TX_H
#define VMSIG_TX_H

#include <stddef.h>
#include <stdint.h>

#define VMSIG_TX_BYTES 16376u

/* In the durable state. */
typedef struct vmsig_tx_log {
    uint64_t used; /* bytes of undo; 0 = no transaction */
    uint64_t mark; /* where it publishes, as the environment counts; 0 = nowhere */
    uint8_t undo[VMSIG_TX_BYTES];
} vmsig_tx_log;

typedef struct vmsig_tx {
    vmsig_tx_log *log;
    uint8_t *base; /* of the durable state: undo entries name offsets from here */
} vmsig_tx;

/* Keeps the bytes at `what` (inside the state), which the caller then overwrites. */
void vmsig_tx_save(vmsig_tx *tx, const void *what, size_t len);
/* Says that the next thing is to publish at `mark` (never 0). */
void vmsig_tx_mark(vmsig_tx *tx, uint64_t mark);
void vmsig_tx_commit(vmsig_tx *tx);
void vmsig_tx_rollback(vmsig_tx *tx);

#endif
