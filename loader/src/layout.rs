//! Where the loader puts its own structures in guest memory.
//!
//! All of it lies below 640 KiB, which no kernel is loaded to, and is the kernel's to reuse.
//!
//! | address | size | what |
//! |---|---|---|
//! | 0x400 | 256 bytes | BIOS data area, for multiboot images: two of its words |
//! | 0x500 | 4 KiB less | GDT |
//! | 0x6000 | 4 KiB | PVH start info, module list, memory map |
//! | 0x7000 | 4 KiB | zero page (boot_params) |
//! | 0x8000 | 4 KiB | stack of 64-bit entries, growing down from its end |
//! | 0x9000 | 24 KiB | identity page tables of 64-bit entries: 4 GiB |
//! | 0xf000 | 4 KiB | setup data: the random seed |
//! | 0x10000 | 16 KiB | multiboot information |
//! | 0x20000 | 64 KiB | command line |
//! | 0x9fc00 | 1 KiB | extended BIOS data area: reserved |
//! | 0xa0000 | 384 KiB | legacy video and firmware: reserved; ACPI, SMBIOS and MP tables from 0xe0000 on |
//! | 0x100000 | | the kernel, or where it wants to be |

/// BIOS data area.
pub const BDA: u64 = 0x400;
/// Global descriptor table.
pub const GDT: u64 = 0x500;
/// PVH start info.
pub const PVH_INFO: u64 = 0x6000;
/// boot_params of the Linux boot protocol.
pub const ZERO_PAGE: u64 = 0x7000;
/// End of the stack that 64-bit entries start with.
pub const STACK_END: u64 = 0x9000;
/// Page tables of 64-bit entries: one PML4, one PDPT, four page directories.
pub const PAGE_TABLES: u64 = 0x9000;
/// Setup data of the Linux boot protocol.
pub const SETUP_DATA: u64 = 0xf000;
/// Multiboot information.
pub const MULTIBOOT_INFO: u64 = 0x1_0000;
/// Bytes for the multiboot information.
pub const MULTIBOOT_INFO_SIZE: u64 = 0x4000;
/// Command line.
pub const CMDLINE: u64 = 0x2_0000;
/// Bytes for the command line, its NUL included.
pub const CMDLINE_SIZE: u64 = 0x1_0000;
/// First address below 1 MiB that is not the kernel's.
pub const EBDA: u64 = 0x9_fc00;
/// Where RAM for kernels begins.
pub const HIGH_MEMORY: u64 = 0x10_0000;
