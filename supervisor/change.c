/* Changes while all goes on: restart, plug, unplug, reload.
 *
 *   request ──parse, validate──► next topology ──diff──► plan ──► those who must leave stop ──► all gone, and what they
 *   published taken ──► the next topology is noted: from here on it counts ──► links, new actors; restarted ones start
 *
 * Until it is noted, a change leaves no trace: a supervisor that dies in the midst of it leaves a successor that starts
 * those again who had left. Everybody else is told of links that come and go, and of nothing more.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/supervisor.h"

#define EDITS_MAX   1024u
#define PATIENCE_NS (2000 * VMSIG_SUP_MS) /* for what is left of those who go */
#define LOOK_NS     (5 * VMSIG_SUP_MS)

/* ---- the source ------------------------------------------------------------------------------------------- */

void vmsig_sup_source_free(vmsig_sup_source *src) {
    free(src->file);
    free(src->folder);
    free(src->text);
    for (size_t i = 0; i < src->edits.n; i++)
        free(src->edits.items[i]);
    free(src->edits.items);
    *src = (vmsig_sup_source){0};
}

static int no_memory(vmsig_conf_error *err) {
    snprintf(err->text, sizeof err->text, "no memory");
    return -ENOMEM;
}

/* path NULL: the built-in one. */
int vmsig_sup_source_load(vmsig_sup_source *src, const char *path, vmsig_conf_error *err) {
    *src = (vmsig_sup_source){.file = strdup(path ? path : "built-in demo")};
    if (path == NULL) {
        src->text = strdup(vmsig_topology_demo);
        src->folder = strdup(".");
        src->len = strlen(vmsig_topology_demo);
    } else {
        int rc = vmsig_conf_read_file(path, VMSIG_CONF_MAX, &src->text, &src->len, err);
        char *copy = rc ? NULL : strdup(path);
        src->folder = copy ? strdup(dirname(copy)) : NULL;
        free(copy);
        if (rc) {
            vmsig_sup_source_free(src);
            return rc;
        }
    }
    if (src->file && src->folder && src->text)
        return 0;
    vmsig_sup_source_free(src);
    return no_memory(err);
}

/* A copy with one edit more. */
static int edited(const vmsig_sup_source *from, char sign, const char *what, vmsig_sup_source *to,
                  vmsig_conf_error *err) {
    size_t n = from->edits.n;
    if (n >= EDITS_MAX) {
        snprintf(err->text, sizeof err->text, "%zu changes since the file was read: write them to it, then reload", n);
        return -ENOSPC;
    }
    *to = (vmsig_sup_source){.file = strdup(from->file),
                             .folder = strdup(from->folder),
                             .text = strndup(from->text, from->len),
                             .len = from->len,
                             .edits.items = calloc(n + 2, sizeof(char *))};
    bool whole = to->file && to->folder && to->text && to->edits.items;
    for (size_t i = 0; whole && i < n; i++)
        whole = (to->edits.items[to->edits.n++] = strdup(from->edits.items[i])) != NULL;
    if (whole && asprintf(&to->edits.items[n], "%c%s", sign, what) >= 0) {
        to->edits.n++;
        return 0;
    }
    vmsig_sup_source_free(to);
    return no_memory(err);
}

int vmsig_sup_take_name(vmsig_sup *s, vmsig_topology *t) {
    char old[sizeof s->run_dir];
    if (vmsig_run_dir(t->name, old, sizeof old))
        return -ENAMETOOLONG;
    size_t n = strlen(old);
    for (size_t i = 0; i < t->actors_n; i++) {
        char **socket = &t->actors[i].socket, *moved;
        if (*socket == NULL || strncmp(*socket, old, n) != 0 || (*socket)[n] != '/')
            continue;
        if (asprintf(&moved, "%s%s", s->run_dir, *socket + n) < 0)
            return -ENOMEM;
        free(*socket);
        *socket = moved;
    }
    return 0;
}

