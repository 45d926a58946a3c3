/* One ring: order, wrap, room, arena. */
#include <errno.h>
#include <stdlib.h>

#include "pair.h"

Test(ring, sizes_are_powers_of_two) {
    cr_expect_eq(vmsig_ring_bytes(8, 0), 4096 + 8 * 64);
    cr_expect_eq(vmsig_ring_bytes(1024, 4096), 4096 + 1024 * 64 + 4096);
    cr_expect_eq(vmsig_ring_bytes(4, 0), 0);
    cr_expect_eq(vmsig_ring_bytes(12, 0), 0);
    cr_expect_eq(vmsig_ring_bytes(VMSIG_RING_SLOTS_MAX * 2, 0), 0);
    cr_expect_eq(vmsig_ring_bytes(8, 2048), 0);
    cr_expect_eq(vmsig_ring_bytes(8, 4096 + 64), 0);
}

Test(ring, an_empty_ring_gives_nothing) {
    pair p;
    pair_open(&p, 8, 0);
    cr_expect_null(vmsig_ring_peek(&p.in));
    cr_expect_eq(p.in.poisoned, 0);
    vmsig_ring_advance(&p.in);
    cr_expect_eq(p.in.cursor, 0, "advance without an event moves nothing");
    pair_close(&p);
}

Test(ring, one_by_one_and_in_order_over_many_laps) {
    static const uint32_t lens[] = {0, 24, 25, 80, 81, 112, 1, 8};
    pair p;
    pair_open_at(&p, 16, 0, 5);
    uint64_t put = 0, got = 0;
    while (got < 20000) {
        while (pair_put(&p, put, lens[put % 8]) == 0)
            put++;
        cr_assert_geq(put - got, 5);
        for (uint64_t take = 1 + got % 7; take > 0 && got < put; take--, got++)
            pair_expect(&p, got, lens[got % 8]);
        vmsig_ring_release(&p.in);
    }
    pair_close(&p);
}

Test(ring, a_multi_slot_event_lies_across_the_end) {
    for (uint64_t base = 0; base < 8; base++) {
        pair p;
        pair_open_at(&p, 8, 0, base);
        cr_assert_eq(pair_put(&p, 1, 112), 0);
        cr_assert_eq(pair_put(&p, 2, 112), 0);
        cr_assert_eq(pair_put(&p, 3, 80), 0);
        cr_assert_eq(pair_put(&p, 4, 0), -EAGAIN);
        pair_expect(&p, 1, 112);
        pair_expect(&p, 2, 112);
        pair_expect(&p, 3, 80);
        cr_expect_null(vmsig_ring_peek(&p.in));
        pair_close(&p);
    }
}

Test(ring, built_in_place) {
    pair p;
    pair_open(&p, 8, 0);
    for (uint32_t i = 0; i < 8; i++) {
        vmsig_slot *s = vmsig_ring_next(&p.out);
        cr_assert_not_null(s);
        *s = (vmsig_slot){.turn = s->turn, .corr_merged = 1, .seq_lo = i, .kind = 64, .origin = vmsig_origin(3, i)};
        if (i == 0)
            cr_assert_null(vmsig_ring_peek(&p.in), "not published yet");
        vmsig_ring_publish1(&p.out);
    }
    cr_expect_null(vmsig_ring_next(&p.out), "full");
    for (uint32_t i = 0; i < 8; i++) {
        const vmsig_slot *s = vmsig_ring_peek(&p.in);
        cr_assert_not_null(s);
        cr_expect_eq(s->seq_lo, i);
        cr_expect_eq(s->origin, vmsig_origin(3, i));
        vmsig_ring_advance(&p.in);
    }
    cr_expect_null(vmsig_ring_peek(&p.in));
    cr_expect_null(vmsig_ring_next(&p.out), "the shared cursor has not moved yet");
    vmsig_ring_release(&p.in);
    cr_expect_not_null(vmsig_ring_next(&p.out));
    pair_close(&p);
}

Test(ring, room_is_what_the_consumer_released) {
    pair p;
    pair_open(&p, 8, 0);
    cr_expect_eq(vmsig_ring_room(&p.out, 1), 8);
    cr_expect_eq(pair_put(&p, 0, 112), 0);
    cr_expect_eq(vmsig_ring_room(&p.out, 8), 5);
    pair_expect(&p, 0, 112);
    cr_expect_eq(vmsig_ring_room(&p.out, 8), 5);
    vmsig_ring_release(&p.in);
    cr_expect_eq(vmsig_ring_room(&p.out, 5), 5, "the cached one suffices");
    cr_expect_eq(vmsig_ring_room(&p.out, 8), 8);
    pair_close(&p);
}

Test(ring, without_a_consumer_there_is_room_for_one_lap) {
    vmsig_ring_out out;
    int fd = pair_ring(&out, 1, 8, 0, 100, 0);
    vmsig_event ev = pair_event(1, 0);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(vmsig_ring_put_event(&out, &ev), 0);
    cr_expect_eq(vmsig_ring_put_event(&out, &ev), -EAGAIN);
    cr_expect_eq(vmsig_ring_flush(&out), 0);
    vmsig_ring_out_close(&out);
    close(fd);
}

