/* pair_impl.h: what the bench orders of the asker. */
#ifndef VMSIG_BENCH_PAIR_IMPL_H
#define VMSIG_BENCH_PAIR_IMPL_H

#include <stdbool.h>
#include <stdint.h>

typedef struct bench_pair_order {
    uint64_t n;
    uint64_t period_ns; /* between two questions; 0: the next when the last is answered */
    uint32_t body;
    bool stream; /* only the last of n is answered */
} bench_pair_order;

#endif
