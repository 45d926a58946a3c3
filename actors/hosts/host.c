#include "actors/hosts/host.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/hosts/memwrite.h"
#include "actors/hosts/writes.h"
#include "actors/runtime/actuator.h"
#include "actors/runtime/record.h"
#include "rings/atomics.h"

/* What has to be told and could not be emitted yet; emitted in this order. */
typedef enum owed { OWED_INVALID = 1, OWED_STATE = 2, OWED_MEMCTX = 4 } owed;

struct vmsig_host {
    uint32_t endpoint;
    const vmsig_host_backend *backend;
    void *vm;
    vmsig_host_env env;
    vmsig_record *record;
    int (*emit)(void *token, vmsig_event *ev);
    void *emit_token;
    bool started, failed;

    vmsig_vmhost state;
    vmsig_memctx ctx;
    bool ctx_valid;
    vmsig_seg segs[VMSIG_SEGS_MAX];
    int segs_n;
    vmsig_guest ram; /* its segs point to those below */
    vmsig_seg ram_segs[VMSIG_SEGS_MAX];

    unsigned owed;         /* owed bits */
    unsigned results_owed; /* effects that are DONE and not ANSWERED */
    bool neutral_owed;     /* held keys could not be let go while the VM stood still */

    vmsig_writes writes; /* that wait for the VM to stand still */
    bool holding;        /* it was asked to, and has not gone on yet */
};

/* ---- telling ----------------------------------------------------------------------------------------- */

static vmsig_event new_event(const vmsig_host *h, vmsig_source source, vmsig_kind kind, vmsig_prio prio) {
    return (vmsig_event){.endpoint = h->endpoint,
                         .epoch = vmsig_host_epoch(h),
                         .merged = 1,
                         .source = (uint8_t)source,
                         .dir = VMSIG_DIR_UP,
                         .prio = (uint8_t)prio,
                         .kind = (uint8_t)kind};
}

/* true = it is out. What the transport will never take is logged and counts as out: to owe it for ever would stop all
 * that comes after. */
static bool emit(vmsig_host *h, vmsig_event *ev) {
    if (h->emit && h->emit(h->emit_token, ev) >= 0)
        return true;
    bool later = !h->emit || errno == EAGAIN || errno == ENOMEM;
    if (!later)
        vmsig_host_log(h, "an event of kind %u could not be emitted: %s", ev->kind, strerror(errno));
    free(ev->payload);
    return !later;
}

static bool tell_invalid(vmsig_host *h) {
    vmsig_event ev = new_event(h, VMSIG_SRC_MEMCTX, VMSIG_EV_MEMCTX_INVALID, VMSIG_PRIO_URGENT);
    return emit(h, &ev);
}

static bool tell_state(vmsig_host *h) {
    vmsig_event ev = new_event(h, VMSIG_SRC_VMHOST, VMSIG_EV_VMHOST, VMSIG_PRIO_HIGH);
    ev.flags = VMSIG_EVF_RETAIN;
    ev.inln_len = sizeof h->state;
    memcpy(ev.inln, &h->state, sizeof h->state);
    return emit(h, &ev);
}

static bool tell_memctx(vmsig_host *h) {
    vmsig_event ev = new_event(h, VMSIG_SRC_MEMCTX, VMSIG_EV_MEMCTX, VMSIG_PRIO_HIGH);
    ev.flags = VMSIG_EVF_RETAIN;
    return vmsig_memctx_pack(&ev, &h->ctx, h->segs, h->segs_n) == 0 && emit(h, &ev);
}

/* The answer to a fence is what a preemption waits for. */
static bool tell_result(vmsig_host *h, uint32_t kind, uint32_t corr, int32_t status, uint64_t detail) {
    vmsig_prio prio = kind == VMSIG_CMD_LEASE ? VMSIG_PRIO_URGENT : VMSIG_PRIO_HIGH;
    vmsig_event ev = new_event(h, vmsig_lane_of(kind), VMSIG_EV_RESULT, prio);
    vmsig_result r = {.status = status, .detail = detail};
    ev.corr = corr;
    ev.inln_len = sizeof r;
    memcpy(ev.inln, &r, sizeof r);
    return emit(h, &ev);
}

static bool answer(vmsig_host *h, vmsig_effect *e) {
    if (!tell_result(h, e->kind, e->corr, e->status, e->detail))
        return false;
    vmsig_effect_answered(e);
    h->results_owed--;
    return true;
}

