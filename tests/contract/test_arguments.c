/* A bad argument anywhere is answered -1 (NULL) with errno, and changes nothing. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmsig_actor.h"
#include "vmsig_client.h"
#include "vmsig_core.h"
#include "vmsig_memwatch.h"
#include "vmsig_stub.h"

#define REFUSED(call, why)                                                                                             \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        int rc_ = (int)(call);                                                                                         \
        int err_ = errno;                                                                                              \
        cr_expect(rc_ == -1 && err_ == (why), "%s: %d, errno %s", #call, rc_, strerror(err_));                         \
    } while (0)
#define NONE(call, why)                                                                                                \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        const void *p_ = (call);                                                                                       \
        int err_ = errno;                                                                                              \
        cr_expect(p_ == NULL && err_ == (why), "%s: %p, errno %s", #call, p_, strerror(err_));                         \
    } while (0)

/* ---- vmsig_ctx.h ------------------------------------------------------------------------------------- */

Test(ctx, nulls_and_directions_that_do_not_exist) {
    vmsig_ctx *c = vmsig_ctx_new();
    vmsig_event ev = {.kind = 64, .source = 8};
    for (int dir = -1; dir <= 2; dir += 3) {
        REFUSED(vmsig_ctx_submit(c, (vmsig_dir)dir, &ev), EINVAL);
        REFUSED(vmsig_ctx_next(c, (vmsig_dir)dir, &ev), EINVAL);
        REFUSED(vmsig_ctx_timing_fd(c, (vmsig_dir)dir), EINVAL);
        REFUSED(vmsig_ctx_set_policy(c, VMSIG_SRC_INPUT, (vmsig_dir)dir, VMSIG_PRIO_LOW, NULL), EINVAL);
    }
    REFUSED(vmsig_ctx_submit(NULL, VMSIG_DIR_UP, &ev), EINVAL);
    REFUSED(vmsig_ctx_submit(c, VMSIG_DIR_UP, NULL), EINVAL);
    REFUSED(vmsig_ctx_next(NULL, VMSIG_DIR_UP, &ev), EINVAL);
    REFUSED(vmsig_ctx_next(c, VMSIG_DIR_UP, NULL), EINVAL);
    REFUSED(vmsig_ctx_timing_fd(NULL, VMSIG_DIR_UP), EINVAL);
    REFUSED(vmsig_ctx_set_policy(NULL, VMSIG_SRC_INPUT, VMSIG_DIR_UP, VMSIG_PRIO_LOW, NULL), EINVAL);
    cr_expect_eq(vmsig_ctx_next(c, VMSIG_DIR_UP, &ev), 0, "nothing was taken in");
    vmsig_ctx_free(c);
    vmsig_ctx_free(NULL);
}

Test(ctx, a_refused_policy_leaves_the_former_one) {
    vmsig_ctx *c = vmsig_ctx_new();
    const vmsig_timing one = {.max_inflight = 1, .drop_policy = VMSIG_DROP_BLOCK}, bad = {.drop_policy = 3},
                       paced = {.min_gap_ns = 1000};
    vmsig_event ev = {.kind = 64, .source = 8};
    cr_assert_eq(vmsig_ctx_set_policy(c, (vmsig_source)8, VMSIG_DIR_UP, VMSIG_PRIO_LOW, &one), 0);
    REFUSED(vmsig_ctx_set_policy(c, (vmsig_source)8, VMSIG_DIR_UP, VMSIG_PRIO_HIGH, &bad), EINVAL);
    REFUSED(vmsig_ctx_set_policy(c, (vmsig_source)8, VMSIG_DIR_UP, (vmsig_prio)5, &paced), EINVAL);
    REFUSED(vmsig_ctx_set_policy(c, (vmsig_source)8, VMSIG_DIR_UP, (vmsig_prio)-1, NULL), EINVAL);
    REFUSED(vmsig_ctx_set_policy(c, (vmsig_source)32, VMSIG_DIR_UP, VMSIG_PRIO_LOW, &paced), EINVAL);
    REFUSED(vmsig_ctx_set_policy(c, (vmsig_source)-1, VMSIG_DIR_UP, VMSIG_PRIO_LOW, &paced), EINVAL);
    cr_expect_eq(vmsig_ctx_timing_fd(c, VMSIG_DIR_UP), -1, "no policy needs it");
    cr_expect_eq(vmsig_ctx_submit(c, VMSIG_DIR_UP, &ev), 0);
    REFUSED(vmsig_ctx_submit(c, VMSIG_DIR_UP, &ev), EAGAIN);
    cr_assert_eq(vmsig_ctx_next(c, VMSIG_DIR_UP, &ev), 1);
    cr_expect_eq(ev.prio, VMSIG_PRIO_LOW);
    vmsig_ctx_free(c);
}

