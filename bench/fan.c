/* Many to one, and one to many: rings of ours between the processes, and beside them what the kernel has.
 *
 *   fan-in    N producers ──N rings──► one consumer that looks at all of them       N writers of one pipe
 *   fan-out   one producer ──N rings──► N consumers                                 one writer of N pipes
 *
 * The one is on the first processor, the many are on the second and take turns there; those that wait sleep.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bench/way.h"

#define EVENTS  400000u
#define MANY    64u
#define MESSAGE 64u
#define KINDS   (sizeof kinds / sizeof *kinds)

static const unsigned widths[] = {1, 8, MANY};
#define WIDTHS (sizeof widths / sizeof *widths)

typedef struct fan {
    unsigned width;
    uint64_t each; /* events of one of the many */
    bench_way way[MANY];
    int pipes[MANY][2];
    int bell;    /* of the consumer of all rings */
    int gate[2]; /* a byte for each of the many: begin */
    void (*many)(void *arg);
} fan;

typedef struct one_of {
    fan *f;
    unsigned i;
} one_of;

/* ---- rings ----------------------------------------------------------------------------------------------- */

/* Its bell is shared by all of a consumer's rings, as an actor's loop is. */
static void put_all(bench_way *w, int bell, uint64_t n) {
    for (uint64_t q = 0; q < n; q++) {
        vmsig_slot *s;
        while ((s = vmsig_ring_next(&w->out)) == NULL) {
            if (vmsig_ring_flush(&w->out))
                vmsig_bell_ring(bell);
            if (!vmsig_ring_want_room(&w->out, BENCH_TURN))
                bench_bell_wait(w->room_bell);
        }
        bench_fill(s, q);
        vmsig_ring_publish1(&w->out);
        if (q % BENCH_TURN == BENCH_TURN - 1 && vmsig_ring_flush(&w->out))
            vmsig_bell_ring(bell);
    }
    if (vmsig_ring_flush(&w->out))
        vmsig_bell_ring(bell);
}

static unsigned take_some(bench_way *w) {
    unsigned n = 0;
    for (; n < BENCH_TURN && vmsig_ring_peek(&w->in) != NULL; n++)
        vmsig_ring_advance(&w->in);
    if (n > 0 && vmsig_ring_release(&w->in))
        vmsig_bell_ring(w->room_bell);
    return n;
}

static void sleep_on_all(fan *f) {
    bool sleeping = true;
    unsigned i = 0;
    for (; i < f->width && sleeping; i++)
        sleeping = !vmsig_ring_sleep(&f->way[i].in);
    if (sleeping)
        bench_bell_wait(f->bell);
    while (i-- > 0)
        vmsig_ring_wake(&f->way[i].in);
}

static void take_all(fan *f, uint64_t events) {
    for (uint64_t got = 0; got < events;) {
        uint64_t before = got;
        for (unsigned i = 0; i < f->width; i++)
            got += take_some(&f->way[i]);
        if (got == before)
            sleep_on_all(f);
    }
}

static void ring_producer(void *arg) {
    one_of *o = arg;
    put_all(&o->f->way[o->i], o->f->bell, o->f->each);
}
static void ring_consume(fan *f) {
    take_all(f, f->each * f->width);
}

static void ring_consumer(void *arg) {
    one_of *o = arg;
    fan one = {.width = 1, .bell = o->f->way[o->i].data_bell};
    one.way[0] = o->f->way[o->i];
    take_all(&one, o->f->each);
}
/* A turn's worth to each of them, round and round, as a gateway does. */
static void ring_produce(fan *f) {
    for (uint64_t q = 0; q < f->each; q += BENCH_TURN)
        for (unsigned i = 0; i < f->width; i++)
            put_all(&f->way[i], f->way[i].data_bell, f->each - q < BENCH_TURN ? f->each - q : BENCH_TURN);
}

/* ---- pipes ----------------------------------------------------------------------------------------------- */

static void write_some(int fd, uint64_t events) {
    char buf[MESSAGE * BENCH_TURN] = {0};
    if (write(fd, buf, events * MESSAGE) != (ssize_t)(events * MESSAGE))
        bench_fail("a pipe cannot be written");
}

