/* vmsig_actor.h: a program on the bus, from boot to stop. */
#include <sys/prctl.h>

#include "tests/runtime/kit.h"

#define MS UINT64_C(1000000)

/* ---- the actors --------------------------------------------------------------------------------------- */

static int finish(vmsig_actor *a) {
    int code = a ? vmsig_actor_run(a) : 1;
    vmsig_actor_free(a);
    return code;
}

static void tick(vmsig_actor *a, void *ud) {
    uint64_t *n = ud;
    vmsig_actor_emit_bytes(a, VMSIG_EV_SENSOR_FIRST, n, sizeof(*n));
    ++*n;
}

static int ticker(void *ud) {
    (void)ud;
    uint64_t n = 0;
    vmsig_actor *a = vmsig_actor_open();
    if (a)
        vmsig_actor_every(a, 2 * MS, tick, &n);
    return finish(a);
}

static int silent(void *ud) {
    (void)ud;
    return finish(vmsig_actor_open());
}

/* Sends back what comes, payload and all, with the epoch it sees. */
static void echo(vmsig_actor *a, const vmsig_event *ev, void *ud) {
    (void)ud;
    vmsig_event out = *ev;
    out.dir = VMSIG_DIR_UP;
    if (out.kind != VMSIG_EV_LOST)
        out.kind = VMSIG_EV_SENSOR_FIRST;
    out.endpoint = out.epoch = out.merged = out.source = 0;
    out.ts_ns = 0;
    out.corr = out.token = 0;
    vmsig_actor_emit(a, &out);
}

static int echoer(void *ud) {
    (void)ud;
    vmsig_actor *a = vmsig_actor_open();
    if (a)
        vmsig_actor_on_event(a, echo, NULL);
    return finish(a);
}

static int teller_of_dumpable(void *ud) {
    (void)ud;
    vmsig_actor *a = vmsig_actor_open();
    uint64_t dumpable = (uint64_t)prctl(PR_GET_DUMPABLE);
    if (a)
        vmsig_actor_emit_bytes(a, VMSIG_EV_SENSOR_FIRST, &dumpable, sizeof(dumpable));
    return finish(a);
}

/* Emits ten times the ring, then goes on by timer; says how many emits were refused. */
static void burst(vmsig_actor *a, void *ud) {
    uint64_t *refused = ud;
    if (*refused != UINT64_MAX)
        return;
    *refused = 0;
    for (uint64_t i = 0; i < KIT_SLOTS + 5; i++)
        if (vmsig_actor_emit_bytes(a, VMSIG_EV_SENSOR_FIRST, &i, sizeof(i)) < 0 && errno == EAGAIN)
            ++*refused;
}

static int burster(void *ud) {
    (void)ud;
    uint64_t refused = UINT64_MAX;
    vmsig_actor *a = vmsig_actor_open();
    if (a)
        vmsig_actor_every(a, MS, burst, &refused);
    finish(a);
    return (int)refused;
}

static int misuser(void *ud) {
    (void)ud;
    vmsig_actor *a = vmsig_actor_open();
    if (!a)
        return 1;
    vmsig_event wrong = {.kind = 64, .endpoint = VMSIG_ENDPOINTS_MAX};
    bool ok = vmsig_actor_emit_bytes(a, 63, "", 0) < 0 && errno == EINVAL;
    ok = ok && vmsig_actor_emit_bytes(a, 64, "", VMSIG_INLINE_MAX + 1) < 0 && errno == EINVAL;
    ok = ok && vmsig_actor_emit(a, &wrong) < 0 && errno == EINVAL;
    ok = ok && vmsig_actor_every(a, 0, tick, NULL) < 0 && errno == EINVAL;
    ok = ok && vmsig_actor_watch(a, -1, tick, NULL) < 0 && errno == EBADF;
    ok = ok && vmsig_actor_unwatch(a, 0) < 0 && errno == ENOENT;
    vmsig_actor_stop(a, ok ? 42 : 2);
    return finish(a);
}

/* ---- boot --------------------------------------------------------------------------------------------- */

Test(actor, boots_says_ready_and_stops_when_told) {
    kit_actor a = kit_sensor();
    kit_link out = kit_new_link(1, VMSIG_DIR_UP);
    kit_start_producer(&a, &out, silent, NULL, NULL);
    cr_expect_eq(out.base, 0);
    kit_stop(&a);
}

Test(actor, another_layout_is_refused_with_both_numbers) {
    kit_actor a = kit_sensor();
    a.layout = VMSIG_LAYOUT + 1;
    kit_fork(&a, silent, NULL, NULL);
    kit_send_boot(&a);
    kit_expect_failed(&a, "event layout 3 and this program 2");
    cr_expect_eq(WEXITSTATUS(kit_wait_exit(&a)), 1);
}

