#include "actors/runtime/actuator.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/runtime/record.h"

struct vmsig_actuator {
    uint32_t endpoint;
    vmsig_actuator_env env;
    int state_fd;
    vmsig_record *record;
    unsigned owed;   /* effects that are DONE and not ANSWERED */
    unsigned fences; /* that are STARTED */
};

/* ---- the last look ----------------------------------------------------------------------------------- */

vmsig_status vmsig_effect_current(const vmsig_event *cmd, uint32_t epoch, const vmsig_need **need) {
    *need = vmsig_need_of(cmd);
    if (!*need || cmd->kind == VMSIG_CMD_LEASE)
        return VMSIG_INVALID;
    bool unstated = cmd->epoch == 0 && cmd->kind != VMSIG_CMD_MEMWRITE;
    return cmd->epoch == epoch || unstated ? VMSIG_OK : VMSIG_FENCED;
}

vmsig_status vmsig_effect_allowed(const vmsig_event *cmd, const vmsig_need *need, uint32_t endpoint,
                                  const vmsig_fence_page *fences) {
    if (need->cls == VMSIG_NO_LEASE)
        return VMSIG_OK;
    if (!fences)
        return VMSIG_UNAVAILABLE;
    if (cmd->token == 0)
        return VMSIG_NOLEASE;
    bool allowed = vmsig_fence_allows(fences, endpoint, (vmsig_lease_class)need->cls, cmd->token);
    return allowed ? VMSIG_OK : VMSIG_FENCED;
}

/* ---- results ----------------------------------------------------------------------------------------- */

static bool answer(vmsig_actuator *a, vmsig_effect *e) {
    if (a->env.answer(a->env.ud, e->kind, e->corr, (vmsig_status)e->status, e->detail) < 0)
        return false;
    vmsig_effect_answered(e);
    a->owed--;
    return true;
}

static void done(vmsig_actuator *a, vmsig_effect *e, vmsig_status status, uint64_t detail) {
    vmsig_effect_done(e, status, detail);
    a->owed++;
    answer(a, e);
}

bool vmsig_actuator_flush(vmsig_actuator *a) {
    for (unsigned i = 0; a->owed && i < VMSIG_RECORD_EFFECTS; i++) {
        vmsig_effect *e = &a->record->effects[i];
        if (e->state == VMSIG_EFFECT_DONE && !answer(a, e))
            return false;
    }
    return a->owed == 0;
}

/* ---- neutral, quiet ---------------------------------------------------------------------------------- */

/* false: the source does not take it. */
static bool neutral(vmsig_actuator *a) {
    vmsig_input group[VMSIG_GROUP_MAX];
    uint32_t n;
    for (uint32_t code = 0; (n = vmsig_record_releases(a->record, &code, group)) > 0;) {
        vmsig_event cmd = {.kind = VMSIG_CMD_INPUT,
                           .source = VMSIG_SRC_INPUT,
                           .dir = VMSIG_DIR_DOWN,
                           .endpoint = a->endpoint,
                           .epoch = a->env.epoch(a->env.ud),
                           .merged = 1,
                           .inln_len = n * (uint32_t)sizeof *group};
        memcpy(cmd.inln, group, cmd.inln_len);
        if (a->env.effect(a->env.ud, &cmd) < 0)
            return false;
        vmsig_record_note(a->record, group, n, 0);
    }
    return true;
}

static bool is_fence(const vmsig_effect *e) {
    return e->kind == VMSIG_CMD_LEASE;
}

static bool under_way(const vmsig_actuator *a, uint64_t cls) {
    for (unsigned i = 0; i < VMSIG_RECORD_EFFECTS; i++) {
        const vmsig_effect *e = &a->record->effects[i];
        if (e->state == VMSIG_EFFECT_STARTED && !is_fence(e) && e->detail == cls)
            return true;
    }
    return false;
}

/* Answers the fences that have waited for what has just ended. O(effects), where there are any. */
static void settle(vmsig_actuator *a) {
    for (unsigned i = 0; a->fences && i < VMSIG_RECORD_EFFECTS; i++) {
        vmsig_effect *e = &a->record->effects[i];
        if (e->state != VMSIG_EFFECT_STARTED || !is_fence(e) || under_way(a, e->detail))
            continue;
        bool quiet = e->detail != VMSIG_LEASE_INPUT || neutral(a);
        a->fences--;
        done(a, e, quiet ? VMSIG_OK : VMSIG_TIMEOUT, 0);
    }
}

/* What was pressed in an epoch that is over is let go. */
void vmsig_actuator_epoch(vmsig_actuator *a) {
    uint32_t now = a->env.epoch(a->env.ud);
    if (a->record->held_epoch != now && neutral(a))
        a->record->held_epoch = now;
}

/* ---- commands ---------------------------------------------------------------------------------------- */

