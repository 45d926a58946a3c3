/* log.h: an audit log in a folder of its own, as the gateway keeps it, and a look at it as `vmsig audit verify` has. */
#ifndef TESTS_AUDIT_LOG_H
#define TESTS_AUDIT_LOG_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/gateway/audit.h"
#include "actors/runtime/loop.h"

#define LOG_FILES 16

typedef struct log_dir {
    int file[LOG_FILES]; /* segments, oldest first */
    int files_n;
    int seal;
    uint8_t first_key[VMSIG_AUDIT_KEY];
    vmsig_audit_cfg cfg;
    vmsig_audit *a;
    int full_n, state_n, last_state;
    char last_text[256], why[256];
} log_dir;

static inline int log_file(void) {
    int fd = memfd_create("audit", MFD_CLOEXEC);
    cr_assert_geq(fd, 0);
    return fd;
}

static inline void log_full(void *ud) {
    ((log_dir *)ud)->full_n++;
}
static inline void log_state(void *ud, int error, const char *text) {
    log_dir *d = ud;
    d->state_n++;
    d->last_state = error;
    snprintf(d->last_text, sizeof d->last_text, "%s", text);
}

static inline log_dir *log_new(void) {
    log_dir *d = calloc(1, sizeof *d);
    char text[VMSIG_AUDIT_KEY_TEXT + 1];
    for (size_t i = 0; i < sizeof d->first_key; i++)
        d->first_key[i] = (uint8_t)(i * 7 + 1);
    d->seal = log_file();
    size_t n = vmsig_audit_key_text(0, d->first_key, text);
    cr_assert_eq(pwrite(d->seal, text, n, 0), (ssize_t)n);
    d->file[d->files_n++] = log_file();
    d->cfg = (vmsig_audit_cfg){.fd = d->file[0],
                               .prev_fd = -1,
                               .seal_fd = d->seal,
                               .gateway = "gate",
                               .incarnation = 1,
                               .checkpoint_every = 16,
                               .full = log_full,
                               .state = log_state,
                               .ud = d};
    return d;
}
/* A gateway goes on with the newest file. */
static inline void log_open(log_dir *d) {
    d->cfg.fd = d->file[d->files_n - 1];
    d->cfg.prev_fd = d->files_n > 1 ? d->file[d->files_n - 2] : -1;
    cr_assert_eq(vmsig_audit_open(&d->cfg, &d->a, d->why), 0, "%s", d->why);
}
static inline void log_close(log_dir *d) {
    vmsig_audit_close(d->a, 10000);
    d->a = NULL;
}
static inline void log_free(log_dir *d) {
    log_close(d);
    for (int i = 0; i < d->files_n; i++)
        close(d->file[i]);
    close(d->seal);
    free(d);
}

static inline vmsig_audit_record log_fact(uint32_t i) {
    return (vmsig_audit_record){.ts_ns = 1000000000ull + i,
                                .token = i * 3ull,
                                .corr = i,
                                .what = VMSIG_AUDIT_INTENT,
                                .principal = 1000 + i % 3,
                                .endpoint = i % 64,
                                .epoch = i,
                                .cls = i % 4 == 3 ? UINT32_MAX : i % 4,
                                .kind = VMSIG_CMD_INPUT,
                                .status = (int32_t)(i % 5),
                                .detail = i};
}
static inline void log_write(log_dir *d, uint32_t from, uint32_t n) {
    for (uint32_t i = from; i < from + n; i++) {
        vmsig_audit_record r = log_fact(i);
        cr_assert_eq(vmsig_audit_append(d->a, &r, VMSIG_AUDIT_LATER, NULL), 0);
    }
}

/* Looks until `condition`, for at most 20 s. */
#define LOG_UNTIL(d, condition)                                                                                        \
    __extension__({                                                                                                    \
        uint64_t end = vmsig_now_ns() + 20000000000u;                                                                  \
        bool met = false;                                                                                              \
        while (vmsig_audit_look((d)->a, vmsig_now_ns()), !(met = (condition)) && vmsig_now_ns() < end) {               \
            struct pollfd p = {.fd = vmsig_audit_fd((d)->a), .events = POLLIN};                                        \
            poll(&p, 1, 20);                                                                                           \
        }                                                                                                              \
        met;                                                                                                           \
    })

typedef struct log_bytes {
    uint8_t *at;
    size_t len;
} log_bytes;

static inline log_bytes log_read(int fd) {
    struct stat st;
    cr_assert_eq(fstat(fd, &st), 0);
    log_bytes b = {.at = malloc((size_t)st.st_size + 1), .len = (size_t)st.st_size};
    cr_assert_eq(pread(fd, b.at, b.len, 0), (ssize_t)b.len);
    return b;
}

/* Where each record ends: ends[0] is the first's; how many. */
static inline size_t log_ends(log_bytes b, size_t *ends, size_t max) {
    size_t n = 0, at = 0, stored;
    Vmsig__Pb__AuditEntry *e;
    while (at < b.len && n < max && vmsig_audit_load(b.at + at, b.len - at, &stored, &e) == 1) {
        vmsig__pb__audit_entry__free_unpacked(e, NULL);
        ends[n++] = at += stored;
    }
    return n;
}

/* One segment by itself. */
static inline vmsig_audit_verdict log_verdict(const log_dir *d, log_bytes b, const vmsig_audit_chain *anchor,
                                              vmsig_audit_check *out) {
    vmsig_audit_check c = {.keyed = true, .anchored = anchor != NULL};
    memcpy(c.key, d->first_key, sizeof c.key);
    if (anchor)
        c.anchor = *anchor;
    vmsig_audit_check_segment(&c, "log", b.at, b.len);
    vmsig_audit_verdict v = vmsig_audit_check_end(&c);
    cr_expect_eq(v == VMSIG_AUDIT_VALID, c.why[0] == 0, "%d: %s", (int)v, c.why);
    if (out)
        *out = c;
    return v;
}
/* All of them. */
static inline vmsig_audit_verdict log_verify(const log_dir *d, vmsig_audit_check *out) {
    vmsig_audit_check c = {.keyed = true};
    memcpy(c.key, d->first_key, sizeof c.key);
    for (int i = 0; i < d->files_n; i++) {
        log_bytes b = log_read(d->file[i]);
        vmsig_audit_check_segment(&c, "segment", b.at, b.len);
        free(b.at);
    }
    vmsig_audit_check_end(&c);
    if (out)
        *out = c;
    return c.verdict;
}

#endif
