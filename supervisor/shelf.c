/* What a successor finds with the keeper: small fixed blobs beside the fds they speak of. The keeper understands none of
 * it. A successor of another version starts from the same blobs: their version guards them.
 */
#include "supervisor/keeper/shelf.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rings/shm.h"
#include "supervisor/supervisor.h"

enum { KEY_TOPOLOGY = 1, KEY_SOCKETS, KEY_GATEWAY, KEY_ACTOR, KEY_LINK, KEY_RAM };

static uint64_t key_of(uint32_t type, uint32_t index) {
    return (uint64_t)type << 32 | index;
}

typedef struct topology_blob {
    uint32_t version, edits, next_link, grants;
    uint64_t lineage, started_ns, len, all; /* the memfd: the text, each edit with its NUL, each grants_head and text */
    uint32_t epoch_floor[VMSIG_ENDPOINTS_MAX];
    char file[4096], folder[4096], name[64];
} topology_blob;

typedef struct grants_head {
    uint32_t actor, len;
} grants_head;

typedef struct actor_blob {
    char name[32]; /* "": nobody has the index any more */
    uint32_t version, kind, state, incarnation, uid, gid, epoch_next, rests, process, begun, leave;
    uint64_t started_ns, ready_ns, dead_ns;
    vmsig_sup_page gauges, epoch, fences;
    vmsig_restarts restarts;
    uint32_t has; /* bit i: fd i of the list below is there */
    char last_exit[64], last_why[VMSIG_SUP_TEXT], why[VMSIG_SUP_TEXT], report[VMSIG_SUP_REPORT];
} actor_blob;
#define ACTOR_FDS 5

typedef struct link_blob {
    uint32_t version, chained, has;
    struct vmsig_topo_numbered_link who;
    vmsig_sup_ring chain[VMSIG_RING_CHAIN], next_ring;
    vmsig_sup_page reader, next_reader;
    uint64_t taken;
} link_blob;
#define LINK_FDS (5 + (int)VMSIG_RING_CHAIN)

/* ---- fds that may be missing ------------------------------------------------------------------------------ */

static uint32_t gather(int *const *from, int n, int *fds, int *nfds) {
    uint32_t has = 0;
    *nfds = 0;
    for (int i = 0; i < n; i++)
        if (*from[i] >= 0) {
            has |= 1u << i;
            fds[(*nfds)++] = *from[i];
        }
    return has;
}

/* The entry's fds go to their places, and are the entry's no more. */
static int scatter(vmsig_shelf_entry *e, uint32_t has, int *const *to, int n) {
    int next = 0;
    for (int i = 0; i < n; i++)
        *to[i] = has & 1u << i && next < e->nfds ? e->fds[next++] : -1;
    if (next != e->nfds)
        return -EPROTO;
    e->nfds = 0;
    return 0;
}

static void actor_places(vmsig_sup_actor *a, int **p) {
    p[0] = &a->boot;
    p[1] = &a->gauges.fd;
    p[2] = &a->epoch.fd;
    p[3] = &a->fences.fd;
    p[4] = &a->state_fd;
}

static void link_places(vmsig_sup_link *l, int **p) {
    p[0] = &l->data_bell;
    p[1] = &l->room_bell;
    p[2] = &l->reader.fd;
    p[3] = &l->next_reader.fd;
    p[4] = &l->next_ring.fd;
    for (uint32_t i = 0; i < VMSIG_RING_CHAIN; i++)
        p[5 + i] = &l->chain[i].fd;
}

/* ---- shelving --------------------------------------------------------------------------------------------- */

static int shelve(vmsig_sup *s, uint64_t key, const void *blob, size_t len, const int *fds, int nfds) {
    vmsig_keeper_msg m = {.op = VMSIG_KEEPER_SHELVE, .key = key, .len = (uint32_t)len};
    return vmsig_sup_tell_keeper(s, &m, blob, fds, nfds);
}

