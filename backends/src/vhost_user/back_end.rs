//! A back-end by its name, in the control process: connects, asks what it offers, and connects again when the VM
//! process wants that.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ChildStderr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::SocketType;
use rustix::net::sockopt::socket_type;
use thiserror::Error;

use super::asker::Asked;
use super::link::{self, Link, LinkError};
use super::session::{Offer, Session, Stage, Wanted};
use super::virtiofsd::{Share, ShareError, Virtiofsd};
use crate::net::{self, ConnectError};

/// What a back-end's first answers take at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two attempts to connect: twice as long after each that failed.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// VIRTIO_F_VERSION_1.
const VERSION_1: u64 = 1 << 32;

/// A back-end that cannot be used.
#[derive(Debug, Error)]
pub enum BackEndError {
    /// Nobody serves its socket.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It does not say what it offers.
    #[error("the back-end at {} cannot be used", .path.display())]
    Greeting {
        /// Its socket.
        path: PathBuf,
        /// What it did instead.
        source: LinkError,
    },
    /// It serves legacy devices alone.
    #[error("the back-end at {} serves no devices of virtio 1.0 or later", .path.display())]
    Legacy {
        /// Its socket.
        path: PathBuf,
    },
    /// It tells no configuration.
    #[error("the back-end at {} is none of such a device: it has no configuration", .path.display())]
    NoConfig {
        /// Its socket.
        path: PathBuf,
    },
    /// It serves fewer queues.
    #[error("the back-end at {} serves {offered} queues, not {wanted}", .path.display())]
    Queues {
        /// Its socket.
        path: PathBuf,
        /// How many it serves.
        offered: u64,
        /// How many the device has.
        wanted: u16,
    },
    /// No virtiofsd.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The host refuses a descriptor.
    #[error("the host refuses a descriptor for a back-end")]
    Host(#[from] io::Error),
}

/// Where connections come from.
#[derive(Debug)]
enum Origin {
    /// Somebody's socket.
    Path(PathBuf),
    /// A virtiofsd of our own.
    Share(Share),
}

/// A back-end by its name.
#[derive(Debug)]
pub struct BackEnd {
    asked: Asked,
    origin: Origin,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The first connection, until it is asked for.
    first: Option<OwnedFd>,
    /// Somebody waits for a connection since the last one was given.
    wanted: bool,
    /// When the next attempt is due.
    next: Instant,
    delay: Duration,
    /// The other end has abused its right to ask.
    refused: bool,
    virtiofsd: Option<Virtiofsd>,
}

impl BackEnd {
    /// The back-end that serves the socket at `path`, what it offers, and the descriptor for
    /// [`Asker::new`](super::Asker::new). Waits some seconds for its answers.
    ///
    /// # Errors
    /// Nobody serves the socket, or it offers too little.
    pub fn at(
        path: &Path,
        wanted: Wanted,
        queues: u16,
    ) -> Result<(Self, Offer, OwnedFd), BackEndError> {
        let origin = Origin::Path(path.to_owned());
        Self::new(origin, path, wanted, queues)
    }

    /// A virtiofsd that shares a folder; otherwise as [`at`](Self::at). It ends with the last connection to it.
    ///
    /// # Errors
    /// There is no virtiofsd, or it does not do what is wanted.
    pub fn share(share: Share, queues: u16) -> Result<(Self, Offer, OwnedFd), BackEndError> {
        let wanted = Wanted {
            config: 0,
            inflight: false,
        };
        let folder = share.folder().to_owned();
        Self::new(Origin::Share(share), &folder, wanted, queues)
    }

