/* What a dead side leaves behind, and what a hostile one can do. The memory is written here as the dead or hostile
 * process would have written it, through the producer's own mapping. */
#include <errno.h>
#include <stdlib.h>

#include "pair.h"

/* ---- where a ring ends ------------------------------------------------------------------------------- */

static vmsig_ring_end end_of(const pair *p) {
    vmsig_ring_end end;
    cr_assert_eq(vmsig_ring_find_end(p->ring_fd, p->reader_fd, &end), 0);
    return end;
}

Test(ring_end, is_the_tail_whatever_was_put_taken_and_released) {
    static const uint32_t lens[] = {0, 112, 24, 80, 25};
    for (uint64_t base = 0; base < 20; base += 3)
        for (int taken = 0; taken <= 200; taken += 7)
            for (int release = 0; release < 2; release++) {
                pair p;
                uint64_t n = 0, got = 0;
                pair_open_at(&p, 16, 0, base);
                for (; got < (uint64_t)taken; got++) {
                    while (pair_put(&p, n, lens[n % 5]) == 0)
                        n++;
                    pair_expect(&p, got, lens[got % 5]);
                    if (got % 3 == 0 || release)
                        vmsig_ring_release(&p.in);
                }
                vmsig_ring_end end = end_of(&p);
                cr_assert_eq(end.tail, p.out.tail, "base %lu taken %d", (unsigned long)base, taken);
                cr_assert_eq(end.generation, 1);
                cr_assert_eq(end.n, n == 0 ? 0 : 1 + (lens[(n - 1) % 5] > 24) + (lens[(n - 1) % 5] > 80));
                if (n > 0)
                    cr_assert_eq(end.last.s[0].seq_lo, n - 1);
                pair_close(&p);
            }
}

/* A relay learns from the last event how far it had come: also when the consumer was quicker than its death. */
Test(ring_end, the_last_event_is_known_even_if_it_is_consumed) {
    static const uint32_t lens[] = {3, 60, 112};
    for (int i = 0; i < 3; i++) {
        pair p;
        pair_open(&p, 8, 0);
        for (uint64_t n = 0; n < 5; n++) {
            cr_assert_eq(pair_put(&p, n, lens[i]), 0);
            pair_expect(&p, n, lens[i]);
            vmsig_ring_release(&p.in);
        }
        vmsig_ring_end end = end_of(&p);
        cr_assert_eq(end.tail, p.out.tail);
        cr_assert_eq(end.n, i + 1);
        cr_assert_eq(end.last.s[0].seq_lo, 4);
        pair_close(&p);
    }
}

/* Killed between the stores of an event of three slots: the bodies, the continuations' turns, then the head's. */
Test(ring_end, a_torn_event_was_never_published) {
    for (uint64_t before = 0; before < 12; before++)
        for (int stores = 0; stores <= 3; stores++) {
            pair p;
            pair_open(&p, 8, 0);
            for (uint64_t n = 0; n < before; n++) {
                cr_assert_eq(pair_put(&p, n, 0), 0);
                pair_expect(&p, n, 0);
                vmsig_ring_release(&p.in);
            }
            const uint64_t q = p.out.tail;
            for (int i = 2; i > 2 - stores && i >= 0; i--) {
                vmsig_slot *s = &p.out.slots[(q + (uint64_t)i) & p.out.mask];
                memset(&s->ts_ns, 0, 56);
                if (i > 0)
                    s->turn = (q + (uint64_t)i + 1) | VMSIG_TURN_MORE;
            }
            vmsig_ring_end end = end_of(&p);
            cr_assert_eq(end.tail, q);
            cr_assert_eq(end.n, before > 0 ? 1 : 0);
            cr_assert_null(vmsig_ring_peek(&p.in));
            cr_assert_eq(p.in.poisoned, 0, "a torn event is no nonsense");
            pair_close(&p);
        }
}

Test(ring_end, of_a_full_ring_is_one_lap_on) {
    pair p;
    pair_open_at(&p, 8, 0, 3);
    for (uint64_t n = 0; n < 8; n++)
        cr_assert_eq(pair_put(&p, n, 0), 0);
    cr_expect_eq(end_of(&p).tail, 11);
    vmsig_ring_end end;
    cr_assert_eq(vmsig_ring_find_end(p.ring_fd, -1, &end), 0);
    cr_expect_eq(end.tail, 11, "without a consumer: from base");
    pair_close(&p);
}

