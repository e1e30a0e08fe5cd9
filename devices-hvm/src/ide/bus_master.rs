//! The bus master of a channel (290550, 2.6.3; Intel, Programming Interface for Bus Master IDE Controller 1.0).

use trivisor_buses::{Dma, Segment};

use super::regs::{Bmic, Bmis, bus_master as offset};

/// Bytes of a descriptor: address, count, end of table.
const PRD_LEN: u32 = 8;
/// No table crosses a boundary of 64 KiB: the bits of an address that say where in them it is.
const TABLE_OFFSET: u32 = 0xffff;

/// The registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct BusMaster {
    pub(super) bmic: Bmic,
    pub(super) bmis: Bmis,
    pub(super) bmidtp: u32,
    /// The table describes more than the transfer under way has.
    pub(super) more: bool,
}

/// What a descriptor table says of a transfer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prds {
    /// The memory, not more than was asked for.
    pub(super) segments: Vec<Segment>,
    /// Its bytes.
    pub(super) bytes: u64,
    /// The table describes more.
    pub(super) more: bool,
}

/// The descriptor table is no RAM.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoTable;

impl BusMaster {
    pub(super) fn read(self, register: u8) -> u8 {
        match register {
            offset::BMIC => self.bmic.into_bits(),
            offset::BMIS => self.bmis.into_bits(),
            offset::BMIDTP.. => {
                let bytes = self.bmidtp.to_le_bytes();
                let byte = bytes.get(usize::from(register - offset::BMIDTP));
                byte.copied().unwrap_or_default()
            }
            _ => 0,
        }
    }

    pub(super) fn write(&mut self, register: u8, value: u8) {
        match register {
            offset::BMIC => {
                let new = Bmic::from_bits(value);
                if new.ssbm() != self.bmic.ssbm() {
                    self.bmis.set_bmidea(new.ssbm());
                }
                self.bmic = Bmic::new().with_ssbm(new.ssbm()).with_rwcon(new.rwcon());
            }
            offset::BMIS => {
                let new = Bmis::from_bits(value);
                self.bmis.set_error(self.bmis.error() && !new.error());
                self.bmis.set_ideints(self.bmis.ideints() && !new.ideints());
                self.bmis.set_dma0cap(new.dma0cap());
                self.bmis.set_dma1cap(new.dma1cap());
            }
            offset::BMIDTP.. => {
                let mut bytes = self.bmidtp.to_le_bytes();
                if let Some(byte) = bytes.get_mut(usize::from(register - offset::BMIDTP)) {
                    *byte = value;
                }
                self.bmidtp = u32::from_le_bytes(bytes) & !0b11;
            }
            _ => {}
        }
    }

    /// Started, and not at the end of a transfer.
    pub(super) const fn is_active(&self) -> bool {
        self.bmis.bmidea()
    }

    /// The transfer has ended; it stays active when the table describes more than the drive had to move.
    pub(super) const fn end(&mut self) {
        let active = self.more && self.bmis.bmidea();
        self.more = false;
        self.bmis.set_bmidea(active);
    }

    /// The transfer met an address that is no memory.
    pub(super) const fn abort(&mut self) {
        self.more = false;
        self.bmis.set_bmidea(false);
        self.bmis.set_error(true);
    }

    /// The memory of a transfer of `wanted` bytes.
    ///
    /// # Errors
    /// When the table, up to where it is needed, is not all RAM.
    pub(super) fn prds(&self, dma: &dyn Dma, wanted: u64) -> Result<Prds, NoTable> {
        let mut prds = Prds {
            segments: Vec::new(),
            bytes: 0,
            more: false,
        };
        // A descriptor may begin at each double word, but none is in two blocks.
        let last_place = (self.bmidtp | TABLE_OFFSET) - (PRD_LEN - 1);
        let mut at = self.bmidtp;
        while at <= last_place {
            let mut prd = [0; PRD_LEN as usize];
            let read = dma.read(at.into(), &mut prd);
            read.map_err(|_not_ram| NoTable)?;
            let [a0, a1, a2, a3, c0, c1, _, flags] = prd;
            let address = u32::from_le_bytes([a0, a1, a2, a3]) & !1;
            let count = match u16::from_le_bytes([c0, c1]) & !1 {
                0 => 0x1_0000,
                count => u32::from(count),
            };
            let last = flags & 0x80 != 0;
            let left = wanted - prds.bytes;
            let len = u32::try_from(left).map_or(count, |left| left.min(count));
            prds.add(address.into(), len);
            if prds.bytes == wanted {
                prds.more = len < count || !last;
                return Ok(prds);
            }
            at = at.saturating_add(PRD_LEN);
            if last {
                break;
            }
        }
        Ok(prds)
    }
}

impl Prds {
    fn add(&mut self, address: u64, len: u32) {
        self.bytes += u64::from(len);
        if let Some(last) = self.segments.last_mut()
            && last.address + u64::from(last.len) == address
            && let Some(both) = last.len.checked_add(len)
        {
            last.len = both;
        } else {
            self.segments.push(Segment { address, len });
        }
    }

    /// Leaves no more than the first `bytes`.
    pub(super) fn truncate(&mut self, bytes: u64) {
        let mut left = bytes;
        self.segments.retain_mut(|segment| {
            let len = u32::try_from(left).map_or(segment.len, |left| left.min(segment.len));
            segment.len = len;
            left -= u64::from(len);
            len > 0
        });
        self.bytes = bytes - left;
    }
}
