//! Memory of the driver.

use std::collections::BTreeMap;
use std::ops::Range;

use trivisor_buses::Segment;
use trivisor_memory::GuestRam;

/// Bytes in front of and behind each buffer that nobody may write.
const GUARD: u32 = 16;
const GUARD_BYTE: u8 = 0xa5;
/// What a buffer that the device writes holds before.
const FILL: u8 = 0xcc;

/// Free runs of guest RAM: address and bytes.
#[derive(Debug)]
pub(super) struct Heap {
    ram: GuestRam,
    free: BTreeMap<u64, u64>,
}

impl Heap {
    pub(super) fn new(ram: &GuestRam, range: Range<u64>) -> Self {
        Self {
            ram: ram.clone(),
            free: BTreeMap::from([(range.start, range.end - range.start)]),
        }
    }

    /// `len` bytes at a multiple of `align`, zeroed.
    pub(super) fn take(&mut self, len: u64, align: u64) -> u64 {
        let fitting = self.free.iter().find_map(|(start, size)| {
            let at = start.next_multiple_of(align);
            (at + len <= start + size).then_some((*start, *size, at))
        });
        let (start, size, at) = fitting.expect("the driver's memory is used up");
        self.free.remove(&start);
        for (from, to) in [(start, at), (at + len, start + size)] {
            if from < to {
                self.free.insert(from, to - from);
            }
        }
        self.write(at, &vec![0; usize::try_from(len).expect("fits")]);
        at
    }

    pub(super) fn give(&mut self, mut start: u64, mut len: u64) {
        if let Some((before, size)) = self.free.range(..start).next_back()
            && before + size == start
        {
            (start, len) = (*before, size + len);
        }
        if let Some(size) = self.free.remove(&(start + len)) {
            len += size;
        }
        self.free.insert(start, len);
    }

    /// A buffer with guards around it, at no alignment in particular.
    pub(super) fn take_buffer(&mut self, len: u32) -> Segment {
        let at = self.take(u64::from(len) + 2 * u64::from(GUARD), 1);
        let guard = [GUARD_BYTE; GUARD as usize];
        let address = at + u64::from(GUARD);
        self.write(at, &guard);
        self.write(address + u64::from(len), &guard);
        self.write(address, &vec![FILL; len as usize]);
        Segment { address, len }
    }

    /// Takes a buffer back, whose guards have to be whole.
    pub(super) fn give_buffer(&mut self, buffer: Segment) {
        let Segment { address, len } = buffer;
        let start = address - u64::from(GUARD);
        for guard in [start, address + u64::from(len)] {
            let found = self.read(guard, GUARD);
            let whole = found.iter().all(|byte| *byte == GUARD_BYTE);
            assert!(whole, "the device wrote outside of {buffer:x?}: {found:x?}");
        }
        self.give(start, u64::from(len) + 2 * u64::from(GUARD));
    }

    pub(super) fn read(&self, address: u64, len: u32) -> Vec<u8> {
        let mut data = vec![0; len as usize];
        assert!(self.ram.read(address, &mut data), "{address:#x} is not RAM");
        data
    }

    pub(super) fn write(&self, address: u64, data: &[u8]) {
        assert!(self.ram.write(address, data), "{address:#x} is not RAM");
    }

    pub(super) fn read_u16(&self, address: u64) -> u16 {
        u16::from_le_bytes(self.read(address, 2).try_into().expect("2 bytes"))
    }

    pub(super) fn read_u32(&self, address: u64) -> u32 {
        u32::from_le_bytes(self.read(address, 4).try_into().expect("4 bytes"))
    }
}
