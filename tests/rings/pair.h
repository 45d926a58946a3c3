/* pair.h: both sides of one ring in one process, for the tests. */
#ifndef TEST_PAIR_H
#define TEST_PAIR_H

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "rings/ring.h"
#include "rings/shm.h"

#define PAIR_LINK 7u

typedef struct pair {
    int ring_fd, reader_fd;
    vmsig_ring_out out;
    vmsig_ring_in in;
} pair;

/* A ring memfd whose writer has mapped it and which is sealed. */
static inline int pair_ring(vmsig_ring_out *out, uint32_t generation, uint32_t slots, uint64_t arena, uint64_t base,
                            uint64_t arena_base) {
    int fd = vmsig_shm_create("test-ring", vmsig_ring_bytes(slots, arena));
    cr_assert_geq(fd, 0);
    cr_assert_eq(vmsig_ring_out_create(out, fd, PAIR_LINK, generation, slots, arena, base, arena_base), 0);
    cr_assert_eq(vmsig_shm_seal(fd), 0);
    return fd;
}

static inline int pair_reader(vmsig_ring_in *in, uint64_t cursor, uint64_t arena_cursor) {
    int fd = vmsig_shm_create("test-reader", VMSIG_READER_BYTES);
    cr_assert_geq(fd, 0);
    cr_assert_eq(vmsig_ring_in_create(in, fd, cursor, arena_cursor), 0);
    cr_assert_eq(vmsig_shm_seal(fd), 0);
    return fd;
}

static inline void pair_open_at(pair *p, uint32_t slots, uint64_t arena, uint64_t base) {
    memset(p, 0, sizeof *p);
    p->ring_fd = pair_ring(&p->out, 1, slots, arena, base, 0);
    p->reader_fd = pair_reader(&p->in, base, 0);
    cr_assert_eq(vmsig_ring_out_peer(&p->out, p->reader_fd), 0);
    cr_assert_eq(vmsig_ring_in_peer(&p->in, p->ring_fd, PAIR_LINK), 0);
}

static inline void pair_open(pair *p, uint32_t slots, uint64_t arena) {
    pair_open_at(p, slots, arena, 0);
}

static inline void pair_close(pair *p) {
    vmsig_ring_out_close(&p->out);
    vmsig_ring_in_close(&p->in);
    close(p->ring_fd);
    close(p->reader_fd);
}

/* An event numbered n, with a body of len bytes that tells n too. */
static inline vmsig_event pair_event(uint64_t n, uint32_t len) {
    vmsig_event ev = {.seq = n, .ts_ns = n * 3, .kind = 70, .source = 9, .merged = 1, .inln_len = len};
    for (uint32_t i = 0; i < len; i++)
        ev.inln[i] = (uint8_t)(n * 7 + i);
    return ev;
}

static inline int pair_put(pair *p, uint64_t n, uint32_t len) {
    vmsig_event ev = pair_event(n, len);
    return vmsig_ring_put_event(&p->out, &ev);
}

/* Takes the next event, which must be that of pair_event(n, len). */
static inline void pair_expect(pair *p, uint64_t n, uint32_t len) {
    vmsig_event got, want = pair_event(n, len);
    cr_assert_not_null(vmsig_ring_peek(&p->in), "event %lu is missing", (unsigned long)n);
    cr_assert_eq(vmsig_ring_get_event(&p->in, &got), 0);
    cr_assert_eq(got.seq, want.seq, "got %lu, want %lu", (unsigned long)got.seq, (unsigned long)n);
    cr_assert_eq(memcmp(&got, &want, sizeof got), 0, "event %lu differs", (unsigned long)n);
    vmsig_ring_advance(&p->in);
}

#endif
