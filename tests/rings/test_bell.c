#include <criterion/criterion.h>
#include <poll.h>
#include <unistd.h>

#include "rings/bell.h"

static int readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0);
}

Test(bell, is_silent_until_rung_and_after_clear) {
    int bell = vmsig_bell_create();
    cr_assert_geq(bell, 0);
    cr_expect_eq(readable(bell), 0);
    vmsig_bell_ring(bell);
    vmsig_bell_ring(bell);
    cr_expect_eq(readable(bell), 1);
    vmsig_bell_clear(bell);
    cr_expect_eq(readable(bell), 0);
    close(bell);
}
