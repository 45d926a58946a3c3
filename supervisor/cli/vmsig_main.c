/* The program `vmsig`: a table of commands. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/cli/cli.h"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"up", vmsig_cmd_up, "start a topology, stay in front of it, stop it in order"},
    {"check", vmsig_cmd_check, "check a topology file; explain its keys"},
    {"status", vmsig_cmd_status, "actors, links, endpoints and protections of a running topology"},
    {"top", vmsig_cmd_top, "what each actor does per second, on a screen"},
    {"grants", vmsig_cmd_grants, "have a running topology read its grants files again"},
    {"restart", vmsig_cmd_restart, "stop one actor and start it again"},
    {"plug", vmsig_cmd_plug, "add an actor while all goes on"},
    {"unplug", vmsig_cmd_unplug, "take an actor out while all goes on"},
    {"reload", vmsig_cmd_reload, "make what runs what the topology file says now"},
    {"upgrade", vmsig_cmd_upgrade, "put another program in the supervisor's place while all goes on"},
    {"tap", vmsig_cmd_tap, "watch events as a control gets them"},
    {"send", vmsig_cmd_send, "send a command to an endpoint and print its result"},
    {"audit", vmsig_cmd_audit, "show, verify or follow the audit log"},
    {"bench", vmsig_cmd_bench, "measure latency and throughput on this machine"},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static const struct command *find(const char *name) {
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void usage(FILE *to) {
    fputs("usage: vmsig COMMAND [ARGUMENTS]\n\n", to);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].summary);
    fputs("  help     this text; `vmsig help COMMAND` is `vmsig COMMAND --help`\n"
          "  version  the version\n\n"
          "exit codes: 0 ok, 1 runtime failure, 2 the topology or its files are "
          "wrong, 3 a group ended failed, "
          "64 usage\n",
          to);
}

static int unknown(const char *name) {
    const char *names[COMMANDS + 3] = {0};
    for (size_t i = 0; i < COMMANDS; i++)
        names[i] = commands[i].name;
    names[COMMANDS] = "help";
    names[COMMANDS + 1] = "version";
    const char *near = vmsig_cli_nearest(name, names);
    if (near)
        fprintf(stderr, "vmsig: there is no command %s; did you mean `vmsig %s`?\n", name, near);
    else
        fprintf(stderr, "vmsig: there is no command %s (see vmsig help)\n", name);
    return VMSIG_EXIT_USAGE;
}

static int help(int argc, char **argv) {
    if (argc < 2) {
        usage(stdout);
        return VMSIG_EXIT_OK;
    }
    const struct command *c = find(argv[1]);
    if (!c)
        return unknown(argv[1]);
    char option[] = "--help";
    char *args[] = {argv[1], option, NULL};
    return c->run(2, args);
}

static int run(int argc, char **argv) {
    const char *name = argv[0];
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help(argc, argv);
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0) {
        puts("vmsig " VMSIG_VERSION);
        return VMSIG_EXIT_OK;
    }
    const struct command *c = find(name);
    return c ? c->run(argc, argv) : unknown(name);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is seen where one writes */
    if (argc < 2) {
        usage(stderr);
        return VMSIG_EXIT_USAGE;
    }
    int code = run(argc - 1, argv + 1);
    if (code == VMSIG_EXIT_OK && !vmsig_cli_flush() && !vmsig_cli_reader_gone()) {
        perror("vmsig: standard output");
        return VMSIG_EXIT_FAILURE;
    }
    return code;
}
