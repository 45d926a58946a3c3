/* Writing: checkpoints, rotation, the key, death at any moment, a disk that fails. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "log.h"

static uint64_t key_generation(const log_dir *d) {
    char text[VMSIG_AUDIT_KEY_TEXT];
    uint8_t key[VMSIG_AUDIT_KEY];
    uint64_t generation = UINT64_MAX;
    cr_assert_eq(pread(d->seal, text, sizeof text, 0), (ssize_t)sizeof text);
    cr_assert(vmsig_audit_key_parse(text, sizeof text, &generation, key));
    return generation;
}

/* As kill -9 leaves it: nothing is closed. The thread is let go. */
static void drop(log_dir *d) {
    d->a = NULL;
}

Test(writer, what_is_due_at_once_is_durable_without_delay) {
    log_dir *d = log_new();
    log_open(d);
    vmsig_audit_record r = log_fact(1);
    uint64_t seq = 0;
    cr_assert_eq(vmsig_audit_append(d->a, &r, VMSIG_AUDIT_NOW, &seq), 0);
    cr_expect_gt(seq, 0);
    cr_expect(LOG_UNTIL(d, vmsig_audit_durable(d->a) >= seq));
    cr_assert_eq(vmsig_audit_append(d->a, &r, VMSIG_AUDIT_SOON, &seq), 0);
    cr_expect(LOG_UNTIL(d, vmsig_audit_durable(d->a) >= seq));
    cr_assert_eq(vmsig_audit_append(d->a, &r, VMSIG_AUDIT_LATER, &seq), 0);
    cr_expect(LOG_UNTIL(d, vmsig_audit_durable(d->a) >= seq));
    log_free(d);
}

static int hold_disk;
static int held_disk(int fd) {
    while (__atomic_load_n(&hold_disk, __ATOMIC_ACQUIRE))
        poll(NULL, 0, 1);
    return fdatasync(fd);
}

/* When the sync begins, to the nanosecond of the append: half of what is promised, the other half is the disk's. */
Test(writer, each_record_is_synced_at_its_time_and_the_earliest_counts) {
    static const struct {
        vmsig_audit_when when;
        uint64_t ns;
    } rows[] = {{VMSIG_AUDIT_LATER, VMSIG_AUDIT_LATER_NS}, {VMSIG_AUDIT_SOON, VMSIG_AUDIT_SOON_NS}};
    cr_expect_eq(2 * VMSIG_AUDIT_LATER_NS, 100000000u);
    cr_expect_eq(2 * VMSIG_AUDIT_SOON_NS, 50000000u);
    for (unsigned i = 0; i < 2; i++) {
        log_dir *d = log_new();
        d->cfg.fdatasync = held_disk;
        log_open(d);
        vmsig_audit_record rec = log_fact(7);
        uint64_t seq, before, due, after;
        cr_assert_eq(vmsig_audit_append(d->a, &rec, VMSIG_AUDIT_NOW, &seq), 0);
        cr_assert(LOG_UNTIL(d, vmsig_audit_durable(d->a) >= seq));
        __atomic_store_n(&hold_disk, 1, __ATOMIC_RELEASE);
        cr_assert_eq(vmsig_audit_append(d->a, &rec, VMSIG_AUDIT_NOW, &seq), 0);
        cr_assert(LOG_UNTIL(d, vmsig_audit_due(d->a) == UINT64_MAX), "the disk has it, and keeps the thread");
        before = vmsig_now_ns();
        cr_assert_eq(vmsig_audit_append(d->a, &rec, rows[i].when, &seq), 0);
        after = vmsig_now_ns();
        due = vmsig_audit_due(d->a);
        cr_expect(due >= before + rows[i].ns && due <= after + rows[i].ns);
        cr_assert_eq(vmsig_audit_append(d->a, &rec, VMSIG_AUDIT_LATER, NULL), 0);
        cr_expect_eq(vmsig_audit_due(d->a), due, "a later one does not put it off");
        cr_assert_eq(vmsig_audit_append(d->a, &rec, VMSIG_AUDIT_NOW, NULL), 0);
        cr_expect_eq(vmsig_audit_due(d->a), 0, "one that is due at once takes the others along");
        __atomic_store_n(&hold_disk, 0, __ATOMIC_RELEASE);
        log_free(d);
    }
}

