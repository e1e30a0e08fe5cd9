//! Segment descriptors in memory.
//!
//! Source: Intel SDM volume 3, 3.4.5.

use crate::cpu::Cpu;
use crate::machine::Machine;
use crate::outcome::Fault;
use crate::registers::Segment;
use crate::width::Width;

const ACCESSED: u8 = 1;

/// A code or data descriptor and where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptor {
    pub(crate) segment: Segment,
    address: u64,
    access_byte: u8,
    flags_byte: u8,
}

impl Descriptor {
    pub(crate) const fn is_code(&self) -> bool {
        self.segment.code_or_data && self.segment.kind & 0b1000 != 0
    }

    pub(crate) const fn is_conforming(&self) -> bool {
        self.is_code() && self.segment.kind & 0b0100 != 0
    }

    /// The type as it stands in memory, without the mark of use.
    pub(crate) const fn raw_kind(&self) -> u8 {
        self.access_byte & 15
    }

    /// Privilege of the selector.
    pub(crate) const fn rpl(&self) -> u8 {
        (self.segment.selector & 3) as u8
    }

    /// What LAR gives: bytes 5 and 6 of the descriptor in their places.
    pub(crate) fn access_rights(&self) -> u64 {
        u64::from(self.access_byte) << 8 | u64::from(self.flags_byte & 0xf0) << 16
    }

    pub(crate) const fn is_writable_data(&self) -> bool {
        self.segment.code_or_data && self.segment.kind & 0b1010 == 0b0010
    }
}

impl<M: Machine> Cpu<'_, M> {
    /// Reads the descriptor that a selector names; a selector outside its table gives #GP(selector).
    pub(crate) fn descriptor(&mut self, selector: u16) -> Result<Descriptor, Fault> {
        let local = selector & 4 != 0;
        let (base, limit) = if local {
            (self.system.ldt.base, u64::from(self.system.ldt.limit))
        } else {
            (self.system.gdt.base, u64::from(self.system.gdt.limit))
        };
        let offset = u64::from(selector & !7);
        if offset + 7 > limit || local && self.system.ldt.unusable {
            return Err(Fault::gp(code(selector)));
        }
        let address = base.wrapping_add(offset);
        let raw = self.load_system(address, Width::Qword)?;
        let [l0, l1, b0, b1, b2, access_byte, flags, b3] = raw.to_le_bytes();
        let limit = u32::from_le_bytes([l0, l1, flags & 15, 0]);
        let granular = flags & 0x80 != 0;
        let segment = Segment {
            base: u64::from(u32::from_le_bytes([b0, b1, b2, b3])),
            limit: if granular { limit << 12 | 0xfff } else { limit },
            selector,
            kind: access_byte & 15 | ACCESSED,
            dpl: access_byte >> 5 & 3,
            present: access_byte & 0x80 != 0,
            code_or_data: access_byte & 0x10 != 0,
            big: flags & 0x40 != 0,
            long: flags & 0x20 != 0,
            granular,
            available: flags & 0x10 != 0,
            unusable: false,
        };
        Ok(Descriptor {
            segment,
            address,
            access_byte,
            flags_byte: flags,
        })
    }

    /// Marks a descriptor as used, as loading a segment register does.
    pub(crate) fn set_accessed(&mut self, descriptor: &Descriptor) -> Result<(), Fault> {
        if descriptor.access_byte & ACCESSED == 0 {
            self.store_system(
                descriptor.address.wrapping_add(5),
                descriptor.access_byte | ACCESSED,
            )?;
        }
        Ok(())
    }
}

/// A selector as error code.
pub(crate) fn code(selector: u16) -> u32 {
    u32::from(selector & !3)
}
