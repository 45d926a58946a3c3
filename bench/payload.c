/* Bodies from 8 bytes to 1 MiB: each byte is written by one process and read by the other. Beside it the limit of the
 * memory: the same bytes in a bare buffer of the same size, told by a slot; and a pipe.
 *
 *   limit    written in place, told by a bare slot, read in place
 *   ring     the same through a ring of ours: in the slot, or put in the arena (which copies once: the body is the
 *            caller's), read in place
 *   actors   the same by the public API
 */
#include <stdio.h>
#include <unistd.h>

#include "bench/pair.h"
#include "bench/way.h"

#define ARENA   (4u << 20)
#define BYTES   (128u << 20) /* of a case, at most */
#define EVENTS  500000u      /* likewise */
#define SIZES   (sizeof sizes / sizeof *sizes)
#define BIGGEST (1u << 20)

static const uint32_t sizes[] = {8, 64, 512, 4096, 65536, BIGGEST};

typedef struct flow {
    bench_bare *bare;
    uint8_t *arena; /* the bare one */
    bench_way way;
    int pipes[2];
    uint64_t n;
    uint32_t size;
    uint64_t ticks;
} flow;

/* Every byte of it, by words: a memset of lines that another processor has is slower. */
static void write_all(void *to, uint64_t q, uint32_t size) {
    uint8_t *p = to;
    for (uint32_t i = 0; i < size; i += 8) {
        uint64_t word = q + i;
        memcpy(p + i, &word, sizeof word);
    }
}
static uint64_t read_all(const void *from, uint32_t size) {
    const uint8_t *p = from;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < size; i += 8) {
        uint64_t word;
        memcpy(&word, p + i, sizeof word);
        sum += word;
    }
    return sum;
}

/* The compiler must not know that nobody wants it. */
static void use(uint64_t sum) {
    __asm__ volatile("" : : "r"(sum));
}

/* As many as lie in the arena at a time, and in the slots. */
static uint32_t window(const flow *f) {
    uint32_t n = ARENA / f->size;
    return n < BENCH_SLOTS ? n : BENCH_SLOTS;
}

/* A reader says what it has read after some small bodies, and after each large one. */
static bool says(const flow *f, uint64_t q) {
    return f->size > 4096 || q % 8 == 7 || q + 1 == f->n;
}

static void limit_drain(void *arg) {
    flow *f = arg;
    const uint32_t n = window(f);
    for (uint64_t q = 0; q < f->n; q++) {
        while (vmsig_load64_acquire(&f->bare->slot[q % n].turn) != q + 1)
            vmsig_pause();
        use(read_all(f->arena + q % n * f->size, f->size));
        if (says(f, q))
            vmsig_store64_release(&f->bare->taken, q + 1);
    }
}
static void limit_fill(flow *f) {
    const uint32_t n = window(f);
    for (uint64_t q = 0, taken = 0; q < f->n; q++) {
        while (q >= taken + n)
            taken = vmsig_load64_acquire(&f->bare->taken);
        write_all(f->arena + q % n * f->size, q, f->size);
        vmsig_store64_release(&f->bare->slot[q % n].turn, q + 1);
    }
    while (vmsig_load64_acquire(&f->bare->taken) != f->n)
        vmsig_pause();
}

static void ring_drain(void *arg) {
    flow *f = arg;
    for (uint64_t q = 0; q < f->n; q++) {
        vmsig_image img;
        uint32_t len;
        bench_way_wait(&f->way, BENCH_SPIN);
        if (f->size > VMSIG_INLINE_MAX) {
            vmsig_ring_copy(&f->way.in, &img);
            const void *body = vmsig_ring_body(&f->way.in, &img, &len);
            if (body == NULL)
                bench_fail("an event without its body");
            use(read_all(body, len));
        } else {
            vmsig_event ev;
            if (vmsig_ring_get_event(&f->way.in, &ev) != 0)
                bench_fail("an event cannot be read");
            use(read_all(ev.inln, ev.inln_len));
        }
        vmsig_ring_advance(&f->way.in);
        if (says(f, q))
            vmsig_ring_release(&f->way.in);
    }
}
static void ring_fill(flow *f) {
    static uint8_t body[BIGGEST];
    vmsig_event ev = {.kind = 64, .source = 9, .merged = 1, .epoch = 1};
    for (uint64_t q = 0; q < f->n; q++) {
        if (f->size > VMSIG_INLINE_MAX) {
            write_all(body, q, f->size);
            ev.payload = body;
            ev.payload_len = f->size;
        } else {
            write_all(ev.inln, q, f->size);
            ev.inln_len = f->size;
        }
        while (vmsig_ring_put_event(&f->way.out, &ev) != 0)
            vmsig_pause();
        bench_way_flush(&f->way);
    }
    while (vmsig_ring_want_room(&f->way.out, BENCH_SLOTS) == 0)
        vmsig_pause();
}

