/* Packing of contexts, the page walk over hand-built tables (good and bad ones), and reads through a view. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "actors/memctx/walk.h"

#define RAM     (8u << 20)
#define P       VMSIG_PTE_PRESENT
#define ROOT    0x10000u
#define DATA    0x200000u
#define USER_VA 0x0000000000401000ull
#define KERN_VA 0xffffffff80000000ull

/* 8 MiB of RAM: [0, 6M) at 0 and [6M, 8M) at 4 GiB. */
static const vmsig_seg pc_segs[2] = {{0, 6u << 20, 0}, {1ull << 32, 2u << 20, 6u << 20}};

typedef struct rig {
    int fd;
    uint8_t *ram;
    vmsig_memctx ctx;
    vmsig_event ev;
    uint64_t next_table;
} rig;

static void setup(rig *r, bool la57) {
    *r = (rig){.fd = memfd_create("test", MFD_CLOEXEC), .next_table = ROOT + 0x1000};
    cr_assert_geq(r->fd, 0);
    cr_assert_eq(ftruncate(r->fd, RAM), 0);
    r->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
    cr_assert_neq(r->ram, MAP_FAILED);
    r->ctx = (vmsig_memctx){.root = ROOT,
                            .cr0 = VMSIG_CR0_PG | 1,
                            .cr4 = VMSIG_CR4_PAE | (la57 ? VMSIG_CR4_LA57 : 0),
                            .efer = VMSIG_EFER_LMA | VMSIG_EFER_NXE,
                            .low = 6u << 20,
                            .ram_id = 7};
    r->ev = (vmsig_event){.epoch = 3};
    cr_assert_eq(vmsig_memctx_pack(&r->ev, &r->ctx, pc_segs, 2), 0);
}

static void teardown(rig *r) {
    munmap(r->ram, RAM);
    close(r->fd);
}

static uint64_t *entry(rig *r, uint64_t table, uint64_t va, unsigned shift) {
    return (uint64_t *)(void *)(r->ram + table + ((va >> shift) & 511) * 8);
}

/* Maps va at the level whose reach is 1 << shift to `pte`, building the tables above it; answers where the entry is. */
static uint64_t *map(rig *r, uint64_t va, unsigned shift, uint64_t pte) {
    uint64_t table = ROOT;
    for (unsigned at = r->ctx.cr4 & VMSIG_CR4_LA57 ? 48 : 39; at > shift; at -= 9) {
        uint64_t *e = entry(r, table, va, at);
        if (!(*e & P)) {
            *e = r->next_table | P | VMSIG_PTE_WRITE;
            r->next_table += 0x1000;
        }
        table = *e & VMSIG_PTE_ADDR;
    }
    *entry(r, table, va, shift) = pte;
    return entry(r, table, va, shift);
}

static vmsig_memview *view(rig *r) {
    vmsig_memview *v = vmsig_memview_open(&r->ev, r->fd);
    cr_assert_not_null(v);
    return v;
}

/* Walks: the gpa, or minus the errno. */
static int64_t walk(const vmsig_memview *v, uint64_t va) {
    uint64_t gpa = 0;
    return vmsig_memview_walk(v, va, &gpa) == 0 ? (int64_t)gpa : -errno;
}

/* ---- the event's form -------------------------------------------------------------------------------- */

Test(memctx, two_segments_travel_inside_the_event_and_more_in_its_payload) {
    vmsig_memctx ctx = {.root = 0x1000, .ram_id = 9};
    vmsig_seg segs[VMSIG_SEGS_MAX], got[VMSIG_SEGS_MAX];
    for (unsigned i = 0; i < VMSIG_SEGS_MAX; i++)
        segs[i] = (vmsig_seg){i * 0x10000ull, 0x1000, i * 0x1000ull};
    for (int n = 0; n <= VMSIG_SEGS_MAX; n++) {
        vmsig_event ev = {.epoch = 5};
        cr_assert_eq(vmsig_memctx_pack(&ev, &ctx, segs, n), 0);
        cr_expect_eq(ev.payload != NULL, n > 2);
        cr_expect_eq(ev.epoch, 5u);
        cr_expect_eq(ev.kind, VMSIG_EV_MEMCTX);
        cr_assert_eq(vmsig_memctx_segs(&ev, got, VMSIG_SEGS_MAX), n);
        cr_expect_eq(memcmp(got, segs, (size_t)n * sizeof *segs), 0);
        free(ev.payload);
    }
}

