/* A control that sits at a Linux guest's keyboard: it types commands, reads the answers on the console, looks into the
 * kernel's memory, changes a byte of it, resets the VM and goes on.
 *
 *   type-and-see [NAME | SOCKET]      of a running topology: docs/examples/qemu-linux.yaml
 *   guest ──console line──► on_event: the text since the last command
 *         ◄──lease, INPUT── type
 *         ──MEMCTX, RAM───► on_memctx: a view of the memory, read by virtual address
 *         ◄──MEMWRITE───── look_and_change: the guest sees it
 */
#include <inttypes.h>
#include <linux/input-event-codes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vmsig_client.h>

#define ENDPOINT  0
#define CONSOLE   10 /* the source number of vmsig-sensor-serial; its kinds: */
#define LINE      64
#define PIECE     65
#define PROMPT    "# "
#define NAME_SIZE 65 /* of a field of the kernel's init_uts_ns: its own name, the host's, and so on */
#define LA57      (1u << 12)

#define BOOT_S   180 /* generous: without KVM, on a busy machine */
#define ANSWER_S 60
#define ECHO_S   15
#define NUDGE_S  5
#define TRIES    5
#define STEP_MS  200
#define CALL_MS  20000

typedef struct control {
    vmsig_client *client;
    vmsig_memview *view; /* the guest's memory; NULL: none, or no longer valid */
    char text[8192];     /* what the console has said */
    size_t len;
} control;

/* ---- what comes -------------------------------------------------------------------------------------- */

static void on_memctx(void *user, const vmsig_event *ev, int fd) {
    control *c = user;
    vmsig_memview_close(c->view);
    c->view = vmsig_memview_open(ev, fd); /* maps it read-only; the fd stays the client's */
}

static void on_event(void *user, const vmsig_event *ev) {
    control *c = user;
    const char *said = ev->payload ? ev->payload : (const char *)ev->inln;
    size_t n = ev->payload ? ev->payload_len : ev->inln_len;
    if (ev->kind == VMSIG_EV_MEMCTX_INVALID) {
        vmsig_memview_close(c->view);
        c->view = NULL;
    } else if (ev->source == CONSOLE && (ev->kind == LINE || ev->kind == PIECE) && c->len + n + 2 < sizeof c->text) {
        memcpy(c->text + c->len, said, n);
        c->len += n;
        if (ev->kind == LINE)
            c->text[c->len++] = '\n';
        c->text[c->len] = 0;
    }
}

static bool ends_with(const control *c, const char *what) {
    size_t n = strlen(what);
    return c->len >= n && strcmp(c->text + c->len - n, what) == 0;
}

static void forget(control *c) {
    c->len = 0;
    c->text[0] = 0;
}

/* Handles events until the text ends with `what`. */
static bool hear(control *c, const char *what, int seconds) {
    for (time_t end = time(NULL) + seconds; !ends_with(c, what) && time(NULL) <= end;)
        if (vmsig_client_step(c->client, STEP_MS) < 0)
            return false;
    return ends_with(c, what);
}

/* ---- what goes --------------------------------------------------------------------------------------- */

static bool call(control *c, uint8_t kind, const void *body, size_t n) {
    vmsig_event cmd = {.endpoint = ENDPOINT, .kind = kind, .inln_len = (uint32_t)n};
    vmsig_result result = {.status = VMSIG_UNKNOWN};
    memcpy(cmd.inln, body, n);
    return vmsig_client_call(c->client, &cmd, &result, CALL_MS) == 0 && result.status == VMSIG_OK;
}

/* A lease ends with the epoch: it is asked for again before each use. */
static bool lease(control *c, vmsig_lease_class cls) {
    return vmsig_client_lease(c->client, ENDPOINT, cls, 0, CALL_MS, NULL) == 0;
}

/* One key, with another held meanwhile (0 = none): one group, so that nothing comes in between. */
static bool key(control *c, uint16_t with, uint16_t code) {
    const vmsig_input chord[] = {{.type = VMSIG_INPUT_KEY, .down = 1, .code = with},
                                 {.type = VMSIG_INPUT_KEY, .down = 1, .code = code},
                                 {.type = VMSIG_INPUT_KEY, .down = 0, .code = code},
                                 {.type = VMSIG_INPUT_KEY, .down = 0, .code = with}};
    return call(c, VMSIG_CMD_INPUT, with ? chord : chord + 1, (with ? 4 : 2) * sizeof *chord);
}

static bool type(control *c, const char *text) {
    static const char plain[] =
        "\0\0331234567890-=\177\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 "; /* by code */
    static const char shifted[] = "\0\033!@#$%^&*()_+\177\tQWERTYUIOP{}\n\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";
    for (; *text; text++) {
        const char *at = memchr(plain, *text, sizeof plain), *up = memchr(shifted, *text, sizeof shifted);
        if (!at && !up)
            return false;
        if (!key(c, at ? 0 : KEY_LEFTSHIFT, (uint16_t)(at ? at - plain : up - shifted)))
            return false;
    }
    return true;
}

/* A command, its answer in `answer`. Enter is pressed once the guest has shown that it read what was typed. */
static bool ask(control *c, const char *command, char *answer, size_t size) {
    bool typed = false;
    if (!lease(c, VMSIG_LEASE_INPUT))
        return false;
    for (int i = 0; i < TRIES && !typed; i++) {
        forget(c);
        typed = type(c, command) && hear(c, command, ECHO_S);
        if (!typed)
            key(c, KEY_LEFTCTRL, KEY_U); /* away with what there is of it */
    }
    forget(c);
    if (!typed || !type(c, "\n") || !hear(c, PROMPT, ANSWER_S))
        return false;
    char *from = strchr(c->text, '\n'), *last = strrchr(c->text, '\n'); /* after Enter's own; before the prompt */
    snprintf(answer, size, "%.*s", from && last > from ? (int)(last - from - 1) : 0, from ? from + 1 : "");
    printf("  %s\n    %s\n", command, answer);
    return true;
}

