/* Lifecycle. A reset goes in the strict order that keeps late commands from the guest that boots anew: the VM stands
 * still (its own reset does that; ours stops it first), the epoch moves and memory is shut, then it is reset and goes
 * on. The guest may reset again at once (firmware does): then all of it happens again. */
#include <errno.h>
#include <string.h>

#include "actors/hosts/qemu/qemu_i.h"

/* ---- the strict order of a reset --------------------------------------------------------------------- */

static void end_reset(vmsig_qemu *q) {
    uint32_t corr = q->reset_corr;
    bool again = q->reset_again;
    if (!again)
        vmsig_qemu_plan_is(q, VMSIG_PLAN_NONE);
    q->resetting = q->frozen = q->reset_again = q->running_again = false;
    q->reset_corr = q->reset_op = 0;
    vmsig_host_done(q->host, corr, VMSIG_OK, 0);
    if (again) {
        vmsig_qemu_guest_reset(q);
        return;
    }
    vmsig_qemu_open_ram(q, NULL, 0);
    vmsig_qemu_sample(q);
    vmsig_qemu_pump(q);
}

/* Whatever failed, nobody can say what the guest is: the VM is given up. */
static bool went_well(vmsig_qemu *q, int rc, const json_t *value) {
    if (rc == 0 || rc == -ESHUTDOWN)
        return rc == 0;
    const char *why = json_string_value(value);
    vmsig_host_done(q->host, q->reset_corr, vmsig_qemu_status(rc), 0);
    vmsig_qemu_fail(q, "the VM could not be reset: %s", why ? why : strerror(-rc));
    return false;
}

static void on_continued(void *ud, uint32_t tag, int rc, const json_t *value) {
    (void)tag;
    if (went_well(ud, rc, value))
        end_reset(ud);
}

static void on_reset(void *ud, uint32_t tag, int rc, const json_t *value) {
    vmsig_qemu *q = ud;
    (void)tag;
    if (!went_well(q, rc, value))
        return;
    if (!q->resume_after)
        end_reset(q);
    else if (vmsig_qemu_send(q, on_continued, 0, "cont") < 0)
        vmsig_qemu_fail(q, "the VM could not be reset: QEMU takes no commands");
}

static void on_step(void *ud, uint32_t tag, int rc, const json_t *value) {
    (void)tag;
    went_well(ud, rc, value);
}

/* The VM stands still. */
static void reset_frozen(vmsig_qemu *q) {
    q->frozen = true;
    vmsig_qemu_shut_ram(q);
    vmsig_qemu_move_epoch(q, q->resume_after ? VMSIG_VM_RUNNING : VMSIG_VM_PAUSED, q->reset_op);
    uint64_t at = vmsig_qemu_deadline();
    static const char action[] = "\"execute\":\"set-action\",\"arguments\":{\"reboot\":\"%s\"}";
    if (vmsig_qmp_send(q->qmp, at, on_step, q, 0, action, "reset") < 0 ||
        vmsig_qemu_send(q, on_step, 0, "system_reset") < 0 ||
        vmsig_qmp_send(q->qmp, at, on_reset, q, 0, action, "shutdown") < 0)
        vmsig_qemu_fail(q, "the VM could not be reset: QEMU takes no commands");
}

static void on_stopped_for_reset(void *ud, uint32_t tag, int rc, const json_t *value) {
    vmsig_qemu *q = ud;
    (void)tag;
    if (went_well(q, rc, value) && !q->frozen)
        reset_frozen(q);
}

void vmsig_qemu_guest_reset(vmsig_qemu *q) {
    if (q->frozen) { /* told twice for one reset; or, once it runs again, a new one */
        q->reset_again = q->reset_again || q->running_again;
        return;
    }
    if (q->resetting)
        reset_frozen(q);
    else
        vmsig_qemu_finish_reset(q, q->want != VMSIG_VM_PAUSED);
}

static void begin(vmsig_qemu *q, bool resume_after, uint32_t op) {
    q->resetting = true;
    q->resume_after = resume_after;
    q->reset_op = op;
    vmsig_qemu_plan_is(q, resume_after ? VMSIG_PLAN_RESET : VMSIG_PLAN_RESET_STAY);
}

