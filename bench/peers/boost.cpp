// boost::lockfree::spsc_queue of 64-byte messages, in shared memory.
#include <boost/lockfree/spsc_queue.hpp>
#include <new>

#include "bench/peers/peers.h"

namespace {

using queue = boost::lockfree::spsc_queue<peer_message, boost::lockfree::capacity<1024>>;

void *open_queues(const char *) {
    auto *q = static_cast<queue *>(peer_shared(2 * sizeof(queue)));
    new (&q[0]) queue;
    new (&q[1]) queue;
    return q;
}

void send_one(void *handle, int side, const peer_message *m) {
    auto &q = static_cast<queue *>(handle)[side];
    while (!q.push(*m))
        __builtin_ia32_pause();
}

void receive_one(void *handle, int side, peer_message *m) {
    auto &q = static_cast<queue *>(handle)[!side];
    while (!q.pop(*m))
        __builtin_ia32_pause();
}

} // namespace

extern const peer peer_boost = {"boost spsc_queue", 1,           2000000, open_queues, nullptr,
                                send_one,           receive_one, nullptr, nullptr,     nullptr};