/* ---- preparing: nothing of this is seen by anybody -------------------------------------------------------- */

static void forget(vmsig_sup *s) {
    vmsig_sup_change *c = &s->change;
    vmsig_sup_sockets_free(c->gateway, c->topo);
    c->gateway = NULL;
    vmsig_topology_free(c->topo);
    vmsig_sup_source_free(&c->source);
    c->topo = NULL;
    c->under_way = false;
    vmsig_timer_set(c->timer, 0, 0);
}

int vmsig_sup_may_change(const vmsig_sup *s, vmsig_conf_error *err) {
    const char *why = s->phase == VMSIG_SUP_STOPPING ? "it is stopping"
                      : s->change.under_way          ? "a change is under way: try again when it is done"
                                                     : NULL;
    if (why != NULL)
        snprintf(err->text, sizeof err->text, "%s", why);
    return why ? -EBUSY : 0;
}

/* The next topology of a source (which becomes the change's), numbered as the present one. */
static int prepare(vmsig_sup *s, vmsig_sup_source *src, vmsig_conf_error *err) {
    vmsig_sup_change *c = &s->change;
    vmsig_topo_numbers numbers = {0};
    c->source = *src;
    *src = (vmsig_sup_source){0};
    err->text[0] = 0;
    int rc = vmsig_topology_parse_edited(c->source.file, c->source.folder, c->source.text, c->source.len,
                                         &c->source.edits, s->program_dir, false, &c->topo, err);
    if (rc == 0)
        rc = vmsig_topology_numbers(s->topo, s->next_link, &numbers);
    if (rc == 0)
        rc = vmsig_topology_keep(c->topo, &numbers);
    if (rc == 0)
        rc = vmsig_sup_take_name(s, c->topo);
    c->next_link = numbers.next_link;
    vmsig_topology_numbers_free(&numbers);
    for (uint32_t i = 0, uid, gid; rc == 0 && i < c->topo->actors_n; i++)
        rc = vmsig_sup_uid_of(c->topo, i, &uid, &gid);
    if (rc && err->text[0] == 0)
        snprintf(err->text, sizeof err->text, "cannot be prepared: %s (the log may say more)", strerror(-rc));
    return rc;
}

static bool differ(const char *a, const char *b) {
    return a && b ? strcmp(a, b) != 0 : a != b;
}

static bool listens_anew(const vmsig_sup *s, const vmsig_topology *now, uint32_t i) {
    const vmsig_topo_actor *b = &now->actors[i];
    if (b->kind != VMSIG_TOPO_GATEWAY)
        return false;
    const vmsig_topo_actor *a = i < s->topo->actors_n ? &s->topo->actors[i] : NULL;
    return a == NULL || a->kind != b->kind || differ(a->socket, b->socket) || differ(a->audit, b->audit);
}

/* The same audit log under another socket: it goes on, with its lock. */
static int keep_audit(const vmsig_sup *s, const vmsig_topology *topo, uint32_t i, vmsig_sup_sockets *to) {
    const vmsig_topo_actor *b = &topo->actors[i];
    if (i >= s->topo->actors_n || !b->audit || differ(s->topo->actors[i].audit, b->audit) || s->gateway[i].seal < 0)
        return 0;
    to->audit = fcntl(s->gateway[i].audit, F_DUPFD_CLOEXEC, 3);
    to->seal = fcntl(s->gateway[i].seal, F_DUPFD_CLOEXEC, 3);
    return to->audit < 0 || to->seal < 0 ? -EMFILE : 0;
}

