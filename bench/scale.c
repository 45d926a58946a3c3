/* How it grows: sensors, endpoints and controls by the hundred, each a process of its own (controls: 32 to a process and
 * a user), all of it at a total rate that stays the same. All sleep when there is nothing to do, so that processor time
 * is work and not looking on.
 *
 *   N sensors ──► one context ──► one gateway ──► M controls        over E endpoints, each with its own stub host
 *
 * Told for each size: how long until all are ready; processor time of the context for each event, and of the gateway
 * for each delivery; shared memory for each link,
 * with the pages of the actor at its end.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bed.h"
#include "supervisor/cli/ask.h"

#define PER_ENDPOINT 24u /* sources 8 to 31 */
#define PER_USER     32u /* controls that a gateway takes of one user */
#define USERS        8u
#define FIRST_USER   50000u
#define READY_MS     120000
#define LOOK_MS      3000 /* at the processor time */
#define ASK_MS       5000

typedef struct size {
    const char *name;
    unsigned endpoints, sensors, controls, rate;
} size;

static const size sizes[] = {
    {"1 sensor", 1, 1, 1, 4000},       {"100 sensors", 5, 100, 1, 4000}, {"1000 sensors", 42, 1000, 1, 4000},
    {"64 endpoints", 64, 64, 1, 4000}, {"1 control", 1, 1, 1, 200},      {"32 controls", 1, 1, 32, 200},
    {"256 controls", 1, 1, 256, 200},
};
#define SIZES (sizeof sizes / sizeof *sizes)

typedef struct measured {
    bench_series ready, context, gateway, memory;
    char names[4][64];
    size_t links; /* of this round */
    double bytes; /* of shared memory, likewise */
} measured;

/* ---- controls: some of a user's in one process -------------------------------------------------------------- */

typedef struct crowd {
    const char *socket;
    unsigned n;
    uid_t user; /* 0: as who runs the bench */
    int there;  /* a byte when all are in */
} crowd;

static void on_event(void *user, const vmsig_event *ev) {
    (void)user;
    (void)ev;
}

static void attend(void *arg) {
    const crowd *w = arg;
    vmsig_client *client[PER_USER];
    struct pollfd fds[PER_USER];
    char err[256] = "", byte = 1;
    const vmsig_client_cfg cfg = {.name = "crowd", .on_event = on_event};
    if (w->user != 0 && (setgid(w->user) != 0 || setuid(w->user) != 0))
        bench_fail("a control cannot run as another user: %s", strerror(errno));
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* which another user's process has lost */
    for (unsigned i = 0; i < w->n; i++) {
        client[i] = vmsig_client_open(w->socket, &cfg, 10000, err, sizeof err);
        if (client[i] == NULL)
            bench_fail("control %u: %s", i, err);
        fds[i] = (struct pollfd){.fd = vmsig_client_fd(client[i]), .events = POLLIN};
    }
    if (write(w->there, &byte, 1) != 1)
        bench_fail("nobody waits for the controls");
    while (poll(fds, w->n, 60000) > 0) /* until it is killed */
        for (unsigned i = 0; i < w->n; i++)
            if (fds[i].revents != 0)
                vmsig_client_step(client[i], 0);
}

typedef struct crowds {
    crowd c[USERS];
    pid_t pid[USERS];
    unsigned n;
    char socket[PATH_MAX];
} crowds;

/* One control is this process; the others come by users, as a gateway takes so many of each. */
static void invite(const bench_options *o, bench_bed *b, crowds *w, unsigned controls) {
    int there[2];
    char byte;
    bench_bed_path(b, "control.sock", w->socket, sizeof w->socket);
    w->n = 0;
    if (controls <= 1)
        return;
    if (pipe(there) != 0)
        bench_bed_fail(b, "no pipe");
    for (unsigned left = controls; left > 0; w->n++) {
        unsigned n = left < PER_USER ? left : PER_USER;
        w->c[w->n] = (crowd){w->socket, n, geteuid() == 0 ? FIRST_USER + w->n : 0, there[1]};
        w->pid[w->n] = bench_fork_on(o->cpu[1], attend, &w->c[w->n]);
        left -= n;
    }
    for (unsigned i = 0; i < w->n; i++)
        if (read(there[0], &byte, 1) != 1)
            bench_bed_fail(b, "the controls do not come");
    close(there[0]);
    close(there[1]);
}

