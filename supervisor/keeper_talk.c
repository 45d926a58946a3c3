/* What is said to the keeper, and what it says while the loop runs. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "supervisor/supervisor.h"

static void lose_keeper(vmsig_sup *s) {
    vmsig_loop_remove(s->loop, s->keeper);
    vmsig_sup_close(&s->keeper);
    s->keeper_lost = true;
}

int vmsig_sup_tell_keeper(vmsig_sup *s, const vmsig_keeper_msg *m, const void *blob, const int *fds, int nfds) {
    if (s->keeper < 0)
        return -ENOTCONN;
    int rc = vmsig_keeper_send(s->keeper, m, blob, fds, nfds);
    if (rc == 0)
        return 0;
    vmsig_sup_say("the keeper cannot be told: %s", strerror(-rc));
    lose_keeper(s);
    return rc;
}

static bool put_string(char *blob, uint32_t *len, const char *text) {
    size_t n = strlen(text) + 1;
    if (*len + n > VMSIG_KEEPER_BLOB_MAX)
        return false;
    memcpy(blob + *len, text, n);
    *len += (uint32_t)n;
    return true;
}

int vmsig_sup_pack_command(char *const argv[], char *const env[], char *blob, vmsig_keeper_msg *m) {
    m->len = 0;
    for (m->arg = 0; argv[m->arg] != NULL; m->arg++)
        if (!put_string(blob, &m->len, argv[m->arg]))
            return -E2BIG;
    for (char *const *e = env; e != NULL && *e != NULL; e++)
        put_string(blob, &m->len, *e); /* one that has no room is one that is not there */
    return 0;
}

static void handle(vmsig_sup *s, const vmsig_keeper_msg *m, const char *blob, int *fds, int nfds) {
    vmsig_sup_actor *a = m->key < s->topo->actors_n ? &s->actors[m->key] : NULL;
    bool mine = a != NULL && a->process && (m->op == VMSIG_KEEPER_SPAWNED || m->pid == a->pid);
    if (m->key == VMSIG_SUP_ASKED_KEY && m->op == VMSIG_KEEPER_SPAWNED) {
        vmsig_sup_upgrade_spawned(s, m, nfds == 1 ? fds[0] : -1, m->len ? blob : "");
        nfds = 0;
    } else if (m->key == VMSIG_SUP_ASKED_KEY && m->op == VMSIG_KEEPER_EXITED) {
        vmsig_sup_upgrade_ended(s, (int)m->arg);
    } else if (mine && m->op == VMSIG_KEEPER_SPAWNED) {
        vmsig_sup_spawned(a, m, nfds == 1 ? fds[0] : -1, m->len ? blob : "");
        nfds = m->pid == 0 ? nfds : 0; /* the pidfd is the actor's now */
    } else if (mine && m->op == VMSIG_KEEPER_EXITED) {
        vmsig_sup_exited(a, (int)m->arg);
    }
    for (int i = 0; i < nfds; i++)
        close(fds[i]);
}

static void on_keeper(void *sup, uint32_t events) {
    (void)events;
    vmsig_sup *s = sup;
    char blob[VMSIG_KEEPER_BLOB_MAX + 1];
    while (s->keeper >= 0) {
        vmsig_keeper_msg m;
        int fds[VMSIG_KEEPER_FDS], nfds;
        int rc = vmsig_keeper_recv(s->keeper, &m, blob, fds, &nfds);
        if (rc == -EAGAIN)
            return;
        if (rc <= 0) {
            vmsig_sup_say("the keeper is gone: stopping everything");
            lose_keeper(s);
            return;
        }
        blob[m.len] = 0;
        handle(s, &m, blob, fds, nfds);
    }
}

int vmsig_sup_watch_keeper(vmsig_sup *s) {
    return vmsig_loop_add(s->loop, s->keeper, EPOLLIN, on_keeper, s);
}
