/* Waking who sleeps: two processes, one event at a time, with a pause before each, so that both are asleep; one way is
 * half of it there and back. Beside it what the kernel has: a futex, an eventfd, a pipe, a socket. Over two processors,
 * and on one.
 */
#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bench/pair.h"
#include "bench/way.h"

#define ASKS     2000u
#define PAUSE_NS 100000u

typedef struct wake {
    uint32_t *word[2]; /* futexes, a page each */
    int bell[2], pipes[2][2], sock[2];
    bench_way way[2];
    uint64_t n;
} wake;

/* One side of each kind: wakes the other, and waits to be woken. side 0 asks. */
typedef struct kind {
    const char *name;
    void (*ring)(wake *w, int side, uint64_t i);
    void (*wait)(wake *w, int side, uint64_t i);
} kind;

static void futex_ring(wake *w, int side, uint64_t i) {
    vmsig_store32_release(w->word[side], (uint32_t)i + 1);
    syscall(SYS_futex, w->word[side], FUTEX_WAKE, 1, NULL, NULL, 0);
}
static void futex_wait(wake *w, int side, uint64_t i) {
    const struct timespec ten = {.tv_sec = 10};
    while (vmsig_load32_acquire(w->word[!side]) != (uint32_t)i + 1)
        if (syscall(SYS_futex, w->word[!side], FUTEX_WAIT, (uint32_t)i, &ten, NULL, 0) < 0 && errno == ETIMEDOUT)
            bench_fail("a futex woke nobody for 10 s");
}

static void eventfd_ring(wake *w, int side, uint64_t i) {
    (void)i;
    vmsig_bell_ring(w->bell[side]);
}
static void eventfd_wait(wake *w, int side, uint64_t i) {
    (void)i;
    bench_bell_wait(w->bell[!side]);
}

static void pipe_ring(wake *w, int side, uint64_t i) {
    char message[64] = {(char)i};
    if (write(w->pipes[side][1], message, sizeof message) != sizeof message)
        bench_fail("a pipe cannot be written");
}
static void pipe_wait(wake *w, int side, uint64_t i) {
    char message[64];
    (void)i;
    if (read(w->pipes[!side][0], message, sizeof message) != sizeof message)
        bench_fail("a pipe cannot be read");
}

static void socket_ring(wake *w, int side, uint64_t i) {
    char message[64] = {(char)i};
    if (send(w->sock[side], message, sizeof message, 0) != sizeof message)
        bench_fail("a socket cannot be written");
}
static void socket_wait(wake *w, int side, uint64_t i) {
    char message[64];
    (void)i;
    if (recv(w->sock[side], message, sizeof message, 0) != sizeof message)
        bench_fail("a socket cannot be read");
}

static void ring_ring(wake *w, int side, uint64_t i) {
    bench_way_put(&w->way[side], i);
    bench_way_flush(&w->way[side]);
}
static void ring_wait(wake *w, int side, uint64_t i) {
    (void)i;
    bench_way_take(&w->way[!side], BENCH_BLOCK);
    vmsig_ring_release(&w->way[!side].in);
}

static const kind kinds[] = {
    {"floor: a futex", futex_ring, futex_wait},
    {"floor: an eventfd, polled", eventfd_ring, eventfd_wait},
    {"floor: a pipe, 64 bytes", pipe_ring, pipe_wait},
    {"floor: a seqpacket socket, 64 bytes", socket_ring, socket_wait},
    {"ring, sleeping", ring_ring, ring_wait},
};
#define KINDS (sizeof kinds / sizeof *kinds)

/* ---- rounds ---------------------------------------------------------------------------------------------- */

typedef struct job {
    wake *w;
    const kind *k;
} job;

static void answer(void *arg) {
    const job *j = arg;
    for (uint64_t i = 0; i < j->w->n; i++) {
        j->k->wait(j->w, 1, i);
        j->k->ring(j->w, 1, i);
    }
}

static void open_all(wake *w) {
    for (int i = 0; i < 2; i++) {
        *w->word[i] = 0;
        bench_way_open(&w->way[i], BENCH_SLOTS, 0);
        if ((w->bell[i] = vmsig_bell_create()) < 0 || pipe(w->pipes[i]) != 0)
            bench_fail("no pipes");
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, w->sock) != 0)
        bench_fail("no sockets");
}

