#include "schema/conf_value.h"
#include "schema/spelling.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define STRING_MAX 4095u /* bytes: PATH_MAX without its NUL */
#define NAME_MAX_  31u
#define QUOTED_MAX 55u /* bytes of a value that a message shows */

typedef struct unit {
    const char *suffix;
    uint64_t factor;
} unit;
/* Largest first: that is how a value is shown. */
static const unit sizes[] = {{"G", 1u << 30}, {"M", 1u << 20}, {"K", 1u << 10}, {"", 1}, {NULL, 0}};
static const unit times[] = {{"s", 1000000000}, {"ms", 1000000}, {"us", 1000}, {"ns", 1}, {NULL, 0}};

/* ---- messages -------------------------------------------------------------------------------------------- */

size_t vmsig_conf_utf8(const unsigned char *s, size_t left) {
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if (n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if (n > 2 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
                  (s[0] == 0xf4 && s[1] > 0x8f)))
        return 0;
    return n;
}

/* A message may show what a file has: control characters and half characters are made visible. */
static void make_one_line(char *text) {
    size_t len = strlen(text);
    for (size_t i = 0; i < len;) {
        size_t n = vmsig_conf_utf8((const unsigned char *)text + i, len - i);
        if (n == 0 || (n == 1 && iscntrl((unsigned char)text[i])))
            text[i] = '?';
        i += n ? n : 1;
    }
}

int vmsig_conf_fail(vmsig_conf_error *err, const char *file, vmsig_conf_mark at, const char *fmt, ...) {
    int n = at.line == 0
                ? snprintf(err->text, sizeof err->text, "%.200s: ", file)
                : snprintf(err->text, sizeof err->text, "%.200s:%" PRIu32 ":%" PRIu32 ": ", file, at.line, at.column);
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->text + n, sizeof err->text - (size_t)n, fmt, args);
    va_end(args);
    make_one_line(err->text);
    return -EINVAL;
}

int vmsig_conf_no_memory(vmsig_conf_error *err, const char *file) {
    vmsig_conf_fail(err, file, (vmsig_conf_mark){0, 0}, "no memory to read it");
    return -ENOMEM;
}

const char *vmsig_conf_quoted(const char *text, size_t len, char buf[64]) {
    if (len == 0)
        return "nothing";
    size_t n = len <= QUOTED_MAX ? len : QUOTED_MAX;
    while (n < len && n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80) /* not half a character */
        n--;
    buf[0] = '"';
    for (size_t i = 0; i < n; i++)
        buf[i + 1] = text[i] ? text[i] : '?';
    strcpy(buf + n + 1, n < len ? "...\"" : "\"");
    return buf;
}

static void show_number(uint64_t v, const unit *units, char buf[32]) {
    if (!units || v == 0) {
        snprintf(buf, 32, "%" PRIu64, v);
        return;
    }
    while (v % units->factor != 0)
        units++;
    snprintf(buf, 32, "%" PRIu64 "%s", v / units->factor, units->suffix);
}

static const char *range(const vmsig_conf_key *key, const char *what, const unit *units, char *buf, size_t len) {
    char lo[32], hi[32];
    show_number(key->min, units, lo);
    show_number(key->max, units, hi);
    snprintf(buf, len, "%s from %s to %s%s", what, lo, hi, key->power_of_two ? ", a power of two" : "");
    return buf;
}

static const char *one_of(const char *const *choices, char *buf, size_t len) {
    size_t n = (size_t)snprintf(buf, len, "one of");
    for (size_t i = 0; choices[i] && n < len; i++)
        n += (size_t)snprintf(buf + n, len - n, "%s %s", i ? "," : "", choices[i]);
    return buf;
}

const char *vmsig_conf_expected(const vmsig_conf_key *key, char *buf, size_t len) {
    switch (key->type) {
    case VMSIG_CONF_STRING:
        return "a text";
    case VMSIG_CONF_NAME:
        return "a name of letters, digits, - and _, at most 31, not beginning with -";
    case VMSIG_CONF_UINT:
        return range(key, "a whole number", NULL, buf, len);
    case VMSIG_CONF_SIZE:
        return range(key, "a size (bytes, or with K, M, G)", sizes, buf, len);
    case VMSIG_CONF_TIME:
        return range(key, "a time (with ns, us, ms or s)", times, buf, len);
    case VMSIG_CONF_BOOL:
        return "true or false";
    case VMSIG_CONF_CHOICE:
        return one_of(key->choices, buf, len);
    case VMSIG_CONF_LIST:
        return "a list, as in [a, b]";
    case VMSIG_CONF_MAPS:
        return "a list of maps";
    case VMSIG_CONF_MAP:
    case VMSIG_CONF_PAIRS:
        break;
    }
    return "a map, as in {key: value}";
}

