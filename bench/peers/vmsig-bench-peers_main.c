/* vmsig-bench-peers: the same 64 bytes from one process to another, by us and by others. Built by `make bench-peers`. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/pair.h"
#include "bench/peers/peers.h"
#include "bench/run.h"
#include "rings/atomics.h"

#define ASKS_SPIN  50000u
#define ASKS_BLOCK 5000u

static const peer *const peers[] = {
    &peer_bare,        &peer_vmsig_spin,   &peer_ck,   &peer_boost,     &peer_iceoryx_poll,
    &peer_futex,       &peer_eventfd,      &peer_pipe, &peer_seqpacket, &peer_vmsig_adaptive,
    &peer_vmsig_block, &peer_iceoryx_wait, &peer_zmq,  &peer_nng,       &peer_nats,
};
#define PEERS (sizeof peers / sizeof *peers)

/* ---- what peers call ------------------------------------------------------------------------------------- */

void peer_fail(const char *name, const char *what) {
    bench_fail("%s: %s", name, what);
}

void *peer_shared(uint64_t bytes) {
    return bench_shared(bytes);
}

int peer_daemon(const char *const *argv) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        bench_fail("%s: %s", argv[0], strerror(errno));
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

void peer_daemon_end(int pid) {
    kill(pid, SIGTERM);
    for (int ms = 0; waitpid(pid, NULL, WNOHANG) == 0; ms += 10) {
        if (ms == 5000)
            kill(pid, SIGKILL);
        usleep(10000);
    }
}

/* ---- one peer, one round --------------------------------------------------------------------------------- */

typedef struct sheet {
    uint32_t there; /* how many sides are */
    double rate;
    bench_hist hist;
} sheet;

typedef struct job {
    const peer *p;
    void *shared;
    sheet *sheet;
    int side;
    uint64_t asks;   /* there and back */
    uint64_t stream; /* one way, the last of them answered */
} job;

static void flush(const peer *p, void *handle, int side) {
    if (p->flush != NULL)
        p->flush(handle, side);
}

static void ask(const job *j, void *handle) {
    peer_message m = {{0}};
    for (uint64_t i = 0; i < j->asks; i++) {
        uint64_t t = bench_ticks();
        m.word[0] = i;
        j->p->send(handle, 0, &m);
        flush(j->p, handle, 0);
        j->p->receive(handle, 0, &m);
        bench_hist_add(&j->sheet->hist, bench_ticks() - t);
    }
    uint64_t t = bench_ticks();
    for (uint64_t i = 0; i < j->stream; i++) {
        m.word[0] = i;
        j->p->send(handle, 0, &m);
    }
    if (j->stream == 0)
        return;
    flush(j->p, handle, 0);
    j->p->receive(handle, 0, &m);
    j->sheet->rate = (double)j->stream * 1e9 / bench_ns((double)(bench_ticks() - t));
}

static void answer(const job *j, void *handle) {
    peer_message m = {{0}};
    for (uint64_t i = 0; i < j->asks; i++) {
        j->p->receive(handle, 1, &m);
        j->p->send(handle, 1, &m);
        flush(j->p, handle, 1);
    }
    for (uint64_t i = 0; i < j->stream; i++)
        j->p->receive(handle, 1, &m);
    if (j->stream == 0)
        return;
    j->p->send(handle, 1, &m);
    flush(j->p, handle, 1);
}

/* Neither leaves before both are done: some libraries throw away what is on its way. */
static void meet(sheet *s, uint32_t all) {
    uint32_t was;
    do
        was = vmsig_load32(&s->there);
    while (!__sync_bool_compare_and_swap(&s->there, was, was + 1));
    while (vmsig_load32_acquire(&s->there) < all)
        usleep(200);
}

static void one_side(void *arg) {
    const job *j = arg;
    void *handle = j->p->join != NULL ? j->p->join(j->shared, j->side, j->stream > 0) : j->shared;
    meet(j->sheet, 2);
    if (j->side == 0)
        ask(j, handle);
    else
        answer(j, handle);
    meet(j->sheet, 4);
    if (j->p->leave != NULL)
        j->p->leave(handle, j->side);
}

