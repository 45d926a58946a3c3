/* A real VM: the tests' own guest under QEMU, driven through a topology of its own, and beside it, in the same run, the
 * floor: the same guest under a QEMU that this process has started and talks to itself, by the bare protocol.
 *
 *   query, key, write:  here ──socket──► gateway ─► context ─► host adapter ──QMP, mapping──► QEMU
 *   seen:               here ◄── RAM, read-only fd ──────────────────────────────────────────── guest
 *                       here ◄──socket── gateway ◄─ context ◄─ memwatch ◄── RAM ─────────────── guest
 *
 * While one is measured the other stands still: each guest keeps a processor busy. Both keep to a schedule of their own:
 * a keyboard takes no more than so many keys at a time. Who waits for a word of RAM looks each 20 us and sleeps
 * meanwhile: one that spins takes the other processor from QEMU, and slows down what it measures. */
#include <errno.h>
#include <limits.h>
#include <linux/input-event-codes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "actors/hosts/qemu/machine.h"
#include "bench/bed.h"
#include "supervisor/cli/cli.h"
#include "tests/guest/layout.h"
#include "vmsig_client.h"
#include "vmsig_memwatch.h"

#define BOX(f)    (GUEST_MAILBOX + offsetof(guest_mailbox, f))
#define WAIT_NS   10000000000ull
#define PERIOD_NS 10000000ull /* between two of a kind */
#define LOOK_NS   20000u
#define EVENTS    50u
#define PLACE     0x310000u
#define LARGER    4096u
#define WATCH     8u
#define GOAL      1.3

typedef struct floor_vm {
    vmsig_machine m;
    bool down; /* the key */
} floor_vm;

typedef struct bus_vm {
    bench_bed bed;
    vmsig_memview *view;
    uint64_t seen; /* the count of scancodes, as memwatch told it last */
    bool down;
} bus_vm;

typedef struct vm_pair {
    floor_vm bare;
    bus_vm bus;
} vm_pair;

static void sleep_until(uint64_t ns) {
    struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {
    }
}

/* Between two looks at RAM. */
static void look_again(uint64_t until, const char *what) {
    uint64_t now = bench_now_ns();
    if (now > until)
        bench_fail("%s: not seen within 10 s", what);
    sleep_until(now + LOOK_NS);
}

/* ---- the floor: QEMU and nothing else -------------------------------------------------------------------- */

/* Sends a command and reads until its answer. */
static void bare_ask(floor_vm *f, const char *command) {
    char text[4096];
    size_t n = 0;
    if (send(f->m.qmp_fd, command, strlen(command), MSG_NOSIGNAL) != (ssize_t)strlen(command))
        bench_fail("QEMU takes no commands");
    for (;;) {
        struct pollfd p = {.fd = f->m.qmp_fd, .events = POLLIN};
        if (poll(&p, 1, 10000) <= 0)
            bench_fail("QEMU does not answer");
        ssize_t got = recv(f->m.qmp_fd, text + n, sizeof text - 1 - n, 0);
        if (got <= 0)
            bench_fail("QEMU has ended");
        n += (size_t)got;
        text[n] = 0;
        if (strstr(text, "\"return\""))
            return;
        if (strstr(text, "\"error\"") || n == sizeof text - 1)
            bench_fail("QEMU refuses: %.200s", text);
    }
}

static uint64_t bare_word(const floor_vm *f, uint64_t gpa) {
    return __atomic_load_n((const uint64_t *)(const void *)(f->m.ram + gpa), __ATOMIC_RELAXED);
}

static void bare_wait(const floor_vm *f, uint64_t gpa, uint64_t value, const char *what) {
    uint64_t until = bench_now_ns() + WAIT_NS;
    while (bare_word(f, gpa) < value)
        look_again(until, what);
}

static void bare_start(floor_vm *f, char *kernel) {
    char err[256], q35[] = "q35", program[] = "qemu-system-x86_64";
    const vmsig_qemu_options o = {
        .memory = 32u << 20, .accel = VMSIG_ACCEL_TCG, .program = program, .machine = q35, .kernel = kernel};
    if (vmsig_machine_start(&o, &f->m, err, sizeof err) < 0)
        bench_fail("%s", err);
    bare_ask(f, "{\"execute\":\"qmp_capabilities\"}\n");
    bare_ask(f, "{\"execute\":\"cont\"}\n");
    bare_wait(f, BOX(magic), GUEST_MAGIC, "the guest's start");
}

