//! Discs for a drive, of files that come while the guest runs: in a process that may make no ring and no thread by then.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use trivisor_buses::Geometry;
use trivisor_memory::GuestRam;

use super::pool::{Pool, Worker};
use super::raw::RawExecutor;
use super::{Cache, Disk, DiskOptions, Mover, event};
use crate::sys::buffers::Fit;

/// Makes discs for one drive. All of them raise the same event, and one [`Attendant`] reads them.
#[derive(Debug)]
pub struct DiscChanger {
    ram: GuestRam,
    event: Arc<OwnedFd>,
    workers: Sender<Worker>,
}

/// Reads the discs of a [`DiscChanger`], one after the other, in a thread.
#[must_use = "without it no disc is read"]
pub struct Attendant(Receiver<Worker>);

impl DiscChanger {
    /// For a drive that reads into `ram`; with the event of its discs, which belongs into the event loop beside the
    /// drive.
    ///
    /// # Errors
    /// When the host has no more descriptors.
    pub fn new(ram: GuestRam) -> io::Result<(Self, OwnedFd, Attendant)> {
        let event = event::new()?;
        let outer = event.try_clone()?;
        let (workers, jobs) = channel();
        let changer = Self {
            ram,
            event: Arc::new(event),
            workers,
        };
        Ok((changer, outer, Attendant(jobs)))
    }

    /// A disc of the first `size` bytes of a raw image that is open for reading; what is behind its end cannot be
    /// read. Asks the host nothing.
    #[must_use]
    pub fn disc(&self, image: File, size: u64) -> Disk {
        let executor = Box::new(RawExecutor(image));
        let (pool, workers) = Pool::new(executor, Arc::clone(&self.event), 1);
        for worker in workers {
            // Without an attendant the process is about to end.
            let _gone = self.workers.send(worker);
        }
        Disk {
            geometry: Geometry {
                capacity: size,
                read_only: true,
                physical_block: 512,
                can_discard: false,
            },
            cache: Cache::Flush,
            depth: DiskOptions::default().depth() as usize,
            fit: Fit::Any,
            ram: self.ram.clone(),
            event: Arc::clone(&self.event),
            mover: Mover::Pool(pool),
            writes: None,
            under_way: 0,
            ended: VecDeque::new(),
            spare: Vec::new(),
        }
    }
}

impl Attendant {
    /// Serves each disc until it is dropped, and ends when the changer is.
    pub fn run(self) {
        while let Ok(worker) = self.0.recv() {
            worker.run();
        }
    }
}

impl fmt::Debug for Attendant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attendant").finish_non_exhaustive()
    }
}
