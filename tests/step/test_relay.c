/* The relay, killed after each instruction of passing on, queueing, merging, dropping, dispatching and of the end of an
 * epoch. Its successor recovers, and what the consumers read is held against what was published. */
#include "tests/context/relay_world.h"
#include "tests/step/step.h"

#define GAP 1000000u

typedef struct scene {
    world w;
    const struct scenario *k;
    uint32_t sent, commands;
    /* what the outside has seen */
    uint64_t next, last_seq;
    uint32_t ended, effects[8], answers[8];
} scene;

typedef struct scenario {
    const char *name;
    vmsig_timing timing;
    uint32_t before; /* events that are there already */
    uint32_t due_ns; /* the time that passes then */
    uint32_t during; /* events that the operation meets */
    uint32_t commands;
    uint32_t kinds; /* they are of so many kinds by turns */
    bool epoch;     /* the epoch has moved */
} scenario;

enum { pass, accept, coalesce, oldest, newest, dispatch, paced_dispatch, commands, epoch };

static const scenario scenarios[] = {
    [pass] = {.name = "pass", .during = 4, .kinds = 1},
    [accept] = {.name = "accept", .timing = {GAP, 0, 0, 0}, .before = 1, .during = 3, .kinds = 1},
    [coalesce] = {.name = "coalesce", .timing = {0, GAP, 0, 0}, .before = 2, .during = 3, .kinds = 1},
    [oldest] = {.name = "oldest", .timing = {GAP, 0, 2, VMSIG_DROP_OLDEST}, .before = 3, .during = 3, .kinds = 1},
    [newest] = {.name = "newest", .timing = {GAP, 0, 2, VMSIG_DROP_NEWEST}, .before = 3, .during = 3, .kinds = 1},
    [dispatch] = {.name = "dispatch", .timing = {0, GAP, 0, 0}, .before = 3, .due_ns = GAP, .kinds = 3},
    [paced_dispatch] = {.name = "paced_dispatch", .timing = {GAP, 0, 0, 0}, .before = 3, .due_ns = GAP, .kinds = 1},
    [commands] = {.name = "commands", .commands = 3, .kinds = 1},
    [epoch] = {.name = "epoch", .timing = {GAP, 0, 0, 0}, .before = 3, .during = 2, .kinds = 1, .epoch = true},
};

/* ---- the outside ----------------------------------------------------------------------------------------- */

/* One slot, two, and one with a payload, by turns. */
static void publish(scene *s, const scenario *k) {
    static uint8_t bytes[300];
    uint32_t n = ++s->sent;
    vmsig_event ev = {.kind = (uint8_t)(64 + n % k->kinds), .source = SENSOR, .merged = 1, .epoch = 1};
    ev.inln_len = n % 3 == 1 ? 48 : 8;
    memset(ev.inln, (int)n, ev.inln_len);
    memcpy(ev.inln, &n, sizeof n);
    if (n % 3 == 2) {
        memset(bytes, (int)n, sizeof bytes);
        ev.payload = bytes;
        ev.payload_len = sizeof bytes;
    }
    cr_assert_eq(vmsig_ring_put_event(&s->w.ins[1].out, &ev), 0);
}

/* The second is of a kind that nobody takes: it is answered. */
static void command(scene *s) {
    uint32_t n = ++s->commands;
    vmsig_vm vm = {.op = VMSIG_VM_QUERY};
    vmsig_event ev = {.kind = VMSIG_CMD_VM, .source = VMSIG_SRC_VMHOST, .dir = VMSIG_DIR_DOWN, .merged = 1, .corr = n};
    ev.epoch = n == 2 ? 9 : 1;
    ev.inln_len = sizeof vm;
    memcpy(ev.inln, &vm, sizeof vm);
    cr_assert_eq(vmsig_ring_put_event(&s->w.ins[2].out, &ev), 0);
}

static void take_number(scene *s, const vmsig_event *ev) {
    uint32_t n;
    memcpy(&n, ev->inln, sizeof n);
    step_must((uint64_t)n + 1 - ev->merged == s->next, "%u, of %u, came where %lu was expected", n, ev->merged,
              s->next);
    for (uint32_t i = sizeof n; i < ev->inln_len; i++)
        step_must(ev->inln[i] == (uint8_t)n, "the body of %u", n);
    for (uint32_t i = 0; i < ev->payload_len; i++)
        step_must(((const uint8_t *)ev->payload)[i] == (uint8_t)n, "the payload of %u", n);
    step_must(ev->payload_len == (n % 3 == 2 ? 300u : 0u), "the payload of %u is gone", n);
    s->next = (uint64_t)n + 1;
}

