/* vmsig audit: the audit log: show, verify, follow. */
#include "supervisor/cli/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/cli/ask.h"
#include "supervisor/cli/cli.h"
#include "supervisor/segments.h"

#define SEGMENT_MAX (1ull << 32)

static const char help[] =
    "usage: vmsig audit show   [FILE... | --name NAME] [--last N] [--json]\n"
    "       vmsig audit verify [FILE... | --name NAME] [--key FILE] [--anchor SEQ:HASH] [--json]\n"
    "       vmsig audit follow [FILE | --name NAME] [--json]\n\n"
    "The audit log of a gateway: what was granted, denied, intended and done. FILE is the log as the topology names "
    "it\n"
    "(FILE.000001 and so on, its older parts, come with it), or some of these parts. Without FILE: the log of the\n"
    "topology that runs.\n\n"
    "  show           prints the records\n"
    "  verify         says whether it is what was written, and prints its anchor: keep that elsewhere\n"
    "  follow         prints records as they are written\n\n"
    "  --name NAME    of the topology; needed when several run\n"
    "  --key FILE     the log's first key, FILE.key of its first day; default: FILE.key where it can be read\n"
    "  --anchor A     what verify printed before: the log must still have that record\n"
    "  --last N       only the last N records\n"
    "  --json         one JSON object per record; of verify: one\n"
    "  --timeout TIME how long to wait for the supervisor's answer (default 2s)\n\n"
    "examples:\n"
    "  vmsig audit show --last 20\n"
    "  vmsig audit verify audit.log --key /media/stick/audit.key\n"
    "  vmsig audit follow --json | jq 'select(.what == \"denied\")'\n\n"
    "exit codes: 0 ok; verify: 0 valid, 1 tampered, 2 the end is torn, 3 records are missing; show, follow: 1 the log\n"
    "is broken, or nothing runs there; 64 usage; 66 a file cannot be read, verify: or nothing runs there\n";

/* ---- files ----------------------------------------------------------------------------------------------- */

uint8_t *vmsig_audit_read(const char *path, size_t *len) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    uint8_t *bytes = NULL;
    *len = 0;
    if (fstat(fd, &st) == 0) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : (uint64_t)st.st_size > SEGMENT_MAX ? EFBIG : 0;
        bytes = errno ? NULL : malloc((size_t)st.st_size + 1);
    }
    while (bytes && *len < (size_t)st.st_size) {
        ssize_t n = read(fd, bytes + *len, (size_t)st.st_size - *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(bytes);
            bytes = NULL;
        }
        if (n <= 0)
            break;
        *len += (size_t)n;
    }
    int e = errno;
    close(fd);
    errno = e;
    return bytes;
}

static int add(vmsig_audit_files *f, const char *path) {
    char **more = realloc(f->path, (size_t)(f->n + 1) * sizeof *more);
    if (!more)
        return -ENOMEM;
    f->path = more;
    more[f->n] = strdup(path);
    return more[f->n] && ++f->n ? 0 : -ENOMEM;
}

int vmsig_audit_files_of(const char *const *words, int nwords, vmsig_audit_files *out) {
    *out = (vmsig_audit_files){0};
    int err = 0;
    for (int i = 0; i < nwords && !err; i++) {
        char **former = NULL;
        int n = nwords == 1 && !vmsig_segment_number(words[0]) ? vmsig_segments(words[0], &former) : 0;
        for (int k = 0; k < n && !err; k++)
            err = add(out, former[k]);
        vmsig_segments_free(former, n > 0 ? n : 0);
        if (!err)
            err = add(out, words[i]);
    }
    out->part = nwords > 0 && vmsig_segment_number(words[0]) > 1;
    if (err)
        vmsig_cli_fail(0, "audit", "%s", strerror(-err));
    return err;
}

void vmsig_audit_files_free(vmsig_audit_files *f) {
    for (int i = 0; i < f->n; i++)
        free(f->path[i]);
    free(f->path);
}

/* ---- the running topology's ------------------------------------------------------------------------------ */

/* Its first gateway's log, the caller's. */
static int log_of(const char *name, int timeout_ms, char **out) {
    char err[VMSIG_ASK_ERR_MAX];
    Vmsig__Pb__Response *r;
    *out = NULL;
    if (vmsig_ask_status(name, timeout_ms, &r, err))
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "audit", "%s", err);
    for (size_t i = 0; i < r->status->n_controls && !*out; i++)
        if (r->status->controls[i]->audit)
            *out = strdup(r->status->controls[i]->audit);
    int code = VMSIG_EXIT_OK;
    if (!*out)
        code = vmsig_cli_fail(VMSIG_EXIT_FAILURE, "audit", "%s keeps no audit log: its gateway has no `audit:` file",
                              r->status->name);
    vmsig_ask_free(r);
    return code;
}

/* ---- the command ------------------------------------------------------------------------------------------ */

typedef struct choice {
    const char *name, *key, *anchor;
    uint64_t last;
    bool json;
} choice;

static int run(const char *what, const char *const *words, int nwords, const choice *c) {
    if (strcmp(what, "verify") == 0)
        return vmsig_audit_verify(words, nwords, c->key, c->anchor, c->json);
    if (strcmp(what, "show") == 0)
        return vmsig_audit_show(words, nwords, c->last, c->json);
    if (nwords > 1)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "audit", "follow takes one file");
    return vmsig_audit_follow(words[0], c->json);
}

int vmsig_cmd_audit(int argc, char **argv) {
    static const char *const whats[] = {"show", "verify", "follow", NULL};
    choice c = {.last = UINT64_MAX};
    const char *words[VMSIG_CLI_WORDS_MAX];
    int nwords, code, timeout_ms = 2000;
    const vmsig_cli_opt opts[] = {{"name", VMSIG_CLI_TEXT, &c.name, 0},
                                  {"key", VMSIG_CLI_TEXT, &c.key, 0},
                                  {"anchor", VMSIG_CLI_TEXT, &c.anchor, 0},
                                  {"last", VMSIG_CLI_UINT, &c.last, UINT64_MAX},
                                  {"json", VMSIG_CLI_YES, &c.json, 0},
                                  {"timeout", VMSIG_CLI_TIME, &timeout_ms, 0},
                                  {0}};
    if (!vmsig_cli_parse(argc, argv, help, opts, words, &nwords, &code))
        return code;
    const char *near = nwords ? vmsig_cli_nearest(words[0], whats) : NULL;
    if (nwords == 0 || !near || strcmp(near, words[0]) != 0)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "audit", "%s%sexpected show, verify or follow%s%s",
                              nwords ? words[0] : "", nwords ? ": " : "", near ? "; did you mean " : "",
                              near ? near : "");
    if (c.name && nwords > 1)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "audit", "--name and a file exclude each other");
    if ((c.key || c.anchor) && strcmp(words[0], "verify") != 0)
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "audit", "--key and --anchor are for verify");
    if (nwords > 1)
        return run(words[0], words + 1, nwords - 1, &c);
    char *log;
    code = log_of(c.name, timeout_ms, &log);
    if (code != VMSIG_EXIT_OK && strcmp(words[0], "verify") == 0)
        code = VMSIG_EXIT_NOINPUT; /* 1 would be a verdict */
    if (code == VMSIG_EXIT_OK) {
        const char *one[] = {log};
        code = run(words[0], one, 1, &c);
    }
    free(log);
    return code;
}
