//! Console and requests while the guest runs, and how that ended.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use trivisor_backends::console::ConsolePump;
use trivisor_buses::{DiscError, Storage};
use trivisor_vmm_core::{EventLoop, Outcome};

use super::VmProcess;
use super::explain::{explain_host, jail_failure};
use super::jail::Jail;
use crate::failure::Failure;
use crate::protocol::{Answer, Counters, End, Report, Request, cpu_time};

impl VmProcess {
    /// Jails the calling thread, serves until the run is over, and says how it ended.
    pub(super) fn serve_to_end(&mut self, jail: Option<&Jail>) -> Report {
        if let Some(Err(error)) = jail.map(Jail::enter) {
            self.machine.stop();
            return Report::Failed(jail_failure(&error));
        }
        let served = self.channel.send(&Report::Running);
        match served.and_then(|()| self.serve()) {
            Ok(()) => self.end(),
            Err(error) => {
                self.machine.stop();
                lost(&error)
            }
        }
    }

    /// Console and requests, until the run is over.
    fn serve(&mut self) -> io::Result<()> {
        loop {
            let mut fds = vec![
                PollFd::new(&*self.ended, PollFlags::IN),
                PollFd::from_borrowed_fd(self.channel.as_fd(), PollFlags::IN),
            ];
            if let Some(events) = &self.events {
                fds.push(PollFd::new(events, PollFlags::IN));
            }
            let others = fds.len();
            fds.extend(self.consoles.iter().flat_map(ConsolePump::poll_fds));
            let mut timeout = self.consoles.iter().filter_map(ConsolePump::timeout).min();
            if self.events.as_ref().is_some_and(EventLoop::is_due) {
                timeout = Some(Duration::ZERO);
            }
            let timeout = timeout.into_iter().chain(self.hands.timeout()).min();
            let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
            match rustix::event::poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            // A busy disk wakes this loop often, a console seldom has to do with it.
            let moved = ready.iter().skip(others).any(|ready| *ready);
            for console in &mut self.consoles {
                if !moved && !console.is_due() {
                    continue;
                }
                console.turn()?;
            }
            if let Some(events) = &mut self.events
                && (events.is_due() || ready.get(2) == Some(&true))
            {
                events.turn()?;
            }
            if let Some(keyboard) = self.machine.keyboard() {
                self.hands.turn(&**keyboard);
            }
            if ready.first() == Some(&true) {
                return Ok(());
            }
            if ready.get(1) == Some(&true) {
                match self.channel.receive_with()? {
                    Some((request, descriptor)) => self.answer(request, descriptor)?,
                    // The control process has gone; so does the VM.
                    None => self.machine.stop(),
                }
            }
        }
    }

    fn answer(&mut self, request: Request, descriptor: Option<OwnedFd>) -> io::Result<()> {
        let answer = match request {
            Request::Pause => {
                self.machine.pause();
                Answer::Done
            }
            Request::Resume => {
                self.machine.resume();
                Answer::Done
            }
            Request::PowerButton if self.machine.press_power_button() => Answer::Done,
            Request::PowerButton => Answer::Absent,
            Request::Stop => {
                self.machine.stop();
                Answer::Done
            }
            Request::Balloon { bytes } => match self.machine.balloon() {
                Some(balloon) => {
                    balloon.set_target(bytes);
                    Answer::Done
                }
                None => Answer::Absent,
            },
            Request::Counters => Answer::Counters(self.counters()),
            Request::Press(chord) => match self.machine.keyboard() {
                Some(keyboard) if self.hands.press(&chord, &**keyboard) => Answer::Done,
                Some(_) => Answer::Busy,
                None => Answer::Absent,
            },
            Request::TerminalSize { columns, rows } => {
                for console in self.machine.consoles() {
                    console.resize(columns, rows);
                }
                Answer::Done
            }
            Request::Disc { size, force } => self.change_disc(size.zip(descriptor), force),
            Request::Screen { text } => return self.send_screen(text),
        };
        self.channel.send(&Report::Answer(answer))
    }

    /// Takes the disc out of the CD drive, or lays in that of an image of so many bytes.
    fn change_disc(&self, image: Option<(u64, OwnedFd)>, force: bool) -> Answer {
        let (Some(drive), Some(changer)) = (self.machine.disc_drive(), &self.changer) else {
            return Answer::Absent;
        };
        let disc = image.map(|(size, image)| {
            let disc: Box<dyn Storage> = Box::new(changer.disc(image.into(), size));
            disc
        });
        match drive.change_disc(disc, force) {
            Ok(()) => Answer::Done,
            Err(DiscError::Locked) => Answer::Locked,
            Err(DiscError::NoDrive) => Answer::Absent,
        }
    }

    fn counters(&self) -> Counters {
        let statistics = self.machine.statistics();
        let kvm = statistics.kvm;
        Counters {
            exits: kvm.exits,
            user_exits: statistics.user_exits,
            emulated_instructions: kvm.emulated_instructions,
            io_exits: kvm.io_exits,
            mmio_exits: kvm.mmio_exits,
            halt_exits: kvm.halt_exits,
            interrupts: kvm.interrupts,
            unclaimed_ports: statistics.unclaimed_ports,
            unclaimed_mmio: statistics.unclaimed_mmio,
            cpu_ns: cpu_time(),
        }
    }

    /// Hands over the last bytes that the consoles still hold, while somebody takes them.
    fn drain_consoles(&mut self) {
        self.consoles.iter_mut().for_each(drain);
    }

    /// The run is over: what the guest wrote is on its way, and what it stored is stored.
    fn end(&mut self) -> Report {
        let outcome = self.machine.wait();
        self.drain_consoles();
        // They cost system calls, which a short run feels.
        let counters = match self.plan.metrics {
            Some(_) => self.counters(),
            None => Counters::default(),
        };
        let mut end = match outcome {
            Outcome::PowerOff => End::PowerOff,
            Outcome::Reset => End::Reset,
            Outcome::Stopped => End::Stopped,
            Outcome::DebugExit(value) => End::DebugExit(value),
            Outcome::Crashed(report) => End::Crashed {
                report: report.to_string(),
                last_lines: self.tail.text(),
            },
            Outcome::HostFailed(failure) => End::HostFailed(explain_host(&failure, &self.plan)),
        };
        for (disk, mapping) in self.plan.pmem.iter().zip(&self.pmem) {
            if !disk.read_only
                && !mapping.is_truncated()
                && let Err(error) = mapping.flush()
            {
                end = End::HostFailed(Failure::host(
                    format!("{} cannot be written back: {error}", disk.path.display()),
                    "look at the storage behind it; the guest's last writes may be lost",
                ));
            }
        }
        if self.plan.last_picture.is_some() {
            // A control process that does not take it has gone.
            let _sent = self.send_picture(Report::LastScreen);
        }
        Report::Ended { end, counters }
    }
}

fn drain(console: &mut ConsolePump) {
    let second = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    while console.has_output() {
        let mut fds: Vec<_> = console.poll_fds().collect();
        let moved = rustix::event::poll(&mut fds, Some(&second));
        drop(fds);
        // A control process that takes nothing for a second has gone.
        if !matches!(moved, Ok(1..)) || console.turn().is_err() {
            return;
        }
    }
}

/// The event loop broke down: the host's fault.
fn lost(error: &io::Error) -> Report {
    let failure = Failure::host(
        format!("the VM process lost its control process: {error}"),
        "start the VM again",
    );
    Report::Ended {
        end: End::HostFailed(failure),
        counters: Counters::default(),
    }
}
