/* From what is written to endpoints and actors, each checked for itself. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "schema/codec.h"
#include "supervisor/topology_file.h"

#define CPU_MAX      1023u
#define HOST_ACCEPTS 0x1fu /* every command; LEASE is the gateway's fence */
#define STUB_QUIET   50000000u
#define VM_QUIET     1000000000u

/* ---- what endpoints' hosts and actors have in common ------------------------------------------------------------ */

static int copy(const vmsig_topo_build *b, const char *text, char **out) {
    *out = strdup(text);
    return *out ? 0 : vmsig_topo_no_memory(b);
}

static int make_argv(const vmsig_topo_build *b, const vmsig_conf_list *args, vmsig_topo_actor *a) {
    a->argv = calloc(args->n + 2, sizeof *a->argv);
    if (!a->argv)
        return vmsig_topo_no_memory(b);
    int err = copy(b, a->exec, &a->argv[0]);
    for (size_t i = 0; i < args->n && err == 0; i++)
        err = copy(b, args->items[i], &a->argv[i + 1]);
    return err;
}

static int add_option(const vmsig_topo_build *b, vmsig_topo_actor *a, const char *key, const char *value) {
    vmsig_topo_option *grown = reallocarray(a->options, a->options_n + 1, sizeof *grown);
    if (!grown)
        return vmsig_topo_no_memory(b);
    a->options = grown;
    grown[a->options_n] = (vmsig_topo_option){strdup(key), strdup(value)};
    a->options_n++;
    return grown[a->options_n - 1].key && grown[a->options_n - 1].value ? 0 : vmsig_topo_no_memory(b);
}

static int add_number(const vmsig_topo_build *b, vmsig_topo_actor *a, const char *key, uint64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return add_option(b, a, key, text);
}

static int check_user(const vmsig_topo_build *b, const vmsig_file_run *run) {
    struct passwd pw, *found = NULL;
    char buf[16384];
    if (b->runs || !run->user || (getpwnam_r(run->user, &pw, buf, sizeof buf, &found) == 0 && found))
        return 0;
    return vmsig_topo_fail(b, run->user_mark, "user: found \"%.64s\", expected a user of this machine", run->user);
}

static int make_group(const vmsig_topo_build *b, const vmsig_file_run *run, vmsig_topo_actor *a) {
    const vmsig_file_group *g = b->file->groups.items;
    for (size_t i = 0; run->group && i < b->file->groups.n; i++)
        if (strcmp(g[i].name, run->group) == 0) {
            a->strategy = (vmsig_topo_strategy)g[i].strategy;
            return copy(b, run->group, &a->group);
        }
    if (!run->group)
        return 0;
    return vmsig_topo_fail(b, run->group_mark, "group: found %s, expected the name of one of `groups:`", run->group);
}

static int make_cpu(const vmsig_topo_build *b, const vmsig_file_run *run, vmsig_topo_actor *a) {
    char *end = NULL;
    unsigned long n = run->cpu && isdigit((unsigned char)run->cpu[0]) ? strtoul(run->cpu, &end, 10) : CPU_MAX + 1;
    if (run->cpu && strcmp(run->cpu, "auto") == 0)
        a->cpu = VMSIG_TOPO_CPU_AUTO;
    else if (run->cpu && (n > CPU_MAX || *end != '\0'))
        return vmsig_topo_fail(b, run->cpu_mark,
                               "cpu: found \"%.64s\", expected a whole number from 0 to 1023, or auto", run->cpu);
    else if (run->cpu)
        a->cpu = (int)n;
    return 0;
}

