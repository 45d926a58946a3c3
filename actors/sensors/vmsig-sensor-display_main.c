/* vmsig-sensor-display: where a guest's screen changes, from the VNC server that QEMU offers it on.
 *
 *   away ──connected──► greeting (a deadline) ──► following: ask ──update──► emit ──pause──► ask ...
 *    ▲ back-off, doubled until it has greeted        │
 *    └───── the end, silence amidst a message, garbage
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "actors/runtime/loop.h"
#include "actors/sensors/dial.h"
#include "actors/sensors/rfb.h"

#define SECOND     1000000000ull
#define RETRY_NS   (SECOND / 10)
#define RETRY_MAX  (2 * SECOND)
#define SILENCE_NS (10 * SECOND) /* amidst a message, or of one that is yet to greet */
#define HZ         20u
#define HZ_MAX     1000u
#define READS      16 /* in a turn */

static const char help[] =
    "vmsig-sensor-display [--hz N] [PATH | @NAME]    where a guest's screen changes: events of kind 66 with "
    "rectangles,\n"
    "                                                see vmsig_display.h\n"
    "  --hz N    at most so many updates a second, 1 to 1000; 20 if not said. What changes meanwhile comes together\n"
    "Its endpoint says `qemu: {display: vnc}`; or QEMU was told in its args to offer VNC at PATH (-vnc unix:PATH).\n"
    "It is started by the supervisor: see vmsig(1).\n"
    "Exit codes: 0 stopped; 64 usage; 100 there is no display; else 1.\n";

typedef struct display {
    vmsig_actor *actor;
    vmsig_dial at;
    vmsig_rfb rfb;
    uint64_t gap_ns, asked_ns, begun_ns, retry_ns;
    int sock;   /* -1: away */
    int pause;  /* timerfd: away, until the next try; else until the next update is asked for */
    int limit;  /* timerfd: silence */
    bool large; /* it was said that events are larger than the arena */
    char said[sizeof((vmsig_rfb *)0)->why];
    struct {
        vmsig_display head;
        vmsig_display_rect rects[VMSIG_DISPLAY_RECTS_MAX];
    } body;
} display;

/* Once, until something else is to be said. */
static void say(display *d, const char *what) {
    if (strncmp(d->said, what, sizeof d->said - 1) == 0)
        return;
    snprintf(d->said, sizeof d->said, "%s", what);
    fprintf(stderr, "%s: the display: %s\n", vmsig_actor_name(d->actor), what);
}

/* ---- events ------------------------------------------------------------------------------------------ */

static void emit(display *d, const vmsig_display *head, const vmsig_display_rect *rects) {
    size_t n = head->rects * sizeof *rects;
    vmsig_event ev = {.kind = VMSIG_EV_DISPLAY};
    d->body.head = *head;
    memcpy(d->body.rects, rects, n);
    if (head->flags & (VMSIG_DISPLAY_ANEW | VMSIG_DISPLAY_RESIZED))
        ev.flags = VMSIG_EVF_RETAIN;
    n += sizeof *head;
    if (n <= VMSIG_INLINE_MAX) {
        memcpy(ev.inln, &d->body, n);
        ev.inln_len = (uint32_t)n;
    } else {
        ev.payload = &d->body;
        ev.payload_len = (uint32_t)n;
    }
    if (vmsig_actor_emit(d->actor, &ev) == 0 || errno == EAGAIN) /* EAGAIN: told downstream as lost */
        return;
    if (!d->large)
        fprintf(stderr, "%s: an event of %zu bytes cannot be sent: %s\n", vmsig_actor_name(d->actor), n,
                strerror(errno));
    d->large = true;
}

static void on_changed(void *ud, const vmsig_display *head, const vmsig_display_rect *rects) {
    display *d = ud;
    if (head->rects > 0 || head->flags != 0)
        emit(d, head, rects);
    if (head->flags & VMSIG_DISPLAY_MORE)
        return;
    uint64_t now = vmsig_now_ns(), next = d->asked_ns + d->gap_ns;
    vmsig_dial_arm(d->pause, next > now ? next - now : 1);
}

/* ---- the connection ---------------------------------------------------------------------------------- */

