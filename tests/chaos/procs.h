/* procs.h: the processes of a topology, and what each has open, as /proc tells. */
#ifndef TEST_PROCS_H
#define TEST_PROCS_H

#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define PROCS_MAX   64
#define CLASSES_MAX 256

typedef enum role { ROLE_SENSOR, ROLE_CONTEXT, ROLE_GATEWAY, ROLE_HOST, ROLE_SUPERVISOR, ROLES } role;
static const char *const role_names[ROLES] = {"sensor", "context", "gateway", "host", "supervisor"};

typedef struct proc {
    pid_t pid;
    role what;
    bool zombie;
} proc;

/* Name, state and parent: false: there is no such process. */
static inline bool proc_stat(pid_t pid, char name[64], char *state, pid_t *parent) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    bool got = f != NULL && fgets(line, sizeof line, f) != NULL;
    if (f != NULL)
        fclose(f);
    char *open = got ? strchr(line, '(') : NULL, *close = got ? strrchr(line, ')') : NULL;
    int ppid;
    if (open == NULL || close == NULL || sscanf(close + 2, "%c %d", state, &ppid) != 2)
        return false;
    *close = 0;
    snprintf(name, 64, "%s", open + 1);
    *parent = ppid;
    return true;
}

static inline role role_of(const char *name) {
    static const char *const programs[ROLES] = {"prog_pulse", "vmsig-context", "vmsig-gateway", "vmsig-host-stub",
                                                "vmsig-superviso"};
    role r = 0;
    while (r < ROLES && strcmp(name, programs[r]) != 0)
        r++;
    return r;
}

/* The keeper's children that have become what they are to be. */
static inline int procs_of(pid_t keeper, proc *out) {
    DIR *d = opendir("/proc");
    int n = 0;
    for (struct dirent *e; d != NULL && n < PROCS_MAX && (e = readdir(d)) != NULL;) {
        char name[64], state;
        pid_t pid = atoi(e->d_name), parent;
        if (!isdigit((unsigned char)e->d_name[0]) || !proc_stat(pid, name, &state, &parent) || parent != keeper)
            continue;
        role r = role_of(name);
        if (r < ROLES || state == 'Z')
            out[n++] = (proc){.pid = pid, .what = r, .zombie = state == 'Z'};
    }
    if (d != NULL)
        closedir(d);
    return n;
}

/* Living processes whose command line names the folder. */
static inline int procs_naming(const char *folder) {
    DIR *d = opendir("/proc");
    int n = 0;
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char path[300], line[4096];
        if (!isdigit((unsigned char)e->d_name[0]) || atoi(e->d_name) == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/%s/cmdline", e->d_name);
        FILE *f = fopen(path, "re");
        size_t len = f != NULL ? fread(line, 1, sizeof line - 1, f) : 0;
        if (f != NULL)
            fclose(f);
        line[len] = 0;
        for (size_t i = 0; i < len; i++)
            line[i] = line[i] ? line[i] : ' ';
        n += strstr(line, folder) != NULL;
    }
    if (d != NULL)
        closedir(d);
    return n;
}

/* ---- open files, by what they are ---------------------------------------------------------------------- */

typedef struct fd_class {
    char name[64];
    int n;
} fd_class;

typedef struct fd_table {
    int n, total; /* total -1: this user may not look */
    fd_class of[CLASSES_MAX];
} fd_table;

/* "memfd:vmsig ring 5.17 (deleted)" is one of "memfd:vmsig ring 5"; sockets and pipes have no number. */
static inline void class_name(char *target) {
    char *end = strstr(target, " (deleted)");
    if (end != NULL)
        *end = 0;
    end = strncmp(target, "/memfd:", 7) == 0 ? strrchr(target, '.') : strchr(target, '[');
    if (end != NULL)
        *end = 0;
}

static inline void fds_of(pid_t pid, fd_table *t) {
    char path[300], target[300];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    *t = (fd_table){.total = d != NULL ? 0 : -1};
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        snprintf(path, sizeof path, "/proc/%d/fd/%.200s", (int)pid, e->d_name);
        ssize_t len = readlink(path, target, sizeof target - 1);
        if (len <= 0)
            continue;
        target[len] = 0;
        class_name(target);
        int i = 0;
        while (i < t->n && strncmp(t->of[i].name, target, sizeof t->of[i].name - 1) != 0)
            i++;
        if (i == CLASSES_MAX)
            continue;
        if (i == t->n) {
            snprintf(t->of[i].name, sizeof t->of[i].name, "%.63s", target);
            t->n++;
        }
        t->of[i].n++;
        t->total++;
    }
    if (d != NULL)
        closedir(d);
}

static inline int fds_in(const fd_table *t, const char *name) {
    for (int i = 0; i < t->n; i++)
        if (strcmp(t->of[i].name, name) == 0)
            return t->of[i].n;
    return 0;
}

#endif
