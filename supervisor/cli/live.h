/* live.h: live events from a gateway, printed as they come: what `tap` and `up` share. One thread.
 *
 * Errors: 0 or negative errno, with one sentence in err.
 */
#ifndef VMSIG_CLI_LIVE_H
#define VMSIG_CLI_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmsig_client.h"

#define VMSIG_LIVE_ERR_MAX 512

typedef struct vmsig_live vmsig_live;

typedef struct vmsig_live_cfg {
    const char *where; /* as vmsig_client_open's */
    vmsig_sub sub;
    int kind;       /* -1 = all */
    uint64_t count; /* over after that many events; 0 = no end */
    bool json;
    const char *wrap; /* where not NULL, each JSON event is the value of this key of an object */
    const char *command;
    int timeout_ms;
} vmsig_live_cfg;

int vmsig_live_open(const vmsig_live_cfg *cfg, vmsig_live **out, char err[VMSIG_LIVE_ERR_MAX]);
void vmsig_live_close(vmsig_live *l);
int vmsig_live_fd(vmsig_live *l);

/* Prints what is there, waiting at most timeout_ms for the first: 1 go on, 0 the count is reached, -EPIPE stdout is
 * gone, other errors with their sentence in vmsig_live_error. */
int vmsig_live_step(vmsig_live *l, int timeout_ms);
const char *vmsig_live_error(const vmsig_live *l);

#endif
