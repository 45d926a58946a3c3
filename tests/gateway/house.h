/* house.h: a gateway's core in a process of its own, over a real socket, without a supervisor: gate and server on a
 * state that outlives the process, with a pretended context in shared memory that is exactly-once as rings are. It can
 * be killed and started again at any moment. */
#ifndef TESTS_GATEWAY_HOUSE_H
#define TESTS_GATEWAY_HOUSE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actors/gateway/server.h"
#include "control.pb-c.h"
#include "rings/atomics.h"
#include "schema/frame.h"
#include "vmsig_client.h"

#ifndef HOUSE_RINGS
#define HOUSE_RINGS VMSIG_CLIENT_SOCKET /* how guests attach */
#endif
#define HOUSE_STATE    (4u << 20)
#define HOUSE_COMMANDS 8192

typedef struct house_shared {
    uint64_t ticks;    /* how many ticks the context has sent by now */
    uint32_t epoch;    /* of endpoints 0 and 1 */
    uint32_t memctx;   /* 1: the host has published its memctx */
    uint32_t payload;  /* bytes of payload of each tick */
    uint32_t silent;   /* 1: the host answers nothing */
    uint32_t no_rings; /* 1: the first grant has no rings any more */
    uint64_t commands; /* how many commands were published */
    uint64_t answered; /* how many of them were answered */
    vmsig_event command[HOUSE_COMMANDS];
    uint32_t payload_sum[HOUSE_COMMANDS];
    uint32_t ready;
    vmsig_fence_page fences;
} house_shared;

typedef struct house {
    house_shared *s;
    void *state;
    char dir[64], path[96];
    int listen_fd, ram_rw, ram_ro;
    pid_t pid;
    vmsig_grants *grants;
    /* in the process of the house */
    vmsig_gate *gate;
    vmsig_server *server;
} house;

static inline uint64_t house_now(void *ud) {
    (void)ud;
    return vmsig_now_ns();
}
static inline uint32_t house_epoch(void *ud, uint32_t ep) {
    return ep < 2 ? vmsig_load32(&((house *)ud)->s->epoch) : 0;
}
static inline int house_command(void *ud, const vmsig_event *cmd) {
    house_shared *s = ((house *)ud)->s;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < cmd->payload_len; i++)
        sum += ((const uint8_t *)cmd->payload)[i];
    s->command[s->commands] = *cmd;
    s->payload_sum[s->commands] = sum;
    vmsig_store64_release(&s->commands, s->commands + 1);
    return 0;
}
static inline uint64_t house_mark(void *ud, uint32_t ep) {
    (void)ep;
    return ((house *)ud)->s->commands + 1;
}
static inline bool house_published(void *ud, uint64_t mark) {
    return ((house *)ud)->s->commands >= mark;
}
static inline int house_ram(void *ud, uint32_t ep, uint32_t ram_id) {
    (void)ram_id;
    return ep == 0 ? ((house *)ud)->ram_ro : -1;
}
static inline vmsig_fence_page *house_fences(void *ud) {
    return &((house *)ud)->s->fences;
}
static inline void house_log(void *ud, const char *text) {
    (void)ud;
    dprintf(2, "house: %s\n", text);
}

static inline void house_take(house *h, uint16_t link, uint64_t position, vmsig_event *ev) {
    ev->epoch = h->s->epoch;
    ev->merged = 1;
    ev->prio = VMSIG_PRIO_NORMAL;
    ev->seq = position;
    vmsig_gate_take(h->gate, link, position, ev);
}

/* Link 1: ticks; link 2: results; link 3: the memctx. */
static inline void house_context(house *h) {
    static uint8_t payload[VMSIG_PAYLOAD_MAX];
    uint64_t position = 0, seq;
    vmsig_gate_accepted(h->gate, 1, &position, &seq);
    uint64_t ticks = vmsig_load64_acquire(&h->s->ticks);
    for (int i = 0; position < ticks && i < 256; i++) {
        vmsig_event ev = {.source = 9, .kind = 64, .inln_len = 8, .payload_len = h->s->payload};
        ev.payload = ev.payload_len ? payload : NULL;
        position++;
        memcpy(ev.inln, &position, 8);
        memset(payload, (int)position, ev.payload_len);
        house_take(h, 1, position, &ev);
    }
    position = 0;
    vmsig_gate_accepted(h->gate, 2, &position, &seq);
    while (position < h->s->commands && !vmsig_load32(&h->s->silent)) {
        vmsig_result r = {.status = VMSIG_OK, .detail = position};
        vmsig_event ev = {.source = VMSIG_SRC_VMHOST, .kind = VMSIG_EV_RESULT, .inln_len = sizeof r};
        ev.corr = h->s->command[position].corr;
        memcpy(ev.inln, &r, sizeof r);
        house_take(h, 2, ++position, &ev);
    }
    position = 0;
    vmsig_gate_accepted(h->gate, 3, &position, &seq);
    if (position < vmsig_load32(&h->s->memctx)) {
        vmsig_memctx m = {.root = 0x1000, .ram_id = 1};
        vmsig_event ev = {.source = VMSIG_SRC_MEMCTX, .kind = VMSIG_EV_MEMCTX, .inln_len = sizeof m};
        memcpy(ev.inln, &m, sizeof m);
        house_take(h, 3, ++position, &ev);
    }
}