/* ---- payloads ---------------------------------------------------------------------------------------- */

static int put_payload(pair *p, uint64_t n, uint32_t len) {
    uint8_t *body = malloc(len);
    vmsig_event ev = pair_event(n, 10);
    ev.payload = body;
    ev.payload_len = len;
    for (uint32_t i = 0; i < len; i++)
        body[i] = (uint8_t)(n + i);
    int err = vmsig_ring_put_event(&p->out, &ev);
    free(body);
    return err;
}

static void expect_payload(pair *p, uint64_t n, uint32_t len) {
    vmsig_event got;
    cr_assert_not_null(vmsig_ring_peek(&p->in));
    cr_assert_eq(vmsig_ring_get_event(&p->in, &got), 0);
    cr_assert_eq(got.seq, n);
    cr_assert_eq(got.payload_len, len);
    for (uint32_t i = 0; i < len; i++)
        cr_assert_eq(((uint8_t *)got.payload)[i], (uint8_t)(n + i));
    free(got.payload);
    vmsig_ring_advance(&p->in);
}

Test(arena, payloads_of_all_sizes_pass_over_many_laps) {
    pair p;
    pair_open(&p, 64, 4096);
    uint64_t put = 0, got = 0;
    uint32_t len[4096];
    srand(1);
    for (int i = 0; i < 4096; i++)
        len[i] = (uint32_t)(rand() % 10 == 0 ? 4096 : 1 + rand() % 1500);
    while (got < 4096) {
        while (put < 4096 && put_payload(&p, put, len[put]) == 0)
            put++;
        cr_assert_gt(put, got, "an empty arena takes any body, wherever it stands");
        for (unsigned take = 1 + (unsigned)rand() % 3; take > 0 && got < put; take--, got++)
            expect_payload(&p, got, len[got]);
        vmsig_ring_release(&p.in);
    }
    pair_close(&p);
}

Test(arena, a_body_that_never_fits_is_told_from_one_that_must_wait) {
    pair p;
    pair_open(&p, 8, 4096);
    cr_expect_eq(put_payload(&p, 1, 4097), -EMSGSIZE);
    cr_expect_eq(put_payload(&p, 1, 4096), 0);
    cr_expect_eq(put_payload(&p, 2, 1), -EAGAIN);
    expect_payload(&p, 1, 4096);
    cr_expect_eq(put_payload(&p, 2, 1), -EAGAIN, "not released yet");
    vmsig_ring_release(&p.in);
    cr_expect_eq(put_payload(&p, 2, 1), 0);
    expect_payload(&p, 2, 1);
    pair_close(&p);
    pair_open(&p, 8, 0);
    cr_expect_eq(put_payload(&p, 1, 1), -EMSGSIZE, "no arena");
    pair_close(&p);
}

Test(arena, a_body_that_was_not_published_leaks_nothing) {
    pair p;
    pair_open(&p, 8, 4096);
    for (uint64_t i = 0; i < 6; i++)
        cr_assert_eq(pair_put(&p, i, 0), 0);
    for (int i = 0; i < 100; i++) {
        vmsig_body_ref ref;
        cr_assert_eq(vmsig_ring_put_body(&p.out, "body", 4, &ref), 0);
        cr_assert_eq(ref.pos, 0);
        cr_assert_eq(ref.arena, PAIR_LINK);
    }
    pair_close(&p);
}

Test(arena, bodies_start_at_multiples_of_16_and_are_read_in_place) {
    pair p;
    pair_open(&p, 8, 4096);
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(put_payload(&p, i, 5), 0);
    for (uint64_t i = 0; i < 3; i++) {
        vmsig_image img;
        uint32_t len;
        cr_assert_not_null(vmsig_ring_peek(&p.in));
        cr_assert_eq(vmsig_ring_copy(&p.in, &img), 2);
        const void *body = vmsig_ring_body(&p.in, &img, &len);
        cr_assert_eq((uintptr_t)body % 16, 0);
        cr_assert_eq(body, p.in.chain[0].arena + 16 * i);
        cr_assert_eq(len, 5);
        vmsig_ring_advance(&p.in);
    }
    pair_close(&p);
}

/* A consumer that died between storing its two cursors leaves the arena's behind: nobody waits for it for ever. */
Test(arena, is_free_when_all_is_consumed_though_its_cursor_lags) {
    pair p;
    pair_open(&p, 8, 4096);
    cr_assert_eq(put_payload(&p, 1, 4000), 0);
    expect_payload(&p, 1, 4000);
    p.in.reader->cursor = p.in.cursor; /* and there it died */
    cr_expect_eq(put_payload(&p, 2, 4096), 0);
    expect_payload(&p, 2, 4096);
    pair_close(&p);
}
