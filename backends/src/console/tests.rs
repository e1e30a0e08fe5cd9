use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use trivisor_buses::{CharInput, CharOutput};

use super::{ConsolePump, MAX_KEPT, PipeOutput, output};

/// A device with room for so many bytes, which wants to send others.
#[derive(Default)]
struct Device(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    room: usize,
    received: Vec<u8>,
    output: Option<PipeOutput>,
    waiting: Vec<u8>,
    /// Times that it was told of room, and asked to take bytes.
    told: usize,
    asked: usize,
}

impl Inside {
    fn drain(&mut self) {
        let taken = self.output.as_mut().unwrap().write(&self.waiting);
        self.waiting.drain(..taken);
    }
}

impl Device {
    fn with<R>(&self, look: impl FnOnce(&mut Inside) -> R) -> R {
        look(&mut self.0.lock().unwrap())
    }

    fn send(&self, bytes: &[u8]) {
        self.with(|inside| {
            inside.waiting.extend_from_slice(bytes);
            inside.drain();
        });
    }
}

impl CharInput for Device {
    fn push(&self, bytes: &[u8]) -> usize {
        self.with(|inside| {
            let taken = inside.room.min(bytes.len());
            inside.asked += 1;
            inside.room -= taken;
            inside.received.extend_from_slice(&bytes[..taken]);
            taken
        })
    }

    fn room(&self) -> usize {
        self.with(|inside| inside.room)
    }

    fn output_ready(&self) {
        self.with(|inside| {
            inside.told += 1;
            inside.drain();
        });
    }
}

/// A console: the device, its pump, and the user's two ends.
fn console(room: usize) -> (Arc<Device>, ConsolePump, File, File) {
    let (printed, for_output) = rustix::pipe::pipe().unwrap();
    let (for_input, typed) = rustix::pipe::pipe().unwrap();
    let (output, watch) = output(for_output).unwrap();
    let device = Arc::new(Device::default());
    device.with(|inside| (inside.room, inside.output) = (room, Some(output)));
    let pump = ConsolePump::new(for_input, watch, Arc::<Device>::clone(&device)).unwrap();
    (device, pump, typed.into(), printed.into())
}

/// Whether something that the pump waits for has happened.
fn is_ready(pump: &ConsolePump) -> bool {
    let mut fds: Vec<PollFd<'_>> = pump.poll_fds().collect();
    poll(&mut fds, Some(&Timespec::default())).unwrap() > 0
}

#[test]
fn typed_bytes_reach_the_device() {
    let (device, mut pump, mut typed, _printed) = console(100);
    assert!(!is_ready(&pump));
    pump.turn().unwrap();
    typed.write_all(b"ls\n").unwrap();
    assert!(is_ready(&pump));
    pump.turn().unwrap();
    assert_eq!(device.with(|inside| inside.received.clone()), b"ls\n");
    assert!(!is_ready(&pump));
    assert_eq!(pump.timeout(), None);
}

#[test]
fn a_device_without_room_is_asked_again_and_more_and_more_rarely() {
    let (device, mut pump, mut typed, _printed) = console(16);
    let text: Vec<u8> = (0..=255).cycle().take(3 * MAX_KEPT).collect();
    typed.write_all(&text).unwrap();
    pump.turn().unwrap();
    let wait = pump.timeout().unwrap();
    assert!(wait <= Duration::from_millis(1), "{wait:?}");
    assert!(!is_ready(&pump), "what is not read yet waits in the pipe");
    let longest = (0..40).map(|_| {
        pump.turn().unwrap();
        pump.timeout().unwrap()
    });
    let longest = longest.max().unwrap();
    let [least, most] = [1, 64].map(Duration::from_millis);
    assert!(longest > least && longest <= most, "{longest:?}");
    assert!(!pump.is_due(), "it has just been asked");
    while !pump.is_due() {
        std::thread::yield_now();
    }
    assert_eq!(device.with(|inside| inside.received.len()), 16);

    let mut turns = 0;
    while device.with(|inside| inside.received.len()) < text.len() {
        device.with(|inside| inside.room = 16);
        pump.turn().unwrap();
        turns += 1;
        assert!(
            turns <= text.len() / 16,
            "each turn fills what room there is"
        );
    }
    assert_eq!(device.with(|inside| inside.received.clone()), text);
    assert_eq!(pump.timeout(), None);
    assert!(!pump.is_due(), "there is nothing to ask for");
}