static void take_event(scene *s, const vmsig_event *ev) {
    vmsig_lost lost;
    if (ev->kind == VMSIG_EV_EPOCH_END) {
        step_must(ev->epoch > s->ended, "EPOCH_END(%u) came twice", ev->epoch);
        s->ended = ev->epoch;
        return;
    }
    if (ev->kind == VMSIG_EV_RESULT) {
        s->answers[ev->corr]++;
        return;
    }
    step_must(ev->epoch == 0 || ev->epoch > s->ended, "an event of epoch %u after its end", ev->epoch);
    step_must(ev->seq > s->last_seq, "seq %lu after %lu", ev->seq, s->last_seq);
    s->last_seq = ev->seq;
    if (ev->kind == VMSIG_EV_LOST) {
        memcpy(&lost, ev->inln, sizeof lost);
        s->next += lost.count;
    } else {
        take_number(s, ev);
    }
}

static void read_all(scene *s) {
    for (int i = 0; i < 2; i++) {
        vmsig_ring_in *in = &s->w.outs[i].in;
        while (vmsig_ring_peek(in)) {
            vmsig_event ev;
            step_must(vmsig_ring_get_event(in, &ev) == 0, "an event that cannot be read");
            vmsig_ring_advance(in);
            if (i == 0)
                take_event(s, &ev);
            else
                s->effects[ev.corr]++;
            free(ev.payload);
        }
        step_must(in->poisoned == 0, "the ring is poisoned");
        vmsig_ring_release(in);
    }
}

/* ---- the operation, and what follows ----------------------------------------------------------------------- */

static void operate(void *ud) {
    relay_turn(&((scene *)ud)->w);
}

static void open_scene(scene *s, const scenario *k) {
    memset(s, 0, sizeof *s);
    s->next = 1;
    s->k = k;
    world_open(&s->w);
    s->w.timing[VMSIG_DIR_UP][SENSOR] = k->timing;
    relay_up(&s->w);
    for (uint32_t i = 0; i < k->before; i++)
        publish(s, k);
    relay_turn(&s->w);
    read_all(s);
    s->w.clock += k->due_ns;
    for (uint32_t i = 0; i < k->during; i++)
        publish(s, k);
    for (uint32_t i = 0; i < k->commands; i++)
        command(s);
    s->w.epoch += k->epoch;
}

/* The predecessor's copy of what is private goes; what it shared stays. */
static void succeed(void *ud) {
    scene *s = ud;
    relay_down(&s->w);
    relay_up(&s->w);
    for (int i = 0; i < 12; i++) {
        relay_turn(&s->w);
        read_all(s);
        s->w.clock += 200 * GAP; /* an epoch's end waits 100 ms at most */
    }
    step_must(s->next == s->sent + 1u, "%u events were published, and %lu came", s->sent, s->next - 1);
    step_must(s->ended == (s->k->epoch ? 1u : 0u), "EPOCH_END(%u) was the last", s->ended);
    for (uint32_t i = 1; i <= s->commands; i++)
        step_must(s->effects[i] + s->answers[i] == 1u, "command %u: %u at the host, %u answers", i, s->effects[i],
                  s->answers[i]);
}

static unsigned shared(const world *w, step_mem *m) {
    unsigned n = 0;
    m[n++] = (step_mem){w->state, STATE_BYTES};
    for (int i = 0; i < INS; i++) {
        m[n++] = (step_mem){w->ins[i].out.head, vmsig_ring_bytes(SLOTS, ARENA)};
        m[n++] = (step_mem){w->in[i].in.reader, VMSIG_READER_BYTES};
    }
    for (int i = 0; i < OUTS; i++) {
        m[n++] = (step_mem){w->out[i].out.head, vmsig_ring_bytes(SLOTS, ARENA)};
        m[n++] = (step_mem){w->outs[i].in.reader, VMSIG_READER_BYTES};
    }
    return n;
}

static void run(const scenario *k) {
    scene *s = malloc(sizeof *s);
    step_mem mem[1 + 2 * INS + 2 * OUTS];
    open_scene(s, k);
    step_case c = {.name = k->name, .op = operate, .check = succeed, .ud = s, .mem = mem, .mem_n = shared(&s->w, mem)};
    int64_t deaths = step_through(&c);
    world_close(&s->w);
    free(s);
    if (deaths < 0)
        cr_skip_test("ptrace is not allowed here");
}

#define SCENARIO(id)                                                                                                   \
    Test(step_relay, id, .timeout = 36000) {                                                                           \
        run(&scenarios[id]);                                                                                           \
    }
SCENARIO(pass)
SCENARIO(accept)
SCENARIO(coalesce)
SCENARIO(oldest)
SCENARIO(newest)
SCENARIO(dispatch)
SCENARIO(paced_dispatch)
SCENARIO(commands)
SCENARIO(epoch)
