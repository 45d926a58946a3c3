/* relay.h: the restartable relay: how events pass the context actor, which may be killed between any two instructions,
 * and are neither lost nor doubled.
 *
 *   in-rings ──consume──► pass ─────────────────────────────► out-rings
 *                      └► redo record ──► entries ──dispatch──┘
 *
 * All that must survive lies in the state D (a memfd of this actor alone): per in-link `acc`, the position below which
 * all is decided; next_seq; the queue's entries and their bodies; pacing times; epochs; the newest memctx of each
 * endpoint; and ONE redo record. The process's death orders its stores: a successor finds a prefix of them.
 *
 * pass       nothing of the channel waits, no policy, room: body, then turn (release: COMMIT), then next_seq, then acc.
 *            A successor that finds its predecessor's last event to be the one at acc (its origin tells) completes the
 *            two stores.
 * all else   the record is filled with RESULTING values, its op is stored (release: COMMIT), the values are stored
 *            blindly, op := 0. A successor that finds op set stores them again.
 *
 * poison     an event that was in hand when three incarnations in a row died, one upon the other, is not looked at by
 *            the next: it is told as LOST(poison), a command is answered `dropped`. The same for a record whose carrying
 *            out killed three.
 *
 * Ports are the caller's rings; the relay knows no process and no clock but what env gives it. One thread.
 * Errors: 0 or negative errno.
 */
#ifndef VMSIG_RELAY_H
#define VMSIG_RELAY_H

#include "actors/context/engine.h"
#include "rings/ring.h"
#include "rings/state.h"

#define VMSIG_RELAY_KIND    1u /* of vmsig_state_open */
#define VMSIG_RELAY_VERSION 2u
#define VMSIG_RELAY_PORTS   4096u

typedef struct vmsig_relay vmsig_relay;

/* A place in an out-ring that counts for max_inflight. */
typedef struct vmsig_ahead {
    uint64_t position;
    uint32_t channel;
} vmsig_ahead;

/* One link's end. The first part is the caller's to fill in, the rest is the relay's. */
typedef struct vmsig_port {
    uint16_t id;
    uint8_t dir; /* vmsig_dir */
    bool sensor; /* the peer is a sensor: it may tell of its own source only */
    bool host;   /* the peer is a host: commands that nobody else takes go there */
    bool memctx; /* the peer is sent the address-space context */
    uint32_t source, accepts;
    uint64_t endpoints;
    vmsig_ring_out *out; /* one of the two */
    vmsig_ring_in *in;
    void *ud;

    uint32_t acc;            /* place in the state; in-links */
    uint64_t memctx_pending; /* endpoints whose context is to be sent */
    uint64_t end_pending;    /* endpoints whose last epoch's end is to be told: to who takes commands and is no host */
    bool blocked;            /* its first event found no place */
    uint64_t patient_until;  /* an in-link whose first event waits for room; 0 = none does */
    bool gap;                /* something is lost that is to be told before the next event */
    vmsig_ahead *ahead;      /* out-links: a ring of as many as there are slots; NULL: no channel is bounded */
    uint64_t ahead_first;
    uint32_t ahead_n;
} vmsig_port;

typedef struct vmsig_relay_env {
    uint64_t (*now)(void *ud);
    uint32_t (*epoch)(void *ud, uint32_t endpoint);               /* the current one, 0 = none */
    void (*want_room)(void *ud, vmsig_port *out, uint32_t slots); /* relay_writable when there is */
    void (*wake)(void *ud, vmsig_port *in);                       /* a blocked input is worth another try */
    void *ud;
} vmsig_relay_env;

/* state: a mapping of `bytes`, of which vmsig_state_open said fresh or not; a fresh one is set up and committed.
 * -EMSGSIZE: too small. */
int vmsig_relay_new(vmsig_state_head *state, size_t bytes, bool fresh, const vmsig_relay_env *env, vmsig_relay **out);
void vmsig_relay_free(vmsig_relay *r);

int vmsig_relay_set_policy(vmsig_relay *r, uint32_t source, vmsig_dir dir, uint32_t prio, const vmsig_timing *timing);

/* Before anything is put into the successor of an out-ring, and before anybody is told that it exists: completes what
 * the predecessor's last event there says was under way. */
void vmsig_relay_resume_out(vmsig_relay *r, const vmsig_ring_end *former);
/* From where an in-link is to be read; former: the predecessor's cursor. */
uint64_t vmsig_relay_resume_in(vmsig_relay *r, uint16_t link, uint64_t former);

/* The port stays the caller's. -ENOSPC: too many; -ENOMEM. */
int vmsig_relay_add(vmsig_relay *r, vmsig_port *p);
/* The link is no more. Commands that its consumer did not take, queued here or published there, are answered
 * `unavailable`; `unknown` if he did not stop in order and may have begun with them. */
void vmsig_relay_remove(vmsig_relay *r, vmsig_port *p);
/* The process ends, the link may go on: false: the port was not there. */
bool vmsig_relay_detach(vmsig_relay *r, vmsig_port *p);
/* The consumer of an out-link is a new process, or the first. */
void vmsig_relay_renewed(vmsig_relay *r, vmsig_port *p);

/* All ports of the boot are there: redo, rebuild. Before any consume. */
int vmsig_relay_start(vmsig_relay *r);

/* An input's producer had written nonsense: what came behind that is told as LOST(poison). */
void vmsig_relay_healed(vmsig_relay *r, vmsig_port *p);

/* Takes at most budget events from an input: how many. */
unsigned vmsig_relay_consume(vmsig_relay *r, vmsig_port *p, unsigned budget);
/* Ends epochs that are over, dispatches what is due. */
void vmsig_relay_turn(vmsig_relay *r);
void vmsig_relay_writable(vmsig_relay *r, vmsig_port *p);
/* When turn is to be called next, 0 = no need. */
uint64_t vmsig_relay_due(const vmsig_relay *r);
/* How many events wait. */
uint32_t vmsig_relay_queued(const vmsig_relay *r);

#endif