static void both_sides(const bench_options *o, job *j) {
    job other = *j;
    j->side = 0;
    other.side = 1;
    j->sheet->there = 0;
    bench_hist_reset(&j->sheet->hist);
    pid_t answers = bench_fork_on(o->cpu[1], one_side, &other);
    pid_t asks = bench_fork_on(o->cpu[0], one_side, j);
    bench_join(asks);
    bench_join(answers);
}

/* Opened for this measurement alone. */
static void use(const bench_options *o, const char *dir, job *j) {
    j->shared = j->p->open(dir);
    both_sides(o, j);
    if (j->p->close != NULL)
        j->p->close(j->shared);
}

static void round_of(const bench_options *o, const peer *p, const char *dir, sheet *s, bench_series *latency,
                     bench_series *rate) {
    job asking = {.p = p, .sheet = s, .asks = bench_scaled(o, p->spins ? ASKS_SPIN : ASKS_BLOCK)};
    use(o, dir, &asking);
    bench_add_latency(latency, &s->hist, 2);
    job streaming = {.p = p, .sheet = s, .stream = bench_scaled(o, p->messages)};
    use(o, dir, &streaming);
    bench_add_value(rate, BENCH_RATE, s->rate);
}

/* Ours by the public API: two actors of a topology. */
static void actors_round(const bench_options *o, const char *poll, uint64_t asks, bench_series *latency,
                         bench_series *rate) {
    bench_beds beds = {0};
    bench_pair p;
    bench_pair_start(&p, &beds, poll, o->cpu[0], o->cpu[1]);
    bench_add_latency_ns(latency, bench_pair_ask(&p, bench_scaled(o, asks), 0), 2);
    bench_add_value(rate, BENCH_RATE, bench_pair_stream(&p, bench_scaled(o, 1000000), 24));
    bench_pair_stop(&p);
}

static void bench_peers(const bench_options *o) {
    static bench_series latency[PEERS + 2], rate[PEERS + 2];
    char dir[] = "/tmp/vmsig-peers-XXXXXX";
    sheet *s = bench_shared(sizeof *s);
    if (o->cpu[0] == o->cpu[1])
        bench_fail("it takes two processors");
    if (mkdtemp(dir) == NULL)
        bench_fail("%s: %s", dir, strerror(errno));
    for (unsigned r = 0; r < o->rounds; r++) {
        bench_progress(o, r);
        for (size_t i = 0; i < PEERS; i++)
            round_of(o, peers[i], dir, s, &latency[i], &rate[i]);
        actors_round(o, "spin", ASKS_SPIN, &latency[PEERS], &rate[PEERS]);
        actors_round(o, "block", ASKS_BLOCK, &latency[PEERS + 1], &rate[PEERS + 1]);
    }
    for (size_t i = 0; i < PEERS; i++)
        latency[i].name = rate[i].name = peers[i]->name;
    latency[PEERS].name = rate[PEERS].name = "vmsig actors, spinning";
    latency[PEERS + 1].name = rate[PEERS + 1].name = "vmsig actors, blocking";
    bench_report_title(o, "two processes, one way, 64 bytes");
    for (size_t i = 0; i < PEERS + 2; i++)
        bench_report(o, &latency[i], (const bench_series *[]){&latency[0]}, i > 0);
    for (size_t i = 0; i < PEERS + 2; i++)
        bench_report(o, &rate[i], (const bench_series *[]){&rate[0]}, i > 0);
    bench_unshare(s, sizeof *s);
    const char *const rm[] = {"rm", "-rf", "--", dir, NULL};
    waitpid(peer_daemon(rm), NULL, 0);
}

/* ---- the table ------------------------------------------------------------------------------------------- */

