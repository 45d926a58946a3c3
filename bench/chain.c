/* The whole chain: a topology of its own, in a run directory of its own, with this process as the control.
 *
 *   sensor ──ring──► context ──ring──► gateway ──socket──► here      all on one processor, and spread over two
 *
 * Latency: one event at a time, on a schedule, from the moment that it bears to on_event; and from the moment for which
 * it was scheduled, so that what one event is held up by counts for those behind it too. Throughput: as many as go
 * through, with a bounded number under way, so that the gateway's window never has to let one go: a lost event is a
 * failure.
 */
#include "bench/chain.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bench.h"
#include "supervisor/cli/child.h"
#include "supervisor/cli/cli.h"
#include "vmsig_client.h"

#define BEATS     1000u
#define PERIOD_NS 200000u  /* between two of them */
#define EVENTS    1000000u /* of a round of throughput */
#define WINDOW    49152u   /* of them may be under way: less than a gateway's window holds */
#define STEP      4096u    /* of them are ordered at a time */
#define ASKS      2000u    /* of the bare hop */
#define LINE_ASKS 100000u
#define START_MS  15000
#define STALL_MS  10000 /* without an event */
#define LOOK_MS   100   /* between two looks at the keeper and at signals */

/* Which processor each of them is on: 0 or 1 of --cpus. */
typedef struct placement {
    const char *name, *poll;
    int sensor, context, gateway, control;
} placement;

typedef struct chain {
    const placement *at;
    struct chain *other; /* that may be up at the same time */
    vmsig_child keeper;
    vmsig_client *client;
    char dir[64];
    int orders;
    uint64_t got, want, ordered, lost;
    uint64_t last_ns;                       /* when the last event came */
    bench_hist *from_event, *from_schedule; /* NULL = throughput */
} chain;

/* ---- a topology of its own ------------------------------------------------------------------------------- */

static void path_of(const chain *c, const char *name, char buf[PATH_MAX]) {
    snprintf(buf, PATH_MAX, "%s/%s", c->dir, name);
}

static void write_topology(const bench_options *o, const chain *c) {
    const placement *p = c->at;
    char path[PATH_MAX];
    path_of(c, "chain.yaml", path);
    FILE *f = fopen(path, "w");
    if (f == NULL)
        bench_fail("%s: %s", path, strerror(errno));
    fprintf(f,
            "slots: 1024\n"
            "endpoints:\n"
            "  - {name: none, id: 0, host: stub, stub: {memory: 4M, hz: 0}, cpu: %d}\n"
            "actors:\n"
            "  - {name: context, kind: context, poll: %s, cpu: %d}\n"
            "  - {name: gateway, kind: gateway, poll: %s, cpu: %d, socket: control.sock}\n"
            "  - {name: sensor, kind: sensor, poll: block, cpu: %d, endpoint: none, source: %u,\n"
            "     exec: vmsig-bench, args: [--sensor, \"%s/orders\"]}\n",
            o->cpu[0], p->poll, o->cpu[p->context], p->poll, o->cpu[p->gateway], o->cpu[p->sensor], BENCH_CHAIN_SOURCE,
            c->dir);
    if (fclose(f) != 0)
        bench_fail("%s: %s", path, strerror(errno));
}