static inline void house_live(house *h) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    vmsig_loop *loop;
    vmsig_gate_env env = {.now = house_now,
                          .epoch = house_epoch,
                          .command = house_command,
                          .mark = house_mark,
                          .published = house_published,
                          .ram = house_ram,
                          .fences = house_fences,
                          .log = house_log,
                          .endpoint_mask = 3,
                          .ud = h};
    vmsig_server_cfg cfg = {.lineage = 77,
                            .listen_fd = h->listen_fd,
                            .grants = h->grants,
                            .owner = geteuid(),
                            .endpoint_mask = 3,
                            .names = {"one", "two"},
                            .log = house_log};
    if (vmsig_loop_new(&loop) || vmsig_gate_new(h->state, HOUSE_STATE, &env, &h->gate) || vmsig_gate_start(h->gate))
        _exit(1);
    cfg.loop = loop;
    cfg.gate = h->gate;
    if (vmsig_server_new(&cfg, &h->server))
        _exit(1);
    vmsig_store32(&h->s->ready, 1);
    for (;;) {
        vmsig_loop_run_once(loop, 1);
        house_context(h);
        if (vmsig_load32(&h->s->no_rings) && h->grants->rings[0]) {
            h->grants->rings[0] = false;
            vmsig_server_regrant(h->server, h->grants);
        }
        vmsig_server_retry(h->server);
        vmsig_gate_turn(h->gate);
        vmsig_server_flush(h->server);
    }
}

static inline void house_start(house *h) {
    vmsig_store32(&h->s->ready, 0);
    fflush(NULL);
    h->pid = fork();
    cr_assert_geq(h->pid, 0);
    if (h->pid == 0)
        house_live(h);
}
static inline void house_kill(house *h) {
    kill(h->pid, SIGKILL);
    waitpid(h->pid, NULL, 0);
}

static inline house *house_new(vmsig_grants *grants) {
    house *h = calloc(1, sizeof *h);
    h->grants = grants;
    h->s = mmap(NULL, sizeof *h->s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    h->state = mmap(NULL, HOUSE_STATE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    h->s->epoch = 5;
    strcpy(h->dir, "/tmp/vmsig-house-XXXXXX");
    cr_assert(mkdtemp(h->dir));
    snprintf(h->path, sizeof h->path, "%s/control.sock", h->dir);
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    strcpy(sa.sun_path, h->path);
    h->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(h->listen_fd, (struct sockaddr *)&sa, sizeof sa), 0);
    cr_assert_eq(listen(h->listen_fd, 64), 0);
    h->ram_rw = memfd_create("ram", MFD_CLOEXEC);
    cr_assert_eq(ftruncate(h->ram_rw, 4096), 0);
    cr_assert_eq(pwrite(h->ram_rw, "guest ram", 9, 0), 9);
    char ro[64];
    snprintf(ro, sizeof ro, "/proc/self/fd/%d", h->ram_rw);
    h->ram_ro = open(ro, O_RDONLY | O_CLOEXEC);
    house_start(h);
    return h;
}
static inline void house_end(house *h) {
    house_kill(h);
    unlink(h->path);
    rmdir(h->dir);
}

/* ---- a peer that speaks frames by itself --------------------------------------------------------------- */

static inline int peer_connect(house *h) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    strcpy(sa.sun_path, h->path);
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(sock, (struct sockaddr *)&sa, sizeof sa), 0);
    return sock;
}
static inline void peer_hello(int sock, uint32_t version) {
    Vmsig__Pb__Hello hello = VMSIG__PB__HELLO__INIT;
    Vmsig__Pb__ToGateway m = VMSIG__PB__TO_GATEWAY__INIT;
    hello.version = version;
    m.m_case = VMSIG__PB__TO_GATEWAY__M_HELLO;
    m.hello = &hello;
    cr_assert_eq(vmsig_frame_send(sock, &m.base, NULL, 0), 0);
}
/* The next message: the caller's; NULL: the end, or nothing within the deadline. */
static inline Vmsig__Pb__ToControl *peer_next(int sock, int timeout_ms) {
    static vmsig_frame f;
    struct pollfd p = {.fd = sock, .events = POLLIN};
    for (int i = 0; i < 2 && poll(&p, 1, timeout_ms) == 1; i++)
        if (vmsig_frame_recv(sock, &f) == 1)
            return vmsig_frame_unpack(&f, &vmsig__pb__to_control__descriptor);
    return NULL;
}
/* Was the peer refused, with this in the reason? */
static inline bool peer_refused(int sock, const char *why) {
    Vmsig__Pb__ToControl *m;
    bool found = false;
    while (!found && (m = peer_next(sock, 5000))) {
        found = m->m_case == VMSIG__PB__TO_CONTROL__M_REFUSED && strstr(m->refused->why, why);
        if (m->m_case == VMSIG__PB__TO_CONTROL__M_REFUSED && !found)
            cr_log_error("refused: %s", m->refused->why);
        vmsig__pb__to_control__free_unpacked(m, NULL);
    }
    char byte;
    struct pollfd p = {.fd = sock, .events = POLLIN};
    bool ended = found && poll(&p, 1, 5000) == 1 && recv(sock, &byte, 1, 0) <= 0;
    return found && ended;
}

