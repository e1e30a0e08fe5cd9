use std::sync::atomic::{AtomicUsize, Ordering};

use trivisor_buses::testing::{TestHost, check_golden, check_ports};
use trivisor_buses::{Widths, Woken};

use super::*;

/// A chip on a channel that counts how often it is woken.
#[derive(Debug, Default)]
struct Waker(AtomicUsize);

impl Woken for Waker {
    fn wake(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        false
    }

    fn is_rung(&self) -> bool {
        false
    }

    fn look(&self, _last: bool) -> trivisor_buses::Look {
        trivisor_buses::Look::Told
    }
}

struct Rig {
    host: Arc<TestHost>,
    chip: Arc<Shell<I8237>>,
    wakers: [Arc<Waker>; 8],
}

impl Rig {
    fn cold() -> Self {
        let host = TestHost::new();
        let chip = Shell::new("dma", Widths::BYTES, I8237::new(host.clone()));
        let wakers = std::array::from_fn(|_| Arc::new(Waker::default()));
        Self { host, chip, wakers }
    }

    /// Firmware was there.
    fn new() -> Self {
        let rig = Self::cold();
        rig.second("w 16 c0\n w 14 00");
        rig
    }

    fn ports(&self, part: Part) -> DmaPorts {
        let requesters = self.wakers.clone();
        let requesters = requesters.map(|waker| Some(waker as Arc<dyn Woken>));
        DmaPorts::new(self.chip.clone(), part, requesters)
    }

    fn first(&self, script: &str) {
        check_ports(&mut self.ports(Part::First), script);
    }

    fn second(&self, script: &str) {
        check_ports(&mut self.ports(Part::Second), script);
    }

    fn pages(&self, script: &str) {
        check_ports(&mut self.ports(Part::Pages), script);
    }

    /// A channel whose chip asks.
    fn asking(&self, number: usize) -> Channel {
        let mut channel = Channel::new(self.chip.clone(), number);
        channel.request(true);
        channel
    }

    fn memory(&self, address: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.host.memory.read(address, &mut data).unwrap();
        data
    }
}

const fn moved(bytes: usize, terminal_count: bool) -> DmaMoved {
    DmaMoved {
        bytes,
        terminal_count,
    }
}

#[test]
fn registers_are_as_the_table_says() {
    let rig = Rig::cold();
    // Addresses and counts, two accesses each, and the flip-flop of all.
    for register in 0..8 {
        rig.first(&format!(
            "w c 00\n r {register:x} -> 00\n r {register:x} -> 00\n w {register:x} 34\n w {register:x} 12
             r {register:x} -> 34\n r {register:x} -> 12\n r {register:x} -> 34\n w c 00\n r {register:x} -> 34\n w c 00"
        ));
        let register = register * 2;
        rig.second(&format!(
            "w {register:x} 78\n w {register:x} 56\n r {register:x} -> 78\n r {register:x} -> 56"
        ));
    }
    rig.first(
        "r 8 -> 00\n w 8 00\n r 9 -> error\n w 9 05\n r 8 -> 20\n w 9 01\n r 8 -> 00
         r a -> error\n r b -> error\n r c -> error\n r d -> 00\n r e -> error\n r f -> 0f
         w a 02\n r f -> 0b\n w a 06\n r f -> 0f\n w f a5\n r f -> 05\n w e 00\n r f -> 00
         w 9 07\n w d 00\n r f -> 0f\n r 8 -> 00",
    );
    // The second one's stand on even ports; the odd ones are the same.
    rig.second(
        "r 10 -> 00\n r 1e -> 0f\n w 1f 03\n r 1e -> 03\n r 12 -> error\n r 14 -> error\n r 16 -> error\n r 18 -> error
         r 1a -> 00\n r 1c -> error\n w 14 06\n r 1e -> 07\n w 14 02\n r 1e -> 03\n w 1c 00\n r 1e -> 00
         w 12 06\n r 10 -> 40\n w 12 02\n r 10 -> 00\n w 2 34\n w 18 00\n r 2 -> 34\n w 1a 00\n r 1e -> 0f",
    );
    // A master clear leaves addresses and counts.
    rig.first("w d 00\n r 0 -> 34\n r 0 -> 12");
    for page in 0..16 {
        rig.pages(&format!(
            "r {page:x} -> 00\n w {page:x} a5\n r {page:x} -> a5"
        ));
    }
    rig.pages("r 10 -> error\n w 10 00 -> error");
    // In the middle of an address: the lower byte comes first again.
    rig.first("w 0 77");
    rig.chip.with(I8237::reset);
    rig.first("w 0 34\n w c 00\n r 0 -> 34\n r 0 -> 00\n r f -> 0f");
    rig.pages("r 1 -> 00");
}

