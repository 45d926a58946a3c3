/* Links: who is shown which ring and which reader page, at the first start and at every later one of either end. The
 * picture is in docs/design.md, "How a link is built, and built again". */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rings/atomics.h"
#include "rings/bell.h"
#include "rings/numa.h"
#include "rings/shm.h"
#include "supervisor/supervisor.h"

static void init_link(vmsig_sup_link *l, const vmsig_topo_link *topo) {
    *l = (vmsig_sup_link){.topo = topo, .data_bell = -1, .room_bell = -1};
    l->next_ring.fd = l->reader.fd = l->next_reader.fd = -1;
}

int vmsig_sup_links_new(vmsig_sup *s) {
    s->links = calloc(s->topo->links_n + 1, sizeof *s->links);
    if (s->links == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < s->topo->links_n; i++)
        init_link(&s->links[i], &s->topo->links[i]);
    return 0;
}

static void unmap_reader(vmsig_sup_link *l) {
    if (l->reader_map != NULL)
        vmsig_shm_unmap(l->reader_map, VMSIG_READER_BYTES);
    l->reader_map = NULL;
}

static void free_link(vmsig_sup_link *l) {
    unmap_reader(l);
    for (uint32_t k = 0; k < l->chained; k++)
        vmsig_sup_close(&l->chain[k].fd);
    l->chained = 0;
    vmsig_sup_close(&l->next_ring.fd);
    vmsig_sup_close(&l->reader.fd);
    vmsig_sup_close(&l->next_reader.fd);
    vmsig_sup_close(&l->data_bell);
    vmsig_sup_close(&l->room_bell);
}

void vmsig_sup_links_free(vmsig_sup *s) {
    for (size_t i = 0; s->links != NULL && i < s->topo->links_n; i++)
        free_link(&s->links[i]);
    free(s->links);
    s->links = NULL;
}

static int make_bells(vmsig_sup_link *l) {
    l->known = true;
    if (l->data_bell < 0)
        l->data_bell = vmsig_bell_create();
    if (l->room_bell < 0)
        l->room_bell = vmsig_bell_create();
    return l->data_bell < 0 ? l->data_bell : l->room_bell < 0 ? l->room_bell : 0;
}

uint32_t vmsig_sup_links_of(const vmsig_sup_actor *a) {
    const vmsig_topology *t = a->sup->topo;
    uint32_t n = 0;
    for (size_t i = 0; i < t->links_n; i++)
        n += t->links[i].from == a->index || t->links[i].to == a->index;
    return n;
}

void vmsig_sup_link_map_reader(vmsig_sup_link *l) {
    const void *map;
    unmap_reader(l);
    if (l->reader.fd >= 0 && vmsig_shm_map_ro(l->reader.fd, VMSIG_READER_BYTES, &map) == 0)
        l->reader_map = map;
}

uint64_t vmsig_sup_link_cursor(const vmsig_sup_link *l) {
    return l->reader_map ? vmsig_load64(&l->reader_map->cursor) : 0;
}

/* Lets go of the rings that the consumer is done with. */
static void prune(vmsig_sup_link *l) {
    uint64_t cursor = vmsig_sup_link_cursor(l);
    uint32_t done = 0;
    while (l->reader_map != NULL && done + 1 < l->chained && cursor >= l->chain[done + 1].base)
        vmsig_sup_close(&l->chain[done++].fd);
    l->chained -= done;
    for (uint32_t i = 0; done > 0 && i < l->chained; i++)
        l->chain[i] = l->chain[i + done];
}

const vmsig_sup_link *vmsig_sup_links_full(vmsig_sup_actor *a) {
    for (size_t i = 0; i < a->sup->topo->links_n; i++) {
        vmsig_sup_link *l = &a->sup->links[i];
        if (l->topo->from != a->index)
            continue;
        prune(l);
        if (l->chained >= VMSIG_RING_CHAIN)
            return l;
    }
    return NULL;
}

/* ---- messages ------------------------------------------------------------------------------------------- */

