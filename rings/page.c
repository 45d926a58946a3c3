#include "rings/page.h"

#include <errno.h>
#include <string.h>

#include "rings/atomics.h"
#include "rings/shm.h"
#include "schema/slot.h"

typedef struct page_head {
    uint64_t magic;
    uint32_t layout;
} page_head;

int vmsig_page_create(int fd, size_t bytes, void **out) {
    *out = NULL;
    int err = vmsig_shm_map_rw(fd, bytes, out);
    if (err == 0)
        memset(*out, 0, bytes);
    return err;
}

void vmsig_page_commit(void *page, uint64_t magic) {
    page_head *h = page;
    h->layout = VMSIG_LAYOUT;
    vmsig_store64_release(&h->magic, magic);
}

int vmsig_page_open(int fd, size_t bytes, uint64_t magic, const void **out) {
    *out = NULL;
    int err = vmsig_shm_check(fd, bytes);
    if (err < 0)
        return err;
    const void *map;
    err = vmsig_shm_map_ro(fd, bytes, &map);
    if (err < 0)
        return err;
    const page_head *h = map;
    if (vmsig_load64_acquire(&h->magic) != magic || vmsig_load32(&h->layout) != VMSIG_LAYOUT) {
        vmsig_shm_unmap(map, bytes);
        return -EPROTO;
    }
    *out = map;
    return 0;
}
