/* A machine of two memory nodes, behind libnuma's calls: CPU 0 is on node 1, every other on node 0. What would be moved
 * is written to the file that FAKE_NUMA names, a line each: node, policy, flags, bytes, and the memfd's name; with
 * FAKE_NUMA_FAILS, moving fails.
 *   LD_PRELOAD=fake_numa.so FAKE_NUMA=moved vmsig up ...
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <numa.h>
#include <numaif.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int numa_available(void) {
    return 0;
}
int numa_num_configured_nodes(void) {
    return 2;
}
int numa_max_node(void) {
    return 1;
}
int numa_node_of_cpu(int cpu) {
    return cpu == 0;
}
struct bitmask *numa_allocate_nodemask(void) {
    struct bitmask *b = calloc(1, sizeof *b);
    if (b != NULL)
        b->maskp = calloc(1, sizeof *b->maskp);
    if (b != NULL)
        b->size = 64;
    return b;
}
struct bitmask *numa_bitmask_setbit(struct bitmask *b, unsigned n) {
    b->maskp[0] |= 1ul << n;
    return b;
}
void numa_bitmask_free(struct bitmask *b) {
    free(b->maskp);
    free(b);
}

/* Whose mapping begins there. */
static void name_of(const void *at, char *name, size_t len) {
    char line[512];
    snprintf(name, len, "?");
    FILE *f = fopen("/proc/self/maps", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        char *memfd = strstr(line, "/memfd:");
        if (memfd == NULL || strtoul(line, NULL, 16) != (unsigned long)at)
            continue;
        memfd[strcspn(memfd, "(\n")] = '\0';
        snprintf(name, len, "%s", memfd + 7);
    }
    if (f != NULL)
        fclose(f);
}

long mbind(void *at, unsigned long bytes, int mode, const unsigned long *nodes, unsigned long max, unsigned flags) {
    char name[128], text[256];
    const char *path = getenv("FAKE_NUMA");
    (void)max;
    if (getenv("FAKE_NUMA_FAILS") != NULL) {
        errno = EIO;
        return -1;
    }
    name_of(at, name, sizeof name);
    int n = snprintf(text, sizeof text, "%d %d %u %lu %s\n", __builtin_ctzl(*nodes), mode, flags, bytes, name);
    int fd = path != NULL ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (fd < 0 || write(fd, text, (size_t)n) != n)
        abort();
    close(fd);
    return 0;
}
