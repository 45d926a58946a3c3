/* Any bytes as an audit log: a verdict with its sentence, never more good bytes than there are; and what is found good
 * stands by itself, and is stored as it was read. The first byte chooses how it is looked at. */
#include <stdlib.h>
#include <string.h>

#include "schema/audit.h"

static void again(void *ud, const Vmsig__Pb__AuditEntry *e) {
    uint64_t *last = ud;
    if (e->prev.len != VMSIG_AUDIT_HASH || (*last && e->seq <= *last))
        abort();
    *last = e->seq;
}

static vmsig_audit_check look(const uint8_t *bytes, size_t len, uint8_t how, size_t *good) {
    uint64_t last = 0;
    vmsig_audit_check c = {
        .keyed = how & 1, .anchored = how & 2, .from_anywhere = how & 4, .on_entry = again, .ud = &last};
    memset(c.key, 1, sizeof c.key);
    c.anchor.seq = 3;
    size_t half = how & 8 ? len / 2 : len; /* two segments */
    *good = vmsig_audit_check_segment(&c, "a", bytes, half);
    if (half < len)
        vmsig_audit_check_segment(&c, "b", bytes + half, len - half);
    vmsig_audit_check_end(&c);
    return c;
}

/* Checksums are made good after each mutation: or nothing behind them would be reached. */
static void mend(uint8_t *bytes, size_t len) {
    uint32_t body;
    for (size_t at = 0; len - at > VMSIG_AUDIT_FRAME; at += VMSIG_AUDIT_FRAME + body) {
        uint8_t joined[4 + VMSIG_AUDIT_BODY_MAX];
        memcpy(&body, bytes + at, 4);
        if (body == 0 || body > VMSIG_AUDIT_BODY_MAX || len - at - VMSIG_AUDIT_FRAME < body)
            return;
        memcpy(joined, bytes + at, 4);
        memcpy(joined + 4, bytes + at + VMSIG_AUDIT_FRAME, body);
        uint32_t crc = vmsig_crc32c(joined, 4 + body);
        memcpy(bytes + at + 4, &crc, 4);
    }
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
    size = LLVMFuzzerMutate(data, size, max);
    if (size > 1 && seed % 4)
        mend(data + 1, size - 1);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    size_t good, rest;
    uint8_t how = data[0];
    vmsig_audit_check c = look(data + 1, size - 1, how, &good);
    if (good > size - 1 || (c.verdict == VMSIG_AUDIT_VALID) != (c.why[0] == 0) || strlen(c.why) >= sizeof c.why)
        abort();
    if (c.verdict == VMSIG_AUDIT_VALID && !(how & 8)) {
        if (good != size - 1)
            abort();
        vmsig_audit_check same = look(data + 1, good, how, &rest);
        if (same.verdict != VMSIG_AUDIT_VALID || memcmp(&same.chain, &c.chain, sizeof c.chain) != 0)
            abort();
    }
    uint64_t generation;
    uint8_t key[VMSIG_AUDIT_KEY];
    vmsig_audit_key_parse((const char *)data, size, &generation, key);
    return 0;
}
