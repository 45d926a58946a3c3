/* What supervisor.sock tells of all that runs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "rings/atomics.h"
#include "rings/numa.h"
#include "schema/frame.h"
#include "supervisor.pb-c.h"
#include "supervisor/client/answer.h"
#include "supervisor/supervisor.h"

#define RATE_SPAN_NS  (500 * VMSIG_SUP_MS) /* the shortest time that a rate is taken over */
#define PROTECTIONS_N 4u

/* The strings of one answer, freed with it. */
typedef struct answer {
    Vmsig__Pb__Status status;
    Vmsig__Pb__StatusActor *actors, **actor_list;
    Vmsig__Pb__StatusLink *links, **link_list;
    Vmsig__Pb__StatusEndpoint *endpoints, **endpoint_list;
    char (*remarks)[VMSIG_REMARK_MAX];
    Vmsig__Pb__StatusControl *controls, **control_list;
    Vmsig__Pb__StatusUpgrade upgrade;
    Vmsig__Pb__StatusProtection protections[PROTECTIONS_N], *protection_list[PROTECTIONS_N];
    char (*last_exits)[sizeof((vmsig_sup_actor *)0)->last_exit + VMSIG_SUP_TEXT + 2];
    char why[PROTECTIONS_N][160];
} answer;

static const char *const kinds[] = {
    [VMSIG_TOPO_CONTEXT] = "context", [VMSIG_TOPO_GATEWAY] = "gateway", [VMSIG_TOPO_HOST] = "host",
    [VMSIG_TOPO_SENSOR] = "sensor",   [VMSIG_TOPO_ACTOR] = "actor",
};

/* ---- actors ----------------------------------------------------------------------------------------------- */

static uint64_t cpu_us(pid_t pid) {
    clockid_t clock;
    struct timespec t;
    if (pid <= 0 || clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
        return 0;
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static uint64_t wakeups(pid_t pid) {
    char path[64], line[128];
    unsigned long long n = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = pid > 0 ? fopen(path, "re") : NULL;
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "voluntary_ctxt_switches: %llu", &n) == 1)
            break;
    if (f != NULL)
        fclose(f);
    return n;
}

static void fill_actor(const vmsig_sup_actor *a, Vmsig__Pb__StatusActor *o, char *last_exit, size_t len) {
    vmsig__pb__status_actor__init(o);
    o->name = a->topo->name;
    o->kind = (char *)kinds[a->topo->kind];
    o->state = (char *)vmsig_actor_state_name(a->state);
    o->has_pid = o->has_uid = o->has_incarnation = o->has_restarts = 1;
    o->pid = a->pid;
    o->uid = a->uid == UINT32_MAX ? (uint32_t)geteuid() : a->uid;
    o->incarnation = a->incarnation;
    o->restarts = a->restarts.total;
    o->program = a->topo->exec;
    o->has_uptime_ms = o->has_cpu_us = o->has_wakeups = a->pid > 0;
    if (a->pid > 0) {
        o->uptime_ms = (vmsig_now_ns() - a->started_ns) / VMSIG_SUP_MS;
        o->cpu_us = cpu_us(a->pid);
        o->wakeups = wakeups(a->pid);
    }
    if (a->place.at.automatic && a->place.pid == a->pid) {
        o->has_cpu = 1;
        o->cpu = a->place.cpu;
        o->placement = (char *)(uintptr_t)a->place.why;
    }
    if (a->last_exit[0]) {
        snprintf(last_exit, len, "%s%s%s", a->last_exit, a->last_why[0] ? ": " : "", a->last_why);
        o->last_exit = last_exit;
    }
}

/* ---- links ------------------------------------------------------------------------------------------------ */

/* Events per second since the rate was last taken; the first time, since the consumer was ready. */
static void take_rate(vmsig_sup_link *l, uint64_t ready_ns, uint64_t events) {
    uint64_t now = vmsig_now_ns(), from = l->sampled_ns ? l->sampled_ns : ready_ns;
    if (l->sampled_ns == 0)
        l->sampled_events = l->taken;
    if (now - from < RATE_SPAN_NS)
        return;
    l->rate = events < l->sampled_events ? 0 : (double)(events - l->sampled_events) * 1e9 / (double)(now - from);
    l->sampled_ns = now;
    l->sampled_events = events;
}

