//! A guest that has a driver for one request and nothing else.

use kvm_bindings::kvm_segment;
use kvm_ioctls::VcpuFd;
use trivisor_memory::GuestRam;

/// Where its disk is.
pub(crate) const DISK: u64 = 0xd000_0000;

const DESCRIPTORS: u32 = 0x1000;
const AVAILABLE: u32 = 0x2000;
const USED: u32 = 0x3000;
const HEADER: u32 = 0x4000;
const DATA: u32 = 0x5000;
const STATUS: u32 = 0x6000;
const CODE: u32 = 0x7000;

/// Puts it into fresh memory, and the vCPU to its start in flat 32-bit mode.
pub(crate) fn load(ram: &GuestRam, vcpu: &VcpuFd) -> Result<(), kvm_ioctls::Error> {
    // A read of sector 0, whose header is zeros, stands in the available ring.
    let (next, write) = (1, 2);
    let descriptors = [
        (HEADER, 16, next, 1),
        (DATA, 512, next | write, 2),
        (STATUS, 1, write, 0),
    ];
    for (at, (address, len, flags, next)) in (DESCRIPTORS..).step_by(16).zip(descriptors) {
        let bits = u128::from(address) | len << 64 | flags << 96 | next << 112;
        ram.write(at.into(), &bits.to_le_bytes());
    }
    ram.write(AVAILABLE.into(), &[0, 0, 1, 0]);
    ram.write(CODE.into(), &driver());

    let flat = kvm_segment {
        limit: !0,
        type_: 3,
        present: 1,
        s: 1,
        db: 1,
        g: 1,
        ..Default::default()
    };
    let mut system = vcpu.get_sregs()?;
    (system.ds, system.es, system.ss) = (flat, flat, flat);
    system.cs = kvm_segment { type_: 0xb, ..flat };
    system.cr0 = 0x11;
    vcpu.set_sregs(&system)?;
    let mut general = vcpu.get_regs()?;
    (general.rip, general.rflags) = (CODE.into(), 2);
    vcpu.set_regs(&general)
}

/// Its code: virtio 1.3, 3.1.1 and 4.2.3.
fn driver() -> Vec<u8> {
    let registers = [
        (0x70, 3), // Status: ACKNOWLEDGE, DRIVER
        (0x24, 1), // DriverFeatures: VERSION_1
        (0x20, 1),
        (0x70, 11), // FEATURES_OK
        (0x38, 4),  // QueueSize, of queue 0
        (0x80, DESCRIPTORS),
        (0x90, AVAILABLE),
        (0xa0, USED),
        (0x44, 1),  // QueueReady
        (0x70, 15), // DRIVER_OK
        (0x50, 0),  // QueueNotify
    ];
    let mut code = Vec::new();
    for (offset, value) in registers {
        // mov dword [register], value
        code.extend([0xc7, 0x05, offset, 0, 0, 0xd0]);
        code.extend(u32::to_le_bytes(value));
    }
    // Until the used ring's idx is not 0: cmp word [USED + 2], 0; je
    code.extend(b"\x66\x83\x3d\x02\x30\0\0\0\x74\xf6");
    // mov esi, DATA; mov ecx, 512; mov dx, 0x3f8; lodsb; out dx, al; loop
    code.extend(b"\xbe\0\x50\0\0\xb9\0\x02\0\0\x66\xba\xf8\x03\xac\xee\xe2\xfc");
    // mov al, 0xfe; out 0x64, al
    code.extend(b"\xb0\xfe\xe6\x64");
    code
}
