#include "bench/bed.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/cli/cli.h"

#define START_MS 15000
#define STOP_NS  20000000000u

void bench_bed_path(const bench_bed *b, const char *name, char *path, size_t len) {
    if (snprintf(path, len, "%s/%s", b->dir, name) >= (int)len)
        bench_fail("%s/%s: the path is too long", b->dir, name);
}

/* ---- the folder ------------------------------------------------------------------------------------------ */

void bench_bed_make(bench_bed *b, const char *name, bench_beds *beds) {
    const char *tmp = getenv("TMPDIR");
    *b = (bench_bed){.name = name, .beds = beds, .next = beds->first};
    if (beds->first == NULL)
        sigprocmask(SIG_SETMASK, NULL, &beds->mask);
    int n = snprintf(b->dir, sizeof b->dir, "%s/vmsig-bench-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (n >= (int)sizeof b->dir)
        snprintf(b->dir, sizeof b->dir, "/tmp/vmsig-bench-XXXXXX");
    if (mkdtemp(b->dir) == NULL || chmod(b->dir, 0755) != 0) /* as root the actors are others */
        bench_fail("%s: %s", b->dir, strerror(errno));
    beds->first = b;
}

FILE *bench_bed_topology(bench_bed *b) {
    char path[PATH_MAX];
    bench_bed_path(b, "bench.yaml", path, sizeof path);
    FILE *f = fopen(path, "w");
    if (f == NULL)
        bench_bed_fail(b, "%s: %s", path, strerror(errno));
    return f;
}

int bench_bed_fifo(bench_bed *b, const char *name, char *path, size_t len) {
    bench_bed_path(b, name, path, len);
    int fd = -1;
    if (mkfifo(path, 0600) == 0 && chmod(path, geteuid() == 0 ? 0666 : 0600) == 0)
        fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        bench_bed_fail(b, "%s: %s", path, strerror(errno));
    return fd;
}

static void remove_tree(const char *dir) {
    const char *const argv[] = {"rm", "-rf", "--", dir, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    if (pid > 0)
        bench_join(pid);
}

/* ---- the processes --------------------------------------------------------------------------------------- */

/* What the programs have to say goes to a file: it is of interest only if they fail. */
static int start_quietly(bench_bed *b, char *const argv[]) {
    char log[PATH_MAX];
    bench_bed_path(b, "log", log, sizeof log);
    int to = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3), err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    fflush(NULL);
    dup2(to, STDOUT_FILENO);
    dup2(to, STDERR_FILENO);
    int rc = vmsig_child_start(&b->keeper, argv);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    close(to);
    close(out);
    close(err);
    return rc;
}

void bench_bed_start(bench_bed *b, FILE *topology) {
    char programs[PATH_MAX], keeper[PATH_MAX], supervisor[PATH_MAX], file[PATH_MAX], name[32];
    char o_topology[] = "--topology", o_name[] = "--name", o_programs[] = "--programs";
    char *argv[] = {keeper, supervisor, o_name, name, o_programs, programs, o_topology, file, NULL};
    bench_bed_path(b, "bench.yaml", file, sizeof file);
    snprintf(name, sizeof name, "%s", b->name);
    if (fclose(topology) != 0)
        bench_bed_fail(b, "%s: %s", file, strerror(errno));
    if (vmsig_cli_program_dir(programs, sizeof programs) != 0 ||
        vmsig_cli_program("vmsig-keeper", keeper, sizeof keeper) != 0 ||
        vmsig_cli_program("vmsig-supervisor", supervisor, sizeof supervisor) != 0)
        bench_bed_fail(b, "vmsig's own programs are not beside this one");
    if (setenv("XDG_RUNTIME_DIR", b->dir, 1) != 0)
        bench_bed_fail(b, "out of memory");
    int err = start_quietly(b, argv);
    if (err != 0)
        bench_bed_fail(b, "%s cannot be started: %s", keeper, strerror(-err));
    b->started = true;
}

void bench_bed_connect(bench_bed *b, const vmsig_client_cfg *cfg) {
    char path[PATH_MAX], err[256] = "";
    uint64_t until = bench_now_ns() + START_MS * 1000000ull;
    bench_bed_path(b, "control.sock", path, sizeof path);
    while ((b->client = vmsig_client_open(path, cfg, 1000, err, sizeof err)) == NULL) {
        struct pollfd p = {.fd = b->keeper.signals, .events = POLLIN};
        if (bench_now_ns() > until)
            bench_bed_fail(b, "%s", err);
        poll(&p, 1, 20);
        bench_bed_look(b);
    }
}

void bench_bed_look(bench_bed *b) {
    vmsig_child_signals(&b->keeper);
    if (b->keeper.stops > 0)
        bench_bed_fail(b, "interrupted");
    if (b->keeper.ended)
        bench_bed_fail(b, "it ended by itself");
}

void bench_bed_step(bench_bed *b, int ms) {
    if (vmsig_client_step(b->client, ms) < 0)
        bench_bed_fail(b, "%s", vmsig_client_error(b->client));
}

/* ---- the end --------------------------------------------------------------------------------------------- */

static void stop_keeper(bench_bed *b) {
    uint64_t until = bench_now_ns() + STOP_NS;
    vmsig_child_stop(&b->keeper);
    while (!b->keeper.ended && bench_now_ns() < until) {
        struct pollfd p = {.fd = b->keeper.signals, .events = POLLIN};
        poll(&p, 1, 100);
        vmsig_child_signals(&b->keeper);
    }
    vmsig_child_kill(&b->keeper);
    vmsig_child_close(&b->keeper);
    b->started = false;
}

void bench_bed_stop(bench_bed *b) {
    vmsig_client_close(b->client);
    b->client = NULL;
    if (b->started)
        stop_keeper(b);
    remove_tree(b->dir);
    bench_bed **at = &b->beds->first;
    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    if (b->beds->first == NULL)
        sigprocmask(SIG_SETMASK, &b->beds->mask, NULL);
}

static void show_log(const bench_bed *b) {
    char path[PATH_MAX], line[512];
    bench_bed_path(b, "log", path, sizeof path);
    FILE *f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        fputs(line, stderr);
    if (f != NULL)
        fclose(f);
}

void bench_bed_fail(bench_bed *b, const char *fmt, ...) {
    char why[512];
    bench_beds *beds = b->beds;
    const char *name = b->name;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    show_log(b);
    while (beds->first != NULL)
        bench_bed_stop(beds->first);
    bench_fail("the topology \"%s\": %s", name, why);
}
