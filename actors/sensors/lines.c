#include "actors/sensors/lines.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void say(const vmsig_lines *l, const char *what, const char *why) {
    fprintf(stderr, "%s: %s %s%s\n", vmsig_actor_name(l->actor), l->from, what, why);
}

static int emit(vmsig_lines *l, uint8_t kind, const char *text, size_t len) {
    if (len <= VMSIG_INLINE_MAX)
        return vmsig_actor_emit_bytes(l->actor, kind, text, (uint32_t)len);
    vmsig_event ev = {.kind = kind, .payload = (void *)(uintptr_t)text, .payload_len = (uint32_t)len};
    return vmsig_actor_emit(l->actor, &ev);
}

/* A line that is larger than the link's arena goes out in pieces. */
static void emit_line(vmsig_lines *l, uint8_t kind, const char *text, size_t len) {
    size_t piece = len;
    for (;;) {
        int err = emit(l, piece < len ? VMSIG_EV_PIECE : kind, text, piece) < 0 ? errno : 0;
        if (err == EMSGSIZE) {
            if (!l->cut)
                say(l, "wrote a line that is larger than the link's arena:", " such lines go out in pieces");
            l->cut = true;
            piece = (piece + 1) / 2;
            continue;
        }
        if (err && err != EAGAIN) /* EAGAIN: told downstream as lost */
            say(l, "wrote a line that could not be sent: ", strerror(err));
        text += piece;
        len -= piece;
        if (len == 0)
            return;
        if (piece > len)
            piece = len;
    }
}

static void emit_lines(vmsig_lines *l) {
    char *at = l->line, *end = l->line + l->len, *newline;
    for (; (newline = memchr(at, '\n', (size_t)(end - at))); at = newline + 1)
        emit_line(l, VMSIG_EV_LINE, at, (size_t)(newline - at) - (l->console && newline > at && newline[-1] == '\r'));
    l->len = (size_t)(end - at);
    memmove(l->line, at, l->len);
}

static void flush(vmsig_lines *l, uint8_t kind) {
    if (l->len)
        emit_line(l, kind, l->line, l->len);
    l->len = 0;
}

void vmsig_lines_end(vmsig_lines *l) {
    flush(l, VMSIG_EV_LINE);
}

void vmsig_lines_prompt(vmsig_lines *l) {
    flush(l, VMSIG_EV_PIECE);
}

ssize_t vmsig_lines_read(vmsig_lines *l, int fd) {
    if (l->len == VMSIG_PAYLOAD_MAX)
        vmsig_lines_prompt(l);
    ssize_t n = read(fd, l->line + l->len, VMSIG_PAYLOAD_MAX - l->len);
    if (n > 0) {
        l->len += (size_t)n;
        emit_lines(l);
    }
    return n;
}

int vmsig_lines_open(vmsig_lines *l, vmsig_actor *actor, const char *from) {
    *l = (vmsig_lines){.actor = actor, .from = from, .line = malloc(VMSIG_PAYLOAD_MAX)};
    return l->line ? 0 : -ENOMEM;
}

void vmsig_lines_close(vmsig_lines *l) {
    free(l->line);
    l->line = NULL;
}
