/* The gate on an audit log: what waits for the disk, in which order, and what a bad disk closes. */
#include "../gateway/world.h"
#include "actors/gateway/auditor.h"
#include "actors/gateway/gate_impl.h"
#include "log.h"

/* A disk that is slow, or fails, when told to. */
static int disk_errno, disk_slow;
static int disk(int fd) {
    while (__atomic_load_n(&disk_slow, __ATOMIC_ACQUIRE))
        poll(NULL, 0, 1);
    int e = __atomic_load_n(&disk_errno, __ATOMIC_ACQUIRE);
    errno = e;
    return e ? -1 : fdatasync(fd);
}
static void set_slow(int on) {
    __atomic_store_n(&disk_slow, on, __ATOMIC_RELEASE);
}

typedef struct audited {
    world *w;
    log_dir *d;
    vmsig_auditor *u;
    char why[256];
} audited;

static audited begin(void) {
    audited a = {.w = world_new(), .d = log_new()};
    a.d->cfg.fdatasync = disk;
    cr_assert_eq(vmsig_auditor_new(a.w->gate, &a.d->cfg, &a.u, a.why), 0, "%s", a.why);
    vmsig_auditor_look(a.u, vmsig_now_ns());
    return a;
}
static void end(audited *a) {
    set_slow(0);
    vmsig_auditor_free(a->u, 10000);
    world_free(a->w);
    a->d->a = NULL;
    log_free(a->d);
}

/* Turns until the condition holds, for at most 20 s. */
#define TURN_UNTIL(a, condition)                                                                                       \
    __extension__({                                                                                                    \
        uint64_t until = vmsig_now_ns() + 20000000000u;                                                                \
        bool met = false;                                                                                              \
        while (vmsig_auditor_look((a)->u, vmsig_now_ns()), vmsig_gate_turn((a)->w->gate),                              \
               !(met = (condition)) && vmsig_now_ns() < until)                                                         \
            poll(NULL, 0, 2);                                                                                          \
        met;                                                                                                           \
    })

static vmsig_event write_cmd(uint32_t ep, uint64_t token, uint64_t corr) {
    vmsig_memwrite m = {.addr = 0x2000, .value = corr, .size = 8};
    vmsig_event ev = {.endpoint = ep, .kind = VMSIG_CMD_MEMWRITE, .corr = corr, .dir = VMSIG_DIR_DOWN, .token = token};
    ev.inln_len = sizeof m;
    memcpy(ev.inln, &m, sizeof m);
    return ev;
}
static vmsig_event lifecycle_cmd(uint32_t ep, uint32_t op, uint64_t token, uint64_t corr) {
    vmsig_lifecycle l = {.op = op};
    vmsig_event ev = {.endpoint = ep, .kind = VMSIG_CMD_LIFECYCLE, .corr = corr, .dir = VMSIG_DIR_DOWN, .token = token};
    ev.inln_len = sizeof l;
    memcpy(ev.inln, &l, sizeof l);
    return ev;
}
static uint64_t token_of(audited *a, seen *s, uint32_t ep, uint32_t cls, uint64_t corr) {
    cr_assert_eq(world_lease(a->w, s, ep, VMSIG_LEASE_ACQUIRE, cls, 60000, corr), 0);
    cr_assert_eq(seen_status(s, corr, NULL), VMSIG_OK);
    return seen_lease(s).token;
}
static int send(seen *s, vmsig_event ev) {
    return vmsig_inproc_send(s->ctl, &ev);
}

