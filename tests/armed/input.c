/* An out-of-tree input library in one file: it writes what it is told to press into a file.
 *   vmsig_plugin_open: argv[1] the file */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <vmsig_core.h>

static int describe(void *src, vmsig_source_info *out) {
    (void)src;
    *out = (vmsig_source_info){.source = VMSIG_SRC_INPUT, .endpoint = 0, .accepts = 1u << (VMSIG_CMD_INPUT - 32)};
    return 0;
}

static int command(void *src, const vmsig_event *down) {
    size_t n = down->inln_len / sizeof(vmsig_input);
    if (down->kind != VMSIG_CMD_INPUT || fwrite(down->inln, sizeof(vmsig_input), n, src) != n || fflush(src) != 0) {
        errno = EIO;
        return -1;
    }
    return 0;
}

static void end(void *src) {
    fclose(src);
}

int vmsig_plugin_open(int argc, char **argv, const vmsig_source_ops **ops, void **src) {
    static const vmsig_source_ops mine = {
        .name = "keys to a file", .describe = describe, .command = command, .close = end};
    *ops = &mine;
    *src = argc == 2 ? fopen(argv[1], "a") : NULL;
    return *src ? 0 : -1;
}
