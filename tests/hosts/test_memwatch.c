/* The memwatch sensor on the stub's RAM: what it reports, and when it is still. */
#include <poll.h>
#include <sys/timerfd.h>

#include "actors/hosts/stub/stub.h"
#include "actors/runtime/loop.h"
#include "tests/hosts/rig.h"
#include "vmsig_memwatch.h"

#define DEADLINE_NS 10000000000ull

typedef struct bench {
    rig r;
    const vmsig_source_ops *w_ops;
    void *w;
    vmsig_event seen[64];
    int n;
    bool full;
} bench;

static int keep(void *token, vmsig_event *ev) {
    bench *b = token;
    if (b->full) {
        errno = EAGAIN;
        return -1;
    }
    cr_assert_lt(b->n, 64);
    b->seen[b->n++] = *ev;
    return 0;
}

static bool turn(const vmsig_source_ops *o, void *src, int ms) {
    struct pollfd p = {.fd = o->fd(src), .events = POLLIN};
    return poll(&p, 1, ms) > 0 && o->on_readable(src) == 0;
}

/* Boots the stub until its n-th address space, and hands that to the sensor. */
static void booted(bench *b, int n) {
    uint64_t end_ns = vmsig_now_ns() + DEADLINE_NS;
    while (rig_count(&b->r, VMSIG_EV_MEMCTX) < n) {
        cr_assert_lt(vmsig_now_ns(), end_ns);
        turn(ops(), b->r.host, 100);
    }
    cr_assert_eq(b->w_ops->on_memctx(b->w, rig_last(&b->r, VMSIG_EV_MEMCTX), b->r.ram_fd), 0);
}

static void setup(bench *b, const vmsig_memwatch_place *places, unsigned n) {
    const vmsig_stub_cfg cfg = {.memory = 4u << 20};
    char err[128];
    void *vm;
    *b = (bench){0};
    rig_pages(&b->r);
    cr_assert_eq(vmsig_stub_vm_new(&cfg, &vm, err, sizeof err), 0, "%s", err);
    vmsig_host_env env = rig_env(&b->r, -1);
    b->r.host = vmsig_host_new(EP, &vmsig_stub_backend, vm, &env);
    rig_start(&b->r);
    cr_assert_eq(vmsig_memwatch_open(EP, 9, places, n, 1000, &b->w_ops, &b->w), 0);
    b->w_ops->set_emit_up(b->w, keep, b);
}

static void end(bench *b) {
    b->w_ops->close(b->w);
    rig_end(&b->r);
}

/* Looks until n events have come, and once more. */
static void until(bench *b, int n) {
    uint64_t end_ns = vmsig_now_ns() + DEADLINE_NS;
    while (b->n < n) {
        cr_assert_lt(vmsig_now_ns(), end_ns, "%d of %d events", b->n, n);
        turn(b->w_ops, b->w, 100);
    }
    turn(b->w_ops, b->w, 100);
    cr_assert_eq(b->n, n);
}

static vmsig_memwatch body(const bench *b, int i) {
    vmsig_memwatch m;
    memcpy(&m, b->seen[i].inln, sizeof m);
    cr_expect_eq(b->seen[i].inln_len, sizeof m + 2u * m.size);
    return m;
}

static uint64_t value(const bench *b, int i, bool now) {
    uint64_t v = 0;
    memcpy(&v, b->seen[i].inln + sizeof(vmsig_memwatch) + (now ? 8 : 0), 8);
    return v;
}

