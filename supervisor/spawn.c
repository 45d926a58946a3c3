/* Actors' lives.
 *
 *             START            SPAWNED   READY         ENDED               TIMER              STOP
 *   STOPPED   boot, spawn
 *   STARTING                   note pid  -> READY      restart or not      kill: not READY    ask to stop
 *   READY                                              restart or not                         ask to stop
 *   STOPPING                   note pid                -> STOPPED          kill: too slow
 *   WAITING                                                                boot, spawn        -> STOPPED
 *   FAILED
 *
 * Starting goes by the topology's order: runs of one kind at a time, and `after:` within them. Stopping goes the same way
 * back, but hosts are last: until the end, commands find an answer there.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/supervisor.h"

#define SEC              (1000 * VMSIG_SUP_MS)
#define ROOM_RETRY_NS    (50 * VMSIG_SUP_MS) /* look again whether a consumer has drained its former rings */
#define EXIT_NOT_STARTED (1 << 8)            /* wait status of what could not even be started: exit 1 */

typedef enum event { EV_START, EV_SPAWNED, EV_READY, EV_ENDED, EV_TIMER, EV_STOP, EV_COUNT } event;
typedef void (*handler)(vmsig_sup_actor *a, int status);
static void dispatch(vmsig_sup_actor *a, event e, int status);

void vmsig_sup_set_state(vmsig_sup_actor *a, vmsig_actor_state state) {
    a->state = state;
    vmsig_sup_board_update(a);
}

static void arm(vmsig_sup_actor *a, uint64_t in_ns) {
    vmsig_timer_set(a->timer, vmsig_now_ns() + in_ns, 0);
}

static void disarm(vmsig_sup_actor *a) {
    vmsig_timer_set(a->timer, 0, 0);
}

static void kill_now(vmsig_sup_actor *a) {
    a->doomed = true;
    if (a->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, a->pidfd, SIGKILL, NULL, 0);
}

void vmsig_sup_kill(vmsig_sup_actor *a, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(a->why, sizeof a->why, fmt, ap);
    va_end(ap);
    kill_now(a);
}

/* ---- a start -------------------------------------------------------------------------------------------- */

static int ask_keeper(vmsig_sup_actor *a, int program, int folder, int boot) {
    char blob[VMSIG_KEEPER_BLOB_MAX];
    vmsig_keeper_msg m = {.op = VMSIG_KEEPER_SPAWN, .key = a->index, .uid = a->uid, .gid = a->gid, .cpu = a->topo->cpu};
    int rc = vmsig_sup_pack_command(a->topo->argv, environ, blob, &m);
    if (rc) {
        snprintf(a->why, sizeof a->why, "its arguments are too long");
        return rc;
    }
    int fds[3] = {program, boot, folder};
    return vmsig_sup_tell_keeper(a->sup, &m, blob, fds, folder >= 0 ? 3 : 2);
}

