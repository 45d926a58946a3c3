/* step.h: an operation on shared memory that dies after its k-th instruction, for each k.
 *
 *   test ──fork──► copy: the op, one instruction at a time ──────────────────────► its end
 *     │                       │ after each k: the shared memory as SIGKILL would leave it
 *     └──fork──► successor: recovers from that, and is checked; then the memory is put back
 *
 * What is private to the successor is as before the op. A death is no more than that the next instruction does not
 * come, so the one run stands for as many kills as it has instructions. All of them with VMSIG_STEP_STRIDE=1; without,
 * some dozens spread over the whole.
 */
#ifndef TEST_STEP_H
#define TEST_STEP_H

#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEP_EVERY 97u /* prime: no loop of the op keeps step with it */

/* In a successor, which is a process of its own: Criterion does not know it. */
#define step_must(cond, ...)                                                                                           \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

typedef struct step_mem {
    void *at;
    size_t len;
} step_mem;

typedef struct step_case {
    const char *name;
    void (*op)(void *ud);
    void (*check)(void *ud); /* the successor: recovers, goes on, asserts; in a process of its own */
    void *ud;
    const step_mem *mem; /* all that is shared and that op or check write to */
    unsigned mem_n;
} step_case;

/* Both on one CPU: each step is two switches between them. */
static inline void step_pin(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)sched_getcpu(), &set);
    sched_setaffinity(0, sizeof set, &set);
}

static inline void step_save(const step_case *c, uint8_t *to) {
    for (unsigned i = 0; i < c->mem_n; to += c->mem[i++].len)
        memcpy(to, c->mem[i].at, c->mem[i].len);
}

static inline void step_put_back(const step_case *c, const uint8_t *from) {
    for (unsigned i = 0; i < c->mem_n; from += c->mem[i++].len)
        memcpy(c->mem[i].at, from, c->mem[i].len);
}

static inline void step_succeed(const step_case *c, uint8_t *saved, int64_t k) {
    int status;
    step_save(c, saved);
    fflush(NULL);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        c->check(c->ud);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    cr_assert_eq(status, 0, "%s: killed after instruction %ld, its successor failed", c->name, (long)k);
    step_put_back(c, saved);
}

/* How many deaths were tried; -1: there is no ptrace here. */
static inline int64_t step_through(const step_case *c) {
    const char *env = getenv("VMSIG_STEP_STRIDE");
    int64_t stride = env ? strtoll(env, NULL, 10) : STEP_EVERY, n = 0, deaths = 0;
    size_t len = 0;
    int status;
    for (unsigned i = 0; i < c->mem_n; i++)
        len += c->mem[i].len;
    uint8_t *saved = malloc(len);
    step_pin();
    pid_t pid = fork();
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(77);
        raise(SIGSTOP);
        c->op(c->ud);
        _exit(0);
    }
    cr_assert(pid > 0 && stride > 0 && saved != NULL);
    for (waitpid(pid, &status, 0); WIFSTOPPED(status); waitpid(pid, &status, 0), n++) {
        if (n % stride == 0) {
            step_succeed(c, saved, n);
            deaths++;
        }
        ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        step_succeed(c, saved, n);
        printf("%s: %ld instructions, %ld deaths\n", c->name, (long)n, (long)deaths + 1);
    }
    free(saved);
    bool refused = WIFEXITED(status) && WEXITSTATUS(status) == 77;
    cr_assert(refused || status == 0, "%s: the operation itself failed: %x", c->name, status);
    return refused ? -1 : deaths + 1;
}

#endif
