#include "supervisor/keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "supervisor/keeper/orphans.h"
#include "supervisor/keeper/program.h"
#include "supervisor/keeper/shelf.h"
#include "supervisor/keeper/spawn.h"

#define MS               1000000ull
#define STOP_DEADLINE_NS (60000 * MS) /* of the whole topology, after the first signal */
#define LEFT_GRACE_NS    (1000 * MS)  /* of what the supervisor left behind */
#define KILL_DEADLINE_NS (5000 * MS)
#define BACKOFF_NS       (100 * MS)
#define BACKOFF_MAX_NS   (5000 * MS)
#define STABLE_NS        (10000 * MS)
#define STREAK_MAX       10

extern char **environ;

/* A process that a supervisor asked for. It is forgotten when its end, or that it could not be started, was told. */
typedef struct proc {
    uint64_t key;
    pid_t pid; /* 0: it could not be started */
    int pidfd;
    int error; /* why it could not be */
    char step[32];
    bool ended;
    int status;
    bool told_spawned, told_ended;
} proc;

typedef struct keeper {
    vmsig_program program; /* the supervisor's */
    vmsig_program next;    /* of an upgrade under way */
    uint64_t upgrade;      /* the last one's number; 0 = there was none */
    uint32_t trial_ms;     /* how long the next may take to take over */
    uint64_t trial_ns;     /* until when it may; 0 = it is not tried */
    bool trial_over;       /* it was killed for that */
    char upgrade_why[256]; /* why the last one failed */
    pid_t supervisor;      /* 0 = none now */
    int supervisor_pidfd;
    int sock;             /* -1 = none */
    uint64_t started_ns;  /* the supervisor */
    uint64_t restart_ns;  /* when to start it again; 0 = it runs */
    unsigned starts;      /* supervisors so far */
    unsigned streak;      /* of crashes, each soon after its start */
    size_t synced;        /* entries of the shelf that the supervisor was sent */
    bool told_all;        /* it was sent END */
    bool stopping;        /* a signal came */
    uint64_t deadline_ns; /* then: of everything */
    proc *procs;
    size_t procs_n, procs_room;
    vmsig_shelf shelf;
    int signals;
    bool decided;
    int exit_code;
    unsigned char blob[VMSIG_KEEPER_BLOB_MAX];
} keeper;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...) {
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    fprintf(stderr, "keeper: %s\n", line);
}

static void decide(keeper *k, int exit_code) {
    k->decided = true;
    k->exit_code = exit_code;
}

/* ---- processes ---------------------------------------------------------------------------------------- */

static proc *proc_by_key(keeper *k, uint64_t key) {
    for (size_t i = 0; i < k->procs_n; i++)
        if (k->procs[i].key == key)
            return &k->procs[i];
    return NULL;
}

static proc *proc_by_pid(keeper *k, pid_t pid) {
    for (size_t i = 0; i < k->procs_n; i++)
        if (k->procs[i].pid == pid && !k->procs[i].ended)
            return &k->procs[i];
    return NULL;
}

static proc *proc_add(keeper *k, uint64_t key) {
    if (k->procs_n == k->procs_room) {
        size_t room = k->procs_room ? k->procs_room * 2 : 32;
        proc *more = realloc(k->procs, room * sizeof *more);
        if (more == NULL)
            return NULL;
        k->procs = more;
        k->procs_room = room;
    }
    proc *p = &k->procs[k->procs_n++];
    *p = (proc){.key = key, .pidfd = -1};
    return p;
}

static void proc_forget(keeper *k, proc *p) {
    if (p->pidfd >= 0)
        close(p->pidfd);
    size_t i = (size_t)(p - k->procs);
    k->procs_n--;
    memmove(p, p + 1, (k->procs_n - i) * sizeof *p);
}

static void spawn(keeper *k, const vmsig_keeper_msg *m, const int *fds, int nfds) {
    proc *p = proc_add(k, m->key);
    if (p == NULL)
        return; /* the supervisor's own deadline tells */
    sigset_t none;
    sigemptyset(&none);
    vmsig_spawn s = {.uid = m->uid, .gid = m->gid, .cpu = m->cpu, .blocked = &none, .folder = nfds > 2 ? fds[2] : -1};
    s.argv = vmsig_strings_split((char *)k->blob, m->len, m->arg, &s.env);
    if (s.argv == NULL || nfds < 2) {
        p->error = EINVAL;
        snprintf(p->step, sizeof p->step, "request");
    } else {
        s.program = fds[0];
        s.fd3 = fds[1];
        pid_t pid = vmsig_spawn_process(&s, &p->pidfd, p->step);
        p->pid = pid > 0 ? pid : 0;
        p->error = pid > 0 ? 0 : -(int)pid;
    }
    free(s.argv);
}

