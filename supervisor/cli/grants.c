/* vmsig grants: the grants files, read again by a running topology. */
#include <stdio.h>

#include "supervisor/cli/ask.h"
#include "supervisor/cli/cli.h"

static const char help[] =
    "usage: vmsig grants [--name NAME]\n\n"
    "Has a running topology read its grants files again. What was narrowed binds connected controls at once and takes\n"
    "away leases that are no longer covered. A file that is wrong changes nothing.\n\n"
    "  --name NAME     of the topology; needed when several run\n"
    "  --timeout TIME  how long to wait for the supervisor's answer (default 2s)\n\n"
    "examples:\n"
    "  vmsig grants --name demo\n\n"
    "exit codes: 0 ok, 1 nothing runs there, it does not answer, or a file is wrong, 64 usage\n";

int vmsig_cmd_grants(int argc, char **argv) {
    const char *name = NULL, *words[VMSIG_CLI_WORDS_MAX];
    int timeout_ms = 2000, nwords, code;
    const vmsig_cli_opt opts[] = {{"name", VMSIG_CLI_TEXT, &name, 0}, {"timeout", VMSIG_CLI_TIME, &timeout_ms, 0}, {0}};
    char err[VMSIG_ASK_ERR_MAX];
    Vmsig__Pb__Response *r;
    if (!vmsig_cli_parse(argc, argv, help, opts, words, &nwords, &code))
        return code;
    if (nwords)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "grants", "%s is not expected (a name goes with --name)", words[0]);
    if (vmsig_ask_grants(name, timeout_ms, &r, err))
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "grants", "%s", err);
    vmsig_ask_free(r);
    return VMSIG_EXIT_OK;
}
