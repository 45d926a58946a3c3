/* A topology that is wrong in any way: one message with file, line, column, the key, what was found and expected. */
#include "topo.h"

#include <errno.h>

TestSuite(bad, .init = make_dir, .fini = remove_dir);

typedef struct bad {
    const char *text, *why;
} bad;

/* The message with DIR for the folder's name. */
static const char *without_dir(const char *why) {
    static char text[1024];
    const char *at = strstr(why, dir);
    if (!at)
        return why;
    snprintf(text, sizeof text, "%.*sDIR%s", (int)(at - why), why, at + strlen(dir));
    return text;
}

static void all_wrong(const bad *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char *why = wrong(cases[i].text, NULL);
        cr_expect_not_null(why, "taken: %s", cases[i].text);
        if (why)
            cr_expect_str_eq(without_dir(why), cases[i].why, "\n     got %s\nexpected %s", without_dir(why),
                             cases[i].why);
    }
}
#define ALL_WRONG(...)                                                                                                 \
    const bad cases[] = {__VA_ARGS__};                                                                                 \
    all_wrong(cases, sizeof cases / sizeof cases[0])

#define SENSOR(...) BASE "  - {name: s, kind: sensor, " __VA_ARGS__ "}\n"
#define TICK        "exec: vmsig-sensor-tick, endpoint: vm, source: 8"
#define POLICY(p)   ENDPOINT "actors:\n  - {name: gate, kind: gateway}\n  - name: c\n    kind: context\n    policies:\n" p
#define ACTOR(...)  BASE "  - {name: a, kind: actor, exec: my-sensor, " __VA_ARGS__ "}\n"
#define TWO         "endpoints:\n  - {name: v, id: 0, host: stub}\n  - {name: w, id: 1, host: stub}\nactors:\n"

Test(bad, keys) {
    ALL_WRONG(
        {BASE "  - {name: s, kind: sensor, pol: block}\n",
         "t.yaml:6:29: actors: found the unknown key \"pol\", expected poll"},
        {BASE "frobnicate: 1\n", "t.yaml:6:1: topology: found the unknown key \"frobnicate\", expected one of name, "
                                 "uid_base, limits, slots, arena, endpoints, actors, groups, links"},
        {BASE "\"\": 1\n", "t.yaml:6:1: topology: found the unknown key nothing, expected one of name, uid_base, "
                           "limits, slots, arena, endpoints, actors, groups, links"},
        {BASE "[a]: 1\n", "t.yaml:6:1: topology: found the unknown key a list, expected one of name, uid_base, limits, "
                          "slots, arena, endpoints, actors, groups, links"},
        {BASE "slots: 8\nname: a\nslots: 8\n",
         "t.yaml:8:1: slots: found the key again, expected it once (it is on line 6, too)"},
        {ACTORS, "t.yaml:1:1: topology: found no endpoints, expected a list of maps"},
        {ENDPOINT, "t.yaml:1:1: topology: found no actors, expected a list of maps"},
        {"endpoints:\n  - {id: 0, host: stub}\n" ACTORS, "t.yaml:2:5: endpoints: found no name, expected a name of "
                                                         "letters, digits, - and _, at most 31, not beginning with -"},
        {ENDPOINT "actors:\n  - {kind: context}\n", "t.yaml:4:5: actors: found no name, expected a name of letters, "
                                                    "digits, - and _, at most 31, not beginning with -"},
        {"endpoints:\n  - {name: vm, id: 0, host: stub, stub: {mem: 1M}}\n" ACTORS,
         "t.yaml:2:42: stub: found the unknown key \"mem\", expected one of memory, la57, hz, boot_ms"},
        {SENSOR(TICK ", options: {a: 1, b: 2, a: 3}"),
         "t.yaml:6:101: options: found the key a again, expected it once (it is on line 6, too)"});
}

