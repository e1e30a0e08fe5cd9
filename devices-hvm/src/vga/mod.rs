//! VGA with the Bochs display interface, on PCI: text, planes, 256 colours, and a linear frame buffer of any size.
//!
//! Source: IBM, PS/2 Hardware Interface Technical Reference, Video Subsystem; J. Neal, FreeVGA: VGA/SVGA Video
//! Programming Information Guide (its register names here); Bochs, "VBE DISPI interface", version 0xb0c5; QEMU,
//! docs/specs/standard-vga.rst (the PCI function 1234:1111).
//!
//! | configuration | register | write | reset |
//! |---|---|---|---|
//! | 0x00, 0x2c | identity, class, subsystem | - | 1234:1111, 030000, revision 2, 1af4:1100 |
//! | 0x04 | COMMAND | ports, memory; mastership, errors and interrupt are kept | 0x0000 |
//! | 0x0c, 0x0d, 0x3c | cache line, latency, interrupt line | kept, no effect | 0x00 |
//! | 0x10 | base address register 0: as large as display memory | base | 0x00000008 |
//! | 0x18 | base address register 2: 4 KiB | base | 0x00000000 |
//!
//! | port | register | read | write | reset |
//! |---|---|---|---|---|
//! | 0x3c0 | attribute index, then data, by turns | the index | index (bit 5 PAS), data | 0x00 |
//! | 0x3c1 | attribute data | of the index | refused | 0x00 |
//! | 0x3c2 | input status 0, miscellaneous output | 0x00 | bit 4 reads 0 | 0x00 |
//! | 0x3c4, 0x3c5 | sequencer index, data | as written | 5 registers | 0x00 |
//! | 0x3c6 | DAC mask | as written | kept | 0xff |
//! | 0x3c7 | DAC state, read address | 3 after a read address, else 0 | colour to read | 0x00 |
//! | 0x3c8 | DAC write address | as written, goes on by itself | colour to write | 0x00 |
//! | 0x3c9 | DAC data | red, green, blue in turn | taken with blue | 0x00 |
//! | 0x3ca | feature control | bits 1:0 | refused | 0x00 |
//! | 0x3cc | miscellaneous output | as written | refused | 0x00 |
//! | 0x3ce, 0x3cf | graphics index, data | as written | 9 registers | 0x00 |
//! | 0x3d4, 0x3d5 | CRTC index, data | as written | 25 registers; 0 to 7 but for line compare are protected by bit 7 of 0x11 | 0x00 |
//! | 0x3da | input status 1, feature control | retraces; resets 0x3c0 to its index | bits 1:0 | - |
//! | 0x3b4, 0x3b5, 0x3ba | the same three | while miscellaneous output has bit 0 clear, the others then being refused | | |
//! | 0x1ce | DISPI index, 16 bits | as written | kept | 0x0000 |
//! | 0x1cf, 0x1d0 | DISPI data, 16 bits | of the index | 11 registers | 0x0000, ID 0xb0c5 |
//!
//! | memory | |
//! |---|---|
//! | 0xa0000 to 0xbffff | display memory by planes, as memory map select says; a bank of it in a mode of the display interface |
//! | base address register 0 | display memory from its first byte on |
//! | base address register 2 + 0x400 | ports 0x3c0 to 0x3df |
//! | base address register 2 + 0x500 | the DISPI registers, 16 bits each |
//!
//! Ports and the window at 0xa0000 answer while COMMAND lets the function do so. Plane `p` of address `a` is byte
//! `4 * a + p` of display memory. The guest reaches base address register 0 as memory, without this device
//! ([`PageMapper`]); the window traps, for what is stored there passes the chip. Writes to it and to the ports of the VGA
//! are posted ([`Posted`](trivisor_buses::Posted)); they come in their order, and before any access that traps, but who
//! reads display memory by base address register 0 may find it without them.
//!
//! Retraces follow guest time, with 31.469 kHz a line as all modes of the VGA have: who waits for one waits a frame at
//! most. Nothing is drawn before somebody looks ([`Screen`]).
//!
//! Of the display interface's sizes only those that fit are kept when a mode is on: 2560 by 1600 pixels at most, whole
//! groups of 8, lines that lie in display memory, other depths than 4, 8, 15, 16, 24 and 32 as 8.
//!
//! **Not modelled**: interrupts of the vertical retrace, light pen, sense switches, which read as in the table; cursor
//! skew, clocks other than the dot clock's; the overscan's colour is not drawn; the expansion ROM's base address register,
//! which reads 0: firmware gets the option ROM from the board by the name [`ROM_FILE`]. What QEMU has at 0x000 (EDID) and
//! 0x600 of base address register 2, where ones are read.
//!
//! **Differs** from QEMU's: the DAC has six bits as the datasheet says, unless DISPI's 8BIT_DAC is set; chain 4 and
//! odd/even addresses lie in the planes where the datasheet puts them; miscellaneous output's RAM enable is obeyed; the
//! palette cannot be written while PAS is set, and 0x3c0 always reads the index; registers that do not exist read 0. A
//! DISPI offset at which the picture would leave its line is 0, QEMU's is 16000; BANK is 0 when a mode ends.
//!
//! **Relied on by**: SeaBIOS 1.16's option ROM for this function, and what calls it (GRUB 2.06, syslinux); Memtest86+ and
//! Linux 6.1 (vgacon), which write text themselves.

