//! The kit finds what it is there for.

use trivisor_buses::{RestoreError, SavedState, Segment};

use super::{Rig, Ring};
use crate::device::{DeviceType, Io, VirtioDevice};
use crate::features::Feature;
use crate::queue::{Chain, QueueError};

/// What a device does wrong.
#[derive(Debug, Default, PartialEq, Eq)]
enum Fault {
    #[default]
    None,
    /// Never lets the driver see anything.
    Silent,
    /// Writes a byte more than there is room for.
    Overflow,
    /// Says that it wrote more than there is room for.
    Boast,
    /// Gives nothing back.
    Keep,
}

/// Gives back what it reads, at once or when it is woken; counts.
#[derive(Debug, Default)]
struct Echo {
    fault: Fault,
    late: bool,
    count: u64,
    chain: Chain,
}

impl Echo {
    fn with(fault: Fault) -> Self {
        Self {
            fault,
            late: false,
            count: 0,
            chain: Chain::default(),
        }
    }

    fn serve(&mut self, queue: u16, io: &mut Io<'_>) {
        io.want_notifications(queue, false);
        loop {
            while io.pop(queue, &mut self.chain) {
                self.answer(queue, io);
            }
            if !io.want_notifications(queue, true) {
                break;
            }
        }
        if self.fault != Fault::Silent {
            io.publish(queue);
        }
    }

    fn answer(&mut self, queue: u16, io: &mut Io<'_>) {
        self.count += 1;
        let chain = &self.chain;
        let len = chain.readable_len().min(chain.writable_len());
        let mut data = vec![0; len.try_into().unwrap()];
        let echoed = chain
            .read(io.ram(), 0, &mut data)
            .and_then(|()| chain.write(io.ram(), 0, &data));
        if let Err(error) = echoed {
            return io.fail(queue, error);
        }
        let len = u32::try_from(len).unwrap();
        match self.fault {
            Fault::Keep => {}
            Fault::Overflow => {
                let Segment { address, len: room } = *chain.writable().last().unwrap();
                assert!(io.ram().write(address + u64::from(room), b"!"));
                io.push(queue, chain.id(), len);
            }
            Fault::Boast => io.push(queue, chain.id(), len + 1),
            _ => io.push(queue, chain.id(), len),
        }
    }
}

impl VirtioDevice for Echo {
    fn device_type(&self) -> DeviceType {
        DeviceType::Console
    }

    fn features(&self) -> u64 {
        1
    }

    fn queue_sizes(&self) -> &[u16] {
        &[64, 8]
    }

    fn read_config(&self, offset: usize, data: &mut [u8]) {
        data.fill(u8::try_from(offset).unwrap());
    }

    fn notify(&mut self, queue: u16, io: &mut Io<'_>) {
        if !self.late {
            self.serve(queue, io);
        }
    }

    fn wake(&mut self, io: &mut Io<'_>) -> bool {
        if self.late {
            self.serve(0, io);
        }
        false
    }

