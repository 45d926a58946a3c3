/* Commands to an actor: each passes the actuator of its endpoint (actuator.h) before the program sees it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/runtime/actor.h"
#include "actors/runtime/record.h"

/* What the actuator of one endpoint stands on. */
struct vmsig_drive {
    vmsig_actor *actor;
    uint32_t endpoint;
    vmsig_actuator *act;
};

static uint32_t epoch(void *ud) {
    const vmsig_drive *d = ud;
    return vmsig_rt_epoch(d->actor->rt, d->endpoint);
}

static const vmsig_fence_page *fences(void *ud) {
    const vmsig_drive *d = ud;
    return vmsig_rt_fences(d->actor->rt, d->endpoint);
}

/* A program with on_event alone tells its results by itself. */
static int effect(void *ud, const vmsig_event *cmd) {
    vmsig_actor *a = ((vmsig_drive *)ud)->actor;
    if (a->command)
        return a->command(a, cmd, a->command_ud);
    if (!a->on_event)
        return -ENODEV;
    a->on_event(a, cmd, a->event_ud);
    return 1;
}

static int answer(void *ud, uint32_t kind, uint32_t corr, vmsig_status status, uint64_t detail) {
    const vmsig_drive *d = ud;
    vmsig_result result = {.status = (int32_t)status, .detail = detail};
    vmsig_event ev = {.kind = VMSIG_EV_RESULT,
                      .dir = VMSIG_DIR_UP,
                      .prio = kind == VMSIG_CMD_LEASE ? VMSIG_PRIO_URGENT : VMSIG_PRIO_HIGH,
                      .endpoint = d->endpoint,
                      .corr = corr,
                      .inln_len = sizeof(result)};
    memcpy(ev.inln, &result, sizeof(result));
    int err = vmsig_actor_offer(d->actor, &ev);
    if (err && err != -EAGAIN)
        vmsig_rt_log(d->actor->rt, "cannot answer command %u: %s", corr, strerror(-err));
    return err == -EAGAIN ? err : 0;
}

/* What outlives the process is kept for the endpoint that the topology gives it. */
static vmsig_drive *drive_of(vmsig_actor *a, uint32_t endpoint) {
    const Vmsig__Pb__Boot *b = vmsig_rt_boot(a->rt);
    vmsig_drive **place = &a->drives[endpoint % VMSIG_ENDPOINTS_MAX];
    if (*place)
        return *place;
    vmsig_drive *d = calloc(1, sizeof(*d));
    if (!d)
        return NULL;
    *d = (vmsig_drive){.actor = a, .endpoint = endpoint};
    const vmsig_actuator_env env = {.epoch = epoch, .fences = fences, .effect = effect, .answer = answer, .ud = d};
    int state = b->has_endpoint && b->endpoint == endpoint ? vmsig_rt_state_fd(a->rt) : -1;
    int err = vmsig_actuator_new(endpoint, &env, state, &d->act);
    if (err) {
        vmsig_rt_fail(a->rt, "cannot map the record of effects: %s", strerror(-err));
        free(d);
        return NULL;
    }
    *place = d;
    vmsig_actuator_start(d->act);
    return d;
}

bool vmsig_drive_ready(vmsig_actor *a, uint32_t endpoint) {
    vmsig_drive *d = a->drives[endpoint % VMSIG_ENDPOINTS_MAX];
    return (!d || vmsig_actuator_flush(d->act)) && vmsig_actor_has_room(a, endpoint);
}

void vmsig_drive_command(vmsig_actor *a, const vmsig_event *cmd) {
    vmsig_drive *d = drive_of(a, cmd->endpoint);
    if (!d) {
        vmsig_rt_quit(a->rt, EXIT_FAILURE);
        return;
    }
    if (vmsig_actuator_command(d->act, cmd) < 0) /* there was room a moment ago */
        vmsig_rt_log(a->rt, "command %llu finds no room for its result", (unsigned long long)cmd->corr);
}

bool vmsig_drive_result(vmsig_actor *a, const vmsig_event *result) {
    vmsig_drive *d = result->endpoint < VMSIG_ENDPOINTS_MAX ? a->drives[result->endpoint] : NULL;
    return d && vmsig_actuator_result(d->act, result, false);
}

void vmsig_drive_epochs(vmsig_actor *a) {
    for (uint32_t i = 0; i < VMSIG_ENDPOINTS_MAX; i++)
        if (a->drives[i])
            vmsig_actuator_epoch(a->drives[i]->act);
}

void vmsig_drive_flush(vmsig_actor *a) {
    for (uint32_t i = 0; i < VMSIG_ENDPOINTS_MAX; i++)
        if (a->drives[i])
            vmsig_actuator_flush(a->drives[i]->act);
}

int vmsig_drive_start(vmsig_actor *a) {
    const Vmsig__Pb__Boot *b = vmsig_rt_boot(a->rt);
    bool lasting = b->has_endpoint && vmsig_rt_state_fd(a->rt) >= 0;
    return lasting && !drive_of(a, b->endpoint) ? -ENOMEM : 0;
}

void vmsig_drive_end(vmsig_actor *a) {
    for (uint32_t i = 0; i < VMSIG_ENDPOINTS_MAX; i++)
        if (a->drives[i])
            vmsig_actuator_end(a->drives[i]->act);
}

void vmsig_drive_drop(vmsig_actor *a) {
    for (uint32_t i = 0; i < VMSIG_ENDPOINTS_MAX; i++) {
        if (a->drives[i])
            vmsig_actuator_free(a->drives[i]->act);
        free(a->drives[i]);
    }
}
