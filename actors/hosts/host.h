/* host.h: what every host adapter has in common: the gate before each effect, and what is told of the VM.
 *
 *   command ──► [seen before? body sane? epoch current? VM there? token = fence?] ──► effect ──► exactly one result
 *                     │ record: STARTED ─────────────────────────────────────────────── DONE ──── ANSWERED
 *
 * The gate is the last to look, at the moment the effect starts. It runs in the host actor and, in one process, in
 * vmsig_core: the environment says where epoch and fences are read.
 *
 * A host is a vmsig_source_ops like any sensor: it emits MEMCTX, MEMCTX_INVALID, VMHOST and RESULT events. Nothing of
 * that is dropped for want of room: what could not be emitted is owed, and goes out by vmsig_host_flush; meanwhile no
 * command is taken.
 *
 * One thread. Errors: 0 or negative errno.
 */
#ifndef VMSIG_HOST_H
#define VMSIG_HOST_H

#include "rings/epoch.h"
#include "rings/fence.h"
#include "vmsig_core.h"

typedef struct vmsig_host_env {
    vmsig_epoch_page *epoch;                                /* the host's own; advanced on reset */
    const vmsig_fence_page *(*fences)(void *ud);            /* NULL result: none there, nothing destructive may start */
    int (*offer_ram)(void *ud, uint32_t ram_id, int ro_fd); /* fd duplicated */
    void (*log)(void *ud, const char *text);
    void (*remark)(void *ud, const char *text); /* what is off, and why; "" = all is on. NULL: nobody is told */
    int state_fd; /* of VMSIG_RECORD_BYTES: the record of effects outlives the process there; <= 0: plain memory */
    void *ud;
} vmsig_host_env;

typedef struct vmsig_host vmsig_host;

/* What a kind of VM can do. NULL = not supported (INVALID). Each effect returns a vmsig_status; VMSIG_HOST_LATER = the
 * result follows by vmsig_host_done. What a command asks for was checked before: bodies, ranges, epoch, lease. Memory
 * is written by the host itself, through the mapping of vmsig_host_set_ram. */
#define VMSIG_HOST_LATER (-1)
typedef struct vmsig_host_backend {
    const char *name;
    int (*start)(void *vm, vmsig_host *host);       /* powers on; offers RAM, reports state and memctx */
    bool (*knows)(void *vm, const vmsig_input *in); /* has it such a key, button, axis? NULL: every one */
    int (*input)(void *vm, uint32_t corr, const vmsig_input *in, uint32_t n); /* corr 0: the host's own, no result */
    int (*lifecycle)(void *vm, uint32_t corr, uint32_t op);       /* VM stop and cont come as PAUSE, RESUME */
    int (*query)(void *vm, uint32_t corr, uint64_t *detail);      /* NULL: the state last told is the answer */
    int (*quiet)(void *vm, uint32_t corr, vmsig_lease_class cls); /* drain; NULL: no effect is ever under way */
    /* Have the VM stand still for memory writes: OK = it does; HOST_LATER = vmsig_host_held follows. NULL: larger writes
     * take a VM that is paused. */
    int (*hold)(void *vm);
    int (*fd)(void *vm);
    int (*on_readable)(void *vm); /* 0, or negative errno: the VM is gone for good */
    const char *(*why)(void *vm); /* then: the sentence that tells why; NULL: the errno does */
    void (*close)(void *vm);
} vmsig_host_backend;

/* The host takes over vm (closed with it). env NULL: it comes by vmsig_host_attach, before the host is started. NULL:
 * out of memory, and vm is still the caller's. */
vmsig_host *vmsig_host_new(uint32_t endpoint, const vmsig_host_backend *backend, void *vm, const vmsig_host_env *env);
int vmsig_host_attach(vmsig_host *h, const vmsig_host_env *env);
/* A result that a former incarnation is known to have published. Before the start. */
void vmsig_host_answered(vmsig_host *h, uint32_t corr);
/* Emits what is owed: true = nothing is left. */
bool vmsig_host_flush(vmsig_host *h);

/* ---- for backends ------------------------------------------------------------------------------------ */

void vmsig_host_done(vmsig_host *h, uint32_t corr, vmsig_status status, uint64_t detail);
/* The address space is gone (reset, wake, quit): no more effects of the old epoch were started, the epoch is advanced,
 * MEMCTX_INVALID sent (stamped with the new epoch: all older is void), then the state that the VM is in now. */
void vmsig_host_epoch_moved(vmsig_host *h, vmsig_vm_state state, uint32_t cause);
void vmsig_host_state(vmsig_host *h, vmsig_vm_state state, uint32_t cause);
/* The epoch moves while the VM's state stays as it is. */
void vmsig_host_epoch_ended(vmsig_host *h);
void vmsig_host_memctx(vmsig_host *h, const vmsig_memctx *ctx, const vmsig_seg *segs, int n);
/* The VM that was to be held stands still (OK): the writes that wait are done; or why it does not: so they are answered.
 * Then the backend has it go on and says how that went. What was written is answered only then: OK, unless it failed. */
void vmsig_host_held(vmsig_host *h, vmsig_status status);
void vmsig_host_let_go(vmsig_host *h, vmsig_status status);
/* A word of the backend's own that outlives the process, with the record of effects; 0 at first. */
uint64_t vmsig_host_note(const vmsig_host *h);
void vmsig_host_set_note(vmsig_host *h, uint64_t note);
/* The mapping through which MEMWRITE stores: base holds `bytes` bytes (borrowed until the next call), placed by segs
 * (copied). base NULL: nothing can be written now (UNAVAILABLE). -EINVAL: the segments don't fit. */
int vmsig_host_set_ram(vmsig_host *h, void *base, uint64_t bytes, const vmsig_seg *segs, int n);
int vmsig_host_offer_ram(vmsig_host *h, uint32_t ram_id, int ro_fd);
uint32_t vmsig_host_epoch(const vmsig_host *h);
/* For `vmsig status`: what is off, and why. */
void vmsig_host_remark(const vmsig_host *h, const char *text);
void vmsig_host_log(const vmsig_host *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- for who runs a host ----------------------------------------------------------------------------- */

/* The host as a source: pass these with the vmsig_host * to vmsig_core_add_source, or run it as an actor. The VM is
 * started when the hook for events is installed. A command is refused (-1, EAGAIN) while something is owed. */
const vmsig_source_ops *vmsig_host_source_ops(void);

/* Why the VM is gone, when on_readable failed with errno. */
const char *vmsig_host_why(const vmsig_host *h, int err);

/* Runs a host as an actor process: the exit code for main. make: builds backend and vm from the actor's options; 0, or
 * negative errno and a sentence in err. */
typedef int (*vmsig_host_make_fn)(const char *(*option)(void *ud, const char *key), void *ud,
                                  const vmsig_host_backend **backend, void **vm, char *err, size_t err_len);
int vmsig_host_actor_main(vmsig_host_make_fn make);
/* The same with what somebody else has made; given is handed to adopt. */
typedef int (*vmsig_host_adopt_fn)(void *given, const vmsig_host_backend **backend, void **vm, char *err,
                                   size_t err_len);
int vmsig_host_actor_run(vmsig_host_adopt_fn adopt, void *given);

#endif
