#include "schema/caps.h"

#include <errno.h>
#include <string.h>

const vmsig_need vmsig_needs[] = {
    {VMSIG_CMD_INPUT, 0, VMSIG_CAP_INPUT, VMSIG_LEASE_INPUT, "input"},
    {VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_PAUSE, VMSIG_CAP_LIFECYCLE, VMSIG_NO_LEASE, "lifecycle pause"},
    {VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESUME, VMSIG_CAP_LIFECYCLE, VMSIG_NO_LEASE, "lifecycle resume"},
    {VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_WAKEUP, VMSIG_CAP_LIFECYCLE, VMSIG_NO_LEASE, "lifecycle wakeup"},
    {VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_POWERDOWN, VMSIG_CAP_POWER, VMSIG_LEASE_POWER, "lifecycle powerdown"},
    {VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_RESET, VMSIG_CAP_POWER, VMSIG_LEASE_POWER, "lifecycle reset"},
    {VMSIG_CMD_LIFECYCLE, VMSIG_LIFECYCLE_QUIT, VMSIG_CAP_POWER, VMSIG_LEASE_POWER, "lifecycle quit"},
    {VMSIG_CMD_VM, VMSIG_VM_QUERY, VMSIG_CAP_VM, VMSIG_NO_LEASE, "vm query"},
    {VMSIG_CMD_VM, VMSIG_VM_CONT, VMSIG_CAP_VM, VMSIG_NO_LEASE, "vm cont"},
    {VMSIG_CMD_VM, VMSIG_VM_STOP, VMSIG_CAP_VM, VMSIG_NO_LEASE, "vm stop"},
    {VMSIG_CMD_MEMWRITE, 0, VMSIG_CAP_MEMWRITE, VMSIG_LEASE_MEMWRITE, "memwrite"},
    {VMSIG_CMD_LEASE, VMSIG_LEASE_INPUT, VMSIG_CAP_INPUT, VMSIG_NO_LEASE, "lease of input"},
    {VMSIG_CMD_LEASE, VMSIG_LEASE_POWER, VMSIG_CAP_POWER, VMSIG_NO_LEASE, "lease of power"},
    {VMSIG_CMD_LEASE, VMSIG_LEASE_MEMWRITE, VMSIG_CAP_MEMWRITE, VMSIG_NO_LEASE, "lease of memory-write"},
};
const size_t vmsig_needs_n = sizeof vmsig_needs / sizeof vmsig_needs[0];

static const vmsig_need *lookup(uint8_t kind, uint32_t op) {
    for (size_t i = 0; i < vmsig_needs_n; i++)
        if (vmsig_needs[i].kind == kind && vmsig_needs[i].op == op)
            return &vmsig_needs[i];
    return NULL;
}

static const vmsig_need *input_need(const vmsig_event *cmd) {
    if (cmd->payload_len || cmd->inln_len == 0 || cmd->inln_len % sizeof(vmsig_input))
        return NULL;
    for (uint32_t at = 0; at < cmd->inln_len; at += (uint32_t)sizeof(vmsig_input)) {
        vmsig_input in;
        memcpy(&in, cmd->inln + at, sizeof in);
        if (in.type < VMSIG_INPUT_KEY || in.type > VMSIG_INPUT_ABS || in.down > 1)
            return NULL;
    }
    return lookup(VMSIG_CMD_INPUT, 0);
}

/* LIFECYCLE and VM: one u32. */
static const vmsig_need *op_need(const vmsig_event *cmd) {
    uint32_t op;
    if (cmd->payload_len || cmd->inln_len != sizeof op)
        return NULL;
    memcpy(&op, cmd->inln, sizeof op);
    return op ? lookup(cmd->kind, op) : NULL;
}

static const vmsig_need *memwrite_need(const vmsig_event *cmd) {
    vmsig_memwrite w;
    if (cmd->inln_len != sizeof w)
        return NULL;
    memcpy(&w, cmd->inln, sizeof w);
    if (w.size == 0 || (w.flags & ~VMSIG_MEMWRITE_VIRTUAL))
        return NULL;
    return cmd->payload_len == (vmsig_memwrite_atomic(w.size) ? 0 : w.size) ? lookup(VMSIG_CMD_MEMWRITE, 0) : NULL;
}

static const vmsig_need *lease_need(const vmsig_event *cmd) {
    vmsig_lease l;
    if (cmd->payload_len || cmd->inln_len != sizeof l)
        return NULL;
    memcpy(&l, cmd->inln, sizeof l);
    if (l.op < VMSIG_LEASE_ACQUIRE || l.op > VMSIG_LEASE_RELEASE || (l.flags & ~VMSIG_LEASE_QUEUE))
        return NULL;
    return lookup(VMSIG_CMD_LEASE, l.cls);
}

const vmsig_need *vmsig_need_of(const vmsig_event *cmd) {
    switch (cmd->kind) {
    case VMSIG_CMD_INPUT:
        return input_need(cmd);
    case VMSIG_CMD_LIFECYCLE:
    case VMSIG_CMD_VM:
        return op_need(cmd);
    case VMSIG_CMD_MEMWRITE:
        return memwrite_need(cmd);
    case VMSIG_CMD_LEASE:
        return lease_need(cmd);
    default:
        return NULL;
    }
}

vmsig_status vmsig_refusal(int error) {
    bool not_now = error == EAGAIN || error == EBUSY || error == ENOTCONN || error == ENODEV || error == EIO;
    return not_now ? VMSIG_UNAVAILABLE : VMSIG_INVALID;
}

uint32_t vmsig_lease_cap(uint32_t cls) {
    const vmsig_need *n = lookup(VMSIG_CMD_LEASE, cls);
    return n ? n->cap : 0;
}

uint8_t vmsig_lease_kind(uint32_t cls) {
    for (size_t i = 0; i < vmsig_needs_n && cls != VMSIG_NO_LEASE; i++)
        if (vmsig_needs[i].cls == cls)
            return vmsig_needs[i].kind;
    return 0;
}

vmsig_source vmsig_lane_of(uint32_t kind) {
    switch (kind) {
    case VMSIG_CMD_INPUT:
        return VMSIG_SRC_INPUT;
    case VMSIG_CMD_MEMWRITE:
        return VMSIG_SRC_MEMWRITE;
    default:
        return VMSIG_SRC_VMHOST;
    }
}

int vmsig_caps_check(uint32_t caps) {
    return caps & ~VMSIG_CAP_ALL ? -EINVAL : 0; /* ALL has no retired bit */
}
