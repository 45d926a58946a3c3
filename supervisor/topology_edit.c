/* A topology that is changed while it runs: what was plugged in and taken out since its file was read, and the numbers
 * that those who stay must keep: an actor's index stands in the board, a link's id in events and in durable states. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/topology_file.h"

#define PLUG_FILE "plug"

/* ---- edits -------------------------------------------------------------------------------------------------------- */

/* Moves the items of `more` behind those of `to`. */
static int append(vmsig_conf_maps *to, vmsig_conf_maps *more, size_t item_bytes) {
    size_t n = to->n + more->n;
    void *items = realloc(to->items, (n + 1) * item_bytes);
    if (!items)
        return -ENOMEM;
    to->items = items;
    vmsig_conf_mark *marks = realloc(to->marks, (n + 1) * sizeof *marks);
    if (!marks)
        return -ENOMEM;
    to->marks = marks;
    if (more->n) {
        memcpy((char *)items + to->n * item_bytes, more->items, more->n * item_bytes);
        memcpy(marks + to->n, more->marks, more->n * sizeof *marks);
    }
    to->n = n;
    more->n = 0;
    return 0;
}

static void take_out(vmsig_conf_maps *from, size_t i, const vmsig_conf_table *table) {
    char *item = (char *)from->items + i * table->item_bytes;
    vmsig_conf_free(table, item);
    from->n--;
    memmove(item, item + table->item_bytes, (from->n - i) * table->item_bytes);
    memmove(from->marks + i, from->marks + i + 1, (from->n - i) * sizeof *from->marks);
}

static int plug_many(vmsig_file_top *top, const char *text, vmsig_conf_error *err) {
    vmsig_file_plug p;
    int e = vmsig_conf_parse(PLUG_FILE, text, strlen(text), &vmsig_plug_table, &p, err);
    if (e < 0)
        return e;
    e = append(&top->actors, &p.actors, vmsig_actor_table.item_bytes);
    if (e == 0)
        e = append(&top->links, &p.links, vmsig_link_table.item_bytes);
    vmsig_conf_free(&vmsig_plug_table, &p);
    return e;
}

static int plug(vmsig_file_top *top, const char *text, vmsig_conf_error *err) {
    if (strstr(text, "actors:"))
        return plug_many(top, text, err);
    vmsig_file_actor a;
    vmsig_conf_mark mark = {1, 1};
    vmsig_conf_maps one = {.items = &a, .marks = &mark, .n = 1};
    int e = vmsig_conf_parse(PLUG_FILE, text, strlen(text), &vmsig_actor_table, &a, err);
    if (e < 0)
        return e;
    e = append(&top->actors, &one, vmsig_actor_table.item_bytes);
    if (e)
        vmsig_conf_free(&vmsig_actor_table, &a);
    return e;
}

static int unplug(vmsig_file_top *top, const char *file, const char *name, vmsig_conf_error *err) {
    const vmsig_file_endpoint *e = top->endpoints.items;
    const vmsig_file_actor *a = top->actors.items;
    const vmsig_file_link *l = top->links.items;
    size_t i = 0;
    for (size_t k = 0; k < top->endpoints.n; k++)
        if (strcmp(e[k].name, name) == 0)
            return vmsig_conf_fail(err, file, e[k].name_mark,
                                   "%s is an endpoint: take it out of the file, then `vmsig reload`", name);
    while (i < top->actors.n && strcmp(a[i].name, name) != 0)
        i++;
    if (i == top->actors.n)
        return vmsig_conf_fail(err, file, (vmsig_conf_mark){0, 0}, "there is no actor %.64s", name);
    take_out(&top->actors, i, &vmsig_actor_table);
    for (size_t k = top->links.n; k-- > 0;)
        if (strcmp(l[k].from, name) == 0 || strcmp(l[k].to, name) == 0)
            take_out(&top->links, k, &vmsig_link_table);
    return 0;
}

static int edit(vmsig_file_top *top, const char *file, const vmsig_topo_edits *edits, vmsig_conf_error *err) {
    int e = 0;
    for (size_t i = 0; edits && i < edits->n && e == 0; i++) {
        const char *item = edits->items[i];
        e = item[0] == '+' ? plug(top, item + 1, err) : unplug(top, file, item + 1, err);
    }
    return e;
}

int vmsig_topology_parse_edited(const char *file, const char *folder, const char *text, size_t len,
                                const vmsig_topo_edits *edits, const char *program_dir, bool runs, vmsig_topology **out,
                                vmsig_conf_error *err) {
    vmsig_file_top top;
    bool plugged = edits && edits->n > 0 && edits->items[edits->n - 1][0] == '+';
    *out = NULL;
    int e = vmsig_conf_parse(file, text, len, &vmsig_topology_table, &top, err);
    if (e < 0)
        return e;
    e = edit(&top, file, edits, err);
    if (e == 0) {
        e = vmsig_topo_resolve(&top, file, folder, program_dir, runs, out, err);
        if (e == -EINVAL && plugged) /* it was whole before: what is wrong stands in what was plugged in */
            vmsig_topo_resolve(&top, PLUG_FILE, folder, program_dir, runs, out, err);
    }
    vmsig_conf_free(&vmsig_topology_table, &top);
    return e;
}

/* ---- numbers ------------------------------------------------------------------------------------------------------ */

