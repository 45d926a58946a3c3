/* vmsig tap: live events, as a control gets them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "schema/codec.h"
#include "supervisor/cli/ask.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/live.h"

static const char help[] =
    "usage: vmsig tap [--name NAME | --socket PATH] [--endpoint E] [--source S] [--kind K] [--min-prio P]\n"
    "                 [--count N] [--json]\n\n"
    "Attaches as a control and prints the events it gets, a line each: retained ones first, then live. It sees what\n"
    "the grant of its user allows. An address-space context is tried out: its RAM is mapped, read-only.\n\n"
    "  --name NAME      of the topology; needed when several run\n"
    "  --socket PATH    a gateway's control socket, instead\n"
    "  --endpoint E     only this endpoint: its id, or its name (not with --socket)\n"
    "  --source S       only this source: seam, memctx, vmhost, input, memwrite or a number\n"
    "  --kind K         only this kind: memctx, lost, result, lease, vmhost, ... or a number\n"
    "  --min-prio P     only this priority and above: low, normal, high, urgent\n"
    "  --count N        stop after N events\n"
    "  --json           one JSON object per event\n"
    "  --timeout TIME   how long to wait for the gateway at the start (default 5s)\n\n"
    "examples:\n"
    "  vmsig tap\n"
    "  vmsig tap --name demo --source 8 --count 10\n"
    "  vmsig tap --endpoint 0 --json | jq .body\n\n"
    "exit codes: 0 ok, 1 no gateway, no grant or the connection failed, 64 usage\n";

typedef struct choice {
    const char *name, *socket, *endpoint, *source, *kind, *min_prio;
    char socket_path[128];
} choice;

static int choose_sub(const choice *c, vmsig_sub *sub, int *kind) {
    int source = c->source ? vmsig_source_by_name(c->source) : 0;
    int prio = c->min_prio ? vmsig_prio_by_name(c->min_prio) : 0;
    *kind = c->kind ? vmsig_kind_by_name(c->kind) : -1;
    if (source < 0 || source >= (int)VMSIG_SOURCES_MAX)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "tap", "--source %s: there is no such source", c->source);
    if (prio < 0)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "tap", "--min-prio %s: expected low, normal, high or urgent",
                              c->min_prio);
    if (c->kind && *kind < 0)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "tap", "--kind %s: there is no such kind", c->kind);
    sub->source_mask = c->source ? 1u << source : UINT32_MAX;
    sub->min_prio = (uint8_t)prio;
    return VMSIG_EXIT_OK;
}

static int choose_endpoint(const choice *c, vmsig_sub *sub) {
    char err[VMSIG_ASK_ERR_MAX];
    uint64_t number;
    uint32_t id;
    sub->endpoint_mask = UINT64_MAX;
    if (!c->endpoint)
        return VMSIG_EXIT_OK;
    if (c->socket && !vmsig_cli_uint(c->endpoint, VMSIG_ENDPOINTS_MAX - 1, &number))
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "tap", "--endpoint %s: with --socket, an id from 0 to 63 is expected",
                              c->endpoint);
    if (vmsig_ask_endpoint(c->name, c->endpoint, &id, err))
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "tap", "%s", err);
    sub->endpoint_mask = 1ull << id;
    return VMSIG_EXIT_OK;
}

static int watch(const vmsig_live_cfg *cfg) {
    char err[VMSIG_LIVE_ERR_MAX];
    vmsig_live *live;
    int n = vmsig_live_open(cfg, &live, err);
    if (n)
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "tap", "%s", err);
    do {
        n = vmsig_live_step(live, 1000);
    } while (n > 0);
    int code = VMSIG_EXIT_OK; /* who reads no further has seen enough */
    if (n < 0 && n != -EPIPE)
        code = vmsig_cli_fail(VMSIG_EXIT_FAILURE, "tap", "%s", vmsig_live_error(live));
    vmsig_live_close(live);
    return code;
}

int vmsig_cmd_tap(int argc, char **argv) {
    choice c = {0};
    vmsig_live_cfg cfg = {.command = "tap", .timeout_ms = 5000};
    const char *words[VMSIG_CLI_WORDS_MAX];
    int nwords, code;
    const vmsig_cli_opt opts[] = {{"name", VMSIG_CLI_TEXT, &c.name, 0},
                                  {"socket", VMSIG_CLI_TEXT, &c.socket, 0},
                                  {"endpoint", VMSIG_CLI_TEXT, &c.endpoint, 0},
                                  {"source", VMSIG_CLI_TEXT, &c.source, 0},
                                  {"kind", VMSIG_CLI_TEXT, &c.kind, 0},
                                  {"min-prio", VMSIG_CLI_TEXT, &c.min_prio, 0},
                                  {"count", VMSIG_CLI_UINT, &cfg.count, UINT64_MAX},
                                  {"json", VMSIG_CLI_YES, &cfg.json, 0},
                                  {"timeout", VMSIG_CLI_TIME, &cfg.timeout_ms, 0},
                                  {0}};
    if (!vmsig_cli_parse(argc, argv, help, opts, words, &nwords, &code))
        return code;
    if (nwords)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "tap", "%s is not expected (a name goes with --name)", words[0]);
    if (c.name && c.socket)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "tap", "--name and --socket exclude each other");
    code = choose_sub(&c, &cfg.sub, &cfg.kind);
    if (code == VMSIG_EXIT_OK)
        code = choose_endpoint(&c, &cfg.sub);
    if (code != VMSIG_EXIT_OK)
        return code;
    cfg.where = vmsig_cli_where(c.name, c.socket, c.socket_path, sizeof c.socket_path);
    return watch(&cfg);
}
