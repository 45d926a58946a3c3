/* vmsig-gateway: the control gateway as an actor.
 *
 *   contexts ──rings──► gate ──► server ──socket──► controls
 *            ◄─rings──    └────► auditor ──► audit log
 *
 * options: owner (uid that may do everything where there is no grants file), command_ms, grace_ms,
 * audit_bytes (size at which a new file of the audit log is begun)
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "actors/gateway/auditor.h"
#include "actors/gateway/server.h"
#include "actors/runtime/runtime.h"
#include "rings/shm.h"

#define SEAL_MS         1000        /* what the disk has to take the end of the audit log */
#define RAM_DEADLINE_NS 1000000000u /* a RAM fd that was asked for */

typedef struct ram {
    uint32_t id;
    int fd; /* -1 = none */
    uint32_t asked_id;
    uint64_t asked_ns; /* 0 = not asked */
    bool late;         /* it was said */
} ram;

typedef struct gateway {
    vmsig_rt *rt;
    vmsig_state_head *state;
    vmsig_gate *gate;
    vmsig_server *server;
    vmsig_timer *timer, *audit_timer;
    vmsig_auditor *auditor; /* NULL = no audit log */
    vmsig_grants grants;
    bool has_grants;
    uint64_t endpoint_mask;
    const char *names[VMSIG_ENDPOINTS_MAX];
    uint64_t quiet_ns[VMSIG_ENDPOINTS_MAX];
    ram ram[VMSIG_ENDPOINTS_MAX];
} gateway;

/* ---- what the gate stands on --------------------------------------------------------------------------- */

static uint64_t env_now(void *ud) {
    (void)ud;
    return vmsig_now_ns();
}

static uint32_t env_epoch(void *ud, uint32_t endpoint) {
    return vmsig_rt_epoch(((gateway *)ud)->rt, endpoint);
}

static vmsig_fence_page *env_fences(void *ud) {
    return vmsig_rt_own_fences(((gateway *)ud)->rt);
}

static void env_log(void *ud, const char *text) {
    vmsig_rt_log(((gateway *)ud)->rt, "%s", text);
}

static void env_unquiet(void *ud, uint32_t endpoint) {
    const gateway *g = ud;
    int err = vmsig_rt_say_unquiet(g->rt, endpoint);
    if (err)
        vmsig_rt_log(g->rt, "cannot tell that endpoint %u does not become quiet: %s", endpoint, strerror(-err));
}

/* The link that takes an endpoint's commands. */
static vmsig_link *down_link(gateway *g, uint32_t endpoint) {
    unsigned n;
    vmsig_link *const *links = vmsig_rt_links(g->rt, &n);
    for (unsigned i = 0; i < n; i++)
        if (links[i]->output && links[i]->dir == VMSIG_DIR_DOWN && (links[i]->endpoint_mask >> endpoint & 1))
            return links[i];
    return NULL;
}

static int env_command(void *ud, const vmsig_event *cmd) {
    gateway *g = ud;
    vmsig_link *l = down_link(g, cmd->endpoint);
    if (!l)
        return -ENOENT;
    int err = vmsig_ring_put_event(&l->out, cmd);
    if (err == -EAGAIN)
        vmsig_rt_want_room(g->rt, l, VMSIG_SLOTS_MAX);
    return err;
}

static uint64_t env_mark(void *ud, uint32_t endpoint) {
    vmsig_link *l = down_link(ud, endpoint);
    return l ? vmsig_origin(l->id, l->out.tail) : vmsig_origin(UINT16_MAX, 0);
}

static bool env_published(void *ud, uint64_t mark) {
    gateway *g = ud;
    unsigned n;
    vmsig_link *const *links = vmsig_rt_links(g->rt, &n);
    for (unsigned i = 0; i < n; i++)
        if (links[i]->output && links[i]->id == vmsig_origin_link(mark))
            return links[i]->old.tail > vmsig_origin_position(mark);
    return false;
}

/* Asks once for a RAM fd that is not here. */
static int env_ram(void *ud, uint32_t endpoint, uint32_t ram_id) {
    gateway *g = ud;
    ram *r = &g->ram[endpoint];
    if (r->fd >= 0 && r->id == ram_id)
        return r->fd;
    if (r->asked_ns == 0 || r->asked_id != ram_id) {
        r->asked_id = ram_id;
        r->asked_ns = vmsig_now_ns();
        r->late = false;
        vmsig_rt_ask_ram(g->rt, endpoint, ram_id);
    } else if (!r->late && vmsig_now_ns() - r->asked_ns > RAM_DEADLINE_NS) {
        r->late = true;
        vmsig_rt_log(g->rt, "the RAM fd of endpoint %u did not come within 1 s: controls have no memctx of it",
                     endpoint);
    }
    return -1;
}

