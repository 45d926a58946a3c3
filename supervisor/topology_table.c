/* The table of the topology file: what may stand there, and what it means. */
#include "rings/ring.h"
#include "supervisor/topology_file.h"

static const char *const poll_modes[] = {"adaptive", "spin", "block", NULL};             /* PollMode of boot.proto */
static const char *const restarts[] = {"permanent", "transient", "temporary", NULL};     /* vmsig_topo_restart */
static const char *const directions[] = {"up", "down", NULL};                            /* vmsig_dir */
static const char *const prios[] = {"default", "low", "normal", "high", "urgent", NULL}; /* vmsig_prio */
static const char *const drops[] = {"oldest", "newest", "block", NULL};                  /* vmsig_drop_policy */
static const char *const limits[] = {"default", "none", NULL};
static const char *const hosts[] = {"stub", "qemu", NULL};
static const char *const accels[] = {"auto", "kvm", "tcg", NULL};
static const char *const unquiets[] = {"close", "kill", NULL};
static const char *const displays[] = {"none", "vnc", NULL};
static const char *const kinds[] = {"context", "gateway", "sensor", "actor", NULL};

vmsig_topo_kind vmsig_file_kind(const vmsig_file_actor *a) {
    static const vmsig_topo_kind of[] = {VMSIG_TOPO_CONTEXT, VMSIG_TOPO_GATEWAY, VMSIG_TOPO_SENSOR, VMSIG_TOPO_ACTOR};
    return of[a->kind];
}
const char *vmsig_file_host_name(int host) {
    return hosts[host];
}
const char *vmsig_file_accel_name(int accel) {
    return accels[accel];
}
const char *vmsig_file_display_name(int display) {
    return displays[display];
}

#define COUNT(a)    (sizeof(a) / sizeof(a)[0])
#define AT(T, f)    .offset = offsetof(T, f)
#define MARK(T, f)  .mark_offset = offsetof(T, f##_mark)
#define SET(T, f)   .set_offset = offsetof(T, f##_set)
#define KEY(n, t)   .name = n, .type = VMSIG_CONF_##t
#define SECOND      1000000000ull
#define UINT32_TIME UINT32_MAX /* ns: what a policy can hold, 4.29 s */

/* clang-format off */

/* ---- how a process is run ----------------------------------------------------------------------------------------- */

#define RUN_KEYS(T)                                                                                                    \
    {KEY("exec", STRING), AT(T, run.exec), MARK(T, run.exec),                                                          \
     .help = "The program. Without a slash it is looked up among vmsig's own programs, then in PATH; else it counts "  \
             "from the file's folder. A sensor and an actor need one; the others have one of vmsig's own."},           \
    {KEY("args", LIST), AT(T, run.args), .max = 256, .help = "Arguments of the program."},                                         \
    {KEY("poll", CHOICE), AT(T, run.poll), .choices = poll_modes, .fallback = "adaptive",                              \
     .help = "How it waits for events: spin a little, then sleep; spin always (a core of its own); sleep at once."},   \
    {KEY("cpu", STRING), AT(T, run.cpu), MARK(T, run.cpu),                                                             \
     .help = "The CPU that it is pinned to, 0 to 1023; or `auto`: with the others of its chain on one CPU while their "\
             "rate is low, spread over CPUs while it is high (`vmsig status` says which and why). Without: not "       \
             "pinned."},                                                                                               \
    {KEY("restart", CHOICE), AT(T, run.restart), .choices = restarts, .fallback = "permanent",                         \
     .help = "Whether it is started again when it ends: always; after a crash only; never."},                          \
    {KEY("restarts", UINT), AT(T, run.restarts), .max = 100000, .fallback = "5",                                       \
     .help = "How many restarts within `window` are borne before it is given up as FAILED; 0 = no limit."},            \
    {KEY("window", TIME), AT(T, run.window), .min = SECOND / 1000, .max = 86400 * SECOND, .fallback = "10s",           \
     .help = "The time in which `restarts` counts."},                                                                  \
    {KEY("ready", TIME), AT(T, run.ready), .min = SECOND / 1000, .max = 3600 * SECOND, .fallback = "5s",               \
     .help = "How long it may take to say that it is ready."},                                                         \
    {KEY("stop", TIME), AT(T, run.stop), .min = SECOND / 1000, .max = 3600 * SECOND, .fallback = "2s",                 \
     .help = "How long it may take to stop when asked to, before it is killed."},                                      \
    {KEY("soft", TIME), AT(T, run.soft), .max = 3600 * SECOND, .fallback = "10s",                                      \
     .help = "How long it may make no progress while events wait for it, before that is told; 0 = for ever."},         \
    {KEY("hard", TIME), AT(T, run.hard), .max = 3600 * SECOND, .fallback = "30s",                                      \
     .help = "How long, before it is killed and restarted; 0 = for ever."},                                            \
    {KEY("group", NAME), AT(T, run.group), MARK(T, run.group),                                                         \
     .help = "One of `groups`: who is restarted when it crashes, besides it."},                                        \
    {KEY("user", STRING), AT(T, run.user), MARK(T, run.user),                                                          \
     .help = "The user that it runs as, when vmsig runs as root. Without: a uid of its own, from `uid_base` on."},     \
    {KEY("after", LIST), AT(T, run.after), MARK(T, run.after), .max = 64,                                              \
     .help = "Actors that must be ready before it is started, beyond those that take its events."},                    \
    {KEY("state", SIZE), AT(T, run.state), SET(T, run.state), .max = 1u << 30,                                         \
     .help = "Size of the memory that outlives it. Without: 8M for a context, 16M for a gateway, 64K for a host "      \
             "and for who takes an endpoint's commands, none for others."},                                            \
    {KEY("options", PAIRS), AT(T, run.options), MARK(T, run.options),                                                  \
     .help = "Handed to it as they are."}

