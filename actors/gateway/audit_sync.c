#include "actors/gateway/audit_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define RETRY_NS 1000000000ull
#define NEVER    UINT64_MAX

typedef struct file {
    int fd; /* -1 = none */
    uint64_t written, durable;
} file;

struct vmsig_audit_sync {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, through; /* through: the thread has ended */
    int bell;
    int (*fdatasync)(int);
    /* under the lock */
    file now, former;
    uint64_t written_seq, durable_seq, due_ns; /* due_ns NEVER: nothing to do */
    int error;
    int seal_fd;
    uint64_t key_seq, key_generation; /* key_seq 0: no key waits */
    uint8_t key[VMSIG_AUDIT_KEY];
    bool stop, ended, orphan; /* orphan: nobody waits for the thread: it frees all this */
};

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct timespec at(uint64_t ns) {
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
}

static int write_all(int fd, const uint8_t *bytes, size_t len, uint64_t offset) {
    while (len > 0) {
        ssize_t n = pwrite(fd, bytes, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        bytes += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

/* ---- the thread ---------------------------------------------------------------------------------------- */

/* A failed fdatasync leaves pages behind that the kernel takes for clean: they are written again before the next. */
static int rewrite(const file *f) {
    uint8_t chunk[16384];
    for (uint64_t offset = f->durable; offset < f->written;) {
        uint64_t left = f->written - offset;
        ssize_t n = pread(f->fd, chunk, left < sizeof chunk ? left : sizeof chunk, (off_t)offset);
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        int err = write_all(f->fd, chunk, (size_t)n, offset);
        if (err)
            return err;
        offset += (uint64_t)n;
    }
    return 0;
}

static int sync_file(const vmsig_audit_sync *s, const file *f, bool again) {
    if (f->fd < 0 || f->written == f->durable)
        return 0;
    int err = again ? rewrite(f) : 0;
    if (!err && s->fdatasync(f->fd) != 0)
        err = -errno;
    return err;
}

/* In place: the former key is overwritten. */
static int write_key(int fd, uint64_t generation, const uint8_t key[VMSIG_AUDIT_KEY]) {
    char text[VMSIG_AUDIT_KEY_TEXT + 1];
    size_t len = vmsig_audit_key_text(generation, key, text);
    int err = write_all(fd, (const uint8_t *)text, len, 0);
    sodium_memzero(text, sizeof text);
    return err ? err : fdatasync(fd) == 0 ? 0 : -errno;
}

/* One round, called and left with the lock held, released while the disk works. */
static void round_of(vmsig_audit_sync *s) {
    file now = s->now, former = s->former;
    uint64_t seq = s->written_seq, generation = s->key_generation, key_seq = s->key_seq;
    bool again = s->error != 0;
    uint8_t key[VMSIG_AUDIT_KEY];
    memcpy(key, s->key, sizeof key);
    s->due_ns = NEVER;
    pthread_mutex_unlock(&s->lock);
    int err = sync_file(s, &former, again);
    if (!err)
        err = sync_file(s, &now, again);
    int key_err = !err && key_seq && key_seq <= seq && s->seal_fd >= 0 ? write_key(s->seal_fd, generation, key) : 0;
    sodium_memzero(key, sizeof key);
    pthread_mutex_lock(&s->lock);
    if (!err) {
        s->durable_seq = seq;
        s->now.durable = s->now.fd == now.fd ? now.written : s->now.durable;
        if (s->former.fd == now.fd)
            s->former.durable = now.written;
        if (former.fd >= 0) { /* nobody writes there any more */
            close(former.fd);
            s->former.fd = -1;
        }
        if (!key_err && key_seq && key_seq <= seq && s->key_seq == key_seq) {
            s->key_seq = 0;
            sodium_memzero(s->key, sizeof s->key);
        }
    }
    s->error = err ? err : key_err;
    if (s->error)
        s->due_ns = now_ns() + RETRY_NS;
    uint64_t one = 1;
    if (write(s->bell, &one, sizeof one) < 0) {
        /* full of news that nobody has read: it rings already */
    }
}

static bool behind(const vmsig_audit_sync *s) {
    return s->written_seq > s->durable_seq || s->former.fd >= 0 || s->key_seq;
}

static void release(vmsig_audit_sync *s) {
    if (s->now.fd >= 0)
        close(s->now.fd);
    if (s->former.fd >= 0)
        close(s->former.fd);
    if (s->seal_fd >= 0)
        close(s->seal_fd);
    close(s->bell);
    pthread_cond_destroy(&s->wake);
    pthread_cond_destroy(&s->through);
    pthread_mutex_destroy(&s->lock);
    sodium_memzero(s, sizeof *s);
    free(s);
}

static void *run(void *ud) {
    vmsig_audit_sync *s = ud;
    pthread_mutex_lock(&s->lock);
    while (!s->stop) {
        uint64_t now = now_ns();
        if (s->due_ns <= now) {
            round_of(s);
        } else if (s->due_ns == NEVER) {
            pthread_cond_wait(&s->wake, &s->lock);
        } else {
            struct timespec until = at(s->due_ns);
            pthread_cond_timedwait(&s->wake, &s->lock, &until);
        }
    }
    if (behind(s))
        round_of(s);
    s->ended = true;
    bool orphan = s->orphan;
    pthread_cond_signal(&s->through);
    pthread_mutex_unlock(&s->lock);
    if (orphan)
        release(s);
    return NULL;
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static int start(vmsig_audit_sync *s) {
    pthread_condattr_t attr;
    sigset_t all, before;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, &attr);
    pthread_cond_init(&s->through, &attr);
    pthread_condattr_destroy(&attr);
    sigfillset(&all); /* signals are the loop's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&s->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -err;
}

int vmsig_audit_sync_new(int fd, uint64_t bytes, int seal_fd, int (*fdatasync_fn)(int), vmsig_audit_sync **out) {
    vmsig_audit_sync *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->fdatasync = fdatasync_fn ? fdatasync_fn : fdatasync;
    s->now = (file){.fd = fd, .written = bytes};
    s->former.fd = -1;
    s->due_ns = NEVER;
    s->seal_fd = seal_fd;
    s->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int err = s->bell < 0 ? -errno : start(s);
    if (err) {
        if (s->bell >= 0)
            close(s->bell);
        free(s);
        return err;
    }
    *out = s;
    return 0;
}

void vmsig_audit_sync_free(vmsig_audit_sync *s, int timeout_ms) {
    if (!s)
        return;
    struct timespec until = at(now_ns() + (uint64_t)timeout_ms * 1000000u);
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->wake);
    int rc = 0;
    while (!s->ended && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&s->through, &s->lock, &until);
    bool ended = s->ended;
    s->orphan = !ended;
    pthread_mutex_unlock(&s->lock);
    if (!ended) {
        pthread_detach(s->thread);
        return;
    }
    pthread_join(s->thread, NULL);
    release(s);
}

/* ---- the loop's side ----------------------------------------------------------------------------------- */

static void be_due(vmsig_audit_sync *s, uint64_t due_ns) {
    if (due_ns >= s->due_ns || s->error) /* after an error: when it is tried again */
        return;
    s->due_ns = due_ns;
    pthread_cond_signal(&s->wake);
}

void vmsig_audit_sync_wrote(vmsig_audit_sync *s, uint64_t bytes, uint64_t seq, uint64_t due_ns) {
    pthread_mutex_lock(&s->lock);
    s->now.written = bytes;
    s->written_seq = seq;
    be_due(s, due_ns);
    pthread_mutex_unlock(&s->lock);
}

void vmsig_audit_sync_key(vmsig_audit_sync *s, uint64_t seq, uint64_t generation, const uint8_t key[VMSIG_AUDIT_KEY]) {
    pthread_mutex_lock(&s->lock);
    s->key_seq = seq;
    s->key_generation = generation;
    memcpy(s->key, key, VMSIG_AUDIT_KEY);
    pthread_mutex_unlock(&s->lock);
}

bool vmsig_audit_sync_busy(vmsig_audit_sync *s) {
    pthread_mutex_lock(&s->lock);
    bool busy = s->former.fd >= 0;
    pthread_mutex_unlock(&s->lock);
    return busy;
}

int vmsig_audit_sync_rotate(vmsig_audit_sync *s, int fd) {
    pthread_mutex_lock(&s->lock);
    int err = s->former.fd >= 0 ? -EBUSY : 0;
    if (!err) {
        s->former = s->now;
        s->now = (file){.fd = fd};
        be_due(s, 0);
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}

int vmsig_audit_sync_state(vmsig_audit_sync *s, uint64_t *durable) {
    pthread_mutex_lock(&s->lock);
    int err = s->error;
    *durable = s->durable_seq;
    pthread_mutex_unlock(&s->lock);
    return err;
}

uint64_t vmsig_audit_sync_due(vmsig_audit_sync *s) {
    pthread_mutex_lock(&s->lock);
    uint64_t due = s->due_ns;
    pthread_mutex_unlock(&s->lock);
    return due;
}

int vmsig_audit_sync_bell(const vmsig_audit_sync *s) {
    return s->bell;
}
