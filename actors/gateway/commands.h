/* commands.h: the commands that are not answered yet: which bus-wide corr is whose.
 *
 *   control: (session, its corr) ──► entry ──► bus: a 32-bit corr     RESULT(bus corr) ──► entry ──► (session, its corr)
 *
 *   FREE ──► SENT ───────────────────► FREE     sent to the context; a result, or its deadline, ends it
 *   FREE ──► INTENT ──► SENT             waits until its intent is durable (intent.c)
 *   FREE ──► QUEUED ──► NEXT ────────► FREE     an ACQUIRE that waits: in line; the one that the class is being freed for
 *   FREE ──► FENCE ──────────────────► FREE     the gate's own question to a host: are you quiet?
 *
 * In the durable state; every change is part of a transaction. An entry leaves exactly when its one result is put into
 * the log. A bus corr is (generation, index): one of an earlier use is not found.
 * One thread.
 */
#ifndef VMSIG_COMMANDS_H
#define VMSIG_COMMANDS_H

#include "actors/gateway/tx.h"
#include "vmsig_event.h"

#define VMSIG_INFLIGHT_MAX         1024u
#define VMSIG_INFLIGHT_PER_SESSION 256u

typedef enum vmsig_inflight_state {
    VMSIG_INFLIGHT_FREE = 0,
    VMSIG_INFLIGHT_SENT = 1,
    VMSIG_INFLIGHT_QUEUED = 2,
    VMSIG_INFLIGHT_NEXT = 3,
    VMSIG_INFLIGHT_FENCE = 4,
    VMSIG_INFLIGHT_INTENT = 5
} vmsig_inflight_state;

typedef struct vmsig_inflight {
    uint32_t corr; /* bus-wide; 0 = free */
    uint32_t state;
    uint64_t session;
    uint64_t sender_corr;
    uint64_t deadline_ns; /* 0 = none of its own */
    uint64_t order;       /* of arrival */
    uint64_t token;
    uint64_t ttl_ns; /* an ACQUIRE's */
    uint32_t endpoint;
    uint32_t epoch;
    uint32_t principal;
    uint32_t cls;
    uint32_t op;
    uint8_t kind;
    uint8_t host_died; /* since it was sent: not answered in time it is UNKNOWN, not TIMEOUT */
    uint8_t reserved[2];
} vmsig_inflight;

/* In the durable state. */
typedef struct vmsig_commands_table {
    uint64_t next_order;
    uint32_t generation;
    uint32_t reserved;
    vmsig_inflight entry[VMSIG_INFLIGHT_MAX];
} vmsig_commands_table;

typedef struct vmsig_commands {
    vmsig_commands_table *t;
    uint32_t free_n;
    uint16_t free[VMSIG_INFLIGHT_MAX]; /* rebuilt by open */
} vmsig_commands;

/* Also after a rollback. */
void vmsig_commands_open(vmsig_commands *c, vmsig_commands_table *t);
/* A new entry with corr and order set, the rest zero; NULL: the table is full. */
vmsig_inflight *vmsig_commands_new(vmsig_commands *c, vmsig_tx *tx);
/* The entry of a bus corr, or NULL. */
vmsig_inflight *vmsig_commands_find(vmsig_commands *c, uint32_t corr);
/* The entry of a sender's corr: O(table), for resent commands only. */
vmsig_inflight *vmsig_commands_of(vmsig_commands *c, uint64_t session, uint64_t sender_corr);
/* The ACQUIRE that is first in line for (endpoint, cls), or NULL: O(table), once per hand-over. */
vmsig_inflight *vmsig_commands_first_queued(vmsig_commands *c, uint32_t endpoint, uint32_t cls);
void vmsig_commands_free(vmsig_commands *c, vmsig_tx *tx, vmsig_inflight *e);

#endif
