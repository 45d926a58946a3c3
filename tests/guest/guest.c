/* The test guest: one loop that copies, counts and obeys, and interrupts of keyboard, mouse and power button. It knows
 * the chipset as SeaBIOS leaves it, on both of QEMU's PCs. */
#include "layout.h"

#define BOX   ((volatile guest_mailbox *)GUEST_MAILBOX)
#define KEYS  ((volatile uint8_t *)GUEST_KEYS)
#define MOUSE ((volatile uint8_t *)GUEST_MOUSE)
#define RING  4096

#define SERIAL  0x3f8
#define PM      0x600 /* ACPI: status, enable, control at +4 */
#define KBD     0x60
#define KBD_CMD 0x64

static inline void out8(uint16_t port, uint8_t v) {
    __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}
static inline void out16(uint16_t port, uint16_t v) {
    __asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port));
}
static inline uint8_t in8(uint16_t port) {
    uint8_t v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint16_t in16(uint16_t port) {
    uint16_t v;
    __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint64_t read_cr3(void) {
    uint64_t v;
    __asm__ volatile("mov %%cr3, %0" : "=r"(v));
    return v;
}
static inline uint64_t read_cr4(void) {
    uint64_t v;
    __asm__ volatile("mov %%cr4, %0" : "=r"(v));
    return v;
}

/* ---- the console ------------------------------------------------------------------------------------- */

static void say(const char *text) {
    for (; *text; text++) {
        for (int i = 0; i < 100000 && !(in8(SERIAL + 5) & 0x20); i++) {
        }
        out8(SERIAL, (uint8_t)*text);
    }
}

static void say_number(uint64_t n) {
    char text[18] = {0};
    for (int i = 0; i < 16; i++)
        text[i] = "0123456789abcdef"[n >> (60 - 4 * i) & 15];
    text[16] = '\n';
    say(text);
}

/* ---- interrupts -------------------------------------------------------------------------------------- */

void entry_1(void), entry_9(void), entry_12(void), entry_255(void);

typedef struct gate {
    uint16_t low, selector, flags, middle;
    uint32_t high, zero;
} gate;
static gate gates[256];

static void set_gate(int n, void (*to)(void)) {
    uint64_t at = (uint64_t)to;
    gates[n] = (gate){(uint16_t)at, 8, 0x8e00, (uint16_t)(at >> 16), (uint32_t)(at >> 32), 0};
}

static void load_gates(uint16_t limit) {
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) table = {limit, (uint64_t)gates};
    __asm__ volatile("lidt %0" ::"m"(table));
}

/* Both devices share one buffer: it is emptied, whoever rang. */
static void take_bytes(void) {
    for (uint8_t status; (status = in8(KBD_CMD)) & 1;) {
        uint8_t byte = in8(KBD);
        if (status & 0x20) {
            MOUSE[BOX->mouse % RING] = byte;
            BOX->mouse++;
        } else {
            KEYS[BOX->keys % RING] = byte;
            BOX->keys++;
        }
    }
}

void guest_interrupt(int n) {
    if (n == 255) {
        BOX->faults++;
        say("fault\n");
        for (;;)
            __asm__ volatile("cli; hlt");
    }
    if (n == 9) {
        uint16_t status = in16(PM);
        out16(PM, status);
        if (status & 0x100) {
            BOX->power_buttons++;
            say("power button\n");
        }
    } else {
        take_bytes();
    }
    if (n >= 8)
        out8(0xa0, 0x20);
    out8(0x20, 0x20);
}

/* ---- devices ----------------------------------------------------------------------------------------- */

static void controller(uint16_t port, uint8_t v) {
    for (int i = 0; i < 100000 && in8(KBD_CMD) & 2; i++) {
    }
    out8(port, v);
}

static void start_keyboard(void) {
    controller(KBD_CMD, 0xa8); /* the mouse's port */
    controller(KBD_CMD, 0x60); /* both interrupts, scancodes of set 1 */
    controller(KBD, 0x47);
    controller(KBD_CMD, 0xd4); /* the mouse: report */
    controller(KBD, 0xf4);
    controller(KBD_CMD, 0xae);
}

static void start_interrupts(void) {
    static const uint8_t words[][2] = {{0x20, 0x11}, {0xa0, 0x11}, {0x21, 0x20}, {0xa1, 0x28}, {0x21, 4},
                                       {0xa1, 2},    {0x21, 1},    {0xa1, 1},    {0x21, 0xf9}, {0xa1, 0xed}};
    for (int i = 0; i < 256; i++)
        set_gate(i, entry_255);
    set_gate(0x21, entry_1);
    set_gate(0x29, entry_9);
    set_gate(0x2c, entry_12);
    load_gates(sizeof gates - 1);
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        out8(words[i][0], words[i][1]);
    out16(PM, 0xffff);
    out16(PM + 2, 0x100); /* the power button's */
    out16(PM + 4, in16(PM + 4) | 1);
    out8(0x4d1, in8(0x4d1) | 2); /* ACPI's is level-triggered */
    while (in8(KBD_CMD) & 1)     /* a byte that is left there would keep all further ones from ringing */
        in8(KBD);
}

/* ---- the loop ---------------------------------------------------------------------------------------- */

static void use_root(uint64_t root) {
    __asm__ volatile("mov %0, %%cr3" ::"r"(root) : "memory");
    BOX->cr3 = read_cr3();
}

static void obey(uint64_t command) {
    switch (command) {
    case GUEST_DO_RESET:
        out8(0xcf9, 2);
        out8(0xcf9, 6);
        out8(KBD_CMD, 0xfe);
        break;
    case GUEST_DO_FAULT:
        load_gates(0);
        __asm__ volatile("int3");
        break;
    case GUEST_DO_SLEEP:
        out16(PM + 4, 0x2001 | 1 << 10);
        break;
    case GUEST_DO_OFF:
        out16(PM + 4, 0x2001);
        break;
    case GUEST_DO_PANIC:
        out8(0x505, 1);
        break;
    case GUEST_DO_ROOT_A:
        use_root(GUEST_ROOT_A);
        break;
    case GUEST_DO_ROOT_B:
        use_root(GUEST_ROOT_B);
        break;
    case GUEST_DO_SAY:
        say_number(BOX->argument);
        break;
    default:
        break;
    }
}

void guest_main(void) {
    start_keyboard();
    start_interrupts();
    *(volatile uint64_t *)GUEST_OTHER = GUEST_B;
    BOX->cr3 = read_cr3();
    BOX->cr4 = read_cr4();
    BOX->magic = GUEST_MAGIC;
    say("ready\n");
    __asm__ volatile("sti");
    for (;;) {
        BOX->loops++;
        BOX->echo_out = BOX->echo_in;
        uint64_t pair = BOX->pair;
        if ((uint32_t)pair != (uint32_t)(pair >> 32))
            BOX->torn++;
        BOX->window = *(volatile uint64_t *)GUEST_WINDOW;
        uint64_t command = BOX->command;
        if (command) {
            BOX->command = 0;
            BOX->commands++;
            obey(command);
        }
    }
}
