use std::sync::{Arc, Mutex, MutexGuard};

use trivisor_buses::testing::TestHost;
use trivisor_buses::{CharInput, CharOutput, Segment, Shell};
use trivisor_virtio_device::mmio::{self, MmioTransport};
use trivisor_virtio_device::testing::{Rig, Ring, test_ram};
use trivisor_virtio_device::transport::Offer;
use trivisor_virtio_device::{Drive, Feature};

use super::*;
use crate::golden::check_golden;

const SIZE: u64 = 1;
const MULTIPORT: u64 = 2;

/// The other end of an output.
#[derive(Debug, Clone, Default)]
struct Pipe(Arc<Mutex<End>>);

#[derive(Debug, Default)]
struct End {
    got: Vec<u8>,
    /// Bytes that it takes no more of; `None`: any number.
    room: Option<usize>,
    calls: usize,
}

impl Pipe {
    fn end(&self) -> MutexGuard<'_, End> {
        self.0.lock().unwrap()
    }

    fn room(&self, room: usize) {
        self.end().room = Some(room);
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.end().got)
    }
}

impl CharOutput for Pipe {
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut end = self.end();
        end.calls += 1;
        let taken = end.room.map_or(bytes.len(), |room| room.min(bytes.len()));
        end.room = end.room.map(|room| room - taken);
        end.got.extend(&bytes[..taken]);
        taken
    }
}

fn port(name: &str, console: bool, output: &Pipe) -> PortConfig {
    PortConfig {
        name: name.into(),
        console,
        output: Some(Box::new(output.clone())),
    }
}

/// One console, no control queues.
fn plain(ring: Ring) -> (Rig<Console>, Pipe) {
    let pipe = Pipe::default();
    let console = Console::new(vec![port("", true, &pipe)]).unwrap();
    (Rig::new(console, ring, SIZE), pipe)
}

fn two() -> (Console, [Pipe; 2]) {
    let pipes = [Pipe::default(), Pipe::default()];
    let [first, second] = &pipes;
    let ports = vec![port("", true, first), port("org.agent.0", false, second)];
    (Console::new(ports).unwrap(), pipes)
}

/// A console and a channel of a name.
fn multi(ring: Ring) -> (Rig<Console>, [Pipe; 2]) {
    let (console, pipes) = two();
    (Rig::new(console, ring, SIZE | MULTIPORT), pipes)
}

fn say(rig: &mut Rig<Console>, id: u32, event: Event, value: u16) {
    let bytes = Control { id, event, value }.to_bytes();
    assert_eq!(rig.request(CONTROL_TRANSMIT, &[&bytes], 0).written, 0);
}

fn add_message_buffers(rig: &mut Rig<Console>, count: usize) {
    for _ in 0..count {
        rig.driver(CONTROL_RECEIVE).add(&[], &[256]);
    }
    rig.kick(CONTROL_RECEIVE);
}

/// The messages that came: port, event, value and what follows.
fn heard(rig: &mut Rig<Console>) -> Vec<(u32, u16, u16, Vec<u8>)> {
    let replies = std::iter::from_fn(|| rig.poll(CONTROL_RECEIVE));
    let message = |data: &[u8]| {
        let Control { id, event, value } = Control::parse(data[..8].try_into().unwrap());
        (id, event.0, value, data[8..].to_vec())
    };
    replies.map(|reply| message(&reply.data)).collect()
}

/// Both ports ready, and open in the guest.
fn set_up(rig: &mut Rig<Console>) {
    add_message_buffers(rig, 20);
    say(rig, 0, Event::DEVICE_READY, 1);
    for id in 0..2 {
        say(rig, id, Event::PORT_READY, 1);
        say(rig, id, Event::PORT_OPEN, 1);
    }
    heard(rig);
}

fn push(rig: &mut Rig<Console>, port: usize, bytes: &[u8]) -> usize {
    rig.call(|console, io| console.push(port, bytes, io))
}

