//! The registers in which a boot protocol starts a kernel.

use vm_memory::{Bytes, GuestAddress, GuestMemory};

use crate::error::LoadError;
use crate::layout;

/// A segment register with its hidden part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Segment {
    /// Linear address of its first byte.
    pub base: u64,
    /// Offset of its last byte, granularity already applied.
    pub limit: u32,
    /// The visible part.
    pub selector: u16,
    /// Descriptor type, four bits.
    pub kind: u8,
    /// S: a code or data segment and not a system one.
    pub code_or_data: bool,
    /// D/B: 32-bit operands and addresses.
    pub big: bool,
    /// L: 64-bit code.
    pub long: bool,
    /// G: the descriptor counts its limit in pages.
    pub granular: bool,
}

/// GDTR or IDTR.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DescriptorTable {
    /// Linear address of its first byte.
    pub base: u64,
    /// Offset of its last byte.
    pub limit: u16,
}

/// What to load into the first vCPU. Registers that are not named are zero; all descriptors have
/// privilege level 0 and are present.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BootState {
    /// Instruction pointer.
    pub rip: u64,
    /// RAX: the multiboot magic.
    pub rax: u64,
    /// RBX: PVH start info, multiboot information.
    pub rbx: u64,
    /// RSI: the zero page.
    pub rsi: u64,
    /// RSP.
    pub rsp: u64,
    /// CR0.
    pub cr0: u64,
    /// CR3: page tables, for 64-bit entries.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// EFER.
    pub efer: u64,
    /// Code segment.
    pub cs: Segment,
    /// DS, ES, FS, GS and SS.
    pub data: Segment,
    /// Task register.
    pub tr: Segment,
    /// Global descriptor table.
    pub gdt: DescriptorTable,
}

const CR0_PE: u64 = 1 << 0;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

/// Selectors of the Linux boot protocol: __BOOT_CS and __BOOT_DS.
const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;
const TASK_SELECTOR: u16 = 0x20;

/// Null, null, code, data, task state of 104 bytes at address 0 (two entries in long mode).
const GDT_32: [u64; 6] = [
    0,
    0,
    0x00cf_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x0000_8b00_0000_0067,
    0,
];
const GDT_64: [u64; 6] = [
    0,
    0,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x0000_8b00_0000_0067,
    0,
];

impl BootState {
    /// Flat 32-bit protected mode without paging, as PVH and multiboot ask for; writes the GDT.
    pub(crate) fn protected<M: GuestMemory>(memory: &M, rip: u64) -> Result<Self, LoadError> {
        let gdt = write_gdt(memory, &GDT_32)?;
        let data = Segment {
            limit: !0,
            selector: DATA_SELECTOR,
            kind: 3,
            code_or_data: true,
            big: true,
            granular: true,
            ..Segment::default()
        };
        let cs = Segment {
            selector: CODE_SELECTOR,
            kind: 0xb,
            ..data
        };
        let tr = Segment {
            limit: 0x67,
            selector: TASK_SELECTOR,
            kind: 0xb,
            ..Segment::default()
        };
        Ok(Self {
            rip,
            cr0: CR0_PE | CR0_ET,
            cs,
            data,
            tr,
            gdt,
            ..Self::default()
        })
    }

    /// 64-bit mode with the first 4 GiB mapped one to one; writes GDT and page tables.
    pub(crate) fn long<M: GuestMemory>(memory: &M, rip: u64) -> Result<Self, LoadError> {
        let state = Self::protected(memory, rip)?;
        let gdt = write_gdt(memory, &GDT_64)?;
        write_page_tables(memory)?;
        Ok(Self {
            rsp: layout::STACK_END,
            cr0: state.cr0 | CR0_PG,
            cr3: layout::PAGE_TABLES,
            cr4: CR4_PAE,
            efer: EFER_LME | EFER_LMA,
            cs: Segment {
                long: true,
                big: false,
                ..state.cs
            },
            gdt,
            ..state
        })
    }
}

fn write_gdt<M: GuestMemory>(memory: &M, entries: &[u64; 6]) -> Result<DescriptorTable, LoadError> {
    let bytes: Vec<u8> = entries
        .iter()
        .flat_map(|entry| entry.to_le_bytes())
        .collect();
    memory
        .write_slice(&bytes, GuestAddress(layout::GDT))
        .map_err(|source| LoadError::structure("GDT", layout::GDT, source))?;
    Ok(DescriptorTable {
        base: layout::GDT,
        limit: 6 * 8 - 1,
    })
}

/// One PML4, one PDPT and four page directories of 2 MiB pages.
fn write_page_tables<M: GuestMemory>(memory: &M) -> Result<(), LoadError> {
    const PRESENT_WRITABLE: u64 = 3;
    const LARGE: u64 = 1 << 7;
    const PAGE: u64 = 4096;
    let pdpt = layout::PAGE_TABLES + PAGE;
    let directories = pdpt + PAGE;
    let mut tables = vec![0_u8; 6 * 4096];
    let entries = tables.as_chunks_mut::<8>().0;
    let mut set = |index: usize, value: u64| {
        if let Some(entry) = entries.get_mut(index) {
            *entry = value.to_le_bytes();
        }
    };
    set(0, pdpt | PRESENT_WRITABLE);
    for (index, gib) in (512..516).zip(0..) {
        set(index, (directories + gib * PAGE) | PRESENT_WRITABLE);
    }
    for (index, page) in (1024..1024 + 4 * 512).zip(0..) {
        set(index, page << 21 | LARGE | PRESENT_WRITABLE);
    }
    let written = memory.write_slice(&tables, GuestAddress(layout::PAGE_TABLES));
    written.map_err(|source| LoadError::structure("page tables", layout::PAGE_TABLES, source))
}