/* What is pressed counts as held from before the effect on; a refusal had none. */
static int effect(vmsig_actuator *a, const vmsig_event *cmd) {
    vmsig_input in[VMSIG_GROUP_MAX];
    uint64_t before[VMSIG_KEYS_MAX / 64];
    uint32_t n = cmd->kind == VMSIG_CMD_INPUT ? cmd->inln_len / (uint32_t)sizeof *in : 0;
    memcpy(in, cmd->inln, n * sizeof *in);
    memcpy(before, a->record->held, sizeof before);
    vmsig_record_note(a->record, in, n, 1);
    int rc = a->env.effect(a->env.ud, cmd);
    if (rc < 0)
        memcpy(a->record->held, before, sizeof before);
    else
        vmsig_record_note(a->record, in, n, 0);
    return rc;
}

static void perform(vmsig_actuator *a, vmsig_effect *e, const vmsig_event *cmd) {
    const vmsig_need *need;
    vmsig_status status = vmsig_effect_current(cmd, a->env.epoch(a->env.ud), &need);
    if (status == VMSIG_OK)
        status = vmsig_effect_allowed(cmd, need, a->endpoint, a->env.fences(a->env.ud));
    if (status != VMSIG_OK) {
        done(a, e, status, 0);
        return;
    }
    e->detail = need->cls;
    int rc = effect(a, cmd);
    bool open = vmsig_record_started(a->record, e->corr) == e; /* it may have told its result meanwhile */
    if (open && rc <= 0)
        done(a, e, rc < 0 ? vmsig_refusal(-rc) : VMSIG_OK, 0);
}

static void ask(vmsig_actuator *a, vmsig_effect *e, const vmsig_event *cmd) {
    vmsig_lease l;
    memcpy(&l, cmd->inln, sizeof l);
    if (cmd->inln_len != sizeof l || l.op != VMSIG_LEASE_FENCE || l.cls >= VMSIG_LEASE_CLASSES) {
        done(a, e, VMSIG_INVALID, 0);
        return;
    }
    e->detail = l.cls;
    a->fences++;
}

int vmsig_actuator_command(vmsig_actuator *a, const vmsig_event *cmd) {
    vmsig_effect *e;
    if (!vmsig_actuator_flush(a))
        return -EAGAIN;
    int fresh = vmsig_record_begin(a->record, cmd, &e);
    if (fresh == 0)
        return 0;
    if (fresh < 0)
        return a->env.answer(a->env.ud, cmd->kind, (uint32_t)cmd->corr, VMSIG_UNAVAILABLE, 0);
    vmsig_actuator_epoch(a);
    if (cmd->kind == VMSIG_CMD_LEASE)
        ask(a, e, cmd);
    else
        perform(a, e, cmd);
    settle(a);
    return 0;
}

bool vmsig_actuator_result(vmsig_actuator *a, const vmsig_event *result, bool told) {
    vmsig_result r;
    bool sane = result->corr && result->corr <= UINT32_MAX && result->inln_len >= sizeof r;
    vmsig_effect *e = sane ? vmsig_record_started(a->record, (uint32_t)result->corr) : NULL;
    if (!e || is_fence(e))
        return false;
    memcpy(&r, result->inln, sizeof r);
    if (told) {
        vmsig_effect_done(e, (vmsig_status)r.status, r.detail);
        vmsig_effect_answered(e);
    } else {
        done(a, e, (vmsig_status)r.status, r.detail);
    }
    settle(a);
    return true;
}

/* ---- life -------------------------------------------------------------------------------------------- */

/* Nobody knows what became of what was under way. */
static void give_up(vmsig_actuator *a) {
    for (unsigned i = 0; i < VMSIG_RECORD_EFFECTS; i++) {
        vmsig_effect *e = &a->record->effects[i];
        if (e->state == VMSIG_EFFECT_STARTED && !is_fence(e))
            done(a, e, VMSIG_UNKNOWN, 0);
    }
    settle(a);
}

void vmsig_actuator_start(vmsig_actuator *a) {
    for (unsigned i = 0; i < VMSIG_RECORD_EFFECTS; i++) {
        const vmsig_effect *e = &a->record->effects[i];
        a->owed += e->state == VMSIG_EFFECT_DONE;
        a->fences += e->state == VMSIG_EFFECT_STARTED && is_fence(e);
    }
    give_up(a);
    vmsig_actuator_epoch(a);
    vmsig_actuator_flush(a);
}

void vmsig_actuator_end(vmsig_actuator *a) {
    neutral(a);
    give_up(a);
    vmsig_actuator_flush(a);
}

int vmsig_actuator_new(uint32_t endpoint, const vmsig_actuator_env *env, int state_fd, vmsig_actuator **out) {
    vmsig_actuator *a = calloc(1, sizeof *a);
    if (!a)
        return -ENOMEM;
    *a = (vmsig_actuator){.endpoint = endpoint, .env = *env, .state_fd = state_fd};
    int err = vmsig_record_open(state_fd, &a->record);
    if (err < 0) {
        free(a);
        return err;
    }
    *out = a;
    return 0;
}

void vmsig_actuator_free(vmsig_actuator *a) {
    if (!a)
        return;
    vmsig_record_close(a->record, a->state_fd);
    free(a);
}
