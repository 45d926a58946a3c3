/* The runtime's own face (runtime.h): an actor that passes events on and may be killed at any instruction; links that
 * come, are renewed and go while it runs; waiting without waking.
 */
#include "tests/runtime/kit.h"

#define MS UINT64_C(1000000)

/* ---- a relay in small: every output bears the position of the input it came from ----------------------- */

typedef struct relay {
    vmsig_rt *rt;
    vmsig_link *out;
    uint64_t resumed_at; /* where the predecessor's last output says that reading goes on */
    bool slow_stop;
    unsigned dies_in; /* events: then it is killed between publishing and the turn's end */
} relay;

typedef struct relay_args {
    bool slow_stop;
    unsigned dies_in;
} relay_args;

static int relay_boot(void *self, vmsig_rt *rt) {
    ((relay *)self)->rt = rt;
    return 0;
}

static void relay_resume(void *self, vmsig_link *link, uint64_t *cursor) {
    relay *r = self;
    if (!link->output)
        *cursor = r->resumed_at > *cursor ? r->resumed_at : *cursor;
    else if (link->old.n)
        r->resumed_at = vmsig_origin_position(link->old.last.s[0].origin) + link->old.n;
}

static int relay_added(void *self, vmsig_link *link) {
    if (link->output)
        ((relay *)self)->out = link;
    return 0;
}

static unsigned relay_consume(void *self, vmsig_link *in, unsigned budget) {
    relay *r = self;
    unsigned n = 0;
    for (; n < budget && vmsig_ring_peek(&in->in); n++) {
        vmsig_image img;
        uint32_t slots = vmsig_ring_copy(&in->in, &img);
        img.s[0].origin = vmsig_origin(in->id, in->in.cursor);
        if (vmsig_ring_put(&r->out->out, &img, slots) == -EAGAIN) {
            vmsig_rt_want_room(r->rt, r->out, slots);
            break;
        }
        if (r->dies_in && --r->dies_in == 0)
            kill(getpid(), SIGKILL);
        vmsig_ring_advance(&in->in);
    }
    return n;
}

static void relay_stop(void *self, uint64_t deadline_ns) {
    (void)deadline_ns;
    relay *r = self;
    if (!r->slow_stop)
        vmsig_rt_stopped(r->rt);
}

static const vmsig_rt_ops relay_ops = {.boot = relay_boot,
                                       .resume = relay_resume,
                                       .link_added = relay_added,
                                       .consume = relay_consume,
                                       .stop = relay_stop};

static int relay_main(void *ud) {
    relay r = {0};
    if (ud) {
        r.slow_stop = ((relay_args *)ud)->slow_stop;
        r.dies_in = ((relay_args *)ud)->dies_in;
    }
    return vmsig_rt_main(&relay_ops, &r);
}

/* Boots the relay: the first time with rings of the test's own, then as a successor. */
static void start_relay(kit_actor *a, kit_link *in, kit_link *out, void *ud) {
    kit_fork(a, relay_main, ud, NULL);
    kit_send_boot(a);
    if (out->ring < 0)
        kit_consume(out);
    kit_output(a, out);
    kit_input(a, in);
    if (in->ring < 0)
        kit_produce(in);
    kit_take_reader(in);
    kit_peer(a, out, true);
    kit_peer(a, in, false);
    kit_take_ring(out);
    kit_go(a);
}

static void new_relay(kit_actor *a, kit_link *in, kit_link *out) {
    *a = kit_sensor();
    a->kind = VMSIG__PB__ACTOR_KIND__KIND_ACTOR;
    *in = kit_new_link(1, VMSIG_DIR_UP);
    *out = kit_new_link(2, VMSIG_DIR_UP);
    start_relay(a, in, out, NULL);
}

/* Moves what can be moved without waiting: fills the input, empties the output, checks that nothing is missing. */
static void shuffle(kit_link *in, kit_link *out, uint64_t *put, uint64_t *got) {
    vmsig_event ev = kit_event(VMSIG_EV_SENSOR_FIRST, *put);
    while (vmsig_ring_put_event(&in->out, &ev) == 0) {
        ++*put;
        memcpy(ev.inln, put, sizeof(*put));
    }
    kit_ring_if_asleep(in);
    while (vmsig_ring_peek(&out->in)) {
        cr_assert_eq(vmsig_ring_get_event(&out->in, &ev), 0);
        cr_assert_eq(kit_u64(&ev), *got, "%llu came instead of %llu", (unsigned long long)kit_u64(&ev),
                     (unsigned long long)*got);
        ++*got;
        vmsig_ring_advance(&out->in);
    }
    if (vmsig_ring_release(&out->in))
        vmsig_bell_ring(out->room_bell);
}

