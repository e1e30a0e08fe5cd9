//! Firmware configuration, with the files that QEMU has.

use trivisor_devices_hvm::fw_cfg::{self, FwCfg, Items, regs::key};

use crate::ours::Ours;
use crate::qemu::Qemu;
use crate::script::{Machine, compare};

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;

/// The first bytes of an item.
fn item(qemu: &mut Qemu, key: u16, len: usize) -> Vec<u8> {
    qemu.port_write(SELECTOR, 2, key.into());
    let byte = |qemu: &mut Qemu| u8::try_from(qemu.port_read(DATA, 1)).unwrap();
    (0..len).map(|_| byte(qemu)).collect()
}

/// QEMU's files, by its directory: name, key, bytes.
fn files(qemu: &mut Qemu) -> Vec<(String, u16, Vec<u8>)> {
    const ENTRY: usize = 64;
    let count = item(qemu, key::FILE_DIR, 4);
    let count = usize::try_from(u32::from_be_bytes(count.try_into().unwrap())).unwrap();
    let directory = item(qemu, key::FILE_DIR, 4 + count * ENTRY);
    let entries = directory[4..].chunks(ENTRY).map(|entry| {
        let size = u32::from_be_bytes(entry[..4].try_into().unwrap());
        let key = u16::from_be_bytes(entry[4..6].try_into().unwrap());
        let name = entry[8..].split(|byte| *byte == 0).next().unwrap();
        let name = String::from_utf8(name.to_vec()).unwrap();
        (name, key, usize::try_from(size).unwrap())
    });
    let entries: Vec<_> = entries.collect();
    let bytes = |(name, key, size)| (name, key, item(qemu, key, size));
    entries.into_iter().map(bytes).collect()
}

#[test]
fn firmware_configuration_behaves_as_qemus() {
    let file = "name=opt/trivisor/test,string=ABCDEFGHIJ";
    let mut theirs = Qemu::start(&["-fw_cfg", file]);
    let files = files(&mut theirs);
    let mut items = Items::default()
        .with(key::RAM_SIZE, &(16_u64 << 20).to_le_bytes())
        .with(key::NB_CPUS, &[1, 0])
        .with(key::MAX_CPUS, &[1, 0])
        .with(key::NO_GRAPHIC, &[1, 0])
        .with(key::BOOT_MENU, &[0, 0]);
    for (name, _, bytes) in &files {
        items = items.with_file(name, bytes).unwrap();
    }
    let mut ours = Ours::new(|host, slots, _| {
        let chip = FwCfg::new(&items, host.clone());
        slots
            .pio("fw-cfg", SELECTOR, fw_cfg::PORTS, fw_cfg::WIDTHS, chip)
            .unwrap();
    });
    let test = files.iter().find(|file| file.0 == "opt/trivisor/test");
    let (_, key, bytes) = test.unwrap();
    assert_eq!(bytes, b"ABCDEFGHIJ");
    let directory = 4 + 64 * files.len();
    let script = include_str!("fw_cfg.txt")
        .replace("FILE", &format!("{key:04x}"))
        .replace("DIRECTORY", &format!("{directory:08x}"));
    let run = compare(&script, &mut ours, &mut theirs);
    assert!(run.steps >= 30, "{} steps", run.steps);
    eprintln!(
        "firmware configuration: {} steps, {} differences",
        run.steps, run.differences
    );
}
