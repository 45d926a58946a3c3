/* record.h: the record of effects: at most once by a command's id, across the death of the host.
 *
 *   FREE ──begin──► STARTED ──done──► DONE ──answered──► ANSWERED ──begin of another──► FREE …
 *
 * A successor answers what was STARTED with `unknown` (it may or may not have happened), publishes the result of what
 * was DONE, and ignores a command that it is handed again. A command is known by (corr, ts_ns): both come unchanged
 * when a ring is read again.
 *
 * The host alone writes it; each step's last store is its state word.
 * Errors: 0 or negative errno.
 */
#ifndef VMSIG_HOST_RECORD_H
#define VMSIG_HOST_RECORD_H

#include "rings/state.h"
#include "vmsig_event.h"

#define VMSIG_RECORD_KIND    0x74736f68u /* "host" */
#define VMSIG_RECORD_VERSION 2u
#define VMSIG_RECORD_EFFECTS 1024u  /* as many commands may be under way; a power of two */
#define VMSIG_KEYS_MAX       0x300u /* evdev codes of keys and buttons */

typedef enum vmsig_effect_state {
    VMSIG_EFFECT_FREE = 0,
    VMSIG_EFFECT_STARTED = 1,
    VMSIG_EFFECT_DONE = 2,
    VMSIG_EFFECT_ANSWERED = 3
} vmsig_effect_state;

typedef struct vmsig_effect {
    uint32_t state; /* vmsig_effect_state */
    uint32_t corr;
    uint64_t ts_ns;
    uint64_t detail; /* of the result; of a fence that is STARTED: its class */
    int32_t status;
    uint32_t kind; /* of the command */
} vmsig_effect;

typedef struct vmsig_record {
    vmsig_state_head head;              /* unused where the record is in plain memory */
    uint64_t held[VMSIG_KEYS_MAX / 64]; /* keys and buttons that the VM may hold down */
    uint64_t note;                      /* the backend's */
    vmsig_effect effects[VMSIG_RECORD_EFFECTS];
} vmsig_record;

/* state_fd <= 0: in plain memory. */
int vmsig_record_open(int state_fd, vmsig_record **out);
void vmsig_record_close(vmsig_record *r, int state_fd);

/* 1 = *e is STARTED for this command; 0 = the command was seen before; -EBUSY its place is taken by one under way. */
int vmsig_record_begin(vmsig_record *r, const vmsig_event *cmd, vmsig_effect **e);
/* The effect of corr that is STARTED, or NULL. */
vmsig_effect *vmsig_record_started(vmsig_record *r, uint32_t corr);
void vmsig_effect_done(vmsig_effect *e, vmsig_status status, uint64_t detail);
void vmsig_effect_answered(vmsig_effect *e);

#endif
