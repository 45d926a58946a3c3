#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/core/core_impl.h"
#include "actors/memctx/walk.h"
#include "rings/bell.h"

static int fail(int negative_errno) {
    errno = -negative_errno;
    return -1;
}

/* ---- epochs ------------------------------------------------------------------------------------------ */

uint32_t vmsig_core_epoch(const vmsig_core *core, uint32_t endpoint) {
    return vmsig_epoch_of(vmsig_epoch_word(core->endpoint[endpoint].epoch));
}

void vmsig_core_note_epoch(vmsig_core *core, uint32_t endpoint) {
    vmsig_core_endpoint *e = &core->endpoint[endpoint];
    if (vmsig_load32_acquire(&e->seen) == vmsig_core_epoch(core, endpoint))
        return;
    vmsig_spin_lock(&core->epoch_lock);
    uint32_t now = vmsig_core_epoch(core, endpoint);
    for (uint32_t ended = e->seen; ended != now; ended++) {
        vmsig_event ev = {.kind = VMSIG_EV_EPOCH_END,
                          .source = VMSIG_SRC_SEAM,
                          .prio = VMSIG_PRIO_URGENT,
                          .endpoint = endpoint,
                          .epoch = ended,
                          .merged = 1};
        if (vmsig_ctx_submit(core->ctx, VMSIG_DIR_UP, &ev) < 0)
            break; /* out of memory: at the next look */
        vmsig_store32_release(&e->seen, ended + 1);
    }
    vmsig_spin_unlock(&core->epoch_lock);
}

/* ---- events up --------------------------------------------------------------------------------------- */

/* The sleeper says so, then looks once more; we submit, then look whether it sleeps: one sees the other. */
void vmsig_core_wake(vmsig_core *core) {
    vmsig_fence_full();
    if (vmsig_load32(&core->asleep))
        vmsig_bell_ring(core->bell);
}

int vmsig_core_submit(vmsig_core *core, vmsig_event *ev) {
    vmsig_core_note_epoch(core, ev->endpoint);
    int rc = vmsig_ctx_submit(core->ctx, VMSIG_DIR_UP, ev);
    if (rc >= 0)
        vmsig_core_wake(core);
    return rc;
}

int vmsig_core_answer(vmsig_core *core, const vmsig_event *cmd, vmsig_status status, uint64_t detail) {
    vmsig_result r = {.status = (int32_t)status, .detail = detail};
    vmsig_event ev = {.kind = VMSIG_EV_RESULT,
                      .source = cmd->source,
                      .prio = VMSIG_PRIO_HIGH,
                      .endpoint = cmd->endpoint,
                      .epoch = vmsig_core_epoch(core, cmd->endpoint),
                      .corr = cmd->corr,
                      .merged = 1,
                      .inln_len = sizeof r};
    memcpy(ev.inln, &r, sizeof r);
    return vmsig_core_submit(core, &ev); /* should memory be short, the gate answers when its time is up */
}

/* Installed into sources. What a source leaves open is filled in; a sensor speaks for itself alone. */
static int emit(void *token, vmsig_event *ev) {
    vmsig_core_source *s = token;
    bool host = s->ops == vmsig_host_source_ops();
    if (!ev)
        return fail(-EINVAL);
    ev->endpoint = s->info.endpoint;
    ev->dir = VMSIG_DIR_UP;
    if (!host)
        ev->source = (uint8_t)s->info.source;
    if (ev->epoch == 0)
        ev->epoch = vmsig_core_epoch(s->core, ev->endpoint);
    if (ev->merged == 0)
        ev->merged = 1;
    if (ev->kind == VMSIG_EV_RESULT && ev->corr == vmsig_load64(&s->answering))
        vmsig_store64(&s->answering, 0);
    return vmsig_core_submit(s->core, ev);
}

/* ---- RAM and address spaces -------------------------------------------------------------------------- */

static void keep_ram(vmsig_core_endpoint *e, uint32_t ram_id, int own_fd) {
    if (e->ram_fd >= 0)
        close(e->ram_fd);
    e->ram_fd = own_fd;
    e->ram_id = ram_id;
}

