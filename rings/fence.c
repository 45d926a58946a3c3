#include "rings/fence.h"

#include "rings/atomics.h"
#include "rings/page.h"
#include "rings/shm.h"

_Static_assert(sizeof(vmsig_fence_page) <= VMSIG_FENCE_BYTES, "the page holds every endpoint");

#define OPEN      1ull
#define TOKEN_MAX (UINT64_MAX >> 1)

int vmsig_fence_create(int fd, vmsig_fence_page **out) {
    void *map;
    int err = vmsig_page_create(fd, VMSIG_FENCE_BYTES, &map);
    *out = map;
    if (err == 0)
        vmsig_page_commit(map, VMSIG_FENCE_MAGIC);
    return err;
}

int vmsig_fence_open(int fd, const vmsig_fence_page **out) {
    const void *map;
    int err = vmsig_page_open(fd, VMSIG_FENCE_BYTES, VMSIG_FENCE_MAGIC, &map);
    *out = map;
    return err;
}

void vmsig_fence_close(const vmsig_fence_page *p) {
    vmsig_shm_unmap(p, VMSIG_FENCE_BYTES);
}

static bool exists(uint32_t endpoint, vmsig_lease_class cls) {
    return endpoint < VMSIG_ENDPOINTS_MAX && (unsigned)cls < VMSIG_LEASE_CLASSES;
}

void vmsig_fence_raise(vmsig_fence_page *p, uint32_t endpoint, vmsig_lease_class cls, uint64_t token) {
    if (exists(endpoint, cls))
        vmsig_store64_release(&p->token[endpoint][cls], token << 1);
}

void vmsig_fence_grant(vmsig_fence_page *p, uint32_t endpoint, vmsig_lease_class cls, uint64_t token) {
    if (exists(endpoint, cls))
        vmsig_store64_release(&p->token[endpoint][cls], token << 1 | OPEN);
}

bool vmsig_fence_allows(const vmsig_fence_page *p, uint32_t endpoint, vmsig_lease_class cls, uint64_t token) {
    return exists(endpoint, cls) && token <= TOKEN_MAX &&
           vmsig_load64_acquire(&p->token[endpoint][cls]) == (token << 1 | OPEN);
}
