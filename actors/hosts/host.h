/* host.h: what every host adapter has in common: the gate before each effect, and what is told of the VM.
 *
 *   command ──► [epoch current? token = fence? seen before?] ──► backend (stub, qemu) ──► exactly one result
 *
 * The gate is the last to look, at the moment the effect starts. It runs in the host actor and, in one process, in
 * vmsig_core: the environment says where epoch and fences are read.
 *
 * A host is a vmsig_source_ops like any sensor: it emits MEMCTX, MEMCTX_INVALID, VMHOST and RESULT events.
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
    void *ud;
} vmsig_host_env;

typedef struct vmsig_host vmsig_host;

/* What a kind of VM can do. NULL = not supported (INVALID). Each effect returns a vmsig_status; VMSIG_HOST_LATER = the
 * result follows by vmsig_host_done. */
#define VMSIG_HOST_LATER (-1)
typedef struct vmsig_host_backend {
    const char *name;
    int (*start)(void *vm, vmsig_host *host); /* powers on; offers RAM, reports state and memctx */
    int (*input)(void *vm, uint32_t corr, const vmsig_input *in, uint32_t n);
    int (*lifecycle)(void *vm, uint32_t corr, uint32_t op);
    int (*query)(void *vm, uint32_t corr, uint64_t *detail);
    int (*memwrite)(void *vm, uint32_t corr, const vmsig_memwrite *w, const void *bytes, uint32_t len);
    int (*quiet)(void *vm, uint32_t corr, vmsig_lease_class cls); /* drain, then neutral */
    int (*fd)(void *vm);
    int (*on_readable)(void *vm);
    void (*close)(void *vm);
} vmsig_host_backend;

/* The host takes over vm (closed with it). */
vmsig_host *vmsig_host_new(uint32_t endpoint, const vmsig_host_backend *backend, void *vm, const vmsig_host_env *env);

/* For backends. */
void vmsig_host_done(vmsig_host *h, uint32_t corr, vmsig_status status, uint64_t detail);
/* The address space is gone (reset, wake, quit): no more effects of the old epoch, epoch advanced, MEMCTX_INVALID sent.
 */
void vmsig_host_epoch_moved(vmsig_host *h);
void vmsig_host_state(vmsig_host *h, vmsig_vm_state state, uint32_t cause);
void vmsig_host_memctx(vmsig_host *h, const vmsig_memctx *ctx, const vmsig_seg *segs, int n);
int vmsig_host_offer_ram(vmsig_host *h, uint32_t ram_id, int ro_fd);
uint32_t vmsig_host_epoch(const vmsig_host *h);

/* The host as a source: pass these with the vmsig_host * to vmsig_core_add_source, or run it as an actor. */
const vmsig_source_ops *vmsig_host_source_ops(void);

/* Runs a host as an actor process: the exit code for main. make: builds backend and vm from the actor's options. */
typedef int (*vmsig_host_make_fn)(const char *(*option)(void *ud, const char *key), void *ud,
                                  const vmsig_host_backend **backend, void **vm, char *err, size_t err_len);
int vmsig_host_actor_main(vmsig_host_make_fn make);

#endif
