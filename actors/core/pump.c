#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/core/core_impl.h"

#define BUDGET       1024 /* events and commands of one call: a source that never stops leaves room for the rest */
#define ROUNDS       64
#define CONTEXT_LINK 1 /* the gate knows its contexts by link; here is one */

/* ---- up: context -> gate, and memctx to sources ------------------------------------------------------ */

/* true = done with it. */
static bool event_up(vmsig_core *core, const vmsig_event *ev) {
    int rc = vmsig_gate_take(core->gate, CONTEXT_LINK, ev->seq, ev);
    if (rc == -EAGAIN)
        return false;
    if (ev->kind == VMSIG_EV_RESULT)
        vmsig_core_drive_result(core, ev);
    if (ev->kind == VMSIG_EV_MEMCTX || ev->kind == VMSIG_EV_MEMCTX_INVALID)
        vmsig_core_pass_memctx(core, ev);
    return true;
}

/* ---- down: gate -> context -> source ----------------------------------------------------------------- */

/* A payload is copied: the gate's is borrowed, the context's is owned. */
int vmsig_core_command(void *ud, const vmsig_event *cmd) {
    vmsig_core *core = ud;
    vmsig_event own = *cmd;
    if (cmd->kind != VMSIG_CMD_LEASE && !vmsig_core_taker(core, cmd->endpoint, cmd->kind))
        return -ENOENT;
    if (cmd->payload_len) {
        own.payload = malloc(cmd->payload_len);
        if (!own.payload)
            return -EAGAIN;
        memcpy(own.payload, cmd->payload, cmd->payload_len);
    }
    if (vmsig_ctx_submit(core->ctx, VMSIG_DIR_DOWN, &own) >= 0)
        return 0;
    free(own.payload);
    return errno == EAGAIN || errno == ENOMEM ? -EAGAIN : -errno;
}

/* ---- both -------------------------------------------------------------------------------------------- */

/* Takes what is due in one direction; what cannot be handed on now is held, and all behind it waits. How much was
 * handled. */
static int drain(vmsig_core *core, vmsig_dir dir, int budget) {
    int n = 0;
    vmsig_event *ev = &core->held[dir];
    for (; n < budget; n++) {
        if (!core->holding[dir] && vmsig_ctx_next(core->ctx, dir, ev) <= 0)
            break;
        core->holding[dir] = true;
        if (!(dir == VMSIG_DIR_UP ? event_up(core, ev) : vmsig_core_drive(core, ev)))
            break;
        core->holding[dir] = false;
        free(ev->payload);
    }
    return n;
}

int vmsig_core_pump(vmsig_core *core) {
    int total = 0;
    for (unsigned round = 0; round < ROUNDS && total < BUDGET; round++) {
        vmsig_core_drive_flush(core);
        int n = drain(core, VMSIG_DIR_UP, BUDGET);
        bool busy = vmsig_gate_busy(core->gate);
        if (busy)
            n += vmsig_gate_turn(core->gate);
        vmsig_core_serve(core);
        n += drain(core, VMSIG_DIR_DOWN, BUDGET);
        total += n;
        if (n == 0 && !busy)
            break;
    }
    return total;
}
