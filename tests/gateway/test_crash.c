/* The gateway dies at each durable store in turn, and once more soon after: whatever was under way, each event is
 * delivered once and in order, each command reaches the context once and is answered once, tokens grow.
 *
 * The two files through which every durable store goes are compiled into this test, with a store that counts. */
#include <setjmp.h>

#include "rings/atomics.h"

static jmp_buf death;
static long stores, die_at; /* die_at 0 = never */

static void counted_store(uint64_t *p, uint64_t v) {
    *(volatile uint64_t *)p = v;
    if (++stores == die_at)
        longjmp(death, 1);
}
#define vmsig_store64_release(p, v) counted_store((p), (v))
#include "actors/gateway/log.c"
#define padded tx_padded
#include "actors/gateway/tx.c"
#undef padded
#undef vmsig_store64_release

#include "tests/gateway/world.h"

#define STEPS 24

/* What outlives the gateway: the ring from the context, and the control. */
typedef struct life {
    world *w;
    seen seen;
    uint64_t session, place;
    bool snapshot;
    uint64_t token;
    int answered[STEPS + 2]; /* results per corr */
    int32_t status[STEPS + 2];
    uint32_t next_tick; /* the next one that must come */
    bool wrong;
    /* the ring: ticks, and answers to what was sent */
    struct {
        bool tick;
        uint32_t value; /* of the tick, or the index in sent */
    } ring[4096];
    int ring_n, sent_seen;
    uint32_t ticks;
} life;

static int on_event(void *user, const vmsig_event *ev) {
    life *l = user;
    uint64_t place = vmsig_gate_place(l->w->gate);
    if (place && place <= l->place && ev->kind != VMSIG_EV_SNAPSHOT_END)
        l->wrong = true;
    l->place = place ? place : l->place;
    if (ev->kind == VMSIG_EV_SNAPSHOT_END)
        l->snapshot = false;
    if (ev->kind == 64)
        l->wrong |= seen_value(ev) != l->next_tick++;
    if (ev->kind == VMSIG_EV_LOST)
        l->wrong = true;
    if (ev->kind == VMSIG_EV_LEASE) {
        vmsig_lease_info info;
        memcpy(&info, ev->inln, sizeof info);
        if (info.state == VMSIG_LEASE_GRANTED) {
            l->wrong |= info.token < l->token;
            l->token = info.token;
        }
    }
    if (ev->kind == VMSIG_EV_RESULT && ev->corr <= STEPS) {
        vmsig_result r;
        memcpy(&r, ev->inln, sizeof r);
        l->answered[ev->corr]++;
        l->status[ev->corr] = r.status;
    }
    return 0;
}

static void connect_again(life *l) {
    vmsig_inproc_cfg cfg = {.on_event = on_event, .user = l, .sub = {UINT32_MAX, UINT64_MAX, 0}};
    vmsig_gate_session at = {.id = l->session, .place = l->place, .uid = 1000, .snapshot = l->snapshot};
    l->seen.ctl = vmsig_inproc_control_new(&cfg);
    l->seen.id = vmsig_gate_attach_session(l->w->gate, vmsig_inproc_control_ops(), l->seen.ctl, &at);
    cr_assert_geq(l->seen.id, 0);
    l->wrong |= l->session && !at.resumed;
    if (!l->session) {
        l->snapshot = true;
        l->place = at.place;
    }
    l->session = at.id;
    world_grant(l->w, &l->seen, 1000, 3, VMSIG_CAP_ALL, 0);
}

/* The context: what is new on the ring, from where the gateway has accepted. */
static void feed(life *l) {
    static uint8_t payload[50000];
    for (; l->sent_seen < l->w->sent_n; l->sent_seen++) {
        l->ring[l->ring_n].tick = false;
        l->ring[l->ring_n++].value = (uint32_t)l->sent_seen;
    }
    uint64_t position = 0, seq;
    vmsig_gate_accepted(l->w->gate, 5, &position, &seq);
    for (; position < (uint64_t)l->ring_n; position++) {
        vmsig_event ev = {.kind = 64, .source = 9, .epoch = 7, .prio = VMSIG_PRIO_NORMAL, .merged = 1, .inln_len = 4};
        vmsig_result r = {.status = VMSIG_OK};
        memcpy(ev.inln, &l->ring[position].value, 4);
        ev.payload = payload;
        ev.payload_len = sizeof payload; /* the log goes round */
        if (!l->ring[position].tick) {
            ev = (vmsig_event){.kind = VMSIG_EV_RESULT, .corr = l->w->sent[l->ring[position].value].corr};
            ev.inln_len = sizeof r;
            memcpy(ev.inln, &r, sizeof r);
        }
        ev.seq = position + 1;
        vmsig_gate_take(l->w->gate, 5, position + 1, &ev);
    }
}

