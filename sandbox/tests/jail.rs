//! The jail from inside: what is denied ends the process, what threads need goes on working.

#![expect(
    unsafe_code,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that needs the process for itself, so it has no harness"
)]

mod single_thread;

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant, SystemTime};

use libc::{c_long, syscall};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use trivisor_sandbox::process::{ExitStatus, close_all_but, fork, harden};
use trivisor_sandbox::seccomp::{Devices, Filter, Role};

const BOTH: [Role; 2] = [Role::Vcpu, Role::Io];

fn main() {
    single_thread::run(&[
        (
            "calls_that_reach_out_are_denied",
            calls_that_reach_out_are_denied,
        ),
        (
            "a_vcpu_does_not_wait_for_the_world",
            a_vcpu_does_not_wait_for_the_world,
        ),
        ("arguments_are_looked_at", arguments_are_looked_at),
        (
            "other_calling_conventions_are_denied",
            other_calling_conventions_are_denied,
        ),
        ("a_jail_is_for_ever", a_jail_is_for_ever),
        ("vcpu_threads_live", vcpu_threads_live),
        ("the_event_loop_lives", the_event_loop_lives),
        ("a_panic_is_heard", a_panic_is_heard),
        ("an_abort_is_seen_as_one", an_abort_is_seen_as_one),
        (
            "a_stack_overflow_is_seen_as_one",
            a_stack_overflow_is_seen_as_one,
        ),
    ]);
}

/// How a process ends that does `work` in the jail of `role`.
fn ends(role: Role, work: impl FnOnce()) -> ExitStatus {
    let mut child = fork(|| {
        harden().unwrap();
        Filter::for_role(role, Devices::Basic)
            .unwrap()
            .install()
            .unwrap();
        work();
        0
    })
    .unwrap();
    child.wait().unwrap()
}

const KILLED: ExitStatus = ExitStatus::Signaled(libc::SIGSYS);
const SURVIVED: ExitStatus = ExitStatus::Exited(0);

/// A raw system call, with up to six arguments.
fn call(number: c_long, arguments: &[c_long]) -> c_long {
    let mut six = [0; 6];
    six[..arguments.len()].copy_from_slice(arguments);
    let [a, b, c, d, e, f] = six;
    // SAFETY: pointers among the arguments are null or to strings that live for ever, so the kernel
    // refuses or only reads them; the tested calls change nothing that Rust knows of.
    unsafe { syscall(number, a, b, c, d, e, f) }
}

fn text(string: &'static std::ffi::CStr) -> c_long {
    string.as_ptr() as c_long
}

