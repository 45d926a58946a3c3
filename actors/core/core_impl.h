/* core_impl.h: the inside of vmsig_core: what its files share.
 *
 *   core.c    life, controls, policies      sources.c   sources in and out, epochs, memctx
 *   drive.c   commands to sources, and what stands before them
 *   serve.c   controls in other processes
 *   pump.c    events up, commands down: between sources, the context and the gate
 *
 * Threads   everything on the core's thread but emit (sources.c), which sources may call from theirs.
 */
#ifndef VMSIG_CORE_IMPL_H
#define VMSIG_CORE_IMPL_H

#include "actors/gateway/gate.h"
#include "actors/gateway/server.h"
#include "actors/hosts/host.h"
#include "actors/runtime/actuator.h"
#include "actors/runtime/loop.h"
#include "rings/atomics.h"
#include "vmsig_core.h"

#define VMSIG_CORE_SOURCES 256

typedef struct vmsig_core_source {
    vmsig_core *core;
    const vmsig_source_ops *ops;
    void *src;
    vmsig_source_info info;
    int fd;              /* in the loop, or -1 */
    bool ended;          /* closed, and freed at the end of the step */
    vmsig_actuator *act; /* before its commands; NULL: it takes none, or it is a host */
    uint64_t
        answering; /* corr of the command that it is handed now, 0 = none; its RESULT, from any thread, clears it */
} vmsig_core_source;

/* A control, wrapped so that its end is seen. */
typedef struct vmsig_core_control {
    vmsig_core *core;
    const vmsig_control_ops *ops;
    void *ctl;
    int id, fd;
    bool blocked; /* said EAGAIN: it is asked again when its fd is writable, or a little later */
    struct vmsig_core_control *next;
} vmsig_core_control;

typedef struct vmsig_core_endpoint {
    vmsig_epoch_page *epoch;
    uint32_t seen; /* epoch up to which EPOCH_END has been submitted; under epoch_lock */
    vmsig_core_source *host;
    int ram_fd; /* -1 = none */
    uint32_t ram_id;
    vmsig_event memctx; /* the newest, with its payload; kind 0 = none */
} vmsig_core_endpoint;

struct vmsig_core {
    vmsig_loop *loop;
    vmsig_ctx *ctx;
    vmsig_gate *gate;
    void *gate_mem;
    vmsig_server *server; /* of socket controls; NULL = none */
    vmsig_grants grants;  /* the server's */
    vmsig_fence_page *fences;
    vmsig_timer *timer; /* the gate's deadlines, and controls that are asked again */
    int bell;
    uint32_t asleep; /* 1: who emits must ring the bell */
    vmsig_spin epoch_lock;
    bool stepping;
    bool timed[2];       /* the context's timing fd of that direction is in the loop */
    vmsig_event held[2]; /* taken from the context, and not handed on for want of room */
    bool holding[2];
    vmsig_core_control *controls;
    vmsig_core_source *sources[VMSIG_CORE_SOURCES];
    int sources_n;
    vmsig_core_endpoint endpoint[VMSIG_ENDPOINTS_MAX];
};

/* sources.c */
uint32_t vmsig_core_epoch(const vmsig_core *core, uint32_t endpoint);
/* Submits EPOCH_END of what has ended since it was last looked at: before anything of the next epoch. Any thread. */
void vmsig_core_note_epoch(vmsig_core *core, uint32_t endpoint);
int vmsig_core_submit(vmsig_core *core, vmsig_event *ev);
void vmsig_core_wake(vmsig_core *core);
int vmsig_core_answer(vmsig_core *core, const vmsig_event *cmd, vmsig_status status, uint64_t detail);
/* Who takes commands of that kind: the first of those that do, a host where nobody else does; NULL. */
vmsig_core_source *vmsig_core_taker(vmsig_core *core, uint32_t endpoint, uint8_t kind);
/* A MEMCTX or MEMCTX_INVALID on its way up: to the sources that want it. */
void vmsig_core_pass_memctx(vmsig_core *core, const vmsig_event *ev);
void vmsig_core_close_source(vmsig_core *core, vmsig_core_source *s);
void vmsig_core_reap_sources(vmsig_core *core);

/* drive.c */
int vmsig_core_drive_new(vmsig_core_source *s);
/* true = the command is done with; false: the same again later. */
bool vmsig_core_drive(vmsig_core *core, const vmsig_event *cmd);
/* A RESULT has gone up. */
void vmsig_core_drive_result(vmsig_core *core, const vmsig_event *result);
/* What sources owe is told; what was pressed in an epoch that is over is let go. */
void vmsig_core_drive_flush(vmsig_core *core);

/* serve.c: socket controls, where there are any */
void vmsig_core_serve(vmsig_core *core);
void vmsig_core_serve_end(vmsig_core *core);

/* pump.c */
int vmsig_core_pump(vmsig_core *core);
/* The gate's way down. */
int vmsig_core_command(void *ud, const vmsig_event *cmd);

#endif
