#include "schema/codec.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "vmsig_memctx.h"

#define FLAGS_ALL  (VMSIG_EVF_RETAIN | VMSIG_EVF_SNAPSHOT)
#define INPUTS_MAX (VMSIG_INLINE_MAX / sizeof(vmsig_input))

static bool is_command(uint32_t kind) {
    return kind >= VMSIG_CMD_INPUT && kind <= VMSIG_CMD_LEASE;
}

static bool kind_exists(uint32_t kind) {
    return (kind >= VMSIG_EV_STATE && kind <= VMSIG_EV_VMHOST) || is_command(kind) ||
           (kind >= VMSIG_EV_SENSOR_FIRST && kind <= VMSIG_EV_SENSOR_LAST);
}

/* ---- bodies: each kind's own pair of functions ----------------------------------------------------------
 * put: the bytes in ev->inln have the right length; get: the oneof's case is the right one. */

typedef struct body_kind {
    Vmsig__Pb__Event__BodyCase body; /* of the oneof */
    uint32_t bytes;                  /* of inln; 0 = put looks for itself */
    int (*put)(const vmsig_event *ev, vmsig_pb_event *out);
    int (*get)(const Vmsig__Pb__Event *pb, vmsig_event *out);
} body_kind;

static void store(vmsig_event *out, const void *body, uint32_t len) {
    memcpy(out->inln, body, len);
    out->inln_len = len;
}

static int put_raw(const vmsig_event *ev, vmsig_pb_event *out) {
    out->e.inln = (ProtobufCBinaryData){.len = ev->inln_len, .data = (uint8_t *)(uintptr_t)ev->inln};
    return 0;
}
static int get_raw(const Vmsig__Pb__Event *pb, vmsig_event *out) {
    if (pb->inln.len > VMSIG_INLINE_MAX)
        return -EINVAL;
    if (pb->inln.len > 0)
        store(out, pb->inln.data, (uint32_t)pb->inln.len);
    return 0;
}

static int put_input(const vmsig_event *ev, vmsig_pb_event *out) {
    size_t n = ev->inln_len / sizeof(vmsig_input);
    if (n == 0 || ev->inln_len % sizeof(vmsig_input) != 0)
        return -EINVAL;
    vmsig__pb__input_group__init(&out->body.input);
    for (size_t i = 0; i < n; i++) {
        vmsig_input in;
        memcpy(&in, ev->inln + i * sizeof in, sizeof in);
        vmsig__pb__input__init(&out->inputs[i]);
        out->inputs[i].type = in.type;
        out->inputs[i].has_down = in.down != 0;
        out->inputs[i].down = in.down;
        out->inputs[i].code = in.code;
        out->inputs[i].has_value = in.value != 0;
        out->inputs[i].value = in.value;
        out->input_ptrs[i] = &out->inputs[i];
    }
    out->body.input.n_inputs = n;
    out->body.input.inputs = out->input_ptrs;
    out->e.input = &out->body.input;
    return 0;
}
static int get_input(const Vmsig__Pb__Event *pb, vmsig_event *out) {
    const Vmsig__Pb__InputGroup *g = pb->input;
    vmsig_input in[INPUTS_MAX];
    if (g->n_inputs == 0 || g->n_inputs > INPUTS_MAX)
        return -EINVAL;
    for (size_t i = 0; i < g->n_inputs; i++) {
        const Vmsig__Pb__Input *p = g->inputs[i];
        if (p->type > UINT8_MAX || p->down > UINT8_MAX || p->code > UINT16_MAX)
            return -EINVAL;
        in[i] = (vmsig_input){
            .type = (uint8_t)p->type, .down = (uint8_t)p->down, .code = (uint16_t)p->code, .value = p->value};
    }
    store(out, in, (uint32_t)(g->n_inputs * sizeof in[0]));
    return 0;
}

static int put_lifecycle(const vmsig_event *ev, vmsig_pb_event *out) {
    vmsig_lifecycle b;
    memcpy(&b, ev->inln, sizeof b);
    vmsig__pb__lifecycle__init(&out->body.lifecycle);
    out->body.lifecycle.op = b.op;
    out->e.lifecycle = &out->body.lifecycle;
    return 0;
}
static int get_lifecycle(const Vmsig__Pb__Event *pb, vmsig_event *out) {
    store(out, &(vmsig_lifecycle){.op = pb->lifecycle->op}, sizeof(vmsig_lifecycle));
    return 0;
}

static int put_vm(const vmsig_event *ev, vmsig_pb_event *out) {
    vmsig_vm b;
    memcpy(&b, ev->inln, sizeof b);
    vmsig__pb__vm__init(&out->body.vm);
    out->body.vm.op = b.op;
    out->e.vm = &out->body.vm;
    return 0;
}
static int get_vm(const Vmsig__Pb__Event *pb, vmsig_event *out) {
    store(out, &(vmsig_vm){.op = pb->vm->op}, sizeof(vmsig_vm));
    return 0;
}

