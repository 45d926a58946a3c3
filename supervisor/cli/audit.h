/* audit.h: the command `vmsig audit`: finding a log's files (audit.c), checking them (audit_verify.c), showing records
 * (audit_show.c), as they come (audit_follow.c).
 */
#ifndef VMSIG_CLI_AUDIT_H
#define VMSIG_CLI_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/audit.h"

#define VMSIG_EXIT_NOINPUT 66 /* a file cannot be read: the codes below are verdicts */

/* The segments of a log, oldest first. */
typedef struct vmsig_audit_files {
    char **path;
    int n;
    bool part; /* not the whole log was asked for */
} vmsig_audit_files;

/* All that `words` stand for: a present segment brings those before it. A sentence has been said when it fails. */
int vmsig_audit_files_of(const char *const *words, int nwords, vmsig_audit_files *out);
void vmsig_audit_files_free(vmsig_audit_files *f);
/* The whole file, the caller's, or NULL with errno. */
uint8_t *vmsig_audit_read(const char *path, size_t *len);

/* Prints a record, for people or as JSON. false: stdout is gone. */
bool vmsig_audit_print(const Vmsig__Pb__AuditEntry *e, bool json);

int vmsig_audit_verify(const char *const *words, int nwords, const char *key, const char *anchor, bool json);
int vmsig_audit_show(const char *const *words, int nwords, uint64_t last, bool json);
int vmsig_audit_follow(const char *path, bool json);

#endif
