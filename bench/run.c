/* What a program that measures does: options, the families asked for, each between two probes, the plot. */
#include "bench/run.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "supervisor/cli/cli.h"

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

static int find(const bench_program *p, const char *name) {
    for (size_t i = 0; i < p->families_n; i++)
        if (strcmp(p->families[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* The distance of the processors before and after: what was measured while it changed is not to be compared. */
static void run_family(const bench_options *o, const bench_family *f) {
    o->book->family = f->name;
    double before = bench_probe(o);
    f->run(o);
    double after = bench_probe(o);
    if (before <= 0)
        return;
    if (o->json)
        printf("{\"family\":\"%s\",\"case\":\"machine\",\"cpus\":[%d,%d],\"line_ns\":[%.1f,%.1f],"
               "\"distance\":[\"%s\",\"%s\"]}\n",
               f->name, o->cpu[0], o->cpu[1], before, after, bench_distance(before), bench_distance(after));
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
static int decide(const bench_program *p, wishes *w, bench_options *o) {
    default_cpus(o->cpu);
    if (w->cpus != NULL && !parse_cpus(w->cpus, o->cpu))
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "bench", "--cpus %s: two numbers with a comma between, as in 0,1",
                              w->cpus);
    if (w->rounds == 0 || w->scale == 0)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "bench", "--rounds and --scale are at least 1");
    for (int i = 0; i < w->n; i++)
        if (find(p, w->words[i]) < 0 && !(w->n == 1 && p->other != NULL && p->other(w->words[i])))
            return vmsig_cli_fail(VMSIG_EXIT_USAGE, "bench", "there is no bench \"%s\"; see --help", w->words[i]);
    o->rounds = (unsigned)(w->quick ? 3 : w->rounds);
    o->scale = (unsigned)(w->quick ? 10 : w->scale);
    o->progress = isatty(STDERR_FILENO);
    return VMSIG_EXIT_OK;
}

static int finish(const wishes *w, const bench_options *o) {
    int code = w->plot != NULL ? draw(o, w->plot) : VMSIG_EXIT_OK;
    return vmsig_cli_flush() ? code : VMSIG_EXIT_FAILURE;
}

int bench_run(const bench_program *p, int argc, char **argv, bench_book *book) {
    bench_options o = {.book = book};
    wishes w = {.rounds = 9, .scale = 100};
    const vmsig_cli_opt opts[] = {
        {"cpus", VMSIG_CLI_TEXT, &w.cpus, 0},
        {"rounds", VMSIG_CLI_UINT, &w.rounds, BENCH_ROUNDS_MAX - 1},
        {"scale", VMSIG_CLI_UINT, &w.scale, 10000},
        {"quick", VMSIG_CLI_YES, &w.quick, 0},
        {"json", VMSIG_CLI_YES, &o.json, 0},
        {"plot", VMSIG_CLI_TEXT, &w.plot, 0},
        {p->text_option, VMSIG_CLI_TEXT, p->text, 0}, /* its own; NULL ends the table */
        {NULL, VMSIG_CLI_YES, NULL, 0},
    };
    int code;
    char name[] = "bench"; /* as which it is known to its user */
    argv[0] = name;
    if (!vmsig_cli_parse(argc, argv, p->help, opts, w.words, &w.n, &code) ||
        (code = decide(p, &w, &o)) != VMSIG_EXIT_OK)
        return code;

    bench_clock_init();
    if (w.n == 1 && find(p, w.words[0]) < 0) {
        code = p->run_other(&o, w.words[0]);
        return code != VMSIG_EXIT_OK ? code : finish(&w, &o);
    }
    bench_pin(o.cpu[0]);
    for (size_t i = 0; i < p->families_n; i++) {
        bool named = w.n == 0 && !p->families[i].named_only;
        for (int k = 0; k < w.n; k++)
            named = named || find(p, w.words[k]) == (int)i;
        if (!named)
            continue;
        alarm(BENCH_FAMILY_S); /* no family takes that long: a peer has died */
        run_family(&o, &p->families[i]);
    }
    alarm(0);
    return finish(&w, &o);
}
