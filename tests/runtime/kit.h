/* kit.h: a supervisor small enough for a test: it boots actors that are forked from the test, builds links, and is the
 * other end of them itself where that is handy.
 */
#ifndef TEST_KIT_H
#define TEST_KIT_H

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actors/runtime/runtime.h"
#include "rings/bell.h"
#include "rings/shm.h"
#include "schema/frame.h"
#include "vmsig_actor.h"

#define KIT_MS      8000 /* the longest that a test waits for anything */
#define KIT_SLOTS   64u
#define KIT_ARENA   (1u << 16)
#define KIT_EP      3u
#define KIT_SOURCE  9u
#define KIT_EPOCH   7u
#define KIT_LINEAGE 1u

typedef struct kit_actor {
    pid_t pid;
    int sock;
    uint32_t incarnation;
    Vmsig__Pb__ActorKind kind;
    Vmsig__Pb__PollMode poll;
    uint64_t emit_deadline_ms;
    uint32_t layout;
    bool memctx;
} kit_actor;

typedef struct kit_link {
    uint32_t id, slots, dir;
    uint32_t out_gen, in_gen;
    int ring, former_ring;
    int reader, former_reader;
    int data_bell, room_bell;
    uint64_t base;      /* of the newest ring, as its producer said */
    vmsig_ring_out out; /* where the test is the producer */
    vmsig_ring_in in;   /* where it is the consumer */
} kit_link;

static inline kit_actor kit_sensor(void) {
    return (kit_actor){.sock = -1,
                       .kind = VMSIG__PB__ACTOR_KIND__KIND_SENSOR,
                       .poll = VMSIG__PB__POLL_MODE__POLL_BLOCK,
                       .emit_deadline_ms = 1000,
                       .layout = VMSIG_LAYOUT};
}

/* ---- processes --------------------------------------------------------------------------------------- */

static inline void kit_child_fds(int sock) {
    if (sock == VMSIG_BOOT_FD)
        return;
    dup2(sock, VMSIG_BOOT_FD);
    close(sock);
}

/* Forks an actor that runs fn(ud) with the boot socket, or execs argv. */
static inline void kit_fork(kit_actor *a, int (*fn)(void *ud), void *ud, char *const *argv) {
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    fflush(NULL);
    a->incarnation++;
    a->pid = fork();
    cr_assert_geq(a->pid, 0);
    if (a->pid == 0) {
        close(pair[0]);
        kit_child_fds(pair[1]);
        if (argv)
            execv(argv[0], argv);
        _exit(fn ? fn(ud) : 127);
    }
    close(pair[1]);
    a->sock = pair[0];
}

static inline int kit_wait_exit(kit_actor *a) {
    for (int ms = 0; ms < KIT_MS; ms += 2) {
        int status;
        if (waitpid(a->pid, &status, WNOHANG) == a->pid)
            return status;
        poll(NULL, 0, 2);
    }
    kill(a->pid, SIGKILL);
    waitpid(a->pid, NULL, 0);
    cr_assert(false, "the actor did not end");
    return -1;
}

static inline void kit_kill(kit_actor *a) {
    kill(a->pid, SIGKILL);
    waitpid(a->pid, NULL, 0);
}

/* ---- messages ---------------------------------------------------------------------------------------- */

static inline void kit_send(kit_actor *a, Vmsig__Pb__ToActor__MCase what, void *m, const int *fds, int nfds) {
    Vmsig__Pb__ToActor to = VMSIG__PB__TO_ACTOR__INIT;
    to.m_case = what;
    to.boot = m; /* any member of the oneof */
    cr_assert_eq(vmsig_frame_send(a->sock, &to.base, fds, nfds), 0);
}

/* The next message of the actor, NULL = it closed its socket; free with kit_free. fd: what came with it, or NULL. */
static inline Vmsig__Pb__FromActor *kit_recv(kit_actor *a, int *fd) {
    static vmsig_frame f;
    struct pollfd p = {.fd = a->sock, .events = POLLIN};
    cr_assert_eq(poll(&p, 1, KIT_MS), 1, "the actor says nothing");
    int got = vmsig_frame_recv(a->sock, &f);
    if (got <= 0)
        return NULL;
    Vmsig__Pb__FromActor *m = vmsig_frame_unpack(&f, &vmsig__pb__from_actor__descriptor);
    cr_assert(m);
    if (fd && f.nfds == 1)
        *fd = f.fds[0];
    else
        vmsig_frame_close_fds(&f);
    return m;
}

