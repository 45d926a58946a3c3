/* What the kernel has: a futex beside a word of memory, an eventfd, a pipe, a seqpacket socket. All block. */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bench/peers/peers.h"
#include "rings/atomics.h"

/* ---- a futex: each side has a count of what it sent, and of what it took ------------------------------------ */

#define SLOTS 1024u

typedef struct futex_way {
    uint32_t sent, asleep, fill[14], taken, full, fill2[14];
    peer_message m[SLOTS];
} futex_way;

static void *futex_open(const char *dir) {
    (void)dir;
    return peer_shared(2 * sizeof(futex_way));
}

static void futex_wait(uint32_t *word, uint32_t seen, uint32_t *asleep) {
    const struct timespec ten = {.tv_sec = 10};
    vmsig_store32(asleep, 1);
    vmsig_fence_full();
    if (syscall(SYS_futex, word, FUTEX_WAIT, seen, &ten, NULL, 0) < 0 && errno == ETIMEDOUT)
        peer_fail("futex", "nobody woke it");
    vmsig_store32(asleep, 0);
}

static void futex_wake(uint32_t *word, const uint32_t *asleep) {
    vmsig_fence_full();
    if (vmsig_load32(asleep) != 0)
        syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void futex_send(void *handle, int side, const peer_message *m) {
    futex_way *w = (futex_way *)handle + side;
    uint32_t taken;
    while (w->sent - (taken = vmsig_load32_acquire(&w->taken)) == SLOTS)
        futex_wait(&w->taken, taken, &w->full);
    w->m[w->sent % SLOTS] = *m;
    vmsig_store32_release(&w->sent, w->sent + 1);
    futex_wake(&w->sent, &w->asleep);
}

static void futex_receive(void *handle, int side, peer_message *m) {
    futex_way *w = (futex_way *)handle + !side;
    uint32_t sent;
    while ((sent = vmsig_load32_acquire(&w->sent)) == w->taken)
        futex_wait(&w->sent, sent, &w->asleep);
    *m = w->m[w->taken % SLOTS];
    vmsig_store32_release(&w->taken, w->taken + 1);
    futex_wake(&w->taken, &w->full);
}

/* ---- fds: end[side] is read by that side, or the pair is a socket ------------------------------------------- */

typedef struct fds {
    int in[2], out[2];
} fds;

static fds *new_fds(void) {
    fds *f = calloc(1, sizeof *f);
    if (f == NULL)
        peer_fail("the kernel", "out of memory");
    return f;
}

static void fds_close(void *shared) {
    fds *f = shared;
    for (int i = 0; i < 2; i++) {
        close(f->in[i]);
        if (f->out[i] != f->in[i] && f->out[i] != f->in[!i])
            close(f->out[i]);
    }
    free(f);
}

static void *pipe_open(const char *dir) {
    fds *f = new_fds();
    (void)dir;
    for (int i = 0; i < 2; i++) {
        int p[2];
        if (pipe(p) != 0)
            peer_fail("pipe", "there is none");
        f->in[!i] = p[0];
        f->out[i] = p[1];
    }
    return f;
}

static void *seqpacket_open(const char *dir) {
    fds *f = new_fds();
    int s[2];
    (void)dir;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s) != 0)
        peer_fail("seqpacket", "there is none");
    f->in[0] = f->out[0] = s[0];
    f->in[1] = f->out[1] = s[1];
    return f;
}

static void fd_send(void *handle, int side, const peer_message *m) {
    fds *f = handle;
    if (write(f->out[side], m, sizeof *m) != (ssize_t)sizeof *m)
        peer_fail("a pipe or socket", "it cannot be written");
}

static void fd_receive(void *handle, int side, peer_message *m) {
    fds *f = handle;
    if (read(f->in[side], m, sizeof *m) != (ssize_t)sizeof *m)
        peer_fail("a pipe or socket", "it cannot be read");
}

/* An eventfd carries a count and no message. */
static void *eventfd_open(const char *dir) {
    fds *f = new_fds();
    (void)dir;
    for (int i = 0; i < 2; i++) {
        f->in[!i] = f->out[i] = eventfd(0, EFD_SEMAPHORE);
        if (f->out[i] < 0)
            peer_fail("eventfd", "there is none");
    }
    return f;
}

static void eventfd_send(void *handle, int side, const peer_message *m) {
    fds *f = handle;
    (void)m;
    if (eventfd_write(f->out[side], 1) != 0)
        peer_fail("eventfd", "it cannot be written");
}

static void eventfd_receive(void *handle, int side, peer_message *m) {
    fds *f = handle;
    struct pollfd p = {.fd = f->in[side], .events = POLLIN};
    eventfd_t count = 0;
    if (poll(&p, 1, 10000) != 1 || eventfd_read(f->in[side], &count) != 0)
        peer_fail("eventfd", "it cannot be read");
    m->word[0] = count;
}

const peer peer_futex = {.name = "futex and shared memory",
                         .messages = 400000,
                         .open = futex_open,
                         .send = futex_send,
                         .receive = futex_receive};
const peer peer_eventfd = {.name = "eventfd and poll, no message",
                           .messages = 200000,
                           .open = eventfd_open,
                           .send = eventfd_send,
                           .receive = eventfd_receive,
                           .close = fds_close};
const peer peer_pipe = {
    .name = "pipe", .messages = 200000, .open = pipe_open, .send = fd_send, .receive = fd_receive, .close = fds_close};
const peer peer_seqpacket = {.name = "seqpacket socket",
                             .messages = 200000,
                             .open = seqpacket_open,
                             .send = fd_send,
                             .receive = fd_receive,
                             .close = fds_close};