/* A socket that is in use is found out before anybody stops. */
static int listen_new(vmsig_sup *s, vmsig_conf_error *err) {
    vmsig_sup_change *c = &s->change;
    c->gateway = vmsig_sup_sockets_new();
    if (c->gateway == NULL)
        return no_memory(err);
    for (uint32_t i = 0; i < c->topo->actors_n; i++) {
        if (!listens_anew(s, c->topo, i))
            continue;
        int rc = keep_audit(s, c->topo, i, &c->gateway[i]);
        if (rc == 0)
            rc = vmsig_sup_listen_of(&c->topo->actors[i], &c->gateway[i]);
        if (rc) {
            snprintf(err->text, sizeof err->text, "%s cannot have its socket or audit file: %s (the log says more)",
                     c->topo->actors[i].name, strerror(-rc));
            return rc;
        }
    }
    return 0;
}

/* ---- beginning -------------------------------------------------------------------------------------------- */

static void begin(vmsig_sup *s, const vmsig_topo_change *plan, size_t n) {
    s->change.under_way = true;
    s->change.patience_ns = 0;
    for (size_t i = 0; i < n; i++) {
        vmsig_sup_actor *a = &s->actors[plan[i].index];
        if (plan[i].link)
            continue;
        vmsig_sup_say("%s: %s%s%s", plan[i].name, vmsig_topo_what_name(plan[i].what), plan[i].why[0] ? ": " : "",
                      plan[i].why);
        if (plan[i].what == VMSIG_TOPO_REMOVED)
            vmsig_sup_leave_now(a, VMSIG_SUP_GOES);
        else if (plan[i].what == VMSIG_TOPO_RESTARTED)
            vmsig_sup_leave_now(a, VMSIG_SUP_RESTARTS);
    }
}

/* Takes src over. */
static int change(vmsig_sup *s, vmsig_sup_source *src, bool dry, vmsig_topo_change **plan, size_t *n,
                  vmsig_conf_error *err) {
    int rc = prepare(s, src, err);
    if (rc == 0 && vmsig_topology_diff(s->topo, s->change.topo, plan, n))
        rc = no_memory(err);
    if (rc == 0 && !dry)
        rc = listen_new(s, err);
    if (rc || dry) {
        forget(s);
        return rc;
    }
    begin(s, *plan, *n);
    return 0;
}

int vmsig_sup_restart(vmsig_sup *s, const char *name, vmsig_conf_error *err) {
    int rc = vmsig_sup_may_change(s, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < s->topo->actors_n; i++)
        if (name[0] && strcmp(s->topo->actors[i].name, name) == 0) {
            vmsig_sup_say("%s: restarted, as asked", name);
            s->change.under_way = true;
            vmsig_sup_leave_now(&s->actors[i], VMSIG_SUP_RESTARTS);
            return 0;
        }
    snprintf(err->text, sizeof err->text, "there is no actor %.64s (`vmsig status` lists them)", name);
    return -ENOENT;
}

static bool starts_after(const vmsig_topology *t, uint32_t index, uint32_t other) {
    for (size_t i = 0; i < t->order_n; i++) {
        if (t->order[i] == index)
            return false;
        if (t->order[i] == other)
            return true;
    }
    return false;
}

void vmsig_sup_restart_group(vmsig_sup_actor *crashed) {
    vmsig_sup *s = crashed->sup;
    const vmsig_topo_actor *t = crashed->topo;
    if (t->group == NULL || t->strategy == VMSIG_ONE_FOR_ONE)
        return;
    for (uint32_t i = 0; i < s->topo->actors_n; i++) {
        vmsig_sup_actor *a = &s->actors[i];
        if (a == crashed || a->topo->group == NULL || strcmp(a->topo->group, t->group) != 0 || !a->process || a->leave)
            continue;
        if (t->strategy == VMSIG_REST_FOR_ONE && !starts_after(s->topo, i, crashed->index))
            continue;
        vmsig_sup_say_of(a, "restarted with %s, of group %s", t->name, t->group);
        s->change.under_way = true;
        vmsig_sup_leave_now(a, VMSIG_SUP_FOLLOWS);
    }
}

