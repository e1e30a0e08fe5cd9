//! The Bochs display interface: modes of any size, without the VGA's timing.

use trivisor_buses::screen::{MAX_HEIGHT, MAX_WIDTH};

use super::regs::{DispiEnable, dispi};

/// Its largest picture: one of 16 MiB.
pub(super) const MAX_XRES: u16 = 2560;
const MAX_YRES: u16 = 1600;
const _: () = assert!(MAX_XRES as u32 <= MAX_WIDTH && MAX_YRES as u32 <= MAX_HEIGHT);
const MAX_BPP: u16 = 32;

/// A mode as it is shown: sizes are not 0, and the picture lies in display memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) bpp: u16,
    /// Bytes of display memory a line.
    pub(super) stride: u32,
    pub(super) x: u32,
    pub(super) y: u32,
}

/// The interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispi {
    pub(super) index: u16,
    /// ID to Y_OFFSET.
    pub(super) registers: [u16; 10],
}

impl Default for Dispi {
    fn default() -> Self {
        Self {
            index: 0,
            registers: [dispi::ID5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        }
    }
}

impl Dispi {
    fn get(&self, index: u16) -> u16 {
        let register = self.registers.get(usize::from(index));
        register.copied().unwrap_or(0)
    }

    fn set(&mut self, index: u16, value: u16) {
        if let Some(register) = self.registers.get_mut(usize::from(index)) {
            *register = value;
        }
    }

    const fn enable(&self) -> DispiEnable {
        let [_, _, _, _, enable, ..] = self.registers;
        DispiEnable::from_bits(enable)
    }

    pub(super) const fn enabled(&self) -> bool {
        self.enable().enabled()
    }

    pub(super) const fn wide_dac(&self) -> bool {
        self.enable().wide_dac()
    }

    /// The 64 KiB bank that shows at 0xa0000.
    pub(super) const fn bank(&self) -> u16 {
        let [_, _, _, _, _, bank, ..] = self.registers;
        bank
    }

    pub(super) const fn read(&self, index: u16, memory: u64) -> u16 {
        let [id, xres, yres, bpp, enable, bank, width, height, x, y] = self.registers;
        let capabilities = self.enable().capabilities();
        match index {
            dispi::ID => id,
            dispi::XRES if capabilities => MAX_XRES,
            dispi::YRES if capabilities => MAX_YRES,
            dispi::BPP if capabilities => MAX_BPP,
            dispi::XRES => xres,
            dispi::YRES => yres,
            dispi::BPP => bpp,
            dispi::ENABLE => enable,
            dispi::BANK => bank,
            dispi::VIRT_WIDTH => width,
            dispi::VIRT_HEIGHT => height,
            dispi::X_OFFSET => x,
            dispi::Y_OFFSET => y,
            dispi::MEMORY => blocks(memory),
            _ => 0,
        }
    }

    /// `true`: display memory is to be cleared.
    pub(super) fn write(&mut self, index: u16, value: u16, memory: u64) -> bool {
        match index {
            dispi::ID if (dispi::ID0..=dispi::ID5).contains(&value) => self.set(index, value),
            dispi::BANK => self.set(index, value & blocks(memory).wrapping_sub(1)),
            dispi::ENABLE => return self.write_enable(value, memory),
            dispi::XRES
            | dispi::YRES
            | dispi::BPP
            | dispi::VIRT_WIDTH
            | dispi::X_OFFSET
            | dispi::Y_OFFSET => {
                self.set(index, value);
                if self.enabled() {
                    self.settle(memory);
                }
            }
            _ => {}
        }
        false
    }

    fn write_enable(&mut self, value: u16, memory: u64) -> bool {
        let was_on = self.enabled();
        let new = DispiEnable::from_bits(value & 0x00e3);
        self.set(dispi::ENABLE, new.into_bits());
        if !new.enabled() {
            self.set(dispi::BANK, 0);
            return false;
        }
        if was_on {
            return false;
        }
        for register in [dispi::VIRT_WIDTH, dispi::X_OFFSET, dispi::Y_OFFSET] {
            self.set(register, 0);
        }
        self.settle(memory);
        !new.keep_memory()
    }

    /// Makes a mode of what was written.
    fn settle(&mut self, memory: u64) {
        let bpp = match self.get(dispi::BPP) {
            bpp @ (4 | 8 | 15 | 16 | 24 | 32) => bpp,
            _ => 8,
        };
        let width = (self.get(dispi::XRES) & !7).clamp(8, MAX_XRES);
        let most = !7;
        let virtual_width = (self.get(dispi::VIRT_WIDTH) & !7).clamp(width, most);
        let stride = stride(virtual_width, bpp);
        let lines = u16::try_from(memory / u64::from(stride)).unwrap_or(u16::MAX);
        let height = self.get(dispi::YRES).clamp(1, MAX_YRES).min(lines.max(1));
        let outside =
            |offset: u16, size: u16, all: u16| u32::from(offset) + u32::from(size) > u32::from(all);
        let x = Some(self.get(dispi::X_OFFSET)).filter(|x| !outside(*x, width, virtual_width));
        let y = Some(self.get(dispi::Y_OFFSET)).filter(|y| !outside(*y, height, lines));
        self.set(dispi::BPP, bpp);
        self.set(dispi::XRES, width);
        self.set(dispi::YRES, height);
        self.set(dispi::VIRT_WIDTH, virtual_width);
        self.set(dispi::VIRT_HEIGHT, lines);
        self.set(dispi::X_OFFSET, x.unwrap_or(0));
        self.set(dispi::Y_OFFSET, y.unwrap_or(0));
    }

    /// The mode; of use while it is enabled.
    pub(super) fn mode(&self) -> Mode {
        let bpp = self.get(dispi::BPP);
        Mode {
            width: self.get(dispi::XRES).into(),
            height: self.get(dispi::YRES).into(),
            bpp,
            stride: stride(self.get(dispi::VIRT_WIDTH), bpp),
            x: self.get(dispi::X_OFFSET).into(),
            y: self.get(dispi::Y_OFFSET).into(),
        }
    }

    /// Whether the registers are those of a mode, or none is enabled.
    pub(super) fn is_settled(&self, memory: u64) -> bool {
        let mut settled = self.clone();
        settled.settle(memory);
        !self.enabled() || settled == *self
    }
}

/// Bytes of a line in display memory. Four bits a pixel lie in four planes, whose bytes are neighbours.
fn stride(width: u16, bpp: u16) -> u32 {
    let bytes = match bpp {
        4 => return u32::from(width) / 2,
        15 | 16 => 2,
        24 => 3,
        32 => 4,
        _ => 1,
    };
    u32::from(width) * bytes
}

/// Blocks of 64 KiB.
const fn blocks(memory: u64) -> u16 {
    let blocks = memory >> 16;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "display memory is a power of two of at most 1 GiB"
    )]
    let blocks = blocks as u16;
    blocks
}
