/* A source (vmsig_source_ops) run as an actor. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "actors/runtime/actor.h"

typedef struct running {
    vmsig_actor *actor;
    const vmsig_source_ops *ops;
    void *src;
} running;

/* ---- up ---------------------------------------------------------------------------------------------- */

/* What a sensor is called on the bus, the topology says; what the source believes of itself holds where it stands alone
 * (vmsig_core). */
static int emit(void *token, vmsig_event *ev) {
    running *r = token;
    if (!ev) {
        errno = EINVAL;
        return -1;
    }
    const Vmsig__Pb__Boot *b = vmsig_rt_boot(r->actor->rt);
    if (b->kind == VMSIG__PB__ACTOR_KIND__KIND_SENSOR) {
        ev->endpoint = b->endpoint;
        ev->source = (uint8_t)b->source;
    }
    ev->dir = VMSIG_DIR_UP;
    if (vmsig_actor_emit(r->actor, ev) < 0)
        return -1;
    free(ev->payload); /* it is on the ring now */
    ev->payload = NULL;
    return 0;
}

static void on_readable(vmsig_actor *a, void *ud) {
    running *r = ud;
    errno = 0;
    if (r->ops->on_readable(r->src) == 0)
        return;
    int err = errno;
    if (err)
        vmsig_rt_fail(a->rt, "%s has ended: %s", r->ops->name, strerror(err));
    else
        vmsig_rt_log(a->rt, "%s has ended", r->ops->name);
    vmsig_actor_stop(a, err ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* ---- down -------------------------------------------------------------------------------------------- */

static int command(vmsig_actor *a, const vmsig_event *cmd, void *ud) {
    const running *r = ud;
    (void)a;
    if (!r->ops->command)
        return -ENODEV;
    errno = 0;
    int rc = r->ops->command(r->src, cmd);
    return rc >= 0 ? rc : errno ? -errno : -EINVAL;
}

static void on_memctx(vmsig_actor *a, const vmsig_event *ev, int fd, void *ud) {
    running *r = ud;
    if (r->ops->on_memctx(r->src, ev, fd) < 0)
        vmsig_rt_log(a->rt, "%s did not take the address-space context: %s", r->ops->name, strerror(errno));
}

/* ---- running ----------------------------------------------------------------------------------------- */

static int describe(running *r) {
    vmsig_source_info info = {0};
    if (!r->ops->describe || r->ops->describe(r->src, &info) == 0)
        return 0;
    vmsig_rt_fail(r->actor->rt, "%s cannot describe itself: %s", r->ops->name, strerror(errno));
    return -1;
}

static int watch_source(running *r) {
    int fd = r->ops->fd ? r->ops->fd(r->src) : -1;
    if (fd < 0 || !r->ops->on_readable || vmsig_actor_watch(r->actor, fd, on_readable, r) == 0)
        return 0;
    vmsig_rt_fail(r->actor->rt, "cannot watch the fd of %s: %s", r->ops->name, strerror(errno));
    return -1;
}

static int run(running *r) {
    if (describe(r) < 0 || watch_source(r) < 0)
        return EXIT_FAILURE;
    r->actor->command = command;
    r->actor->command_ud = r;
    if (r->ops->on_memctx)
        vmsig_actor_on_memctx(r->actor, on_memctx, r);
    if (r->ops->set_emit_up)
        r->ops->set_emit_up(r->src, emit, r);
    return vmsig_actor_run(r->actor);
}

int vmsig_actor_run_source(const vmsig_source_ops *ops, void *src) {
    if (!ops) {
        errno = EINVAL;
        return -1;
    }
    running r = {.ops = ops, .src = src, .actor = vmsig_actor_open()};
    int code = r.actor ? run(&r) : errno == ENOTCONN ? EX_USAGE : errno == ESHUTDOWN ? EXIT_SUCCESS : EXIT_FAILURE;
    if (ops->close)
        ops->close(src);
    vmsig_actor_free(r.actor);
    return code;
}
