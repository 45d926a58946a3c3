/* audit.c: what a record costs the loop of the gateway, and how long one takes until it is durable. The floors: the same
 * bytes by pwrite alone; and by pwrite and fdatasync. The file lies in TMPDIR, or in /var/tmp. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors/gateway/audit.h"
#include "bench/bench.h"

#define APPENDS 20000u
#define SYNCS   50u
#define STORED  110u /* a usual record */

static int new_file(void) {
    char path[4096];
    const char *dir = getenv("TMPDIR");
    snprintf(path, sizeof path, "%.4000s/vmsig-bench-XXXXXX", dir ? dir : "/var/tmp");
    int fd = mkstemp(path);
    if (fd < 0)
        bench_fail("%s: a file cannot be made there", path);
    unlink(path);
    return fd;
}

static vmsig_audit *new_log(int fd, int seal) {
    static const uint8_t key[VMSIG_AUDIT_KEY] = {1};
    char text[VMSIG_AUDIT_KEY_TEXT + 1], why[256];
    size_t len = vmsig_audit_key_text(0, key, text);
    if (pwrite(seal, text, len, 0) != (ssize_t)len)
        bench_fail("the key cannot be written");
    vmsig_audit_cfg cfg = {.fd = fd, .prev_fd = -1, .seal_fd = seal, .gateway = "bench", .segment_bytes = UINT64_MAX};
    vmsig_audit *a;
    if (vmsig_audit_open(&cfg, &a, why))
        bench_fail("%s", why);
    return a;
}

static uint64_t append(vmsig_audit *a, uint64_t i, vmsig_audit_when when) {
    vmsig_audit_record r = {.ts_ns = 1700000000000000000ull + i,
                            .token = 77,
                            .corr = i << 10,
                            .what = VMSIG_AUDIT_INTENT,
                            .principal = 1000,
                            .epoch = 3,
                            .kind = VMSIG_CMD_INPUT};
    uint64_t seq = 0;
    if (vmsig_audit_append(a, &r, when, &seq))
        bench_fail("the audit log cannot be written");
    return seq;
}

static void wait_for(vmsig_audit *a, uint64_t seq) {
    while (vmsig_audit_look(a, 0), vmsig_audit_durable(a) < seq) {
        struct pollfd p = {.fd = vmsig_audit_fd(a), .events = POLLIN};
        if (vmsig_audit_error(a) || poll(&p, 1, 60000) == 0)
            bench_fail("the audit log does not become durable");
    }
}

static void plain(int fd, uint64_t i) {
    static const uint8_t bytes[STORED];
    if (pwrite(fd, bytes, sizeof bytes, (off_t)(i * STORED)) != (ssize_t)sizeof bytes)
        bench_fail("the file cannot be written");
}

typedef struct bed {
    int fd, seal, floor_fd;
    vmsig_audit *a;
    bench_hist *h;
    bench_series append, write, sync, fdatasync;
} bed;

static void round_of(bed *b, unsigned scale) {
    uint32_t appends = APPENDS * scale / 100 + 1, syncs = SYNCS * scale / 100 + 1;
    bench_hist_reset(b->h);
    for (uint32_t i = 0; i < appends; i++) {
        uint64_t t = bench_ticks();
        append(b->a, i, VMSIG_AUDIT_LATER);
        bench_hist_add(b->h, bench_ticks() - t);
    }
    bench_add_latency(&b->append, b->h, 1);
    bench_hist_reset(b->h);
    for (uint32_t i = 0; i < appends; i++) {
        uint64_t t = bench_ticks();
        plain(b->floor_fd, i);
        bench_hist_add(b->h, bench_ticks() - t);
    }
    bench_add_latency(&b->write, b->h, 1);
    wait_for(b->a, append(b->a, 0, VMSIG_AUDIT_NOW));
    bench_hist_reset(b->h);
    for (uint32_t i = 0; i < syncs; i++) {
        uint64_t t = bench_ticks();
        wait_for(b->a, append(b->a, i, VMSIG_AUDIT_NOW));
        bench_hist_add(b->h, bench_ticks() - t);
    }
    bench_add_latency(&b->sync, b->h, 1);
    if (fdatasync(b->floor_fd))
        bench_fail("the file cannot be synced");
    bench_hist_reset(b->h);
    for (uint32_t i = 0; i < syncs; i++) {
        uint64_t t = bench_ticks();
        plain(b->floor_fd, appends + i);
        if (fdatasync(b->floor_fd))
            bench_fail("the file cannot be synced");
        bench_hist_add(b->h, bench_ticks() - t);
    }
    bench_add_latency(&b->fdatasync, b->h, 1);
    if (ftruncate(b->floor_fd, 0))
        bench_fail("the file cannot be cut");
}

void bench_audit(const bench_options *o) {
    bed b = {.fd = new_file(),
             .seal = new_file(),
             .floor_fd = new_file(),
             .h = malloc(sizeof(bench_hist)),
             .append = {.name = "append"},
             .write = {.name = "floor: the same bytes by pwrite"},
             .sync = {.name = "append until durable"},
             .fdatasync = {.name = "floor: pwrite and fdatasync"}};
    if (b.h == NULL)
        bench_fail("out of memory");
    b.a = new_log(b.fd, b.seal);
    for (unsigned r = 0; r < o->rounds; r++) {
        bench_progress(o, r);
        round_of(&b, o->scale);
    }
    bench_report_title(o, "a record of the audit log");
    bench_report(o, &b.write, NULL, 0);
    bench_report(o, &b.append, (const bench_series *[]){&b.write}, 1);
    bench_report(o, &b.fdatasync, NULL, 0);
    bench_report(o, &b.sync, (const bench_series *[]){&b.fdatasync}, 1);
    vmsig_audit_close(b.a, 60000);
    close(b.fd);
    close(b.seal);
    close(b.floor_fd);
    free(b.h);
}
