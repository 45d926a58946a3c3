#include "actors/hosts/stub/stub.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/input-event-codes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "actors/hosts/stub/guest.h"
#include "actors/runtime/loop.h"
#include "rings/shm.h"

#define NS_PER_S  1000000000ull
#define NS_PER_MS 1000000ull

const vmsig_stub_cfg vmsig_stub_defaults = {.memory = 16u << 20, .hz = 1, .boot_ms = 20};

typedef struct stub {
    vmsig_host *host;
    vmsig_stub_cfg cfg;
    int ram_fd, timer_fd;
    uint8_t *ram;
    uint32_t ram_id;
    vmsig_seg segs[2];

    vmsig_vm_state state;
    uint64_t boots;
    bool booting;
    /* The guest's clock: it runs while the VM does, and all that is due is due by it. */
    uint64_t clock_ns;   /* at the moment since_ns */
    uint64_t since_ns;   /* CLOCK_MONOTONIC when the VM began to run; 0 = it stands still */
    uint64_t boot_at_ns; /* by the guest's clock */
    uint64_t tick_at_ns;
} stub;

/* ---- the guest's clock ------------------------------------------------------------------------------- */

static uint64_t guest_now(const stub *s) {
    return s->clock_ns + (s->since_ns ? vmsig_now_ns() - s->since_ns : 0);
}

static uint64_t period(const stub *s) {
    return NS_PER_S / s->cfg.hz;
}

