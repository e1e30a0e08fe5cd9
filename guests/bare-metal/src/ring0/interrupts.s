# The 256 entries of the IDT, 16 bytes apart: exceptions end what ring 3 was doing, interrupts are counted.

    .set LOCAL_APIC_EOI, 0xfee000b0
    .set VECTOR_INVALID_OPCODE, 6
    .set FIRST_INTERRUPT, 32

    # The end of the block's ring 0 stack, where ring 3 left what the handlers need (`Shared` in ring0.rs).
    .set SHARED_RECOVERY_RIP, 0
    .set SHARED_RECOVERY_RSP, 8
    .set SHARED_VECTOR, 16
    .set SHARED_ERROR, 24
    .set SHARED_RIP, 32
    .set SHARED_CR2, 40
    .set SHARED_COUNT, 48

    # An interrupt's frame, above the vector and the error code.
    .set FRAME_RIP, 0
    .set FRAME_RFLAGS, 16
    .set FRAME_RSP, 24
    .set FRAME_SIZE, 40

    .section .ring0_64, "ax"
    .code64
    .balign 16
    .globl interrupt_entries
interrupt_entries:
    .set vector, 0
    .rept 256
    .balign 16
    .if vector == VECTOR_INVALID_OPCODE
    jmp invalid_opcode
    .elseif vector >= FIRST_INTERRUPT
    pushq $vector
    jmp interrupt
    .elseif (0x60227d00 >> vector) & 1  # the processor pushed an error code
    pushq $vector
    jmp exception
    .else
    pushq $0
    pushq $vector
    jmp exception
    .endif
    .set vector, vector + 1
    .endr

    .balign 16
interrupt:
    push %rax
    mov 8(%rsp), %rax
    lock incl interrupt_counts(,%rax,4)
    cmpb $0, manual_eoi(%rax)
    jne 0f
    mov $LOCAL_APIC_EOI, %eax
    movl $0, (%rax)
0:  pop %rax
    add $8, %rsp
    iretq

invalid_opcode:
    cmpq $service_instruction, (%rsp)
    je service
    pushq $0
    pushq $VECTOR_INVALID_OPCODE

    # Of ring 3, or of a service on ring 3's behalf: note it, go on at ring 3's recovery point.
exception:
    mov %rsp, %rbx
    and $-PROCESSOR_SIZE, %rbx
    add $PROCESSOR_SHARED, %rbx
    pop %rax
    mov %rax, SHARED_VECTOR(%rbx)
    pop %rax
    mov %rax, SHARED_ERROR(%rbx)
    mov FRAME_RIP(%rsp), %rax
    mov %rax, SHARED_RIP(%rbx)
    mov %cr2, %rax
    mov %rax, SHARED_CR2(%rbx)
    incq SHARED_COUNT(%rbx)
    lea -FRAME_SIZE(%rbx), %rsp
    mov SHARED_RECOVERY_RIP(%rbx), %rax
    mov %rax, FRAME_RIP(%rsp)
    mov SHARED_RECOVERY_RSP(%rbx), %rax
    mov %rax, FRAME_RSP(%rsp)
    movq $USER_RFLAGS, FRAME_RFLAGS(%rsp)
    iretq

    .section .ring0_bss, "aw", @nobits
    .globl interrupt_counts, manual_eoi
    .balign 64
interrupt_counts:
    .skip 256 * 4
manual_eoi:
    .skip 256
