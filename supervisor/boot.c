/* What is said to an actor over its boot socket, and what it says. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "schema/frame.h"
#include "schema/slot.h"
#include "supervisor/supervisor.h"

#define FRAMES_PER_TURN 64

/* ---- sending ------------------------------------------------------------------------------------------- */

static int keep_unsent(vmsig_sup_actor *a, const Vmsig__Pb__ToActor *m, const int *fds, int nfds) {
    size_t len = protobuf_c_message_get_packed_size(&m->base);
    vmsig_sup_unsent *u = malloc(sizeof *u + len);
    if (u == NULL)
        return -ENOMEM;
    *u = (vmsig_sup_unsent){.len = len};
    protobuf_c_message_pack(&m->base, u->bytes);
    for (int i = 0; i < nfds; i++, u->nfds++)
        if ((u->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3)) < 0)
            break;
    if (u->nfds < nfds) {
        while (u->nfds > 0)
            close(u->fds[--u->nfds]);
        free(u);
        return -EMFILE;
    }
    *a->unsent_tail = u;
    a->unsent_tail = &u->next;
    vmsig_loop_modify(a->sup->loop, a->boot, EPOLLIN | EPOLLOUT); /* not watched yet: vmsig_sup_watch_boot looks */
    return 0;
}

/* That nobody listens any more is not for the sender to deal with: the keeper will tell of its end. */
static bool is_dead(int rc) {
    return rc == -EPIPE || rc == -ECONNRESET;
}

int vmsig_sup_send(vmsig_sup_actor *a, Vmsig__Pb__ToActor *m, const int *fds, int nfds) {
    if (a->boot < 0)
        return -ENOTCONN;
    if (a->unsent != NULL)
        return keep_unsent(a, m, fds, nfds);
    int rc = vmsig_frame_send(a->boot, &m->base, fds, nfds);
    return rc == -EAGAIN ? keep_unsent(a, m, fds, nfds) : is_dead(rc) ? 0 : rc;
}

static void drop_unsent(vmsig_sup_actor *a) {
    vmsig_sup_unsent *u = a->unsent;
    a->unsent = u->next;
    if (a->unsent == NULL)
        a->unsent_tail = &a->unsent;
    for (int i = 0; i < u->nfds; i++)
        close(u->fds[i]);
    free(u);
}

static void send_unsent(vmsig_sup_actor *a) {
    while (a->unsent != NULL) {
        vmsig_sup_unsent *u = a->unsent;
        Vmsig__Pb__ToActor *m = vmsig__pb__to_actor__unpack(NULL, u->len, u->bytes);
        int rc = m ? vmsig_frame_send(a->boot, &m->base, u->fds, u->nfds) : -ENOMEM;
        if (m != NULL)
            vmsig__pb__to_actor__free_unpacked(m, NULL);
        if (rc == -EAGAIN)
            return;
        drop_unsent(a);
        if (rc && !is_dead(rc))
            vmsig_sup_kill(a, "cannot be told what it needs: %s", strerror(-rc));
    }
    vmsig_loop_modify(a->sup->loop, a->boot, EPOLLIN);
}

/* ---- receiving ----------------------------------------------------------------------------------------- */

/* What an actor says goes to a terminal. */
void vmsig_sup_printable(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 32)
            *text = ' ';
}

static void keep_why(vmsig_sup_actor *a, const char *why) {
    size_t n = strnlen(why, sizeof a->why - 1);
    memcpy(a->why, why, n);
    a->why[n] = 0;
    vmsig_sup_printable(a->why);
}

/* A kept VM outlives its host adapter: the adapter is told to kill it (actors/hosts/qemu/keep.h). Others are the VM. */
static void kill_vm(vmsig_sup_actor *host, bool kept) {
    static const char why[] = "it did not become quiet within its bound, and `unquiet: kill` is its topology's choice";
    if (!kept || host->pidfd < 0) {
        vmsig_sup_kill(host, "%s", why);
        return;
    }
    vmsig_sup_say_of(host, "%s", why);
    syscall(SYS_pidfd_send_signal, host->pidfd, SIGUSR1, NULL, 0);
}

