#include "actors/hosts/qemu/options.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schema/conf_value.h"

#define MIB ((uint64_t)1 << 20)

static const char *const accels[] = {"auto", "kvm", "tcg", NULL}; /* vmsig_qemu_accel */
static const char *const displays[] = {"none", "vnc", NULL};

#define AT(f) .offset = offsetof(vmsig_qemu_options, f)

/* Defaults and ranges once more, for who runs it without a topology that has checked them. */
static const vmsig_conf_key keys[] = {
    {.name = "memory", .type = VMSIG_CONF_SIZE, AT(memory), .min = 4 * MIB, .max = 1ull << 40},
    {.name = "accel", .type = VMSIG_CONF_CHOICE, AT(accel), .choices = accels},
    {.name = "program", .type = VMSIG_CONF_STRING, AT(program)},
    {.name = "machine", .type = VMSIG_CONF_STRING, AT(machine)},
    {.name = "cpu", .type = VMSIG_CONF_STRING, AT(cpu)},
    {.name = "kernel", .type = VMSIG_CONF_STRING, AT(kernel)},
    {.name = "append", .type = VMSIG_CONF_STRING, AT(append)},
    {.name = "initrd", .type = VMSIG_CONF_STRING, AT(initrd)},
    {.name = "disk", .type = VMSIG_CONF_STRING, AT(disk)},
    {.name = "console", .type = VMSIG_CONF_BOOL, AT(console)},
    {.name = "display", .type = VMSIG_CONF_CHOICE, AT(display), .choices = displays},
    {.name = "sockets", .type = VMSIG_CONF_STRING, AT(sockets)},
};

typedef struct complaint {
    char *err;
    size_t len;
} complaint;

static int say(const complaint *c, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int say(const complaint *c, int rc, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->err, c->len, fmt, ap);
    va_end(ap);
    return rc;
}

/* ---- reading ----------------------------------------------------------------------------------------- */

static int read_keys(const char *(*option)(void *, const char *), void *ud, vmsig_qemu_options *o, const complaint *c) {
    vmsig_conf_error why = {{0}};
    const vmsig_conf_place place = {.file = "qemu", .err = &why};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *text = option(ud, keys[i].name);
        if (!text)
            continue;
        int rc = vmsig_conf_scalar(&place, &keys[i], text, strlen(text), (char *)o + keys[i].offset);
        if (rc < 0)
            return say(c, rc, "%s", why.text);
    }
    return 0;
}

/* A list comes as args.0, args.1 and so on. */
static int read_args(const char *(*option)(void *, const char *), void *ud, vmsig_qemu_options *o, const complaint *c) {
    for (; o->args_n < VMSIG_QEMU_ARGS_MAX; o->args_n++) {
        char key[24];
        snprintf(key, sizeof key, "args.%u", o->args_n);
        const char *text = option(ud, key);
        if (!text)
            return 0;
        if (!(o->args[o->args_n] = strdup(text)))
            return say(c, -ENOMEM, "no memory for the VM's settings");
    }
    return say(c, -E2BIG, "args: more than %u arguments for QEMU", VMSIG_QEMU_ARGS_MAX);
}

/* ---- can it be started? ------------------------------------------------------------------------------ */