/* key: what the program follows from where none is written. */
static int make_run(vmsig_topo_build *b, const vmsig_file_run *run, const char *key, const char *exec,
                    vmsig_conf_mark at, vmsig_topo_actor *a) {
    static const uint64_t state[] = {[VMSIG_TOPO_CONTEXT] = 8u << 20,
                                     [VMSIG_TOPO_GATEWAY] = 16u << 20,
                                     [VMSIG_TOPO_HOST] = 64u << 10,
                                     [VMSIG_TOPO_SENSOR] = 0,
                                     [VMSIG_TOPO_ACTOR] = 0};
    a->poll = run->poll;
    a->restart = (vmsig_topo_restart)run->restart;
    a->restarts_max = b->t->no_limits ? 0 : (uint32_t)run->restarts;
    a->window_ns = run->window;
    a->ready_deadline_ns = run->ready;
    a->stop_deadline_ns = run->stop;
    a->soft_ns = run->soft;
    a->hard_ns = run->hard;
    bool drives = a->accepts && a->endpoint >= 0; /* what it had under way, and what it holds down, outlives it */
    a->state_bytes = run->state_set ? run->state : state[drives ? VMSIG_TOPO_HOST : a->kind];
    int err = make_cpu(b, run, a);
    if (err == 0)
        err = check_user(b, run);
    if (err == 0 && run->user)
        err = copy(b, run->user, &a->user);
    if (err == 0)
        err = make_group(b, run, a);
    if (err == 0)
        err = run->exec ? vmsig_topo_program(b, "exec", run->exec, run->exec_mark, &a->exec)
                        : vmsig_topo_program(b, key, exec, at, &a->exec);
    if (err == 0)
        err = make_argv(b, &run->args, a);
    for (size_t i = 0; err == 0 && i < run->options.n; i += 2)
        err = add_option(b, a, run->options.items[i], run->options.items[i + 1]);
    return err;
}

static int unique_name(const vmsig_topo_build *b, const char *name, vmsig_conf_mark at) {
    int64_t other = vmsig_topo_find(b->t, name);
    if (other < 0)
        return 0;
    return vmsig_topo_fail(b, at, "name: found %s again, expected a name of its own (line %" PRIu32 " has it)", name,
                           b->t->actors[other].mark.line);
}

/* The next actor, named; it counts from here on, so that it is freed whatever happens. */
static int new_actor(vmsig_topo_build *b, const char *name, vmsig_topo_kind kind, vmsig_conf_mark at,
                     vmsig_topo_actor **out) {
    int err = unique_name(b, name, at);
    if (err < 0)
        return err;
    *out = &b->t->actors[b->t->actors_n++];
    **out = (vmsig_topo_actor){.kind = kind, .endpoint = -1, .cpu = -1, .mark = at};
    return copy(b, name, &(*out)->name);
}

/* ---- endpoints and their hosts ---------------------------------------------------------------------------------- */

static int unique_id(const vmsig_topo_build *b, const vmsig_file_endpoint *f) {
    for (size_t i = 0; i < b->t->endpoints_n; i++)
        if (b->t->endpoints[i].id == f->id)
            return vmsig_topo_fail(b, f->id_mark, "id: found %" PRIu64 " again, expected an id of its own (%s has it)",
                                   f->id, b->t->endpoints[i].name);
    return 0;
}

static int stub_options(const vmsig_topo_build *b, const vmsig_file_stub *f, vmsig_topo_actor *a) {
    if (f->memory % (2u << 20) != 0)
        return vmsig_topo_fail(b, f->memory_mark, "memory: found %" PRIu64 " bytes, expected a multiple of 2M",
                               f->memory);
    int err = add_number(b, a, "memory", f->memory);
    err = err < 0 ? err : add_option(b, a, "la57", f->la57 ? "true" : "false");
    err = err < 0 ? err : add_number(b, a, "hz", f->hz);
    return err < 0 ? err : add_number(b, a, "boot_ms", f->boot_ms);
}

/* A path, which counts from the file's folder; NULL = not written. */
static int add_path(const vmsig_topo_build *b, vmsig_topo_actor *a, const char *key, const char *path) {
    char *full = path ? vmsig_topo_path(b->t, path) : NULL;
    int err = !path ? 0 : full ? add_option(b, a, key, full) : vmsig_topo_no_memory(b);
    free(full);
    return err;
}

static int add_text(const vmsig_topo_build *b, vmsig_topo_actor *a, const char *key, const char *text) {
    return text ? add_option(b, a, key, text) : 0;
}

