/* The sensor of the chain that is measured: it emits what it is ordered to, on a schedule or as fast as there is room. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "bench/chain.h"
#include "vmsig_actor.h"

#define PER_TURN 64u /* events of a burst between two looks at everything else */

typedef struct sensor {
    int fifo, timer, more; /* more: readable while a burst goes on */
    uint64_t count;
    uint64_t burst;              /* events of it that are left */
    uint64_t left, next, period; /* of a schedule */
} sensor;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void emit(vmsig_actor *a, sensor *s, uint64_t scheduled_ns) {
    bench_beat beat = {.scheduled_ns = scheduled_ns, .count = s->count++};
    vmsig_actor_emit_bytes(a, BENCH_CHAIN_KIND, &beat, sizeof beat);
}

static void on_more(vmsig_actor *a, void *ud) {
    sensor *s = ud;
    eventfd_t was;
    for (unsigned i = 0; i < PER_TURN && s->burst > 0; i++, s->burst--)
        emit(a, s, 0);
    if (s->burst == 0)
        eventfd_read(s->more, &was);
}

static struct timespec timespec_of(uint64_t ns) {
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
}

/* Once for a schedule: between an event and the bell that tells of it there is no other system call. */
static void set_timer(sensor *s) {
    struct itimerspec t = {0};
    if (s->left > 0)
        t = (struct itimerspec){.it_value = timespec_of(s->next), .it_interval = timespec_of(s->period)};
    timerfd_settime(s->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

/* Whatever has kept it, each event that is due is emitted, with the time at which it was. */
static void on_time(vmsig_actor *a, void *ud) {
    sensor *s = ud;
    uint64_t expirations;
    if (read(s->timer, &expirations, sizeof expirations) < 0)
        return;
    for (; s->left > 0 && s->next <= now_ns(); s->left--, s->next += s->period)
        emit(a, s, s->next);
    if (s->left == 0)
        set_timer(s);
}

static void on_order(vmsig_actor *a, void *ud) {
    sensor *s = ud;
    bench_order o;
    (void)a;
    while (read(s->fifo, &o, sizeof o) == sizeof o) {
        if (o.period_ns == 0) {
            s->burst += o.events;
            eventfd_write(s->more, 1);
        } else {
            s->left = o.events;
            s->period = o.period_ns;
            s->next = now_ns() + o.period_ns;
            set_timer(s);
        }
    }
}

static int run(vmsig_actor *a, sensor *s) {
    if (vmsig_actor_watch(a, s->fifo, on_order, s) || vmsig_actor_watch(a, s->timer, on_time, s) ||
        vmsig_actor_watch(a, s->more, on_more, s))
        return 1;
    return vmsig_actor_run(a);
}

int bench_chain_sensor(const char *fifo) {
    sensor s = {.fifo = open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC), /* a writer of its own: it never ends */
                .timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC),
                .more = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    if (s.fifo < 0 || s.timer < 0 || s.more < 0) {
        fprintf(stderr, "vmsig-bench: cannot take orders from %s: %s\n", fifo, strerror(errno));
        return VMSIG_EXIT_DONT_RESTART;
    }
    vmsig_actor *a = vmsig_actor_open();
    if (a == NULL)
        return 1;
    int code = run(a, &s);
    vmsig_actor_free(a);
    close(s.fifo);
    close(s.timer);
    close(s.more);
    return code;
}
