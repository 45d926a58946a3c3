/* vmsig check: the topology file as `vmsig up` would read it, and what its keys mean. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "schema/grants.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/show.h"
#include "supervisor/cli/table.h"
#include "supervisor/topology.h"

static const char help[] =
    "usage: vmsig check [TOPOLOGY] [--json]\n"
    "       vmsig check --explain KEY\n\n"
    "Checks a topology file in full, with the grants files and programs that it names, and shows what follows from\n"
    "it: endpoints, actors in the order in which they start, links. Nothing is started. Without a file: the built-in\n"
    "topology.\n\n"
    "  --json         one JSON object, for programs\n"
    "  --explain KEY  what a key means: `poll`, or with its place, `actors.policies.drop`\n"
    "  --reference    all keys as Markdown: the reference in docs/topology.md\n\n"
    "examples:\n"
    "  vmsig check lab.yaml\n"
    "  vmsig check --explain min_gap\n\n"
    "exit codes: 0 ok, 2 something is wrong: one sentence says where and what, 64 usage\n";

static const char *const kinds[] = {"?", "context", "gateway", "host", "sensor", "actor"};
static const char *const restarts[] = {"permanent", "transient", "temporary"};
static const char *const directions[] = {"up", "down"};

static const char *endpoint_name(const vmsig_topology *t, int32_t id) {
    for (size_t i = 0; i < t->endpoints_n; i++)
        if ((int32_t)t->endpoints[i].id == id)
            return t->endpoints[i].name;
    return "";
}

/* ---- for people ------------------------------------------------------------------------------------------ */

static int show_endpoints(const vmsig_topology *t) {
    static const char *const headings[] = {">ID", "ENDPOINT", "HOST", "CONTEXT", "GATEWAY", NULL};
    vmsig_table *table = vmsig_table_new(headings);
    for (size_t i = 0; i < t->endpoints_n; i++) {
        const vmsig_topo_endpoint *e = &t->endpoints[i];
        vmsig_table_cell(table, "%u", e->id);
        vmsig_table_cell(table, "%s", e->name);
        vmsig_table_cell(table, "%s", e->host);
        vmsig_table_cell(table, "%s", t->actors[e->context].name);
        vmsig_table_cell(table, "%s", t->actors[e->gateway].name);
    }
    return vmsig_table_print(table, stdout);
}

static int show_actors(const vmsig_topology *t) {
    static const char *const headings[] = {">START",  "ACTOR",   "KIND",    "ENDPOINT",
                                           ">SOURCE", "RESTART", "PROGRAM", NULL};
    vmsig_table *table = vmsig_table_new(headings);
    for (size_t i = 0; i < t->actors_n; i++) {
        const vmsig_topo_actor *a = &t->actors[t->order[i]];
        vmsig_table_cell(table, "%zu", i + 1);
        vmsig_table_cell(table, "%s", a->name);
        vmsig_table_cell(table, "%s", kinds[a->kind]);
        vmsig_table_cell(table, "%s", endpoint_name(t, a->endpoint));
        if (a->source)
            vmsig_table_cell(table, "%u", a->source);
        else
            vmsig_table_cell(table, "%s", "");
        vmsig_table_cell(table, "%s", restarts[a->restart]);
        vmsig_table_cell(table, "%s", a->exec);
    }
    return vmsig_table_print(table, stdout);
}

static int show_links(const vmsig_topology *t) {
    static const char *const headings[] = {">LINK", "FROM", "TO", "DIR", ">SLOTS", ">ARENA", NULL};
    vmsig_table *table = vmsig_table_new(headings);
    for (size_t i = 0; i < t->links_n; i++) {
        const vmsig_topo_link *l = &t->links[i];
        vmsig_table_cell(table, "%u", l->id);
        vmsig_table_cell(table, "%s", t->actors[l->from].name);
        vmsig_table_cell(table, "%s", t->actors[l->to].name);
        vmsig_table_cell(table, "%s", directions[l->dir]);
        vmsig_table_cell(table, "%u", l->slots);
        vmsig_table_cell(table, "%lluK", (unsigned long long)l->arena_bytes >> 10);
    }
    return vmsig_table_print(table, stdout);
}

static int show(const vmsig_topology *t) {
    printf("%s: the topology %s is fine\n\n", t->file, t->name);
    int err = show_endpoints(t);
    if (err == 0)
        putchar('\n');
    err = err < 0 ? err : show_actors(t);
    if (err == 0)
        putchar('\n');
    return err < 0 ? err : show_links(t);
}

/* ---- for programs ------------------------------------------------------------------------------------------ */

static json_t *endpoint_json(const vmsig_topology *t, const vmsig_topo_endpoint *e) {
    return json_pack("{sI ss ss ss ss}", "id", (json_int_t)e->id, "name", e->name, "host", e->host, "context",
                     t->actors[e->context].name, "gateway", t->actors[e->gateway].name);
}

