/* auditor.h: the gate's audit hook, on an audit log: what must be durable when, which command waits, what a bad disk
 * closes.
 *
 *   gate ──record──► append ──► log          INTENT of power, memory-write: the command waits until it is durable
 *        ◄─intended── look ◄── durable       INTENT of input: soon · all else: later
 *
 * A principal that is denied again and again fills no disk: beyond VMSIG_AUDITOR_DENIALS in a second its denials become
 * one record, which says how many they were.
 *
 * While the log is closed, commands that need a lease are answered UNAVAILABLE and no lease is granted; others go on, and
 * the log will tell how many records are missing.
 * One thread. Errors: 0 or negative errno.
 */
#ifndef VMSIG_AUDITOR_H
#define VMSIG_AUDITOR_H

#include "actors/gateway/audit.h"
#include "actors/gateway/gate.h"

#define VMSIG_AUDITOR_DENIALS  32u
#define VMSIG_AUDITOR_STORM_NS 1000000000ull

typedef struct vmsig_auditor vmsig_auditor;

/* Opens the log and installs the hook. As vmsig_audit_open; cfg's callbacks must not call the gate. */
int vmsig_auditor_new(vmsig_gate *gate, const vmsig_audit_cfg *cfg, vmsig_auditor **out, char why[256]);
/* Before the gate is freed; seals the log. NULL is allowed. */
void vmsig_auditor_free(vmsig_auditor *u, int timeout_ms);

/* Readable when vmsig_auditor_look has something to see. */
int vmsig_auditor_fd(const vmsig_auditor *u);
/* What the disk has done, and what follows for the gate. When to call again at the latest; 0 = never. */
uint64_t vmsig_auditor_look(vmsig_auditor *u, uint64_t now_ns);
/* true: look before the gate's next turn. */
bool vmsig_auditor_busy(const vmsig_auditor *u);
/* The next segment: an empty file; duplicated. */
int vmsig_auditor_next(vmsig_auditor *u, int fd);

#endif
