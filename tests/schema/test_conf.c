/* Reading by table: what the topology's and the grants' tables do not reach. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "schema/conf_value.h"

typedef struct inner {
    uint64_t size;
} inner;
typedef struct outer {
    char *text, *filled;
    uint64_t number, size, time;
    bool text_set, flag;
    int choice;
    vmsig_conf_list list, few, pairs;
    vmsig_conf_maps maps;
    inner map;
    vmsig_conf_mark number_mark;
} outer;

static const char *const choices[] = {"a|b", "c", NULL};
static const vmsig_conf_key inner_keys[] = {{.name = "size",
                                             .type = VMSIG_CONF_SIZE,
                                             .offset = offsetof(inner, size),
                                             .max = UINT64_MAX,
                                             .fallback = "64K",
                                             .help = "How large."}};
static const vmsig_conf_table inner_table = {"inner", "What is inside.", sizeof(inner), inner_keys, 1};
static const vmsig_conf_key keys[] = {
    {.name = "text",
     .type = VMSIG_CONF_STRING,
     .offset = offsetof(outer, text),
     .set_offset = offsetof(outer, text_set),
     .help = "Any."},
    {.name = "filled",
     .type = VMSIG_CONF_STRING,
     .offset = offsetof(outer, filled),
     .fallback = "full",
     .help = "Any."},
    {.name = "number",
     .type = VMSIG_CONF_UINT,
     .offset = offsetof(outer, number),
     .mark_offset = offsetof(outer, number_mark),
     .min = 1,
     .max = UINT64_MAX,
     .required = true,
     .help = "A number."},
    {.name = "size", .type = VMSIG_CONF_SIZE, .offset = offsetof(outer, size), .max = UINT64_MAX, .help = "A size."},
    {.name = "time",
     .type = VMSIG_CONF_TIME,
     .offset = offsetof(outer, time),
     .min = 1500000,
     .max = UINT64_MAX,
     .fallback = "2ms",
     .help = "A time."},
    {.name = "flag", .type = VMSIG_CONF_BOOL, .offset = offsetof(outer, flag), .fallback = "yes", .help = "A flag."},
    {.name = "choice",
     .type = VMSIG_CONF_CHOICE,
     .offset = offsetof(outer, choice),
     .choices = choices,
     .fallback = "c",
     .help = "This | that."},
    {.name = "list", .type = VMSIG_CONF_LIST, .offset = offsetof(outer, list), .help = "Some."},
    {.name = "few", .type = VMSIG_CONF_LIST, .offset = offsetof(outer, few), .max = 2, .help = "Few."},
    {.name = "pairs", .type = VMSIG_CONF_PAIRS, .offset = offsetof(outer, pairs), .help = "Any pairs."},
    {.name = "maps",
     .type = VMSIG_CONF_MAPS,
     .offset = offsetof(outer, maps),
     .max = 2,
     .sub = &inner_table,
     .help = "Maps."},
    {.name = "map", .type = VMSIG_CONF_MAP, .offset = offsetof(outer, map), .sub = &inner_table, .help = "One map."},
};
static const vmsig_conf_table table = {"outer", "All types.", sizeof(outer), keys, sizeof keys / sizeof keys[0]};

static vmsig_conf_error why;
static outer o;

static int parse(const char *text) {
    return vmsig_conf_parse("f", text, strlen(text), &table, &o, &why);
}

Test(conf, defaults_are_filled_in) {
    cr_assert_eq(parse("number: 7\n"), 0, "%s", why.text);
    cr_expect_null(o.text);
    cr_expect(!o.text_set);
    cr_expect_str_eq(o.filled, "full");
    cr_expect_eq(o.number, 7);
    cr_expect_eq(o.number_mark.line, 1);
    cr_expect_eq(o.number_mark.column, 9);
    cr_expect_eq(o.time, 2000000);
    cr_expect(o.flag);
    cr_expect_eq(o.choice, 1);
    cr_expect_eq(o.map.size, 65536, "a map that is not there has its defaults");
    vmsig_conf_free(&table, &o);
    cr_expect_null(o.filled);
}

Test(conf, every_type_is_read) {
    cr_assert_eq(parse("text: \"a b\"\nfilled: other\nnumber: 18446744073709551615\nsize: 17179869183G\ntime: 3s\n"
                       "flag: no\nchoice: a|b\nlist: [x, \"\"]\nfew: alone\npairs: {k: v, '': ''}\n"
                       "maps: [{size: 1}, {}]\nmap: {size: 2M}\n"),
                 0, "%s", why.text);
    cr_expect_str_eq(o.text, "a b");
    cr_expect(o.text_set);
    cr_expect_str_eq(o.filled, "other");
    cr_expect_eq(o.number, UINT64_MAX);
    cr_expect_eq(o.size, 17179869183ull << 30);
    cr_expect_eq(o.time, 3000000000ull);
    cr_expect(!o.flag);
    cr_expect_eq(o.choice, 0);
    cr_expect_eq(o.list.n, 2);
    cr_expect_str_eq(o.list.items[1], "");
    cr_expect_eq(o.list.marks[1].line, 8);
    cr_expect_eq(o.list.marks[1].column, 11);
    cr_expect_eq(o.few.n, 1);
    cr_expect_eq(o.pairs.n, 4);
    cr_expect_eq(o.maps.n, 2);
    const inner *m = o.maps.items;
    cr_expect_eq(m[0].size, 1);
    cr_expect_eq(m[1].size, 65536);
    cr_expect_eq(o.map.size, 2u << 20);
    vmsig_conf_free(&table, &o);
}

Test(conf, what_is_wrong_is_told) {
    static const char *const cases[][2] = {
        {"number: 0\n", "f:1:9: number: found \"0\", expected a whole number from 1 to 18446744073709551615"},
        {"number: 18446744073709551616\n",
         "f:1:9: number: found \"18446744073709551616\", expected a whole number from 1 "
         "to 18446744073709551615"},
        {"number: 1\nsize: 17179869184G\n",
         "f:2:7: size: found \"17179869184G\", expected a size (bytes, or with K, M, G) "
         "from 0 to 18446744073709551615"},
        {"number: 1\ntime: 1ms\n", "f:2:7: time: found \"1ms\", expected a time (with ns, us, ms or s) from 1500us to "
                                   "18446744073709551615ns"},
        {"number: 1\ntime: 0ms\n", "f:2:7: time: found \"0ms\", expected a time (with ns, us, ms or s) from 1500us to "
                                   "18446744073709551615ns"},
        {"number: 1\nfew: [a, b, c]\n", "f:2:6: few: found 3 values, expected at most 2"},
        {"number: 1\nmaps: [{}, {}, {}]\n", "f:2:7: maps: found 3 of them, expected 0 to 2"},
        {"number: 1\nmaps: [{}, {sise: 1}]\n", "f:2:13: inner: found the unknown key \"sise\", expected size"},
        {"number: 1\nthis-is-a-key-that-is-longer-than-any: 1\n",
         "f:2:1: outer: found the unknown key \"this-is-a-key-that-is-longer-than-any\", expected one of text, filled, "
         "number, size, time, flag, choice, list, few, pairs, maps, map"},
        {"number: \"a\\tb\\x7f\"\n", "f:1:9: number: found \"a?b?\", expected a whole number from 1 to "
                                     "18446744073709551615"},
        {"number: 0123456789012345678901234567890123456789012345678901234567890123456789\n",
         "f:1:9: number: found \"0123456789012345678901234567890123456789012345678901234...\", expected a whole number "
         "from 1 to 18446744073709551615"},
        {"number: "
         "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
         "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3"
         "\xa4"
         "\xc3\xa4\xc3\xa4\xc3\xa4\n",
         "?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(parse(cases[i][0]), -EINVAL, "taken: %s", cases[i][0]);
        if (cases[i][1][0] != '?')
            cr_expect_str_eq(why.text, cases[i][1], "\n     got %s\nexpected %s", why.text, cases[i][1]);
        for (const char *c = why.text; *c; c++) /* no character is cut in two */
            if (((unsigned char)*c & 0xc0) == 0xc0)
                cr_expect_eq((unsigned char)c[1] & 0xc0, 0x80, "%s", why.text);
    }
}

