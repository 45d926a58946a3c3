/* Everything in one process: the stub, sensors and controls around vmsig_core. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input-event-codes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "actors/runtime/loop.h"
#include "vmsig_core.h"
#include "vmsig_memwatch.h"
#include "vmsig_stub.h"

#define DEADLINE_NS 10000000000ull
#define SEEN        512

/* ---- an in-process control that keeps what it sees --------------------------------------------------- */

typedef struct eye {
    void *ctl;
    int id;
    vmsig_event ev[SEEN]; /* payloads dropped */
    int n, memctx_n;
    vmsig_event memctx;
    int memctx_fd;
    vmsig_memview *view;
    uint64_t corr, token;
} eye;

static int saw(void *user, const vmsig_event *ev) {
    eye *e = user;
    cr_assert_lt(e->n, SEEN);
    e->ev[e->n] = *ev;
    e->ev[e->n++].payload = NULL;
    return 0;
}

static int saw_memctx(void *user, const vmsig_event *ev, int fd) {
    eye *e = user;
    e->memctx_n++;
    e->memctx = *ev;
    e->memctx_fd = fd;
    vmsig_memview_close(e->view);
    e->view = vmsig_memview_open(ev, fd);
    cr_expect_not_null(e->view);
    return 0;
}

static const vmsig_sub all = {.source_mask = UINT32_MAX, .endpoint_mask = UINT64_MAX};

static void attach(vmsig_core *core, eye *e, uint32_t caps, uint64_t endpoints, uint32_t priority) {
    *e = (eye){.memctx_fd = -1};
    const vmsig_inproc_cfg cfg = {.on_event = saw, .user = e, .sub = all, .on_memctx = saw_memctx};
    e->ctl = vmsig_inproc_control_new(&cfg);
    cr_assert_not_null(e->ctl);
    e->id = vmsig_core_add_control(core, vmsig_inproc_control_ops(), e->ctl);
    cr_assert_geq(e->id, 0);
    if (caps) {
        const vmsig_grant g = {
            .principal = 1000 + (uint32_t)e->id, .endpoint_mask = endpoints, .caps = caps, .priority = priority};
        cr_assert_eq(vmsig_core_set_grant(core, e->id, &g), 0);
    }
}

static int count(const eye *e, uint8_t kind) {
    int n = 0;
    for (int i = 0; i < e->n; i++)
        n += e->ev[i].kind == kind;
    return n;
}

static const vmsig_event *last(const eye *e, uint8_t kind) {
    for (int i = e->n - 1; i >= 0; i--)
        if (e->ev[i].kind == kind)
            return &e->ev[i];
    return NULL;
}

