/* What the rounds of a case come to. */
#include <math.h>
#include <stdlib.h>

#include "bench/bench.h"

/* A quantile that fewer than so many values lie above is the luck of one of them. */
#define ABOVE 3.0

static bench_figures figures_of(const bench_hist *h, double (*in_ns)(double), double parts) {
    const double n = (double)h->count;
    return (bench_figures){
        .p50 = in_ns(bench_hist_quantile(h, 0.5)) / parts,
        .p99 = in_ns(bench_hist_quantile(h, 0.99)) / parts,
        .p999 = n * 0.001 < ABOVE ? (double)NAN : in_ns(bench_hist_quantile(h, 0.999)) / parts,
        .p9999 = n * 0.0001 < ABOVE ? (double)NAN : in_ns(bench_hist_quantile(h, 0.9999)) / parts,
        .max = in_ns((double)h->max) / parts,
        .mean = in_ns((double)h->sum / (n > 0 ? n : 1)) / parts,
    };
}

static double as_it_is(double ns) {
    return ns;
}

static void add(bench_series *s, bench_figures f) {
    s->unit = BENCH_LATENCY;
    s->latency[s->n++] = f;
}

void bench_add_latency(bench_series *s, const bench_hist *h, unsigned parts) {
    add(s, figures_of(h, bench_ns, parts));
}

void bench_add_latency_ns(bench_series *s, const bench_hist *h, unsigned parts) {
    add(s, figures_of(h, as_it_is, parts));
}

void bench_add_rate(bench_series *s, uint64_t events, const bench_hist *h) {
    double ns = bench_ns(bench_hist_quantile(h, 0.5));
    bench_add_value(s, BENCH_RATE, ns > 0 ? (double)events * 1e9 / ns : 0);
}

void bench_add_value(bench_series *s, bench_unit unit, double value) {
    s->unit = unit;
    s->value[s->n++] = value;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of those that are numbers; NAN where none is. */
static double median(double *v, unsigned n) {
    unsigned known = 0;
    for (unsigned i = 0; i < n; i++)
        if (!isnan(v[i]))
            v[known++] = v[i];
    qsort(v, known, sizeof *v, ascending);
    return known == 0 ? (double)NAN : (v[(known - 1) / 2] + v[known / 2]) / 2;
}

/* The median of one member of all rounds, by its offset. */
static double median_of(const bench_series *s, size_t offset) {
    double v[BENCH_ROUNDS_MAX];
    for (unsigned i = 0; i < s->n; i++)
        v[i] = *(const double *)(const void *)((const char *)&s->latency[i] + offset);
    return median(v, s->n);
}

bench_figures bench_median(const bench_series *s) {
    bench_figures f = {
        .p50 = median_of(s, offsetof(bench_figures, p50)),
        .p99 = median_of(s, offsetof(bench_figures, p99)),
        .p999 = median_of(s, offsetof(bench_figures, p999)),
        .p9999 = median_of(s, offsetof(bench_figures, p9999)),
        .mean = median_of(s, offsetof(bench_figures, mean)),
    };
    for (unsigned i = 0; i < s->n; i++)
        f.max = s->latency[i].max > f.max ? s->latency[i].max : f.max;
    return f;
}

double bench_median_value(const bench_series *s) {
    double v[BENCH_ROUNDS_MAX];
    for (unsigned i = 0; i < s->n; i++)
        v[i] = s->value[i];
    return median(v, s->n);
}

double bench_ratio(const bench_series *s, const bench_series *floor) {
    if (s->n == 0 || floor->n == 0 || (s->unit == BENCH_LATENCY) != (floor->unit == BENCH_LATENCY))
        return 0;
    bool latency = s->unit == BENCH_LATENCY;
    double of = latency ? bench_median(floor).p50 : bench_median_value(floor);
    double is = latency ? bench_median(s).p50 : bench_median_value(s);
    return of > 0 ? is / of : 0;
}
