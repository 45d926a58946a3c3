/* runtime.h: what every actor process has in common: boot, links, pages, poll modes, clean stop.
 *
 *   boot socket ──Boot, Page, Link, Peer, Go──► runtime ──ops──► the actor (context, gateway, host, sensor, ...)
 *   in-links ──peek/advance──► the actor ──put──► out-links;  once per turn the runtime releases cursors and rings
 * bells
 *
 * A turn: fds and timers that are due · consume() for each in-link with events, up to a budget · turn() · cursors
 * released, out-links flushed, bells rung where a peer sleeps. Then spin, or sleep, by the poll mode: spin never
 * sleeps; adaptive looks on for a little (20 us; not where the producer shares this CPU) before it sleeps; block sleeps
 * at once.
 *
 * One thread. Errors: 0 or negative errno.
 */
#ifndef VMSIG_RUNTIME_H
#define VMSIG_RUNTIME_H

#include "actors/runtime/loop.h"
#include "boot.pb-c.h"
#include "rings/board.h"
#include "rings/epoch.h"
#include "rings/fence.h"
#include "rings/gauges.h"
#include "rings/ring.h"
#include "rings/state.h"

#define VMSIG_BOOT_FD 3 /* the boot socket in every actor */

typedef struct vmsig_rt vmsig_rt;

/* One side of one link, as this actor has it. Owned by the runtime; `ud` is the actor's. */
typedef struct vmsig_link {
    uint16_t id;
    bool output;
    uint8_t dir; /* vmsig_dir */
    Vmsig__Pb__ActorKind peer_kind;
    char peer[32];
    uint64_t endpoint_mask;
    uint32_t source;
    uint32_t accepts;
    bool memctx;
    uint32_t generation;
    vmsig_ring_out out; /* where output */
    vmsig_ring_in in;   /* where not */
    vmsig_ring_end old; /* an output after a restart: where the predecessor's ring ended, and its last event */
    vmsig_link_gauge *gauge;
    int data_bell, room_bell;
    void *ud;
} vmsig_link;

/* NULL = not needed. */
typedef struct vmsig_rt_ops {
    /* Boot, pages and state are there, links are not. */
    int (*boot)(void *self, vmsig_rt *rt);
    /* An output is being mapped after a restart: its new ring starts at *cursor = link->old.tail, which stays as it is.
     * An input: where to go on reading; the default is *cursor, the former reader page's cursor (0 at the first start),
     * below which nothing is left to read. */
    void (*resume)(void *self, vmsig_link *link, uint64_t *cursor);
    /* A link was added (at boot, or hot-plugged later). */
    int (*link_added)(void *self, vmsig_link *link);
    /* The peer of a link has a new incarnation (also: its first). */
    void (*link_renewed)(void *self, vmsig_link *link);
    void (*link_removed)(void *self, vmsig_link *link);
    /* The producer of an input had written nonsense and was restarted. What came behind that is lost: reading goes on at
     * the input's cursor. */
    void (*link_healed)(void *self, vmsig_link *link);
    /* All of the boot is there: recover, then take input. READY is said when this returns 0. */
    int (*start)(void *self);
    /* Events wait on `in`: peek, handle, advance, at most budget of them. How many were taken; 0 = they stay where they
     * are until vmsig_rt_wake_input, or until an output that was full has room again. */
    unsigned (*consume)(void *self, vmsig_link *in, unsigned budget);
    /* `out` was full, vmsig_rt_want_room was said, and there is room now. */
    void (*writable)(void *self, vmsig_link *out);
    /* The read-only RAM fd of an endpoint (borrowed: dup to keep). */
    void (*ram)(void *self, uint32_t endpoint, uint32_t ram_id, int fd);
    /* A gateway's grants were read again: their text, borrowed. */
    void (*grants)(void *self, const char *text, size_t len);
    /* A page that this actor may read came, or came anew. */
    void (*page)(void *self, Vmsig__Pb__PageKind kind, uint32_t endpoint);
    /* An fd came after the boot (vmsig_rt_fd). */
    void (*fd)(void *self, Vmsig__Pb__FdKind kind);
    /* The end of a turn that did something. */
    void (*turn)(void *self);
    /* Drain and stop; call vmsig_rt_stopped when done (at once, or later, before deadline_ns). Inputs are consumed and
     * outputs flushed once more in the turn in which it is called. NULL = nothing to drain. */
    void (*stop)(void *self, uint64_t deadline_ns);
} vmsig_rt_ops;