static bool settle(vmsig_host *h, owed what, bool (*tell)(vmsig_host *h)) {
    if ((h->owed & what) && tell(h))
        h->owed &= ~(unsigned)what;
    return !(h->owed & what);
}

bool vmsig_host_flush(vmsig_host *h) {
    if (!settle(h, OWED_INVALID, tell_invalid) || !settle(h, OWED_STATE, tell_state) ||
        !settle(h, OWED_MEMCTX, tell_memctx))
        return false;
    for (unsigned i = 0; h->results_owed > 0 && i < VMSIG_RECORD_EFFECTS; i++)
        if (h->record->effects[i].state == VMSIG_EFFECT_DONE && !answer(h, &h->record->effects[i]))
            return false;
    return true;
}

void vmsig_host_log(const vmsig_host *h, const char *fmt, ...) {
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (h->env.log)
        h->env.log(h->env.ud, text);
}

void vmsig_host_remark(const vmsig_host *h, const char *text) {
    if (h->env.remark)
        h->env.remark(h->env.ud, text);
}

/* ---- input: what is held, and the neutral state ------------------------------------------------------ */

static bool input_valid(const vmsig_input *in) {
    switch (in->type) {
    case VMSIG_INPUT_KEY:
    case VMSIG_INPUT_BTN:
        return in->code < KEY_CNT;
    case VMSIG_INPUT_REL:
        return in->code < REL_CNT;
    case VMSIG_INPUT_ABS:
        return in->code < ABS_CNT && in->value >= 0 && in->value <= 32767;
    default:
        return false;
    }
}

static int send_input(vmsig_host *h, uint32_t corr, const vmsig_input *in, uint32_t n) {
    vmsig_record_note(h->record, in, n, 1);
    int status = h->backend->input(h->vm, corr, in, n);
    if (status == VMSIG_OK || status == VMSIG_HOST_LATER)
        vmsig_record_note(h->record, in, n, 0);
    return status;
}

/* Lets go of everything that is held. A VM that stands still takes no input: then it is done before it goes on. */
static void neutral(vmsig_host *h) {
    vmsig_input group[VMSIG_GROUP_MAX];
    uint32_t n;
    h->neutral_owed = false;
    for (uint32_t code = 0; !h->neutral_owed && (n = vmsig_record_releases(h->record, &code, group)) > 0;) {
        int status = send_input(h, 0, group, n);
        h->neutral_owed = status != VMSIG_OK && status != VMSIG_HOST_LATER;
    }
}

/* ---- the gate, and what is behind it ----------------------------------------------------------------- */

static bool is_fence(const vmsig_event *cmd, vmsig_lease *l) {
    if (cmd->kind != VMSIG_CMD_LEASE || cmd->inln_len != sizeof *l)
        return false;
    memcpy(l, cmd->inln, sizeof *l);
    return l->op == VMSIG_LEASE_FENCE && l->cls < VMSIG_LEASE_CLASSES;
}

/* May the effect of cmd start now? */
static vmsig_status gate(const vmsig_host *h, const vmsig_event *cmd) {
    const vmsig_need *need;
    vmsig_status status = vmsig_effect_current(cmd, vmsig_host_epoch(h), &need);
    if (status != VMSIG_OK)
        return status;
    if ((h->state.state == VMSIG_VM_DOWN || h->failed) && !(cmd->kind == VMSIG_CMD_VM && need->op == VMSIG_VM_QUERY))
        return VMSIG_UNAVAILABLE;
    return vmsig_effect_allowed(cmd, need, h->endpoint, h->env.fences ? h->env.fences(h->env.ud) : NULL);
}

static int do_input(vmsig_host *h, const vmsig_event *cmd) {
    vmsig_input in[VMSIG_GROUP_MAX];
    uint32_t n = cmd->inln_len / (uint32_t)sizeof *in;
    memcpy(in, cmd->inln, n * sizeof *in);
    for (uint32_t i = 0; i < n; i++)
        if (!input_valid(&in[i]) || (h->backend->knows && !h->backend->knows(h->vm, &in[i])))
            return VMSIG_INVALID;
    return h->backend->input ? send_input(h, (uint32_t)cmd->corr, in, n) : VMSIG_INVALID;
}

static int do_lifecycle(vmsig_host *h, uint32_t corr, uint32_t op) {
    return h->backend->lifecycle ? h->backend->lifecycle(h->vm, corr, op) : VMSIG_INVALID;
}

