#include <criterion/criterion.h>
#include <stdio.h>
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

/* ---- the table that people read ----------------------------------------------------------------------- */

static const char *cap_name(uint32_t cap) {
    switch (cap) {
    case VMSIG_CAP_INPUT:
        return "INPUT";
    case VMSIG_CAP_LIFECYCLE:
        return "LIFECYCLE";
    case VMSIG_CAP_POWER:
        return "POWER";
    case VMSIG_CAP_VM:
        return "VM";
    case VMSIG_CAP_MEMWRITE:
        return "MEMWRITE";
    default:
        return "?";
    }
}

static const char *lease_name(uint32_t cls) {
    static const char *const names[] = {"input", "power", "memory-write"};
    return cls < VMSIG_LEASE_CLASSES ? names[cls] : "\xe2\x80\x93"; /* a dash */
}

/* What a row must say of an op: "reset" of "lifecycle reset" stands in the row of these two. */
static const vmsig_need *need_named(const char *op, const char *cap, const char *lease) {
    for (size_t i = 0; i < vmsig_needs_n; i++) {
        const vmsig_need *n = &vmsig_needs[i];
        const char *word = strrchr(n->name, ' ');
        if (n->kind != VMSIG_CMD_LEASE && strcmp(word ? word + 1 : n->name, op) == 0)
            return strcmp(cap_name(n->cap), cap) == 0 && strcmp(lease_name(n->cls), lease) == 0 ? n : NULL;
    }
    return NULL;
}

Test(caps, the_docs_show_the_same_table) {
    FILE *f = fopen("docs/control.md", "r");
    cr_assert_not_null(f, "tests run in the project's folder");
    char line[512], ops[256], cap[64], lease[64], *rest;
    size_t told = 0, asked = 0;
    bool in = false;
    while (fgets(line, sizeof line, f)) {
        in = in ? line[0] == '|' : strncmp(line, "| command | capability |", 24) == 0;
        if (!in || sscanf(line, "| %255[^|] | %63[^ |] | %63[^ |] |", ops, cap, lease) != 3 || line[2] == '-' ||
            strcmp(cap, "capability") == 0)
            continue;
        for (char *op = strtok_r(ops, " ,", &rest); op; op = strtok_r(NULL, " ,", &rest)) {
            if (strcmp(op, "vm") == 0)
                continue;
            cr_expect_not_null(need_named(op, cap, lease), "%s: %s, %s", op, cap, lease);
            told++;
        }
    }
    fclose(f);
    for (size_t i = 0; i < vmsig_needs_n; i++)
        asked += vmsig_needs[i].kind != VMSIG_CMD_LEASE;
    cr_expect_eq(told, asked, "each command stands there once");
}
