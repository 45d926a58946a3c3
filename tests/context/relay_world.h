/* relay_world.h: the relay between rings of this process, whose every durable store can be made the last one of an
 * incarnation. The relay's own files are compiled in here, with that hook.
 *
 *   host ──1──► ┌───────┐ ──10──► gateway
 *   sensor ─2─► │ relay │
 *   gateway 3─► └───────┘ ──11──► host        ──12──► sensor that takes the memctx
 */
#ifndef RELAY_WORLD_H
#define RELAY_WORLD_H

#include <criterion/criterion.h>
#include <setjmp.h>
#include <string.h>
#include <unistd.h>

static void crash_point(void);
static bool redo_is_tried(void);
#define RELAY_POINT() crash_point()
#include "actors/context/relay.c"
#include "actors/context/relay_ahead.c"
#include "actors/context/relay_dispatch.c"
#include "actors/context/relay_epoch.c"
#include "actors/context/relay_poison.c"
#include "actors/context/relay_redo.c"
#include "actors/context/relay_state.c"
#include "rings/shm.h"

#define STATE_BYTES (1u << 20)
#define SLOTS       16u
#define ARENA       16384u
#define INS         3
#define OUTS        3
#define SENSOR      9u

/* A link whose producer (ins) or consumer (outs) lives as long as the world. */
typedef struct outside {
    uint16_t id;
    int fd; /* ins: the producer's ring; outs: the consumer's reader page */
    vmsig_ring_out out;
    vmsig_ring_in in;
} outside;

/* What belongs to one incarnation of the relay. */
typedef struct inside {
    int fd; /* ins: its reader page; outs: its ring */
    vmsig_port port;
    vmsig_ring_out out;
    vmsig_ring_in in;
} inside;

typedef struct world {
    outside ins[INS], outs[OUTS];
    inside in[INS], out[OUTS];
    uint32_t incarnation;
    int state_fd;
    vmsig_state_head *state;
    vmsig_relay *relay;
    uint64_t clock;
    uint32_t epoch;
    vmsig_timing timing[2][VMSIG_SOURCES_MAX];
    const vmsig_ring_in *killer; /* an input whose event at `kills` is deadly; NULL: none */
    uint64_t kills;
} world;

static uint64_t points;   /* durable stores so far */
static uint64_t crash_at; /* the one after which the relay dies; 0 = never */
static jmp_buf crashed __attribute__((unused));

static bool crash_redo; /* dies once a record is there that was tried more often than: */
static int64_t crash_tries;
static const state *watched; /* of the incarnation that lives */

static bool redo_is_tried(void) {
    return watched != NULL && watched->redo.op != 0 && (int64_t)watched->redo_tries > crash_tries;
}

static void crash_point(void) {
    if (++points == crash_at || (crash_redo && redo_is_tried()))
        longjmp(crashed, 1);
}

static uint64_t world_now(void *ud) {
    return ((world *)ud)->clock;
}
static uint32_t world_epoch(void *ud, uint32_t endpoint) {
    const world *w = ud;
    if (w->killer != NULL && w->killer->cursor == w->kills)
        longjmp(crashed, 1);
    return endpoint == 0 ? ((world *)ud)->epoch : 0;
}
static void world_room(void *ud, vmsig_port *out, uint32_t slots) {
    (void)ud, (void)out, (void)slots;
}
static void world_wake(void *ud, vmsig_port *in) {
    (void)ud, (void)in;
}

static const uint8_t in_dirs[INS] = {VMSIG_DIR_UP, VMSIG_DIR_UP, VMSIG_DIR_DOWN};
static const uint8_t out_dirs[OUTS] = {VMSIG_DIR_UP, VMSIG_DIR_DOWN, VMSIG_DIR_DOWN};

/* ---- one incarnation of the relay --------------------------------------------------------------------------- */

static void open_in(world *w, int i) {
    inside *k = &w->in[i];
    outside *o = &w->ins[i];
    int former = k->fd;
    uint64_t cursor = 0, arena = 0;
    if (former >= 0) {
        const void *map;
        cr_assert_eq(vmsig_shm_map_ro(former, sizeof(vmsig_reader), &map), 0);
        cursor = ((const vmsig_reader *)map)->cursor;
        arena = ((const vmsig_reader *)map)->arena_cursor;
        vmsig_shm_unmap(map, sizeof(vmsig_reader));
        close(former);
    }
    cursor = vmsig_relay_resume_in(w->relay, o->id, cursor);
    k->fd = vmsig_shm_create("test-reader", VMSIG_READER_BYTES);
    cr_assert_eq(vmsig_ring_in_create(&k->in, k->fd, cursor, arena), 0);
    cr_assert_eq(vmsig_shm_seal(k->fd), 0);
    cr_assert_eq(vmsig_ring_in_peer(&k->in, o->fd, o->id), 0);
    cr_assert_eq(vmsig_ring_out_peer(&o->out, k->fd), 0);
    k->port = (vmsig_port){.id = o->id, .dir = in_dirs[i], .endpoints = 1, .in = &k->in};
    k->port.host = i == 0;
    k->port.sensor = i == 1;
    k->port.source = i == 1 ? SENSOR : 0;
    cr_assert_eq(vmsig_relay_add(w->relay, &k->port), 0);
}

