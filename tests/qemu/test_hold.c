/* Memory writes that take a VM that stands still; migration; and what a host adapter that dies leaves to the next one. */
#include <sys/wait.h>

#include "actors/runtime/record.h"
#include "rings/atomics.h"
#include "tests/qemu/monitor.h"

#define PLACE 0x310000u /* of guest memory that nobody uses */

/* ---- larger writes ----------------------------------------------------------------------------------- */

static vmsig_event larger(bench *b, uint64_t at, void *bytes, uint32_t size) {
    vmsig_memwrite w = {.addr = at, .size = size};
    vmsig_event cmd = rig_cmd(&b->r, VMSIG_CMD_MEMWRITE, &w, sizeof w);
    cmd.payload = bytes;
    cmd.payload_len = size;
    return cmd;
}

Test(hold, a_larger_write_to_a_vm_that_runs) {
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, usual);
    ready(&b);
    uint32_t epoch = vmsig_host_epoch(b.r.host);
    int told = rig_count(&b.r, VMSIG_EV_VMHOST);
    static uint8_t bytes[100000];
    memset(bytes, 'q', sizeof bytes);
    vmsig_event cmd = larger(&b, PLACE + 1, bytes, sizeof bytes);
    cr_expect_eq(command(&b, &cmd), VMSIG_OK);
    cr_expect_eq(phys(&b, PLACE), 0x7171717171717100);
    cr_expect_eq(phys(&b, PLACE + sizeof bytes), 'q');
    uint64_t both[2] = {0xfeed, 0}; /* echo_in, echo_out: the guest copies one to the other */
    cmd = larger(&b, BOX(echo_in), both, sizeof both);
    cr_expect_eq(command(&b, &cmd), VMSIG_OK);
    UNTIL(&b, phys(&b, BOX(echo_out)) == 0xfeed);
    uint64_t was = loops_of(&b);
    UNTIL(&b, loops_of(&b) > was);
    cr_expect_eq(vmsig_host_epoch(b.r.host), epoch, "its own stop and cont are nobody else's");
    cr_expect_eq(rig_count(&b.r, VMSIG_EV_VMHOST), told, "and are not told");
    cr_expect_eq(rig_status(&b.r, 1), VMSIG_OK);
    cmd = larger(&b, 32u << 20, bytes, 100);
    cr_expect_eq(rig_send(&b.r, &cmd), VMSIG_INVALID, "what cannot be done is answered at once");
    end(&b);
}

Test(hold, many_writes_in_their_order_with_keys_in_between) {
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, usual);
    ready(&b);
    uint64_t keys = phys(&b, BOX(keys)), first = b.r.corr + 1;
    for (uint64_t i = 1; i <= 20; i++) {
        uint64_t both[2] = {i, i};
        vmsig_event cmd = larger(&b, PLACE, both, sizeof both);
        rig_send(&b.r, &cmd);
        vmsig_memwrite w = {.addr = PLACE + 8, .value = i + 100, .size = 8}; /* it does not overtake the larger one */
        cmd = rig_cmd(&b.r, VMSIG_CMD_MEMWRITE, &w, sizeof w);
        rig_send(&b.r, &cmd);
        vmsig_input in = {.type = VMSIG_INPUT_KEY, .code = KEY_A, .down = i % 2 == 1};
        cmd = rig_cmd(&b.r, VMSIG_CMD_INPUT, &in, sizeof in);
        rig_send(&b.r, &cmd);
    }
    for (uint64_t corr = first; corr <= b.r.corr; corr++) {
        UNTIL(&b, rig_status(&b.r, corr) != -1);
        cr_expect_eq(rig_status(&b.r, corr), VMSIG_OK, "command %d", (int)(corr - first));
    }
    cr_expect_eq(phys(&b, PLACE), 20);
    cr_expect_eq(phys(&b, PLACE + 8), 120);
    UNTIL(&b, phys(&b, BOX(keys)) == keys + 20);
    end(&b);
}

/* What comes while it stands still for a write. */
static uint64_t write_and(bench *b, uint8_t kind, uint32_t op, int status, int other) {
    uint64_t both[2] = {7, 7};
    vmsig_event cmd = larger(b, PLACE, both, sizeof both), then = rig_cmd(&b->r, kind, &op, sizeof op);
    rig_send(&b->r, &cmd);
    rig_send(&b->r, &then);
    UNTIL(b, rig_status(&b->r, cmd.corr) != -1 && rig_status(&b->r, then.corr) != -1);
    cr_expect_eq(rig_status(&b->r, cmd.corr), status);
    cr_expect_eq(rig_status(&b->r, then.corr), other);
    cr_expect_eq(op == VMSIG_LIFECYCLE_RESET || phys(b, PLACE) == 7, 1);
    return loops_of(b);
}

