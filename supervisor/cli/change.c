/* vmsig restart, plug, unplug, reload: changes of a running topology, asked of its supervisor. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "schema/conf.h"
#include "supervisor/cli/ask.h"
#include "supervisor/cli/change.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/show.h"

#define LOOK_NS  20000000
#define TEXT_MAX 32768u /* of what is plugged in */

#define COMMON_HELP                                                                                                    \
    "  --name NAME     of the topology; needed when several run\n"                                                     \
    "  --json          one JSON object, for programs\n"                                                                \
    "  --no-wait       don't wait until it is done\n"                                                                  \
    "  --timeout TIME  how long to wait (default 30s)\n\n"
#define COMMON_CODES                                                                                                   \
    "exit codes: 0 ok, 1 nothing runs there, it is refused, or not done in time, 2 the topology would be wrong:\n"     \
    "nothing was changed, 64 usage\n"

typedef vmsig_change_options options;

/* Parses; false: over, with *code. dry: whether the command knows --dry-run. */
static bool parse(int argc, char **argv, const char *help, bool dry, options *o, const char **words, int *n,
                  int *code) {
    *o = (options){.timeout_ms = 30000};
    const vmsig_cli_opt opts[] = {{"name", VMSIG_CLI_TEXT, &o->name, 0},
                                  {"json", VMSIG_CLI_YES, &o->json, 0},
                                  {"no-wait", VMSIG_CLI_YES, &o->no_wait, 0},
                                  {"timeout", VMSIG_CLI_TIME, &o->timeout_ms, 0},
                                  {dry ? "dry-run" : NULL, VMSIG_CLI_YES, &o->dry, 0},
                                  {0}};
    return vmsig_cli_parse(argc, argv, help, opts, words, n, code);
}

/* ---- waiting --------------------------------------------------------------------------------------------- */

static int64_t now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static const Vmsig__Pb__StatusActor *actor(const Vmsig__Pb__Status *s, const char *name) {
    for (size_t i = 0; i < s->n_actors; i++)
        if (strcmp(s->actors[i]->name, name) == 0)
            return s->actors[i];
    return NULL;
}

/* NULL: all that the plan names is as it says; else who is not. */
static const char *unsettled(const Vmsig__Pb__Status *s, const Vmsig__Pb__Plan *p) {
    if (s->changing)
        return "the change";
    for (size_t i = 0; i < p->n_changes; i++) {
        const Vmsig__Pb__Change *c = p->changes[i];
        const Vmsig__Pb__StatusActor *a = c->link ? NULL : actor(s, c->name);
        if (a && strcmp(a->state, "ready") != 0 && !(strcmp(a->state, "stopped") == 0 && a->last_exit))
            return c->name;
    }
    return NULL;
}

static int wait_done(const char *command, const options *o, const Vmsig__Pb__Plan *p) {
    int64_t until = now_ms() + o->timeout_ms;
    char err[VMSIG_ASK_ERR_MAX], last[80] = "the change";
    for (;;) {
        Vmsig__Pb__Response *r;
        int n = vmsig_ask_status(o->name, 2000, &r, err);
        if (n == 0) {
            const char *who = unsettled(r->status, p);
            if (who)
                snprintf(last, sizeof last, "%s", who);
            vmsig_ask_free(r);
            if (!who)
                return VMSIG_EXIT_OK;
        }
        if (now_ms() >= until)
            return vmsig_cli_fail(VMSIG_EXIT_FAILURE, command, "%s: %s", n ? o->name ? o->name : "supervisor" : last,
                                  n ? err : "not done in time; `vmsig status` shows how far it is");
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
}

/* ---- asking ---------------------------------------------------------------------------------------------- */

static int ask(const char *command, const options *o, const Vmsig__Pb__Request *q) {
    char err[VMSIG_ASK_ERR_MAX];
    Vmsig__Pb__Response *r;
    if (vmsig_ask(o->name, q, o->timeout_ms, &r, err))
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, command, "%s", err);
    int code = VMSIG_EXIT_OK;
    if (r->plan == NULL) {
        code = vmsig_cli_fail(r->invalid ? VMSIG_EXIT_TOPOLOGY : VMSIG_EXIT_FAILURE, command, "%s",
                              r->error ? r->error : "refused, without a reason");
    } else {
        int bad = o->json ? vmsig_show_json(vmsig_plan_json(r->plan)) : vmsig_show_plan(r->plan);
        if (bad)
            code = vmsig_cli_fail(VMSIG_EXIT_FAILURE, command, "%s", strerror(-bad));
        else if (r->plan->made && !o->no_wait)
            code = wait_done(command, o, r->plan);
    }
    vmsig_ask_free(r);
    return code;
}

