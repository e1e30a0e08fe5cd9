//! Starting virtiofsd, which shares a folder with a guest: the one in Rust, or the one in C that QEMU had until
//! version 7.2. It serves one connection and ends with it.

use std::fmt::Write as _;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use thiserror::Error;

use crate::sys::inherit::inherit;
use crate::sys::read_only::read_only;

/// Where it is when it is not in the search path: Debian 13 and Fedora, Debian 12, Arch.
const PLACES: &[&str] = &[
    "/usr/libexec/virtiofsd",
    "/usr/lib/qemu/virtiofsd",
    "/usr/lib/virtiofsd",
];

/// Bytes of what it says that are kept.
const MAX_SAID: usize = 4 << 10;

/// How long one that gives up may take to say why.
const PATIENCE: Duration = Duration::from_secs(2);

/// A folder that cannot be shared.
#[derive(Debug, Error)]
pub enum ShareError {
    /// There is none of this name.
    #[error("there is no folder {}", .folder.display())]
    Missing {
        /// Its name.
        folder: PathBuf,
    },
    /// Something else has this name.
    #[error("{} is no folder", .folder.display())]
    NotAFolder {
        /// Its name.
        folder: PathBuf,
    },
    /// The user may not look at it.
    #[error("the folder {} cannot be used", .folder.display())]
    Folder {
        /// Its name.
        folder: PathBuf,
        /// What the host said.
        source: io::Error,
    },
    /// There is no such program.
    #[error("the program virtiofsd is not installed")]
    NotInstalled,
    /// It cannot share a folder for reading alone, and this user cannot make it so.
    #[error("{} cannot share a folder read-only", .program.display())]
    Writable {
        /// The program.
        program: PathBuf,
    },
    /// The host does not start it.
    #[error("virtiofsd cannot be started")]
    Start(#[source] io::Error),
    /// It gave up.
    #[error("virtiofsd gave up: {said}")]
    GaveUp {
        /// Its last words.
        said: String,
    },
}

/// A folder that is to be shared.
#[derive(Debug)]
pub struct Share {
    folder: PathBuf,
    program: Program,
    /// Made read-only by us.
    enclosed: bool,
    read_only: bool,
}

#[derive(Debug)]
struct Program {
    path: PathBuf,
    /// The one in C.
    old: bool,
    has_readonly: bool,
}

impl Program {
    /// The first that there is.
    fn find() -> Result<Self, ShareError> {
        let search = std::env::var_os("PATH").unwrap_or_default();
        let named = std::env::split_paths(&search).map(|folder| folder.join("virtiofsd"));
        let places = named.chain(PLACES.iter().map(PathBuf::from));
        for path in places.filter(|path| path.is_file()) {
            // One that may not be run, or is for another machine, is none.
            let Ok(help) = Command::new(&path).arg("--help").output() else {
                continue;
            };
            let help = [help.stdout, help.stderr].concat();
            let help = String::from_utf8_lossy(&help);
            return Ok(Self {
                path,
                old: !help.contains("--shared-dir"),
                has_readonly: help.contains("--readonly"),
            });
        }
        Err(ShareError::NotInstalled)
    }
}

impl Share {
    /// `read_only`: the guest cannot change it, whatever it does.
    ///
    /// # Errors
    /// There is no such folder, no virtiofsd, or none that can share it so.
    pub fn new(folder: &Path, read_only: bool) -> Result<Self, ShareError> {
        let folder_of = || folder.to_owned();
        let folder = folder
            .canonicalize()
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => ShareError::Missing {
                    folder: folder_of(),
                },
                _ => ShareError::Folder {
                    folder: folder_of(),
                    source,
                },
            })?;
        if !folder.is_dir() {
            return Err(ShareError::NotAFolder {
                folder: folder_of(),
            });
        }
        let program = Program::find()?;
        let enclosed = read_only && !program.has_readonly;
        if enclosed && !rustix::process::geteuid().is_root() {
            let program = program.path;
            return Err(ShareError::Writable { program });
        }
        Ok(Self {
            folder,
            program,
            enclosed,
            read_only,
        })
    }

    /// The folder, by its full name.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts it, with a connection to it.
    pub(super) fn start(&self) -> Result<(Virtiofsd, OwnedFd), ShareError> {
        let (listener, connection) = private_pair().map_err(ShareError::Start)?;
        let mut command = Command::new(&self.program.path);
        if self.enclosed {
            read_only(&mut command, &self.folder).map_err(ShareError::Start)?;
        }
        let number = inherit(&mut command, listener);
        if self.program.old {
            let source = escape(&self.folder.to_string_lossy());
            command.args(["-f", &format!("--fd={number}")]);
            command.args(["-o", &format!("source={source}")]);
        } else {
            command.arg(format!("--fd={number}"));
            command.arg("--shared-dir").arg(&self.folder);
            if self.read_only && !self.enclosed {
                command.arg("--readonly");
            }
        }
        // Keys of the terminal are not for it.
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(ShareError::Start)?;
        let stderr = child.stderr.take();
        if let Some(stderr) = &stderr {
            let set = rustix::io::ioctl_fionbio(stderr, true);
            set.map_err(|error| ShareError::Start(error.into()))?;
        }
        let virtiofsd = Virtiofsd {
            child,
            stderr: stderr.map(Arc::new),
            said: Vec::new(),
        };
        Ok((virtiofsd, connection))
    }
}

