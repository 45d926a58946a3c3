/* What the death of a process costs: a topology of its own, under load, whose processes are killed one at a time.
 *
 *   beat ──2 kHz──────────────────────────┐
 *   heap ──2 kHz, let through at 1 kHz────┼─► context (8192 queued) ──► gateway ──► here: a control
 *   flood ─as much as there is room for───┘
 *
 * Time: from SIGKILL to the first event that only the successor can have brought: of a sensor, one that it emitted; of
 * the context and the gateway, one that was emitted after the kill; of the host, its RAM. Traffic goes on without the
 * supervisor: its time is that to its successor's first answer.
 * Throughput: of the flood, over 200 ms before the kill, the 50 ms that begin with it, and 200 ms behind them. An event
 * that does not arrive is a failure.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/bed.h"
#include "bench/chain.h"
#include "supervisor/cli/ask.h"

#define KILLS     200u /* of each role */
#define FLOODS    1u   /* kills under full load, of each role and round */
#define QUEUED    8192u
#define BEAT      8u /* source numbers */
#define HEAP      9u
#define FLOOD     10u
#define TICK_KIND 64u
#define WINDOW    49152u /* events of the flood under way */
#define STEP      4096u
#define BEFORE_NS 200000000u
#define DURING_NS 50000000u
#define CALM_NS   40000000u /* between two kills */
#define STALL_NS  10000000000u
#define ANSWER_MS 10000

typedef enum role { SENSOR, CONTEXT, GATEWAY, HOST, SUPERVISOR, ROLES } role;
static const char *const actors[ROLES] = {"beat", "context", "gateway", "box", ""};

typedef struct restart_bench {
    bench_bed bed;
    int orders;
    uint64_t got, ordered, want; /* of the flood */
    uint64_t count;              /* of the newest beat */
    /* what is waited for */
    role wait; /* ROLES = nothing */
    uint64_t since_ns, came_ns;
} restart_bench;

/* ---- the topology ---------------------------------------------------------------------------------------- */

static void make(restart_bench *b, bench_beds *beds) {
    char orders[PATH_MAX];
    bench_bed_make(&b->bed, "restart", beds);
    b->orders = bench_bed_fifo(&b->bed, "orders", orders, sizeof orders);
    FILE *f = bench_bed_topology(&b->bed);
    fprintf(
        f,
        "limits: none\n"
        "slots: 1024\n"
        "endpoints:\n"
        "  - {name: box, id: 0, host: stub, stub: {memory: 4M, boot_ms: 1, hz: 100}}\n"
        "  - {name: other, id: 1, host: stub, stub: {memory: 4M, hz: 0}}\n"
        "actors:\n"
        "  - {name: context, kind: context, policies: [\n"
        "     {source: %u, min_gap: 1ms, max_inflight: %u, drop: oldest}]}\n"
        "  - {name: gateway, kind: gateway, socket: control.sock}\n"
        "  - {name: beat, kind: sensor, endpoint: box, source: %u, exec: vmsig-sensor-tick, args: [--hz, \"2000\"]}\n"
        "  - {name: heap, kind: sensor, endpoint: other, source: %u, exec: vmsig-sensor-tick, args: [--hz, \"2000\"]}\n"
        "  - {name: flood, kind: sensor, endpoint: box, source: %u, exec: vmsig-bench, args: [--sensor, \"%s\"]}\n",
        HEAP, QUEUED, BEAT, HEAP, FLOOD, orders);
    bench_bed_start(&b->bed, f);
}

/* ---- the control ----------------------------------------------------------------------------------------- */

static void order(restart_bench *b, uint64_t events) {
    bench_order o = {events, 0};
    if (write(b->orders, &o, sizeof o) != sizeof o)
        bench_bed_fail(&b->bed, "the sensor takes no orders");
    b->ordered += events;
}

static void came(restart_bench *b) {
    if (b->came_ns == 0)
        b->came_ns = bench_now_ns();
}

