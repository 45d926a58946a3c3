#include "actors/hosts/qemu/qmp.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PENDING_MAX 256u
#define OUT_MAX     (128u << 10) /* of commands that QEMU has not read yet */
#define LINE_MAX_   (8u << 20)   /* of one reply: the state of 255 vCPUs as text fits many times */
#define READ_BYTES  (64u << 10)

typedef struct pending {
    uint32_t id; /* 0 = free */
    uint32_t tag;
    uint64_t deadline_ns;
    vmsig_qmp_reply_fn fn;
    void *ud;
} pending;

struct vmsig_qmp {
    vmsig_loop *loop;
    vmsig_timer *timer;
    int fd;
    const vmsig_qmp_ops *ops;
    void *ud;
    bool over;
    bool understood; /* false: half a line of a former client's may come first */
    uint32_t next_id;
    pending pending[PENDING_MAX];
    char *in;
    size_t in_len, in_room;
    char out[OUT_MAX];
    size_t out_len;
};

/* ---- replies ----------------------------------------------------------------------------------------- */

static void arm(vmsig_qmp *q) {
    uint64_t at = 0;
    for (unsigned i = 0; i < PENDING_MAX; i++)
        if (q->pending[i].id && (at == 0 || q->pending[i].deadline_ns < at))
            at = q->pending[i].deadline_ns;
    vmsig_timer_set(q->timer, at, 0);
}

static void settle(vmsig_qmp *q, pending *p, int rc, const json_t *value) {
    pending was = *p;
    p->id = 0;
    arm(q);
    if (was.fn)
        was.fn(was.ud, was.tag, rc, value);
}

static void on_timer(void *ud) {
    vmsig_qmp *q = ud;
    uint64_t now = vmsig_now_ns();
    for (unsigned i = 0; i < PENDING_MAX; i++)
        if (q->pending[i].id && q->pending[i].deadline_ns <= now)
            settle(q, &q->pending[i], -ETIMEDOUT, NULL);
    arm(q);
}

static void end(vmsig_qmp *q, int rc) {
    if (q->over)
        return;
    q->over = true;
    vmsig_loop_remove(q->loop, q->fd);
    for (unsigned i = 0; i < PENDING_MAX; i++)
        if (q->pending[i].id)
            settle(q, &q->pending[i], -ESHUTDOWN, NULL);
    q->ops->ended(q->ud, rc);
}

static pending *by_id(vmsig_qmp *q, const json_t *id) {
    json_int_t n = json_is_integer(id) ? json_integer_value(id) : 0;
    for (unsigned i = 0; i < PENDING_MAX && n > 0; i++)
        if (q->pending[i].id == n)
            return &q->pending[i];
    return NULL;
}

static void handle(vmsig_qmp *q, const json_t *m) {
    const char *event = json_string_value(json_object_get(m, "event"));
    if (event) {
        q->ops->event(q->ud, event, json_object_get(m, "data"));
        return;
    }
    pending *p = by_id(q, json_object_get(m, "id"));
    const json_t *error = json_object_get(m, "error");
    if (!p)
        return; /* the greeting, or an answer that nobody waits for any more */
    if (error)
        settle(q, p, -EREMOTEIO, json_object_get(error, "desc"));
    else
        settle(q, p, 0, json_object_get(m, "return"));
}

/* 0, or -EPROTO. */
static int take_line(vmsig_qmp *q, const char *line, size_t len) {
    json_error_t why;
    if (len == 0 || (len == 1 && *line == '\r'))
        return 0;
    json_t *m = json_loadb(line, len, JSON_DISABLE_EOF_CHECK, &why);
    bool ours = json_is_object(m) && (json_object_get(m, "event") || json_object_get(m, "return") ||
                                      json_object_get(m, "error") || json_object_get(m, "QMP"));
    if (ours) {
        q->understood = true;
        handle(q, m);
    }
    json_decref(m);
    return ours || !q->understood ? 0 : -EPROTO;
}

/* All whole lines; what follows them is dropped: it is still in the stream. */
static int take_lines(vmsig_qmp *q, size_t len) {
    size_t at = 0;
    int rc = 0;
    for (char *nl; rc == 0 && !q->over && (nl = memchr(q->in + at, '\n', len - at));) {
        rc = take_line(q, q->in + at, (size_t)(nl - (q->in + at)));
        at = (size_t)(nl - q->in) + 1;
    }
    q->in_len = 0;
    return rc;
}

static int make_room(vmsig_qmp *q) {
    if (q->in_room - q->in_len >= READ_BYTES)
        return 0;
    size_t room = q->in_room * 2 + READ_BYTES;
    if (room > LINE_MAX_)
        return -EPROTO;
    char *grown = realloc(q->in, room);
    if (!grown)
        return -ENOMEM;
    q->in = grown;
    q->in_room = room;
    return 0;
}

