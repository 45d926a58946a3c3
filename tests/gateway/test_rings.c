/* What is particular to rings; all else is in test_server_rings.c. */
#define HOUSE_RINGS VMSIG_CLIENT_BLOCK
#include "tests/gateway/house.h"

#include <dirent.h>

#include "rings/pair.h"
#include "rings/shm.h"
#include "supervisor/client/client_impl.h"

static void others_go_on(house *h, guest *g) {
    uint64_t want = vmsig_load64(&h->s->ticks) + 10;
    vmsig_store64(&h->s->ticks, want);
    cr_expect(GUEST_UNTIL(g, g->last_tick == want));
    cr_expect_eq(g->wrong + g->lost, 0);
    cr_expect_eq(g->states[VMSIG_CLIENT_GONE], 0);
}

/* ---- a peer that has rings, and does with them what it likes ---------------------------------------------- */

typedef struct raw {
    int sock, fd[VMSIG_PAIR_FDS];
    vmsig_reader *reader;
    vmsig_ring_head *head;
    vmsig_slot *slots;
    const vmsig_reader *gateways; /* reader page */
} raw;

static void raw_send(raw *r, Vmsig__Pb__ToGateway__MCase which, void *body) {
    Vmsig__Pb__ToGateway m = VMSIG__PB__TO_GATEWAY__INIT;
    m.m_case = which;
    m.hello = body;
    cr_assert_eq(vmsig_frame_send(r->sock, &m.base, NULL, 0), 0);
}

static raw raw_new(house *h, uint32_t slots) {
    static vmsig_frame f;
    raw r = {.sock = peer_connect(h)};
    Vmsig__Pb__Hello hello = VMSIG__PB__HELLO__INIT;
    Vmsig__Pb__RingsAsk ask = VMSIG__PB__RINGS_ASK__INIT;
    hello.version = 1;
    ask.has_slots = true;
    ask.slots = slots;
    hello.rings = &ask;
    raw_send(&r, VMSIG__PB__TO_GATEWAY__M_HELLO, &hello);
    struct pollfd p = {.fd = r.sock, .events = POLLIN};
    cr_assert_eq(poll(&p, 1, 5000), 1);
    cr_assert_eq(vmsig_frame_recv(r.sock, &f), 1);
    cr_assert_eq(f.nfds, VMSIG_PAIR_FDS);
    memcpy(r.fd, f.fds, sizeof r.fd);
    vmsig_ring_out out;
    vmsig_ring_in in;
    cr_assert_eq(vmsig_ring_in_create(&in, r.fd[VMSIG_PAIR_EVENTS_READER], 0, 0), 0);
    cr_assert_eq(vmsig_ring_out_create(&out, r.fd[VMSIG_PAIR_COMMANDS], VMSIG_PAIR_LINK_COMMANDS, 1,
                                       VMSIG_PAIR_COMMAND_SLOTS, 0, 0, 0),
                 0);
    const void *page;
    cr_assert_eq(vmsig_shm_map_ro(r.fd[VMSIG_PAIR_COMMANDS_READER], VMSIG_READER_BYTES, &page), 0);
    r.gateways = page;
    r.reader = in.reader;
    r.head = out.head;
    r.slots = out.slots;
    return r;
}

static raw raw_mapped(house *h) {
    raw r = raw_new(h, 64);
    Vmsig__Pb__RingsMapped mapped = VMSIG__PB__RINGS_MAPPED__INIT;
    raw_send(&r, VMSIG__PB__TO_GATEWAY__M_MAPPED, &mapped);
    uint64_t until = vmsig_now_ns() + 5000000000u;
    while (!vmsig_load64(&r.gateways->nap) && vmsig_now_ns() < until) /* it waits for commands by then */
        poll(NULL, 0, 1);
    return r;
}

static void raw_bell(raw *r) {
    Vmsig__Pb__Bell bell = VMSIG__PB__BELL__INIT;
    raw_send(r, VMSIG__PB__TO_GATEWAY__M_BELL, &bell);
}

/* An order to look at the VM, in the first slot; the caller spoils it. */
static vmsig_slot *raw_query(raw *r) {
    vmsig_vm q = {.op = VMSIG_VM_QUERY};
    vmsig_event ev = {.kind = VMSIG_CMD_VM, .dir = VMSIG_DIR_DOWN, .corr = 1, .inln_len = sizeof q};
    vmsig_image img;
    memcpy(ev.inln, &q, sizeof q);
    cr_assert_eq(vmsig_image_pack(&img, &ev), 1);
    img.s[0].origin = 1;
    img.s[0].turn = 1;
    r->slots[0] = img.s[0];
    return &r->slots[0];
}

