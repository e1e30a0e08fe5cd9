//! Running VMs are sockets under `$XDG_RUNTIME_DIR/trivisor/NAME/`: there is no daemon.
//!
//! A name belongs to whoever has moved a socket that it listens on already to `control.sock`, which the host
//! lets one process do. A `control.sock` that refuses connections was left behind by a VM that was killed; it
//! is removed by who has the lock of the folder of all VMs, so nobody removes the socket of a new owner.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::failure::Failure;

#[cfg(test)]
mod tests;

const SOCKET: &str = "control.sock";

/// Clients that may wait to be let in.
const BACKLOG: i32 = 128;

/// How often others may get in between, each by ending just now, before that is an error.
const ROUNDS: usize = 100;

/// The folder of all of this user's VMs.
fn folder() -> PathBuf {
    let user = rustix::process::geteuid();
    match std::env::var_os("XDG_RUNTIME_DIR") {
        _ if user.is_root() => "/run/trivisor".into(),
        Some(folder) if !folder.is_empty() => PathBuf::from(folder).join("trivisor"),
        _ => std::env::temp_dir().join(format!("trivisor-{}", user.as_raw())),
    }
}

/// A VM's place in the registry, until it is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    folder: PathBuf,
    listener: UnixListener,
}

impl Registration {
    /// Takes the name.
    pub(crate) fn new(name: &str) -> Result<Self, Failure> {
        Self::among(&folder(), name, std::process::id())
    }

    /// Takes the name in the folder of all. No other living process has `number`.
    fn among(all: &Path, name: &str, number: u32) -> Result<Self, Failure> {
        let folder = all.join(name);
        let failed = |error: io::Error| {
            Failure::host(
                format!("{} cannot be created: {error}", folder.display()),
                "set XDG_RUNTIME_DIR to a folder that this user may write",
            )
        };
        create(all, &folder).map_err(failed)?;
        // A folder in a place that all may write could be somebody else's.
        let owner = fs::metadata(all).map_err(failed)?.uid();
        if owner != rustix::process::geteuid().as_raw() {
            return Err(Failure::host(
                format!("{} belongs to user {owner}", all.display()),
                "set XDG_RUNTIME_DIR to a folder of this user's own",
            ));
        }
        let (fresh, socket) = (folder.join(format!("new.{number}")), folder.join(SOCKET));
        for _ in 0..ROUNDS {
            match listen(&fresh, &socket) {
                Ok(listener) => return Ok(Self { folder, listener }),
                Err(Errno::EXIST) => remove_stale(all, name, &socket, failed)?,
                // The VM that had the name has ended just now, and taken the folder with it.
                Err(Errno::NOENT) => create(all, &folder).map_err(failed)?,
                Err(error) => return Err(failed(error.into())),
            }
        }
        Err(failed(ErrorKind::ResourceBusy.into()))
    }

    pub(crate) const fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // It still listens, so nobody takes the socket for a stale one. What stays behind is replaced by the
        // next VM of this name.
        let _left = fs::remove_file(self.folder.join(SOCKET));
        let _left = fs::remove_dir(&self.folder);
    }
}

/// Makes a VM's folder, if there is none.
fn create(all: &Path, folder: &Path) -> io::Result<()> {
    let mut private = DirBuilder::new();
    private.mode(0o700);
    let created = match private.create(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            private.recursive(true).create(all)?;
            private.create(folder)
        }
        created => created,
    };
    match created {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        created => created,
    }
}

/// Listens at `fresh`, and then moves it to `socket`; `EXIST` when there is one. The listener does not block.
fn listen(fresh: &Path, socket: &Path) -> rustix::io::Result<UnixListener> {
    let listener = stream_socket()?;
    let address = SocketAddrUnix::new(fresh)?;
    match rustix::net::bind(&listener, &address) {
        Err(Errno::ADDRINUSE) => {
            // Of a process that had our number, and was killed right here.
            rustix::fs::unlink(fresh)?;
            rustix::net::bind(&listener, &address)?;
        }
        bound => bound?,
    }
    let moved = rustix::net::listen(&listener, BACKLOG)
        .and_then(|()| rustix::fs::renameat_with(CWD, fresh, CWD, socket, RenameFlags::NOREPLACE));
    if moved.is_err() {
        let _left = rustix::fs::unlink(fresh);
    }
    moved.map(|()| listener.into())
}

fn stream_socket() -> rustix::io::Result<std::os::fd::OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Removes a socket that nobody listens on; fails when somebody does.
fn remove_stale(
    all: &Path,
    name: &str,
    socket: &Path,
    failed: impl Fn(io::Error) -> Failure,
) -> Result<(), Failure> {
    let lock = File::open(all).map_err(&failed)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)
        .map_err(|error| failed(error.into()))?;
    match knock(socket) {
        Err(Errno::CONNREFUSED) => fs::remove_file(socket).map_err(failed),
        // Removed by another, and perhaps replaced by now.
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(failed(error.into())),
        Ok(()) => Err(taken(name)),
    }
}

/// Somebody listens there, even when too many others wait to be let in.
fn knock(socket: &Path) -> rustix::io::Result<()> {
    let address = SocketAddrUnix::new(socket)?;
    match rustix::net::connect(stream_socket()?, &address) {
        Err(Errno::AGAIN) => Ok(()),
        heard => heard,
    }
}

fn taken(name: &str) -> Failure {
    Failure::usage(
        format!("a VM with the name {name:?} is running"),
        "choose another with --name, or stop it with `trivisor stop`",
    )
}

/// Fails when a VM with this name is running.
pub(crate) fn check_free(name: &str) -> Result<(), Failure> {
    match knock(&folder().join(name).join(SOCKET)) {
        Ok(()) => Err(taken(name)),
        // Whatever else is wrong shows when the name is taken.
        Err(_) => Ok(()),
    }
}

/// Connects to a running VM.
pub(crate) fn connect(name: &str) -> io::Result<UnixStream> {
    if name.contains('/') {
        return Err(ErrorKind::NotFound.into());
    }
    UnixStream::connect(folder().join(name).join(SOCKET))
}

/// The names of this user's running VMs. What killed ones left behind is removed.
pub(crate) fn running() -> Vec<String> {
    running_among(&folder())
}

fn running_among(all: &Path) -> Vec<String> {
    // Without the lock nothing is removed: another may be taking a name at this moment.
    let lock = File::open(all)
        .ok()
        .filter(|all| rustix::fs::flock(all, FlockOperation::NonBlockingLockExclusive).is_ok());
    let entries = fs::read_dir(all).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| match knock(&entry.path().join(SOCKET)) {
            Err(Errno::CONNREFUSED) => {
                if lock.is_some() {
                    let _left = fs::remove_file(entry.path().join(SOCKET));
                    let _left = fs::remove_dir(entry.path());
                }
                false
            }
            heard => heard.is_ok(),
        })
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}
