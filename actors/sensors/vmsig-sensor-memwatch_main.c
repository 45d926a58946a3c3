/* vmsig-sensor-memwatch: reports changes of guest memory.
 *
 *   - {name: eyes, kind: sensor, exec: vmsig-sensor-memwatch, endpoint: tiny, source: 9, memctx: true,
 *      args: [--phys, "0x2008:8", --virt, "0xffffffff80001008", --hz, "100"]}
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "vmsig_actor.h"
#include "vmsig_memwatch.h"

static const char help[] = "vmsig-sensor-memwatch [--hz N] (--phys | --virt) ADDR[:SIZE] ...\n"
                           "\n"
                           "Watches places in a guest's memory and emits an event (kind 64, see vmsig_memwatch.h)\n"
                           "for each that has changed. It is started by the supervisor, as the `exec` of a sensor\n"
                           "with `memctx: true`.\n"
                           "\n"
                           "  --phys ADDR[:SIZE]  a guest-physical address; SIZE is 1 to 48 bytes, 8 if not said\n"
                           "  --virt ADDR[:SIZE]  a virtual address, walked through the guest's page tables\n"
                           "  --hz N              looks a second, 1 to 10000; 10 if not said\n"
                           "  --help              this text\n"
                           "\n"
                           "At most 64 places. Exit status: 0 stopped by the supervisor, 64 wrong arguments.\n";

typedef struct settings {
    vmsig_memwatch_place places[VMSIG_MEMWATCH_PLACES];
    unsigned n;
    uint32_t hz;
} settings;

static int usage(const char *what, const char *value) {
    fprintf(stderr, "vmsig-sensor-memwatch: %s%s%s; --help tells what it takes\n", what, value ? ": " : "",
            value ? value : "");
    return EX_USAGE;
}

static int parse_hz(settings *s, const char *value) {
    char *end;
    unsigned long hz = value[0] >= '0' && value[0] <= '9' ? strtoul(value, &end, 10) : 0;
    if (hz == 0 || hz > VMSIG_MEMWATCH_HZ_MAX || *end != '\0')
        return usage("--hz takes a number from 1 to 10000, not", value);
    s->hz = (uint32_t)hz;
    return 0;
}

static int parse_place(settings *s, const char *value, uint16_t flags) {
    if (s->n == VMSIG_MEMWATCH_PLACES)
        return usage("more than 64 places, beginning with", value);
    if (vmsig_memwatch_parse(value, &s->places[s->n]) < 0)
        return usage("a place is ADDR or ADDR:SIZE with a size from 1 to 48, not", value);
    s->places[s->n++].flags = flags;
    return 0;
}

static int parse(settings *s, int argc, char **argv) {
    for (int i = 1; i < argc; i += 2) {
        const char *value = argv[i + 1]; /* argv ends with NULL */
        bool hz = strcmp(argv[i], "--hz") == 0, virt = strcmp(argv[i], "--virt") == 0;
        if (!hz && !virt && strcmp(argv[i], "--phys") != 0)
            return usage("unknown argument", argv[i]);
        if (!value)
            return usage("a value is missing after", argv[i]);
        int rc = hz ? parse_hz(s, value) : parse_place(s, value, virt ? VMSIG_MEMWATCH_VIRTUAL : 0);
        if (rc)
            return rc;
    }
    return s->n ? 0 : usage("it needs a place to watch (--phys or --virt)", NULL);
}

int main(int argc, char **argv) {
    settings s = {.hz = 10};
    const vmsig_source_ops *ops;
    void *src;
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return fputs(help, stdout) < 0;
    int rc = parse(&s, argc, argv);
    if (rc)
        return rc;
    if (vmsig_memwatch_open(0, VMSIG_SRC_SENSOR_FIRST, s.places, s.n, s.hz, &ops, &src) < 0) {
        perror("vmsig-sensor-memwatch");
        return EXIT_FAILURE;
    }
    return vmsig_actor_run_source(ops, src);
}
