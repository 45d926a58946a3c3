/* An input library in a process of its own: the last look before each effect, and what it leaves to its successor. */
#include <linux/input-event-codes.h>
#include <sys/mman.h>

#include "actors/runtime/record.h"
#include "tests/runtime/kit.h"

#define SENSOR TEST_BUILD "/bin/vmsig-sensor"
#define TAKER  TEST_BUILD "/plugins/taker.so"
#define TOKEN  21u

typedef struct rig {
    kit_actor a;
    kit_link in, out;
    vmsig_epoch_page *epoch;
    vmsig_fence_page *fences;
    int board_fd, epoch_fd, fence_fd, state_fd;
    uint32_t now; /* the epoch that commands are stamped with */
} rig;

static void boot(rig *r) {
    char *argv[] = {SENSOR, "--plugin", TAKER, NULL};
    kit_fork(&r->a, NULL, NULL, argv);
    kit_send_boot(&r->a);
    kit_send_page(&r->a, VMSIG__PB__PAGE_KIND__PAGE_BOARD, false, r->board_fd);
    kit_send_page(&r->a, VMSIG__PB__PAGE_KIND__PAGE_EPOCH, false, r->epoch_fd);
    if (r->fences)
        kit_send_page(&r->a, VMSIG__PB__PAGE_KIND__PAGE_FENCES, false, r->fence_fd);
    Vmsig__Pb__Page state = VMSIG__PB__PAGE__INIT;
    state.kind = VMSIG__PB__PAGE_KIND__PAGE_STATE;
    state.writer = true;
    kit_send(&r->a, VMSIG__PB__TO_ACTOR__M_PAGE, &state, &r->state_fd, 1);
}

static void start(rig *r, bool fences) {
    *r = (rig){.a = kit_sensor(), .in = kit_new_link(1, VMSIG_DIR_DOWN), .out = kit_new_link(2, VMSIG_DIR_UP)};
    kit_board(&r->board_fd);
    r->epoch = kit_epoch(&r->epoch_fd);
    r->fences = fences ? kit_fences(&r->fence_fd) : NULL;
    r->state_fd = vmsig_shm_create("state", VMSIG_RECORD_BYTES);
    r->now = KIT_EPOCH;
    boot(r);
    kit_consume(&r->out);
    kit_output(&r->a, &r->out);
    kit_input(&r->a, &r->in);
    kit_produce(&r->in);
    kit_take_reader(&r->in);
    kit_peer(&r->a, &r->out, true);
    kit_peer(&r->a, &r->in, false);
    kit_take_ring(&r->out);
    kit_go(&r->a);
    if (fences)
        vmsig_fence_grant(r->fences, KIT_EP, VMSIG_LEASE_INPUT, TOKEN);
}

/* Killed, and started anew over the same links and state. */
static void restart(rig *r) {
    kit_kill(&r->a);
    close(r->a.sock);
    boot(r);
    kit_output(&r->a, &r->out);
    kit_input(&r->a, &r->in);
    kit_take_reader(&r->in);
    kit_peer(&r->a, &r->out, true);
    kit_peer(&r->a, &r->in, false);
    kit_take_ring(&r->out);
    kit_go(&r->a);
}

static void put(rig *r, uint8_t kind, uint32_t corr, uint64_t token, const void *body, uint32_t len) {
    vmsig_event ev = kit_event(kind, 0);
    ev.dir = VMSIG_DIR_DOWN;
    ev.source = VMSIG_SRC_INPUT;
    ev.epoch = r->now;
    ev.corr = corr;
    ev.token = token;
    ev.ts_ns = corr; /* the same each time: known again */
    ev.inln_len = len;
    memcpy(ev.inln, body, len);
    kit_put(&r->in, &ev);
}

static void press(rig *r, uint32_t corr, uint64_t token, uint16_t code, uint8_t down) {
    const vmsig_input in = {.type = VMSIG_INPUT_KEY, .down = down, .code = code};
    put(r, VMSIG_CMD_INPUT, corr, token, &in, sizeof in);
}

/* The gateway's: the fence is raised, then the question asked. */
static void fence(rig *r, uint32_t corr) {
    const vmsig_lease l = {.op = VMSIG_LEASE_FENCE, .cls = VMSIG_LEASE_INPUT};
    vmsig_fence_raise(r->fences, KIT_EP, VMSIG_LEASE_INPUT, TOKEN + 1);
    put(r, VMSIG_CMD_LEASE, corr, TOKEN + 1, &l, sizeof l);
}

static void expect_key(rig *r, uint16_t code, uint8_t down) {
    vmsig_event ev;
    vmsig_input in;
    cr_assert_eq(kit_next(&r->out, &ev), 1, "key %u did not come", code);
    cr_assert_eq(ev.kind, 70, "kind %u instead of key %u", ev.kind, code);
    memcpy(&in, ev.inln, sizeof in);
    cr_expect_eq(in.code, code);
    cr_expect_eq(in.down, down);
    free(ev.payload);
}

static void expect_result(rig *r, uint32_t corr, vmsig_status status) {
    vmsig_event ev;
    vmsig_result result;
    cr_assert_eq(kit_next(&r->out, &ev), 1, "the result of %u did not come", corr);
    cr_assert_eq(ev.kind, VMSIG_EV_RESULT, "kind %u instead of the result of %u", ev.kind, corr);
    cr_expect_eq(ev.source, KIT_SOURCE, "a sensor speaks for itself");
    memcpy(&result, ev.inln, sizeof result);
    cr_expect_eq(ev.corr, corr);
    cr_expect_eq(result.status, (int32_t)status, "command %u: status %d", corr, result.status);
}