static void bare_query(floor_vm *f) {
    bare_ask(f, "{\"execute\":\"query-status\"}\n");
}

static void bare_key(floor_vm *f) {
    char command[256];
    uint64_t keys = bare_word(f, BOX(keys));
    f->down = !f->down;
    int n = snprintf(command, sizeof command,
                     "{\"execute\":\"input-send-event\",\"arguments\":{\"events\":[{\"type\":\"key\",\"data\":"
                     "{\"down\":%s,\"key\":{\"type\":\"qcode\",\"data\":\"a\"}}}]}}\n",
                     f->down ? "true" : "false");
    if (send(f->m.qmp_fd, command, (size_t)n, MSG_NOSIGNAL) != n)
        bench_fail("QEMU takes no keys");
    bare_wait(f, BOX(keys), keys + 1, "a key");
}

static void bare_store(floor_vm *f) {
    uint64_t value = bare_word(f, BOX(echo_out)) + 1;
    __atomic_store_n((uint64_t *)(void *)(f->m.ram + BOX(echo_in)), value, __ATOMIC_RELAXED);
    bare_wait(f, BOX(echo_out), value, "a store");
}

static void bare_larger(floor_vm *f) {
    static const char bytes[LARGER] = {1};
    bare_ask(f, "{\"execute\":\"stop\"}\n");
    memcpy(f->m.ram + PLACE, bytes, sizeof bytes);
    bare_ask(f, "{\"execute\":\"cont\"}\n");
}

/* The answer to a key that was not waited for. */
static void bare_drain(floor_vm *f) {
    char text[4096];
    struct pollfd p = {.fd = f->m.qmp_fd, .events = POLLIN};
    while (poll(&p, 1, 5) > 0 && recv(f->m.qmp_fd, text, sizeof text, 0) > 0) {
    }
}

/* ---- through the bus ------------------------------------------------------------------------------------- */

static void on_event(void *user, const vmsig_event *ev) {
    bus_vm *b = user;
    if (ev->source == WATCH && ev->kind >= 64 && ev->inln_len >= 8)
        memcpy(&b->seen, ev->inln + ev->inln_len - 8, 8);
}

static void on_memctx(void *user, const vmsig_event *ev, int fd) {
    bus_vm *b = user;
    vmsig_memview_close(b->view);
    b->view = vmsig_memview_open(ev, fd);
}

static uint64_t bus_word(bus_vm *b, uint64_t gpa) {
    uint64_t v = 0;
    if (b->view == NULL || vmsig_memview_read_phys(b->view, gpa, &v, sizeof v) < 0)
        return 0;
    return v;
}

static void bus_wait(bus_vm *b, uint64_t gpa, uint64_t value, const char *what) {
    uint64_t until = bench_now_ns() + WAIT_NS;
    while (bus_word(b, gpa) < value)
        look_again(until, what);
}

static void command(bus_vm *b, uint8_t kind, const void *body, uint32_t len, void *bytes, bool wait) {
    vmsig_event cmd = {.kind = kind, .inln_len = len, .payload = bytes, .payload_len = bytes ? LARGER : 0};
    vmsig_result r = {.status = VMSIG_OK};
    memcpy(cmd.inln, body, len);
    int rc = wait ? vmsig_client_call(b->bed.client, &cmd, &r, 10000) : vmsig_client_send(b->bed.client, &cmd);
    if (rc < 0 || r.status != VMSIG_OK)
        bench_bed_fail(&b->bed, "a command was answered %d: %s", r.status, vmsig_client_error(b->bed.client));
}

static void send_key(bus_vm *b) {
    b->down = !b->down;
    const vmsig_input in = {.type = VMSIG_INPUT_KEY, .code = KEY_A, .down = b->down};
    command(b, VMSIG_CMD_INPUT, &in, sizeof in, NULL, false);
}

static void bus_query(bus_vm *b) {
    const uint32_t op = VMSIG_VM_QUERY;
    command(b, VMSIG_CMD_VM, &op, sizeof op, NULL, true);
}

static void bus_key(bus_vm *b) {
    uint64_t keys = bus_word(b, BOX(keys));
    send_key(b);
    bus_wait(b, BOX(keys), keys + 1, "a key");
}

