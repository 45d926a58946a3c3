/* The lease table by itself: each state x event, on a clock that is only a number. */
#include <criterion/criterion.h>

#include "actors/gateway/lease.h"

typedef struct row {
    uint32_t state;
    vmsig_slot_event event;
    uint64_t session; /* whose event; 1 = the holder's, 2 = the next one's, 3 = a third one's */
    uint64_t now;     /* HELD: expires at 100 */
    vmsig_arb_decision decision;
    bool queue;
    bool has_next; /* FENCING: 2 is next */
    /* expected */
    uint32_t becomes;
    const char *told; /* G granted, R renewed, D denied, Q queued, N next, = result, X revoked; in order */
    int32_t status;   /* of the last D or = */
    bool line;
} row;

#define FREE    VMSIG_SLOT_FREE
#define HELD    VMSIG_SLOT_HELD
#define FENCING VMSIG_SLOT_FENCING
#define CLOSED  VMSIG_SLOT_CLOSED

/* clang-format off */
static const row rows[] = {
    /* state  event               who now  decision           queue  next   becomes  told  status              line */
    {FREE,    VMSIG_SLOT_ACQUIRE, 3,  50,  VMSIG_ARB_DENY,    false, false, HELD,    "G",  0,                  false},
    {FREE,    VMSIG_SLOT_RENEW,   3,  50,  VMSIG_ARB_DENY,    false, false, FREE,    "=",  VMSIG_NOLEASE,      false},
    {FREE,    VMSIG_SLOT_RELEASE, 3,  50,  VMSIG_ARB_DENY,    false, false, FREE,    "=",  VMSIG_NOLEASE,      false},
    {FREE,    VMSIG_SLOT_GONE,    3,  50,  VMSIG_ARB_DENY,    false, false, FREE,    "",   0,                  false},
    {FREE,    VMSIG_SLOT_EXPIRED, 3,  500, VMSIG_ARB_DENY,    false, false, FREE,    "",   0,                  false},
    {FREE,    VMSIG_SLOT_EPOCH,   0,  50,  VMSIG_ARB_DENY,    false, false, FREE,    "",   0,                  true },
    {FREE,    VMSIG_SLOT_QUIET,   0,  50,  VMSIG_ARB_DENY,    false, false, FREE,    "",   0,                  false},
    {FREE,    VMSIG_SLOT_UNQUIET, 0,  50,  VMSIG_ARB_DENY,    false, false, FREE,    "",   0,                  false},

    {HELD,    VMSIG_SLOT_ACQUIRE, 1,  50,  VMSIG_ARB_DENY,    false, false, HELD,    "G",  0,                  false},
    {HELD,    VMSIG_SLOT_ACQUIRE, 3,  50,  VMSIG_ARB_DENY,    false, false, HELD,    "D",  VMSIG_HELD,         false},
    {HELD,    VMSIG_SLOT_ACQUIRE, 3,  50,  VMSIG_ARB_DENY,    true,  false, HELD,    "Q",  0,                  false},
    {HELD,    VMSIG_SLOT_ACQUIRE, 3,  50,  VMSIG_ARB_QUEUE,   false, false, HELD,    "Q",  0,                  false},
    {HELD,    VMSIG_SLOT_ACQUIRE, 3,  50,  VMSIG_ARB_PREEMPT, false, false, FENCING, "XN", 0,                  true },
    {HELD,    VMSIG_SLOT_RENEW,   1,  99,  VMSIG_ARB_DENY,    false, false, HELD,    "R",  0,                  false},
    {HELD,    VMSIG_SLOT_RENEW,   1,  100, VMSIG_ARB_DENY,    false, false, HELD,    "=",  VMSIG_NOLEASE,      false},
    {HELD,    VMSIG_SLOT_RENEW,   1,  101, VMSIG_ARB_DENY,    false, false, HELD,    "=",  VMSIG_NOLEASE,      false},
    {HELD,    VMSIG_SLOT_RENEW,   3,  50,  VMSIG_ARB_DENY,    false, false, HELD,    "=",  VMSIG_NOLEASE,      false},
    {HELD,    VMSIG_SLOT_RELEASE, 1,  50,  VMSIG_ARB_DENY,    false, false, FENCING, "=",  VMSIG_OK,           true },
    {HELD,    VMSIG_SLOT_RELEASE, 3,  50,  VMSIG_ARB_DENY,    false, false, HELD,    "=",  VMSIG_NOLEASE,      false},
    {HELD,    VMSIG_SLOT_GONE,    1,  50,  VMSIG_ARB_DENY,    false, false, FENCING, "X",  0,                  true },
    {HELD,    VMSIG_SLOT_GONE,    3,  50,  VMSIG_ARB_DENY,    false, false, HELD,    "",   0,                  false},
    {HELD,    VMSIG_SLOT_EXPIRED, 0,  99,  VMSIG_ARB_DENY,    false, false, HELD,    "",   0,                  false},
    {HELD,    VMSIG_SLOT_EXPIRED, 0,  100, VMSIG_ARB_DENY,    false, false, FENCING, "X",  0,                  true },
    {HELD,    VMSIG_SLOT_EPOCH,   0,  50,  VMSIG_ARB_DENY,    false, false, FREE,    "X",  0,                  true },
    {HELD,    VMSIG_SLOT_QUIET,   0,  50,  VMSIG_ARB_DENY,    false, false, HELD,    "",   0,                  false},
    {HELD,    VMSIG_SLOT_UNQUIET, 0,  50,  VMSIG_ARB_DENY,    false, false, HELD,    "",   0,                  false},

    {FENCING, VMSIG_SLOT_ACQUIRE, 3,  50,  VMSIG_ARB_DENY,    false, false, FENCING, "N",  0,                  false},
    {FENCING, VMSIG_SLOT_ACQUIRE, 3,  50,  VMSIG_ARB_DENY,    false, true,  FENCING, "D",  VMSIG_HELD,         false},
    {FENCING, VMSIG_SLOT_ACQUIRE, 3,  50,  VMSIG_ARB_DENY,    true,  true,  FENCING, "Q",  0,                  false},
    {FENCING, VMSIG_SLOT_RENEW,   1,  50,  VMSIG_ARB_DENY,    false, true,  FENCING, "=",  VMSIG_NOLEASE,      false},
    {FENCING, VMSIG_SLOT_RELEASE, 1,  50,  VMSIG_ARB_DENY,    false, true,  FENCING, "=",  VMSIG_NOLEASE,      false},
    {FENCING, VMSIG_SLOT_GONE,    2,  50,  VMSIG_ARB_DENY,    false, true,  FENCING, "=",  VMSIG_DROPPED,      true },
    {FENCING, VMSIG_SLOT_GONE,    3,  50,  VMSIG_ARB_DENY,    false, true,  FENCING, "",   0,                  false},
    {FENCING, VMSIG_SLOT_EXPIRED, 0,  500, VMSIG_ARB_DENY,    false, true,  FENCING, "",   0,                  false},
    {FENCING, VMSIG_SLOT_EPOCH,   0,  50,  VMSIG_ARB_DENY,    false, true,  FREE,    "D",  VMSIG_FENCED,       true },
    {FENCING, VMSIG_SLOT_EPOCH,   0,  50,  VMSIG_ARB_DENY,    false, false, FREE,    "",   0,                  true },
    {FENCING, VMSIG_SLOT_QUIET,   0,  50,  VMSIG_ARB_DENY,    false, true,  HELD,    "G",  0,                  false},
    {FENCING, VMSIG_SLOT_QUIET,   0,  50,  VMSIG_ARB_DENY,    false, false, FREE,    "",   0,                  true },
    {FENCING, VMSIG_SLOT_UNQUIET, 0,  50,  VMSIG_ARB_DENY,    false, true,  CLOSED,  "D",  VMSIG_UNAVAILABLE,  true },
    {FENCING, VMSIG_SLOT_UNQUIET, 0,  50,  VMSIG_ARB_DENY,    false, false, CLOSED,  "",   0,                  true },

    {CLOSED,  VMSIG_SLOT_ACQUIRE, 3,  50,  VMSIG_ARB_PREEMPT, true,  false, CLOSED,  "D",  VMSIG_UNAVAILABLE,  false},
    {CLOSED,  VMSIG_SLOT_RENEW,   1,  50,  VMSIG_ARB_DENY,    false, false, CLOSED,  "=",  VMSIG_NOLEASE,      false},
    {CLOSED,  VMSIG_SLOT_RELEASE, 1,  50,  VMSIG_ARB_DENY,    false, false, CLOSED,  "=",  VMSIG_NOLEASE,      false},
    {CLOSED,  VMSIG_SLOT_GONE,    1,  50,  VMSIG_ARB_DENY,    false, false, CLOSED,  "",   0,                  false},
    {CLOSED,  VMSIG_SLOT_EXPIRED, 0,  500, VMSIG_ARB_DENY,    false, false, CLOSED,  "",   0,                  false},
    {CLOSED,  VMSIG_SLOT_EPOCH,   0,  50,  VMSIG_ARB_DENY,    false, false, FREE,    "",   0,                  true },
    {CLOSED,  VMSIG_SLOT_QUIET,   0,  50,  VMSIG_ARB_DENY,    false, false, FREE,    "",   0,                  true },
    {CLOSED,  VMSIG_SLOT_UNQUIET, 0,  50,  VMSIG_ARB_DENY,    false, false, CLOSED,  "",   0,                  false},
};
/* clang-format on */