Test(actor, without_a_supervisor_it_says_so) {
    int err[2];
    cr_assert_eq(pipe(err), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(err[1], STDERR_FILENO);
        close(VMSIG_BOOT_FD);
        vmsig_rt_ops none = {0};
        _exit(vmsig_rt_main(&none, NULL));
    }
    int status;
    waitpid(pid, &status, 0);
    char text[512] = "";
    cr_assert_gt(read(err[0], text, sizeof(text) - 1), 0);
    cr_expect_eq(WEXITSTATUS(status), 64);
    cr_expect(strstr(text, "vmsig up"), "%s", text);
}

#ifndef __SANITIZE_ADDRESS__ /* its leak check must look */
Test(actor, nobody_may_look_into_it) {
    kit_actor a = kit_sensor();
    kit_link out = kit_new_link(1, VMSIG_DIR_UP);
    kit_start_producer(&a, &out, teller_of_dumpable, NULL, NULL);
    kit_expect_u64(&out, 0);
    kit_stop(&a);
}
#endif

Test(actor, signals_of_the_terminal_do_not_stop_it) {
    kit_actor a = kit_sensor();
    kit_link out = kit_new_link(1, VMSIG_DIR_UP);
    kit_start_producer(&a, &out, ticker, NULL, NULL);
    kit_expect_u64(&out, 0);
    kill(a.pid, SIGINT);
    kill(a.pid, SIGTERM);
    kill(a.pid, SIGHUP);
    for (uint64_t i = 1; i < 5; i++)
        kit_expect_u64(&out, i);
    kit_stop(&a);
}

Test(actor, stops_when_supervisor_and_keeper_are_gone) {
    kit_actor a = kit_sensor();
    kit_link out = kit_new_link(1, VMSIG_DIR_UP);
    kit_start_producer(&a, &out, ticker, NULL, NULL);
    kit_expect_u64(&out, 0);
    close(a.sock);
    cr_expect_eq(kit_wait_exit(&a), 0);
}

Test(actor, answers_a_probe) {
    kit_actor a = kit_sensor();
    kit_link out = kit_new_link(1, VMSIG_DIR_UP);
    kit_start_producer(&a, &out, silent, NULL, NULL);
    Vmsig__Pb__Probe probe = VMSIG__PB__PROBE__INIT;
    probe.cookie = 77;
    kit_send(&a, VMSIG__PB__TO_ACTOR__M_PROBE, &probe, NULL, 0);
    Vmsig__Pb__FromActor *m = kit_expect(&a, VMSIG__PB__FROM_ACTOR__M_PROBE);
    cr_expect_eq(m->probe->cookie, 77);
    kit_free(m);
    kit_stop(&a);
}

/* ---- events ------------------------------------------------------------------------------------------- */

Test(actor, fills_in_who_when_and_in_which_epoch) {
    kit_actor a = kit_sensor();
    kit_link out = kit_new_link(1, VMSIG_DIR_UP);
    int board, epoch;
    kit_board(&board);
    kit_epoch(&epoch);
    kit_fork(&a, ticker, NULL, NULL);
    kit_send_boot(&a);
    kit_send_page(&a, VMSIG__PB__PAGE_KIND__PAGE_BOARD, false, board);
    kit_send_page(&a, VMSIG__PB__PAGE_KIND__PAGE_EPOCH, false, epoch);
    kit_consume(&out);
    kit_output(&a, &out);
    kit_peer(&a, &out, true);
    kit_take_ring(&out);
    kit_go(&a);
    vmsig_event ev;
    uint64_t before = vmsig_now_ns() - KIT_MS * MS;
    cr_assert_eq(kit_next(&out, &ev), 1);
    cr_expect_eq(ev.endpoint, KIT_EP);
    cr_expect_eq(ev.source, KIT_SOURCE);
    cr_expect_eq(ev.kind, VMSIG_EV_SENSOR_FIRST);
    cr_expect_eq(ev.epoch, KIT_EPOCH);
    cr_expect_eq(ev.merged, 1);
    cr_expect(ev.ts_ns > before && ev.ts_ns <= vmsig_now_ns());
    kit_stop(&a);
}

Test(actor, wrong_calls_are_refused) {
    kit_actor a = kit_sensor();
    kit_link out = kit_new_link(1, VMSIG_DIR_UP);
    kit_start_producer(&a, &out, misuser, NULL, NULL);
    cr_expect_eq(WEXITSTATUS(kit_wait_exit(&a)), 42);
}