static void bus_key_back(bus_vm *b) {
    uint64_t keys = b->seen, until = bench_now_ns() + WAIT_NS;
    send_key(b);
    while (b->seen <= keys) {
        bench_bed_step(&b->bed, 100);
        if (bench_now_ns() > until)
            bench_bed_fail(&b->bed, "a key: memwatch did not tell it within 10 s");
    }
}

static void bus_store(bus_vm *b) {
    const vmsig_memwrite w = {.addr = BOX(echo_in), .value = bus_word(b, BOX(echo_out)) + 1, .size = 8};
    command(b, VMSIG_CMD_MEMWRITE, &w, sizeof w, NULL, false);
    bus_wait(b, BOX(echo_out), w.value, "a store");
}

static void bus_larger(bus_vm *b) {
    static char bytes[LARGER] = {1};
    const vmsig_memwrite w = {.addr = PLACE, .size = LARGER};
    command(b, VMSIG_CMD_MEMWRITE, &w, sizeof w, bytes, true);
}

static void lease(bus_vm *b, vmsig_lease_class cls) {
    if (vmsig_client_lease(b->bed.client, 0, cls, 600000, 10000, NULL) < 0)
        bench_bed_fail(&b->bed, "no lease: %s", vmsig_client_error(b->bed.client));
}

static void halt(bus_vm *b, uint32_t op) {
    command(b, VMSIG_CMD_LIFECYCLE, &op, sizeof op, NULL, true);
}

static void bus_start(bus_vm *b, const char *kernel, bench_beds *beds) {
    const vmsig_client_cfg cfg = {.name = "vmsig-bench", .user = b, .on_event = on_event, .on_memctx = on_memctx};
    uint64_t until = bench_now_ns() + WAIT_NS;
    bench_bed_make(&b->bed, "vm", beds);
    char own[PATH_MAX];
    bench_bed_path(&b->bed, "guest.elf", own, sizeof own); /* as root the host adapter is another user */
    FILE *from = fopen(kernel, "re"), *to = fopen(own, "we");
    for (int c; from && to && (c = fgetc(from)) != EOF;)
        fputc(c, to);
    if (!from || !to || fclose(to) != 0)
        bench_bed_fail(&b->bed, "%s: %s", kernel, strerror(errno));
    fclose(from);
    FILE *f = bench_bed_topology(&b->bed);
    fprintf(f,
            "endpoints:\n"
            "  - {name: vm, id: 0, host: qemu, qemu: {memory: 32M, accel: tcg, kernel: guest.elf}}\n"
            "actors:\n"
            "  - {name: context, kind: context}\n"
            "  - {name: gateway, kind: gateway, socket: control.sock}\n"
            "  - {name: watch, kind: sensor, exec: vmsig-sensor-memwatch, endpoint: vm, source: %u, memctx: true,\n"
            "     args: [--phys, \"%#x:8\", --hz, \"%u\"]}\n",
            WATCH, (unsigned)BOX(keys), VMSIG_MEMWATCH_HZ_MAX);
    bench_bed_start(&b->bed, f);
    bench_bed_connect(&b->bed, &cfg);
    while (bus_word(b, BOX(magic)) != GUEST_MAGIC) {
        bench_bed_step(&b->bed, 20);
        bench_bed_look(&b->bed);
        if (bench_now_ns() > until)
            bench_bed_fail(&b->bed, "the guest did not start within 10 s");
    }
    lease(b, VMSIG_LEASE_INPUT);
    lease(b, VMSIG_LEASE_MEMWRITE);
}

/* ---- rounds ---------------------------------------------------------------------------------------------- */

typedef struct vm_case {
    void (*bare)(floor_vm *f);
    void (*bus)(bus_vm *b);
    unsigned floor; /* index of its floor's series */
} vm_case;

static void on_the_bare(floor_vm *f, const vm_case *c, unsigned n, bench_hist *h) {
    uint64_t at = bench_now_ns();
    for (unsigned i = 0; i < n; i++) {
        sleep_until(at += PERIOD_NS);
        uint64_t t = bench_ticks();
        c->bare(f);
        bench_hist_add(h, bench_ticks() - t);
        bare_drain(f);
    }
}

static void on_the_bus(bus_vm *b, const vm_case *c, unsigned n, bench_hist *h) {
    uint64_t at = bench_now_ns();
    for (unsigned i = 0; i < n; i++) {
        at += PERIOD_NS;
        bench_bed_step(&b->bed, 5); /* answers, and what memwatch told */
        sleep_until(at);
        uint64_t t = bench_ticks();
        c->bus(b);
        bench_hist_add(h, bench_ticks() - t);
    }
    bench_bed_look(&b->bed);
}

