//! What the guest's CPU is, beside what KVM supports: one table of CPUID bits and one of MSRs.
//!
//! A bit that no row names passes as KVM reports it: so do KVM's clock, its steal time and its EOI without an exit, wherever
//! it has them. Topology is computed in [`cpuid`](crate::cpuid).

/// What becomes of the bits of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Cleared.
    Mask,
    /// Set.
    Set,
}

/// Where a row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    /// On every host.
    Any,
    /// On PVM hosts only.
    Pvm,
}

/// A register of CPUID's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuidRow {
    pub(crate) host: Host,
    pub(crate) leaf: u32,
    pub(crate) register: Register,
    pub(crate) bits: u32,
    pub(crate) action: Action,
    /// Why; tests see to it that nobody leaves it out.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reader"))]
    pub(crate) why: &'static str,
}

const fn row(
    host: Host,
    leaf: u32,
    register: Register,
    bits: u32,
    action: Action,
    why: &'static str,
) -> CpuidRow {
    CpuidRow {
        host,
        leaf,
        register,
        bits,
        action,
        why,
    }
}

/// CPUID bits: Intel SDM volume 2, CPUID; KVM's leaves: Documentation/virt/kvm/x86/cpuid.rst.
#[rustfmt::skip]
pub(crate) const CPUID: &[CpuidRow] = &[
    row(Host::Any, 0x1, Register::Ecx, 1 << 3, Action::Mask, "MONITOR: an idle vCPU must leave by HLT, or it burns a host CPU"),
    row(Host::Any, 0x1, Register::Ecx, 1 << 24, Action::Set, "TSC deadline: KVM's local APIC has it and does not list it"),
    row(Host::Any, 0x1, Register::Ecx, 1 << 31, Action::Set, "hypervisor present: guests then look for KVM's leaves"),
    row(Host::Any, 0x6, Register::Eax, !(1 << 2), Action::Mask, "thermal and power management other than ARAT belong to the host"),
    row(Host::Any, 0x6, Register::Ecx, !0, Action::Mask, "hardware feedback belongs to the host"),
    row(Host::Any, 0xa, Register::Eax, !0, Action::Mask, "performance counters are not virtualised"),
    row(Host::Any, 0xa, Register::Ebx, !0, Action::Mask, "performance counters are not virtualised"),
    row(Host::Any, 0xa, Register::Edx, !0, Action::Mask, "performance counters are not virtualised"),
    row(Host::Pvm, 0x4000_0001, Register::Eax, 1 << 7, Action::Mask, "PV_UNHALT needs a hypercall, which hangs there"),
    row(Host::Pvm, 0x4000_0001, Register::Eax, 1 << 11, Action::Mask, "PV_SEND_IPI needs a hypercall, which hangs there"),
    row(Host::Pvm, 0x4000_0001, Register::Eax, 1 << 13, Action::Mask, "PV_SCHED_YIELD needs a hypercall, which hangs there"),
];

/// MSRs that a machine's firmware would have set before a kernel starts: number, value, why.
pub(crate) const BOOT_MSRS: &[(u32, u64, &str)] = &[
    (
        0x1a0,
        1,
        "IA32_MISC_ENABLE: fast strings, as every firmware leaves it",
    ),
    (
        0x2ff,
        0x806,
        "IA32_MTRR_DEF_TYPE: MTRRs on, all memory write-back",
    ),
];
