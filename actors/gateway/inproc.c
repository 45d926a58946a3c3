/* inproc.c: the in-process reference control of vmsig_control.h: callbacks up, a call down. */
#include <errno.h>
#include <stdlib.h>

#include "vmsig_control.h"

static int fail(int error) {
    errno = error;
    return -1;
}

typedef struct inproc {
    vmsig_inproc_cfg cfg;
    int (*emit)(void *token, vmsig_event *);
    void *token;
} inproc;

static int no_fd(void *ctl) {
    (void)ctl;
    return -1;
}

static int subscribe(void *ctl, vmsig_sub *out) {
    if (!ctl || !out)
        return fail(EINVAL);
    *out = ((inproc *)ctl)->cfg.sub;
    return 0;
}

static int deliver(void *ctl, const vmsig_event *ev) {
    inproc *c = ctl;
    if (!c || !ev)
        return fail(EINVAL);
    return c->cfg.on_event(c->cfg.user, ev) < 0 ? -1 : 0;
}

static int nothing_to_read(void *ctl) {
    (void)ctl;
    return 0;
}

static void set_emit_down(void *ctl, int (*emit)(void *token, vmsig_event *), void *token) {
    inproc *c = ctl;
    if (!c)
        return;
    c->emit = emit;
    c->token = token;
}

static int attach_memctx(void *ctl, const vmsig_event *ev, int fd) {
    inproc *c = ctl;
    if (!c || !ev)
        return fail(EINVAL);
    return c->cfg.on_memctx && c->cfg.on_memctx(c->cfg.user, ev, fd) < 0 ? -1 : 0;
}

static const vmsig_control_ops ops = {
    .name = "in-process",
    .fd = no_fd,
    .subscribe = subscribe,
    .deliver = deliver,
    .on_readable = nothing_to_read,
    .set_emit_down = set_emit_down,
    .close = free,
    .attach_memctx = attach_memctx,
};

const vmsig_control_ops *vmsig_inproc_control_ops(void) {
    return &ops;
}

void *vmsig_inproc_control_new(const vmsig_inproc_cfg *cfg) {
    if (!cfg || !cfg->on_event) {
        errno = EINVAL;
        return NULL;
    }
    inproc *c = calloc(1, sizeof *c);
    if (c)
        c->cfg = *cfg;
    return c;
}

int vmsig_inproc_send(void *ctl, vmsig_event *down) {
    inproc *c = ctl;
    if (!c || !down)
        return fail(EINVAL);
    return c->emit ? c->emit(c->token, down) : fail(ENOTCONN);
}
