/* audit.h: the audit log as bytes (schema/audit.proto): storing a record, reading it back, checking a whole log.
 *
 *   ┌ head ┐┌ record ┐┌ record ┐ … ┌ checkpoint ┐┌ record ┐ … ┌ checkpoint, sealed ┐      one segment
 *       ▲ prev = hash of the stored bytes before it, across segments
 *
 * What is seen   a changed byte: by its CRC; a changed record with its CRC made good: by the prev of the next; a rewritten
 *                chain: by the next checkpoint, whose key is gone from the machine; the end cut off: by an anchor (the
 *                last seq and hash, kept elsewhere).
 * Writing is actors/gateway/audit.h. No I/O here. One thread per object. Errors: 0 or negative errno.
 */
#ifndef VMSIG_AUDIT_FORMAT_H
#define VMSIG_AUDIT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit.pb-c.h"

#define VMSIG_AUDIT_VERSION    1u
#define VMSIG_AUDIT_HASH       32u
#define VMSIG_AUDIT_KEY        32u
#define VMSIG_AUDIT_FRAME      8u   /* length and CRC */
#define VMSIG_AUDIT_BODY_MAX   504u /* a longer one is none */
#define VMSIG_AUDIT_STORED_MAX (VMSIG_AUDIT_FRAME + VMSIG_AUDIT_BODY_MAX)

/* Where a log has got to: its last record. All zero: before the first. */
typedef struct vmsig_audit_chain {
    uint64_t seq;
    uint8_t hash[VMSIG_AUDIT_HASH];
} vmsig_audit_chain;

/* Stores e (its seq and prev are set here) and moves the chain on: how many bytes; 0: e is too long. */
size_t vmsig_audit_store(vmsig_audit_chain *chain, Vmsig__Pb__AuditEntry *e, uint8_t out[VMSIG_AUDIT_STORED_MAX]);

/* The record at the start of bytes: 1, with *stored its length and *out for protobuf_c_message_free_unpacked; 0 bytes ends
 * within it; -EBADMSG length or CRC are wrong, -EPROTO the body is no AuditEntry, -ENOMEM. */
int vmsig_audit_load(const uint8_t *bytes, size_t len, size_t *stored, Vmsig__Pb__AuditEntry **out);

void vmsig_audit_hash(const uint8_t *bytes, size_t len, uint8_t out[VMSIG_AUDIT_HASH]);
uint32_t vmsig_crc32c(const void *bytes, size_t len);

/* The checkpoint that follows `before`. */
void vmsig_audit_mac(const uint8_t key[VMSIG_AUDIT_KEY], const vmsig_audit_chain *before, uint64_t ts_ns,
                     uint64_t generation, bool sealed, uint8_t out[VMSIG_AUDIT_HASH]);
/* The next key; the old one is gone. */
void vmsig_audit_ratchet(uint8_t key[VMSIG_AUDIT_KEY]);

/* A key and its generation as text, "GENERATION HEX\n", as in the two key files: the length (fixed), or 0. */
#define VMSIG_AUDIT_KEY_TEXT 86u /* 20 digits, blank, 64 digits, newline */
size_t vmsig_audit_key_text(uint64_t generation, const uint8_t key[VMSIG_AUDIT_KEY],
                            char out[VMSIG_AUDIT_KEY_TEXT + 1]);
/* Also without a generation (then 0). false: the text is no key. */
bool vmsig_audit_key_parse(const char *text, size_t len, uint64_t *generation, uint8_t key[VMSIG_AUDIT_KEY]);

/* "SEQ:HEX" */
#define VMSIG_AUDIT_ANCHOR_TEXT 86u
void vmsig_audit_anchor_text(const vmsig_audit_chain *chain, char out[VMSIG_AUDIT_ANCHOR_TEXT]);
bool vmsig_audit_anchor_parse(const char *text, vmsig_audit_chain *out);

/* ---- checking ------------------------------------------------------------------------------------------ */

/* Also the exit codes of `vmsig audit verify`. */
typedef enum vmsig_audit_verdict {
    VMSIG_AUDIT_VALID = 0,
    VMSIG_AUDIT_TAMPERED = 1, /* a record is not what was written */
    VMSIG_AUDIT_TORN = 2,     /* the last record is cut short, as by a crash */
    VMSIG_AUDIT_GAP = 3       /* records are missing */
} vmsig_audit_verdict;

/* Set key, generation and anchor (and on_entry), zero the rest; then feed each segment, oldest first; then end. */
typedef struct vmsig_audit_check {
    bool keyed;
    uint8_t key[VMSIG_AUDIT_KEY]; /* moves on with the checkpoints */
    uint64_t generation;          /* of key; checkpoints before it are not looked into */
    bool anchored;
    vmsig_audit_chain anchor;
    bool from_anywhere; /* the log may begin at any record: its older segments are elsewhere */
    void (*on_entry)(void *ud, const Vmsig__Pb__AuditEntry *e); /* each good one; may be NULL */
    void *ud;

    vmsig_audit_verdict verdict; /* the worst: tampered, gap, torn, valid */
    char why[256];               /* one sentence, names the record; "" = valid */
    vmsig_audit_chain chain;     /* after the last record */
    uint64_t first, records, checkpoints, keyed_checkpoints;
    uint64_t since_checkpoint; /* records after the last checkpoint */
    bool sealed;               /* the last record is a sealed checkpoint */
    uint32_t segment;          /* the newest */
    bool generation_known;
    uint64_t next_generation; /* of the next checkpoint */
    bool anchor_met, broken;
} vmsig_audit_check;

/* A segment, by the name that messages give it: how many of its bytes are good. Once a log is broken, nothing more is
 * looked at. */
size_t vmsig_audit_check_segment(vmsig_audit_check *c, const char *name, const uint8_t *bytes, size_t len);
/* Takes up a segment in the middle: no head is expected, the chain goes on. */
size_t vmsig_audit_check_more(vmsig_audit_check *c, const char *name, const uint8_t *bytes, size_t len);
vmsig_audit_verdict vmsig_audit_check_end(vmsig_audit_check *c);

#endif
