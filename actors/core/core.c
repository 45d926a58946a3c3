#include <errno.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "actors/context/engine.h"
#include "actors/core/core_impl.h"
#include "rings/bell.h"

#define ASK_AGAIN_NS 1000000ull /* how soon an in-process control that said EAGAIN is asked again */

static int fail(int negative_errno) {
    errno = -negative_errno;
    return -1;
}

/* ---- what the gate stands on ------------------------------------------------------------------------- */

static uint64_t now(void *ud) {
    (void)ud;
    return vmsig_now_ns();
}

static uint32_t epoch(void *ud, uint32_t endpoint) {
    return vmsig_core_epoch(ud, endpoint);
}

static int ram(void *ud, uint32_t endpoint, uint32_t ram_id) {
    const vmsig_core_endpoint *e = &((vmsig_core *)ud)->endpoint[endpoint];
    return e->ram_id == ram_id ? e->ram_fd : -1;
}

static vmsig_fence_page *fences(void *ud) {
    return ((vmsig_core *)ud)->fences;
}

static void wake(void *ud) {
    vmsig_core_wake(ud);
}

static void say(void *ud, const char *text) {
    (void)ud;
    fprintf(stderr, "vmsig: %s\n", text);
}

/* A command that a policy dropped or merged. Called under the lock of the way down; the answer takes that of the way
 * up. */
static void dropped(void *ud, uint64_t corr, uint32_t endpoint, uint32_t source, uint32_t ep, vmsig_status status,
                    uint64_t detail) {
    const vmsig_event cmd = {.corr = corr, .endpoint = endpoint, .source = (uint8_t)source, .epoch = ep};
    vmsig_core_answer(ud, &cmd, status, detail);
}

/* ---- life -------------------------------------------------------------------------------------------- */

static int make_endpoints(vmsig_core *core) {
    for (uint32_t i = 0; i < VMSIG_ENDPOINTS_MAX; i++)
        core->endpoint[i] = (vmsig_core_endpoint){.ram_fd = -1, .seen = 1};
    for (uint32_t i = 0; i < VMSIG_ENDPOINTS_MAX; i++) {
        vmsig_epoch_page *p = aligned_alloc(alignof(vmsig_epoch_page), sizeof *p);
        if (!p)
            return -ENOMEM;
        *p = (vmsig_epoch_page){.endpoint = i, .word = 1ull << 32 | 1};
        core->endpoint[i].epoch = p;
    }
    return 0;
}