Test(relay, killed_in_mid_stream_nothing_is_lost_doubled_or_out_of_order) {
    kit_actor a;
    kit_link in, out;
    new_relay(&a, &in, &out);
    uint64_t put = 0, got = 0;
    for (unsigned life = 0; life < 30; life++) {
        uint64_t until = got + 50 + life * 37;
        while (got < until)
            shuffle(&in, &out, &put, &got);
        kit_kill(&a);
        close(a.sock);
        vmsig_bell_ring(in.data_bell);
        vmsig_bell_ring(out.data_bell);
        start_relay(&a, &in, &out, NULL);
    }
    while (got < put)
        shuffle(&in, &out, &put, &got);
    cr_expect_geq(got, 30 * 50);
    kit_stop(&a);
}

Test(relay, killed_between_publishing_and_the_cursor_it_goes_on_behind_what_it_published) {
    kit_actor a = kit_sensor();
    kit_link in = kit_new_link(1, VMSIG_DIR_UP), out = kit_new_link(2, VMSIG_DIR_UP);
    uint64_t put = 0, got = 0;
    for (unsigned life = 1; life <= 12; life++) {
        relay_args args = {.dies_in = life};
        start_relay(&a, &in, &out, &args);
        while (put < got + life)
            kit_put_u64(&in, put++);
        waitpid(a.pid, NULL, 0);
        close(a.sock);
        vmsig_bell_ring(in.data_bell);
        vmsig_bell_ring(out.data_bell);
        while (got < put)
            kit_expect_u64(&out, got++);
    }
    start_relay(&a, &in, &out, NULL);
    kit_put_u64(&in, put);
    kit_expect_u64(&out, put);
    kit_stop(&a);
}

/* ---- renewed peers ------------------------------------------------------------------------------------ */

/* A new incarnation of the producer that the test plays; it begins at `base`. */
static void renew_producer(kit_link *l, uint64_t base) {
    vmsig_ring_out_close(&l->out);
    kit_new_ring(l);
    cr_assert_eq(vmsig_ring_out_create(&l->out, l->ring, l->id, l->out_gen, l->slots, KIT_ARENA, base, 1u << 20), 0);
    cr_assert_eq(vmsig_shm_seal(l->ring), 0);
    kit_take_reader(l);
}

Test(relay, drains_a_former_producer_before_it_turns_to_the_new_one) {
    kit_actor a;
    kit_link in, out;
    new_relay(&a, &in, &out);
    uint64_t n = 0, seen = 0;
    for (int life = 0; life < 12; life++) { /* more than a chain holds, and some that publish nothing */
        for (int i = 0; i < life % 3; i++)
            kit_put_u64(&in, n++);
        uint64_t tail = in.out.tail;
        kill(a.pid, life == 5 ? SIGSTOP : SIGCONT); /* so that rings pile up */
        renew_producer(&in, tail);
        kit_peer(&a, &in, false);
    }
    kill(a.pid, SIGCONT);
    kit_put_u64(&in, n++);
    while (seen < n)
        kit_expect_u64(&out, seen++);
    kit_stop(&a);
}

Test(relay, goes_on_with_a_new_consumer) {
    kit_actor a;
    kit_link in, out;
    new_relay(&a, &in, &out);
    for (uint64_t n = 0; n < 3 * KIT_SLOTS; n++) {
        kit_put_u64(&in, n);
        kit_expect_u64(&out, n);
    }
    vmsig_ring_in_close(&out.in); /* the consumer dies; its successor is sent the ring again */
    kit_new_reader(&out);
    cr_assert_eq(vmsig_ring_in_create(&out.in, out.reader, 3 * KIT_SLOTS, 0), 0);
    cr_assert_eq(vmsig_shm_seal(out.reader), 0);
    kit_take_ring(&out);
    kit_peer(&a, &out, true);
    for (uint64_t n = 3 * KIT_SLOTS; n < 6 * KIT_SLOTS; n++) {
        kit_put_u64(&in, n);
        kit_expect_u64(&out, n);
    }
    kit_stop(&a);
}

