//! Standard streams that are no terminal, and readers that do not read.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use trivisor_tests::{Session, bare_metal, kvm_wanted, trivisor};

/// Their answers are more than a socket and the pipes before it hold.
const REQUESTS: usize = 500;

fn command(options: &[&str]) -> Command {
    let mut command = Command::new(trivisor());
    command.args(["run", "--kernel", bare_metal().to_str().unwrap()]);
    command.args(["--cmdline-only", "-- serial; poweroff"]);
    command.args(options);
    command
}

/// Has the guest write more than fits, on a socket.
fn flood(options: &[&str]) -> (Child, UnixStream) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut child = command(options)
        .stdin(Stdio::piped())
        .stdout(OwnedFd::from(theirs))
        .spawn()
        .unwrap();
    let mut greeting = Vec::new();
    while !greeting.ends_with(b"ok serial\n") {
        let mut byte = [0];
        ours.read_exact(&mut byte).unwrap();
        greeting.extend(byte);
    }
    let requests = "help\n".repeat(REQUESTS) + "end\n";
    let stdin = child.stdin.as_mut().unwrap();
    stdin.write_all(requests.as_bytes()).unwrap();
    (child, ours)
}

#[test]
fn input_that_comes_at_once_arrives_whole() {
    if !kvm_wanted("much input") {
        return;
    }
    for sandbox in ["default", "off"] {
        let mut vm = Session::spawn(&mut command(&["--sandbox", sandbox, "--timeout", "600"]));
        vm.expect("ok serial");
        // More than one read takes, and the input stays open.
        let lines: String = (0..700)
            .map(|number| format!("echo {number:04}\n"))
            .collect();
        vm.type_bytes(lines.as_bytes());
        vm.expect("ok echo 0699");
        vm.type_line("end");
        let ended = vm.wait();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    }
}

#[test]
fn a_socket_gets_all_output() {
    if !kvm_wanted("output to a socket") {
        return;
    }
    let (mut child, mut socket) = flood(&["--timeout", "600"]);
    let mut output = String::new();
    socket.read_to_string(&mut output).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(output.matches("ok help").count(), REQUESTS);
    assert!(output.trim_end().ends_with("ok poweroff"));
}

#[test]
fn a_reader_that_does_not_read_holds_up_no_end() {
    if !kvm_wanted("unread output") {
        return;
    }
    // Long enough for the guest to fill everything up.
    let start = |sandbox| flood(&["--sandbox", sandbox, "--timeout", "10"]);
    for (mut child, socket) in [start("default"), start("off")] {
        assert_eq!(child.wait().unwrap().code(), Some(124));
        drop(socket);
    }
}