#[test]
fn a_page_register_belongs_to_each_channel() {
    for (number, page, shift) in [
        (0, 7, 0),
        (1, 3, 0),
        (2, 1, 0),
        (3, 2, 0),
        (5, 0xb, 1),
        (6, 9, 1),
        (7, 0xa, 1),
    ] {
        let rig = Rig::new();
        rig.pages(&format!("w {page:x} 03"));
        let (channel, base) = (number & 3, channel_base(number));
        let script = |step: u16| {
            format!(
                "w {:x} 00\n w {:x} 10\n w {:x} 01\n w {:x} 00\n w {:x} {:02x}\n w {:x} {channel:02x}",
                base * step,
                base * step,
                (base + 1) * step,
                (base + 1) * step,
                11 * step,
                0x44 | channel,
                10 * step,
            )
        };
        if number < 4 {
            rig.first(&script(1));
        } else {
            rig.second(&script(2));
        }
        let mut channel = rig.asking(number);
        let all = 2 << shift;
        assert_eq!(
            channel.write_memory(&[0xa5; 8]),
            moved(all, true),
            "{number}"
        );
        // The lowest bit of the page is the second controller's address's.
        let at = if shift == 0 { 0x3_1000 } else { 0x2_2000 };
        assert_eq!(rig.memory(at, 5)[..all], [0xa5; 4][..all], "{number}");
        assert_eq!(rig.memory(at, 5)[all], 0, "{number}");
    }
}

fn channel_base(number: usize) -> u16 {
    u16::try_from(number & 3).unwrap() * 2
}

/// Channel 2 at 0x1000 of page 1, four bytes, in this mode.
fn channel_2(rig: &Rig, mode: u8) -> Channel {
    rig.pages("w 1 01");
    rig.first(&format!(
        "w c 00\n w 4 00\n w 4 10\n w 5 03\n w 5 00\n w b {mode:02x}\n w a 02"
    ));
    rig.asking(2)
}

#[test]
fn both_directions_move_until_terminal_count() {
    let rig = Rig::new();
    let mut channel = channel_2(&rig, 0x46);
    assert_eq!(channel.write_memory(&[1, 2, 3]), moved(3, false));
    rig.first("w c 00\n r 4 -> 03\n r 4 -> 10\n r 5 -> 00\n r 5 -> 00\n r 8 -> 40");
    assert_eq!(channel.write_memory(&[4, 5, 6]), moved(1, true));
    assert_eq!(rig.memory(0x1_1000, 5), [1, 2, 3, 4, 0]);
    // The channel is masked, the status tells of it once, and of the chip that asks on.
    rig.first("r 8 -> 44\n r 8 -> 40\n r f -> 0f\n r 4 -> 04\n r 4 -> 10\n r 5 -> ff\n r 5 -> ff");
    assert_eq!(channel.write_memory(&[7]), moved(0, false));

    let mut channel = channel_2(&rig, 0x4a);
    let mut data = [0; 6];
    assert_eq!(channel.read_memory(&mut data), moved(4, true));
    assert_eq!(data, [1, 2, 3, 4, 0, 0]);
    channel.request(false);
    rig.first("r 8 -> 04");
}