    fn stop(&mut self, _queue: Option<u16>, _io: &mut Io<'_>) {}

    fn reset(&mut self) {
        self.count = 0;
    }

    fn save(&self) -> SavedState {
        SavedState::encode("echo", 1, &self.count)
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        self.count = state.decode("echo", 1)?;
        Ok(())
    }
}

const ALL: u64 = Feature::EventIndex.bit() | Feature::IndirectDescriptors.bit();

fn rigs(fault: fn() -> Fault) -> impl Iterator<Item = Rig<Echo>> {
    Ring::ALL.into_iter().flat_map(move |ring| {
        [0, 1, ALL].map(|features| Rig::new(Echo::with(fault()), ring, features))
    })
}

#[test]
fn a_device_answers() {
    for mut rig in rigs(|| Fault::None) {
        for round in 0..200_u8 {
            let queue = u16::from(round % 2);
            let reply = rig.request(queue, &[b"abc", &[round]], 9);
            assert_eq!(reply.data, [b'a', b'b', b'c', round]);
            assert_eq!(rig.take_interrupts(queue), 1);
        }
        assert_eq!(rig.read_config(5, 2), [5, 5]);
        assert_eq!(rig.broken(), None);
    }
}

#[test]
fn a_device_answers_when_it_is_woken() {
    for mut rig in rigs(|| Fault::None) {
        rig.device_mut().late = true;
        let id = rig.submit(0, &[b"later"], 5);
        assert_eq!(rig.poll(0), None);
        rig.settle();
        assert_eq!(rig.poll(0).unwrap().id, id);
        assert_eq!(rig.request(0, &[b"now"], 3).data, b"now");
    }
}

#[test]
fn messages_are_cut_anywhere() {
    for mut rig in rigs(|| Fault::None) {
        for bytes in 1..8 {
            rig.driver(0).cut_at(bytes);
            assert_eq!(rig.request(0, &[b"abcdefg", b"h"], 8).data, b"abcdefgh");
        }
        rig.driver(0).use_indirect(false);
        assert_eq!(rig.request(0, &[b"abcdefg", b"h"], 8).data, b"abcdefgh");
    }
}

#[test]
fn a_device_is_reset_and_migrated() {
    for mut rig in rigs(|| Fault::None) {
        rig.request(0, &[b"1"], 1);
        rig.driver(1).add(&[b"under way"], &[4]);
        rig.driver(1).kick();
        let mut rig = rig.migrate(Echo::default());
        assert_eq!(rig.poll(1).unwrap().data, b"unde", "nobody rang for it");
        assert_eq!(rig.device().count, 2);
        assert_eq!(rig.request(0, &[b"2"], 1).data, b"2");
        rig.submit(1, &[b"never"], 1);
        rig.reset();
        assert_eq!((rig.device().count, rig.poll(1)), (0, None));
        assert_eq!(rig.request(1, &[b"3"], 1).data, b"3");
    }
}

#[test]
fn a_broken_queue_is_told_and_ends_the_devices_loop() {
    for mut rig in rigs(|| Fault::None) {
        let nothing = Segment {
            address: 0x5000,
            len: 0,
        };
        rig.driver(0).use_indirect(false);
        rig.driver(0).add_segments(&[nothing], &[]);
        rig.kick(0);
        let error = QueueError::ZeroLength { index: 0 };
        assert_eq!(rig.broken(), Some((0, error)));
        assert_eq!(rig.queue(0).broken(), Some(error));
        rig.reset();
        assert_eq!(rig.request(0, &[b"well"], 4).data, b"well");
    }
}

/// Runs a request with a faulty device, which has to be found.
fn found(fault: fn() -> Fault, message: &str) {
    for mut rig in rigs(fault) {
        let run = std::panic::AssertUnwindSafe(|| {
            rig.request(0, &[b"abcd"], 4);
        });
        let panic = std::panic::catch_unwind(run).unwrap_err();
        let told = panic.downcast_ref::<String>().map(String::as_str);
        let told = told.or_else(|| panic.downcast_ref::<&str>().copied());
        assert!(told.unwrap().contains(message), "{told:?}");
    }
}

#[test]
fn faulty_devices_are_found() {
    found(|| Fault::Silent, "did not come back");
    found(|| Fault::Keep, "did not come back");
    found(|| Fault::Overflow, "wrote outside");
    found(|| Fault::Boast, "wrote 5 bytes to 4");
}

/// The rig rings only where the device wants to hear of it, so one that does not look again loses a buffer.
#[test]
fn a_device_that_wants_no_notifications_gets_none() {
    for mut rig in rigs(|| Fault::None) {
        // So that a split ring's event index is passed, which cannot be taken back.
        rig.request(0, &[b"1"], 1);
        rig.call(|_, io| io.want_notifications(0, true));
        rig.driver(0).add(&[b"2"], &[1]);
        assert!(rig.driver(0).kick());
        rig.call(|_, io| io.want_notifications(0, false));
        rig.submit(0, &[b"3"], 1);
        assert_eq!(rig.poll(0), None);
        assert!(rig.call(|_, io| io.want_notifications(0, true)));
        rig.notify(0);
        assert!(rig.poll(0).is_some() && rig.poll(0).is_some());
    }
}

#[test]
#[should_panic(expected = "does not offer")]
fn a_feature_has_to_be_offered() {
    let _rig = Rig::new(Echo::default(), Ring::Split, 2);
}