static void pipe_drain(void *arg) {
    static uint8_t buf[BIGGEST];
    flow *f = arg;
    for (uint64_t left = f->n * f->size; left > 0;) {
        ssize_t n = read(f->pipes[0], buf, sizeof buf);
        if (n <= 0)
            bench_fail("a pipe cannot be read");
        use(read_all(buf, (uint32_t)n / 8 * 8));
        left -= (uint64_t)n;
    }
}
static void pipe_fill(flow *f) {
    static uint8_t buf[BIGGEST];
    for (uint64_t q = 0; q < f->n; q++) {
        write_all(buf, q, f->size);
        for (uint32_t at = 0; at < f->size;) {
            ssize_t n = write(f->pipes[1], buf + at, f->size - at);
            if (n <= 0)
                bench_fail("a pipe cannot be written");
            at += (uint32_t)n;
        }
    }
}

/* ---- rounds ---------------------------------------------------------------------------------------------- */

static uint64_t events_of(const bench_options *o, uint32_t size) {
    uint64_t n = BYTES / size;
    return bench_scaled(o, n < EVENTS ? n : EVENTS);
}

static void flow_of(const bench_options *o, flow *f, bench_series *s, void (*drain)(void *), void (*fill)(flow *),
                    uint32_t size) {
    f->size = size;
    f->n = events_of(o, size);
    memset(f->bare, 0, sizeof *f->bare);
    bench_way_open(&f->way, BENCH_SLOTS, ARENA);
    bench_way_sleepless(&f->way);
    if (pipe(f->pipes) != 0)
        bench_fail("no pipes");
    pid_t peer = bench_fork(o, drain, f);
    uint64_t t = bench_ticks();
    fill(f);
    bench_join(peer);
    double ns = bench_ns((double)(bench_ticks() - t));
    bench_way_close(&f->way);
    close(f->pipes[0]);
    close(f->pipes[1]);
    bench_add_value(s, BENCH_FLOW, (double)f->n * size * 1e9 / ns);
}

typedef struct case_of {
    bench_series limit, pipe, ring, actors;
} case_of;

static void name(case_of *c, uint32_t size) {
    static char names[SIZES][4][64];
    bench_series *s[] = {&c->limit, &c->pipe, &c->ring, &c->actors};
    static const char *const what[] = {"floor: the memory", "floor: a pipe", "ring", "actors"};
    static unsigned of;
    char text[32];
    bench_value_text(BENCH_SIZE, size, text, sizeof text);
    for (unsigned i = 0; i < 4; i++) {
        snprintf(names[of % SIZES][i], sizeof names[0][0], "%s, %s", what[i], text);
        s[i]->name = names[of % SIZES][i];
    }
    of++;
}

static void stream_actors(const bench_options *o, case_of *c) {
    bench_beds beds = {0};
    bench_pair p;
    bench_pair_start(&p, &beds, "spin", o->cpu[0], o->cpu[1]);
    for (size_t i = 0; i < SIZES; i++) {
        uint64_t n = events_of(o, sizes[i]) / 4 + 1;
        bench_add_value(&c[i].actors, BENCH_FLOW, bench_pair_stream(&p, n, sizes[i]) * sizes[i]);
    }
    bench_pair_stop(&p);
    bench_pin(o->cpu[0]);
}

void bench_payload(const bench_options *o) {
    static case_of c[SIZES];
    static flow f;
    if (o->cpu[0] == o->cpu[1]) {
        bench_note(o, "payload: it takes two processors");
        return;
    }
    f.bare = bench_shared(sizeof *f.bare);
    f.arena = bench_shared(ARENA);
    for (size_t i = 0; i < SIZES; i++)
        name(&c[i], sizes[i]);
    for (unsigned r = 0; r < o->rounds; r++) {
        bench_progress(o, r);
        for (size_t i = 0; i < SIZES; i++) {
            flow_of(o, &f, &c[i].limit, limit_drain, limit_fill, sizes[i]);
            flow_of(o, &f, &c[i].pipe, pipe_drain, pipe_fill, sizes[i]);
            flow_of(o, &f, &c[i].ring, ring_drain, ring_fill, sizes[i]);
        }
        stream_actors(o, c);
    }
    bench_report_title(o, "bytes written by one process and read by another");
    for (size_t i = 0; i < SIZES; i++) {
        const bench_series *floors[] = {&c[i].limit, &c[i].pipe};
        bench_report(o, &c[i].limit, NULL, 0);
        bench_report(o, &c[i].pipe, floors, 1);
        bench_report(o, &c[i].ring, floors, 2);
        bench_report(o, &c[i].actors, floors, 2);
    }
    bench_unshare(f.bare, sizeof *f.bare);
    bench_unshare(f.arena, ARENA);
}
