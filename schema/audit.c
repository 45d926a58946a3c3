#include "schema/audit.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers ------------------------------------------------------------------------------------------- */

static void put32(uint8_t *to, uint32_t v) {
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(v >> 8 * i);
}

static void put64(uint8_t *to, uint64_t v) {
    for (int i = 0; i < 8; i++)
        to[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t get32(const uint8_t *from) {
    return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

void vmsig_audit_hash(const uint8_t *bytes, size_t len, uint8_t out[VMSIG_AUDIT_HASH]) {
    crypto_generichash(out, VMSIG_AUDIT_HASH, bytes, len, NULL, 0);
}

/* Of the length word and the body: the CRC word itself is left out. */
static uint32_t crc_of(const uint8_t *stored, uint32_t body) {
    uint8_t joined[4 + VMSIG_AUDIT_BODY_MAX];
    memcpy(joined, stored, 4);
    memcpy(joined + 4, stored + VMSIG_AUDIT_FRAME, body);
    return vmsig_crc32c(joined, 4 + body);
}

/* ---- one record ---------------------------------------------------------------------------------------- */

size_t vmsig_audit_store(vmsig_audit_chain *chain, Vmsig__Pb__AuditEntry *e, uint8_t out[VMSIG_AUDIT_STORED_MAX]) {
    e->seq = chain->seq + 1;
    e->prev.data = chain->hash;
    e->prev.len = VMSIG_AUDIT_HASH;
    size_t body = protobuf_c_message_get_packed_size(&e->base);
    if (body > VMSIG_AUDIT_BODY_MAX)
        return 0;
    protobuf_c_message_pack(&e->base, out + VMSIG_AUDIT_FRAME);
    put32(out, (uint32_t)body);
    put32(out + 4, crc_of(out, (uint32_t)body));
    chain->seq++;
    vmsig_audit_hash(out, VMSIG_AUDIT_FRAME + body, chain->hash);
    return VMSIG_AUDIT_FRAME + body;
}

static bool well_formed(const Vmsig__Pb__AuditEntry *e) {
    return e->prev.len == VMSIG_AUDIT_HASH && e->m_case != VMSIG__PB__AUDIT_ENTRY__M__NOT_SET &&
           (e->m_case != VMSIG__PB__AUDIT_ENTRY__M_CHECKPOINT || e->checkpoint->mac.len == VMSIG_AUDIT_HASH);
}

int vmsig_audit_load(const uint8_t *bytes, size_t len, size_t *stored, Vmsig__Pb__AuditEntry **out) {
    if (len < VMSIG_AUDIT_FRAME)
        return 0;
    uint32_t body = get32(bytes);
    if (body == 0 || body > VMSIG_AUDIT_BODY_MAX)
        return -EBADMSG;
    if (len - VMSIG_AUDIT_FRAME < body)
        return 0;
    if (get32(bytes + 4) != crc_of(bytes, body))
        return -EBADMSG;
    Vmsig__Pb__AuditEntry *e = vmsig__pb__audit_entry__unpack(NULL, body, bytes + VMSIG_AUDIT_FRAME);
    if (!e)
        return -EPROTO;
    if (!well_formed(e)) {
        vmsig__pb__audit_entry__free_unpacked(e, NULL);
        return -EPROTO;
    }
    *stored = VMSIG_AUDIT_FRAME + body;
    *out = e;
    return 1;
}

/* ---- keys ---------------------------------------------------------------------------------------------- */

void vmsig_audit_mac(const uint8_t key[VMSIG_AUDIT_KEY], const vmsig_audit_chain *before, uint64_t ts_ns,
                     uint64_t generation, bool sealed, uint8_t out[VMSIG_AUDIT_HASH]) {
    uint8_t text[VMSIG_AUDIT_HASH + 25];
    memcpy(text, before->hash, VMSIG_AUDIT_HASH);
    put64(text + 32, before->seq + 1);
    put64(text + 40, ts_ns);
    put64(text + 48, generation);
    text[56] = sealed;
    crypto_generichash(out, VMSIG_AUDIT_HASH, text, sizeof text, key, VMSIG_AUDIT_KEY);
}

void vmsig_audit_ratchet(uint8_t key[VMSIG_AUDIT_KEY]) {
    uint8_t next[VMSIG_AUDIT_KEY];
    crypto_generichash(next, sizeof next, key, VMSIG_AUDIT_KEY, NULL, 0);
    memcpy(key, next, sizeof next);
    sodium_memzero(next, sizeof next);
}

size_t vmsig_audit_key_text(uint64_t generation, const uint8_t key[VMSIG_AUDIT_KEY],
                            char out[VMSIG_AUDIT_KEY_TEXT + 1]) {
    char hex[2 * VMSIG_AUDIT_KEY + 1];
    sodium_bin2hex(hex, sizeof hex, key, VMSIG_AUDIT_KEY);
    snprintf(out, VMSIG_AUDIT_KEY_TEXT + 1, "%020" PRIu64 " %s\n", generation, hex);
    sodium_memzero(hex, sizeof hex);
    return VMSIG_AUDIT_KEY_TEXT;
}

/* All 64 digits, nothing else. */
static bool parse_hex(const char *text, size_t len, uint8_t out[32]) {
    size_t n = 0;
    return len == 64 && sodium_hex2bin(out, 32, text, len, NULL, &n, NULL) == 0 && n == 32;
}

static bool parse_number(const char *text, size_t len, uint64_t *out) {
    *out = 0;
    for (size_t i = 0; i < len; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (text[i] < '0' || text[i] > '9' || *out > (UINT64_MAX - digit) / 10)
            return false;
        *out = *out * 10 + digit;
    }
    return len > 0;
}

bool vmsig_audit_key_parse(const char *text, size_t len, uint64_t *generation, uint8_t key[VMSIG_AUDIT_KEY]) {
    if (len > 0 && text[len - 1] == '\n')
        len--;
    const char *blank = memchr(text, ' ', len);
    size_t digits = blank ? (size_t)(blank - text) : 0;
    *generation = 0;
    if (blank && !parse_number(text, digits, generation))
        return false;
    digits += blank != NULL;
    return parse_hex(text + digits, len - digits, key);
}

void vmsig_audit_anchor_text(const vmsig_audit_chain *chain, char out[VMSIG_AUDIT_ANCHOR_TEXT]) {
    char hex[2 * VMSIG_AUDIT_HASH + 1];
    sodium_bin2hex(hex, sizeof hex, chain->hash, VMSIG_AUDIT_HASH);
    snprintf(out, VMSIG_AUDIT_ANCHOR_TEXT, "%" PRIu64 ":%s", chain->seq, hex);
}

bool vmsig_audit_anchor_parse(const char *text, vmsig_audit_chain *out) {
    const char *colon = strchr(text, ':');
    return colon && parse_number(text, (size_t)(colon - text), &out->seq) &&
           parse_hex(colon + 1, strlen(colon + 1), out->hash);
}
