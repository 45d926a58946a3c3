#include "actors/hosts/qemu/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u /* Linux 6.3 */
#endif

#define SEALS_WRITE    (F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)
#define FD_ASIDE       64
#define QUIT_MS        1000
#define END_TIMEOUT_MS 5000

/* ---- RAM --------------------------------------------------------------------------------------------- */

/* Not allocated in full like other shared memory: a guest may never touch most of it. */
static int make_ram(vmsig_machine *m) {
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    m->ram_fd = memfd_create("vmsig-qemu-ram", flags | MFD_NOEXEC_SEAL);
    if (m->ram_fd < 0 && errno == EINVAL) /* a kernel that does not know the flag */
        m->ram_fd = memfd_create("vmsig-qemu-ram", flags);
    if (m->ram_fd < 0 || fchmod(m->ram_fd, 0600) < 0 || ftruncate(m->ram_fd, (off_t)m->bytes) < 0 ||
        fcntl(m->ram_fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0)
        return -errno;
    void *map = mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m->ram_fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    m->ram = map;
    return madvise(map, m->bytes, MADV_DONTDUMP) < 0 ? -errno : 0;
}

int vmsig_machine_seal(const vmsig_machine *m) {
    int seals = fcntl(m->ram_fd, F_GET_SEALS);
    if (seals < 0)
        return -errno;
    if ((seals & SEALS_WRITE) == SEALS_WRITE)
        return 0;
    return fcntl(m->ram_fd, F_ADD_SEALS, SEALS_WRITE) < 0 ? -errno : 0;
}

int vmsig_machine_ram(const vmsig_machine *m) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", m->ram_fd);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* ---- the process ------------------------------------------------------------------------------------- */

static void restore_signals(void) {
    sigset_t none;
    sigemptyset(&none);
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Every fd to a number that cannot be in the way, then to its place: dup2 drops CLOEXEC. */
static int place_fds(const vmsig_machine *m, int qmp, int log) {
    int ram = fcntl(m->ram_fd, F_DUPFD_CLOEXEC, FD_ASIDE);
    qmp = fcntl(qmp, F_DUPFD_CLOEXEC, FD_ASIDE);
    log = fcntl(log, F_DUPFD_CLOEXEC, FD_ASIDE);
    if (ram < 0 || qmp < 0 || log < 0 || close_range(3, FD_ASIDE - 1, CLOSE_RANGE_CLOEXEC) < 0)
        return -1;
    if (dup2(ram, VMSIG_QEMU_RAM_FD) < 0 || dup2(qmp, VMSIG_QEMU_QMP_FD) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
        return -1;
    return close_range(FD_ASIDE, ~0u, CLOSE_RANGE_CLOEXEC);
}

static _Noreturn void child(const vmsig_machine *m, char **argv, pid_t parent, int qmp, int log) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    umask(0007); /* its sockets are for its group, too: the endpoint's sensors */
    if (getppid() == parent && place_fds(m, qmp, log) == 0) {
        restore_signals();
        execvp(argv[0], argv);
        dprintf(2, "%s: %s\n", argv[0], strerror(errno));
    }
    _exit(127);
}

static int set_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

static int spawn(vmsig_machine *m, char **argv, int qmp, int log) {
    pid_t self = getpid();
    m->pid = fork();
    if (m->pid == 0)
        child(m, argv, self, qmp, log);
    if (m->pid < 0)
        return -errno;
    m->pidfd = (int)syscall(SYS_pidfd_open, m->pid, 0);
    return m->pidfd < 0 ? -errno : 0;
}

static int start(vmsig_machine *m, char **argv) {
    int stream[2], log[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream) < 0)
        return -errno;
    m->qmp_fd = stream[0];
    int rc = pipe2(log, O_CLOEXEC) < 0 ? -errno : 0;
    if (rc == 0) {
        m->log_fd = log[0];
        rc = spawn(m, argv, stream[1], log[1]);
        close(log[1]);
    }
    close(stream[1]);
    if (rc == 0)
        rc = set_nonblocking(m->qmp_fd);
    return rc == 0 ? set_nonblocking(m->log_fd) : rc;
}

void vmsig_machine_none(vmsig_machine *m) {
    *m = (vmsig_machine){.ram_fd = -1, .qmp_fd = -1, .log_fd = -1, .pidfd = -1};
}

int vmsig_machine_start(const vmsig_qemu_options *o, vmsig_machine *m, char *err, size_t err_len) {
    vmsig_machine_none(m);
    m->bytes = o->memory;
    int rc = make_ram(m);
    if (rc < 0) {
        snprintf(err, err_len, "the VM's RAM of %" PRIu64 "M: %s", o->memory >> 20, strerror(-rc));
    } else {
        char **argv = vmsig_qemu_argv(o);
        rc = argv ? start(m, argv) : -ENOMEM;
        vmsig_qemu_argv_free(argv);
        if (rc < 0)
            snprintf(err, err_len, "%s cannot be started: %s", o->program, strerror(-rc));
    }
    if (rc < 0)
        vmsig_machine_end(m);
    return rc;
}

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Whatever was said before on the stream, by whom ever. A QEMU that nobody has greeted yet wants that first. */
static void ask_to_quit(const vmsig_machine *m) {
    static const char words[] = "\xff\n{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"quit\"}\n";
    struct pollfd p = {.fd = m->pidfd, .events = POLLIN};
    if (m->qmp_fd >= 0 && m->pidfd >= 0 &&
        send(m->qmp_fd, words, sizeof words - 1, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof words - 1)
        poll(&p, 1, QUIT_MS);
}

void vmsig_machine_end(vmsig_machine *m) {
    if (m->pid > 0) {
        ask_to_quit(m);
        kill(m->pid, SIGKILL);
        struct pollfd p = {.fd = m->pidfd, .events = POLLIN};
        if (m->pidfd < 0 || poll(&p, 1, END_TIMEOUT_MS) > 0) /* else it hangs in the kernel: init will have it */
            waitpid(m->pid, NULL, 0);
    }
    if (m->ram)
        munmap(m->ram, m->bytes);
    close_fd(&m->ram_fd);
    close_fd(&m->qmp_fd);
    close_fd(&m->log_fd);
    close_fd(&m->pidfd);
    vmsig_machine_none(m);
}
