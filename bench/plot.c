/* The plot: an SVG of one panel per family and kind of figure, one under the other.
 *
 *   latency                                    values
 *   ┌───────────────────────────┐ legend       name ▆▆▆▆▆▆▆▆▆▆▆▆ 4.56 M events/s
 *   │ one line a case, ns (log) │ ── ring      name ▆▆▆▆▆ 1.23 M events/s
 *   └ p50 ─ p99 ─ … ─ max ──────┘ ·· floor
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"

#define WIDTH    960.0
#define LEFT     280.0 /* of bars: room for their names; of lines: for the scale, below */
#define SCALE    70.0
#define PLOT     520.0 /* width of lines */
#define HEIGHT   260.0
#define BAR      20.0
#define HEAD     34.0
#define GAP      40.0
#define SERIES   24u /* lines of one panel */
#define QUANTILS 5u

/* Okabe and Ito's colours, told apart by the colour-blind too. */
static const char *const colours[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"};
static const char *const quantiles[QUANTILS] = {"p50", "p99", "p99.9", "p99.99", "max"};

static const char *colour(unsigned i) {
    return colours[i % (sizeof colours / sizeof *colours)];
}

static bool is_floor(const bench_result *r) {
    return strncmp(r->name, "floor", 5) == 0;
}

static void text(FILE *f, double x, double y, const char *anchor, const char *s) {
    fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    for (; *s != 0; s++)
        if (*s == '&' || *s == '<')
            fputs(*s == '&' ? "&amp;" : "&lt;", f);
        else
            fputc(*s, f);
    fputs("</text>\n", f);
}

static void head(FILE *f, double y, const char *family, const char *what) {
    fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" class=\"head\">%s: %s</text>\n", SCALE / 2, y + 16, family, what);
}

/* ---- latencies ------------------------------------------------------------------------------------------- */

typedef struct axis {
    double low, high; /* powers of ten */
    double top, bottom;
} axis;

static double place(const axis *a, double v) {
    double share = (log10(v < 1 ? 1 : v) - a->low) / (a->high - a->low);
    return a->bottom - share * (a->bottom - a->top);
}

static double quantile(const bench_result *r, unsigned i) {
    const double v[QUANTILS] = {r->ns.p50, r->ns.p99, r->ns.p999, r->ns.p9999, r->ns.max};
    return v[i];
}

static double column(unsigned i) {
    return SCALE + 20 + i * (PLOT - 40) / (QUANTILS - 1);
}

static void grid(FILE *f, const axis *a) {
    for (double p = a->low; p <= a->high; p++) {
        char label[32];
        double y = place(a, pow(10, p));
        bench_value_text(BENCH_LATENCY, pow(10, p), label, sizeof label);
        fprintf(f, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", SCALE, SCALE + PLOT, y,
                y);
        text(f, SCALE - 6, y + 4, "end", label);
    }
    for (unsigned i = 0; i < QUANTILS; i++)
        text(f, column(i), a->bottom + 16, "middle", quantiles[i]);
}

static void curve(FILE *f, const axis *a, const bench_result *r, unsigned i) {
    static const char *const dashes[] = {"", " stroke-dasharray=\"9 3\"", " stroke-dasharray=\"2 2\""};
    const unsigned again = i / (sizeof colours / sizeof *colours); /* the colours came round */
    const char *dash = is_floor(r) ? " stroke-dasharray=\"4 3\"" : dashes[again % 3];
    fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\"%s points=\"", colour(i), dash);
    for (unsigned q = 0; q < QUANTILS; q++)
        if (!isnan(quantile(r, q)))
            fprintf(f, "%.1f,%.1f ", column(q), place(a, quantile(r, q)));
    fputs("\"/>\n", f);
    double x = SCALE + PLOT + 20, y = a->top + 8 + i * 18.0;
    fprintf(f, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"2\"%s/>\n", x,
            x + 24, y, y, colour(i), dash);
    text(f, x + 30, y + 4, "start", r->name);
}

