/* vmsig upgrade: another program in the supervisor's place, and, where asked for, in those of vmsig's own actors. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "supervisor/cli/ask.h"
#include "supervisor/cli/change.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/show.h"

#define LOOK_NS      20000000
#define TRIAL_MS     10000
#define TRIAL_MS_MAX 3600000u

static const char help[] =
    "usage: vmsig upgrade [PROGRAMS] [--actors] [--dry-run] [--trial TIME] [--name NAME] [--json]\n\n"
    "Puts PROGRAMS/vmsig-supervisor (PROGRAMS: a folder; without it, this vmsig's own) in the place of the supervisor "
    "of\n"
    "a running topology, while events go on. The program is asked first what it speaks, with the present supervisor "
    "in\n"
    "place. Then it has to take over what the present one leaves; if it ends before, or has not done so in time, the\n"
    "former program goes on. What starts from then on is started from PROGRAMS.\n\n"
    "  --actors        then restart, one after the other, the actors whose programs are vmsig's\n"
    "  --dry-run       only say what would be done\n"
    "  --trial TIME    how long the next supervisor may take to say what it speaks, then to take over (default 10s)\n"
    "  --name NAME     of the topology; needed when several run\n"
    "  --json          one JSON object, for programs\n"
    "  --timeout TIME  how long to wait for each actor (default 30s)\n\n"
    "examples:\n"
    "  vmsig upgrade /opt/vmsig-next/bin\n"
    "  vmsig upgrade --actors --dry-run\n\n"
    "exit codes: 0 done, 1 not done: nothing runs there, it is refused, or the former program goes on (the sentence "
    "says\n"
    "why), 64 usage\n";

typedef struct upgrade {
    vmsig_change_options o;
    bool actors;
    int trial_ms;
    char to[PATH_MAX];
    uint64_t id;
} upgrade;

static int fail(const char *sentence) {
    return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "upgrade", "%s", sentence);
}

/* ---- the plan -------------------------------------------------------------------------------------------- */

static bool below(const char *path, const char *folder) {
    size_t n = strlen(folder);
    return path && strncmp(path, folder, n) == 0 && path[n] == '/';
}

/* The names of those to restart, hosts last: NULL-terminated, into s. */
static const char **chosen(const upgrade *u, const Vmsig__Pb__Status *s) {
    const char **names = calloc(s->n_actors + 1, sizeof *names);
    size_t n = 0;
    for (int hosts = 0; names && u->actors && hosts < 2; hosts++)
        for (size_t i = 0; i < s->n_actors; i++) {
            const Vmsig__Pb__StatusActor *a = s->actors[i];
            if (below(a->program, s->programs) && (strcmp(a->kind, "host") == 0) == hosts)
                names[n++] = a->name;
        }
    return names;
}

static int show_plan(const upgrade *u, const Vmsig__Pb__Status *s, const char *const *names) {
    if (u->o.json)
        return 0;
    printf("upgraded  supervisor (%s -> %s)\n", s->programs, u->to);
    for (; *names; names++)
        printf("restarted actor %s\n", *names);
    return vmsig_cli_flush() ? 0 : -EPIPE;
}

static int show_done(const upgrade *u, const Vmsig__Pb__Status *s, const char *const *names) {
    json_t *list = json_array();
    for (; list && *names; names++)
        json_array_append_new(list, json_string(*names));
    return vmsig_show_json(
        json_pack("{s:b s:s s:s s:o}", "made", !u->o.dry, "from", s->programs, "to", u->to, "actors", list));
}

/* ---- carrying it out ------------------------------------------------------------------------------------- */

static int begin(upgrade *u) {
    char err[VMSIG_ASK_ERR_MAX];
    Vmsig__Pb__Response *r;
    Vmsig__Pb__UpgradeAsk m = VMSIG__PB__UPGRADE_ASK__INIT;
    Vmsig__Pb__Request q = VMSIG__PB__REQUEST__INIT;
    m.programs = u->to;
    m.has_trial_ms = 1;
    m.trial_ms = (uint32_t)u->trial_ms;
    q.m_case = VMSIG__PB__REQUEST__M_UPGRADE;
    q.upgrade = &m;
    if (vmsig_ask(u->o.name, &q, u->o.timeout_ms, &r, err))
        return fail(err);
    int code = VMSIG_EXIT_OK;
    if (r->status && r->status->upgrade)
        u->id = r->status->upgrade->id;
    else
        code = fail(r->error ? r->error : "refused, without a reason");
    vmsig_ask_free(r);
    return code;
}

