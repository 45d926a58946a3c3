#include "supervisor/keeper/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXEC_DEADLINE_MS 10000

typedef struct failure {
    int error;
    char step[32];
} failure;

enum { FD_GIVEN = 3, FD_PROGRAM = 4, FD_REPORT = 5, FD_FREE = 6, FD_ASIDE = 16 };

static _Noreturn void give_up(int report, const char *step) {
    failure f = {.error = errno};
    snprintf(f.step, sizeof f.step, "%s", step);
    ssize_t n = write(report, &f, sizeof f);
    (void)n;
    _exit(127);
}

/* The fds to 3, 4 and 5, whatever their numbers were; all others closed. */
static int place_fds(const vmsig_spawn *s, int *report) {
    int given = fcntl(s->fd3, F_DUPFD_CLOEXEC, FD_ASIDE);
    int program = fcntl(s->program, F_DUPFD_CLOEXEC, FD_ASIDE);
    int tell = fcntl(*report, F_DUPFD_CLOEXEC, FD_ASIDE);
    if (given < 0 || program < 0 || tell < 0)
        return -1;
    *report = tell;
    if (dup2(given, FD_GIVEN) < 0 || dup3(program, FD_PROGRAM, O_CLOEXEC) < 0 || dup3(tell, FD_REPORT, O_CLOEXEC) < 0)
        return -1;
    *report = FD_REPORT;
    return close_range(FD_FREE, ~0u, 0);
}

static void become(const vmsig_spawn *s, int report) {
    if (s->gid != UINT32_MAX && (setgroups(0, NULL) || setresgid(s->gid, s->gid, s->gid)))
        give_up(report, "gid");
    if (s->uid != UINT32_MAX && setresuid(s->uid, s->uid, s->uid))
        give_up(report, "uid");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        give_up(report, "no_new_privs");
}

static void pin(int cpu, int report) {
    if (cpu < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set))
        give_up(report, "cpu");
}

static void reset_signals(const sigset_t *blocked, int report) {
    struct sigaction by_default = {.sa_handler = SIG_DFL};
    for (int i = 1; i < NSIG; i++)
        sigaction(i, &by_default, NULL);
    if (sigprocmask(SIG_SETMASK, blocked, NULL))
        give_up(report, "signals");
}

static _Noreturn void child(const vmsig_spawn *s, int report) {
    char link[32], path[4096];
    if (setsid() < 0)
        give_up(report, "setsid");
    if (s->folder >= 0 && fchdir(s->folder))
        give_up(report, "working folder");
    if (place_fds(s, &report))
        give_up(report, "fds");
    /* Looked up now: the new uid may not be able to. */
    snprintf(link, sizeof link, "/proc/self/fd/%d", FD_PROGRAM);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    pin(s->cpu, report);
    reset_signals(s->blocked, report);
    become(s, report);
    execveat(FD_PROGRAM, "", s->argv, s->env, AT_EMPTY_PATH);
    if (errno == ENOENT) /* a script: its interpreter needs a path */
        execve(path, s->argv, s->env);
    give_up(report, "exec");
}

/* 0: it runs. Else the errno. */
static int await_exec(int report, char *step) {
    failure f = {.error = ETIMEDOUT, .step = "exec"};
    struct pollfd p = {.fd = report, .events = POLLIN};
    int ready;
    do
        ready = poll(&p, 1, EXEC_DEADLINE_MS);
    while (ready < 0 && errno == EINTR);
    if (ready > 0 && read(report, &f, sizeof f) != (ssize_t)sizeof f)
        return 0;
    memcpy(step, f.step, sizeof f.step);
    return f.error;
}

pid_t vmsig_spawn_process(const vmsig_spawn *s, int *pidfd, char *step) {
    int report[2];
    snprintf(step, 32, "fork");
    if (pipe2(report, O_CLOEXEC))
        return -errno;
    pid_t pid = fork();
    if (pid == 0)
        child(s, report[1]);
    int error = pid < 0 ? errno : 0;
    close(report[1]);
    if (error == 0 && (*pidfd = (int)syscall(SYS_pidfd_open, pid, 0)) < 0)
        error = errno;
    else if (error == 0 && (error = await_exec(report[0], step)) != 0)
        close(*pidfd);
    close(report[0]);
    if (error == 0)
        return pid;
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    *pidfd = -1;
    return -error;
}