/* ---- endpoints ------------------------------------------------------------------------------------------------------ */

static const vmsig_conf_key stub_keys[] = {
    {KEY("memory", SIZE), AT(vmsig_file_stub, memory), MARK(vmsig_file_stub, memory), .min = 4u << 20,
     .max = 1u << 30, .fallback = "16M", .help = "Its RAM, a multiple of 2M."},
    {KEY("la57", BOOL), AT(vmsig_file_stub, la57), .fallback = "false",
     .help = "Whether its page tables have 5 levels instead of 4."},
    {KEY("hz", UINT), AT(vmsig_file_stub, hz), .max = 10000, .fallback = "1",
     .help = "How often a second the counter in its RAM goes up; 0 = never: it sleeps until a command comes."},
    {KEY("boot_ms", UINT), AT(vmsig_file_stub, boot_ms), .max = 60000, .fallback = "20",
     .help = "Milliseconds from power-on until its guest has paging on."},
};
static const vmsig_conf_table stub_table = {"stub", "Settings of `host: stub`, an endpoint without a VM.",
                                            sizeof(vmsig_file_stub), stub_keys, COUNT(stub_keys)};

static const vmsig_conf_key attach_keys[] = {
    {KEY("qmp", STRING), .required = true, AT(vmsig_file_attach, qmp),
     .help = "The path of its QMP socket, as of `-qmp unix:PATH,server=on,wait=off`."},
    {KEY("ram", STRING), AT(vmsig_file_attach, ram),
     .help = "The path of the file that its RAM is: of a memory-backend-file with share=on. Without: no RAM, no memctx."},
};
static const vmsig_conf_table attach_table = {"attach", "A QEMU that runs already: it is watched and read, nothing else.",
                                              sizeof(vmsig_file_attach), attach_keys, COUNT(attach_keys)};