Test(bad, types) {
    ALL_WRONG(
        {"- a\n", "t.yaml:1:1: found a list, expected keys and values"},
        {"a\n", "t.yaml:1:1: found \"a\", expected keys and values"},
        {"endpoints: 1\n", "t.yaml:1:12: endpoints: found \"1\", expected a list of maps"},
        {"endpoints: {a: 1}\n", "t.yaml:1:12: endpoints: found a map, expected a list of maps"},
        {"endpoints: [1]\n", "t.yaml:1:13: endpoints: found \"1\", expected a map, as in {key: value}"},
        {"endpoints: []\n" ACTORS, "t.yaml:1:12: endpoints: found 0 of them, expected 1 to 64"},
        {ENDPOINT "actors: []\n", "t.yaml:3:9: actors: found 0 of them, expected 1 to 1984"},
        {BASE "name: [a]\n", "t.yaml:6:7: name: found a list, expected a name of letters, digits, - and _, at most 31, "
                             "not beginning with -"},
        {BASE "name: {a: b}\n", "t.yaml:6:7: name: found a map, expected a name of letters, digits, - and _, at most "
                                "31, not beginning with -"},
        {BASE "name:\n", "t.yaml:6:6: name: found nothing, expected a name of letters, digits, - and _, at most 31, "
                         "not beginning with -"},
        {BASE "name: -a\n", "t.yaml:6:7: name: found \"-a\", expected a name of letters, digits, - and _, at most 31, "
                            "not beginning with -"},
        {BASE "name: a/b\n", "t.yaml:6:7: name: found \"a/b\", expected a name of letters, digits, - and _, at most "
                             "31, not beginning with -"},
        {BASE "name: \xc3\xa4\n", "t.yaml:6:7: name: found \"ä\", expected a name of letters, digits, - and _, at most "
                                  "31, not beginning with -"},
        {BASE "name: a2345678901234567890123456789012\n",
         "t.yaml:6:7: name: found \"a2345678901234567890123456789012\", expected a name of letters, digits, - and _, "
         "at most 31, not beginning with -"},
        {BASE "limits: some\n", "t.yaml:6:9: limits: found \"some\", expected one of default, none"},
        {BASE "name: \"a\\0b\"\n", "t.yaml:6:7: name: found \"a?b\", expected at most 4095 bytes, none of them NUL"},
        {SENSOR(TICK ", memctx: maybe"), "t.yaml:6:87: memctx: found \"maybe\", expected true or false"},
        {SENSOR(TICK ", args: {a: b}"), "t.yaml:6:85: args: found a map, expected a list, as in [a, b]"},
        {SENSOR(TICK ", args: [[a]]"), "t.yaml:6:86: args: found a list, expected a plain value"},
        {SENSOR(TICK ", args: ''"), "t.yaml:6:85: args: found nothing, expected a list, as in [a, b]"},
        {SENSOR(TICK ", options: [a]"), "t.yaml:6:88: options: found a list, expected a map, as in {key: value}"},
        {SENSOR(TICK ", options: {a: [b]}"), "t.yaml:6:92: options: found a list, expected a plain value"},
        {SENSOR(TICK ", options: {[a]: b}"), "t.yaml:6:89: options: found a list, expected a plain value"},
        {"endpoints:\n  - {name: vm, id: 0, host: stub, stub: 16M}\n" ACTORS,
         "t.yaml:2:41: stub: found \"16M\", expected a map, as in {key: value}"});
}

