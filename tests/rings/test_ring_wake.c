/* Sleeping and waking, room and bells: first step by step, then between two processes, where every wait has a deadline:
 * one lost wake-up and the test fails. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "pair.h"
#include "rings/bell.h"

Test(ring_wake, only_a_sleeper_is_rung) {
    pair p;
    pair_open(&p, 8, 0);
    cr_expect_eq(vmsig_ring_flush(&p.out), 0, "nothing was published");
    cr_assert_eq(pair_put(&p, 0, 0), 0);
    cr_expect_eq(vmsig_ring_flush(&p.out), 0, "it is awake");
    pair_expect(&p, 0, 0);
    cr_expect_eq(vmsig_ring_sleep(&p.in), 0);
    cr_expect_eq(vmsig_ring_flush(&p.out), 0, "nothing new to wake it for");
    cr_assert_eq(pair_put(&p, 1, 0), 0);
    cr_expect_eq(vmsig_ring_flush(&p.out), 1);
    cr_assert_eq(pair_put(&p, 2, 0), 0);
    cr_expect_eq(vmsig_ring_flush(&p.out), 0, "it was rung for this nap");
    vmsig_ring_wake(&p.in);
    cr_assert_eq(pair_put(&p, 3, 0), 0);
    cr_expect_eq(vmsig_ring_flush(&p.out), 0, "it is awake again");
    for (uint64_t n = 1; n < 4; n++)
        pair_expect(&p, n, 0);
    cr_expect_eq(vmsig_ring_sleep(&p.in), 0);
    cr_assert_eq(pair_put(&p, 4, 0), 0);
    cr_expect_eq(vmsig_ring_flush(&p.out), 1, "another nap");
    pair_close(&p);
}

Test(ring_wake, who_never_sleeps_is_never_rung) {
    pair p;
    pair_open(&p, 8, 0);
    vmsig_ring_in_sleepless(&p.in);
    cr_assert_eq(vmsig_ring_out_peer(&p.out, p.reader_fd), 0);
    cr_assert_eq(pair_put(&p, 0, 0), 0);
    p.in.reader->nap = 7; /* what it says of sleep counts for nothing */
    cr_expect_eq(vmsig_ring_flush(&p.out), 0);
    cr_expect_eq(p.out.unflushed, 0);
    pair_expect(&p, 0, 0);
    pair_close(&p);
}

Test(ring_wake, nobody_sleeps_over_an_event) {
    pair p;
    pair_open(&p, 8, 0);
    cr_assert_eq(pair_put(&p, 0, 100), 0);
    cr_expect_eq(vmsig_ring_sleep(&p.in), 1);
    cr_expect_eq(p.in.reader->nap, 0, "and is awake again");
    pair_close(&p);
}

Test(ring_wake, a_producer_that_waits_is_rung_when_there_is_room) {
    pair p;
    uint64_t n = 0, got = 0;
    pair_open(&p, 8, 0);
    cr_expect_eq(vmsig_ring_want_room(&p.out, 8), 1);
    cr_expect_eq(p.out.head->want, 0, "the wish is withdrawn");
    while (pair_put(&p, n, 0) == 0)
        n++;
    cr_expect_eq(vmsig_ring_release(&p.in), 0, "nothing to release");
    cr_expect_eq(vmsig_ring_want_room(&p.out, 2), 0);
    pair_expect(&p, got++, 0);
    cr_expect_eq(vmsig_ring_release(&p.in), 0, "one is not two");
    cr_expect_eq(vmsig_ring_want_room(&p.out, 2), 0);
    pair_expect(&p, got++, 0);
    cr_expect_eq(vmsig_ring_release(&p.in), 1);
    cr_expect_eq(vmsig_ring_want_room(&p.out, 2), 1);
    pair_expect(&p, got++, 0);
    cr_expect_eq(vmsig_ring_release(&p.in), 0, "it no longer waits");
    pair_close(&p);
}

