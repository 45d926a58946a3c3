/* nomem.so, preloaded: the n-th allocation of a process fails, n = VMSIG_NOMEM; the file VMSIG_NOMEM_MET tells that there
 * was one. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t alignment, size_t n);

static long left; /* until one fails; 0: none does (any more), or it is not known yet */
static const char *met;

static __attribute__((constructor)) void begin(void) {
    const char *n = getenv("VMSIG_NOMEM");
    met = getenv("VMSIG_NOMEM_MET");
    left = n ? strtol(n, NULL, 10) : 0;
}

static bool fails(void) {
    if (left == 0 || __atomic_sub_fetch(&left, 1, __ATOMIC_RELAXED) != 0)
        return false;
    int fd = met ? open(met, O_WRONLY | O_CREAT | O_CLOEXEC, 0666) : -1;
    if (fd >= 0)
        close(fd);
    errno = ENOMEM;
    return true;
}

void *malloc(size_t n) {
    return fails() ? NULL : __libc_malloc(n);
}
void *calloc(size_t n, size_t size) {
    return fails() ? NULL : __libc_calloc(n, size);
}
void *realloc(void *p, size_t n) {
    return fails() ? NULL : __libc_realloc(p, n);
}
void *aligned_alloc(size_t alignment, size_t n) {
    return fails() ? NULL : __libc_memalign(alignment, n);
}
