/* A QEMU that somebody else started: it is watched, read, and left alone.
 *
 *   wait for its socket ──► greet, find the RAM's backend, compare it with the file ──► up: events, samples ──EOF──┐
 *            └◄─────────────────────────── down, in a new epoch ◄──────────────────────────────────────────────────┘
 *
 * Its guest's resets are told after the fact, and cannot be made to wait as those of a QEMU of our own: a command could
 * hit the guest that has booted anew. So nothing that has an effect is sent. Nor is memory written: its file is not
 * sealed and has writers that we know nothing of. What of RAM cannot be had, and why, is said. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "actors/hosts/qemu/monitor.h"
#include "actors/hosts/qemu/qemu_i.h"

#define ANSWER_NS (5000 * VMSIG_QMP_MS)
#define AGAIN_NS  (250 * VMSIG_QMP_MS) /* between two looks whether QEMU is there */

#define OFF                                                                                                            \
    "attached: input, lifecycle commands and memory writes are off, since a reset of a guest that somebody else "      \
    "started cannot be made to wait for them"

/* ---- RAM --------------------------------------------------------------------------------------------- */

static int no_ram(vmsig_qemu_attach *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int no_ram(vmsig_qemu_attach *a, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(a->why, sizeof a->why, fmt, ap);
    va_end(ap);
    return -1;
}

/* QEMU's own path of it may not be ours: what cannot be found says nothing. */
static bool another_file(const char *path, const struct stat *st) {
    struct stat theirs;
    return path[0] && stat(path, &theirs) == 0 && (theirs.st_dev != st->st_dev || theirs.st_ino != st->st_ino);
}

/* An fd of the file, if it is the VM's RAM, whole, and nobody to whom it is handed could open it for writing. */
static int check_file(vmsig_qemu_attach *a, int fd) {
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return no_ram(a, "%s: %s (as user %u)", a->ram, strerror(errno), (unsigned)geteuid());
    if (!S_ISREG(st.st_mode))
        return no_ram(a, "%s is no file", a->ram);
    if ((uint64_t)st.st_size != a->bytes)
        return no_ram(a, "%s has %" PRIu64 " bytes, and the VM's RAM %" PRIu64, a->ram, (uint64_t)st.st_size, a->bytes);
    if (another_file(a->mem_path, &st))
        return no_ram(a, "%s is not the file of QEMU's RAM, which is %s", a->ram, a->mem_path);
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return no_ram(a, "%s can be written by others than its owner (mode %o)", a->ram, st.st_mode & 07777);
    return fd;
}

static int open_file(vmsig_qemu_attach *a) {
    if (!a->ram)
        return no_ram(a, "no file is named by `ram`");
    if (!a->backend[0])
        return no_ram(a, "QEMU has not all of its RAM in one backend (-machine memory-backend=)");
    if (!a->shared)
        return no_ram(a, "the backend %s is QEMU's alone (share=on is missing)", a->backend);
    int fd = open(a->ram, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int rc = check_file(a, fd);
    if (rc < 0 && fd >= 0)
        close(fd);
    return rc;
}

static int offer_file(vmsig_qemu *q) {
    int fd = open_file(q->attach);
    if (fd < 0)
        return fd;
    q->ram_id = vmsig_host_epoch(q->host);
    int rc = vmsig_host_offer_ram(q->host, q->ram_id, fd);
    close(fd);
    return rc < 0 ? no_ram(q->attach, "its file cannot be handed on: %s", strerror(-rc)) : 0;
}

/* ---- finding out what it is -------------------------------------------------------------------------- */

static bool answered(vmsig_qemu *q, int rc, const json_t *value) {
    if (rc == -ETIMEDOUT)
        vmsig_qemu_fail(q, "attach: %s: QEMU does not answer; perhaps its socket has another client", q->attach->qmp);
    else if (rc == -EREMOTEIO)
        vmsig_qemu_fail(q, "attach: %s: %s", q->attach->qmp, json_string_value(value));
    return rc == 0;
}

static void on_greeted(void *ud, uint32_t tag, int rc, const json_t *value) {
    (void)tag;
    answered(ud, rc, value);
}

static void keep_text(char *to, size_t room, int rc, const json_t *value) {
    const char *text = rc == 0 ? json_string_value(value) : NULL;
    snprintf(to, room, "%s", text ? text : "");
}

static void on_mem_path(void *ud, uint32_t tag, int rc, const json_t *value) {
    vmsig_qemu_attach *a = ((vmsig_qemu *)ud)->attach;
    (void)tag;
    keep_text(a->mem_path, sizeof a->mem_path, rc, value);
}

static void on_size(void *ud, uint32_t tag, int rc, const json_t *value) {
    (void)tag;
    ((vmsig_qemu *)ud)->attach->bytes = rc == 0 ? (uint64_t)json_integer_value(value) : 0;
}

static void on_share(void *ud, uint32_t tag, int rc, const json_t *value) {
    (void)tag;
    ((vmsig_qemu *)ud)->attach->shared = rc == 0 && json_is_true(value);
}

static void on_status(void *ud, uint32_t tag, int rc, const json_t *value) {
    vmsig_qemu *q = ud;
    (void)tag;
    if (answered(q, rc, value))
        q->want = vmsig_qemu_state_of(json_string_value(json_object_get(value, "status")));
}

/* The last answer: everything else is known. */
static void on_map(void *ud, uint32_t tag, int rc, const json_t *value) {
    vmsig_qemu *q = ud;
    vmsig_qemu_attach *a = q->attach;
    uint64_t low;
    (void)tag;
    if (!answered(q, rc, value) || q->failed)
        return;
    q->ram_name[0] = 0;
    a->why[0] = 0;
    rc = offer_file(q);
    if (rc == 0 && vmsig_monitor_segments(json_string_value(value), a->backend, q->segs, VMSIG_SEGS_MAX, &low) < 0)
        rc = no_ram(a, "QEMU's map of memory does not show the backend %s", a->backend);
    if (rc == 0)
        memcpy(q->ram_name, a->backend, sizeof a->backend);
    char text[448];
    snprintf(text, sizeof text, OFF "%s%.200s", a->why[0] ? "; memctx and RAM are off: " : "", a->why);
    vmsig_host_remark(q->host, text);
    vmsig_host_log(q->host, "%s", text);
    q->up = true;
    vmsig_qemu_tell(q, q->want, 0);
    vmsig_qemu_sample(q);
}

#define GET(of) "\"execute\":\"qom-get\",\"arguments\":{\"path\":\"%s\",\"property\":\"" of "\"}"

static void on_backend(void *ud, uint32_t tag, int rc, const json_t *value) {
    vmsig_qemu *q = ud;
    vmsig_qemu_attach *a = q->attach;
    uint64_t at = vmsig_now_ns() + ANSWER_NS;
    char path[160];
    (void)tag;
    if (rc == -ESHUTDOWN)
        return;
    keep_text(path, sizeof path, rc, value);
    if (strpbrk(path, "\"\\")) /* none that -object can make */
        path[0] = 0;
    const char *name = strrchr(path, '/');
    snprintf(a->backend, sizeof a->backend, "%s", name ? name + 1 : "");
    rc = vmsig_qmp_send(q->qmp, at, on_size, q, 0, GET("size"), path);
    if (rc == 0)
        rc = vmsig_qmp_send(q->qmp, at, on_share, q, 0, GET("share"), path);
    if (rc == 0)
        rc = vmsig_qmp_send(q->qmp, at, on_mem_path, q, 0, GET("mem-path"), path);
    if (rc == 0)
        rc = vmsig_qmp_send(q->qmp, at, on_status, q, 0, "\"execute\":\"query-status\"");
    if (rc == 0)
        rc = vmsig_qmp_send(q->qmp, at, on_map, q, 0,
                            "\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"info mtree -f\"}");
    if (rc < 0)
        vmsig_qemu_fail(q, "attach: %s: QEMU takes no commands", a->qmp);
}

static int ask(vmsig_qemu *q) {
    uint64_t at = vmsig_now_ns() + ANSWER_NS;
    int rc = vmsig_qmp_send(q->qmp, at, on_greeted, q, 0, "\"execute\":\"qmp_capabilities\"");
    if (rc < 0)
        return rc;
    return vmsig_qmp_send(
        q->qmp, at, on_backend, q, 0,
        "\"execute\":\"qom-get\",\"arguments\":{\"path\":\"/machine\",\"property\":\"memory-backend\"}");
}

/* ---- what it tells ----------------------------------------------------------------------------------- */

static void moved(vmsig_qemu *q, vmsig_vm_state state) {
    vmsig_qemu_move_epoch(q, state, 0);
    vmsig_qemu_sample(q);
}

/* Who has stopped the VM may have loaded a snapshot before he let it go on. */
static void on_run(vmsig_qemu *q, bool runs) {
    if (runs == (q->state == VMSIG_VM_RUNNING))
        return;
    if (runs && q->foreign) {
        moved(q, VMSIG_VM_RUNNING);
    } else if (runs || q->state == VMSIG_VM_RUNNING) {
        q->foreign = !runs;
        vmsig_qemu_tell(q, runs ? VMSIG_VM_RUNNING : VMSIG_VM_PAUSED, 0);
        vmsig_qemu_sample(q);
    }
}

static void on_event(void *ud, const char *name, const json_t *data) {
    vmsig_qemu *q = ud;
    (void)data;
    if (!q->up)
        return; /* its state will be asked for */
    if (strcmp(name, "RESET") == 0)
        moved(q, q->state);
    else if (strcmp(name, "STOP") == 0)
        on_run(q, false);
    else if (strcmp(name, "RESUME") == 0)
        on_run(q, true);
    else if (strcmp(name, "SUSPEND") == 0)
        vmsig_qemu_tell(q, VMSIG_VM_SUSPENDED, 0);
    else if (strcmp(name, "WAKEUP") == 0)
        moved(q, VMSIG_VM_RUNNING);
    else if (strcmp(name, "SHUTDOWN") == 0 && q->state != VMSIG_VM_SHUTDOWN)
        moved(q, VMSIG_VM_SHUTDOWN);
    else if (strcmp(name, "GUEST_PANICKED") == 0 && q->state != VMSIG_VM_CRASHED)
        moved(q, VMSIG_VM_CRASHED);
}

/* ---- coming and going -------------------------------------------------------------------------------- */

/* Not from within its own callbacks. */
static void disconnect(vmsig_qemu *q) {
    vmsig_qmp_free(q->qmp);
    q->qmp = NULL;
    if (q->machine.qmp_fd >= 0)
        close(q->machine.qmp_fd);
    q->machine.qmp_fd = -1;
}

static void wait_for_it(vmsig_qemu *q, int err) {
    const char *why = err ? strerror(err) : "QEMU has ended";
    vmsig_qemu_attach *a = q->attach;
    if (strcmp(a->waits, why) != 0) {
        snprintf(a->waits, sizeof a->waits, "%s", why);
        char text[448];
        int n = snprintf(text, sizeof text, "waits for a QEMU at %.250s: %s", a->qmp, why);
        if (err == EACCES)
            snprintf(text + n, sizeof text - (size_t)n, " (as user %u)", (unsigned)geteuid());
        vmsig_host_log(q->host, "%s", text);
        vmsig_host_remark(q->host, text);
    }
    vmsig_timer_set(a->again, vmsig_now_ns() + AGAIN_NS, 0);
}

/* EOF is its end, or that of the socket's use: there is no telling. */
static void on_stream_end(void *ud, int rc) {
    vmsig_qemu *q = ud;
    if (rc < 0) {
        vmsig_qemu_fail(q, "attach: %s: what is there speaks no QMP", q->attach->qmp);
        return;
    }
    vmsig_timer_set(q->sample_timer, 0, 0);
    q->sampling = false;
    if (q->up) {
        q->up = false;
        vmsig_qemu_move_epoch(q, VMSIG_VM_DOWN, 0);
    }
    wait_for_it(q, 0);
}

static int connect_to(const char *path) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof at.sun_path)
        return -ENAMETOOLONG;
    strcpy(at.sun_path, path);
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s < 0 || connect(s, (struct sockaddr *)&at, sizeof at) == 0)
        return s < 0 ? -errno : s;
    int err = errno;
    close(s);
    return -err;
}

