#include "rings/epoch.h"

#include <errno.h>

#include "rings/atomics.h"
#include "rings/page.h"
#include "rings/shm.h"

int vmsig_epoch_create(int fd, uint32_t endpoint, uint32_t incarnation, uint32_t epoch, vmsig_epoch_page **out) {
    void *map;
    int err = vmsig_page_create(fd, VMSIG_EPOCH_BYTES, &map);
    *out = map;
    if (err < 0)
        return err;
    (*out)->endpoint = endpoint;
    (*out)->word = (uint64_t)incarnation << 32 | epoch;
    vmsig_page_commit(map, VMSIG_EPOCH_MAGIC);
    return 0;
}

int vmsig_epoch_open(int fd, uint32_t endpoint, const vmsig_epoch_page **out) {
    const void *map;
    *out = NULL;
    int err = vmsig_page_open(fd, VMSIG_EPOCH_BYTES, VMSIG_EPOCH_MAGIC, &map);
    if (err < 0)
        return err;
    if (vmsig_load32(&((const vmsig_epoch_page *)map)->endpoint) != endpoint) {
        vmsig_shm_unmap(map, VMSIG_EPOCH_BYTES);
        return -EPROTO;
    }
    *out = map;
    return 0;
}

void vmsig_epoch_close(const vmsig_epoch_page *p) {
    vmsig_shm_unmap(p, VMSIG_EPOCH_BYTES);
}

uint32_t vmsig_epoch_advance(vmsig_epoch_page *p) {
    uint64_t word = p->word;
    uint32_t next = vmsig_epoch_of(word) + 1;
    vmsig_store64_release(&p->word, (uint64_t)vmsig_epoch_incarnation_of(word) << 32 | next);
    return next;
}

uint64_t vmsig_epoch_word(const vmsig_epoch_page *p) {
    return vmsig_load64_acquire(&p->word);
}
