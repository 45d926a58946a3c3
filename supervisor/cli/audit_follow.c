/* vmsig audit follow: what comes new, also in the next file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "supervisor/cli/audit.h"
#include "supervisor/cli/cli.h"
#include "supervisor/segments.h"

#define CHUNK   65536u
#define LOOK_NS 100000000

typedef struct follower {
    const char *path;
    int fd;
    bool json, gone;
    bool fresh; /* nothing of this file was seen yet */
    off_t at;   /* whole records up to here */
    vmsig_audit_check check;
    uint8_t buf[CHUNK];
} follower;

static void on_entry(void *ud, const Vmsig__Pb__AuditEntry *e) {
    follower *f = ud;
    if (!f->gone)
        f->gone = !vmsig_audit_print(e, f->json);
}

/* Everything that is there now: 0, or -errno. A record that is half written is no record yet. */
static int read_on(follower *f) {
    for (;;) {
        ssize_t n = pread(f->fd, f->buf, sizeof f->buf, f->at);
        if (n <= 0)
            return n < 0 && errno != EINTR ? -errno : 0;
        size_t good = f->fresh ? vmsig_audit_check_segment(&f->check, f->path, f->buf, (size_t)n)
                               : vmsig_audit_check_more(&f->check, f->path, f->buf, (size_t)n);
        if (f->check.verdict == VMSIG_AUDIT_TORN) {
            f->check.verdict = VMSIG_AUDIT_VALID;
            f->check.why[0] = 0;
        }
        if (f->check.verdict != VMSIG_AUDIT_VALID || good == 0)
            return 0;
        f->fresh = false;
        f->at += (off_t)good;
    }
}

static int open_log(follower *f, const char *path) {
    f->fd = open(path, O_RDONLY | O_CLOEXEC);
    f->at = 0;
    f->fresh = true;
    return f->fd < 0 ? -errno : 0;
}

static bool is_ours(const follower *f, const char *path) {
    struct stat here, there;
    return fstat(f->fd, &here) == 0 && stat(path, &there) == 0 && here.st_ino == there.st_ino &&
           here.st_dev == there.st_dev;
}

/* The file after ours, the caller's; NULL: ours is the present one, or nobody knows at this moment. */
static char *after_ours(const follower *f) {
    char **list, *next = NULL;
    if (is_ours(f, f->path) || access(f->path, R_OK) != 0)
        return NULL;
    int n = vmsig_segments(f->path, &list);
    for (int i = 0; i < n; i++)
        if (is_ours(f, list[i]))
            next = strdup(i + 1 < n ? list[i + 1] : f->path);
    vmsig_segments_free(list, n > 0 ? n : 0);
    return next;
}

static int look(follower *f) {
    char *next = after_ours(f); /* looked for first: then ours is complete */
    int err = read_on(f);
    if (!err && next && f->check.verdict == VMSIG_AUDIT_VALID) {
        close(f->fd);
        err = open_log(f, next);
    }
    free(next);
    return err;
}

int vmsig_audit_follow(const char *path, bool json) {
    follower *f = calloc(1, sizeof *f);
    if (!f)
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "audit", "%s", strerror(ENOMEM));
    f->path = path;
    f->json = json;
    f->check.from_anywhere = true;
    int err = open_log(f, path);
    if (!err)
        err = read_on(f); /* up to now: looked at, not shown */
    f->check.on_entry = on_entry;
    f->check.ud = f;
    while (!err && !f->gone && f->check.verdict == VMSIG_AUDIT_VALID && !vmsig_cli_reader_gone()) {
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
        err = look(f);
    }
    int code = VMSIG_EXIT_OK;
    if (err)
        code = vmsig_cli_fail(VMSIG_EXIT_NOINPUT, "audit", "%s: %s", path, strerror(-err));
    else if (f->check.verdict != VMSIG_AUDIT_VALID)
        code = vmsig_cli_fail(VMSIG_EXIT_FAILURE, "audit", "%s", f->check.why);
    if (f->fd >= 0)
        close(f->fd);
    free(f);
    return code;
}
