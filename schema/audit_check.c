/* audit_check.c: a whole log: what it says, and whether it is what was written. */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "schema/audit.h"

#define RATCHETS_MAX (1u << 24) /* generations that a key may be behind: some minutes of hashing */

/* ---- verdicts ------------------------------------------------------------------------------------------ */

static int weight(vmsig_audit_verdict v) {
    static const int of[] = {
        [VMSIG_AUDIT_VALID] = 0, [VMSIG_AUDIT_TORN] = 1, [VMSIG_AUDIT_GAP] = 2, [VMSIG_AUDIT_TAMPERED] = 3};
    return of[v];
}

/* The first of the worst is what is told. */
__attribute__((format(printf, 3, 4))) static void found(vmsig_audit_check *c, vmsig_audit_verdict v, const char *fmt,
                                                        ...) {
    if (weight(v) <= weight(c->verdict))
        return;
    c->verdict = v;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->why, sizeof c->why, fmt, ap);
    va_end(ap);
    if (v == VMSIG_AUDIT_TAMPERED)
        c->broken = true;
}

/* ---- one record ---------------------------------------------------------------------------------------- */

/* The chain where a gap, or a start in the middle, was passed: the record says itself what came before. */
static void adopt(vmsig_audit_check *c, const Vmsig__Pb__AuditEntry *e) {
    c->chain.seq = e->seq - 1;
    memcpy(c->chain.hash, e->prev.data, VMSIG_AUDIT_HASH);
}

static void meet_anchor(vmsig_audit_check *c) {
    if (!c->anchored || c->anchor.seq != c->chain.seq)
        return;
    c->anchor_met = true;
    if (sodium_memcmp(c->anchor.hash, c->chain.hash, VMSIG_AUDIT_HASH) != 0)
        found(c, VMSIG_AUDIT_TAMPERED, "record %" PRIu64 " is not the one that the anchor names", c->anchor.seq);
}

static void first_record(vmsig_audit_check *c, const char *name, const Vmsig__Pb__AuditEntry *e) {
    c->first = e->seq;
    c->generation_known = e->seq == 1;
    adopt(c, e);
    static const uint8_t zero[VMSIG_AUDIT_HASH];
    if (e->seq == 1 && memcmp(e->prev.data, zero, sizeof zero) != 0)
        found(c, VMSIG_AUDIT_TAMPERED, "%s: record 1 says that another came before it", name);
    if (e->seq == 1)
        return;
    meet_anchor(c);
    if (!c->from_anywhere && !c->anchor_met)
        found(c, VMSIG_AUDIT_GAP, "%s: begins with record %" PRIu64 ": those before it are missing", name, e->seq);
}

static void links(vmsig_audit_check *c, const char *name, const Vmsig__Pb__AuditEntry *e) {
    if (c->first == 0) {
        first_record(c, name, e);
    } else if (e->seq <= c->chain.seq) {
        found(c, VMSIG_AUDIT_TAMPERED, "%s: record %" PRIu64 " stands behind record %" PRIu64, name, e->seq,
              c->chain.seq);
    } else if (e->seq > c->chain.seq + 1) {
        found(c, VMSIG_AUDIT_GAP, "%s: records %" PRIu64 " to %" PRIu64 " are missing", name, c->chain.seq + 1,
              e->seq - 1);
        adopt(c, e);
        c->generation_known = false;
    } else if (memcmp(e->prev.data, c->chain.hash, VMSIG_AUDIT_HASH) != 0) {
        found(c, VMSIG_AUDIT_TAMPERED, "%s: record %" PRIu64 " is not the one that record %" PRIu64 " was chained to",
              name, c->chain.seq, e->seq);
    }
}

/* Each bears the next one; where records are missing, a later one. */
static void expect_generation(vmsig_audit_check *c, const char *name, uint64_t seq, uint64_t generation) {
    if (!c->generation_known && generation > c->next_generation)
        c->next_generation = generation;
    c->generation_known = true;
    if (generation != c->next_generation)
        found(c, VMSIG_AUDIT_TAMPERED, "%s: record %" PRIu64 " bears key generation %" PRIu64 ", not %" PRIu64, name,
              seq, generation, c->next_generation);
}

static void look_at_mac(vmsig_audit_check *c, const char *name, const Vmsig__Pb__AuditEntry *e) {
    const Vmsig__Pb__AuditCheckpoint *p = e->checkpoint;
    uint8_t mac[VMSIG_AUDIT_HASH];
    if (!c->keyed || p->generation < c->generation)
        return;
    if (p->generation - c->generation > RATCHETS_MAX) {
        found(c, VMSIG_AUDIT_TAMPERED, "%s: record %" PRIu64 " bears an impossible key generation", name, e->seq);
        return;
    }
    for (; c->generation < p->generation; c->generation++)
        vmsig_audit_ratchet(c->key);
    vmsig_audit_mac(c->key, &c->chain, e->ts_ns, p->generation, p->sealed, mac);
    c->keyed_checkpoints++;
    if (sodium_memcmp(mac, p->mac.data, sizeof mac) != 0)
        found(c, VMSIG_AUDIT_TAMPERED,
              "%s: record %" PRIu64 ", a checkpoint, does not fit the key: the records before it were rewritten, or it "
              "is another log's key",
              name, e->seq);
}