static int send_link(vmsig_sup_actor *a, const vmsig_sup_link *l, const int *fds, int nfds) {
    const vmsig_topo_link *t = l->topo;
    bool output = t->from == a->index;
    const vmsig_topo_actor *peer = &a->sup->topo->actors[output ? t->to : t->from];
    Vmsig__Pb__Link k = VMSIG__PB__LINK__INIT;
    Vmsig__Pb__ToActor m = VMSIG__PB__TO_ACTOR__INIT;
    k.id = t->id;
    k.generation = a->incarnation;
    k.output = output;
    k.dir = t->dir;
    k.slots = t->slots;
    k.arena_bytes = t->arena_bytes;
    k.peer = peer->name;
    k.peer_kind = (Vmsig__Pb__ActorKind)peer->kind;
    k.endpoint_mask = t->endpoint_mask;
    k.has_source = k.has_accepts = k.has_memctx = 1;
    k.source = t->source;
    k.accepts = t->accepts;
    k.memctx = t->memctx;
    m.m_case = VMSIG__PB__TO_ACTOR__M_LINK;
    m.link = &k;
    return vmsig_sup_send(a, &m, fds, nfds);
}

static int send_peer(vmsig_sup_actor *a, const vmsig_sup_link *l, uint32_t generation, int fd) {
    Vmsig__Pb__Peer p = VMSIG__PB__PEER__INIT;
    Vmsig__Pb__ToActor m = VMSIG__PB__TO_ACTOR__INIT;
    int fds[3] = {fd, l->data_bell, l->room_bell};
    p.id = l->topo->id;
    p.generation = generation;
    m.m_case = VMSIG__PB__TO_ACTOR__M_PEER;
    m.peer = &p;
    return vmsig_sup_send(a, &m, fds, 3);
}

static int tell_producer(vmsig_sup *s, const vmsig_sup_link *l) {
    vmsig_sup_actor *a = &s->actors[l->topo->from];
    return l->reader.fd < 0 || a->boot < 0 ? 0 : send_peer(a, l, l->reader.generation, l->reader.fd);
}

static int tell_consumer(vmsig_sup *s, const vmsig_sup_link *l, const vmsig_sup_ring *r) {
    vmsig_sup_actor *a = &s->actors[l->topo->to];
    return a->boot < 0 ? 0 : send_peer(a, l, r->generation, r->fd);
}

/* The rings of which the consumer may not have taken all, oldest first. */
static int tell_consumer_all(vmsig_sup *s, vmsig_sup_link *l) {
    int rc = 0;
    prune(l);
    for (uint32_t i = 0; i < l->chained && rc == 0; i++)
        rc = tell_consumer(s, l, &l->chain[i]);
    return rc;
}

/* ---- nonsense ------------------------------------------------------------------------------------------- */

/* A page in place of one that is nonsense: it says that all was read. Contexts and gateways are not given it: they know
 * themselves how far they are. */
static void drop_reader(vmsig_sup *s, vmsig_sup_link *l) {
    uint64_t tail = 0;
    void *map;
    int fd = vmsig_shm_create("vmsig reader, made up", VMSIG_READER_BYTES);
    int rc = fd < 0 ? fd : vmsig_shm_map_rw(fd, VMSIG_READER_BYTES, &map);
    if (rc == 0) {
        rc = vmsig_ring_find_last(l->chain[l->chained - 1].fd, &tail);
        vmsig_store64(&((vmsig_reader *)map)->cursor, tail);
        vmsig_shm_unmap(map, VMSIG_READER_BYTES);
    }
    if (rc == 0)
        rc = vmsig_shm_seal(fd);
    if (rc) { /* its producer cannot go on, and says so */
        vmsig_sup_say("link %u: no page in place of the one that is nonsense: %s", l->topo->id, strerror(-rc));
        vmsig_sup_close(&fd);
        return;
    }
    vmsig_sup_close(&l->reader.fd);
    l->reader.fd = fd;
    l->reader.made_up = true;
    vmsig_sup_link_map_reader(l);
    vmsig_sup_shelve_link(s, l);
}

