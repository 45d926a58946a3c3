#include "actors/gateway/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "actors/gateway/audit_sync.h"

#define ASK_AGAIN_NS 10000000000ull
#define SEGMENT_MAX  (1ull << 32) /* a segment that is read at open */

struct vmsig_audit {
    vmsig_audit_cfg cfg;
    vmsig_audit_sync *sync;
    int fd; /* the sync's */
    uint64_t bytes;
    vmsig_audit_chain chain;
    uint32_t segment;
    bool keyed;
    uint8_t key[VMSIG_AUDIT_KEY];
    uint64_t generation;
    uint32_t since_checkpoint;
    int error;         /* 0 = open */
    bool damaged;      /* the segment is left as it is: only a new one opens the log */
    uint64_t asked_ns; /* when the next segment was asked for; 0 = not */
    uint64_t retry_ns; /* when closed */
    uint64_t lost;     /* facts, since it closed */
    uint64_t durable;
};

static uint64_t clock_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

__attribute__((format(printf, 3, 4))) static void say(vmsig_audit *a, int error, const char *fmt, ...) {
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (a->cfg.state)
        a->cfg.state(a->cfg.ud, error, text);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static void close_log(vmsig_audit *a, int error) {
    if (a->error)
        return;
    a->error = error;
    a->retry_ns = clock_ns(CLOCK_MONOTONIC) + VMSIG_AUDIT_RETRY_NS;
    say(a, error, "the audit log cannot be written: %s: input, power and memory-write are closed until it can",
        strerror(-error));
}

/* At its place, so that a second try of a record that was written in part is the same as the first. */
static int write_at(int fd, const uint8_t *bytes, size_t len, uint64_t offset) {
    while (len > 0) {
        ssize_t n = pwrite(fd, bytes, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENOSPC;
        bytes += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

static uint64_t bound_of(vmsig_audit_when when) {
    return when == VMSIG_AUDIT_NOW
               ? 0
               : clock_ns(CLOCK_MONOTONIC) + (when == VMSIG_AUDIT_SOON ? VMSIG_AUDIT_SOON_NS : VMSIG_AUDIT_LATER_NS);
}

/* All or nothing: the chain moves on only with what is written. */
static int put(vmsig_audit *a, Vmsig__Pb__AuditEntry *e, vmsig_audit_when when) {
    uint8_t stored[VMSIG_AUDIT_STORED_MAX];
    vmsig_audit_chain next = a->chain;
    size_t len = vmsig_audit_store(&next, e, stored);
    int err = len ? write_at(a->fd, stored, len, a->bytes) : -EMSGSIZE;
    if (err) {
        if (ftruncate(a->fd, (off_t)a->bytes) != 0) {
            /* what was written of it is torn, until the next one overwrites it */
        }
        return err;
    }
    a->chain = next;
    a->bytes += len;
    a->since_checkpoint++;
    vmsig_audit_sync_wrote(a->sync, a->bytes, a->chain.seq, bound_of(when));
    return 0;
}

static int put_checkpoint(vmsig_audit *a, bool sealed) {
    uint8_t mac[VMSIG_AUDIT_HASH], key[VMSIG_AUDIT_KEY];
    if (!a->keyed)
        return 0;
    Vmsig__Pb__AuditCheckpoint c = VMSIG__PB__AUDIT_CHECKPOINT__INIT;
    Vmsig__Pb__AuditEntry e = VMSIG__PB__AUDIT_ENTRY__INIT;
    e.ts_ns = clock_ns(CLOCK_REALTIME);
    e.m_case = VMSIG__PB__AUDIT_ENTRY__M_CHECKPOINT;
    e.checkpoint = &c;
    c.generation = a->generation;
    c.has_sealed = true;
    c.sealed = sealed;
    c.mac.data = mac;
    c.mac.len = sizeof mac;
    vmsig_audit_mac(a->key, &a->chain, e.ts_ns, a->generation, sealed, mac);
    memcpy(key, a->key, sizeof key);
    vmsig_audit_ratchet(key);
    vmsig_audit_sync_key(a->sync, a->chain.seq + 1, a->generation + 1, key);
    int err = put(a, &e, VMSIG_AUDIT_LATER);
    if (!err) {
        memcpy(a->key, key, sizeof key);
        a->generation++;
        a->since_checkpoint = 0;
    }
    sodium_memzero(key, sizeof key);
    return err;
}

static int put_note(vmsig_audit *a, Vmsig__Pb__AuditNoteKind kind, uint64_t count, int error) {
    Vmsig__Pb__AuditNote n = VMSIG__PB__AUDIT_NOTE__INIT;
    Vmsig__Pb__AuditEntry e = VMSIG__PB__AUDIT_ENTRY__INIT;
    e.ts_ns = clock_ns(CLOCK_REALTIME);
    e.m_case = VMSIG__PB__AUDIT_ENTRY__M_NOTE;
    e.note = &n;
    n.kind = kind;
    n.has_count = n.has_error = true;
    n.count = count;
    n.error = error;
    return put(a, &e, VMSIG_AUDIT_LATER);
}

static int put_head(vmsig_audit *a) {
    Vmsig__Pb__AuditHead h = VMSIG__PB__AUDIT_HEAD__INIT;
    Vmsig__Pb__AuditEntry e = VMSIG__PB__AUDIT_ENTRY__INIT;
    e.ts_ns = clock_ns(CLOCK_REALTIME);
    e.m_case = VMSIG__PB__AUDIT_ENTRY__M_HEAD;
    e.head = &h;
    h.version = VMSIG_AUDIT_VERSION;
    h.segment = a->segment + 1;
    h.generation = a->generation;
    h.gateway = (char *)(uintptr_t)a->cfg.gateway;
    int err = put(a, &e, VMSIG_AUDIT_LATER);
    if (!err)
        a->segment++;
    return err;
}

static int put_fact(vmsig_audit *a, const vmsig_audit_record *r, vmsig_audit_when when) {
    Vmsig__Pb__AuditFact f = VMSIG__PB__AUDIT_FACT__INIT;
    Vmsig__Pb__AuditEntry e = VMSIG__PB__AUDIT_ENTRY__INIT;
    e.ts_ns = r->ts_ns;
    e.m_case = VMSIG__PB__AUDIT_ENTRY__M_FACT;
    e.fact = &f;
    f.what = r->what;
    f.has_principal = (f.principal = r->principal) != 0;
    f.has_endpoint = (f.endpoint = r->endpoint) != 0;
    f.has_epoch = (f.epoch = r->epoch) != 0;
    f.has_token = (f.token = r->token) != 0;
    f.has_corr = (f.corr = r->corr) != 0;
    f.has_cls = (f.cls = r->cls) != UINT32_MAX;
    f.has_kind = (f.kind = r->kind) != 0;
    f.has_status = (f.status = r->status) != 0;
    f.has_detail = (f.detail = r->detail) != 0;
    f.has_endpoint_mask = (f.endpoint_mask = r->endpoint_mask) != 0;
    f.has_priority = (f.priority = r->priority) != 0;
    f.has_count = (f.count = r->count ? r->count : 1) != 1;
    return put(a, &e, when);
}

static void ask_for_next(vmsig_audit *a) {
    uint64_t limit = a->cfg.segment_bytes ? a->cfg.segment_bytes : VMSIG_AUDIT_SEGMENT_BYTES;
    uint64_t now = clock_ns(CLOCK_MONOTONIC);
    if ((a->asked_ns && now - a->asked_ns < ASK_AGAIN_NS) || (a->bytes < limit && !a->damaged))
        return;
    a->asked_ns = now;
    if (a->cfg.full)
        a->cfg.full(a->cfg.ud);
}

int vmsig_audit_append(vmsig_audit *a, const vmsig_audit_record *rec, vmsig_audit_when when, uint64_t *seq) {
    uint32_t every = a->cfg.checkpoint_every ? a->cfg.checkpoint_every : VMSIG_AUDIT_CHECKPOINT_EVERY;
    int err = a->error ? a->error : put_fact(a, rec, when);
    if (err) {
        close_log(a, err);
        a->lost++;
        if (a->damaged)
            ask_for_next(a);
        return err;
    }
    if (seq)
        *seq = a->chain.seq;
    if (a->since_checkpoint >= every && (err = put_checkpoint(a, false)) != 0)
        close_log(a, err); /* the fact itself is written */
    ask_for_next(a);
    return 0;
}

/* ---- opening ------------------------------------------------------------------------------------------- */

/* The whole file in memory, the caller's: 0, or -errno. */
static int load_file(int fd, uint8_t **bytes, size_t *len) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > SEGMENT_MAX)
        return -EBADMSG;
    *len = (size_t)st.st_size;
    *bytes = malloc(*len + 1);
    if (!*bytes)
        return -ENOMEM;
    for (size_t got = 0; got < *len;) {
        ssize_t n = pread(fd, *bytes + got, *len - got, (off_t)got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            free(*bytes);
            return n < 0 ? -errno : -EIO;
        }
        got += (size_t)n;
    }
    return 0;
}

static int load_key(int fd, uint64_t *generation, uint8_t key[VMSIG_AUDIT_KEY]) {
    char text[VMSIG_AUDIT_KEY_TEXT + 1];
    ssize_t n = pread(fd, text, sizeof text, 0);
    bool good = n > 0 && vmsig_audit_key_parse(text, (size_t)n, generation, key);
    sodium_memzero(text, sizeof text);
    return n < 0 ? -errno : good ? 0 : -EBADMSG;
}

/* The log as the predecessor left it: the chain, and the key moved on to the next checkpoint's. What is torn off is cut
 * away; *torn: how many bytes. */
static int take_over(vmsig_audit *a, int fd, vmsig_audit_check *c, uint64_t *torn, char why[256]) {
    uint8_t *bytes = NULL;
    size_t len = 0;
    int err = load_file(fd, &bytes, &len);
    if (err) {
        snprintf(why, 256, "the audit log cannot be read: %s", strerror(-err));
        return err;
    }
    a->bytes = vmsig_audit_check_segment(c, "the audit log", bytes, len);
    free(bytes);
    *torn = len - a->bytes;
    if (c->verdict == VMSIG_AUDIT_TAMPERED && c->records == 0) {
        snprintf(why, 256, "%.190s: give it another name, or move that file away", c->why);
        return -EBADMSG;
    }
    a->damaged = c->verdict == VMSIG_AUDIT_TAMPERED || c->verdict == VMSIG_AUDIT_GAP;
    if (!a->damaged && *torn && ftruncate(fd, (off_t)a->bytes) != 0) {
        err = -errno;
        snprintf(why, 256, "the torn end of the audit log cannot be cut off: %s", strerror(-err));
        return err;
    }
    a->chain = c->chain;
    a->segment = c->segment;
    a->since_checkpoint = c->since_checkpoint > UINT32_MAX ? UINT32_MAX : (uint32_t)c->since_checkpoint;
    return 0;
}

static void take_key(vmsig_audit *a, vmsig_audit_check *c) {
    a->generation = c->next_generation;
    if (!a->keyed)
        return;
    if (c->generation > a->generation) /* the log lost checkpoints that the key has seen */
        a->generation = c->generation;
    for (; c->generation < a->generation; c->generation++)
        vmsig_audit_ratchet(c->key);
    memcpy(a->key, c->key, sizeof a->key);
    sodium_memzero(c->key, sizeof c->key);
}

static int begin(vmsig_audit *a, uint64_t torn, const char *damage) {
    int err = a->bytes == 0 && !a->damaged ? put_head(a) : 0;
    if (a->damaged) {
        a->error = -EBADMSG;
        say(a, -EBADMSG, "%s: the file is left as it is, and a new one is begun", damage);
        ask_for_next(a);
        return 0;
    }
    if (!err && torn)
        err = put_note(a, VMSIG__PB__AUDIT_NOTE_KIND__NOTE_TORN, torn, 0);
    if (!err)
        err = put_note(a, VMSIG__PB__AUDIT_NOTE_KIND__NOTE_STARTED, a->cfg.incarnation, 0);
    if (err)
        close_log(a, err);
    return 0;
}

static int duplicate(int fd) {
    int mine = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return mine < 0 ? -errno : mine;
}

static int start_sync(vmsig_audit *a, int fd) {
    int seal = a->keyed ? duplicate(a->cfg.seal_fd) : -1;
    a->fd = duplicate(fd);
    int err = a->fd < 0 ? a->fd : a->keyed && seal < 0 ? seal : 0;
    if (!err)
        err = vmsig_audit_sync_new(a->fd, a->bytes, seal, a->cfg.fdatasync, &a->sync);
    if (err && a->fd >= 0)
        close(a->fd);
    if (err && seal >= 0)
        close(seal);
    return err;
}

static bool is_empty(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_size == 0;
}

static int open_log(vmsig_audit *a, char why[256]) {
    vmsig_audit_check c = {.from_anywhere = true};
    uint64_t torn = 0;
    bool next = a->cfg.prev_fd >= 0 && is_empty(a->cfg.fd);
    int fd = next ? a->cfg.prev_fd : a->cfg.fd, err = 0;
    a->keyed = a->cfg.seal_fd >= 0;
    if (a->keyed && (err = load_key(a->cfg.seal_fd, &c.generation, c.key)) != 0) {
        snprintf(why, 256, "the audit log's sealing key cannot be read: %s", strerror(-err));
        return err;
    }
    c.keyed = a->keyed;
    if ((err = take_over(a, fd, &c, &torn, why)) != 0)
        return err;
    take_key(a, &c);
    if ((err = start_sync(a, fd)) != 0) {
        snprintf(why, 256, "the audit log cannot be synced: %s", strerror(-err));
        return err;
    }
    a->asked_ns = next ? clock_ns(CLOCK_MONOTONIC) : 0;
    err = begin(a, torn, c.why);
    return err || !next ? err : vmsig_audit_rotate(a, a->cfg.fd);
}

int vmsig_audit_open(const vmsig_audit_cfg *cfg, vmsig_audit **out, char why[256]) {
    vmsig_audit *a = calloc(1, sizeof *a);
    why[0] = 0;
    if (!a || sodium_init() < 0) {
        free(a);
        snprintf(why, 256, "%s", strerror(ENOMEM));
        return -ENOMEM;
    }
    a->cfg = *cfg;
    a->fd = -1;
    int err = open_log(a, why);
    if (err) {
        vmsig_audit_sync_free(a->sync, 0);
        sodium_memzero(a, sizeof *a);
        free(a);
        return err;
    }
    *out = a;
    return 0;
}

void vmsig_audit_close(vmsig_audit *a, int timeout_ms) {
    if (!a)
        return;
    if (!a->error)
        put_checkpoint(a, true); /* what cannot be written now is torn, and told by the successor */
    vmsig_audit_sync_free(a->sync, timeout_ms);
    sodium_memzero(a, sizeof *a);
    free(a);
}

/* ---- the next segment ---------------------------------------------------------------------------------- */

static bool same_file(int a, int b) {
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int vmsig_audit_rotate(vmsig_audit *a, int fd) {
    if (!is_empty(fd) || same_file(fd, a->fd))
        return -EEXIST;
    if (vmsig_audit_sync_busy(a->sync))
        return -EBUSY;
    int mine = duplicate(fd), err = mine < 0 ? mine : 0;
    bool damaged = a->damaged;
    if (!err && !damaged && !a->error)
        err = put_checkpoint(a, true);
    if (!err)
        err = vmsig_audit_sync_rotate(a->sync, mine);
    if (err) {
        if (mine >= 0)
            close(mine);
        return err;
    }
    a->fd = mine;
    a->bytes = 0;
    a->asked_ns = 0;
    a->damaged = false;
    if (a->error && !damaged)
        return 0; /* closed for another reason: the head is written when it opens */
    err = put_head(a);
    if (!err && damaged)
        err = put_note(a, VMSIG__PB__AUDIT_NOTE_KIND__NOTE_DAMAGED, 0, 0);
    if (!err && damaged && a->lost)
        err = put_note(a, VMSIG__PB__AUDIT_NOTE_KIND__NOTE_REOPENED, a->lost, -a->error);
    a->error = err;
    a->lost = err ? a->lost : 0;
    if (err || damaged)
        say(a, err, err ? "the audit log's new file cannot be written" : "the audit log is open again");
    return 0;
}

/* ---- news of the disk ---------------------------------------------------------------------------------- */

static void try_again(vmsig_audit *a) {
    int was = a->error, err = a->bytes == 0 ? put_head(a) : 0;
    if (!err)
        err = put_note(a, VMSIG__PB__AUDIT_NOTE_KIND__NOTE_REOPENED, a->lost, -was);
    a->retry_ns = clock_ns(CLOCK_MONOTONIC) + VMSIG_AUDIT_RETRY_NS;
    if (err)
        return;
    a->error = 0;
    say(a, 0, "the audit log can be written again; %" PRIu64 " facts are not in it", a->lost);
    a->lost = 0;
    ask_for_next(a);
}

uint64_t vmsig_audit_look(vmsig_audit *a, uint64_t now_ns) {
    uint64_t news;
    if (read(vmsig_audit_sync_bell(a->sync), &news, sizeof news) < 0) {
        /* no news: only the time */
    }
    int err = vmsig_audit_sync_state(a->sync, &a->durable);
    if (err)
        close_log(a, err);
    else if (a->error && !a->damaged && now_ns >= a->retry_ns)
        try_again(a);
    return a->error && !a->damaged ? a->retry_ns : 0;
}

uint64_t vmsig_audit_durable(const vmsig_audit *a) {
    return a->durable;
}

uint64_t vmsig_audit_due(const vmsig_audit *a) {
    return vmsig_audit_sync_due(a->sync);
}

int vmsig_audit_error(const vmsig_audit *a) {
    return a->error;
}

const vmsig_audit_chain *vmsig_audit_at(const vmsig_audit *a) {
    return &a->chain;
}

int vmsig_audit_fd(const vmsig_audit *a) {
    return vmsig_audit_sync_bell(a->sync);
}
