/* qemu.h: a stock QEMU as a backend of a host (actors/hosts/host.h).
 *
 *   QEMU (-S) ──first reply──► RAM sealed, offered ──cont──► running ──paging on──► memctx published
 *
 *   guest resets, triple-faults: QEMU pauses with SHUTDOWN, RAM frozen ──► epoch moves, nothing may be written ──►
 *   set-action reboot=reset · system_reset · set-action reboot=shutdown · cont ──► writes again, memctx anew
 *
 * So no command of the old epoch can ever hit the guest that has booted anew. The epoch also moves when the guest wakes
 * from S3, when it is shut down, when QEMU ends, and when somebody else has stopped and resumed the VM: he may have
 * loaded a snapshot.
 *
 * The memctx is a sample (`info registers -a`): taken at each epoch until the guest has paging on, when the VM is
 * paused (then it is coherent) and at each VM query; published where it differs from the last one. Nothing wakes up
 * otherwise.
 */
#ifndef VMSIG_HOST_QEMU_H
#define VMSIG_HOST_QEMU_H

#include "actors/hosts/host.h"
#include "actors/hosts/qemu/machine.h"

extern const vmsig_host_backend vmsig_qemu_backend;

/* Options of one that runs already: the paths of its QMP socket and of the file that its RAM is. */
#define VMSIG_QEMU_ATTACH     "attach.qmp"
#define VMSIG_QEMU_ATTACH_RAM "attach.ram"

/* What a worker is given by who keeps the machine. */
typedef struct vmsig_qemu_given {
    vmsig_machine machine;
    bool resumed; /* a former worker had it */
    int rc;       /* < 0: there is no machine; err is the sentence */
    char err[256];
} vmsig_qemu_given;

/* Starts QEMU as the options say (docs/qemu.md): 0, or -errno with a sentence in err. */
int vmsig_qemu_machine(const char *(*option)(void *ud, const char *key), void *ud, vmsig_machine *machine, char *err,
                       size_t err_len);
/* The VM for the backend, with a machine that runs already. A vmsig_host_adopt_fn. */
int vmsig_qemu_adopt(void *given, const vmsig_host_backend **backend, void **vm, char *err, size_t err_len);
/* The VM of a QEMU that runs already; read only. It waits for a QEMU that is not there. A vmsig_host_make_fn. */
int vmsig_qemu_attach_make(const char *(*option)(void *ud, const char *key), void *ud,
                           const vmsig_host_backend **backend, void **vm, char *err, size_t err_len);
/* Both at once: the VM dies with this process. A vmsig_host_make_fn. */
int vmsig_qemu_make(const char *(*option)(void *ud, const char *key), void *ud, const vmsig_host_backend **backend,
                    void **vm, char *err, size_t err_len);

#endif
