# Ring 3's side of the ring switch.

    .section .text.user, "ax"
    .code64
    .globl user_entry, ap_user_entry, call_service, call_with_recovery, service_instruction

    # RDI: the argument that ring 0 handed on.
user_entry:
    xor %ebp, %ebp
    call user_main
ap_user_entry:
    xor %ebp, %ebp
    call ap_user_main

    # RDI: service, RSI and RDX: arguments. Returns RAX.
call_service:
service_instruction:
    ud2
    ret

    # RDI: the processor's shared words, RSI: function, RDX: its argument.
    # Returns 0, or 1 when an exception ended the function.
call_with_recovery:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push (%rdi)
    push 8(%rdi)
    push %rdi
    lea 1f(%rip), %rax
    mov %rax, (%rdi)
    mov %rsp, 8(%rdi)
    mov %rdx, %rdi
    call *%rsi
    xor %eax, %eax
    jmp 2f
1:  mov $1, %eax
    cld
2:  pop %rdi
    pop 8(%rdi)
    pop (%rdi)
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