/// A name in an option of the one in C, where a comma separates.
fn escape(name: &str) -> String {
    let mut escaped = String::new();
    for letter in name.chars() {
        if matches!(letter, ',' | '\\') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

/// A listening socket with a connection to it, and without a name by which anybody else could connect: it had one in a
/// folder that only this user can look into.
fn private_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = String::from("trivisor-share");
    // Writing to a string cannot fail.
    let _written = write!(name, "-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    rustix::fs::mkdir(&folder, Mode::RWXU)?;
    let path = folder.join("socket");
    let make = || {
        let address = SocketAddrUnix::new(&path)?;
        let socket = || {
            let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
            socket_with(family, kind, SocketFlags::CLOEXEC, None)
        };
        let (listener, connection) = (socket()?, socket()?);
        bind(&listener, &address)?;
        listen(&listener, 1)?;
        connect(&connection, &address)?;
        Ok((listener, connection))
    };
    let pair = make();
    let _none = std::fs::remove_file(&path);
    let _none = std::fs::remove_dir(&folder);
    pair
}

/// A virtiofsd that runs. It ends with this.
#[derive(Debug)]
pub(super) struct Virtiofsd {
    child: Child,
    stderr: Option<Arc<ChildStderr>>,
    /// The end of what it said.
    said: Vec<u8>,
}

impl Virtiofsd {
    /// Takes what it says, so that it never waits for somebody to do so; false at the end of it.
    pub(super) fn listen(&mut self) -> bool {
        let mut part = [0; MAX_SAID];
        while let Some(stderr) = &self.stderr {
            match rustix::io::read(stderr, &mut part) {
                Ok(0) => self.stderr = None,
                Ok(count) => {
                    self.said.extend(part.iter().take(count));
                    let too_many = self.said.len().saturating_sub(MAX_SAID);
                    self.said.drain(..too_many);
                }
                Err(Errno::AGAIN) => return true,
                Err(_) => self.stderr = None,
            }
        }
        false
    }

    /// What it says, to be watched.
    pub(super) fn stderr(&self) -> Option<Arc<ChildStderr>> {
        self.stderr.clone()
    }

    /// Why it did not do what was wanted.
    pub(super) fn give_up(mut self) -> ShareError {
        let deadline = Instant::now() + PATIENCE;
        while self.listen() {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).unwrap_or_default();
            let Some(stderr) = &self.stderr else { break };
            let found = poll(&mut [PollFd::new(stderr, PollFlags::IN)], Some(&left));
            if found == Ok(0) {
                break;
            }
        }
        let said = String::from_utf8_lossy(&self.said);
        let line = said.lines().map(str::trim).rfind(|line| !line.is_empty());
        let shown = line.unwrap_or("it said nothing").chars();
        let shown = shown.filter(|letter| !letter.is_control()).take(300);
        ShareError::GaveUp {
            said: shown.collect(),
        }
    }
}

impl Drop for Virtiofsd {
    fn drop(&mut self) {
        // That it is gone already is no error.
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}
