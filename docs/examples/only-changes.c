/* A program in between: it passes on what a sensor says only when that has changed.
 *
 *   actors:
 *     - {name: raw, kind: sensor, exec: vmsig-sensor, endpoint: lab, source: 10, args: [--pipe, ./poll-it]}
 *     - {name: changes, kind: actor, exec: ./only-changes, endpoint: lab, source: 11}
 *   links:
 *     - {from: raw, to: changes}
 *     - {from: changes, to: ctx}
 *
 *   raw ──ring──► on_event: the same as last time? ──ring──► context
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmsig_actor.h>

typedef struct last {
    void *body; /* malloc'ed */
    size_t len;
} last;

/* Remembers the body; false: it is the one that was there. */
static bool changed(last *l, const vmsig_event *ev) {
    const void *body = ev->payload_len ? ev->payload : ev->inln;
    size_t len = ev->payload_len ? ev->payload_len : ev->inln_len;
    if (l->body && l->len == len && memcmp(l->body, body, len) == 0)
        return false;
    void *room = realloc(l->body, len + 1);
    if (!room)
        return true; /* rather once too often */
    memcpy(room, body, len);
    *l = (last){room, len};
    return true;
}

static void on_event(vmsig_actor *a, const vmsig_event *ev, void *ud) {
    /* News of a loss are passed on as they are: nothing is lost in silence. */
    if (ev->kind != VMSIG_EV_LOST && !changed(ud, ev))
        return;
    vmsig_event out = *ev; /* with its time of origin and its epoch */
    out.source = 0;        /* filled in: this actor's own */
    if (vmsig_actor_emit(a, &out) && errno != EAGAIN)
        fprintf(stderr, "%s: an event could not be passed on: %s\n", vmsig_actor_name(a), strerror(errno));
}

int main(void) {
    last l = {0};
    vmsig_actor *a = vmsig_actor_open();
    if (!a)
        return 1;
    vmsig_actor_on_event(a, on_event, &l);
    int code = vmsig_actor_run(a);
    vmsig_actor_free(a);
    free(l.body);
    return code;
}
