/* Frames: messages and fds arrive as they were sent; what a hostile peer may send instead is refused and closed. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control.pb-c.h"
#include "schema/frame.h"

static int peer[2]; /* each test runs in a process of its own */
static vmsig_frame f;

static void connect_pair(void) {
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, peer), 0);
}
TestSuite(frame, .init = connect_pair);

static int open_fds(void) {
    DIR *d = opendir("/proc/self/fd");
    int n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void send_raw(const void *bytes, size_t len, int nfds) {
    struct iovec v = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
    char space[CMSG_SPACE(sizeof(int) * 64)] = {0};
    if (nfds > 0) {
        h.msg_control = space;
        h.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)nfds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)nfds);
        for (int i = 0; i < nfds; i++)
            memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &(int){STDIN_FILENO}, sizeof(int));
    }
    cr_assert_eq(sendmsg(peer[0], &h, 0), (ssize_t)len);
}

static Vmsig__Pb__Hello hello(void) {
    Vmsig__Pb__Hello h = VMSIG__PB__HELLO__INIT;
    h.version = 1;
    h.name = (char *)(uintptr_t) "me";
    return h;
}

Test(frame, the_last_words_of_a_peer_that_left_something_unread_arrive) {
    Vmsig__Pb__Hello h = hello();
    for (int peek = 0; peek < 2; peek++) {
        connect_pair();
        cr_assert_eq(vmsig_frame_send(peer[1], &h.base, NULL, 0), 0); /* what it does not read */
        for (int i = 0; i < 3; i++)
            cr_assert_eq(vmsig_frame_send(peer[0], &h.base, NULL, 0), 0);
        close(peer[0]);
        if (peek)
            cr_expect_eq(vmsig_frame_peek(peer[1], &f), 1);
        for (int i = 0; i < 3; i++)
            cr_expect_eq(vmsig_frame_recv(peer[1], &f), 1, "word %d", i);
        cr_expect_eq(vmsig_frame_recv(peer[1], &f), 0);
    }
}

Test(frame, a_message_arrives_with_its_fds) {
    Vmsig__Pb__Hello h = hello();
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC), fds[VMSIG_FRAME_FDS_MAX];
    for (int i = 0; i < VMSIG_FRAME_FDS_MAX; i++)
        fds[i] = null;
    for (int n = 0; n <= VMSIG_FRAME_FDS_MAX; n++) {
        cr_assert_eq(vmsig_frame_send(peer[0], &h.base, fds, n), 0);
        cr_assert_eq(vmsig_frame_recv(peer[1], &f), 1);
        cr_assert_eq(f.nfds, n);
        struct stat a, b;
        fstat(null, &a);
        for (int i = 0; i < n; i++) {
            cr_assert_eq(fstat(f.fds[i], &b), 0);
            cr_expect_eq(a.st_rdev, b.st_rdev);
            cr_expect(fcntl(f.fds[i], F_GETFD) & FD_CLOEXEC);
        }
        Vmsig__Pb__Hello *got = vmsig_frame_unpack(&f, &vmsig__pb__hello__descriptor);
        cr_assert_not_null(got);
        cr_expect_str_eq(got->name, "me");
        protobuf_c_message_free_unpacked(&got->base, NULL);
        vmsig_frame_close_fds(&f);
        cr_expect_eq(f.nfds, 0);
    }
}

Test(frame, what_cannot_be_sent_is_refused) {
    Vmsig__Pb__Hello h = hello();
    int fds[VMSIG_FRAME_FDS_MAX + 1] = {0};
    cr_expect_eq(vmsig_frame_send(peer[0], &h.base, fds, VMSIG_FRAME_FDS_MAX + 1), -EINVAL);
    cr_expect_eq(vmsig_frame_send(peer[0], &h.base, fds, -1), -EINVAL);
    Vmsig__Pb__ToGateway nothing = VMSIG__PB__TO_GATEWAY__INIT;
    cr_expect_eq(vmsig_frame_send(peer[0], &nothing.base, NULL, 0), -EINVAL);
    h.name = malloc(VMSIG_FRAME_MAX + 1);
    memset(h.name, 'x', VMSIG_FRAME_MAX);
    h.name[VMSIG_FRAME_MAX] = '\0';
    cr_expect_eq(vmsig_frame_send(peer[0], &h.base, NULL, 0), -EMSGSIZE);
    h.name[VMSIG_FRAME_MAX - 6] = '\0'; /* version 2 bytes, tag 1, length 3: exactly the limit */
    cr_expect_eq(vmsig_frame_send(peer[0], &h.base, NULL, 0), 0);
    cr_expect_eq(vmsig_frame_recv(peer[1], &f), 1);
    cr_expect_eq(f.len, VMSIG_FRAME_MAX);
    free(h.name);
    close(peer[1]);
    h.name = NULL;
    cr_expect_eq(vmsig_frame_send(peer[0], &h.base, NULL, 0), -EPIPE);
}

