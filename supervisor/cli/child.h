/* child.h: the root keeper as a child of `vmsig up`, and the signals that `up` forwards to it.
 *
 * The keeper leads a process group of its own, so that a Ctrl-C reaches it once, forwarded; it is told to stop when
 * `up` dies. Errors: 0 or negative errno.
 */
#ifndef VMSIG_CLI_CHILD_H
#define VMSIG_CLI_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

typedef struct vmsig_child {
    pid_t pid;
    int signals; /* a signalfd: SIGINT, SIGTERM, SIGHUP, SIGCHLD, which are blocked from vmsig_child_start on */
    int stops;   /* how many stop signals were forwarded */
    bool ended;
    int code; /* once ended: its exit code, or 128 + the signal that killed it */
} vmsig_child;

/* Starts argv (argv[0] an absolute path), stdin from /dev/null. The caller's SIGPIPE may be ignored; the child's is
 * not. -errno also when the program could not be executed. */
int vmsig_child_start(vmsig_child *c, char *const argv[]);
/* Reads the signals that came: forwards a stop as SIGTERM, notes the child's end. Call when c->signals is readable. */
void vmsig_child_signals(vmsig_child *c);
/* Sends SIGTERM, as if the person had asked for the stop. */
void vmsig_child_stop(vmsig_child *c);
/* SIGKILL, and waits for its end. */
void vmsig_child_kill(vmsig_child *c);
void vmsig_child_close(vmsig_child *c);

#endif