/* All others are what only a QEMU that is started here can be told. */
static int attach_options(const vmsig_topo_build *b, const vmsig_file_qemu *f, vmsig_topo_actor *a) {
    const struct {
        const char *key;
        vmsig_conf_mark at;
    } others[] = {{"memory", f->memory_mark},   {"accel", f->accel_mark},     {"program", f->program_mark},
                  {"machine", f->machine_mark}, {"cpu", f->cpu_mark},         {"kernel", f->kernel_mark},
                  {"append", f->append_mark},   {"initrd", f->initrd_mark},   {"disk", f->disk_mark},
                  {"console", f->console_mark}, {"display", f->display_mark}, {"args", f->args_mark}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (others[i].at.line)
            return vmsig_topo_fail(
                b, others[i].at, "%s: found it beside `attach`, expected none: that QEMU runs already", others[i].key);
    int err = add_path(b, a, "attach.qmp", f->attach.qmp);
    return err < 0 ? err : add_path(b, a, "attach.ram", f->attach.ram);
}

static int qemu_options(const vmsig_topo_build *b, const vmsig_file_qemu *f, vmsig_topo_actor *a) {
    if (f->attach_mark.line)
        return attach_options(b, f, a);
    if (f->memory % (1u << 20) != 0)
        return vmsig_topo_fail(b, f->memory_mark, "memory: found %" PRIu64 " bytes, expected a multiple of 1M",
                               f->memory);
    bool in_path = f->program && !strchr(f->program, '/');
    int err = add_number(b, a, "memory", f->memory);
    err = err < 0 ? err : add_option(b, a, "accel", vmsig_file_accel_name(f->accel));
    err = err < 0 ? err : in_path ? add_option(b, a, "program", f->program) : add_path(b, a, "program", f->program);
    err = err < 0 ? err : add_text(b, a, "machine", f->machine);
    err = err < 0 ? err : add_text(b, a, "cpu", f->cpu);
    err = err < 0 ? err : add_path(b, a, "kernel", f->kernel);
    err = err < 0 ? err : add_text(b, a, "append", f->append);
    err = err < 0 ? err : add_path(b, a, "initrd", f->initrd);
    err = err < 0 ? err : add_path(b, a, "disk", f->disk);
    err = err < 0 ? err : add_option(b, a, "console", f->console ? "true" : "false");
    err = err < 0 ? err : add_option(b, a, "display", vmsig_file_display_name(f->display));
    a->offers = f->console || f->display != 0;
    for (size_t i = 0; i < f->args.n && err == 0; i++) {
        char key[32];
        snprintf(key, sizeof key, "args.%zu", i);
        err = add_option(b, a, key, f->args.items[i]);
    }
    return err;
}

static int make_endpoint(vmsig_topo_build *b, const vmsig_file_endpoint *f) {
    char exec[32];
    vmsig_topo_actor *a;
    int err = unique_id(b, f);
    if (err == 0)
        err = new_actor(b, f->name, VMSIG_TOPO_HOST, f->name_mark, &a);
    if (err < 0)
        return err;
    vmsig_topo_endpoint *e = &b->t->endpoints[b->t->endpoints_n++];
    *e = (vmsig_topo_endpoint){.id = (uint32_t)f->id,
                               .host_actor = (uint32_t)(b->t->actors_n - 1),
                               .quiet_ns = f->quiet_set                                         ? f->quiet
                                           : strcmp(vmsig_file_host_name(f->host), "stub") == 0 ? STUB_QUIET
                                                                                                : VM_QUIET,
                               .unquiet_kill = f->unquiet != 0,
                               .mark = f->name_mark};
    a->endpoint = (int32_t)e->id;
    a->endpoint_mask = 1ull << e->id;
    a->source = VMSIG_SRC_VMHOST;
    a->accepts = HOST_ACCEPTS;
    err = copy(b, f->name, &e->name);
    err = err < 0 ? err : copy(b, vmsig_file_host_name(f->host), &e->host);
    if (err == 0)
        err = strcmp(e->host, "stub") == 0 ? stub_options(b, &f->stub, a) : qemu_options(b, &f->qemu, a);
    snprintf(exec, sizeof exec, "vmsig-host-%s", vmsig_file_host_name(f->host));
    return err < 0 ? err : make_run(b, &f->run, "host", exec, f->host_mark, a);
}

/* ---- which key belongs to which kind ------------------------------------------------------------------------------ */

#define K(kind)    (1u << VMSIG_TOPO_##kind)
#define MARK_OF(f) offsetof(vmsig_file_actor, f##_mark)

static int keys_of_kind(const vmsig_topo_build *b, const vmsig_file_actor *f) {
    static const struct {
        const char *key;
        size_t mark;
        unsigned kinds;
    } owned[] = {
        {"endpoint", MARK_OF(endpoint), K(SENSOR) | K(ACTOR)},
        {"source", MARK_OF(source), K(SENSOR) | K(ACTOR)},
        {"memctx", MARK_OF(memctx), K(SENSOR) | K(ACTOR)},
        {"accepts", MARK_OF(accepts), K(SENSOR) | K(ACTOR)},
        {"endpoints", MARK_OF(endpoints), K(CONTEXT) | K(GATEWAY) | K(ACTOR)},
        {"socket", MARK_OF(socket), K(GATEWAY)},
        {"grants", MARK_OF(grants), K(GATEWAY)},
        {"audit", MARK_OF(audit), K(GATEWAY)},
        {"retain", MARK_OF(retain), K(GATEWAY)},
        {"policies", MARK_OF(policies), K(CONTEXT)},
    };
    static const char *const names[] = {"", "context", "gateway", "", "sensor", "actor"};
    vmsig_topo_kind kind = vmsig_file_kind(f);
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
        const vmsig_conf_mark *m = (const void *)((const char *)f + owned[i].mark);
        if (m->line && !(owned[i].kinds & 1u << kind))
            return vmsig_topo_fail(b, *m, "%s: found it in a %s, expected it only in a %s", owned[i].key, names[kind],
                                   owned[i].kinds & K(GATEWAY)
                                       ? owned[i].kinds & K(CONTEXT) ? "context, gateway or actor" : "gateway"
                                   : owned[i].kinds & K(CONTEXT) ? "context"
                                                                 : "sensor or actor");
    }
    return 0;
}

