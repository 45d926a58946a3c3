/* The log as bytes: what is read back, and that no change of it stays unseen. */
#include "log.h"

static log_bytes sample(log_dir *d, uint32_t facts) {
    log_open(d);
    log_write(d, 0, facts);
    log_close(d);
    return log_read(d->file[0]);
}

static log_bytes copy(log_bytes b) {
    log_bytes c = {.at = malloc(b.len * 2 + 1), .len = b.len};
    memcpy(c.at, b.at, b.len);
    return c;
}

typedef struct seen {
    uint32_t facts, wrong;
} seen;

static void compare(void *ud, const Vmsig__Pb__AuditEntry *e) {
    seen *s = ud;
    if (e->m_case != VMSIG__PB__AUDIT_ENTRY__M_FACT)
        return;
    const Vmsig__Pb__AuditFact *f = e->fact;
    vmsig_audit_record r = log_fact(s->facts++);
    s->wrong += e->ts_ns != r.ts_ns || f->what != r.what || f->principal != r.principal || f->endpoint != r.endpoint ||
                f->epoch != r.epoch || f->token != r.token || f->corr != r.corr || f->cls != r.cls ||
                f->kind != r.kind || f->status != r.status || f->detail != r.detail;
}

Test(crc32c, the_vectors_of_rfc_3720) {
    uint8_t b[32] = {0};
    cr_expect_eq(vmsig_crc32c(b, 32), 0x8a9136aau);
    memset(b, 0xff, 32);
    cr_expect_eq(vmsig_crc32c(b, 32), 0x62a8ab43u);
    for (uint8_t i = 0; i < 32; i++)
        b[i] = i;
    cr_expect_eq(vmsig_crc32c(b, 32), 0x46dd794eu);
    cr_expect_eq(vmsig_crc32c("123456789", 9), 0xe3069283u);
}

Test(format, what_is_written_is_read_back) {
    log_dir *d = log_new();
    log_bytes b = sample(d, 100);
    seen s = {0};
    vmsig_audit_check c = {.on_entry = compare, .ud = &s, .keyed = true};
    memcpy(c.key, d->first_key, sizeof c.key);
    cr_expect_eq(vmsig_audit_check_segment(&c, "log", b.at, b.len), b.len);
    cr_expect_eq(vmsig_audit_check_end(&c), VMSIG_AUDIT_VALID, "%s", c.why);
    cr_expect_eq(s.facts, 100);
    cr_expect_eq(s.wrong, 0);
    cr_expect_eq(c.first, 1);
    cr_expect_eq(c.records, c.chain.seq);
    cr_expect(c.sealed);
    cr_expect_eq(c.checkpoints, c.keyed_checkpoints);
    cr_expect_geq(c.checkpoints, 100 / 16);
    free(b.at);
    log_free(d);
}

Test(format, a_flip_of_any_byte_is_found) {
    log_dir *d = log_new();
    log_bytes b = sample(d, 40);
    for (size_t at = 0; at < b.len; at++)
        for (int bit = 0; bit < 8; bit += 3) {
            b.at[at] ^= (uint8_t)(1 << bit);
            cr_expect_neq(log_verdict(d, b, NULL, NULL), VMSIG_AUDIT_VALID, "byte %zu, bit %d", at, bit);
            b.at[at] ^= (uint8_t)(1 << bit);
        }
    cr_expect_eq(log_verdict(d, b, NULL, NULL), VMSIG_AUDIT_VALID);
    free(b.at);
    log_free(d);
}

Test(format, a_change_with_its_checksum_made_good_is_found_and_named) {
    log_dir *d = log_new();
    log_bytes b = sample(d, 40);
    size_t ends[128], n = log_ends(b, ends, 128);
    for (size_t i = 1; i < n; i++) { /* record i + 1, with a checkpoint somewhere behind it */
        log_bytes c = copy(b);
        uint8_t *record = c.at + ends[i - 1], body[4 + VMSIG_AUDIT_BODY_MAX];
        size_t len = ends[i] - ends[i - 1] - VMSIG_AUDIT_FRAME;
        record[VMSIG_AUDIT_FRAME + len - 1] ^= 1; /* the last byte of a body is a value */
        memcpy(body, record, 4);
        memcpy(body + 4, record + VMSIG_AUDIT_FRAME, len);
        uint32_t crc = vmsig_crc32c(body, 4 + len);
        memcpy(record + 4, &crc, 4);
        vmsig_audit_check out;
        cr_expect_eq(log_verdict(d, c, NULL, &out), VMSIG_AUDIT_TAMPERED, "record %zu", i + 1);
        char name[32];
        snprintf(name, sizeof name, "ecord %zu ", i + 1);
        cr_expect(strstr(out.why, name) || strstr(out.why, "checkpoint"), "record %zu: %s", i + 1, out.why);
        free(c.at);
    }
    free(b.at);
    log_free(d);
}