void vmsig_sup_shelve_actor(vmsig_sup_actor *a) {
    actor_blob b;
    int *places[ACTOR_FDS], fds[ACTOR_FDS], nfds;
    memset(&b, 0, sizeof b);
    b.version = VMSIG_SUP_SHELF;
    snprintf(b.name, sizeof b.name, "%s", a->topo->name);
    b.kind = a->topo->kind;
    b.begun = a->begun;
    b.leave = a->leave;
    b.state = a->state;
    b.incarnation = a->incarnation;
    b.uid = a->uid;
    b.gid = a->gid;
    b.epoch_next = a->epoch_next;
    b.rests = a->rests;
    b.process = a->process;
    b.started_ns = a->started_ns;
    b.ready_ns = a->ready_ns;
    b.dead_ns = a->dead_ns;
    b.gauges = a->gauges;
    b.epoch = a->epoch;
    b.fences = a->fences;
    b.restarts = a->restarts;
    memcpy(b.last_exit, a->last_exit, sizeof b.last_exit);
    memcpy(b.last_why, a->last_why, sizeof b.last_why);
    memcpy(b.why, a->why, sizeof b.why);
    memcpy(b.report, a->report, sizeof b.report);
    actor_places(a, places);
    b.has = gather(places, ACTOR_FDS, fds, &nfds);
    shelve(a->sup, key_of(KEY_ACTOR, a->index), &b, sizeof b, fds, nfds);
}

void vmsig_sup_shelve_link(vmsig_sup *s, const vmsig_sup_link *l) {
    vmsig_sup_link copy = *l;
    link_blob b;
    int *places[LINK_FDS], fds[LINK_FDS], nfds;
    for (uint32_t i = l->chained; i < VMSIG_RING_CHAIN; i++)
        copy.chain[i].fd = -1; /* what lies beyond is left over */
    memset(&b, 0, sizeof b);
    b.version = VMSIG_SUP_SHELF;
    snprintf(b.who.from, sizeof b.who.from, "%s", s->topo->actors[l->topo->from].name);
    snprintf(b.who.to, sizeof b.who.to, "%s", s->topo->actors[l->topo->to].name);
    b.who.link = *l->topo;
    b.chained = l->chained;
    memcpy(b.chain, l->chain, sizeof b.chain);
    b.next_ring = l->next_ring;
    b.reader = l->reader;
    b.next_reader = l->next_reader;
    b.taken = l->taken;
    link_places(&copy, places);
    b.has = gather(places, LINK_FDS, fds, &nfds);
    shelve(s, key_of(KEY_LINK, l->topo->id), &b, sizeof b, fds, nfds);
}

void vmsig_sup_drop_link(vmsig_sup *s, uint32_t id) {
    vmsig_keeper_msg drop = {.op = VMSIG_KEEPER_DROP, .key = key_of(KEY_LINK, id)};
    vmsig_sup_tell_keeper(s, &drop, NULL, NULL, 0);
}

void vmsig_sup_shelve_ram(vmsig_sup *s, uint32_t endpoint) {
    const vmsig_sup_ram *r = &s->ram[endpoint];
    vmsig_keeper_msg drop = {.op = VMSIG_KEEPER_DROP, .key = key_of(KEY_RAM, endpoint)};
    if (r->fd < 0)
        vmsig_sup_tell_keeper(s, &drop, NULL, NULL, 0);
    else
        shelve(s, drop.key, &r->ram_id, sizeof r->ram_id, &r->fd, 1);
}

/* All texts go in a memfd: a blob would be too small for a large topology. */
static int write_texts(const vmsig_sup_source *src, const vmsig_topology *t, topology_blob *b, FILE *to) {
    bool whole = fwrite(src->text, 1, src->len, to) == src->len;
    for (size_t i = 0; whole && i < src->edits.n; i++)
        whole = fwrite(src->edits.items[i], 1, strlen(src->edits.items[i]) + 1, to) > 0;
    for (uint32_t i = 0; whole && i < t->actors_n; i++) {
        const vmsig_topo_actor *a = &t->actors[i];
        grants_head head = {.actor = i, .len = (uint32_t)a->grants_len};
        if (a->grants_text == NULL)
            continue;
        b->grants++;
        whole = fwrite(&head, sizeof head, 1, to) == 1 && fwrite(a->grants_text, 1, head.len, to) == head.len;
    }
    return whole ? 0 : -ENOMEM;
}

