#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "schema/codec.h"
#include "supervisor/cli/names.h"
#include "supervisor/cli/show.h"
#include "vmsig_memctx.h"

#define HEX_SHOWN 32u

/* Text that grows in a buffer and is cut where it ends. */
typedef struct text {
    char *buf;
    size_t len, used;
} text;

static void put(text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(text *t, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->buf + t->used, t->len - t->used, fmt, ap);
    va_end(ap);
    if (n > 0)
        t->used += (size_t)n < t->len - t->used ? (size_t)n : t->len - t->used - 1;
}

/* The body where it lies: inline, or in the payload. */
static const uint8_t *body_of(const vmsig_event *ev, size_t *n) {
    *n = ev->payload_len ? ev->payload_len : ev->inln_len;
    return ev->payload_len ? ev->payload : ev->inln;
}

/* A fixed body copied out of inln (which need not be aligned for it); false: too short. */
static bool fixed(const vmsig_event *ev, void *out, size_t n) {
    if (ev->inln_len < n)
        return false;
    memcpy(out, ev->inln, n);
    return true;
}

/* How long the UTF-8 character at p is that a terminal shows and does not obey; 0 = it is none. */
static size_t character(const uint8_t *p, size_t n) {
    if (p[0] < 0x80)
        return (p[0] >= ' ' && p[0] != 0x7f) || p[0] == '\t';
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || len > n || (p[0] == 0xc2 && p[1] < 0xa0)) /* U+0080 to U+009F are controls */
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

static bool printable(const uint8_t *p, size_t n) {
    for (size_t i = 0, len; i < n; i += len)
        if ((len = character(p + i, n - i)) == 0)
            return false;
    return n > 0;
}

/* ---- bodies in words --------------------------------------------------------------------------------------- */

/* In host byte order: bodies never leave the host. */
static uint64_t number(const uint8_t *p, size_t n) {
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)p[__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? i : n - 1 - i] << (8 * i);
    return v;
}

static void raw(text *t, const vmsig_event *ev) {
    size_t n;
    const uint8_t *p = body_of(ev, &n);
    size_t line = n && p[n - 1] == '\n' ? n - 1 : n;
    if (printable(p, line)) {
        put(t, "\"%.*s\"", (int)(line < VMSIG_SHOW_BODY_MAX ? line : VMSIG_SHOW_BODY_MAX), (const char *)p);
        return;
    }
    for (size_t i = 0; i < n && i < HEX_SHOWN; i++)
        put(t, "%s%02x", i && i % 4 == 0 ? " " : "", p[i]);
    if (n > HEX_SHOWN)
        put(t, "...");
    if (n == 1 || n == 2 || n == 4 || n == 8)
        put(t, " = %" PRIu64, number(p, n));
    else
        put(t, " (%zu bytes)", n);
}

static bool input(text *t, const vmsig_event *ev) {
    size_t n = ev->inln_len / sizeof(vmsig_input);
    for (size_t i = 0; i < n; i++) {
        vmsig_input in;
        memcpy(&in, ev->inln + i * sizeof in, sizeof in);
        const char *key = vmsig_key_name(in.code);
        put(t, "%s%s ", i ? ", " : "", vmsig_word(VMSIG_WORDS_INPUT, in.type));
        if (in.type == VMSIG_INPUT_REL || in.type == VMSIG_INPUT_ABS)
            put(t, "axis %u %s%d", in.code, in.type == VMSIG_INPUT_REL && in.value >= 0 ? "+" : "", in.value);
        else if (key)
            put(t, "%s %s", key, in.down ? "down" : "up");
        else
            put(t, "%u %s", in.code, in.down ? "down" : "up");
    }
    return n > 0;
}

