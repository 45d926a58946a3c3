/* audit.h: writing the audit log (schema/audit.h): append, sync, checkpoint, rotate.
 *
 *   loop:    append ──pwrite──► segment (page cache) ──┐          on_bell ◄── eventfd ── durable up to seq N, or an error
 *   thread:  waits until the earliest bound is near ───┴──► fdatasync, then the sealing key
 *
 * Durability     a record survives the death of the process once append has returned, and that of the machine once
 *                vmsig_audit_durable says so: at once when asked for, else within VMSIG_AUDIT_SOON_NS or _LATER_NS.
 * Why a thread   fdatasync has no form that an event loop could wait for; io_uring may be forbidden. It touches what
 *                `sync` in audit_sync.c holds, under one lock, and nothing else.
 * A bad disk     a record that cannot be written, or made durable, closes the log: append answers the error, the fact is
 *                counted as lost. vmsig_audit_look tries again every second; when it works, a note tells what is missing.
 * A torn tail    is cut off at open, and a note says so. A segment damaged in the middle is left as it is; the log is
 *                closed until the next segment is there.
 * The key        `seal_fd` holds the key of the next checkpoint and nothing of earlier ones. It moves on after the
 *                checkpoint is durable; a successor that finds it behind moves it on by the log.
 *
 * One thread calls. Errors: 0 or negative errno.
 */
#ifndef VMSIG_AUDIT_H
#define VMSIG_AUDIT_H

#include "schema/audit.h"
#include "vmsig_core.h"

#define VMSIG_AUDIT_SOON_NS          25000000ull /* input intents: half of the 50 ms, the other for the disk */
#define VMSIG_AUDIT_LATER_NS         50000000ull /* grants, denials, results: half of the 100 ms */
#define VMSIG_AUDIT_RETRY_NS         1000000000ull
#define VMSIG_AUDIT_SEGMENT_BYTES    (16ull << 20)
#define VMSIG_AUDIT_CHECKPOINT_EVERY 256u

typedef struct vmsig_audit vmsig_audit;

typedef struct vmsig_audit_cfg {
    int fd;               /* the segment to go on with, for reading and writing; duplicated */
    int prev_fd;          /* the one before, where fd is empty; -1 = there is none; duplicated */
    int seal_fd;          /* the sealing key's file, for reading and writing; -1 = no key, no checkpoints; duplicated */
    const char *gateway;  /* its name, for the head */
    uint64_t incarnation; /* of the gateway */
    uint64_t segment_bytes;    /* a segment of that size asks for the next; 0 = the usual */
    uint32_t checkpoint_every; /* records; 0 = the usual */
    /* The segment is full, or cannot be gone on with: a new one, please (vmsig_audit_rotate). Again after 10 s. */
    void (*full)(void *ud);
    /* One sentence. The log closed (error < 0) or is open again (0). */
    void (*state)(void *ud, int error, const char *text);
    void *ud;
    int (*fdatasync)(int fd); /* NULL = the system's; tests put theirs here */
} vmsig_audit_cfg;

/* -EBADMSG: fd is no audit log. Text for people in why. */
int vmsig_audit_open(const vmsig_audit_cfg *cfg, vmsig_audit **out, char why[256]);
/* Writes a sealed checkpoint, waits for the disk at most timeout_ms. NULL is allowed. */
void vmsig_audit_close(vmsig_audit *a, int timeout_ms);

/* How soon it must be durable. */
typedef enum vmsig_audit_when { VMSIG_AUDIT_NOW, VMSIG_AUDIT_SOON, VMSIG_AUDIT_LATER } vmsig_audit_when;

/* Written when this returns; *seq (may be NULL): compare with vmsig_audit_durable. -errno: the log is closed. */
int vmsig_audit_append(vmsig_audit *a, const vmsig_audit_record *rec, vmsig_audit_when when, uint64_t *seq);
/* Everything up to this record is on the disk. */
uint64_t vmsig_audit_durable(const vmsig_audit *a);
/* When what was written is synced: CLOCK_MONOTONIC; 0 = at once, UINT64_MAX = all of it is, or is being. */
uint64_t vmsig_audit_due(const vmsig_audit *a);
/* 0 = open, else the error that closed it. */
int vmsig_audit_error(const vmsig_audit *a);
/* Where it has got to: its last record. */
const vmsig_audit_chain *vmsig_audit_at(const vmsig_audit *a);

/* Readable when vmsig_audit_look has something to see. */
int vmsig_audit_fd(const vmsig_audit *a);
/* News of the thread; and the next try when the log is closed. When to call again though the fd says nothing, 0 = never.
 * now: CLOCK_MONOTONIC. */
uint64_t vmsig_audit_look(vmsig_audit *a, uint64_t now_ns);

/* Goes on in an empty file (duplicated). -EBUSY: the one before the present is still being synced: later. -EEXIST: it is
 * not empty, or is the present one. */
int vmsig_audit_rotate(vmsig_audit *a, int fd);

#endif
