/* Board, epoch, fence, gauges, state: one writer, readers that trust nothing. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "rings/board.h"
#include "rings/epoch.h"
#include "rings/fence.h"
#include "rings/gauges.h"
#include "rings/shm.h"
#include "rings/state.h"

static int memory(size_t bytes) {
    int fd = vmsig_shm_create("test-page", bytes);
    cr_assert_geq(fd, 0);
    return fd;
}

Test(board, tells_readers_what_the_writer_stored) {
    int fd = memory(vmsig_board_bytes(3));
    vmsig_board *w;
    const vmsig_board *r;
    cr_assert_eq(vmsig_board_create(fd, 3, 0x1234567890ull, &w), 0);
    cr_expect_eq(vmsig_board_open(fd, &r), -EPERM, "not sealed yet");
    cr_assert_eq(vmsig_shm_seal(fd), 0);
    cr_assert_eq(vmsig_board_open(fd, &r), 0);
    cr_expect_eq(r->lineage, 0x1234567890ull);
    cr_expect_eq(r->actors_n, 3);
    vmsig_board_set_actor(w, 2, 7, VMSIG_ACTOR_READY);
    vmsig_board_set_endpoint(w, 63, 9, VMSIG_ACTOR_WAITING);
    cr_expect_eq(vmsig_board_actor(r, 2).incarnation, 7);
    cr_expect_eq(vmsig_board_actor(r, 2).state, VMSIG_ACTOR_READY);
    cr_expect_eq(vmsig_board_actor(r, 1).state, VMSIG_ACTOR_STOPPED);
    cr_expect_eq(vmsig_board_endpoint(r, 63).incarnation, 9);
    cr_expect_eq(vmsig_board_endpoint(r, 63).state, VMSIG_ACTOR_WAITING);

    vmsig_board_set_actor(w, 3, 1, VMSIG_ACTOR_READY);
    vmsig_board_set_endpoint(w, 64, 1, VMSIG_ACTOR_READY);
    cr_expect_eq(vmsig_board_actor(r, 3).incarnation, 0, "beyond the board there is nobody");
    cr_expect_eq(vmsig_board_endpoint(r, 64).incarnation, 0);
    vmsig_board_close(w);
    vmsig_board_close(r);
    close(fd);
}

Test(board, a_count_beyond_its_memory_is_refused) {
    int fd = memory(vmsig_board_bytes(3));
    vmsig_board *w;
    const vmsig_board *r;
    cr_assert_eq(vmsig_board_create(fd, 3, 1, &w), 0);
    cr_assert_eq(vmsig_shm_seal(fd), 0);
    w->actors_n = 60000;
    cr_expect_eq(vmsig_board_open(fd, &r), -EMSGSIZE);
    w->actors_n = UINT32_MAX;
    cr_expect_eq(vmsig_board_open(fd, &r), -EPROTO);
    w->actors_n = 3;
    w->layout++;
    cr_expect_eq(vmsig_board_open(fd, &r), -EPROTO, "another layout");
    w->layout--;
    w->magic++;
    cr_expect_eq(vmsig_board_open(fd, &r), -EPROTO, "no board");
    cr_expect_null(r);
    vmsig_board_close(w);
    cr_expect_eq(vmsig_board_create(fd, 10000, 1, &w), -EMSGSIZE);
    cr_expect_null(w);
    close(fd);
}

Test(board, every_state_has_a_name) {
    cr_expect_str_eq(vmsig_actor_state_name(VMSIG_ACTOR_STOPPED), "stopped");
    cr_expect_str_eq(vmsig_actor_state_name(VMSIG_ACTOR_FAILED), "failed");
    cr_expect_str_eq(vmsig_actor_state_name((vmsig_actor_state)6), "?");
}

Test(epoch, moves_on_and_keeps_its_incarnation) {
    int fd = memory(VMSIG_EPOCH_BYTES);
    vmsig_epoch_page *w;
    const vmsig_epoch_page *r;
    cr_assert_eq(vmsig_epoch_create(fd, 5, 3, 0xfffffffe, &w), 0);
    cr_assert_eq(vmsig_shm_seal(fd), 0);
    cr_expect_eq(vmsig_epoch_open(fd, 6, &r), -EPROTO, "another endpoint's");
    cr_assert_eq(vmsig_epoch_open(fd, 5, &r), 0);
    cr_expect_eq(vmsig_epoch_of(vmsig_epoch_word(r)), 0xfffffffe);
    cr_expect_eq(vmsig_epoch_advance(w), 0xffffffff);
    cr_expect_eq(vmsig_epoch_of(vmsig_epoch_word(r)), 0xffffffff);
    cr_expect_eq(vmsig_epoch_incarnation_of(vmsig_epoch_word(r)), 3);
    vmsig_epoch_close(w);
    vmsig_epoch_close(r);
    close(fd);
}

Test(fence, only_the_token_that_was_granted_passes) {
    int fd = memory(VMSIG_FENCE_BYTES);
    vmsig_fence_page *w;
    const vmsig_fence_page *r;
    cr_assert_eq(vmsig_fence_create(fd, &w), 0);
    cr_assert_eq(vmsig_shm_seal(fd), 0);
    cr_assert_eq(vmsig_fence_open(fd, &r), 0);
    cr_expect_not(vmsig_fence_allows(r, 1, VMSIG_LEASE_INPUT, 0), "nobody holds it");
    vmsig_fence_grant(w, 1, VMSIG_LEASE_INPUT, 5);
    cr_expect(vmsig_fence_allows(r, 1, VMSIG_LEASE_INPUT, 5));
    cr_expect_not(vmsig_fence_allows(r, 1, VMSIG_LEASE_INPUT, 4));
    cr_expect_not(vmsig_fence_allows(r, 1, VMSIG_LEASE_INPUT, 6));
    cr_expect_not(vmsig_fence_allows(r, 1, VMSIG_LEASE_POWER, 5));
    cr_expect_not(vmsig_fence_allows(r, 2, VMSIG_LEASE_INPUT, 5));
    vmsig_fence_raise(w, 1, VMSIG_LEASE_INPUT, 6);
    cr_expect_not(vmsig_fence_allows(r, 1, VMSIG_LEASE_INPUT, 5));
    cr_expect_not(vmsig_fence_allows(r, 1, VMSIG_LEASE_INPUT, 6), "raised is not granted");
    vmsig_fence_grant(w, 1, VMSIG_LEASE_INPUT, 6);
    cr_expect(vmsig_fence_allows(r, 1, VMSIG_LEASE_INPUT, 6));
    cr_expect_not(vmsig_fence_allows(r, 1, VMSIG_LEASE_INPUT, 6 | 1ull << 63), "no alias of it passes");
    cr_expect_not(vmsig_fence_allows(r, 64, VMSIG_LEASE_INPUT, 6));
    cr_expect_not(vmsig_fence_allows(r, 1, VMSIG_LEASE_CLASSES, 6));
    vmsig_fence_raise(w, 64, VMSIG_LEASE_INPUT, 1);
    vmsig_fence_grant(w, 0, VMSIG_LEASE_CLASSES, 1);
    cr_expect_not(vmsig_fence_allows(r, 1, VMSIG_LEASE_INPUT, 1), "what does not exist is not written");
    vmsig_fence_close(w);
    vmsig_fence_close(r);
    close(fd);
}

Test(gauges, a_link_keeps_its_place) {
    int fd = memory(vmsig_gauges_bytes(3));
    vmsig_gauges *w;
    const vmsig_gauges *r;
    uint32_t n;
    cr_assert_eq(vmsig_gauges_create(fd, 3, &w), 0);
    cr_assert_eq(vmsig_shm_seal(fd), 0);
    cr_assert_eq(vmsig_gauges_open(fd, &r, &n), 0);
    cr_expect_eq(n, 3);
    vmsig_link_gauge *a = vmsig_gauges_link(w, 4, 0), *b = vmsig_gauges_link(w, 4, 1), *c = vmsig_gauges_link(w, 5, 0);
    cr_assert(a && b && c && a != b && b != c);
    cr_expect_eq(vmsig_gauges_link(w, 4, 1), b);
    cr_expect_null(vmsig_gauges_link(w, 6, 0), "no place is left");
    c->events = 12;
    cr_expect_eq(r->links[2].events, 12);
    cr_expect_eq(r->links[2].link, 5);
    w->links_max = 4000;
    vmsig_gauges_close(r, n);
    cr_expect_eq(vmsig_gauges_open(fd, &r, &n), -EMSGSIZE, "a writer cannot make a reader look beyond the memory");
    vmsig_gauges_close(w, 3);
    close(fd);
}

Test(gauges, the_histogram_is_off_by_an_eighth_at_most) {
    static const double qs[] = {0.0, 0.5, 0.99, 0.999, 1.0};
    static vmsig_hist h;
    cr_expect_eq(vmsig_hist_quantile(&h, 0.5), 0, "empty");
    for (uint64_t v = 0; v < 8; v++) {
        memset(&h, 0, sizeof h);
        vmsig_hist_add(&h, v);
        cr_expect_eq(vmsig_hist_quantile(&h, 0.5), v);
    }
    for (unsigned shift = 0; shift < 32; shift += 3) {
        memset(&h, 0, sizeof h);
        for (uint64_t v = 1; v <= 1000; v++)
            vmsig_hist_add(&h, v << shift);
        for (size_t i = 0; i < sizeof qs / sizeof qs[0]; i++) {
            double exact = qs[i] * 1000 < 1 ? 1 : qs[i] * 1000;
            double ratio = (double)vmsig_hist_quantile(&h, qs[i]) / (exact * (double)(1ull << shift));
            cr_expect(ratio >= 0.999 && ratio <= 1.126, "shift %u q %f: %f", shift, qs[i], ratio);
        }
        cr_expect_eq(vmsig_hist_quantile(&h, 1), 1000ull << shift, "the largest is exact");
        cr_expect_eq(h.count, 1000);
    }
    memset(&h, 0, sizeof h);
    vmsig_hist_add(&h, UINT64_MAX);
    cr_expect_eq(vmsig_hist_quantile(&h, 0.5), UINT64_MAX);
}

#define KIND    3
#define VERSION 9
#define BYTES   (sizeof(vmsig_state_head) + 100)

Test(state, a_successor_finds_what_was_committed) {
    int fd = memory(BYTES);
    vmsig_state_head *s;
    bool fresh;
    cr_assert_eq(vmsig_state_open(fd, KIND, VERSION, BYTES, &s, &fresh), 0);
    cr_expect(fresh);
    vmsig_state_close(s); /* died before commit */
    cr_assert_eq(vmsig_state_open(fd, KIND, VERSION, BYTES, &s, &fresh), 0);
    cr_expect(fresh, "never set up");
    ((uint8_t *)(s + 1))[99] = 42;
    vmsig_state_commit(s, KIND, VERSION, BYTES);
    vmsig_state_close(s);
    cr_assert_eq(vmsig_state_open(fd, KIND, VERSION, BYTES, &s, &fresh), 0);
    cr_expect_not(fresh);
    cr_expect_eq(((uint8_t *)(s + 1))[99], 42);
    vmsig_state_close(s);
    cr_expect_eq(vmsig_state_open(fd, KIND + 1, VERSION, BYTES, &s, &fresh), -EPROTO);
    cr_expect_eq(vmsig_state_open(fd, KIND, VERSION + 1, BYTES, &s, &fresh), -EPROTO);
    cr_expect_eq(vmsig_state_open(fd, KIND, VERSION, BYTES - 1, &s, &fresh), -EPROTO);
    cr_expect_eq(vmsig_state_open(fd, KIND, VERSION, 1 << 20, &s, &fresh), -EMSGSIZE);
    cr_expect_null(s);
    close(fd);
}
