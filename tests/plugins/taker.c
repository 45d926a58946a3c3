/* A source that takes commands and the address-space context, and says by events what it was given. */
#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmsig_core.h"
#include "vmsig_memctx.h"

typedef struct taker {
    int (*emit)(void *token, vmsig_event *ev);
    void *token;
    uint64_t later; /* corr of the command that takes long */
} taker;

static void set_emit_up(void *src, int (*emit)(void *token, vmsig_event *ev), void *token) {
    taker *t = src;
    t->emit = emit;
    t->token = token;
}

static void say(taker *t, uint8_t kind, uint64_t corr, uint64_t value, uint32_t payload_len) {
    vmsig_event ev = {.kind = kind, .corr = corr, .inln_len = sizeof(value)};
    memcpy(ev.inln, &value, sizeof(value));
    if (kind == VMSIG_EV_RESULT)
        ev.inln_len = sizeof(vmsig_result);
    if (payload_len) {
        ev.payload = calloc(1, payload_len);
        ev.payload_len = payload_len;
    }
    if (t->emit(t->token, &ev) < 0)
        free(ev.payload);
}

/* INPUT is taken and shown, the rest is refused. Of keys F1 is refused, too; F2 takes until the address space ends. */
static int command(void *src, const vmsig_event *down) {
    taker *t = src;
    vmsig_input in;
    memcpy(&in, down->inln, sizeof(in));
    if (down->kind != VMSIG_CMD_INPUT || in.code == KEY_F1) {
        errno = EINVAL;
        return -1;
    }
    for (uint32_t at = 0; at < down->inln_len; at += (uint32_t)sizeof(in)) {
        uint64_t shown;
        memcpy(&shown, down->inln + at, sizeof(shown));
        say(t, 70, 0, shown, 500);
    }
    if (in.code != KEY_F2 || !in.down)
        return 0;
    t->later = down->corr;
    return 1;
}

/* One event for each: the size of what the fd shows, or 0 for an invalidation. That it can be loaded shows that the
 * program has all of the library for it. */
static int on_memctx(void *src, const vmsig_event *ev, int fd) {
    taker *t = src;
    vmsig_memview_close(fd < 0 ? NULL : vmsig_memview_open(ev, fd));
    if (fd < 0 && t->later)
        say(t, VMSIG_EV_RESULT, t->later, VMSIG_PARTIAL, 0);
    say(src, 71, 0, fd < 0 ? 0 : (uint64_t)lseek(fd, 0, SEEK_END), 0);
    return 0;
}

static const vmsig_source_ops ops = {
    .name = "taker", .set_emit_up = set_emit_up, .command = command, .on_memctx = on_memctx, .close = free};

int vmsig_plugin_open(int argc, char **argv, const vmsig_source_ops **out_ops, void **out_src) {
    (void)argv;
    if (argc > 1) { /* takes no arguments */
        errno = E2BIG;
        return -1;
    }
    *out_ops = &ops;
    *out_src = calloc(1, sizeof(taker));
    return *out_src ? 0 : -1;
}
