#include "supervisor/topology.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/topology_file.h"

#define NAME_LENGTH 31

static int no_memory(const char *file, vmsig_conf_error *err) {
    vmsig_conf_fail(err, file, (vmsig_conf_mark){0, 0}, "no memory to read it");
    return -ENOMEM;
}

int vmsig_topo_no_memory(const vmsig_topo_build *b) {
    return no_memory(b->t->file, b->err);
}

int64_t vmsig_topo_find(const vmsig_topology *t, const char *name) {
    for (size_t i = 0; i < t->actors_n; i++)
        if (strcmp(t->actors[i].name, name) == 0)
            return (int64_t)i;
    return -1;
}

vmsig_topo_endpoint *vmsig_topo_endpoint_find(const vmsig_topology *t, const char *name) {
    for (size_t i = 0; i < t->endpoints_n; i++)
        if (strcmp(t->endpoints[i].name, name) == 0)
            return &t->endpoints[i];
    return NULL;
}

/* ---- freeing ------------------------------------------------------------------------------------------------------ */

static void free_actor(vmsig_topo_actor *a) {
    for (size_t i = 0; a->argv && a->argv[i]; i++)
        free(a->argv[i]);
    for (size_t i = 0; i < a->options_n; i++) {
        free(a->options[i].key);
        free(a->options[i].value);
    }
    free(a->name);
    free(a->exec);
    free(a->argv);
    free(a->user);
    free(a->group);
    free(a->socket);
    free(a->grants);
    free(a->audit);
    free(a->grants_text);
    free(a->policies);
    free(a->options);
    free(a->after);
}

void vmsig_topology_free(vmsig_topology *t) {
    if (!t)
        return;
    for (size_t i = 0; i < t->endpoints_n; i++) {
        free(t->endpoints[i].name);
        free(t->endpoints[i].host);
    }
    for (size_t i = 0; i < t->actors_n; i++)
        free_actor(&t->actors[i]);
    free(t->name);
    free(t->file);
    free(t->folder);
    free(t->endpoints);
    free(t->actors);
    free(t->order);
    free(t->links);
    free(t);
}

/* ---- resolving ------------------------------------------------------------------------------------------------------ */

/* "/etc/my lab.yaml" gives "my-lab". */
static char *name_of_file(const char *file) {
    const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    size_t n = strcspn(base + (*base == '.'), ".") + (*base == '.');
    char *name = strndup(base, n < NAME_LENGTH ? n : NAME_LENGTH);
    for (char *c = name; c && *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", *c) || (c == name && *c == '-'))
            *c = c == name ? '_' : '-';
    return name;
}

static int settings(vmsig_topo_build *b, const char *folder) {
    vmsig_topology *t = b->t;
    t->folder = realpath(folder, NULL);
    if (!t->folder && b->runs)
        t->folder = strdup(folder);
    if (!t->folder && errno != ENOMEM)
        return vmsig_topo_fail(b, ((vmsig_conf_mark){0, 0}), "cannot find its folder %.200s: %s", folder,
                               strerror(errno));
    t->name = b->file->name ? strdup(b->file->name) : name_of_file(t->file);
    if (!t->folder || !t->name)
        return vmsig_topo_no_memory(b);
    t->uid_base = (uint32_t)b->file->uid_base;
    t->no_limits = b->file->limits == VMSIG_FILE_LIMITS_NONE;
    t->slots = (uint32_t)b->file->slots;
    t->arena_bytes = b->file->arena;
    return 0;
}

static int resolve(vmsig_topo_build *b, const char *folder) {
    int err = settings(b, folder);
    err = err < 0 ? err : vmsig_topo_actors(b);
    err = err < 0 ? err : vmsig_topo_belonging(b);
    err = err < 0 ? err : vmsig_topo_links(b);
    err = err < 0 ? err : vmsig_topo_order(b);
    return err < 0 ? err : vmsig_topo_grants(b);
}

int vmsig_topo_resolve(const vmsig_file_top *top, const char *file, const char *folder, const char *program_dir,
                       bool runs, vmsig_topology **out, vmsig_conf_error *err) {
    *out = NULL;
    vmsig_topology *t = calloc(1, sizeof *t);
    if (!t || !(t->file = strdup(file))) {
        free(t);
        return no_memory(file, err);
    }
    vmsig_topo_build b = {.file = top, .program_dir = program_dir, .runs = runs, .t = t, .err = err};
    int e = resolve(&b, folder);
    if (e < 0)
        vmsig_topology_free(t);
    else
        *out = t;
    return e;
}

int vmsig_topology_parse(const char *file, const char *folder, const char *text, size_t len, const char *program_dir,
                         vmsig_topology **out, vmsig_conf_error *err) {
    return vmsig_topology_parse_edited(file, folder, text, len, NULL, program_dir, false, out, err);
}

int vmsig_topology_load(const char *path, const char *program_dir, vmsig_topology **out, vmsig_conf_error *err) {
    *out = NULL;
    if (!path)
        return vmsig_topology_parse("built-in demo", ".", vmsig_topology_demo, strlen(vmsig_topology_demo), program_dir,
                                    out, err);
    char *text, *copy = strdup(path);
    size_t len;
    if (!copy)
        return no_memory(path, err);
    int e = vmsig_conf_read_file(path, VMSIG_CONF_MAX, &text, &len, err);
    if (e == 0) {
        e = vmsig_topology_parse(path, dirname(copy), text, len, program_dir, out, err);
        free(text);
    }
    free(copy);
    return e;
}
