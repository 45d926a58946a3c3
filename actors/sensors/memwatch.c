#include "vmsig_memwatch.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define NS_PER_S 1000000000u

_Static_assert(sizeof(vmsig_memwatch) + 2 * VMSIG_MEMWATCH_SIZE_MAX <= VMSIG_INLINE_MAX, "an event holds both values");

/* What was last told of a place. */
typedef enum known { NOTHING, A_VALUE, UNREADABLE } known;

typedef struct place {
    vmsig_memwatch_place at;
    known known;
    uint8_t last[VMSIG_MEMWATCH_SIZE_MAX];
} place;

typedef struct memwatch {
    vmsig_source_info info;
    int (*emit)(void *token, vmsig_event *ev);
    void *emit_token;
    vmsig_memview *view; /* NULL: no address space now */
    int timer_fd;
    uint32_t hz;
    unsigned n;
    place places[];
} memwatch;

/* ---- looking ----------------------------------------------------------------------------------------- */

static bool read_place(const memwatch *w, const vmsig_memwatch_place *at, uint8_t *now) {
    int rc = at->flags & VMSIG_MEMWATCH_VIRTUAL ? vmsig_memview_read_virt(w->view, at->addr, now, at->size)
                                                : vmsig_memview_read_phys(w->view, at->addr, now, at->size);
    return rc == 0;
}

/* Stamped with the epoch that it was read in: what was read while that ended is never taken for the next one's. */
static bool tell(memwatch *w, const place *p, uint32_t flags, const uint8_t *now) {
    vmsig_memwatch body = {
        .addr = p->at.addr, .index = (uint16_t)(p - w->places), .size = p->at.size, .flags = p->at.flags | flags};
    vmsig_event ev = {.endpoint = w->info.endpoint,
                      .epoch = vmsig_memview_epoch(w->view),
                      .merged = 1,
                      .source = (uint8_t)w->info.source,
                      .dir = VMSIG_DIR_UP,
                      .kind = VMSIG_EV_MEMWATCH,
                      .inln_len = (uint32_t)sizeof body + 2u * p->at.size};
    memcpy(ev.inln, &body, sizeof body);
    memcpy(ev.inln + sizeof body, p->last, p->at.size);
    memcpy(ev.inln + sizeof body + p->at.size, now, p->at.size);
    return w->emit && w->emit(w->emit_token, &ev) >= 0;
}

/* What could not be told is told at the next look, if it is still so. */
static void look(memwatch *w, place *p) {
    uint8_t now[VMSIG_MEMWATCH_SIZE_MAX] = {0};
    if (!read_place(w, &p->at, now)) {
        if (p->known != UNREADABLE && tell(w, p, VMSIG_MEMWATCH_UNREADABLE, now))
            p->known = UNREADABLE;
        return;
    }
    if (p->known == A_VALUE && memcmp(now, p->last, p->at.size) == 0)
        return;
    if (p->known != A_VALUE)
        memset(p->last, 0, sizeof p->last);
    if (tell(w, p, p->known == A_VALUE ? 0 : VMSIG_MEMWATCH_FIRST, now)) {
        memcpy(p->last, now, sizeof now);
        p->known = A_VALUE;
    }
}

static int on_readable(void *src) {
    memwatch *w = src;
    uint64_t expired;
    if (read(w->timer_fd, &expired, sizeof expired) < 0 || !w->view)
        return 0;
    for (unsigned i = 0; i < w->n; i++)
        look(w, &w->places[i]);
    return 0;
}

/* ---- address spaces ---------------------------------------------------------------------------------- */

static void set_timer(const memwatch *w, bool on) {
    struct itimerspec t = {0};
    if (on) {
        t.it_interval.tv_sec = w->hz == 1;
        t.it_interval.tv_nsec = w->hz == 1 ? 0 : (long)(NS_PER_S / w->hz);
        t.it_value.tv_nsec = 1; /* the first look comes at once */
    }
    timerfd_settime(w->timer_fd, 0, &t, NULL);
}

static void forget(memwatch *w) {
    set_timer(w, false);
    vmsig_memview_close(w->view);
    w->view = NULL;
}