Test(ring_wake, room_means_room_for_the_body_too) {
    pair p;
    uint8_t body[3000] = {0};
    vmsig_event ev = pair_event(1, 0), got;
    ev.payload = body;
    ev.payload_len = sizeof body;
    pair_open(&p, 8, 4096);
    cr_assert_eq(vmsig_ring_put_event(&p.out, &ev), 0);
    cr_assert_eq(vmsig_ring_put_event(&p.out, &ev), -EAGAIN);
    cr_expect_eq(vmsig_ring_want_room(&p.out, 1), 0, "slots there are, but no room for the body");
    cr_assert_not_null(vmsig_ring_peek(&p.in));
    cr_assert_eq(vmsig_ring_get_event(&p.in, &got), 0);
    free(got.payload);
    vmsig_ring_advance(&p.in);
    cr_expect_eq(vmsig_ring_release(&p.in), 1);
    cr_expect_eq(vmsig_ring_want_room(&p.out, 1), 1);
    cr_assert_eq(vmsig_ring_put_event(&p.out, &ev), 0);
    pair_close(&p);
}

/* ---- two processes ----------------------------------------------------------------------------------- */

#define DEADLINE_MS 60000

enum { WELL, NO_WAKE_UP, WRONG_EVENT, RING_ERROR };

/* A link with its bells; each process uses one side of it after the fork. */
typedef struct wire {
    pair p;
    int data_bell, room_bell;
    uint64_t sleeps; /* of the consumer */
} wire;

static void wire_open(wire *w, uint32_t slots, uint64_t arena) {
    *w = (wire){0};
    pair_open(&w->p, slots, arena);
    w->data_bell = vmsig_bell_create();
    w->room_bell = vmsig_bell_create();
    cr_assert(w->data_bell >= 0 && w->room_bell >= 0);
}

static void wire_close(wire *w) {
    pair_close(&w->p);
    close(w->data_bell);
    close(w->room_bell);
}

static int wait_bell(int bell) {
    struct pollfd p = {.fd = bell, .events = POLLIN};
    int n;
    while ((n = poll(&p, 1, DEADLINE_MS)) < 0 && errno == EINTR) {
    }
    vmsig_bell_clear(bell);
    return n == 1 ? WELL : NO_WAKE_UP;
}

static void wire_flush(wire *w) {
    if (vmsig_ring_flush(&w->p.out))
        vmsig_bell_ring(w->data_bell);
}

static int wire_put(wire *w, const vmsig_event *ev) {
    int err;
    while ((err = vmsig_ring_put_event(&w->p.out, ev)) == -EAGAIN) {
        wire_flush(w);
        while (!vmsig_ring_want_room(&w->p.out, 3))
            if (wait_bell(w->room_bell) != WELL)
                return NO_WAKE_UP;
    }
    return err == 0 ? WELL : RING_ERROR;
}

static void wire_release(wire *w) {
    if (vmsig_ring_release(&w->p.in))
        vmsig_bell_ring(w->room_bell);
}

/* Until there is an event; sleeps at once when there is none. */
static int wire_wait(wire *w) {
    while (vmsig_ring_peek(&w->p.in) == NULL) {
        wire_release(w);
        if (w->p.in.poisoned != 0)
            return RING_ERROR;
        if (vmsig_ring_sleep(&w->p.in))
            continue;
        w->sleeps++;
        int err = wait_bell(w->data_bell);
        vmsig_ring_wake(&w->p.in);
        if (err != WELL)
            return err;
    }
    return WELL;
}

static uint32_t length(uint64_t n) {
    static const uint32_t lens[] = {0, 8, 24, 25, 80, 16, 112, 4};
    return lens[n % 8];
}

static int produce(wire *w, uint64_t events, uint32_t turn, uint32_t payload_every) {
    uint8_t body[700];
    for (uint64_t n = 0; n < events; n++) {
        vmsig_event ev = pair_event(n, length(n));
        if (payload_every != 0 && n % payload_every == 0) {
            ev.payload = body;
            ev.payload_len = (uint32_t)(1 + n % sizeof body);
            memset(body, (int)n, ev.payload_len);
        }
        int err = wire_put(w, &ev);
        if (err != WELL)
            return err;
        if (n % turn == turn - 1)
            wire_flush(w);
    }
    wire_flush(w);
    return WELL;
}