/* ---- one kind each ---------------------------------------------------------------------------------------------------- */

static int unknown_endpoint(const vmsig_topo_build *b, vmsig_conf_mark at, const char *key, const char *name) {
    return vmsig_topo_fail(b, at, "%s: found \"%.64s\", expected the name of an endpoint", key, name);
}

static int endpoints_mask(const vmsig_topo_build *b, const vmsig_file_actor *f, uint64_t *mask) {
    for (size_t i = 0; i < f->endpoints.n; i++) {
        const vmsig_topo_endpoint *e = vmsig_topo_endpoint_find(b->t, f->endpoints.items[i]);
        if (!e)
            return unknown_endpoint(b, f->endpoints.marks[i], "endpoints", f->endpoints.items[i]);
        *mask |= 1ull << e->id;
    }
    for (size_t i = 0; !f->endpoints_mark.line && i < b->t->endpoints_n; i++)
        *mask |= 1ull << b->t->endpoints[i].id;
    return 0;
}

static int accepts_of(const vmsig_topo_build *b, const vmsig_file_actor *f, uint32_t *out) {
    for (size_t i = 0; i < f->accepts.n; i++) {
        int kind = vmsig_kind_by_name(f->accepts.items[i]);
        if (kind < VMSIG_CMD_INPUT || kind > VMSIG_CMD_MEMWRITE)
            return vmsig_topo_fail(b, f->accepts.marks[i],
                                   "accepts: found \"%.64s\", expected input, lifecycle, vm or memwrite",
                                   f->accepts.items[i]);
        *out |= 1u << (kind - VMSIG_CMD_INPUT);
    }
    return 0;
}

/* Each kind of command of an endpoint goes to one sensor; to its host where none takes it. */
static int unique_taker(const vmsig_topo_build *b, const vmsig_file_actor *f, const vmsig_topo_actor *a) {
    for (const vmsig_topo_actor *o = b->t->actors; o < a; o++) {
        uint32_t both = o->accepts & a->accepts;
        if (o->kind == VMSIG_TOPO_SENSOR && a->kind == VMSIG_TOPO_SENSOR && o->endpoint == a->endpoint && both)
            return vmsig_topo_fail(
                b, f->accepts_mark, "accepts: found %s again in endpoint %s, expected it once (%s takes it)",
                vmsig_kind_name((uint8_t)(VMSIG_CMD_INPUT + __builtin_ctz(both))), f->endpoint, o->name);
    }
    return 0;
}

