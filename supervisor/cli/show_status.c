#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "supervisor/cli/cli.h"
#include "supervisor/cli/show.h"
#include "supervisor/cli/table.h"

int vmsig_show_json(json_t *o) {
    if (!o)
        return -ENOMEM;
    int bad = json_dumpf(o, stdout, JSON_COMPACT);
    json_decref(o);
    if (!bad)
        putchar('\n');
    return bad || !vmsig_cli_flush() ? -EPIPE : 0;
}

/* ---- text ------------------------------------------------------------------------------------------------ */

static int actors(const Vmsig__Pb__Status *s) {
    static const char *const heads[] = {"ACTOR",     "KIND",    ">PID",      ">UID", "STATE",
                                        ">RESTARTS", ">UPTIME", "LAST EXIT", NULL};
    vmsig_table *t = vmsig_table_new(heads);
    for (size_t i = 0; i < s->n_actors; i++) {
        const Vmsig__Pb__StatusActor *a = s->actors[i];
        vmsig_table_cell(t, "%s", a->name);
        vmsig_table_cell(t, "%s", a->kind);
        if (a->pid > 0)
            vmsig_table_cell(t, "%d", a->pid);
        else
            vmsig_table_cell(t, "%s", "");
        vmsig_table_cell(t, "%u", a->uid);
        vmsig_table_cell(t, "%s", a->state);
        vmsig_table_cell(t, "%u", a->restarts);
        if (a->pid > 0)
            vmsig_table_span(t, a->uptime_ms);
        else
            vmsig_table_cell(t, "%s", "");
        vmsig_table_cell(t, "%s", a->last_exit ? a->last_exit : "");
    }
    return vmsig_table_print(t, stdout);
}

/* Those with `cpu: auto`. */
static int placements(const Vmsig__Pb__Status *s) {
    static const char *const heads[] = {"ACTOR", ">CPU", "WHY", NULL};
    vmsig_table *t = vmsig_table_new(heads);
    for (size_t i = 0; i < s->n_actors; i++) {
        if (!s->actors[i]->placement)
            continue;
        vmsig_table_cell(t, "%s", s->actors[i]->name);
        vmsig_table_cell(t, "%d", s->actors[i]->cpu);
        vmsig_table_cell(t, "%s", s->actors[i]->placement);
    }
    return vmsig_table_print(t, stdout);
}

static size_t placed(const Vmsig__Pb__Status *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->n_actors; i++)
        n += s->actors[i]->placement != NULL;
    return n;
}

static int links(const Vmsig__Pb__Status *s) {
    static const char *const heads[] = {">LINK",   "FROM", "TO",   ">FILL",   ">SLOTS", ">EVENTS",
                                        ">RATE/S", ">P50", ">P99", "STALLED", "BY",     NULL};
    vmsig_table *t = vmsig_table_new(heads);
    for (size_t i = 0; i < s->n_links; i++) {
        const Vmsig__Pb__StatusLink *l = s->links[i];
        vmsig_table_cell(t, "%u", l->id);
        vmsig_table_cell(t, "%s", l->from);
        vmsig_table_cell(t, "%s", l->to);
        vmsig_table_cell(t, "%" PRIu64, l->fill);
        vmsig_table_cell(t, "%u", l->slots);
        vmsig_table_cell(t, "%" PRIu64, l->events);
        vmsig_table_cell(t, "%.1f", l->rate);
        vmsig_table_latency(t, l->p50_ns);
        vmsig_table_latency(t, l->p99_ns);
        if (l->stalled_ms)
            vmsig_table_span(t, l->stalled_ms);
        else
            vmsig_table_cell(t, "%s", "");
        vmsig_table_cell(t, "%s", l->stalled_by ? l->stalled_by : "");
    }
    return vmsig_table_print(t, stdout);
}