static const bench_result *find(const bench_book *b, const char *name, bench_unit unit) {
    for (unsigned i = 0; i < b->n; i++)
        if (strcmp(b->results[i].name, name) == 0 && b->results[i].unit == unit)
            return &b->results[i];
    return NULL;
}

static int by_mean(const void *a, const void *b) {
    double x = (*(const bench_result *const *)a)->ns.mean, y = (*(const bench_result *const *)b)->ns.mean;
    return (x > y) - (x < y);
}

static void table_row(FILE *f, const bench_book *b, const bench_result *r) {
    const double v[] = {r->ns.p50, r->ns.p99, r->ns.p999, r->ns.mean};
    char text[64];
    bool ours = strncmp(r->name, "vmsig", 5) == 0 || strncmp(r->name, "chain", 5) == 0;
    fprintf(f, ours ? "| **%s** |" : "| %s |", r->name);
    for (unsigned i = 0; i < sizeof v / sizeof *v; i++) {
        bench_value_text(BENCH_LATENCY, v[i], text, sizeof text);
        fprintf(f, " %s |", text);
    }
    const bench_result *rate = find(b, r->name, BENCH_RATE);
    bench_value_text(BENCH_RATE, rate != NULL ? rate->value : (double)NAN, text, sizeof text);
    fprintf(f, " %s |\n", text);
}

/* What the machine is, and how it was measured: a table without them says nothing. */
static void table_head(FILE *f, const bench_result *r) {
    char line[256], cpu[128] = "processor unknown", day[32];
    struct utsname u;
    time_t now = time(NULL);
    struct tm t;
    FILE *info = fopen("/proc/cpuinfo", "r");
    while (info != NULL && fgets(line, sizeof line, info) != NULL)
        if (sscanf(line, "model name : %127[^\n]", cpu) == 1)
            break;
    if (info != NULL)
        fclose(info);
    uname(&u);
    strftime(day, sizeof day, "%Y-%m-%d", localtime_r(&now, &t));
    fprintf(
        f,
        "%s; %s, %ld processors, Linux %s. Two processes, each pinned to a processor of its own; one way is half a\n"
        "round trip of 64 bytes, one at a time; the rate is a stream of the same. Medians of %u interleaved rounds, "
        "sorted by mean.\n\n"
        "| what | p50 | p99 | p99.9 | mean | rate |\n|---|---|---|---|---|---|\n",
        day, cpu, sysconf(_SC_NPROCESSORS_ONLN), u.release, r->rounds);
}

static void write_table(const bench_book *b, const char *path) {
    const bench_result *rows[64];
    size_t n = 0;
    FILE *f = fopen(path, "w");
    if (f == NULL)
        bench_fail("%s: %s", path, strerror(errno));
    for (unsigned i = 0; i < b->n && n < 64; i++)
        if (b->results[i].unit == BENCH_LATENCY)
            rows[n++] = &b->results[i];
    if (n > 0)
        table_head(f, rows[0]);
    qsort(rows, n, sizeof *rows, by_mean);
    for (size_t i = 0; i < n; i++)
        table_row(f, b, rows[i]);
    if (fclose(f) != 0)
        bench_fail("%s: %s", path, strerror(errno));
}

int main(int argc, char **argv) {
    static const char help[] = "vmsig-bench-peers [options] [family ...]\n"
                               "Measures vmsig beside others that carry messages between processes.\n"
                               "  peers         one hop\n"
                               "  chain         vmsig's whole chain of four processes, to be held beside one hop\n" //
        BENCH_OPTIONS_HELP "  --table FILE  also writes a table in Markdown\n";
    static const bench_family families[] = {{.name = "peers", .run = bench_peers},
                                            {.name = "chain", .run = bench_chain}};
    const char *table = NULL;
    const bench_program program = {
        .help = help, .families = families, .families_n = 2, .text_option = "table", .text = &table};
    bench_book book = {0};
    int code = bench_run(&program, argc, argv, &book);
    if (code == 0 && table != NULL)
        write_table(&book, table);
    free(book.results);
    return code;
}
