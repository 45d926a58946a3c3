#include "actors/gateway/lease.h"

#include <string.h>

/* What a handler works on. */
typedef struct step {
    vmsig_lease_slot *s;
    const vmsig_slot_in *in;
    uint64_t *next_token;
    vmsig_slot_out *out;
} step;

static vmsig_slot_told *tell(step *t, vmsig_slot_say say, uint32_t corr) {
    vmsig_slot_told *told = &t->out->told[t->out->n++];
    *told = (vmsig_slot_told){.say = say, .corr = corr};
    return told;
}

static void result(step *t, vmsig_status status) {
    tell(t, VMSIG_SAY_RESULT, t->in->corr)->status = (int32_t)status;
}

/* ---- the steps that a transition is made of ---------------------------------------------------------- */

static void hold(step *t, uint64_t session, uint32_t principal, uint32_t corr, uint64_t ttl_ns) {
    vmsig_lease_slot *s = t->s;
    s->state = VMSIG_SLOT_HELD;
    s->session = session;
    s->principal = principal;
    s->token = (*t->next_token)++;
    s->ttl_ns = ttl_ns;
    s->expires_ns = t->in->now_ns + ttl_ns;
    s->fence_corr = 0;
    s->next_corr = 0;
    vmsig_slot_told *told = tell(t, VMSIG_SAY_GRANTED, corr);
    told->session = session;
    told->principal = principal;
    told->token = s->token;
}

static void raise_fence(step *t, vmsig_slot_state state) {
    vmsig_lease_slot *s = t->s;
    s->state = state;
    s->session = 0;
    s->principal = 0;
    s->token = (*t->next_token)++;
    s->fence_corr = 0;
    s->next_corr = 0;
    s->bound_ns = t->in->now_ns + t->in->quiet_ns;
    t->out->line = true;
}

static void revoke(step *t) {
    vmsig_slot_told *told = tell(t, VMSIG_SAY_REVOKED, 0);
    told->session = t->s->session;
    told->principal = t->s->principal;
    told->token = t->s->token;
}

static void be_next(step *t) {
    t->s->next_corr = t->in->corr;
    t->s->next_session = t->in->session;
    t->s->next_principal = t->in->principal;
    t->s->next_ttl_ns = t->in->ttl_ns;
    tell(t, VMSIG_SAY_NEXT, t->in->corr);
}

static void deny(step *t, uint32_t corr, vmsig_status status, uint32_t holder) {
    vmsig_slot_told *told = tell(t, VMSIG_SAY_DENIED, corr);
    told->status = (int32_t)status;
    told->principal = holder;
}

static void deny_or_queue(step *t, uint32_t holder) {
    if (t->in->queue || t->in->decision == VMSIG_ARB_QUEUE)
        tell(t, VMSIG_SAY_QUEUED, t->in->corr)->principal = holder;
    else
        deny(t, t->in->corr, VMSIG_HELD, holder);
}

/* ---- handlers: STATE_event --------------------------------------------------------------------------- */

static void nothing(step *t) {
    (void)t;
}
static void no_lease(step *t) {
    result(t, VMSIG_NOLEASE);
}

static void free_acquire(step *t) {
    hold(t, t->in->session, t->in->principal, t->in->corr, t->in->ttl_ns);
}

static void held_acquire(step *t) {
    vmsig_lease_slot *s = t->s;
    if (s->session == t->in->session) { /* again: the same token, a new term */
        s->ttl_ns = t->in->ttl_ns;
        s->expires_ns = t->in->now_ns + s->ttl_ns;
        vmsig_slot_told *told = tell(t, VMSIG_SAY_GRANTED, t->in->corr);
        told->session = s->session;
        told->principal = s->principal;
        told->token = s->token;
    } else if (t->in->decision == VMSIG_ARB_PREEMPT) {
        revoke(t);
        raise_fence(t, VMSIG_SLOT_FENCING);
        be_next(t);
    } else {
        deny_or_queue(t, s->principal);
    }
}

static void held_renew(step *t) {
    vmsig_lease_slot *s = t->s;
    if (s->session != t->in->session || t->in->now_ns >= s->expires_ns) {
        result(t, VMSIG_NOLEASE);
        return;
    }
    if (t->in->ttl_ns)
        s->ttl_ns = t->in->ttl_ns;
    s->expires_ns = t->in->now_ns + s->ttl_ns;
    tell(t, VMSIG_SAY_RENEWED, t->in->corr)->token = s->token;
}

