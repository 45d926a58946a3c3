/* lines.h: a stream of bytes as events, one for each line, in inln where it fits, else as payload. */
#ifndef VMSIG_LINES_H
#define VMSIG_LINES_H

#include <stdbool.h>
#include <sys/types.h>

#include "vmsig_actor.h"

#define VMSIG_EV_LINE  64 /* kind of the events: a line, or the last piece of one */
#define VMSIG_EV_PIECE 65 /* its line goes on in the next event */

typedef struct vmsig_lines {
    vmsig_actor *actor;
    const char *from; /* who writes them, for messages; borrowed */
    bool console;     /* a carriage return before a line's end is no part of it */
    bool cut;         /* it was said that lines are cut */
    size_t len;
    char *line; /* VMSIG_PAYLOAD_MAX bytes: what has come of lines that are not complete */
} vmsig_lines;

/* 0 or -ENOMEM. */
int vmsig_lines_open(vmsig_lines *l, vmsig_actor *actor, const char *from);
void vmsig_lines_close(vmsig_lines *l);
/* Reads once and emits the lines that are complete: as read(2) says. */
ssize_t vmsig_lines_read(vmsig_lines *l, int fd);
/* Emits what there is of the last line, which has ended; or which may go on. */
void vmsig_lines_end(vmsig_lines *l);
void vmsig_lines_prompt(vmsig_lines *l);

#endif
