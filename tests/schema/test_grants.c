/* Grants: who may do what; what is wrong is told with its place. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "schema/grants.h"

static const char *const names[VMSIG_ENDPOINTS_MAX] = {[0] = "tiny", [63] = "big"};
static vmsig_conf_error why;

static int parse(const char *text, vmsig_grants *g) {
    return vmsig_grants_parse("g.yaml", text, strlen(text), names, g, &why);
}

Test(grants, are_found_by_uid) {
    vmsig_grants g;
    cr_assert_eq(parse("grants:\n"
                       "  - {uid: 1000, endpoints: [tiny], caps: [observe, input, memctx], priority: 10}\n"
                       "  - {user: root, endpoints: all, caps: all, priority: 4294967295}\n"
                       "  - {uid: 7, endpoints: [tiny, big], caps: ['0x1', 2]}\n",
                       &g),
                 0, "%s", why.text);
    const vmsig_grant *a = vmsig_grants_find(&g, 1000), *b = vmsig_grants_find(&g, 0), *c = vmsig_grants_find(&g, 7);
    cr_assert(a && b && c);
    cr_expect_eq(a->principal, 1000);
    cr_expect_eq(a->endpoint_mask, 1);
    cr_expect_eq(a->caps, VMSIG_CAP_OBSERVE | VMSIG_CAP_INPUT | VMSIG_CAP_MEMCTX);
    cr_expect_eq(a->priority, 10);
    cr_expect_eq(b->endpoint_mask, UINT64_MAX);
    cr_expect_eq(b->caps, VMSIG_CAP_ALL);
    cr_expect_eq(b->priority, UINT32_MAX);
    cr_expect_eq(c->endpoint_mask, 1ull << 63 | 1);
    cr_expect_eq(c->caps, 3);
    cr_expect_eq(c->priority, 0);
    cr_expect_null(vmsig_grants_find(&g, 1));
    vmsig_grants_free(&g);
    cr_expect_null(vmsig_grants_find(&g, 1000));
}

Test(grants, may_be_none) {
    vmsig_grants g;
    cr_assert_eq(parse("grants: []\n", &g), 0);
    cr_expect_eq(g.n, 0);
    vmsig_grants_free(&g);
}

#define G(entry) "grants:\n  - {" entry "}\n"
#define CAPS(c)  G("uid: 1, endpoints: all, caps: " c)
#define CAPS_WHY "expected observe, input, lifecycle, power, vm, memctx, memwrite or all"
#define RETIRED  ", which bears a retired capability bit (0x4, 0x10), expected none of them"

Test(grants, that_are_wrong_are_told) {
    static const char *const cases[][2] = {
        {"", "g.yaml:1:1: the file is empty, expected keys and values"},
        {"grant: []\n", "g.yaml:1:1: grants file: found the unknown key \"grant\", expected grants"},
        {"{}\n", "g.yaml:1:1: grants file: found no grants, expected a list of maps"},
        {G("endpoints: all, caps: all"), "g.yaml:2:5: grants: found neither uid nor user, expected one of them"},
        {G("uid: 1, user: root, endpoints: all, caps: all"),
         "g.yaml:2:5: grants: found both uid and user, expected one of them"},
        {G("user: no-such-user, endpoints: all, caps: all"),
         "g.yaml:2:12: user: found \"no-such-user\", expected a user of this machine"},
        {G("uid: 4294967295, endpoints: all, caps: all"),
         "g.yaml:2:11: uid: found \"4294967295\", expected a whole number from 0 to 4294967294"},
        {G("uid: 1, endpoints: [tiny, small], caps: all"),
         "g.yaml:2:32: endpoints: found \"small\", expected the name of an endpoint, or all"},
        {G("uid: 1, endpoints: [], caps: all"),
         "g.yaml:2:25: endpoints: found an empty list, expected names of endpoints, or all"},
        {G("uid: 1, caps: all"), "g.yaml:2:5: grants: found no endpoints, expected a list, as in [a, b]"},
        {CAPS("[]"), "g.yaml:2:36: caps: found an empty list, expected capabilities, or all"},
        {CAPS("[observe, fly]"), "g.yaml:2:46: caps: found \"fly\", " CAPS_WHY},
        {CAPS("[0x4]"), "g.yaml:2:37: caps: found 0x4" RETIRED},
        {CAPS("[0x10]"), "g.yaml:2:37: caps: found 0x10" RETIRED},
        {CAPS("[0x17]"), "g.yaml:2:37: caps: found 0x17" RETIRED},
        {CAPS("4"), "g.yaml:2:36: caps: found 4" RETIRED},
        {CAPS("0x200"), "g.yaml:2:36: caps: found \"0x200\", " CAPS_WHY},
        {CAPS("['']"), "g.yaml:2:37: caps: found \"\", " CAPS_WHY},
        {CAPS("'0'"), "g.yaml:2:36: caps: found \"0\", " CAPS_WHY},
        {CAPS("0x100000001"), "g.yaml:2:36: caps: found \"0x100000001\", " CAPS_WHY},
        {G("uid: 1, endpoints: all, caps: all, priority: -1"),
         "g.yaml:2:51: priority: found \"-1\", expected a whole number from 0 to 4294967295"},
        {G("uid: 0, endpoints: all, caps: all}\n  - {user: root, endpoints: all, caps: all"),
         "g.yaml:3:12: grants: found uid 0 again, expected one entry for each user"},
        {G("uid: 9, endpoints: all, caps: all}\n  - {uid: 9, endpoints: all, caps: all"),
         "g.yaml:3:11: grants: found uid 9 again, expected one entry for each user"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vmsig_grants g;
        cr_expect_eq(parse(cases[i][0], &g), -EINVAL, "taken: %s", cases[i][0]);
        cr_expect_str_eq(why.text, cases[i][1], "\n     got %s\nexpected %s", why.text, cases[i][1]);
        cr_expect_null(g.grant);
    }
}

Test(caps, have_names) {
    char buf[80];
    cr_expect_str_eq(vmsig_caps_text(VMSIG_CAP_OBSERVE | VMSIG_CAP_INPUT, buf, sizeof buf), "observe, input");
    cr_expect_str_eq(vmsig_caps_text(VMSIG_CAP_ALL, buf, sizeof buf),
                     "observe, input, lifecycle, power, vm, memctx, memwrite");
    cr_expect_str_eq(vmsig_caps_text(0, buf, sizeof buf), "none");
    cr_expect_str_eq(vmsig_caps_text(VMSIG_CAP_RETIRED, buf, sizeof buf), "none");
    cr_expect_str_eq(vmsig_caps_text(VMSIG_CAP_ALL, buf, 8), "observe", "cut, and ended");
    cr_expect_eq(vmsig_cap_by_name("memwrite"), VMSIG_CAP_MEMWRITE);
    cr_expect_eq(vmsig_cap_by_name("all"), 0);
}

Test(grants, rings_are_for_whom_the_file_says_so) {
    vmsig_grants g;
    cr_assert_eq(parse("grants:\n  - {uid: 1, endpoints: [all], caps: [observe], rings: true}\n"
                       "  - {uid: 2, endpoints: [all], caps: [all]}\n",
                       &g),
                 0, "%s", why.text);
    cr_expect(vmsig_grants_rings(&g, 1));
    cr_expect_not(vmsig_grants_rings(&g, 2));
    cr_expect_not(vmsig_grants_rings(&g, 3));
    vmsig_grants_free(&g);
}
