/* vmsig status: what runs, asked of its supervisor. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "supervisor/cli/ask.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/show.h"

static const char help[] =
    "usage: vmsig status [--name NAME] [--json] [--watch]\n"
    "       vmsig status --why ACTOR [--name NAME] [--json]\n\n"
    "Shows the actors, links, endpoints and protections of a running topology, and where controls attach.\n\n"
    "  --name NAME     of the topology; needed when several run\n"
    "  --json          one JSON object, for programs\n"
    "  --watch         again every second, until interrupted\n"
    "  --why ACTOR     how an actor last crashed: signal, last stamp, rings, the last events that it handled\n"
    "  --timeout TIME  how long to wait for the supervisor's answer (default 2s)\n\n"
    "examples:\n"
    "  vmsig status\n"
    "  vmsig status --name demo --json | python3 -m json.tool\n\n"
    "exit codes: 0 ok, 1 nothing runs there or it does not answer, 64 usage\n";

static int show_once(const char *name, int timeout_ms, bool json) {
    char err[VMSIG_ASK_ERR_MAX];
    Vmsig__Pb__Response *r;
    if (vmsig_ask_status(name, timeout_ms, &r, err))
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "status", "%s", err);
    int bad = json ? vmsig_show_json(vmsig_status_json(r->status)) : vmsig_show_status(r->status);
    vmsig_ask_free(r);
    return bad ? vmsig_cli_fail(VMSIG_EXIT_FAILURE, "status", "%s", strerror(-bad)) : VMSIG_EXIT_OK;
}

static int show_why(const char *name, const char *actor, int timeout_ms, bool json) {
    char err[VMSIG_ASK_ERR_MAX];
    Vmsig__Pb__Response *r;
    Vmsig__Pb__WhyAsk why = VMSIG__PB__WHY_ASK__INIT;
    Vmsig__Pb__Request q = VMSIG__PB__REQUEST__INIT;
    why.name = (char *)(uintptr_t)actor;
    q.m_case = VMSIG__PB__REQUEST__M_WHY;
    q.why = &why;
    if (vmsig_ask(name, &q, timeout_ms, &r, err))
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "status", "%s", err);
    int code = VMSIG_EXIT_OK;
    if (!r->why)
        code = vmsig_cli_fail(VMSIG_EXIT_FAILURE, "status", "%s: %s", actor, r->error ? r->error : "no answer");
    else if (json)
        vmsig_show_json(json_pack("{s:s s:s}", "actor", actor, "why", r->why));
    else
        fputs(r->why, stdout);
    vmsig_ask_free(r);
    return code;
}

int vmsig_cmd_status(int argc, char **argv) {
    const char *name = NULL, *why = NULL, *words[VMSIG_CLI_WORDS_MAX];
    bool json = false, watch = false;
    int timeout_ms = 2000, nwords, code;
    const vmsig_cli_opt opts[] = {{"name", VMSIG_CLI_TEXT, &name, 0},
                                  {"json", VMSIG_CLI_YES, &json, 0},
                                  {"why", VMSIG_CLI_TEXT, &why, 0},
                                  {"watch", VMSIG_CLI_YES, &watch, 0},
                                  {"timeout", VMSIG_CLI_TIME, &timeout_ms, 0},
                                  {0}};
    if (!vmsig_cli_parse(argc, argv, help, opts, words, &nwords, &code))
        return code;
    if (nwords)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "status", "%s is not expected (a name goes with --name)", words[0]);
    if (why && watch)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "status", "--why and --watch exclude each other");
    if (why)
        return show_why(name, why, timeout_ms, json);
    bool clear = watch && !json && isatty(STDOUT_FILENO);
    for (;;) {
        if (clear)
            fputs("\033[H\033[2J", stdout);
        code = show_once(name, timeout_ms, json);
        if (!watch || code != VMSIG_EXIT_OK || !vmsig_cli_flush())
            return code;
        if (!json && !clear)
            putchar('\n');
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    }
}
