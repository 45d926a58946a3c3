/* The client of QEMU's protocol on a stream: what is handled, taken, left and refused. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actors/hosts/qemu/qmp.h"

typedef struct ends {
    int here, there; /* the client's, QEMU's */
    vmsig_loop *loop;
    vmsig_qmp *qmp;
    char events[256];
    bool dies; /* in the middle of the first event */
    int ended; /* 1 = not */
    int reply;
} ends;

static void on_event(void *ud, const char *name, const json_t *data) {
    ends *e = ud;
    (void)data;
    if (e->dies)
        _exit(0);
    strcat(e->events, name);
    strcat(e->events, " ");
}

static void on_end(void *ud, int rc) {
    ((ends *)ud)->ended = rc;
}

static void on_reply(void *ud, uint32_t tag, int rc, const json_t *value) {
    (void)tag;
    (void)value;
    ((ends *)ud)->reply = rc;
}

static void client(ends *e) {
    static const vmsig_qmp_ops ops = {.event = on_event, .ended = on_end};
    e->ended = e->reply = 1;
    e->events[0] = 0;
    cr_assert_eq(vmsig_loop_new(&e->loop), 0);
    cr_assert_eq(vmsig_qmp_new(e->loop, e->here, &ops, e, &e->qmp), 0);
}

static void stream(ends *e) {
    int s[2];
    *e = (ends){.dies = false};
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s), 0);
    e->here = s[0];
    e->there = s[1];
}

static void gone(ends *e) {
    vmsig_qmp_free(e->qmp);
    vmsig_loop_free(e->loop);
}

static void says(ends *e, const char *text) {
    cr_assert_eq(write(e->there, text, strlen(text)), (ssize_t)strlen(text));
}

Test(qmp, what_is_not_handled_whole_is_left_to_the_next_client) {
    ends e;
    stream(&e);
    says(&e, "{\"event\": \"SHUTDOWN\"}\r\n{\"event\": \"ST");
    pid_t pid = fork();
    if (pid == 0) {
        e.dies = true;
        client(&e);
        vmsig_qmp_drain(e.qmp);
        _exit(1);
    }
    int status = 1;
    waitpid(pid, &status, 0);
    cr_assert_eq(status, 0);
    client(&e);
    vmsig_qmp_drain(e.qmp);
    cr_expect_str_eq(e.events, "SHUTDOWN ");
    vmsig_qmp_drain(e.qmp);
    says(&e, "OP\"}\r\n");
    vmsig_qmp_drain(e.qmp);
    cr_expect_str_eq(e.events, "SHUTDOWN STOP ");
    gone(&e);
}

Test(qmp, a_long_line_in_many_pieces) {
    ends e;
    stream(&e);
    client(&e);
    static char line[300000];
    memset(line, 'x', sizeof line - 1);
    says(&e, "{\"event\": \"LONG\", \"data\": {\"text\": \"");
    for (int i = 0; i < 5; i++) {
        for (size_t at = 0; at < sizeof line - 1;) {
            ssize_t n = write(e.there, line + at, sizeof line - 1 - at);
            at += n > 0 ? (size_t)n : 0;
            vmsig_qmp_drain(e.qmp);
        }
    }
    says(&e, "\"}}\n{\"event\": \"NEXT\"}\n");
    vmsig_qmp_drain(e.qmp);
    cr_expect_str_eq(e.events, "LONG NEXT ");
    cr_expect_eq(e.ended, 1);
    gone(&e);
}

Test(qmp, no_reply_to_a_former_client_is_taken_for_one) {
    ends e;
    char sent[256] = "";
    stream(&e);
    client(&e);
    cr_assert_eq(vmsig_qmp_send(e.qmp, UINT64_MAX, on_reply, &e, 0, "\"execute\":\"x\""), 0);
    cr_assert_gt(read(e.there, sent, sizeof sent - 1), 0);
    for (int id = 1; id <= 5; id++) {
        char line[64];
        snprintf(line, sizeof line, "{\"return\": {}, \"id\": %d}\n", id);
        says(&e, line);
    }
    vmsig_qmp_drain(e.qmp);
    cr_expect_eq(e.reply, 1, "%s", sent);
    char line[64];
    snprintf(line, sizeof line, "{\"return\": {}, \"id\": %.*s}\n", (int)strcspn(sent + 6, ","), sent + 6);
    says(&e, line);
    vmsig_qmp_drain(e.qmp);
    cr_expect_eq(e.reply, 0, "%s %s", sent, line);
    gone(&e);
}

Test(qmp, what_is_no_qmp_ends_it) {
    static const char *const bad[] = {"hello\n", "[1]\n", "{}\n", "{\"x\": 1}\n", "{\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ends e;
        stream(&e);
        client(&e);
        says(&e, bad[i]);
        vmsig_qmp_drain(e.qmp);
        cr_expect_eq(e.ended, -EPROTO, "%s", bad[i]);
        gone(&e);
    }
}
