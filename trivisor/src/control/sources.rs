//! What the control process waits for, all at once: it waits nowhere else while a guest runs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use trivisor_backends::vhost_user::BackEnd;

use crate::control::Control;
use crate::control::ending::Ending;
use crate::control::keyboard::Keyboard;

/// What poll said of each source.
pub(super) struct Ready {
    pub(super) channel: bool,
    /// The VM process has gone; asked for only when it was killed.
    pub(super) gone: bool,
    pub(super) output: bool,
    pub(super) signals: bool,
    pub(super) listener: bool,
    pub(super) stdin: bool,
    /// The guest wants a stream to a program of the host.
    pub(super) streams: bool,
}

impl Control {
    /// Waits until something is ready or a deadline has come.
    pub(super) fn poll(&self) -> io::Result<Ready> {
        let back_ends = self.plan.virtio.served().map(|served| &served.back_end);
        let voices: Vec<_> = back_ends.filter_map(BackEnd::stderr).collect();
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.vm.channel().as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
        ];
        let mut add = |fd, flags| {
            fds.push(PollFd::from_borrowed_fd(fd, flags));
            fds.len() - 1
        };
        let listener = self.registration.listener().as_fd();
        let listener = (self.clients.welcome()).then(|| add(listener, PollFlags::IN));
        let killed = self.ending.as_ref().is_some_and(Ending::is_killed);
        let gone = self.vm.process().filter(|_| killed);
        let gone = gone.map(|process| add(process, PollFlags::IN));
        let output = self.output.wanted().map(|(fd, flags)| add(fd, flags));
        let hungry = self.keyboard.as_ref().is_some_and(Keyboard::is_hungry);
        let stdin = hungry.then(|| add(rustix::stdio::stdin(), PollFlags::IN));
        let blocked = self.keyboard.as_ref().and_then(Keyboard::blocked_on);
        blocked.map(|fd: BorrowedFd<'_>| add(fd, PollFlags::OUT));
        // They are looked at in every turn, whoever woke it.
        self.clients.streams().for_each(|fd| {
            add(fd, PollFlags::IN);
        });
        // So are the programs behind devices, and what they want to be heard.
        let back_ends = self.plan.virtio.served().map(|served| &served.back_end);
        for back_end in back_ends.filter(|back_end| back_end.is_served()) {
            add(back_end.as_fd(), PollFlags::IN);
        }
        voices.iter().for_each(|voice| {
            add(voice.as_fd(), PollFlags::IN);
        });
        let streams = self
            .streams()
            .map(|server| add(server.as_fd(), PollFlags::IN));
        let timeout = self.next_deadline().map(|deadline| {
            let rest = deadline.saturating_duration_since(Instant::now());
            Timespec::try_from(rest).unwrap_or(Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            })
        });
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        Ok(Ready {
            channel: ready(0),
            signals: ready(1),
            listener: listener.is_some_and(ready),
            gone: gone.is_some_and(ready),
            output: output.is_some_and(ready),
            stdin: stdin.is_some_and(ready),
            streams: streams.is_some_and(ready),
        })
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.end_deadline()
            .into_iter()
            .chain(self.clients.deadline())
            .chain((self.plan.virtio.served()).filter_map(|served| served.back_end.deadline()))
            .min()
    }

    /// When the run is to end, or the VM process to be killed.
    pub(super) fn end_deadline(&self) -> Option<Instant> {
        match self.ending {
            Some(ending) => ending.deadline(),
            None => self
                .plan
                .timeout
                .and_then(|timeout| self.started.checked_add(timeout)),
        }
    }
}
