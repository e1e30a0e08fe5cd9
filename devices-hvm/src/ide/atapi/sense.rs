//! Why a packet command failed (SPC-2, 7.20; MMC-2, annex A).

/// Sense key and additional sense code with its qualifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct Sense {
    pub(in super::super) key: u8,
    pub(in super::super) asc: u8,
    pub(in super::super) ascq: u8,
}

impl Sense {
    pub(super) const NONE: Self = Self::new(0x0, 0x00, 0x00);
    pub(super) const NO_DISC: Self = Self::new(0x2, 0x3a, 0x01);
    pub(super) const TRAY_OPEN: Self = Self::new(0x2, 0x3a, 0x02);
    pub(super) const UNREADABLE: Self = Self::new(0x3, 0x11, 0x00);
    pub(super) const NO_SUCH_COMMAND: Self = Self::new(0x5, 0x20, 0x00);
    pub(super) const NO_SUCH_BLOCK: Self = Self::new(0x5, 0x21, 0x00);
    pub(super) const INVALID_FIELD: Self = Self::new(0x5, 0x24, 0x00);
    pub(super) const INVALID_PARAMETER: Self = Self::new(0x5, 0x26, 0x00);
    pub(super) const NO_SAVED_PAGES: Self = Self::new(0x5, 0x39, 0x00);
    pub(super) const REMOVAL_PREVENTED: Self = Self::new(0x5, 0x53, 0x02);
    pub(super) const DISC_CHANGED: Self = Self::new(0x6, 0x28, 0x00);
    pub(super) const ABORTED: Self = Self::new(0xb, 0x00, 0x00);

    const fn new(key: u8, asc: u8, ascq: u8) -> Self {
        Self { key, asc, ascq }
    }

    /// REQUEST SENSE data: a current error, fixed format.
    pub(super) const fn data(self) -> [u8; 18] {
        let mut data = [0; 18];
        data[0] = 0x70;
        data[2] = self.key;
        data[7] = 10; // bytes that follow
        data[12] = self.asc;
        data[13] = self.ascq;
        data
    }
}
