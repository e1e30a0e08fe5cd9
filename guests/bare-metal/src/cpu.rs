//! Processor instructions, by ring 0 where some hosts keep them from ring 3.

use crate::ring0;

/// The answer to CPUID.
#[derive(Clone, Copy, Debug)]
pub struct Cpuid {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// One CPUID leaf.
pub fn cpuid(leaf: u32, subleaf: u32) -> Cpuid {
    let [eax, ebx, ecx, edx] = ring0::cpuid(leaf, subleaf);
    Cpuid { eax, ebx, ecx, edx }
}

/// The time-stamp counter.
pub fn tsc() -> u64 {
    // SAFETY: CR4.TSD is clear.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Spins for a number of TSC cycles.
pub fn delay(cycles: u64) {
    let start = tsc();
    while tsc().wrapping_sub(start) < cycles {
        core::hint::spin_loop();
    }
}

/// The APIC ID of leaf 1.
pub fn apic_id() -> u8 {
    cpuid(1, 0).ebx.to_le_bytes()[3]
}