/* ---- vmsig_control.h, vmsig_core.h ------------------------------------------------------------------- */

static int saw(void *user, const vmsig_event *ev) {
    (void)ev;
    ++*(int *)user;
    return 0;
}

static const vmsig_sub all = {.source_mask = UINT32_MAX, .endpoint_mask = UINT64_MAX};

static void *new_control(int *count) {
    const vmsig_inproc_cfg cfg = {.on_event = saw, .user = count, .sub = all};
    void *ctl = vmsig_inproc_control_new(&cfg);
    cr_assert_not_null(ctl);
    return ctl;
}

Test(control, of_no_configuration_and_of_none_at_all) {
    const vmsig_control_ops *ops = vmsig_inproc_control_ops();
    const vmsig_inproc_cfg mute = {.sub = all};
    vmsig_event ev = {.kind = VMSIG_CMD_VM};
    vmsig_sub sub;
    int count = 0;
    void *ctl = new_control(&count);
    NONE(vmsig_inproc_control_new(NULL), EINVAL);
    NONE(vmsig_inproc_control_new(&mute), EINVAL);
    REFUSED(vmsig_inproc_send(NULL, &ev), EINVAL);
    REFUSED(vmsig_inproc_send(ctl, NULL), EINVAL);
    REFUSED(vmsig_inproc_send(ctl, &ev), ENOTCONN);
    REFUSED(ops->subscribe(NULL, &sub), EINVAL);
    REFUSED(ops->subscribe(ctl, NULL), EINVAL);
    REFUSED(ops->deliver(NULL, &ev), EINVAL);
    REFUSED(ops->deliver(ctl, NULL), EINVAL);
    REFUSED(ops->attach_memctx(NULL, &ev, 0), EINVAL);
    ops->set_emit_down(NULL, NULL, NULL);
    cr_expect_eq(ops->fd(ctl), -1);
    ops->close(NULL);
    ops->close(ctl);
    cr_expect_eq(count, 0);
}