static int unique_source(const vmsig_topo_build *b, const vmsig_file_actor *f, const vmsig_topo_actor *a) {
    for (const vmsig_topo_actor *o = b->t->actors; o < a; o++)
        if (o->endpoint == a->endpoint && o->source == a->source)
            return vmsig_topo_fail(b, f->source_mark,
                                   "source: found %" PRIu32
                                   " again in endpoint %s, expected one of its own (%s has it)",
                                   a->source, f->endpoint, o->name);
    return 0;
}

/* A sensor, and an actor as far as it emits like one. */
static int make_emitter(const vmsig_topo_build *b, const vmsig_file_actor *f, vmsig_topo_actor *a) {
    if (a->kind == VMSIG_TOPO_SENSOR && (!f->endpoint || !f->source_set))
        return vmsig_topo_fail(b, a->mark, "actors: found sensor %s without %s, expected one", a->name,
                               f->endpoint ? "a source" : "an endpoint");
    if (f->source_set && !f->endpoint)
        return vmsig_topo_fail(b, f->source_mark, "source: found one without an endpoint, expected both or none");
    a->memctx = f->memctx;
    a->source = (uint32_t)f->source;
    int err = accepts_of(b, f, &a->accepts);
    if (err == 0 && f->endpoint && f->endpoints_mark.line)
        return vmsig_topo_fail(b, f->endpoints_mark, "endpoints: found it beside endpoint, expected one of the two");
    if (err < 0 || !f->endpoint)
        return err < 0 ? err : endpoints_mask(b, f, &a->endpoint_mask);
    const vmsig_topo_endpoint *e = vmsig_topo_endpoint_find(b->t, f->endpoint);
    if (!e)
        return unknown_endpoint(b, f->endpoint_mark, "endpoint", f->endpoint);
    a->endpoint = (int32_t)e->id;
    a->endpoint_mask = 1ull << e->id;
    err = unique_taker(b, f, a);
    return err == 0 && f->source_set ? unique_source(b, f, a) : err;
}

static int make_policy(const vmsig_topo_build *b, const vmsig_file_policy *f, vmsig_topo_actor *a) {
    int source = vmsig_source_by_name(f->source);
    if (source < 0)
        return vmsig_topo_fail(b, f->source_mark,
                               "source: found \"%.64s\", expected 0 to 31, or seam, memctx, vmhost, input, memwrite",
                               f->source);
    for (size_t i = 0; i < a->policies_n; i++)
        if (a->policies[i].source == source && a->policies[i].dir == f->dir)
            return vmsig_topo_fail(b, f->source_mark,
                                   "source: found %s again in this direction, expected one policy for it", f->source);
    a->policies[a->policies_n++] = (vmsig_topo_policy){.source = (uint8_t)source,
                                                       .dir = (uint8_t)f->dir,
                                                       .prio = (uint8_t)f->prio,
                                                       .timing = {.min_gap_ns = (uint32_t)f->min_gap,
                                                                  .coalesce_ns = (uint32_t)f->coalesce,
                                                                  .max_inflight = (uint32_t)f->max_inflight,
                                                                  .drop_policy = (uint8_t)f->drop}};
    return 0;
}

static int make_context(const vmsig_topo_build *b, const vmsig_file_actor *f, vmsig_topo_actor *a) {
    a->policies = calloc(f->policies.n + 1, sizeof *a->policies);
    if (!a->policies)
        return vmsig_topo_no_memory(b);
    int err = endpoints_mask(b, f, &a->endpoint_mask);
    const vmsig_file_policy *p = f->policies.items;
    for (size_t i = 0; err == 0 && i < f->policies.n; i++)
        err = make_policy(b, &p[i], a);
    return err;
}

