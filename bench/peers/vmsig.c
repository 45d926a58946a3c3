/* Ours: a ring each way; and the bare slots that are its floor. */
#include <stdlib.h>

#include "bench/peers/peers.h"
#include "bench/way.h"

#define LOOK_NS 20000u

static void *open_ways(const char *dir) {
    (void)dir;
    bench_way *w = calloc(2, sizeof *w);
    if (w == NULL)
        bench_fail("out of memory");
    bench_way_open(&w[0], BENCH_SLOTS, 0);
    bench_way_open(&w[1], BENCH_SLOTS, 0);
    return w;
}

static void *open_sleepless(const char *dir) {
    bench_way *w = open_ways(dir);
    bench_way_sleepless(&w[0]);
    bench_way_sleepless(&w[1]);
    return w;
}

static void close_ways(void *shared) {
    bench_way *w = shared;
    bench_way_close(&w[0]);
    bench_way_close(&w[1]);
    free(w);
}

static void put(void *handle, int side, const peer_message *m) {
    bench_way *w = (bench_way *)handle + side;
    vmsig_slot *s;
    while ((s = vmsig_ring_next(&w->out)) == NULL) {
        bench_way_flush(w);
        vmsig_pause();
    }
    bench_fill(s, m->word[0]);
    vmsig_ring_publish1(&w->out);
    if (w->out.unflushed == BENCH_TURN)
        bench_way_flush(w);
}

static void flush(void *handle, int side) {
    bench_way_flush((bench_way *)handle + side);
}

static void take(void *handle, int side, peer_message *m, uint64_t look_on) {
    bench_way *w = (bench_way *)handle + !side;
    const vmsig_slot *s = vmsig_ring_peek(&w->in);
    if (s == NULL) {
        vmsig_ring_release(&w->in);
        s = bench_way_wait(w, look_on);
    }
    m->word[0] = s->ts_ns;
    vmsig_ring_advance(&w->in);
    if (w->in.cursor % BENCH_TURN == 0)
        vmsig_ring_release(&w->in);
}

static void take_spinning(void *handle, int side, peer_message *m) {
    take(handle, side, m, BENCH_SPIN);
}
static void take_blocking(void *handle, int side, peer_message *m) {
    take(handle, side, m, BENCH_BLOCK);
}
static void take_adapting(void *handle, int side, peer_message *m) {
    take(handle, side, m, bench_ticks_of(LOOK_NS));
}

const peer peer_vmsig_spin = {.name = "vmsig ring",
                              .spins = 1,
                              .messages = 2000000,
                              .open = open_sleepless,
                              .send = put,
                              .flush = flush,
                              .receive = take_spinning,
                              .close = close_ways};
const peer peer_vmsig_adaptive = {.name = "vmsig ring, adaptive",
                                  .messages = 2000000,
                                  .open = open_ways,
                                  .send = put,
                                  .flush = flush,
                                  .receive = take_adapting,
                                  .close = close_ways};
const peer peer_vmsig_block = {.name = "vmsig ring, sleeping at once",
                               .messages = 1000000,
                               .open = open_ways,
                               .send = put,
                               .flush = flush,
                               .receive = take_blocking,
                               .close = close_ways};

/* ---- bare ------------------------------------------------------------------------------------------------ */

typedef struct bare_end {
    bench_bare *ring[2];
    uint64_t sent, taken;
} bare_end;

static void *bare_open(const char *dir) {
    (void)dir;
    return bench_shared(2 * sizeof(bench_bare));
}

static void *bare_join(void *shared, int side, int stream) {
    bare_end *e = calloc(1, sizeof *e);
    (void)stream;
    (void)side;
    if (e == NULL)
        bench_fail("out of memory");
    e->ring[0] = shared;
    e->ring[1] = e->ring[0] + 1;
    return e;
}

static void bare_send(void *handle, int side, const peer_message *m) {
    bare_end *e = handle;
    (void)m;
    bench_bare_put(e->ring[side], e->sent++);
}

static void bare_receive(void *handle, int side, peer_message *m) {
    bare_end *e = handle;
    m->word[0] = bench_bare_take(e->ring[!side], e->taken++);
}

static void bare_close(void *shared) {
    bench_unshare(shared, 2 * sizeof(bench_bare));
}

const peer peer_bare = {.name = "floor: bare slots",
                        .spins = 1,
                        .messages = 2000000,
                        .open = bare_open,
                        .join = bare_join,
                        .send = bare_send,
                        .receive = bare_receive,
                        .close = bare_close};
