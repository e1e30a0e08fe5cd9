//! Addresses and interrupt lines of the basic board, all in one place.
//!
//! | ports | chip | | memory | what |
//! |---|---|---|---|---|
//! | 0x060, 0x064 | keyboard controller: reset | | 0x000e0000 | ACPI tables, 64 KiB |
//! | 0x070 to 0x071 | clock and CMOS RAM | | 0x000f0000 | SMBIOS tables |
//! | 0x0f4 to 0x0f7 | debug exit, where it was asked for | | 0x000f0800 | MP table |
//! | 0x3f8 to 0x3ff | serial port | | 0x000ffff0 | VM generation ID, 16 bytes |
//! | 0x505 | pvpanic | | 0xfea00000 | flush hints, a page an image |
//! | 0x600 to 0x607 | power block | | 0xfec00000 | I/O APIC |
//! | | | | 0xfee00000 | local APICs (KVM's) |
//! | | | | RAM's end, 4 GiB or more | persistent memory |
//!
//! | pin | line |
//! |---|---|
//! | 4 | serial port |
//! | 9 | power block: generic event device |

/// Keyboard controller, first port; the second is 4 behind it.
pub const I8042: u16 = 0x60;
/// Real-time clock.
pub const RTC: u16 = 0x70;
/// Serial port.
pub const COM1: u16 = 0x3f8;
/// pvpanic.
pub const PVPANIC: u16 = 0x505;
/// Power block.
pub const POWER: u16 = 0x600;
/// Debug exit, unless asked for elsewhere.
pub const DEBUG_EXIT: u16 = 0xf4;

/// Interrupt of the serial port: edge-triggered, not shared.
pub const COM1_PIN: u8 = 4;
/// Interrupt of the generic event device: edge-triggered, not shared.
pub const POWER_PIN: u8 = 9;

/// RSDP and ACPI tables.
pub const ACPI: u64 = 0xe_0000;
/// Bytes for RSDP and ACPI tables.
pub const ACPI_SIZE: usize = 0x1_0000;
/// SMBIOS entry point and structures.
pub const SMBIOS: u64 = 0xf_0000;
/// MP table, behind all that SMBIOS could need, and in its page: a machine's RAM begins small.
pub const MP_TABLE: u32 = 0xf_0800;
/// VM generation ID, behind all that the MP table could need.
pub const GENERATION_ID: u64 = 0xf_fff0;

/// Flush hints of the first image of persistent memory; those of the next lie a page behind it.
pub const FLUSH_HINTS: u64 = 0xfea0_0000;
/// The most images: their flush hints end at 0xfeb00000.
pub const MAX_PMEM: usize = 256;
/// I/O APIC.
pub const IO_APIC: u32 = 0xfec0_0000;
/// Local APICs.
pub const LOCAL_APIC: u32 = 0xfee0_0000;

/// Each image of persistent memory starts at a multiple of this, so that the guest can map it by pages of
/// any size, and no two lie in one section of its memory map.
pub const PMEM_ALIGNMENT: u64 = 1 << 30;
/// The architecture's limit of physical addresses: persistent memory ends here.
pub const PHYSICAL_END: u64 = 1 << 52;
