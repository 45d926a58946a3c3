/* The host as a process of its own: vmsig-host-stub, booted by a supervisor of the test's. */
#include <fcntl.h>
#include <linux/input-event-codes.h>

#include "actors/hosts/host.h"
#include "actors/runtime/record.h"
#include "rings/atomics.h"
#include "tests/runtime/kit.h"
#include "vmsig_stub.h"

#define TOKEN 5u

typedef struct subject {
    kit_actor a;
    kit_link up, down;
    int fences_fd, state_fd, ram_fd;
    vmsig_fence_page *fences;
    uint32_t ram_id;
    uint64_t corr;
} subject;

static void send_state(kit_actor *a, int fd) {
    Vmsig__Pb__Page p = VMSIG__PB__PAGE__INIT;
    p.kind = VMSIG__PB__PAGE_KIND__PAGE_STATE;
    p.writer = true;
    kit_send(a, VMSIG__PB__TO_ACTOR__M_PAGE, &p, &fd, 1);
}

static void send_pages(subject *s) {
    int epoch = vmsig_shm_create("epoch", VMSIG_EPOCH_BYTES);
    kit_send_page(&s->a, VMSIG__PB__PAGE_KIND__PAGE_EPOCH, true, epoch);
    kit_send_page(&s->a, VMSIG__PB__PAGE_KIND__PAGE_FENCES, false, s->fences_fd);
    send_state(&s->a, s->state_fd);
    close(epoch);
}

/* READY, and before it the RAM's read-only fd. */
static void go(subject *s) {
    Vmsig__Pb__Go m = VMSIG__PB__GO__INIT;
    kit_send(&s->a, VMSIG__PB__TO_ACTOR__M_GO, &m, NULL, 0);
    int fd = -1;
    Vmsig__Pb__FromActor *ram = kit_recv(&s->a, &fd);
    cr_assert(ram);
    cr_assert_eq(ram->m_case, VMSIG__PB__FROM_ACTOR__M_RAM);
    cr_expect_eq(ram->ram->endpoint, KIT_EP);
    cr_assert_geq(fd, 0);
    if (s->ram_fd >= 0) {
        cr_expect_neq(ram->ram->ram_id, s->ram_id, "new RAM has a new name");
        close(s->ram_fd);
    }
    s->ram_fd = fd;
    s->ram_id = ram->ram->ram_id;
    kit_free(ram);
    kit_free(kit_expect(&s->a, VMSIG__PB__FROM_ACTOR__M_READY));
}

static void start(subject *s) {
    static char *const argv[] = {TEST_BUILD "/bin/vmsig-host-stub", NULL};
    kit_fork(&s->a, NULL, NULL, argv);
    Vmsig__Pb__Option hz = VMSIG__PB__OPTION__INIT, *options[1] = {&hz};
    hz.key = "hz";
    hz.value = "0";
    Vmsig__Pb__Boot b = VMSIG__PB__BOOT__INIT;
    b.version = 1;
    b.layout = VMSIG_LAYOUT;
    b.name = "tiny";
    b.kind = VMSIG__PB__ACTOR_KIND__KIND_HOST;
    b.incarnation = s->a.incarnation;
    b.lineage = KIT_LINEAGE;
    b.has_poll = b.has_endpoint = b.has_epoch_base = true;
    b.poll = VMSIG__PB__POLL_MODE__POLL_BLOCK;
    b.endpoint = KIT_EP;
    b.epoch_base = 100 * s->a.incarnation;
    b.options = options;
    b.n_options = 1;
    kit_send(&s->a, VMSIG__PB__TO_ACTOR__M_BOOT, &b, NULL, 0);
    send_pages(s);
    if (s->up.ring < 0)
        kit_consume(&s->up);
    kit_output(&s->a, &s->up);
    kit_input(&s->a, &s->down);
    if (s->down.ring < 0)
        kit_produce(&s->down);
    kit_take_reader(&s->down);
    kit_peer(&s->a, &s->up, true);
    kit_peer(&s->a, &s->down, false);
    kit_take_ring(&s->up);
    go(s);
}