/* ---- a control by the client library ------------------------------------------------------------------- */

typedef struct guest {
    vmsig_client *c;
    uint64_t ticks, last_tick, wrong; /* wrong: a tick that is not the last one's successor */
    uint64_t lost, results, snapshot_ends;
    uint32_t bad_payloads;
    int states[4];
    int revoked;
    uint8_t result_of[HOUSE_COMMANDS]; /* how many results per corr */
    int32_t status_of[HOUSE_COMMANDS];
    char ram[16];
    int ram_writable, memctx;
} guest;

static inline void guest_event(void *user, const vmsig_event *ev) {
    guest *g = user;
    if (ev->kind == 64) {
        uint64_t v;
        memcpy(&v, ev->inln, 8);
        g->wrong += g->last_tick && v != g->last_tick + 1;
        g->last_tick = v;
        g->ticks++;
        for (uint32_t i = 0; i < ev->payload_len; i++)
            if (((const uint8_t *)ev->payload)[i] != (uint8_t)v) {
                g->bad_payloads++;
                break;
            }
    }
    if (ev->kind == VMSIG_EV_RESULT && ev->corr < HOUSE_COMMANDS) {
        vmsig_result r;
        memcpy(&r, ev->inln, sizeof r);
        g->result_of[ev->corr]++;
        g->status_of[ev->corr] = r.status;
        g->results++;
    }
    if (ev->kind == VMSIG_EV_LEASE) {
        vmsig_lease_info l;
        memcpy(&l, ev->inln, sizeof l);
        g->revoked += l.state == VMSIG_LEASE_REVOKED;
    }
    g->lost += ev->kind == VMSIG_EV_LOST;
    g->snapshot_ends += ev->kind == VMSIG_EV_SNAPSHOT_END;
}
static inline void guest_memctx(void *user, const vmsig_event *ev, int fd) {
    guest *g = user;
    (void)ev;
    g->memctx++;
    if (pread(fd, g->ram, 9, 0) != 9)
        g->ram[0] = 0;
    g->ram_writable =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED || write(fd, "x", 1) == 1;
}
static inline void guest_state(void *user, vmsig_client_state state) {
    ((guest *)user)->states[state]++;
}
static inline guest *guest_new_with(house *h, uint32_t rings, uint32_t slots) {
    guest *g = calloc(1, sizeof *g);
    char err[256] = "";
    vmsig_client_cfg cfg = {.name = "guest",
                            .user = g,
                            .on_event = guest_event,
                            .on_memctx = guest_memctx,
                            .on_state = guest_state,
                            .rings = rings,
                            .ring_slots = slots};
    g->c = vmsig_client_open(h->path, &cfg, 5000, err, sizeof err);
    cr_assert(g->c, "%s", err);
    const char *why = NULL;
    cr_assert_eq(vmsig_client_rings(g->c, &why), rings != 0 && (!h->grants || h->grants->rings), "%s", why);
    return g;
}
static inline guest *guest_new(house *h) {
    return guest_new_with(h, HOUSE_RINGS, 0);
}
/* Steps until the condition holds; false: it did not within 10 s. */
#define GUEST_UNTIL(g, condition)                                                                                      \
    __extension__({                                                                                                    \
        uint64_t until_ = vmsig_now_ns() + 10000000000ull;                                                             \
        while (!(condition) && vmsig_now_ns() < until_)                                                                \
            vmsig_client_step((g)->c, 20);                                                                             \
        (condition);                                                                                                   \
    })

static inline int guest_query(guest *g) {
    vmsig_vm q = {.op = VMSIG_VM_QUERY};
    vmsig_event ev = {.kind = VMSIG_CMD_VM, .inln_len = sizeof q};
    memcpy(ev.inln, &q, sizeof q);
    return vmsig_client_send(g->c, &ev);
}

#endif
