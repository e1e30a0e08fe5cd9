use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::line::{LineEnd, Wire};
use crate::routing::{BadRange, RouteError};
use crate::testing::{Recorder, TestHost};
use crate::*;

/// Remembers what came; offset 7 is no register.
#[derive(Default)]
struct Probe(Vec<(u64, Vec<u8>)>);

impl Probe {
    fn access(&mut self, offset: u64, data: &[u8]) -> Result<(), AccessError> {
        self.0.push((offset, data.to_vec()));
        if offset == 7 {
            Err(AccessError::NoRegister)
        } else {
            Ok(())
        }
    }
}

impl PortDevice for Probe {
    fn read(&mut self, offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        data.fill(offset.to_le_bytes()[0]);
        self.access(offset.into(), data)
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        self.access(offset.into(), data)
    }
}

impl MmioDevice for Probe {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
        data.fill(0x5a);
        self.access(offset, data)
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), AccessError> {
        self.access(offset, data)
    }
}

fn seen(shell: &Shell<Probe>) -> Vec<(u64, Vec<u8>)> {
    shell.with(|probe| std::mem::take(&mut probe.0))
}

#[test]
fn the_shell_splits_or_rejects_widths() {
    let bytes = Shell::new("bytes", Widths::BYTES, Probe::default());
    let dwords = Shell::new("dwords", Widths::DWORDS, Probe::default());
    let (ports, mmio) = (Arc::new(PortBus::default()), Arc::new(MmioBus::default()));
    ports.attach("bytes", 0x60, 8, bytes.clone()).unwrap();
    mmio.attach("dwords", 0xfec0_0000, 0x20, dwords.clone())
        .unwrap();

    let (mut ports, mut mmio) = (ports.view(), mmio.view());
    ports.write(0x62, &[1, 2]);
    assert_eq!(seen(&bytes), [(2, vec![1]), (3, vec![2])]);
    let mut data = [0; 4];
    ports.read(0x64, &mut data);
    assert_eq!(data, [4, 5, 6, 0xff], "offset 7 refuses, and reads ones");
    assert_eq!(
        (bytes.counts().errors, bytes.counts().last_error),
        (1, Some((7, AccessError::NoRegister)))
    );

    mmio.read(0xfec0_0010, &mut data);
    assert_eq!(data, [0x5a; 4]);
    mmio.read(0xfec0_0010, &mut data[..2]);
    mmio.write(0xfec0_0010, &[1]);
    assert_eq!(data, [0xff, 0xff, 0x5a, 0x5a]);
    assert_eq!(seen(&dwords).len(), 1);
    assert_eq!(
        (dwords.counts().errors, dwords.counts().last_error),
        (2, Some((0x10, AccessError::Width)))
    );
}

#[test]
fn routes_are_found_refused_and_replaced() {
    let bus = Arc::new(PortBus::default());
    let shell = || Shell::new("probe", Widths::ANY, Probe::default());
    bus.attach("serial", 0x3f8, 8, shell()).unwrap();
    bus.attach("top", 0xfff8, 8, shell()).unwrap();
    let error = bus.attach("other", 0x3f0, 16, shell()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "other at 0x3f0..=0x3ff overlaps serial at 0x3f8..=0x3ff"
    );
    for (base, size) in [(0xfff9, 8), (0, 0), (0, 0x1_0001)] {
        let wanted = RouteError::Range(BadRange {
            name: "bad",
            base,
            size,
        });
        assert_eq!(bus.attach("bad", base, size, shell()).unwrap_err(), wanted);
    }

    let mut vcpu = bus.view();
    let mut data = [0; 2];
    vcpu.read(0x3ff, &mut data);
    assert_eq!(
        (data, bus.unclaimed()),
        ([0xff, 0xff], 1),
        "offset 7 refuses, 0x400 is nobody's"
    );
    vcpu.read(0x3f9, &mut data);
    assert_eq!(data, [1, 1]);
    assert!(bus.detach(0x3f8));
    assert!(!bus.detach(0x3f8));
    vcpu.read(0x3f9, &mut data);
    assert_eq!(
        (data, bus.unclaimed()),
        ([0xff, 0xff], 2),
        "a view sees a change at once"
    );
    bus.attach("other", 0x3f0, 16, shell()).unwrap();
    vcpu.read(0x3f9, &mut data);
    assert_eq!(data, [9, 9]);
    vcpu.read(0x3f9, &mut []);
}