/* The writer is restarted. generation: of what it wrote it in; one that is gone is left alone. */
static void accuse(vmsig_sup_actor *writer, const vmsig_sup_link *l, uint32_t generation, const char *witness) {
    if (!writer->process || generation != writer->incarnation)
        return;
    vmsig_sup_kill(writer, "it wrote nonsense on link %u, says %s", l->topo->id, witness);
}

/* Before its producer is started again: a cursor that cannot be would keep that from going on. */
static void check_reader(vmsig_sup *s, vmsig_sup_link *l) {
    vmsig_ring_end end;
    if (l->chained == 0 || l->reader.fd < 0 || l->reader.made_up ||
        vmsig_ring_find_end(l->chain[l->chained - 1].fd, l->reader.fd, &end) != -EPROTO)
        return;
    accuse(&s->actors[l->topo->to], l, l->reader.generation, "the supervisor");
    drop_reader(s, l);
}

/* ---- a start -------------------------------------------------------------------------------------------- */

/* What a link is made of lies on the memory node of its consumer, where that is pinned to a processor. */
static void place(const vmsig_sup *s, const vmsig_sup_link *l, int fd, size_t bytes) {
    const vmsig_topo_actor *consumer = &s->topo->actors[l->topo->to];
    void *map;
    if (consumer->cpu < 0 || vmsig_numa_nodes() == 1)
        return;
    int rc = vmsig_shm_map_rw(fd, bytes, &map);
    if (rc == 0) {
        rc = vmsig_numa_place(map, bytes, vmsig_numa_node_of(consumer->cpu));
        vmsig_shm_unmap(map, bytes);
    }
    if (rc < 0)
        vmsig_sup_say("link %u: cannot put its memory near processor %d of %s: %s; it stays where it is", l->topo->id,
                      consumer->cpu, consumer->name, strerror(-rc));
}

static int offer_ring(vmsig_sup_actor *a, vmsig_sup_link *l) {
    char name[64];
    snprintf(name, sizeof name, "vmsig ring %u.%u", l->topo->id, a->incarnation);
    size_t bytes = vmsig_ring_bytes(l->topo->slots, l->topo->arena_bytes);
    int fd = vmsig_shm_create(name, bytes);
    if (fd < 0)
        return fd;
    place(a->sup, l, fd, bytes);
    check_reader(a->sup, l);
    vmsig_sup_close(&l->next_ring.fd);
    l->next_ring = (vmsig_sup_ring){.fd = fd, .generation = a->incarnation};
    vmsig_sup_shelve_link(a->sup, l);
    int fds[3] = {fd}, nfds = 1;
    if (l->chained > 0) {
        fds[nfds++] = l->chain[l->chained - 1].fd;
        if (l->reader.fd >= 0)
            fds[nfds++] = l->reader.fd;
    }
    int rc = send_link(a, l, fds, nfds);
    return rc ? rc : tell_producer(a->sup, l);
}

static int offer_reader(vmsig_sup_actor *a, vmsig_sup_link *l) {
    char name[64];
    snprintf(name, sizeof name, "vmsig reader %u.%u", l->topo->id, a->incarnation);
    int fd = vmsig_shm_create(name, VMSIG_READER_BYTES);
    if (fd < 0)
        return fd;
    place(a->sup, l, fd, VMSIG_READER_BYTES);
    vmsig_sup_close(&l->next_reader.fd);
    l->next_reader = (vmsig_sup_page){.fd = fd, .generation = a->incarnation};
    vmsig_sup_shelve_link(a->sup, l);
    int fds[2] = {fd, l->reader.fd};
    bool knows = a->topo->kind == VMSIG_TOPO_CONTEXT || a->topo->kind == VMSIG_TOPO_GATEWAY;
    int rc = send_link(a, l, fds, l->reader.fd >= 0 && !(knows && l->reader.made_up) ? 2 : 1);
    return rc ? rc : tell_consumer_all(a->sup, l);
}

int vmsig_sup_links_boot(vmsig_sup_actor *a) {
    for (size_t i = 0; i < a->sup->topo->links_n; i++) {
        vmsig_sup_link *l = &a->sup->links[i];
        if (l->topo->from != a->index && l->topo->to != a->index)
            continue;
        int rc = make_bells(l);
        if (rc == 0)
            rc = l->topo->from == a->index ? offer_ring(a, l) : offer_reader(a, l);
        if (rc)
            return rc;
    }
    return 0;
}