static inline void kit_free(Vmsig__Pb__FromActor *m) {
    protobuf_c_message_free_unpacked(&m->base, NULL);
}

static inline Vmsig__Pb__FromActor *kit_expect(kit_actor *a, Vmsig__Pb__FromActor__MCase what) {
    Vmsig__Pb__FromActor *m = kit_recv(a, NULL);
    cr_assert(m, "the actor closed its boot socket");
    if (m->m_case == VMSIG__PB__FROM_ACTOR__M_FAILED && what != m->m_case)
        cr_assert(false, "failed: %s", m->failed->why);
    cr_assert_eq(m->m_case, what, "message %d instead of %d", (int)m->m_case, (int)what);
    return m;
}

static inline void kit_expect_failed(kit_actor *a, const char *word) {
    Vmsig__Pb__FromActor *m = kit_expect(a, VMSIG__PB__FROM_ACTOR__M_FAILED);
    cr_expect(strstr(m->failed->why, word), "%s", m->failed->why);
    kit_free(m);
}

/* ---- boot, pages ------------------------------------------------------------------------------------- */

static inline void kit_send_boot(kit_actor *a) {
    Vmsig__Pb__Boot b = VMSIG__PB__BOOT__INIT;
    b.version = 1;
    b.layout = a->layout;
    b.name = "subject";
    b.kind = a->kind;
    b.incarnation = a->incarnation;
    b.lineage = KIT_LINEAGE;
    b.has_poll = b.has_endpoint = b.has_source = b.has_emit_deadline_ms = b.has_memctx = true;
    b.poll = a->poll;
    b.endpoint = KIT_EP;
    b.source = KIT_SOURCE;
    b.emit_deadline_ms = a->emit_deadline_ms;
    b.memctx = a->memctx;
    kit_send(a, VMSIG__PB__TO_ACTOR__M_BOOT, &b, NULL, 0);
}

static inline void kit_send_page(kit_actor *a, Vmsig__Pb__PageKind kind, bool writer, int fd) {
    Vmsig__Pb__Page p = VMSIG__PB__PAGE__INIT;
    p.kind = kind;
    p.writer = writer;
    p.has_endpoint = true;
    p.endpoint = KIT_EP;
    kit_send(a, VMSIG__PB__TO_ACTOR__M_PAGE, &p, &fd, 1);
    if (writer)
        kit_free(kit_expect(a, VMSIG__PB__FROM_ACTOR__M_PAGE_MAPPED));
}

/* A board on which the host of KIT_EP is in its first incarnation. */
static inline vmsig_board *kit_board(int *fd) {
    vmsig_board *b;
    *fd = vmsig_shm_create("board", vmsig_board_bytes(1));
    cr_assert_geq(*fd, 0);
    cr_assert_eq(vmsig_board_create(*fd, 1, KIT_LINEAGE, &b), 0);
    vmsig_board_set_endpoint(b, KIT_EP, 1, VMSIG_ACTOR_READY);
    cr_assert_eq(vmsig_shm_seal(*fd), 0);
    return b;
}

static inline vmsig_epoch_page *kit_epoch(int *fd) {
    vmsig_epoch_page *p;
    *fd = vmsig_shm_create("epoch", VMSIG_EPOCH_BYTES);
    cr_assert_geq(*fd, 0);
    cr_assert_eq(vmsig_epoch_create(*fd, KIT_EP, 1, KIT_EPOCH, &p), 0);
    cr_assert_eq(vmsig_shm_seal(*fd), 0);
    return p;
}

/* The fences of the gateway of KIT_EP. */
static inline vmsig_fence_page *kit_fences(int *fd) {
    vmsig_fence_page *p;
    *fd = vmsig_shm_create("fences", VMSIG_FENCE_BYTES);
    cr_assert_geq(*fd, 0);
    cr_assert_eq(vmsig_fence_create(*fd, &p), 0);
    cr_assert_eq(vmsig_shm_seal(*fd), 0);
    return p;
}

static inline const vmsig_gauges *kit_gauges(kit_actor *a) {
    int fd = vmsig_shm_create("gauges", vmsig_gauges_bytes(4));
    const vmsig_gauges *g;
    uint32_t links;
    kit_send_page(a, VMSIG__PB__PAGE_KIND__PAGE_GAUGES, true, fd);
    cr_assert_eq(vmsig_shm_seal(fd), 0);
    cr_assert_eq(vmsig_gauges_open(fd, &g, &links), 0);
    cr_assert_geq(links, 4);
    close(fd);
    return g;
}

