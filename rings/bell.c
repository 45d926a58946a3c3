#include "rings/bell.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int vmsig_bell_create(void) {
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

void vmsig_bell_ring(int bell) {
    uint64_t one = 1;
    /* EAGAIN means that the counter is full: the bell is ringing already. */
    while (write(bell, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

void vmsig_bell_clear(int bell) {
    uint64_t count;
    while (read(bell, &count, sizeof count) < 0 && errno == EINTR) {
    }
}
