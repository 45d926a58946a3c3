/* libck's ck_ring, single producer, single consumer, of 64-byte messages, in shared memory. */
#include <ck_ring.h>
#include <stdbool.h>

#include "bench/peers/peers.h"

#define SLOTS 1024

CK_RING_PROTOTYPE(message, peer_message)

typedef struct way {
    ck_ring_t ring;
    peer_message slots[SLOTS];
} way;

static void *open_rings(const char *dir) {
    (void)dir;
    way *w = peer_shared(2 * sizeof *w);
    ck_ring_init(&w[0].ring, SLOTS);
    ck_ring_init(&w[1].ring, SLOTS);
    return w;
}

static void send_one(void *handle, int side, const peer_message *m) {
    way *w = (way *)handle + side;
    peer_message copy = *m;
    while (!CK_RING_ENQUEUE_SPSC(message, &w->ring, w->slots, &copy))
        ck_pr_stall();
}

static void receive_one(void *handle, int side, peer_message *m) {
    way *w = (way *)handle + !side;
    while (!CK_RING_DEQUEUE_SPSC(message, &w->ring, w->slots, m))
        ck_pr_stall();
}

const peer peer_ck = {
    .name = "ck_ring", .spins = 1, .messages = 2000000, .open = open_rings, .send = send_one, .receive = receive_one};
