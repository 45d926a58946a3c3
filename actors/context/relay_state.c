/* relay_state.c: the relay's state: its layout in the memfd, the body store, what is rebuilt from it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/context/relay_impl.h"

/* Half of what the fixed part leaves is for events going up, a sixteenth for commands, the rest for bodies. */
static int lay_out(vmsig_relay *r, size_t bytes) {
    if (bytes < sizeof(state) + (64u << 10))
        return -EMSGSIZE;
    size_t rest = bytes - sizeof(state);
    uint8_t *p = (uint8_t *)r->st + sizeof(state);
    r->capacity[VMSIG_DIR_UP] = (uint32_t)(rest / 2 / sizeof(vmsig_entry));
    r->capacity[VMSIG_DIR_DOWN] = (uint32_t)(rest / 16 / sizeof(vmsig_entry));
    for (int d = 0; d < 2; d++) {
        r->entries[d] = (vmsig_entry *)(void *)p;
        p += r->capacity[d] * sizeof(vmsig_entry);
    }
    r->bodies = p;
    r->blocks = (uint32_t)(((size_t)((uint8_t *)r->st + bytes - p)) / BLOCK);
    r->block_map = calloc((r->blocks + 63) / 64, sizeof *r->block_map);
    return r->block_map != NULL ? 0 : -ENOMEM;
}

static int make_engine(vmsig_relay *r, vmsig_dir dir) {
    vmsig_engine_cfg cfg = {.dir = dir,
                            .now = r->env.now,
                            .ud = r->env.ud,
                            .entries = r->entries[dir],
                            .capacity = r->capacity[dir],
                            .next_seq = &r->st->next_seq[dir],
                            .last_sent = r->st->last_sent[dir]};
    return vmsig_engine_new(&cfg, &r->engine[dir]);
}

int vmsig_relay_new(vmsig_state_head *head, size_t bytes, bool fresh, const vmsig_relay_env *env, vmsig_relay **out) {
    vmsig_relay *r = calloc(1, sizeof *r);
    if (r == NULL)
        return -ENOMEM;
    r->env = *env;
    r->st = (state *)(void *)head;
    int err = lay_out(r, bytes);
    for (int d = 0; d < 2 && err == 0; d++)
        err = make_engine(r, (vmsig_dir)d);
    if (err != 0) {
        vmsig_relay_free(r);
        return err;
    }
    if (fresh) {
        r->st->next_seq[0] = r->st->next_seq[1] = 1;
        vmsig_state_commit(head, VMSIG_RELAY_KIND, VMSIG_RELAY_VERSION, bytes);
    }
    *out = r;
    return 0;
}

void vmsig_relay_free(vmsig_relay *r) {
    if (r == NULL)
        return;
    while (r->ports_n > 0)
        vmsig_relay_detach(r, r->ports[0]);
    vmsig_engine_free(r->engine[0]);
    vmsig_engine_free(r->engine[1]);
    free(r->block_map);
    free(r);
}

int vmsig_relay_set_policy(vmsig_relay *r, uint32_t source, vmsig_dir dir, uint32_t prio, const vmsig_timing *timing) {
    return (unsigned)dir <= VMSIG_DIR_DOWN ? vmsig_engine_set_policy(r->engine[dir], source, prio, timing) : -EINVAL;
}

/* ---- bodies of queued events: runs of blocks, next fit --------------------------------------------------- */

static bool taken(const vmsig_relay *r, uint32_t block) {
    return (r->block_map[block / 64] >> (block % 64) & 1u) != 0;
}

static void mark(vmsig_relay *r, uint64_t at, uint32_t len, bool take) {
    uint32_t first = (uint32_t)(at / BLOCK), n = (len + BLOCK - 1) / BLOCK;
    for (uint32_t b = first; b < first + n && b < r->blocks; b++) {
        uint64_t bit = 1ull << (b % 64);
        r->block_map[b / 64] = take ? r->block_map[b / 64] | bit : r->block_map[b / 64] & ~bit;
    }
}

/* The first run of n free blocks in [from, to), or VMSIG_NONE. O(blocks): bodies that must wait are the exception. */
static uint32_t find_run(const vmsig_relay *r, uint32_t from, uint32_t to, uint32_t n) {
    uint32_t run = 0;
    for (uint32_t b = from; b < to; b++) {
        if (b % 64 == 0 && r->block_map[b / 64] == UINT64_MAX) {
            run = 0;
            b += 63;
            continue;
        }
        run = taken(r, b) ? 0 : run + 1;
        if (run == n)
            return b + 1 - n;
    }
    return VMSIG_NONE;
}

int body_put(vmsig_relay *r, const void *bytes, uint32_t len, uint64_t *at) {
    uint32_t n = (len + BLOCK - 1) / BLOCK;
    uint32_t b = find_run(r, r->block_next, r->blocks, n);
    if (b == VMSIG_NONE)
        b = find_run(r, 0, r->blocks, n);
    if (b == VMSIG_NONE)
        return -EAGAIN;
    *at = (uint64_t)b * BLOCK;
    r->block_next = b + n < r->blocks ? b + n : 0;
    memcpy(r->bodies + *at, bytes, len);
    mark(r, *at, len, true);
    return 0;
}

void body_free(vmsig_relay *r, uint64_t at, uint32_t len) {
    mark(r, at, len, false);
}

/* ---- rebuilding ------------------------------------------------------------------------------------------ */

int state_rebuild(vmsig_relay *r) {
    for (int d = 0; d < 2; d++)
        for (uint32_t i = 0; i < r->capacity[d]; i++) {
            const vmsig_entry *n = &r->entries[d][i];
            if (n->seq != 0 && n->payload_len != 0)
                mark(r, n->payload, n->payload_len, true);
        }
    for (uint32_t e = 0; e < VMSIG_ENDPOINTS_MAX; e++)
        vmsig_engine_set_ended(r->engine[VMSIG_DIR_UP], e, r->st->endpoint[e].ended);
    int err = vmsig_engine_rebuild(r->engine[VMSIG_DIR_UP]);
    return err != 0 ? err : vmsig_engine_rebuild(r->engine[VMSIG_DIR_DOWN]);
}
