use std::sync::{Arc, Mutex};

use trivisor_buses::testing::{TestHost, check_golden, check_ports};
use trivisor_buses::{CharInput, CharOutput, Component, PortDevice, RestoreError, Shell, Widths};

use super::*;

/// An output that takes so many bytes and then no more.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<(Vec<u8>, usize)>>);

impl CharOutput for Wire {
    fn write(&mut self, bytes: &[u8]) -> usize {
        let (seen, room) = &mut *self.0.lock().unwrap();
        let taken = bytes.len().min(*room);
        seen.extend_from_slice(&bytes[..taken]);
        *room -= taken;
        taken
    }
}

impl Wire {
    fn with_room(room: usize) -> Self {
        Self(Arc::new(Mutex::new((Vec::new(), room))))
    }

    fn seen(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
    }

    fn make_room(&self, room: usize) {
        self.0.lock().unwrap().1 = room;
    }
}

fn uart(room: usize) -> (Uart, Wire, Arc<TestHost>) {
    let (host, wire) = (TestHost::new(), Wire::with_room(room));
    (
        Uart::new(host.line(), Some(Box::new(wire.clone()))),
        wire,
        host,
    )
}

#[test]
fn reset_values_are_those_of_the_table() {
    let (mut uart, ..) = uart(0);
    check_ports(
        &mut uart,
        "r 0 -> 00\n r 1 -> 00\n r 2 -> 01\n r 3 -> 00\n r 4 -> 00\n r 5 -> 60\n r 6 -> b0\n r 7 -> 00",
    );
    check_ports(
        &mut uart,
        "w 3 80\n r 0 -> 0c\n r 1 -> 00\n r 8 -> error\n w 5 00 -> error\n w 6 00 -> error",
    );
}

#[test]
fn divisor_stands_behind_dlab() {
    let (mut uart, wire, _) = uart(9);
    check_ports(
        &mut uart,
        "w 3 83\n w 0 01\n w 1 02\n r 0 -> 01\n r 1 -> 02\n w 3 03\n r 3 -> 03\n w 0 41\n r 1 -> 00",
    );
    assert_eq!(wire.seen(), "A");
}

#[test]
fn scratch_and_line_control_keep_what_is_written() {
    let (mut uart, ..) = uart(0);
    check_ports(
        &mut uart,
        "w 7 a5\n r 7 -> a5\n w 3 7f\n r 3 -> 7f\n w 4 ff\n r 4 -> 1f\n w 1 ff\n r 1 -> 0f",
    );
}

#[test]
fn bytes_leave_at_once_and_interrupt() {
    let (mut uart, wire, host) = uart(9);
    check_ports(&mut uart, "w 2 01\n w 1 02\n r 2 -> c2\n r 2 -> c1");
    assert_eq!(host.levels.take(), [true, false]);
    check_ports(
        &mut uart,
        "w 0 48\n w 0 69\n r 5 -> 60\n r 2 -> c2\n r 2 -> c1",
    );
    assert_eq!(
        (wire.seen().as_str(), host.levels.take()),
        ("Hi", vec![true, false, true, false]),
        "each byte makes an edge"
    );
}

#[test]
fn a_slow_outside_leaves_the_transmitter_busy() {
    let (uart, wire, host) = uart(1);
    let shell = Shell::new("uart", Widths::BYTES, uart);
    shell.with(|uart| {
        check_ports(
            uart,
            "w 2 01\n w 1 02\n r 2 -> c2\n w 0 61\n w 0 62\n w 0 63\n r 5 -> 00\n r 2 -> c1",
        )
    });
    host.levels.take();
    wire.make_room(1);
    UartInput(shell.clone()).output_ready();
    assert_eq!(
        (wire.seen().as_str(), host.levels.take()),
        ("ab", vec![]),
        "not empty yet"
    );
    wire.make_room(99);
    UartInput(shell.clone()).output_ready();
    assert_eq!(
        (wire.seen().as_str(), host.levels.take()),
        ("abc", vec![true])
    );
    shell.with(|uart| check_ports(uart, "r 5 -> 60\n r 2 -> c2"));
}

#[test]
fn a_full_transmitter_loses_bytes_and_nothing_else() {
    let (mut uart, wire, _) = uart(0);
    check_ports(&mut uart, "w 2 01");
    for _ in 0..100 {
        check_ports(&mut uart, "w 0 78");
    }
    wire.make_room(999);
    uart.drain();
    assert_eq!(wire.seen().len(), FIFO_SIZE);
}

#[test]
fn received_bytes_interrupt_by_trigger_or_time_out() {
    let (uart, _, host) = uart(0);
    let shell = Shell::new("uart", Widths::BYTES, uart);
    let input = UartInput(shell.clone());
    shell.with(|uart| check_ports(uart, "w 2 41\n w 1 01")); // trigger at 4
    assert_eq!((input.room(), input.push(b"abc")), (16, 3));
    assert_eq!(host.levels.take(), [true]);
    shell.with(|uart| check_ports(uart, "r 2 -> cc\n r 5 -> 61"));
    assert_eq!(
        input.push(b"defghijklmnopqrstuvw"),
        13,
        "the FIFO has 16 places"
    );
    shell.with(|uart| check_ports(uart, "r 2 -> c4\n r 0 -> 61\n r 0 -> 62"));
    assert_eq!(input.room(), 2);
    shell.with(|uart| check_ports(uart, "w 2 43\n r 5 -> 60\n r 0 -> 00\n r 2 -> c1")); // cleared
    assert_eq!(host.levels.take(), [false]);
}

