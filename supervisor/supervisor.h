/* supervisor.h: the supervisor's parts and what they share. One process, one thread, one vmsig_loop.
 *
 *   vmsig-supervisor_main.c   command line, fresh start or adoption, the loop, the exit code
 *   spawn.c    actors' lives: the table state x event, order of start and stop
 *   restart.c  whether and when an actor is started again
 *   boot.c     what is said to an actor and what it says
 *   links.c    rings, reader pages, bells         pages.c   board, gauges, epochs, fences, states
 *   ram.c      guest RAM to whom it is due        shelf.c   what a successor finds with the keeper
 *   keeper_talk.c  what is said to the keeper and what it says
 *   liveness.c who makes no progress              report.c   what a crash leaves to be read
 *   change.c   restart, plug, unplug, reload      rundir.c, listen.c, uid.c   what needs privilege
 *   upgrade.c  another program in its place
 *   requests.c supervisor.sock                    status.c   what it tells of all
 *
 * Errors: 0 or negative errno; what a user must know is one sentence on stderr (vmsig_sup_say).
 */
#ifndef VMSIG_SUPERVISOR_H
#define VMSIG_SUPERVISOR_H

#include <sys/types.h>
#include <unistd.h>

#include "actors/runtime/loop.h"
#include "boot.pb-c.h"
#include "rings/board.h"
#include "rings/epoch.h"
#include "rings/gauges.h"
#include "rings/ring.h"
#include "supervisor/keeper/keeper.h"
#include "supervisor/placement.h"
#include "supervisor/restart.h"

#define VMSIG_SUP_MS          1000000ull
#define VMSIG_SUP_STOP_NS     (45000 * VMSIG_SUP_MS) /* of a whole stop; the keeper's own is longer */
#define VMSIG_SUP_KEEPER_WAIT 10000                  /* ms: for the keeper to tell the shelf */
#define VMSIG_SUP_EXIT_FAILED 3
#define VMSIG_SUP_BOOT        1u /* Boot.version */
#define VMSIG_SUP_TEXT        256
#define VMSIG_SUP_REPORT      1536 /* of a crash report */

typedef struct vmsig_sup vmsig_sup;
typedef struct vmsig_sup_actor vmsig_sup_actor;

/* A shared-memory object with one writer: sealed (and only then shown to others) once it is mapped. */
typedef struct vmsig_sup_page {
    int fd; /* -1 = none */
    uint32_t generation;
    bool mapped;
    bool made_up; /* a reader's: in place of one that was nonsense */
} vmsig_sup_page;

/* Why an actor that runs is stopped, while the topology goes on. */
typedef enum vmsig_sup_leave {
    VMSIG_SUP_STAYS,
    VMSIG_SUP_RESTARTS, /* it is started again, perhaps as the next topology says */
    VMSIG_SUP_FOLLOWS,  /* likewise, with another of its group; its limits go on */
    VMSIG_SUP_GOES      /* the next topology does not have it */
} vmsig_sup_leave;

/* A frame that the actor's socket had no room for yet. */
typedef struct vmsig_sup_unsent {
    struct vmsig_sup_unsent *next;
    int nfds;
    int fds[4];
    size_t len;
    uint8_t bytes[];
} vmsig_sup_unsent;

/* What was seen of an actor that makes no progress. */
typedef struct vmsig_sup_pulse {
    uint64_t since_ns;                     /* since when, at least; 0 = it does */
    uint64_t stamp_ns, cursors, cpu_ticks; /* when it was last looked at */
    bool told, aborted;
} vmsig_sup_pulse;

/* Where an actor with `cpu: auto` is put (place.c). */
typedef struct vmsig_sup_place {
    vmsig_place at;
    uint64_t events, sampled_ns; /* for the rate */
    pid_t pid;                   /* the process that was put there; 0 = none yet */
    int cpu;
    char why[VMSIG_SUP_TEXT];
} vmsig_sup_place;