/* Steps until the condition holds. */
#define UNTIL(core, condition)                                                                                         \
    do {                                                                                                               \
        uint64_t end_ns_ = vmsig_now_ns() + DEADLINE_NS;                                                               \
        while (!(condition)) {                                                                                         \
            cr_assert_lt(vmsig_now_ns(), end_ns_, "never: %s", #condition);                                            \
            cr_assert_geq(vmsig_core_step(core, 20), 0);                                                               \
        }                                                                                                              \
    } while (0)

static int status_of(const eye *e, uint64_t corr, uint64_t *detail) {
    int status = -1;
    for (int i = 0; i < e->n; i++) {
        vmsig_result r;
        if (e->ev[i].kind != VMSIG_EV_RESULT || e->ev[i].corr != corr)
            continue;
        memcpy(&r, e->ev[i].inln, sizeof r);
        cr_expect_eq(status, -1, "one result for each command");
        status = r.status;
        if (detail)
            *detail = r.detail;
    }
    return status;
}

/* Sends and waits for the result. */
static int call(vmsig_core *core, eye *e, uint8_t kind, const void *body, size_t len, uint32_t endpoint,
                uint64_t *detail) {
    vmsig_event cmd = {.kind = kind,
                       .endpoint = endpoint,
                       .corr = ++e->corr,
                       .token = e->token,
                       .merged = 1,
                       .dir = VMSIG_DIR_DOWN,
                       .inln_len = (uint32_t)len};
    memcpy(cmd.inln, body, len);
    cr_assert_eq(vmsig_inproc_send(e->ctl, &cmd), 0);
    UNTIL(core, status_of(e, e->corr, NULL) >= 0);
    return status_of(e, e->corr, detail);
}

static int lease(vmsig_core *core, eye *e, uint32_t op, uint32_t cls, uint32_t flags) {
    vmsig_lease l = {.op = op, .cls = cls, .ttl_ms = 60000, .flags = flags};
    uint64_t detail = 0;
    uint64_t token = e->token;
    e->token = 0;
    int before = count(e, VMSIG_EV_LEASE);
    int status = call(core, e, VMSIG_CMD_LEASE, &l, sizeof l, 0, &detail);
    (void)before;
    e->token = status == VMSIG_OK && op == VMSIG_LEASE_ACQUIRE ? detail : token;
    return status;
}

static int key(vmsig_core *core, eye *e, uint16_t code, uint8_t down) {
    vmsig_input in = {.type = VMSIG_INPUT_KEY, .down = down, .code = code};
    return call(core, e, VMSIG_CMD_INPUT, &in, sizeof in, 0, NULL);
}

static int op(vmsig_core *core, eye *e, uint8_t kind, uint32_t what) {
    return call(core, e, kind, &what, sizeof what, 0, NULL);
}

static void add_stub(vmsig_core *core, uint32_t endpoint, uint32_t hz) {
    const vmsig_stub_cfg cfg = {.memory = 4u << 20, .hz = hz};
    const vmsig_source_ops *ops;
    void *src;
    cr_assert_eq(vmsig_stub_open(endpoint, &cfg, &ops, &src), 0);
    cr_assert_geq(vmsig_core_add_source(core, ops, src), 0);
}

static uint64_t read64(const eye *e, uint64_t va) {
    uint64_t v = 0;
    cr_expect_eq(vmsig_memview_read_virt(e->view, va, &v, 8), 0);
    return v;
}

/* ---- a plain sensor and a plain input source ---------------------------------------------------------- */

typedef struct plain {
    vmsig_source_info info;
    int (*emit)(void *token, vmsig_event *ev);
    void *token;
    int commands, answer, error, fd;
    bool closed;
    vmsig_event got;
} plain;

static int plain_describe(void *src, vmsig_source_info *out) {
    *out = ((plain *)src)->info;
    return 0;
}

static void plain_emit(void *src, int (*emit)(void *token, vmsig_event *), void *token) {
    ((plain *)src)->emit = emit;
    ((plain *)src)->token = token;
}

static int plain_command(void *src, const vmsig_event *cmd) {
    plain *p = src;
    p->commands++;
    p->got = *cmd;
    errno = p->error;
    return p->answer;
}

static void plain_close(void *src) {
    ((plain *)src)->closed = true;
}

static const vmsig_source_ops plain_ops = {.name = "plain",
                                           .describe = plain_describe,
                                           .set_emit_up = plain_emit,
                                           .command = plain_command,
                                           .close = plain_close};

static int say(plain *p, uint8_t kind, uint32_t value) {
    vmsig_event ev = {.kind = kind, .inln_len = 4};
    memcpy(ev.inln, &value, 4);
    return p->emit(p->token, &ev);
}

/* ---- grants ------------------------------------------------------------------------------------------ */

Test(core, a_control_without_a_grant_sees_and_sends_nothing) {
    vmsig_core *core = vmsig_core_new();
    eye mute, open;
    attach(core, &mute, 0, 0, 0);
    attach(core, &open, VMSIG_CAP_OBSERVE | VMSIG_CAP_MEMCTX, UINT64_MAX, 0);
    add_stub(core, 0, 0);
    UNTIL(core, open.memctx_n > 0);
    cr_expect_eq(mute.n, 0);
    cr_expect_eq(mute.memctx_n, 0);
    vmsig_event cmd = {.kind = VMSIG_CMD_VM, .inln_len = 4, .inln = {VMSIG_VM_QUERY}, .corr = 1};
    cr_expect_eq(vmsig_inproc_send(mute.ctl, &cmd), -1);
    cr_expect_eq(errno, EACCES);
    const vmsig_grant retired = {.endpoint_mask = 1, .caps = VMSIG_CAP_OBSERVE | 0x10};
    cr_expect_eq(vmsig_core_set_grant(core, mute.id, &retired), -1);
    cr_expect_eq(errno, EINVAL);
    cr_expect_eq(vmsig_core_set_grant(core, 99, &retired), -1);
    vmsig_memview_close(open.view);
    vmsig_core_free(core);
}

Test(core, a_control_of_one_endpoint_gets_nothing_of_the_other) {
    vmsig_core *core = vmsig_core_new();
    eye one;
    attach(core, &one, VMSIG_CAP_ALL, 1ull << 1, 0);
    add_stub(core, 0, 0);
    add_stub(core, 1, 0);
    UNTIL(core, one.memctx_n > 0);
    for (int i = 0; i < one.n; i++)
        cr_expect(one.ev[i].endpoint == 1 || one.ev[i].kind == VMSIG_EV_SNAPSHOT_END, "kind %u", one.ev[i].kind);
    cr_expect_eq(one.memctx.endpoint, 1u);
    uint32_t query = VMSIG_VM_QUERY;
    cr_expect_eq(call(core, &one, VMSIG_CMD_VM, &query, 4, 0, NULL), VMSIG_NOCAP);
    cr_expect_eq(call(core, &one, VMSIG_CMD_VM, &query, 4, 1, NULL), VMSIG_OK);
    vmsig_memview_close(one.view);
    vmsig_core_free(core);
}

/* ---- the way of a key -------------------------------------------------------------------------------- */

Test(core, memctx_with_fd_lease_key_and_the_key_seen_in_ram) {
    vmsig_core *core = vmsig_core_new();
    eye e;
    attach(core, &e, VMSIG_CAP_ALL, 1, 0);
    add_stub(core, 0, 0);
    const vmsig_memwatch_place place = {.addr = VMSIG_STUB_INPUT + 8, .size = 8};
    const vmsig_source_ops *ops;
    void *src;
    cr_assert_eq(vmsig_memwatch_open(0, 9, &place, 1, 1000, &ops, &src), 0);
    cr_assert_geq(vmsig_core_add_source(core, ops, src), 0);
    UNTIL(core, e.memctx_n > 0);
    UNTIL(core, count(&e, VMSIG_EV_MEMWATCH) == 1);
    cr_expect_eq(read64(&e, VMSIG_STUB_USER(VMSIG_STUB_INFO)), VMSIG_STUB_MAGIC);
    cr_expect_eq(fcntl(e.memctx_fd, F_GETFL) & O_ACCMODE, O_RDONLY);

    cr_expect_eq(key(core, &e, KEY_A, 1), VMSIG_NOLEASE);
    cr_expect_eq(lease(core, &e, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0), VMSIG_OK);
    cr_expect_eq(key(core, &e, KEY_A, 1), VMSIG_OK);
    UNTIL(core, count(&e, VMSIG_EV_MEMWATCH) == 2);
    const vmsig_event *ev = last(&e, VMSIG_EV_MEMWATCH);
    vmsig_input in;
    memcpy(&in, ev->inln + sizeof(vmsig_memwatch) + 8, sizeof in);
    cr_expect_eq(in.code, KEY_A);
    cr_expect_eq(in.down, 1);
    cr_expect_eq(ev->source, 9);
    vmsig_memview_close(e.view);
    vmsig_core_free(core);
}

Test(core, preemption_lets_go_of_held_keys_before_the_grant) {
    vmsig_core *core = vmsig_core_new();
    eye low, high;
    attach(core, &low, VMSIG_CAP_ALL, 1, 1);
    attach(core, &high, VMSIG_CAP_ALL, 1, 2);
    add_stub(core, 0, 0);
    UNTIL(core, low.memctx_n > 0 && high.memctx_n > 0);
    cr_expect_eq(lease(core, &low, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0), VMSIG_OK);
    cr_expect_eq(key(core, &low, KEY_LEFTCTRL, 1), VMSIG_OK);
    cr_expect_eq(lease(core, &high, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0), VMSIG_OK);
    uint8_t keys = 0xff;
    cr_expect_eq(vmsig_memview_read_phys(
                     high.view, VMSIG_STUB_INPUT + offsetof(vmsig_stub_input, keys) + KEY_LEFTCTRL / 8, &keys, 1),
                 0);
    cr_expect_eq(keys, 0);
    cr_expect_eq(key(core, &low, KEY_A, 1), VMSIG_FENCED);
    cr_expect_eq(key(core, &high, KEY_A, 1), VMSIG_OK);
    cr_expect_eq(lease(core, &low, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0), VMSIG_HELD);
    vmsig_memview_close(low.view);
    vmsig_memview_close(high.view);
    vmsig_core_free(core);
}

Test(core, memory_writes_go_through_the_bus_with_their_payload) {
    vmsig_core *core = vmsig_core_new();
    eye e;
    attach(core, &e, VMSIG_CAP_ALL, 1, 0);
    add_stub(core, 0, 0);
    UNTIL(core, e.memctx_n > 0);
    cr_expect_eq(lease(core, &e, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_MEMWRITE, 0), VMSIG_OK);
    vmsig_memwrite w = {
        .addr = VMSIG_STUB_USER(VMSIG_STUB_SCRATCH), .value = 77, .size = 8, .flags = VMSIG_MEMWRITE_VIRTUAL};
    cr_expect_eq(call(core, &e, VMSIG_CMD_MEMWRITE, &w, sizeof w, 0, NULL), VMSIG_OK);
    cr_expect_eq(read64(&e, VMSIG_STUB_USER(VMSIG_STUB_SCRATCH)), 77u);
    cr_expect_eq(op(core, &e, VMSIG_CMD_VM, VMSIG_VM_STOP), VMSIG_OK);
    char text[] = "a longer text than one word";
    vmsig_memwrite l = {.addr = VMSIG_STUB_SCRATCH, .size = sizeof text};
    vmsig_event cmd = {.kind = VMSIG_CMD_MEMWRITE,
                       .corr = ++e.corr,
                       .token = e.token,
                       .inln_len = sizeof l,
                       .payload = text,
                       .payload_len = sizeof text};
    memcpy(cmd.inln, &l, sizeof l);
    cr_assert_eq(vmsig_inproc_send(e.ctl, &cmd), 0);
    UNTIL(core, status_of(&e, e.corr, NULL) >= 0);
    cr_expect_eq(status_of(&e, e.corr, NULL), VMSIG_OK);
    char got[sizeof text];
    cr_expect_eq(vmsig_memview_read_phys(e.view, VMSIG_STUB_SCRATCH, got, sizeof got), 0);
    cr_expect_str_eq(got, text);
    vmsig_memview_close(e.view);
    vmsig_core_free(core);
}

/* ---- epochs ------------------------------------------------------------------------------------------ */

static int index_of(const eye *e, uint8_t kind, uint32_t epoch) {
    for (int i = 0; i < e->n; i++)
        if (e->ev[i].kind == kind && e->ev[i].epoch == epoch)
            return i;
    return -1;
}

Test(epochs, a_reset_voids_the_address_space_and_the_leases_and_a_new_root_follows) {
    vmsig_core *core = vmsig_core_new();
    eye e;
    attach(core, &e, VMSIG_CAP_ALL, 1, 0);
    add_stub(core, 0, 0);
    UNTIL(core, e.memctx_n == 1);
    uint32_t epoch = e.memctx.epoch;
    cr_expect_eq(lease(core, &e, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_POWER, 0), VMSIG_OK);
    cr_expect_eq(op(core, &e, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESET), VMSIG_OK);
    UNTIL(core, e.memctx_n == 2);
    cr_expect_eq(e.memctx.epoch, epoch + 1);
    cr_expect_eq(count(&e, VMSIG_EV_MEMCTX_INVALID), 1);
    UNTIL(core, count(&e, VMSIG_EV_EPOCH_END) > 0);
    cr_expect_eq(index_of(&e, VMSIG_EV_EPOCH_END, epoch) >= 0, 1);
    cr_expect_lt(index_of(&e, VMSIG_EV_EPOCH_END, epoch), index_of(&e, VMSIG_EV_VMHOST, epoch + 1));
    cr_expect_eq(op(core, &e, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESET), VMSIG_FENCED,
                 "the lease ended with the epoch");
    vmsig_memview_close(e.view);
    vmsig_core_free(core);
}

static int ram_fd(size_t bytes) {
    int fd = memfd_create("ram", MFD_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(ftruncate(fd, (off_t)bytes), 0);
    return fd;
}

Test(epochs, an_address_space_that_is_published_is_retained_for_late_controls_until_the_epoch_ends) {
    vmsig_core *core = vmsig_core_new();
    const vmsig_memctx ctx = {.root = 0x1000, .ram_id = 4, .low = 8192};
    const vmsig_seg seg = {0, 8192, 0};
    int fd = ram_fd(8192);
    cr_assert_eq(vmsig_core_publish_memctx(core, 3, &ctx, &seg, 1, fd), 0);
    eye late, later, latest;
    cr_expect_geq(vmsig_core_step(core, 0), 0);
    attach(core, &late, VMSIG_CAP_OBSERVE | VMSIG_CAP_MEMCTX, UINT64_MAX, 0);
    UNTIL(core, late.memctx_n == 1 && count(&late, VMSIG_EV_SNAPSHOT_END) == 1);
    cr_expect_eq(late.memctx.flags & VMSIG_EVF_SNAPSHOT, VMSIG_EVF_SNAPSHOT);
    cr_expect_eq(fcntl(late.memctx_fd, F_GETFL) & O_ACCMODE, O_RDONLY, "though a writable one was handed in");
    attach(core, &later, VMSIG_CAP_OBSERVE, UINT64_MAX, 0);
    UNTIL(core, count(&later, VMSIG_EV_SNAPSHOT_END) == 1);
    cr_expect_eq(later.memctx_n, 0, "without the capability there is none");

    cr_assert_eq(vmsig_core_bump_epoch(core, 3), 0);
    UNTIL(core, count(&late, VMSIG_EV_MEMCTX_INVALID) == 1);
    attach(core, &latest, VMSIG_CAP_OBSERVE | VMSIG_CAP_MEMCTX, UINT64_MAX, 0);
    UNTIL(core, count(&latest, VMSIG_EV_SNAPSHOT_END) == 1);
    cr_expect_eq(latest.memctx_n, 0);
    cr_assert_eq(vmsig_core_publish_memctx(core, 3, &ctx, &seg, 1, fd), 0);
    UNTIL(core, late.memctx_n == 2 && latest.memctx_n == 1);
    cr_expect_eq(latest.memctx.epoch, late.memctx.epoch);
    close(fd);
    vmsig_memview_close(late.view);
    vmsig_memview_close(latest.view);
    vmsig_core_free(core);
}

Test(epochs, what_cannot_be_published_changes_nothing) {
    vmsig_core *core = vmsig_core_new();
    eye e;
    attach(core, &e, VMSIG_CAP_ALL, UINT64_MAX, 0);
    const vmsig_memctx ctx = {.root = 0x1000, .ram_id = 4};
    const vmsig_seg good = {0, 8192, 0}, large = {0, 12288, 0};
    int fd = ram_fd(8192);
    errno = 0;
    cr_expect_eq(vmsig_core_publish_memctx(core, 64, &ctx, &good, 1, fd), -1);
    cr_expect_eq(errno, EINVAL);
    cr_expect_eq(vmsig_core_publish_memctx(core, 0, NULL, &good, 1, fd), -1);
    cr_expect_eq(vmsig_core_publish_memctx(core, 0, &ctx, NULL, 1, fd), -1);
    cr_expect_eq(vmsig_core_publish_memctx(core, 0, &ctx, &large, 1, fd), -1);
    cr_expect_eq(vmsig_core_publish_memctx(core, 0, &ctx, &good, -1, fd), -1);
    cr_expect_eq(vmsig_core_publish_memctx(core, 0, &ctx, &good, 1, -1), -1);
    cr_expect_eq(errno, EBADF);
    cr_expect_eq(vmsig_core_bump_epoch(core, 64), -1);
    cr_expect_eq(errno, EINVAL);
    add_stub(core, 0, 0);
    cr_expect_eq(vmsig_core_publish_memctx(core, 0, &ctx, &good, 1, fd), -1);
    cr_expect_eq(errno, EBUSY);
    cr_expect_eq(vmsig_core_bump_epoch(NULL, 0), -1);
    UNTIL(core, e.memctx_n == 1);
    close(fd);
    vmsig_memview_close(e.view);
    vmsig_core_free(core);
}

/* ---- sources ----------------------------------------------------------------------------------------- */

Test(sources, what_a_sensor_leaves_open_is_filled_in_and_its_name_is_its_own) {
    vmsig_core *core = vmsig_core_new();
    eye e;
    plain p = {.info = {.source = 12, .endpoint = 2}};
    attach(core, &e, VMSIG_CAP_OBSERVE, UINT64_MAX, 0);
    cr_assert_geq(vmsig_core_add_source(core, &plain_ops, &p), 0);
    vmsig_event ev = {.kind = 70, .source = 3, .endpoint = 9};
    cr_expect_eq(p.emit(p.token, &ev), 0);
    UNTIL(core, count(&e, 70) == 1);
    const vmsig_event *got = last(&e, 70);
    cr_expect_eq(got->source, 12);
    cr_expect_eq(got->endpoint, 2u);
    cr_expect_eq(got->merged, 1u);
    cr_expect_gt(got->ts_ns, 0u);
    cr_expect_gt(got->epoch, 0u);
    cr_expect_eq(p.emit(p.token, NULL), -1);
    vmsig_core_free(core);
    cr_expect(p.closed);
    cr_expect_null(p.emit, "the hook is taken back");
}

Test(sources, commands_find_who_takes_them_and_are_answered_once) {
    vmsig_core *core = vmsig_core_new();
    eye e;
    plain p = {.info = {.source = 12, .endpoint = 0, .accepts = 1u << (VMSIG_CMD_INPUT - 32)}};
    attach(core, &e, VMSIG_CAP_ALL, 1, 0);
    uint32_t query = VMSIG_VM_QUERY;
    cr_expect_eq(call(core, &e, VMSIG_CMD_VM, &query, 4, 0, NULL), VMSIG_UNAVAILABLE, "nobody there");
    cr_assert_geq(vmsig_core_add_source(core, &plain_ops, &p), 0);
    cr_expect_eq(lease(core, &e, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0), VMSIG_OK);
    cr_expect_eq(key(core, &e, KEY_A, 1), VMSIG_OK, "0 is an OK");
    cr_expect_eq(p.commands, 1);
    cr_expect_eq(p.got.kind, VMSIG_CMD_INPUT);
    p.answer = -1;
    p.error = EINVAL;
    cr_expect_eq(key(core, &e, KEY_A, 1), VMSIG_INVALID);
    p.error = EAGAIN;
    cr_expect_eq(key(core, &e, KEY_A, 1), VMSIG_UNAVAILABLE);
    p.answer = 1; /* its result follows */
    vmsig_input in = {.type = VMSIG_INPUT_KEY, .down = 1, .code = KEY_B};
    vmsig_event cmd = {.kind = VMSIG_CMD_INPUT, .corr = ++e.corr, .token = e.token, .inln_len = sizeof in};
    memcpy(cmd.inln, &in, sizeof in);
    cr_assert_eq(vmsig_inproc_send(e.ctl, &cmd), 0);
    UNTIL(core, p.commands == 4);
    for (int i = 0; i < 3; i++)
        vmsig_core_step(core, 0);
    cr_expect_eq(status_of(&e, e.corr, NULL), -1);
    vmsig_result r = {.status = VMSIG_PARTIAL};
    vmsig_event res = {.kind = VMSIG_EV_RESULT, .corr = p.got.corr, .inln_len = sizeof r};
    memcpy(res.inln, &r, sizeof r);
    cr_expect_eq(p.emit(p.token, &res), 0);
    UNTIL(core, status_of(&e, e.corr, NULL) >= 0);
    cr_expect_eq(status_of(&e, e.corr, NULL), VMSIG_PARTIAL);
    uint32_t stop = VMSIG_VM_STOP;
    cr_expect_eq(call(core, &e, VMSIG_CMD_VM, &stop, 4, 0, NULL), VMSIG_UNAVAILABLE, "it takes input only");
    vmsig_core_free(core);
}

/* A source that is no host: its effects are waited for, its keys let go, before another has the lease. */
Test(sources, a_lease_passes_on_only_when_a_plain_source_is_quiet_and_neutral) {
    plain p = {.info = {VMSIG_SRC_INPUT, 0, 1}, .answer = 1};
    vmsig_core *core = vmsig_core_new();
    cr_assert_geq(vmsig_core_add_source(core, &plain_ops, &p), 0);
    eye a, b;
    attach(core, &a, VMSIG_CAP_ALL, 1, 1);
    attach(core, &b, VMSIG_CAP_ALL, 1, 2);
    cr_assert_eq(lease(core, &a, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0), VMSIG_OK);
    vmsig_input in = {.type = VMSIG_INPUT_KEY, .down = 1, .code = KEY_A};
    vmsig_event cmd = {.kind = VMSIG_CMD_INPUT, .corr = ++a.corr, .token = a.token, .inln_len = sizeof in};
    memcpy(cmd.inln, &in, sizeof in);
    cr_assert_eq(vmsig_inproc_send(a.ctl, &cmd), 0);
    UNTIL(core, p.commands == 1);
    vmsig_event pressed = p.got;
    vmsig_lease l = {.op = VMSIG_LEASE_ACQUIRE, .cls = VMSIG_LEASE_INPUT, .ttl_ms = 60000};
    cmd = (vmsig_event){.kind = VMSIG_CMD_LEASE, .corr = ++b.corr, .inln_len = sizeof l};
    memcpy(cmd.inln, &l, sizeof l);
    cr_assert_eq(vmsig_inproc_send(b.ctl, &cmd), 0);
    for (int i = 0; i < 5; i++)
        vmsig_core_step(core, 0);
    cr_expect_eq(status_of(&b, b.corr, NULL), -1, "granted while an effect is under way");
    cr_expect_eq(p.commands, 1);
    vmsig_result r = {.status = VMSIG_OK};
    vmsig_event done = {.kind = VMSIG_EV_RESULT, .corr = pressed.corr, .inln_len = sizeof r};
    memcpy(done.inln, &r, sizeof r);
    cr_assert_geq(p.emit(p.token, &done), 0);
    UNTIL(core, status_of(&b, b.corr, NULL) >= 0);
    cr_expect_eq(status_of(&b, b.corr, NULL), VMSIG_OK);
    cr_assert_eq(p.commands, 2, "the key was let go");
    memcpy(&in, p.got.inln, sizeof in);
    cr_expect(in.code == KEY_A && in.down == 0);
    vmsig_core_free(core);
}

Test(sources, a_source_that_has_ended_is_closed_and_the_rest_goes_on) {
    vmsig_core *core = vmsig_core_new();
    eye e;
    plain p = {.info = {.source = 12}};
    attach(core, &e, VMSIG_CAP_ALL, UINT64_MAX, 0);
    cr_assert_geq(vmsig_core_add_source(core, &plain_ops, &p), 0);
    add_stub(core, 0, 0);
    cr_expect_eq(say(&p, 70, 1), 0);
    UNTIL(core, count(&e, 70) == 1 && e.memctx_n == 1);
    const vmsig_stub_cfg cfg = {.memory = 4u << 20};
    const vmsig_source_ops *ops;
    void *second;
    cr_assert_eq(vmsig_stub_open(0, &cfg, &ops, &second), 0);
    cr_expect_eq(vmsig_core_add_source(core, ops, second), -1);
    cr_expect_eq(errno, EEXIST, "an endpoint has one host");
    ops->close(second);
    vmsig_memview_close(e.view);
    vmsig_core_free(core);
}

Test(sources, what_is_no_source_is_refused) {
    vmsig_core *core = vmsig_core_new();
    plain p = {.info = {.source = 32}};
    cr_expect_eq(vmsig_core_add_source(core, &plain_ops, &p), -1);
    cr_expect_eq(errno, EINVAL);
    p.info = (vmsig_source_info){.source = 9, .endpoint = 64};
    cr_expect_eq(vmsig_core_add_source(core, &plain_ops, &p), -1);
    const vmsig_source_ops nameless = {.describe = plain_describe};
    cr_expect_eq(vmsig_core_add_source(core, &nameless, &p), -1);
    cr_expect_eq(vmsig_core_add_source(core, NULL, &p), -1);
    cr_expect_eq(vmsig_core_add_source(NULL, &plain_ops, &p), -1);
    vmsig_core_free(core);
    cr_expect_not(p.closed, "what was refused stays the caller's");
}

/* ---- threads, policies, waiting ---------------------------------------------------------------------- */

typedef struct talker {
    plain p;
    pthread_t thread;
} talker;

#define TALK 100

static void *talk(void *ud) {
    plain *p = ud;
    for (uint32_t i = 0; i < TALK; i++)
        say(p, 71, i);
    return NULL;
}

Test(threads, sources_emit_from_threads_of_their_own_in_order_and_wake_the_core) {
    vmsig_core *core = vmsig_core_new();
    eye e;
    talker t[4];
    attach(core, &e, VMSIG_CAP_OBSERVE, UINT64_MAX, 0);
    for (uint32_t i = 0; i < 4; i++) {
        t[i] = (talker){.p = {.info = {.source = (vmsig_source)(10 + i)}}};
        cr_assert_geq(vmsig_core_add_source(core, &plain_ops, &t[i].p), 0);
    }
    UNTIL(core, count(&e, VMSIG_EV_SNAPSHOT_END) == 1);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&t[i].thread, NULL, talk, &t[i].p), 0);
    UNTIL(core, count(&e, 71) == 4 * TALK);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(t[i].thread, NULL);
    uint32_t next[4] = {0};
    uint64_t seq[4] = {0};
    for (int i = 0; i < e.n; i++) {
        uint32_t value;
        if (e.ev[i].kind != 71)
            continue;
        memcpy(&value, e.ev[i].inln, 4);
        unsigned from = e.ev[i].source - 10u;
        cr_expect_eq(value, next[from]++);
        cr_expect_gt(e.ev[i].seq, seq[from]);
        seq[from] = e.ev[i].seq;
    }
    vmsig_core_free(core);
}

