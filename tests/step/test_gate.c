/* The gateway, killed after each instruction of giving a lease and of taking it away: granted, given back, preempted,
 * run out, lost with the grant; and of letting a command through. Its successor goes on with what is durable; its
 * controls come back and resend what was not answered. Then: every command has one answer, tokens only grow, the fence
 * allows one token at most, whose owner knows it, and no effect with a token comes after a later one was granted. */
#include <sys/mman.h>

#include "actors/gateway/gate_impl.h"
#include "rings/atomics.h"
#include "tests/gateway/world.h"
#include "tests/step/step.h"

#define BYTES    VMSIG_GATE_STATE_MIN
#define PEOPLE   2
#define COMMANDS 16
#define TTL_MS   5000u

struct scene;

typedef struct person {
    struct scene *scene;
    vmsig_gate_session at;
    void *ctl;
    uint32_t caps, priority;
    uint64_t token; /* of its lease, as it was told; 0 = none */
    vmsig_event cmd[COMMANDS];
    uint32_t sent;                 /* their corrs are 1.. */
    uint64_t answers[COMMANDS][2]; /* the places of what answered it */
    int32_t status[COMMANDS];
} person;

/* What outlives the gateway: its state, the rings, the fences, the controls. All of it is shared memory. */
typedef struct scene {
    world w;
    person who[PEOPLE];
    uint32_t before[PEOPLE]; /* commands sent before the operation */
    uint32_t begun;          /* what the operation changes by itself is changed */
    uint64_t granted;        /* the highest token that anybody was told */
    vmsig_fence_page fences;
} scene;

typedef struct scenario {
    const char *name;
    void (*before)(scene *s);
    void (*op)(scene *s);
    void (*after)(scene *s);
} scenario;

static const scenario *now_playing;

/* ---- the controls -------------------------------------------------------------------------------------------- */

static uint32_t answers(const person *p, uint32_t corr) {
    return (p->answers[corr][0] != 0 ? 1u : 0u) + (p->answers[corr][1] != 0 ? 1u : 0u);
}

/* Death may strike in here, too, where it stands for no death of the control: so what is noted can be noted again. */
static int on_event(void *user, const vmsig_event *ev) {
    person *p = user;
    uint64_t place = vmsig_gate_place(p->scene->w.gate);
    if (ev->kind == VMSIG_EV_SNAPSHOT_END)
        p->at.snapshot = false;
    if (ev->kind == VMSIG_EV_LEASE) {
        vmsig_lease_info info;
        memcpy(&info, ev->inln, sizeof info);
        step_must(info.state != VMSIG_LEASE_GRANTED || info.token == p->token || info.token > p->scene->granted,
                  "token %lu is granted after %lu", info.token, p->scene->granted);
        p->token = info.state == VMSIG_LEASE_GRANTED ? info.token : 0;
        if (p->token > p->scene->granted)
            p->scene->granted = p->token;
    }
    if (ev->kind == VMSIG_EV_RESULT && ev->corr < COMMANDS) {
        vmsig_result r;
        memcpy(&r, ev->inln, sizeof r);
        p->status[ev->corr] = r.status;
        uint64_t *at = p->answers[ev->corr];
        vmsig_store64_release(at[0] == 0 || at[0] == place ? &at[0] : &at[1], place);
    }
    if (place)
        vmsig_store64_release(&p->at.place, place);
    return 0;
}

static void grant_to(scene *s, person *p) {
    const vmsig_grant g = {1000u + (uint32_t)(p - s->who), 1, p->caps, p->priority};
    cr_assert_eq(vmsig_gate_set_grant(s->w.gate, (int)(p - s->who), &g), 0);
}

static void come(scene *s, person *p) {
    vmsig_inproc_cfg cfg = {.on_event = on_event, .user = p, .sub = {UINT32_MAX, UINT64_MAX, 0}};
    bool first = p->at.id == 0;
    p->ctl = vmsig_inproc_control_new(&cfg);
    p->at.uid = 1000u + (uint32_t)(p - s->who);
    int id = vmsig_gate_attach_session(s->w.gate, vmsig_inproc_control_ops(), p->ctl, &p->at);
    step_must(id == (int)(p - s->who), "a control cannot come: %d", id);
    step_must(first || p->at.resumed, "a session is not resumed");
    grant_to(s, p);
}

static void send_one(person *p, uint32_t corr) {
    vmsig_event cmd = p->cmd[corr];
    step_must(vmsig_inproc_send(p->ctl, &cmd) == 0, "command %u is not taken", corr);
}

/* It is kept before it is sent, so that it can be sent again. */
static void command(person *p, vmsig_event cmd) {
    cmd.corr = p->sent + 1;
    p->cmd[cmd.corr] = cmd;
    vmsig_store32_release(&p->sent, (uint32_t)cmd.corr);
    send_one(p, (uint32_t)cmd.corr);
}

