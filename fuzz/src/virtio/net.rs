//! A network card with two cables, whose frames have a header or have none.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use trivisor_buses::{Offloads, Packets, Segment};
use trivisor_devices_pv::net::{Net, NetOptions};
use trivisor_memory::GuestRam;
use trivisor_virtio_device::testing::Rig;

use super::{Input, Subject, entry};

entry!(Host);

#[derive(Debug, Default)]
struct End {
    full: bool,
    broken: bool,
    down: bool,
    sent: usize,
    waiting: VecDeque<Vec<u8>>,
}

/// The host's ends of the cables.
struct Host([Cable; 2]);

#[derive(Debug, Clone)]
struct Cable {
    has_header: bool,
    ram: GuestRam,
    end: Arc<Mutex<End>>,
}

impl Cable {
    fn new(ram: &GuestRam, has_header: bool) -> Self {
        Self {
            has_header,
            ram: ram.clone(),
            end: Arc::default(),
        }
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Packets for Cable {
    fn has_header(&self) -> bool {
        self.has_header
    }

    fn offloads(&self) -> Offloads {
        Offloads {
            checksum: true,
            tso4: true,
            tso6: true,
            ecn: true,
            uso: true,
        }
    }

    fn link_is_up(&self) -> bool {
        !self.end().down
    }

    fn send(&mut self, frame: &[Segment]) -> io::Result<()> {
        let mut end = self.end();
        if end.full {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if end.broken {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        for segment in frame {
            let mut byte = [0];
            if !self.ram.read(segment.address, &mut byte) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        }
        end.sent += 1;
        Ok(())
    }

    fn receive(&mut self, into: &[Segment], more: &mut [u8]) -> io::Result<usize> {
        let mut end = self.end();
        if end.broken {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let frame = end.waiting.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let mut rest = frame.as_slice();
        for segment in into {
            let len = usize::try_from(segment.len).unwrap_or(usize::MAX);
            let part = rest.split_off(..rest.len().min(len)).unwrap_or_default();
            if !self.ram.write(segment.address, part) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        }
        let copied = rest.len().min(more.len());
        more[..copied].copy_from_slice(&rest[..copied]);
        Ok(frame.len() - rest.len() + copied)
    }
}

impl Subject for Host {
    type Device = Net;

    fn make(ram: &GuestRam, variant: u8) -> (Self, Net) {
        let cables = [(); 2].map(|()| Cable::new(ram, variant & 1 == 0));
        let boxed = cables
            .clone()
            .map(|cable| Box::new(cable) as Box<dyn Packets>);
        let mut options = NetOptions::new([2, 0, 0, 0, 0, 1]);
        options.mtu = Some(1500);
        let device = Net::new(options, boxed.into()).expect("such a card can be");
        (Self(cables), device)
    }

    fn host(&mut self, rig: &mut Rig<Net>, input: &mut Input<'_>) {
        let [first, second] = &self.0;
        let what = input.byte();
        let cable = if what & 0x80 == 0 { first } else { second };
        match what % 8 {
            0 => cable.end().full ^= true,
            1 => cable.end().broken ^= true,
            2 => cable.end().down ^= true,
            3 => {
                let up = what & 0x40 == 0;
                rig.call(|device, io| device.set_link(up, io));
            }
            4 => rig.call(Net::announce),
            _ => {
                // A header of the input's, and any length up to more than a frame may have.
                let mut frame = input.bytes(12);
                let len = usize::from(input.byte()) << (input.byte() % 10);
                frame.resize(len, 0xaa);
                cable.end().waiting.push_back(frame);
            }
        }
    }

    fn serves(&mut self, rig: &mut Rig<Net>) {
        for cable in &self.0 {
            *cable.end() = End::default();
        }
        rig.settle();
        rig.call(|device, io| device.set_link(true, io));
        rig.request(1, &[&[0; 12], &[1; 60]], 0);
        let [first, _] = &self.0;
        assert_eq!(first.end().sent, 1, "the frame is gone");
        rig.driver(0).add(&[], &[1600]);
        rig.driver(0).add(&[], &[1600]);
        rig.kick(0);
        let len = if first.has_header { 72 } else { 60 };
        first.end().waiting.push_back(vec![2; len]);
        rig.settle();
        let got = rig.poll(0).expect("a frame arrives");
        assert_eq!(got.written, 72);
        assert_eq!(got.data.get(10..13), Some(&[1, 0, 2][..]));
    }
}
