#include "actors/hosts/qemu/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actors/hosts/qemu/qemu.h"
#include "actors/runtime/runtime.h"
#include "schema/frame.h"

#define BOOT_MS      10000
#define HAND_OVER_MS 2000
#define ORPHANED_MS  60000 /* the supervisor's longest wait before a restart is half of that */
#define TRIES        5
#define KILL_ORDER   "k"

typedef struct keep {
    vmsig_qemu_given given; /* the machine, or why there is none */
    int listener, shim;     /* shim: the process whose name the worker bears */
    pid_t worker;           /* 0 = none */
    int worker_pidfd;
} keep;

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static bool readable(int fd, int ms) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int rc;
    do
        rc = poll(&p, 1, ms);
    while (rc < 0 && errno == EINTR);
    return rc > 0;
}

/* ---- where they meet --------------------------------------------------------------------------------- */

static socklen_t place(const Vmsig__Pb__Boot *boot, struct sockaddr_un *at) {
    *at = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(at->sun_path + 1, sizeof at->sun_path - 1, "vmsig-vm-%016" PRIx64 "-%u", boot->lineage,
                     boot->endpoint);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static bool same_user(int sock) {
    struct ucred peer;
    socklen_t len = sizeof peer;
    return getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.uid == geteuid();
}

static int listen_at(const Vmsig__Pb__Boot *boot) {
    struct sockaddr_un at;
    socklen_t len = place(boot, &at);
    int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (s >= 0 && (bind(s, (struct sockaddr *)&at, len) < 0 || listen(s, 4) < 0))
        close_fd(&s);
    return s;
}

static int connect_to(const Vmsig__Pb__Boot *boot) {
    struct sockaddr_un at;
    socklen_t len = place(boot, &at);
    int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (s >= 0 && (connect(s, (struct sockaddr *)&at, len) < 0 || !same_user(s)))
        close_fd(&s);
    return s;
}

static int send_fd(int sock, int fd) {
    alignas(struct cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {0};
    char byte = 'b';
    struct iovec v = {.iov_base = &byte, .iov_len = 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    return sendmsg(sock, &m, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

/* ---- the worker -------------------------------------------------------------------------------------- */

static _Noreturn void work(keep *k, int boot, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    close_fd(&k->listener);
    close_fd(&k->shim);
    if (boot != VMSIG_BOOT_FD) {
        dup2(boot, VMSIG_BOOT_FD);
        close(boot);
    }
    exit(vmsig_host_actor_run(vmsig_qemu_adopt, &k->given));
}

static int fork_worker(keep *k, int boot) {
    pid_t self = getpid();
    k->worker = fork();
    if (k->worker == 0)
        work(k, boot, self);
    if (k->worker < 0)
        return -1;
    k->given.resumed = true;
    k->worker_pidfd = (int)syscall(SYS_pidfd_open, k->worker, 0);
    return k->worker_pidfd < 0 ? -1 : 0;
}

static int reap_worker(keep *k) {
    int status = 0;
    waitpid(k->worker, &status, 0);
    close_fd(&k->worker_pidfd);
    k->worker = 0;
    return status;
}

static void kill_worker(keep *k) {
    if (k->worker <= 0)
        return;
    kill(k->worker, SIGKILL);
    reap_worker(k);
}

static void tell_end(keep *k, int status) {
    if (k->shim >= 0)
        send(k->shim, &status, sizeof status, MSG_NOSIGNAL | MSG_DONTWAIT);
    close_fd(&k->shim);
}

/* A process that the supervisor started, with its boot socket. What was before it, ends first. */
static bool take_shim(keep *k) {
    vmsig_frame f;
    int s = accept4(k->listener, NULL, NULL, SOCK_CLOEXEC);
    if (s < 0 || !same_user(s) || !readable(s, HAND_OVER_MS) || vmsig_frame_recv(s, &f) <= 0) {
        close_fd(&s);
        return true;
    }
    if (f.nfds != 1) {
        vmsig_frame_close_fds(&f);
        close(s);
        return true;
    }
    kill_worker(k);
    close_fd(&k->shim);
    k->shim = s;
    int rc = fork_worker(k, f.fds[0]);
    vmsig_frame_close_fds(&f);
    return rc == 0;
}

/* ---- the keeper's life ------------------------------------------------------------------------------- */

/* true: it goes on. */
static bool worker_ended(keep *k) {
    int status = reap_worker(k);
    bool nameless = k->shim < 0 || readable(k->shim, 0); /* then even an orderly end was none: it saw its socket end */
    bool kept = (WIFSIGNALED(status) || nameless) && k->given.machine.pid > 0 && !readable(k->given.machine.pidfd, 0);
    if (!kept) {
        close_fd(&k->listener); /* who comes from here on makes a keeper of his own */
        vmsig_machine_end(&k->given.machine);
    }
    tell_end(k, status);
    return kept;
}

static bool ordered_to_kill(const keep *k) {
    char order;
    return recv(k->shim, &order, 1, MSG_DONTWAIT) == 1 && order == KILL_ORDER[0];
}

static bool turn(keep *k) {
    bool orphaned = k->worker == 0;
    struct pollfd p[] = {{.fd = k->listener, .events = POLLIN},
                         {.fd = k->shim, .events = POLLIN},
                         {.fd = k->worker_pidfd, .events = POLLIN},
                         {.fd = orphaned ? k->given.machine.pidfd : -1, .events = POLLIN}};
    int rc = poll(p, 4, orphaned ? ORPHANED_MS : -1);
    if (rc <= 0)
        return rc < 0 && errno == EINTR;
    if (p[3].revents)
        return false;
    if (p[2].revents && !worker_ended(k))
        return false;
    if (p[1].revents && k->shim >= 0 && ordered_to_kill(k)) {
        if (k->given.machine.pid > 0)
            kill(k->given.machine.pid, SIGKILL); /* the worker notices */
    } else if (p[1].revents && k->shim >= 0) {   /* it is gone; the worker has no name any more */
        close_fd(&k->shim);
        if (k->worker > 0)
            kill(k->worker, SIGKILL);
    }
    return !p[0].revents || take_shim(k);
}

static const char *option(void *ud, const char *key) {
    const Vmsig__Pb__Boot *boot = ud;
    for (size_t i = 0; i < boot->n_options; i++)
        if (strcmp(boot->options[i]->key, key) == 0)
            return boot->options[i]->value;
    return NULL;
}

static _Noreturn void keeper(Vmsig__Pb__Boot *boot, int told) {
    keep k = {.shim = -1, .worker_pidfd = -1};
    setsid(); /* the end of the process that started it is not its own */
    prctl(PR_SET_DUMPABLE, 0);
    signal(SIGPIPE, SIG_IGN);
    close(VMSIG_BOOT_FD);
    k.listener = listen_at(boot); /* its number is that of the boot socket: in a worker, nothing else is in the way */
    if (k.listener >= 0 && k.listener != VMSIG_BOOT_FD) {
        dup3(k.listener, VMSIG_BOOT_FD, O_CLOEXEC);
        close(k.listener);
        k.listener = VMSIG_BOOT_FD;
    }
    close(told);
    if (k.listener < 0 || !readable(k.listener, HAND_OVER_MS)) /* another one was faster; or nobody came */
        _exit(1);
    k.given.rc = vmsig_qemu_machine(option, boot, &k.given.machine, k.given.err, sizeof k.given.err);
    while (turn(&k)) {
    }
    kill_worker(&k);
    vmsig_machine_end(&k.given.machine);
    _exit(0);
}

/* ---- the process that the supervisor started --------------------------------------------------------- */

/* Waits until it listens, or has given up. */
static void make_keeper(Vmsig__Pb__Boot *boot) {
    int told[2];
    if (pipe2(told, O_CLOEXEC) < 0)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        close(told[0]);
        keeper(boot, told[1]);
    }
    close(told[1]);
    if (pid > 0)
        readable(told[0], HAND_OVER_MS);
    close(told[0]);
}

/* Ends as the worker did. */
static int end_as(int status) {
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

/* Until the keeper says something; meanwhile the order to kill the VM is passed on. */
static void wait_and_pass_on(int keeper_sock) {
    struct signalfd_siginfo info;
    sigset_t orders;
    sigemptyset(&orders);
    sigaddset(&orders, SIGUSR1);
    sigprocmask(SIG_BLOCK, &orders, NULL);
    struct pollfd p[] = {{.fd = keeper_sock, .events = POLLIN},
                         {.fd = signalfd(-1, &orders, SFD_CLOEXEC | SFD_NONBLOCK), .events = POLLIN}};
    while (p[0].revents == 0) {
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return;
        if (p[1].revents && read(p[1].fd, &info, sizeof info) > 0)
            send(keeper_sock, KILL_ORDER, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

static int stand_for_worker(int keeper_sock) {
    static const int deaf[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE}; /* when it stops is the supervisor's to say */
    int status;
    for (size_t i = 0; i < sizeof deaf / sizeof *deaf; i++)
        signal(deaf[i], SIG_IGN);
    close(VMSIG_BOOT_FD);
    wait_and_pass_on(keeper_sock);
    if (recv(keeper_sock, &status, sizeof status, 0) == (ssize_t)sizeof status)
        return end_as(status);
    fprintf(stderr, "vmsig-host-qemu: the endpoint's keeper has ended, and the VM with it\n");
    return EXIT_FAILURE;
}

/* The first message says who it is; it stays in the socket, for the worker. NULL: there is no supervisor. */
static Vmsig__Pb__ToActor *peek_boot(void) {
    static vmsig_frame f;
    if (!readable(VMSIG_BOOT_FD, BOOT_MS) || vmsig_frame_peek(VMSIG_BOOT_FD, &f) <= 0)
        return NULL;
    vmsig_frame_close_fds(&f);
    Vmsig__Pb__ToActor *m = vmsig_frame_unpack(&f, &vmsig__pb__to_actor__descriptor);
    if (m && m->m_case == VMSIG__PB__TO_ACTOR__M_BOOT)
        return m;
    if (m)
        protobuf_c_message_free_unpacked(&m->base, NULL);
    return NULL;
}

int vmsig_qemu_keep_main(void) {
    struct stat st;
    Vmsig__Pb__ToActor *m = fstat(VMSIG_BOOT_FD, &st) == 0 && S_ISSOCK(st.st_mode) ? peek_boot() : NULL;
    if (!m) /* the runtime says what is wrong */
        return vmsig_host_actor_main(vmsig_qemu_make);
    if (option(m->boot, VMSIG_QEMU_ATTACH)) { /* nothing to keep */
        protobuf_c_message_free_unpacked(&m->base, NULL);
        return vmsig_host_actor_main(vmsig_qemu_attach_make);
    }
    prctl(PR_SET_DUMPABLE, 0);
    int code = EXIT_FAILURE, sock = -1;
    for (int i = 0; i < TRIES && sock < 0; i++) { /* one that is about to end takes nobody in */
        sock = connect_to(m->boot);
        if (sock < 0)
            make_keeper(m->boot);
        else if (send_fd(sock, VMSIG_BOOT_FD) < 0)
            close_fd(&sock);
    }
    if (sock < 0)
        fprintf(stderr, "%s: no keeper for its VM can be made: %s\n", m->boot->name, strerror(errno));
    else
        code = stand_for_worker(sock);
    protobuf_c_message_free_unpacked(&m->base, NULL);
    return code;
}
