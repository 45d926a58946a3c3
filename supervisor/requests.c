/* supervisor.sock: what `vmsig` asks. One request, one answer, as often as the client likes; only for the user who
 * started it, and root. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "schema/frame.h"
#include "supervisor.pb-c.h"
#include "supervisor/client/answer.h"
#include "supervisor/supervisor.h"

#define CLIENTS_MAX 32u /* the oldest goes when one more comes */

typedef struct vmsig_sup_client {
    vmsig_sup *sup;
    int fd;
    struct vmsig_sup_client *next;
} client;

/* ---- answers ---------------------------------------------------------------------------------------------- */

static int send_error(int fd, const char *text) {
    Vmsig__Pb__Response r = VMSIG__PB__RESPONSE__INIT;
    r.error = (char *)text;
    return vmsig_frame_send(fd, &r.base, NULL, 0);
}

/* code: of what went wrong. */
static int send_refusal(int fd, int code, const vmsig_conf_error *err) {
    Vmsig__Pb__Response r = VMSIG__PB__RESPONSE__INIT;
    r.error = (char *)(uintptr_t)err->text;
    r.has_invalid = 1;
    r.invalid = code == -EINVAL;
    return vmsig_frame_send(fd, &r.base, NULL, 0);
}

/* Frees the plan. */
static int send_plan(int fd, vmsig_topo_change *plan, size_t n, bool made) {
    Vmsig__Pb__Response r = VMSIG__PB__RESPONSE__INIT;
    Vmsig__Pb__Plan p = VMSIG__PB__PLAN__INIT;
    Vmsig__Pb__Change *changes = calloc(n + 1, sizeof *changes), **list = calloc(n + 1, sizeof *list);
    int rc = changes && list ? 0 : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        vmsig__pb__change__init(&changes[i]);
        changes[i].what = (char *)(uintptr_t)vmsig_topo_what_name(plan[i].what);
        changes[i].name = plan[i].name;
        changes[i].has_link = 1;
        changes[i].link = plan[i].link;
        changes[i].why = plan[i].why[0] ? plan[i].why : NULL;
        list[i] = &changes[i];
    }
    p.changes = list;
    p.n_changes = n;
    p.made = made;
    r.plan = &p;
    if (rc == 0)
        rc = vmsig_answer_send(fd, &r);
    free(changes);
    free(list);
    free(plan);
    return rc == -EMSGSIZE ? send_error(fd, made ? "the change is made; its plan is too large for one answer"
                                                 : "the plan is too large for one answer")
                           : rc;
}

static int restart(client *c, const char *name) {
    vmsig_conf_error err;
    vmsig_topo_change *plan = calloc(1, sizeof *plan);
    int rc = plan ? vmsig_sup_restart(c->sup, name, &err) : -ENOMEM;
    if (rc) {
        free(plan);
        return rc == -ENOMEM ? rc : send_refusal(c->fd, rc, &err);
    }
    plan->what = VMSIG_TOPO_RESTARTED;
    snprintf(plan->name, sizeof plan->name, "%s", name);
    return send_plan(c->fd, plan, 1, true);
}

static int change(client *c, const Vmsig__Pb__Request *q) {
    vmsig_conf_error err = {{0}};
    vmsig_topo_change *plan = NULL;
    size_t n = 0;
    bool dry;
    int rc;
    if (q->m_case == VMSIG__PB__REQUEST__M_PLUG) {
        dry = q->plug->dry_run;
        rc = vmsig_sup_plug(c->sup, q->plug->text, dry, &plan, &n, &err);
    } else if (q->m_case == VMSIG__PB__REQUEST__M_UNPLUG) {
        dry = q->unplug->dry_run;
        rc = vmsig_sup_unplug(c->sup, q->unplug->name, dry, &plan, &n, &err);
    } else {
        dry = q->reload->dry_run;
        rc = vmsig_sup_reload(c->sup, q->reload->file, dry, &plan, &n, &err);
    }
    if (rc == 0)
        return send_plan(c->fd, plan, n, !dry);
    free(plan);
    return send_refusal(c->fd, rc, &err);
}

/* ---- clients ---------------------------------------------------------------------------------------------- */

static void drop(client *c) {
    client **at = &c->sup->clients;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->sup->clients_n--;
    vmsig_loop_remove(c->sup->loop, c->fd);
    close(c->fd);
    free(c);
}

