/* orphans.h: the children that a subreaper was left with, of whatever depth and session. */
#ifndef VMSIG_KEEPER_ORPHANS_H
#define VMSIG_KEEPER_ORPHANS_H

/* Sends SIGKILL to every child of this process that lives; how many there were. Their own children become ours when they
 * are gone: call again until none is left. Walks /proc: for the end only. */
int vmsig_orphans_kill(void);

#endif
