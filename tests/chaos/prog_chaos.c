/* Kills processes of a loaded topology at random and accounts for every event and every command.
 *   prog_chaos BUILD [--kills N] [--seed S] [--minutes M] [--gap MS] [--bench N] [--changes] [--rings]
 *
 *   pulse x 8 ──► context ──► gateway ──► this program: the control (account.h)
 *                 host stub ◄── commands ──┘            and the killer
 *
 * Victims come from the seed: a sensor, the context, the gateway, the host, the supervisor, up to three at once, also
 * while they start. In the end the sensors fall silent, everything drains, /proc is looked at for what is left over.
 * The last line: N kills: 0 lost, 0 duplicated, 0 reordered, 0 leaked; exit code 1 when one of them is not 0.
 * --changes: first, actors are restarted and the topology is reloaded on demand. A topology that ends by itself before it
 * is all there, with a word, a status and nothing left over, is exit code 3.
 * --rings: the control has rings.
 * --bench N: N kills of each role, one at a time; prints how long it takes to the first event of the successor.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "schema/codec.h"
#include "tests/chaos/account.h"
#include "tests/chaos/procs.h"
#include "vmsig_client.h"
#include "vmsig_stub.h"

#define MS          1000000ull
#define PATIENCE_NS (60000 * MS) /* for whatever must come in the end, on a loaded machine */
#define COMMAND_NS  (2 * MS)     /* between two commands */
#define OPEN_MAX_N  48u          /* commands under way */
#define RAMS        16u
#define SENSORS     8u
#define ACTORS      (SENSORS + 3u)
#define FIRST       8u /* source number of the first sensor */

typedef struct ram {
    uint32_t epoch;
    const vmsig_stub_input *page;
    uint64_t seen;
} ram;

typedef struct chaos {
    const char *build;
    uint64_t kills, done, seed, dice, until_ns, gap_ns;
    unsigned bench;
    bool complete;       /* it was all there once */
    bool changes, rings; /* restarts and a reload on demand */
    char folder[64], socket[128];
    pid_t keeper;
    vmsig_client *client;
    account acc;
    ram rams[RAMS];
    uint32_t rams_n, epoch; /* the newest epoch of which RAM is mapped */
    bool leased, asking;
    uint64_t next_command_ns, leaked, opened;
    uint64_t killed[ROLES];
    fd_table before[2]; /* keeper, supervisor */
    /* --bench: what is waited for */
    role wait;
    uint64_t wait_since, waited_ns, wait_incarnation;
    uint32_t wait_source;
} chaos;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static _Noreturn void die(const chaos *c, const char *what) {
    fprintf(stderr, "chaos: %s (%s); the topology's words are in %s/err\n", what, strerror(errno), c->folder);
    if (c->keeper > 0)
        kill(c->keeper, SIGTERM);
    exit(2);
}

static uint64_t roll(chaos *c) {
    c->dice ^= c->dice << 13;
    c->dice ^= c->dice >> 7;
    c->dice ^= c->dice << 17;
    return c->dice * 0x2545f4914f6cdd1dull >> 16;
}

/* ---- the topology -------------------------------------------------------------------------------------- */

typedef struct sensor_def {
    const char *name;
    int hz, streams, payload;
    const char *policy; /* NULL = none */
} sensor_def;

static const sensor_def sensors[SENSORS] = {
    {"plain", 500, 4, 0, NULL},
    {"paced", 300, 1, 0, "min_gap: 2ms"},
    {"merged", 400, 1, 0, "coalesce: 5ms"},
    {"large", 200, 1, 3000, NULL},
    {"oldest", 500, 1, 0, "min_gap: 3ms, max_inflight: 8, drop: oldest"},
    {"newest", 500, 1, 600, "min_gap: 3ms, max_inflight: 8, drop: newest"},
    {"block", 300, 1, 0, "min_gap: 2ms, max_inflight: 8, drop: block"},
    {"both", 400, 1, 600, "min_gap: 3ms, coalesce: 1ms, max_inflight: 4, drop: oldest"},
};

static void path_of(const chaos *c, char *out, size_t len, const char *name) {
    snprintf(out, len, "%s/%s", c->folder, name);
}

