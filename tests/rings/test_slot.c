/* The event as it lies in a ring: every kind, every length, and the images that are none. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "schema/slot.h"

static vmsig_event sample(uint8_t kind, uint8_t dir, uint32_t len) {
    vmsig_event ev = {
        .seq = 0xfedcba98,
        .ts_ns = 0x123456789abcdef0,
        .endpoint = 63,
        .epoch = 0xffffffff,
        .merged = 1,
        .inln_len = len,
        .source = 31,
        .dir = dir,
        .prio = VMSIG_PRIO_URGENT,
        .kind = kind,
    };
    if (dir == VMSIG_DIR_DOWN)
        ev.token = 0xa1a2a3a4a5a6a7a8;
    if (dir == VMSIG_DIR_DOWN || kind == VMSIG_EV_RESULT || kind == VMSIG_EV_LEASE)
        ev.corr = 0xffffffff;
    else
        ev.merged = 77;
    for (uint32_t i = 0; i < len; i++)
        ev.inln[i] = (uint8_t)(i * 5 + 1);
    return ev;
}

/* Packs over old rubbish, checks the count of slots, unpacks over rubbish, compares. */
static void round_trip(const vmsig_event *ev, uint32_t slots) {
    vmsig_image img;
    vmsig_event back;
    memset(&img, 0xee, sizeof img);
    memset(&back, 0xee, sizeof back);
    cr_assert_eq(vmsig_image_pack(&img, ev), (int)slots, "kind %u dir %u len %u", ev->kind, ev->dir, ev->inln_len);
    cr_assert_eq(vmsig_slot_count(&img.s[0]), slots);
    for (uint32_t i = 0; i < slots; i++)
        cr_assert_eq(img.s[i].turn, 0);
    cr_assert_eq(img.s[0].origin, 0);
    cr_assert_eq(vmsig_image_unpack(&back, &img), 0);
    vmsig_event want = *ev;
    want.payload = NULL;
    cr_assert_eq(memcmp(&back, &want, sizeof back), 0, "kind %u dir %u len %u", ev->kind, ev->dir, ev->inln_len);
}

static uint32_t slots_for(uint32_t bytes) {
    return bytes <= 24 ? 1 : bytes <= 80 ? 2 : 3;
}

Test(slot, every_kind_and_length_survives) {
    for (unsigned kind = 0; kind < 256; kind++)
        for (uint8_t dir = 0; dir < 2; dir++)
            for (uint32_t len = 0; len <= VMSIG_INLINE_MAX; len++) {
                vmsig_event ev = sample((uint8_t)kind, dir, len);
                round_trip(&ev, slots_for(len + (dir ? 8 : 0)));
                ev.payload = &ev;
                ev.payload_len = VMSIG_PAYLOAD_MAX - len;
                round_trip(&ev, slots_for(len + (dir ? 24 : 16)));
            }
}

Test(slot, flags_retain_travels_and_snapshot_does_not) {
    vmsig_event ev = sample(64, VMSIG_DIR_UP, 3), back;
    vmsig_image img;
    ev.flags = VMSIG_EVF_RETAIN;
    round_trip(&ev, 1);
    ev.flags = VMSIG_EVF_SNAPSHOT;
    cr_assert_eq(vmsig_image_pack(&img, &ev), 1);
    cr_assert_eq(vmsig_image_unpack(&back, &img), 0);
    cr_expect_eq(back.flags, 0);
}

Test(slot, a_merged_count_of_nothing_means_the_event_itself) {
    vmsig_event ev = sample(64, VMSIG_DIR_UP, 0), back;
    vmsig_image img;
    ev.merged = 0;
    cr_assert_eq(vmsig_image_pack(&img, &ev), 1);
    cr_assert_eq(vmsig_image_unpack(&back, &img), 0);
    cr_expect_eq(back.merged, 1);
}

