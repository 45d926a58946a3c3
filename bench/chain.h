/* chain.h: what the bench of the whole chain and its sensor say to each other.
 *
 *   bench (a control) ──fifo: orders──► sensor ──ring──► context ──ring──► gateway ──socket──► bench
 */
#ifndef VMSIG_BENCH_CHAIN_H
#define VMSIG_BENCH_CHAIN_H

#include <stdint.h>

#define BENCH_CHAIN_SOURCE 8u
#define BENCH_CHAIN_KIND   64u

/* Small enough to be written and read as a whole. */
typedef struct bench_order {
    uint64_t events;
    uint64_t period_ns; /* between two of them; 0 = as fast as there is room */
} bench_order;

/* The body of each event, 24 bytes in all: an event of one slot. */
typedef struct bench_beat {
    uint64_t scheduled_ns; /* when it was to be emitted; its ts_ns is when it was */
    uint64_t count;
    uint64_t rest;
} bench_beat;

/* vmsig-bench as the sensor of that chain, started by a supervisor: the exit code. */
int bench_chain_sensor(const char *fifo);

#endif