Test(ring_end, a_cursor_that_is_not_this_rings_is_refused) {
    pair p;
    vmsig_ring_end end;
    pair_open(&p, 8, 4096);
    for (uint64_t n = 0; n < 20; n++) {
        cr_assert_eq(pair_put(&p, n, 0), 0);
        pair_expect(&p, n, 0);
        vmsig_ring_release(&p.in);
    }
    p.in.reader->cursor = 21;
    cr_expect_eq(vmsig_ring_find_end(p.ring_fd, p.reader_fd, &end), -EPROTO, "beyond the tail");
    p.in.reader->cursor = 5;
    cr_expect_eq(vmsig_ring_find_end(p.ring_fd, p.reader_fd, &end), -EPROTO, "long overwritten");
    p.in.reader->cursor = 20;
    p.in.reader->arena_cursor = 1ull << 50;
    cr_expect_eq(vmsig_ring_find_end(p.ring_fd, p.reader_fd, &end), -EPROTO, "an arena cursor from nowhere");
    p.in.reader->arena_cursor = 0;
    cr_expect_eq(vmsig_ring_find_end(p.ring_fd, p.reader_fd, &end), 0);
    p.out.head->magic = 0;
    cr_expect_eq(vmsig_ring_find_end(p.ring_fd, p.reader_fd, &end), -EPROTO, "never set up");
    pair_close(&p);
}

/* ---- incarnations ------------------------------------------------------------------------------------ */

/* The producer dies; its successor begins where it ended. */
static void succeed(pair *p, uint32_t generation) {
    vmsig_ring_end end = end_of(p);
    uint32_t slots = p->out.mask + 1;
    uint64_t arena = p->out.head->arena_bytes;
    vmsig_ring_out_close(&p->out);
    close(p->ring_fd);
    p->ring_fd = pair_ring(&p->out, generation, slots, arena, end.tail, end.arena_tail);
    cr_assert_eq(vmsig_ring_out_peer(&p->out, p->reader_fd), 0);
    cr_assert_eq(vmsig_ring_in_peer(&p->in, p->ring_fd, PAIR_LINK), 0);
}

Test(ring_chain, incarnations_are_drained_one_after_the_other) {
    pair p;
    uint64_t put = 0, got = 0;
    pair_open(&p, 8, 0);
    for (uint32_t generation = 2; generation < 60; generation++) {
        for (uint32_t i = generation % 4; i > 0; i--) /* some publish nothing at all */
            cr_assert_eq(pair_put(&p, put++, 40), 0);
        if (p.in.chained >= VMSIG_RING_CHAIN - 1 || generation % 5 == 0)
            while (got < put)
                pair_expect(&p, got++, 40);
        vmsig_ring_release(&p.in);
        succeed(&p, generation);
    }
    while (got < put)
        pair_expect(&p, got++, 40);
    cr_expect_null(vmsig_ring_peek(&p.in));
    cr_expect_eq(p.in.poisoned, 0);
    cr_expect_eq(p.in.chained, 1);
    pair_close(&p);
}

Test(ring_chain, is_bounded_and_knows_its_members) {
    pair p;
    pair_open(&p, 8, 0);
    uint32_t generation = 1;
    for (; generation < VMSIG_RING_CHAIN; generation++) {
        cr_assert_eq(pair_put(&p, generation - 1, 0), 0);
        succeed(&p, generation + 1);
    }
    cr_expect_eq(vmsig_ring_in_peer(&p.in, p.ring_fd, PAIR_LINK), -EEXIST);
    cr_assert_eq(pair_put(&p, generation - 1, 0), 0);
    vmsig_ring_out next;
    int fd = pair_ring(&next, generation + 1, 8, 0, p.out.tail, 0);
    cr_expect_eq(vmsig_ring_in_peer(&p.in, fd, PAIR_LINK), -ENOSPC);
    pair_expect(&p, 0, 0);
    cr_expect_eq(vmsig_ring_in_peer(&p.in, fd, PAIR_LINK), 0, "the first is drained");
    vmsig_ring_out_close(&next);
    close(fd);
    fd = pair_ring(&next, 2, 8, 0, p.out.tail, 0);
    cr_expect_eq(vmsig_ring_in_peer(&p.in, fd, PAIR_LINK), -EPROTO, "an older generation");
    vmsig_ring_out_close(&next);
    close(fd);
    pair_close(&p);
}

