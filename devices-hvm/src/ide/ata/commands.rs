//! Command codes of a disk (ATA/ATAPI-6, chapter 8 and annex C).

/// What a command asks a disk for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Moves sectors, or looks whether they can be read.
    Transfer(Access),
    Identify,
    SetMultiple,
    InitializeParameters,
    SetFeatures,
    Flush,
    NativeMax {
        ext: bool,
    },
    CheckPower,
    /// Ends well, without effect.
    Nothing,
    /// Not a command of a disk.
    Unknown,
}

/// How sectors are accessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Access {
    pub(in super::super) what: What,
    /// With 48-bit addresses.
    pub(in super::super) ext: bool,
    /// Several sectors a block of the data port.
    pub(in super::super) multiple: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum What {
    ReadPio,
    WritePio,
    ReadDma,
    WriteDma,
    Verify,
}

impl Access {
    /// The code of such a command.
    pub(in super::super) const fn code(self) -> u8 {
        match (self.what, self.ext, self.multiple) {
            (What::ReadPio, false, false) => 0x20,
            (What::ReadPio, true, false) => 0x24,
            (What::ReadPio, false, true) => 0xc4,
            (What::ReadPio, true, true) => 0x29,
            (What::WritePio, false, false) => 0x30,
            (What::WritePio, true, false) => 0x34,
            (What::WritePio, false, true) => 0xc5,
            (What::WritePio, true, true) => 0x39,
            (What::ReadDma, false, _) => 0xc8,
            (What::ReadDma, true, _) => 0x25,
            (What::WriteDma, false, _) => 0xca,
            (What::WriteDma, true, _) => 0x35,
            (What::Verify, false, _) => 0x40,
            (What::Verify, true, _) => 0x42,
        }
    }

    /// How a command accesses sectors, if it does.
    pub(in super::super) const fn parse(code: u8) -> Option<Self> {
        match Command::parse(code) {
            Command::Transfer(access) => Some(access),
            _ => None,
        }
    }
}

impl Command {
    pub(super) const fn parse(code: u8) -> Self {
        const fn access(what: What, ext: bool, multiple: bool) -> Command {
            Command::Transfer(Access {
                what,
                ext,
                multiple,
            })
        }
        match code {
            // READ SECTOR(S), and with 48 bits; READ MULTIPLE, and with 48 bits.
            0x20 | 0x21 => access(What::ReadPio, false, false),
            0x24 => access(What::ReadPio, true, false),
            0xc4 => access(What::ReadPio, false, true),
            0x29 => access(What::ReadPio, true, true),
            // WRITE SECTOR(S), also with verification; WRITE MULTIPLE.
            0x30 | 0x31 | 0x3c => access(What::WritePio, false, false),
            0x34 => access(What::WritePio, true, false),
            0xc5 => access(What::WritePio, false, true),
            0x39 => access(What::WritePio, true, true),
            // READ DMA, WRITE DMA.
            0xc8 | 0xc9 => access(What::ReadDma, false, false),
            0x25 => access(What::ReadDma, true, false),
            0xca | 0xcb => access(What::WriteDma, false, false),
            0x35 => access(What::WriteDma, true, false),
            // READ VERIFY SECTOR(S).
            0x40 | 0x41 => access(What::Verify, false, false),
            0x42 => access(What::Verify, true, false),
            0xec => Self::Identify,
            0xc6 => Self::SetMultiple,
            0x91 => Self::InitializeParameters,
            0xef => Self::SetFeatures,
            0xe7 | 0xea => Self::Flush,
            0xf8 => Self::NativeMax { ext: false },
            0x27 => Self::NativeMax { ext: true },
            0x98 | 0xe5 => Self::CheckPower,
            // RECALIBRATE; SEEK; STANDBY IMMEDIATE, IDLE IMMEDIATE, STANDBY, IDLE and SLEEP with their older codes.
            0x10..=0x1f | 0x70..=0x7f | 0x94..=0x97 | 0x99 | 0xe0..=0xe3 | 0xe6 => Self::Nothing,
            _ => Self::Unknown,
        }
    }
}

/// Features of SET FEATURES (8.46, table 44).
pub(super) mod feature {
    pub(in super::super) const ENABLE_WRITE_CACHE: u8 = 0x02;
    pub(in super::super) const TRANSFER_MODE: u8 = 0x03;
    pub(in super::super) const DISABLE_LOOK_AHEAD: u8 = 0x55;
    pub(in super::super) const KEEP_SETTINGS: u8 = 0x66;
    pub(in super::super) const DISABLE_WRITE_CACHE: u8 = 0x82;
    pub(in super::super) const ENABLE_LOOK_AHEAD: u8 = 0xaa;
    pub(in super::super) const REVERT_SETTINGS: u8 = 0xcc;
}

/// A transfer mode that SET FEATURES asks for: the drive has multiword DMA 0 to 2 and Ultra DMA 0 to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct TransferMode(pub(in super::super) u8);

impl TransferMode {
    /// The mode of the drive when it was asked for none.
    pub(in super::super) const DEFAULT: Self = Self(0x45);

    /// The number in Sector Count; `None`: the drive has no such mode.
    pub(in super::super) const fn parse(count: u8) -> Option<Self> {
        match count {
            // PIO: the default mode, and modes 0 to 4 with flow control.
            0x00 | 0x01 | 0x08..=0x0c | 0x20..=0x22 | 0x40..=0x45 => Some(Self(count)),
            _ => None,
        }
    }

    pub(in super::super) const fn is_pio(self) -> bool {
        self.0 < 0x20
    }

    /// Word 63 of IDENTIFY: modes, and the one that is set.
    pub(in super::super) const fn multiword(self) -> u16 {
        match self.0 {
            mode @ 0x20..=0x22 => 0x0007 | 0x0100 << (mode - 0x20),
            _ => 0x0007,
        }
    }

    /// Word 88.
    pub(in super::super) const fn ultra(self) -> u16 {
        match self.0 {
            mode @ 0x40..=0x45 => 0x003f | 0x0100 << (mode - 0x40),
            _ => 0x003f,
        }
    }
}