Test(bad, ranges) {
    ALL_WRONG(
        {"endpoints:\n  - {name: vm, id: 64, host: stub}\n" ACTORS,
         "t.yaml:2:20: id: found \"64\", expected a whole number from 0 to 63"},
        {"endpoints:\n  - {name: vm, id: -1, host: stub}\n" ACTORS,
         "t.yaml:2:20: id: found \"-1\", expected a whole number from 0 to 63"},
        {"endpoints:\n  - {name: vm, id: 0x1, host: stub}\n" ACTORS,
         "t.yaml:2:20: id: found \"0x1\", expected a whole number from 0 to 63"},
        {"endpoints:\n  - {name: vm, id: 99999999999999999999999, host: stub}\n" ACTORS,
         "t.yaml:2:20: id: found \"99999999999999999999999\", expected a whole number from 0 to 63"},
        {"endpoints:\n  - {name: vm, id: 0, host: vbox}\n" ACTORS,
         "t.yaml:2:29: host: found \"vbox\", expected one of stub, qemu"},
        {"endpoints:\n  - {name: vm, id: 0, host: stub, stub: {memory: 5M}}\n" ACTORS,
         "t.yaml:2:50: memory: found 5242880 bytes, expected a multiple of 2M"},
        {"endpoints:\n  - {name: vm, id: 0, host: qemu, qemu: {attach: {ram: r}}}\n" ACTORS,
         "t.yaml:2:50: attach: found no qmp, expected a text"},
        {"endpoints:\n  - {name: vm, id: 0, host: qemu, qemu: {attach: {qmp: q}, memory: 32M}}\n" ACTORS,
         "t.yaml:2:68: memory: found it beside `attach`, expected none: that QEMU runs already"},
        {"endpoints:\n  - {name: vm, id: 0, host: qemu, qemu: {args: [x], attach: {qmp: q}}}\n" ACTORS,
         "t.yaml:2:48: args: found it beside `attach`, expected none: that QEMU runs already"},
        {BASE "slots: 1000\n",
         "t.yaml:6:8: slots: found \"1000\", expected a whole number from 8 to 1048576, a power of two"},
        {BASE "slots: 4\n",
         "t.yaml:6:8: slots: found \"4\", expected a whole number from 8 to 1048576, a power of two"},
        {BASE "slots: 2097152\n",
         "t.yaml:6:8: slots: found \"2097152\", expected a whole number from 8 to 1048576, a power of two"},
        {BASE "arena: 3M\n",
         "t.yaml:6:8: arena: found \"3M\", expected a size (bytes, or with K, M, G) from 4K to 1G, a power of two"},
        {BASE "arena: 1T\n",
         "t.yaml:6:8: arena: found \"1T\", expected a size (bytes, or with K, M, G) from 4K to 1G, a power of two"},
        {BASE "arena: 99999999999999999G\n", "t.yaml:6:8: arena: found \"99999999999999999G\", expected a size (bytes, "
                                             "or with K, M, G) from 4K to 1G, a power of two"},
        {SENSOR("exec: my-sensor, endpoint: vm, source: 7"),
         "t.yaml:6:68: source: found \"7\", expected a whole number from 8 to 31"},
        {SENSOR("exec: my-sensor, endpoint: vm, source: 32"),
         "t.yaml:6:68: source: found \"32\", expected a whole number from 8 to 31"},
        {SENSOR(TICK ", cpu: 1024"),
         "t.yaml:6:84: cpu: found \"1024\", expected a whole number from 0 to 1023, or auto"},
        {SENSOR(TICK ", cpu: near"),
         "t.yaml:6:84: cpu: found \"near\", expected a whole number from 0 to 1023, or auto"},
        {SENSOR(TICK ", ready: 5"),
         "t.yaml:6:86: ready: found \"5\", expected a time (with ns, us, ms or s) from 1ms to 3600s"},
        {SENSOR(TICK ", ready: 0"),
         "t.yaml:6:86: ready: found \"0\", expected a time (with ns, us, ms or s) from 1ms to 3600s"},
        {SENSOR(TICK ", ready: 2h"),
         "t.yaml:6:86: ready: found \"2h\", expected a time (with ns, us, ms or s) from 1ms to 3600s"},
        {SENSOR(TICK ", poll: fast"), "t.yaml:6:85: poll: found \"fast\", expected one of adaptive, spin, block"},
        {SENSOR(TICK ", restart: always"),
         "t.yaml:6:88: restart: found \"always\", expected one of permanent, transient, temporary"},
        {BASE "uid_base: 4294967295\n",
         "t.yaml:6:11: uid_base: found \"4294967295\", expected a whole number from 1 to 4294965246"});
}

