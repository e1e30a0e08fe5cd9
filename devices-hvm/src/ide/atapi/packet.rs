//! Packet commands: twelve bytes, numbers big-endian (SFF-8020i, chapter 10; MMC-2, chapter 6).

/// Bytes of a command.
pub(in super::super) const PACKET_LEN: usize = 12;

/// Operation codes.
pub(super) mod code {
    pub(in super::super) const TEST_UNIT_READY: u8 = 0x00;
    pub(in super::super) const REQUEST_SENSE: u8 = 0x03;
    pub(in super::super) const INQUIRY: u8 = 0x12;
    pub(in super::super) const MODE_SELECT_6: u8 = 0x15;
    pub(in super::super) const MODE_SENSE_6: u8 = 0x1a;
    pub(in super::super) const START_STOP_UNIT: u8 = 0x1b;
    pub(in super::super) const PREVENT_ALLOW: u8 = 0x1e;
    pub(in super::super) const READ_CAPACITY: u8 = 0x25;
    pub(in super::super) const READ_10: u8 = 0x28;
    pub(in super::super) const SEEK: u8 = 0x2b;
    pub(in super::super) const READ_SUBCHANNEL: u8 = 0x42;
    pub(in super::super) const READ_TOC: u8 = 0x43;
    pub(in super::super) const GET_CONFIGURATION: u8 = 0x46;
    pub(in super::super) const GET_EVENT_STATUS: u8 = 0x4a;
    pub(in super::super) const READ_DISC_INFORMATION: u8 = 0x51;
    pub(in super::super) const READ_TRACK_INFORMATION: u8 = 0x52;
    pub(in super::super) const MODE_SELECT_10: u8 = 0x55;
    pub(in super::super) const MODE_SENSE_10: u8 = 0x5a;
    pub(in super::super) const READ_12: u8 = 0xa8;
    pub(in super::super) const SET_CD_SPEED: u8 = 0xbb;
    pub(in super::super) const MECHANISM_STATUS: u8 = 0xbd;
    pub(in super::super) const READ_CD: u8 = 0xbe;
}

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet(pub(super) [u8; PACKET_LEN]);

impl Packet {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut packet = [0; PACKET_LEN];
        packet
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        Self(packet)
    }

    pub(super) const fn code(self) -> u8 {
        self.0[0]
    }

    pub(super) fn byte(self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or_default()
    }

    pub(super) fn u16(self, at: usize) -> u16 {
        u16::from_be_bytes([self.byte(at), self.byte(at + 1)])
    }

    pub(super) fn u24(self, at: usize) -> u32 {
        u32::from_be_bytes([0, self.byte(at), self.byte(at + 1), self.byte(at + 2)])
    }

    pub(super) fn u32(self, at: usize) -> u32 {
        u32::from(self.u16(at)) << 16 | u32::from(self.u16(at + 2))
    }
}

/// Minute, second and frame of a block; the disc's first two seconds come before block 0.
pub(super) fn msf(lba: u32) -> [u8; 3] {
    let frames = lba.saturating_add(150);
    let parts = [frames / (60 * 75), frames / 75 % 60, frames % 75];
    parts.map(|part| u8::try_from(part).unwrap_or(u8::MAX))
}

/// A block's address in a field of four bytes.
pub(super) fn address(lba: u32, time: bool) -> [u8; 4] {
    if time {
        let [minute, second, frame] = msf(lba);
        [0, minute, second, frame]
    } else {
        lba.to_be_bytes()
    }
}
