#include "actors/hosts/record.h"

#include <errno.h>
#include <stdlib.h>

#include "actors/hosts/host.h"
#include "rings/atomics.h"

_Static_assert(sizeof(vmsig_record) <= VMSIG_HOST_STATE_BYTES, "the record must fit the state memfd");

int vmsig_record_open(int state_fd, vmsig_record **out) {
    if (state_fd <= 0) {
        *out = calloc(1, sizeof **out);
        return *out ? 0 : -ENOMEM;
    }
    vmsig_state_head *head;
    bool fresh;
    int rc = vmsig_state_open(state_fd, VMSIG_RECORD_KIND, VMSIG_RECORD_VERSION, sizeof **out, &head, &fresh);
    if (rc < 0)
        return rc;
    *out = (vmsig_record *)head; /* a new memfd is zeroed: every effect FREE */
    if (fresh)
        vmsig_state_commit(head, VMSIG_RECORD_KIND, VMSIG_RECORD_VERSION, sizeof **out);
    return 0;
}

void vmsig_record_close(vmsig_record *r, int state_fd) {
    if (!r)
        return;
    if (state_fd <= 0)
        free(r);
    else
        vmsig_state_close(&r->head);
}

static vmsig_effect *place(vmsig_record *r, uint32_t corr) {
    return &r->effects[corr & (VMSIG_RECORD_EFFECTS - 1)];
}

int vmsig_record_begin(vmsig_record *r, const vmsig_event *cmd, vmsig_effect **e) {
    uint32_t corr = (uint32_t)cmd->corr;
    *e = place(r, corr);
    if ((*e)->state != VMSIG_EFFECT_FREE && (*e)->corr == corr && (*e)->ts_ns == cmd->ts_ns)
        return 0;
    if ((*e)->state == VMSIG_EFFECT_STARTED || (*e)->state == VMSIG_EFFECT_DONE)
        return -EBUSY;
    vmsig_store32_release(&(*e)->state, VMSIG_EFFECT_FREE); /* no mixture of two commands is ever taken for one */
    (*e)->corr = corr;
    (*e)->ts_ns = cmd->ts_ns;
    (*e)->kind = cmd->kind;
    (*e)->detail = 0;
    (*e)->status = VMSIG_UNKNOWN;
    vmsig_store32_release(&(*e)->state, VMSIG_EFFECT_STARTED);
    return 1;
}

vmsig_effect *vmsig_record_started(vmsig_record *r, uint32_t corr) {
    vmsig_effect *e = place(r, corr);
    return e->state == VMSIG_EFFECT_STARTED && e->corr == corr ? e : NULL;
}

void vmsig_effect_done(vmsig_effect *e, vmsig_status status, uint64_t detail) {
    e->status = (int32_t)status;
    e->detail = detail;
    vmsig_store32_release(&e->state, VMSIG_EFFECT_DONE);
}

void vmsig_effect_answered(vmsig_effect *e) {
    vmsig_store32_release(&e->state, VMSIG_EFFECT_ANSWERED);
}