Test(frame, a_full_socket_and_an_empty_one_do_not_block) {
    cr_expect_eq(vmsig_frame_recv(peer[1], &f), -EAGAIN);
    Vmsig__Pb__Hello h = hello();
    int err = 0, n;
    for (n = 0; n < 100000 && err == 0; n++)
        err = vmsig_frame_send(peer[0], &h.base, NULL, 0);
    cr_expect_eq(err, -EAGAIN);
    for (int i = 0; i < n - 1; i++)
        cr_assert_eq(vmsig_frame_recv(peer[1], &f), 1);
    cr_expect_eq(vmsig_frame_recv(peer[1], &f), -EAGAIN);
    close(peer[0]);
    cr_expect_eq(vmsig_frame_recv(peer[1], &f), 0);
    cr_expect_eq(vmsig_frame_recv(-1, &f), -EBADF);
}

Test(frame, a_peer_that_leaves_unread_frames_behind_has_closed) {
    Vmsig__Pb__Hello h = hello();
    cr_assert_eq(vmsig_frame_send(peer[1], &h.base, NULL, 0), 0);
    close(peer[0]);
    cr_expect_eq(vmsig_frame_recv(peer[1], &f), 0);
}

Test(frame, other_ancillary_data_is_no_fd) {
    Vmsig__Pb__Hello h = hello();
    cr_assert_eq(setsockopt(peer[1], SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)), 0);
    cr_assert_eq(vmsig_frame_send(peer[0], &h.base, (int[]){STDIN_FILENO}, 1), 0);
    cr_assert_eq(vmsig_frame_recv(peer[1], &f), 1);
    cr_expect_eq(f.nfds, 1);
    vmsig_frame_close_fds(&f);
}

Test(frame, an_oversized_frame_is_refused_and_its_fds_closed) {
    int before = open_fds();
    char *big = calloc(1, VMSIG_FRAME_MAX + 1);
    send_raw(big, VMSIG_FRAME_MAX + 1, 2);
    cr_expect_eq(vmsig_frame_recv(peer[1], &f), -EMSGSIZE);
    cr_expect_eq(f.nfds, 0);
    cr_expect_eq(open_fds(), before);
    free(big);
}

Test(frame, too_many_fds_are_refused_and_all_closed) {
    int before = open_fds();
    send_raw("x", 1, VMSIG_FRAME_FDS_MAX + 1);
    cr_expect_eq(vmsig_frame_recv(peer[1], &f), -EPROTO);
    send_raw("x", 1, 64);
    cr_expect_eq(vmsig_frame_recv(peer[1], &f), -EPROTO);
    send_raw("", 0, 1);
    cr_expect_eq(vmsig_frame_recv(peer[1], &f), -EPROTO);
    cr_expect_eq(open_fds(), before);
}

/* ---- unpacking ------------------------------------------------------------------------------------------ */

static bool unpacks(const void *bytes, size_t len, const ProtobufCMessageDescriptor *type) {
    memcpy(f.bytes, bytes, len);
    f.len = len;
    void *m = vmsig_frame_unpack(&f, type);
    if (m)
        protobuf_c_message_free_unpacked(m, NULL);
    return m != NULL;
}

#define REFUSED(what, bytes)                                                                                           \
    cr_expect(!unpacks(bytes, sizeof bytes - 1, &vmsig__pb__to_gateway__descriptor), "%s was taken", what)
#define TAKEN(what, bytes)                                                                                             \
    cr_expect(unpacks(bytes, sizeof bytes - 1, &vmsig__pb__to_gateway__descriptor), "%s was refused", what)