Test(waiting, the_fd_says_when_there_is_something_to_do) {
    vmsig_core *core = vmsig_core_new();
    eye e;
    plain p = {.info = {.source = 12}};
    attach(core, &e, VMSIG_CAP_OBSERVE, UINT64_MAX, 0);
    cr_assert_geq(vmsig_core_add_source(core, &plain_ops, &p), 0);
    UNTIL(core, count(&e, VMSIG_EV_SNAPSHOT_END) == 1);
    while (vmsig_core_step(core, 0) > 0) {
    }
    struct pollfd fd = {.fd = vmsig_core_fd(core), .events = POLLIN};
    cr_expect_eq(poll(&fd, 1, 0), 0);
    cr_expect_eq(say(&p, 70, 1), 0);
    cr_expect_eq(poll(&fd, 1, 5000), 1);
    cr_expect_geq(vmsig_core_step(core, 0), 1);
    cr_expect_eq(count(&e, 70), 1);
    cr_expect_eq(vmsig_core_step(core, -1), -1, "no wait without a deadline");
    cr_expect_eq(errno, EINVAL);
    vmsig_core_free(core);
}

Test(waiting, what_a_policy_paces_comes_when_it_is_due) {
    vmsig_core *core = vmsig_core_new();
    eye e;
    plain p = {.info = {.source = 12}};
    const vmsig_timing timing = {.min_gap_ns = 20000000};
    attach(core, &e, VMSIG_CAP_OBSERVE, UINT64_MAX, 0);
    cr_assert_geq(vmsig_core_add_source(core, &plain_ops, &p), 0);
    cr_assert_eq(vmsig_core_set_policy(core, 12, VMSIG_DIR_UP, VMSIG_PRIO_NORMAL, &timing), 0);
    cr_expect_eq(vmsig_core_set_policy(core, 32, VMSIG_DIR_UP, VMSIG_PRIO_NORMAL, &timing), -1);
    for (uint32_t i = 0; i < 3; i++)
        cr_expect_eq(say(&p, 70, i), 0);
    uint64_t from = vmsig_now_ns();
    UNTIL(core, count(&e, 70) == 3);
    cr_expect_geq(vmsig_now_ns() - from, 39000000u);
    vmsig_core_free(core);
}

