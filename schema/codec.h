/* codec.h: the one codec between a vmsig_event and its protobuf form (event.proto). */
#ifndef VMSIG_CODEC_H
#define VMSIG_CODEC_H

#include <stdbool.h>

#include "event.pb-c.h"
#include "vmsig_event.h"

/* An Event and everything it may point to, so that packing allocates nothing. Borrowed from ev while it is in use. */
typedef struct vmsig_pb_event {
    Vmsig__Pb__Event e;
    union {
        Vmsig__Pb__InputGroup input;
        Vmsig__Pb__Lifecycle lifecycle;
        Vmsig__Pb__Vm vm;
        Vmsig__Pb__Memwrite memwrite;
        Vmsig__Pb__Lease lease;
        Vmsig__Pb__LeaseInfo lease_info;
        Vmsig__Pb__Result result;
        Vmsig__Pb__Lost lost;
        Vmsig__Pb__Memctx memctx;
        Vmsig__Pb__Vmhost vmhost;
    } body;
    Vmsig__Pb__Input inputs[VMSIG_INLINE_MAX / 8];
    Vmsig__Pb__Input *input_ptrs[VMSIG_INLINE_MAX / 8];
    Vmsig__Pb__Segment segs[64];
    Vmsig__Pb__Segment *seg_ptrs[64];
} vmsig_pb_event;

/* 0, or -EINVAL: the body does not fit its kind. */
int vmsig_event_to_pb(const vmsig_event *ev, vmsig_pb_event *out);
/* 0, -EINVAL (a field out of range, a body that is not its kind's), -ENOMEM. The payload is malloc'ed, the caller's. */
int vmsig_event_from_pb(const Vmsig__Pb__Event *pb, vmsig_event *out);

/* Whether a kind's body is plain bytes on the wire, and whether an event's fields but its body are in range. */
bool vmsig_codec_plain(uint32_t kind);
bool vmsig_codec_head_ok(const vmsig_event *ev);

/* Names for people: "memctx", "input"...; numbers as text are answered for a sensor's own kinds (a static buffer per
 * thread). */
const char *vmsig_kind_name(uint8_t kind);
const char *vmsig_source_name(uint8_t source);
const char *vmsig_status_name(int32_t status);
const char *vmsig_prio_name(uint8_t prio);
/* -1: no such name. Accept numbers too. */
int vmsig_kind_by_name(const char *name);
int vmsig_source_by_name(const char *name);
int vmsig_prio_by_name(const char *name);

#endif
