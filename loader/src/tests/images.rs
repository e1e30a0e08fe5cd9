//! Builders of small images.

/// Bytes of hexadecimal digits; blanks are for the eye.
pub(super) fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<char> = digits
        .chars()
        .filter(|digit| !digit.is_whitespace())
        .collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

pub(super) fn words(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// A segment of an ELF image.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) kind: u32,
    pub(super) address: u64,
    pub(super) virtual_address: u64,
    pub(super) data: Vec<u8>,
    pub(super) memory_size: u64,
    pub(super) align: u64,
}

impl Segment {
    /// PT_LOAD, mapped one to one, without bss.
    pub(super) fn load(address: u64, data: &[u8]) -> Self {
        let memory_size = data.len() as u64;
        Self {
            kind: 1,
            address,
            virtual_address: address,
            data: data.to_vec(),
            memory_size,
            align: 1,
        }
    }

    /// PT_NOTE.
    pub(super) fn notes(data: &[u8], align: u64) -> Self {
        Self {
            kind: 4,
            align,
            ..Self::load(0, data)
        }
    }
}

/// A note, padded to 4.
pub(super) fn note(name: &[u8], kind: u32, value: &[u8]) -> Vec<u8> {
    let mut note = words(&[size(name.len()), size(value.len()), kind]);
    for part in [name, value] {
        note.extend(part);
        note.resize(note.len().next_multiple_of(4), 0);
    }
    note
}

/// XEN_ELFNOTE_PHYS32_ENTRY.
pub(super) fn pvh_note(entry: u32) -> Vec<u8> {
    note(b"Xen\0", 18, &entry.to_le_bytes())
}

fn size(len: usize) -> u32 {
    u32::try_from(len).unwrap()
}

/// An ELF image; the segments' contents follow the program headers.
#[derive(Clone)]
pub(super) struct Elf {
    pub(super) is_64_bit: bool,
    pub(super) entry: u64,
    pub(super) segments: Vec<Segment>,
}

impl Elf {
    /// Code and data of a kernel that is loaded to 1 MiB, for the Linux boot protocol.
    pub(super) fn vmlinux() -> Self {
        let code = Segment {
            memory_size: 0x1000,
            ..Segment::load(0x10_0000, b"code at 1 MiB")
        };
        let data = Segment::load(0x20_0000, b"data at 2 MiB");
        Self {
            is_64_bit: true,
            entry: 0x10_0004,
            segments: vec![code, data],
        }
    }

    /// The same with a PVH note. The note is in the file before the segments, so that no byte at its end is useless.
    pub(super) fn pvh(is_64_bit: bool) -> Self {
        let mut image = Self {
            is_64_bit,
            ..Self::vmlinux()
        };
        image
            .segments
            .insert(0, Segment::notes(&pvh_note(0x10_0008), 4));
        image
    }

    /// The same with `header` at the beginning of its code.
    pub(super) fn with_header(header: &[u8]) -> Self {
        let mut image = Self {
            is_64_bit: false,
            ..Self::vmlinux()
        };
        image.segments[0].data = [header, b"code"].concat();
        image
    }

    pub(super) fn build(&self) -> Vec<u8> {
        let (header, step) = if self.is_64_bit { (64, 56) } else { (52, 32) };
        // Contents are on multiples of 8, as multiboot headers want it.
        let mut at = (header + step * self.segments.len()).next_multiple_of(8) as u64;
        let address = |value: u64| {
            if self.is_64_bit {
                value.to_le_bytes().to_vec()
            } else {
                words(&[narrow(value)])
            }
        };
        let machine: u16 = if self.is_64_bit { 62 } else { 3 };
        let mut image = vec![0x7f, b'E', b'L', b'F', 1 + u8::from(self.is_64_bit), 1, 1];
        image.resize(16, 0);
        image.extend([2, machine].map(u16::to_le_bytes).concat());
        image.extend(words(&[1]));
        [self.entry, header as u64, 0]
            .iter()
            .for_each(|value| image.extend(address(*value)));
        image.extend(words(&[0])); // e_flags
        let halves = [header, step, self.segments.len(), 0, 0, 0];
        image.extend(
            halves
                .map(|half| u16::try_from(half).unwrap().to_le_bytes())
                .concat(),
        );
        for segment in &self.segments {
            let size = segment.data.len() as u64;
            image.extend(words(&[segment.kind]));
            if self.is_64_bit {
                image.extend(words(&[7]));
            }
            for value in [
                at,
                segment.virtual_address,
                segment.address,
                size,
                segment.memory_size,
            ] {
                image.extend(address(value));
            }
            if !self.is_64_bit {
                image.extend(words(&[7]));
            }
            image.extend(address(segment.align));
            at = (at + size).next_multiple_of(8);
        }
        for segment in &self.segments {
            image.resize(image.len().next_multiple_of(8), 0);
            image.extend(&segment.data);
        }
        image
    }
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap()
}

/// A bzImage of version 2.15 with one sector of setup code behind the first. `payload` follows 0x40 bytes of protected-mode
/// code; nothing follows it.
pub(super) fn bzimage(payload: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 0x400];
    let mut set = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    set(0x1f1, &[1]); // setup_sects
    set(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
    set(0x202, b"HdrS\x0f\x02"); // version 2.15
    set(0x211, &[1]); // LOADED_HIGH
    set(0x22c, &0x7fff_ffff_u32.to_le_bytes()); // initrd_addr_max
    set(0x234, &[1]); // relocatable
    set(0x236, &1_u16.to_le_bytes()); // XLF_KERNEL_64
    set(0x238, &2047_u32.to_le_bytes()); // cmdline_size
    set(0x248, &0x40_u32.to_le_bytes());
    set(0x24c, &size(payload.len()).to_le_bytes());
    set(0x258, &0x40_0000_u64.to_le_bytes()); // pref_address
    set(0x260, &0x10_0000_u32.to_le_bytes()); // init_size
    image.extend([0xcc; 0x40]);
    image.extend(payload);
    image
}

/// A multiboot header: 12 bytes and the address fields, if any.
pub(super) fn multiboot1(flags: u32, fields: &[u32]) -> Vec<u8> {
    let magic = 0x1bad_b002_u32;
    let checksum = 0_u32.wrapping_sub(magic).wrapping_sub(flags);
    words(&[&[magic, flags, checksum], fields].concat())
}

/// A tag of a multiboot 2 header or of its information.
pub(super) fn tag(kind: u16, flags: u16, contents: &[u32]) -> Vec<u8> {
    let mut tag = [kind, flags].map(u16::to_le_bytes).concat();
    tag.extend(words(&[8 + 4 * size(contents.len())]));
    tag.extend(words(contents));
    tag.resize(tag.len().next_multiple_of(8), 0);
    tag
}

/// A multiboot 2 header with these tags and the end tag.
pub(super) fn multiboot2(tags: &[Vec<u8>]) -> Vec<u8> {
    let tags = [tags.concat(), tag(0, 0, &[])].concat();
    let (magic, length) = (0xe852_50d6_u32, size(16 + tags.len()));
    let checksum = 0_u32.wrapping_sub(magic).wrapping_sub(length);
    [words(&[magic, 0, length, checksum]), tags].concat()
}