/* ---- controls that end ------------------------------------------------------------------------------- */

typedef struct odd {
    int fd, events, closed;
    bool refuse, end;
} odd;

static int odd_fd(void *ctl) {
    return ((odd *)ctl)->fd;
}
static int odd_subscribe(void *ctl, vmsig_sub *out) {
    (void)ctl;
    *out = all;
    return 0;
}
static int odd_deliver(void *ctl, const vmsig_event *ev) {
    odd *o = ctl;
    (void)ev;
    errno = EAGAIN;
    if (o->refuse)
        return -1;
    o->events++;
    return 0;
}
static int odd_readable(void *ctl) {
    return ((odd *)ctl)->end ? -1 : 0;
}
static void odd_close(void *ctl) {
    ((odd *)ctl)->closed++;
}
static const vmsig_control_ops odd_ops = {.name = "odd",
                                          .fd = odd_fd,
                                          .subscribe = odd_subscribe,
                                          .deliver = odd_deliver,
                                          .on_readable = odd_readable,
                                          .close = odd_close};

Test(controls, one_whose_fd_says_the_end_is_closed_once) {
    vmsig_core *core = vmsig_core_new();
    odd o = {.fd = eventfd(1, EFD_NONBLOCK), .end = true};
    int id = vmsig_core_add_control(core, &odd_ops, &o);
    cr_assert_geq(id, 0);
    UNTIL(core, o.closed == 1);
    const vmsig_grant g = {.endpoint_mask = 1, .caps = VMSIG_CAP_OBSERVE};
    cr_expect_eq(vmsig_core_set_grant(core, id, &g), -1);
    close(o.fd);
    vmsig_core_free(core);
    cr_expect_eq(o.closed, 1);
}

