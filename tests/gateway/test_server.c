#include "tests/gateway/house.h"

/* ---- peers that misbehave: dropped with a reason; nobody else notices ---------------------------------- */

static void others_go_on(house *h, guest *g) {
    uint64_t want = vmsig_load64(&h->s->ticks) + 10;
    vmsig_store64(&h->s->ticks, want);
    cr_expect(GUEST_UNTIL(g, g->last_tick == want));
    cr_expect_eq(g->wrong, 0);
    cr_expect_eq(g->states[VMSIG_CLIENT_GONE], 0);
}

Test(server, another_version_is_refused_with_both_versions_named) {
    house *h = house_new(NULL);
    guest *g = guest_new(h);
    int sock = peer_connect(h);
    peer_hello(sock, 2);
    cr_expect(peer_refused(sock, "version 2"));
    others_go_on(h, g);
    house_end(h);
}

Test(server, garbage_is_dropped) {
    house *h = house_new(NULL);
    guest *g = guest_new(h);
    int sock = peer_connect(h);
    cr_assert_eq(send(sock, "GET / HTTP/1.0\r\n\r\n", 18, 0), 18);
    cr_expect(peer_refused(sock, "no message"));
    sock = peer_connect(h);
    peer_hello(sock, 1);
    uint8_t noise[4000];
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(i * 131 + 17);
    cr_assert_eq(send(sock, noise, sizeof noise, 0), (ssize_t)sizeof noise);
    cr_expect(peer_refused(sock, "no message"));
    others_go_on(h, g);
    house_end(h);
}

Test(server, an_oversized_frame_is_dropped) {
    house *h = house_new(NULL);
    guest *g = guest_new(h);
    int sock = peer_connect(h);
    uint8_t *big = calloc(1, VMSIG_FRAME_MAX + 1);
    cr_assert_eq(send(sock, big, VMSIG_FRAME_MAX + 1, 0), VMSIG_FRAME_MAX + 1);
    cr_expect(peer_refused(sock, "larger than 64 KiB"));
    free(big);
    others_go_on(h, g);
    house_end(h);
}

Test(server, an_unexpected_fd_is_refused) {
    house *h = house_new(NULL);
    guest *g = guest_new(h);
    int sock = peer_connect(h);
    Vmsig__Pb__Hello hello = VMSIG__PB__HELLO__INIT;
    Vmsig__Pb__ToGateway m = VMSIG__PB__TO_GATEWAY__INIT;
    hello.version = 1;
    m.m_case = VMSIG__PB__TO_GATEWAY__M_HELLO;
    m.hello = &hello;
    cr_assert_eq(vmsig_frame_send(sock, &m.base, &sock, 1), 0);
    cr_expect(peer_refused(sock, "fd"));
    others_go_on(h, g);
    house_end(h);
}

Test(server, nothing_comes_before_hello_and_hello_comes_once) {
    house *h = house_new(NULL);
    int sock = peer_connect(h);
    Vmsig__Pb__Ack ack = VMSIG__PB__ACK__INIT;
    Vmsig__Pb__ToGateway m = VMSIG__PB__TO_GATEWAY__INIT;
    m.m_case = VMSIG__PB__TO_GATEWAY__M_ACK;
    m.ack = &ack;
    cr_assert_eq(vmsig_frame_send(sock, &m.base, NULL, 0), 0);
    cr_expect(peer_refused(sock, "before Hello"));
    sock = peer_connect(h);
    peer_hello(sock, 1);
    peer_hello(sock, 1);
    cr_expect(peer_refused(sock, "twice"));
    house_end(h);
}

Test(server, who_says_nothing_is_dropped_after_the_handshake_deadline) {
    house *h = house_new(NULL);
    int sock = peer_connect(h);
    cr_expect(peer_refused(sock, "within 2 s"));
    house_end(h);
}

Test(server, one_uid_has_so_many_connections_and_no_more) {
    house *h = house_new(NULL);
    guest *g = guest_new(h);
    int sock[VMSIG_SERVER_PER_UID];
    for (unsigned i = 0; i < VMSIG_SERVER_PER_UID - 1; i++) {
        sock[i] = peer_connect(h);
        peer_hello(sock[i], 1);
    }
    int last = peer_connect(h);
    cr_expect(peer_refused(last, "too many"));
    for (unsigned i = 0; i < VMSIG_SERVER_PER_UID - 1; i++)
        close(sock[i]);
    others_go_on(h, g);
    guest *again = guest_new(h);
    cr_expect_not_null(again->c);
    house_end(h);
}

