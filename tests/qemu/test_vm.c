/* A real VM behind the host's gate: boot, epochs, memctx, input, and every way in which QEMU fails. */
#include "tests/qemu/vm.h"

/* ---- the way there and back -------------------------------------------------------------------------- */

Test(vm, boots_is_read_typed_to_and_written) {
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, usual);
    cr_expect_eq(rig_vm_state(&b.r), VMSIG_VM_DOWN);
    ready(&b);
    cr_expect_eq(rig_vm_state(&b.r), VMSIG_VM_RUNNING);
    const vmsig_memctx *c = vmsig_memview_ctx(b.view);
    cr_expect_eq(c->root, phys(&b, BOX(cr3)), "the guest's own view of its root");
    cr_expect_eq(c->cr4, phys(&b, BOX(cr4)));
    cr_expect_eq(c->low, 32u << 20);
    uint64_t gpa = 0, v = 0;
    cr_expect_eq(vmsig_memview_walk(b.view, GUEST_WINDOW, &gpa), 0);
    cr_expect_eq(gpa, GUEST_MAILBOX);
    cr_expect_eq(vmsig_memview_read_virt(b.view, GUEST_WINDOW, &v, 8), 0);
    cr_expect_eq(v, phys(&b, BOX(window)), "the guest reads the same through its tables");

    uint64_t keys = phys(&b, BOX(keys));
    cr_expect_eq(key(&b, KEY_A, 1), VMSIG_OK);
    cr_expect_eq(key(&b, KEY_A, 0), VMSIG_OK);
    UNTIL(&b, phys(&b, BOX(keys)) == keys + 2);
    cr_expect_eq(scancode(&b, keys), 0x1e);
    cr_expect_eq(scancode(&b, keys + 1), 0x9e);

    cr_expect_eq(poke(&b, BOX(echo_in), 0xfeed), VMSIG_OK);
    UNTIL(&b, phys(&b, BOX(echo_out)) == 0xfeed);
    uint64_t at = GUEST_WINDOW + offsetof(guest_mailbox, echo_in);
    cr_expect_eq(rig_write(&b.r, at, 8, 0xbeef, VMSIG_MEMWRITE_VIRTUAL), VMSIG_OK);
    UNTIL(&b, phys(&b, BOX(echo_out)) == 0xbeef);
    for (uint64_t i = 1; i < 2000; i++)
        rig_write(&b.r, BOX(pair), 8, i << 32 | i, 0), b.r.n = 0;
    end(&b);
}

/* The window's page table entry is pointed at a page there, and the guest's tables are loaded anew. */
static void above_4_gib(const char *machine, uint64_t low) {
    const setting with[] = {
        {"memory", "5G"}, {"accel", "tcg"}, {"kernel", TEST_BUILD "/tests/guest/guest.elf"}, {"machine", machine}, {0}};
    const uint64_t high = (1ull << 32) + 0x5000, last = (1ull << 32) + (5ull << 30) - low - 8;
    bench b;
    uint64_t gpa = 0, v = 0;
    open_vm(&b, with);
    ready(&b);
    cr_expect_eq(vmsig_memview_ctx(b.view)->low, low, "%s", machine);
    cr_expect_eq(poke(&b, high, 0x1234567), VMSIG_OK);
    cr_expect_eq(phys(&b, high), 0x1234567);
    cr_expect_eq(poke(&b, last, 0x7654321), VMSIG_OK);
    cr_expect_eq(phys(&b, last), 0x7654321);
    cr_expect_eq(poke(&b, last + 8, 1), VMSIG_INVALID, "behind its end");
    cr_expect_eq(poke(&b, low, 1), VMSIG_INVALID, "in the hole");
    cr_expect_eq(poke(&b, GUEST_HIGH_A_1, high | 7), VMSIG_OK);
    cr_expect_eq(poke(&b, BOX(command), GUEST_DO_ROOT_A), VMSIG_OK);
    UNTIL(&b, phys(&b, BOX(window)) == 0x1234567);
    cr_expect_eq(vmsig_memview_walk(b.view, GUEST_WINDOW, &gpa), 0);
    cr_expect_eq(gpa, high);
    cr_expect_eq(rig_write(&b.r, GUEST_WINDOW, 8, 0xabcdef, VMSIG_MEMWRITE_VIRTUAL), VMSIG_OK);
    UNTIL(&b, phys(&b, BOX(window)) == 0xabcdef);
    cr_expect_eq(vmsig_memview_read_virt(b.view, GUEST_WINDOW, &v, 8), 0);
    cr_expect_eq(v, 0xabcdef);
    end(&b);
}