#[test]
fn output_goes_out_whatever_its_framing() {
    for ring in Ring::ALL {
        let (mut rig, pipe) = plain(ring);
        for cut in [1, 3, 5000] {
            rig.driver(1).cut_at(cut);
            let reply = rig.request(1, &[b"hello ", b"world"], 0);
            assert_eq!(reply.written, 0);
            assert_eq!(pipe.take(), b"hello world");
        }
        let long: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        rig.request(1, &[&long], 0);
        assert_eq!(pipe.take(), long);
        assert_eq!(rig.device().counters().output, 33 + 10_000);
        assert!(rig.take_interrupts(1) >= 4);
    }
}

#[test]
fn input_fills_the_buffers_that_there_are() {
    for ring in Ring::ALL {
        let (mut rig, _pipe) = plain(ring);
        assert_eq!(push(&mut rig, 0, b"early"), 5);
        rig.driver(0).add(&[], &[2, 1]);
        rig.driver(0).add(&[], &[100]);
        rig.driver(0).add(&[], &[100]);
        rig.kick(0);
        assert_eq!(rig.poll(0).unwrap().data, b"ear");
        assert_eq!(rig.poll(0).unwrap().data, b"ly");
        assert!(rig.poll(0).is_none());
        assert_eq!(rig.take_interrupts(0), 1);
        assert_eq!(push(&mut rig, 0, b"now"), 3);
        assert_eq!(rig.poll(0).unwrap().data, b"now");
        assert_eq!(rig.take_interrupts(0), 1);
        assert_eq!(rig.device().counters().input, 8);
    }
}

#[test]
fn input_is_bounded_and_nothing_of_it_is_lost() {
    for ring in Ring::ALL {
        let (mut rig, _pipe) = plain(ring);
        let all: Vec<u8> = (0..=250).cycle().take(20_000).collect();
        let (mut offered, mut got) = (0, Vec::new());
        while got.len() < all.len() {
            let room = rig.device().room(0);
            let taken = push(&mut rig, 0, &all[offered..]);
            assert_eq!(taken, room.min(all.len() - offered));
            offered += taken;
            assert!(offered - got.len() <= MAX_INPUT);
            for _ in 0..3 {
                rig.driver(0).add(&[], &[700]);
            }
            rig.kick(0);
            got.extend(std::iter::from_fn(|| rig.poll(0)).flat_map(|reply| reply.data));
        }
        assert_eq!(got, all);
        // A ring that is full of small buffers.
        let (mut rig, _pipe) = plain(ring);
        assert_eq!(push(&mut rig, 0, &all), MAX_INPUT);
        (0..QUEUE_SIZE).for_each(|_| {
            rig.driver(0).add(&[], &[1]);
        });
        rig.kick(0);
        assert_eq!(
            std::iter::from_fn(|| rig.poll(0)).count(),
            usize::from(QUEUE_SIZE)
        );
        rig.driver(0).add(&[], &[1]);
        rig.kick(0);
        assert!(rig.poll(0).is_some(), "it wants to hear of more");
    }
}

#[test]
fn a_console_never_waits_for_its_output() {
    for ring in Ring::ALL {
        let (mut rig, pipe) = plain(ring);
        pipe.room(3);
        rig.request(1, &[b"abcdef"], 0);
        rig.request(1, &[b"ghi"], 0);
        assert_eq!(pipe.take(), b"abc");
        pipe.room(4);
        rig.call(|console, io| console.output_ready(0, io));
        assert_eq!(pipe.take(), b"defg");
        pipe.room(0);
        for _ in 0..20 {
            rig.request(1, &[&[b'x'; 4096]], 0);
        }
        let counters = rig.device().counters();
        let kept = MAX_BACKLOG - 2;
        assert_eq!(counters.output_dropped, 20 * 4096 - kept as u64);
        pipe.end().room = None;
        rig.call(|console, io| console.output_ready(0, io));
        let got = pipe.take();
        assert_eq!((&got[..3], got.len()), (&b"hix"[..], MAX_BACKLOG));
        rig.request(1, &[b"on"], 0);
        assert_eq!(pipe.take(), b"on");
    }
}