static bool memctx(text *t, const vmsig_event *ev) {
    vmsig_memctx m;
    vmsig_seg segs[VMSIG_SEGS_MAX];
    uint64_t bytes = 0;
    if (!fixed(ev, &m, sizeof m))
        return false;
    int n = vmsig_memctx_segs(ev, segs, VMSIG_SEGS_MAX);
    for (int i = 0; i < n; i++)
        bytes += segs[i].len;
    put(t, "root %#" PRIx64 ", %d-level tables, ram %u: %" PRIu64 " KiB in %d segment%s, vcpu %u, cpl %u%s", m.root,
        m.cr4 & (1u << 12) ? 5 : 4, m.ram_id, bytes / 1024, n, n == 1 ? "" : "s", m.vcpu, m.cpl,
        m.flags & VMSIG_MEMCTX_COHERENT ? ", coherent" : "");
    return true;
}

static bool result(text *t, const vmsig_event *ev) {
    vmsig_result r;
    if (!fixed(ev, &r, sizeof r))
        return false;
    put(t, "command %" PRIu64 ": %s, detail %" PRIu64, ev->corr, vmsig_status_name(r.status), r.detail);
    return true;
}

static bool lost(text *t, const vmsig_event *ev) {
    vmsig_lost l;
    if (!fixed(ev, &l, sizeof l))
        return false;
    put(t, "%" PRIu64 " events of %s lost (%s), seq %" PRIu64 " to %" PRIu64, l.count,
        vmsig_source_name((uint8_t)l.source), vmsig_word(VMSIG_WORDS_LOST, l.why), l.first, l.last);
    return true;
}

/* Who failed, where that is what the event says. */
static bool failed_of(const vmsig_event *ev, vmsig_failed *f) {
    if (ev->source != VMSIG_SRC_SEAM || !fixed(ev, f, sizeof *f))
        return false;
    f->actor[sizeof f->actor - 1] = 0;
    return true;
}

static bool failed(text *t, const vmsig_event *ev) {
    vmsig_failed f;
    if (!failed_of(ev, &f))
        return false;
    put(t, "%s FAILED: its restarts are exhausted, everything stops", f.actor);
    return true;
}

static bool lease_info(text *t, const vmsig_event *ev) {
    vmsig_lease_info l;
    if (!fixed(ev, &l, sizeof l))
        return false;
    put(t, "%s lease %s, holder %u, token %" PRIu64, vmsig_word(VMSIG_WORDS_LEASE_CLASS, l.cls),
        vmsig_word(VMSIG_WORDS_LEASE_STATE, l.state), l.holder, l.token);
    return true;
}

static bool vmhost(text *t, const vmsig_event *ev) {
    vmsig_vmhost v;
    if (!fixed(ev, &v, sizeof v))
        return false;
    put(t, "%s", vmsig_word(VMSIG_WORDS_VM_STATE, v.state));
    if (v.cause)
        put(t, " (after %s)", vmsig_word(VMSIG_WORDS_LIFECYCLE, v.cause));
    return true;
}

static bool op(text *t, const vmsig_event *ev, vmsig_words words) {
    uint32_t value;
    if (!fixed(ev, &value, sizeof value))
        return false;
    put(t, "%s", vmsig_word(words, value));
    return true;
}

static bool memwrite(text *t, const vmsig_event *ev) {
    vmsig_memwrite w;
    if (!fixed(ev, &w, sizeof w))
        return false;
    put(t, "%u bytes at %s %#" PRIx64 ", value %#" PRIx64, w.size,
        w.flags & VMSIG_MEMWRITE_VIRTUAL ? "virtual" : "physical", w.addr, w.value);
    return true;
}

static bool lease(text *t, const vmsig_event *ev) {
    vmsig_lease l;
    if (!fixed(ev, &l, sizeof l))
        return false;
    put(t, "%s %s, ttl %u ms", vmsig_word(VMSIG_WORDS_LEASE_OP, l.op), vmsig_word(VMSIG_WORDS_LEASE_CLASS, l.cls),
        l.ttl_ms);
    return true;
}

