/* keeper.h: the root keeper: what must outlive the supervisor. It forks actors and the supervisor, shelves fds, reaps;
 * it parses nothing but the fixed struct below, and is every orphan's parent (subreaper).
 *
 *   vmsig up ──► keeper ──fork, exec──► supervisor ──SPAWN, SHELVE, DROP──► keeper
 *                  │ └──fork, exec──► actors              ◄──SHELF…, SPAWNED, EXITED──
 *
 * Another program takes the place of the supervisor's on the way of its death: it has a while for it (UPGRADE, TAKEN);
 * if it ends before, or does not take over in time, the former program is started again. What a supervisor is started
 * from is held open: a file that is replaced does not change it.
 *
 * A new supervisor is first sent the whole shelf (SHELF, one frame an entry, newest state of each), then the processes
 * that live (SPAWNED) and those whose end was not acknowledged (EXITED), then END. After the death of an actor's leader
 * its whole process group is killed before it is reaped.
 *
 * The supervisor's end: exit code = a decision: the keeper stops what is left, in order, and exits with it. A signal =
 * a crash: the keeper starts it again (at once, then with back-off). The keeper's own death: the supervisor sees EOF
 * and stops in order; of both: the actors see EOF on their boot sockets and do so themselves.
 *
 * SOCK_SEQPACKET on fd KEEPER_FD of the supervisor; one struct per frame, `len` bytes of blob after it, fds beside it.
 */
#ifndef VMSIG_KEEPER_H
#define VMSIG_KEEPER_H

#include <stdint.h>

#define VMSIG_KEEPER_WIRE     2 /* of this file; a supervisor of another is refused */
#define VMSIG_KEEPER_FD       3
#define VMSIG_KEEPER_FDS      16
#define VMSIG_KEEPER_BLOB_MAX 49152u

typedef enum vmsig_keeper_op {
    /* to the keeper */
    VMSIG_KEEPER_SPAWN = 1,  /* key, uid, gid, cpu; blob: argv then env, NUL-separated, argc in `arg`; fds: program
                                (O_PATH or readable), boot socket (becomes fd 3) [, working folder] */
    VMSIG_KEEPER_SHELVE = 2, /* key; blob; fds: replaces the entry of that key */
    VMSIG_KEEPER_DROP = 3,   /* key */
    VMSIG_KEEPER_SEEN = 4,   /* key: the end of that process was handled */
    VMSIG_KEEPER_UPGRADE =
        5,                  /* key: its number; ms: for TAKEN; blob: the next supervisor's argv, `arg` strings; fd: its
                                 program (O_PATH). The present one is killed. */
    VMSIG_KEEPER_TAKEN = 6, /* what the former supervisor left is taken over */
    /* from the keeper */
    VMSIG_KEEPER_SPAWNED = 16, /* key, pid; fd: pidfd; pid 0: `arg` is the errno and blob the step that failed */
    VMSIG_KEEPER_EXITED = 17,  /* key, pid, arg: wait status */
    VMSIG_KEEPER_SHELF = 18,   /* key; blob; fds */
    VMSIG_KEEPER_END = 19      /* of what a new supervisor is told; arg: how many supervisors there were before it; key:
                                  the last upgrade's number, 0 = there was none; blob: why that failed, "" = it did not;
                                  ms: > 0: it is the upgrade itself, and has so long for TAKEN */
} vmsig_keeper_op;

typedef struct vmsig_keeper_msg {
    uint32_t op; /* vmsig_keeper_op */
    uint32_t arg;
    uint64_t key;
    int32_t pid;
    uint32_t uid, gid; /* UINT32_MAX: as the keeper's own */
    int32_t cpu;       /* -1 = not pinned */
    uint32_t len;      /* bytes of blob that follow */
    uint32_t ms;
} vmsig_keeper_msg;

/* The keeper's main: runs supervisor_argv (argv[0] an absolute path) until it decides to end; its exit code. */
int vmsig_keeper_main(char *const supervisor_argv[]);

/* Both ends use these: 0 or -errno; recv: 1, or 0 at EOF. fds are CLOEXEC and the caller's. */
int vmsig_keeper_send(int sock, const vmsig_keeper_msg *m, const void *blob, const int *fds, int nfds);
int vmsig_keeper_recv(int sock, vmsig_keeper_msg *m, void *blob, int *fds, int *nfds);

#endif