static void setup(subject *s) {
    *s = (subject){.a = {.sock = -1}, .ram_fd = -1};
    s->up = kit_new_link(1, VMSIG_DIR_UP);
    s->down = kit_new_link(2, VMSIG_DIR_DOWN);
    s->fences_fd = vmsig_shm_create("fences", VMSIG_FENCE_BYTES);
    s->state_fd = vmsig_shm_create("state", VMSIG_RECORD_BYTES);
    cr_assert_eq(vmsig_fence_create(s->fences_fd, &s->fences), 0);
    cr_assert_eq(vmsig_shm_seal(s->fences_fd), 0);
    vmsig_fence_grant(s->fences, KIT_EP, VMSIG_LEASE_INPUT, TOKEN);
    start(s);
}

static vmsig_event next_of(subject *s, uint8_t kind) {
    vmsig_event ev;
    do {
        cr_assert_eq(kit_next(&s->up, &ev), 1, "no event of kind %u", kind);
        free(ev.payload);
        ev.payload = NULL;
    } while (ev.kind != kind);
    return ev;
}

static vmsig_event command(subject *s, uint8_t kind, const void *body, uint32_t len) {
    vmsig_event cmd = {.kind = kind,
                       .dir = VMSIG_DIR_DOWN,
                       .endpoint = KIT_EP,
                       .source = VMSIG_SRC_VMHOST,
                       .corr = ++s->corr,
                       .token = TOKEN,
                       .merged = 1,
                       .ts_ns = vmsig_now_ns(),
                       .inln_len = len};
    memcpy(cmd.inln, body, len);
    return cmd;
}

static int32_t status_of(const vmsig_event *result) {
    vmsig_result r;
    memcpy(&r, result->inln, sizeof r);
    return r.status;
}

static vmsig_event key(subject *s, uint8_t down) {
    const vmsig_input in = {.type = VMSIG_INPUT_KEY, .down = down, .code = KEY_A};
    return command(s, VMSIG_CMD_INPUT, &in, sizeof in);
}

