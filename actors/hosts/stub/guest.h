/* guest.h: what the stub's guest does in its RAM: page tables, clock, input. Every store that a reader may race with is
 * one atomic store.
 */
#ifndef VMSIG_STUB_GUEST_H
#define VMSIG_STUB_GUEST_H

#include <stdbool.h>

#include "vmsig_memctx.h"
#include "vmsig_stub.h"

#define VMSIG_STUB_HIGH_BYTES (2ull << 20)

/* All of RAM zeroed, then what is there from power-on on. */
void vmsig_stub_guest_clear(uint8_t *ram, uint64_t bytes);
/* Turns paging on: builds the tables (another root at each boot) and says where they are. */
void vmsig_stub_guest_paging(uint8_t *ram, uint64_t bytes, uint64_t boots, bool la57, vmsig_memctx *ctx);
void vmsig_stub_guest_tick(uint8_t *ram, uint64_t uptime_ns);
void vmsig_stub_guest_input(uint8_t *ram, const vmsig_input *in);
/* The two segments of a RAM of so many bytes. */
void vmsig_stub_guest_segs(uint64_t bytes, vmsig_seg segs[2]);

#endif
