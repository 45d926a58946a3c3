/* Guest RAM: the read-only fd that a host offers, handed to those whom the topology entitles. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/supervisor.h"

static bool entitled(const vmsig_sup_actor *a, uint32_t endpoint) {
    if (!vmsig_sup_serves(a, endpoint))
        return false;
    return a->topo->kind == VMSIG_TOPO_GATEWAY || (a->topo->memctx && a->topo->kind != VMSIG_TOPO_CONTEXT);
}

static void hand_on(vmsig_sup_actor *a, uint32_t endpoint) {
    const vmsig_sup_ram *r = &a->sup->ram[endpoint];
    if (r->fd < 0 || a->boot < 0 || !entitled(a, endpoint))
        return;
    Vmsig__Pb__Ram ram = VMSIG__PB__RAM__INIT;
    Vmsig__Pb__ToActor m = VMSIG__PB__TO_ACTOR__INIT;
    ram.endpoint = endpoint;
    ram.ram_id = r->ram_id;
    m.m_case = VMSIG__PB__TO_ACTOR__M_RAM;
    m.ram = &ram;
    vmsig_sup_send(a, &m, &r->fd, 1);
}

bool vmsig_sup_ram_sealed(int fd) {
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & (F_SEAL_FUTURE_WRITE | F_SEAL_WRITE));
}

static bool attached(const vmsig_sup_actor *a) {
    for (size_t i = 0; i < a->topo->options_n; i++)
        if (strcmp(a->topo->options[i].key, "attach.ram") == 0)
            return true;
    return false;
}

/* What is handed on can never become writable: neither the fd, nor by opening it anew. The file of a VM that somebody
 * else started has no seals: there, only its owner could. */
static bool read_only(const vmsig_sup_actor *a, int fd) {
    int flags = fcntl(fd, F_GETFL);
    struct stat st;
    bool closed = vmsig_sup_ram_sealed(fd) || (attached(a) && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
                                               (st.st_mode & (S_IWGRP | S_IWOTH)) == 0);
    return flags >= 0 && (flags & O_ACCMODE) == O_RDONLY && closed;
}

void vmsig_sup_ram_offered(vmsig_sup_actor *a, const Vmsig__Pb__Ram *m, int fd) {
    vmsig_sup *s = a->sup;
    if (a->topo->kind != VMSIG_TOPO_HOST || m->endpoint != (uint32_t)a->topo->endpoint || !read_only(a, fd)) {
        vmsig_sup_kill(a, "offers RAM that is not its own, or not read-only and sealed");
        return;
    }
    vmsig_sup_ram *r = &s->ram[m->endpoint];
    vmsig_sup_close(&r->fd);
    *r = (vmsig_sup_ram){.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3), .ram_id = m->ram_id};
    vmsig_sup_shelve_ram(s, m->endpoint);
    for (size_t i = 0; i < s->topo->actors_n; i++)
        hand_on(&s->actors[i], m->endpoint);
}

void vmsig_sup_ram_asked(vmsig_sup_actor *a, const Vmsig__Pb__RamAsk *m) {
    if (m->endpoint < VMSIG_ENDPOINTS_MAX && a->sup->ram[m->endpoint].ram_id == m->ram_id)
        hand_on(a, m->endpoint);
}

void vmsig_sup_ram_boot(vmsig_sup_actor *a) {
    for (uint32_t e = 0; e < VMSIG_ENDPOINTS_MAX; e++)
        hand_on(a, e);
}

void vmsig_sup_ram_dead(vmsig_sup_actor *host) {
    if (host->topo->kind != VMSIG_TOPO_HOST)
        return;
    uint32_t endpoint = (uint32_t)host->topo->endpoint;
    vmsig_sup_close(&host->sup->ram[endpoint].fd);
    vmsig_sup_shelve_ram(host->sup, endpoint);
}
