//! The chip as a value: its registers, as ports reach them.

use trivisor_buses::AccessError;
use trivisor_buses::GuestTime;

use super::dispi::Dispi;
use super::regs::{
    CrtcMode, GraphicsMisc, GraphicsMode, MaxScan, MemoryMode, Misc, Overflow, Status1, attr, crtc,
    dispi, gfx, port, seq,
};

/// Colours of the DAC.
pub const COLOURS: usize = 256;

/// Nanoseconds of a scan line: 31.469 kHz, as all of the VGA's modes have.
const LINE_NS: u64 = 31_778;
/// Of these the beam is on its way back.
const H_RETRACE_NS: u64 = 6_356;

/// The digital-to-analogue converter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dac {
    pub(super) mask: u8,
    /// The latest address written was for reading.
    pub(super) reading: bool,
    pub(super) read_index: u8,
    pub(super) write_index: u8,
    /// Which of the three colours comes next.
    pub(super) component: u8,
    /// Red and green, until blue comes.
    pub(super) latch: [u8; 2],
    pub(super) colours: [[u8; 3]; COLOURS],
}

impl Default for Dac {
    fn default() -> Self {
        Self {
            mask: 0xff,
            reading: false,
            read_index: 0,
            write_index: 0,
            component: 0,
            latch: [0; 2],
            colours: [[0; 3]; COLOURS],
        }
    }
}

impl Dac {
    fn address(&mut self, index: u8, reading: bool) {
        if reading {
            self.read_index = index;
        } else {
            self.write_index = index;
        }
        self.reading = reading;
        self.component = 0;
    }

    fn read(&mut self) -> u8 {
        let colour = self.colours.get(usize::from(self.read_index));
        let part = colour.and_then(|colour| colour.get(usize::from(self.component)));
        let part = part.copied().unwrap_or_default();
        self.component += 1;
        if self.component == 3 {
            self.component = 0;
            self.read_index = self.read_index.wrapping_add(1);
        }
        part
    }

    fn write(&mut self, value: u8) {
        if let Some(part) = self.latch.get_mut(usize::from(self.component)) {
            *part = value;
            self.component += 1;
            return;
        }
        let [red, green] = self.latch;
        if let Some(colour) = self.colours.get_mut(usize::from(self.write_index)) {
            *colour = [red, green, value];
        }
        self.component = 0;
        self.write_index = self.write_index.wrapping_add(1);
    }
}

/// A VGA without its memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VgaChip {
    pub(super) misc: Misc,
    pub(super) feature: u8,
    pub(super) seq_index: u8,
    pub(super) seq: [u8; seq::COUNT],
    pub(super) gfx_index: u8,
    pub(super) gfx: [u8; gfx::COUNT],
    /// With PAS, bit 5.
    pub(super) attr_index: u8,
    /// The flip-flop: the next write to 0x3c0 is data.
    pub(super) attr_data_next: bool,
    pub(super) attr: [u8; attr::COUNT],
    pub(super) crtc_index: u8,
    pub(super) crtc: [u8; crtc::COUNT],
    pub(super) dac: Dac,
    /// A byte of each plane, that of plane 0 lowest.
    pub(super) latch: u32,
    pub(super) dispi: Dispi,
}

impl VgaChip {
    /// A chip after reset.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A byte read from `port`, at guest time `now`.
    ///
    /// # Errors
    /// When there is no register, or the CRTC answers at the other colour's ports.
    pub fn read(&mut self, port: u16, now: GuestTime) -> Result<u8, AccessError> {
        let port = self.colour_port(port)?;
        Ok(match port {
            port::ATTRIBUTE => self.attr_index,
            port::ATTRIBUTE_DATA => self.attr_data(),
            // No interrupt is pending, and the sense switches are open.
            port::STATUS0_MISC => 0,
            port::SEQUENCER_INDEX => self.seq_index,
            port::SEQUENCER_DATA => get(&self.seq, self.seq_index),
            port::DAC_MASK => self.dac.mask,
            port::DAC_READ => {
                if self.dac.reading {
                    3
                } else {
                    0
                }
            }
            port::DAC_WRITE => self.dac.write_index,
            port::DAC_DATA => self.dac.read(),
            port::FEATURE => self.feature,
            port::MISC => self.misc.into_bits(),
            port::GRAPHICS_INDEX => self.gfx_index,
            port::GRAPHICS_DATA => get(&self.gfx, self.gfx_index),
            port::CRTC_INDEX => self.crtc_index,
            port::CRTC_DATA => get(&self.crtc, self.crtc_index),
            port::STATUS1 => {
                self.attr_data_next = false;
                self.status1(now).into_bits()
            }
            _ => return Err(AccessError::NoRegister),
        })
    }

