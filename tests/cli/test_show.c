/* What is printed of events and statuses. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <linux/input-event-codes.h>
#include <string.h>

#include "supervisor/cli/show.h"
#include "supervisor/cli/table.h"
#include "vmsig_memctx.h"

static vmsig_event event(uint8_t kind, const void *body, size_t n) {
    vmsig_event ev = {.seq = 17,
                      .ts_ns = 5000001000,
                      .kind = kind,
                      .source = 8,
                      .prio = VMSIG_PRIO_NORMAL,
                      .merged = 1,
                      .inln_len = (uint32_t)n};
    memcpy(ev.inln, body, n);
    return ev;
}

static const char *body(const vmsig_event *ev) {
    static char buf[VMSIG_SHOW_BODY_MAX];
    vmsig_show_body(ev, buf, sizeof buf);
    return buf;
}

Test(show, a_sensor_s_text_and_bytes) {
    vmsig_event ev = event(64, "tick 5\n", 7);
    cr_expect_str_eq(body(&ev), "\"tick 5\"");
    ev = event(64, "\x01\x02\xff\x00\x05", 5);
    cr_expect_str_eq(body(&ev), "0102ff00 05 (5 bytes)");
    const uint64_t count = 258;
    ev = event(64, &count, sizeof count);
    cr_expect_str_eq(body(&ev), "02010000 00000000 = 258");
    ev = event(64, "", 0);
    cr_expect_str_eq(body(&ev), "");
}

Test(show, a_payload_is_cut) {
    static uint8_t bytes[4096];
    vmsig_event ev = event(64, "", 0);
    ev.payload = bytes;
    ev.payload_len = sizeof bytes;
    cr_expect(strstr(body(&ev), "... (4096 bytes)"), "%s", body(&ev));
    memset(bytes, 'x', sizeof bytes);
    cr_expect_eq(strlen(body(&ev)), VMSIG_SHOW_BODY_MAX - 1);
}

Test(show, known_bodies) {
    const vmsig_input chord[] = {{VMSIG_INPUT_KEY, 1, KEY_LEFTCTRL, 0}, {VMSIG_INPUT_KEY, 1, KEY_C, 0}};
    vmsig_event ev = event(VMSIG_CMD_INPUT, chord, sizeof chord);
    cr_expect_str_eq(body(&ev), "key LEFTCTRL down, key C down");
    const vmsig_input motion = {VMSIG_INPUT_REL, 0, REL_X, -3};
    ev = event(VMSIG_CMD_INPUT, &motion, sizeof motion);
    cr_expect_str_eq(body(&ev), "rel axis 0 -3");
    const vmsig_vmhost host = {VMSIG_VM_PAUSED, VMSIG_LIFECYCLE_PAUSE};
    ev = event(VMSIG_EV_VMHOST, &host, sizeof host);
    cr_expect_str_eq(body(&ev), "paused (after pause)");
    const vmsig_lost lost = {3, 5, 3, 8, VMSIG_LOST_WINDOW};
    ev = event(VMSIG_EV_LOST, &lost, sizeof lost);
    cr_expect(strstr(body(&ev), "3 events of") && strstr(body(&ev), "(window), seq 3 to 5"), "%s", body(&ev));
    const vmsig_lease_info lease = {VMSIG_LEASE_DENIED, VMSIG_LEASE_INPUT, 1000, 0, 0};
    ev = event(VMSIG_EV_LEASE, &lease, sizeof lease);
    cr_expect_str_eq(body(&ev), "input lease denied, holder 1000, token 0");
}

Test(show, a_memctx) {
    const vmsig_memctx m = {.root = 0x1000, .cr4 = 1u << 12, .ram_id = 3, .flags = VMSIG_MEMCTX_COHERENT};
    const vmsig_seg seg = {0, 1 << 20, 0};
    vmsig_event ev = event(VMSIG_EV_MEMCTX, "", 0);
    cr_assert_eq(vmsig_memctx_pack(&ev, &m, &seg, 1), 0);
    cr_expect_str_eq(body(&ev), "root 0x1000, 5-level tables, ram 3: 1024 KiB in 1 segment, vcpu 0, cpl 0, coherent");
}

Test(show, a_body_too_short_for_its_kind_is_shown_raw) {
    vmsig_event ev = event(VMSIG_EV_LOST, "\x01\x02", 2);
    cr_expect_str_eq(body(&ev), "0102 = 513");
}

Test(show, json_of_every_kind_is_an_object) {
    for (unsigned kind = 1; kind < 256; kind++) {
        vmsig_event ev = event((uint8_t)kind, "\xff\x00 not text", 11);
        json_t *o = vmsig_event_json(&ev, NULL);
        cr_assert_not_null(o, "kind %u", kind);
        cr_expect_eq(json_integer_value(json_object_get(o, "seq")), 17);
        cr_expect_eq(json_integer_value(json_object_get(o, "kind_number")), (int)kind);
        cr_expect_null(json_object_get(o, "note"));
        json_decref(o);
    }
}

Test(show, json_gives_text_where_it_is_text) {
    vmsig_event ev = event(64, "abc", 3);
    json_t *o = vmsig_event_json(&ev, "a note");
    json_t *b = json_object_get(o, "body");
    cr_expect_str_eq(json_string_value(json_object_get(b, "text")), "abc");
    cr_expect_str_eq(json_string_value(json_object_get(b, "hex")), "616263");
    cr_expect_str_eq(json_string_value(json_object_get(o, "note")), "a note");
    json_decref(o);
    static const char *const no_text[] = {"\xff", "\x04", "\xc3", "\xc2\x9b", "a\x7f", "\xc3("};
    for (size_t i = 0; i < sizeof no_text / sizeof no_text[0]; i++) {
        ev = event(64, no_text[i], (uint32_t)strlen(no_text[i]));
        o = vmsig_event_json(&ev, NULL);
        cr_expect_null(json_object_get(json_object_get(o, "body"), "text"), "%zu", i);
        json_decref(o);
    }
}

static Vmsig__Pb__StatusActor actor = VMSIG__PB__STATUS_ACTOR__INIT;
static Vmsig__Pb__StatusActor *actors[] = {&actor};
static Vmsig__Pb__Status status = VMSIG__PB__STATUS__INIT;

static const Vmsig__Pb__Status *a_status(void) {
    actor.name = "beat";
    actor.kind = "sensor";
    actor.state = "running";
    actor.pid = 4711;
    actor.uptime_ms = 3723000;
    status.name = "demo";
    status.topology = "built-in demo";
    status.state = "running";
    status.lineage = 0xfedcba9876543210u;
    status.n_actors = 1;
    status.actors = actors;
    return &status;
}

Test(show, status_as_json) {
    json_t *o = vmsig_status_json(a_status());
    cr_assert_not_null(o);
    json_t *a = json_array_get(json_object_get(o, "actors"), 0);
    cr_expect_eq(json_integer_value(json_object_get(a, "pid")), 4711);
    cr_expect(json_is_null(json_object_get(a, "last_exit")));
    cr_expect(json_is_array(json_object_get(o, "links")));
    cr_expect_str_eq(json_string_value(json_object_get(o, "lineage")), "fedcba9876543210");
    json_decref(o);
}

Test(show, status_as_text, .init = cr_redirect_stdout) {
    cr_assert_eq(vmsig_show_status(a_status()), 0);
    fflush(stdout);
    cr_assert_stdout_eq_str("demo: running, supervisor 0, topology built-in demo\n\n"
                            "ACTOR  KIND     PID  UID  STATE    RESTARTS  UPTIME  LAST EXIT\n"
                            "beat   sensor  4711    0  running         0   1h 2m  -\n");
}

Test(show, columns_are_as_wide_as_their_widest_cell, .init = cr_redirect_stdout) {
    const char *const heads[] = {"A", ">B", NULL};
    vmsig_table *t = vmsig_table_new(heads);
    vmsig_table_cell(t, "long \xc3\xa4");
    vmsig_table_cell(t, "%d", 5);
    vmsig_table_cell(t, "%s", "");
    vmsig_table_cell(t, "%d", 12345);
    cr_assert_eq(vmsig_table_print(t, stdout), 0);
    fflush(stdout);
    cr_assert_stdout_eq_str("A           B\nlong \xc3\xa4      5\n-       12345\n");
}
