/* MEMWRITE: what is written, and all that is refused. */
#include "actors/memctx/walk.h"
#include "tests/hosts/rig.h"

#define RAM  (64u << 10)
#define ROOT 0x1000u
#define VA   0x400000ull

typedef struct mem {
    rig r;
    uint8_t *ram;
} mem;

/* [0, 32K) at 0, [32K, 64K) at 1 MiB; VA maps 0x5000, then 0x100000 (the other segment), then nothing. */
static const vmsig_seg segs[2] = {{0, 32u << 10, 0}, {1u << 20, 32u << 10, 32u << 10}};

static int started(void *vm, vmsig_host *host) {
    (void)vm;
    vmsig_host_state(host, VMSIG_VM_RUNNING, 0);
    return 0;
}

static void put(mem *m, uint64_t at, uint64_t index, uint64_t value) {
    memcpy(m->ram + at + index * 8, &value, 8);
}

static void publish(mem *m) {
    vmsig_memctx ctx = {
        .root = ROOT, .cr0 = VMSIG_CR0_PG, .cr4 = VMSIG_CR4_PAE, .efer = VMSIG_EFER_LMA | VMSIG_EFER_NXE};
    vmsig_host_memctx(m->r.host, &ctx, segs, 2);
}

static void setup_with(mem *m, const vmsig_host_backend *backend) {
    rig_pages(&m->r);
    vmsig_host_env env = rig_env(&m->r, -1);
    m->ram = aligned_alloc(4096, RAM);
    cr_assert_not_null(m->ram);
    memset(m->ram, 0, RAM);
    put(m, ROOT, 0, 0x2000 | VMSIG_PTE_PRESENT);
    put(m, 0x2000, 0, 0x3000 | VMSIG_PTE_PRESENT);
    put(m, 0x3000, 2, 0x4000 | VMSIG_PTE_PRESENT);
    put(m, 0x4000, 0, 0x5000 | VMSIG_PTE_PRESENT); /* not writable for the guest: that does not bind the host */
    put(m, 0x4000, 1, 0x100000 | VMSIG_PTE_PRESENT);
    m->r.host = vmsig_host_new(EP, backend, NULL, &env);
    cr_assert_not_null(m->r.host);
    rig_start(&m->r);
    cr_assert_eq(vmsig_host_set_ram(m->r.host, m->ram, RAM, segs, 2), 0);
}

static void setup(mem *m) {
    static const vmsig_host_backend backend = {.name = "memory", .start = started};
    setup_with(m, &backend);
}

static void end(mem *m) {
    rig_end(&m->r);
    free(m->ram);
}

Test(memwrite, aligned_atomic_stores_of_each_size) {
    mem m;
    setup(&m);
    for (uint32_t size = 1; size <= 8; size *= 2) {
        memset(m.ram + 0x5000, 0xee, 16);
        cr_expect_eq(rig_write(&m.r, 0x5008, size, 0x1122334455667788ull, 0), VMSIG_OK);
        uint64_t want = 0xeeeeeeeeeeeeeeeeull, value = 0x1122334455667788ull, got;
        memcpy(&want, &value, size);
        memcpy(&got, m.ram + 0x5008, 8);
        cr_expect_eq(got, want, "size %u", size);
        cr_expect_eq(m.ram[0x5007], 0xee);
    }
    end(&m);
}