Test(memwatch, reports_the_first_reading_and_then_each_change_with_both_values) {
    const vmsig_memwatch_place places[2] = {
        {.addr = VMSIG_STUB_SCRATCH, .size = 8},
        {.addr = VMSIG_STUB_KERNEL(VMSIG_STUB_SCRATCH + 8), .size = 8, .flags = VMSIG_MEMWATCH_VIRTUAL}};
    bench b;
    setup(&b, places, 2);
    cr_expect_eq(rig_write(&b.r, VMSIG_STUB_SCRATCH + 8, 8, 5, 0), VMSIG_OK);
    booted(&b, 1);
    until(&b, 2);
    cr_expect_eq(b.seen[1].kind, VMSIG_EV_MEMWATCH);
    cr_expect_eq(b.seen[1].source, 9);
    cr_expect_eq(b.seen[1].endpoint, EP);
    cr_expect_eq(b.seen[1].epoch, 7u);
    vmsig_memwatch m = body(&b, 1);
    cr_expect_eq(m.index, 1);
    cr_expect_eq(m.size, 8);
    cr_expect_eq(m.addr, places[1].addr);
    cr_expect_eq(m.flags, VMSIG_MEMWATCH_VIRTUAL | VMSIG_MEMWATCH_FIRST);
    cr_expect_eq(value(&b, 1, true), 5u);

    cr_expect_eq(rig_write(&b.r, VMSIG_STUB_SCRATCH + 8, 8, 6, 0), VMSIG_OK);
    until(&b, 3);
    cr_expect_eq(body(&b, 2).index, 1);
    cr_expect_eq(body(&b, 2).flags, VMSIG_MEMWATCH_VIRTUAL);
    cr_expect_eq(value(&b, 2, false), 5u);
    cr_expect_eq(value(&b, 2, true), 6u);
    end(&b);
}

Test(memwatch, a_key_that_was_sent_is_seen) {
    const vmsig_memwatch_place last = {.addr = VMSIG_STUB_INPUT + 8, .size = 8};
    bench b;
    setup(&b, &last, 1);
    booted(&b, 1);
    until(&b, 1);
    cr_expect_eq(rig_key(&b.r, 30, 1), VMSIG_OK);
    until(&b, 2);
    vmsig_input in;
    memcpy(&in, b.seen[1].inln + sizeof(vmsig_memwatch) + 8, sizeof in);
    cr_expect_eq(in.code, 30);
    cr_expect_eq(in.down, 1);
    end(&b);
}

Test(memwatch, is_still_while_there_is_no_address_space_and_starts_anew_with_the_next) {
    const vmsig_memwatch_place scratch = {.addr = VMSIG_STUB_USER(VMSIG_STUB_SCRATCH), .size = 8, .flags = 1};
    bench b;
    setup(&b, &scratch, 1);
    cr_expect_not(turn(b.w_ops, b.w, 20), "none yet");
    cr_expect_eq(rig_write(&b.r, VMSIG_STUB_SCRATCH, 8, 3, 0), VMSIG_OK);
    booted(&b, 1);
    until(&b, 1);
    cr_expect_eq(rig_op(&b.r, VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESET), VMSIG_OK);
    cr_assert_eq(b.w_ops->on_memctx(b.w, rig_last(&b.r, VMSIG_EV_MEMCTX_INVALID), -1), 0);
    struct itimerspec t;
    cr_assert_eq(timerfd_gettime(b.w_ops->fd(b.w), &t), 0);
    cr_expect_eq(t.it_interval.tv_nsec, 0, "no wake-ups");
    cr_expect_not(turn(b.w_ops, b.w, 20));
    booted(&b, 2);
    until(&b, 2);
    cr_expect_eq(b.seen[1].epoch, 8u);
    cr_expect(body(&b, 1).flags & VMSIG_MEMWATCH_FIRST);
    cr_expect_eq(value(&b, 1, true), 0u);
    end(&b);
}

Test(memwatch, news_that_is_older_than_what_it_reads_does_not_stop_it) {
    const vmsig_memwatch_place scratch = {.addr = VMSIG_STUB_SCRATCH, .size = 8};
    bench b;
    setup(&b, &scratch, 1);
    booted(&b, 1);
    until(&b, 1);
    vmsig_event own = {.kind = VMSIG_EV_MEMCTX_INVALID, .epoch = 7}; /* all before 7 is void */
    cr_assert_eq(b.w_ops->on_memctx(b.w, &own, -1), 0);
    cr_expect_eq(rig_write(&b.r, VMSIG_STUB_SCRATCH, 8, 3, 0), VMSIG_OK);
    until(&b, 2);
    end(&b);
}

Test(memwatch, what_cannot_be_read_is_said_once) {
    const vmsig_memwatch_place nowhere[2] = {{.addr = 0x4000, .size = 8, .flags = VMSIG_MEMWATCH_VIRTUAL},
                                             {.addr = 0x7fffffff000ull, .size = 4}};
    bench b;
    setup(&b, nowhere, 2);
    booted(&b, 1);
    until(&b, 2);
    cr_expect(body(&b, 0).flags & VMSIG_MEMWATCH_UNREADABLE);
    cr_expect(body(&b, 1).flags & VMSIG_MEMWATCH_UNREADABLE);
    end(&b);
}