Test(core, nulls) {
    vmsig_grant g = {.endpoint_mask = 1};
    vmsig_memctx m = {0};
    int n = 0;
    void *ctl = new_control(&n);
    const vmsig_source_ops source = {.name = "none"};
    const vmsig_control_ops none = {.name = "none"};
    vmsig_core *core = vmsig_core_new();
    vmsig_core_free(NULL);
    REFUSED(vmsig_core_fd(NULL), EINVAL);
    REFUSED(vmsig_core_step(NULL, 0), EINVAL);
    REFUSED(vmsig_core_step(core, -1), EINVAL);
    REFUSED(vmsig_core_add_control(NULL, vmsig_inproc_control_ops(), ctl), EINVAL);
    REFUSED(vmsig_core_add_control(core, NULL, ctl), EINVAL);
    REFUSED(vmsig_core_add_control(core, &none, ctl), EINVAL);
    REFUSED(vmsig_core_add_control(core, vmsig_inproc_control_ops(), NULL), EINVAL);
    REFUSED(vmsig_core_add_source(NULL, &source, NULL), EINVAL);
    REFUSED(vmsig_core_add_source(core, NULL, NULL), EINVAL);
    REFUSED(vmsig_core_add_source(core, &source, NULL), EINVAL);
    REFUSED(vmsig_core_set_grant(NULL, 0, &g), EINVAL);
    REFUSED(vmsig_core_remove_control(NULL, 0), EINVAL);
    REFUSED(vmsig_core_set_policy(NULL, VMSIG_SRC_INPUT, VMSIG_DIR_UP, VMSIG_PRIO_LOW, NULL), EINVAL);
    REFUSED(vmsig_core_bump_epoch(NULL, 0), EINVAL);
    REFUSED(vmsig_core_publish_memctx(NULL, 0, &m, NULL, 0, 0), EINVAL);
    REFUSED(vmsig_core_publish_memctx(core, 0, NULL, NULL, 0, 0), EINVAL);
    REFUSED(vmsig_core_publish_memctx(core, 0, &m, NULL, 1, 0), EINVAL);
    REFUSED(vmsig_core_listen(NULL, 0, NULL, 0), EINVAL);
    REFUSED(vmsig_core_listen(core, -1, NULL, 0), EINVAL);
    REFUSED(vmsig_core_listen(core, 0, NULL, 1), EINVAL);
    REFUSED(vmsig_core_listen(core, 0, &(vmsig_grant){.caps = 0x4}, 1), EINVAL);
    vmsig_core_set_arbiter(NULL, NULL, NULL);
    vmsig_core_set_audit(NULL, NULL, NULL);
    cr_expect_eq(vmsig_core_add_control(core, vmsig_inproc_control_ops(), ctl), 0, "the first id: nothing was added");
    vmsig_core_free(core);
}

Test(core, a_time_to_retain_without_a_core) {
    REFUSED(vmsig_core_set_retain(NULL, 1), EINVAL);
}

Test(core, what_is_out_of_range) {
    int n = 0;
    vmsig_core *core = vmsig_core_new();
    int id = vmsig_core_add_control(core, vmsig_inproc_control_ops(), new_control(&n));
    const vmsig_grant good = {.endpoint_mask = 1, .caps = VMSIG_CAP_OBSERVE};
    const vmsig_memctx m = {.ram_id = 1};
    const vmsig_seg seg = {.gpa = 0, .len = 4096, .off = 0}, beyond = {.gpa = 0, .len = 4097, .off = 0};
    const vmsig_timing bad = {.drop_policy = 9};
    int ram = memfd_create("ram", MFD_CLOEXEC);
    cr_assert(id >= 0 && ram >= 0 && ftruncate(ram, 4096) == 0);
    REFUSED(vmsig_core_set_grant(core, -1, &good), EINVAL);
    REFUSED(vmsig_core_set_grant(core, 1, &good), EINVAL);
    REFUSED(vmsig_core_set_grant(core, 1 << 30, &good), EINVAL);
    REFUSED(vmsig_core_set_grant(core, id, NULL), EINVAL);
    REFUSED(vmsig_core_remove_control(core, -1), EINVAL);
    REFUSED(vmsig_core_remove_control(core, id + 1), EINVAL);
    REFUSED(vmsig_core_set_policy(core, (vmsig_source)32, VMSIG_DIR_UP, VMSIG_PRIO_LOW, NULL), EINVAL);
    REFUSED(vmsig_core_set_policy(core, (vmsig_source)8, (vmsig_dir)2, VMSIG_PRIO_LOW, NULL), EINVAL);
    REFUSED(vmsig_core_set_policy(core, (vmsig_source)8, VMSIG_DIR_UP, (vmsig_prio)5, NULL), EINVAL);
    REFUSED(vmsig_core_set_policy(core, (vmsig_source)8, VMSIG_DIR_UP, VMSIG_PRIO_LOW, &bad), EINVAL);
    REFUSED(vmsig_core_bump_epoch(core, 64), EINVAL);
    REFUSED(vmsig_core_publish_memctx(core, 64, &m, &seg, 1, ram), EINVAL);
    REFUSED(vmsig_core_publish_memctx(core, 0, &m, &seg, -1, ram), EINVAL);
    REFUSED(vmsig_core_publish_memctx(core, 0, &m, &seg, 65, ram), EINVAL);
    REFUSED(vmsig_core_publish_memctx(core, 0, &m, &beyond, 1, ram), EINVAL);
    REFUSED(vmsig_core_publish_memctx(core, 0, &m, &seg, 1, -1), EBADF);
    while (vmsig_core_step(core, 0) > 0) {
    }
    cr_expect_eq(n, 0);
    close(ram);
    vmsig_core_free(core);
}