/* The test produces on `in`, the echoer sends back on `out`. */
static void start_echo(kit_actor *a, kit_link *in, kit_link *out) {
    *in = kit_new_link(1, VMSIG_DIR_DOWN);
    *out = kit_new_link(2, VMSIG_DIR_UP);
    kit_fork(a, echoer, NULL, NULL);
    kit_send_boot(a);
    kit_consume(out);
    kit_output(a, out);
    cr_expect_eq(kit_input(a, in), 0);
    kit_produce(in);
    kit_take_reader(in);
    kit_peer(a, out, true);
    kit_peer(a, in, false);
    kit_take_ring(out);
    kit_go(a);
}

Test(actor, receives_in_every_poll_mode) {
    const Vmsig__Pb__PollMode modes[] = {VMSIG__PB__POLL_MODE__POLL_BLOCK, VMSIG__PB__POLL_MODE__POLL_ADAPTIVE,
                                         VMSIG__PB__POLL_MODE__POLL_SPIN};
    for (int i = 0; i < 3; i++) {
        kit_actor a = kit_sensor();
        a.poll = modes[i];
        kit_link in, out;
        start_echo(&a, &in, &out);
        for (uint64_t n = 0; n < 200; n += 4) { /* now one, now several at once */
            kit_put_u64(&in, n);
            kit_expect_u64(&out, n);
            for (uint64_t k = n + 1; k < n + 4; k++)
                kit_put_u64(&in, k);
            for (uint64_t k = n + 1; k < n + 4; k++)
                kit_expect_u64(&out, k);
        }
        kit_stop(&a);
    }
}

Test(actor, carries_payloads) {
    kit_actor a = kit_sensor();
    kit_link in, out;
    start_echo(&a, &in, &out);
    for (uint32_t len = 1; len < 20000; len = len * 3 + 1) {
        vmsig_event ev = kit_event(VMSIG_EV_SENSOR_FIRST, len), got;
        ev.payload = malloc(len);
        ev.payload_len = len;
        memset(ev.payload, (int)(len & 0xff), len);
        kit_put(&in, &ev);
        cr_assert_eq(kit_next(&out, &got), 1);
        cr_assert_eq(got.payload_len, len);
        cr_expect_arr_eq(got.payload, ev.payload, len);
        free(got.payload);
        free(ev.payload);
    }
    kit_stop(&a);
}

Test(actor, news_of_a_loss_stay_the_bus_s) {
    kit_actor a = kit_sensor();
    kit_link in, out;
    start_echo(&a, &in, &out);
    vmsig_event ev = kit_event(VMSIG_EV_LOST, 5), got;
    ev.source = VMSIG_SRC_SEAM;
    kit_put(&in, &ev);
    cr_assert_eq(kit_next(&out, &got), 1);
    cr_expect_eq(got.kind, VMSIG_EV_LOST);
    cr_expect_eq(got.source, VMSIG_SRC_SEAM);
    kit_stop(&a);
}

/* ---- a full ring -------------------------------------------------------------------------------------- */

Test(actor, what_finds_no_room_in_time_is_told_as_lost_in_its_place) {
    kit_actor a = kit_sensor();
    a.emit_deadline_ms = 20;
    kit_link out = kit_new_link(1, VMSIG_DIR_UP);
    kit_start_producer(&a, &out, burster, NULL, NULL);
    poll(NULL, 0, 300); /* long enough for five deadlines to pass; a longer wait changes nothing */
    uint64_t next = 0, lost = 0;
    vmsig_event ev;
    while (next + lost < KIT_SLOTS + 5) {
        cr_assert_eq(kit_next(&out, &ev), 1);
        if (ev.kind == VMSIG_EV_LOST) {
            vmsig_lost body;
            memcpy(&body, ev.inln, sizeof(body));
            cr_expect_eq(ev.source, VMSIG_SRC_SEAM);
            cr_expect_eq(ev.endpoint, KIT_EP);
            cr_expect_eq(body.source, KIT_SOURCE);
            cr_expect_eq(body.why, VMSIG_LOST_DEADLINE);
            lost += body.count;
        } else {
            cr_expect_eq(kit_u64(&ev), next + lost);
            next++;
        }
    }
    cr_expect_geq(lost, 1);
    kit_send_stop(&a, KIT_MS);
    cr_expect_eq((uint64_t)WEXITSTATUS(kit_wait_exit(&a)), lost);
}

Test(actor, waits_for_room_until_there_is_some) {
    kit_actor a = kit_sensor();
    a.emit_deadline_ms = KIT_MS;
    kit_link out = kit_new_link(1, VMSIG_DIR_UP);
    kit_start_producer(&a, &out, burster, NULL, NULL);
    struct pollfd full = {.fd = -1};
    poll(&full, 1, 50);
    for (uint64_t i = 0; i < KIT_SLOTS + 5; i++)
        kit_expect_u64(&out, i);
    kit_send_stop(&a, KIT_MS);
    cr_expect_eq(WEXITSTATUS(kit_wait_exit(&a)), 0);
}