static void supervisor_ended(keeper *k, int status);

/* Leaders are killed with their group while they are zombies still, so that the group's id cannot be another's. */
static void reap(keeper *k) {
    for (;;) {
        siginfo_t si = {0};
        int rc;
        do
            rc = waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT);
        while (rc != 0 && errno == EINTR);
        if (rc != 0 || si.si_pid == 0)
            return;
        proc *p = proc_by_pid(k, si.si_pid);
        int status = 0;
        if (p != NULL || si.si_pid == k->supervisor)
            kill(-si.si_pid, SIGKILL);
        waitpid(si.si_pid, &status, 0);
        if (p != NULL) {
            p->ended = true;
            p->status = status;
        } else if (si.si_pid == k->supervisor) {
            supervisor_ended(k, status);
        }
    }
}

/* ---- what the supervisor is told ------------------------------------------------------------------------ */

static int tell(keeper *k, const vmsig_keeper_msg *m, const void *blob, const int *fds, int nfds) {
    int rc = vmsig_keeper_send(k->sock, m, blob, fds, nfds);
    if (rc && rc != -EAGAIN && rc != -EPIPE && rc != -ECONNRESET)
        say("cannot tell the supervisor: %s", strerror(-rc));
    return rc;
}

static int tell_shelf(keeper *k) {
    while (k->synced < k->shelf.n) {
        const vmsig_shelf_entry *e = &k->shelf.entries[k->synced];
        vmsig_keeper_msg m = {.op = VMSIG_KEEPER_SHELF, .key = e->key, .len = e->len};
        if (tell(k, &m, e->blob, e->fds, e->nfds))
            return -1;
        k->synced++;
    }
    return 0;
}

/* 0, or -1: the rest when the socket has room. *p may be forgotten by it. */
static int tell_proc(keeper *k, proc *p) {
    if (!p->told_spawned) {
        vmsig_keeper_msg m = {.op = VMSIG_KEEPER_SPAWNED, .key = p->key, .pid = p->pid};
        if (p->pid == 0) {
            m.arg = (uint32_t)p->error;
            m.len = (uint32_t)strlen(p->step) + 1;
        }
        if (tell(k, &m, p->step, &p->pidfd, p->pidfd >= 0))
            return -1;
        p->told_spawned = true;
        if (p->pid == 0) {
            proc_forget(k, p);
            return 0;
        }
    }
    if (p->ended && !p->told_ended) {
        vmsig_keeper_msg m = {.op = VMSIG_KEEPER_EXITED, .key = p->key, .pid = p->pid, .arg = (uint32_t)p->status};
        if (tell(k, &m, NULL, NULL, 0))
            return -1;
        p->told_ended = true;
    }
    return 0;
}

/* True: all is told. */
static bool tell_news(keeper *k) {
    if (k->sock < 0)
        return true;
    if (!k->told_all && tell_shelf(k))
        return false;
    for (size_t i = 0; i < k->procs_n;) {
        size_t before = k->procs_n;
        if (tell_proc(k, &k->procs[i]))
            return false;
        i += k->procs_n == before;
    }
    if (!k->told_all) {
        vmsig_keeper_msg m = {.op = VMSIG_KEEPER_END, .arg = k->starts - 1, .key = k->upgrade};
        m.ms = k->trial_ns ? k->trial_ms : 0;
        m.len = (uint32_t)strlen(k->upgrade_why) + 1;
        if (tell(k, &m, k->upgrade_why, NULL, 0))
            return false;
        k->told_all = true;
    }
    return true;
}

/* ---- another program ------------------------------------------------------------------------------------ */

/* All that counts is on the shelf: the present supervisor may be killed at any time. */
static void begin_upgrade(keeper *k, const vmsig_keeper_msg *m, const int *fds, int nfds) {
    if (k->next.argv != NULL || k->supervisor <= 0 || nfds != 1)
        return;
    k->upgrade = m->key;
    k->upgrade_why[0] = 0;
    k->trial_ms = m->ms;
    int rc = vmsig_program_make(&k->next, (const char *)k->blob, m->len, m->arg, fds[0]);
    if (rc) {
        snprintf(k->upgrade_why, sizeof k->upgrade_why, "the keeper cannot take it: %s", strerror(-rc));
        say("no upgrade: %s", k->upgrade_why);
    }
    kill(k->supervisor, SIGKILL); /* the one that comes tells the outcome */
}

