/* Who belongs to whom, and the links that follow from it or are written out.
 *
 *   host, sensor ──up──► context ──up──► gateway        (sensor ──up──► actor ──up──► context, where written)
 *   host, sensor ◄─down─ context ◄─down─ gateway        (sensor: commands that it accepts, memctx that it asks for)
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/topology_file.h"

#define ALL_COMMANDS 0x1fu

/* A link of the file, its ends found. */
typedef struct written {
    const vmsig_file_link *f;
    uint32_t from, to;
    uint8_t dir;
} written;

typedef struct work {
    vmsig_topo_build *b;
    written *w;
    size_t w_n;
    bool *detour; /* by actor: what it emits goes to an actor, by a written link */
} work;

/* ---- whose endpoint ----------------------------------------------------------------------------------------------- */

/* The one actor of a kind that serves the endpoint. */
static int only_one(const vmsig_topo_build *b, const vmsig_topo_endpoint *e, vmsig_topo_kind kind, uint32_t *out) {
    const char *what = kind == VMSIG_TOPO_CONTEXT ? "context" : "gateway";
    const vmsig_topo_actor *first = NULL;
    for (size_t i = 0; i < b->t->actors_n; i++) {
        const vmsig_topo_actor *a = &b->t->actors[i];
        if (a->kind != kind || !(a->endpoint_mask >> e->id & 1))
            continue;
        if (first)
            return vmsig_topo_fail(b, a->mark, "endpoints: found endpoint %s in the %ss %s and %s, expected it in one",
                                   e->name, what, first->name, a->name);
        first = a;
        *out = (uint32_t)i;
    }
    if (first)
        return 0;
    return vmsig_topo_fail(b, e->mark, "endpoints: found endpoint %s without a %s, expected an actor of that kind",
                           e->name, what);
}

int vmsig_topo_belonging(vmsig_topo_build *b) {
    for (size_t i = 0; i < b->t->endpoints_n; i++) {
        vmsig_topo_endpoint *e = &b->t->endpoints[i];
        int err = only_one(b, e, VMSIG_TOPO_CONTEXT, &e->context);
        err = err < 0 ? err : only_one(b, e, VMSIG_TOPO_GATEWAY, &e->gateway);
        if (err < 0)
            return err;
    }
    for (size_t i = 0; i < b->t->actors_n; i++)
        if (b->t->actors[i].endpoint_mask == 0)
            return vmsig_topo_fail(b, b->t->actors[i].mark, "endpoints: found none for %s, expected at least one",
                                   b->t->actors[i].name);
    return 0;
}

/* ---- what is written ------------------------------------------------------------------------------------------------- */

static int end_of(const vmsig_topo_build *b, const char *key, const char *name, vmsig_conf_mark at, uint32_t *out) {
    int64_t i = vmsig_topo_find(b->t, name);
    if (i < 0)
        return vmsig_topo_fail(b, at, "%s: found \"%.64s\", expected the name of an actor or endpoint", key, name);
    *out = (uint32_t)i;
    return 0;
}

static uint8_t default_dir(const vmsig_topo_actor *from, const vmsig_topo_actor *to) {
    if (from->kind == VMSIG_TOPO_GATEWAY)
        return VMSIG_DIR_DOWN;
    if (from->kind != VMSIG_TOPO_CONTEXT)
        return VMSIG_DIR_UP;
    return to->kind == VMSIG_TOPO_HOST || to->kind == VMSIG_TOPO_SENSOR || to->accepts || to->memctx ? VMSIG_DIR_DOWN
                                                                                                     : VMSIG_DIR_UP;
}

static const written *find_written(const work *k, uint32_t from, uint32_t to, uint8_t dir) {
    for (size_t i = 0; i < k->w_n; i++)
        if (k->w[i].from == from && k->w[i].to == to && k->w[i].dir == dir)
            return &k->w[i];
    return NULL;
}

static int read_written(work *k, const vmsig_file_link *f) {
    const vmsig_topo_actor *actors = k->b->t->actors;
    written w = {.f = f};
    int err = end_of(k->b, "from", f->from, f->from_mark, &w.from);
    err = err < 0 ? err : end_of(k->b, "to", f->to, f->to_mark, &w.to);
    if (err < 0)
        return err;
    if (w.from == w.to)
        return vmsig_topo_fail(k->b, f->to_mark, "to: found %s at both ends, expected another actor", f->to);
    w.dir = f->dir_set ? (uint8_t)f->dir : default_dir(&actors[w.from], &actors[w.to]);
    if (find_written(k, w.from, w.to, w.dir))
        return vmsig_topo_fail(k->b, f->from_mark, "links: found the link from %s to %s again, expected it once",
                               f->from, f->to);
    if (w.dir == VMSIG_DIR_UP && actors[w.to].kind == VMSIG_TOPO_ACTOR)
        k->detour[w.from] = true;
    k->w[k->w_n++] = w;
    return 0;
}

/* ---- links ------------------------------------------------------------------------------------------------------------ */

static bool emits_as_one(const vmsig_topo_actor *a) {
    return a->kind == VMSIG_TOPO_SENSOR || a->kind == VMSIG_TOPO_ACTOR;
}

