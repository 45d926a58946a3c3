/* vmsig-host-qemu: a QEMU VM as an actor. */
#include "actors/hosts/qemu/keep.h"

int main(void) {
    return vmsig_qemu_keep_main();
}
