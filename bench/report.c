/* What was measured, as text for people or one JSON object per line; and the book in which it is kept. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"

#define NAME_WIDTH 34
#define CELL       10

/* ---- units ----------------------------------------------------------------------------------------------- */

typedef struct prefix {
    double from;
    const char *unit;
} prefix;

static const prefix of_time[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "µs"}, {0, "ns"}};
static const prefix of_rate[] = {{1e6, "M events/s"}, {1e3, "k events/s"}, {0, "events/s"}};
static const prefix of_flow[] = {{1e9, "GB/s"}, {1e6, "MB/s"}, {1e3, "kB/s"}, {0, "B/s"}};
static const prefix of_size[] = {{1048576, "MiB"}, {1024, "KiB"}, {0, "bytes"}};
static const prefix of_ratio[] = {{0, "times"}};

static const struct {
    const prefix *prefixes;
    const char *json;
} units[] = {
    [BENCH_LATENCY] = {of_time, "ns"},   [BENCH_RATE] = {of_rate, "events/s"}, [BENCH_FLOW] = {of_flow, "bytes/s"},
    [BENCH_COST] = {of_time, "ns each"}, [BENCH_TIME] = {of_time, "ns"},       [BENCH_SIZE] = {of_size, "bytes"},
    [BENCH_RATIO] = {of_ratio, "times"},
};

/* "µ" is two bytes and one column. */
static int columns(const char *text) {
    int n = 0;
    for (; *text != 0; text++)
        n += (*text & 0xc0) != 0x80;
    return n;
}

int bench_value_text(bench_unit unit, double value, char *buf, size_t len) {
    const prefix *p = units[unit].prefixes;
    while (value < p->from)
        p++;
    double v = p->from > 0 ? value / p->from : value;
    if (isnan(value))
        snprintf(buf, len, "-");
    else
        snprintf(buf, len, "%.*f %s", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, p->unit);
    return columns(buf);
}

static void print_cell(bench_unit unit, double value) {
    char text[64];
    int width = bench_value_text(unit, value, text, sizeof text);
    printf("%*s%s", width < CELL ? CELL - width : 1, "", text);
}

/* ---- progress -------------------------------------------------------------------------------------------- */

#define WIPE "\r\033[K"

void bench_progress(const bench_options *o, unsigned done) {
    if (o->progress)
        fprintf(stderr, WIPE "%s: round %u of %u", o->book->family, done + 1, o->rounds);
}

static void wipe(const bench_options *o) {
    if (o->progress)
        fputs(WIPE, stderr);
}

/* ---- the book -------------------------------------------------------------------------------------------- */

static bench_result *new_result(bench_book *b) {
    if (b->n == b->room) {
        b->room = b->room == 0 ? 64 : 2 * b->room;
        b->results = realloc(b->results, b->room * sizeof *b->results);
        if (b->results == NULL)
            bench_fail("out of memory");
    }
    bench_result *r = &b->results[b->n++];
    *r = (bench_result){0};
    snprintf(r->family, sizeof r->family, "%s", b->family);
    return r;
}

static const bench_result *note(bench_book *b, const bench_series *s, const bench_series *const *floors, unsigned n) {
    bench_result *r = new_result(b);
    snprintf(r->name, sizeof r->name, "%s", s->name);
    r->unit = s->unit;
    r->rounds = s->n;
    if (s->unit == BENCH_LATENCY)
        r->ns = bench_median(s);
    else
        r->value = bench_median_value(s);
    for (unsigned i = 0; i < n && i < BENCH_FLOORS_MAX; i++) {
        double ratio = bench_ratio(s, floors[i]);
        if (ratio <= 0)
            continue;
        snprintf(r->floor[r->floors], sizeof r->floor[0], "%s", floors[i]->name);
        r->ratio[r->floors++] = ratio;
    }
    return r;
}

/* ---- text and JSON --------------------------------------------------------------------------------------- */

static void json_number(const char *key, double v) {
    if (isnan(v))
        printf(",\"%s\":null", key);
    else
        printf(",\"%s\":%.1f", key, v);
}

static void print_json(const bench_result *r) {
    printf("{\"family\":\"%s\",\"case\":\"%s\",\"rounds\":%u,\"unit\":\"%s\"", r->family, r->name, r->rounds,
           units[r->unit].json);
    if (r->unit == BENCH_LATENCY) {
        json_number("p50", r->ns.p50);
        json_number("p99", r->ns.p99);
        json_number("p99.9", r->ns.p999);
        json_number("p99.99", r->ns.p9999);
        json_number("max", r->ns.max);
        json_number("mean", r->ns.mean);
    } else {
        printf(",\"value\":%.*f", r->value < 1000 ? 3 : 0, r->value);
    }
    for (unsigned i = 0; i < r->floors; i++)
        printf("%s\"%s\":%.3f", i == 0 ? ",\"ratio\":{" : ",", r->floor[i], r->ratio[i]);
    puts(r->floors > 0 ? "}}" : "}");
}

/* The heads of the percentiles stand above the first line that has any. */
static void print_heads(bench_book *b) {
    static const char *const heads[] = {"p50", "p99", "p99.9", "p99.99", "max", "mean"};
    if (b->headed)
        return;
    b->headed = true;
    printf("  %-*s", NAME_WIDTH, "");
    for (unsigned i = 0; i < sizeof heads / sizeof *heads; i++)
        printf("%*s", CELL, heads[i]);
    puts("   times the floor");
}

static void print_text(bench_book *b, const bench_result *r) {
    if (r->unit == BENCH_LATENCY)
        print_heads(b);
    printf("  %-*s", NAME_WIDTH, r->name);
    if (r->unit == BENCH_LATENCY) {
        const double v[] = {r->ns.p50, r->ns.p99, r->ns.p999, r->ns.p9999, r->ns.max, r->ns.mean};
        for (unsigned i = 0; i < sizeof v / sizeof *v; i++)
            print_cell(r->unit, v[i]);
    } else {
        char text[64];
        bench_value_text(r->unit, r->value, text, sizeof text);
        printf("%18s", text);
    }
    for (unsigned i = 0; i < r->floors; i++)
        printf("   %.2f x %s", r->ratio[i], r->floor[i] + (strncmp(r->floor[i], "floor: ", 7) == 0 ? 7 : 0));
    putchar('\n');
}

void bench_report_title(const bench_options *o, const char *title) {
    wipe(o);
    o->book->headed = false;
    if (!o->json)
        printf("\n%s: %s\n", o->book->family, title);
}

void bench_report(const bench_options *o, const bench_series *s, const bench_series *const *floors, unsigned n) {
    if (s->n == 0)
        return;
    const bench_result *r = note(o->book, s, floors, n);
    wipe(o);
    if (o->json)
        print_json(r);
    else
        print_text(o->book, r);
    fflush(stdout);
}

void bench_note(const bench_options *o, const char *fmt, ...) {
    va_list ap;
    if (o->json)
        return;
    wipe(o);
    fputs("  ", stdout);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}