static int send_why(client *c, const char *name) {
    const vmsig_sup *s = c->sup;
    Vmsig__Pb__Response r = VMSIG__PB__RESPONSE__INIT;
    for (size_t i = 0; i < s->topo->actors_n; i++)
        if (name[0] && strcmp(s->topo->actors[i].name, name) == 0)
            r.why = s->actors[i].report[0] ? s->actors[i].report : (char *)(uintptr_t) "it has not crashed\n";
    if (r.why == NULL)
        return send_error(c->fd, "there is no actor of that name (`vmsig status` lists them)");
    return vmsig_frame_send(c->fd, &r.base, NULL, 0);
}

/* To those that run; who starts later is told at its boot. */
static int reread_grants(client *c) {
    vmsig_conf_error err;
    vmsig_sup *s = c->sup;
    if (vmsig_topology_reread_grants(s->topo, &err) < 0)
        return send_error(c->fd, err.text);
    int rc = vmsig_sup_shelve_topology(s, s->topo);
    if (rc)
        vmsig_sup_say("a successor of this supervisor will not know the new grants: %s", strerror(-rc));
    for (size_t i = 0; i < s->topo->actors_n; i++)
        if (s->actors[i].topo->grants_text != NULL && s->actors[i].boot >= 0)
            vmsig_sup_send_grants(&s->actors[i]);
    return vmsig_sup_send_status(s, c->fd);
}

static int upgrade(client *c, const Vmsig__Pb__UpgradeAsk *ask) {
    vmsig_conf_error err;
    int rc = vmsig_sup_upgrade_begin(c->sup, ask->programs, ask->trial_ms, &err);
    return rc ? send_refusal(c->fd, rc, &err) : vmsig_sup_send_status(c->sup, c->fd);
}

static int answer_request(client *c, const Vmsig__Pb__Request *q) {
    int rc;
    switch (q->m_case) {
    case VMSIG__PB__REQUEST__M_STATUS:
        rc = vmsig_sup_send_status(c->sup, c->fd);
        return rc == -EMSGSIZE ? send_error(c->fd, "the topology is too large for one answer") : rc;
    case VMSIG__PB__REQUEST__M_STOP:
        vmsig_sup_stop(c->sup, 0);
        return vmsig_sup_send_status(c->sup, c->fd);
    case VMSIG__PB__REQUEST__M_GRANTS:
        return reread_grants(c);
    case VMSIG__PB__REQUEST__M_WHY:
        return send_why(c, q->why->name);
    case VMSIG__PB__REQUEST__M_UPGRADE:
        return upgrade(c, q->upgrade);
    case VMSIG__PB__REQUEST__M_RESTART:
        return restart(c, q->restart->name);
    case VMSIG__PB__REQUEST__M_PLUG:
    case VMSIG__PB__REQUEST__M_UNPLUG:
    case VMSIG__PB__REQUEST__M_RELOAD:
        return change(c, q);
    default:
        return send_error(c->fd, "this supervisor does not know that request; is it of another version?");
    }
}

static void on_client(void *ud, uint32_t events) {
    (void)events;
    client *c = ud;
    vmsig_frame f;
    int rc = vmsig_frame_recv(c->fd, &f);
    if (rc == -EAGAIN)
        return;
    vmsig_frame_close_fds(&f);
    Vmsig__Pb__Request *q = rc > 0 ? vmsig_frame_unpack(&f, &vmsig__pb__request__descriptor) : NULL;
    if (q != NULL) {
        rc = answer_request(c, q);
        vmsig__pb__request__free_unpacked(q, NULL);
    }
    if (q == NULL || rc)
        drop(c);
}

static bool may_ask(int fd) {
    struct ucred who;
    socklen_t len = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && (who.uid == 0 || who.uid == geteuid());
}

static void on_listen(void *ud, uint32_t events) {
    (void)events;
    vmsig_sup *s = ud;
    int fd = accept4(s->status_listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    client *c = may_ask(fd) ? calloc(1, sizeof *c) : NULL;
    if (c == NULL || vmsig_loop_add(s->loop, fd, EPOLLIN, on_client, c)) {
        close(fd);
        free(c);
        return;
    }
    *c = (client){.sup = s, .fd = fd, .next = s->clients};
    s->clients = c;
    if (++s->clients_n <= CLIENTS_MAX)
        return;
    while (c->next != NULL)
        c = c->next;
    drop(c);
}

int vmsig_sup_requests_start(vmsig_sup *s) {
    return vmsig_loop_add(s->loop, s->status_listen, EPOLLIN, on_listen, s);
}

void vmsig_sup_requests_stop(vmsig_sup *s) {
    while (s->clients != NULL)
        drop(s->clients);
    vmsig_loop_remove(s->loop, s->status_listen);
    vmsig_sup_close(&s->status_listen);
}
