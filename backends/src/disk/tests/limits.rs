//! Requests that have to wait for tokens.

use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use trivisor_buses::{BufferRequest, Segment, Storage, StorageBusy, StorageOp, StorageRequest};

use super::{image, ram};
use crate::disk::{Disk, DiskOptions, Limited};
use crate::rate_limiter::{RateLimiter, TokenBucket};

struct LimitedRig {
    disk: Limited<Disk>,
    timer: OwnedFd,
    event: OwnedFd,
    _directory: tempfile::TempDir,
}

/// With so many bytes a second; a request takes 512.
fn limited(rate: u64, burst: u64, inner_depth: u32) -> LimitedRig {
    let (directory, file) = image(1 << 20);
    let options = DiskOptions {
        depth: inner_depth,
        ..DiskOptions::default()
    };
    let parts = Disk::raw(file, ram(), &options).unwrap();
    for worker in parts.workers {
        drop(worker.spawn().unwrap());
    }
    let number = |number| NonZeroU64::new(number).unwrap();
    let limiter = RateLimiter {
        bytes: Some(TokenBucket::new(number(rate), number(burst))),
        operations: None,
    };
    let (disk, timer) = Limited::new(parts.disk, limiter, 16).unwrap();
    LimitedRig {
        disk,
        timer,
        event: parts.event,
        _directory: directory,
    }
}

impl LimitedRig {
    fn read(&mut self, id: u64) -> Result<(), StorageBusy> {
        self.disk.submit(&StorageRequest {
            id,
            op: StorageOp::Read,
            offset: 0,
            len: 512,
            segments: &[Segment {
                address: 0,
                len: 512,
            }],
        })
    }

    /// The ids of what has ended.
    fn fetch(&mut self, ids: &mut Vec<u64>) {
        while let Some(completion) = self.disk.complete() {
            completion.result.unwrap();
            ids.push(completion.id);
        }
    }

    /// Waits as an event loop does until so many have ended.
    fn wait(&mut self, ids: &mut Vec<u64>, count: usize) {
        self.fetch(ids);
        while ids.len() < count {
            let mut polled = [&self.timer, &self.event].map(|fd| PollFd::new(fd, PollFlags::IN));
            let timeout = Timespec {
                tv_sec: 60,
                tv_nsec: 0,
            };
            assert!(
                poll(&mut polled, Some(&timeout)).unwrap() > 0,
                "nobody wakes the device"
            );
            let ready = polled.map(|fd| fd.revents().contains(PollFlags::IN));
            for (fd, ready) in [&self.timer, &self.event].into_iter().zip(ready) {
                if ready {
                    let _count = rustix::io::read(fd, &mut [0; 8]).unwrap();
                }
            }
            self.fetch(ids);
        }
    }
}

#[test]
fn requests_wait_for_tokens_in_their_order() {
    let mut rig = limited(51_200, 1024, 256);
    let before = Instant::now();
    for id in 0..10 {
        rig.read(id).unwrap();
    }
    rig.disk.start();
    let mut ids = Vec::new();
    rig.wait(&mut ids, 10);
    // At most two in the burst and one for each 10 ms: a lower bound of time holds on any host.
    assert!(
        before.elapsed() >= Duration::from_millis(70),
        "{:?}",
        before.elapsed()
    );
    ids.sort_unstable();
    assert_eq!(ids, (0..10).collect::<Vec<_>>());
}

#[test]
fn what_is_held_back_is_bounded_and_begins_with_a_start_alone() {
    let mut rig = limited(1, 512, 256);
    for id in 0..17 {
        rig.read(id).unwrap();
    }
    assert_eq!(rig.read(17), Err(StorageBusy), "one goes on, 16 wait");
    assert!(rig.disk.complete().is_none());
    // A drain does not wait for tokens.
    rig.disk.drain();
    let mut ids = Vec::new();
    rig.fetch(&mut ids);
    assert_eq!(ids.len(), 17);
    rig.read(18).unwrap();
    rig.disk.start();
    assert!(rig.disk.complete().is_none(), "the debt is not paid yet");
    rig.disk.drain();
    rig.fetch(&mut ids);
    assert_eq!(ids.last(), Some(&18));
}

#[test]
fn a_busy_storage_costs_no_tokens_and_goes_on() {
    let mut rig = limited(1 << 30, 1 << 30, 2);
    rig.read(0).unwrap();
    rig.read(1).unwrap();
    assert_eq!(rig.read(2), Err(StorageBusy), "as the storage says");
    rig.disk.start();
    let mut ids = Vec::new();
    rig.wait(&mut ids, 2);

    // More are held back than the storage takes at a time.
    let mut rig = limited(512_000, 512, 2);
    for id in 0..10 {
        rig.read(id).unwrap();
    }
    rig.disk.start();
    ids.clear();
    rig.wait(&mut ids, 10);
    let mut rig = limited(1, 512, 2);
    for id in 0..10 {
        rig.read(id).unwrap();
    }
    rig.disk.drain();
    ids.clear();
    rig.fetch(&mut ids);
    assert_eq!(ids.len(), 10);
}

#[test]
fn buffers_wait_for_tokens_as_well() {
    let mut rig = limited(1, 512, 16);
    rig.read(1).unwrap();
    let request = |id, len| BufferRequest {
        id,
        op: StorageOp::Read,
        offset: 0,
        buffer: vec![7; len],
    };
    rig.disk.submit_buffer(request(2, 512)).unwrap();
    rig.disk.start();
    assert_eq!(rig.disk.held.len(), 1, "no token is left for it");
    rig.disk.drain();
    let ended: Vec<_> = std::iter::from_fn(|| rig.disk.complete()).collect();
    let lens: Vec<_> = ended.iter().map(|end| (end.id, end.buffer.len())).collect();
    assert_eq!(lens, [(1, 0), (2, 512)]);
    assert_eq!(ended[1].buffer, [0; 512]);
    for id in 0..16 {
        rig.disk.submit_buffer(request(id, 512)).unwrap();
    }
    assert_eq!(rig.disk.submit_buffer(request(9, 512)).unwrap_err().id, 9);
}