Test(server, without_a_grant_there_is_no_session) {
    vmsig_grant other = {.principal = 4000000000u, .endpoint_mask = 1, .caps = VMSIG_CAP_ALL};
    vmsig_grants grants = {.grant = &other, .n = 1};
    house *h = house_new(&grants);
    char err[256];
    guest g = {0};
    vmsig_client_cfg cfg = {.user = &g, .on_event = guest_event};
    cr_expect_null(vmsig_client_open(h->path, &cfg, 5000, err, sizeof err));
    cr_expect_eq(errno, EACCES);
    cr_expect(strstr(err, "no grant"), "%s", err);
    house_end(h);
}

Test(server, a_narrow_grant_is_told_and_held_to) {
    vmsig_grant mine = {.principal = geteuid(), .endpoint_mask = 2, .caps = VMSIG_CAP_OBSERVE};
    vmsig_grants grants = {.grant = &mine, .n = 1};
    house *h = house_new(&grants);
    guest *g = guest_new(h);
    cr_expect_eq(vmsig_client_grant(g->c)->endpoint_mask, 2);
    cr_expect_eq(vmsig_client_grant(g->c)->caps, VMSIG_CAP_OBSERVE);
    vmsig_store64(&h->s->ticks, 50); /* of endpoint 0 */
    vmsig_vm q = {.op = VMSIG_VM_QUERY};
    vmsig_event ev = {.kind = VMSIG_CMD_VM, .endpoint = 0, .inln_len = sizeof q};
    memcpy(ev.inln, &q, sizeof q);
    vmsig_result r;
    cr_assert_eq(vmsig_client_call(g->c, &ev, &r, 5000), 0, "%s", vmsig_client_error(g->c));
    cr_expect_eq(r.status, VMSIG_NOCAP);
    cr_expect_eq(g->ticks, 0);
    cr_expect_eq(h->s->commands, 0);
    house_end(h);
}

/* ---- traffic ------------------------------------------------------------------------------------------- */

Test(server, events_come_in_order_and_commands_are_answered) {
    house *h = house_new(NULL);
    guest *g = guest_new(h);
    vmsig_store64(&h->s->ticks, 3000);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(guest_query(g), 0);
    cr_expect(GUEST_UNTIL(g, g->ticks == 3000 && g->results == 100));
    cr_expect_eq(g->wrong, 0);
    for (int i = 1; i <= 100; i++)
        cr_expect_eq(g->result_of[i], 1);
    house_end(h);
}

Test(server, large_payloads_travel_both_ways) {
    house *h = house_new(NULL);
    guest *g = guest_new(h);
    h->s->payload = 40000;
    vmsig_store64(&h->s->ticks, 20);
    cr_expect(GUEST_UNTIL(g, g->ticks == 20));
    cr_expect_eq(g->wrong + g->bad_payloads, 0);
    cr_assert_eq(vmsig_client_lease(g->c, 0, VMSIG_LEASE_MEMWRITE, 5000, 5000, NULL), 0, "%s",
                 vmsig_client_error(g->c));
    uint8_t *bytes = malloc(100000);
    memset(bytes, 3, 100000);
    vmsig_memwrite w = {.addr = 4096, .size = 100000};
    vmsig_event ev = {.kind = VMSIG_CMD_MEMWRITE, .inln_len = sizeof w, .payload = bytes, .payload_len = 100000};
    memcpy(ev.inln, &w, sizeof w);
    vmsig_result r;
    cr_assert_eq(vmsig_client_call(g->c, &ev, &r, 5000), 0, "%s", vmsig_client_error(g->c));
    cr_expect_eq(r.status, VMSIG_OK);
    cr_expect_eq(h->s->payload_sum[h->s->commands - 1], 300000);
    free(bytes);
    house_end(h);
}