static int endpoints(const Vmsig__Pb__Status *s) {
    static const char *const heads[] = {">ID", "ENDPOINT", "HOST", "STATE", ">EPOCH", ">INCARNATION", NULL};
    vmsig_table *t = vmsig_table_new(heads);
    for (size_t i = 0; i < s->n_endpoints; i++) {
        const Vmsig__Pb__StatusEndpoint *e = s->endpoints[i];
        vmsig_table_cell(t, "%u", e->id);
        vmsig_table_cell(t, "%s", e->name);
        vmsig_table_cell(t, "%s", e->host);
        vmsig_table_cell(t, "%s", e->state);
        vmsig_table_cell(t, "%u", e->epoch);
        vmsig_table_cell(t, "%u", e->incarnation);
    }
    int err = vmsig_table_print(t, stdout);
    for (size_t i = 0; i < s->n_endpoints; i++)
        if (s->endpoints[i]->remark)
            printf("%s: %s\n", s->endpoints[i]->name, s->endpoints[i]->remark);
    return err;
}

static int protections(const Vmsig__Pb__Status *s) {
    static const char *const heads[] = {"PROTECTION", "HOLDS", "WHY", NULL};
    vmsig_table *t = vmsig_table_new(heads);
    for (size_t i = 0; i < s->n_protections; i++) {
        vmsig_table_cell(t, "%s", s->protections[i]->name);
        vmsig_table_cell(t, "%s", s->protections[i]->holds ? "yes" : "no");
        vmsig_table_cell(t, "%s", s->protections[i]->why);
    }
    return vmsig_table_print(t, stdout);
}

static void audit(const Vmsig__Pb__StatusControl *c) {
    if (c->audit && c->audit_error)
        printf("audit log %s is CLOSED (%s): %s answers input, power and memory-write with unavailable\n", c->audit,
               c->audit_error, c->gateway);
    else if (c->audit)
        printf("audit log %s\n", c->audit);
}

int vmsig_show_status(const Vmsig__Pb__Status *s) {
    static int (*const parts[])(const Vmsig__Pb__Status *) = {actors, placements, links, endpoints, protections};
    const size_t rows[] = {s->n_actors, placed(s), s->n_links, s->n_endpoints, s->n_protections};
    printf("%s: %s, supervisor %d, topology %s\n", s->name, s->state, s->pid, s->topology);
    if (s->upgrade)
        printf("last upgrade: %s%s%s\n", s->upgrade->state, s->upgrade->why ? ": " : "",
               s->upgrade->why ? s->upgrade->why : "");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (rows[i] == 0)
            continue;
        putchar('\n');
        int err = parts[i](s);
        if (err)
            return err;
    }
    if (s->n_controls)
        putchar('\n');
    for (size_t i = 0; i < s->n_controls; i++)
        printf("controls attach to %s at %s\n", s->controls[i]->gateway, s->controls[i]->socket);
    for (size_t i = 0; i < s->n_controls; i++)
        audit(s->controls[i]);
    return 0;
}

/* ---- JSON ------------------------------------------------------------------------------------------------ */

#define U(v) ((json_int_t)(v))

static json_t *actor_json(const Vmsig__Pb__StatusActor *a) {
    return json_pack("{s:s s:s s:s s:I s:I s:I s:I s:I s:s? s:I s:I s:s? s:I s:s?}", "name", a->name, "kind", a->kind,
                     "state", a->state, "pid", U(a->pid), "uid", U(a->uid), "incarnation", U(a->incarnation),
                     "restarts", U(a->restarts), "uptime_ms", U(a->uptime_ms), "last_exit", a->last_exit, "cpu_us",
                     U(a->cpu_us), "wakeups", U(a->wakeups), "program", a->program, "cpu", U(a->cpu), "placement",
                     a->placement);
}

static json_t *link_json(const Vmsig__Pb__StatusLink *l) {
    return json_pack("{s:I s:s s:s s:I s:I s:I s:f s:I s:I s:I s:I s:s?}", "id", U(l->id), "from", l->from, "to", l->to,
                     "slots", U(l->slots), "fill", U(l->fill), "events", U(l->events), "rate", l->rate, "p50_ns",
                     U(l->p50_ns), "p99_ns", U(l->p99_ns), "generation", U(l->generation), "stalled_ms",
                     U(l->stalled_ms), "stalled_by", l->stalled_by);
}

