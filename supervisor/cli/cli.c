#include "supervisor/cli/cli.h"

#include "schema/spelling.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPTS_MAX 16
#define HELP     1000

int vmsig_cli_fail(int code, const char *command, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "vmsig %s: ", command);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return code;
}

bool vmsig_cli_flush(void) {
    return fflush(stdout) == 0 && !ferror(stdout);
}

bool vmsig_cli_reader_gone(void) {
    struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP));
}

bool vmsig_cli_uint(const char *text, uint64_t max, uint64_t *out) {
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    uint64_t v = strtoull(text, &end, strncmp(text, "0x", 2) == 0 ? 16 : 10);
    if (errno || *end || v > max)
        return false;
    *out = v;
    return true;
}

bool vmsig_cli_int(const char *text, int64_t min, int64_t max, int64_t *out) {
    bool minus = text[0] == '-';
    uint64_t v;
    if (!vmsig_cli_uint(text + (minus || text[0] == '+'), INT64_MAX, &v))
        return false;
    int64_t signed_v = minus ? -(int64_t)v : (int64_t)v;
    if (signed_v < min || signed_v > max)
        return false;
    *out = signed_v;
    return true;
}

const char *vmsig_cli_where(const char *name, const char *socket, char *buf, size_t len) {
    if (!socket || strchr(socket, '/'))
        return socket ? socket : name;
    snprintf(buf, len, "./%s", socket);
    return buf;
}

/* ---- options --------------------------------------------------------------------------------------------- */

static bool time_ms(const char *text, int *out) {
    char number[24];
    size_t digits = strspn(text, "0123456789");
    uint64_t v;
    if (digits == 0 || digits >= sizeof number)
        return false;
    memcpy(number, text, digits);
    number[digits] = 0;
    const char *unit = text + digits;
    uint64_t scale = strcmp(unit, "ms") == 0 ? 1 : *unit == 0 || strcmp(unit, "s") == 0 ? 1000 : 0;
    if (scale == 0 || !vmsig_cli_uint(number, 3600000 / scale, &v) || v == 0)
        return false;
    *out = (int)(v * scale);
    return true;
}

static bool take(const char *command, const vmsig_cli_opt *o, const char *value, int *code) {
    switch (o->type) {
    case VMSIG_CLI_YES:
        *(bool *)o->out = true;
        return true;
    case VMSIG_CLI_TEXT:
        *(const char **)o->out = value;
        return true;
    case VMSIG_CLI_UINT:
        if (vmsig_cli_uint(value, o->max, o->out))
            return true;
        *code = vmsig_cli_fail(VMSIG_EXIT_USAGE, command, "--%s %s: expected a number, at most %llu", o->name, value,
                               (unsigned long long)o->max);
        return false;
    case VMSIG_CLI_TIME:
        if (time_ms(value, o->out))
            return true;
        *code = vmsig_cli_fail(VMSIG_EXIT_USAGE, command, "--%s %s: expected a time, 500ms or 5s say", o->name, value);
        return false;
    }
    return false;
}

static int long_options(const vmsig_cli_opt *opts, struct option *out) {
    int n = 0;
    for (; opts[n].name && n < OPTS_MAX; n++) {
        bool flag = opts[n].type == VMSIG_CLI_YES;
        out[n] = (struct option){opts[n].name, flag ? no_argument : required_argument, NULL, n};
    }
    out[n] = (struct option){"help", no_argument, NULL, HELP};
    out[n + 1] = (struct option){0};
    return n;
}

static bool is_word(const char *arg) {
    return arg[0] != '-' || arg[1] == 0 || (arg[1] >= '0' && arg[1] <= '9');
}

static bool add_word(const char *command, const char **words, int *n, const char *word, int *code) {
    if (*n < VMSIG_CLI_WORDS_MAX) {
        words[(*n)++] = word;
        return true;
    }
    *code = vmsig_cli_fail(VMSIG_EXIT_USAGE, command, "more than %d words", VMSIG_CLI_WORDS_MAX);
    return false;
}

/* getopt_long would take -5 for an option and stops, or reorders, at words: so each word is taken here, and getopt is
 * asked for one option at a time. */
bool vmsig_cli_parse(int argc, char **argv, const char *help, const vmsig_cli_opt *opts, const char **words,
                     int *nwords, int *code) {
    struct option longs[OPTS_MAX + 2];
    bool options_over = false;
    long_options(opts, longs);
    optind = 1;
    opterr = 0;
    *nwords = 0;
    *code = VMSIG_EXIT_USAGE;
    while (optind < argc) {
        const char *arg = argv[optind];
        if (options_over || is_word(arg)) {
            if (!add_word(argv[0], words, nwords, arg, code))
                return false;
            optind++;
            continue;
        }
        if (strcmp(arg, "--") == 0) {
            options_over = true;
            optind++;
            continue;
        }
        int c = getopt_long(argc, argv, "+:h", longs, NULL);
        if (c == HELP || c == 'h') {
            fputs(help, stdout);
            *code = VMSIG_EXIT_OK;
            return false;
        }
        if (c == ':' || c == '?') {
            vmsig_cli_fail(0, argv[0],
                           c == ':' ? "%s wants a value (see vmsig %s --help)"
                                    : "there is no option %s (see vmsig %s --help)",
                           arg, argv[0]);
            return false;
        }
        if (!take(argv[0], &opts[c], optarg, code))
            return false;
    }
    return true;
}

/* ---- suggestions ----------------------------------------------------------------------------------------- */

const char *vmsig_cli_nearest(const char *text, const char *const *names) {
    const char *best = NULL;
    size_t least = vmsig_spelling_limit(text) + 1;
    for (; *names; names++) {
        size_t d = vmsig_spelling_distance(text, *names);
        if (d < least && d < strlen(*names)) {
            least = d;
            best = *names;
        }
    }
    return best;
}

/* ---- programs -------------------------------------------------------------------------------------------- */

int vmsig_cli_program_dir(char *buf, size_t len) {
    ssize_t n = readlink("/proc/self/exe", buf, len);
    if (n < 0)
        return -errno;
    if ((size_t)n >= len)
        return -ENAMETOOLONG;
    buf[n] = 0;
    char *slash = strrchr(buf, '/');
    if (!slash)
        return -ENOENT;
    *(slash == buf ? slash + 1 : slash) = 0;
    return 0;
}

int vmsig_cli_program(const char *name, char *buf, size_t len) {
    int err = vmsig_cli_program_dir(buf, len);
    if (err)
        return err;
    size_t used = strlen(buf);
    int n = snprintf(buf + used, len - used, "/%s", name);
    if (n < 0 || (size_t)n >= len - used)
        return -ENAMETOOLONG;
    return access(buf, X_OK) == 0 ? 0 : -errno;
}