/* ---- boot ---------------------------------------------------------------------------------------------- */

static uint64_t option_ms(gateway *g, const char *key) {
    const char *v = vmsig_rt_option(g->rt, key);
    return v ? strtoull(v, NULL, 10) * 1000000u : 0;
}

static int read_grants(gateway *g) {
    const Vmsig__Pb__Boot *b = vmsig_rt_boot(g->rt);
    vmsig_conf_error err;
    g->has_grants = b->has_grants;
    if (!b->has_grants)
        return 0;
    if (vmsig_grants_parse("grants", (const char *)b->grants.data, b->grants.len, g->names, &g->grants, &err) == 0)
        return 0;
    vmsig_rt_fail(g->rt, "%s", err.text);
    return -EINVAL;
}

/* Read again: what is wrong changes nothing; what was narrowed binds at once. */
static void take_grants(void *self, const char *text, size_t len) {
    gateway *g = self;
    vmsig_grants now;
    vmsig_conf_error err;
    if (vmsig_grants_parse("grants", text, len, g->names, &now, &err) < 0) {
        vmsig_rt_log(g->rt, "%s: the former grants hold", err.text);
        return;
    }
    vmsig_grants former = g->grants;
    g->grants = now;
    g->has_grants = true;
    if (g->server)
        vmsig_server_regrant(g->server, &g->grants);
    vmsig_grants_free(&former);
}

static int open_state(gateway *g) {
    int fd = vmsig_rt_state_fd(g->rt);
    long long bytes = fd < 0 ? -EBADF : vmsig_shm_size(fd);
    bool fresh = false;
    int err = bytes < 0 ? (int)bytes
                        : vmsig_state_open(fd, VMSIG_GATE_KIND, VMSIG_GATE_VERSION, (size_t)bytes, &g->state, &fresh);
    if (err) {
        vmsig_rt_fail(g->rt, "cannot use its durable state: %s", strerror(-err));
        return err;
    }
    vmsig_gate_env env = {.now = env_now,
                          .epoch = env_epoch,
                          .command = env_command,
                          .mark = env_mark,
                          .published = env_published,
                          .ram = env_ram,
                          .fences = env_fences,
                          .log = env_log,
                          .unquiet = env_unquiet,
                          .endpoint_mask = g->endpoint_mask,
                          .command_ns = option_ms(g, "command_ms"),
                          .grace_ns = option_ms(g, "grace_ms"),
                          .retain_ns = option_ms(g, "retain_ms"),
                          .ud = g};
    memcpy(env.quiet_ns, g->quiet_ns, sizeof env.quiet_ns);
    err = vmsig_gate_new(g->state + 1, (size_t)bytes - sizeof *g->state, &env, &g->gate);
    if (err)
        vmsig_rt_fail(g->rt, "cannot set up the gate in %lld bytes of durable state: %s", bytes, strerror(-err));
    else if (fresh)
        vmsig_state_commit(g->state, VMSIG_GATE_KIND, VMSIG_GATE_VERSION, (size_t)bytes);
    return err;
}

static int boot(void *self, vmsig_rt *rt) {
    gateway *g = self;
    g->rt = rt;
    const Vmsig__Pb__Boot *b = vmsig_rt_boot(rt);
    for (uint32_t i = 0; i < VMSIG_ENDPOINTS_MAX; i++)
        g->ram[i].fd = -1;
    for (size_t i = 0; i < b->n_endpoints; i++) {
        uint32_t id = b->endpoints[i]->id;
        if (id >= VMSIG_ENDPOINTS_MAX)
            return -EINVAL;
        g->endpoint_mask |= 1ull << id;
        g->names[id] = b->endpoints[i]->name;
        g->quiet_ns[id] = b->endpoints[i]->quiet_ns;
    }
    int err = read_grants(g);
    return err ? err : open_state(g);
}

static void resume(void *self, vmsig_link *in, uint64_t *cursor) {
    uint64_t seq;
    vmsig_gate_accepted(((gateway *)self)->gate, in->id, cursor, &seq);
}

static void on_deadline(void *ud) {
    (void)ud; /* the turn that follows does what is due */
}

/* ---- audit --------------------------------------------------------------------------------------------- */

static void look_at_audit(gateway *g) {
    vmsig_timer_set(g->audit_timer, vmsig_auditor_look(g->auditor, vmsig_now_ns()), 0);
    if (g->server)
        vmsig_server_retry(g->server); /* a release that waited for what was held back */
}