Test(host_actor, offers_ram_tells_its_address_space_and_takes_commands) {
    subject s;
    setup(&s);
    cr_expect_eq(fcntl(s.ram_fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    cr_expect_eq(vmsig_shm_check(s.ram_fd, 16u << 20), 0, "sealed before it was offered");
    vmsig_event ev = next_of(&s, VMSIG_EV_MEMCTX);
    cr_expect_eq(ev.endpoint, KIT_EP);
    cr_expect_eq(ev.epoch, 100u);
    vmsig_memview *view = vmsig_memview_open(&ev, s.ram_fd);
    cr_assert(view);
    cr_expect_eq(vmsig_memview_ctx(view)->ram_id, s.ram_id);
    ev = key(&s, 1);
    kit_put(&s.down, &ev);
    ev = next_of(&s, VMSIG_EV_RESULT);
    cr_expect_eq(ev.corr, s.corr);
    cr_expect_eq(status_of(&ev), VMSIG_OK);
    uint64_t count = 0;
    cr_expect_eq(vmsig_memview_read_virt(view, VMSIG_STUB_KERNEL(VMSIG_STUB_INPUT), &count, 8), 0);
    cr_expect_eq(count, 1u);
    vmsig_fence_raise(s.fences, KIT_EP, VMSIG_LEASE_INPUT, TOKEN + 1);
    ev = key(&s, 1);
    kit_put(&s.down, &ev);
    ev = next_of(&s, VMSIG_EV_RESULT);
    cr_expect_eq(status_of(&ev), VMSIG_FENCED);
    vmsig_memview_close(view);
    kit_stop(&s.a);
}

Test(host_actor, killed_again_and_again_every_command_is_answered_once) {
    subject s;
    setup(&s);
    enum { LIVES = 12, EACH = 40 };
    static unsigned results[LIVES * EACH + 1];
    for (unsigned life = 0; life < LIVES; life++) {
        for (unsigned i = 0; i < EACH; i++) {
            vmsig_event ev = key(&s, i % 2);
            kit_put(&s.down, &ev);
        }
        for (unsigned i = 0; i < 25 + life; i++) /* sooner or later in its work */
            results[next_of(&s, VMSIG_EV_RESULT).corr]++;
        kit_kill(&s.a);
        close(s.a.sock);
        start(&s);
    }
    for (uint64_t corr = 1; corr <= s.corr;) {
        if (results[corr])
            corr++;
        else
            results[next_of(&s, VMSIG_EV_RESULT).corr]++;
    }
    vmsig_event ev = key(&s, 0); /* behind all that might come twice */
    uint64_t end = s.corr;
    kit_put(&s.down, &ev);
    for (uint64_t corr = 0; corr != end;) {
        corr = next_of(&s, VMSIG_EV_RESULT).corr;
        if (corr != end)
            results[corr]++;
    }
    for (uint64_t corr = 1; corr < end; corr++)
        cr_expect_eq(results[corr], 1, "command %llu has %u results", (unsigned long long)corr, results[corr]);
    kit_stop(&s.a);
}

/* Does the actor leave its commands where they are? */
static bool stuck(kit_link *down) {
    uint64_t cursor = vmsig_load64_acquire(&down->out.reader->cursor);
    poll(NULL, 0, 20);
    return vmsig_load64_acquire(&down->out.reader->cursor) == cursor;
}

Test(host_actor, events_that_find_no_room_come_when_there_is_some) {
    subject s;
    setup(&s);
    enum { MANY = 200 }; /* more results than the ring up holds */
    bool waited = false;
    for (unsigned i = 0; i < MANY; i++) {
        vmsig_event ev = key(&s, i % 2);
        for (int err = -EAGAIN; err == -EAGAIN;) {
            err = vmsig_ring_put_event(&s.down.out, &ev);
            kit_ring_if_asleep(&s.down);
            bool room = err == -EAGAIN && stuck(&s.down);
            for (int k = 0; k < 16 && room && vmsig_ring_peek(&s.up.in); k++) {
                vmsig_event r = next_of(&s, VMSIG_EV_RESULT);
                cr_expect_eq(status_of(&r), VMSIG_OK);
                waited = true;
            }
        }
    }
    cr_expect(waited, "it did wait for room");
    for (uint64_t corr = 0; corr != MANY;)
        corr = next_of(&s, VMSIG_EV_RESULT).corr;
    kit_stop(&s.a);
}

Test(host_actor, is_still_when_nothing_happens) {
    subject s;
    setup(&s);
    next_of(&s, VMSIG_EV_MEMCTX);
    char path[64], before[4096], after[4096];
    snprintf(path, sizeof path, "/proc/%d/status", s.a.pid);
    for (int i = 0; i < 2; i++) {
        if (i == 1)
            poll(NULL, 0, 300);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        cr_assert_geq(fd, 0);
        ssize_t n = read(fd, i ? after : before, sizeof before - 1);
        cr_assert_gt(n, 0);
        (i ? after : before)[n] = '\0';
        close(fd);
        if (i == 0) /* it has said its last and lies down */
            poll(NULL, 0, 200);
    }
    unsigned long woken[2];
    const char *key_text = "\nvoluntary_ctxt_switches:";
    cr_assert(strstr(before, key_text) && strstr(after, key_text));
    woken[0] = strtoul(strstr(before, key_text) + strlen(key_text), NULL, 10);
    woken[1] = strtoul(strstr(after, key_text) + strlen(key_text), NULL, 10);
    cr_expect_leq(woken[1] - woken[0], 3, "%lu wake-ups", woken[1] - woken[0]);
    kit_stop(&s.a);
}
