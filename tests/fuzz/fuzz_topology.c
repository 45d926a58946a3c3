/* Any text as a topology: refused with one sentence, or taken and then consistent. Programs are those of /bin. */
#include <stdlib.h>
#include <string.h>

#include "supervisor/topology.h"

#define MUST(x)                                                                                                        \
    do                                                                                                                 \
        if (!(x))                                                                                                      \
            abort();                                                                                                   \
    while (0)

static void check_links(const vmsig_topology *t) {
    for (size_t i = 0; i < t->links_n; i++) {
        const vmsig_topo_link *l = &t->links[i];
        MUST(l->id == i + 1 && l->from < t->actors_n && l->to < t->actors_n && l->from != l->to);
        MUST(l->dir <= VMSIG_DIR_DOWN && l->endpoint_mask != 0 && l->slots >= 8 && (l->slots & (l->slots - 1)) == 0);
        for (size_t j = 0; j < i; j++)
            MUST(l->from != t->links[j].from || l->to != t->links[j].to || l->dir != t->links[j].dir);
    }
}

/* Each actor stands in the order once, after all that it comes after. */
static void check_order(const vmsig_topology *t) {
    uint8_t *placed = calloc(t->actors_n, 1);
    for (size_t i = 0; i < t->actors_n; i++) {
        uint32_t a = t->order[i];
        MUST(a < t->actors_n && !placed[a]);
        for (size_t j = 0; j < t->actors[a].after_n; j++)
            MUST(placed[t->actors[a].after[j]]);
        placed[a] = 1;
    }
    free(placed);
}

static void check_actors(const vmsig_topology *t) {
    for (size_t i = 0; i < t->actors_n; i++) {
        const vmsig_topo_actor *a = &t->actors[i];
        MUST(a->exec[0] == '/' && strcmp(a->argv[0], a->exec) == 0 && a->endpoint_mask != 0);
        MUST((a->kind == VMSIG_TOPO_GATEWAY) == (a->socket != NULL));
        for (size_t j = 0; j < i; j++)
            MUST(strcmp(a->name, t->actors[j].name) != 0);
    }
    for (size_t i = 0; i < t->endpoints_n; i++) {
        const vmsig_topo_endpoint *e = &t->endpoints[i];
        MUST(e->id < VMSIG_ENDPOINTS_MAX && t->actors[e->host_actor].kind == VMSIG_TOPO_HOST);
        MUST(t->actors[e->context].kind == VMSIG_TOPO_CONTEXT && t->actors[e->gateway].kind == VMSIG_TOPO_GATEWAY);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    vmsig_topology *t;
    vmsig_conf_error why;
    if (vmsig_topology_parse("t.yaml", "/", (const char *)data, size, "/bin", &t, &why) < 0) {
        MUST(t == NULL && strlen(why.text) > 8 && strlen(why.text) < sizeof why.text && !strchr(why.text, '\n'));
        return 0;
    }
    check_actors(t);
    check_links(t);
    check_order(t);
    vmsig_topology_free(t);
    return 0;
}