/* What a zombie writes after its successor has started is never read. */
Test(ring_chain, a_zombie_writes_where_nobody_reads) {
    pair p;
    pair_open(&p, 8, 0);
    cr_assert_eq(pair_put(&p, 0, 0), 0);
    pair_expect(&p, 0, 0);
    vmsig_ring_out zombie = p.out;
    int zombie_fd = p.ring_fd;
    p.ring_fd = pair_ring(&p.out, 2, 8, 0, 1, 0);
    cr_assert_eq(vmsig_ring_in_peer(&p.in, p.ring_fd, PAIR_LINK), 0);
    vmsig_event ev = pair_event(99, 0);
    cr_assert_eq(vmsig_ring_put_event(&zombie, &ev), 0);
    cr_expect_null(vmsig_ring_peek(&p.in));
    cr_assert_eq(pair_put(&p, 1, 0), 0);
    pair_expect(&p, 1, 0);
    vmsig_ring_out_close(&zombie);
    close(zombie_fd);
    pair_close(&p);
}

/* A consumer dies and comes back: with its former page's cursor, or further on where its own state says so. */
Test(ring_chain, a_new_consumer_goes_on_where_it_says) {
    for (uint64_t ahead = 0; ahead < 3; ahead++) {
        pair p;
        pair_open(&p, 8, 0);
        for (uint64_t n = 0; n < 4; n++)
            cr_assert_eq(pair_put(&p, n, 0), 0);
        pair_expect(&p, 0, 0);
        vmsig_ring_release(&p.in);
        int old_fd = p.ring_fd;
        p.ring_fd = dup(old_fd);
        vmsig_ring_out old = p.out;
        vmsig_ring_end end = end_of(&p);
        p.out = (vmsig_ring_out){0};
        close(p.ring_fd);
        p.ring_fd = pair_ring(&p.out, 2, 8, 0, end.tail, end.arena_tail); /* the producer died too */
        vmsig_ring_in_close(&p.in);
        close(p.reader_fd);
        p.reader_fd = pair_reader(&p.in, 3 + ahead, 0);
        cr_assert_eq(vmsig_ring_out_peer(&p.out, p.reader_fd), ahead < 2 ? 0 : -EPROTO);
        cr_assert_eq(vmsig_ring_in_peer(&p.in, old_fd, PAIR_LINK), 0);
        cr_assert_eq(vmsig_ring_in_peer(&p.in, p.ring_fd, PAIR_LINK), 0);
        if (ahead < 2) {
            for (uint64_t n = 3 + ahead; n < 4; n++)
                pair_expect(&p, n, 0);
            cr_assert_null(vmsig_ring_peek(&p.in));
            cr_assert_eq(pair_put(&p, 4, 0), 0);
            pair_expect(&p, 4, 0);
        }
        vmsig_ring_out_close(&old);
        close(old_fd);
        pair_close(&p);
    }
}

/* Payloads go on over restarts of either side, wherever the consumer died. */
Test(ring_chain, payloads_go_on_over_restarts) {
    uint8_t body[3000];
    pair p;
    pair_open(&p, 8, 4096);
    for (uint32_t generation = 2; generation < 40; generation++) {
        vmsig_event ev = pair_event(generation, 4), got;
        memset(body, (int)generation, sizeof body);
        ev.payload = body;
        ev.payload_len = sizeof body;
        cr_assert_eq(vmsig_ring_put_event(&p.out, &ev), 0);
        if (generation % 3 == 0)
            succeed(&p, generation);
        cr_assert_not_null(vmsig_ring_peek(&p.in), "generation %u", generation);
        cr_assert_eq(vmsig_ring_get_event(&p.in, &got), 0);
        cr_assert_eq(got.payload_len, sizeof body);
        cr_assert_eq(memcmp(got.payload, body, sizeof body), 0);
        free(got.payload);
        vmsig_ring_advance(&p.in);
        if (generation % 2 == 0) /* dies between its two stores */
            p.in.reader->cursor = p.in.cursor;
        else
            vmsig_ring_release(&p.in);
        if (generation % 3 == 1)
            succeed(&p, generation);
    }
    cr_expect_eq(p.in.poisoned, 0);
    pair_close(&p);
}

/* ---- a hostile peer ---------------------------------------------------------------------------------- */