int vmsig_conf_unexpected(const vmsig_conf_place *at, const vmsig_conf_key *key, const char *found) {
    char buf[160];
    return vmsig_conf_fail(at->err, at->file, at->mark, "%s: found %s, expected %s", key->name, found,
                           vmsig_conf_expected(key, buf, sizeof buf));
}

/* ---- nearest spelling ------------------------------------------------------------------------------------- */

const char *vmsig_conf_nearest(const vmsig_conf_table *table, const char *text) {
    const char *best = NULL;
    size_t least = vmsig_spelling_limit(text) + 1;
    for (size_t i = 0; i < table->n; i++) {
        size_t d = vmsig_spelling_distance(text, table->keys[i].name);
        if (d < least) {
            least = d;
            best = table->keys[i].name;
        }
    }
    return best;
}

/* ---- scalars ----------------------------------------------------------------------------------------------- */

/* A whole number with one of the units' suffixes (NULL: without), no larger than UINT64_MAX. */
static bool read_number(const char *text, const unit *units, uint64_t *out) {
    if (!isdigit((unsigned char)*text))
        return false;
    char *end;
    errno = 0;
    uint64_t v = strtoull(text, &end, 10);
    if (errno != 0)
        return false;
    if (units && !(v == 0 && *end == '\0')) { /* 0 needs no unit */
        while (units->suffix && strcmp(units->suffix, end) != 0)
            units++;
        if (!units->suffix || v > UINT64_MAX / units->factor)
            return false;
        v *= units->factor;
    } else if (*end != '\0') {
        return false;
    }
    *out = v;
    return true;
}

static bool in_range(const vmsig_conf_key *key, uint64_t v) {
    return v >= key->min && v <= key->max && !(key->power_of_two && (v & (v - 1)) != 0);
}

static bool is_name(const char *text) {
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        if (!(isascii((unsigned char)text[i]) && (isalnum((unsigned char)text[i]) || text[i] == '_' || text[i] == '-')))
            return false;
    return n <= NAME_MAX_ && text[0] != '-';
}

static bool read_bool(const char *text, bool *out) {
    *out = strcmp(text, "true") == 0 || strcmp(text, "yes") == 0;
    return *out || strcmp(text, "false") == 0 || strcmp(text, "no") == 0;
}

static bool read_choice(const vmsig_conf_key *key, const char *text, int *out) {
    for (*out = 0; key->choices[*out]; ++*out)
        if (strcmp(key->choices[*out], text) == 0)
            return true;
    return false;
}

int vmsig_conf_copy(const vmsig_conf_place *at, const char *key, const char *text, size_t len, char **out) {
    char shown[64];
    if (len > STRING_MAX || memchr(text, '\0', len))
        return vmsig_conf_fail(at->err, at->file, at->mark, "%s: found %s, expected at most %u bytes, none of them NUL",
                               key, vmsig_conf_quoted(text, len, shown), STRING_MAX);
    *out = strndup(text, len);
    return *out ? 0 : vmsig_conf_no_memory(at->err, at->file);
}

/* The value of a scalar that is a NUL-terminated text; strings are left to the caller. */
static bool read_scalar(const vmsig_conf_key *key, const char *text, void *out) {
    uint64_t v;
    switch (key->type) {
    case VMSIG_CONF_BOOL:
        return read_bool(text, out);
    case VMSIG_CONF_CHOICE:
        return read_choice(key, text, out);
    default:
        break;
    }
    const unit *units = key->type == VMSIG_CONF_SIZE ? sizes : key->type == VMSIG_CONF_TIME ? times : NULL;
    if (!read_number(text, units, &v) || !in_range(key, v))
        return false;
    *(uint64_t *)out = v;
    return true;
}

int vmsig_conf_scalar(const vmsig_conf_place *at, const vmsig_conf_key *key, const char *text, size_t len, void *out) {
    char shown[64], *copy;
    if (key->type >= VMSIG_CONF_LIST || len == 0)
        return vmsig_conf_unexpected(at, key, vmsig_conf_quoted(text, len, shown));
    int err = vmsig_conf_copy(at, key->name, text, len, &copy);
    if (err < 0)
        return err;
    bool is_text = key->type == VMSIG_CONF_STRING || key->type == VMSIG_CONF_NAME;
    if (is_text ? key->type == VMSIG_CONF_NAME && !is_name(copy) : !read_scalar(key, copy, out))
        err = vmsig_conf_unexpected(at, key, vmsig_conf_quoted(text, len, shown));
    if (is_text && err == 0)
        *(char **)out = copy;
    else
        free(copy);
    return err;
}
