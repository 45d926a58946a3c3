/* vmsig-bench: latency and throughput on this machine (vmsig-bench(1)). */
#include <stdlib.h>
#include <string.h>

#include "bench/chain.h"
#include "bench/live.h"
#include "bench/pair.h"
#include "bench/run.h"

static const char help[] =
    "vmsig bench [options] [family ...]\n"
    "vmsig bench [options] TOPOLOGY.yaml\n"
    "Measures latency and throughput on this machine. Without a name: every family.\n"
    "With a topology that runs: its own events, for as many seconds as --rounds says.\n"
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
    "  vm, or --vm   a VM under QEMU, beside the bare QMP of another one: query, keys, memory writes\n"
    "  scale         1 to 1000 sensors, 64 endpoints, 256 controls (asked for by name only)\n" BENCH_OPTIONS_HELP;

static const bench_family families[] = {
    {.name = "hop", .run = bench_hop},
    {.name = "wake", .run = bench_wake},
    {.name = "throughput", .run = bench_throughput},
    {.name = "payload", .run = bench_payload},
    {.name = "fan", .run = bench_fan},
    {.name = "ctx", .run = bench_ctx},
    {.name = "seam", .run = bench_seam},
    {.name = "audit", .run = bench_audit},
    {.name = "chain", .run = bench_chain},
    {.name = "restart", .run = bench_restart},
    {.name = "vm", .run = bench_vm},
    {.name = "scale", .run = bench_scale, .named_only = true},
};

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
    char vm[] = "vm";
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--vm") == 0)
            argv[i] = vm;
    const bench_program program = {.help = help,
                                   .families = families,
                                   .families_n = sizeof families / sizeof *families,
                                   .other = bench_live_named,
                                   .run_other = bench_live};
    bench_book book = {0};
    code = bench_run(&program, argc, argv, &book);
    free(book.results);
    return code;
}
