//! KVM's registers and the emulator's: the same values in other structs.

use kvm_bindings::{kvm_dtable, kvm_regs, kvm_segment, kvm_sregs};
use trivisor_emulator::{DescriptorTable, General, Segment, System};

use crate::vcpu::VcpuRegisters;

pub(crate) const fn from_kvm(general: &kvm_regs, system: &kvm_sregs) -> VcpuRegisters {
    VcpuRegisters {
        general: from_kvm_general(general),
        system: from_kvm_system(system),
        cr2: system.cr2,
        cr3: system.cr3,
    }
}

pub(crate) const fn from_kvm_general(k: &kvm_regs) -> General {
    General {
        gpr: [
            k.rax, k.rcx, k.rdx, k.rbx, k.rsp, k.rbp, k.rsi, k.rdi, k.r8, k.r9, k.r10, k.r11,
            k.r12, k.r13, k.r14, k.r15,
        ],
        rip: k.rip,
        rflags: k.rflags,
    }
}

pub(crate) const fn to_kvm_general(general: &General, k: &mut kvm_regs) {
    [
        k.rax, k.rcx, k.rdx, k.rbx, k.rsp, k.rbp, k.rsi, k.rdi, k.r8, k.r9, k.r10, k.r11, k.r12,
        k.r13, k.r14, k.r15,
    ] = general.gpr;
    (k.rip, k.rflags) = (general.rip, general.rflags);
}

pub(crate) const fn from_kvm_system(k: &kvm_sregs) -> System {
    System {
        cs: from_segment(&k.cs),
        ds: from_segment(&k.ds),
        es: from_segment(&k.es),
        fs: from_segment(&k.fs),
        gs: from_segment(&k.gs),
        ss: from_segment(&k.ss),
        tr: from_segment(&k.tr),
        ldt: from_segment(&k.ldt),
        gdt: DescriptorTable {
            base: k.gdt.base,
            limit: k.gdt.limit,
        },
        idt: DescriptorTable {
            base: k.idt.base,
            limit: k.idt.limit,
        },
        cr0: k.cr0,
        cr4: k.cr4,
        efer: k.efer,
    }
}

/// CR2, CR3, CR8, the APIC base and pending interrupts stay as they are.
pub(crate) fn to_kvm_system(system: &System, k: &mut kvm_sregs) {
    k.cs = to_segment(&system.cs);
    k.ds = to_segment(&system.ds);
    k.es = to_segment(&system.es);
    k.fs = to_segment(&system.fs);
    k.gs = to_segment(&system.gs);
    k.ss = to_segment(&system.ss);
    k.tr = to_segment(&system.tr);
    k.ldt = to_segment(&system.ldt);
    k.gdt = kvm_dtable {
        base: system.gdt.base,
        limit: system.gdt.limit,
        ..kvm_dtable::default()
    };
    k.idt = kvm_dtable {
        base: system.idt.base,
        limit: system.idt.limit,
        ..kvm_dtable::default()
    };
    (k.cr0, k.cr4, k.efer) = (system.cr0, system.cr4, system.efer);
}

const fn from_segment(k: &kvm_segment) -> Segment {
    Segment {
        base: k.base,
        limit: k.limit,
        selector: k.selector,
        kind: k.type_,
        dpl: k.dpl,
        present: k.present != 0,
        code_or_data: k.s != 0,
        big: k.db != 0,
        long: k.l != 0,
        granular: k.g != 0,
        available: k.avl != 0,
        unusable: k.unusable != 0,
    }
}

fn to_segment(segment: &Segment) -> kvm_segment {
    kvm_segment {
        base: segment.base,
        limit: segment.limit,
        selector: segment.selector,
        type_: segment.kind,
        present: segment.present.into(),
        dpl: segment.dpl,
        db: segment.big.into(),
        s: segment.code_or_data.into(),
        l: segment.long.into(),
        g: segment.granular.into(),
        avl: segment.available.into(),
        unusable: segment.unusable.into(),
        padding: 0,
    }
}
