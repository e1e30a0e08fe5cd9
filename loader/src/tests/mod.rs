//! Whole images, built here, through the public entry; guest memory and registers are looked at.

mod bzimage;
mod compression;
mod elf;
mod errors;
mod images;
mod linux;
mod multiboot1;
mod multiboot2;
mod mutations;
mod pvh;

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::load::{BootProtocol, Guest, MemoryKind, MemoryRegion};
use crate::{BootState, LoadError, Source, load};

type Memory = GuestMemoryMmap<()>;

const MIB: u64 = 1 << 20;
const CMDLINE: &str = "console=ttyS0 root=/dev/pmem0";
const SEED: [u8; 32] = *b"thirty-two bytes of true entropy";

/// RAM from address 0.
fn ram(size: u64) -> Memory {
    Memory::from_ranges(&[(GuestAddress(0), usize::try_from(size).unwrap())]).unwrap()
}

fn region(start: u64, end: u64, kind: MemoryKind) -> MemoryRegion {
    MemoryRegion {
        start,
        size: end - start,
        kind,
    }
}

/// The memory map of a PC.
fn map(size: u64) -> Vec<MemoryRegion> {
    vec![
        region(0, 0x9_fc00, MemoryKind::Ram),
        region(0x9_fc00, 0xa_0000, MemoryKind::Reserved),
        region(0xe_0000, MIB, MemoryKind::Reserved),
        region(MIB, size, MemoryKind::Ram),
    ]
}

fn guest(regions: &[MemoryRegion]) -> Guest<'_> {
    Guest {
        cmdline: CMDLINE,
        regions,
        rsdp: Some(0xe_0000),
        random_seed: &SEED,
        protocol: BootProtocol::Auto,
    }
}

/// What a loaded guest can be asked.
struct Loaded {
    memory: Memory,
    state: BootState,
}

impl Loaded {
    fn bytes(&self, address: u64, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        self.memory
            .read_slice(&mut bytes, GuestAddress(address))
            .unwrap();
        bytes
    }

    fn u32(&self, address: u64) -> u32 {
        self.memory.read_obj(GuestAddress(address)).unwrap()
    }

    fn u64(&self, address: u64) -> u64 {
        self.memory.read_obj(GuestAddress(address)).unwrap()
    }

    /// Up to its NUL.
    fn string(&self, address: u64) -> String {
        let bytes = (address..).map(|at| self.bytes(at, 1)[0]);
        String::from_utf8(bytes.take_while(|byte| *byte != 0).collect()).unwrap()
    }
}

/// Loads with 16 MiB of RAM; `change` is made to what the guest is told.
fn try_load(
    image: &[u8],
    initrd: Option<&[u8]>,
    change: impl FnOnce(&mut Guest<'_>),
) -> Result<Loaded, LoadError> {
    let (memory, regions) = (ram(16 * MIB), map(16 * MIB));
    // A root pointer of ACPI 2.0: signature, revision 2 at 15, XSDT at 24.
    let mut rsdp = *b"RSD PTR ........\0\0\0\0\x24\0\0\0XSDT....SUM.";
    rsdp[15] = 2;
    memory.write_slice(&rsdp, GuestAddress(0xe_0000)).unwrap();
    let mut guest = guest(&regions);
    change(&mut guest);
    let state = load(
        &memory,
        Source::Bytes(image),
        initrd.map(Source::Bytes),
        &guest,
    )?;
    Ok(Loaded { memory, state })
}

fn check_load(image: &[u8], initrd: Option<&[u8]>) -> Loaded {
    try_load(image, initrd, |_| ()).unwrap()
}

/// The error of an image, as it is shown.
fn refusal(image: &[u8], protocol: BootProtocol) -> String {
    match try_load(image, None, |guest| guest.protocol = protocol) {
        Ok(loaded) => panic!("loaded: {:x?}", loaded.state),
        Err(error) => error.to_string(),
    }
}

/// Patches `image` as each line says, `offset: bytes -> error`, all in hexadecimal but the error, and checks that it
/// is refused so.
fn check_refusals(image: &[u8], protocol: BootProtocol, script: &str) {
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (patch, wanted) = line.split_once(" -> ").unwrap();
        let (offset, bytes) = patch.split_once(": ").unwrap();
        let offset = usize::from_str_radix(offset, 16).unwrap();
        let bytes = images::hex(bytes);
        let mut image = image.to_vec();
        image[offset..offset + bytes.len()].copy_from_slice(&bytes);
        assert_eq!(refusal(&image, protocol), wanted, "{patch}");
    }
}

/// Every prefix of `image` is refused, and none makes a panic.
fn check_truncations(image: &[u8], protocol: BootProtocol) {
    check_load_as(image, protocol);
    let memory = ram(16 * MIB);
    let regions = map(16 * MIB);
    let guest = Guest {
        protocol,
        rsdp: None,
        ..guest(&regions)
    };
    for size in 0..image.len() {
        let result = load(&memory, Source::Bytes(&image[..size]), None, &guest);
        assert!(
            result.is_err(),
            "the first {size} of {} bytes are a kernel",
            image.len()
        );
    }
}

fn check_load_as(image: &[u8], protocol: BootProtocol) -> Loaded {
    try_load(image, None, |guest| guest.protocol = protocol).unwrap()
}