Test(server, memctx_comes_with_a_read_only_fd_also_to_a_late_one) {
    house *h = house_new(NULL);
    guest *early = guest_new(h);
    vmsig_store32(&h->s->memctx, 1);
    cr_expect(GUEST_UNTIL(early, early->memctx == 1));
    guest *late = guest_new(h);
    cr_expect(GUEST_UNTIL(late, late->snapshot_ends == 1));
    cr_expect_eq(late->memctx, 1);
    cr_expect_eq(memcmp(late->ram, "guest ram", 9), 0);
    cr_expect_not(late->ram_writable);
    house_end(h);
}

Test(server, who_does_not_read_is_alone_with_it) {
    house *h = house_new(NULL);
    int idle = peer_connect(h);
    peer_hello(idle, 1);
    guest *g = guest_new(h);
    h->s->payload = 2000;
    uint64_t n = 10000; /* 20 MB: many times the log and the socket */
    for (uint64_t t = 100; t <= n; t += 100) {
        vmsig_store64(&h->s->ticks, t);
        cr_assert(GUEST_UNTIL(g, g->last_tick == t));
    }
    cr_expect_eq(g->wrong + g->bad_payloads + g->lost, 0);
    cr_expect_eq(g->ticks, n);
    /* And when it reads again, it is told what it lost, in its place, and goes on without a gap. */
    uint64_t last = 0, lost = 0, sseq = 0;
    while (last < n) {
        Vmsig__Pb__ToControl *m = peer_next(idle, 5000);
        cr_assert(m);
        for (size_t i = 0; m->m_case == VMSIG__PB__TO_CONTROL__M_EVENTS && i < m->events->n_event; i++) {
            const Vmsig__Pb__Event *e = m->events->event[i];
            cr_assert_eq(e->sseq, ++sseq);
            if (e->kind == VMSIG_EV_LOST)
                lost += e->lost->count;
            if (e->kind != 64)
                continue;
            uint64_t v;
            memcpy(&v, e->inln.data, 8);
            cr_assert_eq(v, last + 1 + lost);
            last = v;
            if (lost)
                lost = 0;
        }
        vmsig__pb__to_control__free_unpacked(m, NULL);
    }
    house_end(h);
}

/* ---- the gateway's death ------------------------------------------------------------------------------- */

Test(resume, every_event_comes_once_and_every_command_is_done_and_answered_once_through_kills) {
    house *h = house_new(NULL);
    guest *g = guest_new(h);
    uint64_t sent = 0;
    for (int k = 0; k < 12; k++) {
        vmsig_store64(&h->s->ticks, vmsig_load64(&h->s->ticks) + 500);
        for (int i = 0; i < 20; i++, sent++)
            cr_assert_eq(guest_query(g), 0);
        for (int i = 0; i < k; i++)
            vmsig_client_step(g->c, 1);
        house_kill(h);
        house_start(h);
        cr_assert(GUEST_UNTIL(g, g->results == sent), "round %d: %lu of %lu", k, g->results, sent);
    }
    cr_expect(GUEST_UNTIL(g, g->ticks == 12 * 500), "%lu ticks, the last %lu", g->ticks, g->last_tick);
    cr_expect_eq(g->wrong, 0);
    cr_expect_eq(g->lost, 0);
    cr_expect_eq(g->states[VMSIG_CLIENT_CONNECTED], 1);
    cr_expect_gt(g->states[VMSIG_CLIENT_RESUMED], 0);
    cr_expect_eq(h->s->commands, sent, "%lu commands reached the context", h->s->commands);
    for (uint64_t i = 1; i <= sent; i++) {
        cr_expect_eq(g->result_of[i], 1);
        cr_expect_eq(g->status_of[i], VMSIG_OK);
    }
    house_end(h);
}

Test(resume, a_new_gateway_without_the_old_ones_state_answers_unknown_and_revokes) {
    house *h = house_new(NULL);
    guest *g = guest_new(h);
    cr_assert_eq(vmsig_client_lease(g->c, 0, VMSIG_LEASE_INPUT, 60000, 5000, NULL), 0);
    vmsig_store32(&h->s->silent, 1);
    cr_assert_eq(guest_query(g), 0);
    cr_assert(GUEST_UNTIL(g, vmsig_load64(&h->s->commands) == 1));
    house_kill(h);
    memset(h->state, 0, HOUSE_STATE);
    house_start(h);
    cr_expect(GUEST_UNTIL(g, g->states[VMSIG_CLIENT_CONNECTED] == 2));
    cr_expect_eq(g->results, 1);
    cr_expect_eq(g->status_of[2], VMSIG_UNKNOWN); /* 1 was the lease */
    cr_expect_eq(g->revoked, 1);
    house_end(h);
}