static bool is_stalled(const vmsig_sup *s, const vmsig_sup_link *l) {
    const vmsig_link_gauge *out = vmsig_sup_gauge(&s->actors[l->topo->from], l->topo->id, 1);
    return out != NULL && vmsig_load64(&out->stall_since_ns) != 0;
}

/* Whom a stalled link waits for in the end: its consumer, unless that waits for room itself. */
static const vmsig_sup_actor *stalled_by(const vmsig_sup *s, const vmsig_sup_link *l) {
    for (size_t hops = 0, i = 0; hops < s->topo->actors_n && i < s->topo->links_n; hops++) {
        for (i = 0; i < s->topo->links_n; i++)
            if (s->links[i].topo->from == l->topo->to && is_stalled(s, &s->links[i]))
                break;
        if (i < s->topo->links_n)
            l = &s->links[i];
    }
    return &s->actors[l->topo->to];
}

static void fill_link(vmsig_sup *s, vmsig_sup_link *l, Vmsig__Pb__StatusLink *o) {
    const vmsig_sup_actor *from = &s->actors[l->topo->from], *to = &s->actors[l->topo->to];
    const vmsig_link_gauge *out = vmsig_sup_gauge(from, l->topo->id, 1), *in = vmsig_sup_gauge(to, l->topo->id, 0);
    uint64_t cursor = vmsig_sup_link_cursor(l), tail = out ? vmsig_load64(&out->position) : cursor;
    uint64_t stalled = out ? vmsig_load64(&out->stall_since_ns) : 0, now = vmsig_now_ns();
    vmsig__pb__status_link__init(o);
    o->id = l->topo->id;
    o->from = from->topo->name;
    o->to = to->topo->name;
    o->slots = l->topo->slots;
    o->fill = tail > cursor ? tail - cursor : 0;
    o->events = l->taken + (in ? vmsig_load64(&in->events) : 0);
    take_rate(l, to->ready_ns ? to->ready_ns : now, o->events);
    o->rate = l->rate;
    o->has_p50_ns = o->has_p99_ns = in != NULL;
    o->p50_ns = in ? vmsig_hist_quantile(&in->latency, 0.5) : 0;
    o->p99_ns = in ? vmsig_hist_quantile(&in->latency, 0.99) : 0;
    o->has_generation = o->has_stalled_ms = 1;
    o->generation = l->chained ? l->chain[l->chained - 1].generation : 0;
    o->stalled_ms = stalled && stalled < now ? (now - stalled) / VMSIG_SUP_MS : 0;
    if (o->stalled_ms > 0)
        o->stalled_by = stalled_by(s, l)->topo->name;
}

/* ---- protections ------------------------------------------------------------------------------------------ */

static void protection(answer *b, unsigned i, const char *name, bool holds) {
    Vmsig__Pb__StatusProtection *p = &b->protections[i];
    vmsig__pb__status_protection__init(p);
    p->name = (char *)name;
    p->holds = holds;
    p->why = b->why[i];
    b->protection_list[i] = p;
}

static bool shared_uids(const vmsig_sup *s) {
    for (size_t i = 0; i < s->topo->actors_n; i++)
        for (size_t k = 0; k < i; k++)
            if (s->topo->actors[i].kind && s->topo->actors[k].kind && s->actors[i].uid == s->actors[k].uid)
                return true;
    return false;
}

/* What lies in the /proc folder of a process that is not dumpable belongs to root. */
static const vmsig_sup_actor *dumpable(const vmsig_sup *s) {
    for (size_t i = 0; i < s->topo->actors_n; i++) {
        const vmsig_sup_actor *a = &s->actors[i];
        char path[32];
        struct stat st;
        snprintf(path, sizeof path, "/proc/%d/environ", (int)a->pid);
        if (a->state == VMSIG_ACTOR_READY && stat(path, &st) == 0 && st.st_uid != 0)
            return a;
    }
    return NULL;
}