Test(writer, the_key_moves_on_and_the_former_is_gone) {
    log_dir *d = log_new();
    uint8_t key[VMSIG_AUDIT_KEY];
    char hex[160];
    memcpy(key, d->first_key, sizeof key);
    log_open(d);
    log_write(d, 0, 100);
    log_close(d);
    vmsig_audit_check c;
    cr_expect_eq(log_verify(d, &c), VMSIG_AUDIT_VALID, "%s", c.why);
    cr_expect_eq(key_generation(d), c.checkpoints);
    struct stat st;
    cr_assert_eq(fstat(d->seal, &st), 0);
    cr_expect_eq(st.st_size, VMSIG_AUDIT_KEY_TEXT, "nothing but the present key");
    log_bytes b = log_read(d->file[0]);
    for (uint64_t i = 0; i <= c.checkpoints; i++) {
        cr_expect_null(memmem(b.at, b.len, key, sizeof key), "key %d in the log", (int)i);
        vmsig_audit_key_text(0, key, hex);
        cr_expect_null(memmem(b.at, b.len, hex + 21, 64), "key %d in the log, as text", (int)i);
        vmsig_audit_ratchet(key);
    }
    free(b.at);
    log_free(d);
}

Test(writer, a_successor_goes_on_with_chain_and_key) {
    log_dir *d = log_new();
    for (uint32_t life = 0; life < 5; life++) {
        d->cfg.incarnation = life + 1;
        log_open(d);
        log_write(d, life * 30, 30);
        if (life % 2)
            log_close(d);
        else
            drop(d);
        vmsig_audit_check c;
        cr_expect_eq(log_verify(d, &c), VMSIG_AUDIT_VALID, "life %u: %s", life, c.why);
        cr_expect_eq(c.keyed_checkpoints, c.checkpoints);
        cr_expect_eq(c.sealed, life % 2 == 1);
    }
    log_free(d);
}

typedef struct notes {
    uint64_t torn, reopened, damaged, started;
    int torn_n, reopened_n;
} notes;

static void note(void *ud, const Vmsig__Pb__AuditEntry *e) {
    notes *n = ud;
    if (e->m_case != VMSIG__PB__AUDIT_ENTRY__M_NOTE)
        return;
    n->torn += e->note->kind == VMSIG__PB__AUDIT_NOTE_KIND__NOTE_TORN ? e->note->count : 0;
    n->torn_n += e->note->kind == VMSIG__PB__AUDIT_NOTE_KIND__NOTE_TORN;
    n->reopened += e->note->kind == VMSIG__PB__AUDIT_NOTE_KIND__NOTE_REOPENED ? e->note->count : 0;
    n->reopened_n += e->note->kind == VMSIG__PB__AUDIT_NOTE_KIND__NOTE_REOPENED;
    n->damaged += e->note->kind == VMSIG__PB__AUDIT_NOTE_KIND__NOTE_DAMAGED;
    n->started += e->note->kind == VMSIG__PB__AUDIT_NOTE_KIND__NOTE_STARTED;
}

static notes notes_of(const log_dir *d) {
    notes n = {0};
    vmsig_audit_check c = {.on_entry = note, .ud = &n};
    for (int i = 0; i < d->files_n; i++) {
        log_bytes b = log_read(d->file[i]);
        vmsig_audit_check_segment(&c, "segment", b.at, b.len);
        free(b.at);
    }
    return n;
}

Test(writer, a_torn_tail_of_any_length_is_cut_off_and_noted) {
    log_dir *d = log_new();
    log_open(d);
    log_write(d, 0, 10);
    log_close(d);
    log_bytes b = log_read(d->file[0]);
    size_t ends[64], n = log_ends(b, ends, 64);
    for (size_t len = ends[n - 2] + 1; len < b.len; len++) {
        log_dir *e = log_new();
        cr_assert_eq(pwrite(e->file[0], b.at, len, 0), (ssize_t)len);
        log_open(e);
        log_write(e, 10, 1);
        log_close(e);
        vmsig_audit_check c;
        cr_expect_eq(log_verify(e, &c), VMSIG_AUDIT_VALID, "at %zu: %s", len, c.why);
        notes seen = notes_of(e);
        cr_expect(seen.torn_n == 1 && seen.torn == len - ends[n - 2], "at %zu", len);
        log_free(e);
    }
    free(b.at);
    log_free(d);
}

Test(writer, space_that_was_never_written_is_cut_off) {
    log_dir *d = log_new();
    log_open(d);
    log_write(d, 0, 10);
    log_close(d);
    struct stat st;
    cr_assert_eq(fstat(d->file[0], &st), 0);
    cr_assert_eq(ftruncate(d->file[0], st.st_size + 4000), 0);
    log_open(d);
    log_close(d);
    vmsig_audit_check c;
    cr_expect_eq(log_verify(d, &c), VMSIG_AUDIT_VALID, "%s", c.why);
    cr_expect_eq(notes_of(d).torn, 4000);
    log_free(d);
}

