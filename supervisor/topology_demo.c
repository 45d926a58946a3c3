#include "supervisor/topology.h"

/* What `vmsig up` runs without a file. */
const char vmsig_topology_demo[] =
    "name: demo\n"
    "endpoints:\n"
    "  - {name: stub, id: 0, host: stub, quiet: 1s, stub: {memory: 16M, hz: 2}}\n"
    "actors:\n"
    "  - {name: context, kind: context}\n"
    "  - {name: gateway, kind: gateway}\n"
    "  - {name: tick, kind: sensor, exec: vmsig-sensor-tick, endpoint: stub, source: 8, args: [--hz, \"2\"]}\n"
    "  - {name: memwatch, kind: sensor, exec: vmsig-sensor-memwatch, endpoint: stub, source: 9, memctx: true,\n"
    "     args: [--hz, \"20\", --virt, \"0xffffffff80001008\", --phys, \"0x2008\"]}\n"
    "  - {name: vmstat, kind: sensor, exec: vmsig-sensor, endpoint: stub, source: 10, args: [--pipe, vmstat, \"1\"]}\n";
