/* stub.h: the stub as a backend of a host (actors/hosts/host.h). What its guest shows is in vmsig_stub.h.
 *
 *   power-on ──boot_ms──► paging on, memctx published ──► ticks, input
 *      ▲                                                   │
 *      └────────── reset, wakeup: epoch moves ◄────────────┘
 *
 * The RAM's memfd is sealed against new writable mappings before its read-only fd is offered; it lives for one
 * incarnation, and its ram_id is the first epoch of that. One timerfd; none armed while nothing is due.
 */
#ifndef VMSIG_HOST_STUB_H
#define VMSIG_HOST_STUB_H

#include "actors/hosts/host.h"
#include "vmsig_stub.h"

extern const vmsig_host_backend vmsig_stub_backend;
extern const vmsig_stub_cfg vmsig_stub_defaults;

/* The VM for the backend: 0, -EINVAL (with a sentence in err), -ENOMEM, or what memfd and timerfd say. */
int vmsig_stub_vm_new(const vmsig_stub_cfg *cfg, void **vm, char *err, size_t err_len);
/* The VM from the topology's options: memory, la57, hz, boot_ms. A vmsig_host_make_fn. */
int vmsig_stub_make(const char *(*option)(void *ud, const char *key), void *ud, const vmsig_host_backend **backend,
                    void **vm, char *err, size_t err_len);

#endif
