/* vmsig audit show: records as text and as JSON. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "schema/codec.h"
#include "supervisor/cli/audit.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/names.h"
#include "supervisor/cli/show.h"
#include "vmsig_core.h"

/* ---- words ----------------------------------------------------------------------------------------------- */

static const char *what_name(uint32_t what) {
    static const char *const names[] = {
        [VMSIG_AUDIT_GRANTED] = "granted",   [VMSIG_AUDIT_DENIED] = "denied",     [VMSIG_AUDIT_PREEMPTED] = "preempted",
        [VMSIG_AUDIT_REVOKED] = "revoked",   [VMSIG_AUDIT_RELEASED] = "released", [VMSIG_AUDIT_EPOCH] = "epoch",
        [VMSIG_AUDIT_INTENT] = "intent",     [VMSIG_AUDIT_RESULT] = "result",     [VMSIG_AUDIT_ATTACHED] = "attached",
        [VMSIG_AUDIT_DETACHED] = "detached", [VMSIG_AUDIT_GRANT_SET] = "grant",   [VMSIG_AUDIT_FAILED] = "failed",
    };
    const char *name = what < sizeof names / sizeof names[0] ? names[what] : NULL;
    return name ? name : "?";
}

static const char *note_name(uint32_t kind) {
    static const char *const names[] = {
        [VMSIG__PB__AUDIT_NOTE_KIND__NOTE_STARTED] = "started",
        [VMSIG__PB__AUDIT_NOTE_KIND__NOTE_TORN] = "torn",
        [VMSIG__PB__AUDIT_NOTE_KIND__NOTE_REOPENED] = "reopened",
        [VMSIG__PB__AUDIT_NOTE_KIND__NOTE_DAMAGED] = "damaged",
    };
    const char *name = kind < sizeof names / sizeof names[0] ? names[kind] : NULL;
    return name ? name : "?";
}

/* The command's op in words; "" = its kind has none. */
static const char *op_name(const Vmsig__Pb__AuditFact *f) {
    if (f->what != VMSIG_AUDIT_INTENT && f->what != VMSIG_AUDIT_RESULT)
        return "";
    switch (f->kind) {
    case VMSIG_CMD_LIFECYCLE:
        return vmsig_word(VMSIG_WORDS_LIFECYCLE, f->detail);
    case VMSIG_CMD_VM:
        return vmsig_word(VMSIG_WORDS_VM, f->detail);
    case VMSIG_CMD_LEASE:
        return vmsig_word(VMSIG_WORDS_LEASE_OP, f->detail);
    default:
        return "";
    }
}

static bool is_about_a_control(uint32_t what) {
    return what == VMSIG_AUDIT_ATTACHED || what == VMSIG_AUDIT_DETACHED || what == VMSIG_AUDIT_GRANT_SET;
}

/* ---- text ------------------------------------------------------------------------------------------------ */

