/* Who makes no progress: an actor for which events wait, whose stamp and cursors stand still though none of its own links
 * is full.
 *
 *   seen so the first time ──► Probe, which also wakes one that slept through its bell
 *   for `soft`             ──► told, with where it is: stopped, spinning, blocked
 *   for `hard`             ──► SIGABRT, at the next look SIGKILL: a crash like any other
 *
 * Nobody tells the supervisor that events wait, so it looks, half a limit apart (5 s by default): that, and a few loads,
 * is all that an idle topology costs. Time in which the machine was too busy to let the supervisor look, or the actor run,
 * does not count.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rings/atomics.h"
#include "supervisor/supervisor.h"

#define LOOK_MIN_NS (50 * VMSIG_SUP_MS)
#define LATE_NS     (100 * VMSIG_SUP_MS) /* a look that much too late: the machine is starved */

/* ---- what is seen ------------------------------------------------------------------------------------------ */

uint64_t vmsig_sup_backlog(const vmsig_sup_actor *a, bool *stalled) {
    const vmsig_sup *s = a->sup;
    uint64_t waiting = 0;
    *stalled = false;
    for (size_t i = 0; i < s->topo->links_n; i++) {
        const vmsig_sup_link *l = &s->links[i];
        if (l->topo->from != a->index && l->topo->to != a->index)
            continue;
        const vmsig_link_gauge *out = vmsig_sup_gauge(&s->actors[l->topo->from], l->topo->id, 1);
        uint64_t tail = out ? vmsig_load64(&out->position) : 0, cursor = vmsig_sup_link_cursor(l);
        if (l->topo->to == a->index && tail > cursor)
            waiting += tail - cursor;
        if (l->topo->from == a->index && out != NULL && vmsig_load64(&out->stall_since_ns) != 0)
            *stalled = true;
    }
    return waiting;
}

static uint64_t cursors(const vmsig_sup_actor *a) {
    uint64_t sum = 0;
    for (size_t i = 0; i < a->sup->topo->links_n; i++)
        if (a->sup->links[i].topo->to == a->index)
            sum += vmsig_sup_link_cursor(&a->sup->links[i]);
    return sum;
}

static size_t read_proc(const vmsig_sup_actor *a, const char *what, char *buf, size_t len) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)a->pid, what);
    FILE *f = a->pid > 0 ? fopen(path, "re") : NULL;
    size_t n = f ? fread(buf, 1, len - 1, f) : 0;
    if (f != NULL)
        fclose(f);
    buf[n] = 0;
    return n;
}

/* Its state as ps shows it, and the CPU time that it has had. */
static char look_at_process(const vmsig_sup_actor *a, uint64_t *ticks) {
    char line[1024], state = '?';
    unsigned long long user = 0, system = 0;
    read_proc(a, "stat", line, sizeof line);
    const char *rest = strrchr(line, ')');
    if (rest != NULL)
        sscanf(rest, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &state, &user, &system);
    *ticks = user + system;
    return state;
}

static void whereabouts(const vmsig_sup_actor *a, char state, bool moved, char *buf, size_t len) {
    char where[64], call[64];
    if (state == 'T') {
        snprintf(buf, len, "stopped by a signal");
    } else if (moved) {
        snprintf(buf, len, "spinning: it uses its processor");
    } else {
        read_proc(a, "wchan", where, sizeof where);
        read_proc(a, "syscall", call, sizeof call);
        call[strcspn(call, " \n")] = 0;
        bool known = where[0] && strcmp(where, "0") != 0;
        snprintf(buf, len, "blocked%s%s%s%s", known ? " in " : "", known ? where : "", call[0] ? ", syscall " : "",
                 call);
    }
}

/* ---- what is done ------------------------------------------------------------------------------------------ */

