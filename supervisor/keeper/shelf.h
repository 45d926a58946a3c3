/* shelf.h: what is kept for a supervisor's successor: entries of a key, a blob and fds, in the order they came first.
 * A look-up walks all of them: a few thousand at most, and only when something starts or dies.
 */
#ifndef VMSIG_KEEPER_SHELF_H
#define VMSIG_KEEPER_SHELF_H

#include <stddef.h>
#include <stdint.h>

#include "supervisor/keeper/keeper.h"

typedef struct vmsig_shelf_entry {
    uint64_t key;
    void *blob;
    uint32_t len;
    int nfds;
    int fds[VMSIG_KEEPER_FDS];
} vmsig_shelf_entry;

typedef struct vmsig_shelf {
    vmsig_shelf_entry *entries;
    size_t n, room;
} vmsig_shelf;

/* Takes over the fds (closed on failure too): 0 or -ENOMEM, which leaves what was there. */
int vmsig_shelf_put(vmsig_shelf *s, uint64_t key, const void *blob, uint32_t len, const int *fds, int nfds);
void vmsig_shelf_drop(vmsig_shelf *s, uint64_t key);
void vmsig_shelf_clear(vmsig_shelf *s);

#endif