/* True: it is over, with *code. */
static bool over(const upgrade *u, const Vmsig__Pb__Status *s, int *code) {
    const Vmsig__Pb__StatusUpgrade *g = s->upgrade;
    if (!g || g->id != u->id) {
        *code = fail("the supervisor died while it asked the next program: nothing was changed, try again");
        return true;
    }
    if (strcmp(g->state, "failed") == 0)
        *code = vmsig_cli_fail(VMSIG_EXIT_FAILURE, "upgrade", "%s; the former program goes on",
                               g->why ? g->why : "it failed");
    return strcmp(g->state, "failed") == 0 || strcmp(g->state, "done") == 0;
}

static int await(const upgrade *u) {
    /* Asking, trying, and starting the former program again all have their own ends, and no supervisor answers
     * meanwhile. */
    int looks = (u->trial_ms + u->o.timeout_ms) / (LOOK_NS / 1000000);
    char err[VMSIG_ASK_ERR_MAX] = "the supervisor does not say how it went";
    for (int i = 0; i < looks; i++) {
        Vmsig__Pb__Response *r;
        int code = VMSIG_EXIT_OK;
        int patience = u->trial_ms + u->o.timeout_ms;
        if (vmsig_ask_status(u->o.name, patience, &r, err) == 0) {
            bool end = over(u, r->status, &code);
            vmsig_ask_free(r);
            if (end)
                return code;
        }
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
    return fail(err);
}

static int carry_out(upgrade *u, const char *const *names) {
    int code = begin(u);
    if (code == VMSIG_EXIT_OK)
        code = await(u);
    for (; code == VMSIG_EXIT_OK && *names; names++)
        code = vmsig_change_restart("upgrade", &u->o, *names);
    return code;
}

static int run(upgrade *u) {
    char err[VMSIG_ASK_ERR_MAX];
    Vmsig__Pb__Response *r;
    if (vmsig_ask_status(u->o.name, u->o.timeout_ms, &r, err))
        return fail(err);
    const char **names = r->status->programs ? chosen(u, r->status) : NULL;
    int code = names ? VMSIG_EXIT_OK : fail(r->status->programs ? "no memory" : "that supervisor cannot be upgraded");
    if (names && show_plan(u, r->status, names))
        code = VMSIG_EXIT_FAILURE;
    if (code == VMSIG_EXIT_OK && !u->o.dry)
        code = carry_out(u, names);
    if (code == VMSIG_EXIT_OK && u->o.json && show_done(u, r->status, names))
        code = VMSIG_EXIT_FAILURE;
    free(names);
    vmsig_ask_free(r);
    return code;
}

int vmsig_cmd_upgrade(int argc, char **argv) {
    upgrade u = {.o.timeout_ms = 30000, .trial_ms = TRIAL_MS};
    const vmsig_cli_opt opts[] = {{"name", VMSIG_CLI_TEXT, &u.o.name, 0},
                                  {"json", VMSIG_CLI_YES, &u.o.json, 0},
                                  {"dry-run", VMSIG_CLI_YES, &u.o.dry, 0},
                                  {"actors", VMSIG_CLI_YES, &u.actors, 0},
                                  {"trial", VMSIG_CLI_TIME, &u.trial_ms, 0},
                                  {"timeout", VMSIG_CLI_TIME, &u.o.timeout_ms, 0},
                                  {0}};
    const char *words[VMSIG_CLI_WORDS_MAX];
    int n, code;
    if (!vmsig_cli_parse(argc, argv, help, opts, words, &n, &code))
        return code;
    if (n > 1)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "upgrade", "one folder of programs at a time");
    if (n == 0 && vmsig_cli_program_dir(u.to, sizeof u.to))
        return fail("cannot tell in which folder this vmsig lies: name one");
    if (n == 1 && !realpath(words[0], u.to))
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "upgrade", "%s: %s", words[0], strerror(errno));
    return run(&u);
}
