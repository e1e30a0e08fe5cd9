# What ring 3 asks of ring 0. `int n` and `syscall` do not reach ring 0 on every host, an invalid opcode does:
# the one `ud2` at `service_instruction` is the gate. RDI: service, RSI and RDX: arguments, RAX: result.

    .set RFLAGS_IF, 1 << 9
    .set UART_LSR, 5
    .set LSR_THRE, 0x20

    .section .ring0_64, "ax"
    .code64
    .balign 16
service:
    addq $2, (%rsp)
    cmp $SERVICES, %rdi
    jae 0f
    jmp *service_table(,%rdi,8)
0:  iretq

service_read_msr:
    mov %esi, %ecx
    rdmsr
    shl $32, %rdx
    or %rdx, %rax
    iretq

service_write_msr:
    mov %esi, %ecx
    mov %rdx, %rax
    shr $32, %rdx
    wrmsr
    iretq

    # Sleeps unless the 32-bit word at RSI is no longer EDX: no interrupt falls between the two.
service_wait:
    cmp %edx, (%rsi)
    jne 0f
    sti
    hlt
    cli
0:  iretq

service_read_cr0:
    mov %cr0, %rax
    iretq

service_read_cr2:
    mov %cr2, %rax
    iretq

service_read_cr3:
    mov %cr3, %rax
    iretq

service_read_cr4:
    mov %cr4, %rax
    iretq

    # A division by zero that cannot be delivered.
service_triple_fault:
    lidt no_idt_pointer
    xor %eax, %eax
    div %eax

    # RSI, RDX: bytes for COM1, in bursts that its FIFO holds.
service_console_write:
    mov %rdx, %r8
    mov $0x3f8 + UART_LSR, %edx
0:  in %dx, %al
    test $LSR_THRE, %al
    jz 0b
    mov $16, %ecx
    cmp %rcx, %r8
    jae 1f
    mov %r8, %rcx
1:  sub %rcx, %r8
    mov $0x3f8, %edx
    rep outsb
    mov $0x3f8 + UART_LSR, %edx
    test %r8, %r8
    jnz 0b
    iretq

    # RSI: port, RDX: how many times 0 is written to it; on some hosts far cheaper than from ring 3.
service_write_port:
    mov %rdx, %rcx
    mov %esi, %edx
    xor %eax, %eax
0:  out %al, %dx
    dec %rcx
    jnz 0b
    iretq

    # RSI: leaf and, in its high half, subleaf; RDX: room for EAX, EBX, ECX and EDX. Some hosts let ring 3
    # see their own processor, so it is asked here.
service_cpuid:
    push %rbx
    mov %rdx, %r8
    mov %esi, %eax
    mov %rsi, %rcx
    shr $32, %rcx
    cpuid
    mov %eax, (%r8)
    mov %ebx, 4(%r8)
    mov %ecx, 8(%r8)
    mov %edx, 12(%r8)
    pop %rbx
    iretq

    # RSI: 1 lets interrupts reach ring 3, 0 keeps them pending. Some hosts refuse sti to ring 3.
service_interrupts:
    andl $~RFLAGS_IF, FRAME_RFLAGS(%rsp)
    test %esi, %esi
    jz 0f
    orl $RFLAGS_IF, FRAME_RFLAGS(%rsp)
0:  iretq

    # Sleeps with interrupts off, for good unless an NMI or INIT comes.
service_stop:
    cli
0:  hlt
    jmp 0b

    .section .ring0_data, "aw"
    .balign 8
service_table:
    .quad service_read_msr
    .quad service_write_msr
    .quad service_wait
    .quad service_read_cr0
    .quad service_read_cr2
    .quad service_read_cr3
    .quad service_read_cr4
    .quad service_triple_fault
    .quad service_console_write
    .quad service_write_port
    .quad service_cpuid
    .quad service_interrupts
    .quad service_stop
    .set SERVICES, (. - service_table) / 8
