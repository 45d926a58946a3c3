#include "supervisor/cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

static void watched(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGCHLD);
}

/* In the child: never returns. What fails is written to `told`, which exec closes. */
static void become(char *const argv[], pid_t parent, int told) {
    sigset_t none;
    sigemptyset(&none);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        if (null != STDIN_FILENO)
            close(null);
    }
    if (getppid() == parent) /* else it died before the death signal was asked for */
        execv(argv[0], argv);
    int err = errno;
    ssize_t n = write(told, &err, sizeof err);
    _exit(n < 0 ? 126 : 127);
}

int vmsig_child_start(vmsig_child *c, char *const argv[]) {
    int told[2], err = 0;
    sigset_t set;
    *c = (vmsig_child){.signals = -1};
    watched(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    c->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (c->signals < 0 || pipe2(told, O_CLOEXEC))
        return -errno;
    pid_t parent = getpid();
    c->pid = fork();
    if (c->pid == 0)
        become(argv, parent, told[1]);
    err = c->pid < 0 ? errno : 0;
    close(told[1]);
    if (err == 0 && read(told[0], &err, sizeof err) > 0)
        waitpid(c->pid, NULL, 0);
    close(told[0]);
    return -err;
}

static void note_end(vmsig_child *c, int options) {
    int status;
    if (c->ended || waitpid(c->pid, &status, options) != c->pid)
        return;
    c->ended = true;
    c->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void vmsig_child_stop(vmsig_child *c) {
    if (c->ended)
        return;
    c->stops++;
    kill(c->pid, SIGTERM);
}

void vmsig_child_signals(vmsig_child *c) {
    struct signalfd_siginfo si;
    while (read(c->signals, &si, sizeof si) == sizeof si)
        if (si.ssi_signo != SIGCHLD)
            vmsig_child_stop(c);
    note_end(c, WNOHANG);
}

void vmsig_child_kill(vmsig_child *c) {
    if (c->ended)
        return;
    kill(c->pid, SIGKILL);
    note_end(c, 0);
}

void vmsig_child_close(vmsig_child *c) {
    if (c->signals >= 0)
        close(c->signals);
    c->signals = -1;
}
