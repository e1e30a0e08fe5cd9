//! Registers of the 82441FX in configuration space (datasheet, 3.2).

use bitfield_struct::bitfield;

/// Offsets in configuration space.
pub mod offset {
    /// PMC configuration, 16 bits.
    pub const PMCCFG: u8 = 0x50;
    /// Deturbo counter.
    pub const DETURBO: u8 = 0x52;
    /// Data bus configuration.
    pub const DBC: u8 = 0x53;
    /// Auxiliary control.
    pub const AXC: u8 = 0x54;
    /// DRAM row types, 16 bits.
    pub const DRT: u8 = 0x55;
    /// DRAM control.
    pub const DRAMC: u8 = 0x57;
    /// DRAM timing.
    pub const DRAMT: u8 = 0x58;
    /// Programmable attribute map, seven registers.
    pub const PAM: u8 = 0x59;
    /// DRAM row boundaries, eight registers.
    pub const DRB: u8 = 0x60;
    /// Fixed DRAM hole control.
    pub const FDHC: u8 = 0x68;
    /// Multi-transaction timer.
    pub const MTT: u8 = 0x70;
    /// CPU latency timer.
    pub const CLT: u8 = 0x71;
    /// System management RAM control.
    pub const SMRAM: u8 = 0x72;
    /// Error command.
    pub const ERRCMD: u8 = 0x90;
    /// Error status.
    pub const ERRSTS: u8 = 0x91;
}

/// Programmable attribute map registers.
pub const PAMS: usize = 7;

/// A half of a PAM register: the attributes of one segment, reset 0.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Attributes {
    /// RE: reads go to RAM.
    pub re: bool,
    /// WE: writes go to RAM.
    pub we: bool,
    #[bits(6)]
    __: u8,
}

/// The bits of a PAM register that exist: RE and WE of two segments.
pub const PAM_WRITABLE: u8 = 0x33;
/// The bits of PAM0 that exist: the segment from 0xf0000 on.
pub const PAM0_WRITABLE: u8 = 0x30;

/// SMRAM, offset 0x72, reset 0x02: the bits that can be written while D_LCK is clear.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Smram {
    /// C_BASE_SEG: where SMRAM is. Read only: 0xa0000.
    #[bits(3, default = 0b010)]
    pub c_base_seg: u8,
    /// G_SMRAME: SMRAM exists.
    pub g_smrame: bool,
    /// D_LCK: no bit but D_CLS changes any more, before the next reset.
    pub d_lck: bool,
    /// D_CLS: SMRAM takes no data.
    pub d_cls: bool,
    /// D_OPEN: SMRAM is open outside of SMM.
    pub d_open: bool,
    __: bool,
}
