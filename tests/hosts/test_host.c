/* The gate before each effect, on a backend that only takes notes. */
#include "actors/runtime/record.h"
#include "tests/hosts/rig.h"

typedef struct fake {
    vmsig_host *host;
    int answer; /* of every effect */
    int inputs, ops, quiets;
    uint32_t last_op;
    vmsig_input in[64]; /* all inputs, in order */
    int in_n;
    bool closed;
} fake;

static int fake_start(void *vm, vmsig_host *host) {
    ((fake *)vm)->host = host;
    vmsig_host_state(host, VMSIG_VM_RUNNING, 0);
    return 0;
}

static int fake_input(void *vm, uint32_t corr, const vmsig_input *in, uint32_t n) {
    fake *f = vm;
    (void)corr;
    f->inputs++;
    for (uint32_t i = 0; f->answer == VMSIG_OK && i < n; i++)
        f->in[f->in_n++] = in[i];
    return f->answer;
}

static int fake_lifecycle(void *vm, uint32_t corr, uint32_t op) {
    fake *f = vm;
    (void)corr;
    f->ops++;
    f->last_op = op;
    return f->answer;
}

static int fake_quiet(void *vm, uint32_t corr, vmsig_lease_class cls) {
    fake *f = vm;
    (void)corr, (void)cls;
    f->quiets++;
    return f->answer;
}

static void fake_close(void *vm) {
    ((fake *)vm)->closed = true;
}

static const vmsig_host_backend backend = {.name = "fake",
                                           .start = fake_start,
                                           .input = fake_input,
                                           .lifecycle = fake_lifecycle,
                                           .quiet = fake_quiet,
                                           .close = fake_close};

static void setup_at(rig *r, fake *f, int state_fd) {
    *f = (fake){.answer = VMSIG_OK};
    vmsig_host_env env = rig_env(r, state_fd);
    r->host = vmsig_host_new(EP, &backend, f, &env);
    cr_assert_not_null(r->host);
}

static void setup(rig *r, fake *f) {
    rig_pages(r);
    setup_at(r, f, -1);
    rig_start(r);
}

/* ---- epochs, fences ---------------------------------------------------------------------------------- */

Test(gate, a_command_of_an_old_epoch_has_no_effect_and_is_answered_fenced) {
    rig r;
    fake f;
    setup(&r, &f);
    vmsig_input in = {.type = VMSIG_INPUT_KEY, .down = 1, .code = 30};
    vmsig_event cmd = rig_cmd(&r, VMSIG_CMD_INPUT, &in, sizeof in);
    vmsig_host_epoch_moved(r.host, VMSIG_VM_RUNNING, VMSIG_LIFECYCLE_RESET);
    cr_expect_eq(rig_send(&r, &cmd), VMSIG_FENCED);
    cmd = rig_cmd(&r, VMSIG_CMD_INPUT, &in, sizeof in);
    cmd.epoch++;
    cr_expect_eq(rig_send(&r, &cmd), VMSIG_FENCED);
    cr_expect_eq(f.inputs, 0);
    cmd = rig_cmd(&r, VMSIG_CMD_INPUT, &in, sizeof in);
    cr_expect_eq(rig_send(&r, &cmd), VMSIG_OK);
    cr_expect_eq(f.inputs, 1);
    rig_end(&r);
    cr_expect(f.closed);
}

Test(gate, without_a_stated_epoch_all_but_memory_writes_go) {
    rig r;
    fake f;
    setup(&r, &f);
    uint8_t ram[4096] = {0};
    const vmsig_seg seg = {0, sizeof ram, 0};
    cr_assert_eq(vmsig_host_set_ram(r.host, ram, sizeof ram, &seg, 1), 0);
    vmsig_input in = {.type = VMSIG_INPUT_KEY, .down = 1, .code = 30};
    vmsig_event cmd = rig_cmd(&r, VMSIG_CMD_INPUT, &in, sizeof in);
    cmd.epoch = 0;
    cr_expect_eq(rig_send(&r, &cmd), VMSIG_OK);
    vmsig_memwrite w = {.addr = 0, .value = 1, .size = 8};
    cmd = rig_cmd(&r, VMSIG_CMD_MEMWRITE, &w, sizeof w);
    cmd.epoch = 0;
    cr_expect_eq(rig_send(&r, &cmd), VMSIG_FENCED);
    cr_expect_eq(ram[0], 0);
    rig_end(&r);
}

