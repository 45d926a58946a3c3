/* engine_motion.c: input groups that are motion alone: relative motion adds up, absolute is replaced. */
#include <string.h>

#include "actors/context/engine_impl.h"

uint8_t motion_type(const vmsig_entry *n) {
    const vmsig_input *in = (const vmsig_input *)(const void *)n->inln;
    uint32_t items = n->inln_len / sizeof *in;
    if (items == 0 || n->inln_len % sizeof *in != 0 || (in->type != VMSIG_INPUT_REL && in->type != VMSIG_INPUT_ABS))
        return 0;
    for (uint32_t i = 1; i < items; i++)
        if (in[i].type != in->type)
            return 0;
    return in->type;
}

static vmsig_input *find_axis(vmsig_entry *n, const vmsig_input *item) {
    vmsig_input *in = (vmsig_input *)(void *)n->inln;
    for (uint32_t i = 0; i < n->inln_len / sizeof *in; i++)
        if (in[i].type == item->type && in[i].code == item->code)
            return &in[i];
    return NULL;
}

static int32_t sat_sum(int32_t a, int32_t b) {
    int64_t sum = (int64_t)a + b;
    return sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
}

bool motion_join(vmsig_entry *dst, const vmsig_entry *src, bool write) {
    const vmsig_input *in = (const vmsig_input *)(const void *)src->inln;
    uint32_t len = dst->inln_len;
    for (uint32_t i = 0; i < src->inln_len / sizeof *in; i++) {
        vmsig_input *axis = find_axis(dst, &in[i]);
        if (axis == NULL) {
            len += (uint32_t)sizeof *in;
            if (len > VMSIG_INLINE_MAX)
                return false;
            if (write) {
                memcpy(dst->inln + dst->inln_len, &in[i], sizeof *in);
                dst->inln_len = len & 0xffu;
            }
        } else if (write)
            axis->value = in[i].type == VMSIG_INPUT_REL ? sat_sum(axis->value, in[i].value) : in[i].value;
    }
    return true;
}
