#include "supervisor/client/answer.h"

#include <errno.h>
#include <unistd.h>

#include "rings/shm.h"

static int send_large(int sock, const Vmsig__Pb__Response *r, size_t len) {
    Vmsig__Pb__Response note = VMSIG__PB__RESPONSE__INIT;
    void *map;
    if (len > VMSIG_ANSWER_MAX)
        return -EMSGSIZE;
    int fd = vmsig_shm_create("vmsig-answer", len);
    int rc = fd < 0 ? fd : vmsig_shm_map_rw(fd, len, &map);
    if (rc == 0) {
        vmsig__pb__response__pack(r, map);
        vmsig_shm_unmap(map, len);
        rc = vmsig_shm_seal(fd);
    }
    note.has_large = 1;
    note.large = (uint32_t)len;
    if (rc == 0)
        rc = vmsig_frame_send(sock, &note.base, &fd, 1);
    if (fd >= 0)
        close(fd);
    return rc;
}

int vmsig_answer_send(int sock, const Vmsig__Pb__Response *r) {
    size_t len = vmsig__pb__response__get_packed_size(r);
    return len > VMSIG_FRAME_MAX ? send_large(sock, r, len) : vmsig_frame_send(sock, &r->base, NULL, 0);
}

static Vmsig__Pb__Response *unpack_large(const vmsig_frame *f, uint32_t len) {
    const void *map;
    if (f->nfds != 1 || len > VMSIG_ANSWER_MAX || vmsig_shm_check(f->fds[0], len) != 0 ||
        vmsig_shm_map_ro(f->fds[0], len, &map) != 0)
        return NULL;
    Vmsig__Pb__Response *r = vmsig_bytes_unpack(map, len, &vmsig__pb__response__descriptor);
    vmsig_shm_unmap(map, len);
    return r;
}

Vmsig__Pb__Response *vmsig_answer_unpack(vmsig_frame *f) {
    Vmsig__Pb__Response *r = vmsig_frame_unpack(f, &vmsig__pb__response__descriptor);
    if (r != NULL && r->has_large) {
        uint32_t len = r->large;
        vmsig__pb__response__free_unpacked(r, NULL);
        r = unpack_large(f, len);
    }
    vmsig_frame_close_fds(f);
    return r;
}