static const vmsig_conf_key qemu_keys[] = {
    {KEY("attach", MAP), AT(vmsig_file_qemu, attach), MARK(vmsig_file_qemu, attach), .sub = &attach_table,
     .help = "A QEMU that somebody else started, in place of one that vmsig starts; takes no other key beside it."},
    {KEY("memory", SIZE), AT(vmsig_file_qemu, memory), MARK(vmsig_file_qemu, memory), .min = 4u << 20,
     .max = 1ull << 40, .fallback = "128M", .help = "The VM's RAM, a multiple of 1M."},
    {KEY("accel", CHOICE), AT(vmsig_file_qemu, accel), MARK(vmsig_file_qemu, accel), .choices = accels, .fallback = "auto",
     .help = "How the VM is run: KVM where there is one, else TCG; KVM; TCG."},
    {KEY("program", STRING), AT(vmsig_file_qemu, program), MARK(vmsig_file_qemu, program),
     .help = "The QEMU program; a path with a slash counts from the file's folder. Without: qemu-system-x86_64 in PATH."},
    {KEY("machine", STRING), AT(vmsig_file_qemu, machine), MARK(vmsig_file_qemu, machine), .fallback = "q35",
     .help = "The machine that QEMU makes: q35 or pc, with its settings behind commas."},
    {KEY("cpu", STRING), AT(vmsig_file_qemu, cpu), MARK(vmsig_file_qemu, cpu), .help = "Model and features of its CPU. Without: QEMU's own choice."},
    {KEY("kernel", STRING), AT(vmsig_file_qemu, kernel), MARK(vmsig_file_qemu, kernel), .help = "The kernel that it boots."},
    {KEY("append", STRING), AT(vmsig_file_qemu, append), MARK(vmsig_file_qemu, append), .help = "The kernel's command line."},
    {KEY("initrd", STRING), AT(vmsig_file_qemu, initrd), MARK(vmsig_file_qemu, initrd), .help = "The kernel's initial RAM disk."},
    {KEY("disk", STRING), AT(vmsig_file_qemu, disk), MARK(vmsig_file_qemu, disk), .help = "An image, raw or qcow2, as its virtio disk."},
    {KEY("console", BOOL), AT(vmsig_file_qemu, console), MARK(vmsig_file_qemu, console), .fallback = "false",
     .help = "Whether it has a serial port, which `vmsig-sensor-serial` of the same endpoint reads."},
    {KEY("display", CHOICE), AT(vmsig_file_qemu, display), MARK(vmsig_file_qemu, display), .choices = displays, .fallback = "none",
     .help = "vnc: it has a VGA card, which `vmsig-sensor-display` of the same endpoint watches."},
    {KEY("args", LIST), AT(vmsig_file_qemu, args), MARK(vmsig_file_qemu, args), .max = 250,
     .help = "More arguments for QEMU, as they are: [-device, usb-ehci, -device, usb-tablet] for absolute positions."},
};
static const vmsig_conf_table qemu_table = {"qemu", "Settings of `host: qemu`; without effect for another host.",
                                            sizeof(vmsig_file_qemu), qemu_keys, COUNT(qemu_keys)};

static const vmsig_conf_key endpoint_keys[] = {
    {KEY("name", NAME), .required = true, AT(vmsig_file_endpoint, name), MARK(vmsig_file_endpoint, name),
     .help = "Its name, and that of its host adapter among the actors."},
    {KEY("id", UINT), .required = true, AT(vmsig_file_endpoint, id), MARK(vmsig_file_endpoint, id), .max = 63,
     .help = "Its number, a bit of endpoint masks."},
    {KEY("host", CHOICE), .required = true, AT(vmsig_file_endpoint, host), MARK(vmsig_file_endpoint, host),
     .choices = hosts, .help = "What it is: the built-in stub, or a VM under QEMU."},
    {KEY("stub", MAP), AT(vmsig_file_endpoint, stub), .sub = &stub_table, .help = "Settings of `host: stub`."},
    {KEY("qemu", MAP), AT(vmsig_file_endpoint, qemu), .sub = &qemu_table, .help = "Settings of `host: qemu`."},
    {KEY("quiet", TIME), AT(vmsig_file_endpoint, quiet), SET(vmsig_file_endpoint, quiet), .min = SECOND / 1000,
     .max = 3600 * SECOND, .help = "How long it may take, between two leases, to finish what is under way and to let go "
                                   "of held keys. Without: 50ms for stub, 1s for qemu."},
    {KEY("unquiet", CHOICE), AT(vmsig_file_endpoint, unquiet), .choices = unquiets, .fallback = "close",
     .help = "What becomes of it when it takes longer: nobody gets the lease until it has come to rest; its VM is killed, "
             "and started anew."},
    RUN_KEYS(vmsig_file_endpoint),
};
static const vmsig_conf_table endpoint_table = {
    "endpoints", "One entry for each VM. Its host adapter is an actor, run as the keys from `exec` on say.",
    sizeof(vmsig_file_endpoint), endpoint_keys, COUNT(endpoint_keys)};

/* ---- actors ----------------------------------------------------------------------------------------------------------- */

static const vmsig_conf_key policy_keys[] = {
    {KEY("source", STRING), .required = true, AT(vmsig_file_policy, source), MARK(vmsig_file_policy, source),
     .help = "The source that it is for: 0 to 31, or seam, memctx, vmhost, input, memwrite."},
    {KEY("dir", CHOICE), AT(vmsig_file_policy, dir), .choices = directions, .fallback = "up",
     .help = "Events (up) or commands (down)."},
    {KEY("prio", CHOICE), AT(vmsig_file_policy, prio), .choices = prios, .fallback = "default",
     .help = "Priority of those that come without one."},
    {KEY("min_gap", TIME), AT(vmsig_file_policy, min_gap), .max = UINT32_TIME, .fallback = "0",
     .help = "Least time between two of a channel: it delays, and never drops."},
    {KEY("coalesce", TIME), AT(vmsig_file_policy, coalesce), .max = UINT32_TIME, .fallback = "0",
     .help = "Window in which those of one kind become one: the newest, with a count."},
    {KEY("max_inflight", UINT), AT(vmsig_file_policy, max_inflight), .max = 65536, .fallback = "0",
     .help = "How many of a channel may be under way: queued, or not yet read from the next ring; 0 = no bound."},
    {KEY("drop", CHOICE), AT(vmsig_file_policy, drop), .choices = drops, .fallback = "oldest",
     .help = "What happens at `max_inflight`: the oldest gives way; the newest is refused; the sender waits."},
};
static const vmsig_conf_table policy_table = {
    "policies", "One entry for each source and direction whose events do not simply pass through.",
    sizeof(vmsig_file_policy), policy_keys, COUNT(policy_keys)};

