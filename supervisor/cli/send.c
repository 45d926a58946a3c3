/* vmsig send: a command, with the lease that it needs, and its result. */
#include "supervisor/cli/send.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/caps.h"
#include "schema/codec.h"
#include "supervisor/cli/ask.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/names.h"
#include "supervisor/cli/show.h"
#include "vmsig_client.h"

static const char help[] =
    "usage: vmsig send [--name NAME | --socket PATH] [--json] [--timeout TIME] ENDPOINT COMMAND [ARGUMENTS]\n\n"
    "Sends a command to an endpoint (its id, or its name) and prints the result. The lease that input, power commands\n"
    "and memory writes need is taken first, and given back after.\n\n"
    "  key KEY[+KEY...]         presses the keys at once and lets go: a, enter, ctrl+alt+delete, 30\n"
    "  type TEXT                types ASCII text on a US keyboard\n"
    "  button BUTTON            clicks: left, right, middle, side, extra\n"
    "  rel DX DY                moves the pointer by that much\n"
    "  abs X Y                  moves the pointer there, 0 to 32767 each\n"
    "  pause, resume, wakeup    the VM's clockwork\n"
    "  powerdown, reset, quit   the VM's power\n"
    "  vm query|cont|stop       the VM's run state\n"
    "  memwrite ADDRESS VALUE[:SIZE] [--virtual]   one store of SIZE bytes (1, 2, 4 or 8; default 8)\n\n"
    "  --name NAME      of the topology; needed when several run\n"
    "  --socket PATH    a gateway's control socket, instead; the endpoint is then given by its id\n"
    "  --json           the result as a JSON object\n"
    "  --timeout TIME   how long to wait for the lease and for each result (default 5s)\n\n"
    "examples:\n"
    "  vmsig send 0 key a\n"
    "  vmsig send --name demo 0 type 'hello world'\n"
    "  vmsig send 0 rel -5 3\n"
    "  vmsig send 0 memwrite 0x1000 0xff:1\n\n"
    "exit codes: 0 the result is ok, 1 it is not, or there is no gateway or no grant, 64 usage\n";

typedef struct answer {
    int status; /* vmsig_status */
    uint64_t detail;
    uint64_t seq_done; /* how many commands were ok */
} answer;

/* ---- talking to the gateway ------------------------------------------------------------------------------ */

static void ignore(void *user, const vmsig_event *ev) {
    (void)user;
    (void)ev;
}

static int status_of(int err) {
    switch (err) {
    case EBUSY:
        return VMSIG_HELD;
    case EACCES:
        return VMSIG_NOCAP;
    case ETIMEDOUT:
        return VMSIG_TIMEOUT;
    case EINVAL:
        return VMSIG_INVALID;
    default:
        return VMSIG_UNAVAILABLE;
    }
}

/* Takes the lease, sends one after the other, stops at the first that is not ok. */
static answer carry_out(vmsig_client *c, uint32_t endpoint, vmsig_send_plan *plan, int timeout_ms) {
    answer a = {0};
    uint32_t holder = 0;
    if (plan->lease != VMSIG_NO_LEASE &&
        vmsig_client_lease(c, endpoint, (vmsig_lease_class)plan->lease, 0, timeout_ms, &holder)) {
        a.status = status_of(errno);
        a.detail = holder;
        return a;
    }
    for (size_t i = 0; i < plan->n && a.status == VMSIG_OK; i++) {
        vmsig_result r = {0};
        plan->commands[i].endpoint = endpoint;
        if (vmsig_client_call(c, &plan->commands[i], &r, timeout_ms)) {
            a.status = status_of(errno);
        } else {
            a.status = r.status;
            a.detail = r.detail;
        }
        a.seq_done += a.status == VMSIG_OK;
    }
    if (plan->lease != VMSIG_NO_LEASE)
        vmsig_client_release(c, endpoint, (vmsig_lease_class)plan->lease);
    return a;
}

/* ---- saying what came of it ------------------------------------------------------------------------------ */

static bool is_query(const vmsig_send_plan *plan) {
    vmsig_vm body;
    memcpy(&body, plan->commands[0].inln, sizeof body);
    return plan->commands[0].kind == VMSIG_CMD_VM && body.op == VMSIG_VM_QUERY;
}

/* What is behind a status, for those that have no detail of their own. */
static const char *const reasons[] = {
    [VMSIG_OK] = "",
    [VMSIG_NOCAP] = "the gateway's grants do not allow it there, or there is no such endpoint",
    [VMSIG_NOLEASE] = "the lease was lost before it was sent",
    [VMSIG_HELD] = "",
    [VMSIG_FENCED] = "the endpoint was reset or the lease taken away first; nothing was done",
    [VMSIG_INVALID] = "the endpoint cannot do that with these arguments; nothing was done",
    [VMSIG_UNAVAILABLE] = "the endpoint cannot do that now; `vmsig status` shows its state",
    [VMSIG_DROPPED] = "it was crowded out on the way; nothing was done",
    [VMSIG_TIMEOUT] = "no result in time; it may still take effect",
    [VMSIG_PARTIAL] = "a part of it was done",
    [VMSIG_UNKNOWN] = "the host adapter died over it; nobody knows whether it was done",
};