static void on_beat(restart_bench *b, const vmsig_event *ev) {
    uint64_t count;
    memcpy(&count, ev->inln, sizeof count);
    if (b->wait == SENSOR && count < b->count)
        came(b);
    if ((b->wait == CONTEXT || b->wait == GATEWAY) && ev->ts_ns > b->since_ns)
        came(b);
    b->count = count;
}

static void on_event(void *user, const vmsig_event *ev) {
    restart_bench *b = user;
    if (ev->kind != TICK_KIND)
        return;
    if (ev->source == BEAT)
        on_beat(b, ev);
    if (ev->source == FLOOD && ++b->got % STEP == 0 && b->ordered < b->want)
        order(b, STEP);
}

static void on_memctx(void *user, const vmsig_event *ev, int ram_fd) {
    restart_bench *b = user;
    (void)ram_fd;
    if (b->wait == HOST && ev->ts_ns > b->since_ns)
        came(b);
}

/* ---- who is there ---------------------------------------------------------------------------------------- */

/* The pid of who has the role; 0: somebody is not ready. */
static pid_t look(restart_bench *b, role r) {
    char err[VMSIG_ASK_ERR_MAX];
    Vmsig__Pb__Response *answer;
    if (vmsig_ask_status("restart", ANSWER_MS, &answer, err) != 0)
        bench_bed_fail(&b->bed, "%s", err);
    pid_t pid = answer->status->pid;
    for (size_t i = 0; i < answer->status->n_actors; i++) {
        const Vmsig__Pb__StatusActor *a = answer->status->actors[i];
        if (strcmp(a->state, "ready") != 0)
            pid = 0;
        else if (pid != 0 && strcmp(a->name, actors[r]) == 0)
            pid = a->pid;
    }
    vmsig_ask_free(answer);
    return pid;
}

static void receive_for(restart_bench *b, uint64_t ns) {
    uint64_t end = bench_now_ns() + ns;
    for (uint64_t now = end - ns; now < end; now = bench_now_ns())
        bench_bed_step(&b->bed, (int)((end - now) / 1000000u) + 1);
    bench_bed_look(&b->bed);
}

static pid_t victim(restart_bench *b, role r) {
    uint64_t until = bench_now_ns() + STALL_NS;
    pid_t pid;
    receive_for(b, CALM_NS);
    while ((pid = look(b, r)) == 0) {
        if (bench_now_ns() > until)
            bench_bed_fail(&b->bed, "not all came back after a kill");
        receive_for(b, 1000000);
    }
    return pid;
}

static void strike(restart_bench *b, role r, pid_t pid) {
    b->came_ns = 0;
    b->wait = r;
    b->since_ns = bench_now_ns();
    if (kill(pid, SIGKILL) != 0)
        bench_bed_fail(&b->bed, "cannot kill %s: %s", actors[r], strerror(errno));
}

/* ---- time ------------------------------------------------------------------------------------------------ */

static uint64_t one_kill(restart_bench *b, role r) {
    pid_t pid = victim(b, r);
    strike(b, r, pid);
    if (r == SUPERVISOR) {
        while (look(b, r) == pid) { /* an answer of its last moment */
        }
        came(b);
    }
    for (uint64_t until = b->since_ns + STALL_NS; b->came_ns == 0;) {
        bench_bed_step(&b->bed, 100);
        if (bench_now_ns() > until)
            bench_bed_fail(&b->bed, "nothing came of the successor of %s", actors[r]);
    }
    b->wait = ROLES;
    return b->came_ns - b->since_ns;
}

static void times(const bench_options *o, restart_bench *b) {
    static bench_hist hist[ROLES];
    static bench_series series[ROLES] = {
        {.name = "sensor"}, {.name = "context"}, {.name = "gateway"}, {.name = "host"}, {.name = "supervisor"}};
    for (role r = 0; r < ROLES; r++)
        bench_hist_reset(&hist[r]);
    for (uint64_t i = 0, n = bench_scaled(o, KILLS); i < n; i++) {
        bench_progress(o, (unsigned)(i * o->rounds / n));
        for (role r = 0; r < ROLES; r++)
            bench_hist_add(&hist[r], one_kill(b, r));
    }
    bench_report_title(o, "SIGKILL to the first event of the successor, 8192 events queued");
    for (role r = 0; r < ROLES; r++) {
        bench_add_latency_ns(&series[r], &hist[r], 1);
        bench_report(o, &series[r], NULL, 0);
    }
}