#[test]
fn a_channel_loses_nothing_when_its_output_is_full() {
    for ring in Ring::ALL {
        let features = MULTIPORT | Feature::EventIndex.bit() | Feature::InOrder.bit();
        let (console, [_, pipe]) = two();
        let mut rig = Rig::new(console, ring, features);
        set_up(&mut rig);
        let all: Vec<u8> = (0..=255).cycle().take(9000).collect();
        pipe.room(5000);
        rig.submit(5, &[&all], 0);
        rig.submit(5, &[b"behind"], 0);
        assert!(rig.poll(5).is_none(), "the driver waits");
        assert_eq!(pipe.take(), &all[..5000]);
        pipe.room(100);
        rig.call(|console, io| console.output_ready(1, io));
        assert_eq!(pipe.take(), &all[5000..5100]);
        // Even across a restore.
        rig.call(Console::pause);
        let saved = rig.device().save();
        let (mut fresh, [_, pipe]) = two();
        fresh.restore(&saved).unwrap();
        *rig.device_mut() = fresh;
        rig.call(|console, io| console.output_ready(1, io));
        assert!(pipe.take().is_empty(), "it is paused");
        rig.notify(5);
        assert_eq!(pipe.take(), [&all[5100..], b"behind"].concat());
        assert!(rig.poll(5).is_some() && rig.poll(5).is_some());
        assert_eq!(rig.device().counters().output_dropped, 0);
    }
}

#[test]
fn a_reset_ends_what_went_out_in_part() {
    for ring in Ring::ALL {
        let (mut rig, [_, pipe]) = multi(ring);
        set_up(&mut rig);
        pipe.room(2);
        rig.submit(5, &[b"old"], 0);
        push(&mut rig, 0, b"typed");
        rig.reset();
        pipe.end().room = None;
        rig.call(|console, io| console.output_ready(1, io));
        assert!(!rig.device().is_guest_open(1));
        assert_eq!(rig.device().room(0), MAX_INPUT);
        assert_eq!(pipe.take(), b"ol");
        set_up(&mut rig);
        rig.request(5, &[b"new"], 0);
        assert_eq!(pipe.take(), b"new");
        // So does that of the queue alone.
        pipe.room(2);
        rig.submit(5, &[b"one"], 0);
        rig.stop(Some(4));
        rig.stop(Some(5));
        pipe.end().room = None;
        rig.call(|console, io| console.output_ready(1, io));
        assert_eq!(pipe.take(), b"onone");
    }
}

#[test]
fn a_long_buffer_ends_at_its_limit() {
    for ring in Ring::ALL {
        let (mut rig, pipe) = plain(ring);
        let whole = Segment {
            address: 0,
            len: (1 << 20) + 7,
        };
        rig.driver(1).add_segments(&[whole], &[]);
        rig.kick(1);
        assert!(rig.poll(1).is_some());
        assert_eq!(pipe.take().len() as u64, MAX_BUFFER);
        assert_eq!(rig.device().counters().output_dropped, 7);
    }
}

#[test]
fn ports_are_told_of_when_the_driver_is_ready() {
    for ring in Ring::ALL {
        let (mut rig, _pipes) = multi(ring);
        rig.call(|console, io| console.resize(0, Size { cols: 80, rows: 25 }, io));
        add_message_buffers(&mut rig, 20);
        assert!(heard(&mut rig).is_empty(), "nothing before it is ready");
        say(&mut rig, 0, Event::DEVICE_READY, 0);
        assert!(heard(&mut rig).is_empty());
        say(&mut rig, 9, Event::DEVICE_READY, 1);
        assert_eq!(heard(&mut rig), [(0, 1, 0, vec![]), (1, 1, 0, vec![])]);
        say(&mut rig, 0, Event::DEVICE_READY, 1);
        assert!(heard(&mut rig).is_empty(), "they are there already");
        say(&mut rig, 0, Event::PORT_READY, 1);
        let wanted = [
            (0, 4, 1, vec![]),
            (0, 5, 0, vec![80, 0, 25, 0]),
            (0, 6, 1, vec![]),
        ];
        assert_eq!(heard(&mut rig), wanted);
        say(&mut rig, 1, Event::PORT_READY, 1);
        let wanted = [(1, 7, 1, b"org.agent.0".to_vec()), (1, 6, 1, vec![])];
        assert_eq!(heard(&mut rig), wanted);
        say(&mut rig, 1, Event::PORT_READY, 1);
        assert!(heard(&mut rig).is_empty());
        assert_eq!(rig.device().counters().bad_messages, 0);
    }
}

