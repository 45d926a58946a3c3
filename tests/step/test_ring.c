/* A ring, whose producer or consumer dies after each instruction of publishing or consuming: empty, in the middle, full,
 * and where slots and arena begin anew. */
#include <sys/mman.h>

#include "tests/rings/pair.h"
#include "tests/step/step.h"

#define SLOTS 16u
#define ARENA 4096u
#define EACH  5u /* events that an operation publishes or takes, as far as there is room */

typedef struct scene {
    pair p;
    uint64_t put, got; /* events published, and taken, before the operation */
    uint64_t *handled; /* by the consumer, in memory that outlives it */
} scene;

typedef struct scenario {
    const char *name;
    bool consume;
    uint64_t base;
    uint32_t gone;  /* events that were published and taken before */
    uint32_t there; /* events that wait; UINT32_MAX: as many as there is room for */
    uint32_t room;  /* then: so many are taken again */
} scenario;

static const scenario scenarios[] = {
    {.name = "publish, empty"},
    {.name = "publish, middle", .gone = 9, .there = 2},
    {.name = "publish, full", .there = UINT32_MAX, .room = 2},
    {.name = "publish, wrap", .base = 13, .gone = 12},
    {.name = "consume, empty", .consume = true, .gone = 3},
    {.name = "consume, middle", .consume = true, .gone = 7, .there = 4},
    {.name = "consume, full", .consume = true, .there = UINT32_MAX},
    {.name = "consume, wrap", .consume = true, .base = 13, .gone = 10, .there = 5},
};

/* A slot, two, three, and one with a payload, by turns. */
static vmsig_event event(uint64_t n) {
    static const uint32_t lens[] = {8, 60, 112, 16};
    static uint8_t bytes[700];
    vmsig_event ev = pair_event(n, lens[n % 4]);
    if (n % 4 == 3) {
        memset(bytes, (int)n, sizeof bytes);
        ev.payload = bytes;
        ev.payload_len = sizeof bytes;
    }
    return ev;
}

static bool put(pair *p, uint64_t n) {
    vmsig_event ev = event(n);
    return vmsig_ring_put_event(&p->out, &ev) == 0;
}

/* The next event must be number n, whole. */
static void take(vmsig_ring_in *in, uint64_t n) {
    vmsig_event got, want = event(n);
    step_must(vmsig_ring_get_event(in, &got) == 0, "event %lu cannot be read", n);
    step_must(got.seq == n, "event %lu came where %lu was expected", (uint64_t)got.seq, n);
    step_must(got.inln_len == want.inln_len && memcmp(got.inln, want.inln, want.inln_len) == 0, "the body of %lu", n);
    step_must(got.payload_len == want.payload_len && memcmp(got.payload, want.payload, want.payload_len) == 0,
              "the payload of %lu", n);
    free(got.payload);
    vmsig_ring_advance(in);
}

/* ---- the operations ---------------------------------------------------------------------------------------- */

static void publish(void *ud) {
    scene *s = ud;
    for (uint64_t n = s->put; n < s->put + EACH && put(&s->p, n); n++) {
    }
    vmsig_ring_flush(&s->p.out);
}

/* What was handled is noted first: only then may the producer write over it. */
static void consume(void *ud) {
    scene *s = ud;
    for (uint32_t i = 0; i < EACH && vmsig_ring_peek(&s->p.in); i++) {
        take(&s->p.in, s->got + i);
        ++*s->handled;
        vmsig_ring_release(&s->p.in);
    }
}

/* ---- the successors ---------------------------------------------------------------------------------------- */

static uint64_t drain(vmsig_ring_in *in, uint64_t n) {
    for (; vmsig_ring_peek(in); n++)
        take(in, n);
    step_must(in->poisoned == 0, "the ring is poisoned behind event %lu", n);
    vmsig_ring_release(in);
    return n;
}

