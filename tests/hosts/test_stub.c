/* The stub as its readers and controls meet it: through the read-only fd, the memctx and the events. */
#include <fcntl.h>
#include <linux/input-event-codes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/timerfd.h>

#include "actors/hosts/stub/stub.h"
#include "actors/memctx/walk.h"
#include "actors/runtime/loop.h"
#include "tests/hosts/rig.h"

#define DEADLINE_NS 10000000000ull

typedef struct bench {
    rig r;
    vmsig_memview *view;
} bench;

static void setup(bench *b, vmsig_stub_cfg cfg) {
    char err[128];
    void *vm;
    rig_pages(&b->r);
    b->view = NULL;
    cr_assert_eq(vmsig_stub_vm_new(&cfg, &vm, err, sizeof err), 0, "%s", err);
    vmsig_host_env env = rig_env(&b->r, -1);
    b->r.host = vmsig_host_new(EP, &vmsig_stub_backend, vm, &env);
    rig_start(&b->r);
}

static void end(bench *b) {
    vmsig_memview_close(b->view);
    rig_end(&b->r);
}

/* Lets the stub do what is due; waits for it at most `ms`. Was something due? */
static bool turn(bench *b, int ms) {
    struct pollfd p = {.fd = ops()->fd(b->r.host), .events = POLLIN};
    if (poll(&p, 1, ms) <= 0)
        return false;
    cr_assert_eq(ops()->on_readable(b->r.host), 0);
    return true;
}

/* Runs the stub until n events of the kind came. */
static void until(bench *b, uint8_t kind, int n) {
    uint64_t end_ns = vmsig_now_ns() + DEADLINE_NS;
    while (rig_count(&b->r, kind) < n) {
        cr_assert_lt(vmsig_now_ns(), end_ns, "no event of kind %u", kind);
        turn(b, 100);
    }
}

/* Waits for the n-th address space, and reads through it. */
static void booted(bench *b, int n) {
    until(b, VMSIG_EV_MEMCTX, n);
    vmsig_memview_close(b->view);
    b->view = vmsig_memview_open(rig_last(&b->r, VMSIG_EV_MEMCTX), b->r.ram_fd);
    cr_assert_not_null(b->view);
}

static uint64_t read64(const bench *b, uint64_t va) {
    uint64_t v = 0;
    cr_expect_eq(vmsig_memview_read_virt(b->view, va, &v, 8), 0, "%#llx", (unsigned long long)va);
    return v;
}

static uint64_t user(size_t offset, uint64_t page) {
    return VMSIG_STUB_USER(page + offset);
}
#define INFO(field)  user(offsetof(vmsig_stub_info, field), VMSIG_STUB_INFO)
#define INPUT(field) user(offsetof(vmsig_stub_input, field), VMSIG_STUB_INPUT)

static bool key_is_down(const bench *b, uint16_t code) {
    uint8_t byte = 0;
    cr_expect_eq(vmsig_memview_read_virt(b->view, INPUT(keys) + code / 8u, &byte, 1), 0);
    return byte >> (code % 8) & 1;
}

static const vmsig_stub_cfg still = {.memory = 4u << 20}; /* hz 0, no time to boot */

/* ---- RAM --------------------------------------------------------------------------------------------- */

Test(stub, the_ram_that_is_offered_cannot_be_written_by_anyone) {
    bench b;
    setup(&b, still);
    cr_assert_geq(b.r.ram_fd, 0);
    cr_expect_eq(fcntl(b.r.ram_fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    int seals = fcntl(b.r.ram_fd, F_GET_SEALS);
    cr_expect_eq(seals & (F_SEAL_FUTURE_WRITE | F_SEAL_SEAL | F_SEAL_GROW | F_SEAL_SHRINK),
                 F_SEAL_FUTURE_WRITE | F_SEAL_SEAL | F_SEAL_GROW | F_SEAL_SHRINK);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", b.r.ram_fd);
    int rw = open(path, O_RDWR | O_CLOEXEC); /* root may open it, and is none the better for it */
    if (rw >= 0) {
        cr_expect_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, rw, 0), MAP_FAILED);
        cr_expect_eq(pwrite(rw, "x", 1, 0), -1);
        cr_expect_eq(ftruncate(rw, 0), -1);
        close(rw);
    }
    void *ro = mmap(NULL, 4096, PROT_READ, MAP_SHARED, b.r.ram_fd, 0);
    cr_assert_neq(ro, MAP_FAILED);
    cr_expect_eq(mprotect(ro, 4096, PROT_READ | PROT_WRITE), -1);
    munmap(ro, 4096);
    end(&b);
}