Test(gate, the_token_must_be_the_one_that_the_fence_bears) {
    rig r;
    fake f;
    setup(&r, &f);
    vmsig_input in = {.type = VMSIG_INPUT_REL, .code = 0, .value = 3};
    vmsig_event cmd = rig_cmd(&r, VMSIG_CMD_INPUT, &in, sizeof in);
    cmd.token = TOKEN - 1;
    cr_expect_eq(rig_send(&r, &cmd), VMSIG_FENCED);
    cmd = rig_cmd(&r, VMSIG_CMD_INPUT, &in, sizeof in);
    cmd.token = 0;
    cr_expect_eq(rig_send(&r, &cmd), VMSIG_NOLEASE);
    vmsig_fence_raise(r.fences, EP, VMSIG_LEASE_INPUT, TOKEN + 1);
    cmd = rig_cmd(&r, VMSIG_CMD_INPUT, &in, sizeof in);
    cr_expect_eq(rig_send(&r, &cmd), VMSIG_FENCED);
    cmd = rig_cmd(&r, VMSIG_CMD_INPUT, &in, sizeof in);
    cmd.token = TOKEN + 1; /* raised, not granted yet */
    cr_expect_eq(rig_send(&r, &cmd), VMSIG_FENCED);
    cr_expect_eq(f.inputs, 0);
    vmsig_fence_grant(r.fences, EP, VMSIG_LEASE_INPUT, TOKEN + 1);
    cmd = rig_cmd(&r, VMSIG_CMD_INPUT, &in, sizeof in);
    cmd.token = TOKEN + 1;
    cr_expect_eq(rig_send(&r, &cmd), VMSIG_OK);
    cr_expect_eq(rig_op(&r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESET), VMSIG_OK, "the other classes go on");
    rig_end(&r);
}

Test(gate, while_there_are_no_fences_nothing_that_needs_a_lease_starts) {
    rig r;
    fake f;
    setup(&r, &f);
    r.no_fences = true;
    cr_expect_eq(rig_key(&r, 30, 1), VMSIG_UNAVAILABLE);
    cr_expect_eq(rig_op(&r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_QUIT), VMSIG_UNAVAILABLE);
    cr_expect_eq(f.inputs + f.ops, 0);
    cr_expect_eq(rig_op(&r, VMSIG_CMD_VM, VMSIG_VM_STOP), VMSIG_OK);
    cr_expect_eq(f.last_op, VMSIG_LIFECYCLE_PAUSE);
    cr_expect_eq(rig_op(&r, VMSIG_CMD_VM, VMSIG_VM_CONT), VMSIG_OK);
    cr_expect_eq(f.last_op, VMSIG_LIFECYCLE_RESUME);
    rig_end(&r);
}

Test(gate, a_vm_that_is_down_answers_queries_only) {
    rig r;
    fake f;
    setup(&r, &f);
    vmsig_host_epoch_moved(r.host, VMSIG_VM_DOWN, VMSIG_LIFECYCLE_QUIT);
    cr_expect_eq(rig_key(&r, 30, 1), VMSIG_UNAVAILABLE);
    cr_expect_eq(rig_op(&r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESUME), VMSIG_UNAVAILABLE);
    cr_expect_eq(rig_op(&r, VMSIG_CMD_VM, VMSIG_VM_QUERY), VMSIG_OK);
    vmsig_result res;
    memcpy(&res, rig_last(&r, VMSIG_EV_RESULT)->inln, sizeof res);
    cr_expect_eq(res.detail, VMSIG_VM_DOWN);
    cr_expect_eq(rig_fence(&r, VMSIG_LEASE_INPUT), VMSIG_OK, "what is down is quiet");
    cr_expect_eq(f.inputs + f.ops + f.quiets, 0);
    rig_end(&r);
}