static void start_anew(memwatch *w) {
    for (unsigned i = 0; i < w->n; i++)
        w->places[i].known = NOTHING;
    set_timer(w, true);
}

static int on_memctx(void *src, const vmsig_event *ev, int fd) {
    memwatch *w = src;
    if (fd < 0) {
        if (w->view && vmsig_memview_epoch(w->view) != ev->epoch)
            forget(w);
        return 0;
    }
    uint32_t before = w->view ? vmsig_memview_epoch(w->view) : 0;
    if (!w->view || vmsig_memview_update(w->view, ev) < 0) {
        vmsig_memview *view = vmsig_memview_open(ev, fd);
        if (!view)
            return -1;
        vmsig_memview_close(w->view);
        w->view = view;
        before = 0;
    }
    if (before != vmsig_memview_epoch(w->view)) /* another root of the same guest changes nothing in what is watched */
        start_anew(w);
    return 0;
}

/* ---- the source -------------------------------------------------------------------------------------- */

static int describe(void *src, vmsig_source_info *out) {
    *out = ((memwatch *)src)->info;
    return 0;
}

static int fd_of(void *src) {
    return ((memwatch *)src)->timer_fd;
}

static void set_emit_up(void *src, int (*emit)(void *token, vmsig_event *), void *token) {
    memwatch *w = src;
    w->emit = emit;
    w->emit_token = token;
}

static void close_memwatch(void *src) {
    memwatch *w = src;
    vmsig_memview_close(w->view);
    close(w->timer_fd);
    free(w);
}

static bool valid(const vmsig_memwatch_place *places, unsigned n, uint32_t hz) {
    if (!places || n == 0 || n > VMSIG_MEMWATCH_PLACES || hz == 0 || hz > VMSIG_MEMWATCH_HZ_MAX)
        return false;
    for (unsigned i = 0; i < n; i++)
        if (places[i].size == 0 || places[i].size > VMSIG_MEMWATCH_SIZE_MAX ||
            (places[i].flags & ~VMSIG_MEMWATCH_VIRTUAL))
            return false;
    return true;
}

int vmsig_memwatch_open(uint32_t endpoint, vmsig_source source, const vmsig_memwatch_place *places, unsigned n,
                        uint32_t hz, const vmsig_source_ops **ops, void **src) {
    static const vmsig_source_ops memwatch_ops = {.name = "memwatch",
                                                  .describe = describe,
                                                  .fd = fd_of,
                                                  .on_readable = on_readable,
                                                  .set_emit_up = set_emit_up,
                                                  .on_memctx = on_memctx,
                                                  .close = close_memwatch};
    if (endpoint >= VMSIG_ENDPOINTS_MAX || (unsigned)source >= VMSIG_SOURCES_MAX || !places || !valid(places, n, hz) ||
        !ops || !src) {
        errno = EINVAL;
        return -1;
    }
    memwatch *w = calloc(1, sizeof *w + n * sizeof *w->places);
    if (!w)
        return -1;
    w->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (w->timer_fd < 0) {
        free(w);
        return -1;
    }
    w->info = (vmsig_source_info){.source = source, .endpoint = endpoint};
    w->hz = hz;
    w->n = n;
    for (unsigned i = 0; i < n; i++)
        w->places[i].at = places[i];
    *ops = &memwatch_ops;
    *src = w;
    return 0;
}

/* ---- arguments --------------------------------------------------------------------------------------- */

/* A number as in C, at most max; *end is set behind it. */
static bool number(const char *text, uint64_t max, uint64_t *out, const char **end) {
    char *stop;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *out = strtoull(text, &stop, 0);
    *end = stop;
    return errno == 0 && *out <= max;
}

int vmsig_memwatch_parse(const char *text, vmsig_memwatch_place *out) {
    uint64_t addr, size = 8;
    const char *end;
    bool good = text && out && number(text, UINT64_MAX, &addr, &end);
    if (good && *end == ':')
        good = number(end + 1, VMSIG_MEMWATCH_SIZE_MAX, &size, &end) && size > 0;
    if (!good || *end != '\0') {
        errno = EINVAL;
        return -1;
    }
    *out = (vmsig_memwatch_place){.addr = addr, .size = (uint16_t)size};
    return 0;
}