Test(drive, epoch_and_token_are_looked_at_before_each_effect) {
    rig r;
    start(&r, true);
    press(&r, 1, TOKEN, KEY_A, 1);
    expect_key(&r, KEY_A, 1);
    expect_result(&r, 1, VMSIG_OK);
    press(&r, 2, 0, KEY_B, 1);
    expect_result(&r, 2, VMSIG_NOLEASE);
    press(&r, 3, TOKEN - 1, KEY_B, 1);
    expect_result(&r, 3, VMSIG_FENCED);
    r.now = KIT_EPOCH - 1;
    press(&r, 4, TOKEN, KEY_B, 1);
    expect_result(&r, 4, VMSIG_FENCED);
    r.now = KIT_EPOCH;
    vmsig_fence_raise(r.fences, KIT_EP, VMSIG_LEASE_INPUT, TOKEN + 1);
    press(&r, 5, TOKEN, KEY_B, 1);
    expect_result(&r, 5, VMSIG_FENCED);
    const vmsig_vm query = {.op = VMSIG_VM_QUERY};
    put(&r, VMSIG_CMD_VM, 6, 0, &query, sizeof query);
    expect_result(&r, 6, VMSIG_INVALID); /* the library refuses */
    put(&r, VMSIG_CMD_INPUT, 7, TOKEN, "nonsense", 7);
    expect_result(&r, 7, VMSIG_INVALID);
    kit_stop(&r.a);
    expect_key(&r, KEY_A, 0); /* who goes lets go */
}

Test(drive, without_fences_nothing_that_needs_a_lease_has_an_effect) {
    rig r;
    start(&r, false);
    press(&r, 1, TOKEN, KEY_A, 1);
    expect_result(&r, 1, VMSIG_UNAVAILABLE);
    kit_stop(&r.a);
}

Test(drive, a_fence_is_answered_once_its_effects_are_over_and_the_keys_let_go) {
    rig r;
    start(&r, true);
    press(&r, 1, TOKEN, KEY_LEFTSHIFT, 1);
    expect_key(&r, KEY_LEFTSHIFT, 1);
    expect_result(&r, 1, VMSIG_OK);
    press(&r, 2, TOKEN, KEY_F1, 1);
    expect_result(&r, 2, VMSIG_INVALID); /* what was refused is not held */
    press(&r, 3, TOKEN, KEY_F2, 1);
    expect_key(&r, KEY_F2, 1); /* takes long */
    fence(&r, 4);
    vmsig_event invalid = kit_event(VMSIG_EV_MEMCTX_INVALID, 0); /* ends it */
    invalid.dir = VMSIG_DIR_DOWN;
    kit_put(&r.in, &invalid);
    expect_result(&r, 3, VMSIG_PARTIAL);
    expect_key(&r, KEY_LEFTSHIFT, 0);
    expect_key(&r, KEY_F2, 0);
    expect_result(&r, 4, VMSIG_OK);
    kit_stop(&r.a);
}

Test(drive, when_the_epoch_ends_what_is_held_is_let_go) {
    rig r;
    start(&r, true);
    press(&r, 1, TOKEN, KEY_A, 1);
    expect_key(&r, KEY_A, 1);
    expect_result(&r, 1, VMSIG_OK);
    vmsig_epoch_advance(r.epoch);
    vmsig_event end = kit_event(VMSIG_EV_EPOCH_END, 0);
    end.dir = VMSIG_DIR_DOWN;
    end.inln_len = 0;
    kit_put(&r.in, &end);
    expect_key(&r, KEY_A, 0);
    r.now = KIT_EPOCH + 1;
    press(&r, 2, TOKEN, KEY_B, 1);
    expect_key(&r, KEY_B, 1);
    expect_result(&r, 2, VMSIG_OK);
    kit_stop(&r.a);
}

Test(drive, a_successor_answers_unknown_does_nothing_twice_and_lets_go) {
    rig r;
    start(&r, true);
    press(&r, 1, TOKEN, KEY_LEFTCTRL, 1);
    expect_key(&r, KEY_LEFTCTRL, 1);
    expect_result(&r, 1, VMSIG_OK);
    press(&r, 2, TOKEN, KEY_F2, 1);
    expect_key(&r, KEY_F2, 1);
    fence(&r, 3); /* cannot be answered yet */
    for (int ms = 0; vmsig_ring_room(&r.in.out, r.in.slots) < r.in.slots && ms < KIT_MS; ms++)
        poll(NULL, 0, 1); /* until it was taken */
    restart(&r);
    expect_result(&r, 2, VMSIG_UNKNOWN);
    expect_key(&r, KEY_LEFTCTRL, 0);
    expect_key(&r, KEY_F2, 0);
    expect_result(&r, 3, VMSIG_OK);
    press(&r, 2, TOKEN, KEY_F2, 1); /* handed over again */
    press(&r, 4, TOKEN, KEY_B, 1);
    expect_result(&r, 4, VMSIG_FENCED);
    kit_stop(&r.a);
}
