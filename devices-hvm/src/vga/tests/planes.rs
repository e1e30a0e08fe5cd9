//! The window against a model that goes by the datasheet, plane by plane and bit by bit.

use super::*;

/// Four planes, and the registers that the window depends on.
struct Model {
    planes: [Vec<u8>; 4],
    latch: [u8; 4],
    seq: [u8; 5],
    gfx: [u8; 9],
    misc: u8,
}

impl Model {
    /// The planes that an access means, as a set, and the address in them.
    fn decode(&self, address: u64, odd_even: bool) -> Option<([bool; 4], usize)> {
        let range = match self.gfx[6] >> 2 & 3 {
            0 => 0xa_0000..0xc_0000,
            1 => 0xa_0000..0xb_0000,
            2 => 0xb_0000..0xb_8000,
            _ => 0xb_8000..0xc_0000,
        };
        if !range.contains(&address) || self.misc & 2 == 0 {
            return None;
        }
        let at = usize::try_from(address - range.start).unwrap();
        if self.seq[4] & 8 != 0 {
            let mut planes = [false; 4];
            planes[at % 4] = true;
            return Some((planes, at / 4 * 4 % 0x1_0000));
        }
        if odd_even {
            let odd = at % 2 == 1;
            let planes = [!odd, odd, !odd, odd];
            let low = match self.gfx[6] >> 2 & 3 {
                0 => at / 0x1_0000,
                _ => usize::from(self.misc & 0x20 == 0),
            };
            let at = if self.gfx[6] & 2 != 0 {
                at / 2 * 2 + low
            } else {
                at
            };
            return Some((planes, at % 0x1_0000));
        }
        Some(([true; 4], at % 0x1_0000))
    }

    fn read(&mut self, address: u64) -> u8 {
        let odd_even = self.gfx[5] & 0x10 != 0;
        let Some((planes, at)) = self.decode(address, odd_even) else {
            return 0xff;
        };
        for plane in 0..4 {
            self.latch[plane] = self.planes[plane][at];
        }
        if self.seq[4] & 8 != 0 {
            return self.latch[planes.iter().position(|plane| *plane).unwrap()];
        }
        if self.gfx[5] & 8 == 0 {
            let plane = usize::from(self.gfx[4]);
            return self.latch[if odd_even {
                plane & 2 | usize::from(planes[1])
            } else {
                plane
            }];
        }
        let mut result = 0;
        for bit in 0..8 {
            let equal = (0..4).all(|plane| {
                let dot = self.latch[plane] >> bit & 1;
                self.gfx[7] >> plane & 1 == 0 || dot == self.gfx[2] >> plane & 1
            });
            result |= u8::from(equal) << bit;
        }
        result
    }

    fn write(&mut self, address: u64, value: u8) {
        let Some((planes, at)) = self.decode(address, self.seq[4] & 4 == 0) else {
            return;
        };
        let count = u32::from(self.gfx[3] & 7);
        let rotated = (u16::from(value) << 8 >> count).to_le_bytes();
        let rotated = rotated[1] | rotated[0];
        for (plane, open) in planes.into_iter().enumerate() {
            if !open || self.seq[2] >> plane & 1 == 0 {
                continue;
            }
            let mut new = 0;
            for bit in 0..8 {
                let latch = self.latch[plane] >> bit & 1;
                let set = self.gfx[0] >> plane & 1;
                let enabled = self.gfx[1] >> plane & 1 == 1;
                let (dot, open) = match self.gfx[5] & 3 {
                    0 if enabled => (set, self.gfx[8] >> bit & 1),
                    0 => (rotated >> bit & 1, self.gfx[8] >> bit & 1),
                    1 => (0, 0),
                    2 => (value >> plane & 1, self.gfx[8] >> bit & 1),
                    _ => (set, self.gfx[8] & rotated & 1 << bit),
                };
                let dot = match self.gfx[3] >> 3 {
                    0 => dot,
                    1 => dot & latch,
                    2 => dot | latch,
                    _ => dot ^ latch,
                };
                new |= if open == 0 { latch } else { dot } << bit;
            }
            self.planes[plane][at] = new;
        }
    }
}

#[test]
fn the_window_does_what_the_model_does() {
    let (mut vga, _) = with_memory(256 << 10);
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut model = Model {
        planes: [(); 4].map(|()| vec![0; 0x1_0000]),
        latch: [0; 4],
        seq: [0; 5],
        gfx: [0; 9],
        misc: 0,
    };
    for round in 0..4096 {
        // A few registers, then a few accesses close to each other.
        for _ in 0..3 {
            let value = random.byte();
            match random.below(16) {
                0 => {
                    model.misc = value & 0xef | (2 * u8::from(random.below(8) != 0));
                    out(&mut vga, 0x3c2, model.misc);
                }
                index @ (2 | 4) => {
                    model.seq[usize::try_from(index).unwrap()] =
                        value & [0, 0, 0x0f, 0, 0x0e][usize::try_from(index).unwrap()];
                    set(&mut vga, 0x3c4, index.to_le_bytes()[0], value);
                }
                index => {
                    let index = index % 9;
                    let at = usize::try_from(index).unwrap();
                    model.gfx[at] = value & regs::gfx::MASKS[at];
                    set(&mut vga, 0x3ce, index.to_le_bytes()[0], value);
                }
            }
        }
        let base = 0xa_0000 + random.below(0x2_0000);
        for _ in 0..8 {
            let address = (base + random.below(6)).min(0xb_ffff);
            if random.below(2) == 0 {
                let value = random.byte();
                poke(&mut vga, address, &[value]);
                model.write(address, value);
            } else {
                let (found, wanted) = (peek(&mut vga, address), model.read(address));
                assert_eq!(found, wanted, "round {round}, {address:#x}");
            }
            assert_eq!(vga.chip.latch.to_le_bytes(), model.latch, "round {round}");
        }
    }
    let mut memory = vec![0; 256 << 10];
    assert!(vga.memory.read(0, &mut memory));
    for (at, planes) in memory.as_chunks::<4>().0.iter().enumerate() {
        let wanted: Vec<u8> = model.planes.iter().map(|plane| plane[at]).collect();
        assert_eq!(planes[..], wanted, "{at:#x}");
    }
}
