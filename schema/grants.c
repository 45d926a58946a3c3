#include "schema/grants.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#define GRANTS_MAX 1024u

/* ---- capabilities by name ------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    uint32_t bit;
} caps[] = {{"observe", VMSIG_CAP_OBSERVE},  {"input", VMSIG_CAP_INPUT}, {"lifecycle", VMSIG_CAP_LIFECYCLE},
            {"power", VMSIG_CAP_POWER},      {"vm", VMSIG_CAP_VM},       {"memctx", VMSIG_CAP_MEMCTX},
            {"memwrite", VMSIG_CAP_MEMWRITE}};
#define CAPS_N (sizeof caps / sizeof caps[0])

const char *vmsig_caps_text(uint32_t set, char *buf, size_t len) {
    size_t n = 0;
    snprintf(buf, len, "%s", set & VMSIG_CAP_ALL ? "" : "none");
    for (size_t i = 0; i < CAPS_N && n < len; i++)
        if (set & caps[i].bit)
            n += (size_t)snprintf(buf + n, len - n, "%s%s", n ? ", " : "", caps[i].name);
    return buf;
}

uint32_t vmsig_cap_by_name(const char *name) {
    for (size_t i = 0; i < CAPS_N; i++)
        if (strcmp(caps[i].name, name) == 0)
            return caps[i].bit;
    return 0;
}

/* ---- the table ------------------------------------------------------------------------------------------------- */

typedef struct entry {
    uint64_t uid;
    bool uid_set;
    char *user;
    vmsig_conf_mark uid_mark, user_mark;
    vmsig_conf_list endpoints, caps; /* the word `all` stands for itself */
    vmsig_conf_mark endpoints_mark, caps_mark;
    uint64_t priority;
    bool rings;
} entry;

typedef struct file {
    vmsig_conf_maps grants;
} file;

#define AT(field) .offset = offsetof(entry, field)

static const vmsig_conf_key entry_keys[] = {
    {.name = "uid",
     .type = VMSIG_CONF_UINT,
     AT(uid),
     .mark_offset = offsetof(entry, uid_mark),
     .set_offset = offsetof(entry, uid_set),
     .max = UINT32_MAX - 1,
     .help = "The user id that the control runs under, as its socket tells. Either this or `user`."},
    {.name = "user",
     .type = VMSIG_CONF_STRING,
     AT(user),
     .mark_offset = offsetof(entry, user_mark),
     .help = "The same by the user's name."},
    {.name = "endpoints",
     .type = VMSIG_CONF_LIST,
     .required = true,
     .max = 64,
     AT(endpoints),
     .mark_offset = offsetof(entry, endpoints_mark),
     .help = "Names of the endpoints that it may see and act on, or `[all]`."},
    {.name = "caps",
     .type = VMSIG_CONF_LIST,
     .required = true,
     .max = 16,
     AT(caps),
     .mark_offset = offsetof(entry, caps_mark),
     .help = "What it may do: `observe`, `input`, `lifecycle` (pause, resume, wakeup), `power` (powerdown, reset, "
             "quit), `vm` (query, cont, stop), `memctx` (receive the address-space context and its read-only fd), "
             "`memwrite`; or `[all]`."},
    {.name = "priority",
     .type = VMSIG_CONF_UINT,
     AT(priority),
     .max = UINT32_MAX,
     .fallback = "0",
     .help = "Who has more takes a lease away from who has less."},
    {.name = "rings",
     .type = VMSIG_CONF_BOOL,
     AT(rings),
     .fallback = "false",
     .help = "Whether it may have rings in shared memory instead of the socket, for speed (`vmsig_client.h`)."},
};
static const vmsig_conf_table entry_table = {.name = "grants",
                                             .help = "One entry for each user who may connect.",
                                             .item_bytes = sizeof(entry),
                                             .keys = entry_keys,
                                             .n = sizeof entry_keys / sizeof entry_keys[0]};

static const vmsig_conf_key file_keys[] = {
    {.name = "grants",
     .type = VMSIG_CONF_MAPS,
     .required = true,
     .offset = offsetof(file, grants),
     .max = GRANTS_MAX,
     .sub = &entry_table,
     .help = "Who may do what. A user without an entry gets nothing in and nothing out."},
};
const vmsig_conf_table vmsig_grants_table = {.name = "grants file",
                                             .help = "Which user may connect to a gateway, and what it may do there.",
                                             .item_bytes = sizeof(file),
                                             .keys = file_keys,
                                             .n = 1};

/* ---- from entries to grants --------------------------------------------------------------------------------------- */

typedef struct context {
    const char *file;
    const char *const *names;
    vmsig_conf_error *err;
} context;

static int who(const context *c, const entry *e, vmsig_conf_mark at, uint32_t *uid) {
    if (e->uid_set == (e->user != NULL))
        return vmsig_conf_fail(c->err, c->file, at, "grants: found %s, expected one of them",
                               e->user ? "both uid and user" : "neither uid nor user");
    if (e->uid_set) {
        *uid = (uint32_t)e->uid;
        return 0;
    }
    struct passwd pw, *found = NULL;
    char buf[16384];
    if (getpwnam_r(e->user, &pw, buf, sizeof buf, &found) != 0 || !found)
        return vmsig_conf_fail(c->err, c->file, e->user_mark, "user: found \"%.64s\", expected a user of this machine",
                               e->user);
    *uid = pw.pw_uid;
    return 0;
}

