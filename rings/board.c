#include "rings/board.h"

#include <errno.h>
#include <string.h>

#include "rings/atomics.h"
#include "rings/page.h"
#include "rings/shm.h"

/* More than a topology can have: whoever reads another count reads nonsense. */
#define ACTORS_MAX (1u << 16)

_Static_assert(sizeof(vmsig_board_entry) == 8, "an entry is one load");

size_t vmsig_board_bytes(uint32_t actors_n) {
    return sizeof(vmsig_board) + (size_t)actors_n * sizeof(vmsig_board_entry);
}

int vmsig_board_create(int fd, uint32_t actors_n, uint64_t lineage, vmsig_board **out) {
    void *map;
    *out = NULL;
    if (actors_n > ACTORS_MAX)
        return -EINVAL;
    int err = vmsig_page_create(fd, vmsig_board_bytes(actors_n), &map);
    if (err < 0)
        return err;
    *out = map;
    (*out)->actors_n = actors_n;
    (*out)->lineage = lineage;
    vmsig_page_commit(map, VMSIG_BOARD_MAGIC);
    return 0;
}

int vmsig_board_open(int fd, const vmsig_board **out) {
    const void *map;
    *out = NULL;
    int err = vmsig_page_open(fd, sizeof(vmsig_board), VMSIG_BOARD_MAGIC, &map);
    if (err < 0)
        return err;
    uint32_t actors_n = vmsig_load32(&((const vmsig_board *)map)->actors_n);
    vmsig_shm_unmap(map, sizeof(vmsig_board));
    if (actors_n > ACTORS_MAX)
        return -EPROTO;
    err = vmsig_page_open(fd, vmsig_board_bytes(actors_n), VMSIG_BOARD_MAGIC, &map);
    if (err == 0)
        *out = map;
    return err;
}

void vmsig_board_close(const vmsig_board *b) {
    if (b != NULL)
        vmsig_shm_unmap(b, vmsig_board_bytes(b->actors_n));
}

static uint64_t entry_word(uint32_t incarnation, vmsig_actor_state state) {
    vmsig_board_entry e = {.incarnation = incarnation, .state = (uint32_t)state};
    uint64_t word;
    memcpy(&word, &e, sizeof word);
    return word;
}

static void set(vmsig_board_entry *e, uint32_t incarnation, vmsig_actor_state state) {
    vmsig_store64_release((uint64_t *)(void *)e, entry_word(incarnation, state));
}

static vmsig_board_entry get(const vmsig_board_entry *e) {
    uint64_t word = vmsig_load64_acquire((const uint64_t *)(const void *)e);
    vmsig_board_entry out;
    memcpy(&out, &word, sizeof out);
    return out;
}

void vmsig_board_set_actor(vmsig_board *b, uint32_t actor, uint32_t incarnation, vmsig_actor_state state) {
    if (actor < b->actors_n)
        set(&b->actors[actor], incarnation, state);
}

void vmsig_board_set_endpoint(vmsig_board *b, uint32_t endpoint, uint32_t incarnation, vmsig_actor_state state) {
    if (endpoint < VMSIG_ENDPOINTS_MAX)
        set(&b->endpoints[endpoint], incarnation, state);
}

vmsig_board_entry vmsig_board_actor(const vmsig_board *b, uint32_t actor) {
    return actor < b->actors_n ? get(&b->actors[actor]) : (vmsig_board_entry){0};
}

vmsig_board_entry vmsig_board_endpoint(const vmsig_board *b, uint32_t endpoint) {
    return endpoint < VMSIG_ENDPOINTS_MAX ? get(&b->endpoints[endpoint]) : (vmsig_board_entry){0};
}

const char *vmsig_actor_state_name(vmsig_actor_state s) {
    static const char *const names[] = {
        [VMSIG_ACTOR_STOPPED] = "stopped",   [VMSIG_ACTOR_STARTING] = "starting", [VMSIG_ACTOR_READY] = "ready",
        [VMSIG_ACTOR_STOPPING] = "stopping", [VMSIG_ACTOR_WAITING] = "waiting",   [VMSIG_ACTOR_FAILED] = "failed",
    };
    return (unsigned)s < sizeof names / sizeof names[0] ? names[s] : "?";
}
