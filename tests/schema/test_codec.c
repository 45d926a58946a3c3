/* The codec: every kind survives the way to protobuf bytes and back; what is not an event is refused. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "schema/codec.h"
#include "vmsig_memctx.h"

static vmsig_event event(uint8_t kind, const void *body, size_t len) {
    vmsig_event ev = {.kind = kind, .merged = 1, .inln_len = (uint32_t)len};
    ev.dir = kind >= 32 && kind < 64 ? VMSIG_DIR_DOWN : VMSIG_DIR_UP;
    if (len > 0)
        memcpy(ev.inln, body, len);
    return ev;
}

/* To bytes and back: what from_pb says. */
static int through(const vmsig_event *ev, vmsig_event *out) {
    static vmsig_pb_event pb;
    int err = vmsig_event_to_pb(ev, &pb);
    cr_assert_eq(err, 0, "kind %u is not packed: %d", ev->kind, err);
    uint8_t *bytes = malloc(vmsig__pb__event__get_packed_size(&pb.e) + 1);
    size_t len = vmsig__pb__event__pack(&pb.e, bytes);
    Vmsig__Pb__Event *e = vmsig__pb__event__unpack(NULL, len, bytes);
    cr_assert_not_null(e);
    err = vmsig_event_from_pb(e, out);
    vmsig__pb__event__free_unpacked(e, NULL);
    free(bytes);
    return err;
}

static void same(const vmsig_event *a, const vmsig_event *b) {
    vmsig_event x = *a, y = *b;
    x.payload = y.payload = NULL;
    cr_expect(memcmp(&x, &y, sizeof x) == 0, "kind %u is not what it was", a->kind);
    cr_expect_eq(a->payload_len, b->payload_len);
    if (a->payload_len == b->payload_len && a->payload_len > 0)
        cr_expect(memcmp(a->payload, b->payload, a->payload_len) == 0);
}

static void round_trip(const vmsig_event *ev) {
    vmsig_event out;
    cr_assert_eq(through(ev, &out), 0);
    same(ev, &out);
    free(out.payload);
}

Test(codec, every_body_of_a_fixed_size_round_trips) {
    vmsig_event evs[] = {
        event(VMSIG_CMD_LIFECYCLE, &(vmsig_lifecycle){VMSIG_LIFECYCLE_RESET}, sizeof(vmsig_lifecycle)),
        event(VMSIG_CMD_VM, &(vmsig_vm){VMSIG_VM_STOP}, sizeof(vmsig_vm)),
        event(VMSIG_CMD_MEMWRITE, &(vmsig_memwrite){1, 2, 8, 1}, sizeof(vmsig_memwrite)),
        event(VMSIG_CMD_MEMWRITE, &(vmsig_memwrite){0, 0, 0, 0}, sizeof(vmsig_memwrite)),
        event(VMSIG_CMD_MEMWRITE, &(vmsig_memwrite){UINT64_MAX, UINT64_MAX, UINT32_MAX, UINT32_MAX},
              sizeof(vmsig_memwrite)),
        event(VMSIG_CMD_LEASE, &(vmsig_lease){1, 2, 3, 1}, sizeof(vmsig_lease)),
        event(VMSIG_CMD_LEASE, &(vmsig_lease){0, 0, 0, 0}, sizeof(vmsig_lease)),
        event(VMSIG_EV_LEASE, &(vmsig_lease_info){1, 2, 1000, 0, UINT64_MAX}, sizeof(vmsig_lease_info)),
        event(VMSIG_EV_LEASE, &(vmsig_lease_info){0, 0, 0, 0, 0}, sizeof(vmsig_lease_info)),
        event(VMSIG_EV_RESULT, &(vmsig_result){VMSIG_UNKNOWN, 0, UINT64_MAX}, sizeof(vmsig_result)),
        event(VMSIG_EV_RESULT, &(vmsig_result){INT32_MIN, 0, 0}, sizeof(vmsig_result)),
        event(VMSIG_EV_LOST, &(vmsig_lost){1, UINT64_MAX, 3, 8, VMSIG_LOST_POISON}, sizeof(vmsig_lost)),
        event(VMSIG_EV_VMHOST, &(vmsig_vmhost){VMSIG_VM_PAUSED, 1}, sizeof(vmsig_vmhost)),
        event(VMSIG_EV_VMHOST, &(vmsig_vmhost){0, 0}, sizeof(vmsig_vmhost)),
    };
    for (size_t i = 0; i < sizeof evs / sizeof evs[0]; i++)
        round_trip(&evs[i]);
}