static const vmsig_conf_key actor_keys[] = {
    {KEY("name", NAME), .required = true, AT(vmsig_file_actor, name), MARK(vmsig_file_actor, name),
     .help = "Its name; no endpoint and no other actor has it."},
    {KEY("kind", CHOICE), .required = true, AT(vmsig_file_actor, kind), MARK(vmsig_file_actor, kind), .choices = kinds,
     .help = "A transfer context; a control gateway; a sensor of an endpoint; any program of one's own in between, "
             "with its links written out."},
    {KEY("endpoint", NAME), AT(vmsig_file_actor, endpoint), MARK(vmsig_file_actor, endpoint),
     .help = "Sensor: the endpoint whose events it emits. Actor: likewise, where it emits any."},
    {KEY("source", UINT), AT(vmsig_file_actor, source), MARK(vmsig_file_actor, source), SET(vmsig_file_actor, source),
     .min = 8, .max = 31, .help = "Sensor, actor: the source number of its events, a bit of source masks; each only "
                                  "once in an endpoint."},
    {KEY("memctx", BOOL), AT(vmsig_file_actor, memctx), MARK(vmsig_file_actor, memctx), .fallback = "false",
     .help = "Sensor, actor: it is handed its endpoint's address-space context and read-only RAM."},
    {KEY("accepts", LIST), AT(vmsig_file_actor, accepts), MARK(vmsig_file_actor, accepts), .max = 8,
     .help = "Sensor, actor: commands that it takes instead of the host: input, lifecycle, vm, memwrite. Each goes to "
             "one sensor of an endpoint."},
    {KEY("endpoints", LIST), AT(vmsig_file_actor, endpoints), MARK(vmsig_file_actor, endpoints),
     .max = 64,
     .help = "Context, gateway, actor: the endpoints that it serves. Without: all. An endpoint belongs to one context "
             "and one gateway."},
    {KEY("socket", STRING), AT(vmsig_file_actor, socket), MARK(vmsig_file_actor, socket),
     .help = "Gateway: the path of its socket. Without: its name with .sock, in the run directory."},
    {KEY("grants", STRING), AT(vmsig_file_actor, grants), MARK(vmsig_file_actor, grants),
     .help = "Gateway: the grants file. Without: root and the user who runs vmsig may do everything, others nothing."},
    {KEY("audit", STRING), AT(vmsig_file_actor, audit), MARK(vmsig_file_actor, audit),
     .help = "Gateway: the file to which it appends what was granted, denied and done; its key files and older parts lie "
             "beside it. Without: none is kept."},
    {KEY("retain", TIME), AT(vmsig_file_actor, retain), MARK(vmsig_file_actor, retain), .min = SECOND / 1000,
     .max = 86400 * SECOND, .help = "Gateway: how long after its origin a retained event of a sensor is given to controls "
                                    "that come late. Without: until a newer one, or the end of its epoch."},
    {KEY("policies", MAPS), AT(vmsig_file_actor, policies), MARK(vmsig_file_actor, policies), .max = 64,
     .sub = &policy_table, .help = "Context: pacing, coalescing and priority."},
    RUN_KEYS(vmsig_file_actor),
};
const vmsig_conf_table vmsig_actor_table = {
    "actors", "One entry for each process besides the endpoints' host adapters.", sizeof(vmsig_file_actor), actor_keys,
    COUNT(actor_keys)};

/* ---- links, and the whole ------------------------------------------------------------------------------------------------ */

