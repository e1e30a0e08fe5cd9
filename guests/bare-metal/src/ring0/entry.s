# PVH entry, long mode, and the way down to ring 3, for the first processor and for those woken by SIPI.
# Each instruction here is interpreted on some hosts: the script, the tables and all drivers are ring 3's.

    .set SELECTOR_CODE32, 0x08
    .set SELECTOR_DATA, 0x10
    .set SELECTOR_CODE64, 0x18
    .set SELECTOR_USER_DATA, 0x23
    .set SELECTOR_USER_CODE, 0x2b
    .set SELECTOR_TSS, 0x30

    # RFLAGS of ring 3: IOPL 3, so that it may use ports; interrupts off. Some hosts run ring 3 without its
    # IOPL, so the ports are granted by the TSS's map as well.
    .set USER_RFLAGS, 0x3002
    .set CR0_LONG, 0x80000033           # PG NE ET MP PE
    .set CR4_LONG, 0x620                # OSXMMEXCPT OSFXSR PAE
    .set MSR_EFER, 0xc0000080
    .set EFER_LME, 0x100

    # A processor's block: its ring 3 stack, its ring 0 stack, what ring 3 sees, its TSS.
    .set PROCESSOR_SHIFT, 13
    .set PROCESSOR_SIZE, 1 << PROCESSOR_SHIFT
    .set PROCESSOR_USER_STACK, 0x1600
    .set PROCESSOR_SHARED, 0x1a00       # also the top of the ring 0 stack
    .set PROCESSOR_TSS, 0x1c00          # to the end: its map of ports behind it
    .set PROCESSORS, 64
    .set TSS_RSP0, 4
    .set TSS_IO_MAP, 102
    .set TSS_SIZE, 104
    # With the map, whose bits are all clear: ports 0 to 0x1cb7 may be used.
    .set TSS_WITH_MAP, PROCESSOR_SIZE - PROCESSOR_TSS

    # Where ring 3 puts a copy of `gdt_pointer` in the trampoline's page.
    .set TRAMPOLINE_GDT_POINTER, 0xff0

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 4, 18                      # name size, value size, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long pvh_entry

    .section .ring0_32, "ax"
    .code32
    .globl pvh_entry
pvh_entry:
    cld
    mov $greeting, %esi
    mov $GREETING_SIZE, %ecx
    mov $0x3f8, %edx
    rep outsb
    mov 24(%ebx), %eax                  # start_info.cmdline_paddr
    test %eax, %eax
    jz reset
    cmpb $0, (%eax)
    jne script

    # No script: the shortest life that a guest can have.
reset:
    mov $0xfe, %al
    out %al, $0x64
    # A machine without that controller: a triple fault, which every VMM takes for the end.
    lidt no_idt_pointer
    ud2

script:
    movl $page_directory_pointers + 7, page_map
    movl $page_directory + 7, page_directory_pointers
    lgdt gdt_pointer
    mov $bsp_entry64, %edi
    jmp long_mode

    # From the trampoline: protected mode, our GDT.
ap_entry32:
    mov $SELECTOR_DATA, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $ap_entry64, %edi

    # EDI: where to go on in 64-bit mode.
long_mode:
    mov $CR4_LONG, %eax
    mov %eax, %cr4
    mov $page_map, %eax
    mov %eax, %cr3
    mov $MSR_EFER, %ecx
    mov $EFER_LME, %eax
    xor %edx, %edx
    wrmsr
    mov $CR0_LONG, %eax
    mov %eax, %cr0
    ljmp $SELECTOR_CODE64, $entry64

    .section .ring0_64, "ax"
    .code64
entry64:
    mov %edi, %edi
    jmp *%rdi

bsp_entry64:
    mov %ebx, %edi                      # start_info
    xor %esi, %esi
    mov $user_stack_end, %ebp
    mov $user_entry, %ebx
    jmp enter_ring3

ap_entry64:
    mov $1, %esi
    lock xadd %esi, ap_next
    cmp $PROCESSORS, %esi
    jae 0f
    mov %esi, %ebp
    shl $PROCESSOR_SHIFT, %ebp
    add $processors + PROCESSOR_USER_STACK, %ebp
    mov $ap_user_entry, %ebx
    mov %esi, %edi
    jmp enter_ring3
0:  hlt
    jmp 0b

    # ESI: processor, EDI: argument, EBX: entry and EBP: stack of ring 3.
enter_ring3:
    mov %esi, %eax
    shl $PROCESSOR_SHIFT, %eax
    add $processors, %eax
    lea PROCESSOR_SHARED(%rax), %rsp
    mov %rsp, PROCESSOR_TSS + TSS_RSP0(%rax)
    movw $TSS_SIZE, PROCESSOR_TSS + TSS_IO_MAP(%rax)
    # The TSS lies below 16 MiB: its descriptor needs no more than bits 23:0 of the base.
    lea PROCESSOR_TSS(%rax), %rdx
    shl $16, %rdx
    mov $0x0000890000000000 + TSS_WITH_MAP - 1, %rcx
    or %rcx, %rdx
    shl $4, %esi
    mov %rdx, gdt + SELECTOR_TSS(%rsi)
    add $SELECTOR_TSS, %esi
    ltr %si
    lidt idt_pointer
    push $SELECTOR_USER_DATA
    push %rbp
    push $USER_RFLAGS
    push $SELECTOR_USER_CODE
    push %rbx
    iretq

    # Copied to a page below 1 MiB and entered there by SIPI; nothing in it depends on which.
    .section .ring0_16, "ax"
    .code16
    .globl trampoline, trampoline_end
trampoline:
    cli
    lgdtl %cs:TRAMPOLINE_GDT_POINTER
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $SELECTOR_CODE32, $ap_entry32
trampoline_end:

    .section .ring0_data, "aw"
    .code64
greeting:
    .ascii "trivisor-guest\n"
    .set GREETING_SIZE, . - greeting
    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9a000000ffff            # 32-bit code, ring 0
    .quad 0x00cf92000000ffff            # data, ring 0
    .quad 0x00af9a000000ffff            # 64-bit code, ring 0
    .quad 0x00cff2000000ffff            # data, ring 3
    .quad 0x00affa000000ffff            # 64-bit code, ring 3
    .fill PROCESSORS * 2, 8, 0          # TSS a processor
    .set GDT_SIZE, . - gdt
    .globl gdt_pointer
gdt_pointer:
    .word GDT_SIZE - 1
    .quad gdt
idt_pointer:
    .word 256 * 16 - 1
    .quad idt
no_idt_pointer:
    .word 0
    .quad 0
    .globl ap_next
    .balign 4
ap_next:
    .long 1

    # The first GiB in pages of 2 MiB, for all rings; ring 3 adds the rest when a command needs it.
    .balign 4096
    .globl page_directory
page_directory:
    .set address, 0
    .rept 512
    .quad address + 0x87                # PS U W P
    .set address, address + 0x200000
    .endr

    .section .ring0_bss, "aw", @nobits
    .globl page_directory_pointers, idt, processors
    .balign 4096
page_map:
    .skip 4096
page_directory_pointers:
    .skip 4096
idt:
    .skip 4096
    .balign PROCESSOR_SIZE
processors:
    .skip PROCESSORS * PROCESSOR_SIZE
user_stack:
    .skip 65536
user_stack_end:
