//! Display memory as the processor sees it from 0xa0000 on.
//!
//! Plane `p` of address `a` is the byte `4 * a + p`, so that the latches are one double word.

use trivisor_memory::FileMapping;

use super::core::VgaChip;
use super::regs::{GraphicsMisc, GraphicsMode, MemoryMode, gfx, seq};

/// Bytes from 0xa0000 on that may answer.
pub const WINDOW_SIZE: u64 = 0x2_0000;

/// Addresses of a plane of the VGA: 64 KiB.
const PLANE: u64 = 0x1_0000;

/// Where an address of the window leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A byte of display memory.
    Byte(u64),
    /// An address in the planes, and the planes that the address itself selects.
    Planes { at: u64, selected: u8, odd: bool },
}

impl VgaChip {
    /// Reads the byte at `offset` in the window; ones where none answers.
    pub fn read_memory(&mut self, offset: u64, memory: &FileMapping) -> u8 {
        let mode = GraphicsMode::from_bits(self.gfx[gfx::MODE]);
        let place = self.place(offset, memory.size(), mode.odd_even());
        let (at, selected, odd) = match place {
            None => return 0xff,
            Some(Place::Byte(at)) => {
                let mut byte = [0xff];
                memory.read(at, &mut byte);
                let [byte] = byte;
                return byte;
            }
            Some(Place::Planes { at, selected, odd }) => (at, selected, odd),
        };
        let mut bytes = [0xff; 4];
        memory.read(at * 4, &mut bytes);
        self.latch = u32::from_le_bytes(bytes);
        let chain4 = MemoryMode::from_bits(self.seq[seq::MEMORY]).chain4();
        if chain4 {
            return lane(self.latch, selected.trailing_zeros());
        }
        if mode.compare() {
            let wanted = lanes(self.gfx[gfx::COMPARE]);
            let cared = lanes(self.gfx[gfx::CARE]);
            let different = (self.latch ^ wanted) & cared;
            let [a, b, c, d] = different.to_le_bytes();
            return !(a | b | c | d);
        }
        let plane = u32::from(self.gfx[gfx::READ_MAP]);
        let plane = if mode.odd_even() {
            plane & 2 | u32::from(odd)
        } else {
            plane
        };
        lane(self.latch, plane)
    }

    /// Writes the byte at `offset` in the window.
    pub fn write_memory(&mut self, offset: u64, value: u8, memory: &FileMapping) {
        let sequential = MemoryMode::from_bits(self.seq[seq::MEMORY]).sequential();
        let (at, selected) = match self.place(offset, memory.size(), !sequential) {
            None => return,
            Some(Place::Byte(at)) => {
                memory.write(at, &[value]);
                return;
            }
            Some(Place::Planes { at, selected, .. }) => (at, selected),
        };
        let planes = lanes(selected & self.seq[seq::MAP_MASK]);
        let mut bytes = [0; 4];
        if planes != u32::MAX {
            memory.read(at * 4, &mut bytes);
        }
        let old = u32::from_le_bytes(bytes);
        let new = old & !planes | self.to_planes(value) & planes;
        memory.write(at * 4, &new.to_le_bytes());
    }

    /// What a write of `value` leaves in the four planes.
    fn to_planes(&self, value: u8) -> u32 {
        let mode = GraphicsMode::from_bits(self.gfx[gfx::MODE]).write_mode();
        let rotate = self.gfx[gfx::ROTATE];
        let rotated = value.rotate_right(u32::from(rotate & 7));
        let set = lanes(self.gfx[gfx::SET_RESET]);
        let bit_mask = self.gfx[gfx::BIT_MASK];
        let (data, bit_mask) = match mode {
            1 => return self.latch,
            0 => {
                let enabled = lanes(self.gfx[gfx::ENABLE_SET_RESET]);
                (spread(rotated) & !enabled | set & enabled, bit_mask)
            }
            2 => (lanes(value & 0x0f), bit_mask),
            _ => (set, bit_mask & rotated),
        };
        let data = match rotate >> 3 & 3 {
            0 => data,
            1 => data & self.latch,
            2 => data | self.latch,
            _ => data ^ self.latch,
        };
        let mask = spread(bit_mask);
        data & mask | self.latch & !mask
    }

    /// Where `offset` leads; `None`: nothing answers.
    fn place(&self, offset: u64, size: u64, odd_even: bool) -> Option<Place> {
        let misc = GraphicsMisc::from_bits(self.gfx[gfx::MISC]);
        let (first, len) = match misc.map() {
            0 => (0, 0x2_0000),
            1 => (0, 0x1_0000),
            2 => (0x1_0000, 0x8000),
            _ => (0x1_8000, 0x8000),
        };
        let at = offset.checked_sub(first).filter(|at| *at < len)?;
        if !self.misc.ram_enable() {
            return None;
        }
        let chain4 = MemoryMode::from_bits(self.seq[seq::MEMORY]).chain4();
        if self.dispi.enabled() {
            let at = at & 0xffff | u64::from(self.dispi.bank()) << 16;
            if chain4 {
                return Some(Place::Byte(at)).filter(|_| at < size);
            }
            let (at, selected, odd) = (at, 0x0f, false);
            return Some(Place::Planes { at, selected, odd }).filter(|_| at < size / 4);
        }
        let odd = at & 1 != 0;
        let (at, selected) = if chain4 {
            (at & !3, 1 << (at & 3))
        } else if odd_even {
            let low = if misc.map() == 0 {
                at >> 16 & 1
            } else {
                u64::from(!self.misc.low_page())
            };
            let at = if misc.chain_odd_even() {
                at & !1 | low
            } else {
                at
            };
            (at, if odd { 0b1010 } else { 0b0101 })
        } else {
            (at, 0x0f)
        };
        let at = at % PLANE;
        Some(Place::Planes { at, selected, odd })
    }
}

/// A byte in all four planes.
fn spread(byte: u8) -> u32 {
    u32::from_le_bytes([byte; 4])
}

/// All bits of the planes whose bits are set.
fn lanes(planes: u8) -> u32 {
    let all = [1, 2, 4, 8].map(|plane| if planes & plane == 0 { 0 } else { 0xff });
    u32::from_le_bytes(all)
}

/// The byte of a plane.
const fn lane(planes: u32, plane: u32) -> u8 {
    let [a, b, c, d] = planes.to_le_bytes();
    match plane & 3 {
        0 => a,
        1 => b,
        2 => c,
        _ => d,
    }
}
