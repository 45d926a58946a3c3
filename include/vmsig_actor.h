/* vmsig_actor.h: a program of one's own on the bus: a sensor, a filter, a derived sensor.
 *
 *   supervisor ──boot socket──► actor ──ring──► context        (and rings back, for commands and memctx)
 *
 * The program is started by the supervisor, opens its actor, adds timers and fds, runs. The loop is the actor's:
 * callbacks come on the one thread that runs it, and no call here blocks unless it says so.
 *
 * Errors: 0 or a positive answer is good; -1 with errno is not.
 */
#ifndef VMSIG_ACTOR_H
#define VMSIG_ACTOR_H

#include "vmsig_core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vmsig_actor vmsig_actor;

#define VMSIG_EXIT_DONT_RESTART 100 /* exit code of an actor that must not be started again */

/* Takes the boot socket from the supervisor, waits (at most 10 s) until the links are there. NULL when the program was
 * not started by a supervisor, or it went away: then a sentence has been written to stderr. */
vmsig_actor *vmsig_actor_open(void);
void vmsig_actor_free(vmsig_actor *a);

const char *vmsig_actor_name(const vmsig_actor *a);
uint32_t vmsig_actor_endpoint(const vmsig_actor *a); /* as the topology gives it */
uint32_t vmsig_actor_source(const vmsig_actor *a);   /* likewise */
uint32_t vmsig_actor_epoch(const vmsig_actor *a);    /* the endpoint's epoch, now */

/* Calls fn every period_ns, first after one period; what was missed is left out, not made up for. */
int vmsig_actor_every(vmsig_actor *a, uint64_t period_ns, void (*fn)(vmsig_actor *a, void *ud), void *ud);
/* Calls fn while fd is readable; the fd stays the caller's. */
int vmsig_actor_watch(vmsig_actor *a, int fd, void (*fn)(vmsig_actor *a, void *ud), void *ud);
int vmsig_actor_unwatch(vmsig_actor *a, int fd);
/* Calls fn for each event or command that arrives on any of the actor's links; ev is borrowed. A command comes only when
 * its epoch and the token of its lease are the current ones at that moment, and never twice; fn sees to it that a RESULT
 * is emitted under its corr. Before a lease passes on, keys to let go come as an INPUT under corr 0: no RESULT. */
void vmsig_actor_on_event(vmsig_actor *a, void (*fn)(vmsig_actor *a, const vmsig_event *ev, void *ud), void *ud);
/* Calls fn for each address-space context with its read-only RAM fd (borrowed), and for each invalidation (fd -1).
 * The topology must say `memctx: true`. */
void vmsig_actor_on_memctx(vmsig_actor *a, void (*fn)(vmsig_actor *a, const vmsig_event *ev, int fd, void *ud),
                           void *ud);

/* Emits an event, on each link that leads to where it goes: endpoint, source, epoch, ts_ns and merged are filled in
 * where they are 0. 0 = it is on the ring; -1 EAGAIN: no room within the link's deadline, and the loss is told
 * downstream; EINVAL: a field out of range, or the topology gives no source; EMSGSIZE: a payload larger than the ring's
 * arena; ENOTCONN: no link leads there. The payload stays the caller's. */
int vmsig_actor_emit(vmsig_actor *a, vmsig_event *ev);
/* The same for a body that fits inln. kind: 64..255. */
int vmsig_actor_emit_bytes(vmsig_actor *a, uint8_t kind, const void *body, uint32_t len);

/* Runs until the supervisor says stop (or vmsig_actor_stop); returns the exit code for main. -1 EINVAL: no actor. */
int vmsig_actor_run(vmsig_actor *a);
void vmsig_actor_stop(vmsig_actor *a, int exit_code);

/* Runs a source (a sensor or a host) as an actor: opens, describes, emits, takes commands and memctx; closes src. The
 * exit code for main; -1 EINVAL: no ops. */
int vmsig_actor_run_source(const vmsig_source_ops *ops, void *src);

#ifdef __cplusplus
}
#endif
#endif
