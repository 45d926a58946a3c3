/* The turn, and how an actor waits for the next one. */
#include <errno.h>
#include <unistd.h>

#include "actors/runtime/rt.h"
#include "rings/atomics.h"
#include "rings/bell.h"

/* Fds and timers are looked at after so many turns while there is work, or, as long as events are taken in each of them,
 * after so long. */
#define BUSY_TURNS 8u
#define BUSY_NS    50000u

/* ---- inputs ------------------------------------------------------------------------------------------ */

static bool has_events(vmsig_rt_link *k) {
    return !k->l.output && !k->held && vmsig_ring_peek(&k->l.in);
}

static bool any_events(vmsig_rt *rt) {
    for (unsigned i = 0; i < rt->links_n; i++)
        if (has_events(rt->links[i]))
            return true;
    return false;
}

/* A peer that writes nonsense is not to be worked with: the supervisor learns whose it was, and restarts it. The link
 * rests until there is a new ring, or page. */
static bool check_poison(vmsig_rt_link *k) {
    vmsig_rt *rt = k->rt;
    if (!k->l.output && vmsig_ring_in_heal(&k->l.in) && rt->ops->link_healed)
        rt->ops->link_healed(rt->self, &k->l);
    bool poisoned = (k->l.output ? k->l.out.poisoned : k->l.in.poisoned) != 0;
    if (poisoned && !k->accused) {
        vmsig_rt_log(rt, "link %u is poisoned: %s wrote what no ring may hold", k->l.id, k->l.peer);
        vmsig_rt_say_poisoned(k, k->l.output || !k->l.in.chained ? k->newest : k->l.in.chain[0].generation);
    }
    k->accused = poisoned;
    return poisoned;
}

static unsigned consume(vmsig_rt_link *k, uint64_t now) {
    vmsig_rt *rt = k->rt;
    const vmsig_slot *s = vmsig_ring_peek(&k->l.in);
    if (!s)
        return 0;
    vmsig_hist_add(&k->l.gauge->latency, now > s->ts_ns ? now - s->ts_ns : 0);
    unsigned n = rt->ops->consume ? rt->ops->consume(rt->self, &k->l, VMSIG_RT_BUDGET) : 0;
    k->held = n == 0; /* there was one, and it was left; if some were left, the next call tells */
    vmsig_store64(&k->l.gauge->events, k->l.gauge->events + n);
    return n;
}

/* Each turn begins with another: where all wait for room in one output, it is not always the same who find it. */
static unsigned consume_all(vmsig_rt *rt) {
    unsigned n = 0, first = rt->turns_begun++, links = rt->links_n;
    uint64_t now = 0;
    for (unsigned i = 0; i < links && !rt->ended; i++) {
        unsigned at = (first + i) % links;
        vmsig_rt_link *k = at < rt->links_n ? rt->links[at] : NULL; /* one may have gone meanwhile */
        if (!k || !has_events(k))
            continue;
        if (!now)
            now = rt->taken_ns = vmsig_now_ns();
        n += consume(k, now);
    }
    if (n && now < rt->fds_due_ns)
        rt->busy_turns = 0;
    return n;
}

static void release(vmsig_rt_link *k) {
    if (k->l.in.cursor == k->released)
        return;
    k->released = k->l.in.cursor;
    vmsig_store64(&k->l.gauge->position, k->released);
    if (vmsig_ring_release(&k->l.in) && k->l.room_bell >= 0)
        vmsig_bell_ring(k->l.room_bell);
    if (k->parked_n && vmsig_rt_link_unpark(k)) {
        vmsig_rt_fail(k->rt, "cannot take a ring of %s on link %u", k->l.peer, k->l.id);
        vmsig_rt_quit(k->rt, 1);
    }
}

/* ---- outputs ----------------------------------------------------------------------------------------- */

void vmsig_rt_flush(vmsig_rt_link *k) {
    if (!k->l.out.unflushed)
        return;
    vmsig_store64(&k->l.gauge->events, k->l.gauge->events + k->l.out.unflushed);
    vmsig_store64(&k->l.gauge->position, k->l.out.tail);
    if (vmsig_ring_flush(&k->l.out) && k->l.data_bell >= 0)
        vmsig_bell_ring(k->l.data_bell);
}

/* What was published comes before the cursors: a cursor says that its events need not be seen again. */
static void publish(vmsig_rt *rt) {
    for (unsigned i = 0; i < rt->links_n; i++)
        if (rt->links[i]->l.output && !check_poison(rt->links[i]))
            vmsig_rt_flush(rt->links[i]);
    for (unsigned i = 0; i < rt->links_n; i++)
        if (!rt->links[i]->l.output) {
            release(rt->links[i]);
            check_poison(rt->links[i]);
        }
}