static int put_memwrite(const vmsig_event *ev, vmsig_pb_event *out) {
    vmsig_memwrite b;
    memcpy(&b, ev->inln, sizeof b);
    Vmsig__Pb__Memwrite *w = &out->body.memwrite;
    vmsig__pb__memwrite__init(w);
    w->addr = b.addr;
    w->has_value = b.value != 0;
    w->value = b.value;
    w->size = b.size;
    w->has_flags = b.flags != 0;
    w->flags = b.flags;
    out->e.memwrite = w;
    return 0;
}
static int get_memwrite(const Vmsig__Pb__Event *pb, vmsig_event *out) {
    const Vmsig__Pb__Memwrite *w = pb->memwrite;
    vmsig_memwrite b = {.addr = w->addr, .value = w->value, .size = w->size, .flags = w->flags};
    store(out, &b, sizeof b);
    return 0;
}

static int put_lease(const vmsig_event *ev, vmsig_pb_event *out) {
    vmsig_lease b;
    memcpy(&b, ev->inln, sizeof b);
    Vmsig__Pb__Lease *l = &out->body.lease;
    vmsig__pb__lease__init(l);
    l->op = b.op;
    l->cls = b.cls;
    l->has_ttl_ms = b.ttl_ms != 0;
    l->ttl_ms = b.ttl_ms;
    l->has_flags = b.flags != 0;
    l->flags = b.flags;
    out->e.lease = l;
    return 0;
}
static int get_lease(const Vmsig__Pb__Event *pb, vmsig_event *out) {
    const Vmsig__Pb__Lease *l = pb->lease;
    vmsig_lease b = {.op = l->op, .cls = l->cls, .ttl_ms = l->ttl_ms, .flags = l->flags};
    store(out, &b, sizeof b);
    return 0;
}

static int put_lease_info(const vmsig_event *ev, vmsig_pb_event *out) {
    vmsig_lease_info b;
    memcpy(&b, ev->inln, sizeof b);
    Vmsig__Pb__LeaseInfo *l = &out->body.lease_info;
    vmsig__pb__lease_info__init(l);
    l->state = b.state;
    l->cls = b.cls;
    l->has_holder = b.holder != 0;
    l->holder = b.holder;
    l->has_token = b.token != 0;
    l->token = b.token;
    out->e.lease_info = l;
    return 0;
}
static int get_lease_info(const Vmsig__Pb__Event *pb, vmsig_event *out) {
    const Vmsig__Pb__LeaseInfo *l = pb->lease_info;
    vmsig_lease_info b = {.state = l->state, .cls = l->cls, .holder = l->holder, .token = l->token};
    store(out, &b, sizeof b);
    return 0;
}

static int put_result(const vmsig_event *ev, vmsig_pb_event *out) {
    vmsig_result b;
    memcpy(&b, ev->inln, sizeof b);
    vmsig__pb__result__init(&out->body.result);
    out->body.result.status = b.status;
    out->body.result.has_detail = b.detail != 0;
    out->body.result.detail = b.detail;
    out->e.result = &out->body.result;
    return 0;
}
static int get_result(const Vmsig__Pb__Event *pb, vmsig_event *out) {
    vmsig_result b = {.status = pb->result->status, .detail = pb->result->detail};
    store(out, &b, sizeof b);
    return 0;
}

static int put_lost(const vmsig_event *ev, vmsig_pb_event *out) {
    vmsig_lost b;
    memcpy(&b, ev->inln, sizeof b);
    Vmsig__Pb__Lost *l = &out->body.lost;
    vmsig__pb__lost__init(l);
    l->first = b.first;
    l->last = b.last;
    l->count = b.count;
    l->source = b.source;
    l->why = b.why;
    out->e.lost = l;
    return 0;
}
static int get_lost(const Vmsig__Pb__Event *pb, vmsig_event *out) {
    const Vmsig__Pb__Lost *l = pb->lost;
    vmsig_lost b = {.first = l->first, .last = l->last, .count = l->count, .source = l->source, .why = l->why};
    store(out, &b, sizeof b);
    return 0;
}

static int put_vmhost(const vmsig_event *ev, vmsig_pb_event *out) {
    vmsig_vmhost b;
    memcpy(&b, ev->inln, sizeof b);
    vmsig__pb__vmhost__init(&out->body.vmhost);
    out->body.vmhost.state = b.state;
    out->body.vmhost.has_cause = b.cause != 0;
    out->body.vmhost.cause = b.cause;
    out->e.vmhost = &out->body.vmhost;
    return 0;
}
static int get_vmhost(const Vmsig__Pb__Event *pb, vmsig_event *out) {
    store(out, &(vmsig_vmhost){.state = pb->vmhost->state, .cause = pb->vmhost->cause}, sizeof(vmsig_vmhost));
    return 0;
}