static int do_vm(vmsig_host *h, uint32_t corr, uint32_t op, uint64_t *detail) {
    if (op == VMSIG_VM_STOP)
        return do_lifecycle(h, corr, VMSIG_LIFECYCLE_PAUSE);
    if (op == VMSIG_VM_CONT)
        return do_lifecycle(h, corr, VMSIG_LIFECYCLE_RESUME);
    *detail = h->state.state;
    return h->backend->query && h->state.state != VMSIG_VM_DOWN ? h->backend->query(h->vm, corr, detail) : VMSIG_OK;
}

static const vmsig_memctx *ctx_of(const vmsig_host *h) {
    return h->ctx_valid ? &h->ctx : NULL;
}

static vmsig_status write_now(vmsig_host *h, const vmsig_event *cmd) {
    vmsig_memwrite w;
    memcpy(&w, cmd->inln, sizeof w);
    return vmsig_guest_write(&h->ram, ctx_of(h), &w, cmd->payload);
}

static int hold(vmsig_host *h) {
    int status = h->backend->hold(h->vm);
    h->holding = status == VMSIG_HOST_LATER;
    return status;
}

/* More than one store: the VM has to stand still. What cannot be done at all does not stop it. */
static int write_held(vmsig_host *h, const vmsig_event *cmd, const vmsig_memwrite *w) {
    vmsig_status s = vmsig_guest_check(&h->ram, ctx_of(h), w);
    if (s != VMSIG_OK || !h->backend->hold)
        return (int)(s != VMSIG_OK ? s : VMSIG_INVALID);
    int status = h->holding ? VMSIG_HOST_LATER : hold(h);
    if (status == VMSIG_HOST_LATER)
        return vmsig_writes_put(&h->writes, cmd) < 0 ? (int)VMSIG_UNAVAILABLE : status;
    return status == VMSIG_OK ? (int)write_now(h, cmd) : status;
}

/* No write overtakes one that waits. */
static int do_memwrite(vmsig_host *h, const vmsig_event *cmd) {
    vmsig_memwrite w;
    memcpy(&w, cmd->inln, sizeof w);
    bool running = h->state.state == VMSIG_VM_RUNNING;
    if (!vmsig_memwrite_atomic(w.size) && (running || h->writes.n > 0))
        return write_held(h, cmd, &w);
    if (h->writes.n == 0)
        return (int)write_now(h, cmd);
    return vmsig_writes_put(&h->writes, cmd) < 0 ? (int)VMSIG_UNAVAILABLE : VMSIG_HOST_LATER;
}

static int do_fence(vmsig_host *h, uint32_t corr, vmsig_lease_class cls) {
    if (h->state.state == VMSIG_VM_DOWN)
        return VMSIG_OK;
    if (cls == VMSIG_LEASE_INPUT && h->backend->input)
        neutral(h);
    return h->backend->quiet ? h->backend->quiet(h->vm, corr, cls) : VMSIG_OK;
}

static int perform(vmsig_host *h, const vmsig_event *cmd, uint64_t *detail) {
    uint32_t op = 0;
    memcpy(&op, cmd->inln, sizeof op); /* the first word of LIFECYCLE and VM */
    switch (cmd->kind) {
    case VMSIG_CMD_INPUT:
        return do_input(h, cmd);
    case VMSIG_CMD_LIFECYCLE:
        return do_lifecycle(h, (uint32_t)cmd->corr, op);
    case VMSIG_CMD_VM:
        return do_vm(h, (uint32_t)cmd->corr, op, detail);
    case VMSIG_CMD_MEMWRITE:
        return do_memwrite(h, cmd);
    default:
        return VMSIG_INVALID;
    }
}

void vmsig_host_done(vmsig_host *h, uint32_t corr, vmsig_status status, uint64_t detail) {
    vmsig_effect *e = vmsig_record_started(h->record, corr);
    if (!e)
        return; /* the host's own, or answered already */
    vmsig_effect_done(e, status, detail);
    h->results_owed++;
    if (!h->owed)
        answer(h, e);
}

