//! What each packet command does.

use super::super::drive::Front;
use super::super::pio::Pio;
use super::disc::event;
use super::packet::{Packet, code};
use super::{Cdrom, Job, Sense, answers, set_reason};

/// Bytes of parameters that MODE SELECT takes at most: more than all pages are.
pub(in super::super) const MAX_PARAMETERS: usize = 256;

/// What is left to do.
enum Rest {
    /// Nothing.
    Good,
    /// Gives so much of an answer.
    Answer(Vec<u8>, usize),
    /// Reads blocks.
    Read { lba: u32, blocks: u32 },
    /// Takes so many bytes of parameters behind a header of so many.
    Select { len: usize, header: u8 },
}

impl Cdrom {
    /// The host has written a packet.
    pub(super) fn execute(&mut self, front: &mut Front) {
        let packet = Packet::parse(&front.pio.take());
        self.job = Job::None;
        if packet.code() == code::REQUEST_SENSE {
            let sense = self.reported();
            return self.answer(front, sense.data().to_vec(), packet.byte(4).into());
        }
        match self.attend(packet.code()).and_then(|()| self.run(packet)) {
            Ok(Rest::Good) => self.good(front),
            Ok(Rest::Answer(data, len)) => self.answer(front, data, len),
            Ok(Rest::Read { lba, blocks }) => self.read(front, lba, blocks),
            Ok(Rest::Select { len: 0, .. }) => self.good(front),
            Ok(Rest::Select { len, header }) => self.ask_for_parameters(front, len, header),
            Err(sense) => self.check(front, sense),
        }
    }

    /// What REQUEST SENSE tells; after that it is told.
    fn reported(&mut self) -> Sense {
        if self.sense == Sense::NONE && std::mem::take(&mut self.changed) {
            return Sense::DISC_CHANGED;
        }
        std::mem::take(&mut self.sense)
    }

    /// A new disc is reported by the first command that looks for one.
    fn attend(&mut self, code: u8) -> Result<(), Sense> {
        let silent = matches!(
            code,
            code::INQUIRY | code::GET_CONFIGURATION | code::GET_EVENT_STATUS
        );
        if !silent && std::mem::take(&mut self.changed) {
            return Err(Sense::DISC_CHANGED);
        }
        Ok(())
    }

    fn present(&self) -> Result<u32, Sense> {
        match self.blocks() {
            0 => Err(self.no_disc()),
            blocks => Ok(blocks),
        }
    }

    fn run(&mut self, packet: Packet) -> Result<Rest, Sense> {
        let view = self.view();
        let long = usize::from(packet.u16(7));
        let answer = |data, len| Ok(Rest::Answer(data, len));
        match packet.code() {
            code::TEST_UNIT_READY => self.present().map(|_blocks| Rest::Good),
            code::INQUIRY => answer(answers::inquiry(packet)?, packet.byte(4).into()),
            code::START_STOP_UNIT => self.start_stop(packet),
            code::PREVENT_ALLOW => {
                self.locked = packet.byte(4) & 1 != 0;
                Ok(Rest::Good)
            }
            code::READ_CAPACITY => {
                let last = (self.present()? - 1).to_be_bytes();
                answer([last, 2048_u32.to_be_bytes()].concat(), 8)
            }
            code::READ_10 => self.range(packet, packet.u16(7).into()),
            code::READ_12 => self.range(packet, packet.u32(6)),
            code::READ_CD => self.read_cd(packet),
            code::SEEK => self.range(packet, 1).map(|_read| Rest::Good),
            code::READ_SUBCHANNEL => {
                self.present()?;
                answer(answers::subchannel(packet)?, long)
            }
            code::READ_TOC => answer(answers::toc(packet, self.present()?)?, long),
            code::GET_CONFIGURATION => answer(answers::configuration(packet, view)?, long),
            code::GET_EVENT_STATUS => {
                let data = answers::event_status(packet, self.event, view)?;
                if data.len() > 4 {
                    self.event = event::NONE;
                }
                answer(data, long)
            }
            code::READ_DISC_INFORMATION => {
                self.present()?;
                answer(answers::disc_information(), long)
            }
            code::READ_TRACK_INFORMATION => {
                let blocks = self.present()?;
                answer(answers::track_information(packet, blocks)?, long)
            }
            code::MODE_SENSE_6 => answer(
                answers::mode_sense(packet, false, view)?,
                packet.byte(4).into(),
            ),
            code::MODE_SENSE_10 => answer(answers::mode_sense(packet, true, view)?, long),
            code::MODE_SELECT_6 => Self::parameters(packet, packet.byte(4).into(), 4),
            code::MODE_SELECT_10 => Self::parameters(packet, long, 8),
            code::MECHANISM_STATUS => answer(answers::mechanism_status(view), packet.u16(8).into()),
            code::SET_CD_SPEED => Ok(Rest::Good),
            _ => Err(Sense::NO_SUCH_COMMAND),
        }
    }

