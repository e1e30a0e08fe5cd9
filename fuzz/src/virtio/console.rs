//! A console and a channel.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use trivisor_buses::CharOutput;
use trivisor_devices_pv::console::{Console, MAX_INPUT, PortConfig, Size};
use trivisor_memory::GuestRam;
use trivisor_virtio_device::VirtioDevice;
use trivisor_virtio_device::testing::Rig;

use super::{Input, Subject, entry};

entry!(Host);

/// The host's ends of the ports.
struct Host([Pipe; 2]);

#[derive(Debug, Clone, Default)]
struct Pipe(Arc<Mutex<End>>);

#[derive(Debug)]
struct End {
    room: usize,
    /// The last bytes that came.
    last: Vec<u8>,
}

impl Default for End {
    fn default() -> Self {
        Self {
            room: usize::MAX,
            last: Vec::new(),
        }
    }
}

impl Pipe {
    fn end(&self) -> MutexGuard<'_, End> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CharOutput for Pipe {
    fn write(&mut self, bytes: &[u8]) -> usize {
        assert!(!bytes.is_empty(), "a call for nothing");
        let mut end = self.end();
        let taken = bytes.len().min(end.room);
        end.room -= taken;
        end.last = bytes.get(..taken).unwrap_or_default().to_vec();
        taken
    }
}

impl Subject for Host {
    type Device = Console;

    fn make(_ram: &GuestRam, variant: u8) -> (Self, Console) {
        let pipes = [Pipe::default(), Pipe::default()];
        let [first, second] = pipes.clone();
        let port = |name: &str, console, pipe| PortConfig {
            name: name.into(),
            console,
            output: Some(Box::new(pipe)),
        };
        let mut ports = vec![port("", true, first)];
        if variant & 1 == 0 {
            ports.push(port("channel", false, second));
        }
        let device = Console::new(ports).expect("such ports can be");
        (Self(pipes), device)
    }

    fn host(&mut self, rig: &mut Rig<Console>, input: &mut Input<'_>) {
        let what = input.byte();
        let port = usize::from(what >> 7);
        let [first, second] = &self.0;
        let pipe = if port == 0 { first } else { second };
        match what % 8 {
            0 => pipe.end().room = usize::from(input.byte()),
            1 => {
                pipe.end().room = usize::MAX;
                rig.call(|console, io| console.output_ready(port, io));
            }
            2 => {
                let size = Size {
                    cols: input.byte().into(),
                    rows: input.byte().into(),
                };
                rig.call(|console, io| console.resize(port, size, io));
            }
            3 => {
                let open = what & 0x40 == 0;
                rig.call(|console, io| console.set_host_open(port, open, io));
            }
            _ => {
                let bytes = vec![0xaa; usize::from(input.byte()) << (input.byte() % 8)];
                let room = rig.device().room(port);
                let taken = rig.call(|console, io| console.push(port, &bytes, io));
                assert_eq!(taken, bytes.len().min(room));
                assert!(rig.device().room(port) <= MAX_INPUT);
            }
        }
    }

    fn serves(&mut self, rig: &mut Rig<Console>) {
        let [first, _] = &self.0;
        *first.end() = End::default();
        rig.call(|console, io| console.set_host_open(0, true, io));
        rig.call(|console, io| console.output_ready(0, io));
        rig.request(1, &[b"served"], 0);
        assert_eq!(first.end().last, b"served");
        // With several ports, input is for a port that was opened.
        for event in [0, 3, 6] {
            if rig.device().queue_sizes().len() > 2 {
                rig.submit(3, &[&[0, 0, 0, 0, event, 0, 1, 0]], 0);
            }
        }
        rig.driver(0).add(&[], &[16]);
        rig.kick(0);
        assert_eq!(rig.call(|console, io| console.push(0, b"typed", io)), 5);
        assert_eq!(rig.poll(0).map(|reply| reply.data), Some(b"typed".to_vec()));
    }
}