/* ---- links that come and go while their ends live ---------------------------------------------------------- */

static void plug_end(vmsig_sup_actor *a, vmsig_sup_link *l) {
    if (a->boot < 0)
        return; /* it is told at its start */
    int rc = l->topo->from == a->index ? offer_ring(a, l) : offer_reader(a, l);
    if (rc)
        vmsig_sup_kill(a, "cannot be told of link %u: %s", l->topo->id, strerror(-rc));
}

void vmsig_sup_link_plug(vmsig_sup *s, vmsig_sup_link *l) {
    int rc = make_bells(l);
    if (rc) { /* the next start of either end tries again */
        vmsig_sup_say("link %u: %s", l->topo->id, strerror(-rc));
        return;
    }
    plug_end(&s->actors[l->topo->to], l);
    plug_end(&s->actors[l->topo->from], l);
}

static void tell_unlink(vmsig_sup_actor *a, uint32_t id) {
    Vmsig__Pb__Unlink u = VMSIG__PB__UNLINK__INIT;
    Vmsig__Pb__ToActor m = VMSIG__PB__TO_ACTOR__INIT;
    u.id = id;
    m.m_case = VMSIG__PB__TO_ACTOR__M_UNLINK;
    m.unlink = &u;
    if (a->boot >= 0 && vmsig_sup_send(a, &m, NULL, 0))
        vmsig_sup_kill(a, "cannot be told that link %u is gone", id);
}

void vmsig_sup_link_unplug(vmsig_sup *s, vmsig_sup_link *l) {
    tell_unlink(&s->actors[l->topo->from], l->topo->id);
    tell_unlink(&s->actors[l->topo->to], l->topo->id);
    vmsig_sup_drop_link(s, l->topo->id);
    free_link(l);
}

bool vmsig_sup_link_drained(const vmsig_sup_link *l) {
    vmsig_ring_end end;
    if (l->chained == 0 || l->reader.fd < 0)
        return true; /* nothing was shown to anybody */
    if (vmsig_sup_link_cursor(l) < l->chain[l->chained - 1].base)
        return false;
    if (vmsig_ring_find_end(l->chain[l->chained - 1].fd, l->reader.fd, &end))
        return true; /* nonsense: nobody will take it */
    return vmsig_sup_link_cursor(l) >= end.tail;
}

int vmsig_sup_links_change(vmsig_sup *s) {
    const vmsig_topology *old = s->topo, *now = s->change.topo;
    vmsig_sup_link *links = calloc(now->links_n + 1, sizeof *links);
    if (links == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < now->links_n; i++)
        init_link(&links[i], &now->links[i]);
    for (size_t k = 0; k < old->links_n; k++) {
        size_t i = 0;
        while (i < now->links_n && now->links[i].id != old->links[k].id)
            i++;
        if (i == now->links_n) {
            vmsig_sup_link_unplug(s, &s->links[k]);
            continue;
        }
        links[i] = s->links[k];
        links[i].topo = &now->links[i];
    }
    free(s->links);
    s->links = links;
    return 0;
}

bool vmsig_sup_links_pending(const vmsig_sup_actor *a) {
    for (size_t i = 0; i < a->sup->topo->links_n; i++) {
        const vmsig_sup_link *l = &a->sup->links[i];
        if ((l->topo->from == a->index && l->next_ring.fd >= 0) || (l->topo->to == a->index && l->next_reader.fd >= 0))
            return true;
    }
    return false;
}

/* ---- it is mapped --------------------------------------------------------------------------------------- */

static vmsig_sup_link *link_by_id(vmsig_sup *s, uint32_t id) {
    for (size_t i = 0; i < s->topo->links_n; i++)
        if (s->links[i].topo->id == id)
            return &s->links[i];
    return NULL;
}

