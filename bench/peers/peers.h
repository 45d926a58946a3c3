/* peers.h: what others offer for the same: 64 bytes from one process to another on the same machine. One file a peer.
 *
 *   peers_main ── open ──► fork two, each pinned to its processor ── join ──► send, receive ── leave ──► close
 *
 * Side 0 asks, or streams; side 1 answers. Each process comes to its library anew after the fork, so no peer's threads
 * are ever forked. All of it is local: shared memory, unix sockets, the loopback.
 */
#ifndef VMSIG_BENCH_PEERS_H
#define VMSIG_BENCH_PEERS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PEER_MESSAGE 64u

typedef struct peer_message {
    uint64_t word[PEER_MESSAGE / 8];
} peer_message;

typedef struct peer {
    const char *name;  /* as people know it, and how it was used */
    int spins;         /* else it blocks */
    uint32_t messages; /* of a round of throughput */
    /* In the process of the bench, before the fork: what both sides share, and the peer's daemon. NULL where there is
     * nothing; what it returns is handed to all the others. */
    void *(*open)(const char *dir);
    /* stream: as many as go through, else one at a time. NULL: the side's handle is what open returned. */
    void *(*join)(void *shared, int side, int stream);
    void (*send)(void *handle, int side, const peer_message *m);
    void (*receive)(void *handle, int side, peer_message *m);
    void (*flush)(void *handle, int side); /* NULL: each message is on its way when send returns */
    void (*leave)(void *handle, int side);
    void (*close)(void *shared);
} peer;

extern const peer peer_vmsig_spin, peer_vmsig_adaptive, peer_vmsig_block, peer_bare, peer_ck, peer_boost,
    peer_iceoryx_poll, peer_iceoryx_wait, peer_futex, peer_eventfd, peer_pipe, peer_seqpacket, peer_zmq, peer_nng,
    peer_nats;

/* One sentence, and the end of the bench. */
void peer_fail(const char *peer, const char *what);
/* Shared with the processes to be forked. */
void *peer_shared(uint64_t bytes);
/* A daemon of a peer's, from PATH, its output thrown away; it ends with the bench. */
int peer_daemon(const char *const *argv);
void peer_daemon_end(int pid);

#ifdef __cplusplus
}
#endif
#endif