struct vmsig_sup_actor {
    vmsig_sup *sup;
    const vmsig_topo_actor *topo;
    uint32_t index;
    vmsig_actor_state state;
    uint32_t incarnation; /* of the newest process; 0 = there never was one */
    uint32_t uid, gid;    /* UINT32_MAX = the supervisor's own */
    pid_t pid;            /* 0 = no process, or not known yet */
    bool process;         /* a SPAWN was sent whose end was not handled */
    int pidfd;
    int boot; /* the boot socket, this end; -1 = none */
    vmsig_sup_unsent *unsent, **unsent_tail;
    vmsig_timer *timer; /* the deadline of the state it is in */
    bool orphaned;      /* its supervisor died while it was starting: it is started anew */
    bool doomed;        /* to be killed as soon as its pid is known */
    bool held;          /* it waits for room on a link; that was said */
    bool rests;         /* it is not started again */
    bool begun;         /* it was started once, in this topology */
    vmsig_sup_leave leave;
    bool needed;         /* while stopping: another of its kind is to go before it */
    uint64_t started_ns; /* the process */
    uint64_t ready_ns;   /* 0 = not yet */
    uint64_t dead_ns;    /* when the last one ended */
    vmsig_restarts restarts;
    vmsig_sup_pulse pulse;
    vmsig_sup_place place;
    char report[VMSIG_SUP_REPORT];                /* of its last crash */
    char last_exit[64], last_why[VMSIG_SUP_TEXT]; /* of the last end */
    char why[VMSIG_SUP_TEXT];                     /* what was said, of or by the present one, of the end to come */
    vmsig_sup_page gauges, epoch, fences;         /* its own */
    const vmsig_gauges *gauges_map;
    uint32_t gauges_max;
    int state_fd;
    uint32_t epoch_next; /* a host's: no epoch from here on was used */
};

typedef struct vmsig_sup_ring {
    int fd; /* -1 = none */
    uint32_t generation;
    uint64_t base;
} vmsig_sup_ring;

typedef struct vmsig_sup_link {
    bool known; /* an end was told of it, or is told at its start */
    const vmsig_topo_link *topo;
    int data_bell, room_bell;
    /* The producer's rings, oldest first, all mapped and sealed: the last is the newest. Ring i is done with when the
     * consumer's cursor has reached the base of ring i + 1. */
    vmsig_sup_ring chain[VMSIG_RING_CHAIN];
    uint32_t chained;
    vmsig_sup_ring next_ring; /* sent to the producer, not mapped yet */
    vmsig_sup_page reader;    /* the consumer's newest mapped one */
    vmsig_sup_page next_reader;
    const vmsig_reader *reader_map;
    uint64_t taken;                      /* events, by consumers that are dead */
    uint64_t sampled_ns, sampled_events; /* for the rate */
    double rate;
} vmsig_sup_link;

typedef struct vmsig_sup_ram {
    int fd; /* -1 = none */
    uint32_t ram_id;
} vmsig_sup_ram;

/* The text that the topology was read from, and what was done to it since. */
typedef struct vmsig_sup_source {
    char *file, *folder; /* absolute, or as `vmsig up` was given them */
    char *text;
    size_t len;
    vmsig_topo_edits edits;
} vmsig_sup_source;

/* What a gateway is handed; -1 = none. */
typedef struct vmsig_sup_sockets {
    int listen;
    int audit; /* the present segment */
    int seal;  /* its sealing key */
} vmsig_sup_sockets;

/* A change under way: those who leave are stopping; when all are gone, `topo` takes the place of the present one. */
typedef struct vmsig_sup_change {
    bool under_way;
    vmsig_topology *topo; /* NULL: actors are restarted, and that is all */
    vmsig_sup_source source;
    uint32_t next_link;
    vmsig_sup_sockets *gateway; /* by actor index: those that the present topology does not have */
    uint64_t patience_ns;       /* until when what is left of those who go may be taken */
    vmsig_timer *timer;         /* to look whether it was */
} vmsig_sup_change;

typedef enum vmsig_sup_upgrade_state {
    VMSIG_UPGRADE_NONE,
    VMSIG_UPGRADE_CHECKING, /* the next program is asked what it speaks */
    VMSIG_UPGRADE_TRYING,   /* the keeper was told; or: this is the next program, which has not taken over yet */
    VMSIG_UPGRADE_DONE,
    VMSIG_UPGRADE_FAILED
} vmsig_sup_upgrade_state;

/* The last upgrade. */
typedef struct vmsig_sup_upgrade {
    vmsig_sup_upgrade_state state;
    uint64_t id; /* told to who asked, and to the successor */
    char why[VMSIG_SUP_TEXT];
    char *programs;    /* the next ones' folder */
    int program;       /* the next supervisor's, O_PATH; -1 = none */
    uint32_t trial_ms; /* that it has to say what it speaks, and then to take over */
    int answer, pidfd; /* of the one that is asked; -1 = none */
    vmsig_timer *timer;
} vmsig_sup_upgrade;