static int texts_fd(const vmsig_sup_source *src, const vmsig_topology *t, topology_blob *b) {
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    int rc = f ? write_texts(src, t, b, f) : -ENOMEM, fd = -1;
    if (f != NULL && fclose(f))
        rc = -ENOMEM;
    b->all = len + 1;
    if (rc == 0)
        rc = fd = vmsig_shm_create("vmsig topology", b->all);
    if (fd >= 0 && pwrite(fd, text, len, 0) != (ssize_t)len) {
        rc = -ENOSPC;
        vmsig_sup_close(&fd);
    }
    free(text);
    return fd >= 0 ? fd : rc;
}

int vmsig_sup_shelve_topology(vmsig_sup *s, const vmsig_topology *t) {
    const vmsig_sup_source *src = &s->source;
    topology_blob *b = calloc(1, sizeof *b);
    if (b == NULL)
        return -ENOMEM;
    b->version = VMSIG_SUP_SHELF;
    b->lineage = s->lineage;
    b->started_ns = s->started_ns;
    b->next_link = s->next_link;
    b->len = src->len;
    b->edits = (uint32_t)src->edits.n;
    memcpy(b->epoch_floor, s->epoch_floor, sizeof b->epoch_floor);
    snprintf(b->file, sizeof b->file, "%s", src->file);
    snprintf(b->folder, sizeof b->folder, "%s", src->folder);
    snprintf(b->name, sizeof b->name, "%s", s->name);
    int fd = texts_fd(src, t, b);
    int rc = fd < 0 ? fd : shelve(s, key_of(KEY_TOPOLOGY, 0), b, sizeof *b, &fd, 1);
    vmsig_sup_close(&fd);
    free(b);
    return rc;
}

void vmsig_sup_shelve_sockets(vmsig_sup *s) {
    int own[2] = {s->run_lock, s->status_listen};
    shelve(s, key_of(KEY_SOCKETS, 0), NULL, 0, own, 2);
    for (uint32_t i = 0; i < s->topo->actors_n; i++) {
        vmsig_sup_sockets *g = &s->gateway[i];
        int fds[3], nfds, *places[3] = {&g->listen, &g->audit, &g->seal};
        uint32_t has = gather(places, 3, fds, &nfds);
        vmsig_keeper_msg drop = {.op = VMSIG_KEEPER_DROP, .key = key_of(KEY_GATEWAY, i)};
        if (nfds > 0)
            shelve(s, drop.key, &has, sizeof has, fds, nfds);
        else
            vmsig_sup_tell_keeper(s, &drop, NULL, NULL, 0);
    }
}

/* ---- hearing ---------------------------------------------------------------------------------------------- */

typedef struct process {
    uint64_t key;
    pid_t pid;
    int pidfd, status;
    bool ended;
} process;

struct vmsig_sup_heard {
    vmsig_shelf shelf;
    process *processes;
    size_t n;
};

void vmsig_sup_heard_free(vmsig_sup_heard *h) {
    if (h == NULL)
        return;
    for (size_t i = 0; i < h->n; i++)
        vmsig_sup_close(&h->processes[i].pidfd);
    free(h->processes);
    vmsig_shelf_clear(&h->shelf);
    free(h);
}

static int add_process(vmsig_sup_heard *h, const vmsig_keeper_msg *m, int pidfd) {
    process *more = realloc(h->processes, (h->n + 1) * sizeof *more);
    if (more == NULL)
        return -ENOMEM;
    h->processes = more;
    h->processes[h->n++] = (process){.key = m->key, .pid = m->pid, .pidfd = pidfd};
    return 0;
}