Test(hold, a_pause_that_comes_in_between_lasts_and_so_does_one_from_before) {
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, usual);
    ready(&b);
    uint32_t epoch = vmsig_host_epoch(b.r.host);
    uint64_t was = write_and(&b, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_PAUSE, VMSIG_OK, VMSIG_OK);
    cr_expect_eq(rig_vm_state(&b.r), VMSIG_VM_PAUSED);
    cr_expect_eq(op(&b, VMSIG_CMD_VM, VMSIG_VM_QUERY), VMSIG_OK);
    cr_expect_eq(loops_of(&b), was);
    uint64_t both[2] = {8, 8};
    vmsig_event cmd = larger(&b, PLACE, both, sizeof both);
    cr_expect_eq(rig_send(&b.r, &cmd), VMSIG_OK, "at once");
    cr_expect_eq(op(&b, VMSIG_CMD_VM, VMSIG_VM_QUERY), VMSIG_OK);
    cr_expect_eq(loops_of(&b), was, "it stays paused");
    cr_expect_eq(op(&b, VMSIG_CMD_VM, VMSIG_VM_CONT), VMSIG_OK);
    UNTIL(&b, loops_of(&b) > was);
    was = write_and(&b, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESUME, VMSIG_OK, VMSIG_OK);
    UNTIL(&b, loops_of(&b) > was);
    cr_expect_eq(vmsig_host_epoch(b.r.host), epoch);
    was = write_and(&b, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESET, VMSIG_OK, VMSIG_OK);
    ready_again(&b, epoch);
    cr_expect_eq(rig_vm_state(&b.r), VMSIG_VM_RUNNING);
    end(&b);
}

Test(hold, pause_and_resume_while_it_stands_still_end_with_a_vm_that_runs) {
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, usual);
    ready(&b);
    uint64_t both[2] = {7, 7};
    uint32_t pause = VMSIG_LIFECYCLE_PAUSE, resume = VMSIG_LIFECYCLE_RESUME;
    vmsig_event w = larger(&b, PLACE, both, sizeof both), p = rig_cmd(&b.r, VMSIG_CMD_LIFECYCLE, &pause, sizeof pause),
                r = rig_cmd(&b.r, VMSIG_CMD_LIFECYCLE, &resume, sizeof resume);
    rig_send(&b.r, &w);
    rig_send(&b.r, &p);
    rig_send(&b.r, &r);
    UNTIL(&b, rig_status(&b.r, r.corr) != -1 && rig_status(&b.r, w.corr) != -1);
    cr_expect(rig_status(&b.r, w.corr) == VMSIG_OK && rig_status(&b.r, r.corr) == VMSIG_OK);
    uint64_t was = loops_of(&b);
    UNTIL(&b, loops_of(&b) > was && rig_vm_state(&b.r) == VMSIG_VM_RUNNING);
    end(&b);
}

Test(hold, a_fence_raised_before_the_vm_stands_still_leaves_the_write_without_effect) {
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, usual);
    ready(&b);
    uint64_t both[2] = {9, 9};
    vmsig_event w = larger(&b, PLACE, both, sizeof both);
    rig_send(&b.r, &w);
    vmsig_fence_raise(b.r.fences, EP, VMSIG_LEASE_MEMWRITE, TOKEN + 1);
    cr_expect_eq(fence(&b, VMSIG_LEASE_MEMWRITE), VMSIG_OK);
    cr_expect_eq(rig_status(&b.r, w.corr), VMSIG_FENCED, "answered before quiet is");
    cr_expect_eq(phys(&b, PLACE), 0);
    end(&b);
}

Test(hold, of_a_qemu_that_dies_meanwhile_nobody_knows) {
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, usual);
    ready(&b);
    uint64_t both[2] = {9, 9};
    kill(b.q->machine.pid, SIGSTOP);
    vmsig_event w = larger(&b, PLACE, both, sizeof both);
    cr_expect_eq(rig_send(&b.r, &w), -1, "%d", rig_status(&b.r, w.corr));
    kill(b.q->machine.pid, SIGKILL);
    uint64_t until_ns = vmsig_now_ns() + DEADLINE_NS;
    while (turn(&b) == 0)
        cr_assert_lt(vmsig_now_ns(), until_ns);
    cr_expect_eq(rig_status(&b.r, w.corr), VMSIG_UNKNOWN);
    end(&b);
}

