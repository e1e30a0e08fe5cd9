//! Registers of the 82371AB's function 3 (datasheet, 7.1 and 7.2).

use bitfield_struct::bitfield;

/// Offsets in configuration space (7.1).
pub mod offset {
    /// Power management base address, 32 bits; bit 0 reads 1.
    pub const PMBA: u8 = 0x40;
    /// Count A and B, general purpose input control, device resources and activity: 60 bytes.
    pub const CNTA: u8 = 0x44;
    /// Device activity B, 32 bits.
    pub const DEVACTB: u8 = 0x58;
    /// Device resource J, 32 bits; the last of them.
    pub const DEVRESJ: u8 = 0x7c;
    /// Power management I/O space enable.
    pub const PMREGMISC: u8 = 0x80;
    /// SMBus base address, 32 bits; bit 0 reads 1.
    pub const SMBBA: u8 = 0x90;
    /// SMBus host configuration, slave command, two shadow addresses, revision.
    pub const SMBHSTCFG: u8 = 0xd2;
}

/// Writable bits of PMBA and SMBBA.
pub const PMBA_BASE: u32 = 0xffc0;
/// Writable bits of SMBBA.
pub const SMBBA_BASE: u32 = 0xfff0;

/// PMREGMISC: offset 0x80, reset 0.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Pmregmisc {
    /// PMIOSE: the ports from PMBA on answer.
    pub pmiose: bool,
    #[bits(7)]
    __: u8,
}

/// Bit 25 of DEVACTB, in its last byte: APMC_EN, a write to APMC makes an SMI.
pub const APMC_EN: u8 = 1 << 1;

/// Offsets in port space from PMBA on (7.2).
pub mod port {
    /// Power management status, 16 bits.
    pub const PMSTS: u16 = 0x00;
    /// Power management resume enable, 16 bits.
    pub const PMEN: u16 = 0x02;
    /// Power management control, 16 bits.
    pub const PMCNTRL: u16 = 0x04;
    /// Power management timer, 32 bits.
    pub const PMTMR: u16 = 0x08;
    /// General purpose status, 16 bits.
    pub const GPSTS: u16 = 0x0c;
    /// General purpose enable, 16 bits.
    pub const GPEN: u16 = 0x0e;
    /// Processor control, 32 bits.
    pub const PCNTRL: u16 = 0x10;
    /// Processor level 2 and 3: reads enter a sleep state.
    pub const PLVL2: u16 = 0x14;
    /// Global status, 16 bits.
    pub const GLBSTS: u16 = 0x18;
    /// Device status, 32 bits.
    pub const DEVSTS: u16 = 0x1c;
    /// Global enable, 16 bits.
    pub const GLBEN: u16 = 0x20;
    /// Global control, 32 bits.
    pub const GLBCTL: u16 = 0x28;
    /// Device control, 32 bits.
    pub const DEVCTL: u16 = 0x2c;
    /// General purpose inputs, 3 bytes.
    pub const GPIREG: u16 = 0x30;
    /// General purpose outputs, 4 bytes.
    pub const GPOREG: u16 = 0x34;
}

/// PMSTS: cleared by writing 1, reset 0.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Pmsts {
    /// TMROF_STS: bit 23 of the timer changed.
    pub tmrof: bool,
    #[bits(3)]
    __: u8,
    /// BM_STS: a bus master was active; never set.
    pub bm: bool,
    /// GBL_STS: the BIOS asks for attention; never set.
    pub gbl: bool,
    #[bits(2)]
    __: u8,
    /// PWRBTN_STS: the power button was pressed.
    pub pwrbtn: bool,
    __: bool,
    /// RTC_STS: the clock's alarm; never set.
    pub rtc: bool,
    /// PWRBTNOR_STS: the button was held; never set.
    pub pwrbtnor: bool,
    #[bits(3)]
    __: u8,
    /// RSM_STS: the machine woke; never set.
    pub rsm: bool,
}

/// PMEN: which bits of PMSTS make an interrupt; reset 0.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Pmen {
    /// TMROF_EN.
    pub tmrof: bool,
    #[bits(4)]
    __: u8,
    /// GBL_EN.
    pub gbl: bool,
    #[bits(2)]
    __: u8,
    /// PWRBTN_EN.
    pub pwrbtn: bool,
    __: bool,
    /// RTC_EN.
    pub rtc: bool,
    #[bits(5)]
    __: u8,
}

/// PMCNTRL: reset 0.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Pmcntrl {
    /// SCI_EN: events make an SCI, not an SMI.
    pub sci_en: bool,
    /// BRLD_EN_BM: bus masters end C3. Kept.
    pub brld_en_bm: bool,
    /// GBL_RLS: the OS calls the BIOS. Kept.
    pub gbl_rls: bool,
    #[bits(7)]
    __: u8,
    /// SUS_TYP: the sleep state.
    #[bits(3)]
    pub sus_typ: u8,
    /// SUS_EN: enter it; reads 0.
    pub sus_en: bool,
    #[bits(2)]
    __: u8,
}

/// SUS_TYP of soft off: what `\_S5` says.
pub const SOFT_OFF: u8 = 0;

/// What switches ACPI on when it is written to APMC, by custom: what the FADT says.
pub const ACPI_ENABLE: u8 = 0xf1;
/// What switches it off.
pub const ACPI_DISABLE: u8 = 0xf0;

/// Hertz of the timer.
pub const TIMER_HZ: u64 = 3_579_545;
/// Bits of the timer.
pub const TIMER_BITS: u32 = 24;