Test(writer, a_process_killed_while_it_writes_leaves_a_log_that_goes_on) {
    for (int round = 0; round < 20; round++) {
        log_dir *d = log_new();
        int start[2];
        cr_assert_eq(pipe(start), 0);
        pid_t pid = fork();
        if (pid == 0) {
            log_open(d);
            for (uint32_t i = 0;; i++) {
                vmsig_audit_record r = log_fact(i);
                vmsig_audit_append(d->a, &r, i % 7 ? VMSIG_AUDIT_LATER : VMSIG_AUDIT_NOW, NULL);
                if (i == 100 && write(start[1], "x", 1) != 1)
                    _exit(1);
            }
        }
        char x;
        cr_assert_eq(read(start[0], &x, 1), 1);
        struct timespec t = {.tv_nsec = round * 137777};
        nanosleep(&t, NULL); /* so that the kills fall apart; none is waited for */
        kill(pid, SIGKILL);
        cr_assert_eq(waitpid(pid, NULL, 0), pid);
        vmsig_audit_check c;
        vmsig_audit_verdict left = log_verify(d, &c);
        cr_expect(left == VMSIG_AUDIT_VALID || left == VMSIG_AUDIT_TORN, "%s", c.why);
        cr_expect_geq(c.records, 101);
        log_open(d);
        log_write(d, 0, 20);
        log_close(d);
        cr_expect_eq(log_verify(d, &c), VMSIG_AUDIT_VALID, "%s", c.why);
        cr_expect_eq(c.checkpoints, c.keyed_checkpoints);
        close(start[0]);
        close(start[1]);
        log_free(d);
    }
}

static void rotate(log_dir *d) {
    d->file[d->files_n++] = log_file();
    int rc = 0;
    cr_expect(LOG_UNTIL(d, (rc = vmsig_audit_rotate(d->a, d->file[d->files_n - 1])) != -EBUSY));
    cr_assert_eq(rc, 0);
}

Test(writer, segments_are_chained) {
    log_dir *d = log_new();
    d->cfg.segment_bytes = 4096;
    log_open(d);
    for (uint32_t i = 0; i < 5; i++) {
        while (d->full_n == (int)i)
            log_write(d, 0, 1);
        log_write(d, 0, 3); /* it goes on in the old one until the new is there */
        cr_expect_eq(d->full_n, (int)i + 1, "asked once");
        rotate(d);
    }
    log_write(d, 0, 3);
    log_close(d);
    vmsig_audit_check c;
    cr_expect_eq(log_verify(d, &c), VMSIG_AUDIT_VALID, "%s", c.why);
    cr_expect_eq(c.segment, 6);
    for (int gone = 0; gone < 5; gone++) { /* without one of them, but the last */
        vmsig_audit_check rest = {0};
        for (int i = 0; i < d->files_n; i++) {
            log_bytes b = log_read(d->file[i]);
            if (i != gone)
                vmsig_audit_check_segment(&rest, "segment", b.at, b.len);
            free(b.at);
        }
        cr_expect_eq(vmsig_audit_check_end(&rest), VMSIG_AUDIT_GAP, "without %d", gone);
    }
    log_free(d);
}

/* The record that b[from, to) stores gets the checksum of what it says now. */
static void make_good(log_bytes b, size_t from, size_t to) {
    uint8_t joined[4 + VMSIG_AUDIT_BODY_MAX];
    size_t len = to - from - VMSIG_AUDIT_FRAME;
    memcpy(joined, b.at + from, 4);
    memcpy(joined + 4, b.at + from + VMSIG_AUDIT_FRAME, len);
    uint32_t crc = vmsig_crc32c(joined, 4 + len);
    memcpy(b.at + from + 4, &crc, 4);
}

static vmsig_audit_verdict verdict_of(const log_dir *d, const log_bytes *files, vmsig_audit_check *c) {
    *c = (vmsig_audit_check){.keyed = true};
    memcpy(c->key, d->first_key, sizeof c->key);
    for (int i = 0; i < d->files_n; i++)
        vmsig_audit_check_segment(c, "segment", files[i].at, files[i].len);
    return vmsig_audit_check_end(c);
}

/* Every byte of every record's body, so every field of it, in each of three files that follow each other: changed, with
 * the checksum made good. The chain tells, or the next checkpoint's key; and the verdict says where. */
