#include "supervisor/segments.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS 6u

uint32_t vmsig_segment_number(const char *path) {
    size_t n = strlen(path);
    if (n < DIGITS + 2 || path[n - DIGITS - 1] != '.' || strspn(path + n - DIGITS, "0123456789") != DIGITS)
        return 0;
    return (uint32_t)strtoul(path + n - DIGITS, NULL, 10);
}

int vmsig_segment_path(const char *log, uint32_t number, char *buf, size_t len) {
    int n = snprintf(buf, len, "%s.%06u", log, number);
    return n < 0 || (size_t)n >= len || number > 999999 ? -ENAMETOOLONG : 0;
}

void vmsig_segments_free(char **list, int n) {
    for (int i = 0; i < n; i++)
        free(list[i]);
    free(list);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add(char ***list, int n, const char *folder, size_t folder_len, const char *name) {
    char **more = realloc(*list, (size_t)(n + 1) * sizeof *more);
    if (!more)
        return -ENOMEM;
    *list = more;
    return asprintf(&more[n], "%.*s%s", (int)folder_len, folder, name) < 0 ? -ENOMEM : 0;
}

int vmsig_segments(const char *log, char ***out) {
    char folder[PATH_MAX];
    *out = NULL;
    const char *slash = strrchr(log, '/'), *base = slash ? slash + 1 : log;
    size_t folder_len = (size_t)(base - log), base_len = strlen(base);
    if (folder_len >= sizeof folder)
        return -ENAMETOOLONG;
    memcpy(folder, log, folder_len);
    folder[folder_len] = 0;
    DIR *d = opendir(folder_len ? folder : ".");
    if (!d)
        return -errno;
    int n = 0, err = 0;
    for (struct dirent *e; !err && (e = readdir(d));)
        if (strncmp(e->d_name, base, base_len) == 0 && strlen(e->d_name) == base_len + 1 + DIGITS &&
            vmsig_segment_number(e->d_name) && (err = add(out, n, log, folder_len, e->d_name)) == 0)
            n++;
    closedir(d);
    if (err) {
        vmsig_segments_free(*out, n);
        return err;
    }
    if (n)
        qsort(*out, (size_t)n, sizeof **out, by_name);
    return n;
}