Test(conf, a_message_is_one_line_of_text) {
    vmsig_conf_fail(&why, "f", (vmsig_conf_mark){1, 2}, "a\nb\x7f \xc3\xa4 \xc3");
    cr_expect_str_eq(why.text, "f:1:2: a?b? \xc3\xa4 ?");
}

/* Lists of keys and choices that are longer than a message has room for. */
#define LONG(c) "key-that-is-rather-long-to-spell-" c
static const char *const many[] = {LONG("a"), LONG("b"), LONG("c"), LONG("d"), LONG("e"), LONG("f"), NULL};
#define LONG_KEY(c)                                                                                                    \
    { .name = LONG(c), .type = VMSIG_CONF_CHOICE, .choices = many, .help = "Long." }
static const vmsig_conf_key long_keys[] = {LONG_KEY("a"), LONG_KEY("b"), LONG_KEY("c"), LONG_KEY("d"), LONG_KEY("e"),
                                           LONG_KEY("f"), LONG_KEY("g"), LONG_KEY("h"), LONG_KEY("i")};
static const vmsig_conf_table long_table = {"long", "Long.", sizeof(int), long_keys, 9};

Test(conf, long_lists_are_cut) {
    int choice;
    const char unknown[] = "x: 1\n", wrong[] = LONG("a") ": x\n";
    cr_expect_eq(vmsig_conf_parse("f", unknown, strlen(unknown), &long_table, &choice, &why), -EINVAL);
    cr_expect_not_null(strstr(why.text, "f:1:1: long: found the unknown key \"x\", expected one of " LONG("a")), "%s",
                       why.text);
    cr_expect_eq(vmsig_conf_parse("f", wrong, strlen(wrong), &long_table, &choice, &why), -EINVAL);
    cr_expect_not_null(strstr(why.text, ": found \"x\", expected one of " LONG("a")), "%s", why.text);
}

