/* intent.c: commands whose intent is written and not yet durable: held back until it is, in their order.
 *
 *   admit ──hold──► [ held: oldest first ] ──ready, nothing of its lane before it──► context
 *
 * The entry is in the durable state (INFLIGHT_INTENT), the command itself is not: a successor answers it UNAVAILABLE, for
 * it had no effect.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/gateway/gate_impl.h"

static uint16_t index_of(const vmsig_gate *g, const vmsig_inflight *e) {
    return (uint16_t)(e - g->d->commands.entry);
}

static vmsig_inflight *entry_of(const vmsig_gate *g, const vmsig_held *h) {
    return &g->d->commands.entry[h - g->held];
}

/* The one before in the list; NULL: it is the first. */
static vmsig_held *before(const vmsig_gate *g, uint16_t i) {
    vmsig_held *h = g->held_first == i ? NULL : &g->held[g->held_first];
    while (h && h->next != i)
        h = &g->held[h->next];
    return h;
}

int vmsig_gate_hold(vmsig_gate *g, vmsig_inflight *e, const vmsig_event *cmd, bool ready) {
    uint16_t i = index_of(g, e);
    vmsig_held *h = &g->held[i];
    *h = (vmsig_held){.cmd = *cmd, .next = VMSIG_HELD_NONE, .ready = ready};
    if (cmd->payload_len) {
        h->cmd.payload = malloc(cmd->payload_len);
        if (!h->cmd.payload)
            return -ENOMEM;
        memcpy(h->cmd.payload, cmd->payload, cmd->payload_len);
    }
    if (g->held_first == VMSIG_HELD_NONE)
        g->held_first = i;
    else
        g->held[g->held_last].next = i;
    g->held_last = i;
    e->state = VMSIG_INFLIGHT_INTENT;
    return 0;
}

void vmsig_gate_unhold(vmsig_gate *g, const vmsig_inflight *e) {
    uint16_t i = index_of(g, e);
    vmsig_held *h = &g->held[i], *prev = before(g, i);
    if (prev)
        prev->next = h->next;
    else
        g->held_first = h->next;
    if (g->held_last == i)
        g->held_last = prev ? (uint16_t)(prev - g->held) : VMSIG_HELD_NONE;
    free(h->cmd.payload);
    h->cmd.payload = NULL;
}

bool vmsig_gate_held_lane(const vmsig_gate *g, uint32_t endpoint, uint8_t lane) {
    for (uint16_t i = g->held_first; i != VMSIG_HELD_NONE; i = g->held[i].next)
        if (g->held[i].cmd.endpoint == endpoint && g->held[i].cmd.source == lane)
            return true;
    return false;
}

bool vmsig_gate_held_session(const vmsig_gate *g, uint64_t session, uint32_t endpoint) {
    for (uint16_t i = g->held_first; i != VMSIG_HELD_NONE; i = g->held[i].next)
        if (g->held[i].cmd.endpoint == endpoint && g->d->commands.entry[i].session == session)
            return true;
    return false;
}

/* In a transaction of its own: -EAGAIN later. */
static int answer(vmsig_gate *g, vmsig_inflight *e, vmsig_status status) {
    if (vmsig_gate_begin(g, 0))
        return -EAGAIN;
    vmsig_gate_answer(g, e, status, 0);
    vmsig_gate_commit(g);
    return 0;
}

static int publish(vmsig_gate *g, vmsig_held *h) {
    vmsig_inflight *e = entry_of(g, h);
    if (h->failed)
        return answer(g, e, h->failed);
    if (vmsig_gate_begin(g, 0))
        return -EAGAIN;
    vmsig_tx_save(&g->tx, &e->state, sizeof e->state);
    e->state = VMSIG_INFLIGHT_SENT;
    if (g->env.mark)
        vmsig_tx_mark(&g->tx, g->env.mark(g->env.ud, e->endpoint));
    int err = g->env.command(g->env.ud, &h->cmd);
    if (err) {
        vmsig_gate_rollback(g);
        return err == -EAGAIN ? err : answer(g, e, VMSIG_UNAVAILABLE);
    }
    vmsig_gate_commit(g);
    vmsig_gate_unhold(g, e);
    return 0;
}

void vmsig_gate_send_held(vmsig_gate *g) {
    uint64_t waits[VMSIG_SOURCES_MAX] = {0}; /* lanes with one that still waits: endpoint masks */
    for (uint16_t i = g->held_first, next; i != VMSIG_HELD_NONE; i = next) {
        vmsig_held *h = &g->held[i];
        uint64_t *lane = &waits[h->cmd.source], bit = 1ull << h->cmd.endpoint;
        next = h->next;
        if ((*lane & bit) || (!h->ready && !h->failed) || publish(g, h))
            *lane |= bit;
    }
}

void vmsig_gate_intended(vmsig_gate *g, uint64_t corr, vmsig_status status) {
    vmsig_inflight *e = corr <= UINT32_MAX ? vmsig_commands_find(&g->commands, (uint32_t)corr) : NULL;
    if (!e || e->state != VMSIG_INFLIGHT_INTENT)
        return;
    vmsig_held *h = &g->held[index_of(g, e)];
    h->ready = status == VMSIG_OK;
    h->failed = status;
    vmsig_gate_wake(g);
}

void vmsig_gate_answer_held(vmsig_gate *g) {
    for (uint32_t i = 0; i < VMSIG_INFLIGHT_MAX; i++) {
        vmsig_inflight *e = &g->d->commands.entry[i];
        if (!e->corr || e->state != VMSIG_INFLIGHT_INTENT || vmsig_gate_begin(g, 0))
            continue;
        vmsig_tx_save(&g->tx, &e->state, sizeof e->state);
        e->state = VMSIG_INFLIGHT_SENT; /* for nothing is held any more */
        vmsig_gate_answer(g, e, VMSIG_UNAVAILABLE, 0);
        vmsig_gate_commit(g);
    }
}

void vmsig_gate_free_held(vmsig_gate *g) {
    for (uint16_t i = g->held_first; g->held && i != VMSIG_HELD_NONE; i = g->held[i].next)
        free(g->held[i].cmd.payload);
    free(g->held);
}