static void try_to_connect(void *ud) {
    static const vmsig_qmp_ops ops = {.event = on_event, .ended = on_stream_end};
    vmsig_qemu *q = ud;
    disconnect(q);
    int fd = connect_to(q->attach->qmp);
    if (fd < 0) {
        wait_for_it(q, -fd);
        return;
    }
    q->machine.qmp_fd = fd;
    int rc = vmsig_qmp_new(q->loop, fd, &ops, q, &q->qmp);
    if (rc == 0)
        rc = ask(q);
    if (rc < 0)
        vmsig_qemu_fail(q, "attach: %s: %s", q->attach->qmp, strerror(-rc));
    q->attach->waits[0] = 0;
}

/* ---- the backend ------------------------------------------------------------------------------------- */

static int start(void *vm, vmsig_host *host) {
    vmsig_qemu *q = vm;
    q->host = host;
    vmsig_qemu_tell(q, VMSIG_VM_DOWN, 0);
    try_to_connect(q);
    return 0;
}

static int no_input(void *vm, uint32_t corr, const vmsig_input *in, uint32_t n) {
    (void)vm, (void)corr, (void)in, (void)n;
    return VMSIG_UNAVAILABLE;
}

static int no_lifecycle(void *vm, uint32_t corr, uint32_t op) {
    (void)vm, (void)corr, (void)op;
    return VMSIG_UNAVAILABLE;
}

