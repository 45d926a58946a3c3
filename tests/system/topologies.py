"""Topologies of the end-to-end checks."""

PLAIN = """\
endpoints:
  - {name: box, id: 0, host: stub, quiet: 20s, stub: {memory: 16M}}
actors:
  - {name: ctx, kind: context}
  - {name: gate, kind: gateway}
  - {name: beat, kind: sensor, exec: vmsig-sensor-tick, endpoint: box, source: 8, args: [--hz, "50"]}
  - {name: watch, kind: sensor, exec: vmsig-sensor-memwatch, endpoint: box, source: 9, memctx: true,
     args: [--phys, "0x2008:8"]}
"""

TWO = """\
endpoints:
  - {name: one, id: 0, host: stub, quiet: 20s, stub: {memory: 16M}}
  - {name: two, id: 1, host: stub, quiet: 20s, stub: {memory: 16M}}
actors:
  - {name: ctx, kind: context}
  - {name: gate, kind: gateway, grants: grants.yaml}
  - {name: beat1, kind: sensor, exec: vmsig-sensor-tick, endpoint: one, source: 8, args: [--hz, "50"]}
  - {name: beat2, kind: sensor, exec: vmsig-sensor-tick, endpoint: two, source: 8, args: [--hz, "50"]}
"""

IDLE = """\
endpoints:
  - {name: box, id: 0, host: stub, quiet: 20s, stub: {hz: 0}}
actors:
  - {name: ctx, kind: context, poll: block}
  - {name: gate, kind: gateway, poll: block}
  - {name: mute, kind: sensor, exec: vmsig-sensor, endpoint: box, source: 8, poll: block, args: [--pipe, sleep, "1000"]}
"""