/* Takes VMSIG_BOOT_FD, runs the handshake, then the loop, until stopped. The exit code for main. Makes the process
 * non-dumpable and, where asked, pins it. What goes wrong is told to the supervisor (Failed) or, without one, on
 * stderr. */
int vmsig_rt_main(const vmsig_rt_ops *ops, void *self);

/* The same in steps, for vmsig_actor.h: open returns once READY was said. */
int vmsig_rt_open(const vmsig_rt_ops *ops, void *self, int timeout_ms, vmsig_rt **out);
int vmsig_rt_run(vmsig_rt *rt);                  /* until stopped: the exit code */
int vmsig_rt_turn(vmsig_rt *rt, int timeout_ms); /* one turn: 0, or -errno; -ESHUTDOWN: stopped */
void vmsig_rt_close(vmsig_rt *rt);
void vmsig_rt_quit(vmsig_rt *rt, int exit_code);
void vmsig_rt_stopped(vmsig_rt *rt);

const Vmsig__Pb__Boot *vmsig_rt_boot(const vmsig_rt *rt);
/* From stop on: the actor whose exhausted restarts are why everything stops; NULL: there is another reason. */
const char *vmsig_rt_failed(const vmsig_rt *rt);
/* An option by the topology's key, or NULL. */
const char *vmsig_rt_option(const vmsig_rt *rt, const char *key);
vmsig_loop *vmsig_rt_loop(vmsig_rt *rt);
const vmsig_board *vmsig_rt_board(const vmsig_rt *rt); /* the newest; may change at each turn */
vmsig_gauges *vmsig_rt_gauges(vmsig_rt *rt);
/* The fd of the state page (owned by the runtime), or -1. */
int vmsig_rt_state_fd(const vmsig_rt *rt);
/* An fd that came with the boot, or later, owned by the runtime, or -1. A later one of the kind replaces it. */
int vmsig_rt_fd(const vmsig_rt *rt, Vmsig__Pb__FdKind kind);
/* Gateway: asks for the next segment of its audit log; it comes as FD_AUDIT. */
int vmsig_rt_ask_audit(vmsig_rt *rt);
/* Gateway: an endpoint does not become quiet, and the topology may want it killed. */
int vmsig_rt_say_unquiet(vmsig_rt *rt, uint32_t endpoint);

/* The epoch of an endpoint, 0 = none (its host is down, or its page's incarnation is not the board's). Two loads. */
uint32_t vmsig_rt_epoch(const vmsig_rt *rt, uint32_t endpoint);
/* A host's own page, to advance; NULL for others. */
vmsig_epoch_page *vmsig_rt_own_epoch(vmsig_rt *rt);
/* The gateway's own fence page; NULL for others. */
vmsig_fence_page *vmsig_rt_own_fences(vmsig_rt *rt);
/* The view that a host, or who else takes an endpoint's commands, has of its gateway's fences; NULL while there is none. */
const vmsig_fence_page *vmsig_rt_fences(const vmsig_rt *rt, uint32_t endpoint);

/* The links, in the order of their ids; *n how many. */
vmsig_link *const *vmsig_rt_links(vmsig_rt *rt, unsigned *n);

/* A link's event could not be published for want of room: writable() will be called when n slots are free. */
void vmsig_rt_want_room(vmsig_rt *rt, vmsig_link *out, uint32_t n);
/* Consume on this input again, though nothing new arrived. */
void vmsig_rt_wake_input(vmsig_rt *rt, vmsig_link *in);

/* Host: offers its RAM's read-only, sealed fd (duplicated). */
int vmsig_rt_offer_ram(vmsig_rt *rt, uint32_t endpoint, uint32_t ram_id, int ro_fd);
/* A receiver of MEMCTX that lacks the RAM named: asks the supervisor once. */
int vmsig_rt_ask_ram(vmsig_rt *rt, uint32_t endpoint, uint32_t ram_id);

/* What of this actor's work is off, and why, as `vmsig status` shows it; "" = all is on. */
void vmsig_rt_remark(vmsig_rt *rt, const char *text);

/* One line on stderr, "NAME: text"; and the same told to the supervisor as the reason of the end that follows. */
void vmsig_rt_log(const vmsig_rt *rt, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void vmsig_rt_fail(vmsig_rt *rt, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
