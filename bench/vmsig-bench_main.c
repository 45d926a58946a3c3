/* vmsig-bench: latency and throughput on this machine (vmsig-bench(1)). */
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/chain.h"
#include "supervisor/cli/cli.h"

static const char help[] = "vmsig bench [options] [bench ...]\n"
                           "Measures latency and throughput on this machine. Without a name: every bench.\n"
                           "  hop           one hop: two processes, one ring\n"
                           "  ctx           the transfer context: submit + next, 10 000 and 1 000 000 queued\n"
                           "  seam          lease hand-over, memory writes: command to result, in one process\n"
                           "  audit         a record of the audit log: append, and until it is durable\n"
                           "  chain         sensor, context, gateway, control: a topology of its own\n"
                           "  --cpus A,B    the processors to use (default: the first two; A,A: both on one)\n"
                           "  --rounds N    how many interleaved rounds, whose medians are printed (default 5)\n"
                           "  --scale N     percent of the usual number of events (default 100)\n"
                           "  --json        one object per line\n";

static const struct {
    const char *name;
    void (*run)(const bench_options *o);
} benches[] = {
    {"hop", bench_hop}, {"ctx", bench_ctx}, {"seam", bench_seam}, {"audit", bench_audit}, {"chain", bench_chain}};

#define BENCHES (sizeof benches / sizeof benches[0])

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
    for (size_t i = 0; i < BENCHES; i++)
        if (strcmp(benches[i].name, name) == 0)
            return (int)i;
    return -1;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--sensor") == 0) /* started by the chain's supervisor */
        return bench_chain_sensor(argv[2]);
    bench_options o = {0};
    const char *cpus = NULL;
    uint64_t rounds = 5, scale = 100;
    const vmsig_cli_opt opts[] = {
        {"cpus", VMSIG_CLI_TEXT, &cpus, 0},       {"rounds", VMSIG_CLI_UINT, &rounds, BENCH_ROUNDS_MAX - 1},
        {"scale", VMSIG_CLI_UINT, &scale, 10000}, {"json", VMSIG_CLI_YES, &o.json, 0},
        {NULL, VMSIG_CLI_YES, NULL, 0},
    };
    const char *words[VMSIG_CLI_WORDS_MAX];
    int n, code;
    char name[] = "bench"; /* as which it is known to its user */
    argv[0] = name;
    if (!vmsig_cli_parse(argc, argv, help, opts, words, &n, &code))
        return code;
    default_cpus(o.cpu);
    if (cpus != NULL && !parse_cpus(cpus, o.cpu))
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "bench", "--cpus %s: two numbers with a comma between, as in 0,1",
                              cpus);
    if (rounds == 0 || scale == 0)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "bench", "--rounds and --scale are at least 1");
    o.rounds = (unsigned)rounds;
    o.scale = (unsigned)scale;
    for (int i = 0; i < n; i++)
        if (find(words[i]) < 0)
            return vmsig_cli_fail(VMSIG_EXIT_USAGE, "bench", "there is no bench \"%s\"; see --help", words[i]);

    alarm(600); /* no run takes that long: a peer has died */
    bench_clock_init();
    bench_pin(o.cpu[0]);
    for (size_t i = 0; i < BENCHES; i++) {
        bool named = n == 0;
        for (int w = 0; w < n; w++)
            named = named || find(words[w]) == (int)i;
        if (named)
            benches[i].run(&o);
    }
    return vmsig_cli_flush() ? VMSIG_EXIT_OK : VMSIG_EXIT_FAILURE;
}
