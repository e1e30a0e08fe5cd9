//! What is told of a guest that crashed.

use std::fmt;

use trivisor_emulator::InstructionBytes;
use trivisor_kvm::VcpuRegisters;

/// How a guest crashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashCause {
    /// A fault while a double fault was delivered: the CPU shut down.
    TripleFault,
    /// The guest said so.
    Panicked {
        /// pvpanic's event bits.
        events: u8,
    },
    /// An instruction that neither KVM nor the emulator can execute.
    Instruction(InstructionBytes),
}

/// A crash, with the registers of the vCPU where it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashReport {
    /// How.
    pub cause: CrashCause,
    /// Which vCPU.
    pub vcpu: u8,
    /// Its registers; after a triple fault, what KVM left of them.
    pub registers: VcpuRegisters,
}

impl fmt::Display for CrashCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TripleFault => f.write_str("triple fault"),
            Self::Panicked { events } => {
                write!(f, "the guest reported a panic (pvpanic events {events:#x})")
            }
            Self::Instruction(bytes) => write!(f, "instruction {bytes} cannot be executed"),
        }
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "vCPU {}: {}", self.vcpu, self.cause)?;
        let general = &self.registers.general;
        let system = &self.registers.system;
        const NAMES: [&str; 16] = [
            "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11",
            "r12", "r13", "r14", "r15",
        ];
        writeln!(
            f,
            "  rip {:016x}  rflags {:016x}",
            general.rip, general.rflags
        )?;
        for (index, (name, value)) in NAMES.iter().zip(general.gpr).enumerate() {
            let end = if index % 4 == 3 { "\n" } else { "" };
            write!(f, "  {name:3} {value:016x}{end}")?;
        }
        let (cr2, cr3) = (self.registers.cr2, self.registers.cr3);
        writeln!(
            f,
            "  cr0 {:016x}  cr2 {cr2:016x}  cr3 {cr3:016x}  cr4 {:016x}",
            system.cr0, system.cr4
        )?;
        writeln!(
            f,
            "  efer {:x}  cs {:04x}  ss {:04x}  ds {:04x}",
            system.efer, system.cs.selector, system.ss.selector, system.ds.selector
        )?;
        write!(
            f,
            "  gdt {:x}:{:x}  idt {:x}:{:x}",
            system.gdt.base, system.gdt.limit, system.idt.base, system.idt.limit
        )
    }
}