Test(controls, one_that_is_busy_is_asked_again_and_misses_nothing) {
    vmsig_core *core = vmsig_core_new();
    odd o = {.fd = -1, .refuse = true};
    plain p = {.info = {.source = 12}};
    const vmsig_grant g = {.endpoint_mask = UINT64_MAX, .caps = VMSIG_CAP_OBSERVE};
    int id = vmsig_core_add_control(core, &odd_ops, &o);
    cr_assert_geq(id, 0);
    cr_assert_eq(vmsig_core_set_grant(core, id, &g), 0);
    cr_assert_geq(vmsig_core_add_source(core, &plain_ops, &p), 0);
    for (uint32_t i = 0; i < 5; i++)
        cr_expect_eq(say(&p, 70, i), 0);
    for (int i = 0; i < 20; i++)
        vmsig_core_step(core, 1);
    cr_expect_eq(o.events, 0);
    o.refuse = false;
    UNTIL(core, o.events == 6); /* and SNAPSHOT_END */
    cr_expect_eq(vmsig_core_remove_control(core, id), 0);
    UNTIL(core, o.closed == 1);
    cr_expect_eq(vmsig_core_remove_control(core, id), -1);
    vmsig_core_free(core);
}

/* ---- arbitration and audit --------------------------------------------------------------------------- */