/* All of the log written anew without the key: only the key tells. */
Test(format, a_log_that_was_rewritten_whole_does_not_fit_the_key) {
    log_dir *d = log_new(), *forger = log_new();
    memset(forger->first_key, 9, sizeof forger->first_key);
    char text[VMSIG_AUDIT_KEY_TEXT + 1];
    vmsig_audit_key_text(0, forger->first_key, text);
    cr_assert_eq(pwrite(forger->seal, text, VMSIG_AUDIT_KEY_TEXT, 0), (ssize_t)VMSIG_AUDIT_KEY_TEXT);
    log_bytes b = sample(forger, 40);
    vmsig_audit_check c = {0};
    vmsig_audit_check_segment(&c, "log", b.at, b.len);
    cr_expect_eq(vmsig_audit_check_end(&c), VMSIG_AUDIT_VALID);
    cr_expect_eq(log_verdict(d, b, NULL, &c), VMSIG_AUDIT_TAMPERED);
    cr_expect(strstr(c.why, "key"), "%s", c.why);
    free(b.at);
    log_free(forger);
    log_free(d);
}

Test(format, a_truncation_is_torn_or_seen_by_the_anchor) {
    log_dir *d = log_new();
    log_bytes b = sample(d, 20);
    vmsig_audit_check whole;
    cr_assert_eq(log_verdict(d, b, NULL, &whole), VMSIG_AUDIT_VALID);
    size_t ends[64], n = log_ends(b, ends, 64);
    for (size_t len = 1; len < b.len; len++) {
        log_bytes cut = {.at = b.at, .len = len};
        bool whole_records = false;
        for (size_t i = 0; i < n; i++)
            whole_records |= ends[i] == len;
        cr_expect_eq(log_verdict(d, cut, NULL, NULL), whole_records ? VMSIG_AUDIT_VALID : VMSIG_AUDIT_TORN, "at %zu",
                     len);
        cr_expect_eq(log_verdict(d, cut, &whole.chain, NULL), VMSIG_AUDIT_GAP, "at %zu, with the anchor", len);
    }
    cr_expect_eq(log_verdict(d, b, &whole.chain, NULL), VMSIG_AUDIT_VALID);
    whole.chain.hash[5] ^= 1;
    cr_expect_eq(log_verdict(d, b, &whole.chain, NULL), VMSIG_AUDIT_TAMPERED);
    free(b.at);
    log_free(d);
}

Test(format, zeros_behind_the_end_are_torn) {
    log_dir *d = log_new();
    log_bytes b = copy(sample(d, 5));
    memset(b.at + b.len, 0, 100);
    b.len += 100;
    cr_expect_eq(log_verdict(d, b, NULL, NULL), VMSIG_AUDIT_TORN);
    b.at[b.len - 1] = 1;
    cr_expect_eq(log_verdict(d, b, NULL, NULL), VMSIG_AUDIT_TAMPERED);
    free(b.at);
    log_free(d);
}

Test(format, a_missing_record_is_a_gap_and_is_named) {
    log_dir *d = log_new();
    log_bytes b = sample(d, 40);
    size_t ends[128], n = log_ends(b, ends, 128);
    for (size_t i = 1; i + 1 < n; i++) {
        log_bytes c = copy(b);
        memmove(c.at + ends[i - 1], c.at + ends[i], b.len - ends[i]);
        c.len -= ends[i] - ends[i - 1];
        vmsig_audit_check out;
        vmsig_audit_verdict v = log_verdict(d, c, NULL, &out);
        char name[64];
        snprintf(name, sizeof name, "records %zu to %zu ", i + 1, i + 1);
        cr_expect(v == VMSIG_AUDIT_GAP && strstr(out.why, name), "record %zu: %d %s", i + 1, (int)v, out.why);
        free(c.at);
    }
    log_bytes late = {.at = b.at + ends[0], .len = b.len - ends[0]};
    cr_expect_eq(log_verdict(d, late, NULL, NULL), VMSIG_AUDIT_GAP);
    free(b.at);
    log_free(d);
}

Test(format, swapped_and_doubled_records_are_tampering) {
    log_dir *d = log_new();
    log_bytes b = sample(d, 40);
    size_t ends[128], n = log_ends(b, ends, 128);
    for (size_t i = 1; i + 1 < n; i++) {
        size_t one = ends[i] - ends[i - 1], two = ends[i + 1] - ends[i];
        log_bytes c = copy(b);
        memcpy(c.at + ends[i - 1], b.at + ends[i], two);
        memcpy(c.at + ends[i - 1] + two, b.at + ends[i - 1], one);
        cr_expect_eq(log_verdict(d, c, NULL, NULL), VMSIG_AUDIT_TAMPERED, "swapped %zu", i + 1);
        memcpy(c.at, b.at, ends[i]);
        memcpy(c.at + ends[i], b.at + ends[i - 1], one);
        memcpy(c.at + ends[i] + one, b.at + ends[i], b.len - ends[i]);
        c.len = b.len + one;
        cr_expect_eq(log_verdict(d, c, NULL, NULL), VMSIG_AUDIT_TAMPERED, "doubled %zu", i + 1);
        free(c.at);
    }
    free(b.at);
    log_free(d);
}

