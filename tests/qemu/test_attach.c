/* A QEMU that the test has started itself: attached to, read, left alone; absent, dead and back, or none at all. */
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/qemu/monitor.h"

typedef struct there {
    monitor m; /* its folder, and the second monitor */
    char qmp[64], ram[64];
    setting with[3];
    pid_t pid;
    bench b;
} there;

#define BACKEND "memory-backend-file,id=ram0,size=32M,share=on,mem-path="

/* backend: of its RAM, without the path; NULL: it has none. */
static void start_qemu(there *t, const char *backend) {
    char memory[256], qmp[128], second[128], machine[] = "q35,accel=tcg,memory-backend=ram0";
    snprintf(memory, sizeof memory, "%s%s", backend ? backend : "", t->ram);
    snprintf(qmp, sizeof qmp, "unix:%s,server=on,wait=off", t->qmp);
    snprintf(second, sizeof second, "unix:%s,server=on,wait=off", t->m.path);
    const char *argv[] = {"qemu-system-x86_64",
                          "-nodefaults",
                          "-display",
                          "none",
                          "-m",
                          "32M",
                          "-kernel",
                          TEST_BUILD "/tests/guest/guest.elf",
                          "-qmp",
                          qmp,
                          "-qmp",
                          second,
                          "-machine",
                          backend ? machine : "q35,accel=tcg",
                          backend ? "-object" : NULL,
                          memory,
                          NULL};
    t->pid = fork();
    if (t->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp(argv[0], (char **)(uintptr_t)argv);
        _exit(127);
    }
    connect_monitor(&t->m); /* it answers when it has built the machine */
}

static void end_qemu(there *t) {
    if (t->pid <= 0)
        return;
    fclose(t->m.f);
    kill(t->pid, SIGKILL);
    waitpid(t->pid, NULL, 0);
    t->pid = 0;
    unlink(t->qmp);
    unlink(t->m.path);
}

static void places(there *t) {
    memset(t, 0, sizeof *t);
    with_monitor(&t->m);
    snprintf(t->qmp, sizeof t->qmp, "%s/mine", t->m.dir);
    snprintf(t->ram, sizeof t->ram, "%s/ram", t->m.dir);
    t->with[0] = (setting){VMSIG_QEMU_ATTACH, t->qmp};
    t->with[1] = (setting){VMSIG_QEMU_ATTACH_RAM, t->ram};
}

static void attach(there *t) {
    const vmsig_host_backend *backend;
    char err[256] = "";
    void *vm;
    rig_pages(&t->b.r);
    cr_assert_eq(vmsig_qemu_attach_make(option, t->with, &backend, &vm, err, sizeof err), 0, "%s", err);
    t->b.q = vm;
    vmsig_host_env env = rig_env(&t->b.r, -1);
    t->b.r.host = vmsig_host_new(EP, backend, vm, &env);
    rig_start(&t->b.r);
}

static void leave(there *t) {
    end(&t->b);
    end_qemu(t);
    unlink(t->ram);
    rmdir(t->m.dir);
}

/* false: there is no QEMU. */
static bool attached(there *t) {
    if (no_qemu())
        return false;
    places(t);
    start_qemu(t, BACKEND);
    attach(t);
    ready(&t->b);
    return true;
}