static inline void kit_go(kit_actor *a) {
    Vmsig__Pb__Go go = VMSIG__PB__GO__INIT;
    kit_send(a, VMSIG__PB__TO_ACTOR__M_GO, &go, NULL, 0);
    kit_free(kit_expect(a, VMSIG__PB__FROM_ACTOR__M_READY));
}

static inline void kit_send_stop(kit_actor *a, uint32_t ms) {
    Vmsig__Pb__Stop stop = VMSIG__PB__STOP__INIT;
    stop.deadline_ms = ms;
    kit_send(a, VMSIG__PB__TO_ACTOR__M_STOP, &stop, NULL, 0);
}

static inline void kit_stop(kit_actor *a) {
    kit_send_stop(a, KIT_MS);
    kit_free(kit_expect(a, VMSIG__PB__FROM_ACTOR__M_STOPPED));
    cr_expect_eq(kit_wait_exit(a), 0);
    close(a->sock);
}

/* ---- links ------------------------------------------------------------------------------------------- */

static inline kit_link kit_new_link(uint32_t id, vmsig_dir dir) {
    return (kit_link){.id = id,
                      .slots = KIT_SLOTS,
                      .dir = dir,
                      .ring = -1,
                      .former_ring = -1,
                      .reader = -1,
                      .former_reader = -1,
                      .data_bell = vmsig_bell_create(),
                      .room_bell = vmsig_bell_create()};
}

static inline uint64_t kit_send_link(kit_actor *a, kit_link *l, bool output, const int *fds, int nfds) {
    Vmsig__Pb__Link m = VMSIG__PB__LINK__INIT;
    m.id = l->id;
    m.generation = output ? l->out_gen : l->in_gen;
    m.output = output;
    m.dir = l->dir;
    m.slots = l->slots;
    m.arena_bytes = KIT_ARENA;
    m.peer = "test";
    m.peer_kind = VMSIG__PB__ACTOR_KIND__KIND_CONTEXT;
    m.endpoint_mask = UINT64_C(1) << KIT_EP;
    kit_send(a, VMSIG__PB__TO_ACTOR__M_LINK, &m, fds, nfds);
    Vmsig__Pb__FromActor *r = kit_expect(a, VMSIG__PB__FROM_ACTOR__M_MAPPED);
    cr_expect_eq(r->mapped->id, l->id);
    cr_expect_eq(r->mapped->generation, m.generation);
    uint64_t start = r->mapped->start;
    kit_free(r);
    return start;
}

static inline void kit_new_ring(kit_link *l) {
    if (l->former_ring >= 0)
        close(l->former_ring);
    l->former_ring = l->ring;
    l->ring = vmsig_shm_create("ring", vmsig_ring_bytes(l->slots, KIT_ARENA));
    cr_assert_geq(l->ring, 0);
    l->out_gen++;
}

static inline void kit_new_reader(kit_link *l) {
    if (l->former_reader >= 0)
        close(l->former_reader);
    l->former_reader = l->reader;
    l->reader = vmsig_shm_create("reader", VMSIG_READER_BYTES);
    cr_assert_geq(l->reader, 0);
    l->in_gen++;
}

/* The actor becomes the producer (again). */
static inline void kit_output(kit_actor *a, kit_link *l) {
    kit_new_ring(l);
    int fds[3] = {l->ring, l->former_ring, l->reader};
    l->base = kit_send_link(a, l, true, fds, l->former_ring < 0 ? 1 : l->reader < 0 ? 2 : 3);
    cr_assert_eq(vmsig_shm_seal(l->ring), 0);
}

/* The actor becomes the consumer (again). */
static inline uint64_t kit_input(kit_actor *a, kit_link *l) {
    kit_new_reader(l);
    int fds[2] = {l->reader, l->former_reader};
    uint64_t start = kit_send_link(a, l, false, fds, l->former_reader < 0 ? 1 : 2);
    cr_assert_eq(vmsig_shm_seal(l->reader), 0);
    return start;
}

static inline void kit_peer(kit_actor *a, const kit_link *l, bool output) {
    Vmsig__Pb__Peer m = VMSIG__PB__PEER__INIT;
    m.id = l->id;
    m.generation = output ? l->in_gen : l->out_gen;
    int fds[3] = {output ? l->reader : l->ring, l->data_bell, l->room_bell};
    kit_send(a, VMSIG__PB__TO_ACTOR__M_PEER, &m, fds, 3);
}