/* ---- throughput ------------------------------------------------------------------------------------------ */

typedef struct flow {
    bench_series before, during, after;
} flow;

static double rate_over(restart_bench *b, uint64_t ns) {
    uint64_t got = b->got, begin = bench_now_ns();
    receive_for(b, ns);
    return (double)(b->got - got) * 1e9 / (double)(bench_now_ns() - begin);
}

static void one_flood(restart_bench *b, role r, flow *f) {
    pid_t pid = victim(b, r);
    b->want = UINT64_MAX;
    order(b, WINDOW);
    receive_for(b, BEFORE_NS);
    bench_add_value(&f->before, BENCH_RATE, rate_over(b, BEFORE_NS));
    strike(b, r, pid);
    bench_add_value(&f->during, BENCH_RATE, rate_over(b, DURING_NS));
    bench_add_value(&f->after, BENCH_RATE, rate_over(b, BEFORE_NS));
    b->wait = ROLES;
    b->want = 0;
    for (uint64_t until = bench_now_ns() + STALL_NS; b->got < b->ordered;) {
        bench_bed_step(&b->bed, 100);
        if (bench_now_ns() > until)
            bench_bed_fail(&b->bed, "%lu events were lost", (unsigned long)(b->ordered - b->got));
    }
    if (b->got > b->ordered)
        bench_bed_fail(&b->bed, "%lu events came twice", (unsigned long)(b->got - b->ordered));
}

static void throughput(const bench_options *o, restart_bench *b) {
    static const role whom[] = {CONTEXT, GATEWAY, SUPERVISOR};
    static flow flows[] = {
        {{.name = "context: before"}, {.name = "context: 50 ms from the kill"}, {.name = "context: after"}},
        {{.name = "gateway: before"}, {.name = "gateway: 50 ms from the kill"}, {.name = "gateway: after"}},
        {{.name = "supervisor: before"}, {.name = "supervisor: 50 ms from the kill"}, {.name = "supervisor: after"}}};
    for (unsigned i = 0; i < o->rounds * FLOODS; i++)
        for (size_t k = 0; k < sizeof whom / sizeof whom[0]; k++)
            one_flood(b, whom[k], &flows[k]);
    bench_report_title(o, "throughput before, during and after the death (medians of the rounds)");
    for (size_t k = 0; k < sizeof whom / sizeof whom[0]; k++) {
        bench_report(o, &flows[k].before, NULL, 0);
        bench_report(o, &flows[k].during, (const bench_series *[]){&flows[k].before}, 1);
        bench_report(o, &flows[k].after, (const bench_series *[]){&flows[k].before}, 1);
    }
}

/* ---- the bench ------------------------------------------------------------------------------------------- */

/* The processes of this topology may run on either processor, as they do where nobody pins them. */
static void unpin(const bench_options *o) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)o->cpu[0], &set);
    CPU_SET((size_t)o->cpu[1], &set);
    sched_setaffinity(0, sizeof set, &set);
}

void bench_restart(const bench_options *o) {
    static restart_bench b;
    bench_beds beds = {0};
    const vmsig_client_cfg cfg = {.name = "vmsig-bench", .user = &b, .on_event = on_event, .on_memctx = on_memctx};
    b = (restart_bench){.wait = ROLES};
    unpin(o);
    make(&b, &beds);
    bench_bed_connect(&b.bed, &cfg);
    receive_for(&b, 9000000000u); /* until as many are queued as there may be */
    times(o, &b);
    throughput(o, &b);
    bench_bed_stop(&b.bed);
    close(b.orders);
    bench_pin(o->cpu[0]);
}
