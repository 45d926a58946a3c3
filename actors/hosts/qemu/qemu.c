#include "actors/hosts/qemu/qemu.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "actors/hosts/qemu/keys.h"
#include "actors/hosts/qemu/monitor.h"
#include "actors/hosts/qemu/qemu_i.h"

#define START_NS (20000 * VMSIG_QMP_MS) /* for QEMU to say its first word */

/* ---- shared ------------------------------------------------------------------------------------------ */

void vmsig_qemu_fail(vmsig_qemu *q, const char *fmt, ...) {
    va_list ap;
    if (q->failed)
        return;
    q->failed = true;
    va_start(ap, fmt);
    vsnprintf(q->why, sizeof q->why, fmt, ap);
    va_end(ap);
}

vmsig_status vmsig_qemu_status(int rc) {
    switch (rc) {
    case 0:
        return VMSIG_OK;
    case -ETIMEDOUT:
        return VMSIG_TIMEOUT;
    case -ESHUTDOWN:
        return VMSIG_UNKNOWN;
    default:
        return VMSIG_UNAVAILABLE;
    }
}

uint64_t vmsig_qemu_deadline(void) {
    return vmsig_now_ns() + VMSIG_QEMU_COMMAND_NS;
}

int vmsig_qemu_send(vmsig_qemu *q, vmsig_qmp_reply_fn fn, uint32_t tag, const char *name) {
    return vmsig_qmp_send(q->qmp, vmsig_qemu_deadline(), fn, q, tag, "\"execute\":\"%s\"", name);
}

/* It is about this QEMU: what was noted of a former one is of no use. */
void vmsig_qemu_plan_is(vmsig_qemu *q, vmsig_qemu_plan plan) {
    vmsig_host_set_note(q->host, (uint64_t)q->machine.pid << 8 | plan);
}

vmsig_qemu_plan vmsig_qemu_planned(const vmsig_qemu *q) {
    uint64_t note = vmsig_host_note(q->host);
    return note >> 8 == (uint64_t)q->machine.pid ? (vmsig_qemu_plan)(note & 0xff) : VMSIG_PLAN_RUN;
}

void vmsig_qemu_tell(vmsig_qemu *q, vmsig_vm_state state, uint32_t cause) {
    q->state = q->want = state;
    q->cause = 0;
    vmsig_host_state(q->host, state, cause);
}

void vmsig_qemu_move_epoch(vmsig_qemu *q, vmsig_vm_state state, uint32_t cause) {
    q->state = q->want = state;
    q->cause = 0;
    q->foreign = false;
    vmsig_host_epoch_moved(q->host, state, cause);
}

void vmsig_qemu_shut_ram(vmsig_qemu *q) {
    vmsig_host_set_ram(q->host, NULL, 0, NULL, 0);
}

void vmsig_qemu_open_ram(vmsig_qemu *q, const vmsig_seg *segs, int n) {
    if (n > 0) {
        q->segs_n = n;
        memcpy(q->segs, segs, (size_t)n * sizeof *segs);
    }
    if (q->migrating)
        return;
    if (vmsig_host_set_ram(q->host, q->machine.ram, q->machine.bytes, q->segs, q->segs_n) < 0)
        vmsig_qemu_fail(q, "QEMU's map of memory does not fit the VM's RAM");
}

/* ---- events ------------------------------------------------------------------------------------------ */

static bool is_reset(const char *reason) {
    return strcmp(reason, "guest-reset") == 0 || strcmp(reason, "host-qmp-system-reset") == 0 ||
           strcmp(reason, "subsystem-reset") == 0;
}

static void on_shutdown(vmsig_qemu *q, const char *reason) {
    bool ends = strncmp(reason, "host-", 5) == 0;
    if (is_reset(reason))
        vmsig_qemu_guest_reset(q);
    else if (!ends && q->state != VMSIG_VM_SHUTDOWN && q->state != VMSIG_VM_CRASHED)
        vmsig_qemu_move_epoch(q, VMSIG_VM_SHUTDOWN, q->cause);
}

