/* way.h: what lies between two processes of a bench: one ring of ours with its bells, or a bare one.
 *
 *   bare   lines whose first word is their turn, plain loads and stores, a cursor that the producer reads when the ring
 *          seems full: no bell, nobody distrusted, nothing that outlives anyone. The least that a ring of slots costs.
 */
#ifndef VMSIG_BENCH_WAY_H
#define VMSIG_BENCH_WAY_H

#include <stdalign.h>
#include <string.h>

#include "bench/bench.h"
#include "rings/bell.h"
#include "rings/ring.h"

#define BENCH_SLOTS 1024u
#define BENCH_TURN  32u

/* ---- bare ------------------------------------------------------------------------------------------------ */

typedef struct bench_bare {
    vmsig_slot slot[BENCH_SLOTS];
    alignas(64) uint64_t taken;
    alignas(64) uint64_t limit; /* the producer's own */
} bench_bare;

/* What an event holds, built in place: all but the turn. */
static inline void bench_fill(vmsig_slot *s, uint64_t q) {
    s->ts_ns = q, s->origin = q, s->seq_lo = (uint32_t)q, s->epoch = 1, s->corr_merged = 1;
    s->kind = 64, s->route = 0, s->lane = 9, s->shape = VMSIG_HEAD_BODY;
    memset(s->body, (int)q, sizeof s->body);
}

static inline void bench_bare_put(bench_bare *b, uint64_t q) {
    while (q == b->limit + BENCH_SLOTS)
        b->limit = vmsig_load64_acquire(&b->taken);
    vmsig_slot *s = &b->slot[q % BENCH_SLOTS];
    bench_fill(s, q);
    vmsig_store64_release(&s->turn, q + 1);
}

/* Waits for it; what it held, read. */
static inline uint64_t bench_bare_take(bench_bare *b, uint64_t q) {
    const vmsig_slot *s = &b->slot[q % BENCH_SLOTS];
    while (vmsig_load64_acquire(&s->turn) != q + 1)
        vmsig_pause();
    uint64_t seen = s->ts_ns + s->body[23];
    if (q % BENCH_TURN == BENCH_TURN - 1)
        vmsig_store64_release(&b->taken, q + 1);
    return seen;
}

/* ---- the ring -------------------------------------------------------------------------------------------- */

typedef struct bench_way {
    vmsig_ring_out out;
    vmsig_ring_in in;
    int data_bell, room_bell;
    int ring_fd, reader_fd;
} bench_way;

/* Both ends of it, to be used by one process each after a fork. Exits on failure. */
void bench_way_open(bench_way *w, uint32_t slots, uint64_t arena);
void bench_way_close(bench_way *w);
/* Its consumer spins for good: before the fork. */
void bench_way_sleepless(bench_way *w);

/* Waits at most 10 s, then ends the bench. */
void bench_bell_wait(int bell);

static inline void bench_way_flush(bench_way *w) {
    if (vmsig_ring_flush(&w->out))
        vmsig_bell_ring(w->data_bell);
}

static inline void bench_way_put(bench_way *w, uint64_t q) {
    vmsig_slot *s;
    while ((s = vmsig_ring_next(&w->out)) == NULL) {
        bench_way_flush(w);
        vmsig_pause();
    }
    bench_fill(s, q);
    vmsig_ring_publish1(&w->out);
}

/* How a consumer waits: looks on for so many ticks, then sleeps. */
#define BENCH_SPIN  UINT64_MAX
#define BENCH_BLOCK 0u
const vmsig_slot *bench_way_wait(bench_way *w, uint64_t look_on);

static inline uint64_t bench_way_take(bench_way *w, uint64_t look_on) {
    const vmsig_slot *s = vmsig_ring_peek(&w->in);
    if (s == NULL)
        s = bench_way_wait(w, look_on);
    uint64_t seen = s->ts_ns + s->body[23];
    vmsig_ring_advance(&w->in);
    return seen;
}

#endif