static void maps_what_is_documented(bool la57) {
    bench b;
    vmsig_stub_cfg cfg = {.memory = 16u << 20, .la57 = la57};
    setup(&b, cfg);
    booted(&b, 1);
    const vmsig_memctx *c = vmsig_memview_ctx(b.view);
    cr_expect_eq((c->cr4 & VMSIG_CR4_LA57) != 0, la57);
    cr_expect_eq(c->low, 14u << 20);
    cr_expect_eq(c->ram_id, b.r.ram_id);
    vmsig_seg segs[4];
    cr_expect_eq(vmsig_memctx_segs(rig_last(&b.r, VMSIG_EV_MEMCTX), segs, 4), 2);
    cr_expect_eq(segs[1].gpa, VMSIG_STUB_HIGH);

    uint64_t direct = la57 ? VMSIG_STUB_DIRECT57(0) : VMSIG_STUB_DIRECT(0), gpa;
    const struct {
        uint64_t va, gpa;
    } maps[] = {{VMSIG_STUB_USER(0x1000), 0x1000},
                {VMSIG_STUB_USER(0x3fff), 0x3fff},
                {VMSIG_STUB_KERNEL(0x1000), 0x1000},
                {VMSIG_STUB_KERNEL(0x1fffff), 0x1fffff},
                {direct, 0},
                {direct + (14u << 20) - 1, (14u << 20) - 1},
                {direct + VMSIG_STUB_HIGH + 5, VMSIG_STUB_HIGH + 5}};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        cr_expect_eq(vmsig_memview_walk(b.view, maps[i].va, &gpa), 0, "case %zu", i);
        cr_expect_eq(gpa, maps[i].gpa, "case %zu", i);
    }
    const uint64_t unmapped[] = {VMSIG_STUB_USER(0), VMSIG_STUB_USER(0x4000), VMSIG_STUB_KERNEL(0x200000),
                                 direct + (14u << 20)};
    for (size_t i = 0; i < 4; i++)
        cr_expect_eq(vmsig_memview_walk(b.view, unmapped[i], &gpa), -1, "case %zu", i);
    cr_expect_eq(read64(&b, INFO(magic)), VMSIG_STUB_MAGIC);
    cr_expect_eq(read64(&b, VMSIG_STUB_KERNEL(VMSIG_STUB_INFO)), VMSIG_STUB_MAGIC);
    cr_expect_eq(read64(&b, INFO(boots)), 1u);
    end(&b);
}

Test(stub, maps_what_is_documented_with_four_levels) {
    maps_what_is_documented(false);
}

Test(stub, maps_what_is_documented_with_five_levels) {
    maps_what_is_documented(true);
}

Test(stub, the_largest_memory_is_mapped_to_its_end) {
    bench b;
    vmsig_stub_cfg cfg = {.memory = 1u << 30};
    char err[128];
    void *vm;
    if (vmsig_stub_vm_new(&cfg, &vm, err, sizeof err) < 0)
        cr_skip_test("no room for 1 GiB here");
    vmsig_stub_backend.close(vm);
    cfg.memory = 64u << 20;
    setup(&b, cfg);
    booted(&b, 1);
    cr_expect_eq(read64(&b, VMSIG_STUB_DIRECT((62u << 20) - 8)), 0u);
    end(&b);
}