/* Names m, which must live as long. */
static Vmsig__Pb__Request restart_request(Vmsig__Pb__RestartAsk *m, const char *actor) {
    Vmsig__Pb__Request q = VMSIG__PB__REQUEST__INIT;
    vmsig__pb__restart_ask__init(m);
    m->name = (char *)(uintptr_t)actor;
    q.m_case = VMSIG__PB__REQUEST__M_RESTART;
    q.restart = m;
    return q;
}

int vmsig_change_restart(const char *command, const vmsig_change_options *o, const char *actor) {
    char err[VMSIG_ASK_ERR_MAX];
    Vmsig__Pb__Response *r;
    Vmsig__Pb__RestartAsk m;
    Vmsig__Pb__Request q = restart_request(&m, actor);
    if (vmsig_ask(o->name, &q, o->timeout_ms, &r, err))
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, command, "%s: %s", actor, err);
    int code = r->plan ? wait_done(command, o, r->plan)
                       : vmsig_cli_fail(VMSIG_EXIT_FAILURE, command, "%s: %s", actor,
                                        r->error ? r->error : "refused, without a reason");
    vmsig_ask_free(r);
    return code;
}

/* ---- restart --------------------------------------------------------------------------------------------- */

int vmsig_cmd_restart(int argc, char **argv) {
    static const char help[] =
        "usage: vmsig restart ACTOR [--name NAME] [--json] [--no-wait]\n\n"
        "Stops one actor and starts it again, without loss: what others send it meanwhile waits in their rings. One\n"
        "that is stopped or failed is started. It does not count as a crash.\n\n" COMMON_HELP "examples:\n"
        "  vmsig restart ctx\n\n" COMMON_CODES;
    const char *words[VMSIG_CLI_WORDS_MAX];
    int n, code;
    options o;
    if (!parse(argc, argv, help, false, &o, words, &n, &code))
        return code;
    if (n != 1)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "restart", "expected NAME, that of one actor");
    Vmsig__Pb__RestartAsk m;
    Vmsig__Pb__Request q = restart_request(&m, words[0]);
    return ask("restart", &o, &q);
}

/* ---- plug, unplug ---------------------------------------------------------------------------------------- */

/* A word that is YAML itself, or the file that it names; malloc'ed. NULL: told. */
static char *plug_text(const char *word, int *code) {
    vmsig_conf_error err;
    char *text;
    size_t len;
    if (strchr(word, '{') || strchr(word, ':'))
        text = strdup(word);
    else if (vmsig_conf_read_file(word, TEXT_MAX, &text, &len, &err) < 0) {
        *code = vmsig_cli_fail(VMSIG_EXIT_TOPOLOGY, "plug", "%s", err.text);
        return NULL;
    }
    if (!text)
        *code = vmsig_cli_fail(VMSIG_EXIT_FAILURE, "plug", "no memory");
    else if (strlen(text) > TEXT_MAX) {
        *code =
            vmsig_cli_fail(VMSIG_EXIT_FAILURE, "plug", "more than %u bytes: write it to the file and reload", TEXT_MAX);
        free(text);
        text = NULL;
    }
    return text;
}

