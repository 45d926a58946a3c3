/* The shared pages that an actor writes or reads, and other fds that come with the boot. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors/runtime/rt.h"
#include "rings/shm.h"

/* ---- pages of its own -------------------------------------------------------------------------------- */

static int own_gauges(vmsig_rt *rt, int fd) {
    long long size = vmsig_shm_size(fd);
    if (size < (long long)sizeof(vmsig_gauges))
        return -EMSGSIZE;
    size_t links = ((size_t)size - sizeof(vmsig_gauges)) / sizeof(vmsig_link_gauge);
    return vmsig_gauges_create(fd, (uint32_t)links, &rt->gauges);
}

static int own_page(vmsig_rt *rt, const Vmsig__Pb__Page *m, int fd) {
    switch (m->kind) {
    case VMSIG__PB__PAGE_KIND__PAGE_GAUGES:
        return rt->gauges ? -EEXIST : own_gauges(rt, fd);
    case VMSIG__PB__PAGE_KIND__PAGE_EPOCH:
        return rt->own_epoch
                   ? -EEXIST
                   : vmsig_epoch_create(fd, m->endpoint, rt->boot->incarnation, rt->boot->epoch_base, &rt->own_epoch);
    case VMSIG__PB__PAGE_KIND__PAGE_FENCES:
        return rt->own_fences ? -EEXIST : vmsig_fence_create(fd, &rt->own_fences);
    default:
        return -EPROTO;
    }
}

static void say_mapped(vmsig_rt *rt, const Vmsig__Pb__Page *page) {
    Vmsig__Pb__PageMapped mapped = VMSIG__PB__PAGE_MAPPED__INIT;
    mapped.kind = page->kind;
    mapped.has_endpoint = true;
    mapped.endpoint = page->endpoint;
    Vmsig__Pb__FromActor m = VMSIG__PB__FROM_ACTOR__INIT;
    m.m_case = VMSIG__PB__FROM_ACTOR__M_PAGE_MAPPED;
    m.page_mapped = &mapped;
    int err = vmsig_rt_send(rt, &m, -1);
    if (err)
        vmsig_rt_log(rt, "cannot tell the supervisor that a page is mapped: %s", strerror(-err));
}

/* ---- pages of others --------------------------------------------------------------------------------- */

static int read_board(vmsig_rt *rt, int fd) {
    const vmsig_board *board;
    int err = vmsig_board_open(fd, &board);
    if (err)
        return err;
    if (rt->board)
        vmsig_board_close(rt->board);
    rt->board = board;
    return 0;
}

static int read_epoch(vmsig_rt *rt, uint32_t endpoint, int fd) {
    if (endpoint >= VMSIG_ENDPOINTS_MAX)
        return -EPROTO;
    const vmsig_epoch_page *page;
    int err = vmsig_epoch_open(fd, endpoint, &page);
    if (err)
        return err;
    if (rt->epochs[endpoint])
        vmsig_epoch_close(rt->epochs[endpoint]);
    rt->epochs[endpoint] = page;
    return 0;
}

static int read_fences(vmsig_rt *rt, uint32_t endpoint, int fd) {
    if (endpoint >= VMSIG_ENDPOINTS_MAX)
        return -EPROTO;
    const vmsig_fence_page *page;
    int err = vmsig_fence_open(fd, &page);
    if (err)
        return err;
    if (rt->fences[endpoint])
        vmsig_fence_close(rt->fences[endpoint]);
    rt->fences[endpoint] = page;
    return 0;
}

static int read_page(vmsig_rt *rt, const Vmsig__Pb__Page *m, int fd) {
    switch (m->kind) {
    case VMSIG__PB__PAGE_KIND__PAGE_BOARD:
        return read_board(rt, fd);
    case VMSIG__PB__PAGE_KIND__PAGE_EPOCH:
        return read_epoch(rt, m->endpoint, fd);
    case VMSIG__PB__PAGE_KIND__PAGE_FENCES:
        return read_fences(rt, m->endpoint, fd);
    default:
        return -EPROTO;
    }
}

