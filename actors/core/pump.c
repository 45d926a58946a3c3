#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/core/core_impl.h"
#include "schema/caps.h"

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
        vmsig_core_quiet_result(core, ev);
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

/* What a host looks at itself (host.h) is looked at here for sources that are none. */
static vmsig_status gate_for(const vmsig_core *core, const vmsig_event *cmd) {
    const vmsig_need *need = vmsig_need_of(cmd);
    if (cmd->kind == VMSIG_CMD_LEASE)
        return VMSIG_OK;
    if (!need)
        return VMSIG_INVALID;
    if (cmd->epoch != vmsig_core_epoch(core, cmd->endpoint))
        return VMSIG_FENCED;
    if (need->cls == VMSIG_NO_LEASE)
        return VMSIG_OK;
    bool allowed = vmsig_fence_allows(core->fences, cmd->endpoint, (vmsig_lease_class)need->cls, cmd->token);
    return allowed ? VMSIG_OK : VMSIG_FENCED;
}

static void to_source(vmsig_core *core, vmsig_core_source *s, const vmsig_event *cmd) {
    vmsig_status status = gate_for(core, cmd);
    const vmsig_need *need = vmsig_need_of(cmd);
    uint32_t cls = need ? need->cls : VMSIG_NO_LEASE;
    if (status == VMSIG_OK && cls != VMSIG_NO_LEASE && !vmsig_core_quiet_room(core, cmd->endpoint))
        status = VMSIG_UNAVAILABLE;
    if (status != VMSIG_OK) {
        vmsig_core_answer(core, cmd, status, 0);
        return;
    }
    vmsig_store64(&s->answering, cmd->corr);
    errno = 0;
    int rc = s->ops->command(s->src, cmd);
    bool answered = vmsig_load64(&s->answering) == 0 && cmd->corr != 0;
    vmsig_store64(&s->answering, 0);
    if (rc >= 0)
        vmsig_core_quiet_sent(s, cmd, cls, rc > 0 && !answered);
    if (rc < 0)
        vmsig_core_answer(core, cmd, vmsig_refusal(errno), 0);
    else if (rc == 0 && !answered)
        vmsig_core_answer(core, cmd, VMSIG_OK, 0);
}

/* true = done with it. */
static bool command_down(vmsig_core *core, const vmsig_event *cmd) {
    vmsig_core_source *s = vmsig_core_taker(core, cmd->endpoint, cmd->kind);
    if (!s && cmd->kind == VMSIG_CMD_LEASE)
        vmsig_core_quiet_ask(core, cmd);
    else if (!s)
        vmsig_core_answer(core, cmd, VMSIG_UNAVAILABLE, 0);
    else if (s == core->endpoint[cmd->endpoint].host)
        return s->ops->command(s->src, cmd) >= 0;
    else
        to_source(core, s, cmd);
    return true;
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
        if (!(dir == VMSIG_DIR_UP ? event_up(core, ev) : command_down(core, ev)))
            break;
        core->holding[dir] = false;
        free(ev->payload);
    }
    return n;
}

/* Hosts tell what they owe: there is room in the context, unless a policy of its own blocks. */
static void flush_hosts(vmsig_core *core) {
    for (int i = 0; i < core->sources_n; i++)
        if (!core->sources[i]->ended && core->sources[i]->ops == vmsig_host_source_ops())
            vmsig_host_flush(core->sources[i]->src);
}

int vmsig_core_pump(vmsig_core *core) {
    int total = 0;
    for (unsigned round = 0; round < ROUNDS && total < BUDGET; round++) {
        flush_hosts(core);
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
