#include "supervisor/cli/live.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/cli/cli.h"
#include "supervisor/cli/show.h"

struct vmsig_live {
    vmsig_live_cfg cfg;
    vmsig_client *client;
    uint64_t shown;
    bool gone; /* stdout */
};

static bool over(const vmsig_live *l) {
    return l->gone || (l->cfg.count && l->shown >= l->cfg.count);
}

static void print(vmsig_live *l, const vmsig_event *ev, const char *note) {
    if (over(l) || (l->cfg.kind >= 0 && ev->kind != l->cfg.kind))
        return;
    l->shown++;
    if (!l->cfg.json) {
        vmsig_show_event(ev, note);
        l->gone = !vmsig_cli_flush();
        return;
    }
    json_t *o = vmsig_event_json(ev, note);
    l->gone = vmsig_show_json(l->cfg.wrap ? json_pack("{s:o}", l->cfg.wrap, o) : o) == -EPIPE;
}

static void on_event(void *user, const vmsig_event *ev) {
    print(user, ev, NULL);
}

/* Maps the RAM and reads its first word, to say truthfully that the context can be used. */
static void on_memctx(void *user, const vmsig_event *ev, int fd) {
    char note[128];
    uint64_t word = 0;
    vmsig_memview *view = vmsig_memview_open(ev, fd);
    if (!view)
        snprintf(note, sizeof note, "its RAM cannot be mapped: %s", strerror(errno));
    else if (vmsig_memview_read_phys(view, 0, &word, sizeof word))
        snprintf(note, sizeof note, "RAM mapped read-only");
    else
        snprintf(note, sizeof note, "RAM mapped read-only, first word 0x%016" PRIx64, word);
    vmsig_memview_close(view);
    print(user, ev, note);
}

static void on_state(void *user, vmsig_client_state state) {
    const vmsig_live *l = user;
    if (state == VMSIG_CLIENT_GONE)
        vmsig_cli_fail(0, l->cfg.command, "the gateway is away; reconnecting");
    else if (state == VMSIG_CLIENT_RESUMED)
        vmsig_cli_fail(0, l->cfg.command, "reconnected to the gateway");
}

int vmsig_live_open(const vmsig_live_cfg *cfg, vmsig_live **out, char err[VMSIG_LIVE_ERR_MAX]) {
    vmsig_live *l = calloc(1, sizeof *l);
    if (!l) {
        snprintf(err, VMSIG_LIVE_ERR_MAX, "%s", strerror(ENOMEM));
        return -ENOMEM;
    }
    l->cfg = *cfg;
    const vmsig_client_cfg client = {.name = cfg->command,
                                     .sub = cfg->sub,
                                     .user = l,
                                     .on_event = on_event,
                                     .on_memctx = on_memctx,
                                     .on_state = on_state};
    l->client = vmsig_client_open(cfg->where, &client, cfg->timeout_ms, err, VMSIG_LIVE_ERR_MAX);
    if (!l->client) {
        int e = errno;
        free(l);
        return e ? -e : -EIO;
    }
    *out = l;
    return 0;
}

void vmsig_live_close(vmsig_live *l) {
    if (!l)
        return;
    vmsig_client_close(l->client);
    free(l);
}

int vmsig_live_fd(vmsig_live *l) {
    return vmsig_client_fd(l->client);
}

int vmsig_live_step(vmsig_live *l, int timeout_ms) {
    int n = over(l) ? 0 : vmsig_client_step(l->client, timeout_ms);
    if (l->gone)
        return -EPIPE;
    if (over(l))
        return 0;
    return n < 0 && errno != EINTR ? -errno : 1;
}

const char *vmsig_live_error(const vmsig_live *l) {
    return vmsig_client_error(l->client);
}
