//! The command set (290166, table 5-1).

use super::regs::Opcode;

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    ReadData,
    WriteData,
    FormatTrack,
    ReadId,
    Recalibrate,
    SenseInterrupt,
    Specify,
    SenseDrive,
    Configure,
    Seek,
    Version,
    DumpReg,
    Perpendicular,
    Lock,
    Invalid,
}

impl Command {
    /// What the first byte begins.
    pub(super) fn parse(byte: u8) -> Self {
        let opcode = Opcode::from_bits(byte);
        let [multi_track, skip] = [opcode.multi_track(), opcode.skip()];
        match (opcode.code(), byte) {
            (0x06, _) => Self::ReadData,
            (0x05, _) if !skip => Self::WriteData,
            (0x0d, _) if !skip && !multi_track => Self::FormatTrack,
            (0x0a, _) if !skip && !multi_track => Self::ReadId,
            (_, 0x03) => Self::Specify,
            (_, 0x04) => Self::SenseDrive,
            (_, 0x07) => Self::Recalibrate,
            (_, 0x08) => Self::SenseInterrupt,
            (_, 0x0e) => Self::DumpReg,
            (_, 0x0f) => Self::Seek,
            (_, 0x10) => Self::Version,
            (_, 0x12) => Self::Perpendicular,
            (_, 0x13) => Self::Configure,
            (_, 0x14 | 0x94) => Self::Lock,
            _ => Self::Invalid,
        }
    }

    /// Bytes with its parameters; the FIFO has room for all.
    pub(super) const fn len(self) -> usize {
        match self {
            Self::ReadData | Self::WriteData => 9,
            Self::FormatTrack => 6,
            Self::Configure => 4,
            Self::Specify | Self::Seek => 3,
            Self::ReadId | Self::Recalibrate | Self::SenseDrive | Self::Perpendicular => 2,
            Self::SenseInterrupt | Self::Version | Self::DumpReg | Self::Lock | Self::Invalid => 1,
        }
    }
}