static const vmsig_conf_key link_keys[] = {
    {KEY("from", NAME), .required = true, AT(vmsig_file_link, from), MARK(vmsig_file_link, from),
     .help = "The actor (or endpoint) that emits."},
    {KEY("to", NAME), .required = true, AT(vmsig_file_link, to), MARK(vmsig_file_link, to), .help = "Who receives."},
    {KEY("dir", CHOICE), AT(vmsig_file_link, dir), MARK(vmsig_file_link, dir), SET(vmsig_file_link, dir),
     .choices = directions, .help = "Whether events (up) or commands and memctx (down) go there. Without: down from "
                                    "a context to a host, a sensor, or an actor that accepts commands or takes "
                                    "memctx; down from a gateway; else up."},
    {KEY("slots", UINT), AT(vmsig_file_link, slots), SET(vmsig_file_link, slots), .min = 8,
     .max = VMSIG_RING_SLOTS_MAX, .power_of_two = true, .help = "Size of its ring. Without: the file's `slots`."},
    {KEY("arena", SIZE), AT(vmsig_file_link, arena), SET(vmsig_file_link, arena), .min = 4096, .max = 1u << 30,
     .power_of_two = true, .help = "Memory for larger bodies. Without: the file's `arena`."},
};
const vmsig_conf_table vmsig_link_table = {
    "links",
    "Links follow from the kinds; an entry here resizes one of them, or adds one from or to a `kind: actor`. What a "
    "sensor or host emits goes to its context, unless a link of its own to an actor is written here.",
    sizeof(vmsig_file_link), link_keys, COUNT(link_keys)};

static const vmsig_conf_key plug_keys[] = {
    {KEY("actors", MAPS), .required = true, AT(vmsig_file_plug, actors), .min = 1, .max = 64, .sub = &vmsig_actor_table,
     .help = "Those that are plugged in."},
    {KEY("links", MAPS), AT(vmsig_file_plug, links), .max = 64, .sub = &vmsig_link_table, .help = "Their links."},
};
const vmsig_conf_table vmsig_plug_table = {"plug", "What `vmsig plug` takes, where it is more than one actor.",
                                           sizeof(vmsig_file_plug), plug_keys, COUNT(plug_keys)};

static const char *const strategies[] = {"one_for_one", "rest_for_one", "one_for_all", NULL};
static const vmsig_conf_key group_keys[] = {
    {KEY("name", NAME), .required = true, AT(vmsig_file_group, name), MARK(vmsig_file_group, name),
     .help = "What actors say in `group`."},
    {KEY("strategy", CHOICE), AT(vmsig_file_group, strategy), .choices = strategies, .fallback = "one_for_all",
     .help = "Who is restarted with a member that crashed: nobody; those that start after it; all."},
};
static const vmsig_conf_table group_table = {"groups", "Actors that are restarted together.", sizeof(vmsig_file_group),
                                             group_keys, COUNT(group_keys)};

static const vmsig_conf_key top_keys[] = {
    {KEY("name", NAME), AT(vmsig_file_top, name), MARK(vmsig_file_top, name),
     .help = "Of the run directory. Without: the file's name without its ending."},
    {KEY("uid_base", UINT), AT(vmsig_file_top, uid_base), .min = 1, .max = UINT32_MAX - 1 - VMSIG_ACTORS_MAX,
     .fallback = "40000", .help = "As root, each actor without a `user` runs under a uid of its own, from here on."},
    {KEY("limits", CHOICE), AT(vmsig_file_top, limits), .choices = limits, .fallback = "default",
     .help = "none: actors are restarted at once and without limit, whatever their `restarts` say."},
    {KEY("slots", UINT), AT(vmsig_file_top, slots), .min = 8, .max = VMSIG_RING_SLOTS_MAX, .power_of_two = true,
     .fallback = "1024", .help = "Size of each ring, in events."},
    {KEY("arena", SIZE), AT(vmsig_file_top, arena), .min = 4096, .max = 1u << 30, .power_of_two = true,
     .fallback = "32K", .help = "Memory of each link for bodies that do not fit an event: the largest such body."},
    {KEY("endpoints", MAPS), .required = true, AT(vmsig_file_top, endpoints), .min = 1, .max = VMSIG_ENDPOINTS_MAX,
     .sub = &endpoint_table, .help = "The VMs."},
    {KEY("actors", MAPS), .required = true, AT(vmsig_file_top, actors), .min = 1,
     .max = VMSIG_ACTORS_MAX - VMSIG_ENDPOINTS_MAX, .sub = &vmsig_actor_table, .help = "The processes around them."},
    {KEY("groups", MAPS), AT(vmsig_file_top, groups), .max = 256, .sub = &group_table,
     .help = "Actors that are restarted together."},
    {KEY("links", MAPS), AT(vmsig_file_top, links), .max = 4096, .sub = &vmsig_link_table,
     .help = "Sizes of links, and the links of a `kind: actor`."},
};
const vmsig_conf_table vmsig_topology_table = {
    "topology", "Endpoints, the actors around them, and where it matters the links between them.",
    sizeof(vmsig_file_top), top_keys, COUNT(top_keys)};
/* clang-format on */