Test(vm, with_more_than_4_gib_is_read_written_and_walked_above_them) {
    if (no_qemu() || sysconf(_SC_PHYS_PAGES) < (6l << 30) / 4096)
        return;
    above_4_gib("q35", 2ull << 30);
    above_4_gib("pc", 3ull << 30);
}

Test(vm, its_ram_can_never_be_opened_for_writing) {
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, usual);
    booted(&b);
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", b.r.ram_fd);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int which = fd >= 0 ? fd : b.r.ram_fd;
    cr_expect_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, which, 0), MAP_FAILED);
    cr_expect_lt(pwrite(which, "x", 1, 0), 0);
    cr_expect_lt(ftruncate(which, 0), 0);
    if (fd >= 0)
        close(fd);
    end(&b);
}

/* ---- epochs ------------------------------------------------------------------------------------------ */

/* Nothing of the old epoch has an effect any more. */
static void late(bench *b, const vmsig_event *stale) {
    vmsig_event cmd = *stale;
    cr_expect_eq(rig_send(&b->r, &cmd), VMSIG_FENCED);
}

static void new_epoch_by(bench *b, uint64_t command) {
    uint32_t epoch = vmsig_host_epoch(b->r.host);
    vmsig_memwrite w = {.addr = BOX(echo_in), .value = 1, .size = 8};
    vmsig_event stale = rig_cmd(&b->r, VMSIG_CMD_MEMWRITE, &w, sizeof w);
    int invalid = rig_count(&b->r, VMSIG_EV_MEMCTX_INVALID);
    if (command)
        cr_expect_eq(poke(b, BOX(command), command), VMSIG_OK);
    else
        cr_expect_eq(op(b, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESET), VMSIG_OK);
    ready_again(b, epoch);
    cr_expect_gt(rig_count(&b->r, VMSIG_EV_MEMCTX_INVALID), invalid);
    late(b, &stale);
    cr_expect_eq(rig_vm_state(&b->r), VMSIG_VM_RUNNING);
    cr_expect_eq(vmsig_memview_epoch(b->view), vmsig_host_epoch(b->r.host));
    cr_expect_eq(poke(b, BOX(echo_in), epoch), VMSIG_OK);
    UNTIL(b, phys(b, BOX(echo_out)) == epoch);
}

Test(vm, its_own_reset_a_triple_fault_and_ours_move_the_epoch) {
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, usual);
    ready(&b);
    new_epoch_by(&b, GUEST_DO_RESET);
    new_epoch_by(&b, GUEST_DO_FAULT);
    new_epoch_by(&b, 0);
    end(&b);
}

Test(vm, sleeps_and_wakes_into_a_new_epoch) {
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, usual);
    ready(&b);
    uint32_t epoch = vmsig_host_epoch(b.r.host);
    cr_expect_eq(poke(&b, BOX(command), GUEST_DO_SLEEP), VMSIG_OK);
    UNTIL(&b, rig_vm_state(&b.r) == VMSIG_VM_SUSPENDED);
    cr_expect_eq(vmsig_host_epoch(b.r.host), epoch);
    cr_expect_eq(op(&b, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESUME), VMSIG_UNAVAILABLE);
    cr_expect_eq(op(&b, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_WAKEUP), VMSIG_OK);
    UNTIL(&b, rig_vm_state(&b.r) == VMSIG_VM_RUNNING && vmsig_host_epoch(b.r.host) > epoch);
    end(&b);
}

Test(vm, is_shut_down_by_its_guest_and_reset_from_there) {
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, usual);
    ready(&b);
    cr_expect_eq(op(&b, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_POWERDOWN), VMSIG_OK);
    UNTIL(&b, phys(&b, BOX(power_buttons)) == 1);
    uint32_t epoch = vmsig_host_epoch(b.r.host);
    cr_expect_eq(poke(&b, BOX(command), GUEST_DO_OFF), VMSIG_OK);
    UNTIL(&b, rig_vm_state(&b.r) == VMSIG_VM_SHUTDOWN);
    cr_expect_gt(vmsig_host_epoch(b.r.host), epoch);
    cr_expect_eq(key(&b, KEY_A, 1), VMSIG_UNAVAILABLE);
    cr_expect_eq(op(&b, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESUME), VMSIG_UNAVAILABLE);
    new_epoch_by(&b, 0);
    cr_expect_eq(op(&b, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_QUIT), VMSIG_OK);
    cr_expect_eq(rig_vm_state(&b.r), VMSIG_VM_DOWN);
    cr_expect_eq(turn(&b), 0, "quit is no failure");
    cr_expect_eq(poke(&b, BOX(echo_in), 1), VMSIG_UNAVAILABLE);
    cr_expect_eq(phys(&b, BOX(magic)), GUEST_MAGIC, "the old fd stays readable");
    end(&b);
}

