/* What programs outside this repository are compiled against: names, values, layouts. A change here breaks them. */
#include <criterion/criterion.h>
#include <stddef.h>

#include "vmsig_actor.h"
#include "vmsig_client.h"
#include "vmsig_core.h"

#define IS(name, value) _Static_assert((name) == (value), #name)
#define TYPE(type, field, of)                                                                                          \
    _Static_assert(_Generic(((type *)0)->field, of : 1, default : 0), #type "." #field " is not " #of)

IS(VMSIG_DIR_UP, 0);
IS(VMSIG_DIR_DOWN, 1);
IS(VMSIG_SRC_SEAM, 0);
IS(VMSIG_SRC_MEMCTX, 1);
IS(VMSIG_SRC_VMHOST, 2);
IS(VMSIG_SRC_INPUT, 3);
IS(VMSIG_SRC_MEMWRITE, 4);
IS(VMSIG_PRIO_DEFAULT, 0);
IS(VMSIG_PRIO_LOW, 1);
IS(VMSIG_PRIO_NORMAL, 2);
IS(VMSIG_PRIO_HIGH, 3);
IS(VMSIG_PRIO_URGENT, 4);
IS(VMSIG_EV_STATE, 1);
IS(VMSIG_EV_MEMCTX, 2);
IS(VMSIG_EV_MEMCTX_INVALID, 3);
IS(VMSIG_EV_EPOCH_END, 4);
IS(VMSIG_EV_LOST, 5);
IS(VMSIG_EV_SNAPSHOT_END, 6);
IS(VMSIG_EV_RESULT, 7);
IS(VMSIG_EV_LEASE, 8);
IS(VMSIG_EV_VMHOST, 9);
IS(VMSIG_CMD_INPUT, 32);
IS(VMSIG_CMD_LIFECYCLE, 33);
IS(VMSIG_CMD_VM, 34);
IS(VMSIG_CMD_MEMWRITE, 35);
IS(VMSIG_CMD_LEASE, 36);
IS(VMSIG_OK, 0);
IS(VMSIG_NOCAP, 1);
IS(VMSIG_NOLEASE, 2);
IS(VMSIG_HELD, 3);
IS(VMSIG_FENCED, 4);
IS(VMSIG_INVALID, 5);
IS(VMSIG_UNAVAILABLE, 6);
IS(VMSIG_DROPPED, 7);
IS(VMSIG_TIMEOUT, 8);
IS(VMSIG_PARTIAL, 9);
IS(VMSIG_UNKNOWN, 10);
IS(VMSIG_INPUT_KEY, 1);
IS(VMSIG_INPUT_BTN, 2);
IS(VMSIG_INPUT_REL, 3);
IS(VMSIG_INPUT_ABS, 4);
IS(VMSIG_LIFECYCLE_PAUSE, 1);
IS(VMSIG_LIFECYCLE_RESUME, 2);
IS(VMSIG_LIFECYCLE_WAKEUP, 3);
IS(VMSIG_LIFECYCLE_POWERDOWN, 16);
IS(VMSIG_LIFECYCLE_RESET, 17);
IS(VMSIG_LIFECYCLE_QUIT, 18);
IS(VMSIG_VM_QUERY, 1);
IS(VMSIG_VM_CONT, 2);
IS(VMSIG_VM_STOP, 3);
IS(VMSIG_MEMWRITE_VIRTUAL, 1);
IS(VMSIG_LEASE_ACQUIRE, 1);
IS(VMSIG_LEASE_RENEW, 2);
IS(VMSIG_LEASE_RELEASE, 3);
IS(VMSIG_LEASE_INPUT, 0);
IS(VMSIG_LEASE_POWER, 1);
IS(VMSIG_LEASE_MEMWRITE, 2);
IS(VMSIG_LEASE_QUEUE, 1);
IS(VMSIG_LEASE_GRANTED, 1);
IS(VMSIG_LEASE_DENIED, 2);
IS(VMSIG_LEASE_REVOKED, 3);
IS(VMSIG_LEASE_QUEUED, 4);
IS(VMSIG_DROP_OLDEST, 0);
IS(VMSIG_DROP_NEWEST, 1);
IS(VMSIG_DROP_BLOCK, 2);
IS(VMSIG_CAP_OBSERVE, 0x1);
IS(VMSIG_CAP_INPUT, 0x2);
IS(VMSIG_CAP_LIFECYCLE, 0x8);
IS(VMSIG_CAP_POWER, 0x20);
IS(VMSIG_CAP_VM, 0x40);
IS(VMSIG_CAP_MEMCTX, 0x80);
IS(VMSIG_CAP_MEMWRITE, 0x100);
IS(VMSIG_ARB_DENY, 0);
IS(VMSIG_ARB_PREEMPT, 1);
IS(VMSIG_ARB_QUEUE, 2);
IS(VMSIG_MEMCTX_COHERENT, 1);
IS(VMSIG_EXIT_DONT_RESTART, 100);

TYPE(vmsig_event, seq, uint64_t);
TYPE(vmsig_event, ts_ns, uint64_t);
TYPE(vmsig_event, corr, uint64_t);
TYPE(vmsig_event, token, uint64_t);
TYPE(vmsig_event, endpoint, uint32_t);
TYPE(vmsig_event, epoch, uint32_t);
TYPE(vmsig_event, merged, uint32_t);
TYPE(vmsig_event, inln_len, uint32_t);
TYPE(vmsig_event, payload_len, uint32_t);
TYPE(vmsig_event, payload, void *);
_Static_assert(sizeof(((vmsig_event *)0)->inln) >= 64 && sizeof(((vmsig_event *)0)->inln[0]) == 1, "inln");

#define AT(type, field, offset) _Static_assert(offsetof(type, field) == (offset), #type "." #field)
#define SIZE(type, size)        _Static_assert(sizeof(type) == (size), #type)

/* Bodies travel between processes as they are. */
SIZE(vmsig_input, 8);
AT(vmsig_input, type, 0);
AT(vmsig_input, down, 1);
AT(vmsig_input, code, 2);
AT(vmsig_input, value, 4);
SIZE(vmsig_lifecycle, 4);
SIZE(vmsig_vm, 4);
SIZE(vmsig_memwrite, 24);
AT(vmsig_memwrite, addr, 0);
AT(vmsig_memwrite, value, 8);
AT(vmsig_memwrite, size, 16);
AT(vmsig_memwrite, flags, 20);
SIZE(vmsig_lease, 16);
AT(vmsig_lease, op, 0);
AT(vmsig_lease, cls, 4);
AT(vmsig_lease, ttl_ms, 8);
AT(vmsig_lease, flags, 12);
SIZE(vmsig_lease_info, 24);
AT(vmsig_lease_info, state, 0);
AT(vmsig_lease_info, cls, 4);
AT(vmsig_lease_info, holder, 8);
AT(vmsig_lease_info, token, 16);
SIZE(vmsig_result, 16);
AT(vmsig_result, status, 0);
AT(vmsig_result, detail, 8);
SIZE(vmsig_lost, 32);
AT(vmsig_lost, first, 0);
AT(vmsig_lost, last, 8);
AT(vmsig_lost, count, 16);
AT(vmsig_lost, source, 24);
AT(vmsig_lost, why, 28);
SIZE(vmsig_seg, 24);
AT(vmsig_memctx, root, 0);
AT(vmsig_memctx, cr0, 8);
AT(vmsig_memctx, cr4, 16);
AT(vmsig_memctx, efer, 24);
AT(vmsig_memctx, low, 32);
AT(vmsig_memctx, ram_id, 40);
AT(vmsig_memctx, vcpu, 44);
AT(vmsig_memctx, cpl, 46);
AT(vmsig_memctx, flags, 47);

/* Initializers without names, as the fields are listed. */
static const vmsig_timing timing = {1, 2, 3, VMSIG_DROP_BLOCK};
static const vmsig_sub sub = {1, 2, 3};
static const vmsig_grant grant = {1, 2, 3, 4};
static const vmsig_source_info info = {VMSIG_SRC_INPUT, 5, 1};

/* Functions by their exact types. */
static vmsig_ctx *(*const ctx_new)(void) = vmsig_ctx_new;
static void (*const ctx_free)(vmsig_ctx *) = vmsig_ctx_free;
static int (*const set_policy)(vmsig_ctx *, vmsig_source, vmsig_dir, vmsig_prio,
                               const vmsig_timing *) = vmsig_ctx_set_policy;
static int (*const submit)(vmsig_ctx *, vmsig_dir, vmsig_event *) = vmsig_ctx_submit;
static int (*const next)(vmsig_ctx *, vmsig_dir, vmsig_event *) = vmsig_ctx_next;
static int (*const timing_fd)(vmsig_ctx *, vmsig_dir) = vmsig_ctx_timing_fd;
static const vmsig_control_ops *(*const inproc_ops)(void) = vmsig_inproc_control_ops;
static void *(*const inproc_new)(const vmsig_inproc_cfg *) = vmsig_inproc_control_new;
static int (*const inproc_send)(void *, vmsig_event *) = vmsig_inproc_send;
static int (*const core_fd)(vmsig_core *) = vmsig_core_fd;
static int (*const core_step)(vmsig_core *, int) = vmsig_core_step;
static int (*const add_control)(vmsig_core *, const vmsig_control_ops *, void *) = vmsig_core_add_control;
static int (*const set_grant)(vmsig_core *, int, const vmsig_grant *) = vmsig_core_set_grant;
static int (*const add_source)(vmsig_core *, const vmsig_source_ops *, void *) = vmsig_core_add_source;
static void (*const set_arbiter)(vmsig_core *, vmsig_arb_policy, void *) = vmsig_core_set_arbiter;
static int (*const bump)(vmsig_core *, uint32_t) = vmsig_core_bump_epoch;
static int (*const publish)(vmsig_core *, uint32_t, const vmsig_memctx *, const vmsig_seg *, int,
                            int) = vmsig_core_publish_memctx;
static int (*const segs)(const vmsig_event *, vmsig_seg *, int) = vmsig_memctx_segs;

Test(contract, fields_stand_in_the_order_in_which_they_are_listed) {
    cr_expect(timing.min_gap_ns == 1 && timing.coalesce_ns == 2 && timing.max_inflight == 3 && timing.drop_policy == 2);
    cr_expect(sub.source_mask == 1 && sub.endpoint_mask == 2 && sub.min_prio == 3);
    cr_expect(grant.principal == 1 && grant.endpoint_mask == 2 && grant.caps == 3 && grant.priority == 4);
    cr_expect(info.source == VMSIG_SRC_INPUT && info.endpoint == 5 && info.accepts == 1);
}

Test(contract, functions_are_there_by_name_and_type) {
    cr_expect(ctx_new && ctx_free && set_policy && submit && next && timing_fd);
    cr_expect(inproc_ops && inproc_new && inproc_send);
    cr_expect(core_fd && core_step && add_control && set_grant && add_source && set_arbiter && bump && publish && segs);
    const vmsig_control_ops *ops = inproc_ops();
    cr_expect(ops->name && ops->fd && ops->subscribe && ops->deliver && ops->on_readable && ops->set_emit_down &&
              ops->close && ops->attach_memctx);
}
