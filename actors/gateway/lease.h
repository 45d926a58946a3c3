/* lease.h: who may drive: one slot per (endpoint, class), as a table of state x event.
 *
 *                     ACQUIRE                      RELEASE, GONE, EXPIRED, PREEMPT by ACQUIRE
 *        ┌────────┐ ───────────► ┌────────┐ ──────────────────────────────────────► ┌─────────┐
 *        │  FREE  │              │  HELD  │                                         │ FENCING │
 *        └────────┘ ◄─────────── └────────┘ ◄────────────── QUIET, one waits ────── └─────────┘
 *          ▲    ▲      EPOCH                                                          │     │
 *          │    └──────────────────────────── QUIET, nobody waits; EPOCH ─────────────┘     │ UNQUIET
 *          │                                                                                ▼
 *          └──────────────────────────────── QUIET after all; EPOCH ──────────────────  CLOSED
 *
 * HELD     the fence is open for exactly this slot's token; in every other state it is raised.
 * FENCING  the fence is raised, the host was asked to drain and let go; only after its answer is anything granted.
 *          `next` is the ACQUIRE that it is freed for; a fence that no answer comes to within its bound: CLOSED.
 * CLOSED   never granted blindly: until the host says that it is quiet after all, or its epoch moves.
 *
 * Tokens grow and are never reused: each grant and each raising takes a new one. Time is the caller's (CLOCK_MONOTONIC,
 * ns): a lease ends at expires_ns sharp; a renewal at that instant fails.
 * Pure: a step changes the slot and says what to tell whom; the caller moves the fence page and sends. One thread.
 */
#ifndef VMSIG_LEASE_H
#define VMSIG_LEASE_H

#include <stdbool.h>

#include "vmsig_control.h"

typedef enum vmsig_slot_state {
    VMSIG_SLOT_FREE = 0,
    VMSIG_SLOT_HELD = 1,
    VMSIG_SLOT_FENCING = 2,
    VMSIG_SLOT_CLOSED = 3,
    VMSIG_SLOT_STATES = 4
} vmsig_slot_state;

typedef enum vmsig_slot_event {
    VMSIG_SLOT_ACQUIRE = 0,
    VMSIG_SLOT_RENEW = 1,
    VMSIG_SLOT_RELEASE = 2,
    VMSIG_SLOT_GONE = 3,    /* in.session ended, or may not hold it any more */
    VMSIG_SLOT_EXPIRED = 4, /* look at the clock */
    VMSIG_SLOT_EPOCH = 5,   /* the endpoint's epoch moved, or it is down */
    VMSIG_SLOT_QUIET = 6,   /* the host's answer: drained and neutral */
    VMSIG_SLOT_UNQUIET = 7, /* the host could not, or did not answer within the bound */
    VMSIG_SLOT_EVENTS = 8
} vmsig_slot_event;

/* In the durable state. */
typedef struct vmsig_lease_slot {
    uint32_t state; /* vmsig_slot_state */
    uint32_t principal;
    uint64_t session;    /* HELD: the holder's */
    uint64_t token;      /* HELD: the holder's; else the one that the fence was raised to, 0 = never */
    uint64_t ttl_ns;     /* HELD */
    uint64_t expires_ns; /* HELD */
    uint64_t bound_ns;   /* FENCING: quiet by then */
    uint32_t fence_corr; /* FENCING, CLOSED: the question under way, 0 = not asked yet */
    uint32_t next_corr;  /* FENCING: bus corr of the ACQUIRE it is freed for, 0 = none */
    uint64_t next_session, next_ttl_ns;
    uint32_t next_principal, reserved;
} vmsig_lease_slot;

typedef struct vmsig_slot_in {
    uint64_t now_ns;
    uint64_t session; /* whose event it is */
    uint64_t ttl_ns;
    uint64_t quiet_ns; /* the bound for the host to be quiet */
    uint32_t principal;
    uint32_t corr;               /* bus corr of the LEASE command */
    vmsig_arb_decision decision; /* ACQUIRE of what another holds */
    bool queue;                  /* rather wait than be denied */
} vmsig_slot_in;

typedef enum vmsig_slot_say {
    VMSIG_SAY_GRANTED = 1, /* to corr: LEASE granted, and OK with the token */
    VMSIG_SAY_RENEWED = 2, /* to corr: OK with the token */
    VMSIG_SAY_DENIED = 3,  /* to corr: LEASE denied, and `status` with the holder */
    VMSIG_SAY_QUEUED = 4,  /* to corr: LEASE queued; its result comes later */
    VMSIG_SAY_NEXT = 5,    /* to corr: nothing yet, its result comes with the host's answer */
    VMSIG_SAY_RESULT = 6,  /* to corr: only `status` */
    VMSIG_SAY_REVOKED = 7  /* to session: LEASE revoked */
} vmsig_slot_say;

typedef struct vmsig_slot_told {
    vmsig_slot_say say;
    int32_t status; /* vmsig_status */
    uint32_t corr;
    uint32_t principal; /* the holder that it names */
    uint64_t session;
    uint64_t token;
} vmsig_slot_told;

typedef struct vmsig_slot_out {
    vmsig_slot_told told[3];
    int n;
    bool line; /* something changed for those who wait in line: see to them */
} vmsig_slot_out;

/* One step; *next_token is taken from and moved on. */
void vmsig_lease_step(vmsig_lease_slot *slot, vmsig_slot_event event, const vmsig_slot_in *in, uint64_t *next_token,
                      vmsig_slot_out *out);

/* The default arbitration: a strictly higher priority preempts, otherwise deny. */
vmsig_arb_decision vmsig_arb_default(void *ud, uint32_t endpoint, uint32_t cls, const vmsig_grant *incumbent,
                                     const vmsig_grant *contender);

const char *vmsig_slot_state_name(uint32_t state);

#endif
