#include <stdlib.h>
#include <string.h>

#include "supervisor/cli/top.h"

static const Vmsig__Pb__StatusActor *same_actor(const Vmsig__Pb__Status *s, const Vmsig__Pb__StatusActor *a) {
    for (size_t i = 0; s && i < s->n_actors; i++)
        if (s->actors[i]->pid == a->pid && strcmp(s->actors[i]->name, a->name) == 0)
            return s->actors[i];
    return NULL;
}

static const Vmsig__Pb__StatusLink *same_link(const Vmsig__Pb__Status *s, const Vmsig__Pb__StatusLink *l) {
    for (size_t i = 0; s && i < s->n_links; i++)
        if (s->links[i]->id == l->id)
            return s->links[i];
    return NULL;
}

static double per_second(uint64_t then, uint64_t now, uint64_t span_ns) {
    return now > then && span_ns ? (double)(now - then) * 1e9 / (double)span_ns : 0;
}

static void add_link(vmsig_top_row *row, const Vmsig__Pb__StatusLink *l, double rate) {
    if (strcmp(l->from, row->actor->name) == 0) {
        row->out += rate;
        if (l->stalled_ms > row->stalled_ms)
            row->stalled_ms = l->stalled_ms;
    }
    if (strcmp(l->to, row->actor->name) == 0) {
        row->in += rate;
        row->waiting += l->fill;
        if (l->p99_ns > row->p99_ns)
            row->p99_ns = l->p99_ns;
    }
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const vmsig_top_row *)a)->actor->name, ((const vmsig_top_row *)b)->actor->name);
}

/* The larger first; what is equal by name, so that idle actors stay where they are. */
static int larger(double x, double y, const void *a, const void *b) {
    return x > y ? -1 : x < y ? 1 : by_name(a, b);
}

static int by_cpu(const void *a, const void *b) {
    return larger(((const vmsig_top_row *)a)->cpu, ((const vmsig_top_row *)b)->cpu, a, b);
}

static int by_events(const void *a, const void *b) {
    const vmsig_top_row *x = a, *y = b;
    return larger(x->in + x->out, y->in + y->out, a, b);
}

void vmsig_top_rates(const Vmsig__Pb__Status *then, const Vmsig__Pb__Status *now, uint64_t span_ns,
                     vmsig_top_order order, vmsig_top_row *rows) {
    static int (*const orders[])(const void *, const void *) = {by_cpu, by_events, by_name};
    for (size_t i = 0; i < now->n_actors; i++) {
        const Vmsig__Pb__StatusActor *a = now->actors[i], *was = same_actor(then, a);
        rows[i] = (vmsig_top_row){.actor = a};
        if (!was)
            continue;
        rows[i].cpu = per_second(was->cpu_us, a->cpu_us, span_ns) / 1e6;
        rows[i].wakeups = per_second(was->wakeups, a->wakeups, span_ns);
    }
    for (size_t k = 0; k < now->n_links; k++) {
        const Vmsig__Pb__StatusLink *l = now->links[k], *was = same_link(then, l);
        double rate = was ? per_second(was->events, l->events, span_ns) : 0;
        for (size_t i = 0; i < now->n_actors; i++)
            add_link(&rows[i], l, rate);
    }
    if (now->n_actors)
        qsort(rows, now->n_actors, sizeof *rows, orders[order]);
}
