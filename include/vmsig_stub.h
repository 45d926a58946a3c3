/* vmsig_stub.h: the built-in endpoint without a VM: RAM in a memfd, real page tables, a guest that ticks and that
 * shows its input in RAM. For demos, tests and first steps; nothing in it is simulated that a control could not also
 * meet in a VM.
 *
 *   guest-physical                       virtual
 *   0x0000_1000  vmsig_stub_info         VMSIG_STUB_USER(gpa)    4 KiB pages, for the three pages named here
 *   0x0000_2000  vmsig_stub_input        VMSIG_STUB_KERNEL(gpa)  one 2 MiB page, the first 2 MiB
 *   0x0000_3000  scratch, never touched  VMSIG_STUB_DIRECT(gpa), VMSIG_STUB_DIRECT57(gpa)  2 MiB pages, all of RAM
 *   0x0001_0000  page tables, odd boots
 *   0x0002_0000  page tables, even boots
 *   ..memory-2M  free
 *   4 GiB..+2M   the last 2 MiB of RAM: beyond the hole, as in a PC
 *
 * The guest alone writes info and input, with atomic stores; the scratch page and what is free belong to who writes
 * there by VMSIG_CMD_MEMWRITE. RAM is zeroed at power-on and reset.
 */
#ifndef VMSIG_STUB_H
#define VMSIG_STUB_H

#include "vmsig_core.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VMSIG_STUB_INFO    0x1000ull
#define VMSIG_STUB_INPUT   0x2000ull
#define VMSIG_STUB_SCRATCH 0x3000ull
#define VMSIG_STUB_HIGH    0x100000000ull /* where the last 2 MiB of RAM lie */

#define VMSIG_STUB_USER(gpa)     (0x0000000000400000ull + (gpa)) /* gpa 0x1000..0x3fff */
#define VMSIG_STUB_KERNEL(gpa)   (0xffffffff80000000ull + (gpa)) /* gpa below 2 MiB */
#define VMSIG_STUB_DIRECT(gpa)   (0xffff888000000000ull + (gpa)) /* 4-level paging */
#define VMSIG_STUB_DIRECT57(gpa) (0xff11000000000000ull + (gpa)) /* 5-level paging */

#define VMSIG_STUB_MAGIC   0x6275747367736d76ull /* "vmsgstub" */
#define VMSIG_STUB_RECORDS 256u

/* At VMSIG_STUB_INFO. */
typedef struct vmsig_stub_info {
    uint64_t magic;     /* VMSIG_STUB_MAGIC from power-on on */
    uint64_t ticks;     /* grows by one at each tick */
    uint64_t boots;     /* 1 at the first; resets and wakeups count. Stored when paging is on */
    uint64_t uptime_ns; /* since the last boot, at the last tick; stands still with the VM */
} vmsig_stub_info;

/* At VMSIG_STUB_INPUT: what came as VMSIG_CMD_INPUT, with Linux evdev codes. */
typedef struct vmsig_stub_input {
    uint64_t count;          /* inputs since power-on; stored last */
    uint64_t last;           /* the newest: the eight bytes of its vmsig_input */
    int64_t rel[16];         /* REL: the sum, by code */
    int32_t abs[64];         /* ABS: the position, by code */
    uint8_t keys[0x300 / 8]; /* KEY and BTN: bit code % 8 of byte code / 8 is set while it is down */
    uint8_t reserved[0x800 - 496];
    uint64_t record[VMSIG_STUB_RECORDS]; /* input number i (from 0) lies at i % VMSIG_STUB_RECORDS */
} vmsig_stub_input;

typedef struct vmsig_stub_cfg {
    uint64_t memory;  /* bytes: 4 MiB..1 GiB, a multiple of 2 MiB; 0 = 16 MiB */
    uint32_t hz;      /* ticks a second, at most 10000; 0 = none: the stub sleeps until a command comes */
    uint32_t boot_ms; /* from power-on until paging is on, at most 60000 */
    int la57;         /* not 0: 5-level page tables */
} vmsig_stub_cfg;

/* A stub endpoint as a source for vmsig_core_add_source. cfg NULL = {16 MiB, 10 Hz, 20 ms, 4 levels}. 0, or -1 with
 * errno (EINVAL: a value out of its range; ENOMEM). */
int vmsig_stub_open(uint32_t endpoint, const vmsig_stub_cfg *cfg, const vmsig_source_ops **ops, void **src);

#ifdef __cplusplus
}
#endif
#endif
