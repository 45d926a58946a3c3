/* End to end, with the sensor and the input library that the build was given: what a control presses, the sensor sees;
 * when another takes the lease, the key is let go first. Unarmed: the stub takes the input, memwatch is the sensor.
 *
 *   make armed ARMED_SENSOR=LIBRARY ARMED_INPUT=LIBRARY
 *   prog_armed FILE      which both libraries are given
 */
#include <linux/input-event-codes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

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

typedef struct control {
    void *ctl;
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

static void attach(vmsig_core *core, control *c, uint32_t priority) {
    const vmsig_inproc_cfg cfg = {.on_event = on_event, .user = c, .sub = {UINT32_MAX, UINT64_MAX, 0}};
    const vmsig_grant grant = {priority, 1, VMSIG_CAP_ALL, priority};
    c->ctl = vmsig_inproc_control_new(&cfg);
    int id = vmsig_core_add_control(core, vmsig_inproc_control_ops(), c->ctl);
    if (id < 0 || vmsig_core_set_grant(core, id, &grant) < 0)
        perror("control");
}

static bool until(vmsig_core *core, const bool *flag) {
    for (time_t end = time(NULL) + 20; !*flag && time(NULL) < end;)
        if (vmsig_core_step(core, 10) < 0)
            break;
    return *flag;
}

static bool call(vmsig_core *core, control *c, uint8_t kind, const void *body, uint32_t len) {
    vmsig_event cmd = {.kind = kind, .corr = ++c->corr, .token = c->token, .inln_len = len};
    memcpy(cmd.inln, body, len);
    c->answered = false;
    return vmsig_inproc_send(c->ctl, &cmd) == 0 && until(core, &c->answered) && c->granted;
}

static int say(bool good, const char *what) {
    printf("%s %s\n", good ? "ok" : "not ok", what);
    return !good;
}

int main(int argc, char **argv) {
    static control low, high;
    const vmsig_lease ask = {.op = VMSIG_LEASE_ACQUIRE, .cls = VMSIG_LEASE_INPUT, .ttl_ms = 60000};
    const vmsig_source_ops *ops;
    void *src;
    vmsig_core *core = vmsig_core_new();
    attach(core, &low, 1);
    attach(core, &high, 2);
    if (vmsig_armed_input_open(argc, argv, &ops, &src) < 0 || vmsig_core_add_source(core, ops, src) < 0 ||
        vmsig_armed_sensor_open(argc, argv, &ops, &src) < 0 || vmsig_core_add_source(core, ops, src) < 0)
        return perror("prog_armed"), 1;
    int bad = 0;
    bad += say(call(core, &low, VMSIG_CMD_LEASE, &ask, sizeof ask), "the lease");
    bad += say(call(core, &low, VMSIG_CMD_INPUT, &press, sizeof press), "a key is pressed");
    bad += say(until(core, &high.pressed), "the sensor sees it");
    bad += say(call(core, &high, VMSIG_CMD_LEASE, &ask, sizeof ask), "another takes the lease");
    bad += say(until(core, &high.let_go), "the key was let go");
    bad += say(!call(core, &low, VMSIG_CMD_INPUT, &press, sizeof press), "the former holder drives no more");
    vmsig_core_free(core);
    return bad != 0;
}