/* On the wire the segments are fields of their own, and no payload goes with them. */
static int put_memctx(const vmsig_event *ev, vmsig_pb_event *out) {
    vmsig_seg segs[VMSIG_SEGS_MAX];
    int n = vmsig_memctx_segs(ev, segs, VMSIG_SEGS_MAX);
    if (n < 0)
        return -EINVAL;
    vmsig_memctx b;
    memcpy(&b, ev->inln, sizeof b);
    Vmsig__Pb__Memctx *m = &out->body.memctx;
    vmsig__pb__memctx__init(m);
    m->root = b.root;
    m->cr0 = b.cr0;
    m->cr4 = b.cr4;
    m->efer = b.efer;
    m->low = b.low;
    m->ram_id = b.ram_id;
    m->has_vcpu = b.vcpu != 0;
    m->vcpu = b.vcpu;
    m->has_cpl = b.cpl != 0;
    m->cpl = b.cpl;
    m->has_flags = b.flags != 0;
    m->flags = b.flags;
    for (int i = 0; i < n; i++) {
        vmsig__pb__segment__init(&out->segs[i]);
        out->segs[i].gpa = segs[i].gpa;
        out->segs[i].len = segs[i].len;
        out->segs[i].off = segs[i].off;
        out->seg_ptrs[i] = &out->segs[i];
    }
    m->n_segs = (size_t)n;
    m->segs = out->seg_ptrs;
    out->e.memctx = m;
    return 0;
}
static int get_memctx(const Vmsig__Pb__Event *pb, vmsig_event *out) {
    const Vmsig__Pb__Memctx *m = pb->memctx;
    vmsig_seg segs[VMSIG_SEGS_MAX];
    if (m->n_segs > VMSIG_SEGS_MAX || m->vcpu > UINT16_MAX || m->cpl > UINT8_MAX || m->flags > UINT8_MAX ||
        pb->has_payload || pb->payload_fd != 0)
        return -EINVAL;
    for (size_t i = 0; i < m->n_segs; i++)
        segs[i] = (vmsig_seg){.gpa = m->segs[i]->gpa, .len = m->segs[i]->len, .off = m->segs[i]->off};
    vmsig_memctx b = {.root = m->root,
                      .cr0 = m->cr0,
                      .cr4 = m->cr4,
                      .efer = m->efer,
                      .low = m->low,
                      .ram_id = m->ram_id,
                      .vcpu = (uint16_t)m->vcpu,
                      .cpl = (uint8_t)m->cpl,
                      .flags = (uint8_t)m->flags};
    return vmsig_memctx_pack(out, &b, segs, (int)m->n_segs) < 0 ? -errno : 0;
}

static const body_kind bodies[] = {
    [VMSIG_EV_MEMCTX] = {VMSIG__PB__EVENT__BODY_MEMCTX, 0, put_memctx, get_memctx},
    [VMSIG_EV_LOST] = {VMSIG__PB__EVENT__BODY_LOST, sizeof(vmsig_lost), put_lost, get_lost},
    [VMSIG_EV_RESULT] = {VMSIG__PB__EVENT__BODY_RESULT, sizeof(vmsig_result), put_result, get_result},
    [VMSIG_EV_LEASE] = {VMSIG__PB__EVENT__BODY_LEASE_INFO, sizeof(vmsig_lease_info), put_lease_info, get_lease_info},
    [VMSIG_EV_VMHOST] = {VMSIG__PB__EVENT__BODY_VMHOST, sizeof(vmsig_vmhost), put_vmhost, get_vmhost},
    [VMSIG_CMD_INPUT] = {VMSIG__PB__EVENT__BODY_INPUT, 0, put_input, get_input},
    [VMSIG_CMD_LIFECYCLE] = {VMSIG__PB__EVENT__BODY_LIFECYCLE, sizeof(vmsig_lifecycle), put_lifecycle, get_lifecycle},
    [VMSIG_CMD_VM] = {VMSIG__PB__EVENT__BODY_VM, sizeof(vmsig_vm), put_vm, get_vm},
    [VMSIG_CMD_MEMWRITE] = {VMSIG__PB__EVENT__BODY_MEMWRITE, sizeof(vmsig_memwrite), put_memwrite, get_memwrite},
    [VMSIG_CMD_LEASE] = {VMSIG__PB__EVENT__BODY_LEASE, sizeof(vmsig_lease), put_lease, get_lease},
};

/* Kinds without a body of their own, a sensor's among them, carry plain bytes. */
static const body_kind raw_body = {VMSIG__PB__EVENT__BODY_INLN, 0, put_raw, get_raw};

