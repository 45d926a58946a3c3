/* keep.h: the endpoint keeper: what lets a VM outlive its host adapter.
 *
 *   root keeper ──fork──► vmsig-host-qemu ──"here is my boot socket"──► endpoint keeper ──fork──► QEMU
 *                          │ waits, ends as                              (own session)  └──fork──► worker
 *                          └◄──────────── the worker's end ──────────────┘    the adapter; inherits RAM and QMP
 *
 * The mapping of sealed RAM can be had by fork alone, so the keeper forks each worker. It parses nothing and answers
 * nobody else. The process that the supervisor started is the worker's name there: whichever of the two dies, the other
 * one is made to die, and the next one finds the keeper by an abstract socket named by lineage and endpoint (same uid
 * only). The former worker has ended before the next is forked.
 *
 *   worker exits        orderly, or the VM is gone: QEMU is ended, then the keeper
 *   worker, or the process that bears its name, is killed
 *                       the VM runs on; with no new worker within a minute, it is ended all the same
 *   QEMU ends           the worker notices; without one the keeper ends
 *   keeper is killed    QEMU and worker die with it: endpoint down
 *   SIGUSR1 to the process that bears the worker's name
 *                       QEMU is killed: who decides that its VM is to end, however it hangs, can say so
 */
#ifndef VMSIG_QEMU_KEEP_H
#define VMSIG_QEMU_KEEP_H

/* The main of vmsig-host-qemu, with the boot socket at fd 3: its exit code. */
int vmsig_qemu_keep_main(void);

#endif
