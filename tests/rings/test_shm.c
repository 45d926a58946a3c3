/* One writer per memfd, and nobody can become a second one. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rings/numa.h"
#include "rings/shm.h"

Test(shm, is_whole_pages_of_zeroes_that_cannot_change_size) {
    int fd = vmsig_shm_create("t", 5000);
    cr_assert_geq(fd, 0);
    cr_expect_eq(vmsig_shm_size(fd), 8192);
    const void *map;
    cr_assert_eq(vmsig_shm_map_ro(fd, 8192, &map), 0);
    for (int i = 0; i < 8192; i++)
        cr_assert_eq(((const char *)map)[i], 0);
    vmsig_shm_unmap(map, 8192);
    cr_expect_eq(ftruncate(fd, 4096), -1);
    cr_expect_eq(ftruncate(fd, 16384), -1);
    cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
}

Test(shm, nothing_cannot_be_created) {
    cr_expect_eq(vmsig_shm_create("t", 0), -EINVAL);
}

Test(shm, once_sealed_the_writer_goes_on_and_nobody_joins) {
    int fd = vmsig_shm_create("t", 4096);
    void *w, *again;
    const void *r;
    cr_assert_geq(fd, 0);
    cr_expect_eq(vmsig_shm_check(fd, 4096), -EPERM, "not sealed yet");
    cr_assert_eq(vmsig_shm_map_rw(fd, 4096, &w), 0);
    cr_assert_eq(vmsig_shm_seal(fd), 0);
    cr_expect_eq(vmsig_shm_check(fd, 4096), 0);
    cr_expect_eq(vmsig_shm_check(fd, 4097), -EMSGSIZE);
    cr_assert_eq(vmsig_shm_map_ro(fd, 4096, &r), 0);
    *(char *)w = 'x';
    cr_expect_eq(*(const char *)r, 'x');

    cr_expect_eq(vmsig_shm_map_rw(fd, 4096, &again), -EPERM);
    cr_expect_eq(mprotect((void *)(uintptr_t)r, 4096, PROT_READ | PROT_WRITE), -1, "a reader cannot become a writer");
    cr_expect_eq(write(fd, "y", 1), -1);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int reopened = open(path, O_RDWR | O_CLOEXEC);
    if (reopened >= 0) {
        cr_expect_eq(vmsig_shm_map_rw(reopened, 4096, &again), -EPERM);
        close(reopened);
    }
    cr_expect_eq(vmsig_shm_seal(fd), -EPERM, "no seal can be added");
    vmsig_shm_unmap(w, 4096);
    vmsig_shm_unmap(r, 4096);
    cr_expect_eq(vmsig_shm_map_rw(fd, 4096, &again), -EPERM, "not when the writer has gone either");
    close(fd);
}

Test(shm, what_is_no_memfd_is_not_sealed) {
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    cr_expect_eq(vmsig_shm_check(fd, 1), -EPERM);
    close(fd);
    cr_expect_eq(vmsig_shm_check(fd, 1), -EBADF);
}

Test(numa, one_node_is_nothing_to_do) {
    int fd = vmsig_shm_create("t", 4096);
    void *map;
    cr_assert_eq(vmsig_shm_map_rw(fd, 4096, &map), 0);
    int nodes = vmsig_numa_nodes(), node = vmsig_numa_node_of(0);
    cr_expect_geq(nodes, 1);
    cr_expect_geq(node, 0);
    cr_expect_eq(vmsig_numa_place(map, 4096, node), nodes > 1 ? 1 : 0);
    cr_expect_eq(vmsig_numa_place(map, 4096, 100000), -EINVAL);
    cr_expect_eq(vmsig_numa_node_of(-1), -EINVAL);
    cr_expect_eq(vmsig_numa_node_of(1 << 20), -EINVAL);
    vmsig_shm_unmap(map, 4096);
    close(fd);
}
