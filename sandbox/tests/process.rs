//! Children: how they end, with whom, and what they keep.

#![expect(
    unsafe_code,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that needs the process for itself, so it has no harness"
)]

mod single_thread;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::pipe;
use rustix::process::{DumpableBehavior, dumpable_behavior};
use trivisor_sandbox::process::{ExitStatus, close_all_but, exit_on_bus_error, fork, harden};

fn main() {
    single_thread::run(&[
        ("a_child_ends_with_its_status", a_child_ends_with_its_status),
        ("a_panic_stays_in_the_child", a_panic_stays_in_the_child),
        ("a_killed_child_says_so", a_killed_child_says_so),
        (
            "its_descriptor_tells_of_its_end",
            its_descriptor_tells_of_its_end,
        ),
        ("a_dropped_child_is_gone", a_dropped_child_is_gone),
        ("no_child_outlives_its_parent", no_child_outlives_its_parent),
        (
            "exit_handlers_stay_with_the_parent",
            exit_handlers_stay_with_the_parent,
        ),
        ("a_child_keeps_what_is_listed", a_child_keeps_what_is_listed),
        (
            "standard_descriptors_become_null",
            standard_descriptors_become_null,
        ),
        (
            "a_truncated_file_ends_the_process",
            a_truncated_file_ends_the_process,
        ),
        ("hardening_holds", hardening_holds),
        (
            "a_process_with_threads_is_refused",
            a_process_with_threads_is_refused,
        ),
    ]);
}

fn pipe_files() -> (File, File) {
    let (read, write) = pipe().unwrap();
    (read.into(), write.into())
}

/// Reads until every write end is closed; fails when that takes a minute.
fn read_to_end(mut from: File) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let minute = Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        let ready = poll(&mut [PollFd::new(&from, PollFlags::IN)], Some(&minute)).unwrap();
        assert_eq!(ready, 1, "somebody still holds the pipe after {all:?}");
        let mut part = [0; 256];
        match from.read(&mut part).unwrap() {
            0 => return all,
            count => all.extend_from_slice(&part[..count]),
        }
    }
}

fn wait_for_ever() -> u8 {
    loop {
        let _interrupted = poll(&mut [], None);
    }
}

fn a_child_ends_with_its_status() {
    for status in [0, 1, 124, 255] {
        let mut child = fork(|| status).unwrap();
        assert_eq!(child.wait().unwrap(), ExitStatus::Exited(status));
        assert_eq!(child.wait().unwrap(), ExitStatus::Exited(status), "again");
        child.kill().unwrap();
    }
    let parent = std::process::id();
    let (read, mut write) = pipe_files();
    let mut child = fork(|| {
        write.write_all(&std::process::id().to_ne_bytes()).unwrap();
        u8::from(std::process::id() == parent)
    })
    .unwrap();
    drop(write);
    assert_eq!(child.wait().unwrap(), ExitStatus::Exited(0));
    assert_eq!(read_to_end(read), child.pid().to_ne_bytes());
}

fn a_panic_stays_in_the_child() {
    let mut child = fork(|| {
        close_all_but(&[]).unwrap();
        panic!("nobody hears this");
    })
    .unwrap();
    assert_eq!(child.wait().unwrap(), ExitStatus::Exited(101));
}

fn a_killed_child_says_so() {
    let mut child = fork(wait_for_ever).unwrap();
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap(), ExitStatus::Signaled(libc::SIGKILL));
    child.kill().unwrap();
    let mut child = fork(|| std::process::abort()).unwrap();
    assert_eq!(child.wait().unwrap(), ExitStatus::Signaled(libc::SIGABRT));
}

fn its_descriptor_tells_of_its_end() {
    let (read, write) = pipe_files();
    let mut child = fork(|| {
        close_all_but(&[read.as_fd()]).unwrap();
        u8::try_from(read_to_end_raw(&read)).unwrap()
    })
    .unwrap();
    let ready = |timeout: Duration| {
        let timeout = Timespec::try_from(timeout).unwrap();
        poll(&mut [PollFd::new(&child, PollFlags::IN)], Some(&timeout)).unwrap()
    };
    assert_eq!(ready(Duration::ZERO), 0, "it waits for the pipe");
    drop(write);
    assert_eq!(ready(Duration::from_secs(60)), 1);
    assert_eq!(child.wait().unwrap(), ExitStatus::Exited(0));
}

fn read_to_end_raw(mut from: &File) -> usize {
    from.read_to_end(&mut Vec::new()).unwrap()
}