Test(stub, a_root_is_published_only_once_paging_is_on) {
    bench b;
    vmsig_stub_cfg cfg = {.memory = 4u << 20, .boot_ms = 60000};
    setup(&b, cfg);
    cr_expect_eq(rig_vm_state(&b.r), VMSIG_VM_RUNNING);
    cr_expect_eq(rig_count(&b.r, VMSIG_EV_MEMCTX), 0);
    cr_expect_eq(rig_write(&b.r, VMSIG_STUB_USER(0x3000), 8, 1, VMSIG_MEMWRITE_VIRTUAL), VMSIG_UNAVAILABLE);
    cr_expect_eq(rig_write(&b.r, VMSIG_STUB_SCRATCH, 8, 1, 0), VMSIG_OK);
    end(&b);
}

Test(stub, memory_writes_come_back_through_the_read_only_fd) {
    bench b;
    setup(&b, still);
    booted(&b, 1);
    cr_expect_eq(rig_write(&b.r, VMSIG_STUB_KERNEL(VMSIG_STUB_SCRATCH), 8, 0xfeed, VMSIG_MEMWRITE_VIRTUAL), VMSIG_OK);
    cr_expect_eq(read64(&b, VMSIG_STUB_USER(VMSIG_STUB_SCRATCH)), 0xfeedu);
    cr_expect_eq(rig_write(&b.r, VMSIG_STUB_HIGH, 4, 7, 0), VMSIG_OK);
    cr_expect_eq(read64(&b, VMSIG_STUB_DIRECT(VMSIG_STUB_HIGH)), 7u);
    char bytes[32];
    memset(bytes, 'q', sizeof bytes);
    cr_expect_eq(rig_op(&b.r, VMSIG_CMD_VM, VMSIG_VM_STOP), VMSIG_OK);
    cr_expect_eq(rig_write_bytes(&b.r, (2u << 20) - 16, bytes, 32, 0), VMSIG_INVALID, "crosses the low segment's end");
    cr_expect_eq(rig_write_bytes(&b.r, (2u << 20) - 32, bytes, 32, 0), VMSIG_OK);
    end(&b);
}

/* ---- the clock --------------------------------------------------------------------------------------- */

Test(stub, ticks_and_stands_still_with_the_vm) {
    bench b;
    vmsig_stub_cfg cfg = {.memory = 4u << 20, .hz = 200};
    setup(&b, cfg);
    booted(&b, 1);
    uint64_t end_ns = vmsig_now_ns() + DEADLINE_NS;
    while (read64(&b, INFO(ticks)) < 3) {
        cr_assert_lt(vmsig_now_ns(), end_ns);
        turn(&b, 100);
    }
    uint64_t ticks = read64(&b, INFO(ticks));
    cr_expect_gt(read64(&b, INFO(uptime_ns)), 0u);
    cr_expect_eq(rig_op(&b.r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_PAUSE), VMSIG_OK);
    cr_expect_eq(rig_vm_state(&b.r), VMSIG_VM_PAUSED);
    cr_expect_not(turn(&b, 50), "nothing is due while it is paused");
    cr_expect_eq(read64(&b, INFO(ticks)), ticks);
    cr_expect_eq(rig_op(&b.r, VMSIG_CMD_VM, VMSIG_VM_CONT), VMSIG_OK);
    cr_expect_eq(rig_vm_state(&b.r), VMSIG_VM_RUNNING);
    while (read64(&b, INFO(ticks)) == ticks) {
        cr_assert_lt(vmsig_now_ns(), end_ns);
        turn(&b, 100);
    }
    end(&b);
}

Test(stub, without_ticks_nothing_is_ever_due_once_it_has_booted) {
    bench b;
    setup(&b, still);
    booted(&b, 1);
    struct itimerspec t;
    cr_assert_eq(timerfd_gettime(ops()->fd(b.r.host), &t), 0);
    cr_expect_eq(t.it_value.tv_sec, 0);
    cr_expect_eq(t.it_value.tv_nsec, 0);
    cr_expect_not(turn(&b, 0));
    end(&b);
}