static void acquire(person *p) {
    command(p, world_lease_cmd(0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, TTL_MS, 0));
}

static void key(person *p, uint64_t token) {
    command(p, world_key(0, token, 0));
}

/* ---- the host: it does what the fence allows, and answers all ---------------------------------------------------- */

/* Visible by its last store, as in a ring. */
static int publish(void *ud, const vmsig_event *cmd) {
    world *w = ud;
    w->sent[w->sent_n] = *cmd;
    __atomic_store_n(&w->sent_n, w->sent_n + 1, __ATOMIC_RELEASE);
    return 0;
}

static void answer_commands(scene *s) {
    uint64_t position = 0, seq = 0;
    vmsig_gate_accepted(s->w.gate, 5, &position, &seq);
    for (; position < (uint64_t)s->w.sent_n; position++) {
        vmsig_event ev = {.kind = VMSIG_EV_RESULT,
                          .source = VMSIG_SRC_VMHOST,
                          .merged = 1,
                          .epoch = 7,
                          .corr = s->w.sent[position].corr,
                          .seq = position + 1,
                          .inln_len = sizeof(vmsig_result)};
        vmsig_gate_take(s->w.gate, 5, position + 1, &ev);
    }
}

static void turns(scene *s) {
    for (int i = 0; i < 4; i++) {
        vmsig_gate_turn(s->w.gate);
        answer_commands(s);
    }
}

/* ---- the scenes ------------------------------------------------------------------------------------------------ */

static void hold(scene *s) {
    acquire(&s->who[0]);
    turns(s);
    cr_assert_neq(s->who[0].token, 0);
}

static void do_acquire(scene *s) {
    acquire(&s->who[0]);
}

static void do_key(scene *s) {
    key(&s->who[0], s->who[0].token);
}

static void do_release(scene *s) {
    command(&s->who[0], world_lease_cmd(0, VMSIG_LEASE_RELEASE, VMSIG_LEASE_INPUT, 0, 0));
}

static void do_preempt(scene *s) {
    acquire(&s->who[1]);
}

static void do_expire(scene *s) {
    vmsig_store64_release(&s->w.now, s->w.now + 2 * TTL_MS * 1000000ull);
    vmsig_store32_release(&s->begun, 1);
}

static void do_narrow(scene *s) {
    vmsig_store32_release(&s->who[0].caps, VMSIG_CAP_OBSERVE);
    vmsig_store32_release(&s->begun, 1);
    grant_to(s, &s->who[0]);
}

/* Whoever had the token before cannot do anything with it; who has it now can. */
static void keys_of(scene *s, const person *owner) {
    int before = s->w.sent_n;
    uint64_t first = s->granted; /* person 0 was the first to get one */
    for (int i = 0; i < PEOPLE; i++)
        if (&s->who[i] != owner)
            key(&s->who[i], first > 0 ? 1 : 77);
    turns(s);
    for (int i = before; i < s->w.sent_n; i++)
        step_must(s->w.sent[i].kind != VMSIG_CMD_INPUT, "an input without a lease came through");
    step_must(owner == NULL || owner->token != 0, "who is to hold the lease was not told");
    for (int i = 0; owner != NULL && i < PEOPLE; i++)
        if (&s->who[i] == owner) {
            key(&s->who[i], owner->token);
            turns(s);
            step_must(s->w.sent_n > 0 && s->w.sent[s->w.sent_n - 1].kind == VMSIG_CMD_INPUT,
                      "an input of the holder did not come through");
        }
}

static void answered_ok(const person *p, uint32_t corr) {
    step_must(answers(p, corr) == 1 && p->status[corr] == VMSIG_OK, "command %u: %u answers, the last %d", corr,
              answers(p, corr), p->status[corr]);
}

static void first_holds(scene *s) {
    answered_ok(&s->who[0], 1);
    keys_of(s, &s->who[0]);
}

static void one_key(scene *s) {
    int n = 0;
    for (int i = 0; i < s->w.sent_n; i++)
        n += s->w.sent[i].kind == VMSIG_CMD_INPUT;
    step_must(n <= 1, "the key was sent %d times", n);
    step_must(s->who[0].status[2] != VMSIG_OK || n == 1, "answered OK, and not sent");
    first_holds(s);
}

static void second_holds(scene *s) {
    answered_ok(&s->who[1], 1);
    step_must(s->who[1].token == s->granted, "it was granted token %lu after %lu", s->who[1].token, s->granted);
    keys_of(s, &s->who[1]);
}

static void nobody_holds(scene *s) {
    keys_of(s, NULL);
}

