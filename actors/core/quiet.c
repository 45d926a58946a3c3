/* quiet.c: what a host does for itself, done for sources that are none: a lease passes on only when no effect of its
 * class is under way, and no key is held that the former holder pressed.
 *
 *   FENCE ──► [commands of the class without a result?] ──none──► held keys let go ──► answer: quiet
 *                └── the last one's RESULT goes up ──┘
 *
 * How long that may take is bounded by the gate, which closes the class then. The core's thread only.
 */
#include <errno.h>
#include <string.h>

#include "actors/core/core_impl.h"
#include "schema/caps.h"

#define GROUP 14u /* keys that one command lets go of */
_Static_assert(GROUP * sizeof(vmsig_input) <= VMSIG_INLINE_MAX, "a group fits");

static void note_key(vmsig_core_quiet *q, const vmsig_input *in) {
    uint64_t bit = 1ull << (in->code % 64);
    if ((in->type != VMSIG_INPUT_KEY && in->type != VMSIG_INPUT_BTN) || in->code >= VMSIG_CORE_KEYS)
        return;
    q->button[in->code / 64] =
        in->type == VMSIG_INPUT_BTN ? q->button[in->code / 64] | bit : q->button[in->code / 64] & ~bit;
    q->held[in->code / 64] = in->down ? q->held[in->code / 64] | bit : q->held[in->code / 64] & ~bit;
}

bool vmsig_core_quiet_room(const vmsig_core *core, uint32_t endpoint) {
    return core->endpoint[endpoint].quiet.open_n < VMSIG_CORE_OPEN;
}

void vmsig_core_quiet_sent(const vmsig_core_source *s, const vmsig_event *cmd, uint32_t cls, bool open) {
    vmsig_core_quiet *q = &s->core->endpoint[cmd->endpoint].quiet;
    for (uint32_t at = 0; cmd->kind == VMSIG_CMD_INPUT && at + sizeof(vmsig_input) <= cmd->inln_len;) {
        vmsig_input in;
        memcpy(&in, cmd->inln + at, sizeof in);
        note_key(q, &in);
        at += (uint32_t)sizeof in;
    }
    if (open && cls < VMSIG_LEASE_CLASSES && q->open_n < VMSIG_CORE_OPEN)
        q->open[q->open_n++] = (vmsig_core_open){.by = s, .corr = cmd->corr, .cls = cls};
}

/* The next group of held keys, from *code on: how many. */
static uint32_t next_group(const vmsig_core_quiet *q, uint32_t *code, vmsig_input group[GROUP]) {
    uint32_t n = 0;
    for (; *code < VMSIG_CORE_KEYS && n < GROUP; ++*code) {
        uint64_t bit = 1ull << (*code % 64);
        if (!(q->held[*code / 64] & bit))
            continue;
        group[n++] = (vmsig_input){.type = q->button[*code / 64] & bit ? VMSIG_INPUT_BTN : VMSIG_INPUT_KEY,
                                   .code = (uint16_t)*code};
    }
    return n;
}

/* false: the source does not take it. */
static bool neutral(vmsig_core *core, uint32_t endpoint) {
    vmsig_core_quiet *q = &core->endpoint[endpoint].quiet;
    vmsig_core_source *s = vmsig_core_taker(core, endpoint, VMSIG_CMD_INPUT);
    vmsig_input group[GROUP];
    bool taken = true;
    for (uint32_t code = 0, n; s && taken && (n = next_group(q, &code, group)) > 0;) {
        vmsig_event cmd = {.kind = VMSIG_CMD_INPUT,
                           .source = VMSIG_SRC_INPUT,
                           .dir = VMSIG_DIR_DOWN,
                           .endpoint = endpoint,
                           .epoch = vmsig_core_epoch(core, endpoint),
                           .merged = 1,
                           .ts_ns = vmsig_now_ns(),
                           .inln_len = n * (uint32_t)sizeof *group};
        memcpy(cmd.inln, group, cmd.inln_len);
        taken = s->ops->command(s->src, &cmd) >= 0;
        if (taken)
            vmsig_core_quiet_sent(s, &cmd, VMSIG_LEASE_INPUT, false);
    }
    return taken;
}

static void settle(vmsig_core *core, uint32_t endpoint, uint32_t cls) {
    vmsig_core_quiet *q = &core->endpoint[endpoint].quiet;
    if (q->fence[cls].corr == 0)
        return;
    for (uint32_t i = 0; i < q->open_n; i++)
        if (q->open[i].cls == cls)
            return;
    const vmsig_event fence = q->fence[cls];
    q->fence[cls].corr = 0;
    bool quiet = cls != VMSIG_LEASE_INPUT || neutral(core, endpoint);
    vmsig_core_answer(core, &fence, quiet ? VMSIG_OK : VMSIG_TIMEOUT, 0);
}

void vmsig_core_quiet_ask(vmsig_core *core, const vmsig_event *cmd) {
    vmsig_lease l;
    memcpy(&l, cmd->inln, sizeof l);
    if (cmd->inln_len != sizeof l || l.cls >= VMSIG_LEASE_CLASSES) {
        vmsig_core_answer(core, cmd, VMSIG_INVALID, 0);
        return;
    }
    core->endpoint[cmd->endpoint].quiet.fence[l.cls] = *cmd;
    settle(core, cmd->endpoint, l.cls);
}

void vmsig_core_quiet_result(vmsig_core *core, const vmsig_event *result) {
    vmsig_core_quiet *q = &core->endpoint[result->endpoint].quiet;
    for (uint32_t i = 0; i < q->open_n; i++) {
        uint32_t cls = q->open[i].cls;
        if (q->open[i].corr != result->corr)
            continue;
        q->open[i] = q->open[--q->open_n];
        settle(core, result->endpoint, cls);
        return;
    }
}

void vmsig_core_quiet_gone(const vmsig_core_source *s) {
    vmsig_core *core = s->core;
    uint32_t endpoint = s->info.endpoint;
    vmsig_core_quiet *q = &core->endpoint[endpoint].quiet;
    for (uint32_t i = 0; i < q->open_n;)
        if (q->open[i].by == s)
            q->open[i] = q->open[--q->open_n];
        else
            i++;
    if (s->info.accepts & 1u) /* it took input */
        memset(q->held, 0, sizeof q->held);
    for (uint32_t cls = 0; cls < VMSIG_LEASE_CLASSES; cls++)
        settle(core, endpoint, cls);
}

void vmsig_core_quiet_epoch(vmsig_core *core, uint32_t endpoint) {
    neutral(core, endpoint);
}
