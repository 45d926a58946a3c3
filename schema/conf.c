#include "schema/conf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "schema/conf_value.h"

#define DEPTH_MAX 16 /* of lists and maps in one another */

typedef struct reader {
    const char *file;
    vmsig_conf_error *err;
    yaml_document_t doc;
} reader;

static vmsig_conf_mark mark_of(yaml_mark_t m) {
    return (vmsig_conf_mark){.line = (uint32_t)m.line + 1, .column = (uint32_t)m.column + 1};
}

static vmsig_conf_place place_of(const reader *r, const yaml_node_t *node) {
    return (vmsig_conf_place){.file = r->file, .mark = mark_of(node->start_mark), .err = r->err};
}

/* ---- before the document: what no table can refuse ---------------------------------------------------------- */

static int parser_failed(const yaml_parser_t *p, const char *file, vmsig_conf_error *err) {
    if (p->error == YAML_MEMORY_ERROR)
        return vmsig_conf_no_memory(err, file);
    return vmsig_conf_fail(err, file, mark_of(p->problem_mark), "found no YAML (%s%s%s), expected keys and values",
                           p->problem, p->context ? " " : "", p->context ? p->context : "");
}

/* What is refused of one parser event, or NULL. */
static const char *refusal(const yaml_event_t *e, int *depth, int *documents) {
    switch (e->type) {
    case YAML_ALIAS_EVENT:
        return "an alias (*), expected plain values";
    case YAML_SCALAR_EVENT:
        return e->data.scalar.anchor ? "an anchor (&), expected plain values"
               : e->data.scalar.tag  ? "a tag (!), expected plain values"
                                     : NULL;
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        /* the two structs begin alike, but say it twice rather than rely on it */
        if (e->type == YAML_SEQUENCE_START_EVENT ? e->data.sequence_start.anchor != NULL
                                                 : e->data.mapping_start.anchor != NULL)
            return "an anchor (&), expected plain values";
        if (e->type == YAML_SEQUENCE_START_EVENT ? e->data.sequence_start.tag != NULL
                                                 : e->data.mapping_start.tag != NULL)
            return "a tag (!), expected plain values";
        return ++*depth > DEPTH_MAX ? "lists or maps nested in one another, expected at most 16" : NULL;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        --*depth;
        return NULL;
    case YAML_DOCUMENT_START_EVENT:
        return ++*documents > 1 ? "a second document, expected one" : NULL;
    default:
        return NULL;
    }
}

/* Goes through the events once, without building anything, so that depth and size of the document are known. */
static int look_through(const char *file, const char *text, size_t len, vmsig_conf_error *err) {
    yaml_parser_t p;
    if (!yaml_parser_initialize(&p))
        return vmsig_conf_no_memory(err, file);
    yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&p, (const unsigned char *)text, len);
    int depth = 0, documents = 0, result = 0;
    for (bool end = false; !end && result == 0;) {
        yaml_event_t e;
        if (!yaml_parser_parse(&p, &e)) {
            result = parser_failed(&p, file, err);
            break;
        }
        const char *what = refusal(&e, &depth, &documents);
        if (what)
            result = vmsig_conf_fail(err, file, mark_of(e.start_mark), "found %s", what);
        end = e.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&e);
    }
    if (result == 0 && documents == 0)
        result = vmsig_conf_fail(err, file, (vmsig_conf_mark){1, 1}, "the file is empty, expected keys and values");
    yaml_parser_delete(&p);
    return result;
}

/* Bytes that a text file of ours does not have, with their place; libyaml would tell only their offset. */
static int check_bytes(const char *file, const char *text, size_t len, vmsig_conf_error *err) {
    if (len > VMSIG_CONF_MAX)
        return vmsig_conf_fail(err, file, (vmsig_conf_mark){0, 0}, "found %zu bytes, expected at most %u", len,
                               VMSIG_CONF_MAX);
    vmsig_conf_mark at = {1, 1};
    bool indent = true;
    for (size_t i = 0; i < len;) {
        size_t n = vmsig_conf_utf8((const unsigned char *)text + i, len - i);
        char c = text[i];
        if (n == 0)
            return vmsig_conf_fail(err, file, at, "found byte 0x%02x, expected UTF-8 text", (unsigned char)c);
        if (c == '\t' && indent)
            return vmsig_conf_fail(err, file, at, "found a tab, expected spaces in front of a key");
        if ((c >= 0 && c < ' ' && c != '\n' && c != '\r' && c != '\t') || c == 0x7f)
            return vmsig_conf_fail(err, file, at, "found byte 0x%02x, expected text", (unsigned char)c);
        indent = c == '\n' || (indent && c == ' ');
        at = c == '\n' ? (vmsig_conf_mark){at.line + 1, 1} : (vmsig_conf_mark){at.line, at.column + 1};
        i += n;
    }
    return 0;
}