fn calls_that_reach_out_are_denied() {
    let null = text(c"/dev/null");
    let here: c_long = libc::AT_FDCWD.into();
    let denied: &[(&str, c_long, &[c_long])] = &[
        ("open", libc::SYS_open, &[null]),
        ("openat", libc::SYS_openat, &[here, null]),
        ("openat2", libc::SYS_openat2, &[here, null]),
        ("creat", libc::SYS_creat, &[null]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, &[here]),
        (
            "socket",
            libc::SYS_socket,
            &[libc::AF_UNIX.into(), libc::SOCK_STREAM.into()],
        ),
        (
            "socketpair",
            libc::SYS_socketpair,
            &[libc::AF_UNIX.into(), libc::SOCK_STREAM.into()],
        ),
        ("connect", libc::SYS_connect, &[-1]),
        ("bind", libc::SYS_bind, &[-1]),
        ("listen", libc::SYS_listen, &[-1]),
        ("accept4", libc::SYS_accept4, &[-1]),
        ("execve", libc::SYS_execve, &[text(c"/bin/true")]),
        ("execveat", libc::SYS_execveat, &[here, text(c"/bin/true")]),
        ("fork", libc::SYS_fork, &[]),
        ("clone", libc::SYS_clone, &[libc::SIGCHLD.into()]),
        ("clone3", libc::SYS_clone3, &[]),
        ("ptrace", libc::SYS_ptrace, &[libc::PTRACE_TRACEME.into()]),
        ("process_vm_readv", libc::SYS_process_vm_readv, &[1]),
        ("kill", libc::SYS_kill, &[1]),
        ("tkill", libc::SYS_tkill, &[1]),
        ("pidfd_open", libc::SYS_pidfd_open, &[1]),
        ("pidfd_getfd", libc::SYS_pidfd_getfd, &[-1]),
        ("io_uring_setup", libc::SYS_io_uring_setup, &[1]),
        ("io_uring_enter", libc::SYS_io_uring_enter, &[-1]),
        ("mount", libc::SYS_mount, &[]),
        ("unshare", libc::SYS_unshare, &[]),
        ("setns", libc::SYS_setns, &[-1]),
        ("chroot", libc::SYS_chroot, &[null]),
        ("chdir", libc::SYS_chdir, &[text(c"/")]),
        ("unlink", libc::SYS_unlink, &[text(c"/nothing/here")]),
        ("rename", libc::SYS_rename, &[text(c"/nothing/here"), null]),
        ("stat", libc::SYS_stat, &[null]),
        ("newfstatat", libc::SYS_newfstatat, &[here, null]),
        ("statx", libc::SYS_statx, &[here, null]),
        ("access", libc::SYS_access, &[null]),
        ("readlink", libc::SYS_readlink, &[null]),
        ("getdents64", libc::SYS_getdents64, &[-1]),
        ("ftruncate", libc::SYS_ftruncate, &[-1]),
        ("memfd_create", libc::SYS_memfd_create, &[null]),
        ("bpf", libc::SYS_bpf, &[]),
        ("perf_event_open", libc::SYS_perf_event_open, &[]),
        ("userfaultfd", libc::SYS_userfaultfd, &[]),
        ("keyctl", libc::SYS_keyctl, &[]),
        ("setuid", libc::SYS_setuid, &[0]),
        ("capset", libc::SYS_capset, &[]),
        ("prlimit64", libc::SYS_prlimit64, &[]),
        ("dup", libc::SYS_dup, &[-1]),
        ("dup3", libc::SYS_dup3, &[-1, -1]),
        ("pkey_mprotect", libc::SYS_pkey_mprotect, &[]),
        ("modify_ldt", libc::SYS_modify_ldt, &[]),
        ("an unknown one", 0xfff, &[]),
    ];
    for role in BOTH {
        for (name, number, arguments) in denied {
            let end = ends(role, || {
                call(*number, arguments);
            });
            assert_eq!(end, KILLED, "{role:?}: {name}");
        }
    }
}

fn a_vcpu_does_not_wait_for_the_world() {
    for number in [
        libc::SYS_read,
        libc::SYS_poll,
        libc::SYS_pread64,
        libc::SYS_recvmsg,
        libc::SYS_sendmsg,
    ] {
        let attempt = || {
            call(number, &[-1]);
        };
        assert_eq!(ends(Role::Vcpu, attempt), KILLED, "{number}");
        assert_eq!(ends(Role::Io, attempt), SURVIVED, "{number}");
    }
}