Test(gate, bodies_that_make_no_sense_are_invalid) {
    static const struct {
        uint8_t kind;
        uint32_t len;
        uint8_t body[24];
    } bad[] = {
        {VMSIG_CMD_INPUT, 0, {0}},
        {VMSIG_CMD_INPUT, 7, {1, 1, 30}},
        {VMSIG_CMD_INPUT, 8, {9, 1, 30}},
        {VMSIG_CMD_INPUT, 8, {VMSIG_INPUT_KEY, 1, 0x00, 0x03}},             /* code 0x300 */
        {VMSIG_CMD_INPUT, 8, {VMSIG_INPUT_REL, 0, 16, 0}},                  /* no such axis */
        {VMSIG_CMD_INPUT, 8, {VMSIG_INPUT_ABS, 0, 0, 0, 0x00, 0x80, 0, 0}}, /* 32768 */
        {VMSIG_CMD_INPUT, 8, {VMSIG_INPUT_ABS, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}},
        {VMSIG_CMD_LIFECYCLE, 4, {0}},
        {VMSIG_CMD_LIFECYCLE, 4, {4}},
        {VMSIG_CMD_LIFECYCLE, 8, {1}},
        {VMSIG_CMD_VM, 4, {9}},
        {VMSIG_CMD_MEMWRITE, 8, {0}},
        {VMSIG_CMD_LEASE, 16, {VMSIG_LEASE_ACQUIRE}}, /* the gateway's matter */
        {VMSIG_CMD_LEASE, 16, {VMSIG_LEASE_FENCE, 0, 0, 0, 3}},
        {VMSIG_EV_STATE, 0, {0}},
        {77, 0, {0}},
    };
    rig r;
    fake f;
    setup(&r, &f);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vmsig_event cmd = rig_cmd(&r, bad[i].kind, bad[i].body, bad[i].len);
        cr_expect_eq(rig_send(&r, &cmd), VMSIG_INVALID, "case %zu", i);
    }
    cr_expect_eq(f.inputs + f.ops + f.quiets, 0);
    rig_end(&r);
}

/* ---- answers ----------------------------------------------------------------------------------------- */

Test(answers, a_command_handed_over_twice_has_one_effect_and_one_result) {
    rig r;
    fake f;
    setup(&r, &f);
    vmsig_input in = {.type = VMSIG_INPUT_KEY, .down = 1, .code = 30};
    vmsig_event cmd = rig_cmd(&r, VMSIG_CMD_INPUT, &in, sizeof in);
    cr_expect_eq(rig_send(&r, &cmd), VMSIG_OK);
    cr_expect_eq(rig_send(&r, &cmd), VMSIG_OK);
    cr_expect_eq(f.inputs, 1);
    cmd.ts_ns++; /* the id of another command, long after */
    cr_expect_eq(rig_send(&r, &cmd), -2);
    cr_expect_eq(f.inputs, 2);
    rig_end(&r);
}

Test(answers, results_bear_the_command_s_id_source_and_status) {
    rig r;
    fake f;
    setup(&r, &f);
    cr_expect_eq(rig_key(&r, 30, 1), VMSIG_OK);
    const vmsig_event *ev = rig_last(&r, VMSIG_EV_RESULT);
    cr_expect_eq(ev->corr, r.corr);
    cr_expect_eq(ev->source, VMSIG_SRC_INPUT);
    cr_expect_eq(ev->endpoint, EP);
    cr_expect_eq(ev->epoch, 7u);
    cr_expect_eq(ev->dir, VMSIG_DIR_UP);
    rig_op(&r, VMSIG_CMD_VM, VMSIG_VM_STOP);
    cr_expect_eq(rig_last(&r, VMSIG_EV_RESULT)->source, VMSIG_SRC_VMHOST);
    rig_write(&r, 0, 8, 1, 0);
    cr_expect_eq(rig_last(&r, VMSIG_EV_RESULT)->source, VMSIG_SRC_MEMWRITE);
    rig_fence(&r, VMSIG_LEASE_POWER);
    cr_expect_eq(rig_last(&r, VMSIG_EV_RESULT)->prio, VMSIG_PRIO_URGENT);
    rig_end(&r);
}

