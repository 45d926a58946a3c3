/* program.h: a program with its arguments, held open: what it is started from stays the same, whatever lies at its path.
 */
#ifndef VMSIG_KEEPER_PROGRAM_H
#define VMSIG_KEEPER_PROGRAM_H

#include <stdint.h>

typedef struct vmsig_program {
    char **argv; /* NULL-terminated; NULL: there is none */
    char *text;  /* where the strings lie, if they are its own */
    int fd;      /* O_PATH; -1 = it could not be opened */
} vmsig_program;

/* Splits blob (len bytes, NUL-terminated strings) into n strings, then the rest of them: argv and env, both
 * NULL-terminated, in one malloc'ed array that points into blob. NULL: fewer than n, or no memory. */
char **vmsig_strings_split(char *blob, uint32_t len, uint32_t n, char ***env);

/* Of copies of the strings and of fd: 0, -EINVAL, -ENOMEM, -EMFILE. */
int vmsig_program_make(vmsig_program *p, const char *blob, uint32_t len, uint32_t argc, int fd);
/* Strings that outlive it; argv[0] is opened. */
void vmsig_program_open(vmsig_program *p, char *const argv[]);
void vmsig_program_free(vmsig_program *p);

#endif
