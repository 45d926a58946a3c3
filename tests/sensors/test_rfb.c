/* The client's side of RFB: what it answers, which rectangles it hands on, and what it refuses. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "actors/sensors/rfb.h"

#define TOLD_MAX 64u

typedef struct told {
    vmsig_display head;
    vmsig_display_rect first, last;
} told;

typedef struct world {
    vmsig_rfb rfb;
    uint8_t sent[256];
    size_t sent_n;
    bool deaf; /* the server takes nothing */
    told told[TOLD_MAX];
    unsigned told_n;
} world;

static int on_send(void *ud, const void *bytes, size_t n) {
    world *w = ud;
    if (w->deaf || w->sent_n + n > sizeof w->sent)
        return -1;
    memcpy(w->sent + w->sent_n, bytes, n);
    w->sent_n += n;
    return 0;
}

static void on_changed(void *ud, const vmsig_display *head, const vmsig_display_rect *rects) {
    world *w = ud;
    cr_assert_lt(w->told_n, TOLD_MAX);
    told *t = &w->told[w->told_n++];
    *t = (told){.head = *head};
    if (head->rects > 0) {
        t->first = rects[0];
        t->last = rects[head->rects - 1];
    }
}

static const vmsig_rfb_ops ops = {on_send, on_changed};

/* Text with its length: the server's bytes, NULs among them. */
#define SAYS(w, text) says(w, text, sizeof(text) - 1)

static int says(world *w, const char *bytes, size_t n) {
    return vmsig_rfb_take(&w->rfb, (const uint8_t *)bytes, n);
}

#define HELLO "RFB 003.008\n\1\1\0\0\0\0"
#define INIT                                                                                                           \
    "\2\200\1\340" /* 640 x 480 */                                                                                     \
    "\40\30\0\1\0\377\0\377\0\377\20\10\0\0\0\0"                                                                       \
    "\0\0\0\4"                                                                                                         \
    "QEMU"

#define UPDATE(n)    "\0\0\0" n
#define RECT_8_16    "\0\10\0\20\0\2\0\3" /* 2 x 3 at 8, 16 */
#define RAW          "\0\0\0\0"
#define ZRLE         "\0\0\0\20"
#define RESIZE(w, h) "\0\0\0\0" w h "\377\377\377\41"
#define PIXELS_6     "\1\2\3\4\5\6"

static void greeted(world *w) {
    *w = (world){0};
    vmsig_rfb_begin(&w->rfb, &ops, w);
    cr_assert_eq(SAYS(w, HELLO INIT), 0, "%s", w->rfb.why);
    cr_assert(vmsig_rfb_idle(&w->rfb));
}

static void expect_rect(vmsig_display_rect got, unsigned x, unsigned y, unsigned wide, unsigned high) {
    cr_expect(got.x == x && got.y == y && got.w == wide && got.h == high, "%u x %u at %u, %u", got.w, got.h, got.x,
              got.y);
}

Test(rfb, greets_asks_for_few_bytes_and_for_what_changes) {
    static const char expected[] = "RFB 003.008\n\1\1"
                                   "\0\0\0\0\10\10\0\1\0\7\0\7\0\3\0\3\6\0\0\0"     /* 8 bits a pixel */
                                   "\2\0\0\3\0\0\0\20\377\377\377\41\377\377\377\1" /* ZRLE, its size */
                                   "\3\1\0\0\0\0\2\200\1\340";                      /* the first request */
    world w;
    greeted(&w);
    cr_expect_eq(w.sent_n, sizeof expected - 1);
    cr_expect_arr_eq(w.sent, expected, sizeof expected - 1);
    cr_expect_eq(w.told_n, 0);
}

Test(rfb, an_update_is_told_with_its_rectangles_and_the_first_one_as_such) {
    world w;
    greeted(&w);
    cr_assert_eq(SAYS(&w, UPDATE("\2") RECT_8_16 RAW PIXELS_6 "\0\1\0\2\0\3\0\4" ZRLE "\0\0\0\3xyz"), 0);
    cr_assert_eq(w.told_n, 1);
    cr_expect_eq(w.told[0].head.flags, VMSIG_DISPLAY_ANEW);
    cr_expect_eq(w.told[0].head.width, 640);
    cr_expect_eq(w.told[0].head.height, 480);
    cr_expect_eq(w.told[0].head.rects, 2);
    expect_rect(w.told[0].first, 8, 16, 2, 3);
    expect_rect(w.told[0].last, 1, 2, 3, 4);
    cr_expect(vmsig_rfb_idle(&w.rfb));
    w.sent_n = 0;
    cr_assert_eq(vmsig_rfb_ask(&w.rfb), 0);
    cr_expect_eq(w.sent_n, 10);
    cr_assert_eq(SAYS(&w, UPDATE("\1") RECT_8_16 RAW PIXELS_6), 0);
    cr_expect_eq(w.told[1].head.flags, 0);
}

