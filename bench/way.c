#include "bench/way.h"

#include <poll.h>
#include <unistd.h>

#include "rings/shm.h"

void bench_way_open(bench_way *w, uint32_t slots, uint64_t arena) {
    *w = (bench_way){.ring_fd = vmsig_shm_create("vmsig-bench-ring", vmsig_ring_bytes(slots, arena)),
                     .reader_fd = vmsig_shm_create("vmsig-bench-reader", VMSIG_READER_BYTES),
                     .data_bell = vmsig_bell_create(),
                     .room_bell = vmsig_bell_create()};
    if (w->ring_fd < 0 || w->reader_fd < 0 || w->data_bell < 0 || w->room_bell < 0)
        bench_fail("no memory for a ring");
    if (vmsig_ring_out_create(&w->out, w->ring_fd, 1, 1, slots, arena, 0, 0) != 0 ||
        vmsig_ring_in_create(&w->in, w->reader_fd, 0, 0) != 0 || vmsig_shm_seal(w->ring_fd) != 0 ||
        vmsig_shm_seal(w->reader_fd) != 0 || vmsig_ring_out_peer(&w->out, w->reader_fd) != 0 ||
        vmsig_ring_in_peer(&w->in, w->ring_fd, 1) != 0)
        bench_fail("a ring could not be set up");
}

void bench_way_sleepless(bench_way *w) {
    vmsig_ring_in_sleepless(&w->in);
    if (vmsig_ring_out_peer(&w->out, w->reader_fd) != 0)
        bench_fail("a ring could not be set up");
}

void bench_way_close(bench_way *w) {
    vmsig_ring_out_close(&w->out);
    vmsig_ring_in_close(&w->in);
    close(w->ring_fd);
    close(w->reader_fd);
    close(w->data_bell);
    close(w->room_bell);
}

void bench_bell_wait(int bell) {
    struct pollfd p = {.fd = bell, .events = POLLIN};
    if (poll(&p, 1, 10000) == 0)
        bench_fail("no event came for 10 s");
    vmsig_bell_clear(bell);
}

const vmsig_slot *bench_way_wait(bench_way *w, uint64_t look_on) {
    const vmsig_slot *s;
    uint64_t since = look_on == BENCH_SPIN || look_on == BENCH_BLOCK ? 0 : bench_ticks();
    while ((s = vmsig_ring_peek(&w->in)) == NULL) {
        if (look_on == BENCH_SPIN || (look_on != BENCH_BLOCK && bench_ticks() - since < look_on)) {
            vmsig_pause();
        } else if (!vmsig_ring_sleep(&w->in)) {
            bench_bell_wait(w->data_bell);
            vmsig_ring_wake(&w->in);
        }
    }
    return s;
}
