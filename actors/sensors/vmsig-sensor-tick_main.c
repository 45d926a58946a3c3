/* vmsig-sensor-tick: a sensor on one page. It emits a counter, N times a second.
 *
 *   - {name: beat, kind: sensor, exec: vmsig-sensor-tick, endpoint: tiny, source: 8, args: [--hz, "100"]}
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmsig_actor.h"

#define TICK_KIND 64 /* 64..255 are a sensor's own; the body is one uint64_t, the counter */

static const char help[] = "vmsig-sensor-tick [--hz N]   emits a counter N times a second (1..10000; default 1)\n"
                           "It is started by the supervisor: see vmsig(1).\n";

static void tick(vmsig_actor *actor, void *ud) {
    uint64_t *count = ud;
    /* Endpoint, source, epoch and time are filled in. When there is no room in time, the loss is told downstream. */
    vmsig_actor_emit_bytes(actor, TICK_KIND, count, sizeof(*count));
    ++*count;
}

/* The rate that the arguments ask for, 0 = they make no sense. */
static uint64_t parse(int argc, char **argv) {
    if (argc == 1)
        return 1;
    char *end;
    uint64_t hz = argc == 3 && strcmp(argv[1], "--hz") == 0 ? strtoumax(argv[2], &end, 10) : 0;
    return hz && *end == '\0' && hz <= 10000 ? hz : 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return fputs(help, stdout) < 0;
    uint64_t hz = parse(argc, argv), count = 0;
    if (!hz) {
        fputs(help, stderr);
        return 64;
    }
    vmsig_actor *actor = vmsig_actor_open(); /* from here on it is on the bus; without a supervisor it says so */
    if (!actor)
        return 1;
    int code = 1;
    if (vmsig_actor_every(actor, 1000000000 / hz, tick, &count) == 0)
        code = vmsig_actor_run(actor); /* until the supervisor says stop */
    vmsig_actor_free(actor);
    return code;
}
