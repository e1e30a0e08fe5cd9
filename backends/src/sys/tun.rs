//! The ioctls of `/dev/net/tun` (Linux, `include/uapi/linux/if_tun.h`).

#![expect(unsafe_code, reason = "ioctls have no types")]

use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{IntegerSetter, Opcode, Setter, Updater, ioctl, opcode};

const TUNSETIFF: Opcode = opcode::write::<libc::c_int>(b'T', 202);
const TUNSETOFFLOAD: Opcode = opcode::write::<libc::c_uint>(b'T', 208);
const TUNSETVNETHDRSZ: Opcode = opcode::write::<libc::c_int>(b'T', 216);

/// Name of an interface, ended by zeros.
pub(crate) type Name = [u8; libc::IFNAMSIZ];

/// Kind of an interface and how it is used: `IFF_TAP`, `IFF_NO_PI`, ...
#[derive(Clone, Copy)]
pub(crate) struct Flags(i16);

impl Flags {
    /// Ethernet frames, each with a virtio-net header.
    pub(crate) const TAP: Self = Self(flag(libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR));

    /// And with several queues, a descriptor each.
    pub(crate) const TAP_QUEUES: Self = Self(Self::TAP.0 | flag(libc::IFF_MULTI_QUEUE));
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the field has 16 bits, and so have the flags"
)]
const fn flag(bits: libc::c_int) -> i16 {
    bits as i16
}

/// Makes `tun`, a new descriptor of `/dev/net/tun`, a queue of the interface `name`. Where there is none
/// by this name it is made, and ends with its descriptors.
pub(crate) fn set_interface(tun: impl AsFd, name: Name, flags: Flags) -> io::Result<()> {
    let mut request = libc::ifreq {
        ifr_name: name.map(u8::cast_signed),
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: flags.0,
        },
    };
    // SAFETY: TUNSETIFF reads and writes one ifreq, whatever its number says of an int.
    unsafe { ioctl(tun, Updater::<TUNSETIFF, _>::new(&mut request)) }?;
    Ok(())
}

/// Bytes of the virtio-net header in front of each frame.
pub(crate) fn set_header(tun: impl AsFd, bytes: libc::c_int) -> io::Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads one int.
    unsafe { ioctl(tun, Setter::<TUNSETVNETHDRSZ, libc::c_int>::new(bytes)) }?;
    Ok(())
}

/// What the reader of the frames takes: `TUN_F_*`.
pub(crate) fn set_offloads(tun: impl AsFd, bits: u32) -> io::Result<()> {
    // 32 bits fit into every usize that Linux has.
    let bits = usize::try_from(bits).map_err(io::Error::other)?;
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    unsafe { ioctl(tun, IntegerSetter::<TUNSETOFFLOAD>::new_usize(bits)) }?;
    Ok(())
}