Test(gate, power_and_memory_write_wait_until_their_intent_is_durable) {
    audited a = begin();
    seen *s = world_control(a.w, 1000, 1);
    uint64_t memwrite = token_of(&a, s, 0, VMSIG_LEASE_MEMWRITE, 1), power = token_of(&a, s, 0, VMSIG_LEASE_POWER, 2);
    set_slow(1);
    cr_assert_eq(send(s, write_cmd(0, memwrite, 10)), 0);
    cr_assert_eq(send(s, lifecycle_cmd(0, VMSIG_LIFECYCLE_RESET, power, 11)), 0);
    for (int i = 0; i < 5; i++) {
        vmsig_auditor_look(a.u, vmsig_now_ns());
        vmsig_gate_turn(a.w->gate);
    }
    cr_expect_eq(a.w->sent_n, 0, "nothing reached the context");
    cr_expect_eq(seen_status(s, 10, NULL), -1, "nor was it answered");
    set_slow(0);
    cr_expect(TURN_UNTIL(&a, a.w->sent_n == 2));
    cr_expect_eq(a.w->sent[0].kind, VMSIG_CMD_MEMWRITE);
    cr_expect_eq(a.w->sent[1].kind, VMSIG_CMD_LIFECYCLE);
    world_result(a.w, 0, a.w->sent[0].corr, VMSIG_OK);
    world_result(a.w, 0, a.w->sent[1].corr, VMSIG_OK);
    vmsig_gate_turn(a.w->gate);
    cr_expect_eq(seen_status(s, 10, NULL), VMSIG_OK);
    cr_expect_eq(seen_status(s, 11, NULL), VMSIG_OK);
    end(&a);
    free(s);
}

Test(gate, only_the_waiting_lane_waits_and_it_keeps_its_order) {
    audited a = begin();
    seen *s = world_control(a.w, 1000, 1);
    uint64_t input = token_of(&a, s, 0, VMSIG_LEASE_INPUT, 1), power = token_of(&a, s, 0, VMSIG_LEASE_POWER, 2);
    set_slow(1);
    send(s, lifecycle_cmd(0, VMSIG_LIFECYCLE_RESET, power, 10));
    send(s, lifecycle_cmd(0, VMSIG_LIFECYCLE_PAUSE, 0, 11)); /* behind it, though it waits for nothing itself */
    send(s, world_key(0, input, 12));                        /* another lane */
    send(s, lifecycle_cmd(1, VMSIG_LIFECYCLE_PAUSE, 0, 13)); /* another endpoint */
    vmsig_gate_turn(a.w->gate);
    cr_assert_eq(a.w->sent_n, 2);
    cr_expect_eq(a.w->sent[0].kind, VMSIG_CMD_INPUT);
    cr_expect_eq(a.w->sent[1].endpoint, 1);
    set_slow(0);
    cr_expect(TURN_UNTIL(&a, a.w->sent_n == 4));
    uint32_t op;
    memcpy(&op, a.w->sent[2].inln, sizeof op);
    cr_expect_eq(op, VMSIG_LIFECYCLE_RESET);
    end(&a);
    free(s);
}

Test(gate, a_release_comes_after_what_was_held_back) {
    audited a = begin();
    seen *s = world_control(a.w, 1000, 1);
    uint64_t token = token_of(&a, s, 0, VMSIG_LEASE_MEMWRITE, 1);
    set_slow(1);
    send(s, write_cmd(0, token, 10));
    errno = 0;
    cr_expect_eq(send(s, world_lease_cmd(0, VMSIG_LEASE_RELEASE, VMSIG_LEASE_MEMWRITE, 0, 11)), -1);
    cr_expect_eq(errno, EAGAIN);
    set_slow(0);
    cr_expect(TURN_UNTIL(&a, a.w->sent_n == 1));
    cr_expect_eq(send(s, world_lease_cmd(0, VMSIG_LEASE_RELEASE, VMSIG_LEASE_MEMWRITE, 0, 11)), 0);
    end(&a);
    free(s);
}

Test(gate, a_payload_is_kept_while_it_waits) {
    audited a = begin();
    seen *s = world_control(a.w, 1000, 1);
    uint64_t token = token_of(&a, s, 0, VMSIG_LEASE_MEMWRITE, 1);
    char bytes[16] = "fifteen letters";
    vmsig_event ev = write_cmd(0, token, 10);
    vmsig_memwrite m = {.addr = 0x2000, .size = sizeof bytes};
    memcpy(ev.inln, &m, sizeof m);
    ev.payload = bytes;
    ev.payload_len = sizeof bytes;
    set_slow(1);
    cr_assert_eq(send(s, ev), 0);
    memset(bytes, 0, sizeof bytes);
    for (int i = 0; i < 3; i++) /* and goes with the gate, or is sent */
        vmsig_gate_turn(a.w->gate);
    cr_expect_eq(a.w->sent_n, 0);
    set_slow(0);
    cr_expect(TURN_UNTIL(&a, a.w->sent_n == 1));
    cr_expect_eq(a.w->sent[0].payload_len, sizeof bytes);
    end(&a);
    free(s);
}

