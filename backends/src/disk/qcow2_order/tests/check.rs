//! What `qemu-img check` looks at, and what a disk reads as, of the bytes of an image without a backing file.

use std::collections::HashMap;

const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;

pub(super) struct Check<'a> {
    file: &'a [u8],
    /// Bytes of a cluster, and bits of a count.
    cluster: u64,
    width: u64,
    /// What refers to a cluster.
    references: HashMap<u64, u64>,
}

impl<'a> Check<'a> {
    pub(super) fn new(file: &'a [u8]) -> Self {
        let mut check = Self {
            file,
            cluster: 0,
            width: 16,
            references: HashMap::new(),
        };
        check.cluster = 1 << check.number(20, 4);
        if check.number(4, 4) == 3 {
            check.width = 1 << check.number(96, 4);
        }
        check
    }

    /// Big endian; zeros behind the end.
    fn number(&self, offset: u64, len: u64) -> u64 {
        (offset..offset + len).fold(0, |number, offset| {
            let byte = self.file.get(usize::try_from(offset).unwrap());
            number << 8 | u64::from(*byte.unwrap_or(&0))
        })
    }

    fn counted(&self, cluster: u64) -> u64 {
        let per_block = self.cluster * 8 / self.width;
        let (index, entry) = (cluster / per_block, cluster % per_block);
        if index >= self.number(56, 4) * self.cluster / 8 {
            return 0;
        }
        let block = self.number(self.number(48, 8) + index * 8, 8);
        let bit = entry * self.width;
        match (block, self.width) {
            (0, _) => 0,
            (_, 8..) => self.number(block + bit / 8, self.width / 8),
            _ => self.number(block + bit / 8, 1) >> (bit % 8) & ((1 << self.width) - 1),
        }
    }

    fn refer(&mut self, offset: u64, len: u64) {
        for cluster in offset / self.cluster..(offset + len).div_ceil(self.cluster) {
            *self.references.entry(cluster).or_default() += 1;
        }
    }

    fn l1(&mut self, offset: u64, entries: u64) {
        self.refer(offset, entries * 8);
        for index in 0..entries {
            let table = self.number(offset + index * 8, 8) & OFFSET;
            if table == 0 {
                continue;
            }
            self.refer(table, self.cluster);
            for index in 0..self.cluster / 8 {
                let entry = self.number(table + index * 8, 8);
                if entry & COMPRESSED != 0 {
                    let bits = 70 - self.cluster.ilog2();
                    let offset = entry & ((1 << bits) - 1);
                    let sectors = ((entry & (COMPRESSED - 1)) >> bits) + 1;
                    self.refer(offset, sectors * 512 - offset % 512);
                } else if entry & OFFSET != 0 {
                    self.refer(entry & OFFSET, self.cluster);
                }
            }
        }
    }

    /// Looks for references that are not counted, and for wrong flags. Too high a count is none: that is storage lost.
    pub(super) fn run(&mut self) -> Result<(), String> {
        self.refer(0, self.cluster);
        let (l1, entries) = (self.number(40, 8), self.number(36, 4));
        self.l1(l1, entries);
        let (counts, len) = (self.number(48, 8), self.number(56, 4) * self.cluster);
        self.refer(counts, len);
        for index in 0..len / 8 {
            let block = self.number(counts + index * 8, 8);
            if block != 0 {
                self.refer(block, self.cluster);
            }
        }
        let (first, mut snapshot) = (self.number(64, 8), self.number(64, 8));
        for _ in 0..self.number(60, 4) {
            self.l1(self.number(snapshot, 8), self.number(snapshot + 8, 4));
            let [id, name] = [12, 14].map(|field| self.number(snapshot + field, 2));
            let len = 40 + self.number(snapshot + 36, 4) + id + name;
            snapshot += len.next_multiple_of(8);
        }
        self.refer(first, snapshot - first);
        for (cluster, references) in &self.references {
            let counted = self.counted(*cluster);
            if counted < *references {
                return Err(format!(
                    "cluster {cluster}: {references} references, {counted} counted"
                ));
            }
        }
        for index in 0..entries {
            let table = self.number(l1 + index * 8, 8);
            self.flag(table)?;
            for index in 0..self.cluster / 8 {
                if table & OFFSET != 0 {
                    self.flag(self.number((table & OFFSET) + index * 8, 8))?;
                }
            }
        }
        Ok(())
    }

    fn flag(&self, entry: u64) -> Result<(), String> {
        let offset = entry & OFFSET;
        if entry & COMPRESSED == 0
            && offset != 0
            && (entry & COPIED != 0) != (self.counted(offset / self.cluster) == 1)
        {
            return Err(format!("entry {entry:#x} has a wrong flag"));
        }
        Ok(())
    }

    /// A sector of the disk; none if it is compressed.
    pub(super) fn sector(&self, sector: u64) -> Option<[u8; 512]> {
        let cluster = sector * 512 / self.cluster;
        let per_table = self.cluster / 8;
        let index = cluster / per_table;
        let table = self.number(self.number(40, 8) + index * 8, 8) & OFFSET;
        let mut data = [0; 512];
        if index < self.number(36, 4) && table != 0 {
            let entry = self.number(table + cluster % per_table * 8, 8);
            if entry & COMPRESSED != 0 {
                return None;
            }
            if entry & OFFSET != 0 && entry & 1 == 0 {
                let offset = (entry & OFFSET) + sector * 512 % self.cluster;
                let rest = self.file.get(usize::try_from(offset).unwrap()..);
                let rest = rest.unwrap_or_default();
                let len = rest.len().min(512);
                data[..len].copy_from_slice(&rest[..len]);
            }
        }
        Some(data)
    }
}
