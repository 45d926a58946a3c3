/* vmsig_event.h: one event or command, and the bodies it can carry.
 *
 *   sensor, host ──UP──► context ──► gateway ──► control        events
 *   host, sensor ◄─DOWN─ context ◄── gateway ◄── control        commands
 *
 * The same struct serves both directions and every seam: sources, the transfer context, controls.
 * Bodies are in host byte order in `inln`; what does not fit there lies in `payload`. Every value below
 * is relied on by programs outside this repository: values are added, never renamed or renumbered.
 */
#ifndef VMSIG_EVENT_H
#define VMSIG_EVENT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMSIG_ENDPOINTS_MAX 64u        /* endpoints are 0..63, so that a u64 is a mask of them */
#define VMSIG_SOURCES_MAX   32u        /* sources are 0..31, so that a u32 is a mask of them */
#define VMSIG_INLINE_MAX    112u       /* bytes of body that travel inside an event */
#define VMSIG_PAYLOAD_MAX   (1u << 20) /* bytes of payload that one event may carry */

typedef enum vmsig_dir {
    VMSIG_DIR_UP = 0,  /* sensor to control */
    VMSIG_DIR_DOWN = 1 /* control to actuator */
} vmsig_dir;

typedef enum vmsig_source {
    VMSIG_SRC_SEAM = 0, /* the bus itself */
    VMSIG_SRC_MEMCTX = 1,
    VMSIG_SRC_VMHOST = 2,
    VMSIG_SRC_INPUT = 3,
    VMSIG_SRC_MEMWRITE = 4,
    VMSIG_SRC_SENSOR_FIRST = 8, /* 8..31: sensors */
    VMSIG_SRC_SENSOR_LAST = 31
} vmsig_source;

typedef enum vmsig_prio {
    VMSIG_PRIO_DEFAULT = 0, /* what the policy of (source, dir) says */
    VMSIG_PRIO_LOW = 1,
    VMSIG_PRIO_NORMAL = 2,
    VMSIG_PRIO_HIGH = 3,
    VMSIG_PRIO_URGENT = 4
} vmsig_prio;

typedef enum vmsig_kind {
    /* up */
    VMSIG_EV_STATE = 1,
    VMSIG_EV_MEMCTX = 2,
    VMSIG_EV_MEMCTX_INVALID = 3,
    VMSIG_EV_EPOCH_END = 4,
    VMSIG_EV_LOST = 5,
    VMSIG_EV_SNAPSHOT_END = 6,
    VMSIG_EV_RESULT = 7,
    VMSIG_EV_LEASE = 8,
    VMSIG_EV_VMHOST = 9,
    VMSIG_EV_SENSOR_FIRST = 64, /* 64..255: a sensor's own */
    VMSIG_EV_SENSOR_LAST = 255,
    /* down */
    VMSIG_CMD_INPUT = 32,
    VMSIG_CMD_LIFECYCLE = 33,
    VMSIG_CMD_VM = 34,
    VMSIG_CMD_MEMWRITE = 35,
    VMSIG_CMD_LEASE = 36
} vmsig_kind;

typedef enum vmsig_status {
    VMSIG_OK = 0,
    VMSIG_NOCAP = 1,       /* the grant lacks the capability */
    VMSIG_NOLEASE = 2,     /* the class needs a lease and the sender holds none */
    VMSIG_HELD = 3,        /* another control holds the lease */
    VMSIG_FENCED = 4,      /* an old epoch or an old token: no effect */
    VMSIG_INVALID = 5,     /* the command makes no sense */
    VMSIG_UNAVAILABLE = 6, /* no endpoint or actuator there now */
    VMSIG_DROPPED = 7,     /* a policy dropped it before its effect */
    VMSIG_TIMEOUT = 8,
    VMSIG_PARTIAL = 9, /* the effect began and could not be completed */
    VMSIG_UNKNOWN = 10 /* the actuator died between the start and the end of the effect */
} vmsig_status;

/* Bits of vmsig_event.flags. */
#define VMSIG_EVF_RETAIN   1u /* the gateway keeps the newest per (endpoint, source, kind) for late subscribers */
#define VMSIG_EVF_SNAPSHOT 2u /* set on delivery: replayed from the retained set, not live */

typedef struct vmsig_event {
    uint64_t seq;   /* the context's, strictly increasing per (context, dir) */
    uint64_t ts_ns; /* CLOCK_MONOTONIC at the origin */
    uint64_t corr;  /* a command's id, chosen by its sender; its result carries it */
    uint64_t token; /* lease token of a command */
    uint32_t endpoint;
    uint32_t epoch;
    uint32_t merged;      /* how many events this survivor stands for, 1 = itself */
    uint32_t inln_len;    /* bytes used in inln */
    uint32_t payload_len; /* bytes at payload */
    uint32_t flags;       /* VMSIG_EVF_ bits */
    uint8_t source;       /* vmsig_source */
    uint8_t dir;          /* vmsig_dir */
    uint8_t prio;         /* vmsig_prio */
    uint8_t kind;         /* vmsig_kind */
    uint32_t reserved;    /* zero */
    uint8_t inln[VMSIG_INLINE_MAX];
    void *payload; /* malloc'ed, NULL when payload_len is 0; who owns it is said at each function */
} vmsig_event;

/* ---- bodies ---------------------------------------------------------------------------------------- */

typedef enum vmsig_input_type {
    VMSIG_INPUT_KEY = 1,
    VMSIG_INPUT_BTN = 2,
    VMSIG_INPUT_REL = 3,
    VMSIG_INPUT_ABS = 4
} vmsig_input_type;