static void held_release(step *t) {
    if (t->s->session != t->in->session) {
        result(t, VMSIG_NOLEASE);
        return;
    }
    result(t, VMSIG_OK);
    raise_fence(t, VMSIG_SLOT_FENCING);
}

static void held_gone(step *t) {
    if (t->s->session != t->in->session)
        return;
    revoke(t);
    raise_fence(t, VMSIG_SLOT_FENCING);
}

static void held_expired(step *t) {
    if (t->in->now_ns < t->s->expires_ns)
        return;
    revoke(t);
    raise_fence(t, VMSIG_SLOT_FENCING);
}

/* The host itself lets no effect of the old epoch start: nothing has to be drained. */
static void held_epoch(step *t) {
    revoke(t);
    raise_fence(t, VMSIG_SLOT_FREE);
}

static void free_epoch(step *t) {
    t->out->line = true;
}

static void fencing_acquire(step *t) {
    if (t->s->next_corr == 0)
        be_next(t);
    else
        deny_or_queue(t, t->s->next_principal);
}

static void fencing_gone(step *t) {
    if (t->s->next_corr && t->s->next_session == t->in->session) {
        tell(t, VMSIG_SAY_RESULT, t->s->next_corr)->status = VMSIG_DROPPED;
        t->s->next_corr = 0;
        t->out->line = true;
    }
}

static void fencing_epoch(step *t) {
    if (t->s->next_corr)
        deny(t, t->s->next_corr, VMSIG_FENCED, 0);
    raise_fence(t, VMSIG_SLOT_FREE);
}

static void fencing_quiet(step *t) {
    vmsig_lease_slot *s = t->s;
    s->state = VMSIG_SLOT_FREE;
    s->fence_corr = 0;
    if (s->next_corr)
        hold(t, s->next_session, s->next_principal, s->next_corr, s->next_ttl_ns);
    else
        t->out->line = true;
}

/* fence_corr stays: the host's answer may yet come. */
static void fencing_unquiet(step *t) {
    if (t->s->next_corr)
        deny(t, t->s->next_corr, VMSIG_UNAVAILABLE, 0);
    t->s->next_corr = 0;
    t->s->state = VMSIG_SLOT_CLOSED;
    t->out->line = true;
}

static void closed_acquire(step *t) {
    deny(t, t->in->corr, VMSIG_UNAVAILABLE, 0);
}

static void closed_quiet(step *t) {
    t->s->state = VMSIG_SLOT_FREE;
    t->s->fence_corr = 0;
    t->out->line = true;
}

static void closed_epoch(step *t) {
    raise_fence(t, VMSIG_SLOT_FREE);
}

/* clang-format off */
static void (*const table[VMSIG_SLOT_STATES][VMSIG_SLOT_EVENTS])(step *) = {
    /*              ACQUIRE          RENEW       RELEASE       GONE          EXPIRED       EPOCH          QUIET          UNQUIET */
    /* FREE    */ { free_acquire,    no_lease,   no_lease,     nothing,      nothing,      free_epoch,    nothing,       nothing },
    /* HELD    */ { held_acquire,    held_renew, held_release, held_gone,    held_expired, held_epoch,    nothing,       nothing },
    /* FENCING */ { fencing_acquire, no_lease,   no_lease,     fencing_gone, nothing,      fencing_epoch, fencing_quiet, fencing_unquiet },
    /* CLOSED  */ { closed_acquire,  no_lease,   no_lease,     nothing,      nothing,      closed_epoch,  closed_quiet,  nothing },
};
/* clang-format on */

void vmsig_lease_step(vmsig_lease_slot *slot, vmsig_slot_event event, const vmsig_slot_in *in, uint64_t *next_token,
                      vmsig_slot_out *out) {
    step t = {.s = slot, .in = in, .next_token = next_token, .out = out};
    memset(out, 0, sizeof *out);
    table[slot->state][event](&t);
}

vmsig_arb_decision vmsig_arb_default(void *ud, uint32_t endpoint, uint32_t cls, const vmsig_grant *incumbent,
                                     const vmsig_grant *contender) {
    (void)ud;
    (void)endpoint;
    (void)cls;
    return contender->priority > incumbent->priority ? VMSIG_ARB_PREEMPT : VMSIG_ARB_DENY;
}

const char *vmsig_slot_state_name(uint32_t state) {
    static const char *const names[VMSIG_SLOT_STATES] = {"free", "held", "fencing", "closed"};
    return state < VMSIG_SLOT_STATES ? names[state] : "?";
}