    fn new(
        origin: Origin,
        path: &Path,
        wanted: Wanted,
        queues: u16,
    ) -> Result<(Self, Offer, OwnedFd), BackEndError> {
        let mut virtiofsd = None;
        let socket = origin.connect(&mut virtiofsd)?;
        let (socket, offer) = match greet(socket, wanted) {
            Ok(greeted) => greeted,
            Err(source) => {
                if let Some(virtiofsd) = virtiofsd {
                    return Err(virtiofsd.give_up().into());
                }
                let path = path.to_owned();
                return Err(BackEndError::Greeting { path, source });
            }
        };
        let path = || path.to_owned();
        if offer.features & VERSION_1 == 0 {
            return Err(BackEndError::Legacy { path: path() });
        }
        if wanted.config > 0 && offer.config.is_empty() {
            return Err(BackEndError::NoConfig { path: path() });
        }
        let offered = offer.queues;
        if offered != 0 && offered < queues.into() {
            return Err(BackEndError::Queues {
                path: path(),
                offered,
                wanted: queues,
            });
        }
        let (asked, theirs) = Asked::new()?;
        let back_end = Self {
            asked,
            origin,
            state: Mutex::new(State {
                first: Some(socket),
                wanted: false,
                next: Instant::now(),
                delay: FIRST_DELAY,
                refused: false,
                virtiofsd,
            }),
        };
        Ok((back_end, offer, theirs))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is due: takes a request, makes an attempt. Never waits for a back-end.
    pub fn turn(&self) {
        let state = &mut *self.state();
        if let Some(virtiofsd) = &mut state.virtiofsd {
            virtiofsd.listen();
        }
        if state.refused {
            return;
        }
        match self.asked.is_asked() {
            Ok(asked) => state.wanted |= asked,
            // Its connection breaks with it.
            Err(_) => state.refused = true,
        }
        if !state.wanted || state.refused || state.next > Instant::now() {
            return;
        }
        let connection = match state.first.take() {
            Some(first) => Ok(first),
            None => self.origin.connect(&mut state.virtiofsd),
        };
        match connection {
            Ok(connection) => {
                state.wanted = false;
                state.refused = self.asked.give(&connection).is_err();
            }
            Err(_) => state.delay = (2 * state.delay).min(LONGEST_DELAY),
        }
        // A connection that breaks at once counts as an attempt that failed.
        let now = Instant::now();
        if !state.wanted && now.saturating_duration_since(state.next) > LONGEST_DELAY {
            state.delay = FIRST_DELAY;
        } else if !state.wanted {
            state.delay = (2 * state.delay).min(LONGEST_DELAY);
        }
        state.next = now + state.delay;
    }

    /// When a turn is due, whatever becomes readable.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        (state.wanted && !state.refused).then_some(state.next)
    }

    /// What else is to be watched: a virtiofsd that says something.
    #[must_use]
    pub fn stderr(&self) -> Option<Arc<ChildStderr>> {
        self.state().virtiofsd.as_ref().and_then(Virtiofsd::stderr)
    }

    /// Whether the descriptor is to be watched.
    #[must_use]
    pub fn is_served(&self) -> bool {
        !self.state().refused
    }
}

impl AsFd for BackEnd {
    /// Readable when a connection is asked for.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.asked.as_fd()
    }
}

impl Origin {
    fn connect(&self, virtiofsd: &mut Option<Virtiofsd>) -> Result<OwnedFd, BackEndError> {
        let socket = match self {
            Self::Path(path) => {
                let socket = net::connect(path)?;
                if socket_type(&socket).map_err(io::Error::from)? != SocketType::STREAM {
                    let (path, source) = (path.clone(), io::ErrorKind::InvalidInput.into());
                    return Err(ConnectError::Host { path, source }.into());
                }
                socket
            }
            Self::Share(share) => {
                // The one before has ended, or is of no use.
                *virtiofsd = None;
                let (started, socket) = share.start()?;
                *virtiofsd = Some(started);
                socket
            }
        };
        link::prepare(&socket)?;
        Ok(socket)
    }
}

/// Asks what the other end offers.
fn greet(socket: OwnedFd, wanted: Wanted) -> Result<(OwnedFd, Offer), LinkError> {
    let deadline = Instant::now() + PATIENCE;
    let mut link = Link::new(socket);
    let mut session = Session::new(wanted, false, None);
    loop {
        while let Some((message, acknowledge)) = session.next() {
            link.send(&message.bytes(acknowledge), &[])?;
        }
        if session.stage() == Stage::Ready {
            return Ok((link.into_socket(), session.offer().clone()));
        }
        match link.receive(true)? {
            Some(answer) => session.take(answer.header, &answer.payload, answer.descriptor)?,
            None if Instant::now() > deadline => return Err(LinkError::Silent),
            None => {}
        }
    }
}
