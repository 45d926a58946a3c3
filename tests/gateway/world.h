/* world.h: a gate on a virtual clock, with a pretended context, hosts that answer when told to, and controls that keep
 * what they are given. */
#ifndef TESTS_GATEWAY_WORLD_H
#define TESTS_GATEWAY_WORLD_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/gateway/gate.h"

#define WORLD_LOG 16384

typedef struct world {
    vmsig_gate *gate;
    void *mem;
    size_t bytes;
    uint64_t now;
    uint32_t epoch[VMSIG_ENDPOINTS_MAX];
    int ram_fd[VMSIG_ENDPOINTS_MAX];
    vmsig_fence_page *fences;
    vmsig_event sent[WORLD_LOG]; /* commands that reached the context */
    int sent_n;
    int command_err;
    uint64_t position, seq;
    bool published;
    vmsig_gate_env env;
} world;

typedef struct seen {
    vmsig_event ev[WORLD_LOG];
    int n;
    int memctx_fd;
    int memctx_n;
    void *ctl;
    int id;
    int refuse; /* errno of the next deliveries */
    char payload[64];
} seen;

static inline uint64_t world_now(void *ud) {
    return ((world *)ud)->now;
}
static inline uint32_t world_epoch(void *ud, uint32_t ep) {
    return ((world *)ud)->epoch[ep];
}
static inline int world_command(void *ud, const vmsig_event *cmd) {
    world *w = ud;
    if (w->command_err)
        return w->command_err;
    w->sent[w->sent_n++] = *cmd;
    return 0;
}
static inline int world_ram(void *ud, uint32_t ep, uint32_t ram_id) {
    (void)ram_id;
    return ((world *)ud)->ram_fd[ep];
}
static inline vmsig_fence_page *world_fences(void *ud) {
    return ((world *)ud)->fences;
}
static inline uint64_t world_mark(void *ud, uint32_t ep) {
    (void)ep;
    return (uint64_t)((world *)ud)->sent_n + 1;
}
static inline bool world_published(void *ud, uint64_t mark) {
    return (uint64_t)((world *)ud)->sent_n >= mark;
}

/* A gate over the state that is there; the former one's memory stays as a killed process leaves it. */
static inline void world_boot(world *w) {
    cr_assert_eq(vmsig_gate_new(w->mem, w->bytes, &w->env, &w->gate), 0);
    cr_assert_eq(vmsig_gate_start(w->gate), 0);
}

static inline world *world_new_sized(size_t bytes) {
    world *w = calloc(1, sizeof *w);
    w->bytes = bytes;
    w->mem = aligned_alloc(64, bytes);
    memset(w->mem, 0, bytes);
    w->fences = aligned_alloc(64, sizeof *w->fences + 64);
    memset(w->fences, 0, sizeof *w->fences);
    w->now = 1000000000000u;
    for (int i = 0; i < (int)VMSIG_ENDPOINTS_MAX; i++) {
        w->epoch[i] = i < 2 ? 7 : 0;
        w->ram_fd[i] = -1;
    }
    w->env = (vmsig_gate_env){.now = world_now,
                              .epoch = world_epoch,
                              .command = world_command,
                              .ram = world_ram,
                              .fences = world_fences,
                              .mark = world_mark,
                              .published = world_published,
                              .endpoint_mask = 3,
                              .ud = w};
    world_boot(w);
    return w;
}
static inline world *world_new(void) {
    return world_new_sized(4u << 20);
}

static inline void world_free(world *w) {
    vmsig_gate_free(w->gate);
    free(w->mem);
    free(w->fences);
    free(w);
}

static inline int seen_event(void *user, const vmsig_event *ev) {
    seen *s = user;
    if (s->refuse) {
        errno = s->refuse;
        return -1;
    }
    if (ev->payload_len && ev->payload_len < sizeof s->payload)
        memcpy(s->payload, ev->payload, ev->payload_len);
    s->ev[s->n % WORLD_LOG] = *ev;
    s->n++;
    return 0;
}
static inline int seen_memctx(void *user, const vmsig_event *ev, int fd) {
    seen *s = user;
    s->memctx_fd = fd;
    s->memctx_n++;
    return seen_event(user, ev);
}

static inline seen *world_attach(world *w) {
    seen *s = calloc(1, sizeof *s);
    vmsig_inproc_cfg cfg = {
        .on_event = seen_event, .user = s, .sub = {UINT32_MAX, UINT64_MAX, 0}, .on_memctx = seen_memctx};
    s->ctl = vmsig_inproc_control_new(&cfg);
    s->id = vmsig_gate_attach(w->gate, vmsig_inproc_control_ops(), s->ctl);
    cr_assert_geq(s->id, 0);
    return s;
}
static inline void world_grant(world *w, seen *s, uint32_t principal, uint64_t endpoints, uint32_t caps,
                               uint32_t priority) {
    vmsig_grant g = {principal, endpoints, caps, priority};
    cr_assert_eq(vmsig_gate_set_grant(w->gate, s->id, &g), 0);
}
static inline seen *world_control(world *w, uint32_t principal, uint32_t priority) {
    seen *s = world_attach(w);
    world_grant(w, s, principal, UINT64_MAX, VMSIG_CAP_ALL, priority);
    vmsig_gate_turn(w->gate);
    s->n = 0;
    return s;
}