static void count(vmsig_audit_check *c, const Vmsig__Pb__AuditEntry *e) {
    bool checkpoint = e->m_case == VMSIG__PB__AUDIT_ENTRY__M_CHECKPOINT;
    c->records++;
    c->checkpoints += checkpoint;
    c->since_checkpoint = checkpoint ? 0 : c->since_checkpoint + 1;
    c->sealed = checkpoint && e->checkpoint->sealed;
    if (checkpoint)
        c->next_generation++;
    if (e->m_case == VMSIG__PB__AUDIT_ENTRY__M_HEAD)
        c->segment = e->head->segment;
}

/* true: it is good, and the chain has moved on. */
static bool take(vmsig_audit_check *c, const char *name, const Vmsig__Pb__AuditEntry *e, const uint8_t *bytes,
                 size_t stored) {
    links(c, name, e);
    if (!c->broken && e->m_case == VMSIG__PB__AUDIT_ENTRY__M_HEAD)
        expect_generation(c, name, e->seq, e->head->generation);
    if (!c->broken && e->m_case == VMSIG__PB__AUDIT_ENTRY__M_CHECKPOINT) {
        expect_generation(c, name, e->seq, e->checkpoint->generation);
        if (!c->broken)
            look_at_mac(c, name, e);
    }
    if (c->broken)
        return false;
    c->chain.seq = e->seq;
    vmsig_audit_hash(bytes, stored, c->chain.hash);
    count(c, e);
    meet_anchor(c);
    if (c->on_entry && !c->broken)
        c->on_entry(c->ud, e);
    return !c->broken;
}

/* ---- a segment ----------------------------------------------------------------------------------------- */

/* A whole record anywhere in there? Then what stands before it was not the end. */
static bool goes_on(const uint8_t *bytes, size_t len) {
    for (size_t at = 1; at + VMSIG_AUDIT_FRAME < len; at++) {
        Vmsig__Pb__AuditEntry *e;
        size_t stored;
        if (vmsig_audit_load(bytes + at, len - at, &stored, &e) == 1) {
            vmsig__pb__audit_entry__free_unpacked(e, NULL);
            return true;
        }
    }
    return false;
}

static bool all_zero(const uint8_t *bytes, size_t len) {
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

/* No record begins here. A crash leaves the beginning of one, or space that was never written. */
static void no_record(vmsig_audit_check *c, const char *name, int rc, const uint8_t *bytes, size_t len) {
    uint64_t seq = c->chain.seq + 1;
    if ((rc == 0 || all_zero(bytes, len)) && !goes_on(bytes, len))
        found(c, VMSIG_AUDIT_TORN, "%s: record %" PRIu64 " is cut short: %zu bytes of it are there", name, seq, len);
    else if (c->first == 0)
        found(c, VMSIG_AUDIT_TAMPERED, "%s: does not begin with a record: it is no audit log, or was changed", name);
    else
        found(c, VMSIG_AUDIT_TAMPERED, "%s: record %" PRIu64 " was changed: %s", name, seq,
              rc == -EPROTO ? "it is none of a log" : "its checksum is wrong");
}

size_t vmsig_audit_check_more(vmsig_audit_check *c, const char *name, const uint8_t *bytes, size_t len) {
    size_t good = 0;
    while (good < len && !c->broken) {
        Vmsig__Pb__AuditEntry *e;
        size_t stored;
        int rc = vmsig_audit_load(bytes + good, len - good, &stored, &e);
        if (rc != 1) {
            no_record(c, name, rc, bytes + good, len - good);
            break;
        }
        bool fine = take(c, name, e, bytes + good, stored);
        vmsig__pb__audit_entry__free_unpacked(e, NULL);
        if (!fine)
            break;
        good += stored;
    }
    return good;
}

/* Does it begin with a head? */
static bool begins(const uint8_t *bytes, size_t len) {
    Vmsig__Pb__AuditEntry *e;
    size_t stored;
    if (vmsig_audit_load(bytes, len, &stored, &e) != 1)
        return true; /* which is told otherwise */
    bool head = e->m_case == VMSIG__PB__AUDIT_ENTRY__M_HEAD && e->head->version == VMSIG_AUDIT_VERSION;
    vmsig__pb__audit_entry__free_unpacked(e, NULL);
    return head;
}

size_t vmsig_audit_check_segment(vmsig_audit_check *c, const char *name, const uint8_t *bytes, size_t len) {
    if (len == 0)
        return 0;
    if (c->verdict == VMSIG_AUDIT_TORN) /* a segment that another follows was not torn by a crash, or was mended */
        found(c, VMSIG_AUDIT_GAP, "%s: the segment before it ends in the middle of a record", name);
    if (!begins(bytes, len))
        found(c, VMSIG_AUDIT_GAP,
              "%s: does not begin with a segment's head (of version %u): what came before is missing", name,
              VMSIG_AUDIT_VERSION);
    return vmsig_audit_check_more(c, name, bytes, len);
}

vmsig_audit_verdict vmsig_audit_check_end(vmsig_audit_check *c) {
    if (c->anchored && !c->anchor_met && c->chain.seq < c->anchor.seq)
        found(c, VMSIG_AUDIT_GAP, "the log ends with record %" PRIu64 "; when the anchor was taken, it had %" PRIu64,
              c->chain.seq, c->anchor.seq);
    else if (c->anchored && !c->anchor_met)
        found(c, VMSIG_AUDIT_GAP, "the anchor's record %" PRIu64 " is not here: the log begins with record %" PRIu64,
              c->anchor.seq, c->first);
    return c->verdict;
}