/* ---- input ------------------------------------------------------------------------------------------- */

Test(stub, input_comes_back_visible_in_ram) {
    bench b;
    setup(&b, still);
    booted(&b, 1);
    cr_expect_eq(rig_key(&b.r, KEY_A, 1), VMSIG_OK);
    cr_expect_eq(read64(&b, INPUT(count)), 1u);
    cr_expect(key_is_down(&b, KEY_A));
    vmsig_input last;
    uint64_t word = read64(&b, INPUT(last));
    memcpy(&last, &word, sizeof last);
    cr_expect_eq(last.code, KEY_A);
    cr_expect_eq(last.down, 1);
    cr_expect_eq(rig_key(&b.r, KEY_A, 0), VMSIG_OK);
    cr_expect_not(key_is_down(&b, KEY_A));

    const vmsig_input group[4] = {{.type = VMSIG_INPUT_REL, .code = REL_X, .value = -5},
                                  {.type = VMSIG_INPUT_REL, .code = REL_X, .value = 2},
                                  {.type = VMSIG_INPUT_ABS, .code = ABS_Y, .value = 32767},
                                  {.type = VMSIG_INPUT_BTN, .code = BTN_LEFT, .down = 1}};
    vmsig_event cmd = rig_cmd(&b.r, VMSIG_CMD_INPUT, group, sizeof group);
    cr_expect_eq(rig_send(&b.r, &cmd), VMSIG_OK);
    cr_expect_eq((int64_t)read64(&b, INPUT(rel)), -3);
    uint32_t abs_y = 0;
    cr_expect_eq(vmsig_memview_read_virt(b.view, INPUT(abs) + 4 * ABS_Y, &abs_y, 4), 0);
    cr_expect_eq(abs_y, 32767u);
    cr_expect(key_is_down(&b, BTN_LEFT));
    cr_expect_eq(read64(&b, INPUT(count)), 6u);
    memcpy(&word, &group[2], 8);
    cr_expect_eq(read64(&b, INPUT(record) + 8 * 4), word);
    cr_expect_eq(rig_fence(&b.r, VMSIG_LEASE_INPUT), VMSIG_OK);
    cr_expect_not(key_is_down(&b, BTN_LEFT));
    end(&b);
}

Test(stub, the_records_go_round) {
    bench b;
    setup(&b, still);
    booted(&b, 1);
    for (unsigned i = 0; i < VMSIG_STUB_RECORDS + 3; i++) {
        vmsig_input in = {.type = VMSIG_INPUT_REL, .code = REL_Y, .value = (int32_t)i};
        vmsig_event cmd = rig_cmd(&b.r, VMSIG_CMD_INPUT, &in, sizeof in);
        b.r.n = 0;
        cr_assert_eq(rig_send(&b.r, &cmd), VMSIG_OK);
    }
    cr_expect_eq(read64(&b, INPUT(count)), VMSIG_STUB_RECORDS + 3);
    cr_expect_eq(read64(&b, INPUT(record) + 8 * 2) >> 32, VMSIG_STUB_RECORDS + 2);
    cr_expect_eq(read64(&b, INPUT(record) + 8 * 3) >> 32, 3u);
    end(&b);
}

Test(stub, a_paused_vm_takes_no_input) {
    bench b;
    setup(&b, still);
    booted(&b, 1);
    cr_expect_eq(rig_op(&b.r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_PAUSE), VMSIG_OK);
    cr_expect_eq(rig_key(&b.r, KEY_A, 1), VMSIG_UNAVAILABLE);
    cr_expect_eq(read64(&b, INPUT(count)), 0u);
    end(&b);
}

/* ---- lifecycle --------------------------------------------------------------------------------------- */