static int edit(vmsig_sup *s, char sign, const char *what, bool dry, vmsig_topo_change **plan, size_t *n,
                vmsig_conf_error *err) {
    vmsig_sup_source src;
    int rc = vmsig_sup_may_change(s, err);
    if (rc == 0)
        rc = edited(&s->source, sign, what, &src, err);
    return rc ? rc : change(s, &src, dry, plan, n, err);
}

int vmsig_sup_plug(vmsig_sup *s, const char *text, bool dry, vmsig_topo_change **plan, size_t *n,
                   vmsig_conf_error *err) {
    return edit(s, '+', text, dry, plan, n, err);
}

int vmsig_sup_unplug(vmsig_sup *s, const char *name, bool dry, vmsig_topo_change **plan, size_t *n,
                     vmsig_conf_error *err) {
    return edit(s, '-', name, dry, plan, n, err);
}

int vmsig_sup_reload(vmsig_sup *s, const char *file, bool dry, vmsig_topo_change **plan, size_t *n,
                     vmsig_conf_error *err) {
    vmsig_sup_source src;
    int rc = vmsig_sup_may_change(s, err);
    if (rc)
        return rc;
    bool built_in = file == NULL && strcmp(s->source.file, "built-in demo") == 0;
    rc = vmsig_sup_source_load(&src, built_in ? NULL : file ? file : s->source.file, err);
    return rc ? rc : change(s, &src, dry, plan, n, err);
}

/* ---- carrying it out -------------------------------------------------------------------------------------- */

static bool all_gone(const vmsig_sup *s) {
    for (size_t i = 0; i < s->topo->actors_n; i++)
        if (s->actors[i].leave && !vmsig_sup_gone(&s->actors[i]))
            return false;
    return true;
}

/* What those who go have published belongs to those who stay. */
static bool all_taken(const vmsig_sup *s) {
    for (size_t i = 0; i < s->topo->links_n; i++) {
        const vmsig_sup_link *l = &s->links[i];
        if (s->actors[l->topo->from].leave == VMSIG_SUP_GOES && !s->actors[l->topo->to].leave &&
            !vmsig_sup_link_drained(l))
            return false;
    }
    return true;
}

static bool here(const vmsig_topology *t, size_t i) {
    return i < t->actors_n && t->actors[i].kind != 0;
}

static void change_sockets(vmsig_sup *s) {
    vmsig_sup_change *c = &s->change;
    for (uint32_t i = 0; i < s->topo->actors_n; i++)
        if (s->topo->actors[i].kind == VMSIG_TOPO_GATEWAY && (!here(c->topo, i) || listens_anew(s, c->topo, i)))
            vmsig_sup_unlisten(&s->topo->actors[i], &s->gateway[i]);
    for (uint32_t i = 0; i < c->topo->actors_n; i++) {
        if (c->gateway[i].listen < 0)
            continue;
        s->gateway[i] = c->gateway[i];
        c->gateway[i] = (vmsig_sup_sockets){-1, -1, -1};
    }
    free(c->gateway);
    c->gateway = NULL;
}

static int change_actor(vmsig_sup *s, const vmsig_topology *old, uint32_t i) {
    vmsig_sup_actor *a = &s->actors[i];
    bool was = here(old, i), is = here(s->topo, i);
    int rc = 0;
    if (was && is && old->actors[i].state_bytes != s->topo->actors[i].state_bytes)
        vmsig_sup_close(&a->state_fd);
    if (was && !is)
        vmsig_sup_actor_fini(a);
    if (was != is)
        rc = vmsig_sup_actor_init(s, i);
    a->topo = &s->topo->actors[i];
    if (rc == 0)
        rc = vmsig_sup_uid_of(s->topo, i, &a->uid, &a->gid);
    a->rests = a->rests || !is;
    if (was && is && a->boot >= 0 && a->topo->grants_text != NULL && vmsig_topo_grants_differ(&old->actors[i], a->topo))
        vmsig_sup_send_grants(a);
    if (was != is)
        vmsig_sup_shelve_actor(a);
    return rc;
}

