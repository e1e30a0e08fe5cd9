//! The rate of the time-stamp counter, and KVM's paravirtual clock (Linux, Documentation/virt/kvm/x86/msr.rst).

use core::sync::atomic::{AtomicU32, Ordering};

use crate::cpu;
use crate::ring0;

const LEAF_HYPERVISOR: u32 = 0x4000_0000;
const LEAF_KVM_FEATURES: u32 = 0x4000_0001;
const LEAF_TIMING: u32 = 0x4000_0010;
const LEAF_TSC: u32 = 0x15;
const FEATURE_CLOCKSOURCE2: u32 = 1 << 3;
const MSR_SYSTEM_TIME: u32 = 0x4b56_4d01;
const ENABLE: u64 = 1;

/// `pvclock_vcpu_time_info`, as eight words that KVM writes.
#[repr(C, align(64))]
struct Page([AtomicU32; 8]);
static PAGE: Page = Page([const { AtomicU32::new(0) }; 8]);

/// A reading of KVM's clock.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Nanoseconds since the machine was made.
    pub nanoseconds: u64,
    /// Flags: bit 0, the counters of all processors agree.
    pub flags: u32,
    /// The counter's rate, by the page's multiplier.
    pub tsc_hz: u64,
}

fn has_kvm_clock() -> bool {
    let top = cpu::cpuid(LEAF_HYPERVISOR, 0);
    // "KVMKVMKVM"
    [top.ebx, top.ecx, top.edx] == [0x4b4d_564b, 0x564b_4d56, 0x4d]
        && cpu::cpuid(LEAF_KVM_FEATURES, 0).eax & FEATURE_CLOCKSOURCE2 != 0
}

/// Reads KVM's clock; `None` where there is none.
pub fn kvm_clock() -> Option<Reading> {
    if !has_kvm_clock() {
        return None;
    }
    let address = PAGE.0.as_ptr().addr() as u64;
    ring0::write_msr(MSR_SYSTEM_TIME, address | ENABLE);
    loop {
        let words = PAGE.0.each_ref().map(|word| word.load(Ordering::SeqCst));
        let [
            version,
            _,
            tsc_low,
            tsc_high,
            time_low,
            time_high,
            multiplier,
            rest,
        ] = words;
        let tsc = cpu::tsc();
        if version & 1 != 0 || PAGE.0[0].load(Ordering::SeqCst) != version || multiplier == 0 {
            continue;
        }
        let [shift, flags, ..] = rest.to_le_bytes();
        let shift = i32::from(shift.cast_signed());
        let shifted = |value: u128| {
            if shift < 0 {
                value >> -shift
            } else {
                value << shift
            }
        };
        let delta = tsc.wrapping_sub(u64::from(tsc_low) | u64::from(tsc_high) << 32);
        let passed = (shifted(u128::from(delta)) * u128::from(multiplier)) >> 32;
        let time = u64::from(time_low) | u64::from(time_high) << 32;
        let hz = (1_000_000_000u128 << 64) / (shifted(u128::from(multiplier) << 32)).max(1);
        return Some(Reading {
            nanoseconds: time.wrapping_add(u64::try_from(passed).unwrap_or(u64::MAX)),
            flags: u32::from(flags),
            tsc_hz: u64::try_from(hz).unwrap_or(0),
        });
    }
}

/// The counter's rate, from the first that tells it: CPUID leaf 0x15, leaf 0x40000010, KVM's clock.
pub fn tsc_hz() -> Option<u64> {
    if cpu::cpuid(0, 0).eax >= LEAF_TSC {
        let leaf = cpu::cpuid(LEAF_TSC, 0);
        if leaf.eax != 0 && leaf.ebx != 0 && leaf.ecx != 0 {
            return Some(u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax));
        }
    }
    let top = cpu::cpuid(LEAF_HYPERVISOR, 0).eax;
    if (LEAF_TIMING..LEAF_HYPERVISOR + 0x1000).contains(&top) {
        let khz = cpu::cpuid(LEAF_TIMING, 0).eax;
        if khz != 0 {
            return Some(u64::from(khz) * 1000);
        }
    }
    kvm_clock().map(|reading| reading.tsc_hz)
}
