#include "actors/hosts/writes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int vmsig_writes_put(vmsig_writes *q, const vmsig_event *cmd) {
    if (q->n == VMSIG_WRITES_MAX)
        return -EBUSY;
    void *bytes = cmd->payload ? malloc(cmd->payload_len) : NULL;
    if (cmd->payload && !bytes)
        return -ENOMEM;
    if (bytes)
        memcpy(bytes, cmd->payload, cmd->payload_len);
    q->w[q->n] = (vmsig_write){.cmd = *cmd};
    q->w[q->n++].cmd.payload = bytes;
    return 0;
}

bool vmsig_writes_take(vmsig_writes *q, uint32_t *corr, vmsig_status *status) {
    if (q->n == 0 || !q->w[0].done)
        return false;
    *corr = (uint32_t)q->w[0].cmd.corr;
    *status = q->w[0].status;
    free(q->w[0].cmd.payload);
    q->n--;
    memmove(q->w, q->w + 1, q->n * sizeof *q->w);
    return true;
}

void vmsig_writes_clear(vmsig_writes *q) {
    while (q->n > 0)
        free(q->w[--q->n].cmd.payload);
}
