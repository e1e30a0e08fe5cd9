//! Registers of the two 8237s and their page registers (8237A datasheet, "Register Description"; 290550, 2.5.1).

use bitfield_struct::bitfield;

/// Offsets in a controller's ports; those of the second controller are twice as far from each other.
pub mod offset {
    /// Address of channel 0, 16 bits in two accesses; those of the other channels are 2 apart. Its count is behind it.
    pub const CHANNELS: u16 = 0;
    /// Status (read), Command (write).
    pub const STATUS_COMMAND: u16 = 8;
    /// Request (write).
    pub const REQUEST: u16 = 9;
    /// Write Single Mask Bit.
    pub const SINGLE_MASK: u16 = 10;
    /// Mode (write).
    pub const MODE: u16 = 11;
    /// Clear Byte Pointer Flip-Flop (write).
    pub const CLEAR_FLIP_FLOP: u16 = 12;
    /// Temporary (read), Master Clear (write).
    pub const TEMPORARY_MASTER_CLEAR: u16 = 13;
    /// Clear Mask (write).
    pub const CLEAR_MASK: u16 = 14;
    /// Write All Mask Bits; the PIIX3 lets it be read.
    pub const ALL_MASK: u16 = 15;
}

/// The page register of each channel. That of channel 4 is for refresh.
pub const PAGE_OF_CHANNEL: [usize; 8] = [7, 3, 1, 2, 15, 11, 9, 10];

/// Command: write only, reset 0x00.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Command {
    /// Memory to memory: not modelled.
    pub memory_to_memory: bool,
    /// Without effect.
    pub address_hold: bool,
    /// The controller does not serve its channels.
    pub disable: bool,
    /// Timing, priority and senses of DREQ and DACK: without effect.
    #[bits(5)]
    pub wiring: u8,
}

/// Mode: write only, a register a channel, reset 0x00. Bits 1:0 choose it.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Mode {
    /// Which channel.
    #[bits(2)]
    pub channel: usize,
    /// 0 verify, 1 write (to memory), 2 read (from memory), 3 illegal.
    #[bits(2)]
    pub transfer: u8,
    /// Address and count begin again at terminal count.
    pub autoinit: bool,
    /// The address counts down.
    pub decrement: bool,
    /// 0 demand, 1 single, 2 block, 3 cascade.
    #[bits(2)]
    pub kind: u8,
}

impl Mode {
    /// No memory is accessed, all else is done.
    pub const VERIFY: u8 = 0;
    /// To memory.
    pub const WRITE: u8 = 1;
    /// From memory.
    pub const READ: u8 = 2;
    /// Another controller is behind the channel.
    pub const CASCADE: u8 = 3;
}

/// Request and Write Single Mask Bit: bits 1:0 choose a channel.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct SingleBit {
    /// Which channel.
    #[bits(2)]
    pub channel: u8,
    /// The bit.
    pub set: bool,
    #[bits(5)]
    __: u8,
}

impl SingleBit {
    /// `bits`, with the channel's as this says.
    #[must_use]
    pub const fn applied(self, bits: u8) -> u8 {
        let bit = 1 << self.channel();
        if self.set() { bits | bit } else { bits & !bit }
    }
}
