//! Taps by their names: in the control process alone.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
use rustix::thread::{CapabilitySet, capabilities};
use thiserror::Error;

use super::{HEADER_LEN, Tap};
use crate::sys::tun;

/// Where taps come from.
const TUN: &str = "/dev/net/tun";

/// A tap that cannot be used.
#[derive(Debug, Error)]
pub enum TapError {
    /// No interface has this name.
    #[error(
        "{name:?} is no name of a network interface: 1 to 15 bytes without spaces, slashes and zeros"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A tap has 1 to 256 queues.
    #[error("a tap has 1 to 256 queues, not {queues}")]
    Queues {
        /// What was asked for.
        queues: usize,
    },
    /// There is none of this name. What to do: `ip tuntap add NAME mode tap user USER`, or another name.
    #[error("there is no tap {name}")]
    Missing {
        /// Its name.
        name: String,
    },
    /// It belongs to another user. What to do: make it with `user USER`.
    #[error("the tap {name} belongs to another user")]
    Permission {
        /// Its name.
        name: String,
    },
    /// There is none, and the user may not make one. What to do: the right CAP_NET_ADMIN, or a tap that an
    /// administrator made.
    #[error("there is no tap {name}, and the right to make one is lacking")]
    MayNotMake {
        /// Its name.
        name: String,
    },
    /// Another VM uses it.
    #[error("the tap {name} is in use")]
    Busy {
        /// Its name.
        name: String,
    },
    /// The interface is of another kind.
    #[error("the network interface {name} is no tap")]
    NotATap {
        /// Its name.
        name: String,
    },
    /// It was made for one queue. What to do: `ip tuntap add NAME mode tap multi_queue`, or one queue.
    #[error("the tap {name} has one queue, not {queues}")]
    OneQueue {
        /// Its name.
        name: String,
        /// What was asked for.
        queues: usize,
    },
    /// The host has no taps at all, or the user may not use any. What to do: `modprobe tun`, or the right to use the
    /// file.
    #[error("{TUN} cannot be opened")]
    Tun(#[source] io::Error),
    /// The host refused something else.
    #[error("the tap {name} cannot be used")]
    Host {
        /// Its name.
        name: String,
        /// What it said.
        source: io::Error,
    },
}

impl Tap {
    /// Opens the queues of a tap that exists, a descriptor each; they do not block. It is used with virtio-net
    /// headers of [`HEADER_LEN`] bytes.
    ///
    /// # Errors
    /// When there is none, it may not be used, is in use, or the host refuses.
    pub fn open(name: &str, queues: usize) -> Result<Vec<OwnedFd>, TapError> {
        check(name, queues)?;
        if !exists(name)? {
            let name = name.into();
            return Err(match may_make() {
                true => TapError::Missing { name },
                false => TapError::MayNotMake { name },
            });
        }
        open_queues(name, queues)
    }

    /// As [`open`](Self::open), but makes the tap where there is none. One that was made ends with the last of its
    /// descriptors; it has no address, and is down until somebody sets it up.
    ///
    /// # Errors
    /// When it may not be made or used, is in use, or the host refuses.
    pub fn make(name: &str, queues: usize) -> Result<Vec<OwnedFd>, TapError> {
        check(name, queues)?;
        open_queues(name, queues)
    }
}

fn check(name: &str, queues: usize) -> Result<(), TapError> {
    let is_wrong =
        |letter: u8| letter.is_ascii_whitespace() || matches!(letter, 0 | b'/' | b':' | b'%');
    let fits = (1..libc::IFNAMSIZ).contains(&name.len()) && !matches!(name, "." | "..");
    if !fits || name.bytes().any(is_wrong) {
        return Err(TapError::Name { name: name.into() });
    }
    if (1..=256).contains(&queues) {
        Ok(())
    } else {
        Err(TapError::Queues { queues })
    }
}

/// Whether this thread may make taps; it may not where the host does not say.
fn may_make() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
}

/// Whether an interface has this name, in the network namespace of this thread.
fn exists(name: &str) -> Result<bool, TapError> {
    let asked = socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .and_then(|socket| netdevice::name_to_index(socket, name));
    match asked {
        Ok(_index) => Ok(true),
        Err(Errno::NODEV) => Ok(false),
        Err(error) => Err(TapError::Host {
            name: name.into(),
            source: error.into(),
        }),
    }
}

fn open_queues(name: &str, queues: usize) -> Result<Vec<OwnedFd>, TapError> {
    let mut opened = Vec::new();
    // A tap that was made for several queues wants that said even when it is used with one.
    let mut flags = tun::Flags::TAP;
    if queues > 1 {
        flags = tun::Flags::TAP_QUEUES;
    }
    while opened.len() < queues {
        match open_queue(name, flags)? {
            Ok(queue) => opened.push(queue),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
                let other = match queues {
                    1 => tun::Flags::TAP_QUEUES,
                    _ => tun::Flags::TAP,
                };
                match (open_queue(name, other)?, queues) {
                    (Ok(queue), 1) => opened.push(queue),
                    (Ok(_), _) => {
                        let name = name.into();
                        return Err(TapError::OneQueue { name, queues });
                    }
                    (Err(error), _) => return Err(refused(name, error)?),
                }
            }
            Err(error) => return Err(refused(name, error)?),
        }
    }
    Ok(opened)
}

/// A new descriptor of the tap, or why it is not to be had.
fn open_queue(name: &str, flags: tun::Flags) -> Result<io::Result<OwnedFd>, TapError> {
    let queue = rustix::fs::open(
        TUN,
        OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|error| TapError::Tun(error.into()))?;
    let mut terminated = tun::Name::default();
    for (byte, letter) in terminated.iter_mut().zip(name.bytes()) {
        *byte = letter;
    }
    let header = libc::c_int::try_from(HEADER_LEN).map_err(|error| TapError::Host {
        name: name.into(),
        source: io::Error::other(error),
    })?;
    Ok(tun::set_interface(&queue, terminated, flags)
        .and_then(|()| tun::set_header(&queue, header))
        .map(|()| queue))
}

/// What an errno of TUNSETIFF means.
fn refused(name: &str, source: io::Error) -> Result<TapError, TapError> {
    let named = name.to_owned();
    Ok(match Errno::from_io_error(&source) {
        Some(Errno::BUSY) => TapError::Busy { name: named },
        Some(Errno::PERM) if exists(name)? => TapError::Permission { name: named },
        Some(Errno::PERM) => TapError::MayNotMake { name: named },
        Some(Errno::INVAL) => TapError::NotATap { name: named },
        _ => TapError::Host {
            name: named,
            source,
        },
    })
}