Test(hold, a_qemu_that_hangs_times_out_and_goes_on_when_it_can) {
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, usual);
    ready(&b);
    uint64_t both[2] = {9, 9};
    kill(b.q->machine.pid, SIGSTOP);
    vmsig_event w = larger(&b, PLACE, both, sizeof both);
    cr_expect_eq(command(&b, &w), VMSIG_TIMEOUT);
    cr_expect_eq(phys(&b, PLACE), 0);
    kill(b.q->machine.pid, SIGCONT);
    uint64_t was = loops_of(&b);
    UNTIL(&b, loops_of(&b) > was + 1000);
    w = larger(&b, PLACE, both, sizeof both);
    cr_expect_eq(command(&b, &w), VMSIG_OK);
    cr_expect_eq(rig_vm_state(&b.r), VMSIG_VM_RUNNING);
    end(&b);
}

/* ---- somebody else ----------------------------------------------------------------------------------- */

Test(hold, who_stops_and_resumes_it_from_elsewhere_moves_the_epoch) {
    bench b;
    monitor m;
    if (no_qemu())
        return;
    with_monitor(&m);
    open_vm(&b, m.with);
    ready(&b);
    connect_monitor(&m);
    uint32_t epoch = vmsig_host_epoch(b.r.host);
    tell(&m, "{\"execute\":\"stop\"}");
    UNTIL(&b, rig_vm_state(&b.r) == VMSIG_VM_PAUSED);
    uint64_t both[2] = {3, 3}, was = loops_of(&b);
    vmsig_event w = larger(&b, PLACE, both, sizeof both);
    cr_expect_eq(command(&b, &w), VMSIG_OK);
    cr_expect_eq(op(&b, VMSIG_CMD_VM, VMSIG_VM_QUERY), VMSIG_OK);
    cr_expect_eq(loops_of(&b), was, "it is not let go on because of a write");
    tell(&m, "{\"execute\":\"cont\"}");
    UNTIL(&b, rig_vm_state(&b.r) == VMSIG_VM_RUNNING);
    cr_expect_eq(vmsig_host_epoch(b.r.host), epoch + 1);
    tell(&m, "{\"execute\":\"stop\"}");
    UNTIL(&b, rig_vm_state(&b.r) == VMSIG_VM_PAUSED);
    cr_expect_eq(op(&b, VMSIG_CMD_VM, VMSIG_VM_CONT), VMSIG_OK);
    cr_expect_eq(vmsig_host_epoch(b.r.host), epoch + 2, "he may have loaded a snapshot, whoever resumes it");
    end(&b);
    end_monitor(&m);
}

Test(hold, nothing_is_written_while_the_vm_migrates) {
    bench b;
    monitor m;
    if (no_qemu())
        return;
    with_monitor(&m);
    open_vm(&b, m.with);
    ready(&b);
    connect_monitor(&m);
    tell(&m, "{\"execute\":\"migrate-set-parameters\",\"arguments\":{\"max-bandwidth\":4096}}");
    tell(&m, "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"exec:cat >/dev/null\"}}");
    uint64_t both[2] = {3, 3};
    UNTIL(&b, b.q->migrating);
    cr_expect_eq(poke(&b, PLACE, 1), VMSIG_UNAVAILABLE);
    vmsig_event w = larger(&b, PLACE, both, sizeof both);
    cr_expect_eq(rig_send(&b.r, &w), VMSIG_UNAVAILABLE);
    cr_expect_eq(op(&b, VMSIG_CMD_VM, VMSIG_VM_QUERY), VMSIG_OK, "a sample does not open it again");
    while (b.q->sampling)
        cr_assert_eq(turn(&b), 0);
    cr_expect_eq(poke(&b, PLACE, 1), VMSIG_UNAVAILABLE);
    tell(&m, "{\"execute\":\"migrate_cancel\"}");
    UNTIL(&b, !b.q->migrating);
    cr_expect_eq(poke(&b, PLACE, 1), VMSIG_OK);
    tell(&m, "{\"execute\":\"migrate-set-parameters\",\"arguments\":{\"max-bandwidth\":1000000000}}");
    tell(&m, "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"exec:cat >/dev/null\"}}");
    UNTIL(&b, b.q->migrated);
    cr_expect_eq(poke(&b, PLACE, 1), VMSIG_UNAVAILABLE, "it is elsewhere");
    UNTIL(&b, tells(&m, "{\"execute\":\"cont\"}"));
    UNTIL(&b, !b.q->migrating);
    cr_expect_eq(poke(&b, PLACE, 1), VMSIG_OK);
    end(&b);
    end_monitor(&m);
}

/* ---- who dies, and who comes next -------------------------------------------------------------------- */