static void on_audit_bell(void *ud, uint32_t events) {
    (void)events;
    look_at_audit(ud);
}

static void on_audit_timer(void *ud) {
    look_at_audit(ud);
}

static void audit_full(void *ud) {
    gateway *g = ud;
    int err = vmsig_rt_ask_audit(g->rt);
    if (err)
        vmsig_rt_log(g->rt, "cannot ask for the audit log's next file: %s", strerror(-err));
}

static void audit_state(void *ud, int error, const char *text) {
    gateway *g = ud;
    vmsig_rt_gauges(g->rt)->audit_error = error;
    vmsig_rt_log(g->rt, "%s", text);
}

static int open_audit(gateway *g) {
    const Vmsig__Pb__Boot *b = vmsig_rt_boot(g->rt);
    vmsig_audit_cfg cfg = {.fd = vmsig_rt_fd(g->rt, VMSIG__PB__FD_KIND__FD_AUDIT),
                           .prev_fd = vmsig_rt_fd(g->rt, VMSIG__PB__FD_KIND__FD_AUDIT_PREV),
                           .seal_fd = vmsig_rt_fd(g->rt, VMSIG__PB__FD_KIND__FD_AUDIT_SEAL),
                           .gateway = b->name,
                           .incarnation = b->incarnation,
                           .full = audit_full,
                           .state = audit_state,
                           .ud = g};
    const char *bytes = vmsig_rt_option(g->rt, "audit_bytes");
    char why[256];
    if (cfg.fd < 0)
        return 0;
    cfg.segment_bytes = bytes ? strtoull(bytes, NULL, 10) : 0;
    signal(SIGXFSZ, SIG_IGN); /* a limit of its size is a full disk */
    int err = vmsig_timer_new(vmsig_rt_loop(g->rt), on_audit_timer, g, &g->audit_timer);
    if (!err && (err = vmsig_auditor_new(g->gate, &cfg, &g->auditor, why)) != 0)
        vmsig_rt_fail(g->rt, "%s", why);
    return err ? err : vmsig_loop_add(vmsig_rt_loop(g->rt), vmsig_auditor_fd(g->auditor), EPOLLIN, on_audit_bell, g);
}

/* The supervisor's answer to audit_full. */
static void take_fd(void *self, Vmsig__Pb__FdKind kind) {
    gateway *g = self;
    if (kind == VMSIG__PB__FD_KIND__FD_AUDIT && g->auditor &&
        vmsig_auditor_next(g->auditor, vmsig_rt_fd(g->rt, kind)) == 0)
        look_at_audit(g);
}

/* ---- start --------------------------------------------------------------------------------------------- */

static int start_server(gateway *g) {
    const char *owner = vmsig_rt_option(g->rt, "owner");
    vmsig_server_cfg cfg = {.loop = vmsig_rt_loop(g->rt),
                            .gate = g->gate,
                            .listen_fd = vmsig_rt_fd(g->rt, VMSIG__PB__FD_KIND__FD_LISTEN),
                            .lineage = vmsig_rt_boot(g->rt)->lineage,
                            .grants = g->has_grants ? &g->grants : NULL,
                            .owner = owner ? (uint32_t)strtoul(owner, NULL, 10) : geteuid(),
                            .endpoint_mask = g->endpoint_mask,
                            .log = env_log,
                            .ud = g};
    memcpy(cfg.names, g->names, sizeof cfg.names);
    if (cfg.listen_fd < 0) {
        vmsig_rt_fail(g->rt, "was given no listening socket");
        return -EBADF;
    }
    int err = vmsig_server_new(&cfg, &g->server);
    if (err)
        vmsig_rt_fail(g->rt, "cannot serve the control socket: %s", strerror(-err));
    return err;
}

/* ---- traffic ------------------------------------------------------------------------------------------- */

/* An image that nobody packs: told in its place. */
static vmsig_event told_as_lost(const vmsig_slot *s) {
    vmsig_lost lost = {.count = 1, .source = vmsig_slot_source(s), .why = VMSIG_LOST_POISON};
    vmsig_event ev = {.kind = VMSIG_EV_LOST,
                      .endpoint = vmsig_slot_endpoint(s),
                      .epoch = s->epoch,
                      .seq = s->seq_lo,
                      .merged = 1,
                      .inln_len = sizeof lost};
    memcpy(ev.inln, &lost, sizeof lost);
    return ev;
}

