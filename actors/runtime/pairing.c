/* A MEMCTX is handed on only together with the RAM that it names. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors/runtime/actor.h"

#define RAM_DEADLINE_NS UINT64_C(1000000000) /* for the fd to come once it was asked for */

static void drop_parked(vmsig_pair *p) {
    if (p->waiting)
        free(p->parked.payload);
    p->waiting = false;
}

static uint32_t ram_of(const vmsig_event *ev) {
    vmsig_memctx m;
    memcpy(&m, ev->inln, sizeof(m));
    return m.ram_id;
}

static void ask(vmsig_actor *a, vmsig_pair *p, uint32_t endpoint, uint32_t ram_id) {
    if (p->asked && p->asked_id == ram_id)
        return;
    p->asked = true;
    p->asked_id = ram_id;
    int err = vmsig_rt_ask_ram(a->rt, endpoint, ram_id);
    if (err)
        vmsig_rt_log(a->rt, "cannot ask for RAM %u of endpoint %u: %s", ram_id, endpoint, strerror(-err));
    vmsig_timer_set(a->ram_timer, vmsig_now_ns() + RAM_DEADLINE_NS, 0);
}

/* Hands the parked context on if it can be. Of an epoch that is over it stays where it is: the next one replaces it; of
 * one that is not here yet it waits for the epoch's page. */
static void try_pair(vmsig_actor *a, uint32_t endpoint) {
    vmsig_pair *p = &a->pairs[endpoint];
    if (!p->waiting)
        return;
    uint32_t ram_id = ram_of(&p->parked);
    if (!p->has_ram || p->ram_id != ram_id) {
        ask(a, p, endpoint, ram_id);
        return;
    }
    if (p->parked.epoch != vmsig_rt_epoch(a->rt, endpoint))
        return;
    if (a->on_memctx)
        a->on_memctx(a, &p->parked, p->ram_fd, a->memctx_ud);
    drop_parked(p);
}

void vmsig_pairing_event(vmsig_actor *a, vmsig_event *ev) {
    if (ev->endpoint >= VMSIG_ENDPOINTS_MAX)
        return;
    vmsig_pair *p = &a->pairs[ev->endpoint];
    if (ev->kind == VMSIG_EV_MEMCTX_INVALID) {
        if (p->waiting && p->parked.epoch != vmsig_rt_epoch(a->rt, ev->endpoint))
            drop_parked(p);
        a->on_memctx(a, ev, -1, a->memctx_ud);
        return;
    }
    if (ev->inln_len < sizeof(vmsig_memctx)) {
        vmsig_rt_log(a->rt, "an address-space context of endpoint %u is too short; ignored", ev->endpoint);
        return;
    }
    drop_parked(p);
    p->parked = *ev;
    p->waiting = true;
    ev->payload = NULL;
    try_pair(a, ev->endpoint);
}

void vmsig_pairing_ram(void *self, uint32_t endpoint, uint32_t ram_id, int fd) {
    vmsig_actor *a = self;
    if (endpoint >= VMSIG_ENDPOINTS_MAX)
        return;
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0) {
        vmsig_rt_log(a->rt, "cannot keep the RAM of endpoint %u: %s", endpoint, strerror(errno));
        return;
    }
    vmsig_pair *p = &a->pairs[endpoint];
    if (p->has_ram)
        close(p->ram_fd);
    p->has_ram = true;
    p->ram_fd = own;
    p->ram_id = ram_id;
    try_pair(a, endpoint);
}

void vmsig_pairing_page(void *self, Vmsig__Pb__PageKind kind, uint32_t endpoint) {
    vmsig_actor *a = self;
    if (kind == VMSIG__PB__PAGE_KIND__PAGE_EPOCH && endpoint < VMSIG_ENDPOINTS_MAX)
        try_pair(a, endpoint);
    for (uint32_t e = 0; kind == VMSIG__PB__PAGE_KIND__PAGE_BOARD && e < VMSIG_ENDPOINTS_MAX; e++)
        try_pair(a, e);
}

void vmsig_pairing_late(void *self) {
    vmsig_actor *a = self;
    for (uint32_t e = 0; e < VMSIG_ENDPOINTS_MAX; e++) {
        vmsig_pair *p = &a->pairs[e];
        if (p->waiting && p->asked && (!p->has_ram || p->ram_id != ram_of(&p->parked)))
            vmsig_rt_log(a->rt, "the RAM %u of endpoint %u did not come within 1 s; its context waits", p->asked_id, e);
    }
}

void vmsig_pairing_drop(vmsig_actor *a) {
    for (uint32_t e = 0; e < VMSIG_ENDPOINTS_MAX; e++) {
        drop_parked(&a->pairs[e]);
        if (a->pairs[e].has_ram)
            close(a->pairs[e].ram_fd);
    }
}
