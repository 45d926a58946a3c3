/* gauges.h: what an actor shows of its work: a stamp, counters, and per link a latency histogram. Written by the actor
 * alone, with plain relaxed stores; read by the supervisor. A torn set of counters is acceptable, a torn counter is
 * not.
 *
 *   ┌ line 0: magic … ┐┌ line 1: stamp, turns, wakeups ┐┌ links[n]: counters, histogram ┐
 *
 * The histogram is log-linear, 8 buckets to the octave (after HdrHistogram): a value is off by at most 12.5 %.
 */
#ifndef VMSIG_GAUGES_H
#define VMSIG_GAUGES_H

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

#define VMSIG_GAUGES_MAGIC 0x7365677561676d76ull /* "vmgauges" */
#define VMSIG_REMARK_MAX   448u
#define VMSIG_HIST_BUCKETS 320u /* 1 ns .. 73 minutes */

typedef struct vmsig_hist {
    uint64_t count;
    uint64_t max;
    uint32_t bucket[VMSIG_HIST_BUCKETS];
} vmsig_hist;

void vmsig_hist_add(vmsig_hist *h, uint64_t value);
/* The value at quantile q (0..1), by the upper edge of its bucket; 0 when empty. */
uint64_t vmsig_hist_quantile(const vmsig_hist *h, double q);

typedef struct vmsig_link_gauge {
    alignas(64) uint32_t link;
    uint32_t output;
    uint64_t events;
    uint64_t bytes;          /* of payload */
    uint64_t lost;           /* dropped here */
    uint64_t position;       /* tail of an output, cursor of an input */
    uint64_t stall_since_ns; /* an output that waits for room: since when; else 0 */
    vmsig_hist latency;      /* of an input: receipt - ts_ns, sampled once per turn */
} vmsig_link_gauge;

typedef struct vmsig_gauges {
    alignas(64) uint64_t magic;
    uint32_t layout;
    uint32_t links_max;
    alignas(64) uint64_t stamp_ns; /* CLOCK_MONOTONIC of the last turn that worked */
    uint64_t turns;
    uint64_t wakeups;
    int32_t audit_error;           /* of a gateway: 0, or the -errno that closed its audit log */
    char remark[VMSIG_REMARK_MAX]; /* for people: what of the actor's work is off, and why; NUL-terminated */
    vmsig_link_gauge links[];
} vmsig_gauges;

size_t vmsig_gauges_bytes(uint32_t links_max);
int vmsig_gauges_create(int fd, uint32_t links_max, vmsig_gauges **out);
/* A reader's. *links_max is checked against the size of the memfd: use it, not the page's own, which the writer could
 * change. */
int vmsig_gauges_open(int fd, const vmsig_gauges **out, uint32_t *links_max);
void vmsig_gauges_close(const vmsig_gauges *g, uint32_t links_max);
/* The gauge of a link, taking a free place for it; NULL when there is none. */
vmsig_link_gauge *vmsig_gauges_link(vmsig_gauges *g, uint32_t link, uint32_t output);

#endif
