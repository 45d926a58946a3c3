/* ctx.c: the transfer context as a library (vmsig_ctx.h): two engines, one per direction, over memory that grows. */
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "actors/context/engine_hot.h"
#include "rings/atomics.h"

#define ENTRIES_FIRST 8192u /* reserved, not touched: memory is taken as the queue grows */
#define ENTRIES_MAX   (1u << 30)

/* One direction. The lock guards all of it; fd never changes once it is there. */
typedef struct half {
    alignas(64) vmsig_spin lock;
    int fd;         /* the timerfd, -1 before a policy needs it */
    uint64_t armed; /* what it is set to, 0 = disarmed */
    vmsig_engine *engine;
    vmsig_entry *entries;
    uint32_t capacity;
    uint64_t next_seq;
    uint64_t *last_sent;
    vmsig_dir dir;
} half;

struct vmsig_ctx {
    half half[2];
    uint64_t (*now)(void *ud);
    void *now_ud;
    bool virtual_clock;
    vmsig_ctx_answer_fn answer;
    void *answer_ud;
};

static uint64_t clock_ns(void *ud) {
    (void)ud;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- making and freeing -------------------------------------------------------------------------------- */

static int half_init(half *h, vmsig_dir dir, const vmsig_ctx *c) {
    h->dir = dir;
    h->fd = -1;
    h->next_seq = 1;
    h->capacity = ENTRIES_FIRST;
    h->last_sent = calloc(VMSIG_CHANNELS, sizeof *h->last_sent);
    void *map =
        mmap(NULL, ENTRIES_FIRST * sizeof *h->entries, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    h->entries = map != MAP_FAILED ? map : NULL;
    if (h->last_sent == NULL || h->entries == NULL)
        return -ENOMEM;
    vmsig_engine_cfg cfg = {.dir = dir,
                            .now = c->now,
                            .ud = c->now_ud,
                            .entries = h->entries,
                            .capacity = h->capacity,
                            .next_seq = &h->next_seq,
                            .last_sent = h->last_sent};
    return vmsig_engine_new(&cfg, &h->engine);
}

static void half_fini(half *h) {
    vmsig_engine_free(h->engine);
    for (uint32_t i = 0; h->entries != NULL && i < h->capacity; i++)
        if (h->entries[i].seq != 0 && h->entries[i].payload_len != 0)
            free((void *)(uintptr_t)h->entries[i].payload);
    if (h->entries != NULL)
        munmap(h->entries, (size_t)h->capacity * sizeof *h->entries);
    free(h->last_sent);
    if (h->fd >= 0)
        close(h->fd);
}

static vmsig_ctx *ctx_new(uint64_t (*now)(void *ud), void *ud, bool virtual_clock) {
    vmsig_ctx *c = aligned_alloc(alignof(vmsig_ctx), sizeof *c);
    if (c == NULL)
        return NULL;
    memset(c, 0, sizeof *c);
    c->now = now;
    c->now_ud = ud;
    c->virtual_clock = virtual_clock;
    c->half[0].fd = c->half[1].fd = -1;
    if (half_init(&c->half[0], VMSIG_DIR_UP, c) == 0 && half_init(&c->half[1], VMSIG_DIR_DOWN, c) == 0)
        return c;
    vmsig_ctx_free(c);
    errno = ENOMEM;
    return NULL;
}

vmsig_ctx *vmsig_ctx_new(void) {
    return ctx_new(clock_ns, NULL, false);
}

vmsig_ctx *vmsig_ctx_new_clock(uint64_t (*now)(void *ud), void *ud) {
    return ctx_new(now, ud, true);
}

void vmsig_ctx_free(vmsig_ctx *c) {
    if (c == NULL)
        return;
    half_fini(&c->half[0]);
    half_fini(&c->half[1]);
    free(c);
}

void vmsig_ctx_on_answer(vmsig_ctx *c, vmsig_ctx_answer_fn fn, void *ud) {
    c->answer = fn;
    c->answer_ud = ud;
}

/* ---- the timing fd: armed for the earliest time at which something matures ------------------------------ */

static void arm(vmsig_ctx *c, half *h, uint64_t at) {
    struct itimerspec t = {.it_value = {(time_t)(at / 1000000000u), (long)(at % 1000000000u)}};
    h->armed = at;
    if (h->fd >= 0 && !c->virtual_clock)
        timerfd_settime(h->fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static int fail(int negative_errno) {
    errno = -negative_errno;
    return -1;
}

static half *half_of(vmsig_ctx *c, vmsig_dir dir) {
    return c != NULL && (unsigned)dir <= VMSIG_DIR_DOWN ? &c->half[dir] : NULL;
}

int vmsig_ctx_set_policy(vmsig_ctx *c, vmsig_source source, vmsig_dir dir, vmsig_prio default_prio,
                         const vmsig_timing *timing) {
    half *h = half_of(c, dir);
    if (h == NULL)
        return fail(-EINVAL);
    bool paced = timing != NULL && (timing->min_gap_ns != 0 || timing->coalesce_ns != 0);
    int fd = -1;
    if (paced && h->fd < 0 && (fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) < 0)
        return -1;
    vmsig_spin_lock(&h->lock);
    int r = vmsig_engine_set_policy(h->engine, source, default_prio, timing);
    if (r == 0 && fd >= 0) {
        h->fd = fd;
        fd = -1;
    }
    if (r == 0 && (vmsig_engine_due(h->engine) != 0 || h->armed != 0))
        arm(c, h, vmsig_engine_due(h->engine));
    vmsig_spin_unlock(&h->lock);
    if (fd >= 0)
        close(fd);
    return r == 0 ? 0 : fail(r);
}

int vmsig_ctx_timing_fd(vmsig_ctx *c, vmsig_dir dir) {
    half *h = half_of(c, dir);
    return h != NULL ? h->fd : fail(-EINVAL);
}

/* ---- submit -------------------------------------------------------------------------------------------- */

/* Doubles the entries' address range; pages are moved, not copied. So long a queue is better off with huge pages. */
static int grow(half *h) {
    size_t old = (size_t)h->capacity * sizeof *h->entries;
    if (h->capacity >= ENTRIES_MAX)
        return -ENOMEM;
    void *map = mremap(h->entries, old, 2 * old, MREMAP_MAYMOVE);
    if (map == MAP_FAILED)
        return -ENOMEM;
    madvise(map, 2 * old, MADV_HUGEPAGE);
    h->entries = map;
    h->capacity *= 2;
    vmsig_engine_moved(h->engine, h->entries, h->capacity);
    return 0;
}

static void answer(vmsig_ctx *c, const vmsig_step *s) {
    if (s->answer.corr != 0 && c->answer != NULL)
        c->answer(c->answer_ud, s->answer.corr, s->answer.endpoint, s->answer.source, s->answer.epoch,
                  (vmsig_status)s->answer.status, s->answer.detail);
}

/* Stores the step's values in place. */
static void apply(vmsig_ctx *c, half *h, const vmsig_step *s, const vmsig_entry *cand) {
    for (uint32_t k = 0; k < s->n; k++)
        vmsig_engine_result(h->engine, s, k, cand, &h->entries[s->idx[k]]);
    h->next_seq += s->seq != 0;
    vmsig_engine_index(h->engine, s);
    if (s->payload_len != 0)
        free((void *)(uintptr_t)s->payload);
    answer(c, s);
}

static void tell(const half *h, vmsig_event *ev, uint64_t seq, uint64_t ts_ns) {
    ev->seq = seq;
    ev->ts_ns = ts_ns;
    ev->dir = (uint8_t)h->dir;
}

/* Something is timed earlier than the timing fd. */
static void arm_earlier(vmsig_ctx *c, half *h) {
    uint64_t due = vmsig_engine_due(h->engine);
    if (due != 0 && (h->armed == 0 || due < h->armed))
        arm(c, h, due);
}

static int submit_long(vmsig_ctx *c, half *h, vmsig_event *ev, vmsig_entry *cand) {
    vmsig_step s;
    uint64_t ts_ns = cand->ts_ns;
    int r = vmsig_engine_plan(h->engine, cand, &s);
    if (r < 0)
        return r;
    tell(h, ev, s.seq, ts_ns);
    bool lost = s.op == VMSIG_OP_REFUSE;
    apply(c, h, &s, cand);
    arm_earlier(c, h);
    return s.op == VMSIG_OP_COALESCE || lost ? 1 : 0;
}

static int __attribute__((noinline)) submit_locked(vmsig_ctx *c, half *h, vmsig_event *ev) {
    uint32_t blank = entry_blank(h->engine);
    int r;
    if (blank == VMSIG_NONE) {
        if ((r = grow(h)) < 0)
            return r;
        blank = entry_blank(h->engine);
    }
    vmsig_entry *cand = &h->entries[blank];
    if ((r = entry_from_event(cand, ev)) < 0)
        return r;
    if (ev->ts_ns == 0)
        cand->ts_ns = c->now(c->now_ud);
    if (!is_brief(h->engine, cand->source, cand->kind, cand->endpoint, cand->epoch))
        return submit_long(c, h, ev, cand);
    uint64_t ts_ns = cand->ts_ns;
    uint32_t prio = vmsig_engine_prio(h->engine, cand);
    tell(h, ev, accept_brief(h->engine, cand, blank, vmsig_entry_channel(cand), prio), ts_ns);
    arm_earlier(c, h);
    return 0;
}

/* The shortest way, which calls nobody: of an event without a payload that is_brief, whose flow is in its place already,
 * or may go at once. false: nothing is done. */
static inline bool submit_brief(half *h, vmsig_event *ev) {
    vmsig_engine *e = h->engine;
    uint32_t blank = entry_blank(e), source = ev->source, kind = ev->kind, endpoint = ev->endpoint, prio = ev->prio;
    if (blank == VMSIG_NONE || ev->ts_ns == 0 || !bare_event_valid(ev) ||
        !is_brief(e, source, kind, endpoint, ev->epoch))
        return false;
    prio = prio != VMSIG_PRIO_DEFAULT ? prio : e->prio[source];
    uint32_t channel = endpoint * VMSIG_SOURCES_MAX + source, f = flow_of(channel, prio);
    if (e->flows[f].state == FLOW_IDLE && !flow_is_free(e, f))
        return false;
    vmsig_entry *n = &e->entries[blank];
    n->payload_len = 0;
    entry_fill(n, ev, source);
    tell(h, ev, accept_brief(e, n, blank, channel, prio), ev->ts_ns);
    return true;
}

int vmsig_ctx_submit(vmsig_ctx *c, vmsig_dir dir, vmsig_event *ev) {
    half *h = half_of(c, dir);
    if (h == NULL || ev == NULL)
        return fail(-EINVAL);
    vmsig_spin_lock(&h->lock);
    int r = submit_brief(h, ev) ? 0 : submit_locked(c, h, ev);
    vmsig_spin_unlock(&h->lock);
    return r >= 0 ? r : fail(r);
}

/* ---- next ---------------------------------------------------------------------------------------------- */

static void send_entry(half *h, uint32_t idx, vmsig_event *out) {
    vmsig_entry *n = &h->entries[idx];
    uint64_t at = sent_at(h->engine, n);
    entry_to_event(n, h->dir, out);
    if (at != 0)
        h->last_sent[vmsig_entry_channel(n)] = at;
    n->seq = 0;
    vmsig_engine_take(h->engine, idx);
}

static int __attribute__((noinline)) next_locked(vmsig_ctx *c, half *h, vmsig_event *out) {
    uint32_t idx;
    for (;;) {
        vmsig_pick p = pick(h->engine, &idx);
        if (p == VMSIG_PICK_SEND) {
            send_entry(h, idx, out);
            return 1;
        }
        if (p == VMSIG_PICK_NONE)
            break;
        vmsig_step s;
        vmsig_engine_plan_loss(h->engine, idx, VMSIG_LOST_EPOCH, VMSIG_FENCED, &s);
        apply(c, h, &s, NULL);
    }
    uint64_t due = vmsig_engine_due(h->engine);
    if (due != h->armed)
        arm(c, h, due);
    return 0;
}

/* The shortest way, which calls nobody: no timer runs, and the flow whose turn it is may go at once. false: nothing is
 * done. */
static inline bool next_brief(half *h, vmsig_event *out) {
    vmsig_engine *e = h->engine;
    if (e->timed_n != 0 || e->expiring != 0 || e->ready_set == 0)
        return false;
    uint32_t f = e->ready[next_class(e)].head;
    if (!flow_is_free(e, f))
        return false;
    uint32_t idx = e->flows[f].head;
    vmsig_entry *n = &e->entries[idx];
    entry_to_event(n, h->dir, out);
    n->seq = 0;
    take_head(e, f, idx);
    return true;
}

int vmsig_ctx_next(vmsig_ctx *c, vmsig_dir dir, vmsig_event *out) {
    half *h = half_of(c, dir);
    if (h == NULL || out == NULL)
        return fail(-EINVAL);
    vmsig_spin_lock(&h->lock);
    int r = next_brief(h, out) ? 1 : next_locked(c, h, out);
    vmsig_spin_unlock(&h->lock);
    return r;
}

void vmsig_ctx_usage(vmsig_ctx *c, vmsig_dir dir, uint64_t *bytes, uint64_t *queued) {
    half *h = half_of(c, dir);
    vmsig_spin_lock(&h->lock);
    *queued = vmsig_engine_queued(h->engine);
    *bytes = *queued * sizeof *h->entries;
    vmsig_spin_unlock(&h->lock);
}