#[test]
fn messages_wait_for_buffers_and_tell_the_latest() {
    for ring in Ring::ALL {
        let (mut rig, _pipes) = multi(ring);
        for _ in 0..100 {
            say(&mut rig, 0, Event::DEVICE_READY, 1);
            say(&mut rig, 0, Event::PORT_READY, 0);
            say(&mut rig, 0, Event::PORT_READY, 1);
        }
        for cols in 1..=100 {
            rig.call(|console, io| console.resize(0, Size { cols, rows: 9 }, io));
            rig.call(|console, io| console.set_host_open(0, cols % 2 == 1, io));
        }
        add_message_buffers(&mut rig, 1);
        assert_eq!(heard(&mut rig), [(0, 1, 0, vec![])]);
        add_message_buffers(&mut rig, 10);
        let wanted = [
            (0, 4, 1, vec![]),
            (0, 5, 0, vec![100, 0, 9, 0]),
            (0, 6, 0, vec![]),
            (1, 1, 0, vec![]),
        ];
        assert_eq!(heard(&mut rig), wanted);
    }
}

#[test]
fn input_waits_until_the_guest_opens_the_port() {
    for ring in Ring::ALL {
        let (mut rig, _pipes) = multi(ring);
        rig.driver(4).add(&[], &[16]);
        rig.driver(4).add(&[], &[16]);
        rig.kick(4);
        push(&mut rig, 1, b"wait");
        assert!(rig.poll(4).is_none());
        say(&mut rig, 0, Event::DEVICE_READY, 1);
        say(&mut rig, 1, Event::PORT_READY, 1);
        assert!(!rig.device().is_guest_open(1));
        say(&mut rig, 1, Event::PORT_OPEN, 1);
        assert!(rig.device().is_guest_open(1));
        assert_eq!(rig.poll(4).unwrap().data, b"wait");
        say(&mut rig, 1, Event::PORT_OPEN, 0);
        push(&mut rig, 1, b"more");
        assert!(rig.poll(4).is_none());
        assert_eq!(push(&mut rig, 2, b"nobody"), 0);
    }
}

#[test]
fn a_port_that_the_host_closed_takes_nothing() {
    for ring in Ring::ALL {
        let (mut rig, [_, pipe]) = multi(ring);
        set_up(&mut rig);
        rig.call(|console, io| console.set_host_open(1, false, io));
        assert_eq!(heard(&mut rig), [(1, 6, 0, vec![])]);
        rig.request(5, &[b"lost"], 0);
        assert_eq!(pipe.take(), b"");
        assert_eq!(rig.device().counters().output_dropped, 4);
        rig.call(|console, io| console.set_host_open(1, true, io));
        rig.call(|console, io| console.set_host_open(1, true, io));
        assert_eq!(heard(&mut rig), [(1, 6, 1, vec![])]);
        rig.request(5, &[b"found"], 0);
        assert_eq!(pipe.take(), b"found");
        // A buffer that waits for the output is let go with it.
        pipe.room(1);
        rig.submit(5, &[b"stuck"], 0);
        assert!(rig.poll(5).is_none());
        rig.call(|console, io| console.set_host_open(1, false, io));
        assert!(rig.poll(5).is_some());
    }
}