static vmsig_lease_slot slot_of(const row *r) {
    vmsig_lease_slot s = {.state = r->state, .token = 10};
    if (r->state == HELD) {
        s.session = 1;
        s.principal = 100;
        s.ttl_ns = 60;
        s.expires_ns = 100;
    }
    if (r->has_next) {
        s.next_corr = 7;
        s.next_session = 2;
        s.next_principal = 200;
        s.next_ttl_ns = 40;
    }
    return s;
}

Test(table, each_state_and_event) {
    static const char letters[] = "?GRDQN=X";
    bool covered[VMSIG_SLOT_STATES][VMSIG_SLOT_EVENTS] = {{false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const row *r = &rows[i];
        vmsig_lease_slot s = slot_of(r);
        uint64_t next_token = 11, before = s.token;
        vmsig_slot_in in = {.now_ns = r->now,
                            .session = r->session,
                            .principal = (uint32_t)r->session * 100,
                            .ttl_ns = 60,
                            .quiet_ns = 5,
                            .corr = 9,
                            .decision = r->decision,
                            .queue = r->queue};
        vmsig_slot_out out;
        vmsig_lease_step(&s, r->event, &in, &next_token, &out);
        covered[r->state][r->event] = true;
        char told[4] = "";
        for (int k = 0; k < out.n; k++)
            told[k] = letters[out.told[k].say];
        cr_expect_eq(s.state, r->becomes, "row %zu: becomes %s", i, vmsig_slot_state_name(s.state));
        cr_expect_str_eq(told, r->told, "row %zu", i);
        cr_expect_eq(out.line, r->line, "row %zu", i);
        for (int k = 0; k < out.n; k++)
            if (out.told[k].say == VMSIG_SAY_DENIED || out.told[k].say == VMSIG_SAY_RESULT)
                cr_expect_eq(out.told[k].status, r->status, "row %zu: status %d", i, out.told[k].status);
        /* A token never goes back, and a new holder or a raised fence has a new one. */
        cr_expect_geq(s.token, before, "row %zu", i);
        if (r->becomes != r->state && r->becomes != FREE && r->becomes != CLOSED)
            cr_expect_gt(s.token, before, "row %zu", i);
        if (s.state == FENCING && r->state != FENCING)
            cr_expect_eq(s.bound_ns, r->now + 5, "row %zu", i);
        if (s.state == HELD && strchr(told, 'G'))
            cr_expect_eq(s.expires_ns, r->now + (r->state == FENCING ? 40 : 60), "row %zu", i);
    }
    for (int st = 0; st < VMSIG_SLOT_STATES; st++)
        for (int ev = 0; ev < VMSIG_SLOT_EVENTS; ev++)
            cr_expect(covered[st][ev], "%s x %d has no row", vmsig_slot_state_name((uint32_t)st), ev);
}

Test(table, the_default_arbitration) {
    vmsig_grant low = {.priority = 1}, high = {.priority = 2};
    cr_expect_eq(vmsig_arb_default(NULL, 0, 0, &low, &high), VMSIG_ARB_PREEMPT);
    cr_expect_eq(vmsig_arb_default(NULL, 0, 0, &low, &low), VMSIG_ARB_DENY);
    cr_expect_eq(vmsig_arb_default(NULL, 0, 0, &high, &low), VMSIG_ARB_DENY);
}
