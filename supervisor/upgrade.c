/* Another program in the supervisor's place, while all goes on.
 *
 *   request ──► PROGRAMS/vmsig-supervisor --speaks, started by the keeper: does it speak what this one does?
 *      └──► the keeper is told (UPGRADE) and kills this one ──► the next one takes over, as after any death
 *             └── in time: done      └── not: the keeper starts the former program again, and tells it why
 *
 * Nothing is asked of the actors, and nothing is kept for this: what a supervisor's death leaves is enough.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "schema/slot.h"
#include "supervisor/supervisor.h"

int vmsig_sup_speaks(char *buf, size_t len) {
    return snprintf(buf, len, "vmsig-supervisor: shelf %u keeper %u boot %u layout %u\n", VMSIG_SUP_SHELF,
                    (unsigned)VMSIG_KEEPER_WIRE, VMSIG_SUP_BOOT, VMSIG_LAYOUT);
}

const char *vmsig_sup_upgrade_state_name(vmsig_sup_upgrade_state state) {
    static const char *const names[] = {"none", "checking", "trying", "done", "failed"};
    return names[state];
}

/* ---- the end of an attempt ---------------------------------------------------------------------------------- */

static void let_go(vmsig_sup *s) {
    vmsig_sup_upgrade *u = &s->upgrade;
    if (u->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, u->pidfd, SIGKILL, NULL, 0); /* it has said what it had to */
    if (u->answer >= 0)
        vmsig_loop_remove(s->loop, u->answer);
    vmsig_sup_close(&u->answer);
    vmsig_sup_close(&u->pidfd);
    vmsig_sup_close(&u->program);
    vmsig_timer_set(u->timer, 0, 0);
}

