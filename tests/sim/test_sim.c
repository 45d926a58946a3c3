/* Context, gate and leases on a virtual clock, driven by a seed: who does what next, how far time goes, when the gate
 * dies, when the epoch moves. A history checker looks on:
 *   - tokens of grants grow; who holds is told of the end before another is granted (intervals are disjoint);
 *   - an effect starts with the newest token that was granted, and none is under way when the next is granted;
 *   - every command is answered once, to who sent it, and seq grows.
 * The same seed gives the same history, byte for byte. A failing seed is printed; it is run alone by
 * VMSIG_SIM_SEED=n. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/context/engine.h"
#include "actors/gateway/gate.h"
#include "rings/fence.h"

#define CONTROLS 3
#define CORRS    512
#define STEPS    400
#define SEEDS    2000u
#define MS       1000000ull

typedef struct sim sim;

typedef struct person {
    sim *s;
    int id; /* in the gate */
    vmsig_gate_session session;
    uint64_t place;
    bool snapshot; /* SNAPSHOT_END is to come */
    int (*emit)(void *token, vmsig_event *);
    void *token_of_emit;
    uint64_t corr, base, token, old_token;
    uint8_t answers[CORRS];
    bool sent[CORRS];
} person;

struct sim {
    uint64_t seed, rng, now, hash;
    uint32_t epoch;
    vmsig_ctx *ctx;
    vmsig_gate *gate;
    void *mem;
    vmsig_fence_page *fences;
    uint64_t published, position, up_seq;
    person who[CONTROLS];
    /* the host */
    vmsig_event under_way, fence;
    bool busy, fencing;
    uint64_t busy_until;
    /* the history */
    uint64_t granted, holder_token;
    unsigned grants, effects, deaths, preempted;
};

static uint64_t draw(sim *s, uint64_t n) {
    s->rng ^= s->rng << 13;
    s->rng ^= s->rng >> 7;
    s->rng ^= s->rng << 17;
    return s->rng % n;
}

static void note(sim *s, uint64_t what, uint64_t a, uint64_t b) {
    const uint64_t words[] = {what, a, b, s->now};
    for (unsigned i = 0; i < 4; i++)
        s->hash = (s->hash ^ words[i]) * 1099511628211u;
}

#define HOLDS(s, condition, ...)                                                                                       \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "seed %llu: ", (unsigned long long)(s)->seed);                                             \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            cr_assert(0, "seed %llu: %s", (unsigned long long)(s)->seed, #condition);                                  \
        }                                                                                                              \
    } while (0)

/* ---- the history ----------------------------------------------------------------------------------------- */

static int audited(void *ud, const vmsig_audit_record *r) {
    sim *s = ud;
    note(s, 100 + r->what, r->token, r->principal);
    switch (r->what) {
    case VMSIG_AUDIT_GRANTED:
        if (r->token == s->holder_token) /* again, to the same */
            break;
        HOLDS(s, r->token > s->granted, "token %llu after %llu\n", (unsigned long long)r->token,
              (unsigned long long)s->granted);
        HOLDS(s, s->holder_token == 0, "granted while another holds\n");
        HOLDS(s, !s->busy, "granted while an effect is under way\n");
        s->granted = s->holder_token = r->token;
        s->grants++;
        break;
    case VMSIG_AUDIT_REVOKED:
    case VMSIG_AUDIT_RELEASED:
        HOLDS(s, r->token == s->holder_token, "the end of a lease that nobody has\n");
        s->holder_token = 0;
        break;
    case VMSIG_AUDIT_PREEMPTED:
        s->preempted++;
        break;
    default:
        break;
    }
    return 0;
}

/* ---- the host -------------------------------------------------------------------------------------------- */

static void up(sim *s, const vmsig_event *cmd, vmsig_status status) {
    vmsig_result r = {.status = (int32_t)status};
    vmsig_event ev = {.kind = VMSIG_EV_RESULT,
                      .source = cmd->source,
                      .epoch = s->epoch,
                      .corr = cmd->corr,
                      .ts_ns = s->now,
                      .inln_len = sizeof r};
    memcpy(ev.inln, &r, sizeof r);
    HOLDS(s, vmsig_ctx_submit(s->ctx, VMSIG_DIR_UP, &ev) >= 0, "no room for a result\n");
}

static void start_effect(sim *s, const vmsig_event *cmd) {
    bool allowed = vmsig_fence_allows(s->fences, 0, VMSIG_LEASE_INPUT, cmd->token);
    if (cmd->epoch != s->epoch || !allowed) {
        up(s, cmd, VMSIG_FENCED);
        return;
    }
    HOLDS(s, cmd->token == s->granted, "an effect with token %llu, granted is %llu\n", (unsigned long long)cmd->token,
          (unsigned long long)s->granted);
    note(s, 1, cmd->token, cmd->corr);
    s->effects++;
    s->under_way = *cmd;
    s->busy = true;
    s->busy_until = s->now + draw(s, 3 * MS);
}

