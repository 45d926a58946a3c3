/* vmsig_core.h: everything in one process, from the same code as the multi-process topology.
 *
 *   sources ──emit──► context ──► gateway ──deliver──► controls
 *           ◄─command─        ◄──          ◄──emit────
 *
 * A source is the mirror of a control: events up, commands down. Sensors and hosts alike are sources, in one process
 * here, as a plug-in of vmsig-sensor, or as an actor of their own.
 *
 * Threads   one thread calls the core; a source may emit from threads of its own.
 * Errors    -1 with errno set, and nothing changed.
 */
#ifndef VMSIG_CORE_H
#define VMSIG_CORE_H

#include "vmsig_control.h"
#include "vmsig_ctx.h"
#include "vmsig_memctx.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vmsig_source_info {
    vmsig_source source;
    uint32_t endpoint;
    uint32_t accepts; /* commands it takes: bit 1u << (kind - 32) */
} vmsig_source_info;

/* NULL = not supported. */
typedef struct vmsig_source_ops {
    const char *name;
    int (*describe)(void *src, vmsig_source_info *out); /* 0 / -1 */
    int (*fd)(void *src);                               /* to poll for on_readable; -1 = none */
    int (*on_readable)(void *src);                      /* 0, or -1: the source has ended */
    /* Installs the hook for events. emit: 0 or 1 as vmsig_ctx_submit (it owns the payload), -1 with errno (the source
     * still does). */
    void (*set_emit_up)(void *src, int (*emit)(void *token, vmsig_event *), void *token);
    /* A command, borrowed; its epoch and the token of its lease have just been compared. 0 = done: a RESULT OK is sent
     * for it, unless the source has emitted one with its corr; 1 = the source emits its RESULT itself, now or later; -1
     * with errno = refused, which is answered too. Keys to let go, when a lease or an epoch ends, come under corr 0. */
    int (*command)(void *src, const vmsig_event *down);
    int (*on_memctx)(void *src, const vmsig_event *ev, int fd); /* ev, fd borrowed; MEMCTX_INVALID comes with fd -1 */
    void (*close)(void *src);
} vmsig_source_ops;

/* What a plug-in (a shared object) exports: 0 and *ops, *src, or -1 with errno. */
int vmsig_plugin_open(int argc, char **argv, const vmsig_source_ops **ops, void **src);

typedef struct vmsig_core vmsig_core;

vmsig_core *vmsig_core_new(void);
/* Closes what is attached. NULL is allowed. */
void vmsig_core_free(vmsig_core *core);

/* An fd to poll for reading: readable when vmsig_core_step has something to do. Owned by the core. */
int vmsig_core_fd(vmsig_core *core);
/* Handles what is due, waiting at most timeout_ms for the first (-1 is refused: no wait without a deadline): how many
 * events and commands were handled, or -1. */
int vmsig_core_step(vmsig_core *core, int timeout_ms);

/* A control id >= 0, or -1. It sees and sends nothing until set_grant. On success the core owns ctl and calls
 * ops->close. */
int vmsig_core_add_control(vmsig_core *core, const vmsig_control_ops *ops, void *ctl);
/* EINVAL: no such control, a retired or unknown capability bit. A narrowed grant binds at once. */
int vmsig_core_set_grant(vmsig_core *core, int control, const vmsig_grant *grant);
int vmsig_core_remove_control(vmsig_core *core, int control);

/* Serves controls in other processes (vmsig_client.h, or any language: docs/control-protocol.md) on a listening
 * SOCK_SEQPACKET socket, which stays the caller's and open. grants: by the peer's uid, copied; NULL: root and the user
 * of this process may do everything. Once per core. EBUSY: it does already; EINVAL: a retired or unknown capability. */
int vmsig_core_listen(vmsig_core *core, int listen_fd, const vmsig_grant *grants, int n);

/* A source id >= 0, or -1. On success the core owns src and calls ops->close. */
int vmsig_core_add_source(vmsig_core *core, const vmsig_source_ops *ops, void *src);

/* Policies of the core's own transfer context; as vmsig_ctx_set_policy. */
int vmsig_core_set_policy(vmsig_core *core, vmsig_source source, vmsig_dir dir, vmsig_prio default_prio,
                          const vmsig_timing *timing);

/* NULL = the default arbitration. */
/* How long after its origin a retained event of a sensor is given to controls that come late; 0, as at first: until a
 * newer one, or the end of its epoch. EINVAL: no core. */
int vmsig_core_set_retain(vmsig_core *core, uint64_t ttl_ns);

void vmsig_core_set_arbiter(vmsig_core *core, vmsig_arb_policy policy, void *ud);

typedef enum vmsig_audit_what {
    VMSIG_AUDIT_GRANTED = 1, /* a lease */
    VMSIG_AUDIT_DENIED = 2,  /* a lease (status 0, detail: its holder), or a command: its kind and status */
    VMSIG_AUDIT_PREEMPTED = 3,
    VMSIG_AUDIT_REVOKED = 4,
    VMSIG_AUDIT_RELEASED = 5,
    VMSIG_AUDIT_EPOCH = 6,
    VMSIG_AUDIT_INTENT = 7, /* before the effect */
    VMSIG_AUDIT_RESULT = 8,
    VMSIG_AUDIT_ATTACHED = 9,
    VMSIG_AUDIT_DETACHED = 10,
    VMSIG_AUDIT_GRANT_SET = 11, /* detail: the capabilities; endpoint_mask, priority */
    VMSIG_AUDIT_FAILED = 12     /* an actor's restarts are exhausted: everything stops */
} vmsig_audit_what;

typedef struct vmsig_audit_record {
    uint64_t ts_ns; /* CLOCK_REALTIME */
    uint64_t token, corr;
    uint32_t what; /* vmsig_audit_what */
    uint32_t principal, endpoint, epoch;
    uint32_t cls;    /* vmsig_lease_class, or UINT32_MAX */
    uint32_t kind;   /* of the command, or 0 */
    int32_t status;  /* vmsig_status */
    uint32_t detail; /* the command's op; a denial's holder */
    uint64_t endpoint_mask;
    uint32_t priority;
    uint32_t count; /* how many it stands for; 0 and 1: itself. A log may put a storm of denials into one */
} vmsig_audit_record;

/* Called on the loop thread, an INTENT before its effect; -1 from an INTENT refuses the command (UNAVAILABLE). */
typedef int (*vmsig_audit_cb)(void *ud, const vmsig_audit_record *rec);
void vmsig_core_set_audit(vmsig_core *core, vmsig_audit_cb cb, void *ud);

/* The endpoint's address space has ended (a reset, say): memctx and leases of it are void. */
int vmsig_core_bump_epoch(vmsig_core *core, uint32_t endpoint);

/* Publishes and retains the endpoint's address-space context; ro_fd is duplicated (opened anew, read-only, where it is
 * not). EBUSY: the endpoint has a host, which publishes. */
int vmsig_core_publish_memctx(vmsig_core *core, uint32_t endpoint, const vmsig_memctx *ctx, const vmsig_seg *segs,
                              int n, int ro_fd);

#ifdef __cplusplus
}
#endif
#endif
