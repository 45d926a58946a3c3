/* vmsig-context: the transfer context as an actor: the relay, on the runtime's links. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/context/relay.h"
#include "actors/runtime/runtime.h"
#include "rings/shm.h"

typedef struct context {
    vmsig_rt *rt;
    vmsig_relay *relay;
    vmsig_state_head *state;
    vmsig_timer *due;      /* something matures */
    vmsig_timer *deadline; /* of a stop */
    uint64_t due_at;
    bool stopping, stopped;
} context;

/* ---- what the relay asks of its surroundings --------------------------------------------------------------- */

static uint64_t now(void *ud) {
    (void)ud;
    return vmsig_now_ns();
}

static uint32_t epoch(void *ud, uint32_t endpoint) {
    const context *c = ud;
    return vmsig_rt_epoch(c->rt, endpoint);
}

static void want_room(void *ud, vmsig_port *out, uint32_t slots) {
    context *c = ud;
    vmsig_rt_want_room(c->rt, out->ud, slots);
}

static void wake(void *ud, vmsig_port *in) {
    context *c = ud;
    vmsig_rt_wake_input(c->rt, in->ud);
}

/* ---- the end of a turn --------------------------------------------------------------------------------------- */

static void on_due(void *ud) { /* the turn that follows does the work */
    context *c = ud;
    c->due_at = 0;
}

static void arm(context *c) {
    uint64_t due = vmsig_relay_due(c->relay);
    if (due == c->due_at)
        return;
    c->due_at = due;
    vmsig_timer_set(c->due, due, 0);
}

static bool inputs_empty(const context *c) {
    unsigned n;
    vmsig_link *const *links = vmsig_rt_links(c->rt, &n);
    for (unsigned i = 0; i < n; i++)
        if (!links[i]->output && vmsig_ring_peek(&links[i]->in) != NULL)
            return false;
    return true;
}

static void stop_when_drained(context *c) {
    if (!c->stopping || c->stopped || vmsig_relay_queued(c->relay) != 0 || !inputs_empty(c))
        return;
    c->stopped = true;
    vmsig_rt_stopped(c->rt);
}

static void turn(void *self) {
    context *c = self;
    vmsig_relay_turn(c->relay);
    arm(c);
    stop_when_drained(c);
}

/* ---- boot ---------------------------------------------------------------------------------------------------- */

static int set_policies(context *c) {
    const Vmsig__Pb__Boot *boot = vmsig_rt_boot(c->rt);
    for (size_t i = 0; i < boot->n_policies; i++) {
        const Vmsig__Pb__Policy *p = boot->policies[i];
        vmsig_timing t = {p->min_gap_ns, p->coalesce_ns, p->max_inflight, (uint8_t)p->drop_policy};
        int err = vmsig_relay_set_policy(c->relay, p->source, (vmsig_dir)p->dir, p->prio, &t);
        if (err < 0) {
            vmsig_rt_fail(c->rt, "policy %zu (source %u) cannot be set: %s", i + 1, p->source, strerror(-err));
            return err;
        }
    }
    return 0;
}

static int open_state(context *c) {
    int fd = vmsig_rt_state_fd(c->rt);
    long long bytes = fd >= 0 ? vmsig_shm_size(fd) : -EBADF;
    bool fresh = false;
    int err = bytes < 0 ? (int)bytes
                        : vmsig_state_open(fd, VMSIG_RELAY_KIND, VMSIG_RELAY_VERSION, (size_t)bytes, &c->state, &fresh);
    vmsig_relay_env env = {now, epoch, want_room, wake, c};
    if (err == 0)
        err = vmsig_relay_new(c->state, (size_t)bytes, fresh, &env, &c->relay);
    if (err < 0)
        vmsig_rt_fail(c->rt, "cannot use the durable state (%lld bytes): %s", bytes, strerror(-err));
    return err;
}

static void on_deadline(void *ud) {
    context *c = ud;
    if (c->stopped)
        return;
    vmsig_rt_log(c->rt, "stopped with %u events still queued", vmsig_relay_queued(c->relay));
    c->stopped = true;
    vmsig_rt_stopped(c->rt);
}