static bool executable(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool in_path(const char *name) {
    const char *at = getenv("PATH");
    for (size_t n = 0; at && *at; at += n + (at[n] == ':')) {
        char full[4096];
        n = strcspn(at, ":");
        if (snprintf(full, sizeof full, "%.*s/%s", (int)n, at, name) < (int)sizeof full && executable(full))
            return true;
    }
    return false;
}

static int check_program(const vmsig_qemu_options *o, const complaint *c) {
    if (strchr(o->program, '/') ? executable(o->program) : in_path(o->program))
        return 0;
    return say(c, -ENOENT, "there is no program %s here: install the package qemu-system-x86, or name it by `program`",
               o->program);
}

/* *bytes grows by the file's size. */
static int check_file(const char *what, const char *path, int mode, uint64_t *bytes, const complaint *c) {
    struct stat st;
    if (!path)
        return 0;
    if (access(path, mode) < 0 || stat(path, &st) < 0)
        return say(c, -errno, "%s: %s: %s (as user %u)", what, path, strerror(errno), (unsigned)geteuid());
    if (S_ISDIR(st.st_mode))
        return say(c, -EISDIR, "%s: %s is a folder, not a file", what, path);
    *bytes += (uint64_t)st.st_size;
    return 0;
}

static int check_files(const vmsig_qemu_options *o, uint64_t *bytes, const complaint *c) {
    uint64_t elsewhere = 0; /* a disk takes no RAM */
    int rc = check_file("kernel", o->kernel, R_OK, bytes, c);
    if (rc == 0)
        rc = check_file("initrd", o->initrd, R_OK, bytes, c);
    if (rc == 0)
        rc = check_file("disk", o->disk, R_OK | W_OK, &elsewhere, c);
    if (rc == 0 && !o->kernel && (o->append || o->initrd))
        return say(c, -EINVAL, "%s: it needs a kernel", o->append ? "append" : "initrd");
    return rc;
}

static int check_memory(const vmsig_qemu_options *o, uint64_t taken, const complaint *c) {
    uint64_t here = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (o->memory % MIB != 0)
        return say(c, -EINVAL, "memory: %" PRIu64 " bytes is no whole number of megabytes", o->memory);
    if (o->memory > here)
        return say(c, -ENOMEM, "memory: the VM wants %" PRIu64 "M, and this machine has %" PRIu64 "M", o->memory / MIB,
                   here / MIB);
    if (taken + MIB > o->memory)
        return say(c, -EINVAL, "memory: %" PRIu64 "M is too little for a kernel and initrd of %" PRIu64 "M",
                   o->memory / MIB, taken / MIB + 1);
    return 0;
}

static int check_accel(vmsig_qemu_options *o, const complaint *c) {
    int fd = o->accel == VMSIG_ACCEL_TCG ? -1 : open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd < 0 && o->accel == VMSIG_ACCEL_KVM)
        return say(c, -errno,
                   errno == EACCES ? "accel: kvm is demanded, but /dev/kvm cannot be opened as user %u: %s; `user:` of "
                                     "the endpoint names another"
                                   : "accel: kvm is demanded, but /dev/kvm cannot be opened as user %u: %s",
                   (unsigned)geteuid(), strerror(errno));
    if (o->accel == VMSIG_ACCEL_AUTO)
        o->accel = fd < 0 ? VMSIG_ACCEL_TCG : VMSIG_ACCEL_KVM;
    if (fd >= 0)
        close(fd);
    return 0;
}

static int check_sockets(const vmsig_qemu_options *o, const complaint *c) {
    if (o->sockets || (!o->console && !o->display))
        return 0;
    return say(c, -EINVAL, "%s: it needs a folder for its socket (sockets)", o->console ? "console" : "display");
}

static int fill_in(vmsig_qemu_options *o, const complaint *c) {
    if (!o->program)
        o->program = strdup("qemu-system-x86_64");
    if (!o->machine)
        o->machine = strdup("q35");
    return o->program && o->machine ? 0 : say(c, -ENOMEM, "no memory for the VM's settings");
}

int vmsig_qemu_options_read(const char *(*option)(void *ud, const char *key), void *ud, vmsig_qemu_options *out,
                            char *err, size_t err_len) {
    const complaint c = {err, err_len};
    uint64_t taken = 0;
    *out = (vmsig_qemu_options){.memory = 128 * MIB};
    int rc = read_keys(option, ud, out, &c);
    if (rc == 0)
        rc = read_args(option, ud, out, &c);
    if (rc == 0)
        rc = fill_in(out, &c);
    if (rc == 0)
        rc = check_program(out, &c);
    if (rc == 0)
        rc = check_files(out, &taken, &c);
    if (rc == 0)
        rc = check_memory(out, taken, &c);
    if (rc == 0)
        rc = check_sockets(out, &c);
    return rc == 0 ? check_accel(out, &c) : rc;
}

void vmsig_qemu_options_free(vmsig_qemu_options *o) {
    char *texts[] = {o->program, o->machine, o->cpu, o->kernel, o->append, o->initrd, o->disk, o->sockets};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
    for (unsigned i = 0; i < o->args_n; i++)
        free(o->args[i]);
    *o = (vmsig_qemu_options){0};
}

