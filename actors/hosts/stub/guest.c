#include "actors/hosts/stub/guest.h"

#include <stddef.h>
#include <string.h>

#include "actors/memctx/walk.h"
#include "rings/atomics.h"

#define TABLES     0x10000ull
#define PAGE       4096ull
#define LARGE_PAGE (2ull << 20)
#define TABLE_BITS (VMSIG_PTE_PRESENT | VMSIG_PTE_WRITE | VMSIG_PTE_USER)

_Static_assert(offsetof(vmsig_stub_input, record) == 0x800 && sizeof(vmsig_stub_input) == PAGE, "as documented");
_Static_assert(sizeof(vmsig_input) == sizeof(uint64_t), "one record is one word");

static vmsig_stub_info *info_of(uint8_t *ram) {
    return (void *)(ram + VMSIG_STUB_INFO);
}

static vmsig_stub_input *input_of(uint8_t *ram) {
    return (void *)(ram + VMSIG_STUB_INPUT);
}

void vmsig_stub_guest_segs(uint64_t bytes, vmsig_seg segs[2]) {
    uint64_t low = bytes - VMSIG_STUB_HIGH_BYTES;
    segs[0] = (vmsig_seg){.gpa = 0, .len = low, .off = 0};
    segs[1] = (vmsig_seg){.gpa = VMSIG_STUB_HIGH, .len = VMSIG_STUB_HIGH_BYTES, .off = low};
}

void vmsig_stub_guest_clear(uint8_t *ram, uint64_t bytes) {
    memset(ram, 0, bytes);
    vmsig_store64_release(&info_of(ram)->magic, VMSIG_STUB_MAGIC);
}

/* ---- paging ------------------------------------------------------------------------------------------ */

typedef struct tables {
    uint8_t *ram;
    uint64_t root, next; /* guest-physical: of the top table, and of the next free page */
    unsigned top;        /* the lowest address bit that the top table resolves */
} tables;

static uint64_t *entry(const tables *t, uint64_t table, uint64_t va, unsigned shift) {
    return (uint64_t *)(void *)(t->ram + table) + ((va >> shift) & 511u);
}

/* Maps the page at va (of 1 << page_shift bytes) to gpa. */
static void map(tables *t, uint64_t va, uint64_t gpa, unsigned page_shift, uint64_t bits) {
    uint64_t table = t->root;
    for (unsigned shift = t->top; shift > page_shift; shift -= 9) {
        uint64_t *e = entry(t, table, va, shift);
        if (!(*e & VMSIG_PTE_PRESENT)) {
            vmsig_store64(e, t->next | TABLE_BITS);
            t->next += PAGE;
        }
        table = *e & VMSIG_PTE_ADDR;
    }
    uint64_t large = page_shift > 12 ? VMSIG_PTE_LARGE : 0;
    vmsig_store64(entry(t, table, va, page_shift), gpa | bits | large | VMSIG_PTE_PRESENT);
}

static void map_all(tables *t, uint64_t bytes, bool la57) {
    uint64_t direct = la57 ? VMSIG_STUB_DIRECT57(0) : VMSIG_STUB_DIRECT(0);
    uint64_t data = VMSIG_PTE_WRITE | VMSIG_PTE_NX;
    for (uint64_t gpa = VMSIG_STUB_INFO; gpa <= VMSIG_STUB_SCRATCH; gpa += PAGE)
        map(t, VMSIG_STUB_USER(gpa), gpa, 12, data | VMSIG_PTE_USER);
    map(t, VMSIG_STUB_KERNEL(0), 0, 21, VMSIG_PTE_WRITE);
    for (uint64_t gpa = 0; gpa < bytes - VMSIG_STUB_HIGH_BYTES; gpa += LARGE_PAGE)
        map(t, direct + gpa, gpa, 21, data);
    map(t, direct + VMSIG_STUB_HIGH, VMSIG_STUB_HIGH, 21, data);
}

void vmsig_stub_guest_paging(uint8_t *ram, uint64_t bytes, uint64_t boots, bool la57, vmsig_memctx *ctx) {
    uint64_t root = boots % 2 ? TABLES : 2 * TABLES;
    memset(ram + root, 0, TABLES);
    tables t = {.ram = ram, .root = root, .next = root + PAGE, .top = la57 ? 48 : 39};
    map_all(&t, bytes, la57);
    vmsig_store64(&info_of(ram)->boots, boots);
    *ctx = (vmsig_memctx){.root = root,
                          .cr0 = VMSIG_CR0_PG | 1 /* protected mode */,
                          .cr4 = VMSIG_CR4_PAE | (la57 ? VMSIG_CR4_LA57 : 0),
                          .efer = VMSIG_EFER_LMA | VMSIG_EFER_NXE | 1ull << 8 /* LME */,
                          .low = bytes - VMSIG_STUB_HIGH_BYTES,
                          .flags = VMSIG_MEMCTX_COHERENT};
}

/* ---- clock and input --------------------------------------------------------------------------------- */

void vmsig_stub_guest_tick(uint8_t *ram, uint64_t uptime_ns) {
    vmsig_stub_info *info = info_of(ram);
    vmsig_store64(&info->uptime_ns, uptime_ns);
    vmsig_store64_release(&info->ticks, info->ticks + 1);
}

static void apply(vmsig_stub_input *page, const vmsig_input *in) {
    if (in->type == VMSIG_INPUT_REL) {
        vmsig_store64((uint64_t *)&page->rel[in->code], (uint64_t)(page->rel[in->code] + in->value));
    } else if (in->type == VMSIG_INPUT_ABS) {
        vmsig_store32((uint32_t *)&page->abs[in->code], (uint32_t)in->value);
    } else {
        uint8_t *byte = &page->keys[in->code / 8], bit = (uint8_t)(1u << (in->code % 8));
        vmsig_store8(byte, (uint8_t)(in->down ? *byte | bit : *byte & ~bit));
    }
}

void vmsig_stub_guest_input(uint8_t *ram, const vmsig_input *in) {
    vmsig_stub_input *page = input_of(ram);
    uint64_t word, n = page->count;
    memcpy(&word, in, sizeof word);
    apply(page, in);
    vmsig_store64(&page->record[n % VMSIG_STUB_RECORDS], word);
    vmsig_store64(&page->last, word);
    vmsig_store64_release(&page->count, n + 1);
}