Test(core, a_refused_grant_leaves_the_former_one) {
    int n = 0;
    vmsig_core *core = vmsig_core_new();
    void *ctl = new_control(&n);
    int id = vmsig_core_add_control(core, vmsig_inproc_control_ops(), ctl);
    vmsig_event cmd = {.kind = VMSIG_CMD_VM, .corr = 7, .inln_len = 4, .inln = {VMSIG_VM_QUERY}};
    REFUSED(vmsig_inproc_send(ctl, &cmd), EACCES); /* no grant yet */
    vmsig_grant g = {.principal = 1, .endpoint_mask = 1, .caps = VMSIG_CAP_VM};
    cr_assert_eq(vmsig_core_set_grant(core, id, &g), 0);
    for (uint32_t bit = 0; bit < 32; bit++) {
        if ((1u << bit) & VMSIG_CAP_ALL)
            continue;
        g.caps = VMSIG_CAP_OBSERVE | 1u << bit;
        REFUSED(vmsig_core_set_grant(core, id, &g), EINVAL);
    }
    cr_expect_eq(vmsig_inproc_send(ctl, &cmd), 0, "it may still");
    vmsig_core_free(core);
}

/* emit_down: what is no command at all; what is one and may not be gets its one result. */
Test(core, what_is_no_command) {
    int n = 0;
    vmsig_core *core = vmsig_core_new();
    void *ctl = new_control(&n);
    int id = vmsig_core_add_control(core, vmsig_inproc_control_ops(), ctl);
    const vmsig_grant g = {.endpoint_mask = UINT64_MAX, .caps = VMSIG_CAP_ALL};
    cr_assert_eq(vmsig_core_set_grant(core, id, &g), 0);
    while (vmsig_core_step(core, 0) > 0) {
    }
    n = 0;
    const vmsig_event good = {.kind = VMSIG_CMD_VM, .corr = 7, .inln_len = 4, .inln = {VMSIG_VM_QUERY}};
    vmsig_event cmd = good;
    cmd.kind = VMSIG_EV_STATE;
    REFUSED(vmsig_inproc_send(ctl, &cmd), EINVAL);
    cmd.kind = 37;
    REFUSED(vmsig_inproc_send(ctl, &cmd), EINVAL);
    cmd = good;
    cmd.endpoint = 64;
    REFUSED(vmsig_inproc_send(ctl, &cmd), EINVAL);
    cmd = good;
    cmd.prio = 5;
    REFUSED(vmsig_inproc_send(ctl, &cmd), EINVAL);
    cmd = good;
    cmd.inln_len = VMSIG_INLINE_MAX + 1;
    REFUSED(vmsig_inproc_send(ctl, &cmd), EINVAL);
    cmd = good;
    cmd.payload_len = 1;
    REFUSED(vmsig_inproc_send(ctl, &cmd), EINVAL);
    while (vmsig_core_step(core, 0) > 0) {
    }
    cr_expect_eq(n, 0, "nothing was taken, so nothing is answered");
    vmsig_core_free(core);
}

/* ---- sources' hook ------------------------------------------------------------------------------------- */

typedef struct mouth {
    int (*emit)(void *token, vmsig_event *);
    void *token;
} mouth;