static void fail(vmsig_sup *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(vmsig_sup *s, const char *fmt, ...) {
    vmsig_sup_upgrade *u = &s->upgrade;
    char what[150];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    let_go(s);
    u->state = VMSIG_UPGRADE_FAILED;
    snprintf(u->why, sizeof u->why, "%.80s/vmsig-supervisor %s", u->programs, what);
    vmsig_sup_say("no upgrade: %s", u->why);
}

/* ---- the next program is asked ------------------------------------------------------------------------------ */

static void hand_over(vmsig_sup *s) {
    vmsig_sup_upgrade *u = &s->upgrade;
    char path[PATH_MAX], blob[VMSIG_KEEPER_BLOB_MAX];
    char programs[] = "--programs", name[] = "--name";
    char *argv[] = {path, programs, u->programs, name, (char *)(uintptr_t)s->name, NULL};
    vmsig_keeper_msg m = {.op = VMSIG_KEEPER_UPGRADE, .key = u->id, .ms = u->trial_ms};
    snprintf(path, sizeof path, "%s/vmsig-supervisor", u->programs);
    if (vmsig_sup_pack_command(argv, NULL, blob, &m)) {
        fail(s, "cannot be told its arguments: they are too long");
        return;
    }
    if (vmsig_sup_tell_keeper(s, &m, blob, &u->program, 1) == 0)
        u->state = VMSIG_UPGRADE_TRYING;
    else
        fail(s, "cannot be started: the keeper is gone");
}

static void judge(vmsig_sup *s, const char *answer) {
    char mine[128];
    vmsig_sup_speaks(mine, sizeof mine);
    mine[strcspn(mine, "\n")] = 0;
    if (strcmp(answer, mine) == 0)
        hand_over(s);
    else
        fail(s, "speaks \"%.60s\", this supervisor \"%s\": stop the topology and start it anew with the other programs",
             answer, mine);
}

static void on_answer(void *ud, uint32_t events) {
    vmsig_sup *s = ud;
    char text[128];
    (void)events;
    ssize_t n = recv(s->upgrade.answer, text, sizeof text - 1, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    text[n > 0 ? n : 0] = 0;
    text[strcspn(text, "\n")] = 0;
    for (char *c = text; *c; c++)
        *c = (unsigned char)*c < 32 ? '?' : *c; /* it goes to a terminal */
    vmsig_loop_remove(s->loop, s->upgrade.answer);
    vmsig_sup_close(&s->upgrade.answer);
    if (n > 0)
        judge(s, text); /* else: how it ended is about to be told */
}

static void on_timer(void *ud) {
    const vmsig_sup *s = ud;
    fail(ud, "did not say within %g s what it speaks", s->upgrade.trial_ms / 1e3);
}

void vmsig_sup_upgrade_spawned(vmsig_sup *s, const vmsig_keeper_msg *m, int pidfd, const char *step) {
    vmsig_sup_upgrade *u = &s->upgrade;
    if (u->state != VMSIG_UPGRADE_CHECKING || u->answer < 0) { /* it was given up meanwhile */
        if (pidfd >= 0)
            syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
        vmsig_sup_close(&pidfd);
    } else if (m->pid == 0) {
        fail(s, "cannot be started: %s (%s)", strerror((int)m->arg), step);
    } else {
        u->pidfd = pidfd;
    }
}

void vmsig_sup_upgrade_ended(vmsig_sup *s, int status) {
    vmsig_keeper_msg seen = {.op = VMSIG_KEEPER_SEEN, .key = VMSIG_SUP_ASKED_KEY};
    char how[64];
    vmsig_sup_tell_keeper(s, &seen, NULL, NULL, 0);
    if (s->upgrade.answer >= 0)
        on_answer(s, 0); /* it may lie there still */
    vmsig_sup_close(&s->upgrade.pidfd);
    if (s->upgrade.state == VMSIG_UPGRADE_CHECKING)
        fail(s, "did not say what it speaks: %s", vmsig_end_text(status, how, sizeof how));
}

/* ---- beginning ---------------------------------------------------------------------------------------------- */

/* Its file, opened once: what is asked is what will run. */
static int open_program(vmsig_sup_upgrade *u, vmsig_conf_error *err) {
    char path[PATH_MAX];
    struct stat st;
    snprintf(path, sizeof path, "%s/vmsig-supervisor", u->programs);
    u->program = open(path, O_PATH | O_CLOEXEC);
    int rc = u->program < 0 ? -errno : fstat(u->program, &st) ? -errno : 0;
    if (rc == 0 && (!S_ISREG(st.st_mode) || access(path, X_OK)))
        rc = -EACCES;
    if (rc)
        snprintf(err->text, sizeof err->text, "%.200s: %s; expected the folder of vmsig's programs", path,
                 strerror(-rc));
    return rc;
}

static int ask(vmsig_sup *s) {
    vmsig_sup_upgrade *u = &s->upgrade;
    char path[PATH_MAX], blob[VMSIG_KEEPER_BLOB_MAX], speaks[] = "--speaks";
    char *argv[] = {path, speaks, NULL};
    int pair[2];
    vmsig_keeper_msg m = {.op = VMSIG_KEEPER_SPAWN, .key = VMSIG_SUP_ASKED_KEY, .cpu = -1};
    m.uid = m.gid = UINT32_MAX;
    snprintf(path, sizeof path, "%s/vmsig-supervisor", u->programs);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return -errno;
    u->answer = pair[0];
    int fds[2] = {u->program, pair[1]};
    int rc = vmsig_sup_pack_command(argv, environ, blob, &m);
    if (rc == 0)
        rc = vmsig_loop_add(s->loop, u->answer, EPOLLIN, on_answer, s);
    if (rc == 0)
        rc = vmsig_sup_tell_keeper(s, &m, blob, fds, 2);
    close(pair[1]);
    return rc;
}

static int may_upgrade(vmsig_sup *s, vmsig_conf_error *err) {
    int rc = vmsig_sup_may_change(s, err);
    const char *why = s->upgrade.state == VMSIG_UPGRADE_CHECKING || s->upgrade.state == VMSIG_UPGRADE_TRYING
                          ? "an upgrade is under way"
                      : s->phase != VMSIG_SUP_RUNNING ? "it is still starting: try again when it runs"
                                                      : NULL;
    if (rc == 0 && why != NULL)
        snprintf(err->text, sizeof err->text, "%s", why);
    return rc ? rc : why ? -EBUSY : 0;
}

int vmsig_sup_upgrade_begin(vmsig_sup *s, const char *programs, uint32_t trial_ms, vmsig_conf_error *err) {
    vmsig_sup_upgrade *u = &s->upgrade;
    char *copy = strdup(programs);
    int rc = copy ? may_upgrade(s, err) : -ENOMEM;
    if (rc) {
        free(copy);
        return rc;
    }
    free(u->programs);
    u->programs = copy;
    u->trial_ms = trial_ms;
    u->why[0] = 0;
    rc = open_program(u, err);
    if (rc)
        return rc;
    u->state = VMSIG_UPGRADE_CHECKING;
    if (getrandom(&u->id, sizeof u->id, 0) != (ssize_t)sizeof u->id || u->id == 0)
        u->id = vmsig_now_ns();
    vmsig_timer_set(u->timer, vmsig_now_ns() + trial_ms * VMSIG_SUP_MS, 0);
    vmsig_sup_say("upgrade: %s/vmsig-supervisor is asked what it speaks", programs);
    rc = ask(s);
    if (rc)
        fail(s, "cannot be asked: %s", strerror(-rc));
    return 0;
}

/* ---- the one that comes -------------------------------------------------------------------------------------- */

void vmsig_sup_upgrade_heard(vmsig_sup *s, const vmsig_keeper_msg *end, const char *why) {
    vmsig_sup_upgrade *u = &s->upgrade;
    if (end->key == 0)
        return;
    u->id = end->key;
    u->state = end->ms > 0 ? VMSIG_UPGRADE_TRYING : why[0] ? VMSIG_UPGRADE_FAILED : VMSIG_UPGRADE_DONE;
    snprintf(u->why, sizeof u->why, "%s", why);
}

void vmsig_sup_upgrade_taken(vmsig_sup *s) {
    vmsig_keeper_msg m = {.op = VMSIG_KEEPER_TAKEN};
    if (s->upgrade.state != VMSIG_UPGRADE_TRYING)
        return;
    if (vmsig_sup_tell_keeper(s, &m, NULL, NULL, 0) == 0)
        s->upgrade.state = VMSIG_UPGRADE_DONE;
}

int vmsig_sup_upgrade_init(vmsig_sup *s) {
    s->upgrade.program = s->upgrade.answer = s->upgrade.pidfd = -1;
    return vmsig_timer_new(s->loop, on_timer, s, &s->upgrade.timer);
}

void vmsig_sup_upgrade_fini(vmsig_sup *s) {
    if (s->upgrade.timer == NULL)
        return;
    let_go(s);
    vmsig_timer_free(s->upgrade.timer);
    free(s->upgrade.programs);
}