    /// A byte written to `port`.
    ///
    /// # Errors
    /// When there is no register, or it is read-only.
    pub fn write(&mut self, port: u16, value: u8) -> Result<(), AccessError> {
        let port = self.colour_port(port)?;
        match port {
            port::ATTRIBUTE => self.write_attribute(value),
            port::STATUS0_MISC => self.misc = Misc::from_bits(value & 0xef),
            port::SEQUENCER_INDEX => self.seq_index = value,
            port::SEQUENCER_DATA => set(&mut self.seq, self.seq_index, value, &seq::MASKS),
            port::DAC_MASK => self.dac.mask = value,
            port::DAC_READ => self.dac.address(value, true),
            port::DAC_WRITE => self.dac.address(value, false),
            port::DAC_DATA if self.dispi.wide_dac() => self.dac.write(value),
            port::DAC_DATA => self.dac.write(value & 0x3f),
            port::GRAPHICS_INDEX => self.gfx_index = value,
            port::GRAPHICS_DATA => set(&mut self.gfx, self.gfx_index, value, &gfx::MASKS),
            port::CRTC_INDEX => self.crtc_index = value,
            port::CRTC_DATA => self.write_crtc(value),
            port::STATUS1 => self.feature = value & 0x03,
            port::ATTRIBUTE_DATA | port::FEATURE | port::MISC => {
                return Err(AccessError::ReadOnly);
            }
            _ => return Err(AccessError::NoRegister),
        }
        Ok(())
    }

    /// A read of the display interface's index or data.
    #[must_use]
    pub const fn read_dispi(&self, index: u16, memory: u64) -> u16 {
        self.dispi.read(index, memory)
    }

    /// A write to the display interface's register `index`; `true`: display memory is to be cleared.
    pub fn write_dispi(&mut self, index: u16, value: u16, memory: u64) -> bool {
        let was_on = self.dispi.enabled();
        let clear = self.dispi.write(index, value, memory);
        if self.dispi.enabled() && (!was_on || index != dispi::BANK) {
            self.follow_dispi();
        }
        clear
    }

    /// The registers of the VGA as a BIOS would have set them for the mode of the display interface: the window at
    /// 0xa0000 then is its bank.
    fn follow_dispi(&mut self) {
        let mode = self.dispi.mode();
        let planar = mode.bpp == 4;
        let mut memory = MemoryMode::from_bits(self.seq[seq::MEMORY]);
        memory = memory.with_chain4(!planar);
        let mut graphics = GraphicsMode::from_bits(self.gfx[gfx::MODE]);
        graphics = graphics.with_interleave(false).with_shift256(!planar);
        if !planar {
            memory = memory.with_sequential(true).with_extended(true);
            self.seq[seq::MAP_MASK] = 0x0f;
        }
        self.seq[seq::MEMORY] = memory.into_bits();
        self.gfx[gfx::MODE] = graphics.into_bits();
        let misc = GraphicsMisc::from_bits(self.gfx[gfx::MISC]);
        self.gfx[gfx::MISC] = misc.with_graphics(true).with_map(1).into_bits();
        let crtc_mode = CrtcMode::from_bits(self.crtc[crtc::MODE]);
        self.crtc[crtc::MODE] = crtc_mode.with_map13(true).with_map14(true).into_bits();
        let low = |number: u32| number.to_le_bytes()[0];
        self.crtc[crtc::OFFSET] = low(mode.stride >> 3);
        self.crtc[crtc::H_DISPLAY] = low((mode.width >> 3).wrapping_sub(1));
        let last = mode.height.wrapping_sub(1);
        self.crtc[crtc::V_DISPLAY] = low(last);
        let overflow = Overflow::from_bits(self.crtc[crtc::OVERFLOW])
            .with_v_display_8(last & 0x100 != 0)
            .with_v_display_9(last & 0x200 != 0)
            .with_line_compare_8(true);
        self.crtc[crtc::OVERFLOW] = overflow.into_bits();
        self.crtc[crtc::LINE_COMPARE] = 0xff;
        let scan = MaxScan::from_bits(self.crtc[crtc::MAX_SCAN]);
        self.crtc[crtc::MAX_SCAN] = scan
            .with_lines(0)
            .with_double(false)
            .with_line_compare_9(true)
            .into_bits();
    }