static bool operate(control *c, uint32_t op) {
    return (op < VMSIG_LIFECYCLE_POWERDOWN || lease(c, VMSIG_LEASE_POWER)) &&
           call(c, VMSIG_CMD_LIFECYCLE, &(vmsig_lifecycle){op}, sizeof(vmsig_lifecycle));
}

/* ---- the session ------------------------------------------------------------------------------------- */

static int fail(const control *c, const char *what) {
    fprintf(stderr, "type-and-see: %s: %s\n", what, vmsig_client_error(c->client));
    return 1;
}

/* The prompt may have come before this control did: then Enter brings another one. */
static bool booted(control *c) {
    for (time_t end = time(NULL) + BOOT_S; time(NULL) <= end;) {
        if (hear(c, PROMPT, NUDGE_S))
            return true;
        if (!lease(c, VMSIG_LEASE_INPUT) || !type(c, "\n"))
            vmsig_client_step(c->client, STEP_MS);
    }
    return false;
}

/* Paused, what is read is of one moment: its memctx is a coherent one. */
static bool stop_it(control *c) {
    if (!operate(c, VMSIG_LIFECYCLE_PAUSE))
        return false;
    for (int i = 0; i < CALL_MS / STEP_MS; i++) {
        if (c->view && vmsig_memview_ctx(c->view)->flags & VMSIG_MEMCTX_COHERENT)
            return true;
        if (vmsig_client_step(c->client, STEP_MS) < 0)
            return false;
    }
    return false;
}

/* The address in a line of /proc/kallsyms, "ffffffff9171ffe0 D linux_banner"; 0: there is none. */
static uint64_t address(const char *lines, const char *symbol) {
    const char *at = strstr(lines, symbol);
    while (at && at > lines && at[-1] != '\n')
        at--;
    return at ? strtoull(at, NULL, 16) : 0;
}

/* Reads the kernel's banner, which is what the guest says itself; changes a byte of its name, which it says then. */
static bool look_and_change(control *c) {
    char version[256], lines[256], answer[256], banner[256] = "", name[NAME_SIZE] = "";
    if (!ask(c, "cat /proc/version", version, sizeof version) ||
        !ask(c, "grep -E ' (linux_banner|init_uts_ns)$' /proc/kallsyms", lines, sizeof lines) || !stop_it(c))
        return false;
    uint64_t text = address(lines, "linux_banner"), host = address(lines, "init_uts_ns") + NAME_SIZE; /* 2nd field */
    if (vmsig_memview_read_virt(c->view, text, banner, strlen(version)) || strcmp(banner, version) != 0 ||
        vmsig_memview_read_virt(c->view, host, name, sizeof name - 1) || strcmp(name, "guest") != 0)
        return false;
    printf("read at 0x%" PRIx64 ", by page tables of %d levels: %.32s...\n", text,
           vmsig_memview_ctx(c->view)->cr4 & LA57 ? 5 : 4, banner);
    const vmsig_memwrite byte = {.addr = host, .value = 'G', .size = 1, .flags = VMSIG_MEMWRITE_VIRTUAL};
    return lease(c, VMSIG_LEASE_MEMWRITE) && call(c, VMSIG_CMD_MEMWRITE, &byte, sizeof byte) &&
           operate(c, VMSIG_LIFECYCLE_RESUME) && ask(c, "hostname", answer, sizeof answer) &&
           strcmp(answer, "Guest") == 0;
}

static bool reset(control *c) {
    uint32_t before = vmsig_memview_epoch(c->view);
    forget(c);
    if (!operate(c, VMSIG_LIFECYCLE_RESET))
        return false;
    for (int i = 0; i < BOOT_S * 1000 / STEP_MS && (!c->view || vmsig_memview_epoch(c->view) == before); i++)
        if (vmsig_client_step(c->client, STEP_MS) < 0)
            return false;
    if (!c->view)
        return false;
    printf("reset: epoch %u ended, a memctx of epoch %u is there\n", before, vmsig_memview_epoch(c->view));
    return true;
}

static int run(control *c) {
    char answer[256];
    if (!booted(c))
        return fail(c, "no prompt came");
    if (!look_and_change(c))
        return fail(c, "what was typed, read or changed is not what the guest sees");
    if (!reset(c) || !booted(c))
        return fail(c, "the guest did not come back");
    if (!ask(c, "hostname", answer, sizeof answer) || strcmp(answer, "guest") != 0 || !look_and_change(c))
        return fail(c, "it cannot go on after the reset");
    printf("done\n");
    return 0;
}

int main(int argc, char **argv) {
    static control c;
    char err[256];
    const vmsig_client_cfg cfg = {.name = "type-and-see", .user = &c, .on_event = on_event, .on_memctx = on_memctx};
    setvbuf(stdout, NULL, _IOLBF, 0);
    c.client = vmsig_client_open(argc > 1 ? argv[1] : NULL, &cfg, CALL_MS, err, sizeof err);
    if (!c.client)
        return fprintf(stderr, "type-and-see: %s\n", err), 1;
    int code = run(&c);
    vmsig_client_close(c.client);
    vmsig_memview_close(c.view);
    return code;
}