static void write_topology(const chaos *c) {
    char path[256];
    path_of(c, path, sizeof path, "chaos.yaml");
    FILE *f = fopen(path, "we");
    if (f == NULL)
        die(c, path);
    fputs("limits: none\nslots: 64\narena: 16K\nendpoints:\n"
          "  - {name: box, id: 0, host: stub, quiet: 20s, stub: {memory: 4M, boot_ms: 1, hz: 100}}\nactors:\n"
          "  - {name: gate, kind: gateway}\n  - {name: ctx, kind: context, policies: [\n"
          "     {source: input, dir: down, min_gap: 1ms, max_inflight: 8, drop: oldest},\n",
          f);
    for (uint32_t i = 0; i < SENSORS; i++)
        if (sensors[i].policy)
            fprintf(f, "     {source: %u, %s},\n", FIRST + i, sensors[i].policy);
    fputs("     {source: vmhost, dir: down, min_gap: 500us}]}\n", f);
    for (uint32_t i = 0; i < SENSORS; i++)
        fprintf(f,
                "  - {name: %s, kind: sensor, exec: %s/tests/chaos/prog_pulse, endpoint: box, source: %u,\n"
                "     args: [%s/page.%u, \"%d\", \"%d\", \"%d\"]}\n",
                sensors[i].name, c->build, FIRST + i, c->folder, FIRST + i, sensors[i].hz, sensors[i].streams,
                sensors[i].payload);
    fclose(f);
    chmod(path, 0644);
}

static void make_pages(chaos *c) {
    for (uint32_t i = FIRST; i < FIRST + SENSORS; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/page.%u", c->folder, i);
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0 || ftruncate(fd, sizeof(pulse_page)) != 0 || fchmod(fd, 0666) != 0) /* other uids write it */
            die(c, path);
        c->acc.pages[i] = mmap(NULL, sizeof(pulse_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        if (c->acc.pages[i] == MAP_FAILED)
            die(c, path);
    }
}

static void start(chaos *c) {
    char programs[4096], keeper[4200], supervisor[4200], topology[256], err[256];
    snprintf(programs, sizeof programs, "%s/bin", c->build);
    snprintf(keeper, sizeof keeper, "%s/vmsig-keeper", programs);
    snprintf(supervisor, sizeof supervisor, "%s/vmsig-supervisor", programs);
    path_of(c, topology, sizeof topology, "chaos.yaml");
    path_of(c, err, sizeof err, "err");
    snprintf(c->socket, sizeof c->socket, "%s/vmsig/chaos/gate.sock", c->folder);
    setenv("XDG_RUNTIME_DIR", c->folder, 1);
    c->keeper = fork();
    if (c->keeper == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        int null = open("/dev/null", O_RDONLY), fd = open(err, O_WRONLY | O_CREAT | O_APPEND, 0644);
        dup2(null, 0);
        dup2(fd, 2);
        execl(keeper, keeper, supervisor, "--programs", programs, "--topology", topology, (char *)NULL);
        _exit(127);
    }
    if (c->keeper < 0)
        die(c, "fork");
}

/* ---- the control: events, results, effects -------------------------------------------------------------- */

/* Each effect shows in the RAM of the host's incarnation, which stays mapped when that is dead. */
static void look_at_ram(chaos *c, ram *r) {
    uint64_t count = __atomic_load_n(&r->page->count, __ATOMIC_ACQUIRE);
    if (count - r->seen > VMSIG_STUB_RECORDS) {
        c->acc.lost += count - r->seen;
        anomaly(&c->acc, "effects went by unseen: this program was too slow");
        r->seen = count - VMSIG_STUB_RECORDS;
    }
    for (; r->seen < count; r->seen++) {
        vmsig_input in;
        uint64_t word = __atomic_load_n(&r->page->record[r->seen % VMSIG_STUB_RECORDS], __ATOMIC_RELAXED);
        memcpy(&in, &word, sizeof in);
        account_effect(&c->acc, (uint64_t)(uint32_t)in.value);
    }
}

static void forget_oldest_ram(chaos *c) {
    look_at_ram(c, &c->rams[0]);
    munmap((void *)(uintptr_t)c->rams[0].page, 4096);
    memmove(&c->rams[0], &c->rams[1], --c->rams_n * sizeof c->rams[0]);
}

static void on_memctx(void *user, const vmsig_event *ev, int fd) {
    chaos *c = user;
    if (c->wait == ROLE_HOST && ev->ts_ns > c->wait_since)
        c->waited_ns = now_ns() - c->wait_since;
    if (c->rams_n > 0 && c->rams[c->rams_n - 1].epoch >= ev->epoch)
        return;
    void *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, (off_t)VMSIG_STUB_INPUT);
    if (page == MAP_FAILED)
        die(c, "mmap of the guest's RAM");
    if (c->rams_n == RAMS) /* whoever wrote it is long dead */
        forget_oldest_ram(c);
    c->rams[c->rams_n++] = (ram){.epoch = ev->epoch, .page = page};
    c->epoch = ev->epoch;
}