Test(ring_refuse, a_ring_that_is_not_sealed) {
    vmsig_ring_out out;
    vmsig_ring_in in;
    int reader = pair_reader(&in, 0, 0), fd = vmsig_shm_create("t", vmsig_ring_bytes(8, 0));
    cr_assert_eq(vmsig_ring_out_create(&out, fd, PAIR_LINK, 1, 8, 0, 0, 0), 0);
    cr_expect_eq(vmsig_ring_in_peer(&in, fd, PAIR_LINK), -EPERM);
    int open_reader = vmsig_shm_create("t", VMSIG_READER_BYTES);
    cr_expect_eq(vmsig_ring_out_peer(&out, open_reader), -EPERM);
    close(open_reader);
    vmsig_ring_out_close(&out);
    vmsig_ring_in_close(&in);
    close(fd);
    close(reader);
}

static int peer_with(void (*spoil)(vmsig_ring_head *)) {
    vmsig_ring_out out;
    vmsig_ring_in in;
    int reader = pair_reader(&in, 10, 0), fd = pair_ring(&out, 1, 8, 4096, 10, 0);
    spoil(out.head);
    int err = vmsig_ring_in_peer(&in, fd, PAIR_LINK);
    vmsig_ring_in_close(&in);
    out.head->arena_bytes = 4096; /* what close unmaps by */
    vmsig_ring_out_close(&out);
    close(fd);
    close(reader);
    return err;
}
static void nothing(vmsig_ring_head *h) {
    (void)h;
}
static void magic(vmsig_ring_head *h) {
    h->magic ^= 1;
}
static void layout(vmsig_ring_head *h) {
    h->layout++;
}
static void other_link(vmsig_ring_head *h) {
    h->link++;
}
static void slots_odd(vmsig_ring_head *h) {
    h->slots = 9;
}
static void slots_none(vmsig_ring_head *h) {
    h->slots = 0;
}
static void slots_many(vmsig_ring_head *h) {
    h->slots = 1024;
}
static void arena_many(vmsig_ring_head *h) {
    h->arena_bytes = 1 << 20;
}
static void arena_odd(vmsig_ring_head *h) {
    h->arena_bytes = UINT64_MAX;
}
static void base_ahead(vmsig_ring_head *h) {
    h->base = 11;
}

Test(ring_refuse, a_wrong_head) {
    cr_expect_eq(peer_with(nothing), 0);
    cr_expect_eq(peer_with(magic), -EPROTO);
    cr_expect_eq(peer_with(layout), -EPROTO);
    cr_expect_eq(peer_with(other_link), -EPROTO);
    cr_expect_eq(peer_with(slots_odd), -EPROTO);
    cr_expect_eq(peer_with(slots_none), -EPROTO);
    cr_expect_eq(peer_with(slots_many), -EMSGSIZE);
    cr_expect_eq(peer_with(arena_many), -EMSGSIZE);
    cr_expect_eq(peer_with(arena_odd), -EPROTO);
    cr_expect_eq(peer_with(base_ahead), -EPROTO, "events would be missing");
}

Test(ring_refuse, memory_that_is_too_small) {
    vmsig_ring_out out;
    int fd = vmsig_shm_create("t", 4096);
    cr_expect_eq(vmsig_ring_out_create(&out, fd, PAIR_LINK, 1, 8, 0, 0, 0), -EMSGSIZE);
    cr_expect_eq(vmsig_ring_out_create(&out, fd, PAIR_LINK, 1, 9, 0, 0, 0), -EINVAL);
    close(fd);
}