static int describe(void *src, vmsig_source_info *out) {
    (void)src;
    *out = (vmsig_source_info){.source = (vmsig_source)9, .endpoint = 3};
    return 0;
}

static void take_hook(void *src, int (*emit)(void *token, vmsig_event *), void *token) {
    *(mouth *)src = (mouth){emit, token};
}

static int out_of_range(void *src, vmsig_source_info *out) {
    *out = *(vmsig_source_info *)src;
    return 0;
}

Test(sources, that_describe_what_does_not_exist) {
    vmsig_core *core = vmsig_core_new();
    const vmsig_source_ops odd = {.name = "odd", .describe = out_of_range};
    vmsig_source_info info = {.source = (vmsig_source)32};
    REFUSED(vmsig_core_add_source(core, &odd, &info), EINVAL);
    info = (vmsig_source_info){.source = VMSIG_SRC_INPUT, .endpoint = 64};
    REFUSED(vmsig_core_add_source(core, &odd, &info), EINVAL);
    vmsig_core_free(core);
}

Test(sources, emit_refuses_and_leaves_the_payload) {
    mouth m = {0};
    vmsig_core *core = vmsig_core_new();
    const vmsig_source_ops ops = {.name = "mouth", .describe = describe, .set_emit_up = take_hook};
    cr_assert_geq(vmsig_core_add_source(core, &ops, &m), 0);
    void *body = malloc(10);
    vmsig_event ev = {.kind = 0, .payload = body, .payload_len = 10};
    REFUSED(m.emit(m.token, NULL), EINVAL);
    REFUSED(m.emit(m.token, &ev), EINVAL);
    ev.kind = 64;
    ev.payload_len = VMSIG_PAYLOAD_MAX + 1;
    REFUSED(m.emit(m.token, &ev), EINVAL);
    cr_expect_eq(ev.payload, body);
    free(body);
    vmsig_core_free(core);
}

/* ---- the rest of include/ ------------------------------------------------------------------------------ */

Test(memctx, nulls_and_what_is_none) {
    vmsig_event ev = {.kind = 64}, packed = {0};
    vmsig_seg seg[2];
    const vmsig_memctx m = {.ram_id = 1};
    REFUSED(vmsig_memctx_segs(NULL, seg, 2), EINVAL);
    REFUSED(vmsig_memctx_segs(&ev, seg, 2), EINVAL);
    cr_assert_eq(vmsig_memctx_pack(&packed, &m, NULL, 0), 0);
    REFUSED(vmsig_memctx_segs(&packed, NULL, 1), EINVAL);
    REFUSED(vmsig_memctx_segs(&packed, seg, -1), EINVAL);
    REFUSED(vmsig_memctx_pack(NULL, &m, NULL, 0), EINVAL);
    REFUSED(vmsig_memctx_pack(&ev, NULL, NULL, 0), EINVAL);
    REFUSED(vmsig_memctx_pack(&ev, &m, NULL, 1), EINVAL);
    REFUSED(vmsig_memctx_pack(&ev, &m, seg, 65), EINVAL);
    NONE(vmsig_memview_open(NULL, 0), EINVAL);
    NONE(vmsig_memview_open(&ev, 0), EINVAL);
    NONE(vmsig_memview_open(&packed, -1), EBADF);
    vmsig_memview_close(NULL);
    REFUSED(vmsig_memview_update(NULL, &packed), EINVAL);
    REFUSED(vmsig_memview_walk(NULL, 0, &(uint64_t){0}), EINVAL);
    REFUSED(vmsig_memview_read_phys(NULL, 0, seg, 1), EINVAL);
    REFUSED(vmsig_memview_read_virt(NULL, 0, seg, 1), EINVAL);
    cr_expect_null(vmsig_memview_ctx(NULL));
    cr_expect_eq(vmsig_memview_epoch(NULL), 0);
}

static void ignore(void *user, const vmsig_event *ev) {
    (void)user;
    (void)ev;
}