Test(memwrite, unaligned_outside_and_crossing_are_refused_and_nothing_is_written) {
    mem m;
    setup(&m);
    uint8_t *before = malloc(RAM);
    memcpy(before, m.ram, RAM);
    static const struct {
        uint64_t addr;
        uint32_t size;
    } bad[] = {{0x5001, 2},  {0x5002, 4},   {0x5004, 8},     {0x8000, 1},         {0x8000, 8},
               {0xfffff, 1}, {0x108000, 8}, {UINT64_MAX, 1}, {UINT64_MAX - 7, 8}, {0x7ffc, 8}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(rig_write(&m.r, bad[i].addr, bad[i].size, 0x55, 0), VMSIG_INVALID, "case %zu", i);
    cr_expect_eq(memcmp(before, m.ram, RAM), 0);
    free(before);
    end(&m);
}

Test(memwrite, a_virtual_address_is_walked_at_the_moment_of_the_effect) {
    mem m;
    setup(&m);
    cr_expect_eq(rig_write(&m.r, VA, 4, 1, VMSIG_MEMWRITE_VIRTUAL), VMSIG_UNAVAILABLE, "no address space yet");
    publish(&m);
    cr_expect_eq(rig_write(&m.r, VA + 8, 4, 0xabcd, VMSIG_MEMWRITE_VIRTUAL), VMSIG_OK);
    cr_expect_eq(m.ram[0x5008], 0xcd);
    put(&m, 0x4000, 0, 0x6000 | VMSIG_PTE_PRESENT); /* the guest maps another page there */
    cr_expect_eq(rig_write(&m.r, VA + 8, 4, 0x77, VMSIG_MEMWRITE_VIRTUAL), VMSIG_OK);
    cr_expect_eq(m.ram[0x6008], 0x77);
    cr_expect_eq(m.ram[0x5008], 0xcd);
    cr_expect_eq(rig_write(&m.r, VA + 0x1000, 1, 0x99, VMSIG_MEMWRITE_VIRTUAL), VMSIG_OK);
    cr_expect_eq(m.ram[32u << 10], 0x99);
    cr_expect_eq(rig_write(&m.r, VA + 0x2000, 1, 1, VMSIG_MEMWRITE_VIRTUAL), VMSIG_INVALID, "not mapped");
    cr_expect_eq(rig_write(&m.r, 0x800000000000ull, 1, 1, VMSIG_MEMWRITE_VIRTUAL), VMSIG_INVALID, "not canonical");
    vmsig_host_epoch_moved(m.r.host, VMSIG_VM_RUNNING, 0);
    cr_expect_eq(rig_write(&m.r, VA + 8, 4, 1, VMSIG_MEMWRITE_VIRTUAL), VMSIG_UNAVAILABLE, "that one is void");
    end(&m);
}

Test(memwrite, more_than_one_store_takes_a_vm_that_stands_still) {
    mem m;
    setup(&m);
    char text[] = "sixteen bytes...";
    cr_expect_eq(rig_write_bytes(&m.r, 0x5003, text, 16, 0), VMSIG_INVALID);
    cr_expect_eq(m.ram[0x5003], 0);
    vmsig_host_state(m.r.host, VMSIG_VM_PAUSED, 0);
    cr_expect_eq(rig_write_bytes(&m.r, 0x5003, text, 16, 0), VMSIG_OK);
    cr_expect_eq(memcmp(m.ram + 0x5003, text, 16), 0);
    cr_expect_eq(rig_write_bytes(&m.r, 0x7ffd, text, 3, 0), VMSIG_OK, "up to the segment's last byte");
    cr_expect_eq(rig_write_bytes(&m.r, 0x7ffd, text, 5, 0), VMSIG_INVALID, "and not beyond");
    cr_expect_eq(m.ram[0x8000], 0);
    cr_expect_eq(rig_write_bytes(&m.r, 0x90000, text, 3, 0), VMSIG_INVALID);
    end(&m);
}

/* ---- a VM that has to be stopped for it ------------------------------------------------------------------ */

static int asks; /* how often it was asked to stand still */
static int answer_to_hold;

static int hold(void *vm) {
    (void)vm;
    asks++;
    return answer_to_hold;
}

static void setup_held(mem *m, int answer) {
    static const vmsig_host_backend backend = {.name = "memory", .start = started, .hold = hold};
    setup_with(m, &backend);
    asks = 0;
    answer_to_hold = answer;
}

/* Sixteen bytes at addr; the corr of the write. */
static uint64_t ask(mem *m, uint64_t addr, char with) {
    char text[16];
    memset(text, with, sizeof text);
    rig_write_bytes(&m->r, addr, text, sizeof text, 0);
    return m->r.corr;
}

Test(held, writes_are_done_when_the_vm_stands_and_answered_when_it_goes_on) {
    mem m;
    setup_held(&m, VMSIG_HOST_LATER);
    uint64_t first = ask(&m, 0x5003, 'a'), second = ask(&m, 0x5004, 'b');
    rig_write(&m.r, 0x5008, 1, 'c', 0); /* nothing overtakes them */
    uint64_t third = m.r.corr;
    cr_expect_eq(asks, 1, "one stop for all of them");
    cr_expect_eq(m.ram[0x5003], 0);
    vmsig_host_held(m.r.host, VMSIG_OK);
    cr_expect_eq(memcmp(m.ram + 0x5003, "abbbbcbbbbbbbbbbb", 17), 0);
    cr_expect(rig_status(&m.r, first) == -1 && rig_status(&m.r, third) == -1, "it has not gone on yet");
    uint64_t late = ask(&m, 0x6000, 'd'); /* for the next time */
    vmsig_host_let_go(m.r.host, VMSIG_OK);
    cr_expect(rig_status(&m.r, first) == VMSIG_OK && rig_status(&m.r, second) == VMSIG_OK &&
              rig_status(&m.r, third) == VMSIG_OK);
    cr_expect(asks == 2 && rig_status(&m.r, late) == -1 && m.ram[0x6000] == 0);
    vmsig_host_held(m.r.host, VMSIG_OK);
    vmsig_host_let_go(m.r.host, VMSIG_OK);
    cr_expect(asks == 2 && rig_status(&m.r, late) == VMSIG_OK && m.ram[0x6000] == 'd');
    end(&m);
}

Test(held, what_became_of_it_is_told_as_it_was) {
    mem m;
    setup_held(&m, VMSIG_HOST_LATER);
    uint64_t w = ask(&m, 0x5000, 'a');
    vmsig_host_held(m.r.host, VMSIG_TIMEOUT);
    cr_expect_eq(rig_status(&m.r, w), VMSIG_TIMEOUT, "at once: nothing was written");
    vmsig_host_let_go(m.r.host, VMSIG_PARTIAL);
    w = ask(&m, 0x5000, 'a');
    vmsig_host_held(m.r.host, VMSIG_OK);
    vmsig_host_let_go(m.r.host, VMSIG_PARTIAL);
    cr_expect_eq(rig_status(&m.r, w), VMSIG_PARTIAL, "written, and the VM does not go on");
    cr_expect_eq(m.ram[0x5000], 'a');
    w = ask(&m, 0x6000, 'b');
    vmsig_host_epoch_ended(m.r.host);
    vmsig_host_held(m.r.host, VMSIG_OK);
    vmsig_host_let_go(m.r.host, VMSIG_UNKNOWN);
    cr_expect_eq(rig_status(&m.r, w), VMSIG_FENCED, "the gate looks when the effect starts");
    cr_expect_eq(m.ram[0x6000], 0);
    end(&m);
}

Test(held, what_cannot_be_done_stops_nothing) {
    mem m;
    setup_held(&m, VMSIG_HOST_LATER);
    ask(&m, 0x7ffd, 'a');
    cr_expect_eq(rig_status(&m.r, m.r.corr), VMSIG_INVALID);
    cr_expect_eq(asks, 0);
    answer_to_hold = VMSIG_UNAVAILABLE;
    ask(&m, 0x5000, 'a');
    cr_expect_eq(rig_status(&m.r, m.r.corr), VMSIG_UNAVAILABLE);
    answer_to_hold = VMSIG_OK;
    ask(&m, 0x5000, 'b');
    cr_expect_eq(rig_status(&m.r, m.r.corr), VMSIG_OK);
    cr_expect_eq(m.ram[0x500f], 'b');
    end(&m);
}

Test(held, more_than_can_wait_are_refused) {
    mem m;
    setup_held(&m, VMSIG_HOST_LATER);
    for (int i = 0; i < 64; i++)
        ask(&m, 0x5000, 'a');
    cr_expect_eq(rig_status(&m.r, m.r.corr), -1);
    ask(&m, 0x5000, 'b');
    cr_expect_eq(rig_status(&m.r, m.r.corr), VMSIG_UNAVAILABLE);
    end(&m);
}

/* ---- bytes ------------------------------------------------------------------------------------------- */

Test(memwrite, virtual_bytes_go_page_by_page_or_not_at_all) {
    mem m;
    setup(&m);
    publish(&m);
    vmsig_host_state(m.r.host, VMSIG_VM_PAUSED, 0);
    uint8_t bytes[0x1800];
    memset(bytes, 0x5a, sizeof bytes);
    cr_expect_eq(rig_write_bytes(&m.r, VA + 0x800, bytes, sizeof bytes, VMSIG_MEMWRITE_VIRTUAL), VMSIG_OK);
    cr_expect_eq(m.ram[0x57ff], 0);
    cr_expect_eq(m.ram[0x5800], 0x5a);
    cr_expect_eq(m.ram[0x5fff], 0x5a);
    cr_expect_eq(m.ram[0x6000], 0);
    cr_expect_eq(m.ram[(32u << 10) + 0xfff], 0x5a);
    memset(bytes, 0xa5, sizeof bytes);
    cr_expect_eq(rig_write_bytes(&m.r, VA + 0x801, bytes, sizeof bytes, VMSIG_MEMWRITE_VIRTUAL), VMSIG_INVALID);
    cr_expect_eq(m.ram[0x5801], 0x5a, "the last byte is not mapped, so none is written");
    end(&m);
}

Test(memwrite, bytes_that_overwrite_their_own_page_table_land_where_they_were_resolved) {
    mem m;
    setup(&m);
    put(&m, 0x4000, 2, 0x4000 | VMSIG_PTE_PRESENT); /* VA + 0x2000: the page table itself */
    put(&m, 0x4000, 3, 0x7000 | VMSIG_PTE_PRESENT);
    publish(&m);
    vmsig_host_state(m.r.host, VMSIG_VM_PAUSED, 0);
    uint8_t bytes[0x1010] = {0};
    bytes[0x1000] = 0x42;
    cr_expect_eq(rig_write_bytes(&m.r, VA + 0x2000, bytes, sizeof bytes, VMSIG_MEMWRITE_VIRTUAL), VMSIG_OK);
    cr_expect_eq(m.ram[0x7000], 0x42);
    end(&m);
}

Test(memwrite, without_a_mapping_nothing_can_be_written) {
    mem m;
    setup(&m);
    cr_assert_eq(vmsig_host_set_ram(m.r.host, NULL, 0, NULL, 0), 0);
    cr_expect_eq(rig_write(&m.r, 0x5000, 8, 1, 0), VMSIG_UNAVAILABLE);
    const vmsig_seg wrong = {0, RAM + 1, 0};
    cr_expect_eq(vmsig_host_set_ram(m.r.host, m.ram, RAM, &wrong, 1), -EINVAL);
    end(&m);
}
