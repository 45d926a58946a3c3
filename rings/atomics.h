/* atomics.h: the one file of atomics: libck's ck_pr, with what ThreadSanitizer must be told, since it cannot read ck's
 * inline assembly. Nothing else in the tree includes ck_pr.h.
 */
#ifndef VMSIG_ATOMICS_H
#define VMSIG_ATOMICS_H

#include <ck_pr.h>
#include <sched.h>
#include <stdint.h>
#include <sys/single_threaded.h>

#if defined(__SANITIZE_THREAD__)
#define VMSIG_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define VMSIG_TSAN 1
#endif
#endif

#ifdef VMSIG_TSAN
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define VMSIG_TSAN_ACQUIRE(p) __tsan_acquire((void *)(uintptr_t)(p))
#define VMSIG_TSAN_RELEASE(p) __tsan_release((void *)(uintptr_t)(p))
#else
#define VMSIG_TSAN_ACQUIRE(p) ((void)0)
#define VMSIG_TSAN_RELEASE(p) ((void)0)
#endif

static inline uint64_t vmsig_load64(const uint64_t *p) {
    return ck_pr_load_64(p);
}
static inline uint32_t vmsig_load32(const uint32_t *p) {
    return ck_pr_load_32(p);
}
static inline uint16_t vmsig_load16(const uint16_t *p) {
    return ck_pr_load_16(p);
}
static inline uint8_t vmsig_load8(const uint8_t *p) {
    return ck_pr_load_8(p);
}
static inline void vmsig_store64(uint64_t *p, uint64_t v) {
    ck_pr_store_64(p, v);
}
static inline void vmsig_store32(uint32_t *p, uint32_t v) {
    ck_pr_store_32(p, v);
}
static inline void vmsig_store16(uint16_t *p, uint16_t v) {
    ck_pr_store_16(p, v);
}
static inline void vmsig_store8(uint8_t *p, uint8_t v) {
    ck_pr_store_8(p, v);
}

/* What follows in program order is not done before the load. */
static inline uint64_t vmsig_load64_acquire(const uint64_t *p) {
    uint64_t v = ck_pr_load_64(p);
    ck_pr_fence_load();
    ck_pr_fence_load_store();
    VMSIG_TSAN_ACQUIRE(p);
    return v;
}
static inline uint32_t vmsig_load32_acquire(const uint32_t *p) {
    uint32_t v = ck_pr_load_32(p);
    ck_pr_fence_load();
    ck_pr_fence_load_store();
    VMSIG_TSAN_ACQUIRE(p);
    return v;
}
/* What precedes in program order is visible before the store. */
static inline void vmsig_store64_release(uint64_t *p, uint64_t v) {
    VMSIG_TSAN_RELEASE(p);
    ck_pr_fence_store();
    ck_pr_fence_load_store();
    ck_pr_store_64(p, v);
}
static inline void vmsig_store32_release(uint32_t *p, uint32_t v) {
    VMSIG_TSAN_RELEASE(p);
    ck_pr_fence_store();
    ck_pr_fence_load_store();
    ck_pr_store_32(p, v);
}
/* Stores before it are visible before loads after it: the one fence that x86 needs for Dekker. There a locked operation
 * on a line of one's own does it at a ninth of what mfence takes; it differs for non-temporal stores alone, of which
 * there are none here. */
static inline void vmsig_fence_full(void) {
#if defined(__x86_64__)
    uint64_t own = 0;
    ck_pr_add_64(&own, 1);
#else
    ck_pr_fence_memory();
#endif
}
/* One breath of a spin loop. */
static inline void vmsig_pause(void) {
    ck_pr_stall();
}

/* A lock for sections of some tens of nanoseconds, among threads of one process. A thread that waits long lets others
 * run: the holder may have been preempted. As long as the process has one thread (libc knows), it is taken by a plain
 * store: a thread that starts later sees that. */
typedef struct vmsig_spin {
    uint32_t taken;
} vmsig_spin;

static __attribute__((noinline, unused)) void vmsig_spin_wait(vmsig_spin *l) {
    unsigned turns = 1;
    do {
        while (ck_pr_load_32(&l->taken) != 0) {
            if (turns++ % 64u == 0)
                sched_yield();
            ck_pr_stall();
        }
    } while (ck_pr_fas_32(&l->taken, 1) != 0);
}
static inline void vmsig_spin_lock(vmsig_spin *l) {
    if (__libc_single_threaded) {
        ck_pr_store_32(&l->taken, 1);
    } else {
        if (ck_pr_fas_32(&l->taken, 1) != 0)
            vmsig_spin_wait(l);
        ck_pr_fence_lock();
    }
    VMSIG_TSAN_ACQUIRE(l);
}
static inline void vmsig_spin_unlock(vmsig_spin *l) {
    VMSIG_TSAN_RELEASE(l);
    ck_pr_fence_unlock();
    ck_pr_store_32(&l->taken, 0);
}

#endif
