/* vmsig-bench: latency and throughput on this machine (vmsig-bench(1)). */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/chain.h"
#include "bench/pair.h"
#include "supervisor/cli/cli.h"

static const char help[] = "vmsig bench [options] [family ...]\n"
                           "Measures latency and throughput on this machine. Without a name: every family.\n"
                           "  hop           one hop between two processors that spin: ping-pong, on a schedule\n"
                           "  wake          one hop to who sleeps: on one processor, and to the other\n"
                           "  throughput    one hop: as many events as go through\n"
                           "  payload       one hop: bodies from 8 bytes to 1 MiB\n"
                           "  fan           many to one and one to many: 1, 8 and 64 processes\n"
                           "  ctx           the transfer context: submit + next, 10 000 and 1 000 000 queued\n"
                           "  seam          lease hand-over, memory writes: command to result, in one process\n"
                           "  audit         a record of the audit log: append, and until it is durable\n"
                           "  chain         sensor, context, gateway, control: a topology of its own\n"
                           "  restart       SIGKILL to the successor's first event, of each role, under load\n"
                           "  --cpus A,B    the processors to use (default: the first two; A,A: both on one)\n"
                           "  --rounds N    how many interleaved rounds, whose medians are printed (default 9)\n"
                           "  --scale N     percent of the usual number of events (default 100)\n"
                           "  --quick       3 rounds of a tenth of the events: a first look\n"
                           "  --json        one object per line\n"
                           "  --plot FILE   also draws it: FILE.svg, or FILE.png by rsvg-convert\n";

static const struct {
    const char *name;
    void (*run)(const bench_options *o);
} families[] = {
    {"hop", bench_hop},         {"wake", bench_wake},   {"throughput", bench_throughput},
    {"payload", bench_payload}, {"fan", bench_fan},     {"ctx", bench_ctx},
    {"seam", bench_seam},       {"audit", bench_audit}, {"chain", bench_chain},
    {"restart", bench_restart},
};

#define FAMILIES (sizeof families / sizeof families[0])

/* The first two processors that this process may use, or the same one twice. */
static void default_cpus(int cpu[2]) {
    cpu_set_t set;
    int n = 0;
    cpu[0] = cpu[1] = 0;
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return;
    for (int i = 0; i < CPU_SETSIZE && n < 2; i++)
        if (CPU_ISSET((size_t)i, &set))
            cpu[n++] = i;
    if (n == 1)
        cpu[1] = cpu[0];
}

static bool parse_cpus(const char *text, int cpu[2]) {
    char end;
    return sscanf(text, "%d,%d%c", &cpu[0], &cpu[1], &end) == 2 && cpu[0] >= 0 && cpu[1] >= 0 && cpu[0] < CPU_SETSIZE &&
           cpu[1] < CPU_SETSIZE;
}