static void measure(const bench_options *o, vm_pair *p, bench_series *floors, bench_series *series) {
    static const vm_case cases[] = {{bare_query, bus_query, 0},
                                    {bare_key, bus_key, 1},
                                    {NULL, bus_key_back, 1},
                                    {bare_store, bus_store, 2},
                                    {bare_larger, bus_larger, 3}};
    static bench_hist h;
    unsigned n = (unsigned)bench_scaled(o, EVENTS), floor = 0;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].bare) {
            halt(&p->bus, VMSIG_LIFECYCLE_PAUSE);
            kill(p->bare.m.pid, SIGCONT);
            bench_hist_reset(&h);
            on_the_bare(&p->bare, &cases[i], n, &h);
            bench_add_latency(&floors[floor++], &h, 1);
            kill(p->bare.m.pid, SIGSTOP);
            halt(&p->bus, VMSIG_LIFECYCLE_RESUME);
        }
        bench_hist_reset(&h);
        on_the_bus(&p->bus, &cases[i], n, &h);
        bench_add_latency(&series[i], &h, 1);
    }
}

/* Both guests keep a processor busy: nothing is pinned. */
static void use_both(const bench_options *o) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)o->cpu[0], &set);
    CPU_SET((size_t)o->cpu[1], &set);
    sched_setaffinity(0, sizeof set, &set);
}

static bool have(const bench_options *o, char *kernel, size_t len) {
    char dir[PATH_MAX];
    if (vmsig_cli_program_dir(dir, sizeof dir) != 0 ||
        snprintf(kernel, len, "%s/../tests/guest/guest.elf", dir) >= (int)len || access(kernel, R_OK) != 0) {
        bench_note(o, "vm: skipped: its guest is not built (make bench builds it)");
        return false;
    }
    if (access("/usr/bin/qemu-system-x86_64", X_OK) == 0)
        return true;
    bench_note(o, "vm: skipped: there is no QEMU (the package qemu-system-x86)");
    return false;
}

void bench_vm(const bench_options *o) {
    static bench_series floors[] = {{.name = "floor: QMP query-status"},
                                    {.name = "floor: QMP key to RAM"},
                                    {.name = "floor: store to guest"},
                                    {.name = "floor: QMP stop, copy, cont"}};
    static bench_series series[] = {{.name = "query, command to result"},
                                    {.name = "key to RAM"},
                                    {.name = "key to control, by memwatch"},
                                    {.name = "MEMWRITE to guest"},
                                    {.name = "MEMWRITE of 4 KiB, to result"}};
    static const unsigned floor_of[] = {0, 1, 1, 2, 3};
    char kernel[PATH_MAX];
    bench_beds beds = {0};
    vm_pair p = {.bare.down = false};
    if (!have(o, kernel, sizeof kernel))
        return;
    use_both(o);
    prctl(PR_SET_TIMERSLACK, 1); /* of both: QEMU keeps its own */
    bus_start(&p.bus, kernel, &beds);
    halt(&p.bus, VMSIG_LIFECYCLE_PAUSE);
    bare_start(&p.bare, kernel);
    kill(p.bare.m.pid, SIGSTOP);
    halt(&p.bus, VMSIG_LIFECYCLE_RESUME);
    for (unsigned r = 0; r < o->rounds; r++) {
        bench_progress(o, r);
        measure(o, &p, floors, series);
    }
    bench_report_title(o, "a VM under QEMU (TCG), beside the bare QMP of another one");
    for (unsigned i = 0; i < sizeof series / sizeof *series; i++) {
        const bench_series *floor = &floors[floor_of[i]];
        if (i == 0 || floor_of[i] != floor_of[i - 1])
            bench_report(o, floor, NULL, 0);
        bench_report(o, &series[i], &floor, 1);
    }
    bench_note(o, "goal: key to control within %.1f of the bare key to RAM; memwatch looks %u times a second", GOAL,
               VMSIG_MEMWATCH_HZ_MAX);
    kill(p.bare.m.pid, SIGCONT);
    vmsig_machine_end(&p.bare.m);
    vmsig_memview_close(p.bus.view);
    bench_bed_stop(&p.bus.bed);
}