Test(bad, names_and_references) {
    ALL_WRONG(
        {BASE "  - {name: ctx, kind: gateway}\n",
         "t.yaml:6:12: name: found ctx again, expected a name of its own (line 4 has it)"},
        {BASE "  - {name: vm, kind: gateway}\n",
         "t.yaml:6:12: name: found vm again, expected a name of its own (line 2 has it)"},
        {"endpoints:\n  - {name: vm, id: 0, host: stub}\n  - {name: vm, id: 1, host: stub}\n" ACTORS,
         "t.yaml:3:12: name: found vm again, expected a name of its own (line 2 has it)"},
        {"endpoints:\n  - {name: vm, id: 0, host: stub}\n  - {name: vn, id: 0, host: stub}\n" ACTORS,
         "t.yaml:3:20: id: found 0 again, expected an id of its own (vm has it)"},
        {SENSOR("exec: my-sensor, source: 8"), "t.yaml:6:12: actors: found sensor s without an endpoint, expected one"},
        {SENSOR("exec: my-sensor, endpoint: vm"), "t.yaml:6:12: actors: found sensor s without a source, expected one"},
        {SENSOR("exec: my-sensor, endpoint: vmm, source: 8"),
         "t.yaml:6:56: endpoint: found \"vmm\", expected the name of an endpoint"},
        {SENSOR(TICK "}\n  - {name: r, kind: sensor, " TICK),
         "t.yaml:7:76: source: found 8 again in endpoint vm, expected one of its own (s has it)"},
        {SENSOR(TICK ", accepts: input}\n  - {name: r, kind: sensor, exec: vmsig-sensor-tick, endpoint: vm, source: 9, "
                     "accepts: [vm, input]"),
         "t.yaml:7:88: accepts: found input again in endpoint vm, expected it once (s takes it)"},
        {SENSOR("endpoint: vm, source: 8"),
         "t.yaml:6:12: actors: found s without exec, expected the program that it is"},
        {SENSOR(TICK ", after: [nobody]"),
         "t.yaml:6:87: after: found \"nobody\", expected the name of an actor or endpoint"},
        {SENSOR(TICK ", user: no-such-user"),
         "t.yaml:6:85: user: found \"no-such-user\", expected a user of this machine"},
        {SENSOR(TICK ", accepts: [input, lease]"),
         "t.yaml:6:96: accepts: found \"lease\", expected input, lifecycle, vm or memwrite"},
        {SENSOR(TICK ", accepts: [memctx]"),
         "t.yaml:6:89: accepts: found \"memctx\", expected input, lifecycle, vm or memwrite"},
        {SENSOR(TICK ", accepts: [lease-request]"),
         "t.yaml:6:89: accepts: found \"lease-request\", expected input, lifecycle, vm or memwrite"},
        {SENSOR(TICK ", accepts: [tick]"),
         "t.yaml:6:89: accepts: found \"tick\", expected input, lifecycle, vm or memwrite"},
        {SENSOR(TICK ", socket: a"), "t.yaml:6:87: socket: found it in a sensor, expected it only in a gateway"},
        {SENSOR(TICK ", policies: []"), "t.yaml:6:89: policies: found it in a sensor, expected it only in a context"},
        {SENSOR(TICK ", endpoints: [vm]"),
         "t.yaml:6:90: endpoints: found it in a sensor, expected it only in a context, gateway or actor"},
        {BASE "  - {name: c, kind: context, endpoint: vm}\n",
         "t.yaml:6:40: endpoint: found it in a context, expected it only in a sensor or actor"},
        {BASE "  - {name: c, kind: context, grants: vm}\n",
         "t.yaml:6:38: grants: found it in a context, expected it only in a gateway"});
}