    /// Shows the CRTC at one of its two places alone, as the colour ports.
    const fn colour_port(&self, port: u16) -> Result<u16, AccessError> {
        let (colour, same) = match port {
            port::CRTC_INDEX_MONO => (false, port::CRTC_INDEX),
            port::CRTC_DATA_MONO => (false, port::CRTC_DATA),
            port::STATUS1_MONO => (false, port::STATUS1),
            port::CRTC_INDEX | port::CRTC_DATA | port::STATUS1 => (true, port),
            _ => return Ok(port),
        };
        if self.misc.colour() == colour {
            Ok(same)
        } else {
            Err(AccessError::NoRegister)
        }
    }

    fn attr_data(&self) -> u8 {
        get(&self.attr, self.attr_index & 0x1f)
    }

    fn write_attribute(&mut self, value: u8) {
        if self.attr_data_next {
            let index = usize::from(self.attr_index & 0x1f);
            // While PAS is set, the palette belongs to the display.
            let locked = index < attr::MODE && self.attr_index & 0x20 != 0;
            if let Some(register) = self.attr.get_mut(index).filter(|_| !locked) {
                *register = value & attr::mask(index);
            }
        } else {
            self.attr_index = value & 0x3f;
        }
        self.attr_data_next = !self.attr_data_next;
    }

    fn write_crtc(&mut self, value: u8) {
        let index = usize::from(self.crtc_index);
        let protected = self.crtc[crtc::V_RETRACE_END] & 0x80 != 0;
        if protected && index < 8 {
            if index == crtc::OVERFLOW {
                let kept = Overflow::from_bits(self.crtc[crtc::OVERFLOW]);
                let new = Overflow::from_bits(value).line_compare_8();
                self.crtc[crtc::OVERFLOW] = kept.with_line_compare_8(new).into_bits();
            }
        } else if let Some(register) = self.crtc.get_mut(index) {
            *register = value;
        }
    }

    /// Scan lines of a frame, retrace included, and the line at which the vertical retrace begins.
    fn frame_lines(&self) -> (u64, u64) {
        let overflow = Overflow::from_bits(self.crtc[crtc::OVERFLOW]);
        let total = u64::from(self.crtc[crtc::V_TOTAL])
            | u64::from(overflow.v_total_8()) << 8
            | u64::from(overflow.v_total_9()) << 9;
        let retrace = u64::from(self.crtc[crtc::V_RETRACE])
            | u64::from(overflow.v_retrace_8()) << 8
            | u64::from(overflow.v_retrace_9()) << 9;
        let total = total + 2;
        // A retrace that is never reached would be waited for without end.
        (total, retrace.min(total - 1))
    }

    /// Frames since the machine was started.
    #[must_use]
    pub fn frame(&self, now: GuestTime) -> u64 {
        now.0 / (self.frame_lines().0 * LINE_NS)
    }

    fn status1(&self, now: GuestTime) -> Status1 {
        let (total, retrace) = self.frame_lines();
        let in_frame = now.0 % (total * LINE_NS);
        let (line, in_line) = (in_frame / LINE_NS, in_frame % LINE_NS);
        let end = u64::from(self.crtc[crtc::V_RETRACE_END] & 0x0f);
        // The end is compared with the low four bits of the counter.
        let lines = (end.wrapping_sub(retrace) & 0x0f).max(1);
        let v_retrace = (retrace..retrace + lines).contains(&line);
        let shown = line < self.v_display().into() && in_line < LINE_NS - H_RETRACE_NS;
        Status1::new()
            .with_display_disabled(!shown)
            .with_v_retrace(v_retrace)
    }

    /// Scan lines that show.
    pub(super) fn v_display(&self) -> u32 {
        let overflow = Overflow::from_bits(self.crtc[crtc::OVERFLOW]);
        let last = u32::from(self.crtc[crtc::V_DISPLAY])
            | u32::from(overflow.v_display_8()) << 8
            | u32::from(overflow.v_display_9()) << 9;
        last + 1
    }

    /// The scan line behind which the picture begins again at address 0.
    pub(super) fn line_compare(&self) -> u32 {
        let overflow = Overflow::from_bits(self.crtc[crtc::OVERFLOW]);
        let scan = MaxScan::from_bits(self.crtc[crtc::MAX_SCAN]);
        u32::from(self.crtc[crtc::LINE_COMPARE])
            | u32::from(overflow.line_compare_8()) << 8
            | u32::from(scan.line_compare_9()) << 9
    }
}

/// A register behind an index; there is none above the last.
fn get(registers: &[u8], index: u8) -> u8 {
    registers.get(usize::from(index)).copied().unwrap_or(0)
}

fn set(registers: &mut [u8], index: u8, value: u8, masks: &[u8]) {
    let index = usize::from(index);
    if let (Some(register), Some(mask)) = (registers.get_mut(index), masks.get(index)) {
        *register = value & mask;
    }
}
