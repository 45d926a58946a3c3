/* relay_poison.c: events and records that kill who takes them up. */
#include <string.h>

#include "actors/context/relay_impl.h"

void poison_look(vmsig_relay *r) {
    state *st = r->st;
    uint64_t origin = st->trying;
    uint32_t i = 0;
    if (origin == 0)
        return;
    while (i < VMSIG_RELAY_PORTS && st->acc[i].link != vmsig_origin_link(origin))
        i++;
    bool undecided = i < VMSIG_RELAY_PORTS && vmsig_origin_position(st->acc[i].acc) == vmsig_origin_position(origin);
    uint64_t deaths = !undecided ? 0 : origin == st->suspect ? st->deaths + 1 : 1;
    durable64(&st->suspect, origin);
    durable64(&st->deaths, deaths);
    durable64(&st->trying, 0);
}

void poison_over(vmsig_relay *r) {
    durable64(&r->st->deaths, 0);
    durable64(&r->st->suspect, 0);
}

/* Whether the record can be one at all. */
static bool redo_is_sound(const vmsig_relay *r, const redo *j) {
    bool sound = j->dir < 2 && j->n <= 3 && (j->acc_at == VMSIG_NONE || j->acc_at < VMSIG_RELAY_PORTS);
    sound = sound && (j->answer_at == VMSIG_NONE || j->answer_at < r->capacity[VMSIG_DIR_UP]);
    sound = sound && (j->endpoint == VMSIG_NONE || j->endpoint < VMSIG_ENDPOINTS_MAX);
    sound = sound && (j->op != OP_DISPATCH || j->idx[0] < r->capacity[j->dir]);
    for (uint32_t k = 0; sound && k < j->n; k++)
        sound = j->idx[k] < r->capacity[j->dir];
    return sound;
}

/* Events that go up are told as lost where they would have been. (A command is not: it has yet to be answered.) */
static void blunt(redo *j) {
    for (uint32_t k = 0; j->dir == VMSIG_DIR_UP && k < j->n; k++)
        if (j->e[k].seq != 0 && j->e[k].kind != VMSIG_EV_LOST)
            vmsig_entry_lose(&j->e[k], VMSIG_LOST_POISON);
}

bool poison_redo(vmsig_relay *r) {
    state *st = r->st;
    redo *j = &st->redo;
    if (st->redo_tries < DEATHS_MAX) {
        durable64(&st->redo_tries, st->redo_tries + 1);
        redo_apply(r);
        durable64(&st->redo_tries, 0);
        return false;
    }
    bool sound = redo_is_sound(r, j), lose = sound && j->op == OP_DISPATCH;
    if (sound && !lose) {
        blunt(j);
        redo_apply(r);
    }
    durable64(&j->op, 0);
    durable64(&st->redo_tries, 0);
    return lose;
}