Test(memctx, segs_writes_no_more_than_max) {
    rig r;
    setup(&r, false);
    vmsig_seg got[2] = {{1, 1, 1}, {2, 2, 2}};
    cr_expect_eq(vmsig_memctx_segs(&r.ev, got, 1), 2);
    cr_expect_eq(got[0].len, pc_segs[0].len);
    cr_expect_eq(got[1].gpa, 2u);
    cr_expect_eq(vmsig_memctx_segs(&r.ev, NULL, 0), 2);
    teardown(&r);
}

Test(memctx, what_is_no_memctx_is_refused) {
    vmsig_seg s = {0};
    vmsig_memctx ctx = {0};
    vmsig_event ev = {.kind = VMSIG_EV_STATE, .inln_len = 48};
    errno = 0;
    cr_expect_eq(vmsig_memctx_segs(&ev, &s, 1), -1);
    cr_expect_eq(errno, EINVAL);
    ev.kind = VMSIG_EV_MEMCTX;
    for (uint32_t len = 0; len <= VMSIG_INLINE_MAX + 8; len++) {
        ev.inln_len = len;
        cr_expect_eq(vmsig_memctx_segs(&ev, &s, 1) >= 0, len == 48 || len == 72 || len == 96, "length %u", len);
    }
    ev.inln_len = 48;
    ev.payload_len = 24; /* but no payload */
    cr_expect_eq(vmsig_memctx_segs(&ev, &s, 1), -1);
    cr_expect_eq(vmsig_memctx_segs(NULL, &s, 1), -1);
    ev.payload_len = 0;
    cr_expect_eq(vmsig_memctx_segs(&ev, NULL, 1), -1);
    cr_expect_eq(vmsig_memctx_pack(&ev, &ctx, NULL, 1), -1);
    cr_expect_eq(vmsig_memctx_pack(&ev, &ctx, &s, VMSIG_SEGS_MAX + 1), -1);
    cr_expect_eq(vmsig_memctx_pack(&ev, &ctx, &s, -1), -1);
}

/* ---- the walk ---------------------------------------------------------------------------------------- */

static void walks_all_page_sizes(bool la57) {
    rig r;
    setup(&r, la57);
    map(&r, USER_VA, 12, DATA | P | VMSIG_PTE_NX);
    map(&r, KERN_VA, 21, 0x400000 | P | VMSIG_PTE_LARGE);
    map(&r, 0x4000000000ull, 30, 0x40000000 | P | VMSIG_PTE_LARGE);
    map(&r, 0x8000000000ull, 30, 0x100000000 | P | VMSIG_PTE_LARGE | 1u << 12 /* PAT */);
    vmsig_memview *v = view(&r);
    cr_expect_eq(walk(v, USER_VA + 0xabc), DATA + 0xabc);
    cr_expect_eq(walk(v, KERN_VA + 0x123456), 0x523456);
    cr_expect_eq(walk(v, 0x4012345678ull), 0x40000000 + 0x12345678);
    cr_expect_eq(walk(v, 0x8000000010ull), 0x100000010);
    cr_expect_eq(walk(v, USER_VA + 0x1000), -EFAULT);
    cr_expect_eq(walk(v, 0), -EFAULT);
    vmsig_memview_close(v);
    teardown(&r);
}

Test(walk, four_levels) {
    walks_all_page_sizes(false);
}

Test(walk, five_levels) {
    walks_all_page_sizes(true);
}

Test(walk, five_levels_reach_beyond_48_bits) {
    rig r;
    setup(&r, true);
    map(&r, 0xff11000000000000ull, 21, 0x200000 | P | VMSIG_PTE_LARGE);
    map(&r, 0x00ff000000000000ull, 21, 0x400000 | P | VMSIG_PTE_LARGE);
    vmsig_memview *v = view(&r);
    cr_expect_eq(walk(v, 0xff11000000000040ull), 0x200040);
    cr_expect_eq(walk(v, 0x00ff000000000040ull), 0x400040);
    vmsig_memview_close(v);
    teardown(&r);
}