static void taken(keeper *k) {
    if (k->trial_ns == 0)
        return;
    k->trial_ns = 0;
    vmsig_program_free(&k->program);
    k->program = k->next;
    k->next = (vmsig_program){.fd = -1};
    say("upgraded to %s", k->program.argv[0]);
}

static void fall_back(keeper *k, const char *how) {
    snprintf(k->upgrade_why, sizeof k->upgrade_why, "%s: %s", k->next.argv[0], how);
    say("%s; %s goes on", k->upgrade_why, k->program.argv[0]);
    k->trial_ns = 0;
    vmsig_program_free(&k->next);
}

/* The end of one that had not taken over. */
static void trial_ended(keeper *k, int status) {
    char how[128];
    if (k->trial_over)
        snprintf(how, sizeof how, "had not taken over after %g s", k->trial_ms / 1e3);
    else if (WIFEXITED(status))
        snprintf(how, sizeof how, "ended with exit %d before it had taken over", WEXITSTATUS(status));
    else
        snprintf(how, sizeof how, "was killed by signal %d (%s) before it had taken over", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    fall_back(k, how);
}

/* ---- what it says --------------------------------------------------------------------------------------- */

static void handle(keeper *k, const vmsig_keeper_msg *m, const int *fds, int nfds) {
    proc *p;
    switch (m->op) {
    case VMSIG_KEEPER_SPAWN:
        spawn(k, m, fds, nfds);
        break;
    case VMSIG_KEEPER_SHELVE:
        if (vmsig_shelf_put(&k->shelf, m->key, k->blob, m->len, fds, nfds))
            say("out of memory: a successor of the supervisor will not know all");
        return; /* the fds are the shelf's */
    case VMSIG_KEEPER_DROP:
        vmsig_shelf_drop(&k->shelf, m->key);
        break;
    case VMSIG_KEEPER_UPGRADE:
        begin_upgrade(k, m, fds, nfds);
        break;
    case VMSIG_KEEPER_TAKEN:
        taken(k);
        break;
    case VMSIG_KEEPER_SEEN:
        p = proc_by_key(k, m->key);
        if (p != NULL && p->ended)
            proc_forget(k, p);
        break;
    default:
        say("the supervisor said what is not known (op %u)", m->op);
        break;
    }
    for (int i = 0; i < nfds; i++)
        close(fds[i]);
}

/* All that waits; -1: the supervisor's end is closed or talks nonsense. */
static int listen_to_supervisor(keeper *k) {
    for (;;) {
        vmsig_keeper_msg m;
        int fds[VMSIG_KEEPER_FDS], nfds;
        int rc = vmsig_keeper_recv(k->sock, &m, k->blob, fds, &nfds);
        if (rc == -EAGAIN)
            return 0;
        if (rc == -EPROTO && k->supervisor > 0)
            kill(k->supervisor, SIGKILL);
        if (rc <= 0)
            return -1;
        handle(k, &m, fds, nfds);
    }
}

/* ---- the supervisor's life ------------------------------------------------------------------------------- */

static void close_supervisor(keeper *k) {
    if (k->sock >= 0)
        close(k->sock);
    if (k->supervisor_pidfd >= 0)
        close(k->supervisor_pidfd);
    k->sock = k->supervisor_pidfd = -1;
}

/* The socket's end of a supervisor that was started from the program; -errno, with the step that failed. */
static pid_t spawn_supervisor(keeper *k, const vmsig_program *program, char *step) {
    int pair[2];
    snprintf(step, 32, "socketpair");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return -errno;
    sigset_t blocked; /* a stop that comes before it listens must wait, not kill */
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    vmsig_spawn s = {.argv = program->argv,
                     .env = environ,
                     .program = program->fd,
                     .fd3 = pair[1],
                     .folder = -1,
                     .uid = UINT32_MAX,
                     .gid = UINT32_MAX,
                     .cpu = -1,
                     .blocked = &blocked};
    snprintf(step, 32, "open");
    pid_t pid = program->fd < 0 ? -ENOENT : vmsig_spawn_process(&s, &k->supervisor_pidfd, step);
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return pid;
    }
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    k->sock = pair[0];
    return pid;
}

