//! What is plugged into the pv board: opened by the control process, made into devices by the VM process.

use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::FlockOperation;
use trivisor_backends::disk::{self, Format, OpenError, OpenOptions, Opened};
use trivisor_backends::net::passt::{self, PasstError};
use trivisor_backends::net::{self, ConnectError, Tap, TapError};
use trivisor_backends::vsock::{ConnectServer, ListenError, Listener};

use super::served::{self, Served};
use crate::arguments::{DiskArgument, DiskCache, DiskFormat, NetArgument, NetLink, VsockArgument};
use crate::failure::{Failure, chain};

/// A network card.
#[derive(Debug)]
pub(crate) struct Card {
    pub(crate) mac: [u8; 6],
    pub(crate) cables: Vec<Cable>,
}

/// A descriptor that frames go through.
#[derive(Debug)]
pub(crate) enum Cable {
    /// A queue of a tap.
    Tap(OwnedFd),
    /// A socket with somebody at its other end.
    Socket(OwnedFd),
}

impl Cable {
    /// The same again, for one start: the next one wants it as well.
    pub(crate) fn try_clone(&self) -> std::io::Result<Self> {
        Ok(match self {
            Self::Tap(fd) => Self::Tap(fd.try_clone()?),
            Self::Socket(fd) => Self::Socket(fd.try_clone()?),
        })
    }
}

impl AsFd for Cable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let (Self::Tap(fd) | Self::Socket(fd)) = self;
        fd.as_fd()
    }
}

/// A socket device. The control process connects where the guest wants to.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) cid: u32,
    pub(crate) listener: Listener,
    /// The VM process's end of the way to `server`.
    pub(crate) connector: OwnedFd,
    pub(crate) server: ConnectServer,
}

/// A disk's image.
#[derive(Debug)]
pub(crate) struct Image {
    /// The name that the user knows it by.
    pub(crate) path: PathBuf,
    pub(crate) image: Opened,
    pub(crate) read_only: bool,
    pub(crate) cache: DiskCache,
    pub(crate) queues: u16,
    pub(crate) queue_size: u16,
    pub(crate) serial: String,
    /// Bytes and requests a second at most.
    pub(crate) limits: [Option<NonZeroU64>; 2],
}

impl Image {
    /// Others may have it from now on.
    pub(super) fn unlock(&self) {
        for file in self.image.descriptors() {
            // Where there is no lock there is none to end.
            let _none = rustix::fs::flock(file, FlockOperation::Unlock);
        }
    }
}

/// A disk.
#[derive(Debug)]
pub(crate) enum VirtioDisk {
    /// Its image is ours.
    Image(Image),
    /// Another program has it.
    Served(Box<Served>),
}

/// A network card.
#[derive(Debug)]
pub(crate) enum VirtioCard {
    /// Its frames are moved by us.
    Cables(Card),
    /// Another program moves them.
    Served(Box<Served>),
}

/// What is plugged in.
#[derive(Debug, Default)]
pub(crate) struct Virtio {
    pub(crate) disks: Vec<VirtioDisk>,
    pub(crate) cards: Vec<VirtioCard>,
    pub(crate) shares: Vec<Served>,
    pub(crate) sockets: Option<Sockets>,
    pub(crate) rng: bool,
    pub(crate) balloon: bool,
}

impl Virtio {
    /// Others may have the images from now on: a machine that ended has. The locks would end by themselves, but
    /// later: the host takes rings of io_uring apart after the end of their process.
    pub(crate) fn unlock_disks(&self) {
        self.images().for_each(Image::unlock);
    }

    fn images(&self) -> impl Iterator<Item = &Image> {
        self.disks.iter().filter_map(|disk| match disk {
            VirtioDisk::Image(image) => Some(image),
            VirtioDisk::Served(_) => None,
        })
    }

    /// The devices whose queues other programs serve.
    pub(crate) fn served(&self) -> impl Iterator<Item = &Served> {
        let disks = self.disks.iter().filter_map(|disk| match disk {
            VirtioDisk::Served(served) => Some(&**served),
            VirtioDisk::Image(_) => None,
        });
        let cards = self.cards.iter().filter_map(|card| match card {
            VirtioCard::Served(served) => Some(&**served),
            VirtioCard::Cables(_) => None,
        });
        disks.chain(cards).chain(&self.shares)
    }