static int command(void *src, const vmsig_event *cmd) {
    vmsig_host *h = src;
    vmsig_effect *e;
    vmsig_lease l;
    if (!h->started || !vmsig_host_flush(h)) {
        errno = EAGAIN;
        return -1;
    }
    int fresh = vmsig_record_begin(h->record, cmd, &e);
    if (fresh == 0)
        return 1;
    if (fresh < 0) {
        errno = EAGAIN;
        return tell_result(h, cmd->kind, (uint32_t)cmd->corr, VMSIG_UNAVAILABLE, 0) ? 1 : -1;
    }
    uint64_t detail = 0;
    bool fence = is_fence(cmd, &l);
    if (fence)
        e->detail = l.cls;
    int status = fence ? VMSIG_OK : (int)gate(h, cmd);
    if (status == VMSIG_OK)
        status = fence ? do_fence(h, e->corr, (vmsig_lease_class)l.cls) : perform(h, cmd, &detail);
    if (status != VMSIG_HOST_LATER)
        vmsig_host_done(h, e->corr, (vmsig_status)status, detail);
    return 1;
}

/* ---- for backends ------------------------------------------------------------------------------------ */

/* Those that were done; written is what one is answered that went well. */
static void answer_writes(vmsig_host *h, vmsig_status written) {
    uint32_t corr;
    vmsig_status status;
    while (vmsig_writes_take(&h->writes, &corr, &status))
        vmsig_host_done(h, corr, status == VMSIG_OK ? written : status, 0);
}

/* The last look of the gate is now, when the effect starts. */
void vmsig_host_held(vmsig_host *h, vmsig_status status) {
    for (unsigned i = 0; i < h->writes.n; i++) {
        vmsig_write *w = &h->writes.w[i];
        if (w->done)
            continue;
        vmsig_status allowed = gate(h, &w->cmd);
        w->status = status != VMSIG_OK ? status : allowed != VMSIG_OK ? allowed : write_now(h, &w->cmd);
        w->done = true;
    }
    if (status != VMSIG_OK)
        answer_writes(h, status);
}

void vmsig_host_let_go(vmsig_host *h, vmsig_status status) {
    answer_writes(h, status);
    h->holding = false;
    int held = h->writes.n > 0 ? hold(h) : VMSIG_HOST_LATER;
    if (held == VMSIG_HOST_LATER)
        return;
    vmsig_host_held(h, (vmsig_status)held);
    answer_writes(h, VMSIG_OK);
}

uint64_t vmsig_host_note(const vmsig_host *h) {
    return h->record->note;
}

void vmsig_host_set_note(vmsig_host *h, uint64_t note) {
    vmsig_store64_release(&h->record->note, note);
}

uint32_t vmsig_host_epoch(const vmsig_host *h) {
    return h->env.epoch ? vmsig_epoch_of(vmsig_epoch_word(h->env.epoch)) : 0;
}

void vmsig_host_state(vmsig_host *h, vmsig_vm_state state, uint32_t cause) {
    h->state = (vmsig_vmhost){.state = state, .cause = cause};
    h->owed |= OWED_STATE;
    if (state == VMSIG_VM_RUNNING && h->neutral_owed)
        neutral(h);
    vmsig_host_flush(h);
}

void vmsig_host_epoch_moved(vmsig_host *h, vmsig_vm_state state, uint32_t cause) {
    memset(h->record->held, 0, sizeof h->record->held);
    h->neutral_owed = false;
    h->ctx_valid = false;
    h->owed &= ~(unsigned)OWED_MEMCTX;
    vmsig_epoch_advance(h->env.epoch);
    h->owed |= OWED_INVALID;
    vmsig_host_state(h, state, cause);
}

void vmsig_host_epoch_ended(vmsig_host *h) {
    vmsig_host_epoch_moved(h, (vmsig_vm_state)h->state.state, h->state.cause);
}

void vmsig_host_memctx(vmsig_host *h, const vmsig_memctx *ctx, const vmsig_seg *segs, int n) {
    h->ctx = *ctx;
    h->ctx_valid = true;
    h->segs_n = n < VMSIG_SEGS_MAX ? n : VMSIG_SEGS_MAX;
    memcpy(h->segs, segs, (size_t)h->segs_n * sizeof *segs);
    h->owed |= OWED_MEMCTX;
    vmsig_host_flush(h);
}

int vmsig_host_set_ram(vmsig_host *h, void *base, uint64_t bytes, const vmsig_seg *segs, int n) {
    if (base && vmsig_segs_check(segs, n, bytes) < 0)
        return -EINVAL;
    if (base)
        memcpy(h->ram_segs, segs, (size_t)n * sizeof *segs);
    h->ram = (vmsig_guest){.base = base, .bytes = bytes, .segs = h->ram_segs, .n = base ? n : 0};
    return 0;
}