/* The peeked event, into the gate. */
static void take(gateway *g, vmsig_link *in) {
    vmsig_image img;
    vmsig_event ev;
    uint64_t position, last_seq = 0;
    uint32_t n = vmsig_ring_copy(&in->in, &img), len = 0;
    const void *body = vmsig_ring_body(&in->in, &img, &len);
    if (vmsig_image_unpack(&ev, &img) == 0) {
        ev.payload = (void *)(uintptr_t)body;
        ev.payload_len = body ? len : 0;
    } else {
        ev = told_as_lost(&img.s[0]);
    }
    if (!vmsig_gate_accepted(g->gate, in->id, &position, &last_seq))
        last_seq = 0;
    ev.seq = vmsig_seq_near(last_seq, (uint32_t)ev.seq);
    if (vmsig_gate_take(g->gate, in->id, in->in.cursor + n, &ev) == -EINVAL)
        vmsig_rt_log(g->rt, "%s sent an event of kind %u, which only the gateway sends: not taken", in->peer, ev.kind);
}

/* What a context published behind its nonsense is lost. */
static void link_healed(void *self, vmsig_link *in) {
    gateway *g = self;
    uint64_t position, last_seq = 0;
    vmsig_slot s = {.route = (uint8_t)(in->endpoint_mask ? __builtin_ctzll(in->endpoint_mask) : 0)};
    vmsig_event ev = told_as_lost(&s);
    vmsig_gate_accepted(g->gate, in->id, &position, &last_seq);
    ev.seq = last_seq;
    if (!in->output && vmsig_gate_take(g->gate, in->id, in->in.cursor, &ev))
        vmsig_rt_log(g->rt, "that events of %s are lost could not be told", in->peer);
}

static unsigned consume(void *self, vmsig_link *in, unsigned budget) {
    unsigned n = 0;
    while (n < budget && vmsig_ring_peek(&in->in)) {
        take(self, in);
        vmsig_ring_advance(&in->in);
        n++;
    }
    return n;
}

static void writable(void *self, vmsig_link *out) {
    (void)out;
    vmsig_server_retry(((gateway *)self)->server);
}

static void take_ram(void *self, uint32_t endpoint, uint32_t ram_id, int fd) {
    gateway *g = self;
    int mine = endpoint < VMSIG_ENDPOINTS_MAX ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (mine < 0)
        return;
    ram *r = &g->ram[endpoint];
    if (r->fd >= 0)
        close(r->fd);
    r->fd = mine;
    r->id = ram_id;
    r->asked_ns = 0;
}

static void turn(void *self) {
    gateway *g = self;
    if (!g->server)
        return;
    for (int round = 0; round < 4; round++) {
        vmsig_gate_turn(g->gate);
        vmsig_server_flush(g->server);
        if (g->auditor && vmsig_auditor_busy(g->auditor))
            look_at_audit(g);
        if (!vmsig_gate_busy(g->gate))
            break;
    }
    vmsig_timer_set(g->timer, vmsig_gate_busy(g->gate) ? 1 : vmsig_gate_deadline(g->gate), 0);
}

static int start(void *self) {
    gateway *g = self;
    int err = vmsig_timer_new(vmsig_rt_loop(g->rt), on_deadline, g, &g->timer);
    if (!err)
        err = open_audit(g);
    if (!err)
        err = vmsig_gate_start(g->gate);
    if (!err)
        err = start_server(g);
    if (!err)
        turn(g);
    return err;
}

/* Admission ends first; leases end with their connections, and the hosts are told to let go. */
static void stop(void *self, uint64_t deadline_ns) {
    gateway *g = self;
    (void)deadline_ns;
    const char *failed = vmsig_rt_failed(g->rt);
    if (failed) {
        vmsig_gate_failed(g->gate, failed);
        vmsig_gate_turn(g->gate);
        vmsig_server_flush(g->server);
    }
    vmsig_server_free(g->server);
    g->server = NULL;
    vmsig_gate_turn(g->gate);
    if (g->auditor) {
        vmsig_loop_remove(vmsig_rt_loop(g->rt), vmsig_auditor_fd(g->auditor));
        vmsig_auditor_free(g->auditor, SEAL_MS);
        g->auditor = NULL;
    }
    vmsig_rt_stopped(g->rt);
}

static const vmsig_rt_ops ops = {
    .boot = boot,
    .resume = resume,
    .start = start,
    .link_healed = link_healed,
    .consume = consume,
    .writable = writable,
    .ram = take_ram,
    .fd = take_fd,
    .grants = take_grants,
    .turn = turn,
    .stop = stop,
};

int main(void) {
    static gateway self;
    return vmsig_rt_main(&ops, &self); /* what it had lives in the state, or goes with the process */
}