Test(rfb, bytes_may_come_one_by_one) {
    static const char all[] = HELLO INIT "\2" UPDATE("\3") RECT_8_16 RAW PIXELS_6 RECT_8_16 ZRLE
        "\0\0\0\1x" RESIZE("\4\0", "\3\0") "\3\0\0\0\0\0\0\2hi" UPDATE("\1") "\3\377\2\377\0\1\0\1" RAW "p";
    world w = {0};
    vmsig_rfb_begin(&w.rfb, &ops, &w);
    for (size_t i = 0; i < sizeof all - 1; i++)
        cr_assert_eq(says(&w, all + i, 1), 0, "byte %zu: %s", i, w.rfb.why);
    cr_assert_eq(w.told_n, 2);
    cr_expect_eq(w.told[0].head.flags, VMSIG_DISPLAY_ANEW | VMSIG_DISPLAY_RESIZED);
    cr_expect_eq(w.told[0].head.rects, 0, "those of the former size are of no use");
    cr_expect_eq(w.told[0].head.width, 1024);
    cr_expect_eq(w.told[0].head.height, 768);
    expect_rect(w.told[1].first, 1023, 767, 1, 1);
    cr_expect(vmsig_rfb_idle(&w.rfb));
}

Test(rfb, amidst_a_message_it_is_not_idle) {
    world w;
    greeted(&w);
    SAYS(&w, UPDATE("\1") RECT_8_16 RAW "\1\2");
    cr_expect_not(vmsig_rfb_idle(&w.rfb));
    SAYS(&w, "\3\4\5\6");
    cr_expect(vmsig_rfb_idle(&w.rfb));
}

Test(rfb, an_update_of_many_rectangles_comes_in_parts) {
    world w;
    greeted(&w);
    cr_assert_eq(SAYS(&w, "\0\0\2\2"), 0); /* 514 */
    for (int i = 0; i < 514; i++)
        cr_assert_eq(SAYS(&w, RECT_8_16 RAW PIXELS_6), 0);
    cr_assert_eq(w.told_n, 2);
    cr_expect_eq(w.told[0].head.flags, VMSIG_DISPLAY_ANEW | VMSIG_DISPLAY_MORE);
    cr_expect_eq(w.told[0].head.rects, VMSIG_DISPLAY_RECTS_MAX);
    cr_expect_eq(w.told[1].head.flags, 0);
    cr_expect_eq(w.told[1].head.rects, 2);
}

Test(rfb, an_update_of_nothing_is_an_update) {
    world w;
    greeted(&w);
    cr_assert_eq(SAYS(&w, UPDATE("\1") "\0\0\0\0\0\0\0\3" RAW UPDATE("\0")), 0);
    cr_expect_eq(w.told_n, 2, "the next one is to be asked for");
    cr_expect_eq(w.told[0].head.rects, 0);
    cr_expect_eq(w.told[1].head.flags, 0);
}

Test(rfb, what_no_server_says_is_refused_in_one_sentence) {
    static const struct {
        const char *said;
        size_t n;
        const char *expected;
    } bad[] = {
#define BAD(text, why) {text, sizeof(text) - 1, why}
        BAD("HTTP/1.1 400", "no VNC server"),
        BAD("RFB 003.00x\n", "no VNC server"),
        BAD("RFB 003.003\n", "3.8 is the least"),
        BAD("RFB 003.008\n\1\2", "wants a password"),
        BAD("RFB 003.008\n\0\0\0\0\7too bad", "refuses the connection: too bad"),
        BAD("RFB 003.008\n\0\0\0\0\3a\nb", "refuses the connection: a b"),
        BAD("RFB 003.008\n\0\0\0\0\0", "does not say why"),
        BAD("RFB 003.008\n\1\1\0\0\0\1\0\0\0\4busy", "refuses the connection: busy"),
        BAD(HELLO "\0\0\1\340\40\30\0\1\0\377\0\377\0\377\20\10\0\0\0\0\0\0\0\4", "0 x 480 pixels"),
        BAD(HELLO "\2\200\1\340\40\30\0\1\0\377\0\377\0\377\20\10\0\0\0\0\377\0\0\0", "a name of"),
        BAD(HELLO INIT "\7", "message of type 7"),
        BAD(HELLO INIT "\3\0\0\0\377\377\377\377", "a clipboard of 4294967295 bytes"),
        BAD(HELLO INIT UPDATE("\1") RECT_8_16 "\0\0\0\5", "encoding 5"),
        BAD(HELLO INIT UPDATE("\1") "\2\177\0\0\0\2\0\1" RAW, "2 x 1 pixels at 639, 0 of a screen of 640 x 480"),
        BAD(HELLO INIT UPDATE("\1") "\0\0\1\337\0\1\0\2" RAW, "1 x 2 pixels at 0, 479"),
        BAD(HELLO INIT UPDATE("\1") "\377\377\377\377\377\377\377\377" RAW, "65535 x 65535"),
        BAD(HELLO INIT UPDATE("\1") RECT_8_16 ZRLE "\0\2\0\0", "131072 bytes for 6 pixels"),
        BAD(HELLO INIT UPDATE("\1") RESIZE("\0\0", "\1\0"), "becomes one of 0 x 256"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        world w = {0};
        vmsig_rfb_begin(&w.rfb, &ops, &w);
        cr_expect_eq(says(&w, bad[i].said, bad[i].n), -EPROTO, "case %zu", i);
        cr_expect_not_null(strstr(w.rfb.why, bad[i].expected), "case %zu: %s", i, w.rfb.why);
        cr_expect_null(strchr(w.rfb.why, '\n'), "case %zu", i);
    }
}

Test(rfb, a_server_that_takes_no_answer_is_given_up) {
    world w = {.deaf = true};
    vmsig_rfb_begin(&w.rfb, &ops, &w);
    cr_expect_eq(SAYS(&w, "RFB 003.008\n"), -EPROTO);
    cr_expect_not_null(strstr(w.rfb.why, "takes no answer"));
}
