/* vmsig-host-stub: the built-in endpoint as an actor. */
#include "actors/hosts/stub/stub.h"

int main(void) {
    return vmsig_host_actor_main(vmsig_stub_make);
}