static void close_all(wake *w) {
    for (int i = 0; i < 2; i++) {
        bench_way_close(&w->way[i]);
        close(w->bell[i]);
        close(w->pipes[i][0]);
        close(w->pipes[i][1]);
        close(w->sock[i]);
    }
}

static void round_of(const bench_options *o, wake *w, const kind *k, int cpu, bench_series *s) {
    static bench_hist h;
    const struct timespec rest = {.tv_nsec = PAUSE_NS};
    job j = {w, k};
    w->n = bench_scaled(o, ASKS);
    open_all(w);
    bench_hist_reset(&h);
    pid_t peer = bench_fork_on(cpu, answer, &j);
    for (uint64_t i = 0; i < w->n; i++) {
        nanosleep(&rest, NULL);
        uint64_t t = bench_ticks();
        k->ring(w, 0, i);
        k->wait(w, 0, i);
        bench_hist_add(&h, bench_ticks() - t);
    }
    bench_join(peer);
    close_all(w);
    bench_add_latency(s, &h, 2);
}

/* ---- the family ------------------------------------------------------------------------------------------ */

typedef struct place {
    int cpu;
    bench_pair block, adaptive;
    bench_series kind[KINDS], blocking, adapting;
} place;

static void start_pairs(const bench_options *o, place *p, bench_beds *beds) {
    bench_pair_start(&p->block, beds, "block", o->cpu[0], p->cpu);
    bench_pair_start(&p->adaptive, beds, "adaptive", o->cpu[0], p->cpu);
}

static void round_at(const bench_options *o, wake *w, place *p) {
    uint64_t n = bench_scaled(o, ASKS);
    for (size_t k = 0; k < KINDS; k++)
        round_of(o, w, &kinds[k], p->cpu, &p->kind[k]);
    bench_add_latency_ns(&p->blocking, bench_pair_ask(&p->block, n, PAUSE_NS), 2);
    bench_add_latency_ns(&p->adapting, bench_pair_ask(&p->adaptive, n, PAUSE_NS), 2);
}

static void report(const bench_options *o, place *p, const char *title) {
    const bench_series *floors[] = {&p->kind[0]};
    bench_report_title(o, title);
    for (size_t k = 0; k < KINDS; k++)
        bench_report(o, &p->kind[k], floors, k > 0);
    bench_report(o, &p->blocking, floors, 1);
    bench_report(o, &p->adapting, floors, 1);
}

static void name(place *p, int cpus) {
    static char names[2][KINDS + 2][64];
    for (size_t k = 0; k < KINDS + 2; k++) {
        const char *of = k < KINDS ? kinds[k].name : k == KINDS ? "actors, blocking" : "actors, adaptive";
        bench_series *s = k < KINDS ? &p->kind[k] : k == KINDS ? &p->blocking : &p->adapting;
        snprintf(names[cpus - 1][k], sizeof names[0][0], "%s, %d cpu%s", of, cpus, cpus > 1 ? "s" : "");
        s->name = names[cpus - 1][k];
    }
}

void bench_wake(const bench_options *o) {
    static place one, two;
    bench_beds beds = {0};
    bool spread = o->cpu[0] != o->cpu[1];
    wake w = {.word = {bench_shared(4096), bench_shared(4096)}};
    one.cpu = o->cpu[0];
    two.cpu = o->cpu[1];
    name(&one, 1);
    name(&two, 2);
    start_pairs(o, &one, &beds);
    if (spread)
        start_pairs(o, &two, &beds);
    for (unsigned i = 0; i < o->rounds; i++) {
        bench_progress(o, i);
        round_at(o, &w, &one);
        if (spread)
            round_at(o, &w, &two);
    }
    while (beds.first != NULL)
        bench_bed_stop(beds.first);
    report(o, &one, "one way to a sleeper on the same processor, 100 µs after the last");
    if (spread)
        report(o, &two, "one way to a sleeper on the other processor, 100 µs after the last");
    bench_unshare(w.word[0], 4096);
    bench_unshare(w.word[1], 4096);
}
