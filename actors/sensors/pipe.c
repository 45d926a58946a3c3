/* The lines that a command writes, as events. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "actors/sensors/lines.h"
#include "actors/sensors/sensor.h"
#include "vmsig_actor.h"

#define EXIT_NO_EXEC 127 /* as a shell has it */
#define GRACE_MS     500 /* between SIGTERM and SIGKILL */

typedef struct pipe_sensor {
    vmsig_actor *actor;
    const char *command;
    pid_t pid;
    int pidfd;
    int out; /* the command's output, -1 once it has ended */
    vmsig_lines lines;
} pipe_sensor;

static void say(const pipe_sensor *s, const char *what, const char *why) {
    fprintf(stderr, "%s: %s %s%s\n", vmsig_actor_name(s->actor), s->command, what, why);
}

/* ---- its output -------------------------------------------------------------------------------------- */

static void output_ended(pipe_sensor *s) {
    vmsig_lines_end(&s->lines);
    vmsig_actor_unwatch(s->actor, s->out);
    close(s->out);
    s->out = -1;
}

static void on_output(vmsig_actor *a, void *ud) {
    (void)a;
    pipe_sensor *s = ud;
    ssize_t n = vmsig_lines_read(&s->lines, s->out);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        output_ended(s);
}

/* ---- the command's end ------------------------------------------------------------------------------- */

static int exit_code(int status) {
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void say_end(const pipe_sensor *s, int status) {
    char why[64];
    if (WIFSIGNALED(status))
        snprintf(why, sizeof(why), "by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(why, sizeof(why), "with exit code %d", WEXITSTATUS(status));
    say(s, "ended ", why);
}

static void on_end(vmsig_actor *a, void *ud) {
    pipe_sensor *s = ud;
    int status;
    if (waitpid(s->pid, &status, WNOHANG) != s->pid)
        return;
    s->pid = 0;
    while (s->out >= 0 && vmsig_lines_read(&s->lines, s->out) > 0) {
    }
    if (s->out >= 0)
        output_ended(s);
    say_end(s, status);
    vmsig_actor_stop(a, exit_code(status));
}

/* The sensor was told to stop: so is the command. */
static void end_command(pipe_sensor *s) {
    if (s->pid <= 0)
        return;
    kill(s->pid, SIGTERM);
    struct pollfd p = {.fd = s->pidfd, .events = POLLIN};
    if (poll(&p, 1, GRACE_MS) <= 0)
        kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
}

/* ---- its start --------------------------------------------------------------------------------------- */

/* The child: it stays in the sensor's process group, which the keeper kills as a whole. */
static _Noreturn void become(char **argv, int out, int why, pid_t parent) {
    const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
        signal(ignored[i], SIG_DFL);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it died before that was said */
        _exit(EXIT_NO_EXEC);
    if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0)
        execvp(argv[0], argv);
    int err = errno;
    ssize_t told = write(why, &err, sizeof(err));
    _exit(told < 0 ? 1 : EXIT_NO_EXEC);
}

/* 0, or the errno of what failed, up to the exec itself. */
static int start(pipe_sensor *s, char **argv) {
    int out[2], why[2], err = 0;
    if (pipe2(out, O_CLOEXEC) < 0)
        return errno;
    if (pipe2(why, O_CLOEXEC) < 0) {
        err = errno;
        close(out[0]);
        close(out[1]);
        return err;
    }
    pid_t parent = getpid();
    s->pid = fork();
    if (s->pid == 0)
        become(argv, out[1], why[1], parent);
    if (s->pid < 0)
        err = errno;
    close(out[1]);
    close(why[1]);
    if (!err && read(why[0], &err, sizeof(err)) < 0)
        err = errno;
    close(why[0]);
    if (err && s->pid > 0)
        waitpid(s->pid, NULL, 0);
    if (err)
        s->pid = 0;
    s->out = out[0];
    fcntl(s->out, F_SETFL, O_NONBLOCK);
    return err;
}

static int watch(pipe_sensor *s) {
    s->pidfd = (int)syscall(SYS_pidfd_open, s->pid, 0);
    if (s->pidfd < 0 || fcntl(s->pidfd, F_SETFD, FD_CLOEXEC) < 0)
        return -1;
    if (vmsig_actor_watch(s->actor, s->out, on_output, s) < 0)
        return -1;
    return vmsig_actor_watch(s->actor, s->pidfd, on_end, s);
}

static int run(pipe_sensor *s, char **argv) {
    int err = start(s, argv);
    if (err) {
        say(s, "cannot be run: ", strerror(err));
        return EXIT_NO_EXEC;
    }
    if (watch(s) == 0)
        return vmsig_actor_run(s->actor);
    say(s, "cannot be watched: ", strerror(errno));
    return EXIT_FAILURE;
}

int vmsig_sensor_pipe(char **argv) {
    pipe_sensor s = {.command = argv[0], .pidfd = -1, .out = -1};
    s.actor = vmsig_actor_open();
    if (!s.actor)
        return errno == ENOTCONN ? EX_USAGE : EXIT_FAILURE;
    int code = EXIT_FAILURE;
    if (vmsig_lines_open(&s.lines, s.actor, s.command) == 0)
        code = run(&s, argv);
    else
        say(&s, "cannot be run: ", strerror(ENOMEM));
    end_command(&s);
    vmsig_actor_free(s.actor);
    if (s.out >= 0)
        close(s.out);
    if (s.pidfd >= 0)
        close(s.pidfd);
    vmsig_lines_close(&s.lines);
    return code;
}
