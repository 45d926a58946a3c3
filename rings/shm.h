/* shm.h: the memfd under every shared-memory object.
 *
 * Each memfd has one writer and lives for one incarnation of it:
 *   supervisor: create (allocated in full, size sealed) ──► writer: map_rw, says so ──► supervisor: seal
 *   (FUTURE_WRITE, SEAL) ──► readers: check, map_ro
 * Pages are allocated at creation, so nobody meets SIGBUS. The one exception is a state page, which each incarnation of
 * its actor maps anew and which is shared with nobody: it is never sealed against writing.
 *
 * Errors: 0 or negative errno.
 */
#ifndef VMSIG_SHM_H
#define VMSIG_SHM_H

#include <stddef.h>

/* A memfd of `bytes`, rounded up to pages, zeroed, CLOEXEC, size sealed; `name` is for /proc. The fd or -errno. */
int vmsig_shm_create(const char *name, size_t bytes);
/* Forbids every new writable mapping; those that exist go on. */
int vmsig_shm_seal(int fd);
/* -EPERM: the memfd is not sealed as vmsig_shm_seal leaves it; -EMSGSIZE: smaller than bytes. */
int vmsig_shm_check(int fd, size_t bytes);
/* The size of the memfd, or -errno. */
long long vmsig_shm_size(int fd);

/* -EMSGSIZE: the memfd is smaller than bytes. Populated at once, so that the event path meets no page fault either. */
int vmsig_shm_map_rw(int fd, size_t bytes, void **out);
int vmsig_shm_map_ro(int fd, size_t bytes, const void **out);
/* Not populated: to map 16 MB takes 3 ms otherwise, and as much again to unmap them at the process's death. */
int vmsig_shm_map_lazy(int fd, size_t bytes, void **out);
/* Of such a mapping, later. */
int vmsig_shm_populate(void *map, size_t bytes);
void vmsig_shm_unmap(const void *map, size_t bytes);

#endif
