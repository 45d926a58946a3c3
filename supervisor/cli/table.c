#include "supervisor/cli/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct vmsig_table {
    size_t columns, n, room;
    char **cells; /* the headings are the first row */
    bool failed;
};

static void add(vmsig_table *t, char *text) {
    if (t->n == t->room && text) {
        size_t room = t->room ? t->room * 2 : 64;
        char **cells = realloc(t->cells, room * sizeof *cells);
        if (!cells) {
            free(text);
            text = NULL;
        } else {
            t->cells = cells;
            t->room = room;
        }
    }
    if (text)
        t->cells[t->n++] = text;
    else
        t->failed = true;
}

vmsig_table *vmsig_table_new(const char *const *headings) {
    vmsig_table *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    for (; headings[t->columns]; t->columns++)
        add(t, strdup(headings[t->columns]));
    return t;
}

void vmsig_table_cell(vmsig_table *t, const char *fmt, ...) {
    char *text = NULL;
    va_list ap;
    if (!t)
        return;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n == 0) {
        free(text);
        text = strdup("-");
    }
    add(t, n < 0 ? NULL : text);
}

void vmsig_table_span(vmsig_table *t, uint64_t ms) {
    uint64_t s = ms / 1000;
    if (s >= 86400)
        vmsig_table_cell(t, "%" PRIu64 "d %" PRIu64 "h", s / 86400, s % 86400 / 3600);
    else if (s >= 3600)
        vmsig_table_cell(t, "%" PRIu64 "h %" PRIu64 "m", s / 3600, s % 3600 / 60);
    else if (s >= 60)
        vmsig_table_cell(t, "%" PRIu64 "m %" PRIu64 "s", s / 60, s % 60);
    else
        vmsig_table_cell(t, "%" PRIu64 ".%" PRIu64 "s", s, ms % 1000 / 100);
}

void vmsig_table_latency(vmsig_table *t, uint64_t ns) {
    if (ns == 0)
        vmsig_table_cell(t, "%s", "");
    else if (ns < 10000)
        vmsig_table_cell(t, "%" PRIu64 " ns", ns);
    else if (ns < 10000000)
        vmsig_table_cell(t, "%" PRIu64 " us", ns / 1000);
    else
        vmsig_table_cell(t, "%" PRIu64 " ms", ns / 1000000);
}

/* Columns, not bytes: UTF-8 continuation bytes take no place. */
static int width(const char *text) {
    int w = 0;
    for (; *text; text++)
        w += ((unsigned char)*text & 0xc0) != 0x80;
    return w;
}

static void print_row(const vmsig_table *t, size_t row, const int *widths, FILE *to) {
    for (size_t c = 0; c < t->columns; c++) {
        const char *heading = t->cells[c], *text = t->cells[row * t->columns + c];
        bool right = heading[0] == '>';
        if (row == 0)
            text += right;
        int pad = widths[c] - width(text);
        if (right)
            fprintf(to, "%*s%s", pad, "", text);
        else if (c + 1 < t->columns)
            fprintf(to, "%s%*s", text, pad, "");
        else
            fputs(text, to);
        fputs(c + 1 < t->columns ? "  " : "\n", to);
    }
}

static void print_all(const vmsig_table *t, int *widths, FILE *to) {
    size_t rows = t->n / t->columns;
    for (size_t i = 0; i < rows * t->columns; i++) {
        int w = width(t->cells[i] + (i < t->columns && t->cells[i][0] == '>'));
        if (w > widths[i % t->columns])
            widths[i % t->columns] = w;
    }
    for (size_t row = 0; row < rows; row++)
        print_row(t, row, widths, to);
}

int vmsig_table_print(vmsig_table *t, FILE *to) {
    if (!t)
        return -ENOMEM;
    int *widths = t->failed ? NULL : calloc(t->columns, sizeof *widths);
    int err = widths ? 0 : -ENOMEM;
    if (widths)
        print_all(t, widths, to);
    for (size_t i = 0; i < t->n; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t);
    free(widths);
    return err;
}