int vmsig_host_offer_ram(vmsig_host *h, uint32_t ram_id, int ro_fd) {
    return h->env.offer_ram ? h->env.offer_ram(h->env.ud, ram_id, ro_fd) : 0;
}

/* ---- the host as a source ---------------------------------------------------------------------------- */

static int describe(void *src, vmsig_source_info *out) {
    const vmsig_host *h = src;
    *out = (vmsig_source_info){.source = VMSIG_SRC_VMHOST, .endpoint = h->endpoint};
    for (unsigned kind = VMSIG_CMD_INPUT; kind <= VMSIG_CMD_LEASE; kind++)
        out->accepts |= 1u << (kind - VMSIG_CMD_INPUT);
    return 0;
}

static int fd(void *src) {
    vmsig_host *h = src;
    return h->backend->fd ? h->backend->fd(h->vm) : -1;
}

static int on_readable(void *src) {
    vmsig_host *h = src;
    vmsig_host_flush(h);
    int rc = h->failed ? -EIO : h->backend->on_readable ? h->backend->on_readable(h->vm) : 0;
    if (rc < 0)
        errno = -rc;
    return rc < 0 ? -1 : 0;
}

const char *vmsig_host_why(const vmsig_host *h, int err) {
    const char *why = h->backend->why ? h->backend->why(h->vm) : NULL;
    return why && why[0] ? why : strerror(err);
}

/* What a former incarnation left: results that it did not publish, effects of which nobody knows, fences to redo. */
static void recover(vmsig_host *h) {
    for (unsigned i = 0; i < VMSIG_RECORD_EFFECTS; i++) {
        vmsig_effect *e = &h->record->effects[i];
        if (e->state == VMSIG_EFFECT_STARTED && e->kind == VMSIG_CMD_LEASE) {
            int status = do_fence(h, e->corr, (vmsig_lease_class)e->detail);
            if (status != VMSIG_HOST_LATER)
                vmsig_host_done(h, e->corr, (vmsig_status)status, 0);
        } else if (e->state == VMSIG_EFFECT_STARTED) {
            vmsig_host_done(h, e->corr, VMSIG_UNKNOWN, 0);
        }
    }
}

static void start(vmsig_host *h) {
    for (unsigned i = 0; i < VMSIG_RECORD_EFFECTS; i++)
        h->results_owed += h->record->effects[i].state == VMSIG_EFFECT_DONE;
    h->started = true;
    int rc = h->backend->start(h->vm, h);
    if (rc < 0) {
        vmsig_host_log(h, "the VM could not be started: %s", strerror(-rc));
        h->failed = true;
        vmsig_host_state(h, VMSIG_VM_CRASHED, 0);
    }
    recover(h);
    vmsig_host_flush(h);
}

static void set_emit_up(void *src, int (*hook)(void *token, vmsig_event *), void *token) {
    vmsig_host *h = src;
    h->emit = hook;
    h->emit_token = token;
    if (hook && h->env.epoch && !h->started)
        start(h);
}

static void close_host(void *src) {
    vmsig_host *h = src;
    if (h->backend->close)
        h->backend->close(h->vm);
    vmsig_writes_clear(&h->writes);
    vmsig_record_close(h->record, h->env.state_fd);
    free(h);
}

const vmsig_source_ops *vmsig_host_source_ops(void) {
    static const vmsig_source_ops ops = {.name = "host",
                                         .describe = describe,
                                         .fd = fd,
                                         .on_readable = on_readable,
                                         .set_emit_up = set_emit_up,
                                         .command = command,
                                         .close = close_host};
    return &ops;
}

int vmsig_host_attach(vmsig_host *h, const vmsig_host_env *env) {
    if (h->record || !env->epoch)
        return -EINVAL;
    int rc = vmsig_record_open(env->state_fd, &h->record);
    if (rc < 0)
        return rc;
    h->env = *env;
    return 0;
}

void vmsig_host_answered(vmsig_host *h, uint32_t corr) {
    vmsig_effect *e = &h->record->effects[corr & (VMSIG_RECORD_EFFECTS - 1)];
    if (e->corr == corr && e->state == VMSIG_EFFECT_DONE)
        vmsig_effect_answered(e);
}

vmsig_host *vmsig_host_new(uint32_t endpoint, const vmsig_host_backend *backend, void *vm, const vmsig_host_env *env) {
    vmsig_host *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->endpoint = endpoint;
    h->backend = backend;
    h->vm = vm;
    if (env && vmsig_host_attach(h, env) < 0) {
        free(h);
        return NULL;
    }
    return h;
}
