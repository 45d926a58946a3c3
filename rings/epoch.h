/* epoch.h: the epoch of one endpoint, in its host adapter's own page. The adapter alone writes it: stop effects, store,
 * then report, so that a reset is seen even while the supervisor is down.
 *
 * An epoch is current when it equals this page's counter AND the page's incarnation equals the board's for the
 * endpoint: two single loads. It is never reused within a lineage: a new incarnation starts above all its predecessors
 * reached.
 */
#ifndef VMSIG_EPOCH_H
#define VMSIG_EPOCH_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#define VMSIG_EPOCH_MAGIC 0x68636f7065736d76ull /* "vmsepoch" */
#define VMSIG_EPOCH_BYTES 4096u

typedef struct vmsig_epoch_page {
    alignas(64) uint64_t magic;
    uint32_t layout;
    uint32_t endpoint;
    alignas(64) uint64_t word; /* incarnation << 32 | epoch */
} vmsig_epoch_page;

int vmsig_epoch_create(int fd, uint32_t endpoint, uint32_t incarnation, uint32_t epoch, vmsig_epoch_page **out);
int vmsig_epoch_open(int fd, uint32_t endpoint, const vmsig_epoch_page **out);
void vmsig_epoch_close(const vmsig_epoch_page *p);

/* The writer's: the next epoch; returns it. */
uint32_t vmsig_epoch_advance(vmsig_epoch_page *p);
/* incarnation << 32 | epoch, one load. */
uint64_t vmsig_epoch_word(const vmsig_epoch_page *p);
static inline uint32_t vmsig_epoch_of(uint64_t word) {
    return (uint32_t)word;
}
static inline uint32_t vmsig_epoch_incarnation_of(uint64_t word) {
    return (uint32_t)(word >> 32);
}

#endif