static void read_all(int fd, uint64_t events) {
    char buf[MESSAGE * BENCH_TURN];
    for (uint64_t left = events * MESSAGE; left > 0;) {
        ssize_t n = read(fd, buf, left < sizeof buf ? left : sizeof buf);
        if (n <= 0)
            bench_fail("a pipe cannot be read");
        left -= (uint64_t)n;
    }
}

static uint64_t turn_from(const fan *f, uint64_t q) {
    return f->each - q < BENCH_TURN ? f->each - q : BENCH_TURN;
}

static void pipe_producer(void *arg) {
    one_of *o = arg;
    for (uint64_t q = 0; q < o->f->each; q += BENCH_TURN)
        write_some(o->f->pipes[0][1], turn_from(o->f, q));
}
static void pipe_consume(fan *f) {
    read_all(f->pipes[0][0], f->each * f->width);
}

static void pipe_consumer(void *arg) {
    one_of *o = arg;
    read_all(o->f->pipes[o->i][0], o->f->each);
}
static void pipe_produce(fan *f) {
    for (uint64_t q = 0; q < f->each; q += BENCH_TURN)
        for (unsigned i = 0; i < f->width; i++)
            write_some(f->pipes[i][1], turn_from(f, q));
}

/* ---- rounds ---------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*many)(void *arg);
    void (*one)(fan *f);
} kinds[] = {
    {"floor: %u writers of a pipe", pipe_producer, pipe_consume},
    {"rings from %u producers", ring_producer, ring_consume},
    {"floor: a writer of %u pipes", pipe_consumer, pipe_produce},
    {"rings to %u consumers", ring_consumer, ring_produce},
};

static void open_fan(fan *f) {
    f->bell = vmsig_bell_create();
    if (f->bell < 0 || pipe(f->gate) != 0)
        bench_fail("no pipes");
    for (unsigned i = 0; i < f->width; i++) {
        bench_way_open(&f->way[i], BENCH_SLOTS, 0);
        if (pipe(f->pipes[i]) != 0)
            bench_fail("no pipes");
    }
}

static void close_fan(fan *f) {
    close(f->bell);
    close(f->gate[0]);
    close(f->gate[1]);
    for (unsigned i = 0; i < f->width; i++) {
        bench_way_close(&f->way[i]);
        close(f->pipes[i][0]);
        close(f->pipes[i][1]);
    }
}

static void begin(void *arg) {
    one_of *o = arg;
    char byte;
    if (read(o->f->gate[0], &byte, 1) != 1)
        bench_fail("the gate does not open");
    o->f->many(arg);
}

static void round_of(const bench_options *o, fan *f, size_t k, bench_series *s) {
    static const char go[MANY];
    one_of args[MANY];
    pid_t pid[MANY];
    f->many = kinds[k].many;
    f->each = bench_scaled(o, EVENTS) / f->width + 1;
    open_fan(f);
    for (unsigned i = 0; i < f->width; i++) {
        args[i] = (one_of){f, i};
        pid[i] = bench_fork(o, begin, &args[i]);
    }
    uint64_t t = bench_now_ns();
    if (write(f->gate[1], go, f->width) != (ssize_t)f->width)
        bench_fail("the gate does not open");
    kinds[k].one(f);
    for (unsigned i = 0; i < f->width; i++)
        bench_join(pid[i]);
    uint64_t ns = bench_now_ns() - t;
    close_fan(f);
    bench_add_value(s, BENCH_RATE, (double)(f->each * f->width) * 1e9 / (double)ns);
}

void bench_fan(const bench_options *o) {
    static bench_series s[KINDS][WIDTHS];
    static char names[KINDS][WIDTHS][64];
    static fan f;
    for (unsigned r = 0; r < o->rounds; r++) {
        bench_progress(o, r);
        for (size_t w = 0; w < WIDTHS; w++)
            for (size_t k = 0; k < KINDS; k++) {
                f.width = widths[w];
                round_of(o, &f, k, &s[k][w]);
            }
    }
    bench_report_title(o, "many to one and one to many, 64 bytes, in turns of 32; all events together");
    for (size_t k = 0; k < KINDS; k++)
        for (size_t w = 0; w < WIDTHS; w++) {
            snprintf(names[k][w], sizeof names[k][w], kinds[k].name, widths[w]);
            s[k][w].name = names[k][w];
            bench_report(o, &s[k][w], (const bench_series *[]){&s[k & ~(size_t)1][w]}, k % 2);
        }
}