static void take_result(chaos *c, const vmsig_event *ev) {
    vmsig_result r;
    memcpy(&r, ev->inln, sizeof r);
    command *cmd = account_result(&c->acc, ev->corr, r.status);
    if (cmd && cmd->kind == CMD_LEASE)
        c->asking = false;
    if (cmd && cmd->kind == CMD_MOVE && (r.status == VMSIG_FENCED || r.status == VMSIG_NOLEASE))
        c->leased = false;
}

static void on_event(void *user, const vmsig_event *ev) {
    chaos *c = user;
    pulse_body b;
    vmsig_lease_info info;
    switch (ev->kind) {
    case PULSE_KIND:
        account_event(&c->acc, ev, &b);
        if (c->wait == ROLE_SENSOR && ev->source == c->wait_source && b.incarnation > c->wait_incarnation)
            c->waited_ns = now_ns() - c->wait_since;
        if (c->wait != ROLE_SENSOR && c->wait != ROLE_HOST && c->wait != ROLES && ev->ts_ns > c->wait_since)
            c->waited_ns = now_ns() - c->wait_since;
        break;
    case VMSIG_EV_LOST:
        account_lost(&c->acc, ev);
        break;
    case VMSIG_EV_RESULT:
        take_result(c, ev);
        break;
    case VMSIG_EV_LEASE:
        memcpy(&info, ev->inln, sizeof info);
        c->leased = info.state == VMSIG_LEASE_GRANTED;
        break;
    default:
        break;
    }
}

static void on_state(void *user, vmsig_client_state state) {
    chaos *c = user;
    if (state != VMSIG_CLIENT_CONNECTED || c->opened++ == 0)
        return;
    c->acc.lost++;
    anomaly(&c->acc, "the session was not resumed");
}

static void send_command(chaos *c, cmd_kind kind) {
    vmsig_event ev = {.dir = VMSIG_DIR_DOWN};
    vmsig_vm query = {.op = VMSIG_VM_QUERY};
    vmsig_lease lease = {.op = VMSIG_LEASE_ACQUIRE, .cls = VMSIG_LEASE_INPUT, .ttl_ms = 5000};
    vmsig_input move = {.type = VMSIG_INPUT_REL, .value = (int32_t)(c->acc.commands_n + 1)};
    const void *body = kind == CMD_MOVE ? (void *)&move : kind == CMD_QUERY ? (void *)&query : (void *)&lease;
    ev.inln_len = kind == CMD_MOVE ? sizeof move : kind == CMD_QUERY ? sizeof query : sizeof lease;
    ev.kind = kind == CMD_MOVE ? VMSIG_CMD_INPUT : kind == CMD_QUERY ? VMSIG_CMD_VM : VMSIG_CMD_LEASE;
    ev.epoch = kind == CMD_MOVE ? c->epoch : 0; /* its effect can only be in a RAM that is seen */
    memcpy(ev.inln, body, ev.inln_len);
    if (vmsig_client_send(c->client, &ev) != 0)
        die(c, vmsig_client_error(c->client));
    account_sent(&c->acc, ev.corr, kind, now_ns());
}

static void command_due(chaos *c, uint64_t now) {
    if (now < c->next_command_ns || c->acc.open >= OPEN_MAX_N)
        return;
    c->next_command_ns = now + COMMAND_NS;
    if (!c->leased && !c->asking) {
        c->asking = true;
        send_command(c, CMD_LEASE);
    } else {
        send_command(c, c->leased && c->epoch != 0 && c->acc.commands_n % 4 != 0 ? CMD_MOVE : CMD_QUERY);
    }
}

