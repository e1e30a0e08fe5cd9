//! ELF images: kernels as they come from the linker.
//!
//! Sources: System V ABI, chapters 4 and 5 (ELF header, program header); Xen, docs/misc/pvh.pandoc and
//! public/elfnote.h (XEN_ELFNOTE_PHYS32_ENTRY).

use vm_memory::GuestMemory;

use crate::error::LoadError;
use crate::room::Room;
use crate::source::{Fields, Source};

const FORMAT: &str = "ELF";

/// "\x7fELF".
pub const MAGIC: u32 = 0x464c_457f;

const EM_386: u16 = 3;
const EM_X86_64: u16 = 62;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;

/// More program headers than any kernel has.
const MAX_PROGRAM_HEADERS: u16 = 128;

/// More notes than any kernel has: 64 KiB.
const MAX_NOTES: u64 = 1 << 16;

/// XEN_ELFNOTE_PHYS32_ENTRY.
const NOTE_PHYS32_ENTRY: u32 = 18;

/// A part of the file that is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loadable {
    /// Where it is in the file.
    pub offset: u64,
    /// Where it goes: physical.
    pub address: u64,
    /// Where the kernel will see it.
    pub virtual_address: u64,
    /// Bytes from the file.
    pub file_size: u64,
    /// Bytes in memory; the rest is zero.
    pub memory_size: u64,
}

/// What a loader wants to know of an ELF image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// A 64-bit container.
    pub is_64_bit: bool,
    /// e_entry.
    pub entry: u64,
    /// PT_LOAD segments that are not empty.
    pub segments: Vec<Loadable>,
    /// The 32-bit entry of its PVH note.
    pub pvh_entry: Option<u32>,
}

/// Reads the headers and notes of an ELF image for x86.
///
/// # Errors
/// The field that is wrong, or the part that is missing.
pub fn parse(source: &Source<'_>) -> Result<Image, LoadError> {
    let mut ident = [0; 20];
    source.read("ELF identification", 0, &mut ident)?;
    let fields = Fields(&ident);
    check(
        "EI_MAG",
        fields.u32(0).into(),
        fields.u32(0) == MAGIC,
        "not 0x464c457f",
    )?;
    let is_64_bit = match fields.u8(4) {
        1 => false,
        2 => true,
        class => {
            return Err(LoadError::field(
                FORMAT,
                "EI_CLASS",
                class.into(),
                "not 1 (32-bit) or 2 (64-bit)",
            ));
        }
    };
    check(
        "EI_DATA",
        fields.u8(5).into(),
        fields.u8(5) == 1,
        "not 1 (little-endian)",
    )?;
    check_machine(fields.u16(18))?;
    let kind = fields.u16(16);
    check(
        "e_type",
        kind.into(),
        matches!(kind, ET_EXEC | ET_DYN),
        "not 2 (executable) or 3 (shared)",
    )?;

    let mut header = [0; 64];
    let size = if is_64_bit { 64 } else { 52 };
    source.read("ELF header", 0, header.get_mut(..size).unwrap_or_default())?;
    let fields = Fields(&header);
    let (entry, offset, step, count) = if is_64_bit {
        (
            fields.u64(24),
            fields.u64(32),
            fields.u16(54),
            fields.u16(56),
        )
    } else {
        (
            fields.u32(24).into(),
            fields.u32(28).into(),
            fields.u16(42),
            fields.u16(44),
        )
    };
    let wanted = if is_64_bit { 56 } else { 32 };
    check(
        "e_phentsize",
        step.into(),
        step == wanted,
        "not the size of a program header",
    )?;
    check(
        "e_phnum",
        count.into(),
        (1..=MAX_PROGRAM_HEADERS).contains(&count),
        "not 1 to 128",
    )?;

    let mut image = Image {
        is_64_bit,
        entry,
        segments: Vec::new(),
        pvh_entry: None,
    };
    for index in 0..u64::from(count) {
        let mut header = [0; 56];
        let part = header.get_mut(..wanted.into()).unwrap_or_default();
        let at = offset.checked_add(index * u64::from(wanted));
        let at = at.ok_or_else(|| {
            LoadError::field(FORMAT, "e_phoff", offset, "behind the end of any file")
        })?;
        source.read("ELF program header", at, part)?;
        let header = ProgramHeader::new(Fields(&header), is_64_bit);
        match header.kind {
            PT_LOAD if header.part.memory_size > 0 => image.segments.push(header.checked()?),
            PT_NOTE if image.pvh_entry.is_none() => {
                image.pvh_entry = find_pvh_note(source, &header)?
            }
            _ => {}
        }
    }
    if image.segments.is_empty() {
        return Err(LoadError::Missing {
            format: FORMAT,
            missing: "segment to load (PT_LOAD)",
        });
    }
    Ok(image)
}

