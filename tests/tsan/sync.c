/* The audit log's sync thread and the loop beside it: wrote, key, rotate, state, the end. "race": what the disk's hook
 * counts is read without a lock. */
#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "actors/gateway/audit_sync.h"

#define ROUNDS 2000u

static unsigned synced;

static int disk(int fd) {
    (void)fd;
    synced++; /* the thread's alone, but for a planted race */
    return 0;
}

/* The real one (schema/audit.c) brings protobuf with it. */
size_t vmsig_audit_key_text(uint64_t generation, const uint8_t key[VMSIG_AUDIT_KEY],
                            char out[VMSIG_AUDIT_KEY_TEXT + 1]) {
    memset(out, '0' + (int)((generation + key[0]) % 10), VMSIG_AUDIT_KEY_TEXT);
    return VMSIG_AUDIT_KEY_TEXT;
}

static int file(void) {
    return memfd_create("sync", MFD_CLOEXEC);
}

int main(int argc, char **argv) {
    int race = argc > 1 && strcmp(argv[1], "race") == 0;
    vmsig_audit_sync *s;
    uint8_t key[VMSIG_AUDIT_KEY] = {1};
    uint64_t bytes = 0, durable = 0, rotated = 0, seen = 0;
    if (vmsig_audit_sync_new(file(), 0, file(), disk, &s))
        return 1;
    for (uint64_t seq = 1; seq <= ROUNDS; seq++) {
        vmsig_audit_sync_wrote(s, bytes += 10, seq, seq % 3 ? 0 : 1);
        if (seq % 7 == 0)
            vmsig_audit_sync_key(s, seq, seq / 7, key);
        if (seq % 50 == 0 && !vmsig_audit_sync_busy(s)) {
            int next = file();
            int err = vmsig_audit_sync_rotate(s, next);
            assert(err == 0);
            bytes = 0;
            rotated++;
        }
        if (vmsig_audit_sync_state(s, &durable) != 0 || durable > seq)
            return 1;
        if (race)
            seen += synced;
        (void)vmsig_audit_sync_due(s);
    }
    for (int ms = 0; durable < ROUNDS && ms < 20000; ms++) {
        poll(NULL, 0, 1);
        vmsig_audit_sync_state(s, &durable);
    }
    vmsig_audit_sync_free(s, 10000);
    printf("%u syncs, %lu segments, %lu\n", synced, (unsigned long)rotated, (unsigned long)seen);
    return durable == ROUNDS && rotated > 0 ? 0 : 1;
}