/* One that fits in itself, between two others. */
Test(format, an_inserted_record_is_tampering) {
    log_dir *d = log_new();
    log_bytes b = sample(d, 40), c = copy(b);
    size_t ends[128];
    log_ends(b, ends, 128);
    vmsig_audit_check upto = {0};
    vmsig_audit_check_segment(&upto, "log", b.at, ends[9]);
    Vmsig__Pb__AuditFact f = VMSIG__PB__AUDIT_FACT__INIT;
    Vmsig__Pb__AuditEntry e = VMSIG__PB__AUDIT_ENTRY__INIT;
    f.what = VMSIG_AUDIT_GRANTED;
    e.m_case = VMSIG__PB__AUDIT_ENTRY__M_FACT;
    e.fact = &f;
    size_t len = vmsig_audit_store(&upto.chain, &e, c.at + ends[9]);
    memcpy(c.at + ends[9] + len, b.at + ends[9], b.len - ends[9]);
    c.len += len;
    cr_expect_eq(log_verdict(d, c, NULL, NULL), VMSIG_AUDIT_TAMPERED);
    free(c.at);
    free(b.at);
    log_free(d);
}

/* One checkpoint was taken out, and all behind it chained anew: no key is needed to see that. */
Test(format, a_checkpoint_that_was_taken_out_is_missed) {
    for (uint64_t second = 1; second <= 2; second++) {
        uint8_t bytes[4 * VMSIG_AUDIT_STORED_MAX], mac[VMSIG_AUDIT_HASH] = {0};
        vmsig_audit_chain chain = {0};
        vmsig_audit_check c = {0};
        Vmsig__Pb__AuditHead h = VMSIG__PB__AUDIT_HEAD__INIT;
        Vmsig__Pb__AuditCheckpoint p = VMSIG__PB__AUDIT_CHECKPOINT__INIT;
        Vmsig__Pb__AuditEntry e = VMSIG__PB__AUDIT_ENTRY__INIT;
        h.version = VMSIG_AUDIT_VERSION;
        h.segment = 1;
        e.m_case = VMSIG__PB__AUDIT_ENTRY__M_HEAD;
        e.head = &h;
        size_t len = vmsig_audit_store(&chain, &e, bytes);
        e.m_case = VMSIG__PB__AUDIT_ENTRY__M_CHECKPOINT;
        e.checkpoint = &p;
        p.mac.data = mac;
        p.mac.len = sizeof mac;
        len += vmsig_audit_store(&chain, &e, bytes + len);
        p.generation = second;
        len += vmsig_audit_store(&chain, &e, bytes + len);
        vmsig_audit_check_segment(&c, "log", bytes, len);
        cr_expect_eq(vmsig_audit_check_end(&c), second == 1 ? VMSIG_AUDIT_VALID : VMSIG_AUDIT_TAMPERED, "%s", c.why);
    }
}

Test(format, a_key_and_an_anchor_as_text) {
    uint8_t key[VMSIG_AUDIT_KEY], back[VMSIG_AUDIT_KEY];
    char text[VMSIG_AUDIT_KEY_TEXT + 1];
    uint64_t generation;
    memset(key, 0xa5, sizeof key);
    cr_expect_eq(vmsig_audit_key_text(UINT64_MAX, key, text), strlen(text));
    cr_expect(vmsig_audit_key_parse(text, strlen(text), &generation, back));
    cr_expect_eq(generation, UINT64_MAX);
    cr_expect_arr_eq(key, back, sizeof key);
    cr_expect(vmsig_audit_key_parse(text + 21, 64, &generation, back), "a bare key");
    cr_expect_eq(generation, 0);
    cr_expect_not(vmsig_audit_key_parse(text + 21, 63, &generation, back));
    cr_expect_not(vmsig_audit_key_parse("", 0, &generation, back));
    cr_expect_not(vmsig_audit_key_parse("99999999999999999999999 00", 26, &generation, back));
    vmsig_audit_chain at = {.seq = 77}, again;
    memset(at.hash, 0x3c, sizeof at.hash);
    char anchor[VMSIG_AUDIT_ANCHOR_TEXT];
    vmsig_audit_anchor_text(&at, anchor);
    cr_expect(vmsig_audit_anchor_parse(anchor, &again));
    cr_expect(again.seq == 77 && memcmp(at.hash, again.hash, sizeof at.hash) == 0);
    cr_expect_not(vmsig_audit_anchor_parse("77", &again));
    cr_expect_not(vmsig_audit_anchor_parse("77:00", &again));
    cr_expect_not(vmsig_audit_anchor_parse(":", &again));
}