static void arm(const stub *s) {
    uint64_t at = s->booting ? s->boot_at_ns : 0;
    if (s->cfg.hz && (at == 0 || s->tick_at_ns < at))
        at = s->tick_at_ns;
    struct itimerspec t = {0};
    if (s->since_ns && at) {
        uint64_t when = s->since_ns + (at > s->clock_ns ? at - s->clock_ns : 0);
        t.it_value.tv_sec = (time_t)(when / NS_PER_S);
        t.it_value.tv_nsec = (long)(when % NS_PER_S);
    }
    timerfd_settime(s->timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static void set_running(stub *s, bool running) {
    s->clock_ns = guest_now(s);
    s->since_ns = running ? vmsig_now_ns() : 0;
    arm(s);
}

/* From here paging is off until boot_ms have passed. */
static void boot(stub *s) {
    s->boots++;
    s->booting = true;
    s->clock_ns = 0;
    s->since_ns = s->since_ns ? vmsig_now_ns() : 0;
    s->boot_at_ns = s->cfg.boot_ms * NS_PER_MS + 1; /* never 0: due at once, all the same */
    s->tick_at_ns = s->cfg.hz ? period(s) : 0;
}

static void booted(stub *s) {
    vmsig_memctx ctx;
    s->booting = false;
    vmsig_stub_guest_paging(s->ram, s->cfg.memory, s->boots, s->cfg.la57 != 0, &ctx);
    ctx.ram_id = s->ram_id;
    vmsig_host_memctx(s->host, &ctx, s->segs, 2);
}

static int on_readable(void *vm) {
    stub *s = vm;
    uint64_t expired;
    if (read(s->timer_fd, &expired, sizeof expired) < 0 || !s->since_ns)
        return 0;
    uint64_t now = guest_now(s);
    if (s->booting && now >= s->boot_at_ns)
        booted(s);
    if (s->cfg.hz && now >= s->tick_at_ns) {
        vmsig_stub_guest_tick(s->ram, now);
        s->tick_at_ns += (1 + (now - s->tick_at_ns) / period(s)) * period(s); /* what was missed is not made up for */
    }
    arm(s);
    return 0;
}

/* ---- lifecycle: a table of state and op -------------------------------------------------------------- */

static void enter(stub *s, vmsig_vm_state state) {
    s->state = state;
    set_running(s, state == VMSIG_VM_RUNNING);
}

static int as_it_is(stub *s, uint32_t op) {
    (void)s, (void)op;
    return VMSIG_OK;
}

static int do_pause(stub *s, uint32_t op) {
    enter(s, VMSIG_VM_PAUSED);
    vmsig_host_state(s->host, s->state, op);
    return VMSIG_OK;
}

static int do_resume(stub *s, uint32_t op) {
    enter(s, VMSIG_VM_RUNNING);
    vmsig_host_state(s->host, s->state, op);
    return VMSIG_OK;
}

/* RAM is kept; the firmware finds the guest a new root. */
static int do_wakeup(stub *s, uint32_t op) {
    boot(s);
    enter(s, VMSIG_VM_RUNNING);
    vmsig_host_epoch_moved(s->host, s->state, op);
    return VMSIG_OK;
}

/* A VM that is paused stays so, and boots when it goes on. The epoch moves before the first byte of RAM changes, so
 * that who reads and then looks at the epoch is never taken in. */
static int do_reset(stub *s, uint32_t op) {
    boot(s);
    enter(s, s->state == VMSIG_VM_PAUSED ? VMSIG_VM_PAUSED : VMSIG_VM_RUNNING);
    vmsig_host_epoch_moved(s->host, s->state, op);
    vmsig_stub_guest_clear(s->ram, s->cfg.memory);
    return VMSIG_OK;
}

static int do_powerdown(stub *s, uint32_t op) {
    s->booting = false;
    enter(s, VMSIG_VM_SHUTDOWN);
    vmsig_host_epoch_moved(s->host, s->state, op);
    return VMSIG_OK;
}

static int do_quit(stub *s, uint32_t op) {
    s->booting = false;
    enter(s, VMSIG_VM_DOWN);
    vmsig_host_set_ram(s->host, NULL, 0, NULL, 0);
    vmsig_host_epoch_moved(s->host, s->state, op);
    return VMSIG_OK;
}

typedef int (*handler)(stub *s, uint32_t op);

/* NULL: UNAVAILABLE. After QUIT the host lets nothing through. */
static handler handler_of(vmsig_vm_state state, uint32_t op) {
    static const handler table[][6] = {
        /*                      PAUSE     RESUME     WAKEUP     POWERDOWN     RESET     QUIT */
        [VMSIG_VM_RUNNING] = {do_pause, as_it_is, as_it_is, do_powerdown, do_reset, do_quit},
        [VMSIG_VM_PAUSED] = {as_it_is, do_resume, NULL, do_powerdown, do_reset, do_quit},
        [VMSIG_VM_SUSPENDED] = {NULL, NULL, do_wakeup, do_powerdown, do_reset, do_quit},
        [VMSIG_VM_SHUTDOWN] = {NULL, NULL, NULL, as_it_is, do_reset, do_quit},
    };
    unsigned column = op >= VMSIG_LIFECYCLE_POWERDOWN ? op - VMSIG_LIFECYCLE_POWERDOWN + 3 : op - VMSIG_LIFECYCLE_PAUSE;
    if (state < VMSIG_VM_RUNNING || state > VMSIG_VM_SHUTDOWN || column >= 6)
        return NULL;
    return table[state][column];
}

static int lifecycle(void *vm, uint32_t corr, uint32_t op) {
    stub *s = vm;
    (void)corr;
    handler h = handler_of(s->state, op);
    return h ? h(s, op) : VMSIG_UNAVAILABLE;
}

/* ---- input ------------------------------------------------------------------------------------------- */

static bool presses(const vmsig_input *in, uint32_t n, uint16_t code /* 0 = any */) {
    for (uint32_t i = 0; i < n; i++)
        if (in[i].type == VMSIG_INPUT_KEY && in[i].down && (code == 0 || in[i].code == code))
            return true;
    return false;
}

/* A key wakes a guest that sleeps (and is used up by that); the sleep key sends it to sleep. */
static int input(void *vm, uint32_t corr, const vmsig_input *in, uint32_t n) {
    stub *s = vm;
    (void)corr;
    if (s->state == VMSIG_VM_SUSPENDED && presses(in, n, 0))
        return do_wakeup(s, 0);
    if (s->state != VMSIG_VM_RUNNING)
        return VMSIG_UNAVAILABLE;
    for (uint32_t i = 0; i < n; i++)
        vmsig_stub_guest_input(s->ram, &in[i]);
    if (presses(in, n, KEY_SLEEP)) {
        enter(s, VMSIG_VM_SUSPENDED);
        vmsig_host_state(s->host, s->state, 0);
    }
    return VMSIG_OK;
}

/* ---- start and end ----------------------------------------------------------------------------------- */

/* A second, read-only opening of the memfd; the first one stays with us and is never handed out. */
static int open_read_only(int fd) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int ro = open(path, O_RDONLY | O_CLOEXEC);
    return ro < 0 ? -errno : ro;
}

static int offer(stub *s) {
    int ro = open_read_only(s->ram_fd);
    if (ro < 0)
        return ro;
    int rc = vmsig_host_offer_ram(s->host, s->ram_id, ro);
    close(ro);
    return rc;
}

static int start(void *vm, vmsig_host *host) {
    stub *s = vm;
    s->host = host;
    s->ram_id = vmsig_host_epoch(host);
    int rc = vmsig_host_set_ram(host, s->ram, s->cfg.memory, s->segs, 2);
    if (rc == 0)
        rc = offer(s);
    if (rc < 0)
        return rc;
    boot(s);
    vmsig_stub_guest_clear(s->ram, s->cfg.memory);
    enter(s, VMSIG_VM_RUNNING);
    vmsig_host_state(host, s->state, 0);
    return 0;
}

/* Nothing of the guest runs while the adapter does. */
static int hold(void *vm) {
    (void)vm;
    return VMSIG_OK;
}

static int fd(void *vm) {
    return ((stub *)vm)->timer_fd;
}

static void close_stub(void *vm) {
    stub *s = vm;
    if (s->ram)
        vmsig_shm_unmap(s->ram, s->cfg.memory);
    if (s->ram_fd >= 0)
        close(s->ram_fd);
    if (s->timer_fd >= 0)
        close(s->timer_fd);
    free(s);
}

const vmsig_host_backend vmsig_stub_backend = {.name = "stub",
                                               .start = start,
                                               .input = input,
                                               .lifecycle = lifecycle,
                                               .hold = hold,
                                               .fd = fd,
                                               .on_readable = on_readable,
                                               .close = close_stub};

static const char *wrong(const vmsig_stub_cfg *c) {
    if (c->memory < 4u << 20 || c->memory > 1u << 30 || c->memory % (2u << 20) != 0)
        return "memory: 4M to 1G, in steps of 2M";
    if (c->hz > 10000)
        return "hz: 0 to 10000 ticks a second";
    if (c->boot_ms > 60000)
        return "boot_ms: 0 to 60000 milliseconds";
    return NULL;
}

/* Mapped before it is sealed: this mapping is the one writable there will ever be. */
static int open_ram(stub *s) {
    void *map;
    s->ram_fd = vmsig_shm_create("vmsig-stub-ram", s->cfg.memory);
    if (s->ram_fd < 0)
        return s->ram_fd;
    int rc = vmsig_shm_map_rw(s->ram_fd, s->cfg.memory, &map);
    if (rc < 0)
        return rc;
    s->ram = map;
    return vmsig_shm_seal(s->ram_fd);
}

int vmsig_stub_vm_new(const vmsig_stub_cfg *cfg, void **vm, char *err, size_t err_len) {
    stub *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->ram_fd = s->timer_fd = -1;
    s->cfg = *cfg;
    if (s->cfg.memory == 0)
        s->cfg.memory = vmsig_stub_defaults.memory;
    const char *why = wrong(&s->cfg);
    int rc = why ? -EINVAL : open_ram(s);
    if (rc == 0 && (s->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) < 0)
        rc = -errno;
    if (rc < 0) {
        if (why)
            snprintf(err, err_len, "the stub takes %s", why);
        else
            snprintf(err, err_len, "the stub's RAM of %llu bytes: %s", (unsigned long long)s->cfg.memory,
                     strerror(-rc));
        close_stub(s);
        return rc;
    }
    vmsig_stub_guest_segs(s->cfg.memory, s->segs);
    *vm = s;
    return 0;
}

int vmsig_stub_open(uint32_t endpoint, const vmsig_stub_cfg *cfg, const vmsig_source_ops **ops, void **src) {
    char err[128];
    void *vm;
    int rc = endpoint < VMSIG_ENDPOINTS_MAX && ops && src ? 0 : -EINVAL;
    if (rc == 0)
        rc = vmsig_stub_vm_new(cfg ? cfg : &vmsig_stub_defaults, &vm, err, sizeof err);
    if (rc == 0) {
        *src = vmsig_host_new(endpoint, &vmsig_stub_backend, vm, NULL);
        *ops = vmsig_host_source_ops();
        if (!*src) {
            close_stub(vm);
            rc = -ENOMEM;
        }
    }
    if (rc < 0)
        errno = -rc;
    return rc < 0 ? -1 : 0;
}
