/* live.h: a topology that runs anyway, measured from the outside: a control of ours looks on, and its supervisor tells
 * what its gauges say. Nothing of it is stopped, changed or probed.
 *
 *   sensor ──► context ──► gateway ──► vmsig-bench: each event's age when it comes, per endpoint and source
 *      └──────────┴──────────┴── gauges ── supervisor: events of each link, processor time of each actor
 */
#ifndef VMSIG_BENCH_LIVE_H
#define VMSIG_BENCH_LIVE_H

#include "bench/bench.h"

/* Whether a word names one: a path or a file .yaml, .yml. */
bool bench_live_named(const char *word);
/* Looks on for o->rounds seconds. file: the topology that it was started with. The exit code. */
int bench_live(const bench_options *o, const char *file);

#endif
