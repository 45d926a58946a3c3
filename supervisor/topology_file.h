/* topology_file.h: the topology as it is written: what the table reads, before anything is resolved. Within topology*.c
 * only. Each value that a later check may complain of has its mark. */
#ifndef VMSIG_TOPOLOGY_FILE_H
#define VMSIG_TOPOLOGY_FILE_H

#include "supervisor/topology.h"

/* How a process is run: keys that endpoints (for their host) and actors have in common. */
typedef struct vmsig_file_run {
    char *exec;
    vmsig_conf_list args;
    int poll;
    char *cpu;
    vmsig_conf_mark cpu_mark;
    int restart;
    uint64_t restarts, window, ready, stop, soft, hard;
    char *user, *group;
    vmsig_conf_list after;
    bool state_set;
    uint64_t state;
    vmsig_conf_list options; /* pairs */
    vmsig_conf_mark exec_mark, after_mark, user_mark, options_mark, group_mark;
} vmsig_file_run;

typedef struct vmsig_file_stub {
    uint64_t memory;
    bool la57;
    uint64_t hz, boot_ms;
    vmsig_conf_mark memory_mark;
} vmsig_file_stub;

typedef struct vmsig_file_attach {
    char *qmp, *ram;
} vmsig_file_attach;

typedef struct vmsig_file_qemu {
    vmsig_file_attach attach;
    uint64_t memory;
    int accel;
    char *program, *machine, *cpu, *kernel, *append, *initrd, *disk;
    vmsig_conf_list args;
    bool console;
    int display;
    vmsig_conf_mark attach_mark, memory_mark, accel_mark, program_mark, machine_mark, cpu_mark, kernel_mark,
        append_mark, initrd_mark, disk_mark, console_mark, display_mark, args_mark;
} vmsig_file_qemu;

typedef struct vmsig_file_endpoint {
    char *name;
    uint64_t id;
    int host;
    vmsig_file_stub stub;
    vmsig_file_qemu qemu;
    uint64_t quiet;
    bool quiet_set;
    int unquiet;
    vmsig_file_run run;
    vmsig_conf_mark name_mark, id_mark, host_mark;
} vmsig_file_endpoint;

typedef struct vmsig_file_policy {
    char *source;
    int dir, prio, drop;
    uint64_t min_gap, coalesce, max_inflight;
    vmsig_conf_mark source_mark;
} vmsig_file_policy;

typedef struct vmsig_file_actor {
    char *name;
    int kind; /* index of choices: vmsig_file_kind() */
    vmsig_file_run run;
    char *endpoint;
    uint64_t source;
    bool source_set;
    bool memctx;
    vmsig_conf_list accepts, endpoints;
    char *socket, *grants, *audit;
    uint64_t retain;
    vmsig_conf_maps policies; /* vmsig_file_policy */
    vmsig_conf_mark name_mark, kind_mark, endpoint_mark, source_mark, memctx_mark, accepts_mark, endpoints_mark;
    vmsig_conf_mark socket_mark, grants_mark, audit_mark, retain_mark, policies_mark;
} vmsig_file_actor;

typedef struct vmsig_file_link {
    char *from, *to;
    bool dir_set, slots_set, arena_set;
    int dir;
    uint64_t slots, arena;
    vmsig_conf_mark from_mark, to_mark, dir_mark;
} vmsig_file_link;

typedef struct vmsig_file_group {
    char *name;
    int strategy;
    vmsig_conf_mark name_mark;
} vmsig_file_group;

typedef struct vmsig_file_top {
    char *name;
    uint64_t uid_base, slots, arena;
    int limits;
    vmsig_conf_maps endpoints, actors, links, groups;
    vmsig_conf_mark name_mark;
} vmsig_file_top;

enum { VMSIG_FILE_LIMITS_NONE = 1 }; /* index of `limits` */

/* One actor, and actors with their links, as `vmsig plug` takes them. */
typedef struct vmsig_file_plug {
    vmsig_conf_maps actors, links;
} vmsig_file_plug;
extern const vmsig_conf_table vmsig_actor_table, vmsig_link_table, vmsig_plug_table;

vmsig_topo_kind vmsig_file_kind(const vmsig_file_actor *a);
/* "stub", "qemu" by the index that the table stored; likewise what `qemu.accel` and `qemu.display` say. */
const char *vmsig_file_host_name(int host);
const char *vmsig_file_accel_name(int accel);
const char *vmsig_file_display_name(int display);

/* What the steps of resolving share. Messages name t->file. */
typedef struct vmsig_topo_build {
    const vmsig_file_top *file;
    const char *program_dir;
    bool runs; /* it was whole when it was started: nothing outside of it is looked at */
    vmsig_topology *t;
    vmsig_conf_error *err;
} vmsig_topo_build;

/* The steps, in this order; each 0, -EINVAL with the message, or -ENOMEM. */
int vmsig_topo_actors(vmsig_topo_build *b);    /* topology_actors.c: endpoints and actors, one by one */
int vmsig_topo_belonging(vmsig_topo_build *b); /* topology_links.c: each endpoint's context and gateway */
int vmsig_topo_links(vmsig_topo_build *b);     /* topology_links.c */
int vmsig_topo_grants(vmsig_topo_build *b);    /* topology_files.c: the gateways' grants; not of one that runs */
int vmsig_topo_order(vmsig_topo_build *b);     /* topology_order.c: `after`, start order */

/* From what was read to a topology: 0, -EINVAL with the message, -ENOMEM. */
int vmsig_topo_resolve(const vmsig_file_top *top, const char *file, const char *folder, const char *program_dir,
                       bool runs, vmsig_topology **out, vmsig_conf_error *err);

/* The index of the actor of that name, or -1. */
int64_t vmsig_topo_find(const vmsig_topology *t, const char *name);
/* The endpoint of that name, or NULL. */
vmsig_topo_endpoint *vmsig_topo_endpoint_find(const vmsig_topology *t, const char *name);
/* topology_files.c. The program that `exec` names, absolute and malloc'ed; `key` is what it follows from. */
int vmsig_topo_program(vmsig_topo_build *b, const char *key, const char *exec, vmsig_conf_mark at, char **out);
/* A path made absolute from the file's folder, malloc'ed; NULL: out of memory. */
char *vmsig_topo_path(const vmsig_topology *t, const char *path);

/* The message, with the topology's file. */
#define vmsig_topo_fail(b, at, ...) vmsig_conf_fail((b)->err, (b)->t->file, at, __VA_ARGS__)
int vmsig_topo_no_memory(const vmsig_topo_build *b);

#endif
