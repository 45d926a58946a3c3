/* embed.c: everything in one process: a stub endpoint, a sensor that watches its memory, and a control.
 *
 *   stub ──memctx + read-only fd──► control: reads RAM
 *        ◄──── a key, under a lease ──── control
 *   memwatch ──"the key is in RAM"──► control: done
 *
 *   cc embed.c $(pkg-config --cflags --libs vmsig) && ./a.out
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "vmsig_core.h"
#include "vmsig_memwatch.h"
#include "vmsig_stub.h"

#define KEY_A 30 /* evdev */

typedef struct program {
    vmsig_memview *view;
    uint64_t token; /* of the input lease */
    uint64_t corr;  /* of the last command */
    int keys_seen;
} program;

static int on_memctx(void *user, const vmsig_event *ev, int fd) {
    program *p = user;
    vmsig_memview_close(p->view);
    p->view = vmsig_memview_open(ev, fd); /* maps it: the fd itself is only lent */
    return p->view ? 0 : -1;
}

static int on_event(void *user, const vmsig_event *ev) {
    program *p = user;
    vmsig_lease_info lease;
    vmsig_input in;
    if (ev->kind == VMSIG_EV_LEASE) {
        memcpy(&lease, ev->inln, sizeof lease);
        if (lease.state == VMSIG_LEASE_GRANTED)
            p->token = lease.token;
    } else if (ev->kind == VMSIG_EV_MEMWATCH) { /* its body, the old value, the new one: the newest input */
        memcpy(&in, ev->inln + sizeof(vmsig_memwatch) + 8, sizeof in);
        p->keys_seen += in.code == KEY_A && in.down;
    }
    return 0;
}

/* Steps until *until is no longer 0; ten seconds are enough for anything here. */
static int run(vmsig_core *core, const void *until, size_t size, const char *what) {
    static const char zero[8];
    for (time_t end = time(NULL) + 10; time(NULL) < end && vmsig_core_step(core, 100) >= 0;)
        if (memcmp(until, zero, size) != 0)
            return 0;
    fprintf(stderr, "embed: %s did not come\n", what);
    return -1;
}

static int send(program *p, void *ctl, uint8_t kind, const void *body, uint32_t len) {
    vmsig_event cmd = {.kind = kind, .endpoint = 0, .corr = ++p->corr, .token = p->token, .inln_len = len};
    memcpy(cmd.inln, body, len);
    return vmsig_inproc_send(ctl, &cmd);
}

static int add_sources(vmsig_core *core) {
    const vmsig_memwatch_place newest_input = {.addr = VMSIG_STUB_INPUT + 8, .size = 8};
    const vmsig_source_ops *ops;
    void *src;
    if (vmsig_stub_open(0, NULL, &ops, &src) < 0 || vmsig_core_add_source(core, ops, src) < 0)
        return -1;
    return vmsig_memwatch_open(0, 9, &newest_input, 1, 100, &ops, &src) < 0 || vmsig_core_add_source(core, ops, src) < 0
               ? -1
               : 0;
}

static int drive(vmsig_core *core, void *ctl, program *p) {
    const vmsig_lease ask = {.op = VMSIG_LEASE_ACQUIRE, .cls = VMSIG_LEASE_INPUT, .ttl_ms = 10000};
    const vmsig_input press = {.type = VMSIG_INPUT_KEY, .down = 1, .code = KEY_A};
    uint64_t magic = 0;
    if (run(core, &p->view, sizeof p->view, "the address space") < 0)
        return -1;
    vmsig_memview_read_virt(p->view, VMSIG_STUB_KERNEL(VMSIG_STUB_INFO), &magic, 8);
    printf("embed: the guest's memory says %.8s\n", (const char *)&magic);
    if (send(p, ctl, VMSIG_CMD_LEASE, &ask, sizeof ask) < 0 || run(core, &p->token, 8, "the lease") < 0)
        return -1;
    if (send(p, ctl, VMSIG_CMD_INPUT, &press, sizeof press) < 0)
        return -1;
    return run(core, &p->keys_seen, sizeof p->keys_seen, "the key in RAM");
}

int main(void) {
    program p = {0};
    const vmsig_inproc_cfg cfg = {.on_event = on_event,
                                  .on_memctx = on_memctx,
                                  .user = &p,
                                  .sub = {.source_mask = UINT32_MAX, .endpoint_mask = 1}};
    const vmsig_grant grant = {.principal = 1, .endpoint_mask = 1, .caps = VMSIG_CAP_ALL};
    vmsig_core *core = vmsig_core_new();
    void *ctl = vmsig_inproc_control_new(&cfg);
    int id = core && ctl ? vmsig_core_add_control(core, vmsig_inproc_control_ops(), ctl) : -1;
    int ok = id >= 0 && vmsig_core_set_grant(core, id, &grant) == 0 && add_sources(core) == 0;
    if (ok)
        ok = drive(core, ctl, &p) == 0;
    else
        perror("embed");
    if (ok)
        puts("embed: the key was seen in RAM");
    vmsig_memview_close(p.view);
    vmsig_core_free(core);
    return !ok;
}
