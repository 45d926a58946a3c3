/* Pages: the supervisor's board, and the pages that actors own: gauges, epochs, fences, durable states. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rings/fence.h"
#include "rings/shm.h"
#include "supervisor/supervisor.h"

#define SPARE_GAUGES 8u  /* for links that come later */
#define SPARE_ACTORS 64u /* in the board, likewise */

/* ---- the board ------------------------------------------------------------------------------------------ */

int vmsig_sup_board_new(vmsig_sup *s) {
    uint32_t n = (uint32_t)s->topo->actors_n + SPARE_ACTORS;
    s->board_fd = vmsig_shm_create("vmsig board", vmsig_board_bytes(n));
    if (s->board_fd < 0)
        return s->board_fd;
    int rc = vmsig_board_create(s->board_fd, n, s->lineage, &s->board);
    return rc ? rc : vmsig_shm_seal(s->board_fd);
}

void vmsig_sup_board_grow(vmsig_sup *s) {
    vmsig_board *old = s->board;
    int old_fd = s->board_fd;
    if (s->topo->actors_n <= old->actors_n)
        return;
    int rc = vmsig_sup_board_new(s);
    if (rc) { /* those beyond its end are not on it: nobody waits for them */
        vmsig_sup_say("no memory for a larger board: %s", strerror(-rc));
        s->board = old;
        vmsig_sup_close(&s->board_fd);
        s->board_fd = old_fd;
        return;
    }
    vmsig_board_close(old);
    vmsig_sup_close(&old_fd);
    for (size_t i = 0; i < s->topo->actors_n; i++)
        vmsig_sup_board_update(&s->actors[i]);
    for (size_t i = 0; i < s->topo->actors_n; i++)
        if (s->actors[i].boot >= 0)
            vmsig_sup_pages_repeat(&s->actors[i]);
}

void vmsig_sup_board_update(vmsig_sup_actor *a) {
    if (a->topo->kind == VMSIG_TOPO_HOST)
        vmsig_board_set_endpoint(a->sup->board, (uint32_t)a->topo->endpoint, a->incarnation, a->state);
    if (a->index < a->sup->board->actors_n)
        vmsig_board_set_actor(a->sup->board, a->index, a->incarnation, a->state);
}

/* ---- messages ------------------------------------------------------------------------------------------- */

static int send_page(vmsig_sup_actor *a, Vmsig__Pb__PageKind kind, bool writer, uint32_t endpoint, uint32_t generation,
                     int fd) {
    Vmsig__Pb__Page p = VMSIG__PB__PAGE__INIT;
    Vmsig__Pb__ToActor m = VMSIG__PB__TO_ACTOR__INIT;
    long long bytes = vmsig_shm_size(fd);
    p.kind = kind;
    p.writer = writer;
    p.has_endpoint = p.has_bytes = p.has_generation = 1;
    p.endpoint = endpoint;
    p.bytes = bytes > 0 ? (uint64_t)bytes : 0;
    p.generation = generation;
    m.m_case = VMSIG__PB__TO_ACTOR__M_PAGE;
    m.page = &p;
    return vmsig_sup_send(a, &m, &fd, 1);
}

/* A new page of its own, in place of its predecessor's. */
static int offer_page(vmsig_sup_actor *a, Vmsig__Pb__PageKind kind, const char *what, size_t bytes,
                      vmsig_sup_page *page) {
    char name[64];
    snprintf(name, sizeof name, "vmsig %s %s.%u", what, a->topo->name, a->incarnation);
    vmsig_sup_close(&page->fd);
    *page = (vmsig_sup_page){.fd = vmsig_shm_create(name, bytes), .generation = a->incarnation};
    if (page->fd < 0)
        return page->fd;
    uint32_t endpoint = a->topo->endpoint < 0 ? 0 : (uint32_t)a->topo->endpoint;
    return send_page(a, kind, true, endpoint, a->incarnation, page->fd);
}

static int offer_state(vmsig_sup_actor *a) {
    if (a->topo->state_bytes == 0)
        return 0;
    if (a->state_fd < 0) {
        char name[64];
        snprintf(name, sizeof name, "vmsig state %s", a->topo->name);
        a->state_fd = vmsig_shm_create(name, a->topo->state_bytes);
        if (a->state_fd < 0)
            return a->state_fd;
    }
    return send_page(a, VMSIG__PB__PAGE_KIND__PAGE_STATE, true, 0, a->incarnation, a->state_fd);
}

/* ---- what others may read ------------------------------------------------------------------------------- */

static int show_epoch(vmsig_sup_actor *to, const vmsig_topo_endpoint *ep) {
    const vmsig_sup_actor *host = &to->sup->actors[ep->host_actor];
    if (host == to || !host->epoch.mapped || to->boot < 0 || !vmsig_sup_serves(to, ep->id))
        return 0;
    return send_page(to, VMSIG__PB__PAGE_KIND__PAGE_EPOCH, false, ep->id, host->epoch.generation, host->epoch.fd);
}

static int show_fences(vmsig_sup_actor *to, const vmsig_topo_endpoint *ep) {
    const vmsig_sup_actor *gate = &to->sup->actors[ep->gateway];
    if (!to->topo->accepts || !vmsig_sup_serves(to, ep->id) || !gate->fences.mapped || to->boot < 0)
        return 0;
    return send_page(to, VMSIG__PB__PAGE_KIND__PAGE_FENCES, false, ep->id, gate->fences.generation, gate->fences.fd);
}