/* ---- the topology ------------------------------------------------------------------------------------------ */

static void write_grants(bench_bed *b) {
    char path[PATH_MAX];
    bench_bed_path(b, "grants.yaml", path, sizeof path);
    FILE *f = fopen(path, "w");
    if (f == NULL)
        bench_bed_fail(b, "%s: %s", path, strerror(errno));
    fprintf(f, "grants:\n  - {uid: %u, endpoints: [all], caps: [observe]}\n", (unsigned)geteuid());
    for (unsigned i = 0; i < USERS; i++)
        fprintf(f, "  - {uid: %u, endpoints: [all], caps: [observe]}\n", FIRST_USER + i);
    if (fclose(f) != 0)
        bench_bed_fail(b, "%s: %s", path, strerror(errno));
}

static FILE *write_topology(bench_bed *b, const size *s) {
    write_grants(b);
    FILE *f = bench_bed_topology(b);
    fputs("endpoints:\n", f);
    for (unsigned e = 0; e < s->endpoints; e++)
        fprintf(f, "  - {name: e%u, id: %u, host: stub, poll: block, stub: {memory: 4M, hz: 0}}\n", e, e);
    fputs("actors:\n"
          "  - {name: context, kind: context, poll: block, ready: 120s}\n"
          "  - {name: gateway, kind: gateway, poll: block, ready: 120s, socket: control.sock, grants: grants.yaml}\n",
          f);
    for (unsigned i = 0; i < s->sensors; i++)
        fprintf(f,
                "  - {name: s%u, kind: sensor, poll: block, ready: 120s, endpoint: e%u, source: %u,\n"
                "     exec: vmsig-sensor-tick, args: [--hz, \"%u\"]}\n",
                i, i % s->endpoints, 8 + i / s->endpoints, s->rate / s->sensors > 0 ? s->rate / s->sensors : 1);
    return f;
}

static Vmsig__Pb__Response *ask(bench_bed *b) {
    char err[VMSIG_ASK_ERR_MAX];
    Vmsig__Pb__Response *r;
    if (vmsig_ask_status(b->name, ASK_MS, &r, err) != 0)
        bench_bed_fail(b, "%s", err);
    return r;
}

static bool is_up(const Vmsig__Pb__Status *s) {
    if (strcmp(s->state, "running") != 0)
        return false;
    for (size_t i = 0; i < s->n_actors; i++)
        if (strcmp(s->actors[i]->state, "ready") != 0)
            return false;
    return true;
}

static void wait_up(bench_bed *b) {
    uint64_t until = bench_now_ns() + READY_MS * 1000000ull;
    for (bool up = false; !up; usleep(100000)) {
        char err[VMSIG_ASK_ERR_MAX];
        Vmsig__Pb__Response *r;
        bench_bed_look(b);
        if (bench_now_ns() > until)
            bench_bed_fail(b, "it was not ready within %d s", READY_MS / 1000);
        if (vmsig_ask_status(b->name, ASK_MS, &r, err) != 0)
            continue; /* its supervisor is not there yet */
        up = is_up(r->status);
        vmsig_ask_free(r);
    }
}

/* ---- what it costs ----------------------------------------------------------------------------------------- */

/* Bytes of shared memory in use on this machine. */
static double shared_memory(void) {
    char line[128];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "Shmem: %llu kB", &kib) == 1)
            break;
    if (f != NULL)
        fclose(f);
    return (double)kib * 1024;
}

static uint64_t cpu_of(const Vmsig__Pb__Status *s, const char *actor) {
    for (size_t i = 0; i < s->n_actors; i++)
        if (strcmp(s->actors[i]->name, actor) == 0)
            return s->actors[i]->cpu_us;
    return 0;
}

static uint64_t events_to(const Vmsig__Pb__Status *s, const char *actor) {
    uint64_t n = 0;
    for (size_t i = 0; i < s->n_links; i++)
        if (strcmp(s->links[i]->to, actor) == 0)
            n += s->links[i]->events;
    return n;
}