Test(attach, reads_and_tells_and_does_nothing) {
    there t;
    bench *b = &t.b;
    if (!attached(&t))
        return;
    cr_expect_eq(rig_vm_state(&b->r), VMSIG_VM_RUNNING);
    cr_expect_eq(vmsig_memview_ctx(b->view)->root, phys(b, BOX(cr3)), "the guest's own view of its root");
    cr_expect_not_null(strstr(b->r.remark, "input, lifecycle commands and memory writes are off"), "%s", b->r.remark);
    cr_expect_null(strstr(b->r.remark, "RAM are off"), "%s", b->r.remark);
    uint64_t was = loops_of(b);
    cr_expect_eq(key(b, KEY_A, 1), VMSIG_UNAVAILABLE);
    cr_expect_eq(poke(b, BOX(echo_in), 1), VMSIG_UNAVAILABLE);
    char bytes[100] = "";
    cr_expect_eq(rig_write_bytes(&b->r, 0x310000, bytes, sizeof bytes, 0), VMSIG_UNAVAILABLE);
    static const uint32_t ops_off[] = {VMSIG_LIFECYCLE_PAUSE,     VMSIG_LIFECYCLE_RESUME, VMSIG_LIFECYCLE_WAKEUP,
                                       VMSIG_LIFECYCLE_POWERDOWN, VMSIG_LIFECYCLE_RESET,  VMSIG_LIFECYCLE_QUIT};
    for (size_t i = 0; i < sizeof ops_off / sizeof *ops_off; i++)
        cr_expect_eq(op(b, VMSIG_CMD_LIFECYCLE, ops_off[i]), VMSIG_UNAVAILABLE, "op %u", ops_off[i]);
    cr_expect_eq(op(b, VMSIG_CMD_VM, VMSIG_VM_STOP), VMSIG_UNAVAILABLE);
    cr_expect_eq(op(b, VMSIG_CMD_VM, VMSIG_VM_QUERY), VMSIG_OK);
    cr_expect_eq(fence(b, VMSIG_LEASE_INPUT), VMSIG_OK);
    UNTIL(b, loops_of(b) > was);
    leave(&t);
}

Test(attach, the_epoch_moves_as_events_tell) {
    there t;
    bench *b = &t.b;
    if (!attached(&t))
        return;
    uint32_t epoch = vmsig_host_epoch(b->r.host);
    tell(&t.m, "{\"execute\":\"system_reset\"}");
    ready_again(b, epoch);
    cr_expect_gt(rig_count(&b->r, VMSIG_EV_MEMCTX_INVALID), 0);
    epoch = vmsig_host_epoch(b->r.host);
    tell(&t.m, "{\"execute\":\"stop\"}");
    UNTIL(b, rig_vm_state(&b->r) == VMSIG_VM_PAUSED);
    booted(b);
    cr_expect_eq(vmsig_memview_ctx(b->view)->flags & VMSIG_MEMCTX_COHERENT, VMSIG_MEMCTX_COHERENT);
    cr_expect_eq(vmsig_host_epoch(b->r.host), epoch);
    tell(&t.m, "{\"execute\":\"cont\"}");
    UNTIL(b, rig_vm_state(&b->r) == VMSIG_VM_RUNNING);
    cr_expect_eq(vmsig_host_epoch(b->r.host), epoch + 1, "he may have loaded a snapshot");
    leave(&t);
}

Test(attach, waits_for_a_qemu_that_is_not_there_or_comes_back) {
    there t;
    bench *b = &t.b;
    if (no_qemu())
        return;
    places(&t);
    attach(&t);
    UNTIL(b, strstr(b->r.remark, "waits for a QEMU at"));
    cr_expect_not_null(strstr(b->r.remark, "No such file"), "%s", b->r.remark);
    cr_expect_eq(rig_vm_state(&b->r), VMSIG_VM_DOWN);
    start_qemu(&t, BACKEND);
    ready(b);
    uint32_t epoch = vmsig_host_epoch(b->r.host), ram_id = b->r.ram_id;
    end_qemu(&t);
    UNTIL(b, rig_vm_state(&b->r) == VMSIG_VM_DOWN);
    cr_expect_eq(vmsig_host_epoch(b->r.host), epoch + 1);
    cr_expect_eq(phys(b, BOX(magic)), GUEST_MAGIC, "the old fd stays readable");
    UNTIL(b, strstr(b->r.remark, "waits for a QEMU at"));
    unlink(t.ram);
    start_qemu(&t, BACKEND);
    ready(b);
    cr_expect_eq(rig_vm_state(&b->r), VMSIG_VM_RUNNING);
    cr_expect_neq(b->r.ram_id, ram_id, "it is another RAM");
    leave(&t);
}

