/* server.h: the control socket: whoever connects and has a grant becomes a control of the gate.
 *
 *   accept ──► GREETING ──Hello──► OPEN ──► closed
 *              2 s, then dropped   frames in: Command, Sub, Ack; frames out: Events
 *
 * The peer's uid comes from the socket at accept (SO_PEERCRED), and decides its grant. What a peer sends is checked
 * before it is decoded; nonsense ends its connection with one sentence, to it and in the log; nobody else notices.
 * A connection's end: EOF, an error, or the death of the process that connected, though the socket live on elsewhere.
 *
 * No thread, no blocking call. Errors: 0 or negative errno.
 */
#ifndef VMSIG_SERVER_H
#define VMSIG_SERVER_H

#include "actors/gateway/gate.h"
#include "actors/runtime/loop.h"
#include "schema/grants.h"

#define VMSIG_SERVER_PER_UID      32u           /* connections of one uid */
#define VMSIG_SERVER_HANDSHAKE_NS 2000000000ull /* to say Hello */
#define VMSIG_FRAME_PAYLOAD_MAX   32768u        /* larger payloads travel as a sealed memfd */

typedef struct vmsig_server vmsig_server;

typedef struct vmsig_server_cfg {
    vmsig_loop *loop;
    vmsig_gate *gate;
    int listen_fd; /* SOCK_SEQPACKET, listening; stays the caller's */
    uint64_t lineage;
    const vmsig_grants *grants; /* NULL = no grants file: owner and root may do everything */
    uint32_t owner;
    uint64_t endpoint_mask;
    const char *names[VMSIG_ENDPOINTS_MAX]; /* of the endpoints; NULL = none */
    void (*log)(void *ud, const char *text);
    void *ud;
} vmsig_server_cfg;

int vmsig_server_new(const vmsig_server_cfg *cfg, vmsig_server **out);
/* Before the gate is freed. Connections are closed and their leases end; sessions stay. */
void vmsig_server_free(vmsig_server *s);

/* After each turn of the gate: what was delivered leaves, what was dropped goes. May leave the gate busy. */
void vmsig_server_flush(vmsig_server *s);
/* The grants have changed: who is connected has his new one at once, or goes; NULL as in cfg. */
void vmsig_server_regrant(vmsig_server *s, const vmsig_grants *grants);
/* The gate may have room for commands again: those that waited. */
void vmsig_server_retry(vmsig_server *s);
/* Accepts nobody any more. */
void vmsig_server_close(vmsig_server *s);

#endif
