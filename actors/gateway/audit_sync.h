/* audit_sync.h: the thread beside the loop that makes an audit log durable. Used by audit.c alone.
 *
 *   loop ──wrote, rotated, stop──► [ lock: files, bounds ] ──► thread: fdatasync, write the sealing key ──eventfd──► loop
 */
#ifndef VMSIG_AUDIT_SYNC_H
#define VMSIG_AUDIT_SYNC_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/audit.h"

typedef struct vmsig_audit_sync vmsig_audit_sync;

/* Owns fd, of so many bytes, and seal_fd (-1 = none). What a predecessor wrote is synced with the first record. */
int vmsig_audit_sync_new(int fd, uint64_t bytes, int seal_fd, int (*fdatasync_fn)(int), vmsig_audit_sync **out);
/* Syncs what is left, for at most timeout_ms. A thread that hangs in the disk beyond it is left behind, with what it
 * needs. */
void vmsig_audit_sync_free(vmsig_audit_sync *s, int timeout_ms);

/* The file has grown to `bytes`, with record seq as its last; durable by due_ns (CLOCK_MONOTONIC; 0 = at once). */
void vmsig_audit_sync_wrote(vmsig_audit_sync *s, uint64_t bytes, uint64_t seq, uint64_t due_ns);
/* Once record seq is durable: this is the sealing key. */
void vmsig_audit_sync_key(vmsig_audit_sync *s, uint64_t seq, uint64_t generation, const uint8_t key[VMSIG_AUDIT_KEY]);
/* A former file is not through yet: no time to rotate. */
bool vmsig_audit_sync_busy(vmsig_audit_sync *s);
/* Owns fd: goes on in it; the former is synced to its end and closed. -EBUSY: see above. */
int vmsig_audit_sync_rotate(vmsig_audit_sync *s, int fd);

/* *durable: up to this record; the last error, or 0. */
int vmsig_audit_sync_state(vmsig_audit_sync *s, uint64_t *durable);
/* When it will next sync (CLOCK_MONOTONIC; 0 = at once), UINT64_MAX = there is nothing to. */
uint64_t vmsig_audit_sync_due(vmsig_audit_sync *s);
int vmsig_audit_sync_bell(const vmsig_audit_sync *s);

#endif
