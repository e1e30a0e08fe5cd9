//! A buffer that the driver made available.

use trivisor_buses::Segment;
use trivisor_memory::GuestRam;

use super::QueueError;

/// The most bytes of one buffer (2.7.5.2).
const MOST_BYTES: u64 = 1 << 32;

/// A buffer: what the driver made available under one identifier, as runs of guest RAM.
///
/// A device keeps a few of them and hands them to [`Io::pop`](crate::Io::pop) again and again, so that a pop allocates
/// nothing. Where a header ends and data begins says nothing about the segments (2.7.4): [`read`](Self::read),
/// [`write`](Self::write) and the two `_range` methods count bytes instead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    pub(super) id: u16,
    /// Descriptors that it takes in the ring.
    pub(super) descriptors: u16,
    /// The readable ones, then the writable ones.
    segments: Vec<Segment>,
    readable: usize,
    bytes: u64,
}

impl Chain {
    /// What [`push`](crate::Io::push) calls it.
    #[must_use]
    pub const fn id(&self) -> u16 {
        self.id
    }

    /// What the device reads.
    #[must_use]
    pub fn readable(&self) -> &[Segment] {
        self.segments
            .split_at(self.readable.min(self.segments.len()))
            .0
    }

    /// What the device writes.
    #[must_use]
    pub fn writable(&self) -> &[Segment] {
        self.segments
            .split_at(self.readable.min(self.segments.len()))
            .1
    }

    /// Bytes that the device can read; 2^32 at most.
    #[must_use]
    pub fn readable_len(&self) -> u64 {
        Segment::total(self.readable())
    }

    /// Bytes that the device can write; 2^32 at most.
    #[must_use]
    pub fn writable_len(&self) -> u64 {
        Segment::total(self.writable())
    }

    /// Fills `data` from the readable bytes at `offset`.
    ///
    /// # Errors
    /// When there are fewer, or they are not RAM: reason to [`fail`](crate::Io::fail) where the device's chapter has no
    /// answer of its own.
    pub fn read(&self, ram: &GuestRam, offset: u64, data: &mut [u8]) -> Result<(), QueueError> {
        let mut rest = data;
        self.visit(
            self.readable(),
            offset,
            rest.len() as u64,
            |address, len| {
                rest.split_off_mut(..len)
                    .is_some_and(|part| ram.read(address, part))
            },
        )
    }

    /// Copies `data` to the writable bytes at `offset`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write(&self, ram: &GuestRam, offset: u64, data: &[u8]) -> Result<(), QueueError> {
        let mut rest = data;
        self.visit(
            self.writable(),
            offset,
            rest.len() as u64,
            |address, len| {
                rest.split_off(..len)
                    .is_some_and(|part| ram.write(address, part))
            },
        )
    }

    /// Appends to `into` the segments of `len` readable bytes at `offset`.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn readable_range(
        &self,
        offset: u64,
        len: u64,
        into: &mut Vec<Segment>,
    ) -> Result<(), QueueError> {
        self.range(self.readable(), offset, len, into)
    }

    /// Appends to `into` the segments of `len` writable bytes at `offset`.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn writable_range(
        &self,
        offset: u64,
        len: u64,
        into: &mut Vec<Segment>,
    ) -> Result<(), QueueError> {
        self.range(self.writable(), offset, len, into)
    }

    pub(super) fn clear(&mut self) {
        self.id = 0;
        self.descriptors = 0;
        self.segments.clear();
        self.readable = 0;
        self.bytes = 0;
    }

    pub(super) const fn len(&self) -> usize {
        self.segments.len()
    }

    /// One element more.
    pub(super) fn add(
        &mut self,
        index: u16,
        segment: Segment,
        writable: bool,
    ) -> Result<(), QueueError> {
        // The specification speaks of elements (2.6.4) and says nothing of empty ones. No driver makes them: Linux
        // maps each element for DMA, which warns at 0 bytes, and QEMU refuses such a descriptor.
        if segment.len == 0 {
            return Err(QueueError::ZeroLength { index });
        }
        self.bytes += u64::from(segment.len);
        if self.bytes > MOST_BYTES {
            return Err(QueueError::TooManyBytes { bytes: self.bytes });
        }
        if !writable {
            if self.readable < self.segments.len() {
                return Err(QueueError::ReadableBehindWritable { index });
            }
            self.readable += 1;
        }
        self.segments.push(segment);
        Ok(())
    }

    fn range(
        &self,
        segments: &[Segment],
        offset: u64,
        len: u64,
        into: &mut Vec<Segment>,
    ) -> Result<(), QueueError> {
        let before = into.len();
        let cut = self.visit(segments, offset, len, |address, len| {
            // A part of a segment, whose length is 32 bits wide.
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            into.push(Segment { address, len });
            true
        });
        if cut.is_err() {
            into.truncate(before);
        }
        cut
    }

    /// Calls `each` with the runs of `len` bytes at `offset`, in order, until it says that one is not RAM. With none when
    /// there are fewer bytes.
    fn visit(
        &self,
        segments: &[Segment],
        offset: u64,
        len: u64,
        mut each: impl FnMut(u64, usize) -> bool,
    ) -> Result<(), QueueError> {
        let total = Segment::total(segments);
        let wanted = offset.saturating_add(len);
        if wanted > total {
            return Err(QueueError::Short {
                id: self.id,
                len: total,
                wanted,
            });
        }
        let (mut skip, mut rest) = (offset, len);
        for segment in segments {
            let have = u64::from(segment.len);
            if skip >= have {
                skip -= have;
                continue;
            }
            let run = (have - skip).min(rest);
            if run == 0 {
                break;
            }
            let not_ram = QueueError::NotRam {
                what: "a buffer",
                address: segment.address,
            };
            let address = segment.address.checked_add(skip).ok_or(not_ram)?;
            if !each(address, usize::try_from(run).map_err(|_| not_ram)?) {
                return Err(not_ram);
            }
            skip = 0;
            rest -= run;
        }
        Ok(())
    }
}