typedef enum evil { LONG_BODY, WRONG_TURN, IN_ARENA, UPWARDS, CONTINUED } evil;

static void spoil(vmsig_slot *s, evil how) {
    if (how == LONG_BODY)
        s->shape = 127;
    if (how == WRONG_TURN)
        s->turn = 77;
    if (how == IN_ARENA)
        s->route |= 0x80;
    if (how == UPWARDS)
        s->route &= 0x3f;
    if (how == CONTINUED)
        s->shape = 60; /* its second slot is not there */
}

Test(rings, commands_that_are_nonsense_end_the_session_of_who_writes_them) {
    house *h = house_new(NULL);
    guest *g = guest_new(h);
    for (evil how = LONG_BODY; how <= CONTINUED; how++) {
        raw r = raw_mapped(h);
        spoil(raw_query(&r), how);
        raw_bell(&r);
        cr_expect(peer_refused(r.sock, how == UPWARDS ? "is none" : "no ring may hold"), "%d", how);
    }
    others_go_on(h, g);
    cr_expect_eq(h->s->commands, 0);
    house_end(h);
}

Test(rings, a_cursor_that_is_nonsense_ends_the_session_of_who_writes_it) {
    house *h = house_new(NULL);
    guest *g = guest_new(h);
    raw r = raw_mapped(h);
    vmsig_store64(&r.reader->cursor, 1u << 30);
    vmsig_store64(&h->s->ticks, 200); /* more than its 64 slots */
    cr_expect(peer_refused(r.sock, "no ring may hold"));
    others_go_on(h, g);
    house_end(h);
}

Test(rings, what_is_said_about_rings_that_are_not_there_is_refused) {
    house *h = house_new(NULL);
    guest *g = guest_new(h);
    Vmsig__Pb__RingsMapped mapped = VMSIG__PB__RINGS_MAPPED__INIT;
    raw r = {.sock = peer_connect(h)};
    peer_hello(r.sock, 1);
    raw_send(&r, VMSIG__PB__TO_GATEWAY__M_MAPPED, &mapped);
    cr_expect(peer_refused(r.sock, "not given"));
    r = raw_mapped(h);
    raw_send(&r, VMSIG__PB__TO_GATEWAY__M_MAPPED, &mapped);
    cr_expect(peer_refused(r.sock, "not given"));
    others_go_on(h, g);
    house_end(h);
}

Test(rings, a_command_over_the_socket_has_its_mark_in_the_ring) {
    house *h = house_new(NULL);
    guest *g = guest_new(h);
    raw r = raw_mapped(h);
    vmsig_pb_event pb;
    vmsig_vm q = {.op = VMSIG_VM_QUERY};
    vmsig_event ev = {.kind = VMSIG_CMD_VM, .dir = VMSIG_DIR_DOWN, .corr = 1, .merged = 1, .inln_len = sizeof q};
    memcpy(ev.inln, &q, sizeof q);
    cr_assert_eq(vmsig_event_to_pb(&ev, &pb), 0);
    Vmsig__Pb__Command command = VMSIG__PB__COMMAND__INIT;
    command.event = &pb.e;
    raw_send(&r, VMSIG__PB__TO_GATEWAY__M_COMMAND, &command);
    cr_expect(peer_refused(r.sock, "does not speak of"));
    others_go_on(h, g);
    cr_expect_eq(h->s->commands, 0);
    house_end(h);
}

Test(rings, of_a_size_that_there_is_not_are_refused) {
    house *h = house_new(NULL);
    const uint32_t slots[] = {0, 63, 100, 131072};
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        raw r = {.sock = peer_connect(h)};
        Vmsig__Pb__Hello hello = VMSIG__PB__HELLO__INIT;
        Vmsig__Pb__RingsAsk ask = VMSIG__PB__RINGS_ASK__INIT;
        hello.version = 1;
        ask.has_slots = true;
        ask.slots = slots[i];
        hello.rings = &ask;
        raw_send(&r, VMSIG__PB__TO_GATEWAY__M_HELLO, &hello);
        cr_expect(peer_refused(r.sock, "size"), "%u", slots[i]);
    }
    house_end(h);
}