static int make_gate(vmsig_core *core) {
    core->gate_mem = mmap(NULL, VMSIG_GATE_STATE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (core->gate_mem == MAP_FAILED)
        return -errno;
    const vmsig_gate_env env = {.now = now,
                                .epoch = epoch,
                                .command = vmsig_core_command,
                                .ram = ram,
                                .fences = fences,
                                .wake = wake,
                                .log = say,
                                .endpoint_mask = UINT64_MAX,
                                .ud = core};
    int rc = vmsig_gate_new(core->gate_mem, VMSIG_GATE_STATE_BYTES, &env, &core->gate);
    return rc < 0 ? rc : vmsig_gate_start(core->gate);
}

/* The sleeper is woken; the pump comes after the callbacks. */
static void on_bell(void *ud, uint32_t events) {
    (void)events;
    vmsig_bell_clear(((vmsig_core *)ud)->bell);
}

static void on_timing_fd(void *ud, uint32_t events) {
    (void)ud, (void)events; /* taking what has matured arms it anew */
}

static void on_timer(void *ud) {
    vmsig_core *core = ud;
    for (vmsig_core_control *c = core->controls; c; c = c->next)
        if (c->blocked && c->fd < 0) {
            c->blocked = false;
            vmsig_gate_unblock(core->gate, c->id);
        }
    vmsig_gate_turn(core->gate);
}

static int init(vmsig_core *core) {
    core->bell = -1;
    core->gate_mem = MAP_FAILED;
    int rc = make_endpoints(core);
    if (rc < 0 || (rc = vmsig_loop_new(&core->loop)) < 0)
        return rc;
    core->bell = vmsig_bell_create();
    if (core->bell < 0)
        return core->bell;
    core->fences = aligned_alloc(alignof(vmsig_fence_page), sizeof *core->fences);
    core->ctx = vmsig_ctx_new();
    if (!core->fences || !core->ctx)
        return -ENOMEM;
    memset(core->fences, 0, sizeof *core->fences);
    vmsig_ctx_on_answer(core->ctx, dropped, core);
    if ((rc = vmsig_loop_add(core->loop, core->bell, EPOLLIN, on_bell, core)) < 0 ||
        (rc = vmsig_timer_new(core->loop, on_timer, core, &core->timer)) < 0)
        return rc;
    return make_gate(core);
}

vmsig_core *vmsig_core_new(void) {
    vmsig_core *core = calloc(1, sizeof *core);
    int rc = core ? init(core) : -ENOMEM;
    if (rc < 0) {
        vmsig_core_free(core);
        errno = -rc;
        return NULL;
    }
    core->asleep = 1;
    return core;
}

void vmsig_core_free(vmsig_core *core) {
    if (!core)
        return;
    vmsig_core_serve_end(core);
    vmsig_gate_free(core->gate);
    for (int i = 0; i < core->sources_n; i++)
        vmsig_core_close_source(core, core->sources[i]);
    vmsig_core_reap_sources(core);
    for (int dir = 0; dir < 2; dir++)
        if (core->holding[dir])
            free(core->held[dir].payload);
    vmsig_ctx_free(core->ctx);
    vmsig_timer_free(core->timer);
    vmsig_loop_free(core->loop);
    if (core->bell >= 0)
        close(core->bell);
    if (core->gate_mem != MAP_FAILED)
        munmap(core->gate_mem, VMSIG_GATE_STATE_BYTES);
    for (uint32_t i = 0; i < VMSIG_ENDPOINTS_MAX; i++) {
        if (core->endpoint[i].epoch && core->endpoint[i].ram_fd >= 0)
            close(core->endpoint[i].ram_fd);
        free(core->endpoint[i].memctx.payload);
        free(core->endpoint[i].epoch);
    }
    free(core->fences);
    free(core);
}

/* ---- the step ---------------------------------------------------------------------------------------- */

int vmsig_core_fd(vmsig_core *core) {
    return core ? vmsig_loop_fd(core->loop) : fail(-EINVAL);
}

/* When the gate, or a control that is to be asked again, is due. */
static void set_timer(vmsig_core *core) {
    uint64_t at = vmsig_gate_deadline(core->gate);
    for (const vmsig_core_control *c = core->controls; c; c = c->next)
        if (c->blocked && c->fd < 0) {
            uint64_t again = vmsig_now_ns() + ASK_AGAIN_NS;
            at = at == 0 || again < at ? again : at;
        }
    vmsig_timer_set(core->timer, at, 0);
}

/* Lies down: from here on who emits rings the bell. What came just before is handled first. */
static int settle(vmsig_core *core) {
    vmsig_store32(&core->asleep, 1);
    vmsig_fence_full();
    int n = vmsig_core_pump(core);
    set_timer(core);
    if (n > 0 || vmsig_gate_busy(core->gate))
        vmsig_bell_ring(core->bell); /* there may be more: the fd says so, and the next step goes on */
    return n;
}

static int step(vmsig_core *core, int timeout_ms) {
    vmsig_store32(&core->asleep, 0);
    int n = vmsig_core_pump(core);
    n += settle(core);
    int rc = vmsig_loop_run_once(core->loop, n > 0 ? 0 : timeout_ms);
    if (rc < 0)
        return fail(rc);
    vmsig_store32(&core->asleep, 0);
    n += vmsig_core_pump(core);
    vmsig_core_reap_sources(core);
    return n + settle(core);
}

int vmsig_core_step(vmsig_core *core, int timeout_ms) {
    if (!core || timeout_ms < 0)
        return fail(-EINVAL);
    if (core->stepping)
        return fail(-EDEADLK);
    core->stepping = true;
    int n = step(core, timeout_ms);
    core->stepping = false;
    return n;
}

/* ---- controls ---------------------------------------------------------------------------------------- */

static int control_fd(void *ctl) {
    return ((vmsig_core_control *)ctl)->fd;
}

static int subscribe(void *ctl, vmsig_sub *out) {
    vmsig_core_control *c = ctl;
    return c->ops->subscribe ? c->ops->subscribe(c->ctl, out) : 0;
}

static void watch_for(vmsig_core_control *c, uint32_t events) {
    if (c->fd >= 0)
        vmsig_loop_modify(c->core->loop, c->fd, events);
}

/* EAGAIN is kept in errno for the gate. */
static int told(vmsig_core_control *c, int rc) {
    int error = errno;
    if (rc < 0 && error == EAGAIN) {
        c->blocked = true;
        watch_for(c, EPOLLIN | EPOLLOUT);
    }
    errno = error;
    return rc;
}

static int deliver(void *ctl, const vmsig_event *ev) {
    vmsig_core_control *c = ctl;
    return told(c, c->ops->deliver(c->ctl, ev));
}

static int attach_memctx(void *ctl, const vmsig_event *ev, int fd) {
    vmsig_core_control *c = ctl;
    return c->ops->attach_memctx ? told(c, c->ops->attach_memctx(c->ctl, ev, fd)) : 0;
}

static void set_emit_down(void *ctl, int (*emit)(void *token, vmsig_event *), void *token) {
    vmsig_core_control *c = ctl;
    if (c->ops->set_emit_down)
        c->ops->set_emit_down(c->ctl, emit, token);
}

static void close_control(void *ctl) {
    vmsig_core_control *c = ctl, **at = &c->core->controls;
    while (*at && *at != c)
        at = &(*at)->next;
    if (*at)
        *at = c->next;
    if (c->fd >= 0)
        vmsig_loop_remove(c->core->loop, c->fd);
    if (c->ops->close)
        c->ops->close(c->ctl);
    free(c);
}

static void on_control(void *ud, uint32_t events) {
    vmsig_core_control *c = ud;
    if (c->blocked && (events & EPOLLOUT)) {
        c->blocked = false;
        watch_for(c, EPOLLIN);
        vmsig_gate_unblock(c->core->gate, c->id);
    }
    bool readable = events & (EPOLLIN | EPOLLHUP | EPOLLERR);
    if (readable && (!c->ops->on_readable || c->ops->on_readable(c->ctl) < 0))
        vmsig_gate_detach(c->core->gate, c->id, true);
}

int vmsig_core_add_control(vmsig_core *core, const vmsig_control_ops *ops, void *ctl) {
    static const vmsig_control_ops wrapped = {.name = "control",
                                              .fd = control_fd,
                                              .subscribe = subscribe,
                                              .deliver = deliver,
                                              .set_emit_down = set_emit_down,
                                              .close = close_control,
                                              .attach_memctx = attach_memctx};
    if (!core || !ops || !ops->deliver)
        return fail(-EINVAL);
    vmsig_core_control *c = calloc(1, sizeof *c);
    if (!c)
        return -1;
    *c = (vmsig_core_control){.core = core, .ops = ops, .ctl = ctl, .fd = ops->fd ? ops->fd(ctl) : -1};
    int rc = c->fd < 0 ? 0 : vmsig_loop_add(core->loop, c->fd, EPOLLIN, on_control, c);
    if (rc == 0 && (rc = vmsig_gate_attach(core->gate, &wrapped, c)) < 0 && c->fd >= 0)
        vmsig_loop_remove(core->loop, c->fd);
    if (rc < 0) {
        free(c);
        return fail(rc);
    }
    c->id = rc;
    c->next = core->controls;
    core->controls = c;
    return rc;
}

int vmsig_core_set_grant(vmsig_core *core, int control, const vmsig_grant *grant) {
    if (!core || !grant)
        return fail(-EINVAL);
    int rc = vmsig_gate_set_grant(core->gate, control, grant);
    return rc < 0 ? fail(rc) : 0;
}

int vmsig_core_remove_control(vmsig_core *core, int control) {
    int rc = core ? vmsig_gate_detach(core->gate, control, true) : -EINVAL;
    return rc < 0 ? fail(rc) : 0;
}

/* ---- policies, arbitration, audit -------------------------------------------------------------------- */

int vmsig_core_set_policy(vmsig_core *core, vmsig_source source, vmsig_dir dir, vmsig_prio default_prio,
                          const vmsig_timing *timing) {
    if (!core)
        return fail(-EINVAL);
    if (vmsig_ctx_set_policy(core->ctx, source, dir, default_prio, timing) < 0)
        return -1;
    int fd = vmsig_ctx_timing_fd(core->ctx, dir);
    if (fd < 0 || core->timed[dir])
        return 0;
    int rc = vmsig_loop_add(core->loop, fd, EPOLLIN, on_timing_fd, core);
    core->timed[dir] = rc == 0;
    return rc < 0 ? fail(rc) : 0;
}

int vmsig_core_set_retain(vmsig_core *core, uint64_t ttl_ns) {
    if (!core)
        return fail(-EINVAL);
    vmsig_gate_set_retain(core->gate, ttl_ns);
    return 0;
}

void vmsig_core_set_arbiter(vmsig_core *core, vmsig_arb_policy policy, void *ud) {
    if (core)
        vmsig_gate_set_arbiter(core->gate, policy, ud);
}

void vmsig_core_set_audit(vmsig_core *core, vmsig_audit_cb cb, void *ud) {
    if (core)
        vmsig_gate_set_audit(core->gate, cb, ud);
}
