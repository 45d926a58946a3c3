/* What a topology names outside itself: programs, paths, grants files. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schema/grants.h"
#include "supervisor/topology_file.h"

#define GRANTS_BYTES_MAX 49152u /* the text travels in one boot frame */

char *vmsig_topo_path(const vmsig_topology *t, const char *path) {
    char *out = NULL;
    if (path[0] == '/')
        return strdup(path);
    path += strncmp(path, "./", 2) == 0 ? 2 : 0;
    return asprintf(&out, "%s/%s", t->folder, path) < 0 ? NULL : out;
}

static bool is_program(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Whether FOLDER/exec is a program; then its path is in buf. */
static bool program_in(const char *folder, size_t len, const char *exec, char buf[PATH_MAX]) {
    int n = snprintf(buf, PATH_MAX, "%.*s/%s", (int)len, folder, exec);
    return folder[0] == '/' && n < PATH_MAX && is_program(buf);
}

static bool program_in_path(const char *exec, char buf[PATH_MAX]) {
    const char *at = getenv("PATH");
    while (at && *at) {
        size_t n = strcspn(at, ":");
        if (program_in(at, n, exec, buf))
            return true;
        at += n + (at[n] == ':');
    }
    return false;
}

int vmsig_topo_program(vmsig_topo_build *b, const char *key, const char *exec, vmsig_conf_mark at, char **out) {
    if (strchr(exec, '/')) {
        char *path = vmsig_topo_path(b->t, exec);
        if (!path)
            return vmsig_topo_no_memory(b);
        *out = b->runs || is_program(path) ? path : NULL;
        if (*out)
            return 0;
        int err = vmsig_topo_fail(b, at, "%s: found %.150s, expected a program that can be run", key, path);
        free(path);
        return err;
    }
    char path[PATH_MAX];
    bool found = program_in(b->program_dir, strlen(b->program_dir), exec, path) || program_in_path(exec, path);
    if (!found && b->runs) /* whoever needs it is told where it was not found */
        found = snprintf(path, sizeof path, "%s/%s", b->program_dir, exec) < PATH_MAX;
    if (found) {
        *out = strdup(path);
        return *out ? 0 : vmsig_topo_no_memory(b);
    }
    return vmsig_topo_fail(b, at, "%s: found no program %.60s, expected it in %.120s or in PATH", key, exec,
                           b->program_dir);
}

/* Reads and checks one gateway's grants; the gateway is handed the text. */
static int check_grants(const vmsig_topology *t, const vmsig_topo_actor *a, const char *text, size_t len,
                        vmsig_conf_error *err) {
    const char *names[VMSIG_ENDPOINTS_MAX] = {NULL};
    for (size_t i = 0; i < t->endpoints_n; i++)
        if (a->endpoint_mask >> t->endpoints[i].id & 1)
            names[t->endpoints[i].id] = t->endpoints[i].name;
    vmsig_grants grants;
    int rc = vmsig_grants_parse(a->grants, text, len, names, &grants, err);
    vmsig_grants_free(&grants);
    return rc;
}

static int read_grants(vmsig_topo_build *b, vmsig_topo_actor *a, vmsig_conf_mark at) {
    vmsig_conf_error why;
    if (vmsig_conf_read_file(a->grants, GRANTS_BYTES_MAX, &a->grants_text, &a->grants_len, &why) < 0)
        return vmsig_topo_fail(b, at, "grants: %.350s", why.text);
    return check_grants(b->t, a, a->grants_text, a->grants_len, b->err);
}

/* All are read and checked before any takes the place of the former. */
int vmsig_topology_reread_grants(vmsig_topology *t, vmsig_conf_error *err) {
    char **text = calloc(t->actors_n + 1, sizeof *text);
    size_t *len = calloc(t->actors_n + 1, sizeof *len);
    int rc = text && len ? 0 : vmsig_conf_fail(err, "grants", (vmsig_conf_mark){0, 0}, "no memory to read them");
    for (size_t i = 0; rc == 0 && i < t->actors_n; i++) {
        if (!t->actors[i].grants)
            continue;
        rc = vmsig_conf_read_file(t->actors[i].grants, GRANTS_BYTES_MAX, &text[i], &len[i], err);
        if (rc == 0)
            rc = check_grants(t, &t->actors[i], text[i], len[i], err);
    }
    for (size_t i = 0; rc == 0 && i < t->actors_n; i++) {
        if (!text[i])
            continue;
        free(t->actors[i].grants_text);
        t->actors[i].grants_text = text[i];
        t->actors[i].grants_len = len[i];
        text[i] = NULL;
    }
    for (size_t i = 0; text && i < t->actors_n; i++)
        free(text[i]);
    free(text);
    free(len);
    return rc;
}

int vmsig_topo_grants(vmsig_topo_build *b) {
    const vmsig_file_actor *f = b->file->actors.items;
    size_t hosts = b->t->endpoints_n;
    for (size_t i = hosts; !b->runs && i < b->t->actors_n; i++) {
        if (!b->t->actors[i].grants)
            continue;
        int err = read_grants(b, &b->t->actors[i], f[i - hosts].grants_mark);
        if (err < 0)
            return err;
    }
    return 0;
}
