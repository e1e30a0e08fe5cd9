//! Requests carried out by io_uring.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::event;
use super::pool::Job;
use super::task::Task;
use crate::sys::buffers::Buffers;
use crate::sys::ring::Ring;

/// The ring, and how it is doing.
#[derive(Debug)]
pub(crate) struct RingMover {
    ring: Ring<Task>,
    /// All that the last start began had ended when it returned: so will the next, presumably, and needs no
    /// event.
    at_once: bool,
    /// The kernel did not take all, and has to be asked again.
    refused: bool,
    /// The kernel takes nothing any more.
    broken: Option<Errno>,
}

impl RingMover {
    /// None when the host's policy forbids it: io_uring is switched off, filtered or too old.
    ///
    /// # Errors
    /// The host lacks something, descriptors for example.
    pub(crate) fn new(file: &File, event: &OwnedFd, depth: u32) -> io::Result<Option<Self>> {
        match Ring::new(file.as_fd(), event.as_fd(), depth) {
            Ok(ring) => Ok(Some(Self {
                ring,
                at_once: false,
                refused: false,
                broken: None,
            })),
            Err(error) => match Errno::from_io_error(&error) {
                // Old kernels count a ring as locked memory: NOMEM.
                Some(Errno::PERM | Errno::ACCESS | Errno::NOSYS | Errno::INVAL | Errno::NOMEM) => {
                    Ok(None)
                }
                _ => Err(error),
            },
        }
    }

    /// Takes a request; [`start`](Self::start) begins it. Gives it back when the kernel takes nothing.
    pub(crate) fn push(&mut self, buffers: Box<Buffers>, task: Task) -> Result<(), Job> {
        self.ring.push(task.step(), buffers, task)
    }

    /// Begins what was taken.
    pub(crate) fn start(&mut self, event: &OwnedFd) {
        if !self.refused && !self.ring.holds_any() {
            return;
        }
        if self.at_once {
            self.ring.set_events(false);
        }
        self.submit();
        if self.at_once {
            self.ring.set_events(true);
        }
        let waiting = self.ring.waiting();
        // What ended while the events were off is seen by the caller, who fetches now; what ends just while they
        // are switched on might be seen by nobody.
        if self.refused || (self.at_once && waiting > 0) {
            event::raise(event);
        }
        self.at_once = waiting == 0;
    }

    /// The next request that has ended.
    pub(crate) fn next(&mut self, event: &OwnedFd) -> Option<(Job, io::Result<()>)> {
        if self.refused {
            self.submit();
        }
        if let Some(error) = self.broken
            && let Some(job) = self.ring.take_held()
        {
            return Some((job, Err(error.into())));
        }
        loop {
            let Some((mut buffers, mut task, moved)) = self.ring.next() else {
                if self.refused {
                    event::raise(event);
                }
                return None;
            };
            if let Some(result) = task.advance(&mut buffers, moved) {
                return Some(((buffers, task), result));
            }
            if let Err(job) = self.push(buffers, task) {
                return Some((job, Err(Errno::IO.into())));
            }
            self.submit();
        }
    }

    /// Waits until a request may have ended.
    pub(crate) fn wait(&mut self) {
        // Who waits tries again in any case.
        let _failed = self.ring.wait();
    }

    fn submit(&mut self) {
        self.refused = false;
        match self.ring.submit() {
            Ok(()) => {}
            Err(error) => match Errno::from_io_error(&error) {
                // For lack of memory, or because of a signal.
                None | Some(Errno::AGAIN | Errno::BUSY | Errno::INTR | Errno::NOMEM) => {
                    self.refused = true;
                }
                Some(error) => self.broken = Some(error),
            },
        }
    }
}