Test(bad, programs) {
    put("no-program", "", 0644);
    ALL_WRONG(
        {SENSOR("exec: vmsig-sensor-nix, endpoint: vm, source: 8"),
         "t.yaml:6:35: exec: found no program vmsig-sensor-nix, expected it in DIR or in PATH"},
        {SENSOR("exec: ./nix, endpoint: vm, source: 8"),
         "t.yaml:6:35: exec: found DIR/nix, expected a program that can be run"},
        {SENSOR("exec: ./no-program, endpoint: vm, source: 8"),
         "t.yaml:6:35: exec: found DIR/no-program, expected a program that can be run"},
        {SENSOR("exec: /, endpoint: vm, source: 8"), "t.yaml:6:35: exec: found /, expected a program that can be run"},
        {"endpoints:\n  - {name: vm, id: 0, host: qemu}\n" ACTORS,
         "t.yaml:2:29: host: found no program vmsig-host-qemu, expected it in DIR or in PATH"});
}

Test(bad, belonging) {
    ALL_WRONG({ENDPOINT "actors:\n  - {name: gate, kind: gateway}\n",
               "t.yaml:2:12: endpoints: found endpoint vm without a context, expected an actor of that kind"},
              {ENDPOINT "actors:\n  - {name: ctx, kind: context}\n",
               "t.yaml:2:12: endpoints: found endpoint vm without a gateway, expected an actor of that kind"},
              {BASE "  - {name: c2, kind: context}\n",
               "t.yaml:6:12: endpoints: found endpoint vm in the contexts ctx and c2, expected it in one"},
              {BASE "  - {name: g2, kind: gateway}\n",
               "t.yaml:6:12: endpoints: found endpoint vm in the gateways gate and g2, expected it in one"},
              {TWO "  - {name: c, kind: context, endpoints: [v]}\n  - {name: g, kind: gateway}\n",
               "t.yaml:3:12: endpoints: found endpoint w without a context, expected an actor of that kind"},
              {BASE "  - {name: c2, kind: context, endpoints: []}\n",
               "t.yaml:6:12: endpoints: found none for c2, expected at least one"},
              {BASE "  - {name: c2, kind: context, endpoints: [nix]}\n",
               "t.yaml:6:43: endpoints: found \"nix\", expected the name of an endpoint"});
}

Test(bad, links) {
    ALL_WRONG(
        {BASE "links:\n  - {from: ctx, to: nix}\n",
         "t.yaml:7:21: to: found \"nix\", expected the name of an actor or endpoint"},
        {BASE "links:\n  - {from: nix, to: ctx}\n",
         "t.yaml:7:12: from: found \"nix\", expected the name of an actor or endpoint"},
        {BASE "links:\n  - {from: ctx, to: ctx}\n", "t.yaml:7:21: to: found ctx at both ends, expected another actor"},
        {BASE "links:\n  - {from: ctx, to: gate}\n  - {from: ctx, to: gate}\n",
         "t.yaml:8:12: links: found the link from ctx to gate again, expected it once"},
        {SENSOR(TICK) "links:\n  - {from: s, to: gate}\n", "t.yaml:8:12: links: found s to gate, which does not follow "
                                                           "from their kinds, expected a kind: actor at one end"},
        {SENSOR(TICK) "links:\n  - {from: ctx, to: s}\n", "t.yaml:8:12: links: found ctx to s, which does not follow "
                                                          "from their kinds, expected a kind: actor at one end"},
        {BASE "links:\n  - {from: ctx}\n", "t.yaml:7:5: links: found no to, expected a name of letters, digits, - and "
                                           "_, at most 31, not beginning with -"},
        {BASE "links:\n  - {from: ctx, to: gate, slots: 9}\n",
         "t.yaml:7:34: slots: found \"9\", expected a whole number from 8 to 1048576, a power of two"},
        {ACTOR("memctx: true"),
         "t.yaml:6:12: links: found none from or to a, expected those of a kind: actor written out"},
        {ACTOR("source: 9"), "t.yaml:6:53: source: found one without an endpoint, expected both or none"},
        {ACTOR("endpoint: vm, endpoints: [vm]"),
         "t.yaml:6:70: endpoints: found it beside endpoint, expected one of the two"},
        {ACTOR("endpoints: [nix]"), "t.yaml:6:57: endpoints: found \"nix\", expected the name of an endpoint"},
        {TWO "  - {name: c, kind: context, endpoints: [v]}\n  - {name: d, kind: context, endpoints: [w]}\n"
             "  - {name: g, kind: gateway}\n  - {name: a, kind: actor, exec: my-sensor, endpoint: v}\n"
             "links:\n  - {from: a, to: d}\n",
         "t.yaml:10:12: links: found a to d, expected them to have an endpoint in common"});
}

