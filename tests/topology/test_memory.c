/* The n-th allocation fails, n = 1, 2... until it passes: an error with its sentence each time, and nothing is lost. */
#include <errno.h>
#include <stdbool.h>

#include "schema/codec.h"
#include "schema/grants.h"
#include "topo.h"
#include "vmsig_memctx.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer) /* they bring an allocator of their own */

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

static bool counting;
static long left; /* allocations until one fails; 0 = none does */
static long live; /* taken and not given back while counting */

static bool fails(void) {
    if (!counting)
        return false;
    if (left > 0 && --left == 0) {
        errno = ENOMEM;
        return true;
    }
    live++;
    return false;
}
void *malloc(size_t n) {
    return fails() ? NULL : __libc_malloc(n);
}
void *calloc(size_t n, size_t size) {
    return fails() ? NULL : __libc_calloc(n, size);
}
void *realloc(void *p, size_t n) {
    if (p && counting)
        live--;
    if (!fails())
        return __libc_realloc(p, n);
    if (p)
        live++;
    return NULL;
}
void *reallocarray(void *p, size_t n, size_t size) {
    return realloc(p, n * size);
}
void free(void *p) {
    if (p && counting)
        live--;
    __libc_free(p);
}

TestSuite(memory, .init = make_dir, .fini = remove_dir);

static const char text[] =
    "name: lab\n"
    "endpoints:\n"
    "  - {name: vm, id: 0, host: stub, stub: {memory: 16M}, options: {a: b}}\n"
    "  - {name: vn, id: 1, host: qemu, qemu: {kernel: k.elf}, exec: my-sensor}\n"
    "actors:\n"
    "  - {name: ctx, kind: context, policies: [{source: 8}]}\n"
    "  - {name: gate, kind: gateway, grants: grants.yaml, audit: audit.log}\n"
    "  - {name: eyes, kind: sensor, exec: ./my-sensor, endpoint: vm, source: 9, memctx: true, after: [vm], args: [a]}\n"
    "  - {name: ocr, kind: actor, exec: my-sensor}\n"
    "links:\n"
    "  - {from: eyes, to: ocr}\n"
    "  - {from: ocr, to: ctx}\n";

typedef int (*attempt)(vmsig_conf_error *why);

static int parse(vmsig_conf_error *why) {
    vmsig_topology *t;
    int err = vmsig_topology_parse("t.yaml", dir, text, strlen(text), dir, &t, why);
    vmsig_topology_free(t);
    return err;
}
static int load_file(vmsig_conf_error *why) {
    vmsig_topology *t;
    char path[64];
    snprintf(path, sizeof path, "%s/lab.yaml", dir);
    int err = vmsig_topology_load(path, dir, &t, why);
    vmsig_topology_free(t);
    return err;
}
static int grants(vmsig_conf_error *why) {
    static const char file[] = "grants: [{uid: 1, endpoints: all, caps: [input, vm]}]\n";
    const char *names[VMSIG_ENDPOINTS_MAX] = {NULL};
    vmsig_grants g;
    int err = vmsig_grants_parse("g.yaml", file, strlen(file), names, &g, why);
    vmsig_grants_free(&g);
    return err;
}

static int event(uint8_t kind, size_t n, vmsig_conf_error *why) {
    static uint8_t bytes[64 * sizeof(vmsig_seg)];
    vmsig_seg segs[64] = {{0}};
    vmsig_memctx ctx = {.ram_id = 1};
    vmsig_event ev = {.kind = 64, .payload = bytes, .payload_len = sizeof bytes}, out;
    vmsig_pb_event pb;
    if (kind == VMSIG_EV_MEMCTX) {
        ev = (vmsig_event){.kind = kind, .inln_len = sizeof ctx, .payload = segs};
        ev.payload_len = (uint32_t)(n * sizeof segs[0]);
        memcpy(ev.inln, &ctx, sizeof ctx);
    }
    int err = vmsig_event_to_pb(&ev, &pb);
    err = err < 0 ? err : vmsig_event_from_pb(&pb.e, &out);
    if (err == 0)
        free(out.payload);
    else
        strcpy(why->text, "refused");
    return err;
}
static int memctx(vmsig_conf_error *why) {
    return event(VMSIG_EV_MEMCTX, 64, why);
}
static int payload(vmsig_conf_error *why) {
    return event(64, 0, why);
}

static void until_it_passes(attempt try, long least) {
    vmsig_conf_error why;
    cr_assert_eq(try(&why), 0, "%s", why.text); /* what the C library keeps for itself it has by now */
    long n = 0;
    int err, losses_of_libyaml = 2, forgiven = 8; /* by the C library */
    do {
        live = 0;
        left = ++n;
        why.text[0] = '\0';
        counting = true;
        err = try(&why);
        counting = false;
        cr_assert(err == 0 || why.text[0], "allocation %ld failed without a word", n);
        /* libyaml 0.2.5 loses one block where its loader's stack cannot grow */
        cr_expect(live == 0 || (live == 1 && losses_of_libyaml-- > 0), "allocation %ld failed and %ld were lost: %s", n,
                  live, why.text);
        cr_assert_lt(n, 20000);
        cr_expect(err < 0 || left > 0 || forgiven-- > 0, "allocation %ld failed and nobody minded", n);
    } while (left == 0); /* until there is no n-th one */
    cr_expect_gt(n, least);
}

Test(memory, is_short_while_a_topology_is_parsed) {
    put("grants.yaml", "grants:\n  - {uid: 0, endpoints: [vm], caps: [observe]}\n", 0644);
    until_it_passes(parse, 100);
}
Test(memory, is_short_while_a_file_is_loaded) {
    put("lab.yaml", BASE, 0644);
    until_it_passes(load_file, 100);
}
Test(memory, is_short_while_grants_are_parsed) {
    until_it_passes(grants, 20);
}
Test(memory, is_short_while_an_event_is_taken) {
    until_it_passes(memctx, 1);
    until_it_passes(payload, 1);
}

#else
Test(memory, is_not_short_under_a_sanitizer) {
    (void)make_dir, (void)remove_dir, (void)wrong;
}
#endif