static int gateway_socket(const vmsig_topo_build *b, const vmsig_file_actor *f, vmsig_topo_actor *a) {
    const size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
    vmsig_conf_mark at = f->socket ? f->socket_mark : a->mark;
    char folder[PATH_MAX] = "";
    if (!f->socket && vmsig_run_dir(b->t->name, folder, sizeof folder) < 0)
        return vmsig_topo_fail(b, at, "socket: found a run directory with too long a path, expected at most %zu bytes",
                               max);
    if (f->socket)
        a->socket = vmsig_topo_path(b->t, f->socket);
    else if (asprintf(&a->socket, "%s/%s.sock", folder, a->name) < 0)
        a->socket = NULL;
    if (!a->socket)
        return vmsig_topo_no_memory(b);
    if (strlen(a->socket) > max)
        return vmsig_topo_fail(b, at, "socket: found the path %.200s of %zu bytes, expected at most %zu", a->socket,
                               strlen(a->socket), max);
    for (const vmsig_topo_actor *o = b->t->actors; o < a; o++)
        if (o->socket && strcmp(o->socket, a->socket) == 0)
            return vmsig_topo_fail(b, at, "socket: found the path of %s again, expected one of its own", o->name);
    return 0;
}

static int gateway_audit(const vmsig_topo_build *b, const vmsig_file_actor *f, vmsig_topo_actor *a) {
    if (!f->audit)
        return 0;
    a->audit = vmsig_topo_path(b->t, f->audit);
    if (!a->audit)
        return vmsig_topo_no_memory(b);
    for (const vmsig_topo_actor *o = b->t->actors; o < a; o++)
        if (o->audit && strcmp(o->audit, a->audit) == 0)
            return vmsig_topo_fail(b, f->audit_mark, "audit: found the file of %s again, expected one of its own",
                                   o->name);
    return 0;
}

static int make_gateway(const vmsig_topo_build *b, const vmsig_file_actor *f, vmsig_topo_actor *a) {
    int err = endpoints_mask(b, f, &a->endpoint_mask);
    if (err == 0)
        err = gateway_socket(b, f, a);
    if (err == 0 && f->retain_mark.line)
        err = add_number(b, a, "retain_ms", f->retain / 1000000u);
    if (err == 0 && f->grants && !(a->grants = vmsig_topo_path(b->t, f->grants)))
        err = vmsig_topo_no_memory(b);
    return err < 0 ? err : gateway_audit(b, f, a);
}

static int make_actor(vmsig_topo_build *b, const vmsig_file_actor *f) {
    vmsig_topo_actor *a;
    int err = new_actor(b, f->name, vmsig_file_kind(f), f->name_mark, &a);
    err = err < 0 ? err : keys_of_kind(b, f);
    if (err < 0)
        return err;
    switch (a->kind) {
    case VMSIG_TOPO_CONTEXT:
        err = make_context(b, f, a);
        return err < 0 ? err : make_run(b, &f->run, "kind", "vmsig-context", f->kind_mark, a);
    case VMSIG_TOPO_GATEWAY:
        err = make_gateway(b, f, a);
        return err < 0 ? err : make_run(b, &f->run, "kind", "vmsig-gateway", f->kind_mark, a);
    default:
        err = make_emitter(b, f, a);
        break;
    }
    if (err == 0 && !f->run.exec)
        return vmsig_topo_fail(b, a->mark, "actors: found %s without exec, expected the program that it is", a->name);
    return err < 0 ? err : make_run(b, &f->run, "exec", NULL, f->kind_mark, a);
}

int vmsig_topo_actors(vmsig_topo_build *b) {
    const vmsig_file_endpoint *e = b->file->endpoints.items;
    const vmsig_file_actor *a = b->file->actors.items;
    b->t->endpoints = calloc(b->file->endpoints.n, sizeof *b->t->endpoints);
    b->t->actors = calloc(b->file->endpoints.n + b->file->actors.n, sizeof *b->t->actors);
    if (!b->t->endpoints || !b->t->actors)
        return vmsig_topo_no_memory(b);
    int err = 0;
    for (size_t i = 0; err == 0 && i < b->file->endpoints.n; i++)
        err = make_endpoint(b, &e[i]);
    for (size_t i = 0; err == 0 && i < b->file->actors.n; i++)
        err = make_actor(b, &a[i]);
    return err;
}
