#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "schema/caps.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/names.h"
#include "supervisor/cli/send.h"

#define GROUP_MAX (VMSIG_INLINE_MAX / sizeof(vmsig_input))

typedef struct parse {
    const char *const *words; /* after the command's own */
    int n;
    vmsig_send_plan *plan;
    char *err;
    size_t err_len;
    bool virtual_address;
    uint32_t op; /* of the command, where it has one */
} parse;

static int wrong(parse *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int wrong(parse *p, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p->err, p->err_len, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

static int add(parse *p, uint8_t kind, uint8_t source, const void *body, size_t len) {
    if (p->plan->n == VMSIG_SEND_MAX)
        return wrong(p, "too much for one call: at most %d commands", VMSIG_SEND_MAX);
    vmsig_event *ev = &p->plan->commands[p->plan->n++];
    *ev = (vmsig_event){.dir = VMSIG_DIR_DOWN, .kind = kind, .source = source, .merged = 1, .inln_len = (uint32_t)len};
    memcpy(ev->inln, body, len);
    const vmsig_need *need = vmsig_need_of(ev);
    if (!need)
        return wrong(p, "the command makes no sense");
    p->plan->lease = need->cls;
    return 0;
}

/* ---- input ----------------------------------------------------------------------------------------------- */

static int add_input(parse *p, const vmsig_input *group, size_t n) {
    return add(p, VMSIG_CMD_INPUT, VMSIG_SRC_INPUT, group, n * sizeof *group);
}

/* Pressed in order as one group, let go in reverse as another. */
static int press(parse *p, uint8_t type, const uint16_t *codes, size_t n) {
    vmsig_input down[GROUP_MAX], up[GROUP_MAX];
    for (size_t i = 0; i < n; i++) {
        down[i] = (vmsig_input){.type = type, .down = 1, .code = codes[i]};
        up[n - 1 - i] = (vmsig_input){.type = type, .down = 0, .code = codes[i]};
    }
    int err = add_input(p, down, n);
    return err ? err : add_input(p, up, n);
}

static int keys(parse *p) {
    uint16_t codes[GROUP_MAX];
    size_t n = 0;
    char text[128];
    if (strlen(p->words[0]) >= sizeof text)
        return wrong(p, "key: a chord of at most %zu keys is expected, such as ctrl+alt+delete", GROUP_MAX);
    strcpy(text, p->words[0]);
    char *rest = text;
    for (char *name; (name = strsep(&rest, "+"));) {
        int code = vmsig_key_by_name(name);
        if (code < 0)
            return wrong(p, "key: there is no key '%s' (a, f1, enter, leftctrl, ... or an evdev code)", name);
        if (n == GROUP_MAX)
            return wrong(p, "key: at most %zu keys at once", GROUP_MAX);
        codes[n++] = (uint16_t)code;
    }
    return press(p, VMSIG_INPUT_KEY, codes, n);
}

static int type(parse *p) {
    for (const char *c = p->words[0]; *c; c++) {
        int shift, code = vmsig_key_of_char(*c, &shift);
        if (code < 0)
            return wrong(p, "type: no key types character %#x (ASCII only)", (unsigned char)*c);
        const uint16_t codes[] = {KEY_LEFTSHIFT, (uint16_t)code};
        int err = press(p, VMSIG_INPUT_KEY, shift ? codes : codes + 1, shift ? 2 : 1);
        if (err)
            return err;
    }
    return p->plan->n ? 0 : wrong(p, "type: there is no text to type");
}

static int button(parse *p) {
    int code = vmsig_button_by_name(p->words[0]);
    if (code < 0)
        return wrong(p, "button: there is no button '%s' (left, right, middle, side, extra, or an evdev code)",
                     p->words[0]);
    const uint16_t codes[] = {(uint16_t)code};
    return press(p, VMSIG_INPUT_BTN, codes, 1);
}

static int axes(parse *p, uint8_t kind, int64_t min, int64_t max) {
    int64_t v[2];
    for (int i = 0; i < 2; i++)
        if (!vmsig_cli_int(p->words[i], min, max, &v[i]))
            return wrong(p, "%s: %s is not a number from %lld to %lld", vmsig_word(VMSIG_WORDS_INPUT, kind),
                         p->words[i], (long long)min, (long long)max);
    const vmsig_input group[] = {
        {.type = kind, .code = kind == VMSIG_INPUT_REL ? REL_X : ABS_X, .value = (int32_t)v[0]},
        {.type = kind, .code = kind == VMSIG_INPUT_REL ? REL_Y : ABS_Y, .value = (int32_t)v[1]}};
    return add_input(p, group, 2);
}

static int rel(parse *p) {
    return axes(p, VMSIG_INPUT_REL, INT32_MIN, INT32_MAX);
}
static int absolute(parse *p) {
    return axes(p, VMSIG_INPUT_ABS, 0, 32767);
}

/* ---- the VM ---------------------------------------------------------------------------------------------- */

static int lifecycle(parse *p) {
    const vmsig_lifecycle body = {.op = p->op};
    return add(p, VMSIG_CMD_LIFECYCLE, VMSIG_SRC_VMHOST, &body, sizeof body);
}

static int vm(parse *p) {
    int op = vmsig_word_value(VMSIG_WORDS_VM, p->words[0]);
    if (op < 0)
        return wrong(p, "vm: %s is unknown; query, cont or stop is expected", p->words[0]);
    const vmsig_vm body = {.op = (uint32_t)op};
    return add(p, VMSIG_CMD_VM, VMSIG_SRC_VMHOST, &body, sizeof body);
}

/* VALUE[:SIZE] */
static int memwrite_value(parse *p, vmsig_memwrite *w) {
    char value[32];
    const char *colon = strchr(p->words[1], ':');
    size_t len = colon ? (size_t)(colon - p->words[1]) : strlen(p->words[1]);
    uint64_t size = 8;
    if (len >= sizeof value)
        return wrong(p, "memwrite: %s is not a value", p->words[1]);
    memcpy(value, p->words[1], len);
    value[len] = 0;
    if (colon && (!vmsig_cli_uint(colon + 1, 8, &size) || (size != 1 && size != 2 && size != 4 && size != 8)))
        return wrong(p, "memwrite: %s is not a size; 1, 2, 4 or 8 bytes are expected", colon + 1);
    if (!vmsig_cli_uint(value, size == 8 ? UINT64_MAX : (1ull << (8 * size)) - 1, &w->value))
        return wrong(p, "memwrite: %s is not a number of %u bytes", value, (unsigned)size);
    w->size = (uint32_t)size;
    return 0;
}

static int memwrite(parse *p) {
    vmsig_memwrite body = {.flags = p->virtual_address ? VMSIG_MEMWRITE_VIRTUAL : 0};
    if (!vmsig_cli_uint(p->words[0], UINT64_MAX, &body.addr))
        return wrong(p, "memwrite: %s is not an address", p->words[0]);
    int err = memwrite_value(p, &body);
    if (err)
        return err;
    return add(p, VMSIG_CMD_MEMWRITE, VMSIG_SRC_MEMWRITE, &body, sizeof body);
}

/* ---- the table ------------------------------------------------------------------------------------------- */

static const struct verb {
    const char *name;
    int args;
    const char *usage;
    int (*fn)(parse *p);
    uint32_t op;
} verbs[] = {
    {"key", 1, "KEY[+KEY...]", keys, 0},
    {"type", 1, "TEXT", type, 0},
    {"button", 1, "BUTTON", button, 0},
    {"rel", 2, "DX DY", rel, 0},
    {"abs", 2, "X Y", absolute, 0},
    {"pause", 0, "", lifecycle, VMSIG_LIFECYCLE_PAUSE},
    {"resume", 0, "", lifecycle, VMSIG_LIFECYCLE_RESUME},
    {"wakeup", 0, "", lifecycle, VMSIG_LIFECYCLE_WAKEUP},
    {"powerdown", 0, "", lifecycle, VMSIG_LIFECYCLE_POWERDOWN},
    {"reset", 0, "", lifecycle, VMSIG_LIFECYCLE_RESET},
    {"quit", 0, "", lifecycle, VMSIG_LIFECYCLE_QUIT},
    {"vm", 1, "query|cont|stop", vm, 0},
    {"memwrite", 2, "ADDRESS VALUE[:SIZE]", memwrite, 0},
};
#define VERBS (sizeof verbs / sizeof verbs[0])

static int unknown(parse *p, const char *word) {
    const char *names[VERBS + 1] = {0};
    for (size_t i = 0; i < VERBS; i++)
        names[i] = verbs[i].name;
    const char *near = vmsig_cli_nearest(word, names);
    if (near)
        return wrong(p, "there is no command %s; did you mean %s?", word, near);
    return wrong(p, "there is no command %s (see vmsig send --help)", word);
}

int vmsig_send_parse(const char *const *words, int n, bool virtual_address, vmsig_send_plan *plan, char *err,
                     size_t err_len) {
    parse p = {words + 1, n - 1, plan, err, err_len, virtual_address, 0};
    plan->n = 0;
    plan->lease = VMSIG_NO_LEASE;
    for (size_t i = 0; i < VERBS; i++) {
        if (strcmp(verbs[i].name, words[0]) != 0)
            continue;
        if (p.n != verbs[i].args)
            return wrong(&p, "expected: %s %s", verbs[i].name, verbs[i].usage);
        if (virtual_address && verbs[i].fn != memwrite)
            return wrong(&p, "--virtual goes with memwrite only");
        p.op = verbs[i].op;
        return verbs[i].fn(&p);
    }
    return unknown(&p, words[0]);
}
