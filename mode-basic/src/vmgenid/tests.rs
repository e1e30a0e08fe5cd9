use trivisor_buses::testing::{TestHost, check_golden};

use super::*;

const ADDRESS: u64 = 0x9_fc00;

fn seen(host: &TestHost) -> [u8; regs::SIZE] {
    let mut bytes = [0; regs::SIZE];
    host.memory.read(ADDRESS, &mut bytes).unwrap();
    bytes
}

#[test]
fn start_reset_and_restore_write_the_id() {
    let host = TestHost::new();
    let mut device = Vmgenid::new(ADDRESS, [0xa5; 16], host.clone());
    assert_eq!(seen(&host), [0; 16], "nothing happens before the start");
    let saved = device.save();
    let writes: [&dyn Fn(&mut Vmgenid); 3] = [&Vmgenid::start, &Vmgenid::reset, &|device| {
        device.restore(&saved).unwrap()
    }];
    for write in writes {
        host.memory.write(ADDRESS, &[0; 16]).unwrap();
        write(&mut device);
        assert_eq!(seen(&host), [0xa5; 16]);
    }
}

#[test]
fn only_its_own_bytes_are_written() {
    let host = TestHost::new();
    Vmgenid::new(ADDRESS, [0xff; 16], host.clone()).start();
    let mut around = [0; 32];
    host.memory.read(ADDRESS - 8, &mut around).unwrap();
    assert_eq!(around[..8], [0; 8]);
    assert_eq!(around[24..], [0; 8]);
}

#[test]
fn a_renewed_machine_has_another_id() {
    let host = TestHost::new();
    let mut device = Vmgenid::new(ADDRESS, [1; 16], host.clone());
    device.start();
    let saved = device.save();
    device.renew([2; 16]);
    assert_eq!(seen(&host), [1; 16]);
    device.restore(&saved).unwrap();
    assert_eq!(seen(&host), [2; 16]);
}

#[test]
fn a_guid_stands_in_memory_as_windows_has_it() {
    // The example of QEMU's docs/specs/vmgenid.rst.
    let id = GenerationId::parse("324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87").unwrap();
    assert_eq!(
        id.0,
        [
            0xaf, 0x6e, 0x4e, 0x32, 0xd1, 0xd1, 0xf6, 0x4b, 0xbf, 0x41, 0xb9, 0xbb, 0x6c, 0x91,
            0xfb, 0x87
        ]
    );
    for wrong in [
        "",
        "324e6eaf",
        "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb8",
        "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb8g",
        "+24e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87",
        "324e6eafd-1d1-4bf6-bf41-b9bb6c91fb87",
        "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87-",
    ] {
        assert_eq!(GenerationId::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn its_state_is_empty() {
    let host = TestHost::new();
    let mut device = Vmgenid::new(ADDRESS, [1; 16], host.clone());
    check_golden(&mut device, state::KIND, 1, "");
    let longer = SavedState {
        kind: state::KIND,
        version: 1,
        data: vec![0],
    };
    host.memory.write(ADDRESS, &[0; 16]).unwrap();
    assert!(device.restore(&longer).is_err());
    assert_eq!(seen(&host), [0; 16], "untouched");
}
