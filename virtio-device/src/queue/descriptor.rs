//! Descriptors, and the walk through an indirect table: 2.7.5.3 and 2.8.7.

use trivisor_buses::Segment;
use trivisor_memory::GuestRam;

use super::window::Window;
use super::{Chain, QueueError};

/// Bytes of a descriptor, of either ring.
pub(super) const BYTES: u64 = 16;

/// Entries that `next`, 16 bits wide, can tell apart.
const MOST_ENTRIES: u32 = 1 << 16;

/// VIRTQ_DESC_F_*.
pub(super) mod flag {
    pub(crate) const NEXT: u16 = 1;
    pub(crate) const WRITE: u16 = 1 << 1;
    pub(crate) const INDIRECT: u16 = 1 << 2;
    pub(crate) const AVAIL: u16 = 1 << 7;
    pub(crate) const USED: u16 = 1 << 15;
}

/// Which of the two layouts a ring and its indirect tables have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Split,
    Packed,
}

/// `struct virtq_desc` or `struct pvirtq_desc`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptor {
    pub(super) segment: Segment,
    pub(super) flags: u16,
    /// `next` in a split ring, `id` in a packed one.
    pub(super) link: u16,
}

impl Descriptor {
    pub(super) fn read(
        window: &Window<'_>,
        index: u32,
        layout: Layout,
    ) -> Result<Self, QueueError> {
        let bytes: [u8; 16] = window.read(u64::from(index) * BYTES)?;
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        let (first, second) = (u16::from_le_bytes([m, n]), u16::from_le_bytes([o, p]));
        let (flags, link) = match layout {
            Layout::Split => (first, second),
            Layout::Packed => (second, first),
        };
        Ok(Self {
            segment: Segment {
                address: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
                len: u32::from_le_bytes([i, j, k, l]),
            },
            flags,
            link,
        })
    }

    pub(super) const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// What a chain is checked against while it is walked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) layout: Layout,
    /// The descriptor at which the chain begins.
    pub(super) head: u16,
    /// The most descriptors: the queue's size.
    pub(super) size: u16,
    /// Whether indirect tables were negotiated.
    pub(super) indirect: bool,
}

impl Limits {
    /// Takes a descriptor that refers to a buffer element into `chain`.
    pub(super) fn add(
        &self,
        chain: &mut Chain,
        index: u16,
        descriptor: &Descriptor,
    ) -> Result<(), QueueError> {
        if chain.len() >= usize::from(self.size) {
            return Err(QueueError::TooLong {
                head: self.head,
                size: self.size,
            });
        }
        chain.add(index, descriptor.segment, descriptor.has(flag::WRITE))
    }

    /// Takes all of the table that `table` refers to into `chain`. WRITE of `table` itself means nothing.
    pub(super) fn add_table(
        &self,
        ram: &GuestRam,
        chain: &mut Chain,
        index: u16,
        table: &Descriptor,
    ) -> Result<(), QueueError> {
        if !self.indirect {
            return Err(QueueError::IndirectNotNegotiated { index });
        }
        // A packed table is all used, so it is no longer than a chain may be; of a split one, `next` may reach a part.
        let most = match self.layout {
            Layout::Split => MOST_ENTRIES,
            Layout::Packed => self.size.into(),
        };
        let Segment { address, len } = table.segment;
        let entries = len / 16;
        if !len.is_multiple_of(16) || entries == 0 || entries > most {
            return Err(QueueError::IndirectLength { len, most });
        }
        let window = Window::new(ram, "the indirect table", address, len.into())?;
        let mut at: u16 = 0;
        loop {
            let entry = Descriptor::read(&window, at.into(), self.layout)?;
            if entry.has(flag::INDIRECT) {
                // 2.8.7 lets a device ignore the flag in a packed table; a driver MUST NOT set it in either (2.7.5.3.1,
                // 2.8.18), and what it means by it cannot be known.
                return Err(QueueError::IndirectInIndirect { index: at });
            }
            self.add(chain, at, &entry)?;
            at = match self.layout {
                Layout::Split if !entry.has(flag::NEXT) => return Ok(()),
                Layout::Split if u32::from(entry.link) >= entries => {
                    return Err(QueueError::Next {
                        index: at,
                        next: entry.link,
                        len: entries,
                    });
                }
                Layout::Split => entry.link,
                Layout::Packed if u32::from(at) + 1 >= entries => return Ok(()),
                Layout::Packed => at + 1,
            };
        }
    }
}