typedef enum vmsig_sup_phase { VMSIG_SUP_STARTING, VMSIG_SUP_RUNNING, VMSIG_SUP_STOPPING } vmsig_sup_phase;

struct vmsig_sup {
    const char *program_dir;
    const char *name; /* of the run directory */
    vmsig_topology *topo;
    vmsig_sup_source source;
    uint32_t next_link;                        /* no link id from here on was used */
    uint32_t epoch_floor[VMSIG_ENDPOINTS_MAX]; /* of endpoints that are gone: no epoch from here on was used */
    vmsig_sup_change change;
    vmsig_sup_upgrade upgrade;
    vmsig_loop *loop;
    int keeper;       /* -1 = it is gone */
    bool keeper_lost; /* and what follows from that is still to be done */
    uint64_t lineage, started_ns;
    vmsig_sup_phase phase;
    bool failed; /* an actor's restarts are exhausted */
    bool ended;  /* leave the loop */
    int exit_code;
    vmsig_timer *deadline; /* of a stop */
    vmsig_timer *look;     /* at who makes no progress */
    uint64_t look_due_ns;
    vmsig_timer *place; /* at the rates of those with `cpu: auto` */
    vmsig_sup_actor *actors;
    uint32_t *stop_order;
    vmsig_sup_link *links;
    vmsig_sup_ram ram[VMSIG_ENDPOINTS_MAX];
    int board_fd;
    vmsig_board *board;
    char run_dir[256];
    int run_lock;               /* held as long as this topology runs */
    int status_listen;          /* supervisor.sock */
    vmsig_sup_sockets *gateway; /* by actor index */
    struct vmsig_sup_client *clients;
    unsigned clients_n;
};

