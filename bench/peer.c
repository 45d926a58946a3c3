#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"

void bench_fail(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fputs("vmsig-bench: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

static void pin(pid_t pid, int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(pid, sizeof set, &set) < 0)
        bench_fail("processor %d cannot be used: %s; name others with --cpus", cpu, strerror(errno));
}

void bench_pin(int cpu) {
    pin(0, cpu);
}

void *bench_shared(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (p == MAP_FAILED)
        bench_fail("no shared memory: %s", strerror(errno));
    return p;
}

void bench_unshare(void *p, size_t bytes) {
    munmap(p, bytes);
}

/* Who waits for a peer may be spinning, and would for ever. SIGALRM is what ends a bench that takes too long anyway. */
static void tell_parent(int status, void *arg) {
    if (status != 0)
        kill((pid_t)(intptr_t)arg, SIGALRM);
}

pid_t bench_fork_on(int cpu, void (*fn)(void *arg), void *arg) {
    fflush(NULL);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        bench_fail("no second process: %s", strerror(errno));
    if (pid > 0) {
        pin(pid, cpu); /* from here: this process may be about to spin where the new one would have to begin */
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    on_exit(tell_parent, (void *)(intptr_t)parent);
    alarm(600);
    fn(arg);
    _exit(0);
}

pid_t bench_fork(const bench_options *o, void (*fn)(void *arg), void *arg) {
    return bench_fork_on(o->cpu[1], fn, arg);
}

void bench_join(pid_t pid) {
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            bench_fail("waiting for the peer: %s", strerror(errno));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        bench_fail("the peer process failed");
}
