/* actuator.h: what stands before a source that takes commands: the last look before each effect, what is under way, what
 * is held down. A host has the same of its own (hosts/host.h); this is for all others, in a process of their own
 * (vmsig_actor.h) and in one process (vmsig_core.h) alike.
 *
 *   command ──► [seen before? sane? epoch current? token = fence?] ──► the source ──► exactly one result
 *   FENCE ────► [effects of its class under way?] ──none──► held keys let go ──► answer: quiet and neutral
 *                  └── the last one's result ──┘
 *   the epoch has moved ──► held keys let go
 *
 * The record of effects (record.h) may outlive the process: a successor answers what was under way with `unknown`, lets
 * go of what was held, and does nothing twice. How long a fence may take is bounded by the gate, which closes the class.
 *
 * One thread. Errors: 0 or negative errno.
 */
#ifndef VMSIG_ACTUATOR_H
#define VMSIG_ACTUATOR_H

#include <stdbool.h>

#include "rings/fence.h"
#include "schema/caps.h"

/* ---- the last look before an effect; the hosts' too -------------------------------------------------- */

/* OK and *need, or INVALID: no command that has an effect; FENCED: of another epoch. An epoch of 0 is one that the
 * sender did not state; an address is worth nothing without. */
vmsig_status vmsig_effect_current(const vmsig_event *cmd, uint32_t epoch, const vmsig_need **need);
/* Its lease, where it needs one: OK, or NOLEASE, FENCED, UNAVAILABLE: nobody there says who holds it. fences: NULL or
 * the gateway's. */
vmsig_status vmsig_effect_allowed(const vmsig_event *cmd, const vmsig_need *need, uint32_t endpoint,
                                  const vmsig_fence_page *fences);

/* ---- the actuator ------------------------------------------------------------------------------------ */

typedef struct vmsig_actuator vmsig_actuator;

typedef struct vmsig_actuator_env {
    uint32_t (*epoch)(void *ud); /* the endpoint's, now; 0 = its host is down */
    const vmsig_fence_page *(*fences)(void *ud);
    /* To the source: 0 = done, 1 = its result comes by vmsig_actuator_result (also from within), -errno = refused. Keys
     * to let go come under corr 0: no result is awaited. */
    int (*effect)(void *ud, const vmsig_event *cmd);
    /* A result, up: 0, or -EAGAIN: it is owed until vmsig_actuator_flush. */
    int (*answer)(void *ud, uint32_t kind, uint32_t corr, vmsig_status status, uint64_t detail);
    void *ud;
} vmsig_actuator_env;

/* state_fd: of VMSIG_RECORD_BYTES, borrowed; <= 0: the record is kept in plain memory. */
int vmsig_actuator_new(uint32_t endpoint, const vmsig_actuator_env *env, int state_fd, vmsig_actuator **out);
/* NULL is allowed. Nobody is told anything. */
void vmsig_actuator_free(vmsig_actuator *a);

/* What a predecessor left. Once effects and answers may be had; before any command. */
void vmsig_actuator_start(vmsig_actuator *a);
/* 0 = it is answered, or will be; -EAGAIN: the same again after a flush. */
int vmsig_actuator_command(vmsig_actuator *a, const vmsig_event *cmd);
/* The source's result of an effect that is under way; told: it is on its way up already. false: of none that is. */
bool vmsig_actuator_result(vmsig_actuator *a, const vmsig_event *result, bool told);
/* Looks whether the epoch has moved. */
void vmsig_actuator_epoch(vmsig_actuator *a);
/* Answers what is owed: true = nothing is left. */
bool vmsig_actuator_flush(vmsig_actuator *a);
/* The source goes: held keys are let go, what is under way is answered `unknown`, fences are quiet. */
void vmsig_actuator_end(vmsig_actuator *a);

#endif
