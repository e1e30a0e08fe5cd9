//! Registers of the MC146818A (datasheet, address map and "Registers").

use bitfield_struct::bitfield;

/// Ports, counted from 0x70.
pub mod offset {
    /// Index of the register that DATA is; bit 7 masks NMI on a PC.
    pub const INDEX: u16 = 0;
    /// The register that INDEX names.
    pub const DATA: u16 = 1;
}

/// Indices of the registers.
pub mod index {
    /// Seconds: read and write.
    pub const SECONDS: u8 = 0x00;
    /// Seconds alarm.
    pub const SECONDS_ALARM: u8 = 0x01;
    /// Minutes.
    pub const MINUTES: u8 = 0x02;
    /// Minutes alarm.
    pub const MINUTES_ALARM: u8 = 0x03;
    /// Hours; bit 7 is PM in the 12-hour mode.
    pub const HOURS: u8 = 0x04;
    /// Hours alarm.
    pub const HOURS_ALARM: u8 = 0x05;
    /// Day of the week, Sunday is 1.
    pub const DAY_OF_WEEK: u8 = 0x06;
    /// Day of the month.
    pub const DAY: u8 = 0x07;
    /// Month.
    pub const MONTH: u8 = 0x08;
    /// Year of the century.
    pub const YEAR: u8 = 0x09;
    /// Register A.
    pub const A: u8 = 0x0a;
    /// Register B.
    pub const B: u8 = 0x0b;
    /// Register C.
    pub const C: u8 = 0x0c;
    /// Register D.
    pub const D: u8 = 0x0d;
    /// The first byte of RAM.
    pub const RAM: u8 = 0x0e;
    /// The byte of RAM that holds the century on a PC.
    pub const CENTURY: u8 = 0x32;
    /// Bits of INDEX that count.
    pub const MASK: u8 = 0x7f;
}

/// Bytes of RAM: all behind the registers that seven bits of index reach.
pub const RAM_SIZE: usize = 0x80 - index::RAM as usize;

/// An alarm byte with both of these bits set matches always ("don't care").
pub const ALARM_ANY: u8 = 0xc0;

/// Hours, 12-hour mode: afternoon.
pub const PM: u8 = 0x80;

/// Register A: index 0x0a, read and write but for UIP, 0x26 as firmware leaves it.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct RegisterA {
    /// RS3 to RS0: the rate of the periodic interrupt.
    #[bits(4)]
    pub rs: u8,
    /// DV2 to DV0: the divider. 0b010: 32.768 kHz; 0b110 and 0b111 hold it in reset.
    #[bits(3)]
    pub dv: u8,
    /// UIP: an update is in progress or comes within 244 us. Read only.
    pub uip: bool,
}

impl RegisterA {
    /// The divider chain is held in reset.
    #[must_use]
    pub const fn held(self) -> bool {
        self.dv() & 0b110 == 0b110
    }

    /// Periodic interrupts a second on a time base of 32.768 kHz (table 5); `None`: there are none.
    #[must_use]
    pub const fn periodic_hz(self) -> Option<u32> {
        match self.rs() {
            0 => None,
            1 => Some(256),
            2 => Some(128),
            rs => Some(32_768 >> (rs - 1)),
        }
    }
}

/// Register B: index 0x0b, read and write, 0x02 as firmware leaves it.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct RegisterB {
    /// DSE: daylight saving. Kept, no effect.
    pub dse: bool,
    /// 24/12: hours count to 24.
    pub hours_24: bool,
    /// DM: binary, not BCD.
    pub dm: bool,
    /// SQWE: square wave. Kept, the pin leads nowhere.
    pub sqwe: bool,
    /// UIE: update-ended interrupt enable.
    pub uie: bool,
    /// AIE: alarm interrupt enable.
    pub aie: bool,
    /// PIE: periodic interrupt enable.
    pub pie: bool,
    /// SET: no updates; clears UIE.
    pub set: bool,
}

/// Register C: index 0x0c, read only, 0x00 after reset. A read clears it.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct RegisterC {
    #[bits(4)]
    __: u8,
    /// UF: an update has ended.
    pub uf: bool,
    /// AF: the time was that of the alarm.
    pub af: bool,
    /// PF: a period has ended.
    pub pf: bool,
    /// IRQF: a flag is set whose interrupt is enabled.
    pub irqf: bool,
}

/// Register D: index 0x0d, read only, 0x80.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct RegisterD {
    #[bits(7)]
    __: u8,
    /// VRT: RAM and time are valid.
    pub vrt: bool,
}
