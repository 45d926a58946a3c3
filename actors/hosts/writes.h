/* writes.h: memory writes that wait for the VM to stand still, in the order in which they came.
 *
 *   put ──► [wait] ──the VM stands──► done, each with its status ──the VM goes on──► answered, taken out
 *
 * A write keeps a copy of its command and bytes. One that came while the VM goes on again waits for the next time.
 */
#ifndef VMSIG_HOST_WRITES_H
#define VMSIG_HOST_WRITES_H

#include <stdbool.h>

#include "vmsig_event.h"

#define VMSIG_WRITES_MAX 64u

typedef struct vmsig_write {
    vmsig_event cmd;
    bool done;
    vmsig_status status; /* then */
} vmsig_write;

typedef struct vmsig_writes {
    vmsig_write w[VMSIG_WRITES_MAX];
    unsigned n;
} vmsig_writes;

/* 0; -EBUSY: too many wait; -ENOMEM. */
int vmsig_writes_put(vmsig_writes *q, const vmsig_event *cmd);
/* Takes out the first one if it is done: its corr and status. */
bool vmsig_writes_take(vmsig_writes *q, uint32_t *corr, vmsig_status *status);
void vmsig_writes_clear(vmsig_writes *q);

#endif
