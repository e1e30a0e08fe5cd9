//! Saved state of the VGA.

use serde::{Deserialize, Serialize};
use trivisor_buses::RestoreError;
use trivisor_memory::FileMapping;
use trivisor_pci::EndpointStateV1;

use super::core::{Dac, VgaChip};
use super::dispi::Dispi;
use super::regs::{Misc, attr, dispi, gfx, seq};

/// Name of the chip in saved state.
pub(super) const KIND: &str = "vga";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Bytes of a piece of display memory.
const PAGE: usize = 4096;

/// A piece of display memory that is not all zeros.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VgaPageV1 {
    /// Its number, in pieces of 4 KiB.
    pub number: u32,
    /// Its 4,096 bytes.
    pub bytes: Vec<u8>,
}

/// Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VgaStateV1 {
    /// The function's configuration space.
    pub endpoint: EndpointStateV1,
    /// Miscellaneous output.
    pub misc: u8,
    /// Feature control.
    pub feature: u8,
    /// Index and registers of the sequencer.
    pub seq_index: u8,
    /// Its 5 registers.
    pub seq: Vec<u8>,
    /// Index of the graphics controller.
    pub gfx_index: u8,
    /// Its 9 registers.
    pub gfx: Vec<u8>,
    /// Index of the attribute controller, with PAS.
    pub attr_index: u8,
    /// Its flip-flop: data comes next.
    pub attr_data_next: bool,
    /// Its 21 registers.
    pub attr: Vec<u8>,
    /// Index of the CRTC.
    pub crtc_index: u8,
    /// Its 25 registers.
    pub crtc: Vec<u8>,
    /// DAC mask.
    pub dac_mask: u8,
    /// The latest address was for reading.
    pub dac_reading: bool,
    /// The colour that is read next.
    pub dac_read_index: u8,
    /// The colour that is written next.
    pub dac_write_index: u8,
    /// Which of its components: 0 to 2.
    pub dac_component: u8,
    /// Red and green of a colour whose blue has not come.
    pub dac_latch: [u8; 2],
    /// 256 colours, red first.
    pub dac_colours: Vec<u8>,
    /// The latches, plane 0 lowest.
    pub latch: u32,
    /// Index of the display interface.
    pub dispi_index: u16,
    /// Its 10 registers.
    pub dispi: Vec<u16>,
    /// Display memory, lowest first.
    pub memory: Vec<VgaPageV1>,
}

impl VgaStateV1 {
    pub(super) fn new(endpoint: EndpointStateV1, chip: &VgaChip, memory: &FileMapping) -> Self {
        let VgaChip {
            misc,
            feature,
            seq_index,
            seq,
            gfx_index,
            gfx,
            attr_index,
            attr_data_next,
            attr,
            crtc_index,
            crtc,
            dac,
            latch,
            dispi,
        } = chip;
        Self {
            endpoint,
            misc: misc.into_bits(),
            feature: *feature,
            seq_index: *seq_index,
            seq: seq.to_vec(),
            gfx_index: *gfx_index,
            gfx: gfx.to_vec(),
            attr_index: *attr_index,
            attr_data_next: *attr_data_next,
            attr: attr.to_vec(),
            crtc_index: *crtc_index,
            crtc: crtc.to_vec(),
            dac_mask: dac.mask,
            dac_reading: dac.reading,
            dac_read_index: dac.read_index,
            dac_write_index: dac.write_index,
            dac_component: dac.component,
            dac_latch: dac.latch,
            dac_colours: dac.colours.as_flattened().to_vec(),
            latch: *latch,
            dispi_index: dispi.index,
            dispi: dispi.registers.to_vec(),
            memory: pages(memory),
        }
    }

