/* The audit logs of the gateways: what takes privilege. A gateway is given fds: the present segment, the one before where
 * that is empty, the sealing key. The first key is made once, beside the log, and is of no more use to what runs: whoever
 * takes it away from this machine can tell whether the log was rewritten.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schema/audit.h"
#include "supervisor/segments.h"
#include "supervisor/supervisor.h"

static bool is_empty(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_size == 0;
}

static int open_beside(const char *log, const char *ending, int flags) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s%s", log, ending) >= (int)sizeof path)
        return -ENAMETOOLONG;
    int fd = open(path, flags | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

/* ---- keys ------------------------------------------------------------------------------------------------- */

static int read_key(int fd, uint8_t key[VMSIG_AUDIT_KEY]) {
    char text[VMSIG_AUDIT_KEY_TEXT + 1];
    uint64_t generation;
    ssize_t n = pread(fd, text, sizeof text, 0);
    bool good = n > 0 && vmsig_audit_key_parse(text, (size_t)n, &generation, key) && generation == 0;
    sodium_memzero(text, sizeof text);
    return n < 0 ? -errno : good ? 0 : -EBADMSG;
}

static int write_key(int fd, const uint8_t key[VMSIG_AUDIT_KEY]) {
    char text[VMSIG_AUDIT_KEY_TEXT + 1];
    size_t len = vmsig_audit_key_text(0, key, text);
    ssize_t n = pwrite(fd, text, len, 0);
    sodium_memzero(text, sizeof text);
    return n == (ssize_t)len && fsync(fd) == 0 ? 0 : n < 0 || n == (ssize_t)len ? -errno : -ENOSPC;
}

/* The first key: the one that is there, or, for a log that has no records yet, a new one. */
static int first_key(const char *log, bool fresh, uint8_t key[VMSIG_AUDIT_KEY]) {
    int fd = open_beside(log, ".key", fresh ? O_RDWR | O_CREAT : O_RDWR);
    if (fd < 0) {
        vmsig_sup_say("%s.key: %s%s", log, strerror(-fd),
                      fresh ? ""
                            : "; the log cannot go on without it or "
                              "the .seal file: bring one back, or move the log away");
        return fd;
    }
    int rc = is_empty(fd) && fresh ? 1 : read_key(fd, key);
    if (rc == 1)
        rc = getrandom(key, VMSIG_AUDIT_KEY, 0) == VMSIG_AUDIT_KEY ? write_key(fd, key) : -errno;
    if (rc)
        vmsig_sup_say("%s.key: %s", log, rc == -EBADMSG ? "expected a key of 64 hexadecimal digits" : strerror(-rc));
    close(fd);
    return rc;
}

/* The sealing key's file, made of the first key where there is none. */
static int open_seal(const char *log, bool fresh) {
    uint8_t key[VMSIG_AUDIT_KEY];
    int fd = open_beside(log, ".seal", O_RDWR);
    if (fd >= 0 && !is_empty(fd))
        return fd;
    if (fd >= 0)
        close(fd);
    int rc = first_key(log, fresh, key);
    if (rc)
        return rc;
    fd = open_beside(log, ".seal", O_RDWR | O_CREAT);
    rc = fd < 0 ? fd : write_key(fd, key);
    sodium_memzero(key, sizeof key);
    if (rc)
        vmsig_sup_say("%s.seal: %s", log, strerror(-rc));
    if (rc && fd >= 0)
        close(fd);
    return rc ? rc : fd;
}

/* ---- segments --------------------------------------------------------------------------------------------- */

/* The newest of the former ones: its number, 0 = there is none; and its path. */
static int newest(const char *log, uint32_t *number, char path[PATH_MAX]) {
    char **list;
    int n = vmsig_segments(log, &list);
    if (n < 0)
        return n;
    *number = n ? vmsig_segment_number(list[n - 1]) : 0;
    snprintf(path, PATH_MAX, "%s", n ? list[n - 1] : "");
    vmsig_segments_free(list, n);
    return 0;
}

int vmsig_sup_audit_open(const char *log, vmsig_sup_sockets *to) {
    char path[PATH_MAX];
    uint32_t number = 0;
    int fd = open_beside(log, "", O_RDWR | O_CREAT), rc = fd < 0 ? fd : newest(log, &number, path);
    if (rc) {
        vmsig_sup_say("%s: %s", log, strerror(-rc));
        if (fd >= 0)
            close(fd);
        return rc;
    }
    to->audit = fd;
    to->seal = open_seal(log, is_empty(fd) && number == 0);
    if (to->seal < 0)
        return to->seal;
    if (flock(to->seal, LOCK_EX | LOCK_NB) == 0) /* as long as anybody has that fd */
        return 0;
    vmsig_sup_say("%s: another topology that runs writes this audit log", log);
    return -EBUSY;
}

int vmsig_sup_audit_prev(const vmsig_sup *s, size_t i) {
    char path[PATH_MAX];
    uint32_t number;
    if (s->gateway[i].audit < 0 || !is_empty(s->gateway[i].audit) ||
        newest(s->topo->actors[i].audit, &number, path) != 0 || number == 0)
        return -1;
    return open(path, O_RDWR | O_CLOEXEC);
}

/* The present one gets a number, and a new one its name. One that is empty is new already: its sender died on the way. */
static int next_segment(vmsig_sup *s, size_t i) {
    const char *log = s->topo->actors[i].audit;
    char path[PATH_MAX];
    uint32_t number;
    if (is_empty(s->gateway[i].audit))
        return 0;
    int rc = newest(log, &number, path);
    if (rc == 0)
        rc = vmsig_segment_path(log, number + 1, path, sizeof path);
    if (rc == 0 && rename(log, path))
        rc = -errno;
    if (rc)
        return rc;
    int fd = open_beside(log, "", O_RDWR | O_CREAT | O_EXCL);
    if (fd < 0) {
        if (rename(path, log))
            vmsig_sup_say("%s: %s", path, strerror(errno));
        return fd;
    }
    vmsig_sup_close(&s->gateway[i].audit);
    s->gateway[i].audit = fd;
    vmsig_sup_shelve_sockets(s);
    return 0;
}

void vmsig_sup_audit_full(vmsig_sup_actor *a) {
    if (a->sup->gateway[a->index].audit < 0)
        return;
    int rc = next_segment(a->sup, a->index);
    if (rc)
        vmsig_sup_say_of(a, "%s: no new file for the audit log: %s", a->topo->audit, strerror(-rc));
    else
        vmsig_sup_send_fd(a, VMSIG__PB__FD_KIND__FD_AUDIT, a->sup->gateway[a->index].audit);
}
