/* layout.h: where the test guest keeps what, in guest-physical memory. Read by its assembler, its C and the tests.
 *
 *   0x100000  code and data            0x300000  the mailbox: see guest_mailbox
 *   0x1f0000  top of the stack         0x301000  the page that the window shows under root B
 *   0x200000  page tables              0x302000  scancodes, a ring of 4096; mouse bytes behind it
 *
 * Two roots: both map the first 4 GiB as they are (2 MiB pages); the window is one 4 KiB page at GUEST_WINDOW, which
 * shows the mailbox under root A and another page under root B.
 */
#ifndef TEST_GUEST_LAYOUT_H
#define TEST_GUEST_LAYOUT_H

#define GUEST_STACK    0x1f0000
#define GUEST_TABLES   0x200000
#define GUEST_ROOT_A   0x200000
#define GUEST_ROOT_B   0x201000
#define GUEST_LOW_3    0x202000 /* PDPT of the identity map */
#define GUEST_HIGH_A_3 0x203000 /* PDPT, PD, PT of the window under A */
#define GUEST_HIGH_A_2 0x204000
#define GUEST_HIGH_A_1 0x205000
#define GUEST_HIGH_B_3 0x206000 /* and under B */
#define GUEST_HIGH_B_2 0x207000
#define GUEST_HIGH_B_1 0x208000
#define GUEST_LOW_2    0x20c000 /* four PDs of the identity map */
#define GUEST_MAILBOX  0x300000
#define GUEST_OTHER    0x301000
#define GUEST_KEYS     0x302000
#define GUEST_MOUSE    0x303000

#define GUEST_WINDOW 0xffff900000000000 /* index 288 of its root */
#define GUEST_SLOT   288

#define GUEST_MAGIC 0x5453554747495356 /* "VSIGGUST" */
#define GUEST_B     0x42424242

/* What the host writes into `command`; the guest zeroes it when it begins. */
#define GUEST_DO_RESET  1
#define GUEST_DO_FAULT  2 /* a triple fault */
#define GUEST_DO_SLEEP  3 /* S3 */
#define GUEST_DO_OFF    4 /* S5 */
#define GUEST_DO_PANIC  5 /* needs -device pvpanic */
#define GUEST_DO_ROOT_A 6
#define GUEST_DO_ROOT_B 7
#define GUEST_DO_SAY    8 /* prints `argument` in hexadecimal on the console */

#ifndef __ASSEMBLER__
#include <stdint.h>

/* Every field is eight bytes, so that both sides store it at once. */
typedef struct guest_mailbox {
    uint64_t magic; /* last of all at boot */
    uint64_t loops; /* goes up while the guest runs */
    uint64_t cr3, cr4;
    uint64_t keys;          /* bytes that came from the keyboard: the ring's next place is keys % 4096 */
    uint64_t mouse;         /* likewise from the mouse */
    uint64_t power_buttons; /* presses of the ACPI power button */
    uint64_t command, argument, commands;
    uint64_t echo_in, echo_out; /* the guest copies in to out */
    uint64_t pair, torn;        /* the host stores x in both halves at once; how often the guest saw them differ */
    uint64_t window;            /* the first eight bytes of the window, as the guest sees them */
    uint64_t faults;
} guest_mailbox;
#endif

#endif
