/* loadavg: a sensor as a plug-in: the machine's load, as often as asked.
 *
 *   cc -std=c11 -shared -fPIC -o loadavg.so loadavg.c $(pkg-config --cflags vmsig)
 *   - {name: load, kind: sensor, exec: vmsig-sensor, endpoint: tiny, source: 12, args: [--plugin, ./loadavg.so, "500"]}
 *
 * The same object runs in one process: vmsig_core_add_source takes the ops and src that vmsig_plugin_open makes.
 */
#define _DEFAULT_SOURCE

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "vmsig_core.h"

#define LOAD_KIND 64 /* 64..255 are a sensor's own; the body is float[3]: the load of 1, 5 and 15 minutes */

typedef struct loadavg {
    int timer;
    int (*emit)(void *token, vmsig_event *ev);
    void *token;
} loadavg;

static int describe(void *src, vmsig_source_info *out) {
    (void)src;
    *out = (vmsig_source_info){.source = VMSIG_SRC_SENSOR_FIRST}; /* as an actor, it is what the topology says */
    return 0;
}

static int timer_fd(void *src) {
    return ((loadavg *)src)->timer;
}

static void set_emit_up(void *src, int (*emit)(void *token, vmsig_event *ev), void *token) {
    loadavg *l = src;
    l->emit = emit;
    l->token = token;
}

/* Called when the timer fd is readable. -1 would mean that the sensor has ended. */
static int on_readable(void *src) {
    loadavg *l = src;
    unsigned long long expired;
    if (read(l->timer, &expired, sizeof(expired)) != sizeof(expired))
        return 0;
    double load[3];
    if (getloadavg(load, 3) != 3)
        return -1;
    float body[3] = {(float)load[0], (float)load[1], (float)load[2]};
    vmsig_event ev = {.kind = LOAD_KIND, .source = VMSIG_SRC_SENSOR_FIRST, .inln_len = sizeof(body)};
    memcpy(ev.inln, body, sizeof(body));
    l->emit(l->token, &ev); /* no room in time: the loss is told downstream */
    return 0;
}

static void close_it(void *src) {
    close(((loadavg *)src)->timer);
    free(src);
}

static const vmsig_source_ops ops = {.name = "loadavg",
                                     .describe = describe,
                                     .fd = timer_fd,
                                     .on_readable = on_readable,
                                     .set_emit_up = set_emit_up,
                                     .close = close_it};

static int start_timer(long period_ms) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct timespec period = {.tv_sec = period_ms / 1000, .tv_nsec = period_ms % 1000 * 1000000};
    struct itimerspec spec = {.it_interval = period, .it_value = period};
    if (fd >= 0 && timerfd_settime(fd, 0, &spec, NULL) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int vmsig_plugin_open(int argc, char **argv, const vmsig_source_ops **out_ops, void **out_src) {
    long period_ms = argc > 1 ? atol(argv[1]) : 1000;
    if (period_ms <= 0) {
        errno = EINVAL;
        return -1;
    }
    loadavg *l = calloc(1, sizeof(*l));
    if (!l)
        return -1;
    l->timer = start_timer(period_ms);
    if (l->timer < 0) {
        free(l);
        return -1;
    }
    *out_ops = &ops;
    *out_src = l;
    return 0;
}
