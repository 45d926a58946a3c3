/* cli.h: what the commands of the program `vmsig` have in common.
 *
 *   vmsig_main.c ──table──► vmsig_cmd_NAME(argc, argv) ──► exit code      argv[0] is the command's own name
 *
 * A command parses with vmsig_cli_parse, says what is wrong in one sentence by vmsig_cli_fail, prints data on stdout
 * (text for people, with --json one object per line for programs) and everything else on stderr.
 */
#ifndef VMSIG_CLI_H
#define VMSIG_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit codes of the program; a stable promise, see docs/operating.md. */
#define VMSIG_EXIT_OK       0
#define VMSIG_EXIT_FAILURE  1
#define VMSIG_EXIT_TOPOLOGY 2
#define VMSIG_EXIT_GROUP    3
#define VMSIG_EXIT_USAGE    64

int vmsig_cmd_up(int argc, char **argv);
int vmsig_cmd_check(int argc, char **argv);
int vmsig_cmd_status(int argc, char **argv);
int vmsig_cmd_top(int argc, char **argv);
int vmsig_cmd_grants(int argc, char **argv);
int vmsig_cmd_restart(int argc, char **argv);
int vmsig_cmd_plug(int argc, char **argv);
int vmsig_cmd_unplug(int argc, char **argv);
int vmsig_cmd_upgrade(int argc, char **argv);
int vmsig_cmd_reload(int argc, char **argv);
int vmsig_cmd_tap(int argc, char **argv);
int vmsig_cmd_send(int argc, char **argv);
int vmsig_cmd_audit(int argc, char **argv);
int vmsig_cmd_bench(int argc, char **argv);

/* ---- arguments --------------------------------------------------------------------------------------- */

typedef enum vmsig_cli_opt_type {
    VMSIG_CLI_YES,  /* sets *(bool *)out */
    VMSIG_CLI_TEXT, /* *(const char **)out */
    VMSIG_CLI_UINT, /* *(uint64_t *)out, at most max */
    VMSIG_CLI_TIME  /* *(int *)out, milliseconds, 1 .. one hour; a bare number is seconds, else ms or s follows */
} vmsig_cli_opt_type;

/* A long option; an array of them ends with name NULL. */
typedef struct vmsig_cli_opt {
    const char *name;
    vmsig_cli_opt_type type;
    void *out;
    uint64_t max;
} vmsig_cli_opt;

#define VMSIG_CLI_WORDS_MAX 64

/* Parses argv by opts, options and words in any order; a word may be a negative number, and `--` ends the options.
 * --help prints `help`. False: the command is over, with *code. Words are borrowed from argv. */
bool vmsig_cli_parse(int argc, char **argv, const char *help, const vmsig_cli_opt *opts, const char **words,
                     int *nwords, int *code);

/* A number in decimal or 0x hex: false when it is none or beyond max. */
bool vmsig_cli_uint(const char *text, uint64_t max, uint64_t *out);
bool vmsig_cli_int(const char *text, int64_t min, int64_t max, int64_t *out);

/* The one of the NULL-terminated names that `text` was probably meant to be, or NULL. */
const char *vmsig_cli_nearest(const char *text, const char *const *names);

/* What vmsig_client_open takes for --name or --socket; a relative socket path is given a slash, in buf. */
const char *vmsig_cli_where(const char *name, const char *socket, char *buf, size_t len);

/* ---- saying things ----------------------------------------------------------------------------------- */

/* "vmsig COMMAND: sentence" on stderr; returns code. */
int vmsig_cli_fail(int code, const char *command, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Flushes stdout: false when nobody reads it any more, or it cannot be written. */
bool vmsig_cli_flush(void);
/* Nobody reads stdout any more: a pipe or socket whose other end is closed. */
bool vmsig_cli_reader_gone(void);

/* ---- where vmsig's own programs lie ------------------------------------------------------------------ */

/* The folder of the running program: 0 or -errno. */
int vmsig_cli_program_dir(char *buf, size_t len);
/* The path of one of vmsig's programs: 0, or -ENOENT when it is not there. */
int vmsig_cli_program(const char *name, char *buf, size_t len);

#endif