Test(vm, that_has_panicked_is_told_as_crashed) {
    static const setting with[] = {
        {"memory", "32M"},     {"accel", "tcg"},      {"kernel", TEST_BUILD "/tests/guest/guest.elf"},
        {"args.0", "-device"}, {"args.1", "pvpanic"}, {0}};
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, with);
    ready(&b);
    uint32_t epoch = vmsig_host_epoch(b.r.host);
    cr_expect_eq(poke(&b, BOX(command), GUEST_DO_PANIC), VMSIG_OK);
    UNTIL(&b, rig_vm_state(&b.r) == VMSIG_VM_CRASHED);
    cr_expect_eq(vmsig_host_epoch(b.r.host), epoch + 1);
    end(&b);
}

/* ---- pause, memctx ----------------------------------------------------------------------------------- */

Test(vm, that_is_paused_has_a_coherent_memctx_and_takes_larger_writes) {
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, usual);
    ready(&b);
    uint32_t epoch = vmsig_host_epoch(b.r.host);
    cr_expect_eq(vmsig_memview_ctx(b.view)->flags & VMSIG_MEMCTX_COHERENT, 0);
    cr_expect_eq(op(&b, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_PAUSE), VMSIG_OK);
    booted(&b);
    cr_expect_eq(vmsig_memview_ctx(b.view)->flags & VMSIG_MEMCTX_COHERENT, VMSIG_MEMCTX_COHERENT);
    uint64_t loops = phys(&b, BOX(loops));
    cr_expect_eq(key(&b, KEY_A, 1), VMSIG_UNAVAILABLE);
    char bytes[100];
    memset(bytes, 'q', sizeof bytes);
    cr_expect_eq(rig_write_bytes(&b.r, 0x310000, bytes, sizeof bytes, 0), VMSIG_OK);
    cr_expect_eq(phys(&b, 0x310000 + 88), 0x7171717171717171);
    cr_expect_eq(phys(&b, BOX(loops)), loops);
    cr_expect_eq(op(&b, VMSIG_CMD_VM, VMSIG_VM_CONT), VMSIG_OK);
    UNTIL(&b, phys(&b, BOX(loops)) > loops);
    cr_expect_eq(vmsig_host_epoch(b.r.host), epoch, "neither moves the epoch");
    end(&b);
}

Test(vm, is_sampled_anew_by_a_query_and_then_left_alone) {
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, usual);
    ready(&b);
    cr_expect_eq(poke(&b, BOX(command), GUEST_DO_ROOT_B), VMSIG_OK);
    UNTIL(&b, phys(&b, BOX(cr3)) == GUEST_ROOT_B);
    cr_expect_eq(op(&b, VMSIG_CMD_VM, VMSIG_VM_QUERY), VMSIG_OK);
    booted(&b);
    uint64_t v = 0;
    cr_expect_eq(vmsig_memview_ctx(b.view)->root, GUEST_ROOT_B);
    cr_expect_eq(vmsig_memview_read_virt(b.view, GUEST_WINDOW, &v, 8), 0);
    cr_expect_eq(v, GUEST_B);
    UNTIL(&b, phys(&b, BOX(window)) == GUEST_B);
    while (turn(&b) == 0 && b.q->sampling) {
    }
    struct pollfd p = {.fd = ops()->fd(b.r.host), .events = POLLIN};
    cr_expect_eq(poll(&p, 1, 300), 0, "nothing wakes up while nothing happens");
    end(&b);
}

/* ---- input ------------------------------------------------------------------------------------------- */

/* Two bytes each: fourteen of them at once are more than the keyboard holds. */
#define GROUPS 4u
#define GROUP  14u

/* Types all groups: has the guest read as many bytes as they make, soon after the last answer? */
static bool types_groups(bench *b, uint64_t keys) {
    const int results = rig_count(&b->r, VMSIG_EV_RESULT) + (int)GROUPS;
    for (uint32_t round = 0; round < GROUPS; round++) {
        vmsig_input in[GROUP];
        for (uint16_t i = 0; i < GROUP; i++)
            in[i] = (vmsig_input){.type = VMSIG_INPUT_KEY, .code = (uint16_t)(KEY_HOME + i / 2), .down = i % 2 == 0};
        vmsig_event cmd = rig_cmd(&b->r, VMSIG_CMD_INPUT, in, sizeof in);
        rig_send(&b->r, &cmd);
    }
    UNTIL(b, rig_count(&b->r, VMSIG_EV_RESULT) == results);
    uint64_t until_ns = vmsig_now_ns() + 1000 * VMSIG_QMP_MS;
    while (phys(b, BOX(keys)) < keys + GROUPS * GROUP * 2 && vmsig_now_ns() < until_ns)
        cr_assert_eq(turn(b), 0);
    return phys(b, BOX(keys)) == keys + GROUPS * GROUP * 2;
}