static void remove_folder(const chaos *c) {
    char path[256];
    for (uint32_t i = FIRST; i < FIRST + SENSORS; i++) {
        snprintf(path, sizeof path, "%s/page.%u", c->folder, i);
        unlink(path);
    }
    static const char *const rest[] = {"chaos.yaml", "err", "vmsig"};
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
        path_of(c, path, sizeof path, rest[i]);
        remove(path);
    }
    rmdir(c->folder);
}

static bool left_over(chaos *c) {
    int left = procs_naming(c->folder);
    if (left > 0) {
        c->leaked += (uint64_t)left;
        anomaly(&c->acc, "%d processes outlive the topology", left);
    }
    char path[256];
    path_of(c, path, sizeof path, "vmsig/chaos");
    if (access(path, F_OK) == 0) {
        c->leaked++;
        anomaly(&c->acc, "the run directory is left behind");
    }
    return c->leaked > 0;
}

/* What it said goes on to who asked for it. */
static _Noreturn void refused(chaos *c) {
    char path[256], line[512];
    path_of(c, path, sizeof path, "err");
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        fputs(line, stderr);
    if (f != NULL)
        fclose(f);
    remove_folder(c);
    exit(3);
}

static void look_at_keeper(chaos *c) {
    int status;
    if (waitpid(c->keeper, &status, WNOHANG) != c->keeper)
        return;
    c->keeper = 0;
    errno = 0;
    if (c->changes && !c->complete && WIFEXITED(status) && WEXITSTATUS(status) != 0 && !left_over(c))
        refused(c);
    die(c, "the topology ended by itself");
}

/* One round of the control: at most ms. */
static void step(chaos *c, int ms, bool commands) {
    if (vmsig_client_step(c->client, ms) < 0 && errno != EAGAIN)
        die(c, vmsig_client_error(c->client));
    for (uint32_t i = 0; i < c->rams_n; i++)
        look_at_ram(c, &c->rams[i]);
    if (commands)
        command_due(c, now_ns());
    look_at_keeper(c);
}

/* ---- who is there ---------------------------------------------------------------------------------------- */

static bool all_there(const chaos *c) {
    proc p[PROCS_MAX];
    int n = procs_of(c->keeper, p);
    for (int i = 0; i < n; i++)
        if (p[i].zombie)
            return false;
    return n == (int)ACTORS + 1;
}

static pid_t supervisor_of(const chaos *c) {
    proc p[PROCS_MAX];
    int n = procs_of(c->keeper, p);
    for (int i = 0; i < n; i++)
        if (p[i].what == ROLE_SUPERVISOR)
            return p[i].pid;
    return 0;
}

/* Goes on until everything is there and every stream has brought something new. */
static void settle(chaos *c) {
    uint64_t end = now_ns() + PATIENCE_NS, from[SENSORS];
    for (uint32_t i = 0; i < SENSORS; i++) {
        const stream *s = c->acc.streams[FIRST + i];
        from[i] = s[1].expected + s[2].expected + s[3].expected + s[4].expected;
    }
    for (uint32_t left = SENSORS; left > 0 || !all_there(c);) {
        step(c, 5, true);
        left = 0;
        for (uint32_t i = 0; i < SENSORS; i++) {
            const stream *s = c->acc.streams[FIRST + i];
            left += s[1].expected + s[2].expected + s[3].expected + s[4].expected <= from[i];
        }
        if (now_ns() > end) {
            c->acc.lost++;
            anomaly(&c->acc, "%u streams, or processes, did not come back within a minute", left);
            return;
        }
    }
}

static void connect_control(chaos *c) {
    vmsig_client_cfg cfg = {.name = "chaos",
                            .user = c,
                            .on_event = on_event,
                            .on_memctx = on_memctx,
                            .on_state = on_state,
                            .rings = c->rings ? VMSIG_CLIENT_BLOCK : VMSIG_CLIENT_SOCKET};
    char err[256] = "";
    for (uint64_t end = now_ns() + PATIENCE_NS; c->client == NULL; poll(NULL, 0, 10)) {
        c->client = vmsig_client_open(c->socket, &cfg, 2000, err, sizeof err);
        look_at_keeper(c);
        if (c->client == NULL && now_ns() > end)
            die(c, err);
    }
    const char *why = NULL;
    if (!vmsig_client_rings(c->client, &why) && c->rings)
        die(c, why);
}

