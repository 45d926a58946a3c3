/* send.h: the words of `vmsig send` made into commands. */
#ifndef VMSIG_CLI_SEND_H
#define VMSIG_CLI_SEND_H

#include <stdbool.h>
#include <stddef.h>

#include "vmsig_event.h"

#define VMSIG_SEND_MAX 512 /* commands of one call: a typed text takes two per character */

typedef struct vmsig_send_plan {
    vmsig_event commands[VMSIG_SEND_MAX];
    size_t n;
    uint32_t lease; /* the vmsig_lease_class that they need, or VMSIG_NO_LEASE (schema/caps.h) */
} vmsig_send_plan;

/* words: COMMAND ARGS. 0, or -EINVAL with one sentence in err. */
int vmsig_send_parse(const char *const *words, int n, bool virtual_address, vmsig_send_plan *plan, char *err,
                     size_t err_len);

#endif
