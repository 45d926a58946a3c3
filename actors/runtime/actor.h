/* actor.h: the inside of vmsig_actor: what its files share.
 *
 *   actor.c    open, timers, fds, events in     emit.c     events out, and what became of those that found no room
 *   pairing.c  a MEMCTX with the RAM it names   source.c   a vmsig_source_ops run as an actor
 *   drive.c    commands
 */
#ifndef VMSIG_ACTOR_INSIDE_H
#define VMSIG_ACTOR_INSIDE_H

#include "actors/runtime/actuator.h"
#include "actors/runtime/runtime.h"
#include "vmsig_actor.h"

/* The address-space context of one endpoint: it is handed on only together with the RAM that it names, and only while
 * its epoch is the current one. The newest waits here until both are so. */
typedef struct vmsig_pair {
    bool has_ram, waiting, asked;
    int ram_fd;
    uint32_t ram_id, asked_id;
    vmsig_event parked; /* with its payload, while waiting */
} vmsig_pair;

typedef struct vmsig_watch {
    vmsig_actor *actor;
    vmsig_timer *timer; /* or NULL: an fd */
    int fd;
    void (*fn)(vmsig_actor *a, void *ud);
    void *ud;
    struct vmsig_watch *next;
} vmsig_watch;

typedef struct vmsig_drive vmsig_drive;

struct vmsig_actor {
    vmsig_rt *rt;
    vmsig_watch *watches;
    void (*on_event)(vmsig_actor *a, const vmsig_event *ev, void *ud);
    void *event_ud;
    void (*on_memctx)(vmsig_actor *a, const vmsig_event *ev, int fd, void *ud);
    void *memctx_ud;
    /* Instead of on_event, for commands: 0 = done, 1 = its result is emitted later, -errno = refused. */
    int (*command)(vmsig_actor *a, const vmsig_event *cmd, void *ud);
    void *command_ud;
    vmsig_timer *ram_timer;
    vmsig_pair pairs[VMSIG_ENDPOINTS_MAX];
    vmsig_drive *drives[VMSIG_ENDPOINTS_MAX]; /* of endpoints of which a command has come */
};

/* emit.c */
void vmsig_actor_writable(void *self, vmsig_link *out);
int vmsig_actor_link_added(void *self, vmsig_link *link);
void vmsig_actor_link_removed(void *self, vmsig_link *link);
/* Emits without waiting: 0, -EAGAIN: nothing is lost, `writable` comes when there is room; -ENOTCONN... */
int vmsig_actor_offer(vmsig_actor *a, vmsig_event *ev);
/* Whether an event of that endpoint would find room now; if not, `writable` comes when there is. */
bool vmsig_actor_has_room(vmsig_actor *a, uint32_t endpoint);

/* drive.c: commands in, results out. */
static inline bool vmsig_drive_is_command(uint8_t kind) {
    return kind >= VMSIG_CMD_INPUT && kind <= VMSIG_CMD_LEASE;
}
/* Once the actor may be called: what a predecessor left. 0, or negative errno: it was told. */
int vmsig_drive_start(vmsig_actor *a);
/* A command can be taken now: its result will find room. */
bool vmsig_drive_ready(vmsig_actor *a, uint32_t endpoint);
void vmsig_drive_command(vmsig_actor *a, const vmsig_event *cmd);
/* true = it was the result of a command that is under way, and is on its way. */
bool vmsig_drive_result(vmsig_actor *a, const vmsig_event *result);
void vmsig_drive_epochs(vmsig_actor *a);
void vmsig_drive_flush(vmsig_actor *a);
/* The actor goes. */
void vmsig_drive_end(vmsig_actor *a);
void vmsig_drive_drop(vmsig_actor *a);

/* pairing.c */
/* Takes a MEMCTX or MEMCTX_INVALID; its payload may be kept: then ev->payload is NULL afterwards. */
void vmsig_pairing_event(vmsig_actor *a, vmsig_event *ev);
void vmsig_pairing_ram(void *self, uint32_t endpoint, uint32_t ram_id, int fd);
void vmsig_pairing_page(void *self, Vmsig__Pb__PageKind kind, uint32_t endpoint);
void vmsig_pairing_late(void *self);
void vmsig_pairing_drop(vmsig_actor *a);

#endif