/* ---- killing --------------------------------------------------------------------------------------------- */

static void kill_one(chaos *c, const proc *p) {
    if (kill(p->pid, SIGKILL) != 0)
        return;
    c->done++;
    c->killed[p->what]++;
}

/* A role first, so that the eight sensors are not eight times as likely. */
static const proc *choose(chaos *c, const proc *p, int n) {
    static const uint32_t weights[ROLES] = {5, 3, 3, 1, 1};
    uint64_t ticket = roll(c) % 13;
    role r = 0;
    while (ticket >= weights[r])
        ticket -= weights[r++];
    const proc *found[PROCS_MAX];
    uint32_t of = 0;
    for (int i = 0; i < n; i++)
        if (p[i].what == r && !p[i].zombie)
            found[of++] = &p[i];
    uint64_t which = roll(c);
    return of > 0 ? found[which % of] : NULL;
}

static void strike(chaos *c) {
    proc p[PROCS_MAX];
    int n = procs_of(c->keeper, p);
    uint64_t r = roll(c) % 10, times = r < 6 ? 1 : r < 9 ? 2 : 3;
    for (uint64_t i = 0; i < times && c->done < c->kills; i++) {
        const proc *victim = choose(c, p, n);
        if (victim != NULL)
            kill_one(c, victim);
    }
}

static void progress(const chaos *c, uint64_t since) {
    if (!isatty(1))
        return;
    printf("\r%llu kills in %llu s, %llu events, %llu commands: %llu lost, %llu duplicated, %llu reordered ",
           (unsigned long long)c->done, (unsigned long long)((now_ns() - since) / 1000000000u),
           (unsigned long long)c->acc.events, (unsigned long long)c->acc.commands_n, (unsigned long long)c->acc.lost,
           (unsigned long long)c->acc.duplicated, (unsigned long long)c->acc.reordered);
    fflush(stdout);
}

/* A command of the person's: it must end, whatever it says; the control goes on meanwhile. */
static void ask(chaos *c, const char *what, const char *whom) {
    char vmsig[PATH_MAX];
    snprintf(vmsig, sizeof vmsig, "%s/bin/vmsig", c->build);
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        execl(vmsig, vmsig, what, "--name", "chaos", whom, (char *)NULL);
        _exit(127);
    }
    for (uint64_t end = now_ns() + PATIENCE_NS / 2; pid > 0 && waitpid(pid, NULL, WNOHANG) == 0;) {
        if (now_ns() > end) {
            kill(pid, SIGKILL);
            die(c, "a command of the person's does not end");
        }
        step(c, 2, true);
    }
}

static void change(chaos *c) {
    ask(c, "restart", "plain");
    ask(c, "restart", "ctx");
    ask(c, "restart", "gate");
    ask(c, "reload", NULL);
    ask(c, "status", NULL);
    settle(c);
}

static void rampage(chaos *c) {
    uint64_t since = now_ns(), next = since, told = 0;
    while (c->done < c->kills && (c->until_ns == 0 || now_ns() < c->until_ns)) {
        uint64_t now = now_ns();
        if (now >= next) {
            strike(c);
            next = now + roll(c) % (2 * c->gap_ns + 1);
            if (c->done % 512 < 3)
                settle(c); /* never killed for so long that nothing is tested */
        }
        if (now >= told + 500 * MS) {
            told = now;
            progress(c, since);
        }
        step(c, 1, true);
    }
}

/* ---- the end --------------------------------------------------------------------------------------------- */

static void drain(chaos *c) {
    uint64_t end = now_ns() + PATIENCE_NS;
    for (uint32_t i = FIRST; i < FIRST + SENSORS; i++)
        c->acc.pages[i]->quiet = 1;
    for (uint64_t quiet = now_ns() + 300 * MS; now_ns() < quiet;) /* what was being emitted */
        step(c, 5, false);
    while ((account_due(&c->acc, false) > 0 || c->acc.open > 0) && now_ns() < end)
        step(c, 5, false);
    c->acc.lost += account_due(&c->acc, true);
    for (uint64_t quiet = now_ns() + 200 * MS; now_ns() < quiet;) /* what comes once more, comes now */
        step(c, 5, false);
    account_commands(&c->acc);
}

