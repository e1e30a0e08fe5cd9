//! A running VM and the verbs that talk to it.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::process::{Command, Output};

use trivisor_tests::{Session, bare_metal, kvm_wanted, trivisor};

fn start(name: &str, script: &str) -> Session {
    let mut vm = Session::guest(script, &["--name", name]);
    vm.expect("ok ");
    vm
}

fn verb(arguments: &[&str]) -> Output {
    Command::new(trivisor()).args(arguments).output().unwrap()
}

/// Standard output of a verb that succeeds.
fn said(arguments: &[&str]) -> String {
    let output = verb(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn signal(vm: &Session, signal: &str) {
    let sent = Command::new("kill")
        .args([signal, &vm.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

#[test]
fn it_is_listed_paused_resumed_and_stopped() {
    if !kvm_wanted("life cycle") {
        return;
    }
    let name = "test-life";
    let mut vm = start(name, "serial; poweroff");
    assert!(said(&["ps"]).contains(name));
    assert!(said(&["ps", "--json"]).contains("\"name\": \"test-life\""));
    vm.type_line("echo before");
    vm.expect("ok echo before");
    said(&["pause", name]);
    assert!(said(&["info", name]).contains("paused"));
    vm.type_line("echo after");
    said(&["resume", name]);
    vm.expect("ok echo after");
    let info = said(&["info", name, "--json"]);
    assert!(info.contains("\"state\": \"running\""), "{info}");
    assert!(!info.contains("\"exits\": 0,"), "{info}");
    said(&["stop", "--force", name]);
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    let gone = verb(&["info", name]);
    assert_eq!(gone.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("no VM with the name"));
}

#[test]
fn a_name_is_taken_once() {
    if !kvm_wanted("names") {
        return;
    }
    let vm = start("test-twice", "serial; poweroff");
    let kernel = bare_metal();
    let second = verb(&[
        "run",
        "--name",
        "test-twice",
        "--kernel",
        kernel.to_str().unwrap(),
    ]);
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("is running"));
    said(&["stop", "--force", "test-twice"]);
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
}

#[test]
fn signals_and_time_end_it_with_their_status() {
    if !kvm_wanted("signals") {
        return;
    }
    for (number, status) in [("-INT", 130), ("-TERM", 143)] {
        for script in ["spin", "halt", "portloop 0x80"] {
            let vm = start("test-signal", script);
            signal(&vm, number);
            let ended = vm.wait();
            assert_eq!(
                ended.status.code(),
                Some(status),
                "{script}: {}",
                ended.output
            );
        }
    }
    let kernel = bare_metal();
    let late = verb(&[
        "run",
        "--kernel",
        kernel.to_str().unwrap(),
        "--cmdline-only",
        "-- spin",
        "--timeout",
        "1",
    ]);
    assert_eq!(late.status.code(), Some(124));
}

#[test]
fn the_vm_process_dies_with_its_control_process() {
    if !kvm_wanted("orphans") {
        return;
    }
    let vm = start("test-orphan", "spin");
    let children = format!("/proc/{0}/task/{0}/children", vm.id());
    let child = std::fs::read_to_string(children).unwrap().trim().to_owned();
    assert!(!child.is_empty());
    signal(&vm, "-KILL");
    let _killed = vm.wait();
    let process = format!("/proc/{child}/stat");
    for _ in 0..1000 {
        // Gone, or a zombie that nobody has reaped yet.
        match std::fs::read_to_string(&process) {
            Ok(stat) if !stat.contains(") Z") => std::thread::yield_now(),
            _ => return,
        }
        let _pause = Command::new("sleep").arg("0.01").status();
    }
    panic!("process {child} lives on");
}

#[test]
fn it_runs_in_the_background() {
    if !kvm_wanted("daemon") {
        return;
    }
    let kernel = bare_metal();
    let name = "test-daemon";
    let arguments = [
        "run",
        "--daemon",
        "--name",
        name,
        "--kernel",
        kernel.to_str().unwrap(),
        "--cmdline-only",
        "-- halt",
    ];
    assert_eq!(said(&arguments), format!("{name}\n"));
    assert!(said(&["ps"]).contains(name));
    said(&["stop", "--force", name]);
    let wrong = verb(&["run", "--daemon", "--kernel", "/nonexistent/kernel"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("/nonexistent/kernel"));
}

#[test]
fn the_jail_holds() {
    if !kvm_wanted("jail") {
        return;
    }
    let vm = start("test-jail", "spin");
    let children = format!("/proc/{0}/task/{0}/children", vm.id());
    let child = std::fs::read_to_string(children).unwrap().trim().to_owned();
    let mut threads = 0;
    for thread in std::fs::read_dir(format!("/proc/{child}/task")).unwrap() {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        assert!(status.contains("Seccomp:\t2"), "{status}");
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        // KVM has a thread of the kernel's own in each process that uses it.
        threads += i32::from(!status.starts_with("Name:\tkvm-"));
    }
    // One a vCPU, and the one that serves console and requests.
    assert_eq!(threads, 2);
    // It holds no file of the host by a path but the devices and files that it was given.
    for fd in std::fs::read_dir(format!("/proc/{child}/fd")).unwrap() {
        let target = std::fs::read_link(fd.unwrap().path()).unwrap();
        let target = target.to_string_lossy().into_owned();
        let given = ["/dev/kvm", "/dev/null", "anon_inode:", "pipe:", "socket:"];
        let kernel = bare_metal();
        let is_given = given.iter().any(|given| target.starts_with(given));
        assert!(is_given || target == kernel.to_string_lossy(), "{target}");
    }
    said(&["stop", "--force", "test-jail"]);
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
}
