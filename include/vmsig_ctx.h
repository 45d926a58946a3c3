/* vmsig_ctx.h: the transfer context.
 *
 *   submit ──► [channel queues per (endpoint, source, dir)] ──► classes ──► next
 *               coalesce · drop policy · pacing                  urgent, high, normal, low
 *
 * It owns PRIORITY, SEQUENCE and PROTOCOL timing of delivery, and never decides behaviour: commands arrive
 * decided. Policies are configured per (source, dir); their state is kept per (endpoint, source, dir).
 *
 * Order     FIFO per (endpoint, source, dir, priority class); priority reorders only across classes.
 * Priority  urgent is strict but policed by a token bucket; high, normal and low share by weighted deficit
 *           round robin (M. Shreedhar, G. Varghese, "Efficient Fair Queuing Using Deficit Round-Robin", 1995),
 *           so nothing starves.
 * Pacing    GCRA (ITU-T I.371) between dispatches: it delays, never drops; idle time earns no credit.
 *
 * Threads   submit may be called from any thread; next, timing_fd, set_policy and free from one at a time.
 * Errors    -1 with errno set, and nothing changed.
 */
#ifndef VMSIG_CTX_H
#define VMSIG_CTX_H

#include "vmsig_event.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vmsig_ctx vmsig_ctx;

typedef enum vmsig_drop_policy {
    VMSIG_DROP_OLDEST = 0, /* evict the oldest of the channel, told by one LOST in its place */
    VMSIG_DROP_NEWEST = 1, /* refuse the incoming, told by one LOST at the channel's end */
    VMSIG_DROP_BLOCK = 2   /* answer EAGAIN; the caller waits */
} vmsig_drop_policy;

/* All zero: pass-through. */
typedef struct vmsig_timing {
    uint32_t min_gap_ns;   /* least time between two dispatches of a channel */
    uint32_t coalesce_ns;  /* window in which events of one (endpoint, source, kind) become one */
    uint32_t max_inflight; /* how many events a channel may hold queued; 0 = no bound */
    uint8_t drop_policy;   /* vmsig_drop_policy; what happens at max_inflight */
} vmsig_timing;

/* NULL and errno ENOMEM when memory is short. */
vmsig_ctx *vmsig_ctx_new(void);

/* Frees all that is queued, payloads included. NULL is allowed. */
void vmsig_ctx_free(vmsig_ctx *c);

/* Sets the default priority and timing of (source, dir), live: what is queued stays queued. timing NULL =
 * pass-through. EINVAL: a source, dir, prio or drop policy that does not exist. */
int vmsig_ctx_set_policy(vmsig_ctx *c, vmsig_source source, vmsig_dir dir, vmsig_prio default_prio,
                         const vmsig_timing *timing);

/* Submits one event (copied; the payload pointer is taken over). The answer speaks of THIS event:
 *    0  queued, also when an older one was evicted for it
 *    1  coalesced into a queued one, or refused under NEWEST; its payload is kept or freed
 *   -1  EINVAL (a field out of range), EAGAIN (BLOCK and full; never sleeps), ENOMEM: the caller still owns
 *       the payload
 * Every accepted submit takes one seq, written to ev->seq. ts_ns 0 is replaced by the present. */
int vmsig_ctx_submit(vmsig_ctx *c, vmsig_dir dir, vmsig_event *ev);

/* Takes the next due event: 1 = it is in *out, acknowledged, and the caller owns out->payload; 0 = nothing is due
 * and the timing fd is armed for what will be; -1 = error. A run of drops shows as one VMSIG_EV_LOST of source
 * SEAM in its place. */
int vmsig_ctx_next(vmsig_ctx *c, vmsig_dir dir, vmsig_event *out);

/* A timerfd for the caller's epoll set, readable when a paced or coalesced event has matured; owned by the
 * context, the same for its life once any policy of dir needs it; -1 before. */
int vmsig_ctx_timing_fd(vmsig_ctx *c, vmsig_dir dir);

#ifdef __cplusplus
}
#endif
#endif
