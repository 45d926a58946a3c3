#include "rings/state.h"

#include <errno.h>

#include "rings/atomics.h"
#include "rings/shm.h"
#include "schema/slot.h"

int vmsig_state_open(int fd, uint32_t kind, uint32_t version, size_t bytes, vmsig_state_head **out, bool *fresh) {
    *out = NULL;
    if (bytes < sizeof(vmsig_state_head))
        return -EINVAL;
    void *map;
    int err = vmsig_shm_map_lazy(fd, bytes, &map);
    if (err < 0)
        return err;
    vmsig_state_head *h = map;
    uint64_t magic = vmsig_load64_acquire(&h->magic);
    *fresh = magic == 0;
    if (magic != 0 && (magic != VMSIG_STATE_MAGIC || h->layout != VMSIG_LAYOUT || h->kind != kind ||
                       h->version != version || h->bytes != bytes)) {
        vmsig_shm_unmap(map, bytes);
        return -EPROTO;
    }
    if (*fresh)
        vmsig_shm_populate(map, bytes); /* failing, the first touch of each page does it */
    h->bytes = bytes;                   /* for close, of a fresh one too */
    *out = h;
    return 0;
}

void vmsig_state_commit(vmsig_state_head *s, uint32_t kind, uint32_t version, size_t bytes) {
    s->layout = VMSIG_LAYOUT;
    s->kind = kind;
    s->version = version;
    s->bytes = bytes;
    vmsig_store64_release(&s->magic, VMSIG_STATE_MAGIC);
}

void vmsig_state_close(vmsig_state_head *s) {
    if (s != NULL)
        vmsig_shm_unmap(s, s->bytes);
}