Test(answers, a_result_that_comes_later_comes_once) {
    rig r;
    fake f;
    setup(&r, &f);
    f.answer = VMSIG_HOST_LATER;
    cr_expect_eq(rig_op(&r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESET), -1);
    uint32_t corr = (uint32_t)r.corr;
    vmsig_host_done(r.host, corr, VMSIG_TIMEOUT, 9);
    vmsig_host_done(r.host, corr, VMSIG_OK, 0);
    vmsig_host_done(r.host, 0, VMSIG_OK, 0);
    cr_expect_eq(rig_status(&r, corr), VMSIG_TIMEOUT);
    cr_expect_eq(rig_count(&r, VMSIG_EV_RESULT), 1);
    rig_end(&r);
}

Test(answers, more_commands_under_way_than_the_record_holds_are_refused_with_an_answer) {
    rig r;
    fake f;
    setup(&r, &f);
    f.answer = VMSIG_HOST_LATER;
    for (unsigned i = 0; i < VMSIG_RECORD_EFFECTS; i++)
        cr_assert_eq(rig_op(&r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_PAUSE), -1);
    cr_expect_eq(rig_op(&r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_PAUSE), VMSIG_UNAVAILABLE);
    cr_expect_eq(f.ops, (int)VMSIG_RECORD_EFFECTS);
    rig_end(&r);
}

Test(answers, what_finds_no_room_is_owed_and_no_command_is_taken_meanwhile) {
    rig r;
    fake f;
    setup(&r, &f);
    r.n = 0;
    vmsig_memctx ctx = {.root = 0x1000};
    const vmsig_seg segs[3] = {{0, 0x1000, 0}, {0x2000, 0x1000, 0x1000}, {0x4000, 0x1000, 0x2000}};
    r.full = true;
    cr_expect_eq(rig_key(&r, 30, 1), -1);
    vmsig_host_epoch_moved(r.host, VMSIG_VM_RUNNING, VMSIG_LIFECYCLE_RESET);
    vmsig_host_memctx(r.host, &ctx, segs, 3);
    vmsig_input in = {.type = VMSIG_INPUT_KEY, .down = 0, .code = 30};
    vmsig_event cmd = rig_cmd(&r, VMSIG_CMD_INPUT, &in, sizeof in);
    errno = 0;
    cr_expect_eq(ops()->command(r.host, &cmd), -1);
    cr_expect_eq(errno, EAGAIN);
    cr_expect_not(vmsig_host_flush(r.host));
    cr_expect_eq(r.n, 0);
    cr_expect_eq(f.inputs, 1);

    r.full = false;
    cr_expect(vmsig_host_flush(r.host));
    static const uint8_t kinds[] = {VMSIG_EV_MEMCTX_INVALID, VMSIG_EV_VMHOST, VMSIG_EV_MEMCTX, VMSIG_EV_RESULT};
    cr_assert_eq(r.n, 4);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(r.ev[i].kind, kinds[i], "event %d", i);
    cr_expect_eq(rig_send(&r, &cmd), VMSIG_OK);
    cr_expect(vmsig_host_flush(r.host));
    cr_expect_eq(r.n, 5, "nothing is told twice");
    rig_end(&r);
}

/* ---- what is told ------------------------------------------------------------------------------------ */