    /// The descriptors that the VM process keeps.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let cables = self.cards.iter().filter_map(|card| match card {
            VirtioCard::Cables(card) => Some(&card.cables),
            VirtioCard::Served(_) => None,
        });
        let cables = cables.flatten();
        let askers = self.served().map(|served| served.asker.as_fd());
        let sockets = self.sockets.iter();
        let sockets = sockets.flat_map(|one| [one.listener.as_fd(), one.connector.as_fd()]);
        let disks = self.images().flat_map(|disk| disk.image.descriptors());
        let cables = cables.map(AsFd::as_fd);
        disks.chain(cables).chain(sockets).chain(askers)
    }
}

/// Opens what a disk stands on.
pub(super) fn open_disk(argument: DiskArgument) -> Result<VirtioDisk, Failure> {
    if let Some(socket) = &argument.vhost_user {
        let served = served::open_disk(socket, &argument)?;
        return Ok(VirtioDisk::Served(Box::new(served)));
    }
    if argument.file.as_os_str().is_empty() {
        return Err(Failure::usage(
            "a disk has no image",
            "name it with file=, or a program that has it with vhost-user=",
        ));
    }
    open_image(argument).map(VirtioDisk::Image)
}

impl From<DiskFormat> for Format {
    fn from(format: DiskFormat) -> Self {
        match format {
            DiskFormat::Raw => Self::Raw,
            DiskFormat::Qcow2 => Self::Qcow2,
            DiskFormat::Vmdk => Self::Vmdk,
        }
    }
}

/// Opens and locks a disk's image, with all that it stands on.
pub(super) fn open_image(argument: DiskArgument) -> Result<Image, Failure> {
    let options = OpenOptions {
        format: argument.format.map(Format::from),
        read_only: argument.ro,
        direct: argument.cache == DiskCache::None,
    };
    let image = disk::open(&argument.file, &options).map_err(|error| no_image(&error))?;
    Ok(Image {
        image,
        path: argument.file,
        read_only: argument.ro,
        cache: argument.cache,
        queues: argument.queues.unwrap_or(1),
        queue_size: argument.queue_size.unwrap_or(256),
        serial: argument.serial.unwrap_or_default(),
        limits: [argument.bps, argument.iops].map(|rate| rate.and_then(NonZeroU64::new)),
    })
}

/// What the user can do about an image.
pub(crate) fn no_image(error: &OpenError) -> Failure {
    let advice = match error {
        OpenError::File(error) => super::image_advice(error),
        OpenError::Direct { .. } => "leave out cache=none, or put the image on another file system",
        OpenError::Unclear { .. } => "say which it is with format=",
        OpenError::Corrupt { .. } => "look at it with `qemu-img check`, or say another format=",
        OpenError::ReadOnly { .. } => "add ,ro or convert it: trivisor disk convert",
        OpenError::DataFile { .. } => "convert it: qemu-img convert -O qcow2",
        OpenError::BackingFormat { .. } => "write it in: qemu-img rebase -u -b FILE -F FORMAT",
        OpenError::Backing { .. } | OpenError::Loop { .. } | OpenError::Deep { .. } => {
            "see `qemu-img info --backing-chain`, and mend it with qemu-img rebase"
        }
    };
    Failure::usage(format!("disk {}", chain(error)), advice)
}

/// Opens what a card leads to; none where it leads nowhere.
pub(super) fn open_card(
    argument: &NetArgument,
    name: &str,
    index: usize,
) -> Result<Option<VirtioCard>, Failure> {
    let mac = argument.mac.unwrap_or_else(|| derive_mac(name, index));
    let cables = match &argument.link {
        NetLink::None => return Ok(None),
        NetLink::VhostUser(socket) => {
            let served = served::open_card(socket, mac)?;
            return Ok(Some(VirtioCard::Served(Box::new(served))));
        }
        NetLink::User => {
            let start = || {
                let (starting, socket) = passt::start(&argument.forwards)?;
                starting.wait()?;
                Ok(socket)
            };
            vec![Cable::Socket(start().map_err(|error| no_passt(&error))?)]
        }
        NetLink::Tap(tap) => {
            let queues = Tap::open(tap, argument.queues.into()).map_err(|error| no_tap(&error))?;
            queues.into_iter().map(Cable::Tap).collect()
        }
        NetLink::Socket(path) => {
            let socket = net::connect(path).map_err(|error| no_socket(&error))?;
            vec![Cable::Socket(socket)]
        }
    };
    Ok(Some(VirtioCard::Cables(Card { mac, cables })))
}

