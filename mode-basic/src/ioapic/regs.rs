//! Registers of the 82093AA (290566-001, chapter 3), and the message that leaves.

use bitfield_struct::bitfield;
use trivisor_buses::Msi;

/// Offsets in memory space.
pub mod offset {
    /// IOREGSEL: which register IOWIN is.
    pub const IOREGSEL: u64 = 0x00;
    /// IOWIN.
    pub const IOWIN: u64 = 0x10;
    /// EOIR: of version 0x20 and later; a vector written there has ended.
    pub const EOIR: u64 = 0x40;
}

/// Indices for IOREGSEL.
pub mod index {
    /// IOAPICID.
    pub const ID: u8 = 0x00;
    /// IOAPICVER.
    pub const VERSION: u8 = 0x01;
    /// IOAPICARB.
    pub const ARBITRATION: u8 = 0x02;
    /// The low half of IOREDTBL\[0\]; two indices a pin.
    pub const REDIRECTION: u8 = 0x10;
}

/// IOAPICID: index 0x00, read and write, reset 0.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Id {
    #[bits(24)]
    __: u32,
    /// Identification.
    #[bits(4)]
    pub id: u8,
    #[bits(4)]
    __: u8,
}

/// IOAPICVER: index 0x01, read only.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Version {
    /// 0x11 for the 82093AA; 0x20 says that there is an EOI register.
    pub version: u8,
    __: u8,
    /// Pins, less one.
    pub max_redirection: u8,
    __: u8,
}

/// Delivery modes of a redirection entry.
pub mod delivery {
    /// To the destination.
    pub const FIXED: u8 = 0;
    /// To the one of lowest priority.
    pub const LOWEST_PRIORITY: u8 = 1;
}

/// IOREDTBL: indices 0x10 to 0x3f, read and write, reset: masked.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Redirection {
    /// Interrupt vector, 0x10 to 0xfe.
    pub vector: u8,
    /// Delivery mode.
    #[bits(3)]
    pub delivery_mode: u8,
    /// The destination is logical, not an APIC identifier.
    pub logical: bool,
    /// Read only: waits to be delivered. Messages leave at once here, so it reads 0.
    pub delivery_status: bool,
    /// Active low. Lines have levels of their own here; it is kept and has no effect.
    pub active_low: bool,
    /// Read only: a level-triggered interrupt was accepted and has not ended.
    pub remote_irr: bool,
    /// Level-triggered.
    pub level: bool,
    /// Masked.
    #[bits(default = true)]
    pub masked: bool,
    #[bits(31)]
    __: u32,
    /// Bits 55:48: the extended destination of KVM and Hyper-V (bits 14:8 of an x2APIC identifier, in 55:49).
    pub extended_destination: u8,
    /// Destination.
    pub destination: u8,
}

/// Bits of a redirection entry that a guest cannot write.
pub const READ_ONLY: u64 = 1 << 12 | 1 << 14;

impl Redirection {
    /// The message that this entry sends: Intel SDM volume 3, "Message Signalled Interrupts".
    #[must_use]
    pub fn message(self) -> Msi {
        let address =
            0xfee0_0000 | u64::from(self.destination()) << 12 | u64::from(self.logical()) << 2;
        // The redirection hint goes with lowest priority.
        let hint = u64::from(self.delivery_mode() == delivery::LOWEST_PRIORITY) << 3;
        let level = u32::from(self.level());
        let data = u32::from(self.vector())
            | u32::from(self.delivery_mode()) << 8
            | level << 14
            | level << 15;
        Msi {
            address: address | hint,
            data,
        }
    }
}
