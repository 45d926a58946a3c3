/* board.h: who is alive, in which incarnation. Written by the supervisor alone, read by every actor with one load.
 * A new supervisor makes a new board and hands it round.
 *
 *   ┌ head: magic, layout, lineage, counts ┐┌ endpoints[64] ┐┌ actors[n] ┐
 *
 * An endpoint's epoch is valid while its host's page (epoch.h) bears the incarnation that stands here.
 */
#ifndef VMSIG_BOARD_H
#define VMSIG_BOARD_H

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

#include "vmsig_event.h"

#define VMSIG_BOARD_MAGIC 0x6472616f62736d76ull /* "vmsboard" */

typedef enum vmsig_actor_state {
    VMSIG_ACTOR_STOPPED = 0,
    VMSIG_ACTOR_STARTING = 1,
    VMSIG_ACTOR_READY = 2,
    VMSIG_ACTOR_STOPPING = 3,
    VMSIG_ACTOR_WAITING = 4, /* for its back-off to pass */
    VMSIG_ACTOR_FAILED = 5   /* given up */
} vmsig_actor_state;

typedef struct vmsig_board_entry {
    uint32_t incarnation;
    uint32_t state; /* vmsig_actor_state; of an endpoint: its host's */
} vmsig_board_entry;

typedef struct vmsig_board {
    alignas(64) uint64_t magic;
    uint32_t layout;
    uint32_t actors_n;
    uint64_t lineage;
    alignas(64) vmsig_board_entry endpoints[VMSIG_ENDPOINTS_MAX];
    vmsig_board_entry actors[];
} vmsig_board;

size_t vmsig_board_bytes(uint32_t actors_n);
/* The writer's: maps fd and writes the head. */
int vmsig_board_create(int fd, uint32_t actors_n, uint64_t lineage, vmsig_board **out);
/* A reader's: checks seals, size, magic and layout. */
int vmsig_board_open(int fd, const vmsig_board **out);
void vmsig_board_close(const vmsig_board *b);

/* One store each; visible to readers in the order of the calls. */
void vmsig_board_set_actor(vmsig_board *b, uint32_t actor, uint32_t incarnation, vmsig_actor_state state);
void vmsig_board_set_endpoint(vmsig_board *b, uint32_t endpoint, uint32_t incarnation, vmsig_actor_state state);
vmsig_board_entry vmsig_board_actor(const vmsig_board *b, uint32_t actor);
vmsig_board_entry vmsig_board_endpoint(const vmsig_board *b, uint32_t endpoint);
const char *vmsig_actor_state_name(vmsig_actor_state s);

#endif