static void cost(bench_series *s, const char *actor, const Vmsig__Pb__Status *was, const Vmsig__Pb__Status *is,
                 unsigned each) {
    uint64_t n = (events_to(is, actor) - events_to(was, actor)) * each;
    if (n > 0)
        bench_add_value(s, BENCH_COST, (double)(cpu_of(is, actor) - cpu_of(was, actor)) * 1e3 / (double)n);
}

static void look(const bench_options *o, bench_bed *b, const size *s, measured *m) {
    crowds w = {0};
    const vmsig_client_cfg cfg = {.name = "vmsig-bench", .on_event = on_event};
    if (s->controls <= 1)
        bench_bed_connect(b, &cfg);
    invite(o, b, &w, s->controls);
    Vmsig__Pb__Response *was = ask(b);
    uint64_t until = bench_now_ns() + LOOK_MS * 1000000ull * o->scale / 100;
    while (bench_now_ns() < until) {
        if (b->client != NULL)
            bench_bed_step(b, 50);
        else
            usleep(50000);
        bench_bed_look(b);
    }
    Vmsig__Pb__Response *is = ask(b);
    cost(&m->context, "context", was->status, is->status, 1);
    cost(&m->gateway, "gateway", was->status, is->status, s->controls);
    vmsig_ask_free(was);
    vmsig_ask_free(is);
    for (unsigned i = 0; i < w.n; i++) {
        kill(w.pid[i], SIGKILL);
        waitpid(w.pid[i], NULL, 0);
    }
    bench_bed_stop(b);
}

static void round_of(const bench_options *o, const size *s, measured *m, const measured *one) {
    bench_beds beds = {0};
    bench_bed b;
    double before = shared_memory();
    bench_bed_make(&b, "scale", &beds);
    FILE *topology = write_topology(&b, s);
    uint64_t begin = bench_now_ns();
    bench_bed_start(&b, topology);
    wait_up(&b);
    bench_add_value(&m->ready, BENCH_TIME, (double)(bench_now_ns() - begin));
    Vmsig__Pb__Response *r = ask(&b);
    m->links = r->status->n_links;
    m->bytes = shared_memory() - before - (double)s->endpoints * (4u << 20); /* less the VMs' RAM */
    if (m->links > one->links) /* what came with them: the state of a context and a gateway is there anyway */
        bench_add_value(&m->memory, BENCH_SIZE, (m->bytes - one->bytes) / (double)(m->links - one->links));
    vmsig_ask_free(r);
    look(o, &b, s, m);
}

static void name(measured *m, const size *s) {
    static const char *const what[] = {"all ready", "context, an event", "gateway, a delivery",
                                       "memory, a link and its actor"};
    bench_series *series[] = {&m->ready, &m->context, &m->gateway, &m->memory};
    for (unsigned i = 0; i < 4; i++) {
        snprintf(m->names[i], sizeof m->names[i], "%s: %s", s->name, what[i]);
        series[i]->name = m->names[i];
    }
}

void bench_scale(const bench_options *o) {
    static measured m[SIZES];
    for (size_t i = 0; i < SIZES; i++)
        name(&m[i], &sizes[i]);
    for (unsigned r = 0; r < o->rounds; r++)
        for (size_t i = 0; i < SIZES; i++) {
            bench_progress(o, r);
            if (sizes[i].controls > PER_USER && geteuid() != 0)
                continue; /* it takes other users */
            round_of(o, &sizes[i], &m[i], &m[0]);
        }
    bench_report_title(o, "processes by the hundred, at one rate in all; beside what one of them costs");
    for (size_t i = 0; i < SIZES; i++) {
        const measured *one = &m[sizes[i].rate == 200 ? 4 : 0];
        const unsigned has = i != 0 && i != 4;
        bench_report(o, &m[i].ready, NULL, 0);
        bench_report(o, &m[i].context, (const bench_series *[]){&one->context}, has);
        bench_report(o, &m[i].gateway, (const bench_series *[]){&one->gateway}, has);
        bench_report(o, &m[i].memory, NULL, 0);
    }
    if (geteuid() != 0)
        bench_note(o, "256 controls take eight users, and so root: left out");
}