/* A class of an endpoint is closed: the gateway, whose it is, says so. */
static void unquiet(const vmsig_sup_actor *gate, uint32_t endpoint) {
    const vmsig_topology *topo = gate->sup->topo;
    for (size_t i = 0; i < topo->endpoints_n; i++) {
        const vmsig_topo_endpoint *e = &topo->endpoints[i];
        if (e->id == endpoint && e->gateway == gate->index && e->unquiet_kill)
            kill_vm(&gate->sup->actors[e->host_actor], strcmp(e->host, "qemu") == 0);
    }
}

static void handle(vmsig_sup_actor *a, const Vmsig__Pb__FromActor *m, const int *fds, int nfds) {
    switch (m->m_case) {
    case VMSIG__PB__FROM_ACTOR__M_MAPPED:
        vmsig_sup_link_mapped(a, m->mapped);
        break;
    case VMSIG__PB__FROM_ACTOR__M_PAGE_MAPPED:
        vmsig_sup_page_mapped(a, m->page_mapped);
        break;
    case VMSIG__PB__FROM_ACTOR__M_READY:
        vmsig_sup_ready(a);
        break;
    case VMSIG__PB__FROM_ACTOR__M_RAM:
        if (nfds == 1)
            vmsig_sup_ram_offered(a, m->ram, fds[0]);
        break;
    case VMSIG__PB__FROM_ACTOR__M_RAM_ASK:
        vmsig_sup_ram_asked(a, m->ram_ask);
        break;
    case VMSIG__PB__FROM_ACTOR__M_FAILED:
        keep_why(a, m->failed->why);
        break;
    case VMSIG__PB__FROM_ACTOR__M_UNQUIET:
        unquiet(a, m->unquiet->endpoint);
        break;
    case VMSIG__PB__FROM_ACTOR__M_POISONED:
        vmsig_sup_link_poisoned(a, m->poisoned);
        break;
    case VMSIG__PB__FROM_ACTOR__M_AUDIT_FULL:
        vmsig_sup_audit_full(a);
        break;
    default: /* Stopped and Probe: the exit, and the stamp, tell as much */
        break;
    }
}

/* A frame is handled, what followed from it is shelved, and only then does it leave the socket: a supervisor that dies
 * in between leaves it to its successor. 1: go on; 0: nothing there, or the end. */
static int take_frame(vmsig_sup_actor *a) {
    vmsig_frame f;
    int rc = vmsig_frame_peek(a->boot, &f);
    if (rc == -EAGAIN || rc == 0)
        return rc == 0 ? -1 : 0;
    if (rc > 0) {
        Vmsig__Pb__FromActor *m = vmsig_frame_unpack(&f, &vmsig__pb__from_actor__descriptor);
        if (m != NULL)
            handle(a, m, f.fds, f.nfds);
        else
            vmsig_sup_kill(a, "sent a frame that is no message");
        if (m != NULL)
            vmsig__pb__from_actor__free_unpacked(m, NULL);
        vmsig_frame_close_fds(&f);
    } else {
        vmsig_sup_kill(a, "sent a frame that cannot be: %s", strerror(-rc));
    }
    rc = vmsig_frame_recv(a->boot, &f);
    vmsig_frame_close_fds(&f);
    return rc != 0 && rc != -EAGAIN;
}

void vmsig_sup_drain_boot(vmsig_sup_actor *a) {
    while (a->boot >= 0 && take_frame(a) > 0) {
    }
}

static void on_boot(void *ud, uint32_t events) {
    vmsig_sup_actor *a = ud;
    int more = 1;
    if (events & EPOLLOUT)
        send_unsent(a);
    for (int i = 0; i < FRAMES_PER_TURN && more > 0 && a->boot >= 0; i++)
        more = take_frame(a);
    if (more < 0 && a->boot >= 0)
        vmsig_loop_remove(a->sup->loop, a->boot); /* closed: its end will be told by the keeper */
}

void vmsig_sup_watch_boot(vmsig_sup_actor *a) {
    uint32_t events = EPOLLIN | (a->unsent ? EPOLLOUT : 0u);
    vmsig_loop_add(a->sup->loop, a->boot, events, on_boot, a);
}

void vmsig_sup_close_boot(vmsig_sup_actor *a) {
    if (a->boot < 0)
        return;
    vmsig_loop_remove(a->sup->loop, a->boot);
    vmsig_sup_close(&a->boot);
    while (a->unsent != NULL)
        drop_unsent(a);
}

/* ---- what a new incarnation is told --------------------------------------------------------------------- */

