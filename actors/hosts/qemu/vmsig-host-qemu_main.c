/* vmsig-host-qemu: a QEMU VM as an actor. */
#include "actors/hosts/qemu/qemu.h"

int main(void) {
    return vmsig_host_actor_main(vmsig_qemu_make);
}