/* ---- both -------------------------------------------------------------------------------------------- */

static const char *page_name(Vmsig__Pb__PageKind kind) {
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(&vmsig__pb__page_kind__descriptor, (int)kind);
    return v ? v->name : "?";
}

int vmsig_rt_page(vmsig_rt *rt, const Vmsig__Pb__Page *m, int fd) {
    int err = m->writer ? own_page(rt, m, fd) : read_page(rt, m, fd);
    if (err) {
        vmsig_rt_fail(rt, "cannot map the page %s of endpoint %u: %s", page_name(m->kind), m->endpoint, strerror(-err));
        return err;
    }
    if (m->writer)
        say_mapped(rt, m);
    else if (rt->booted && rt->ops->page)
        rt->ops->page(rt->self, m->kind, m->endpoint);
    return 0;
}

/* An actor that is sent no gauges counts for itself. */
int vmsig_rt_gauges_ready(vmsig_rt *rt) {
    if (rt->gauges)
        return 0;
    rt->own_gauges = aligned_alloc(alignof(vmsig_gauges), sizeof(vmsig_gauges));
    if (!rt->own_gauges)
        return -ENOMEM;
    memset(rt->own_gauges, 0, sizeof(vmsig_gauges));
    rt->gauges = rt->own_gauges;
    return 0;
}

static int *fd_place(vmsig_rt *rt, Vmsig__Pb__FdKind kind) {
    switch (kind) {
    case VMSIG__PB__FD_KIND__FD_LISTEN:
        return &rt->listen_fd;
    case VMSIG__PB__FD_KIND__FD_AUDIT:
        return &rt->audit_fd;
    case VMSIG__PB__FD_KIND__FD_AUDIT_PREV:
        return &rt->audit_prev_fd;
    case VMSIG__PB__FD_KIND__FD_AUDIT_SEAL:
        return &rt->audit_seal_fd;
    default:
        return NULL;
    }
}

int vmsig_rt_take_fd(vmsig_rt *rt, Vmsig__Pb__FdKind kind, int fd) {
    int *place = fd_place(rt, kind);
    if (!place)
        return -EPROTO;
    if (*place >= 0)
        close(*place);
    *place = fd;
    if (rt->ready && rt->ops->fd)
        rt->ops->fd(rt->self, kind);
    return 0;
}

int vmsig_rt_fd(const vmsig_rt *rt, Vmsig__Pb__FdKind kind) {
    const int *place = fd_place((vmsig_rt *)(uintptr_t)rt, kind);
    return place ? *place : -1;
}

int vmsig_rt_ask_audit(vmsig_rt *rt) {
    Vmsig__Pb__AuditFull full = VMSIG__PB__AUDIT_FULL__INIT;
    Vmsig__Pb__FromActor m = VMSIG__PB__FROM_ACTOR__INIT;
    m.m_case = VMSIG__PB__FROM_ACTOR__M_AUDIT_FULL;
    m.audit_full = &full;
    return vmsig_rt_send(rt, &m, -1);
}

int vmsig_rt_say_unquiet(vmsig_rt *rt, uint32_t endpoint) {
    Vmsig__Pb__Unquiet unquiet = VMSIG__PB__UNQUIET__INIT;
    unquiet.endpoint = endpoint;
    Vmsig__Pb__FromActor m = VMSIG__PB__FROM_ACTOR__INIT;
    m.m_case = VMSIG__PB__FROM_ACTOR__M_UNQUIET;
    m.unquiet = &unquiet;
    return vmsig_rt_send(rt, &m, -1);
}