fn arguments_are_looked_at() {
    const KVM_RUN: c_long = 0xae80;
    const KVM_CREATE_VM: c_long = 0xae01;
    const KVM_SIGNAL_MSI: c_long = 0x4020_aea5;
    let anonymous = c_long::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let code = c_long::from(libc::PROT_READ | libc::PROT_EXEC);
    let own = c_long::from(std::process::id());
    let parent_thread = [own, own, 0];
    let memory = |protection| call(libc::SYS_mmap, &[0, 4096, protection, anonymous, -1, 0]);
    for role in BOTH {
        let end = |number: c_long, arguments: &[c_long]| {
            ends(role, || {
                call(number, arguments);
            })
        };
        assert_eq!(end(libc::SYS_ioctl, &[-1, KVM_SIGNAL_MSI]), SURVIVED);
        assert_eq!(end(libc::SYS_ioctl, &[-1, KVM_CREATE_VM]), KILLED);
        assert_eq!(
            end(libc::SYS_ioctl, &[-1, libc::TIOCSTI.cast_signed()]),
            KILLED
        );
        let vcpu = if role == Role::Vcpu { SURVIVED } else { KILLED };
        assert_eq!(end(libc::SYS_ioctl, &[-1, KVM_RUN]), vcpu, "{role:?}");
        assert_eq!(end(libc::SYS_fcntl, &[-1, libc::F_GETFD.into()]), SURVIVED);
        assert_eq!(end(libc::SYS_fcntl, &[-1, libc::F_SETFL.into()]), KILLED);
        assert_eq!(end(libc::SYS_tgkill, &parent_thread), KILLED);

        let data = ends(role, || assert_ne!(memory(libc::PROT_READ.into()), -1));
        assert_eq!(data, SURVIVED);
        assert_eq!(ends(role, || assert_eq!(memory(code), -1)), KILLED);
        let made_code = ends(role, || {
            let page = memory(libc::PROT_READ.into());
            call(libc::SYS_mprotect, &[page, 4096, code]);
        });
        assert_eq!(made_code, KILLED);
    }
    let send = |address| {
        ends(Role::Io, || {
            call(libc::SYS_sendto, &[-1, 0, 0, 0, address, 0]);
        })
    };
    assert_eq!((send(0), send(0x1000)), (SURVIVED, KILLED));
    assert_eq!(
        ends(Role::Vcpu, || {
            call(libc::SYS_sendto, &[-1]);
        }),
        KILLED
    );
}

fn other_calling_conventions_are_denied() {
    const X32: c_long = 0x4000_0000;
    for role in BOTH {
        let x32 = ends(role, || {
            call(X32 | libc::SYS_getpid, &[]);
        });
        assert_eq!(x32, KILLED);
        // Where the kernel has no 32-bit calls at all, `int 0x80` is a SIGSEGV: denied as well.
        let int80 = ends(role, || {
            const GETPID: u64 = 20;
            // SAFETY: getpid touches no memory; the kernel keeps all registers but the result and, at
            // its will, r8 to r11.
            unsafe {
                std::arch::asm!("int 0x80", inout("rax") GETPID => _, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
            }
        });
        assert!(
            [KILLED, ExitStatus::Signaled(libc::SIGSEGV)].contains(&int80),
            "{int80:?}"
        );
    }
}

fn a_jail_is_for_ever() {
    for role in BOTH {
        let filter = Filter::for_role(Role::Io, Devices::Basic).unwrap();
        assert_eq!(ends(role, || drop(filter.install())), KILLED);
    }
}

/// What a thread does all day: memory of all sizes, clocks, seeds.
fn everyday_work() {
    let sizes = [16, 1 << 10, 200 << 10, 40 << 20];
    let mut kept: Vec<Vec<u8>> = sizes.iter().map(|size| vec![1; *size]).collect();
    for vector in &mut kept {
        vector.resize(vector.len() * 2, 2);
        vector.shrink_to(8);
    }
    let map: HashMap<u64, usize> = (0..).zip(kept.iter().map(Vec::len)).collect();
    assert_eq!(map.len(), sizes.len());
    assert!(Instant::now().elapsed() < Duration::from_secs(3600));
    assert!(SystemTime::now() > SystemTime::UNIX_EPOCH);
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    assert!(used.tv_sec < 3600);
    std::thread::yield_now();
}

/// More threads than malloc would give heaps, each in its jail, the main thread in its own.
fn vcpu_threads_live() {
    const THREADS: usize = 64;
    let mut child = fork(|| {
        harden().unwrap();
        let vcpu = Filter::for_role(Role::Vcpu, Devices::Basic).unwrap();
        let (read, mut write) = pipe_files();
        let file = File::open("/dev/null").unwrap();
        let (barrier, (sender, received)) = (Arc::new(Barrier::new(THREADS + 1)), mpsc::channel());
        let threads: Vec<_> = (0..THREADS)
            .map(|index| {
                let (vcpu, barrier, sender) = (vcpu.clone(), barrier.clone(), sender.clone());
                let (mut write, file) = (write.try_clone().unwrap(), file.try_clone().unwrap());
                std::thread::Builder::new()
                    .name(format!("vcpu{index}"))
                    .spawn(move || {
                        vcpu.install().unwrap();
                        barrier.wait();
                        everyday_work();
                        write.write_all(b"v").unwrap();
                        assert!(rustix::fs::fstat(&file).is_ok());
                        // SAFETY: the thread signals itself with nothing.
                        let kicked =
                            unsafe { syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), 0) };
                        assert_eq!(kicked, 0);
                        sender.send(index).unwrap();
                    })
                    .unwrap()
            })
            .collect();
        Filter::for_role(Role::Io, Devices::Basic)
            .unwrap()
            .install()
            .unwrap();
        barrier.wait();
        let mut found: Vec<usize> = received.iter().take(THREADS).collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        found.sort_unstable();
        assert!(found.into_iter().eq(0..THREADS));
        write.write_all(b"!").unwrap();
        let mut all = [0; THREADS + 1];
        { read }.read_exact(&mut all).unwrap();
        assert_eq!(all[THREADS], b'!');
        0
    })
    .unwrap();
    assert_eq!(child.wait().unwrap(), SURVIVED);
}

