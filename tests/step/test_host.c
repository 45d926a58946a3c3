/* A host, killed after each instruction of carrying a command out: an input, a power switch, a write to memory, a fence
 * by which a lease is taken away. Its successor is handed the command again where it had not been taken; the effect must
 * be there at most once, the answer exactly once, and agree. */
#include <stdalign.h>
#include <sys/mman.h>

#include "actors/runtime/record.h"
#include "tests/hosts/rig.h"
#include "tests/step/step.h"

#define RAM   4096u
#define VALUE 0x1122334455667788u

/* The VM, and what was published: what outlives the host. */
typedef struct outside {
    rig r;
    uint32_t down[2]; /* how often key 30 went down, and up */
    uint32_t resets;
    uint32_t quiets;
    bool taken; /* the command left the ring */
    alignas(64) uint8_t ram[RAM];
} outside;

typedef struct scene {
    outside *o;
    int state_fd;
    vmsig_event cmd;
    void *record;
} scene;

/* ---- the VM ------------------------------------------------------------------------------------------------ */

static int vm_start(void *vm, vmsig_host *host) {
    outside *o = vm;
    const vmsig_seg seg = {0, RAM, 0};
    vmsig_host_set_ram(host, o->ram, RAM, &seg, 1);
    vmsig_host_state(host, VMSIG_VM_RUNNING, 0);
    return 0;
}

static int vm_input(void *vm, uint32_t corr, const vmsig_input *in, uint32_t n) {
    outside *o = vm;
    (void)corr;
    for (uint32_t i = 0; i < n; i++)
        o->down[in[i].down ? 0 : 1]++;
    return VMSIG_OK;
}

static int vm_lifecycle(void *vm, uint32_t corr, uint32_t op) {
    (void)corr, (void)op;
    ((outside *)vm)->resets++;
    return VMSIG_OK;
}

static int vm_quiet(void *vm, uint32_t corr, vmsig_lease_class cls) {
    (void)corr, (void)cls;
    ((outside *)vm)->quiets++;
    return VMSIG_OK;
}

static void vm_close(void *vm) {
    (void)vm;
}

static const vmsig_host_backend backend = {.name = "vm",
                                           .start = vm_start,
                                           .input = vm_input,
                                           .lifecycle = vm_lifecycle,
                                           .quiet = vm_quiet,
                                           .close = vm_close};

static void host_up(scene *s) {
    rig *r = &s->o->r;
    vmsig_host_env env = rig_env(r, s->state_fd);
    r->host = vmsig_host_new(EP, &backend, s->o, &env);
    cr_assert_not_null(r->host);
    if (r->n > 0 && r->ev[r->n - 1].kind == VMSIG_EV_RESULT) /* as the actor does */
        vmsig_host_answered(r->host, (uint32_t)r->ev[r->n - 1].corr);
    rig_start(r);
}

/* ---- the operation, and what follows ------------------------------------------------------------------------- */

static void operate(void *ud) {
    scene *s = ud;
    ops()->command(s->o->r.host, &s->cmd);
    s->o->taken = true;
}

/* The effect that the command asks for: how often. */
static uint32_t effects(const scene *s) {
    const outside *o = s->o;
    uint64_t word;
    memcpy(&word, o->ram + 64, sizeof word);
    switch (s->cmd.kind) {
    case VMSIG_CMD_INPUT:
        return o->down[0];
    case VMSIG_CMD_LIFECYCLE:
        return o->resets;
    case VMSIG_CMD_LEASE:
        return o->down[1];
    default:
        step_must(word == 0 || word == VALUE, "a torn write");
        return word == VALUE;
    }
}

static void succeed(void *ud) {
    scene *s = ud;
    rig *r = &s->o->r;
    bool before = s->o->taken;
    host_up(s);
    if (!before)
        ops()->command(r->host, &s->cmd);
    vmsig_host_flush(r->host);
    int status = rig_status(r, s->cmd.corr);
    uint32_t n = effects(s);
    step_must(status == VMSIG_OK || status == VMSIG_UNKNOWN, "answered with %d (-1: not, -2: twice)", status);
    if (s->cmd.kind == VMSIG_CMD_LEASE) { /* to let go once more is no harm; to leave a key down is */
        step_must(status == VMSIG_OK && n >= 1, "the fence was answered with %d, and the key let go %u times", status,
                  n);
        return;
    }
    step_must(n <= 1, "the effect came %u times", n);
    step_must(status != VMSIG_OK || n == 1, "answered OK, and there is no effect");
}

/* ---- the scenes ---------------------------------------------------------------------------------------------- */

static vmsig_event command(scene *s, uint8_t kind) {
    rig *r = &s->o->r;
    vmsig_input key = {.type = VMSIG_INPUT_KEY, .down = 1, .code = 30};
    vmsig_memwrite write = {.addr = 64, .value = VALUE, .size = 8};
    vmsig_lease fence = {.op = VMSIG_LEASE_FENCE, .cls = VMSIG_LEASE_INPUT};
    uint32_t op = VMSIG_LIFECYCLE_RESET;
    switch (kind) {
    case VMSIG_CMD_INPUT:
        return rig_cmd(r, kind, &key, sizeof key);
    case VMSIG_CMD_MEMWRITE:
        return rig_cmd(r, kind, &write, sizeof write);
    case VMSIG_CMD_LEASE:
        cr_assert_eq(rig_key(r, 30, 1), VMSIG_OK); /* it is held down */
        s->o->down[0] = 0;
        return rig_cmd(r, kind, &fence, sizeof fence);
    default:
        return rig_cmd(r, kind, &op, sizeof op);
    }
}

static void run(const char *name, uint8_t kind) {
    scene s = {.state_fd = vmsig_shm_create("record", VMSIG_RECORD_BYTES)};
    cr_assert_geq(s.state_fd, 0);
    s.o = mmap(NULL, sizeof *s.o, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(s.o, MAP_FAILED);
    cr_assert_eq(vmsig_shm_map_rw(s.state_fd, sizeof(vmsig_record), &s.record), 0);
    rig_pages(&s.o->r);
    host_up(&s);
    s.cmd = command(&s, kind);
    step_mem mem[] = {{s.o, sizeof *s.o},
                      {s.record, sizeof(vmsig_record)},
                      {s.o->r.epoch, VMSIG_EPOCH_BYTES},
                      {s.o->r.fences, VMSIG_FENCE_BYTES}};
    step_case c = {.name = name, .op = operate, .check = succeed, .ud = &s, .mem = mem, .mem_n = 4};
    int64_t deaths = step_through(&c);
    rig_end(&s.o->r);
    close(s.state_fd);
    if (deaths < 0)
        cr_skip_test("ptrace is not allowed here");
}

Test(step_host, applies_an_input, .timeout = 3600) {
    run("apply: input", VMSIG_CMD_INPUT);
}

Test(step_host, applies_a_power_switch, .timeout = 3600) {
    run("apply: power", VMSIG_CMD_LIFECYCLE);
}

Test(step_host, applies_a_memory_write, .timeout = 3600) {
    run("apply: memory", VMSIG_CMD_MEMWRITE);
}

Test(step_host, applies_a_fence, .timeout = 3600) {
    run("apply: fence", VMSIG_CMD_LEASE);
}