static void host_turn(sim *s) {
    vmsig_event ev;
    if (s->busy && s->now >= s->busy_until) {
        s->busy = false;
        up(s, &s->under_way, VMSIG_OK);
    }
    if (!s->busy && s->fencing) {
        s->fencing = false;
        up(s, &s->fence, VMSIG_OK);
    }
    if (s->fencing || vmsig_ctx_next(s->ctx, VMSIG_DIR_DOWN, &ev) != 1)
        return;
    if (ev.kind == VMSIG_CMD_LEASE) {
        s->fence = ev;
        s->fencing = true;
    } else if (s->busy) {
        up(s, &ev, VMSIG_UNAVAILABLE); /* this host does one thing at a time */
    } else {
        start_effect(s, &ev);
    }
}

static void move_epoch(sim *s) {
    if (s->busy)
        up(s, &s->under_way, VMSIG_PARTIAL);
    s->busy = false;
    s->epoch++;
    note(s, 2, s->epoch, 0);
}

static void dropped(void *ud, uint64_t corr, uint32_t endpoint, uint32_t source, uint32_t epoch, vmsig_status status,
                    uint64_t detail) {
    sim *s = ud;
    vmsig_event cmd = {.corr = corr, .source = (uint8_t)source};
    (void)endpoint, (void)epoch, (void)detail;
    up(s, &cmd, status);
}

/* ---- what the gate stands on ----------------------------------------------------------------------------- */

static uint64_t now_of(void *ud) {
    return ((sim *)ud)->now;
}
static uint32_t epoch_of(void *ud, uint32_t endpoint) {
    return endpoint == 0 ? ((sim *)ud)->epoch : 0;
}
static int command(void *ud, const vmsig_event *cmd) {
    sim *s = ud;
    vmsig_event own = *cmd;
    if (draw(s, 20) == 0)
        return -EAGAIN; /* the ring is full now and then */
    s->published++;
    HOLDS(s, vmsig_ctx_submit(s->ctx, VMSIG_DIR_DOWN, &own) >= 0, "a command is refused\n");
    return 0;
}
static uint64_t mark(void *ud, uint32_t endpoint) {
    (void)endpoint;
    return ((sim *)ud)->published + 1;
}
static bool was_published(void *ud, uint64_t at) {
    return ((sim *)ud)->published >= at;
}
static vmsig_fence_page *fences_of(void *ud) {
    return ((sim *)ud)->fences;
}

/* ---- controls --------------------------------------------------------------------------------------------- */

static int in_no_loop(void *ctl) {
    (void)ctl;
    return -1;
}
static int subscribe(void *ctl, vmsig_sub *out) {
    (void)ctl;
    *out = (vmsig_sub){UINT32_MAX, UINT64_MAX, 0};
    return 0;
}
static void hook(void *ctl, int (*emit)(void *token, vmsig_event *), void *token) {
    person *p = ctl;
    p->emit = emit;
    p->token_of_emit = token;
}
static void closed(void *ctl) {
    (void)ctl;
}

static void take_result(person *p, const vmsig_event *ev) {
    sim *s = p->s;
    vmsig_result r;
    memcpy(&r, ev->inln, sizeof r);
    HOLDS(s, ev->corr > p->base && ev->corr <= p->corr, "a result for corr %llu of a former session\n",
          (unsigned long long)ev->corr);
    HOLDS(s, ++p->answers[ev->corr % CORRS] == 1, "two results for one command\n");
    note(s, 3, ev->corr, (uint64_t)r.status);
}

static int deliver(void *ctl, const vmsig_event *ev) {
    person *p = ctl;
    vmsig_lease_info l;
    if (draw(p->s, 30) == 0) {
        errno = EAGAIN;
        return -1;
    }
    uint64_t place = vmsig_gate_place(p->s->gate);
    p->place = place ? place : p->place;
    if (ev->kind == VMSIG_EV_SNAPSHOT_END)
        p->snapshot = false;
    if (ev->kind == VMSIG_EV_RESULT)
        take_result(p, ev);
    if (ev->kind != VMSIG_EV_LEASE)
        return 0;
    memcpy(&l, ev->inln, sizeof l);
    if (l.state == VMSIG_LEASE_GRANTED) {
        p->old_token = p->token;
        p->token = l.token;
    }
    return 0;
}

static const vmsig_control_ops person_ops = {.name = "person",
                                             .fd = in_no_loop,
                                             .subscribe = subscribe,
                                             .deliver = deliver,
                                             .set_emit_down = hook,
                                             .close = closed};