/* What is said of RAM that cannot be had; all else is there. */
static void off(const char *backend, void (*spoil)(there *t), const char *expected) {
    there t;
    bench *b = &t.b;
    places(&t);
    start_qemu(&t, backend);
    if (spoil)
        spoil(&t);
    attach(&t);
    UNTIL(b, rig_vm_state(&b->r) == VMSIG_VM_RUNNING);
    cr_expect_not_null(strstr(b->r.remark, "memctx and RAM are off"), "%s", b->r.remark);
    cr_expect_not_null(strstr(b->r.remark, expected), "%s", b->r.remark);
    cr_expect_eq(op(b, VMSIG_CMD_VM, VMSIG_VM_QUERY), VMSIG_OK);
    cr_expect_null(rig_last(&b->r, VMSIG_EV_MEMCTX));
    leave(&t);
}

static void another_size(there *t) {
    char path[80];
    snprintf(path, sizeof path, "%s.other", t->ram); /* of its own: to cut the one in use would kill QEMU */
    rename(t->ram, path);
    int fd = open(t->ram, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_eq(ftruncate(fd, 16 << 20), 0);
    close(fd);
    unlink(path);
}

static void of_another_file(there *t) {
    int fd = open(t->qmp, O_RDONLY);
    cr_expect_lt(fd, 0);
    snprintf(t->ram, sizeof t->ram, "%s/other", t->m.dir);
    fd = open(t->ram, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_eq(ftruncate(fd, 32 << 20), 0);
    close(fd);
}

static void writable(there *t) {
    chmod(t->ram, 0666);
}

static void none_named(there *t) {
    t->with[1].key = NULL;
}

static void absent(there *t) {
    unlink(t->ram);
}

Test(attach, ram_that_cannot_be_had_is_off_and_it_is_said_why) {
    if (no_qemu())
        return;
    off(BACKEND, another_size, "has 16777216 bytes, and the VM's RAM 33554432");
    off(BACKEND, writable, "can be written by others than its owner (mode 666)");
    off(BACKEND, none_named, "no file is named");
    off(BACKEND, absent, "No such file or directory (as user");
    off("memory-backend-file,id=ram0,size=32M,mem-path=", NULL, "is QEMU's alone (share=on is missing)");
    off(NULL, NULL, "share=on is missing");
}

Test(attach, another_file_than_qemus_is_refused) {
    there t;
    char first[64];
    bench *b = &t.b;
    if (no_qemu())
        return;
    places(&t);
    start_qemu(&t, BACKEND);
    strcpy(first, t.ram);
    of_another_file(&t);
    attach(&t);
    UNTIL(b, rig_vm_state(&b->r) == VMSIG_VM_RUNNING);
    cr_expect_not_null(strstr(b->r.remark, "is not the file of QEMU's RAM, which is"), "%s", b->r.remark);
    unlink(first);
    leave(&t);
}

/* Who listens in QEMU's place, and says that. */
static void impostor(const char *says, const char *expected) {
    there t;
    places(&t);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strcpy(at.sun_path, t.qmp);
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(s, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(s, 1), 0);
    attach(&t);
    int peer = accept(s, NULL, NULL);
    cr_assert_eq(write(peer, says, strlen(says)), (ssize_t)strlen(says));
    uint64_t until_ns = vmsig_now_ns() + DEADLINE_NS;
    while (turn(&t.b) == 0)
        cr_assert_lt(vmsig_now_ns(), until_ns);
    cr_expect_not_null(strstr(vmsig_host_why(t.b.r.host, EIO), expected), "%s", vmsig_host_why(t.b.r.host, EIO));
    close(peer);
    close(s);
    unlink(t.qmp);
    leave(&t);
}

Test(attach, what_speaks_no_qmp_is_given_up) {
    impostor("SSH-2.0-OpenSSH_9.2\r\n", "speaks no QMP");
    impostor("{\"QMP\": {}}\r\n[1]\r\n", "speaks no QMP");
}

Test(attach, it_needs_a_socket) {
    static const setting none[] = {{0}};
    const vmsig_host_backend *backend;
    char err[256] = "";
    void *vm;
    cr_expect_eq(vmsig_qemu_attach_make(option, (void *)(uintptr_t)none, &backend, &vm, err, sizeof err), -EINVAL);
    cr_expect_not_null(strstr(err, "QMP socket"), "%s", err);
}
