/* numa.h: puts shared memory on the memory node of the CPU that reads it (libnuma).
 *
 * Pages are allocated when a memfd is created, so placing means moving; it is done once per mapping, before events flow.
 * On a machine with one node there is nothing to do, and the functions say so.
 */
#ifndef VMSIG_NUMA_H
#define VMSIG_NUMA_H

#include <stddef.h>

/* How many memory nodes this machine has; 1 also where the kernel knows nothing of nodes. */
int vmsig_numa_nodes(void);
/* The node of a CPU, or -EINVAL: no such CPU. On one node: 0. */
int vmsig_numa_node_of(int cpu);
/* Moves the pages of [map, map + bytes), a mapping of whole pages, to the node and keeps later ones there where it can.
 * 1 moved; 0 one node: nothing to do; -errno. */
int vmsig_numa_place(void *map, size_t bytes, int node);

#endif
