/* The words of `vmsig send` made into commands. */
#include <criterion/criterion.h>
#include <linux/input-event-codes.h>
#include <string.h>

#include "schema/caps.h"
#include "supervisor/cli/send.h"

static vmsig_send_plan plan;
static char err[256];

static int parse(bool virtual_address, const char *const *words) {
    int n = 0;
    while (words[n])
        n++;
    err[0] = 0;
    return vmsig_send_parse(words, n, virtual_address, &plan, err, sizeof err);
}
#define PARSE(...) parse(false, (const char *const[]){__VA_ARGS__, NULL})

static vmsig_input input_at(size_t command, size_t i) {
    vmsig_input in;
    memcpy(&in, plan.commands[command].inln + i * sizeof in, sizeof in);
    return in;
}

Test(send, a_chord_is_pressed_in_order_and_let_go_in_reverse) {
    static const uint16_t codes[] = {KEY_LEFTCTRL, KEY_LEFTALT, KEY_DELETE};
    cr_assert_eq(PARSE("key", "ctrl+alt+delete"), 0, "%s", err);
    cr_assert_eq(plan.n, 2);
    cr_expect_eq(plan.lease, VMSIG_LEASE_INPUT);
    for (size_t c = 0; c < 2; c++) {
        cr_expect_eq(plan.commands[c].kind, VMSIG_CMD_INPUT);
        cr_expect_eq(plan.commands[c].dir, VMSIG_DIR_DOWN);
        cr_assert_eq(plan.commands[c].inln_len, 3 * sizeof(vmsig_input));
        for (size_t i = 0; i < 3; i++) {
            cr_expect_eq(input_at(c, i).code, codes[c ? 2 - i : i]);
            cr_expect_eq(input_at(c, i).down, c == 0);
            cr_expect_eq(input_at(c, i).type, VMSIG_INPUT_KEY);
        }
    }
}

Test(send, typed_text_holds_shift_where_it_must) {
    cr_assert_eq(PARSE("type", "aB!"), 0, "%s", err);
    cr_assert_eq(plan.n, 6);
    cr_expect_eq(input_at(0, 0).code, KEY_A);
    cr_expect_eq(plan.commands[2].inln_len, 2 * sizeof(vmsig_input));
    cr_expect_eq(input_at(2, 0).code, KEY_LEFTSHIFT);
    cr_expect_eq(input_at(2, 1).code, KEY_B);
    cr_expect_eq(input_at(3, 1).code, KEY_LEFTSHIFT);
    cr_expect_eq(input_at(4, 1).code, KEY_1);
}

Test(send, pointer) {
    cr_assert_eq(PARSE("rel", "-5", "3"), 0, "%s", err);
    cr_assert_eq(plan.n, 1);
    cr_expect_eq(input_at(0, 0).code, REL_X);
    cr_expect_eq(input_at(0, 0).value, -5);
    cr_expect_eq(input_at(0, 1).code, REL_Y);
    cr_expect_eq(input_at(0, 1).value, 3);
    cr_assert_eq(PARSE("abs", "0", "32767"), 0, "%s", err);
    cr_expect_eq(input_at(0, 1).type, VMSIG_INPUT_ABS);
    cr_expect_neq(PARSE("abs", "0", "32768"), 0);
    cr_expect_neq(PARSE("abs", "-1", "0"), 0);
    cr_assert_eq(PARSE("button", "right"), 0, "%s", err);
    cr_expect_eq(plan.n, 2);
    cr_expect_eq(input_at(0, 0).code, BTN_RIGHT);
    cr_expect_eq(input_at(0, 0).type, VMSIG_INPUT_BTN);
}

Test(send, lifecycle_takes_the_power_lease_only_for_power) {
    static const struct {
        const char *word;
        uint32_t op, lease;
    } ops[] = {{"pause", VMSIG_LIFECYCLE_PAUSE, VMSIG_NO_LEASE},
               {"resume", VMSIG_LIFECYCLE_RESUME, VMSIG_NO_LEASE},
               {"wakeup", VMSIG_LIFECYCLE_WAKEUP, VMSIG_NO_LEASE},
               {"powerdown", VMSIG_LIFECYCLE_POWERDOWN, VMSIG_LEASE_POWER},
               {"reset", VMSIG_LIFECYCLE_RESET, VMSIG_LEASE_POWER},
               {"quit", VMSIG_LIFECYCLE_QUIT, VMSIG_LEASE_POWER}};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        vmsig_lifecycle body;
        cr_assert_eq(PARSE(ops[i].word), 0, "%s", err);
        memcpy(&body, plan.commands[0].inln, sizeof body);
        cr_expect_eq(body.op, ops[i].op);
        cr_expect_eq(plan.lease, ops[i].lease, "%s", ops[i].word);
    }
}

Test(send, vm) {
    vmsig_vm body;
    cr_assert_eq(PARSE("vm", "query"), 0, "%s", err);
    memcpy(&body, plan.commands[0].inln, sizeof body);
    cr_expect_eq(body.op, VMSIG_VM_QUERY);
    cr_expect_eq(plan.commands[0].kind, VMSIG_CMD_VM);
    cr_expect_neq(PARSE("vm", "reset"), 0);
}

static vmsig_memwrite memwrite(void) {
    vmsig_memwrite w;
    memcpy(&w, plan.commands[0].inln, sizeof w);
    return w;
}

Test(send, memwrite) {
    cr_assert_eq(PARSE("memwrite", "0x1000", "0xff:1"), 0, "%s", err);
    cr_expect_eq(memwrite().addr, 0x1000);
    cr_expect_eq(memwrite().value, 0xff);
    cr_expect_eq(memwrite().size, 1);
    cr_expect_eq(memwrite().flags, 0);
    cr_expect_eq(plan.lease, VMSIG_LEASE_MEMWRITE);
    cr_assert_eq(PARSE("memwrite", "4096", "18446744073709551615"), 0, "%s", err);
    cr_expect_eq(memwrite().size, 8);
    cr_assert_eq(parse(true, (const char *const[]){"memwrite", "1", "1:4", NULL}), 0, "%s", err);
    cr_expect_eq(memwrite().flags, VMSIG_MEMWRITE_VIRTUAL);
    cr_expect_neq(PARSE("memwrite", "0", "256:1"), 0, "a value beyond its size");
    cr_expect_neq(PARSE("memwrite", "0", "1:3"), 0);
    cr_expect_neq(PARSE("memwrite", "0", "1:"), 0);
    cr_expect_neq(PARSE("memwrite", "x", "1"), 0);
    cr_expect_neq(parse(true, (const char *const[]){"pause", NULL}), 0, "--virtual without memwrite");
}

Test(send, what_is_wrong_is_said) {
    static char long_text[VMSIG_SEND_MAX + 2];
    cr_expect_neq(PARSE("kye", "a"), 0);
    cr_expect_str_eq(err, "there is no command kye; did you mean key?");
    cr_expect_neq(PARSE("key"), 0);
    cr_expect_str_eq(err, "expected: key KEY[+KEY...]");
    cr_expect_neq(PARSE("key", "a", "b"), 0);
    cr_expect_neq(PARSE("key", "a+"), 0);
    cr_expect_neq(PARSE("key", "a+b+c+d+e+f+g+h+i+j+k+l+m+n+o"), 0, "15 keys do not fit a group");
    cr_expect_neq(PARSE("type", ""), 0);
    cr_expect_neq(PARSE("type", "\xc3\xa4"), 0);
    memset(long_text, 'a', sizeof long_text - 1);
    cr_expect_neq(PARSE("type", long_text), 0);
    cr_expect_neq(err[0], 0);
}
