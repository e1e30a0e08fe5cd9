//! `trivisor run` on a terminal: what it does to it, and what its keys do.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::fmt::Debug;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};
use trivisor_tests::{bare_metal, kvm_wanted, trivisor};

/// A host that is slow and shared has done anything by then.
const PATIENCE: Duration = Duration::from_secs(120);

const CTRL_A: &str = "\u{1}";
const PROMPT: &str = "(trivisor) ";
const DEFAULT: &[&str] = &[];
const OFF: &[&str] = &["--sandbox", "off"];

/// A `trivisor` with a terminal; the test sits in front of it.
struct Terminal {
    keys_and_screen: OwnedFd,
    /// Kept open, so that the terminal outlives the process.
    line: File,
    before: String,
    child: Child,
    process: OwnedFd,
    seen: Vec<u8>,
    used: usize,
}

impl Terminal {
    fn run(kernel: &str, script: &str, options: &[&str]) -> Self {
        Self::run_into(None, kernel, script, options)
    }

    /// With standard output there, or on the terminal as well.
    fn run_into(stdout: Option<OwnedFd>, kernel: &str, script: &str, options: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keys_and_screen = openpt(flags).unwrap();
        grantpt(&keys_and_screen).unwrap();
        unlockpt(&keys_and_screen).unwrap();
        rustix::io::ioctl_fionbio(&keys_and_screen, true).unwrap();
        let name = ptsname(&keys_and_screen, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let line = File::from(rustix::fs::open(name, flags, Mode::empty()).unwrap());
        let before = modes(&line);
        // Should the test be killed, the VM does not go on for ever.
        let limit: &[&str] = match options.contains(&"--timeout") {
            true => &[],
            false => &["--timeout", "600"],
        };
        let child = Command::new(trivisor())
            .args(["run", "--kernel", kernel, "--cmdline-only"])
            .arg(format!("-- {script}"))
            .args(options)
            .args(limit)
            .stdin(line.try_clone().unwrap())
            .stdout(stdout.unwrap_or_else(|| line.try_clone().unwrap().into()))
            .stderr(line.try_clone().unwrap())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        Self {
            keys_and_screen,
            line,
            before,
            process: pidfd_open(pid, PidfdFlags::empty()).unwrap(),
            child,
            seen: Vec::new(),
            used: 0,
        }
    }

    /// Runs the bare-metal guest until it and the keys answer.
    fn start(script: &str, options: &[&str]) -> Self {
        let mut vm = Self::run(bare_metal().to_str().unwrap(), script, options);
        vm.expect("ok ");
        vm.expect("\n");
        // What is typed before the terminal is raw may be echoed; it is not lost.
        vm.type_keys(&format!("{CTRL_A}h"));
        vm.expect("this help");
        vm.expect("\n");
        vm
    }

    /// Takes what is on the screen; false when the process has ended and all of it was taken.
    fn look(&mut self, deadline: Instant) -> bool {
        let mut fds = [
            PollFd::new(&self.keys_and_screen, PollFlags::IN),
            PollFd::new(&self.process, PollFlags::IN),
        ];
        let rest = deadline.saturating_duration_since(Instant::now());
        let rest = Timespec::try_from(rest).unwrap();
        let ready = poll(&mut fds, Some(&rest)).unwrap();
        assert!(ready > 0, "nothing in time; the screen:\n{}", self.screen());
        let mut bytes = [0; 4096];
        match rustix::io::read(&self.keys_and_screen, &mut bytes) {
            Ok(length) => self.seen.extend_from_slice(&bytes[..length]),
            Err(rustix::io::Errno::AGAIN) => return fds[1].revents().is_empty(),
            Err(error) => panic!("{error}"),
        }
        true
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Waits for `text` behind what was found before, and returns what came before it.
    fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let fresh = &self.seen[self.used..];
            let found = fresh
                .windows(text.len())
                .position(|part| part == text.as_bytes());
            if let Some(at) = found {
                let before = String::from_utf8_lossy(&fresh[..at]).into_owned();
                self.used += at + text.len();
                return before;
            }
            assert!(
                self.look(deadline),
                "ended without {text:?}; the screen:\n{}",
                self.screen()
            );
        }
    }

    fn type_keys(&self, keys: &str) {
        let taken = rustix::io::write(&self.keys_and_screen, keys.as_bytes()).unwrap();
        assert_eq!(taken, keys.len());
    }

    /// Types so much that it may have to wait until some of it is read.
    fn type_much(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut left = vec![b'x'; count];
        while !left.is_empty() {
            let mut fds = [PollFd::new(&self.keys_and_screen, PollFlags::OUT)];
            let rest = deadline.saturating_duration_since(Instant::now());
            let rest = Timespec::try_from(rest).unwrap();
            let ready = poll(&mut fds, Some(&rest)).unwrap();
            assert!(ready > 0, "{} bytes were not read", left.len());
            let part = &left[..left.len().min(1024)];
            match rustix::io::write(&self.keys_and_screen, part) {
                Ok(taken) => drop(left.drain(..taken)),
                Err(error) => assert_eq!(error, rustix::io::Errno::AGAIN),
            }
        }
    }