void vmsig_qemu_finish_reset(vmsig_qemu *q, bool resume_after) {
    begin(q, resume_after, 0);
    reset_frozen(q);
}

static int reset(vmsig_qemu *q, uint32_t corr, uint32_t op) {
    bool runs = q->want == VMSIG_VM_RUNNING || q->want == VMSIG_VM_SUSPENDED;
    if (runs && vmsig_qemu_send(q, on_stopped_for_reset, 0, "stop") < 0)
        return VMSIG_UNAVAILABLE;
    begin(q, q->want != VMSIG_VM_PAUSED, op);
    q->reset_corr = corr;
    if (!runs)
        reset_frozen(q);
    return VMSIG_HOST_LATER;
}

/* ---- the rest ---------------------------------------------------------------------------------------- */

/* What a command made of the VM; refused: it is as it was. */
static void on_moved(vmsig_qemu *q, vmsig_vm_state state, uint32_t op, uint32_t corr, int rc, const json_t *value) {
    unsigned *under_way = state == VMSIG_VM_PAUSED ? &q->stops : &q->conts;
    if (*under_way > 0)
        --*under_way;
    if (rc == 0 && !q->resetting) {
        if (state == VMSIG_VM_RUNNING && q->foreign) /* as if he had let it go on himself */
            vmsig_qemu_move_epoch(q, state, op);
        else
            vmsig_qemu_tell(q, state, op);
        vmsig_qemu_sample(q);
        vmsig_qemu_pump(q);
    } else if (rc == -EREMOTEIO) {
        q->want = q->state;
        vmsig_host_log(q->host, "QEMU refuses: %s", json_string_value(value));
    }
    vmsig_host_done(q->host, corr, vmsig_qemu_status(rc), 0);
}

static void on_paused(void *ud, uint32_t corr, int rc, const json_t *value) {
    on_moved(ud, VMSIG_VM_PAUSED, VMSIG_LIFECYCLE_PAUSE, corr, rc, value);
}

static void on_resumed(void *ud, uint32_t corr, int rc, const json_t *value) {
    on_moved(ud, VMSIG_VM_RUNNING, VMSIG_LIFECYCLE_RESUME, corr, rc, value);
}

/* What it leads to, an event will tell. */
static void on_asked(void *ud, uint32_t corr, int rc, const json_t *value) {
    vmsig_qemu *q = ud;
    (void)value;
    vmsig_host_done(q->host, corr, vmsig_qemu_status(rc), 0);
}

/* Its answer is the end of QEMU. */
static void on_quit(void *ud, uint32_t corr, int rc, const json_t *value) {
    vmsig_qemu *q = ud;
    (void)value;
    if (rc == -ETIMEDOUT || rc == -EREMOTEIO) {
        q->quitting = false;
        vmsig_host_done(q->host, corr, vmsig_qemu_status(rc), 0);
    }
}

static void on_resume_due(void *ud, uint32_t corr, int rc, const json_t *value);

static int move(vmsig_qemu *q, uint32_t corr, vmsig_vm_state to) {
    bool pause = to == VMSIG_VM_PAUSED;
    if (q->want == to)
        return VMSIG_OK;
    if (!pause && q->holding)
        return vmsig_qemu_send(q, on_resume_due, corr, "query-status") < 0 ? (int)VMSIG_UNAVAILABLE : VMSIG_HOST_LATER;
    if (vmsig_qemu_send(q, pause ? on_paused : on_resumed, corr, pause ? "stop" : "cont") < 0)
        return VMSIG_UNAVAILABLE;
    q->want = to;
    *(pause ? &q->stops : &q->conts) += 1;
    return VMSIG_HOST_LATER;
}

