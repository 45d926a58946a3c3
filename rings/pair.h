/* pair.h: the pair of rings between a gateway and a control, and what is particular about them.
 *
 *   gateway                                                control
 *     events: head, slots, arena ─────────────────────────►  (maps it read-only)
 *     (maps it read-only) ◄────────── cursor, nap ─────────  its reader page
 *     (maps it read-only) ◄────────── commands: head, slots
 *     its reader page ────── cursor, nap ─────────────────►  (maps it read-only)
 *
 * Rings live as long as their connection: whoever comes back gets new ones, and goes on in the gateway's log.
 * Slots      an event's `origin` is (bits 32..47 of its seq, place); place 0 = of the retained set. A command's is its
 *            corr. What does not fit a slot goes over the socket, in its place: a MARK (kind 0) stands for it in the
 *            ring. Events: the mark first, then the frame. Commands: the frame once the gateway has passed the mark.
 * Waking     a Bell frame on the socket, to who says that he sleeps (ring.h). A full socket needs none: it is readable.
 *            No eventfd: whoever shares one can make it block, for the other side too.
 */
#ifndef VMSIG_PAIR_H
#define VMSIG_PAIR_H

#include "rings/ring.h"

enum { /* the fds, in the order in which they are sent */
       VMSIG_PAIR_EVENTS = 0,
       VMSIG_PAIR_EVENTS_READER = 1,
       VMSIG_PAIR_COMMANDS = 2,
       VMSIG_PAIR_COMMANDS_READER = 3,
       VMSIG_PAIR_FDS = 4
};

#define VMSIG_PAIR_LINK_EVENTS   1u /* in the rings' heads */
#define VMSIG_PAIR_LINK_COMMANDS 2u
#define VMSIG_PAIR_SLOTS_MIN     64u
#define VMSIG_PAIR_SLOTS_MAX     65536u
#define VMSIG_PAIR_ARENA_MIN     4096u
#define VMSIG_PAIR_ARENA_MAX     (4u << 20)
#define VMSIG_PAIR_COMMAND_SLOTS 1024u /* all that a session may have under way, and as much again */
#define VMSIG_PAIR_PLACE_BITS    48u

static inline bool vmsig_pair_is_mark(const vmsig_image *img) {
    return img->s[0].kind == 0;
}
/* Publishes a mark: as vmsig_ring_put. */
static inline int vmsig_pair_put_mark(vmsig_ring_out *out) {
    static const vmsig_image mark = {.s[0].corr_merged = 1};
    return vmsig_ring_put(out, &mark, 1);
}

#endif
