/* vmsig_client.h: a control in another process, over the gateway's socket, or over rings of its own.
 *
 *   control ── SOCK_SEQPACKET, protobuf (schema/control.proto), fds by SCM_RIGHTS ── gateway
 *           ── rings in shared memory, where cfg.rings asks for them and the grant allows it ──
 *
 * Both ways give the same: the same callbacks, results and promises. Rings are faster, and take some hundred KiB.
 *
 * The client reconnects by itself and resumes its session: each event is handed over once, in order; what fell out of
 * the gateway's replay window comes as one VMSIG_EV_LOST. One thread per client.
 *
 * Errors: -1 with errno; vmsig_client_error() has the sentence.
 */
#ifndef VMSIG_CLIENT_H
#define VMSIG_CLIENT_H

#include "vmsig_control.h"
#include "vmsig_memctx.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vmsig_client vmsig_client;

typedef enum vmsig_client_state {
    VMSIG_CLIENT_CONNECTED = 1, /* a new session: the retained set follows, then SNAPSHOT_END */
    VMSIG_CLIENT_RESUMED = 2,   /* the same session: nothing was missed, or a LOST says what was */
    VMSIG_CLIENT_GONE = 3       /* the gateway is away; reconnecting */
} vmsig_client_state;

/* How a client with rings waits for events. */
typedef enum vmsig_client_wait {
    VMSIG_CLIENT_SOCKET = 0,   /* no rings */
    VMSIG_CLIENT_BLOCK = 1,    /* it sleeps where nothing is there */
    VMSIG_CLIENT_ADAPTIVE = 2, /* it looks on for some 20 us before it sleeps, where that pays */
    VMSIG_CLIENT_SPIN = 3      /* step looks on for all of its timeout, and keeps a processor busy */
} vmsig_client_wait;

typedef struct vmsig_client_cfg {
    const char *name; /* shown in status and audit; NULL = the program's name */
    vmsig_sub sub;    /* all zero = all that the grant allows */
    void *user;
    void (*on_event)(void *user, const vmsig_event *ev);          /* borrowed event */
    void (*on_memctx)(void *user, const vmsig_event *ev, int fd); /* NULL = takes none; fd borrowed */
    void (*on_state)(void *user, vmsig_client_state state);       /* NULL = not told */
    /* Rings: vmsig_client_wait; how many slots of 64 bytes for events (a power of two from 64 to 65536; 0 = 4096), and
     * bytes for their payloads (a power of two from 4096 to 4 MiB; 0 = 256 KiB): a larger payload goes over the socket.
     * Where there are none to be had, all goes over the socket. */
    uint32_t rings;
    uint32_t ring_slots;
    uint32_t ring_payloads;
} vmsig_client_cfg;

/* Opens a session. where: a socket's path, or the NAME of a running topology (its first gateway), or NULL for the only
 * one running. Waits at most timeout_ms for the handshake. NULL: errno (ENOENT: nothing runs there; EACCES: no grant)
 * and, where err is not NULL, one sentence in err[err_len]. */
vmsig_client *vmsig_client_open(const char *where, const vmsig_client_cfg *cfg, int timeout_ms, char *err,
                                size_t err_len);
void vmsig_client_close(vmsig_client *c);

/* What the gateway allowed; valid after open, renewed at each reconnect. */
const vmsig_grant *vmsig_client_grant(const vmsig_client *c);

/* 1: events and commands go through rings now; 0: over the socket. *why (where not NULL): why, if rings were asked for;
 * else NULL. Valid until the next step. -1 EINVAL: no client. */
int vmsig_client_rings(const vmsig_client *c, const char **why);

/* An fd to poll for reading (the same for the client's life), and what to call then. step waits at most timeout_ms for
 * the first event, handles what is there, and returns how many events it delivered, or -1. */
int vmsig_client_fd(vmsig_client *c);
int vmsig_client_step(vmsig_client *c, int timeout_ms);

/* Sends a command; its id is written to cmd->corr, its result comes as VMSIG_EV_RESULT with that corr. The lease token
 * of (endpoint, class) is filled in where cmd->token is 0 and the client holds one, the endpoint's epoch where
 * cmd->epoch is 0. The payload stays the caller's. */
int vmsig_client_send(vmsig_client *c, vmsig_event *cmd);

/* Sends and waits for the result, delivering other events meanwhile. 0 and *result, or -1 (ETIMEDOUT). */
int vmsig_client_call(vmsig_client *c, vmsig_event *cmd, vmsig_result *result, int timeout_ms);

/* Acquires the lease of (endpoint, cls) and waits for the answer: 0, or -1 with errno EBUSY (held; *holder where not
 * NULL), EACCES (no capability), ETIMEDOUT. Renewed by the client while it steps, until release or close. */
int vmsig_client_lease(vmsig_client *c, uint32_t endpoint, vmsig_lease_class cls, uint32_t ttl_ms, int timeout_ms,
                       uint32_t *holder);
int vmsig_client_release(vmsig_client *c, uint32_t endpoint, vmsig_lease_class cls);

/* The last error as a sentence; never NULL. */
const char *vmsig_client_error(const vmsig_client *c);

#ifdef __cplusplus
}
#endif
#endif
