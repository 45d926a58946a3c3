#include "rings/numa.h"

#include <errno.h>
#include <numa.h>
#include <numaif.h>
#include <unistd.h>

int vmsig_numa_nodes(void) {
    return numa_available() < 0 ? 1 : numa_num_configured_nodes();
}

int vmsig_numa_node_of(int cpu) {
    if (cpu < 0 || cpu >= sysconf(_SC_NPROCESSORS_CONF))
        return -EINVAL;
    if (vmsig_numa_nodes() == 1)
        return 0;
    int node = numa_node_of_cpu(cpu);
    return node < 0 ? -EINVAL : node;
}

int vmsig_numa_place(void *map, size_t bytes, int node) {
    if (vmsig_numa_nodes() == 1)
        return node == 0 ? 0 : -EINVAL;
    if (node < 0 || node > numa_max_node())
        return -EINVAL;
    struct bitmask *nodes = numa_allocate_nodemask();
    if (nodes == NULL)
        return -ENOMEM;
    numa_bitmask_setbit(nodes, (unsigned)node);
    /* Preferred, not bound: an actor on a full node is slow, not dead. */
    long err = mbind(map, bytes, MPOL_PREFERRED, nodes->maskp, nodes->size + 1, MPOL_MF_MOVE) < 0 ? -errno : 0;
    numa_free_nodemask(nodes);
    return err < 0 ? (int)err : 1;
}
