#include "supervisor/keeper/shelf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void close_all(const int *fds, int nfds) {
    for (int i = 0; i < nfds; i++)
        close(fds[i]);
}

static size_t index_of(const vmsig_shelf *s, uint64_t key) {
    size_t i = 0;
    while (i < s->n && s->entries[i].key != key)
        i++;
    return i;
}

static int make_room(vmsig_shelf *s) {
    if (s->n < s->room)
        return 0;
    size_t room = s->room ? s->room * 2 : 64;
    vmsig_shelf_entry *more = realloc(s->entries, room * sizeof *more);
    if (more == NULL)
        return -ENOMEM;
    s->entries = more;
    s->room = room;
    return 0;
}

int vmsig_shelf_put(vmsig_shelf *s, uint64_t key, const void *blob, uint32_t len, const int *fds, int nfds) {
    size_t i = index_of(s, key);
    void *copy = malloc(len ? len : 1);
    if (copy == NULL || (i == s->n && make_room(s))) {
        free(copy);
        close_all(fds, nfds);
        return -ENOMEM;
    }
    if (len > 0)
        memcpy(copy, blob, len);
    vmsig_shelf_entry *e = &s->entries[i];
    if (i == s->n) {
        s->n++;
    } else {
        close_all(e->fds, e->nfds);
        free(e->blob);
    }
    *e = (vmsig_shelf_entry){.key = key, .blob = copy, .len = len, .nfds = nfds};
    memcpy(e->fds, fds, sizeof(int) * (size_t)nfds);
    return 0;
}

void vmsig_shelf_drop(vmsig_shelf *s, uint64_t key) {
    size_t i = index_of(s, key);
    if (i == s->n)
        return;
    close_all(s->entries[i].fds, s->entries[i].nfds);
    free(s->entries[i].blob);
    s->n--;
    memmove(&s->entries[i], &s->entries[i + 1], (s->n - i) * sizeof s->entries[0]);
}

void vmsig_shelf_clear(vmsig_shelf *s) {
    for (size_t i = 0; i < s->n; i++) {
        close_all(s->entries[i].fds, s->entries[i].nfds);
        free(s->entries[i].blob);
    }
    free(s->entries);
    *s = (vmsig_shelf){0};
}