static int check_payload(const vmsig_event *ev, uint64_t n, uint32_t payload_every) {
    if (payload_every == 0 || n % payload_every != 0)
        return ev->payload == NULL ? WELL : WRONG_EVENT;
    if (ev->payload_len != 1 + n % 700)
        return WRONG_EVENT;
    for (uint32_t i = 0; i < ev->payload_len; i++)
        if (((const uint8_t *)ev->payload)[i] != (uint8_t)n)
            return WRONG_EVENT;
    return WELL;
}

static int consume(wire *w, uint64_t events, uint32_t turn, uint32_t payload_every) {
    for (uint64_t n = 0; n < events; n++) {
        vmsig_event got, want = pair_event(n, length(n));
        int err = wire_wait(w);
        if (err != WELL)
            return err;
        if (vmsig_ring_get_event(&w->p.in, &got) != 0)
            return RING_ERROR;
        err = check_payload(&got, n, payload_every);
        free(got.payload);
        got.payload = NULL;
        got.payload_len = 0;
        if (err != WELL || memcmp(&got, &want, sizeof got) != 0)
            return WRONG_EVENT;
        vmsig_ring_advance(&w->p.in);
        if (n % turn == turn - 1)
            wire_release(w);
    }
    wire_release(w);
    return WELL;
}

static pid_t child(void) {
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

static void all_well(pid_t pid, int mine) {
    int status;
    if (mine != WELL)
        kill(pid, SIGKILL);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(mine, WELL, "consumer: %d", mine);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == WELL, "producer: %x", status);
}

static void stress(uint64_t events, uint32_t slots, uint32_t put_turn, uint32_t take_turn, uint32_t payload_every) {
    wire w;
    wire_open(&w, slots, payload_every != 0 ? 4096 : 0);
    pid_t pid = child();
    if (pid == 0)
        _exit(produce(&w, events, put_turn, payload_every));
    all_well(pid, consume(&w, events, take_turn, payload_every));
    cr_expect_null(vmsig_ring_peek(&w.p.in), "and not one more");
    wire_close(&w);
}

Test(ring_two, nothing_is_lost_doubled_or_reordered, .timeout = 100) {
    stress(600000, 1024, 32, 32, 0);
    stress(200000, 8, 1, 1, 0);
}

Test(ring_two, payloads_arrive_whole, .timeout = 100) {
    stress(100000, 64, 8, 3, 2);
}

/* Each event goes there and comes back, and both sides sleep between, until they have slept a million times in all, or
 * as often as VMSIG_SLEEPS says (`make soak-wake`). */
typedef struct sleeps {
    uint64_t of_peer, over;
} sleeps;

/* The caller says that it is over before it sends the last, and after it had the answer to the one before. */
static int echo(wire *there, wire *back, sleeps *s) {
    int err = WELL;
    for (bool last = false; err == WELL && !last;) {
        vmsig_event ev;
        err = wire_wait(there);
        if (err == WELL)
            err = vmsig_ring_get_event(&there->p.in, &ev) == 0 ? WELL : RING_ERROR;
        last = vmsig_load64_acquire(&s->over) != 0;
        vmsig_ring_advance(&there->p.in);
        wire_release(there);
        vmsig_store64(&s->of_peer, there->sleeps);
        if (err == WELL)
            err = wire_put(back, &ev);
        wire_flush(back);
    }
    return err;
}

static int call(wire *there, wire *back, uint64_t n) {
    vmsig_event ev = pair_event(n, 8), got;
    int err = wire_put(there, &ev);
    wire_flush(there);
    if (err == WELL)
        err = wire_wait(back);
    if (err == WELL && (vmsig_ring_get_event(&back->p.in, &got) != 0 || got.seq != n))
        err = WRONG_EVENT;
    vmsig_ring_advance(&back->p.in);
    wire_release(back);
    return err;
}