static void attach(sim *s, int i, bool resume) {
    person *p = &s->who[i];
    vmsig_gate_session want = {.uid = 1000 + (uint32_t)i};
    if (resume) {
        want.id = p->session.id;
        want.place = p->place;
        want.snapshot = p->snapshot;
    }
    p->id = vmsig_gate_attach_session(s->gate, &person_ops, p, &want);
    HOLDS(s, p->id >= 0, "not attached: %s\n", strerror(-p->id));
    HOLDS(s, want.resumed == resume, "not resumed\n");
    p->session = want;
    if (!resume) {
        p->place = want.place;
        p->base = p->corr;
        p->token = p->old_token = 0;
    }
    p->snapshot = p->snapshot || !resume;
    vmsig_grant g = {1000 + (uint32_t)i, 1, VMSIG_CAP_ALL, i == 0 ? 0 : (uint32_t)i};
    HOLDS(s, vmsig_gate_set_grant(s->gate, p->id, &g) == 0, "no grant\n");
}

static void send(person *p, uint8_t kind, const void *body, uint32_t len, uint64_t token) {
    vmsig_event cmd = {.kind = kind, .corr = p->corr + 1, .token = token, .inln_len = len};
    memcpy(cmd.inln, body, len);
    if (p->emit == NULL || p->corr + 1 - p->base >= CORRS || p->emit(p->token_of_emit, &cmd) != 0)
        return;
    p->corr++;
    p->sent[p->corr % CORRS] = true;
    p->answers[p->corr % CORRS] = 0;
}

static void act(sim *s) {
    person *p = &s->who[draw(s, CONTROLS)];
    vmsig_lease l = {.cls = VMSIG_LEASE_INPUT, .ttl_ms = 1 + (uint32_t)draw(s, 30), .flags = (uint32_t)draw(s, 2)};
    bool motion = draw(s, 2);
    vmsig_input in = {.type = motion ? VMSIG_INPUT_REL : VMSIG_INPUT_KEY, .down = !motion, .code = 1, .value = 1};
    switch (draw(s, 8)) {
    case 0:
    case 1:
        l.op = VMSIG_LEASE_ACQUIRE;
        send(p, VMSIG_CMD_LEASE, &l, sizeof l, 0);
        break;
    case 2:
        l.op = VMSIG_LEASE_RENEW;
        l.flags = 0;
        send(p, VMSIG_CMD_LEASE, &l, sizeof l, 0);
        break;
    case 3:
        l.op = VMSIG_LEASE_RELEASE;
        l.flags = 0;
        send(p, VMSIG_CMD_LEASE, &l, sizeof l, 0);
        break;
    case 4: /* what he had before, or never had */
        send(p, VMSIG_CMD_INPUT, &in, sizeof in, draw(s, 2) ? p->old_token : s->granted);
        break;
    default:
        send(p, VMSIG_CMD_INPUT, &in, sizeof in, p->token);
        break;
    }
}

/* ---- the world -------------------------------------------------------------------------------------------- */

static void boot(sim *s, bool resume) {
    const vmsig_gate_env env = {.now = now_of,
                                .epoch = epoch_of,
                                .command = command,
                                .mark = mark,
                                .published = was_published,
                                .fences = fences_of,
                                .endpoint_mask = 1,
                                .quiet_ns = {20 * MS},
                                .command_ns = 200 * MS,
                                .queue_ns = 100 * MS,
                                .grace_ns = 10 * MS,
                                .ud = s};
    HOLDS(s, vmsig_gate_new(s->mem, VMSIG_GATE_STATE_MIN, &env, &s->gate) == 0, "no gate\n");
    vmsig_gate_set_audit(s->gate, audited, s);
    HOLDS(s, vmsig_gate_start(s->gate) == 0, "not started\n");
    for (int i = 0; i < CONTROLS; i++)
        attach(s, i, resume);
}

static void context_turn(sim *s, unsigned n) {
    vmsig_event ev;
    while (n-- > 0 && vmsig_ctx_next(s->ctx, VMSIG_DIR_UP, &ev) == 1) {
        HOLDS(s, ev.seq > s->up_seq || ev.kind == VMSIG_EV_RESULT, "seq goes back\n");
        s->up_seq = ev.seq > s->up_seq ? ev.seq : s->up_seq;
        HOLDS(s, vmsig_gate_take(s->gate, 1, ++s->position, &ev) == 0, "not taken\n");
    }
}

static void gate_turn(sim *s) {
    for (int i = 0; i < CONTROLS; i++)
        vmsig_gate_unblock(s->gate, s->who[i].id);
    vmsig_gate_turn(s->gate);
}