static void explain(const answer *a, const vmsig_send_plan *plan, char *buf, size_t len) {
    size_t known = sizeof reasons / sizeof reasons[0];
    snprintf(buf, len, "%s", a->status >= 0 && (size_t)a->status < known ? reasons[a->status] : "");
    if (a->status == VMSIG_HELD)
        snprintf(buf, len, "the %s lease is held by uid %" PRIu64, vmsig_word(VMSIG_WORDS_LEASE_CLASS, plan->lease),
                 a->detail);
    else if (a->status == VMSIG_OK && is_query(plan))
        snprintf(buf, len, "the VM is %s", vmsig_word(VMSIG_WORDS_VM_STATE, (uint32_t)a->detail));
    else if (a->status != VMSIG_OK && plan->n > 1 && a->seq_done)
        snprintf(buf, len, "after %" PRIu64 " of %zu commands", a->seq_done, plan->n);
    else if (a->status != VMSIG_OK && a->detail)
        snprintf(buf, len, "detail %" PRIu64, a->detail);
}

static int report(const answer *a, const vmsig_send_plan *plan, bool json) {
    char text[128];
    const char *word = vmsig_status_name(a->status);
    explain(a, plan, text, sizeof text);
    if (json)
        vmsig_show_json(json_pack("{s:s s:i s:I s:I s:I s:s}", "status", word, "status_number", a->status, "detail",
                                  (json_int_t)a->detail, "commands", (json_int_t)plan->n, "done",
                                  (json_int_t)a->seq_done, "text", text));
    else
        printf("%s%s%s\n", word, text[0] ? ": " : "", text);
    return a->status == VMSIG_OK ? VMSIG_EXIT_OK : VMSIG_EXIT_FAILURE;
}

/* ---- the command ----------------------------------------------------------------------------------------- */

static int run(const char *where, uint32_t endpoint, vmsig_send_plan *plan, int timeout_ms, bool json) {
    char err[512];
    /* Results and lease news reach the client whatever the subscription: no other event is wanted. */
    const vmsig_client_cfg cfg = {.name = "send",
                                  .sub = {.source_mask = 1u << VMSIG_SRC_SEAM, .endpoint_mask = 1ull << endpoint},
                                  .on_event = ignore};
    vmsig_client *c = vmsig_client_open(where, &cfg, timeout_ms, err, sizeof err);
    if (!c)
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "send", "%s", err);
    answer a = carry_out(c, endpoint, plan, timeout_ms);
    int code = report(&a, plan, json);
    vmsig_client_close(c);
    return code;
}

static int find_endpoint(const char *name, const char *socket, const char *word, uint32_t *id) {
    char err[VMSIG_ASK_ERR_MAX];
    uint64_t number;
    if (socket && !vmsig_cli_uint(word, VMSIG_ENDPOINTS_MAX - 1, &number))
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "send", "%s: with --socket, an endpoint's id from 0 to 63 is expected",
                              word);
    if (vmsig_ask_endpoint(name, word, id, err))
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "send", "%s", err);
    return VMSIG_EXIT_OK;
}

int vmsig_cmd_send(int argc, char **argv) {
    const char *name = NULL, *socket = NULL, *words[VMSIG_CLI_WORDS_MAX];
    char err[256], path[128];
    bool json = false, virtual_address = false;
    int timeout_ms = 5000, nwords, code;
    uint32_t endpoint;
    const vmsig_cli_opt opts[] = {
        {"name", VMSIG_CLI_TEXT, &name, 0},          {"socket", VMSIG_CLI_TEXT, &socket, 0},
        {"json", VMSIG_CLI_YES, &json, 0},           {"virtual", VMSIG_CLI_YES, &virtual_address, 0},
        {"timeout", VMSIG_CLI_TIME, &timeout_ms, 0}, {0}};
    if (!vmsig_cli_parse(argc, argv, help, opts, words, &nwords, &code))
        return code;
    if (name && socket)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "send", "--name and --socket exclude each other");
    if (nwords < 2)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "send", "expected ENDPOINT COMMAND (see vmsig send --help)");
    vmsig_send_plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "send", "%s", strerror(ENOMEM));
    if (vmsig_send_parse(words + 1, nwords - 1, virtual_address, plan, err, sizeof err))
        code = vmsig_cli_fail(VMSIG_EXIT_USAGE, "send", "%s", err);
    else if ((code = find_endpoint(name, socket, words[0], &endpoint)) == VMSIG_EXIT_OK)
        code = run(vmsig_cli_where(name, socket, path, sizeof path), endpoint, plan, timeout_ms, json);
    free(plan);
    return code;
}
