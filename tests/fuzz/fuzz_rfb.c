/* Any bytes as a VNC server, in one piece and one by one: the same is told, rectangles lie within the screen, and what is
 * refused is refused in one sentence. */
#include <stdlib.h>
#include <string.h>

#include "actors/sensors/rfb.h"

#define MUST(x)                                                                                                        \
    do                                                                                                                 \
        if (!(x))                                                                                                      \
            abort();                                                                                                   \
    while (0)

typedef struct heard {
    uint64_t sum, sent;
} heard;

static int on_send(void *ud, const void *bytes, size_t n) {
    (void)bytes;
    ((heard *)ud)->sent += n;
    return 0;
}

static void add(heard *h, const void *bytes, size_t n) {
    for (size_t i = 0; i < n; i++)
        h->sum = h->sum * 31 + ((const uint8_t *)bytes)[i];
}

static void on_changed(void *ud, const vmsig_display *head, const vmsig_display_rect *rects) {
    MUST(head->width > 0 && head->height > 0 && head->rects <= VMSIG_DISPLAY_RECTS_MAX);
    for (unsigned i = 0; i < head->rects; i++)
        MUST(rects[i].w > 0 && rects[i].h > 0 && rects[i].x + rects[i].w <= head->width &&
             rects[i].y + rects[i].h <= head->height);
    add(ud, head, sizeof *head);
    add(ud, rects, head->rects * sizeof *rects);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const vmsig_rfb_ops ops = {on_send, on_changed};
    static vmsig_rfb whole, single;
    heard a = {0}, b = {0};
    int rc = 0, each = 0;
    vmsig_rfb_begin(&whole, &ops, &a);
    vmsig_rfb_begin(&single, &ops, &b);
    rc = vmsig_rfb_take(&whole, data, size);
    for (size_t i = 0; i < size && each == 0; i++)
        each = vmsig_rfb_take(&single, data + i, 1);
    MUST(rc == each && a.sum == b.sum && a.sent == b.sent);
    MUST((rc < 0) == (whole.why[0] != 0) && strcmp(whole.why, single.why) == 0 && !strchr(whole.why, '\n'));
    MUST(rc < 0 || vmsig_rfb_idle(&whole) == vmsig_rfb_idle(&single));
    return 0;
}