Test(walk, addresses_that_are_not_canonical) {
    for (int la57 = 0; la57 < 2; la57++) {
        rig r;
        setup(&r, la57 != 0);
        uint64_t low_end = 1ull << (la57 ? 56 : 47), high_start = ~(low_end - 1);
        map(&r, low_end - 0x1000, 12, DATA | P);
        map(&r, high_start, 12, (DATA + 0x1000) | P);
        vmsig_memview *v = view(&r);
        cr_expect_eq(walk(v, low_end - 1), DATA + 0xfff);
        cr_expect_eq(walk(v, low_end), -EINVAL);
        cr_expect_eq(walk(v, high_start - 1), -EINVAL);
        cr_expect_eq(walk(v, high_start), DATA + 0x1000);
        vmsig_memview_close(v);
        teardown(&r);
    }
}

Test(walk, reserved_bits) {
    static const struct {
        unsigned shift; /* of the entry that is set */
        uint64_t pte;
        bool nxe;
    } bad[] = {
        {39, 0x200000 | P | VMSIG_PTE_LARGE, true}, /* a 512 GiB page */
        {30, 0x40002000 | P | VMSIG_PTE_LARGE, true},
        {30, 0x60000000 | P | VMSIG_PTE_LARGE, true},
        {21, 0x202000 | P | VMSIG_PTE_LARGE, true},
        {21, 0x300000 | P | VMSIG_PTE_LARGE, true},
        {12, DATA | P | VMSIG_PTE_NX, false}, /* NX without EFER.NXE */
        {21, 0x200000 | P | VMSIG_PTE_LARGE | VMSIG_PTE_NX, false},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rig r;
        setup(&r, false);
        map(&r, USER_VA, bad[i].shift, bad[i].pte);
        if (!bad[i].nxe)
            r.ctx.efer &= ~VMSIG_EFER_NXE;
        cr_assert_eq(vmsig_memctx_pack(&r.ev, &r.ctx, pc_segs, 2), 0);
        vmsig_memview *v = view(&r);
        cr_expect_eq(walk(v, USER_VA), -EINVAL, "case %zu", i);
        vmsig_memview_close(v);
        teardown(&r);
    }
}

Test(walk, a_top_entry_of_five_levels_is_no_page) {
    rig r;
    setup(&r, true);
    map(&r, USER_VA, 48, 0x200000 | P | VMSIG_PTE_LARGE);
    vmsig_memview *v = view(&r);
    cr_expect_eq(walk(v, USER_VA), -EINVAL);
    vmsig_memview_close(v);
    teardown(&r);
}

Test(walk, tables_that_are_absent_or_outside_ram) {
    static const unsigned shifts[] = {12, 21, 30, 39};
    for (size_t i = 0; i < 4; i++) {
        rig r;
        setup(&r, false);
        uint64_t *e = map(&r, USER_VA, shifts[i], 0);
        vmsig_memview *v = view(&r);
        cr_expect_eq(walk(v, USER_VA), -EFAULT, "absent, %u", shifts[i]);
        if (shifts[i] > 12) {
            *e = 0x700000 | P; /* in the hole between the segments */
            cr_expect_eq(walk(v, USER_VA), -EFAULT, "outside, %u", shifts[i]);
        }
        vmsig_memview_close(v);
        teardown(&r);
    }
}

Test(walk, a_table_that_points_to_itself_ends) {
    rig r;
    setup(&r, false);
    for (unsigned i = 0; i < 512; i++)
        ((uint64_t *)(void *)(r.ram + ROOT))[i] = ROOT | P;
    vmsig_memview *v = view(&r);
    cr_expect_eq(walk(v, USER_VA), ROOT + (USER_VA & 0xfff));
    vmsig_memview_close(v);
    teardown(&r);
}

Test(walk, no_paging_of_this_kind) {
    rig r;
    setup(&r, false);
    map(&r, USER_VA, 12, DATA | P);
    vmsig_memctx good = r.ctx, bad[3] = {good, good, good};
    bad[0].cr0 = 0x11;
    bad[1].cr4 = 0;
    bad[2].efer = 0;
    vmsig_memview *v = view(&r);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(vmsig_memctx_pack(&r.ev, &bad[i], pc_segs, 2), 0);
        cr_assert_eq(vmsig_memview_update(v, &r.ev), 0);
        cr_expect_eq(walk(v, USER_VA), -EINVAL, "case %zu", i);
    }
    vmsig_memview_close(v);
    teardown(&r);
}

