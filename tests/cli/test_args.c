/* Arguments of the commands. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>

#include "supervisor/cli/cli.h"

typedef struct got {
    const char *name;
    bool json;
    uint64_t count;
    int timeout_ms;
    const char *words[VMSIG_CLI_WORDS_MAX];
    int nwords, code;
    bool go_on;
} got;

static got parse(int argc, char **argv) {
    got g = {.code = -1};
    const vmsig_cli_opt opts[] = {{"name", VMSIG_CLI_TEXT, &g.name, 0},
                                  {"json", VMSIG_CLI_YES, &g.json, 0},
                                  {"count", VMSIG_CLI_UINT, &g.count, 100},
                                  {"timeout", VMSIG_CLI_TIME, &g.timeout_ms, 0},
                                  {0}};
    g.go_on = vmsig_cli_parse(argc, argv, "the help\n", opts, g.words, &g.nwords, &g.code);
    return g;
}
#define PARSE(...)                                                                                                     \
    parse((int)(sizeof(char *[]){"cmd", __VA_ARGS__} / sizeof(char *)), (char *[]){"cmd", __VA_ARGS__, NULL})

static void redirect(void) {
    cr_redirect_stdout();
    cr_redirect_stderr();
}

Test(args, options_and_words_in_any_order) {
    got g = PARSE("0", "--json", "rel", "-5", "--name", "demo", "-7", "--count=7");
    cr_assert(g.go_on);
    cr_assert_eq(g.nwords, 4);
    cr_expect_str_eq(g.words[0], "0");
    cr_expect_str_eq(g.words[1], "rel");
    cr_expect_str_eq(g.words[2], "-5", "a negative number is a word");
    cr_expect_str_eq(g.words[3], "-7");
    cr_expect(g.json);
    cr_expect_str_eq(g.name, "demo");
    cr_expect_eq(g.count, 7);
}

Test(args, two_dashes_end_the_options) {
    got g = PARSE("--", "--json");
    cr_assert(g.go_on);
    cr_assert_eq(g.nwords, 1);
    cr_expect_str_eq(g.words[0], "--json");
    cr_expect_not(g.json);
}

Test(args, times) {
    cr_expect_eq(PARSE("--timeout", "5s").timeout_ms, 5000);
    cr_expect_eq(PARSE("--timeout", "5").timeout_ms, 5000);
    cr_expect_eq(PARSE("--timeout", "250ms").timeout_ms, 250);
    cr_expect_eq(PARSE("--timeout", "3600s").timeout_ms, 3600000);
}

Test(args, usage_errors, .init = redirect) {
    cr_expect_eq(PARSE("--bogus").code, VMSIG_EXIT_USAGE);
    cr_expect_eq(PARSE("-x").code, VMSIG_EXIT_USAGE);
    cr_expect_eq(PARSE("--name").code, VMSIG_EXIT_USAGE);
    cr_expect_eq(PARSE("--json=1").code, VMSIG_EXIT_USAGE);
    cr_expect_eq(PARSE("--count", "101").code, VMSIG_EXIT_USAGE);
    cr_expect_eq(PARSE("--count", "-1").code, VMSIG_EXIT_USAGE);
    cr_expect_eq(PARSE("--count", "1x").code, VMSIG_EXIT_USAGE);
    cr_expect_eq(PARSE("--timeout", "0").code, VMSIG_EXIT_USAGE);
    cr_expect_eq(PARSE("--timeout", "3601s").code, VMSIG_EXIT_USAGE);
    cr_expect_eq(PARSE("--timeout", "5m").code, VMSIG_EXIT_USAGE);
    cr_expect_not(PARSE("--bogus").go_on);
}

Test(args, one_sentence_names_the_option, .init = redirect) {
    PARSE("--bogus");
    fflush(stderr);
    cr_assert_stderr_eq_str("vmsig cmd: there is no option --bogus (see vmsig cmd --help)\n");
}

Test(args, too_many_words, .init = redirect) {
    char *argv[VMSIG_CLI_WORDS_MAX + 3];
    for (int i = 0; i < VMSIG_CLI_WORDS_MAX + 2; i++)
        argv[i] = "w";
    argv[VMSIG_CLI_WORDS_MAX + 2] = NULL;
    cr_expect_eq(parse(VMSIG_CLI_WORDS_MAX + 2, argv).code, VMSIG_EXIT_USAGE);
    cr_expect(parse(VMSIG_CLI_WORDS_MAX + 1, argv).go_on);
}

Test(args, help_is_printed_and_ends_it, .init = redirect) {
    got g = PARSE("--json", "--help", "--bogus");
    cr_expect_not(g.go_on);
    cr_expect_eq(g.code, VMSIG_EXIT_OK);
    fflush(stdout);
    cr_assert_stdout_eq_str("the help\n");
}

Test(args, numbers) {
    uint64_t u = 5;
    int64_t i = 5;
    cr_expect(vmsig_cli_uint("0x10", 16, &u) && u == 16);
    cr_expect(vmsig_cli_uint("18446744073709551615", UINT64_MAX, &u) && u == UINT64_MAX);
    cr_expect(vmsig_cli_uint("010", 10, &u) && u == 10, "no octal");
    cr_expect_not(vmsig_cli_uint("18446744073709551616", UINT64_MAX, &u));
    cr_expect_not(vmsig_cli_uint("", 1, &u));
    cr_expect_not(vmsig_cli_uint("0x", 1, &u));
    cr_expect_not(vmsig_cli_uint(" 1", 1, &u));
    cr_expect(vmsig_cli_int("-5", -5, 5, &i) && i == -5);
    cr_expect(vmsig_cli_int("+5", -5, 5, &i) && i == 5);
    cr_expect_not(vmsig_cli_int("-6", -5, 5, &i));
    cr_expect_not(vmsig_cli_int("--5", -5, 5, &i));
    cr_expect_not(vmsig_cli_int("-", -5, 5, &i));
}
