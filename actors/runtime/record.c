#include "actors/runtime/record.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdbool.h>
#include <stdlib.h>

#include "rings/atomics.h"

_Static_assert(sizeof(vmsig_record) <= VMSIG_RECORD_BYTES, "the record must fit the state memfd");
_Static_assert(VMSIG_KEYS_MAX >= KEY_CNT, "every key has its bit");

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

static void set_bit(uint64_t *map, uint32_t code, bool on) {
    uint64_t bit = 1ull << (code % 64);
    map[code / 64] = on ? map[code / 64] | bit : map[code / 64] & ~bit;
}

void vmsig_record_note(vmsig_record *r, const vmsig_input *in, uint32_t n, uint8_t down) {
    for (uint32_t i = 0; i < n; i++) {
        bool key = in[i].type == VMSIG_INPUT_KEY || in[i].type == VMSIG_INPUT_BTN;
        if (!key || in[i].code >= VMSIG_KEYS_MAX || in[i].down != down)
            continue;
        if (down)
            set_bit(r->button, in[i].code, in[i].type == VMSIG_INPUT_BTN);
        set_bit(r->held, in[i].code, down);
    }
}

uint32_t vmsig_record_releases(const vmsig_record *r, uint32_t *code, vmsig_input group[VMSIG_GROUP_MAX]) {
    uint32_t n = 0;
    for (; *code < VMSIG_KEYS_MAX && n < VMSIG_GROUP_MAX; ++*code) {
        bool button = r->button[*code / 64] >> (*code % 64) & 1;
        if (r->held[*code / 64] >> (*code % 64) & 1)
            group[n++] = (vmsig_input){.type = button ? VMSIG_INPUT_BTN : VMSIG_INPUT_KEY, .code = (uint16_t)*code};
    }
    return n;
}