Test(vm, drops_no_key_of_a_large_group) {
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, usual);
    ready(&b);
    static const uint8_t codes[] = {0x47, 0x48, 0x49, 0x4b, 0x4d, 0x4f, 0x50}; /* from KEY_HOME on */
    uint64_t keys = phys(&b, BOX(keys));
    /* Where this machine lets QEMU stand still for long, the keyboard overflows all the same: once is bad luck. */
    for (int chances = 5; chances > 0 && !types_groups(&b, keys); chances--)
        keys = phys(&b, BOX(keys));
    cr_assert_eq(phys(&b, BOX(keys)), keys + GROUPS * GROUP * 2);
    for (uint64_t i = 0; i < GROUPS * GROUP; i++) {
        cr_expect_eq(scancode(&b, keys + 2 * i), 0xe0);
        cr_expect_eq(scancode(&b, keys + 2 * i + 1), codes[i % GROUP / 2] | (i % 2 ? 0x80 : 0));
    }
    uint64_t mouse = phys(&b, BOX(mouse));
    vmsig_input move[] = {{.type = VMSIG_INPUT_REL, .code = REL_X, .value = 5},
                          {.type = VMSIG_INPUT_BTN, .code = BTN_LEFT, .down = 1}};
    cr_expect_eq(input(&b, move, 2), VMSIG_OK);
    UNTIL(&b, phys(&b, BOX(mouse)) >= mouse + 3);
    move[0] = (vmsig_input){.type = VMSIG_INPUT_ABS, .code = ABS_X, .value = 5};
    cr_expect_eq(input(&b, move, 1), VMSIG_UNAVAILABLE, "there is no tablet");
    cr_expect_eq(key(&b, KEY_FN_ESC, 1), VMSIG_INVALID, "QEMU has no such key");
    end(&b);
}

Test(vm, is_quiet_with_every_key_let_go) {
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, usual);
    ready(&b);
    uint64_t keys = phys(&b, BOX(keys));
    cr_expect_eq(key(&b, KEY_A, 1), VMSIG_OK);
    cr_expect_eq(fence(&b, VMSIG_LEASE_INPUT), VMSIG_OK);
    UNTIL(&b, phys(&b, BOX(keys)) >= keys + 2);
    cr_expect_eq(scancode(&b, keys + 1), 0x9e);
    end(&b);
}

/* ---- QEMU that hangs, dies, or is none --------------------------------------------------------------- */

Test(vm, that_hangs_is_not_quiet) {
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, usual);
    ready(&b);
    kill(b.q->machine.pid, SIGSTOP);
    cr_expect_eq(fence(&b, VMSIG_LEASE_POWER), VMSIG_TIMEOUT);
    kill(b.q->machine.pid, SIGCONT);
    cr_expect_eq(op(&b, VMSIG_CMD_VM, VMSIG_VM_QUERY), VMSIG_OK, "a late answer is nobody else's");
    end(&b);
}

Test(vm, whose_qemu_is_killed_is_down_in_a_new_epoch) {
    bench b;
    if (no_qemu())
        return;
    open_vm(&b, usual);
    ready(&b);
    uint32_t epoch = vmsig_host_epoch(b.r.host);
    kill(b.q->machine.pid, SIGSTOP);
    vmsig_input in = {.type = VMSIG_INPUT_KEY, .code = KEY_A, .down = 1};
    vmsig_event cmd = rig_cmd(&b.r, VMSIG_CMD_INPUT, &in, sizeof in);
    cr_expect_eq(rig_send(&b.r, &cmd), -1);
    kill(b.q->machine.pid, SIGKILL);
    uint64_t until_ns = vmsig_now_ns() + DEADLINE_NS;
    while (turn(&b) == 0)
        cr_assert_lt(vmsig_now_ns(), until_ns);
    cr_expect_eq(rig_vm_state(&b.r), VMSIG_VM_DOWN);
    cr_expect_gt(vmsig_host_epoch(b.r.host), epoch);
    cr_expect_eq(rig_status(&b.r, cmd.corr), VMSIG_UNKNOWN, "nobody knows whether it was pressed");
    cr_expect_not_null(strstr(vmsig_host_why(b.r.host, EIO), "QEMU has ended"));
    end(&b);
}

