/* End to end, with the sensor and the input library that the build was given: what a control presses, the sensor sees;
 * when another takes the lease, the key is let go first. Unarmed: the stub takes the input, memwatch is the sensor.
 *
 *   make armed ARMED_SENSOR=LIBRARY ARMED_INPUT=LIBRARY
 *   prog_armed FILE          all in this process; both libraries are given FILE
 *   prog_armed --at SOCKET   each in a process of its own: the gateway of a topology that runs
 *
 * In this process the other control has the higher priority, and takes the lease at once. Two of one user have the same:
 * there the other waits in line, and the lease ends because its holder does not renew it.
 */
#include <linux/input-event-codes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "vmsig_client.h"
#include "vmsig_core.h"
#include "vmsig_memwatch.h"
#include "vmsig_stub.h"

int vmsig_armed_sensor_open(int argc, char **argv, const vmsig_source_ops **ops, void **src);
int vmsig_armed_input_open(int argc, char **argv, const vmsig_source_ops **ops, void **src);

#ifndef ARMED
int vmsig_armed_sensor_open(int argc, char **argv, const vmsig_source_ops **ops, void **src) {
    static const vmsig_memwatch_place newest = {.addr = VMSIG_STUB_INPUT + 8, .size = 8};
    (void)argc, (void)argv;
    return vmsig_memwatch_open(0, (vmsig_source)9, &newest, 1, 500, ops, src);
}
int vmsig_armed_input_open(int argc, char **argv, const vmsig_source_ops **ops, void **src) {
    (void)argc, (void)argv;
    return vmsig_stub_open(0, NULL, ops, src);
}
#endif

static const vmsig_input press = {.type = VMSIG_INPUT_KEY, .down = 1, .code = KEY_A};
static const vmsig_input let_go = {.type = VMSIG_INPUT_KEY, .down = 0, .code = KEY_A};

/* In the core's process, or a client of a gateway. */
typedef struct control {
    vmsig_core *core;
    void *ctl;
    vmsig_client *client;
    uint64_t corr, token;
    bool answered, pressed, let_go, granted;
} control;

/* The newest input is the last eight bytes of what either sensor says. */
static bool shows(const vmsig_event *ev, const vmsig_input *key) {
    return ev->kind == 64 && ev->inln_len >= sizeof *key &&
           memcmp(ev->inln + ev->inln_len - sizeof *key, key, sizeof *key) == 0;
}

static int on_event(void *user, const vmsig_event *ev) {
    control *c = user;
    vmsig_result r;
    c->pressed |= shows(ev, &press);
    c->let_go |= c->pressed && shows(ev, &let_go);
    if (ev->kind != VMSIG_EV_RESULT || ev->corr != c->corr)
        return 0;
    memcpy(&r, ev->inln, sizeof r);
    c->answered = true;
    c->granted = r.status == VMSIG_OK;
    c->token = r.detail;
    return 0;
}

static void on_client_event(void *user, const vmsig_event *ev) {
    on_event(user, ev);
}

static bool attach(vmsig_core *core, control *c, uint32_t priority) {
    const vmsig_inproc_cfg cfg = {.on_event = on_event, .user = c, .sub = {UINT32_MAX, UINT64_MAX, 0}};
    const vmsig_grant grant = {priority, 1, VMSIG_CAP_ALL, priority};
    c->core = core;
    c->ctl = vmsig_inproc_control_new(&cfg);
    int id = vmsig_core_add_control(core, vmsig_inproc_control_ops(), c->ctl);
    return id >= 0 && vmsig_core_set_grant(core, id, &grant) == 0;
}

static bool connect_to(const char *socket, control *c) {
    const vmsig_client_cfg cfg = {.name = "armed", .user = c, .on_event = on_client_event};
    c->client = vmsig_client_open(socket, &cfg, 10000, NULL, 0);
    return c->client != NULL;
}

static int step(control *c) {
    return c->core ? vmsig_core_step(c->core, 10) : vmsig_client_step(c->client, 10);
}

static bool until(control *c, const bool *flag) {
    for (time_t end = time(NULL) + 20; !*flag && time(NULL) < end;)
        if (step(c) < 0)
            break;
    return *flag;
}

static bool call(control *c, uint8_t kind, const void *body, uint32_t len) {
    vmsig_event cmd = {.kind = kind, .corr = c->corr + 1, .token = c->token, .inln_len = len};
    memcpy(cmd.inln, body, len);
    c->answered = false;
    int rc = c->core ? vmsig_inproc_send(c->ctl, &cmd) : vmsig_client_send(c->client, &cmd);
    c->corr = cmd.corr;
    return rc == 0 && until(c, &c->answered) && c->granted;
}

static int say(bool good, const char *what) {
    printf("%s %s\n", good ? "ok" : "not ok", what);
    return !good;
}

/* The other is stepped alone: on a socket the first one does not come to renew. */
static int test(control *first, control *other) {
    const vmsig_lease ask = {.op = VMSIG_LEASE_ACQUIRE, .cls = VMSIG_LEASE_INPUT, .ttl_ms = 3000, .flags = 1};
    int bad = 0;
    bad += say(call(first, VMSIG_CMD_LEASE, &ask, sizeof ask), "the lease");
    bad += say(call(first, VMSIG_CMD_INPUT, &press, sizeof press), "a key is pressed");
    bad += say(until(other, &other->pressed), "the sensor sees it");
    bad += say(call(other, VMSIG_CMD_LEASE, &ask, sizeof ask), "another has the lease");
    bad += say(until(other, &other->let_go), "the key was let go");
    bad += say(!call(first, VMSIG_CMD_INPUT, &press, sizeof press), "the former holder drives no more");
    return bad != 0;
}

static int in_one_process(int argc, char **argv, control *first, control *other) {
    const vmsig_source_ops *ops;
    void *src;
    vmsig_core *core = vmsig_core_new();
    if (!core || !attach(core, first, 1) || !attach(core, other, 2) ||
        vmsig_armed_input_open(argc, argv, &ops, &src) < 0 || vmsig_core_add_source(core, ops, src) < 0 ||
        vmsig_armed_sensor_open(argc, argv, &ops, &src) < 0 || vmsig_core_add_source(core, ops, src) < 0)
        return perror("prog_armed"), 1;
    int bad = test(first, other);
    vmsig_core_free(core);
    return bad;
}

static int at_a_gateway(const char *socket, control *first, control *other) {
    if (!connect_to(socket, first) || !connect_to(socket, other))
        return perror(socket), 1;
    int bad = test(first, other);
    vmsig_client_close(first->client);
    vmsig_client_close(other->client);
    return bad;
}

int main(int argc, char **argv) {
    static control first, other;
    if (argc == 3 && strcmp(argv[1], "--at") == 0)
        return at_a_gateway(argv[2], &first, &other);
    return in_one_process(argc, argv, &first, &other);
}