/* ---- nodes --------------------------------------------------------------------------------------------------- */

static int read_map(reader *r, const yaml_node_t *node, const vmsig_conf_table *table, void *out);
static int read_new_map(reader *r, const yaml_node_t *node, const vmsig_conf_table *table, void *out);
static void set_mark(const vmsig_conf_key *key, void *out, vmsig_conf_mark at);

/* "a list", "a map", "\"text\"": what stands there. */
static const char *found(const yaml_node_t *node, char buf[64]) {
    if (node->type == YAML_SEQUENCE_NODE)
        return "a list";
    if (node->type == YAML_MAPPING_NODE)
        return "a map";
    return vmsig_conf_quoted((const char *)node->data.scalar.value, node->data.scalar.length, buf);
}

static int unexpected(reader *r, const yaml_node_t *node, const vmsig_conf_key *key) {
    char buf[64];
    vmsig_conf_place at = place_of(r, node);
    return vmsig_conf_unexpected(&at, key, found(node, buf));
}

/* Appends a copy of a scalar to a list that has room. */
static int append(reader *r, const yaml_node_t *node, const vmsig_conf_key *key, vmsig_conf_list *list) {
    char buf[64];
    vmsig_conf_place at = place_of(r, node);
    if (node->type != YAML_SCALAR_NODE)
        return vmsig_conf_fail(r->err, r->file, at.mark, "%s: found %s, expected a plain value", key->name,
                               found(node, buf));
    int err = vmsig_conf_copy(&at, key->name, (const char *)node->data.scalar.value, node->data.scalar.length,
                              &list->items[list->n]);
    if (err == 0)
        list->marks[list->n++] = at.mark;
    return err;
}

static int make_list(reader *r, size_t n, vmsig_conf_list *list) {
    list->items = calloc(n + 1, sizeof *list->items); /* NULL-terminated, for those who want it */
    list->marks = calloc(n + 1, sizeof *list->marks);
    return list->items && list->marks ? 0 : vmsig_conf_no_memory(r->err, r->file);
}

/* One plain value counts as a list of one. */
static int read_single(reader *r, const yaml_node_t *node, const vmsig_conf_key *key, vmsig_conf_list *list) {
    if (node->data.scalar.length == 0)
        return unexpected(r, node, key);
    int err = make_list(r, 1, list);
    return err < 0 ? err : append(r, node, key, list);
}

static int read_list(reader *r, const yaml_node_t *node, const vmsig_conf_key *key, vmsig_conf_list *list) {
    const yaml_node_item_t *at = node->data.sequence.items.start, *end = node->data.sequence.items.top;
    size_t n = (size_t)(end - at);
    if (key->max && n > key->max)
        return vmsig_conf_fail(r->err, r->file, mark_of(node->start_mark),
                               "%s: found %zu values, expected at most %llu", key->name, n,
                               (unsigned long long)key->max);
    int err = make_list(r, n, list);
    for (; at < end && err == 0; at++)
        err = append(r, yaml_document_get_node(&r->doc, *at), key, list);
    return err;
}

static int read_pairs(reader *r, const yaml_node_t *node, const vmsig_conf_key *key, vmsig_conf_list *list) {
    const yaml_node_pair_t *at = node->data.mapping.pairs.start, *end = node->data.mapping.pairs.top;
    int err = make_list(r, 2 * (size_t)(end - at), list);
    for (; at < end && err == 0; at++) {
        const yaml_node_t *k = yaml_document_get_node(&r->doc, at->key);
        err = append(r, k, key, list);
        for (size_t i = 0; err == 0 && i + 1 < list->n; i += 2)
            if (strcmp(list->items[i], list->items[list->n - 1]) == 0)
                err = vmsig_conf_fail(r->err, r->file, mark_of(k->start_mark),
                                      "%s: found the key %s again, expected it once (it is on line %u, too)", key->name,
                                      list->items[i], list->marks[i].line);
        if (err == 0)
            err = append(r, yaml_document_get_node(&r->doc, at->value), key, list);
    }
    return err;
}

