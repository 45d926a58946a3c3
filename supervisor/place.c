/* Placing the actors with `cpu: auto`: rates from the gauges, once a second; the decision is placement.c's. Without such
 * an actor nobody looks. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "rings/atomics.h"
#include "supervisor/supervisor.h"

#define LOOK_NS (1000 * VMSIG_SUP_MS)

/* ---- what is so -------------------------------------------------------------------------------------------- */

static size_t usable_cpus(int cpus[CPU_SETSIZE]) {
    cpu_set_t set;
    size_t n = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 0;
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET((size_t)i, &set))
            cpus[n++] = i;
    return n;
}

/* Events that an actor took, or gave, whichever is more. */
static uint64_t events_of(const vmsig_sup_actor *a) {
    uint64_t in = 0, out = 0;
    for (size_t i = 0; i < a->sup->topo->links_n; i++) {
        const vmsig_topo_link *l = a->sup->links[i].topo;
        const vmsig_link_gauge *g =
            l->from == a->index || l->to == a->index ? vmsig_sup_gauge(a, l->id, l->from == a->index) : NULL;
        if (g != NULL)
            *(l->to == a->index ? &in : &out) += vmsig_load64(&g->events);
    }
    return in > out ? in : out;
}

static void take_rate(vmsig_sup_actor *a, uint64_t now) {
    vmsig_sup_place *p = &a->place;
    uint64_t events = events_of(a);
    bool same = p->sampled_ns != 0 && p->pid == a->pid && events >= p->events && now > p->sampled_ns;
    p->at.rate = same ? (double)(events - p->events) * 1e9 / (double)(now - p->sampled_ns) : 0;
    p->events = events;
    p->sampled_ns = now;
}

/* Who is linked bears the same number. */
static void find_chains(vmsig_sup *s) {
    for (size_t i = 0; i < s->topo->actors_n; i++)
        s->actors[i].place.at.chain = (uint32_t)i;
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < s->topo->links_n; i++) {
            uint32_t *a = &s->actors[s->links[i].topo->from].place.at.chain;
            uint32_t *b = &s->actors[s->links[i].topo->to].place.at.chain;
            changed = changed || *a != *b;
            *a = *b = *a < *b ? *a : *b;
        }
    }
}

/* ---- what is done ------------------------------------------------------------------------------------------ */

static void apply(vmsig_sup_actor *a) {
    vmsig_sup_place *p = &a->place;
    cpu_set_t set;
    if (a->state != VMSIG_ACTOR_READY || !p->at.placed || (p->pid == a->pid && p->cpu == p->at.cpu))
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)p->at.cpu, &set);
    if (sched_setaffinity(a->pid, sizeof set, &set) == 0)
        vmsig_sup_say_of(a, "runs on CPU %d from now on: %s", p->at.cpu, p->why);
    else if (errno != ESRCH) /* its end is on its way */
        vmsig_sup_say_of(a, "cannot run on CPU %d: %s; it runs where it was", p->at.cpu, strerror(errno));
    p->pid = a->pid;
    p->cpu = p->at.cpu;
}

static void plan(vmsig_sup *s, const int *cpus, size_t cpus_n) {
    size_t n = s->topo->actors_n;
    vmsig_place *all = calloc(n, sizeof *all);
    for (size_t i = 0; all != NULL && i < n; i++)
        all[i] = s->actors[i].place.at;
    if (all != NULL)
        vmsig_placement_plan(all, n, cpus, cpus_n);
    for (size_t i = 0; all != NULL && i < n; i++) {
        vmsig_sup_place *p = &s->actors[i].place;
        p->at = all[i];
        if (!p->at.automatic)
            continue;
        vmsig_placement_why(all, n, i, cpus_n, p->why, sizeof p->why);
        apply(&s->actors[i]);
    }
    free(all);
}

static bool any_automatic(const vmsig_sup *s) {
    for (size_t i = 0; i < s->topo->actors_n; i++)
        if (s->topo->actors[i].kind != 0 && s->topo->actors[i].cpu == VMSIG_TOPO_CPU_AUTO)
            return true;
    return false;
}

void vmsig_sup_place_start(vmsig_sup *s) {
    vmsig_timer_set(s->place, any_automatic(s) ? vmsig_now_ns() + LOOK_NS : 0, 0);
}

void vmsig_sup_on_place(void *ud) {
    vmsig_sup *s = ud;
    int cpus[CPU_SETSIZE];
    size_t cpus_n = usable_cpus(cpus);
    uint64_t now = vmsig_now_ns();
    find_chains(s);
    for (size_t i = 0; i < s->topo->actors_n; i++) {
        vmsig_place *p = &s->actors[i].place.at;
        p->automatic = s->topo->actors[i].kind != 0 && s->topo->actors[i].cpu == VMSIG_TOPO_CPU_AUTO;
        p->pinned = s->topo->actors[i].cpu;
        p->placed = p->placed && p->automatic;
        take_rate(&s->actors[i], now);
    }
    if (cpus_n > 0)
        plan(s, cpus, cpus_n);
    vmsig_sup_place_start(s);
}