/* Publishes one event of len bytes, spoils its head slot, and expects the consumer to notice. */
static void poisons(uint32_t len, uint32_t payload, void (*spoil)(vmsig_slot *s, uint64_t turn), const char *what) {
    pair p;
    uint8_t body[64] = {0};
    pair_open(&p, 8, 4096);
    vmsig_event ev = pair_event(1, len), got;
    ev.payload = body;
    ev.payload_len = payload;
    cr_assert_eq(vmsig_ring_put_event(&p.out, &ev), 0);
    spoil(p.out.slots, p.out.slots[0].turn);
    if (vmsig_ring_peek(&p.in) != NULL)
        cr_expect_eq(vmsig_ring_get_event(&p.in, &got), -EPROTO, "%s", what);
    cr_expect_eq(p.in.poisoned, -EPROTO, "%s", what);
    cr_expect_null(vmsig_ring_peek(&p.in), "%s: poisoned from then on", what);
    cr_expect_eq(vmsig_ring_sleep(&p.in), 0);
    cr_expect_eq(p.in.cursor, 0);
    /* Its successor heals the link. */
    vmsig_ring_out next;
    int fd = pair_ring(&next, 2, 8, 0, 1, 1ull << 33);
    cr_assert_eq(vmsig_ring_in_peer(&p.in, fd, PAIR_LINK), 0);
    cr_expect_eq(p.in.poisoned, 0);
    ev = pair_event(5, 3);
    cr_assert_eq(vmsig_ring_put_event(&next, &ev), 0);
    pair_expect(&p, 5, 3);
    vmsig_ring_out_close(&next);
    close(fd);
    pair_close(&p);
}
static void turn_ahead(vmsig_slot *s, uint64_t turn) {
    s->turn = turn + 8;
}
static void turn_wild(vmsig_slot *s, uint64_t turn) {
    s->turn = turn ^ 0x5555555555;
}
static void turn_more(vmsig_slot *s, uint64_t turn) {
    s->turn = turn | VMSIG_TURN_MORE;
}
static void too_long(vmsig_slot *s, uint64_t turn) {
    (void)turn;
    s->shape |= 0x7f;
}
static void longer_than_published(vmsig_slot *s, uint64_t turn) {
    (void)turn;
    s->shape = 112;
}
static void continuation_gone(vmsig_slot *s, uint64_t turn) {
    (void)turn;
    s[1].turn = 0;
}
static void prio_wild(vmsig_slot *s, uint64_t turn) {
    (void)turn;
    s->lane |= 7 << 5;
}
static void merged_none(vmsig_slot *s, uint64_t turn) {
    (void)turn;
    s->corr_merged = 0;
}
static void set_ref(vmsig_slot *s, vmsig_body_ref ref) {
    memcpy(s->body, &ref, sizeof ref);
}
static void ref_far(vmsig_slot *s, uint64_t turn) {
    (void)turn;
    set_ref(s, (vmsig_body_ref){.pos = 1ull << 62, .len = 8, .arena = PAIR_LINK});
}
static void ref_over_the_end(vmsig_slot *s, uint64_t turn) {
    (void)turn;
    set_ref(s, (vmsig_body_ref){.pos = 4080, .len = 32, .arena = PAIR_LINK});
}
static void ref_huge(vmsig_slot *s, uint64_t turn) {
    (void)turn;
    set_ref(s, (vmsig_body_ref){.pos = 0, .len = UINT32_MAX, .arena = PAIR_LINK});
}
static void ref_empty(vmsig_slot *s, uint64_t turn) {
    (void)turn;
    set_ref(s, (vmsig_body_ref){.pos = 0, .len = 0, .arena = PAIR_LINK});
}
static void ref_elsewhere(vmsig_slot *s, uint64_t turn) {
    (void)turn;
    set_ref(s, (vmsig_body_ref){.pos = 0, .len = 8, .arena = PAIR_LINK + 1});
}

Test(ring_poison, nonsense_in_a_slot) {
    poisons(0, 0, turn_ahead, "turn of a later lap");
    poisons(0, 0, turn_wild, "wild turn");
    poisons(0, 0, turn_more, "a continuation where an event begins");
    poisons(0, 0, too_long, "longer than any event");
    poisons(0, 0, longer_than_published, "longer than what was published");
    poisons(80, 0, continuation_gone, "no continuation");
    poisons(0, 0, prio_wild, "no such priority");
    poisons(0, 0, merged_none, "merged of nothing");
}

Test(ring_poison, nonsense_for_a_payload) {
    poisons(0, 40, ref_far, "a position from nowhere");
    poisons(0, 40, ref_over_the_end, "beyond the arena's end");
    poisons(0, 40, ref_huge, "larger than any payload");
    poisons(0, 40, ref_empty, "empty");
    poisons(0, 40, ref_elsewhere, "another link's arena");
}

