/* conn_ring.h: the rings of a connection (rings/pair.h): events go up and commands down through shared memory, with the
 * same checks, results and places as over its socket. Internal to the server.
 *
 *   NONE ──Hello{rings}──► OFFERED: four fds with the Welcome ──Mapped: sealed, mapped──► LIVE ──► the connection's end
 *                          no event leaves
 *
 * Distrust   what the control writes is read as in ring.h; nonsense ends the connection with one sentence. It may flood
 *            its ring, stop, or never release an event: it is served a few commands a turn, and falls behind in the log.
 */
#ifndef VMSIG_CONN_RING_H
#define VMSIG_CONN_RING_H

#include <stdbool.h>

#include "control.pb-c.h"
#include "rings/pair.h"

#define VMSIG_CONN_RINGS_PER_UID (32u << 20) /* bytes of all rings of one uid */

struct vmsig_conn;

typedef struct vmsig_conn_rings {
    vmsig_ring_out up;
    vmsig_ring_in down;
    int fd[VMSIG_PAIR_FDS]; /* as they are sent; -1 once live */
    uint32_t slots, arena;
    size_t bytes;
    bool live;
    bool full;     /* an event waits for room */
    bool owed;     /* a mark stands in the ring: the next event goes over the socket */
    bool expected; /* a mark was read: the next command comes over the socket */
    bool more;     /* commands are left for the next turn */
    bool bell_due; /* the socket took no bell, and is not full */
} vmsig_conn_rings;

/* Makes what the Hello asks for: NULL: done; a reason why not. A size that there is not drops the connection. */
const char *vmsig_conn_rings_new(struct vmsig_conn *c, const Vmsig__Pb__RingsAsk *ask);
void vmsig_conn_rings_free(struct vmsig_conn *c);
/* The control says that it has mapped its two. */
void vmsig_conn_rings_mapped(struct vmsig_conn *c);

/* An event: 1 it is in the ring; 0 it is to go over the socket now; -EAGAIN, or the error that ends the connection. */
int vmsig_conn_rings_put(struct vmsig_conn *c, const vmsig_event *ev);
/* The same where it has to go over the socket in any case: 0, -EAGAIN... */
int vmsig_conn_rings_mark(struct vmsig_conn *c);

/* Its bell rang, or nothing holds its commands up any more. */
void vmsig_conn_rings_look(struct vmsig_conn *c);
/* The connection has ended: what was published before. */
void vmsig_conn_rings_drain(struct vmsig_conn *c);
/* Once per turn: events show, cursors go up, sleepers wake. */
void vmsig_conn_rings_flush(struct vmsig_conn *c);

#endif
