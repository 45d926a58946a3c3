/* vmsig up: starts a topology, stays in front of it for the person who watches, and stops it in order.
 *
 *   check ──► start the keeper ──► wait for Status{running} ──► show it ──► live events ──► stop ──► the keeper's code
 *
 * It is a window: everything that must not die lives in the keeper and its children.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "supervisor/cli/ask.h"
#include "supervisor/cli/child.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/live.h"
#include "supervisor/cli/show.h"
#include "supervisor/topology.h"

#define ASK_EVERY_MS 100
#define ANSWER_MS    500
#define SILENT_MS    15000 /* a supervisor that does not answer for so long at the start will not */
#define STOP_MS      90000 /* longer than any order of stop deadlines the topology allows by default */

static const char help[] =
    "usage: vmsig up [TOPOLOGY] [--name NAME] [--tap | --no-tap] [--json]\n\n"
    "Checks the topology file, starts what it names, shows what runs and stays until Ctrl-C (or SIGTERM); then stops\n"
    "everything in order. Without a file: the built-in demo, an endpoint without a VM and a few sensors.\n\n"
    "  --name NAME      of the run directory; default: the file's name without its ending\n"
    "  --tap, --no-tap  print live events, or not; default: with the demo, not with a file\n"
    "  --json           one JSON object per line: {\"status\": ...}, then {\"event\": ...}\n\n"
    "A closed standard output ends the printing, not the topology.\n\n"
    "examples:\n"
    "  vmsig up\n"
    "  vmsig up lab.yaml --tap\n"
    "  vmsig up lab.yaml --name lab2 &\n\n"
    "exit codes: 0 stopped in order, 1 runtime failure (a socket in use, no space, ...), 2 the topology or its files\n"
    "are wrong (nothing was started), 3 a group of actors ended failed, 64 usage\n";

typedef struct up {
    const char *file, *wanted_name;
    char name[32];
    bool tap, json;
    bool quiet;  /* stdout is gone */
    bool failed; /* it had to be stopped from here */
    vmsig_child keeper;
    vmsig_live *live;
    uint32_t ready; /* how many actors were seen running */
    bool seen[VMSIG_ACTORS_MAX];
} up;

static int64_t now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Waits for a signal, for events or for the time to pass; true while the keeper lives. */
static bool wait_a_while(up *u, int timeout_ms) {
    struct pollfd p[] = {{.fd = u->keeper.signals, .events = POLLIN},
                         {.fd = u->live ? vmsig_live_fd(u->live) : -1, .events = POLLIN}};
    if (poll(p, 2, timeout_ms) > 0 && p[0].revents)
        vmsig_child_signals(&u->keeper);
    return !u->keeper.ended;
}

static void flush(up *u) {
    if (u->quiet || vmsig_cli_flush())
        return;
    u->quiet = true;
    vmsig_cli_fail(0, "up", "standard output is closed; %s goes on without printing", u->name);
}

/* ---- before anything starts ------------------------------------------------------------------------------ */

static bool is_name(const char *name, size_t max) {
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
    return n > 0 && n < max && name[n] == 0;
}

static int check(up *u, char *programs, size_t len) {
    vmsig_topology *t;
    vmsig_conf_error error;
    if (u->wanted_name && !is_name(u->wanted_name, sizeof u->name))
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "up",
                              "--name %s: letters, digits, '-' and '_' are expected, at most %zu", u->wanted_name,
                              sizeof u->name - 1);
    int err = vmsig_cli_program_dir(programs, len);
    if (err)
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "up", "its own program folder: %s", strerror(-err));
    if (vmsig_topology_load(u->file, programs, &t, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return VMSIG_EXIT_TOPOLOGY;
    }
    snprintf(u->name, sizeof u->name, "%s", u->wanted_name ? u->wanted_name : t->name);
    vmsig_topology_free(t);
    return VMSIG_EXIT_OK;
}

