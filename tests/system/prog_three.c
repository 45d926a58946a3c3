/* Three controls at once, the C side of it.
 *
 *   prog_three core SOCKET TIMES     everything in one process: the stub, a control in it, a socket for others; prints
 *                                    "ready", then, when stdin ends, the keys that the guest saw, in order
 *   prog_three socket SOCKET TIMES   a control over the socket
 */
#include <errno.h>
#include <linux/input-event-codes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "vmsig_client.h"
#include "vmsig_core.h"
#include "vmsig_stub.h"

static int fail(const char *what) {
    perror(what);
    return 1;
}

/* ---- in the process ------------------------------------------------------------------------------------ */

typedef struct inside {
    void *ctl;
    vmsig_memview *view;
    uint64_t token;
    int step, left; /* 0 acquire, 1 press, 2 let go, 3 release; how many rounds */
    int bad;
} inside;

static void next(inside *in) {
    vmsig_lease lease = {.op = in->step == 0 ? VMSIG_LEASE_ACQUIRE : VMSIG_LEASE_RELEASE,
                         .cls = VMSIG_LEASE_INPUT,
                         .ttl_ms = 10000,
                         .flags = in->step == 0 ? VMSIG_LEASE_QUEUE : 0};
    vmsig_input key = {.type = VMSIG_INPUT_KEY, .down = in->step == 1, .code = KEY_A};
    bool drives = in->step == 1 || in->step == 2;
    vmsig_event cmd = {.kind = drives ? VMSIG_CMD_INPUT : VMSIG_CMD_LEASE,
                       .token = drives ? in->token : 0,
                       .inln_len = drives ? sizeof key : sizeof lease};
    memcpy(cmd.inln, drives ? (void *)&key : (void *)&lease, cmd.inln_len);
    in->bad += vmsig_inproc_send(in->ctl, &cmd) != 0;
}

static int on_event(void *user, const vmsig_event *ev) {
    inside *in = user;
    vmsig_result r;
    if (ev->kind != VMSIG_EV_RESULT)
        return 0;
    memcpy(&r, ev->inln, sizeof r);
    in->bad += r.status != VMSIG_OK;
    if (in->step == 0)
        in->token = r.detail;
    in->step = (in->step + 1) % 4;
    in->left -= in->step == 0;
    if (in->left > 0 && !in->bad)
        next(in);
    return 0;
}

static int on_memctx(void *user, const vmsig_event *ev, int fd) {
    inside *in = user;
    vmsig_memview_close(in->view);
    in->view = vmsig_memview_open(ev, fd);
    return 0;
}

static int listen_at(const char *path) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    return fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0 && listen(fd, 8) == 0 ? fd : -1;
}

static void print_keys(const inside *in) {
    static vmsig_stub_input seen;
    if (!in->view || vmsig_memview_read_phys(in->view, VMSIG_STUB_INPUT, &seen, sizeof seen) < 0)
        return;
    for (uint64_t i = 0; i < seen.count && i < VMSIG_STUB_RECORDS; i++) {
        vmsig_input key;
        memcpy(&key, &seen.record[i], sizeof key);
        printf("%u %u\n", key.code, key.down);
    }
}

static int run_core(const char *path, int times) {
    inside in = {.left = times};
    const vmsig_inproc_cfg cfg = {
        .on_event = on_event, .on_memctx = on_memctx, .user = &in, .sub = {UINT32_MAX, UINT64_MAX, 0}};
    const vmsig_grant grant = {.endpoint_mask = 1, .caps = VMSIG_CAP_ALL};
    const vmsig_source_ops *ops;
    void *src;
    vmsig_core *core = vmsig_core_new();
    in.ctl = vmsig_inproc_control_new(&cfg);
    int id = vmsig_core_add_control(core, vmsig_inproc_control_ops(), in.ctl), fd = listen_at(path);
    if (id < 0 || fd < 0 || vmsig_core_set_grant(core, id, &grant) < 0 || vmsig_stub_open(0, NULL, &ops, &src) < 0 ||
        vmsig_core_add_source(core, ops, src) < 0 || vmsig_core_listen(core, fd, NULL, 0) < 0)
        return fail("prog_three");
    puts("ready");
    fflush(stdout);
    bool begun = false;
    for (struct pollfd end = {.fd = 0, .events = POLLIN}; in.left > 0 || poll(&end, 1, 0) == 0;) {
        if (vmsig_core_step(core, 20) < 0)
            return fail("step");
        if (!begun && in.view)
            next(&in);
        begun = in.view;
        if (in.bad)
            return fprintf(stderr, "prog_three: a command of the control inside failed\n"), 1;
    }
    print_keys(&in);
    vmsig_memview_close(in.view);
    vmsig_core_free(core);
    close(fd);
    return 0;
}

/* ---- over the socket ----------------------------------------------------------------------------------- */

static void ignore(void *user, const vmsig_event *ev) {
    (void)user;
    (void)ev;
}

static int press(vmsig_client *c, uint8_t down) {
    vmsig_input key = {.type = VMSIG_INPUT_KEY, .down = down, .code = KEY_B};
    vmsig_event cmd = {.kind = VMSIG_CMD_INPUT, .inln_len = sizeof key};
    vmsig_result r = {0};
    memcpy(cmd.inln, &key, sizeof key);
    return vmsig_client_call(c, &cmd, &r, 10000) == 0 && r.status == VMSIG_OK ? 0 : -1;
}

static int run_socket(const char *path, int times) {
    char err[200];
    const vmsig_client_cfg cfg = {.on_event = ignore};
    vmsig_client *c = vmsig_client_open(path, &cfg, 10000, err, sizeof err);
    if (!c)
        return fprintf(stderr, "prog_three: %s\n", err), 1;
    time_t end = time(NULL) + 30;
    while (times > 0 && time(NULL) < end) {
        if (vmsig_client_lease(c, 0, VMSIG_LEASE_INPUT, 10000, 10000, NULL) < 0) {
            if (errno != EBUSY)
                break;
            vmsig_client_step(c, 2); /* another's turn */
            continue;
        }
        if (press(c, 1) < 0 || press(c, 0) < 0 || vmsig_client_release(c, 0, VMSIG_LEASE_INPUT) < 0)
            break;
        times--;
    }
    if (times > 0)
        fprintf(stderr, "prog_three: %s\n", vmsig_client_error(c));
    vmsig_client_step(c, 10); /* the release leaves */
    vmsig_client_close(c);
    return times > 0;
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 64;
    int times = atoi(argv[3]);
    return strcmp(argv[1], "core") == 0 ? run_core(argv[2], times) : run_socket(argv[2], times);
}