Test(telling, when_the_epoch_moves_holders_hear_first_that_all_is_void) {
    rig r;
    fake f;
    setup(&r, &f);
    vmsig_memctx ctx = {.root = 0x1000, .ram_id = 3};
    const vmsig_seg seg = {0, 0x10000, 0};
    vmsig_host_memctx(r.host, &ctx, &seg, 1);
    const vmsig_event *ev = rig_last(&r, VMSIG_EV_MEMCTX);
    cr_assert_not_null(ev);
    cr_expect_eq(ev->flags, VMSIG_EVF_RETAIN);
    cr_expect_eq(ev->epoch, 7u);
    cr_expect_eq(ev->source, VMSIG_SRC_MEMCTX);

    r.n = 0;
    vmsig_host_epoch_moved(r.host, VMSIG_VM_PAUSED, VMSIG_LIFECYCLE_RESET);
    cr_expect_eq(vmsig_host_epoch(r.host), 8u);
    cr_assert_eq(r.n, 2);
    cr_expect_eq(r.ev[0].kind, VMSIG_EV_MEMCTX_INVALID);
    cr_expect_eq(r.ev[0].prio, VMSIG_PRIO_URGENT);
    cr_expect_eq(r.ev[0].epoch, 8u);
    cr_expect_eq(r.ev[1].kind, VMSIG_EV_VMHOST);
    cr_expect_eq(r.ev[1].flags, VMSIG_EVF_RETAIN);
    cr_expect_eq(r.ev[1].epoch, 8u);
    vmsig_vmhost v;
    memcpy(&v, r.ev[1].inln, sizeof v);
    cr_expect_eq(v.state, VMSIG_VM_PAUSED);
    cr_expect_eq(v.cause, VMSIG_LIFECYCLE_RESET);
    rig_end(&r);
}

Test(telling, an_address_space_of_an_ended_epoch_is_never_told) {
    rig r;
    fake f;
    setup(&r, &f);
    vmsig_memctx ctx = {.root = 0x1000};
    const vmsig_seg seg = {0, 0x10000, 0};
    r.full = true;
    vmsig_host_memctx(r.host, &ctx, &seg, 1);
    vmsig_host_epoch_moved(r.host, VMSIG_VM_RUNNING, 0);
    r.full = false;
    cr_expect(vmsig_host_flush(r.host));
    cr_expect_eq(rig_count(&r, VMSIG_EV_MEMCTX), 0);
    cr_expect_eq(rig_count(&r, VMSIG_EV_MEMCTX_INVALID), 1);
    rig_end(&r);
}

/* ---- fences: quiet, then neutral --------------------------------------------------------------------- */

Test(fence, held_keys_and_buttons_are_let_go_and_nothing_else) {
    rig r;
    fake f;
    setup(&r, &f);
    const vmsig_input chord[4] = {{.type = VMSIG_INPUT_KEY, .down = 1, .code = 29},
                                  {.type = VMSIG_INPUT_KEY, .down = 1, .code = 46},
                                  {.type = VMSIG_INPUT_KEY, .down = 0, .code = 46},
                                  {.type = VMSIG_INPUT_BTN, .down = 1, .code = 0x110}};
    vmsig_event cmd = rig_cmd(&r, VMSIG_CMD_INPUT, chord, sizeof chord);
    cr_expect_eq(rig_send(&r, &cmd), VMSIG_OK);
    f.in_n = 0;
    cr_expect_eq(rig_fence(&r, VMSIG_LEASE_POWER), VMSIG_OK);
    cr_expect_eq(f.in_n, 0, "only the input class lets go");
    cr_expect_eq(rig_fence(&r, VMSIG_LEASE_INPUT), VMSIG_OK);
    cr_assert_eq(f.in_n, 2);
    cr_expect_eq(f.in[0].type, VMSIG_INPUT_KEY);
    cr_expect_eq(f.in[0].code, 29);
    cr_expect_eq(f.in[0].down, 0);
    cr_expect_eq(f.in[1].type, VMSIG_INPUT_BTN);
    cr_expect_eq(f.in[1].code, 0x110);
    cr_expect_eq(f.in[1].down, 0);
    cr_expect_eq(f.quiets, 2);
    cr_expect_eq(rig_fence(&r, VMSIG_LEASE_INPUT), VMSIG_OK);
    cr_expect_eq(f.in_n, 2, "and only once");
    rig_end(&r);
}

