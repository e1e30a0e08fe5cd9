//! CPUID: KVM's list, the table's bits, and a topology that agrees with APIC identifiers and MADT.
//!
//! All vCPUs are cores of one package, one thread each; a vCPU's index is its APIC identifier.

use kvm_bindings::{CpuId, kvm_cpuid_entry2};

use crate::cpu_table::{Action, CPUID, CpuidRow, Host, Register};

/// The CPUID that all `vcpus` vCPUs of a VM share.
pub(crate) fn for_vm(supported: &CpuId, vcpus: u8, pvm: bool) -> CpuId {
    let mut cpuid = supported.clone();
    for entry in cpuid.as_mut_slice() {
        let leaf = entry.function;
        for row in CPUID
            .iter()
            .filter(|row| row.leaf == leaf && (pvm || row.host == Host::Any))
        {
            apply(entry, row);
        }
        describe_package(entry, vcpus.into());
    }
    cpuid
}

/// The CPUID of one vCPU.
pub(crate) fn for_vcpu(shared: &CpuId, index: u8) -> CpuId {
    let mut cpuid = shared.clone();
    let id = u32::from(index);
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            0x1 => entry.ebx = (entry.ebx & 0x00ff_ffff) | (id << 24),
            0xb | 0x1f => entry.edx = id,
            0x8000_001e => (entry.eax, entry.ebx) = (id, (entry.ebx & !0xff) | (id & 0xff)),
            _ => {}
        }
    }
    cpuid
}

fn apply(entry: &mut kvm_cpuid_entry2, row: &CpuidRow) {
    let register = match row.register {
        Register::Eax => &mut entry.eax,
        Register::Ebx => &mut entry.ebx,
        Register::Ecx => &mut entry.ecx,
        Register::Edx => &mut entry.edx,
    };
    match row.action {
        Action::Mask => *register &= !row.bits,
        Action::Set => *register |= row.bits,
    }
}

/// How many bits of an APIC identifier number `vcpus` cores.
const fn core_bits(vcpus: u32) -> u32 {
    vcpus.next_power_of_two().trailing_zeros()
}

fn describe_package(entry: &mut kvm_cpuid_entry2, vcpus: u32) {
    match entry.function {
        0x1 => {
            // EBX 23:16: identifiers that this package has room for; EDX 28: that field counts.
            entry.ebx = (entry.ebx & 0xff00_ffff) | (vcpus.next_power_of_two().min(255) << 16);
            entry.edx = if vcpus > 1 {
                entry.edx | (1 << 28)
            } else {
                entry.edx & !(1 << 28)
            };
        }
        // Deterministic cache parameters: 31:26 cores of the package, 25:14 threads on this cache, each less one.
        0x4 if entry.eax & 0x1f != 0 => {
            let room = vcpus.next_power_of_two() - 1;
            let level = (entry.eax >> 5) & 7;
            let sharing = if level >= 3 { room } else { 0 };
            entry.eax = (entry.eax & 0x3fff) | (sharing << 14) | (room.min(63) << 26);
        }
        // Extended topology: subleaf 0 the threads of a core, subleaf 1 the cores of the package.
        0xb | 0x1f => {
            let (shift, count, kind) = match entry.index {
                0 => (0, 1, 1),
                1 => (core_bits(vcpus), vcpus, 2),
                _ => (0, 0, 0),
            };
            (entry.eax, entry.ebx, entry.ecx) = (shift, count, entry.index | (kind << 8));
        }
        // AMD: 15:12 bits of the core number, 7:0 cores less one.
        0x8000_0008 => entry.ecx = (entry.ecx & !0xf0ff) | (core_bits(vcpus) << 12) | (vcpus - 1),
        _ => {}
    }
}