/* Step n of what the control does: the lease, two commands with it, and back. */
static vmsig_event command_of(const life *l, uint64_t n) {
    switch (n % 4) {
    case 1:
        return world_lease_cmd(0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 100000, n);
    case 0:
        return world_lease_cmd(0, VMSIG_LEASE_RELEASE, VMSIG_LEASE_INPUT, 0, n);
    default:
        return world_key(0, l->token, n);
    }
}

static void live_on(life *l) {
    for (uint64_t n = 1; n <= STEPS; n++) {
        if (l->answered[n])
            continue;
        if (l->ticks < n) {
            l->ring[l->ring_n].tick = true;
            l->ring[l->ring_n++].value = l->ticks++;
        }
        vmsig_event cmd = command_of(l, n);
        cr_assert_eq(vmsig_inproc_send(l->seen.ctl, &cmd), 0);
        for (int i = 0; i < 10 && !l->answered[n]; i++) {
            feed(l);
            vmsig_gate_turn(l->w->gate);
        }
        if (!l->answered[n]) {
            l->wrong = true;
            return;
        }
    }
    feed(l);
    vmsig_gate_turn(l->w->gate);
}

static void check(const life *l, long at) {
    int keys = 0;
    for (int i = 0; i < l->w->sent_n; i++)
        keys += l->w->sent[i].kind == VMSIG_CMD_INPUT;
    cr_assert_not(l->wrong, "died at store %ld", at);
    cr_assert_eq(l->next_tick, STEPS, "died at store %ld: %u ticks", at, l->next_tick);
    cr_assert_eq(keys, STEPS / 2, "died at store %ld: %d keys reached the context", at, keys);
    for (int n = 1; n <= STEPS; n++) {
        cr_assert_eq(l->answered[n], 1, "died at store %ld: command %d was answered %d times", at, n, l->answered[n]);
        cr_assert_eq(l->status[n], VMSIG_OK, "died at store %ld: command %d: %d", at, n, l->status[n]);
    }
}

/* Publishing is a store too: the one that cannot be undone. */
static int publish(void *ud, const vmsig_event *cmd) {
    static uint64_t turn;
    int err = world_command(ud, cmd);
    counted_store(&turn, 1);
    return err;
}

/* One life with deaths at store `first` and, `more` stores on, at another. The number of stores it took. */
static long live(long first, long more) {
    static life l;
    static volatile long next;
    memset(&l, 0, sizeof l);
    stores = die_at = 0;
    l.w = world_new_sized(VMSIG_GATE_STATE_MIN);
    vmsig_gate_free(l.w->gate);
    l.w->env.command = publish;
    world_boot(l.w);
    stores = 0;
    die_at = first;
    next = more;
    if (setjmp(death)) { /* leaks what the dead process had, as the kernel would not */
        die_at = next ? stores + next : 0;
        next = 0;
        world_boot(l.w);
        connect_again(&l);
    } else {
        connect_again(&l);
    }
    live_on(&l);
    long n = stores;
    die_at = 0;
    check(&l, first);
    free(l.w->mem);
    free(l.w->fences);
    free(l.w);
    return n;
}

Test(crash, at_each_durable_store_nothing_is_lost_doubled_or_done_twice) {
    long n = live(0, 0);
    cr_assert_gt(n, 100);
    for (long k = 1; k <= n; k++)
        live(k, 0);
}

Test(crash, and_again_soon_after) {
    long n = live(0, 0);
    for (long k = 1; k <= n; k += 3)
        live(k, 1 + k * 7 % 40);
}
