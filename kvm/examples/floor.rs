//! The floor of start-up: the fewest ioctls that start the bare-metal guest, with nothing around them.
//!
//! `cargo xtask bench start` measures VMMs against it. It loads an ELF with a PVH note, gives it 256 MiB,
//! prints what it writes to COM1 and ends when it resets through the keyboard controller. No check, no
//! device, no second process: what is left is KVM's own time.

#![expect(
    unsafe_code,
    reason = "kvm-ioctls alone, without the crates that make it safe"
)]

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use kvm_bindings::{
    KVM_CAP_SPLIT_IRQCHIP, KVM_MAX_CPUID_ENTRIES, kvm_enable_cap, kvm_segment,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit};

const RAM: usize = 256 << 20;
const START_INFO: usize = 0x6000;

fn main() -> Result<(), Box<dyn Error>> {
    let kernel = File::open(std::env::args_os().nth(1).ok_or("usage: floor GUEST.elf")?)?;
    let kvm = Kvm::new()?;
    let vm = kvm.create_vm()?;
    vm.enable_cap(&kvm_enable_cap {
        cap: KVM_CAP_SPLIT_IRQCHIP,
        args: [24, 0, 0, 0],
        ..Default::default()
    })?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new anonymous mapping that lives until the process ends.
    let ram: &'static mut [u8] = unsafe {
        let start = libc::mmap(
            std::ptr::null_mut(),
            RAM,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            -1,
            0,
        );
        assert!(start != libc::MAP_FAILED, "no memory");
        std::slice::from_raw_parts_mut(start.cast(), RAM)
    };
    let memory = kvm_userspace_memory_region {
        memory_size: RAM as u64,
        userspace_addr: ram.as_ptr() as u64,
        ..Default::default()
    };
    // SAFETY: the mapping outlives the VM.
    unsafe { vm.set_user_memory_region(memory)? };
    let entry = load(&kernel, ram)?;
    // struct hvm_start_info: magic, version 1, no modules, empty command line.
    ram[START_INFO..START_INFO + 8].copy_from_slice(&0x1_336e_c578_u64.to_le_bytes());

    let mut vcpu = vm.create_vcpu(0)?;
    vcpu.set_cpuid2(&kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)?)?;
    let mut system = vcpu.get_sregs()?;
    let flat = kvm_segment {
        limit: !0,
        type_: 3,
        present: 1,
        s: 1,
        db: 1,
        g: 1,
        ..Default::default()
    };
    (system.ds, system.es, system.ss) = (flat, flat, flat);
    system.cs = kvm_segment { type_: 0xb, ..flat };
    system.cr0 = 0x11;
    vcpu.set_sregs(&system)?;
    let mut general = vcpu.get_regs()?;
    (general.rip, general.rbx, general.rflags) = (entry, START_INFO as u64, 2);
    vcpu.set_regs(&general)?;

    let mut stdout = std::io::stdout().lock();
    loop {
        match vcpu.run()? {
            VcpuExit::IoOut(0x3f8, data) => {
                stdout.write_all(data)?;
                stdout.flush()?;
            }
            VcpuExit::IoOut(0x64, [0xfe]) => return Ok(()),
            VcpuExit::IoIn(0x3fd, data) => data.fill(0x60),
            VcpuExit::IoIn(_, data) | VcpuExit::MmioRead(_, data) => data.fill(0),
            VcpuExit::IoOut(..) | VcpuExit::MmioWrite(..) => {}
            exit => return Err(format!("{exit:?}").into()),
        }
    }
}

/// Loads the segments of an ELF64 and returns the entry of its PVH note.
fn load(kernel: &File, ram: &mut [u8]) -> Result<u64, Box<dyn Error>> {
    let mut header = [0; 64];
    kernel.read_exact_at(&mut header, 0)?;
    let word = |bytes: &[u8], at: usize| {
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
    };
    let (offset, count) = (
        word(&header, 32),
        u16::from_le_bytes([header[56], header[57]]),
    );
    let mut entry = None;
    for index in 0..u64::from(count) {
        let mut segment = [0; 56];
        kernel.read_exact_at(&mut segment, offset + 56 * index)?;
        let (from, to, size) = (
            word(&segment, 8),
            usize::try_from(word(&segment, 24))?,
            usize::try_from(word(&segment, 32))?,
        );
        match segment[0] {
            1 => kernel.read_exact_at(ram.get_mut(to..to + size).ok_or("too large")?, from)?,
            4 => {
                let mut notes = vec![0; size];
                kernel.read_exact_at(&mut notes, from)?;
                // Name size 4, type 18 (XEN_ELFNOTE_PHYS32_ENTRY), name "Xen".
                let at = notes
                    .windows(16)
                    .position(|note| note[..4] == [4, 0, 0, 0] && note[8..] == *b"\x12\0\0\0Xen\0");
                entry = at.and_then(|at| {
                    Some(u32::from_le_bytes(
                        notes.get(at + 16..at + 20)?.try_into().ok()?,
                    ))
                });
            }
            _ => {}
        }
    }
    Ok(entry.ok_or("no PVH note")?.into())
}