typedef struct court {
    int asked, intents, results;
    bool refuse;
} court;

static vmsig_arb_decision judge(void *ud, uint32_t endpoint, uint32_t cls, const vmsig_grant *incumbent,
                                const vmsig_grant *contender) {
    ((court *)ud)->asked++;
    cr_expect_eq(endpoint, 0u);
    cr_expect_eq(cls, VMSIG_LEASE_INPUT);
    cr_expect_neq(incumbent, contender);
    return VMSIG_ARB_PREEMPT;
}

static int audit(void *ud, const vmsig_audit_record *rec) {
    court *c = ud;
    c->intents += rec->what == VMSIG_AUDIT_INTENT;
    c->results += rec->what == VMSIG_AUDIT_RESULT && rec->kind == VMSIG_CMD_INPUT;
    return rec->what == VMSIG_AUDIT_INTENT && c->refuse ? -1 : 0;
}

static int note_intents(void *ud, const vmsig_audit_record *rec) {
    uint32_t *seen = ud;
    if (rec->what == VMSIG_AUDIT_INTENT)
        seen[0] = seen[0] << 8 | rec->kind << 4 | rec->detail;
    return 0;
}

static uint32_t state_of(vmsig_core *core, eye *e) {
    uint32_t query = VMSIG_VM_QUERY;
    uint64_t state = UINT64_MAX;
    cr_expect_eq(call(core, e, VMSIG_CMD_VM, &query, 4, 0, &state), VMSIG_OK);
    return (uint32_t)state;
}

