/* vm.h: the test guest under TCG, behind the host's gate: what the tests of real VMs have in common. Without QEMU there
 * is nothing to test.
 *
 *   open_vm ──► booted (a memctx) ──► ready (the guest's loop) ──► commands, UNTIL(what) ──► end
 */
#ifndef TEST_QEMU_VM_H
#define TEST_QEMU_VM_H

#include <fcntl.h>
#include <linux/input-event-codes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "actors/hosts/qemu/qemu_i.h"
#include "tests/guest/layout.h"
#include "tests/hosts/rig.h"

#define DEADLINE_NS 30000000000ull
#define BOX(f)      (GUEST_MAILBOX + offsetof(guest_mailbox, f))

typedef struct bench {
    rig r;
    vmsig_qemu *q;
    vmsig_memview *view;
    int memctxs;
} bench;

typedef struct setting {
    const char *key, *value;
} setting;

static const setting usual[] = {
    {"memory", "32M"}, {"accel", "tcg"}, {"kernel", TEST_BUILD "/tests/guest/guest.elf"}, {0}};

static const char *option(void *ud, const char *key) {
    for (const setting *s = ud; s->key; s++)
        if (strcmp(s->key, key) == 0)
            return s->value;
    return NULL;
}

static inline bool no_qemu(void) {
    if (access("/usr/bin/qemu-system-x86_64", X_OK) == 0)
        return false;
    fprintf(stderr, "skipped: no qemu\n");
    return true;
}

static inline int make(const setting *with, void **vm, char *err, size_t len) {
    const vmsig_host_backend *backend;
    return vmsig_qemu_make(option, (void *)(uintptr_t)with, &backend, vm, err, len);
}

static inline void open_vm(bench *b, const setting *with) {
    char err[256] = "";
    void *vm = NULL;
    rig_pages(&b->r);
    cr_assert_eq(make(with, &vm, err, sizeof err), 0, "%s", err);
    b->q = vm;
    b->view = NULL;
    b->memctxs = 0;
    vmsig_host_env env = rig_env(&b->r, -1);
    b->r.host = vmsig_host_new(EP, &vmsig_qemu_backend, vm, &env);
    rig_start(&b->r);
}

static inline void end(bench *b) {
    vmsig_memview_close(b->view);
    rig_end(&b->r);
}

/* One turn, at most 50 ms; -1: the VM is gone. */
static inline int turn(bench *b) {
    struct pollfd p = {.fd = ops()->fd(b->r.host), .events = POLLIN};
    poll(&p, 1, 50);
    return ops()->on_readable(b->r.host);
}

#define UNTIL(b, what)                                                                                                 \
    do {                                                                                                               \
        uint64_t until_ns = vmsig_now_ns() + DEADLINE_NS;                                                              \
        while (!(what)) {                                                                                              \
            cr_assert_lt(vmsig_now_ns(), until_ns, "not in time: %s", #what);                                          \
            cr_assert_eq(turn(b), 0, "the VM is gone: %s", vmsig_host_why((b)->r.host, errno));                        \
        }                                                                                                              \
    } while (0)

/* The next memctx, and the view through it. */
static inline void booted(bench *b) {
    UNTIL(b, rig_count(&b->r, VMSIG_EV_MEMCTX) > b->memctxs);
    b->memctxs = rig_count(&b->r, VMSIG_EV_MEMCTX);
    vmsig_memview_close(b->view);
    b->view = vmsig_memview_open(rig_last(&b->r, VMSIG_EV_MEMCTX), b->r.ram_fd);
    cr_assert_not_null(b->view);
}

static inline uint64_t phys(bench *b, uint64_t gpa) {
    uint64_t v = 0;
    cr_assert_eq(vmsig_memview_read_phys(b->view, gpa, &v, 8), 0);
    return v;
}

static inline uint64_t loops_of(bench *b) {
    return phys(b, BOX(loops));
}

/* A guest that has reached its loop: it may be still booting when paging is on. */
static inline void ready(bench *b) {
    booted(b);
    UNTIL(b, phys(b, BOX(magic)) == GUEST_MAGIC && phys(b, BOX(loops)) > 0);
}

/* A reset: the firmware may reset once more itself, so the newest epoch is what counts. */
static inline void ready_again(bench *b, uint32_t after) {
    UNTIL(b, vmsig_host_epoch(b->r.host) > after);
    for (;;) {
        uint32_t epoch = vmsig_host_epoch(b->r.host);
        UNTIL(b, (rig_last(&b->r, VMSIG_EV_MEMCTX)->epoch == epoch && phys(b, BOX(magic)) == GUEST_MAGIC) ||
                     vmsig_host_epoch(b->r.host) != epoch);
        if (vmsig_host_epoch(b->r.host) == epoch)
            break;
    }
    b->memctxs = 0;
    booted(b);
}

/* Sends, and waits for the result. */
static inline int command(bench *b, const vmsig_event *cmd) {
    int status = rig_send(&b->r, cmd);
    if (status < 0)
        UNTIL(b, (status = rig_status(&b->r, cmd->corr)) >= 0);
    return status;
}

static inline int op(bench *b, uint8_t kind, uint32_t what) {
    vmsig_event cmd = rig_cmd(&b->r, kind, &what, sizeof what);
    return command(b, &cmd);
}

static inline int input(bench *b, const vmsig_input *in, size_t n) {
    vmsig_event cmd = rig_cmd(&b->r, VMSIG_CMD_INPUT, in, n * sizeof *in);
    return command(b, &cmd);
}

static inline int key(bench *b, uint16_t code, uint8_t down) {
    const vmsig_input in = {.type = VMSIG_INPUT_KEY, .code = code, .down = down};
    return input(b, &in, 1);
}

static inline int fence(bench *b, vmsig_lease_class cls) {
    vmsig_lease l = {.op = VMSIG_LEASE_FENCE, .cls = cls};
    vmsig_event cmd = rig_cmd(&b->r, VMSIG_CMD_LEASE, &l, sizeof l);
    return command(b, &cmd);
}

static inline int poke(bench *b, uint64_t gpa, uint64_t value) {
    return rig_write(&b->r, gpa, 8, value, 0);
}

static inline uint8_t scancode(bench *b, uint64_t i) {
    uint8_t c = 0;
    cr_assert_eq(vmsig_memview_read_phys(b->view, GUEST_KEYS + i % 4096, &c, 1), 0);
    return c;
}

#endif
