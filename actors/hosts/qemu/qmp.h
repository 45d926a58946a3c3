/* qmp.h: a client of QEMU's machine protocol (QMP) on a stream that is there already.
 *
 *   send ──{"execute":…,"id":N}──► QEMU ──{"return":…,"id":N}──► the reply's function, exactly once
 *                                   └────{"event":…}───────────► ops.event, in the order of the stream
 *
 * A line is taken from the stream when it has been handled: the successor of a client that died meanwhile finds it there.
 * Several commands may be under way; QEMU answers them in order. Each has a deadline: a QEMU that is stopped never
 * answers. A reply that comes after its deadline is dropped.
 *
 * One thread, on a vmsig_loop. Errors: 0 or negative errno.
 */
#ifndef VMSIG_QEMU_QMP_H
#define VMSIG_QEMU_QMP_H

#include <jansson.h>

#include "actors/runtime/loop.h"

#define VMSIG_QMP_MS 1000000ull

/* rc 0: value is what QEMU returned; -EREMOTEIO: QEMU refused, value is its sentence (a string); -ETIMEDOUT;
 * -ESHUTDOWN: the stream ended. value is borrowed, NULL in the last two cases. */
typedef void (*vmsig_qmp_reply_fn)(void *ud, uint32_t tag, int rc, const json_t *value);

typedef struct vmsig_qmp_ops {
    void (*event)(void *ud, const char *name, const json_t *data); /* data may be NULL */
    /* The stream ended (0) or bears what is no QMP (-EPROTO). Replies that were due have been given. */
    void (*ended)(void *ud, int rc);
} vmsig_qmp_ops;

typedef struct vmsig_qmp vmsig_qmp;

/* fd is a connected stream socket, non-blocking, borrowed. The greeting is taken for an answer to nobody. */
int vmsig_qmp_new(vmsig_loop *loop, int fd, const vmsig_qmp_ops *ops, void *ud, vmsig_qmp **out);
void vmsig_qmp_free(vmsig_qmp *q);

/* Takes over a stream from a former client, before the first command: ends what he may have written by half, and skips
 * what he may have read by half. */
int vmsig_qmp_resync(vmsig_qmp *q);

/* fmt and what follows is the inside of the command: "\"execute\":\"stop\"". fn NULL: the reply does not matter.
 * -EBUSY: too many are under way; -ENOBUFS: QEMU reads nothing; -ESHUTDOWN: the stream has ended. */
int vmsig_qmp_send(vmsig_qmp *q, uint64_t deadline_ns, vmsig_qmp_reply_fn fn, void *ud, uint32_t tag, const char *fmt,
                   ...) __attribute__((format(printf, 6, 7)));

/* Reads what has come, until there is no more for now. */
void vmsig_qmp_drain(vmsig_qmp *q);

#endif