static void print_time(uint64_t ts_ns) {
    time_t s = (time_t)(ts_ns / 1000000000u);
    struct tm tm;
    char text[32];
    if (!gmtime_r(&s, &tm) || strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
        snprintf(text, sizeof text, "?");
    printf("%s.%06" PRIu64 "Z", text, ts_ns % 1000000000u / 1000u);
}

static void print_fact(const Vmsig__Pb__AuditFact *f) {
    printf("%-9s", what_name(f->what));
    if (f->what != VMSIG_AUDIT_EPOCH && f->what != VMSIG_AUDIT_FAILED)
        printf(" uid %u", f->principal);
    if (f->what == VMSIG_AUDIT_GRANT_SET) {
        printf(" capabilities 0x%x endpoints 0x%" PRIx64 " priority %u", f->detail, f->endpoint_mask, f->priority);
        return;
    }
    if (is_about_a_control(f->what)) {
        printf(" control %u", f->detail);
        return;
    }
    printf(" endpoint %u epoch %u", f->endpoint, f->epoch);
    if (f->kind && f->kind != VMSIG_CMD_LEASE)
        printf(" %s", vmsig_kind_name((uint8_t)f->kind));
    if (op_name(f)[0])
        printf(" %s", op_name(f));
    if (f->cls != UINT32_MAX)
        printf(" lease %s", vmsig_word(VMSIG_WORDS_LEASE_CLASS, f->cls));
    if (f->token)
        printf(" token %" PRIu64, f->token);
    if (f->corr)
        printf(" corr %" PRIu64, f->corr);
    if (f->what == VMSIG_AUDIT_RESULT || f->status)
        printf(": %s", vmsig_status_name(f->status));
    if ((f->what == VMSIG_AUDIT_DENIED && !f->status) || f->what == VMSIG_AUDIT_PREEMPTED)
        printf(" (held by uid %u)", f->detail);
    if (f->count > 1)
        printf(" (%u denials in a second, this the last)", f->count);
}

static void print_note(const Vmsig__Pb__AuditNote *n) {
    switch (n->kind) {
    case VMSIG__PB__AUDIT_NOTE_KIND__NOTE_STARTED:
        printf("started   the gateway's incarnation %" PRIu64 " goes on with this log", n->count);
        break;
    case VMSIG__PB__AUDIT_NOTE_KIND__NOTE_TORN:
        printf("torn      %" PRIu64 " bytes of an unfinished record were cut off", n->count);
        break;
    case VMSIG__PB__AUDIT_NOTE_KIND__NOTE_REOPENED:
        printf("reopened  the log could not be written (%s): %" PRIu64 " records are not in it", strerror(n->error),
               n->count);
        break;
    case VMSIG__PB__AUDIT_NOTE_KIND__NOTE_DAMAGED:
    default:
        printf("damaged   the file before is damaged behind the record that this one follows");
        break;
    }
}

static bool print_text(const Vmsig__Pb__AuditEntry *e) {
    print_time(e->ts_ns);
    printf(" %8" PRIu64 "  ", e->seq);
    switch (e->m_case) {
    case VMSIG__PB__AUDIT_ENTRY__M_HEAD:
        printf("head      segment %u of %s", e->head->segment, e->head->gateway ? e->head->gateway : "a gateway");
        break;
    case VMSIG__PB__AUDIT_ENTRY__M_FACT:
        print_fact(e->fact);
        break;
    case VMSIG__PB__AUDIT_ENTRY__M_CHECKPOINT:
        printf("checkpoint %" PRIu64 "%s", e->checkpoint->generation, e->checkpoint->sealed ? ", sealed" : "");
        break;
    default:
        print_note(e->note);
        break;
    }
    putchar('\n');
    return vmsig_cli_flush();
}

/* ---- JSON ------------------------------------------------------------------------------------------------ */

#define I(v) ((json_int_t)(v))

static json_t *fact_json(const Vmsig__Pb__AuditFact *f) {
    json_t *o = json_pack("{s:s s:s s:I s:I s:I s:I s:I s:s s:I s:s s:I}", "type", "fact", "what", what_name(f->what),
                          "principal", I(f->principal), "endpoint", I(f->endpoint), "epoch", I(f->epoch), "token",
                          I(f->token), "corr", I(f->corr), "kind", f->kind ? vmsig_kind_name((uint8_t)f->kind) : "",
                          "status", I(f->status), "op", op_name(f), "detail", I(f->detail));
    if (o && f->cls != UINT32_MAX)
        json_object_set_new(o, "lease", json_string(vmsig_word(VMSIG_WORDS_LEASE_CLASS, f->cls)));
    if (o && f->what == VMSIG_AUDIT_GRANT_SET) {
        json_object_set_new(o, "endpoint_mask", json_integer(I(f->endpoint_mask)));
        json_object_set_new(o, "priority", json_integer(I(f->priority)));
    }
    if (o && f->count != 1)
        json_object_set_new(o, "count", json_integer(I(f->count)));
    return o;
}

static json_t *entry_json(const Vmsig__Pb__AuditEntry *e) {
    json_t *o;
    switch (e->m_case) {
    case VMSIG__PB__AUDIT_ENTRY__M_HEAD:
        o = json_pack("{s:s s:I s:s?}", "type", "head", "segment", I(e->head->segment), "gateway", e->head->gateway);
        break;
    case VMSIG__PB__AUDIT_ENTRY__M_FACT:
        o = fact_json(e->fact);
        break;
    case VMSIG__PB__AUDIT_ENTRY__M_CHECKPOINT:
        o = json_pack("{s:s s:I s:b}", "type", "checkpoint", "generation", I(e->checkpoint->generation), "sealed",
                      e->checkpoint->sealed);
        break;
    default:
        o = json_pack("{s:s s:s s:I s:I}", "type", "note", "what", note_name(e->note->kind), "count", I(e->note->count),
                      "error", I(e->note->error));
        break;
    }
    if (o) {
        json_object_set_new(o, "seq", json_integer(I(e->seq)));
        json_object_set_new(o, "time_ns", json_integer(I(e->ts_ns)));
    }
    return o;
}

bool vmsig_audit_print(const Vmsig__Pb__AuditEntry *e, bool json) {
    return json ? vmsig_show_json(entry_json(e)) == 0 : print_text(e);
}

/* ---- show ------------------------------------------------------------------------------------------------ */

typedef struct showing {
    uint64_t from;
    bool json, gone;
} showing;

static void on_entry(void *ud, const Vmsig__Pb__AuditEntry *e) {
    showing *s = ud;
    if (e->seq >= s->from && !s->gone)
        s->gone = !vmsig_audit_print(e, s->json);
}

static int walk(const vmsig_audit_files *f, vmsig_audit_check *c) {
    for (int i = 0; i < f->n; i++) {
        size_t len;
        uint8_t *bytes = vmsig_audit_read(f->path[i], &len);
        if (!bytes)
            return vmsig_cli_fail(VMSIG_EXIT_NOINPUT, "audit", "%s: %s", f->path[i], strerror(errno));
        vmsig_audit_check_segment(c, f->path[i], bytes, len);
        free(bytes);
    }
    return VMSIG_EXIT_OK;
}

int vmsig_audit_show(const char *const *words, int nwords, uint64_t last, bool json) {
    vmsig_audit_files f;
    showing s = {.json = json};
    vmsig_audit_check c = {.from_anywhere = true};
    int code = vmsig_audit_files_of(words, nwords, &f) ? VMSIG_EXIT_NOINPUT : VMSIG_EXIT_OK;
    if (code == VMSIG_EXIT_OK && last != UINT64_MAX) { /* twice: where does it end? */
        code = walk(&f, &c);
        s.from = c.chain.seq >= last ? c.chain.seq - last + 1 : 0;
        c = (vmsig_audit_check){.from_anywhere = true};
    }
    c.on_entry = on_entry;
    c.ud = &s;
    if (code == VMSIG_EXIT_OK)
        code = walk(&f, &c);
    vmsig_audit_files_free(&f);
    if (code == VMSIG_EXIT_OK && c.verdict != VMSIG_AUDIT_VALID && c.verdict != VMSIG_AUDIT_TORN)
        code = vmsig_cli_fail(VMSIG_EXIT_FAILURE, "audit", "%s", c.why);
    return code;
}
