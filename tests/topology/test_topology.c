/* What follows from a topology that is fine: actors, belonging, links, start order. */
#include "topo.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>

TestSuite(topology, .init = make_dir, .fini = remove_dir);

static vmsig_topo_actor *actor(const vmsig_topology *t, const char *name) {
    for (size_t i = 0; i < t->actors_n; i++)
        if (strcmp(t->actors[i].name, name) == 0)
            return &t->actors[i];
    cr_assert_fail("no actor %s", name);
    return NULL;
}

static const char *option(const vmsig_topo_actor *a, const char *key) {
    for (size_t i = 0; i < a->options_n; i++)
        if (strcmp(a->options[i].key, key) == 0)
            return a->options[i].value;
    return "";
}

static const vmsig_topo_link *link_of(const vmsig_topology *t, const char *from, const char *to, int dir_) {
    for (size_t i = 0; i < t->links_n; i++)
        if (strcmp(t->actors[t->links[i].from].name, from) == 0 && strcmp(t->actors[t->links[i].to].name, to) == 0 &&
            t->links[i].dir == dir_)
            return &t->links[i];
    return NULL;
}

/* "a>b a<b": all links; > up, < down (from a to b still). */
static const char *links(const vmsig_topology *t) {
    static char text[1024];
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < t->links_n; i++) {
        cr_expect_eq(t->links[i].id, i + 1);
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s%s%s", i ? " " : "", t->actors[t->links[i].from].name,
                              t->links[i].dir ? "<" : ">", t->actors[t->links[i].to].name);
    }
    return text;
}

