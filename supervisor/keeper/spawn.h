/* spawn.h: one process, started with nothing but what it is given.
 *
 *   keeper ──fork──► child: own session and group, /dev/null as stdin, fd 3, uid and gid, no new privileges, cpu
 *      ▲                └──execveat(program)──► runs          (by fd: the new uid needn't be able to reach the path)
 *      └── a pipe that closes on exec, or brings the errno and the step that failed
 */
#ifndef VMSIG_KEEPER_SPAWN_H
#define VMSIG_KEEPER_SPAWN_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct vmsig_spawn {
    char **argv, **env; /* NULL-terminated */
    int program;        /* O_PATH or readable */
    int fd3;            /* becomes fd 3 */
    int folder;         /* working folder; -1 = the keeper's */
    uint32_t uid, gid;  /* UINT32_MAX: the keeper's own */
    int cpu;            /* -1 = not pinned */
    const sigset_t *blocked;
} vmsig_spawn;

/* The pid (its pidfd in *pidfd, the caller's), or -errno with the step that failed in step (32 bytes). Waits for exec, at
 * most 10 s. */
pid_t vmsig_spawn_process(const vmsig_spawn *s, int *pidfd, char *step);

#endif