/* A program in QEMU's place. What is told of its end? */
static void told(const char *script, const char *expected) {
    char path[] = "/tmp/vmsig-qemu-XXXXXX";
    int fd = mkstemp(path);
    dprintf(fd, "%s", script);
    fchmod(fd, 0700);
    close(fd);
    const setting with[] = {{"program", path}, {"accel", "tcg"}, {0}};
    bench b;
    open_vm(&b, with);
    uint64_t until_ns = vmsig_now_ns() + DEADLINE_NS;
    while (turn(&b) == 0)
        cr_assert_lt(vmsig_now_ns(), until_ns);
    cr_expect_not_null(strstr(vmsig_host_why(b.r.host, EIO), expected), "%s", vmsig_host_why(b.r.host, EIO));
    end(&b);
    unlink(path);
}

Test(vm, that_ends_at_once_says_why_in_its_own_words) {
    told("#!/bin/sh\necho first; echo no such machine >&2; exit 1\n", "QEMU has ended: no such machine");
}

Test(vm, that_speaks_garbage_is_given_up) {
    told("#!/usr/bin/env python3\nimport os, time\nos.write(11, b'{\"QMP\": 1}\\n[1, 2]\\n')\ntime.sleep(30)\n",
         "no QMP");
    told("#!/usr/bin/env python3\nimport os, time\nos.write(11, b'hello\\n')\ntime.sleep(30)\n", "no QMP");
}

Test(options, what_cannot_be_started_is_refused_in_one_sentence) {
    static const struct {
        setting with[3];
        const char *expected;
    } bad[] = {
        {{{"program", "no-such-qemu"}}, "install the package qemu-system-x86"},
        {{{"program", "/no/such/qemu"}}, "there is no program /no/such/qemu"},
        {{{"program", "true"}, {"kernel", "/no/such/kernel"}}, "kernel: /no/such/kernel: No such file"},
        {{{"program", "true"}, {"kernel", "/"}}, "is a folder"},
        {{{"program", "true"}, {"disk", "/no/such/disk"}}, "disk: /no/such/disk: No such file"},
        {{{"program", "true"}, {"initrd", "/bin/true"}}, "initrd: it needs a kernel"},
        {{{"program", "true"}, {"append", "quiet"}}, "append: it needs a kernel"},
        {{{"program", "true"}, {"memory", "1M"}}, "memory"},
        {{{"program", "true"}, {"memory", "4097K"}}, "no whole number of megabytes"},
        {{{"program", "true"}, {"memory", "1000G"}}, "this machine has"},
        {{{"program", "true"}, {"accel", "xen"}}, "accel"},
        {{{"program", "true"}, {"display", "sdl"}}, "display"},
        {{{"program", "true"}, {"console", "true"}}, "console: it needs a folder"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char err[256] = "";
        void *vm;
        cr_expect_lt(make(bad[i].with, &vm, err, sizeof err), 0, "case %zu", i);
        cr_expect_not_null(strstr(err, bad[i].expected), "case %zu: %s", i, err);
        cr_expect_null(strchr(err, '\n'), "case %zu", i);
    }
}

Test(options, a_kernel_that_does_not_fit_the_memory_is_refused) {
    char path[] = "/tmp/vmsig-qemu-XXXXXX", err[256] = "";
    int fd = mkstemp(path);
    cr_assert_eq(ftruncate(fd, 5 << 20), 0);
    const setting with[] = {{"program", "true"}, {"kernel", path}, {"memory", "5M"}, {0}};
    void *vm;
    cr_expect_lt(make(with, &vm, err, sizeof err), 0);
    cr_expect_not_null(strstr(err, "too little for a kernel"), "%s", err);
    close(fd);
    unlink(path);
}

Test(options, kvm_that_is_demanded_must_be_there) {
    static const setting with[] = {{"program", "true"}, {"accel", "kvm"}, {0}};
    char err[256] = "";
    void *vm = NULL;
    int there = open("/dev/kvm", O_RDWR | O_CLOEXEC), rc = make(with, &vm, err, sizeof err);
    if (there >= 0)
        close(there);
    cr_expect_eq(rc == 0, there >= 0);
    cr_expect(rc == 0 || strstr(err, "/dev/kvm"), "%s", err);
    if (rc == 0)
        vmsig_qemu_backend.close(vm);
}
