#include "actors/sensors/dial.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "actors/runtime/actor.h"

#define SECOND 1000000000u

int vmsig_dial_parse(vmsig_dial *d, const char *where) {
    size_t n = strlen(where);
    if (n == 0 || n >= sizeof d->at.sun_path)
        return -1;
    *d = (vmsig_dial){.at = {.sun_family = AF_UNIX}};
    memcpy(d->at.sun_path, where, n);
    if (where[0] == '@')
        d->at.sun_path[0] = 0;
    d->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (where[0] != '@'));
    return 0;
}

int vmsig_dial_own(vmsig_dial *d, vmsig_actor *actor, const char *what) {
    char path[512];
    const char *folder = vmsig_rt_option(actor->rt, "sockets");
    if (folder && snprintf(path, sizeof path, "%s/%s", folder, what) < (int)sizeof path &&
        vmsig_dial_parse(d, path) == 0)
        return 0;
    fprintf(stderr, "%s: its VM offers no %s: say so in the endpoint, `qemu: {%s: %s}`, or give the socket's path\n",
            vmsig_actor_name(actor), what, what, strcmp(what, "display") == 0 ? "vnc" : "true");
    return -1;
}

int vmsig_dial_connect(const vmsig_dial *d) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&d->at, d->len) == 0)
        return fd;
    int rc = -errno;
    close(fd);
    return rc;
}

void vmsig_dial_arm(int timer, uint64_t ns) {
    const struct itimerspec t = {.it_value = {.tv_sec = (time_t)(ns / SECOND), .tv_nsec = (long)(ns % SECOND)}};
    timerfd_settime(timer, 0, &t, NULL);
}

bool vmsig_dial_due(int timer) {
    uint64_t expired;
    return read(timer, &expired, sizeof expired) == (ssize_t)sizeof expired;
}