/* One line on stderr: "supervisor: text", or "NAME: text" of an actor. */
void vmsig_sup_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void vmsig_sup_say_of(const vmsig_sup_actor *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void vmsig_sup_close(int *fd);
bool vmsig_sup_serves(const vmsig_sup_actor *a, uint32_t endpoint);

/* ---- spawn.c ---- */
/* Room for as many as there may ever be: loop and timers point into it, so it never moves. */
int vmsig_sup_actors_new(vmsig_sup *s);
void vmsig_sup_actors_free(vmsig_sup *s);
/* An actor of the present topology at an index where nobody was, and the end of one. */
int vmsig_sup_actor_init(vmsig_sup *s, uint32_t index);
void vmsig_sup_actor_fini(vmsig_sup_actor *a);
void vmsig_sup_order(vmsig_sup *s);
/* Stops it, as `leave` says; a relay that is to be restarted is killed: what it must not lose is not in its process. */
void vmsig_sup_leave_now(vmsig_sup_actor *a, vmsig_sup_leave leave);
bool vmsig_sup_gone(const vmsig_sup_actor *a);
/* Stopped, it is started anew as if for the first time. */
void vmsig_sup_renew(vmsig_sup_actor *a);
void vmsig_sup_ready(vmsig_sup_actor *a);
void vmsig_sup_spawned(vmsig_sup_actor *a, const vmsig_keeper_msg *m, int pidfd, const char *step);
void vmsig_sup_exited(vmsig_sup_actor *a, int status);
/* Its behaviour is beyond what can be: killed, and treated as a crash. */
void vmsig_sup_kill(vmsig_sup_actor *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void vmsig_sup_set_state(vmsig_sup_actor *a, vmsig_actor_state state);
/* Begins an orderly stop of everything; the loop ends with exit_code when it is done. */
void vmsig_sup_stop(vmsig_sup *s, int exit_code);
/* Starts, or stops, what is due by order; sees when all is done. */
void vmsig_sup_advance(vmsig_sup *s);
/* The keeper is gone: ends are seen by pidfd from now on. */
void vmsig_sup_watch_pidfds(vmsig_sup *s);
/* After adoption: processes as the keeper told them, timers, deaths in between. */
void vmsig_sup_actor_adopt(vmsig_sup_actor *a);

/* ---- boot.c ---- */
/* Everything that a new incarnation is told; it may read it whenever it comes to that. */
/* *theirs: the actor's end of the boot socket, the caller's. */
int vmsig_sup_boot(vmsig_sup_actor *a, int *theirs);
int vmsig_sup_send(vmsig_sup_actor *a, Vmsig__Pb__ToActor *m, const int *fds, int nfds);
/* A gateway that runs: its grants, as they were read last. */
int vmsig_sup_send_grants(vmsig_sup_actor *a);
void vmsig_sup_watch_boot(vmsig_sup_actor *a);
/* Handles all that waits in the boot socket. */
void vmsig_sup_drain_boot(vmsig_sup_actor *a);
/* Control characters become blanks: for what an actor says and a terminal shows. */
void vmsig_sup_printable(char *text);
void vmsig_sup_close_boot(vmsig_sup_actor *a);

int vmsig_sup_send_fd(vmsig_sup_actor *a, Vmsig__Pb__FdKind kind, int fd);

/* ---- audit.c: a sentence has been said when they fail ---- */
int vmsig_sup_audit_open(const char *log, vmsig_sup_sockets *to);
/* The segment before the present one, where that is empty; the caller's. -1: there is none, or it is not asked for. */
int vmsig_sup_audit_prev(const vmsig_sup *s, size_t i);
/* The gateway asks for the next segment. */
void vmsig_sup_audit_full(vmsig_sup_actor *a);

/* ---- links.c ---- */
int vmsig_sup_links_new(vmsig_sup *s);
void vmsig_sup_links_free(vmsig_sup *s);
uint32_t vmsig_sup_links_of(const vmsig_sup_actor *a);
/* A link whose consumer has yet to drain so many former rings that it could not be shown one more; NULL: none. */
const vmsig_sup_link *vmsig_sup_links_full(vmsig_sup_actor *a);
int vmsig_sup_links_boot(vmsig_sup_actor *a);
/* Whether it has yet to map its side of some link. */
bool vmsig_sup_links_pending(const vmsig_sup_actor *a);
/* Ends that live are told of a link that is new to them. */
void vmsig_sup_link_plug(vmsig_sup *s, vmsig_sup_link *l);
/* Both ends are told, and what it consists of is let go. */
void vmsig_sup_link_unplug(vmsig_sup *s, vmsig_sup_link *l);
/* All of the present topology; those that were there before, by their ids, go on. Others are unplugged. */
int vmsig_sup_links_change(vmsig_sup *s);
/* Whether its consumer has taken all that its dead producer published. */
bool vmsig_sup_link_drained(const vmsig_sup_link *l);
void vmsig_sup_link_mapped(vmsig_sup_actor *a, const Vmsig__Pb__Mapped *m);
/* The other end wrote nonsense, says the actor: that one is restarted. */
void vmsig_sup_link_poisoned(vmsig_sup_actor *a, const Vmsig__Pb__Poisoned *m);
/* The actor died: what it had not mapped is dropped. */
void vmsig_sup_links_dead(vmsig_sup_actor *a);
void vmsig_sup_links_ring(vmsig_sup_actor *a);
/* All that an actor may lack of its peers' sides, after adoption. */
void vmsig_sup_links_repeat(vmsig_sup_actor *a);
uint64_t vmsig_sup_link_cursor(const vmsig_sup_link *l);
void vmsig_sup_link_map_reader(vmsig_sup_link *l);

/* ---- pages.c ---- */
int vmsig_sup_board_new(vmsig_sup *s);
/* A larger one, handed round, where the present one has no room for all actors. */
void vmsig_sup_board_grow(vmsig_sup *s);
int vmsig_sup_pages_boot(vmsig_sup_actor *a);
void vmsig_sup_page_mapped(vmsig_sup_actor *a, const Vmsig__Pb__PageMapped *m);
void vmsig_sup_pages_dead(vmsig_sup_actor *a);
void vmsig_sup_pages_repeat(vmsig_sup_actor *a);
void vmsig_sup_board_update(vmsig_sup_actor *a);
void vmsig_sup_map_gauges(vmsig_sup_actor *a);
/* Of a link, as the actor shows it; NULL: it does not (yet). */
const vmsig_link_gauge *vmsig_sup_gauge(const vmsig_sup_actor *a, uint32_t link, uint32_t output);
uint32_t vmsig_sup_epoch(const vmsig_sup_actor *host);

/* ---- ram.c ---- */
/* No writable mapping of it can be made any more. */
bool vmsig_sup_ram_sealed(int fd);
void vmsig_sup_ram_offered(vmsig_sup_actor *a, const Vmsig__Pb__Ram *m, int fd);
void vmsig_sup_ram_asked(vmsig_sup_actor *a, const Vmsig__Pb__RamAsk *m);
void vmsig_sup_ram_boot(vmsig_sup_actor *a);
void vmsig_sup_ram_dead(vmsig_sup_actor *host);

/* ---- shelf.c: written before anybody is told of what it describes, so that it is never behind ---- */
typedef struct vmsig_sup_heard vmsig_sup_heard;
#define VMSIG_SUP_SHELF 5u /* what the blobs look like: a successor must know the same */
/* Hears all that the keeper tells at the start: 0 (*fresh: nothing was shelved) or -errno. */
int vmsig_sup_hear(vmsig_sup *s, vmsig_sup_heard **out, bool *fresh);
void vmsig_sup_heard_free(vmsig_sup_heard *h);
/* The topology as it was started. */
int vmsig_sup_heard_topology(vmsig_sup *s, vmsig_sup_heard *h, vmsig_conf_error *err);
/* Everything else: fds go to their places, processes to their actors. The deaths in between are handled by
 * vmsig_sup_heard_ends, when all is in place. */
int vmsig_sup_heard_restore(vmsig_sup *s, vmsig_sup_heard *h);
void vmsig_sup_heard_ends(vmsig_sup *s, vmsig_sup_heard *h);
/* The source, and the grants as t has them. */
int vmsig_sup_shelve_topology(vmsig_sup *s, const vmsig_topology *t);
void vmsig_sup_shelve_sockets(vmsig_sup *s);
void vmsig_sup_shelve_actor(vmsig_sup_actor *a);
void vmsig_sup_shelve_link(vmsig_sup *s, const vmsig_sup_link *l);
void vmsig_sup_drop_link(vmsig_sup *s, uint32_t id);
void vmsig_sup_shelve_ram(vmsig_sup *s, uint32_t endpoint);

/* ---- keeper_talk.c ---- */
/* 0 or -errno: then the keeper is gone, and keeper_lost says so. */
int vmsig_sup_tell_keeper(vmsig_sup *s, const vmsig_keeper_msg *m, const void *blob, const int *fds, int nfds);
/* argv, then env (NULL: none), as SPAWN takes them: m->arg, m->len and the blob, of VMSIG_KEEPER_BLOB_MAX bytes. -E2BIG. */
int vmsig_sup_pack_command(char *const argv[], char *const env[], char *blob, vmsig_keeper_msg *m);
/* From now on, its news are handled by the loop. */
int vmsig_sup_watch_keeper(vmsig_sup *s);

/* ---- requests.c, status.c ---- */
int vmsig_sup_requests_start(vmsig_sup *s);
void vmsig_sup_requests_stop(vmsig_sup *s);
int vmsig_sup_send_status(vmsig_sup *s, int fd);

/* ---- liveness.c, report.c ---- */
/* Looks again and again from now on, as often as the shortest limit takes. */
void vmsig_sup_look_start(vmsig_sup *s);
void vmsig_sup_on_look(void *ud);
/* How many events wait for it, by what the producers show; *stalled: some link of its own is full. */
uint64_t vmsig_sup_backlog(const vmsig_sup_actor *a, bool *stalled);
/* The report of a crash: before the dead is buried. */
void vmsig_sup_report(vmsig_sup_actor *a, int status);

/* place.c: once a second, where an actor has `cpu: auto`; to be called when the topology changes. */
void vmsig_sup_place_start(vmsig_sup *s);
void vmsig_sup_on_place(void *sup);

/* ---- upgrade.c ---- */
#define VMSIG_SUP_ASKED_KEY (1ull << 32) /* of the process that is asked, with the keeper; an actor's is its index */
int vmsig_sup_upgrade_init(vmsig_sup *s);
void vmsig_sup_upgrade_fini(vmsig_sup *s);
/* Begins one: 0, or -errno with a sentence in err. The status tells how it goes on. */
int vmsig_sup_upgrade_begin(vmsig_sup *s, const char *programs, uint32_t trial_ms, vmsig_conf_error *err);
/* What the keeper tells of the process that is asked. Takes over the pidfd. */
void vmsig_sup_upgrade_spawned(vmsig_sup *s, const vmsig_keeper_msg *m, int pidfd, const char *step);
void vmsig_sup_upgrade_ended(vmsig_sup *s, int status);
/* What the keeper told at the start. */
void vmsig_sup_upgrade_heard(vmsig_sup *s, const vmsig_keeper_msg *end, const char *why);
/* All is taken over: from here on the former program is not needed. */
void vmsig_sup_upgrade_taken(vmsig_sup *s);
const char *vmsig_sup_upgrade_state_name(vmsig_sup_upgrade_state state);
/* What this program speaks, in one line; --speaks prints it. */
int vmsig_sup_speaks(char *buf, size_t len);

/* ---- change.c: 0, or -errno with a sentence in err. Nothing has changed then. ---- */
/* Whether there may be one now; else -EBUSY. */
int vmsig_sup_may_change(const vmsig_sup *s, vmsig_conf_error *err);
int vmsig_sup_restart(vmsig_sup *s, const char *name, vmsig_conf_error *err);
/* The plan of a change, and, unless it is dry, the change. *plan is malloc'ed. */
int vmsig_sup_plug(vmsig_sup *s, const char *text, bool dry, vmsig_topo_change **plan, size_t *n,
                   vmsig_conf_error *err);
int vmsig_sup_unplug(vmsig_sup *s, const char *name, bool dry, vmsig_topo_change **plan, size_t *n,
                     vmsig_conf_error *err);
/* file NULL: the one it was started with. */
int vmsig_sup_reload(vmsig_sup *s, const char *file, bool dry, vmsig_topo_change **plan, size_t *n,
                     vmsig_conf_error *err);
/* A member of a group crashed and is restarted: others of it are, too. */
void vmsig_sup_restart_group(vmsig_sup_actor *crashed);
/* Goes on with a change when those who leave are gone. */
void vmsig_sup_change_step(vmsig_sup *s);
/* What a change, not made yet, had begun is undone: its supervisor died, or everything is to stop. */
void vmsig_sup_change_undo(vmsig_sup *s);
int vmsig_sup_source_load(vmsig_sup_source *src, const char *path, vmsig_conf_error *err);
void vmsig_sup_source_free(vmsig_sup_source *src);
/* Sockets that lie in the run directory of the topology's own name move to that of --name. */
int vmsig_sup_take_name(vmsig_sup *s, vmsig_topology *t);

/* ---- rundir.c, listen.c, uid.c: a sentence has been said when they fail ---- */
/* Makes and locks the run directory, and removes what a predecessor left there. */
int vmsig_sup_rundir_open(vmsig_sup *s);
void vmsig_sup_rundir_remove(vmsig_sup *s);
/* A listening SOCK_SEQPACKET socket at path. */
int vmsig_sup_listen(const char *path, mode_t mode);
/* A gateway's socket and audit log: 0 or -errno; and their end, with the socket's file. */
int vmsig_sup_listen_of(const vmsig_topo_actor *t, vmsig_sup_sockets *to);
void vmsig_sup_unlisten(const vmsig_topo_actor *t, vmsig_sup_sockets *of);
int vmsig_sup_listen_all(vmsig_sup *s);
/* A list by actor index, all none; and the end of all in it. */
vmsig_sup_sockets *vmsig_sup_sockets_new(void);
void vmsig_sup_sockets_free(vmsig_sup_sockets *list, const vmsig_topology *t);
/* ---- vm_folder.c: where QEMU offers a VM's console and display ---- */
/* The host adapter of an endpoint whose VM offers some; NULL: it offers none. */
const vmsig_topo_actor *vmsig_sup_vm_of(const vmsig_topology *t, int32_t endpoint);
/* The folder of an actor's endpoint: 0, -ENOENT: there is none, or -ENAMETOOLONG. */
int vmsig_sup_vm_folder(const vmsig_sup_actor *a, char *buf, size_t len);
/* Before a host is started: 0 or -errno. Does nothing for others. */
int vmsig_sup_vm_folder_make(const vmsig_sup_actor *host);
void vmsig_sup_vm_folder_remove(const vmsig_sup_actor *host);

/* ---- uid.c ---- */
/* Whom an actor of that index runs as; UINT32_MAX: as the supervisor. */
int vmsig_sup_uid_of(const vmsig_topology *t, uint32_t index, uint32_t *uid, uint32_t *gid);
int vmsig_sup_uids(vmsig_sup *s);

#endif
