/* monitor.h: a monitor of somebody else's: a second QMP socket of the VM under test. */
#ifndef TEST_QEMU_MONITOR_H
#define TEST_QEMU_MONITOR_H

#include <sys/socket.h>
#include <sys/un.h>

#include "tests/qemu/vm.h"

typedef struct monitor {
    char dir[32], path[48], args[80];
    setting with[8];
    FILE *f;
} monitor;

static inline void with_monitor(monitor *m) {
    strcpy(m->dir, "/tmp/vmsig-qemu-XXXXXX");
    cr_assert_not_null(mkdtemp(m->dir));
    snprintf(m->path, sizeof m->path, "%s/qmp", m->dir);
    snprintf(m->args, sizeof m->args, "unix:%s,server=on,wait=off", m->path);
    const setting with[] = {usual[0], usual[1], usual[2], {"args.0", "-qmp"}, {"args.1", m->args}, {0}};
    memcpy(m->with, with, sizeof with);
}

/* One command: is it done? */
static inline bool tells(monitor *m, const char *command) {
    char line[4096];
    fprintf(m->f, "%s\n", command);
    do
        cr_assert_not_null(fgets(line, sizeof line, m->f));
    while (!strstr(line, "\"return\"") && !strstr(line, "\"error\""));
    return !strstr(line, "\"error\"");
}

static inline void tell(monitor *m, const char *command) {
    cr_expect(tells(m, command), "%s", command);
}

/* As soon as it is there. */
static inline void connect_monitor(monitor *m) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    uint64_t until_ns = vmsig_now_ns() + DEADLINE_NS;
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(at.sun_path, m->path);
    while (connect(s, (struct sockaddr *)&at, sizeof at) < 0) {
        cr_assert_lt(vmsig_now_ns(), until_ns, "%s: %s", m->path, strerror(errno));
        usleep(1000);
    }
    m->f = fdopen(s, "r+");
    setvbuf(m->f, NULL, _IONBF, 0);
    tell(m, "{\"execute\":\"qmp_capabilities\"}");
}

static inline void end_monitor(monitor *m) {
    fclose(m->f);
    unlink(m->path);
    rmdir(m->dir);
}

#endif
