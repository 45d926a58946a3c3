/* caps.h: ONE table: what a command needs, by its kind and op. Read by the gateway (admission), the host adapter (which
 * fence guards the effect), the docs and the tests.
 */
#ifndef VMSIG_CAPS_H
#define VMSIG_CAPS_H

#include <stdbool.h>
#include <stddef.h>

#include "vmsig_control.h"

#define VMSIG_NO_LEASE UINT32_MAX

typedef struct vmsig_need {
    uint8_t kind;     /* vmsig_kind of the command */
    uint32_t op;      /* its op; 0 = the kind has none. LEASE: the class, for each class is a need of its own */
    uint32_t cap;     /* the one VMSIG_CAP_ bit it takes */
    uint32_t cls;     /* vmsig_lease_class that the sender must hold, or VMSIG_NO_LEASE */
    const char *name; /* for people: "lifecycle reset" */
} vmsig_need;

extern const vmsig_need vmsig_needs[];
extern const size_t vmsig_needs_n;

/* The need of a command, or NULL: its kind, op or body is none that exists (VMSIG_INVALID). Looks at the whole body:
 * lengths, choices, ranges; not at epoch, token or what the sender may. */
const vmsig_need *vmsig_need_of(const vmsig_event *cmd);

/* A memory write of that size is one store; its value is in the body, else its bytes are the payload. */
static inline bool vmsig_memwrite_atomic(uint32_t size) {
    return size == 1 || size == 2 || size == 4 || size == 8;
}

/* What a command is answered that a source (vmsig_source_ops) refused with this errno. */
vmsig_status vmsig_refusal(int error);

/* The capability that the lease of a class takes; 0 = no such class. */
uint32_t vmsig_lease_cap(uint32_t cls);

/* The kind of the commands that the lease of a class is for; 0 = no such class. */
uint8_t vmsig_lease_kind(uint32_t cls);
/* The source under which a command of a kind, and its result, pass the bus. */
vmsig_source vmsig_lane_of(uint32_t kind);

/* 0, or -EINVAL: a retired or an unknown capability bit. */
int vmsig_caps_check(uint32_t caps);

#endif