static int refuse_second(const up *u) {
    char err[VMSIG_ASK_ERR_MAX];
    Vmsig__Pb__Response *r;
    if (vmsig_ask_status(u->name, ANSWER_MS, &r, err))
        return VMSIG_EXIT_OK;
    int pid = r->status->pid;
    vmsig_ask_free(r);
    return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "up", "%s runs already (supervisor %d); choose another name with --name",
                          u->name, pid);
}

static int start(up *u, char *programs) {
    char keeper[PATH_MAX], supervisor[PATH_MAX], dir[108];
    char o_topology[] = "--topology", o_name[] = "--name", o_programs[] = "--programs";
    char *file = u->file ? strdup(u->file) : NULL;
    int err = vmsig_run_dir(u->name, dir, sizeof dir);
    if (err)
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "up", "the run directory of %s: %s", u->name, strerror(-err));
    if ((err = vmsig_cli_program("vmsig-keeper", keeper, sizeof keeper)) != 0)
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "up", "%s: %s", keeper, strerror(-err));
    if ((err = vmsig_cli_program("vmsig-supervisor", supervisor, sizeof supervisor)) != 0)
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "up", "%s: %s", supervisor, strerror(-err));
    char *argv[] = {keeper, supervisor, o_name, u->name, o_programs, programs, file ? o_topology : NULL, file, NULL};
    err = vmsig_child_start(&u->keeper, argv);
    free(file);
    return err ? vmsig_cli_fail(VMSIG_EXIT_FAILURE, "up", "%s: %s", keeper, strerror(-err)) : VMSIG_EXIT_OK;
}

/* ---- until it runs --------------------------------------------------------------------------------------- */

/* An actor may be ready before the keeper has told its pid. */
static bool is_ready(const Vmsig__Pb__StatusActor *a) {
    return strcmp(a->state, "ready") == 0 && a->pid > 0;
}

static bool runs(const Vmsig__Pb__Status *s) {
    bool all_known = true;
    for (size_t i = 0; i < s->n_actors; i++)
        all_known &= strcmp(s->actors[i]->state, "ready") != 0 || is_ready(s->actors[i]);
    return all_known && strcmp(s->state, "running") == 0;
}

static void progress(up *u, const Vmsig__Pb__Status *s) {
    for (size_t i = 0; i < s->n_actors && i < VMSIG_ACTORS_MAX; i++) {
        if (u->seen[i] || !is_ready(s->actors[i]))
            continue;
        u->seen[i] = true;
        u->ready++;
        if (!u->json && !u->quiet)
            printf("%u/%zu %s (%s) is ready, pid %d\n", u->ready, s->n_actors, s->actors[i]->name, s->actors[i]->kind,
                   s->actors[i]->pid);
    }
    flush(u);
}

static void show(up *u, const Vmsig__Pb__Status *s) {
    if (u->quiet)
        return;
    if (u->json) {
        vmsig_show_json(json_pack("{s:o}", "status", vmsig_status_json(s)));
    } else {
        putchar('\n');
        vmsig_show_status(s);
        printf("\nstop with Ctrl-C; elsewhere: vmsig status, vmsig tap, vmsig send %u key a\n\n",
               s->n_endpoints ? s->endpoints[0]->id : 0);
    }
    flush(u);
}

/* One look: 1 it runs, 0 not yet, -errno no answer. */
static int look(up *u, char *err) {
    Vmsig__Pb__Response *r;
    int n = vmsig_ask_status(u->name, ANSWER_MS, &r, err);
    if (n)
        return n;
    progress(u, r->status);
    n = runs(r->status);
    if (n)
        show(u, r->status);
    vmsig_ask_free(r);
    return n;
}