/* A `cont` of our own that is under way undoes it. */
static void on_stop(vmsig_qemu *q) {
    if (q->stops > 0 || q->conts > 0 || q->resetting || q->state != VMSIG_VM_RUNNING)
        return;
    q->foreign = true;
    vmsig_qemu_tell(q, VMSIG_VM_PAUSED, 0);
}

/* Who has stopped the VM may have loaded a snapshot before he let it go on. */
static void on_resume(vmsig_qemu *q) {
    if (q->resetting)
        q->running_again = true;
    if (q->migrated)
        vmsig_qemu_migration(q, "none");
    if (q->conts > 0 || q->resetting || (q->state == VMSIG_VM_RUNNING && !q->holding))
        return;
    if (q->foreign || q->holding)
        vmsig_qemu_move_epoch(q, VMSIG_VM_RUNNING, 0);
    else
        vmsig_qemu_tell(q, VMSIG_VM_RUNNING, 0);
    vmsig_qemu_sample(q);
}

static void on_wakeup(vmsig_qemu *q) {
    vmsig_qemu_move_epoch(q, VMSIG_VM_RUNNING, q->cause);
    vmsig_qemu_sample(q);
}

static void on_migration(vmsig_qemu *q, const json_t *data) {
    const char *status = json_string_value(json_object_get(data, "status"));
    if (status)
        vmsig_qemu_migration(q, status);
}

static void on_event(void *ud, const char *name, const json_t *data) {
    vmsig_qemu *q = ud;
    const char *reason = json_string_value(json_object_get(data, "reason"));
    if (!reason)
        reason = "";
    if (!q->up) /* what a former worker has not seen any more; its state will be asked for */
        q->reset_due = strcmp(name, "SHUTDOWN") == 0 ? is_reset(reason) : q->reset_due && strcmp(name, "RESUME") != 0;
    else if (strcmp(name, "SHUTDOWN") == 0)
        on_shutdown(q, reason);
    else if (strcmp(name, "STOP") == 0)
        on_stop(q);
    else if (strcmp(name, "RESUME") == 0)
        on_resume(q);
    else if (strcmp(name, "SUSPEND") == 0)
        vmsig_qemu_tell(q, VMSIG_VM_SUSPENDED, 0);
    else if (strcmp(name, "WAKEUP") == 0)
        on_wakeup(q);
    else if (strcmp(name, "GUEST_PANICKED") == 0 && q->state != VMSIG_VM_CRASHED)
        vmsig_qemu_move_epoch(q, VMSIG_VM_CRASHED, 0);
    else if (strcmp(name, "MIGRATION") == 0)
        on_migration(q, data);
}

/* ---- start ------------------------------------------------------------------------------------------- */

static bool started(vmsig_qemu *q, const char *what, int rc, const json_t *value) {
    if (rc == 0 || rc == -ESHUTDOWN) /* its end says more */
        return rc == 0;
    const char *said = json_string_value(value);
    vmsig_qemu_fail(q, "QEMU %s: %s", what, said ? said : rc == -ETIMEDOUT ? "it does not answer" : strerror(-rc));
    return false;
}

static int offer(vmsig_qemu *q) {
    int rc = vmsig_machine_seal(&q->machine);
    int fd = rc < 0 ? rc : vmsig_machine_ram(&q->machine);
    if (fd < 0)
        return fd;
    rc = vmsig_host_offer_ram(q->host, q->ram_id, fd);
    close(fd);
    return rc;
}

static void on_running(void *ud, uint32_t tag, int rc, const json_t *value) {
    vmsig_qemu *q = ud;
    (void)tag;
    if (q->conts > 0)
        q->conts--;
    if (!started(q, "does not let the guest run", rc, value))
        return;
    vmsig_qemu_plan_is(q, VMSIG_PLAN_NONE);
    vmsig_qemu_tell(q, VMSIG_VM_RUNNING, 0);
    vmsig_qemu_sample(q);
}

