//! The registers of a virtual CPU as plain values.
//!
//! Source: Intel SDM volume 3, chapter 2 (system registers) and 3.4.5 (segment descriptors).

use iced_x86::Register;

/// CR0 bits (Intel SDM volume 3, 2.5).
pub mod cr0 {
    /// Protection enable.
    pub const PE: u64 = 1 << 0;
    /// Monitor coprocessor: with TS, WAIT raises #NM.
    pub const MP: u64 = 1 << 1;
    /// No x87 present: SSE raises #UD, x87 raises #NM.
    pub const EM: u64 = 1 << 2;
    /// Task switched: the next x87 or vector instruction raises #NM.
    pub const TS: u64 = 1 << 3;
    /// Numeric errors raise #MF.
    pub const NE: u64 = 1 << 5;
}

/// CR4 bits (Intel SDM volume 3, 2.5).
pub mod cr4 {
    /// RDTSC and RDTSCP are for ring 0 only.
    pub const TSD: u64 = 1 << 2;
    /// FXSAVE, FXRSTOR and SSE are on.
    pub const OSFXSR: u64 = 1 << 9;
    /// Five-level paging: linear addresses have 57 bits.
    pub const LA57: u64 = 1 << 12;
    /// RDFSBASE and its kin are on.
    pub const FSGSBASE: u64 = 1 << 16;
    /// XSAVE and XGETBV are on.
    pub const OSXSAVE: u64 = 1 << 18;
    /// Supervisor-mode access prevention.
    pub const SMAP: u64 = 1 << 21;
    /// Control-flow enforcement: shadow stacks may be on.
    pub const CET: u64 = 1 << 23;
}

/// EFER bits (Intel SDM volume 3, 2.2.1).
pub mod efer {
    /// SYSCALL and SYSRET are on.
    pub const SCE: u64 = 1 << 0;
    /// Long mode is active.
    pub const LMA: u64 = 1 << 10;
    /// SYSRET, FXSAVE and FXRSTOR take the AMD short cut (fast FXSAVE).
    pub const FFXSR: u64 = 1 << 14;
}

/// RFLAGS bits (Intel SDM volume 1, 3.4.3).
pub mod rflags {
    /// Carry.
    pub const CF: u64 = 1 << 0;
    /// Reads as one.
    pub const FIXED: u64 = 1 << 1;
    /// Even parity of the low byte.
    pub const PF: u64 = 1 << 2;
    /// Carry out of bit 3.
    pub const AF: u64 = 1 << 4;
    /// Zero.
    pub const ZF: u64 = 1 << 6;
    /// Sign.
    pub const SF: u64 = 1 << 7;
    /// Single step.
    pub const TF: u64 = 1 << 8;
    /// Interrupts are on.
    pub const IF: u64 = 1 << 9;
    /// String instructions go down.
    pub const DF: u64 = 1 << 10;
    /// Signed overflow.
    pub const OF: u64 = 1 << 11;
    /// I/O privilege level, two bits.
    pub const IOPL: u64 = 3 << 12;
    /// Nested task.
    pub const NT: u64 = 1 << 14;
    /// Resume: no instruction breakpoint for one instruction.
    pub const RF: u64 = 1 << 16;
    /// Virtual-8086 mode.
    pub const VM: u64 = 1 << 17;
    /// Alignment check, or access to user pages under SMAP.
    pub const AC: u64 = 1 << 18;
    /// Virtual interrupt flag.
    pub const VIF: u64 = 1 << 19;
    /// Virtual interrupt pending.
    pub const VIP: u64 = 1 << 20;
    /// CPUID exists.
    pub const ID: u64 = 1 << 21;
    /// The six flags of arithmetic.
    pub const ARITHMETIC: u64 = CF | PF | AF | ZF | SF | OF;
}

/// General registers, instruction pointer and flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct General {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15: the order of their numbers.
    pub gpr: [u64; 16],
    /// RIP, relative to the base of CS.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
}

/// A segment register with its hidden part; the fields are those of KVM's `kvm_segment`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Segment {
    /// Linear address of its first byte.
    pub base: u64,
    /// Offset of its last byte, granularity already applied.
    pub limit: u32,
    /// The visible part.
    pub selector: u16,
    /// Descriptor type, four bits: for S = 1 accessed, writable/readable, expand down/conforming, code.
    pub kind: u8,
    /// Descriptor privilege level, 0 to 3. That of SS is the current privilege level.
    pub dpl: u8,
    /// P, the segment is present.
    pub present: bool,
    /// S, a code or data segment and not a system one.
    pub code_or_data: bool,
    /// D/B, 32-bit operands and addresses by default.
    pub big: bool,
    /// L, 64-bit code.
    pub long: bool,
    /// G, the descriptor counted its limit in pages.
    pub granular: bool,
    /// AVL, software's own bit.
    pub available: bool,
    /// Loaded with a null selector.
    pub unusable: bool,
}

/// GDTR or IDTR.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DescriptorTable {
    /// Linear address of its first byte.
    pub base: u64,
    /// Offset of its last byte.
    pub limit: u16,
}

/// Segment, table and control registers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct System {
    /// Code segment.
    pub cs: Segment,
    /// Data segment.
    pub ds: Segment,
    /// Extra segment.
    pub es: Segment,
    /// FS.
    pub fs: Segment,
    /// GS.
    pub gs: Segment,
    /// Stack segment.
    pub ss: Segment,
    /// Task register.
    pub tr: Segment,
    /// Local descriptor table.
    pub ldt: Segment,
    /// Global descriptor table.
    pub gdt: DescriptorTable,
    /// Interrupt descriptor table.
    pub idt: DescriptorTable,
    /// CR0.
    pub cr0: u64,
    /// CR4.
    pub cr4: u64,
    /// The EFER register.
    pub efer: u64,
}

/// All that an instruction without vectors can touch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Registers {
    /// General registers, RIP, RFLAGS.
    pub general: General,
    /// Segment, table and control registers.
    pub system: System,
}

/// Which half of [`Registers`] an instruction changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// [`Registers::general`] alone.
    General,
    /// Both halves.
    Both,
}

impl System {
    /// Current privilege level, given RFLAGS.
    #[must_use]
    pub fn cpl(&self, flags: u64) -> u8 {
        if self.cr0 & cr0::PE == 0 {
            0
        } else if flags & rflags::VM != 0 {
            3
        } else {
            self.ss.dpl & 3
        }
    }

    /// Width of code, given RFLAGS: 16, 32 or 64 bits.
    #[must_use]
    pub fn bitness(&self, flags: u64) -> u32 {
        if self.cr0 & cr0::PE == 0 || flags & rflags::VM != 0 {
            if self.cs.big && flags & rflags::VM == 0 {
                32
            } else {
                16
            }
        } else if self.efer & efer::LMA != 0 && self.cs.long {
            64
        } else if self.cs.big {
            32
        } else {
            16
        }
    }

    pub(crate) fn segment(&self, register: Register) -> &Segment {
        match register {
            Register::CS => &self.cs,
            Register::SS => &self.ss,
            Register::ES => &self.es,
            Register::FS => &self.fs,
            Register::GS => &self.gs,
            _ => &self.ds,
        }
    }
}
