/* state.h: an actor's durable state: a memfd shared with nobody, mapped by each incarnation of the actor in turn. What
 * is stored there in program order is what a successor finds, for process death orders a process's stores.
 *
 *   ┌ head: magic, layout, kind, version, bytes ┐┌ the actor's own ┐
 */
#ifndef VMSIG_STATE_H
#define VMSIG_STATE_H

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMSIG_STATE_MAGIC 0x6574617473736d76ull /* "vmsstate" */

typedef struct vmsig_state_head {
    alignas(64) uint64_t magic; /* stored last: 0 means that the state was never set up */
    uint32_t layout;
    uint32_t kind;    /* whose it is */
    uint32_t version; /* of the actor's own part */
    uint32_t reserved;
    uint64_t bytes;
} vmsig_state_head;

/* Maps fd; a fresh state is populated, a successor's is not: it would take longer than all the rest of its start, and the
 * pages exist, so that a first touch costs microseconds. *fresh: nothing was set up; the caller fills in its part, then calls commit. -EPROTO: the state of another
 * kind or version (after an upgrade, say); -EMSGSIZE: smaller than bytes (head included). */
int vmsig_state_open(int fd, uint32_t kind, uint32_t version, size_t bytes, vmsig_state_head **out, bool *fresh);
void vmsig_state_commit(vmsig_state_head *s, uint32_t kind, uint32_t version, size_t bytes);
void vmsig_state_close(vmsig_state_head *s);

#endif
