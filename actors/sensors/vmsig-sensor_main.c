/* vmsig-sensor: a shared object, or any program that writes lines, as a sensor. */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "actors/sensors/sensor.h"

static const char help[] =
    "vmsig-sensor --plugin FILE.so [ARG...]   runs a shared object that exports vmsig_plugin_open\n"
    "vmsig-sensor --pipe COMMAND [ARG...]     runs a command; each line of its output becomes an event of kind 64\n"
    "It is started by the supervisor: see vmsig(1). Exit codes: 0 stopped, or the command ended with 0; 64 usage; 127\n"
    "no such command; 128+N the command was killed by signal N; else the command's own, or 1.\n";

static int usage(const char *why) {
    fprintf(stderr, "vmsig-sensor: %s\n%s", why, help);
    return EX_USAGE;
}

int main(int argc, char **argv) {
    if (argc < 2)
        return usage("say --plugin or --pipe");
    if (strcmp(argv[1], "--help") == 0)
        return fputs(help, stdout) < 0;
    if (strcmp(argv[1], "--plugin") == 0)
        return argc < 3 ? usage("--plugin needs the file of a shared object") : vmsig_sensor_plugin(argc - 2, argv + 2);
    if (strcmp(argv[1], "--pipe") == 0)
        return argc < 3 ? usage("--pipe needs a command") : vmsig_sensor_pipe(argv + 2);
    return usage("the first argument is --plugin or --pipe");
}