/* ---- leases over the socket ---------------------------------------------------------------------------- */

static int press(guest *g) {
    vmsig_input in = {.type = VMSIG_INPUT_KEY, .down = 1, .code = 30};
    vmsig_event ev = {.kind = VMSIG_CMD_INPUT, .inln_len = sizeof in};
    memcpy(ev.inln, &in, sizeof in);
    vmsig_result r;
    return vmsig_client_call(g->c, &ev, &r, 5000) == 0 ? r.status : -1;
}

Test(leases, are_had_by_one_denied_with_its_holder_and_pass_on_when_it_goes) {
    house *h = house_new(NULL);
    guest *a = guest_new(h), *b = guest_new(h);
    uint32_t holder = 77;
    cr_expect_eq(press(a), VMSIG_NOLEASE);
    cr_assert_eq(vmsig_client_lease(a->c, 0, VMSIG_LEASE_INPUT, 60000, 5000, NULL), 0, "%s", vmsig_client_error(a->c));
    cr_expect_eq(press(a), VMSIG_OK);
    cr_expect_eq(vmsig_client_lease(b->c, 0, VMSIG_LEASE_INPUT, 60000, 5000, &holder), -1);
    cr_expect_eq(errno, EBUSY);
    cr_expect_eq(holder, geteuid());
    vmsig_client_close(a->c);
    bool got = false;
    for (int i = 0; i < 100 && !got; i++)
        got = vmsig_client_lease(b->c, 0, VMSIG_LEASE_INPUT, 60000, 5000, NULL) == 0;
    cr_expect(got);
    cr_expect_eq(press(b), VMSIG_OK);
    house_end(h);
}

Test(leases, are_renewed_while_the_client_steps_and_outlive_the_gateway) {
    house *h = house_new(NULL);
    guest *a = guest_new(h);
    cr_assert_eq(vmsig_client_lease(a->c, 0, VMSIG_LEASE_INPUT, 400, 5000, NULL), 0, "%s", vmsig_client_error(a->c));
    uint64_t end = vmsig_now_ns() + 1000000000u;
    while (vmsig_now_ns() < end)
        vmsig_client_step(a->c, 10);
    cr_expect_eq(press(a), VMSIG_OK, "two and a half terms later");
    cr_expect_eq(a->results, 0, "renewals are the client's own business");
    cr_assert_eq(vmsig_client_release(a->c, 0, VMSIG_LEASE_INPUT), 0);
    cr_assert_eq(vmsig_client_lease(a->c, 0, VMSIG_LEASE_INPUT, 60000, 5000, NULL), 0, "%s", vmsig_client_error(a->c));
    house_kill(h);
    house_start(h);
    cr_expect(GUEST_UNTIL(a, a->states[VMSIG_CLIENT_RESUMED] == 1));
    cr_expect_eq(press(a), VMSIG_OK);
    cr_expect_eq(a->revoked, 0);
    house_end(h);
}

Test(leases, end_with_the_process_that_connected_even_if_its_socket_lives_on) {
    house *h = house_new(NULL);
    guest *b = guest_new(h);
    int gate[2];
    cr_assert_eq(pipe(gate), 0);
    pid_t holder = fork();
    if (holder == 0) {
        guest *a = guest_new(h);
        if (vmsig_client_lease(a->c, 0, VMSIG_LEASE_INPUT, 60000, 5000, NULL) != 0)
            _exit(1);
        pid_t heir = fork();
        if (heir == 0) { /* keeps the socket open */
            char byte;
            close(gate[1]);
            _exit((int)read(gate[0], &byte, 1));
        }
        _exit(0);
    }
    int status;
    waitpid(holder, &status, 0);
    cr_assert_eq(status, 0);
    bool got = false;
    for (int i = 0; i < 200 && !got; i++)
        got = vmsig_client_lease(b->c, 0, VMSIG_LEASE_INPUT, 60000, 5000, NULL) == 0;
    cr_expect(got);
    close(gate[1]);
    house_end(h);
}
