/* drive.c: commands to sources: a host looks for itself; before all others stands an actuator (runtime/actuator.h). */
#include <errno.h>
#include <string.h>

#include "actors/core/core_impl.h"
#include "schema/caps.h"

/* ---- what an actuator stands on ---------------------------------------------------------------------- */

static uint32_t epoch(void *ud) {
    const vmsig_core_source *s = ud;
    return vmsig_core_epoch(s->core, s->info.endpoint);
}

static const vmsig_fence_page *fences(void *ud) {
    return ((vmsig_core_source *)ud)->core->fences;
}

/* A result that it emits meanwhile, from whatever thread, comes back on its way up. */
static int effect(void *ud, const vmsig_event *cmd) {
    vmsig_core_source *s = ud;
    vmsig_store64(&s->answering, cmd->corr);
    errno = 0;
    int rc = s->ops->command(s->src, cmd);
    int error = errno;
    bool answered = cmd->corr != 0 && vmsig_load64(&s->answering) == 0;
    vmsig_store64(&s->answering, 0);
    if (rc < 0)
        return error ? -error : -EINVAL;
    return rc > 0 || answered;
}

static int answer(void *ud, uint32_t kind, uint32_t corr, vmsig_status status, uint64_t detail) {
    const vmsig_core_source *s = ud;
    const vmsig_event cmd = {.endpoint = s->info.endpoint, .source = (uint8_t)vmsig_lane_of(kind), .corr = corr};
    return vmsig_core_answer(s->core, &cmd, status, detail) < 0 ? -EAGAIN : 0;
}

int vmsig_core_drive_new(vmsig_core_source *s) {
    static const vmsig_actuator_env env = {.epoch = epoch, .fences = fences, .effect = effect, .answer = answer};
    vmsig_actuator_env own = env;
    own.ud = s;
    return vmsig_actuator_new(s->info.endpoint, &own, -1, &s->act);
}

/* ---- commands and results ---------------------------------------------------------------------------- */

/* A fence goes to who takes the commands of its class. */
static uint8_t kind_of(const vmsig_event *cmd) {
    vmsig_lease l;
    if (cmd->kind != VMSIG_CMD_LEASE)
        return cmd->kind;
    memcpy(&l, cmd->inln, sizeof l);
    return vmsig_lease_kind(l.cls);
}

bool vmsig_core_drive(vmsig_core *core, const vmsig_event *cmd) {
    vmsig_core_source *s = vmsig_core_taker(core, cmd->endpoint, kind_of(cmd));
    if (!s)
        vmsig_core_answer(core, cmd, VMSIG_UNAVAILABLE, 0); /* to a fence this says that all is quiet */
    else if (s->act)
        return vmsig_actuator_command(s->act, cmd) == 0;
    else
        return s->ops->command(s->src, cmd) >= 0;
    return true;
}

void vmsig_core_drive_result(vmsig_core *core, const vmsig_event *result) {
    for (int i = 0; i < core->sources_n; i++) {
        const vmsig_core_source *s = core->sources[i];
        if (s->act && s->info.endpoint == result->endpoint && vmsig_actuator_result(s->act, result, true))
            return;
    }
}

void vmsig_core_drive_flush(vmsig_core *core) {
    for (int i = 0; i < core->sources_n; i++) {
        vmsig_core_source *s = core->sources[i];
        if (s->ended)
            continue;
        if (s->ops == vmsig_host_source_ops()) {
            vmsig_host_flush(s->src);
        } else if (s->act) {
            vmsig_actuator_epoch(s->act);
            vmsig_actuator_flush(s->act);
        }
    }
}
