/* Multiboot entry, 32-bit, paging off: page tables, then long mode. What is zeroed here is all that the guest trusts. */
#include "layout.h"

#define PRESENT_WRITE_USER 7
#define LARGE              0x80

        .section .multiboot, "a"
        .align  4
        .long   0x1badb002, 3, -(0x1badb002 + 3)

        .section .text.start, "ax"
        .code32
        .globl  _start
_start: cli
        cld
        mov     $GUEST_STACK, %esp
        xor     %eax, %eax
        mov     $GUEST_TABLES, %edi
        mov     $(0x10000 / 4), %ecx
        rep stosl
        mov     $GUEST_MAILBOX, %edi
        mov     $(0x4000 / 4), %ecx
        rep stosl

        movl    $(GUEST_LOW_3 + PRESENT_WRITE_USER), GUEST_ROOT_A
        movl    $(GUEST_LOW_3 + PRESENT_WRITE_USER), GUEST_ROOT_B
        mov     $GUEST_LOW_2, %eax              /* four PDs below the one PDPT */
        mov     $GUEST_LOW_3, %edi
        mov     $4, %ecx
1:      lea     PRESENT_WRITE_USER(%eax), %edx
        mov     %edx, (%edi)
        add     $0x1000, %eax
        add     $8, %edi
        loop    1b
        mov     $GUEST_LOW_2, %edi              /* 2048 pages of 2 MiB */
        mov     $(PRESENT_WRITE_USER | LARGE), %eax
        mov     $2048, %ecx
2:      mov     %eax, (%edi)
        add     $0x200000, %eax
        add     $8, %edi
        loop    2b

        movl    $(GUEST_HIGH_A_3 + PRESENT_WRITE_USER), GUEST_ROOT_A + 8 * GUEST_SLOT
        movl    $(GUEST_HIGH_A_2 + PRESENT_WRITE_USER), GUEST_HIGH_A_3
        movl    $(GUEST_HIGH_A_1 + PRESENT_WRITE_USER), GUEST_HIGH_A_2
        movl    $(GUEST_MAILBOX + PRESENT_WRITE_USER), GUEST_HIGH_A_1
        movl    $(GUEST_HIGH_B_3 + PRESENT_WRITE_USER), GUEST_ROOT_B + 8 * GUEST_SLOT
        movl    $(GUEST_HIGH_B_2 + PRESENT_WRITE_USER), GUEST_HIGH_B_3
        movl    $(GUEST_HIGH_B_1 + PRESENT_WRITE_USER), GUEST_HIGH_B_2
        movl    $(GUEST_OTHER + PRESENT_WRITE_USER), GUEST_HIGH_B_1

        mov     %cr4, %eax
        or      $(1 << 5), %eax                 /* PAE */
        mov     %eax, %cr4
        mov     $GUEST_ROOT_A, %eax
        mov     %eax, %cr3
        mov     $0xc0000080, %ecx               /* EFER */
        rdmsr
        or      $(1 << 8), %eax                 /* LME */
        wrmsr
        mov     %cr0, %eax
        or      $0x80000001, %eax               /* PG, PE */
        mov     %eax, %cr0
        lgdt    gdt_at
        ljmp    $8, $long_mode

        .code64
long_mode:
        mov     $16, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $GUEST_STACK, %rsp
        call    guest_main

        .macro  entry n
        .globl  entry_\n
entry_\n:
        push    %rax
        push    %rcx
        push    %rdx
        push    %rsi
        push    %rdi
        push    %r8
        push    %r9
        push    %r10
        push    %r11
        cld
        mov     $\n, %edi
        call    guest_interrupt
        pop     %r11
        pop     %r10
        pop     %r9
        pop     %r8
        pop     %rdi
        pop     %rsi
        pop     %rdx
        pop     %rcx
        pop     %rax
        iretq
        .endm
        entry   1                               /* keyboard */
        entry   9                               /* ACPI */
        entry   12                              /* mouse */
        entry   255                             /* whatever else: it is not returned from */

        .align  8
gdt:    .quad   0, 0x00af9a000000ffff, 0x00cf92000000ffff
gdt_at: .word   gdt_at - gdt - 1
        .long   gdt

        .section .note.GNU-stack, "", @progbits
