#include "actors/gateway/auditor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "actors/gateway/commands.h"
#include "schema/caps.h"

#define ROTATE_RETRY_NS 100000000u

typedef struct waiting {
    uint64_t corr, seq;
} waiting;

struct vmsig_auditor {
    vmsig_audit *log;
    vmsig_gate *gate;
    int next; /* a segment that could not be taken yet; -1 = none */
    bool changed;
    bool closed; /* as the gate was told */
    uint32_t first, n;
    waiting waiting[VMSIG_INFLIGHT_MAX]; /* intents that are not durable, oldest first */
};

static vmsig_audit_when when_of(const vmsig_audit_record *rec) {
    if (rec->what != VMSIG_AUDIT_INTENT)
        return VMSIG_AUDIT_LATER;
    return rec->cls == VMSIG_LEASE_POWER || rec->cls == VMSIG_LEASE_MEMWRITE ? VMSIG_AUDIT_NOW : VMSIG_AUDIT_SOON;
}

static int hook(void *ud, const vmsig_audit_record *rec) {
    vmsig_auditor *u = ud;
    vmsig_audit_when when = when_of(rec);
    uint64_t seq;
    int err = vmsig_audit_append(u->log, rec, when, &seq);
    u->changed |= (vmsig_audit_error(u->log) != 0) != u->closed;
    if (err)
        return rec->cls == VMSIG_NO_LEASE ? 0 : -1;
    if (when != VMSIG_AUDIT_NOW)
        return 0;
    if (u->n == VMSIG_INFLIGHT_MAX) /* more than there can be: timed out ones that a slow disk still holds */
        return -1;
    u->waiting[(u->first + u->n++) % VMSIG_INFLIGHT_MAX] = (waiting){rec->corr, seq};
    return VMSIG_GATE_HOLD;
}

static void settle(vmsig_auditor *u) {
    uint64_t durable = vmsig_audit_durable(u->log);
    while (u->n > 0) {
        waiting *w = &u->waiting[u->first];
        if (w->seq > durable && !u->closed)
            return;
        vmsig_gate_intended(u->gate, w->corr, w->seq <= durable ? VMSIG_OK : VMSIG_UNAVAILABLE);
        u->first = (u->first + 1) % VMSIG_INFLIGHT_MAX;
        u->n--;
    }
}

/* -EBUSY: again later; else it is taken, or of no use. */
static void try_next(vmsig_auditor *u) {
    if (u->next < 0 || vmsig_audit_rotate(u->log, u->next) == -EBUSY)
        return;
    close(u->next);
    u->next = -1;
}

uint64_t vmsig_auditor_look(vmsig_auditor *u, uint64_t now_ns) {
    try_next(u);
    uint64_t due = vmsig_audit_look(u->log, now_ns);
    u->changed = false;
    u->closed = vmsig_audit_error(u->log) != 0;
    vmsig_gate_close_leases(u->gate, u->closed);
    settle(u);
    if (u->next >= 0 && (due == 0 || due > now_ns + ROTATE_RETRY_NS))
        due = now_ns + ROTATE_RETRY_NS;
    return due;
}

bool vmsig_auditor_busy(const vmsig_auditor *u) {
    return u->changed;
}

int vmsig_auditor_fd(const vmsig_auditor *u) {
    return vmsig_audit_fd(u->log);
}

int vmsig_auditor_next(vmsig_auditor *u, int fd) {
    int mine = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (mine < 0)
        return -errno;
    if (u->next >= 0)
        close(u->next);
    u->next = mine;
    u->changed = true;
    return 0;
}

int vmsig_auditor_new(vmsig_gate *gate, const vmsig_audit_cfg *cfg, vmsig_auditor **out, char why[256]) {
    vmsig_auditor *u = calloc(1, sizeof *u);
    if (!u)
        return -ENOMEM;
    u->gate = gate;
    u->next = -1;
    int err = vmsig_audit_open(cfg, &u->log, why);
    if (err) {
        free(u);
        return err;
    }
    u->changed = true;
    vmsig_gate_set_audit(gate, hook, u);
    *out = u;
    return 0;
}

void vmsig_auditor_free(vmsig_auditor *u, int timeout_ms) {
    if (!u)
        return;
    vmsig_gate_set_audit(u->gate, NULL, NULL);
    vmsig_audit_close(u->log, timeout_ms);
    if (u->next >= 0)
        close(u->next);
    free(u);
}