static json_t *actor_json(const vmsig_topology *t, const vmsig_topo_actor *a) {
    json_t *after = json_array(), *argv = json_array();
    for (size_t i = 0; i < a->after_n; i++)
        json_array_append_new(after, json_string(t->actors[a->after[i]].name));
    for (size_t i = 0; a->argv[i]; i++)
        json_array_append_new(argv, json_string(a->argv[i]));
    bool emits = a->kind == VMSIG_TOPO_SENSOR || a->kind == VMSIG_TOPO_ACTOR;
    return json_pack("{ss ss ss* so* sI ss so so ss*}", "name", a->name, "kind", kinds[a->kind], "endpoint",
                     a->endpoint < 0 ? NULL : endpoint_name(t, a->endpoint), "source",
                     emits && a->source ? json_integer(a->source) : NULL, "state", (json_int_t)a->state_bytes,
                     "restart", restarts[a->restart], "argv", argv, "after", after, "socket", a->socket);
}

static json_t *link_json(const vmsig_topology *t, const vmsig_topo_link *l) {
    return json_pack("{sI ss ss ss sI sI}", "id", (json_int_t)l->id, "from", t->actors[l->from].name, "to",
                     t->actors[l->to].name, "dir", directions[l->dir], "slots", (json_int_t)l->slots, "arena",
                     (json_int_t)l->arena_bytes);
}

static json_t *topology_json(const vmsig_topology *t) {
    json_t *endpoints = json_array(), *actors = json_array(), *links = json_array();
    for (size_t i = 0; i < t->endpoints_n; i++)
        json_array_append_new(endpoints, endpoint_json(t, &t->endpoints[i]));
    for (size_t i = 0; i < t->actors_n; i++)
        json_array_append_new(actors, actor_json(t, &t->actors[t->order[i]]));
    for (size_t i = 0; i < t->links_n; i++)
        json_array_append_new(links, link_json(t, &t->links[i]));
    return json_pack("{ss ss so so so}", "name", t->name, "file", t->file, "endpoints", endpoints, "actors", actors,
                     "links", links);
}

/* ---- the command --------------------------------------------------------------------------------------------- */

static int check(const char *path, bool json) {
    char programs[4096];
    vmsig_topology *t;
    vmsig_conf_error why;
    int err = vmsig_cli_program_dir(programs, sizeof programs);
    if (err < 0)
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "check", "cannot tell where this program lies: %s", strerror(-err));
    if (vmsig_topology_load(path, programs, &t, &why) < 0) {
        fprintf(stderr, "%s\n", why.text); /* begins with file:line:column, as editors and CI want it */
        return VMSIG_EXIT_TOPOLOGY;
    }
    err = json ? vmsig_show_json(topology_json(t)) : show(t);
    vmsig_topology_free(t);
    if (err == 0 && !vmsig_cli_flush())
        err = -EIO;
    return err < 0 ? vmsig_cli_fail(VMSIG_EXIT_FAILURE, "check", "%s", strerror(-err)) : VMSIG_EXIT_OK;
}

static int explain(const char *key) {
    int topology = vmsig_conf_explain(stdout, &vmsig_topology_table, key);
    int grants = vmsig_conf_explain(stdout, &vmsig_grants_table, key);
    if (topology < 0 && grants < 0)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "check", "no key is called %s (vmsig check --reference shows them all)",
                              key);
    return VMSIG_EXIT_OK;
}

static int reference(void) {
    printf("# Topology file\n\n");
    vmsig_conf_reference(stdout, &vmsig_topology_table);
    printf("# Grants file\n\n");
    vmsig_conf_reference(stdout, &vmsig_grants_table);
    return vmsig_cli_flush() ? VMSIG_EXIT_OK : vmsig_cli_fail(VMSIG_EXIT_FAILURE, "check", "cannot write it");
}

int vmsig_cmd_check(int argc, char **argv) {
    const char *key = NULL, *words[VMSIG_CLI_WORDS_MAX];
    bool json = false, all = false;
    int nwords, code;
    const vmsig_cli_opt opts[] = {{"json", VMSIG_CLI_YES, &json, 0},
                                  {"explain", VMSIG_CLI_TEXT, &key, 0},
                                  {"reference", VMSIG_CLI_YES, &all, 0},
                                  {0}};
    if (!vmsig_cli_parse(argc, argv, help, opts, words, &nwords, &code))
        return code;
    if (nwords > 1 || (nwords && (key || all)))
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "check", "%s is not expected (see vmsig check --help)",
                              words[nwords - 1]);
    return key ? explain(key) : all ? reference() : check(nwords ? words[0] : NULL, json);
}
