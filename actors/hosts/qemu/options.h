/* options.h: the settings of a VM, and the command line that follows from them. */
#ifndef VMSIG_QEMU_OPTIONS_H
#define VMSIG_QEMU_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMSIG_QEMU_RAM_ID   "vmsig-ram"
#define VMSIG_QEMU_ARGS_MAX 256u

/* In QEMU: fds that it inherits. */
#define VMSIG_QEMU_RAM_FD 10
#define VMSIG_QEMU_QMP_FD 11

typedef enum vmsig_qemu_accel { VMSIG_ACCEL_AUTO = 0, VMSIG_ACCEL_KVM = 1, VMSIG_ACCEL_TCG = 2 } vmsig_qemu_accel;

/* Texts are malloc'ed; NULL = not set. */
typedef struct vmsig_qemu_options {
    uint64_t memory;
    int accel; /* vmsig_qemu_accel */
    char *program, *machine, *cpu, *kernel, *append, *initrd, *disk;
    bool console;
    int display;   /* 0 none, 1 VNC */
    char *sockets; /* the folder where QEMU offers both, as `console` and `display` */
    char *args[VMSIG_QEMU_ARGS_MAX];
    unsigned args_n;
} vmsig_qemu_options;

/* Reads what `option` knows, and looks whether the VM can be started with it: files are there, KVM is there when it is
 * demanded, memory suffices. 0, or -errno with one sentence in err; *out is to be freed in any case. */
int vmsig_qemu_options_read(const char *(*option)(void *ud, const char *key), void *ud, vmsig_qemu_options *out,
                            char *err, size_t err_len);
void vmsig_qemu_options_free(vmsig_qemu_options *o);

/* QEMU's arguments, NULL-terminated and malloc'ed, its texts too; NULL: out of memory. */
char **vmsig_qemu_argv(const vmsig_qemu_options *o);
void vmsig_qemu_argv_free(char **argv);

/* A text as a value inside one of QEMU's option lists: every comma doubled. malloc'ed, or NULL. */
char *vmsig_qemu_escape(const char *text);

#endif
