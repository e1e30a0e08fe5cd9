//! The guest's page tables, walked in software: linear to physical addresses, with the fault that the
//! CPU would raise.
//!
//! Source: Intel SDM volume 3, chapter 4 (32-bit, PAE, 4-level and 5-level paging; 4.6 access rights;
//! 4.7 error codes). Accessed and dirty bits are not set: KVM's own walk does so when the guest goes on,
//! and no guest relies on them for pages that only user space of the host touched. Protection keys are
//! not checked.

use trivisor_emulator::registers::{cr4, efer, rflags};
use trivisor_emulator::{AccessKind, Registers};

/// The registers that decide how an address is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging {
    /// CR0, for PG and WP.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4, for PSE, PAE, LA57, SMEP and SMAP.
    pub cr4: u64,
    /// EFER, for LMA and NXE.
    pub efer: u64,
    /// RFLAGS.AC, which lifts SMAP.
    pub ac: bool,
}

/// #PF with this error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageFault {
    /// As the CPU pushes it (SDM volume 3, 4.7).
    pub error_code: u32,
}

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const CR0_WP: u64 = 1 << 16;
const CR0_PG: u64 = 1 << 31;
const CR4_PSE: u64 = 1 << 4;
const CR4_PAE: u64 = 1 << 5;
const CR4_SMEP: u64 = 1 << 20;
const EFER_NXE: u64 = 1 << 11;

/// A kind of paging: how many levels of how many bits.
struct Format {
    levels: u32,
    index_bits: u32,
    /// The highest level whose entries may map a large page.
    large_levels: u32,
}

impl Paging {
    /// Takes what it needs from the registers of a vCPU.
    #[must_use]
    pub fn new(registers: &Registers, cr3: u64) -> Self {
        let system = &registers.system;
        let ac = registers.general.rflags & rflags::AC != 0;
        Self {
            cr0: system.cr0,
            cr3,
            cr4: system.cr4,
            efer: system.efer,
            ac,
        }
    }

    fn format(&self) -> Format {
        if self.efer & efer::LMA != 0 {
            let levels = if self.cr4 & cr4::LA57 != 0 { 5 } else { 4 };
            Format {
                levels,
                index_bits: 9,
                large_levels: 3,
            }
        } else if self.cr4 & CR4_PAE != 0 {
            Format {
                levels: 3,
                index_bits: 9,
                large_levels: 2,
            }
        } else {
            Format {
                levels: 2,
                index_bits: 10,
                large_levels: if self.cr4 & CR4_PSE != 0 { 2 } else { 1 },
            }
        }
    }

    /// The physical address of `linear`, good to the end of its 4 KiB page. `entry` reads a paging-structure
    /// entry of 4 or 8 bytes; `None` when there is no RAM.
    ///
    /// # Errors
    /// The fault that the CPU would raise.
    pub fn translate(
        &self,
        linear: u64,
        kind: AccessKind,
        user: bool,
        mut entry: impl FnMut(u64, usize) -> Option<u64>,
    ) -> Result<u64, PageFault> {
        if self.cr0 & CR0_PG == 0 {
            return Ok(linear & 0xffff_ffff);
        }
        let format = self.format();
        let entry_bytes = if format.index_bits == 9 { 8 } else { 4 };
        let nx = if self.efer & EFER_NXE != 0 && entry_bytes == 8 {
            NO_EXECUTE
        } else {
            0
        };
        let absent = Err(self.fault(kind, user, false));
        let mut table = if format.levels == 3 {
            self.cr3 & 0xffff_ffe0
        } else {
            self.cr3 & ADDRESS
        };
        let (mut rights, mut no_execute) = (WRITABLE | USER, 0);
        for level in (1..=format.levels).rev() {
            let shift = 12 + (level - 1) * format.index_bits;
            let index = (linear >> shift) & ((1 << format.index_bits) - 1);
            let Some(value) = entry(
                table + index * entry_bytes,
                if entry_bytes == 8 { 8 } else { 4 },
            ) else {
                return absent;
            };
            if value & PRESENT == 0 {
                return absent;
            }
            // The four entries of a PAE page-directory-pointer table have no rights.
            if !(format.levels == 3 && level == 3) {
                rights &= value;
                no_execute |= value & nx;
            }
            let large = level > 1 && level <= format.large_levels && value & LARGE != 0;
            if large || level == 1 {
                self.check(kind, user, rights, no_execute)?;
                return Ok(frame(value, shift, entry_bytes) | (linear & ((1 << shift) - 1)));
            }
            table = value & ADDRESS;
        }
        absent
    }

    fn check(
        &self,
        kind: AccessKind,
        user: bool,
        rights: u64,
        no_execute: u64,
    ) -> Result<(), PageFault> {
        let write = matches!(kind, AccessKind::Write | AccessKind::Modify);
        let fetch = kind == AccessKind::Fetch;
        let user_page = rights & USER != 0;
        let denied = (user && !user_page)
            || (write && rights & WRITABLE == 0 && (user || self.cr0 & CR0_WP != 0))
            || (fetch && no_execute != 0)
            || (fetch && !user && user_page && self.cr4 & CR4_SMEP != 0)
            || (!fetch && !user && user_page && self.cr4 & cr4::SMAP != 0 && !self.ac);
        if denied {
            Err(self.fault(kind, user, true))
        } else {
            Ok(())
        }
    }

    fn fault(&self, kind: AccessKind, user: bool, present: bool) -> PageFault {
        let write = matches!(kind, AccessKind::Write | AccessKind::Modify);
        let fetch =
            kind == AccessKind::Fetch && (self.efer & EFER_NXE != 0 || self.cr4 & CR4_SMEP != 0);
        let error_code = u32::from(present)
            | u32::from(write) << 1
            | u32::from(user) << 2
            | u32::from(fetch) << 4;
        PageFault { error_code }
    }
}

/// The address of the page that an entry maps.
const fn frame(value: u64, shift: u32, entry_bytes: u64) -> u64 {
    let base = value & ADDRESS & !((1 << shift) - 1);
    // A 4 MiB page of 32-bit paging has bits 39:32 of its address in bits 20:13 (PSE-36).
    if entry_bytes == 4 && shift == 22 {
        base & 0xffff_ffff | ((value >> 13) & 0xff) << 32
    } else {
        base
    }
}