/* 0, or -errno with the reason in a->why. */
static int spawn(vmsig_sup_actor *a) {
    int boot = -1;
    int rc = vmsig_sup_vm_folder_make(a);
    if (rc) {
        snprintf(a->why, sizeof a->why, "the folder for its VM's sockets cannot be made in the run directory: %s",
                 strerror(-rc));
        return rc;
    }
    rc = vmsig_sup_boot(a, &boot);
    if (rc) {
        snprintf(a->why, sizeof a->why, "its boot cannot be prepared: %s", strerror(-rc));
        return rc;
    }
    vmsig_sup_shelve_actor(a);
    const char *folder_path = a->sup->topo->folder;
    int program = open(a->topo->exec, O_PATH | O_CLOEXEC);
    int folder = open(folder_path ? folder_path : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (program < 0) {
        rc = -errno;
        snprintf(a->why, sizeof a->why, "%s: %s", a->topo->exec, strerror(errno));
    } else {
        rc = ask_keeper(a, program, folder, boot);
    }
    vmsig_sup_close(&program);
    vmsig_sup_close(&folder);
    close(boot);
    if (rc)
        vmsig_sup_close_boot(a);
    return rc;
}

static void begin(vmsig_sup_actor *a, int status) {
    (void)status;
    const vmsig_sup_link *full = vmsig_sup_links_full(a);
    if (full != NULL) {
        if (!a->held)
            vmsig_sup_say_of(a, "waits for %s to take what is left of it", a->sup->actors[full->topo->to].topo->name);
        a->held = true;
        vmsig_sup_set_state(a, VMSIG_ACTOR_WAITING);
        arm(a, ROOM_RETRY_NS);
        return;
    }
    a->held = false;
    a->begun = true;
    a->incarnation++;
    a->started_ns = vmsig_now_ns();
    a->ready_ns = 0;
    a->why[0] = 0;
    a->pulse = (vmsig_sup_pulse){0};
    a->doomed = a->orphaned = false;
    vmsig_sup_set_state(a, VMSIG_ACTOR_STARTING);
    arm(a, a->topo->ready_deadline_ns);
    a->process = true;
    if (spawn(a))
        dispatch(a, EV_ENDED, EXIT_NOT_STARTED);
}

static void note_pid(vmsig_sup_actor *a, int status) {
    (void)status;
    if (a->doomed)
        kill_now(a);
}

static void become_ready(vmsig_sup_actor *a, int status) {
    (void)status;
    disarm(a);
    a->ready_ns = vmsig_now_ns();
    vmsig_sup_set_state(a, VMSIG_ACTOR_READY);
    vmsig_sup_shelve_actor(a);
}

static void not_ready(vmsig_sup_actor *a, int status) {
    (void)status;
    vmsig_sup_kill(a, "not READY within %g s", (double)a->topo->ready_deadline_ns / (double)SEC);
}

/* ---- an end --------------------------------------------------------------------------------------------- */

/* The dead is heard to its end, the board says so before anybody could notice, then its peers are woken: it may have
 * died between publishing and ringing. */
static void bury(vmsig_sup_actor *a, vmsig_actor_state state) {
    vmsig_keeper_msg seen = {.op = VMSIG_KEEPER_SEEN, .key = a->index};
    disarm(a);
    vmsig_sup_close_boot(a);
    vmsig_sup_close(&a->pidfd);
    a->pid = 0;
    a->process = false;
    a->dead_ns = vmsig_now_ns();
    vmsig_sup_pages_dead(a);
    vmsig_sup_set_state(a, state);
    vmsig_sup_links_dead(a);
    vmsig_sup_ram_dead(a);
    vmsig_sup_shelve_actor(a);
    vmsig_sup_tell_keeper(a->sup, &seen, NULL, NULL, 0);
    vmsig_sup_links_ring(a);
}

static const char *end_sentence(vmsig_sup_actor *a, int status, char *buf, size_t len) {
    const char *colon = a->why[0] ? ": " : "";
    vmsig_end_text(status, a->last_exit, sizeof a->last_exit);
    memcpy(a->last_why, a->why, sizeof a->last_why);
    snprintf(buf, len, "%s%s%s%s", WIFSIGNALED(status) ? "killed by " : "ended with ", a->last_exit, colon, a->why);
    return buf;
}

static void say_restart(const vmsig_sup_actor *a, const char *what, uint64_t delay_ns, uint32_t nth) {
    char wait[32] = "", limit[64] = "no limit";
    if (delay_ns > 0)
        snprintf(wait, sizeof wait, " in %.1f s", (double)delay_ns / (double)SEC);
    if (a->topo->restarts_max > 0)
        snprintf(limit, sizeof limit, "%u of %u in %g s", nth, a->topo->restarts_max,
                 (double)a->topo->window_ns / (double)SEC);
    vmsig_sup_say_of(a, "%s, restarting%s (%s)", what, wait, limit);
}

static uint32_t any_number(void) {
    uint32_t n = 0;
    if (getrandom(&n, sizeof n, GRND_NONBLOCK) < 0)
        n = (uint32_t)vmsig_now_ns();
    return n;
}

static void stopped(vmsig_sup_actor *a, int status);

static void crashed(vmsig_sup_actor *a, int status) {
    if (a->sup->phase == VMSIG_SUP_STOPPING || a->leave) { /* its turn would have come */
        a->rests = true;
        stopped(a, status);
        return;
    }
    vmsig_sup_drain_boot(a); /* a ring that it says it has mapped may bear events */
    if (a->orphaned) {       /* not its fault: it is not counted, and nothing is said */
        bury(a, VMSIG_ACTOR_WAITING);
        begin(a, 0);
        return;
    }
    char what[512];
    uint64_t now = vmsig_now_ns(), delay = 0;
    uint32_t nth = 0;
    vmsig_sup_report(a, status);
    vmsig_end end = {.status = status, .was_ready = a->ready_ns > 0, .ran_ns = a->ready_ns ? now - a->ready_ns : 0};
    end_sentence(a, status, what, sizeof what);
    vmsig_verdict v = vmsig_restart_decide(&a->restarts, a->topo, &end, now, any_number(), &delay, &nth);
    if (v == VMSIG_VERDICT_START) {
        bury(a, VMSIG_ACTOR_WAITING);
        say_restart(a, what, delay, nth);
        vmsig_sup_restart_group(a);
        if (delay == 0)
            begin(a, 0);
        else
            arm(a, delay);
        return;
    }
    a->rests = true;
    bury(a, v == VMSIG_VERDICT_REST ? VMSIG_ACTOR_STOPPED : VMSIG_ACTOR_FAILED);
    if (v == VMSIG_VERDICT_REST) {
        vmsig_sup_say_of(a, "%s, not restarted", what);
        return;
    }
    vmsig_sup_say_of(a, "%s, FAILED: restarted %u times in %g s; stopping everything", what, nth - 1,
                     (double)a->topo->window_ns / (double)SEC);
    a->sup->failed = true;
    vmsig_sup_stop(a->sup, VMSIG_SUP_EXIT_FAILED);
}

/* ---- a stop --------------------------------------------------------------------------------------------- */

/* Whose end is why all stop; NULL: nobody's. */
static char *who_failed(const vmsig_sup *s) {
    for (size_t i = 0; i < s->topo->actors_n; i++)
        if (s->actors[i].state == VMSIG_ACTOR_FAILED)
            return s->topo->actors[i].name;
    return NULL;
}

static void ask_to_stop(vmsig_sup_actor *a, int status) {
    (void)status;
    Vmsig__Pb__Stop stop = VMSIG__PB__STOP__INIT;
    Vmsig__Pb__ToActor m = VMSIG__PB__TO_ACTOR__INIT;
    stop.deadline_ms = (uint32_t)(a->topo->stop_deadline_ns / VMSIG_SUP_MS);
    stop.failed = who_failed(a->sup);
    m.m_case = VMSIG__PB__TO_ACTOR__M_STOP;
    m.stop = &stop;
    a->rests = true;
    vmsig_sup_set_state(a, VMSIG_ACTOR_STOPPING);
    arm(a, a->topo->stop_deadline_ns);
    vmsig_sup_shelve_actor(a);
    if ((a->leave == VMSIG_SUP_RESTARTS || a->leave == VMSIG_SUP_FOLLOWS) &&
        (a->topo->kind == VMSIG_TOPO_CONTEXT || a->topo->kind == VMSIG_TOPO_GATEWAY))
        kill_now(a);
    else
        vmsig_sup_send(a, &m, NULL, 0);
}

static void too_slow(vmsig_sup_actor *a, int status) {
    (void)status;
    vmsig_sup_say_of(a, "not stopped within %g s, killed", (double)a->topo->stop_deadline_ns / (double)SEC);
    kill_now(a);
}

static void stopped(vmsig_sup_actor *a, int status) {
    char what[512];
    vmsig_sup_drain_boot(a);
    end_sentence(a, status, what, sizeof what);
    if (status != 0 && !a->doomed)
        vmsig_sup_say_of(a, "%s while it was stopping", what);
    bury(a, VMSIG_ACTOR_STOPPED);
}

static void rest(vmsig_sup_actor *a, int status) {
    (void)status;
    a->rests = true;
    disarm(a);
    vmsig_sup_set_state(a, VMSIG_ACTOR_STOPPED);
    vmsig_sup_shelve_actor(a);
}

/* ---- the table ------------------------------------------------------------------------------------------ */

static const handler table[][EV_COUNT] = {
    [VMSIG_ACTOR_STOPPED] = {[EV_START] = begin, [EV_STOP] = rest},
    [VMSIG_ACTOR_STARTING] = {[EV_SPAWNED] = note_pid,
                              [EV_READY] = become_ready,
                              [EV_ENDED] = crashed,
                              [EV_TIMER] = not_ready,
                              [EV_STOP] = ask_to_stop},
    [VMSIG_ACTOR_READY] = {[EV_SPAWNED] = note_pid, [EV_ENDED] = crashed, [EV_STOP] = ask_to_stop},
    [VMSIG_ACTOR_STOPPING] = {[EV_SPAWNED] = note_pid, [EV_ENDED] = stopped, [EV_TIMER] = too_slow},
    [VMSIG_ACTOR_WAITING] = {[EV_TIMER] = begin, [EV_STOP] = rest},
    [VMSIG_ACTOR_FAILED] = {NULL},
};

static void dispatch(vmsig_sup_actor *a, event e, int status) {
    handler h = table[a->state][e];
    if (h != NULL)
        h(a, status);
}

static void on_timer(void *ud) {
    dispatch(ud, EV_TIMER, 0);
}

void vmsig_sup_ready(vmsig_sup_actor *a) {
    dispatch(a, EV_READY, 0);
}

void vmsig_sup_spawned(vmsig_sup_actor *a, const vmsig_keeper_msg *m, int pidfd, const char *step) {
    if (m->pid == 0) {
        snprintf(a->why, sizeof a->why, "%s: %s (%s)", a->topo->exec, strerror((int)m->arg), step);
        dispatch(a, EV_ENDED, EXIT_NOT_STARTED);
        return;
    }
    vmsig_sup_close(&a->pidfd);
    a->pid = m->pid;
    a->pidfd = pidfd;
    dispatch(a, EV_SPAWNED, 0);
}

void vmsig_sup_exited(vmsig_sup_actor *a, int status) {
    if (a->process)
        dispatch(a, EV_ENDED, status);
}

/* ---- the order ------------------------------------------------------------------------------------------ */

static bool settled(const vmsig_sup_actor *a) {
    return a->state == VMSIG_ACTOR_READY || a->rests;
}

static bool may_start(const vmsig_sup_actor *a) {
    for (size_t i = 0; i < a->topo->after_n; i++)
        if (!settled(&a->sup->actors[a->topo->after[i]]))
            return false;
    return !a->begun && !a->rests && a->state == VMSIG_ACTOR_STOPPED;
}

/* Walks the order as long as all before the present run of one kind have settled. */
static void start_due(vmsig_sup *s) {
    bool all = true;
    vmsig_topo_kind kind = 0;
    for (size_t i = 0; i < s->topo->order_n; i++) {
        vmsig_sup_actor *a = &s->actors[s->topo->order[i]];
        if (a->topo->kind != kind && !all)
            return;
        kind = a->topo->kind;
        if (may_start(a))
            dispatch(a, EV_START, 0);
        all = all && settled(a);
    }
    if (all && s->phase == VMSIG_SUP_STARTING)
        s->phase = VMSIG_SUP_RUNNING;
}

bool vmsig_sup_gone(const vmsig_sup_actor *a) {
    return !a->process && a->state != VMSIG_ACTOR_WAITING;
}

/* Of one run: those for whom an actor of the same kind, not gone yet, wanted to be there after them must wait. */
static void stop_due(vmsig_sup *s) {
    bool all = true;
    vmsig_topo_kind kind = 0;
    for (size_t i = 0; i < s->topo->actors_n; i++)
        s->actors[i].needed = false;
    for (size_t i = 0; i < s->topo->order_n; i++) {
        vmsig_sup_actor *a = &s->actors[s->stop_order[i]];
        if (a->topo->kind != kind && !all)
            return;
        kind = a->topo->kind;
        if (!vmsig_sup_gone(a) && !a->needed)
            dispatch(a, EV_STOP, 0);
        for (size_t k = 0; k < a->topo->after_n && !vmsig_sup_gone(a); k++) {
            vmsig_sup_actor *before = &s->actors[a->topo->after[k]];
            before->needed = before->needed || before->topo->kind == kind;
        }
        all = all && vmsig_sup_gone(a);
    }
    s->ended = all;
}

void vmsig_sup_advance(vmsig_sup *s) {
    if (s->phase == VMSIG_SUP_STOPPING)
        stop_due(s);
    else {
        vmsig_sup_change_step(s);
        start_due(s);
    }
}

void vmsig_sup_stop(vmsig_sup *s, int exit_code) {
    if (s->phase == VMSIG_SUP_STOPPING)
        return;
    s->phase = VMSIG_SUP_STOPPING;
    s->exit_code = exit_code;
    vmsig_sup_change_undo(s);
    vmsig_timer_set(s->deadline, vmsig_now_ns() + VMSIG_SUP_STOP_NS, 0);
    for (size_t i = 0; i < s->topo->actors_n; i++)
        if (s->actors[i].state == VMSIG_ACTOR_WAITING || !s->actors[i].begun)
            dispatch(&s->actors[i], EV_STOP, 0); /* nothing more is started */
}

/* ---- beginning, end, and the keeper's death --------------------------------------------------------------- */

void vmsig_sup_order(vmsig_sup *s) {
    size_t n = 0;
    for (int hosts = 0; hosts < 2; hosts++)
        for (size_t i = s->topo->order_n; i-- > 0;)
            if ((s->topo->actors[s->topo->order[i]].kind == VMSIG_TOPO_HOST) == hosts)
                s->stop_order[n++] = s->topo->order[i];
}

int vmsig_sup_actor_init(vmsig_sup *s, uint32_t index) {
    vmsig_sup_actor *a = &s->actors[index];
    uint32_t incarnation = a->incarnation; /* of whom had the index before: it only grows */
    *a = (vmsig_sup_actor){.sup = s, .topo = &s->topo->actors[index], .index = index, .incarnation = incarnation};
    a->pidfd = a->boot = a->state_fd = a->gauges.fd = a->epoch.fd = a->fences.fd = -1;
    a->unsent_tail = &a->unsent;
    a->epoch_next = 1;
    if (a->topo->kind == VMSIG_TOPO_HOST && s->epoch_floor[a->topo->endpoint] > 1)
        a->epoch_next = s->epoch_floor[a->topo->endpoint];
    return vmsig_timer_new(s->loop, on_timer, a, &a->timer);
}

void vmsig_sup_actor_fini(vmsig_sup_actor *a) {
    vmsig_sup_close_boot(a);
    vmsig_sup_vm_folder_remove(a);
    if (a->gauges_map != NULL)
        vmsig_gauges_close(a->gauges_map, a->gauges_max);
    a->gauges_map = NULL;
    vmsig_sup_close(&a->pidfd);
    vmsig_sup_close(&a->gauges.fd);
    vmsig_sup_close(&a->epoch.fd);
    vmsig_sup_close(&a->fences.fd);
    vmsig_sup_close(&a->state_fd);
    vmsig_timer_free(a->timer);
    a->timer = NULL;
}

int vmsig_sup_actors_new(vmsig_sup *s) {
    s->actors = calloc(VMSIG_ACTORS_MAX, sizeof *s->actors);
    s->stop_order = calloc(VMSIG_ACTORS_MAX, sizeof *s->stop_order);
    if (s->actors == NULL || s->stop_order == NULL)
        return -ENOMEM;
    vmsig_sup_order(s);
    int rc = 0;
    for (uint32_t i = 0; i < s->topo->actors_n && rc == 0; i++)
        rc = vmsig_sup_actor_init(s, i);
    return rc;
}

void vmsig_sup_actors_free(vmsig_sup *s) {
    for (size_t i = 0; s->actors != NULL && i < s->topo->actors_n; i++)
        if (s->actors[i].sup != NULL)
            vmsig_sup_actor_fini(&s->actors[i]);
    free(s->actors);
    free(s->stop_order);
    s->actors = NULL;
}

void vmsig_sup_leave_now(vmsig_sup_actor *a, vmsig_sup_leave leave) {
    a->leave = leave;
    dispatch(a, EV_STOP, 0);
}

void vmsig_sup_renew(vmsig_sup_actor *a) {
    if (a->leave != VMSIG_SUP_FOLLOWS)
        a->restarts = (vmsig_restarts){.total = a->restarts.total};
    a->leave = VMSIG_SUP_STAYS;
    a->rests = a->begun = false;
    vmsig_sup_set_state(a, VMSIG_ACTOR_STOPPED);
    vmsig_sup_shelve_actor(a);
}

static void on_pidfd(void *ud, uint32_t events) {
    (void)events;
    vmsig_sup_actor *a = ud;
    vmsig_loop_remove(a->sup->loop, a->pidfd);
    vmsig_sup_exited(a, 0); /* how it ended, only the keeper could have told */
}

void vmsig_sup_watch_pidfds(vmsig_sup *s) {
    for (size_t i = 0; i < s->topo->actors_n; i++) {
        vmsig_sup_actor *a = &s->actors[i];
        if (a->pidfd >= 0)
            vmsig_loop_add(s->loop, a->pidfd, EPOLLIN, on_pidfd, a);
        else if (a->process)
            dispatch(a, EV_ENDED, EXIT_NOT_STARTED); /* it was asked for, and nobody will start it */
    }
}

/* The former supervisor had buried the process, and died before the keeper knew: it is not to be heard of again. */
static void forget_buried(vmsig_sup_actor *a) {
    vmsig_keeper_msg seen = {.op = VMSIG_KEEPER_SEEN, .key = a->index};
    a->process = false;
    a->pid = 0;
    vmsig_sup_close(&a->pidfd);
    vmsig_sup_tell_keeper(a->sup, &seen, NULL, NULL, 0);
}

void vmsig_sup_actor_adopt(vmsig_sup_actor *a) {
    bool lives = a->state == VMSIG_ACTOR_STARTING || a->state == VMSIG_ACTOR_READY || a->state == VMSIG_ACTOR_STOPPING;
    if (a->process && !lives)
        forget_buried(a);
    if (!a->process) {
        vmsig_sup_close_boot(a); /* of a start that the keeper was not asked for any more */
        if (a->state == VMSIG_ACTOR_STARTING || a->state == VMSIG_ACTOR_READY || a->state == VMSIG_ACTOR_WAITING) {
            vmsig_sup_set_state(a, VMSIG_ACTOR_WAITING);
            arm(a, 1);
        }
        return;
    }
    vmsig_sup_watch_boot(a);
    vmsig_sup_map_gauges(a);
    vmsig_sup_pages_repeat(a);
    vmsig_sup_links_repeat(a);
    /* What it was told, and what not, died with the former supervisor. */
    if (a->state == VMSIG_ACTOR_STARTING || (a->state == VMSIG_ACTOR_READY && vmsig_sup_links_pending(a))) {
        a->orphaned = true;
        kill_now(a);
    }
    if (a->state == VMSIG_ACTOR_STOPPING)
        arm(a, a->topo->stop_deadline_ns);
}
