#include "bench/live.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/codec.h"
#include "supervisor/cli/ask.h"
#include "supervisor/cli/cli.h"
#include "supervisor/topology.h"
#include "vmsig_client.h"

#define WAIT_MS  3000
#define ROUND_NS 1000000000u
#define STEP_MS  50

/* One source of one endpoint. */
typedef struct seen {
    uint32_t endpoint;
    uint8_t source;
    char name[2][64]; /* of its latency, of its rate */
    bench_hist hist;  /* ns, of this round */
    bench_series latency, rate;
} seen;

typedef struct live {
    const Vmsig__Pb__Status *status;
    seen **seen;
    unsigned n;
    uint64_t lost;
} live;

bool bench_live_named(const char *word) {
    const char *dot = strrchr(word, '.');
    return strchr(word, '/') != NULL || (dot != NULL && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0));
}

/* ---- who it is ------------------------------------------------------------------------------------------- */

static int name_of(const char *file, char name[32]) {
    char programs[4096];
    vmsig_topology *t;
    vmsig_conf_error error;
    if (vmsig_cli_program_dir(programs, sizeof programs) != 0)
        bench_fail("the folder of vmsig's programs is not to be found");
    if (vmsig_topology_load(file, programs, &t, &error) != 0) {
        fprintf(stderr, "%s\n", error.text);
        return VMSIG_EXIT_TOPOLOGY;
    }
    snprintf(name, 32, "%s", t->name);
    vmsig_topology_free(t);
    return VMSIG_EXIT_OK;
}

static Vmsig__Pb__Response *ask(const char *name) {
    char err[VMSIG_ASK_ERR_MAX];
    Vmsig__Pb__Response *r;
    if (vmsig_ask_status(name, WAIT_MS, &r, err) != 0)
        bench_fail("%s; start it with `vmsig up`", err);
    return r;
}

static const char *endpoint_name(const Vmsig__Pb__Status *s, uint32_t id) {
    for (size_t i = 0; i < s->n_endpoints; i++)
        if (s->endpoints[i]->id == id)
            return s->endpoints[i]->name;
    return "?";
}

/* ---- events ---------------------------------------------------------------------------------------------- */

static seen *source_of(live *l, const vmsig_event *ev) {
    for (unsigned i = 0; i < l->n; i++)
        if (l->seen[i]->endpoint == ev->endpoint && l->seen[i]->source == ev->source)
            return l->seen[i];
    seen **grown = realloc(l->seen, (l->n + 1) * sizeof *grown);
    seen *s = calloc(1, sizeof *s);
    if (grown == NULL || s == NULL)
        bench_fail("out of memory");
    const char *source = vmsig_source_name(ev->source);
    char number[16];
    snprintf(number, sizeof number, "sensor%u", ev->source);
    s->endpoint = ev->endpoint;
    s->source = ev->source;
    snprintf(s->name[0], sizeof s->name[0], "%s, %s: to a control", endpoint_name(l->status, ev->endpoint),
             source != NULL ? source : number);
    snprintf(s->name[1], sizeof s->name[1], "%s, %s: events", endpoint_name(l->status, ev->endpoint),
             source != NULL ? source : number);
    s->latency.name = s->name[0];
    s->rate.name = s->name[1];
    l->seen = grown;
    return l->seen[l->n++] = s;
}

static void on_event(void *user, const vmsig_event *ev) {
    live *l = user;
    vmsig_lost lost;
    if (ev->kind == VMSIG_EV_LOST && ev->inln_len >= sizeof lost) {
        memcpy(&lost, ev->inln, sizeof lost);
        l->lost += lost.count;
    }
    if ((ev->flags & VMSIG_EVF_SNAPSHOT) != 0 || ev->source == VMSIG_SRC_SEAM || ev->ts_ns == 0)
        return;
    uint64_t now = bench_now_ns();
    bench_hist_add(&source_of(l, ev)->hist, now > ev->ts_ns ? now - ev->ts_ns : 0);
}

static void round_of(live *l, vmsig_client *c) {
    uint64_t begin = bench_now_ns(), now;
    for (unsigned i = 0; i < l->n; i++)
        bench_hist_reset(&l->seen[i]->hist);
    while ((now = bench_now_ns()) - begin < ROUND_NS)
        if (vmsig_client_step(c, STEP_MS) < 0)
            bench_fail("%s", vmsig_client_error(c));
    for (unsigned i = 0; i < l->n; i++) {
        seen *s = l->seen[i];
        bench_add_value(&s->rate, BENCH_RATE, (double)s->hist.count * 1e9 / (double)(now - begin));
        if (s->hist.count > 0)
            bench_add_latency_ns(&s->latency, &s->hist, 1);
    }
}

