/* machine.h: QEMU as a process, and the VM's RAM.
 *
 *   memfd (mode 0600, size sealed) ──► mapped read-write here ──► QEMU inherits the fd and maps it
 *   first reply on QMP: it is mapped ──► sealed against every new writable mapping ──► a read-only fd is handed out
 *
 * Never published before it is sealed: a read-only fd alone is no boundary, /proc re-opens it. QEMU inherits RAM (fd
 * 10), QMP (fd 11) and a pipe as stdout and stderr, and nothing else.
 *
 * Errors: 0 or negative errno, and a sentence in err.
 */
#ifndef VMSIG_QEMU_MACHINE_H
#define VMSIG_QEMU_MACHINE_H

#include <stdint.h>
#include <sys/types.h>

#include "actors/hosts/qemu/options.h"

typedef struct vmsig_machine {
    uint8_t *ram; /* the one writable mapping besides QEMU's own */
    uint64_t bytes;
    int ram_fd;
    int qmp_fd; /* stream socket, non-blocking */
    int log_fd; /* what QEMU says on stdout and stderr, non-blocking */
    int pidfd;
    pid_t pid;
} vmsig_machine;

/* Makes the RAM and starts QEMU, which stops before the guest's first instruction. QEMU dies with the caller. */
int vmsig_machine_start(const vmsig_qemu_options *o, vmsig_machine *m, char *err, size_t err_len);

/* No machine: nothing is held. */
void vmsig_machine_none(vmsig_machine *m);

/* Seals the RAM, when QEMU has mapped it; does nothing the second time. */
int vmsig_machine_seal(const vmsig_machine *m);
/* A read-only fd of the sealed RAM, the caller's, or -errno. */
int vmsig_machine_ram(const vmsig_machine *m);

/* Asks QEMU to end, so that its disks are in order; kills it after a second; waits for it, and lets go of everything. */
void vmsig_machine_end(vmsig_machine *m);

#endif