Test(writer, a_change_of_any_field_is_found_across_segments) {
    log_dir *d = log_new();
    log_bytes files[LOG_FILES];
    d->cfg.segment_bytes = 600;
    log_open(d);
    for (int i = 0; i < 2; i++) {
        while (d->full_n == i)
            log_write(d, (uint32_t)i * 7, 1);
        rotate(d);
    }
    log_write(d, 20, 3);
    log_close(d);
    for (int i = 0; i < d->files_n; i++)
        files[i] = log_read(d->file[i]);
    vmsig_audit_check c;
    cr_assert_eq(verdict_of(d, files, &c), VMSIG_AUDIT_VALID, "%s", c.why);
    for (int f = 0; f < d->files_n; f++) {
        size_t ends[64], n = log_ends(files[f], ends, 64);
        for (size_t i = 0; i < n; i++) {
            size_t from = i ? ends[i - 1] : 0;
            for (size_t at = from + VMSIG_AUDIT_FRAME; at < ends[i]; at++) {
                uint32_t crc;
                memcpy(&crc, files[f].at + from + 4, 4);
                files[f].at[at] ^= 1;
                make_good(files[f], from, ends[i]);
                vmsig_audit_verdict v = verdict_of(d, files, &c);
                cr_expect_neq(v, VMSIG_AUDIT_VALID, "file %d, record %zu, byte %zu", f, i, at - from);
                cr_expect(strstr(c.why, "record") || strstr(c.why, "checkpoint"), "%s", c.why);
                files[f].at[at] ^= 1;
                memcpy(files[f].at + from + 4, &crc, 4);
            }
        }
    }
    cr_expect_eq(verdict_of(d, files, &c), VMSIG_AUDIT_VALID);
    for (int i = 0; i < d->files_n; i++)
        free(files[i].at);
    log_free(d);
}

Test(writer, who_dies_between_two_segments_is_succeeded) {
    log_dir *d = log_new();
    log_open(d);
    log_write(d, 0, 20);
    drop(d);
    d->file[d->files_n++] = log_file(); /* it was made, and never reached the one who asked */
    log_open(d);
    log_write(d, 20, 20);
    log_close(d);
    vmsig_audit_check c;
    cr_expect_eq(log_verify(d, &c), VMSIG_AUDIT_VALID, "%s", c.why);
    cr_expect_eq(c.segment, 2);
    log_free(d);
}

Test(writer, a_damaged_segment_is_left_and_another_begun) {
    log_dir *d = log_new();
    log_open(d);
    log_write(d, 0, 40);
    log_close(d);
    log_bytes b = log_read(d->file[0]);
    uint8_t flipped = b.at[b.len / 2] ^ 1;
    cr_assert_eq(pwrite(d->file[0], &flipped, 1, (off_t)(b.len / 2)), 1);
    log_open(d);
    cr_expect_neq(vmsig_audit_error(d->a), 0);
    cr_expect_eq(d->full_n, 1);
    vmsig_audit_record r = log_fact(1);
    cr_expect_lt(vmsig_audit_append(d->a, &r, VMSIG_AUDIT_LATER, NULL), 0);
    rotate(d);
    cr_expect_eq(vmsig_audit_error(d->a), 0);
    cr_expect_eq(d->last_state, 0);
    log_write(d, 0, 5);
    log_close(d);
    log_bytes after = log_read(d->file[0]);
    cr_expect(after.len == b.len && memcmp(after.at, b.at, b.len / 2) == 0, "the evidence is as it was");
    cr_expect_eq(log_verify(d, NULL), VMSIG_AUDIT_TAMPERED);
    free(after.at);
    free(b.at);
    log_free(d);
}

Test(writer, what_is_no_audit_log_is_refused_and_left_alone) {
    log_dir *d = log_new();
    static const char text[] = "to whom it may concern: this is a letter\n";
    cr_assert_eq(write(d->file[0], text, sizeof text), (ssize_t)sizeof text);
    cr_expect_eq(vmsig_audit_open(&d->cfg, &d->a, d->why), -EBADMSG);
    cr_expect(strstr(d->why, "no audit log"), "%s", d->why);
    log_bytes b = log_read(d->file[0]);
    cr_expect(b.len == sizeof text && memcmp(b.at, text, b.len) == 0);
    free(b.at);
    d->a = NULL;
    log_free(d);
}

/* ---- a disk that fails --------------------------------------------------------------------------------- */