#[cfg(feature = "board")]
mod card;
mod core;
mod dispi;
mod legacy;
mod memory;
pub mod regs;
mod render;
mod state;
mod text;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use thiserror::Error;
use trivisor_buses::{
    AccessError, Clock, Component, FitError, FrameSink, PageMapper, RestoreError, SavedState,
    Screen, Slots, TextGrid,
};
use trivisor_memory::FileMapping;
use trivisor_pci::{
    Bar, Class, ConfigError, ConfigSpace, Endpoint, FunctionShell, Identity, PciFunction, RootBus,
};

#[cfg(feature = "board")]
pub use self::card::VgaCard;
pub use self::core::{COLOURS, Dac, VgaChip};
pub use self::dispi::Dispi;
pub use self::memory::WINDOW_SIZE;
use self::regs::{dispi as dispi_register, port};
use self::render::View;
pub use state::{VgaPageV1, VgaStateV1};
pub use text::code_page;

/// Where the window begins.
pub const WINDOW: u64 = 0xa_0000;

/// Bytes of display memory that suit all modes of [`Dispi`].
pub const MEMORY_SIZE: u64 = 16 << 20;

/// The name by which SeaBIOS looks for this function's option ROM among the firmware's files.
pub const ROM_FILE: &str = "pci1234,1111.rom";

const LINEAR: u8 = 0;
const REGISTERS: u8 = 2;
const REGISTERS_SIZE: u32 = 0x1000;

/// A VGA that cannot be made.
#[derive(Debug, Error)]
pub enum VgaError {
    /// Display memory of a size that no VGA has.
    #[error(
        "{size:#x} bytes of display memory: a power of two from 256 KiB to 256 MiB is possible"
    )]
    Memory {
        /// Bytes.
        size: u64,
    },
    /// Its registers do not fit.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The chip on PCI.
pub struct Vga {
    // Wiring.
    clock: Arc<dyn Clock>,
    pages: Arc<dyn PageMapper>,
    memory: Arc<FileMapping>,
    // Guest-visible state.
    endpoint: Endpoint,
    chip: VgaChip,
    // Not guest-visible.
    refused: u64,
}

impl std::fmt::Debug for Vga {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vga")
            .field("chip", &self.chip)
            .finish_non_exhaustive()
    }
}

/// Puts a VGA with this display memory onto `bus`, its ports and window onto the machine's buses, and its screen into
/// the machine.
///
/// # Errors
/// When the memory's size is not possible, the bus is full, or an address is taken.
pub fn fit(
    slots: &mut Slots,
    bus: &RootBus,
    memory: Arc<FileMapping>,
) -> Result<Arc<FunctionShell<Vga>>, FitError> {
    let host = slots.host();
    let chip = Vga::new(memory, host.clock.clone(), host.pages.clone());
    let chip = chip.map_err(FitError::chip("vga"))?;
    let chip = bus.add("vga", chip).map_err(FitError::chip("vga"))?;
    slots.component("vga", chip.clone());
    legacy::attach(slots, &chip)?;
    slots.screen(Arc::new(VgaScreen(chip.clone())));
    Ok(chip)
}

impl Vga {
    /// A VGA after reset.
    ///
    /// # Errors
    /// When the memory's size is not possible.
    pub fn new(
        memory: Arc<FileMapping>,
        clock: Arc<dyn Clock>,
        pages: Arc<dyn PageMapper>,
    ) -> Result<Self, VgaError> {
        let size = memory.size();
        let possible = size.is_power_of_two() && (256 << 10..=256 << 20).contains(&size);
        let bytes = u32::try_from(size).ok().filter(|_| possible);
        let bytes = bytes.ok_or(VgaError::Memory { size })?;
        let mut config = ConfigSpace::new(Identity {
            vendor: 0x1234,
            device: 0x1111,
            revision: 2,
            class: Class {
                base: 0x03,
                sub: 0x00,
                interface: 0x00,
            },
            subsystem_vendor: 0x1af4,
            subsystem: 0x1100,
        });
        config.add_bar(LINEAR, Bar::memory32(bytes).prefetchable())?;
        config.add_bar(REGISTERS, Bar::memory32(REGISTERS_SIZE))?;
        Ok(Self {
            clock,
            pages,
            memory,
            endpoint: Endpoint::new(config),
            chip: VgaChip::new(),
            refused: 0,
        })
    }

    /// Accesses of the ports that were refused.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// A byte from a port of the VGA; ones where none answers.
    fn port_read(&mut self, port: u16) -> Result<u8, AccessError> {
        let read = self.chip.read(port, self.clock.now());
        self.refused += u64::from(read.is_err());
        read
    }