static bool known(text *t, const vmsig_event *ev) {
    switch (ev->kind) {
    case VMSIG_EV_MEMCTX:
        return memctx(t, ev);
    case VMSIG_EV_RESULT:
        return result(t, ev);
    case VMSIG_EV_LOST:
        return lost(t, ev);
    case VMSIG_EV_STATE:
        return failed(t, ev);
    case VMSIG_EV_LEASE:
        return lease_info(t, ev);
    case VMSIG_EV_VMHOST:
        return vmhost(t, ev);
    case VMSIG_CMD_INPUT:
        return input(t, ev);
    case VMSIG_CMD_LIFECYCLE:
        return op(t, ev, VMSIG_WORDS_LIFECYCLE);
    case VMSIG_CMD_VM:
        return op(t, ev, VMSIG_WORDS_VM);
    case VMSIG_CMD_MEMWRITE:
        return memwrite(t, ev);
    case VMSIG_CMD_LEASE:
        return lease(t, ev);
    default:
        return false;
    }
}

void vmsig_show_body(const vmsig_event *ev, char *buf, size_t len) {
    text t = {buf, len, 0};
    buf[0] = 0;
    if (!known(&t, ev) && (ev->inln_len || ev->payload_len))
        raw(&t, ev);
}

/* ---- the whole event --------------------------------------------------------------------------------------- */

/* Of a source or a kind: its name, or "sensor 8", "kind 64" where it has only a number. */
static const char *label(const char *name, const char *what, char *buf, size_t len) {
    if (name[0] < '0' || name[0] > '9')
        return name;
    snprintf(buf, len, "%s %s", what, name);
    return buf;
}

void vmsig_show_event(const vmsig_event *ev, const char *note) {
    char body[VMSIG_SHOW_BODY_MAX], source[32], kind[32];
    vmsig_show_body(ev, body, sizeof body);
    printf("%" PRIu64 ".%06" PRIu64 " #%-6" PRIu64 " endpoint %-2u %-9s %-13s", ev->ts_ns / 1000000000,
           ev->ts_ns / 1000 % 1000000, ev->seq, ev->endpoint,
           label(vmsig_source_name(ev->source), "sensor", source, sizeof source),
           label(vmsig_kind_name(ev->kind), "kind", kind, sizeof kind));
    if (ev->prio != VMSIG_PRIO_NORMAL && ev->prio != VMSIG_PRIO_DEFAULT)
        printf(" [%s]", vmsig_prio_name(ev->prio));
    if (ev->merged > 1)
        printf(" [stands for %u]", ev->merged);
    if (ev->flags & VMSIG_EVF_SNAPSHOT)
        printf(" [retained]");
    printf("%s%s%s%s\n", body[0] ? " " : "", body, note ? "; " : "", note ? note : "");
}

/* A sensor's own body: as text where it is text, and always in hex. */
static json_t *raw_json(const vmsig_event *ev) {
    static const char digits[] = "0123456789abcdef";
    size_t n;
    const uint8_t *p = body_of(ev, &n);
    char *hex = malloc(2 * n + 1);
    if (!hex)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        hex[2 * i] = digits[p[i] >> 4];
        hex[2 * i + 1] = digits[p[i] & 15];
    }
    hex[2 * n] = 0;
    bool is_text = printable(p, n && p[n - 1] == '\n' ? n - 1 : n);
    /* json_stringn is NULL for what is not UTF-8 */
    json_t *o = json_pack("{s:s s:o*}", "hex", hex, "text", is_text ? json_stringn((const char *)p, n) : NULL);
    free(hex);
    return o;
}

static json_t *inputs_json(const vmsig_event *ev) {
    json_t *array = json_array();
    for (size_t i = 0; i < ev->inln_len / sizeof(vmsig_input); i++) {
        vmsig_input in;
        memcpy(&in, ev->inln + i * sizeof in, sizeof in);
        json_array_append_new(array,
                              json_pack("{s:s s:i s:i s:b s:i}", "type", vmsig_word(VMSIG_WORDS_INPUT, in.type),
                                        "type_number", in.type, "code", in.code, "down", in.down, "value", in.value));
    }
    return array;
}

#define U(v) ((json_int_t)(v))

