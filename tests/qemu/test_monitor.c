/* What QEMU prints for people, as it is read; and what it is sent for input. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdlib.h>
#include <string.h>

#include "actors/hosts/qemu/keys.h"
#include "actors/hosts/qemu/monitor.h"
#include "actors/hosts/qemu/options.h"

#define CPU(n, cr0, cr3, cr4, efer, cpl)                                                                               \
    "\r\nCPU#" n                                                                                                       \
    "\r\nRAX=0000000000000000 RBX=ffff8880078a8000\r\nRIP=ffffffff81000000 RFL=00000202 [-------] CPL=" cpl            \
    " II=0 A20=1 SMM=0 HLT=0\r\nCR0=" cr0 " CR2=0000000000000000 CR3=" cr3 " CR4=" cr4 "\r\nEFER=" efer "\r\n"

Test(registers, the_first_vcpu_with_paging_on) {
    vmsig_memctx c = {0};
    cr_assert_eq(
        vmsig_monitor_registers(CPU("0", "00000011", "0000000000000000", "00000000", "0000000000000000", "0")
                                    CPU("1", "80050033", "8000000002a10801", "00371ef0", "0000000000000d01", "3"),
                                &c),
        0);
    cr_expect_eq(c.vcpu, 1);
    cr_expect_eq(c.root, 0x2a10000u, "flag bits, and the one that keeps the TLB, are masked out");
    cr_expect_eq(c.cr0, 0x80050033u);
    cr_expect_eq(c.cr4, 0x371ef0u);
    cr_expect_eq(c.efer, 0xd01u);
    cr_expect_eq(c.cpl, 3);
}

Test(registers, without_long_mode_paging_there_is_none) {
    vmsig_memctx c;
    const char *off[] = {CPU("0", "00000011", "0000000000200000", "00000020", "0000000000000500", "0"),
                         CPU("0", "80000011", "0000000000200000", "00000000", "0000000000000500", "0"),
                         CPU("0", "80000011", "0000000000200000", "00000020", "0000000000000100", "0")};
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        cr_expect_eq(vmsig_monitor_registers(off[i], &c), -ENOENT, "case %zu", i);
}

Test(registers, what_is_no_such_text_is_refused) {
    vmsig_memctx c;
    const char *bad[] = {"", "CR0=80000011 CR3=0", "CPU#0\r\nCR0=80000011 CR3=0000000000200000\r\n",
                         "CPU#0\r\nCR0= CR3= CR4= EFER= CPL=", "unknown command: 'info registers'"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(vmsig_monitor_registers(bad[i], &c), -EPROTO, "case %zu", i);
}

#define VIEW(lines)                                                                                                    \
    "FlatView #0\r\n AS \"memory\", root: system\r\n AS \"cpu-memory-0\", root: system\r\n Root memory region: "       \
    "system\r\n" lines "  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic\r\n\r\nFlatView #1\r\n AS \"I/O\", " \
    "root: io\r\n  0000000000000000-000000000000ffff (prio 0, ram): mine\r\n\r\n"

Test(map, neighbours_are_merged_and_others_left_out) {
    vmsig_seg s[8];
    uint64_t low;
    int n =
        vmsig_monitor_segments(VIEW("  0000000000000000-00000000000bffff (prio 0, ram): mine\r\n"
                                    "  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom\r\n"
                                    "  00000000000e0000-00000000000fffff (prio 0, rom): mine @00000000000e0000 KVM\r\n"
                                    "  0000000000100000-000000007fffffff (prio 0, ram): mine @0000000000100000 KVM\r\n"
                                    "  0000000080000000-0000000080000fff (prio 0, ram): mine2\r\n"
                                    "  0000000100000000-000000017fffffff (prio 0, ram): mine @0000000080000000\r\n"),
                               "mine", s, 8, &low);
    cr_assert_eq(n, 3);
    cr_expect(s[0].gpa == 0 && s[0].len == 0xc0000 && s[0].off == 0);
    cr_expect(s[1].gpa == 0xe0000 && s[1].len == 0x80000000 - 0xe0000 && s[1].off == 0xe0000);
    cr_expect(s[2].gpa == 0x100000000 && s[2].len == 0x80000000 && s[2].off == 0x80000000);
    cr_expect_eq(low, 0x80000000u, "q35 has its hole from 2 GiB on");
}

Test(map, what_is_no_such_text_is_refused) {
    vmsig_seg s[1];
    uint64_t low;
    cr_expect_eq(vmsig_monitor_segments("", "mine", s, 1, &low), -EPROTO);
    cr_expect_eq(vmsig_monitor_segments(VIEW(""), "mine", s, 1, &low), -EPROTO);
    cr_expect_eq(vmsig_monitor_segments(" AS \"memory\"", "mine", s, 1, &low), -EPROTO);
    cr_expect_eq(vmsig_monitor_segments(VIEW("  0000000000000000-0000000000000fff (prio 0, ram): mine\r\n"
                                             "  0000000000002000-0000000000002fff (prio 0, ram): mine @2000\r\n"),
                                        "mine", s, 1, &low),
                 -E2BIG);
}

static int text_of(uint8_t type, uint16_t code, int32_t value, char *out) {
    const vmsig_input in = {.type = type, .down = value > 0, .code = code, .value = value};
    return vmsig_qemu_input(&in, out);
}

Test(input, as_qemu_takes_it) {
    char t[VMSIG_QEMU_INPUT_BYTES];
    cr_assert_gt(text_of(VMSIG_INPUT_KEY, KEY_LEFTMETA, 1, t), 0);
    cr_expect_str_eq(t, "{\"type\":\"key\",\"data\":{\"down\":true,\"key\":{\"type\":\"qcode\",\"data\":\"meta_l\"}}}");
    cr_assert_gt(text_of(VMSIG_INPUT_BTN, BTN_MIDDLE, 0, t), 0);
    cr_expect_str_eq(t, "{\"type\":\"btn\",\"data\":{\"down\":false,\"button\":\"middle\"}}");
    cr_assert_gt(text_of(VMSIG_INPUT_REL, REL_Y, -7, t), 0);
    cr_expect_str_eq(t, "{\"type\":\"rel\",\"data\":{\"axis\":\"y\",\"value\":-7}}");
    cr_assert_gt(text_of(VMSIG_INPUT_ABS, ABS_X, 32767, t), 0);
    cr_expect_str_eq(t, "{\"type\":\"abs\",\"data\":{\"axis\":\"x\",\"value\":32767}}");
    cr_assert_gt(text_of(VMSIG_INPUT_REL, REL_WHEEL, -1, t), 0);
    cr_expect_str_eq(t, "{\"type\":\"btn\",\"data\":{\"down\":true,\"button\":\"wheel-down\"}},"
                        "{\"type\":\"btn\",\"data\":{\"down\":false,\"button\":\"wheel-down\"}}");
    int n = text_of(VMSIG_INPUT_REL, REL_HWHEEL, 16, t);
    cr_expect(n > 0 && (size_t)n == strlen(t) && n < (int)sizeof t);
}

Test(input, what_it_has_not_is_refused) {
    char t[VMSIG_QEMU_INPUT_BYTES];
    cr_expect_lt(text_of(VMSIG_INPUT_KEY, KEY_FN_ESC, 1, t), 0);
    cr_expect_lt(text_of(VMSIG_INPUT_KEY, 0, 1, t), 0);
    cr_expect_lt(text_of(VMSIG_INPUT_BTN, BTN_TOUCH, 1, t), 0);
    cr_expect_lt(text_of(VMSIG_INPUT_REL, REL_DIAL, 1, t), 0);
    cr_expect_lt(text_of(VMSIG_INPUT_REL, REL_WHEEL, 17, t), 0);
    cr_expect_lt(text_of(VMSIG_INPUT_REL, REL_WHEEL, INT32_MIN, t), 0);
    cr_expect_lt(text_of(VMSIG_INPUT_ABS, ABS_PRESSURE, 1, t), 0);
    cr_expect_lt(text_of(9, 0, 1, t), 0);
}

Test(options, a_comma_in_a_path_is_doubled) {
    char *t = vmsig_qemu_escape("a,b,,c");
    cr_expect_str_eq(t, "a,,b,,,,c");
    free(t);
}