Test(gate, what_waits_too_long_is_answered_and_never_sent) {
    audited a = begin();
    seen *s = world_control(a.w, 1000, 1);
    uint64_t token = token_of(&a, s, 0, VMSIG_LEASE_MEMWRITE, 1);
    set_slow(1);
    send(s, write_cmd(0, token, 10));
    a.w->now += 11000000000u; /* the bound for any command is 10 s */
    vmsig_gate_turn(a.w->gate);
    cr_expect_eq(seen_status(s, 10, NULL), VMSIG_TIMEOUT);
    set_slow(0);
    cr_expect(TURN_UNTIL(&a, s->n > 0 && a.w->sent_n == 0));
    vmsig_auditor_look(a.u, vmsig_now_ns());
    vmsig_gate_turn(a.w->gate);
    cr_expect_eq(a.w->sent_n, 0);
    end(&a);
    free(s);
}

Test(gate, a_full_ring_delays_what_was_intended) {
    audited a = begin();
    seen *s = world_control(a.w, 1000, 1);
    uint64_t input = token_of(&a, s, 0, VMSIG_LEASE_INPUT, 1);
    a.w->command_err = -EAGAIN;
    cr_expect_eq(send(s, world_key(0, input, 10)), 0);
    cr_expect_eq(send(s, world_key(0, input, 11)), 0);
    vmsig_gate_turn(a.w->gate);
    cr_expect_eq(a.w->sent_n, 0);
    a.w->command_err = 0;
    vmsig_gate_turn(a.w->gate);
    cr_assert_eq(a.w->sent_n, 2);
    cr_expect_lt(a.w->sent[0].corr, a.w->sent[1].corr);
    end(&a);
    free(s);
}

Test(gate, a_successor_answers_what_was_held_with_unavailable) {
    audited a = begin();
    seen *s = world_control(a.w, 1000, 1);
    uint64_t token = token_of(&a, s, 0, VMSIG_LEASE_MEMWRITE, 1);
    set_slow(1);
    send(s, write_cmd(0, token, 10));
    cr_assert_eq(a.w->sent_n, 0);
    vmsig_gate *dead = a.w->gate; /* as a killed process leaves it: only the state is there */
    vmsig_commands_table *t = &((vmsig_gate_state *)a.w->mem)->commands;
    int before = 0, after = 0;
    for (uint32_t i = 0; i < VMSIG_INFLIGHT_MAX; i++)
        before += t->entry[i].state == VMSIG_INFLIGHT_INTENT;
    cr_expect_eq(before, 1);
    world_boot(a.w);
    set_slow(0);
    for (int i = 0; i < 3; i++)
        vmsig_gate_turn(a.w->gate);
    for (uint32_t i = 0; i < VMSIG_INFLIGHT_MAX; i++)
        after += t->entry[i].corr != 0 && t->entry[i].state != VMSIG_INFLIGHT_FENCE;
    cr_expect_eq(after, 0, "it is answered");
    cr_expect_eq(a.w->sent_n, 0, "and had no effect");
    vmsig_gate_free(a.w->gate);
    a.w->gate = dead;
    end(&a);
    free(s);
}

