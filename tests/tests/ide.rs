//! A PC's IDE disks, by bus master and interrupt, with a kernel that needs no firmware.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;

use trivisor_tests::{Session, kvm_wanted};

/// Accesses to ports that the guest's driver makes for each command, reads and writes; with QEMU, each is an exit.
const ACCESSES: u64 = 14;

const SECTOR: usize = 512;
const SECTORS: usize = 4096;

/// Each sector is full of its number, as a byte.
fn image() -> Vec<u8> {
    (0..SECTORS)
        .flat_map(|sector| [sector.to_le_bytes()[0]; SECTOR])
        .collect()
}

#[test]
fn a_driver_reads_and_writes_by_dma() {
    if !kvm_wanted("IDE by DMA") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let paths = ["first.img", "second.img"].map(|name| folder.path().join(name));
    for path in &paths {
        fs::write(path, image()).unwrap();
    }
    let disks = paths
        .each_ref()
        .map(|path| format!("{},bus=ide", path.display()));
    let script = "ide 0 info; ide 0 read 7 1; ide 0 read 16 256; ide 0 verify 1000 9; \
        ide 1 write 3 2 0xc3; ide 1 flush; ide 1 load write 131072 1 ops 40; ide 1 load read 4096 1 ops 200; \
        ide 1 write 4095 1 0x3c; ide 2 info; poweroff";
    let mut vm = Session::guest(
        script,
        &["--mode", "hvm", "--disk", &disks[0], "--disk", &disks[1]],
    );
    vm.expect("ok ide sectors=4096 lba48=true");
    vm.expect("ok ide read=1 at=7 first=0x7 sum=3584");
    // All values of a byte, 512 times each.
    vm.expect("ok ide read=256 at=16 first=0x10 sum=16711680");
    vm.expect("ok ide verified=9 at=1000");
    vm.expect("ok ide written=2 at=3");
    vm.expect("ok ide flushed");
    vm.expect("ok ide load=write bytes=131072 depth=1 operations=40");
    vm.expect("ok ide load=read bytes=4096 depth=1 operations=200");
    vm.expect("ok ide written=1 at=4095");
    // Nothing is on the second cable.
    vm.expect("err ide absent disk");
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);

    let first = fs::read(&paths[0]).unwrap();
    let mut expected = image();
    let words = (1000 * SECTOR as u64 / 8..).flat_map(u64::to_le_bytes);
    let places = &mut expected[1000 * SECTOR..1009 * SECTOR];
    places
        .iter_mut()
        .zip(words)
        .for_each(|(place, byte)| *place = byte);
    assert!(first == expected, "the first disk's image");
    // The load wrote at random places, all of them full of one byte.
    let second = fs::read(&paths[1]).unwrap();
    assert_eq!(second[4095 * SECTOR..], [0x3c; SECTOR]);
    let mut sectors = second.chunks(SECTOR);
    let written = sectors
        .by_ref()
        .filter(|sector| **sector == [0x5a; SECTOR])
        .count();
    // A command's at least, but what was written since.
    assert!(written >= 255, "{written}");
}

/// Exits to the VMM of a guest that has a disk read so often.
fn exits(reads: u64) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    fs::write(&path, image()).unwrap();
    let disk = format!("{},bus=ide", path.display());
    let metrics = folder.path().join("metrics.json");
    let script = format!("ide 0 load read 4096 1 ops {reads}; poweroff");
    let options = ["--mode", "hvm", "--disk", &disk, "--metrics"];
    let vm = Session::guest(
        &script,
        &[&options[..], &[metrics.to_str().unwrap()]].concat(),
    );
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    let metrics: serde_json::Value = serde_json::from_slice(&fs::read(metrics).unwrap()).unwrap();
    metrics["counters"]["user_exits"].as_u64().unwrap()
}

#[test]
fn half_of_a_commands_accesses_are_no_exits() {
    const MORE: u64 = 1000;
    if !kvm_wanted("IDE's exits") {
        return;
    }
    let [few, many] = [200, 200 + MORE].map(exits);
    // A few come of interruptions.
    let most = (ACCESSES / 2) * MORE + MORE / 4;
    assert!(
        many - few <= most,
        "{} exits for {MORE} commands, at most {most} were the aim: writes that were posted are so no more",
        many - few
    );
}
