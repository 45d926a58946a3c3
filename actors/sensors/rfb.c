#include "actors/sensors/rfb.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAME_MAX_BYTES 65536u
#define TEXT_MAX_BYTES (1u << 20) /* of a clipboard */

#define ZRLE_EXTRA 65536u /* beyond twice the pixels, which it never takes */

#define SECURITY_NONE 1
#define SHARED        1

enum { ENCODING_RAW = 0, ENCODING_ZRLE = 16, ENCODING_DESKTOP_SIZE = -223, ENCODING_LEAST_WORK = -255 };
enum { SET_PIXEL_FORMAT = 0, SET_ENCODINGS = 2, UPDATE_REQUEST = 3 }; /* messages of the client */
enum { UPDATE = 0, SET_COLOURS = 1, BELL = 2, CUT_TEXT = 3 };         /* of the server */

typedef enum step {
    VERSION,
    SECURITY_COUNT,
    SECURITY_TYPES,
    SECURITY_RESULT,
    REFUSAL_LENGTH,
    REFUSAL,
    INIT,
    MESSAGE,
    UPDATE_HEAD,
    RECT,
    ZRLE_LENGTH,
    COLOURS_HEAD,
    CUT_TEXT_HEAD
} step;

/* ---- small things ------------------------------------------------------------------------------------ */

