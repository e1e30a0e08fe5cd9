//! A running VM and the verbs that talk to it.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

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
    assert!(kill(vm.id(), signal));
}

/// False when there is no such process.
fn kill(process: u32, signal: &str) -> bool {
    let mut command = Command::new("kill");
    command.args([signal, &process.to_string()]);
    command.stderr(Stdio::null()).status().unwrap().success()
}

/// The number of the one child of a process, as soon as it has one.
fn child_of(process: u32) -> Option<u32> {
    let children = format!("/proc/{process}/task/{process}/children");
    let children = std::fs::read_to_string(children).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// All threads of a process but the kernel's own are stopped.
fn stands_still(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.map(Result::unwrap).all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap();
        stat.contains("(kvm-") || stat.contains(") T ")
    })
}

/// A client of a VM's control socket that says this.
fn say(name: &str, bytes: &[u8]) -> UnixStream {
    let folder = match std::env::var("XDG_RUNTIME_DIR") {
        _ if rustix::process::geteuid().is_root() => "/run".into(),
        Ok(folder) => folder,
        Err(_) => panic!("set XDG_RUNTIME_DIR"),
    };
    let socket = format!("{folder}/trivisor/{name}/control.sock");
    let mut client = UnixStream::connect(socket).unwrap();
    client.write_all(bytes).unwrap();
    client
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

#[test]
fn a_vm_process_that_does_not_answer_holds_up_nobody() {
    if !kvm_wanted("a VM process that stands still") {
        return;
    }
    let name = "test-stuck";
    let vm = start(name, "spin");
    let child = child_of(vm.id()).unwrap();
    assert!(kill(child, "-STOP"));
    while !stands_still(child) {
        std::thread::yield_now();
    }
    // More than the channel holds. The first ones wait for an answer.
    let mut waiting: Vec<UnixStream> = (0..64).map(|_| say(name, b"\"info\"\n")).collect();
    for _ in 0..1000 {
        let mut answer = String::new();
        let mut client = say(name, b"\"info\"\n");
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("does not answer"), "{answer}");
    }
    let refused = verb(&["pause", name]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("does not answer"));
    // It is killed when its time is over.
    said(&["stop", "--force", name]);
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    let mut answer = String::new();
    waiting[0].read_to_string(&mut answer).unwrap();
    assert!(answer.contains("the VM has ended"), "{answer}");
}

#[test]
fn clients_that_do_not_finish_their_request_hold_up_nobody() {
    if !kvm_wanted("slow clients") {
        return;
    }
    let name = "test-slow";
    let vm = start(name, "spin");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let mut client = say(name, b"");
                    // Until it is hung up on.
                    while !over.load(Ordering::SeqCst) && client.write_all(b" ").is_ok() {
                        std::thread::park_timeout(std::time::Duration::from_millis(50));
                    }
                }
            });
        }
        let talk = std::panic::catch_unwind(|| {
            for _ in 0..20 {
                assert!(said(&["info", name]).contains("running"));
            }
            // One that says nothing at all, or too much, is hung up on.
            for nonsense in ["", "\"fly\"\n", &"\"".repeat(5000)] {
                let mut client = say(name, nonsense.as_bytes());
                let _reset = client.read(&mut [0]);
            }
        });
        over.store(true, Ordering::SeqCst);
        assert!(talk.is_ok());
    });
    said(&["stop", "--force", name]);
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
}

#[test]
fn of_two_that_start_at_once_one_gets_the_name() {
    if !kvm_wanted("names at once") {
        return;
    }
    for _ in 0..10 {
        let options = ["--name", "test-race"];
        let starts = [(); 4].map(|()| Session::guest("serial; poweroff", &options));
        // The others say so at once, the winner not before it is told to end.
        let mut ended = 0;
        let mut running = Vec::new();
        for mut start in starts {
            match start.says("ok serial") {
                true => running.push(start),
                false => {
                    let end = start.wait();
                    assert_eq!(end.status.code(), Some(2), "{}", end.output);
                    assert!(end.output.contains("is running"), "{}", end.output);
                    ended += 1;
                }
            }
        }
        assert_eq!((running.len(), ended), (1, 3));
        said(&["stop", "--force", "test-race"]);
        let end = running.remove(0).wait();
        assert_eq!(end.status.code(), Some(0), "{}", end.output);
    }
}

#[test]
fn a_start_in_the_background_that_is_interrupted_leaves_nothing() {
    if !kvm_wanted("interrupted daemon") {
        return;
    }
    let kernel = bare_metal();
    for (signal, status) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129), ("-QUIT", 131)] {
        // The start may be over before it is interrupted.
        let interrupted = (0..100).find_map(|number| {
            let name = format!("test-interrupted{signal}-{number}");
            let folder = tempfile::tempdir().unwrap();
            let mut daemon = Command::new(trivisor())
                .args(["run", "--daemon", "--name", &name])
                .args(["--kernel", kernel.to_str().unwrap()])
                .args(["--cmdline-only", "-- spin", "--timeout", "600"])
                .env("TMPDIR", folder.path())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let child = loop {
                if let Some(child) = child_of(daemon.id()) {
                    break child;
                }
                assert!(daemon.try_wait().unwrap().is_none());
            };
            kill(child, "-STOP");
            let sent = daemon.try_wait().unwrap().is_none() && kill(daemon.id(), signal);
            kill(child, "-CONT");
            let ended = daemon.wait().unwrap();
            if ended.code() == Some(0) {
                // A group of processes that was stopped and has no parent any more hangs up by itself.
                let _gone = verb(&["stop", "--force", &name]);
                return None;
            }
            assert!(sent);
            assert_eq!(ended.code(), Some(status));
            assert!(!Path::new(&format!("/proc/{child}")).exists());
            let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
            assert!(left.is_empty(), "{left:?}");
            Some(())
        });
        assert!(interrupted.is_some(), "{signal}");
    }
}
