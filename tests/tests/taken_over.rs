//! A VM process that its guest has taken over: the test speaks in its place, by its own end of the channel.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use trivisor_tests::{Session, kvm_wanted};

/// A running VM, the number of its VM process, and that process's end of the channel; `None` where this user
/// may not take it.
fn start(name: &str, options: &[&str]) -> Option<(Session, u32, OwnedFd)> {
    let mut vm = Session::guest("spin", &[&["--name", name], options].concat());
    vm.expect("ok spin");
    let id = vm.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    let child: u32 = children.trim().parse().unwrap();
    let descriptors = match fs::read_dir(format!("/proc/{child}/fd")) {
        Ok(descriptors) => descriptors,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return skip(),
        Err(error) => panic!("{error}"),
    };
    let channel = descriptors.map(Result::unwrap).find(|descriptor| {
        let target = fs::read_link(descriptor.path()).unwrap();
        target.to_string_lossy().starts_with("socket:")
    });
    let number = channel.unwrap().file_name().into_string().unwrap();
    let pid = Pid::from_raw(child.try_into().unwrap()).unwrap();
    let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    match pidfd_getfd(&process, number.parse().unwrap(), PidfdGetfdFlags::empty()) {
        Ok(channel) => Some((vm, child, channel)),
        Err(Errno::PERM) => skip(),
        Err(error) => panic!("{error}"),
    }
}

fn skip<T>() -> Option<T> {
    eprintln!("skipped without the right to trace processes");
    None
}

fn say(channel: &OwnedFd, packet: &[u8]) {
    send(channel, packet, SendFlags::NOSIGNAL).unwrap();
}

/// Gone, or a zombie of which somebody else takes note.
fn is_gone(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| stat.contains(") Z"))
        || !Path::new(&format!("/proc/{process}")).exists()
}

#[test]
fn one_that_talks_nonsense_is_killed() {
    if !kvm_wanted("nonsense from a VM process") {
        return;
    }
    let packets: [&[u8]; 4] = [
        &[0xff; 16],
        // More than any message has.
        &[2; 20_000],
        // It runs, once more.
        &[0],
        // An answer to nothing.
        &[2, 0],
    ];
    for packet in packets {
        let Some((vm, child, channel)) = start("test-nonsense", &[]) else {
            return;
        };
        say(&channel, packet);
        let ended = vm.wait();
        assert_eq!(ended.status.code(), Some(4), "{}", ended.output);
        assert!(
            ended.output.contains("said what none should say"),
            "{}",
            ended.output
        );
        assert!(is_gone(child));
    }
}

#[test]
fn one_that_tells_its_end_and_stays_is_killed() {
    if !kvm_wanted("a VM process that stays") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let metrics = folder.path().join("metrics");
    let options = ["--metrics", metrics.to_str().unwrap()];
    let Some((vm, child, channel)) = start("test-stays", &options) else {
        return;
    };
    // Powered off, with counters of 0 and more CPU time than fits beside ours.
    let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    say(
        &channel,
        &[&[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &most[..]].concat(),
    );
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    assert!(is_gone(child));
    let metrics = fs::read_to_string(metrics).unwrap();
    assert!(
        metrics.contains("\"cpu_ns\":18446744073709551615"),
        "{metrics}"
    );
}