#[test]
fn without_fifos_one_byte_is_kept() {
    let (uart, ..) = uart(0);
    let shell = Shell::new("uart", Widths::BYTES, uart);
    let input = UartInput(shell.clone());
    assert_eq!((input.push(b"ab"), input.room()), (1, 0));
    shell.with(|uart| check_ports(uart, "w 1 01\n r 2 -> 04\n r 0 -> 61\n r 2 -> 01"));
}

#[test]
fn loopback_connects_the_chip_to_itself() {
    let (uart, wire, _) = uart(9);
    let shell = Shell::new("uart", Widths::BYTES, uart);
    shell.with(|uart| {
        check_ports(
            uart,
            "w 2 01\n w 4 10\n r 6 -> 0b\n r 6 -> 00\n w 0 5a\n r 5 -> 61\n r 0 -> 5a",
        )
    });
    assert_eq!(
        (wire.seen().as_str(), UartInput(shell.clone()).room()),
        ("", 0)
    );
    // DTR to DSR, RTS to CTS, OUT1 to RI, OUT2 to DCD, with their deltas; RI reports its end.
    shell.with(|uart| check_ports(uart, "w 4 1f\n r 6 -> fb\n w 4 1b\n r 6 -> b4\n r 6 -> b0"));
    shell.with(|uart| check_ports(uart, "w 1 08\n w 4 13\n r 2 -> c0\n r 6 -> 38\n r 2 -> c1"));
}

#[test]
fn an_overrun_is_told_once() {
    let (mut uart, _, host) = uart(0);
    check_ports(
        &mut uart,
        "w 4 10\n w 1 04\n w 0 01\n w 0 02\n r 2 -> 06\n r 5 -> 63\n r 5 -> 61\n r 2 -> 01\n r 0 -> 01",
    );
    assert_eq!(host.levels.take(), [true, false]);
}

#[test]
fn state_comes_back_without_an_edge() {
    let (mut first, ..) = uart(0);
    check_ports(
        &mut first,
        "w 3 80\n w 0 01\n w 3 03\n w 2 81\n w 1 03\n w 7 77\n w 4 0b\n w 0 41\n w 0 42",
    );
    first.chip.receive(0x55);
    let saved = first.save();
    let (mut second, _, host) = uart(0);
    second.restore(&saved).unwrap();
    assert_eq!(
        (second.chip.clone(), host.levels.take()),
        (first.chip.clone(), vec![])
    );
    assert_eq!(second.save(), saved);
    check_ports(&mut second, "r 2 -> cc\n r 0 -> 55\n r 5 -> 00\n r 7 -> 77");
    second.reset();
    check_ports(&mut second, "r 5 -> 60\n r 7 -> 00");
}

#[test]
fn reserved_bits_that_a_guest_writes_are_not_kept() {
    let (mut first, ..) = uart(0);
    check_ports(
        &mut first,
        "w 1 ff\n w 2 ff\n w 4 ff\n r 1 -> 0f\n r 4 -> 1f",
    );
    let (mut second, ..) = uart(0);
    second.restore(&first.save()).unwrap();
    assert_eq!(second.chip, first.chip);
}

#[test]
fn impossible_state_is_refused_field_by_field() {
    let good = UartStateV1::from(&Uart16550::default());
    let broken = [
        (
            "ier",
            UartStateV1 {
                ier: 0x10,
                ..good.clone()
            },
        ),
        (
            "fcr",
            UartStateV1 {
                fcr: 0x03,
                ..good.clone()
            },
        ),
        (
            "fcr",
            UartStateV1 {
                fcr: 0x80,
                ..good.clone()
            },
        ),
        (
            "mcr",
            UartStateV1 {
                mcr: 0x20,
                ..good.clone()
            },
        ),
        (
            "msr_deltas",
            UartStateV1 {
                msr_deltas: 0x10,
                ..good.clone()
            },
        ),
        (
            "receiver",
            UartStateV1 {
                receiver: vec![0; 2],
                ..good.clone()
            },
        ),
        (
            "transmitter",
            UartStateV1 {
                fcr: 1,
                transmitter: vec![0; 17],
                ..good.clone()
            },
        ),
    ];
    for (name, state) in broken {
        let (mut uart, ..) = uart(0);
        let error = uart
            .restore(&SavedState::encode(state::KIND, 1, &state))
            .unwrap_err();
        assert!(
            matches!(error, RestoreError::Field { field, .. } if field == name),
            "{name}: {error}"
        );
        assert_eq!(uart.chip, Uart16550::default(), "{name}: untouched");
    }
}

#[test]
fn version_1_stays_loadable() {
    let (mut uart, ..) = uart(0);
    check_golden(&mut uart, state::KIND, 1, "0103810 30b7700000101550 24142");
    check_ports(
        &mut uart,
        "r 1 -> 03\n r 3 -> 03\n r 4 -> 0b\n r 7 -> 77\n r 0 -> 55",
    );
}

#[test]
fn two_bytes_at_once_are_no_access_of_this_chip() {
    let (mut uart, ..) = uart(0);
    assert!(PortDevice::write(&mut uart, 0, &[1, 2]).is_err());
    assert!(PortDevice::read(&mut uart, 0, &mut [1, 2]).is_err());
}