/* One effect under two capabilities: who says so last has it, and both are on record. */
Test(hooks, pause_and_stop_are_one_effect_the_last_wins_and_both_are_audited) {
    vmsig_core *core = vmsig_core_new();
    eye life, vm;
    uint32_t seen = 0;
    attach(core, &life, VMSIG_CAP_OBSERVE | VMSIG_CAP_LIFECYCLE | VMSIG_CAP_VM, 1, 0);
    attach(core, &vm, VMSIG_CAP_OBSERVE | VMSIG_CAP_VM, 1, 0);
    add_stub(core, 0, 0);
    UNTIL(core, count(&life, VMSIG_EV_VMHOST) > 0);
    vmsig_core_set_audit(core, note_intents, &seen);
    cr_expect_eq(op(core, &life, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_PAUSE), VMSIG_OK);
    cr_expect_eq(op(core, &vm, VMSIG_CMD_VM, VMSIG_VM_CONT), VMSIG_OK);
    cr_expect_eq(seen, (VMSIG_CMD_LIFECYCLE << 4 | 1u) << 8 | VMSIG_CMD_VM << 4 | 2u);
    cr_expect_eq(state_of(core, &life), VMSIG_VM_RUNNING);
    cr_expect_eq(op(core, &vm, VMSIG_CMD_VM, VMSIG_VM_STOP), VMSIG_OK);
    cr_expect_eq(state_of(core, &life), VMSIG_VM_PAUSED);
    cr_expect_eq(op(core, &life, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESUME), VMSIG_OK);
    cr_expect_eq(state_of(core, &life), VMSIG_VM_RUNNING);
    cr_expect_eq(op(core, &vm, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_PAUSE), VMSIG_NOCAP);
    vmsig_core_free(core);
}

