/* A context that dies of events whose body begins with "deadly", when it takes them apart. All else is vmsig-context. */
#include <stdlib.h>

#include <string.h>

#include "schema/slot.h"

static int fragile_unpack(vmsig_event *ev, const vmsig_image *img);
#define vmsig_image_unpack fragile_unpack
#include "actors/context/relay.c"
#undef vmsig_image_unpack
#include "actors/context/relay_ahead.c"
#include "actors/context/relay_dispatch.c"
#include "actors/context/relay_epoch.c"
#include "actors/context/relay_poison.c"
#include "actors/context/relay_redo.c"
#include "actors/context/relay_state.c"
#include "actors/context/vmsig-context_main.c"

static int fragile_unpack(vmsig_event *ev, const vmsig_image *img) {
    int n = vmsig_image_unpack(ev, img);
    if (n >= 0 && ev->inln_len > 6 && memcmp(ev->inln, "deadly", 6) == 0)
        abort();
    return n;
}
