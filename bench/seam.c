/* seam.c: what a control waits for: a lease that passes on, a write to guest memory. Everything in one process
 * (vmsig_core, the stub as host, two controls): the code's own cost, without processes waking each other; then with
 * them, in seam_bus.c. */
#include <stdio.h>
#include <string.h>

#include "bench/seam.h"
#include "vmsig_core.h"
#include "vmsig_stub.h"

#define GOAL_MS 1.0
#define EPOCH   1 /* of a core that has just begun: nothing here ends it */

typedef struct control {
    void *ctl;
    uint64_t corr, done, token; /* done: the newest corr that has its result */
    int32_t status;
} control;

typedef struct seam {
    vmsig_core *core;
    control low, high; /* by their grants' priorities */
    bool there;        /* the address space is published: the stub has booted */
} seam;

static int on_event(void *user, const vmsig_event *ev) {
    control *c = user;
    vmsig_result r;
    if (ev->kind != VMSIG_EV_RESULT)
        return 0;
    memcpy(&r, ev->inln, sizeof r);
    c->done = ev->corr;
    c->status = r.status;
    if (r.status == VMSIG_OK && r.detail != 0)
        c->token = r.detail;
    return 0;
}

static void attach(seam *s, control *c, uint32_t priority) {
    const vmsig_inproc_cfg cfg = {.on_event = on_event, .user = c, .sub = {UINT32_MAX, UINT64_MAX, 0}};
    const vmsig_grant grant = {priority, 1, VMSIG_CAP_ALL & ~VMSIG_CAP_OBSERVE, priority};
    c->ctl = vmsig_inproc_control_new(&cfg);
    int id = vmsig_core_add_control(s->core, vmsig_inproc_control_ops(), c->ctl);
    if (id < 0 || vmsig_core_set_grant(s->core, id, &grant) < 0)
        bench_fail("cannot attach a control");
}

static void send(control *c, uint8_t kind, const void *body, uint32_t len) {
    vmsig_event cmd = {.kind = kind, .corr = ++c->corr, .epoch = EPOCH, .token = c->token, .inln_len = len};
    memcpy(cmd.inln, body, len);
    if (vmsig_inproc_send(c->ctl, &cmd) < 0)
        bench_fail("a command was refused");
}

static void wait_for(seam *s, const control *c) {
    while (c->done != c->corr)
        if (vmsig_core_step(s->core, 100) < 0)
            bench_fail("vmsig_core_step failed");
}

static void lease(control *c, uint32_t op, uint32_t cls) {
    const vmsig_lease l = {.op = op, .cls = cls, .ttl_ms = 60000};
    send(c, VMSIG_CMD_LEASE, &l, sizeof l);
}

static void call_lease(seam *s, control *c, uint32_t op, uint32_t cls) {
    lease(c, op, cls);
    wait_for(s, c);
    if (c->status != VMSIG_OK)
        bench_fail("a lease command was answered %d", c->status);
}

static void write_word(seam *s, control *c, uint64_t value) {
    const vmsig_memwrite w = {.addr = VMSIG_STUB_SCRATCH, .value = value, .size = 8};
    send(c, VMSIG_CMD_MEMWRITE, &w, sizeof w);
    wait_for(s, c);
    if (c->status != VMSIG_OK)
        bench_fail("a memory write was answered %d", c->status);
}

static void start(seam *s) {
    const vmsig_stub_cfg cfg = {.memory = 4u << 20};
    const vmsig_source_ops *ops;
    void *src;
    s->core = vmsig_core_new();
    if (s->core == NULL || vmsig_stub_open(0, &cfg, &ops, &src) < 0 || vmsig_core_add_source(s->core, ops, src) < 0)
        bench_fail("cannot make a core with a stub");
    attach(s, &s->low, 1);
    attach(s, &s->high, 2);
    while (vmsig_core_step(s->core, 0) > 0) {
    }
}

/* Release by one to grant to the other, who asks in the same breath. */
static void hand_over(seam *s, uint32_t n, bench_hist *h) {
    control *from = &s->low, *to = &s->high;
    call_lease(s, from, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t t = bench_ticks();
        lease(from, VMSIG_LEASE_RELEASE, VMSIG_LEASE_INPUT);
        call_lease(s, to, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT);
        bench_hist_add(h, bench_ticks() - t);
        control *was = from;
        from = to;
        to = was;
    }
    call_lease(s, from, VMSIG_LEASE_RELEASE, VMSIG_LEASE_INPUT);
}

/* Taken from a holder with a key down: fence, quiet, neutral, grant. */
static void preempt(seam *s, uint32_t n, bench_hist *h) {
    const vmsig_input key = {.type = VMSIG_INPUT_KEY, .down = 1, .code = 30};
    for (uint32_t i = 0; i < n; i++) {
        call_lease(s, &s->low, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT);
        send(&s->low, VMSIG_CMD_INPUT, &key, sizeof key);
        wait_for(s, &s->low);
        uint64_t t = bench_ticks();
        call_lease(s, &s->high, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT);
        bench_hist_add(h, bench_ticks() - t);
        call_lease(s, &s->high, VMSIG_LEASE_RELEASE, VMSIG_LEASE_INPUT);
    }
}

static void memwrite(seam *s, uint32_t n, bench_hist *h) {
    call_lease(s, &s->low, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_MEMWRITE);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t t = bench_ticks();
        write_word(s, &s->low, i);
        bench_hist_add(h, bench_ticks() - t);
    }
    call_lease(s, &s->low, VMSIG_LEASE_RELEASE, VMSIG_LEASE_MEMWRITE);
}

void bench_seam(const bench_options *o) {
    static void (*const run[])(seam * s, uint32_t n, bench_hist * h) = {hand_over, preempt, memwrite};
    static bench_series series[] = {{.name = "lease hand-over, release to grant"},
                                    {.name = "lease preempted, a key held"},
                                    {.name = "MEMWRITE, 8 bytes"}};
    static bench_hist h;
    seam s = {0};
    uint32_t n = 20 * o->scale;
    bench_pin(o->cpu[0]);
    start(&s);
    for (unsigned r = 0; r < o->rounds; r++) {
        bench_progress(o, r);
        for (unsigned i = 0; i < sizeof series / sizeof *series; i++) {
            bench_hist_reset(&h);
            run[i](&s, n, &h);
            bench_add_latency(&series[i], &h, 1);
        }
    }
    bench_report_title(o, "command to result, in one process");
    for (unsigned i = 0; i < sizeof series / sizeof *series; i++)
        bench_report(o, &series[i], NULL, 0);
    vmsig_core_free(s.core);
    bench_seam_bus(o);
    bench_note(o, "goal: an uncontended hand-over within %.0f ms", GOAL_MS);
}