Test(relay, takes_no_harm_when_a_new_supervisor_says_everything_again) {
    kit_actor a;
    kit_link in, out;
    new_relay(&a, &in, &out);
    kit_put_u64(&in, 0);
    kit_expect_u64(&out, 0);
    kit_link before = in;
    before.ring = dup(in.ring);
    renew_producer(&in, in.out.tail);
    kit_peer(&a, &in, false);
    kit_put_u64(&in, 1);
    kit_expect_u64(&out, 1);
    kit_peer(&a, &before, false);
    kit_peer(&a, &in, false);
    kit_peer(&a, &out, true);
    kit_put_u64(&in, 2);
    kit_expect_u64(&out, 2);
    kit_stop(&a);
}

/* ---- hot-plug ----------------------------------------------------------------------------------------- */

Test(relay, takes_a_link_that_comes_while_it_runs_and_drains_one_that_goes) {
    kit_actor a;
    kit_link in, out, late = kit_new_link(3, VMSIG_DIR_UP);
    new_relay(&a, &in, &out);
    kit_put_u64(&in, 0);
    kit_expect_u64(&out, 0);
    kit_input(&a, &late);
    kit_produce(&late);
    kit_take_reader(&late);
    kit_put_u64(&late, 1); /* before the peer is known */
    kit_peer(&a, &late, false);
    kit_expect_u64(&out, 1);
    for (uint64_t n = 2; n < 2 + KIT_SLOTS; n++) /* fills the output: what follows is held */
        kit_put_u64(&late, n);
    kit_put_u64(&late, 2 + KIT_SLOTS);
    Vmsig__Pb__Unlink unlink = VMSIG__PB__UNLINK__INIT;
    unlink.id = late.id;
    kit_send(&a, VMSIG__PB__TO_ACTOR__M_UNLINK, &unlink, NULL, 0);
    Vmsig__Pb__Probe probe = VMSIG__PB__PROBE__INIT; /* once it is answered, the unlinking was seen */
    kit_send(&a, VMSIG__PB__TO_ACTOR__M_PROBE, &probe, NULL, 0);
    kit_free(kit_expect(&a, VMSIG__PB__FROM_ACTOR__M_PROBE));
    for (uint64_t n = 2; n <= 2 + KIT_SLOTS; n++)
        kit_expect_u64(&out, n);
    kit_put_u64(&in, 100);
    kit_expect_u64(&out, 100);
    kit_stop(&a);
}

/* ---- trouble ------------------------------------------------------------------------------------------ */

Test(relay, whose_link_is_poisoned_is_told_and_the_actor_goes_on) {
    kit_actor a;
    kit_link in, out;
    new_relay(&a, &in, &out);
    vmsig_slot *s = vmsig_ring_next(&in.out);
    vmsig_event ev = kit_event(VMSIG_EV_SENSOR_FIRST, 0);
    vmsig_image img;
    cr_assert_eq(vmsig_image_pack(&img, &ev), 1);
    *s = img.s[0];
    s->shape = 0x7f; /* a body longer than any event's */
    s->turn = in.out.tail + 1;
    vmsig_bell_ring(in.data_bell);
    Vmsig__Pb__FromActor *m = kit_expect(&a, VMSIG__PB__FROM_ACTOR__M_POISONED);
    cr_expect_eq(m->poisoned->id, 1);
    cr_expect_eq(m->poisoned->generation, 1);
    kit_free(m);
    kit_send_stop(&a, 1000);
    kit_free(kit_expect(&a, VMSIG__PB__FROM_ACTOR__M_STOPPED));
    cr_expect_eq(WEXITSTATUS(kit_wait_exit(&a)), 0);
}

Test(relay, one_that_does_not_drain_is_stopped_at_its_deadline) {
    kit_actor a = kit_sensor();
    kit_link in = kit_new_link(1, VMSIG_DIR_UP), out = kit_new_link(2, VMSIG_DIR_UP);
    relay_args args = {.slow_stop = true};
    start_relay(&a, &in, &out, &args);
    kit_send_stop(&a, 30);
    kit_free(kit_expect(&a, VMSIG__PB__FROM_ACTOR__M_STOPPED));
    cr_expect_eq(kit_wait_exit(&a), 0);
}