Test(codec, a_body_of_the_wrong_size_is_refused) {
    uint8_t kinds[] = {VMSIG_CMD_LIFECYCLE, VMSIG_CMD_VM,  VMSIG_CMD_MEMWRITE, VMSIG_CMD_LEASE, VMSIG_EV_LEASE,
                       VMSIG_EV_RESULT,     VMSIG_EV_LOST, VMSIG_EV_VMHOST,    VMSIG_CMD_INPUT, VMSIG_EV_MEMCTX};
    uint8_t bytes[VMSIG_INLINE_MAX] = {0};
    uint32_t sizes[] = {0, 3, 7, 25, 47, 49, 111};
    vmsig_pb_event pb;
    for (size_t k = 0; k < sizeof kinds; k++)
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            vmsig_event ev = event(kinds[k], bytes, sizes[s]);
            cr_expect_eq(vmsig_event_to_pb(&ev, &pb), -EINVAL, "kind %u took %u bytes", kinds[k], sizes[s]);
        }
}

Test(codec, a_chord_of_1_to_14_inputs_round_trips) {
    vmsig_input in[VMSIG_INLINE_MAX / sizeof(vmsig_input)];
    for (size_t i = 0; i < sizeof in / sizeof in[0]; i++)
        in[i] = (vmsig_input){.type = (uint8_t)(1 + i % 4),
                              .down = i % 2,
                              .code = (uint16_t)(UINT16_MAX - i),
                              .value = i % 3 == 0   ? 0
                                       : i % 3 == 1 ? INT32_MIN
                                                    : INT32_MAX};
    for (size_t n = 1; n <= sizeof in / sizeof in[0]; n++) {
        vmsig_event ev = event(VMSIG_CMD_INPUT, in, n * sizeof in[0]);
        round_trip(&ev);
    }
}

Test(codec, plain_bytes_of_every_length_round_trip) {
    uint8_t bytes[VMSIG_INLINE_MAX];
    memset(bytes, 0xa5, sizeof bytes);
    uint8_t kinds[] = {VMSIG_EV_STATE, VMSIG_EV_MEMCTX_INVALID, VMSIG_EV_EPOCH_END, VMSIG_EV_SNAPSHOT_END, 64, 255};
    for (size_t k = 0; k < sizeof kinds; k++)
        for (uint32_t n = 0; n <= VMSIG_INLINE_MAX; n++) {
            vmsig_event ev = event(kinds[k], bytes, n);
            round_trip(&ev);
        }
}

Test(codec, the_head_round_trips_at_its_limits) {
    vmsig_event ev = event(64, NULL, 0);
    ev.seq = ev.ts_ns = ev.corr = ev.token = UINT64_MAX;
    ev.endpoint = 63;
    ev.epoch = UINT32_MAX;
    ev.merged = 0;
    ev.source = 31;
    ev.prio = VMSIG_PRIO_URGENT;
    ev.flags = VMSIG_EVF_RETAIN | VMSIG_EVF_SNAPSHOT;
    round_trip(&ev);
    ev.merged = UINT32_MAX;
    round_trip(&ev);
}