    /// The registers, all of them checked; the endpoint's part is the caller's to check.
    pub(super) fn chip(&self, memory: &FileMapping) -> Result<VgaChip, RestoreError> {
        let check = |field, value, right| RestoreError::check(KIND, field, value, right);
        check("misc", self.misc.into(), self.misc & 0x10 == 0)?;
        check("feature", self.feature.into(), self.feature & !3 == 0)?;
        let index = self.attr_index;
        check("attr_index", index.into(), index & !0x3f == 0)?;
        let component = self.dac_component;
        check("dac_component", component.into(), component < 3)?;
        self.check_memory(memory)?;
        let attr = masked("attr", &self.attr, attr::mask)?;
        let registers = exact("dispi", &self.dispi)?;
        let dispi = Dispi {
            index: self.dispi_index,
            registers,
        };
        let id = dispi.read(dispi::ID, 0);
        let known = (dispi::ID0..=dispi::ID5).contains(&id);
        check("dispi id", id.into(), known)?;
        let enable = dispi.read(dispi::ENABLE, 0);
        check("dispi enable", enable.into(), enable & !0x00e3 == 0)?;
        let settled = dispi.is_settled(memory.size());
        check("dispi mode of", enable.into(), settled)?;
        let bank = u64::from(dispi.bank());
        check("dispi bank", bank, bank << 16 < memory.size())?;
        let colours: [u8; 768] = exact("dac_colours", &self.dac_colours)?;
        let (colours, _) = colours.as_chunks::<3>();
        Ok(VgaChip {
            misc: Misc::from_bits(self.misc),
            feature: self.feature,
            seq_index: self.seq_index,
            seq: masked("seq", &self.seq, |at| mask(&seq::MASKS, at))?,
            gfx_index: self.gfx_index,
            gfx: masked("gfx", &self.gfx, |at| mask(&gfx::MASKS, at))?,
            attr_index: index,
            attr_data_next: self.attr_data_next,
            attr,
            crtc_index: self.crtc_index,
            crtc: exact("crtc", &self.crtc)?,
            dac: Dac {
                mask: self.dac_mask,
                reading: self.dac_reading,
                read_index: self.dac_read_index,
                write_index: self.dac_write_index,
                component,
                latch: self.dac_latch,
                colours: exact("dac_colours", colours)?,
            },
            latch: self.latch,
            dispi,
        })
    }

    fn check_memory(&self, memory: &FileMapping) -> Result<(), RestoreError> {
        let check = |field, value, right| RestoreError::check(KIND, field, value, right);
        let count = memory.size() / 4096;
        let mut next = 0;
        for page in &self.memory {
            let number = u64::from(page.number);
            check("memory.number", number, (next..count).contains(&number))?;
            next = number + 1;
            let len = page.bytes.len();
            check("length of memory.bytes", count_of(len), len == PAGE)?;
        }
        Ok(())
    }

    /// Puts display memory back.
    pub(super) fn fill(&self, memory: &FileMapping) {
        let mut saved = self.memory.iter().peekable();
        for (number, mut old) in walk(memory) {
            match saved.next_if(|page| u64::from(page.number) == number) {
                Some(page) => {
                    memory.write(number * 4096, &page.bytes);
                }
                None if old.iter().any(|byte| *byte != 0) => {
                    old.fill(0);
                    memory.write(number * 4096, &old);
                }
                None => {}
            }
        }
    }
}

/// The pieces that are not all zeros.
fn pages(memory: &FileMapping) -> Vec<VgaPageV1> {
    let used = walk(memory).filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0));
    let page = |(number, bytes): (u64, [u8; PAGE])| VgaPageV1 {
        number: u32::try_from(number).unwrap_or(u32::MAX),
        bytes: bytes.to_vec(),
    };
    used.map(page).collect()
}

fn walk(memory: &FileMapping) -> impl Iterator<Item = (u64, [u8; PAGE])> {
    (0..memory.size() / 4096).map(|number| {
        let mut bytes = [0; PAGE];
        memory.read(number * 4096, &mut bytes);
        (number, bytes)
    })
}

/// As many registers as there are.
fn exact<T: Copy, const N: usize>(
    field: &'static str,
    registers: &[T],
) -> Result<[T; N], RestoreError> {
    registers.try_into().map_err(|_| RestoreError::Field {
        kind: KIND,
        field,
        value: count_of(registers.len()),
    })
}

/// The same, with no bit that does not exist.
fn masked<const N: usize>(
    field: &'static str,
    registers: &[u8],
    mask: impl Fn(usize) -> u8,
) -> Result<[u8; N], RestoreError> {
    for (at, register) in registers.iter().enumerate() {
        let right = register & !mask(at) == 0;
        RestoreError::check(KIND, field, (*register).into(), right)?;
    }
    exact(field, registers)
}

fn mask(masks: &[u8], at: usize) -> u8 {
    masks.get(at).copied().unwrap_or(0)
}

fn count_of(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