#[test]
fn autoinitialization_begins_again() {
    let rig = Rig::new();
    let mut channel = channel_2(&rig, 0x56);
    for byte in [1, 2] {
        assert_eq!(channel.write_memory(&[byte; 9]), moved(4, true));
        assert_eq!(rig.memory(0x1_1000, 5), [byte, byte, byte, byte, 0]);
        rig.first("r f -> 0b\n r 4 -> 00\n r 4 -> 10\n r 5 -> 03\n r 5 -> 00\n r 8 -> 44");
    }
}

#[test]
fn addresses_count_down_and_wrap_within_their_page() {
    let rig = Rig::new();
    let mut channel = channel_2(&rig, 0x66);
    assert_eq!(channel.write_memory(&[1, 2, 3, 4]), moved(4, true));
    assert_eq!(rig.memory(0x1_0ffd, 4), [4, 3, 2, 1]);

    let mut channel = channel_2(&rig, 0x46);
    rig.first("w c 00\n w 4 fe\n w 4 ff");
    assert_eq!(channel.write_memory(&[1, 2, 3, 4]), moved(4, true));
    assert_eq!(rig.memory(0x1_fffe, 3), [1, 2, 0]);
    assert_eq!(rig.memory(0x1_0000, 2), [3, 4]);
}

#[test]
fn a_byte_goes_to_base_and_current_register_and_leaves_the_other_one() {
    let rig = Rig::new();
    let mut channel = channel_2(&rig, 0x56);
    rig.first("w c 00\n w 4 fe\n w 4 10");
    assert_eq!(channel.write_memory(&[1, 2, 3]), moved(3, false));
    // The upper byte has counted on.
    rig.first("w c 00\n w 4 42\n w c 00\n r 4 -> 42\n r 4 -> 11");
    assert_eq!(channel.write_memory(&[4]), moved(1, true));
    assert_eq!(rig.memory(0x1_1142, 1), [4]);
    // It begins again at the base register's.
    rig.first("w c 00\n r 4 -> 42\n r 4 -> 10");
}

#[test]
fn verify_counts_and_moves_nothing() {
    let rig = Rig::new();
    let mut channel = channel_2(&rig, 0x42);
    assert_eq!(channel.write_memory(&[1; 8]), moved(4, true));
    assert_eq!(rig.memory(0x1_1000, 4), [0; 4]);
    let mut channel = channel_2(&rig, 0x42);
    let mut data = [0; 4];
    assert_eq!(channel.read_memory(&mut data), moved(4, true));
    assert_eq!(data, [0xff; 4]);
}

#[test]
fn what_is_closed_disabled_or_illegal_moves_nothing() {
    // Read and illegal, cascade.
    for mode in [0x4a, 0x4e, 0xc6] {
        let rig = Rig::new();
        assert_eq!(channel_2(&rig, mode).write_memory(&[1]), moved(0, false));
    }
    for (first, second) in [
        ("w a 06", ""),
        ("w 8 04", ""),
        ("", "w 14 04"),
        ("", "w 10 04"),
        ("", "w 16 40"),
    ] {
        let rig = Rig::new();
        let mut channel = channel_2(&rig, 0x46);
        rig.first(first);
        rig.second(second);
        assert_eq!(
            channel.write_memory(&[1]),
            moved(0, false),
            "{first}{second}"
        );
    }
    let rig = Rig::new();
    let mut channel = channel_2(&rig, 0x46);
    channel.request(false);
    assert_eq!(channel.write_memory(&[1]), moved(0, false));
    assert_eq!(rig.asking(4).write_memory(&[1]), moved(0, false));
    assert_eq!(rig.asking(8).write_memory(&[1]), moved(0, false));
}

#[test]
fn memory_that_is_none_takes_nothing_and_reads_ones() {
    let rig = Rig::new();
    let mut channel = channel_2(&rig, 0x46);
    // The host has 1 MiB: two bytes of it, and two behind.
    rig.pages("w 1 0f");
    rig.first("w c 00\n w 4 fe\n w 4 ff");
    assert_eq!(channel.write_memory(&[1, 2]), moved(2, false));
    rig.pages("w 1 ff");
    assert_eq!(channel.write_memory(&[3, 4]), moved(2, true));
    assert_eq!(rig.memory(0xf_fffe, 2), [1, 2]);
    let mut channel = channel_2(&rig, 0x4a);
    rig.pages("w 1 ff");
    let mut data = [0; 4];
    assert_eq!(channel.read_memory(&mut data), moved(4, true));
    assert_eq!(data, [0xff; 4]);
}

