#include "rings/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u /* Linux 6.3 */
#endif

#define SEALS_SIZE  (F_SEAL_SHRINK | F_SEAL_GROW)
#define SEALS_WRITE (F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)

int vmsig_shm_create(const char *name, size_t bytes) {
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    if (bytes == 0)
        return -EINVAL;
    int fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* a kernel that does not know the flag */
        fd = memfd_create(name, flags);
    if (fd < 0)
        return -errno;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = (bytes + page - 1) & ~(page - 1);
    int err = 0;
    while (fallocate(fd, 0, 0, (off_t)size) < 0) {
        if (errno == EINTR)
            continue;
        err = errno;
        break;
    }
    if (err == 0 && fcntl(fd, F_ADD_SEALS, SEALS_SIZE) < 0)
        err = errno;
    if (err == 0)
        return fd;
    close(fd);
    return -err;
}

int vmsig_shm_seal(int fd) {
    return fcntl(fd, F_ADD_SEALS, SEALS_WRITE) < 0 ? -errno : 0;
}

int vmsig_shm_check(int fd, size_t bytes) {
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0) /* EINVAL: no memfd at all */
        return errno == EINVAL ? -EPERM : -errno;
    if ((seals & (SEALS_SIZE | SEALS_WRITE)) != (SEALS_SIZE | SEALS_WRITE))
        return -EPERM;
    long long size = vmsig_shm_size(fd);
    if (size < 0)
        return (int)size;
    return (unsigned long long)size < bytes ? -EMSGSIZE : 0;
}

long long vmsig_shm_size(int fd) {
    struct stat st;
    return fstat(fd, &st) < 0 ? -errno : (long long)st.st_size;
}

static int map(int fd, size_t bytes, int prot, int populate, void **out) {
    long long size = vmsig_shm_size(fd);
    if (size < 0)
        return (int)size;
    if ((unsigned long long)size < bytes)
        return -EMSGSIZE; /* what lies beyond the end would be SIGBUS */
    void *p = mmap(NULL, bytes, prot, MAP_SHARED | populate, fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    *out = p;
    return 0;
}

int vmsig_shm_map_rw(int fd, size_t bytes, void **out) {
    return map(fd, bytes, PROT_READ | PROT_WRITE, MAP_POPULATE, out);
}

int vmsig_shm_map_lazy(int fd, size_t bytes, void **out) {
    return map(fd, bytes, PROT_READ | PROT_WRITE, 0, out);
}

int vmsig_shm_populate(void *p, size_t bytes) {
    return madvise(p, bytes, MADV_POPULATE_WRITE) < 0 ? -errno : 0;
}

int vmsig_shm_map_ro(int fd, size_t bytes, const void **out) {
    void *p = NULL;
    int err = map(fd, bytes, PROT_READ, MAP_POPULATE, &p);
    if (err == 0)
        *out = p;
    return err;
}

void vmsig_shm_unmap(const void *p, size_t bytes) {
    if (p != NULL)
        munmap((void *)(uintptr_t)p, bytes);
}
