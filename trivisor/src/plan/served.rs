//! Devices whose queues another program serves: their back-ends, by name, and what these offer.

use std::os::fd::OwnedFd;
use std::path::Path;

use trivisor_backends::net::ConnectError;
use trivisor_backends::vhost_user::{BackEnd, BackEndError, Offer, Share, ShareError, Wanted};
use trivisor_devices_pv::vhost_user::{DISK_CONFIG, Function};

use crate::arguments::{DiskArgument, DiskCache, ShareArgument};
use crate::failure::{Failure, chain};

/// Such a device.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) function: Function,
    pub(crate) wanted: Wanted,
    pub(crate) offer: Offer,
    /// The VM process's end of the way to `back_end`.
    pub(crate) asker: OwnedFd,
    pub(crate) back_end: BackEnd,
}

/// A disk that another program has.
pub(super) fn open_disk(socket: &Path, argument: &DiskArgument) -> Result<Served, Failure> {
    let has_more = argument.ro
        || argument.format.is_some()
        || argument.cache != DiskCache::default()
        || argument.serial.is_some()
        || argument.bps.is_some()
        || argument.iops.is_some()
        || !argument.file.as_os_str().is_empty();
    if has_more {
        return Err(Failure::usage(
            format!(
                "disk vhost-user={}: the program behind it has the image and its options",
                socket.display()
            ),
            "leave out all but queues= and queue-size=",
        ));
    }
    let wanted = Wanted {
        config: DISK_CONFIG,
        inflight: true,
    };
    let function = Function::Disk {
        queues: argument.queues.unwrap_or(1),
        queue_size: argument.queue_size.unwrap_or(256),
    };
    open("--disk", socket, function, wanted)
}

/// A network card whose frames another program moves.
pub(super) fn open_card(socket: &Path, mac: [u8; 6]) -> Result<Served, Failure> {
    let wanted = Wanted {
        config: 0,
        inflight: false,
    };
    open("--net", socket, Function::Network { mac }, wanted)
}

fn open(flag: &str, socket: &Path, function: Function, wanted: Wanted) -> Result<Served, Failure> {
    let (queues, _) = function.queues();
    let (back_end, offer, asker) = BackEnd::at(socket, wanted, queues)
        .map_err(|error| no_back_end(&format!("{flag} vhost-user"), &error))?;
    Ok(Served {
        function,
        wanted,
        offer,
        asker,
        back_end,
    })
}

/// A folder, shared by a virtiofsd that is started now.
pub(super) fn open_share(argument: &ShareArgument) -> Result<Served, Failure> {
    let share = Share::new(&argument.dir, argument.ro);
    let share = share.map_err(|error| no_back_end("--share", &error.into()))?;
    let function = Function::FileSystem {
        tag: argument.tag.clone(),
    };
    let (queues, _) = function.queues();
    let (back_end, offer, asker) =
        BackEnd::share(share, queues).map_err(|error| no_back_end("--share", &error))?;
    let wanted = Wanted {
        config: 0,
        inflight: false,
    };
    Ok(Served {
        function,
        wanted,
        offer,
        asker,
        back_end,
    })
}

fn no_back_end(flag: &str, error: &BackEndError) -> Failure {
    let what = format!("{flag}: {}", chain(error));
    let advice = match error {
        BackEndError::Connect(ConnectError::Missing { .. } | ConnectError::Unserved { .. }) => {
            "start the program that serves it first"
        }
        BackEndError::Connect(ConnectError::Permission { .. }) => {
            "let this user write it: chmod, or another folder"
        }
        BackEndError::Connect(ConnectError::Host { .. }) => {
            "name a UNIX socket that a vhost-user back-end listens at"
        }
        BackEndError::Greeting { .. } => {
            "see that it is a vhost-user back-end, and that no other VM is connected to it"
        }
        BackEndError::Legacy { .. } => "start a newer back-end",
        BackEndError::NoConfig { .. } => "see that the back-end is one of disks",
        BackEndError::Queues { .. } => {
            "give the back-end more queues, or choose fewer with queues="
        }
        BackEndError::Share(error) => return no_share(what, error),
        BackEndError::Host(_) => "see `trivisor check`",
    };
    Failure::host(what, advice)
}

fn no_share(what: String, error: &ShareError) -> Failure {
    match error {
        ShareError::Missing { .. } | ShareError::NotAFolder { .. } | ShareError::Folder { .. } => {
            Failure::usage(
                what,
                "--share takes a folder that this user may look into, and a tag",
            )
        }
        ShareError::NotInstalled => Failure::host(
            what,
            "install the package virtiofsd; on Debian 12, qemu-system-common",
        ),
        ShareError::Writable { .. } => Failure::host(
            what,
            "install virtiofsd 1.11 or newer, start this as root, or leave out ,ro",
        ),
        ShareError::Start(_) => Failure::host(what, "start virtiofsd by hand to see what is wrong"),
        ShareError::GaveUp { .. } if !rustix::process::geteuid().is_root() => Failure::host(
            what,
            "the virtiofsd in C wants root: install the one in Rust (virtiofsd 1.5 or newer), or start this as root",
        ),
        ShareError::GaveUp { .. } => {
            Failure::host(what, "start virtiofsd by hand to see what is wrong")
        }
    }
}