static json_t *memctx_json(const vmsig_event *ev) {
    vmsig_memctx m;
    vmsig_seg segs[VMSIG_SEGS_MAX];
    json_t *array = json_array();
    int n = vmsig_memctx_segs(ev, segs, VMSIG_SEGS_MAX);
    memset(&m, 0, sizeof m);
    fixed(ev, &m, sizeof m);
    for (int i = 0; i < n; i++)
        json_array_append_new(
            array, json_pack("{s:I s:I s:I}", "gpa", U(segs[i].gpa), "len", U(segs[i].len), "off", U(segs[i].off)));
    return json_pack("{s:I s:I s:I s:I s:I s:i s:i s:i s:b s:o}", "root", U(m.root), "cr0", U(m.cr0), "cr4", U(m.cr4),
                     "efer", U(m.efer), "low", U(m.low), "ram_id", (int)m.ram_id, "vcpu", m.vcpu, "cpl", m.cpl,
                     "coherent", m.flags & VMSIG_MEMCTX_COHERENT, "segments", array);
}

static json_t *result_json(const vmsig_event *ev) {
    vmsig_result r = {0};
    fixed(ev, &r, sizeof r);
    return json_pack("{s:s s:i s:I}", "status", vmsig_status_name(r.status), "status_number", r.status, "detail",
                     U(r.detail));
}

static json_t *lost_json(const vmsig_event *ev) {
    vmsig_lost l = {0};
    fixed(ev, &l, sizeof l);
    return json_pack("{s:I s:I s:I s:s s:s}", "first", U(l.first), "last", U(l.last), "count", U(l.count), "source",
                     vmsig_source_name((uint8_t)l.source), "why", vmsig_word(VMSIG_WORDS_LOST, l.why));
}

static json_t *lease_json(const vmsig_event *ev) {
    vmsig_lease_info l = {0};
    fixed(ev, &l, sizeof l);
    return json_pack("{s:s s:s s:I s:I}", "state", vmsig_word(VMSIG_WORDS_LEASE_STATE, l.state), "class",
                     vmsig_word(VMSIG_WORDS_LEASE_CLASS, l.cls), "holder", U(l.holder), "token", U(l.token));
}

static json_t *vmhost_json(const vmsig_event *ev) {
    vmsig_vmhost v = {0};
    fixed(ev, &v, sizeof v);
    return json_pack("{s:s s:s?}", "state", vmsig_word(VMSIG_WORDS_VM_STATE, v.state), "cause",
                     v.cause ? vmsig_word(VMSIG_WORDS_LIFECYCLE, v.cause) : NULL);
}

static json_t *state_json(const vmsig_event *ev) {
    vmsig_failed f;
    return failed_of(ev, &f) ? json_pack("{s:s}", "failed", f.actor) : raw_json(ev);
}

static json_t *body_json(const vmsig_event *ev) {
    switch (ev->kind) {
    case VMSIG_EV_STATE:
        return state_json(ev);
    case VMSIG_EV_MEMCTX:
        return memctx_json(ev);
    case VMSIG_EV_RESULT:
        return result_json(ev);
    case VMSIG_EV_LOST:
        return lost_json(ev);
    case VMSIG_EV_LEASE:
        return lease_json(ev);
    case VMSIG_EV_VMHOST:
        return vmhost_json(ev);
    case VMSIG_CMD_INPUT:
        return inputs_json(ev);
    default:
        return raw_json(ev);
    }
}

json_t *vmsig_event_json(const vmsig_event *ev, const char *note) {
    return json_pack("{s:I s:I s:I s:I s:I s:s s:i s:s s:i s:s s:I s:b s:b s:o s:s*}", "seq", U(ev->seq), "ts_ns",
                     U(ev->ts_ns), "corr", U(ev->corr), "endpoint", U(ev->endpoint), "epoch", U(ev->epoch), "source",
                     vmsig_source_name(ev->source), "source_number", ev->source, "kind", vmsig_kind_name(ev->kind),
                     "kind_number", ev->kind, "prio", vmsig_prio_name(ev->prio), "merged", U(ev->merged), "retained",
                     ev->flags & VMSIG_EVF_RETAIN, "snapshot", ev->flags & VMSIG_EVF_SNAPSHOT, "body", body_json(ev),
                     "note", note);
}