/* An event from the context. */
static inline vmsig_event world_event(world *w, uint32_t ep, uint8_t source, uint8_t kind, uint32_t value) {
    vmsig_event ev = {.endpoint = ep,
                      .source = source,
                      .kind = kind,
                      .prio = VMSIG_PRIO_NORMAL,
                      .epoch = w->epoch[ep],
                      .merged = 1,
                      .seq = ++w->seq,
                      .inln_len = sizeof value};
    memcpy(ev.inln, &value, sizeof value);
    return ev;
}
static inline void world_take(world *w, const vmsig_event *ev) {
    cr_assert_eq(vmsig_gate_take(w->gate, 5, ++w->position, ev), 0);
}
static inline void world_tick(world *w, uint32_t ep, uint32_t value) {
    vmsig_event ev = world_event(w, ep, 9, 64, value);
    world_take(w, &ev);
}
static inline void world_result(world *w, uint32_t ep, uint64_t corr, int32_t status) {
    vmsig_result r = {.status = status};
    vmsig_event ev = world_event(w, ep, VMSIG_SRC_VMHOST, VMSIG_EV_RESULT, 0);
    ev.corr = corr;
    ev.inln_len = sizeof r;
    memcpy(ev.inln, &r, sizeof r);
    world_take(w, &ev);
}
static inline void world_memctx(world *w, uint32_t ep, uint64_t root) {
    vmsig_memctx m = {.root = root, .ram_id = 1};
    vmsig_event ev = world_event(w, ep, VMSIG_SRC_MEMCTX, VMSIG_EV_MEMCTX, 0);
    ev.inln_len = sizeof m;
    memcpy(ev.inln, &m, sizeof m);
    world_take(w, &ev);
}

/* Commands. */
static inline vmsig_event world_lease_cmd(uint32_t ep, uint32_t op, uint32_t cls, uint32_t ttl_ms, uint64_t corr) {
    vmsig_lease l = {.op = op, .cls = cls, .ttl_ms = ttl_ms};
    vmsig_event ev = {.endpoint = ep, .kind = VMSIG_CMD_LEASE, .corr = corr, .dir = VMSIG_DIR_DOWN};
    ev.inln_len = sizeof l;
    memcpy(ev.inln, &l, sizeof l);
    return ev;
}
static inline vmsig_event world_key(uint32_t ep, uint64_t token, uint64_t corr) {
    vmsig_input in = {.type = VMSIG_INPUT_KEY, .down = 1, .code = 30};
    vmsig_event ev = {.endpoint = ep, .kind = VMSIG_CMD_INPUT, .corr = corr, .dir = VMSIG_DIR_DOWN, .token = token};
    ev.inln_len = sizeof in;
    memcpy(ev.inln, &in, sizeof in);
    return ev;
}

/* The last event of a kind that a control was given, or NULL. */
static inline const vmsig_event *seen_last(const seen *s, uint8_t kind) {
    for (int i = s->n; i-- > 0;)
        if (s->ev[i].kind == kind)
            return &s->ev[i];
    return NULL;
}
static inline int seen_count(const seen *s, uint8_t kind) {
    int n = 0;
    for (int i = 0; i < s->n; i++)
        n += s->ev[i].kind == kind;
    return n;
}
static inline uint32_t seen_value(const vmsig_event *ev) {
    uint32_t v;
    memcpy(&v, ev->inln, sizeof v);
    return v;
}
/* The status of the result to corr; -1: none, or more than one. */
static inline int seen_status(const seen *s, uint64_t corr, uint64_t *detail) {
    int status = -1, n = 0;
    for (int i = 0; i < s->n; i++)
        if (s->ev[i].kind == VMSIG_EV_RESULT && s->ev[i].corr == corr) {
            vmsig_result r;
            memcpy(&r, s->ev[i].inln, sizeof r);
            status = r.status;
            if (detail)
                *detail = r.detail;
            n++;
        }
    return n == 1 ? status : -1;
}
static inline vmsig_lease_info seen_lease(const seen *s) {
    vmsig_lease_info info = {0};
    const vmsig_event *ev = seen_last(s, VMSIG_EV_LEASE);
    if (ev)
        memcpy(&info, ev->inln, sizeof info);
    return info;
}
/* Sends a LEASE command and takes a turn. */
static inline int world_lease(world *w, seen *s, uint32_t ep, uint32_t op, uint32_t cls, uint32_t ttl_ms,
                              uint64_t corr) {
    vmsig_event cmd = world_lease_cmd(ep, op, cls, ttl_ms, corr);
    int rc = vmsig_inproc_send(s->ctl, &cmd);
    vmsig_gate_turn(w->gate);
    return rc;
}
/* Answers the newest FENCE that was sent. */
static inline void world_quiet(world *w, int32_t status) {
    const vmsig_event *f = &w->sent[w->sent_n - 1];
    cr_assert_eq(f->kind, VMSIG_CMD_LEASE);
    world_result(w, f->endpoint, f->corr, status);
    vmsig_gate_turn(w->gate);
}

#endif