Test(stub, a_reset_moves_the_epoch_clears_ram_and_finds_another_root) {
    bench b;
    setup(&b, still);
    booted(&b, 1);
    uint64_t root = vmsig_memview_ctx(b.view)->root;
    cr_expect_eq(rig_key(&b.r, KEY_A, 1), VMSIG_OK);
    cr_expect_eq(rig_write(&b.r, VMSIG_STUB_SCRATCH, 8, 99, 0), VMSIG_OK);
    cr_expect_eq(rig_op(&b.r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESET), VMSIG_OK);
    cr_expect_eq(vmsig_host_epoch(b.r.host), 8u);
    cr_expect_eq(rig_count(&b.r, VMSIG_EV_MEMCTX_INVALID), 1);
    cr_expect_eq(rig_count(&b.r, VMSIG_EV_MEMCTX), 1, "paging is off until it has booted");
    cr_expect_eq(rig_write(&b.r, VMSIG_STUB_USER(0x3000), 8, 1, VMSIG_MEMWRITE_VIRTUAL), VMSIG_UNAVAILABLE);
    booted(&b, 2);
    cr_expect_eq(vmsig_memview_epoch(b.view), 8u);
    cr_expect_neq(vmsig_memview_ctx(b.view)->root, root);
    cr_expect_eq(vmsig_memview_ctx(b.view)->ram_id, b.r.ram_id);
    cr_expect_eq(read64(&b, VMSIG_STUB_USER(VMSIG_STUB_SCRATCH)), 0u);
    cr_expect_eq(read64(&b, INPUT(count)), 0u);
    cr_expect_eq(read64(&b, INFO(boots)), 2u);
    for (int i = 3; i < 6; i++) {
        root = vmsig_memview_ctx(b.view)->root;
        cr_expect_eq(rig_op(&b.r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESET), VMSIG_OK);
        booted(&b, i);
        cr_expect_neq(vmsig_memview_ctx(b.view)->root, root);
        cr_expect_eq(read64(&b, INFO(magic)), VMSIG_STUB_MAGIC);
    }
    end(&b);
}

Test(stub, a_paused_vm_that_is_reset_boots_when_it_goes_on) {
    bench b;
    setup(&b, still);
    booted(&b, 1);
    rig_op(&b.r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_PAUSE);
    cr_expect_eq(rig_op(&b.r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESET), VMSIG_OK);
    cr_expect_eq(rig_vm_state(&b.r), VMSIG_VM_PAUSED);
    cr_expect_not(turn(&b, 30));
    cr_expect_eq(rig_op(&b.r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESUME), VMSIG_OK);
    booted(&b, 2);
    end(&b);
}

Test(stub, the_sleep_key_suspends_and_wake_up_moves_the_epoch_and_keeps_ram) {
    bench b;
    setup(&b, still);
    booted(&b, 1);
    cr_expect_eq(rig_write(&b.r, VMSIG_STUB_SCRATCH, 8, 99, 0), VMSIG_OK);
    cr_expect_eq(rig_key(&b.r, KEY_SLEEP, 1), VMSIG_OK);
    cr_expect_eq(rig_vm_state(&b.r), VMSIG_VM_SUSPENDED);
    cr_expect_eq(rig_op(&b.r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESUME), VMSIG_UNAVAILABLE);
    cr_expect_eq(vmsig_host_epoch(b.r.host), 7u);
    cr_expect_eq(rig_op(&b.r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_WAKEUP), VMSIG_OK);
    cr_expect_eq(rig_vm_state(&b.r), VMSIG_VM_RUNNING);
    cr_expect_eq(vmsig_host_epoch(b.r.host), 8u);
    booted(&b, 2);
    cr_expect_eq(read64(&b, VMSIG_STUB_USER(VMSIG_STUB_SCRATCH)), 99u);

    cr_expect_eq(rig_key(&b.r, KEY_SLEEP, 1), VMSIG_OK);
    cr_expect_eq(rig_key(&b.r, KEY_SPACE, 1), VMSIG_OK, "a key wakes it too");
    cr_expect_eq(rig_vm_state(&b.r), VMSIG_VM_RUNNING);
    cr_expect_eq(vmsig_host_epoch(b.r.host), 9u);
    end(&b);
}