/* A Boot and all that it points to. */
typedef struct boot_message {
    Vmsig__Pb__Boot boot;
    Vmsig__Pb__EndpointInfo endpoint[VMSIG_ENDPOINTS_MAX], *endpoints[VMSIG_ENDPOINTS_MAX];
    Vmsig__Pb__Policy *policy, **policies;
    Vmsig__Pb__Option *option, **options;
    char owner[16], sockets[320];
} boot_message;

static void tell_itself(boot_message *m, const vmsig_sup_actor *a) {
    const vmsig_topo_actor *t = a->topo;
    Vmsig__Pb__Boot *b = &m->boot;
    b->version = VMSIG_SUP_BOOT;
    b->layout = VMSIG_LAYOUT;
    b->name = t->name;
    b->kind = (Vmsig__Pb__ActorKind)t->kind;
    b->index = a->index;
    b->incarnation = a->incarnation;
    b->lineage = a->sup->lineage;
    b->has_poll = b->has_cpu = b->has_endpoint = b->has_source = b->has_memctx = b->has_epoch_base = 1;
    b->poll = (Vmsig__Pb__PollMode)t->poll;
    b->cpu = t->cpu;
    b->endpoint = t->endpoint < 0 ? 0 : (uint32_t)t->endpoint;
    b->source = t->source;
    b->memctx = t->memctx;
    b->epoch_base = a->epoch_next;
    if (t->grants_text != NULL) {
        b->has_grants = 1;
        b->grants.data = (uint8_t *)t->grants_text;
        b->grants.len = t->grants_len;
    }
}

static void tell_endpoints(boot_message *m, const vmsig_sup_actor *a) {
    const vmsig_topology *topo = a->sup->topo;
    m->boot.endpoints = m->endpoints;
    for (size_t i = 0; i < topo->endpoints_n; i++) {
        if (!vmsig_sup_serves(a, topo->endpoints[i].id))
            continue;
        Vmsig__Pb__EndpointInfo *e = m->endpoints[m->boot.n_endpoints] = &m->endpoint[m->boot.n_endpoints];
        vmsig__pb__endpoint_info__init(e);
        e->id = topo->endpoints[i].id;
        e->name = topo->endpoints[i].name;
        e->has_quiet_ns = 1;
        e->quiet_ns = topo->endpoints[i].quiet_ns;
        m->boot.n_endpoints++;
    }
}

static int tell_policies(boot_message *m, const vmsig_topo_actor *t) {
    m->policy = calloc(t->policies_n + 1, sizeof *m->policy);
    m->policies = calloc(t->policies_n + 1, sizeof *m->policies);
    if (m->policy == NULL || m->policies == NULL)
        return -ENOMEM;
    m->boot.policies = m->policies;
    m->boot.n_policies = t->policies_n;
    for (size_t i = 0; i < t->policies_n; i++) {
        const vmsig_topo_policy *from = &t->policies[i];
        Vmsig__Pb__Policy *p = m->policies[i] = &m->policy[i];
        vmsig__pb__policy__init(p);
        p->source = from->source;
        p->dir = from->dir;
        p->has_prio = p->has_min_gap_ns = p->has_coalesce_ns = p->has_max_inflight = p->has_drop_policy = 1;
        p->prio = from->prio;
        p->min_gap_ns = from->timing.min_gap_ns;
        p->coalesce_ns = from->timing.coalesce_ns;
        p->max_inflight = from->timing.max_inflight;
        p->drop_policy = from->timing.drop_policy;
    }
    return 0;
}

static void tell_option(boot_message *m, char *key, char *value) {
    Vmsig__Pb__Option *o = m->options[m->boot.n_options] = &m->option[m->boot.n_options];
    vmsig__pb__option__init(o);
    o->key = key;
    o->value = value;
    m->boot.n_options++;
}

