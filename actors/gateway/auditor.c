#include "actors/gateway/auditor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "actors/gateway/commands.h"
#include "actors/runtime/loop.h"
#include "schema/caps.h"

#define ROTATE_RETRY_NS 100000000u

typedef struct waiting {
    uint64_t corr, seq;
} waiting;

#define STORMS 64u /* principals that are told apart; of those that share a place, one begins where the other ends */

/* The denials of one principal, of late. */
typedef struct storm {
    uint64_t since_ns; /* when this second began; 0 = never */
    uint32_t principal, written;
    vmsig_audit_record last; /* of those that were left out: count says how many */
} storm;

struct vmsig_auditor {
    storm storms[STORMS];
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

/* ---- storms of denials --------------------------------------------------------------------------------- */

static void end_storm(vmsig_auditor *u, storm *s) {
    if (s->last.count && vmsig_audit_append(u->log, &s->last, VMSIG_AUDIT_LATER, NULL) == 0)
        s->last.count = 0;
    s->since_ns = s->written = 0;
}

/* A lease's denial comes with a result that says the same. */
static bool denies(const vmsig_audit_record *rec) {
    return rec->what == VMSIG_AUDIT_DENIED ||
           (rec->what == VMSIG_AUDIT_RESULT && rec->kind == VMSIG_CMD_LEASE && rec->status != VMSIG_OK);
}

/* true: it is counted instead of written. */
static bool storms(vmsig_auditor *u, const vmsig_audit_record *rec) {
    storm *s = &u->storms[rec->principal % STORMS];
    uint64_t now = vmsig_now_ns();
    if (s->principal != rec->principal || now - s->since_ns >= VMSIG_AUDITOR_STORM_NS)
        end_storm(u, s);
    if (s->since_ns == 0)
        s->since_ns = now;
    s->principal = rec->principal;
    if (s->written < VMSIG_AUDITOR_DENIALS) {
        s->written++;
        return false;
    }
    if (rec->what != VMSIG_AUDIT_DENIED)
        return true;
    uint32_t count = s->last.count + 1;
    s->last = *rec;
    s->last.count = count;
    u->changed |= count == 1;
    return true;
}

/* When the next one is over; 0 = there is none. */
static uint64_t end_storms(vmsig_auditor *u, uint64_t now_ns, bool all) {
    uint64_t due = 0;
    for (unsigned i = 0; i < STORMS; i++) {
        storm *s = &u->storms[i];
        uint64_t over = s->since_ns + VMSIG_AUDITOR_STORM_NS;
        if (s->last.count && (all || now_ns >= over))
            end_storm(u, s);
        else if (s->last.count && (due == 0 || over < due))
            due = over;
    }
    return due;
}

/* ---- the hook ------------------------------------------------------------------------------------------ */

static int hook(void *ud, const vmsig_audit_record *rec) {
    vmsig_auditor *u = ud;
    if (denies(rec) && storms(u, rec))
        return 0;
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
    uint64_t storm_over = end_storms(u, now_ns, false);
    if (storm_over && (due == 0 || due > storm_over))
        due = storm_over;
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
    end_storms(u, 0, true);
    vmsig_audit_close(u->log, timeout_ms);
    if (u->next >= 0)
        close(u->next);
    free(u);
}
