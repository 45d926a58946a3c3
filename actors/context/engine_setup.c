/* engine_setup.c: making an engine, its policies, and its indexes from the entries alone. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/context/engine_impl.h"

#define SENSOR4(k)  [k] = KIND_EXISTS, [(k) + 1] = KIND_EXISTS, [(k) + 2] = KIND_EXISTS, [(k) + 3] = KIND_EXISTS
#define SENSOR16(k) SENSOR4(k), SENSOR4((k) + 4), SENSOR4((k) + 8), SENSOR4((k) + 12)
#define SENSOR64(k) SENSOR16(k), SENSOR16((k) + 16), SENSOR16((k) + 32), SENSOR16((k) + 48)

const uint8_t kind_bits[256] = {
    [VMSIG_EV_STATE] = KIND_EXISTS,
    [VMSIG_EV_MEMCTX] = KIND_EXISTS,
    [VMSIG_EV_MEMCTX_INVALID] = KIND_EXISTS | KIND_EXPRESS | KIND_BARRIER,
    [VMSIG_EV_EPOCH_END] = KIND_EXISTS | KIND_EXPRESS | KIND_BARRIER,
    [VMSIG_EV_LOST] = KIND_EXISTS | KIND_SINGLE | KIND_UNSTAMPS,
    [VMSIG_EV_SNAPSHOT_END] = KIND_EXISTS | KIND_EXPRESS,
    [VMSIG_EV_RESULT] = KIND_EXISTS | KIND_EXPRESS | KIND_UNSTAMPS,
    [VMSIG_EV_LEASE] = KIND_EXISTS | KIND_EXPRESS | KIND_BARRIER | KIND_UNSTAMPS,
    [VMSIG_EV_VMHOST] = KIND_EXISTS,
    [VMSIG_CMD_INPUT] = KIND_EXISTS | KIND_COMMAND, /* coalesced and a barrier by what it bears */
    [VMSIG_CMD_LIFECYCLE] = KIND_EXISTS | KIND_COMMAND | KIND_SINGLE | KIND_BARRIER,
    [VMSIG_CMD_VM] = KIND_EXISTS | KIND_COMMAND | KIND_SINGLE | KIND_BARRIER,
    [VMSIG_CMD_MEMWRITE] = KIND_EXISTS | KIND_COMMAND | KIND_SINGLE | KIND_BARRIER,
    [VMSIG_CMD_LEASE] = KIND_EXISTS | KIND_COMMAND | KIND_EXPRESS | KIND_BARRIER,
    SENSOR64(VMSIG_EV_SENSOR_FIRST),
    SENSOR64(VMSIG_EV_SENSOR_FIRST + 64),
    SENSOR64(VMSIG_EV_SENSOR_FIRST + 128),
};

int vmsig_engine_new(const vmsig_engine_cfg *cfg, vmsig_engine **out) {
    vmsig_engine *e = calloc(1, sizeof *e);
    if (e == NULL)
        return -ENOMEM;
    e->cfg = *cfg;
    e->entries = cfg->entries;
    e->capacity = cfg->capacity;
    e->free_head = VMSIG_NONE;
    e->brief = e->unpaced = UINT32_MAX;
    memset(e->prio, VMSIG_PRIO_NORMAL, sizeof e->prio);
    sched_reset(e);
    *out = e;
    return 0;
}

void vmsig_engine_free(vmsig_engine *e) {
    if (e == NULL)
        return;
    free(e->windows);
    free(e);
}

void vmsig_engine_moved(vmsig_engine *e, vmsig_entry *entries, uint32_t capacity) {
    e->entries = entries;
    e->capacity = capacity;
}

/* ---- policies ------------------------------------------------------------------------------------------ */

static int want_windows(vmsig_engine *e, const vmsig_timing *t) {
    if (t->coalesce_ns == 0 || e->windows != NULL)
        return 0;
    e->windows = calloc((size_t)VMSIG_CHANNELS * 256u, sizeof *e->windows);
    return e->windows != NULL ? 0 : -ENOMEM;
}

int vmsig_engine_set_policy(vmsig_engine *e, uint32_t source, uint32_t prio, const vmsig_timing *timing) {
    static const vmsig_timing none;
    const vmsig_timing *t = timing != NULL ? timing : &none;
    if (source >= VMSIG_SOURCES_MAX || prio > VMSIG_PRIO_URGENT || t->drop_policy > VMSIG_DROP_BLOCK)
        return -EINVAL;
    int r = want_windows(e, t);
    if (r < 0)
        return r;
    e->prio[source] = (uint8_t)(prio != VMSIG_PRIO_DEFAULT ? prio : VMSIG_PRIO_NORMAL);
    e->policy[source] = *t;
    bool unpaced = t->min_gap_ns == 0 && t->coalesce_ns == 0, brief = t->coalesce_ns == 0 && t->max_inflight == 0;
    e->unpaced = unpaced ? e->unpaced | 1u << source : e->unpaced & ~(1u << source);
    e->brief = brief ? e->brief | 1u << source : e->brief & ~(1u << source);
    e->paces = e->paces || t->min_gap_ns != 0 || t->coalesce_ns != 0;
    e->bounds = e->bounds || t->max_inflight != 0;
    for (uint32_t endpoint = 0; endpoint < VMSIG_ENDPOINTS_MAX; endpoint++)
        for (uint32_t p = VMSIG_PRIO_LOW; p <= VMSIG_PRIO_URGENT; p++)
            flow_rejudge(e, flow_of(endpoint * VMSIG_SOURCES_MAX + source, p));
    return 0;
}