static int offer_ram(void *ud, uint32_t ram_id, int ro_fd) {
    vmsig_core_source *s = ud;
    int own = fcntl(ro_fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        return -errno;
    keep_ram(&s->core->endpoint[s->info.endpoint], ram_id, own);
    return 0;
}

static void forget_memctx(vmsig_core_endpoint *e) {
    free(e->memctx.payload);
    e->memctx = (vmsig_event){0};
}

static void keep_memctx(vmsig_core_endpoint *e, const vmsig_event *ev) {
    void *copy = ev->payload_len ? malloc(ev->payload_len) : NULL;
    if (ev->payload_len && !copy)
        return; /* who comes late waits for the next one */
    forget_memctx(e);
    e->memctx = *ev;
    e->memctx.payload = copy;
    if (copy)
        memcpy(copy, ev->payload, ev->payload_len);
}

static uint32_t ram_of(const vmsig_event *ev) {
    vmsig_memctx m;
    memcpy(&m, ev->inln, sizeof m);
    return m.ram_id;
}

static const char *name_of(const vmsig_core_source *s) {
    return s->ops->name ? s->ops->name : "a source";
}

static void hand_memctx(vmsig_core_source *s, const vmsig_event *ev, int fd) {
    if (!s->ended && s->ops->on_memctx && s->info.endpoint == ev->endpoint && s->ops->on_memctx(s->src, ev, fd) < 0)
        fprintf(stderr, "vmsig: %s did not take the address-space context of endpoint %u: %s\n", name_of(s),
                ev->endpoint, strerror(errno));
}

/* Only the pair, and only while its epoch is the current one. */
void vmsig_core_pass_memctx(vmsig_core *core, const vmsig_event *ev) {
    vmsig_core_endpoint *e = &core->endpoint[ev->endpoint];
    bool invalid = ev->kind == VMSIG_EV_MEMCTX_INVALID;
    if (invalid)
        forget_memctx(e);
    else if (ev->inln_len < sizeof(vmsig_memctx) || ev->epoch != vmsig_core_epoch(core, ev->endpoint) ||
             e->ram_fd < 0 || ram_of(ev) != e->ram_id)
        return;
    else
        keep_memctx(e, ev);
    for (int i = 0; i < core->sources_n; i++)
        hand_memctx(core->sources[i], ev, invalid ? -1 : e->ram_fd);
}

static int submit_invalid(vmsig_core *core, uint32_t endpoint) {
    vmsig_event ev = {.kind = VMSIG_EV_MEMCTX_INVALID,
                      .source = VMSIG_SRC_MEMCTX,
                      .prio = VMSIG_PRIO_URGENT,
                      .endpoint = endpoint,
                      .epoch = vmsig_core_epoch(core, endpoint),
                      .merged = 1};
    return vmsig_core_submit(core, &ev);
}

int vmsig_core_bump_epoch(vmsig_core *core, uint32_t endpoint) {
    if (!core || endpoint >= VMSIG_ENDPOINTS_MAX)
        return fail(-EINVAL);
    vmsig_core_endpoint *e = &core->endpoint[endpoint];
    if (e->host) {
        vmsig_host_epoch_ended(e->host->src);
        return 0;
    }
    vmsig_epoch_advance(e->epoch);
    vmsig_core_drive_flush(core);
    return submit_invalid(core, endpoint) < 0 ? -1 : 0;
}

/* A read-only descriptor of our own: what is handed out can never be written through. */
static int own_read_only(int fd) {
    char path[32];
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = (flags & O_ACCMODE) == O_RDONLY ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : open(path, O_RDONLY | O_CLOEXEC);
    return own < 0 ? -errno : own;
}

int vmsig_core_publish_memctx(vmsig_core *core, uint32_t endpoint, const vmsig_memctx *ctx, const vmsig_seg *segs,
                              int n, int ro_fd) {
    struct stat st;
    vmsig_event ev = {.source = VMSIG_SRC_MEMCTX, .prio = VMSIG_PRIO_HIGH, .merged = 1, .flags = VMSIG_EVF_RETAIN};
    if (!core || endpoint >= VMSIG_ENDPOINTS_MAX || !ctx || (n > 0 && !segs))
        return fail(-EINVAL);
    if (core->endpoint[endpoint].host)
        return fail(-EBUSY);
    if (fstat(ro_fd, &st) < 0)
        return -1;
    if (vmsig_segs_check(segs, n, (uint64_t)st.st_size) < 0)
        return fail(-EINVAL);
    int own = own_read_only(ro_fd);
    if (own < 0)
        return fail(own);
    ev.endpoint = endpoint;
    ev.epoch = vmsig_core_epoch(core, endpoint);
    if (vmsig_memctx_pack(&ev, ctx, segs, n) < 0 || vmsig_core_submit(core, &ev) < 0) {
        int error = errno;
        free(ev.payload);
        close(own);
        return fail(-error);
    }
    keep_ram(&core->endpoint[endpoint], ctx->ram_id, own);
    return 0;
}

/* ---- sources in and out ------------------------------------------------------------------------------ */

vmsig_core_source *vmsig_core_taker(vmsig_core *core, uint32_t endpoint, uint8_t kind) {
    vmsig_core_source *taker = NULL;
    if (kind < VMSIG_CMD_INPUT || kind > VMSIG_CMD_LEASE)
        return NULL;
    for (int i = 0; i < core->sources_n; i++) {
        vmsig_core_source *s = core->sources[i];
        bool takes = !s->ended && s->ops->command && s->info.endpoint == endpoint &&
                     (s->info.accepts >> (kind - VMSIG_CMD_INPUT) & 1);
        if (takes && (!taker || taker == core->endpoint[endpoint].host))
            taker = s;
    }
    return taker;
}

/* The endpoint goes down with its host. */
static void host_gone(vmsig_core *core, vmsig_core_source *s) {
    vmsig_core_endpoint *e = &core->endpoint[s->info.endpoint];
    if (e->host != s)
        return;
    vmsig_host_epoch_moved(s->src, VMSIG_VM_DOWN, 0);
    e->host = NULL;
}

void vmsig_core_close_source(vmsig_core *core, vmsig_core_source *s) {
    if (s->ended)
        return;
    host_gone(core, s);
    if (s->act)
        vmsig_actuator_end(s->act);
    s->ended = true;
    if (s->fd >= 0)
        vmsig_loop_remove(core->loop, s->fd);
    if (s->ops->set_emit_up)
        s->ops->set_emit_up(s->src, NULL, NULL);
    if (s->ops->close)
        s->ops->close(s->src);
}

void vmsig_core_reap_sources(vmsig_core *core) {
    int kept = 0;
    for (int i = 0; i < core->sources_n; i++) {
        if (core->sources[i]->ended) {
            vmsig_actuator_free(core->sources[i]->act);
            free(core->sources[i]);
        } else {
            core->sources[kept++] = core->sources[i];
        }
    }
    core->sources_n = kept;
}

static void on_readable(void *ud, uint32_t events) {
    vmsig_core_source *s = ud;
    (void)events;
    if (s->ended || s->ops->on_readable(s->src) == 0)
        return;
    fprintf(stderr, "vmsig: %s of endpoint %u has ended\n", name_of(s), s->info.endpoint);
    vmsig_core_close_source(s->core, s);
}

static const vmsig_fence_page *fences(void *ud) {
    return ((vmsig_core_source *)ud)->core->fences;
}

static void say(void *ud, const char *text) {
    fprintf(stderr, "vmsig: endpoint %u: %s\n", ((vmsig_core_source *)ud)->info.endpoint, text);
}

static int attach_host(vmsig_core_source *s) {
    vmsig_core_endpoint *e = &s->core->endpoint[s->info.endpoint];
    const vmsig_host_env env = {
        .epoch = e->epoch, .fences = fences, .offer_ram = offer_ram, .log = say, .state_fd = -1, .ud = s};
    if (e->host)
        return -EEXIST;
    int rc = vmsig_host_attach(s->src, &env);
    if (rc == 0)
        e->host = s;
    return rc;
}

static int check(const vmsig_core *core, const vmsig_source_ops *ops, void *src, vmsig_source_info *info) {
    if (!core || !ops || !ops->describe)
        return -EINVAL;
    if (core->sources_n == VMSIG_CORE_SOURCES)
        return -ENOSPC;
    if (ops->describe(src, info) < 0)
        return errno ? -errno : -EINVAL;
    bool in_range = info->endpoint < VMSIG_ENDPOINTS_MAX && (unsigned)info->source < VMSIG_SOURCES_MAX;
    return in_range ? 0 : -EINVAL;
}

static int watch(vmsig_core_source *s) {
    s->fd = s->ops->fd && s->ops->on_readable ? s->ops->fd(s->src) : -1;
    return s->fd < 0 ? 0 : vmsig_loop_add(s->core->loop, s->fd, EPOLLIN, on_readable, s);
}

int vmsig_core_add_source(vmsig_core *core, const vmsig_source_ops *ops, void *src) {
    vmsig_source_info info = {0};
    errno = 0;
    int rc = check(core, ops, src, &info);
    vmsig_core_source *s = rc < 0 ? NULL : calloc(1, sizeof *s);
    if (!s)
        return fail(rc < 0 ? rc : -ENOMEM);
    *s = (vmsig_core_source){.core = core, .ops = ops, .src = src, .info = info, .fd = -1};
    rc = watch(s);
    if (rc == 0 && ops == vmsig_host_source_ops())
        rc = attach_host(s);
    else if (rc == 0 && ops->command)
        rc = vmsig_core_drive_new(s);
    if (rc < 0) {
        if (s->fd >= 0)
            vmsig_loop_remove(core->loop, s->fd);
        free(s);
        return fail(rc);
    }
    core->sources[core->sources_n++] = s;
    vmsig_core_endpoint *e = &core->endpoint[info.endpoint];
    if (ops->set_emit_up)
        ops->set_emit_up(src, emit, s);
    if (e->memctx.kind && e->memctx.epoch == vmsig_core_epoch(core, info.endpoint))
        hand_memctx(s, &e->memctx, e->ram_fd);
    return core->sources_n - 1;
}