Test(client, nulls) {
    vmsig_event ev = {.kind = VMSIG_CMD_VM};
    vmsig_client_cfg cfg = {.sub = all, .on_event = ignore};
    char err[200] = "";
    NONE(vmsig_client_open("/nowhere", NULL, 100, err, sizeof err), EINVAL);
    NONE(vmsig_client_open("/nowhere", &cfg, -1, err, sizeof err), EINVAL);
    NONE(vmsig_client_open("/nowhere", &cfg, 100, err, sizeof err), ENOENT);
    NONE(vmsig_client_open("/nowhere", &cfg, 100, NULL, 0), ENOENT);
    vmsig_client_close(NULL);
    NONE(vmsig_client_grant(NULL), EINVAL);
    REFUSED(vmsig_client_fd(NULL), EINVAL);
    REFUSED(vmsig_client_step(NULL, 0), EINVAL);
    REFUSED(vmsig_client_send(NULL, &ev), EINVAL);
    REFUSED(vmsig_client_call(NULL, &ev, NULL, 0), EINVAL);
    REFUSED(vmsig_client_lease(NULL, 0, VMSIG_LEASE_INPUT, 0, 0, NULL), EINVAL);
    REFUSED(vmsig_client_release(NULL, 0, VMSIG_LEASE_INPUT), EINVAL);
    cr_expect_not_null(vmsig_client_error(NULL));
    const char *why = err;
    REFUSED(vmsig_client_rings(NULL, &why), EINVAL);
    REFUSED(vmsig_client_rings(NULL, NULL), EINVAL);
    cr_expect_null(why);
}

Test(actor, nulls) {
    vmsig_event ev = {.kind = 64};
    vmsig_actor_free(NULL);
    cr_expect_not_null(vmsig_actor_name(NULL));
    REFUSED(vmsig_actor_every(NULL, 1, NULL, NULL), EINVAL);
    REFUSED(vmsig_actor_watch(NULL, 0, NULL, NULL), EINVAL);
    REFUSED(vmsig_actor_unwatch(NULL, 0), EINVAL);
    REFUSED(vmsig_actor_emit(NULL, &ev), EINVAL);
    REFUSED(vmsig_actor_emit_bytes(NULL, 64, "", 0), EINVAL);
    REFUSED(vmsig_actor_run(NULL), EINVAL);
    REFUSED(vmsig_actor_run_source(NULL, NULL), EINVAL);
    cr_expect_eq(vmsig_actor_endpoint(NULL), 0u);
    cr_expect_eq(vmsig_actor_source(NULL), 0u);
    cr_expect_eq(vmsig_actor_epoch(NULL), 0u);
    vmsig_actor_on_event(NULL, NULL, NULL);
    vmsig_actor_on_memctx(NULL, NULL, NULL);
    vmsig_actor_stop(NULL, 1);
}

Test(plugged, stub_and_memwatch_refuse_nulls) {
    const vmsig_source_ops *ops;
    void *src;
    vmsig_memwatch_place place = {.size = 8};
    REFUSED(vmsig_stub_open(64, NULL, &ops, &src), EINVAL);
    REFUSED(vmsig_stub_open(0, NULL, NULL, &src), EINVAL);
    REFUSED(vmsig_stub_open(0, NULL, &ops, NULL), EINVAL);
    REFUSED(vmsig_memwatch_open(64, (vmsig_source)8, &place, 1, 10, &ops, &src), EINVAL);
    REFUSED(vmsig_memwatch_open(0, (vmsig_source)8, NULL, 1, 10, &ops, &src), EINVAL);
    REFUSED(vmsig_memwatch_open(0, (vmsig_source)8, &place, 1, 10, NULL, &src), EINVAL);
    REFUSED(vmsig_memwatch_open(0, (vmsig_source)8, &place, 1, 10, &ops, NULL), EINVAL);
    REFUSED(vmsig_memwatch_parse(NULL, &place), EINVAL);
    REFUSED(vmsig_memwatch_parse("1", NULL), EINVAL);
}
