/* answer.h: what a supervisor answers, of any size: in one frame, or, where it is too large for one (a status of a
 * thousand actors), in a sealed memfd that comes with a frame that says so.
 *
 * Errors: 0 or negative errno.
 */
#ifndef VMSIG_SUPERVISOR_ANSWER_H
#define VMSIG_SUPERVISOR_ANSWER_H

#include "schema/frame.h"
#include "supervisor.pb-c.h"

#define VMSIG_ANSWER_MAX (16u << 20)

/* As vmsig_frame_send; -EMSGSIZE: larger than VMSIG_ANSWER_MAX. */
int vmsig_answer_send(int sock, const Vmsig__Pb__Response *r);
/* The answer that a frame bears or leads to, whose fds are closed; NULL: it is none. Free with free_unpacked. */
Vmsig__Pb__Response *vmsig_answer_unpack(vmsig_frame *f);

#endif
