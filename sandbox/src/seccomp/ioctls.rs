//! The requests of KVM that a running VM makes.
//!
//! Source: include/uapi/linux/kvm.h. This crate does not know KVM's crates, so requests are made of their
//! numbers and the sizes of their structures; the test of a whole jailed VM fails when one is missing.

/// `KVMIO` of kvm.h.
const KVM: u32 = 0xae;

/// `_IO`, `_IOW`, `_IOR`, `_IOWR` of asm-generic/ioctl.h: direction at bit 30, size at 16, type at 8.
const fn request(direction: u32, number: u32, size: u32) -> u32 {
    (direction << 30) | (size << 16) | (KVM << 8) | number
}

const NONE: u32 = 0;
const WRITE: u32 = 1;
const READ: u32 = 2;

/// On a VM's descriptor, by any thread: a device raises an interrupt.
pub(super) const DEVICE: &[(u32, &str)] = &[
    (request(WRITE, 0xa5, 32), "KVM_SIGNAL_MSI"),
    (request(WRITE, 0x6a, 8), "KVM_SET_GSI_ROUTING"),
];

/// On a VM's descriptor, by a thread that runs virtio devices and no disk's worker: a driver is ready to ring for its
/// queues, or has moved the place where it does.
pub(super) const BELLS: &[(u32, &str)] = &[(request(WRITE, 0x79, 64), "KVM_IOEVENTFD")];

/// On a tap, by any thread that runs virtio devices: the guest says which offloads it takes, and which header it knows
/// (linux/if_tun.h).
pub(super) const VIRTIO: &[(u32, &str)] = &[
    (
        (WRITE << 30) | (4 << 16) | (0x54 << 8) | 0xd0,
        "TUNSETOFFLOAD",
    ),
    (
        (WRITE << 30) | (4 << 16) | (0x54 << 8) | 0xd8,
        "TUNSETVNETHDRSZ",
    ),
];

/// On a VM's descriptor, by any thread that runs a PC's devices.
pub(super) const PC: &[(u32, &str)] = &[(request(WRITE, 0x61, 8), "KVM_IRQ_LINE")];

/// On a VM's descriptor, by a vCPU's thread: the guest has its chipset switch addresses between RAM and ROM, which maps
/// nothing into the guest but what this process has mapped already; or it moves registers whose writes are posted.
pub(super) const CHIPSET: &[(u32, &str)] = &[
    (request(WRITE, 0x46, 32), "KVM_SET_USER_MEMORY_REGION"),
    (request(WRITE, 0x67, 16), "KVM_REGISTER_COALESCED_MMIO"),
    (request(WRITE, 0x68, 16), "KVM_UNREGISTER_COALESCED_MMIO"),
];

/// On a vCPU's descriptor, by its own thread. KVM_RUN comes first, for it is made most often.
pub(super) const VCPU: &[(u32, &str)] = &[
    (request(NONE, 0x80, 0), "KVM_RUN"),
    (request(READ, 0x81, 144), "KVM_GET_REGS"),
    (request(WRITE, 0x82, 144), "KVM_SET_REGS"),
    (request(READ, 0x83, 312), "KVM_GET_SREGS"),
    (request(WRITE, 0x84, 312), "KVM_SET_SREGS"),
    (request(READ | WRITE, 0x88, 8), "KVM_GET_MSRS"),
    (request(WRITE, 0x89, 8), "KVM_SET_MSRS"),
    (request(READ | WRITE, 0x91, 8), "KVM_GET_CPUID2"),
    (request(WRITE, 0x9b, 72), "KVM_SET_GUEST_DEBUG"),
    (request(READ, 0x9f, 64), "KVM_GET_VCPU_EVENTS"),
    (request(WRITE, 0xa0, 64), "KVM_SET_VCPU_EVENTS"),
    (request(READ, 0xa4, 4096), "KVM_GET_XSAVE"),
    (request(WRITE, 0xa5, 4096), "KVM_SET_XSAVE"),
    (request(READ, 0xa6, 392), "KVM_GET_XCRS"),
    (request(WRITE, 0xa7, 392), "KVM_SET_XCRS"),
];