Test(codec, a_payload_round_trips_up_to_its_limit) {
    uint32_t sizes[] = {1, 4096, VMSIG_PAYLOAD_MAX};
    for (size_t i = 0; i < 3; i++) {
        vmsig_event ev = event(200, "x", 1);
        ev.payload_len = sizes[i];
        ev.payload = malloc(sizes[i]);
        memset(ev.payload, 0x5a, sizes[i]);
        round_trip(&ev);
        free(ev.payload);
    }
}

Test(codec, memctx_round_trips_with_0_to_64_segments) {
    for (int n = 0; n <= VMSIG_SEGS_MAX; n++) {
        vmsig_memctx ctx = {.root = 0x1000, .cr0 = 1, .cr4 = 2, .efer = 3, .low = 4, .ram_id = UINT32_MAX};
        if (n % 2)
            ctx.vcpu = UINT16_MAX, ctx.cpl = UINT8_MAX, ctx.flags = UINT8_MAX;
        vmsig_seg segs[VMSIG_SEGS_MAX];
        for (int i = 0; i < n; i++)
            segs[i] = (vmsig_seg){.gpa = UINT64_MAX - (uint64_t)i, .len = (uint64_t)i, .off = 7};
        vmsig_event ev = event(VMSIG_EV_MEMCTX, &ctx, sizeof ctx);
        size_t bytes = (size_t)n * sizeof segs[0];
        if (bytes <= VMSIG_INLINE_MAX - sizeof ctx) {
            memcpy(ev.inln + sizeof ctx, segs, bytes);
            ev.inln_len += (uint32_t)bytes;
        } else {
            ev.payload = segs;
            ev.payload_len = (uint32_t)bytes;
        }
        round_trip(&ev);
    }
}

Test(codec, memctx_with_segments_in_pieces_is_refused) {
    static uint8_t zero[65 * sizeof(vmsig_seg)];
    vmsig_pb_event pb;
    vmsig_event ev = event(VMSIG_EV_MEMCTX, zero, sizeof(vmsig_memctx));
    ev.payload = zero;
    ev.payload_len = 25;
    cr_expect_eq(vmsig_event_to_pb(&ev, &pb), -EINVAL);
    ev.payload_len = 65 * sizeof(vmsig_seg);
    cr_expect_eq(vmsig_event_to_pb(&ev, &pb), -EINVAL);
    ev.payload_len = sizeof(vmsig_seg);
    cr_expect_eq(vmsig_event_to_pb(&ev, &pb), 0);
    ev.inln_len += (uint32_t)sizeof(vmsig_seg); /* some here, some there */
    cr_expect_eq(vmsig_event_to_pb(&ev, &pb), -EINVAL);
}

Test(codec, an_event_out_of_range_is_not_packed) {
    struct {
        const char *what;
        vmsig_event ev;
    } cases[] = {
        {"kind 0", {.kind = 0}},
        {"kind 10", {.kind = 10}},
        {"kind 31", {.kind = 31}},
        {"kind 37", {.kind = 37, .dir = 1}},
        {"kind 63", {.kind = 63, .dir = 1}},
        {"an event going down", {.kind = 64, .dir = 1}},
        {"a command going up", {.kind = VMSIG_CMD_VM, .inln_len = 4}},
        {"dir 2", {.kind = 64, .dir = 2}},
        {"source 32", {.kind = 64, .source = 32}},
        {"prio 5", {.kind = 64, .prio = 5}},
        {"endpoint 64", {.kind = 64, .endpoint = 64}},
        {"flag 4", {.kind = 64, .flags = 4}},
        {"inln 113", {.kind = 64, .inln_len = 113}},
        {"payload over the limit", {.kind = 64, .payload = &cases, .payload_len = VMSIG_PAYLOAD_MAX + 1}},
        {"payload NULL", {.kind = 64, .payload_len = 1}},
    };
    vmsig_pb_event pb;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_expect_eq(vmsig_event_to_pb(&cases[i].ev, &pb), -EINVAL, "%s", cases[i].what);
}

static int from(Vmsig__Pb__Event *e) {
    vmsig_event out;
    int err = vmsig_event_from_pb(e, &out);
    free(out.payload);
    return err;
}