/* Inputs whose producer is gone go once they are drained. */
static void remove_drained(vmsig_rt *rt) {
    for (unsigned i = rt->links_n; i-- > 0;) {
        vmsig_rt_link *k = rt->links[i];
        if (k->leaving && !k->parked_n && !vmsig_ring_peek(&k->l.in))
            vmsig_rt_link_remove(k);
    }
}

/* ---- waiting ----------------------------------------------------------------------------------------- */

/* The clock is not asked before the first looks are over: what comes soon shall not wait for it. */
static bool look_on(vmsig_rt *rt) {
    for (uint64_t end = 0;;) {
        for (unsigned i = 0; i < VMSIG_LOOK_EVERY; i++) {
            if (any_events(rt))
                return true;
            vmsig_pause();
        }
        uint64_t now = vmsig_now_ns();
        if (end == 0)
            end = now + VMSIG_LOOK_NS;
        else if (now >= end)
            return false;
    }
}

static bool look_on_if_it_pays(vmsig_rt *rt) {
    if (!vmsig_look_pays(&rt->look))
        return false;
    bool hit = look_on(rt);
    vmsig_look_done(&rt->look, hit);
    return hit;
}

static void wake_all(vmsig_rt *rt) {
    for (unsigned i = 0; i < rt->links_n; i++) {
        vmsig_rt_link *k = rt->links[i];
        if (k->slept)
            vmsig_ring_wake(&k->l.in);
        k->slept = false;
    }
}

/* Says on every input that this side sleeps; false: something has come meanwhile. A held input is not asked: what it
 * holds waits for room, not for more. */
static bool lie_down(vmsig_rt *rt) {
    for (unsigned i = 0; i < rt->links_n; i++) {
        vmsig_rt_link *k = rt->links[i];
        if (k->l.output || k->held)
            continue;
        if (vmsig_ring_sleep(&k->l.in)) {
            wake_all(rt);
            return false;
        }
        k->slept = true;
    }
    return true;
}

static int look_at_fds(vmsig_rt *rt) {
    int ran = vmsig_loop_run_once(rt->loop, 0);
    rt->fds_busy = ran > 0;
    return ran;
}

/* Fds and timers; sleeps when there is nothing else. How many callbacks ran, or -errno. */
static int loop_phase(vmsig_rt *rt, int timeout_ms) {
    bool work = rt->wake || rt->later || rt->ended || any_events(rt);
    Vmsig__Pb__PollMode mode = rt->boot->poll;
    if (!work && timeout_ms != 0) {
        if (mode == VMSIG__PB__POLL_MODE__POLL_SPIN) {
            work = !rt->fds_busy && look_on(rt); /* an fd that was ready may be so again */
            timeout_ms = 0;
        }
        if (mode == VMSIG__PB__POLL_MODE__POLL_ADAPTIVE)
            work = look_on_if_it_pays(rt);
    }
    if (work && ++rt->busy_turns < BUSY_TURNS)
        return 0;
    rt->busy_turns = 0;
    rt->fds_due_ns = rt->taken_ns + BUSY_NS;
    if (work || timeout_ms == 0 || !lie_down(rt))
        return look_at_fds(rt);
    int ran = vmsig_loop_run_once(rt->loop, timeout_ms);
    wake_all(rt);
    vmsig_store64(&rt->gauges->wakeups, rt->gauges->wakeups + 1);
    return ran;
}

/* ---- the turn ---------------------------------------------------------------------------------------- */

/* Outputs that have room by now, whether a bell said so or not. */
static void look_for_room(vmsig_rt *rt) {
    rt->wake = false;
    for (unsigned i = 0; i < rt->links_n; i++)
        if (rt->links[i]->l.output && rt->links[i]->want)
            vmsig_rt_room_there(rt->links[i]);
}

static void finish(vmsig_rt *rt) {
    if (!rt->drained || rt->ended)
        return;
    for (unsigned i = 0; i < rt->links_n; i++)
        if (!rt->links[i]->l.output)
            vmsig_ring_in_stopped(&rt->links[i]->l.in);
    vmsig_rt_say_stopped(rt);
    vmsig_rt_quit(rt, 0);
}

int vmsig_rt_turn(vmsig_rt *rt, int timeout_ms) {
    if (rt->ended)
        return -ESHUTDOWN;
    int ran = loop_phase(rt, timeout_ms);
    if (ran < 0)
        return ran;
    if (rt->wake)
        look_for_room(rt);
    vmsig_rt_serve_later(rt);
    unsigned taken = rt->ready ? consume_all(rt) : 0;
    if ((ran || taken) && rt->ready) {
        if (rt->ops->turn)
            rt->ops->turn(rt->self);
        vmsig_store64(&rt->gauges->turns, rt->gauges->turns + 1);
        vmsig_store64(&rt->gauges->stamp_ns, taken ? rt->taken_ns : vmsig_now_ns());
    }
    publish(rt);
    remove_drained(rt);
    finish(rt);
    return rt->ended ? -ESHUTDOWN : 0;
}
