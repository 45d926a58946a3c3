/* A control on a page: it reads a guest's memory, presses a key, and sees that the key arrived.
 *
 *   press-key [NAME | SOCKET]      of a running topology with the stub and a memwatch, such as the built-in demo
 *   gateway ──MEMCTX, RAM fd──► on_memctx: a view of the memory, read by virtual address
 *           ◄──lease, INPUT──── main
 *           ──memwatch event──► on_event: the guest's input page shows the key
 */
#include <inttypes.h>
#include <linux/input-event-codes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <vmsig_client.h>
#include <vmsig_memwatch.h>
#include <vmsig_stub.h>

#define ENDPOINT 0
#define WAIT_MS  10000
#define STEP_MS  100

static const uint64_t last_input = VMSIG_STUB_INPUT + offsetof(vmsig_stub_input, last);
static const vmsig_input press = {.type = VMSIG_INPUT_KEY, .down = 1, .code = KEY_A};
static const vmsig_input let_go = {.type = VMSIG_INPUT_KEY, .down = 0, .code = KEY_A};

typedef struct control {
    vmsig_client *client;
    vmsig_memview *view; /* the guest's memory; NULL: none, or no longer valid */
    bool readable;       /* there is a view */
    bool arrived;        /* memwatch has seen the key */
} control;

static void on_memctx(void *user, const vmsig_event *ev, int fd) {
    control *c = user;
    vmsig_memview_close(c->view);
    c->view = vmsig_memview_open(ev, fd); /* maps it read-only; the fd stays the client's */
    c->readable = c->view;
}

static void on_event(void *user, const vmsig_event *ev) {
    control *c = user;
    vmsig_memwatch w;
    if (ev->kind == VMSIG_EV_MEMCTX_INVALID) {
        vmsig_memview_close(c->view);
        c->view = NULL;
        c->readable = false;
    } else if (ev->kind == VMSIG_EV_MEMWATCH && ev->inln_len == sizeof w + 2 * sizeof press) {
        memcpy(&w, ev->inln, sizeof w); /* then the bytes as they were, and as they are */
        c->arrived |= w.addr == last_input && memcmp(ev->inln + sizeof w + sizeof press, &press, sizeof press) == 0;
    }
}

static int fail(const control *c, const char *what) {
    fprintf(stderr, "press-key: %s: %s\n", what, vmsig_client_error(c->client));
    return 1;
}

/* Handles events until one of them sets *done. */
static bool wait_for(control *c, const bool *done) {
    for (int ms = 0; !*done && ms < WAIT_MS; ms += STEP_MS)
        if (vmsig_client_step(c->client, STEP_MS) < 0)
            return false;
    return *done;
}

static bool send_key(control *c, const vmsig_input *key) {
    vmsig_event cmd = {.endpoint = ENDPOINT, .kind = VMSIG_CMD_INPUT, .inln_len = sizeof *key};
    vmsig_result result = {0};
    memcpy(cmd.inln, key, sizeof *key);
    return vmsig_client_call(c->client, &cmd, &result, WAIT_MS) == 0 && result.status == VMSIG_OK;
}

static int run(control *c) {
    uint64_t ticks = 0;
    if (!wait_for(c, &c->readable))
        return fail(c, "no address-space context came");
    if (vmsig_memview_read_virt(c->view, VMSIG_STUB_KERNEL(VMSIG_STUB_INFO) + offsetof(vmsig_stub_info, ticks), &ticks,
                                sizeof ticks))
        return fail(c, "the guest's memory cannot be read");
    printf("the guest has ticked %" PRIu64 " times\n", ticks);
    if (vmsig_client_lease(c->client, ENDPOINT, VMSIG_LEASE_INPUT, 0, WAIT_MS, NULL))
        return fail(c, "no input lease");
    if (!send_key(c, &press) || !wait_for(c, &c->arrived))
        return fail(c, "the key did not arrive");
    printf("the key is down in the guest\n");
    return send_key(c, &let_go) ? 0 : fail(c, "the key was not let go"); /* the lease ends with the session */
}

int main(int argc, char **argv) {
    control c = {0};
    char err[256];
    const vmsig_client_cfg cfg = {.name = "press-key", .user = &c, .on_event = on_event, .on_memctx = on_memctx};
    c.client = vmsig_client_open(argc > 1 ? argv[1] : NULL, &cfg, WAIT_MS, err, sizeof err);
    if (!c.client)
        return fprintf(stderr, "press-key: %s\n", err), 1;
    int code = run(&c);
    vmsig_client_close(c.client);
    vmsig_memview_close(c.view);
    return code;
}
