#include "supervisor/keeper/program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char **vmsig_strings_split(char *blob, uint32_t len, uint32_t n, char ***env) {
    uint32_t strings = 0;
    if (len == 0 || blob[len - 1] != 0)
        return NULL;
    for (uint32_t i = 0; i < len; i++)
        strings += blob[i] == 0;
    if (n == 0 || n > strings)
        return NULL;
    char **all = calloc((size_t)strings + 2, sizeof *all);
    if (all == NULL)
        return NULL;
    char *at = blob;
    for (uint32_t i = 0; i < strings; i++) {
        all[i < n ? i : i + 1] = at;
        at += strlen(at) + 1;
    }
    *env = all + n + 1;
    return all;
}

int vmsig_program_make(vmsig_program *p, const char *blob, uint32_t len, uint32_t argc, int fd) {
    char **none;
    *p = (vmsig_program){.text = malloc(len + 1u), .fd = -1};
    if (p->text == NULL)
        return -ENOMEM;
    memcpy(p->text, blob, len);
    p->argv = vmsig_strings_split(p->text, len, argc, &none);
    if (p->argv != NULL)
        p->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    int rc = p->argv == NULL ? -EINVAL : p->fd < 0 ? -errno : 0;
    if (rc)
        vmsig_program_free(p);
    return rc;
}

void vmsig_program_open(vmsig_program *p, char *const argv[]) {
    *p = (vmsig_program){.argv = (char **)(uintptr_t)argv, .fd = open(argv[0], O_PATH | O_CLOEXEC)};
}

void vmsig_program_free(vmsig_program *p) {
    if (p->text != NULL)
        free(p->argv);
    free(p->text);
    if (p->fd >= 0)
        close(p->fd);
    *p = (vmsig_program){.fd = -1};
}