Test(stub, powerdown_then_reset_then_quit) {
    bench b;
    setup(&b, still);
    booted(&b, 1);
    cr_expect_eq(rig_op(&b.r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_POWERDOWN), VMSIG_OK);
    cr_expect_eq(rig_vm_state(&b.r), VMSIG_VM_SHUTDOWN);
    cr_expect_eq(vmsig_host_epoch(b.r.host), 8u);
    cr_expect_eq(rig_op(&b.r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESUME), VMSIG_UNAVAILABLE);
    cr_expect_eq(rig_key(&b.r, KEY_A, 1), VMSIG_UNAVAILABLE);
    cr_expect_eq(rig_op(&b.r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESET), VMSIG_OK);
    cr_expect_eq(rig_vm_state(&b.r), VMSIG_VM_RUNNING);
    booted(&b, 2);
    cr_expect_eq(rig_op(&b.r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_QUIT), VMSIG_OK);
    cr_expect_eq(rig_vm_state(&b.r), VMSIG_VM_DOWN);
    cr_expect_eq(rig_op(&b.r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESET), VMSIG_UNAVAILABLE);
    cr_expect_eq(rig_write(&b.r, VMSIG_STUB_SCRATCH, 8, 1, 0), VMSIG_UNAVAILABLE);
    cr_expect_eq(read64(&b, INFO(magic)), VMSIG_STUB_MAGIC, "the old fd stays readable, frozen");
    cr_expect_not(turn(&b, 30));
    end(&b);
}

Test(stub, pausing_twice_and_resuming_twice_is_no_error) {
    bench b;
    setup(&b, still);
    for (int i = 0; i < 2; i++)
        cr_expect_eq(rig_op(&b.r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_PAUSE), VMSIG_OK);
    for (int i = 0; i < 2; i++)
        cr_expect_eq(rig_op(&b.r, VMSIG_CMD_VM, VMSIG_VM_CONT), VMSIG_OK);
    cr_expect_eq(rig_op(&b.r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_WAKEUP), VMSIG_OK);
    cr_expect_eq(rig_op(&b.r, VMSIG_CMD_VM, VMSIG_VM_QUERY), VMSIG_OK);
    end(&b);
}

/* ---- options ----------------------------------------------------------------------------------------- */

typedef struct pair {
    const char *key, *value;
} pair;

static const char *option(void *ud, const char *key) {
    const pair *p = ud;
    return p->key && strcmp(p->key, key) == 0 ? p->value : NULL;
}

Test(options, what_is_out_of_range_is_refused_with_the_key_and_what_was_expected) {
    static const pair bad[] = {{"memory", "3M"},  {"memory", "5M"},     {"memory", "2G"},  {"memory", "lots"},
                               {"hz", "10001"},   {"hz", "-1"},         {"la57", "maybe"}, {"boot_ms", "60001"},
                               {"boot_ms", "1s"}, {"memory", "4194305"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        pair p = bad[i];
        const vmsig_host_backend *backend;
        void *vm;
        char err[256] = "";
        cr_expect_eq(vmsig_stub_make(option, &p, &backend, &vm, err, sizeof err), -EINVAL, "case %zu", i);
        cr_expect_not_null(strstr(err, bad[i].key), "case %zu: %s", i, err);
    }
}

Test(options, what_is_in_range_is_taken) {
    static const pair good[] = {{NULL, NULL}, {"memory", "4M"}, {"memory", "8388608"}, {"hz", "0"}, {"la57", "true"}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        pair p = good[i];
        const vmsig_host_backend *backend;
        void *vm;
        char err[256] = "";
        cr_assert_eq(vmsig_stub_make(option, &p, &backend, &vm, err, sizeof err), 0, "case %zu: %s", i, err);
        backend->close(vm);
    }
}