Test(bad, circles) {
    ALL_WRONG(
        {SENSOR(TICK ", after: [s]"),
         "t.yaml:6:86: after: found a circle, s after s, expected none (who sends events starts after who takes them)"},
        {SENSOR(TICK ", after: [r]}\n  - {name: r, kind: sensor, exec: my-sensor, endpoint: vm, source: 9, after: [s]"),
         "t.yaml:6:86: after: found a circle, s after r after s, expected none (who sends events starts after who "
         "takes them)"},
        {"endpoints:\n  - {name: vm, id: 0, host: stub}\nactors:\n  - {name: gate, kind: gateway}\n"
         "  - {name: ctx, kind: context, after: [vm]}\n",
         "t.yaml:5:39: after: found a circle, ctx after vm after ctx, expected none (who sends events starts after who "
         "takes them)"},
        {ACTOR("endpoint: vm}\n  - {name: b, kind: actor, exec: my-sensor") "links:\n  - {from: a, to: b}\n"
                                                                            "  - {from: b, to: a}\n",
         "t.yaml:6:12: after: found a circle, a after b after a, expected none (who sends events starts after who "
         "takes them)"});
}

Test(bad, policies) {
    ALL_WRONG({POLICY("      - {source: 32}\n"),
               "t.yaml:8:18: source: found \"32\", expected 0 to 31, or seam, memctx, vmhost, input, memwrite"},
              {POLICY("      - {source: eyes}\n"),
               "t.yaml:8:18: source: found \"eyes\", expected 0 to 31, or seam, memctx, vmhost, input, memwrite"},
              {POLICY("      - {dir: up}\n"), "t.yaml:8:9: policies: found no source, expected a text"},
              {POLICY("      - {source: 8}\n      - {source: 8}\n"),
               "t.yaml:9:18: source: found 8 again in this direction, expected one policy for it"},
              {POLICY("      - {source: 8, min_gap: 5s}\n"),
               "t.yaml:8:30: min_gap: found \"5s\", expected a time (with ns, us, ms or s) from 0 to 4294967295ns"},
              {POLICY("      - {source: 8, drop: all}\n"),
               "t.yaml:8:27: drop: found \"all\", expected one of oldest, newest, block"},
              {POLICY("      - {source: 8, max_inflight: 65537}\n"),
               "t.yaml:8:35: max_inflight: found \"65537\", expected a whole number from 0 to 65536"});
}