Test(ring_two, no_wake_up_is_lost, .timeout = 86400) {
    const char *wanted = getenv("VMSIG_SLEEPS");
    const uint64_t enough = wanted != NULL ? strtoull(wanted, NULL, 10) : 1000000;
    sleeps *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(s, MAP_FAILED);
    wire there, back;
    wire_open(&there, 8, 0);
    wire_open(&back, 8, 0);
    pid_t pid = child();
    if (pid == 0)
        _exit(echo(&there, &back, s));
    int err = WELL;
    for (uint64_t n = 0; err == WELL && vmsig_load64(&s->over) == 0; n++) {
        if (back.sleeps + vmsig_load64(&s->of_peer) >= enough)
            vmsig_store64_release(&s->over, 1); /* this event is the last */
        err = call(&there, &back, n);
    }
    all_well(pid, err);
    wire_close(&there);
    wire_close(&back);
    munmap(s, sizeof *s);
}

/* ---- the fences: both sides at the same instant -------------------------------------------------------- */

/* Lines on which two processes meet, round after round. */
typedef struct meeting {
    alignas(64) uint64_t at[2];
    alignas(64) uint64_t outcome;
    alignas(64) uint64_t over;
} meeting;

/* Returns when both are there; side 0 and 1 reach it as nearly at once as can be had. */
static void meet(meeting *m, int side, uint64_t round) {
    vmsig_store64_release(&m->at[side], round);
    for (unsigned spins = 0; vmsig_load64_acquire(&m->at[1 - side]) < round; spins++)
        if (spins > 2000)
            sched_yield();
    uint64_t head_start = (round * 7919) % 401; /* some 100 ns: now the one is ahead, now the other */
    for (volatile uint64_t n = side ? head_start : 200; n > 0; n--) {
    }
}