Test(rings, nobody_writes_where_the_other_does_nor_takes_its_memory_away) {
    house *h = house_new(NULL);
    raw r = raw_mapped(h);
    for (int i = 0; i < VMSIG_PAIR_FDS; i++) {
        cr_expect_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd[i], 0), MAP_FAILED, "%d", i);
        cr_expect_eq(write(r.fd[i], "x", 1), -1, "%d", i);
        cr_expect_eq(ftruncate(r.fd[i], 0), -1, "%d", i);
        cr_expect_eq(fallocate(r.fd[i], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1, "%d", i);
    }
    house_end(h);
}

Test(rings, who_never_maps_them_or_never_reads_is_alone_with_it) {
    house *h = house_new(NULL);
    raw_new(h, 64);
    raw_mapped(h);
    guest *g = guest_new(h);
    h->s->payload = 2000;
    uint64_t n = 10000; /* 20 MB: many times the log and the rings */
    for (uint64_t t = 100; t <= n; t += 100) {
        vmsig_store64(&h->s->ticks, t);
        cr_assert(GUEST_UNTIL(g, g->last_tick == t));
    }
    cr_expect_eq(g->wrong + g->bad_payloads + g->lost, 0);
    cr_expect_eq(g->ticks, n);
    house_end(h);
}

Test(rings, who_comes_late_to_its_ring_is_told_what_it_lost_and_goes_on) {
    house *h = house_new(NULL);
    guest *g = guest_new_with(h, VMSIG_CLIENT_BLOCK, 64), *other = guest_new(h);
    h->s->payload = 2000;
    uint64_t n = 10000;
    for (uint64_t t = 100; t <= n; t += 100) {
        vmsig_store64(&h->s->ticks, t);
        cr_assert(GUEST_UNTIL(other, other->last_tick == t));
    }
    cr_expect(GUEST_UNTIL(g, g->last_tick == n));
    cr_expect_eq(g->lost, 1);
    cr_expect_eq(g->wrong, 1, "one gap, where LOST stands");
    cr_expect_eq(g->states[VMSIG_CLIENT_GONE], 0, "no gap in its own count");
    cr_expect_geq(g->ticks, 64);
    house_end(h);
}

/* ---- what no slot holds ------------------------------------------------------------------------------------ */

static int put_memwrite(guest *g, uint32_t size) {
    static uint8_t bytes[100000];
    vmsig_memwrite w = {.addr = 4096, .size = size};
    vmsig_event ev = {.kind = VMSIG_CMD_MEMWRITE, .inln_len = sizeof w, .payload = bytes, .payload_len = size};
    memcpy(ev.inln, &w, sizeof w);
    return vmsig_client_send(g->c, &ev);
}

Test(rings, commands_keep_their_order_whichever_way_they_go) {
    house *h = house_new(NULL);
    guest *g = guest_new(h);
    cr_assert_eq(vmsig_client_lease(g->c, 0, VMSIG_LEASE_MEMWRITE, 60000, 5000, NULL), 0);
    for (int i = 0; i < 60; i++)
        cr_assert_eq(i % 3 ? guest_query(g) : put_memwrite(g, 99 + 40000 * (uint32_t)(i % 2)), 0);
    cr_expect(GUEST_UNTIL(g, g->results == 60), "%lu", g->results);
    cr_expect_eq(h->s->commands, 60);
    for (int i = 0; i < 60; i++)
        cr_expect_eq(h->s->command[i].kind, i % 3 ? VMSIG_CMD_VM : VMSIG_CMD_MEMWRITE, "%d", i);
    for (int i = 2; i < 62; i++)
        cr_expect_eq(g->status_of[i], VMSIG_OK);
    house_end(h);
}

Test(rings, events_keep_their_order_whichever_way_they_go) {
    house *h = house_new(NULL);
    guest *g = guest_new(h);
    const uint32_t payloads[] = {0, 300000, 40000, 0, 20000};
    for (uint64_t t = 1; t <= 100; t++) { /* the second is larger than the arena */
        h->s->payload = payloads[t % 5];
        vmsig_store32(&h->s->memctx, (uint32_t)t / 10);
        vmsig_store64(&h->s->ticks, t);
        if (t % 3 == 0)
            cr_assert(GUEST_UNTIL(g, g->last_tick == t));
    }
    cr_expect(GUEST_UNTIL(g, g->ticks == 100));
    cr_expect_eq(g->wrong + g->lost + g->bad_payloads, 0);
    cr_expect(GUEST_UNTIL(g, g->memctx == 10));
    cr_expect_eq(g->states[VMSIG_CLIENT_GONE], 0);
    house_end(h);
}