/* The test becomes the consumer. */
static inline void kit_consume(kit_link *l) {
    kit_new_reader(l);
    cr_assert_eq(vmsig_ring_in_create(&l->in, l->reader, 0, 0), 0);
    cr_assert_eq(vmsig_shm_seal(l->reader), 0);
}

/* The test takes the actor's (next) ring. */
static inline void kit_take_ring(kit_link *l) {
    cr_assert_eq(vmsig_ring_in_peer(&l->in, l->ring, l->id), 0);
}

/* The test becomes the producer. */
static inline void kit_produce(kit_link *l) {
    kit_new_ring(l);
    cr_assert_eq(vmsig_ring_out_create(&l->out, l->ring, l->id, l->out_gen, l->slots, KIT_ARENA, 0, 0), 0);
    cr_assert_eq(vmsig_shm_seal(l->ring), 0);
}

static inline void kit_take_reader(kit_link *l) {
    cr_assert_eq(vmsig_ring_out_peer(&l->out, l->reader), 0);
}

/* ---- events ------------------------------------------------------------------------------------------ */

/* Sleeps until the bell rings: a wake-up that is lost fails the test. */
static inline bool kit_sleep(int bell) {
    struct pollfd p = {.fd = bell, .events = POLLIN};
    bool rung = poll(&p, 1, KIT_MS) == 1;
    vmsig_bell_clear(bell);
    return rung;
}

/* The next event that the actor published, within KIT_MS: 1, or 0. The payload is the caller's. */
static inline int kit_next(kit_link *l, vmsig_event *ev) {
    while (!vmsig_ring_peek(&l->in)) {
        cr_assert_eq(l->in.poisoned, 0);
        if (vmsig_ring_sleep(&l->in))
            continue;
        bool rung = kit_sleep(l->data_bell);
        vmsig_ring_wake(&l->in);
        if (!rung)
            return 0;
    }
    cr_assert_eq(vmsig_ring_get_event(&l->in, ev), 0);
    vmsig_ring_advance(&l->in);
    if (vmsig_ring_release(&l->in))
        vmsig_bell_ring(l->room_bell);
    return 1;
}

static inline uint64_t kit_u64(const vmsig_event *ev) {
    uint64_t v;
    cr_assert_geq(ev->inln_len, sizeof(v));
    memcpy(&v, ev->inln, sizeof(v));
    return v;
}

static inline void kit_expect_u64(kit_link *l, uint64_t want) {
    vmsig_event ev;
    cr_assert_eq(kit_next(l, &ev), 1, "event %llu did not come", (unsigned long long)want);
    cr_assert_eq(kit_u64(&ev), want);
    free(ev.payload);
}

static inline void kit_ring_if_asleep(kit_link *l) {
    if (vmsig_ring_flush(&l->out))
        vmsig_bell_ring(l->data_bell);
}

static inline vmsig_event kit_event(uint8_t kind, uint64_t value) {
    vmsig_event ev = {.kind = kind,
                      .endpoint = KIT_EP,
                      .source = KIT_SOURCE,
                      .epoch = KIT_EPOCH,
                      .merged = 1,
                      .ts_ns = vmsig_now_ns(),
                      .inln_len = sizeof(value)};
    memcpy(ev.inln, &value, sizeof(value));
    return ev;
}

/* Publishes to the actor; waits for room. */
static inline void kit_put(kit_link *l, const vmsig_event *ev) {
    int err;
    while ((err = vmsig_ring_put_event(&l->out, ev)) == -EAGAIN) {
        kit_ring_if_asleep(l);
        if (!vmsig_ring_want_room(&l->out, VMSIG_SLOTS_MAX))
            cr_assert(kit_sleep(l->room_bell), "the actor makes no room");
    }
    cr_assert_eq(err, 0);
    kit_ring_if_asleep(l);
}

static inline void kit_put_u64(kit_link *l, uint64_t value) {
    vmsig_event ev = kit_event(VMSIG_EV_SENSOR_FIRST, value);
    kit_put(l, &ev);
}

/* ---- an actor with one output, started and ready ----------------------------------------------------- */

static inline void kit_start_producer(kit_actor *a, kit_link *out, int (*fn)(void *ud), void *ud, char *const *argv) {
    kit_fork(a, fn, ud, argv);
    kit_send_boot(a);
    bool first = out->ring < 0;
    if (first)
        kit_consume(out);
    kit_output(a, out);
    kit_peer(a, out, true);
    kit_take_ring(out);
    kit_go(a);
}

#endif