Test(fence, as_many_keys_as_there_are) {
    rig r;
    fake f;
    setup(&r, &f);
    for (uint16_t code = 1; code <= 40; code++)
        cr_assert_eq(rig_key(&r, code, 1), VMSIG_OK);
    f.in_n = 0;
    cr_expect_eq(rig_fence(&r, VMSIG_LEASE_INPUT), VMSIG_OK);
    cr_expect_eq(f.in_n, 40);
    rig_end(&r);
}

Test(fence, keys_of_a_vm_that_stands_still_are_let_go_before_it_goes_on) {
    rig r;
    fake f;
    setup(&r, &f);
    cr_expect_eq(rig_key(&r, 30, 1), VMSIG_OK);
    vmsig_host_state(r.host, VMSIG_VM_PAUSED, VMSIG_LIFECYCLE_PAUSE);
    f.in_n = 0;
    f.answer = VMSIG_UNAVAILABLE;
    rig_fence(&r, VMSIG_LEASE_INPUT);
    cr_expect_eq(f.in_n, 0);
    f.answer = VMSIG_OK;
    vmsig_host_state(r.host, VMSIG_VM_RUNNING, VMSIG_LIFECYCLE_RESUME);
    cr_expect_eq(f.in_n, 1);
    cr_expect_eq(f.in[0].down, 0);
    rig_end(&r);
}

Test(fence, a_reset_forgets_what_was_held) {
    rig r;
    fake f;
    setup(&r, &f);
    cr_expect_eq(rig_key(&r, 30, 1), VMSIG_OK);
    vmsig_host_epoch_moved(r.host, VMSIG_VM_RUNNING, VMSIG_LIFECYCLE_RESET);
    f.in_n = 0;
    cr_expect_eq(rig_fence(&r, VMSIG_LEASE_INPUT), VMSIG_OK);
    cr_expect_eq(f.in_n, 0);
    rig_end(&r);
}

Test(fence, what_cannot_be_made_quiet_is_said) {
    rig r;
    fake f;
    setup(&r, &f);
    f.answer = VMSIG_TIMEOUT;
    cr_expect_eq(rig_fence(&r, VMSIG_LEASE_INPUT), VMSIG_TIMEOUT);
    rig_end(&r);
}

/* ---- the death of the host --------------------------------------------------------------------------- */

/* The record as a killed host leaves it: its memory is gone, the memfd is not. (Closing stores nothing in it.) */
static void killed(rig *r) {
    ops()->close(r->host);
    r->host = NULL;
}

Test(record, an_effect_that_was_under_way_is_answered_unknown_and_never_redone) {
    int fd = vmsig_shm_create("record", VMSIG_RECORD_BYTES);
    rig r;
    fake f;
    rig_pages(&r);
    setup_at(&r, &f, fd);
    rig_start(&r);
    f.answer = VMSIG_HOST_LATER;
    uint32_t op = VMSIG_LIFECYCLE_RESET;
    vmsig_event cmd = rig_cmd(&r, VMSIG_CMD_LIFECYCLE, &op, sizeof op);
    cr_expect_eq(rig_send(&r, &cmd), -1);
    killed(&r);

    setup_at(&r, &f, fd);
    rig_start(&r);
    cr_expect_eq(rig_status(&r, cmd.corr), VMSIG_UNKNOWN);
    cr_expect_eq(rig_send(&r, &cmd), VMSIG_UNKNOWN, "handed over again: still one result");
    cr_expect_eq(f.ops, 0);
    rig_end(&r);
    close(fd);
}

