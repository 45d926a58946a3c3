/* vmsig bench: the measuring program beside this one. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/cli/cli.h"

int vmsig_cmd_bench(int argc, char **argv) {
    char path[PATH_MAX];
    int err = vmsig_cli_program("vmsig-bench", path, sizeof path);
    if (err)
        return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "bench", "%s: %s; it is built by `make`", path, strerror(-err));
    (void)argc;
    char name[] = "vmsig-bench";
    argv[0] = name;
    signal(SIGPIPE, SIG_DFL);
    execv(path, argv);
    return vmsig_cli_fail(VMSIG_EXIT_FAILURE, "bench", "%s: %s", path, strerror(errno));
}
