/* show.h: what the program prints: a status and an event, as text for people and as JSON for programs. */
#ifndef VMSIG_CLI_SHOW_H
#define VMSIG_CLI_SHOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "supervisor.pb-c.h"
#include "vmsig_control.h"

/* Prints o on one line and frees it: 0, or -ENOMEM, -EPIPE (stdout is gone). o NULL: -ENOMEM. */
int vmsig_show_json(json_t *o);

/* ---- status ------------------------------------------------------------------------------------------ */

/* What runs, as tables: 0 or -ENOMEM. */
int vmsig_show_status(const Vmsig__Pb__Status *s);
json_t *vmsig_status_json(const Vmsig__Pb__Status *s);

/* What a change does, one line each: 0 or -ENOMEM. */
int vmsig_show_plan(const Vmsig__Pb__Plan *p);
json_t *vmsig_plan_json(const Vmsig__Pb__Plan *p);

/* ---- events ------------------------------------------------------------------------------------------ */

#define VMSIG_SHOW_BODY_MAX 512

/* The body of an event in words, cut at VMSIG_SHOW_BODY_MAX. */
void vmsig_show_body(const vmsig_event *ev, char *buf, size_t len);
/* One line of text: time at the origin, seq, endpoint, source, kind, priority where it is not normal, marks, body, and
 * `note` where not NULL. */
void vmsig_show_event(const vmsig_event *ev, const char *note);
/* The same for programs; `note` as "note". */
json_t *vmsig_event_json(const vmsig_event *ev, const char *note);

#endif
