/* run.h: what a program that measures does with its arguments: `vmsig bench`, and the one that measures the peers. */
#ifndef VMSIG_BENCH_RUN_H
#define VMSIG_BENCH_RUN_H

#include "bench/bench.h"

#define BENCH_FAMILY_S 900 /* seconds that a family may take */

/* The options that all have, for a help text. */
#define BENCH_OPTIONS_HELP                                                                                             \
    "  --cpus A,B    the processors to use (default: the first two; A,A: both on one)\n"                               \
    "  --rounds N    how many interleaved rounds, whose medians are printed (default 9)\n"                             \
    "  --scale N     percent of the usual number of events (default 100)\n"                                            \
    "  --quick       3 rounds of a tenth of the events: a first look\n"                                                \
    "  --json        one object per line\n"                                                                            \
    "  --plot FILE   also draws it: FILE.svg, or FILE.png by rsvg-convert\n"

typedef struct bench_family {
    const char *name;
    void (*run)(const bench_options *o);
    bool named_only; /* not among those that are run when none is named */
} bench_family;

typedef struct bench_program {
    const char *help;
    const bench_family *families; /* the words that it takes; without one, all of them */
    size_t families_n;
    /* Words that are no family, of which one is taken and nothing else measured: NULL, or whether it is one, and what is
     * done with it: an exit code. */
    bool (*other)(const char *word);
    int (*run_other)(const bench_options *o, const char *word);
    const char *text_option; /* one of its own, or NULL */
    const char **text;       /* its value */
} bench_program;

/* The exit code. What was measured is in the book, whose results are malloc'ed. */
int bench_run(const bench_program *p, int argc, char **argv, bench_book *book);

#endif
