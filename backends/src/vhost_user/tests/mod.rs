mod greeting;
mod peer;
mod serving;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use trivisor_buses::{QueueServer, ServedQueue, ServerEvent};
use trivisor_memory::{Backing, GuestRam, RamLayout, RamOptions};

use super::{Asker, BackEnd, BackEndQueues, LinkError, MessageError, Offer, Wanted};

/// What nothing here takes, on however slow a host.
const LIMIT: Duration = Duration::from_secs(60);

const DISK: Wanted = Wanted {
    config: 60,
    inflight: true,
};

fn shared_ram() -> GuestRam {
    let options = RamOptions {
        backing: Backing::Memfd,
        ..RamOptions::default()
    };
    GuestRam::new(RamLayout::new(4 << 20).unwrap(), &options).unwrap()
}

fn queue(index: u16, base: u16) -> ServedQueue {
    let start = 0x1000 * (1 + u64::from(index));
    ServedQueue {
        index,
        size: 64,
        areas: [start, start + 0x400, start + 0x800],
        base,
    }
}

/// A VM's side: the control process and the device's server in one.
struct Front {
    back_end: BackEnd,
    server: BackEndQueues,
    watched: OwnedFd,
}

impl Front {
    fn new(path: &Path) -> Self {
        let (back_end, offer, asker) = BackEnd::at(path, DISK, 2).unwrap();
        Self::with(back_end, offer, asker)
    }

    fn with(back_end: BackEnd, offer: Offer, asker: OwnedFd) -> Self {
        let asker = Asker::new(asker);
        let (server, watched) =
            BackEndQueues::new(DISK, offer, asker, &shared_ram(), (2, 64)).unwrap();
        Self {
            back_end,
            server,
            watched,
        }
    }

    /// The next event, of which there has to be one.
    fn event(&mut self) -> ServerEvent {
        let limit = Instant::now() + LIMIT;
        loop {
            self.back_end.turn();
            if let Some(event) = self.server.next_event() {
                return event;
            }
            assert!(Instant::now() < limit, "nothing happens: {:?}", self.server);
            let wait = Timespec {
                tv_sec: 0,
                tv_nsec: 10_000_000,
            };
            poll(
                &mut [PollFd::new(&self.watched, PollFlags::IN)],
                Some(&wait),
            )
            .unwrap();
        }
    }

    /// Events up to this one.
    fn until(&mut self, wanted: ServerEvent) {
        while self.event() != wanted {}
    }

    /// Starts both queues, and waits until they are served.
    fn start(&mut self, base: u16) {
        self.until(ServerEvent::Back);
        let queues = [queue(0, base), queue(1, base)];
        self.server.start(peer::FEATURES, &queues);
        // What it says first of queues that are served.
        self.until(ServerEvent::Used(1));
    }
}

fn socket() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    (folder, path)
}