Test(codec, an_event_out_of_range_is_not_taken) {
    const Vmsig__Pb__Event fine = VMSIG__PB__EVENT__INIT;
    static uint8_t bytes[VMSIG_PAYLOAD_MAX + 1];
    struct {
        const char *what;
        Vmsig__Pb__Event e;
    } c[16];
    for (size_t i = 0; i < 16; i++) {
        c[i].e = fine;
        c[i].e.kind = 64;
    }
    cr_expect_eq(from(&c[0].e), 0);
    c[0].what = "kind 256", c[0].e.kind = 256;
    c[1].what = "kind 256 + 64", c[1].e.kind = 320;
    c[2].what = "kind 0", c[2].e.kind = 0;
    c[3].what = "dir 2", c[3].e.has_dir = 1, c[3].e.dir = 2;
    c[4].what = "dir down", c[4].e.has_dir = 1, c[4].e.dir = 1;
    c[5].what = "source 32", c[5].e.source = 32;
    c[6].what = "prio 256", c[6].e.prio = 256;
    c[7].what = "endpoint 64", c[7].e.endpoint = 64;
    c[8].what = "flags 4", c[8].e.flags = 4;
    c[9].what = "payload and payload_fd", c[9].e.has_payload = 1, c[9].e.payload.len = 1;
    c[9].e.payload.data = bytes, c[9].e.payload_fd = 1;
    c[10].what = "payload over the limit", c[10].e.has_payload = 1, c[10].e.payload.data = bytes;
    c[10].e.payload.len = sizeof bytes;
    c[11].what = "payload_fd over the limit", c[11].e.payload_fd = VMSIG_PAYLOAD_MAX + 1;
    c[12].what = "inln over the limit", c[12].e.body_case = VMSIG__PB__EVENT__BODY_INLN;
    c[12].e.inln.len = VMSIG_INLINE_MAX + 1, c[12].e.inln.data = bytes;
    c[13].what = "another kind's body", c[13].e.body_case = VMSIG__PB__EVENT__BODY_VM;
    c[14].what = "a command without its body", c[14].e.kind = VMSIG_CMD_VM;
    c[15].what = "a command with bytes", c[15].e.kind = VMSIG_CMD_VM;
    c[15].e.body_case = VMSIG__PB__EVENT__BODY_INLN;
    for (size_t i = 0; i < 16; i++)
        cr_expect_eq(from(&c[i].e), -EINVAL, "%s", c[i].what);
}

Test(codec, an_empty_payload_and_one_that_comes_by_fd_are_taken) {
    Vmsig__Pb__Event e = VMSIG__PB__EVENT__INIT;
    e.kind = 64;
    e.has_payload = 1;
    cr_expect_eq(from(&e), 0);
    e.body_case = VMSIG__PB__EVENT__BODY_INLN; /* and an empty body that is there */
    cr_expect_eq(from(&e), 0);
    e.has_payload = 0;
    e.payload_fd = VMSIG_PAYLOAD_MAX;
    cr_expect_eq(from(&e), 0);
}

Test(codec, a_command_needs_no_dir) {
    Vmsig__Pb__Event e = VMSIG__PB__EVENT__INIT;
    Vmsig__Pb__Vm vm = VMSIG__PB__VM__INIT;
    vm.op = VMSIG_VM_QUERY;
    e.kind = VMSIG_CMD_VM;
    e.body_case = VMSIG__PB__EVENT__BODY_VM;
    e.vm = &vm;
    vmsig_event ev;
    cr_assert_eq(vmsig_event_from_pb(&e, &ev), 0);
    cr_expect_eq(ev.dir, VMSIG_DIR_DOWN);
    cr_expect_eq(ev.merged, 1);
}

