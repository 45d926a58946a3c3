#include <criterion/criterion.h>
#include <string.h>

#include "schema/caps.h"

static vmsig_event lifecycle(uint8_t kind, uint32_t op) {
    vmsig_event ev = {.kind = kind, .inln_len = 4};
    memcpy(ev.inln, &op, 4);
    return ev;
}

Test(caps, every_op_needs_exactly_one_capability_that_exists) {
    for (size_t i = 0; i < vmsig_needs_n; i++) {
        cr_expect_eq(__builtin_popcount(vmsig_needs[i].cap), 1);
        cr_expect_eq(vmsig_needs[i].cap & ~VMSIG_CAP_ALL, 0);
        for (size_t j = 0; j < i; j++)
            cr_expect(vmsig_needs[i].kind != vmsig_needs[j].kind || vmsig_needs[i].op != vmsig_needs[j].op);
    }
}

Test(caps, what_destroys_needs_a_lease_and_only_that) {
    for (size_t i = 0; i < vmsig_needs_n; i++) {
        const vmsig_need *n = &vmsig_needs[i];
        bool destructive =
            n->kind != VMSIG_CMD_LEASE && (n->cap & (VMSIG_CAP_INPUT | VMSIG_CAP_POWER | VMSIG_CAP_MEMWRITE));
        cr_expect_eq(n->cls != VMSIG_NO_LEASE, destructive, "%s", n->name);
        if (destructive)
            cr_expect_eq(vmsig_lease_cap(n->cls), n->cap, "%s", n->name);
    }
}

Test(caps, ops_that_do_not_exist_have_no_need) {
    const struct {
        uint8_t kind;
        uint32_t op;
        uint32_t cap; /* 0 = none */
    } c[] = {
        {VMSIG_CMD_LIFECYCLE, 0, 0},
        {VMSIG_CMD_LIFECYCLE, 1, VMSIG_CAP_LIFECYCLE},
        {VMSIG_CMD_LIFECYCLE, 4, 0},
        {VMSIG_CMD_LIFECYCLE, 15, 0},
        {VMSIG_CMD_LIFECYCLE, 16, VMSIG_CAP_POWER},
        {VMSIG_CMD_LIFECYCLE, 19, 0},
        {VMSIG_CMD_VM, 0, 0},
        {VMSIG_CMD_VM, 1, VMSIG_CAP_VM},
        {VMSIG_CMD_VM, 4, 0},
        {VMSIG_CMD_INPUT, 1, 0},
        {VMSIG_EV_STATE, 1, 0},
    };
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        vmsig_event ev = lifecycle(c[i].kind, c[i].op);
        const vmsig_need *n = vmsig_need_of(&ev);
        cr_expect_eq(n ? n->cap : 0, c[i].cap, "kind %u op %u", c[i].kind, c[i].op);
    }
}

Test(caps, bodies_are_looked_at_in_full) {
    vmsig_input in[2] = {{.type = VMSIG_INPUT_KEY, .down = 1, .code = 30}, {.type = VMSIG_INPUT_ABS}};
    vmsig_event ev = {.kind = VMSIG_CMD_INPUT, .inln_len = sizeof in};
    memcpy(ev.inln, in, sizeof in);
    cr_expect_not_null(vmsig_need_of(&ev));
    ev.inln_len = 12;
    cr_expect_null(vmsig_need_of(&ev));
    ev.inln_len = 0;
    cr_expect_null(vmsig_need_of(&ev));
    ev.inln_len = sizeof in;
    ev.inln[8] = 5; /* a type that does not exist */
    cr_expect_null(vmsig_need_of(&ev));

    vmsig_memwrite w = {.size = 8};
    ev = (vmsig_event){.kind = VMSIG_CMD_MEMWRITE, .inln_len = sizeof w};
    memcpy(ev.inln, &w, sizeof w);
    cr_expect_not_null(vmsig_need_of(&ev));
    ev.payload_len = 8; /* an atomic store has its value inside */
    cr_expect_null(vmsig_need_of(&ev));
    w.size = 100;
    memcpy(ev.inln, &w, sizeof w);
    cr_expect_null(vmsig_need_of(&ev));
    ev.payload_len = 100;
    cr_expect_not_null(vmsig_need_of(&ev));
    w.flags = 2;
    memcpy(ev.inln, &w, sizeof w);
    cr_expect_null(vmsig_need_of(&ev));

    vmsig_lease l = {.op = VMSIG_LEASE_ACQUIRE, .cls = 3};
    ev = (vmsig_event){.kind = VMSIG_CMD_LEASE, .inln_len = sizeof l};
    memcpy(ev.inln, &l, sizeof l);
    cr_expect_null(vmsig_need_of(&ev));
    l.cls = 2;
    memcpy(ev.inln, &l, sizeof l);
    cr_expect_eq(vmsig_need_of(&ev)->cap, VMSIG_CAP_MEMWRITE);
}

Test(caps, retired_and_unknown_bits_are_refused) {
    cr_expect_eq(vmsig_caps_check(VMSIG_CAP_ALL), 0);
    cr_expect_eq(vmsig_caps_check(0), 0);
    cr_expect_neq(vmsig_caps_check(0x4), 0);
    cr_expect_neq(vmsig_caps_check(VMSIG_CAP_ALL | 0x10), 0);
    cr_expect_neq(vmsig_caps_check(1u << 31), 0);
}