/* The thread's, and the test's. */
static int sync_errno;
static int failing_sync(int fd) {
    int e = __atomic_load_n(&sync_errno, __ATOMIC_ACQUIRE);
    if (e == 0)
        return fdatasync(fd);
    errno = e;
    return -1;
}

Test(disk, a_sync_that_fails_closes_the_log_until_it_works) {
    log_dir *d = log_new();
    d->cfg.fdatasync = failing_sync;
    log_open(d);
    log_write(d, 0, 5);
    __atomic_store_n(&sync_errno, EIO, __ATOMIC_RELEASE);
    vmsig_audit_record r = log_fact(9);
    uint64_t seq = 0;
    cr_assert_eq(vmsig_audit_append(d->a, &r, VMSIG_AUDIT_NOW, &seq), 0);
    cr_expect(LOG_UNTIL(d, vmsig_audit_error(d->a) == -EIO));
    cr_expect_lt(vmsig_audit_durable(d->a), seq);
    cr_expect_eq(d->last_state, -EIO);
    cr_expect_eq(vmsig_audit_append(d->a, &r, VMSIG_AUDIT_NOW, NULL), -EIO);
    cr_expect_eq(vmsig_audit_append(d->a, &r, VMSIG_AUDIT_LATER, NULL), -EIO);
    __atomic_store_n(&sync_errno, 0, __ATOMIC_RELEASE);
    cr_expect(LOG_UNTIL(d, vmsig_audit_error(d->a) == 0));
    cr_expect(LOG_UNTIL(d, vmsig_audit_durable(d->a) >= seq));
    cr_expect_eq(d->last_state, 0);
    log_write(d, 20, 1);
    log_close(d);
    vmsig_audit_check c;
    cr_expect_eq(log_verify(d, &c), VMSIG_AUDIT_VALID, "%s", c.why);
    notes n = notes_of(d);
    cr_expect(n.reopened_n == 1 && n.reopened == 2, "%d notes of %d lost", n.reopened_n, (int)n.reopened);
    log_free(d);
}

/* A file that may not grow beyond `limit` stands for a full disk: the same short write, then an error. */
static void full_disk(rlim_t limit) {
    struct rlimit l = {.rlim_cur = limit, .rlim_max = RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void on_a_full_disk(size_t spare) {
    log_dir *d = log_new();
    char path[] = "/tmp/vmsig-audit-XXXXXX";
    close(d->file[0]);
    d->file[0] = mkstemp(path); /* memfds know no limit */
    cr_assert_geq(d->file[0], 0);
    unlink(path);
    log_open(d);
    log_write(d, 0, 5);
    struct stat st;
    cr_assert_eq(fstat(d->file[0], &st), 0);
    vmsig_audit_record r = log_fact(9);
    full_disk((rlim_t)st.st_size + spare);
    int rc = 0, written = 0;
    while ((rc = vmsig_audit_append(d->a, &r, VMSIG_AUDIT_NOW, NULL)) == 0 && written < 100)
        written++;
    cr_expect_lt(rc, 0);
    cr_expect_lt(d->last_state, 0);
    cr_expect_lt(vmsig_audit_append(d->a, &r, VMSIG_AUDIT_NOW, NULL), 0);
    vmsig_audit_check c;
    full_disk(RLIM_INFINITY);
    cr_expect_eq(log_verify(d, &c), VMSIG_AUDIT_VALID, "spare %zu: no half record stays: %s", spare, c.why);
    cr_expect(LOG_UNTIL(d, vmsig_audit_error(d->a) == 0));
    log_write(d, 20, 3);
    log_close(d);
    cr_expect_eq(log_verify(d, &c), VMSIG_AUDIT_VALID, "spare %zu: %s", spare, c.why);
    notes n = notes_of(d);
    cr_expect(n.reopened_n == 1 && n.reopened == 2, "spare %zu: %d notes of %d lost", spare, n.reopened_n,
              (int)n.reopened);
    log_free(d);
}

Test(disk, a_full_disk_closes_the_log_until_there_is_room) {
    for (size_t spare = 0; spare < 200; spare += 67)
        on_a_full_disk(spare);
}

Test(disk, a_log_without_a_key_has_no_checkpoints) {
    log_dir *d = log_new();
    d->cfg.seal_fd = -1;
    log_open(d);
    log_write(d, 0, 100);
    log_close(d);
    vmsig_audit_check c;
    cr_expect_eq(log_verify(d, &c), VMSIG_AUDIT_VALID, "%s", c.why);
    cr_expect_eq(c.checkpoints, 0);
    log_free(d);
}