/* A query's answer: what it stood still for, when it was to be resumed, is over. */
static void on_resume_due(void *ud, uint32_t corr, int rc, const json_t *value) {
    (void)value;
    int status = rc == 0 ? move(ud, corr, VMSIG_VM_RUNNING) : (int)vmsig_qemu_status(rc);
    if (status != VMSIG_HOST_LATER)
        vmsig_host_done(((vmsig_qemu *)ud)->host, corr, (vmsig_status)status, 0);
}

static int ask(vmsig_qemu *q, uint32_t corr, uint32_t op, const char *name) {
    if (vmsig_qemu_send(q, on_asked, corr, name) < 0)
        return VMSIG_UNAVAILABLE;
    q->cause = op;
    return VMSIG_HOST_LATER;
}

static int quit(vmsig_qemu *q, uint32_t corr) {
    if (vmsig_qemu_send(q, on_quit, corr, "quit") < 0)
        return VMSIG_UNAVAILABLE;
    q->quitting = true;
    q->quit_corr = corr;
    return VMSIG_HOST_LATER;
}

int vmsig_qemu_lifecycle(void *vm, uint32_t corr, uint32_t op) {
    vmsig_qemu *q = vm;
    vmsig_vm_state at = q->want;
    bool runs = at == VMSIG_VM_RUNNING, stands = at == VMSIG_VM_PAUSED;
    if (!q->up || q->quitting || (q->resetting && op != VMSIG_LIFECYCLE_QUIT))
        return VMSIG_UNAVAILABLE;
    switch (op) {
    case VMSIG_LIFECYCLE_PAUSE:
        return runs || stands ? move(q, corr, VMSIG_VM_PAUSED) : VMSIG_UNAVAILABLE;
    case VMSIG_LIFECYCLE_RESUME:
        return runs || stands ? move(q, corr, VMSIG_VM_RUNNING) : VMSIG_UNAVAILABLE;
    case VMSIG_LIFECYCLE_WAKEUP:
        if (at == VMSIG_VM_SUSPENDED)
            return ask(q, corr, op, "system_wakeup");
        return runs ? VMSIG_OK : VMSIG_UNAVAILABLE;
    case VMSIG_LIFECYCLE_POWERDOWN:
        return at == VMSIG_VM_SHUTDOWN ? VMSIG_OK : ask(q, corr, op, "system_powerdown");
    case VMSIG_LIFECYCLE_RESET:
        return reset(q, corr, op);
    case VMSIG_LIFECYCLE_QUIT:
        return quit(q, corr);
    default:
        return VMSIG_INVALID;
    }
}

/* ---- query ------------------------------------------------------------------------------------------- */

vmsig_vm_state vmsig_qemu_state_of(const char *status) {
    static const struct {
        const char *status;
        vmsig_vm_state state;
    } known[] = {{"running", VMSIG_VM_RUNNING},
                 {"suspended", VMSIG_VM_SUSPENDED},
                 {"shutdown", VMSIG_VM_SHUTDOWN},
                 {"guest-panicked", VMSIG_VM_CRASHED},
                 {"internal-error", VMSIG_VM_CRASHED}};
    for (size_t i = 0; status && i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].status, status) == 0)
            return known[i].state;
    return VMSIG_VM_PAUSED;
}

static void on_status(void *ud, uint32_t corr, int rc, const json_t *value) {
    vmsig_qemu *q = ud;
    vmsig_vm_state state =
        rc == 0 ? vmsig_qemu_state_of(json_string_value(json_object_get(value, "status"))) : q->state;
    if (state == VMSIG_VM_PAUSED && q->state == VMSIG_VM_RUNNING && q->want == VMSIG_VM_RUNNING)
        state = VMSIG_VM_RUNNING; /* it stands still for a write */
    vmsig_host_done(q->host, corr, vmsig_qemu_status(rc), (uint64_t)state);
}

int vmsig_qemu_query(void *vm, uint32_t corr, uint64_t *detail) {
    vmsig_qemu *q = vm;
    (void)detail;
    if (!q->up || vmsig_qemu_send(q, on_status, corr, "query-status") < 0)
        return VMSIG_UNAVAILABLE;
    if (!q->resetting)
        vmsig_qemu_sample(q);
    return VMSIG_HOST_LATER;
}