void vmsig_rt_pages_drop(vmsig_rt *rt) {
    if (rt->board)
        vmsig_board_close(rt->board);
    if (rt->own_gauges)
        free(rt->own_gauges);
    else if (rt->gauges)
        vmsig_gauges_close(rt->gauges, rt->gauges->links_max);
    if (rt->own_epoch)
        vmsig_epoch_close(rt->own_epoch);
    for (unsigned i = 0; i < VMSIG_ENDPOINTS_MAX; i++) {
        if (rt->epochs[i])
            vmsig_epoch_close(rt->epochs[i]);
        if (rt->fences[i])
            vmsig_fence_close(rt->fences[i]);
    }
    if (rt->own_fences)
        vmsig_fence_close(rt->own_fences);
    const int fds[] = {rt->state_fd, rt->listen_fd, rt->audit_fd, rt->audit_prev_fd, rt->audit_seal_fd};
    for (unsigned i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* ---- what they say ----------------------------------------------------------------------------------- */

uint32_t vmsig_rt_epoch(const vmsig_rt *rt, uint32_t endpoint) {
    if (endpoint >= VMSIG_ENDPOINTS_MAX)
        return 0;
    if (rt->own_epoch && rt->own_epoch->endpoint == endpoint)
        return vmsig_epoch_of(vmsig_epoch_word(rt->own_epoch));
    if (!rt->board || !rt->epochs[endpoint])
        return 0;
    vmsig_board_entry host = vmsig_board_endpoint(rt->board, endpoint);
    bool up =
        host.state == VMSIG_ACTOR_STARTING || host.state == VMSIG_ACTOR_READY || host.state == VMSIG_ACTOR_STOPPING;
    uint64_t word = vmsig_epoch_word(rt->epochs[endpoint]);
    return up && vmsig_epoch_incarnation_of(word) == host.incarnation ? vmsig_epoch_of(word) : 0;
}

vmsig_epoch_page *vmsig_rt_own_epoch(vmsig_rt *rt) {
    return rt->own_epoch;
}

vmsig_fence_page *vmsig_rt_own_fences(vmsig_rt *rt) {
    return rt->own_fences;
}

const vmsig_fence_page *vmsig_rt_fences(const vmsig_rt *rt, uint32_t endpoint) {
    return endpoint < VMSIG_ENDPOINTS_MAX ? rt->fences[endpoint] : NULL;
}

const vmsig_board *vmsig_rt_board(const vmsig_rt *rt) {
    return rt->board;
}

vmsig_gauges *vmsig_rt_gauges(vmsig_rt *rt) {
    return rt->gauges;
}

int vmsig_rt_state_fd(const vmsig_rt *rt) {
    return rt->state_fd;
}

void vmsig_rt_remark(vmsig_rt *rt, const char *text) {
    snprintf(rt->gauges->remark, sizeof rt->gauges->remark, "%s", text);
}

/* ---- RAM --------------------------------------------------------------------------------------------- */

int vmsig_rt_offer_ram(vmsig_rt *rt, uint32_t endpoint, uint32_t ram_id, int ro_fd) {
    Vmsig__Pb__Ram ram = VMSIG__PB__RAM__INIT;
    ram.endpoint = endpoint;
    ram.ram_id = ram_id;
    Vmsig__Pb__FromActor m = VMSIG__PB__FROM_ACTOR__INIT;
    m.m_case = VMSIG__PB__FROM_ACTOR__M_RAM;
    m.ram = &ram;
    return vmsig_rt_send(rt, &m, ro_fd);
}

int vmsig_rt_ask_ram(vmsig_rt *rt, uint32_t endpoint, uint32_t ram_id) {
    Vmsig__Pb__RamAsk ask = VMSIG__PB__RAM_ASK__INIT;
    ask.endpoint = endpoint;
    ask.ram_id = ram_id;
    Vmsig__Pb__FromActor m = VMSIG__PB__FROM_ACTOR__INIT;
    m.m_case = VMSIG__PB__FROM_ACTOR__M_RAM_ASK;
    m.ram_ask = &ask;
    return vmsig_rt_send(rt, &m, -1);
}
