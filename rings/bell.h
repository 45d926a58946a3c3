/* bell.h: an eventfd that wakes a sleeper. Rung only when the other side says that it sleeps (ring.h). */
#ifndef VMSIG_BELL_H
#define VMSIG_BELL_H

/* A non-blocking CLOEXEC eventfd, or -errno. */
int vmsig_bell_create(void);
/* Rings; never blocks, never fails in a way that loses the ring. */
void vmsig_bell_ring(int bell);
/* Silences the bell once it has woken. */
void vmsig_bell_clear(int bell);

#endif