static const char *order(const vmsig_topology *t) {
    static char text[1024];
    size_t n = 0;
    for (size_t i = 0; i < t->actors_n; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", i ? " " : "", t->actors[t->order[i]].name);
    return text;
}

static const char *in_dir(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static const char sample[] =
    "endpoints:\n"
    "  - {name: tiny, id: 0, host: stub, qemu: {memory: 128M, accel: auto, kernel: guest.elf}}\n"
    "actors:\n"
    "  - {name: ctx, kind: context, poll: adaptive, cpu: 0}\n"
    "  - {name: gate, kind: gateway, socket: control.sock, grants: grants.yaml, audit: audit.log}\n"
    "  - {name: beat, kind: sensor, exec: vmsig-sensor-tick, endpoint: tiny, source: 8, args: [--hz, \"100\"]}\n"
    "  - {name: eyes, kind: sensor, exec: ./my-sensor, endpoint: tiny, source: 9, memctx: true, restart: permanent}\n";

Test(topology, the_sample_is_resolved) {
    put("grants.yaml", "grants:\n  - {uid: 7, endpoints: [tiny], caps: [observe]}\n", 0644);
    vmsig_topology *t = fine(sample);
    cr_expect_str_eq(t->name, "t");
    cr_expect_eq(t->uid_base, 40000);
    cr_expect_eq(t->actors_n, 5);
    cr_expect_eq(t->endpoints_n, 1);
    cr_expect_str_eq(t->endpoints[0].name, "tiny");
    cr_expect_str_eq(t->endpoints[0].host, "stub");
    cr_expect_str_eq(t->actors[t->endpoints[0].host_actor].name, "tiny");
    cr_expect_str_eq(t->actors[t->endpoints[0].context].name, "ctx");
    cr_expect_str_eq(t->actors[t->endpoints[0].gateway].name, "gate");
    cr_expect_str_eq(links(t), "tiny>ctx ctx<tiny beat>ctx eyes>ctx ctx<eyes ctx>gate gate<ctx");
    cr_expect_str_eq(order(t), "gate ctx tiny beat eyes");

    vmsig_topo_actor *ctx = actor(t, "ctx"), *gate = actor(t, "gate"), *beat = actor(t, "beat"),
                     *eyes = actor(t, "eyes"), *tiny = actor(t, "tiny");
    cr_expect_str_eq(ctx->exec, in_dir("vmsig-context"));
    cr_expect_eq(ctx->cpu, 0);
    cr_expect_eq(ctx->endpoint, -1);
    cr_expect_eq(ctx->endpoint_mask, 1);
    cr_expect_eq(ctx->state_bytes, 8u << 20);
    cr_expect_str_eq(gate->socket, in_dir("control.sock"));
    cr_expect_str_eq(gate->grants, in_dir("grants.yaml"));
    cr_expect_str_eq(gate->audit, in_dir("audit.log"));
    cr_expect(strncmp(gate->grants_text, "grants:", 7) == 0);
    cr_expect_eq(gate->grants_len, strlen(gate->grants_text));
    cr_expect_eq(gate->state_bytes, 16u << 20);
    cr_expect_str_eq(beat->exec, in_dir("vmsig-sensor-tick"));
    cr_expect_str_eq(beat->argv[0], beat->exec);
    cr_expect_str_eq(beat->argv[1], "--hz");
    cr_expect_str_eq(beat->argv[2], "100");
    cr_expect_null(beat->argv[3]);
    cr_expect_eq(beat->source, 8);
    cr_expect_eq(beat->endpoint, 0);
    cr_expect_eq(beat->cpu, -1);
    cr_expect_eq(beat->state_bytes, 0);
    cr_expect_eq(beat->restarts_max, 5);
    cr_expect_eq(beat->window_ns, 10000000000ull);
    cr_expect_eq(beat->ready_deadline_ns, 5000000000ull);
    cr_expect_eq(beat->stop_deadline_ns, 2000000000ull);
    cr_expect_str_eq(eyes->exec, in_dir("my-sensor"));
    cr_expect(eyes->memctx);
    cr_expect_eq(tiny->kind, VMSIG_TOPO_HOST);
    cr_expect_eq(tiny->state_bytes, 65536);
    cr_expect_str_eq(option(tiny, "memory"), "16777216");
    cr_expect_str_eq(option(tiny, "la57"), "false");

    const vmsig_topo_link *down = link_of(t, "ctx", "tiny", VMSIG_DIR_DOWN);
    cr_expect_eq(down->accepts, 0x1f);
    cr_expect(!down->memctx);
    cr_expect_eq(down->slots, 1024);
    cr_expect_eq(down->arena_bytes, 32u << 10);
    cr_expect_eq(down->endpoint_mask, 1);
    down = link_of(t, "ctx", "eyes", VMSIG_DIR_DOWN);
    cr_expect(down->memctx);
    cr_expect_eq(down->accepts, 0);
    cr_expect_eq(down->source, 9);
    cr_expect_eq(link_of(t, "beat", "ctx", VMSIG_DIR_UP)->source, 8);
    vmsig_topology_free(t);
}

Test(topology, each_setting_arrives) {
    vmsig_topology *t = fine(
        "name: lab_1\nuid_base: 50000\nslots: 8\narena: 4K\n"
        "endpoints:\n  - name: vm\n    id: 63\n    host: stub\n    stub: {memory: 32M, la57: yes, hz: 0, boot_ms: 1}\n"
        "    options: {x: y}\n    exec: ./my-sensor\n    args: one\n    state: 0\n" ACTORS
        "  - name: s\n    kind: sensor\n    exec: vmsig-sensor\n    endpoint: vm\n    source: 31\n"
        "    accepts: [input, vm, memwrite, lifecycle]\n    poll: spin\n    restart: temporary\n    restarts: 0\n"
        "    window: 1s\n    ready: 100ms\n    stop: 1000us\n"
        "    user: root\n    after: [vm, vm]\n    state: 1M\n    options: {colour: blue, size: 3}\n");
    cr_expect_str_eq(t->name, "lab_1");
    cr_expect_eq(t->uid_base, 50000);
    const vmsig_topo_actor *vm = actor(t, "vm"), *s = actor(t, "s");
    cr_expect_str_eq(option(vm, "memory"), "33554432");
    cr_expect_str_eq(option(vm, "la57"), "true");
    cr_expect_str_eq(option(vm, "hz"), "0");
    cr_expect_str_eq(option(vm, "boot_ms"), "1");
    cr_expect_str_eq(option(vm, "x"), "y");
    cr_expect_str_eq(vm->argv[1], "one");
    cr_expect_eq(vm->state_bytes, 0);
    cr_expect_eq(vm->endpoint_mask, 1ull << 63);
    cr_expect_eq(s->accepts, 0xf);
    cr_expect_eq(s->poll, 1);
    cr_expect_eq(s->restart, VMSIG_RESTART_TEMPORARY);
    cr_expect_eq(s->restarts_max, 0);
    cr_expect_eq(s->window_ns, 1000000000ull);
    cr_expect_eq(s->ready_deadline_ns, 100000000ull);
    cr_expect_eq(s->stop_deadline_ns, 1000000ull);
    cr_expect_str_eq(s->user, "root");
    cr_expect_eq(s->after_n, 2, "vm once, and the context that takes its events");
    cr_expect_eq(s->state_bytes, 1u << 20);
    cr_expect_str_eq(option(s, "colour"), "blue");
    cr_expect_str_eq(option(s, "size"), "3");
    cr_expect_eq(link_of(t, "ctx", "s", VMSIG_DIR_DOWN)->accepts, 0xf);
    cr_expect_eq(link_of(t, "ctx", "s", VMSIG_DIR_DOWN)->slots, 8);
    cr_expect_eq(link_of(t, "ctx", "s", VMSIG_DIR_DOWN)->arena_bytes, 4096);
    vmsig_topology_free(t);
}

Test(topology, a_qemu_endpoint_has_its_settings) {
    put("vmsig-host-qemu", "#!/bin/sh\n", 0755);
    vmsig_topology *t = fine(
        "endpoints:\n  - {name: vm, id: 0, host: qemu, qemu: {memory: 1G, accel: tcg, kernel: k.elf}}\n"
        "  - {name: vn, id: 1, host: qemu}\n"
        "  - {name: vo, id: 2, host: qemu, qemu: {program: bin/q, machine: pc, cpu: max, append: a b, initrd: i.gz,"
        " disk: d.img, args: [-device, pvpanic]}}\n"
        "  - {name: vp, id: 3, host: qemu, qemu: {program: qemu-kvm}}\n" ACTORS);
    cr_expect_str_eq(t->endpoints[0].host, "qemu");
    const struct {
        const char *key, *value;
    } given[] = {{"machine", "pc"},     {"cpu", "max"}, {"append", "a b"},
                 {"args.0", "-device"}, {"args.2", ""}, {"args.1", "pvpanic"}};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        cr_expect_str_eq(option(actor(t, "vo"), given[i].key), given[i].value, "%s", given[i].key);
    cr_expect_str_eq(option(actor(t, "vo"), "program"), in_dir("bin/q"));
    cr_expect_str_eq(option(actor(t, "vo"), "initrd"), in_dir("i.gz"));
    cr_expect_str_eq(option(actor(t, "vo"), "disk"), in_dir("d.img"));
    cr_expect_str_eq(option(actor(t, "vp"), "program"), "qemu-kvm");
    cr_expect_str_eq(option(actor(t, "vn"), "machine"), "q35");
    cr_expect_str_eq(option(actor(t, "vm"), "memory"), "1073741824");
    cr_expect_str_eq(option(actor(t, "vm"), "accel"), "tcg");
    cr_expect_str_eq(option(actor(t, "vm"), "kernel"), in_dir("k.elf"));
    cr_expect_str_eq(option(actor(t, "vn"), "accel"), "auto");
    cr_expect_str_eq(option(actor(t, "vn"), "kernel"), "");
    vmsig_topology_free(t);
}

Test(topology, text_may_have_any_character_and_line_end) {
    vmsig_topology *t = fine("# \xe0\xa4\x84 \xed\x9f\xbf \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf \xef\xbf\xbd\r\n"
                             "name:\tlab\r\n" BASE);
    cr_expect_str_eq(t->name, "lab");
    vmsig_topology_free(t);
}

Test(topology, limits_none_takes_away_every_limit) {
    vmsig_topology *t = fine("limits: none\n" BASE);
    cr_expect(t->no_limits);
    for (size_t i = 0; i < t->actors_n; i++)
        cr_expect_eq(t->actors[i].restarts_max, 0);
    vmsig_topology_free(t);
}

Test(topology, policies_arrive_as_the_context_takes_them) {
    vmsig_topology *t = fine(ENDPOINT "actors:\n  - {name: g, kind: gateway}\n  - name: c\n    kind: context\n"
                                      "    policies:\n"
                                      "      - {source: 8, dir: up, prio: high, min_gap: 1ms, coalesce: 10ms, "
                                      "max_inflight: 100, drop: block}\n"
                                      "      - {source: 8, dir: down, drop: newest}\n"
                                      "      - {source: input, prio: urgent}\n");
    const vmsig_topo_actor *c = actor(t, "c");
    cr_assert_eq(c->policies_n, 3);
    const vmsig_topo_policy *p = c->policies;
    cr_expect_eq(p[0].source, 8);
    cr_expect_eq(p[0].dir, VMSIG_DIR_UP);
    cr_expect_eq(p[0].prio, VMSIG_PRIO_HIGH);
    cr_expect_eq(p[0].timing.min_gap_ns, 1000000);
    cr_expect_eq(p[0].timing.coalesce_ns, 10000000);
    cr_expect_eq(p[0].timing.max_inflight, 100);
    cr_expect_eq(p[0].timing.drop_policy, VMSIG_DROP_BLOCK);
    cr_expect_eq(p[1].dir, VMSIG_DIR_DOWN);
    cr_expect_eq(p[1].timing.drop_policy, VMSIG_DROP_NEWEST);
    cr_expect_eq(p[2].source, VMSIG_SRC_INPUT);
    cr_expect_eq(p[2].prio, VMSIG_PRIO_URGENT);
    vmsig_topology_free(t);
}

Test(topology, several_contexts_share_a_gateway) {
    vmsig_topology *t =
        fine("endpoints:\n  - {name: v, id: 5, host: stub}\n  - {name: w, id: 1, host: stub}\nactors:\n"
             "  - {name: c, kind: context, endpoints: [v]}\n  - {name: d, kind: context, endpoints: w}\n"
             "  - {name: g, kind: gateway}\n"
             "  - {name: s, kind: sensor, exec: my-sensor, endpoint: w, source: 8}\n"
             "  - {name: r, kind: sensor, exec: my-sensor, endpoint: v, source: 8}\n");
    cr_expect_str_eq(links(t), "v>c c<v w>d d<w s>d r>c c>g g<c d>g g<d");
    cr_expect_str_eq(order(t), "g c d v w s r");
    cr_expect_eq(link_of(t, "d", "g", VMSIG_DIR_UP)->endpoint_mask, 2);
    cr_expect_eq(link_of(t, "g", "c", VMSIG_DIR_DOWN)->endpoint_mask, 32);
    cr_expect_eq(actor(t, "g")->endpoint_mask, 34);
    vmsig_topology_free(t);
}

Test(topology, two_gateways_front_one_context) {
    vmsig_topology *t = fine("endpoints:\n  - {name: v, id: 0, host: stub}\n  - {name: w, id: 1, host: stub}\nactors:\n"
                             "  - {name: c, kind: context}\n  - {name: g, kind: gateway, endpoints: [v]}\n"
                             "  - {name: h, kind: gateway, endpoints: [w]}\n");
    cr_expect_str_eq(links(t), "v>c c<v w>c c<w c>g g<c c>h h<c");
    cr_expect_eq(link_of(t, "c", "h", VMSIG_DIR_UP)->endpoint_mask, 2);
    vmsig_topology_free(t);
}

Test(topology, contexts_and_gateways_may_stand_side_by_side) {
    vmsig_topology *t =
        fine("endpoints:\n  - {name: v, id: 0, host: stub}\n  - {name: w, id: 1, host: stub}\nactors:\n"
             "  - {name: c, kind: context, endpoints: [v]}\n  - {name: d, kind: context, endpoints: [w]}\n"
             "  - {name: g, kind: gateway, endpoints: [v]}\n  - {name: h, kind: gateway, endpoints: [w]}\n");
    cr_expect_str_eq(links(t), "v>c c<v w>d d<w c>g g<c d>h h<d");
    vmsig_topology_free(t);
}

Test(topology, a_written_link_resizes_the_one_that_follows) {
    vmsig_topology *t = fine(BASE "links:\n  - {from: vm, to: ctx, slots: 16}\n  - {from: ctx, to: vm, arena: 8K}\n"
                                  "  - {from: gate, to: ctx, slots: 32, dir: down}\n");
    cr_expect_str_eq(links(t), "vm>ctx ctx<vm ctx>gate gate<ctx");
    cr_expect_eq(link_of(t, "vm", "ctx", VMSIG_DIR_UP)->slots, 16);
    cr_expect_eq(link_of(t, "vm", "ctx", VMSIG_DIR_UP)->arena_bytes, 32u << 10);
    cr_expect_eq(link_of(t, "ctx", "vm", VMSIG_DIR_DOWN)->arena_bytes, 8192);
    cr_expect_eq(link_of(t, "gate", "ctx", VMSIG_DIR_DOWN)->slots, 32);
    vmsig_topology_free(t);
}

#define FILTER                                                                                                         \
    BASE "  - {name: screen, kind: sensor, exec: my-sensor, endpoint: vm, source: 8}\n"                                \
         "  - {name: ocr, kind: actor, exec: my-sensor, endpoint: vm, source: 9, memctx: true}\n"

Test(topology, an_actor_stands_between_a_sensor_and_its_context) {
    vmsig_topology *t = fine(FILTER "links:\n  - {from: screen, to: ocr}\n  - {from: ocr, to: ctx}\n"
                                    "  - {from: ctx, to: ocr}\n");
    cr_expect_str_eq(links(t), "vm>ctx ctx<vm ctx>gate gate<ctx screen>ocr ocr>ctx ctx<ocr");
    cr_expect_str_eq(order(t), "gate ctx vm ocr screen");
    cr_expect(link_of(t, "ctx", "ocr", VMSIG_DIR_DOWN)->memctx);
    cr_expect_eq(link_of(t, "ocr", "ctx", VMSIG_DIR_UP)->source, 9);
    cr_expect_eq(actor(t, "screen")->after_n, 1);
    vmsig_topology_free(t);
    t = fine(FILTER "links:\n  - {from: screen, to: ocr}\n  - {from: screen, to: ctx}\n  - {from: ocr, to: ctx}\n");
    cr_expect_not_null(link_of(t, "screen", "ctx", VMSIG_DIR_UP), "it is written, too");
    vmsig_topology_free(t);
    t = fine(BASE "  - {name: a, kind: actor, exec: my-sensor}\nlinks:\n  - {from: ctx, to: a}\n"
                  "  - {from: a, to: ctx, dir: down}\n");
    cr_expect_str_eq(links(t), "vm>ctx ctx<vm ctx>gate gate<ctx ctx>a a<ctx");
    vmsig_topology_free(t);
    t = fine(BASE "  - {name: a, kind: actor, exec: my-sensor, accepts: vm}\nlinks:\n  - {from: ctx, to: a}\n"
                  "  - {from: ctx, to: a, dir: up}\n  - {from: gate, to: a}\n");
    cr_expect_str_eq(links(t), "vm>ctx ctx<vm ctx>gate gate<ctx ctx<a ctx>a gate<a");
    cr_expect_eq(link_of(t, "ctx", "a", VMSIG_DIR_DOWN)->accepts, 1u << 2);
    cr_expect_eq(actor(t, "a")->state_bytes, 0);
    vmsig_topology_free(t);
    t = fine(BASE "  - {name: a, kind: sensor, exec: my-sensor, endpoint: vm, source: 9, accepts: vm}\n");
    cr_expect_eq(actor(t, "a")->state_bytes, 64u << 10, "what it had under way outlives it");
    vmsig_topology_free(t);
}

Test(topology, after_comes_first) {
    vmsig_topology *t =
        fine(BASE "  - {name: a, kind: sensor, exec: my-sensor, endpoint: vm, source: 8, after: [c]}\n"
                  "  - {name: b, kind: sensor, exec: my-sensor, endpoint: vm, source: 9}\n"
                  "  - {name: c, kind: sensor, exec: my-sensor, endpoint: vm, source: 10, after: [b, ctx]}\n");
    cr_expect_str_eq(order(t), "gate ctx vm b c a");
    const vmsig_topo_actor *c = actor(t, "c");
    cr_assert_eq(c->after_n, 2);
    cr_expect_str_eq(t->actors[c->after[0]].name, "b");
    cr_expect_str_eq(t->actors[c->after[1]].name, "ctx");
    vmsig_topology_free(t);
}

Test(topology, programs_are_found_in_path_too) {
    char path[300];
    snprintf(path, sizeof path, "relative::/nowhere:%s", dir);
    setenv("PATH", path, 1);
    vmsig_topology *t;
    vmsig_conf_error why;
    const char text[] = BASE;
    cr_expect_eq(vmsig_topology_parse("t.yaml", dir, text, strlen(text), "/nowhere", &t, &why), 0, "%s", why.text);
    cr_expect_str_eq(actor(t, "ctx")->exec, in_dir("vmsig-context"));
    vmsig_topology_free(t);
    snprintf(path, sizeof path, "%s:/nowhere", dir);
    setenv("PATH", path, 1);
    cr_expect_eq(vmsig_topology_parse("t.yaml", dir, text, strlen(text), "relative", &t, &why), 0, "%s", why.text);
    vmsig_topology_free(t);
    unsetenv("PATH");
    cr_expect_eq(vmsig_topology_parse("t.yaml", dir, text, strlen(text), "/nowhere", &t, &why), -EINVAL);
}

Test(topology, without_a_name_it_is_the_file_s) {
    static const char *const names[][2] = {
        {"lab.yaml", "lab"},
        {"/a/b.c/my lab.v2.yaml", "my-lab"},
        {"./-x.yaml", "_x"},
        {".hidden.yaml", "_hidden"},
        {"0123456789012345678901234567890123456789.yaml", "0123456789012345678901234567890"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        vmsig_topology *t;
        vmsig_conf_error why;
        cr_assert_eq(vmsig_topology_parse(names[i][0], dir, BASE, strlen(BASE), dir, &t, &why), 0, "%s", why.text);
        cr_expect_str_eq(t->name, names[i][1]);
        cr_expect_str_eq(t->file, names[i][0]);
        vmsig_topology_free(t);
    }
}

Test(topology, the_socket_lies_in_the_run_directory) {
    vmsig_topology *t = fine(BASE);
    cr_expect_str_eq(actor(t, "gate")->socket, "/run/test/vmsig/t/gate.sock");
    vmsig_topology_free(t);
}

Test(topology, a_file_is_loaded_with_paths_from_its_folder) {
    put("grants.yaml", "grants: []\n", 0644);
    put("lab.yaml",
        ENDPOINT "actors:\n  - {name: c, kind: context}\n"
                 "  - {name: g, kind: gateway, grants: ./grants.yaml, socket: /tmp/x.sock}\n",
        0644);
    vmsig_topology *t;
    vmsig_conf_error why;
    cr_assert_eq(vmsig_topology_load(in_dir("lab.yaml"), dir, &t, &why), 0, "%s", why.text);
    cr_expect_str_eq(t->folder, dir);
    cr_expect_str_eq(t->name, "lab");
    cr_expect_str_eq(actor(t, "g")->grants, in_dir("grants.yaml"));
    cr_expect_str_eq(actor(t, "g")->socket, "/tmp/x.sock");
    vmsig_topology_free(t);
}

Test(topology, a_file_that_cannot_be_read_is_told) {
    vmsig_topology *t;
    vmsig_conf_error why;
    char expected[512];
    cr_expect_eq(vmsig_topology_load(in_dir("nix.yaml"), dir, &t, &why), -ENOENT);
    snprintf(expected, sizeof expected,
             "%s:1:1: found no file that can be read (No such file or directory), expected one", in_dir("nix.yaml"));
    cr_expect_str_eq(why.text, expected);
    cr_expect_null(t);
    cr_expect_eq(vmsig_topology_load(dir, dir, &t, &why), -EISDIR);
    mkfifo(in_dir("fifo"), 0600);
    cr_expect_eq(vmsig_topology_load(in_dir("fifo"), dir, &t, &why), -EINVAL);
    int fd = open(in_dir("huge.yaml"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_eq(ftruncate(fd, VMSIG_CONF_MAX + 1), 0);
    close(fd);
    cr_expect_eq(vmsig_topology_load(in_dir("huge.yaml"), dir, &t, &why), -EFBIG);
    cr_expect_not_null(strstr(why.text, "huge.yaml:1:1: found a file that is too large"), "%s", why.text);
    cr_expect_eq(vmsig_topology_load("/proc/self/mem", dir, &t, &why), -EIO, "it opens and cannot be read");
    put("lab.yaml", BASE, 0644);
    struct rlimit old, none = {0, 0};
    getrlimit(RLIMIT_NOFILE, &old);
    none.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_NOFILE, &none);
    int err = vmsig_topology_load(in_dir("lab.yaml"), dir, &t, &why);
    setrlimit(RLIMIT_NOFILE, &old);
    cr_expect_eq(err, -EMFILE);
    cr_expect_eq(vmsig_topology_parse("t.yaml", "/no/such/folder", BASE, strlen(BASE), dir, &t, &why), -EINVAL);
    cr_expect_not_null(strstr(why.text, "/no/such/folder"));
}

Test(topology, the_demo_is_complete) {
    vmsig_topology *t;
    vmsig_conf_error why;
    cr_assert_eq(vmsig_topology_load(NULL, dir, &t, &why), 0, "%s", why.text);
    cr_expect_str_eq(t->name, "demo");
    cr_expect_str_eq(links(t), "stub>context context<stub tick>context memwatch>context context<memwatch "
                               "vmstat>context context>gateway gateway<context");
    vmsig_topology_free(t);
}

Test(topology, it_may_be_as_large_as_it_may_be) {
    size_t cap = VMSIG_CONF_MAX, n;
    char *text = malloc(cap);
    n = (size_t)snprintf(text, cap, "endpoints:\n");
    for (int i = 0; i < 64; i++)
        n += (size_t)snprintf(text + n, cap - n, "  - {name: vm%d, id: %d, host: stub}\n", i, i);
    n += (size_t)snprintf(text + n, cap - n, ACTORS);
    for (int i = 0; i < 64 * 24; i++)
        n += (size_t)snprintf(text + n, cap - n,
                              "  - {name: s%d, kind: sensor, exec: my-sensor, endpoint: vm%d, source: %d}\n", i, i / 24,
                              8 + i % 24);
    vmsig_topology *t = fine(text);
    cr_expect_eq(t->actors_n, 64 + 2 + 64 * 24);
    cr_expect_eq(t->links_n, 2 * 64 + 64 * 24 + 2);
    vmsig_topology_free(t);
    free(text);
}

Test(topology, there_may_be_none_to_free) {
    vmsig_topology_free(NULL);
}
