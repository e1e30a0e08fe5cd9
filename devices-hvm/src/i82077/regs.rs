//! Registers of the 82077AA as a PC AT has them (290166, 2.1), and the bytes of its commands (5.0) and results (6.0).

use bitfield_struct::bitfield;

/// Ports, counted from 0x3f0.
pub mod offset {
    /// SRA: not driven in AT mode.
    pub const SRA: u16 = 0;
    /// SRB: not driven in AT mode.
    pub const SRB: u16 = 1;
    /// DOR.
    pub const DOR: u16 = 2;
    /// TDR.
    pub const TDR: u16 = 3;
    /// MSR (read), DSR (write).
    pub const MSR_DSR: u16 = 4;
    /// FIFO.
    pub const FIFO: u16 = 5;
    /// DIR (read), CCR (write).
    pub const DIR_CCR: u16 = 7;
}

/// DOR: digital output, offset 2, read and write, reset 0x00.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Dor {
    /// DRIVE SEL: which drive.
    #[bits(2)]
    pub drive: usize,
    /// RESET#: low, the chip is in reset.
    pub run: bool,
    /// DMAGATE#: high, DRQ and INT are driven.
    pub gate: bool,
    /// MOT EN: a motor each drive.
    #[bits(4)]
    pub motors: u8,
}

/// TDR: tape drive, offset 3, reset 0x00. Only bits 1:0 are driven.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Tdr {
    /// TAPE SEL: kept.
    #[bits(2)]
    pub tape: u8,
    #[bits(6)]
    __: u8,
}

/// MSR: main status, offset 4, read only, reset 0x00.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Msr {
    /// DRV BUSY: never, drives seek at once.
    #[bits(4)]
    pub drives_busy: u8,
    /// CMD BSY: a command has begun and not ended.
    pub busy: bool,
    /// NON DMA: a command moves its data through the FIFO.
    pub non_dma: bool,
    /// DIO: the FIFO is to be read.
    pub read: bool,
    /// RQM: the FIFO is to be read or written.
    pub ready: bool,
}

/// DSR: data rate select, offset 4, write only, reset 0x02.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Dsr {
    /// DRATE SEL, which CCR writes as well.
    #[bits(2)]
    pub rate: u8,
    /// PRECOMP: kept.
    #[bits(3)]
    pub precomp: u8,
    __: bool,
    /// POWER DOWN: without effect.
    pub power_down: bool,
    /// S/W RESET: ends by itself.
    pub reset: bool,
}

/// DIR: digital input, offset 7, read only. Only bit 7 is driven.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Dir {
    #[bits(7)]
    pub undriven: u8,
    /// DSK CHG: the selected drive's disk may be another.
    pub changed: bool,
}

/// The second byte of most commands.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Unit {
    /// DS: which drive's cylinder and status.
    #[bits(2)]
    pub drive: u8,
    /// HDS: which head.
    #[bits(1)]
    pub head: u8,
    #[bits(5)]
    __: u8,
}

/// The first byte of READ DATA, WRITE DATA, FORMAT TRACK and READ ID.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Opcode {
    /// Which command.
    #[bits(5)]
    pub code: u8,
    /// SK: without effect, there are no deleted sectors.
    pub skip: bool,
    /// MFM: double density.
    pub mfm: bool,
    /// MT: goes on with the other side.
    pub multi_track: bool,
}

/// The second byte of CONFIGURE, reset 0x20.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Configure {
    /// FIFOTHR: kept.
    #[bits(4)]
    pub threshold: u8,
    /// POLL: kept until a reset, which clears it; so each reset is told of.
    pub poll_disabled: bool,
    /// EFIFO: kept.
    pub fifo_disabled: bool,
    /// EIS: commands seek.
    pub implied_seek: bool,
    __: bool,
}

/// The second byte of PERPENDICULAR MODE, reset 0x00.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Perpendicular {
    /// WGATE, GAP: kept until a reset.
    #[bits(2)]
    pub gap: u8,
    /// D3 to D0: kept.
    #[bits(4)]
    pub drives: u8,
    __: bool,
    /// OW: the drives' bits are written.
    pub overwrite: bool,
}

/// ST0.
pub mod st0 {
    /// IC: the command has ended abnormally.
    pub const ABNORMAL: u8 = 0x40;
    /// IC: no such command.
    pub const INVALID: u8 = 0x80;
    /// IC: found by polling, after a reset.
    pub const POLLING: u8 = 0xc0;
    /// SE: a seek has ended.
    pub const SEEK_END: u8 = 0x20;
    /// EC: no track 0 was found.
    pub const EQUIPMENT: u8 = 0x10;
}

/// ST1.
pub mod st1 {
    /// EN: the last sector of the track was moved, and more was wanted.
    pub const END: u8 = 0x80;
    /// DE: a sector is bad.
    pub const DATA_ERROR: u8 = 0x20;
    /// ND: no such sector.
    pub const NO_DATA: u8 = 0x04;
    /// NW: the disk is write-protected.
    pub const NOT_WRITABLE: u8 = 0x02;
    /// MA: nothing is found on the track.
    pub const MISSING_MARK: u8 = 0x01;
}

/// ST2.
pub mod st2 {
    /// WC: the head is on another cylinder.
    pub const WRONG_CYLINDER: u8 = 0x10;
    /// DD: a sector's data is bad.
    pub const DATA_ERROR: u8 = 0x20;
}

/// ST3.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct St3 {
    /// DS.
    #[bits(2)]
    pub drive: u8,
    /// HD.
    #[bits(1)]
    pub head: u8,
    /// Always set.
    pub set_3: bool,
    /// T0: the head is on cylinder 0.
    pub track_0: bool,
    /// Always set.
    pub set_5: bool,
    /// WP: the disk is write-protected.
    pub protected: bool,
    __: bool,
}
