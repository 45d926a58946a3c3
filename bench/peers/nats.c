/* NATS: a server of the bench's own on the loopback; two subjects, one each way. */
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/peers/peers.h"

typedef struct server {
    int pid;
    char url[64];
} server;

typedef struct end {
    natsConnection *connection;
    natsSubscription *in;
} end;

static const char *const subject[] = {"there", "back"};

static void must(natsStatus s) {
    if (s != NATS_OK)
        peer_fail("NATS", natsStatus_GetText(s));
}

/* The port that the server has chosen: from the file in which it says so. */
static void read_url(const char *dir, server *s) {
    char path[320], text[512] = "";
    snprintf(path, sizeof path, "%s/nats-server_%d.ports", dir, s->pid);
    for (int ms = 0; ms < 10000; ms += 10, usleep(10000)) {
        FILE *f = fopen(path, "r");
        size_t n = f != NULL ? fread(text, 1, sizeof text - 1, f) : 0;
        if (f != NULL)
            fclose(f);
        text[n] = 0;
        char *url = strstr(text, "nats://");
        if (url != NULL && strchr(url, '"') != NULL) {
            snprintf(s->url, sizeof s->url, "%.*s", (int)strcspn(url, "\""), url);
            return;
        }
    }
    peer_fail("NATS", "its server does not come up");
}

static void *start(const char *dir) {
    const char *const argv[] = {"nats-server", "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", dir, NULL};
    server *s = calloc(1, sizeof *s);
    if (s == NULL)
        peer_fail("NATS", "out of memory");
    s->pid = peer_daemon(argv);
    read_url(dir, s);
    return s;
}

static void *join(void *shared, int side, int stream) {
    server *s = shared;
    natsOptions *options;
    end *e = calloc(1, sizeof *e);
    if (e == NULL)
        peer_fail("NATS", "out of memory");
    must(natsOptions_Create(&options));
    must(natsOptions_SetURL(options, s->url));
    must(natsOptions_SetSendAsap(options, !stream));
    must(natsConnection_Connect(&e->connection, options));
    natsOptions_Destroy(options);
    must(natsConnection_SubscribeSync(&e->in, e->connection, subject[!side]));
    must(natsSubscription_SetPendingLimits(e->in, -1, -1));
    must(natsConnection_FlushTimeout(e->connection, 5000)); /* the server knows of the subscription */
    return e;
}

static void send_one(void *handle, int side, const peer_message *m) {
    must(natsConnection_Publish(((end *)handle)->connection, subject[side], m, sizeof *m));
}

static void receive_one(void *handle, int side, peer_message *m) {
    natsMsg *msg;
    (void)side;
    must(natsSubscription_NextMsg(&msg, ((end *)handle)->in, 10000));
    memcpy(m, natsMsg_GetData(msg), sizeof *m);
    natsMsg_Destroy(msg);
}

static void leave(void *handle, int side) {
    end *e = handle;
    (void)side;
    natsSubscription_Destroy(e->in);
    natsConnection_Destroy(e->connection);
    nats_Close();
    free(e);
}

static void end_server(void *shared) {
    server *s = shared;
    peer_daemon_end(s->pid);
    free(s);
}

const peer peer_nats = {.name = "NATS publish and subscribe",
                        .messages = 200000,
                        .open = start,
                        .join = join,
                        .send = send_one,
                        .receive = receive_one,
                        .leave = leave,
                        .close = end_server};