#[test]
fn the_end_of_input_is_no_error() {
    let (device, mut pump, mut typed, _printed) = console(2);
    typed.write_all(b"exit").unwrap();
    drop(typed);
    pump.turn().unwrap();
    pump.turn().unwrap();
    assert!(!pump.input_ended(), "the device has not taken all");
    device.with(|inside| inside.room = 100);
    pump.turn().unwrap();
    pump.turn().unwrap();
    assert!(pump.input_ended());
    assert_eq!(device.with(|inside| inside.received.clone()), b"exit");
    assert!(
        !is_ready(&pump),
        "a closed pipe does not wake the loop for ever"
    );
    let asked = device.with(|inside| inside.asked);
    pump.turn().unwrap();
    assert_eq!(device.with(|inside| inside.asked), asked);
}

#[test]
fn a_full_pipe_blocks_nobody_and_loses_nothing() {
    let (device, mut pump, _typed, mut printed) = console(0);
    let text: Vec<u8> = (0..=250).cycle().take(300_000).collect();
    let mut asleep: Vec<PollFd<'_>> = pump.poll_fds().collect();
    text.chunks(16).for_each(|part| device.send(part));
    let waiting = device.with(|inside| inside.waiting.len());
    assert!(waiting > 0, "more than any pipe holds by default");
    let woken = poll(&mut asleep, Some(&Timespec::default())).unwrap();
    assert_eq!(woken, 1, "a loop that is in poll hears of it");
    drop(asleep);
    assert!(pump.has_output());
    pump.turn().unwrap();
    assert!(!is_ready(&pump), "and then waits for room");
    assert_eq!(device.with(|inside| inside.told), 0);

    let mut all = Vec::new();
    let mut part = [0; 8192];
    while all.len() < text.len() {
        let readable = &mut [PollFd::new(&printed, PollFlags::IN)];
        assert_eq!(poll(readable, Some(&Timespec::default())).unwrap(), 1);
        let count = printed.read(&mut part).unwrap();
        all.extend_from_slice(&part[..count]);
        if device.with(|inside| !inside.waiting.is_empty()) {
            assert!(is_ready(&pump), "there is room now");
            pump.turn().unwrap();
        }
    }
    assert!(all == text);
    pump.turn().unwrap();
    assert!(!pump.has_output());
    assert!(!is_ready(&pump), "nothing is left to do");
}

#[test]
fn a_refused_write_is_not_tried_again_until_there_is_room() {
    let (device, mut pump, _typed, mut printed) = console(0);
    device.send(&[b'x'; 300_000]);
    let refused = device.with(|inside| inside.waiting.len());
    printed.read_exact(&mut [0; 65_536]).unwrap();
    device.send(b"y");
    assert_eq!(device.with(|inside| inside.waiting.len()), refused + 1);
    pump.turn().unwrap();
    assert!(device.with(|inside| inside.waiting.len()) < refused);
}

#[test]
fn output_that_nobody_reads_is_dropped() {
    let (device, mut pump, _typed, printed) = console(0);
    device.send(&[b'x'; 300_000]);
    drop(printed);
    assert!(is_ready(&pump));
    pump.turn().unwrap();
    device.send(b"more");
    assert_eq!(device.with(|inside| inside.waiting.len()), 0);
    pump.turn().unwrap();
    assert!(!is_ready(&pump));
}

/// The device writes on one thread, the loop runs on this one and sleeps whenever it may.
#[test]
fn no_wake_up_is_lost() {
    const TOTAL: usize = 4 << 20;
    let (device, mut pump, _typed, mut printed) = console(0);
    let (ended, end) = rustix::pipe::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&printed, 4096).unwrap();
    // More than it holds, so that it is full at least once.
    const FIRST: usize = 10_000;
    device.send(&[b'x'; FIRST]);
    let reader = std::thread::spawn(move || {
        let (mut count, mut part) = (0, vec![0; 1 << 16]);
        while count < TOTAL {
            count += printed.read(&mut part).unwrap();
        }
        drop(end);
    });
    let guest = Arc::<Device>::clone(&device);
    let writer = std::thread::spawn(move || {
        // As a guest on a UART: it sends when the transmitter is empty.
        let mut left = TOTAL - FIRST;
        while left > 0 {
            let idle = guest.with(|inside| inside.waiting.is_empty());
            if idle {
                let size = left.min(1000);
                guest.send(&vec![b'x'; size]);
                left -= size;
            }
            std::thread::yield_now();
        }
    });
    loop {
        let mut fds: Vec<PollFd<'_>> = pump.poll_fds().collect();
        fds.push(PollFd::new(&ended, PollFlags::IN));
        let minute = Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        assert!(
            poll(&mut fds, Some(&minute)).unwrap() > 0,
            "a minute without news"
        );
        if fds.pop().is_some_and(|ended| !ended.revents().is_empty()) {
            break;
        }
        drop(fds);
        pump.turn().unwrap();
    }
    reader.join().unwrap();
    writer.join().unwrap();
    assert!(
        device.with(|inside| inside.told) > 0,
        "the pipe was full at times"
    );
}
