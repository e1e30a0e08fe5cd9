use trivisor_buses::testing::{TestHost, check_golden, check_ports};

use super::regs::key;
use super::*;

fn device(host: &Arc<TestHost>) -> FwCfg {
    let items = Items::default()
        .with(key::NB_CPUS, &[2, 0])
        .with_file("etc/one", b"ABCDEF")
        .and_then(|items| items.with_file("bootorder", b"x\0"))
        .unwrap();
    FwCfg::new(&items, host.clone())
}

/// Puts a request into RAM at 0x1000 and lets the device carry it out; gives the control that it leaves.
fn request(device: &mut FwCfg, host: &TestHost, control: u32, length: u32, target: u64) -> u32 {
    let mut bytes = control.to_be_bytes().to_vec();
    bytes.extend(length.to_be_bytes());
    bytes.extend(target.to_be_bytes());
    host.memory.write(0x1000, &bytes).unwrap();
    // 0x1000, big-endian.
    check_ports(device, "w 4 00000000\n w 8 00100000");
    let mut answer = [0; 4];
    host.memory.read(0x1000, &mut answer).unwrap();
    u32::from_be_bytes(answer)
}

const READ: u32 = 1 << 1;
const SKIP: u32 = 1 << 2;
const SELECT: u32 = 1 << 3;
const WRITE: u32 = 1 << 4;
/// Files in the order of their names.
const BOOTORDER: u32 = 0x20 << 16;
const ONE: u32 = 0x21 << 16;

#[test]
fn items_are_read_byte_by_byte() {
    check_ports(
        &mut device(&TestHost::new()),
        "
        # The signature is selected at first.
        r 1 -> 51
        r 1 -> 45
        r 1 -> 4d
        r 1 -> 55
        r 1 -> 00
        w 0 0001
        r 1 -> 03
        r 1 -> 00
        w 0 0005
        r 1 -> 02
        w 0 0005
        r 1 -> 02
        # The directory: two files.
        w 0 0019
        r 1 -> 00
        r 1 -> 00
        r 1 -> 00
        r 1 -> 02
        # 2 bytes, key 0x20, then the name.
        r 1 -> 00
        r 1 -> 00
        r 1 -> 00
        r 1 -> 02
        r 1 -> 00
        r 1 -> 20
        r 1 -> 00
        r 1 -> 00
        r 1 -> 62
        w 0 0021
        r 1 -> 41
        r 1 -> 42
        # A write of data has no effect, not even a step.
        w 1 ff
        r 1 -> 43
        # No item.
        w 0 7777
        r 1 -> 00
        # What has no such width, or is no register.
        r 0 -> error
        w 0 00 -> error
        r 2 -> error
        w 3 00 -> error
        r 4 -> 554d4551
        r 8 -> 47464320
        w 4 0000 -> error
        ",
    );
}

#[test]
fn a_request_selects_reads_and_skips() {
    let host = TestHost::new();
    let mut device = device(&host);
    let mut answer = |control, length| {
        host.memory.write(0x2000, &[0xee; 8]).unwrap();
        let left = request(&mut device, &host, control, length, 0x2000);
        let mut data = [0; 8];
        host.memory.read(0x2000, &mut data).unwrap();
        (left, data)
    };
    assert_eq!(
        answer(ONE | SELECT | READ, 3),
        (0, *b"ABC\xee\xee\xee\xee\xee")
    );
    assert_eq!(answer(SKIP, 1), (0, [0xee; 8]));
    // On to the end, and zeros behind it.
    assert_eq!(answer(READ, 4), (0, *b"EF\0\0\xee\xee\xee\xee"));
    assert_eq!(
        answer(SELECT | READ | BOOTORDER, 2),
        (0, *b"x\0\xee\xee\xee\xee\xee\xee")
    );
    // Nothing to do.
    assert_eq!(answer(0, 100), (0, [0xee; 8]));
    assert_eq!(answer(SKIP, u32::MAX), (0, [0xee; 8]));
    assert_eq!(answer(SKIP, u32::MAX), (0, [0xee; 8]));
    assert_eq!(answer(READ, 1).1, *b"\0\xee\xee\xee\xee\xee\xee\xee");
}

#[test]
fn what_cannot_be_done_is_an_error() {
    let host = TestHost::new();
    let mut device = device(&host);
    assert_eq!(
        request(&mut device, &host, ONE | SELECT | WRITE, 2, 0x2000),
        1
    );
    // Not all RAM.
    assert_eq!(
        request(&mut device, &host, ONE | SELECT | READ, 4, 0xf_fffe),
        1
    );
    assert_eq!(request(&mut device, &host, SELECT | READ, u32::MAX, 0), 1);
    // A request that is nowhere.
    check_ports(&mut device, "w 4 00000001\n w 8 00000000\n w 8 ffffffff");
    check_ports(&mut device, "w 0 0021\n r 1 -> 41");
}

#[test]
fn files_have_names_that_the_directory_can_hold() {
    let with = |name: &str| Items::default().with_file(name, &[]);
    assert!(with(&"n".repeat(55)).is_ok());
    for name in ["", "a\0b", &"n".repeat(56)] {
        assert!(
            matches!(with(name), Err(FileError::Name { .. })),
            "{name:?}"
        );
    }
    let twice = with("a").and_then(|items| items.with_file("a", &[1]));
    assert!(matches!(twice, Err(FileError::Twice { .. })));
}

#[test]
fn state_comes_back_in_the_middle_of_an_item() {
    let host = TestHost::new();
    let mut device = device(&host);
    // Key 0x21, 2 bytes behind, high half 1.
    check_golden(&mut device, state::KIND, 1, "210201");
    check_ports(&mut device, "r 1 -> 43");
    // The high half still counts: the request is above all RAM, and nothing happens.
    check_ports(&mut device, "w 8 00100000\n r 1 -> 44");
    // A reset selects the signature, and forgets the high half: the request that follows is in RAM.
    check_ports(&mut device, "w 4 00000001");
    device.reset();
    check_ports(&mut device, "r 1 -> 51");
    host.memory.write(0x1000, &[0xff; 4]).unwrap();
    check_ports(&mut device, "w 8 00100000");
    let mut answer = [0; 4];
    host.memory.read(0x1000, &mut answer).unwrap();
    assert_eq!(answer, [0; 4], "it was carried out");
    // Any key and position is possible.
    let state = FwCfgStateV1 {
        key: 0xffff,
        position: u32::MAX,
        dma_high: u32::MAX,
    };
    let state = SavedState::encode(state::KIND, state::VERSION, &state);
    device.restore(&state).unwrap();
    check_ports(&mut device, "r 1 -> 00\n r 1 -> 00");
}
