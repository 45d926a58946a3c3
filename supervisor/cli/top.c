/* vmsig top: who works how much, again every second. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "actors/runtime/loop.h"
#include "supervisor/cli/ask.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/show.h"
#include "supervisor/cli/table.h"
#include "supervisor/cli/top.h"

static const char help[] =
    "usage: vmsig top [--name NAME] [--sort cpu|events|name] [--interval TIME] [--count N] [--json]\n\n"
    "Shows what each actor of a running topology does per second: processor time, wake-ups, events in and out.\n"
    "On a terminal q ends it; c, e and n sort by processor time, events or name.\n\n"
    "  --name NAME      of the topology; needed when several run\n"
    "  --sort ORDER     cpu (default), events or name\n"
    "  --interval TIME  between two looks (default 1s)\n"
    "  --count N        stop after N looks\n"
    "  --json           one JSON object per look, for programs\n\n"
    "examples:\n"
    "  vmsig top\n"
    "  vmsig top --name demo --sort events --count 1\n\n"
    "exit codes: 0 ok, 1 nothing runs there or it does not answer, 64 usage\n";

#define ANSWER_MS 2000

typedef struct top {
    const char *name;
    vmsig_top_order order;
    int interval_ms;
    uint64_t count; /* 0 = until interrupted */
    bool json, screen;
    struct termios before; /* of the terminal, restored at the end */
    int signals;           /* signalfd: who is ended by one puts the terminal in order first; -1 without a screen */
    Vmsig__Pb__Response *then, *now;
    uint64_t then_ns, now_ns;
} top;

/* ---- one look ---------------------------------------------------------------------------------------------- */

static int print_rows(const vmsig_top_row *rows, size_t n) {
    static const char *const heads[] = {"ACTOR",  "KIND",     "STATE", ">CPU %",   ">WAKES/S",  ">IN/S",
                                        ">OUT/S", ">WAITING", ">P99",  ">STALLED", ">RESTARTS", NULL};
    vmsig_table *t = vmsig_table_new(heads);
    for (size_t i = 0; i < n; i++) {
        const vmsig_top_row *r = &rows[i];
        vmsig_table_cell(t, "%s", r->actor->name);
        vmsig_table_cell(t, "%s", r->actor->kind);
        vmsig_table_cell(t, "%s", r->actor->state);
        vmsig_table_cell(t, "%.1f", r->cpu * 100);
        vmsig_table_cell(t, "%.0f", r->wakeups);
        vmsig_table_cell(t, "%.1f", r->in);
        vmsig_table_cell(t, "%.1f", r->out);
        vmsig_table_cell(t, "%" PRIu64, r->waiting);
        vmsig_table_latency(t, r->p99_ns);
        if (r->stalled_ms)
            vmsig_table_span(t, r->stalled_ms);
        else
            vmsig_table_cell(t, "%s", "");
        vmsig_table_cell(t, "%u", r->actor->restarts);
    }
    return vmsig_table_print(t, stdout);
}

static json_t *rows_json(const Vmsig__Pb__Status *s, const vmsig_top_row *rows) {
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_actors; i++) {
        const vmsig_top_row *r = &rows[i];
        json_array_append_new(list, json_pack("{s:s s:s s:f s:f s:f s:f s:I s:I s:I}", "name", r->actor->name, "state",
                                              r->actor->state, "cpu", r->cpu, "wakeups", r->wakeups, "in", r->in, "out",
                                              r->out, "waiting", (json_int_t)r->waiting, "p99_ns",
                                              (json_int_t)r->p99_ns, "stalled_ms", (json_int_t)r->stalled_ms));
    }
    return json_pack("{s:s s:s s:o}", "name", s->name, "state", s->state, "actors", list);
}

static int show(const top *t) {
    const Vmsig__Pb__Status *s = t->now->status;
    vmsig_top_row *rows = calloc(s->n_actors + 1, sizeof *rows);
    if (!rows)
        return -ENOMEM;
    vmsig_top_rates(t->then ? t->then->status : NULL, s, t->now_ns - t->then_ns, t->order, rows);
    int err;
    if (t->json) {
        err = vmsig_show_json(rows_json(s, rows));
    } else {
        if (t->screen)
            fputs("\033[H\033[2J", stdout);
        printf("%s: %s, supervisor %d, topology %s\n\n", s->name, s->state, s->pid, s->topology);
        err = print_rows(rows, s->n_actors);
        if (!t->screen)
            putchar('\n');
    }
    free(rows);
    return err ? err : vmsig_cli_flush() ? 0 : -EPIPE;
}

