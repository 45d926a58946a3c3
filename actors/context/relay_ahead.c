/* relay_ahead.c: what lies in the next ring and counts for max_inflight: it goes on counting until the consumer's cursor
 * has passed it. Of a channel without a bound nothing is noted, and looking at the cursor is put off until a bound seems
 * to be reached. A successor counts anew: what its predecessor published is not noted any more.
 */
#include <errno.h>
#include <stdlib.h>

#include "actors/context/relay_impl.h"

int ahead_new(vmsig_relay *r, vmsig_port *p) {
    p->ahead = NULL;
    p->ahead_first = p->ahead_n = 0;
    if (p->out == NULL || !vmsig_engine_bounds(r->engine[p->dir]))
        return 0;
    p->ahead = malloc((p->out->mask + 1ull) * sizeof *p->ahead);
    return p->ahead != NULL ? 0 : -ENOMEM;
}

/* Forgets those below `cursor`: whether there were any. */
static bool forget(vmsig_relay *r, vmsig_port *p, uint64_t cursor) {
    uint32_t n = p->ahead_n;
    for (; p->ahead_n > 0 && p->ahead[p->ahead_first & p->out->mask].position < cursor; p->ahead_first++, p->ahead_n--)
        vmsig_engine_ahead(r->engine[p->dir], p->ahead[p->ahead_first & p->out->mask].channel, -1);
    return p->ahead_n < n;
}

static bool look(vmsig_relay *r, vmsig_port *p) {
    return p->out->reader != NULL && forget(r, p, vmsig_load64_acquire(&p->out->reader->cursor));
}

void ahead_drop(vmsig_relay *r, vmsig_port *p) {
    if (p->ahead == NULL)
        return;
    forget(r, p, UINT64_MAX);
    free(p->ahead);
    p->ahead = NULL;
}

bool ahead_full(vmsig_relay *r, vmsig_port *p, const vmsig_entry *n) {
    const vmsig_engine *e = r->engine[p->dir];
    uint32_t bound = vmsig_engine_bound(e, n);
    if (bound == 0 || vmsig_engine_is_ahead(e, n) + vmsig_engine_in_channel(e, n) < bound)
        return false;
    look(r, p);
    return vmsig_engine_is_ahead(e, n) >= bound;
}

void ahead_note(vmsig_relay *r, vmsig_port *p, const vmsig_entry *n, uint64_t position) {
    if (vmsig_engine_bound(r->engine[p->dir], n) == 0)
        return;
    if (p->ahead_n > p->out->mask) /* no more of them than slots are in use */
        look(r, p);
    if (p->ahead_n > p->out->mask)
        return;
    uint32_t channel = vmsig_entry_channel(n);
    p->ahead[(p->ahead_first + p->ahead_n++) & p->out->mask] = (vmsig_ahead){position, channel};
    vmsig_engine_ahead(r->engine[p->dir], channel, 1);
}

/* The bell rings for room: for as much as there is once the first of them was passed. */
void ahead_wait(vmsig_relay *r, vmsig_port *p) {
    if (p->ahead_n == 0)
        return;
    uint64_t behind = p->out->tail - p->ahead[p->ahead_first & p->out->mask].position - 1;
    r->ahead_waits = true;
    r->env.want_room(r->env.ud, p, p->out->mask + 1 - (uint32_t)behind);
}

/* Others may go on filling the ring, so that it never has more room: then each turn looks. */
bool ahead_passed(vmsig_relay *r) {
    bool any = false;
    if (!r->ahead_waits)
        return false;
    for (uint32_t i = 0; i < r->ports_n; i++)
        any = (r->ports[i]->ahead != NULL && look(r, r->ports[i])) || any;
    r->ahead_waits = !any;
    return any;
}
