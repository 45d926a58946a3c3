/* The words that people type and read. */
#include <criterion/criterion.h>
#include <linux/input-event-codes.h>

#include "supervisor/cli/cli.h"
#include "supervisor/cli/names.h"
#include "vmsig_event.h"

Test(words, every_value_has_a_word_and_back) {
    static const struct {
        vmsig_words of;
        uint32_t first, last;
    } all[] = {{VMSIG_WORDS_INPUT, 1, 4},       {VMSIG_WORDS_LIFECYCLE, 1, 3},   {VMSIG_WORDS_LIFECYCLE, 16, 18},
               {VMSIG_WORDS_VM, 1, 3},          {VMSIG_WORDS_VM_STATE, 0, 5},    {VMSIG_WORDS_LEASE_OP, 1, 3},
               {VMSIG_WORDS_LEASE_CLASS, 0, 2}, {VMSIG_WORDS_LEASE_STATE, 1, 4}, {VMSIG_WORDS_LOST, 1, 6}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        for (uint32_t v = all[i].first; v <= all[i].last; v++)
            cr_expect_eq(vmsig_word_value(all[i].of, vmsig_word(all[i].of, v)), (int)v, "table %d, value %u", all[i].of,
                         v);
    cr_expect_str_eq(vmsig_word(VMSIG_WORDS_VM, 99), "?");
    cr_expect_eq(vmsig_word_value(VMSIG_WORDS_VM, "?"), -1);
}

Test(words, keys_by_name_in_any_case) {
    cr_expect_eq(vmsig_key_by_name("a"), KEY_A);
    cr_expect_eq(vmsig_key_by_name("A"), KEY_A);
    cr_expect_eq(vmsig_key_by_name("KEY_ENTER"), KEY_ENTER);
    cr_expect_eq(vmsig_key_by_name("ctrl"), KEY_LEFTCTRL);
    cr_expect_eq(vmsig_key_by_name("5"), KEY_5, "one digit is that key");
    cr_expect_eq(vmsig_key_by_name("30"), 30, "more digits are a code");
    cr_expect_eq(vmsig_key_by_name("0x2ff"), KEY_MAX);
    cr_expect_eq(vmsig_key_by_name("0x300"), -1);
    cr_expect_eq(vmsig_key_by_name("bogus"), -1);
    cr_expect_eq(vmsig_key_by_name(""), -1);
    cr_expect_eq(vmsig_key_by_name("KEY_"), -1);
    cr_expect_eq(vmsig_button_by_name("left"), BTN_LEFT);
    cr_expect_eq(vmsig_button_by_name("BTN_MIDDLE"), BTN_MIDDLE);
    cr_expect_eq(vmsig_button_by_name("enter"), -1);
}

Test(words, names_of_codes) {
    cr_expect_str_eq(vmsig_key_name(KEY_LEFTCTRL), "LEFTCTRL");
    cr_expect_str_eq(vmsig_key_name(BTN_LEFT), "LEFT");
    cr_expect_str_eq(vmsig_key_name(KEY_LEFT), "LEFT");
    cr_expect_null(vmsig_key_name(KEY_MAX));
}

Test(words, every_printable_character_can_be_typed) {
    int shift;
    for (char c = ' '; c < 0x7f; c++)
        cr_expect_geq(vmsig_key_of_char(c, &shift), 0, "'%c'", c);
    cr_expect_eq(vmsig_key_of_char('a', &shift), KEY_A);
    cr_expect_eq(shift, 0);
    cr_expect_eq(vmsig_key_of_char('A', &shift), KEY_A);
    cr_expect_eq(shift, 1);
    cr_expect_eq(vmsig_key_of_char('?', &shift), KEY_SLASH);
    cr_expect_eq(shift, 1);
    cr_expect_eq(vmsig_key_of_char('0', &shift), KEY_0);
    cr_expect_eq(vmsig_key_of_char('\x01', &shift), -1);
    cr_expect_eq(vmsig_key_of_char('\xe4', &shift), -1);
}

Test(words, the_nearest_is_suggested_and_only_if_near) {
    const char *const names[] = {"up", "status", "send", "tap", NULL};
    cr_expect_str_eq(vmsig_cli_nearest("statsu", names), "status");
    cr_expect_str_eq(vmsig_cli_nearest("snd", names), "send");
    cr_expect_null(vmsig_cli_nearest("frobnicate", names));
    cr_expect_null(vmsig_cli_nearest("zz", names));
    cr_expect_null(vmsig_cli_nearest("a-word-that-is-far-longer-than-any-command", names));
}