static int endpoints_of(const context *c, const entry *e, uint64_t *mask) {
    for (size_t i = 0; i < e->endpoints.n; i++) {
        const char *name = e->endpoints.items[i];
        uint64_t bits = strcmp(name, "all") == 0 ? UINT64_MAX : 0;
        for (uint32_t id = 0; id < VMSIG_ENDPOINTS_MAX; id++)
            if (c->names[id] && strcmp(c->names[id], name) == 0)
                bits |= 1ull << id;
        if (bits == 0)
            return vmsig_conf_fail(c->err, c->file, e->endpoints.marks[i],
                                   "endpoints: found \"%.64s\", expected the name of an endpoint, or all", name);
        *mask |= bits;
    }
    return *mask ? 0
                 : vmsig_conf_fail(c->err, c->file, e->endpoints_mark,
                                   "endpoints: found an empty list, expected names of endpoints, or all");
}

static int caps_of(const context *c, const entry *e, uint32_t *set) {
    for (size_t i = 0; i < e->caps.n; i++) {
        const char *name = e->caps.items[i];
        uint32_t bits = strcmp(name, "all") == 0 ? VMSIG_CAP_ALL : vmsig_cap_by_name(name);
        char *end;
        unsigned long number = strtoul(name, &end, 0); /* bits as numbers: for those who keep them so */
        if (bits == 0 && *name != '\0' && *end == '\0' && number <= UINT32_MAX)
            bits = (uint32_t)number;
        if (bits & VMSIG_CAP_RETIRED)
            return vmsig_conf_fail(c->err, c->file, e->caps.marks[i],
                                   "caps: found %.64s, which bears a retired capability bit (0x4, 0x10), expected none "
                                   "of them",
                                   name);
        if (bits == 0 || bits & ~VMSIG_CAP_ALL)
            return vmsig_conf_fail(c->err, c->file, e->caps.marks[i],
                                   "caps: found \"%.64s\", expected observe, input, lifecycle, power, vm, memctx, "
                                   "memwrite or all",
                                   name);
        *set |= bits;
    }
    return *set ? 0
                : vmsig_conf_fail(c->err, c->file, e->caps_mark,
                                  "caps: found an empty list, expected capabilities, or all");
}

static int take(const context *c, const entry *e, vmsig_conf_mark at, vmsig_grants *out) {
    vmsig_grant g = {.priority = (uint32_t)e->priority};
    int err = who(c, e, at, &g.principal);
    err = err < 0 ? err : endpoints_of(c, e, &g.endpoint_mask);
    err = err < 0 ? err : caps_of(c, e, &g.caps);
    if (err == 0 && vmsig_grants_find(out, g.principal))
        return vmsig_conf_fail(c->err, c->file, e->user ? e->user_mark : e->uid_mark,
                               "grants: found uid %" PRIu32 " again, expected one entry for each user", g.principal);
    if (err < 0)
        return err;
    out->rings[out->n] = e->rings;
    out->grant[out->n++] = g;
    return 0;
}

int vmsig_grants_parse(const char *name, const char *text, size_t len, const char *const names[VMSIG_ENDPOINTS_MAX],
                       vmsig_grants *out, vmsig_conf_error *err) {
    *out = (vmsig_grants){0};
    file f;
    int e = vmsig_conf_parse(name, text, len, &vmsig_grants_table, &f, err);
    if (e < 0)
        return e;
    context c = {.file = name, .names = names, .err = err};
    out->grant = calloc(f.grants.n + 1, sizeof *out->grant);
    out->rings = calloc(f.grants.n + 1, sizeof *out->rings);
    if (!out->grant || !out->rings) {
        vmsig_conf_fail(err, name, (vmsig_conf_mark){0, 0}, "no memory to read it");
        e = -ENOMEM;
    }
    const entry *entries = f.grants.items;
    for (size_t i = 0; e == 0 && i < f.grants.n; i++)
        e = take(&c, &entries[i], f.grants.marks[i], out);
    vmsig_conf_free(&vmsig_grants_table, &f);
    if (e < 0)
        vmsig_grants_free(out);
    return e;
}

void vmsig_grants_free(vmsig_grants *g) {
    free(g->grant);
    free(g->rings);
    *g = (vmsig_grants){0};
}

const vmsig_grant *vmsig_grants_find(const vmsig_grants *g, uint32_t uid) {
    for (size_t i = 0; i < g->n; i++)
        if (g->grant[i].principal == uid)
            return &g->grant[i];
    return NULL;
}

bool vmsig_grants_rings(const vmsig_grants *g, uint32_t uid) {
    const vmsig_grant *of = g->rings ? vmsig_grants_find(g, uid) : NULL;
    return of && g->rings[of - g->grant];
}