Test(gate, a_failing_disk_closes_what_needs_a_lease_and_opens_it_again) {
    audited a = begin();
    seen *s = world_control(a.w, 1000, 1);
    uint64_t input = token_of(&a, s, 0, VMSIG_LEASE_INPUT, 1), memwrite = token_of(&a, s, 0, VMSIG_LEASE_MEMWRITE, 2);
    __atomic_store_n(&disk_errno, EIO, __ATOMIC_RELEASE);
    send(s, write_cmd(0, memwrite, 10));
    cr_expect(TURN_UNTIL(&a, seen_status(s, 10, NULL) == VMSIG_UNAVAILABLE));
    cr_expect_eq(a.d->last_state, -EIO, "and it is said: %s", a.d->last_text);
    send(s, world_key(0, input, 11));
    send(s, write_cmd(0, memwrite, 12));
    send(s, lifecycle_cmd(0, VMSIG_LIFECYCLE_PAUSE, 0, 13));
    world_lease(a.w, s, 1, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 1000, 14);
    vmsig_gate_turn(a.w->gate);
    cr_expect_eq(seen_status(s, 11, NULL), VMSIG_UNAVAILABLE);
    cr_expect_eq(seen_status(s, 12, NULL), VMSIG_UNAVAILABLE);
    cr_expect_eq(seen_status(s, 14, NULL), VMSIG_UNAVAILABLE);
    cr_expect_eq(a.w->sent_n, 1, "only what needs no lease");
    cr_expect_eq(a.w->sent[0].kind, VMSIG_CMD_LIFECYCLE);
    __atomic_store_n(&disk_errno, 0, __ATOMIC_RELEASE);
    cr_expect(TURN_UNTIL(&a, a.d->last_state == 0));
    vmsig_auditor_look(a.u, vmsig_now_ns());
    send(s, world_key(0, input, 20));
    send(s, write_cmd(0, memwrite, 21));
    cr_expect(TURN_UNTIL(&a, a.w->sent_n == 3));
    end(&a);
    free(s);
}

/* ---- what is written --------------------------------------------------------------------------------------- */

typedef struct counted {
    int what[16];
    int status[16]; /* of denials */
} counted;

static void count(void *ud, const Vmsig__Pb__AuditEntry *e) {
    counted *c = ud;
    if (e->m_case != VMSIG__PB__AUDIT_ENTRY__M_FACT)
        return;
    c->what[e->fact->what]++;
    if (e->fact->what == VMSIG_AUDIT_DENIED)
        c->status[e->fact->status]++;
}

static void note_grant(void *ud, const Vmsig__Pb__AuditEntry *e) {
    Vmsig__Pb__AuditFact *f = ud;
    if (e->m_case == VMSIG__PB__AUDIT_ENTRY__M_FACT && e->fact->what == VMSIG_AUDIT_GRANT_SET)
        *f = *e->fact;
}

static void check_log(log_dir *d, void (*on_entry)(void *ud, const Vmsig__Pb__AuditEntry *e), void *ud) {
    log_bytes b = log_read(d->file[0]);
    vmsig_audit_check check = {.on_entry = on_entry, .ud = ud};
    vmsig_audit_check_segment(&check, "log", b.at, b.len);
    cr_expect_eq(vmsig_audit_check_end(&check), VMSIG_AUDIT_VALID, "%s", check.why);
    free(b.at);
}

Test(gate, a_grant_is_recorded_whole) {
    audited a = begin();
    seen *s = world_attach(a.w);
    world_grant(a.w, s, 4711, 0x8000000000000002u, VMSIG_CAP_OBSERVE | VMSIG_CAP_POWER, 77);
    vmsig_auditor_free(a.u, 10000);
    a.u = NULL;
    Vmsig__Pb__AuditFact f = VMSIG__PB__AUDIT_FACT__INIT;
    check_log(a.d, note_grant, &f);
    cr_expect_eq(f.principal, 4711u);
    cr_expect_eq(f.endpoint_mask, 0x8000000000000002u);
    cr_expect_eq(f.detail, VMSIG_CAP_OBSERVE | VMSIG_CAP_POWER);
    cr_expect_eq(f.priority, 77u);
    end(&a);
}

typedef struct storm_seen {
    uint32_t records, denials, others;
} storm_seen;

static void count_denials(void *ud, const Vmsig__Pb__AuditEntry *e) {
    storm_seen *s = ud;
    if (e->m_case != VMSIG__PB__AUDIT_ENTRY__M_FACT || e->fact->what != VMSIG_AUDIT_DENIED)
        return;
    s->records += e->fact->principal == 1000;
    s->denials += e->fact->principal == 1000 ? e->fact->count : 0;
    s->others += e->fact->principal == 2000 ? e->fact->count : 0;
}

