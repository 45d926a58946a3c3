/* The whole chain: a topology of its own, in a run directory of its own, with this process as the control.
 *
 *   sensor ──ring──► context ──ring──► gateway ──socket, or rings──► here      all on one processor, and spread over two
 *
 * Latency: one event at a time, on a schedule, from the moment that it bears to on_event; and from the moment for which
 * it was scheduled, so that what one event is held up by counts for those behind it too. Throughput: as many as go
 * through, with a bounded number under way, so that the gateway's window never has to let one go: a lost event is a
 * failure.
 */
#include "bench/chain.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bed.h"

#define BEATS     1000u
#define PERIOD_NS 200000u  /* between two of them */
#define EVENTS    1000000u /* of a round of throughput */
#define WINDOW    49152u   /* of them may be under way: less than a gateway's window holds */
#define STEP      4096u    /* of them are ordered at a time */
#define ASKS      2000u    /* of the bare hop */
#define STALL_MS  10000    /* without an event */
#define LOOK_MS   100      /* between two looks at the keeper and at signals */

/* Which processor each of them is on: 0 or 1 of --cpus. */
typedef struct placement {
    const char *name, *poll;
    int sensor, context, gateway, control;
    vmsig_client_wait rings; /* and how the control attaches */
} placement;

typedef struct chain {
    const placement *at;
    bench_bed bed;
    int orders;
    uint64_t got, want, ordered, lost;
    uint64_t last_ns;                       /* when the last event came */
    bench_hist *from_event, *from_schedule; /* NULL = throughput */
} chain;

/* ---- a topology of its own ------------------------------------------------------------------------------- */

static void make(const bench_options *o, chain *c, bench_beds *beds) {
    const placement *p = c->at;
    char orders[PATH_MAX];
    bench_bed_make(&c->bed, p->name, beds);
    c->orders = bench_bed_fifo(&c->bed, "orders", orders, sizeof orders);
    FILE *f = bench_bed_topology(&c->bed);
    fprintf(f,
            "slots: 1024\n"
            "endpoints:\n"
            "  - {name: none, id: 0, host: stub, stub: {memory: 4M, hz: 0}, cpu: %d}\n"
            "actors:\n"
            "  - {name: context, kind: context, poll: %s, cpu: %d}\n"
            "  - {name: gateway, kind: gateway, poll: %s, cpu: %d, socket: control.sock}\n"
            "  - {name: sensor, kind: sensor, poll: block, cpu: %d, endpoint: none, source: %u,\n"
            "     exec: vmsig-bench, args: [--sensor, \"%s\"]}\n",
            o->cpu[0], p->poll, o->cpu[p->context], p->poll, o->cpu[p->gateway], o->cpu[p->sensor], BENCH_CHAIN_SOURCE,
            orders);
    bench_bed_start(&c->bed, f);
}

/* ---- the control ----------------------------------------------------------------------------------------- */

static void order(chain *c, uint64_t events, uint64_t period_ns) {
    bench_order o = {events, period_ns};
    if (write(c->orders, &o, sizeof o) != sizeof o)
        bench_bed_fail(&c->bed, "the sensor takes no orders");
    c->ordered += events;
}

static void on_event(void *user, const vmsig_event *ev) {
    chain *c = user;
    bench_beat beat;
    if (ev->kind == VMSIG_EV_LOST)
        c->lost++;
    if (ev->kind != BENCH_CHAIN_KIND || ev->source != BENCH_CHAIN_SOURCE || ev->inln_len != sizeof beat)
        return;
    c->got++;
    if (c->from_event == NULL) {
        if (c->got % STEP == 0 && c->ordered < c->want)
            order(c, STEP, 0);
        return;
    }
    uint64_t now = bench_now_ns();
    memcpy(&beat, ev->inln, sizeof beat);
    bench_hist_add(c->from_event, now - ev->ts_ns);
    bench_hist_add(c->from_schedule, now - beat.scheduled_ns);
}

static void receive(chain *c) {
    uint64_t got = c->got, since = bench_now_ns(), looked = since;
    while (c->got < c->want) {
        bench_bed_step(&c->bed, LOOK_MS);
        if (c->lost > 0)
            bench_bed_fail(&c->bed, "events were lost");
        uint64_t now = bench_now_ns();
        if (c->got != got)
            since = now;
        got = c->got;
        if (now - looked < LOOK_MS * 1000000ull)
            continue;
        looked = now;
        bench_bed_look(&c->bed);
        if (now - since > STALL_MS * 1000000ull)
            bench_bed_fail(&c->bed, "no event came any more");
    }
}

static void start(const bench_options *o, chain *c, bench_beds *beds) {
    const vmsig_client_cfg cfg = {.name = "vmsig-bench", .user = c, .on_event = on_event, .rings = c->at->rings};
    const char *why;
    make(o, c, beds);
    bench_bed_connect(&c->bed, &cfg);
    if (c->at->rings && !vmsig_client_rings(c->bed.client, &why))
        bench_bed_fail(&c->bed, "the control has no rings: %s", why);
    c->want = c->got + 1; /* the way through is warm when the first has come */
    order(c, 1, PERIOD_NS);
    receive(c);
}

static void stop(chain *c) {
    bench_bed_stop(&c->bed);
    close(c->orders);
}

/* ---- what is measured ------------------------------------------------------------------------------------ */