#define REFUSED(field, value)                                                                                          \
    do {                                                                                                               \
        vmsig_event ev = sample(VMSIG_CMD_VM, VMSIG_DIR_DOWN, 4);                                                      \
        vmsig_image img;                                                                                               \
        ev.field = value;                                                                                              \
        cr_expect_eq(vmsig_image_pack(&img, &ev), -EINVAL, #field);                                                    \
    } while (0)

Test(slot, what_does_not_fit_is_refused) {
    REFUSED(endpoint, 64);
    REFUSED(dir, 2);
    REFUSED(source, 32);
    REFUSED(prio, 5);
    REFUSED(inln_len, VMSIG_INLINE_MAX + 1);
    REFUSED(payload_len, VMSIG_PAYLOAD_MAX + 1);
    REFUSED(corr, 1ull << 32);
}

Test(slot, images_that_pack_never_makes_are_refused) {
    vmsig_event ev = sample(64, VMSIG_DIR_UP, 4), back;
    vmsig_image good, img;
    ev.payload = &ev;
    ev.payload_len = 5;
    cr_assert_eq(vmsig_image_pack(&good, &ev), 1);

    img = good, img.s[0].shape = VMSIG_INLINE_MAX + 1;
    cr_expect_eq(vmsig_image_unpack(&back, &img), -EINVAL, "length");
    img = good, img.s[0].lane |= 7 << 5;
    cr_expect_eq(vmsig_image_unpack(&back, &img), -EINVAL, "priority");
    img = good, img.s[0].corr_merged = 0;
    cr_expect_eq(vmsig_image_unpack(&back, &img), -EINVAL, "merged");
    img = good, vmsig_image_set_ref(&img, (vmsig_body_ref){.len = 0});
    cr_expect_eq(vmsig_image_unpack(&back, &img), -EINVAL, "empty payload");
    img = good, vmsig_image_set_ref(&img, (vmsig_body_ref){.len = VMSIG_PAYLOAD_MAX + 1});
    cr_expect_eq(vmsig_image_unpack(&back, &img), -EINVAL, "payload too large");
}

Test(slot, the_reference_is_set_behind_a_token_and_nothing_else_moves) {
    for (uint8_t dir = 0; dir < 2; dir++) {
        vmsig_event ev = sample(VMSIG_CMD_MEMWRITE, dir, 112), back;
        vmsig_image img;
        vmsig_body_ref ref = {.pos = 0x1122334455667788, .len = 99, .arena = 3};
        ev.payload = &ev;
        ev.payload_len = 99;
        cr_assert_eq(vmsig_image_pack(&img, &ev), 3);
        cr_expect_eq(vmsig_image_ref(&img).len, 99);
        vmsig_image_set_ref(&img, ref);
        vmsig_body_ref got = vmsig_image_ref(&img);
        cr_expect_eq(memcmp(&got, &ref, sizeof ref), 0);
        cr_assert_eq(vmsig_image_unpack(&back, &img), 0);
        ev.payload = NULL;
        cr_expect_eq(memcmp(&back, &ev, sizeof ev), 0);
    }
}

Test(slot, nothing_of_the_stack_leaks_into_an_image) {
    vmsig_event ev = sample(64, VMSIG_DIR_UP, 25);
    vmsig_image a, b;
    memset(&a, 0x11, sizeof a);
    memset(&b, 0xee, sizeof b);
    memset(ev.inln + 25, 0x55, sizeof ev.inln - 25);
    cr_assert_eq(vmsig_image_pack(&a, &ev), 2);
    cr_assert_eq(vmsig_image_pack(&b, &ev), 2);
    cr_expect_eq(memcmp(&a, &b, 2 * sizeof a.s[0]), 0);
    for (size_t i = 9; i < VMSIG_SLOT_BYTES; i++)
        cr_expect_eq(((const uint8_t *)&a.s[1])[i], 0);
}

Test(slot, full_sequences_come_back_from_their_low_half) {
    cr_expect_eq(vmsig_seq_near(0x1fffffff0, 5), 0x200000005);
    cr_expect_eq(vmsig_seq_near(0x200000005, 0xfffffff0), 0x1fffffff0);
    cr_expect_eq(vmsig_seq_near(10, 11), 11);
}

Test(slot, an_origin_is_a_link_and_a_position) {
    uint64_t o = vmsig_origin(0xffff, 0xabcdef123456);
    cr_expect_eq(vmsig_origin_link(o), 0xffff);
    cr_expect_eq(vmsig_origin_position(o), 0xabcdef123456);
}