static int read_maps(reader *r, const yaml_node_t *node, const vmsig_conf_key *key, vmsig_conf_maps *maps) {
    char buf[64];
    const yaml_node_item_t *at = node->data.sequence.items.start, *end = node->data.sequence.items.top;
    size_t n = (size_t)(end - at);
    if (n < key->min || n > key->max)
        return vmsig_conf_fail(r->err, r->file, mark_of(node->start_mark),
                               "%s: found %zu of them, expected %llu to %llu", key->name, n,
                               (unsigned long long)key->min, (unsigned long long)key->max);
    maps->items = calloc(n + 1, key->sub->item_bytes);
    maps->marks = calloc(n + 1, sizeof *maps->marks);
    if (!maps->items || !maps->marks)
        return vmsig_conf_no_memory(r->err, r->file);
    for (; at < end; at++) {
        const yaml_node_t *item = yaml_document_get_node(&r->doc, *at);
        if (item->type != YAML_MAPPING_NODE)
            return vmsig_conf_fail(r->err, r->file, mark_of(item->start_mark),
                                   "%s: found %s, expected a map, as in {key: value}", key->name, found(item, buf));
        maps->marks[maps->n] = mark_of(item->start_mark);
        int err = read_new_map(r, item, key->sub, (char *)maps->items + maps->n++ * key->sub->item_bytes);
        if (err < 0)
            return err;
    }
    return 0;
}

static int read_value(reader *r, const yaml_node_t *node, const vmsig_conf_key *key, void *out) {
    void *field = (char *)out + key->offset;
    vmsig_conf_place at = place_of(r, node);
    set_mark(key, out, at.mark);
    yaml_node_type_t wanted = key->type < VMSIG_CONF_LIST                                    ? YAML_SCALAR_NODE
                              : key->type == VMSIG_CONF_LIST || key->type == VMSIG_CONF_MAPS ? YAML_SEQUENCE_NODE
                                                                                             : YAML_MAPPING_NODE;
    if (key->type == VMSIG_CONF_LIST && node->type == YAML_SCALAR_NODE)
        return read_single(r, node, key, field);
    if (node->type != wanted)
        return unexpected(r, node, key);
    switch (key->type) {
    case VMSIG_CONF_LIST:
        return read_list(r, node, key, field);
    case VMSIG_CONF_PAIRS:
        return read_pairs(r, node, key, field);
    case VMSIG_CONF_MAPS:
        return read_maps(r, node, key, field);
    case VMSIG_CONF_MAP:
        return read_map(r, node, key->sub, field);
    default:
        return vmsig_conf_scalar(&at, key, (const char *)node->data.scalar.value, node->data.scalar.length, field);
    }
}

static void set_mark(const vmsig_conf_key *key, void *out, vmsig_conf_mark at) {
    if (key->mark_offset)
        *(vmsig_conf_mark *)(void *)((char *)out + key->mark_offset) = at;
    if (key->set_offset)
        *(bool *)((char *)out + key->set_offset) = true;
}

/* ---- maps by table ---------------------------------------------------------------------------------------------- */

static int defaults(const char *file, const vmsig_conf_table *table, void *out, vmsig_conf_error *err) {
    for (size_t i = 0; i < table->n; i++) {
        const vmsig_conf_key *key = &table->keys[i];
        vmsig_conf_place at = {.file = file, .err = err};
        int e = 0;
        if (key->type == VMSIG_CONF_MAP)
            e = defaults(file, key->sub, (char *)out + key->offset, err);
        else if (key->fallback)
            e = vmsig_conf_scalar(&at, key, key->fallback, strlen(key->fallback), (char *)out + key->offset);
        if (e < 0)
            return e;
    }
    return 0;
}

static int unknown_key(reader *r, const yaml_node_t *k, const vmsig_conf_table *table) {
    char shown[64], keys[256] = "";
    const char *text = k->type == YAML_SCALAR_NODE ? (const char *)k->data.scalar.value : "";
    const char *near = vmsig_conf_nearest(table, text);
    size_t n = 0;
    for (size_t i = 0; i < table->n && n < sizeof keys; i++)
        n += (size_t)snprintf(keys + n, sizeof keys - n, "%s%s", i ? ", " : "", table->keys[i].name);
    return vmsig_conf_fail(r->err, r->file, mark_of(k->start_mark), "%s: found the unknown key %s, expected %s%s",
                           table->name, found(k, shown), near ? "" : "one of ", near ? near : keys);
}

static size_t index_of(const vmsig_conf_table *table, const yaml_node_t *k) {
    size_t i = 0;
    while (i < table->n && !(k->type == YAML_SCALAR_NODE && strlen(table->keys[i].name) == k->data.scalar.length &&
                             memcmp(table->keys[i].name, k->data.scalar.value, k->data.scalar.length) == 0))
        i++;
    return i;
}