    fn is_raw(&self) -> bool {
        let local = tcgetattr(&self.line).unwrap().local_modes;
        !local.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.process, signal).unwrap();
    }

    /// Waits for the end: this status, and the terminal as it was. Gives the screen.
    fn ends_with(mut self, status: i32) -> String {
        let ended = self.end();
        assert_eq!(ended.code(), Some(status), "{}", self.screen());
        self.screen()
    }

    /// Waits for the end: by this signal, and the terminal as it was.
    fn dies_of(mut self, signal: Signal) {
        let ended = self.end();
        assert_eq!(ended.signal(), Some(signal.as_raw()), "{}", self.screen());
    }

    fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while self.look(deadline) {}
        let ended = self.child.wait().unwrap();
        assert_eq!(modes(&self.line), self.before, "{}", self.screen());
        ended
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A test that failed must not leave a VM behind; one that has ended is an error that does not matter.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// All that a terminal can be set to.
fn modes(terminal: &File) -> String {
    let termios: Termios = tcgetattr(terminal).unwrap();
    let parts: [&dyn Debug; 5] = [
        &termios.input_modes,
        &termios.output_modes,
        &termios.control_modes,
        &termios.local_modes,
        &termios.special_codes,
    ];
    format!("{parts:?}")
}

#[test]
fn it_is_raw_and_then_as_it_was() {
    if !kvm_wanted("terminal modes") {
        return;
    }
    for sandbox in [DEFAULT, OFF] {
        let mut vm = Terminal::start("serial; poweroff", sandbox);
        assert!(vm.is_raw());
        vm.type_keys("end\r");
        vm.expect("ok end");
        vm.ends_with(0);

        let vm = Terminal::start("serial; poweroff", sandbox);
        assert!(vm.is_raw());
        vm.type_keys(&format!("{CTRL_A}x"));
        vm.ends_with(0);

        // No key of a raw terminal is a signal; the guest gets it.
        let mut vm = Terminal::start("serial; poweroff", sandbox);
        vm.type_keys("echo \u{3}\r");
        vm.expect("ok echo \u{3}");
        vm.signal(Signal::INT);
        vm.ends_with(130);

        let vm = Terminal::start("spin", sandbox);
        assert!(vm.is_raw());
        vm.signal(Signal::TERM);
        vm.ends_with(143);

        let vm = Terminal::start("spin", sandbox);
        assert!(vm.is_raw());
        vm.signal(Signal::HUP);
        vm.ends_with(129);

        let vm = Terminal::start("spin", sandbox);
        assert!(vm.is_raw());
        vm.signal(Signal::QUIT);
        vm.dies_of(Signal::QUIT);
    }
}

#[test]
fn escape_keys_count_though_the_guest_reads_nothing() {
    if !kvm_wanted("escape keys before a deaf guest") {
        return;
    }
    for sandbox in [DEFAULT, OFF] {
        let mut vm = Terminal::start("spin", sandbox);
        // More than the pipe to the VM process, the terminal and all in between hold.
        vm.type_much(200_000);
        vm.type_keys(&format!("{CTRL_A}h"));
        vm.expect("this help");
        vm.type_keys(&format!("{CTRL_A}x"));
        vm.ends_with(0);
    }
}

#[test]
fn texts_that_nobody_takes_hold_up_no_key() {
    if !kvm_wanted("a full standard output") {
        return;
    }
    for sandbox in [DEFAULT, OFF] {
        let (unread, stdout) = rustix::pipe::pipe().unwrap();
        let fill = stdout.try_clone().unwrap();
        let kernel = bare_metal();
        let kernel = kernel.to_str().unwrap();
        let vm = Terminal::run_into(Some(stdout), kernel, "spin", sandbox);
        let mut greeting = Vec::new();
        while !greeting.ends_with(b"ok ") {
            let mut byte = [0];
            assert_eq!(rustix::io::read(&unread, &mut byte), Ok(1));
            greeting.push(byte[0]);
        }
        // For this end only: the pipe is opened once more.
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fill));
        let fill = rustix::fs::open(path, flags, Mode::empty()).unwrap();
        while rustix::io::write(&fill, &[b'.'; 4096]).is_ok() {}
        // More than is kept.
        for _ in 0..40 {
            vm.type_keys(&format!("{CTRL_A}h").repeat(50));
            vm.type_much(1024);
        }
        vm.type_keys(&format!("{CTRL_A}x"));
        vm.ends_with(0);
        drop(unread);
    }
}

