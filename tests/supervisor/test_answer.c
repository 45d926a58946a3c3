/* A supervisor's answer of any size. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rings/shm.h"
#include "supervisor/client/answer.h"

static int ends[2];

static void setup(void) {
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
}
TestSuite(answer, .init = setup);

static Vmsig__Pb__Response *receive(void) {
    static vmsig_frame f;
    cr_assert_eq(vmsig_frame_recv(ends[1], &f), 1);
    return vmsig_answer_unpack(&f);
}

/* A status of n actors, there and back; how many came. */
static size_t there_and_back(size_t n) {
    Vmsig__Pb__Response r = VMSIG__PB__RESPONSE__INIT;
    Vmsig__Pb__Status s = VMSIG__PB__STATUS__INIT;
    Vmsig__Pb__StatusActor *actors = calloc(n, sizeof *actors), **list = calloc(n, sizeof *list);
    char(*names)[32] = calloc(n, sizeof *names), word[] = "ready";
    for (size_t i = 0; i < n; i++) {
        vmsig__pb__status_actor__init(&actors[i]);
        snprintf(names[i], sizeof names[i], "a-sensor-of-a-long-name-%zu", i);
        actors[i].name = names[i];
        actors[i].kind = actors[i].state = word;
        list[i] = &actors[i];
    }
    s.name = s.topology = s.state = word;
    s.actors = list;
    s.n_actors = n;
    r.status = &s;
    cr_assert_eq(vmsig_answer_send(ends[0], &r), 0);
    Vmsig__Pb__Response *got = receive();
    cr_assert_not_null(got);
    cr_assert_not_null(got->status);
    size_t came = got->status->n_actors;
    cr_expect_str_eq(got->status->actors[came - 1]->name, names[n - 1]);
    vmsig__pb__response__free_unpacked(got, NULL);
    free(actors);
    free(list);
    free(names);
    return came;
}

Test(answer, of_a_few_actors_fits_a_frame) {
    cr_expect_eq(there_and_back(3), 3);
}

Test(answer, of_two_thousand_comes_as_a_whole) {
    cr_expect_eq(there_and_back(2000), 2000);
}

/* What a note says that leads elsewhere. */
static Vmsig__Pb__Response *led_to(int fd, uint32_t large) {
    Vmsig__Pb__Response note = VMSIG__PB__RESPONSE__INIT;
    note.has_large = 1;
    note.large = large;
    cr_assert_eq(vmsig_frame_send(ends[0], &note.base, &fd, fd >= 0), 0);
    return receive();
}

Test(answer, that_leads_nowhere_is_none) {
    cr_expect_null(led_to(-1, 100));
}

Test(answer, in_memory_that_may_still_change_is_none) {
    int fd = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    cr_assert_eq(ftruncate(fd, 4096), 0);
    cr_expect_null(led_to(fd, 100));
}

Test(answer, larger_than_its_memory_is_none) {
    int fd = vmsig_shm_create("small", 4096);
    cr_assert_eq(vmsig_shm_seal(fd), 0);
    cr_expect_null(led_to(fd, 8192));
    cr_expect_null(led_to(fd, VMSIG_ANSWER_MAX + 1));
}