/* ---- gauges ---------------------------------------------------------------------------------------------- */

static void tell(const bench_options *o, const char *name, bench_unit unit, double value) {
    bench_series s = {.name = name};
    bench_add_value(&s, unit, value);
    bench_report(o, &s, NULL, 0);
}

static void tell_links(const bench_options *o, const Vmsig__Pb__Status *was, const Vmsig__Pb__Status *is, double ns) {
    char name[80];
    for (size_t i = 0; i < is->n_links; i++)
        for (size_t k = 0; k < was->n_links; k++) {
            const Vmsig__Pb__StatusLink *a = was->links[k], *b = is->links[i];
            if (a->id != b->id || b->events <= a->events)
                continue;
            snprintf(name, sizeof name, "link %.24s to %.24s", b->from, b->to);
            tell(o, name, BENCH_RATE, (double)(b->events - a->events) * 1e9 / ns);
        }
}

/* Processor time for each event that came in or went out, whichever is more. */
static void tell_actors(const bench_options *o, const Vmsig__Pb__Status *was, const Vmsig__Pb__Status *is) {
    char name[80];
    for (size_t i = 0; i < is->n_actors; i++)
        for (size_t k = 0; k < was->n_actors; k++) {
            const Vmsig__Pb__StatusActor *a = was->actors[k], *b = is->actors[i];
            uint64_t in = 0, out = 0;
            if (strcmp(a->name, b->name) != 0 || a->pid != b->pid || b->cpu_us <= a->cpu_us)
                continue;
            for (size_t l = 0; l < is->n_links; l++)
                for (size_t m = 0; m < was->n_links; m++)
                    if (is->links[l]->id == was->links[m]->id && is->links[l]->events > was->links[m]->events) {
                        uint64_t n = is->links[l]->events - was->links[m]->events;
                        in += strcmp(is->links[l]->to, b->name) == 0 ? n : 0;
                        out += strcmp(is->links[l]->from, b->name) == 0 ? n : 0;
                    }
            uint64_t events = in > out ? in : out;
            if (events == 0)
                continue;
            snprintf(name, sizeof name, "%.31s: processor time", b->name);
            tell(o, name, BENCH_COST, (double)(b->cpu_us - a->cpu_us) * 1e3 / (double)events);
        }
}

/* ---- all of it ------------------------------------------------------------------------------------------- */

static void report(const bench_options *o, const live *l) {
    bench_report_title(o, "a topology that runs: from the moment that an event bears to a control");
    for (unsigned i = 0; i < l->n; i++)
        bench_report(o, &l->seen[i]->latency, NULL, 0);
    for (unsigned i = 0; i < l->n; i++)
        bench_report(o, &l->seen[i]->rate, NULL, 0);
    if (l->n == 0)
        bench_note(o, "no event came in %u s", o->rounds);
    if (l->lost > 0)
        bench_note(o, "%llu events were lost on the way, and told as lost", (unsigned long long)l->lost);
}

int bench_live(const bench_options *o, const char *file) {
    char name[32], err[256] = "";
    live l = {0};
    int code = name_of(file, name);
    if (code != VMSIG_EXIT_OK)
        return code;
    o->book->family = "live";
    Vmsig__Pb__Response *was = ask(name);
    uint64_t begin = bench_now_ns();
    l.status = was->status;
    const vmsig_client_cfg cfg = {.name = "vmsig-bench", .user = &l, .on_event = on_event};
    vmsig_client *c = vmsig_client_open(name, &cfg, WAIT_MS, err, sizeof err);
    if (c == NULL)
        bench_fail("%s: %s", name, err);
    for (unsigned i = 0; i < o->rounds; i++) {
        bench_progress(o, i);
        round_of(&l, c);
    }
    Vmsig__Pb__Response *is = ask(name);
    double ns = (double)(bench_now_ns() - begin);
    vmsig_client_close(c);
    report(o, &l);
    tell_links(o, was->status, is->status, ns);
    tell_actors(o, was->status, is->status);
    vmsig_ask_free(was);
    vmsig_ask_free(is);
    for (unsigned i = 0; i < l.n; i++)
        free(l.seen[i]);
    free(l.seen);
    return VMSIG_EXIT_OK;
}
