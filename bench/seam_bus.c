/* seam_bus.c: the same between processes: two controls over their sockets, gateway, context, the stub's host, each a
 * process of its own. Both controls are this process's, and so of one priority: none preempts the other. */
#include <limits.h>
#include <string.h>

#include "bench/bed.h"
#include "bench/seam.h"
#include "vmsig_stub.h"

#define CALL_MS 20000

typedef struct bus {
    bench_bed bed;
    vmsig_client *one, *two;
} bus;

static void ignore(void *user, const vmsig_event *ev) {
    (void)user, (void)ev;
}

/* Until the endpoint answers. */
static void wait_up(bus *b) {
    const vmsig_vm query = {.op = VMSIG_VM_QUERY};
    vmsig_result r = {.status = -1};
    for (uint64_t end = bench_now_ns() + CALL_MS * 1000000ull; r.status != VMSIG_OK; bench_bed_step(&b->bed, 5)) {
        vmsig_event cmd = {.kind = VMSIG_CMD_VM, .inln_len = sizeof query};
        memcpy(cmd.inln, &query, sizeof query);
        if (vmsig_client_call(b->one, &cmd, &r, CALL_MS) < 0 || bench_now_ns() > end)
            bench_bed_fail(&b->bed, "the endpoint does not come up: %s", vmsig_client_error(b->one));
    }
}

static void start(bus *b, bench_beds *beds) {
    const vmsig_client_cfg cfg = {.name = "bench", .on_event = ignore};
    char path[PATH_MAX], err[256] = "";
    bench_bed_make(&b->bed, "seam", beds);
    FILE *f = bench_bed_topology(&b->bed);
    fputs("endpoints:\n"
          "  - {name: box, id: 0, host: stub, quiet: 10s, stub: {memory: 4M, hz: 0}}\n"
          "actors:\n"
          "  - {name: context, kind: context}\n"
          "  - {name: gateway, kind: gateway, socket: control.sock}\n",
          f);
    bench_bed_start(&b->bed, f);
    bench_bed_connect(&b->bed, &cfg);
    b->one = b->bed.client;
    bench_bed_path(&b->bed, "control.sock", path, sizeof path);
    b->two = vmsig_client_open(path, &cfg, CALL_MS, err, sizeof err);
    if (b->two == NULL)
        bench_bed_fail(&b->bed, "%s", err);
    wait_up(b);
}

static vmsig_event lease(uint32_t op, uint32_t cls) {
    const vmsig_lease l = {
        .op = op, .cls = cls, .ttl_ms = 60000, .flags = op == VMSIG_LEASE_ACQUIRE ? VMSIG_LEASE_QUEUE : 0};
    vmsig_event cmd = {.kind = VMSIG_CMD_LEASE, .inln_len = sizeof l};
    memcpy(cmd.inln, &l, sizeof l);
    return cmd;
}

static void call(bus *b, vmsig_client *c, vmsig_event cmd) {
    vmsig_result r;
    if (vmsig_client_call(c, &cmd, &r, CALL_MS) < 0)
        bench_bed_fail(&b->bed, "%s", vmsig_client_error(c));
    if (r.status != VMSIG_OK)
        bench_bed_fail(&b->bed, "a command of kind %u was answered %d", cmd.kind, r.status);
}

/* Release by one to grant to the other, who asks in the same breath. */
static void hand_over(bus *b, uint32_t n, bench_hist *h) {
    vmsig_client *from = b->one, *to = b->two;
    call(b, from, lease(VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT));
    for (uint32_t i = 0; i < n; i++) {
        vmsig_event release = lease(VMSIG_LEASE_RELEASE, VMSIG_LEASE_INPUT);
        uint64_t t = bench_ticks();
        if (vmsig_client_send(from, &release) < 0)
            bench_bed_fail(&b->bed, "%s", vmsig_client_error(from));
        call(b, to, lease(VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT));
        bench_hist_add(h, bench_ticks() - t);
        vmsig_client *was = from;
        from = to;
        to = was;
    }
    call(b, from, lease(VMSIG_LEASE_RELEASE, VMSIG_LEASE_INPUT));
}

static void memwrite(bus *b, uint32_t n, bench_hist *h) {
    call(b, b->one, lease(VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_MEMWRITE));
    for (uint32_t i = 0; i < n; i++) {
        const vmsig_memwrite w = {.addr = VMSIG_STUB_SCRATCH, .value = i, .size = 8};
        vmsig_event cmd = {.kind = VMSIG_CMD_MEMWRITE, .inln_len = sizeof w};
        memcpy(cmd.inln, &w, sizeof w);
        uint64_t t = bench_ticks();
        call(b, b->one, cmd);
        bench_hist_add(h, bench_ticks() - t);
    }
    call(b, b->one, lease(VMSIG_LEASE_RELEASE, VMSIG_LEASE_MEMWRITE));
}

void bench_seam_bus(const bench_options *o) {
    static void (*const run[])(bus * b, uint32_t n, bench_hist * h) = {hand_over, memwrite};
    static bench_series series[] = {{.name = "processes: lease hand-over"}, {.name = "processes: MEMWRITE, 8 bytes"}};
    static bench_hist h;
    bench_beds beds = {0};
    bus b = {0};
    start(&b, &beds);
    for (unsigned r = 0; r < o->rounds; r++) {
        bench_progress(o, r);
        for (unsigned i = 0; i < sizeof series / sizeof *series; i++) {
            bench_hist_reset(&h);
            run[i](&b, 2 * o->scale, &h);
            bench_add_latency(&series[i], &h, 1);
        }
    }
    vmsig_client_close(b.two);
    bench_bed_stop(&b.bed);
    bench_report_title(o, "command to result, each part in a process of its own");
    for (unsigned i = 0; i < sizeof series / sizeof *series; i++)
        bench_report(o, &series[i], NULL, 0);
}