static const body_kind *body_of(uint32_t kind) {
    return kind < sizeof bodies / sizeof bodies[0] && bodies[kind].put ? &bodies[kind] : &raw_body;
}

/* ---- the event ------------------------------------------------------------------------------------------ */

static void put_head(const vmsig_event *ev, Vmsig__Pb__Event *e) {
    e->has_seq = (e->seq = ev->seq) != 0;
    e->has_ts_ns = (e->ts_ns = ev->ts_ns) != 0;
    e->has_corr = (e->corr = ev->corr) != 0;
    e->has_token = (e->token = ev->token) != 0;
    e->has_endpoint = (e->endpoint = ev->endpoint) != 0;
    e->has_epoch = (e->epoch = ev->epoch) != 0;
    e->has_merged = (e->merged = ev->merged) != 1;
    e->has_flags = (e->flags = ev->flags) != 0;
    e->has_source = (e->source = ev->source) != 0;
    e->has_dir = (e->dir = ev->dir) != 0;
    e->has_prio = (e->prio = ev->prio) != 0;
    e->kind = ev->kind;
}

static bool head_ok(uint32_t kind, uint32_t dir, uint32_t source, uint32_t prio, uint32_t endpoint, uint32_t flags) {
    return kind_exists(kind) && dir == (is_command(kind) ? VMSIG_DIR_DOWN : VMSIG_DIR_UP) &&
           source < VMSIG_SOURCES_MAX && prio <= VMSIG_PRIO_URGENT && endpoint < VMSIG_ENDPOINTS_MAX &&
           (flags & ~FLAGS_ALL) == 0;
}

bool vmsig_codec_head_ok(const vmsig_event *ev) {
    return head_ok(ev->kind, ev->dir, ev->source, ev->prio, ev->endpoint, ev->flags);
}

bool vmsig_codec_plain(uint32_t kind) {
    return body_of(kind) == &raw_body;
}

int vmsig_event_to_pb(const vmsig_event *ev, vmsig_pb_event *out) {
    if (!vmsig_codec_head_ok(ev) || ev->inln_len > VMSIG_INLINE_MAX || ev->payload_len > VMSIG_PAYLOAD_MAX ||
        (ev->payload_len && !ev->payload))
        return -EINVAL;
    const body_kind *b = body_of(ev->kind);
    if (b->bytes != 0 && b->bytes != ev->inln_len)
        return -EINVAL;

    vmsig__pb__event__init(&out->e);
    put_head(ev, &out->e);
    if (b != &raw_body || ev->inln_len > 0) {
        out->e.body_case = b->body;
        int err = b->put(ev, out);
        if (err < 0)
            return err;
    }
    if (ev->payload_len > 0 && ev->kind != VMSIG_EV_MEMCTX) {
        out->e.has_payload = 1;
        out->e.payload = (ProtobufCBinaryData){.len = ev->payload_len, .data = ev->payload};
    }
    return 0;
}

static int get_payload(const Vmsig__Pb__Event *pb, vmsig_event *out) {
    if (!pb->has_payload || pb->payload.len == 0)
        return 0;
    out->payload = malloc(pb->payload.len);
    if (!out->payload)
        return -ENOMEM;
    memcpy(out->payload, pb->payload.data, pb->payload.len);
    out->payload_len = (uint32_t)pb->payload.len;
    return 0;
}

int vmsig_event_from_pb(const Vmsig__Pb__Event *pb, vmsig_event *out) {
    memset(out, 0, sizeof *out);
    uint32_t dir = pb->has_dir ? pb->dir : is_command(pb->kind) ? VMSIG_DIR_DOWN : VMSIG_DIR_UP;
    if (!head_ok(pb->kind, dir, pb->source, pb->prio, pb->endpoint, pb->flags) ||
        (pb->has_payload && (pb->payload.len > VMSIG_PAYLOAD_MAX || pb->payload_fd != 0)) ||
        pb->payload_fd > VMSIG_PAYLOAD_MAX)
        return -EINVAL;
    const body_kind *b = body_of(pb->kind);
    bool bare = b == &raw_body && pb->body_case == VMSIG__PB__EVENT__BODY__NOT_SET;
    if (!bare && pb->body_case != b->body)
        return -EINVAL;

    out->seq = pb->seq;
    out->ts_ns = pb->ts_ns;
    out->corr = pb->corr;
    out->token = pb->token;
    out->endpoint = pb->endpoint;
    out->epoch = pb->epoch;
    out->merged = pb->merged;
    out->flags = pb->flags;
    out->source = (uint8_t)pb->source;
    out->dir = (uint8_t)dir;
    out->prio = (uint8_t)pb->prio;
    out->kind = (uint8_t)pb->kind;
    int err = bare ? 0 : b->get(pb, out);
    return err < 0 ? err : get_payload(pb, out);
}