Test(walk, flag_bits_of_the_root_do_not_matter) {
    rig r;
    setup(&r, false);
    map(&r, USER_VA, 12, DATA | P);
    r.ctx.root |= 0x8000000000000fffull; /* PCID and no-flush */
    cr_assert_eq(vmsig_memctx_pack(&r.ev, &r.ctx, pc_segs, 2), 0);
    vmsig_memview *v = view(&r);
    cr_expect_eq(walk(v, USER_VA), DATA);
    vmsig_memview_close(v);
    teardown(&r);
}

/* ---- reading ----------------------------------------------------------------------------------------- */

Test(memview, reads_across_pages_that_lie_apart) {
    rig r;
    setup(&r, false);
    map(&r, USER_VA, 12, DATA | P);
    map(&r, USER_VA + 0x1000, 12, 0x100000000ull | P); /* in the second segment */
    map(&r, USER_VA + 0x2000, 12, (DATA - 0x1000) | P);
    memset(r.ram + DATA, 'a', 0x1000);
    memset(r.ram + (6u << 20), 'b', 0x1000);
    memset(r.ram + DATA - 0x1000, 'c', 0x1000);
    vmsig_memview *v = view(&r);
    char got[0x1004];
    cr_assert_eq(vmsig_memview_read_virt(v, USER_VA + 0xffe, got, sizeof got), 0);
    cr_expect_eq(memcmp(got, "aab", 3), 0);
    cr_expect_eq(memcmp(got + 0x1001, "bcc", 3), 0);
    cr_expect_eq(vmsig_memview_read_virt(v, USER_VA + 0x2ffe, got, 4), -1);
    cr_expect_eq(errno, EFAULT);
    vmsig_memview_close(v);
    teardown(&r);
}

Test(memview, reads_across_segments_that_touch_and_not_across_holes) {
    rig r;
    setup(&r, false);
    const vmsig_seg swapped[2] = {{0, 1u << 20, 1u << 20}, {1u << 20, 1u << 20, 0}};
    cr_assert_eq(vmsig_memctx_pack(&r.ev, &r.ctx, swapped, 2), 0);
    r.ram[(2u << 20) - 1] = 'x';
    r.ram[0] = 'y';
    vmsig_memview *v = view(&r);
    char got[2];
    cr_assert_eq(vmsig_memview_read_phys(v, (1u << 20) - 1, got, 2), 0);
    cr_expect_eq(memcmp(got, "xy", 2), 0);
    cr_expect_eq(vmsig_memview_read_phys(v, (2u << 20) - 1, got, 2), -1);
    cr_expect_eq(errno, EFAULT);
    cr_expect_eq(vmsig_memview_read_phys(v, UINT64_MAX, got, 2), -1);
    cr_expect_eq(vmsig_memview_read_virt(v, UINT64_MAX, got, 2), -1);
    cr_expect_eq(errno, EINVAL);
    vmsig_memview_close(v);
    teardown(&r);
}

Test(memview, reads_every_size_at_every_offset) {
    rig r;
    setup(&r, false);
    for (unsigned i = 0; i < 64; i++)
        r.ram[DATA + i] = (uint8_t)i;
    vmsig_memview *v = view(&r);
    for (size_t n = 0; n <= 16; n++)
        for (size_t at = 0; at < 16; at++) {
            uint8_t got[17];
            memset(got, 0xee, sizeof got);
            cr_assert_eq(vmsig_memview_read_phys(v, DATA + at, got, n), 0);
            cr_expect_eq(memcmp(got, r.ram + DATA + at, n), 0);
            cr_expect_eq(got[n], 0xee);
        }
    vmsig_memview_close(v);
    teardown(&r);
}