static void latency(const bench_options *o, chain *c, bench_series *event, bench_series *schedule) {
    static bench_hist from_event, from_schedule;
    uint64_t n = BEATS * (uint64_t)o->scale / 100 + 1;
    bench_hist_reset(&from_event);
    bench_hist_reset(&from_schedule);
    bench_pin(o->cpu[c->at->control]);
    c->from_event = &from_event;
    c->from_schedule = &from_schedule;
    c->want = c->got + n;
    order(c, n, PERIOD_NS);
    receive(c);
    c->from_event = NULL;
    bench_add_latency_ns(event, &from_event, 1);
    bench_add_latency_ns(schedule, &from_schedule, 1);
}

static void rate(const bench_options *o, chain *c, bench_series *s) {
    uint64_t n = (EVENTS * (uint64_t)o->scale / 100 / STEP + 2) * STEP, begin = bench_now_ns();
    bench_pin(o->cpu[c->at->control]);
    c->want = n;
    c->got = c->ordered = 0;
    order(c, n < WINDOW ? n : WINDOW, 0);
    receive(c);
    bench_add_value(s, BENCH_RATE, (double)n * 1e9 / (double)(bench_now_ns() - begin));
}

/* ---- the floor: the bare hop ----------------------------------------------------------------------------- */

typedef struct bare_hop {
    int end[2];
    uint64_t n;
} bare_hop;

static void bare_answer(void *arg) {
    bare_hop *h = arg;
    char message[64];
    for (uint64_t i = 0; i < h->n; i++)
        if (recv(h->end[1], message, sizeof message, 0) <= 0 || send(h->end[1], message, sizeof message, 0) <= 0)
            bench_fail("the bare hop: %s", strerror(errno));
}

static void bare(const bench_options *o, int cpu, bench_series *s) {
    static bench_hist hist;
    bare_hop h = {.n = ASKS * (uint64_t)o->scale / 100 + 1};
    char message[64] = "";
    bench_options there = *o;
    there.cpu[1] = cpu;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, h.end) != 0)
        bench_fail("no socket: %s", strerror(errno));
    bench_hist_reset(&hist);
    bench_pin(o->cpu[0]);
    pid_t peer = bench_fork(&there, bare_answer, &h);
    for (uint64_t i = 0; i < h.n; i++) {
        uint64_t t = bench_ticks();
        if (send(h.end[0], message, sizeof message, 0) <= 0 || recv(h.end[0], message, sizeof message, 0) <= 0)
            bench_fail("the bare hop: %s", strerror(errno));
        bench_hist_add(&hist, bench_ticks() - t);
    }
    bench_join(peer);
    close(h.end[0]);
    close(h.end[1]);
    bench_add_latency(s, &hist, 2);
}

/* ---- the bench ------------------------------------------------------------------------------------------- */

/* On two, the gateway has the most to do and the control the next most. */
static const placement placements[] = {
    {"chain-1", "block", 0, 0, 0, 0, VMSIG_CLIENT_SOCKET},
    {"chain-1-rings", "block", 0, 0, 0, 0, VMSIG_CLIENT_BLOCK},
    {"chain-2", "adaptive", 0, 1, 0, 1, VMSIG_CLIENT_SOCKET},
    {"chain-2-rings", "adaptive", 0, 1, 0, 1, VMSIG_CLIENT_ADAPTIVE},
};
#define PLACEMENTS (sizeof placements / sizeof placements[0])

typedef struct figures {
    bench_series event, schedule, rate;
} figures;

static void report(const bench_options *o, const figures *f, const bench_series *floor) {
    const bench_series *floors[] = {floor};
    bench_report(o, &f->event, floors, 1);
    bench_report(o, &f->schedule, floors, 1);
    bench_report(o, &f->rate, NULL, 0);
}

void bench_chain(const bench_options *o) {
    static bench_series floors[2] = {{.name = "floor: seqpacket, 1 cpu"}, {.name = "floor: seqpacket, 2 cpus"}};
    static figures f[PLACEMENTS] = {
        {{.name = "chain, 1 cpu"}, {.name = "chain, 1 cpu, from schedule"}, {.name = "chain at full load, 1 cpu"}},
        {{.name = "chain over rings, 1 cpu"},
         {.name = "chain over rings, 1 cpu, from schedule"},
         {.name = "chain over rings at full load, 1 cpu"}},
        {{.name = "chain, 2 cpus"}, {.name = "chain, 2 cpus, from schedule"}, {.name = "chain at full load, 2 cpus"}},
        {{.name = "chain over rings, 2 cpus"},
         {.name = "chain over rings, 2 cpus, from schedule"},
         {.name = "chain over rings at full load, 2 cpus"}}};
    static chain chains[PLACEMENTS];
    bench_beds beds = {0};
    size_t n = o->cpu[0] != o->cpu[1] ? PLACEMENTS : PLACEMENTS / 2;
    for (size_t k = 0; k < n; k++) {
        chains[k] = (chain){.at = &placements[k]};
        start(o, &chains[k], &beds);
    }
    for (unsigned i = 0; i < o->rounds; i++) {
        bench_progress(o, i);
        for (size_t k = 0; k < n; k++) {
            int cpu = placements[k].context;
            if (k % 2 == 0)
                bare(o, o->cpu[cpu], &floors[cpu]);
            latency(o, &chains[k], &f[k].event, &f[k].schedule);
            rate(o, &chains[k], &f[k].rate);
        }
    }
    for (size_t k = 0; k < n; k++)
        stop(&chains[k]);
    bench_pin(o->cpu[0]);
    bench_report_title(o, "sensor, context, gateway, control: one way, 24 bytes of body");
    for (size_t k = 0; k < n; k++) {
        if (k % 2 == 0)
            bench_report(o, &floors[placements[k].context], NULL, 0);
        report(o, &f[k], &floors[placements[k].context]);
    }
}
