/* A folder with programs that a topology may name, and the topology read from a text in it. */
#ifndef TEST_TOPO_H
#define TEST_TOPO_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/topology.h"

/* A whole topology of 5 lines, to go on from. */
#define ENDPOINT "endpoints:\n  - {name: vm, id: 0, host: stub}\n"
#define ACTORS   "actors:\n  - {name: ctx, kind: context}\n  - {name: gate, kind: gateway}\n"
#define BASE     ENDPOINT ACTORS

static char dir[] = "/tmp/vmsig-topo-XXXXXX"; /* each test runs in a process of its own */

static void put(const char *name, const char *text, mode_t mode) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
    chmod(path, mode);
}

static void make_dir(void) {
    static const char *const programs[] = {"vmsig-context",     "vmsig-gateway", "vmsig-host-stub",
                                           "vmsig-sensor-tick", "vmsig-sensor",  "vmsig-sensor-memwatch",
                                           "my-sensor"};
    setenv("XDG_RUNTIME_DIR", "/run/test", 1);
    cr_assert_not_null(mkdtemp(dir));
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++)
        put(programs[i], "#!/bin/sh\n", 0755);
}

static void remove_dir(void) {
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    rmdir(dir);
}

/* What is wrong with the text, or NULL: nothing; then *out is the topology where it is not NULL. */
static const char *wrong(const char *text, vmsig_topology **out) {
    static vmsig_conf_error why;
    vmsig_topology *t;
    int err = vmsig_topology_parse("t.yaml", dir, text, strlen(text), dir, &t, &why);
    if (err < 0) {
        cr_expect_null(t);
        return why.text;
    }
    if (out)
        *out = t;
    else
        vmsig_topology_free(t);
    return NULL;
}

static __attribute__((unused)) vmsig_topology *fine(const char *text) {
    vmsig_topology *t = NULL;
    const char *why = wrong(text, &t);
    cr_assert_null(why, "%s", why);
    return t;
}

#endif
