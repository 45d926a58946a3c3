/* As many events of 64 bytes as go over one hop: one by one (each flushed, its reader told), and in turns. Beside it
 * bare slots, a pipe and a socket. A pipe's events are written and read in turns too.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/pair.h"
#include "bench/way.h"

#define EVENTS  4000000u
#define STREAM  1000000u
#define MESSAGE 64u
#define WOKEN   0u    /* turns of 32, each of which looks whether its reader sleeps */
#define RUN     8192u /* events between two looks at the clock: an interrupted run does not count for more than one */

typedef struct flow {
    bench_bare *bare;
    bench_way way;
    int pipes[2], sock[2];
    uint64_t n;
    uint32_t turn;
    bench_hist hist;
} flow;

static uint64_t mark_run(flow *f, uint64_t q, uint64_t since) {
    if (q % RUN != 0)
        return since;
    uint64_t now = bench_ticks();
    if (q > 0)
        bench_hist_add(&f->hist, now - since);
    return now;
}

static void bare_drain(void *arg) {
    flow *f = arg;
    for (uint64_t q = 0; q < f->n; q++)
        bench_bare_take(f->bare, q);
}
static void bare_fill(flow *f) {
    uint64_t t = 0;
    for (uint64_t q = 0; q < f->n; q++) {
        t = mark_run(f, q, t);
        bench_bare_put(f->bare, q);
    }
}

/* As an actor does: takes what is there, at most a turn's worth, then releases. */
static void ring_drain(void *arg) {
    flow *f = arg;
    uint32_t taken = 0;
    for (uint64_t q = 0; q < f->n; q++) {
        const vmsig_slot *s = taken == BENCH_TURN ? NULL : vmsig_ring_peek(&f->way.in);
        if (s == NULL) {
            vmsig_ring_release(&f->way.in);
            taken = 0;
            s = bench_way_wait(&f->way, BENCH_SPIN);
        }
        if (s->ts_ns + s->body[23] == UINT64_MAX)
            bench_fail("an event that nobody put");
        vmsig_ring_advance(&f->way.in);
        taken++;
    }
    vmsig_ring_release(&f->way.in);
}
static void ring_fill(flow *f) {
    uint64_t t = 0;
    uint32_t put = 0; /* in this turn */
    for (uint64_t q = 0; q < f->n; q++) {
        t = mark_run(f, q, t);
        bench_way_put(&f->way, q);
        if (++put == f->turn) {
            bench_way_flush(&f->way);
            put = 0;
        }
    }
    bench_way_flush(&f->way);
}

static void drain_fd(int fd, uint64_t bytes, size_t most) {
    char buf[MESSAGE * BENCH_TURN];
    while (bytes > 0) {
        ssize_t n = read(fd, buf, most);
        if (n <= 0)
            bench_fail("a pipe or socket cannot be read");
        bytes -= (uint64_t)n;
    }
}
static void fill_fd(flow *f, int fd, size_t each) {
    char buf[MESSAGE * BENCH_TURN] = {0};
    uint64_t t = 0;
    for (uint64_t q = 0; q < f->n; q += each / MESSAGE) {
        t = mark_run(f, q, t);
        memset(buf, (int)q, each);
        if (write(fd, buf, each) != (ssize_t)each)
            bench_fail("a pipe or socket cannot be written");
    }
}
static void pipe_drain(void *arg) {
    flow *f = arg;
    drain_fd(f->pipes[0], f->n * MESSAGE, sizeof(char[MESSAGE * BENCH_TURN]));
}
static void pipe_fill(flow *f) {
    fill_fd(f, f->pipes[1], (size_t)MESSAGE * f->turn);
}
static void socket_drain(void *arg) {
    flow *f = arg;
    drain_fd(f->sock[0], f->n * MESSAGE, MESSAGE);
}
static void socket_fill(flow *f) {
    fill_fd(f, f->sock[1], MESSAGE);
}

/* ---- rounds ---------------------------------------------------------------------------------------------- */

static void rate(const bench_options *o, flow *f, bench_series *s, void (*drain)(void *), void (*fill)(flow *),
                 uint32_t turn, uint32_t events) {
    const bool sleeps = turn == WOKEN;
    f->turn = sleeps ? BENCH_TURN : turn;
    f->n = (events * (uint64_t)o->scale / 100 / RUN + 2) * RUN;
    bench_hist_reset(&f->hist);
    memset(f->bare, 0, sizeof *f->bare);
    bench_way_open(&f->way, BENCH_SLOTS, 0);
    if (!sleeps)
        bench_way_sleepless(&f->way);
    if (pipe(f->pipes) != 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, f->sock) != 0)
        bench_fail("no pipes or sockets");
    pid_t peer = bench_fork(o, drain, f);
    fill(f);
    bench_join(peer);
    bench_way_close(&f->way);
    for (int i = 0; i < 2; i++) {
        close(f->pipes[i]);
        close(f->sock[i]);
    }
    bench_add_rate(s, RUN, &f->hist);
}

static void stream_actors(const bench_options *o, bench_series *s) {
    bench_beds beds = {0};
    bench_pair p;
    bench_pair_start(&p, &beds, "spin", o->cpu[0], o->cpu[1]);
    bench_add_value(s, BENCH_RATE, bench_pair_stream(&p, bench_scaled(o, STREAM), 24));
    bench_pair_stop(&p);
    bench_pin(o->cpu[0]);
}

void bench_throughput(const bench_options *o) {
    static bench_series bare = {.name = "floor: bare slots"}, ones = {.name = "ring, one by one"},
                        turns = {.name = "ring, in turns of 32"}, woken = {.name = "ring, in turns of 32, may sleep"},
                        actors = {.name = "actors, in turns of 64"}, pipes = {.name = "floor: a pipe, one by one"},
                        wide = {.name = "floor: a pipe, 32 at a time"}, sock = {.name = "floor: a seqpacket socket"};
    static flow f;
    if (o->cpu[0] == o->cpu[1]) {
        bench_note(o, "throughput: it takes two processors");
        return;
    }
    f.bare = bench_shared(sizeof *f.bare);
    for (unsigned i = 0; i < o->rounds; i++) {
        bench_progress(o, i);
        rate(o, &f, &bare, bare_drain, bare_fill, 1, EVENTS);
        rate(o, &f, &ones, ring_drain, ring_fill, 1, EVENTS);
        rate(o, &f, &turns, ring_drain, ring_fill, BENCH_TURN, EVENTS);
        rate(o, &f, &woken, ring_drain, ring_fill, WOKEN, EVENTS);
        stream_actors(o, &actors);
        rate(o, &f, &pipes, pipe_drain, pipe_fill, 1, EVENTS / 10);
        rate(o, &f, &wide, pipe_drain, pipe_fill, BENCH_TURN, EVENTS);
        rate(o, &f, &sock, socket_drain, socket_fill, 1, EVENTS / 10);
    }
    const bench_series *floors[] = {&bare, &wide};
    bench_report_title(o, "one hop, 64 bytes, as many as go through");
    bench_report(o, &bare, NULL, 0);
    bench_report(o, &ones, floors, 1);
    bench_report(o, &turns, floors, 2);
    bench_report(o, &woken, floors, 2);
    bench_report(o, &actors, floors, 2);
    bench_report(o, &pipes, NULL, 0);
    bench_report(o, &wide, NULL, 0);
    bench_report(o, &sock, NULL, 0);
    bench_unshare(f.bare, sizeof *f.bare);
}