static void probe(vmsig_sup_actor *a) {
    Vmsig__Pb__Probe p = VMSIG__PB__PROBE__INIT;
    Vmsig__Pb__ToActor m = VMSIG__PB__TO_ACTOR__INIT;
    p.cookie = a->pulse.stamp_ns;
    m.m_case = VMSIG__PB__TO_ACTOR__M_PROBE;
    m.probe = &p;
    vmsig_sup_send(a, &m, NULL, 0);
}

static void end(vmsig_sup_actor *a, const char *where, double seconds) {
    if (a->pulse.aborted) {
        vmsig_sup_kill(a, "no progress for %.1f s: %s", seconds, where);
        return;
    }
    a->pulse.aborted = true;
    snprintf(a->why, sizeof a->why, "no progress for %.1f s: %s", seconds, where);
    if (a->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, a->pidfd, SIGABRT, NULL, 0);
}

static void judge(vmsig_sup_actor *a, uint64_t now, uint64_t waiting) {
    vmsig_sup_pulse *p = &a->pulse;
    uint64_t ticks, since = now - p->since_ns;
    char where[200], state = look_at_process(a, &ticks);
    bool moved = ticks > p->cpu_ticks;
    p->cpu_ticks = ticks;
    if (state == 't' || (state == 'R' && !moved)) { /* somebody debugs it, or it is not let run */
        p->since_ns = now;
        return;
    }
    whereabouts(a, state, moved, where, sizeof where);
    if (a->topo->soft_ns > 0 && since >= a->topo->soft_ns && !p->told) {
        p->told = true;
        vmsig_sup_say_of(a, "no progress for %.1f s while %llu slots wait for it: %s", (double)since / 1e9,
                         (unsigned long long)waiting, where);
    }
    if (a->topo->hard_ns > 0 && since >= a->topo->hard_ns)
        end(a, where, (double)since / 1e9);
}

static void look_at(vmsig_sup_actor *a, uint64_t now, uint64_t late) {
    vmsig_sup_pulse *p = &a->pulse;
    bool stalled;
    uint64_t waiting = vmsig_sup_backlog(a, &stalled), taken = cursors(a);
    uint64_t stamp = a->gauges_map ? vmsig_load64(&a->gauges_map->stamp_ns) : 0;
    bool still = waiting > 0 && !stalled && stamp == p->stamp_ns && taken == p->cursors;
    p->stamp_ns = stamp;
    p->cursors = taken;
    if (!still) {
        if (p->told)
            vmsig_sup_say_of(a, "goes on");
        *p = (vmsig_sup_pulse){.stamp_ns = stamp, .cursors = taken};
    } else if (p->since_ns == 0) {
        p->since_ns = now;
        look_at_process(a, &p->cpu_ticks);
        probe(a);
    } else {
        p->since_ns += late;
        judge(a, now, waiting);
    }
}

/* ---- how often --------------------------------------------------------------------------------------------- */

/* Half the shortest limit; 0 = nobody has one. */
static uint64_t period(const vmsig_sup *s) {
    uint64_t least = 0;
    for (size_t i = 0; i < s->topo->actors_n; i++) {
        const uint64_t limits[2] = {s->topo->actors[i].soft_ns, s->topo->actors[i].hard_ns};
        for (int k = 0; k < 2; k++)
            if (limits[k] > 0 && (least == 0 || limits[k] < least))
                least = limits[k];
    }
    return least == 0 ? 0 : least / 2 < LOOK_MIN_NS ? LOOK_MIN_NS : least / 2;
}

void vmsig_sup_look_start(vmsig_sup *s) {
    uint64_t every = period(s);
    s->look_due_ns = every ? vmsig_now_ns() + every : 0;
    vmsig_timer_set(s->look, s->look_due_ns, 0);
}

void vmsig_sup_on_look(void *ud) {
    vmsig_sup *s = ud;
    uint64_t now = vmsig_now_ns(), late = now - s->look_due_ns;
    for (size_t i = 0; i < s->topo->actors_n; i++)
        if (s->actors[i].state == VMSIG_ACTOR_READY)
            look_at(&s->actors[i], now, late > LATE_NS ? late : 0);
    vmsig_sup_look_start(s);
}
