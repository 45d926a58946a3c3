/* An actor for the tests of the supervisor, of whatever kind the topology says. It notes what happens to it in --log,
 * and does one thing wrong when it is told to. On each output it emits its position, on each input it checks that
 * nothing is missing, doubled or out of order.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "actors/runtime/runtime.h"
#include "vmsig_event.h"

typedef struct test_actor {
    vmsig_rt *rt;
    vmsig_timer *timer, *report;
    const char *log;
    int exit_at_start, exit_later, emit_hz; /* -1, 0: not */
    int burst;                              /* events at the start, and where the ring began and ends */
    bool hang, deaf, spawn_child, spin, lock, gate, lies, lies_back, zombie;
    uint64_t next[64], taken; /* by link */
} test_actor;

static void note(const test_actor *t, const char *what, unsigned long long n) {
    char line[160];
    const Vmsig__Pb__Boot *b = vmsig_rt_boot(t->rt);
    int len = snprintf(line, sizeof line, "%s %s %u %llu\n", what, b->name, b->incarnation, n);
    int fd = t->log ? open(t->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666) : -1;
    if (fd >= 0 && write(fd, line, (size_t)len) != len)
        abort();
    if (fd >= 0)
        close(fd);
}

/* The first incarnation, once it has published some: a slot that cannot be, and more behind it. */
static void lie(vmsig_link *l) {
    vmsig_slot *s = &l->out.slots[l->out.tail & l->out.mask];
    memset(s, 0xff, sizeof *s);
    s->turn = l->out.tail + 1;
    l->out.slots[(l->out.tail + 1) & l->out.mask].turn = l->out.tail + 2;
    l->out.unflushed++;
}

static void emit(void *ud) {
    test_actor *t = ud;
    unsigned n;
    vmsig_link *const *links = vmsig_rt_links(t->rt, &n);
    for (unsigned i = 0; i < n; i++) {
        if (!links[i]->output)
            continue;
        vmsig_event ev = {.kind = 64, .source = 8, .merged = 1, .ts_ns = vmsig_now_ns(), .inln_len = 8};
        memcpy(ev.inln, &links[i]->out.tail, 8);
        if (t->lies && vmsig_rt_boot(t->rt)->incarnation == 1 && links[i]->out.tail >= 50) {
            lie(links[i]);
            continue;
        }
        vmsig_ring_put_event(&links[i]->out, &ev);
    }
}

/* The first incarnation, in the middle of its work. */
static void get_stuck(const test_actor *t) {
    for (volatile unsigned n = 0; t->spin; n++) {
    }
    while (t->lock)
        pause();
}

static unsigned consume(void *self, vmsig_link *in, unsigned budget) {
    test_actor *t = self;
    unsigned done = 0;
    if (t->lies_back && vmsig_rt_boot(t->rt)->incarnation == 1 && in->in.cursor > 50) {
        in->in.reader->cursor = in->in.cursor + 1000000;
        return 0;
    }
    for (; done < budget && vmsig_ring_peek(&in->in) != NULL; done++, t->taken++) {
        vmsig_event ev;
        uint64_t got, want = t->next[in->id % 64];
        if (vmsig_ring_get_event(&in->in, &ev))
            abort();
        memcpy(&got, ev.inln, 8);
        free(ev.payload);
        if (want != 0 && got != want)
            note(t, "broken", got);
        if (got != in->in.cursor)
            note(t, "misplaced", got);
        t->next[in->id % 64] = got + 1;
        if (vmsig_rt_boot(t->rt)->incarnation == 1 && got == 50)
            get_stuck(t);
        vmsig_ring_advance(&in->in);
    }
    return done;
}

static void report(void *ud) {
    test_actor *t = ud;
    if (t->taken > 0)
        note(t, "taken", t->taken);
    t->taken = 0;
}

static void drop_timers(test_actor *t) {
    vmsig_timer_free(t->timer);
    vmsig_timer_free(t->report);
    t->timer = t->report = NULL;
}

static void leave(void *ud) {
    test_actor *t = ud;
    drop_timers(t);
    vmsig_rt_quit(t->rt, t->exit_later);
}

static int on_boot(void *self, vmsig_rt *rt) {
    test_actor *t = self;
    t->rt = rt;
    note(t, "boot", vmsig_rt_boot(rt)->epoch_base);
    return 0;
}

static void burst(test_actor *t) {
    unsigned n;
    vmsig_link *const *links = vmsig_rt_links(t->rt, &n);
    for (int i = 0; i < t->burst; i++)
        emit(t);
    for (unsigned i = 0; t->burst > 0 && i < n; i++)
        if (links[i]->output) {
            note(t, "base", links[i]->old.tail);
            note(t, "burst", links[i]->out.tail);
        }
}

/* A copy that outlives this incarnation with all that it has mapped, and stands still; woken, it goes on as if it were
 * the actor. */