static int show_pages(vmsig_sup_actor *a) {
    const vmsig_sup *s = a->sup;
    int rc = send_page(a, VMSIG__PB__PAGE_KIND__PAGE_BOARD, false, 0, 0, s->board_fd);
    for (size_t i = 0; i < s->topo->endpoints_n && rc == 0; i++) {
        rc = show_epoch(a, &s->topo->endpoints[i]);
        if (rc == 0)
            rc = show_fences(a, &s->topo->endpoints[i]);
    }
    return rc;
}

int vmsig_sup_pages_boot(vmsig_sup_actor *a) {
    size_t gauges = vmsig_gauges_bytes(vmsig_sup_links_of(a) + SPARE_GAUGES);
    int rc = offer_page(a, VMSIG__PB__PAGE_KIND__PAGE_GAUGES, "gauges", gauges, &a->gauges);
    if (rc == 0)
        rc = offer_state(a);
    if (rc == 0 && a->topo->kind == VMSIG_TOPO_HOST)
        rc = offer_page(a, VMSIG__PB__PAGE_KIND__PAGE_EPOCH, "epoch", VMSIG_EPOCH_BYTES, &a->epoch);
    if (rc == 0 && a->topo->kind == VMSIG_TOPO_GATEWAY)
        rc = offer_page(a, VMSIG__PB__PAGE_KIND__PAGE_FENCES, "fences", VMSIG_FENCE_BYTES, &a->fences);
    return rc ? rc : show_pages(a);
}

void vmsig_sup_pages_repeat(vmsig_sup_actor *a) {
    if (show_pages(a))
        vmsig_sup_kill(a, "cannot be shown the new board");
}

/* ---- it is mapped --------------------------------------------------------------------------------------- */

static vmsig_sup_page *own_page(vmsig_sup_actor *a, Vmsig__Pb__PageKind kind) {
    switch (kind) {
    case VMSIG__PB__PAGE_KIND__PAGE_GAUGES:
        return &a->gauges;
    case VMSIG__PB__PAGE_KIND__PAGE_EPOCH:
        return &a->epoch;
    case VMSIG__PB__PAGE_KIND__PAGE_FENCES:
        return &a->fences;
    default:
        return NULL; /* a state is never sealed: its next incarnation maps it anew */
    }
}

void vmsig_sup_map_gauges(vmsig_sup_actor *a) {
    if (a->gauges_map == NULL && a->gauges.mapped && vmsig_gauges_open(a->gauges.fd, &a->gauges_map, &a->gauges_max))
        a->gauges_map = NULL; /* status shows no numbers, then */
}

const vmsig_link_gauge *vmsig_sup_gauge(const vmsig_sup_actor *a, uint32_t link, uint32_t output) {
    for (uint32_t i = 0; a->gauges_map != NULL && i < a->gauges_max; i++)
        if (a->gauges_map->links[i].link == link && a->gauges_map->links[i].output == output)
            return &a->gauges_map->links[i];
    return NULL;
}

void vmsig_sup_page_mapped(vmsig_sup_actor *a, const Vmsig__Pb__PageMapped *m) {
    vmsig_sup *s = a->sup;
    vmsig_sup_page *page = own_page(a, m->kind);
    if (page == NULL || page->fd < 0 || page->mapped)
        return;
    if (vmsig_shm_seal(page->fd)) {
        vmsig_sup_kill(a, "a page of its own cannot be handed on");
        return;
    }
    page->mapped = true;
    vmsig_sup_shelve_actor(a);
    vmsig_sup_map_gauges(a);
    for (size_t i = 0; i < s->topo->endpoints_n; i++) {
        const vmsig_topo_endpoint *ep = &s->topo->endpoints[i];
        for (size_t k = 0; page == &a->fences && ep->gateway == a->index && k < s->topo->actors_n; k++)
            show_fences(&s->actors[k], ep);
        for (size_t k = 0; page == &a->epoch && ep->host_actor == a->index && k < s->topo->actors_n; k++)
            show_epoch(&s->actors[k], ep);
    }
}

/* ---- an end --------------------------------------------------------------------------------------------- */

uint32_t vmsig_sup_epoch(const vmsig_sup_actor *host) {
    const vmsig_epoch_page *page;
    if (!host->epoch.mapped || vmsig_epoch_open(host->epoch.fd, (uint32_t)host->topo->endpoint, &page))
        return 0;
    uint32_t epoch = vmsig_epoch_of(vmsig_epoch_word(page));
    vmsig_epoch_close(page);
    return epoch;
}

/* What it took from its links goes on counting. */
static void keep_counts(vmsig_sup_actor *a) {
    vmsig_sup *s = a->sup;
    for (size_t i = 0; a->gauges_map != NULL && i < s->topo->links_n; i++) {
        vmsig_sup_link *l = &s->links[i];
        const vmsig_link_gauge *in = l->topo->to == a->index ? vmsig_sup_gauge(a, l->topo->id, 0) : NULL;
        if (in == NULL)
            continue;
        l->taken += vmsig_load64(&in->events);
        vmsig_sup_shelve_link(s, l);
    }
}

void vmsig_sup_pages_dead(vmsig_sup_actor *a) {
    if (a->topo->kind == VMSIG_TOPO_HOST) {
        uint32_t last = vmsig_sup_epoch(a);
        if (last >= a->epoch_next)
            a->epoch_next = last + 1;
    }
    keep_counts(a);
    if (a->gauges_map != NULL)
        vmsig_gauges_close(a->gauges_map, a->gauges_max);
    a->gauges_map = NULL;
    vmsig_sup_close(&a->gauges.fd);
    vmsig_sup_close(&a->epoch.fd);
    a->gauges.mapped = a->epoch.mapped = false;
    /* Fences stay: what the last gateway raised stands until the next one says otherwise. */
}