/* A link has one bell each way, one reader page, and at most two rings: the former one goes with the next. */
static void compare_fds(chaos *c, const char *who, const fd_table *before, const fd_table *after) {
    for (int i = 0; i < after->n && before->total >= 0; i++) {
        const char *name = after->of[i].name;
        int may = fds_in(before, name), ring = strncmp(name, "/memfd:vmsig ring", 17) == 0;
        if (ring && may < 2)
            may = 2;
        if (after->of[i].n <= may)
            continue;
        c->leaked += (uint64_t)(after->of[i].n - may);
        anomaly(&c->acc, "%s has %d of %s open, and had %d", who, after->of[i].n, name, fds_in(before, name));
    }
}

/* Every actor once more, one by one: what is left of those before them is let go. */
static void last_round(chaos *c) {
    proc p[PROCS_MAX];
    int n = procs_of(c->keeper, p);
    for (int i = 0; i < n; i++)
        if (p[i].what != ROLE_SUPERVISOR && !p[i].zombie) {
            kill_one(c, &p[i]);
            settle(c);
        }
}

static void look_for_leaks(chaos *c) {
    fd_table after[2];
    uint64_t end = now_ns() + PATIENCE_NS;
    while (!all_there(c) && now_ns() < end)
        step(c, 20, false);
    if (!all_there(c)) {
        proc p[PROCS_MAX];
        int n = procs_of(c->keeper, p);
        c->leaked += (uint64_t)abs(n - (int)ACTORS - 1);
        anomaly(&c->acc, "%d processes instead of %u", n, ACTORS + 1);
    }
    fds_of(c->keeper, &after[0]);
    fds_of(supervisor_of(c), &after[1]);
    compare_fds(c, "the keeper", &c->before[0], &after[0]);
    compare_fds(c, "the supervisor", &c->before[1], &after[1]);
}

static void stop(chaos *c) {
    int status = 0;
    uint64_t end = now_ns() + PATIENCE_NS;
    vmsig_client_close(c->client);
    kill(c->keeper, SIGTERM);
    while (waitpid(c->keeper, &status, WNOHANG) == 0) {
        if (now_ns() > end)
            die(c, "the topology does not stop");
        poll(NULL, 0, 10);
    }
    c->keeper = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        c->leaked++;
        anomaly(&c->acc, "the keeper ended with status %x", (unsigned)status);
    }
    left_over(c);
}

static void report(const chaos *c) {
    const account *a = &c->acc;
    printf("%s%llu events accounted for: %llu merged into others, told as lost: %llu oldest, %llu newest, %llu epoch, "
           "%llu deadline\n",
           isatty(1) ? "\n" : "", (unsigned long long)a->events, (unsigned long long)a->merged,
           (unsigned long long)a->told[VMSIG_LOST_OLDEST], (unsigned long long)a->told[VMSIG_LOST_NEWEST],
           (unsigned long long)a->told[VMSIG_LOST_EPOCH], (unsigned long long)a->told[VMSIG_LOST_DEADLINE]);
    printf("%llu commands, %llu effects; results:", (unsigned long long)a->commands_n, (unsigned long long)a->effects);
    for (int i = 0; i < 16; i++)
        if (a->statuses[i])
            printf(" %llu %s", (unsigned long long)a->statuses[i], vmsig_status_name(i));
    printf("\nkilled:");
    for (role r = 0; r < ROLES; r++)
        printf(" %llu x %s", (unsigned long long)c->killed[r], role_names[r]);
    printf("\nseed %llu\n", (unsigned long long)c->seed);
    printf("%llu kills: %llu lost, %llu duplicated, %llu reordered, %llu leaked\n", (unsigned long long)c->done,
           (unsigned long long)a->lost, (unsigned long long)a->duplicated, (unsigned long long)a->reordered,
           (unsigned long long)c->leaked);
}