static void on_found(void *ud, uint32_t tag, int rc, const json_t *value) {
    vmsig_qemu *q = ud;
    const char *status = json_string_value(json_object_get(value, "status"));
    (void)tag;
    if (!started(q, "does not tell its state", rc, value))
        return;
    q->prelaunch = status && strcmp(status, "prelaunch") == 0;
    q->want = vmsig_qemu_state_of(status);
}

static void let_run(vmsig_qemu *q) {
    vmsig_qemu_plan_is(q, VMSIG_PLAN_RUN);
    if (vmsig_qemu_send(q, on_running, 0, "cont") < 0)
        vmsig_qemu_fail(q, "QEMU takes no commands");
    else
        q->conts++;
}

/* A VM that nobody has begun with is to run; one that a former worker had may have been left in the middle of
 * something. That it stands still for a reset of the guest's may also be told in what he left unread. */
static void go_on(vmsig_qemu *q) {
    vmsig_qemu_plan plan = vmsig_qemu_planned(q);
    bool stands = q->want != VMSIG_VM_RUNNING;
    if (q->want == VMSIG_VM_SHUTDOWN && q->reset_due && plan < VMSIG_PLAN_RESET)
        plan = VMSIG_PLAN_RESET;
    if (stands && plan >= VMSIG_PLAN_RESET && !q->prelaunch) {
        vmsig_qemu_finish_reset(q, plan == VMSIG_PLAN_RESET);
    } else if (q->want == VMSIG_VM_PAUSED && (plan == VMSIG_PLAN_RUN || plan == VMSIG_PLAN_RESET)) {
        let_run(q);
    } else {
        vmsig_qemu_plan_is(q, VMSIG_PLAN_NONE);
        vmsig_qemu_tell(q, q->want, 0);
        vmsig_qemu_sample(q);
    }
}

/* The machine is built and RAM is mapped: all other commands were answered before. */
static void on_built(void *ud, uint32_t tag, int rc, const json_t *value) {
    vmsig_qemu *q = ud;
    vmsig_seg segs[VMSIG_SEGS_MAX];
    uint64_t low;
    (void)tag;
    if (!started(q, "does not tell its map of memory", rc, value))
        return;
    const char *text = json_string_value(value);
    int n = text ? vmsig_monitor_segments(text, VMSIG_QEMU_RAM_ID, segs, VMSIG_SEGS_MAX, &low) : -EPROTO;
    rc = n < 0 ? n : offer(q);
    if (rc < 0) {
        vmsig_qemu_fail(q, "the VM's RAM cannot be offered: %s", strerror(-rc));
        return;
    }
    q->up = true;
    vmsig_qemu_open_ram(q, segs, n);
    go_on(q);
}

static void on_greeted(void *ud, uint32_t tag, int rc, const json_t *value) {
    (void)tag;
    if (rc != -EREMOTEIO || !((vmsig_qemu *)ud)->resumed) /* it refuses to be greeted twice */
        started(ud, "does not speak QMP", rc, value);
}

static void on_action(void *ud, uint32_t tag, int rc, const json_t *value) {
    (void)tag;
    started(ud, "cannot be told what to do when the guest resets", rc, value);
}

static void on_mice(void *ud, uint32_t tag, int rc, const json_t *value) {
    vmsig_qemu *q = ud;
    size_t i;
    json_t *mouse;
    (void)tag;
    if (rc == 0)
        json_array_foreach(value, i, mouse) q->tablet = q->tablet || json_is_true(json_object_get(mouse, "absolute"));
}

static void on_migrate(void *ud, uint32_t tag, int rc, const json_t *value) {
    const char *status = rc == 0 ? json_string_value(json_object_get(value, "status")) : NULL;
    (void)tag;
    if (status)
        vmsig_qemu_migration(ud, status);
}