Test(rings, a_corr_beyond_32_bits_comes_back_whole) {
    house *h = house_new(NULL);
    guest *g = guest_new(h);
    g->c->next_corr = (1ull << 40) + 5;
    vmsig_vm q = {.op = VMSIG_VM_QUERY};
    vmsig_event ev = {.kind = VMSIG_CMD_VM, .inln_len = sizeof q};
    memcpy(ev.inln, &q, sizeof q);
    vmsig_result r;
    cr_expect_eq(vmsig_client_call(g->c, &ev, &r, 5000), 0, "%s", vmsig_client_error(g->c));
    cr_expect_eq(r.status, VMSIG_OK);
    cr_expect_eq(ev.corr, (1ull << 40) + 5);
    house_end(h);
}

/* ---- waking ------------------------------------------------------------------------------------------------ */

static void ticks_one_by_one(house *h, guest *g, bool by_fd) {
    struct pollfd p = {.fd = by_fd ? vmsig_client_fd(g->c) : -1, .events = POLLIN};
    for (uint64_t t = 1; t <= 300; t++) {
        uint64_t late = vmsig_now_ns() + 5000000000u;
        vmsig_store64(&h->s->ticks, t);
        while (g->last_tick < t && vmsig_now_ns() < late) {
            if (by_fd)
                cr_assert_eq(poll(&p, 1, 5000), 1, "nobody woke it for tick %lu", t);
            vmsig_client_step(g->c, by_fd ? 0 : 10000);
        }
        cr_assert_eq(g->last_tick, t);
        cr_assert_lt(vmsig_now_ns(), late, "nobody woke it for tick %lu", t);
    }
    cr_expect_eq(g->wrong, 0);
}

Test(rings, each_event_wakes_who_sleeps) {
    house *h = house_new(NULL);
    for (uint32_t mode = VMSIG_CLIENT_BLOCK; mode <= VMSIG_CLIENT_SPIN; mode++)
        for (int by_fd = 0; by_fd < 2; by_fd++) {
            vmsig_store64(&h->s->ticks, 0);
            guest *g = guest_new_with(h, mode, 64);
            ticks_one_by_one(h, g, by_fd);
            vmsig_client_close(g->c);
            house_kill(h);
            memset(h->state, 0, HOUSE_STATE);
            house_start(h);
        }
    house_end(h);
}

Test(rings, what_is_left_in_the_ring_keeps_the_fd_readable) {
    house *h = house_new(NULL);
    guest *g = guest_new_with(h, VMSIG_CLIENT_BLOCK, 65536);
    struct pollfd p = {.fd = vmsig_client_fd(g->c), .events = POLLIN};
    vmsig_store64(&h->s->ticks, 20000);
    while (g->ticks < 20000) {
        cr_assert_eq(poll(&p, 1, 5000), 1, "asleep with %lu of 20000", g->ticks);
        cr_assert_geq(vmsig_client_step(g->c, 0), 0);
    }
    cr_expect_eq(g->wrong, 0);
    house_end(h);
}

/* ---- who may, and how much --------------------------------------------------------------------------------- */

Test(rings, without_the_grants_word_all_goes_over_the_socket_and_why_is_told) {
    vmsig_grant mine = {.principal = geteuid(), .endpoint_mask = 1, .caps = VMSIG_CAP_ALL};
    vmsig_grants grants = {.grant = &mine, .n = 1};
    house *h = house_new(&grants);
    guest *g = guest_new(h);
    const char *why;
    cr_expect_eq(vmsig_client_rings(g->c, &why), 0);
    cr_expect(strstr(why, "rings: true"), "%s", why);
    others_go_on(h, g);
    house_end(h);
}

Test(rings, a_grant_that_takes_them_back_sends_the_control_to_the_socket_without_a_loss) {
    bool rings = true;
    vmsig_grant mine = {.principal = geteuid(), .endpoint_mask = 1, .caps = VMSIG_CAP_ALL};
    vmsig_grants grants = {.grant = &mine, .n = 1, .rings = &rings};
    house *h = house_new(&grants);
    guest *g = guest_new(h);
    vmsig_store64(&h->s->ticks, 500);
    cr_assert(GUEST_UNTIL(g, g->ticks > 0));
    vmsig_store32(&h->s->no_rings, 1);
    cr_expect(GUEST_UNTIL(g, g->states[VMSIG_CLIENT_RESUMED] == 1));
    cr_expect_eq(vmsig_client_rings(g->c, NULL), 0);
    vmsig_store64(&h->s->ticks, 1000);
    cr_expect(GUEST_UNTIL(g, g->ticks == 1000));
    cr_expect_eq(g->wrong + g->lost, 0);
    house_end(h);
}