#[test]
fn a_new_size_is_told() {
    for ring in Ring::ALL {
        let (mut rig, _pipe) = plain(ring);
        assert_eq!(
            rig.read_config(0, 14),
            [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        let size = Size {
            cols: 0x0102,
            rows: 0x0304,
        };
        rig.call(|console, io| console.resize(0, size, io));
        rig.call(|console, io| console.resize(0, size, io));
        assert_eq!(rig.take_config_changes(), 1);
        assert_eq!(rig.read_config(0, 4), [2, 1, 4, 3]);
        rig.call(|console, io| console.resize(7, size, io));
        rig.reset();
        assert_eq!(rig.read_config(0, 4), [2, 1, 4, 3]);
        let (mut rig, _pipes) = multi(ring);
        set_up(&mut rig);
        assert_eq!(rig.read_config(4, 4), [2, 0, 0, 0]);
        rig.call(|console, io| console.resize(0, size, io));
        assert_eq!(rig.take_config_changes(), 1);
        assert_eq!(heard(&mut rig), [(0, 5, 0, vec![2, 1, 4, 3])]);
        rig.call(|console, io| console.resize(1, size, io));
        assert_eq!(rig.take_config_changes(), 0);
        assert!(heard(&mut rig).is_empty(), "port 1 is no console");
    }
}

#[test]
fn emergency_writes_need_nothing() {
    let (pipe, ram) = (Pipe::default(), test_ram());
    let mut console = Console::new(vec![port("", true, &pipe)]).unwrap();
    let mut io = Io::new(&ram, 0, &mut []);
    for data in [&b"p"[..], b"an", b"i\0\0\0"] {
        assert_eq!(console.write_config(8, data, &mut io), Ok(()));
    }
    assert_eq!(pipe.take(), b"pai", "the low byte of each");
    pipe.room(0);
    assert_eq!(console.write_config(8, b"c", &mut io), Ok(()));
    console.reset();
    pipe.room(9);
    console.output_ready(0, &mut io);
    assert_eq!(pipe.take(), b"c", "not even a reset loses it");
    for (offset, data) in [(0, &b"x"[..]), (4, b"x"), (9, b"x"), (8, b""), (12, b"x")] {
        let found = console.write_config(offset, data, &mut io);
        assert_eq!(found, Err(AccessError::ReadOnly), "at {offset}");
    }
    let mut far = [9; 2];
    console.read_config(usize::MAX, &mut far);
    assert_eq!((far, pipe.take()), ([0; 2], vec![]));
}

#[test]
fn without_multiport_port_0_is_a_console() {
    for ring in Ring::ALL {
        let pipes = [Pipe::default(), Pipe::default()];
        let [first, second] = &pipes;
        let ports = vec![port("a", false, first), port("b", false, second)];
        let mut rig = Rig::new(Console::new(ports).unwrap(), ring, 0);
        first.room(0);
        rig.request(1, &[b"kept"], 0);
        rig.submit(5, &[b"nobody looks"], 0);
        let message = Control {
            id: 0,
            event: Event::DEVICE_READY,
            value: 1,
        };
        rig.submit(3, &[&message.to_bytes()], 0);
        add_message_buffers(&mut rig, 1);
        push(&mut rig, 1, b"nowhere");
        rig.driver(4).add(&[], &[16]);
        rig.kick(4);
        push(&mut rig, 0, b"in");
        rig.driver(0).add(&[], &[16]);
        rig.kick(0);
        assert_eq!(rig.poll(0).unwrap().data, b"in");
        for queue in [2, 3, 4, 5] {
            assert!(rig.poll(queue).is_none(), "queue {queue}");
        }
    }
}

#[test]
fn messages_that_say_nothing_are_counted() {
    for ring in Ring::ALL {
        let (mut rig, _pipes) = multi(ring);
        add_message_buffers(&mut rig, 5);
        rig.request(CONTROL_TRANSMIT, &[&[0; 7]], 0);
        rig.request(CONTROL_TRANSMIT, &[], 8);
        say(&mut rig, 0, Event::PORT_READY, 1); // not added yet
        say(&mut rig, 0, Event::DEVICE_READY, 1);
        heard(&mut rig);
        for (id, event) in [
            (2, Event::PORT_READY),
            (u32::MAX, Event::PORT_OPEN),
            (0, Event::DEVICE_ADD),
            (0, Event::RESIZE),
            (0, Event(8)),
            (0, Event(u16::MAX)),
        ] {
            say(&mut rig, id, event, 1);
        }
        assert_eq!(rig.device().counters().bad_messages, 9);
        assert!(heard(&mut rig).is_empty());
        assert_eq!(rig.broken(), None);
    }
}

#[test]
fn buffers_that_cannot_be_used_break_their_queue() {
    let nowhere = Segment {
        address: 1 << 40,
        len: 64,
    };
    for ring in Ring::ALL {
        for (queue, readable, writable) in [
            (0, &[][..], &[nowhere][..]),
            (0, &[nowhere], &[]),
            (1, &[nowhere], &[]),
            (2, &[], &[nowhere]),
            (2, &[nowhere], &[]),
            (
                2,
                &[],
                &[Segment {
                    address: 64,
                    len: 7,
                }],
            ),
            (3, &[nowhere], &[]),
            (5, &[nowhere], &[]),
        ] {
            let (mut rig, [pipe, _]) = multi(ring);
            say(&mut rig, 0, Event::DEVICE_READY, 1);
            say(&mut rig, 0, Event::PORT_OPEN, 1);
            push(&mut rig, 0, b"typed");
            rig.driver(queue).add_segments(readable, writable);
            rig.kick(queue);
            assert!(
                matches!(rig.broken(), Some((at, _)) if at == queue),
                "queue {queue}: {:?}",
                rig.broken()
            );
            rig.reset();
            rig.request(1, &[b"alive"], 0);
            assert_eq!(pipe.take(), b"alive");
        }
    }
}

#[test]
fn a_full_queue_is_one_batch() {
    for ring in Ring::ALL {
        let (mut rig, pipe) = plain(ring);
        for byte in 0..64_u8 {
            rig.driver(1).add(&[&[byte]], &[]);
        }
        rig.kick(1);
        assert_eq!(rig.take_interrupts(1), 1);
        assert_eq!(pipe.take(), (0..64).collect::<Vec<u8>>());
        assert_eq!(std::iter::from_fn(|| rig.poll(1)).count(), 64);
        rig.request(1, &[b"on"], 0);
    }
}

#[test]
fn nothing_moves_before_the_driver_is_ready_and_in_a_pause() {
    for ring in Ring::ALL {
        let (mut rig, pipe) = plain(ring);
        rig.driver(0).add(&[], &[16]);
        rig.kick(0);
        rig.call(Console::pause);
        push(&mut rig, 0, b"typed");
        rig.call(|console, io| console.output_ready(0, io));
        assert!(rig.poll(0).is_none());
        rig.notify(1);
        rig.wake();
        assert_eq!(rig.poll(0).unwrap().data, b"typed");
        // Buffers that are there before DRIVER_OK are found by it.
        rig.driver(0).add(&[], &[16]);
        rig.driver(0).kick();
        rig.driver(1).add(&[b"first"], &[]);
        rig.driver(1).kick();
        rig.device_mut().reset();
        push(&mut rig, 0, b"early");
        assert!(rig.poll(0).is_none());
        rig.call(Console::activate);
        assert_eq!(rig.poll(0).unwrap().data, b"early");
        assert_eq!(pipe.take(), b"first");
    }
}

#[test]
fn a_restored_console_goes_on() {
    for ring in Ring::ALL {
        let (mut rig, [pipe, _]) = multi(ring);
        add_message_buffers(&mut rig, 2);
        say(&mut rig, 0, Event::DEVICE_READY, 1);
        say(&mut rig, 0, Event::PORT_READY, 1);
        say(&mut rig, 0, Event::PORT_OPEN, 1);
        assert_eq!(heard(&mut rig).len(), 2);
        pipe.room(0);
        rig.request(1, &[b"kept"], 0);
        push(&mut rig, 0, b"typed");
        let saved = rig.device().save();
        let (mut fresh, [pipe, _]) = two();
        fresh.restore(&saved).unwrap();
        assert_eq!(fresh.save(), saved);
        *rig.device_mut() = fresh;
        rig.wake();
        assert_eq!(pipe.take(), b"kept");
        rig.driver(0).add(&[], &[16]);
        rig.kick(0);
        assert_eq!(rig.poll(0).unwrap().data, b"typed");
        add_message_buffers(&mut rig, 3);
        assert_eq!(heard(&mut rig), [(0, 4, 1, vec![]), (0, 6, 1, vec![])]);
    }
}

#[test]
fn bad_states_are_refused() {
    let (mut console, _pipes) = two();
    check_golden(
        &mut console,
        state::KIND,
        1,
        "01 02 \
         01 01 01 01 1e 50 19 00 02 6869 00 \
         01 00 00 00 01 00 00 80 8040 00 03 6f7574",
    );
    assert_eq!(console.room(0), MAX_INPUT - 2);
    assert!(console.is_guest_open(0) && !console.is_guest_open(1));
    let good = console.save();
    let decoded = |change: &dyn Fn(&mut ConsoleStateV1)| {
        let mut state: ConsoleStateV1 = good.decode(state::KIND, 1).unwrap();
        change(&mut state);
        SavedState::encode(state::KIND, 1, &state)
    };
    let bad: [&dyn Fn(&mut ConsoleStateV1); 7] = [
        &|state| drop(state.ports.pop()),
        &|state| state.ports.push(state.ports[0].clone()),
        &|state| state.ports[0].added = false,
        &|state| state.ports[0].owed = 0x20,
        &|state| state.ports[0].sent = (1 << 20) + 1,
        &|state| state.ports[0].input = vec![0; MAX_INPUT + 1],
        &|state| state.ports[1].backlog = vec![0; MAX_BACKLOG + 1],
    ];
    let bad = bad.iter().map(|change| decoded(change)).chain([
        SavedState {
            kind: "virtio-net",
            ..good.clone()
        },
        SavedState {
            version: 2,
            ..good.clone()
        },
        SavedState {
            data: vec![],
            ..good.clone()
        },
    ]);
    for bad in bad {
        assert!(console.restore(&bad).is_err(), "{bad:?}");
        assert_eq!(console.save(), good);
    }
    let full = decoded(&|state| {
        state.ports[0].sent = 1 << 20;
        state.ports[0].input = vec![0; MAX_INPUT];
        state.ports[1].backlog = vec![0; MAX_BACKLOG];
    });
    assert_eq!(console.restore(&full), Ok(()));
}

#[test]
fn ports_are_checked() {
    let new = |names: &[&str]| {
        let port = |name: &&str| port(name, true, &Pipe::default());
        Console::new(names.iter().map(port).collect()).map(|console| console.features())
    };
    assert_eq!(new(&[]), Err(ConsoleError::Ports { count: 0 }));
    assert_eq!(new(&["p"; 32]), Err(ConsoleError::Ports { count: 32 }));
    assert_eq!(new(&["p"; 31]), Ok(0b111));
    assert_eq!((new(&["p"]), new(&[""])), (Ok(0b111), Ok(0b101)));
    let long = "n".repeat(MAX_NAME + 1);
    for name in ["a\nb", "\0", &long] {
        let found = new(&["", name]);
        assert_eq!(found, Err(ConsoleError::Name { name: name.into() }));
    }
    assert_eq!(new(&[&long[1..]]), Ok(0b111));
    // All queues of the most ports work.
    let ports = (0..31).map(|_| port("", false, &Pipe::default())).collect();
    let mut rig = Rig::new(Console::new(ports).unwrap(), Ring::Split, MULTIPORT);
    rig.request(63, &[b"last"], 0);
    assert_eq!(
        (rig.take_interrupts(63), rig.device().counters().output),
        (1, 4)
    );
}

#[test]
fn a_port_on_a_bus_is_a_character_device() {
    let host = TestHost::new();
    let chip = || {
        let (console, pipes) = two();
        let ram = host.memory.ram().clone();
        let offer = Offer { packed: false };
        let transport = MmioTransport::new(console, ram, host.line(), offer);
        (Shell::new("console", mmio::WIDTHS, transport), pipes)
    };
    let (shell, [_, pipe]) = chip();
    let input = ConsoleInput::new(shell.clone(), 1);
    assert_eq!((input.room(), input.push(b"typed")), (MAX_INPUT, 5));
    assert_eq!(input.room(), MAX_INPUT - 5);
    assert_eq!(input.push(&[0; 5000]), MAX_INPUT - 5);
    assert_eq!(ConsoleInput::new(shell.clone(), 0).room(), MAX_INPUT);
    assert_eq!(ConsoleInput::new(shell.clone(), 2).push(b"nobody"), 0);
    // What waits for its output leaves before there is a driver.
    shell.drive(&mut |console, _| {
        let mut state: ConsoleStateV1 = console.save().decode(state::KIND, 1).unwrap();
        state.ports[1].backlog = b"out".to_vec();
        let state = SavedState::encode(state::KIND, 1, &state);
        console.restore(&state).unwrap();
    });
    input.output_ready();
    assert_eq!(pipe.take(), b"out");
}