/* Takes over the fds. */
static int hear_one(vmsig_sup_heard *h, const vmsig_keeper_msg *m, const void *blob, int *fds, int nfds) {
    if (m->op == VMSIG_KEEPER_SHELF)
        return vmsig_shelf_put(&h->shelf, m->key, blob, m->len, fds, nfds);
    if (m->op == VMSIG_KEEPER_SPAWNED && nfds == 1)
        return add_process(h, m, fds[0]);
    for (size_t i = 0; m->op == VMSIG_KEEPER_EXITED && i < h->n; i++)
        if (h->processes[i].key == m->key && h->processes[i].pid == m->pid) {
            h->processes[i].ended = true;
            h->processes[i].status = (int)m->arg;
        }
    return 0;
}

int vmsig_sup_hear(vmsig_sup *s, vmsig_sup_heard **out, bool *fresh) {
    vmsig_sup_heard *h = calloc(1, sizeof *h);
    void *blob = malloc(VMSIG_KEEPER_BLOB_MAX);
    uint64_t until = vmsig_now_ns() + VMSIG_SUP_KEEPER_WAIT * VMSIG_SUP_MS;
    int rc = h == NULL || blob == NULL ? -ENOMEM : 0;
    bool end = false;
    while (rc == 0 && !end) {
        vmsig_keeper_msg m;
        int fds[VMSIG_KEEPER_FDS], nfds;
        struct pollfd p = {.fd = s->keeper, .events = POLLIN};
        uint64_t now = vmsig_now_ns();
        if (now >= until) {
            rc = -ETIMEDOUT;
            break;
        }
        poll(&p, 1, (int)((until - now) / VMSIG_SUP_MS) + 1);
        int got = vmsig_keeper_recv(s->keeper, &m, blob, fds, &nfds);
        if (got == -EAGAIN)
            continue;
        rc = got == 0 ? -ENOTCONN : got < 0 ? got : hear_one(h, &m, blob, fds, nfds);
        end = rc == 0 && m.op == VMSIG_KEEPER_END;
        if (end)
            vmsig_sup_upgrade_heard(s, &m, m.len ? blob : "");
    }
    free(blob);
    if (rc) {
        vmsig_sup_heard_free(h);
        return rc;
    }
    *fresh = h->shelf.n == 0;
    *out = h;
    return 0;
}

/* ---- restoring -------------------------------------------------------------------------------------------- */

static vmsig_shelf_entry *entry(vmsig_sup_heard *h, uint64_t key) {
    for (size_t i = 0; i < h->shelf.n; i++)
        if (h->shelf.entries[i].key == key)
            return &h->shelf.entries[i];
    return NULL;
}

/* Who had which index and id, as far as anybody was told. */
static int heard_numbers(const vmsig_sup_heard *h, vmsig_topo_numbers *n) {
    n->actors = calloc(VMSIG_ACTORS_MAX, sizeof *n->actors);
    n->links = calloc(h->shelf.n + 1, sizeof *n->links);
    if (n->actors == NULL || n->links == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < h->shelf.n; i++) {
        const vmsig_shelf_entry *e = &h->shelf.entries[i];
        uint32_t type = (uint32_t)(e->key >> 32), index = (uint32_t)e->key;
        if (type == KEY_ACTOR && e->len == sizeof(actor_blob) && index < VMSIG_ACTORS_MAX) {
            const actor_blob *b = e->blob;
            memcpy(n->actors[index].name, b->name, sizeof b->name);
            n->actors[index].kind = b->kind;
            n->actors_n = index >= n->actors_n ? index + 1 : n->actors_n;
        }
        if (type == KEY_LINK && e->len == sizeof(link_blob)) {
            n->links[n->links_n++] = ((const link_blob *)e->blob)->who;
            n->next_link = index >= n->next_link ? index + 1 : n->next_link;
        }
    }
    return 0;
}

static int heard_source(const topology_blob *b, const char **at, vmsig_sup_source *src) {
    *src = (vmsig_sup_source){.file = strdup(b->file),
                              .folder = strdup(b->folder),
                              .text = strndup(*at, b->len),
                              .len = b->len,
                              .edits.items = calloc(b->edits + 1, sizeof(char *))};
    int rc = src->file && src->folder && src->text && src->edits.items ? 0 : -ENOMEM;
    for (*at += b->len; rc == 0 && src->edits.n < b->edits; *at += strlen(*at) + 1)
        if ((src->edits.items[src->edits.n++] = strdup(*at)) == NULL)
            rc = -ENOMEM;
    return rc;
}

