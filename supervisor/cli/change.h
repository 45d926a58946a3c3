/* change.h: what the commands that change a running topology share. */
#ifndef VMSIG_CLI_CHANGE_H
#define VMSIG_CLI_CHANGE_H

#include <stdbool.h>

typedef struct vmsig_change_options {
    const char *name; /* the topology's; NULL: the only one that runs */
    bool json, no_wait, dry;
    int timeout_ms;
} vmsig_change_options;

/* Has one actor restarted and waits until it is ready: an exit code, with a sentence of `command` said. */
int vmsig_change_restart(const char *command, const vmsig_change_options *o, const char *actor);

#endif