fn pipe_files() -> (File, File) {
    let (read, write) = rustix::pipe::pipe().unwrap();
    (read.into(), write.into())
}

fn the_event_loop_lives() {
    let (mut near, mut far) = UnixStream::pair().unwrap();
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(b"counters", 0).unwrap();
    far.write_all(b"pause").unwrap();
    let end = ends(Role::Io, || {
        everyday_work();
        let tick = Timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000,
        };
        assert_eq!(poll(&mut [], Some(&tick)).unwrap(), 0);
        let ready = poll(&mut [PollFd::new(&near, PollFlags::IN)], None).unwrap();
        let mut message = [0; 5];
        near.read_exact(&mut message).unwrap();
        near.write_all(b"paused").unwrap();
        let mut counters = [0; 8];
        file.read_exact_at(&mut counters, 0).unwrap();
        let event = rustix::event::eventfd(1, rustix::event::EventfdFlags::NONBLOCK).unwrap();
        rustix::io::read(&event, &mut [0; 8]).unwrap();
        drop(event);
        assert_eq!((ready, &message, &counters), (1, b"pause", b"counters"));
    });
    assert_eq!(end, SURVIVED);
    let mut answer = [0; 6];
    far.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"paused");
}

/// How a process ends that does `work` in a vCPU's jail, and what it said on standard error.
fn last_words(work: impl FnOnce()) -> (ExitStatus, String) {
    let (mut read, write) = pipe_files();
    let mut child = fork(|| {
        rustix::stdio::dup2_stderr(&write).unwrap();
        close_all_but(&[rustix::stdio::stderr().as_fd()]).unwrap();
        harden().unwrap();
        Filter::for_role(Role::Vcpu, Devices::Basic)
            .unwrap()
            .install()
            .unwrap();
        work();
        0
    })
    .unwrap();
    drop(write);
    let mut words = String::new();
    read.read_to_string(&mut words).unwrap();
    (child.wait().unwrap(), words)
}

fn a_panic_is_heard() {
    let (end, words) = last_words(|| panic!("at vCPU {}", 3));
    assert!(words.contains("at vCPU 3"), "{words}");
    assert_eq!(end, ExitStatus::Exited(101));
}

fn an_abort_is_seen_as_one() {
    let (end, _) = last_words(|| std::process::abort());
    assert_eq!(end, ExitStatus::Signaled(libc::SIGABRT));
}

#[expect(unconditional_recursion, reason = "that is the test")]
fn deeper(depth: usize) -> usize {
    let room = std::hint::black_box([depth; 512]);
    deeper(depth + 1) + room[0]
}

fn a_stack_overflow_is_seen_as_one() {
    let (end, words) = last_words(|| {
        deeper(0);
    });
    assert!(words.contains("overflow"), "{words}");
    assert_eq!(end, ExitStatus::Signaled(libc::SIGABRT));
}