/* The next status; the one before becomes what rates are taken from. */
static int look(top *t, char *err) {
    Vmsig__Pb__Response *r;
    int n = vmsig_ask_status(t->name, ANSWER_MS, &r, err);
    if (n)
        return n;
    if (t->then)
        vmsig_ask_free(t->then);
    t->then = t->now;
    t->then_ns = t->now_ns;
    t->now = r;
    t->now_ns = vmsig_now_ns();
    return 0;
}

/* ---- the terminal ------------------------------------------------------------------------------------------ */

static void keys_on(top *t) {
    struct termios raw;
    t->screen = !t->json && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &t->before) == 0;
    if (!t->screen)
        return;
    raw = t->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    t->signals = signalfd(-1, &set, SFD_CLOEXEC);
}

static void keys_off(const top *t) {
    if (t->screen)
        tcsetattr(STDIN_FILENO, TCSANOW, &t->before);
    if (t->signals >= 0)
        close(t->signals);
}

/* False: it was the key that ends it, or the terminal is gone. */
static bool take_key(top *t) {
    char key;
    if (read(STDIN_FILENO, &key, 1) != 1)
        return false;
    if (key == 'c' || key == 'e' || key == 'n')
        t->order = key == 'c' ? VMSIG_TOP_CPU : key == 'e' ? VMSIG_TOP_EVENTS : VMSIG_TOP_NAME;
    return key != 'q' && key != 3;
}

/* Until the next look is due: false when it is over. A key that sorts shows at once. */
static bool wait_for_next(top *t) {
    uint64_t until = vmsig_now_ns() + (uint64_t)t->interval_ms * 1000000u;
    for (uint64_t now; (now = vmsig_now_ns()) < until;) {
        struct pollfd p[] = {{.fd = t->screen ? STDIN_FILENO : -1, .events = POLLIN},
                             {.fd = t->signals, .events = POLLIN}};
        int n = poll(p, 2, (int)((until - now) / 1000000u) + 1);
        if (p[1].revents || vmsig_cli_reader_gone() || (n > 0 && !take_key(t)))
            return false;
        if (n > 0)
            show(t);
    }
    return true;
}

static int run(top *t) {
    char err[VMSIG_ASK_ERR_MAX];
    if (look(t, err))
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "top", "%s", err);
    for (uint64_t i = 0; t->count == 0 || i < t->count; i++) {
        if (t->screen && i == 0)
            show(t); /* something to look at before there are rates */
        if (!wait_for_next(t))
            break;
        if (look(t, err))
            return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "top", "%s", err);
        int bad = show(t);
        if (bad)
            return bad == -EPIPE ? VMSIG_EXIT_OK : vmsig_cli_fail(VMSIG_EXIT_FAILURE, "top", "%s", strerror(-bad));
    }
    return VMSIG_EXIT_OK;
}

/* ---- the command ------------------------------------------------------------------------------------------- */

static bool choose_order(const char *text, vmsig_top_order *order) {
    static const char *const names[] = {"cpu", "events", "name"};
    for (int i = 0; i < 3; i++)
        if (strcmp(text, names[i]) == 0) {
            *order = (vmsig_top_order)i;
            return true;
        }
    return false;
}

int vmsig_cmd_top(int argc, char **argv) {
    const char *sort = "cpu", *words[VMSIG_CLI_WORDS_MAX];
    top t = {.interval_ms = 1000, .signals = -1};
    int nwords, code;
    const vmsig_cli_opt opts[] = {{"name", VMSIG_CLI_TEXT, &t.name, 0},
                                  {"sort", VMSIG_CLI_TEXT, &sort, 0},
                                  {"interval", VMSIG_CLI_TIME, &t.interval_ms, 0},
                                  {"count", VMSIG_CLI_UINT, &t.count, UINT64_MAX},
                                  {"json", VMSIG_CLI_YES, &t.json, 0},
                                  {0}};
    if (!vmsig_cli_parse(argc, argv, help, opts, words, &nwords, &code))
        return code;
    if (nwords)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "top", "%s is not expected (a name goes with --name)", words[0]);
    if (!choose_order(sort, &t.order))
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "top", "--sort %s: expected cpu, events or name", sort);
    keys_on(&t);
    code = run(&t);
    keys_off(&t);
    if (t.then)
        vmsig_ask_free(t.then);
    if (t.now)
        vmsig_ask_free(t.now);
    return code;
}
