/* Any bytes as a frame: no message, or one; an event in it is refused, or survives the way to bytes and back. The first
 * byte chooses the type. */
#include <stdlib.h>
#include <string.h>

#include "boot.pb-c.h"
#include "control.pb-c.h"
#include "schema/codec.h"
#include "schema/frame.h"
#include "supervisor.pb-c.h"

#define MUST(x)                                                                                                        \
    do                                                                                                                 \
        if (!(x))                                                                                                      \
            abort();                                                                                                   \
    while (0)

static const ProtobufCMessageDescriptor *const types[] = {
    &vmsig__pb__event__descriptor,    &vmsig__pb__to_gateway__descriptor, &vmsig__pb__to_control__descriptor,
    &vmsig__pb__to_actor__descriptor, &vmsig__pb__from_actor__descriptor, &vmsig__pb__request__descriptor,
    &vmsig__pb__response__descriptor};

static void same(const vmsig_event *a, const vmsig_event *b) {
    vmsig_event x = *a, y = *b;
    x.payload = y.payload = NULL;
    MUST(memcmp(&x, &y, sizeof x) == 0);
    MUST(a->payload_len == 0 || memcmp(a->payload, b->payload, a->payload_len) == 0);
}

static void check_event(const Vmsig__Pb__Event *pb) {
    static vmsig_pb_event out;
    vmsig_event ev, again;
    if (vmsig_event_from_pb(pb, &ev) < 0) {
        MUST(ev.payload == NULL);
        return;
    }
    MUST(vmsig_event_to_pb(&ev, &out) == 0);
    size_t size = vmsig__pb__event__get_packed_size(&out.e);
    uint8_t *bytes = malloc(size + 1);
    MUST(bytes && vmsig__pb__event__pack(&out.e, bytes) == size);
    Vmsig__Pb__Event *e = vmsig__pb__event__unpack(NULL, size, bytes);
    MUST(e && vmsig_event_from_pb(e, &again) == 0);
    same(&ev, &again);
    vmsig__pb__event__free_unpacked(e, NULL);
    free(bytes);
    free(ev.payload);
    free(again.payload);
}

static void check_to_gateway(const Vmsig__Pb__ToGateway *m) {
    if (m->m_case == VMSIG__PB__TO_GATEWAY__M_COMMAND)
        check_event(m->command->event);
}

static void check_to_control(const Vmsig__Pb__ToControl *m) {
    for (size_t i = 0; m->m_case == VMSIG__PB__TO_CONTROL__M_EVENTS && i < m->events->n_event; i++)
        check_event(m->events->event[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static vmsig_frame f;
    if (size == 0 || size > VMSIG_FRAME_MAX)
        return 0;
    size_t type = data[0] % (sizeof types / sizeof types[0]);
    f.len = size - 1;
    memcpy(f.bytes, data + 1, size - 1);
    void *m = vmsig_frame_unpack(&f, types[type]);
    if (!m)
        return 0;
    if (type == 0)
        check_event(m);
    else if (type == 1)
        check_to_gateway(m);
    else if (type == 2)
        check_to_control(m);
    protobuf_c_message_free_unpacked(m, NULL);
    return 0;
}