Test(bad, gateways) {
    put("empty.yaml", "", 0644);
    put("wrong.yaml", "grants:\n  - {uid: 1, endpoints: [vm], caps: [fly]}\n", 0644);
    ALL_WRONG({ENDPOINT
               "actors:\n  - {name: ctx, kind: context}\n  - {name: gate, kind: gateway, socket: /"
               "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
               "01234567}\n",
               "t.yaml:5:41: socket: found the path "
               "/012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901"
               "234567 of 109 bytes, expected at most 107"},
              {TWO "  - {name: c, kind: context}\n  - {name: g, kind: gateway, endpoints: [v], socket: /s}\n"
                   "  - {name: h, kind: gateway, endpoints: [w], socket: /s}\n",
               "t.yaml:7:54: socket: found the path of g again, expected one of its own"},
              {TWO "  - {name: c, kind: context}\n  - {name: g, kind: gateway, endpoints: [v], audit: a.log}\n"
                   "  - {name: h, kind: gateway, endpoints: [w], audit: ./a.log}\n",
               "t.yaml:7:53: audit: found the file of g again, expected one of its own"},
              {ENDPOINT "actors:\n  - {name: c, kind: context}\n  - {name: g, kind: gateway, grants: nix.yaml}\n",
               "t.yaml:5:38: grants: DIR/nix.yaml:1:1: found no file that can be read (No such file or directory), "
               "expected one"},
              {ENDPOINT "actors:\n  - {name: c, kind: context}\n  - {name: g, kind: gateway, grants: .}\n",
               "t.yaml:5:38: grants: DIR/.:1:1: found no file that can be read (Is a directory), expected one"},
              {ENDPOINT "actors:\n  - {name: c, kind: context}\n  - {name: g, kind: gateway, grants: empty.yaml}\n",
               "DIR/empty.yaml:1:1: the file is empty, expected keys and values"},
              {ENDPOINT "actors:\n  - {name: c, kind: context}\n  - {name: g, kind: gateway, grants: wrong.yaml}\n",
               "DIR/wrong.yaml:2:38: caps: found \"fly\", expected observe, input, lifecycle, power, vm, memctx, "
               "memwrite or all"});
}

Test(bad, run_directories) {
    char text[512], *base = malloc(8192);
    memset(base, 'r', 8191);
    base[0] = '/';
    base[8191] = '\0';
    setenv("XDG_RUNTIME_DIR", base, 1);
    cr_expect_str_eq(wrong(BASE, NULL), "t.yaml:5:12: socket: found a run directory with too long a path, expected at "
                                        "most 107 bytes");
    base[100] = '\0';
    setenv("XDG_RUNTIME_DIR", base, 1);
    snprintf(text, sizeof text,
             "t.yaml:5:12: socket: found the path %.100s/vmsig/t/gate.sock of 118 bytes, expected at most 107", base);
    cr_expect_str_eq(wrong(BASE, NULL), text);
    setenv("XDG_RUNTIME_DIR", "/run/test", 1);
    cr_expect_str_eq(wrong(TWO "  - {name: c, kind: context}\n"
                               "  - {name: g, kind: gateway, endpoints: [v], socket: /run/test/vmsig/t/h.sock}\n"
                               "  - {name: h, kind: gateway, endpoints: [w]}\n",
                           NULL),
                     "t.yaml:7:12: socket: found the path of g again, expected one of its own");
    free(base);
}

Test(bad, a_gateway_of_no_endpoint) {
    cr_expect_str_eq(wrong(BASE "  - {name: g, kind: gateway, endpoints: [nix]}\n", NULL),
                     "t.yaml:6:42: endpoints: found \"nix\", expected the name of an endpoint");
}

Test(bad, a_program_with_a_long_name) {
    char *text = malloc(8192), name[4094];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    sprintf(text, BASE "  - {name: s, kind: sensor, endpoint: vm, source: 8, exec: %s}\n", name);
    const char *why = wrong(text, NULL);
    cr_expect(why && strstr(why, "t.yaml:6:60: exec: found no program xxx"), "%s", why);
    free(text);
}

Test(bad, grants_of_another_gateway) {
    put("v.yaml", "grants: [{uid: 1, endpoints: [w], caps: [observe]}]\n", 0644);
    cr_expect_str_eq(without_dir(wrong(TWO "  - {name: c, kind: context}\n"
                                           "  - {name: g, kind: gateway, endpoints: [v], grants: v.yaml}\n"
                                           "  - {name: h, kind: gateway, endpoints: [w]}\n",
                                       NULL)),
                     "DIR/v.yaml:1:31: endpoints: found \"w\", expected the name of an endpoint, or all");
}