/* By the invalidation, by the epoch that stands in what it holds, and by any command that it stamps with that. */
Test(epochs, a_stale_reader_can_tell) {
    vmsig_core *core = vmsig_core_new();
    eye e;
    attach(core, &e, VMSIG_CAP_ALL, 1, 0);
    add_stub(core, 0, 0);
    UNTIL(core, e.memctx_n == 1);
    uint32_t held = vmsig_memview_epoch(e.view);
    cr_expect_eq(lease(core, &e, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_MEMWRITE, 0), VMSIG_OK);
    cr_assert_eq(vmsig_core_bump_epoch(core, 0), 0);
    UNTIL(core, count(&e, VMSIG_EV_MEMCTX_INVALID) == 1);
    cr_expect_gt(last(&e, VMSIG_EV_MEMCTX_INVALID)->epoch, held, "all before it is void");
    cr_expect_eq(vmsig_memview_epoch(e.view), held, "what it holds says of when it is");
    vmsig_memwrite w = {.addr = VMSIG_STUB_SCRATCH, .value = 1, .size = 8};
    vmsig_event cmd = {
        .kind = VMSIG_CMD_MEMWRITE, .corr = ++e.corr, .token = e.token, .epoch = held, .inln_len = sizeof w};
    memcpy(cmd.inln, &w, sizeof w);
    cr_assert_eq(vmsig_inproc_send(e.ctl, &cmd), 0);
    UNTIL(core, status_of(&e, e.corr, NULL) >= 0);
    cr_expect_eq(status_of(&e, e.corr, NULL), VMSIG_FENCED);
    vmsig_memview_close(e.view);
    vmsig_core_free(core);
}

Test(hooks, the_arbiter_decides_and_the_audit_may_refuse) {
    vmsig_core *core = vmsig_core_new();
    court c = {0};
    eye first, second;
    attach(core, &first, VMSIG_CAP_ALL, 1, 5);
    attach(core, &second, VMSIG_CAP_ALL, 1, 1);
    add_stub(core, 0, 0);
    vmsig_core_set_arbiter(core, judge, &c);
    vmsig_core_set_audit(core, audit, &c);
    cr_expect_eq(lease(core, &first, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0), VMSIG_OK);
    cr_expect_eq(c.asked, 0, "a free lease is nobody's");
    cr_expect_eq(lease(core, &second, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0), VMSIG_OK);
    cr_expect_eq(c.asked, 1);
    cr_expect_eq(key(core, &second, KEY_A, 1), VMSIG_OK);
    cr_expect_eq(c.intents, 1);
    cr_expect_eq(c.results, 1);
    c.refuse = true;
    cr_expect_eq(key(core, &second, KEY_A, 0), VMSIG_UNAVAILABLE);
    vmsig_memview_close(first.view);
    vmsig_memview_close(second.view);
    vmsig_core_free(core);
}
