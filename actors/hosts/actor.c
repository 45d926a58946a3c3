/* A host as a process of its own, on the runtime. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "actors/hosts/host.h"
#include "actors/runtime/runtime.h"

typedef struct host_actor {
    vmsig_rt *rt;
    vmsig_host_make_fn make; /* or: */
    vmsig_host_adopt_fn adopt;
    void *given;
    vmsig_host *host;
    vmsig_link *up; /* to the context; NULL until it is there */
    bool started;
} host_actor;

static const vmsig_source_ops *source(void) {
    return vmsig_host_source_ops();
}

/* ---- the environment of the gate --------------------------------------------------------------------- */

static const vmsig_fence_page *fences(void *ud) {
    const host_actor *a = ud;
    return vmsig_rt_fences(a->rt, vmsig_rt_boot(a->rt)->endpoint);
}

static int offer_ram(void *ud, uint32_t ram_id, int ro_fd) {
    const host_actor *a = ud;
    return vmsig_rt_offer_ram(a->rt, vmsig_rt_boot(a->rt)->endpoint, ram_id, ro_fd);
}

static void say(void *ud, const char *text) {
    vmsig_rt_log(((host_actor *)ud)->rt, "%s", text);
}

static void remark(void *ud, const char *text) {
    vmsig_rt_remark(((host_actor *)ud)->rt, text);
}

static const char *option(void *ud, const char *key) {
    return vmsig_rt_option(((host_actor *)ud)->rt, key);
}

/* ---- events up --------------------------------------------------------------------------------------- */

static int emit(void *token, vmsig_event *ev) {
    host_actor *a = token;
    if (!ev->ts_ns)
        ev->ts_ns = vmsig_now_ns();
    int rc = a->up ? vmsig_ring_put_event(&a->up->out, ev) : -EAGAIN;
    if (rc == -EAGAIN && a->up)
        vmsig_rt_want_room(a->rt, a->up, VMSIG_SLOTS_MAX);
    if (rc < 0) {
        errno = -rc;
        return -1;
    }
    free(ev->payload);
    return 0;
}

static void writable(void *self, vmsig_link *out) {
    (void)out;
    vmsig_host_flush(((host_actor *)self)->host);
}

/* ---- commands down ----------------------------------------------------------------------------------- */

/* A command that the host cannot take now stays in the ring: it comes again when there is room for results. */
static unsigned consume(void *self, vmsig_link *in, unsigned budget) {
    host_actor *a = self;
    unsigned n = 0;
    vmsig_event cmd;
    for (; n < budget && vmsig_ring_peek(&in->in); n++) {
        if (vmsig_ring_get_event(&in->in, &cmd) < 0)
            break;
        int rc = source()->command(a->host, &cmd);
        free(cmd.payload);
        if (rc < 0)
            break;
        vmsig_ring_advance(&in->in);
    }
    return n;
}

/* ---- the actor's life -------------------------------------------------------------------------------- */

static int boot(void *self, vmsig_rt *rt) {
    host_actor *a = self;
    const vmsig_host_backend *backend;
    void *vm;
    char err[256] = "";
    a->rt = rt;
    int rc = a->make ? a->make(option, a, &backend, &vm, err, sizeof err)
                     : a->adopt(a->given, &backend, &vm, err, sizeof err);
    if (rc < 0) {
        vmsig_rt_fail(rt, "%s", err[0] ? err : strerror(-rc));
        return rc;
    }
    const vmsig_host_env env = {.epoch = vmsig_rt_own_epoch(rt),
                                .fences = fences,
                                .offer_ram = offer_ram,
                                .log = say,
                                .remark = remark,
                                .state_fd = vmsig_rt_state_fd(rt),
                                .ud = a};
    a->host = vmsig_host_new(vmsig_rt_boot(rt)->endpoint, backend, vm, &env);
    if (!a->host) {
        backend->close(vm);
        vmsig_rt_fail(rt, "the host has no epoch page, or its record of effects cannot be mapped");
        return -EPROTO;
    }
    return 0;
}

/* What the predecessor published last may be a result that it did not come to note. */
static int link_added(void *self, vmsig_link *link) {
    host_actor *a = self;
    if (!link->output)
        return 0;
    a->up = link;
    if (link->old.n > 0 && link->old.last.s[0].kind == VMSIG_EV_RESULT)
        vmsig_host_answered(a->host, link->old.last.s[0].corr_merged);
    if (a->started)
        vmsig_host_flush(a->host);
    return 0;
}

static void link_removed(void *self, vmsig_link *link) {
    host_actor *a = self;
    if (a->up == link)
        a->up = NULL;
}

static void on_readable(void *ud, uint32_t events) {
    host_actor *a = ud;
    (void)events;
    if (source()->on_readable(a->host) < 0) {
        vmsig_rt_fail(a->rt, "the VM is gone: %s", vmsig_host_why(a->host, errno));
        vmsig_rt_quit(a->rt, 1);
    }
}

static int start(void *self) {
    host_actor *a = self;
    source()->set_emit_up(a->host, emit, a);
    a->started = true;
    if (source()->on_readable(a->host) < 0) {
        vmsig_rt_fail(a->rt, "the VM cannot be had: %s", vmsig_host_why(a->host, errno));
        return -EIO;
    }
    int fd = source()->fd(a->host);
    return fd < 0 ? 0 : vmsig_loop_add(vmsig_rt_loop(a->rt), fd, EPOLLIN, on_readable, a);
}

/* Every command that was taken has had its effect; there is nothing to drain. */
static void stop(void *self, uint64_t deadline_ns) {
    (void)deadline_ns;
    vmsig_rt_stopped(((host_actor *)self)->rt);
}

static int run(host_actor *a) {
    static const vmsig_rt_ops ops = {.boot = boot,
                                     .link_added = link_added,
                                     .link_removed = link_removed,
                                     .start = start,
                                     .consume = consume,
                                     .writable = writable,
                                     .stop = stop};
    int code = vmsig_rt_main(&ops, a);
    if (a->host)
        source()->close(a->host);
    return code;
}

int vmsig_host_actor_main(vmsig_host_make_fn make) {
    host_actor a = {.make = make};
    return run(&a);
}

int vmsig_host_actor_run(vmsig_host_adopt_fn adopt, void *given) {
    host_actor a = {.adopt = adopt, .given = given};
    return run(&a);
}