static void leave_zombie(test_actor *t) {
    if (!t->zombie || vmsig_rt_boot(t->rt)->incarnation != 1 || fork() != 0)
        return;
    setsid();
    note(t, "child", (unsigned long long)getpid());
    raise(SIGSTOP);
    for (int i = 0; i < 100; i++)
        emit(t);
    unsigned n;
    vmsig_link *const *links = vmsig_rt_links(t->rt, &n);
    for (unsigned i = 0; i < n; i++)
        if (links[i]->output && vmsig_ring_flush(&links[i]->out))
            eventfd_write(links[i]->data_bell, 1);
        else if (!links[i]->output)
            vmsig_ring_release(&links[i]->in);
    if (vmsig_rt_own_epoch(t->rt))
        vmsig_epoch_advance(vmsig_rt_own_epoch(t->rt));
    note(t, "zombie", 100);
    _exit(0);
}

static int on_start(void *self) {
    test_actor *t = self;
    uint64_t now = vmsig_now_ns();
    if (t->exit_at_start >= 0) {
        vmsig_rt_fail(t->rt, "told to fail");
        _exit(t->exit_at_start);
    }
    if (t->spawn_child && fork() == 0) {
        setsid();
        note(t, "child", (unsigned long long)getpid());
        for (;;)
            pause();
    }
    while (t->hang)
        pause();
    if (vmsig_timer_new(vmsig_rt_loop(t->rt), t->exit_later >= 0 ? leave : emit, t, &t->timer) ||
        vmsig_timer_new(vmsig_rt_loop(t->rt), report, t, &t->report))
        return -ENOMEM;
    if (t->exit_later >= 0)
        vmsig_timer_set(t->timer, now + 20000000u, 0);
    else if (t->emit_hz > 0)
        vmsig_timer_set(t->timer, now + 1, 1000000000u / (uint64_t)t->emit_hz);
    vmsig_timer_set(t->report, now + 20000000u, 20000000u);
    if (vmsig_rt_own_epoch(t->rt))
        vmsig_epoch_advance(vmsig_rt_own_epoch(t->rt));
    burst(t);
    leave_zombie(t);
    note(t, "start", 0);
    return 0;
}

static void on_stop(void *self, uint64_t deadline_ns) {
    test_actor *t = self;
    (void)deadline_ns;
    note(t, "stop", 0);
    if (t->deaf)
        return;
    unsigned n;
    vmsig_link *const *links = vmsig_rt_links(t->rt, &n);
    for (unsigned i = 0; i < n; i++)
        if (links[i]->output)
            note(t, "sent", links[i]->out.tail);
    drop_timers(t);
    vmsig_rt_stopped(t->rt);
}

static int on_link(void *self, vmsig_link *link) {
    note(self, "link", link->id);
    return 0;
}

/* An input that goes: how much of it was taken. */
static void on_unlink(void *self, vmsig_link *link) {
    if (!link->output)
        note(self, "unlink", link->in.cursor);
}

/* Before anything is said to the supervisor: until there is a file LOG.gate. */
static void wait_at_gate(const char *log) {
    char path[300];
    snprintf(path, sizeof path, "%s.gate", log);
    while (access(path, F_OK) != 0)
        usleep(1000);
}

static int number(const char *arg, const char *name, int *out) {
    size_t n = strlen(name);
    if (strncmp(arg, name, n) != 0 || arg[n] != '=')
        return 0;
    *out = atoi(arg + n + 1);
    return 1;
}

int main(int argc, char **argv) {
    static const vmsig_rt_ops ops = {.boot = on_boot,
                                     .start = on_start,
                                     .link_added = on_link,
                                     .link_removed = on_unlink,
                                     .consume = consume,
                                     .stop = on_stop};
    test_actor t = {.exit_at_start = -1, .exit_later = -1};
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--log=", 6) == 0)
            t.log = argv[i] + 6;
        t.hang = t.hang || strcmp(argv[i], "--hang") == 0;
        t.deaf = t.deaf || strcmp(argv[i], "--deaf") == 0;
        t.spawn_child = t.spawn_child || strcmp(argv[i], "--child") == 0;
        t.spin = t.spin || strcmp(argv[i], "--spin") == 0;
        t.lies = t.lies || strcmp(argv[i], "--lies") == 0;
        t.lies_back = t.lies_back || strcmp(argv[i], "--lies-back") == 0;
        t.lock = t.lock || strcmp(argv[i], "--lock") == 0;
        number(argv[i], "--exit-at-start", &t.exit_at_start);
        number(argv[i], "--exit-later", &t.exit_later);
        number(argv[i], "--emit", &t.emit_hz);
        number(argv[i], "--burst", &t.burst);
        t.zombie = t.zombie || strcmp(argv[i], "--zombie") == 0;
        t.gate = t.gate || strcmp(argv[i], "--gate") == 0;
    }
    if (t.gate && t.log)
        wait_at_gate(t.log);
    if (t.deaf)
        signal(SIGTERM, SIG_IGN);
    return vmsig_rt_main(&ops, &t);
}