fn a_dropped_child_is_gone() {
    let (read, write) = pipe_files();
    let child = fork(wait_for_ever).unwrap();
    let pid = child.pid();
    drop(write);
    drop(child);
    assert_eq!(read_to_end(read), [], "its copy of the write end is closed");
    assert!(
        !std::path::Path::new(&format!("/proc/{pid}")).exists(),
        "no zombie stays"
    );
}

fn no_child_outlives_its_parent() {
    let (read, write) = pipe_files();
    let mut child = fork(|| {
        let mut orphan = write.try_clone().unwrap();
        let grandchild = fork(move || {
            orphan.write_all(b"alive").unwrap();
            wait_for_ever()
        });
        std::mem::forget(grandchild.unwrap());
        wait_for_ever()
    })
    .unwrap();
    drop(write);
    let mut five = [0; 5];
    (&read).read_exact(&mut five).unwrap();
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap(), ExitStatus::Signaled(libc::SIGKILL));
    assert_eq!(read_to_end(read), [], "the grandchild let go of the pipe");
}

extern "C" fn at_exit() {
    // SAFETY: abort may be called anywhere.
    unsafe { libc::abort() }
}

fn exit_handlers_stay_with_the_parent() {
    let mut child = fork(|| {
        // SAFETY: the handler is a function without arguments that lives for ever.
        assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
        let mut grandchild = fork(|| 7).unwrap();
        u8::from(grandchild.wait().unwrap() != ExitStatus::Exited(7))
    })
    .unwrap();
    assert_eq!(child.wait().unwrap(), ExitStatus::Exited(0));
}

fn open_descriptors() -> Vec<i32> {
    let listed = std::fs::read_dir("/proc/self/fd").unwrap();
    let mut found: Vec<i32> = listed
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    found.sort_unstable();
    // The one that reads the list.
    found.retain(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok());
    found
}

fn a_child_keeps_what_is_listed() {
    let others: Vec<OwnedFd> = (0..20)
        .map(|_| File::open("/dev/zero").unwrap().into())
        .collect();
    let kept = [&others[17], &others[3]];
    let mut child = fork(|| {
        close_all_but(&kept.map(AsFd::as_fd)).unwrap();
        let wanted = [0, 1, 2, others[3].as_raw_fd(), others[17].as_raw_fd()];
        u8::from(open_descriptors() != wanted)
    })
    .unwrap();
    assert_eq!(child.wait().unwrap(), ExitStatus::Exited(0));
    assert!(open_descriptors().len() >= 20, "the parent keeps its own");
}

fn standard_descriptors_become_null() {
    let (read, write) = pipe_files();
    let mut child = fork(|| {
        rustix::stdio::dup2_stderr(&write).unwrap();
        rustix::stdio::dup2_stdout(&write).unwrap();
        close_all_but(&[rustix::stdio::stderr()]).unwrap();
        print!("lost");
        eprint!("kept");
        let names = [0, 1].map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap());
        u8::from(names.iter().any(|name| name.to_str() != Some("/dev/null")))
    })
    .unwrap();
    drop(write);
    assert_eq!(child.wait().unwrap(), ExitStatus::Exited(0));
    assert_eq!(read_to_end(read), b"kept");
}

fn a_truncated_file_ends_the_process() {
    let mut child = fork(|| {
        exit_on_bus_error(4, || ()).unwrap();
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        // SAFETY: a new mapping at an address that the kernel picks.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        assert_ne!(page, libc::MAP_FAILED);
        let byte = page.cast::<u8>();
        // SAFETY: the page is mapped.
        assert_eq!(unsafe { byte.read_volatile() }, 0);
        file.set_len(0).unwrap();
        // SAFETY: the page is mapped still; that it has no bytes any more is what is tested.
        unsafe { byte.read_volatile() }
    })
    .unwrap();
    assert_eq!(child.wait().unwrap(), ExitStatus::Exited(4));
}

fn hardening_holds() {
    let mut child = fork(|| {
        harden().unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let dumpable = dumpable_behavior().unwrap();
        u8::from(!status.contains("NoNewPrivs:\t1") || dumpable != DumpableBehavior::NotDumpable)
    })
    .unwrap();
    assert_eq!(child.wait().unwrap(), ExitStatus::Exited(0));
}

fn a_process_with_threads_is_refused() {
    let (read, write) = pipe_files();
    let thread = std::thread::spawn(move || read_to_end_raw(&read));
    let error = fork(|| 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a process with 2 threads cannot be forked"
    );
    drop(write);
    thread.join().unwrap();
}