/* Its events are off by default. Refused while it migrates: then who began it has them on, or the query tells. */
static int ask_for_migration(vmsig_qemu *q, uint64_t at) {
    int rc = vmsig_qmp_send(q->qmp, at, NULL, NULL, 0,
                            "\"execute\":\"migrate-set-capabilities\",\"arguments\":{\"capabilities\":"
                            "[{\"capability\":\"events\",\"state\":true}]}");
    return rc == 0 ? vmsig_qmp_send(q->qmp, at, on_migrate, q, 0, "\"execute\":\"query-migrate\"") : rc;
}

static int ask_first(vmsig_qemu *q) {
    uint64_t at = vmsig_now_ns() + START_NS;
    int rc = q->resumed ? vmsig_qmp_resync(q->qmp) : 0;
    if (rc == 0)
        rc = vmsig_qmp_send(q->qmp, at, on_greeted, q, 0, "\"execute\":\"qmp_capabilities\"");
    if (rc == 0)
        rc = vmsig_qmp_send(q->qmp, at, on_action, q, 0,
                            "\"execute\":\"set-action\",\"arguments\":{\"reboot\":\"shutdown\"}");
    if (rc == 0)
        rc = ask_for_migration(q, at);
    if (rc == 0)
        rc = vmsig_qmp_send(q->qmp, at, on_found, q, 0, "\"execute\":\"query-status\"");
    if (rc == 0)
        rc = vmsig_qmp_send(q->qmp, at, on_mice, q, 0, "\"execute\":\"query-mice\"");
    if (rc == 0)
        rc = vmsig_qmp_send(q->qmp, at, on_built, q, 0,
                            "\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"info mtree -f\"}");
    return rc;
}

/* The VM is down until QEMU has built it. */
static int start(void *vm, vmsig_host *host) {
    vmsig_qemu *q = vm;
    q->host = host;
    q->ram_id = vmsig_host_epoch(host);
    int rc = ask_first(q);
    if (rc == 0)
        vmsig_qemu_tell(q, VMSIG_VM_DOWN, 0);
    return rc;
}

/* ---- the end of QEMU --------------------------------------------------------------------------------- */

/* What it said last is heard first: replies, then words. */
static void ended(vmsig_qemu *q) {
    vmsig_qmp_drain(q->qmp);
    vmsig_qemu_said(q);
    vmsig_loop_remove(q->loop, q->machine.pidfd);
    vmsig_timer_set(q->sample_timer, 0, 0);
    vmsig_timer_set(q->input_timer, 0, 0);
    q->up = q->resetting = false;
    vmsig_qemu_shut_ram(q);
    vmsig_qemu_move_epoch(q, VMSIG_VM_DOWN, q->quitting ? VMSIG_LIFECYCLE_QUIT : 0);
    vmsig_qemu_pump(q); /* nothing in the queue finds a VM */
    if (q->quitting)
        vmsig_host_done(q->host, q->quit_corr, VMSIG_OK, 0);
    else
        vmsig_qemu_fail(q, "QEMU has ended%s%s", q->last_line[0] ? ": " : "", q->last_line);
}

static void on_process_end(void *ud, uint32_t events) {
    (void)events;
    ended(ud);
}

static void on_words(void *ud, uint32_t events) {
    (void)events;
    vmsig_qemu_said(ud);
}

/* EOF alone is no end: the process tells that. */
static void on_stream_end(void *ud, int rc) {
    if (rc < 0)
        vmsig_qemu_fail(ud, "QEMU says what is no QMP");
}

/* ---- the backend ------------------------------------------------------------------------------------- */

int vmsig_qemu_fd(void *vm) {
    return vmsig_loop_fd(((vmsig_qemu *)vm)->loop);
}

int vmsig_qemu_on_readable(void *vm) {
    vmsig_qemu *q = vm;
    int rc = vmsig_loop_run_once(q->loop, 0);
    if (rc < 0)
        vmsig_qemu_fail(q, "the event loop failed: %s", strerror(-rc));
    return q->failed ? -EIO : 0;
}

const char *vmsig_qemu_why(void *vm) {
    return ((vmsig_qemu *)vm)->why;
}