typedef struct heir {
    bench b;
    vmsig_qemu_given given;
    int state_fd;
    uint64_t *point; /* shared with the worker: it has come as far as that */
} heir;

static void take_over(heir *h, bool resumed) {
    const vmsig_host_backend *backend;
    void *vm;
    char err[256] = "";
    h->given.resumed = resumed;
    cr_assert_eq(vmsig_qemu_adopt(&h->given, &backend, &vm, err, sizeof err), 0, "%s", err);
    h->b.q = vm;
    vmsig_host_env env = rig_env(&h->b.r, h->state_fd);
    h->b.r.host = vmsig_host_new(EP, backend, vm, &env);
    cr_assert_not_null(h->b.r.host);
}

static int emit_or_die(void *token, vmsig_event *ev) {
    heir *h = token;
    if (ev->kind == VMSIG_EV_MEMCTX_INVALID)
        _exit(0);
    return rig_emit(&h->b.r, ev);
}

typedef enum death { AS_THE_EPOCH_MOVES, WITH_ALL_COMMANDS_SENT, STOPPED_FOR_A_WRITE, WITH_A_RESET_HALF_DONE } death;

/* A worker that is no more: it boots the guest, and comes to the instruction where it dies. */
static _Noreturn void first_worker(heir *h, death how) {
    bench *b = &h->b;
    uint64_t both[2] = {5, 5};
    take_over(h, false);
    if (how == AS_THE_EPOCH_MOVES)
        ops()->set_emit_up(b->r.host, emit_or_die, h);
    else
        rig_start(&b->r);
    ready(b);
    vmsig_store64_release(h->point, 1);
    if (how == STOPPED_FOR_A_WRITE) {
        kill(b->q->machine.pid, SIGSTOP);
        vmsig_event w = larger(b, PLACE, both, sizeof both);
        rig_send(&b->r, &w);
        _exit(b->q->holding ? 0 : 1);
    }
    if (how == WITH_A_RESET_HALF_DONE) {
        kill(b->q->machine.pid, SIGSTOP);
        uint32_t reset = VMSIG_LIFECYCLE_RESET;
        vmsig_event cmd = rig_cmd(&b->r, VMSIG_CMD_LIFECYCLE, &reset, sizeof reset);
        rig_send(&b->r, &cmd);
        _exit(b->q->resetting ? 0 : 1);
    }
    poke(b, BOX(command), GUEST_DO_RESET);
    while (!b->q->frozen)
        turn(b);
    _exit(how == WITH_ALL_COMMANDS_SENT ? 0 : 1);
}

static void dies_and_is_followed(death how) {
    heir h = {.b.view = NULL};
    int status = 0;
    bench *b = &h.b;
    if (no_qemu())
        return;
    rig_pages(&b->r);
    h.state_fd = vmsig_shm_create("state", VMSIG_RECORD_BYTES);
    h.point = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_eq(vmsig_qemu_machine(option, (void *)(uintptr_t)usual, &h.given.machine, h.given.err, 256), 0, "%s",
                 h.given.err);
    pid_t pid = fork();
    if (pid == 0)
        first_worker(&h, how);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0 && *h.point == 1, "it died elsewhere: %x", status);
    kill(h.given.machine.pid, SIGCONT);
    vmsig_epoch_advance(b->r.epoch); /* the supervisor's doing */
    take_over(&h, true);
    b->r.corr = 1000; /* no former command's */
    rig_start(&b->r);
    ready(b);
    cr_expect_eq(rig_vm_state(&b->r), VMSIG_VM_RUNNING);
    uint64_t was = loops_of(b);
    UNTIL(b, loops_of(b) > was + 100);
    cr_expect_eq(poke(b, BOX(echo_in), 0xabc), VMSIG_OK);
    UNTIL(b, phys(b, BOX(echo_out)) == 0xabc);
    vmsig_machine m = h.given.machine;
    end(b);
    vmsig_machine_end(&m);
    close(h.state_fd);
}

Test(heir, finishes_a_reset_of_the_guests_of_which_nothing_was_done) {
    dies_and_is_followed(AS_THE_EPOCH_MOVES);
}

Test(heir, finishes_a_reset_of_the_guests_that_was_on_its_way) {
    dies_and_is_followed(WITH_ALL_COMMANDS_SENT);
}

Test(heir, lets_a_vm_go_on_that_was_stopped_for_a_write) {
    dies_and_is_followed(STOPPED_FOR_A_WRITE);
}

Test(heir, finishes_a_reset_that_was_commanded) {
    dies_and_is_followed(WITH_A_RESET_HALF_DONE);
}
