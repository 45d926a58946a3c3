/* vmsig_display.h: what vmsig-sensor-display says of a screen: where it has changed, and its size.
 *
 *   { vmsig_display, vmsig_display_rect × rects }   in inln where it fits, else as payload
 *
 * Rectangles lie within the screen and are not empty; they may overlap. One update of the screen that takes more of them
 * than an event holds goes on in the next event.
 */
#ifndef VMSIG_DISPLAY_H
#define VMSIG_DISPLAY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMSIG_EV_DISPLAY        66 /* kind of its events */
#define VMSIG_DISPLAY_RECTS_MAX 512u

#define VMSIG_DISPLAY_ANEW    1u /* the first of a connection: what was before is unknown */
#define VMSIG_DISPLAY_RESIZED 2u /* the screen has another size: nothing of it is as it was */
#define VMSIG_DISPLAY_MORE    4u /* the update goes on in the next event */

/* Body of VMSIG_EV_DISPLAY, before the rectangles. ANEW and RESIZED are retained: a late subscriber learns the size. */
typedef struct vmsig_display {
    uint16_t width, height; /* of the screen, in pixels */
    uint16_t rects;         /* how many follow, 0..VMSIG_DISPLAY_RECTS_MAX */
    uint16_t flags;         /* VMSIG_DISPLAY_ bits */
} vmsig_display;

typedef struct vmsig_display_rect {
    uint16_t x, y, w, h;
} vmsig_display_rect;

#ifdef __cplusplus
}
#endif
#endif