Test(ring_poison, an_event_that_changes_while_it_is_read) {
    pair p;
    vmsig_image img;
    vmsig_event got;
    uint32_t len;
    uint8_t body[64] = {0};
    pair_open(&p, 8, 4096);
    cr_assert_eq(pair_put(&p, 1, 8), 0);
    cr_assert_not_null(vmsig_ring_peek(&p.in));
    p.out.slots[0].shape = 112;
    cr_expect_eq(vmsig_ring_copy(&p.in, &img), 0);
    cr_expect_eq(p.in.poisoned, -EPROTO);
    pair_close(&p);

    pair_open(&p, 8, 4096);
    vmsig_event ev = pair_event(1, 0);
    ev.payload = body;
    ev.payload_len = sizeof body;
    cr_assert_eq(vmsig_ring_put_event(&p.out, &ev), 0);
    cr_assert_not_null(vmsig_ring_peek(&p.in));
    cr_assert_eq(vmsig_ring_copy(&p.in, &img), 1);
    vmsig_image_set_ref(&img, (vmsig_body_ref){.pos = 4000, .len = 4000, .arena = PAIR_LINK});
    cr_expect_null(vmsig_ring_body(&p.in, &img, &len));
    cr_expect_eq(p.in.poisoned, -EPROTO);
    cr_expect_eq(vmsig_ring_get_event(&p.in, &got), -EPROTO);
    pair_close(&p);
}

static void cursor_poisons(uint64_t cursor, uint64_t arena_cursor, const char *what) {
    pair p;
    uint8_t body[4096] = {0};
    vmsig_event ev = pair_event(1, 0);
    pair_open(&p, 8, 4096);
    for (uint64_t n = 0; n < 8; n++)
        cr_assert_eq(pair_put(&p, n, 0), 0);
    for (uint64_t n = 0; n < 4; n++)
        pair_expect(&p, n, 0);
    vmsig_ring_release(&p.in);
    cr_assert_eq(vmsig_ring_room(&p.out, 8), 4);
    p.in.reader->cursor = cursor;
    p.in.reader->arena_cursor = arena_cursor;
    ev.payload = body;
    ev.payload_len = 4096;
    if (arena_cursor > 0)
        cr_expect_eq(vmsig_ring_put_event(&p.out, &ev), 0, "room that needs no look");
    for (int i = 0; i < 5; i++)
        vmsig_ring_put_event(&p.out, &ev);
    if (arena_cursor == 0)
        vmsig_ring_room(&p.out, 8);
    cr_expect_eq(p.out.poisoned, -EPROTO, "%s", what);
    cr_expect_eq(vmsig_ring_put_event(&p.out, &ev), -EPROTO, "%s", what);
    cr_expect_null(vmsig_ring_next(&p.out), "%s", what);
    cr_expect_eq(vmsig_ring_room(&p.out, 1), 0, "%s", what);
    cr_expect_eq(vmsig_ring_want_room(&p.out, 1), 0, "%s", what);
    /* A consumer that starts again, and sane, heals the link. */
    vmsig_ring_in in;
    int fd = pair_reader(&in, p.out.tail, 0);
    cr_expect_eq(vmsig_ring_out_peer(&p.out, fd), 0);
    cr_expect_eq(vmsig_ring_room(&p.out, 8), 8);
    vmsig_ring_in_close(&in);
    close(fd);
    pair_close(&p);
}

Test(ring_poison, a_cursor_out_of_bounds) {
    cursor_poisons(1000, 0, "beyond the tail");
    cursor_poisons(UINT64_MAX, 0, "far beyond the tail");
    cursor_poisons(3, 0, "backwards");
    cursor_poisons(0, 0, "back to the start");
    cursor_poisons(4, 1 << 20, "an arena cursor beyond the tail");
}

Test(ring_poison, a_poisonous_page_stays_refused) {
    pair p;
    vmsig_ring_in in;
    pair_open(&p, 8, 0);
    for (uint64_t n = 0; n < 30; n++) {
        cr_assert_eq(pair_put(&p, n, 0), 0);
        pair_expect(&p, n, 0);
        vmsig_ring_release(&p.in);
    }
    p.in.reader->cursor = 1000;
    for (int i = 0; i < 9; i++)
        pair_put(&p, 1, 0);
    cr_assert_eq(p.out.poisoned, -EPROTO);
    int fd = pair_reader(&in, 2, 0); /* so far back that the ring has gone over it */
    cr_expect_eq(vmsig_ring_out_peer(&p.out, fd), -EPROTO);
    cr_expect_null(vmsig_ring_next(&p.out));
    vmsig_ring_in_close(&in);
    close(fd);
    pair_close(&p);
}
