/* fence.h: which lease token may have an effect, per endpoint and class, in the gateway's own page. The gateway alone
 * writes it; the host adapter compares each command's token with it at the moment it starts the effect: one load.
 *
 * A token is 64-bit, grows, is never reused. Raising the fence to t makes every older token void at once; an effect
 * needs token == fence and the fence open.
 */
#ifndef VMSIG_FENCE_H
#define VMSIG_FENCE_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmsig_event.h"

#define VMSIG_FENCE_MAGIC 0x65636e6566736d76ull /* "vmsfence" */
#define VMSIG_FENCE_BYTES 8192u

/* LEASE op inside the bus, gateway to host: the fence of (endpoint, cls) was raised to `token`. The host drains what is
 * under way, lets go of held keys and buttons where cls is INPUT (neutral), then answers with a RESULT: OK = quiet;
 * TIMEOUT = it could not be made quiet. Refused when a control sends it. */
#define VMSIG_LEASE_FENCE 16u

typedef struct vmsig_fence_page {
    alignas(64) uint64_t magic;
    uint32_t layout;
    uint32_t reserved;
    alignas(64) uint64_t token[VMSIG_ENDPOINTS_MAX][VMSIG_LEASE_CLASSES]; /* token << 1 | open */
} vmsig_fence_page;

int vmsig_fence_create(int fd, vmsig_fence_page **out);
int vmsig_fence_open(int fd, const vmsig_fence_page **out);
void vmsig_fence_close(const vmsig_fence_page *p);

/* The writer's. Raised: no effect of the class starts. Granted: effects of exactly this token may. */
void vmsig_fence_raise(vmsig_fence_page *p, uint32_t endpoint, vmsig_lease_class cls, uint64_t token);
void vmsig_fence_grant(vmsig_fence_page *p, uint32_t endpoint, vmsig_lease_class cls, uint64_t token);
/* The host's: may an effect with this token start now? */
bool vmsig_fence_allows(const vmsig_fence_page *p, uint32_t endpoint, vmsig_lease_class cls, uint64_t token);

#endif