    /// START STOP UNIT (MMC-2, 6.1.35).
    fn start_stop(&mut self, packet: Packet) -> Result<Rest, Sense> {
        let (start, load_eject) = (packet.byte(4) & 1 != 0, packet.byte(4) & 2 != 0);
        // With a power condition, the other bits do not count.
        if packet.byte(4) >> 4 == 0 && load_eject {
            if !start && self.locked {
                return Err(Sense::REMOVAL_PREVENTED);
            }
            self.move_tray(!start);
        }
        Ok(Rest::Good)
    }

    /// Blocks from the address that the packet has.
    fn range(&self, packet: Packet, blocks: u32) -> Result<Rest, Sense> {
        let lba = packet.u32(2);
        let end = lba.checked_add(blocks).ok_or(Sense::NO_SUCH_BLOCK)?;
        if end > self.present()? {
            return Err(Sense::NO_SUCH_BLOCK);
        }
        Ok(Rest::Read { lba, blocks })
    }

    /// READ CD (MMC-2, 6.1.15): nothing, or the user's data of the blocks.
    fn read_cd(&self, packet: Packet) -> Result<Rest, Sense> {
        const USER_DATA: u8 = 0x10;
        let read = self.range(packet, packet.u24(6))?;
        // Any kind of sector, mode 1, or mode 2 form 1: they have the same bytes here.
        let kind = packet.byte(1) >> 2 & 7;
        if !matches!(kind, 0 | 2 | 4) || packet.byte(10) & 7 != 0 {
            return Err(Sense::INVALID_FIELD);
        }
        match packet.byte(9) {
            0 => Ok(Rest::Good),
            USER_DATA => Ok(read),
            _ => Err(Sense::INVALID_FIELD),
        }
    }

    fn parameters(packet: Packet, len: usize, header: u8) -> Result<Rest, Sense> {
        // Pages cannot be saved.
        if packet.byte(1) & 1 != 0 || len > MAX_PARAMETERS {
            return Err(Sense::INVALID_FIELD);
        }
        Ok(Rest::Select { len, header })
    }

    /// MODE SELECT: what the pages say has to be what they are, for nothing can be changed.
    pub(super) fn select(&mut self, front: &mut Front, data: &[u8], header: u8) {
        let mut rest = data.get(header.into()..).unwrap_or_default();
        let descriptors = match header {
            4 => data.get(3).copied().unwrap_or(1).into(),
            _ => data.get(6..8).map_or(1, |len| {
                len.iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
            }),
        };
        let mut right = descriptors == 0;
        while right && !rest.is_empty() {
            let (page, len) = match *rest {
                [page, len, ..] => (page & 0x3f, usize::from(len) + 2),
                _ => (0, 1),
            };
            let own = answers::mode_pages(page, false, self.view());
            let given = rest.get(1..len);
            right = page != 0x3f
                && given.is_some()
                && given == own.as_deref().and_then(|own| own.get(1..));
            rest = rest.get(len..).unwrap_or_default();
        }
        if right {
            self.good(front);
        } else {
            self.check(front, Sense::INVALID_PARAMETER);
        }
    }

    fn ask_for_parameters(&mut self, front: &mut Front, len: usize, header: u8) {
        self.job = Job::Select { header };
        let buffer = vec![0; len];
        if self.dma {
            front.pio = Pio::new(buffer, len);
            return front.wait_dma();
        }
        let limit = usize::from(self.limit);
        if limit < len {
            self.job = Job::None;
            return front.abort();
        }
        front.data_out(Pio::new(buffer, len), true);
        front
            .file
            .set_byte_count(u16::try_from(len).unwrap_or(u16::MAX));
        set_reason(front, false, false);
    }
}
