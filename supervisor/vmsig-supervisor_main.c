/* vmsig-supervisor: started by vmsig-keeper, at first and again after its own death.
 *
 *   hear the shelf ──empty──► topology from its file ──► run directory, sockets ──► start actors in order ──┐
 *        └──────────else────► topology, sockets, actors from the shelf ──► deaths in between ───────────────┴─► loop
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "supervisor/supervisor.h"

#define KEEPER_SEND_S 5 /* a keeper that takes nothing for so long is none */
#define EXIT_TOPOLOGY 2
#define EXIT_USAGE    64

void vmsig_sup_say(const char *fmt, ...) {
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    fprintf(stderr, "supervisor: %s\n", line);
}

void vmsig_sup_say_of(const vmsig_sup_actor *a, const char *fmt, ...) {
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    fprintf(stderr, "%s: %s\n", a->topo->name, line);
}

void vmsig_sup_close(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

bool vmsig_sup_serves(const vmsig_sup_actor *a, uint32_t endpoint) {
    return a->topo->endpoint == (int32_t)endpoint || a->topo->endpoint_mask >> endpoint & 1;
}

/* ---- what a start needs ----------------------------------------------------------------------------------- */

typedef struct options {
    const char *topology, *name, *programs;
    bool speaks; /* say what it speaks, and nothing more */
} options;

static int parse_options(int argc, char **argv, options *o) {
    static const struct option known[] = {{"topology", required_argument, NULL, 't'},
                                          {"name", required_argument, NULL, 'n'},
                                          {"programs", required_argument, NULL, 'p'},
                                          {"speaks", no_argument, NULL, 's'},
                                          {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;)
        switch (c) {
        case 't':
            o->topology = optarg;
            break;
        case 'n':
            o->name = optarg;
            break;
        case 'p':
            o->programs = optarg;
            break;
        case 's':
            o->speaks = true;
            break;
        default:
            return -EINVAL;
        }
    return optind == argc && (o->speaks || o->programs != NULL) ? 0 : -EINVAL;
}

static bool has_keeper(void) {
    int type = 0;
    socklen_t len = sizeof type;
    return getsockopt(VMSIG_KEEPER_FD, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET;
}

/* To who asked, on the socket, or to a person. */
static int say_what_it_speaks(void) {
    char line[128];
    int n = vmsig_sup_speaks(line, sizeof line);
    return write(has_keeper() ? VMSIG_KEEPER_FD : STDOUT_FILENO, line, (size_t)n) == n ? 0 : 1;
}

static int per_actor(vmsig_sup *s) {
    s->gateway = vmsig_sup_sockets_new();
    if (s->gateway == NULL)
        return -ENOMEM;
    int rc = vmsig_sup_actors_new(s);
    return rc ? rc : vmsig_sup_links_new(s);
}

static int take_name(vmsig_sup *s, const char *name) {
    s->name = name ? name : s->topo->name;
    if (vmsig_run_dir(s->name, s->run_dir, sizeof s->run_dir)) {
        vmsig_sup_say("%s: too long a name for a run directory", s->name);
        return -ENAMETOOLONG;
    }
    s->name = strdup(s->name); /* a topology may give way to the next */
    return s->name ? vmsig_sup_take_name(s, s->topo) : -ENOMEM;
}

/* ---- the two ways to begin -------------------------------------------------------------------------------- */

static int load_topology(vmsig_sup *s, const char *path) {
    vmsig_conf_error err = {{0}};
    vmsig_sup_source *src = &s->source;
    int rc = vmsig_sup_source_load(src, path, &err);
    if (rc == 0)
        rc = vmsig_topology_parse(src->file, src->folder, src->text, src->len, s->program_dir, &s->topo, &err);
    if (rc)
        fprintf(stderr, "%s\n", err.text);
    else
        s->next_link = (uint32_t)s->topo->links_n + 1;
    return rc;
}

static int shelve_start(vmsig_sup *s) {
    int rc = vmsig_sup_shelve_topology(s, s->topo);
    if (rc == 0)
        vmsig_sup_shelve_sockets(s);
    else
        vmsig_sup_say("the topology cannot be kept for a successor: %s", strerror(-rc));
    return rc;
}

static int begin_fresh(vmsig_sup *s, const options *o) {
    char path[sizeof s->run_dir + 32];
    s->started_ns = vmsig_now_ns();
    if (getrandom(&s->lineage, sizeof s->lineage, 0) != (ssize_t)sizeof s->lineage)
        s->lineage = s->started_ns;
    if (load_topology(s, o->topology))
        return EXIT_TOPOLOGY;
    if (take_name(s, o->name) || per_actor(s) || vmsig_sup_uids(s) || vmsig_sup_rundir_open(s))
        return 1;
    snprintf(path, sizeof path, "%s/supervisor.sock", s->run_dir);
    s->status_listen = vmsig_sup_listen(path, 0600);
    if (s->status_listen < 0 || vmsig_sup_listen_all(s))
        return 1;
    int rc = vmsig_sup_board_new(s);
    if (rc)
        vmsig_sup_say("no memory for the board: %s", strerror(-rc));
    return rc || shelve_start(s) ? 1 : 0;
}

static int begin_adopting(vmsig_sup *s, vmsig_sup_heard *h, const options *o) {
    vmsig_conf_error err;
    int rc = vmsig_sup_heard_topology(s, h, &err);
    if (rc) {
        vmsig_sup_say("the topology cannot be taken over: %s", err.text[0] ? err.text : strerror(-rc));
        return 1;
    }
    if (take_name(s, o->name) || per_actor(s))
        return 1;
    rc = vmsig_sup_heard_restore(s, h);
    if (rc == 0)
        rc = vmsig_sup_board_new(s);
    if (rc) {
        vmsig_sup_say("what the former supervisor left cannot be taken over: %s", strerror(-rc));
        return 1;
    }
    bool stopping = false;
    for (size_t i = 0; i < s->topo->actors_n; i++) {
        vmsig_sup_board_update(&s->actors[i]);
        s->failed = s->failed || s->actors[i].state == VMSIG_ACTOR_FAILED;
        stopping = stopping || (s->actors[i].state == VMSIG_ACTOR_STOPPING && !s->actors[i].leave);
    }
    for (size_t i = 0; i < s->topo->actors_n; i++)
        vmsig_sup_actor_adopt(&s->actors[i]);
    if (s->failed || stopping)
        vmsig_sup_stop(s, s->failed ? VMSIG_SUP_EXIT_FAILED : 0);
    vmsig_sup_change_undo(s);
    vmsig_sup_heard_ends(s, h);
    for (size_t i = 0; i < s->topo->links_n; i++)
        if (!s->links[i].known) /* it was decided that it is there, but nobody was told */
            vmsig_sup_link_plug(s, &s->links[i]);
    for (size_t i = 0; i < s->topo->actors_n; i++)
        vmsig_sup_links_ring(&s->actors[i]);
    vmsig_sup_say("took over %zu actors", s->topo->order_n);
    return 0;
}

/* ---- the loop --------------------------------------------------------------------------------------------- */

static void on_signal(void *ud, int signo) {
    (void)signo;
    vmsig_sup_stop(ud, 0);
}

static void on_deadline(void *ud) {
    vmsig_sup *s = ud;
    vmsig_sup_say("not all has stopped in time: the rest is killed");
    s->exit_code = s->exit_code ? s->exit_code : 1;
    s->ended = true; /* the keeper kills what is left */
}

static void on_patience(void *ud) {
    (void)ud; /* what follows looks again */
}

static bool before_sleep(void *ud) {
    vmsig_sup *s = ud;
    if (s->keeper_lost) {
        s->keeper_lost = false;
        vmsig_sup_stop(s, 1);
        vmsig_sup_watch_pidfds(s);
    }
    vmsig_sup_advance(s);
    return s->ended;
}

static int run(vmsig_sup *s) {
    while (!s->ended) {
        int rc = vmsig_loop_run_once(s->loop, -1);
        if (rc < 0) {
            vmsig_sup_say("its loop failed: %s", strerror(-rc));
            return 1;
        }
    }
    return s->exit_code;
}

static int prepare(vmsig_sup *s) {
    static const int signals[] = {SIGTERM, SIGINT};
    struct timeval patience = {.tv_sec = KEEPER_SEND_S};
    int rc = vmsig_loop_new(&s->loop);
    if (rc == 0)
        rc = vmsig_loop_signals(s->loop, signals, 2, on_signal, s);
    if (rc == 0)
        rc = vmsig_loop_prepare(s->loop, before_sleep, s);
    if (rc == 0)
        rc = vmsig_timer_new(s->loop, on_deadline, s, &s->deadline);
    if (rc == 0)
        rc = vmsig_timer_new(s->loop, on_patience, s, &s->change.timer);
    if (rc == 0)
        rc = vmsig_timer_new(s->loop, vmsig_sup_on_look, s, &s->look);
    if (rc == 0)
        rc = vmsig_timer_new(s->loop, vmsig_sup_on_place, s, &s->place);
    if (rc == 0)
        rc = vmsig_sup_upgrade_init(s);
    if (rc == 0 && (setsockopt(s->keeper, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) ||
                    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)))
        rc = -errno;
    return rc;
}

static int live(vmsig_sup *s, const options *o) {
    vmsig_sup_heard *heard = NULL;
    bool fresh = true;
    int rc = prepare(s);
    if (rc == 0)
        rc = vmsig_sup_hear(s, &heard, &fresh);
    if (rc) {
        vmsig_sup_say("cannot begin: %s", strerror(-rc));
        return 1;
    }
    int code = fresh ? begin_fresh(s, o) : begin_adopting(s, heard, o);
    vmsig_sup_heard_free(heard);
    if (code == 0 && (rc = vmsig_sup_watch_keeper(s) ? 1 : vmsig_sup_requests_start(s)) != 0)
        code = 1;
    if (code == 0) {
        vmsig_sup_look_start(s);
        vmsig_sup_place_start(s);
        vmsig_sup_upgrade_taken(s);
    }
    return code ? code : run(s);
}

static void tidy(vmsig_sup *s) {
    if (s->upgrade.state == VMSIG_UPGRADE_TRYING) /* it did not take over: all of it is another's */
        return;
    vmsig_sup_requests_stop(s);
    if (s->actors != NULL)
        vmsig_sup_change_undo(s);
    if (s->run_lock >= 0)
        vmsig_sup_sockets_free(s->gateway, s->topo);
    vmsig_sup_actors_free(s);
    vmsig_sup_links_free(s);
    vmsig_sup_rundir_remove(s);
    vmsig_sup_upgrade_fini(s);
    for (uint32_t i = 0; i < VMSIG_ENDPOINTS_MAX; i++)
        vmsig_sup_close(&s->ram[i].fd);
    if (s->board != NULL)
        vmsig_board_close(s->board);
    vmsig_sup_close(&s->board_fd);
    vmsig_timer_free(s->deadline);
    vmsig_timer_free(s->change.timer);
    vmsig_timer_free(s->look);
    vmsig_timer_free(s->place);
    vmsig_loop_free(s->loop);
    vmsig_sup_close(&s->keeper);
    vmsig_topology_free(s->topo);
    vmsig_sup_source_free(&s->source);
    free((char *)(uintptr_t)s->name);
}

int main(int argc, char **argv) {
    static vmsig_sup s;
    options o = {0};
    signal(SIGPIPE, SIG_IGN); /* who reads stderr may go: what runs goes on */
    if (parse_options(argc, argv, &o)) {
        fprintf(stderr, "usage: vmsig-supervisor --programs DIR [--topology FILE] [--name NAME]\n");
        return EXIT_USAGE;
    }
    if (o.speaks)
        return say_what_it_speaks();
    if (!has_keeper()) {
        fprintf(stderr, "vmsig-supervisor: is started by vmsig-keeper; use `vmsig up`\n");
        return EXIT_USAGE;
    }
    s.program_dir = o.programs;
    s.keeper = VMSIG_KEEPER_FD;
    s.board_fd = s.run_lock = s.status_listen = -1;
    for (uint32_t i = 0; i < VMSIG_ENDPOINTS_MAX; i++)
        s.ram[i].fd = -1;
    int code = live(&s, &o);
    tidy(&s);
    return code;
}