static int boot(void *self, vmsig_rt *rt) {
    context *c = self;
    c->rt = rt;
    int err = open_state(c);
    if (err == 0)
        err = set_policies(c);
    if (err == 0)
        err = vmsig_timer_new(vmsig_rt_loop(rt), on_due, c, &c->due);
    if (err == 0)
        err = vmsig_timer_new(vmsig_rt_loop(rt), on_deadline, c, &c->deadline);
    return err;
}

static int start(void *self) {
    context *c = self;
    int err = vmsig_relay_start(c->relay);
    if (err < 0)
        vmsig_rt_fail(c->rt, "cannot recover the queue: %s", strerror(-err));
    else
        arm(c);
    return err;
}

/* ---- links --------------------------------------------------------------------------------------------------- */

static void resume(void *self, vmsig_link *l, uint64_t *cursor) {
    context *c = self;
    if (l->output)
        vmsig_relay_resume_out(c->relay, &l->old);
    else
        *cursor = vmsig_relay_resume_in(c->relay, l->id, *cursor);
}

static int link_added(void *self, vmsig_link *l) {
    context *c = self;
    vmsig_port *p = calloc(1, sizeof *p);
    if (p == NULL)
        return -ENOMEM;
    *p = (vmsig_port){.id = l->id,
                      .dir = l->dir,
                      .sensor = l->peer_kind == VMSIG__PB__ACTOR_KIND__KIND_SENSOR,
                      .host = l->peer_kind == VMSIG__PB__ACTOR_KIND__KIND_HOST,
                      .memctx = l->memctx && l->output && l->dir == VMSIG_DIR_DOWN,
                      .source = l->source,
                      .accepts = l->accepts,
                      .endpoints = l->endpoint_mask,
                      .out = l->output ? &l->out : NULL,
                      .in = l->output ? NULL : &l->in,
                      .ud = l};
    int err = vmsig_relay_add(c->relay, p);
    if (err < 0) {
        free(p);
        return err;
    }
    l->ud = p;
    return 0;
}

static void link_renewed(void *self, vmsig_link *l) {
    context *c = self;
    if (l->ud != NULL)
        vmsig_relay_renewed(c->relay, l->ud);
}

static void link_healed(void *self, vmsig_link *l) {
    context *c = self;
    if (l->ud != NULL)
        vmsig_relay_healed(c->relay, l->ud);
}

static void link_removed(void *self, vmsig_link *l) {
    context *c = self;
    if (l->ud == NULL)
        return;
    if (c->stopped)
        vmsig_relay_detach(c->relay, l->ud);
    else
        vmsig_relay_remove(c->relay, l->ud);
    free(l->ud);
    l->ud = NULL;
}

static unsigned consume(void *self, vmsig_link *in, unsigned budget) {
    context *c = self;
    return vmsig_relay_consume(c->relay, in->ud, budget);
}

static void writable(void *self, vmsig_link *out) {
    context *c = self;
    vmsig_relay_writable(c->relay, out->ud);
    arm(c);
    stop_when_drained(c);
}

/* Nothing is paced any more: what is queued goes out at once. */
static void stop(void *self, uint64_t deadline_ns) {
    context *c = self;
    c->stopping = true;
    for (uint32_t source = 0; source < VMSIG_SOURCES_MAX; source++)
        for (int dir = 0; dir < 2; dir++)
            vmsig_relay_set_policy(c->relay, source, (vmsig_dir)dir, VMSIG_PRIO_DEFAULT, NULL);
    vmsig_timer_set(c->deadline, deadline_ns, 0);
    turn(c);
}

int main(void) {
    static const vmsig_rt_ops ops = {.boot = boot,
                                     .resume = resume,
                                     .link_added = link_added,
                                     .link_renewed = link_renewed,
                                     .link_removed = link_removed,
                                     .link_healed = link_healed,
                                     .start = start,
                                     .consume = consume,
                                     .writable = writable,
                                     .turn = turn,
                                     .stop = stop};
    context c = {0};
    int code = vmsig_rt_main(&ops, &c);
    vmsig_relay_free(c.relay);
    vmsig_state_close(c.state);
    return code;
}