Test(bad, a_long_circle_is_cut) {
    char *text = malloc(65536);
    size_t n = (size_t)sprintf(text, "%s", BASE);
    for (int i = 0; i < 20; i++)
        n += (size_t)sprintf(text + n,
                             "  - {name: a23456789012345678901234567-%02d, kind: actor, exec: my-sensor, after: "
                             "[a23456789012345678901234567-%02d]}\n",
                             i, (i + 1) % 20);
    n += (size_t)sprintf(text + n, "links:\n");
    for (int i = 0; i < 20; i++)
        n += (size_t)sprintf(text + n, "  - {from: a23456789012345678901234567-%02d, to: ctx}\n", i);
    const char *why = wrong(text, NULL);
    cr_assert_not_null(why);
    cr_expect_not_null(strstr(why, ": after: found a circle, a23456789012345678901234567-00 after "), "%s", why);
    cr_expect_not_null(strstr(why, "expected none"), "%s", why);
    free(text);
}

Test(bad, text) {
    ALL_WRONG({"", "t.yaml:1:1: the file is empty, expected keys and values"},
              {"\n# nothing\n", "t.yaml:1:1: the file is empty, expected keys and values"},
              {"---\n", "t.yaml:2:1: found nothing, expected keys and values"},
              {"~\n", "t.yaml:1:1: found \"~\", expected keys and values"},
              {"a: [\n", "t.yaml:2:1: found no YAML (did not find expected node content while parsing a flow node), "
                         "expected keys and values"},
              {"a: b: c\n",
               "t.yaml:1:5: found no YAML (mapping values are not allowed in this context), expected keys and values"},
              {"a: \"\n", "t.yaml:2:1: found no YAML (found unexpected end of stream while scanning a quoted scalar), "
                          "expected keys and values"},
              {"endpoints:\n\t- a\n", "t.yaml:2:1: found a tab, expected spaces in front of a key"},
              {"a: \x01\n", "t.yaml:1:4: found byte 0x01, expected text"},
              {"a: \x7f\n", "t.yaml:1:4: found byte 0x7f, expected text"},
              {"a: \xff\n", "t.yaml:1:4: found byte 0xff, expected UTF-8 text"},
              {"\xc3\xa4: \xc3\n", "t.yaml:1:4: found byte 0xc3, expected UTF-8 text"},
              {"a: \xc0\xaf\n", "t.yaml:1:4: found byte 0xc0, expected UTF-8 text"},
              {"a: \xe0\x80\xaf\n", "t.yaml:1:4: found byte 0xe0, expected UTF-8 text"},
              {"a: \xed\xa0\x80\n", "t.yaml:1:4: found byte 0xed, expected UTF-8 text"},
              {"a: \xf0\x80\x80\x80\n", "t.yaml:1:4: found byte 0xf0, expected UTF-8 text"},
              {"a: \xf4\x90\x80\x80\n", "t.yaml:1:4: found byte 0xf4, expected UTF-8 text"},
              {"a: \xf5\x80\x80\x80\n", "t.yaml:1:4: found byte 0xf5, expected UTF-8 text"},
              {"a: &x b\n", "t.yaml:1:4: found an anchor (&), expected plain values"},
              {"a: &x [b]\n", "t.yaml:1:4: found an anchor (&), expected plain values"},
              {"a: &x {b: c}\n", "t.yaml:1:4: found an anchor (&), expected plain values"},
              {"a: *x\n", "t.yaml:1:4: found an alias (*), expected plain values"},
              {"a: !x b\n", "t.yaml:1:4: found a tag (!), expected plain values"},
              {"a: !x [b]\n", "t.yaml:1:4: found a tag (!), expected plain values"},
              {"a: !x {b: c}\n", "t.yaml:1:4: found a tag (!), expected plain values"},
              {BASE "---\na: b\n", "t.yaml:6:1: found a second document, expected one"},
              {"%YAML 3.0\n---\na: b\n",
               "t.yaml:1:1: found no YAML (found incompatible YAML document), expected keys and values"},
              {"a: [[[[[[[[[[[[[[[[[[[[[[[[\n",
               "t.yaml:1:19: found lists or maps nested in one another, expected at most 16"});
}
