#include "actors/gateway/commands.h"

#include <string.h>

#define INDEX_BITS 10u
#define INDEX_MASK (VMSIG_INFLIGHT_MAX - 1u)

_Static_assert(VMSIG_INFLIGHT_MAX == 1u << INDEX_BITS, "a corr holds the index");

void vmsig_commands_open(vmsig_commands *c, vmsig_commands_table *t) {
    c->t = t;
    c->free_n = 0;
    for (uint32_t i = VMSIG_INFLIGHT_MAX; i-- > 0;)
        if (t->entry[i].corr == 0)
            c->free[c->free_n++] = (uint16_t)i;
}

vmsig_inflight *vmsig_commands_new(vmsig_commands *c, vmsig_tx *tx) {
    if (c->free_n == 0)
        return NULL;
    uint32_t i = c->free[--c->free_n];
    vmsig_inflight *e = &c->t->entry[i];
    vmsig_tx_save(tx, &c->t->next_order, sizeof c->t->next_order + sizeof c->t->generation);
    vmsig_tx_save(tx, e, sizeof *e);
    memset(e, 0, sizeof *e);
    do
        c->t->generation++;
    while ((c->t->generation << INDEX_BITS) == 0); /* so that no corr is 0 */
    e->corr = c->t->generation << INDEX_BITS | i;
    e->order = c->t->next_order++;
    return e;
}

vmsig_inflight *vmsig_commands_find(vmsig_commands *c, uint32_t corr) {
    vmsig_inflight *e = &c->t->entry[corr & INDEX_MASK];
    return corr && e->corr == corr ? e : NULL;
}

vmsig_inflight *vmsig_commands_of(vmsig_commands *c, uint64_t session, uint64_t sender_corr) {
    for (uint32_t i = 0; i < VMSIG_INFLIGHT_MAX; i++) {
        vmsig_inflight *e = &c->t->entry[i];
        if (e->corr && e->session == session && e->sender_corr == sender_corr)
            return e;
    }
    return NULL;
}

vmsig_inflight *vmsig_commands_first_queued(vmsig_commands *c, uint32_t endpoint, uint32_t cls) {
    vmsig_inflight *first = NULL;
    for (uint32_t i = 0; i < VMSIG_INFLIGHT_MAX; i++) {
        vmsig_inflight *e = &c->t->entry[i];
        if (e->corr && e->state == VMSIG_INFLIGHT_QUEUED && e->endpoint == endpoint && e->cls == cls &&
            (!first || e->order < first->order))
            first = e;
    }
    return first;
}

void vmsig_commands_free(vmsig_commands *c, vmsig_tx *tx, vmsig_inflight *e) {
    vmsig_tx_save(tx, e, sizeof *e);
    c->free[c->free_n++] = (uint16_t)(e - c->t->entry);
    e->corr = 0;
    e->state = VMSIG_INFLIGHT_FREE;
}