bool vmsig_engine_paces(const vmsig_engine *e) {
    return e->paces;
}

uint32_t vmsig_engine_queued(const vmsig_engine *e) {
    return e->used;
}

bool vmsig_engine_is_express(const vmsig_entry *cand) {
    return kind_is_express(cand->kind);
}

uint32_t vmsig_engine_in_channel(const vmsig_engine *e, const vmsig_entry *cand) {
    return e->quota[vmsig_entry_channel(cand)];
}

uint32_t vmsig_engine_is_ahead(const vmsig_engine *e, const vmsig_entry *cand) {
    return e->ahead[vmsig_entry_channel(cand)];
}

void vmsig_engine_ahead(vmsig_engine *e, uint32_t channel, int by) {
    e->ahead[channel] += (uint32_t)by;
}

uint32_t vmsig_engine_bound(const vmsig_engine *e, const vmsig_entry *cand) {
    bool urgent = vmsig_engine_prio(e, cand) == VMSIG_PRIO_URGENT;
    return urgent || cand->kind == VMSIG_EV_LOST || kind_is_express(cand->kind) ? 0
                                                                                : e->policy[cand->source].max_inflight;
}

bool vmsig_engine_bounds(const vmsig_engine *e) {
    return e->bounds;
}

bool vmsig_engine_may_pass(vmsig_engine *e, const vmsig_entry *cand) {
    const vmsig_timing *t = &e->policy[cand->source];
    const endpoint_state *ep = &e->ep[cand->endpoint];
    uint32_t channel = vmsig_entry_channel(cand), idx;
    if ((kind_bits[cand->kind] & KIND_EXISTS) == 0)
        return false;
    if (kind_is_express(cand->kind)) /* only an answer in good time may, and only where nobody waits */
        return e->used == 0 && (kind_bits[cand->kind] & KIND_BARRIER) == 0 &&
               (cand->epoch == 0 || cand->epoch > ep->ended);
    if (t->min_gap_ns != 0 || t->coalesce_ns != 0)
        return false;
    if (cand->epoch != 0 && (cand->epoch <= ep->ended || (ep->gate != 0 && cand->epoch > ep->gate)))
        return false;
    if (e->used == 0)
        return true;
    for (uint32_t p = VMSIG_PRIO_LOW; p <= VMSIG_PRIO_URGENT; p++)
        if (e->flows[flow_of(channel, p)].state != FLOW_IDLE)
            return false;
    return vmsig_engine_pick(e, &idx) == VMSIG_PICK_NONE;
}

bool vmsig_engine_may_follow(const vmsig_engine *e, const vmsig_entry *cand) {
    const vmsig_timing *t = &e->policy[cand->source];
    uint8_t state = e->flows[flow_of(vmsig_entry_channel(cand), vmsig_engine_prio(e, cand))].state;
    return t->min_gap_ns == 0 && t->coalesce_ns == 0 && t->max_inflight == 0 && kind_bits[cand->kind] == KIND_EXISTS &&
           state == FLOW_HELD;
}

/* ---- epochs -------------------------------------------------------------------------------------------- */

uint32_t vmsig_engine_ended(const vmsig_engine *e, uint32_t endpoint) {
    return e->ep[endpoint].ended;
}

void vmsig_engine_set_ended(vmsig_engine *e, uint32_t endpoint, uint32_t epoch) {
    e->ep[endpoint].ended = epoch;
}

/* ---- rebuild ------------------------------------------------------------------------------------------- */

static int by_seq(const void *a, const void *b, void *ud) {
    const vmsig_entry *entries = ud;
    uint64_t x = entries[*(const uint32_t *)a].seq, y = entries[*(const uint32_t *)b].seq;
    return x < y ? -1 : x > y;
}

static void relink(vmsig_engine *e, uint32_t idx) {
    const vmsig_entry *n = &e->entries[idx];
    uint32_t f = entry_flow(e, n);
    e->used++;
    if (counts(n))
        e->quota[vmsig_entry_channel(n)]++;
    if (f >= FLOW_END && n->epoch > e->ep[n->endpoint].ended)
        e->ep[n->endpoint].ended = n->epoch;
    flow_append(e, f, idx);
}

int vmsig_engine_rebuild(vmsig_engine *e) {
    uint32_t *order = malloc((size_t)e->capacity * sizeof *order), n = 0;
    if (order == NULL)
        return -ENOMEM;
    sched_reset(e);
    memset(e->quota, 0, sizeof e->quota);
    e->used = 0;
    e->high = 0;
    e->free_head = VMSIG_NONE;
    for (uint32_t i = e->capacity; i-- > 0;) {
        if (e->entries[i].seq != 0) {
            order[n++] = i;
            e->high = e->high == 0 ? i + 1 : e->high;
        } else if (e->high > 0) { /* above it, nothing is touched: these pages are not mapped yet */
            e->entries[i].next = e->free_head;
            e->free_head = i;
        }
    }
    qsort_r(order, n, sizeof *order, by_seq, e->entries);
    for (uint32_t i = 0; i < n; i++)
        relink(e, order[i]);
    free(order);
    for (uint32_t endpoint = 0; endpoint < VMSIG_ENDPOINTS_MAX; endpoint++) {
        e->ep[endpoint].gate = e->ep[endpoint].old_left = 0;
        e->ep[endpoint].barrier++;
        gate_open_next(e, endpoint);
    }
    return 0;
}