static void close_attached(void *vm) {
    vmsig_qemu *q = vm;
    vmsig_qemu_attach *a = q->attach;
    disconnect(q);
    vmsig_timer_free(a->again);
    free(a->qmp);
    free(a->ram);
    free(a);
    vmsig_qemu_free(q);
}

static const vmsig_host_backend backend_attached = {.name = "qemu",
                                                    .start = start,
                                                    .input = no_input,
                                                    .lifecycle = no_lifecycle,
                                                    .query = vmsig_qemu_query,
                                                    .fd = vmsig_qemu_fd,
                                                    .on_readable = vmsig_qemu_on_readable,
                                                    .why = vmsig_qemu_why,
                                                    .close = close_attached};

static int prepare(vmsig_qemu *q, const char *qmp, const char *ram) {
    vmsig_qemu_attach *a = calloc(1, sizeof *a);
    if (!a)
        return -ENOMEM;
    q->attach = a;
    a->qmp = strdup(qmp);
    a->ram = ram ? strdup(ram) : NULL;
    if (!a->qmp || (ram && !a->ram))
        return -ENOMEM;
    int rc = vmsig_loop_new(&q->loop);
    if (rc == 0)
        rc = vmsig_timer_new(q->loop, vmsig_qemu_sample_timer, q, &q->sample_timer);
    return rc == 0 ? vmsig_timer_new(q->loop, try_to_connect, q, &a->again) : rc;
}

int vmsig_qemu_attach_make(const char *(*option)(void *ud, const char *key), void *ud,
                           const vmsig_host_backend **backend, void **vm, char *err, size_t err_len) {
    const char *qmp = option(ud, VMSIG_QEMU_ATTACH);
    vmsig_qemu *q = qmp ? calloc(1, sizeof *q) : NULL;
    if (!q) {
        snprintf(err, err_len, "%s", qmp ? "no memory for a VM" : "attach: it needs the path of a QMP socket");
        return qmp ? -ENOMEM : -EINVAL;
    }
    vmsig_machine_none(&q->machine);
    int rc = prepare(q, qmp, option(ud, VMSIG_QEMU_ATTACH_RAM));
    if (rc < 0) {
        snprintf(err, err_len, "the VM cannot be watched: %s", strerror(-rc));
        close_attached(q);
        return rc;
    }
    *backend = &backend_attached;
    *vm = q;
    return 0;
}
