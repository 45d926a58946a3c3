/* An out-of-tree sensor library in one file: each input that another writes into a file is an event of kind 64.
 *   vmsig_plugin_open: argv[1] the file */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <vmsig_core.h>

#define SOURCE 10
#define KIND   64
#define LOOK                                                                                                           \
    (struct timespec) {                                                                                                \
        .tv_nsec = 2000000                                                                                             \
    }

typedef struct sensor {
    FILE *file;
    int timer;
    int (*emit)(void *token, vmsig_event *);
    void *token;
} sensor;

static int describe(void *src, vmsig_source_info *out) {
    (void)src;
    *out = (vmsig_source_info){.source = (vmsig_source)SOURCE, .endpoint = 0};
    return 0;
}

static int fd_of(void *src) {
    return ((sensor *)src)->timer;
}

static int look(void *src) {
    sensor *s = src;
    uint64_t ticks;
    vmsig_input key;
    if (read(s->timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN)
        return -1;
    clearerr(s->file);
    while (s->emit && fread(&key, sizeof key, 1, s->file) == 1) {
        vmsig_event ev = {.kind = KIND, .inln_len = sizeof key};
        memcpy(ev.inln, &key, sizeof key);
        if (s->emit(s->token, &ev) < 0)
            return -1;
    }
    return 0;
}

static void set_emit(void *src, int (*emit)(void *token, vmsig_event *), void *token) {
    ((sensor *)src)->emit = emit;
    ((sensor *)src)->token = token;
}

static void end(void *src) {
    sensor *s = src;
    fclose(s->file);
    close(s->timer);
    free(s);
}

int vmsig_plugin_open(int argc, char **argv, const vmsig_source_ops **ops, void **src) {
    static const vmsig_source_ops mine = {.name = "file of keys",
                                          .describe = describe,
                                          .fd = fd_of,
                                          .on_readable = look,
                                          .set_emit_up = set_emit,
                                          .close = end};
    sensor *s = argc == 2 ? calloc(1, sizeof *s) : NULL;
    if (!s) {
        errno = EINVAL;
        return -1;
    }
    s->file = fopen(argv[1], "r");
    s->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    const struct itimerspec often = {.it_value = LOOK, .it_interval = LOOK};
    if (!s->file || s->timer < 0 || timerfd_settime(s->timer, 0, &often, NULL) < 0) {
        free(s);
        return -1;
    }
    *ops = &mine;
    *src = s;
    return 0;
}