/* Adds the link; its size is the file's, or its own where it is written. */
static void add(work *k, uint32_t from, uint32_t to, uint8_t dir, uint64_t mask) {
    vmsig_topology *t = k->b->t;
    const vmsig_topo_actor *a = &t->actors[from], *z = &t->actors[to];
    const vmsig_topo_actor *outer = dir == VMSIG_DIR_UP ? a : z;
    const written *w = find_written(k, from, to, dir);
    bool down = dir == VMSIG_DIR_DOWN;
    vmsig_topo_link *l = &t->links[t->links_n];
    *l = (vmsig_topo_link){.id = (uint32_t)++t->links_n,
                           .from = from,
                           .to = to,
                           .dir = dir,
                           .slots = w && w->f->slots_set ? (uint32_t)w->f->slots : t->slots,
                           .arena_bytes = w && w->f->arena_set ? w->f->arena : t->arena_bytes,
                           .endpoint_mask = mask,
                           .source = emits_as_one(outer) ? outer->source : 0,
                           .accepts = !down                           ? 0
                                      : z->kind == VMSIG_TOPO_CONTEXT ? ALL_COMMANDS
                                                                      : z->accepts,
                           .memctx = down && z->memctx};
}

/* Up from a host or a sensor, and down to it. */
static void links_of_endpoint(work *k, uint32_t actor, const vmsig_topo_endpoint *e) {
    const vmsig_topo_actor *a = &k->b->t->actors[actor];
    if (!k->detour[actor] || find_written(k, actor, e->context, VMSIG_DIR_UP))
        add(k, actor, e->context, VMSIG_DIR_UP, a->endpoint_mask);
    if (a->accepts || a->memctx)
        add(k, e->context, actor, VMSIG_DIR_DOWN, a->endpoint_mask);
}

/* Between a context and a gateway that have endpoints in common. */
static void links_of_gateway(work *k, uint32_t context, uint32_t gateway) {
    const vmsig_topology *t = k->b->t;
    uint64_t mask = t->actors[context].endpoint_mask & t->actors[gateway].endpoint_mask;
    if (mask == 0)
        return;
    add(k, context, gateway, VMSIG_DIR_UP, mask);
    add(k, gateway, context, VMSIG_DIR_DOWN, mask);
}

static const vmsig_topo_endpoint *endpoint_of(const vmsig_topology *t, int32_t id) {
    const vmsig_topo_endpoint *e = t->endpoints;
    while (e->id != (uint32_t)id)
        e++;
    return e;
}

static void derive(work *k) {
    const vmsig_topology *t = k->b->t;
    for (uint32_t i = 0; i < t->actors_n; i++)
        if (t->actors[i].kind == VMSIG_TOPO_HOST || t->actors[i].kind == VMSIG_TOPO_SENSOR)
            links_of_endpoint(k, i, endpoint_of(t, t->actors[i].endpoint));
    for (uint32_t c = 0; c < t->actors_n; c++)
        for (uint32_t g = 0; t->actors[c].kind == VMSIG_TOPO_CONTEXT && g < t->actors_n; g++)
            if (t->actors[g].kind == VMSIG_TOPO_GATEWAY)
                links_of_gateway(k, c, g);
}

static bool exists(const vmsig_topology *t, const written *w) {
    for (size_t i = 0; i < t->links_n; i++)
        if (t->links[i].from == w->from && t->links[i].to == w->to && t->links[i].dir == w->dir)
            return true;
    return false;
}

/* Those written links that do not follow from the kinds: one end is an actor. */
static int add_written(work *k, const written *w, bool *linked) {
    const vmsig_topology *t = k->b->t;
    const vmsig_topo_actor *from = &t->actors[w->from], *to = &t->actors[w->to];
    linked[w->from] = linked[w->to] = true;
    if (exists(t, w))
        return 0;
    if (from->kind != VMSIG_TOPO_ACTOR && to->kind != VMSIG_TOPO_ACTOR)
        return vmsig_topo_fail(k->b, w->f->from_mark,
                               "links: found %s to %s, which does not follow from their kinds, expected a kind: actor "
                               "at one end",
                               from->name, to->name);
    uint64_t mask = from->endpoint_mask & to->endpoint_mask;
    if (mask == 0)
        return vmsig_topo_fail(k->b, w->f->from_mark,
                               "links: found %s to %s, expected them to have an endpoint in common", from->name,
                               to->name);
    add(k, w->from, w->to, w->dir, mask);
    return 0;
}

static int all_linked(const vmsig_topo_build *b, const bool *linked) {
    for (size_t i = 0; i < b->t->actors_n; i++)
        if (b->t->actors[i].kind == VMSIG_TOPO_ACTOR && !linked[i])
            return vmsig_topo_fail(b, b->t->actors[i].mark,
                                   "links: found none from or to %s, expected those of a kind: actor written out",
                                   b->t->actors[i].name);
    return 0;
}

static int make_links(work *k, bool *linked) {
    const vmsig_file_link *f = k->b->file->links.items;
    int err = 0;
    for (size_t i = 0; err == 0 && i < k->b->file->links.n; i++)
        err = read_written(k, &f[i]);
    if (err < 0)
        return err;
    derive(k);
    for (size_t i = 0; err == 0 && i < k->w_n; i++)
        err = add_written(k, &k->w[i], linked);
    return err < 0 ? err : all_linked(k->b, linked);
}

int vmsig_topo_links(vmsig_topo_build *b) {
    size_t actors = b->t->actors_n, files = b->file->links.n;
    work k = {.b = b, .w = calloc(files + 1, sizeof *k.w), .detour = calloc(actors, 1)};
    bool *linked = calloc(actors, 1);
    /* each host or sensor has two at most; each endpoint brings one context and gateway together, both ways */
    b->t->links = calloc(2 * actors + 2 * VMSIG_ENDPOINTS_MAX + files, sizeof *b->t->links);
    int err = k.w && k.detour && linked && b->t->links ? make_links(&k, linked) : vmsig_topo_no_memory(b);
    free(k.w);
    free(k.detour);
    free(linked);
    return err;
}