Test(relay, what_came_before_the_stop_is_passed_on) {
    kit_actor a;
    kit_link in, out;
    new_relay(&a, &in, &out);
    kill(a.pid, SIGSTOP);
    for (uint64_t n = 0; n < 20; n++)
        kit_put_u64(&in, n);
    kit_send_stop(&a, KIT_MS);
    kill(a.pid, SIGCONT);
    kit_free(kit_expect(&a, VMSIG__PB__FROM_ACTOR__M_STOPPED));
    cr_expect_eq(kit_wait_exit(&a), 0);
    for (uint64_t n = 0; n < 20; n++)
        kit_expect_u64(&out, n);
}

Test(relay, a_full_output_holds_the_input_until_there_is_room) {
    kit_actor a;
    kit_link in, out;
    new_relay(&a, &in, &out);
    uint64_t put = 0, got = 0;
    vmsig_event ev = kit_event(VMSIG_EV_SENSOR_FIRST, 0);
    for (int ms = 0; put < 2 * KIT_SLOTS && ms < KIT_MS; ms++) { /* both rings full */
        while (put < 2 * KIT_SLOTS && vmsig_ring_put_event(&in.out, &ev) == 0) {
            put++;
            memcpy(ev.inln, &put, sizeof(put));
        }
        kit_ring_if_asleep(&in);
        poll(NULL, 0, 1);
    }
    cr_assert_eq(put, 2 * KIT_SLOTS);
    cr_expect_eq(vmsig_ring_put_event(&in.out, &ev), -EAGAIN);
    while (got < put)
        kit_expect_u64(&out, got++);
    kit_stop(&a);
}

/* ---- stillness ---------------------------------------------------------------------------------------- */

static long switches(pid_t pid) {
    char path[64], line[256];
    long n = -1;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    cr_assert(f);
    while (fgets(line, sizeof(line), f))
        sscanf(line, "voluntary_ctxt_switches: %ld", &n);
    fclose(f);
    cr_assert_geq(n, 0);
    return n;
}

static void expect_still(Vmsig__Pb__PollMode mode) {
    kit_actor a = kit_sensor();
    a.poll = mode;
    kit_link in = kit_new_link(1, VMSIG_DIR_UP), out = kit_new_link(2, VMSIG_DIR_UP);
    start_relay(&a, &in, &out, NULL);
    kit_put_u64(&in, 0);
    kit_expect_u64(&out, 0);
    long before = -1; /* until it has settled */
    for (int ms = 0; ms < KIT_MS && before != switches(a.pid); ms += 50) {
        before = switches(a.pid);
        poll(NULL, 0, 50);
    }
    before = switches(a.pid);
    poll(NULL, 0, 400);
    cr_expect_eq(switches(a.pid), before, "it woke up though nothing happened");
    kit_put_u64(&in, 1);
    kit_expect_u64(&out, 1);
    kit_stop(&a);
}

Test(relay, idle_in_block_mode_it_never_wakes) {
    expect_still(VMSIG__PB__POLL_MODE__POLL_BLOCK);
}

Test(relay, idle_in_adaptive_mode_it_never_wakes) {
    expect_still(VMSIG__PB__POLL_MODE__POLL_ADAPTIVE);
}

Test(relay, its_gauges_tell_of_its_work) {
    kit_actor a = kit_sensor();
    kit_link in = kit_new_link(1, VMSIG_DIR_UP), out = kit_new_link(2, VMSIG_DIR_UP);
    kit_fork(&a, relay_main, NULL, NULL);
    kit_send_boot(&a);
    const vmsig_gauges *g = kit_gauges(&a);
    kit_consume(&out);
    kit_output(&a, &out);
    kit_input(&a, &in);
    kit_produce(&in);
    kit_take_reader(&in);
    kit_peer(&a, &out, true);
    kit_peer(&a, &in, false);
    kit_take_ring(&out);
    kit_go(&a);
    for (uint64_t n = 0; n < 10; n++) {
        kit_put_u64(&in, n);
        kit_expect_u64(&out, n);
    }
    kit_stop(&a);
    cr_expect_eq(g->links[0].link, 2);
    cr_expect_eq(g->links[0].position, 10);
    cr_expect_eq(g->links[1].link, 1);
    cr_expect_eq(g->links[1].events, 10);
    cr_expect_eq(g->links[1].position, 10);
    cr_expect_eq(g->links[1].latency.count, g->turns > 10 ? 10 : g->links[1].latency.count);
    cr_expect_gt(g->links[1].latency.count, 0);
    cr_expect_gt(g->stamp_ns, 0);
}
