/* vmsig audit verify: the verdict is the exit code. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "supervisor/cli/audit.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/show.h"

#define TRIES 3 /* a log that is written, or changes its file, at that moment is looked at again */

static const char *const verdict_names[] = {"valid", "tampered", "torn", "gap"};

/* 0, or an exit code. given: by the user, so that it must be there. */
static int take_key(const char *path, bool given, vmsig_audit_check *c) {
    size_t len;
    uint8_t *text = vmsig_audit_read(path, &len);
    if (!text)
        return given ? vmsig_cli_fail(VMSIG_EXIT_NOINPUT, "audit", "%s: %s", path, strerror(errno)) : 0;
    c->keyed = len <= VMSIG_AUDIT_KEY_TEXT && vmsig_audit_key_parse((const char *)text, len, &c->generation, c->key);
    sodium_memzero(text, len);
    free(text);
    return c->keyed ? 0
                    : vmsig_cli_fail(VMSIG_EXIT_NOINPUT, "audit", "%s: expected a key of 64 hexadecimal digits", path);
}

static int check_files(const vmsig_audit_files *f, vmsig_audit_check *c) {
    for (int i = 0; i < f->n; i++) {
        size_t len;
        uint8_t *bytes = vmsig_audit_read(f->path[i], &len);
        if (!bytes)
            return vmsig_cli_fail(VMSIG_EXIT_NOINPUT, "audit", "%s: %s", f->path[i], strerror(errno));
        vmsig_audit_check_segment(c, f->path[i], bytes, len);
        free(bytes);
    }
    vmsig_audit_check_end(c);
    return 0;
}

static void print_text(const vmsig_audit_check *c, int files, const char *anchor) {
    if (c->verdict != VMSIG_AUDIT_VALID)
        printf("%s: %s\n", verdict_names[c->verdict], c->why);
    else if (c->records == 0)
        printf("valid: it has no records yet\n");
    else
        printf("valid: records %" PRIu64 " to %" PRIu64 " in %d file%s\n", c->first, c->chain.seq, files,
               files == 1 ? "" : "s");
    if (c->records == 0)
        return;
    if (c->keyed)
        printf("%" PRIu64 " of %" PRIu64 " checkpoints fit the key; ", c->keyed_checkpoints, c->checkpoints);
    else
        printf("%" PRIu64 " checkpoints, not looked into: there is no key; ", c->checkpoints);
    if (c->sealed)
        puts("it ends sealed");
    else
        printf("%" PRIu64 " records since the last\n", c->since_checkpoint);
    printf("anchor %s\n", anchor);
}

static int print_json(const vmsig_audit_check *c, int files, const char *anchor) {
    return vmsig_show_json(json_pack(
        "{s:s s:s s:I s:I s:I s:i s:I s:I s:I s:b s:b s:s}", "verdict", verdict_names[c->verdict], "why", c->why,
        "first", (json_int_t)c->first, "last", (json_int_t)c->chain.seq, "records", (json_int_t)c->records, "files",
        files, "checkpoints", (json_int_t)c->checkpoints, "checkpoints_keyed", (json_int_t)c->keyed_checkpoints,
        "since_checkpoint", (json_int_t)c->since_checkpoint, "keyed", c->keyed, "sealed", c->sealed, "anchor", anchor));
}

static int verify_once(const char *const *words, int nwords, const vmsig_audit_check *with, vmsig_audit_check *c,
                       int *files) {
    vmsig_audit_files f;
    if (vmsig_audit_files_of(words, nwords, &f)) {
        vmsig_audit_files_free(&f);
        return VMSIG_EXIT_NOINPUT;
    }
    *c = *with;
    c->from_anywhere = f.part;
    *files = f.n;
    int code = check_files(&f, c);
    vmsig_audit_files_free(&f);
    return code;
}

int vmsig_audit_verify(const char *const *words, int nwords, const char *key, const char *anchor, bool json) {
    vmsig_audit_check with = {0}, c = {0};
    char beside[4096], at[VMSIG_AUDIT_ANCHOR_TEXT];
    int files = 0;
    if (anchor && !vmsig_audit_anchor_parse(anchor, &with.anchor))
        return vmsig_cli_fail(VMSIG_EXIT_USAGE, "audit", "--anchor %s: expected SEQ:HASH, as verify prints it", anchor);
    with.anchored = anchor != NULL;
    snprintf(beside, sizeof beside, "%s.key", words[0]);
    int code = take_key(key ? key : beside, key != NULL, &with);
    for (int i = 0; i < TRIES && code == 0; i++) {
        code = verify_once(words, nwords, &with, &c, &files);
        if (code || c.verdict == VMSIG_AUDIT_VALID || c.verdict == VMSIG_AUDIT_TAMPERED)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    sodium_memzero(with.key, sizeof with.key);
    sodium_memzero(c.key, sizeof c.key);
    if (code)
        return code;
    vmsig_audit_anchor_text(&c.chain, at);
    if (!json)
        print_text(&c, files, at);
    else if (print_json(&c, files, at) == -ENOMEM)
        return vmsig_cli_fail(VMSIG_EXIT_NOINPUT, "audit", "%s", strerror(ENOMEM));
    return (int)c.verdict;
}
