/* What goes between supervisor and keeper: whose last words are heard though it died with something unread. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "supervisor/keeper/keeper.h"

Test(wire, the_last_words_of_a_dead_supervisor_arrive) {
    vmsig_keeper_msg m = {.op = VMSIG_KEEPER_EXITED}, got;
    int pair[2], fds[VMSIG_KEEPER_FDS], nfds;
    void *blob = malloc(VMSIG_KEEPER_BLOB_MAX);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    cr_assert_eq(vmsig_keeper_send(pair[0], &m, NULL, NULL, 0), 0); /* what it does not read */
    for (uint64_t key = 1; key <= 3; key++) {
        m = (vmsig_keeper_msg){.op = VMSIG_KEEPER_SHELVE, .key = key};
        cr_assert_eq(vmsig_keeper_send(pair[1], &m, NULL, NULL, 0), 0);
    }
    close(pair[1]);
    for (uint64_t key = 1; key <= 3; key++) {
        cr_assert_eq(vmsig_keeper_recv(pair[0], &got, blob, fds, &nfds), 1, "word %d", (int)key);
        cr_expect_eq(got.key, key);
    }
    cr_expect_eq(vmsig_keeper_recv(pair[0], &got, blob, fds, &nfds), 0);
    free(blob);
}
