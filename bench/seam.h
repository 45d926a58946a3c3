/* seam.h: the two halves of the bench `seam`. */
#ifndef VMSIG_BENCH_SEAM_H
#define VMSIG_BENCH_SEAM_H

#include "bench/bench.h"

/* seam_bus.c: between processes. */
void bench_seam_bus(const bench_options *o);

#endif
