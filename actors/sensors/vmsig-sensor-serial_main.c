/* vmsig-sensor-serial: the lines of a guest's console, from the socket that QEMU offers it on. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "actors/sensors/dial.h"
#include "actors/sensors/lines.h"

#define RETRY_NS  100000000 /* while nobody is there */
#define PROMPT_NS 50000000  /* what stands for so long without a line's end is a prompt */

static const char help[] =
    "vmsig-sensor-serial          the lines that a guest writes on its console, each as an event of kind 64; a prompt\n"
    "                             is one of kind 65. Its endpoint says `qemu: {console: true}`\n"
    "vmsig-sensor-serial PATH     the same from a socket that QEMU was told to offer in its args\n"
    "vmsig-sensor-serial @NAME    the same from an abstract socket\n"
    "It is started by the supervisor: see vmsig(1).\n"
    "Exit codes: 0 stopped; 64 usage; 100 there is no console; else 1.\n";

typedef struct serial {
    vmsig_lines lines;
    vmsig_dial at;
    int sock, timer;
} serial;

static void on_text(vmsig_actor *a, void *ud) {
    serial *s = ud;
    ssize_t n = vmsig_lines_read(&s->lines, s->sock);
    if (n > 0)
        vmsig_dial_arm(s->timer, s->lines.len > 0 ? PROMPT_NS : 0);
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    vmsig_lines_end(&s->lines); /* QEMU has ended */
    vmsig_actor_unwatch(a, s->sock);
    close(s->sock);
    s->sock = -1;
    vmsig_dial_arm(s->timer, RETRY_NS);
}

static void attach(serial *s) {
    s->sock = vmsig_dial_connect(&s->at);
    if (s->sock >= 0 && vmsig_actor_watch(s->lines.actor, s->sock, on_text, s) == 0)
        return;
    if (s->sock >= 0)
        close(s->sock);
    s->sock = -1;
    vmsig_dial_arm(s->timer, RETRY_NS);
}

static void on_timer(vmsig_actor *a, void *ud) {
    serial *s = ud;
    (void)a;
    if (!vmsig_dial_due(s->timer))
        return;
    if (s->sock < 0)
        attach(s);
    else
        vmsig_lines_prompt(&s->lines);
}

static int run(serial *s, vmsig_actor *actor, const char *path) {
    s->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (s->timer < 0 || vmsig_lines_open(&s->lines, actor, path) < 0 ||
        vmsig_actor_watch(actor, s->timer, on_timer, s) < 0) {
        fprintf(stderr, "%s: cannot begin: %s\n", vmsig_actor_name(actor), strerror(errno));
        return EXIT_FAILURE;
    }
    s->lines.console = true;
    attach(s);
    return vmsig_actor_run(actor);
}

int main(int argc, char **argv) {
    serial s = {.sock = -1, .timer = -1};
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return fputs(help, stdout) < 0;
    if (argc > 2 || (argc == 2 && (argv[1][0] == '-' || vmsig_dial_parse(&s.at, argv[1]) < 0))) {
        fputs(help, stderr);
        return EX_USAGE;
    }
    vmsig_actor *actor = vmsig_actor_open();
    if (!actor)
        return errno == ENOTCONN ? EX_USAGE : EXIT_FAILURE;
    bool found = argc == 2 || vmsig_dial_own(&s.at, actor, "console") == 0;
    int code = found ? run(&s, actor, argc == 2 ? argv[1] : "the console") : VMSIG_EXIT_DONT_RESTART;
    vmsig_actor_free(actor);
    vmsig_lines_close(&s.lines);
    return code;
}