/* VMSIG_CMD_INPUT: one or more of these in a row are one atomic group (a chord). */
typedef struct vmsig_input {
    uint8_t type;  /* vmsig_input_type */
    uint8_t down;  /* 1 pressed, 0 released; unused for REL and ABS */
    uint16_t code; /* Linux evdev code */
    int32_t value; /* REL: the distance; ABS: the position, 0..32767 */
} vmsig_input;

typedef enum vmsig_lifecycle_op {
    VMSIG_LIFECYCLE_PAUSE = 1,
    VMSIG_LIFECYCLE_RESUME = 2,
    VMSIG_LIFECYCLE_WAKEUP = 3,
    VMSIG_LIFECYCLE_POWERDOWN = 16,
    VMSIG_LIFECYCLE_RESET = 17,
    VMSIG_LIFECYCLE_QUIT = 18
} vmsig_lifecycle_op;

/* VMSIG_CMD_LIFECYCLE */
typedef struct vmsig_lifecycle {
    uint32_t op; /* vmsig_lifecycle_op */
} vmsig_lifecycle;

typedef enum vmsig_vm_op { VMSIG_VM_QUERY = 1, VMSIG_VM_CONT = 2, VMSIG_VM_STOP = 3 } vmsig_vm_op;

/* VMSIG_CMD_VM */
typedef struct vmsig_vm {
    uint32_t op; /* vmsig_vm_op */
} vmsig_vm;

#define VMSIG_MEMWRITE_VIRTUAL 1u /* addr is virtual, walked at the moment of the effect */

/* VMSIG_CMD_MEMWRITE. size 1, 2, 4, 8: one atomic store of `value`; any other size: the bytes are the payload,
 * and the VM is made to stand still for them. */
typedef struct vmsig_memwrite {
    uint64_t addr;
    uint64_t value;
    uint32_t size;
    uint32_t flags; /* VMSIG_MEMWRITE_ bits */
} vmsig_memwrite;

typedef enum vmsig_lease_op { VMSIG_LEASE_ACQUIRE = 1, VMSIG_LEASE_RENEW = 2, VMSIG_LEASE_RELEASE = 3 } vmsig_lease_op;

typedef enum vmsig_lease_class {
    VMSIG_LEASE_INPUT = 0,
    VMSIG_LEASE_POWER = 1,
    VMSIG_LEASE_MEMWRITE = 2,
    VMSIG_LEASE_CLASSES = 3 /* how many there are */
} vmsig_lease_class;

#define VMSIG_LEASE_QUEUE 1u /* flag of ACQUIRE: wait for the lease instead of being denied */

/* VMSIG_CMD_LEASE */
typedef struct vmsig_lease {
    uint32_t op;     /* vmsig_lease_op */
    uint32_t cls;    /* vmsig_lease_class */
    uint32_t ttl_ms; /* 0 = the gateway's default */
    uint32_t flags;
} vmsig_lease;

typedef enum vmsig_lease_state {
    VMSIG_LEASE_GRANTED = 1,
    VMSIG_LEASE_DENIED = 2,
    VMSIG_LEASE_REVOKED = 3,
    VMSIG_LEASE_QUEUED = 4
} vmsig_lease_state;

/* VMSIG_EV_LEASE */
typedef struct vmsig_lease_info {
    uint32_t state; /* vmsig_lease_state */
    uint32_t cls;
    uint32_t holder; /* principal that holds the lease now */
    uint32_t reserved;
    uint64_t token; /* GRANTED: put it into vmsig_event.token of each command */
} vmsig_lease_info;

/* VMSIG_EV_RESULT */
typedef struct vmsig_result {
    int32_t status; /* vmsig_status */
    uint32_t reserved;
    uint64_t detail; /* HELD: the holder's principal; VM QUERY: vmsig_vm_state; LEASE: the token */
} vmsig_result;

typedef enum vmsig_lost_why {
    VMSIG_LOST_OLDEST = 1,   /* evicted by drop policy OLDEST */
    VMSIG_LOST_NEWEST = 2,   /* refused by drop policy NEWEST */
    VMSIG_LOST_DEADLINE = 3, /* a sensor under BLOCK waited its deadline out */
    VMSIG_LOST_EPOCH = 4,    /* belonged to an epoch that has ended */
    VMSIG_LOST_WINDOW = 5,   /* a slow or absent control fell out of the replay window */
    VMSIG_LOST_POISON = 6    /* its handling killed the actor again and again */
} vmsig_lost_why;

#define VMSIG_FAILED_NAME 64u

/* VMSIG_EV_STATE of VMSIG_SRC_SEAM: an actor's restarts are exhausted, so everything stops. Once per endpoint, before the
 * control's connection ends. A sensor's STATE has a body of its own. */
typedef struct vmsig_failed {
    char actor[VMSIG_FAILED_NAME]; /* its name, NUL-terminated */
} vmsig_failed;

/* VMSIG_EV_LOST: stands in the place of a run of events that were dropped. */
typedef struct vmsig_lost {
    uint64_t first, last; /* seq of the first and the last of the run, 0 where they had none yet */
    uint64_t count;
    uint32_t source;
    uint32_t why; /* vmsig_lost_why */
} vmsig_lost;

typedef enum vmsig_vm_state {
    VMSIG_VM_DOWN = 0,
    VMSIG_VM_RUNNING = 1,
    VMSIG_VM_PAUSED = 2,
    VMSIG_VM_SUSPENDED = 3,
    VMSIG_VM_SHUTDOWN = 4,
    VMSIG_VM_CRASHED = 5
} vmsig_vm_state;

/* VMSIG_EV_VMHOST: the VM's status; always retained. */
typedef struct vmsig_vmhost {
    uint32_t state; /* vmsig_vm_state */
    uint32_t cause; /* vmsig_lifecycle_op of the change, 0 = the guest's or the host's own doing */
} vmsig_vmhost;

#ifdef __cplusplus
}
#endif
#endif