/* A default that the file overrides must not leak. */
static void drop_default(const vmsig_conf_key *key, void *out) {
    char **text = (char **)(void *)((char *)out + key->offset);
    if (key->type == VMSIG_CONF_STRING || key->type == VMSIG_CONF_NAME) {
        free(*text);
        *text = NULL;
    }
}

/* `out` holds the defaults: a map within it got them with the outer one. */
static int read_map(reader *r, const yaml_node_t *node, const vmsig_conf_table *table, void *out) {
    uint32_t seen[64] = {0}; /* by key: the line it stands on */
    int err = 0;
    for (const yaml_node_pair_t *p = node->data.mapping.pairs.start; err == 0 && p < node->data.mapping.pairs.top;
         p++) {
        const yaml_node_t *k = yaml_document_get_node(&r->doc, p->key);
        size_t i = index_of(table, k);
        if (i == table->n)
            return unknown_key(r, k, table);
        const vmsig_conf_key *key = &table->keys[i];
        if (seen[i])
            return vmsig_conf_fail(r->err, r->file, mark_of(k->start_mark),
                                   "%s: found the key again, expected it once (it is on line %u, too)", key->name,
                                   seen[i]);
        seen[i] = (uint32_t)k->start_mark.line + 1;
        drop_default(key, out);
        err = read_value(r, yaml_document_get_node(&r->doc, p->value), key, out);
    }
    for (size_t i = 0; err == 0 && i < table->n; i++)
        if (table->keys[i].required && !seen[i]) {
            char buf[160];
            return vmsig_conf_fail(r->err, r->file, mark_of(node->start_mark), "%s: found no %s, expected %s",
                                   table->name, table->keys[i].name,
                                   vmsig_conf_expected(&table->keys[i], buf, sizeof buf));
        }
    return err;
}

static int read_new_map(reader *r, const yaml_node_t *node, const vmsig_conf_table *table, void *out) {
    int err = defaults(r->file, table, out, r->err);
    return err < 0 ? err : read_map(r, node, table, out);
}

/* ---- the whole ---------------------------------------------------------------------------------------------------- */

static int read_document(reader *r, const vmsig_conf_table *table, void *out) {
    char buf[64];
    const yaml_node_t *root = yaml_document_get_root_node(&r->doc); /* there is one: see look_through */
    if (root->type != YAML_MAPPING_NODE)
        return vmsig_conf_fail(r->err, r->file, mark_of(root->start_mark), "found %s, expected keys and values",
                               found(root, buf));
    return read_new_map(r, root, table, out);
}

int vmsig_conf_parse(const char *file, const char *text, size_t len, const vmsig_conf_table *table, void *out,
                     vmsig_conf_error *err) {
    memset(out, 0, table->item_bytes);
    err->text[0] = '\0';
    int e = check_bytes(file, text, len, err);
    if (e == 0)
        e = look_through(file, text, len, err);
    if (e < 0)
        return e;

    reader r = {.file = file, .err = err};
    yaml_parser_t p;
    if (!yaml_parser_initialize(&p))
        return vmsig_conf_no_memory(err, file);
    yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&p, (const unsigned char *)text, len);
    if (yaml_parser_load(&p, &r.doc)) {
        e = read_document(&r, table, out);
        yaml_document_delete(&r.doc);
    } else {
        e = parser_failed(&p, file, err);
    }
    yaml_parser_delete(&p);
    if (e < 0)
        vmsig_conf_free(table, out);
    return e;
}

static void free_list(vmsig_conf_list *list) {
    for (size_t i = 0; i < list->n; i++)
        free(list->items[i]);
    free(list->items);
    free(list->marks);
}

static void free_maps(const vmsig_conf_table *sub, vmsig_conf_maps *maps) {
    for (size_t i = 0; i < maps->n; i++)
        vmsig_conf_free(sub, (char *)maps->items + i * sub->item_bytes);
    free(maps->items);
    free(maps->marks);
}

void vmsig_conf_free(const vmsig_conf_table *table, void *out) {
    for (size_t i = 0; i < table->n; i++) {
        const vmsig_conf_key *key = &table->keys[i];
        void *field = (char *)out + key->offset;
        switch (key->type) {
        case VMSIG_CONF_STRING:
        case VMSIG_CONF_NAME:
            free(*(char **)field);
            break;
        case VMSIG_CONF_LIST:
        case VMSIG_CONF_PAIRS:
            free_list(field);
            break;
        case VMSIG_CONF_MAPS:
            free_maps(key->sub, field);
            break;
        case VMSIG_CONF_MAP:
            vmsig_conf_free(key->sub, field);
            break;
        default:
            break;
        }
    }
    memset(out, 0, table->item_bytes);
}