/* As they were read, whatever the files hold by now. */
static int heard_grants(const topology_blob *b, const char *at, vmsig_topology *t) {
    for (uint32_t i = 0; i < b->grants; i++) {
        grants_head head;
        memcpy(&head, at, sizeof head);
        if (head.actor >= t->actors_n || t->actors[head.actor].grants == NULL)
            return -EPROTO;
        vmsig_topo_actor *a = &t->actors[head.actor];
        a->grants_text = malloc(head.len + 1u);
        if (a->grants_text == NULL)
            return -ENOMEM;
        memcpy(a->grants_text, at + sizeof head, head.len);
        a->grants_text[head.len] = 0;
        a->grants_len = head.len;
        at += sizeof head + head.len;
    }
    for (size_t i = 0; i < t->actors_n; i++)
        if (t->actors[i].grants != NULL && t->actors[i].grants_text == NULL)
            return -EPROTO; /* without one, it would let in whom the file does not */
    return 0;
}

static int heard_numbered(vmsig_sup *s, const vmsig_sup_heard *h, uint32_t next_link) {
    vmsig_topo_numbers numbers = {.next_link = next_link};
    int rc = heard_numbers(h, &numbers);
    if (rc == 0)
        rc = vmsig_topology_keep(s->topo, &numbers);
    s->next_link = numbers.next_link;
    vmsig_topology_numbers_free(&numbers);
    return rc;
}

int vmsig_sup_heard_topology(vmsig_sup *s, vmsig_sup_heard *h, vmsig_conf_error *err) {
    vmsig_shelf_entry *e = entry(h, key_of(KEY_TOPOLOGY, 0));
    const topology_blob *b = e ? e->blob : NULL;
    const void *map;
    err->text[0] = 0;
    if (b == NULL || e->len != sizeof *b || b->version != VMSIG_SUP_SHELF || e->nfds != 1)
        return -EPROTO;
    s->lineage = b->lineage;
    s->started_ns = b->started_ns;
    memcpy(s->epoch_floor, b->epoch_floor, sizeof s->epoch_floor);
    int rc = vmsig_shm_map_ro(e->fds[0], b->all, &map);
    if (rc)
        return rc;
    vmsig_sup_source *src = &s->source;
    const char *at = map;
    rc = heard_source(b, &at, src);
    if (rc == 0)
        rc = vmsig_topology_parse_edited(src->file, src->folder, src->text, src->len, &src->edits, s->program_dir, true,
                                         &s->topo, err);
    if (rc == 0)
        rc = heard_numbered(s, h, b->next_link);
    if (rc == 0)
        rc = heard_grants(b, at, s->topo);
    vmsig_shm_unmap(map, b->all);
    return rc;
}

static int restore_actor(vmsig_sup_actor *a, vmsig_shelf_entry *e) {
    const actor_blob *b = e->blob;
    int *places[ACTOR_FDS];
    if (e->len != sizeof *b || b->version != VMSIG_SUP_SHELF)
        return -EPROTO;
    a->incarnation = b->incarnation;
    a->uid = b->uid;
    a->gid = b->gid;
    a->epoch_next = b->epoch_next;
    a->rests = b->rests;
    a->begun = b->begun;
    a->leave = (vmsig_sup_leave)b->leave;
    a->started_ns = b->started_ns;
    a->ready_ns = b->ready_ns;
    a->dead_ns = b->dead_ns;
    a->gauges = b->gauges;
    a->epoch = b->epoch;
    a->fences = b->fences;
    a->restarts = b->restarts;
    memcpy(a->last_exit, b->last_exit, sizeof a->last_exit);
    memcpy(a->last_why, b->last_why, sizeof a->last_why);
    memcpy(a->why, b->why, sizeof a->why);
    memcpy(a->report, b->report, sizeof a->report);
    a->state = (vmsig_actor_state)b->state;
    actor_places(a, places);
    return scatter(e, b->has, places, ACTOR_FDS);
}

