#include "supervisor/placement.h"

#include <stdio.h>

double vmsig_placement_rate(const vmsig_place *p, size_t n, uint32_t chain) {
    double most = 0;
    for (size_t i = 0; i < n; i++)
        if (p[i].chain == chain && p[i].rate > most)
            most = p[i].rate;
    return most;
}

/* What runs on a CPU as far as it is decided, in events per second. */
static double load_of(const vmsig_place *p, size_t n, int cpu) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        if (p[i].automatic ? p[i].placed && p[i].cpu == cpu : p[i].pinned == cpu)
            sum += p[i].rate + 1; /* also where nothing is measured, numbers are evened out */
    return sum;
}

static int least_loaded(const vmsig_place *p, size_t n, const int *cpus, size_t cpus_n) {
    int best = cpus[0];
    for (size_t i = 1; i < cpus_n; i++)
        if (load_of(p, n, cpus[i]) < load_of(p, n, best))
            best = cpus[i];
    return best;
}

static bool may_use(int cpu, const int *cpus, size_t cpus_n) {
    for (size_t i = 0; i < cpus_n; i++)
        if (cpus[i] == cpu)
            return true;
    return false;
}

static void forget(vmsig_place *p, size_t n, uint32_t chain) {
    for (size_t i = 0; i < n; i++)
        if (p[i].automatic && p[i].chain == chain)
            p[i].placed = false;
}

/* Where the chain is together: with one of it that is placed, or pinned; else where there is least. */
static int common_cpu(const vmsig_place *p, size_t n, uint32_t chain, const int *cpus, size_t cpus_n) {
    for (size_t i = 0; i < n; i++)
        if (p[i].chain == chain && p[i].automatic && p[i].placed)
            return p[i].cpu;
    for (size_t i = 0; i < n; i++)
        if (p[i].chain == chain && !p[i].automatic && p[i].pinned >= 0 && may_use(p[i].pinned, cpus, cpus_n))
            return p[i].pinned;
    return least_loaded(p, n, cpus, cpus_n);
}

/* The busiest of the chain that is not placed yet; n = none. */
static size_t busiest(const vmsig_place *p, size_t n, uint32_t chain) {
    size_t best = n;
    for (size_t i = 0; i < n; i++)
        if (p[i].chain == chain && p[i].automatic && !p[i].placed && (best == n || p[i].rate > p[best].rate))
            best = i;
    return best;
}

static void place_chain(vmsig_place *p, size_t n, uint32_t chain, bool spread, const int *cpus, size_t cpus_n) {
    for (size_t i; (i = busiest(p, n, chain)) < n;) {
        p[i].cpu = spread ? least_loaded(p, n, cpus, cpus_n) : common_cpu(p, n, chain, cpus, cpus_n);
        p[i].placed = true;
    }
}

/* The side that the chain is on from this look on. lead: the first of it that is automatic. */
static void decide(vmsig_place *p, size_t n, size_t lead, size_t cpus_n) {
    const uint32_t chain = p[lead].chain;
    double rate = vmsig_placement_rate(p, n, chain);
    bool spread = p[lead].spread;
    bool contrary = spread ? rate <= VMSIG_PLACE_JOIN || cpus_n < 2 : rate >= VMSIG_PLACE_SPREAD && cpus_n > 1;
    unsigned looks = contrary ? p[lead].contrary + 1 : 0;
    bool turn = looks >= VMSIG_PLACE_LOOKS || (contrary && cpus_n < 2);
    if (turn)
        forget(p, n, chain);
    for (size_t i = lead; i < n; i++)
        if (p[i].automatic && p[i].chain == chain) {
            p[i].spread = turn ? !spread : spread;
            p[i].contrary = turn ? 0 : looks;
        }
}

void vmsig_placement_plan(vmsig_place *p, size_t n, const int *cpus, size_t cpus_n) {
    for (size_t i = 0; i < n; i++)
        if (p[i].placed && !may_use(p[i].cpu, cpus, cpus_n))
            p[i].placed = false;
    for (size_t i = 0; i < n; i++) {
        bool lead = p[i].automatic;
        for (size_t k = 0; k < i && lead; k++)
            lead = !p[k].automatic || p[k].chain != p[i].chain;
        if (!lead)
            continue;
        decide(p, n, i, cpus_n);
        place_chain(p, n, p[i].chain, p[i].spread, cpus, cpus_n);
    }
}

void vmsig_placement_why(const vmsig_place *p, size_t n, size_t i, size_t cpus_n, char *buf, size_t len) {
    double rate = vmsig_placement_rate(p, n, p[i].chain);
    if (cpus_n < 2)
        snprintf(buf, len, "there is one CPU");
    else if (p[i].spread)
        snprintf(buf, len, "spread over CPUs, to look on: its chain has %.0f events/s; %.0f or less bring it together",
                 rate, VMSIG_PLACE_JOIN);
    else
        snprintf(buf, len, "together, where waking is cheap: its chain has %.0f events/s; %.0f or more spread it", rate,
                 VMSIG_PLACE_SPREAD);
}