void vmsig_qemu_free(vmsig_qemu *q) {
    vmsig_qmp_free(q->qmp);
    vmsig_timer_free(q->sample_timer);
    vmsig_timer_free(q->input_timer);
    vmsig_loop_free(q->loop);
    free(q);
}

static void close_vm(void *vm) {
    vmsig_qemu *q = vm;
    vmsig_machine m = q->machine;
    bool kept = q->kept;
    vmsig_qemu_free(q);
    if (!kept)
        vmsig_machine_end(&m);
}

static bool knows(void *vm, const vmsig_input *in) {
    (void)vm;
    return vmsig_qemu_knows(in);
}

const vmsig_host_backend vmsig_qemu_backend = {.name = "qemu",
                                               .start = start,
                                               .knows = knows,
                                               .input = vmsig_qemu_take_input,
                                               .lifecycle = vmsig_qemu_lifecycle,
                                               .query = vmsig_qemu_query,
                                               .quiet = vmsig_qemu_quiet,
                                               .hold = vmsig_qemu_hold,
                                               .fd = vmsig_qemu_fd,
                                               .on_readable = vmsig_qemu_on_readable,
                                               .why = vmsig_qemu_why,
                                               .close = close_vm};

static int watch(vmsig_qemu *q) {
    static const vmsig_qmp_ops ops = {.event = on_event, .ended = on_stream_end};
    int rc = vmsig_loop_new(&q->loop);
    if (rc == 0)
        rc = vmsig_timer_new(q->loop, vmsig_qemu_sample_timer, q, &q->sample_timer);
    if (rc == 0)
        rc = vmsig_timer_new(q->loop, vmsig_qemu_input_timer, q, &q->input_timer);
    if (rc == 0)
        rc = vmsig_qmp_new(q->loop, q->machine.qmp_fd, &ops, q, &q->qmp);
    if (rc == 0)
        rc = vmsig_loop_add(q->loop, q->machine.log_fd, EPOLLIN, on_words, q);
    return rc == 0 ? vmsig_loop_add(q->loop, q->machine.pidfd, EPOLLIN, on_process_end, q) : rc;
}

int vmsig_qemu_machine(const char *(*option)(void *ud, const char *key), void *ud, vmsig_machine *machine, char *err,
                       size_t err_len) {
    vmsig_qemu_options o;
    int rc = vmsig_qemu_options_read(option, ud, &o, err, err_len);
    if (rc == 0)
        rc = vmsig_machine_start(&o, machine, err, err_len);
    else
        vmsig_machine_none(machine);
    vmsig_qemu_options_free(&o);
    return rc;
}

int vmsig_qemu_adopt(void *given, const vmsig_host_backend **backend, void **vm, char *err, size_t err_len) {
    vmsig_qemu_given *g = given;
    vmsig_qemu *q = g->rc < 0 ? NULL : calloc(1, sizeof *q);
    if (!q) {
        snprintf(err, err_len, "%s", g->err);
        return g->rc < 0 ? g->rc : -ENOMEM;
    }
    q->machine = g->machine;
    q->resumed = g->resumed;
    q->kept = true;
    strcpy(q->ram_name, VMSIG_QEMU_RAM_ID);
    int rc = watch(q);
    if (rc < 0) {
        snprintf(err, err_len, "the VM cannot be watched: %s", strerror(-rc));
        vmsig_qemu_free(q);
        return rc;
    }
    *backend = &vmsig_qemu_backend;
    *vm = q;
    return 0;
}

int vmsig_qemu_make(const char *(*option)(void *ud, const char *key), void *ud, const vmsig_host_backend **backend,
                    void **vm, char *err, size_t err_len) {
    vmsig_qemu_given g = {.rc = 0};
    g.rc = vmsig_qemu_machine(option, ud, &g.machine, g.err, sizeof g.err);
    int rc = vmsig_qemu_adopt(&g, backend, vm, err, err_len);
    if (rc == 0)
        ((vmsig_qemu *)*vm)->kept = false;
    else if (g.rc == 0)
        vmsig_machine_end(&g.machine);
    return rc;
}
