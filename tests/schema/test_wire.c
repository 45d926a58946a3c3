/* The short way of events to bytes and back is the long way's (protobuf-c): the same bytes, the same events. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "schema/codec.h"
#include "schema/wire.h"

static uint64_t draw(uint64_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* Of any number of bits: zero, small, or large. */
static uint64_t some(uint64_t *seed) {
    return draw(seed) & ((1ull << draw(seed) % 64) - 1);
}

static const uint8_t kinds[] = {
    VMSIG_EV_STATE, VMSIG_EV_MEMCTX_INVALID, VMSIG_EV_EPOCH_END, VMSIG_EV_SNAPSHOT_END, 64, 255};

static vmsig_event random_event(uint64_t *seed) {
    vmsig_event ev = {.seq = some(seed),
                      .ts_ns = some(seed),
                      .corr = some(seed),
                      .token = some(seed),
                      .endpoint = (uint32_t)(draw(seed) % VMSIG_ENDPOINTS_MAX),
                      .epoch = (uint32_t)some(seed),
                      .merged = (uint32_t)(draw(seed) % 3),
                      .inln_len = (uint32_t)(draw(seed) % (VMSIG_INLINE_MAX + 1)),
                      .flags = (uint32_t)(draw(seed) % 4),
                      .source = (uint8_t)(draw(seed) % VMSIG_SOURCES_MAX),
                      .prio = (uint8_t)(draw(seed) % (VMSIG_PRIO_URGENT + 1)),
                      .kind = kinds[draw(seed) % sizeof kinds]};
    for (uint32_t i = 0; i < ev.inln_len; i++)
        ev.inln[i] = (uint8_t)draw(seed);
    return ev;
}

static size_t the_long_way(const vmsig_event *ev, vmsig_wire_place at, uint8_t *to) {
    static vmsig_pb_event pb;
    cr_assert_eq(vmsig_event_to_pb(ev, &pb), 0);
    pb.e.has_sseq = at.sseq != 0;
    pb.e.sseq = at.sseq;
    pb.e.has_place = at.place != 0;
    pb.e.place = at.place;
    return vmsig__pb__event__pack(&pb.e, to);
}

Test(wire, bytes_are_those_of_protobuf_and_come_back) {
    uint64_t seed = 0x9e3779b97f4a7c15u;
    for (int i = 0; i < 50000; i++) {
        uint8_t bytes[VMSIG_WIRE_PLAIN_MAX], expected[VMSIG_WIRE_PLAIN_MAX + 64];
        vmsig_wire_place at = {some(&seed), some(&seed)}, back;
        vmsig_event ev = random_event(&seed), out;
        size_t len = vmsig_wire_put(bytes, &ev, at), n = the_long_way(&ev, at, expected);
        cr_assert_eq(len, n, "event %d: %zu bytes, not %zu", i, len, n);
        cr_assert_eq(memcmp(bytes, expected, n), 0, "event %d", i);
        cr_assert(vmsig_wire_get(bytes, len, &out, &back), "event %d", i);
        cr_assert_eq(memcmp(&ev, &out, sizeof ev), 0, "event %d is not what it was", i);
        cr_assert(back.sseq == at.sseq && back.place == at.place);
    }
}

Test(wire, the_largest_fits) {
    uint8_t bytes[VMSIG_WIRE_PLAIN_MAX];
    vmsig_event ev = {.seq = UINT64_MAX,
                      .ts_ns = UINT64_MAX,
                      .corr = UINT64_MAX,
                      .token = UINT64_MAX,
                      .endpoint = 63,
                      .epoch = UINT32_MAX,
                      .merged = UINT32_MAX,
                      .inln_len = VMSIG_INLINE_MAX,
                      .flags = 3,
                      .source = 31,
                      .prio = 4,
                      .kind = 255};
    size_t len = vmsig_wire_put(bytes, &ev, (vmsig_wire_place){UINT64_MAX, UINT64_MAX});
    cr_assert(len > VMSIG_INLINE_MAX && len <= sizeof bytes);
}

/* Whatever is read here reads the same there; what is not understood here is left to it. */
Test(wire, what_is_mutated_is_read_as_protobuf_reads_it_or_not_at_all) {
    uint64_t seed = 0x2545f4914f6cdd1du;
    unsigned read = 0;
    for (int i = 0; i < 200000; i++) {
        uint8_t bytes[VMSIG_WIRE_PLAIN_MAX];
        vmsig_wire_place at = {some(&seed), some(&seed)};
        vmsig_event ev = random_event(&seed), out, there;
        size_t len = vmsig_wire_put(bytes, &ev, at);
        len = draw(&seed) % 4 == 0 ? draw(&seed) % (len + 1) : len;
        for (uint64_t flips = draw(&seed) % 3; flips > 0 && len > 0; flips--)
            bytes[draw(&seed) % len] ^= (uint8_t)(1u << draw(&seed) % 8);
        uint8_t *exact = malloc(len + 1); /* so that a sanitizer sees a look beyond it */
        memcpy(exact, bytes, len);
        bool taken = vmsig_wire_get(exact, len, &out, &at);
        if (taken) {
            Vmsig__Pb__Event *pb = vmsig__pb__event__unpack(NULL, len, exact);
            cr_assert_not_null(pb, "case %d is no Event", i);
            cr_assert_eq(vmsig_event_from_pb(pb, &there), 0, "case %d", i);
            cr_assert_eq(memcmp(&out, &there, sizeof out), 0, "case %d is read otherwise", i);
            cr_assert(at.sseq == pb->sseq && at.place == pb->place);
            vmsig__pb__event__free_unpacked(pb, NULL);
            read++;
        }
        free(exact);
    }
    cr_assert_gt(read, 10000u);
}

Test(wire, other_events_are_left_to_protobuf) {
    static const uint8_t others[] = {VMSIG_EV_MEMCTX,
                                     VMSIG_EV_LOST,
                                     VMSIG_EV_RESULT,
                                     VMSIG_EV_LEASE,
                                     VMSIG_EV_VMHOST,
                                     VMSIG_CMD_INPUT,
                                     VMSIG_CMD_VM,
                                     VMSIG_CMD_MEMWRITE,
                                     VMSIG_CMD_LEASE,
                                     VMSIG_CMD_LIFECYCLE,
                                     0,
                                     10,
                                     63};
    uint8_t bytes[VMSIG_WIRE_PLAIN_MAX];
    for (size_t i = 0; i < sizeof others; i++) {
        vmsig_event ev = {.kind = others[i], .merged = 1, .dir = others[i] >= 32 && others[i] < 64};
        cr_expect_eq(vmsig_wire_put(bytes, &ev, (vmsig_wire_place){1, 1}), 0, "kind %u", others[i]);
    }
    vmsig_event ev = {.kind = 64, .merged = 1, .payload_len = 1, .payload = bytes};
    cr_expect_eq(vmsig_wire_put(bytes, &ev, (vmsig_wire_place){1, 1}), 0);
    ev = (vmsig_event){.kind = 64, .merged = 1, .inln_len = VMSIG_INLINE_MAX + 1};
    cr_expect_eq(vmsig_wire_put(bytes, &ev, (vmsig_wire_place){1, 1}), 0);
    ev = (vmsig_event){.kind = 64, .merged = 1, .endpoint = VMSIG_ENDPOINTS_MAX};
    cr_expect_eq(vmsig_wire_put(bytes, &ev, (vmsig_wire_place){1, 1}), 0);
}
