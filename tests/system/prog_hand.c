/* A control that does what its stdin says, and tells what comes of it.
 *
 *   prog_hand SOCKET
 *   lease CLS TTL_MS FLAGS · release CLS · key CODE DOWN · vm OP        on stdin, one on a line
 *   "KIND STATUS" for each result · "revoked CLS" · "ended EPOCH"       on stdout
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmsig_client.h"

#define ASKED 256u

typedef struct hand {
    vmsig_client *client;
    char what[ASKED][12]; /* by corr: the word that it was asked by */
} hand;

static void on_event(void *user, const vmsig_event *ev) {
    const hand *h = user;
    vmsig_lease_info info;
    vmsig_result r;
    memcpy(&info, ev->inln, sizeof info);
    memcpy(&r, ev->inln, sizeof r);
    if (ev->kind == VMSIG_EV_RESULT && h->what[ev->corr % ASKED][0])
        printf("%s %d\n", h->what[ev->corr % ASKED], r.status);
    else if (ev->kind == VMSIG_EV_LEASE && info.state == VMSIG_LEASE_REVOKED)
        printf("revoked %u\n", info.cls);
    else if (ev->kind == VMSIG_EV_EPOCH_END)
        printf("ended %u\n", ev->epoch);
    fflush(stdout);
}

static int send_body(hand *h, const char *what, uint8_t kind, const void *body, uint32_t len) {
    vmsig_event cmd = {.kind = kind, .inln_len = len};
    memcpy(cmd.inln, body, len);
    if (vmsig_client_send(h->client, &cmd) < 0)
        return printf("%s %s\n", what, vmsig_client_error(h->client)), fflush(stdout);
    snprintf(h->what[cmd.corr % ASKED], sizeof h->what[0], "%s", what);
    return 0;
}

static void obey(hand *h, const char *line) {
    char what[12];
    unsigned a = 0, b = 0, c = 0;
    if (sscanf(line, "%11s %u %u %u", what, &a, &b, &c) < 1)
        return;
    const vmsig_lease lease = {
        .op = what[0] == 'l' ? VMSIG_LEASE_ACQUIRE : VMSIG_LEASE_RELEASE, .cls = a, .ttl_ms = b, .flags = c};
    const vmsig_input key = {.type = VMSIG_INPUT_KEY, .code = (uint16_t)a, .down = (uint8_t)b};
    const vmsig_vm vm = {.op = a};
    if (strcmp(what, "key") == 0)
        send_body(h, what, VMSIG_CMD_INPUT, &key, sizeof key);
    else if (strcmp(what, "vm") == 0)
        send_body(h, what, VMSIG_CMD_VM, &vm, sizeof vm);
    else
        send_body(h, what, VMSIG_CMD_LEASE, &lease, sizeof lease);
}

int main(int argc, char **argv) {
    static hand h;
    const vmsig_client_cfg cfg = {.name = "hand", .user = &h, .on_event = on_event};
    char err[256] = "usage: prog_hand SOCKET", line[128];
    h.client = argc == 2 ? vmsig_client_open(argv[1], &cfg, 20000, err, sizeof err) : NULL;
    if (!h.client)
        return fprintf(stderr, "%s\n", err), 1;
    setvbuf(stdin, NULL, _IONBF, 0); /* what is read is what poll says */
    struct pollfd fds[] = {{.fd = 0, .events = POLLIN}, {.fd = vmsig_client_fd(h.client), .events = POLLIN}};
    while (poll(fds, 2, -1) >= 0) {
        if (fds[0].revents && !fgets(line, sizeof line, stdin))
            break;
        if (fds[0].revents)
            obey(&h, line);
        if (vmsig_client_step(h.client, 0) < 0)
            break;
    }
    vmsig_client_close(h.client);
    return 0;
}
