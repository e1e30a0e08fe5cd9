//! Interrupts in 32-bit protected mode on hosts whose KVM is backed by PVM.
//!
//! There, the frame of an interrupt is pushed at ESP without the base of SS. A guest whose stack has a base, such as
//! iPXE, finds something else where it returns by. KVM emulates no IRET in protected mode, so each comes to user space,
//! and there the frame is put where it belongs. A handler that looks at its frame before that sees the wrong one.

use trivisor_emulator::{Access, AccessKind};

use crate::exit::{Io, RunError};
use crate::finish::Finisher;

/// IRET without a prefix.
const IRET: u8 = 0xcf;
/// Protected mode.
const PE: u64 = 1 << 0;
/// Long mode is active.
const LMA: u64 = 1 << 10;
/// The bit of EFLAGS that is always set.
const FIXED: u32 = 1 << 1;
/// Virtual-8086 mode.
const VM: u32 = 1 << 17;

/// As ring 0 reaches its memory.
const fn system(kind: AccessKind) -> Access {
    Access { kind, user: false }
}

/// EIP, CS and EFLAGS.
type Frame = [u8; 12];

/// Where an IRET is about to run and a frame of its code segment is at ESP without the base of SS: moves it there.
///
/// # Errors
/// The host's.
pub(crate) fn mend<I: Io>(vcpu: &mut Finisher<'_, I>) -> Result<(), RunError> {
    vcpu.load()?;
    let state = *vcpu.system_mut();
    let (rip, rsp) = (vcpu.general_mut().rip, vcpu.general_mut().rsp);
    let flat = state.ss.base == 0;
    let flat_mode = state.cr0 & PE == 0 || state.efer & LMA != 0;
    if flat || flat_mode || state.cs.db == 0 || state.ss.db == 0 || state.ss.dpl != 0 {
        return Ok(());
    }
    let mut code = [0];
    let at = linear(state.cs.base, rip);
    let read = vcpu.read_ram(at, &mut code, system(AccessKind::Fetch));
    if !read || code != [IRET] {
        return Ok(());
    }
    let (pushed, stack) = (linear(0, rsp), linear(state.ss.base, rsp));
    let mut frame = Frame::default();
    // Whatever ESP is without the base may be a device's: that is not to hear of it.
    let read = vcpu.read_ram(pushed, &mut frame, system(AccessKind::Read));
    if read && returns(&frame, state.cs.selector, state.cs.limit) {
        let write = system(AccessKind::Write);
        // No later IRET takes it for its own; what stood there is lost in any case. The two places may overlap.
        let taken = vcpu.write_ram(pushed, &Frame::default(), write);
        if taken && !vcpu.write_ram(stack, &frame, write) {
            // A stack that cannot be written: the IRET will meet what is there.
            let _put_back = vcpu.write_ram(pushed, &frame, write);
        }
    }
    Ok(())
}

const fn linear(base: u64, offset: u64) -> u64 {
    base.wrapping_add(offset) & 0xffff_ffff
}

/// Whether a frame leads back into this code segment.
fn returns(frame: &Frame, cs: u16, limit: u32) -> bool {
    let [e0, e1, e2, e3, c0, c1, _, _, f0, f1, f2, f3] = *frame;
    let eip = u32::from_le_bytes([e0, e1, e2, e3]);
    let flags = u32::from_le_bytes([f0, f1, f2, f3]);
    u16::from_le_bytes([c0, c1]) == cs && eip <= limit && flags & (FIXED | VM) == FIXED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_known_by_its_code_segment_and_flags() {
        let frame = |eip: u32, cs: u32, flags: u32| -> Frame {
            let mut frame = Frame::default();
            let fields = [eip, cs, flags].map(u32::to_le_bytes);
            frame.copy_from_slice(fields.as_flattened());
            frame
        };
        assert!(returns(&frame(0x6c66, 8, 0x293), 8, u32::MAX));
        // What a stack holds otherwise: return addresses and arguments.
        assert!(!returns(&frame(0x6_c6a7, 0x800, 0x6_c726), 8, u32::MAX));
        assert!(!returns(&frame(0x6c66, 8, 0x291), 8, u32::MAX));
        assert!(!returns(&frame(0x6c66, 8, 0x2_0293), 8, u32::MAX));
        assert!(!returns(&frame(0x6c66, 8, 0x293), 8, 0x6c65));
    }

    #[test]
    fn addresses_wrap_at_4_gib() {
        assert_eq!(linear(0xffff_f000, 0x2000), 0x1000);
    }
}
