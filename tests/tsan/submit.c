/* The UP side is called from workers: three threads submit, one takes, policies change meanwhile; under
 * ThreadSanitizer. With the argument "race" the threads share a counter without a lock: that must be reported. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "vmsig_ctx.h"

#define WORKERS 3u
#define EVENTS  20000u

static vmsig_ctx *ctx;
static uint64_t unguarded;

static void *work(void *arg) {
    uint8_t source = *(const uint8_t *)arg;
    for (uint32_t i = 1; i <= EVENTS; i++) {
        vmsig_event ev = {.kind = 64, .source = source, .inln_len = sizeof i};
        memcpy(ev.inln, &i, sizeof i);
        while (vmsig_ctx_submit(ctx, VMSIG_DIR_UP, &ev) < 0)
            ;
    }
    return NULL;
}

static void *race(void *arg) {
    (void)arg;
    for (int i = 0; i < 1000; i++)
        unguarded++;
    return NULL;
}

/* 0: every event of every worker came, in order. */
static int take_all(void) {
    uint32_t last[WORKERS] = {0};
    uint64_t told = 0;
    for (uint64_t turn = 0; told < (uint64_t)WORKERS * EVENTS; turn++) {
        vmsig_event out;
        if (turn % 1000 == 0) {
            vmsig_timing t = {.min_gap_ns = turn % 2000 == 0 ? 10 : 0, .max_inflight = 200, .drop_policy = 2};
            vmsig_ctx_set_policy(ctx, (vmsig_source)8, VMSIG_DIR_UP, VMSIG_PRIO_DEFAULT, &t);
        }
        if (vmsig_ctx_next(ctx, VMSIG_DIR_UP, &out) != 1)
            continue;
        uint32_t n;
        memcpy(&n, out.inln, sizeof n);
        if (n != ++last[out.source - 8])
            return 1;
        told++;
    }
    return 0;
}

int main(int argc, char **argv) {
    pthread_t t[WORKERS];
    uint8_t source[WORKERS];
    bool racing = argc > 1 && strcmp(argv[1], "race") == 0;
    ctx = vmsig_ctx_new();
    for (uint32_t i = 0; i < WORKERS; i++) {
        source[i] = (uint8_t)(8 + i);
        pthread_create(&t[i], NULL, racing ? race : work, &source[i]);
    }
    int bad = racing ? 0 : take_all();
    for (uint32_t i = 0; i < WORKERS; i++)
        pthread_join(t[i], NULL);
    vmsig_ctx_free(ctx);
    if (bad)
        fprintf(stderr, "an event is missing or out of order\n");
    return bad;
}