fn check(
    field: &'static str,
    value: u64,
    right: bool,
    wanted: &'static str,
) -> Result<(), LoadError> {
    if right {
        Ok(())
    } else {
        Err(LoadError::field(FORMAT, field, value, wanted))
    }
}

fn check_machine(machine: u16) -> Result<(), LoadError> {
    let name = match machine {
        EM_386 | EM_X86_64 => return Ok(()),
        2 => "SPARC",
        8 => "MIPS",
        20 => "PowerPC",
        21 => "64-bit PowerPC",
        22 => "S/390",
        40 => "ARM",
        50 => "IA-64",
        183 => "AArch64",
        243 => "RISC-V",
        258 => "LoongArch",
        _ => "unknown",
    };
    Err(LoadError::Machine { machine, name })
}

struct ProgramHeader {
    kind: u32,
    part: Loadable,
    align: u64,
}

impl ProgramHeader {
    fn new(fields: Fields<'_>, is_64_bit: bool) -> Self {
        let kind = fields.u32(0);
        if is_64_bit {
            let part = Loadable {
                offset: fields.u64(8),
                address: fields.u64(24),
                virtual_address: fields.u64(16),
                file_size: fields.u64(32),
                memory_size: fields.u64(40),
            };
            Self {
                kind,
                part,
                align: fields.u64(48),
            }
        } else {
            let part = Loadable {
                offset: fields.u32(4).into(),
                address: fields.u32(12).into(),
                virtual_address: fields.u32(8).into(),
                file_size: fields.u32(16).into(),
                memory_size: fields.u32(20).into(),
            };
            Self {
                kind,
                part,
                align: fields.u32(28).into(),
            }
        }
    }

    fn checked(&self) -> Result<Loadable, LoadError> {
        let part = self.part;
        check(
            "p_filesz",
            part.file_size,
            part.file_size <= part.memory_size,
            "more than p_memsz",
        )?;
        check(
            "p_paddr",
            part.address,
            part.address.checked_add(part.memory_size).is_some(),
            "at the end of the address space",
        )?;
        Ok(part)
    }
}

/// The entry of a PVH note among the notes of a PT_NOTE segment.
fn find_pvh_note(source: &Source<'_>, header: &ProgramHeader) -> Result<Option<u32>, LoadError> {
    let size = header.part.file_size;
    check(
        "p_filesz",
        size,
        size <= MAX_NOTES,
        "more than 64 KiB of notes",
    )?;
    let mut notes = vec![0; usize::try_from(size).unwrap_or(0)];
    source.read("ELF notes", header.part.offset, &mut notes)?;
    // Contents and the next note are aligned; the name is not.
    let align = if header.align == 8 { 8 } else { 4 };
    let mut rest = notes.as_slice();
    while rest.len() >= 12 {
        let fields = Fields(rest);
        let (name_size, size, kind) = (
            fields.u32(0) as usize,
            fields.u32(4) as usize,
            fields.u32(8),
        );
        let start = (12 + name_size).next_multiple_of(align);
        let Some(value) = rest.get(start..).and_then(|tail| tail.get(..size)) else {
            break;
        };
        if kind == NOTE_PHYS32_ENTRY && rest.get(12..12 + name_size) == Some(b"Xen\0") {
            // The entry is 32 bits wide; a 64-bit note holds it in its low half.
            check(
                "PHYS32_ENTRY",
                size as u64,
                matches!(size, 4 | 8),
                "not 4 or 8 bytes long",
            )?;
            return Ok(Some(Fields(value).u32(0)));
        }
        rest = rest
            .get((start + size).next_multiple_of(align)..)
            .unwrap_or_default();
    }
    Ok(None)
}

/// Copies the segments to memory. What a segment has in memory beyond the file is not cleared: fresh RAM is zero.
pub(crate) fn load<M: GuestMemory>(
    memory: &M,
    source: &mut Source<'_>,
    image: &Image,
    room: &mut Room<'_>,
) -> Result<(), LoadError> {
    for segment in &image.segments {
        room.take(memory, "ELF segment", segment.address, segment.memory_size)?;
        source.copy_to(
            "ELF segment",
            segment.offset,
            segment.file_size,
            memory,
            segment.address,
        )?;
    }
    Ok(())
}
