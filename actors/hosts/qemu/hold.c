/* Standing still for memory writes: stop, the writes, cont. The events of that pair say nothing to anybody; the state
 * that is told stays "running". Nothing is left to a later turn between the writes and cont, and who dies meanwhile has
 * left a note that it is to go on.
 *
 * A pause, a reset or the guest's own shutdown that comes in between wins: then it is not let go on here. */
#include <errno.h>
#include <string.h>

#include "actors/hosts/qemu/qemu_i.h"

static void let_go(vmsig_qemu *q, int rc, const json_t *value) {
    vmsig_status status = VMSIG_OK;
    if (rc == -ESHUTDOWN) {
        status = VMSIG_UNKNOWN;
    } else if (rc < 0 && q->want == VMSIG_VM_RUNNING && !q->resetting) {
        const char *why = rc == -ETIMEDOUT ? "it does not answer" : json_string_value(value);
        vmsig_host_log(q->host, "the VM was stopped for a memory write, and QEMU does not let it go on: %s",
                       why ? why : strerror(-rc));
        vmsig_qemu_tell(q, VMSIG_VM_PAUSED, 0);
        status = VMSIG_PARTIAL;
    }
    if (rc != -ESHUTDOWN && !q->resetting)
        vmsig_qemu_plan_is(q, VMSIG_PLAN_NONE);
    vmsig_host_let_go(q->host, status);
}

static void on_let_go(void *ud, uint32_t tag, int rc, const json_t *value) {
    vmsig_qemu *q = ud;
    (void)tag;
    if (q->conts > 0)
        q->conts--;
    let_go(q, rc, value);
}

static bool goes_on(const vmsig_qemu *q, int rc) {
    return rc != -ESHUTDOWN && q->want == VMSIG_VM_RUNNING && !q->resetting && !q->quitting;
}

static void on_held(void *ud, uint32_t tag, int rc, const json_t *value) {
    vmsig_qemu *q = ud;
    (void)tag;
    (void)value;
    if (q->stops > 0)
        q->stops--;
    vmsig_host_held(q->host, vmsig_qemu_status(rc));
    q->holding = false;
    if (!goes_on(q, rc)) {
        let_go(q, rc == -ESHUTDOWN ? rc : 0, NULL);
    } else if (vmsig_qemu_send(q, on_let_go, 0, "cont") < 0) {
        let_go(q, -EBUSY, NULL);
    } else {
        q->conts++;
    }
    vmsig_qemu_pump(q);
}

int vmsig_qemu_hold(void *vm) {
    vmsig_qemu *q = vm;
    if (!q->up || q->quitting || q->resetting || q->migrating)
        return VMSIG_UNAVAILABLE;
    if (q->want == VMSIG_VM_RUNNING)
        vmsig_qemu_plan_is(q, VMSIG_PLAN_RUN);
    if (vmsig_qemu_send(q, on_held, 0, "stop") < 0)
        return VMSIG_UNAVAILABLE;
    q->stops++;
    q->holding = true;
    return VMSIG_HOST_LATER;
}

/* ---- migration --------------------------------------------------------------------------------------- */

/* Completed: the VM is elsewhere, and memory stays shut here until it runs here again. */
void vmsig_qemu_migration(vmsig_qemu *q, const char *status) {
    static const char *const over[] = {"none", "failed", "cancelled"};
    bool was = q->migrating;
    q->migrating = true;
    q->migrated = strcmp(status, "completed") == 0;
    for (size_t i = 0; i < sizeof over / sizeof *over; i++)
        q->migrating = q->migrating && strcmp(status, over[i]) != 0;
    if (q->migrating == was)
        return;
    if (q->migrating)
        vmsig_qemu_shut_ram(q);
    else if (!q->resetting)
        vmsig_qemu_open_ram(q, NULL, 0);
    vmsig_host_log(q->host, q->migrating ? "QEMU migrates the VM: memory writes are refused until that is over"
                                         : "the migration is over: memory can be written again");
}