void vmsig_topology_numbers_free(vmsig_topo_numbers *n) {
    free(n->actors);
    free(n->links);
    *n = (vmsig_topo_numbers){0};
}

int vmsig_topology_numbers(const vmsig_topology *t, uint32_t next_link, vmsig_topo_numbers *out) {
    *out = (vmsig_topo_numbers){.actors = calloc(t->actors_n + 1, sizeof *out->actors),
                                .links = calloc(t->links_n + 1, sizeof *out->links),
                                .next_link = next_link};
    if (!out->actors || !out->links) {
        vmsig_topology_numbers_free(out);
        return -ENOMEM;
    }
    for (out->actors_n = 0; out->actors_n < t->actors_n; out->actors_n++) {
        const vmsig_topo_actor *a = &t->actors[out->actors_n];
        snprintf(out->actors[out->actors_n].name, sizeof out->actors->name, "%s", a->name);
        out->actors[out->actors_n].kind = a->kind;
    }
    for (out->links_n = 0; out->links_n < t->links_n; out->links_n++) {
        const vmsig_topo_link *l = &t->links[out->links_n];
        struct vmsig_topo_numbered_link *n = &out->links[out->links_n];
        snprintf(n->from, sizeof n->from, "%s", t->actors[l->from].name);
        snprintf(n->to, sizeof n->to, "%s", t->actors[l->to].name);
        n->link = *l;
    }
    return 0;
}

/* The index that an actor had, or -1. */
static int64_t former(const vmsig_topo_numbers *n, const vmsig_topo_actor *a) {
    for (size_t i = 0; i < n->actors_n; i++)
        if (n->actors[i].kind == a->kind && strcmp(n->actors[i].name, a->name) == 0)
            return (int64_t)i;
    return -1;
}

/* to[i]: the new index of actor i. *n: how many indices there are then. */
static int assign(const vmsig_topology *t, const vmsig_topo_numbers *numbers, uint32_t *to, size_t *n) {
    size_t gap = 0;
    *n = numbers->actors_n;
    for (size_t i = 0; i < t->actors_n; i++) {
        int64_t was = former(numbers, &t->actors[i]);
        to[i] = was < 0 ? UINT32_MAX : (uint32_t)was;
    }
    for (size_t i = 0; i < t->actors_n; i++) {
        if (to[i] != UINT32_MAX)
            continue;
        while (gap < numbers->actors_n && numbers->actors[gap].name[0])
            gap++;
        to[i] = (uint32_t)(gap < numbers->actors_n ? gap++ : (*n)++);
    }
    return *n <= VMSIG_ACTORS_MAX ? 0 : -ENOSPC;
}

static int move_actors(vmsig_topology *t, const uint32_t *to, size_t n) {
    vmsig_topo_actor *actors = calloc(n + 1, sizeof *actors);
    if (!actors)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        actors[i] = (vmsig_topo_actor){.endpoint = -1, .cpu = -1};
    for (size_t i = 0; i < t->actors_n; i++)
        actors[to[i]] = t->actors[i];
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < actors[i].after_n; k++)
            actors[i].after[k] = to[actors[i].after[k]];
    free(t->actors);
    t->actors = actors;
    t->actors_n = n;
    for (size_t i = 0; i < n; i++)
        if (!actors[i].name && !(actors[i].name = strdup("")))
            return -ENOMEM;
    return 0;
}

bool vmsig_topo_link_differs(const vmsig_topo_link *a, const vmsig_topo_link *b) {
    return a->dir != b->dir || a->endpoint_mask != b->endpoint_mask || a->source != b->source ||
           a->accepts != b->accepts || a->memctx != b->memctx;
}

static int number_link(const vmsig_topology *t, vmsig_topo_numbers *numbers, vmsig_topo_link *l) {
    l->id = 0;
    for (size_t i = 0; i < numbers->links_n; i++) {
        const struct vmsig_topo_numbered_link *n = &numbers->links[i];
        if (strcmp(n->from, t->actors[l->from].name) == 0 && strcmp(n->to, t->actors[l->to].name) == 0 &&
            !vmsig_topo_link_differs(&n->link, l) && n->link.id > l->id)
            l->id = n->link.id;
    }
    if (l->id == 0)
        l->id = numbers->next_link++;
    return l->id <= UINT16_MAX ? 0 : -ENOSPC;
}

int vmsig_topology_keep(vmsig_topology *t, vmsig_topo_numbers *numbers) {
    size_t n;
    uint32_t *to = calloc(t->actors_n + 1, sizeof *to);
    int e = to ? assign(t, numbers, to, &n) : -ENOMEM;
    if (e == 0) {
        for (size_t i = 0; i < t->order_n; i++)
            t->order[i] = to[t->order[i]];
        for (size_t i = 0; i < t->endpoints_n; i++) {
            t->endpoints[i].host_actor = to[t->endpoints[i].host_actor];
            t->endpoints[i].context = to[t->endpoints[i].context];
            t->endpoints[i].gateway = to[t->endpoints[i].gateway];
        }
        for (size_t i = 0; i < t->links_n; i++) {
            t->links[i].from = to[t->links[i].from];
            t->links[i].to = to[t->links[i].to];
        }
        e = move_actors(t, to, n);
    }
    for (size_t i = 0; e == 0 && i < t->links_n; i++)
        e = number_link(t, numbers, &t->links[i]);
    free(to);
    return e;
}