static void make_folder(const bench_options *o, chain *c) {
    char path[PATH_MAX];
    const char *tmp = getenv("TMPDIR");
    int n = snprintf(c->dir, sizeof c->dir, "%s/vmsig-bench-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (n >= (int)sizeof c->dir)
        snprintf(c->dir, sizeof c->dir, "/tmp/vmsig-bench-XXXXXX");
    if (mkdtemp(c->dir) == NULL || chmod(c->dir, 0755) != 0) /* as root the actors are others */
        bench_fail("%s: %s", c->dir, strerror(errno));
    path_of(c, "orders", path);
    if (mkfifo(path, 0600) != 0 || chmod(path, geteuid() == 0 ? 0666 : 0600) != 0)
        bench_fail("%s: %s", path, strerror(errno));
    c->orders = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (c->orders < 0)
        bench_fail("%s: %s", path, strerror(errno));
    write_topology(o, c);
}

static void remove_tree(const char *dir) {
    const char *const argv[] = {"rm", "-rf", "--", dir, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    if (pid > 0)
        bench_join(pid);
}

/* What the programs have to say goes to a file: it is of interest only if they fail. */
static int start_keeper(chain *c) {
    char programs[PATH_MAX], keeper[PATH_MAX], supervisor[PATH_MAX], topology[PATH_MAX], log[PATH_MAX];
    char o_topology[] = "--topology", o_name[] = "--name", o_programs[] = "--programs", name[] = "chain";
    char *argv[] = {keeper, supervisor, o_name, name, o_programs, programs, o_topology, topology, NULL};
    path_of(c, "chain.yaml", topology);
    path_of(c, "log", log);
    if (vmsig_cli_program_dir(programs, sizeof programs) != 0 ||
        vmsig_cli_program("vmsig-keeper", keeper, sizeof keeper) != 0 ||
        vmsig_cli_program("vmsig-supervisor", supervisor, sizeof supervisor) != 0 ||
        setenv("XDG_RUNTIME_DIR", c->dir, 1) != 0)
        return -ENOENT;
    int to = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3), err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    fflush(NULL);
    dup2(to, STDOUT_FILENO);
    dup2(to, STDERR_FILENO);
    int rc = vmsig_child_start(&c->keeper, argv);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    close(to);
    close(out);
    close(err);
    return rc;
}

static void stop(chain *c) {
    uint64_t until = bench_now_ns() + 20000000000u;
    vmsig_client_close(c->client);
    c->client = NULL;
    vmsig_child_stop(&c->keeper);
    while (!c->keeper.ended && bench_now_ns() < until) {
        struct pollfd p = {.fd = c->keeper.signals, .events = POLLIN};
        poll(&p, 1, 100);
        vmsig_child_signals(&c->keeper);
    }
    vmsig_child_kill(&c->keeper);
    vmsig_child_close(&c->keeper);
    close(c->orders);
    remove_tree(c->dir);
}

static void show_log(const chain *c) {
    char path[PATH_MAX], line[512];
    path_of(c, "log", path);
    FILE *f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        fputs(line, stderr);
    if (f != NULL)
        fclose(f);
}

static void fail(chain *c, const char *what) {
    show_log(c);
    stop(c);
    if (c->other->client != NULL)
        stop(c->other);
    bench_fail("the chain %s: %s", c->at->name, what);
}

/* The person's Ctrl-C, or the topology's end, ends the bench. */
static void look_at_keeper(chain *c) {
    vmsig_child_signals(&c->keeper);
    if (c->keeper.stops > 0)
        fail(c, "interrupted");
    if (c->keeper.ended)
        fail(c, "it ended by itself");
}

/* ---- the control ----------------------------------------------------------------------------------------- */

static void order(chain *c, uint64_t events, uint64_t period_ns) {
    bench_order o = {events, period_ns};
    if (write(c->orders, &o, sizeof o) != sizeof o)
        fail(c, "the sensor takes no orders");
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

static void connect_to(chain *c) {
    char path[PATH_MAX], err[256] = "";
    const vmsig_client_cfg cfg = {.name = "vmsig-bench", .user = c, .on_event = on_event};
    uint64_t until = bench_now_ns() + START_MS * 1000000ull;
    path_of(c, "control.sock", path);
    while ((c->client = vmsig_client_open(path, &cfg, 1000, err, sizeof err)) == NULL) {
        struct pollfd p = {.fd = c->keeper.signals, .events = POLLIN};
        if (bench_now_ns() > until)
            fail(c, err);
        poll(&p, 1, 20);
        look_at_keeper(c);
    }
}

static void receive(chain *c) {
    uint64_t got = c->got, since = bench_now_ns(), looked = since;
    while (c->got < c->want) {
        if (vmsig_client_step(c->client, LOOK_MS) < 0)
            fail(c, vmsig_client_error(c->client));
        if (c->lost > 0)
            fail(c, "events were lost");
        uint64_t now = bench_now_ns();
        if (c->got != got)
            since = now;
        got = c->got;
        if (now - looked < LOOK_MS * 1000000ull)
            continue;
        looked = now;
        look_at_keeper(c);
        if (now - since > STALL_MS * 1000000ull)
            fail(c, "no event came any more");
    }
}

static void start(const bench_options *o, chain *c) {
    make_folder(o, c);
    int err = start_keeper(c);
    if (err != 0)
        bench_fail("vmsig's own programs cannot be started: %s", strerror(-err));
    connect_to(c);
    c->want = c->got + 1; /* the way through is warm when the first has come */
    order(c, 1, PERIOD_NS);
    receive(c);
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
    bench_add_latency_ns(event, &from_event);
    bench_add_latency_ns(schedule, &from_schedule);
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

typedef struct line_hop {
    void *page;
    uint64_t n;
} line_hop;

static void line_answer(void *arg) {
    line_hop *h = arg;
    bench_line_answer(h->page, h->n);
}

static void line(const bench_options *o, bench_series *s) {
    static bench_hist hist;
    line_hop h = {.page = bench_shared(8192), .n = LINE_ASKS * (uint64_t)o->scale / 100 + 1};
    bench_hist_reset(&hist);
    bench_pin(o->cpu[0]);
    pid_t peer = bench_fork(o, line_answer, &h);
    bench_line_ask(h.page, h.n, &hist);
    bench_join(peer);
    bench_add_latency(s, &hist, 2);
}

/* ---- the bench ------------------------------------------------------------------------------------------- */

/* On two, the gateway has the most to do and the control the next most. */
static const placement one_cpu = {"on one processor", "block", 0, 0, 0, 0};
static const placement two_cpus = {"over two processors", "adaptive", 0, 1, 0, 1};

static bench_series line_hops = {.name = "floor: a line"};

typedef struct figures {
    bench_series bare, event, schedule, rate;
} figures;

static void round_of(const bench_options *o, chain *c, int cpu, figures *f) {
    bare(o, o->cpu[cpu], &f->bare);
    latency(o, c, &f->event, &f->schedule);
    rate(o, c, &f->rate);
}

static void report(const bench_options *o, const figures *f) {
    const bench_series *floors[] = {&f->bare};
    bench_report(o, &f->bare, NULL, 0);
    bench_report(o, &f->event, floors, 1);
    bench_report(o, &f->schedule, floors, 1);
    bench_report(o, &f->rate, NULL, 0);
}

void bench_chain(const bench_options *o) {
    static figures one = {{.name = "floor: seqpacket, 1 cpu"},
                          {.name = "chain, 1 cpu"},
                          {.name = "chain, 1 cpu, from schedule"},
                          {.name = "chain at full load, 1 cpu"}};
    static figures two = {{.name = "floor: seqpacket, 2 cpus"},
                          {.name = "chain, 2 cpus"},
                          {.name = "chain, 2 cpus, from schedule"},
                          {.name = "chain at full load, 2 cpus"}};
    static chain on_one, on_two;
    on_one = (chain){.at = &one_cpu, .other = &on_two};
    on_two = (chain){.at = &two_cpus, .other = &on_one};
    bool spread = o->cpu[0] != o->cpu[1];
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    start(o, &on_one);
    if (spread)
        start(o, &on_two);
    for (unsigned i = 0; i < o->rounds; i++) {
        bench_progress(o, i);
        round_of(o, &on_one, 0, &one);
        if (spread)
            round_of(o, &on_two, 1, &two);
        if (spread)
            line(o, &line_hops);
    }
    stop(&on_one);
    if (spread)
        stop(&on_two);
    bench_pin(o->cpu[0]);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    bench_report_title(o, "sensor, context, gateway, control: one way, 24 bytes of body");
    if (spread)
        bench_report(o, &line_hops, NULL, 0);
    report(o, &one);
    if (spread)
        report(o, &two);
}
