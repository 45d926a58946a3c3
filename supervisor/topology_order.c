/* In which order actors start: who takes events before who sends them, and what `after:` says beyond that. */
#include <stdlib.h>
#include <string.h>

#include "supervisor/topology_file.h"

typedef enum colour { WHITE, GREY, BLACK } colour; /* not seen, on the path, placed */

typedef struct walk {
    vmsig_topo_build *b;
    uint8_t *colour;
    uint32_t *path; /* the actors being visited */
    size_t depth;
} walk;

/* The `after:` of an actor, or NULL: which is written with its endpoint where it is a host. */
static const vmsig_file_run *run_of(const vmsig_topo_build *b, size_t actor) {
    const vmsig_file_endpoint *e = b->file->endpoints.items;
    const vmsig_file_actor *a = b->file->actors.items;
    return actor < b->t->endpoints_n ? &e[actor].run : &a[actor - b->t->endpoints_n].run;
}

static void add_after(vmsig_topo_actor *a, uint32_t other) {
    for (size_t i = 0; i < a->after_n; i++)
        if (a->after[i] == other)
            return;
    a->after[a->after_n++] = other;
}

static int written_after(vmsig_topo_build *b, size_t actor) {
    const vmsig_conf_list *after = &run_of(b, actor)->after;
    for (size_t i = 0; i < after->n; i++) {
        int64_t other = vmsig_topo_find(b->t, after->items[i]);
        if (other < 0)
            return vmsig_topo_fail(b, after->marks[i],
                                   "after: found \"%.64s\", expected the name of an actor or endpoint",
                                   after->items[i]);
        add_after(&b->t->actors[actor], (uint32_t)other);
    }
    return 0;
}

static int collect(vmsig_topo_build *b) {
    vmsig_topology *t = b->t;
    size_t *up = calloc(t->actors_n, sizeof *up); /* links up from each actor */
    if (!up)
        return vmsig_topo_no_memory(b);
    for (size_t i = 0; i < t->links_n; i++)
        up[t->links[i].from] += t->links[i].dir == VMSIG_DIR_UP;
    int err = 0;
    for (size_t i = 0; i < t->actors_n && err == 0; i++) {
        t->actors[i].after = calloc(up[i] + run_of(b, i)->after.n + 1, sizeof *t->actors[i].after);
        err = t->actors[i].after ? written_after(b, i) : vmsig_topo_no_memory(b);
    }
    free(up);
    for (size_t i = 0; i < t->links_n && err == 0; i++)
        if (t->links[i].dir == VMSIG_DIR_UP)
            add_after(&t->actors[t->links[i].from], t->links[i].to);
    return err;
}

/* The path from `actor` on comes back to it: told at an `after:` of the circle, where there is one. */
static int cycle(walk *w, uint32_t actor) {
    const vmsig_topology *t = w->b->t;
    char names[300];
    size_t n = 0, first = w->depth;
    vmsig_conf_mark at = {0, 0};
    while (w->path[--first] != actor)
        ;
    for (size_t i = first; i < w->depth; i++) {
        if (n < sizeof names)
            n += (size_t)snprintf(names + n, sizeof names - n, "%s after ", t->actors[w->path[i]].name);
        if (at.line == 0)
            at = run_of(w->b, w->path[i])->after_mark;
    }
    if (at.line == 0)
        at = t->actors[actor].mark;
    return vmsig_topo_fail(w->b, at,
                           "after: found a circle, %s%s, expected none (who sends events starts after who takes "
                           "them)",
                           names, t->actors[actor].name);
}

/* Depth-first: all that an actor comes after is placed before it (R. Tarjan, 1976). At most VMSIG_ACTORS_MAX deep. */
static int visit(walk *w, uint32_t actor) {
    vmsig_topology *t = w->b->t;
    const vmsig_topo_actor *a = &t->actors[actor];
    if (w->colour[actor] == BLACK)
        return 0;
    if (w->colour[actor] == GREY)
        return cycle(w, actor);
    w->colour[actor] = GREY;
    w->path[w->depth++] = actor;
    for (size_t i = 0; i < a->after_n; i++) {
        int err = visit(w, a->after[i]);
        if (err < 0)
            return err;
    }
    w->depth--;
    w->colour[actor] = BLACK;
    *t->order++ = actor;
    return 0;
}

/* Gateways first, sensors last, where nothing else is said. */
static int visit_all(walk *w) {
    static const vmsig_topo_kind ranks[] = {VMSIG_TOPO_GATEWAY, VMSIG_TOPO_CONTEXT, VMSIG_TOPO_HOST, VMSIG_TOPO_ACTOR,
                                            VMSIG_TOPO_SENSOR};
    for (size_t r = 0; r < sizeof ranks / sizeof ranks[0]; r++)
        for (uint32_t i = 0; i < w->b->t->actors_n; i++) {
            int err = w->b->t->actors[i].kind == ranks[r] ? visit(w, i) : 0;
            if (err < 0)
                return err;
        }
    return 0;
}

int vmsig_topo_order(vmsig_topo_build *b) {
    size_t n = b->t->actors_n;
    int err = collect(b);
    if (err < 0)
        return err;
    walk w = {.b = b, .colour = calloc(n, 1), .path = calloc(n, sizeof *w.path)};
    uint32_t *order = b->t->order = calloc(n, sizeof *b->t->order);
    err = w.colour && w.path && order ? visit_all(&w) : vmsig_topo_no_memory(b);
    b->t->order = order; /* the walk moved it on */
    b->t->order_n = n;
    free(w.colour);
    free(w.path);
    return err;
}
