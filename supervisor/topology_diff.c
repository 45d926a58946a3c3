/* What is different between two topologies, and who must be restarted for it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/topology.h"

typedef struct work {
    const vmsig_topology *old, *now;
    vmsig_topo_change *list;
    size_t n;
} work;

const char *vmsig_topo_what_name(vmsig_topo_what what) {
    static const char *const names[] = {"added", "removed", "restarted", "changed"};
    return names[what];
}

static vmsig_topo_change *add(work *w, vmsig_topo_what what, uint32_t index, const char *name) {
    vmsig_topo_change *c = &w->list[w->n++];
    *c = (vmsig_topo_change){.what = what, .index = index};
    snprintf(c->name, sizeof c->name, "%s", name);
    return c;
}

static void because(vmsig_topo_change *c, const char *key) {
    size_t used = strlen(c->why);
    snprintf(c->why + used, sizeof c->why - used, "%s%s", used ? ", " : "", key);
}

/* ---- one actor ---------------------------------------------------------------------------------------------------- */

static bool text_differs(const char *a, const char *b) {
    return a && b ? strcmp(a, b) != 0 : a != b;
}

static bool argv_differs(char *const *a, char *const *b) {
    for (; *a && *b; a++, b++)
        if (strcmp(*a, *b) != 0)
            return true;
    return *a != *b; /* both NULL, or not */
}

static bool options_differ(const vmsig_topo_actor *a, const vmsig_topo_actor *b) {
    if (a->options_n != b->options_n)
        return true;
    for (size_t i = 0; i < a->options_n; i++)
        if (strcmp(a->options[i].key, b->options[i].key) != 0 || strcmp(a->options[i].value, b->options[i].value) != 0)
            return true;
    return false;
}

static bool policies_differ(const vmsig_topo_actor *a, const vmsig_topo_actor *b) {
    if (a->policies_n != b->policies_n)
        return true;
    for (size_t i = 0; i < a->policies_n; i++) {
        const vmsig_topo_policy *p = &a->policies[i], *q = &b->policies[i];
        if (p->source != q->source || p->dir != q->dir || p->prio != q->prio ||
            p->timing.min_gap_ns != q->timing.min_gap_ns || p->timing.coalesce_ns != q->timing.coalesce_ns ||
            p->timing.max_inflight != q->timing.max_inflight || p->timing.drop_policy != q->timing.drop_policy)
            return true;
    }
    return false;
}

static const vmsig_topo_endpoint *endpoint_of(const vmsig_topology *t, uint32_t id) {
    static const vmsig_topo_endpoint none = {.name = (char *)(uintptr_t) ""};
    for (size_t i = 0; i < t->endpoints_n; i++)
        if (t->endpoints[i].id == id)
            return &t->endpoints[i];
    return &none;
}

static bool endpoints_differ(const work *w, const vmsig_topo_actor *a, const vmsig_topo_actor *b) {
    if (a->endpoint_mask != b->endpoint_mask || a->endpoint != b->endpoint)
        return true;
    for (uint32_t i = 0; i < VMSIG_ENDPOINTS_MAX; i++)
        if (a->endpoint_mask >> i & 1 && strcmp(endpoint_of(w->old, i)->name, endpoint_of(w->now, i)->name) != 0)
            return true;
    return false;
}

/* Of a gateway's endpoints. */
static bool quiet_differs(const work *w, const vmsig_topo_actor *a) {
    for (uint32_t i = 0; a->kind == VMSIG_TOPO_GATEWAY && i < VMSIG_ENDPOINTS_MAX; i++)
        if (a->endpoint_mask >> i & 1 && endpoint_of(w->old, i)->quiet_ns != endpoint_of(w->now, i)->quiet_ns)
            return true;
    return false;
}

static bool unquiet_differs(const work *w, const vmsig_topo_actor *a) {
    uint32_t id = (uint32_t)a->endpoint;
    return a->kind == VMSIG_TOPO_HOST && endpoint_of(w->old, id)->unquiet_kill != endpoint_of(w->now, id)->unquiet_kill;
}