Test(frame, garbage_is_no_message) {
    TAKEN("hello", "\x0a\x02\x08\x01");
    TAKEN("an unknown varint", "\x0a\x02\x08\x01\x78\x01");
    TAKEN("unknown fixed64 and fixed32", "\x0a\x02\x08\x01\x79zzzzzzzz\x7dzzzz");
    TAKEN("unknown bytes", "\x0a\x02\x08\x01\x7a\x02\xff\xff");
    REFUSED("a length beyond the end", "\x0a\x7f\x08\x01");
    REFUSED("a length of 2^63", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x08\x01");
    REFUSED("a length cut off", "\x0a\x80");
    REFUSED("a varint without an end", "\x0a\x0c\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    REFUSED("a varint cut off", "\x78\x80");
    REFUSED("a tag cut off", "\x80");
    REFUSED("field 0", "\x00\x01");
    REFUSED("a field number beyond 2^29", "\x80\x80\x80\x80\x70\x01");
    REFUSED("a group", "\x0b\x0c");
    REFUSED("wire type 7", "\x0f");
    REFUSED("a fixed64 cut off", "\x79zzz");
    REFUSED("a fixed32 cut off", "\x7dzzz");
    REFUSED("an inner field that reaches beyond its message", "\x0a\x02\x12\x04zzzz");
    REFUSED("an inner varint that reaches beyond its message", "\x0a\x01\x08\x01\x0a\x00");
    REFUSED("without a required field", "\x0a\x00");
    f.len = VMSIG_FRAME_MAX + 1;
    cr_expect_null(vmsig_frame_unpack(&f, &vmsig__pb__to_gateway__descriptor));
}

/* The schema doesn't recurse, so a type that does is made here: message Nest { optional Nest in = 1; } */
typedef struct nest {
    ProtobufCMessage base;
    struct nest *in;
} nest;
static const ProtobufCMessageDescriptor nest_type;
static const ProtobufCFieldDescriptor nest_field = {.name = "in",
                                                    .id = 1,
                                                    .label = PROTOBUF_C_LABEL_OPTIONAL,
                                                    .type = PROTOBUF_C_TYPE_MESSAGE,
                                                    .offset = offsetof(nest, in),
                                                    .descriptor = &nest_type};
static const ProtobufCIntRange nest_ranges[] = {{1, 0}, {0, 1}};
static const unsigned nest_by_name[] = {0};
static void nest_init(ProtobufCMessage *m) {
    *(nest *)m = (nest){.base = PROTOBUF_C_MESSAGE_INIT(&nest_type)};
}
static const ProtobufCMessageDescriptor nest_type = {.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
                                                     .name = "Nest",
                                                     .sizeof_message = sizeof(nest),
                                                     .n_fields = 1,
                                                     .fields = &nest_field,
                                                     .fields_sorted_by_name = nest_by_name,
                                                     .n_field_ranges = 1,
                                                     .field_ranges = nest_ranges,
                                                     .message_init = nest_init};

/* `depth` messages in one another, written from the inside. */
static bool nested(int depth) {
    uint8_t bytes[64];
    size_t at = sizeof bytes;
    for (int i = 1; i < depth; i++) {
        bytes[at - 1] = (uint8_t)(sizeof bytes - at);
        bytes[at - 2] = 0x0a;
        at -= 2;
    }
    return unpacks(bytes + at, sizeof bytes - at, &nest_type);
}

Test(frame, deep_nesting_is_refused) {
    cr_expect(nested(1));
    cr_expect(nested(8));
    cr_expect(!nested(9));
    cr_expect(!nested(30));
}

Test(frame, a_flood_of_small_messages_is_refused) {
    static uint8_t bytes[VMSIG_FRAME_MAX];
    size_t n = 0;
    for (; n < 8190 * 4; n += 4)
        memcpy(bytes + n, "\x0a\x02\x60\x40", 4); /* an Event of nothing but its kind */
    cr_expect(unpacks(bytes, n, &vmsig__pb__events__descriptor));
    for (; n < sizeof bytes; n += 4)
        memcpy(bytes + n, "\x0a\x02\x60\x40", 4);
    cr_expect(!unpacks(bytes, n, &vmsig__pb__events__descriptor));
}