Test(memwatch, a_change_that_found_no_room_is_told_later) {
    const vmsig_memwatch_place scratch = {.addr = VMSIG_STUB_SCRATCH, .size = 8};
    bench b;
    setup(&b, &scratch, 1);
    booted(&b, 1);
    until(&b, 1);
    b.full = true;
    cr_expect_eq(rig_write(&b.r, VMSIG_STUB_SCRATCH, 8, 3, 0), VMSIG_OK);
    turn(b.w_ops, b.w, 100);
    b.full = false;
    until(&b, 2);
    cr_expect_eq(value(&b, 1, false), 0u);
    cr_expect_eq(value(&b, 1, true), 3u);
    end(&b);
}

Test(memwatch, places_of_every_size) {
    vmsig_memwatch_place places[VMSIG_MEMWATCH_SIZE_MAX];
    for (unsigned i = 0; i < VMSIG_MEMWATCH_SIZE_MAX; i++)
        places[i] = (vmsig_memwatch_place){.addr = VMSIG_STUB_SCRATCH, .size = (uint16_t)(i + 1)};
    bench b;
    setup(&b, places, VMSIG_MEMWATCH_SIZE_MAX);
    booted(&b, 1);
    until(&b, VMSIG_MEMWATCH_SIZE_MAX);
    for (unsigned i = 0; i < VMSIG_MEMWATCH_SIZE_MAX; i++)
        cr_expect_eq(body(&b, (int)i).size, i + 1);
    end(&b);
}

Test(memwatch, places_as_text) {
    static const struct {
        const char *text;
        uint64_t addr;
        int size; /* 0 = refused */
    } cases[] = {{"0x2008", 0x2008, 8},
                 {"4096:4", 4096, 4},
                 {"0xffffffff80001008:48", 0xffffffff80001008ull, 48},
                 {"0x10:0", 0, 0},
                 {"0x10:49", 0, 0},
                 {"0x10:", 0, 0},
                 {":8", 0, 0},
                 {"", 0, 0},
                 {"-1", 0, 0},
                 {"0x10000000000000000", 0, 0},
                 {"0x10:8x", 0, 0},
                 {"0x10:-8", 0, 0},
                 {" 16", 0, 0},
                 {"16 ", 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vmsig_memwatch_place p = {0};
        errno = 0;
        int rc = vmsig_memwatch_parse(cases[i].text, &p);
        cr_expect_eq(rc, cases[i].size ? 0 : -1, "%s", cases[i].text);
        cr_expect_eq(rc == 0 ? 0 : EINVAL, errno, "%s", cases[i].text);
        cr_expect_eq(p.addr, cases[i].addr, "%s", cases[i].text);
        cr_expect_eq(p.size, cases[i].size, "%s", cases[i].text);
    }
}

Test(memwatch, what_it_cannot_watch_is_refused) {
    const vmsig_memwatch_place good = {.addr = 0, .size = 8}, none = {.size = 0}, large = {.size = 49},
                               odd = {.size = 8, .flags = 2};
    const vmsig_source_ops *o;
    void *src;
    cr_expect_eq(vmsig_memwatch_open(EP, 9, &none, 1, 10, &o, &src), -1);
    cr_expect_eq(vmsig_memwatch_open(EP, 9, &large, 1, 10, &o, &src), -1);
    cr_expect_eq(vmsig_memwatch_open(EP, 9, &odd, 1, 10, &o, &src), -1);
    cr_expect_eq(vmsig_memwatch_open(EP, 9, &good, 0, 10, &o, &src), -1);
    cr_expect_eq(vmsig_memwatch_open(EP, 9, &good, 65, 10, &o, &src), -1);
    cr_expect_eq(vmsig_memwatch_open(EP, 9, &good, 1, 0, &o, &src), -1);
    cr_expect_eq(vmsig_memwatch_open(EP, 9, &good, 1, 10001, &o, &src), -1);
    cr_expect_eq(errno, EINVAL);
}