int vmsig_cmd_plug(int argc, char **argv) {
    static const char help[] =
        "usage: vmsig plug ACTOR [--dry-run] [--name NAME] [--json] [--no-wait]\n\n"
        "Adds an actor to a running topology; nobody else is restarted. ACTOR is YAML, an entry as below `actors:` in\n"
        "a topology, or a file that holds one; or a map of `actors:` and `links:`. Paths count from the topology's\n"
        "folder. It stays until `vmsig unplug`, or a `vmsig reload` of a file that does not have it.\n\n"
        "  --dry-run       only say what would be done\n" COMMON_HELP "examples:\n"
        "  vmsig plug '{name: beat2, kind: sensor, exec: vmsig-sensor-tick, endpoint: stub, source: 12}'\n"
        "  vmsig plug eyes.yaml --name lab\n\n" COMMON_CODES;
    const char *words[VMSIG_CLI_WORDS_MAX];
    int n, code;
    options o;
    if (!parse(argc, argv, help, true, &o, words, &n, &code))
        return code;
    if (n != 1)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "plug", "expected ACTOR, in quotes: '{name: x, kind: sensor, ...}'");
    Vmsig__Pb__PlugAsk m = VMSIG__PB__PLUG_ASK__INIT;
    Vmsig__Pb__Request q = VMSIG__PB__REQUEST__INIT;
    m.text = plug_text(words[0], &code);
    if (!m.text)
        return code;
    m.has_dry_run = 1;
    m.dry_run = o.dry;
    q.m_case = VMSIG__PB__REQUEST__M_PLUG;
    q.plug = &m;
    code = ask("plug", &o, &q);
    free(m.text);
    return code;
}

int vmsig_cmd_unplug(int argc, char **argv) {
    static const char help[] =
        "usage: vmsig unplug ACTOR [--dry-run] [--name NAME] [--json] [--no-wait]\n\n"
        "Takes an actor out of a running topology, whether it was plugged in or stands in the file. It is asked to\n"
        "stop, and what it had sent is taken before its links go; nobody else is restarted.\n\n"
        "  --dry-run       only say what would be done\n" COMMON_HELP "examples:\n"
        "  vmsig unplug beat2\n\n" COMMON_CODES;
    const char *words[VMSIG_CLI_WORDS_MAX];
    int n, code;
    options o;
    if (!parse(argc, argv, help, true, &o, words, &n, &code))
        return code;
    if (n != 1)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "unplug", "expected NAME, that of one actor");
    Vmsig__Pb__UnplugAsk m = VMSIG__PB__UNPLUG_ASK__INIT;
    Vmsig__Pb__Request q = VMSIG__PB__REQUEST__INIT;
    m.name = (char *)(uintptr_t)words[0];
    m.has_dry_run = 1;
    m.dry_run = o.dry;
    q.m_case = VMSIG__PB__REQUEST__M_UNPLUG;
    q.unplug = &m;
    return ask("unplug", &o, &q);
}

/* ---- reload ---------------------------------------------------------------------------------------------- */

int vmsig_cmd_reload(int argc, char **argv) {
    static const char help[] =
        "usage: vmsig reload [TOPOLOGY] [--dry-run] [--name NAME] [--json] [--no-wait]\n\n"
        "Reads the topology file again, or another one, checks it in full, prints what is different and makes what "
        "runs\n"
        "the same. Actors are restarted only where what they are started with differs; others notice nothing. A file\n"
        "that is wrong changes nothing.\n\n"
        "  --dry-run       only say what would be done\n" COMMON_HELP "examples:\n"
        "  vmsig reload --dry-run\n"
        "  vmsig reload lab.yaml\n\n" COMMON_CODES;
    const char *words[VMSIG_CLI_WORDS_MAX];
    int n, code;
    options o;
    if (!parse(argc, argv, help, true, &o, words, &n, &code))
        return code;
    if (n > 1)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "reload", "one topology at a time");
    Vmsig__Pb__ReloadAsk m = VMSIG__PB__RELOAD_ASK__INIT;
    Vmsig__Pb__Request q = VMSIG__PB__REQUEST__INIT;
    if (n == 1 && !(m.file = realpath(words[0], NULL)))
        return vmsig_cli_fail(VMSIG_EXIT_TOPOLOGY, "reload", "%s: %s", words[0], strerror(errno));
    m.has_dry_run = 1;
    m.dry_run = o.dry;
    q.m_case = VMSIG__PB__REQUEST__M_RELOAD;
    q.reload = &m;
    code = ask("reload", &o, &q);
    free(m.file);
    return code;
}