/* The producer died: all that is visible comes once and in order, then what its successor publishes. */
static void new_producer(void *ud) {
    scene *s = ud;
    pair *p = &s->p;
    vmsig_ring_end end;
    vmsig_ring_out next;
    step_must(vmsig_ring_find_end(p->ring_fd, p->reader_fd, &end) == 0, "the ring's end cannot be found");
    int fd = pair_ring(&next, 2, SLOTS, ARENA, end.tail, end.arena_tail);
    cr_assert_eq(vmsig_ring_out_peer(&next, p->reader_fd), 0);
    cr_assert_eq(vmsig_ring_in_peer(&p->in, fd, PAIR_LINK), 0);
    uint64_t n = drain(&p->in, s->got);
    step_must(n >= s->put && n <= s->put + EACH, "%lu were there, and %lu came", s->put, n);
    step_must(p->in.cursor == end.tail, "the consumer is at %lu, and the ring's end at %lu", p->in.cursor, end.tail);
    step_must(n == 0 || end.last.s[0].seq_lo == n - 1, "the last event is another");
    p->out = next;
    for (uint64_t more = n; more < n + 40; more++) {
        step_must(put(p, more), "no room for event %lu", more);
        step_must(drain(&p->in, more) == more + 1, "event %lu did not come", more);
    }
}

/* The consumer died: nothing is gone that it had not handled; its successor goes on at its cursor. */
static void new_consumer(void *ud) {
    scene *s = ud;
    pair *p = &s->p;
    vmsig_ring_in next;
    uint64_t cursor = p->in.reader->cursor, arena = p->in.reader->arena_cursor, n = s->put;
    while (put(p, n)) /* the producer fills whatever it believes to be free */
        n++;
    int fd = pair_reader(&next, cursor, arena);
    cr_assert_eq(vmsig_ring_in_peer(&next, p->ring_fd, PAIR_LINK), 0);
    cr_assert_eq(vmsig_ring_out_peer(&p->out, fd), 0);
    const vmsig_slot *first = vmsig_ring_peek(&next);
    uint64_t at = first ? first->seq_lo : n;
    step_must(at <= s->got + *s->handled, "event %lu was not handled, and %lu comes next", s->got + *s->handled, at);
    step_must(at >= s->got, "event %lu comes again", at);
    step_must(drain(&next, at) == n, "not all of %lu came", n);
    for (uint64_t more = n; more < n + 40; more++) {
        step_must(put(p, more), "no room for event %lu", more);
        step_must(drain(&next, more) == more + 1, "event %lu did not come", more);
    }
}

/* ---- the scenes ---------------------------------------------------------------------------------------------- */

static void prepare(scene *s, const scenario *k) {
    memset(s, 0, sizeof *s);
    s->handled = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(s->handled, MAP_FAILED);
    pair_open_at(&s->p, SLOTS, ARENA, k->base);
    for (; s->put < k->gone; s->put++) {
        cr_assert(put(&s->p, s->put));
        s->got = drain(&s->p.in, s->got);
    }
    for (uint32_t i = 0; i < k->there && put(&s->p, s->put); i++)
        s->put++;
    for (uint32_t i = 0; i < k->room && vmsig_ring_peek(&s->p.in); i++)
        take(&s->p.in, s->got++);
    vmsig_ring_release(&s->p.in);
}

static void run(const scenario *k) {
    scene s;
    prepare(&s, k);
    step_mem mem[] = {{s.p.out.head, vmsig_ring_bytes(SLOTS, ARENA)},
                      {s.p.in.reader, VMSIG_READER_BYTES},
                      {s.handled, sizeof *s.handled}};
    step_case c = {.name = k->name,
                   .op = k->consume ? consume : publish,
                   .check = k->consume ? new_consumer : new_producer,
                   .ud = &s,
                   .mem = mem,
                   .mem_n = 3};
    int64_t deaths = step_through(&c);
    pair_close(&s.p);
    munmap(s.handled, 4096);
    if (deaths < 0)
        cr_skip_test("ptrace is not allowed here");
}

Test(step_ring, publish, .timeout = 3600) {
    for (int i = 0; i < 4; i++)
        run(&scenarios[i]);
}

Test(step_ring, consume, .timeout = 3600) {
    for (int i = 4; i < 8; i++)
        run(&scenarios[i]);
}