/* What a process is told at its start. */
static void compare_process(const work *w, const vmsig_topo_actor *a, const vmsig_topo_actor *b, vmsig_topo_change *c) {
    const struct {
        const char *key;
        bool differs;
    } keys[] = {
        {"exec", text_differs(a->exec, b->exec)},
        {"args", argv_differs(a->argv + 1, b->argv + 1)},
        {"poll", a->poll != b->poll},
        {"cpu", a->cpu != b->cpu},
        {"endpoints", endpoints_differ(w, a, b)},
        {"quiet", quiet_differs(w, b)},
        {"source", a->source != b->source},
        {"memctx", a->memctx != b->memctx},
        {"accepts", a->accepts != b->accepts},
        {"user", text_differs(a->user, b->user) || (!a->user && w->old->uid_base != w->now->uid_base)},
        {"socket", text_differs(a->socket, b->socket)},
        {"audit", text_differs(a->audit, b->audit)},
        {"state", a->state_bytes != b->state_bytes},
        {"options", options_differ(a, b)},
        {"policies", policies_differ(a, b)},
        {"grants file", (a->grants_text == NULL) != (b->grants_text == NULL)},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (keys[i].differs)
            because(c, keys[i].key);
}

/* What only the supervisor goes by. */
static void compare_care(const work *w, const vmsig_topo_actor *a, const vmsig_topo_actor *b, vmsig_topo_change *c) {
    if (unquiet_differs(w, b))
        because(c, "unquiet");
    if (a->restart != b->restart)
        because(c, "restart");
    if (a->restarts_max != b->restarts_max)
        because(c, "restarts");
    if (a->window_ns != b->window_ns)
        because(c, "window");
    if (a->ready_deadline_ns != b->ready_deadline_ns)
        because(c, "ready");
    if (a->stop_deadline_ns != b->stop_deadline_ns)
        because(c, "stop");
    if (text_differs(a->group, b->group) || a->strategy != b->strategy)
        because(c, "group");
    if (a->soft_ns != b->soft_ns)
        because(c, "soft");
    if (a->hard_ns != b->hard_ns)
        because(c, "hard");
}

bool vmsig_topo_grants_differ(const vmsig_topo_actor *a, const vmsig_topo_actor *b) {
    if (!a->grants_text || !b->grants_text)
        return a->grants_text != b->grants_text;
    return a->grants_len != b->grants_len || memcmp(a->grants_text, b->grants_text, a->grants_len) != 0;
}

static void compare_actor(work *w, uint32_t i) {
    const vmsig_topo_actor *a = &w->old->actors[i], *b = &w->now->actors[i];
    vmsig_topo_change *c = add(w, VMSIG_TOPO_RESTARTED, i, b->name);
    compare_process(w, a, b, c);
    if (!c->why[0])
        c->what = VMSIG_TOPO_CHANGED;
    if (vmsig_topo_grants_differ(a, b))
        because(c, "grants");
    compare_care(w, a, b, c);
    if (!c->why[0])
        w->n--;
}

static void compare_actors(work *w) {
    for (uint32_t i = 0; i < w->old->actors_n; i++)
        if (w->old->actors[i].kind && (i >= w->now->actors_n || !w->now->actors[i].kind))
            add(w, VMSIG_TOPO_REMOVED, i, w->old->actors[i].name);
    for (uint32_t i = 0; i < w->now->actors_n; i++) {
        if (!w->now->actors[i].kind)
            continue;
        if (i < w->old->actors_n && w->old->actors[i].kind)
            compare_actor(w, i);
        else
            add(w, VMSIG_TOPO_ADDED, i, w->now->actors[i].name);
    }
}

/* ---- links -------------------------------------------------------------------------------------------------------- */

static const vmsig_topo_link *link_by_id(const vmsig_topology *t, uint32_t id) {
    for (size_t i = 0; i < t->links_n; i++)
        if (t->links[i].id == id)
            return &t->links[i];
    return NULL;
}

static vmsig_topo_change *add_link(work *w, vmsig_topo_what what, const vmsig_topology *t, const vmsig_topo_link *l) {
    vmsig_topo_change *c = add(w, what, l->from, "");
    snprintf(c->name, sizeof c->name, "%s -> %s", t->actors[l->from].name, t->actors[l->to].name);
    c->link = true;
    return c;
}

/* A ring is of one size from its producer's start to its end. */
static void restart_producer(work *w, uint32_t from) {
    for (size_t i = 0; i < w->n; i++) {
        vmsig_topo_change *c = &w->list[i];
        if (c->link || c->index != from || c->what == VMSIG_TOPO_REMOVED)
            continue;
        if (c->what != VMSIG_TOPO_ADDED)
            c->what = VMSIG_TOPO_RESTARTED;
        because(c, "links");
        return;
    }
    because(add(w, VMSIG_TOPO_RESTARTED, from, w->now->actors[from].name), "links");
}

static void compare_links(work *w) {
    for (size_t i = 0; i < w->old->links_n; i++)
        if (!link_by_id(w->now, w->old->links[i].id))
            add_link(w, VMSIG_TOPO_REMOVED, w->old, &w->old->links[i]);
    for (size_t i = 0; i < w->now->links_n; i++) {
        const vmsig_topo_link *l = &w->now->links[i], *was = link_by_id(w->old, l->id);
        if (!was)
            add_link(w, VMSIG_TOPO_ADDED, w->now, l);
        else if (was->slots != l->slots || was->arena_bytes != l->arena_bytes) {
            because(add_link(w, VMSIG_TOPO_CHANGED, w->now, l), was->slots != l->slots ? "slots" : "arena");
            restart_producer(w, l->from);
        }
    }
}

static int actors_first(const void *a, const void *b) {
    const vmsig_topo_change *x = a, *y = b;
    return x->link != y->link ? (x->link ? 1 : -1) : x->what != y->what ? (int)x->what - (int)y->what : 0;
}

int vmsig_topology_diff(const vmsig_topology *old, const vmsig_topology *now, vmsig_topo_change **out, size_t *n) {
    work w = {.old = old, .now = now};
    w.list = calloc(2 * (old->actors_n + now->actors_n + old->links_n + now->links_n) + 1, sizeof *w.list);
    if (!w.list)
        return -ENOMEM;
    compare_actors(&w);
    compare_links(&w);
    qsort(w.list, w.n, sizeof *w.list, actors_first);
    *out = w.list;
    *n = w.n;
    return 0;
}