Test(rings, of_one_uid_take_so_many_bytes_and_no_more) {
    house *h = house_new(NULL);
    const char *why = NULL;
    int had = 0;
    for (int i = 0; i < 9; i++) {
        guest *g = calloc(1, sizeof *g);
        char err[256] = "";
        vmsig_client_cfg cfg = {.user = g,
                                .on_event = guest_event,
                                .rings = VMSIG_CLIENT_BLOCK,
                                .ring_slots = VMSIG_PAIR_SLOTS_MAX,
                                .ring_payloads = VMSIG_PAIR_ARENA_MAX};
        g->c = vmsig_client_open(h->path, &cfg, 5000, err, sizeof err);
        cr_assert(g->c, "%s", err);
        had += vmsig_client_rings(g->c, &why);
    }
    cr_expect_eq(had, 3, "of 8 MiB each");
    cr_expect(why && strstr(why, "32 MiB"), "%s", why);
    house_end(h);
}

/* ---- deaths ------------------------------------------------------------------------------------------------ */

static int fds_of(pid_t pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    int n = 0;
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static int rings_of(pid_t pid) {
    char line[512];
    snprintf(line, sizeof line, "/proc/%d/maps", (int)pid);
    FILE *f = fopen(line, "r");
    int n = 0;
    while (f && fgets(line, sizeof line, f))
        n += strstr(line, "memfd:vmsig-events") != NULL || strstr(line, "memfd:vmsig-commands") != NULL;
    if (f)
        fclose(f);
    return n;
}

Test(rings, of_a_control_that_was_killed_nothing_is_left) {
    house *h = house_new(NULL);
    guest *g = guest_new(h);
    others_go_on(h, g);
    int fds = fds_of(h->pid), rings = rings_of(h->pid);
    for (int i = 0; i < 20; i++) {
        int ready[2];
        char byte;
        cr_assert_eq(pipe(ready), 0);
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            guest *mine = guest_new(h);
            for (int sent = 0, told = 0;; sent++) {
                if (sent < 100) /* the house counts them */
                    guest_query(mine);
                vmsig_client_step(mine->c, 1);
                if (!told && mine->results >= 5)
                    told = write(ready[1], "x", 1) == 1;
            }
        }
        vmsig_store64(&h->s->ticks, vmsig_load64(&h->s->ticks) + 200);
        struct pollfd p = {.fd = ready[0], .events = POLLIN};
        cr_assert_eq(poll(&p, 1, 10000), 1);
        cr_assert_eq(read(ready[0], &byte, 1), 1);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        close(ready[0]);
        close(ready[1]);
        others_go_on(h, g);
    }
    uint64_t until = vmsig_now_ns() + 5000000000u;
    while ((fds_of(h->pid) != fds || rings_of(h->pid) != rings) && vmsig_now_ns() < until)
        vmsig_client_step(g->c, 10);
    cr_expect_eq(fds_of(h->pid), fds);
    cr_expect_eq(rings_of(h->pid), rings);
    house_end(h);
}

Test(rings, of_a_gateway_that_was_killed_nothing_is_left_and_nothing_is_lost) {
    house *h = house_new(NULL);
    guest *g = guest_new(h);
    others_go_on(h, g);
    int fds = fds_of(getpid()), rings = rings_of(getpid());
    for (int i = 1; i <= 20; i++) {
        uint64_t want = vmsig_load64(&h->s->ticks) + 1000;
        vmsig_store64(&h->s->ticks, want);
        cr_assert(GUEST_UNTIL(g, g->last_tick + 900 - 40 * (uint64_t)i >= want));
        house_kill(h);
        house_start(h);
        cr_assert(GUEST_UNTIL(g, g->last_tick == want));
    }
    cr_expect_eq(g->wrong + g->lost, 0);
    cr_expect_eq(g->ticks, g->last_tick);
    cr_expect(GUEST_UNTIL(g, vmsig_client_rings(g->c, NULL)));
    cr_expect_eq(g->states[VMSIG_CLIENT_CONNECTED], 1);
    cr_expect_eq(fds_of(getpid()), fds);
    cr_expect_eq(rings_of(getpid()), rings);
    house_end(h);
}