/* All are told of, in few records; another's denial in the midst of it stands for itself. */
Test(gate, a_storm_of_denials_fills_no_disk_and_loses_no_count) {
    audited a = begin();
    seen *s = world_control(a.w, 1000, 1), *t = world_control(a.w, 2000, 1), *h = world_control(a.w, 3000, 1);
    token_of(&a, h, 0, VMSIG_LEASE_INPUT, 1);
    for (uint64_t i = 1; i <= 5000; i++) {
        if (i % 2)
            send(s, world_key(0, 0, i));
        else
            world_lease(a.w, s, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 0, i);
        if (i == 2500)
            send(t, world_key(0, 0, 1));
    }
    cr_expect_neq(vmsig_auditor_look(a.u, vmsig_now_ns()), 0, "it is to be looked at when the second is over");
    vmsig_auditor_look(a.u, vmsig_now_ns() + VMSIG_AUDITOR_STORM_NS);
    vmsig_auditor_free(a.u, 10000);
    a.u = NULL;
    storm_seen c = {0};
    check_log(a.d, count_denials, &c);
    cr_expect_eq(c.denials, 5000u);
    cr_expect_lt(c.records, 1000u);
    cr_expect_eq(c.others, 1u);
    end(&a);
}

Test(gate, everything_that_matters_is_in_the_log) {
    audited a = begin();
    seen *s = world_control(a.w, 1000, 1), *t = world_control(a.w, 2000, 1), *u = world_control(a.w, 3000, 9);
    uint64_t input = token_of(&a, s, 0, VMSIG_LEASE_INPUT, 1);
    world_lease(a.w, t, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 1000, 1); /* denied: held */
    send(s, world_key(0, input, 2));
    world_result(a.w, 0, a.w->sent[0].corr, VMSIG_OK);
    send(t, world_key(0, 0, 2));                                             /* denied: no lease */
    world_lease(a.w, u, 0, VMSIG_LEASE_ACQUIRE, VMSIG_LEASE_INPUT, 1000, 1); /* preempts */
    world_quiet(a.w, VMSIG_OK);
    world_lease(a.w, u, 0, VMSIG_LEASE_RELEASE, VMSIG_LEASE_INPUT, 0, 2);
    world_quiet(a.w, VMSIG_OK);
    a.w->epoch[1]++;
    vmsig_gate_turn(a.w->gate);
    vmsig_gate_detach(a.w->gate, t->id, true);
    vmsig_gate_turn(a.w->gate);
    vmsig_auditor_free(a.u, 10000);
    a.u = NULL;
    counted c = {0};
    log_bytes b = log_read(a.d->file[0]);
    vmsig_audit_check check = {.on_entry = count, .ud = &c};
    vmsig_audit_check_segment(&check, "log", b.at, b.len);
    cr_expect_eq(vmsig_audit_check_end(&check), VMSIG_AUDIT_VALID, "%s", check.why);
    cr_expect_eq(c.what[VMSIG_AUDIT_GRANTED], 2);
    cr_expect_eq(c.what[VMSIG_AUDIT_DENIED], 2);
    cr_expect_eq(c.status[VMSIG_NOLEASE], 1);
    cr_expect_eq(c.what[VMSIG_AUDIT_PREEMPTED], 1);
    cr_expect_eq(c.what[VMSIG_AUDIT_REVOKED], 1);
    cr_expect_eq(c.what[VMSIG_AUDIT_RELEASED], 1);
    cr_expect_eq(c.what[VMSIG_AUDIT_EPOCH], 1);
    cr_expect_eq(c.what[VMSIG_AUDIT_INTENT], 1);
    cr_expect_geq(c.what[VMSIG_AUDIT_RESULT], 4);
    cr_expect_eq(c.what[VMSIG_AUDIT_ATTACHED], 3);
    cr_expect_eq(c.what[VMSIG_AUDIT_DETACHED], 1);
    cr_expect_eq(c.what[VMSIG_AUDIT_GRANT_SET], 3);
    free(b.at);
    end(&a);
    free(s);
    free(t);
    free(u);
}
