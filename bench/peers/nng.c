/* nng: a pair over a unix socket. */
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/peers/peers.h"

static void *where(const char *dir) {
    static char address[256];
    snprintf(address, sizeof address, "ipc://%s/nng", dir);
    return address;
}

static void must(int err) {
    if (err != 0)
        peer_fail("nng", nng_strerror(err));
}

static void *join(void *address, int side, int stream) {
    (void)stream;
    nng_socket *s = calloc(1, sizeof *s);
    if (s == NULL)
        peer_fail("nng", "out of memory");
    must(nng_pair0_open(s));
    must(nng_socket_set_ms(*s, NNG_OPT_RECVTIMEO, 10000));
    must(nng_socket_set_int(*s, NNG_OPT_SENDBUF, 1024));
    must(nng_socket_set_int(*s, NNG_OPT_RECVBUF, 1024));
    must(nng_socket_set_ms(*s, NNG_OPT_RECONNMINT, 5));
    must(side == 1 ? nng_listen(*s, address, NULL, 0) : nng_dial(*s, address, NULL, NNG_FLAG_NONBLOCK));
    return s;
}

static void send_one(void *handle, int side, const peer_message *m) {
    peer_message copy = *m;
    (void)side;
    must(nng_send(*(nng_socket *)handle, &copy, sizeof copy, 0));
}

static void receive_one(void *handle, int side, peer_message *m) {
    size_t len = sizeof *m;
    (void)side;
    must(nng_recv(*(nng_socket *)handle, m, &len, 0));
}

static void leave(void *handle, int side) {
    (void)side;
    nng_close(*(nng_socket *)handle);
    free(handle);
}

const peer peer_nng = {.name = "nng pair, ipc",
                       .messages = 100000,
                       .open = where,
                       .join = join,
                       .send = send_one,
                       .receive = receive_one,
                       .leave = leave};
