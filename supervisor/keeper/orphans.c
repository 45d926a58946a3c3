#include "supervisor/keeper/orphans.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The parent of a living process; 0 = it is none, or a zombie. */
static pid_t parent_of(const char *pid) {
    char path[300], line[512];
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    size_t n = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    line[n] = 0;
    char *after = strrchr(line, ')'); /* the name may hold anything */
    char state = 0;
    int parent = 0;
    if (after == NULL || sscanf(after + 1, " %c %d", &state, &parent) != 2 || state == 'Z' || state == 'X')
        return 0;
    return parent;
}

int vmsig_orphans_kill(void) {
    DIR *proc = opendir("/proc");
    if (proc == NULL)
        return 0;
    int found = 0;
    for (struct dirent *e; (e = readdir(proc)) != NULL;) {
        if (e->d_name[0] < '1' || e->d_name[0] > '9' || parent_of(e->d_name) != getpid())
            continue;
        kill((pid_t)atoi(e->d_name), SIGKILL);
        found++;
    }
    closedir(proc);
    return found;
}