static void start_supervisor(keeper *k) {
    char step[32], how[128];
    bool tries = k->next.argv != NULL;
    const vmsig_program *program = tries ? &k->next : &k->program;
    k->restart_ns = 0;
    pid_t pid = spawn_supervisor(k, program, step);
    if (pid < 0 && tries) {
        snprintf(how, sizeof how, "cannot be started: %s (%s)", strerror((int)-pid), step);
        fall_back(k, how);
        start_supervisor(k);
        return;
    }
    if (pid < 0) {
        say("cannot start %s: %s (%s)", program->argv[0], strerror((int)-pid), step);
        if (k->starts == 0 || ++k->streak > STREAK_MAX)
            decide(k, 1);
        else /* it could be started before: what is short now may not be so for long */
            k->restart_ns = now_ns() + BACKOFF_NS;
        return;
    }
    k->supervisor = pid;
    k->started_ns = now_ns();
    k->trial_ns = tries ? k->started_ns + k->trial_ms * MS : 0;
    k->trial_over = false;
    k->starts++;
    k->synced = 0;
    k->told_all = false;
    for (size_t i = 0; i < k->procs_n; i++)
        k->procs[i].told_spawned = k->procs[i].told_ended = false;
    if (k->stopping)
        kill(pid, SIGTERM);
}

/* How long to wait until it is started again; given up: decided. */
static uint64_t crash_pause(keeper *k, int status) {
    uint64_t now = now_ns();
    /* Whom somebody killed has no fault that a pause would help. */
    bool innocent = WTERMSIG(status) == SIGKILL && k->told_all;
    k->streak = innocent ? 0 : now - k->started_ns >= STABLE_NS ? 1 : k->streak + 1;
    if (k->streak > STREAK_MAX) {
        say("the supervisor crashed %u times in a row, last by signal %d (%s): given up", k->streak, WTERMSIG(status),
            strsignal(WTERMSIG(status)));
        decide(k, 1);
        return 0;
    }
    uint64_t wait = k->streak <= 1 ? 0 : BACKOFF_NS << (k->streak - 2);
    say("the supervisor was killed by signal %d (%s), restarting", WTERMSIG(status), strsignal(WTERMSIG(status)));
    return wait < BACKOFF_MAX_NS ? wait : BACKOFF_MAX_NS;
}

static void supervisor_ended(keeper *k, int status) {
    k->supervisor = 0;
    listen_to_supervisor(k); /* what it said last still counts */
    close_supervisor(k);
    bool tried = k->trial_ns != 0, upgrades = k->next.argv != NULL && !tried;
    if (WIFEXITED(status) && !tried) {
        decide(k, WEXITSTATUS(status));
        return;
    }
    for (size_t i = k->procs_n; i-- > 0;)
        if (k->procs[i].pid == 0)
            proc_forget(k, &k->procs[i]); /* nobody is left who asked for it */
    uint64_t pause = 0;
    if (tried)
        trial_ended(k, status);
    else if (upgrades)
        say("the supervisor gives way to %s", k->next.argv[0]);
    else
        pause = crash_pause(k, status);
    k->restart_ns = now_ns() + pause;
}

/* ---- the loop -------------------------------------------------------------------------------------------- */

static void on_signal(keeper *k) {
    struct signalfd_siginfo si;
    while (read(k->signals, &si, sizeof si) == (ssize_t)sizeof si) {
        if (si.ssi_signo == SIGCHLD)
            continue;
        if (!k->stopping)
            k->deadline_ns = now_ns() + STOP_DEADLINE_NS;
        k->stopping = true;
        if (k->supervisor > 0)
            kill(k->supervisor, SIGTERM);
    }
    reap(k);
}

static int wait_ms(const keeper *k) {
    uint64_t until = k->restart_ns;
    if (k->trial_ns && !k->trial_over && (until == 0 || k->trial_ns < until))
        until = k->trial_ns;
    if (k->stopping && (until == 0 || k->deadline_ns < until))
        until = k->deadline_ns;
    if (until == 0)
        return -1; /* until a signal or the supervisor says something */
    uint64_t now = now_ns();
    return until <= now ? 0 : (int)((until - now) / MS) + 1;
}