static int find(const char *name) {
    for (size_t i = 0; i < FAMILIES; i++)
        if (strcmp(families[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* The distance of the processors before and after: what was measured while it changed is not to be compared. */
static void run_family(const bench_options *o, size_t i) {
    o->book->family = families[i].name;
    double before = bench_probe(o);
    families[i].run(o);
    double after = bench_probe(o);
    if (before <= 0)
        return;
    if (o->json)
        printf("{\"family\":\"%s\",\"case\":\"machine\",\"cpus\":[%d,%d],\"line_ns\":[%.1f,%.1f],"
               "\"distance\":[\"%s\",\"%s\"]}\n",
               families[i].name, o->cpu[0], o->cpu[1], before, after, bench_distance(before), bench_distance(after));
    bench_note(o, "processors %d and %d: a bare line took %.0f ns before (%s), %.0f ns after (%s)%s", o->cpu[0],
               o->cpu[1], before, bench_distance(before), after, bench_distance(after),
               bench_distance(before) == bench_distance(after) ? "" : ": they moved, do not compare");
}

static int draw(const bench_options *o, const char *path) {
    char title[160], day[32];
    time_t now = time(NULL);
    struct tm t;
    strftime(day, sizeof day, "%Y-%m-%d", localtime_r(&now, &t));
    snprintf(title, sizeof title, "vmsig bench, %s: medians of %u rounds, processors %d and %d", day, o->rounds,
             o->cpu[0], o->cpu[1]);
    int err = bench_plot(o->book, title, path);
    if (err == -ENOENT)
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "bench",
                              "%s: no such folder, or a PNG without rsvg-convert (Debian: "
                              "librsvg2-bin); an .svg needs nothing",
                              path);
    return err != 0 ? vmsig_cli_fail(VMSIG_EXIT_FAILURE, "bench", "%s: %s", path, strerror(-err)) : VMSIG_EXIT_OK;
}

typedef struct wishes {
    const char *cpus, *plot;
    uint64_t rounds, scale;
    bool quick;
    const char *words[VMSIG_CLI_WORDS_MAX];
    int n;
} wishes;

/* From what was asked for to what is done: an exit code, OK = go on. */
static int decide(wishes *w, bench_options *o) {
    default_cpus(o->cpu);
    if (w->cpus != NULL && !parse_cpus(w->cpus, o->cpu))
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "bench", "--cpus %s: two numbers with a comma between, as in 0,1",
                              w->cpus);
    if (w->rounds == 0 || w->scale == 0)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "bench", "--rounds and --scale are at least 1");
    for (int i = 0; i < w->n; i++)
        if (find(w->words[i]) < 0)
            return vmsig_cli_fail(VMSIG_EXIT_USAGE, "bench", "there is no bench \"%s\"; see --help", w->words[i]);
    o->rounds = (unsigned)(w->quick ? 3 : w->rounds);
    o->scale = (unsigned)(w->quick ? 10 : w->scale);
    o->progress = isatty(STDERR_FILENO);
    return VMSIG_EXIT_OK;
}

/* As an actor of a topology that a family has started. */
static bool run_actor(const char *which, const char *arg, int *code) {
    if (strcmp(which, "--sensor") == 0)
        *code = bench_chain_sensor(arg);
    else if (strcmp(which, "--asker") == 0)
        *code = bench_pair_asker(arg);
    else if (strcmp(which, "--answerer") == 0)
        *code = bench_pair_answerer();
    else
        return false;
    return true;
}

int main(int argc, char **argv) {
    int code;
    if (argc == 3 && run_actor(argv[1], argv[2], &code))
        return code;
    bench_book book = {0};
    bench_options o = {.book = &book};
    wishes w = {.rounds = 9, .scale = 100};
    const vmsig_cli_opt opts[] = {
        {"cpus", VMSIG_CLI_TEXT, &w.cpus, 0},
        {"rounds", VMSIG_CLI_UINT, &w.rounds, BENCH_ROUNDS_MAX - 1},
        {"scale", VMSIG_CLI_UINT, &w.scale, 10000},
        {"quick", VMSIG_CLI_YES, &w.quick, 0},
        {"json", VMSIG_CLI_YES, &o.json, 0},
        {"plot", VMSIG_CLI_TEXT, &w.plot, 0},
        {NULL, VMSIG_CLI_YES, NULL, 0},
    };
    char name[] = "bench"; /* as which it is known to its user */
    argv[0] = name;
    if (!vmsig_cli_parse(argc, argv, help, opts, w.words, &w.n, &code) || (code = decide(&w, &o)) != VMSIG_EXIT_OK)
        return code;

    bench_clock_init();
    bench_pin(o.cpu[0]);
    for (size_t i = 0; i < FAMILIES; i++) {
        bool named = w.n == 0;
        for (int k = 0; k < w.n; k++)
            named = named || find(w.words[k]) == (int)i;
        if (!named)
            continue;
        alarm(600); /* no family takes that long: a peer has died */
        run_family(&o, i);
    }
    code = w.plot != NULL ? draw(&o, w.plot) : VMSIG_EXIT_OK;
    free(book.results);
    return vmsig_cli_flush() ? code : VMSIG_EXIT_FAILURE;
}