static const vmsig_topo_endpoint *unsealed_ram(const vmsig_sup *s) {
    for (size_t i = 0; i < s->topo->endpoints_n; i++) {
        int fd = s->ram[s->topo->endpoints[i].id].fd;
        if (fd >= 0 && !vmsig_sup_ram_sealed(fd))
            return &s->topo->endpoints[i];
    }
    return NULL;
}

static void fill_protections(const vmsig_sup *s, answer *b) {
    bool root = geteuid() == 0, shared = shared_uids(s);
    const vmsig_sup_actor *bare = dumpable(s);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int nodes = vmsig_numa_nodes();
    const vmsig_topo_endpoint *open_ram = unsealed_ram(s);
    if (open_ram)
        snprintf(b->why[0], sizeof b->why[0], "the RAM of %s, which is attached, is a file that its owner can write",
                 open_ram->name);
    else
        snprintf(b->why[0], sizeof b->why[0], "each shared memfd has one writer and is sealed before another sees it");
    protection(b, 0, "sealed memory", !open_ram);
    if (!root)
        snprintf(b->why[1], sizeof b->why[1], "all run as uid %u: contained against accident, not malice",
                 (unsigned)geteuid());
    else
        snprintf(b->why[1], sizeof b->why[1], "%s",
                 shared ? "some share a uid, by `user:`: contained against accident, not malice"
                        : "each actor runs as a uid of its own");
    protection(b, 1, "own uids", root && !shared);
    snprintf(b->why[2], sizeof b->why[2], "%s%s", bare ? bare->topo->name : "no actor",
             bare ? " can be traced by its own user" : " can be traced by its own user, nor leaves a core file");
    protection(b, 2, "not dumpable", bare == NULL);
    snprintf(b->why[3], sizeof b->why[3], "%ld core%s, %d memory node%s%s", cores, cores == 1 ? "" : "s", nodes,
             nodes == 1 ? "" : "s", nodes > 1 ? ": what a pinned actor reads lies near it" : ": nothing to place");
    protection(b, 3, "near memory", true);
    b->status.protections = b->protection_list;
    b->status.n_protections = PROTECTIONS_N;
}

/* ---- the whole -------------------------------------------------------------------------------------------- */

static char *state_name(const vmsig_sup *s) {
    static char names[][9] = {"starting", "running", "stopping", "failed"};
    return s->failed ? names[3] : names[s->phase];
}

static void free_answer(answer *b) {
    free(b->actors);
    free(b->actor_list);
    free(b->last_exits);
    free(b->links);
    free(b->link_list);
    free(b->endpoints);
    free(b->endpoint_list);
    free(b->remarks);
    free(b->controls);
    free(b->control_list);
    free(b);
}

static answer *new_answer(const vmsig_topology *t) {
    answer *b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    b->actors = calloc(t->actors_n + 1, sizeof *b->actors);
    b->actor_list = calloc(t->actors_n + 1, sizeof(void *));
    b->last_exits = calloc(t->actors_n + 1, sizeof *b->last_exits);
    b->links = calloc(t->links_n + 1, sizeof *b->links);
    b->link_list = calloc(t->links_n + 1, sizeof(void *));
    b->endpoints = calloc(t->endpoints_n + 1, sizeof *b->endpoints);
    b->endpoint_list = calloc(t->endpoints_n + 1, sizeof(void *));
    b->remarks = calloc(t->endpoints_n + 1, sizeof *b->remarks);
    b->controls = calloc(t->actors_n + 1, sizeof *b->controls);
    b->control_list = calloc(t->actors_n + 1, sizeof(void *));
    if (b->actors && b->actor_list && b->last_exits && b->links && b->link_list && b->endpoints && b->endpoint_list &&
        b->remarks && b->controls && b->control_list)
        return b;
    free_answer(b);
    return NULL;
}