Test(memview, sees_what_is_written_later_and_takes_a_new_root) {
    rig r;
    setup(&r, false);
    uint64_t *pte = map(&r, USER_VA, 12, DATA | P);
    vmsig_memview *v = view(&r);
    uint32_t got = 1;
    cr_assert_eq(vmsig_memview_read_virt(v, USER_VA, &got, 4), 0);
    cr_expect_eq(got, 0u);
    *(uint32_t *)(void *)(r.ram + DATA) = 77;
    cr_assert_eq(vmsig_memview_read_virt(v, USER_VA, &got, 4), 0);
    cr_expect_eq(got, 77u);

    r.ctx.root = 0x80000;
    r.ev.epoch = 4;
    *entry(&r, 0x80000, USER_VA, 39) = *entry(&r, ROOT, USER_VA, 39);
    *pte = (DATA + 0x1000) | P;
    cr_assert_eq(vmsig_memctx_pack(&r.ev, &r.ctx, pc_segs, 2), 0);
    cr_assert_eq(vmsig_memview_update(v, &r.ev), 0);
    cr_expect_eq(vmsig_memview_epoch(v), 4u);
    cr_expect_eq(vmsig_memview_ctx(v)->root, 0x80000u);
    cr_expect_eq(walk(v, USER_VA), DATA + 0x1000);
    vmsig_memview_close(v);
    teardown(&r);
}

Test(memview, an_update_of_other_ram_leaves_the_view_as_it_is) {
    rig r;
    setup(&r, false);
    vmsig_memview *v = view(&r);
    r.ctx.ram_id++;
    r.ctx.root = 0x90000;
    r.ev.epoch = 9;
    cr_assert_eq(vmsig_memctx_pack(&r.ev, &r.ctx, pc_segs, 2), 0);
    cr_expect_eq(vmsig_memview_update(v, &r.ev), -1);
    cr_expect_eq(errno, EINVAL);
    r.ev.kind = VMSIG_EV_MEMCTX_INVALID;
    cr_expect_eq(vmsig_memview_update(v, &r.ev), -1);
    cr_expect_eq(vmsig_memview_ctx(v)->root, ROOT);
    cr_expect_eq(vmsig_memview_epoch(v), 3u);
    vmsig_memview_close(v);
    teardown(&r);
}

Test(memview, segments_that_cannot_be_are_refused) {
    static const vmsig_seg bad[][2] = {
        {{0, RAM + 1, 0}, {0, 0, 0}},
        {{0, 0x1000, RAM}, {0, 0, 0}},
        {{0, 0x1000, UINT64_MAX - 0x7ff}, {0, 0, 0}},
        {{UINT64_MAX - 0xfff, 0x1000, 0}, {0, 0, 0}}, /* wraps to 0 */
        {{0, 0, 0}, {0, 0, 0}},
        {{0, 0x2000, 0}, {0x1000, 0x1000, 0x4000}}, /* overlap */
    };
    rig r;
    setup(&r, false);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(vmsig_memctx_pack(&r.ev, &r.ctx, bad[i], bad[i][1].len ? 2 : 1), 0);
        errno = 0;
        cr_expect_null(vmsig_memview_open(&r.ev, r.fd), "case %zu", i);
        cr_expect_eq(errno, EINVAL, "case %zu", i);
    }
    cr_assert_eq(vmsig_memctx_pack(&r.ev, &r.ctx, pc_segs, 2), 0);
    cr_expect_null(vmsig_memview_open(&r.ev, -1));
    cr_expect_eq(errno, EBADF);
    teardown(&r);
}

Test(memview, without_segments_it_is_laid_out_as_a_pc) {
    rig r;
    setup(&r, false);
    r.ram[6u << 20] = 42;
    cr_assert_eq(vmsig_memctx_pack(&r.ev, &r.ctx, NULL, 0), 0);
    vmsig_memview *v = view(&r);
    uint8_t got = 0;
    cr_expect_eq(vmsig_memview_read_phys(v, 1ull << 32, &got, 1), 0);
    cr_expect_eq(got, 42);
    cr_expect_eq(vmsig_memview_read_phys(v, 6u << 20, &got, 1), -1);
    vmsig_memview_close(v);
    teardown(&r);
}

Test(memview, maps_a_read_only_fd_which_is_borrowed) {
    rig r;
    setup(&r, false);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", r.fd);
    int ro = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(ro, 0);
    vmsig_memview *v = vmsig_memview_open(&r.ev, ro);
    cr_assert_not_null(v);
    close(ro); /* borrowed: the view goes on without it */
    uint8_t got;
    cr_expect_eq(vmsig_memview_read_phys(v, 0, &got, 1), 0);
    vmsig_memview_close(v);
    teardown(&r);
}