Test(codec, inputs_out_of_range_are_not_taken) {
    Vmsig__Pb__Event e = VMSIG__PB__EVENT__INIT;
    Vmsig__Pb__InputGroup g = VMSIG__PB__INPUT_GROUP__INIT;
    Vmsig__Pb__Input in = VMSIG__PB__INPUT__INIT, *many[15];
    in.type = 1;
    in.code = 30;
    for (size_t i = 0; i < 15; i++)
        many[i] = &in;
    e.kind = VMSIG_CMD_INPUT;
    e.body_case = VMSIG__PB__EVENT__BODY_INPUT;
    e.input = &g;
    g.inputs = many;
    cr_expect_eq(from(&e), -EINVAL, "none");
    g.n_inputs = 15;
    cr_expect_eq(from(&e), -EINVAL, "15");
    g.n_inputs = 14;
    cr_expect_eq(from(&e), 0);
    in.type = 256;
    cr_expect_eq(from(&e), -EINVAL, "type 256");
    in.type = 1;
    in.down = 256;
    cr_expect_eq(from(&e), -EINVAL, "down 256");
    in.down = 1;
    in.code = 65536;
    cr_expect_eq(from(&e), -EINVAL, "code 65536");
}

Test(codec, memctx_out_of_range_is_not_taken) {
    Vmsig__Pb__Event e = VMSIG__PB__EVENT__INIT;
    Vmsig__Pb__Memctx m = VMSIG__PB__MEMCTX__INIT;
    Vmsig__Pb__Segment seg = VMSIG__PB__SEGMENT__INIT, *segs[65];
    for (size_t i = 0; i < 65; i++)
        segs[i] = &seg;
    e.kind = VMSIG_EV_MEMCTX;
    e.body_case = VMSIG__PB__EVENT__BODY_MEMCTX;
    e.memctx = &m;
    m.segs = segs;
    m.n_segs = 64;
    cr_expect_eq(from(&e), 0);
    m.n_segs = 65;
    cr_expect_eq(from(&e), -EINVAL, "65 segments");
    m.n_segs = 1;
    m.vcpu = 65536;
    cr_expect_eq(from(&e), -EINVAL, "vcpu");
    m.vcpu = 0;
    m.cpl = 256;
    cr_expect_eq(from(&e), -EINVAL, "cpl");
    m.cpl = 0;
    m.flags = 256;
    cr_expect_eq(from(&e), -EINVAL, "flags");
    m.flags = 0;
    e.has_payload = 1;
    cr_expect_eq(from(&e), -EINVAL, "payload");
    e.has_payload = 0;
    e.payload_fd = 1;
    cr_expect_eq(from(&e), -EINVAL, "payload_fd");
}

Test(names, are_the_inverse_of_each_other) {
    for (int k = 0; k < 256; k++)
        cr_expect_eq(vmsig_kind_by_name(vmsig_kind_name((uint8_t)k)), k);
    for (int s = 0; s < 32; s++)
        cr_expect_eq(vmsig_source_by_name(vmsig_source_name((uint8_t)s)), s);
    for (int p = 0; p <= 4; p++)
        cr_expect_eq(vmsig_prio_by_name(vmsig_prio_name((uint8_t)p)), p);
}

Test(names, what_has_none_is_a_number) {
    cr_expect_str_eq(vmsig_kind_name(200), "200");
    cr_expect_str_eq(vmsig_source_name(8), "8");
    cr_expect_str_eq(vmsig_prio_name(9), "9");
    cr_expect_str_eq(vmsig_status_name(VMSIG_HELD), "held");
    cr_expect_str_eq(vmsig_status_name(11), "11");
    cr_expect_str_eq(vmsig_status_name(-1), "-1");
}

Test(names, nonsense_is_none) {
    const char *bad[] = {"", "x", "-1", "1x", "256", "0x1", "4294967296", " 1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_eq(vmsig_kind_by_name(bad[i]), -1, "%s", bad[i]);
    cr_expect_eq(vmsig_source_by_name("32"), -1);
    cr_expect_eq(vmsig_prio_by_name("5"), -1);
}