#[test]
fn memory_space_has_a_last_byte() {
    let bus = Arc::new(MmioBus::default());
    bus.attach(
        "last",
        u64::MAX,
        1,
        Shell::new("last", Widths::ANY, Probe::default()),
    )
    .unwrap();
    let mut data = [0; 4];
    bus.view().read(u64::MAX, &mut data);
    assert_eq!(
        data,
        [0x5a, 0xff, 0xff, 0xff],
        "no wrap-around to address 0 hits a device"
    );
    bus.view().write(u64::MAX, &[0; 8]);
    assert_eq!(bus.unclaimed(), 2);
}

#[test]
fn a_wire_is_high_while_one_line_is() {
    let host = TestHost::new();
    let wire = Wire::new(host.clone());
    let (mut one, mut two) = (wire.line(), wire.line());
    one.set_level(true);
    one.set_level(true);
    two.set_level(true);
    one.set_level(false);
    assert_eq!(host.levels.take(), [true]);
    drop(two);
    assert_eq!(host.levels.take(), [false], "a dropped line is low");
    one.pulse();
    assert_eq!(host.levels.take(), [true, false]);
    Line::detached().pulse();
}

#[test]
fn a_restored_level_makes_no_edge() {
    #[derive(Default)]
    struct End(Recorder<(&'static str, bool)>);
    impl LineEnd for End {
        fn set_level(&self, level: bool) {
            self.0.note(("edge", level));
        }
        fn restore_level(&self, level: bool) {
            self.0.note(("restored", level));
        }
    }
    let end = Arc::new(End::default());
    let mut line = Wire::new(end.clone()).line();
    line.restore_level(true);
    line.set_level(true);
    line.set_level(false);
    assert_eq!(end.0.take(), [("restored", true), ("edge", false)]);
}

#[test]
fn rates_are_exact() {
    let day = GuestTime(86_400 * 1_000_000_000);
    assert_eq!(day.ticks(105_000_000, 88), 86_400 * 105_000_000 / 88);
    assert_eq!(GuestTime(u64::MAX).after_ns(1), GuestTime(u64::MAX));
    assert_eq!(
        GuestTime(5).ticks(1, 0),
        0,
        "a rate over nothing does not divide by it"
    );
}

#[test]
fn saved_state_comes_back_whole_or_not_at_all() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct StateV1 {
        a: u32,
        b: Vec<u8>,
    }
    let state = StateV1 {
        a: 0x1234_5678,
        b: vec![1, 2, 3],
    };
    let saved = SavedState::encode("probe", 1, &state);
    assert_eq!(saved.decode::<StateV1>("probe", 1), Ok(state));
    assert_eq!(
        saved.decode::<StateV1>("other", 1),
        Err(RestoreError::Kind {
            wanted: "other",
            found: "probe"
        })
    );
    assert_eq!(
        saved.decode::<StateV1>("probe", 2),
        Err(RestoreError::Version {
            kind: "probe",
            found: 1,
            newest: 2
        })
    );
    for data in [
        &saved.data[..saved.data.len() - 1],
        &[saved.data.as_slice(), &[0]].concat(),
    ] {
        let broken = SavedState {
            data: data.to_vec(),
            ..saved
        };
        assert_eq!(
            broken.decode::<StateV1>("probe", 1),
            Err(RestoreError::Decode { kind: "probe" })
        );
    }
}

#[test]
fn a_device_in_its_shell_plugs_into_vm_device() {
    use vm_device::device_manager::{IoManager, PioManager};
    let shell = Shell::new("probe", Widths::BYTES, Probe::default());
    let mut foreign = IoManager::new();
    foreign
        .register_pio(PioRange::new(PioAddress(0x10), 4).unwrap(), shell.clone())
        .unwrap();
    foreign.pio_write(PioAddress(0x11), &[7]).unwrap();
    assert_eq!(seen(&shell), [(1, vec![7])]);
}

/// Counts its resets; its state is the count.
#[derive(Default)]
struct Resets(u8);

impl Component for Resets {
    fn reset(&mut self) {
        self.0 += 1;
    }

    fn save(&self) -> SavedState {
        SavedState::encode("resets", 1, &self.0)
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        self.0 = state.decode("resets", 1)?;
        Ok(())
    }
}

impl PortDevice for Resets {
    fn read(&mut self, _offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        data.fill(self.0);
        Ok(())
    }

    fn write(&mut self, _offset: u16, _data: &[u8]) -> Result<(), AccessError> {
        Err(AccessError::ReadOnly)
    }
}

#[test]
fn slots_keep_the_order_of_chips_with_and_without_an_address() {
    let mut slots = Slots::new(TestHost::new().as_host());
    let first = slots.unaddressed("first", Resets(10));
    let second = slots
        .pio("second", 0x20, 1, Widths::BYTES, Resets(20))
        .unwrap();
    slots.pio_alias(0xa0, 1, &second).unwrap();
    assert!(
        slots
            .pio("third", 0xa0, 1, Widths::BYTES, Resets(30))
            .is_err()
    );
    let fitted = slots.finish();

    let names: Vec<_> = fitted.components.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["first", "second"], "what does not fit is not there");
    let saved: Vec<_> = fitted
        .components
        .iter()
        .map(|(_, chip)| chip.save())
        .collect();
    fitted.components.iter().for_each(|(_, chip)| chip.reset());
    let mut data = [0; 1];
    fitted.ports.view().read(0xa0, &mut data);
    assert_eq!((first.with(|chip| chip.0), data), (11, [21]));
    for ((_, chip), state) in fitted.components.iter().zip(&saved) {
        chip.restore(state).unwrap();
    }
    fitted.ports.view().read(0x20, &mut data);
    assert_eq!((first.with(|chip| chip.0), data), (10, [20]));
}