static void fill_actors(vmsig_sup *s, answer *b) {
    Vmsig__Pb__Status *o = &b->status;
    o->actors = b->actor_list;
    o->controls = b->control_list;
    for (size_t i = 0; i < s->topo->actors_n; i++) {
        const vmsig_sup_actor *a = &s->actors[i];
        if (a->topo->kind == 0)
            continue;
        b->actor_list[o->n_actors] = &b->actors[o->n_actors];
        fill_actor(a, &b->actors[o->n_actors], b->last_exits[o->n_actors], sizeof b->last_exits[0]);
        o->n_actors++;
        if (s->gateway[a->index].listen < 0)
            continue;
        Vmsig__Pb__StatusControl *c = b->control_list[o->n_controls] = &b->controls[o->n_controls];
        vmsig__pb__status_control__init(c);
        c->gateway = a->topo->name;
        c->socket = a->topo->socket;
        c->audit = a->topo->audit;
        int error = a->gauges_map ? a->gauges_map->audit_error : 0;
        if (error < 0 && error > -4096) /* strerror's buffer would be shared */
            c->audit_error = (char *)strerrordesc_np(-error);
        o->n_controls++;
    }
}

/* From a page that the actor writes meanwhile: it goes to a terminal. */
static bool take_remark(const vmsig_sup_actor *a, char out[VMSIG_REMARK_MAX]) {
    if (a->gauges_map == NULL || a->state != VMSIG_ACTOR_READY)
        return false;
    memcpy(out, a->gauges_map->remark, VMSIG_REMARK_MAX - 1);
    out[VMSIG_REMARK_MAX - 1] = 0;
    vmsig_sup_printable(out);
    return out[0] != 0;
}

static void fill_rest(vmsig_sup *s, answer *b) {
    Vmsig__Pb__Status *o = &b->status;
    o->links = b->link_list;
    for (; o->n_links < s->topo->links_n; o->n_links++) {
        b->link_list[o->n_links] = &b->links[o->n_links];
        fill_link(s, &s->links[o->n_links], &b->links[o->n_links]);
    }
    o->endpoints = b->endpoint_list;
    for (; o->n_endpoints < s->topo->endpoints_n; o->n_endpoints++) {
        const vmsig_topo_endpoint *ep = &s->topo->endpoints[o->n_endpoints];
        const vmsig_sup_actor *host = &s->actors[ep->host_actor];
        Vmsig__Pb__StatusEndpoint *e = b->endpoint_list[o->n_endpoints] = &b->endpoints[o->n_endpoints];
        vmsig__pb__status_endpoint__init(e);
        e->id = ep->id;
        e->name = ep->name;
        e->host = ep->host;
        e->state = (char *)vmsig_actor_state_name(host->state);
        e->epoch = vmsig_sup_epoch(host);
        e->incarnation = host->incarnation;
        if (take_remark(host, b->remarks[o->n_endpoints]))
            e->remark = b->remarks[o->n_endpoints];
    }
}

static void fill_upgrade(vmsig_sup *s, answer *b) {
    vmsig_sup_upgrade *u = &s->upgrade;
    if (u->state == VMSIG_UPGRADE_NONE)
        return;
    vmsig__pb__status_upgrade__init(&b->upgrade);
    b->upgrade.id = u->id;
    b->upgrade.state = (char *)(uintptr_t)vmsig_sup_upgrade_state_name(u->state);
    b->upgrade.why = u->why[0] ? u->why : NULL;
    b->status.upgrade = &b->upgrade;
}

int vmsig_sup_send_status(vmsig_sup *s, int fd) {
    Vmsig__Pb__Response r = VMSIG__PB__RESPONSE__INIT;
    answer *b = new_answer(s->topo);
    if (b == NULL)
        return -ENOMEM;
    Vmsig__Pb__Status *o = &b->status;
    vmsig__pb__status__init(o);
    o->name = (char *)s->name;
    o->topology = s->topo->file;
    o->pid = getpid();
    o->lineage = s->lineage;
    o->uptime_ms = (vmsig_now_ns() - s->started_ns) / VMSIG_SUP_MS;
    o->state = state_name(s);
    o->has_changing = 1;
    o->changing = s->change.under_way;
    fill_actors(s, b);
    fill_rest(s, b);
    fill_protections(s, b);
    fill_upgrade(s, b);
    o->programs = (char *)(uintptr_t)s->program_dir;
    r.status = o;
    int rc = vmsig_answer_send(fd, &r);
    free_answer(b);
    return rc;
}