static json_t *endpoint_json(const Vmsig__Pb__StatusEndpoint *e) {
    return json_pack("{s:I s:s s:s s:s s:I s:I s:s?}", "id", U(e->id), "name", e->name, "host", e->host, "state",
                     e->state, "epoch", U(e->epoch), "incarnation", U(e->incarnation), "remark", e->remark);
}

static json_t *protection_json(const Vmsig__Pb__StatusProtection *p) {
    return json_pack("{s:s s:b s:s}", "name", p->name, "holds", p->holds, "why", p->why);
}

static json_t *control_json(const Vmsig__Pb__StatusControl *c) {
    return json_pack("{s:s s:s s:s? s:s?}", "gateway", c->gateway, "socket", c->socket, "audit", c->audit,
                     "audit_error", c->audit_error);
}

static json_t *upgrade_json(const Vmsig__Pb__StatusUpgrade *u) {
    char id[17];
    if (!u)
        return json_null();
    snprintf(id, sizeof id, "%016" PRIx64, u->id);
    return json_pack("{s:s s:s s:s?}", "id", id, "state", u->state, "why", u->why);
}

/* An array of what `one` makes of each item. */
#define ARRAY(o, key, n, items, one)                                                                                   \
    do {                                                                                                               \
        json_t *array = json_array();                                                                                  \
        for (size_t i = 0; i < (n); i++)                                                                               \
            failed |= json_array_append_new(array, one((items)[i]));                                                   \
        failed |= json_object_set_new(o, key, array);                                                                  \
    } while (0)

json_t *vmsig_status_json(const Vmsig__Pb__Status *s) {
    int failed = 0;
    char lineage[17]; /* 64 bits of chance: no number that JSON readers would keep */
    snprintf(lineage, sizeof lineage, "%016" PRIx64, s->lineage);
    json_t *o = json_pack("{s:s s:s s:I s:s s:I s:s}", "name", s->name, "topology", s->topology, "pid", U(s->pid),
                          "lineage", lineage, "uptime_ms", U(s->uptime_ms), "state", s->state);
    ARRAY(o, "actors", s->n_actors, s->actors, actor_json);
    ARRAY(o, "links", s->n_links, s->links, link_json);
    ARRAY(o, "endpoints", s->n_endpoints, s->endpoints, endpoint_json);
    ARRAY(o, "protections", s->n_protections, s->protections, protection_json);
    ARRAY(o, "controls", s->n_controls, s->controls, control_json);
    failed |= json_object_set_new(o, "programs", s->programs ? json_string(s->programs) : json_null());
    failed |= json_object_set_new(o, "upgrade", upgrade_json(s->upgrade));
    failed |= json_object_set_new(o, "changing", json_boolean(s->changing));
    if (!failed)
        return o;
    json_decref(o);
    return NULL;
}

/* ---- plans ----------------------------------------------------------------------------------------------- */

int vmsig_show_plan(const Vmsig__Pb__Plan *p) {
    if (p->n_changes == 0)
        puts("nothing to change");
    for (size_t i = 0; i < p->n_changes; i++) {
        const Vmsig__Pb__Change *c = p->changes[i];
        printf("%-9s %s %s%s%s%s\n", c->what, c->link ? "link " : "actor", c->name, c->why ? " (" : "",
               c->why ? c->why : "", c->why ? ")" : "");
    }
    return vmsig_cli_flush() ? 0 : -EPIPE;
}

static json_t *change_json(const Vmsig__Pb__Change *c) {
    return json_pack("{s:s s:s s:s s:s}", "what", c->what, "of", c->link ? "link" : "actor", "name", c->name, "why",
                     c->why ? c->why : "");
}

json_t *vmsig_plan_json(const Vmsig__Pb__Plan *p) {
    int failed = 0;
    json_t *o = json_pack("{s:b}", "made", p->made);
    ARRAY(o, "changes", p->n_changes, p->changes, change_json);
    if (!failed)
        return o;
    json_decref(o);
    return NULL;
}
