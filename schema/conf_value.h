/* conf_value.h: one value of a YAML file, by one key of a table. Within conf*.c only. */
#ifndef VMSIG_CONF_VALUE_H
#define VMSIG_CONF_VALUE_H

#include "schema/conf.h"

/* Where a value stands: for the message about it. */
typedef struct vmsig_conf_place {
    const char *file;
    vmsig_conf_mark mark;
    vmsig_conf_error *err;
} vmsig_conf_place;

/* Reads a scalar by its key into *out (see vmsig_conf_key.offset): 0, -EINVAL with the message, -ENOMEM. */
int vmsig_conf_scalar(const vmsig_conf_place *at, const vmsig_conf_key *key, const char *text, size_t len, void *out);

/* A malloc'ed copy of text: 0, -EINVAL with the message (a NUL in it, or too long), -ENOMEM. */
int vmsig_conf_copy(const vmsig_conf_place *at, const char *key, const char *text, size_t len, char **out);

/* "a size from 4K to 1G, a power of two": what a key expects; into buf, which is returned. */
const char *vmsig_conf_expected(const vmsig_conf_key *key, char *buf, size_t len);

/* A value as a message may show it: quoted and short; into buf, which is returned. */
const char *vmsig_conf_quoted(const char *text, size_t len, char buf[64]);

/* "`key`: found WHAT, expected ..." as the message; -EINVAL. */
int vmsig_conf_unexpected(const vmsig_conf_place *at, const vmsig_conf_key *key, const char *found);

int vmsig_conf_no_memory(vmsig_conf_error *err, const char *file);

/* The length of the UTF-8 character at s, of which `left` bytes are there (RFC 3629); 0 = it is none. */
size_t vmsig_conf_utf8(const unsigned char *s, size_t left);

/* The key of the table that is spelled most like text, or NULL: none is near. */
const char *vmsig_conf_nearest(const vmsig_conf_table *table, const char *text);

#endif