static void run(keeper *k) {
    while (!k->decided) {
        bool told = tell_news(k);
        short events = (short)((k->told_all ? POLLIN : 0) | (told ? 0 : POLLOUT));
        struct pollfd p[2] = {{.fd = k->signals, .events = POLLIN}, {.fd = k->sock, .events = events}};
        if (poll(p, 2, wait_ms(k)) < 0 && errno != EINTR) {
            say("poll: %s", strerror(errno));
            decide(k, 1);
        }
        if (p[1].revents & (POLLIN | POLLHUP) && listen_to_supervisor(k)) {
            close(k->sock); /* its end will come by SIGCHLD */
            k->sock = -1;
        }
        if (p[0].revents)
            on_signal(k);
        uint64_t now = now_ns();
        if (k->trial_ns && now >= k->trial_ns && !k->trial_over && k->supervisor > 0) {
            k->trial_over = true;
            kill(k->supervisor, SIGKILL);
        }
        if (k->restart_ns && now >= k->restart_ns && !k->decided)
            start_supervisor(k);
        if (k->stopping && now >= k->deadline_ns && !k->decided) {
            say("not stopped within %llu s: killing what is left", STOP_DEADLINE_NS / (1000 * MS));
            decide(k, 1);
        }
    }
}

/* ---- the end --------------------------------------------------------------------------------------------- */

static bool any_alive(const keeper *k) {
    for (size_t i = 0; i < k->procs_n; i++)
        if (k->procs[i].pid > 0 && !k->procs[i].ended)
            return true;
    return false;
}

static void signal_all(const keeper *k, int signo) {
    for (size_t i = k->procs_n; i-- > 0;) /* the newest first */
        if (k->procs[i].pid > 0 && !k->procs[i].ended)
            kill(signo == SIGKILL ? -k->procs[i].pid : k->procs[i].pid, signo);
}

static void wait_for_child(const keeper *k, int ms) {
    struct pollfd p = {.fd = k->signals, .events = POLLIN};
    struct signalfd_siginfo si;
    if (poll(&p, 1, ms) > 0)
        while (read(k->signals, &si, sizeof si) == (ssize_t)sizeof si) {
        }
}

/* What is left stops by the EOF on its boot socket, or by SIGTERM, or is killed; then every orphan, however deep. */
static void end_all(keeper *k) {
    if (k->supervisor > 0) {
        kill(k->supervisor, SIGKILL);
        waitpid(k->supervisor, NULL, 0);
        k->supervisor = 0;
    }
    close_supervisor(k);
    vmsig_shelf_clear(&k->shelf);
    signal_all(k, SIGTERM);
    uint64_t until = now_ns() + LEFT_GRACE_NS;
    for (reap(k); any_alive(k) && now_ns() < until; reap(k))
        wait_for_child(k, 10);
    signal_all(k, SIGKILL);
    until = now_ns() + KILL_DEADLINE_NS;
    while (vmsig_orphans_kill() > 0 && now_ns() < until) {
        wait_for_child(k, 5);
        reap(k);
    }
    reap(k);
    if (vmsig_orphans_kill() > 0)
        say("processes are left that cannot be killed");
}

static int open_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) || signal(SIGPIPE, SIG_IGN) == SIG_ERR) /* who reads stderr may go */
        return -1;
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* /dev/null as stdin for all, and no 0, 1, 2 that a later fd could fall into. */
static int prepare_fds(void) {
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, 0) < 0)
        return -1;
    for (int fd = 1; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && dup2(null, fd) < 0)
            return -1;
    if (null > 2)
        close(null);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max; /* a ring, a page, a bell: each is an fd */
        setrlimit(RLIMIT_NOFILE, &files);
    }
    return 0;
}

int vmsig_keeper_main(char *const supervisor_argv[]) {
    keeper *k = calloc(1, sizeof *k);
    if (k == NULL) {
        say("cannot prepare: %s", strerror(ENOMEM));
        return 1;
    }
    vmsig_program_open(&k->program, supervisor_argv);
    k->next.fd = -1;
    k->sock = k->supervisor_pidfd = -1;
    pid_t parent = getppid();
    if (prepare_fds() || (k->signals = open_signals()) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) ||
        prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)) {
        say("cannot prepare: %s", strerror(errno));
        free(k);
        return 1;
    }
    if (getppid() != parent)
        raise(SIGTERM); /* the parent was faster */
    start_supervisor(k);
    run(k);
    end_all(k);
    int code = k->exit_code;
    for (size_t i = 0; i < k->procs_n; i++)
        if (k->procs[i].pidfd >= 0)
            close(k->procs[i].pidfd);
    free(k->procs);
    vmsig_program_free(&k->next);
    vmsig_program_free(&k->program);
    close(k->signals);
    free(k);
    return code;
}
