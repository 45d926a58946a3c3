/* Links: built at boot, at hot-plug, and anew for each incarnation of either end (docs/design.md, "How a link is
 * built"). */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "actors/runtime/rt.h"
#include "rings/bell.h"
#include "rings/shm.h"

#define WAIT_STEP_MS 5 /* how often room is looked at again where the cursor alone does not tell */

/* ---- finding ----------------------------------------------------------------------------------------- */

static vmsig_rt_link *find(const vmsig_rt *rt, uint32_t id) {
    for (unsigned i = 0; i < rt->links_n; i++)
        if (rt->links[i]->l.id == id)
            return rt->links[i];
    return NULL;
}

static int make_place(vmsig_rt *rt) {
    if (rt->links_n < rt->links_room)
        return 0;
    unsigned room = rt->links_room ? 2 * rt->links_room : 8;
    vmsig_rt_link **grown = realloc(rt->links, room * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    rt->links = grown;
    rt->links_room = room;
    return 0;
}

static void insert(vmsig_rt *rt, vmsig_rt_link *k) {
    unsigned i = rt->links_n++;
    for (; i > 0 && rt->links[i - 1]->l.id > k->l.id; i--)
        rt->links[i] = rt->links[i - 1];
    rt->links[i] = k;
}

static void take_out(vmsig_rt *rt, const vmsig_rt_link *k) {
    unsigned i = 0;
    while (rt->links[i] != k)
        i++;
    rt->links_n--;
    for (; i < rt->links_n; i++)
        rt->links[i] = rt->links[i + 1];
}

vmsig_link *const *vmsig_rt_links(vmsig_rt *rt, unsigned *n) {
    *n = rt->links_n;
    return (vmsig_link *const *)(void *)rt->links; /* the public link is each one's first member */
}

/* ---- Link: this side's memfd ------------------------------------------------------------------------- */

/* Goes on where the predecessor's ring ended. fds: own memfd [, former ring [, consumer's reader page]]. */
static int map_output(vmsig_rt_link *k, const Vmsig__Pb__Link *m, const int *fds, int nfds, uint64_t *start) {
    vmsig_link *l = &k->l;
    if (nfds > 1) {
        int err = vmsig_ring_find_end(fds[1], nfds > 2 ? fds[2] : -1, &l->old);
        if (err)
            return err;
        uint64_t tail = l->old.tail;
        if (k->rt->ops->resume)
            k->rt->ops->resume(k->rt->self, l, &tail);
    }
    *start = l->old.tail;
    return vmsig_ring_out_create(&l->out, fds[0], m->id, m->generation, m->slots, m->arena_bytes, l->old.tail,
                                 l->old.arena_tail);
}

static int former_cursors(int fd, uint64_t *cursor, uint64_t *arena_cursor) {
    const void *map;
    int err = vmsig_shm_map_ro(fd, sizeof(vmsig_reader), &map);
    if (err)
        return err;
    const vmsig_reader *former = map;
    *cursor = former->cursor; /* its writer is dead */
    *arena_cursor = former->arena_cursor;
    vmsig_shm_unmap(map, sizeof(vmsig_reader));
    return 0;
}

/* Goes on from the former cursor, or from where the actor knows that it was. fds: own memfd [, former reader page]. */
static int map_input(vmsig_rt_link *k, const int *fds, int nfds, uint64_t *start) {
    uint64_t cursor = 0, arena_cursor = 0;
    if (nfds > 1) {
        int err = former_cursors(fds[1], &cursor, &arena_cursor);
        if (err)
            return err;
    }
    uint64_t former = cursor;
    if (k->rt->ops->resume)
        k->rt->ops->resume(k->rt->self, &k->l, &cursor);
    if (cursor < former) /* what lies below may be overwritten already */
        return -EPROTO;
    *start = k->released = cursor;
    int err = vmsig_ring_in_create(&k->l.in, fds[0], cursor, arena_cursor);
    if (err == 0 && k->rt->boot->poll == VMSIG__PB__POLL_MODE__POLL_SPIN)
        vmsig_ring_in_sleepless(&k->l.in);
    return err;
}

static int say_mapped(vmsig_rt *rt, uint32_t id, uint32_t generation, uint64_t start) {
    Vmsig__Pb__Mapped mapped = VMSIG__PB__MAPPED__INIT;
    mapped.id = id;
    mapped.generation = generation;
    mapped.start = start;
    Vmsig__Pb__FromActor m = VMSIG__PB__FROM_ACTOR__INIT;
    m.m_case = VMSIG__PB__FROM_ACTOR__M_MAPPED;
    m.mapped = &mapped;
    return vmsig_rt_send(rt, &m, -1);
}

static vmsig_rt_link *new_link(vmsig_rt *rt, const Vmsig__Pb__Link *m) {
    vmsig_rt_link *k = aligned_alloc(alignof(vmsig_rt_link), sizeof(*k));
    if (!k)
        return NULL;
    memset(k, 0, sizeof(*k));
    k->rt = rt;
    vmsig_link *l = &k->l;
    l->id = (uint16_t)m->id;
    l->output = m->output;
    l->dir = (uint8_t)m->dir;
    l->peer_kind = m->peer_kind;
    strncpy(l->peer, m->peer, sizeof(l->peer) - 1);
    l->endpoint_mask = m->endpoint_mask;
    l->source = m->source;
    l->accepts = m->accepts;
    l->memctx = m->memctx;
    l->generation = m->generation;
    l->data_bell = l->room_bell = -1;
    l->gauge = vmsig_gauges_link(rt->gauges, m->id, m->output ? 1 : 0);
    if (!l->gauge)
        l->gauge = &rt->no_gauge;
    return k;
}

static int add(vmsig_rt *rt, const Vmsig__Pb__Link *m, const int *fds, int nfds) {
    if (m->id == 0 || m->id > UINT16_MAX || m->dir > VMSIG_DIR_DOWN || nfds < 1 || find(rt, m->id))
        return -EPROTO;
    int err = make_place(rt);
    vmsig_rt_link *k = err ? NULL : new_link(rt, m);
    if (!k)
        return -ENOMEM;
    uint64_t start = 0;
    err = m->output ? map_output(k, m, fds, nfds, &start) : map_input(k, fds, nfds, &start);
    if (err) {
        free(k);
        return err;
    }
    k->l.gauge->position = start;
    insert(rt, k);
    err = say_mapped(rt, m->id, m->generation, start);
    if (!err && rt->ops->link_added)
        err = rt->ops->link_added(rt->self, &k->l);
    return err;
}

int vmsig_rt_link_add(vmsig_rt *rt, const Vmsig__Pb__Link *m, const int *fds, int nfds) {
    int err = add(rt, m, fds, nfds);
    if (err)
        vmsig_rt_fail(rt, "cannot build link %u %s %s: %s", m->id, m->output ? "to" : "from", m->peer, strerror(-err));
    return err;
}

/* ---- Peer: the other side's memfd, and the bells ----------------------------------------------------- */

/* The bell that wakes this side is watched, the other one is rung. */
static int *own_bell(vmsig_link *l) {
    return l->output ? &l->room_bell : &l->data_bell;
}

/* Watched for its edges: each ring wakes, and nothing needs to be cleared. */
static void on_bell(void *ud, uint32_t events) {
    (void)events;
    vmsig_rt_link *k = ud;
    if (k->l.output)
        vmsig_rt_room_there(k);
}

static void drop_bells(vmsig_rt_link *k) {
    vmsig_link *l = &k->l;
    if (*own_bell(l) >= 0)
        vmsig_loop_remove(k->rt->loop, *own_bell(l));
    if (l->data_bell >= 0)
        close(l->data_bell);
    if (l->room_bell >= 0)
        close(l->room_bell);
    l->data_bell = l->room_bell = -1;
}

/* What the other side marked in its new page, asleep or in want of room, was not seen here until now: it is rung once,
 * whether it has marked anything or not. */
static void ring_peer(const vmsig_link *l) {
    vmsig_bell_ring(l->output ? l->data_bell : l->room_bell);
}

/* Takes over both fds. */
static int take_bells(vmsig_rt_link *k, int *fds) {
    drop_bells(k);
    k->l.data_bell = fds[0];
    k->l.room_bell = fds[1];
    fds[0] = fds[1] = -1;
    return vmsig_loop_add(k->rt->loop, *own_bell(&k->l), EPOLLIN | (uint32_t)EPOLLET, on_bell, k);
}

static int park(vmsig_rt_link *k, int *fd) {
    int *grown = realloc(k->parked, (k->parked_n + 1) * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    k->parked = grown;
    k->parked[k->parked_n++] = *fd;
    *fd = -1;
    return 0;
}

int vmsig_rt_link_unpark(vmsig_rt_link *k) {
    while (k->parked_n) {
        int err = vmsig_ring_in_peer(&k->l.in, k->parked[0], k->l.id);
        if (err)
            return err == -ENOSPC ? 0 : err;
        close(k->parked[0]);
        k->parked_n--;
        memmove(k->parked, k->parked + 1, k->parked_n * sizeof(*k->parked));
    }
    return 0;
}

/* They come oldest first. One that came before (a new supervisor says everything again) is no news. */
static int take_ring(vmsig_rt_link *k, uint32_t generation, int *fd) {
    if (generation <= k->newest)
        return 0;
    int err = k->parked_n ? -ENOSPC : vmsig_ring_in_peer(&k->l.in, *fd, k->l.id);
    if (err == -ENOSPC)
        err = park(k, fd);
    if (!err)
        k->newest = generation;
    return err;
}

static int renew(vmsig_rt_link *k, uint32_t generation, int *fds, int nfds) {
    if (nfds != 3)
        return -EPROTO;
    bool poisoned = !k->l.output && k->l.in.poisoned;
    int err = k->l.output ? vmsig_ring_out_peer(&k->l.out, fds[0]) : take_ring(k, generation, &fds[0]);
    if (k->l.output)
        k->newest = generation;
    if (!err)
        err = take_bells(k, fds + 1);
    if (!err && poisoned && !k->l.in.poisoned && k->rt->ops->link_healed)
        k->rt->ops->link_healed(k->rt->self, &k->l);
    return err;
}

int vmsig_rt_link_peer(vmsig_rt *rt, const Vmsig__Pb__Peer *m, int *fds, int nfds) {
    vmsig_rt_link *k = find(rt, m->id);
    if (!k) {
        vmsig_rt_log(rt, "the supervisor sent a peer for link %u, which is not there; ignored", m->id);
        return 0;
    }
    int err = renew(k, m->generation, fds, nfds);
    if (err) {
        vmsig_rt_fail(rt, "cannot take generation %u of %s on link %u: %s", m->generation, k->l.peer, m->id,
                      strerror(-err));
        return err;
    }
    ring_peer(&k->l);
    rt->wake = true; /* what was published, or made room, before the bells were there */
    if (rt->ops->link_renewed)
        rt->ops->link_renewed(rt->self, &k->l);
    return 0;
}

/* ---- the end of a link ------------------------------------------------------------------------------- */

void vmsig_rt_link_remove(vmsig_rt_link *k) {
    vmsig_rt *rt = k->rt;
    if (k->l.output)
        vmsig_rt_flush(k);
    if (rt->ops->link_removed)
        rt->ops->link_removed(rt->self, &k->l);
    drop_bells(k);
    for (unsigned i = 0; i < k->parked_n; i++)
        close(k->parked[i]);
    free(k->parked);
    if (k->l.output)
        vmsig_ring_out_close(&k->l.out);
    else
        vmsig_ring_in_close(&k->l.in);
    take_out(rt, k);
    free(k);
}

/* The producer of an input is gone, what it published is not: the link goes when that is drained. */
void vmsig_rt_link_unlink(vmsig_rt *rt, uint32_t id) {
    vmsig_rt_link *k = find(rt, id);
    if (!k)
        vmsig_rt_log(rt, "the supervisor took away link %u, which is not there; ignored", id);
    else if (k->l.output)
        vmsig_rt_link_remove(k);
    else
        rt->wake = k->leaving = true;
}

void vmsig_rt_links_drop(vmsig_rt *rt) {
    while (rt->links_n)
        vmsig_rt_link_remove(rt->links[rt->links_n - 1]);
    free(rt->links);
}

/* ---- room -------------------------------------------------------------------------------------------- */

static void note_stall(vmsig_rt_link *k, bool stalled) {
    if (!stalled)
        k->l.gauge->stall_since_ns = 0;
    else if (!k->l.gauge->stall_since_ns)
        k->l.gauge->stall_since_ns = vmsig_now_ns();
}

void vmsig_rt_want_room(vmsig_rt *rt, vmsig_link *out, uint32_t n) {
    vmsig_rt_link *k = (vmsig_rt_link *)(void *)out;
    if (k->want == 0 || n < k->want) /* whoever wants the least is served first, and the others ask again */
        k->want = n;
    note_stall(k, true);
    if (vmsig_ring_want_room(&out->out, k->want))
        rt->wake = true; /* writable is called at the next turn, never from in here */
}

/* The room bell rang, or there is a new consumer. */
void vmsig_rt_room_there(vmsig_rt_link *k) {
    vmsig_rt *rt = k->rt;
    if (!k->want || !vmsig_ring_want_room(&k->l.out, k->want))
        return;
    k->want = 0;
    note_stall(k, false);
    rt->wake = true;
    for (unsigned i = 0; i < rt->links_n; i++)
        rt->links[i]->held = false;
    if (rt->ops->writable)
        rt->ops->writable(rt->self, &k->l);
}

void vmsig_rt_wake_input(vmsig_rt *rt, vmsig_link *in) {
    ((vmsig_rt_link *)(void *)in)->held = false;
    rt->wake = true;
}

/* Sleeps until the room bell or the boot socket has something to say. */
static void wait_a_little(vmsig_rt *rt, const vmsig_link *out, uint64_t left_ns) {
    struct pollfd p[2] = {{.fd = out->room_bell, .events = POLLIN}, {.fd = rt->boot_fd, .events = POLLIN}};
    uint64_t ms = (left_ns + 999999u) / 1000000u;
    poll(p, 2, ms < WAIT_STEP_MS ? (int)ms : WAIT_STEP_MS);
    if (p[0].revents & POLLIN)
        vmsig_bell_clear(out->room_bell);
    if (p[1].revents)
        vmsig_rt_serve(rt, true);
}

int vmsig_rt_wait_room(vmsig_rt *rt, vmsig_link *out, uint32_t n, uint64_t deadline_ns) {
    vmsig_rt_link *k = (vmsig_rt_link *)(void *)out;
    vmsig_rt_flush(k); /* a consumer that sleeps makes no room */
    note_stall(k, true);
    int err = 0;
    while (!vmsig_ring_want_room(&out->out, n) && !err) {
        uint64_t now = vmsig_now_ns();
        if (rt->ended || rt->boot_fd < 0)
            err = -ESHUTDOWN;
        else if (now >= deadline_ns)
            err = -ETIMEDOUT;
        else
            wait_a_little(rt, out, deadline_ns - now);
    }
    note_stall(k, false);
    return err;
}
