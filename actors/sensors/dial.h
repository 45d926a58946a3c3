/* dial.h: the unix socket on which QEMU offers something of a VM: its console, its display. */
#ifndef VMSIG_DIAL_H
#define VMSIG_DIAL_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "vmsig_actor.h"

typedef struct vmsig_dial {
    struct sockaddr_un at;
    socklen_t len;
} vmsig_dial;

/* PATH, or @NAME of an abstract socket: 0, or -1: it is none. */
int vmsig_dial_parse(vmsig_dial *d, const char *where);

/* Where the actor's own VM offers `what` (console, display): 0, or -1 with a sentence on stderr: it offers none. */
int vmsig_dial_own(vmsig_dial *d, vmsig_actor *actor, const char *what);

/* A non-blocking stream, the caller's, or -errno: nobody listens there, yet. */
int vmsig_dial_connect(const vmsig_dial *d);

/* Arms a timerfd, once; 0 = never. */
void vmsig_dial_arm(int timer, uint64_t ns);
/* Takes what a timerfd says: whether it is due. */
bool vmsig_dial_due(int timer);

#endif