/* How long the start may take is the topology's matter (READY deadlines), as long as the supervisor answers. */
static void wait_until_running(up *u) {
    char err[VMSIG_ASK_ERR_MAX] = "no answer";
    int64_t heard = now_ms();
    if (!u->json)
        printf("starting %s\n", u->name);
    flush(u);
    while (wait_a_while(u, ASK_EVERY_MS) && u->keeper.stops == 0) {
        int n = look(u, err);
        if (n == 1)
            return;
        if (n == 0)
            heard = now_ms();
        if (now_ms() - heard > SILENT_MS) {
            vmsig_cli_fail(0, "up", "the supervisor does not answer, so it is stopped: %s", err);
            u->failed = true;
            vmsig_child_stop(&u->keeper);
        }
    }
}

/* ---- while it runs --------------------------------------------------------------------------------------- */

static void attach(up *u) {
    char err[VMSIG_LIVE_ERR_MAX];
    const vmsig_live_cfg cfg = {.where = u->name,
                                .sub = {UINT32_MAX, UINT64_MAX, 0},
                                .kind = -1,
                                .json = u->json,
                                .wrap = "event",
                                .command = "up",
                                .timeout_ms = 5000};
    if (u->tap && !u->quiet && vmsig_live_open(&cfg, &u->live, err)) {
        u->live = NULL;
        vmsig_cli_fail(0, "up", "no live events: %s", err);
    }
}

static void detach(up *u) {
    vmsig_live_close(u->live);
    u->live = NULL;
}

static void print_events(up *u) {
    int n = u->live ? vmsig_live_step(u->live, 0) : 1;
    if (n > 0)
        return;
    if (n == -EPIPE)
        flush(u);
    else
        vmsig_cli_fail(0, "up", "no more live events: %s", vmsig_live_error(u->live));
    detach(u);
}

static void stay(up *u) {
    attach(u);
    while (wait_a_while(u, 1000) && u->keeper.stops == 0)
        print_events(u);
    detach(u);
}

static int end(up *u) {
    int64_t until = now_ms() + STOP_MS;
    if (u->keeper.stops && !u->json && !u->quiet) {
        printf("stopping %s\n", u->name);
        flush(u);
    }
    while (!u->keeper.ended && now_ms() < until)
        wait_a_while(u, 1000);
    if (!u->keeper.ended) {
        vmsig_cli_fail(0, "up", "%s did not stop within %d s; its keeper was killed", u->name, STOP_MS / 1000);
        vmsig_child_kill(&u->keeper);
    } else if (u->keeper.code > 128) {
        vmsig_cli_fail(0, "up", "the keeper was killed by signal %d", u->keeper.code - 128);
    }
    return u->failed || u->keeper.code > 128 ? VMSIG_EXIT_FAILURE : u->keeper.code;
}

int vmsig_cmd_up(int argc, char **argv) {
    const char *words[VMSIG_CLI_WORDS_MAX];
    char programs[PATH_MAX];
    bool tap = false, no_tap = false;
    int nwords, code;
    up u = {0};
    const vmsig_cli_opt opts[] = {{"name", VMSIG_CLI_TEXT, &u.wanted_name, 0},
                                  {"tap", VMSIG_CLI_YES, &tap, 0},
                                  {"no-tap", VMSIG_CLI_YES, &no_tap, 0},
                                  {"json", VMSIG_CLI_YES, &u.json, 0},
                                  {0}};
    if (!vmsig_cli_parse(argc, argv, help, opts, words, &nwords, &code))
        return code;
    if (nwords > 1)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "up", "one topology at a time; %s is too much", words[1]);
    if (tap && no_tap)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "up", "--tap and --no-tap exclude each other");
    u.file = nwords ? words[0] : NULL;
    u.tap = tap || (!u.file && !no_tap);
    if ((code = check(&u, programs, sizeof programs)) != VMSIG_EXIT_OK || (code = refuse_second(&u)) != VMSIG_EXIT_OK ||
        (code = start(&u, programs)) != VMSIG_EXIT_OK)
        return code;
    wait_until_running(&u);
    if (!u.keeper.ended && u.keeper.stops == 0)
        stay(&u);
    code = end(&u);
    vmsig_child_close(&u.keeper);
    return code;
}