/* To a processor of its own, where there are two. */
static void apart(int side) {
    cpu_set_t all, one;
    int cpu = -1;
    if (sched_getaffinity(0, sizeof all, &all) < 0 || CPU_COUNT(&all) < 2)
        return;
    for (int n = 0; n <= side; n++)
        for (cpu++; !CPU_ISSET((size_t)cpu, &all); cpu++) {
        }
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

/* What a side does in a round: look says whether it has seen the other; tidy, after both have looked, sets the stage for
 * the next round. */
typedef struct part {
    bool (*look)(wire *w);
    void (*tidy)(wire *w);
} part;

/* Runs both sides for `rounds`, or for 2 s where there are not two processors for them. Counts the rounds in which
 * neither has seen the other. */
static uint64_t blind_rounds(wire *w, uint64_t rounds, part producer, part consumer) {
    int fd = vmsig_shm_create("test-meeting", sizeof(meeting));
    void *map;
    cr_assert_eq(vmsig_shm_map_rw(fd, sizeof(meeting), &map), 0);
    meeting *m = map;
    uint64_t blind = 0;
    time_t until = time(NULL) + 2;
    pid_t pid = child();
    const int side = pid == 0;
    const part *mine = side ? &producer : &consumer;
    apart(side);
    for (uint64_t r = 1; r <= rounds && !vmsig_load64(&m->over); r++) {
        meet(m, side, 3 * r);
        bool saw = mine->look(w);
        if (side)
            vmsig_store64(&m->outcome, saw);
        meet(m, side, 3 * r + 1);
        if (!side) {
            blind += !saw && !vmsig_load64(&m->outcome);
            if (r % 256 == 0 && time(NULL) > until)
                vmsig_store64(&m->over, 1);
        }
        mine->tidy(w);
        meet(m, side, 3 * r + 2);
    }
    if (side)
        _exit(WELL);
    all_well(pid, WELL);
    vmsig_shm_unmap(map, sizeof(meeting));
    close(fd);
    return blind;
}

static bool publish_and_look(wire *w) {
    return pair_put(&w->p, 1, 0) == 0 && vmsig_ring_flush(&w->p.out);
}
static void nothing(wire *w) {
    (void)w;
}
static bool sleep_and_look(wire *w) {
    return vmsig_ring_sleep(&w->p.in);
}
static void wake_and_take(wire *w) {
    vmsig_ring_wake(&w->p.in);
    if (vmsig_ring_peek(&w->p.in) != NULL)
        vmsig_ring_advance(&w->p.in);
    vmsig_ring_release(&w->p.in);
}

Test(ring_fences, publishing_and_falling_asleep_see_each_other, .timeout = 100) {
    wire w;
    wire_open(&w, 8, 0);
    cr_expect_eq(blind_rounds(&w, 200000, (part){publish_and_look, nothing}, (part){sleep_and_look, wake_and_take}), 0);
    wire_close(&w);
}

/* The ring is full at the start of each round. */
static bool want_and_look(wire *w) {
    return vmsig_ring_want_room(&w->p.out, 1);
}
static void fill_up(wire *w) {
    vmsig_store64(&w->p.out.head->want, 0);
    pair_put(&w->p, 1, 0);
}
static bool release_and_look(wire *w) {
    if (vmsig_ring_peek(&w->p.in) != NULL)
        vmsig_ring_advance(&w->p.in);
    return vmsig_ring_release(&w->p.in);
}

Test(ring_fences, wanting_room_and_releasing_see_each_other, .timeout = 100) {
    wire w;
    wire_open(&w, 8, 0);
    for (uint64_t n = 0; n < 8; n++)
        cr_assert_eq(pair_put(&w.p, n, 0), 0);
    cr_expect_eq(blind_rounds(&w, 200000, (part){want_and_look, fill_up}, (part){release_and_look, nothing}), 0);
    wire_close(&w);
}

/* A producer that is killed at any instruction: its successor and the consumer lose nothing that was published, and
 * nothing comes twice. The producer counts what it has published in memory of its own, after the fact. */
Test(ring_two, a_killed_producer_leaves_a_prefix, .timeout = 100) {
    vmsig_ring_in in;
    int counter_fd = vmsig_shm_create("test-count", 4096), reader_fd = pair_reader(&in, 0, 0), former = -1;
    void *map;
    cr_assert_eq(vmsig_shm_map_rw(counter_fd, 4096, &map), 0);
    volatile uint64_t *counter = map;
    uint64_t expect = 0;
    for (uint32_t generation = 1; generation <= 25; generation++) {
        vmsig_ring_end end = {0};
        vmsig_ring_out out;
        uint64_t next = 0; /* what the successor goes on with: one more than the last that was published */
        if (former >= 0) {
            cr_assert_eq(vmsig_ring_find_end(former, reader_fd, &end), 0);
            close(former);
        }
        if (end.n > 0)
            next = end.last.s[0].ts_ns + 1;
        else
            next = *counter;
        cr_assert_geq(next, *counter, "an event that was published is missing");
        cr_assert_leq(next, *counter + 1);
        *counter = next;
        former = pair_ring(&out, generation, 64, 0, end.tail, 0);
        cr_assert_eq(vmsig_ring_out_peer(&out, reader_fd), 0);
        cr_assert_eq(vmsig_ring_in_peer(&in, former, PAIR_LINK), 0);
        pid_t pid = child();
        if (pid == 0)
            for (uint64_t n = next;;) {
                vmsig_event ev = pair_event(0, length(n));
                ev.ts_ns = n;
                if (vmsig_ring_put_event(&out, &ev) == 0)
                    *counter = ++n;
            }
        for (uint64_t taken = 0; taken < 500 + generation * 17;) {
            const vmsig_slot *s = vmsig_ring_peek(&in);
            if (s == NULL) {
                sched_yield();
                continue;
            }
            cr_assert_eq(s->ts_ns, expect, "got %lu, want %lu", (unsigned long)s->ts_ns, (unsigned long)expect);
            expect++, taken++;
            vmsig_ring_advance(&in);
            if (taken % 5 == 0)
                vmsig_ring_release(&in);
        }
        kill(pid, SIGKILL);
        cr_assert_eq(waitpid(pid, NULL, 0), pid);
        vmsig_ring_out_close(&out);
        cr_assert_eq(in.poisoned, 0);
    }
    close(former);
    close(reader_fd);
    close(counter_fd);
    vmsig_shm_unmap(map, 4096);
    vmsig_ring_in_close(&in);
}
