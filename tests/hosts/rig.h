/* rig.h: a host under test: its epoch and fence pages, and a hook that keeps what it emits. */
#ifndef TEST_HOSTS_RIG_H
#define TEST_HOSTS_RIG_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors/hosts/host.h"
#include "rings/shm.h"

#define EP         5u
#define TOKEN      42u
#define EVENTS_MAX 256

typedef struct rig {
    vmsig_epoch_page *epoch;
    vmsig_fence_page *fences;
    bool no_fences, full; /* full: the transport has no room */
    uint32_t ram_id;
    int ram_fd;
    char remark[512];
    vmsig_event ev[EVENTS_MAX]; /* payloads are dropped */
    int n;
    vmsig_host *host;
    uint64_t corr;
} rig;

static inline const vmsig_source_ops *ops(void) {
    return vmsig_host_source_ops();
}

static inline const vmsig_fence_page *rig_fences(void *ud) {
    rig *r = ud;
    return r->no_fences ? NULL : r->fences;
}

static inline int rig_offer(void *ud, uint32_t ram_id, int fd) {
    rig *r = ud;
    r->ram_id = ram_id;
    if (r->ram_fd >= 0)
        close(r->ram_fd);
    r->ram_fd = dup(fd);
    return 0;
}

static inline void rig_remark(void *ud, const char *text) {
    snprintf(((rig *)ud)->remark, sizeof((rig *)ud)->remark, "%s", text);
}

static inline int rig_emit(void *token, vmsig_event *ev) {
    rig *r = token;
    if (r->full) {
        errno = EAGAIN;
        return -1;
    }
    cr_assert_lt(r->n, EVENTS_MAX);
    free(ev->payload);
    ev->payload = NULL;
    r->ev[r->n++] = *ev;
    return 0;
}

static inline void rig_pages(rig *r) {
    *r = (rig){.ram_fd = -1};
    int e = vmsig_shm_create("epoch", VMSIG_EPOCH_BYTES), f = vmsig_shm_create("fence", VMSIG_FENCE_BYTES);
    cr_assert_geq(e, 0);
    cr_assert_geq(f, 0);
    cr_assert_eq(vmsig_epoch_create(e, EP, 1, 7, &r->epoch), 0);
    cr_assert_eq(vmsig_fence_create(f, &r->fences), 0);
    close(e);
    close(f);
    for (unsigned cls = 0; cls < VMSIG_LEASE_CLASSES; cls++)
        vmsig_fence_grant(r->fences, EP, (vmsig_lease_class)cls, TOKEN);
}

static inline vmsig_host_env rig_env(rig *r, int state_fd) {
    return (vmsig_host_env){.epoch = r->epoch,
                            .fences = rig_fences,
                            .offer_ram = rig_offer,
                            .remark = rig_remark,
                            .state_fd = state_fd,
                            .ud = r};
}

static inline void rig_start(rig *r) {
    ops()->set_emit_up(r->host, rig_emit, r);
}

static inline void rig_end(rig *r) {
    if (r->host)
        ops()->close(r->host);
    vmsig_epoch_close(r->epoch);
    vmsig_fence_close(r->fences);
    if (r->ram_fd >= 0)
        close(r->ram_fd);
}

/* A command of the current epoch with the token that is granted. */
static inline vmsig_event rig_cmd(rig *r, uint8_t kind, const void *body, size_t len) {
    vmsig_event ev = {.corr = ++r->corr,
                      .ts_ns = 1000 + r->corr,
                      .token = TOKEN,
                      .endpoint = EP,
                      .epoch = vmsig_host_epoch(r->host),
                      .merged = 1,
                      .dir = VMSIG_DIR_DOWN,
                      .kind = kind,
                      .inln_len = (uint32_t)len};
    memcpy(ev.inln, body, len);
    return ev;
}

static inline const vmsig_event *rig_last(const rig *r, uint8_t kind) {
    for (int i = r->n - 1; i >= 0; i--)
        if (r->ev[i].kind == kind)
            return &r->ev[i];
    return NULL;
}

static inline int rig_count(const rig *r, uint8_t kind) {
    int n = 0;
    for (int i = 0; i < r->n; i++)
        n += r->ev[i].kind == kind;
    return n;
}

/* The status of the one result for corr; -1 none, -2 several. */
static inline int rig_status(const rig *r, uint64_t corr) {
    int status = -1;
    for (int i = 0; i < r->n; i++) {
        vmsig_result res;
        if (r->ev[i].kind != VMSIG_EV_RESULT || r->ev[i].corr != corr)
            continue;
        memcpy(&res, r->ev[i].inln, sizeof res);
        status = status == -1 ? res.status : -2;
    }
    return status;
}

static inline int rig_send(rig *r, const vmsig_event *cmd) {
    cr_assert_eq(ops()->command(r->host, cmd), 1);
    return rig_status(r, cmd->corr);
}

static inline int rig_key(rig *r, uint16_t code, uint8_t down) {
    vmsig_input in = {.type = VMSIG_INPUT_KEY, .down = down, .code = code};
    vmsig_event cmd = rig_cmd(r, VMSIG_CMD_INPUT, &in, sizeof in);
    return rig_send(r, &cmd);
}

static inline int rig_op(rig *r, uint8_t kind, uint32_t op) {
    vmsig_event cmd = rig_cmd(r, kind, &op, sizeof op);
    return rig_send(r, &cmd);
}

static inline int rig_fence(rig *r, vmsig_lease_class cls) {
    vmsig_lease l = {.op = VMSIG_LEASE_FENCE, .cls = cls};
    vmsig_event cmd = rig_cmd(r, VMSIG_CMD_LEASE, &l, sizeof l);
    return rig_send(r, &cmd);
}

static inline int rig_write(rig *r, uint64_t addr, uint32_t size, uint64_t value, uint32_t flags) {
    vmsig_memwrite w = {.addr = addr, .value = value, .size = size, .flags = flags};
    vmsig_event cmd = rig_cmd(r, VMSIG_CMD_MEMWRITE, &w, sizeof w);
    return rig_send(r, &cmd);
}

static inline int rig_write_bytes(rig *r, uint64_t addr, void *bytes, uint32_t size, uint32_t flags) {
    vmsig_memwrite w = {.addr = addr, .size = size, .flags = flags};
    vmsig_event cmd = rig_cmd(r, VMSIG_CMD_MEMWRITE, &w, sizeof w);
    cmd.payload = bytes;
    cmd.payload_len = size;
    return rig_send(r, &cmd);
}

static inline uint32_t rig_vm_state(const rig *r) {
    vmsig_vmhost v = {0};
    const vmsig_event *ev = rig_last(r, VMSIG_EV_VMHOST);
    if (ev)
        memcpy(&v, ev->inln, sizeof v);
    return v.state;
}

#endif
