/* vmsig-keeper: the root keeper; `vmsig up` starts it with the supervisor's command line. */
#include <stdio.h>

#include "supervisor/keeper/keeper.h"

int main(int argc, char **argv) {
    if (argc < 2 || argv[1][0] != '/') {
        fprintf(stderr,
                "vmsig-keeper: is started by `vmsig up`; usage: vmsig-keeper /ABSOLUTE/vmsig-supervisor ARGS...\n");
        return 64;
    }
    return vmsig_keeper_main(argv + 1);
}