static unsigned get16(const uint8_t *p) {
    return (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p) {
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, unsigned v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static bool refuse(vmsig_rfb *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool refuse(vmsig_rfb *r, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->why, sizeof r->why, fmt, ap);
    va_end(ap);
    return false;
}

static bool await(vmsig_rfb *r, step next, size_t need) {
    r->step = (int)next;
    r->need = need;
    return true;
}

static bool answer(vmsig_rfb *r, const void *bytes, size_t n) {
    return r->ops->send(r->ud, bytes, n) == 0 || refuse(r, "it takes no answer");
}

/* ---- the handshake ----------------------------------------------------------------------------------- */

static bool on_version(vmsig_rfb *r) {
    static const char ours[] = "RFB 003.008\n";
    const char *said = (const char *)r->buf;
    bool digits = true;
    for (int i = 4; i < 11; i++)
        digits = digits && (i == 7 ? said[i] == '.' : isdigit((unsigned char)said[i]));
    if (memcmp(said, "RFB ", 4) != 0 || !digits || said[11] != '\n')
        return refuse(r, "no VNC server listens there: it does not begin with an RFB version");
    if (memcmp(said, ours, 11) < 0)
        return refuse(r, "it speaks RFB %.7s, and 3.8 is the least", said + 4);
    return answer(r, ours, sizeof ours - 1) && await(r, SECURITY_COUNT, 1);
}

static bool on_security_count(vmsig_rfb *r) {
    return r->buf[0] ? await(r, SECURITY_TYPES, r->buf[0]) : await(r, REFUSAL_LENGTH, 4);
}

static bool on_security_types(vmsig_rfb *r) {
    static const uint8_t none = SECURITY_NONE;
    if (!memchr(r->buf, SECURITY_NONE, r->need))
        return refuse(r, "it wants a password, and this sensor has none: let QEMU offer it without one");
    return answer(r, &none, 1) && await(r, SECURITY_RESULT, 4);
}

static bool on_security_result(vmsig_rfb *r) {
    static const uint8_t shared = SHARED;
    if (get32(r->buf) != 0)
        return await(r, REFUSAL_LENGTH, 4);
    return answer(r, &shared, 1) && await(r, INIT, 24);
}

static bool on_refusal_length(vmsig_rfb *r) {
    uint32_t n = get32(r->buf);
    if (n == 0)
        return refuse(r, "it refuses the connection and does not say why");
    return await(r, REFUSAL, n < sizeof r->buf ? n : sizeof r->buf);
}

static bool on_refusal(vmsig_rfb *r) {
    for (size_t i = 0; i < r->need; i++) /* it goes to a terminal */
        r->buf[i] = isprint(r->buf[i]) ? r->buf[i] : ' ';
    return refuse(r, "it refuses the connection: %.*s", (int)r->need, (const char *)r->buf);
}

/* Three bits red, three green, two blue; then what it may send. */
static bool settle(vmsig_rfb *r) {
    static const uint8_t format[] = {SET_PIXEL_FORMAT, 0, 0, 0, 8, 8, 0, 1, 0, 7, 0, 7, 0, 3, 0, 3, 6, 0, 0, 0};
    static const int32_t known[] = {ENCODING_ZRLE, ENCODING_DESKTOP_SIZE, ENCODING_LEAST_WORK};
    uint8_t encodings[4 + sizeof known] = {SET_ENCODINGS, 0, 0, sizeof known / sizeof *known};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        put16(encodings + 4 + 4 * i, (uint32_t)known[i] >> 16);
        put16(encodings + 6 + 4 * i, (uint32_t)known[i] & 0xffff);
    }
    return answer(r, format, sizeof format) && answer(r, encodings, sizeof encodings);
}

static bool on_init(vmsig_rfb *r) {
    uint32_t name = get32(r->buf + 20);
    r->head.width = (uint16_t)get16(r->buf);
    r->head.height = (uint16_t)get16(r->buf + 2);
    if (r->head.width == 0 || r->head.height == 0)
        return refuse(r, "its screen is of %u x %u pixels", r->head.width, r->head.height);
    if (name > NAME_MAX_BYTES)
        return refuse(r, "its screen has a name of %u bytes", name);
    r->skip = name;
    r->head.flags = VMSIG_DISPLAY_ANEW;
    if (!settle(r) || vmsig_rfb_ask(r) < 0)
        return r->why[0] ? false : refuse(r, "it takes no answer");
    return await(r, MESSAGE, 1);
}

/* ---- an update --------------------------------------------------------------------------------------- */

static void tell(vmsig_rfb *r, uint16_t more) {
    r->head.flags |= more;
    r->ops->changed(r->ud, &r->head, r->rects);
    r->head.rects = r->head.flags = 0;
}

static bool next_rect(vmsig_rfb *r) {
    if (r->left > 0)
        return await(r, RECT, 12);
    tell(r, 0);
    return await(r, MESSAGE, 1);
}

static bool on_update_head(vmsig_rfb *r) {
    r->left = get16(r->buf + 1); /* behind a padding */
    return next_rect(r);
}

static bool resize(vmsig_rfb *r, const vmsig_display_rect *to) {
    if (to->w == 0 || to->h == 0)
        return refuse(r, "its screen becomes one of %u x %u pixels", to->w, to->h);
    r->head.width = to->w;
    r->head.height = to->h;
    r->head.flags |= VMSIG_DISPLAY_RESIZED;
    r->head.rects = 0; /* they were of the former one */
    return next_rect(r);
}

static void gather(vmsig_rfb *r, const vmsig_display_rect *rect) {
    if (rect->w == 0 || rect->h == 0)
        return;
    if (r->head.rects == VMSIG_DISPLAY_RECTS_MAX)
        tell(r, VMSIG_DISPLAY_MORE);
    r->rects[r->head.rects++] = *rect;
}

static bool on_rect(vmsig_rfb *r) {
    vmsig_display_rect rect = {(uint16_t)get16(r->buf), (uint16_t)get16(r->buf + 2), (uint16_t)get16(r->buf + 4),
                               (uint16_t)get16(r->buf + 6)};
    int32_t encoding = (int32_t)get32(r->buf + 8);
    r->left--;
    if (encoding == ENCODING_DESKTOP_SIZE)
        return resize(r, &rect);
    if (encoding != ENCODING_RAW && encoding != ENCODING_ZRLE)
        return refuse(r, "it sends encoding %d, which was not asked for", encoding);
    if (rect.x + rect.w > r->head.width || rect.y + rect.h > r->head.height)
        return refuse(r, "it sends %u x %u pixels at %u, %u of a screen of %u x %u", rect.w, rect.h, rect.x, rect.y,
                      r->head.width, r->head.height);
    gather(r, &rect);
    r->pixels = (uint32_t)rect.w * rect.h;
    if (encoding == ENCODING_ZRLE)
        return await(r, ZRLE_LENGTH, 4);
    r->skip = r->pixels; /* of one byte */
    return next_rect(r);
}

static bool on_zrle_length(vmsig_rfb *r) {
    uint32_t n = get32(r->buf);
    if (n > 2 * (uint64_t)r->pixels + ZRLE_EXTRA)
        return refuse(r, "it sends %u bytes for %u pixels", n, r->pixels);
    r->skip = n;
    return next_rect(r);
}

/* ---- messages ---------------------------------------------------------------------------------------- */

static bool on_message(vmsig_rfb *r) {
    switch (r->buf[0]) {
    case UPDATE:
        return await(r, UPDATE_HEAD, 3);
    case SET_COLOURS:
        return await(r, COLOURS_HEAD, 5);
    case BELL:
        return await(r, MESSAGE, 1);
    case CUT_TEXT:
        return await(r, CUT_TEXT_HEAD, 7);
    default:
        return refuse(r, "it sends a message of type %u, which was not asked for", r->buf[0]);
    }
}

static bool on_colours_head(vmsig_rfb *r) {
    r->skip = 6u * get16(r->buf + 3);
    return await(r, MESSAGE, 1);
}

static bool on_cut_text_head(vmsig_rfb *r) {
    uint32_t n = get32(r->buf + 3);
    if (n > TEXT_MAX_BYTES)
        return refuse(r, "it sends a clipboard of %u bytes", n);
    r->skip = n;
    return await(r, MESSAGE, 1);
}

/* ---- the whole --------------------------------------------------------------------------------------- */

static bool (*const steps[])(vmsig_rfb *r) = {[VERSION] = on_version,
                                              [SECURITY_COUNT] = on_security_count,
                                              [SECURITY_TYPES] = on_security_types,
                                              [SECURITY_RESULT] = on_security_result,
                                              [REFUSAL_LENGTH] = on_refusal_length,
                                              [REFUSAL] = on_refusal,
                                              [INIT] = on_init,
                                              [MESSAGE] = on_message,
                                              [UPDATE_HEAD] = on_update_head,
                                              [RECT] = on_rect,
                                              [ZRLE_LENGTH] = on_zrle_length,
                                              [COLOURS_HEAD] = on_colours_head,
                                              [CUT_TEXT_HEAD] = on_cut_text_head};

void vmsig_rfb_begin(vmsig_rfb *r, const vmsig_rfb_ops *ops, void *ud) {
    *r = (vmsig_rfb){.ops = ops, .ud = ud};
    await(r, VERSION, 12);
}

int vmsig_rfb_take(vmsig_rfb *r, const uint8_t *bytes, size_t n) {
    while (n > 0) {
        uint64_t want = r->skip > 0 ? r->skip : r->need - r->have;
        size_t k = want < n ? (size_t)want : n;
        if (r->skip > 0) {
            r->skip -= k;
        } else {
            memcpy(r->buf + r->have, bytes, k);
            r->have += k;
        }
        bytes += k;
        n -= k;
        if (r->have < r->need)
            continue;
        r->have = 0;
        if (!steps[r->step](r))
            return -EPROTO;
    }
    return 0;
}

int vmsig_rfb_ask(vmsig_rfb *r) {
    uint8_t m[10] = {UPDATE_REQUEST, 1 /* what has changed since */};
    put16(m + 6, r->head.width);
    put16(m + 8, r->head.height);
    return r->ops->send(r->ud, m, sizeof m);
}

bool vmsig_rfb_idle(const vmsig_rfb *r) {
    return r->step == MESSAGE && r->have == 0 && r->skip == 0;
}