/// A port whose reads count up, and that serves a string as a whole.
#[derive(Default)]
struct Data {
    next: u8,
    strings: Vec<(usize, usize)>,
}

impl PortDevice for Data {
    fn read(&mut self, offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        self.read_string(offset, data.len(), data)
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        self.write_string(offset, data.len(), data)
    }

    fn read_string(&mut self, at: u16, width: usize, data: &mut [u8]) -> Result<(), AccessError> {
        if at != 0 {
            return Err(AccessError::NoRegister);
        }
        self.strings.push((width, data.len()));
        data.fill_with(|| {
            self.next = self.next.wrapping_add(1);
            self.next
        });
        Ok(())
    }

    fn write_string(&mut self, _at: u16, width: usize, data: &[u8]) -> Result<(), AccessError> {
        self.strings.push((width, data.len()));
        Ok(())
    }
}

#[test]
fn a_string_is_one_access_of_a_device_that_takes_it() {
    let ports = Arc::new(PortBus::default());
    let words = Shell::new("words", Widths::new(&[1, 2], Unfit::Split), Data::default());
    let plain = Shell::new("plain", Widths::BYTES, Probe::default());
    ports.attach("words", 0x1f0, 8, words.clone()).unwrap();
    ports.attach("plain", 0x60, 8, plain.clone()).unwrap();
    let mut view = ports.view();

    let mut data = [0; 8];
    view.read_string(0x1f0, 2, &mut data);
    assert_eq!(data, [1, 2, 3, 4, 5, 6, 7, 8]);
    view.write_string(0x1f0, 2, &data);
    assert_eq!((words.counts().reads, words.counts().writes), (1, 1));
    view.read_string(0x1f1, 2, &mut data);
    assert_eq!(data, [0xff; 8]);
    assert_eq!(words.counts().errors, 1);
    // A width that the device does not take is split, so its string is one of accesses.
    view.read_string(0x1f0, 4, &mut data);
    let taken = words.with(|words| std::mem::take(&mut words.strings));
    assert_eq!(taken[..2], [(2, 8), (2, 8)]);
    assert_eq!(words.counts().reads, 4);

    view.read_string(0x61, 1, &mut data[..3]);
    assert_eq!((&data[..3], seen(&plain).len()), (&[1, 1, 1][..], 3));
    view.write_string(0x61, 1, &[1, 2]);
    assert_eq!(seen(&plain), [(1, vec![1]), (1, vec![2])]);
    view.read_string(0x100, 2, &mut data);
    assert_eq!(data, [0xff; 8]);
    view.write_string(0x100, 2, &data);
    assert_eq!(ports.unclaimed(), 8);
}
