/* rfb.h: the client's side of RFB 3.8 (RFC 6143), as far as it takes to learn where a screen has changed.
 *
 *   bytes of the server ──vmsig_rfb_take──► ops.send: what it is answered
 *                                       └─► ops.changed: rectangles, at an update's end or when so many have gathered
 *
 * It asks for the fewest bytes: 8 bits a pixel, ZRLE; the length of a rectangle's pixels stands before them, and they are
 * passed over. After each update the caller asks for the next when it likes (vmsig_rfb_ask); the server gathers until then.
 *
 * What the server says is not trusted: lengths are bounded, rectangles must lie within the screen.
 */
#ifndef VMSIG_RFB_H
#define VMSIG_RFB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmsig_display.h"

/* The update is told in full where flags have no VMSIG_DISPLAY_MORE. An update without anything new has 0 rects and no
 * flags. What is handed over is borrowed. */
typedef struct vmsig_rfb_ops {
    int (*send)(void *ud, const void *bytes, size_t n); /* 0, or -1: the connection is given up */
    void (*changed)(void *ud, const vmsig_display *head, const vmsig_display_rect *rects);
} vmsig_rfb_ops;

typedef struct vmsig_rfb {
    const vmsig_rfb_ops *ops;
    void *ud;
    int step;          /* what the next bytes are */
    size_t have, need; /* in buf */
    uint64_t skip;     /* bytes to pass over before that */
    unsigned left;     /* rectangles of the present update */
    uint32_t pixels;   /* of the present one */
    uint8_t buf[256];
    vmsig_display head;
    vmsig_display_rect rects[VMSIG_DISPLAY_RECTS_MAX];
    char why[320]; /* once a call failed: one sentence */
} vmsig_rfb;

/* A connection begins. */
void vmsig_rfb_begin(vmsig_rfb *r, const vmsig_rfb_ops *ops, void *ud);

/* Takes what has come: 0, or -EPROTO: r->why says what is wrong with the server, and that was all. */
int vmsig_rfb_take(vmsig_rfb *r, const uint8_t *bytes, size_t n);

/* Asks for the next update: 0, or -1 as ops.send said. */
int vmsig_rfb_ask(vmsig_rfb *r);

/* Whether nothing is half said: the server may be silent for as long as it likes. */
bool vmsig_rfb_idle(const vmsig_rfb *r);

#endif
