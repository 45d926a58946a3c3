/* The two actors of a pair. An event of BENCH_ASK is answered, one of BENCH_PASS is not. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "bench/pair.h"
#include "bench/pair_impl.h"
#include "vmsig_actor.h"

#define ASK      64u
#define PASS     65u
#define BODY     24u /* of a question: an event of one slot */
#define BACK     16u /* of its answer: the same, with a token */
#define PER_TURN 64u /* of a stream, between two looks at everything else */

typedef struct asker {
    int orders, done, timer, more;
    bench_sheet *sheet;
    bench_pair_order now;
    uint64_t asked, answered;
    uint64_t since; /* when the last question, or the stream, began */
    uint64_t due;
    uint8_t *body; /* of a stream's events, PAYLOAD_MAX bytes */
} asker;

/* ---- the answerer ---------------------------------------------------------------------------------------- */

static void answer(vmsig_actor *a, const vmsig_event *ev, void *ud) {
    (void)ud;
    if (ev->kind != ASK)
        return;
    vmsig_event back = {.kind = ASK, .dir = VMSIG_DIR_DOWN, .inln_len = BACK};
    memcpy(back.inln, ev->inln, BACK);
    if (vmsig_actor_emit(a, &back) != 0)
        fprintf(stderr, "answerer: an answer could not be given: %s\n", strerror(errno));
}

int bench_pair_answerer(void) {
    vmsig_actor *a = vmsig_actor_open();
    if (a == NULL)
        return 1;
    vmsig_actor_on_event(a, answer, NULL);
    int code = vmsig_actor_run(a);
    vmsig_actor_free(a);
    return code;
}

/* ---- the asker ------------------------------------------------------------------------------------------- */

static void say_done(asker *s) {
    char byte = 1;
    if (write(s->done, &byte, 1) != 1)
        fprintf(stderr, "asker: %s\n", strerror(errno));
}

static void ask(vmsig_actor *a, asker *s) {
    uint8_t body[BODY] = {0};
    s->asked++;
    s->since = bench_now_ns();
    if (vmsig_actor_emit_bytes(a, ASK, body, sizeof body) != 0)
        fprintf(stderr, "asker: a question could not be asked: %s\n", strerror(errno));
}

static void set_timer(asker *s) {
    struct itimerspec t = {
        .it_value = {.tv_sec = (time_t)(s->due / 1000000000u), .tv_nsec = (long)(s->due % 1000000000u)}};
    timerfd_settime(s->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static void ask_later(asker *s) {
    s->due = bench_now_ns() + s->now.period_ns;
    set_timer(s);
}

static void on_time(vmsig_actor *a, void *ud) {
    asker *s = ud;
    uint64_t expirations;
    if (read(s->timer, &expirations, sizeof expirations) == sizeof expirations)
        ask(a, s);
}

static void on_answer(vmsig_actor *a, const vmsig_event *ev, void *ud) {
    asker *s = ud;
    if (ev->kind != ASK)
        return;
    uint64_t now = bench_now_ns();
    s->sheet->ns = now - s->since;
    if (!s->now.stream)
        bench_hist_add(&s->sheet->hist, now - s->since);
    if (s->now.stream || ++s->answered == s->now.n)
        say_done(s);
    else if (s->now.period_ns > 0)
        ask_later(s);
    else
        ask(a, s);
}

static int emit_large(vmsig_actor *a, const asker *s, uint8_t kind) {
    vmsig_event ev = {.kind = kind, .dir = VMSIG_DIR_UP, .payload = s->body, .payload_len = s->now.body};
    return vmsig_actor_emit(a, &ev);
}

static void stream_one(vmsig_actor *a, asker *s) {
    uint8_t kind = ++s->asked == s->now.n ? ASK : PASS;
    memset(s->body, (int)s->asked, s->now.body);
    int rc =
        s->now.body > VMSIG_INLINE_MAX ? emit_large(a, s, kind) : vmsig_actor_emit_bytes(a, kind, s->body, s->now.body);
    if (rc != 0)
        fprintf(stderr, "asker: an event could not be emitted: %s\n", strerror(errno));
}

static void on_more(vmsig_actor *a, void *ud) {
    asker *s = ud;
    eventfd_t was;
    for (unsigned i = 0; i < PER_TURN && s->asked < s->now.n; i++)
        stream_one(a, s);
    if (s->asked == s->now.n)
        eventfd_read(s->more, &was);
}

static void on_order(vmsig_actor *a, void *ud) {
    asker *s = ud;
    if (read(s->orders, &s->now, sizeof s->now) != sizeof s->now)
        return;
    bench_hist_reset(&s->sheet->hist);
    s->asked = s->answered = 0;
    s->since = bench_now_ns();
    if (s->now.stream)
        eventfd_write(s->more, 1);
    else if (s->now.period_ns > 0)
        ask_later(s);
    else
        ask(a, s);
}

static bool open_files(asker *s, const char *dir) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/orders", dir);
    s->orders = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC); /* a writer of its own: it never ends */
    snprintf(path, sizeof path, "%s/done", dir);
    s->done = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    snprintf(path, sizeof path, "%s/sheet", dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    s->sheet = mmap(NULL, sizeof *s->sheet, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    s->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    s->more = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    s->body = bench_shared(VMSIG_PAYLOAD_MAX);
    return s->orders >= 0 && s->done >= 0 && s->sheet != MAP_FAILED && s->timer >= 0 && s->more >= 0;
}

int bench_pair_asker(const char *dir) {
    asker s = {0};
    if (!open_files(&s, dir)) {
        fprintf(stderr, "vmsig-bench: cannot take orders in %s: %s\n", dir, strerror(errno));
        return VMSIG_EXIT_DONT_RESTART;
    }
    vmsig_actor *a = vmsig_actor_open();
    if (a == NULL)
        return 1;
    vmsig_actor_on_event(a, on_answer, &s);
    if (vmsig_actor_watch(a, s.orders, on_order, &s) || vmsig_actor_watch(a, s.timer, on_time, &s) ||
        vmsig_actor_watch(a, s.more, on_more, &s))
        return 1;
    int code = vmsig_actor_run(a);
    vmsig_actor_free(a);
    return code;
}