static int on_send(void *ud, const void *bytes, size_t n) {
    const display *d = ud;
    return send(d->sock, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n ? 0 : -1;
}

static void try_later(display *d) {
    vmsig_dial_arm(d->limit, 0);
    vmsig_dial_arm(d->pause, d->retry_ns);
    d->retry_ns = d->retry_ns * 2 < RETRY_MAX ? d->retry_ns * 2 : RETRY_MAX;
}

static void hang_up(display *d) {
    if (vmsig_now_ns() - d->begun_ns > RETRY_MAX) { /* it was a good one */
        d->retry_ns = RETRY_NS;
        d->said[0] = 0;
    }
    vmsig_actor_unwatch(d->actor, d->sock);
    close(d->sock);
    d->sock = -1;
    try_later(d);
}

/* false: that was all. */
static bool read_some(display *d) {
    uint8_t bytes[16384];
    ssize_t n = recv(d->sock, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) { /* QEMU has ended */
        hang_up(d);
        return false;
    }
    if (vmsig_rfb_take(&d->rfb, bytes, (size_t)n) < 0) {
        say(d, d->rfb.why);
        hang_up(d);
        return false;
    }
    return true;
}

static void on_bytes(vmsig_actor *a, void *ud) {
    display *d = ud;
    (void)a;
    for (int i = 0; i < READS && read_some(d); i++) {
    }
    if (d->sock >= 0)
        vmsig_dial_arm(d->limit, vmsig_rfb_idle(&d->rfb) ? 0 : SILENCE_NS);
}

static void dial(display *d) {
    static const vmsig_rfb_ops ops = {.send = on_send, .changed = on_changed};
    d->sock = vmsig_dial_connect(&d->at);
    if (d->sock >= 0 && vmsig_actor_watch(d->actor, d->sock, on_bytes, d) == 0) {
        d->begun_ns = vmsig_now_ns();
        vmsig_rfb_begin(&d->rfb, &ops, d);
        vmsig_dial_arm(d->limit, SILENCE_NS);
        return;
    }
    if (d->sock >= 0)
        close(d->sock);
    d->sock = -1;
    try_later(d);
}

static void ask(display *d) {
    d->asked_ns = vmsig_now_ns();
    if (vmsig_rfb_ask(&d->rfb) == 0)
        return;
    say(d, "it takes no answer");
    hang_up(d);
}

static void on_pause(vmsig_actor *a, void *ud) {
    display *d = ud;
    (void)a;
    if (!vmsig_dial_due(d->pause))
        return;
    if (d->sock < 0)
        dial(d);
    else
        ask(d);
}

static void on_limit(vmsig_actor *a, void *ud) {
    display *d = ud;
    (void)a;
    if (!vmsig_dial_due(d->limit) || d->sock < 0)
        return;
    say(d, "it was silent for 10 s amidst what it had to say");
    hang_up(d);
}

/* ---- the program ------------------------------------------------------------------------------------- */

static int run(display *d) {
    d->pause = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    d->limit = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (d->pause < 0 || d->limit < 0 || vmsig_actor_watch(d->actor, d->pause, on_pause, d) < 0 ||
        vmsig_actor_watch(d->actor, d->limit, on_limit, d) < 0) {
        fprintf(stderr, "%s: cannot begin: %s\n", vmsig_actor_name(d->actor), strerror(errno));
        return EXIT_FAILURE;
    }
    dial(d);
    return vmsig_actor_run(d->actor);
}

/* 0, or -1: the arguments make no sense. *where: NULL = the endpoint's own. */
static int parse(int argc, char **argv, display *d, const char **where) {
    uint64_t hz = HZ;
    char *end;
    int i = 1;
    if (argc > 2 && strcmp(argv[1], "--hz") == 0) {
        hz = strtoumax(argv[2], &end, 10);
        if (argv[2][0] < '0' || argv[2][0] > '9' || *end != '\0' || hz == 0 || hz > HZ_MAX)
            return -1;
        i = 3;
    }
    d->gap_ns = SECOND / hz;
    *where = i < argc ? argv[i] : NULL;
    return i + 1 < argc || (*where && (**where == '-' || vmsig_dial_parse(&d->at, *where) < 0)) ? -1 : 0;
}

int main(int argc, char **argv) {
    static display d = {.sock = -1, .retry_ns = RETRY_NS};
    const char *where;
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return fputs(help, stdout) < 0;
    if (parse(argc, argv, &d, &where) < 0) {
        fputs(help, stderr);
        return EX_USAGE;
    }
    d.actor = vmsig_actor_open();
    if (!d.actor)
        return errno == ENOTCONN ? EX_USAGE : EXIT_FAILURE;
    bool found = where || vmsig_dial_own(&d.at, d.actor, "display") == 0;
    int code = found ? run(&d) : VMSIG_EXIT_DONT_RESTART;
    vmsig_actor_free(d.actor);
    return code;
}