/// Opens what a socket device leads to.
pub(super) fn open_sockets(argument: &VsockArgument) -> Result<Sockets, Failure> {
    let listener = Listener::new(&argument.path).map_err(|error| no_listener(&error))?;
    let (server, connector) = ConnectServer::new(&argument.path)
        .map_err(Failure::refused("the sockets behind a socket device"))?;
    Ok(Sockets {
        cid: argument.cid,
        listener,
        connector,
        server,
    })
}

/// An address of the card's own that stays the same from start to start: locally administered, from a hash (FNV-1a)
/// of the VM's name and the card's place.
fn derive_mac(name: &str, index: usize) -> [u8; 6] {
    let place = index.to_le_bytes();
    let hash = name
        .bytes()
        .chain(place)
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let [a, b, c, d, e, _, _, _] = hash.to_le_bytes();
    [0x52, a, b, c, d, e]
}

fn no_passt(error: &PasstError) -> Failure {
    let advice = match error {
        PasstError::Missing => "install the package passt, or choose --net tap=NAME",
        PasstError::GaveUp { said } if said.contains("bind") => {
            "free the port that it names, or choose another with forward="
        }
        PasstError::GaveUp { .. } => {
            "give this host an address and a default route, or choose another network with --net"
        }
        PasstError::Start(_) | PasstError::NotReady => "run passt by hand to see what is wrong",
    };
    Failure::host(format!("--net user: {}", chain(error)), advice)
}

fn no_tap(error: &TapError) -> Failure {
    let what = format!("--net: {}", chain(error));
    match error {
        TapError::Name { .. } => Failure::usage(what, "see the names of all: ip link"),
        TapError::Queues { .. } => Failure::usage(what, "choose another number with queues="),
        TapError::NotATap { .. } => {
            Failure::usage(what, "see the names of all taps: ip tuntap list")
        }
        TapError::OneQueue { name, .. } => Failure::usage(
            what,
            format!(
                "leave out queues=, or make it anew: ip tuntap add dev {name} mode tap multi_queue"
            ),
        ),
        TapError::Missing { name } => Failure::host(
            what,
            format!("make it: ip tuntap add dev {name} mode tap; then ip link set {name} up"),
        ),
        TapError::MayNotMake { name } => Failure::host(
            what,
            format!(
                "let an administrator make it for this user: ip tuntap add dev {name} mode tap user USER; \
                 or choose --net user"
            ),
        ),
        TapError::Permission { name } => Failure::host(
            what,
            format!(
                "let an administrator make it anew for this user: ip tuntap add dev {name} mode tap user USER; \
                 or choose --net user"
            ),
        ),
        TapError::Busy { .. } => Failure::host(
            what,
            "stop the VM that has it (trivisor ps), or make another",
        ),
        TapError::Tun(_) => Failure::host(
            what,
            "load the module (modprobe tun), or let this user read and write it; or choose --net user",
        ),
        TapError::Host { .. } => Failure::host(what, "see the host's kernel log (dmesg)"),
    }
}

fn no_socket(error: &ConnectError) -> Failure {
    let advice = match error {
        ConnectError::Missing { .. } | ConnectError::Unserved { .. } => {
            "start the program that serves it first"
        }
        ConnectError::Permission { .. } => "let this user write it: chmod, or another folder",
        ConnectError::Host { .. } => "name a UNIX socket that a program listens at",
    };
    Failure::host(format!("--net: {}", chain(error)), advice)
}

fn no_listener(error: &ListenError) -> Failure {
    let advice = match error {
        ListenError::InUse { .. } => "stop the VM that has it (trivisor ps), or name another path",
        ListenError::Occupied { .. } => "name another path, or remove the file",
        ListenError::Host { .. } => {
            "name a path in a folder that this user may write, of at most 107 bytes"
        }
    };
    Failure::usage(format!("--vsock: {}", chain(error)), advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stay_and_differ() {
        let mac = derive_mac("web", 0);
        assert_eq!(mac, derive_mac("web", 0));
        assert_ne!(mac, derive_mac("web", 1));
        assert_ne!(mac, derive_mac("db", 0));
        assert_eq!(mac[0] & 3, 2, "locally administered, of one card");
    }
}
