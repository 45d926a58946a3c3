#include <stdio.h>
#include <stdlib.h>

#include "bench/bench.h"

void bench_add_latency(bench_series *s, const bench_hist *h, unsigned parts) {
    const double p = parts;
    s->latency[s->n++] = (bench_figures){
        .p50 = bench_ns(bench_hist_quantile(h, 0.5)) / p,
        .p99 = bench_ns(bench_hist_quantile(h, 0.99)) / p,
        .p999 = bench_ns(bench_hist_quantile(h, 0.999)) / p,
        .max = bench_ns((double)h->max) / p,
        .mean = bench_ns((double)h->sum / (double)(h->count > 0 ? h->count : 1)) / p,
    };
}

void bench_add_latency_ns(bench_series *s, const bench_hist *h) {
    s->latency[s->n++] = (bench_figures){
        .p50 = bench_hist_quantile(h, 0.5),
        .p99 = bench_hist_quantile(h, 0.99),
        .p999 = bench_hist_quantile(h, 0.999),
        .max = (double)h->max,
        .mean = (double)h->sum / (double)(h->count > 0 ? h->count : 1),
    };
}

void bench_add_rate(bench_series *s, uint64_t events, const bench_hist *h) {
    double ns = bench_ns(bench_hist_quantile(h, 0.5));
    s->rate[s->n++] = ns > 0 ? (double)events * 1e9 / ns : 0;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, unsigned n) {
    qsort(v, n, sizeof *v, ascending);
    return n == 0 ? 0 : (v[(n - 1) / 2] + v[n / 2]) / 2;
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
        .mean = median_of(s, offsetof(bench_figures, mean)),
    };
    for (unsigned i = 0; i < s->n; i++)
        f.max = s->latency[i].max > f.max ? s->latency[i].max : f.max;
    return f;
}

double bench_median_rate(const bench_series *s) {
    double v[BENCH_ROUNDS_MAX];
    for (unsigned i = 0; i < s->n; i++)
        v[i] = s->rate[i];
    return median(v, s->n);
}

void bench_report_title(const bench_options *o, const char *title) {
    if (!o->json)
        printf("\n%s\n", title);
}

/* How many times the floor: of the median latency; of rates, how much of the floor's is reached. */
static double ratio(const bench_series *s, const bench_series *floor) {
    bool rate = bench_median_rate(s) > 0;
    double of = rate ? bench_median_rate(floor) : bench_median(floor).p50;
    double is = rate ? bench_median_rate(s) : bench_median(s).p50;
    return of > 0 ? is / of : 0;
}

static void report_json(const bench_series *s, const bench_series *const *floors, unsigned n) {
    printf("{\"case\":\"%s\",\"rounds\":%u", s->name, s->n);
    if (bench_median_rate(s) > 0) {
        printf(",\"events_per_s\":%.0f", bench_median_rate(s));
    } else {
        bench_figures f = bench_median(s);
        printf(",\"ns\":{\"p50\":%.1f,\"p99\":%.1f,\"p99.9\":%.1f,\"max\":%.1f,\"mean\":%.1f}", f.p50, f.p99, f.p999,
               f.max, f.mean);
    }
    for (unsigned i = 0; i < n; i++)
        printf("%s\"%s\":%.3f", i == 0 ? ",\"ratio\":{" : ",", floors[i]->name, ratio(s, floors[i]));
    puts(n > 0 ? "}}" : "}");
}

void bench_report(const bench_options *o, const bench_series *s, const bench_series *const *floors, unsigned n) {
    if (o->json) {
        report_json(s, floors, n);
        return;
    }
    printf("  %-28s", s->name);
    if (bench_median_rate(s) > 0) {
        printf(" %8.2f M events/s", bench_median_rate(s) / 1e6);
    } else {
        bench_figures f = bench_median(s);
        printf(" p50 %8.1f  p99 %8.1f  p99.9 %8.0f  max %10.0f  mean %8.0f ns", f.p50, f.p99, f.p999, f.max, f.mean);
    }
    for (unsigned i = 0; i < n; i++)
        printf("   %.2f x %s", ratio(s, floors[i]), floors[i]->name);
    putchar('\n');
}