    fn port_write(&mut self, port: u16, value: u8) -> Result<(), AccessError> {
        let written = self.chip.write(port, value);
        self.refused += u64::from(written.is_err());
        written
    }

    fn dispi_read(&self, index: u16) -> u16 {
        self.chip.read_dispi(index, self.memory.size())
    }

    fn dispi_write(&mut self, index: u16, value: u16) {
        if self.chip.write_dispi(index, value, self.memory.size()) {
            self.clear();
        }
    }

    /// Clears what the mode of the display interface shows, from the first byte on.
    fn clear(&self) {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mode = self.chip.dispi.mode();
        let mut left = u64::from(mode.stride) * u64::from(mode.height);
        let mut at = 0;
        while left > 0 {
            let len = left.min(4096);
            let zeros = usize::try_from(len).ok().and_then(|len| ZEROS.get(..len));
            self.memory.write(at, zeros.unwrap_or_default());
            at += len;
            left -= len;
        }
    }

    /// A copy to look at, for which nobody has to wait.
    fn look(&self) -> (VgaChip, Arc<FileMapping>, u64) {
        let frame = self.chip.frame(self.clock.now());
        (self.chip.clone(), self.memory.clone(), frame)
    }
}

impl PciFunction for Vga {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn endpoint_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    fn bar_read(&mut self, bar: u8, offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
        if bar == LINEAR {
            let there = self.memory.read(offset, data);
            return there.then_some(()).ok_or(AccessError::NoRegister);
        }
        match register(offset, data.len())? {
            Register::Ports(first) => {
                for (port, byte) in (first..).zip(data) {
                    *byte = self.port_read(port).unwrap_or(0xff);
                }
            }
            Register::Dispi(first) => {
                for (index, part) in (first..).zip(data.as_chunks_mut::<2>().0) {
                    *part = self.dispi_read(index).to_le_bytes();
                }
            }
        }
        Ok(())
    }

    fn bar_write(&mut self, bar: u8, offset: u64, data: &[u8]) -> Result<(), AccessError> {
        if bar == LINEAR {
            let there = self.memory.write(offset, data);
            return there.then_some(()).ok_or(AccessError::NoRegister);
        }
        match register(offset, data.len())? {
            Register::Ports(first) => {
                for (port, byte) in (first..).zip(data) {
                    // Counted; the others are taken all the same.
                    let _refused = self.port_write(port, *byte);
                }
            }
            Register::Dispi(first) => {
                for (index, part) in (first..).zip(data.as_chunks::<2>().0) {
                    self.dispi_write(index, u16::from_le_bytes(*part));
                }
            }
        }
        Ok(())
    }

    fn window_moved(&mut self, bar: u8, base: Option<u64>) {
        if bar == LINEAR {
            self.pages.show(&self.memory, base);
        }
    }
}

/// What stands behind base address register 2.
enum Register {
    /// Ports from this one on.
    Ports(u16),
    /// Registers of the display interface from this one on.
    Dispi(u16),
}

fn register(offset: u64, len: usize) -> Result<Register, AccessError> {
    let offset = u16::try_from(offset).map_err(|_| AccessError::NoRegister)?;
    let after = len.min(8).to_le_bytes()[0];
    let end = offset.saturating_add(after.into());
    match offset {
        0x400.. if end <= 0x420 => Ok(Register::Ports(port::ATTRIBUTE + (offset - 0x400))),
        0x500.. if end <= 0x500 + 2 * (dispi_register::MEMORY + 1) => {
            if offset % 2 == 0 && len.is_multiple_of(2) {
                Ok(Register::Dispi((offset - 0x500) / 2))
            } else {
                Err(AccessError::Width)
            }
        }
        _ => Err(AccessError::NoRegister),
    }
}

impl Component for Vga {
    fn reset(&mut self) {
        self.endpoint.reset();
        self.chip = VgaChip::new();
    }

    fn save(&self) -> SavedState {
        let state = VgaStateV1::new(self.endpoint.save(), &self.chip, &self.memory);
        SavedState::encode(state::KIND, state::VERSION, &state)
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let state: VgaStateV1 = state.decode(state::KIND, state::VERSION)?;
        let chip = state.chip(&self.memory)?;
        self.endpoint.restore(state::KIND, &state.endpoint)?;
        self.chip = chip;
        state.fill(&self.memory);
        Ok(())
    }
}

/// The display behind a VGA.
#[derive(Debug)]
pub struct VgaScreen(pub Arc<FunctionShell<Vga>>);

impl VgaScreen {
    fn look<R>(&self, with: impl FnOnce(View<'_>) -> R) -> R {
        let (chip, memory, frame) = self.0.with(|vga| vga.look());
        with(View {
            chip: &chip,
            memory: &memory,
            frame,
        })
    }
}

impl Screen for VgaScreen {
    fn render(&self, sink: &mut dyn FrameSink) {
        self.look(|view| view.render(sink));
    }

    fn text(&self) -> Option<TextGrid> {
        self.look(|view| view.text())
    }
}
