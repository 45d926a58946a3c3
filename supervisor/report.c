/* What a crash leaves to be read: how it ended, when it last worked, how full its links were, what it handled last. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "rings/atomics.h"
#include "rings/ring_view.h"
#include "rings/shm.h"
#include "schema/codec.h"
#include "supervisor/supervisor.h"

#define LAST_EVENTS 4u /* of each input */

typedef struct text {
    char *at;
    size_t left;
} text;

static void put(text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(text *t, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->at, t->left, fmt, ap);
    va_end(ap);
    size_t used = n < 0 ? 0 : (size_t)n < t->left ? (size_t)n : t->left - 1;
    t->at += used;
    t->left -= used;
}

/* The events below the cursor whose slots were not used again. */
static void last_events(text *t, const vmsig_sup_link *l, uint64_t cursor) {
    vmsig_ring_view v;
    if (l->chained == 0 || vmsig_ring_view_open(&v, l->chain[0].fd))
        return;
    uint64_t from = cursor > v.base + LAST_EVENTS ? cursor - LAST_EVENTS : v.base;
    for (uint64_t q = from; q < cursor; q++) {
        const vmsig_slot *at = vmsig_ring_view_slot(&v, q);
        vmsig_slot s = vmsig_slot_load_form(at);
        if (vmsig_load64(&at->turn) == q + 1) /* a head, and still the same */
            put(t, "    %llu: %s of source %s, endpoint %u\n", (unsigned long long)q, vmsig_kind_name(s.kind),
                vmsig_source_name(vmsig_slot_source(&s)), vmsig_slot_endpoint(&s));
    }
    vmsig_ring_view_close(&v);
}

static void put_link(text *t, const vmsig_sup_actor *a, const vmsig_sup_link *l) {
    const vmsig_sup *s = a->sup;
    bool output = l->topo->from == a->index;
    const vmsig_link_gauge *out = vmsig_sup_gauge(&s->actors[l->topo->from], l->topo->id, 1);
    uint64_t cursor = vmsig_sup_link_cursor(l), tail = out ? vmsig_load64(&out->position) : cursor;
    put(t, "  link %u %s %s: published up to %llu, taken up to %llu\n", l->topo->id, output ? "to" : "from",
        s->topo->actors[output ? l->topo->to : l->topo->from].name, (unsigned long long)tail,
        (unsigned long long)cursor);
    if (!output)
        last_events(t, l, cursor);
}

void vmsig_sup_report(vmsig_sup_actor *a, int status) {
    char how[64];
    text t = {a->report, sizeof a->report};
    uint64_t now = vmsig_now_ns(), stamp = a->gauges_map ? vmsig_load64(&a->gauges_map->stamp_ns) : 0;
    put(&t, "%s, incarnation %u, pid %d: %s%s%s\n", a->topo->name, a->incarnation, (int)a->pid,
        vmsig_end_text(status, how, sizeof how), a->why[0] ? ": " : "", a->why);
    if (a->ready_ns == 0)
        put(&t, "  it was not ready yet, %.3f s after its start\n", (double)(now - a->started_ns) / 1e9);
    else
        put(&t, "  it was ready for %.3f s\n", (double)(now - a->ready_ns) / 1e9);
    if (stamp > 0 && stamp < now)
        put(&t, "  it last worked %.3f s before its end was seen, in turn %llu\n", (double)(now - stamp) / 1e9,
            (unsigned long long)vmsig_load64(&a->gauges_map->turns));
    for (size_t i = 0; i < a->sup->topo->links_n; i++) {
        const vmsig_sup_link *l = &a->sup->links[i];
        if (l->topo->from == a->index || l->topo->to == a->index)
            put_link(&t, a, l);
    }
}