static void skip(vmsig_qmp *q, size_t n) {
    char text[4096];
    while (n > 0) {
        ssize_t some = recv(q->fd, text, n < sizeof text ? n : sizeof text, MSG_DONTWAIT);
        if (some <= 0 && errno != EINTR)
            return;
        n -= some > 0 ? (size_t)some : 0;
    }
}

/* What was looked at, up to its last whole line, is taken from the stream only when all of it has been handled: who
 * dies in between leaves it to his successor. The beginning of a long line, which is a reply, is taken at once. */
static int take(vmsig_qmp *q, size_t n) {
    const char *last = memrchr(q->in + q->in_len, '\n', n);
    if (!last) {
        skip(q, n);
        q->in_len += n;
        return 0;
    }
    size_t len = (size_t)(last - q->in) + 1, whole = len - q->in_len;
    int rc = take_lines(q, len);
    skip(q, whole);
    return rc;
}

void vmsig_qmp_drain(vmsig_qmp *q) {
    while (!q->over) {
        int rc = make_room(q);
        ssize_t n = rc == 0 ? recv(q->fd, q->in + q->in_len, q->in_room - q->in_len, MSG_PEEK | MSG_DONTWAIT) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) { /* its end is EOF or ECONNRESET */
            end(q, rc);
            return;
        }
        rc = take(q, (size_t)n);
        if (rc < 0)
            end(q, rc);
    }
}

/* ---- commands ---------------------------------------------------------------------------------------- */

static void flush(vmsig_qmp *q) {
    size_t done = 0;
    while (done < q->out_len) {
        ssize_t n = send(q->fd, q->out + done, q->out_len - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break; /* full; or ended, which reading will tell */
        done += (size_t)n;
    }
    q->out_len -= done;
    memmove(q->out, q->out + done, q->out_len);
    vmsig_loop_modify(q->loop, q->fd, q->out_len ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void on_ready(void *ud, uint32_t events) {
    vmsig_qmp *q = ud;
    if (events & EPOLLOUT)
        flush(q);
    vmsig_qmp_drain(q);
}

static pending *free_place(vmsig_qmp *q) {
    for (unsigned i = 0; i < PENDING_MAX; i++)
        if (!q->pending[i].id)
            return &q->pending[i];
    return NULL;
}

int vmsig_qmp_send(vmsig_qmp *q, uint64_t deadline_ns, vmsig_qmp_reply_fn fn, void *ud, uint32_t tag, const char *fmt,
                   ...) {
    pending *p = free_place(q);
    if (q->over)
        return -ESHUTDOWN;
    if (!p)
        return -EBUSY;
    size_t room = OUT_MAX - q->out_len;
    char *to = q->out + q->out_len;
    va_list ap;
    va_start(ap, fmt);
    int n = snprintf(to, room, "{\"id\":%u,", q->next_id);
    if (n > 0 && (size_t)n < room)
        n += vsnprintf(to + n, room - (size_t)n, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n + 2 >= room)
        return -ENOBUFS;
    memcpy(to + n, "}\n", 2);
    q->out_len += (size_t)n + 2;
    *p = (pending){.id = q->next_id, .tag = tag, .deadline_ns = deadline_ns, .fn = fn, .ud = ud};
    q->next_id = q->next_id == INT32_MAX ? 1 : q->next_id + 1;
    arm(q);
    flush(q);
    return 0;
}

int vmsig_qmp_resync(vmsig_qmp *q) {
    if (q->out_len + 2 > OUT_MAX)
        return -ENOBUFS;
    q->understood = false;
    memcpy(q->out + q->out_len, "\xff\n", 2);
    q->out_len += 2;
    flush(q);
    return 0;
}

/* ---- beginning and end ------------------------------------------------------------------------------- */

int vmsig_qmp_new(vmsig_loop *loop, int fd, const vmsig_qmp_ops *ops, void *ud, vmsig_qmp **out) {
    vmsig_qmp *q = calloc(1, sizeof *q);
    if (!q)
        return -ENOMEM;
    *q = (vmsig_qmp){.loop = loop, .fd = fd, .ops = ops, .ud = ud, .understood = true};
    q->next_id = 1 + (uint32_t)(vmsig_now_ns() >> 10 & INT32_MAX >> 1); /* no former client's */
    int rc = vmsig_timer_new(loop, on_timer, q, &q->timer);
    if (rc == 0)
        rc = vmsig_loop_add(loop, fd, EPOLLIN, on_ready, q);
    if (rc < 0) {
        q->over = true;
        vmsig_qmp_free(q);
        return rc;
    }
    *out = q;
    return 0;
}

void vmsig_qmp_free(vmsig_qmp *q) {
    if (!q)
        return;
    if (!q->over)
        vmsig_loop_remove(q->loop, q->fd);
    vmsig_timer_free(q->timer);
    free(q->in);
    free(q);
}
