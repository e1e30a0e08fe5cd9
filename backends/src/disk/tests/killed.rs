//! A process that is killed in the middle of its work: what a flush acknowledged is there, and the image is sound.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use trivisor_buses::StorageOp;

use super::images::rig;
use super::manage::qemu;
use super::{pattern, segment};
use crate::disk::{Format, OpenOptions, create};

/// The name of the test that is run again in the child.
const KILLED: &str = "disk::tests::killed::what_was_flushed_outlives_the_process";

const BLOCK: u64 = 12 << 10;
const BLOCKS: u64 = 2000;

fn options(read_only: bool) -> OpenOptions {
    OpenOptions {
        read_only,
        ..OpenOptions::default()
    }
}

/// Where the write of a round goes: all over the disk, each block once.
const fn place(round: u64) -> u64 {
    round * 1009 % BLOCKS * BLOCK
}

fn contents(round: u64) -> Vec<u8> {
    pattern(12 << 10, u8::try_from(round % 200 + 1).unwrap())
}

/// Writes, gives back and flushes until it is killed; says what was flushed.
fn write(path: &Path) -> ! {
    let mut rig = rig(path, &options(false));
    let mut round = 0;
    loop {
        for _ in 0..3 {
            rig.ram.write(0, &contents(round));
            let block = [segment(0, 12 << 10)];
            rig.transfer(StorageOp::Write, place(round), &block)
                .unwrap();
            round += 1;
        }
        // Storage that is given back and used again is what tables have to agree on.
        let unmap = StorageOp::WriteZeroes { unmap: true };
        let above = BLOCKS * BLOCK;
        rig.range(unmap, above, 1 << 20).unwrap();
        rig.transfer(StorageOp::Write, above, &[segment(0, 1 << 20)])
            .unwrap();
        rig.range(StorageOp::Flush, 0, 0).unwrap();
        println!("FLUSHED {round}");
        assert!(round < BLOCKS - 3, "nobody killed this process");
    }
}

#[test]
fn what_was_flushed_outlives_the_process() {
    if let Some(path) = std::env::var_os("TRIVISOR_TEST_KILLED") {
        write(Path::new(&path));
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.qcow2");
    let has_qemu = qemu("qemu-img", &[Path::new("--version")]).is_some();
    for kill_after in [1, 2, 3, 5, 8, 13, 21, 34] {
        let _first = std::fs::remove_file(&path);
        create(&path, Format::Qcow2, Some(64 << 20), None).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", KILLED, "--nocapture"])
            .env("TRIVISOR_TEST_KILLED", &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut flushed = 0;
        let mut seen = 0;
        for line in lines {
            if let Some(round) = line.unwrap().strip_prefix("FLUSHED ") {
                flushed = round.parse().unwrap();
                seen += 1;
                // It goes on while this is being done; what it says meanwhile is read as well.
                if seen == kill_after {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert!(seen >= kill_after);
        check(&path, flushed, has_qemu);
    }
}

fn check(path: &Path, flushed: u64, has_qemu: bool) {
    let mut rig = rig(path, &options(true));
    for round in 0..flushed {
        rig.transfer(StorageOp::Read, place(round), &[segment(0, 12 << 10)])
            .unwrap();
        assert!(
            rig.memory(0, 12 << 10) == contents(round),
            "round {round} of {flushed}"
        );
    }
    drop(rig);
    if has_qemu {
        qemu_finds_sound(path);
    }
}

/// It fails for corruption with status 2, for leaks with 3, which are allowed.
pub(in crate::disk) fn qemu_finds_sound(path: &Path) {
    let checked = "qemu-img check \"$0\"; status=$?; [ $status = 3 ] || exit $status";
    let script = [Path::new("-c"), Path::new(checked), path];
    let _text = qemu("sh", &script).unwrap();
}