#[test]
fn a_chip_is_woken_when_its_channel_is_opened() {
    let rig = Rig::new();
    let woken = || rig.wakers[2].0.load(Ordering::Relaxed);
    let channel = channel_2(&rig, 0x46);
    rig.first("w a 06");
    let before = woken();
    rig.first("w c 00\n w 4 00");
    assert_eq!(woken(), before);
    rig.first("w a 02");
    assert_eq!(woken(), before + 1);
    // The cascade closes it, too.
    rig.second("w 14 04");
    let before = woken();
    rig.first("w e 00");
    assert_eq!(woken(), before);
    rig.second("w 14 00");
    assert_eq!(woken(), before + 1);
    assert_eq!(rig.wakers[1].0.load(Ordering::Relaxed), 0);
    drop(channel);
}

#[test]
fn the_cascade_of_a_board_without_firmware_stays() {
    let rig = Rig::cold();
    rig.chip.with(I8237::enable_cascade);
    rig.chip.with(I8237::reset);
    assert_eq!(channel_2(&rig, 0x46).write_memory(&[1]), moved(1, false));
}

#[test]
fn state_comes_back_and_is_checked() {
    let rig = Rig::new();
    let mut channel = channel_2(&rig, 0x56);
    channel.write_memory(&[1, 2]);
    rig.first("w 9 07\n r 4 -> 02");
    let saved = rig.chip.with(|chip| chip.save());
    let other = Rig::cold();
    other.chip.with(|chip| chip.restore(&saved)).unwrap();
    assert_eq!(other.chip.with(|chip| chip.save()), saved);
    // In the middle of an address, with a channel under way.
    other.first("r 4 -> 10\n r 8 -> c0\n r f -> 0b");
    let mut channel = Channel::new(other.chip.clone(), 2);
    assert_eq!(channel.write_memory(&[3, 4]), moved(2, true));
    assert_eq!(other.memory(0x1_1000, 4), [0, 0, 3, 4]);

    let state: I8237StateV1 = saved.decode(state::KIND, state::VERSION).unwrap();
    type Damage = fn(&mut I8237StateV1);
    let damages: [(&str, Damage); 6] = [
        ("controllers", |state| {
            let _last = state.controllers.pop();
        }),
        ("mode", |state| state.controllers[0].modes[1] = 0x46),
        ("mask", |state| state.controllers[1].mask = 0x10),
        ("dreq", |state| state.controllers[0].dreq = 0x80),
        ("request", |state| state.controllers[0].request = 0x10),
        ("terminal", |state| state.controllers[0].terminal = 0xf0),
    ];
    for (wanted, damage) in damages {
        let mut damaged = state.clone();
        damage(&mut damaged);
        let damaged = SavedState::encode(state::KIND, state::VERSION, &damaged);
        let before = other.chip.with(|chip| chip.save());
        let refused = other.chip.with(|chip| chip.restore(&damaged));
        let Err(RestoreError::Field { field, .. }) = refused else {
            panic!("{wanted}: {refused:?}");
        };
        assert_eq!(field, wanted);
        assert_eq!(other.chip.with(|chip| chip.save()), before);
    }
}

#[test]
fn the_golden_state_is_taken() {
    let rig = Rig::new();
    channel_2(&rig, 0x46).write_memory(&[1, 2]);
    rig.first("r 4 -> 02");
    let golden = include_str!("golden.hex");
    for rig in [rig, Rig::cold()] {
        rig.chip
            .with(|chip| check_golden(chip, state::KIND, 1, golden));
        rig.first("r 4 -> 10\n r f -> 0b");
        let mut channel = Channel::new(rig.chip.clone(), 2);
        assert_eq!(channel.write_memory(&[3; 9]), moved(2, true));
    }
}
