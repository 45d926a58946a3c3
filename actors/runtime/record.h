/* record.h: the record of effects: at most once by a command's id, across the death of the host, or of whatever else
 * takes commands (actuator.h).
 *
 *   FREE ──begin──► STARTED ──done──► DONE ──answered──► ANSWERED ──begin of another──► FREE …
 *
 * A successor answers what was STARTED with `unknown` (it may or may not have happened), publishes the result of what
 * was DONE, and ignores a command that it is handed again. A command is known by (corr, ts_ns): both come unchanged
 * when a ring is read again.
 *
 * Its owner alone writes it; each step's last store is its state word.
 * Errors: 0 or negative errno.
 */
#ifndef VMSIG_RECORD_H
#define VMSIG_RECORD_H

#include "rings/state.h"
#include "vmsig_event.h"

#define VMSIG_RECORD_KIND    0x74736f68u /* "host" */
#define VMSIG_RECORD_VERSION 2u
#define VMSIG_RECORD_BYTES   65536u /* of the state memfd that keeps it */
#define VMSIG_RECORD_EFFECTS 1024u  /* as many commands may be under way; a power of two */
#define VMSIG_KEYS_MAX       0x300u /* evdev codes of keys and buttons */
#define VMSIG_GROUP_MAX      (VMSIG_INLINE_MAX / sizeof(vmsig_input)) /* of one command */

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
    uint64_t detail; /* of the result; while STARTED: its lease's class, VMSIG_NO_LEASE where it has none */
    int32_t status;
    uint32_t kind; /* of the command */
} vmsig_effect;

typedef struct vmsig_record {
    vmsig_state_head head;                /* unused where the record is in plain memory */
    uint64_t held[VMSIG_KEYS_MAX / 64];   /* keys and buttons that may be held down */
    uint64_t button[VMSIG_KEYS_MAX / 64]; /* those of them that were pressed as a button */
    uint64_t held_epoch;                  /* an actuator's: the epoch in which they were pressed */
    uint64_t note;                        /* a host backend's */
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

/* Takes note of what a group of input presses (down 1) or lets go (0). A key counts as held from before its press until
 * after its release: a death in between leaves it to be let go. */
void vmsig_record_note(vmsig_record *r, const vmsig_input *in, uint32_t n, uint8_t down);
/* The releases of what is held, from *code on (0 at first), as the next group: how many, 0 = that was all. */
uint32_t vmsig_record_releases(const vmsig_record *r, uint32_t *code, vmsig_input group[VMSIG_GROUP_MAX]);

#endif
