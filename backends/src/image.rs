//! Disk images, kernels and initial RAM disks: opened by name, so in the control process alone.
//!
//! The lock is flock's: it belongs to the open file and not to a process. It keeps two VMs of one
//! process apart as well, goes on to a forked child, and ends when the last descriptor is closed. A descriptor
//! that io_uring was used with is closed by the kernel a while after the process has gone, so a lock is waited for.

use std::fs::{File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, fcntl_getfl, fcntl_setfl, flock};
use rustix::io::Errno;
use thiserror::Error;

/// How long a VM that has ended may still hold its lock: some ten milliseconds were seen, on a busy host.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(5);

/// A file that cannot be used.
#[derive(Debug, Error)]
pub enum ImageError {
    /// There is no such file.
    #[error("{} does not exist", .path.display())]
    Missing {
        /// Its name, as it was given.
        path: PathBuf,
    },
    /// The user may not open it.
    #[error("{} must not be {}", .path.display(), if *.writing { "written" } else { "read" })]
    Permission {
        /// Its name, as it was given.
        path: PathBuf,
        /// It was to be opened for writing.
        writing: bool,
    },
    /// It is neither a regular file nor a block device.
    #[error("{} is {kind}, not a file", .path.display())]
    NotAFile {
        /// Its name, as it was given.
        path: PathBuf,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// Somebody else has it open: another VM writes it, or it is to be written while another reads it.
    #[error("{} is in use by another VM", .path.display())]
    Locked {
        /// Its name, as it was given.
        path: PathBuf,
        /// It was to be opened for writing.
        writing: bool,
    },
    /// Its file system cannot lock it.
    #[error("{} cannot be locked", .path.display())]
    Lock {
        /// Its name, as it was given.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
    /// The host does not open it.
    #[error("{} cannot be opened", .path.display())]
    Open {
        /// Its name, as it was given.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
}

/// Opens a disk image, a regular file or block device, and locks it: for this VM alone when it will be
/// written, against writers when it is only read. The lock lives as long as the descriptor and its copies. Waits a
/// second for one that another VM has, which may just have ended.
///
/// # Errors
/// When it does not exist, is of another kind, is in use, or the host refuses.
pub fn open(path: &Path, read_only: bool) -> Result<File, ImageError> {
    let file = open_unlocked(path, !read_only)?;
    let operation = if read_only {
        FlockOperation::NonBlockingLockShared
    } else {
        FlockOperation::NonBlockingLockExclusive
    };
    let start = Instant::now();
    let mut locked = flock(&file, operation);
    while locked == Err(Errno::WOULDBLOCK) && start.elapsed() < PATIENCE {
        #[expect(
            clippy::disallowed_methods,
            reason = "a lock that somebody else ends tells nobody, and a wait for it has no time-out"
        )]
        sleep(PAUSE);
        locked = flock(&file, operation);
    }
    match locked {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(ImageError::Locked {
            path: path.to_owned(),
            writing: !read_only,
        }),
        Err(error) => Err(ImageError::Lock {
            path: path.to_owned(),
            source: error.into(),
        }),
    }
}

/// Opens a kernel or initial RAM disk for reading, without a lock: any number of VMs share it.
///
/// # Errors
/// When it does not exist, is of another kind, or the host refuses.
pub fn open_plain(path: &Path) -> Result<File, ImageError> {
    open_unlocked(path, false)
}

fn open_unlocked(path: &Path, writing: bool) -> Result<File, ImageError> {
    let named = |error: io::Error| name_error(path, writing, error);
    // Asked before it is opened as well: to open a FIFO or a terminal can already do something.
    check_kind(path, std::fs::metadata(path).map_err(named)?.file_type())?;
    let flags = OFlags::NONBLOCK.union(OFlags::NOCTTY).bits();
    let file = OpenOptions::new()
        .read(true)
        .write(writing)
        .custom_flags(flags.cast_signed())
        .open(path)
        .map_err(named)?;
    check_kind(path, file.metadata().map_err(named)?.file_type())?;
    // The name may have changed its meaning in between, hence O_NONBLOCK; a file has no use for it.
    let flags = fcntl_getfl(&file).map_err(|error| named(error.into()))?;
    fcntl_setfl(&file, flags - OFlags::NONBLOCK).map_err(|error| named(error.into()))?;
    Ok(file)
}

fn check_kind(path: &Path, kind: FileType) -> Result<(), ImageError> {
    let kind = if kind.is_file() || kind.is_block_device() {
        return Ok(());
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_char_device() {
        "a character device"
    } else {
        "of an unknown kind"
    };
    Err(ImageError::NotAFile {
        path: path.to_owned(),
        kind,
    })
}

fn name_error(path: &Path, writing: bool, source: io::Error) -> ImageError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => ImageError::Missing { path },
        io::ErrorKind::PermissionDenied => ImageError::Permission { path, writing },
        _ => ImageError::Open { path, source },
    }
}
