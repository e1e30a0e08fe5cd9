//! Addresses and interrupt lines of the hvm board, all in one place.
//!
//! | ports | chip | | memory | what |
//! |---|---|---|---|---|
//! | 0x000, 0x0c0 | DMA controllers, a register each second port of the latter | | | |
//! | 0x020, 0x0a0, 0x4d0 | 8259s, ELCR (the host's) | | 0x000c0000 | segments that the host bridge switches, to 1 MiB |
//! | 0x040, 0x061 | 8254, its gate (the host's) | | 0x000e0000 | the firmware's last 128 KiB, where the bus answers |
//! | 0x060, 0x064 | keyboard controller | | | |
//! | 0x070 to 0x071 | clock and CMOS RAM | | 0x80000000 or 0xc0000000 | PCI functions, to 0xfebfffff |
//! | 0x080 to 0x08f | DMA page registers; firmware's progress at 0x80 | | | |
//! | 0x0b2 to 0x0b3 | APM control | | 0xfec00000 | I/O APIC (the host's) |
//! | 0x0f4 to 0x0f7 | debug exit, where it was asked for | | 0xfee00000 | local APICs (the host's) |
//! | 0x170 to 0x177, 0x376 | IDE, second channel | | 4 GiB less its size | firmware |
//! | 0x1f0 to 0x1f7, 0x3f6 | IDE, first channel | | | |
//! | 0x3f0 to 0x3f5, 0x3f7 | floppy controller, where there is a drive | | | |
//! | 0x3f8 to 0x3ff | serial port | | | |
//! | 0x402 | debug console, where it was asked for | | | |
//! | 0x505 | pvpanic | | | |
//! | 0x510 to 0x51b | firmware configuration | | | |
//! | 0x600 to 0x63f | power management, where firmware puts it | | | |
//! | 0xafe0 to 0xafe3 | general purpose events | | | |
//! | 0xcf8 to 0xcff | PCI configuration access; reset control at 0xcf9 | | | |
//!
//! | PCI device | function | | ISA interrupt | line |
//! |---|---|---|---|---|
//! | 0 | 0: host bridge | | 0 | 8254; pin 2 of the I/O APIC |
//! | 1 | 0: ISA bridge, 1: IDE, 3: power management | | 1 | keyboard |
//! | 2 and on | what is plugged in | | 4 | serial port |
//! | | | | 6 | floppy controller; DMA channel 2 |
//! | | | | 8 | clock |
//! | | | | 9 | SCI |
//! | | | | 10, 11 | PCI's four lines, where firmware leads them; an operating system may choose 5, too |
//! | | | | 12 | mouse |
//! | | | | 14, 15 | IDE, a channel each |

use std::ops::RangeInclusive;

/// DMA controllers: the first, and the second behind whose channel 4 it stands.
pub const DMA: [u16; 2] = [0x00, 0xc0];
/// Keyboard controller.
pub const KEYBOARD: u16 = 0x60;
/// Real-time clock.
pub const RTC: u16 = 0x70;
/// DMA's page registers.
pub const DMA_PAGES: u16 = 0x80;
/// APM control.
pub const APM: u16 = 0xb2;
/// Floppy controller.
pub const FLOPPY: u16 = 0x3f0;
/// Its one port that stands behind IDE's.
pub const FLOPPY_DATA_RATE: u16 = 0x3f7;
/// Serial port.
pub const COM1: u16 = 0x3f8;
/// Debug console.
pub const DEBUG_CONSOLE: u16 = 0x402;
/// pvpanic.
pub const PVPANIC: u16 = 0x505;
/// Firmware configuration.
pub const FW_CFG: u16 = 0x510;
/// Power management: where SeaBIOS puts it for a board that brings ACPI tables of its own, and the board itself where
/// there is no firmware. The tables say so.
pub const POWER_MANAGEMENT: u16 = 0x600;
/// General purpose events.
pub const GPE0: u16 = 0xafe0;
/// PCI configuration access.
pub const PCI_CONFIG: u16 = 0xcf8;
/// Reset control, among the ports of PCI configuration access.
pub const RESET: u16 = 0xcf9;
/// What resets the machine there.
pub const RESET_VALUE: u8 = 6;
/// Ports of PCI functions, where there is no firmware to give them.
pub const PCI_PORTS: RangeInclusive<u16> = 0xc000..=0xffff;

/// ISA interrupt of the keyboard.
pub const KEYBOARD_IRQ: usize = 1;
/// ISA interrupt of the serial port.
pub const COM1_IRQ: usize = 4;
/// ISA interrupt of the floppy controller.
pub const FLOPPY_IRQ: usize = 6;
/// DMA channel of the floppy controller.
pub const FLOPPY_DMA: usize = 2;
/// ISA interrupt of the clock.
pub const RTC_IRQ: usize = 8;
/// ISA interrupts of IDE's channels.
pub const IDE_IRQS: [usize; 2] = [14, 15];
/// IDE's command and control block of each channel.
pub const IDE_PORTS: [(u16, u16); 2] = [(0x1f0, 0x3f6), (0x170, 0x376)];
/// ISA interrupt of ACPI.
pub const SCI_IRQ: usize = 9;
/// ISA interrupt of the mouse.
pub const MOUSE_IRQ: usize = 12;
/// ISA interrupts of PIRQ A to D: where SeaBIOS leads them, and the board itself where there is no firmware. Who reads
/// ACPI finds them in the ISA bridge.
pub const PIRQ_IRQS: [u8; 4] = [10, 10, 11, 11];

/// ISA interrupts that a PIRQ may have: nothing else of the board's is there, and ACPI says that they are PCI's.
pub const PIRQ_POSSIBLE: [u8; 3] = [5, 10, 11];

/// Device number of the host bridge.
pub const HOST_BRIDGE: u8 = 0;
/// Device number of the chip with ISA bridge, IDE and power management.
pub const SOUTH_BRIDGE: u8 = 1;
/// Function number of IDE.
pub const IDE_FUNCTION: u8 = 1;
/// Function number of power management.
pub const PM_FUNCTION: u8 = 3;

/// What the host bridge switches, the display's memory included: no RAM of the machine's stands there for good.
pub const SWITCHED: std::ops::Range<u64> = 0xa_0000..0x10_0000;
/// Where the end of the firmware shows a second time, below 1 MiB.
pub const FIRMWARE_LOW: u64 = 0xe_0000;
/// Bytes of it at most.
pub const FIRMWARE_LOW_SIZE: u64 = 0x2_0000;
/// Where the firmware ends.
pub const FIRMWARE_END: u64 = 0x1_0000_0000;
/// Bytes of firmware at most: what lies above the local APICs, and its page.
pub const FIRMWARE_MAX: u64 = 16 << 20;

/// I/O APIC.
pub const IO_APIC: u32 = 0xfec0_0000;
/// Local APICs.
pub const LOCAL_APIC: u32 = 0xfee0_0000;
/// RSDP and ACPI tables, where there is no firmware to put them.
pub const ACPI: u64 = 0xe_0000;
/// SMBIOS entry point and structures, where there is no firmware.
pub const SMBIOS: u64 = 0xf_0000;

/// The last address of PCI functions' memory; it begins behind RAM, at [`pci_memory`].
pub const PCI_MEMORY_LAST: u32 = 0xfebf_ffff;

/// The first address of PCI functions' memory: 2 GiB, or 3 GiB with more RAM below 4 GiB. SeaBIOS has the same rule.
#[must_use]
pub const fn pci_memory(low_ram: u64) -> u32 {
    if low_ram <= 0x8000_0000 {
        0x8000_0000
    } else {
        0xc000_0000
    }
}
