/* topology.h: the topology file, checked in full before anything starts.
 *
 *   file ──parse (schema/conf.h)──► what was written ──resolve──► endpoints, actors in start order, links
 *
 * Errors: -EINVAL with one message: file:line:column, the key, what was expected.
 */
#ifndef VMSIG_TOPOLOGY_H
#define VMSIG_TOPOLOGY_H

#include "schema/conf.h"
#include "vmsig_control.h"
#include "vmsig_ctx.h"

#define VMSIG_ACTORS_MAX 2048u

typedef enum vmsig_topo_kind {
    VMSIG_TOPO_CONTEXT = 1, /* values: ActorKind of boot.proto */
    VMSIG_TOPO_GATEWAY = 2,
    VMSIG_TOPO_HOST = 3,
    VMSIG_TOPO_SENSOR = 4,
    VMSIG_TOPO_ACTOR = 5
} vmsig_topo_kind;

typedef enum vmsig_topo_restart {
    VMSIG_RESTART_PERMANENT,
    VMSIG_RESTART_TRANSIENT,
    VMSIG_RESTART_TEMPORARY
} vmsig_topo_restart;

/* Who is restarted with a member of a group that crashed. */
typedef enum vmsig_topo_strategy {
    VMSIG_ONE_FOR_ONE,
    VMSIG_REST_FOR_ONE, /* those that start after it */
    VMSIG_ONE_FOR_ALL
} vmsig_topo_strategy;

typedef struct vmsig_topo_policy {
    uint8_t source, dir, prio;
    vmsig_timing timing;
} vmsig_topo_policy;

typedef struct vmsig_topo_option {
    char *key, *value;
} vmsig_topo_option;

typedef struct vmsig_topo_endpoint {
    char *name;
    uint32_t id;
    char *host;                /* "stub", "qemu" */
    uint32_t host_actor;       /* index in actors */
    uint32_t context, gateway; /* indices in actors: an endpoint has exactly one of each */
    uint64_t quiet_ns;         /* that it has to become quiet between two leases */
    bool unquiet_kill;         /* else its VM is killed */
    vmsig_conf_mark mark;
} vmsig_topo_endpoint;

typedef struct vmsig_topo_actor {
    char *name;
    vmsig_topo_kind kind;
    char *exec;             /* resolved: absolute */
    char **argv;            /* NULL-terminated, argv[0] = the program */
    int poll;               /* PollMode of boot.proto */
    int cpu;                /* -1 = not pinned, or VMSIG_TOPO_CPU_AUTO */
    int32_t endpoint;       /* a sensor's, a host's: the endpoint's id; else -1 */
    uint64_t endpoint_mask; /* those it serves */
    uint32_t source;
    bool memctx;
    uint32_t accepts;
    bool offers; /* a host's: its VM offers a console or a display to the sensors of its endpoint */
    vmsig_topo_restart restart;
    uint32_t restarts_max; /* 0 = no limit */
    uint64_t window_ns;
    uint64_t ready_deadline_ns, stop_deadline_ns;
    uint64_t soft_ns, hard_ns; /* without progress, with a backlog; 0 = no limit */
    char *group;               /* NULL = none */
    vmsig_topo_strategy strategy;
    char *user;                    /* NULL = one of the range */
    char *socket, *grants, *audit; /* a gateway's, absolute; grants and audit may be NULL */
    char *grants_text;
    size_t grants_len;
    vmsig_topo_policy *policies; /* a context's */
    size_t policies_n;
    vmsig_topo_option *options; /* handed to the actor; sizes and times of the table as plain bytes and ns */
    size_t options_n;
    uint32_t *after; /* indices of actors that must be READY before */
    size_t after_n;
    uint64_t state_bytes; /* of its durable state; 0 = none */
    vmsig_conf_mark mark;
} vmsig_topo_actor;

#define VMSIG_TOPO_CPU_AUTO (-2) /* wherever the supervisor puts it */

typedef struct vmsig_topo_link {
    uint32_t id;       /* 1.. */
    uint32_t from, to; /* indices in actors */
    uint8_t dir;
    uint32_t slots;
    uint64_t arena_bytes;
    uint64_t endpoint_mask;
    uint32_t source;
    uint32_t accepts;
    bool memctx;
} vmsig_topo_link;

typedef struct vmsig_topology {
    char *name;        /* of the run directory; default: the file's name without its ending */
    char *file;        /* for messages; "built-in demo" */
    char *folder;      /* relative paths count from here */
    uint32_t uid_base; /* as root, actor i runs as uid_base + i */
    bool no_limits;    /* `limits: none`: restarts without limit and without back-off, for chaos runs */
    uint32_t slots;    /* default ring size */
    uint64_t arena_bytes;
    vmsig_topo_endpoint *endpoints;
    size_t endpoints_n;
    vmsig_topo_actor *actors; /* hosts of the endpoints are actors too, named after them */
    size_t actors_n;
    uint32_t *order; /* actor indices, in start order */
    size_t order_n;  /* actors_n, less the gaps that vmsig_topology_keep left */
    vmsig_topo_link *links;
    size_t links_n;
} vmsig_topology;