/* ---- the command line -------------------------------------------------------------------------------- */

char *vmsig_qemu_escape(const char *text) {
    char *out = malloc(2 * strlen(text) + 1), *to = out;
    for (; out && *text; *to++ = *text++)
        if (*text == ',')
            *to++ = ',';
    if (out)
        *to = 0;
    return out;
}

typedef struct line {
    char **argv;
    size_t n;
    bool failed;
} line;

static void put(line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(line *l, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&l->argv[l->n], fmt, ap) < 0)
        l->argv[l->n] = NULL;
    va_end(ap);
    l->failed = l->failed || !l->argv[l->n];
    l->n += l->argv[l->n] != NULL;
}

static void put_pair(line *l, const char *key, const char *value) {
    if (!value)
        return;
    put(l, "%s", key);
    put(l, "%s", value);
}

/* What the first bytes say: guessed by QEMU itself, a raw disk's first sector would be read-only. */
static const char *disk_format(const char *path) {
    char magic[4] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool qcow2 = fd >= 0 && read(fd, magic, 4) == 4 && memcmp(magic, "QFI\xfb", 4) == 0;
    if (fd >= 0)
        close(fd);
    return qcow2 ? "qcow2" : "raw";
}

static void put_disk(line *l, const char *path) {
    char *file = path ? vmsig_qemu_escape(path) : NULL;
    if (file) {
        put(l, "-drive");
        put(l, "file=%s,format=%s,if=virtio", file, disk_format(path));
    }
    l->failed = l->failed || (path && !file);
    free(file);
}

/* Both where the sensors of the endpoint look for them. */
static void put_sockets(line *l, const vmsig_qemu_options *o) {
    char *folder = o->sockets ? vmsig_qemu_escape(o->sockets) : NULL;
    l->failed = l->failed || (o->sockets && !folder);
    if (folder && o->console) {
        put(l, "-chardev");
        put(l, "socket,id=vmsig-console,path=%s/console,server=on,wait=off", folder);
        put_pair(l, "-serial", "chardev:vmsig-console");
    }
    if (folder && o->display) {
        put_pair(l, "-vga", "std");
        put(l, "-vnc");
        put(l, "unix:%s/display", folder);
    }
    free(folder);
}

char **vmsig_qemu_argv(const vmsig_qemu_options *o) {
    line l = {.argv = calloc(48u + o->args_n, sizeof(char *))};
    if (!l.argv)
        return NULL;
    put(&l, "%s", o->program);
    put(&l, "-nodefaults");
    put(&l, "-no-user-config");
    put_pair(&l, "-display", "none");
    put(&l, "-machine");
    put(&l, "%s,accel=%s,memory-backend=" VMSIG_QEMU_RAM_ID, o->machine, accels[o->accel]);
    put_pair(&l, "-cpu", o->cpu);
    put(&l, "-m");
    put(&l, "%" PRIu64 "M", o->memory / MIB);
    put(&l, "-object");
    put(&l, "memory-backend-file,id=" VMSIG_QEMU_RAM_ID ",size=%" PRIu64 ",mem-path=/proc/self/fd/%d,share=on",
        o->memory, VMSIG_QEMU_RAM_FD);
    put(&l, "-chardev");
    put(&l, "socket,id=vmsig-qmp,fd=%d", VMSIG_QEMU_QMP_FD);
    put_pair(&l, "-mon", "chardev=vmsig-qmp,mode=control");
    put(&l, "-S");
    put_pair(&l, "-action", "reboot=shutdown,shutdown=pause,panic=pause");
    put_pair(&l, "-kernel", o->kernel);
    put_pair(&l, "-append", o->append);
    put_pair(&l, "-initrd", o->initrd);
    put_disk(&l, o->disk);
    put_sockets(&l, o);
    for (unsigned i = 0; i < o->args_n; i++)
        put(&l, "%s", o->args[i]);
    if (!l.failed)
        return l.argv;
    vmsig_qemu_argv_free(l.argv);
    return NULL;
}

void vmsig_qemu_argv_free(char **argv) {
    for (size_t i = 0; argv && argv[i]; i++)
        free(argv[i]);
    free(argv);
}