Test(record, a_result_that_was_not_published_is_published_by_the_successor) {
    int fd = vmsig_shm_create("record", VMSIG_RECORD_BYTES);
    rig r;
    fake f;
    rig_pages(&r);
    setup_at(&r, &f, fd);
    rig_start(&r);
    r.full = true;
    f.answer = VMSIG_PARTIAL;
    uint32_t op = VMSIG_LIFECYCLE_RESET;
    vmsig_event cmd = rig_cmd(&r, VMSIG_CMD_LIFECYCLE, &op, sizeof op);
    cr_expect_eq(rig_send(&r, &cmd), -1);
    killed(&r);

    r.full = false;
    setup_at(&r, &f, fd);
    rig_start(&r);
    cr_expect_eq(rig_status(&r, cmd.corr), VMSIG_PARTIAL);
    cr_expect_eq(f.ops, 0);
    rig_end(&r);
    close(fd);
}

Test(record, a_result_known_to_be_out_is_not_published_again) {
    int fd = vmsig_shm_create("record", VMSIG_RECORD_BYTES);
    rig r;
    fake f;
    rig_pages(&r);
    setup_at(&r, &f, fd);
    rig_start(&r);
    r.full = true; /* as if it had died between publishing and noting it */
    uint32_t op = VMSIG_LIFECYCLE_RESET;
    vmsig_event cmd = rig_cmd(&r, VMSIG_CMD_LIFECYCLE, &op, sizeof op);
    cr_expect_eq(rig_send(&r, &cmd), -1);
    killed(&r);

    r.full = false;
    setup_at(&r, &f, fd);
    vmsig_host_answered(r.host, (uint32_t)cmd.corr);
    rig_start(&r);
    cr_expect_eq(rig_send(&r, &cmd), -1);
    cr_expect_eq(f.ops, 0);
    rig_end(&r);
    close(fd);
}

Test(record, a_fence_that_was_under_way_is_raised_anew_and_held_keys_are_known) {
    int fd = vmsig_shm_create("record", VMSIG_RECORD_BYTES);
    rig r;
    fake f;
    rig_pages(&r);
    setup_at(&r, &f, fd);
    rig_start(&r);
    cr_expect_eq(rig_key(&r, 30, 1), VMSIG_OK);
    f.answer = VMSIG_UNAVAILABLE;
    cr_expect_eq(rig_key(&r, 31, 1), VMSIG_UNAVAILABLE);
    f.answer = VMSIG_HOST_LATER;
    vmsig_lease l = {.op = VMSIG_LEASE_FENCE, .cls = VMSIG_LEASE_MEMWRITE};
    vmsig_event cmd = rig_cmd(&r, VMSIG_CMD_LEASE, &l, sizeof l);
    cr_expect_eq(rig_send(&r, &cmd), -1);
    killed(&r);

    setup_at(&r, &f, fd);
    rig_start(&r);
    cr_expect_eq(f.quiets, 1);
    cr_expect_eq(rig_status(&r, cmd.corr), VMSIG_OK);
    cr_expect_eq(f.in_n, 0);
    cr_expect_eq(rig_fence(&r, VMSIG_LEASE_INPUT), VMSIG_OK);
    cr_expect_eq(f.in_n, 2, "pressed, or perhaps pressed, by the predecessor");
    rig_end(&r);
    close(fd);
}

Test(record, the_state_of_something_else_is_refused) {
    int fd = vmsig_shm_create("record", VMSIG_RECORD_BYTES);
    vmsig_state_head *s;
    bool fresh;
    cr_assert_eq(vmsig_state_open(fd, 99, 1, 4096, &s, &fresh), 0);
    vmsig_state_commit(s, 99, 1, 4096);
    vmsig_state_close(s);
    rig r;
    fake f = {0};
    rig_pages(&r);
    vmsig_host_env env = rig_env(&r, fd);
    cr_expect_null(vmsig_host_new(EP, &backend, &f, &env));
    rig_end(&r);
    close(fd);
}