/* path NULL: the built-in demo. program_dir: where vmsig's own programs lie; absolute. */
int vmsig_topology_load(const char *path, const char *program_dir, vmsig_topology **out, vmsig_conf_error *err);
/* The same from text in memory (file: for messages; folder: for relative paths). */
int vmsig_topology_parse(const char *file, const char *folder, const char *text, size_t len, const char *program_dir,
                         vmsig_topology **out, vmsig_conf_error *err);
/* The gateways' grants files again: -errno and one sentence, and nothing has changed. */
int vmsig_topology_reread_grants(vmsig_topology *t, vmsig_conf_error *err);

/* ---- topology_edit.c: a topology that is changed while it runs -------------------------------------------------- */

/* What was done since the file was read, in this order: "+TEXT" plugs in an actor (one map as below `actors:`, or a map
 * of `actors:` and `links:`), "-NAME" takes one out. */
typedef struct vmsig_topo_edits {
    char **items;
    size_t n;
} vmsig_topo_edits;

/* The same from text and edits. A message about the last edit names `plug` instead of the file. runs: it is one that was
 * started already: programs and grants files are not looked for, and no actor has a grants_text. */
int vmsig_topology_parse_edited(const char *file, const char *folder, const char *text, size_t len,
                                const vmsig_topo_edits *edits, const char *program_dir, bool runs, vmsig_topology **out,
                                vmsig_conf_error *err);

/* Who had which index, which link which id. A name "" is a gap. */
typedef struct vmsig_topo_numbers {
    struct vmsig_topo_numbered {
        char name[32];
        uint32_t kind;
    } * actors;
    size_t actors_n;
    struct vmsig_topo_numbered_link {
        char from[32], to[32];
        vmsig_topo_link link; /* its from and to count for nothing */
    } * links;
    size_t links_n;
    uint32_t next_link; /* no id from here on was used */
} vmsig_topo_numbers;

/* Renumbers: an actor of the same name and kind keeps its index, a link between the same two that carries the same keeps
 * its id; others get indices of gaps, or new ones, and new ids. Where nobody is any more is a gap: kind 0, name "". 0,
 * -ENOMEM, -ENOSPC: no more indices or ids. */
int vmsig_topology_keep(vmsig_topology *t, vmsig_topo_numbers *numbers);
int vmsig_topology_numbers(const vmsig_topology *t, uint32_t next_link, vmsig_topo_numbers *out);
void vmsig_topology_numbers_free(vmsig_topo_numbers *n);
/* Whether two links differ in more than their size. */
bool vmsig_topo_link_differs(const vmsig_topo_link *a, const vmsig_topo_link *b);

/* ---- topology_diff.c: what is different between two topologies, both numbered alike ----------------------------- */

typedef enum vmsig_topo_what {
    VMSIG_TOPO_ADDED,
    VMSIG_TOPO_REMOVED,
    VMSIG_TOPO_RESTARTED, /* it cannot take the change while it runs */
    VMSIG_TOPO_CHANGED    /* while it runs */
} vmsig_topo_what;

typedef struct vmsig_topo_change {
    vmsig_topo_what what;
    bool link;
    uint32_t
        index; /* of the actor (a link's: of its producer), in the new topology; of what is removed: in the old one */
    char name[80]; /* of the actor; of a link: "a -> b" */
    char why[96];  /* the keys that differ */
} vmsig_topo_change;

/* *n changes in a malloc'ed list, actors first: 0 or -ENOMEM. */
int vmsig_topology_diff(const vmsig_topology *old, const vmsig_topology *now, vmsig_topo_change **out, size_t *n);
const char *vmsig_topo_what_name(vmsig_topo_what what);
bool vmsig_topo_grants_differ(const vmsig_topo_actor *a, const vmsig_topo_actor *b);

void vmsig_topology_free(vmsig_topology *t);
extern const vmsig_conf_table vmsig_topology_table;
extern const char vmsig_topology_demo[];

/* RUN/NAME: $XDG_RUNTIME_DIR/vmsig/NAME; without that variable /run/vmsig/NAME for root, and for others
 * /run/user/UID/vmsig/NAME or, where there is no such folder, /tmp/vmsig-UID/NAME. 0 or -ENAMETOOLONG. */
int vmsig_run_dir(const char *name, char *buf, size_t len);

#endif
