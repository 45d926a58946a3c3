/* ZeroMQ: a PAIR over a unix socket. */
#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

#include "bench/peers/peers.h"

typedef struct end {
    void *context, *socket;
} end;

static void *where(const char *dir) {
    static char address[256];
    snprintf(address, sizeof address, "ipc://%s/zmq", dir);
    return address;
}

static void *join(void *address, int side, int stream) {
    (void)stream;
    const int wait_ms = 10000, none = 0, no_limit = 0;
    end *e = calloc(1, sizeof *e);
    if (e == NULL || (e->context = zmq_ctx_new()) == NULL || (e->socket = zmq_socket(e->context, ZMQ_PAIR)) == NULL)
        peer_fail("ZeroMQ", zmq_strerror(zmq_errno()));
    zmq_setsockopt(e->socket, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms);
    zmq_setsockopt(e->socket, ZMQ_SNDHWM, &no_limit, sizeof no_limit);
    zmq_setsockopt(e->socket, ZMQ_RCVHWM, &no_limit, sizeof no_limit);
    zmq_setsockopt(e->socket, ZMQ_LINGER, &none, sizeof none);
    if ((side == 1 ? zmq_bind(e->socket, address) : zmq_connect(e->socket, address)) != 0)
        peer_fail("ZeroMQ", zmq_strerror(zmq_errno()));
    return e;
}

static void send_one(void *handle, int side, const peer_message *m) {
    end *e = handle;
    (void)side;
    if (zmq_send(e->socket, m, sizeof *m, 0) != (int)sizeof *m)
        peer_fail("ZeroMQ", zmq_strerror(zmq_errno()));
}

static void receive_one(void *handle, int side, peer_message *m) {
    end *e = handle;
    (void)side;
    if (zmq_recv(e->socket, m, sizeof *m, 0) != (int)sizeof *m)
        peer_fail("ZeroMQ", zmq_strerror(zmq_errno()));
}

static void leave(void *handle, int side) {
    end *e = handle;
    (void)side;
    zmq_close(e->socket);
    zmq_ctx_term(e->context);
    free(e);
}

const peer peer_zmq = {.name = "ZeroMQ pair, ipc",
                       .messages = 400000,
                       .open = where,
                       .join = join,
                       .send = send_one,
                       .receive = receive_one,
                       .leave = leave};