/* As the runtime does it: what the former ring's end tells is completed before there is a new ring. */
static void open_out(world *w, int i) {
    inside *k = &w->out[i];
    outside *o = &w->outs[i];
    vmsig_ring_end end = {0};
    int former = k->fd;
    if (former >= 0) {
        cr_assert_eq(vmsig_ring_find_end(former, o->fd, &end), 0);
        vmsig_relay_resume_out(w->relay, &end);
    }
    k->fd = vmsig_shm_create("test-ring", vmsig_ring_bytes(SLOTS, ARENA));
    cr_assert_eq(vmsig_ring_out_create(&k->out, k->fd, o->id, w->incarnation, SLOTS, ARENA, end.tail, end.arena_tail),
                 0);
    cr_assert_eq(vmsig_shm_seal(k->fd), 0);
    if (former >= 0)
        close(former);
    cr_assert_eq(vmsig_ring_in_peer(&o->in, k->fd, o->id), 0);
    cr_assert_eq(vmsig_ring_out_peer(&k->out, o->fd), 0);
    k->port = (vmsig_port){.id = o->id, .dir = out_dirs[i], .endpoints = 1, .out = &k->out};
    k->port.host = i == 1;
    k->port.accepts = i == 1 ? 0x1f : 0;
    k->port.memctx = i == 2;
    cr_assert_eq(vmsig_relay_add(w->relay, &k->port), 0);
}

static void relay_up(world *w) {
    bool fresh = false;
    vmsig_relay_env env = {world_now, world_epoch, world_room, world_wake, w};
    w->incarnation++;
    cr_assert_eq(vmsig_state_open(w->state_fd, VMSIG_RELAY_KIND, VMSIG_RELAY_VERSION, STATE_BYTES, &w->state, &fresh),
                 0);
    cr_assert_eq(vmsig_relay_new(w->state, STATE_BYTES, fresh, &env, &w->relay), 0);
    watched = w->relay->st;
    for (uint32_t d = 0; d < 2; d++)
        for (uint32_t s = 0; s < VMSIG_SOURCES_MAX; s++)
            vmsig_relay_set_policy(w->relay, s, (vmsig_dir)d, 0, &w->timing[d][s]);
    for (int i = 0; i < OUTS; i++)
        open_out(w, i);
    for (int i = 0; i < INS; i++)
        open_in(w, i);
    cr_assert_eq(vmsig_relay_start(w->relay), 0);
}

/* What process death leaves: the memfds. */
static void relay_down(world *w) {
    watched = NULL;
    vmsig_relay_free(w->relay);
    vmsig_state_close(w->state);
    w->relay = NULL;
    w->state = NULL;
    for (int i = 0; i < INS; i++)
        vmsig_ring_in_close(&w->in[i].in);
    for (int i = 0; i < OUTS; i++)
        vmsig_ring_out_close(&w->out[i].out);
}

/* ---- the world ---------------------------------------------------------------------------------------------- */

static void world_open(world *w) {
    static const uint16_t in_ids[INS] = {1, 2, 3}, out_ids[OUTS] = {10, 11, 12};
    memset(w, 0, sizeof *w);
    w->clock = 1000000000u;
    w->epoch = 1;
    w->state_fd = vmsig_shm_create("test-state", STATE_BYTES);
    for (int i = 0; i < INS; i++) {
        outside *o = &w->ins[i];
        o->id = in_ids[i];
        o->fd = vmsig_shm_create("test-ring", vmsig_ring_bytes(SLOTS, ARENA));
        cr_assert_eq(vmsig_ring_out_create(&o->out, o->fd, o->id, 1, SLOTS, ARENA, 0, 0), 0);
        cr_assert_eq(vmsig_shm_seal(o->fd), 0);
        w->in[i].fd = -1;
    }
    for (int i = 0; i < OUTS; i++) {
        outside *o = &w->outs[i];
        o->id = out_ids[i];
        o->fd = vmsig_shm_create("test-reader", VMSIG_READER_BYTES);
        cr_assert_eq(vmsig_ring_in_create(&o->in, o->fd, 0, 0), 0);
        cr_assert_eq(vmsig_shm_seal(o->fd), 0);
        w->out[i].fd = -1;
    }
}

static void world_close(world *w) {
    if (w->relay != NULL)
        relay_down(w);
    for (int i = 0; i < INS; i++) {
        vmsig_ring_out_close(&w->ins[i].out);
        close(w->ins[i].fd);
        if (w->in[i].fd >= 0)
            close(w->in[i].fd);
    }
    for (int i = 0; i < OUTS; i++) {
        vmsig_ring_in_close(&w->outs[i].in);
        close(w->outs[i].fd);
        if (w->out[i].fd >= 0)
            close(w->out[i].fd);
    }
    close(w->state_fd);
}

/* One turn of the actor. */
static void relay_turn(world *w) {
    for (int i = 0; i < INS; i++)
        vmsig_relay_consume(w->relay, &w->in[i].port, 8);
    w->killer = NULL;
    vmsig_relay_turn(w->relay);
    for (int i = 0; i < OUTS; i++)
        vmsig_relay_writable(w->relay, &w->out[i].port);
    for (int i = 0; i < INS; i++)
        vmsig_ring_release(&w->in[i].in);
}

#endif