static int tell_options(boot_message *m, const vmsig_sup_actor *a) {
    static char owner_key[] = "owner", sockets_key[] = "sockets";
    const vmsig_topo_actor *t = a->topo;
    m->option = calloc(t->options_n + 2, sizeof *m->option);
    m->options = calloc(t->options_n + 2, sizeof *m->options);
    if (m->option == NULL || m->options == NULL)
        return -ENOMEM;
    m->boot.options = m->options;
    for (size_t i = 0; i < t->options_n; i++)
        tell_option(m, t->options[i].key, t->options[i].value);
    if (t->kind == VMSIG_TOPO_GATEWAY) { /* who runs vmsig */
        snprintf(m->owner, sizeof m->owner, "%u", (unsigned)getuid());
        tell_option(m, owner_key, m->owner);
    }
    if (vmsig_sup_vm_folder(a, m->sockets, sizeof m->sockets) == 0) /* where its VM offers console and display */
        tell_option(m, sockets_key, m->sockets);
    return 0;
}

static int send_boot(vmsig_sup_actor *a) {
    boot_message m = {.boot = VMSIG__PB__BOOT__INIT};
    Vmsig__Pb__ToActor to = VMSIG__PB__TO_ACTOR__INIT;
    to.m_case = VMSIG__PB__TO_ACTOR__M_BOOT;
    to.boot = &m.boot;
    tell_itself(&m, a);
    tell_endpoints(&m, a);
    int rc = tell_policies(&m, a->topo);
    if (rc == 0)
        rc = tell_options(&m, a);
    if (rc == 0)
        rc = vmsig_sup_send(a, &to, NULL, 0);
    free(m.policy);
    free(m.policies);
    free(m.option);
    free(m.options);
    return rc;
}

int vmsig_sup_send_grants(vmsig_sup_actor *a) {
    Vmsig__Pb__Grants g = VMSIG__PB__GRANTS__INIT;
    Vmsig__Pb__ToActor m = VMSIG__PB__TO_ACTOR__INIT;
    g.text.data = (uint8_t *)a->topo->grants_text;
    g.text.len = a->topo->grants_len;
    m.m_case = VMSIG__PB__TO_ACTOR__M_GRANTS;
    m.grants = &g;
    return vmsig_sup_send(a, &m, NULL, 0);
}

int vmsig_sup_send_fd(vmsig_sup_actor *a, Vmsig__Pb__FdKind kind, int fd) {
    if (fd < 0)
        return 0;
    Vmsig__Pb__Fd what = VMSIG__PB__FD__INIT;
    Vmsig__Pb__ToActor m = VMSIG__PB__TO_ACTOR__INIT;
    what.kind = kind;
    m.m_case = VMSIG__PB__TO_ACTOR__M_FD;
    m.fd = &what;
    return vmsig_sup_send(a, &m, &fd, 1);
}

static int send_audit(vmsig_sup_actor *a) {
    int prev = vmsig_sup_audit_prev(a->sup, a->index);
    int rc = vmsig_sup_send_fd(a, VMSIG__PB__FD_KIND__FD_AUDIT, a->sup->gateway[a->index].audit);
    if (rc == 0)
        rc = vmsig_sup_send_fd(a, VMSIG__PB__FD_KIND__FD_AUDIT_PREV, prev);
    if (rc == 0)
        rc = vmsig_sup_send_fd(a, VMSIG__PB__FD_KIND__FD_AUDIT_SEAL, a->sup->gateway[a->index].seal);
    vmsig_sup_close(&prev);
    return rc;
}

static int send_go(vmsig_sup_actor *a) {
    Vmsig__Pb__Go go = VMSIG__PB__GO__INIT;
    Vmsig__Pb__ToActor m = VMSIG__PB__TO_ACTOR__INIT;
    m.m_case = VMSIG__PB__TO_ACTOR__M_GO;
    m.go = &go;
    return vmsig_sup_send(a, &m, NULL, 0);
}

int vmsig_sup_boot(vmsig_sup_actor *a, int *theirs) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return -errno;
    a->boot = pair[0];
    int rc = send_boot(a);
    if (rc == 0)
        rc = vmsig_sup_pages_boot(a);
    if (rc == 0)
        rc = vmsig_sup_send_fd(a, VMSIG__PB__FD_KIND__FD_LISTEN, a->sup->gateway[a->index].listen);
    if (rc == 0)
        rc = send_audit(a);
    if (rc == 0)
        rc = vmsig_sup_links_boot(a);
    if (rc == 0) {
        vmsig_sup_ram_boot(a);
        rc = send_go(a);
    }
    if (rc) {
        vmsig_sup_close_boot(a);
        close(pair[1]);
        return rc;
    }
    vmsig_sup_watch_boot(a);
    *theirs = pair[1];
    return 0;
}