Test(conf, a_scalar_is_no_list) {
    vmsig_conf_list list = {0};
    const vmsig_conf_place at = {.file = "f", .err = &why};
    cr_expect_eq(vmsig_conf_scalar(&at, &keys[7], "x", 1, &list), -EINVAL);
    cr_expect_str_eq(why.text, "f: list: found \"x\", expected a list, as in [a, b]");
}

Test(conf, a_text_has_an_end) {
    char *text = malloc(8192);
    memset(text, 'x', 8192);
    memcpy(text, "number: 1\ntext: ", 16);
    text[16 + 4095] = '\0';
    cr_expect_eq(parse(text), 0, "%s", why.text);
    cr_expect_eq(strlen(o.text), 4095);
    vmsig_conf_free(&table, &o);
    text[16 + 4095] = 'x';
    text[16 + 4096] = '\0';
    cr_expect_eq(parse(text), -EINVAL);
    cr_expect_not_null(strstr(why.text, "expected at most 4095 bytes"), "%s", why.text);
    free(text);
}

Test(conf, a_file_has_an_end) {
    char *text = malloc(VMSIG_CONF_MAX + 1);
    memset(text, '\n', VMSIG_CONF_MAX + 1);
    memcpy(text, "number: 1\n", 10);
    cr_expect_eq(vmsig_conf_parse("f", text, VMSIG_CONF_MAX, &table, &o, &why), 0, "%s", why.text);
    vmsig_conf_free(&table, &o);
    cr_expect_eq(vmsig_conf_parse("f", text, VMSIG_CONF_MAX + 1, &table, &o, &why), -EINVAL);
    cr_expect_str_eq(why.text, "f: found 1048577 bytes, expected at most 1048576");
    memset(text, '[', VMSIG_CONF_MAX); /* and it is quick about it */
    cr_expect_eq(vmsig_conf_parse("f", text, VMSIG_CONF_MAX, &table, &o, &why), -EINVAL);
    free(text);
}

Test(conf, a_long_message_is_cut) {
    char name[600];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    cr_expect_eq(vmsig_conf_fail(&why, name, (vmsig_conf_mark){1, 2}, "%s", name), -EINVAL);
    cr_expect_eq(strlen(why.text), sizeof why.text - 1);
}

static char *said(int (*fn)(FILE *to, const char *key), const char *key, int *result) {
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    *result = fn(f, key);
    fclose(f);
    return text;
}
static int explain(FILE *to, const char *key) {
    return vmsig_conf_explain(to, &table, key);
}
static int reference(FILE *to, const char *key) {
    (void)key;
    vmsig_conf_reference(to, &table);
    return 0;
}

Test(conf, a_key_is_explained) {
    int err;
    char *text = said(explain, "size", &err);
    cr_expect_eq(err, 0);
    cr_expect_str_eq(text, "size: a size (bytes, or with K, M, G) from 0 to 18446744073709551615\n    A size.\n"
                           "maps.size: a size (bytes, or with K, M, G) from 0 to 18446744073709551615; default 64K\n"
                           "    How large.\n"
                           "map.size: a size (bytes, or with K, M, G) from 0 to 18446744073709551615; default 64K\n"
                           "    How large.\n");
    free(text);
    text = said(explain, "map", &err);
    cr_expect_str_eq(text, "map: a map, as in {key: value}\n    One map.\n    map.size\n");
    free(text);
    text = said(explain, "number", &err);
    cr_expect_str_eq(text, "number: a whole number from 1 to 18446744073709551615; required\n    A number.\n");
    free(text);
    text = said(explain, "outer.size", &err);
    cr_expect_eq(err, -ENOENT);
    cr_expect_str_eq(text, "");
    free(text);
}

Test(conf, the_reference_has_every_key_once) {
    int err;
    char *text = said(reference, NULL, &err);
    for (size_t i = 0; i < table.n; i++) {
        char row[64];
        snprintf(row, sizeof row, "\n| `%s` | ", keys[i].name);
        cr_expect_not_null(strstr(text, row), "%s", row);
    }
    cr_expect_not_null(strstr(text, "| `choice` | one of a\\|b, c | `c` | This \\| that. |\n"), "%s", text);
    cr_expect_not_null(strstr(text, "| required | A number. |\n"));
    cr_expect_not_null(strstr(
        text, "\n## maps\n\nWhat is inside.\n\n| key | value | default | meaning |\n|---|---|---|---|\n| `size` |"));
    free(text);
}
