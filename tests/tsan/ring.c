/* Ring peers as threads, for ThreadSanitizer: both sides are made to use one mapping, or it could not tell that they
 * meet. With the argument `race` the producer touches an event that it has published, which must be reported.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rings/bell.h"
#include "rings/ring.h"
#include "rings/shm.h"

#define EVENTS 60000u

static vmsig_ring_out out;
static vmsig_ring_in in;
static int racy;

static void must(int ok, const char *what) {
    if (!ok) {
        fprintf(stderr, "ring: %s\n", what);
        exit(1);
    }
}

static void open_ring(void) {
    int ring = vmsig_shm_create("tsan-ring", vmsig_ring_bytes(64, 4096));
    int reader = vmsig_shm_create("tsan-reader", VMSIG_READER_BYTES);
    must(ring >= 0 && reader >= 0, "no memory");
    must(vmsig_ring_out_create(&out, ring, 1, 1, 64, 4096, 0, 0) == 0, "ring_out_create");
    must(vmsig_ring_in_create(&in, reader, 0, 0) == 0, "ring_in_create");
    must(vmsig_shm_seal(ring) == 0 && vmsig_shm_seal(reader) == 0, "seal");
    must(vmsig_ring_in_peer(&in, ring, 1) == 0, "ring_in_peer");
    must(vmsig_ring_out_peer(&out, reader) == 0, "ring_out_peer");
    in.chain[0].head = out.head;
    in.chain[0].slots = out.slots;
    in.chain[0].arena = out.arena;
    out.reader = in.reader;
}

static void *produce(void *unused) {
    uint8_t body[64];
    for (uint32_t n = 0; n < EVENTS;) {
        vmsig_event ev = {.seq = n, .kind = 64, .merged = 1, .inln_len = n % 113, .payload = body};
        memset(body, (int)n, sizeof body);
        memset(ev.inln, (int)n, ev.inln_len);
        ev.payload_len = n % 3 == 0 ? sizeof body : 0;
        const uint64_t at = out.tail;
        if (vmsig_ring_put_event(&out, &ev) == 0) {
            if (racy)
                out.slots[at & out.mask].body[0] = 1;
            n++;
        } else {
            vmsig_ring_want_room(&out, 3);
        }
        vmsig_ring_flush(&out);
    }
    return unused;
}

static void *consume(void *unused) {
    for (uint32_t n = 0; n < EVENTS;) {
        vmsig_event ev;
        if (vmsig_ring_peek(&in) == NULL) {
            must(in.poisoned == 0, "poisoned");
            if (!vmsig_ring_sleep(&in))
                vmsig_ring_wake(&in);
            continue;
        }
        must(vmsig_ring_get_event(&in, &ev) == 0, "get_event");
        must(ev.seq == n, "out of order");
        must(ev.inln_len == n % 113 && (ev.inln_len == 0 || racy || ev.inln[0] == (uint8_t)n), "another body");
        must(ev.payload_len == (n % 3 == 0 ? 64 : 0), "another payload");
        must(ev.payload == NULL || ((uint8_t *)ev.payload)[63] == (uint8_t)n, "another payload");
        free(ev.payload);
        vmsig_ring_advance(&in);
        n++;
        if (n % 5 == 0)
            vmsig_ring_release(&in);
    }
    vmsig_ring_release(&in);
    return unused;
}

int main(int argc, char **argv) {
    pthread_t p, c;
    racy = argc > 1 && strcmp(argv[1], "race") == 0;
    open_ring();
    must(pthread_create(&p, NULL, produce, NULL) == 0 && pthread_create(&c, NULL, consume, NULL) == 0, "threads");
    pthread_join(p, NULL);
    pthread_join(c, NULL);
    puts("all events passed");
    return 0;
}