static int restore_link(vmsig_sup *s, uint32_t id, vmsig_shelf_entry *e) {
    const link_blob *b = e->blob;
    vmsig_sup_link *l = s->links;
    int *places[LINK_FDS];
    while (l < s->links + s->topo->links_n && l->topo->id != id)
        l++;
    if (l == s->links + s->topo->links_n) { /* its end was decided, but not carried out */
        vmsig_sup_drop_link(s, id);
        return 0;
    }
    if (e->len != sizeof *b || b->version != VMSIG_SUP_SHELF || b->chained > VMSIG_RING_CHAIN)
        return -EPROTO;
    l->known = true;
    l->chained = b->chained;
    memcpy(l->chain, b->chain, sizeof l->chain);
    l->next_ring = b->next_ring;
    l->reader = b->reader;
    l->next_reader = b->next_reader;
    l->taken = b->taken;
    link_places(l, places);
    int rc = scatter(e, b->has, places, LINK_FDS);
    vmsig_sup_link_map_reader(l);
    return rc;
}

static int restore_gateway(vmsig_sup *s, uint32_t i, vmsig_shelf_entry *e) {
    vmsig_sup_sockets *g = &s->gateway[i];
    int *places[3] = {&g->listen, &g->audit, &g->seal};
    uint32_t has;
    if (e->len != sizeof has)
        return -EPROTO;
    memcpy(&has, e->blob, sizeof has);
    return scatter(e, has, places, 3);
}

static int restore_ram(vmsig_sup *s, uint32_t i, vmsig_shelf_entry *e) {
    int *places[1] = {&s->ram[i].fd};
    if (e->len != sizeof s->ram[i].ram_id)
        return -EPROTO;
    memcpy(&s->ram[i].ram_id, e->blob, e->len);
    return scatter(e, 1, places, 1);
}

static int restore_entry(vmsig_sup *s, vmsig_shelf_entry *e) {
    uint32_t type = (uint32_t)(e->key >> 32), i = (uint32_t)e->key;
    int *own[2] = {&s->run_lock, &s->status_listen};
    switch (type) {
    case KEY_TOPOLOGY:
        return 0;
    case KEY_SOCKETS:
        return scatter(e, 3, own, 2);
    case KEY_GATEWAY:
        return i < s->topo->actors_n ? restore_gateway(s, i, e) : -EPROTO;
    case KEY_ACTOR:
        return i < s->topo->actors_n ? restore_actor(&s->actors[i], e) : -EPROTO;
    case KEY_LINK:
        return restore_link(s, i, e);
    case KEY_RAM:
        return i < VMSIG_ENDPOINTS_MAX ? restore_ram(s, i, e) : -EPROTO;
    default:
        return -EPROTO;
    }
}

int vmsig_sup_heard_restore(vmsig_sup *s, vmsig_sup_heard *h) {
    for (size_t i = 0; i < h->shelf.n; i++) {
        int rc = restore_entry(s, &h->shelf.entries[i]);
        if (rc)
            return rc;
    }
    for (size_t i = 0; i < h->n; i++) {
        process *p = &h->processes[i];
        if (p->key == VMSIG_SUP_ASKED_KEY) { /* whoever asked it is gone */
            syscall(SYS_pidfd_send_signal, p->pidfd, SIGKILL, NULL, 0);
            continue;
        }
        if (p->key >= s->topo->actors_n)
            return -EPROTO;
        vmsig_sup_actor *a = &s->actors[p->key];
        a->process = true;
        a->pid = p->pid;
        a->pidfd = p->pidfd;
        p->pidfd = -1;
    }
    return 0;
}

void vmsig_sup_heard_ends(vmsig_sup *s, vmsig_sup_heard *h) {
    for (size_t i = 0; i < h->n; i++)
        if (h->processes[i].key == VMSIG_SUP_ASKED_KEY && h->processes[i].ended)
            vmsig_sup_upgrade_ended(s, h->processes[i].status);
        else if (h->processes[i].ended)
            vmsig_sup_exited(&s->actors[h->processes[i].key], h->processes[i].status);
}
