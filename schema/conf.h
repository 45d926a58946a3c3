/* conf.h: YAML read by a table: {key, type, required, range or choices, help}. One table drives checking, messages,
 * `vmsig check --explain KEY` and the reference in docs/. On libyaml's document API, whose nodes carry line and column.
 *
 * What is wrong comes as ONE message: "file:line:column: key: what was found, what was expected".
 * Errors: 0 or negative errno (-EINVAL: the message is in *err).
 */
#ifndef VMSIG_CONF_H
#define VMSIG_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define VMSIG_CONF_MAX (1u << 20) /* bytes of a file that is read by table */

typedef enum vmsig_conf_type {
    VMSIG_CONF_STRING,
    VMSIG_CONF_NAME, /* letters, digits, '-', '_', at most 31 */
    VMSIG_CONF_UINT, /* min..max */
    VMSIG_CONF_SIZE, /* bytes, with K, M, G; min..max */
    VMSIG_CONF_TIME, /* ns, us, ms, s; stored in ns; min..max */
    VMSIG_CONF_BOOL,
    VMSIG_CONF_CHOICE, /* stored as its index in choices */
    VMSIG_CONF_LIST,   /* of strings, at most max where that is not 0; one plain value counts as a list of one */
    VMSIG_CONF_MAPS,   /* a list of min..max maps, each read by the table `sub` */
    VMSIG_CONF_MAP,    /* one map, read by the table `sub` */
    VMSIG_CONF_PAIRS   /* a map of any keys to plain values: a vmsig_conf_list of key, value, key, value... */
} vmsig_conf_type;

typedef struct vmsig_conf_mark {
    uint32_t line, column; /* from 1; 0 = not from a file */
} vmsig_conf_mark;

typedef struct vmsig_conf_list {
    char **items;
    vmsig_conf_mark *marks;
    size_t n;
} vmsig_conf_list;

/* One key. Its value is stored at offset in the caller's struct: char * (malloc'ed), uint64_t (UINT, SIZE, TIME), bool,
 * int (CHOICE), vmsig_conf_list, vmsig_conf_maps, or the sub-struct itself. Where mark_offset is not 0, a
 * vmsig_conf_mark is stored there; where set_offset is not 0, a bool "the file has this key". */
typedef struct vmsig_conf_key {
    const char *name;
    vmsig_conf_type type;
    bool required;
    size_t offset, mark_offset, set_offset;
    uint64_t min, max;
    bool power_of_two;
    const char *const *choices; /* NULL-terminated */
    const char *fallback;       /* the default, as it would be written; NULL = none */
    const struct vmsig_conf_table *sub;
    const char *help; /* one or two sentences */
} vmsig_conf_key;

typedef struct vmsig_conf_table {
    const char *name; /* "actors", for messages and the reference */
    const char *help;
    size_t item_bytes; /* of one struct that it fills */
    const vmsig_conf_key *keys;
    size_t n;
} vmsig_conf_table;

typedef struct vmsig_conf_maps {
    void *items; /* n structs of sub->item_bytes, in the file's order */
    vmsig_conf_mark *marks;
    size_t n;
} vmsig_conf_maps;

/* The one message of what is wrong. */
typedef struct vmsig_conf_error {
    char text[512];
} vmsig_conf_error;

/* Reads text (named `file` in messages) by table into *out (zeroed first; defaults filled in). */
int vmsig_conf_parse(const char *file, const char *text, size_t len, const vmsig_conf_table *table, void *out,
                     vmsig_conf_error *err);
void vmsig_conf_free(const vmsig_conf_table *table, void *out);

/* "file:line:column: " and the sentence, as one line of UTF-8 whatever its arguments are. Always returns -EINVAL. */
int vmsig_conf_fail(vmsig_conf_error *err, const char *file, vmsig_conf_mark at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Reads a whole file, at most max bytes, NUL-terminated and malloc'ed: 0 or -errno, with the sentence in *err. */
int vmsig_conf_read_file(const char *path, size_t max, char **text, size_t *len, vmsig_conf_error *err);

/* Explains one key ("actors.poll", or "poll") from the table: 0, or -ENOENT. And the whole as Markdown. */
int vmsig_conf_explain(FILE *to, const vmsig_conf_table *table, const char *key);
void vmsig_conf_reference(FILE *to, const vmsig_conf_table *table);

#endif