#[test]
fn failures_leave_it_as_it_was() {
    if !kvm_wanted("terminal modes after failures") {
        return;
    }
    for sandbox in [DEFAULT, OFF] {
        let vm = Terminal::start("serial; triple", sandbox);
        assert!(vm.is_raw());
        vm.type_keys("end\r");
        assert!(vm.ends_with(3).contains("the guest crashed"));

        let options: Vec<&str> = [sandbox, &["--timeout", "1"]].concat();
        let vm = Terminal::run(bare_metal().to_str().unwrap(), "spin", &options);
        vm.ends_with(124);

        let vm = Terminal::run("/dev/null", "spin", sandbox);
        assert!(vm.ends_with(2).contains("/dev/null"));

        // One that opens, but is no kernel: only the VM process finds out.
        let text = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&text, [b'x'; 8192]).unwrap();
        let name = text.path().to_str().unwrap();
        let vm = Terminal::run(name, "spin", sandbox);
        assert!(vm.ends_with(2).contains(name));
    }
}

#[test]
fn typing_reaches_the_guest() {
    if !kvm_wanted("typing") {
        return;
    }
    let mut vm = Terminal::start("serial; poweroff", DEFAULT);
    for text in ["one", "two words"] {
        vm.type_keys(&format!("echo {text}\r"));
        let between = vm.expect(&format!("ok echo {text}\r\n"));
        assert!(!between.contains("echo"), "nothing echoes: {between:?}");
    }
    vm.type_keys(&format!("echo <{CTRL_A}a>\r"));
    vm.expect("ok echo <\u{1}>\r\n");
    // Ctrl-A and a key without a meaning: both.
    vm.type_keys(&format!("echo <{CTRL_A}z>\r"));
    vm.expect("ok echo <\u{1}z>\r\n");
    vm.type_keys("end\r");
    vm.ends_with(0);
}

#[test]
fn the_monitor_opens_and_leaves() {
    if !kvm_wanted("monitor") {
        return;
    }
    for sandbox in [DEFAULT, OFF] {
        let mut vm = Terminal::start("serial; poweroff", sandbox);
        vm.type_keys(&format!("{CTRL_A}c"));
        vm.expect(PROMPT);
        vm.type_keys("info\r");
        vm.expect("running");
        vm.expect(PROMPT);
        vm.type_keys("pause\r");
        vm.expect("done");
        vm.type_keys("info\r");
        vm.expect("paused");
        vm.type_keys(&format!("{CTRL_A}cecho late\r{CTRL_A}c"));
        vm.expect(PROMPT);
        vm.type_keys("info\r");
        let halted = vm.expect("paused");
        assert!(!halted.contains("late"), "{halted}");
        vm.type_keys("resume\r");
        vm.expect("done");
        // The guest's answer and the monitor's may share a line: both write when they have something.
        vm.type_keys(&format!("{CTRL_A}cecho sync\r"));
        vm.expect("ok echo sync");
        vm.type_keys(&format!("{CTRL_A}c"));
        vm.expect(PROMPT);
        vm.type_keys("bogus\r");
        vm.expect("\"bogus\" is no command");
        vm.type_keys(&format!("{CTRL_A}c"));
        vm.type_keys("echo again\r");
        vm.expect("ok echo again");
        assert!(vm.is_raw());
        // A VM that stands still ends, too.
        vm.type_keys(&format!("{CTRL_A}cpause\rquit\r"));
        vm.ends_with(0);
    }
}

#[test]
fn a_virtio_console_has_the_size_of_the_terminal() {
    if !kvm_wanted("size of the terminal") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let said = folder.path().join("said");
    let wait = |text: &str| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let so_far = std::fs::read_to_string(&said).unwrap_or_default();
            if so_far.contains(text) {
                return so_far;
            }
            assert!(Instant::now() < deadline, "no {text:?} in:\n{so_far}");
            let pause = Timespec::try_from(Duration::from_millis(20)).unwrap();
            poll(&mut [], Some(&pause)).unwrap();
        }
    };
    let serial = format!("file:{}", said.display());
    let name = format!("terminal-size-{}", std::process::id());
    let options = [
        "--mode",
        "pv",
        "--console",
        "stdio",
        "--serial",
        &serial,
        "--name",
        &name,
    ];
    let script =
        "console 0 read; console 0 size; echo again; console 0 read; console 0 size; poweroff";
    let vm = Terminal::run(bare_metal().to_str().unwrap(), script, &options);
    for (columns, rows, ready) in [
        (132, 43, "console ready"),
        (80, 25, "ok echo again\nconsole ready"),
    ] {
        wait(ready);
        let size = Winsize {
            ws_col: columns,
            ws_row: rows,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&vm.line, size).unwrap();
        vm.signal(Signal::WINCH);
        // It is answered behind what was asked for before.
        let info = Command::new(trivisor())
            .args(["info", &name])
            .output()
            .unwrap();
        assert!(info.status.success(), "{info:?}");
        vm.type_keys("on\n");
        wait(&format!("columns: {columns}, rows: {rows}"));
    }
    vm.ends_with(0);
}