/* Time goes on: a little, or exactly to an edge and the nanosecond on either side of it. */
static void pass_time(sim *s) {
    uint64_t edge = vmsig_gate_deadline(s->gate);
    if (edge > s->now + 1 && edge < s->now + 50 * MS && draw(s, 2))
        s->now = edge - 1 + draw(s, 3);
    else
        s->now += draw(s, 2 * MS);
}

static void die(sim *s) {
    s->deaths++;
    vmsig_gate_free(s->gate); /* without a word: what it knew lies in the state */
    boot(s, true);
}

static void policy(sim *s) {
    vmsig_timing t = {.min_gap_ns = (uint32_t)draw(s, 2 * MS), .coalesce_ns = (uint32_t)draw(s, 2 * MS)};
    HOLDS(s,
          vmsig_ctx_set_policy(s->ctx, VMSIG_SRC_INPUT, VMSIG_DIR_DOWN, VMSIG_PRIO_DEFAULT, draw(s, 2) ? &t : NULL) ==
              0,
          "no policy\n");
}

static void step(sim *s) {
    uint64_t what = draw(s, 100);
    if (what < 35)
        act(s);
    else if (what < 55)
        host_turn(s);
    else if (what < 70)
        context_turn(s, 1 + (unsigned)draw(s, 4));
    else if (what < 85)
        gate_turn(s);
    else if (what < 95)
        pass_time(s);
    else if (what < 96)
        die(s);
    else if (what < 97)
        move_epoch(s);
    else if (what < 98)
        policy(s);
    else if (what < 99) {
        int i = (int)draw(s, CONTROLS);
        vmsig_gate_detach(s->gate, s->who[i].id, true);
        gate_turn(s);
        attach(s, i, false);
    }
}

/* All comes to rest: then each command of the sessions that are has its answer. */
static void settle(sim *s) {
    for (int i = 0; i < 400; i++) {
        s->now += MS;
        host_turn(s);
        context_turn(s, 100);
        gate_turn(s);
    }
    for (int i = 0; i < CONTROLS; i++)
        for (uint64_t corr = s->who[i].base + 1; corr <= s->who[i].corr; corr++)
            HOLDS(s, s->who[i].answers[corr % CORRS] == 1, "control %d: command %llu has %u results\n", i,
                  (unsigned long long)corr, s->who[i].answers[corr % CORRS]);
}

static uint64_t run(uint64_t seed, unsigned counts[4]) {
    static sim world;
    sim *s = &world;
    memset(s, 0, sizeof *s);
    s->seed = seed;
    s->rng = seed * 0x9e3779b97f4a7c15u + 1;
    s->hash = 14695981039346656037u;
    s->now = 1000 * MS;
    s->epoch = 1;
    s->mem = calloc(1, VMSIG_GATE_STATE_MIN);
    s->fences = aligned_alloc(64, (sizeof *s->fences + 63) & ~(size_t)63);
    memset(s->fences, 0, sizeof *s->fences);
    for (int i = 0; i < CONTROLS; i++)
        s->who[i].s = s;
    s->ctx = vmsig_ctx_new_clock(now_of, s);
    vmsig_ctx_on_answer(s->ctx, dropped, s);
    boot(s, false);
    for (int i = 0; i < STEPS; i++)
        step(s);
    settle(s);
    vmsig_gate_free(s->gate);
    vmsig_ctx_free(s->ctx);
    free(s->mem);
    free(s->fences);
    counts[0] += s->grants;
    counts[1] += s->effects;
    counts[2] += s->preempted;
    counts[3] += s->deaths;
    return s->hash;
}

Test(sim, ownership_is_disjoint_effects_lie_inside_it_and_all_is_answered) {
    const char *only = getenv("VMSIG_SIM_SEED"), *many = getenv("VMSIG_SIM_SEEDS");
    uint64_t first = only ? strtoull(only, NULL, 10) : 1, n = only ? 1 : many ? strtoull(many, NULL, 10) : SEEDS;
    unsigned counts[4] = {0};
    for (uint64_t seed = first; seed < first + n; seed++)
        run(seed, counts);
    printf("%llu seeds: %u grants, %u effects, %u preemptions, %u deaths of the gate\n", (unsigned long long)n,
           counts[0], counts[1], counts[2], counts[3]);
    cr_expect(only || (counts[0] > n && counts[1] > n && counts[2] > n / 10 && counts[3] > n / 10),
              "they do something");
}

Test(sim, the_same_seed_gives_the_same_history) {
    unsigned counts[4] = {0};
    for (uint64_t seed = 1; seed <= 20; seed++)
        cr_expect_eq(run(seed, counts), run(seed, counts));
    cr_expect_neq(run(1, counts), run(2, counts));
}