/* ---- SIGKILL to the first event of the successor --------------------------------------------------------- */

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* How long until the control has something that only the successor can have brought. */
static uint64_t one_gap(chaos *c, role r) {
    proc p[PROCS_MAX];
    int n = procs_of(c->keeper, p), i = 0;
    while (i < n && p[i].what != r)
        i++;
    if (i == n)
        die(c, "nobody of that role");
    char path[64], line[4096] = "";
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)p[i].pid);
    FILE *f = r == ROLE_SENSOR ? fopen(path, "re") : NULL;
    if (f != NULL) {
        size_t len = fread(line, 1, sizeof line - 1, f);
        fclose(f);
        for (size_t k = 0; k < len; k++)
            line[k] = line[k] ? line[k] : ' ';
        c->wait_source = (uint32_t)atoi(strstr(line, "page.") + 5);
        c->wait_incarnation = c->acc.pages[c->wait_source]->incarnation;
    }
    c->waited_ns = 0;
    c->wait_since = now_ns();
    c->wait = r;
    kill_one(c, &p[i]);
    for (uint64_t end = now_ns() + PATIENCE_NS; c->waited_ns == 0 && now_ns() < end;)
        step(c, 1, true);
    c->wait = ROLES;
    return c->waited_ns;
}

static void bench(chaos *c) {
    uint64_t *took = calloc(c->bench, sizeof *took);
    for (role r = 0; took != NULL && r < ROLES; r++) {
        for (unsigned i = 0; i < c->bench; i++) {
            took[i] = one_gap(c, r);
            settle(c);
        }
        qsort(took, c->bench, sizeof *took, by_size);
        printf("%-10s %u kills: p50 %.1f ms, p99 %.1f ms, max %.1f ms\n", role_names[r], c->bench,
               (double)took[c->bench / 2] / 1e6, (double)took[c->bench * 99 / 100] / 1e6,
               (double)took[c->bench - 1] / 1e6);
        fflush(stdout);
    }
    free(took);
}

/* ---- main ------------------------------------------------------------------------------------------------ */

static bool parse(chaos *c, int argc, char **argv) {
    static const struct option known[] = {
        {"kills", required_argument, NULL, 'k'},   {"seed", required_argument, NULL, 's'},
        {"minutes", required_argument, NULL, 'm'}, {"gap", required_argument, NULL, 'g'},
        {"bench", required_argument, NULL, 'b'},   {"changes", no_argument, NULL, 'c'},
        {"rings", no_argument, NULL, 'r'},         {NULL, 0, NULL, 0}};
    for (int o; (o = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        uint64_t n = optarg ? strtoull(optarg, NULL, 10) : 0;
        if (o == 'k')
            c->kills = n;
        else if (o == 's')
            c->seed = n;
        else if (o == 'm')
            c->until_ns = n ? now_ns() + n * 60000 * MS : 0;
        else if (o == 'g')
            c->gap_ns = n * MS;
        else if (o == 'b')
            c->bench = (unsigned)n;
        else if (o == 'c')
            c->changes = true;
        else if (o == 'r')
            c->rings = true;
        else
            return false;
    }
    static char build[PATH_MAX];
    c->build = optind + 1 == argc ? realpath(argv[optind], build) : NULL;
    c->dice = (c->seed + 1) * 0x9e3779b97f4a7c15ull;
    return c->build != NULL;
}

int main(int argc, char **argv) {
    static chaos c = {.kills = 1000, .seed = 1, .gap_ns = 25 * MS, .wait = ROLES};
    if (!parse(&c, argc, argv)) {
        fprintf(stderr,
                "usage: prog_chaos BUILD [--kills N] [--seed S] [--minutes M] [--gap MS] [--bench N] [--changes] "
                "[--rings]\n");
        return 64;
    }
    snprintf(c.folder, sizeof c.folder, "/tmp/vmsig-chaos-XXXXXX");
    if (mkdtemp(c.folder) == NULL)
        die(&c, c.folder);
    chmod(c.folder, 0755); /* actors of other uids come by */
    make_pages(&c);
    write_topology(&c);
    start(&c);
    connect_control(&c);
    settle(&c);
    c.complete = true;
    if (c.changes)
        change(&c);
    fds_of(c.keeper, &c.before[0]);
    fds_of(supervisor_of(&c), &c.before[1]);
    if (c.bench)
        bench(&c);
    else
        rampage(&c);
    settle(&c);
    last_round(&c);
    drain(&c);
    look_for_leaks(&c);
    stop(&c);
    bool good = c.acc.lost + c.acc.duplicated + c.acc.reordered + c.leaked == 0;
    if (good)
        remove_folder(&c);
    else
        fprintf(stderr, "chaos: the topology's words are in %s/err\n", c.folder);
    report(&c);
    return good ? 0 : 1;
}
