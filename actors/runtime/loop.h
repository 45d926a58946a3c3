/* loop.h: an epoll loop over fds, timers and signals. One thread. After systemd's sd-event: one shape for every source.
 *
 *   run_once:  prepare hooks ──► epoll_wait ──► callbacks of ready fds ──► due timers
 *
 * Errors: 0 or negative errno.
 */
#ifndef VMSIG_LOOP_H
#define VMSIG_LOOP_H

#include <stdbool.h>
#include <stdint.h>

typedef struct vmsig_loop vmsig_loop;
typedef struct vmsig_timer vmsig_timer;

/* events: EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR as epoll reports them. */
typedef void (*vmsig_fd_fn)(void *ud, uint32_t events);
typedef void (*vmsig_timer_fn)(void *ud);
/* Called before the loop would sleep: true = there is work, don't sleep. */
typedef bool (*vmsig_prepare_fn)(void *ud);

int vmsig_loop_new(vmsig_loop **out);
/* Timers are freed before their loop. NULL is allowed. */
void vmsig_loop_free(vmsig_loop *l);

/* Watches fd (which stays the caller's: remove it here before it is closed). A callback may add and remove any fd, its
 * own too. */
int vmsig_loop_add(vmsig_loop *l, int fd, uint32_t events, vmsig_fd_fn fn, void *ud);
int vmsig_loop_modify(vmsig_loop *l, int fd, uint32_t events);
int vmsig_loop_remove(vmsig_loop *l, int fd);

/* A timer, disarmed. */
int vmsig_timer_new(vmsig_loop *l, vmsig_timer_fn fn, void *ud, vmsig_timer **out);
/* Arms it for CLOCK_MONOTONIC deadline_ns (0 disarms); every period_ns after that where period_ns > 0 (missed periods
 * are not made up for). Cheap: one timerfd serves all. */
void vmsig_timer_set(vmsig_timer *t, uint64_t deadline_ns, uint64_t period_ns);
void vmsig_timer_free(vmsig_timer *t);

/* Blocks the signals and delivers them here, through one signalfd per loop. */
int vmsig_loop_signals(vmsig_loop *l, const int *signals, int n, void (*fn)(void *ud, int signo), void *ud);

int vmsig_loop_prepare(vmsig_loop *l, vmsig_prepare_fn fn, void *ud);

/* The loop's own fd, to nest it in another. */
int vmsig_loop_fd(const vmsig_loop *l);

/* One round: waits at most timeout_ms (-1: until something happens; some timer or fd must bound it), handles what is
 * ready. How many callbacks ran, or -errno. */
int vmsig_loop_run_once(vmsig_loop *l, int timeout_ms);

/* CLOCK_MONOTONIC now, in ns. */
uint64_t vmsig_now_ns(void);

#endif