static void note_epochs(vmsig_sup *s) {
    for (size_t i = 0; i < s->topo->actors_n; i++) {
        const vmsig_sup_actor *a = &s->actors[i];
        if (a->leave == VMSIG_SUP_GOES && a->topo->kind == VMSIG_TOPO_HOST)
            s->epoch_floor[a->topo->endpoint] = a->epoch_next;
    }
}

/* A successor will find the next topology. Failing, nothing has changed. */
static int shelve_next(vmsig_sup *s) {
    vmsig_sup_source was = s->source;
    uint32_t link = s->next_link;
    s->source = s->change.source;
    s->next_link = s->change.next_link;
    int rc = vmsig_sup_shelve_topology(s, s->change.topo);
    if (rc) {
        s->source = was;
        s->next_link = link;
        return rc;
    }
    vmsig_sup_source_free(&was);
    s->change.source = (vmsig_sup_source){0};
    return 0;
}

/* The next topology takes the place of the present one. */
static int turn_over(vmsig_sup *s) {
    vmsig_topology *old = s->topo, *now = s->change.topo;
    int rc = vmsig_sup_links_change(s);
    if (rc)
        return rc;
    change_sockets(s);
    s->topo = now;
    s->change.topo = NULL;
    size_t n = old->actors_n > now->actors_n ? old->actors_n : now->actors_n;
    for (uint32_t i = 0; i < n && rc == 0; i++)
        rc = change_actor(s, old, i);
    vmsig_topology_free(old);
    vmsig_sup_shelve_sockets(s);
    vmsig_sup_order(s);
    vmsig_sup_board_grow(s);
    vmsig_sup_look_start(s);
    vmsig_sup_place_start(s);
    for (size_t i = 0; i < now->links_n; i++)
        if (!s->links[i].known)
            vmsig_sup_link_plug(s, &s->links[i]);
    return rc;
}

static void commit(vmsig_sup *s) {
    note_epochs(s);
    int rc = s->change.topo ? shelve_next(s) : 0;
    if (rc) {
        vmsig_sup_say("the change cannot be made: %s; all stays as it was", strerror(-rc));
        vmsig_sup_change_undo(s);
        return;
    }
    rc = s->change.topo ? turn_over(s) : 0;
    if (rc) {
        vmsig_sup_say("the change cannot be made: %s; stopping everything", strerror(-rc));
        vmsig_sup_stop(s, 1);
        return;
    }
    for (size_t i = 0; i < s->topo->actors_n; i++)
        if (s->actors[i].leave != VMSIG_SUP_STAYS && s->actors[i].leave != VMSIG_SUP_GOES)
            vmsig_sup_renew(&s->actors[i]);
    forget(s);
}

void vmsig_sup_change_step(vmsig_sup *s) {
    vmsig_sup_change *c = &s->change;
    if (!c->under_way || !all_gone(s))
        return;
    uint64_t now = vmsig_now_ns();
    if (c->patience_ns == 0)
        c->patience_ns = now + PATIENCE_NS;
    if (c->topo != NULL && now < c->patience_ns && !all_taken(s)) {
        vmsig_timer_set(c->timer, now + LOOK_NS, 0);
        return;
    }
    if (c->topo != NULL && !all_taken(s))
        vmsig_sup_say("what an actor that goes left behind was not taken within %llu s: given up",
                      PATIENCE_NS / (1000 * VMSIG_SUP_MS));
    commit(s);
}

void vmsig_sup_change_undo(vmsig_sup *s) {
    forget(s);
    for (size_t i = 0; i < s->topo->actors_n; i++) {
        vmsig_sup_actor *a = &s->actors[i];
        if (a->leave == VMSIG_SUP_STAYS)
            continue;
        a->leave = s->phase == VMSIG_SUP_STOPPING ? VMSIG_SUP_STAYS : VMSIG_SUP_RESTARTS;
        s->change.under_way = s->phase != VMSIG_SUP_STOPPING;
    }
}
