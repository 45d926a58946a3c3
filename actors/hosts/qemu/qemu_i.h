/* qemu_i.h: the inside of the QEMU backend: what its files share.
 *
 *   qemu.c   start, events, end     power.c   lifecycle, the strict order of a reset
 *   hold.c   still for a write      input.c   the queue of input    sample.c  the memctx
 *   said.c   what QEMU says for people
 *   attach.c a QEMU that somebody else started
 */
#ifndef VMSIG_QEMU_INSIDE_H
#define VMSIG_QEMU_INSIDE_H

#include "actors/hosts/qemu/machine.h"
#include "actors/hosts/qemu/qemu.h"
#include "actors/hosts/qemu/qmp.h"

#define VMSIG_QEMU_COMMAND_NS (5000 * VMSIG_QMP_MS) /* a command's deadline */
#define VMSIG_QEMU_QUIET_NS   (1000 * VMSIG_QMP_MS) /* that of the query behind all that is under way */
#define VMSIG_QEMU_QUEUE      64u
#define VMSIG_QEMU_GROUP      (VMSIG_INLINE_MAX / sizeof(vmsig_input))

/* What an adapter that dies leaves to be done, as its successor finds it. */
typedef enum vmsig_qemu_plan {
    VMSIG_PLAN_NONE = 0,
    VMSIG_PLAN_RUN = 1,        /* it stands still for a moment: cont */
    VMSIG_PLAN_RESET = 2,      /* then it runs */
    VMSIG_PLAN_RESET_STAY = 3, /* then it is paused */
} vmsig_qemu_plan;

/* A group of input that waits for its turn; n = 0: a barrier, answered when all before it is done. */
typedef struct vmsig_qemu_item {
    uint32_t corr, n, sent;
    vmsig_input in[VMSIG_QEMU_GROUP];
} vmsig_qemu_item;

/* Of a QEMU that somebody else started. */
typedef struct vmsig_qemu_attach {
    char *qmp, *ram; /* paths; ram NULL: none was named */
    vmsig_timer *again;
    char waits[128];                  /* why it was said to wait */
    char backend[128], mem_path[512]; /* of its RAM, as QEMU says; "": none */
    uint64_t bytes;
    bool shared;
    char why[256]; /* RAM cannot be had; "": it can */
} vmsig_qemu_attach;

typedef struct vmsig_qemu {
    vmsig_host *host;
    vmsig_machine machine;
    vmsig_qemu_attach *attach; /* NULL: the machine is ours */
    char ram_name[128];        /* QEMU's of the backend; "": no RAM, so no memctx */
    vmsig_loop *loop;
    vmsig_qmp *qmp;
    uint32_t ram_id;
    vmsig_seg segs[VMSIG_SEGS_MAX]; /* where the guest sees the RAM, as told last */
    int segs_n;

    vmsig_vm_state state; /* as told */
    vmsig_vm_state want;  /* where it is when all that is under way has been done */
    bool kept;            /* the machine is somebody else\'s to end */
    bool resumed;         /* a former worker had the VM */
    bool prelaunch;       /* found so: it has not run since it was made, or reset */
    bool reset_due;       /* told before it was asked for its state: it stands still for a reset */
    bool up;              /* started; false again when QEMU has ended */
    bool resetting;       /* from the command, or the guest's reset, until it runs again */
    bool frozen;          /* within it: the epoch has moved and the VM stands still */
    bool reset_again;     /* the guest reset once more before that was over */
    bool resume_after;    /* it is to run after the reset */
    bool running_again;   /* within it: the VM runs again, and the reply that ends it is on its way */
    uint32_t reset_corr, reset_op;
    uint32_t cause;        /* of the next state that an event tells */
    unsigned stops, conts; /* own commands under way, whose events say nothing new */
    bool foreign;          /* somebody else stopped it */
    bool holding;          /* from `stop` for a memory write until `cont` was sent */
    bool migrating;        /* nothing may be written */
    bool migrated;         /* away, unless it runs here again */
    bool quitting;         /* `quit` was sent */
    uint32_t quit_corr;
    bool tablet; /* it takes absolute positions */

    vmsig_timer *sample_timer;
    uint64_t sample_delay_ns;
    bool sampling, sample_anew;
    bool sample_coherent; /* of the one under way */
    uint32_t sample_epoch;
    vmsig_memctx sample, told;
    uint32_t told_epoch; /* of the memctx told last; 0 = none */

    vmsig_timer *input_timer;
    vmsig_qemu_item queue[VMSIG_QEMU_QUEUE];
    unsigned queue_head, queue_n;
    unsigned level; /* keys that the guest may not have read yet, at level_ns */
    uint64_t level_ns;
    uint32_t half_failed; /* a group of which a part was refused */

    char line[256]; /* what QEMU says for people: the line that grows, and the last one */
    size_t line_len;
    char last_line[256];

    bool failed;
    char why[512];
} vmsig_qemu;

/* qemu.c */
/* The VM is gone for good: the actor ends with that sentence. */
void vmsig_qemu_fail(vmsig_qemu *q, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
vmsig_status vmsig_qemu_status(int rc); /* of a reply */
uint64_t vmsig_qemu_deadline(void);     /* of a command that is sent now */
/* The mapping is there to be written, at those segments (n 0: as before); or it is not. */
void vmsig_qemu_open_ram(vmsig_qemu *q, const vmsig_seg *segs, int n);
void vmsig_qemu_shut_ram(vmsig_qemu *q);
void vmsig_qemu_tell(vmsig_qemu *q, vmsig_vm_state state, uint32_t cause);
void vmsig_qemu_move_epoch(vmsig_qemu *q, vmsig_vm_state state, uint32_t cause);

void vmsig_qemu_plan_is(vmsig_qemu *q, vmsig_qemu_plan plan); /* durable */
vmsig_qemu_plan vmsig_qemu_planned(const vmsig_qemu *q);
/* Sends a command of no arguments. */
int vmsig_qemu_fd(void *vm);
int vmsig_qemu_on_readable(void *vm);
const char *vmsig_qemu_why(void *vm);
void vmsig_qemu_free(vmsig_qemu *q); /* without the machine */
int vmsig_qemu_send(vmsig_qemu *q, vmsig_qmp_reply_fn fn, uint32_t tag, const char *name);

/* power.c */
int vmsig_qemu_lifecycle(void *vm, uint32_t corr, uint32_t op);
int vmsig_qemu_query(void *vm, uint32_t corr, uint64_t *detail);
void vmsig_qemu_guest_reset(vmsig_qemu *q);
/* It stands still, and a reset was begun by who is gone. */
void vmsig_qemu_finish_reset(vmsig_qemu *q, bool resume_after);
vmsig_vm_state vmsig_qemu_state_of(const char *status); /* as query-status says it */

/* hold.c */
int vmsig_qemu_hold(void *vm);
void vmsig_qemu_migration(vmsig_qemu *q, const char *status); /* as an event, or query-migrate, says it */

/* input.c */
int vmsig_qemu_take_input(void *vm, uint32_t corr, const vmsig_input *in, uint32_t n);
int vmsig_qemu_quiet(void *vm, uint32_t corr, vmsig_lease_class cls);
void vmsig_qemu_pump(vmsig_qemu *q);
void vmsig_qemu_input_timer(void *ud);

/* sample.c */
void vmsig_qemu_sample(vmsig_qemu *q); /* once, and again until paging is on */
void vmsig_qemu_sample_timer(void *ud);

/* said.c */
void vmsig_qemu_said(vmsig_qemu *q);

#endif