static void ring_mapped(vmsig_sup_actor *a, vmsig_sup_link *l, uint64_t base) {
    if (l->next_ring.fd < 0)
        return; /* said twice */
    if (l->chained > 0 && base < l->chain[l->chained - 1].base) {
        vmsig_sup_kill(a, "link %u: its ring starts before its predecessor's", l->topo->id);
        return;
    }
    prune(l);
    if (l->chained == VMSIG_RING_CHAIN || vmsig_shm_seal(l->next_ring.fd)) {
        vmsig_sup_kill(a, "link %u: its ring cannot be handed on", l->topo->id);
        return;
    }
    l->next_ring.base = base;
    l->chain[l->chained++] = l->next_ring;
    l->next_ring.fd = -1;
    vmsig_sup_shelve_link(a->sup, l);
    tell_consumer(a->sup, l, &l->chain[l->chained - 1]);
}

static void reader_mapped(vmsig_sup_actor *a, vmsig_sup_link *l) {
    if (l->next_reader.fd < 0)
        return;
    if (vmsig_shm_seal(l->next_reader.fd)) {
        vmsig_sup_kill(a, "link %u: its reader page cannot be handed on", l->topo->id);
        return;
    }
    vmsig_sup_close(&l->reader.fd);
    l->reader = l->next_reader;
    l->next_reader.fd = -1;
    vmsig_sup_link_map_reader(l);
    vmsig_sup_shelve_link(a->sup, l);
    tell_producer(a->sup, l);
}

void vmsig_sup_link_mapped(vmsig_sup_actor *a, const Vmsig__Pb__Mapped *m) {
    vmsig_sup_link *l = link_by_id(a->sup, m->id);
    if (l == NULL && m->generation == a->incarnation)
        return; /* it crossed the word that the link is gone */
    if (l == NULL || m->generation != a->incarnation || (l->topo->from != a->index && l->topo->to != a->index))
        vmsig_sup_kill(a, "speaks of link %u, which is not its own", m->id);
    else if (l->topo->from == a->index)
        ring_mapped(a, l, m->start);
    else
        reader_mapped(a, l);
}

/* ---- it is poisoned --------------------------------------------------------------------------------------- */

void vmsig_sup_link_poisoned(vmsig_sup_actor *a, const Vmsig__Pb__Poisoned *m) {
    vmsig_sup *s = a->sup;
    vmsig_sup_link *l = link_by_id(s, m->id);
    if (l == NULL || (l->topo->from != a->index && l->topo->to != a->index))
        return;
    bool page = l->topo->from == a->index;
    vmsig_sup_actor *writer = &s->actors[page ? l->topo->to : l->topo->from];
    accuse(writer, l, m->generation, a->topo->name);
    if (page && l->reader.generation == m->generation && !l->reader.made_up && l->chained > 0)
        drop_reader(s, l);
}

/* ---- an end --------------------------------------------------------------------------------------------- */

void vmsig_sup_links_dead(vmsig_sup_actor *a) {
    for (size_t i = 0; i < a->sup->topo->links_n; i++) {
        vmsig_sup_link *l = &a->sup->links[i];
        int *unmapped = l->topo->from == a->index ? &l->next_ring.fd : &l->next_reader.fd;
        if ((l->topo->from != a->index && l->topo->to != a->index) || *unmapped < 0)
            continue;
        vmsig_sup_close(unmapped);
        vmsig_sup_shelve_link(a->sup, l);
    }
}

void vmsig_sup_links_ring(vmsig_sup_actor *a) {
    for (size_t i = 0; i < a->sup->topo->links_n; i++) {
        const vmsig_sup_link *l = &a->sup->links[i];
        if ((l->topo->from != a->index && l->topo->to != a->index) || l->data_bell < 0)
            continue;
        vmsig_bell_ring(l->data_bell);
        vmsig_bell_ring(l->room_bell);
    }
}

void vmsig_sup_links_repeat(vmsig_sup_actor *a) {
    for (size_t i = 0; i < a->sup->topo->links_n; i++) {
        vmsig_sup_link *l = &a->sup->links[i];
        if (l->topo->from == a->index)
            tell_producer(a->sup, l);
        else if (l->topo->to == a->index)
            tell_consumer_all(a->sup, l);
    }
}