/* All latencies of the family that begins at r: the y below it. */
static double latencies(FILE *f, const bench_result *r, unsigned n, double y) {
    axis a = {.low = 99, .high = -99, .top = y + HEAD, .bottom = y + HEAD + HEIGHT};
    unsigned drawn = 0;
    for (unsigned i = 0; i < n; i++)
        if (r[i].unit == BENCH_LATENCY && r[i].ns.p50 > 0) {
            a.low = fmin(a.low, floor(log10(fmax(r[i].ns.p50, 1))));
            a.high = fmax(a.high, ceil(log10(fmax(r[i].ns.max, 10))));
            drawn++;
        }
    if (drawn == 0)
        return y;
    head(f, y, r->family, "latency");
    grid(f, &a);
    drawn = 0;
    for (unsigned i = 0; i < n && drawn < SERIES; i++)
        if (r[i].unit == BENCH_LATENCY && r[i].ns.p50 > 0)
            curve(f, &a, &r[i], drawn++);
    return fmax(a.bottom + 20, a.top + drawn * 18.0) + GAP;
}

/* ---- all else -------------------------------------------------------------------------------------------- */

static double bars(FILE *f, const bench_result *r, unsigned n, bench_unit unit, const char *what, double y) {
    double most = 0;
    for (unsigned i = 0; i < n; i++)
        if (r[i].unit == unit)
            most = fmax(most, r[i].value);
    if (most <= 0)
        return y;
    head(f, y, r->family, what);
    y += HEAD;
    for (unsigned i = 0; i < n; i++) {
        char label[64];
        if (r[i].unit != unit)
            continue;
        double width = r[i].value / most * (WIDTH - LEFT - 160);
        bench_value_text(unit, r[i].value, label, sizeof label);
        text(f, LEFT - 8, y + BAR - 6, "end", r[i].name);
        fprintf(f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", LEFT, y, width,
                BAR - 4, is_floor(&r[i]) ? "#999999" : colours[0]);
        text(f, LEFT + width + 6, y + BAR - 6, "start", label);
        y += BAR;
    }
    return y + GAP;
}

static double family(FILE *f, const bench_result *r, unsigned n, double y) {
    y = latencies(f, r, n, y);
    y = bars(f, r, n, BENCH_RATE, "events per second", y);
    y = bars(f, r, n, BENCH_FLOW, "bytes per second", y);
    y = bars(f, r, n, BENCH_COST, "time for each", y);
    y = bars(f, r, n, BENCH_TIME, "time", y);
    y = bars(f, r, n, BENCH_SIZE, "memory", y);
    return bars(f, r, n, BENCH_RATIO, "ratio", y);
}

static double draw(FILE *f, const bench_book *b, const char *title) {
    double y = 60;
    text(f, SCALE / 2, 28, "start", title);
    for (unsigned i = 0, n; i < b->n; i += n) {
        for (n = 1; i + n < b->n && strcmp(b->results[i].family, b->results[i + n].family) == 0; n++) {
        }
        y = family(f, &b->results[i], n, y);
    }
    return y;
}

/* ---- the file -------------------------------------------------------------------------------------------- */

static int write_svg(const bench_book *b, const char *title, const char *path) {
    FILE *none = fopen("/dev/null", "w"), *f = fopen(path, "w");
    if (none == NULL || f == NULL) {
        int err = -errno;
        if (none != NULL)
            fclose(none);
        if (f != NULL)
            fclose(f);
        return err;
    }
    double height = draw(none, b, title);
    fclose(none);
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\">\n"
            "<style>text{font:12px sans-serif;fill:#222}.head{font-weight:bold}.grid{stroke:#ddd}</style>\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            WIDTH, height, WIDTH, height);
    draw(f, b, title);
    fputs("</svg>\n", f);
    return fclose(f) == 0 ? 0 : -errno;
}

static int to_png(const char *svg, const char *png) {
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rsvg-convert", "rsvg-convert", "--output", png, svg, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : WEXITSTATUS(status) == 127 ? -ENOENT : -EIO;
}

int bench_plot(const bench_book *b, const char *title, const char *path) {
    size_t len = strlen(path);
    char svg[4096];
    if (len < 4 || strcmp(path + len - 4, ".png") != 0)
        return write_svg(b, title, path);
    if (snprintf(svg, sizeof svg, "%s.svg", path) >= (int)sizeof svg)
        return -ENAMETOOLONG;
    int err = write_svg(b, title, svg);
    if (err == 0)
        err = to_png(svg, path);
    unlink(svg);
    return err;
}