static const scenario scenarios[] = {{"grant", NULL, do_acquire, first_holds},
                                     {"admit", hold, do_key, one_key},
                                     {"revoke: given back", hold, do_release, nobody_holds},
                                     {"revoke: preempted", hold, do_preempt, second_holds},
                                     {"revoke: run out", hold, do_expire, nobody_holds},
                                     {"revoke: grant narrowed", hold, do_narrow, nobody_holds}};

/* ---- the operation, and what follows ------------------------------------------------------------------------------ */

static bool all_answered(const scene *s) {
    for (int p = 0; p < PEOPLE; p++)
        for (uint32_t i = 1; i <= s->who[p].sent; i++)
            if (answers(&s->who[p], i) == 0)
                return false;
    return true;
}

static void operate(void *ud) {
    scene *s = ud;
    now_playing->op(s);
    turns(s);
}

/* A holder has a moment to come back, and a contender waits for it. */
static void settle(scene *s) {
    turns(s);
    for (int i = 0; i < 20 && !all_answered(s); i++, s->w.now += 100000000u)
        turns(s);
}

static void check_all(scene *s) {
    uint64_t highest = 0;
    for (int p = 0; p < PEOPLE; p++)
        for (uint32_t i = 1; i <= s->who[p].sent; i++)
            step_must(answers(&s->who[p], i) == 1, "command %u of control %d: %u answers", i, p,
                      answers(&s->who[p], i));
    for (int i = 0; i < s->w.sent_n; i++)
        if (s->w.sent[i].kind == VMSIG_CMD_INPUT) {
            step_must(s->w.sent[i].token >= highest, "token %lu after %lu", s->w.sent[i].token, highest);
            highest = s->w.sent[i].token;
        }
    for (uint64_t t = 1; t <= s->granted; t++)
        step_must(!vmsig_fence_allows(&s->fences, 0, VMSIG_LEASE_INPUT, t) || s->who[0].token == t ||
                      s->who[1].token == t,
                  "the fence allows token %lu, which nobody holds", t);
}

static void succeed(void *ud) {
    scene *s = ud;
    uint32_t resend[PEOPLE];
    world_boot(&s->w);
    for (int p = 0; p < PEOPLE; p++) {
        resend[p] = s->who[p].sent; /* as far as the control had come */
        come(s, &s->who[p]);
    }
    for (int p = 0; p < PEOPLE; p++)
        for (uint32_t i = 1; i <= resend[p]; i++)
            if (answers(&s->who[p], i) == 0)
                send_one(&s->who[p], i);
    if (!s->begun && resend[0] == s->before[0] && resend[1] == s->before[1]) /* it had not come to that */
        now_playing->op(s);
    settle(s);
    if (now_playing->op == do_expire && s->who[0].token != 0)
        do_expire(s);
    settle(s);
    now_playing->after(s);
    check_all(s);
}

static void *shared(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(p, MAP_FAILED);
    return p;
}

static void open_scene(scene *s) {
    world *like = world_new_sized(BYTES);
    s->w = *like;
    s->w.env.ud = &s->w;
    s->w.env.command = publish;
    s->w.mem = shared(BYTES);
    s->w.fences = &s->fences;
    world_free(like);
    world_boot(&s->w);
    for (int p = 0; p < PEOPLE; p++) {
        s->who[p] = (person){.scene = s, .caps = VMSIG_CAP_ALL, .priority = (uint32_t)p, .at.snapshot = true};
        come(s, &s->who[p]);
    }
    turns(s);
}

static void run(const scenario *k) {
    scene *s = shared(sizeof *s);
    now_playing = k;
    open_scene(s);
    if (k->before)
        k->before(s);
    for (int p = 0; p < PEOPLE; p++)
        s->before[p] = s->who[p].sent;
    const size_t some = 64 * sizeof s->w.sent[0];
    step_mem mem[] = {{s->w.mem, sizeof(vmsig_gate_state) + 65536},
                      {s, offsetof(scene, w.sent) + some},
                      {(uint8_t *)s + offsetof(scene, w.sent_n), sizeof *s - offsetof(scene, w.sent_n)}};
    step_case c = {.name = k->name, .op = operate, .check = succeed, .ud = s, .mem = mem, .mem_n = 3};
    int64_t deaths = step_through(&c);
    vmsig_gate_free(s->w.gate);
    munmap(s->w.mem, BYTES);
    munmap(s, sizeof *s);
    if (deaths < 0)
        cr_skip_test("ptrace is not allowed here");
}

#define SCENARIO(name, i)                                                                                              \
    Test(step_gate, name, .timeout = 36000) {                                                                          \
        run(&scenarios[i]);                                                                                            \
    }
SCENARIO(grants, 0)
SCENARIO(admits, 1)
SCENARIO(takes_back, 2)
SCENARIO(preempts, 3)
SCENARIO(lets_run_out, 4)
SCENARIO(narrows, 5)
